"""People's poses, as an openpose ControlNet is shown them: where a person's points are in heat maps, and how a skeleton is drawn.  numpy and PIL, no torch.

A pose model looks at one person at a time, cut out by the box that a detector found: `crop` cuts, `decoded` says where in the picture the points lie
that the model marked in its heat maps (DARK, Zhang et al. 2020, arXiv 1910.06278, unbiased as in Huang et al. 2020, arXiv 1911.07524).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

# OpenPose's 18 points, in its order, and where each stands among the 17 of COCO, which pose models are trained on; the neck is in none of them.
NAMES = (
    "nose", "neck", "right shoulder", "right elbow", "right wrist", "left shoulder", "left elbow", "left wrist", "right hip", "right knee", "right ankle",
    "left hip", "left knee", "left ankle", "right eye", "left eye", "right ear", "left ear",
)  # fmt: skip
OF_COCO = (0, None, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3)
COCO_POINTS = 17
NECK, SHOULDERS = 1, (2, 5)
# A colour a point, once around the wheel; a limb has the colour of its own place in the list below.  Colours, limbs, brightness and sizes are those
# of the annotator that ControlNet's openpose models were trained with (lllyasviel/ControlNet, annotator/openpose/util.py).
COLOURS = (
    (255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0), (0, 255, 0), (0, 255, 85), (0, 255, 170),
    (0, 255, 255), (0, 170, 255), (0, 85, 255), (0, 0, 255), (85, 0, 255), (170, 0, 255), (255, 0, 255), (255, 0, 170), (255, 0, 85),
)  # fmt: skip
LIMBS = ((1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13), (1, 0), (0, 14), (14, 16), (0, 15), (15, 17))
LIMB_BRIGHTNESS = 0.6  # of the colour of its place; points are drawn over limbs, in full
RADIUS_PX, AT_PX = 4, 512  # half a limb's thickness, and a point's radius, where the picture's shorter side is AT_PX
OUTLINE = 64  # corners of the polygon that an ellipse is drawn as

PADDING = 1.25  # a box is taken this much wider and higher, as ViTPose was trained
BLUR_SIGMA, BLUR_RADIUS = 0.8, 5  # of heat maps, in their cells, before the place of their top is looked for
LEAST, MOST = 0.001, 50.0  # of a blurred heat map, whose logarithm is taken

Pose = Sequence[tuple[float, float] | None]  # NAMES' points in px from the picture's upper left corner; None where one was not seen


@dataclass(frozen=True)
class Region:
    """What of a picture a pose model is shown: its middle, width and height in px.  It may reach beyond the picture."""

    x: float
    y: float
    width: float
    height: float


def region(box: Sequence[float], aspect: float) -> Region:
    """What is cut out for a person.  box: left, top, right, bottom in px.  aspect: width / height of what the model is shown; the box is widened to it, never narrowed."""
    left, top, right, bottom = box
    width, height = right - left, bottom - top
    return Region((left + right) / 2, (top + bottom) / 2, PADDING * max(width, height * aspect), PADDING * max(height, width / aspect))


def crop(picture: Image.Image, of: Region, size: tuple[int, int]) -> Image.Image:
    """A region as a picture of `size`, black where it reaches beyond.  Its corners' pixels lie on the region's corners, as in unbiased data processing."""
    from PIL import Image

    across, down = of.width / (size[0] - 1), of.height / (size[1] - 1)
    left, top = of.x - of.width / 2, of.y - of.height / 2
    # PIL asks for the place of a pixel's middle, half a pixel from where the pixel is counted
    there = (across, 0, left + 0.5 - across / 2, 0, down, top + 0.5 - down / 2)
    return picture.transform(size, Image.Transform.AFFINE, there, Image.Resampling.BILINEAR)


def decoded(heat: np.ndarray, of: Region) -> tuple[np.ndarray, np.ndarray]:
    """([K,2] places in px of the picture, [K] how sure the model is, about 0 to 1) of the points that heat maps [K,h,w] of a region mark."""
    import numpy as np

    count, h, w = heat.shape
    sure = heat.reshape(count, -1).max(axis=1)
    y, x = np.divmod(heat.reshape(count, -1).argmax(axis=1), w)
    log = np.pad(np.log(np.clip(_blurred(heat), LEAST, MOST)), ((0, 0), (1, 1), (1, 1)), mode="edge")
    point = np.arange(count)
    at = lambda right, down: log[point, y + 1 + down, x + 1 + right]
    # a step of Newton's on the logarithm, which is a parabola where the heat is a Gaussian: its gradient, and its second derivatives
    slope = np.stack([(at(1, 0) - at(-1, 0)) / 2, (at(0, 1) - at(0, -1)) / 2], axis=-1)
    mixed = (at(1, 1) - at(1, 0) - at(0, 1) + 2 * at(0, 0) - at(-1, 0) - at(0, -1) + at(-1, -1)) / 2
    bend = np.stack([at(1, 0) - 2 * at(0, 0) + at(-1, 0), mixed, mixed, at(0, 1) - 2 * at(0, 0) + at(0, -1)], axis=-1).reshape(count, 2, 2)
    bend = bend + np.finfo(np.float32).eps * np.eye(2)  # flat heat has no top to step to, and would divide by zero
    cells = np.stack([x, y], axis=-1) - np.linalg.solve(bend, slope[..., None])[..., 0]
    return cells * (of.width / (w - 1), of.height / (h - 1)) + (of.x - of.width / 2, of.y - of.height / 2), sure


def _blurred(heat: np.ndarray) -> np.ndarray:
    """Heat maps [K,h,w] under a Gaussian, mirrored at their edges."""
    import numpy as np

    steps = np.arange(-BLUR_RADIUS, BLUR_RADIUS + 1)
    bell = np.exp(-0.5 * (steps / BLUR_SIGMA) ** 2)
    bell /= bell.sum()
    wide = np.pad(heat.astype(np.float64), ((0, 0), (BLUR_RADIUS,) * 2, (BLUR_RADIUS,) * 2), mode="symmetric")
    h, w = heat.shape[1:]
    down = sum(share * wide[:, n : n + h] for n, share in enumerate(bell))
    return sum(share * down[:, :, n : n + w] for n, share in enumerate(bell))


def pose(places: np.ndarray, sure: np.ndarray, threshold: float) -> Pose:
    """A person's points as OpenPose has them, of COCO's 17 ([17,2] px, [17]).  threshold: points that are less sure are left out."""
    seen = [(float(x), float(y)) if is_sure >= threshold else None for (x, y), is_sure in zip(places, sure, strict=True)]
    points = [None if n is None else seen[n] for n in OF_COCO]
    right, left = (points[n] for n in SHOULDERS)
    if right and left:
        points[NECK] = ((right[0] + left[0]) / 2, (right[1] + left[1]) / 2)
    return points


def drawn(size: tuple[int, int], people: Sequence[Pose]) -> Image.Image:
    """The people's skeletons on black, RGB of `size`: limbs first, as ellipses, then points."""
    from PIL import Image, ImageDraw

    picture = Image.new("RGB", size)
    draw = ImageDraw.Draw(picture)
    radius = max(1.0, RADIUS_PX * min(size) / AT_PX)
    for (a, b), colour in zip(LIMBS, COLOURS, strict=False):
        for person in people:
            if (start := person[a]) and (end := person[b]):
                draw.polygon(_ellipse(start, end, radius), fill=tuple(int(part * LIMB_BRIGHTNESS) for part in colour))
    for n, colour in enumerate(COLOURS):
        for person in people:
            if place := person[n]:
                x, y = place
                draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
    return picture


def _ellipse(start: tuple[float, float], end: tuple[float, float], radius: float) -> list[tuple[float, float]]:
    """The outline of an ellipse whose long axis runs from start to end."""
    x, y = (start[0] + end[0]) / 2, (start[1] + end[1]) / 2
    half_x, half_y = (end[0] - start[0]) / 2, (end[1] - start[1]) / 2
    length = math.hypot(half_x, half_y) or 1.0
    side_x, side_y = -half_y / length * radius, half_x / length * radius
    turns = [(math.cos(turn), math.sin(turn)) for turn in (2 * math.pi * n / OUTLINE for n in range(OUTLINE))]
    return [(x + c * half_x + s * side_x, y + c * half_y + s * side_y) for c, s in turns]
