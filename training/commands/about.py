"""Easel itself: jobs  plugins  doctor  update  report  errors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .. import registry
from .asked import HomeOption, name_home, open_run, refuse_existing, use_home


def jobs(home: HomeOption = None):
    """List the job kinds and the captioners."""
    place = use_home(home)
    for kind, heading in (("jobs", "Job kinds"), ("captioning", "Captioners")):
        print(heading)
        for id, plugin in registry.find(kind, place.plugins).items():
            print(f"  {id:<12} {'(tool) ' if plugin.ok and getattr(plugin.module, 'TOOL', False) else ''}{plugin.module.TITLE if plugin.ok else f'does not load: {plugin.error}'}")


def plugins(home: HomeOption = None):
    """List what was added beside what comes with Easel, from where, and why one is not used."""
    from ..plugins import RIGHTS, added

    found = added(use_home(home))
    for one in found:
        print(f"{one.what:<18} {one.title:<24} {one.source}" + (f"\n{'':<18} not used: {one.error}" if one.error else ""))
    print(RIGHTS if found else "There are no plugins; docs/writing-a-plugin.md tells how to write one.")


def doctor(
    fix: Annotated[bool, typer.Option("--fix", help="Mend what can be mended without losing any work, and say what was done.")] = False,
    home: HomeOption = None,
):
    """Look whether everything that Easel needs is there and works, and how to mend what is not."""
    from ..doctor import main_table

    raise typer.Exit(main_table(name_home(home), fix=fix))


def update(check: Annotated[bool, typer.Option("--check", help="Ask the package index, once.")] = False):
    """Say whether a newer Easel is out, and how to get it.  Nothing asks by itself."""
    from ..hub import newer
    from ..version import VERSION

    print(newer.told(VERSION) if check else f"This is Easel {VERSION}. 'update --check' asks the package index whether there is a newer one.")


def report(
    run: Annotated[str, typer.Argument(metavar="[RUN]", help="A run that went wrong, by its id or folder; without it, only the installation is told.")] = "",
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Save what was shown, as .txt or .zip; without it, it is only shown.")] = None,
    names: Annotated[bool, typer.Option("--names", help="Let in the names of the run, datasets, files and models, and places.")] = False,
    words: Annotated[bool, typer.Option("--words", help="Let in captions, prompts and trigger words.")] = False,
    pictures: Annotated[bool, typer.Option("--pictures", help="Let in the sample pictures; then it is a ZIP.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before it is saved.")] = False,
    home: HomeOption = None,
):
    """Show what a report of a problem would say, without names, words, pictures and tokens, and save it where --out says."""
    from .. import report as told

    place = use_home(home)
    if out is not None:
        refuse_existing(out)
    made = told.report(place, open_run(run, place) if run else None, told.Ticks(names, words, pictures))
    print(made.text, end="", flush=True)
    if out is not None and (yes or typer.confirm(f"Save it as {out}?")):
        told.write(made, out)
        print(f"{out} is written; nothing was sent anywhere.")


def errors(
    code: Annotated[str, typer.Argument(metavar="[CODE]", help="Number of an error, such as E-101; without it, all are listed.")] = "",
    page: Annotated[bool, typer.Option("--page", help="Print docs/errors.md.")] = False,
    home: HomeOption = None,
):
    """Say what the number of an error means: what it comes from, and what to do."""
    from .. import errors as table

    use_home(home)
    if page:
        print(table.page(), end="")
    elif code:
        kind = table.by_code(code)
        print(f"{kind.code}  {kind.title}\n{kind.cause}\n{kind.do}")
    else:
        for kind in sorted(table.KINDS, key=lambda k: k.code):
            print(f"{kind.code}  {kind.title}")
