"""Reads a picture's colours and shape from its pixels: the judge of the built-in base model and of the example's LoRA.

Nothing here is learnt and nothing is shared with the code that draws: its own colour table, its own outlines, numpy only.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image

NAMED = {
    "red": (214, 40, 40), "orange": (247, 140, 30), "yellow": (250, 222, 60), "green": (52, 160, 70), "blue": (44, 92, 214),
    "purple": (130, 60, 180), "pink": (250, 160, 200), "white": (248, 248, 248), "gray": (132, 132, 132), "black": (22, 22, 22),
}  # fmt: skip
FARTHEST = 32.0  # Lab distance beyond which a pixel has none of the names
DIFFERS = 17.0  # Lab distance from the background that makes a pixel foreground
CLEARLY = 0.3  # ... or this share of the clearest difference, if more: dots and soft edges stay background
FINER = 2  # pictures are read at this many times their size, so that closing a crack does not close a ring
CRACK = 2  # fill cracks up to about twice this many of the finer pixels
LIKENESS = 0.72  # overlap (intersection over union) below which a mask is none of the shapes
GRID = 48  # masks are compared at this many cells a side


@dataclass(frozen=True)
class Reading:
    """What a picture shows; None where it shows nothing that has a name here."""

    colour: str | None
    background: str | None
    shape: str | None


def read(image: Image.Image) -> Reading:
    """The picture's foreground colour, background colour and shape."""
    width, height = image.size
    lab = to_lab(np.asarray(image.convert("RGB").resize((width * FINER, height * FINER), Image.Resampling.BICUBIC)))
    rim = np.concatenate([lab[:2].reshape(-1, 3), lab[-2:].reshape(-1, 3), lab[:, :2].reshape(-1, 3), lab[:, -2:].reshape(-1, 3)])
    mask = opened(largest_part(closed(foreground(lab), CRACK)))
    if not 0.01 < mask.mean() < 0.85:
        return Reading(None, commonest(rim), None)
    return Reading(commonest(lab[core(mask)]), commonest(rim), shape_of(mask))


def has_mascot(image: Image.Image) -> bool:
    """Whether a teal body with one big white eye, a dark pupil in it and an orange feeler above it is on the picture."""
    lab = to_lab(np.asarray(image.convert("RGB")))
    body = largest_part(near(lab, (20, 150, 150), FARTHEST))
    return _has_feeler(lab, body) and _one_eye(lab, body)


def has_mascot_body(image: Image.Image) -> bool:
    """Whether a teal body with an orange feeler above it is on the picture, with or without its eye."""
    lab = to_lab(np.asarray(image.convert("RGB")))
    return _has_feeler(lab, largest_part(near(lab, (20, 150, 150), FARTHEST)))


def _box(body) -> tuple[int, int, int, int]:
    """top, bottom, left, right of a mask, all inside it."""
    rows, columns = np.where(body)
    return rows.min(), rows.max(), columns.min(), columns.max()


def _has_feeler(lab, body) -> bool:
    if not 0.03 < body.mean() < 0.6:
        return False
    top, bottom, left, right = _box(body)
    tall = bottom - top + 1
    orange = near(lab, (250, 130, 20), 30)
    above = orange[max(0, round(top - 0.5 * tall)) : round(top + 0.3 * tall), left : right + 1]
    return bool(above.sum() >= 0.01 * body.sum())


def _one_eye(lab, body) -> bool:
    """One pale part, and no other of a third its size, in the middle of the body, teal on both sides, with a dark pupil within."""
    top, bottom, left, right = _box(body)
    window, teal = lab[top : bottom + 1, left : right + 1], body[top : bottom + 1, left : right + 1]
    pale = [p for p in parts(near(window, (255, 255, 255), 30)) if not touches_rim(p) and p.sum() >= 0.08 * body.sum()]
    if not pale or (len(pale) > 1 and pale[1].sum() > pale[0].sum() / 3):
        return False
    eye = pale[0]
    up, down, first, last = _box(eye)
    wide, level = right - left + 1, (up + down) // 2
    centred = abs((first + last) / 2 - (wide - 1) / 2) < 0.2 * wide
    around = teal[level, :first].any() and teal[level, last + 1 :].any()
    dark = window[up : down + 1, first : last + 1, 0] < 45
    pupil = largest_part(dark)
    return bool(centred and around and pupil.sum() >= 0.06 * eye.sum() and not touches_rim(pupil))


# --- colours ---------------------------------------------------------------------------------------------------------


def to_lab(rgb: np.ndarray) -> np.ndarray:
    """uint8 sRGB [..., 3] -> CIE Lab (D65) [..., 3], in which distance is about what the eye sees."""
    c = rgb / 255.0
    c = np.where(c > 0.04045, ((c + 0.055) / 1.055) ** 2.4, c / 12.92)
    xyz = c @ np.array([[0.4124, 0.2126, 0.0193], [0.3576, 0.7152, 0.1192], [0.1805, 0.0722, 0.9505]]) / (0.9505, 1.0, 1.089)
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], axis=-1)


def near(lab: np.ndarray, rgb: tuple[int, int, int], within: float) -> np.ndarray:
    return np.linalg.norm(lab - to_lab(np.array(rgb)), axis=-1) < within


def commonest(lab: np.ndarray) -> str | None:
    """The name that most of the pixels [N,3] have, if at least 40 % agree."""
    table = to_lab(np.array(list(NAMED.values())))
    far = np.linalg.norm(lab[:, None] - table, axis=-1)
    names = np.where(far.min(1) < FARTHEST, far.argmin(1), len(NAMED))
    counts = np.bincount(names, minlength=len(NAMED) + 1)[:-1]
    return list(NAMED)[counts.argmax()] if counts.max() >= 0.4 * len(lab) else None


def foreground(lab: np.ndarray) -> np.ndarray:
    """Pixels that differ from the background, which may fade along rows or columns: each is compared with its own rim pixels."""
    rows = [np.median(lab[:, :2], axis=1)[:, None], np.median(lab[:, -2:], axis=1)[:, None]]
    columns = [np.median(lab[:2], axis=0)[None], np.median(lab[-2:], axis=0)[None]]
    apart = np.min([np.linalg.norm(lab - edge, axis=-1) for edge in rows + columns], axis=0)
    return apart > max(DIFFERS, CLEARLY * np.quantile(apart, 0.98))


# --- masks -----------------------------------------------------------------------------------------------------------


def shrunk(mask: np.ndarray) -> np.ndarray:
    """Cells all of whose 8 neighbours are set too; beyond the rim counts as set."""
    wide = np.pad(mask, 1, constant_values=True)
    h, w = mask.shape
    return np.all([wide[y : y + h, x : x + w] for y in range(3) for x in range(3)], axis=0)


def core(mask: np.ndarray) -> np.ndarray:
    """The innermost third of the mask or a little more: inside any line around the shape."""
    inner = mask
    while (smaller := shrunk(inner)).sum() > mask.sum() / 3:
        inner = smaller
    return inner


def grown(mask: np.ndarray) -> np.ndarray:
    return ~shrunk(~mask)


def opened(mask: np.ndarray) -> np.ndarray:
    """Without specks, such as the dots of a dotted background."""
    return grown(shrunk(mask)) & mask


def closed(mask: np.ndarray, times: int) -> np.ndarray:
    """With cracks filled, such as stripes that look like the background."""
    for _ in range(times):
        mask = grown(mask)
    for _ in range(times):
        mask = shrunk(mask)
    return mask


def touches_rim(mask: np.ndarray) -> bool:
    return bool(mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any())


def parts(mask: np.ndarray) -> list[np.ndarray]:
    """The connected parts (4 neighbours), largest first: runs of each row, joined where they touch one of the row above."""
    edges = np.diff(np.pad(mask.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    starts, ends = np.argwhere(edges == 1), np.argwhere(edges == -1)
    runs = [(int(y), int(x0), int(x1)) for (y, x0), (_, x1) in zip(starts, ends, strict=True)]
    owner = list(range(len(runs)))

    def root(k: int) -> int:
        while owner[k] != k:
            k = owner[k]
        return k

    rows: dict[int, list[int]] = {}
    for k, (y, x0, x1) in enumerate(runs):
        for other in rows.get(y - 1, []):
            if runs[other][1] < x1 and x0 < runs[other][2]:
                owner[root(other)] = root(k)
        rows.setdefault(y, []).append(k)
    found: dict[int, np.ndarray] = {}
    for k, (y, x0, x1) in enumerate(runs):
        found.setdefault(root(k), np.zeros_like(mask))[y, x0:x1] = True
    return sorted(found.values(), key=lambda part: -part.sum())


def largest_part(mask: np.ndarray) -> np.ndarray:
    found = parts(mask)
    return found[0] if found else mask


# --- shapes ----------------------------------------------------------------------------------------------------------


def shape_of(mask: np.ndarray) -> str | None:
    """The shape whose outline, stretched to the mask's own box, overlaps it best."""
    seen = boxed(mask)
    score, name = max(((seen & t).sum() / (seen | t).sum(), name) for name, turned in TEMPLATES.items() for t in turned)
    return name if score >= LIKENESS else None


def boxed(mask: np.ndarray) -> np.ndarray:
    """The mask's bounding box stretched to GRID x GRID."""
    rows, columns = np.where(mask)
    box = Image.fromarray(mask[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1])
    return np.asarray(box.convert("L").resize((GRID, GRID), Image.Resampling.BILINEAR)) > 127


def _inside(name: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Which points lie in the shape; y upwards, extents about [-1, 1]."""
    far, turn = np.hypot(x, y), np.arctan2(x, y)
    match name:
        case "circle":
            return far < 1
        case "ring":
            return (far < 1) & (far > 0.52)
        case "square":
            return np.maximum(abs(x), abs(y)) < 0.8
        case "diamond":
            return abs(x) / 0.75 + abs(y) < 1
        case "triangle":
            return (y > -0.8) & (y < 0.95 - 1.75 * abs(x))
        case "cross":
            return (np.maximum(abs(x), abs(y)) < 0.95) & (np.minimum(abs(x), abs(y)) < 0.31)
        case "heart":
            return (1.25 * x) ** 2 + (1.25 * y + 0.15 - 0.85 * np.sqrt(abs(1.25 * x))) ** 2 < 1
        case "star":  # each of the ten edges runs from a tip at radius 1 to a notch at radius 0.43
            part = abs((turn + np.pi / 5) % (2 * np.pi / 5) - np.pi / 5)
            notch = 0.43 * np.array([np.sin(np.pi / 5), np.cos(np.pi / 5)])
            return far * (np.cos(part) * notch[0] + np.sin(part) * (1 - notch[1])) < notch[0]
    raise ValueError(f"no shape is called {name}")


def _template(name: str, degrees: float) -> np.ndarray:
    y, x = np.mgrid[1.3:-1.3:200j, -1.3:1.3:200j]
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return boxed(_inside(name, x * c - y * s, x * s + y * c))


SHAPES = ("circle", "square", "triangle", "star", "heart", "cross", "ring", "diamond")
TEMPLATES = {name: [_template(name, d) for d in (-6, -3, 0, 3, 6)] for name in SHAPES}
