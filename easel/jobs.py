"""Starting jobs: a training, captions, pictures; and what a training will take."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from training import jobfile, registry
from training.away.place import Machine, Refused, Unreachable, is_away, of
from training.away.reckon import chosen, guess, unfit
from training.config import JobConfig, TrainConfig
from training.data import datasets
from training.formats.basemodel import local_folder, single_file
from training.home import Home
from training.hub.secrets import Secret
from training.names import folder_name
from training.plan import presets
from training.plan.estimate import Estimate
from training.plan.estimate import estimate as reckon
from training.plan.fromrun import drawing_like
from training.plan.hardware import machine
from training.runs import queueing, supervisor
from training.runs import run as folders

from .place import Place, at, counted
from .run import Run, card

Job = TrainConfig | Mapping[str, Any] | str | os.PathLike


def train(config: Job, *, home: Place = None, gpu: str = "", anyway: bool = False) -> Run:
    """A training that was started, or put in the queue where another one has the machine.

    config: of easel.presets.config, or a whole job: a mapping, or the path of a YAML or JSON file.  gpu: number, UUID or part of the name of a graphics card.
    anyway: also where it does not fit this computer.  Raises ValueError for a job that does not hold or does not fit, or whose base model cannot be had, before
    anything is made.
    """
    place = at(home)
    made, chosen = checked(config, place), card(place, gpu)
    may_start(made, place, chosen, anyway)
    return begin(made, place, chosen)


def estimate(config: Job, *, home: Place = None, gpu: str = "") -> Estimate:
    """What a training will take: steps, time, memory, disk; problems says why it does not fit.  Raises ValueError for a job that does not hold.

    One that is done on another machine is reckoned for that, where it can be asked now; ValueError where it is written for another kind of machine.
    """
    place = at(home)
    made = checked(config, place)
    if is_away(made) and (there := _there(made, place)):
        if wrong := unfit(made, there):
            raise ValueError(wrong)
        return guess(made, there, place)
    pictures = sum(counted(place, use.name, use.part) for use in made.data.datasets if not use.prior)
    return reckon(made, machine(place.root).on(card(place, gpu)), pictures, place)


def caption(
    dataset: str,
    captioner: str = "",
    *,
    mode: str = "",
    place: str = "",
    trigger: str = "",
    options: Mapping[str, Any] | None = None,
    pictures: Sequence[str] = (),
    trial: bool = False,
    home: Place = None,
) -> Run:
    """A captioning run that was started, or put in the queue.

    captioner: its id, without it the usual one.  mode: missing, overwrite or append; place, for append: behind, front or line.
    options: what the captioner is told.  pictures: names, none for all.  trial: write nothing, only say what would be written.  Raises ValueError.
    """
    there = at(home)
    return begin(caption_job(dataset, there, captioner=captioner, mode=mode, place=place, trigger=trigger, options=options, pictures=tuple(pictures), trial=trial), there)


def generate(
    prompts: str | Sequence[str] = (),
    loras: Mapping[str, float] | Sequence[str] = (),
    *,
    base: str = "",
    family: str = "",
    name: str = "pictures",
    home: Place = None,
    gpu: str = "",
    **settings: Any,
) -> Run:
    """A drawing run that was started, or put in the queue; its samples are the pictures.

    loras: runs, files or Hub ids, or {one: how strongly it acts}.  base, family: the base model, without them that of the first LoRA that is a run.
    settings: those of the job: negative, sizes, seed, count, steps, guidance, sampler, picture, mask, change, rows, columns, …  Raises ValueError.
    """
    place = at(home)
    return begin(drawing_job([prompts] if isinstance(prompts, str) else prompts, loras, place, base=base, family=family, name=name, **settings), place, card(place, gpu))


def publish(run: str, repo: str, *, public: bool = False, checkpoint: str | int = "final", home: Place = None) -> Run:
    """A push of a run's LoRA, with its model card and its newest samples, to the Hub that was started, with the token of whoever is signed in on this computer.

    repo: name, or namespace/name.  public: everybody may see it.  checkpoint: "final" or a step.  Raises ValueError.
    """
    place = at(home)
    return begin(publishing_job(run, repo, place, public, checkpoint), place)


# -- whole jobs


def may_start(config: TrainConfig, home: Home, gpu: str = "", anyway: bool = False) -> None:
    """Nothing, or ValueError where a training does not fit this computer (unless anyway or it is sent elsewhere) or is written for another kind of machine than
    it is sent to, or its base model cannot be had.
    """
    from training.hub.account import find_token

    if is_away(config):
        there = _there(checked(config, home), home)
        if there and (wrong := unfit(config, there)):
            raise ValueError(wrong)
    elif (found := estimate(config, home=home, gpu=gpu)).problems and not anyway:
        raise ValueError(f"it does not fit this computer: {'; '.join(found.problems)}. Say anyway to start it all the same")
    if denied := hindrances(home, config, find_token()[0].reveal() or None):
        raise ValueError(next(iter(denied.values())))


def _there(config: TrainConfig, home: Home) -> Machine | None:
    """The machine that a job is sent to; None where it is not known, or cannot be asked now: its relay, which has the token, asks again, waits, or says why not."""
    try:
        return chosen(*of(config, home.plugins))
    except (Unreachable, Refused):
        return None


def checked(config: Job, home: Home) -> TrainConfig:
    """A whole training job that holds on this computer.  Raises ValueError, and presets.Wrong with the settings at fault."""
    if isinstance(config, str | os.PathLike):
        config = jobfile.load_job(Path(config).expanduser(), home.plugins)
    if isinstance(config, Mapping):
        config = jobfile.parse(TrainConfig, jobfile.anchored(dict(config), Path.cwd()))
    if not isinstance(config, TrainConfig):
        raise ValueError(f"that is a job of the kind {config.kind!r}, and here a training is asked for")
    if wrong := presets.problems(config, machine(home.root), home):
        raise presets.Wrong(wrong)
    return config


def hindrances(home: Home, config: TrainConfig, token: str | None) -> dict[str, str]:
    """{path of a setting: why its model cannot be had}.  Asks the Hub, where something must be downloaded."""
    from training.hub.download import hindrance

    model = config.model
    if single_file(model.source) or local_folder(model.source):
        return {}
    spec = registry.get("families", model.family, home.plugins).SPEC.without(model.leave_out)
    found = hindrance(model.source, model.revision, spec, token)
    return {"model.source": found} if found else {}


def caption_job(dataset: str, home: Home, **given: Any) -> JobConfig:
    """A whole captioning job; what is empty is as the job has it.  Raises ValueError, also where the captioner cannot start."""
    here = Path(dataset).expanduser()
    name = str(here.resolve()) if not (home.datasets / dataset).is_dir() and here.is_dir() else dataset
    job = registry.get("jobs", "caption", home.plugins)
    data = {"kind": "caption", "name": folder_name(f"Captions of {Path(name).name}"), "dataset": name, "device": machine(home.root).device}
    config = jobfile.parse(job.Config, data | {k: v for k, v in given.items() if v}, "the captioning")
    datasets.resolve(home, config.dataset)
    captioner = registry.get("captioning", config.captioner, home.plugins)
    if hindrance := job.lacks(captioner) or job.refusal(captioner, job.options_of(captioner, config)):
        raise ValueError(hindrance)
    return config


def drawing_job(prompts: Sequence[str], loras: Mapping[str, float] | Sequence[str], home: Home, *, base: str = "", family: str = "", name: str = "pictures", **given: Any) -> JobConfig:
    """A whole drawing job; what is None is as the job has it, or as the first LoRA's run draws.  Raises ValueError."""
    uses: list[dict[str, Any]] = [{"source": s, "strength": w} for s, w in loras.items()] if isinstance(loras, Mapping) else [_worn(text) for text in loras]
    data = {"kind": "generate", "name": name, "prompts": list(prompts), "loras": uses} | (like := _drawn_by(base, family, [use["source"] for use in uses], home))
    data["loras"] = uses + like.get("loras", [])  # what the run draws with besides: its context and its speed adapter
    job = registry.get("jobs", "generate", home.plugins)
    config = jobfile.parse(job.Config, data | {k: v for k, v in given.items() if v is not None}, "the drawing")
    job.lines_of(config)
    return config


def publishing_job(run: str, repo: str, home: Home, public: bool = False, checkpoint: str | int = "final") -> JobConfig:
    """A whole publishing job, with the card that Easel writes and the newest picture of every prompt.  Raises ValueError where there is nothing to publish."""
    from training.hub.card import model_card

    source = folders.Run.open(home.outputs, run)
    if source.kind != "train":
        raise ValueError(f"'{source.title}' has trained nothing; choose a run that has")
    if checkpoint == "final" and not source.result():
        raise ValueError(f"'{source.title}' is not finished; wait for it, or name one of its checkpoints: {', '.join(str(step) for step, _ in source.checkpoints()) or 'there is none yet'}")
    made, config = registry.get("jobs", "publish", home.plugins).Config, source.config()
    newest = {index: path for _, index, _, path, _ in sorted(source.view().samples)}
    samples = [newest[index] for index in sorted(newest)]
    spec = registry.get("families", config.model.family, home.plugins).SPEC
    written = model_card(source, config, spec, repo_id=repo if "/" in repo else "", checkpoint=checkpoint, samples=samples, plugins=home.plugins)
    data = {"kind": "publish", "name": source.title, "run": source.id, "checkpoint": checkpoint, "repo_id": repo, "private": not public, "samples": samples, "card": written}
    return jobfile.parse(made, data, "the upload")


def _worn(text: str) -> dict[str, Any]:
    """A LoRA and its strength, of SOURCE or SOURCE@STRENGTH."""
    source, at_sign, strength = text.rpartition("@")
    try:
        return {"source": source, "strength": float(strength)} if at_sign else {"source": text}
    except ValueError:  # an @ that belongs to a file's name
        return {"source": text}


def _drawn_by(base: str, family: str, sources: list[str], home: Home) -> dict[str, Any]:
    """The base model and how it draws: as was said, else as the first LoRA's run does.  Raises ValueError where that is not known."""
    for source in sources if not base else []:
        if (home.outputs / source.partition("/")[0]).is_dir():
            return drawing_like(folders.Run.open(home.outputs, source.partition("/")[0]))
    if not base or not family:
        raise ValueError("say which base model draws: its source and its family, or a LoRA that is a run of this home")
    spec = registry.get("families", family, home.plugins).SPEC
    return {"model": {"family": family, "source": base}, "device": machine(home.root).device, "sizes": [[spec.side_px, spec.side_px]]}


# -- starting


def begin(
    config: JobConfig, home: Home, gpu: str = "", token: Secret | None = None, soon: bool = False,
    furnish: Callable[[folders.Run], None] = lambda run: None, told: Callable[[folders.Run], None] = lambda run: None, wait: queueing.Wait | None = None,
) -> Run:  # fmt: skip
    """A job of any kind that was started, or is in the queue.  Raises ValueError, OSError; where the machine is not for jobs, nothing is made.

    gpu: UUID of the card to wait for, "" for any free one.  token: reaches this run's worker and nothing else.
    soon: answer at once, for whoever answers a click in the app, whose queue moves by itself; else when the worker has said that it lives.  furnish: puts into
    the run's folder what must be there before the queue can see it.  told: called when the folder is there.  wait: a time or a run that it is not to begin before.
    """
    if (kept_out := supervisor.no_accelerator()) and not is_away(config):
        raise ValueError(kept_out)
    made: list[folders.Run] = []

    def furnished(run: folders.Run) -> None:
        furnish(run)
        if gpu:
            run.wish_for_card(gpu)
        if wait:
            queueing.hold(run, wait)

    def create() -> folders.Run:
        made.append(folders.create(home.outputs, config, furnished))
        told(made[0])
        return made[0]

    if soon and not token:
        create()
        # a worker takes a moment to say that it lives; whoever asked sees the run meanwhile
        threading.Thread(target=supervisor.tick, args=(home,), name="easel-start", daemon=True).start()
    else:
        (supervisor.start_soon if soon else supervisor.start)(create, home, token, away=is_away(config))
    return Run(made[0].id, home)
