"""Which runs a line of text finds: words in what they are called and say, and preset:, family:, dataset:, tag:, status:, after: and before: a date."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .. import registry
from . import notes
from .run import STATUSES, Run

KEYS = ("preset", "family", "dataset", "tag", "status", "after", "before")
_TERM = re.compile(rf'(?:(?P<key>{"|".join(KEYS)}):)?(?:"(?P<quoted>[^"]*)"?|(?P<word>\S+))', re.IGNORECASE)
_DAY_S = 86_400.0


@dataclass(frozen=True)
class Facts:
    """What of a run can be looked for.  words: all of it, lower case."""

    id: str
    title: str
    preset: str
    family: str  # its id
    base: str  # the family as people know it
    datasets: tuple[str, ...]
    tags: tuple[str, ...]
    created_t: float
    words: str


@dataclass(frozen=True)
class Query:
    """words: each has to be somewhere.  must: (key, value), each has to hold; of tags all, of other keys one of those that are named."""

    words: tuple[str, ...] = ()
    must: tuple[tuple[str, str], ...] = ()
    after_t: float | None = None
    before_t: float | None = None

    @property
    def empty(self) -> bool:
        return self == Query()


_known: dict[str, tuple[tuple[dict[str, Any], notes.Notes], Facts]] = {}  # path of a run -> (its job and notes as they were read, what they say)
_REMEMBERED = 5000


def facts(run: Run) -> Facts:
    """Of one run; reckoned anew only where its job or its notes have changed.  Raises ValueError, OSError."""
    job, said = run.job(), notes.of(run)
    kept = _known.get(str(run.path))
    if kept and kept[0][0] is job and kept[0][1] is said:
        return kept[1]
    if len(_known) >= _REMEMBERED:
        _known.clear()
    found = _facts(run, job, said)
    _known[str(run.path)] = (job, said), found
    return found


def _facts(run: Run, job: dict[str, Any], said: notes.Notes) -> Facts:
    model, data = _part(job, "model"), _part(job, "data")
    family, source = str(model.get("family", "")), str(model.get("source", ""))
    uses = data.get("datasets")
    sets = tuple(str(use["name"]) for use in uses if isinstance(use, dict) and "name" in use) if isinstance(uses, list) else ()
    base = _called(family, source)
    preset, trigger = str(job.get("preset", "")), str(job.get("trigger", ""))
    words = " ".join((run.id, run.title, preset, family, base, source, trigger, *sets, *said.tags, said.text)).casefold()
    return Facts(run.id, run.title, preset, family, base, sets, said.tags, run.created_t, words)


def parse(text: str) -> Query:
    """What a line asks for.  A date that is none asks for nothing, as while it is being typed."""
    words, must = [], []
    after_t = before_t = None
    for match in _TERM.finditer(text[:1000]):
        key, value = (match["key"] or "").lower(), match["quoted"] if match["quoted"] is not None else match["word"]
        if key in ("after", "before"):
            day_t = _day(value)
            after_t, before_t = (day_t if day_t is not None else after_t, before_t) if key == "after" else (after_t, day_t if day_t is not None else before_t)
        elif key and value:
            must.append((key, value.casefold()))
        elif not key and value.removesuffix(":").lower() not in KEYS and value:
            words.append(value.casefold())
    return Query(tuple(words), tuple(must), after_t, before_t)


def matches(query: Query, of: Facts, status: str) -> bool:
    """Whether a run is one that is looked for.  status: as Run.status() has it, or the page."""
    if not all(word in of.words for word in query.words):
        return False
    if query.after_t is not None and of.created_t < query.after_t or query.before_t is not None and of.created_t >= query.before_t + _DAY_S:
        return False
    has = {
        "preset": (of.preset,), "family": (of.family, of.base), "dataset": of.datasets, "tag": of.tags, "status": ("running", status) if status == "starting" else (status,),
    }  # fmt: skip
    for key in {key for key, _ in query.must}:
        asked = [value for k, value in query.must if k == key]
        held = [_is(key, value, has[key]) for value in asked]
        if not (all(held) if key == "tag" else any(held)):
            return False
    return True


def find(runs: Iterable[Run], text: str) -> list[Run]:
    """Those of the runs that a line finds, in their order; one that cannot be read is left out."""
    query, found = parse(text), []
    for run in runs:
        try:
            if query.empty or matches(query, facts(run), run.status() if any(k == "status" for k, _ in query.must) else ""):
                found.append(run)
        except (ValueError, OSError):
            continue
    return found


def problem(text: str) -> str:
    """What of a line means nothing, in a sentence; "" where all does."""
    for match in _TERM.finditer(text[:1000]):
        key, value = (match["key"] or "").lower(), match["quoted"] if match["quoted"] is not None else match["word"]
        if key in ("after", "before") and _day(value) is None:
            return f"{value!r} is no date; write it as 2026-01-31"
        if key == "status" and not any(_is(key, value.casefold(), (status,)) for status in STATUSES):
            return f"there is no status {value!r}; there are: {', '.join(STATUSES)}"
    return ""


def _is(key: str, value: str, has: Iterable[str]) -> bool:
    """Tags and statuses as they are or as they begin; the rest also by a part of it."""
    return any(one.casefold().startswith(value) if key in ("tag", "status") else value in one.casefold() for one in has)


def _day(text: str) -> float | None:
    """When a day began here, UTC seconds: 2026-01-31, 2026-01 or 2026."""
    for form in ("%Y-%m-%d", "%Y-%m", "%Y"):
        try:
            return time.mktime(time.strptime(text, form))
        except (ValueError, OverflowError):
            continue
    return None


def _part(job: dict[str, Any], name: str) -> dict[str, Any]:
    part = job.get(name)
    return part if isinstance(part, dict) else {}


def _called(family: str, source: str) -> str:
    try:
        return str(registry.get("families", family).SPEC.called(source))
    except (ValueError, AttributeError):
        return family
