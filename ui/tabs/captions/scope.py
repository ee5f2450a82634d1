"""Which pictures the Captions tab shows, and which an edit of several reaches: the selected ones, else all that match.  Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from training.data.captions import clean_caption
from training.data.datasets import Picture
from training.data.tags import key_of, tags_of
from training.data.tally import Tally

from ...language import N_, tr, trn

ALL, BARE, CUT, SAME, LACKS = "ok", "bare", "cut", "same", "lacks"
FILTERS = {ALL: N_("All captions"), BARE: N_("Without a caption"), CUT: N_("Longer than is read"), SAME: N_("Same as another"), LACKS: N_("Without the trigger word")}
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


@dataclass(frozen=True)
class Whom:
    """Whom a captioner reaches.  how: "selected" or "shown"; "" for all."""

    pictures: list[Picture]
    how: str = ""

    @property
    def mark(self) -> str:
        """What goes with a press, in no language, so that it reaches whom the page said; "" for all."""
        return f"{self.how} {len(self.pictures)}" if self.how else ""

    @property
    def said(self) -> str:
        """The same in a sentence; "" for all."""
        if self.how == "selected":
            return trn("Only the picture that is selected.", "Only the {n} pictures that are selected.", len(self.pictures))
        if self.how and not self.pictures:
            return tr("No picture is shown, so none is reached.")
        return trn("Only the picture that is shown, on every page.", "Only the {n} pictures that are shown, on every page.", len(self.pictures)) if self.how else ""


def to_caption(shown: Sequence[Picture], view: dict, pictures: Sequence[Picture]) -> Whom:
    """The selected ones; what is shown where something is looked for; else all."""
    picks = set(view["picks"])
    if picks:
        return Whom([p for p in pictures if p.usable and p.id in picks], "selected")
    if view["tags"] or view["query"] or view["only"] != ALL:
        return Whom(list(shown), "shown")
    return Whom([p for p in pictures if p.usable])
