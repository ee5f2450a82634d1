"""The command line: python -m training train | estimate | import | resume | longer | queue | caption | generate | export | tool | inspect | convert | controls | health | pack | versions |
get-dataset | push-dataset | export-run | import-run | runs | losses | prompts | track | jobs | plugins | report | errors | doctor | update.

It does what the app does, with the same files: a job runs in a process of its own, and this one only watches.
Exit codes: 0 done, 1 the run failed (estimate: it does not fit; doctor: something is broken), 2 what was asked for is not right, 130 stopped.
What a command does is in commands/, a file for each kind of them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated

import typer

from .commands import about, datasets, pictures, queued, runs, trainings, weights
from .commands.asked import HomeOption, name_home, use_home
from .hub import wire

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help="Easel on the command line: the app's own jobs, run and watched here.")

# in the order in which --help lists them
COMMANDS: dict[str, Callable[..., None]] = {
    "train": trainings.train, "estimate": trainings.estimate, "import": trainings.bring, "resume": trainings.resume, "run-bundle": trainings.run_bundle, "longer": trainings.longer,
    "caption": pictures.caption, "generate": pictures.generate,
    "export": weights.export, "convert": weights.convert, "tool": weights.tool, "inspect": weights.inspect,
    "controls": datasets.controls, "health": datasets.health, "versions": datasets.versions, "pack": datasets.pack,
    "get-dataset": datasets.get_dataset, "push-dataset": datasets.push_dataset,
    "runs": runs.runs, "losses": runs.losses, "prompts": runs.prompts, "export-run": runs.export_run, "import-run": runs.import_run, "track": runs.track,
    "jobs": about.jobs, "plugins": about.plugins, "doctor": about.doctor, "update": about.update, "report": about.report, "errors": about.errors,
}  # fmt: skip
for _name, _does in COMMANDS.items():
    app.command(name=_name)(_does)
app.add_typer(queued.app, name="queue")


def _version(asked: bool) -> None:
    from .version import VERSION

    if asked:
        print(f"Easel {VERSION}")
        raise typer.Exit


@app.callback()
def _easel(ctx: typer.Context, home: HomeOption = None, version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which Easel this is.")] = False):
    if ctx.invoked_subcommand in ("doctor", "run-bundle"):
        name_home(home)  # one is there to tell, and to mend, that a home cannot be written to; the other's home is its bundle
    else:
        use_home(home)


def main() -> None:
    """Runs a command; what a person did wrong is a sentence, not a traceback."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]  # a terminal that cannot show 日本 shows '?'
    for sentence in wire.settle():
        print(sentence, file=sys.stderr)
    try:
        app()
    except (ValueError, OSError) as error:
        named = isinstance(error, OSError) and error.strerror and error.filename and f"{error.filename}: {error.strerror}"
        from .errors import marked

        print(marked(named or str(error)), file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
