"""Merging, cutting down and scaling, held to dense arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from training.runs.run import list_runs

from .files import CONV, STEM, dense, kohya, off


@pytest.fixture
def two(tmp_path):
    return kohya(tmp_path / "a.safetensors", (4, 8), 2, 1), kohya(tmp_path / "b 日本.safetensors", (6, 2), 4, 2)


def use(file, strength=1.0) -> dict:
    return {"file": str(file), "strength": strength}


@pytest.mark.parametrize("strengths", [(1.0, 1.0), (0.5, 0.0), (0.7, -0.3)])
def test_a_merge_is_the_exact_sum(tool, two, strengths):
    made = tool("merge", adapters=[use(f, s) for f, s in zip(two, strengths, strict=True)]).result()
    one, other = map(dense, two)
    assert off(dense(made), {k: strengths[0] * one[k] + strengths[1] * other[k] for k in one}) < 1e-6


def test_one_at_half_strength_acts_half_as_strong(tool, two):
    """0.25 in programs that multiply both factors."""
    made = dense(tool("merge", adapters=[use(two[0], 0.5)]).result())
    assert off(made, {k: 0.5 * v for k, v in dense(two[0]).items()}) < 1e-6


def test_the_file_says_what_it_is_made_of_and_keeps_what_all_agree_on(tool, two):
    run = tool("merge", adapters=[use(f) for f in two], name="both")
    with safe_open(run.result(), "np") as file:
        said = file.metadata()
    assert (run.result().name, said["modelspec.trigger_phrase"], said["ss_network_dim"]) == ("both.safetensors", "zibbo", "10")
    assert "b 日本.safetensors" in said["easel.made"] and two[0].parent.name not in said["easel.made"]


def test_blocks_have_strengths_of_their_own(tool, two):
    blocks = [{"pattern": "down_blocks_1", "strength": 0.25}, {"pattern": "conv1", "strength": 0, "adapter": 2}]
    made = dense(tool("merge", adapters=[use(two[0]), use(two[1], 2.0)], blocks=blocks).result())
    one, other = map(dense, two)
    truth = {k: (0.25 if "down_blocks_1" in k else 1.0) * (one[k] + (0 if k == CONV else 2.0) * other[k]) for k in one}
    assert off(made, truth) < 1e-6


def test_a_layer_that_only_one_has_comes_along(tool, tmp_path):
    one, other = kohya(tmp_path / "a.safetensors", (4, 4, 4), 4, 1), kohya(tmp_path / "b.safetensors", (4,), 4, 2, conv=False)
    made = dense(tool("merge", adapters=[use(one), use(other)]).result())
    assert len(made) == 4 and np.allclose(made[STEM.format(2)], dense(one)[STEM.format(2)])


def test_a_rank_gives_the_best_of_that_rank(tool, two):
    made = dense(tool("merge", adapters=[use(f) for f in two], rank=3).result())
    for layer, whole in ((k, dense(two[0])[k] + dense(two[1])[k]) for k in made):
        u, s, v = np.linalg.svd(whole)
        best = (u[:, :3] * s[:3]) @ v[:3]
        assert np.linalg.norm(made[layer] - best) / np.linalg.norm(best) < 1e-5


@pytest.mark.parametrize("method", ["ties", "dare", "dare_ties"])
def test_ties_and_dare_are_peft_s_on_the_dense_change(tool, two, method):
    import torch
    from peft.utils import merge_utils

    settings = {"adapters": [use(f, 0.8) for f in two], "method": method, "density": 0.6, "rank": 24}
    made = dense(tool("merge", **settings).result())
    if method == "ties":
        one, other = map(dense, two)
        truth = {k: merge_utils.ties([torch.from_numpy(one[k]), torch.from_numpy(other[k])], torch.tensor([0.8, 0.8], dtype=torch.float64), 0.6).numpy() for k in one}
        assert off({k: v for k, v in made.items() if k != CONV}, {k: v for k, v in truth.items() if k != CONV}) < 1e-5
    again = tool("merge", **settings).result()
    assert all(np.array_equal(a, b) for a, b in zip(load_file(again).values(), load_file(tool("merge", **settings).result()).values(), strict=True))


def test_files_laid_out_in_different_ways_are_brought_together(tool, tmp_path):
    """kohya's names and diffusers' for one family: the sum is still exact, and comes in the layout that most programs read."""
    rng = np.random.default_rng(5)
    layer = "transformer.transformer_blocks.3.attn.to_out.0"
    down, up = rng.normal(size=(4, 24)).astype(np.float32), rng.normal(size=(32, 4)).astype(np.float32)
    save_file({f"{layer}.lora_A.weight": down, f"{layer}.lora_B.weight": up}, tmp_path / "a.safetensors")
    kohya(tmp_path / "b.safetensors", (2,), 1, 3, conv=False, stem="lora_unet_double_blocks_3_img_attn_proj")
    made = dense(tool("merge", adapters=[use(tmp_path / "a.safetensors"), use(tmp_path / "b.safetensors", 0.5)], family="flux1").result())
    truth = up.astype(np.float64) @ down + 0.5 * next(iter(dense(tmp_path / "b.safetensors").values()))
    assert off(made, {layer: truth}) < 1e-6
    with pytest.raises(ValueError, match="may be for .* or .*; say for which family"):
        tool("merge", adapters=[use(tmp_path / "a.safetensors"), use(tmp_path / "b.safetensors")])


def test_half_precision_stays_half_and_says_where_it_overflows(tool, tmp_path):
    file = kohya(tmp_path / "half.safetensors", (4,), 4, 1, conv=False, dtype=np.float16)
    made = tool("scale", adapter=str(file), strength=0.5).result()
    assert {v.dtype for k, v in load_file(made).items() if not k.endswith("alpha")} == {np.dtype(np.float16)}
    save_file({k: np.full(v.shape, 60000, np.float16) if "lora_up" in k else v for k, v in load_file(file).items()}, tmp_path / "loud.safetensors")
    with pytest.raises(ValueError, match="do not fit F16; choose a smaller strength, or F32"):
        tool("scale", adapter=str(tmp_path / "loud.safetensors"), strength=50)


def test_resize_keeps_what_was_asked_for_and_says_what_it_lost(tool, two):
    run = tool("resize", adapter=str(two[0]), share=0.9)
    found, whole = dense(run.result()), dense(two[0])
    assert all(np.linalg.norm(found[k]) >= 0.9 * np.linalg.norm(whole[k]) for k in whole)
    ranks = {k: len(v) for k, v in load_file(run.result()).items() if "lora_down" in k}
    assert ranks[f"{STEM.format(1)}.lora_down.weight"] < 8
    assert "of the change" in run.last("finished")["summary"]


def test_a_resized_adapter_of_one_rank_s_size_is_the_best_there_is(tool, two):
    found = dense(tool("resize", adapter=str(two[0]), rank=2, share=1.0).result())
    for layer, whole in dense(two[0]).items():
        u, s, v = np.linalg.svd(whole)
        best = (u[:, :2] * s[:2]) @ v[:2]
        assert np.linalg.norm(found[layer] - best) / np.linalg.norm(best) < 1e-5


def test_a_run_and_its_checkpoints_can_be_named(tool, two, home):
    first = tool("scale", adapter=str(two[0]), strength=2.0)
    assert off(dense(tool("scale", adapter=first.id, strength=0.5).result()), dense(two[0])) < 1e-6
    with pytest.raises(ValueError, match="has no checkpoint '7'"):
        tool("scale", adapter=f"{first.id}/7", strength=0.5)


@pytest.mark.parametrize(
    ("kind", "settings", "sentence"),
    [
        ("merge", {"adapters": [{"file": "nowhere.safetensors"}]}, "there is no file 'nowhere.safetensors'"),
        ("merge", {"adapters": [{"file": "A", "strength": 0}]}, "every strength is 0"),
        ("merge", {"adapters": [{"file": "A"}], "blocks": [{"pattern": "up_blocks_9"}]}, "the block 'up_blocks_9' fits no layer; a layer is called for example lora_unet"),
        ("scale", {"adapter": "A", "blocks": [{"pattern": "("}]}, "is not a regular expression"),
        ("resize", {"adapter": "A", "share": 1.0}, "nothing would be cut"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_left(tool, two, home, kind, settings, sentence):
    settings = eval(repr(settings).replace("'A'", repr(str(two[0]))))
    with pytest.raises(ValueError, match=sentence.replace("(", r"\(")):
        tool(kind, **settings)
    assert not [p for run in list_runs(home.outputs) for p in run.path.iterdir() if p.suffix == ".safetensors"]


def test_stop_leaves_nothing_half_written(home, two):
    from training import jobfile, registry
    from training.runs.context import Context, Stopped
    from training.runs.run import create

    job = registry.get("jobs", "merge")
    run = create(home.outputs, jobfile.parse(job.Config, {"kind": "merge", "name": "x", "adapters": [use(two[0])]}, "the test"))
    ctx = Context(run, home, 1)
    ctx.request_stop()
    with pytest.raises(Stopped):
        job.run(run.config(), ctx)
    assert not list(run.path.glob("*.safetensors")) and not list(run.path.glob(".unproven*"))
