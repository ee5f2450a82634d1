"""Video clips: the one decode path, from a file to RGB frames, and back to a file for samples.

Raises Refused, whose message is the reason for a person.  ffmpeg, which PyAV brings along, is handed the bytes of a file that
is open already and the one container and the few codecs that they may be in, so that nothing in a clip can make it open another.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from fractions import Fraction

from PIL import Image

from .cuts import Cuts
from .gifs import with_delays
from .pictures import MAX_ASPECT, MIN_SIDE_PX, WHITE, Facts, Refused, read, read_regular

CODECS = "h264,hevc,vp8,libvpx,vp9,libvpx-vp9,av1,libdav1d,mpeg4,mjpeg,prores,gif"
MAX_CLIP_PIXELS = 9_000_000  # 4096 x 2160: what cameras make
MAX_S = 120.0
MAX_FRAMES = 15_000
MIN_FRAMES = 2
_STILL_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"avif", b"avis")
CUT_OFF = "the clip is cut off or broken: it was not copied or downloaded completely"
EPSILON_S = 1e-4  # time stamps are rounded to ticks of the container
BT709, LIMITED, UNSAID, HDR = 1, 1, 2, (16, 18)  # ITU-T H.273: colour of HD video, 16-235, not specified, PQ and HLG
HD_PX = 720  # from this height on, a clip that does not say its colours has those of HD
MP4_QUALITY = "18"  # x264's CRF: visually the same as what was drawn


def is_clip(data: bytes) -> bool:
    """Whether bytes are a video, or a GIF that moves, rather than a picture."""
    return bool(_container(data))


def read_clip(data: bytes) -> tuple[Image.Image, Facts]:
    """The frame in the middle, RGB, and the facts of a clip that was decoded whole.  Raises Refused."""
    kind = _container(data)
    with _opened(data, kind) as container:
        stream = container.streams.video[0]
        check_frame_size(stream.width, stream.height)  # before anything is decoded
        said_s = float(container.duration / 1_000_000) if container.duration else 0.0
        middle, count, start_s, end_s, cuts = None, 0, 0.0, 0.0, Cuts()
        for frame, at_s, until_s in _timed(container):
            start_s = start_s if count else at_s
            count += 1
            end_s = until_s
            seconds = max(end_s - start_s, said_s)
            if count > MAX_FRAMES or seconds > MAX_S:
                raise Refused(f"the clip is too long: {seconds:.0f} s; {MAX_S:.0f} s is the most, so cut it into scenes first")
            cuts.see(frame, at_s)
            if middle is None or at_s - start_s <= said_s / 2:
                middle = frame  # turned into a picture only at the end
        seconds = end_s - start_s
        if middle is None or seconds < 0.9 * said_s - 1:
            raise Refused(CUT_OFF)
        if kind == "gif" and not data.rstrip(b"\0").endswith(b";"):  # its last byte by its standard; it does not say how long it is
            raise Refused(CUT_OFF)
        if count < MIN_FRAMES:
            raise Refused("the clip is too short: it holds a single frame; add that as a picture")
        shape = stream.sample_aspect_ratio
        check_frame_size(*_size(middle, shape))
        notes = ["its sound is not used"] if container.streams.audio else []
        if middle.color_trc in HDR:  # type: ignore[attr-defined]
            notes.append("HDR colours are shown as plain ones")
        return _rgb(middle, shape), Facts(_kind(data, kind), *_size(middle, shape), tuple(notes), seconds=seconds, cuts=cuts.found())


def says_place(path: str | os.PathLike) -> bool:
    """Whether a clip says in itself where it was taken, as phones write it (©xyz, com.apple.quicktime.location.ISO6709, LOCATION).  Raises Refused or OSError."""
    data = read_regular(path)
    with _opened(data, _container(data)) as container:
        said = [*container.metadata.items(), *(pair for stream in container.streams for pair in stream.metadata.items())]
    return any("location" in key.lower() and value.strip() for key, value in said)


def load_still(path: str | os.PathLike) -> Image.Image:
    """RGB, upright: a picture, or the frame in the middle of a clip.  Raises Refused or OSError."""
    data = read_regular(path)
    return read_clip(data)[0] if is_clip(data) else read(path)[0]


def frames_at(path: str | os.PathLike, start: int, count: int, fps: float) -> Iterator[Image.Image]:
    """`count` RGB frames, the first at start / fps seconds, then one every 1 / fps: at each time the frame that is on screen.  Raises Refused or OSError."""
    return on_screen(path, [(start + n) / fps for n in range(count)])


def on_screen(path: str | os.PathLike, times: Sequence[float]) -> Iterator[Image.Image]:
    """The RGB frame that is on screen at each of these times, seconds from the clip's beginning, rising.

    The last frame of the clip stays on screen where rounding leads past its end.  Raises Refused or OSError.
    """
    data = read_regular(path)
    with _opened(data, _container(data)) as container:
        shape = container.streams.video[0].sample_aspect_ratio
        begin_s, shown, given = 0.0, None, 0
        for frame, at_s, _ in _timed(container):
            begin_s = at_s if shown is None else begin_s
            while shown is not None and given < len(times) and times[given] + EPSILON_S < at_s - begin_s:
                yield _rgb(shown, shape)
                given += 1
            if given == len(times):
                return
            shown = frame
        if shown is None:
            raise Refused(CUT_OFF)
        for _ in range(len(times) - given):
            yield _rgb(shown, shape)


def sampled(path: str | os.PathLike, start_s: float, end_s: float, count: int) -> list[Image.Image]:
    """`count` RGB frames of what a clip shows between two times, evenly spread: the middle of each of `count` equal parts.  Raises Refused or OSError."""
    return list(on_screen(path, [start_s + (2 * n + 1) / (2 * count) * (end_s - start_s) for n in range(count)]))


def mp4(frames: Sequence[Image.Image], fps: float) -> bytes:
    """The frames as an H.264 video that every browser plays; b"" where this build of PyAV has no encoder for it.  Sides must be even."""
    import av

    if "libx264" not in av.codecs_available:
        return b""
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001), options={"crf": MP4_QUALITY})
        stream.width, stream.height = frames[0].size
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        context.colorspace = context.color_primaries = context.color_trc = BT709
        context.color_range = LIMITED
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_image(frame).reformat(format="yuv420p", dst_colorspace="ITU709")))
        container.mux(stream.encode())
    return out.getvalue()


def webp(frames: Sequence[Image.Image], fps: float, **options) -> bytes:
    """The frames as an animation that repeats for ever."""
    out = io.BytesIO()
    frames[0].save(out, "WEBP", save_all=True, append_images=frames[1:], duration=round(1000 / fps), loop=0, **options)
    return out.getvalue()


def _container(data: bytes) -> str:
    """ffmpeg's name of the container that a clip is in, or "" for what is no clip."""
    if data[:4] == b"\x1aE\xdf\xa3":
        return "matroska"
    if data[4:8] == b"ftyp":
        return "" if data[8:12] in _STILL_BRANDS else "mov"
    if data[4:8] in (b"moov", b"mdat", b"wide", b"free", b"skip"):
        return "mov"
    return "gif" if data[:4] == b"GIF8" and _moves(data) else ""


def _moves(data: bytes) -> bool:
    try:
        with Image.open(io.BytesIO(data), formats=["GIF"]) as image:
            return bool(getattr(image, "is_animated", False))
    except Exception:  # noqa: BLE001 a damaged GIF gets its sentence from the reader of pictures
        return False


def _kind(data: bytes, container: str) -> str:
    if container == "gif":
        return "GIF"
    if container == "matroska":
        return "WEBM" if b"webm" in data[:64] else "MKV"
    return "MOV" if data[8:12] == b"qt  " or data[4:8] != b"ftyp" else "MP4"


def _opened(data: bytes, kind: str):
    """The open container.  Raises Refused."""
    import av

    av.logging.set_level(av.logging.PANIC)
    try:
        container = av.open(io.BytesIO(with_delays(data) if kind == "gif" else data), format=kind, options={"codec_whitelist": CODECS, "format_whitelist": kind + ",mov,mp4,m4a,3gp,3g2,mj2,webm"})
    except (av.error.FFmpegError, ValueError) as error:
        raise Refused(_damage(error)) from None
    if not container.streams.video:
        container.close()
        raise Refused("holds sound but no pictures")
    stream = container.streams.video[0]
    if stream.codec.name not in CODECS.split(","):
        name = stream.codec.name
        container.close()
        raise Refused(f"is coded as {name!r}, which is not read here; save it as MP4 (H.264)")
    stream.codec_context.thread_count = 1  # the gate's memory limit counts every thread's stack
    return container


def _timed(container) -> Iterator[tuple[object, float, float]]:
    """(frame, when it comes on screen, when it goes) of all frames, in seconds.  Raises Refused."""
    import av

    stream = container.streams.video[0]
    usual_s = float(1 / (stream.average_rate or 25))  # where a frame does not say how long it stays
    try:
        before_s = None
        for frame in container.decode(stream):
            at_s = frame.time if frame.time is not None else (before_s + usual_s if before_s is not None else 0.0)
            if before_s is not None and at_s <= before_s:  # time must go on
                at_s = before_s + EPSILON_S
            yield frame, at_s, at_s + (float(frame.duration * frame.time_base) if frame.duration else usual_s)
            before_s = at_s
    except (av.error.FFmpegError, ValueError) as error:
        raise Refused(_damage(error)) from None


def _size(frame, shape: Fraction | None) -> tuple[int, int]:
    """Width and height as they are shown: upright, in square pixels.  shape: width over height of one pixel of the file."""
    width = round(frame.width * shape) if shape else frame.width
    return (frame.height, width) if frame.rotation % 180 else (width, frame.height)


def _rgb(frame, shape: Fraction | None) -> Image.Image:
    """The frame as an RGB picture, upright, in square pixels, transparency on white."""
    colours = {"src_colorspace": "ITU709"} if frame.colorspace == UNSAID and frame.height >= HD_PX else {}
    if any(c.is_alpha for c in frame.format.components) or frame.format.name == "pal8":
        whole = Image.fromarray(frame.to_ndarray(format="rgba", **colours), "RGBA")
        picture = Image.new("RGB", whole.size, WHITE)
        picture.paste(whole, mask=whole.getchannel("A"))
    else:
        picture = Image.fromarray(frame.to_ndarray(format="rgb24", **colours))
    if frame.rotation % 360:
        picture = picture.rotate(frame.rotation, expand=True)
    size = _size(frame, shape)
    return picture if picture.size == size else picture.resize(size, Image.Resampling.LANCZOS)


def check_frame_size(width: int, height: int) -> None:
    """Nothing, or Refused with the limit that width x height px breaks."""
    if width * height > MAX_CLIP_PIXELS:
        raise Refused(f"the clip is too large: {width}x{height} px; 4096x2160 is the most, so scale it down first")
    if min(width, height) < MIN_SIDE_PX:
        raise Refused(f"{width}x{height} px is too small: the shorter side must be at least {MIN_SIDE_PX} px")
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise Refused(f"{width}x{height} px is longer than {MAX_ASPECT:.0f}:1; crop it first")


def _damage(error: Exception) -> str:
    import av

    if isinstance(error, (av.error.InvalidDataError, av.error.EOFError)):
        return CUT_OFF
    if isinstance(error, av.error.DecoderNotFoundError):
        return "is coded in a way that is not read here; save it as MP4 (H.264)"
    return f"the clip is damaged: {str(error).splitlines()[0][:160]}"
