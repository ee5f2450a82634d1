"""Which settings of a run have no effect, a sentence each.

Those of the optimizer are plan/optimizing.py's, those of speed and of `survive` lie beside what they set (speed.py, nans.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from ..config import TrainConfig
from ..formats.adapting import is_whole
from ..plan import advising, optimizing, speeding


def settings(config: TrainConfig, adapter: ModuleType, prompted: bool) -> list[str]:
    """Of saving, samples, data, what holds the base, and memory.  prompted: whether there are sample prompts."""
    c, said = config, []
    if c.save.validate_every and not c.data.held_out and c.save.validate_every != type(c.save)().validate_every:
        said.append("save.validate_every has no effect: data.held_out is 0, so there is nothing to measure on")
    if c.save.stop_early:
        for value, least, name in ((c.data.held_out, advising.FEWEST_PICTURES, "data.held_out"), (c.save.validate_every, 1, "save.validate_every"), (c.save.every, 1, "save.every")):
            said += [f"save.stop_early has no effect: {name} is {value}, so nothing says when to stop"] * (value < least)
        if is_whole(adapter):
            said.append(f"save.stop_early has no effect: {adapter.TITLE} changes the base model itself, so there is none to compare with")
    said += speeding.idle(c)
    if c.model.context_strength != 1 and not c.model.context_adapter:
        said.append("model.context_strength has no effect: there is no model.context_adapter")
    if c.sample.every and not prompted:
        said.append("sample.every has no effect: there are no sample prompts")
    if c.data.keep_tags != type(c.data).model_fields["keep_tags"].default and not (c.data.shuffle_tags or c.data.tag_dropout):
        said.append("data.keep_tags has no effect: data.shuffle_tags is off and data.tag_dropout is 0")
    if not any(use.prior for use in c.data.datasets):
        for part, name in (("loss", "prior_target"), ("data", "prior_caption_dropout")):
            if getattr(getattr(c, part), name) != type(getattr(c, part)).model_fields[name].default:
                said.append(f"{part}.{name} has no effect: no dataset is kept as it is")
    said += _of_keeping(c)
    if c.model.offload and c.device == "cpu":
        said.append("model.offload saves nothing: on a CPU everything is in RAM")
    if not c.data.aspect_buckets and c.data.max_aspect != type(c.data).model_fields["max_aspect"].default:
        said.append("data.max_aspect has no effect: data.aspect_buckets is off")
    said += _of_clips(c)
    return said


def _of_clips(config: TrainConfig) -> list[str]:
    """Of what is set for clips, where none are learnt or drawn, or where it cannot act."""
    said = []
    d = config.data
    for name, part, frames, fields in (("data", d, d.most_frames, ("fps", "segments", "scenes", "shorter")), ("sample", config.sample, config.sample.frames, ("fps",))):
        if frames == 1:
            said += [f"{name}.{f} has no effect: {name}.frames is 1" for f in fields if getattr(part, f) != type(part).model_fields[f].default]
    if d.most_frames > 1:
        said += [f"data.shorter has no effect at {n} frames: no training clip is longer than {d.most_frames}" for n in d.shorter if n >= d.most_frames]
    said += [f"data.datasets has a rate of its own for {use.name!r}, which has no effect: its frames are 1" for use in d.datasets if use.fps and d.frames_of(use) == 1]
    return said


def _of_keeping(config: TrainConfig) -> list[str]:
    keep, usual = config.keep, type(config.keep)()
    changed = [name for name in type(keep).model_fields if getattr(keep, name) != getattr(usual, name)]
    if not keep.on:
        return [f"keep.{name} has no effect: keep.on is off" for name in changed]
    said = ["keep.words has no effect: keep.prompts are there instead"] if keep.words and keep.prompts else []
    if keep.drawn:
        return said + ["keep.own has no effect: keep.drawn holds pictures of the base model's own"] * ("own" in changed)
    return said + ["keep.own has no effect: there is no trigger word to leave out"] * ("own" in changed and not config.triggers)


def of_optimizer(config: TrainConfig, shapes: Sequence[tuple[int, ...]], plugins: Path | None = None) -> list[str]:
    """Of the optimizer, and what it says itself of its options and of weights of these shapes."""
    optimizer = optimizing.of(config.optimizer, plugins)
    remarks = getattr(optimizer, "remarks", lambda *_: [])
    return [*optimizing.idle(config, optimizer), *remarks(config.optimizer, optimizing.options_of(config.optimizer, optimizer), shapes)]


def of_adapter(config: TrainConfig, adapter: ModuleType, spec, plugins: Path | None = None) -> list[str]:
    """A sentence for each adapter setting that was changed and that this kind, family or optimizer has no use for."""
    a, said = config.adapter, []
    for name, field in type(a).model_fields.items():
        if name != "type" and name not in adapter.USES and getattr(a, name) != field.default:
            said.append(f"adapter.{name} has no effect: the adapter is {a.type!r}")
    if "least_rank" in adapter.USES and a.least_rank >= a.rank:
        said.append(f"adapter.least_rank is {a.least_rank}, which is not below adapter.rank: every rank learns from every noise level")
    text = a.text_encoder and "text_encoder" in adapter.USES
    if text and not spec.trainable_text:
        said.append(f"adapter.text_encoder has no effect: the text encoders of {spec.title} are not trained")
    changed = a.text_learning_rate != type(a).model_fields["text_learning_rate"].default
    if changed and "text_learning_rate" in adapter.USES and not (text and spec.trainable_text):
        said.append("adapter.text_learning_rate has no effect: adapter.text_encoder is off")
    optimizer = optimizing.of(config.optimizer, plugins)
    if changed and text and optimizing.one_rate(optimizer):
        said.append(f"adapter.text_learning_rate has no effect: {optimizer.TITLE} finds the rates itself")
    return said
