"""Plugins: everything that varies is one file in one folder, found by listing the folder."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import pkgutil
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from .home import find_home

# kind -> the package that holds the built-in ones
PACKAGES = {
    "families": "training.families",
    "adapters": "training.adapters",
    "objectives": "training.objectives",
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
    package = PACKAGES[kind]
    found: dict[str, Plugin] = {}
    folder = Path(importlib.import_module(package).__file__).parent
    for info in sorted(pkgutil.iter_modules([str(folder)]), key=lambda m: m.name):
        found[info.name] = _guarded(info.name, "built in", lambda n=info.name: importlib.import_module(f"{package}.{n}"))
    extra = (plugins or find_home().plugins) / kind
    if extra.is_dir():
        for path in sorted(extra.glob("*.py")):
            found.setdefault(path.stem, _guarded(path.stem, str(path), lambda p=path: _load_file(kind, p)))
    for point in importlib.metadata.entry_points(group=f"easel.{kind}"):
        found.setdefault(point.name, _guarded(point.name, point.value, point.load))
    return found


def get(kind: str, id: str, plugins: Path | None = None) -> ModuleType:
    """The module of one plugin.  Raises ValueError that names the choices, or the plugin's own import error."""
    found = find(kind, plugins)
    if id not in found:
        raise ValueError(f"there is no {kind} plugin called {id!r}; there are: {', '.join(found)}")
    if not found[id].ok:
        raise ValueError(f"the {kind} plugin {id!r} does not load: {found[id].error}")
    return found[id].module


def _guarded(id: str, source: str, load) -> Plugin:
    try:
        return Plugin(id, load(), "", source)
    except Exception as error:  # whatever a plugin's file does wrong becomes a visible row
        return Plugin(id, None, f"{type(error).__name__}: {error}", source)


def _load_file(kind: str, path: Path) -> ModuleType:
    name = f"easel_plugins.{kind}.{path.stem}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
