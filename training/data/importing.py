"""Files into a dataset: copied byte for byte, looked at by the gate, paired with their captions, a verdict for each."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..files import write_atomic
from ..names import folder_name
from ..outside import check_plain, open_fd
from . import captions, zips
from .datasets import Dataset, Progress, Verdict
from .edits import new_op
from .gate import Gate, Report, gated
from .masks import SUFFIX as MASK_SUFFIX
from .masks import is_mask, masked_stem, misfit
from .memory import memory_of, natural_key, record_of
from .memory import scan as scan_folder
from .pictures import Refused, open_regular, suffix_for

BY_HAND = ("typed", "replaced", "prefix", "suffix")  # sources of captions that somebody edited in the grid
SPARE_BYTES = 200_000_000  # what an import leaves free on the disk


@dataclass(frozen=True)
class Offered:
    """One file that somebody wants in the dataset.  folder, name: where it came from, for pairing; ours: may be moved, not copied."""

    label: str
    folder: str
    name: str
    path: Path
    ours: bool = False

    @property
    def stem(self) -> str:
        return unicodedata.normalize("NFC", Path(self.name).stem)


@dataclass(frozen=True)
class _Taken:
    """A file that is now in our temporary folder, and what the gate says of it.  twin: the picture of the dataset with the same bytes."""

    offered: Offered
    temp: Path
    sha256: str
    report: Report
    twin: str = ""


def add_files(ds: Dataset, paths: Iterable[os.PathLike | str], on_progress: Progress | None = None) -> list[Verdict]:
    """A verdict for every picture, clip, caption, mask and ZIP that is to be copied in; the good ones are in whatever the others are."""
    paths = [Path(p) for p in paths]
    need = sum(zips.real_bytes(p) if _is_zip(p) else _size(p) for p in paths)
    with _importing(ds, need) as room:
        offered, verdicts = [], []
        for number, path in enumerate(paths):
            if _is_zip(path):
                found, said = _open_zip(path, room / f"zip{number}")
                offered += found
                verdicts += said
            else:
                offered.append(Offered(path.name, str(path.parent), path.name, path))
        return _take_in(ds, room, offered, verdicts, on_progress)


def add_folder(ds: Dataset, folder: os.PathLike | str, on_progress: Progress | None = None) -> list[Verdict]:
    """A verdict for everything below a folder, which stays as it is.  Raises ValueError if it is none, or lies inside the dataset."""
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise ValueError(f"{folder} is a file; name the folder" if folder.exists() else f"there is no folder {folder}")
    folder = folder.resolve()
    if folder == ds.path.resolve() or ds.path.resolve() in folder.parents or folder in ds.path.resolve().parents:
        raise ValueError(f"{folder} holds this dataset or lies inside it; choose another folder")
    offered, verdicts, hidden = [], [], 0
    for root, folders, files in os.walk(folder):
        place = Path(root).relative_to(folder).as_posix()
        place = "" if place == "." else place
        for name in sorted(folders, key=natural_key):
            if os.path.islink(os.path.join(root, name)):
                verdicts.append(Verdict(_shown(f"{place}/{name}".lstrip("/")), False, "is a link to a folder and was not followed", kind="archive"))
        folders[:] = sorted((f for f in folders if not zips.is_hidden("", f)), key=natural_key)
        for name in sorted(files, key=natural_key):
            label = f"{place}/{name}" if place else name
            if zips.is_hidden("", name):
                hidden += 1
            elif name.lower().endswith(".zip"):
                verdicts.append(Verdict(_shown(label), False, "is a ZIP inside the folder and was not opened; add it by itself", kind="archive"))
            else:
                offered.append(Offered(_shown(label), place, name, Path(root, name)))
    verdicts += _hidden(hidden)
    with _importing(ds, sum(_size(o.path) for o in offered)) as room:
        return _take_in(ds, room, offered, verdicts, on_progress)


class _importing:
    """A temporary folder inside the dataset's hidden one, for one import at a time; emptied afterwards, also after a crash."""

    def __init__(self, ds: Dataset, need_bytes: int):
        if ds.in_place:
            raise ValueError(f"{ds.path} is used in place; put the files into that folder yourself, or make a dataset of it")
        self.ds, self.need_bytes = ds, need_bytes

    def __enter__(self) -> Path:
        from filelock import FileLock, Timeout

        self.ds.meta.mkdir(parents=True, exist_ok=True)
        free_bytes = shutil.disk_usage(self.ds.path).free
        if self.need_bytes + SPARE_BYTES > free_bytes:
            raise ValueError(
                f"the pictures take {self.need_bytes / 1e9:.1f} GB, but only {free_bytes / 1e9:.1f} GB are free on the disk of {self.ds.path}; "
                "free some, or move Easel's folder with --home"
            )
        self.lock = FileLock(self.ds.meta / "import.lock", thread_local=False)
        try:
            self.lock.acquire(timeout=0.2)
        except Timeout:
            raise ValueError(f"another import into {self.ds.title!r} is still going; wait for it to end") from None
        incoming = self.ds.meta / "incoming"
        shutil.rmtree(incoming, ignore_errors=True)  # of an import that was cut off
        incoming.mkdir()
        (self.ds.meta / "thumbs").mkdir(exist_ok=True)
        self.room = Path(tempfile.mkdtemp(dir=incoming))
        return self.room

    def __exit__(self, *_) -> None:
        shutil.rmtree(self.room, ignore_errors=True)
        self.lock.release()


def _open_zip(path: Path, into: Path) -> tuple[list[Offered], list[Verdict]]:
    into.mkdir()
    offered, verdicts, hidden = [], [], 0
    try:
        with os.fdopen(open_regular_zip(path), "rb"):
            pass
        for entry in zips.unpack(path, into):
            if entry.hidden:
                hidden += 1
            elif entry.path is None:
                verdicts.append(Verdict(_shown(entry.label), False, entry.reason, kind="archive"))
            else:
                offered.append(Offered(_shown(entry.label), f"{path}!{entry.folder}", entry.name, entry.path, ours=True))
    except (Refused, ValueError) as error:
        verdicts.append(Verdict(_shown(path.name), False, str(error), kind="archive"))
    except OSError as error:
        verdicts.append(Verdict(_shown(path.name), False, f"cannot be read: {error.strerror or error}", kind="archive"))
    return offered, verdicts + _hidden(hidden)


def open_regular_zip(path: Path) -> int:
    """A file descriptor of a plain file of any size; Refused for a link, pipe or device."""
    check_plain(os.lstat(path))
    return open_fd(path)


def _take_in(ds: Dataset, room: Path, offered: list[Offered], verdicts: list[Verdict], on_progress: Progress | None) -> list[Verdict]:
    texts = [o for o in offered if Path(o.name).suffix.lower() in captions.SUFFIXES]
    masks = [o for o in offered if is_mask(o.name)]
    pictures = [o for o in offered if Path(o.name).suffix.lower() not in captions.SUFFIXES and not is_mask(o.name)]
    ds.check()
    state = memory_of(ds.meta)
    with state.lock:
        known = {p.sha256: p.id for p in ds.pictures(check=False) if p.usable}
        stems = {_folded(p.id) for p in ds.pictures(check=False)}
    became: dict[tuple[str, str], list[str]] = {}  # (folder, stem) as offered -> pictures of the dataset
    jobs = list(enumerate(pictures))

    def work(gate: Gate, job: tuple[int, Offered]) -> _Taken:
        return _taken(ds, gate, job[1], room / f"in{job[0]:06d}", known)

    try:
        for done, taken in enumerate(gated(jobs, work), 1):
            verdict = _placed(ds, taken, known, stems)
            verdicts.append(verdict)
            if verdict.id:
                became.setdefault((taken.offered.folder, taken.offered.stem), []).append(verdict.id)
            if on_progress:
                on_progress(done, len(pictures), taken.offered.label)
    finally:
        if became:
            ds._save_index()
    new = {v.id for v in verdicts if v.ok}
    owners = _by_stem(ds, became, new)
    return verdicts + _pair_masks(ds, room, masks, became, owners) + _pair(ds, texts, became, owners, new)


def _taken(ds: Dataset, gate: Gate, offered: Offered, temp: Path, known: dict[str, str]) -> _Taken:
    """A picture copied to `temp`, byte for byte, and looked at there: what the gate sees is what is kept."""
    digest = ""
    try:
        digest = _copy(offered, temp)
        if digest in known:
            return _Taken(offered, temp, digest, Report(False), known[digest])
        return _Taken(offered, temp, digest, gate.check(temp, ds._thumb(digest)))
    except Refused as error:
        return _Taken(offered, temp, digest, Report(False, str(error)))
    except OSError as error:
        if error.errno == 28:  # ENOSPC: nothing that comes after it would fit either
            raise
        return _Taken(offered, temp, digest, Report(False, f"cannot be read: {error.strerror or error}"))


def _copy(offered: Offered, temp: Path) -> str:
    """SHA-256 of the file, which now is at `temp`.  Raises Refused for what is not a plain file."""
    digest = hashlib.sha256()
    with os.fdopen(open_regular(offered.path), "rb") as source:
        if offered.ours:
            while chunk := source.read(1 << 20):
                digest.update(chunk)
        else:
            with open(temp, "wb") as target:
                while chunk := source.read(1 << 20):
                    digest.update(chunk)
                    target.write(chunk)
    if offered.ours:
        os.replace(offered.path, temp)
    return digest.hexdigest()


def _placed(ds: Dataset, taken: _Taken, known: dict[str, str], stems: set[str]) -> Verdict:
    """The verdict on one picture, which now lies in the dataset if it is good."""
    offered, report = taken.offered, taken.report
    twin = taken.twin or known.get(taken.sha256, "")
    if twin:
        taken.temp.unlink(missing_ok=True)
        return Verdict(offered.label, False, f"the same picture as {twin}, byte for byte; one is kept", twin, "duplicate")
    if not report.ok:
        taken.temp.unlink(missing_ok=True)
        return Verdict(offered.label, False, report.reason)
    name = _free_name(offered.name, report.format, stems)
    with ds._locked():
        target = ds.path / name
        if os.path.lexists(target):
            stems.add(_folded(name))
            return _placed(ds, taken, known, stems)
        os.replace(taken.temp, target)
        memory_of(ds.meta).records[name] = record_of(os.lstat(target), taken.sha256, report)
    known[taken.sha256] = name
    stems.add(_folded(name))
    notes = [report.note] if report.note else []
    if name != unicodedata.normalize("NFC", offered.name):
        notes.append(f"kept as {name}")
    return Verdict(offered.label, True, "; ".join(notes), name, "clip" if report.seconds else "picture")


def _free_name(name: str, kind: str, stems: set[str]) -> str:
    """A name whose stem no other picture has: the caption beside it belongs to the stem."""
    suffix = suffix_for(kind, name)
    stem = name[: -len(suffix)] if name.lower().endswith(suffix.lower()) else name
    stem = folder_name(stem[:200], "picture")
    while len(stem.encode()) > 90:
        stem = stem[:-1].rstrip(". ")
    made, number = f"{stem}{suffix}", 1
    while _folded(made) in stems:
        number += 1
        made = f"{stem}-{number}{suffix}"
    return made


def _by_stem(ds: Dataset, became: dict[tuple[str, str], list[str]], new: set[str]) -> dict[str, list[str]]:
    """The pictures that a caption or mask of this stem may belong to: those that just came, by their own names then, and the others."""
    by_stem: dict[str, list[str]] = {}
    for (_, stem), ids in became.items():
        by_stem.setdefault(stem, []).extend(ids)
    again, edited = {id for ids in became.values() for id in ids} - new, set()
    for picture in ds.pictures(check=False):
        if picture.id in again and picture.caption_source in BY_HAND:
            edited.add(picture.id)
        if picture.id not in new:
            by_stem.setdefault(unicodedata.normalize("NFC", Path(picture.id).stem), []).append(picture.id)
    return by_stem


def _pair_masks(ds: Dataset, room: Path, masks: list[Offered], became: dict[tuple[str, str], list[str]], by_stem: dict[str, list[str]]) -> list[Verdict]:
    """Masks to their pictures, found as captions are; each is looked at by the gate first.  A newer mask takes the place of an older one."""
    jobs = list(enumerate(masks))
    verdicts = []
    for taken in gated(jobs, lambda gate, job: _taken(ds, gate, job[1], room / f"mask{job[0]:06d}", {})):
        offered, stem, report = taken.offered, masked_stem(taken.offered.name), taken.report
        ids = became.get((offered.folder, stem)) or list(dict.fromkeys(by_stem.get(stem, [])))
        why = "" if report.ok else report.reason
        if not ids:
            why = f"is a mask by its name, but no picture called {stem!r} came with it"
        elif len(ids) > 1 and (offered.folder, stem) not in became:
            why = f"could belong to several pictures called {stem!r}; pack folders as a ZIP"
        elif not why:
            picture = ds.get(ids[0])
            why = misfit((report.width, report.height), (picture.width, picture.height))
        if why:
            verdicts.append(Verdict(offered.label, False, why, kind="mask"))
            continue
        with ds._locked():
            for id in ids:
                write_atomic(ds.path / f"{Path(id).stem}{MASK_SUFFIX}", taken.temp.read_bytes())
        verdicts.append(Verdict(offered.label, True, report.note, ids[0], "mask"))
    if masks:
        ds.check()
    return verdicts


def _pair(
    ds: Dataset, texts: list[Offered], became: dict[tuple[str, str], list[str]], by_stem: dict[str, list[str]], new: set[str]
) -> list[Verdict]:
    """Captions to their pictures: by folder and stem, else by a stem that only one picture has; then a verdict each."""
    again = {id for ids in became.values() for id in ids} - new
    edited = {p.id for p in ds.pictures(check=False) if p.id in again and p.caption_source in BY_HAND}
    verdicts, first, changed = [], {}, {}
    offered_stems = [t.stem for t in texts if (t.folder, t.stem) not in became]
    for text in sorted(texts, key=lambda t: t.name.lower().endswith(".txt")):  # .txt comes last, and wins over .caption
        ids = became.get((text.folder, text.stem))
        if ids is None:
            ids = list(dict.fromkeys(by_stem.get(text.stem, [])))
            if len(ids) > 1 or (ids and offered_stems.count(text.stem) > 1):
                verdicts.append(Verdict(text.label, False, f"could belong to several pictures called {text.stem!r}; pack folders as a ZIP", kind="caption"))
                continue
        if not ids:
            verdicts.append(Verdict(text.label, False, "no picture of this name came with it", kind="caption"))
            continue
        try:
            with os.fdopen(open_regular(text.path), "rb") as file:
                caption, note = captions.decode_caption(file.read(captions.MAX_BYTES + 1))
        except ValueError as error:
            verdicts.append(Verdict(text.label, False, str(error), kind="caption"))
            continue
        except OSError as error:
            verdicts.append(Verdict(text.label, False, f"cannot be read: {error.strerror or error}", kind="caption"))
            continue
        if not caption:
            verdicts.append(Verdict(text.label, False, "the caption is empty", ids[0], "caption"))
            continue
        if edited.issuperset(ids) and caption != ds.caption(ids[0]):
            verdicts.append(Verdict(text.label, False, "its picture is here already, and its caption was edited by hand, so that one is kept; add the .txt alone to replace it", ids[0], "caption"))
            continue
        for id in ids:
            (first if id in new else changed)[id] = caption
        verdicts.append(Verdict(text.label, True, note, ids[0], "caption"))
    with ds._locked():
        scan = scan_folder(ds.path)
        for id, caption in first.items():
            ds._write_caption(scan, id, caption)
    ds.set_captions(changed, "file", new_op())
    return verdicts


def _hidden(count: int) -> list[Verdict]:
    if not count:
        return []
    return [Verdict("", False, f"{count} hidden system {'file' if count == 1 else 'files'} left out", kind="skipped")]


def _is_zip(path: Path) -> bool:
    return path.suffix.lower() == ".zip"


def _size(path: Path) -> int:
    try:
        return os.lstat(path).st_size
    except OSError:
        return 0


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", Path(name).stem).casefold()


def _shown(name: str) -> str:
    """A file name as text that can be sent to a page, whatever bytes it holds."""
    return name.encode("utf-8", "replace").decode("utf-8")
