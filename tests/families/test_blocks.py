"""Named sets of blocks: each family's are some of its layers, and act beside what a person includes and excludes."""

from __future__ import annotations

import re
from types import SimpleNamespace

import pytest
from torch import nn

from tests import tiny
from training import jobfile, registry
from training.config import AdapterPart
from training.formats import adapting

FAMILIES = sorted(id for id, plugin in registry.find("families").items() if plugin.module.SPEC.blocks)
MOST_BLOCKS = 60  # Qwen-Image has as many


def layers(spec) -> list[str]:
    """The denoiser's layers that an adapter may wrap, as far as the first release's names tell them."""
    found = [part for o in spec.originals for part in o.parts]
    names = {name.replace("{n}", str(n)) for name in found for n in range(MOST_BLOCKS)}
    return sorted(name for name in names if adapting.ends_on(name, spec.lora_targets["attention+ff"]))


@pytest.mark.parametrize("id", [id for id in FAMILIES if registry.get("families", id).SPEC.originals])
def test_a_set_is_some_of_the_layers_and_not_all(id):
    spec = registry.get("families", id).SPEC
    names, kept = layers(spec), {}
    for key, blocks in spec.blocks.items():
        config = adapting.in_force(AdapterPart(blocks=key), spec)
        kept[key] = {name for name in names if adapting.included(config, name)}
        assert kept[key] and kept[key] < set(names) and blocks.title and blocks.blurb.endswith("."), key
    assert not kept["composition"] & kept["detail"]
    assert not any(re.search(r"attn2|add_[qkv]_proj|ff_context|txt_|context_refiner", name) for name in kept["no_text"])


def test_the_blocks_of_b_lora_are_those_of_the_paper():
    spec = registry.get("families", "sdxl").SPEC
    for key, number in (("content", 0), ("style", 1)):
        config = adapting.in_force(AdapterPart(blocks=key), spec)
        kept = [name for name in layers(spec) if adapting.included(config, name)]
        assert all(name.startswith(f"up_blocks.0.attentions.{number}.") for name in kept) and len(kept) > 50


def test_a_set_acts_beside_include_and_exclude_and_says_where_nothing_is_left():
    module = nn.ModuleDict({"up_blocks": nn.ModuleList([nn.ModuleDict({"attn1": nn.ModuleDict({"to_q": nn.Linear(2, 2), "to_k": nn.Linear(2, 2)}), "attn2": nn.ModuleDict({"to_q": nn.Linear(2, 2)})})])})
    spec = registry.get("families", "sd15").SPEC
    chosen = lambda **settings: adapting.chosen_layers(module, adapting.in_force(AdapterPart(**settings), spec), ("to_q", "to_k"))
    assert chosen(blocks="no_text") == ["up_blocks.0.attn1.to_q", "up_blocks.0.attn1.to_k"]
    assert chosen(blocks="no_text", include=("to_q",)) == ["up_blocks.0.attn1.to_q"] and chosen(blocks="composition") == chosen()
    with pytest.raises(ValueError, match="adapter.blocks is 'detail', which leaves no layer of adapter.targets 'attention'"):
        chosen(blocks="detail")
    with pytest.raises(ValueError, match="adapter.exclude has 'to_z'"):
        chosen(blocks="no_text", exclude=("to_z",))


def test_a_set_that_a_base_model_has_not_is_refused_before_the_start(home):
    job = tiny.train_job("owner/name", "x", adapter__blocks="style")
    config = jobfile.parse(registry.get("jobs", "train").Config, job)
    assert adapting.problems(config) == [("adapter.blocks", "is 'style', which is no set of Stable Diffusion 1.5; there are: composition, detail, no_text")]
    spec = registry.get("families", "sd15").SPEC
    assert adapting.in_force(config.adapter, spec) is config.adapter, "an estimate comes before the refusal"
    other = SimpleNamespace(**dict(config) | {"model": config.model.model_copy(update={"family": "lumina2"})})
    assert "there is none for it" in adapting.problems(other)[0][1]
