"""The card above the captions: their numbers, the tags, what can be done with the chosen ones, and what a change would do.  HTML, pure."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from training.data.captions import TOKEN_LIMIT
from training.data.rewriting import Preview
from training.data.tags import Count, key_of
from training.data.tally import Tally

from ... import views
from . import scope

SHOWN_TAGS = 60
SHOWN_WORDS = 40
MOST_TAGS = 1500  # more in one page is no help to anybody
CLOUDS = (("common", "Most used"), ("once", "Only once"), ("everywhere", "Everywhere"))
TIDY = (
    ("sort", "Sort by the alphabet", "The first tag stays in front, and so does what stands before |||"),
    ("often", "Sort, most used first", "The first tag stays in front, and so does what stands before |||"),
    ("twice", "Drop repeated tags", "In any case, with _ or a blank; the first of them stays"),
    ("spaced", "_ to blanks", "long_hair becomes long hair; ^_^ stays"),
    ("underscored", "Blanks to _", "long hair becomes long_hair, in lists of tags only"),
)


def card(told: Tally, tags: Sequence[Count], view: dict, reach: int, chosen_reach: int, trigger: str) -> str:
    """told: of all captions.  tags: of those that match.  reach, chosen_reach: how many captions an edit reaches, and how many of them have a chosen tag."""
    return f'<div class="ez-card ez-tagging">{_numbers(told, trigger)}{_cloud(told, tags, view)}{_spoken(told, view)}{_chosen(view, chosen_reach)}{_tidy(view, reach) if told.captioned else ""}</div>'


def _numbers(told: Tally, trigger: str) -> str:
    rows = [("Captions", f"{told.captioned:,} of {told.pictures:,}", scope.BARE if told.bare else "")]
    rows += [("Usual length", views.count(told.words, "word"), ""), ("Longest", f"{told.tokens} of {TOKEN_LIMIT} tokens", scope.CUT if told.long else "")]
    rows += [("Identical", f"{len(told.same):,}", scope.SAME if told.same else "")]
    rows += [(f"Without {trigger}", f"{len(told.lacking):,}", scope.LACKS if told.lacking else "")] if trigger else []
    return f'<div class="ez-stats ez-figures">{"".join(_number(*row) for row in rows)}</div>'


def _number(label: str, value: str, only: str) -> str:
    says = f"<span>{escape(label)}</span><b>{escape(value)}</b>"
    if not only:
        return f'<div class="ez-stat">{says}</div>'
    return f'<button type="button" class="ez-stat ez-figure" data-act="only" data-only="{only}" title="Show them">{says}</button>'


def _cloud(told: Tally, tags: Sequence[Count], view: dict) -> str:
    if not told.tags:
        return "" if told.words_used else f'<p class="ez-muted ez-small">{"There are no tags." if told.captioned else "There are no captions yet."}</p>'
    which = view["cloud"]
    kinds = {"once": told.once, "everywhere": told.everywhere}
    found = kinds.get(which, tags)
    wanted = view["find"].casefold()
    found = [tag for tag in found if wanted in tag.tag.casefold()] if wanted else found
    chosen = set(map(key_of, view["tags"]))
    most = MOST_TAGS if view.get("more") else SHOWN_TAGS
    shown = found[:most]
    chips = "".join(_tag(tag, key_of(tag.tag) in chosen) for tag in shown) or '<span class="ez-muted ez-small">No tag fits.</span>'
    more = ""
    if len(found) > SHOWN_TAGS:
        word = "Show fewer" if view.get("more") else f"Show {min(len(found), MOST_TAGS):,} of {len(found):,}"
        more = f'<button type="button" class="ez-link ez-small" data-act="more">{word}</button>'
    sizes = {"common": len(told.tags), "once": len(told.once), "everywhere": len(told.everywhere)}
    segs = "".join(
        f'<button type="button" role="radio" aria-checked="{str(id == which).lower()}" tabindex="{0 if id == which else -1}" class="ez-seg{" is-on" if id == which else ""}" '
        f'data-act="cloud" data-id="{id}">{word} <span class="ez-num">{sizes[id]:,}</span></button>'
        for id, word in CLOUDS
    )
    find = escape(view["find"], quote=True)
    return (
        '<details class="ez-cloudbox" data-key="caption-tags" data-open><summary><b>Tags</b></summary>'
        f'<div class="ez-row ez-cloud-head"><div role="radiogroup" aria-label="Which tags" class="ez-segs">{segs}</div>'
        f'<input class="ez-input ez-tag-find" data-path="find" data-value="{find}" value="{find}" placeholder="Find a tag" aria-label="Find a tag"></div>'
        f'<div class="ez-cloud" role="group" aria-label="Tags; choose some to see their pictures">{chips}</div>{more}</details>'
    )


def _spoken(told: Tally, view: dict) -> str:
    """What sentences speak of: the commonest words and pairs of words, each a search."""
    if not told.words_used:
        return ""
    open_ = "" if told.tags else " data-open"  # beside a cloud of tags it is folded
    rows = (("Words", told.words_used), ("Two together", told.pairs_used))
    groups = "".join(
        f'<div class="ez-spoken"><span class="ez-muted ez-small">{name}</span><div class="ez-cloud" role="group" aria-label="{name}; press one to search for it">{"".join(_word(one, view) for one in found[:SHOWN_WORDS])}</div></div>'
        for name, found in rows
        if found
    )
    return f'<details class="ez-cloudbox" data-key="caption-words"{open_}><summary><b>What the sentences say</b></summary>{groups}</details>'


def _word(one: Count, view: dict) -> str:
    on = view["query"].casefold() == one.tag
    name = escape(one.tag, quote=True)
    return f'<button type="button" class="ez-tag{" is-on" if on else ""}" aria-pressed="{str(on).lower()}" data-act="word" data-word="{name}">{escape(one.tag)}<span class="ez-num">{one.pictures:,}</span></button>'


def _tag(tag: Count, on: bool) -> str:
    name = escape(tag.tag, quote=True)
    return (
        f'<button type="button" class="ez-tag{" is-on" if on else ""}" aria-pressed="{str(on).lower()}" data-act="tag" data-tag="{name}">'
        f'{escape(tag.tag)}<span class="ez-num">{tag.pictures:,}</span></button>'
    )


def _chosen(view: dict, reach: int) -> str:
    """The chosen tags and what can be done with them; "" while none is."""
    if not (tags := view["tags"]):
        return ""
    several = len(tags) > 1
    chips = "".join(
        f'<button type="button" class="ez-tag is-on" data-act="tag" data-tag="{escape(t, quote=True)}" aria-label="{escape(t, quote=True)}: choose no more">{escape(t)}<span aria-hidden="true">×</span></button>'
        for t in tags
    )
    how = ""
    if several:
        word = "any" if view["any"] else "all"
        how = f'<button type="button" class="ez-link ez-small" data-act="any" title="Change it">that have {word} of them</button>'
    of = f"in {views.count(reach, 'caption')}"
    word, verb = ("Merge into", "Merge") if several else ("Rename to", "Rename")
    off = f' data-of="{reach}"{"" if reach else " disabled"}'  # what the button says that it reaches goes with the press
    return (
        f'<div class="ez-chosen"><div class="ez-row"><span class="ez-muted ez-small">Shown are pictures with</span>{chips}{how}'
        '<button type="button" class="ez-link ez-small" data-act="untag">Show all again</button></div>'
        f'<div class="ez-row"><input class="ez-input ez-tag-new" id="ez-tag-new" data-enter="rename" placeholder="{word} …" aria-label="{word}" autocomplete="off" spellcheck="true">'
        f'<button type="button" class="ez-btn" data-act="rename" data-with="#ez-tag-new"{off}>{verb} {of}</button>'
        f'<button type="button" class="ez-btn ez-danger" data-act="untagged"{off}>Remove {of}</button></div></div>'
    )


def _tidy(view: dict, reach: int) -> str:
    whom = "the selected ones that have one" if view["picks"] else "all that are shown, on every page" if view["tags"] or view["query"] or view["only"] != scope.ALL else "all"
    off = f' data-of="{reach}"{"" if reach else " disabled"}'
    tidy = "".join(f'<button type="button" class="ez-btn" data-act="{act}" title="{escape(why, quote=True)}"{off}>{escape(word)}</button>' for act, word, why in TIDY)
    return (
        '<details class="ez-tidy" data-key="caption-tidy"><summary>Add a tag, or tidy up</summary>'
        f'<p class="ez-muted ez-small">Reaches {views.count(reach, "caption")}: {whom}. Undo takes it back.</p>'
        '<div class="ez-row"><input class="ez-input ez-tag-new" id="ez-tag-add" data-enter="front" placeholder="A tag" aria-label="Tag to add where it is missing" autocomplete="off" spellcheck="true">'
        f'<button type="button" class="ez-btn" data-act="front" data-with="#ez-tag-add"{off}>Add in front where missing</button>'
        f'<button type="button" class="ez-btn" data-act="back" data-with="#ez-tag-add"{off}>Add behind where missing</button></div><div class="ez-row">{tidy}</div></details>'
    )


def previewed(found: Preview) -> str:
    """What a change would do, the first captions with what goes and what comes marked."""
    if not found.changed:
        return '<div class="ez-note">Nothing would change.</div>'
    emptied = f" {views.count(found.emptied, 'caption')} would be empty." if found.emptied else ""
    marks = {"same": "{}", "out": "<del>{}</del>", "new": "<ins>{}</ins>"}
    rows = "".join(
        f'<li><span class="ez-name">{escape(id)}</span><p>{"".join(marks[p.kind].format(escape(p.text)) for p in pieces)}</p></li>' for id, pieces in found.shown.items()
    )
    more = f'<p class="ez-muted ez-small">and {found.changed - len(found.shown):,} more</p>' if found.changed > len(found.shown) else ""
    return f'<div class="ez-previewed" role="status"><b>{views.count(found.changed, "caption")} would change.</b>{emptied}<ul class="ez-scroll">{rows}</ul>{more}</div>'
