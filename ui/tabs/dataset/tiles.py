"""Pages of pictures as HTML: tiles, and the pager below them.  Pure functions; what a person typed leaves here escaped.

assets/easel.js turns a click on [data-act] into an event of the gr.HTML that shows the page.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path

from training.data import embedded, rereading
from training.data.captions import SEPARATOR, TOKEN_LIMIT, about_tokens, has_place, longest
from training.data.datasets import Picture
from training.data.health import Goal
from training.data.timed import is_timed

from ... import counted, views
from ...icons import icon
from ...language import N_, tr, trn
from ...language.heard import heard
from ...server.media import CLIP_TYPES
from ..train.draft import Aim
from . import befores, clips, treated
from .judged import crop_attributes

PER_PAGE = 48
PLACE = "[trigger]"  # in a caption
TICK = '<svg viewBox="0 0 24 24" aria-hidden="true"><path d="m5 12.5 4.5 4.5L19 7.5"/></svg>'
VERDICTS = {"refused": (N_("Can’t be used"), "ez-bad"), "duplicate": (N_("Same picture twice"), "ez-warn"), "unchecked": (N_("Not checked"), "ez-idle"), "out": (N_("Left out"), "ez-idle")}
# where a caption comes from, as the dataset notes it; else it is the captioner that wrote it
SOURCES = {
    "file": N_("came with the picture"), "folder": N_("its folder’s name"), "typed": N_("typed"), "replaced": N_("replaced"), "prefix": N_("prefix"), "suffix": N_("suffix"), "tags": N_("tags"),
    rereading.SOURCE: N_("read again"), embedded.SOURCE: N_("its prompt"),
}  # fmt: skip

Address = Callable[[Picture], str]


def page(tiles: Sequence[str], number: int, total: int, kind: str, out: int = 0) -> str:
    """A page of tiles with its pager.  number: from 0.  kind: ez-pictures or ez-captions.  out: how many are left out, which is said behind the count."""
    return f'<div class="ez-grid {kind}" role="list">{"".join(tiles)}</div>{pager(number, total, out)}'


def pages(total: int) -> int:
    """How many pages there are; at least 1."""
    return max(1, -(-total // PER_PAGE))


def picture_tile(picture: Picture, thumb: Address, full: Address, aim: Aim | None = None, before: Sequence[befores.Address] = (), goal: Goal | None = None) -> str:
    """A tile of the Dataset tab: picture, size, verdict, caption, with a tick to select it.

    aim, goal: what the Train form would make of it.  before: what it is made from, which is shown in its corner and before it on the large view.
    """
    id, name = escape(picture.id, quote=True), escape(picture.id)
    out = (" ez-out", " data-out") if picture.verdict == "out" else ("", "")
    pair = " data-pair" if picture.references else ""
    if picture.usable or picture.verdict == "out":
        view = _thumb(picture, thumb, full, goal, before)
    else:
        view = f'<div class="ez-thumb ez-lacks"><span>{escape(heard(picture.note))}</span></div>'
    size = f"{picture.width} × {picture.height}" if picture.width else views.size(picture.bytes)
    note = escape(heard(picture.note)) if picture.usable and picture.note else ""
    caption = f'<p class="ez-cap">{escape(picture.caption)}</p>' if picture.caption else f'<p class="ez-cap ez-lacks">{escape(tr("No caption"))}</p>'
    return (
        f'<div class="ez-tile{out[0]}" role="listitem" data-id="{id}"{out[1]}{pair}>{view}'
        f'{tick(picture.id)}{_beside(picture)}{befores.inset(picture, before)}'
        f'<div class="ez-tile-text"><div class="ez-tile-head"><span class="ez-num">{size}</span>{_verdict(picture, aim)}</div>'
        f"{caption if picture.usable or picture.verdict == 'out' else ''}"
        f'<p class="ez-name" title="{name}{f" — {note}" if note else ""}">{name}</p></div></div>'
    )


def caption_tile(picture: Picture, thumb: Address, full: Address, status: tuple[str, str], picked: bool = False, before: Sequence[befores.Address] = ()) -> str:
    """A tile of the Captions tab: the picture, a tick to select it, and a box for its caption.  status: (class, word) of the captioner, or ("", ""); before: what it is made from."""
    id, name = escape(picture.id, quote=True), escape(picture.id)
    return (
        f'<div class="ez-tile{" ez-on" if picked else ""}" role="listitem" data-id="{id}">'
        f"{_thumb(picture, thumb, full, before=before)}"
        f'{tick(picture.id, picked)}{befores.inset(picture, before, opens=False)}'
        f'<div class="ez-tile-text"><textarea class="ez-area" data-caption rows="4" aria-label="{escape(tr("Caption of {name}", name=picture.id))}" placeholder="{escape(tr("No caption yet"))}" '
        f'spellcheck="true">{escape(picture.caption)}</textarea>'
        f'<div class="ez-tile-foot"><span class="ez-name" title="{name}">{name}</span><span class="ez-source">{caption_note(picture)}</span>'
        f'<span class="ez-tile-chips">{caption_chips(picture.captions, status, is_timed(picture.caption))}</span><span class="ez-saved" aria-live="polite"></span></div></div></div>'
    )


def tick(id: str, picked: bool = False) -> str:
    """What selects a picture."""
    label = escape(tr("Select {name}", name=id))
    return f'<label class="ez-tick" title="{escape(tr("Select"))}"><input type="checkbox" data-pick aria-label="{label}"{" checked" if picked else ""}><span>{TICK}</span></label>'


def _thumb(picture: Picture, thumb: Address, full: Address, goal: Goal | None = None, before: Sequence[befores.Address] = ()) -> str:
    """The thumbnail, which opens the picture or plays the clip; a clip is marked with its length."""
    name = escape(picture.id, quote=True)
    plays = Path(picture.id).suffix.lower() in CLIP_TYPES
    length = clips.length(picture)
    mark = f'<span class="ez-length ez-num">{escape(length)}</span>' if length else ""
    return (
        f'<a class="ez-thumb" href="{escape(full(picture))}" data-zoom="{name}"{" data-plays" if plays else ""}{crop_attributes(picture, goal) if goal and not picture.seconds else ""}{treated.attributes(picture)}{befores.attributes(picture, before)}{clips.attributes(picture)} title="{name}">'
        f'<img src="{escape(thumb(picture))}" alt="{name}" loading="lazy">{mark}</a>'
    )


def caption_chips(captions: Sequence[str], status: tuple[str, str], timed: bool = False) -> str:
    """What the captioner did, how many captions there are where it is not one, and a warning when one is longer than is read.  timed: lines speak of scenes of a clip."""
    chip = f'<span class="ez-chip {status[0]}">{escape(status[1])}</span>' if status[1] else ""
    if timed:
        says = tr("A line with a time speaks of the scene that begins there; lines without one speak of the whole clip")
        chip += f'<span class="ez-chip" title="{escape(says)}">{escape(tr("by scenes"))}</span>'
    elif len(captions) > 1:
        says, count = tr("Each line is a caption of its own; one is drawn at each use"), trn("{n} caption", "{n} captions", len(captions))
        chip += f'<span class="ez-chip" title="{escape(says)}">{escape(count)}</span>'
    if any(has_place(caption) for caption in captions):
        chip += f'<span class="ez-chip" title="{escape(tr("The trigger word takes this place, and is not put in front"))}">{PLACE}</span>'
    if any(SEPARATOR in caption for caption in captions):
        says = tr("What stands before it stays in front when tags are shuffled; it is not trained itself")
        chip += f'<span class="ez-chip" title="{escape(says)}">{SEPARATOR}</span>'
    tokens = about_tokens(longest(captions))
    if tokens > TOKEN_LIMIT:
        says = tr("A CLIP text encoder reads about {limit} tokens; base models that have no other one lose the rest", limit=TOKEN_LIMIT)
        chip += f'<span class="ez-chip ez-warn" title="{escape(says)}">{escape(trn("about {n} token", "about {n} tokens", tokens))}</span>'
    return chip


def caption_note(picture: Picture) -> str:
    """Who wrote the caption, escaped."""
    return escape(heard(picture.caption_note)) or source_note(picture.caption_source)


def source_note(source: str) -> str:
    """Where a caption comes from, in words, escaped."""
    return escape(tr(SOURCES[source]) if source in SOURCES else source)


def pager(number: int, total: int, out: int = 0) -> str:
    """Where this page stands, and buttons to the others."""
    last = pages(total) - 1
    first, until = number * PER_PAGE + 1, min(total, (number + 1) * PER_PAGE)
    label = escape(tr("Pages"))
    if last == 0:
        count = trn("{n} picture, {out} left out", "{n} pictures, {out} left out", total, out=out) if out else counted.pictures(total)
        return f'<nav class="ez-pager" aria-label="{label}"><span class="ez-muted ez-num">{escape(count)}</span></nav>'
    places = {"first": first, "until": until, "total": total}
    says = tr("{first}–{until} of {total}, {out} left out", **places, out=out) if out else tr("{first}–{until} of {total}", **places)
    said = f'<span class="ez-muted ez-num">{escape(says)}</span>'
    buttons = [_turn(number - 1, tr("Previous page"), "‹", number > 0)]
    shown = sorted({0, last, *range(max(0, number - 1), min(last, number + 1) + 1)})
    before = -1
    for n in shown:
        if n > before + 1:
            buttons.append('<span class="ez-muted" aria-hidden="true">…</span>')
        current = ' aria-current="page"' if n == number else ""
        buttons.append(f'<button type="button" data-act="page" data-page="{n}" aria-label="{escape(tr("Page {number}", number=str(n + 1)))}"{current}>{n + 1}</button>')
        before = n
    buttons.append(_turn(number + 1, tr("Next page"), "›", number < last))
    return f'<nav class="ez-pager" aria-label="{label}">{said}<div>{"".join(buttons)}</div></nav>'


def _turn(to: int, label: str, sign: str, possible: bool) -> str:
    return f'<button type="button" data-act="page" data-page="{to}" aria-label="{escape(label)}"{"" if possible else " disabled"}>{sign}</button>'


def _beside(picture: Picture) -> str:
    """Chips on the picture's corner: how often it counts, its mask and its control picture."""
    says = escape(tr("Counts {times} times in an epoch", times=picture.repeats))
    often = f'<span class="ez-chip ez-idle" title="{says}">×{picture.repeats}</span>' if picture.repeats > 1 else ""
    chips = often + treated.chip(picture) + _mask(picture) + befores.chip(picture)
    return f'<span class="ez-mask">{chips}</span>' if chips else ""


def _mask(picture: Picture) -> str:
    if picture.mask_note:
        return f'<span class="ez-chip ez-warn" title="{escape(heard(picture.mask_note))}">{escape(tr("Mask?"))}</span>'
    if picture.mask is None:
        return ""
    says = tr("Its transparent parts can be hidden: see Masked in All settings of the Train tab")
    if picture.mask.kind != "alpha":
        says = tr("Its mask is {file}: see Masked in All settings of the Train tab", file=picture.mask.path.name)
    return f'<span class="ez-chip ez-idle" title="{escape(says)}">{escape(tr("Mask"))}</span>'


def _verdict(picture: Picture, aim: Aim | None) -> str:
    if picture.usable:
        word, why = aim.remark(picture.width, picture.height) if aim and picture.width else ("", "")
        if word:
            return f'<span class="ez-chip ez-warn" title="{escape(why)}">{escape(word)}</span>'
        return f'<span class="ez-chip ez-ok">{escape(tr("Good"))}</span>'
    word, look = VERDICTS.get(picture.verdict, (picture.verdict, "ez-idle"))
    return f'<span class="ez-chip {look}" title="{escape(heard(picture.note))}">{escape(tr(word))}</span>'


def away(ways: Sequence[tuple[str, str, str]], note: str = "") -> str:
    """The downloads of a dataset: (what it is for, what is in it, address) each.  note: what they are not."""
    links = "".join(
        f'<li><a class="ez-btn" href="{escape(url)}" download>{icon("download")}{escape(title)}</a><span class="ez-muted ez-small">{escape(says)}</span></li>'
        for title, says, url in ways
    )
    return f'<ul class="ez-ways">{links}</ul>' + (f'<p class="ez-muted ez-small">{escape(note)}</p>' if note else "")
