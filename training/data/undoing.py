"""Pictures put aside, and the way back from that and from every other step."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace

from . import bin, restoring, states, treatment, versions
from .edits import new_op
from .folder import Folder, is_focus
from .memory import hash_of, stem_of
from .memory import scan as scan_folder
from .states import State
from .verdicts import counted


def undo(folder: Folder) -> str:
    """Take back the newest step: an edit, a bulk edit, a captioner's run, a removal, a version brought back.  A sentence on it; '' if there is none."""
    with folder._locked():
        restoring.finish(folder)
        step = folder._edits().last()
        if not step:
            return ""
        with versions.step(folder, f"undone: {_said_of(folder, step)}"):
            return _taken_back(folder, step)


def _taken_back(folder: Folder, step: list[dict]) -> str:
    scan = scan_folder(folder.path)
    restored, changed_since, pictures, crops, treated, controls, gone, said = set(), set(), 0, 0, 0, 0, 0, []
    for record in reversed(step):
        for id, (before, after) in record.get("captions", {}).items():
            if id in scan.files and folder._caption_of(scan, id).text == after:
                folder._write_caption(scan, id, before)
                restored.add(id)
            elif id not in restored:
                changed_since.add(id)
        pictures += _put_back(folder, record["op"], record.get("removed", []))
        controls += _put_beside(folder, record["op"], record.get("beside", []))
        gone += _take_beside(folder, record.get("came", {}))
        back = {digest: before for digest, (before, after) in record.get("focus", {}).items() if is_focus(before)}
        if back:
            folder._write_focus(back)
            crops += len(back)
        if ways := {digest: way for digest, (before, _) in record.get("treated", {}).items() if (way := treatment.of_text(before)) is not None}:
            treatment.write(folder.meta, ways)
            treated += len(ways)
        if "restored" in record:
            said += _taken_away(folder, record)
    folder._edits().undo(step[0]["op"])
    said += [counted(pictures, "picture") + " put back"] if pictures else []
    said += [counted(controls, "control picture") + " put back"] if controls else []
    said += [counted(gone, "control picture") + " taken away again"] if gone else []
    said += [counted(crops, "crop") + " put back"] if crops else []
    said += [counted(treated, "picture") + " as before"] if treated else []
    said += [counted(len(restored), "caption") + " put back"] if restored else []
    said += [counted(len(changed_since), "caption") + " left alone, because changed since"] if changed_since else []
    return ", ".join(said) or "nothing was left to put back"


def _taken_away(folder: Folder, record: dict) -> list[str]:
    """What a version that was brought back put in and took out is undone; files that came since stay.  What to say of it."""
    wanted = versions.read(folder, record["before"]) if record["before"] else State()
    now, scan = states.now(folder), scan_folder(folder.path)
    try:
        had = versions.read(folder, record["restored"]).files
    except ValueError:  # it was thinned out since: what cannot be told from what came later stays
        had = {}
    since = {name: digest for name, digest in now.files.items() if wanted.files.get(name) != digest and had.get(name) != digest}
    stems = {stem_of(name).casefold() for name in wanted.files}
    taken = set(bin.with_beside(scan, [n for n in since if n in scan.files and stem_of(n).casefold() in stems]))  # their caption's name is that of another
    stay = {name: digest for name, digest in since.items() if name not in wanted.files and name not in taken}
    owners = scan.owners()
    left = {stem_of(name) for name in (*wanted.files, *stay) if name not in scan.beside}
    stay = {name: digest for name, digest in stay.items() if name in scan.files or owners.get(name) in left}  # no mask without its picture
    of = {kind: {k: v for k, v in getattr(now, kind).items() if k in stay} for kind in ("captions", "repeats")}
    of |= {kind: {k: v for k, v in getattr(now, kind).items() if k in stay.values()} for kind in ("focus", "treated")}
    done = restoring.reach(folder, replace(wanted, files={**wanted.files, **stay}, **{kind: {**rows, **getattr(wanted, kind)} for kind, rows in of.items()}), new_op())  # type: ignore[arg-type]
    said = [f"version {record['restored']} taken away again"]
    if folder.in_place:
        return said
    gone, aside = list(done.missing), len(since) - len(stay)
    names = ", ".join(gone[:5]) + (f" and {len(gone) - 5} more" if len(gone) > 5 else "")
    said += [f"{counted(len(stay), 'file')} that came since kept"] if stay else []
    said += [f"{counted(aside, 'file')} that came since now in the bin"] if aside else []
    return said + ([f"without {counted(len(gone), 'file')} that {'is' if len(gone) == 1 else 'are'} gone for good ({names})"] if gone else [])


def _said_of(folder: Folder, step: list[dict]) -> str:
    """A step as the versions call it."""
    if "source" not in step[0]:
        return can_undo(folder)
    return versions.captions_said(len({id for r in step for id in r.get("captions", {})}), str(step[0]["source"]))


def can_undo(folder: Folder) -> str:
    """What undo would take back, as a short text; '' if there is nothing."""
    step = folder._edits().last()
    if not step:
        return ""
    if "restored" in step[0]:
        return f"version {step[0]['restored']} brought back"
    if "focus" in step[0]:
        return counted(len(step[0]["focus"]), "crop")
    if "treated" in step[0]:
        return treatment.told(step[0]["treated"])
    if "beside" in step[0]:
        return f"removal of {counted(len(step[0]['beside']), 'control picture')}"
    if "came" in step[0]:
        return f"{counted(len(step[0]['came']), 'control picture')} added"
    if "removed" in step[0]:
        return f"removal of {counted(sum(len(r.get('removed', [])) for r in step), 'picture')}"
    return f"{counted(len({id for r in step for id in r.get('captions', {})}), 'caption')} ({step[0].get('source', '')})"


def _refuse(folder: Folder, ids: Sequence[str]) -> None:
    """Raises ValueError for a folder that nothing is taken out of, and for what is no picture's name."""
    if folder.in_place:
        raise ValueError(f"{folder.path} is used in place, and Easel does not take files out of your own folders; remove them there")
    for id in ids:
        folder._path_of(id)


def remove(folder: Folder, ids: Sequence[str]) -> int:
    """Put pictures with their captions, masks and control pictures aside; undo brings them back.  How many."""
    _refuse(folder, ids)
    with folder._locked():
        restoring.finish(folder)
        there = scan_folder(folder.path).files
        ids = [i for i in dict.fromkeys(ids) if i in there]
        if not ids:
            return 0
        with versions.step(folder, f"{counted(len(ids), 'picture')} removed"):
            op, scan = new_op(), scan_folder(folder.path)
            folder._edits().removed(op, ids)
            bin.put_aside(folder, scan, [n for n in bin.with_beside(scan, ids) if os.path.lexists(folder.path / n)], op)
            return len(ids)


def remove_references(folder: Folder, ids: Sequence[str]) -> int:
    """Put aside what these pictures are made from; they stay, and undo brings it back.  How many files."""
    _refuse(folder, ids)
    with folder._locked():
        restoring.finish(folder)
        scan, op = scan_folder(folder.path), new_op()
        stems = {stem_of(n) for n in scan.names if n not in ids}  # a.jpg and a.png may share it
        names = [n for id in dict.fromkeys(ids) if stem_of(id) not in stems for n in scan.controls.get(stem_of(id), ())]
        if names:
            flat = {real: name for name, real in scan.told.items()}
            with versions.step(folder, f"{counted(len(names), 'control picture')} removed"):
                folder._edits().beside(op, [flat.get(name, name) for name in names])
                bin.put_aside(folder, scan, names, op)
        return len(names)


def _put_beside(folder: Folder, op: str, names: Sequence[str]) -> int:
    """Control pictures that a step removed without their pictures, beside these again, all of each or none; what came in their place goes into the bin.  How many."""
    coming = [kept for kept in bin.contents(folder) if kept.step == op and kept.name in names] if names else []
    scan, stems = scan_folder(folder.path), {kept.beside for kept in coming}
    if since := [name for stem in stems for name in scan.controls.get(stem, ()) if name not in scan.told.values()]:
        bin.put_aside(folder, scan, since, new_op())
    coming = [kept for kept in coming if not os.path.lexists(folder.path / kept.name)]
    for kept in coming:
        bin.place(folder, kept.path, kept.name, move=True, record=kept.record)
    bin.sweep(folder)
    return len(coming)


def _take_beside(folder: Folder, came: Mapping[str, str]) -> int:
    """Control pictures that a step put beside a picture, in the bin; those that are others now stay.  How many."""
    scan = scan_folder(folder.path)
    names = [name for name, digest in came.items() if name in scan.owners() and name not in scan.told.values() and hash_of(folder.path / name) == digest]
    if names:
        bin.put_aside(folder, scan, names, new_op())
    return len(names)


def _put_back(folder: Folder, op: str, names: Sequence[str]) -> int:
    """What a step removed, in the dataset again; what lay beside a picture only with it.  How many pictures."""
    if not names:
        return 0
    there = [kept for kept in bin.contents(folder) if kept.step == op]
    coming = {k.name for k in there if k.kind == bin.PICTURE and not os.path.lexists(folder.path / k.name)}
    stems = {stem_of(name) for name in coming}
    for kept in sorted(there, key=lambda k: k.kind == bin.PICTURE):  # pictures last: one that was cut off goes on
        with_picture = kept.kind != bin.PICTURE and kept.beside in stems and not os.path.lexists(folder.path / kept.name)
        if kept.name in coming or with_picture:
            bin.place(folder, kept.path, kept.name, move=True, record=kept.record)
    bin.sweep(folder)
    return len(coming & set(names))
