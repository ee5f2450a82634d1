"""Pictures and ZIPs of every sort, good and bad, for the tests."""

from __future__ import annotations

import io
import random
import struct
import zipfile
import zlib
from pathlib import Path

from PIL import Image, ImageDraw


def scene(seed: int = 0, size: tuple[int, int] = (120, 80), mode: str = "RGB") -> Image.Image:
    """A picture that differs from seed to seed: its top left quarter is red, so that turning it shows."""
    dice = random.Random(seed)
    image = Image.new("RGB", size, tuple(dice.randrange(60, 200) for _ in range(3)))
    draw = ImageDraw.Draw(image)
    for _ in range(4):
        x, y = dice.randrange(size[0]), dice.randrange(size[1])
        draw.ellipse((x, y, x + size[0] // 4, y + size[1] // 4), tuple(dice.randrange(256) for _ in range(3)))
    draw.rectangle((0, 0, size[0] // 2 - 1, size[1] // 2 - 1), (220, 20, 20))
    return image.convert(mode)


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    """The bytes of a file in some format."""
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def write(path: Path, seed: int = 0, **options) -> Path:
    """A good picture on disk; its format follows the name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scene(seed, **options).save(path)
    return path


def png_claiming(width: int, height: int) -> bytes:
    """A PNG of some hundred bytes whose header claims any size."""
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")


def zipped(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    """A ZIP of {name: bytes}."""
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path
