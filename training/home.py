"""Where Easel keeps things: one folder with outputs, datasets and plugins.  Moves with --home or EASEL_HOME.

In a checkout that folder is the checkout itself.  Installed from a wheel it is the one where this system keeps programs' data: what lies
among the installed packages goes away with them.
"""

from __future__ import annotations

import errno
import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
BUILTIN = REPO / "presets" / "builtin"
INSTALLED = REPO.name == "_app" and (REPO.parent / "_rooms.py").is_file()  # from a wheel: easel/_app among the installed packages
COMMAND = "easel" if INSTALLED else "python -m training"  # how a person reaches the command line
TO_REPAIR = "run 'easel setup'" if INSTALLED else "start Easel with its launcher"  # how a person gets what is missing among the packages
REPAIR = TO_REPAIR[0].upper() + TO_REPAIR[1:]


@dataclass(frozen=True)
class Home:
    """The folders of one installation.  root: absolute path."""

    root: Path

    @property
    def outputs(self) -> Path:
        """One folder a run."""
        return self.root / "outputs"

    @property
    def cache(self) -> Path:
        """Latents and text embeddings, by content hash; shared by all runs, safe to delete."""
        return self.outputs / ".cache"

    @property
    def datasets(self) -> Path:
        """One folder a dataset."""
        return self.root / "datasets"

    @property
    def plugins(self) -> Path:
        """<plugins>/<kind>/*.py are found next to the built-in ones."""
        return self.root / "plugins"

    def made(self) -> Home:
        """The same home, its folders present.  Raises ValueError, in a sentence, where they cannot be made."""
        for folder in (self.outputs, self.datasets):
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise ValueError(unwritable(folder, error)) from None
        return self

    def ready(self) -> Home:
        """The same home, its folders present and written to as a trial.  Raises ValueError, in a sentence; a full disk is none: it can be tidied from here."""
        self.made()
        for folder in (self.outputs, self.datasets):
            try:
                with tempfile.TemporaryFile(dir=folder):
                    pass
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise ValueError(unwritable(folder, error)) from None
        return self


def unwritable(path: Path, error: OSError) -> str:
    """What a person reads where Easel cannot write `path`."""
    in_place = next((p for p in (path, *path.parents) if p.exists() and not p.is_dir()), None)
    why = {
        errno.EROFS: "the disk is mounted read-only",
        errno.EACCES: "it belongs to another user, or its rights forbid it",
        errno.EPERM: "it belongs to another user, or its rights forbid it",
        errno.ENOSPC: "the disk is full",
        errno.EDQUOT: "your share of the disk is used up",
        errno.ENAMETOOLONG: "the name is too long for this disk",
    }.get(error.errno or 0, error.strerror or str(error))
    why = f"{in_place} is a file, where a folder must be" if in_place else why
    return f"Easel cannot write to its folder {path}: {why}. Mend that, or choose another folder with --home DIR (or EASEL_HOME)"


def find_home(root: str | os.PathLike | None = None) -> Home:
    """The home at `root`, else at $EASEL_HOME, else the checkout's own folder, or data_folder() of an installed Easel."""
    return Home(Path(root or os.environ.get("EASEL_HOME") or (data_folder() if INSTALLED else REPO)).expanduser().resolve())


def data_folder(system: str = sys.platform, environ: Mapping[str, str] = os.environ) -> Path:
    """Where programs' data lie, by system: %LOCALAPPDATA%, ~/Library/Application Support, $XDG_DATA_HOME or ~/.local/share."""
    if system == "win32":
        return Path(environ.get("LOCALAPPDATA") or "~/AppData/Local") / "Easel"
    if system == "darwin":
        return Path("~/Library/Application Support/Easel")
    data = Path(environ.get("XDG_DATA_HOME") or "")
    return (data if data.is_absolute() else Path("~/.local/share")) / "easel"  # the XDG specification: what is not absolute is ignored
