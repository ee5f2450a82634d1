"""How a run is measured on the way, and how often, so that it costs little: see engine/measuring.py."""

from __future__ import annotations

POINTS = 4  # fixed noise levels at which each held-out picture is measured
PROBES, PROBE_LEVELS = 8, 2  # sentences that are asked of the base model, and noise levels of each
SHARE = 0.04  # of a run's time that its measuring may take; 0.05 is the promise, and small batches are slower a picture
STEP_PASSES = 3.0  # forward passes that forward and backward of a picture cost


def passes(held_out: int) -> int:
    """Forward passes of one look."""
    return held_out * POINTS + PROBES * PROBE_LEVELS


def every(steps: int, held_out: int, per_step: float) -> int:
    """Optimizer steps between two looks: some twenty looks in a run, fewer where they would take more than SHARE of its time.  per_step: pictures that a step learns from."""
    if not held_out:
        return 0
    dear = passes(held_out) / (SHARE * STEP_PASSES * max(per_step, 1.0))
    return max(1, round(steps / 20), round(dear))
