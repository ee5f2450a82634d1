"""A slider from pairs of pictures (visual sliders of Concept Sliders, arXiv 2311.12092): strength 1 draws the high ends, -1 the low ones."""

from __future__ import annotations

TITLE = "A slider from pictures"
BLURB = "Pairs of pictures that differ in one thing: strength above 0 leads to the one, below 0 to the other."
SIGNED = True
PAIRS = True  # each picture of the datasets is the high end of a pair
USES = ("low", "focus")


def says(concept) -> tuple[str, str]:
    """(what the result is, how it is used), in sentences."""
    return "A slider from pairs of pictures: strength 1 leads to their high ends, -1 to their low ends.", "Set its strength from -2 to 2; 0 is the base model."


def parts(family, m, batch, schedule, config, switch):
    """The losses of the high and of the low ends, each [B] fp32: |D+(x_high, c) - target|^2, then |D-(x_low, c) - target|^2.

    Noise, level and words are the same for both, so that what the pair shares does not pull either way; where it differs counts most.
    """
    from ..engine.losses import picture_loss

    for sign, clean in ((1, batch.latents), (-1, batch.low)):
        noisy, target = schedule.mix(clean, batch.noise, batch.t), schedule.target(clean, batch.noise, batch.t)
        with switch.times(sign):
            yield picture_loss(family.predict(m, noisy.to(m.dtype), batch.t, batch.cond), target, batch, schedule, config, batch.cells)
