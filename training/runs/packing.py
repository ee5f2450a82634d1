"""A run in one ZIP that opens on any computer: written while it is sent, paths inside it relative, nothing of this computer in it.

What the run needs from outside can go along, below outside/: the base model where it is a folder or file here, and the pictures as the
datasets hold them now.  Everything else is named, so that it can be asked for there; see needs.py, and unpacking.py for the way in.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from .. import outside, registry, zipping
from ..config import PlacePart, TrackerUse, TrainConfig, config_hash
from ..data import datasets, memory, parts, states
from ..data.datasets import Dataset
from ..data.states import State
from ..formats.basemodel import BUILTIN_SOURCE, is_top, local_folder, single_file
from ..formats.deliver import adapter_file
from ..formats.halves import together
from ..home import Home
from ..hub.download import snapshot_here
from ..hub.secrets import mask
from ..jobfile import dump_yaml
from ..names import folder_name
from . import exactly, journal, needs, origin
from .longer import MANIFEST, MAX_MANIFEST_BYTES
from .run import Run

FORMAT = 1
NOTE = "travel.json"  # what lies in outside/, and how the run was called
OUTSIDE = "outside"
HOUSED = "./models/"  # so job.yaml names what lay elsewhere on the computer that packed it: a place, never what could be a Hub id
WEIGHTS = ("model.source", "model.training_adapter", "model.context_adapter", "sample.speed_adapter", "adapter.image_encoder", "adapter.start_from")
MODEL_FILES = (".safetensors", ".json", ".txt", ".model", ".jinja")
SAMPLES = (".webp", ".png", ".jpg", ".gif", ".mp4", ".json")
SMALL = ("base.json", "votes.jsonl", "README.md")
NOTES = "notes.jsonl"  # of notes.py
MAX_SMALL_BYTES = 64 << 20
MAX_LOG_BYTES = 8 << 20  # the end of it


@dataclass(frozen=True)
class Parcel:
    """A run as it goes: its job, what of this computer is called otherwise in it, and what goes along."""

    run: Run
    job: bytes
    rehashed: tuple[str, str]  # (hash of the config here, of the one that goes)
    renamed: Mapping[str, str]  # {dataset as it is called here: in the parcel}
    texts: tuple[tuple[str, str], ...]  # (a place of this computer, what stands for it), the longest first
    words: tuple[tuple[str, str], ...]  # (what place and trackers are told, what stands for it): hidden as whole words, the longest first
    sets: tuple[tuple[str, Dataset, State], ...]  # (name in the parcel, …)
    weights: tuple[tuple[str, Path], ...]  # (name in the parcel, folder or file); both files for a model with two denoisers have one name
    pictures: bool


def parcel(run: Run, home: Home, base: bool = False, pictures: bool = False) -> Parcel:
    """What would go.  Raises ValueError for a run that cannot, or that was not made here and names files of this computer which nobody accepted; OSError."""
    if refused := hindrance(run):
        raise ValueError(refused)
    if (base or pictures or origin.greeting(run.path)) and (asked := origin.question(run.path)):
        raise ValueError(f"{asked}; accept that first")
    config = run.config()
    renamed = _dataset_names(config, home)
    made = exactly.with_datasets(config, renamed, home)
    # where it was trained and shown is nobody's business, and no part of what it is
    told, places = made.model_dump(mode="json") | {"place": PlacePart().model_dump(mode="json"), "trackers": []}, {}
    weights: list[tuple[str, Path]] = []
    for field in WEIGHTS:
        part, key = field.split(".")
        source = told[part][key]
        found = _weights_at(field, source, config) if base and source else None
        if source and needs.is_path(source):
            places[source] = places.get(source) or _free(_last(source), places.values())
            told[part][key] = HOUSED + places[source]
        elif found and field == "model.source" and source != BUILTIN_SOURCE:
            places[source] = _free(source.replace("/", "--"), places.values())
            told[part] |= {key: HOUSED + places[source], "revision": ""}
        if found and source in places and places[source] not in dict(weights):
            family = registry.find("families", home.plugins).get(config.model.family) if field == "adapter.start_from" and found.is_file() else None
            weights += [(places[source], half) for half in (together(found, family.module.SPEC) if family and family.ok else [found])]
    made = TrainConfig.model_validate(told)
    job = outside.read_plain(run.path / "job.yaml", MAX_SMALL_BYTES) if made == config else dump_yaml(made).encode()
    sets = tuple((renamed.get(name, name), ds, states.now(ds)) for name, ds in _resolved(config, home)) if pictures else ()
    return Parcel(run, job, (config_hash(config), config_hash(made)), renamed, _texts(run, home, renamed | places), _words(config), sets, tuple(weights), pictures)


def hindrance(run: Run) -> str:
    """Why a run cannot be packed; "" where it can."""
    if run.kind != "train":
        return f"'{run.title}' is no training; only those are exported"
    return f"'{run.title}' is running; stop it first, so that what is packed is whole" if run.locked() else ""


def entries(p: Parcel) -> Iterator[tuple[str, zipping.Content]]:
    """(path in the ZIP, content) of all that goes."""
    run, top = p.run, folder_name(p.run.id, "run")
    yield f"{top}/{NOTE}", json.dumps(_note(p), ensure_ascii=False, indent=1).encode()
    yield f"{top}/job.yaml", p.job
    yield f"{top}/events.jsonl", _events(p)
    if outside.is_plain(run.log_path):
        yield f"{top}/log.txt", _log(p)
    if outside.is_plain(run.path / NOTES):
        yield f"{top}/{NOTES}", _notes(p)
    for name in (*SMALL, *(("pictures.json",) if p.pictures else ())):
        if outside.is_plain(run.path / name):
            yield f"{top}/{name}", outside.read_plain(run.path / name, MAX_SMALL_BYTES)
    if record := exactly.record(run):
        yield f"{top}/{exactly.RECORD}", json.dumps({p.renamed.get(name, name): rows for name, rows in record.items()}, ensure_ascii=False, indent=1).encode()
    for path in run.samples():
        if path.suffix in SAMPLES:
            yield f"{top}/samples/{path.name}", path
    for _, folder in run.checkpoints():
        for path in _plain_files(folder):
            yield f"{top}/checkpoints/{folder.name}/{path.name}", _manifest(path, p.rehashed) if path.name == MANIFEST else path
    for path in _results(run):
        yield f"{top}/{path.relative_to(run.path).as_posix()}", path
    for number, (_, ds, state) in enumerate(p.sets):
        yield f"{top}/{OUTSIDE}/datasets/{number}/state.json", json.dumps(state.told(), ensure_ascii=False).encode()
        if came := parts.of(ds):
            yield f"{top}/{OUTSIDE}/datasets/{number}/{parts.FILE}", json.dumps(came, ensure_ascii=False).encode()
        firsts, told = {digest: name for name, digest in reversed([*state.files.items()])}, memory.scan(ds.path).told
        for n, name in enumerate(firsts.values()):  # called by numbers: a picture's own name may be longer than others can keep, and state.json has it
            yield f"{top}/{OUTSIDE}/datasets/{number}/pictures/{n:06d}{Path(name).suffix.lower()}", ds.path / told.get(name, name)
    for name, place in p.weights:
        for path in [place] if place.is_file() else weight_files(place):
            inner = path.name if place.is_file() else path.relative_to(place).as_posix()
            yield f"{top}/{OUTSIDE}/models/{name}/{inner}", path.resolve()


def stream(p: Parcel) -> Iterator[bytes]:
    """The ZIP in pieces."""
    return zipping.stream(entries(p), compress=True)


def write(p: Parcel, target: Path) -> int:
    """The ZIP at `target`, whole or not at all; its size in bytes.  Raises FileExistsError, OSError."""
    zipping.write(stream(p), target)
    return target.stat().st_size


def model_files(folder: Path) -> list[Path]:
    """What belongs to a base model in diffusers' layout: weights and settings; never what can run code, and nothing hidden."""
    found = [path for path in sorted(folder.rglob("*")) if path.suffix in MODEL_FILES and path.is_file()]
    return [path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts)]


def weight_files(folder: Path) -> list[Path]:
    """Of a base model all that belongs to it; of any other folder its weights and their settings alone, or those of its parts."""
    if is_top(folder):
        return model_files(folder)
    for found in (sorted(folder.glob("*.safetensors")), sorted(folder.glob("*/*.safetensors"))):
        places = sorted({path.parent for path in found if not path.parent.name.startswith(".")})
        if places:
            settings = [path for place in places for path in (place / "config.json", *sorted(place.glob("*.safetensors.index.json"))) if path.is_file()]
            return [*settings, *(path for path in found if path.parent in places)]
    return []


def _dataset_names(config: TrainConfig, home: Home) -> dict[str, str]:
    """{dataset that is named by its place: a name for it}, each its own and none that another dataset of the run has."""
    names = exactly.names_of(config, home)
    made: dict[str, str] = {}
    taken = [name for name in names if not needs.is_path(name)]
    for name in names:
        if needs.is_path(name):
            made[name] = _free(_last(name), [*taken, *made.values()])
    return made


def _resolved(config: TrainConfig, home: Home) -> Iterator[tuple[str, Dataset]]:
    for name in exactly.names_of(config, home):
        yield name, datasets.resolve(home, name)


def _weights_at(field: str, source: str, config: TrainConfig) -> Path | None:
    """The file or folder that a field of a job names, where it lies here and is what that field takes; a folder that is anything else is not looked into."""
    try:
        found = single_file(source) or (local_folder(source) if field == "model.source" or needs.is_path(source) else None)
    except ValueError:
        return None
    if field == "model.source":
        found = found or snapshot_here(source, config.model.revision)
        return found if found and (found.is_file() or is_top(found)) else None
    if found and (found / "MANIFEST.json").is_file():  # a checkpoint
        found = adapter_file(found)
    return found if found and (found.is_file() or weight_files(found)) else None


def _last(place: str) -> str:
    """The last name of a path of any system, as a folder name."""
    pure = PureWindowsPath(place) if "\\" in place or PureWindowsPath(place).drive else PurePosixPath(place)
    return folder_name(pure.name, "brought")


def _free(name: str, taken) -> str:
    known = {other.casefold() for other in taken}
    return next(text for n in range(1, 10_000) if (text := name if n == 1 else f"{name}-{n}").casefold() not in known)


def _note(p: Parcel) -> dict[str, Any]:
    return {"format": FORMAT, "id": p.run.id, "datasets": [name for name, _, _ in p.sets], "models": [*dict(p.weights)]}


def _texts(run: Run, home: Home, named: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """What stands in texts for the places of this computer.  named: those that the job names."""
    places = {place: name for place, name in named.items() if needs.is_path(place)} | {str(run.path): ".", str(run.path.resolve()): ".", str(home.root): "home", str(home.root.resolve()): "home", str(Path.home()): "~"}
    return tuple(sorted(((place, word) for place, word in places.items() if len(place) > 1), key=lambda pair: -len(pair[0])))


def _words(config: TrainConfig) -> tuple[tuple[str, str], ...]:
    """What the job tells of other machines and of trackers: hosts, accounts, keys, teams."""
    usual = TrackerUse(name="any")
    told = {value: f"<{key}>" for key, value in config.place.options.items() if isinstance(value, str)}
    told |= {value: f"<{key}>" for use in config.trackers for key, value in (("project", use.project), ("place", use.place)) if value != getattr(usual, key)}
    return tuple(sorted(((value, word) for value, word in told.items() if len(value) > 1), key=lambda pair: -len(pair[0])))


def _portable(p: Parcel, text: str) -> str:
    for place, word in p.texts:
        text = text.replace(place, word)
    for value, word in p.words:
        text = re.sub(rf"(?<!\w){re.escape(value)}(?!\w)", word.replace("\\", r"\\"), text)
    return mask(text)


def _events(p: Parcel) -> Iterator[bytes]:
    """The journal without what only this computer knows: processes, starts of the computer, places."""
    for records, _, _ in journal.pieces(p.run.events_path):
        for record in records:
            if record.get("kind") == "started":
                record |= {"pid": 0, "boot_id": "", "oom_kills": -1}
            yield journal.line(_walked(p, record))


def _notes(p: Parcel) -> Iterator[bytes]:
    """What people say of the run, without places of this computer."""
    for records, _, _ in journal.pieces(p.run.path / NOTES):
        yield from (journal.line(_walked(p, record)) for record in records)


def _walked(p: Parcel, value: Any) -> Any:
    if isinstance(value, str):
        return _portable(p, value)
    if isinstance(value, dict):
        return {key: inner if key == "kind" else _walked(p, inner) for key, inner in value.items()}
    return [_walked(p, inner) for inner in value] if isinstance(value, list) else value


def _log(p: Parcel) -> bytes:
    with outside.open_plain(p.run.log_path) as file:
        file.seek(max(0, p.run.log_path.stat().st_size - MAX_LOG_BYTES))
        return _portable(p, file.read(MAX_LOG_BYTES).decode("utf-8", "replace")).encode()


def _manifest(path: Path, rehashed: tuple[str, str]) -> bytes:
    """A checkpoint's manifest, as one of the config that goes, where it is one of the config that is here."""
    return rewritten(outside.read_plain(path, MAX_MANIFEST_BYTES), rehashed)


def rewritten(manifest: bytes, rehashed: tuple[str, str]) -> bytes:
    """The same manifest for a config that names the same things otherwise."""
    told = outside.parse_json(manifest, MANIFEST)
    if not isinstance(told, dict) or told.get("config_hash") != rehashed[0]:
        return manifest
    return json.dumps({**told, "config_hash": rehashed[1]}, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _plain_files(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.iterdir()) if outside.is_plain(path) and path.suffix in (".safetensors", ".json")]


def _results(run: Run) -> list[Path]:
    """The finished files: the one that `finished` names, and the same in other layouts beside it; of a whole model its folder."""
    made = run.result()
    beside = [path for path in sorted(run.path.glob("*.safetensors")) if not path.name.startswith(".") and outside.is_plain(path)]
    if made is None or made.is_file():
        return beside
    return beside + [path for path in model_files(made) if outside.is_plain(path)]
