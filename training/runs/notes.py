"""What people say of a run: how good its pictures are, a note, tags, prompts that they do not want to see.  In its folder, notes.jsonl, one line each.

Only the page writes it (and programs through the page), never a worker.  It goes along when the run is exported; a report of a problem has nothing of it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import Any

from . import journal
from .events import LINE, WORD, RunView
from .run import Run

FILE = "notes.jsonl"
MOST_BYTES = 16 << 20
MOST_STARS = 5
MOST_TAGS, MOST_TAG_CHARS, MOST_TEXT_CHARS = 30, 40, 10_000
MOST_PICTURES = 10_000
MOST_PAIRS = 5000
_REMEMBERED = 2000

_read: dict[str, tuple[tuple[int, int, int], Notes]] = {}  # path -> (time, size, file), and what it says: what did not change is not read again


@dataclass(frozen=True)
class Notes:
    """rated: picture -> 1 to 5.  starred: pictures that somebody wants to find again.  hidden: (index, prompt) of prompts that are not shown."""

    text: str = ""
    tags: tuple[str, ...] = ()
    rated: dict[str, int] = field(default_factory=dict)
    starred: frozenset[str] = frozenset()
    hidden: frozenset[tuple[int, str]] = frozenset()


_NONE = Notes()


def of(run: Run) -> Notes:
    """What was said of a run until now; what is no note in the file is passed over."""
    path = run.path / FILE
    try:
        found = path.lstat()
    except OSError:
        return _NONE
    state = (found.st_mtime_ns, found.st_size, found.st_ino)
    if str(path) not in _read or _read[str(path)][0] != state:
        if len(_read) >= _REMEMBERED:
            _read.clear()
        _read[str(path)] = state, _of_file(path)
    return _read[str(path)][1]


def fold(notes: Notes, records: Iterable[dict[str, Any]]) -> Notes:
    """`notes` after the records."""
    rated, starred, hidden = dict(notes.rated), dict.fromkeys(notes.starred), dict.fromkeys(notes.hidden)
    for record in records:
        kind, value, told = record.get("kind"), record.get("value"), record.get("picture")
        picture = told if isinstance(told, str) else ""
        if kind == "note" and isinstance(value, str):
            notes = replace(notes, text=value[:MOST_TEXT_CHARS])
        elif kind == "tags" and isinstance(value, list):
            notes = replace(notes, tags=_tags(value))
        elif kind == "rate" and _is_picture(picture) and isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MOST_STARS:
            rated.pop(picture, None)
            if value and len(rated) < MOST_PICTURES:
                rated[picture] = value
        elif kind == "star" and _is_picture(picture):
            _set(starred, picture, value is True)
        elif kind == "hide" and isinstance(record.get("prompt"), str) and isinstance(record.get("index"), int):
            _set(hidden, (record["index"], record["prompt"][:LINE]), value is True)
    return replace(notes, rated=rated, starred=frozenset(starred), hidden=frozenset(hidden))


# what is said


def rate(run: Run, picture: str, stars: int) -> None:
    """A sample has 1 to 5 stars; 0 takes them back.  Raises ValueError for what is no sample of the run, OSError."""
    if not 0 <= stars <= MOST_STARS:
        raise ValueError(f"a picture gets 1 to {MOST_STARS}, or 0 for none; {stars} is neither")
    _add(run, kind="rate", picture=_sample(run, picture), value=stars)


def star(run: Run, picture: str, on: bool) -> None:
    """A sample is one to find again, or no longer.  Raises ValueError, OSError."""
    _add(run, kind="star", picture=_sample(run, picture), value=on)


def hide(run: Run, index: int, prompt: str, on: bool) -> None:
    """A prompt's pictures are not shown, or shown again.  Nothing is deleted.  Raises OSError."""
    _add(run, kind="hide", index=index, prompt=prompt[:LINE], value=on)


def say(run: Run, text: str) -> None:
    """The run's note.  Raises ValueError where it is too long, OSError."""
    if len(text) > MOST_TEXT_CHARS:
        raise ValueError(f"the note has {len(text):,} characters; {MOST_TEXT_CHARS:,} is the most. Shorten it")
    _add(run, kind="note", value=text.strip())


def tag(run: Run, tags: Iterable[str]) -> None:
    """The run's tags are these.  Raises ValueError where there are too many or one is too long, OSError."""
    found = list(dict.fromkeys(text for tag in tags if (text := " ".join(tag.split()).lstrip("#"))))
    if len(found) > MOST_TAGS:
        raise ValueError(f"these are {len(found)} tags; {MOST_TAGS} is the most. Leave some out")
    if longest := next((text for text in found if len(text) > MOST_TAG_CHARS), ""):
        raise ValueError(f"the tag {longest[:MOST_TAG_CHARS]!r}… has {len(longest)} characters; {MOST_TAG_CHARS} is the most")
    _add(run, kind="tags", value=found)


# what follows from it


def preferred(view: RunView, notes: Notes) -> list[tuple[str, str, float]]:
    """The ratings as votes between checkpoints: of one prompt's pictures, whose seed is the same, the one with more stars wins, and equal ones are a draw.

    As votes.jsonl has them: (one, other, what the first one won), by their steps, that of a finished run's result as "final".  The base model, step 0, stands in none.
    """
    rows: dict[tuple[int, str], list[tuple[int, int]]] = {}
    for step, index, prompt, path, _ in view.samples:
        if step and path in notes.rated:
            rows.setdefault((index, prompt), []).append((step, notes.rated[path]))
    last = (view.result_step or view.of) if view.result else 0
    return [pair for rated in rows.values() for pair in _pairs(rated, last)][:MOST_PAIRS]


def means(view: RunView, notes: Notes) -> dict[int, tuple[float, int]]:
    """{step: (mean of its stars, how many of its pictures were rated)}."""
    found: dict[int, list[int]] = {}
    for step, _, _, path, _ in view.samples:
        if path in notes.rated:
            found.setdefault(step, []).append(notes.rated[path])
    return {step: (sum(stars) / len(stars), len(stars)) for step, stars in sorted(found.items())}


def _pairs(rated: list[tuple[int, int]], last: int) -> Iterator[tuple[str, str, float]]:
    for (one, stars), (other, others) in combinations(rated, 2):
        if one != other:
            first, second = ("final" if step == last else str(step) for step in (one, other))
            yield first, second, 0.5 + 0.5 * ((stars > others) - (stars < others))


def _of_file(path: Path) -> Notes:
    try:
        if journal.size_bytes(path) > MOST_BYTES:
            return Notes()
        return fold(Notes(), journal.read(path)[0])
    except (OSError, ValueError):
        return Notes()


def _add(run: Run, **record: Any) -> None:
    from ..hub.secrets import mask

    if journal.size_bytes(run.path / FILE) > MOST_BYTES - journal.BLOCK_BYTES:
        raise ValueError("so much was said of this run that no more can be kept; export it and start a new one")
    value = record["value"]
    record["value"] = mask(value) if isinstance(value, str) else [mask(one) for one in value] if isinstance(value, list) else value
    journal.append(run.path / FILE, {"t": round(time.time(), 3), **record})


def _sample(run: Run, picture: str) -> str:
    name = picture.removeprefix("samples/")
    if not _is_picture(f"samples/{name}") or not any(path.name == name for path in run.samples()):
        raise ValueError(f"{picture!r} is not a picture of this run")
    return f"samples/{name}"


def _is_picture(value: Any) -> bool:
    return isinstance(value, str) and value.startswith("samples/") and len(value) <= WORD


def _tags(value: list) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text[:MOST_TAG_CHARS] for text in value if isinstance(text, str) and text))[:MOST_TAGS]


def _set(among: dict, key: Any, on: bool) -> None:
    among.pop(key, None)
    if on and len(among) < MOST_PICTURES:
        among[key] = None
