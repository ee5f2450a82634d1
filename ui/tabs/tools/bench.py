"""What the Tools tab knows: the tools that were found, what was typed for each, the files that were brought, and the runs that came of them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from pydantic import BaseModel

from training import registry
from training.config import JobConfig
from training.home import Home
from training.names import check_name, folder_name
from training.runs.run import Run, create, list_runs

from ... import forms
from ...language import tr

DRAFT = "tools"
LOOK = "inspect"  # the tool that needs no run: it only looks
MOST_BROUGHT = 200


class Kept(BaseModel):
    """What was chosen and typed, kept as a draft; it may be of another version, or name a tool that is gone."""

    tool: str = LOOK
    edits: dict[str, dict[str, str]] = {}  # tool -> field -> typed text
    file: str = ""  # that is looked into


@dataclass(frozen=True)
class Tool:
    """One kind of job that has its place here.  module is None where its plugin does not load, and error says why."""

    id: str
    title: str
    blurb: str
    module: ModuleType | None = None
    error: str = ""


def tools(home: Home) -> list[Tool]:
    """Every job that says TOOL = True, ours first, in the order of what people do; those of plugins follow, also where they do not load."""
    order = ("merge", "resize", "scale", "extract", "fuse", "convert")
    found = []
    for id, plugin in registry.find("jobs", home.plugins).items():
        if plugin.ok and getattr(plugin.module, "TOOL", False):
            found.append(Tool(id, plugin.module.TITLE, getattr(plugin.module, "BLURB", ""), plugin.module))
        elif not plugin.ok:
            found.append(Tool(id, id, "", None, plugin.error))
    return sorted(found, key=lambda t: (t.module is None, order.index(t.id) if t.id in order else len(order), t.title))


def blank(tool: Tool) -> JobConfig:
    """The tool's settings before anything was typed: what has no default is empty."""
    empty = {name: _empty(info) for name, info in tool.module.Config.model_fields.items() if info.is_required()}
    return tool.module.Config.model_construct(**{**empty, "name": tool.id})


def _empty(info) -> object:
    return () if "tuple" in str(info.annotation) else ""


def choices(home: Home, tool: Tool) -> dict[str, dict[str, tuple[str, str]]]:
    """Choices that a schema cannot know: the families that were found."""
    if "family" not in tool.module.Config.model_fields:
        return {}
    known = {p.module.SPEC.id: (p.module.SPEC.title, "") for p in registry.find("families", home.plugins).values() if p.ok}
    first = {"": (tr("choose one"), "")} if tool.module.Config.model_fields["family"].is_required() else {"": (tr("find out"), "")}
    return {"family": first | known}


def config_of(tool: Tool, edits: Mapping[str, str]) -> tuple[JobConfig | None, dict[str, str]]:
    """(the job, {}), or (None, {field: what is wrong with it}); "" is the field of what concerns the whole."""
    base = blank(tool)
    wrong = {}
    for field in forms.fields(tool.module.Config):
        info = tool.module.Config.model_fields[field.path.split(".")[0]]
        if info.is_required() and not edits.get(field.path, forms.typed(field, forms.get(base, field.path))).strip():
            wrong[field.path] = tr("is needed")
    config, found = forms.assemble(base, edits)
    wrong |= {path: text for path, text in found.items() if path not in wrong}
    return (None, wrong) if wrong else (config, {})


def begin(home: Home, config: JobConfig) -> Run:
    """A new run of a tool, not yet started."""
    return create(home.outputs, config)


def history(home: Home, most: int = 12) -> list[Run]:
    """The newest runs of tools."""
    kinds = {t.id for t in tools(home) if t.module}
    return list_runs(home.outputs, kinds)[:most]


# files that were brought


def folder(home: Home) -> Path:
    """Where files lie that were dropped on the page."""
    return home.root / ".easel" / "brought"


def bring(home: Home, upload: Path) -> Path:
    """The file under its own name, where tools find it.  Raises ValueError for another kind of file; OSError."""
    if upload.suffix.lower() != ".safetensors":
        raise ValueError(tr("{file} is not a .safetensors file; other kinds of weights can run code when they are opened", file=upload.name))
    target = folder(home) / f"{check_name(folder_name(upload.stem))}.safetensors"
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.part")
    shutil.copyfile(upload, partial)
    os.replace(partial, target)
    upload.unlink(missing_ok=True)
    return target


def brought(home: Home) -> list[Path]:
    """The files that were brought, newest first."""
    place = folder(home)
    found = [p for p in place.glob("*.safetensors") if p.is_file()] if place.is_dir() else []
    return sorted(found, key=lambda p: p.stat().st_mtime, reverse=True)[:MOST_BROUGHT]


def named(home: Home) -> list[tuple[str, str]]:
    """[(what a setting that names an adapter takes, what it is)] of all that are here: results of trainings and tools, and files that were brought."""
    runs = [(run.id, tr("result of a training") if run.kind == "train" else tr("result of a tool")) for run in list_runs(home.outputs) if _has_adapter(run)]
    return [(str(p), tr("brought here")) for p in brought(home)] + runs


def _has_adapter(run: Run) -> bool:
    result = run.result()
    return result is not None and result.is_file()
