"""Frames: how many a family takes, and how a clip is cut into training clips.  Arithmetic only; clips.py decodes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ..config import DataPart, TrainConfig
from ..family import FamilySpec
from .datasets import Picture


@dataclass(frozen=True)
class Segment:
    """A piece of a clip: its first frame, how many, and the rate that both are counted at."""

    start: int
    frames: int
    fps: float


STILL = Segment(0, 1, 0.0)  # a picture as it is


def fitting(frames: int, stride: int) -> int:
    """The largest number of frames that is not above `frames` and is a multiple of `stride` plus one."""
    return (max(frames, 1) - 1) // stride * stride + 1


def available(seconds: float, fps: float) -> int:
    """Frames that a clip of so many seconds gives at `fps`."""
    return max(1, int(seconds * fps + 0.01))  # a hundredth of a frame: rates such as 23.976 and rounded time stamps


def segments(seconds: float, data: DataPart, spec: FamilySpec) -> list[Segment]:
    """What a picture (seconds 0) or clip is trained as: [] where it is left out.

    A longer clip is cut into as many pieces as lie in it without overlap, at most data.segments, evenly spaced; one piece is
    its middle.  A picture teaches nothing to a family that goes on from a first frame.  A shorter one gives as many frames as it has and the family takes, but never a single one.
    """
    if not seconds:
        return [] if spec.first_frame else [STILL]
    total = available(seconds, data.fps)
    frames = fitting(min(total, data.frames), spec.latent.frame_stride)
    if not spec.latent.video or frames == 1:
        return []
    count = min(data.segments, total // frames)
    spare = total - frames
    starts = [spare // 2] if count == 1 else [n * spare // (count - 1) for n in range(count)]
    return [Segment(start, frames, data.fps) for start in starts]


def left_out(pictures: Iterable[Picture], data: DataPart, spec: FamilySpec) -> list[str]:
    """Sentences on the clips that are not trained on, or not as long as asked for; [] where all are."""
    pictures = list(pictures)
    clips = [p for p in pictures if p.seconds]
    lost = [p.id for p in clips if not segments(p.seconds, data, spec)]
    shorter = [p.id for p in clips if (cut := segments(p.seconds, data, spec)) and cut[0].frames < data.frames]
    said = []
    if spec.first_frame and (stills := [p.id for p in pictures if not p.seconds]):
        many = f"{len(stills)} pictures are left out: {spec.title} learns how a clip goes on from its first frame, which a picture does not show"
        said.append(f"1 picture is left out: {spec.title} learns how a clip goes on from its first frame, which a picture does not show" if len(stills) == 1 else many)
    if lost and not spec.latent.video:
        many = f"{len(lost)} clips are left out: {spec.title} learns still pictures only"
        said.append(f"1 clip is left out: {spec.title} learns still pictures only" if len(lost) == 1 else many)
    elif lost and data.frames == 1:
        many = f"{len(lost)} clips are left out: data.frames is 1, so only still pictures are learnt"
        said.append("1 clip is left out: data.frames is 1, so only still pictures are learnt" if len(lost) == 1 else many)
    elif lost:
        least = spec.latent.frame_stride + 1
        many = f"{len(lost)} clips are left out, being shorter than {least} frames at {data.fps:g} a second: {_named(lost)}"
        said.append(f"1 clip is left out, being shorter than {least} frames at {data.fps:g} a second: {lost[0]}" if len(lost) == 1 else many)
    if shorter:
        many = f"{len(shorter)} clips are shorter than {data.frames} frames at {data.fps:g} a second, and learnt with the frames there are: {_named(shorter)}"
        one = f"1 clip is shorter than {data.frames} frames at {data.fps:g} a second, and learnt with the frames there are: {shorter[0]}"
        said.append(one if len(shorter) == 1 else many)
    return said


def problems(config: TrainConfig, spec: FamilySpec) -> list[tuple[str, str]]:
    """[(dotted path, sentence)] for numbers of frames that the family cannot take."""
    found = []
    if spec.first_frame:
        for path, frames in (("data.frames", config.data.frames), ("sample.frames", config.sample.frames)):
            if frames == 1:
                found.append((path, f"is 1, but {spec.title} learns how a clip goes on from its first frame; try {spec.latent.frame_stride * 8 + 1}"))
        if config.keep.on and config.keep.drawn:
            found.append(("keep.drawn", f"is {config.keep.drawn}, but {spec.title} draws nothing without a first frame; set it to 0"))
        if not config.data.datasets:
            found.append(("data.datasets", f"is empty, but {spec.title} draws nothing without a first frame; add a dataset of clips"))
    for path, frames in (("data.frames", config.data.frames), ("sample.frames", config.sample.frames)):
        stride = spec.latent.frame_stride
        if frames > 1 and not spec.latent.video:
            found.append((path, f"is {frames}, but {spec.title} makes still pictures; set it to 1"))
        elif frames != fitting(frames, stride):
            below = fitting(frames, stride)
            found.append((path, f"is {frames}, but {spec.title} takes a multiple of {stride} plus one; try {below} or {below + stride}"))
    return found


def _named(ids: list[str]) -> str:
    return ", ".join(ids[:5]) + (", …" if len(ids) > 5 else "")
