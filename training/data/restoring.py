"""A version of a dataset brought back, whole: what lies in the folder then is what lay there, as far as its pictures still exist.

Every single change is a rename or a file that appears whole.  What is to be reached is written down first, and a restoration that was cut
off is carried through before anything else is done with the dataset: each step of it may be done twice.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from ..files import write_atomic
from ..outside import read_json
from . import bin, states, treatment, versions
from .edits import new_op
from .folder import Folder, about, write_about
from .memory import scan as scan_folder
from .memory import stem_of, write_text_whole
from .states import State
from .verdicts import counted

PLAN = "restoring.json"  # in the hidden folder, while one is going on: {version, before, op}
MAX_PLAN_BYTES = 10_000


@dataclass(frozen=True)
class Restored:
    """What became of it.  missing: files of the version whose bytes are nowhere any more; in a folder used in place, those that are gone or other ones now.  copied: files that took room, as the disk knows no hard links."""

    missing: tuple[str, ...]
    copied: int


def restore(folder: Folder, id: int) -> Restored:
    """Make the dataset what it was in a version; that is a step of its own, so that it can be undone.  Raises ValueError where there is no such version."""
    with folder._locked():
        finish(folder)
        versions.read(folder, id)  # while nothing has changed yet
        before = versions.gather(folder)
        plan = {"version": id, "before": before.id if before else 0, "op": new_op()}
        return _carry_out(folder, plan)


def finish(folder: Folder) -> None:
    """Carry through a restoration that was cut off; nothing where there is none."""
    if not os.path.lexists(folder.meta / PLAN):
        return
    with folder._locked():
        try:
            plan = read_json(folder.meta / PLAN, MAX_PLAN_BYTES)
            if not (type(plan["version"]) is int and type(plan["before"]) is int and isinstance(plan["op"], str) and plan["op"].replace("-", "").isalnum()):
                raise ValueError
            versions.read(folder, plan["version"])
        except FileNotFoundError:
            return  # whoever was at it has ended
        except (OSError, ValueError, KeyError, TypeError):
            (folder.meta / PLAN).unlink(missing_ok=True)  # not one of ours, or its version is gone: what is there is what there is
            return
        _carry_out(folder, plan)


def told(folder: Folder, id: int, done: Restored) -> str:
    """What became of a restoration, as a sentence without its full stop."""
    count = len(done.missing)
    if folder.in_place:
        said = f"captions and settings of {folder.title} are what they were in version {id}; its pictures are used in place, and Easel changes none of them"
        return said + (f": {counted(count, 'file')} of that version {'is gone or another one' if count == 1 else 'are gone or other ones'} now" if count else "")
    lost = f", without {counted(count, 'file')} that {'is' if count == 1 else 'are'} gone for good: {', '.join(done.missing[:10])}" if count else ""
    copied = f"; {counted(done.copied, 'file')} had to be copied, as this disk knows no hard links" if done.copied else ""
    return f"{folder.title} is what it was in version {id}{lost}{copied}"


def _carry_out(folder: Folder, plan: dict) -> Restored:
    write_atomic(folder.meta / PLAN, json.dumps(plan).encode())
    edits = folder._edits().refresh()
    if not any(r.get("restored") and r["op"] == plan["op"] for r in edits.records):
        edits.restored(plan["op"], plan["version"], plan["before"])  # first the way back, then the change
    done = reach(folder, versions.read(folder, plan["version"]), plan["op"])
    lost = f", without {counted(len(done.missing), 'file')} that {'is' if len(done.missing) == 1 else 'are'} gone" if done.missing else ""
    lost = ", captions and settings only" if folder.in_place else lost
    versions.record(folder, f"version {plan['version']} brought back{lost}")
    (folder.meta / PLAN).unlink()
    return done


def missing(folder: Folder, wanted: State) -> list[str]:
    """The files of a state whose bytes are neither in the dataset nor in its bin, in order."""
    there = set(states.now(folder).files.values()) | {kept.sha256 for kept in bin.contents(folder)}
    return [name for name, digest in wanted.files.items() if digest not in there]


def reach(folder: Folder, wanted: State, op: str) -> Restored:
    """Make the folder that state, from whatever it is.  What has to go lies in the bin under `op` afterwards.  In a folder used in place only texts change."""
    with folder._locked():
        lost, copied = (_others(folder, wanted), 0) if folder.in_place else _files(folder, wanted, op)
        scan, gone = scan_folder(folder.path), set(lost)
        for name in scan.names:
            text = wanted.captions.get(name, "")
            if name in wanted.files and name not in gone and folder._caption_of(scan, name).text != text:
                folder._write_caption(scan, name, text)
        now = states.now(folder)
        if now.focus != wanted.focus:
            write_text_whole(folder.meta / "focus.json", json.dumps({k: list(v) for k, v in wanted.focus.items()}))
        if now.treated != wanted.treated:
            write_text_whole(folder.meta / treatment.FILE, json.dumps(dict(wanted.treated)))
        if now.repeats != wanted.repeats:
            write_text_whole(folder.meta / "repeats.json", json.dumps(dict(wanted.repeats)))
        if (now.lines, now.prior) != (wanted.lines, wanted.prior):
            write_about(folder.meta, about(folder.meta) | {"lines": wanted.lines, "prior": wanted.prior})
        return Restored(tuple(lost), copied)


def _others(folder: Folder, wanted: State) -> list[str]:
    """The files of a state that are not there, or have other bytes now."""
    there = states.now(folder).files
    return [name for name, digest in wanted.files.items() if there.get(name) != digest]


def _files(folder: Folder, wanted: State, op: str) -> tuple[list[str], int]:
    """Pictures, masks and control pictures: those that are not wanted go into the bin, those that are lacking come from wherever their bytes are."""
    now, scan = states.now(folder), scan_folder(folder.path)
    out = [name for name, digest in now.files.items() if wanted.files.get(name) != digest]
    strangers = [n for n in out if n not in wanted.files]
    with_texts = [n for n in bin.with_beside(scan, [n for n in strangers if n in scan.files]) if n not in now.files]
    if out:
        bin.put_aside(folder, scan, [*out, *with_texts], op)
    there = {kept.path: kept for kept in bin.contents(folder)}
    beside = bin.beside_by_picture(there.values())
    sources: dict[str, list[Path]] = {}
    for name, digest in now.files.items():
        if wanted.files.get(name) == digest:
            sources.setdefault(digest, []).append(folder.path / name)
    in_bin: dict[str, list[Path]] = {}
    for kept in there.values():
        in_bin.setdefault(kept.sha256, []).append(kept.path)
    lacking = [(name, digest) for name, digest in wanted.files.items() if now.files.get(name) != digest]
    left = Counter(digest for _, digest in lacking)
    lost, copied = [], 0
    for name, digest in lacking:
        left[digest] -= 1
        kept = in_bin.get(digest, [])
        source = next((p for p in kept if p.name == name), kept[0] if kept else next(iter(sources.get(digest, [])), None))
        if source is None:
            lost.append(name)
            continue
        if os.path.lexists(folder.path / name):  # something that is no picture, a link or a folder, lies under its name
            lost.append(name)
            continue
        move = source in kept and (len(kept) > 1 or not left[digest])
        if source in kept and source.name == name:
            bin.take_texts(folder, beside.get((there[source].step, stem_of(name)), ()))
        copied += bin.place(folder, source, name, move, there[source].record if source in there else None)
        if move:
            kept.remove(source)
        sources.setdefault(digest, []).append(folder.path / name)
    bin.sweep(folder)
    return lost, copied


def bring_back(folder: Folder, keys: list[str]) -> int:
    """Pictures out of the bin, as a step of its own.  How many."""
    with folder._locked(), versions.step(folder) as step:
        count = bin.bring_back(folder, keys)
        step.did = f"{counted(count, 'picture')} put back from the bin"
    return count
