"""The prompt that a drawn picture carries in itself, as AUTOMATIC1111, Forge, Fooocus, SwarmUI, ComfyUI and Easel write it: offered as its caption."""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from ..outside import Refused, open_plain, parse_json
from . import captions, comfy
from .datasets import Dataset

SOURCE = "its prompt"  # of such captions
MAX_TEXT_BYTES = 200_000
MAX_GRAPH_BYTES = 4_000_000
LIMITS = {b"parameters": MAX_TEXT_BYTES, b"prompt": MAX_GRAPH_BYTES}
MAX_CHUNKS = 200  # of a PNG before its pixels
_USER_COMMENT, _EXIF_PART = 0x9286, 0x8769
_STEPS = re.compile(r"(?:^|\n)Steps: \d+(?:,|$).*", re.DOTALL)
_NEGATIVE = re.compile(r"(?:^|\n)Negative prompt:.*", re.DOTALL)
_NETWORK = re.compile(r"<(?:lora|lyco|lycoris|hypernet|locon)\b[^<>]*>", re.IGNORECASE)


def found(ds: Dataset, ids: Iterable[str] | None = None) -> dict[str, str]:
    """{picture: the prompt in it} of the usable pictures without a caption.  ids: of which; None for all."""
    return looked(ds, ids)[0]


def looked(ds: Dataset, ids: Iterable[str] | None = None) -> tuple[dict[str, str], dict[str, list[str]]]:
    """(found(), {why: pictures} of those that carry a graph in which the prompt cannot be found)."""
    wanted = None if ids is None else set(ids)
    prompts: dict[str, str] = {}
    untold: dict[str, list[str]] = {}
    for p in ds.pictures(check=False):
        if not p.usable or p.seconds or p.caption or (wanted is not None and p.id not in wanted):
            continue
        said, why = read(p.path)
        if said:
            prompts[p.id] = said
        elif why:
            untold.setdefault(why, []).append(p.id)
    return prompts, untold


def use(ds: Dataset) -> int:
    """How many pictures without a caption have their prompt as caption now: one step for undo."""
    return ds.set_captions(found(ds), SOURCE)


def prompt_of(path: Path) -> str:
    """What a picture was drawn from, as a caption; "" where it does not say."""
    return read(path)[0]


def read(path: Path) -> tuple[str, str]:
    """(what a picture was drawn from, as a caption, why that cannot be told although it carries it); both empty where it says nothing."""
    try:
        with open_plain(path) as file:
            if path.suffix.lower() == ".png":
                texts = _of_png(file)
                return _told(texts.get("parameters", ""), texts.get("prompt", ""))
            text = _of_exif(file) if path.suffix.lower() in (".jpg", ".jpeg", ".webp") else ""
    except (Refused, OSError):
        return "", ""
    return caption_of(text), ""


def _told(parameters: str, graph: str) -> tuple[str, str]:
    """As read(), of the texts in a PNG: settings go before a graph."""
    if parameters or not graph:
        return caption_of(parameters), ""
    nodes = comfy.read(graph)
    if nodes is None:
        return "", ""
    try:
        return _clean(comfy.prompt_of(nodes)), ""
    except comfy.Unknown as why:
        return "", str(why)


def caption_of(text: str) -> str:
    """The prompt out of the text that programs write, in one line: without what was unwanted, without settings and names of networks."""
    if text.lstrip().startswith("{"):
        return _clean(_out_of_json(text))
    return _clean(_NEGATIVE.sub("", _STEPS.sub("", text.replace("\r\n", "\n"), count=1), count=1))


def _clean(prompt: str) -> str:
    line = captions.clean_caption(" ".join(re.sub(r"\bBREAK\b", ",", _NETWORK.sub("", prompt)).split()))
    return re.sub(r"\s*,(?:\s*,)+", ",", re.sub(r"\s+,", ",", line)).strip(" ,")


def _out_of_json(text: str) -> str:
    """Of Fooocus' and SwarmUI's: {"prompt": …}, the latter one deeper."""
    try:
        told = parse_json(text, "settings")
    except Refused:
        return ""
    told = told.get("sui_image_params", told) if isinstance(told, dict) else {}
    said = told.get("prompt") if isinstance(told, dict) else None
    return said if isinstance(said, str) else ""


def _of_png(file: BinaryIO) -> dict[str, str]:
    """The texts `parameters` and `prompt` in front of the pixels; nothing is decoded but these."""
    found: dict[str, str] = {}
    if file.read(8) != b"\x89PNG\r\n\x1a\n":
        return found
    for _ in range(MAX_CHUNKS):
        head = file.read(8)
        length, kind = int.from_bytes(head[:4], "big"), head[4:]
        if len(head) < 8 or kind in (b"IDAT", b"IEND"):
            break
        if kind in (b"tEXt", b"zTXt", b"iTXt") and length <= MAX_GRAPH_BYTES:
            data = file.read(length)
            word, _, rest = data.partition(b"\0")
            if word in LIMITS and length <= LIMITS[word]:
                found.setdefault(word.decode(), _chunk(kind, rest, LIMITS[word]))
            file.seek(4, io.SEEK_CUR)
        else:
            file.seek(length + 4, io.SEEK_CUR)
    return found


def _chunk(kind: bytes, data: bytes, most_bytes: int) -> str:
    """The text of a PNG's chunk behind its keyword."""
    packed, plain = kind == b"zTXt", kind == b"tEXt"
    if kind == b"iTXt":
        packed, data = data[:1] == b"\1", data[2:].split(b"\0", 2)[-1]
    elif packed:
        data = data[1:]
    if packed:
        try:
            data = zlib.decompressobj().decompress(data, most_bytes)
        except zlib.error:
            return ""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("latin-1" if plain or packed else "utf-8", "replace")


def _of_exif(file: BinaryIO) -> str:
    """The comment in a JPEG's or WebP's EXIF block, where it says steps, as these programs do and cameras do not."""
    from PIL import Image

    try:
        with Image.open(file, formats=["JPEG", "WEBP"]) as picture:
            data = picture.getexif().get_ifd(_EXIF_PART).get(_USER_COMMENT, b"")
    except Exception:  # noqa: BLE001 a broken EXIF block says nothing, in as many ways as it can be broken
        return ""
    if not isinstance(data, bytes) or len(data) > MAX_TEXT_BYTES:
        return ""
    if data.startswith(b"UNICODE\0"):
        data = data[8:]
        text = data.decode("utf-16-le" if data[1:2] == b"\0" and data[:1] != b"\0" else "utf-16-be", "replace")
    else:
        text = data.removeprefix(b"ASCII\0\0\0").decode("utf-8", "replace")
    return text if _STEPS.search(text) or text.lstrip().startswith("{") else ""
