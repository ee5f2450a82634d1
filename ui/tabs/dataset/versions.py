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

from ... import counted, views
from ...icons import icon
from ...language import tr, trc, trn, whole
from ...language.heard import heard
from ...server import media
from .tiles import tick

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
        found = exactly.lost_in_bin(ds, home)
    except ValueError as error:
        return tr("Which versions need what is in it cannot be told: {why}.", why=heard(str(error)))
    return lost_says(found) if found else tr("No version needs what is in it.")


def lost_says(lost: exactly.Lost) -> str:
    """What emptying the bin costs, in a sentence."""
    first, last, n = str(lost.versions[0]), str(lost.versions[-1]), lost.pictures
    quoted = [tr("“{title}”", title=title) for title in lost.titles]
    runs = counted.names(quoted, exactly.NAMED)
    if len(lost.versions) == 1:
        if not quoted:
            return trn(
                "Version {version} can then no longer come back whole: {n} picture is kept nowhere else in this dataset.",
                "Version {version} can then no longer come back whole: {n} pictures are kept nowhere else in this dataset.", n, version=first,
            )  # fmt: skip
        if len(quoted) == 1:
            return trn(
                "Version {version} can then no longer come back whole, nor can the run {run} be trained again on exactly the same: {n} picture is kept nowhere else in this dataset.",
                "Version {version} can then no longer come back whole, nor can the run {run} be trained again on exactly the same: {n} pictures are kept nowhere else in this dataset.",
                n, version=first, run=runs,
            )  # fmt: skip
        return trn(
            "Version {version} can then no longer come back whole, nor can the runs {runs} be trained again on exactly the same: {n} picture is kept nowhere else in this dataset.",
            "Version {version} can then no longer come back whole, nor can the runs {runs} be trained again on exactly the same: {n} pictures are kept nowhere else in this dataset.",
            n, version=first, runs=runs,
        )  # fmt: skip
    if not quoted:
        return trn(
            "Versions {first} to {last} can then no longer come back whole: {n} picture is kept nowhere else in this dataset.",
            "Versions {first} to {last} can then no longer come back whole: {n} pictures are kept nowhere else in this dataset.", n, first=first, last=last,
        )  # fmt: skip
    if len(quoted) == 1:
        return trn(
            "Versions {first} to {last} can then no longer come back whole, nor can the run {run} be trained again on exactly the same: {n} picture is kept nowhere else in this dataset.",
            "Versions {first} to {last} can then no longer come back whole, nor can the run {run} be trained again on exactly the same: {n} pictures are kept nowhere else in this dataset.",
            n, first=first, last=last, run=runs,
        )  # fmt: skip
    return trn(
        "Versions {first} to {last} can then no longer come back whole, nor can the runs {runs} be trained again on exactly the same: {n} picture is kept nowhere else in this dataset.",
        "Versions {first} to {last} can then no longer come back whole, nor can the runs {runs} be trained again on exactly the same: {n} pictures are kept nowhere else in this dataset.",
        n, first=first, last=last, runs=runs,
    )  # fmt: skip


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
        return plain, tr("Version {version} is kept.", version=str(made.id)) if made else ""
    if word == "restore":
        id = int(key)
        if restoring.missing(ds, versions.read(ds, id)):
            return Look(look.everything, lacking=id), ""
    if word in ("restore", "rest"):
        return plain, _restored(ds, int(key))
    if word == "back":
        count = restoring.bring_back(ds, list(ids))
        return plain, trn("{n} picture put back.", "{n} pictures put back.", count)
    if word == "ask":
        return Look(look.everything, look.compared, look.at, emptying=True), ""
    if word == "empty":
        return plain, tr("The bin is empty; {size} are free again.", size=views.size(bin.empty(ds)))
    return plain, ""


def _restored(ds: Dataset, id: int) -> str:
    done = restoring.restore(ds, id)
    version, back, missing = str(id), tr("Undo takes that back."), len(done.missing)
    if ds.in_place and missing:
        told = trn(
            "Captions and settings of {title} are what they were in version {version}; its pictures are used in place, and Easel changes none of them: {n} file of that version is gone or another one now.",
            "Captions and settings of {title} are what they were in version {version}; its pictures are used in place, and Easel changes none of them: {n} files of that version are gone or other ones now.",
            missing, title=ds.title, version=version,
        )  # fmt: skip
        return f"{told} {back}"
    if ds.in_place:
        told = tr("Captions and settings of {title} are what they were in version {version}; its pictures are used in place, and Easel changes none of them.", title=ds.title, version=version)
        return f"{told} {back}"
    told = f"{tr('The dataset is what it was in version {version}.', version=version)} {back}"
    if not done.copied:
        return told
    return f"{told} {trn('{n} file had to be copied, as this disk knows no hard links.', '{n} files had to be copied, as this disk knows no hard links.', done.copied)}"


# -- HTML


def listed_html(there: Sequence[Version], pending: str, runs: set[tuple[int, str]], look: Look, now: float, opened: str = "") -> str:
    """The versions, newest first.  opened: what was asked of one of them, shown below it."""
    if not there:
        says = tr("Every import, change of many captions and removal will be kept here as a version that can be brought back.")
        return f'<p class="ez-muted ez-small">{escape(says)}</p>'
    rows = _pending(pending) if pending else ""
    shown = list(reversed(there))[: None if look.everything else LISTED]
    below = look.lacking or look.at
    below = below if any(v.id == below for v in shown) else shown[-1].id
    for v in shown:
        rows += _row(v, v is there[-1] and not pending, sorted(title for id, title in runs if id == v.id), now)
        rows += f'<li class="ez-opened">{opened}</li>' if opened and v.id == below else ""
    word = tr("Show fewer") if look.everything else tr("Show all {n}", n=len(there))
    more = f'<button type="button" class="ez-link" data-act="everything">{escape(word)}</button>' if len(there) > LISTED else ""
    take = tr("They take {size} beside the pictures, which lie on the disk once.", size=views.size(sum(v.size_bytes for v in there)))
    most = tr("Of more than {most}, the oldest go that no run was trained on.", most=versions.MOST)
    return (
        f'<div class="ez-spread"><h3 class="ez-subtitle">{escape(tr("Versions"))} <span class="ez-count">{whole(len(there))}</span></h3>{more}</div><ol class="ez-versions">{rows}</ol>'
        f'<p class="ez-muted ez-small">{escape(take)} {escape(most)}</p>'
    )


def _pending(said: str) -> str:
    since = tr("Since then. It becomes a version before the next step, or now.")
    return (
        f'<li class="ez-version"><span class="ez-version-id">+</span><div class="ez-version-text"><b>{escape(views.sentence_start(counted.said(said)))}</b>'
        f'<span class="ez-muted ez-small">{escape(since)}</span></div>'
        f'<div class="ez-acts"><button type="button" class="ez-btn" data-act="keep">{icon("save")}{escape(trc("as a version", "Keep"))}</button></div></li>'
    )


def _row(version: Version, current: bool, titles: Sequence[str], now: float) -> str:
    id = str(version.id)
    trained = escape(tr("A run was trained on it"))
    chips = f'<span class="ez-chip ez-ok">{escape(tr("now"))}</span>' if current else ""
    chips += "".join(f'<span class="ez-chip" title="{trained}">{icon("bolt")}{escape(t)}</span>' for t in titles[:3])
    facts = " · ".join(filter(None, (views.when(version.t, now), counted.pictures(version.pictures), _unsaid(version))))
    label = escape(tr("Bring back version {version}", version=id))
    back = "" if current else f'<button type="button" class="ez-btn" data-act="restore" data-key="{id}" aria-label="{label}">{icon("clock")}{escape(tr("Bring back"))}</button>'
    with_now = escape(tr("Compare version {version} with the dataset as it is", version=id))
    return (
        f'<li class="ez-version"><span class="ez-version-id ez-num">{id}</span><div class="ez-version-text"><b>{escape(counted.said(version.did))}{chips}</b>'
        f'<span class="ez-muted ez-small ez-num">{escape(facts)}</span></div><div class="ez-acts">'
        f'<button type="button" class="ez-btn ez-quiet" data-act="compare" data-key="{id}:{NOW}:{id}" aria-label="{with_now}">{escape(tr("Compare"))}</button>{back}</div></li>'
    )


def _unsaid(version: Version) -> str:
    """What a version came to, as far as its name does not say so already."""
    parts = version.change.split(", ")
    return "" if all(" ".join(part.split()[:2]) in version.did for part in parts) else counted.said(version.change)


def _compared(ds: Dataset, there: Sequence[Version], pair: tuple[int, int], at: int, thumb: Thumb) -> str:
    try:
        before, after = (states.now(ds) if id == NOW else versions.read(ds, id) for id in pair)
    except ValueError as error:
        return f'<div class="ez-note ez-bad" role="status">{escape(views.sentence_start(heard(str(error))))}</div>'
    return compared_html([v.id for v in there], pair, at, states.compare(before, after), before, after, thumb)


def compared_html(ids: Sequence[int], pair: tuple[int, int], at: int, found: Difference, before: State, after: State, thumb: Thumb) -> str:
    """Two versions, chosen by two lists, and what the second has that the first has not."""
    parts = [
        _pictures(tr("Added"), found.added, after, thumb), _pictures(tr("Removed"), found.removed, before, thumb), _pictures(tr("Replaced by another file"), found.replaced, after, thumb),
        _texts(found.captions), _rest(found),
    ]  # fmt: skip
    first, second = _choice(ids, pair[0], trc("of two versions", "From")), _choice(ids, pair[1], trc("of two versions", "To"))
    differs = views.sentence_start(counted.said(found.says())) or tr("Nothing differs.")
    return (
        f'<section class="ez-card ez-compared" aria-label="{escape(tr("Two versions compared"))}"><div class="ez-spread"><div class="ez-versus">'
        f'{first}<span class="ez-muted">→</span>{second}'
        f'<input type="hidden" value="{at}"><button type="button" class="ez-btn" data-act="compare" data-keys=".ez-versus :is(select, input)">{escape(tr("Compare"))}</button></div>'
        f'<button type="button" class="ez-link" data-act="close">{escape(tr("Close"))}</button></div>'
        f"<p><b>{escape(differs)}</b></p>{''.join(parts)}</section>"
    )


def _choice(ids: Sequence[int], chosen: int, label: str) -> str:
    rows = [(NOW, tr("as it is now")), *((id, tr("version {version}", version=str(id))) for id in reversed(ids))]
    options = "".join(f'<option value="{id}"{" selected" if id == chosen else ""}>{escape(words)}</option>' for id, words in rows)
    return f'<select class="ez-input" aria-label="{escape(label)}">{options}</select>'


def _pictures(title: str, names: Sequence[str], state: State, thumb: Thumb) -> str:
    if not names:
        return ""
    tiles = "".join(
        f'<li title="{escape(n)}"><img src="{escape(thumb(state.files[n]))}" alt="{escape(n)}" loading="lazy"><span class="ez-name">{escape(n)}</span></li>' for n in names[:TILES]
    )
    more = f'<p class="ez-muted ez-small">{escape(counted.more(len(names) - TILES))}</p>' if len(names) > TILES else ""
    return f'<h4>{escape(title)} <span class="ez-count">{whole(len(names))}</span></h4><ul class="ez-strip-of">{tiles}</ul>{more}'


def _texts(found: Mapping[str, tuple[str, str]]) -> str:
    if not found:
        return ""
    marks = {"same": "{}", "out": "<del>{}</del>", "new": "<ins>{}</ins>"}
    rows = ""
    for name, (before, after) in list(found.items())[:TEXTS]:
        pieces = rewriting.compared(before, after)
        rows += f'<li><span class="ez-name">{escape(name)}</span><p>{"".join(marks[p.kind].format(escape(p.text)) for p in pieces)}</p></li>'
    more = f'<p class="ez-muted ez-small">{escape(counted.more(len(found) - TEXTS))}</p>' if len(found) > TEXTS else ""
    return f'<h4>{escape(tr("Captions"))} <span class="ez-count">{whole(len(found))}</span></h4><ul class="ez-previewed">{rows}</ul>{more}'


def _rest(found: Difference) -> str:
    """Crops, repeats and settings: what the first line says is all there is to see of them, but the names."""
    return f'<h4>{escape(tr("Counted otherwise"))}</h4><p class="ez-small">{escape(", ".join(found.repeats[:TEXTS]))}</p>' if found.repeats else ""


def _lacking(ds: Dataset, id: int) -> str:
    try:
        gone = restoring.missing(ds, versions.read(ds, id))
    except ValueError as error:
        return f'<div class="ez-note ez-bad" role="status">{escape(views.sentence_start(heard(str(error))))}</div>'
    return lacking_html(id, gone) if gone else ""


def lacking_html(id: int, gone: Sequence[str]) -> str:
    """Before a version comes back that cannot come back whole."""
    told = trn(
        "<b>{n} file of version {version} is gone for good</b>: {names}. The rest can come back.", "<b>{n} files of version {version} are gone for good</b>: {names}. The rest can come back.",
        len(gone), version=str(id), names=escape(counted.names(gone, 10)),
    )  # fmt: skip
    return (
        f'<div class="ez-note ez-warn" role="status"><p>{told}</p>'
        f'<div class="ez-acts"><button type="button" class="ez-btn" data-act="rest" data-key="{id}">{escape(tr("Bring back the rest"))}</button>'
        f'<button type="button" class="ez-btn ez-quiet" data-act="close">{escape(tr("Leave it"))}</button></div></div>'
    )


def bin_html(kept: Sequence[Kept], size_bytes: int, emptying: bool, lost: str, thumb: Thumb, now: float, page: int = 0) -> str:
    """The removed pictures with what they take, a page of them, to be put back or deleted."""
    if not kept:
        return ""
    pictures = [k for k in kept if k.kind == bin.PICTURE]
    page = max(0, min(page, (len(pictures) - 1) // TILES))
    tiles = "".join(_kept(k, thumb, now) for k in pictures[page * TILES : (page + 1) * TILES])
    more = _leaves(page, len(pictures)) if len(pictures) > TILES else ""
    ask = "" if emptying else f'<button type="button" class="ez-btn" data-act="ask">{icon("trash")}{escape(tr("Empty the bin"))}</button>'
    sure = (
        f'<div class="ez-note ez-warn" role="status"><p><b>{escape(tr("Delete {size} for good?", size=views.size(size_bytes)))}</b> {escape(lost or tr("No version needs what is in it."))}</p>'
        f'<div class="ez-acts"><button type="button" class="ez-btn ez-destroy" data-act="empty">{escape(tr("Delete for good"))}</button>'
        f'<button type="button" class="ez-btn ez-quiet" data-act="close">{escape(tr("Keep it"))}</button></div></div>'
        if emptying
        else ""
    )
    holds = trn("{n} picture, {size}", "{n} pictures, {size}", len(pictures), size=views.size(size_bytes))
    return (
        f'<div class="ez-bin"><div class="ez-picks" hidden><b class="ez-num" data-count></b><button type="button" class="ez-btn" data-act="none">{escape(trc("what is selected", "Clear"))}</button>'
        f'<button type="button" class="ez-btn ez-primary" data-act="back">{escape(tr("Put back"))}</button></div>'
        f'<div class="ez-spread"><h3 class="ez-subtitle">{escape(tr("Bin"))} <span class="ez-count">{escape(holds)}</span></h3>{ask}</div>'
        f'{sure}<div class="ez-grid ez-binned" role="list">{tiles}</div>{more}</div>'
    )


def _leaves(page: int, total: int) -> str:
    """Which pictures of the bin are shown, and buttons to those before and after."""
    first, until = page * TILES + 1, min(total, (page + 1) * TILES)
    rows = ((page - 1, tr("Previous page of the bin"), "‹", page > 0), (page + 1, tr("Next page of the bin"), "›", until < total))
    turns = "".join(f'<button type="button" data-act="leaf" data-key="{to}" aria-label="{escape(label)}"{"" if possible else " disabled"}>{sign}</button>' for to, label, sign, possible in rows)
    says = tr("{first}–{until} of {total}", first=first, until=until, total=total)
    return f'<nav class="ez-pager" aria-label="{escape(tr("Pages of the bin"))}"><span class="ez-muted ez-num">{escape(says)}</span><div>{turns}</div></nav>'


def _kept(kept: Kept, thumb: Thumb, now: float) -> str:
    name, when = escape(kept.name, quote=True), views.when(kept.t, now) if kept.t else views.size(kept.size_bytes)
    removed = escape(tr("Removed; {size}", size=views.size(kept.size_bytes)))
    return (
        f'<div class="ez-tile" role="listitem" data-id="{escape(kept.key, quote=True)}"><div class="ez-thumb"><img src="{escape(thumb(kept.sha256))}" alt="{name}" loading="lazy"></div>'
        f'{tick(kept.name)}'
        f'<div class="ez-tile-text"><p class="ez-name" title="{name}">{name}</p><p class="ez-name" title="{removed}">{escape(when)}</p></div></div>'
    )
