"""Lines of a clip's caption that speak of one scene: `[0:04.2] A dog runs.` holds from there until the next such line.

The form is that of lyrics (LRC) and of many subtitles' exports.  Lines without a time speak of the whole clip, and are what a scene without
a line of its own is learnt with.  Programs that know nothing of it read a text file as ever.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

_STAMP = re.compile(r"\[(\d{1,3}):([0-5]?\d(?:\.\d{1,3})?)\]\s*")


class Line(NamedTuple):
    """at_s: when it begins to hold, seconds."""

    at_s: float
    text: str


def stamp(at_s: float) -> str:
    """The mark of a time: [1:04.25]."""
    minutes, seconds = divmod(round(at_s, 2), 60)
    whole, _, part = f"{seconds:05.2f}".partition(".")
    return f"[{minutes:.0f}:{whole}{'.' + part.rstrip('0') if part.rstrip('0') else ''}]"


def cut(line: str) -> tuple[str, str]:
    """(the mark that a line begins with, with the blank behind it, or ""; the rest)."""
    found = _STAMP.match(line)
    return (found[0], line[found.end() :]) if found else ("", line)


def is_timed(text: str) -> bool:
    """Whether some line of a caption speaks of one scene."""
    return "[" in text and any(cut(line)[0] for line in text.split("\n"))


def parted(text: str) -> tuple[str, list[Line]]:
    """(what is said of the whole clip, the lines that speak of scenes in the order of their times)."""
    whole, lines = [], []
    for line in text.split("\n"):
        if found := _STAMP.match(line):
            lines.append(Line(60 * int(found[1]) + float(found[2]), line[found.end() :].strip()))
        else:
            whole.append(line)
    return "\n".join(whole).strip("\n"), sorted((line for line in lines if line.text), key=lambda line: line.at_s)


def joined(whole: str, lines: Sequence[Line]) -> str:
    """The text of both."""
    return "\n".join([whole] * bool(whole) + [f"{stamp(line.at_s)} {line.text}" for line in lines])


def said(text: str, start_s: float, end_s: float) -> str:
    """What a caption says of a piece of its clip: the lines that hold for most of it; else what is said of the whole, else the next line there is."""
    whole, lines = parted(text)
    if not lines:
        return text
    times = sorted({line.at_s for line in lines})
    holds = {at: min(end_s, until) - max(start_s, at) for at, until in zip(times, [*times[1:], float("inf")], strict=True)}
    best = max(times, key=lambda at: holds[at])
    unsaid = times[0] - start_s  # before the first line
    if holds[best] > 0 and (holds[best] >= unsaid or not whole):
        return "\n".join(line.text for line in lines if line.at_s == best)
    return whole or "\n".join(line.text for line in lines if line.at_s == times[0])
