"""A drawn picture or clip on disk, with what it was drawn from inside."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from PIL import Image

from ..data import clips
from ..files import write_atomic
from ..formats import pictureinfo
from ..plan.shots import Drawing, Shot
from ..runs.context import Context
from ..runs.run import Run
from . import madefrom
from .studio import Studio

SHOWN = ".shown.png"


def write(ctx: Context, name: str, frames: list[Image.Image], shot: Shot, studio: Studio, *, fps: float = 16.0, drawing: Drawing | None = None) -> str:
    """The path, inside the run, of samples/<name>.png; of a clip samples/<name>.webp, with an MP4 beside it.

    drawing: the job, where the picture started from another one.
    """
    from_picture = drawing if drawing and drawing.picture else None
    shot = shot.model_copy(update=dict(zip(("width", "height"), frames[0].size, strict=True)))  # some pipelines draw at sizes of their own
    made_from = madefrom.named(shot, studio.spec, ctx.home)
    loras = [(named(ctx, studio.file_of(source)), strength, pictureinfo.lora_hash(studio.file_of(source))) for source, strength in shot.loras if strength]
    model = studio.spec.called(studio.config.model.source)
    text = pictureinfo.parameters(shot.told(), studio.title_of(shot.sampler), model, loras, from_picture.change if from_picture else None, [name for name, _ in made_from])
    if len(frames) > 1:
        path = f"samples/{name}.webp"
        if video := clips.mp4(frames, fps):
            write_atomic(ctx.path(path).with_suffix(".mp4"), video)
        exif = frames[0].getexif()
        exif[0x9286] = b"UNICODE\0" + text.encode("utf-16-be")  # UserComment
        small = shot.width * shot.height <= 256 * 256  # lossy WebP smears small flat pictures
        write_atomic(ctx.path(path), clips.webp(frames, fps, lossless=small, quality=85, exif=exif))
        return path
    path = f"samples/{name}.png"
    write_atomic(ctx.path(path), pictureinfo.png(frames[0], text, told(ctx, shot, studio, from_picture)))
    return path


def named(ctx: Context, file: Path) -> str:
    """What a LoRA is called in a picture's text: a checkpoint, whose file is called like any other's, by its run and step."""
    if file.parent.parent.name == "checkpoints" and file.is_relative_to(ctx.home.outputs):
        return f"{Run(file.parents[2]).title}-{file.parent.name.lstrip('0') or '0'}"
    return file.stem


def told(ctx: Context, shot: Shot, studio: Studio, from_picture: Drawing | None) -> dict[str, Any]:
    """Our JSON inside a picture: no path of this computer, only the files' names."""
    loras = [{"name": named(ctx, studio.file_of(source)), "strength": strength, "hash": pictureinfo.lora_hash(studio.file_of(source))} for source, strength in shot.loras]
    settings = {k: v for k, v in shot.told().items() if k not in ("loras", "place", "number", "beside", "shown", "shown_of", "made_from", "keep_shape")}
    if shot.made_from:
        settings["made_from"] = [{"name": name, "hash": sha256[: pictureinfo.SHORT]} for name, sha256 in madefrom.named(shot, studio.spec, ctx.home)]
    if studio.following:
        settings["beside"] = studio.following.title
    more = {"change": from_picture.change, "masked": bool(from_picture.mask)} if from_picture else {}
    return {"family": studio.spec.id, "model": studio.spec.called(studio.config.model.source), **settings, "loras": loras, **more}


def shown(ctx: Context, name: str, picture: Image.Image) -> None:
    """Writes samples/<name>.shown.png, what a network beside the denoiser was shown, or what the picture was made from."""
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    write_atomic(ctx.path(f"samples/{name}{SHOWN}"), stream.getvalue())


def film(ctx: Context, name: str, pictures: list[Image.Image], each_s: float = 0.5) -> str:
    """The path of samples/<name>.mp4 of the pictures one after the other, with a GIF beside it."""
    fps = 1 / each_s
    stream = io.BytesIO()
    first, *rest = pictures
    first.save(stream, "GIF", save_all=True, append_images=rest, duration=round(1000 * each_s), loop=0)
    write_atomic(ctx.path(f"samples/{name}.gif"), stream.getvalue())
    video = clips.mp4(pictures, fps)
    if not video:
        return f"samples/{name}.gif"
    write_atomic(ctx.path(f"samples/{name}.mp4"), video)
    return f"samples/{name}.mp4"
