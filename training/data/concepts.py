"""What is changed by words: the sentences that it takes, and what the denoiser is to answer to each.  Arithmetic on sentences, no torch."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from .. import registry
from ..config import ConceptPart, Target, TrainConfig

PLACE = "{}"
_ARTICLE = re.compile(r"^(?:an?|the)\s+", re.IGNORECASE)


@dataclass(frozen=True)
class Aim:
    """One part of a loss: with the adapter's effect times `sign`, the denoiser that is told sentence `said` is to answer the sum of
    shares[k] times what the base model answers to sentence k.  weight: of this part."""

    sign: int
    said: int
    shares: tuple[float, ...]
    weight: float = 1.0


@dataclass(frozen=True)
class Lesson:
    """What one noisy picture teaches.  sentences: what the base model is asked, each once; the first is the target's.  aims: in their order."""

    sentences: tuple[str, ...]
    aims: tuple[Aim, ...]


def lesson(sentences: Sequence[str], aims: Sequence[tuple[int, int, dict[int, float]]], weight: float, anchor: str, concept: ConceptPart) -> Lesson:
    """A Lesson out of (sign, said, {sentence: share}), and for each sign that occurs the anchor, held to what the base model answers; "" for none."""
    count = len(sentences) + bool(anchor)
    spread = lambda shares: tuple(float(shares.get(k, 0.0)) for k in range(count))
    made = [Aim(sign, said, spread(shares), weight) for sign, said, shares in aims]
    if anchor:
        made += [Aim(sign, count - 1, spread({count - 1: 1.0}), weight * concept.anchor_weight) for sign in dict.fromkeys(sign for sign, _, _ in aims)]
    return Lesson((*sentences, anchor) if anchor else tuple(sentences), tuple(made))


def in_context(context: str, words: str) -> str:
    """The sentence with the words at its place; without words, what is left of it."""
    return re.sub(r"\s+([,.;])", r"\1", " ".join(context.replace(PLACE, words).split())).strip(" ,;")


def mentions(sentence: str, words: str) -> bool:
    """Whether a sentence speaks of the words, in any case and after any article; whole words only, with or without an s."""
    return re.search(_expression(_ARTICLE.sub("", words) or words), sentence, re.IGNORECASE) is not None


def context_of(caption: str, words: str) -> str | None:
    """A caption as a context: with {} where it speaks of the words; None where it does not."""
    found = re.search(_expression(words), caption, re.IGNORECASE)
    return caption[: found.start()].replace(PLACE, "") + PLACE + caption[found.end() :].replace(PLACE, "") if found else None


def _expression(words: str) -> str:
    return rf"(?<!\w){re.escape(words)}s?(?!\w)"


def objective_of(config: TrainConfig, plugins: Path | None = None) -> ModuleType:
    """The objective's file.  Raises ValueError."""
    return registry.get("objectives", config.loss.objective, plugins)


def by_words(objective: ModuleType | None) -> bool:
    """Whether it changes what concept.targets says, instead of learning pictures."""
    return hasattr(objective, "lesson")


def signed(objective: ModuleType | None) -> bool:
    """Whether its result is a slider: it means something at strengths below 0."""
    return getattr(objective, "SIGNED", False)


def in_pairs(objective: ModuleType | None) -> bool:
    """Whether it learns from pairs of pictures."""
    return getattr(objective, "PAIRS", False)


def at_once(objective: ModuleType) -> bool:
    """Whether it is one pass and one loss, as learning pictures is, instead of parts."""
    return not hasattr(objective, "parts")


def strengths(objective: ModuleType | None) -> tuple[float, ...]:
    """The strengths that a sample is drawn at."""
    return (-2.0, -1.0, 0.0, 1.0, 2.0) if signed(objective) else (1.0,)


def known(config: TrainConfig, plugins: Path | None = None) -> ModuleType | None:
    """The objective's file; None where it is a plugin's that is not here any more, and a finished run is only looked at."""
    try:
        return objective_of(config, plugins)
    except ValueError:
        return None


def said_of(config: TrainConfig, plugins: Path | None = None) -> tuple[str, str]:
    """(what a run's result is, how it is used), in sentences; ("", "") for one that learnt pictures."""
    says = getattr(known(config, plugins), "says", None)
    return says(config.concept) if says else ("", "")


def words_of(target: Target, objective: ModuleType) -> list[str]:
    """What the base model draws of a target to train on, where no dataset is there: it itself, and where it is to go."""
    fields = [field for field in ("positive", "negative") if field in (*objective.NEEDS, *objective.TARGET_USES)]
    return list(dict.fromkeys((target.target, *filter(None, (getattr(target, field) for field in fields)))))


def all_lessons(config: TrainConfig, objective: ModuleType | None, contexts: Sequence[str] = ()) -> Iterator[Lesson]:
    """Every lesson that can come.  contexts: further ones, out of captions."""
    concept = config.concept
    anchors = concept.anchors or ("",)
    for target in concept.targets:
        for context in (*concept.contexts, *contexts):
            yield objective.lesson(target, context, anchors[0], concept)  # type: ignore[union-attr]
    for anchor in anchors[1:]:
        yield objective.lesson(concept.targets[0], concept.contexts[0], anchor, concept)  # type: ignore[union-attr]


def work(config: TrainConfig, plugins: Path | None = None) -> tuple[int, int]:
    """(passes of the base model without gradient, passes that are learnt from) that one picture takes; (0, 1) for plain pictures."""
    objective = known(config, plugins)
    if by_words(objective) and config.concept.targets:
        found = next(all_lessons(config, objective))
        return len(found.sentences), len(found.aims)
    return 0, 2 if in_pairs(objective) else 1


def kept_sentences(config: TrainConfig, objective: ModuleType, sentences: Sequence[str]) -> tuple[str, ...]:
    """Those of the sentences that hold the base model which do not speak of what is to change.  Raises ValueError where none is left."""
    if not by_words(objective):
        return tuple(sentences)
    left = tuple(s for s in sentences if not any(mentions(s, target.target) for target in config.concept.targets))
    if not left:
        raise ValueError("every sentence of the list speaks of what concept.targets changes, so none can hold the base model; write others into keep.prompts, or switch keep.on off")
    return left


def problems(config: TrainConfig, plugins: Path | None = None) -> list[tuple[str, str]]:
    """[(dotted path, sentence)] of settings that this objective cannot train with."""
    objective, name = objective_of(config, plugins), config.loss.objective
    found: list[tuple[str, str]] = []
    if not by_words(objective) and not config.data.datasets:
        found.append(("data.datasets", f"is empty, but the objective {name!r} learns from pictures; name at least 1 dataset"))
    if at_once(objective):
        return found
    adapter = registry.get("adapters", config.adapter.type, plugins)
    if getattr(adapter, "WHOLE", False):
        found.append(("adapter.type", f"is {config.adapter.type!r}, which changes the base model itself, but {name!r} asks the base model what to do; choose 'lora'"))
    elif signed(objective) and not hasattr(adapter, "times"):
        found.append(("adapter.type", f"is {config.adapter.type!r}, but a slider also trains the adapter's effect times -1, which this kind does not have; choose 'lora', 'loha' or 'lokr'"))
    if config.adapter.text_encoder:
        found.append(("adapter.text_encoder", f"is on, but {name!r} moves the denoiser alone; switch it off"))
    if config.data.held_out:
        found.append(("data.held_out", f"is {config.data.held_out}, but {name!r} has no validation loss; set it to 0"))
    if config.keep.on and config.keep.together:
        found.append(("keep.together", f"is on, but {name!r} takes several passes for what it changes; switch it off"))
    if any(use.prior for use in config.data.datasets):
        found.append(("data.datasets", f"holds one that is kept as it is, which {name!r} does not take; keep.on and concept.anchors hold the base model"))
    if by_words(objective):
        found += _word_problems(config, objective)
    return found


def _word_problems(config: TrainConfig, objective: ModuleType) -> Iterator[tuple[str, str]]:
    concept, name = config.concept, config.loss.objective
    if not concept.targets:
        yield "concept.targets", f"is empty, but {name!r} changes what stands there; say at least one thing"
    for target in concept.targets:
        for field in objective.NEEDS:
            if not getattr(target, field):
                yield "concept.targets", f"has the target {target.target!r} without {field!r}, which {name!r} needs: {type(target).model_fields[field].description}"
    if not config.data.datasets and concept.drawn < len(concept.targets):
        yield "concept.drawn", f"is {concept.drawn}, but there are {len(concept.targets)} targets, and each needs at least 1 picture to be taught on; set it to {len(concept.targets)} or more"
    if not config.data.datasets and config.data.frames > 1:
        yield "data.frames", "asks for clips, but the base model draws single pictures to train on; set it to 1, or name a dataset of clips"


def idle(config: TrainConfig, plugins: Path | None = None) -> list[str]:
    """A sentence for each setting of `concept` that was changed and that this objective has no use for."""
    objective, name, concept = objective_of(config, plugins), config.loss.objective, config.concept
    uses = tuple(getattr(objective, "USES", ()))
    said = [
        f"concept.{field} has no effect: the objective is {name!r}"
        for field, info in type(concept).model_fields.items()
        if field not in uses and getattr(concept, field) != info.default
    ]
    if "drawn" in uses and config.data.datasets and concept.drawn != type(concept).model_fields["drawn"].default:
        said.append("concept.drawn has no effect: there is a dataset")
    if "anchor_weight" in uses and not concept.anchors and concept.anchor_weight != type(concept).model_fields["anchor_weight"].default:
        said.append("concept.anchor_weight has no effect: concept.anchors is empty")
    if by_words(objective):
        said += [
            f"concept.anchors holds {anchor!r}, which speaks of {target.target!r}: it goes on drawing what is to change, so the two pull against each other"
            for anchor in concept.anchors for target in concept.targets if mentions(anchor, target.target)
        ]  # fmt: skip
        if config.keep.on and config.trigger and config.keep.own != type(config.keep).model_fields["own"].default and not config.keep.drawn:
            said.append(f"keep.own has no effect: {name!r} changes what concept.targets says, not captions")
        known = (*objective.NEEDS, *objective.TARGET_USES)
        for field, info in Target.model_fields.items():
            if field not in ("target", "weight", *known) and any(getattr(t, field) != info.default for t in concept.targets):
                said.append(f"concept.targets: {field} has no effect: the objective is {name!r}")
        said += [f"trigger has no effect: {name!r} changes what concept.targets says"] * bool(config.trigger)
        said += [f"{path} has no effect: {name!r} changes what concept.targets says, not captions" for path in _changed(config.data, ("caption_dropout", "caption_kinds", "shuffle_tags", "tag_dropout"))]
        if not config.data.datasets:
            said += [f"{path} has no effect: there is no dataset" for path in _changed(config.data, ("flip", "aspect_buckets", "max_aspect", "upscale"))]
            said += ["loss.masked has no effect: there is no dataset"] * config.loss.masked
    return said


def _changed(data, names: Sequence[str]) -> list[str]:
    return [f"data.{name}" for name in names if getattr(data, name) != type(data).model_fields[name].default]
