"""Whether compiling the blocks of a denoiser pays for a run, and what it costs before the first step.  No torch."""

from __future__ import annotations

from ..config import TrainConfig

FP8_SINCE = (8, 9)  # compute capability of the first cards that multiply fp8 numbers: Ada
LONG_STEPS = 500  # a run below that ends before compiled blocks have won back what compiling took
COMPILE_S = 90.0  # of a UNet's blocks on two cores; transformers have two or three kinds of blocks and take less
PROVEN: tuple[str, ...] = ()  # parts of the names of cards on which compiled blocks were measured to be quicker; none was at hand yet


def compiles(config: TrainConfig, card: str = "") -> tuple[bool, str]:
    """(whether the blocks are compiled, why not where auto decides against it)."""
    how = config.engine.compile
    if how != "auto":
        return how == "on", ""
    if config.model.offload:
        return False, "blocks that wait in RAM are swapped while they run"
    if not any(name in card for name in PROVEN):
        return False, "on this device nobody has measured yet that compiled blocks are quicker; 'on' compiles them all the same"
    if config.steps < LONG_STEPS:
        return False, f"a run of {config.steps} steps ends before it pays; from {LONG_STEPS} on it does"
    return True, ""


def compiling_s(config: TrainConfig, card: str = "") -> float:
    """Seconds before the first step that compiling takes where nothing was kept; a rough figure."""
    return COMPILE_S if compiles(config, card)[0] else 0.0
