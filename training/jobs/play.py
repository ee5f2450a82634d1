"""The studio: a worker that keeps a base model loaded and draws what it is asked for, one request after the other.

The page appends a `draw` command with a Request to the run's control.jsonl; samples/<id>.json, beside the pictures, says what came of it.
It ends, to go on at the next request, when it is closed, has been idle, or another run wants the machine (YIELDS; see supervisor.py).
"""

from __future__ import annotations

import json
import time
from typing import Any, Literal

from pydantic import Field, ValidationError

from .. import jobfile, outside, registry
from ..config import DrawingConfig, Part
from ..files import write_atomic
from ..plan.shots import Shot
from ..runs.context import Context, Stopped

TITLE = "Playground"
NEEDS_TOKEN = True  # a gated base model or LoRA is downloaded with the user's own token
USES_GPU = True
YIELDS = True  # it ends by itself when another run wants the machine
READY = "ready"  # the phase in which it waits for a request
MOST_SHOTS = 200
LOOK_S = 0.05  # between two looks for a request
MAX_TOLD_BYTES = 4_000_000


class Request(Part):
    """Pictures that are asked for together."""

    id: str = Field(pattern="^[a-z0-9]{8,32}$", description="Name of its files.")
    mode: str = Field("one", max_length=40, description="How the page shows them.")
    shots: tuple[Shot, ...] = Field(min_length=1, max_length=MOST_SHOTS, description="The pictures, in their order.")
    film: bool = Field(False, description="Make a GIF and an MP4 of them as well.")
    about: dict[str, str] = Field({}, description="What the page wants to know again when it shows them.")


class Config(DrawingConfig):
    """A studio, complete."""

    kind: Literal["play"] = Field("play", description="Job kind.")
    idle_minutes: float = Field(10.0, gt=0, le=1440, description="Minutes without a request after which the model leaves the memory.")
    keep_text: bool = Field(True, description="Keep the text encoders in memory: new prompts are quick, at the cost of their size.")


def run(config: Config, ctx: Context) -> None:
    """Draws until it is closed, idle, or asked to make room: then raises Stopped, so that it can go on."""
    ctx.phase("loading libraries")
    from ..engine import libraries

    libraries.load(config, registry.get("families", config.model.family, ctx.home.plugins).SPEC)
    from ..engine.sampling import Interrupted
    from ..engine.studio import Studio

    studio = Studio(config, ctx, config.keep_text)
    studio.load()
    drawn, heard_t = 0, time.monotonic()
    ctx.phase(READY)
    while not ctx.stop_requested() and time.monotonic() - heard_t < 60 * config.idle_minutes:
        for command in ctx.commands():
            if command.get("kind") != "draw":
                continue
            try:
                drawn = _serve(str(command.get("request", "")), studio, ctx, drawn)
            except Interrupted:
                raise Stopped(drawn) from None
            ctx.phase(READY)
            heard_t = time.monotonic()
        time.sleep(LOOK_S)
    raise Stopped(drawn)


def told_of(folder, id: str) -> dict[str, Any] | None:
    """What came of a request: {request, files, film, error, seen, took_s, memory_bytes}, where seen is how many pictures the last one was made from; None while it is not through.  Raises ValueError, OSError."""
    try:
        return outside.read_json(outside.inside(folder, f"samples/{id}.json"), MAX_TOLD_BYTES)
    except FileNotFoundError:
        return None


def _serve(text: str, studio, ctx: Context, drawn: int) -> int:
    """One request; a fault of it is on record and ends nothing else.  How many pictures were drawn so far.  Raises Interrupted."""
    from ..engine import madefrom, memory

    try:
        request = jobfile.parse(Request, outside.parse_json(text, "the request"), "the request")
    except (ValueError, ValidationError) as error:
        ctx.warn(str(error))
        return drawn
    begun_t, files, pictures, film, error, seen = time.monotonic(), [], [], "", "", 0
    try:
        shots = [studio.sized(shot) for shot in request.shots]
        for shot in shots:
            studio.check(shot)
        studio.read(shots)
        for k, shot in enumerate(shots):
            ctx.phase("drawing", k, len(shots), "pictures")
            pictures.append(_draw(request, k, shot, studio, ctx, drawn, files))
            drawn += 1
        seen = len(madefrom.named(shots[-1], studio.spec, ctx.home))
        request = request.model_copy(update={"shots": tuple(shots)})
        if request.film and len(pictures) > 1:
            from ..engine import drawn as onto_disk

            film = onto_disk.film(ctx, request.id, pictures)
    except (ValueError, OSError) as fault:
        error = str(fault)
    told = {
        "request": request.model_dump(mode="json"), "files": files, "film": film, "error": error, "seen": seen,
        "took_s": round(time.monotonic() - begun_t, 2), "memory_bytes": memory.in_use_bytes(studio.config.device),
    }  # fmt: skip
    write_atomic(ctx.path("samples", f"{request.id}.json"), json.dumps(told, ensure_ascii=False).encode())
    ctx.emit("item", id=request.id, status="failed" if error else "done", text=error[:2000])
    return drawn


def _draw(request: Request, k: int, shot: Shot, studio, ctx: Context, drawn: int, files: list[str]):
    """The first frame of one picture of a request, which is on disk and on record."""
    from ..engine import drawn as onto_disk
    from ..engine import memory

    begun_t = time.monotonic()
    studio.follow(shot.beside)
    studio.wear(shot.loras, shot.blocks)
    frames = studio.draw(shot)
    if studio.shown:
        onto_disk.shown(ctx, request.id, studio.shown)
    files.append(onto_disk.write(ctx, f"{request.id}_{k}", frames, shot, studio))
    ctx.emit("sample", step=drawn, index=k, prompt=shot.prompt, path=files[-1], seed=shot.seed)
    rate = 1 / max(1e-6, time.monotonic() - begun_t)
    ctx.step(drawn + 1, 0, 0.0, 0.0, 0.0, rate, memory.in_use_bytes(studio.config.device))
    return frames[0]
