"""Find and replace in captions, letter by letter or by a regular expression, and what would change, before it does."""

from __future__ import annotations

import difflib
import re
import time
import unicodedata
from collections.abc import Callable, Mapping
from typing import NamedTuple

from ..config import expression
from .captions import MAX_BYTES, clean_lines

MOST_S = 3.0  # for all captions together
MAX_PATTERN = 2000  # letters
SHOWN = 20  # captions of a preview
MAX_COMPARED = 4000  # letters of a caption whose changes are marked one by one

Change = Callable[[str], str]


class Piece(NamedTuple):
    """A part of a caption.  kind: same, out (it goes) or new (it comes)."""

    kind: str
    text: str


class Preview(NamedTuple):
    """What a change would do.  changed: how many captions; emptied: how many of them would be empty; shown: {picture: its pieces} of the first."""

    changed: int
    emptied: int
    shown: dict[str, tuple[Piece, ...]]


def replacing(find: str, replace: str, pattern: bool = False, case: bool = True, most_s: float = MOST_S) -> Change:
    """What makes the change in one caption.  pattern: `find` is a regular expression, and \\1 in `replace` is its first group.

    The time counts from now, over all captions.  Raises ValueError where it makes no sense or, later, takes too long.
    """
    find, replace = (unicodedata.normalize("NFC", t) for t in (find, replace))
    if not find:
        raise ValueError("type the text to look for")
    if len(find) > MAX_PATTERN:
        raise ValueError(f"the text to look for has {len(find):,} letters; {MAX_PATTERN:,} is the most")
    if not pattern and case:
        return lambda text: text.replace(find, replace)
    return _by_expression(find if pattern else re.escape(find), replace if pattern else replace.replace("\\", "\\\\"), case, most_s)


def _by_expression(find: str, replace: str, case: bool, most_s: float) -> Change:
    import regex  # type: ignore[import-untyped]  # Python's own cannot be stopped: one pattern on one caption may take longer than the sun will shine

    try:
        compiled = regex.compile(expression(find), regex.V0 | (0 if case else regex.IGNORECASE))
        _template(compiled, replace)
    except (regex.error, IndexError) as error:
        raise ValueError(_unusable(find, replace, error)) from None
    until = time.monotonic() + most_s

    def change(text: str) -> str:
        left_s = until - time.monotonic()
        try:
            made = compiled.sub(replace, text, timeout=left_s) if left_s > 0 else None
        except TimeoutError:
            made = None
        except (regex.error, IndexError) as error:  # of the replacement, which is read at the first match
            raise ValueError(_unusable(find, replace, error)) from None
        if made is None:
            raise ValueError(f"this expression takes too long on these captions: over {most_s:g} s. Repeats inside of repeats, such as (a+)+, are the usual cause; write it without them")
        if len(made) > MAX_BYTES:
            raise ValueError(f"a caption would become {len(made) / 1e6:.0f} million letters long; {MAX_BYTES // 10**6} million bytes is the most")
        return made

    return change


def _unusable(find: str, replace: str, error: Exception) -> str:
    return f"{find!r} with {replace!r} in its place cannot be used ({error}); \\1 is the first pair of brackets, \\\\ a backslash"


def _template(compiled, replace: str) -> None:
    """Raises what a match would raise for groups that the expression does not have."""
    if len(replace) - len(replace.rstrip("\\")) & 1:
        raise IndexError("it ends with a single backslash")
    for number in re.findall(r"(?<!\\)(?:\\\\)*\\([1-9]\d?)", replace):
        if int(number) > compiled.groups:
            raise IndexError(f"it has {compiled.groups} pairs of brackets, and \\{number} asks for one more" if compiled.groups else f"it has no pair of brackets for \\{number}")
    for name in re.findall(r"\\g<([^>]*)>", replace):
        if name not in compiled.groupindex and not (name.isdecimal() and int(name) <= compiled.groups):
            raise IndexError(f"it has no group called {name}")


def preview(captions: Mapping[str, str], change: Change) -> Preview:
    """What `change` would do to these captions: {picture: text}."""
    changed, emptied, shown = 0, 0, {}
    for id, before in captions.items():
        after = clean_lines(change(before)) if before else before
        if after == before:
            continue
        changed += 1
        emptied += not after
        if len(shown) < SHOWN:
            shown[id] = compared(before, after)
    return Preview(changed, emptied, shown)


def compared(before: str, after: str) -> tuple[Piece, ...]:
    """What stays, goes and comes, in order; whole words, so that it can be read."""
    if max(len(before), len(after)) > MAX_COMPARED:
        return Piece("out", before), Piece("new", after)
    old, new = (re.findall(r"\w+|\s+|[^\w\s]", text) for text in (before, after))
    made: list[Piece] = []
    for kind, a, b, c, d in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if kind == "equal":
            made.append(Piece("same", "".join(old[a:b])))
            continue
        made += [Piece(k, "".join(words)) for k, words in (("out", old[a:b]), ("new", new[c:d])) if words]
    return tuple(made)
