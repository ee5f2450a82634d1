"""The card above the captions: their numbers, the tags, what can be done with the chosen ones, and what a change would do.  HTML, pure."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from training.data.captions import TOKEN_LIMIT
from training.data.rewriting import Preview
from training.data.tags import Count, key_of
from training.data.tally import Tally

from ... import counted
from ...language import N_, tr, trc, trn, whole
from . import scope

SHOWN_TAGS = 60
SHOWN_WORDS = 40
MOST_TAGS = 1500  # more in one page is no help to anybody
CLOUDS = (("common", N_("Most used")), ("once", N_("Only once")), ("everywhere", N_("Everywhere")))
TIDY = (
    ("sort", N_("Sort by the alphabet"), N_("The first tag stays in front, and so does what stands before |||")),
    ("often", N_("Sort, most used first"), N_("The first tag stays in front, and so does what stands before |||")),
    ("twice", N_("Drop repeated tags"), N_("In any case, with _ or a blank; the first of them stays")),
    ("spaced", N_("_ to blanks"), N_("long_hair becomes long hair; ^_^ stays")),
    ("underscored", N_("Blanks to _"), N_("long hair becomes long_hair, in lists of tags only")),
)


def card(told: Tally, tags: Sequence[Count], view: dict, reach: int, chosen_reach: int, trigger: str) -> str:
    """told: of all captions.  tags: of those that match.  reach, chosen_reach: how many captions an edit reaches, and how many of them have a chosen tag."""
    return f'<div class="ez-card ez-tagging">{_numbers(told, trigger)}{_cloud(told, tags, view)}{_spoken(told, view)}{_chosen(view, chosen_reach)}{_tidy(view, reach) if told.captioned else ""}</div>'


def _numbers(told: Tally, trigger: str) -> str:
    rows = [(tr("Captions"), tr("{captioned} of {pictures}", captioned=told.captioned, pictures=told.pictures), scope.BARE if told.bare else "")]
    rows += [(tr("Usual length"), trn("{n} word", "{n} words", told.words), "")]
    rows += [(trc("caption", "Longest"), tr("{tokens} of {limit} tokens", tokens=told.tokens, limit=TOKEN_LIMIT), scope.CUT if told.long else "")]
    rows += [(trc("captions", "Identical"), whole(len(told.same)), scope.SAME if told.same else "")]
    rows += [(trc("captions", "Without {trigger}", trigger=trigger), whole(len(told.lacking)), scope.LACKS if told.lacking else "")] if trigger else []
    return f'<div class="ez-stats ez-figures">{"".join(_number(*row) for row in rows)}</div>'


def _number(label: str, value: str, only: str) -> str:
    says = f"<span>{escape(label)}</span><b>{escape(value)}</b>"
    if not only:
        return f'<div class="ez-stat">{says}</div>'
    return f'<button type="button" class="ez-stat ez-figure" data-act="only" data-only="{only}" title="{escape(tr("Show them"))}">{says}</button>'


def _cloud(told: Tally, tags: Sequence[Count], view: dict) -> str:
    if not told.tags:
        none = tr("There are no tags.") if told.captioned else tr("There are no captions yet.")
        return "" if told.words_used else f'<p class="ez-muted ez-small">{escape(none)}</p>'
    which = view["cloud"]
    kinds = {"once": told.once, "everywhere": told.everywhere}
    found = kinds.get(which, tags)
    wanted = view["find"].casefold()
    found = [tag for tag in found if wanted in tag.tag.casefold()] if wanted else found
    chosen = set(map(key_of, view["tags"]))
    most = MOST_TAGS if view.get("more") else SHOWN_TAGS
    shown = found[:most]
    chips = "".join(_tag(tag, key_of(tag.tag) in chosen) for tag in shown) or f'<span class="ez-muted ez-small">{escape(tr("No tag fits."))}</span>'
    more = ""
    if len(found) > SHOWN_TAGS:
        word = trc("tags", "Show fewer") if view.get("more") else trc("tags", "Show {shown} of {all}", shown=min(len(found), MOST_TAGS), all=len(found))
        more = f'<button type="button" class="ez-link ez-small" data-act="more">{escape(word)}</button>'
    sizes = {"common": len(told.tags), "once": len(told.once), "everywhere": len(told.everywhere)}
    segs = "".join(
        f'<button type="button" role="radio" aria-checked="{str(id == which).lower()}" tabindex="{0 if id == which else -1}" class="ez-seg{" is-on" if id == which else ""}" '
        f'data-act="cloud" data-id="{id}">{escape(tr(word))} <span class="ez-num">{whole(sizes[id])}</span></button>'
        for id, word in CLOUDS
    )
    find, word = escape(view["find"], quote=True), escape(tr("Find a tag"))
    return (
        f'<details class="ez-cloudbox" data-key="caption-tags" data-open><summary><b>{escape(tr("Tags"))}</b></summary>'
        f'<div class="ez-row ez-cloud-head"><div role="radiogroup" aria-label="{escape(tr("Which tags"))}" class="ez-segs">{segs}</div>'
        f'<input class="ez-input ez-tag-find" data-path="find" data-value="{find}" value="{find}" placeholder="{word}" aria-label="{word}"></div>'
        f'<div class="ez-cloud" role="group" aria-label="{escape(tr("Tags; choose some to see their pictures"))}">{chips}</div>{more}</details>'
    )


def _spoken(told: Tally, view: dict) -> str:
    """What sentences speak of: the commonest words and pairs of words, each a search."""
    if not told.words_used:
        return ""
    open_ = "" if told.tags else " data-open"  # beside a cloud of tags it is folded
    rows = (
        (tr("Words"), tr("Words; press one to search for it"), told.words_used),
        (trc("words", "Two together"), tr("Two together; press one to search for it"), told.pairs_used),
    )
    groups = "".join(
        f'<div class="ez-spoken"><span class="ez-muted ez-small">{escape(name)}</span><div class="ez-cloud" role="group" aria-label="{escape(says)}">{"".join(_word(one, view) for one in found[:SHOWN_WORDS])}</div></div>'
        for name, says, found in rows
        if found
    )
    return f'<details class="ez-cloudbox" data-key="caption-words"{open_}><summary><b>{escape(tr("What the sentences say"))}</b></summary>{groups}</details>'


def _word(one: Count, view: dict) -> str:
    on = view["query"].casefold() == one.tag
    name = escape(one.tag, quote=True)
    return f'<button type="button" class="ez-tag{" is-on" if on else ""}" aria-pressed="{str(on).lower()}" data-act="word" data-word="{name}">{escape(one.tag)}<span class="ez-num">{whole(one.pictures)}</span></button>'


def _tag(tag: Count, on: bool) -> str:
    name = escape(tag.tag, quote=True)
    return (
        f'<button type="button" class="ez-tag{" is-on" if on else ""}" aria-pressed="{str(on).lower()}" data-act="tag" data-tag="{name}">'
        f'{escape(tag.tag)}<span class="ez-num">{whole(tag.pictures)}</span></button>'
    )


def _chosen(view: dict, reach: int) -> str:
    """The chosen tags and what can be done with them; "" while none is."""
    if not (tags := view["tags"]):
        return ""
    several = len(tags) > 1
    chips = "".join(
        f'<button type="button" class="ez-tag is-on" data-act="tag" data-tag="{escape(t, quote=True)}" aria-label="{escape(tr("{tag}: choose no more", tag=t))}">{escape(t)}<span aria-hidden="true">×</span></button>'
        for t in tags
    )
    how = ""
    if several:
        word = tr("that have any of them") if view["any"] else tr("that have all of them")
        how = f'<button type="button" class="ez-link ez-small" data-act="any" title="{escape(tr("Change it"))}">{escape(word)}</button>'
    label, hint = (tr("Merge into"), tr("Merge into …")) if several else (tr("Rename to"), tr("Rename to …"))
    rename = trn("Merge in {n} caption", "Merge in {n} captions", reach) if several else trn("Rename in {n} caption", "Rename in {n} captions", reach)
    remove = trn("Remove in {n} caption", "Remove in {n} captions", reach)
    off = f' data-of="{reach}"{"" if reach else " disabled"}'  # what the button says that it reaches goes with the press
    return (
        f'<div class="ez-chosen"><div class="ez-row"><span class="ez-muted ez-small">{escape(tr("Shown are pictures with"))}</span>{chips}{how}'
        f'<button type="button" class="ez-link ez-small" data-act="untag">{escape(tr("Show all again"))}</button></div>'
        f'<div class="ez-row"><input class="ez-input ez-tag-new" id="ez-tag-new" data-enter="rename" placeholder="{escape(hint)}" aria-label="{escape(label)}" autocomplete="off" spellcheck="true">'
        f'<button type="button" class="ez-btn" data-act="rename" data-with="#ez-tag-new"{off}>{escape(rename)}</button>'
        f'<button type="button" class="ez-btn ez-danger" data-act="untagged"{off}>{escape(remove)}</button></div></div>'
    )


def _tidy(view: dict, reach: int) -> str:
    if view["picks"]:
        whom = trn("Reaches {n} caption: the selected ones that have one. Undo takes it back.", "Reaches {n} captions: the selected ones that have one. Undo takes it back.", reach)
    elif view["tags"] or view["query"] or view["only"] != scope.ALL:
        whom = trn("Reaches {n} caption: all that are shown, on every page. Undo takes it back.", "Reaches {n} captions: all that are shown, on every page. Undo takes it back.", reach)
    else:
        whom = trn("Reaches {n} caption: all. Undo takes it back.", "Reaches {n} captions: all. Undo takes it back.", reach)
    off = f' data-of="{reach}"{"" if reach else " disabled"}'
    tidy = "".join(f'<button type="button" class="ez-btn" data-act="{act}" title="{escape(tr(why))}"{off}>{escape(tr(word))}</button>' for act, word, why in TIDY)
    return (
        f'<details class="ez-tidy" data-key="caption-tidy"><summary>{escape(tr("Add a tag, or tidy up"))}</summary><p class="ez-muted ez-small">{escape(whom)}</p>'
        f'<div class="ez-row"><input class="ez-input ez-tag-new" id="ez-tag-add" data-enter="front" placeholder="{escape(tr("A tag"))}" aria-label="{escape(tr("Tag to add where it is missing"))}" autocomplete="off" spellcheck="true">'
        f'<button type="button" class="ez-btn" data-act="front" data-with="#ez-tag-add"{off}>{escape(tr("Add in front where missing"))}</button>'
        f'<button type="button" class="ez-btn" data-act="back" data-with="#ez-tag-add"{off}>{escape(tr("Add behind where missing"))}</button></div><div class="ez-row">{tidy}</div></details>'
    )


def previewed(found: Preview) -> str:
    """What a change would do, the first captions with what goes and what comes marked."""
    if not found.changed:
        return f'<div class="ez-note">{escape(tr("Nothing would change."))}</div>'
    emptied = " " + escape(trn("{n} caption would be empty.", "{n} captions would be empty.", found.emptied)) if found.emptied else ""
    marks = {"same": "{}", "out": "<del>{}</del>", "new": "<ins>{}</ins>"}
    rows = "".join(
        f'<li><span class="ez-name">{escape(id)}</span><p>{"".join(marks[p.kind].format(escape(p.text)) for p in pieces)}</p></li>' for id, pieces in found.shown.items()
    )
    more = f'<p class="ez-muted ez-small">{escape(counted.more(found.changed - len(found.shown)))}</p>' if found.changed > len(found.shown) else ""
    changed = trn("{n} caption would change.", "{n} captions would change.", found.changed)
    return f'<div class="ez-previewed" role="status"><b>{escape(changed)}</b>{emptied}<ul class="ez-scroll">{rows}</ul>{more}</div>'
