"""Pictures put aside, and the way back from that and from every other step."""

from __future__ import annotations

import os
from collections.abc import Sequence

from .edits import new_op
from .folder import Folder, is_focus
from .memory import scan as scan_folder
from .memory import stem_of
from .verdicts import counted


def undo(folder: Folder) -> str:
    """Take back the newest step: an edit, a bulk edit, a captioner's run, a removal.  A sentence on it; '' if there is none."""
    with folder._locked():
        edits = folder._edits()
        step = edits.last()
        if not step:
            return ""
        scan = scan_folder(folder.path)
        restored, changed_since, pictures, crops = set(), set(), 0, 0
        for record in reversed(step):
            for id, (before, after) in record.get("captions", {}).items():
                if id in scan.files and folder._caption_of(scan, id).text == after:
                    folder._write_caption(scan, id, before)
                    restored.add(id)
                elif id not in restored:
                    changed_since.add(id)
            pictures += _put_back(folder, record["op"], record.get("removed", []))
            back = {digest: before for digest, (before, after) in record.get("focus", {}).items() if is_focus(before)}
            if back:
                folder._write_focus(back)
                crops += len(back)
        edits.undo(step[0]["op"])
    said = [counted(pictures, "picture") + " put back"] if pictures else []
    said += [counted(crops, "crop") + " put back"] if crops else []
    said += [counted(len(restored), "caption") + " put back"] if restored else []
    said += [counted(len(changed_since), "caption") + " left alone, because changed since"] if changed_since else []
    return ", ".join(said) or "nothing was left to put back"


def can_undo(folder: Folder) -> str:
    """What undo would take back, as a short text; '' if there is nothing."""
    step = folder._edits().last()
    if not step:
        return ""
    if "focus" in step[0]:
        return counted(len(step[0]["focus"]), "crop")
    if "removed" in step[0]:
        return f"removal of {counted(sum(len(r.get('removed', [])) for r in step), 'picture')}"
    return f"{counted(len({id for r in step for id in r.get('captions', {})}), 'caption')} ({step[0].get('source', '')})"


def remove(folder: Folder, ids: Sequence[str]) -> int:
    """Put pictures with their captions, masks and control pictures aside; undo brings them back.  How many."""
    if folder.in_place:
        raise ValueError(f"{folder.path} is used in place, and Easel does not take files out of your own folders; remove them there")
    for id in ids:
        folder._path_of(id)
    with folder._locked():
        scan = scan_folder(folder.path)
        ids = [i for i in dict.fromkeys(ids) if i in scan.files]
        if not ids:
            return 0
        op = new_op()
        aside = folder.meta / "removed" / op
        aside.mkdir(parents=True)
        folder._edits().removed(op, ids)
        stems = {s: [n for n in scan.names if stem_of(n) == s] for s in map(stem_of, ids)}
        for id in ids:
            os.replace(folder.path / id, aside / id)
            shared = [n for n in stems[stem_of(id)] if n not in ids]  # a.jpg and a.png may share a.txt
            for beside in [*scan.texts.get(stem_of(id), []), *filter(None, [scan.masks.get(stem_of(id)), scan.controls.get(stem_of(id))])]:
                if not shared and (folder.path / beside).exists():
                    os.replace(folder.path / beside, aside / beside)
        return len(ids)


def _put_back(folder: Folder, op: str, names: Sequence[str]) -> int:
    aside = folder.meta / "removed" / op
    if not names or not aside.is_dir():
        return 0
    back = 0
    for found in sorted(aside.iterdir()):
        if not (folder.path / found.name).exists():
            back += found.name in names
            os.replace(found, folder.path / found.name)
    return back
