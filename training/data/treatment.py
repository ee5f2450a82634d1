"""What is done to a picture before it is learnt, said beside it: turned by quarters, mirrored, left out; a clip trimmed.  The file stays as it is.

Kept by what the picture is, in `.easel/treatment.json`: {sha256: "1m"}, of a clip that is learnt from 1.5 to 4 seconds {sha256: "@1.5-4"}.  A picture is first turned, then mirrored; its mask, its control
picture and the point that its crop is cut around lie in the file's own shape, and are turned along.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..outside import read_json
from .memory import write_text_whole

if TYPE_CHECKING:
    from PIL import Image

FILE = "treatment.json"
MAX_BYTES = 16_000_000
_TEXT = re.compile(r"([123]?)(m?)(x?)(?:@(\d{1,4}(?:\.\d{1,3})?)-(\d{1,4}(?:\.\d{1,3})?))?")


@dataclass(frozen=True)
class Treatment:
    """turns: quarter turns clockwise, 0 to 3.  mirror: left and right change places, after turning.  out: it is not learnt.

    start_s, end_s: what is learnt of a clip; an end of 0 is its own.
    """

    turns: int = 0
    mirror: bool = False
    out: bool = False
    start_s: float = 0.0
    end_s: float = 0.0

    @property
    def view(self) -> str:
        """How it is shown: "", or the turns and an m for mirrored."""
        return f"{self.turns or ''}{'m' * self.mirror}"

    @property
    def text(self) -> str:
        """As it is kept: the view, an x where it is left out, and what is learnt of a clip."""
        return self.view + "x" * self.out + (f"@{self.trim}" if self.trim else "")

    @property
    def trim(self) -> str:
        """What is learnt of a clip, as START-END in seconds; "" for all of it."""
        return f"{_seconds(self.start_s)}-{_seconds(self.end_s)}" if self.start_s or self.end_s else ""

    def until(self, seconds: float) -> float:
        """When what is learnt of a clip of so many seconds ends."""
        return min(self.end_s or seconds, seconds)

    def trimmed(self, start_s: float, end_s: float, seconds: float) -> Treatment:
        """Learnt from start_s to end_s, of a clip of so many seconds; the whole of it is no trim.  Raises ValueError for a piece that is none."""
        if not (math.isfinite(start_s) and math.isfinite(end_s) and 0 <= start_s < end_s):
            raise ValueError(f"a clip cannot be learnt from {start_s:g} to {end_s:g} s; the end lies behind the start")
        if start_s >= seconds:
            raise ValueError(f"the clip is {seconds:.1f} s long, so it cannot be learnt from {start_s:g} s on")
        start_s, end_s = round(start_s, 2), round(end_s, 2)
        whole = round(seconds, 2) <= end_s
        return replace(self, start_s=start_s, end_s=end_s if not whole else 0.0)

    @property
    def sideways(self) -> bool:
        """Whether width and height change places."""
        return self.turns % 2 == 1

    # -- what a person does, to what they see

    def turned(self, turns: int) -> Treatment:
        """Turned on by quarters clockwise, as it is seen: a mirrored picture is turned the other way before it is mirrored."""
        return replace(self, turns=(self.turns + (-turns if self.mirror else turns)) % 4)

    def mirrored(self) -> Treatment:
        """Left and right changed, as it is seen."""
        return replace(self, mirror=not self.mirror)

    # -- what follows from it

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Width and height of the treated picture; of a treated one, those of the file."""
        return (height, width) if self.sideways else (width, height)

    def point(self, at: tuple[float, float]) -> tuple[float, float]:
        """Where a point of the file's picture lies in the treated one, shares from the left and from the top."""
        x, y = at
        for _ in range(self.turns):
            x, y = 1 - y, x
        return (1 - x if self.mirror else x), y

    def back(self, at: tuple[float, float]) -> tuple[float, float]:
        """Where a point of the treated picture lies in the file's."""
        x, y = at
        x = 1 - x if self.mirror else x
        for _ in range(self.turns):
            x, y = y, 1 - x
        return x, y

    def apply(self, picture: Image.Image) -> Image.Image:
        """The treated picture, to the pixel."""
        return _moved(picture, self.turns, self.mirror)

    def undo(self, picture: Image.Image) -> Image.Image:
        """What was made of the treated picture, as it lies beside the file's."""
        flipped = _moved(picture, 0, self.mirror)
        return _moved(flipped, -self.turns % 4, False)


PLAIN = Treatment()

ACTS: dict[str, Callable[[Treatment], Treatment]] = {  # what the page offers
    "left": lambda t: t.turned(3),
    "right": lambda t: t.turned(1),
    "mirror": lambda t: t.mirrored(),
    "out": lambda t: replace(t, out=True),
    "in": lambda t: replace(t, out=False),
}
NO_CLIPS = ("left", "right", "mirror")  # a clip is played by the browser and packed as its file


def _moved(picture: Image.Image, turns: int, mirror: bool) -> Image.Image:
    from PIL.Image import Transpose

    if turns:
        picture = picture.transpose((None, Transpose.ROTATE_270, Transpose.ROTATE_180, Transpose.ROTATE_90)[turns])  # type: ignore[arg-type]  # Pillow counts the other way
    return picture.transpose(Transpose.FLIP_LEFT_RIGHT) if mirror else picture


def of_text(text: object) -> Treatment | None:
    """The treatment that this text stands for; None for what is none."""
    found = _TEXT.fullmatch(text) if isinstance(text, str) else None
    return Treatment(int(found[1] or 0), bool(found[2]), bool(found[3]), float(found[4] or 0), float(found[5] or 0)) if found else None


def _seconds(value: float) -> str:
    return f"{value:.3f}".rstrip("0").rstrip(".")


def read(meta: Path) -> dict[str, Treatment]:
    """{sha256: its treatment} of the pictures that have one."""
    try:
        data = read_json(meta / FILE, MAX_BYTES)
    except (OSError, ValueError):
        return {}
    found = {k: of_text(v) for k, v in data.items()} if isinstance(data, dict) else {}
    return {k: v for k, v in found.items() if v is not None and v != PLAIN}


def write(meta: Path, changes: Mapping[str, Treatment]) -> None:
    """Keep these beside the others."""
    made = {k: v.text for k, v in (read(meta) | dict(changes)).items() if v != PLAIN}
    write_text_whole(meta / FILE, json.dumps(made))


def told(changes: Mapping[str, list[str]]) -> str:
    """What undo would take back, as a short text.  changes: a record of the journal."""
    count = "1 picture" if len(changes) == 1 else f"{len(changes)} pictures"
    before, after = next(iter(changes.values()))
    was, now = of_text(before) or PLAIN, of_text(after) or PLAIN
    if was.trim != now.trim:
        return ("1 clip trimmed" if len(changes) == 1 else f"{len(changes)} clips trimmed") if now.trim else "1 clip whole again" if len(changes) == 1 else f"{len(changes)} clips whole again"
    return f"{count} {('left out' if now.out else 'taken back') if was.out != now.out else 'mirrored' if was.mirror != now.mirror else 'turned'}"
