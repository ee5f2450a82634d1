"""Sizes, in px, at which models are shown the pictures that they change: arithmetic alone, also asked before torch is there."""

from __future__ import annotations

import math

OMNIGEN2_STEP_PX = 16  # sides are cut down to whole tokens of the released autoencoder and transformer
OMNIGEN2_MOST_PX, OMNIGEN2_MOST_SIDE_PX = 1024 * 1024, 1024  # the published pipeline's max_pixels and max_input_image_side_length


def of_area(area: int, step: int, width: int, height: int) -> tuple[int, int]:
    """(width, height) of about `area` pixels, of the shape of width x height, divisible by step."""
    across = math.sqrt(area * (width / height))
    return round(across / step) * step, round(across / (width / height) / step) * step


def omnigen2(width: int, height: int) -> tuple[int, int]:
    """(width, height) at which OmniGen2's pipeline encodes a reference: its own size, but no larger than those."""
    scale = min(math.sqrt(OMNIGEN2_MOST_PX / (width * height)), OMNIGEN2_MOST_SIDE_PX / max(width, height), 1.0)
    across, down = (max(int(side * scale) // OMNIGEN2_STEP_PX, 1) * OMNIGEN2_STEP_PX for side in (width, height))
    return across, down
