"""A run that somebody packed, brought into this home: a ZIP or a folder, which may be anybody's.

It is looked at as data.  Nothing of it is executed or unpickled; only files of the kinds that a run holds are taken, under names that any
system can keep, out of one folder, and the job is read as strictly as one that is typed here.  Links, devices, places outside, bombs and
what is too long are refused, and said.  The run is not counted as made here: it starts only when somebody says so (origin.py).
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from .. import jobfile, outside
from ..config import TrainConfig, config_hash
from ..data import bin, datasets, parts, states, twin, versions, zips
from ..data.datasets import Dataset
from ..data.folder import write_about
from ..data.memory import hash_of, write_text_whole
from ..data.states import State
from ..files import write_atomic
from ..formats.basemodel import read_header
from ..formats.halves import other_name
from ..home import Home
from ..names import FORBIDDEN, RESERVED, check_name, folder_name
from . import exactly, needs, origin
from .lock import RunLock
from .longer import MANIFEST, MAX_MANIFEST_BYTES
from .packing import HOUSED, MODEL_FILES, NOTE, OUTSIDE, SAMPLES, WEIGHTS, rewritten
from .run import Run, take_name

MODELS = "models"  # in the home: base models that came with a run
SPARE_BYTES = 500_000_000  # left free on the disk
LIMITS = zips.Limits(entries=100_000, entry_bytes=100 * 10**9, total_bytes=500 * 10**9)
MOST_BYTES = {  # of a file in a run's folder: what is longer, no training writes
    "job.yaml": jobfile.MAX_BYTES, "events.jsonl": 512 << 20, "votes.jsonl": 64 << 20, "notes.jsonl": 16 << 20, "log.txt": 64 << 20, "base.json": 16 << 20, "pictures.json": 64 << 20,
    "datasets.json": exactly.MAX_RECORD_BYTES, "README.md": 4 << 20, NOTE: 1 << 20, "state.json": 1 << 30, MANIFEST: MAX_MANIFEST_BYTES, parts.FILE: parts.MAX_BYTES,
}  # fmt: skip
MAX_TEXT_BYTES, MAX_PICTURE_BYTES = 64 << 20, 1 << 30
MAX_STATE_BYTES = 64 << 20
CHUNK_BYTES = 4 << 20
STAYS = ("worker.lock", "control.jsonl", "index.json")  # what a run has only where it runs; nobody misses it
PROGRAMS = (".py", ".pyc", ".pyd", ".so", ".dll", ".exe", ".sh", ".bat", ".cmd", ".ps1", ".com", ".scr", ".js", ".html", ".htm", ".svg", ".lnk")
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".npy", ".npz", ".joblib")

Tell = Callable[[int, int, str], None]  # done, of, the file in hand; may raise, which ends it


@dataclass(frozen=True)
class Brought:
    """What an import made.  refused: (name, why) of what was left out.  lacking: what it needs and is not here.  added: (dataset or model, name) of what came along."""

    run: Run
    refused: tuple[tuple[str, str], ...]
    lacking: tuple[needs.Need, ...]
    added: tuple[tuple[str, str], ...]

    def said(self) -> list[str]:
        """For a person, a sentence each."""
        lines = [f"'{self.run.title}' is here as {self.run.id}."]
        added = ", ".join(f"the {kind} '{name}'" for kind, name in self.added)
        lines += [f"With it came {added}."] if added else []
        lines += [f"It can be looked at; to be resumed, {text}."] if (text := needs.sentence(list(self.lacking))) else []
        if self.refused:
            named = "; ".join(f"{name} {why}" for name, why in self.refused[:3])
            lines.append(f"{datasets.counted(len(self.refused), 'file')} {'was' if len(self.refused) == 1 else 'were'} left out: {named}{'; …' if len(self.refused) > 3 else '.'}")
        return lines


@dataclass
class _Files:
    """What was taken out of a ZIP or folder: {path inside the run, with '/': the file it lies in}."""

    taken: dict[str, Path] = field(default_factory=dict)
    refused: list[tuple[str, str]] = field(default_factory=list)
    names: set[str] = field(default_factory=set)  # of what was taken, without large letters: some systems know no difference


def bring(source: Path, home: Home, tell: Tell = lambda done, of, name: None) -> Brought:
    """The run in a ZIP or a folder, in this home.  Raises ValueError with the reason, OSError.

    Nothing is left behind where it fails.
    """
    source = source.expanduser()
    home.outputs.mkdir(parents=True, exist_ok=True)
    room = home.outputs / f".brought-{secrets.token_hex(6)}"
    room.mkdir()
    undo: list[Path] = []
    try:
        for name in ("files", "run"):
            (room / name).mkdir()
        files = _out_of_folder(source, room / "files", tell) if source.is_dir() else _out_of_zip(source, room / "files", home, tell)
        folder = room / "run"
        config = _job(files)
        _lay_run(files, folder)
        note = _note(files)
        renamed, added = _houses(files, note, config, home, undo)
        settle(folder, config, renamed, home)
        if why := Run(folder).trouble() or outside.strange(folder):
            raise ValueError(f"{source.name} is no run that can be kept: {why}")
        lacking = tuple(needs.missing(Run(folder), home))
        path = take_name(folder, home.outputs, _id(note, source, config))
    except BaseException:
        for made in undo:
            shutil.rmtree(made, ignore_errors=True)
        raise
    finally:
        shutil.rmtree(room, ignore_errors=True)
    return Brought(Run(path), tuple(files.refused), lacking, tuple(added))


def replace(run: Run, home: Home, places: Mapping[str, str]) -> None:
    """The run names other places for what it needs: {what its job names: what is here}.  Raises ValueError while a worker lives in it, or for what is not here; OSError.

    Its checkpoints are told, so that it resumes as if nothing had happened; whether pictures and base model are the same is compared then.
    """
    lock = RunLock(run.lock_path)
    if not lock.acquire(wait_s=0.5):
        raise ValueError(f"'{run.title}' is running; stop it first")
    try:
        config = run.config()
        named = {need.name: need for need in needs.of(run, home) if need.field}
        for name, place in places.items():
            if name not in named:
                raise ValueError(f"this run does not name {name!r}")
            if named[name].what == "dataset":
                datasets.resolve(home, place)
            elif not Path(place).expanduser().exists() and (needs.is_path(place) or place.count("/") != 1):
                raise ValueError(f"there is nothing at {place}")
        ours = origin.made_here(run.path)
        settle(run.path, config, places, home)
        if ours:
            origin.adopt(run.path)
    finally:
        lock.release()


# what is taken out of a ZIP or a folder


def _out_of_zip(source: Path, into: Path, home: Home, tell: Tell) -> _Files:
    top = _top_of(zips.names(source, LIMITS), source)
    free = max(0, shutil.disk_usage(home.outputs).free - SPARE_BYTES)
    files = _Files()
    refuse = lambda folder, name: why if (why := _why_not(f"{folder}/{name}" if folder else name, top)) else ""
    of = len(zips.names(source, LIMITS))
    for done, entry in enumerate(zips.unpack(source, into, min(free, LIMITS.total_bytes), LIMITS, refuse), 1):
        tell(done, of, entry.name)
        if entry.hidden or entry.name in STAYS:
            continue
        if entry.path is None:
            if zips.BEYOND in entry.reason:
                raise ValueError(f"{source.name} needs more room than there is: {outside.size(free)} are free on this disk; free some")
            files.refused.append((entry.label, entry.reason))
            continue
        _take(files, entry.label.removeprefix(top), entry.path)
    return files


def _out_of_folder(source: Path, into: Path, tell: Tell) -> _Files:
    names = sorted(_below(source))
    top = _top_of([name for name, _ in names], source)
    if len(names) > LIMITS.entries:
        raise ValueError(f"{source.name} holds {len(names)} files; {LIMITS.entries} is the most of a run")
    files, left = _Files(), max(0, shutil.disk_usage(into).free - SPARE_BYTES)
    for done, (name, found) in enumerate(names, 1):
        tell(done, len(names), name)
        if PurePosixPath(name).name.startswith(".") or PurePosixPath(name).name in STAYS:
            continue
        why = _why_not(name, top)
        with suppress(outside.Refused):
            outside.check_plain(found)
            if found.st_size > left:
                raise ValueError(f"{source.name} needs more room than there is: {outside.size(left)} are free on this disk; free some")
            if not why:
                target = into / f"{done:06d}"
                left -= _copied(source / name, target, LIMITS.entry_bytes)
                _take(files, name.removeprefix(top), target)
                continue
        files.refused.append((name, why or "is a link, a device or a pipe, not a file"))
    return files


def _below(source: Path) -> Iterator[tuple[str, os.stat_result]]:
    """(path below the folder, lstat) of all that is no plain folder; no link is followed."""
    waiting = [source]
    while waiting:
        with os.scandir(waiting.pop()) as rows:
            for row in rows:
                found = row.stat(follow_symlinks=False)
                if stat.S_ISDIR(found.st_mode) and outside.is_folder(Path(row.path)):
                    waiting.append(Path(row.path))
                else:
                    yield Path(row.path).relative_to(source).as_posix(), found


def _top_of(names: Sequence[str], source: Path) -> str:
    """The folder that holds the run, with '/' at its end; "" where that is the top.  Raises ValueError where there is none, or several."""
    found = sorted((name for name in names if PurePosixPath(name).name == "job.yaml" and f"{OUTSIDE}/" not in name), key=lambda name: name.count("/"))
    if not found:
        raise ValueError(f"{source.name} holds no job.yaml, so it is no run; a dataset is added on the Dataset tab")
    if len(found) > 1 and found[1].count("/") == found[0].count("/"):
        raise ValueError(f"{source.name} holds several runs ({found[0]}, {found[1]}, …); import them one at a time")
    return found[0].removesuffix("job.yaml")


def _why_not(name: str, top: str) -> str:
    """Why a file does not come along, by its name alone; "" where it does."""
    if not name.startswith(top):
        return "does not lie in the run's folder"
    inner = PurePosixPath(name.removeprefix(top))
    if name.removeprefix(top) != inner.as_posix():  # run/./job.yaml is a second job.yaml
        return "has a name that leads there by a detour"
    ending = inner.suffix.lower()
    if ending in PICKLES:
        return "is a pickled file, which can run code when opened"
    if ending in PROGRAMS:
        return "is a program or a page, which a run does not hold"
    try:
        for part in inner.parts:
            if check_name(part) != part:
                raise ValueError(part)
    except ValueError:
        return "has a name that not every system can keep"
    if not any(re.fullmatch(pattern, inner.as_posix()) for pattern in _KINDS):
        return "is nothing that a run holds"
    return ""


_NAME = r"[^/]{1,200}"
_ENDS = lambda endings: f"(?:{'|'.join(re.escape(e) for e in endings)})"
_KINDS = (  # what a run's folder holds, as patterns of the path in it
    r"job\.yaml|events\.jsonl|votes\.jsonl|notes\.jsonl|log\.txt|base\.json|datasets\.json|pictures\.json|README\.md|" + re.escape(NOTE),
    rf"{_NAME}\.safetensors",
    rf"samples/{_NAME}{_ENDS(SAMPLES)}",
    rf"checkpoints/[0-9]{{6,15}}/(?:{_NAME}\.safetensors|state\.json|{re.escape(MANIFEST)})",
    rf"(?!(?:samples|checkpoints|{OUTSIDE})/){_NAME}/(?:(?:modular_)?model_index\.json|{_NAME}/{_NAME}{_ENDS(MODEL_FILES)})",  # a whole model
    rf"{OUTSIDE}/datasets/[0-9]{{1,3}}/(?:state\.json|{re.escape(parts.FILE)}|pictures/{_NAME})",
    rf"{OUTSIDE}/models/{_NAME}/(?:{_NAME}/){{0,2}}{_NAME}{_ENDS(MODEL_FILES)}",
)  # fmt: skip


def _take(files: _Files, name: str, path: Path) -> None:
    """One file is taken, or refused for its length or content."""
    inner = PurePosixPath(name)
    most = MOST_BYTES.get(inner.name) or (LIMITS.entry_bytes if inner.suffix == ".safetensors" else MAX_TEXT_BYTES if inner.suffix in (".json", ".txt", ".md") else MAX_PICTURE_BYTES)
    size = path.stat().st_size
    if name.casefold() in files.names:
        files.refused.append((name, "stands there twice"))
    elif size > most:
        files.refused.append((name, f"is {outside.size(size)} long; {outside.size(most)} is the most"))
    elif inner.suffix == ".safetensors" and (why := _no_weights(path)):
        files.refused.append((name, why))
    else:
        files.taken[name] = path
        files.names.add(name.casefold())


def _no_weights(path: Path) -> str:
    try:
        read_header(path)
    except (ValueError, OSError) as error:
        return "is a pickled file with another name" if "pickled" in str(error) else "is not a whole .safetensors file"
    return ""


# the run


def _job(files: _Files) -> TrainConfig:
    """Its config, read strictly.  Raises ValueError."""
    if "job.yaml" not in files.taken:
        why = next((why for name, why in files.refused if name.endswith("job.yaml")), "is missing")
        raise ValueError(f"job.yaml {why}, so this is no run")
    text = outside.read_text(files.taken["job.yaml"], jobfile.MAX_BYTES)
    told = jobfile.mapping_of(text, "job.yaml")
    if told.get("kind") != "train":
        raise ValueError(f"it is a run of the kind {str(told.get('kind'))[:40]!r}; only trainings are imported")
    return jobfile.parse(TrainConfig, told, "its job.yaml")


def _lay_run(files: _Files, folder: Path) -> None:
    for name, path in files.taken.items():
        if name.startswith(f"{OUTSIDE}/") or name == NOTE:
            continue
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if os.path.lexists(target):
            raise ValueError(f"{name} stands there twice")
        os.rename(path, target)
    numbered = folder / "checkpoints"
    for place in sorted(numbered.iterdir()) if numbered.is_dir() else ():
        if not (place / MANIFEST).is_file():  # a part of one is none
            shutil.rmtree(place)
            files.refused.append((f"checkpoints/{place.name}", "has no manifest, so it is not whole"))


def settle(folder: Path, config: TrainConfig, renamed: Mapping[str, str], home: Home) -> None:
    """job.yaml names what is here; the checkpoints' manifests and what the run noted of its datasets go along.  Raises ValueError, OSError."""
    told = config.model_dump(mode="json")
    for row in told["data"]["datasets"]:
        place = parts.inside(row["name"], row["part"]) if row["part"] else row["name"]
        if place in renamed and row["part"]:
            row |= {"name": renamed[place], "part": ""}
        row["name"] = renamed.get(row["name"], row["name"])
    told["concept"]["low"] = renamed.get(told["concept"]["low"], told["concept"]["low"])
    for path in WEIGHTS:
        part, key = path.split(".")
        source = told[part][key]
        here = home.root / MODELS / source.removeprefix(HOUSED) if source.startswith(HOUSED) else None
        told[part][key] = renamed.get(source) or (str(here) if here and here.exists() and here.parent == home.root / MODELS else source)
    made = TrainConfig.model_validate(told)
    if made == config:
        return
    record = {renamed.get(name, name): rows for name, rows in exactly.record(Run(folder)).items()}
    if record:
        write_atomic(folder / exactly.RECORD, json.dumps(record, ensure_ascii=False, indent=1).encode())
    hashes = (config_hash(config), config_hash(made))
    for manifest in sorted(folder.glob(f"checkpoints/*/{MANIFEST}")):
        write_atomic(manifest, rewritten(outside.read_plain(manifest, MAX_MANIFEST_BYTES), hashes))
    write_atomic(folder / "job.yaml", jobfile.dump_yaml(made).encode())


def _id(note: Mapping[str, Any], source: Path, config: TrainConfig) -> str:
    """What its folder is called: as where it came from, where that can be a run's name here."""
    for text in (note["id"], source.stem if source.suffix.lower() == ".zip" else source.name):
        with suppress(ValueError):
            if re.match(r"\d{4}-\d\d-\d\d_\d{4}_", text):
                return check_name(text)
    return f"{time.strftime('%Y-%m-%d_%H%M')}_{folder_name(config.name)}"


def _note(files: _Files) -> dict[str, Any]:
    """What the parcel says of itself, as far as that can be; a folder that was only zipped has no note."""
    empty: dict[str, Any] = {"id": "", "datasets": [], "models": []}
    if NOTE not in files.taken:
        return empty
    told = outside.read_json(files.taken[NOTE], MOST_BYTES[NOTE])
    if not isinstance(told, dict) or told.get("format") != 1:
        raise ValueError(f"its {NOTE} is not one that this Easel knows; a newer Easel may have packed it")
    lists = {key: [text for text in told.get(key, []) if isinstance(text, str)][:100] if isinstance(told.get(key), list) else [] for key in ("datasets", "models")}
    return empty | lists | {"id": told["id"] if isinstance(told.get("id"), str) else ""}


# what came along


def _houses(files: _Files, note: Mapping[str, Any], config: TrainConfig, home: Home, undo: list[Path]) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """({what the job names: what it is called here}, (dataset or model, name) of what was added).  undo: the folders that were made."""
    renamed, added = {}, []
    wanted = {use.name for use in config.data.datasets} | {config.concept.low}
    for number, name in enumerate(note["datasets"]):
        inner = {path.split("/", 3)[3]: file for path, file in files.taken.items() if path.startswith(f"{OUTSIDE}/datasets/{number}/") and path.count("/") == 3}
        pictures = {path.split("/", 4)[4]: file for path, file in files.taken.items() if path.startswith(f"{OUTSIDE}/datasets/{number}/pictures/")}
        if name not in wanted or not pictures:
            continue
        ds, new = _dataset(name, inner, pictures, home)
        renamed[name] = ds.name
        if new:
            undo.append(ds.path)
            added.append(("dataset", ds.title))
    sources = {told for told in (config.model.source, config.model.training_adapter, config.model.context_adapter, config.sample.speed_adapter, config.adapter.image_encoder, config.adapter.start_from) if told.startswith(HOUSED)}
    for name in note["models"]:
        inner = {path.split("/", 3)[3]: file for path, file in files.taken.items() if path.startswith(f"{OUTSIDE}/models/{name}/")}
        if HOUSED + name not in sources or not inner or folder_name(name) != name:
            continue
        place, new = _model(name, inner, home)
        renamed[HOUSED + name] = str(place)
        if new:
            undo.append(place if place.parent == home.root / MODELS else place.parent)
            added.append(("model", name))
    return renamed, added


def _dataset(name: str, inner: Mapping[str, Path], pictures: Mapping[str, Path], home: Home) -> tuple[Dataset, bool]:
    """(the dataset, whether it is new): one that is here already where it is the very same."""
    told = outside.read_json(inner["state.json"], MAX_STATE_BYTES) if "state.json" in inner else {}
    if not isinstance(told, dict):
        raise ValueError("its datasets' state.json is not what Easel writes")
    state = states.applied(State(), told)
    for other in datasets.list_datasets(home):
        if other.name.casefold() == name.casefold() and states.now(other).digest == state.digest:
            return other, False
    room = home.datasets / f"{twin.MAKING}{secrets.token_hex(4)}"
    made = Dataset(room, room / datasets.HIDDEN)
    (made.meta / "thumbs").mkdir(parents=True)
    try:
        for path in pictures.values():
            digest = hash_of(path)
            for file in [file for file, wanted in state.files.items() if wanted == digest and _keepable(file)]:
                bin.link_or_copy(path, made.path / file)
        twin.write_texts(made, state)
        if parts.FILE in inner:
            write_text_whole(made.meta / parts.FILE, outside.read_text(inner[parts.FILE], parts.MAX_BYTES))
        title = name[:200]
        write_about(made.meta, {"title": title, "created": round(time.time(), 3), "lines": state.lines, "prior": ""})
        target = datasets.free_folder(home, title)
        os.rename(room, target)
    except BaseException:
        shutil.rmtree(room, ignore_errors=True)
        raise
    ds = datasets.open_dataset(home, target.name)
    ds.check()
    versions.gather(ds, "came with a run")
    return ds, True


def _keepable(file: str) -> bool:
    """Whether a picture can be called so here.  Its name may be longer than that of a run, and needs not be in NFC."""
    odd = set(file) & (FORBIDDEN if os.name == "nt" else {"/"}) or any(ord(c) < 32 for c in file) or file.split(".")[0].upper().strip() in RESERVED
    return states.is_name(file) and not odd and len(file.encode("utf-8", "replace")) < 256 and file.rstrip(". ") == file


def _model(name: str, inner: Mapping[str, Path], home: Home) -> tuple[Path, bool]:
    """(its folder, or its file where it is a single one or one of two for two denoisers; whether it is new): one that is here already where it is the very same."""
    shelf = home.root / MODELS
    shelf.mkdir(parents=True, exist_ok=True)
    first = name if name in inner else min(inner)
    single = list(inner) == [name] or (first.endswith(".safetensors") and set(inner) <= {first, other_name(first)})
    for n in range(1, 1000):
        place = shelf / (name if n == 1 else f"{name}-{n}")
        if os.path.lexists(place):
            if _same(place, inner):
                return (place / first if single else place), False
            continue
        fresh = shelf / f".new-{secrets.token_hex(4)}"
        try:
            for file, path in inner.items():
                target = fresh / file
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.move(path, target)  # outputs may lie on another disk than models
            os.rename(fresh, place)
        except BaseException:
            shutil.rmtree(fresh, ignore_errors=True)
            raise
        return (place / first if single else place), True
    raise ValueError(f"there are too many models called {name!r} in {shelf}; remove some")


def _same(place: Path, inner: Mapping[str, Path]) -> bool:
    there = {path.relative_to(place).as_posix(): path for path in place.rglob("*") if path.is_file()} if outside.is_folder(place) else {}
    return there.keys() == inner.keys() and all(there[name].stat().st_size == path.stat().st_size and hash_of(there[name]) == hash_of(path) for name, path in inner.items())


def _copied(source: Path, target: Path, most_bytes: int) -> int:
    """How many bytes were copied, from what is still a plain file."""
    count = 0
    with outside.open_plain(source, most_bytes) as file, open(target, "xb") as out:
        while chunk := file.read(CHUNK_BYTES):
            count += len(chunk)
            if count > most_bytes:
                raise ValueError(f"{source.name} does not end")
            out.write(chunk)
    return count

