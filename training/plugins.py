"""What was added beside what comes with Easel: for the page and the command line."""

from __future__ import annotations

from dataclasses import dataclass

from . import registry
from .data import words
from .home import Home
from .plan import presets

RIGHTS = "A plugin is a program: it can do whatever you can do on this computer. Take only those that you trust."
KINDS = {
    "families": "Model family", "adapters": "Adapter", "objectives": "Objective", "optimizers": "Optimizer", "jobs": "Job", "captioning": "Captioner", "formats": "Captions’ format",
    "foreign": "Other trainer's settings", "trackers": "Tracker", "cloud": "Place", "pages": "Page", "presets": "Preset", "goals": "Goal", "words": "List of sentences",
}  # fmt: skip
TOOL = "Tool"  # a job that the page's Tools tab shows


@dataclass(frozen=True)
class Added:
    """One file or entry point.  kind: of registry.PACKAGES, presets or words; source: where it lies; error: why it is not used, "" where it is."""

    kind: str
    id: str
    title: str
    source: str
    error: str
    what: str  # the kind in words

    @property
    def ok(self) -> bool:
        return not self.error


def added(home: Home) -> list[Added]:
    """All of it, kind by kind, what does not load among it.  Runs the plugins' files, where they may be run; presets and lists are only read."""
    found = [
        Added(kind, p.id, _title(kind, p.module) if p.module else p.id, p.source, p.error, TOOL if getattr(p.module, "TOOL", False) else KINDS[kind])
        for kind, p in registry.added(home.plugins)
    ]
    return found + _presets(home) + _goals(home) + _words(home)


def _title(kind: str, module) -> str:
    spec = getattr(module, "SPEC", None)
    said = getattr(spec, "title", "") if kind == "families" else getattr(module, "TITLE", "")
    return str(said or module.__name__)


def _presets(home: Home) -> list[Added]:
    own = {path.stem: path for path in sorted((home.plugins / "presets").glob("*.yaml"))}
    taken = {path.stem for path in presets.FOLDER.glob("*.yaml")}
    known = {p.id: p for p in presets.list_presets(plugins=home.plugins)}
    return [
        Added("presets", id, known[id].title, str(path), _TAKEN.format(id) if id in taken else known[id].error, KINDS["presets"])
        for id, path in own.items()
        if id in known
    ]


def _goals(home: Home) -> list[Added]:
    made = presets.list_presets(plugins=home.plugins)
    found = []
    for path in sorted((home.plugins / "goals").glob("*.yaml")):
        mine = [p for p in made if p.source == path.name]
        broken = next((p.error for p in mine if p.error), "")
        found.append(Added("goals", path.stem, mine[0].title if mine else path.stem, str(path), broken if mine else _IDLE, KINDS["goals"]))
    return found


def _words(home: Home) -> list[Added]:
    taken = {path.stem for path in words.FOLDER.glob("*.txt")}
    found = []
    for path in sorted((home.plugins / "words").glob("*.txt")):
        try:
            words.read(path)
            error = _TAKEN.format(path.stem) if path.stem in taken else ""
        except (ValueError, OSError) as fault:
            error = str(fault)
        found.append(Added("words", path.stem, path.stem, str(path), error, KINDS["words"]))
    return found


_TAKEN = "there is another {!r}, which comes with Easel and goes before it; give it a name of its own"
_IDLE = "every base model has a preset of this goal already; give it a goal of its own"
