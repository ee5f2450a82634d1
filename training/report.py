"""A report of a problem that can be shown to strangers: versions, machine, settings, what happened, the end of the log.

What has a structure is told by it: of settings the numbers, switches and choices, of texts only how many; of events what they count.
What is free text goes through redacting.py.  The page shows the whole of it before anything is saved, and what is saved is what was shown.
"""

from __future__ import annotations

import importlib.metadata
import platform
import re
import sys
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel

from . import errors, outside, registry, zipping
from .config import HERE, TrainConfig
from .data import datasets
from .doctor import pins
from .family import FamilySpec
from .home import REPO, Home
from .plan.hardware import machine
from .redacting import Redactor, who
from .runs import journal, origin
from .runs.events import KINDS, LAST_T
from .runs.run import Run

FIRST, LAST = 60, 300  # events that are told
LOG_LINES, LINE = 300, 1_000  # of the log; characters of a line
MOST_WORDS = 20_000  # captions that are looked for in the log
MAX_RECORD_BYTES = 64 << 20
PICTURES = (".webp", ".png", ".jpg")
CHOSEN = {"family": "families", "type": "", "objective": "objectives", "kind": "jobs", "captioner": "captioning"}  # fields that hold the id of a plugin
WORDY = ("prompt", "trigger", "negative", "caption", "target", "positive", "context", "preserve", "anchor", "sentence", "words", "card", "message", "question")  # fields that hold what a person wrote
DEVICE = re.compile(r"(?:cpu|cuda|mps|xpu|CPU|CUDA)(?::\d)?")
VERSION = re.compile(r"[\w.+-]{1,60}")


@dataclass(frozen=True)
class Ticks:
    """What a person let in.  names: of the run, datasets, files, models and folders.  words: prompts, captions, trigger words.  pictures: the samples."""

    names: bool = False
    words: bool = False
    pictures: bool = False


@dataclass(frozen=True)
class Report:
    """text: all that is said.  pictures: (name in the ZIP, file) that go along."""

    text: str
    pictures: tuple[tuple[str, Path], ...] = ()

    def zipped(self) -> Iterator[bytes]:
        """The ZIP, in pieces."""
        return zipping.stream([("report.txt", self.text.encode()), *self.pictures], compress=True)


def report(home: Home, run: Run | None = None, ticks: Ticks = Ticks()) -> Report:
    """What is told of this installation, and of a run where one is meant.  Nothing that is broken keeps it from being made."""
    hidden = _known(home, run)
    redactor = Redactor(
        hidden.names, hidden.words, who(), (str(home.root), str(home.root.resolve()), str(Path.home()), *([str(run.path), str(run.path.resolve())] if run else [])), _plain(), hidden.always, ticks.names, ticks.words
    )  # fmt: skip
    parts = [_about(ticks), ("This installation", _installation()), ("This machine", _machine(home, redactor)), ("Plugins", _plugins(home, redactor))]
    if run is not None:
        parts += [("The run", _run(run, redactor, ticks)), ("Its settings", _settings(run, ticks)), ("What happened", _happened(run, redactor, ticks)), ("The end of its log", _log(run, redactor))]
    text = "\n\n".join(f"== {title} ==\n" + "\n".join(lines) for title, lines in parts)
    pictures = tuple((f"samples/{n:03d}{path.suffix}", path) for n, path in enumerate(run.samples() if run and ticks.pictures else ()) if path.suffix in PICTURES)
    return Report(redactor.people(text) + "\n", pictures)


def write(made: Report, target: Path) -> None:
    """The report as a text file, or as a ZIP where the name says so or pictures go along.  Raises ValueError, OSError."""
    if made.pictures and target.suffix.lower() != ".zip":
        raise ValueError(f"pictures go along, so {target.name} must end in .zip")
    zipping.write(made.zipped() if target.suffix.lower() == ".zip" else [made.text.encode()], target)


# what is known of a run, so that it can be found in its log


@dataclass(frozen=True)
class _Hidden:
    names: list[str]
    words: list[str]
    always: list[str]  # options that have no description of their own, so that nobody knows what they hold


def _known(home: Home, run: Run | None) -> _Hidden:
    """Every text of a run that is somebody's own."""
    names, words = [ds.title for ds in _datasets(home)] + [ds.name for ds in _datasets(home)], []
    if run is None:
        return _Hidden(names, words, [])
    names += [run.id, re.sub(r"^\d{4}-\d\d-\d\d_\d{4}_", "", run.id)]
    with_texts = list(_texts(_job(run), "", _model_of(run, home)))
    for path, value in with_texts:
        (words if _is_wordy(path) else names).append(value)
        names += [part for part in re.split(r"[\\/]", value) if len(part) > 2] if not _is_wordy(path) else []
    for record in _records(run):
        for key in ("prompt", "was", "text" if record.get("kind") == "item" else "prompt"):
            words.append(str(record.get(key, "")))
        words += [str(row[1]) for row in record["rows"] if isinstance(row, list) and len(row) > 1] if record.get("kind") == "prompts" and isinstance(record.get("rows"), list) else []
        names += [str(record.get(key, "")) for key in ("path", "id") if record.get(key)]
    for row in _pictures_of(run):
        names += [str(row.get("id", "")), Path(str(row.get("id", ""))).stem]
        words += [str(text) for text in row.get("captions", [])]
    stranger = _is_strange(run)
    for name in [value for path, value in with_texts if path.endswith(("datasets.name", "dataset", "low")) and not (stranger and origin.is_address(value))]:
        try:
            for picture in datasets.resolve(home, name).pictures(check=False)[:MOST_WORDS]:
                names += [picture.id, Path(picture.id).stem]
                words += [picture.caption]
        except (ValueError, OSError):
            continue
    return _Hidden(list(dict.fromkeys(n for n in names if n.strip())), list(dict.fromkeys(w for w in words[: 10 * MOST_WORDS] if w.strip())), [value for path, value in with_texts if ".options" in f".{path}"])


def _is_strange(run: Run) -> bool:
    """Whether it was not made here, so that what it names on another computer is not looked for."""
    try:
        return not origin.made_here(run.path)
    except (ValueError, OSError):
        return True


def _datasets(home: Home) -> list[datasets.Dataset]:
    try:
        return datasets.list_datasets(home)
    except (ValueError, OSError):
        return []


def _job(run: Run) -> dict[str, Any]:
    try:
        return run.job()
    except (ValueError, OSError):
        return {}


def _model_of(run: Run, home: Home) -> type[BaseModel] | None:
    try:
        return registry.get("jobs", run.kind, home.plugins).Config
    except (ValueError, OSError):
        return None


def _records(run: Run) -> Iterator[dict[str, Any]]:
    """Its events; of a very long journal the beginning and the end."""
    try:
        left_out = journal.size_bytes(run.events_path) - MAX_RECORD_BYTES
        for records, cursor, _ in journal.pieces(run.events_path):
            yield from records
            if left_out > cursor:
                break
        else:
            return
        for records, _, _ in journal.pieces(run.events_path, left_out):
            yield from records
    except (ValueError, OSError):
        return


def _pictures_of(run: Run) -> list[dict[str, Any]]:
    try:
        rows = outside.read_json(run.path / "pictures.json", MAX_RECORD_BYTES)
    except (ValueError, OSError):
        return []
    return [row for row in rows if isinstance(row, dict) and isinstance(row.get("captions", []), list)][:MOST_WORDS] if isinstance(rows, list) else []


def _texts(value: Any, path: str, model: type[BaseModel] | None) -> Iterator[tuple[str, str]]:
    """(dotted place, text) of each text in a job that is no choice."""
    if isinstance(value, dict):
        for key, inner in value.items():
            field = model.model_fields.get(key) if model else None
            yield from _texts(inner, f"{path}.{key}".lstrip("."), _inner_model(field.annotation) if field else None) if field is None or not _is_choice(key, inner, field.annotation, path) else ()
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner, path, model)
    elif isinstance(value, str) and value.strip():
        yield path, value


# what has a structure


def _about(ticks: Ticks) -> tuple[str, list[str]]:
    let_in = [word for word, on in (("names", ticks.names), ("words", ticks.words), ("pictures", ticks.pictures)) if on]
    return "Easel: report of a problem", [f"Let in by whoever sends it: {', '.join(let_in) or 'no names, no words, no pictures'}.", "What is hidden stands as <kind of thing>."]


def _installation() -> list[str]:
    lines = [f"Python {platform.python_version()} ({sys.implementation.name}), {platform.system()} {platform.machine()}"]
    odd = []
    for name, wanted in pins(REPO / "requirements.txt").items():
        try:
            have = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            have = "missing"
        if have.partition("+")[0] != wanted:
            odd.append(f"{name} {have} (tested: {wanted})")
        elif name in ("torch", "diffusers", "transformers", "peft", "accelerate", "gradio", "huggingface_hub", "huggingface-hub", "safetensors"):
            lines.append(f"{name} {have}")
    return lines + (["Not as tested: " + ", ".join(odd)] if odd else ["All packages as tested"])


def _machine(home: Home, redactor: Redactor) -> list[str]:
    seen = machine(home.root)
    lines = [f"{card.name}, {_gb(card.vram_bytes)} VRAM, {_gb(card.vram_free_bytes)} free, driver {card.driver}" for card in seen.cards] or [seen.gpu_name or "no graphics card"]
    lines = [redactor.text(line) for line in lines]
    lines.append(f"{redactor.text(seen.cpu_name)}, {seen.cores} cores, {_gb(seen.ram_bytes)} RAM, {_gb(seen.ram_free_bytes)} free; disk {_gb(seen.disk_free_bytes)} free")
    return lines + ([redactor.text(seen.note)] if seen.note else [])


def _gb(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.1f} GB"


def _plugins(home: Home, redactor: Redactor) -> list[str]:
    """How many of each kind, and why one is not used: their names are somebody's own."""
    found = registry.added(home.plugins)
    if not found:
        return ["none"]
    count = Counter((kind, plugin.ok) for kind, plugin in found)
    lines = [f"{kind}: {number}{'' if ok else ' that do not load'}" for (kind, ok), number in sorted(count.items())]
    return lines + [f"  {kind}: {redactor.text(plugin.error)}" for kind, plugin in found if not plugin.ok]


def _run(run: Run, redactor: Redactor, ticks: Ticks) -> list[str]:
    view = run.view()
    lines = [f"{run.id if ticks.names else '<name>'}: {run.kind if run.kind in _known_ids('jobs') else '<a plugin>'}, {run.status()}, attempt {view.attempt}, step {view.step} of {view.of}"]
    lines.append(f"checkpoints at {', '.join(str(step) for step, _ in run.checkpoints()) or 'no step'}; {len(view.samples)} samples, {len(view.warnings)} warnings")
    if why := run.why(view):
        kind = run.error_kind(view)
        lines += [f"{kind.code} {kind.title}", redactor.text(_cut(why))]
    return lines


def _settings(run: Run, ticks: Ticks) -> list[str]:
    model = _model_of(run, _home_of(run))
    return list(_fields(_job(run), model, "", ticks)) if model else ["of a kind of job that is not built in, so nothing is told of them"]


def _home_of(run: Run) -> Home:
    return Home(run.path.parent.parent)


def _fields(told: Any, model: type[BaseModel] | None, path: str, ticks: Ticks) -> Iterator[str]:
    """Each field as "path: value", where its value may be told; else what kind of thing it is."""
    fields = model.model_fields if model else {}
    strange = 0
    for key, value in told.items():
        if key not in fields:
            strange += 1
            continue
        place, inner = f"{path}.{key}".lstrip("."), _inner_model(fields[key].annotation)
        if isinstance(value, dict) and inner:
            yield from _fields(value, inner, place, ticks)
        elif isinstance(value, list) and inner:
            for number, row in enumerate(value):
                yield from _fields(row, inner, f"{place}.{number}", ticks) if isinstance(row, dict) else ()
        else:
            yield f"{place}: {_value(key, value, fields[key].annotation, path, place, ticks)}"
    if strange:
        yield f"{path or 'top'}: {strange} key(s) that this version does not know"


def _value(key: str, value: Any, annotation: Any, path: str, place: str, ticks: Ticks) -> str:
    if value is None or isinstance(value, (bool, int, float)):
        return str(value)
    if isinstance(value, dict):
        return f"{{{len(value)} option(s): {', '.join(str(v) if isinstance(v, (bool, int, float)) else '<text>' for v in value.values())}}}" if value else "{}"
    if isinstance(value, list):
        return "[" + ", ".join(_value(key, inner, annotation, path, place, ticks) for inner in value[:32]) + (", …]" if len(value) > 32 else "]")
    text = str(value)
    if not text:
        return "''"
    if _is_choice(key, text, annotation, path) or (ticks.words if _is_wordy(place) else ticks.names):
        return _cut(text)
    return f"<text of {len(text)} characters>"


def _is_choice(key: str, value: Any, annotation: Any, path: str) -> bool:
    """Whether a text is one of a closed set that everybody knows: a Literal, the id of what comes with Easel, a family's own base model."""
    if not isinstance(value, str):
        return False
    if value in _literals(annotation):
        return True
    if key == "source":
        return value == "builtin" or value in _usual_sources()
    if path.partition(".")[0] in ("place", "trackers"):
        return (key == "kind" and (value == HERE or value in _known_ids("cloud"))) or (key == "name" and value in _known_ids("trackers"))
    kind = CHOSEN.get(key) or {"adapter": "adapters", "optimizer": "optimizers"}.get(path.rpartition(".")[2], "") if key in CHOSEN else ""
    return bool(kind) and value in _known_ids(kind) or (key == "preset" and value in _presets())


def _literals(annotation: Any) -> set[Any]:
    if get_origin(annotation) is Literal:
        return set(get_args(annotation))
    return {value for inner in get_args(annotation) for value in _literals(inner)}


def _inner_model(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for inner in get_args(annotation) if (found := _inner_model(inner))), None)


def _is_wordy(path: str) -> bool:
    return any(word in path for word in WORDY)


@cache
def _known_ids(kind: str) -> frozenset[str]:
    """The ids of what comes with Easel."""
    return frozenset(id for id, plugin in registry.find(kind, Path("/nowhere")).items() if plugin.ok and _is_ours(plugin))


def _is_ours(plugin: registry.Plugin) -> bool:
    file = getattr(plugin.module, "__file__", "") or ""
    return bool(file) and Path(file).is_relative_to(REPO)


@cache
def _usual_sources() -> frozenset[str]:
    specs: list[FamilySpec] = [plugin.module.SPEC for plugin in registry.find("families", Path("/nowhere")).values() if plugin.ok and _is_ours(plugin)]
    return frozenset(spec.default_source for spec in specs)


@cache
def _presets() -> frozenset[str]:
    from .plan.presets import FOLDER, list_presets

    return frozenset(preset.id for preset in list_presets(plugins=Path("/nowhere"))) | {path.stem for path in FOLDER.glob("*.yaml")}


@cache
def _plain() -> frozenset[str]:
    """Words that may stand in quotes: names and choices of settings."""
    found: set[str] = {HERE, "final", "cuda", "cpu", "mps", "xpu", *KINDS}
    for kind in ("families", "adapters", "objectives", "optimizers", "jobs", "captioning", "cloud", "trackers"):
        found |= _known_ids(kind)

    def walk(model: type[BaseModel], path: str) -> None:
        for name, field in model.model_fields.items():
            place = f"{path}.{name}".lstrip(".")
            found.update((name, place), (str(value) for value in _literals(field.annotation)))
            if inner := _inner_model(field.annotation):
                walk(inner, place)

    walk(TrainConfig, "")
    return frozenset(found)


# what happened


def _happened(run: Run, redactor: Redactor, ticks: Ticks) -> list[str]:
    """One line an event, times counted from the first."""
    first: list[str] = []
    last: deque[str] = deque(maxlen=LAST)
    begun, count = None, 0
    for record in _records(run):
        line = _event(record, redactor, ticks)
        t = record.get("t")
        if not line or not isinstance(t, (int, float)) or isinstance(t, bool) or not 0 <= t <= LAST_T:
            continue
        begun = t if begun is None else begun
        count += 1
        for one in f"{t - begun:+10.1f} s  {line}".split("\n"):
            first.append(one) if count <= FIRST else last.append(one)
    left = count - FIRST - LAST
    return first + ([f"… {left} more …"] if left > 0 else []) + list(last) or ["nothing yet"]


def _event(record: dict[str, Any], redactor: Redactor, ticks: Ticks) -> str:
    kind = record.get("kind")
    number = lambda key: format(value, ".6g") if isinstance(value := record.get(key), (int, float)) and not isinstance(value, bool) else "?"
    text = lambda key: redactor.traceback(_cut_lines(str(record.get(key, ""))))
    if kind == "started":
        told = record.get("versions")
        known = ("python", "system", "torch", "diffusers", "transformers", "peft", "accelerate", "safetensors")
        versions = [f"{k} {told[k]}" for k in known if isinstance(told, dict) and isinstance(told.get(k), str) and VERSION.fullmatch(told[k])]
        device = str(record.get("device", ""))
        return f"started attempt {number('attempt')} on {device if DEVICE.fullmatch(device) else '<device>'}; {redactor.text(', '.join(versions))}"
    if kind == "phase":
        return f"phase {text('name')} {number('done')}/{number('of')}"
    if kind == "step":
        return f"step {number('step')}/{number('of')} loss {number('loss')} lr {number('lr')} grad {number('grad')} {number('images_per_s')} pictures/s {number('memory_bytes')} bytes"
    if kind == "validation":
        return f"validation at step {number('step')}: {number('loss')}"
    if kind == "sample":
        prompt = f": {_cut(str(record.get('prompt', '')))}" if ticks.words else ""
        return f"sample {number('index')} at step {number('step')}{prompt}"
    if kind == "prompts":
        return f"other sample prompts from step {number('step')}"
    if kind == "checkpoint":
        return f"checkpoint at step {number('step')}"
    if kind == "item":
        status = str(record.get("status", ""))
        return f"item {status if status in ('done', 'tried', 'skipped', 'failed') else '<status>'}"
    if kind in ("warning", "finished", "stopped"):
        return f"{kind} {text('text') if kind == 'warning' else text('summary') if kind == 'finished' else 'at step ' + number('step')}"
    if kind == "failed":
        return f"failed [{errors.of(str(record.get('error', ''))).code}] {text('error')}\nhint: {text('hint')}\n{redactor.traceback(_cut_lines(str(record.get('trace', ''))))}"
    return ""


def _log(run: Run, redactor: Redactor) -> list[str]:
    try:
        told = run.log_tail(LOG_LINES)
    except (ValueError, OSError) as error:
        return [redactor.text(str(error))]
    return redactor.traceback(_cut_lines(told)).split("\n") if told else ["nothing was written"]


def _cut(text: str) -> str:
    return text if len(text) <= LINE else text[:LINE] + " …"


def _cut_lines(text: str) -> str:
    return "\n".join(_cut(line) for line in text.split("\n")[-LOG_LINES:])
