"""Samples in few steps, by a LoRA that is on in nothing else: what is known of such LoRAs, and what goes with one.  No torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .. import registry
from ..config import TrainConfig
from ..data import concepts
from ..family import FamilySpec, Speed
from ..home import Home

SLOW_STEPS = 12  # a speed adapter is made for fewer
SLOW_SHARE = 0.1  # of a run's time that samples take, from which a quicker way is worth a sentence


def known(family: str, source: str, home: Home) -> Speed | None:
    """What is known of a speed adapter; None for another one, or a family that is not there."""
    found = registry.find("families", home.plugins).get(family)
    return found.module.SPEC.speed.get(source) if found and found.ok else None


def settle(data: dict[str, Any], set_by_user: Mapping[str, Any], home: Home) -> None:
    """Steps, guidance and strength of the samples are those of the known speed adapter that somebody chose, where they said nothing themselves."""
    sample, said = data.setdefault("sample", {}), set_by_user.get("sample", {})
    speed = known(str(data.get("model", {}).get("family", "")), str(said.get("speed_adapter", "")), home)
    if speed:
        usual = {"steps": speed.steps, "guidance": speed.guidance, "speed_strength": speed.strength}
        sample.update({name: value for name, value in usual.items() if name not in said})


def problems(config: TrainConfig, home: Home) -> list[tuple[str, str]]:
    """[(dotted path, sentence)] where it could not act, or where pictures to train on would be drawn with the samples' few steps and without it."""
    if not config.sample.speed_adapter:
        return []
    if config.engine.compile != "off":
        return [("engine.compile", f"is {config.engine.compile!r}, but sample.speed_adapter is on in samples alone, which compiled blocks would not see; set it to off")]
    by_words = concepts.by_words(concepts.known(config, home.plugins)) and not config.data.datasets
    if by_words or (config.keep.on and config.keep.drawn):
        why = "is set, but the base model first draws pictures to train on, with the steps and guidance of the samples and without it; leave it empty"
        return [("sample.speed_adapter", why)]
    return []


def idle(config: TrainConfig) -> list[str]:
    """Sentences on what has no effect, or hardly the one that is wanted."""
    s, usual = config.sample, type(config.sample)()
    if not s.speed_adapter:
        return ["sample.speed_strength has no effect: there is no sample.speed_adapter"] * (s.speed_strength != usual.speed_strength)
    if s.steps > SLOW_STEPS:
        return [f"sample.speed_adapter makes samples no quicker: sample.steps is {s.steps}; set it to what the LoRA was made for, mostly 4 to 8, and sample.guidance to 1"]
    return []


def remarks(config: TrainConfig, spec: FamilySpec) -> list[str]:
    """A sentence where a known speed adapter is on another base model than it was made for."""
    speed = spec.speed.get(config.sample.speed_adapter)
    if speed is None or config.model.source == (speed.made_for or spec.default_source):
        return []
    return [f"sample.speed_adapter was made for {speed.made_for or spec.default_source}; on this base model samples may look worse than what it learns, or not load at all, so look at the first ones"]


def sentence(config: TrainConfig, spec: FamilySpec, samples_s: float, seconds: float) -> list[str]:
    """For the plan: that samples are quick, or how they would be.  samples_s: what they take of the run's seconds."""
    s = config.sample
    if not (s.every and s.prompts):
        return []
    if s.speed_adapter:
        return [f"Samples are drawn in {s.steps} steps with the speed adapter {s.speed_adapter.rpartition('/')[2]}, which is neither trained nor part of the result"]
    quicker = next(((source, speed) for source, speed in spec.speed.items() if 2 * speed.steps <= s.steps and config.model.source == (speed.made_for or spec.default_source)), None)
    if not quicker or samples_s < SLOW_SHARE * seconds:
        return []
    source, speed = quicker
    return [f"Samples take about {samples_s / seconds:.0%} of the time; in {speed.steps} steps they would cost less: set sample.speed_adapter to {source}"]
