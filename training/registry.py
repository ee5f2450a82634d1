"""Plugins: everything that varies is one file in one folder, found by listing the folder."""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.metadata
import importlib.util
import pkgutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from types import ModuleType

from . import moved, outside
from .home import find_home

MAX_PLUGIN_BYTES = 5_000_000
# kind -> the package that holds the built-in ones
PACKAGES = {
    "families": "training.families",
    "adapters": "training.adapters",
    "objectives": "training.objectives",
    "optimizers": "training.optimizers",
    "jobs": "training.jobs",
    "captioning": "captioning",
}


@dataclass(frozen=True)
class Plugin:
    """One file that was found.  module is None and error says why where it did not import."""

    id: str
    module: ModuleType | None
    error: str
    source: str

    @property
    def ok(self) -> bool:
        return self.module is not None


def find(kind: str, plugins: Path | None = None) -> dict[str, Plugin]:
    """{id: Plugin} of a kind: the package folder, then <home>/plugins/<kind>, then entry points `easel.<kind>`.

    A broken plugin is in the result with its error, so that a page can show it; it never raises here.
    Raises KeyError for an unknown kind.
    """
    return {id: _guarded(id, source, load) for id, (source, load) in _places(kind, plugins).items()}


def get(kind: str, id: str, plugins: Path | None = None) -> ModuleType:
    """The module of one plugin; no other is loaded.  Raises ValueError that names the choices, or the plugin's own import error."""
    places = _places(kind, plugins)
    if id not in places:
        near = difflib.get_close_matches(id, places, 1, 0.6)
        raise ValueError(f"there is no {kind} plugin called {id!r}; {f'did you mean {near[0]!r}? There' if near else 'there'} are: {', '.join(places)}")
    plugin = _guarded(id, *places[id])
    if plugin.module is None:
        raise ValueError(f"the {kind} plugin {id!r} does not load: {plugin.error}")
    return plugin.module


def _places(kind: str, plugins: Path | None) -> dict[str, tuple[str, Callable[[], ModuleType]]]:
    """{id: (where it comes from, how to load it)}; the first of a name wins, so a plugin cannot replace a built-in one."""
    package = PACKAGES[kind]
    places: dict[str, tuple[str, Callable[[], ModuleType]]] = {}
    folder = Path(importlib.import_module(package).__file__).parent
    for info in sorted(pkgutil.iter_modules([str(folder)]), key=lambda m: m.name):
        places[info.name] = "built in", partial(importlib.import_module, f"{package}.{info.name}")
    extra = (plugins or find_home().plugins) / kind
    if extra.is_dir():
        for path in sorted(extra.glob("*.py")):
            places.setdefault(path.stem, (str(path), partial(_load_file, kind, path)))
    for point in _entry_points(f"easel.{kind}"):
        places.setdefault(point.name, (point.value, partial(_load_point, point)))
    return places


@cache
def _entry_points(group: str) -> tuple[importlib.metadata.EntryPoint, ...]:
    """What installed packages offer; read once, because that opens a file of each of them."""
    return tuple(importlib.metadata.entry_points(group=group))


def _guarded(id: str, source: str, load) -> Plugin:
    try:
        return Plugin(id, load(), "", source)
    except (Exception, SystemExit) as error:  # noqa: BLE001 whatever a plugin's file does wrong becomes a visible row
        return Plugin(id, None, f"{type(error).__name__}: {error}", source)


def _load_point(point: importlib.metadata.EntryPoint) -> ModuleType:
    moved.answer_old_names()
    return point.load()


def _load_file(kind: str, path: Path) -> ModuleType:
    # the folder is part of the name: two homes in one process each have their own
    name = f"easel_plugins_{hashlib.sha256(str(path.resolve().parent).encode()).hexdigest()[:12]}_{kind}_{path.stem}"
    if name in sys.modules:
        return sys.modules[name]
    moved.answer_old_names()
    # looked at first: a pipe would be waited for.  May be a link: a plugin is code that the owner put there, and may do anything as it is
    outside.read_plain(path, MAX_PLUGIN_BYTES, linked=True)
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
