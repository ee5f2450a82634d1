"""What is measured on one picture for the health check: how sharp, how light, how coloured, how framed, how compressed, and what it looks like.

Runs in the gate's process: the pixels of a foreign file are decoded nowhere else.
"""

from __future__ import annotations

import base64
import io
import math
from dataclasses import asdict, dataclass, fields
from functools import reduce

import numpy as np
from PIL import Image, ImageChops, ImageStat

WORK_PX = 1024  # a picture is looked at with at most this many pixels squared; more would cost time and tell nothing about training
TINY_PX = 12  # side of the small picture that is compared with those of the others
REACH_PX = 6  # an edge is looked at this far on both sides
STRONG = 30  # levels of 255 that an edge must rise by to be judged
FEW_EDGES = 60  # with fewer strong edges a part has nothing that could be sharp
PARTS = 5  # a picture is asked in so many parts each way
BASE_TABLE_SUM = 3688  # of the luminance table in annex K of the JPEG standard, to which every quality is a factor
PLAIN = 5.0  # levels by which the pixels of a border line may stray
STEP = 20.0  # levels by which the picture differs from its border
ALONG = 0.7  # share of the line behind a border that must differ from it: a thing on a plain ground touches few of its lines so widely


@dataclass(frozen=True)
class Measured:
    """Of one picture.  Levels: 0 to 255 of luminance.  blur_px: how wide its strongest edges are, in px of the file (standard
    deviation of the blur); 0 where it has none.  low, high: levels below which 1% and 99% of it lie.  white: share that is pure white.
    spread: standard deviation of its most varied channel.  quality: of its JPEG tables, 1 to 100; 0 for another format.  frame: share of
    height and width that is a plain frame or bars.  tiny: 12 x 12 RGB, base64.
    """

    blur_px: float
    low: float
    high: float
    white: float
    spread: float
    quality: int
    frame: float
    tiny: str


def is_measured(found: object) -> bool:
    """Whether something read from a file is what measure() could have said: the folder may be somebody else's."""
    if not isinstance(found, dict) or set(found) != {f.name for f in fields(Measured)}:
        return False
    tiny, numbers = found["tiny"], [v for k, v in found.items() if k != "tiny"]
    whole = all(type(v) in (int, float) and math.isfinite(v) and 0 <= v < 1e6 for v in numbers)
    return whole and isinstance(tiny, str) and len(tiny) == 4 * TINY_PX * TINY_PX and tiny.isascii()


def measure(data: bytes, rgb: Image.Image) -> dict:
    """Measured as a dictionary.  data: the file.  rgb: what was decoded of it, whole."""
    width, height = rgb.size
    quality = jpeg_quality(data)
    tiny = rgb.resize((TINY_PX, TINY_PX), Image.Resampling.BOX)
    if width * height > WORK_PX * WORK_PX:
        shrink = WORK_PX / (width * height) ** 0.5
        rgb = rgb.resize((max(8, round(width * shrink)), max(8, round(height * shrink))), Image.Resampling.BOX, reducing_gap=2.0)
    lumen = rgb.convert("L")
    grey = np.asarray(lumen)
    low, high = np.searchsorted(np.cumsum(lumen.histogram()), [0.01 * grey.size, 0.99 * grey.size])
    white = sum(reduce(ImageChops.darker, rgb.split()).histogram()[250:]) / grey.size
    blur = blur_of(grey)
    said = Measured(
        round(blur * width / rgb.width, 2), float(low), float(high), round(white, 3),
        round(max(ImageStat.Stat(rgb).stddev), 2), quality, round(frame_of(grey), 3),
        base64.b64encode(tiny.tobytes()).decode("ascii"),
    )  # fmt: skip
    return asdict(said)


def jpeg_quality(data: bytes) -> int:
    """The quality that the tables of a JPEG stand for, 1 to 100, by the usual scale; 0 where it is no JPEG."""
    if data[:2] != b"\xff\xd8":
        return 0
    with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
        table = getattr(image, "quantization", {}).get(0)
    if not table:
        return 0
    percent = 100 * sum(table) / BASE_TABLE_SUM
    return max(1, min(100, round(100 - percent / 2 if percent <= 100 else 5000 / percent)))


def blur_of(grey: np.ndarray) -> float:
    """How wide the strong edges of a picture are where it is sharpest: the standard deviation of a blur, px; 0 where there are too few edges.

    grey: [H,W] levels.  An edge rises by `fine` between neighbours and by `whole` over 2 x 6 px.  Of a step that was blurred, fine / whole
    tells how much, whatever its contrast; lines and grain count as sharp.  Each of 5 x 5 parts is asked for itself, and the sharpest
    counts, because a photograph has a ground that is blurred on purpose.
    """
    height, width = (max(1, -(-side // PARTS)) for side in grey.shape)
    parts = [grey[y : y + height, x : x + width] for y in range(0, grey.shape[0], height) for x in range(0, grey.shape[1], width)]
    found = [np.concatenate([_ratios(part), _ratios(part.T)]) for part in (grey, *parts)]
    sharpest = max((float(np.percentile(ratios, 67)) for ratios in found if ratios.size >= FEW_EDGES), default=1.0)
    return float(np.interp(-sharpest, -_RATIOS, _SIGMAS))


def _ratios(grey: np.ndarray) -> np.ndarray:
    """fine / whole of the strong edges across the columns; at most some thousand."""
    if grey.shape[1] <= 2 * REACH_PX + 1:
        return np.empty(0)
    rows = grey[:: max(1, grey.shape[0] // 64)].astype(np.int16)
    whole = np.abs(rows[:, 2 * REACH_PX :] - rows[:, : -2 * REACH_PX])
    at = np.argwhere(whole >= STRONG)
    at = at[:: max(1, len(at) // 1500)]
    steps = np.abs(np.diff(rows, axis=1))
    fine = np.max([steps[at[:, 0], at[:, 1] + k] for k in range(2 * REACH_PX)], axis=0)
    return fine / whole[at[:, 0], at[:, 1]]


_SIGMAS = np.array([0.0, *np.arange(0.3, 8.01, 0.1)])
# of a step that was blurred by sigma: what the steepest pixel rises by, over what 12 px rise by; the 0th is a step that was not
_RATIOS = np.array([1.0, *(math.erf(0.5 / s / 2**0.5) / math.erf(REACH_PX / s / 2**0.5) for s in _SIGMAS[1:])])


def frame_of(grey: np.ndarray) -> float:
    """Share of height or width that plain bars on two opposite sides take, the larger; 0 where there are none.

    A bar is plain from end to end and stops at one line, behind which nearly everything differs from it.
    """
    return max(_bars(grey), _bars(grey.T))


def _bars(grey: np.ndarray) -> float:
    shares = [_bar(grey), _bar(grey[::-1])]
    return sum(shares) if min(shares) > 0 else 0.0


def _bar(grey: np.ndarray) -> float:
    """Share of the lines from the top that are a plain bar."""
    height = grey.shape[0]
    first = float(grey[0].mean())
    for line in range(height // 2 - 3):
        row = grey[line]
        if row.std() > PLAIN or abs(float(row.mean()) - first) > PLAIN:
            differs = np.abs(grey[line + 2].astype(np.float32) - first) > STEP
            inner = differs[differs.size // 8 : -(differs.size // 8) or None]  # a frame goes on at the ends of the line
            return line / height if line >= max(2, height // 100) and inner.mean() >= ALONG else 0.0
    return 0.0
