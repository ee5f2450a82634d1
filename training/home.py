"""Where Easel keeps things: one folder with outputs, datasets and plugins.  Moves with --home or EASEL_HOME."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
BUILTIN = REPO / "presets" / "builtin"


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
        """The same home, its folders present."""
        for folder in (self.outputs, self.datasets):
            folder.mkdir(parents=True, exist_ok=True)
        return self


def find_home(root: str | os.PathLike | None = None) -> Home:
    """The home at `root`, else at $EASEL_HOME, else the repository's own folder."""
    return Home(Path(root or os.environ.get("EASEL_HOME") or REPO).expanduser().resolve())
