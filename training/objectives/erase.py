"""Forgetting (Erased Stable Diffusion, Gandikota et al. 2023, arXiv 2303.07345): what a word called up is led away from."""

from __future__ import annotations

TITLE = "Forget something"
BLURB = "Prompts that name it draw something else. No pictures needed."
NEEDS = ()
TARGET_USES = ("positive", "strength")
USES = ("targets", "contexts", "anchors", "anchor_weight", "drawn")


def lesson(target, context: str, anchor: str, concept):
    """What one noisy picture teaches: |D+(c) - (D0(0) - eta (D0(c) - D0(0)))|^2, eq. 7 there.

    0 is the context with the target's `positive`, what it falls back on; without one it is what the context says without the target, nothing
    where it says no more.  A base model that draws the very thing where it is told no thing at all forgets it only with something to fall back on.
    """
    from ..data.concepts import in_context, lesson

    eta = target.strength
    return lesson([in_context(context, target.target), in_context(context, target.positive)], [(1, 0, {0: -eta, 1: 1 + eta})], target.weight, anchor, concept)


def says(concept) -> tuple[str, str]:
    """(what the result is, how it is used), in sentences."""
    back: dict[str, list[str]] = {}
    for target in concept.targets:
        back.setdefault(target.target, []).extend(filter(None, [target.positive]))
    named = [f"{target} (it falls back on {' or '.join(dict.fromkeys(others))})" if others else target for target, others in back.items()]
    return f"It makes the base model forget: {', '.join(named)}.", "Load it at strength 1; prompts that name it draw something else. It needs no trigger word."


def parts(family, m, batch, schedule, config, switch):
    """The losses one after the other, each [B] fp32; see engine.lessons."""
    from ..engine.lessons import parts

    return parts(family, m, batch, schedule, config, switch)
