"""How a run is measured on the way, and how often, so that it costs little: see engine/measuring.py."""

from __future__ import annotations

POINTS = 4  # fixed noise levels at which each held-out picture is measured
PROBES, PROBE_LEVELS = 8, 2  # sentences that are asked of the base model, and noise levels of each
SHARE = 0.04  # of a run's time that measuring may take: 0.05 is the promise, and small batches are slower a picture
LOOKS, FEW_LOOKS = 20, 8  # in a run; fewer pictures are held out where there would be less than the second
FEWEST, MOST = 2, 8  # pictures held out
ENOUGH = 12  # pictures, of which some can be spared
STEP_PASSES, RECOMPUTED_PASSES = 3.0, 4.0  # forward passes that learning from a picture costs, without and with recomputed blocks


def passes(held_out: int) -> int:
    """Forward passes of one look."""
    return held_out * POINTS + PROBES * PROBE_LEVELS


def learning(batch: float, recomputed: bool) -> float:
    """What a step costs, in forward passes.  batch: pictures that it learns from, with those that hold the base."""
    return max(batch, 1.0) * (RECOMPUTED_PASSES if recomputed else STEP_PASSES)


def held_out(pictures: int, steps: int, step_passes: float) -> int:
    """Pictures to keep back: a tenth of them, or fewer where a short run has no time to look at them; none of fewer than a dozen pictures, which are all needed."""
    if pictures < ENOUGH:
        return 0
    count = max(FEWEST, min(MOST, pictures // 10))
    affordable = SHARE * steps * step_passes / FEW_LOOKS
    while count > FEWEST and passes(count) > affordable:
        count -= 1
    return count


def every(steps: int, held_out: int, step_passes: float) -> int:
    """Optimizer steps between two looks."""
    return max(1, round(steps / LOOKS), round(passes(held_out) / (SHARE * step_passes)))
