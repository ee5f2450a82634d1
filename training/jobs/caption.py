"""The captioning job: a captioner writes under the pictures of a dataset, one .txt each, saved as soon as it is made."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Literal

from pydantic import BaseModel, Field, field_validator

from .. import jobfile, registry
from ..config import JobConfig
from ..data import clips, datasets, timed, versions
from ..data.captions import clean_caption, with_trigger
from ..data.combining import ONE_LINE, combined
from ..data.datasets import Dataset, Picture
from ..data.frames import scenes
from ..data.timed import Line
from ..runs.context import Context, Stopped

TITLE = "Caption"
NEEDS_TOKEN = True  # a captioner's model may ask for its licence to be accepted
USES_GPU = True
HOPELESS = 5  # so many errors and not one caption: it is not the pictures' fault


class Config(JobConfig):
    """One captioning run, complete."""

    kind: Literal["caption"] = Field("caption", description="Job kind.")
    dataset: str = Field(min_length=1, description="Name of a dataset in the datasets folder, or the path of a folder of pictures.")
    captioner: str = Field("florence2", description="What writes the captions.")
    options: dict[str, Any] = Field({}, description="What the captioner is told; each has its own options.")
    mode: Literal["overwrite", "missing", "append"] = Field(
        "missing", description="Write all captions anew, only the missing ones, or add to what is there."
    )
    place: Literal["behind", "front", "line"] = Field(
        "behind", description="Where added text goes: behind what is there, in front of it, or on a line of its own, which is one more caption of the picture."
    )
    apart: bool = Field(True, description="Put ||| between a list of tags and sentences that are added to each other, so that shuffling the tags leaves the sentences whole.")
    scenes: bool = Field(True, description="Of a clip that cuts from scene to scene, write a line for each with the time at which it begins; off describes the clip as a whole.")
    pictures: tuple[str, ...] = Field((), max_length=1_000_000, description="Names of the pictures that are captioned; none for all of the dataset.")
    trial: bool = Field(False, description="Write nothing: only show what would be written.")
    trigger: str = Field("", max_length=100, description="Word that calls up what is learnt; it is put in front of captions that lack it.")
    device: Literal["cpu", "cuda", "xpu", "mps"] = Field("cpu", description="Where the captioner runs.")

    @field_validator("trigger")
    @classmethod
    def _trigger_is_one_line(cls, trigger):
        if any(c in trigger for c in "\n\r\t,"):
            raise ValueError("the trigger word holds a comma, tab or line break; use a single word such as 'zibbo'")
        return trigger.strip()


@dataclass
class Tally:
    """What became of the pictures so far."""

    done: int = 0
    skipped: int = 0
    failed: int = 0
    errors: list[Exception] = field(default_factory=list)  # raised by the captioner, not by a picture

    trial: bool = False

    def __str__(self) -> str:
        parts = [f"{self.done} tried, nothing written" if self.trial else f"{self.done} captioned"]
        parts += [f"{self.skipped} had one already"] if self.skipped else []
        parts += [f"{self.failed} failed"] if self.failed else []
        return ", ".join(parts)


def options_of(captioner: ModuleType, config: Config) -> BaseModel:
    """The captioner's own options, checked; the job's trigger word goes to a captioner that has a place for it.  Raises ValueError."""
    given = dict(config.options)
    if "trigger" in captioner.Options.model_fields and not given.get("trigger"):
        given["trigger"] = config.trigger
    return jobfile.parse(captioner.Options, given, f"options of {captioner.TITLE}")


def lacks(captioner: ModuleType) -> str:
    """Which package a captioner needs that is not installed, with the command that brings it, a sentence; "" where none is missing."""
    for module, package in getattr(captioner, "NEEDS", {}).items():
        if module not in sys.modules and importlib.util.find_spec(module) is None:
            return f'{captioner.TITLE} needs the Python package {package}, which is not installed; install it with "{sys.executable}" -m pip install {package}, then start again'
    return ""


def refusal(captioner: ModuleType, options: BaseModel) -> str:
    """Why a captioner cannot start with these options, a sentence; "" where it can."""
    return captioner.refuses(options) if hasattr(captioner, "refuses") else ""


def run(config: Config, ctx: Context) -> None:
    """Captions until all are done (and says so) or raises Stopped; either way what was made is saved."""
    ds = datasets.resolve(ctx.home, config.dataset)
    captioner = registry.get("captioning", config.captioner, ctx.home.plugins)
    options = options_of(captioner, config)
    if hindrance := lacks(captioner) or refusal(captioner, options):
        raise ValueError(hindrance)
    _warn_of_no_effect(config, ctx)
    pictures = _chosen(ds.pictures(on_progress=lambda done, of, _: ctx.phase("checking pictures", done, of, "pictures")), config)
    if not any(p.usable for p in pictures):
        raise ValueError(f"the dataset {ds.title!r} has no picture that can be captioned; add some on the Dataset tab")
    before = {id for id, status, _ in ctx.run.view().items if status in ("done", "tried")} if ctx.attempt > 1 else set()
    tally = Tally(trial=config.trial)
    todo = [p for p in pictures if p.id not in before and _wanted(p, config, ctx, tally)]
    tally.done = len(before)
    if config.mode == "append" and config.place == "line" and ds.lines == "one":
        raise ValueError(ONE_LINE)
    if todo:
        state = _loaded(captioner, options, config.device, ctx)
        with versions.step(ds, f"captions by {captioner.TITLE}"):
            _caption_all(todo, captioner, state, options, ds, config, ctx, tally)
    ctx.emit("finished", path="", summary=str(tally))


def _warn_of_no_effect(config: Config, ctx: Context) -> None:
    for name in ("place", "apart"):
        if getattr(config, name) != Config.model_fields[name].default and (config.mode != "append" or (name == "apart" and config.place == "line")):
            ctx.warn(f"{name} has no effect: mode is {config.mode!r}" if config.mode != "append" else "apart has no effect: place is 'line'")


def _chosen(pictures: list[Picture], config: Config) -> list[Picture]:
    """The pictures that the job is about.  Raises ValueError where one of them is not there at all."""
    if not config.pictures:
        return pictures
    there = {p.id for p in pictures}
    if not there.intersection(config.pictures):
        raise ValueError(f"none of the {len(config.pictures):,} named pictures is in the dataset any more, such as {config.pictures[0]!r}; choose them again")
    named = set(config.pictures)
    return [p for p in pictures if p.id in named]


def _wanted(picture: Picture, config: Config, ctx: Context, tally: Tally) -> bool:
    """Whether a picture is to be captioned; a reason is on record where not."""
    if not picture.usable:
        tally.failed += picture.verdict == "refused"
        ctx.emit("item", id=picture.id, status="failed" if picture.verdict == "refused" else "skipped", text=picture.note)
        return False
    if config.mode == "missing" and picture.caption:
        tally.skipped += 1
        ctx.emit("item", id=picture.id, status="skipped", text=picture.caption)
        return False
    return True


def _loaded(captioner: ModuleType, options: BaseModel, device: str, ctx: Context) -> Any:
    if hasattr(captioner, "fetch"):
        ctx.phase("looking for the captioner's weights")
        asked = {"token": ctx.secrets["hf_token"].reveal()} if "hf_token" in ctx.secrets and "token" in inspect.signature(captioner.fetch).parameters else {}
        here = captioner.fetch(options, lambda done, of: ctx.phase("downloading captioner", done, of, "bytes"), ctx.stop_requested, **asked)
        if not here:
            raise Stopped(step=0)
    ctx.phase("loading captioner")
    return captioner.load(options, device)


def _caption_all(todo: list[Picture], captioner: ModuleType, state: Any, options: BaseModel, ds: Dataset, config: Config, ctx: Context, tally: Tally) -> None:
    batch = getattr(options, "batch_size", 1 if captioner.NEEDS_PIXELS else 50)
    for start in range(0, len(todo), batch):
        ctx.phase("captioning", start, len(todo), "pictures")
        if ctx.stop_requested():
            raise Stopped(step=tally.done)
        rows = _described(todo[start : start + batch], captioner, state, options, config, tally)
        _save(rows, ds, config, ctx, tally)
        if not tally.done and len(tally.errors) >= HOPELESS:
            raise tally.errors[0]
    ctx.phase("captioning", len(todo), len(todo), "pictures")
    if tally.errors and not tally.done:
        raise tally.errors[0]


@dataclass(frozen=True)
class View:
    """What a captioner is shown at once: a picture, a clip, or one scene of a clip."""

    picture: Picture
    scene: tuple[float, float] | None = None  # its start and end, seconds; None for the whole

    @property
    def id(self) -> str:
        return self.picture.id


def _described(pictures: list[Picture], captioner: ModuleType, state: Any, options: BaseModel, config: Config, tally: Tally) -> list[tuple[Picture, str, str]]:
    """[(picture, text, why there is none)]; of a clip with several scenes, a line for each."""
    found: list[tuple[Picture, str, str]] = _answers([View(p) for p in pictures if not _apart(p, captioner, config)], captioner, state, options, tally)
    for clip in (p for p in pictures if _apart(p, captioner, config)):
        rows = [row for scene in scenes(clip) for row in _answers([View(clip, scene)], captioner, state, options, tally)]
        if problem := next((why for _, _, why in rows if why), ""):
            found.append((clip, "", problem))
        else:
            told = [Line(view.scene[0], with_trigger(clean_caption(text), config.trigger)) for view, text, _ in rows]
            found.append((clip, timed.joined("", told), ""))
    return found


def _apart(picture: Picture, captioner: ModuleType, config: Config) -> bool:
    """Whether each scene of a clip is described by itself."""
    return bool(config.scenes and picture.seconds and captioner.NEEDS_PIXELS and len(scenes(picture)) > 1)


def _answers(views: list[View], captioner: ModuleType, state: Any, options: BaseModel, tally: Tally) -> list[tuple[Any, str, str]]:
    """[(picture, or the view of a scene, text, why there is none)].  One bad picture does not cost the others of its batch their caption."""
    rows, opened = [], []
    for view in views:
        picture = view if view.scene else view.picture
        try:
            opened.append((picture, _seen(view, captioner, options)))
        except (ValueError, OSError, MemoryError) as error:
            rows.append((picture, "", f"cannot be read: {error}"))
    for group in [opened] if len(opened) < 2 else [opened, *([one] for one in opened)]:
        if not group:
            break
        try:
            texts = captioner.caption(state, [pixels for _, pixels in group], [p.id for p, _ in group])
        except Exception as error:  # noqa: BLE001 a captioner may fail in any way on one picture; the others go on
            if len(group) == 1:
                tally.errors.append(error)
                rows.append((group[0][0], "", f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:300]}"))
            continue
        rows += [(p, text, "" if text.strip() else getattr(captioner, "EMPTY", "the captioner said nothing")) for (p, _), text in zip(group, texts, strict=True)]
        if len(group) == len(opened):
            break  # the batch went well as a whole
    return rows


def _seen(view: View, captioner: ModuleType, options: BaseModel) -> Any:
    """What a captioner is given of a picture; of a clip or a scene the frame in its middle, or the frames that it asks for."""
    picture = view.picture
    if not captioner.NEEDS_PIXELS:
        return None
    if picture.seconds:
        span = view.scene or (picture.treatment.start_s, picture.treatment.until(picture.seconds))
        found = clips.sampled(picture.path, *span, captioner.frames(options) if hasattr(captioner, "frames") else 1)
        return found if hasattr(captioner, "frames") else found[0]
    return picture.treatment.apply(datasets.load_pixels(picture.path))


def _save(rows: list[tuple[Picture, str, str]], ds: Dataset, config: Config, ctx: Context, tally: Tally) -> None:
    """Captions written, as one step for undo over the whole run, and an event for each picture."""
    captions, problems, was, typed = {}, {}, {}, {}
    for picture, text, problem in rows:
        try:
            now = ds.caption(picture.id)  # it may have been typed since the run began
        except ValueError:
            problem = "was removed in the meantime"
            now = ""
        if config.mode == "missing" and now:
            typed[picture.id] = now
        elif problem:
            problems[picture.id] = problem
        else:
            was[picture.id] = {"was": now} if config.trial else {}
            kept = now if config.mode == "append" else ""
            if picture.seconds and timed.is_timed(text):  # what is said of the whole clip stays, what was said of its scenes is said anew
                captions[picture.id] = timed.joined(timed.parted(kept)[0], timed.parted(text)[1])
                continue
            text = clean_caption(text)  # paragraphs of one answer are one caption
            captions[picture.id] = combined(kept, text, config.place, config.apart, config.trigger, ds.lines)
    if not config.trial:
        ds.set_captions(captions, config.captioner, op=f"{ctx.run.id}:{ctx.attempt}")
    tally.done += len(captions)
    tally.failed += len(problems)
    tally.skipped += len(typed)
    for id, text in typed.items():
        ctx.emit("item", id=id, status="skipped", text=text)
    for id, text in captions.items():
        ctx.emit("item", id=id, status="tried" if config.trial else "done", text=text, **was[id])
    for id, problem in problems.items():
        ctx.emit("item", id=id, status="failed", text=problem)
