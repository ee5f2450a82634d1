"""What a drawn picture says of itself: text in the PNG that AUTOMATIC1111 and Civitai read, and our own JSON."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import outside

if TYPE_CHECKING:
    from PIL import Image

PARAMETERS, OURS = "parameters", "easel"  # keys of the PNG's text chunks
SHORT = 12  # characters of a hash, as A1111 shows it
MAX_PICTURE_BYTES = 200_000_000


def parameters(told: Mapping[str, Any], sampler: str, model: str, loras: Sequence[tuple[str, float, str]], change: float | None = None, made_from: Sequence[str] = ()) -> str:
    """The text under a picture as A1111 writes it.  told: of Shot.told().  loras: (name, strength, hash).  change: of the picture to start from.  made_from: names of files."""
    prompt = told["prompt"] + "".join(f" <lora:{name}:{strength:g}>" for name, strength, _ in loras)
    figures = {
        "Steps": told["steps"], "Sampler": sampler, "CFG scale": f"{told['guidance']:g}", "Seed": told["seed"], "Size": f"{told['width']}x{told['height']}",
        "Model": _worded(model), "Denoising strength": None if change is None else f"{change:g}",
        "Made from": _worded(", ".join(made_from)) if made_from else None,
        "Lora hashes": _worded(", ".join(f"{name}: {digest}" for name, _, digest in loras)) if loras else None, "Version": "Easel",
    }  # fmt: skip
    lines = [prompt] + ([f"Negative prompt: {told['negative']}"] if told["negative"] else [])
    return "\n".join([*lines, ", ".join(f"{name}: {value}" for name, value in figures.items() if value is not None)])


def _worded(value: str) -> str:
    """In quotes where it holds what separates the figures, as A1111 does it."""
    return json.dumps(value, ensure_ascii=False) if any(sign in value for sign in ',\n:"') else value


def png(picture: Image.Image, text: str, ours: Mapping[str, Any]) -> bytes:
    """The picture as a PNG with both texts inside."""
    from PIL.PngImagePlugin import PngInfo

    info, stream = PngInfo(), io.BytesIO()
    info.add_text(PARAMETERS, text)
    info.add_text(OURS, json.dumps(ours, ensure_ascii=False))
    picture.save(stream, "PNG", pnginfo=info)
    return stream.getvalue()


def read(file: Path) -> tuple[str, dict[str, Any]]:
    """(the text for A1111, our JSON) of a PNG; empty where it has none.  Raises Refused, OSError."""
    from PIL import Image

    with Image.open(io.BytesIO(outside.read_plain(file, MAX_PICTURE_BYTES)), formats=["PNG"]) as picture:
        said = dict(picture.text)  # type: ignore[attr-defined]
    return said.get(PARAMETERS, ""), outside.parse_json(said.get(OURS, "{}"), file.name)


def lora_hash(file: Path) -> str:
    """The short hash by which A1111 and Civitai know a LoRA: sha256 of all behind the header of the safetensors file."""
    found = file.stat()
    return _lora_hash(file, found.st_mtime_ns, found.st_size)


@lru_cache(maxsize=256)
def _lora_hash(file: Path, changed_ns: int, size: int) -> str:
    digest = hashlib.sha256()
    with outside.open_plain(file, linked=True) as stream:
        stream.seek(8 + int.from_bytes(stream.read(8), "little"))
        while piece := stream.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()[:SHORT]
