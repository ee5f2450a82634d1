"""What a press in the card above the captions means: another view, or a change of many captions."""

from __future__ import annotations

from training.data import tags
from training.data.captions import SEPARATOR, clean_caption
from training.data.datasets import Dataset
from training.data.tally import Tally

from ...language import tr
from . import scope

SOURCE = "tags"
VIEWS = ("tag", "untag", "any", "cloud", "more", "only", "word")
SEARCHES = ("only", "word")  # of those, what the boxes for search and filter show along


def looked(view: dict, act: str, data) -> dict:
    """The view after one of VIEWS was pressed; always from its first page."""
    first = view | {"page": 0}
    if act == "tag":
        key, chosen = tags.key_of(str(data.tag)), view["tags"]
        left = [t for t in chosen if tags.key_of(t) != key]
        return first | {"tags": left if len(left) < len(chosen) else [*chosen, str(data.tag)]}
    if act == "only":
        return first | {"only": str(data.only), "query": "", "tags": []}
    if act == "word":  # pressed again, it is no longer looked for
        word = str(data.word)[:200]
        return first | {"query": "" if view["query"].casefold() == word else word, "only": scope.ALL}
    return first | {"untag": {"tags": []}, "any": {"any": not view["any"]}, "cloud": {"cloud": str(getattr(data, "id", ""))}, "more": {"more": not view.get("more")}}[act]


def changed(ds: Dataset, act: str, value: str, view: dict, told: Tally, trigger: str, ids: list[str]) -> int:
    """Make a change of tags in these pictures.  How many captions changed.  Raises ValueError."""
    kept = [trigger] if trigger else []
    chosen = view["tags"]
    if act in ("front", "back"):
        tag = _tag(value)
        return ds.edit_tags(lambda caption: tags.add(caption, tag, act == "front"), SOURCE, ids)
    if act == "rename":
        new = _tag(value)
        return ds.edit_tags(lambda caption: tags.rename(caption, chosen, new), SOURCE, ids)
    if act == "untagged":
        return ds.edit_tags(lambda caption: tags.remove(caption, chosen), SOURCE, ids)
    if act in ("sort", "often"):
        order = [count.tag for count in told.tags] if act == "often" else []
        return ds.edit_tags(lambda caption: tags.sort(caption, order, keep=1), SOURCE, ids)
    if act == "twice":
        return ds.edit_tags(tags.drop_duplicates, SOURCE, ids)
    if act == "spaced":
        return ds.rewrite(lambda text: tags.spaced(text, kept), SOURCE, ids)
    if act == "underscored":
        return ds.edit_tags(lambda caption: tags.underscored(caption, kept), SOURCE, ids)
    raise ValueError(tr("There is no change called {change}.", change=repr(act)))


def after(view: dict, act: str, value: str, changed: list[str] | None = None) -> dict:
    """The view after a change: what was renamed stays chosen under its new name, what was removed is chosen no more.

    changed: the tags that were chosen when the change began, None for those that are; what was chosen meanwhile stays.
    """
    if act not in ("rename", "untagged"):
        return {}
    keys = set(map(tags.key_of, view["tags"] if changed is None else changed))
    left = [t for t in view["tags"] if tags.key_of(t) not in keys]
    return {"tags": [_tag(value), *left] if act == "rename" else left}


def _tag(value: str) -> str:
    """One tag, as it was typed.  Raises ValueError."""
    tag = clean_caption(value)
    if not tag:
        raise ValueError(tr("Type the tag first."))
    if len(tags.parse(tag).tags) != 1 or SEPARATOR in tag:
        raise ValueError(tr("{tag} is more than one tag, as a comma or {mark} parts tags; add them one by one.", tag=repr(tag), mark=SEPARATOR))
    return tag


def plain(data: dict) -> dict:
    """A view with all its keys, whatever an older page still holds."""
    return scope.FIRST_VIEW | data
