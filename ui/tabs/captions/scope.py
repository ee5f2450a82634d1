"""Which pictures the Captions tab shows, and which an edit of several reaches: the selected ones, else all that match.  Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from training.data.captions import clean_caption
from training.data.datasets import Picture
from training.data.tags import key_of, tags_of
from training.data.tally import Tally

ALL, BARE, CUT, SAME, LACKS = "ok", "no caption", "cut", "same", "lacks"
FILTERS = [("All captions", ALL), ("Without a caption", BARE), ("Longer than is read", CUT), ("Same as another", SAME), ("Without the trigger word", LACKS)]
FIRST_VIEW = {"page": 0, "query": "", "only": ALL, "tags": [], "any": False, "picks": [], "cloud": "common", "find": ""}


def matching(pictures: Iterable[Picture], view: dict, told: Tally) -> list[Picture]:
    """The usable pictures that search and filter leave, whatever their tags."""
    words = clean_caption(view["query"]).casefold().split()
    only = {BARE: told.bare, CUT: told.long, SAME: told.same, LACKS: told.lacking}.get(view["only"])
    among = None if only is None else set(only)
    found = [p for p in pictures if p.usable and (among is None or p.id in among)]
    return [p for p in found if all(w in f"{p.id} {p.caption}".casefold() for w in words)] if words else found


def tagged(pictures: Iterable[Picture], tags: Sequence[str], any_of: bool) -> list[Picture]:
    """Those that have all of these tags, or any of them."""
    keys = set(map(key_of, tags))
    if not keys:
        return list(pictures)
    has = lambda p: keys & {key for caption in p.captions for key in tags_of(caption)}
    return [p for p in pictures if (has(p) if any_of else has(p) == keys)]


def reached(matches: Sequence[Picture], view: dict, pictures: Iterable[Picture]) -> list[Picture]:
    """Those that have a caption, of the selected ones; of all that match where none is selected."""
    picks = set(view["picks"])
    return [p for p in (pictures if picks else matches) if p.usable and p.caption and (not picks or p.id in picks)]


def to_caption(shown: Sequence[Picture], view: dict, pictures: Sequence[Picture]) -> tuple[list[Picture], str]:
    """(whom a captioner reaches, that in a sentence where it is not all): the selected ones; what is shown where something is looked for; else all."""
    picks = set(view["picks"])
    if picks:
        found = [p for p in pictures if p.usable and p.id in picks]
        return found, f"Only {_these(len(found), 'selected')}."
    if view["tags"] or view["query"] or view["only"] != ALL:
        return list(shown), f"Only {_these(len(shown), 'shown')}, on every page." if shown else "No picture is shown, so none is reached."
    return [p for p in pictures if p.usable], ""


def _these(number: int, how: str) -> str:
    return f"the picture that is {how}" if number == 1 else f"the {number:,} pictures that are {how}"
