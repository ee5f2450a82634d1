"""Repair: what a studio draws with is, to the bit, the file that the job writes; each slider moves its own layers alone."""

from __future__ import annotations

import re

import numpy as np
import pytest
from safetensors.numpy import load_file

from training.runs.context import Context
from training.tools import repair

from .files import CONV, STEM, dense, kohya, off

OWN, THEIRS = "down_blocks.0.attentions.0", "down_blocks.1.attentions.0"


@pytest.fixture
def two(tmp_path):
    return kohya(tmp_path / "a.safetensors", (4, 8, 2), 2, 1), kohya(tmp_path / "b.safetensors", (6, 2, 2), 4, 2)


@pytest.fixture
def ctx(tool, home, two):
    """The context of a run, whose folder is the studio's here."""
    return Context(tool("scale", adapter=str(two[0]), name="studio"), home, 1)


def test_a_block_s_rule_fits_its_layers_and_no_other(two):
    held = repair.blocks_in(two[0])
    assert [b.name for b in held] == ["down_blocks.0.attentions.0", "down_blocks.0.resnets.0", "down_blocks.1.attentions.0", "down_blocks.2.attentions.0"]
    every = [stem for b in held for stem in b.layers]
    for block in held:
        found = {stem for _, pattern, _ in repair.rules(held, {block.name: 0.5}, 1) for stem in every if re.search(pattern, stem)}
        assert found == set(block.layers)


def test_names_without_a_common_beginning_are_named_one_by_one():
    mine = [f"{chr(97 + n % 26)}{n}_proj" for n in range(200)]
    patterns = repair._patterns(mine, [*mine, "a0_proj_2", "time_embed"])
    assert all(len(p) <= 500 for p in patterns)
    assert [s for s in [*mine, "a0_proj_2", "time_embed"] if any(re.search(p, s) for p in patterns)] == mine


def test_what_is_drawn_with_is_what_scale_writes(tool, ctx, two):
    rules = repair.rules(repair.blocks_in(two[0]), {OWN: 0.0, THEIRS: -1.5}, 1)
    drawn = repair.mended([(two[0], 0.8)], rules, "sd15", "", ctx)
    saved = tool("scale", adapter=str(two[0]), strength=0.8, blocks=[{"adapter": n, "pattern": p, "strength": f} for n, p, f in rules]).result()
    one = dense(two[0])
    truth = {k: 0.8 * v * (-1.5 if k == STEM.format(1) else 1) for k, v in one.items() if k != STEM.format(0)}
    assert off(dense(drawn), truth) < 1e-6
    a, b = load_file(drawn), load_file(saved)
    assert a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)


def test_a_donor_gives_the_blocks_that_are_asked_of_it(tool, ctx, two):
    held = [repair.blocks_in(file) for file in two]
    rules = repair.rules(held[0], {OWN: 0.0}, 1) + repair.rules(held[1], {b.name: float(b.name == OWN) for b in held[1]}, 2)
    drawn = repair.mended([(two[0], 1.0), (two[1], 0.5)], rules, "sd15", "", ctx)
    uses = [{"file": str(two[0]), "strength": 1.0}, {"file": str(two[1]), "strength": 0.5}]
    saved = tool("merge", adapters=uses, blocks=[{"adapter": n, "pattern": p, "strength": f} for n, p, f in rules]).result()
    one, other = map(dense, two)
    assert off(dense(drawn), {**one, STEM.format(0): 0.5 * other[STEM.format(0)]}) < 1e-6 and CONV in dense(drawn)
    a, b = load_file(drawn), load_file(saved)
    assert a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)


def test_a_wish_is_mended_once_and_old_ones_go(ctx, two):
    held = repair.blocks_in(two[0])
    made = [repair.mended([(two[0], 1.0)], repair.rules(held, {OWN: n / 20}, 1), "sd15", "", ctx) for n in range(repair.MOST_FILES + 2)]
    assert len(set(made)) == len(made) and len(list(made[0].parent.iterdir())) == repair.MOST_FILES and not made[0].exists()
    before = made[-1].stat().st_mtime_ns
    assert repair.mended([(two[0], 1.0)], repair.rules(held, {OWN: (repair.MOST_FILES + 1) / 20}, 1), "sd15", "", ctx) == made[-1]
    assert made[-1].stat().st_mtime_ns == before
