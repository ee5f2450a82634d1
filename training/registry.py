"""Plugins: everything that varies is one file in one folder, found by listing the folder.

What a file of each kind offers: docs/writing-a-plugin.md.
"""

from __future__ import annotations

import ast
import difflib
import hashlib
import importlib
import importlib.metadata
import importlib.util
import os
import pkgutil
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any

from . import moved, outside
from .home import find_home

API = 1  # of what a plugin may count on; one more when a plugin needs to know, because it could not work with an Easel before
MAX_PLUGIN_BYTES = 5_000_000
NOT_HERE = "plugins are not loaded here: on a Space they act with its owner's rights, so the owner has to allow it with the variable EASEL_PLUGINS=1"
SWITCHED_OFF = "plugins are not loaded here: EASEL_PLUGINS is 0"
# kind -> the package that holds the built-in ones; "" where there are none: ours are made otherwise
PACKAGES = {
    "families": "training.families",
    "adapters": "training.adapters",
    "objectives": "training.objectives",
    "optimizers": "training.optimizers",
    "jobs": "training.jobs",
    "captioning": "captioning",
    "formats": "training.data.formats",
    "foreign": "training.foreign",
    "trackers": "training.trackers",
    "cloud": "training.cloud",
    "pages": "",
}


# what a file of each kind must have, so that it can be listed and asked; docs/writing-a-plugin.md says what each is
OFFERS = {
    "families": ("SPEC",),
    "adapters": ("TITLE", "BLURB", "USES"),
    "objectives": ("TITLE", "BLURB"),
    "optimizers": ("TITLE", "BLURB", "USES", "Options", "bytes_per_weight", "make"),
    "jobs": ("TITLE", "Config", "run"),
    "captioning": ("TITLE", "BLURB", "NEEDS_PIXELS", "Options", "load", "caption"),
    "formats": ("TITLE", "BLURB", "reads", "rows"),
    "foreign": ("TITLE", "recognises", "translate"),
    "trackers": ("TITLE", "BLURB", "NEEDS", "ENVIRONMENT", "PLACE", "leaves", "ready", "begin"),
    "cloud": ("TITLE", "BLURB", "Options", "ready", "machines", "leaves", "send", "start", "look", "tell", "listing", "fetch", "end"),
    "pages": ("TITLE", "build", "wire"),
}


class Unfit(ValueError):
    """A plugin is whole, but not one of this kind, or not for this Easel."""


@dataclass(frozen=True)
class Plugin:
    """One file that was found.  module is None and error says why where it did not import."""

    id: str
    module: Any  # what a file of its kind offers, by OFFERS; a module
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
        if (why := refusal()) and id in {other for other, _, _ in _added(kind, plugins)}:
            raise ValueError(f"the {kind} plugin {id!r} does not load: {why}")
        if near := difflib.get_close_matches(id, places, 1, 0.6):
            raise ValueError(f"there is no {kind} plugin called {id!r}; did you mean {near[0]!r}? There are: {', '.join(places)}")
        raise ValueError(f"there is no {kind} plugin called {id!r}; there are: {', '.join(places)}")
    plugin = _guarded(id, *places[id])
    if plugin.module is None:
        raise ValueError(f"the {kind} plugin {id!r} does not load: {plugin.error}")
    return plugin.module


def added(plugins: Path | None = None) -> list[tuple[str, Plugin]]:
    """[(kind, Plugin)] of all that is not built in, those that do not load with the reason: broken, too new, not allowed, or a name that is taken."""
    found = []
    for kind in PACKAGES:
        taken = set(_built_in(kind))
        for id, source, load in _added(kind, plugins):
            if refusal():
                found.append((kind, Plugin(id, None, refusal(), source)))
            elif id in taken:
                found.append((kind, Plugin(id, None, f"there is another {id!r}, which goes before it; give it a name of its own", source)))
            else:
                taken.add(id)
                found.append((kind, _guarded(id, source, load)))
    return found


def refusal(environ: Mapping[str, str] = os.environ) -> str:
    """Why no plugin is loaded that is not built in; "" where they are.  They may do whatever the user may."""
    said = environ.get("EASEL_PLUGINS", "")
    if said == "0":
        return SWITCHED_OFF
    return NOT_HERE if environ.get("SPACE_ID") and not said else ""


def _places(kind: str, plugins: Path | None) -> dict[str, tuple[str, Callable[[], ModuleType]]]:
    """{id: (where it comes from, how to load it)}; the first of a name wins, so a plugin cannot replace a built-in one."""
    places: dict[str, tuple[str, Callable[[], ModuleType]]] = {
        id: ("built in", partial(importlib.import_module, f"{PACKAGES[kind]}.{id}")) for id in _built_in(kind)
    }
    for id, source, load in () if refusal() else _added(kind, plugins):
        places.setdefault(id, (source, load))
    return places


def _built_in(kind: str) -> tuple[str, ...]:
    package = PACKAGES[kind]
    if not package:
        return ()
    folder = os.path.dirname(importlib.import_module(package).__file__ or "")
    return _listed(folder, os.stat(folder).st_mtime_ns)


@lru_cache(maxsize=64)
def _listed(folder: str, mtime_ns: int) -> tuple[str, ...]:
    """The modules in a folder, listed again when it changed: resolving one preset asks three hundred times."""
    return tuple(sorted(info.name for info in pkgutil.iter_modules([folder]) if not info.name.startswith("_")))  # such a one is what several of them share


def _added(kind: str, plugins: Path | None) -> Iterator[tuple[str, str, Callable[[], ModuleType]]]:
    """(id, where it comes from, how to load it) of what lies in the home's folder, then of what installed packages offer."""
    extra = (plugins or find_home().plugins) / kind
    for path in sorted(extra.glob("[!_]*.py")) if extra.is_dir() else []:
        yield path.stem, str(path), partial(_load_file, kind, path)
    for point in _entry_points(f"easel.{kind}"):
        yield point.name, point.value, partial(_load_point, kind, point)


@cache
def _entry_points(group: str) -> tuple[importlib.metadata.EntryPoint, ...]:
    """What installed packages offer; read once, because that opens a file of each of them."""
    return tuple(importlib.metadata.entry_points(group=group))


def _guarded(id: str, source: str, load) -> Plugin:
    try:
        return Plugin(id, load(), "", source)
    except Unfit as error:
        return Plugin(id, None, str(error), source)
    except (Exception, SystemExit) as error:  # noqa: BLE001 whatever a plugin's file does wrong becomes a visible row
        return Plugin(id, None, f"{type(error).__name__}: {error}", source)


def _load_point(kind: str, point: importlib.metadata.EntryPoint) -> ModuleType:
    moved.answer_old_names()
    module = point.load()
    _check(kind, module)
    return module


def _load_file(kind: str, path: Path) -> ModuleType:
    # the folder is part of the name: two homes in one process each have their own
    name = f"easel_plugins_{hashlib.sha256(str(path.resolve().parent).encode()).hexdigest()[:12]}_{kind}_{path.stem}"
    if name in sys.modules:
        return sys.modules[name]
    moved.answer_old_names()
    # looked at first: a pipe would be waited for.  May be a link: a plugin is code that the owner put there, and may do anything as it is
    text = outside.read_plain(path, MAX_PLUGIN_BYTES, linked=True)
    _check_api(_said_api(text))
    spec: Any = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
        _check(kind, module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _said_api(text: bytes) -> object:
    """What a file sets EASEL_API to, found without running it: a newer one may fail before it comes to say so."""
    try:
        lines = ast.parse(text).body
    except (SyntaxError, ValueError):
        return API  # running it says what is wrong
    told = [n.value for n in lines if isinstance(n, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "EASEL_API" for t in n.targets)]
    return told[-1].value if told and isinstance(told[-1], ast.Constant) else API if not told else None


def _check_api(said: object) -> None:
    """Raises Unfit where the plugin wants more than there is, or says no number."""
    if type(said) is not int:
        raise Unfit(f"EASEL_API must be a whole number, such as {API}: what the plugin was written for")
    if said > API:
        raise Unfit(f"it is written for plugin interface {said}, and this Easel has {API}: update Easel, or take an older version of the plugin")


def _check(kind: str, module: ModuleType) -> None:
    """Raises Unfit where a file is for a newer Easel, or lacks what its kind must have."""
    _check_api(getattr(module, "EASEL_API", API))
    if lacks := [name for name in OFFERS[kind] if not hasattr(module, name)]:
        raise Unfit(f"it lacks {', '.join(lacks)}, which every file in {kind} must have: see docs/writing-a-plugin.md")
