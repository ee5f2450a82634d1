"""Frames: how many a family takes, and how a clip is cut into training clips.  Arithmetic only; clips.py decodes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..config import DataPart, DatasetUse, TrainConfig
from ..family import FamilySpec
from .captions import split
from .clips import EPSILON_S
from .datasets import Picture
from .timed import is_timed, said

SHORTEST_SHOWN_S = 0.05  # a scene of a frame or two is no scene to describe


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


def scenes(picture: Picture, split: bool = True) -> list[tuple[float, float]]:
    """[(start, end)] in seconds of the scenes of a clip, of what is learnt of it.  split: off takes it as a single one."""
    start_s, end_s = picture.treatment.start_s, picture.treatment.until(picture.seconds)
    inner = [at for at in picture.cuts if split and start_s < at < end_s]
    return [(a, b) for a, b in zip([start_s, *inner], [*inner, end_s], strict=True) if b - a > SHORTEST_SHOWN_S or not inner]


def segments(picture: Picture, use: DatasetUse, data: DataPart, spec: FamilySpec) -> list[Segment]:
    """What a picture or clip is trained as, the longest first: [] where it is left out.

    A longer scene is cut into as many pieces as lie in it without overlap, at most data.segments, evenly spaced; one piece is
    its middle.  A shorter one gives as many frames as it has and the family takes, but never a single one.  The same again for each of data.shorter.
    A picture teaches nothing to a family that goes on from a first frame.
    """
    if not picture.seconds:
        return [] if spec.first_frame else [STILL]
    if not spec.latent.video:
        return []
    found: list[Segment] = []
    fps = data.fps_of(use)
    for first, total in _counted(picture, data.scenes, fps):
        for frames in dict.fromkeys(fitting(min(total, length), spec.latent.frame_stride) for length in data.lengths_of(use)):
            if frames > 1:
                count = min(data.segments, total // frames)
                spare = total - frames
                starts = [spare // 2] if count == 1 else [n * spare // (count - 1) for n in range(count)]
                found += [Segment(first + start, frames, fps) for start in starts]
    return sorted(found, key=lambda s: (-s.frames, s.start))


def _counted(picture: Picture, split: bool, fps: float) -> list[tuple[int, int]]:
    """(first frame, how many) of each scene, counted at `fps`: what is on screen at those times is of that scene alone."""
    whole = available(picture.seconds, fps)
    reach = lambda at: whole if at >= picture.seconds else min(whole, _frame_at(at, fps))
    bounds = [(_frame_at(a, fps), reach(b)) for a, b in scenes(picture, split)]
    return [(first, last - first) for first, last in bounds if last > first]


def _frame_at(at_s: float, fps: float) -> int:
    """The first frame at `fps` that shows what comes on screen at this time: clips.on_screen() reckons with EPSILON_S."""
    return max(0, math.ceil((at_s - EPSILON_S) * fps))


def captions_of(picture: Picture, segment: Segment, lines: str) -> tuple[str, ...]:
    """The captions that a piece of a clip is learnt with: of those that speak of one scene, the one that it lies in.  lines: a key of captions.LINES."""
    if segment == STILL or not is_timed(picture.caption):
        return picture.captions
    return split(said(picture.caption, segment.start / segment.fps, (segment.start + segment.frames) / segment.fps), lines)


def left_out(rows: Iterable[tuple[DatasetUse, Picture]], data: DataPart, spec: FamilySpec) -> list[str]:
    """Sentences on the clips that are not trained on, or not as long as asked for; [] where all are."""
    rows = list(rows)
    found = [(use, p, segments(p, use, data, spec)) for use, p in rows if p.seconds]
    lost = [p.id for _, p, cut in found if not cut]
    told = []
    if spec.first_frame and (stills := [p.id for _, p in rows if not p.seconds]):
        many = f"{len(stills)} pictures are left out: {spec.title} learns how a clip goes on from its first frame, which a picture does not show"
        told.append(f"1 picture is left out: {spec.title} learns how a clip goes on from its first frame, which a picture does not show" if len(stills) == 1 else many)
    if lost and not spec.latent.video:
        many = f"{len(lost)} clips are left out: {spec.title} learns still pictures only"
        return [f"1 clip is left out: {spec.title} learns still pictures only" if len(lost) == 1 else many]
    for fps in dict.fromkeys(data.fps_of(use) for use, _, cut in found if cut):
        if spec.fps and fps != spec.fps:
            told.append(f"{spec.title} reckons with {spec.fps:g} frames a second, so clips taken at {fps:g} a second are learnt as if they moved at another speed; set data.fps to {spec.fps:g}")
    for frames, fps in dict.fromkeys((data.frames_of(use), data.fps_of(use)) for use, _, _ in found):
        told += _of_length(frames, fps, [(p, cut) for use, p, cut in found if (data.frames_of(use), data.fps_of(use)) == (frames, fps)], data, spec)
    return told


def _of_length(frames: int, fps: float, clips: Sequence[tuple[Picture, list[Segment]]], data: DataPart, spec: FamilySpec) -> list[str]:
    """The sentences on clips that are to have so many frames at one rate."""
    lost = [p.id for p, cut in clips if not cut]
    shorter = [p.id for p, cut in clips if cut and cut[0].frames < frames]
    told = []
    if lost and frames == 1 and data.frames > 1:
        return [f"the clips of a dataset whose frames are 1 are left out: {_named(lost)}"]
    if lost and frames == 1:
        many = f"{len(lost)} clips are left out: data.frames is 1, so only still pictures are learnt"
        return ["1 clip is left out: data.frames is 1, so only still pictures are learnt" if len(lost) == 1 else many]
    least = spec.latent.frame_stride + 1
    if lost:
        many = f"{len(lost)} clips are left out, being shorter than {least} frames at {fps:g} a second: {_named(lost)}"
        told.append(f"1 clip is left out, being shorter than {least} frames at {fps:g} a second: {lost[0]}" if len(lost) == 1 else many)
    if shorter:
        many = f"{len(shorter)} clips are shorter than {frames} frames at {fps:g} a second, and learnt with the frames there are: {_named(shorter)}"
        one = f"1 clip is shorter than {frames} frames at {fps:g} a second, and learnt with the frames there are: {shorter[0]}"
        told.append(one if len(shorter) == 1 else many)
    short = [(p.id, n) for p, cut in clips if cut and (n := sum(total < least for _, total in _counted(p, data.scenes, fps)))]
    if short:
        count = sum(n for _, n in short)
        many = f"{count} scenes are left out, being shorter than {least} frames at {fps:g} a second; they lie in {_named([id for id, _ in short])}"
        told.append(f"1 scene is left out, being shorter than {least} frames at {fps:g} a second; it lies in {short[0][0]}" if count == 1 else many)
    return told


def problems(config: TrainConfig, spec: FamilySpec) -> list[tuple[str, str]]:
    """[(dotted path, sentence)] for numbers of frames that the family cannot take, and for a first frame that it is not shown."""
    found = []
    if spec.first_frame:
        for path, frames in (("data.frames", config.data.frames), ("sample.frames", config.sample.frames)):
            if frames == 1:
                found.append((path, f"is 1, but {spec.title} learns how a clip goes on from its first frame; try {spec.latent.frame_stride * 8 + 1}"))
        if config.keep.on and config.keep.drawn:
            found.append(("keep.drawn", f"is {config.keep.drawn}, but {spec.title} draws nothing without a first frame; set it to 0"))
        if not config.data.datasets:
            found.append(("data.datasets", f"is empty, but {spec.title} draws nothing without a first frame; add a dataset of clips"))
    asked = [("data.frames", config.data.frames), ("sample.frames", config.sample.frames)]
    asked += [("data.shorter", frames) for frames in config.data.shorter if config.data.most_frames > 1]
    asked += [("data.datasets", use.frames) for use in config.data.datasets if use.frames]
    for path, frames in asked:
        stride = spec.latent.frame_stride
        if frames > 1 and not spec.latent.video:
            found.append((path, f"is {frames}, but {spec.title} makes still pictures; set it to 1" if path in ("data.frames", "sample.frames") else f"asks for clips of {frames} frames, but {spec.title} makes still pictures"))
        elif frames != fitting(frames, stride):
            below = fitting(frames, stride)
            named = path in ("data.frames", "sample.frames")
            found.append((path, f"{'is' if named else 'asks for'} {frames}{'' if named else ' frames'}, but {spec.title} takes a multiple of {stride} plus one; try {below} or {below + stride}"))
    return found


def _named(ids: list[str]) -> str:
    return ", ".join(ids[:5]) + (", …" if len(ids) > 5 else "")
