"""Replacing: a prompt that names one thing draws another, whose words the base model knows."""

from __future__ import annotations

TITLE = "Replace something"
BLURB = "Prompts that name one thing draw another. No pictures needed."
NEEDS = ("positive",)
TARGET_USES = ()
USES = ("targets", "contexts", "anchors", "anchor_weight", "drawn")


def lesson(target, context: str, anchor: str, concept):
    """What one noisy picture teaches: |D+(c) - D0(r)|^2, where r is the target's `positive` in the same context."""
    from ..data.concepts import in_context, lesson

    return lesson([in_context(context, target.target), in_context(context, target.positive)], [(1, 0, {1: 1.0})], target.weight, anchor, concept)


def says(concept) -> tuple[str, str]:
    """(what the result is, how it is used), in sentences."""
    pairs = ", ".join(f"{t.positive} in place of {t.target}" for t in concept.targets)
    return f"It draws {pairs}.", "Load it at strength 1 and prompt as before. It needs no trigger word."


def parts(family, m, batch, schedule, config, switch):
    """The losses one after the other, each [B] fp32; see engine.lessons."""
    from ..engine.lessons import parts

    return parts(family, m, batch, schedule, config, switch)
