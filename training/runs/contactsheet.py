"""A contact sheet: the samples of a run in one picture, a row a prompt, a column a step, labelled.

    python -m training.runs.contactsheet

It is made in a process of its own with limits, as the gate has them: decoding hundreds of pictures would keep the page waiting, and a run may
have been mailed.  The child reads the plan as JSON and writes the picture.
"""

from __future__ import annotations

import dataclasses
import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import outside
from ..data import gate
from .notes import Notes
from .run import Run
from .shown import Row

FORMATS = {"jpg": "JPEG", "png": "PNG"}
MOST_COLUMNS, MOST_ROWS = 40, 60
SIDES_PX = (256, 192, 128, 96)  # of a cell, the largest with which the sheet stays below:
MOST_PX = 30_000_000
LABEL_PX, HEAD_PX, STEP_PX, GAP_PX, EDGE_PX = 220, 64, 30, 8, 24
MEMORY_BYTES, CPU_S, WALL_S = 3 * 1024**3, 120, 240
MOST_PICTURE_BYTES, MOST_PICTURE_PX = 64 << 20, 64_000_000
PICTURES = ("WEBP", "PNG", "JPEG")  # as samples are written
FONTS = {  # for what the built-in one has no letters of
    True: ("NotoSansCJK-Regular.ttc", "msyh.ttc", "YuGothM.ttc", "meiryo.ttc", "PingFang.ttc", "Hiragino Sans GB.ttc", "wqy-microhei.ttc", "DroidSansFallbackFull.ttf", "DejaVuSans.ttf"),
    False: ("DejaVuSans.ttf", "NotoSans-Regular.ttf", "LiberationSans-Regular.ttf", "arial.ttf", "Arial.ttf", "Arial Unicode.ttf"),
}
_ONE_AT_A_TIME = threading.Lock()  # each takes a processor and some hundred MB


@dataclass(frozen=True)
class Line:
    """One row: its label, and the file in samples/ of each column, "" for none, with what stands in its corner."""

    label: str
    files: tuple[str, ...]
    marks: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """What a sheet shows.  side_px: of a cell, whose picture keeps its shape inside."""

    title: str
    about: str
    columns: tuple[str, ...]
    lines: tuple[Line, ...]
    side_px: int

    def size_px(self) -> tuple[int, int]:
        """Of the whole sheet."""
        cell = self.side_px + GAP_PX
        return 2 * EDGE_PX + LABEL_PX + cell * len(self.columns), 2 * EDGE_PX + HEAD_PX + STEP_PX + cell * len(self.lines)


def plan(title: str, rows: Sequence[Row], notes: Notes | None = None) -> Plan:
    """The sheet of some prompts: all their steps, or as many as MOST_COLUMNS, evenly spread with the first and the last.  Raises ValueError for none."""
    notes = notes or Notes()
    every = sorted({shot.step for row in rows for shot in row.shots})
    if not every:
        raise ValueError("there are no samples to show yet")
    steps, shown = thinned(every, MOST_COLUMNS), rows[:MOST_ROWS]
    lines = []
    for row in shown:
        at = {shot.step: shot for shot in row.shots}
        shots = [at.get(step) for step in steps]
        since = f" (from step {row.since:,})" if row.since else ""
        lines.append(Line(row.said[:300] + since, tuple(s.path.removeprefix("samples/") if s else "" for s in shots), tuple(_mark(s.path, notes) if s else "" for s in shots)))
    left = [f"{len(steps)} of {len(every):,} steps"] * (len(steps) < len(every)) + [f"{len(shown)} of {len(rows):,} prompts"] * (len(shown) < len(rows))
    made = Plan(title[:120], ", ".join(left), tuple("start" if s == 0 else f"step {s:,}" for s in steps), tuple(lines), SIDES_PX[-1])
    return next((bigger for side in SIDES_PX if _pixels(bigger := dataclasses.replace(made, side_px=side)) <= MOST_PX), made)


def thinned(steps: list[int], most: int) -> list[int]:
    """At most `most` of them, evenly spread, the first and the last among them."""
    return steps if len(steps) <= most else [steps[round(k * (len(steps) - 1) / (most - 1))] for k in range(most)]


def make(run: Run, made: Plan, ending: str = "jpg") -> bytes:
    """The picture.  Raises ValueError where it cannot be made."""
    told = json.dumps({"folder": str(outside.folder_inside(run.path, "samples")), "format": FORMATS[ending], **dataclasses.asdict(made)}).encode()
    with _ONE_AT_A_TIME:
        try:
            done = subprocess.run(
                [sys.executable, "-m", "training.runs.contactsheet"], input=told, capture_output=True, timeout=WALL_S, check=False, cwd=gate.REPO, env=gate.environment(),
                creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise ValueError("the contact sheet took too long to make; hide some prompts, then try again") from None
    if done.returncode or not done.stdout:
        raise ValueError("the contact sheet could not be made: its pictures took more memory or time than they may")
    return done.stdout


def name(run: Run, ending: str = "jpg") -> str:
    """What the download is called."""
    return f"{run.id}-contact-sheet.{ending}"


def _mark(path: str, notes: Notes) -> str:
    return "*" * (path in notes.starred) + (f" {notes.rated[path]}/5" if path in notes.rated else "")


def _pixels(made: Plan) -> int:
    width, height = made.size_px()
    return width * height


# in the child


def main() -> None:
    """The child."""
    told: dict[str, Any] = json.load(sys.stdin)
    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a decoder prints is no part of the picture
    if hasattr(os, "nice"):
        os.nice(5)  # the page and a training go first
    gate.limit(MEMORY_BYTES)
    gate.allow_cpu(CPU_S)
    lines = tuple(Line(line["label"], tuple(line["files"]), tuple(line["marks"])) for line in told["lines"])
    made = Plan(told["title"], told["about"], tuple(told["columns"]), lines, told["side_px"])
    answer.write(drawn(made, Path(told["folder"]), told["format"]))
    answer.close()


def drawn(made: Plan, folder: Path, kind: str) -> bytes:
    """The sheet as a file."""
    from PIL import Image, ImageDraw

    ink, soft, paper, gap = "#1d1b18", "#635e57", "#ffffff", "#f1eeea"
    sheet = Image.new("RGB", made.size_px(), paper)
    pen = ImageDraw.Draw(sheet)
    cell = made.side_px + GAP_PX
    pen.text((EDGE_PX, EDGE_PX), made.title, fill=ink, font=_font(made.title, 24))
    if made.about:
        pen.text((EDGE_PX, EDGE_PX + 32), made.about, fill=soft, font=_font("", 14))
    for k, column in enumerate(made.columns):
        pen.text((EDGE_PX + LABEL_PX + cell * k, EDGE_PX + HEAD_PX), column, fill=soft, font=_font("", 14))
    for n, line in enumerate(made.lines):
        top = EDGE_PX + HEAD_PX + STEP_PX + cell * n
        font = _font(line.label, 14)
        for at, text in enumerate(_wrapped(line.label, lambda t, font=font: font.getlength(t), LABEL_PX - 20, max(1, made.side_px // 20))):
            pen.text((EDGE_PX, top + 20 * at), text, fill=ink, font=font)
        for k, (file, mark) in enumerate(zip(line.files, line.marks, strict=True)):
            left = EDGE_PX + LABEL_PX + cell * k
            if not file:
                continue
            picture = _picture(folder, file, made.side_px)
            if picture is None:
                pen.rectangle((left, top, left + made.side_px, top + made.side_px), fill=gap)
                pen.text((left + 8, top + 8), "cannot be read", fill=soft, font=_font("", 12))
                continue
            sheet.paste(picture, (left, top))
            if mark.strip():
                wide = _font("", 13).getlength(mark.strip())
                pen.rectangle((left, top, left + wide + 10, top + 20), fill=ink)
                pen.text((left + 5, top + 2), mark.strip(), fill=paper, font=_font("", 13))
    out = io.BytesIO()
    sheet.save(out, kind, **({"quality": 90} if kind == "JPEG" else {"compress_level": 6}))
    return out.getvalue()


def _picture(folder: Path, file: str, side_px: int):
    """A sample no larger than a cell, of a clip its first frame; None where it cannot be read."""
    from PIL import Image

    try:
        data = outside.read_plain(outside.inside(folder, file), MOST_PICTURE_BYTES)
        with Image.open(io.BytesIO(data), formats=PICTURES) as image:
            if image.width * image.height > MOST_PICTURE_PX:
                return None
            image.draft("RGB", (side_px, side_px))
            picture = image.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    scale = side_px / max(picture.size)
    if scale >= 1:  # toy pictures are enlarged whole, so that they stay sharp
        return picture.resize([max(1, round(side * scale)) for side in picture.size], Image.Resampling.NEAREST)
    picture.thumbnail((side_px, side_px), Image.Resampling.LANCZOS)
    return picture


def _font(text: str, size_px: int):
    """One that has the letters of a text, as far as this computer has such a one."""
    from PIL import ImageFont

    if text.isascii():
        return ImageFont.load_default(size_px)
    for file in FONTS[any(ord(c) > 0x2E80 for c in text)]:
        try:
            return ImageFont.truetype(file, size_px)
        except OSError:
            continue
    return ImageFont.load_default(size_px)


def _wrapped(text: str, length, wide_px: float, most: int) -> list[str]:
    """The text in lines that are not longer than that, cut with … where there are more than `most`.  length(text): in px."""
    lines, line = [], ""
    for word in text.split():
        while length(word) > wide_px and len(word) > 1:  # a word that is a line and more, as in scripts without spaces
            room = next((n for n in range(len(word), 1, -1) if length(f"{line} {word[:n]}".strip()) <= wide_px), 0)
            if room:
                lines.append(f"{line} {word[:room]}".strip())
                word = word[room:]
            elif line:
                lines.append(line)
            else:
                lines.append(word[:1])
                word = word[1:]
            line = ""
        if line and length(f"{line} {word}") > wide_px:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}".strip()
    lines += [line] * bool(line)
    return lines if len(lines) <= most else [*lines[: most - 1], lines[most - 1].rstrip(" .,") + "…"]


if __name__ == "__main__":
    main()
