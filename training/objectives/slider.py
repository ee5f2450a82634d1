"""A slider from words (Concept Sliders, Gandikota et al. 2023, arXiv 2311.12092): one LoRA whose strength, below and above 0, is less and more of something."""

from __future__ import annotations

TITLE = "A slider from words"
BLURB = "Strength above 0 draws more of something, below 0 less of it, for example old and young. No pictures needed."
SIGNED = True  # the adapter's effect is also trained times -1
NEEDS = ("positive", "negative")  # of every target
TARGET_USES = ("strength",)
USES = ("targets", "contexts", "preserve", "anchors", "anchor_weight", "drawn")  # of ConceptPart


def lesson(target, context: str, anchor: str, concept):
    """What one noisy picture teaches, a data.concepts.Lesson.

    With D the denoiser's answer to x, 0 for the adapter off, + and - for its effect times 1 and -1, c the target, p and n its ends and eta
    its strength:  |D+(c) - (D0(c) + eta sum_k (D0(p, k) - D0(n, k)))|^2 + |D-(c) - (D0(c) - eta sum_k (...))|^2 over the words k to
    preserve, one empty word where there is none (eq. 7 there, for both signs);  anchors a: |D±(a) - D0(a)|^2.
    """
    from ..data.concepts import in_context, lesson

    with_word = lambda words, k: ", ".join(filter(None, (in_context(context, words), k)))
    kept = concept.preserve or ("",)
    sentences = [in_context(context, target.target), *(with_word(target.positive, k) for k in kept), *(with_word(target.negative, k) for k in kept)]
    up = dict.fromkeys(range(1, 1 + len(kept)), target.strength) | dict.fromkeys(range(1 + len(kept), 1 + 2 * len(kept)), -target.strength)
    down = {k: -share for k, share in up.items()}
    return lesson(sentences, [(1, 0, {0: 1.0} | up), (-1, 0, {0: 1.0} | down)], target.weight, anchor, concept)


def says(concept) -> tuple[str, str]:
    """(what the result is, how it is used), in sentences."""
    ends = "; ".join(f"{t.target}: below 0 {t.negative}, above 0 {t.positive}" for t in concept.targets)
    return f"A slider. {ends}.", "Set its strength from -2 to 2; 0 is the base model. It needs no trigger word."


def parts(family, m, batch, schedule, config, switch):
    """The losses one after the other, each [B] fp32; see engine.lessons."""
    from ..engine.lessons import parts

    return parts(family, m, batch, schedule, config, switch)
