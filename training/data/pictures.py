"""Pictures: the one decode path, from a file to RGB.  Used by the gate, the captioners and the engine.

Raises Refused, whose message is the reason for a person.  Whether a file may be decoded at all (links, pipes, limits of
memory and time) is the gate's business: see intake.py.
"""

from __future__ import annotations

import io
import math
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageCms

from ..outside import Refused, check_plain, open_fd

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "HEIF", "AVIF")  # nothing else is ever tried
EXTENSIONS = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"), "MPO": (".jpg", ".jpeg"), "PNG": (".png",), "WEBP": (".webp",), "GIF": (".gif",),
    "BMP": (".bmp", ".dib"), "TIFF": (".tif", ".tiff"), "HEIF": (".heic", ".heif", ".hif"), "AVIF": (".avif",),
    "MP4": (".mp4", ".m4v"), "MOV": (".mov",), "WEBM": (".webm",), "MKV": (".mkv",),
}  # fmt: skip
SUFFIXES = frozenset(suffix for suffixes in EXTENSIONS.values() for suffix in suffixes)

MAX_PIXELS = 64_000_000
MIN_SIDE_PX = 64  # the built-in base trains at 64 px
MAX_ASPECT = 8.0
MAX_FILE_BYTES = 100_000_000
THUMB_PX = 256
CUT_OFF = "the picture is cut off or broken: it was not copied or downloaded completely"
WHITE = (255, 255, 255)
ON_WHITE = "transparent parts are shown on white"
# JPEG can be decoded at 1/2, 1/4, 1/8; the gate asks for no less than this, twice the thumbnail, so that it stays sharp
DRAFT_PX = 2 * THUMB_PX

Image.MAX_IMAGE_PIXELS = MAX_PIXELS  # Pillow warns above this and raises above twice of it; we refuse before decoding


@dataclass(frozen=True)
class Facts:
    """What a picture or clip is.  width, height: px after EXIF orientation.  notes: what was done to it on reading.

    alpha: has transparent parts.  seconds: of a clip, else 0.  cuts: when new scenes begin in it, seconds.
    """

    format: str
    width: int
    height: int
    notes: tuple[str, ...]
    alpha: bool = False
    seconds: float = 0.0
    cuts: tuple[float, ...] = ()


def load_pixels(path: str | os.PathLike) -> Image.Image:
    """RGB, upright, sRGB, 8 bit, transparency on white.  Raises Refused or OSError."""
    return read(path)[0]


def load_alpha(path: str | os.PathLike) -> Image.Image:
    """8 bit grey, upright: how opaque each pixel is, 255 where there is no transparency.  Raises Refused or OSError."""
    image, _ = _open(read_regular(path))
    check_size(*image.size)
    _decode(image)
    turn = _TURNS.get(_orientation(image))
    alpha = image.convert("RGBA").getchannel("A") if image.has_transparency_data else Image.new("L", image.size, 255)
    return alpha if turn is None else alpha.transpose(turn)


def read(path: str | os.PathLike, draft: bool = False) -> tuple[Image.Image, Facts]:
    """RGB picture and its facts.  draft: a JPEG may come back smaller (decoded whole all the same); the facts keep its real size."""
    image, kind = _open(read_regular(path))
    size = image.size  # a draft changes it
    check_size(*size)
    notes = []
    if kind != "MPO" and getattr(image, "is_animated", False):
        notes.append("several pages: the first is used" if kind == "TIFF" else "animated: the first frame is used")
    if draft and kind in ("JPEG", "MPO"):
        image.draft(None, (DRAFT_PX, DRAFT_PX))
    _decode(image)
    turn = _TURNS.get(_orientation(image))
    rgb = _to_rgb(image, notes)
    if turn is not None:
        rgb = rgb.transpose(turn)
        size = size[::-1] if turn in _SIDEWAYS else size
    return rgb, Facts("JPEG" if kind == "MPO" else kind, *size, tuple(notes), ON_WHITE in notes)


def says_place(path: str | os.PathLike) -> bool:
    """Whether a picture says in itself where it was taken.  Raises Refused or OSError."""
    image, _ = _open(read_regular(path))
    try:
        return any(image.getexif().get_ifd(_GPS).values())
    except Exception:  # noqa: BLE001 a broken EXIF block tells nobody anything
        return False


def read_regular(path: str | os.PathLike) -> bytes:
    """The bytes of a regular file of at most 100 MB.  Never follows a link, never waits on a pipe."""
    fd = open_regular(path)
    with os.fdopen(fd, "rb") as file:
        return file.read(MAX_FILE_BYTES + 1)


def open_regular(path: str | os.PathLike) -> int:
    """A file descriptor, read only.  Raises Refused for a link, folder, pipe, device, an empty or a too large file."""
    check_regular(os.lstat(path))
    fd = open_fd(path)
    try:
        check_regular(os.fstat(fd))
    except Refused:
        os.close(fd)
        raise
    return fd


def check_regular(found: os.stat_result) -> None:
    """Nothing, or Refused with what the thing is instead of a plain file."""
    check_plain(found)
    if found.st_size == 0:
        raise Refused("the file is empty")
    if found.st_size > MAX_FILE_BYTES:
        raise Refused(f"the file is {found.st_size / 1e6:.0f} MB large; {MAX_FILE_BYTES // 10**6} MB is the most")


def check_size(width: int, height: int) -> None:
    """Nothing, or Refused with the limit that width x height px breaks."""
    if width * height > MAX_PIXELS:
        raise Refused(f"{width}x{height} px is {width * height / 1e6:.0f} megapixels; {MAX_PIXELS // 10**6} is the most, so scale it down first")
    if min(width, height) < MIN_SIDE_PX:
        raise Refused(f"{width}x{height} px is too small: the shorter side must be at least {MIN_SIDE_PX} px")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise Refused(f"{width}x{height} px is longer than {MAX_ASPECT:.0f}:1; crop it first")


def thumbnail_bytes(rgb: Image.Image) -> bytes:
    """A WebP of at most 256 px, without any metadata."""
    small = rgb.copy() if max(rgb.size) <= THUMB_PX else rgb
    small.thumbnail((THUMB_PX, THUMB_PX), Image.Resampling.LANCZOS)
    out = io.BytesIO()
    small.save(out, "WEBP", quality=82, method=2, exif=b"", icc_profile=b"")
    return out.getvalue()


def _open(data: bytes) -> tuple[Image.Image, str]:
    """The opened, not yet decoded picture and Pillow's name of its format."""
    if data[4:8] == b"ftyp":
        _register_heif()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            image = Image.open(io.BytesIO(data), formats=[f for f in FORMATS if f != "HEIF" or _heif_registered])
        except Image.DecompressionBombError as error:
            raise Refused(f"claims far more than {MAX_PIXELS // 10**6} megapixels: {_first_line(error)}") from None
        except Image.UnidentifiedImageError:
            raise Refused(_what_instead(data)) from None
        except (OSError, ValueError, SyntaxError, OverflowError, RuntimeError, KeyError, EOFError) as error:
            raise Refused(_damage(error)) from None
    return image, image.format  # type: ignore[return-value]


def _decode(image: Image.Image) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            image.load()
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 decoders raise whatever they like on hostile bytes; each means the same to a person
            raise Refused(_damage(error)) from None


def _damage(error: Exception) -> str:
    text = _first_line(error)
    if any(word in text.lower() for word in ("truncated", "not processed", "end of file", "eof", "broken", "premature")):
        return CUT_OFF
    return f"the picture is damaged: {text}"


_GPS = 0x8825  # EXIF's tag of the part with the place
_TURN = Image.Transpose
_TURNS = {  # EXIF orientation -> what turns the picture upright
    2: _TURN.FLIP_LEFT_RIGHT, 3: _TURN.ROTATE_180, 4: _TURN.FLIP_TOP_BOTTOM,
    5: _TURN.TRANSPOSE, 6: _TURN.ROTATE_270, 7: _TURN.TRANSVERSE, 8: _TURN.ROTATE_90,
}  # fmt: skip
_SIDEWAYS = {_TURN.TRANSPOSE, _TURN.ROTATE_270, _TURN.TRANSVERSE, _TURN.ROTATE_90}


def _orientation(image: Image.Image) -> int:
    """1-8 of a decoded picture (PNG may keep it after the pixels, so only then)."""
    try:
        return int(image.getexif().get(0x0112, 1))
    except Exception:  # noqa: BLE001 a broken EXIF block must not cost the picture
        return 1


def _to_rgb(image: Image.Image, notes: list[str]) -> Image.Image:
    """RGB in sRGB, 8 bit, free of metadata.  Appends what was done to notes."""
    profile = image.info.get("icc_profile") or b""
    image = _to_8_bit(image, notes)
    if image.mode == "P" or image.mode == "1":
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    alpha = None
    if image.has_transparency_data or image.mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        whole = image.convert("RGBA")
        alpha = whole.getchannel("A")
        image = whole.convert("L" if image.mode in ("LA", "La", "L") else "RGB") if image.mode != "RGB" else image
        if alpha.getextrema() == (255, 255):
            alpha = None
    rgb = _to_srgb(image, profile, notes)
    if alpha is not None:
        notes.append(ON_WHITE)
        rgb = Image.composite(rgb, Image.new("RGB", rgb.size, WHITE), alpha)
    plain = Image.new("RGB", rgb.size) if rgb is image else rgb
    if rgb is image:
        plain.paste(rgb)  # leaves the reader, its open data and its metadata behind
    plain.info = {}
    return plain


def _extremes(image: Image.Image) -> Any:
    """(darkest, lightest) of a picture with one channel; Pillow has pairs of them for those with more."""
    return image.getextrema()


def _to_8_bit(image: Image.Image, notes: list[str]) -> Image.Image:
    """16-bit and 32-bit grey scaled to 8 bit, never clipped; everything else as it is."""
    if image.mode.startswith("I;16") or image.mode == "I":
        wide = image.convert("I")
        low, high = _extremes(wide)
        if image.mode == "I" and (low < 0 or high > 65535):
            notes.append("32 bit grey: its own darkest and lightest value became black and white")
            return _stretched(wide.convert("F"), low, high)
        notes.append("16 bit scaled to 8 bit")
        return wide.point([value >> 8 for value in range(65536)], "L")
    if image.mode == "F":
        low, high = _extremes(image)
        if not (math.isfinite(low) and math.isfinite(high)):
            raise Refused("holds values that are not numbers (NaN or infinity)")
        notes.append("floating-point grey scaled to 8 bit")
        return _stretched(image, 0.0, 1.0) if 0 <= low and high <= 1 else _stretched(image, low, high)
    return image


def _stretched(image: Image.Image, low: float, high: float) -> Image.Image:
    scale = 255.0 / (high - low) if high > low else 0.0
    return image.point(lambda v: v * scale + (0.5 - low * scale)).convert("L")


# Pillow mode -> the colour space that an embedded profile must have to be about this picture
_SPACES = {"RGB": "RGB ", "RGBX": "RGB ", "L": "GRAY", "CMYK": "CMYK", "LAB": "Lab "}
_INTENT = ImageCms.Intent.PERCEPTUAL


def _to_srgb(image: Image.Image, profile: bytes, notes: list[str]) -> Image.Image:
    """RGB.  Through the embedded profile where there is a usable one; Lab through its own; otherwise Pillow's plain conversion."""
    source = None
    if profile and image.mode in _SPACES:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            if source.profile.xcolor_space != _SPACES[image.mode]:
                source = None
            elif image.mode == "RGB" and "srgb" in ImageCms.getProfileDescription(source).lower():
                return image
        except (ImageCms.PyCMSError, OSError):
            source = None
        if source is None:
            notes.append("its colour profile is not usable and was left out")
    if source is None and image.mode == "LAB":
        source = ImageCms.createProfile("LAB")
    if source is not None:
        try:
            rgb = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), renderingIntent=_INTENT, outputMode="RGB")
            notes.append("Lab colours converted to sRGB" if image.mode == "LAB" else "colours converted to sRGB")
            return rgb  # type: ignore[return-value]
        except (ImageCms.PyCMSError, OSError):
            notes.append("its colour profile is not usable and was left out")
    if image.mode == "CMYK":
        notes.append("print colours (CMYK) without a profile: shown as the usual plain conversion")
    return image if image.mode == "RGB" else image.convert("RGB")


_heif_registered = False


def _register_heif() -> None:
    """Make Pillow read HEIC.  One decoder thread: the gate's memory limit counts every thread's stack."""
    global _heif_registered
    if not _heif_registered:
        import pillow_heif
        from PIL import AvifImagePlugin

        pillow_heif.register_heif_opener(thumbnails=False, decode_threads=1)
        AvifImagePlugin.DEFAULT_MAX_THREADS = 1
        _heif_registered = True


_SIGNS = (
    (b"<!doctype html", "is a web page, not a picture; save the picture itself"),
    (b"<html", "is a web page, not a picture; save the picture itself"),
    (b"<svg", "is an SVG drawing; export it as PNG first"),
    (b"<?xml", "is an XML or SVG file; export it as PNG first"),
    (b"%pdf", "is a PDF; export its pages as pictures first"),
    (b"8bps", "is a Photoshop file; export it as PNG first"),
    (b"pk\x03\x04", "is a ZIP or an office file, not a picture"),
    (b"rar!", "is a RAR archive; unpack it first"),
    (b"7z\xbc\xaf", "is a 7z archive; unpack it first"),
    (b"version https://git-lfs", "is a Git LFS pointer: the picture itself was not downloaded"),
    (b"ii*\x00\x10\x00\x00\x00cr", "is a camera raw file; develop it to JPEG or PNG first"),
)


def _what_instead(data: bytes) -> str:
    """A sentence on what bytes that no allowed decoder knows seem to be."""
    head = data[:64].lstrip(b"\xef\xbb\xbf \r\n\t").lower()
    for sign, sentence in _SIGNS:
        if head.startswith(sign):
            return sentence
    if b"<svg" in data[:1000].lower():
        return "is an SVG drawing; export it as PNG first"
    if data[:4] == b"RIFF" and data[8:12] == b"AVI ":
        return "is an AVI video, which is not read here; save it as MP4"
    if data[:3] == b"\xff\xd8\xff" or data[:8] == b"\x89PNG\r\n\x1a\n" or (data[:4] == b"RIFF" and data[8:12] == b"WEBP"):
        return CUT_OFF
    return "is not a picture or clip that Easel reads (JPEG, PNG, WebP, GIF, BMP, TIFF, HEIC, AVIF, MP4, MOV or WebM)"


def _first_line(error: BaseException) -> str:
    text = (str(error) or type(error).__name__).splitlines()[0].strip()
    return text[:160]


def suffix_for(kind: str, name: str) -> str:
    """The extension to keep a picture under: its own where it is a picture's, else the usual one of its format."""
    own = Path(name).suffix
    return own if own.lower() in SUFFIXES else EXTENSIONS[kind][0]
