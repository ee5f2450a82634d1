"""The versions of a dataset on its page: the list, two of them compared, one brought back, and the bin of removed pictures."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import Any

from training.data import bin, restoring, rewriting, states, versions
from training.data.bin import Kept
from training.data.datasets import Dataset
from training.data.states import Difference, State
from training.data.versions import Version
from training.home import Home
from training.outside import is_folder
from training.runs import exactly

from ... import views
from ...icons import icon
from ...server import media
from .tiles import TICK

LISTED, TILES, TEXTS = 8, 24, 20  # versions, pictures of a kind, and captions that are shown before "and … more"
NOW = 0  # stands for the dataset as it is, where two versions are compared

Thumb = Callable[[str], str]  # sha256 -> address of its thumbnail


@dataclass(frozen=True)
class Look:
    """What of it this browser shows.  compared: the numbers of two versions, NOW for the dataset as it is.  at: the version below which that stands.

    lacking: the version that would not come back whole.  page: of the bin.
    """

    everything: bool = False
    compared: tuple[int, int] | None = None
    at: int = 0
    lacking: int = 0
    emptying: bool = False
    page: int = 0

    @classmethod
    def of(cls, told: Mapping[str, Any], name: str) -> Look:
        """What a browser remembers of the dataset `name`; of another one it says nothing."""
        if told.get("of") != name:
            return cls()
        compared = told.get("compared")
        pair = (int(compared[0]), int(compared[1])) if compared else None
        return cls(bool(told.get("everything")), pair, int(told.get("at", 0)), int(told.get("lacking", 0)), bool(told.get("emptying")), int(told.get("page", 0)))

    def told(self, name: str) -> dict[str, Any]:
        return {"of": name, "page": self.page, "everything": self.everything, "compared": list(self.compared) if self.compared else None, "at": self.at, "lacking": self.lacking, "emptying": self.emptying}


def panel(ctx, ds: Dataset, look: Look) -> str:
    """All of it as HTML."""
    there = versions.listed(ds)
    thumb = lambda digest: media.kept_url(ctx, ds.name, digest)
    kept = bin.contents(ds)
    runs = {(row["version"], row["title"]) for row in versions.runs(ds) if is_folder(ctx.home.outputs / row["run"])}
    opened = _compared(ds, there, look.compared, look.at, thumb) if look.compared else _lacking(ds, look.lacking) if look.lacking else ""
    lost = _lost(ds, ctx.home) if look.emptying and kept else ""
    return (
        f'<div class="ez-past">{listed_html(there, versions.pending(ds), runs, look, time.time(), opened)}</div>'
        f"{bin_html(kept, bin.size_bytes(ds), look.emptying, lost, thumb, time.time(), look.page)}"
    )


def _lost(ds: Dataset, home: Home) -> str:
    """What emptying the bin costs, also where a damaged version does not let that be known."""
    try:
        return exactly.lost_with_bin(ds, home)
    except ValueError as error:
        return f"Which versions need what is in it cannot be told: {error}."


def act(ds: Dataset, home: Home, look: Look, word: str, key: str, ids: Sequence[str]) -> tuple[Look, str]:
    """(what is shown now, what to tell) after a button.  Raises ValueError."""
    plain = Look(everything=look.everything, page=look.page)
    if word == "leaf":
        return replace(look, page=int(key)), ""
    if word == "everything":
        return replace(look, everything=not look.everything), ""
    if word == "compare":
        first, second, at = (int(number) for number in key.split(":"))
        return Look(look.everything, (first, second), at), ""
    if word == "keep":
        made = versions.gather(ds)
        return plain, f"Version {made.id} is kept." if made else ""
    if word == "restore":
        id = int(key)
        if restoring.missing(ds, versions.read(ds, id)):
            return Look(look.everything, lacking=id), ""
    if word in ("restore", "rest"):
        return plain, _restored(ds, int(key))
    if word == "back":
        count = restoring.bring_back(ds, list(ids))
        return plain, f"{views.count(count, 'picture')} put back."
    if word == "ask":
        return Look(look.everything, look.compared, look.at, emptying=True), ""
    if word == "empty":
        return plain, f"The bin is empty; {views.size(bin.empty(ds))} are free again."
    return plain, ""


def _restored(ds: Dataset, id: int) -> str:
    done = restoring.restore(ds, id)
    if ds.in_place:
        return f"{views.sentence_start(restoring.told(ds, id, done))}. Undo takes that back."
    copied = f" {views.count(done.copied, 'file')} had to be copied, as this disk knows no hard links." if done.copied else ""
    return f"The dataset is what it was in version {id}. Undo takes that back.{copied}"


# -- HTML


def listed_html(there: Sequence[Version], pending: str, runs: set[tuple[int, str]], look: Look, now: float, opened: str = "") -> str:
    """The versions, newest first.  opened: what was asked of one of them, shown below it."""
    if not there:
        return '<p class="ez-muted ez-small">Every import, change of many captions and removal will be kept here as a version that can be brought back.</p>'
    rows = _pending(pending) if pending else ""
    shown = list(reversed(there))[: None if look.everything else LISTED]
    below = look.lacking or look.at
    below = below if any(v.id == below for v in shown) else shown[-1].id
    for v in shown:
        rows += _row(v, v is there[-1] and not pending, sorted(title for id, title in runs if id == v.id), now)
        rows += f'<li class="ez-opened">{opened}</li>' if opened and v.id == below else ""
    word = "Show fewer" if look.everything else f"Show all {len(there):,}"
    more = f'<button type="button" class="ez-link" data-act="everything">{word}</button>' if len(there) > LISTED else ""
    size = views.size(sum(v.size_bytes for v in there))
    return (
        f'<div class="ez-spread"><h3 class="ez-subtitle">Versions <span class="ez-count">{len(there):,}</span></h3>{more}</div><ol class="ez-versions">{rows}</ol>'
        f'<p class="ez-muted ez-small">They take {size} beside the pictures, which lie on the disk once. Of more than {versions.MOST}, the oldest go that no run was trained on.</p>'
    )


def _pending(said: str) -> str:
    return (
        f'<li class="ez-version"><span class="ez-version-id">+</span><div class="ez-version-text"><b>{escape(views.sentence_start(said))}</b>'
        '<span class="ez-muted ez-small">Since then. It becomes a version before the next step, or now.</span></div>'
        f'<div class="ez-acts"><button type="button" class="ez-btn" data-act="keep">{icon("save")}Keep</button></div></li>'
    )


def _row(version: Version, current: bool, titles: Sequence[str], now: float) -> str:
    chips = ('<span class="ez-chip ez-ok">now</span>' if current else "") + "".join(f'<span class="ez-chip" title="A run was trained on it">{icon("bolt")}{escape(t)}</span>' for t in titles[:3])
    facts = " · ".join(filter(None, (views.when(version.t, now), views.count(version.pictures, "picture"), _unsaid(version))))
    back = "" if current else f'<button type="button" class="ez-btn" data-act="restore" data-key="{version.id}" aria-label="Bring back version {version.id}">{icon("clock")}Bring back</button>'
    return (
        f'<li class="ez-version"><span class="ez-version-id ez-num">{version.id}</span><div class="ez-version-text"><b>{escape(version.did)}{chips}</b>'
        f'<span class="ez-muted ez-small ez-num">{escape(facts)}</span></div><div class="ez-acts">'
        f'<button type="button" class="ez-btn ez-quiet" data-act="compare" data-key="{version.id}:{NOW}:{version.id}" aria-label="Compare version {version.id} with the dataset as it is">Compare</button>{back}</div></li>'
    )


def _unsaid(version: Version) -> str:
    """What a version came to, as far as its name does not say so already."""
    parts = version.change.split(", ")
    return "" if all(" ".join(part.split()[:2]) in version.did for part in parts) else version.change


def _compared(ds: Dataset, there: Sequence[Version], pair: tuple[int, int], at: int, thumb: Thumb) -> str:
    try:
        before, after = (states.now(ds) if id == NOW else versions.read(ds, id) for id in pair)
    except ValueError as error:
        return f'<div class="ez-note ez-bad" role="status">{escape(views.sentence_start(str(error)))}</div>'
    return compared_html([v.id for v in there], pair, at, states.compare(before, after), before, after, thumb)


def compared_html(ids: Sequence[int], pair: tuple[int, int], at: int, found: Difference, before: State, after: State, thumb: Thumb) -> str:
    """Two versions, chosen by two lists, and what the second has that the first has not."""
    parts = [
        _pictures("Added", found.added, after, thumb), _pictures("Removed", found.removed, before, thumb), _pictures("Replaced by another file", found.replaced, after, thumb),
        _texts(found.captions), _rest(found),
    ]  # fmt: skip
    return (
        '<section class="ez-card ez-compared" aria-label="Two versions compared"><div class="ez-spread"><div class="ez-versus">'
        f'{_choice(ids, pair[0], "From")}<span class="ez-muted">→</span>{_choice(ids, pair[1], "To")}'
        f'<input type="hidden" value="{at}"><button type="button" class="ez-btn" data-act="compare" data-keys=".ez-versus :is(select, input)">Compare</button></div>'
        '<button type="button" class="ez-link" data-act="close">Close</button></div>'
        f"<p><b>{escape(views.sentence_start(found.says())) or 'Nothing differs.'}</b></p>{''.join(parts)}</section>"
    )


def _choice(ids: Sequence[int], chosen: int, label: str) -> str:
    rows = [(NOW, "as it is now"), *((id, f"version {id}") for id in reversed(ids))]
    options = "".join(f'<option value="{id}"{" selected" if id == chosen else ""}>{words}</option>' for id, words in rows)
    return f'<select class="ez-input" aria-label="{label}">{options}</select>'


def _pictures(title: str, names: Sequence[str], state: State, thumb: Thumb) -> str:
    if not names:
        return ""
    tiles = "".join(
        f'<li title="{escape(n)}"><img src="{escape(thumb(state.files[n]))}" alt="{escape(n)}" loading="lazy"><span class="ez-name">{escape(n)}</span></li>' for n in names[:TILES]
    )
    more = f'<p class="ez-muted ez-small">and {len(names) - TILES:,} more</p>' if len(names) > TILES else ""
    return f'<h4>{title} <span class="ez-count">{len(names):,}</span></h4><ul class="ez-strip-of">{tiles}</ul>{more}'


def _texts(found: Mapping[str, tuple[str, str]]) -> str:
    if not found:
        return ""
    marks = {"same": "{}", "out": "<del>{}</del>", "new": "<ins>{}</ins>"}
    rows = ""
    for name, (before, after) in list(found.items())[:TEXTS]:
        pieces = rewriting.compared(before, after)
        rows += f'<li><span class="ez-name">{escape(name)}</span><p>{"".join(marks[p.kind].format(escape(p.text)) for p in pieces)}</p></li>'
    more = f'<p class="ez-muted ez-small">and {len(found) - TEXTS:,} more</p>' if len(found) > TEXTS else ""
    return f'<h4>Captions <span class="ez-count">{len(found):,}</span></h4><ul class="ez-previewed">{rows}</ul>{more}'


def _rest(found: Difference) -> str:
    """Crops, repeats and settings: what the first line says is all there is to see of them, but the names."""
    return f'<h4>Counted otherwise</h4><p class="ez-small">{escape(", ".join(found.repeats[:TEXTS]))}</p>' if found.repeats else ""


def _lacking(ds: Dataset, id: int) -> str:
    try:
        gone = restoring.missing(ds, versions.read(ds, id))
    except ValueError as error:
        return f'<div class="ez-note ez-bad" role="status">{escape(views.sentence_start(str(error)))}</div>'
    return lacking_html(id, gone) if gone else ""


def lacking_html(id: int, gone: Sequence[str]) -> str:
    """Before a version comes back that cannot come back whole."""
    names = ", ".join(gone[:10]) + (f" and {len(gone) - 10:,} more" if len(gone) > 10 else "")
    is_are = "is" if len(gone) == 1 else "are"
    return (
        f'<div class="ez-note ez-warn" role="status"><p><b>{views.count(len(gone), "file")} of version {id} {is_are} gone for good</b>: {escape(names)}. The rest can come back.</p>'
        f'<div class="ez-acts"><button type="button" class="ez-btn" data-act="rest" data-key="{id}">Bring back the rest</button>'
        '<button type="button" class="ez-btn ez-quiet" data-act="close">Leave it</button></div></div>'
    )


def bin_html(kept: Sequence[Kept], size_bytes: int, emptying: bool, lost: str, thumb: Thumb, now: float, page: int = 0) -> str:
    """The removed pictures with what they take, a page of them, to be put back or deleted."""
    if not kept:
        return ""
    pictures = [k for k in kept if k.kind == bin.PICTURE]
    page = max(0, min(page, (len(pictures) - 1) // TILES))
    tiles = "".join(_kept(k, thumb, now) for k in pictures[page * TILES : (page + 1) * TILES])
    more = _leaves(page, len(pictures)) if len(pictures) > TILES else ""
    ask = "" if emptying else f'<button type="button" class="ez-btn" data-act="ask">{icon("trash")}Empty the bin</button>'
    sure = (
        f'<div class="ez-note ez-warn" role="status"><p><b>Delete {views.size(size_bytes)} for good?</b> {escape(lost) or "No version needs what is in it."}</p>'
        '<div class="ez-acts"><button type="button" class="ez-btn ez-destroy" data-act="empty">Delete for good</button>'
        '<button type="button" class="ez-btn ez-quiet" data-act="close">Keep it</button></div></div>'
        if emptying
        else ""
    )
    return (
        '<div class="ez-bin"><div class="ez-picks" hidden><b class="ez-num" data-count></b><button type="button" class="ez-btn" data-act="none">Clear</button>'
        '<button type="button" class="ez-btn ez-primary" data-act="back">Put back</button></div>'
        f'<div class="ez-spread"><h3 class="ez-subtitle">Bin <span class="ez-count">{views.count(len(pictures), "picture")}, {views.size(size_bytes)}</span></h3>{ask}</div>'
        f'{sure}<div class="ez-grid ez-binned" role="list">{tiles}</div>{more}</div>'
    )


def _leaves(page: int, total: int) -> str:
    """Which pictures of the bin are shown, and buttons to those before and after."""
    first, until = page * TILES + 1, min(total, (page + 1) * TILES)
    rows = ((page - 1, "Previous page of the bin", "‹", page > 0), (page + 1, "Next page of the bin", "›", until < total))
    turns = "".join(f'<button type="button" data-act="leaf" data-key="{to}" aria-label="{label}"{"" if possible else " disabled"}>{sign}</button>' for to, label, sign, possible in rows)
    return f'<nav class="ez-pager" aria-label="Pages of the bin"><span class="ez-muted ez-num">{first:,}–{until:,} of {total:,}</span><div>{turns}</div></nav>'


def _kept(kept: Kept, thumb: Thumb, now: float) -> str:
    name, when = escape(kept.name, quote=True), views.when(kept.t, now) if kept.t else views.size(kept.size_bytes)
    return (
        f'<div class="ez-tile" role="listitem" data-id="{escape(kept.key, quote=True)}"><div class="ez-thumb"><img src="{escape(thumb(kept.sha256))}" alt="{name}" loading="lazy"></div>'
        f'<label class="ez-tick" title="Select"><input type="checkbox" data-pick aria-label="Select {name}"><span>{TICK}</span></label>'
        f'<div class="ez-tile-text"><p class="ez-name" title="{name}">{name}</p><p class="ez-name" title="Removed; {views.size(kept.size_bytes)}">{escape(when)}</p></div></div>'
    )
