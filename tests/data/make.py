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


def clip(path: Path, seed: int = 0, size: tuple[int, int] = (96, 64), count: int = 24, fps: float = 24, codec: str = "libx264", **said: str) -> Path:
    """A video whose frame n has a white bar of n * width / count px at its top, so that each frame tells its number.  said: what its container says of it."""
    from fractions import Fraction

    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        container.metadata.update(said)
        stream = container.add_stream(codec, rate=Fraction(fps).limit_denominator(1001))
        stream.width, stream.height = size
        stream.pix_fmt = "rgb8" if codec == "gif" else "yuv420p"
        for n in range(count):
            container.mux(stream.encode(av.VideoFrame.from_image(numbered(n, count, seed, size)).reformat(format=stream.pix_fmt)))
        container.mux(stream.encode())
    return path


def texture(seed: int, size: tuple[int, int] = (400, 240)) -> Image.Image:
    """Soft blots of all colours."""
    draw = random.Random(seed)
    image = Image.frombytes("RGB", (20, 12), bytes(draw.randrange(256) for _ in range(720)))
    return image.resize(size, Image.Resampling.BICUBIC)


def pan(seed: int, count: int, step: int = 3, size: tuple[int, int] = (96, 64)) -> list[Image.Image]:
    """The frames of a camera that moves over a texture, `step` px a frame."""
    whole = texture(seed)
    return [whole.crop((at := n * step % 200, 20, at + size[0], 20 + size[1])) for n in range(count)]


def film(path: Path, scenes: list[tuple[int, int]], fps: float = 24, size: tuple[int, int] = (96, 64)) -> Path:
    """A video of scenes that are cut hard, each (seed, frames)."""
    return filmed(path, [frame for seed, count in scenes for frame in pan(seed, count, size=size)], fps)


def filmed(path: Path, frames: list[Image.Image], fps: float = 24, codec: str = "libx264") -> Path:
    """A video of these frames."""
    from fractions import Fraction

    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(fps).limit_denominator(1001))
        stream.width, stream.height = frames[0].size
        stream.pix_fmt = "rgb8" if codec == "gif" else "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_image(frame).reformat(format=stream.pix_fmt)))
        container.mux(stream.encode())
    return path


def numbered(n: int, count: int, seed: int = 0, size: tuple[int, int] = (96, 64)) -> Image.Image:
    """Frame n of such a video."""
    image = scene(seed, size)
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, size[0], size[1] // 2), (0, 0, 0))
    draw.rectangle((0, 0, round(size[0] * (n + 0.5) / count), size[1] // 2), (255, 255, 255))
    return image


def number_of(image: Image.Image, count: int) -> int:
    """Which frame of `count` this is, read from its bar."""
    row = image.convert("L").resize((count * 8, image.height)).crop((0, image.height // 8, count * 8, image.height // 4))
    lit = sum(value > 128 for value in row.resize((count * 8, 1), Image.Resampling.BOX).tobytes())
    return round(lit / 8 - 0.5)
