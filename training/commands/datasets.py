"""Datasets: controls  health  versions  pack  get-dataset  push-dataset."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from ..home import Home
from .asked import DetachOption, HomeOption, use_home
from .watching import launch


def controls(
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="Name of a dataset, or a folder of pictures.")],
    kind: Annotated[str, typer.Option(help="edges, lines, grey or blur.")] = "edges",
    home: HomeOption = None,
):
    """Make a control picture, name.control.png, for every picture of a dataset that has none."""
    from ..data import datasets, importing

    made = importing.make_controls(datasets.resolve(use_home(home), dataset), kind)
    print(datasets.summary(made) if made else "Every picture has a control picture already.")


def health(
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="Name of a dataset, or a folder of pictures.")],
    side: Annotated[int, typer.Option(help="Side of a square training picture, px.")] = 1024,
    trigger: Annotated[str, typer.Option(help="The trigger word, where there is one.")] = "",
    batch: Annotated[int, typer.Option(min=1, help="Pictures in one step.")] = 1,
    what: Annotated[str, typer.Option("--for", help="What is to be learnt: character, object or style; then it is told what is missing for it.")] = "",
    home: HomeOption = None,
):
    """Is this dataset good?  A grade, what is wrong with which pictures, and what to do."""
    from ..data import datasets
    from ..data import health as judged

    print(judged.report(judged.check(datasets.resolve(use_home(home), dataset), judged.Goal(side, batch=batch, trigger=trigger, what=what))))


def versions(
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="Name of a dataset, or a folder of pictures.")],
    restore: Annotated[int | None, typer.Option(metavar="ID", help="Bring this version back; that is a version of its own, so nothing is lost.")] = None,
    compare: Annotated[int | None, typer.Option(metavar="ID", help="Say what has changed since this version.")] = None,
    empty_bin: Annotated[bool, typer.Option("--empty-bin", help="Delete the removed pictures for good.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before the bin is emptied.")] = False,
    home: HomeOption = None,
):
    """List the versions of a dataset, bring one back, or empty the bin of removed pictures."""
    from ..data import bin, datasets, states
    from ..data import versions as kept
    from ..data.verdicts import counted
    from ..outside import size

    place = use_home(home)
    ds = datasets.resolve(place, dataset)
    if compare is not None:
        print(states.compare(kept.read(ds, compare), states.now(ds)).says() or "Nothing has changed since.")
    elif restore is not None:
        print(_restored(ds, restore))
    elif empty_bin:
        _empty(ds, place, yes)
    else:
        kept.gather(ds)
        for version in kept.listed(ds):
            when = time.strftime("%Y-%m-%d %H:%M", time.localtime(version.t))
            print(f"{version.id:>5}  {when}  {counted(version.pictures, 'picture'):>14}  {version.did}" + (f" ({version.change})" if version.change else ""))
        print(f"Bin: {size(bin.size_bytes(ds))}")


def _restored(ds, id: int) -> str:
    from ..data import restoring

    said = restoring.told(ds, id, restoring.restore(ds, id))
    return f"{said[0].upper() if ds.in_place else said[0]}{said[1:]}."


def _empty(ds, place: Home, sure: bool) -> None:
    from ..data import bin
    from ..outside import size
    from ..runs import exactly

    there = bin.size_bytes(ds)
    if not there:
        print("The bin is empty.")
        return
    print(exactly.lost_with_bin(ds, place) or "No version needs what is in it.")
    if sure or typer.confirm(f"Delete {size(there)} for good?"):
        print(f"{size(bin.empty(ds))} are free again.")


def pack(
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="Name of a dataset, or a folder of pictures.")],
    target: Annotated[Path, typer.Argument(metavar="FILE.zip", help="The ZIP to write.")],
    kind: Annotated[str, typer.Option("--as", help="text (a .txt beside each picture), imagefolder (Hugging Face) or kohya.")] = "text",
    home: HomeOption = None,
):
    """Pack a dataset as other programs take it: pictures, captions, masks and control pictures."""
    from ..data import datasets, exporting

    ds = datasets.resolve(use_home(home), dataset)
    count = exporting.write(ds, kind, target)
    print(f"{target}: {count} pictures with what belongs to them")
    if said := exporting.trimmed([p for p in ds.pictures() if p.usable]):
        print(said)


def get_dataset(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="A dataset of the Hub: owner/name, hf:owner/name, owner/name@revision, or the address of its page.")],
    into: Annotated[str | None, typer.Option(metavar="DATASET", help="A dataset that is there, to which it is added; without it, a new one of its name.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before it is downloaded.")] = False,
    home: HomeOption = None,
):
    """Bring a dataset of the Hub here: its pictures, captions and tables; its size is said first.  Ctrl-C stops it, what arrived is kept."""
    from ..data import datasets
    from ..hub import arriving, collect

    place = use_home(home)
    found = collect.look(source, None)
    print(f"{found.id}: {found.told()}", flush=True)
    if not yes and not typer.confirm("Download it?"):
        raise typer.Exit(130)
    ds = datasets.open_dataset(place, into) if into else datasets.create(place, found.id.partition("/")[2])
    verdicts = arriving.take(ds, found, None, lambda what, done, of, name: print(f"\r{what} {100 * done // max(of, 1):3} %", end="", file=sys.stderr, flush=True), lambda: False)
    print(file=sys.stderr)
    print(f"{ds.name}: {datasets.summary(verdicts)}")
    for verdict in verdicts:
        if not verdict.ok and verdict.kind not in ("skipped", *datasets.LEFT_OUT):
            print(f"  {verdict.file}: {verdict.reason}")


def push_dataset(
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="Name of a dataset, or a folder of pictures.")],
    repo: Annotated[str, typer.Argument(metavar="REPO", help="Repository on the Hub: name, or namespace/name.")],
    public: Annotated[bool, typer.Option("--public", help="Let everybody see it; without it, only you and those you invite.")] = False,
    licence: Annotated[str, typer.Option(help="Licence of the pictures as the Hub names it, e.g. cc-by-4.0; without it, the card names none.")] = "",
    about: Annotated[str, typer.Option(help="What its card says of the dataset.")] = "",
    home: HomeOption = None,
    detach: DetachOption = False,
):
    """Publish a dataset to the Hub: pictures, captions, masks and control pictures with a card, in one commit.  Private unless you say otherwise."""
    from ..data import datasets
    from ..jobfile import parse
    from ..jobs.publish_dataset import Config
    from ..names import folder_name

    place = use_home(home)
    here = Path(dataset).expanduser()
    name = str(here.resolve()) if not (place.datasets / dataset).is_dir() and here.is_dir() else dataset
    title = datasets.resolve(place, name).title
    data = {"kind": "publish_dataset", "name": folder_name(f"publish {title}"), "dataset": name, "repo_id": repo, "private": not public, "licence": licence, "about": about}
    launch(parse(Config, data, "the command"), place, detach)
