"""The command `easel`: the app, and with a word behind it the command line.

    easel [flags]            the app in the browser; `easel --help` lists the flags of app.py
    easel train job.yaml     and every other command of `python -m training`
    easel setup [--repair]   torch for this computer's hardware, and all that is needed to train
    easel update --check     asks once whether there is a newer version; nothing asks by itself
    easel --version

From a checkout: `python app.py`, `python -m training …`, or `python -m easel …`, which is this.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from importlib.util import find_spec

from . import _rooms

NO_TORCH = "PyTorch is not installed, so the page opens but nothing can be trained or drawn: run 'easel setup', which brings the build for this computer's hardware."
NOT_OURS = (
    "'easel setup' installs into an environment of its own only, and this Python ({prefix}) is not in one. Make one and install Easel there: "
    "python -m venv easel-env, then its pip install easel-lora; or: uv tool install easel-lora."
)
FROM_CHECKOUT = "This Easel is a checkout: its launcher (launchers/start.sh, start.bat or start.command) sets it up."
HELP = ("--help", "-h")


def main(arguments: list[str] | None = None) -> int:
    """The exit status, as app.py and the command line have it; 2 where what was asked for is not right."""
    words = sys.argv[1:] if arguments is None else arguments
    if words[:1] == ["setup"]:
        return setup(words[1:])
    _rooms.put_on_path()
    if words[:1] == ["--version"]:
        print(f"easel {importlib.import_module('training.version').VERSION}")
        return 0
    if words and words[0] in HELP:
        print(__doc__.partition("\n\n")[2].partition("\n\n")[0] + "\n")
    page = not words or words[0].startswith("-")
    if find_spec("torch") is None and words[:1] != ["update"]:
        print(NO_TORCH if _rooms.INSTALLED else FROM_CHECKOUT, file=sys.stderr, flush=True)
        if page and _rooms.INSTALLED and _agreed() and (status := setup([])):
            return status
    if page:
        return importlib.import_module("easel._page" if _rooms.INSTALLED else "app").main(words)
    return _command_line(words)


def setup(flags: list[str]) -> int:
    """What launchers/install.py says of it: 0 when torch and the packages are as the locks have them."""
    if unknown := [flag for flag in flags if flag != "--repair"]:
        print(f"easel setup does not know {unknown[0]!r}; it takes only --repair, which checks every installed file", file=sys.stderr)
        return 2
    if not _rooms.INSTALLED:
        print(FROM_CHECKOUT, file=sys.stderr)
        return 2
    if sys.prefix == sys.base_prefix:
        print(NOT_OURS.format(prefix=sys.prefix), file=sys.stderr)
        return 2
    command = [sys.executable, str(_rooms.ROOMS / "launchers" / "install.py"), "ensure", *flags]
    status = subprocess.run(command, env=os.environ | {"EASEL_VENV": sys.prefix}, check=False).returncode
    if status == 0:
        print("Everything that training needs is installed.")
    return status


def _agreed() -> bool:
    """Whether who sits at the terminal wants it done at once; nobody there wants nothing."""
    return sys.stdin.isatty() and sys.stdout.isatty() and input("Do that now? [y/N] ").strip().lower() in ("y", "yes")


def _command_line(words: list[str]) -> int:
    sys.argv = ["easel", *words]
    try:
        importlib.import_module("training.__main__").main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


if __name__ == "__main__":
    sys.exit(main())
