"""Files into a dataset: copied byte for byte, looked at by the gate, paired with captions, masks and control pictures, a verdict for each."""

from __future__ import annotations

import hashlib
import io
import math
import os
import re
import shutil
import tempfile
import unicodedata
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..files import write_atomic
from ..home import Home
from ..names import folder_name
from ..outside import check_plain, open_fd, read_plain
from . import bin, captions, embedded, encodings, kinds, noise, parquet, parts, rereading, sevens, tars, versions, zips
from .controls import KINDS, Control, called, is_control, made, number_of
from .controls import SUFFIX as CONTROL_SUFFIX
from .datasets import BY_HAND, Dataset, Progress, Verdict, counted, create, delete, list_datasets, summary
from .edits import new_op
from .folders import Folders
from .gate import Gate, Report, gated
from .listed import Tables
from .masks import SUFFIX as MASK_SUFFIX
from .masks import Mask, is_mask, masked_stem, misfit
from .memory import hash_of, memory_of, natural_key, record_of, stem_of
from .memory import scan as scan_folder
from .offered import Left, Offered, Pairs, place
from .pictures import SUFFIXES, Refused, load_pixels, open_regular, suffix_for
from .roles import ANOTHER, PICTURE, Role, in_order, kohya_folder, roles
from .tables import MOST_CONTROLS

if TYPE_CHECKING:
    from PIL import Image

MAX_INSTRUCTION = 2000  # letters of one that is for all pairs; a longer text is about the dataset
_NOTICE = re.compile(r"^(?:read.?me|licen[cs]e|notice|about|info|notes?|credits?|changelog|requirements)\b", re.IGNORECASE)  # a text about the dataset
FOLDER = "folder"  # source of captions that are the words of their folder's name
SPARE_BYTES = 200_000_000  # what an import leaves free on the disk
NOTHING_TO_DRAW = "goes without one: there is nothing in it to draw"
CAME_MEANWHILE = "got one of its own meanwhile, which stays"
BARE = "came without a control picture, where others came with one; no edit can be learnt from it"


@dataclass(frozen=True)
class _Taken:
    """A file that is now in our temporary folder, and what the gate says of it.  twin: the picture of the dataset with the same bytes."""

    offered: Offered
    temp: Path
    sha256: str
    report: Report
    twin: str = ""


def add_files(ds: Dataset, paths: Iterable[os.PathLike | str], on_progress: Progress | None = None) -> list[Verdict]:
    """A verdict for every picture, clip, caption, mask, control picture and ZIP that is to be copied in; the good ones are in whatever the others are."""
    given = [Path(p) for p in paths]
    need = sum(zips.real_bytes(p) if _is_zip(p) else _size(p) for p in given)
    with _importing(ds, need) as room:
        offered, verdicts, left = [], [], Left()
        for number, path in enumerate(given):
            if _unpacker(path):
                found, said = _open_archive(path, number, room / f"zip{number}", left)
                offered += found
                verdicts += said
            elif not left.takes("", path.name):
                offered.append(Offered(path.name, str(path.parent), path.name, path, loose=True))
        return _take_in(ds, room, offered, verdicts, left, on_progress) + left.verdicts()


def add_folder(ds: Dataset, folder: os.PathLike | str, on_progress: Progress | None = None) -> list[Verdict]:
    """A verdict for everything below a folder, which stays as it is.  Raises ValueError if it is none, or lies inside the dataset."""
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise ValueError(f"{folder} is a file; name the folder" if folder.exists() else f"there is no folder {folder}")
    folder = folder.resolve()
    if folder == ds.path.resolve() or ds.path.resolve() in folder.parents or folder in ds.path.resolve().parents:
        raise ValueError(f"{folder} holds this dataset or lies inside it; choose another folder")
    left = Left()
    offered, verdicts = _below(folder, left, ours=False)
    with _importing(ds, sum(_size(o.path) for o in offered)) as room:
        return _take_in(ds, room, offered, verdicts, left, on_progress) + left.verdicts()


def take_folder(ds: Dataset, folder: Path, on_progress: Progress | None = None) -> list[Verdict]:
    """The same of a folder that was made for this import: its files are moved, not copied, and its archives are opened."""
    left = Left()
    offered, verdicts = _below(folder, left, ours=True)
    archives = [o for o in offered if _unpacker(o.path)]
    packed = [*archives, *(o for o in offered if o.name.lower().endswith(parquet.SUFFIX))]
    with _importing(ds, sum(zips.real_bytes(o.path) if _is_zip(o.path) else _size(o.path) for o in packed)) as room:
        for number, archive in enumerate(archives):
            found, said = _open_archive(archive.path, number, room / f"zip{number}", left)
            offered += found
            verdicts += said
        return _take_in(ds, room, [o for o in offered if o not in archives], verdicts, left, on_progress) + left.verdicts()


def _below(folder: Path, left: Left, ours: bool) -> tuple[list[Offered], list[Verdict]]:
    """(everything below a folder, what is not even looked at).  ours: its files may be moved, and its archives opened."""
    offered, verdicts = [], []
    for root, folders, files in os.walk(folder):
        place = Path(root).relative_to(folder).as_posix()
        place = "" if place == "." else place
        for name in sorted(folders, key=natural_key):
            if os.path.islink(os.path.join(root, name)):
                verdicts.append(Verdict(_shown(f"{place}/{name}".lstrip("/")), False, "is a link to a folder and was not followed", kind="archive"))
        folders[:] = sorted((f for f in folders if not noise.is_system(f, "")), key=natural_key)
        for name in sorted(files, key=natural_key):
            label = f"{place}/{name}" if place else name
            if left.takes("", name):
                continue
            if name.lower().endswith(".zip") and not ours:
                verdicts.append(Verdict(_shown(label), False, "is a ZIP inside the folder and was not opened; add it by itself", kind="archive"))
            else:
                offered.append(Offered(_shown(label), place, name, Path(root, name), ours=ours))
    return offered, verdicts


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


def _open_archive(path: Path, number: int, into: Path, left: Left) -> tuple[list[Offered], list[Verdict]]:
    into.mkdir()
    offered, verdicts = [], []
    try:
        with os.fdopen(open_regular_zip(path), "rb"):
            pass
        for entry in _unpacker(path)(path, into):  # type: ignore[misc]
            if left.takes(entry.folder, entry.name):
                continue
            if entry.path is None:
                verdicts.append(Verdict(_shown(entry.label), False, entry.reason, kind="archive"))
            else:
                offered.append(Offered(_shown(entry.label), f"{number}:{path.name}/{entry.folder}".rstrip("/"), entry.name, entry.path, ours=True))
    except (Refused, ValueError) as error:
        verdicts.append(Verdict(_shown(path.name), False, str(error), kind="archive"))
    except OSError as error:
        verdicts.append(Verdict(_shown(path.name), False, f"cannot be read: {error.strerror or error}", kind="archive"))
    return offered, verdicts


def _unpacker(path: Path) -> Callable[[Path, Path], Iterable[zips.Entry]] | None:
    """What opens an archive of this name; None for what is none, or is not opened here."""
    if _is_zip(path) or tars.is_tar(path.name):
        return (zips if _is_zip(path) else tars).unpack
    return sevens.unpack if path.suffix.lower() == sevens.SUFFIX and sevens.can_read() else None


def _out_of_parquet(offered: list[Offered], room: Path, left: Left) -> tuple[list[Offered], list[Verdict]]:
    """(the files with what Parquet files hold in their place, what is wrong with those)."""
    found: list[Offered] = []
    verdicts = []
    for number, one in enumerate(offered):
        if not one.name.lower().endswith(parquet.SUFFIX):
            found.append(one)
            continue
        into, folder = room / f"parquet{number}", "/".join(p for p in (place(one), one.name) if p)
        into.mkdir()
        try:
            for entry in parquet.unpack(one.path, into):
                if entry.path is None:
                    verdicts.append(Verdict(_shown(f"{one.label}/{entry.name}"), False, entry.reason, kind="archive"))
                else:
                    found.append(Offered(_shown(f"{one.label}/{entry.name}"), folder, entry.name, entry.path, ours=True))
        except parquet.NoPictures:
            left.others.append(one.name)
        except ValueError as error:
            verdicts.append(Verdict(one.label, False, str(error), kind="archive"))
    return found, verdicts


def open_regular_zip(path: Path) -> int:
    """A file descriptor of a plain file of any size; Refused for a link, pipe or device."""
    check_plain(os.lstat(path))
    return open_fd(path)


def _take_in(ds: Dataset, room: Path, offered: list[Offered], verdicts: list[Verdict], left: Left, on_progress: Progress | None) -> list[Verdict]:
    """Everything of one import, which becomes one version."""
    with versions.step(ds, "an import") as step:
        verdicts = _all_of(ds, room, offered, verdicts, left, on_progress)
        step.did = summary(verdicts)
    return verdicts


def _all_of(ds: Dataset, room: Path, offered: list[Offered], verdicts: list[Verdict], left: Left, on_progress: Progress | None) -> list[Verdict]:
    offered, unread = _out_of_parquet(offered, room, left)
    verdicts = verdicts + unread
    archives = [o for o in offered if noise.is_archive(o.name)]
    verdicts = verdicts + [Verdict(o.label, False, noise.UNPACK, kind="archive") for o in archives]
    listed, said = Tables.read(offered, left)
    folders = Folders(listed, [o for o in offered if o not in listed.files])
    written, missing = folders.texts(room)
    offered = [o for o in offered if o not in listed.files and o not in folders.prompts] + written
    texts = [o for o in offered if Path(o.name).suffix.lower() in captions.SUFFIXES]
    verdicts += said + missing
    ds.check()
    state = memory_of(ds.meta)
    with state.lock:
        there = ds.pictures(check=False)
    known = {p.sha256: p.id for p in there if p.usable or p.verdict == "out"}
    stems = {_folded(p.id) for p in there}
    apart = {*texts, *archives}
    pictures, beside, kept_out = _sorted([o for o in offered if o not in apart], texts, [p.id for p in there], folders.roles() | listed.roles())
    came: dict[tuple[str, str], list[str]] = {}  # (folder, name) as offered -> pictures of the dataset
    jobs = list(enumerate(pictures))

    def work(gate: Gate, job: tuple[int, Offered]) -> _Taken:
        return _taken(ds, gate, job[1], room / f"in{job[0]:06d}", known)

    try:
        for done, taken in enumerate(gated(jobs, work), 1):
            verdict = _placed(ds, taken, known, stems)
            verdicts.append(verdict)
            if verdict.id:
                came.setdefault((taken.offered.folder, taken.offered.name), []).append(verdict.id)
            if on_progress:
                on_progress(done, len(pictures), taken.offered.label)
    finally:
        if came:
            ds._save_index()
    new = {v.id for v in verdicts if v.ok}
    parts.remember(ds, [(_part(o), came.get((o.folder, o.name), ())) for o in pictures], new)
    pairs = Pairs(came, [p.id for p in ds.pictures(check=False) if p.id not in new])
    regular = [o for o, role in kept_out if role.kind == "regular"]
    verdicts += [Verdict(o.label, False, role.reason, kind=role.kind) for o, role in kept_out if role.kind != "regular"]
    verdicts += _kept_as_it_is(ds, regular, offered, on_progress) if regular else []
    verdicts += _pair_beside(ds, room, beside, pairs)
    lost = {(o.folder, o.stem) for o, _ in (*kept_out, *beside)}
    one = _for_all(ds, texts, pairs, new)
    verdicts += _pair(ds, [t for t in texts if t not in one and ((t.folder, t.stem) not in lost or pairs.beside(t))], pairs, new)
    verdicts += _instruct(ds, one, new)
    verdicts += listed.laid_on(ds, came, pairs, new)
    if stale := {id for id in ds.repeats() if id and id in new}:  # of pictures of these names that were here before
        ds.set_repeats(dict.fromkeys(stale, 1))
    verdicts += _kohya(ds, came, new)
    verdicts += folders.laid_on(ds, came, new)
    return verdicts + _prompts(ds, new)


def _part(offered: Offered) -> str:
    """The folder that a picture came from; a Parquet file is none, it is cut by size alone."""
    above, _, last = place(offered).rpartition("/")
    return above if last.lower().endswith(parquet.SUFFIX) else place(offered)


def _prompts(ds: Dataset, new: set[str]) -> list[Verdict]:
    """A line where pictures that came without a caption carry the prompt that they were drawn from; whether that is their caption is the person's to say."""
    prompts, untold = embedded.looked(ds, new)
    count = len(prompts)
    carry = "1 picture without a caption carries" if count == 1 else f"{count} pictures without a caption carry"
    offers = [Verdict("", True, f"{carry} the prompt that {'it was' if count == 1 else 'they were'} drawn from", kind="prompts")] if count else []
    for why, ids in untold.items():
        more = f"; so it is with {len(ids) - 1} more" if len(ids) > 1 else ""
        offers.append(Verdict(ids[0], True, f"carries the ComfyUI graph that it was drawn by, but no caption can be made of it: {why}{more}", ids[0], "graph"))
    return offers


def _sorted(offered: list[Offered], texts: list[Offered], there: list[str], told: dict[Offered, Role]) -> tuple[list[Offered], list[tuple[Offered, Role]], list[tuple[Offered, Role]]]:
    """(pictures, masks and control pictures of these, what is no picture to learn from), by what tables say (told), names and what lies beside; see roles.py."""
    seen = [o for o in offered if Path(o.name).suffix.lower() in SUFFIXES and not is_mask(o.name)]
    found = roles([(place(o), o.name) for o in seen], [(place(t), t.name) for t in texts], there)
    by_offered = dict(zip(seen, found, strict=True)) | told
    pictures, beside, kept_out = [], [], []
    for one in offered:
        role = Role("mask", (place(one), masked_stem(one.name))) if is_mask(one.name) else by_offered.get(one, PICTURE)
        if role.kind == "picture":
            pictures.append(one)
        else:
            (beside if role.kind == "mask" or (role.kind == "control" and role.owner[1]) else kept_out).append((one, role))
    return pictures, beside, kept_out


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


def _pair_beside(ds: Dataset, room: Path, beside: list[tuple[Offered, Role]], pairs: Pairs) -> list[Verdict]:
    """Masks and control pictures to their pictures, found as captions are; each is looked at by the gate first.

    A newer one takes the place of an older one.  Of several of one picture that come together, all are kept in their order that it is made from, but only one that is drawn of it.
    """
    jobs = list(enumerate(beside))
    verdicts: list[Verdict] = []
    ready: dict[str, Path] = {}  # what each is called beside its picture -> its file
    controlled: dict[str, tuple[str, bool, int]] = {}  # picture -> (its first that came, whether that is drawn, the place of its last)
    owners: dict[str, tuple[str, str]] = {}  # picture -> the file it came as: of two that are the same picture, only one has what it is made from
    work = lambda gate, job: (job[1][1], _taken(ds, gate, job[1][0], room / f"beside{job[0]:06d}", {}))
    there = scan_folder(ds.path).controls if beside else {}
    for role, taken in sorted(gated(jobs, work), key=lambda row: (in_order(row[0]), natural_key(row[1].offered.label))):
        offered, report = taken.offered, taken.report
        ids = pairs.of_role(offered, role.owner)
        why = _misplaced(ds, taken, role, ids, pairs)
        first, drawn, last = controlled.get(ids[0], ("", False, 0)) if ids else ("", False, 0)
        if not why and first and (drawn or role.drawn or owners[ids[0]] != (role.owner[0], role.owner[1].casefold())):
            why = ANOTHER.format(owner=ids[0], used=first)
        if why:
            verdicts.append(Verdict(offered.label, False, why, kind=role.kind))
            continue
        if report.format != "PNG":
            taken.temp.write_bytes(_as_png(taken.temp, role.kind))
        note = report.note
        if role.kind == "mask":
            ready |= {f"{Path(id).stem}{MASK_SUFFIX}": taken.temp for id in ids}
        else:
            said = max(role.place) if max(role.place) <= len(there.get(stem_of(ids[0]), ())) + 1 else 0  # control_2 that comes later, behind the first that is there
            number = max(last + 1, said)
            ready |= {called(Path(id).stem, number): taken.temp for id in ids}
            controlled |= dict.fromkeys(ids, (first or offered.label, bool(role.drawn), number))
            owners |= dict.fromkeys(ids, (role.owner[0], role.owner[1].casefold()))
            note = "; ".join(filter(None, [note, _other_shape(ds, taken, ids[0]) if number == 1 else ""]))
        verdicts.append(Verdict(offered.label, True, note, ids[0], role.kind))
    _put_beside(ds, ready)
    if beside:
        ds.check()
    return verdicts + _bare(ds, set(controlled), pairs)


def _other_shape(ds: Dataset, taken: _Taken, id: str) -> str:
    """That a control picture has another shape than its picture; "" where it has not."""
    picture = memory_of(ds.meta).records[id]
    why = misfit((taken.report.width, taken.report.height), (picture["width"], picture["height"]))
    return f"{why}; an edit can be learnt from it, a ControlNet cannot" if why else ""


def _bare(ds: Dataset, paired: set[str], pairs: Pairs) -> list[Verdict]:
    """A line for each picture that came without a control picture where those beside it came with one."""
    bare = pairs.beside_of(paired)
    have = {p.id for p in ds.pictures(check=False) if p.references} if bare else set()
    return [Verdict(id, True, BARE, id, "bare") for id in sorted(bare - have, key=natural_key)]


def _put_beside(ds: Dataset, ready: dict[str, Path]) -> None:
    """Masks and control pictures by the names that they get; others that they take the place of go into the bin, all at once: a look at the folder for each would take hours."""
    with ds._locked():
        replaced = [name for name, path in ready.items() if os.path.lexists(ds.path / name) and hash_of(ds.path / name) != hash_of(path)]
        if replaced:
            bin.put_aside(ds, scan_folder(ds.path), replaced, new_op())
        for name, path in ready.items():
            write_atomic(ds.path / name, path.read_bytes())


def _misplaced(ds: Dataset, taken: _Taken, role: Role, ids: list[str], pairs: Pairs) -> str:
    """Why a mask or control picture cannot be used; "" where it can.  ids: the pictures that it belongs to."""
    offered, stem, report = taken.offered, role.owner[1], taken.report
    what = "mask" if role.kind == "mask" else "control picture"
    if not ids:
        return f"is a {what} by its name, but no picture called {stem!r} came with it"
    if len(ids) > 1 and not (pairs.inside(role.owner[0], stem) or pairs.inside(offered.folder, stem)):
        return f"could belong to several pictures called {stem!r}; pack folders as a ZIP"
    if not report.ok:
        return report.reason
    picture = memory_of(ds.meta).records.get(ids[0])  # of the file, as the mask lies beside that; Dataset.get would look at the whole folder
    if not picture or not picture["ok"]:
        return f"belongs to {ids[0]}, which cannot be used"
    return misfit((report.width, report.height), (picture["width"], picture["height"])) if role.kind == "mask" else ""


def add_references(ds: Dataset, id: str, paths: Iterable[os.PathLike | str]) -> list[Verdict]:
    """Pictures that the picture `id` is made from, behind those that it has, copied in beside it; a verdict for each.  Raises ValueError for no such picture."""
    given, verdicts = [Path(p) for p in paths], []
    with _importing(ds, sum(map(_size, given))) as room, versions.step(ds) as step:
        stem, scan = Path(ds.get(id).id).stem, scan_folder(ds.path)
        have = scan.controls.get(stem_of(id), ())
        ready: dict[str, Path] = {}
        for place, name in enumerate(have, 1):
            if name in scan.told.values():  # in a folder below, where those beside the picture go before
                ready[called(stem, place)] = room / f"below{place:02d}"
                ready[called(stem, place)].write_bytes(_as_png(ds.path / name, "control"))
        taken_places = {*range(1, len(have) + 1)} if not all(map(is_control, have)) else {*map(number_of, have)}
        jobs = list(enumerate(Offered(path.name, str(path.parent), path.name, path, loose=True) for path in given))
        for taken in gated(jobs, lambda gate, job: _taken(ds, gate, job[1], room / f"beside{job[0]:06d}", {})):
            why = taken.report.reason if not taken.report.ok else ""
            why = why or (f"is more than the {MOST_CONTROLS} pictures that one can be made from" if len(taken_places) >= MOST_CONTROLS else "")
            if not why:
                number = next(n for n in range(1, MOST_CONTROLS + 1) if n not in taken_places)  # a gap is filled first
                taken_places.add(number)
                if taken.report.format != "PNG":
                    taken.temp.write_bytes(_as_png(taken.temp, "control"))
                ready[called(stem, number)] = taken.temp
            verdicts.append(Verdict(taken.offered.label, not why, why or taken.report.note, id, "control"))
        if any(v.ok for v in verdicts):
            with ds._locked():
                ds._edits().came(new_op(), {name: hash_of(path) for name, path in ready.items()})
            _put_beside(ds, ready)
        ds.check()
        step.did = summary(verdicts)
    return verdicts


def make_controls(ds: Dataset, kind: str, on_progress: Progress | None = None) -> list[Verdict]:
    """A control picture of one of controls.KINDS for every usable picture that has none, written beside it; a verdict for each."""
    if kind not in KINDS:
        raise ValueError(f"control pictures cannot be made as {kind!r}; they can be: {', '.join(KINDS)}")
    return write_controls(ds, lambda picture: made(picture, kind), on_progress)


def write_controls(ds: Dataset, draw: Callable[[Image.Image], Image.Image | None], on_progress: Progress | None = None) -> list[Verdict]:
    """What draw() makes of every usable picture that has no control picture, written beside it; a verdict for each.  on_progress: called before each.

    A picture of which draw() gives None goes without one.
    """
    ds.check()
    without = [p for p in ds.pictures(check=False) if p.usable and not p.seconds and p.control is None]
    bare = [p for p in without if not p.control_note]  # one of its own that does not fit stays too: it may be all there is of it
    kept = [Verdict(p.id, False, f"has one of its own, which is not used but stays: {p.control_note}", p.id, "control") for p in without if p.control_note]
    verdicts: list[Verdict] = []
    looked = _Looked(ds.path)
    with versions.step(ds, "control pictures") as step:
        for done, picture in enumerate(bare):
            if on_progress:
                on_progress(done, len(bare), picture.id)
            stream = io.BytesIO()
            turned = picture.treatment
            control = draw(turned.apply(load_pixels(picture.path)))
            if control is None:
                verdicts.append(Verdict(picture.id, False, NOTHING_TO_DRAW, picture.id, "control"))
                continue
            turned.undo(control).save(stream, "PNG")  # it lies beside the file, and is turned along with it
            target = ds.path / f"{Path(picture.id).stem}{CONTROL_SUFFIX}"
            with ds._locked():
                came = os.path.lexists(target) or looked.has(stem_of(picture.id))
                if not came:
                    write_atomic(target, stream.getvalue())
                    looked.note()
            verdicts.append(Verdict(picture.id, not came, CAME_MEANWHILE if came else "", picture.id, "control"))
        ds.check()
        step.did = f"{counted(sum(v.ok for v in verdicts), 'control picture')} made"
    return verdicts + kept


class _Looked:
    """Which pictures of a folder have control pictures; looked up anew only where somebody else changed the folder, as it may hold thousands."""

    def __init__(self, folder: Path):
        self.folder, self._at = folder, -1
        self._stems: Collection[str] = ()

    def has(self, stem: str) -> bool:
        if self._changed_ns() != self._at:
            self.note()
            self._stems = scan_folder(self.folder).controls
        return stem in self._stems

    def note(self) -> None:
        """The folder as it is now is known."""
        self._at = self._changed_ns()

    def _changed_ns(self) -> int:
        return self.folder.stat().st_mtime_ns


def _as_png(path: Path, kind: str) -> bytes:
    """A mask or control picture of another format as what it is kept as: a mask grey, 255 is learnt."""
    stream = io.BytesIO()
    (Mask(path, "", "file") if kind == "mask" else Control(path, "")).load().save(stream, "PNG")
    return stream.getvalue()


def _pair(ds: Dataset, texts: list[Offered], pairs: Pairs, new: set[str]) -> list[Verdict]:
    """Captions to their pictures: by folder and name, else by a name that only one picture has; then a verdict each."""
    edited = {p.id for p in ds.pictures(check=False) if p.id in pairs.came - new and p.caption_source in BY_HAND}
    verdicts, first, changed, guesses = [], {}, {}, {}
    alone = [t.stem.casefold() for t in texts if not pairs.beside(t)]
    read = _read_all(texts)
    # .txt comes last and wins over .caption, and so does a plain stem over `1.jpg.txt`
    for text in sorted(texts, key=lambda t: (Path(t.stem).suffix.lower() not in SUFFIXES, t.name.lower().endswith(".txt"))):
        ids = pairs.beside(text)
        if not ids:
            ids = pairs.anywhere(text.stem)
            if len(ids) > 1 or (ids and alone.count(text.stem.casefold()) > 1):
                verdicts.append(Verdict(text.label, False, f"could belong to several pictures called {text.stem!r}; pack folders as a ZIP", kind="caption"))
                continue
        if not ids:
            verdicts.append(Verdict(text.label, False, "no picture of this name came with it", kind="caption"))
            continue
        data, why = read[text]
        if why:
            verdicts.append(Verdict(text.label, False, why, kind="caption"))
            continue
        caption, note, guessed = data  # type: ignore[misc]
        if not caption:
            verdicts.append(Verdict(text.label, True, "is empty, so its picture has no caption", ids[0], "empty"))
            continue
        if edited.issuperset(ids) and caption != ds.caption(ids[0]):
            verdicts.append(Verdict(text.label, False, "its picture is here already, and its caption was edited by hand, so that one is kept; add the .txt alone to replace it", ids[0], "caption"))
            continue
        for id in ids:
            said = first if id in new else changed
            said[id] = kinds.together(said.get(id, ""), caption)
            guesses.pop(id, None)
            if guessed:
                guesses[id] = (guessed, read_plain(text.path, captions.MAX_BYTES))
        verdicts.append(Verdict(text.label, True, note, ids[0], "caption"))
    with ds._locked():
        scan = scan_folder(ds.path)
        for id, caption in first.items():
            ds._write_caption(scan, id, caption)
        rereading.remember(ds, guesses)
    ds.set_captions(changed, "file", new_op())
    return verdicts


def _for_all(ds: Dataset, texts: list[Offered], pairs: Pairs, new: set[str]) -> list[Offered]:
    """The one text of an import of pairs that is no picture's caption by its name: the instruction of them all; [] where there is none, or more than one."""
    if len(texts) != 1 or _NOTICE.match(texts[0].stem) or pairs.beside(texts[0]) or pairs.anywhere(texts[0].stem):
        return []
    return texts if sum(bool(p.references) for p in ds.pictures(check=False) if p.id in new) > 1 else []


def _instruct(ds: Dataset, texts: list[Offered], new: set[str]) -> list[Verdict]:
    """One instruction for all pairs that came, as the caption of each that has none."""
    verdicts = []
    for text, (data, why) in _read_all(texts).items():
        caption = data.text if data and len(data.text) <= MAX_INSTRUCTION else ""
        if not caption:
            verdicts.append(Verdict(text.label, False, why or ("is too long to be the instruction of all pairs" if data and data.text else "is empty, so the pairs have no instruction"), kind="caption"))
            continue
        bare = {p.id: caption for p in ds.pictures(check=False) if p.id in new and p.references and not p.caption}
        ds.set_captions(bare, "file", new_op())
        verdicts.append(Verdict(text.label, True, f"is one instruction for all: it is the caption of {counted(len(bare), 'picture')} now", kind="folder"))
    return verdicts


def _read_all(texts: list[Offered]) -> dict[Offered, tuple[captions.Decoded | None, str]]:
    """Of each caption file what it says, or why it cannot be read.  Where files do not say their encoding, all of an import tell it together."""
    raw: dict[Offered, bytes] = {}
    found: dict[Offered, tuple[captions.Decoded | None, str]] = {}
    for text in texts:
        try:
            raw[text] = captions.read_file(text.path)
        except ValueError as error:
            found[text] = None, str(error)
        except OSError as error:
            found[text] = None, f"cannot be read: {error.strerror or error}"
    unsaid = [data for data in raw.values() if not captions.says_encoding(data)]
    together = encodings.guess(unsaid) if unsaid else ""
    for text, data in raw.items():
        try:
            found[text] = captions.decode_caption(data, together), ""
        except ValueError as error:
            found[text] = None, str(error)
    return found


def _kohya(ds: Dataset, came: dict[tuple[str, str], list[str]], new: set[str]) -> list[Verdict]:
    """What the names of kohya's folders mean, used and said: words are the captions of pictures that came without one, repeats how often each counts."""
    folders: dict[str, list[str]] = {}
    for (folder, _), ids in came.items():
        if kohya_folder(folder):
            folders.setdefault(folder, []).extend(id for id in ids if id in new)
    said, bare = [], {p.id for p in ds.pictures(check=False) if not p.caption}
    least = math.gcd(*(kohya_folder(f)[0] for f in folders))  # type: ignore[index]
    counts = {folder: kohya_folder(folder)[0] // least for folder in folders}  # type: ignore[index]
    ds.set_repeats({id: counts[folder] for folder, ids in folders.items() for id in ids if counts[folder] > 1})
    for folder, ids in folders.items():
        repeats, words = kohya_folder(folder)  # type: ignore[misc]
        named = {id: words for id in ids if id in bare}
        ds.set_captions(named, FOLDER, new_op())
        text = f"the folder's name asks for {repeats} repeats"
        text += f": its pictures count {_times(counts[folder])} in an epoch, beside those of the other folders" if len(set(counts.values())) > 1 else ", which makes no difference where all pictures have the same"
        text += f"; its words “{words}” are now the caption of {len(named)} of its pictures, which had none" if named else ""
        said.append(Verdict(Path(folder).name, True, text, kind="folder"))
    return said


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def _kept_as_it_is(ds: Dataset, regular: list[Offered], offered: list[Offered], on_progress: Progress | None) -> list[Verdict]:
    """Regularisation pictures, with what lies in their folders, in a dataset of their own, which the Train tab keeps as it is beside this one."""
    home = Home(ds.path.parent.parent)
    folders = {o.folder for o in regular}
    ours = set(regular)
    taken = [o for o in offered if o in ours or (o.folder in folders and Path(o.name).suffix.lower() in captions.SUFFIXES)]
    known = {d.name: d for d in list_datasets(home)}
    other = known.get(ds.prior) or create(home, f"{ds.title} (kept as it is)")
    with _importing(other, sum(_size(o.path) for o in taken if not o.ours)) as room:
        verdicts = _take_in(other, room, taken, [], Left(), on_progress)
    count = sum(v.ok and v.kind == "picture" for v in verdicts)
    if not other.counts().total:
        delete(other)
        return [v for v in verdicts if not v.ok]
    ds.set_prior(other.name)
    text = (
        f"{counted(count, 'regularisation picture')} came along: learnt with the others they would be taken for the thing itself, so they are the dataset “{other.title}” now, "
        "which the Train tab keeps as it is beside this one"
    )
    return [Verdict("", True, text, other.name, "folder"), *(v for v in verdicts if not v.ok)]


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
