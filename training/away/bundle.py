"""What a run needs, in one folder that is laid out as a home of Easel: what is sent to another machine.  Never a token.

    job.yaml  MANIFEST.json            the job, without its place; every file's sha256 and length
    datasets/my-cat/                   the pictures that are learnt, with captions, masks and control pictures, and of .easel only what they are learnt with
    base/  start/  training_adapter/  context_adapter/  speed_adapter/  image_encoder/     where the job names files of this computer
    plugins/<kind>/<id>.py             those that the job uses
    outputs/run/checkpoints/000500/    where the run goes on
    before.jsonl                       what earlier attempts came to, which the run's events begin with there

The files are hard links where the disk knows them, so a bundle takes no room.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import jobfile, outside, registry
from ..config import DatasetUse, PlacePart, TrainConfig
from ..data import bin, concepts, datasets, memory, parts, treatment
from ..data.datasets import Dataset, Picture
from ..data.folder import about
from ..files import write_atomic
from ..formats.basemodel import BUILTIN_SOURCE, local_folder, single_file, weight_files
from ..formats.halves import together
from ..home import Home
from ..names import folder_name
from ..plan import prompts
from ..runs import adapters, journal
from ..runs.events import KINDS, MOST_CHANGES, MOST_WEIGHTS, RunView, fold
from ..runs.reached import reached
from ..runs.run import Run

JOB, MANIFEST = "job.yaml", "MANIFEST.json"
RUN = "outputs/run"  # the run's folder in the bundle, and on the other machine
BEFORE = "before.jsonl"  # records of earlier attempts; shelved.py, which imports nothing of ours, knows the name
CARRIED = {"milder": 1, "mended": 100, "weight": MOST_WEIGHTS, "prompts": MOST_CHANGES}  # their kinds, which every later attempt heeds, and how many of the newest
BASE_RECORD = "base.json"  # what the base model's files were, to the byte
LOCAL = "./"  # begins what job.yaml says of files in the bundle
LOCAL_SETTINGS = (("model", "source"), ("model", "training_adapter"), ("model", "context_adapter"), ("sample", "speed_adapter"), ("adapter", "start_from"), ("adapter", "image_encoder"))
WEIGHTS = (".safetensors", ".bin", ".ckpt", ".pt", ".pth", ".msgpack", ".onnx", ".h5")


@dataclass(frozen=True)
class Bundle:
    """folder: where the files lie now.  files: {name, with / between folders: (sha256, bytes)}, MANIFEST.json among them."""

    folder: Path
    files: dict[str, tuple[str, int]]
    total_bytes: int


def bundle(run_folder: Path, config: TrainConfig, folder: Path) -> Bundle:
    """The bundle of a run, whole, in `folder`, which is emptied first.  Raises ValueError for what cannot be sent, OSError."""
    run = Run(run_folder)
    home = Home(run_folder.parent.parent)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    made = _Making(folder)
    told = config.model_dump(mode="json")
    told["place"] = PlacePart().model_dump(mode="json")
    told["trackers"] = []  # they are told here, of what comes from there
    _datasets(made, config, told, home)
    _base(made, config, told, home)
    _adapters(made, config, told, home)
    _plugins(made, config, home)
    _to_go_on_from(made, run)
    if before := said_before(run):
        made.write(BEFORE, b"".join(map(journal.line, before)))
    made.write(JOB, jobfile.dump_yaml(TrainConfig.model_validate(told)).encode())
    made.write(MANIFEST, manifest_bytes(made.files))
    return Bundle(folder, made.files, sum(size for _, size in made.files.values()))


def manifest_bytes(files: dict[str, tuple[str, int]]) -> bytes:
    """What MANIFEST.json says: {name: [sha256, bytes]}."""
    return json.dumps({name: list(row) for name, row in sorted(files.items())}, indent=0).encode()


def sha256_of(path: Path) -> str:
    """Of a file's bytes, in hexadecimal digits."""
    with outside.open_plain(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass
class _Making:
    """A bundle that grows."""

    folder: Path
    files: dict[str, tuple[str, int]] = field(default_factory=dict)

    def write(self, name: str, data: bytes) -> None:
        target = self._at(name)
        write_atomic(target, data)
        self.files[name] = (hashlib.sha256(data).hexdigest(), len(data))

    def put(self, name: str, source: Path, sha256: str = "") -> None:
        """A file of this computer, as it is; behind a link, what that leads to."""
        if name in self.files:
            return
        target = self._at(name)
        bin.link_or_copy(source.resolve(), target)
        self.files[name] = (sha256 or sha256_of(target), target.lstat().st_size)

    def put_folder(self, name: str, source: Path, wanted: Iterable[Path]) -> None:
        for path in wanted:
            self.put(f"{name}/{path.relative_to(source).as_posix()}", path)

    def _at(self, name: str) -> Path:
        target = self.folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        return target


# ---- datasets


def _datasets(made: _Making, config: TrainConfig, told: dict[str, Any], home: Home) -> None:
    """The pictures that are learnt; the job names each dataset as it is called in the bundle."""
    low = config.concept.low if concepts.in_pairs(concepts.known(config, home.plugins)) else ""
    uses = [*config.data.datasets, *([DatasetUse(name=low)] if low else [])]
    names: dict[Path, str] = {}  # where a dataset lies here -> its name there
    wanted: dict[Path, tuple[Dataset, set[str] | None]] = {}
    for n, use in enumerate(uses):
        found = parts.taken(home, use)
        ds, among = found.ds, found.among
        known = wanted.get(ds.path, (ds, set()))[1]
        wanted[ds.path] = ds, None if among is None or known is None else known | set(among)
        name = names.setdefault(ds.path, _free(folder_name(ds.name), names.values()))
        row = told["data"]["datasets"][n] if n < len(config.data.datasets) else None
        if row is not None:
            row["name"] = name
            row["part"] = use.part if among is not None else ""
        else:
            told["concept"]["low"] = name
    begin = {name.rpartition("/")[2] for name in prompts.first_frames(config)}  # with which samples begin, though they may not be learnt
    for path, (ds, among) in wanted.items():
        with ds.one_look():
            _dataset(made, ds, f"datasets/{names[path]}", [p for p in ds.pictures() if (p.usable and (among is None or p.id in among)) or (p.verdict in ("ok", "out") and p.id in begin)])


def _free(name: str, taken: Iterable[str]) -> str:
    lower = {other.casefold() for other in taken}
    return name if name.casefold() not in lower else next(f"{name}-{n}" for n in range(2, 10_000) if f"{name}-{n}".casefold() not in lower)


def _dataset(made: _Making, ds: Dataset, name: str, pictures: list[Picture]) -> None:
    scan = memory.scan(ds.path)
    for p in pictures:
        made.put(f"{name}/{p.id}", p.path, p.sha256)
        for text in scan.texts.get(memory.stem_of(p.id), []):
            made.put(f"{name}/{text}", ds.path / text)
        if p.mask and p.mask.kind == "file":
            made.put(f"{name}/{p.mask.path.name}", p.mask.path, p.mask.sha256)
        for control in p.references:  # one that lies in another folder here lies beside its picture there
            made.put(f"{name}/{control.path.name if control.path.parent == ds.path else control.name}", control.path, control.sha256)
    for table in scan.tables:  # captions may stand in one
        made.put(f"{name}/{table}", ds.path / table)
    ids, digests = {p.id for p in pictures}, {p.sha256 for p in pictures}
    kept = {
        "dataset.json": {key: value for key, value in about(ds.meta).items() if key in ("title", "lines")},
        "repeats.json": {id: count for id, count in ds.repeats().items() if id in ids},
        "focus.json": {digest: list(at) for digest, at in ds.focuses().items() if digest in digests},
        treatment.FILE: {digest: how.text for digest, how in treatment.read(ds.meta).items() if digest in digests},
        parts.FILE: {id: place for id, place in ({} if ds.in_place else parts.of(ds)).items() if id in ids},
    }
    for file, said in kept.items():
        if said:
            made.write(f"{name}/{datasets.HIDDEN}/{file}", json.dumps(said).encode())


# ---- weights


def _base(made: _Making, config: TrainConfig, told: dict[str, Any], home: Home) -> None:
    """A base model out of files of this computer; one of the Hub, and the built-in one, are there or are fetched there."""
    source = config.model.source
    if file := single_file(source):
        made.put(f"base/{file.name}", file)
        told["model"]["source"] = f"{LOCAL}base/{file.name}"
    elif source != BUILTIN_SOURCE and (folder := local_folder(source)):
        spec = registry.get("families", config.model.family, home.plugins).SPEC.without(config.model.leave_out)
        beside = [p for p in sorted(folder.glob("*/*")) if p.is_file() and p.suffix not in WEIGHTS and not p.parent.name.startswith(".")]  # tokenizers, schedules
        made.put_folder("base", folder, [folder / spec.index, *beside])
        for part in [name for names in spec.parts.values() for name in names if name not in spec.optional or (folder / name).is_dir()]:
            made.put_folder("base", folder, weight_files(folder / part))  # of several forms, the one that is trained on
        told["model"]["source"] = f"{LOCAL}base"


def _adapters(made: _Making, config: TrainConfig, told: dict[str, Any], home: Home) -> None:
    start = config.adapter.start_from
    if start and (Path(start).expanduser().exists() or (home.outputs / start.partition("/")[0]).is_dir()):
        place = adapters.place(start, home)
        told["adapter"]["start_from"] = _put_weights(made, "start", place)
        for half in together(place, registry.get("families", config.model.family, home.plugins).SPEC)[1:]:
            made.put(f"start/{half.name}", half)
    for part, key in (("model", "training_adapter"), ("model", "context_adapter"), ("sample", "speed_adapter"), ("adapter", "image_encoder")):
        said = str(told[part][key])
        if said and (path := Path(said).expanduser()).exists():
            told[part][key] = _put_weights(made, key, path)


def _put_weights(made: _Making, name: str, path: Path) -> str:
    if path.is_file():
        made.put(f"{name}/{path.name}", path)
        return f"{LOCAL}{name}/{path.name}"
    made.put_folder(name, path, [p for p in sorted(path.rglob("*")) if p.is_file() and p.suffix not in WEIGHTS[1:]])
    return f"{LOCAL}{name}"


# ---- plugins, and where it goes on


def _plugins(made: _Making, config: TrainConfig, home: Home) -> None:
    """Those that the job uses, out of the home.  Raises ValueError for one that an installed package brings: it is not there."""
    used = (("families", config.model.family), ("adapters", config.adapter.type), ("optimizers", config.optimizer.type), ("objectives", config.loss.objective))
    for kind, id in used:
        plugin = registry.find(kind, home.plugins).get(id)
        if plugin is None or plugin.source == "built in":
            continue
        path = home.plugins / kind / f"{id}.py"
        if plugin.source != str(path):
            raise ValueError(f"{id!r} comes with an installed Python package, which the other machine has not; put its file into {home.plugins / kind}, or choose another")
        made.write(f"plugins/{kind}/{id}.py", outside.read_plain(path, registry.MAX_PLUGIN_BYTES, linked=True))
    listed = home.plugins / "words" / f"{config.keep.words}.txt"
    if config.keep.words and listed.is_file():
        made.write(f"plugins/words/{listed.name}", outside.read_plain(listed, registry.MAX_PLUGIN_BYTES, linked=True))


def _to_go_on_from(made: _Making, run: Run) -> None:
    """The newest checkpoint that is here; and that it may go on although the pictures have changed, where that was said."""
    for _, folder in run.checkpoints()[-1:]:
        made.put_folder(f"{RUN}/checkpoints/{folder.name}", folder, sorted(p for p in folder.iterdir() if outside.is_plain(p)))
        if outside.is_plain(run.path / BASE_RECORD):
            made.put(f"{RUN}/{BASE_RECORD}", run.path / BASE_RECORD)
        if run.changes_accepted():
            made.write(f"{RUN}/control.jsonl", b'{"t": 0, "kind": "accept_changes"}\n')


def said_before(run: Run) -> list[dict[str, Any]]:
    """The records that every later attempt heeds, kind by kind, the oldest first: of each only what its kind has, and none that a view would not take.  Raises ValueError."""
    reached(run)  # what no training does by itself is not sent either
    kept: list[dict[str, Any]] = []
    for kind, most in CARRIED.items():
        newest_first = (r for r in journal.backwards(run.events_path, f'"{kind}"'.encode()) if r.get("kind") == kind and fold(RunView(), [r]).last_kind)
        kept += [{key: record[key] for key in ("t", "kind", *KINDS[kind])} for record in itertools.islice(newest_first, most)]
    return kept[::-1]


def settled(told: dict[str, Any], folder: Path) -> dict[str, Any]:
    """What a bundle's job.yaml holds, its files by their full paths in `folder`."""
    for part, key in LOCAL_SETTINGS:
        said = told.get(part, {}).get(key, "")
        if isinstance(said, str) and said.startswith(LOCAL):
            told[part][key] = str(folder / os.path.normpath(said))
    return told
