"""What a file is by its name and by those beside it: a picture, the mask of one, or something that other trainers keep beside pictures.

A name alone decides little: `gas_mask.png` is a picture unless `gas.png` lies beside it.  Pictures with the same stem are the evidence.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

CONTROL = "is a control picture by its name, but there is no picture that it belongs to; rename it if it is one to learn from"
ANOTHER = "is a control picture of {owner}, which has another one, {used}; one is used"  # one of another kind: of one kind, further ones follow it
REGULAR = (
    "is a regularisation picture: learnt along with the others it would be taken for the thing itself. Make a dataset of its own of these, "
    "and add it to the run as one that is kept as it is"
)
DRAWN = "lies beside a training's own folder of pictures, where earlier results and logs are kept; add it by itself if it is one to learn from"

# OneTrainer: -masklabel, -condlabel.  ai-toolkit: .mask, .depth and others in _controls.  The rest: what people call them
_MASK = re.compile(r"^(.+)[-_. ](?:masklabel|mask)$", re.IGNORECASE)
_CONTROL = re.compile(
    r"^(.+?)(?:[-_. ](condlabel|cond|conditioning|control|controlnet|depth|canny|openpose|lineart|scribble|softedge)[-_]?(\d{1,2})?|\.(line|pose|inpaint))$",
    re.IGNORECASE,
)
_DRAWN = frozenset(("depth", "canny", "openpose", "lineart", "scribble", "softedge", "line", "pose", "inpaint"))  # of several kinds of drawings of a picture, one is used
_START = re.compile(r"^(.+)_start(\d{0,2})$", re.IGNORECASE)  # fal: root_start and root_end, the caption in root.txt
_NUMBERED = re.compile(r"^(.+?)[-_](\d{1,4})$")  # several control pictures of one picture

_MASK_FOLDER = re.compile(r"^_?(?:alpha[-_ ]?)?masks?(?:label|[-_ ]?images?)?s?$", re.IGNORECASE)
_CONTROL_FOLDER = re.compile(
    r"^(?:_?controls?(?:[-_ ]?\d{1,2})?|control(?:net)?[-_ ]?(?:images?|maps?)?|cond(?:ition(?:s|ings?)?)?(?:[-_ ]?(?:data|images?|maps?|label|\d{1,2}))?"
    r"|depth|canny|openpose|lineart|scribble|softedge)$",
    re.IGNORECASE,
)
_ALWAYS_CONTROL = re.compile(r"^_controls$", re.IGNORECASE)  # ai-toolkit makes it itself
_SOURCE_FOLDER = re.compile(r"^(?:sources?|src|inputs?|before|start|references?|refs?|originals?|orig|unedited)(?:[-_ ]?\d{1,2})?$", re.IGNORECASE)
_TARGET_FOLDER = re.compile(r"^(?:targets?|tgt|outputs?|after|end|edit(?:ed|s)?)$", re.IGNORECASE)
_REGULAR_FOLDER = re.compile(r"^(?:reg(?:s|ulari[sz]ation)?|class)(?:[-_ ]?(?:images?|data|dir))?$", re.IGNORECASE)
_DRAWN_FOLDER = re.compile(r"^(?:models?|logs?|samples?)$", re.IGNORECASE)
_KOHYA = re.compile(r"^(\d{1,3})_(\S.*)$")
ALL_PAIRS = 0.8  # share of a folder's pictures in start and end pairs, from which it is one of these


@dataclass(frozen=True)
class Role:
    """kind: picture, mask, control, regular, drawn.  owner: (folder, stem) of the picture that a mask or control picture belongs to, where there is
    one.  reason: why it is not learnt.

    place: which of several control pictures it is, by its folder and by its name, from 1.  drawn: what it is drawn as, "canny" say; "" for what a picture is made from."""

    kind: str
    owner: tuple[str, str] = ("", "")
    reason: str = ""
    place: tuple[int, int] = (1, 1)
    drawn: str = ""


PICTURE = Role("picture")


def beside(names: Iterable[str], text_stems: Collection[str] = ()) -> dict[str, Role]:
    """The roles of the files of one folder that are no pictures, by their names alone.  text_stems: of the captions there."""
    names = list(names)
    found: dict[str, Role] = {}
    by_stem = {_folded(_stem(n)): _stem(n) for n in names}
    for name in names:
        stem = _stem(name)
        for pattern, kind in ((_MASK, "mask"), (_CONTROL, "control")):
            match = pattern.match(stem)
            if match and (owner := by_stem.get(_folded(match[1]))) is not None:
                found[name] = Role("control", ("", owner), CONTROL, (1, _number(match[3])), _drawn(match)) if kind == "control" else Role(kind, ("", owner))
    starts = {n: m for n in names if n not in found and (m := _START.match(_stem(n))) and _folded(m[1] + "_end") in by_stem}
    if starts:
        in_pairs = len(starts) + sum(_folded(_stem(n)).endswith("_end") for n in names) >= ALL_PAIRS * len(names)
        said = {_folded(s) for s in text_stems}
        found |= {n: Role("control", ("", by_stem[_folded(m[1] + "_end")]), CONTROL, (1, _number(m[2]))) for n, m in starts.items() if in_pairs or _folded(m[1]) in said}
    return found


def roles(files: Sequence[tuple[str, str]], text_files: Collection[tuple[str, str]] = (), there: Collection[str] = ()) -> list[Role]:
    """The role of each (folder, name).  text_files: captions that came along.  there: names of pictures that are in the dataset already."""
    made = [PICTURE] * len(files)
    folders: dict[str, list[int]] = {}
    for at, (folder, _) in enumerate(files):
        folders.setdefault(folder, []).append(at)
    for folder, places in folders.items():
        known = there if not folder else ()
        local = beside([*(files[at][1] for at in places), *known], {_stem(n) for f, n in text_files if f == folder})
        for at in places:
            role = local.get(files[at][1], PICTURE)
            made[at] = replace(role, owner=(folder, role.owner[1])) if role.owner[1] else role
    _by_folder(files, folders, made)
    return made


def _by_folder(files: Sequence[tuple[str, str]], folders: dict[str, list[int]], made: list[Role]) -> None:
    """Roles that a folder gives to all in it, where the pictures around it bear it out."""
    marks = {folder: mark for folder in folders if (mark := _mark(folder, folders))}
    plain: dict[str, list[str]] = {}  # stem -> the ordinary folders that hold it
    for at, (folder, name) in enumerate(files):
        if folder not in marks and made[at].kind == "picture":
            plain.setdefault(_folded(_stem(name)), []).append(folder)
    for folder, (kind, around, rest) in marks.items():
        places = [at for at in folders[folder] if made[at].kind in ("picture", "mask", "control")]
        owners = {at: _owner(files[at][1], around, rest, plain) for at in places}
        if kind in ("regular", "drawn"):
            believed = any(_inside(f, around) for held in plain.values() for f in held)
        else:
            believed = any(owners.values()) or bool(_ALWAYS_CONTROL.match(PurePosixPath(folder).name))
        for at in places if believed else ():
            stem = _stem(files[at][1])
            as_mask = kind == "mask" or (kind == "control" and _MASK.match(stem) and owners[at])
            owner = owners[at] or ("", "")
            reason = {"mask": "", "control": CONTROL, "regular": REGULAR, "drawn": DRAWN}[kind]
            made[at] = Role("mask", owners[at] or ("", stem)) if as_mask else _placed(folder, around, stem, owner) if kind == "control" else Role(kind, ("", ""), reason)


def _placed(folder: str, around: str, stem: str, owner: tuple[str, str]) -> Role:
    """The role of a control picture by its folder: control_1/a before control_2/a, control/a_1 before control/a_2."""
    part = folder[len(around) :].lstrip("/").split("/")[0]
    numbered = re.search(r"(\d{1,2})$", part)
    word = part[: numbered.start()].rstrip("-_ ").casefold() if numbered else part.casefold()
    drawn = _CONTROL.match(stem)
    by_name = drawn[3] if drawn else m[2] if owner[1] and _folded(owner[1]) != _folded(stem) and (m := _NUMBERED.match(stem)) else None
    return Role("control", owner, CONTROL, (_number(numbered[1] if numbered else None), _number(by_name)), word if word in _DRAWN else _drawn(drawn))


def in_order(role: Role) -> tuple[bool, tuple[int, int]]:
    """By what control pictures of one picture are sorted: what it is made from comes before what is drawn of it, then by their numbers."""
    return bool(role.drawn), role.place


def is_pair_folder(name: str, beside: Collection[str]) -> bool:
    """Whether a folder of this name holds what pictures are made from, where folders of the names `beside` lie beside it."""
    if _CONTROL_FOLDER.match(name):
        return True
    return bool(_SOURCE_FOLDER.match(name)) and any(_TARGET_FOLDER.match(other) for other in beside)


def is_result_folder(name: str) -> bool:
    """Whether a folder of this name holds the results of pairs: what is learnt."""
    return bool(_TARGET_FOLDER.match(name)) or name.casefold() == "main"


def _number(said: str | None) -> int:
    return int(said) if said else 1


def _drawn(match: re.Match[str] | None) -> str:
    word = (match[2] or match[4]).casefold() if match else ""
    return word if word in _DRAWN else ""


def _mark(folder: str, folders: Collection[str]) -> tuple[str, str, str] | None:
    """(kind, the folder around it, the path below it) of the first part of a path that says what is inside; None for an ordinary one."""
    parts = folder.split("/")
    for at, part in enumerate(parts):
        around, rest = "/".join(parts[:at]), "/".join(parts[at + 1 :])
        siblings = {f[len(around) :].lstrip("/").split("/")[0] for f in folders if _inside(f, around)}
        for pattern, kind in ((_MASK_FOLDER, "mask"), (_CONTROL_FOLDER, "control"), (_REGULAR_FOLDER, "regular")):
            if pattern.match(part):
                return kind, around, rest
        if _SOURCE_FOLDER.match(part) and any(_TARGET_FOLDER.match(s) for s in siblings):
            return "control", around, rest
        if _DRAWN_FOLDER.match(part) and any(_KOHYA.match(PurePosixPath(f).name) and _inside(f, around) and f != folder for f in folders):
            return "drawn", around, rest
    return None


def _owner(name: str, around: str, rest: str, plain: dict[str, list[str]]) -> tuple[str, str] | None:
    """(folder, stem) of the picture that a mask or control picture belongs to: in the same place beside its folder, else anywhere around it."""
    stem = _stem(name)
    tried = [stem, *(m[1] for pattern in (_MASK, _CONTROL, _NUMBERED) if (m := pattern.match(stem)))]
    for wanted in tried:
        held = [f for f in plain.get(_folded(wanted), []) if _inside(f, around)]
        same = [f for f in held if f == "/".join(p for p in (around, rest) if p) or f[len(around) :].lstrip("/").partition("/")[2] == rest]
        if held:
            return (same or held)[0], wanted
    return None


def kohya_folder(folder: str) -> tuple[int, str] | None:
    """(repeats, words) of a folder called `10_zibbo woman`, as kohya's scripts read it; None for another."""
    match = _KOHYA.match(PurePosixPath(folder).name)
    return (int(match[1]), match[2].strip()) if match and 0 < int(match[1]) else None


class Pairing:
    """Finds the pictures that a caption of some stem belongs to.  names: (file name, what it stands for)."""

    def __init__(self, names: Iterable[tuple[str, str]]):
        self._exact: dict[str, list[str]] = {}
        self._whole: dict[str, list[str]] = {}
        self._folded: dict[str, dict[str, list[str]]] = {}
        for name, id in names:
            stem, whole = _stem(name), unicodedata.normalize("NFC", name)
            self._exact.setdefault(stem, []).append(id)
            self._whole.setdefault(whole, []).append(id)
            for key in (_folded(stem), _folded(whole)):
                self._folded.setdefault(key, {}).setdefault(stem, []).append(id)

    def of(self, stem: str) -> list[str]:
        """By stem, by whole name (`1.jpg.txt`), then by both in any case, then by fal's habit (`1.txt` for `1_end.jpg`); [] where that is not clear."""
        near = self._folded.get(_folded(stem)) or self._folded.get(_folded(stem + "_end"), {})
        found = self._exact.get(stem) or self._whole.get(stem) or (next(iter(near.values())) if len(near) == 1 else [])
        return list(dict.fromkeys(found))


def _inside(folder: str, around: str) -> bool:
    return not around or folder == around or folder.startswith(around + "/")


def _stem(name: str) -> str:
    return unicodedata.normalize("NFC", name.rpartition(".")[0] or name)


def _folded(text: str) -> str:
    return text.casefold()


