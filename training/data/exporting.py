"""A dataset as other programs take it, in one ZIP that is written while it is sent: no second copy lies on the disk meanwhile.

It is what is learnt here: pictures that are left out stay behind, and one that is turned or mirrored goes along as a PNG that is.  A clip goes along whole,
as it would lose by being written anew; trimmed() says of which only a part is learnt here.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import zipping
from ..names import folder_name
from .controls import Control, called
from .datasets import Dataset, Picture, load_pixels
from .masks import Mask
from .tables import control_column
from .timed import is_timed

if TYPE_CHECKING:
    from PIL import Image

KINDS = {
    "text": ("Pictures with .txt", "a .txt beside each picture; what most trainers read"),
    "imagefolder": ("Hugging Face", "metadata.jsonl beside the pictures; load_dataset(\"imagefolder\") reads it"),
    "kohya": ("kohya", "img/1_words with a .txt beside each; kohya's scripts read it"),
}  # fmt: skip
NAMED = 5  # clips in a sentence


def check(ds: Dataset, kind: str) -> list[Picture]:
    """The pictures that go along.  Raises ValueError for an unknown kind, or where there is none."""
    if kind not in KINDS:
        raise ValueError(f"a dataset cannot be packed as {kind!r}; it can be as {', '.join(KINDS)}")
    pictures = [p for p in ds.pictures() if p.usable]
    if not pictures:
        raise ValueError(f"{ds.title!r} has no usable picture to pack")
    return pictures


def trimmed(pictures: Sequence[Picture]) -> str:
    """A sentence on the clips that are trimmed here, which their files are not; "" for none."""
    cut = [f"{p.id} ({p.treatment.start_s:g} to {p.treatment.until(p.seconds):g} s)" for p in pictures if p.seconds and p.treatment.trim]
    named = ", ".join(cut[:NAMED]) + (f" and {len(cut) - NAMED} more" if len(cut) > NAMED else "")
    return f"Clips go along whole, also where only a part is learnt here: {named}" if cut else ""


def entries(ds: Dataset, kind: str, pictures: list[Picture]) -> Iterator[tuple[str, Path | bytes]]:
    """(name in the ZIP, its file or its bytes) of all that belongs to these pictures: captions, masks and control pictures too."""
    rows = []
    taken = {p.id.casefold() for p in pictures}
    for p in pictures:
        name, stem = p.id, Path(p.id).stem
        if p.treatment.view:
            if f"{stem}.png".casefold() in taken - {p.id.casefold()}:
                stem += " turned"
            name = f"{stem}.png"
        home = f"img/{p.repeats}_{folder_name(ds.title, 'pictures')}/" if kind == "kohya" else ""
        yield home + name, _as_png(p, load_pixels(p.path)) if p.treatment.view else p.path
        told = [line for line in p.caption.split("\n") if line.strip()] if is_timed(p.caption) else list(p.captions)  # what is said of a scene keeps its time
        row: dict[str, Any] = {"file_name": name, "text": told[0] if told else ""}
        if len(told) > 1:
            row["captions"] = told
        if told and kind != "imagefolder":
            yield f"{home}{stem}.txt", ("\n".join(told) + "\n").encode()
        mask = p.mask if p.mask and (p.mask.kind == "file" or p.treatment.view) else None  # a PNG that was made has no transparency of its own
        beside: list[tuple[str, str, str, Mask | Control]] = [("mask_file_name", f"{stem}.mask.png", f"mask/{stem}.png", mask)] if mask else []
        for number, control in enumerate(p.references, 1):
            beside.append((control_column(number), called(stem, number), f"conditioning{f'_{number}' if number > 1 else ''}/{stem}.png", control))
        for column, flat, sorted_by_kind, found in beside:
            name = flat if kind == "text" else sorted_by_kind
            row[column] = name
            yield name, _as_png(p, found.load()) if p.treatment.view else found.path
        rows.append(row)
    if kind == "imagefolder":
        columns = {c for row in rows for c in row}  # load_dataset wants the same columns in every line
        whole = [row | {c: None for c in sorted(columns - set(row)) if c != "captions"} | ({"captions": row.get("captions") or [row["text"]]} if "captions" in columns else {}) for row in rows]
        yield "metadata.jsonl", "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in whole).encode()


def _as_png(picture: Picture, pixels: Image.Image) -> bytes:
    """What belongs to a picture, turned and mirrored as it is learnt."""
    out = io.BytesIO()
    picture.treatment.apply(pixels).save(out, "PNG")
    return out.getvalue()


def stream(ds: Dataset, kind: str, pictures: list[Picture]) -> Iterator[bytes]:
    """The ZIP in pieces.  Pictures are not compressed again."""
    return zipping.stream(entries(ds, kind, pictures))


def write(ds: Dataset, kind: str, target: Path) -> int:
    """The ZIP at `target`, whole or not at all.  How many pictures it holds.  Raises ValueError as check() does, FileExistsError, OSError."""
    pictures = check(ds, kind)
    zipping.write(stream(ds, kind, pictures), target)
    return len(pictures)
