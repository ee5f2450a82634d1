"""A version of a dataset as a dataset of its own: the same pictures by hard links, which take no room, with the captions and settings of then."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..home import Home
from ..outside import is_plain
from . import bin, datasets, parts, restoring, states, treatment, versions
from .datasets import Dataset
from .folder import about, write_about
from .memory import lstat_of, memory_of, write_text_whole
from .memory import scan as scan_folder
from .states import State

OF = "version_of"  # in dataset.json: the digest of the state that it was made as
MAKING = ".making-"
OLD_S = 86400.0  # after this, nobody is making it any more


@dataclass(frozen=True)
class Twin:
    """The dataset, how many of its files had to be copied because the disk knows no hard links, and which are gone for good."""

    dataset: Dataset
    copied: int
    missing: tuple[str, ...]


def twin(home: Home, ds: Dataset, id: int) -> Twin:
    """A dataset that is what `ds` was in that version: itself where nothing has changed since, one that was made before, else a new one, whole or not there at all."""
    restoring.finish(ds)
    wanted = versions.read(ds, id)
    if states.now(ds) == wanted:
        return Twin(ds, 0, ())
    for other in datasets.list_datasets(home):
        if about(other.meta).get(OF) == wanted.digest and states.now(other) == wanted:
            return Twin(other, 0, ())
    return _made(home, ds, id, wanted)


def _made(home: Home, ds: Dataset, id: int, wanted: State) -> Twin:
    for left in home.datasets.glob(f"{MAKING}*"):  # of one that was cut off: another process may be making one now
        if (found := lstat_of(left)) and found.st_mtime < time.time() - OLD_S:
            shutil.rmtree(left, ignore_errors=True)
    room = home.datasets / f"{MAKING}{secrets.token_hex(4)}"
    made = Dataset(room, room / datasets.HIDDEN)
    (made.meta / "thumbs").mkdir(parents=True)
    try:
        with ds._locked():
            copied, lost = _files(ds, made, wanted)
            write_texts(made, wanted)
            parts.copy(ds, made, wanted.files)
        title = f"{ds.title}, version {id}"
        write_about(made.meta, {"title": title, "created": round(time.time(), 3), OF: wanted.digest, "lines": wanted.lines, "prior": wanted.prior})
        target = datasets.free_folder(home, title)
        os.rename(room, target)
    except BaseException:
        shutil.rmtree(room, ignore_errors=True)
        raise
    finished = datasets.open_dataset(home, target.name)
    versions.gather(finished, f"version {id} of {ds.title}")
    return Twin(finished, copied, tuple(lost))


def _files(ds: Dataset, made: Dataset, wanted: State) -> tuple[int, list[str]]:
    """Pictures, masks and control pictures, with what is known of them.  (how many were copied, what is gone)"""
    memory, scan = memory_of(ds.meta), scan_folder(ds.path)
    sources: dict[str, tuple[Path, dict | None]] = {k.sha256: (k.path, k.record) for k in bin.contents(ds) if k.sha256}
    for name, digest in states.now(ds).files.items():
        real = scan.told.get(name, name)
        sources[digest] = ds.path / real, memory.fresh(real, scan.stat(real))
    copied, lost, index = 0, [], {}
    for name, digest in wanted.files.items():
        if digest not in sources:
            lost.append(name)
            continue
        source, record = sources[digest]
        copied += bin.link_or_copy(source, made.path / name)
        if record:
            found = os.lstat(made.path / name)
            index[name] = record | {"size": found.st_size, "mtime_ns": found.st_mtime_ns}
            thumb = ds._thumb(digest)
            if is_plain(thumb) and not made._thumb(digest).exists():
                with suppress(OSError):  # it is made again when it is wanted
                    bin.link_or_copy(thumb, made._thumb(digest))
    write_text_whole(made.meta / "index.json", json.dumps({"version": 1, "pictures": index}))
    return copied, lost


def write_texts(made: Dataset, wanted: State) -> None:
    """A state's captions, and what else it says of pictures that lie in `made` already."""
    for name, text in wanted.captions.items():
        if os.path.lexists(made.path / name):
            write_text_whole(made.path / f"{os.path.splitext(name)[0]}.txt", text + "\n")
    write_text_whole(made.meta / "focus.json", json.dumps({k: list(v) for k, v in wanted.focus.items()}))
    if wanted.treated:
        write_text_whole(made.meta / treatment.FILE, json.dumps(dict(wanted.treated)))
    write_text_whole(made.meta / "repeats.json", json.dumps(dict(wanted.repeats)))
