"""Runs that are there, or come from elsewhere: runs  losses  prompts  export-run  import-run  track."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .. import registry
from .asked import HomeOption, RunArgument, open_run, refuse_existing, texts_of, use_home


def runs(
    home: HomeOption = None,
    kind: Annotated[str | None, typer.Option(help="Only runs of this job kind.")] = None,
    search: Annotated[str, typer.Option(help="Only runs with these words in name, dataset, trigger word, tags or note; also tag:x preset:x family:x dataset:x status:x after:2026-01-31 before:2026-01-31.")] = "",
):
    """List the runs, newest first."""
    from ..runs import searching
    from ..runs.run import broken_runs, list_runs

    place = use_home(home)
    kinds = list(registry.find("jobs", place.plugins))
    if kind and kind not in kinds:
        raise ValueError(f"there is no job kind {kind!r}; there are: {', '.join(kinds)}")
    if wrong := searching.problem(search):
        raise ValueError(wrong)
    found = searching.find(list_runs(place.outputs, {kind} if kind else None), search)
    for run in found:
        steps = [step for step, _ in run.checkpoints()]
        print(f"{run.status():<12} {run.kind:<9} {f'step {steps[-1]}' if steps else '':<12} {run.id}")
    broken = [] if search.strip() else broken_runs(place.outputs)
    for name, why in broken:
        print(f"{'unreadable':<12} {'':<9} {'':<12} {name}: {why}")
    if not found and not broken:
        print("There are no runs like that." if search.strip() else "There are no runs yet.")


def losses(run: RunArgument, out: Annotated[Path | None, typer.Option(metavar="FILE.csv", help="The table to write; without it, it is printed.")] = None, home: HomeOption = None):
    """The numbers of a run as a table: loss, learning rate, validation loss, seconds a step, memory."""
    from ..files import write_atomic
    from ..runs import figures

    found = figures.rows(open_run(run, use_home(home)))
    if out is None:
        for piece in figures.written(found):
            print(piece.decode().replace("\r\n", "\n"), end="")
        return
    refuse_existing(out)
    write_atomic(out, b"".join(figures.written(found)))
    print(f"{out}: {len(found)} rows")


def prompts(run: RunArgument, lines: Annotated[list[str] | None, typer.Argument(metavar="PROMPT...", help="All sample prompts from the next step on; without any, those that it has are listed.")] = None, home: HomeOption = None):
    """The sample prompts of a run: those it has, or others for one that is running."""
    from ..runs import prompting

    one = open_run(run, use_home(home))
    if lines:
        one.command("prompts", lines=prompting.checked(lines))
        return print("The training takes them from its next step on.")
    standing = prompting.of_run(one, one.config().sample.prompts)
    for place, line in standing.now:
        since = standing.since(place)
        print(f"{f'from step {since}' if since else '':<16}{line}")


def export_run(
    run: RunArgument,
    out: Annotated[Path | None, typer.Option(metavar="FILE.zip", help="The ZIP to write; without it, the run's id in this folder.")] = None,
    base: Annotated[bool, typer.Option("--base", help="With the base model, where it is a folder or file here or was downloaded.")] = False,
    pictures: Annotated[bool, typer.Option("--pictures", help="With the pictures and captions, as the datasets hold them now.")] = False,
    home: HomeOption = None,
):
    """Pack a run into one ZIP that opens on any computer: job, events, log, samples, checkpoints and result; no path of this computer."""
    from ..outside import size
    from ..runs import packing

    place = use_home(home)
    chosen = open_run(run, place)
    target = out or Path(f"{chosen.id}.zip")
    refuse_existing(target)
    print(f"{target}  {size(packing.write(packing.parcel(chosen, place, base, pictures), target))}")


def import_run(
    source: Annotated[Path, typer.Argument(metavar="FILE.zip", help="A run as a ZIP, or its folder.")],
    base: Annotated[str, typer.Option(metavar="PLACE", help="The base model here, where the run names one that is not: a folder, a file or a Hub id.")] = "",
    dataset: Annotated[list[str] | None, typer.Option(metavar="NAME=PLACE", help="A dataset here for one that the run names; may be given several times.")] = None,
    home: HomeOption = None,
):
    """Bring a run here that was packed or copied elsewhere.  It is looked at as data, and starts only when 'resume' says so."""
    from ..runs import needs, unpacking

    place = use_home(home)
    if not source.exists():
        raise ValueError(f"there is no {source}")
    brought = unpacking.bring(source, place)
    places = texts_of(dataset or [], "--dataset")
    if base:
        places |= {need.name: base for need in needs.of(brought.run, place) if need.field == "model.source"}
    if places:
        unpacking.replace(brought.run, place, places)
    for sentence in unpacking.Brought(brought.run, brought.refused, tuple(needs.missing(brought.run, place)), brought.added).said():
        print(sentence)


def track(
    run: RunArgument,
    tracker: Annotated[str, typer.Option("--with", metavar="TRACKER", help="tensorboard, wandb, trackio, or one that was added.")],
    project: Annotated[str | None, typer.Option(help="Project that the run stands in there; without it the same as before, at first easel.")] = None,
    place: Annotated[
        str | None,
        typer.Option(help="TensorBoard's folder, the W&B team or 'offline', Trackio's Space; '' is the usual, which is private; without it the same as before, at first the usual."),
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Tell all of it once more, under another name, as if it had never been told.")] = False,
    home: HomeOption = None,
):
    """Show a run in a tracker: one that is over, or one that goes on, until it ends.  What was told before is not told twice."""
    from ..runs import trackside

    place_ = use_home(home)
    chosen = open_run(run, place_)
    if leaves := registry.get("trackers", tracker, place_.plugins).leaves(trackside.settled(chosen.path, tracker, project, place)[1]):
        print(f"{leaves}.", flush=True)
    kept = trackside.follow(chosen, place_, tracker, project, place, again=again)
    for text in kept.gone:
        print(f"not shown: {text}")
    print(f"{chosen.id} is in {kept.where}, up to step {max(kept.told.step, 0)}")
