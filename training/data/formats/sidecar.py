"""A JSON beside each picture: a caption, the record of a booru, gallery-dl's, or what a drawing program wrote down."""

from __future__ import annotations

from .. import tables

TITLE = "JSON beside a picture"
BLURB = "NAME.json or NAME.jpg.json: a caption, or the tags of Danbooru, Gelbooru, e621 and others as gallery-dl and grabbers save them."
# in the order in which taggers write: whom, from where, what, and last what holds for the drawing as such
GROUPS = ("character", "copyright", "species", "general", "artist")

_TO_READERS = ("description", "caption", "text")  # what gallery-dl keeps of what an artist wrote under a picture; `category` is its name of the site


def reads(name: str) -> bool:
    """Whether a file of this name may be one."""
    return name.lower().endswith(".json")


def rows(text: str, name: str) -> list[tables.Row] | None:
    """The one row, of the picture of the same name; None where nothing in it is a caption."""
    value = tables.as_json(text, name)
    if isinstance(value, dict) and isinstance(post := value.get("post"), (dict, list)):
        value = post[0] if isinstance(post, list) and len(post) == 1 else post
    if not isinstance(value, dict):
        return None
    lower = {str(k).lower(): v for k, v in value.items()}
    theirs = _TO_READERS if "tags" in lower or "category" in lower else ()
    said = tables.texts({k: v for k, v in lower.items() if k not in theirs}) or _tags(lower)
    return [tables.Row(name[: -len(".json")], said)] if said else None


def _tags(values: dict) -> tuple[str, ...]:
    """The tags of a booru's record as one caption, `_` kept out of words but not of faces; () for none."""
    tags = values.get("tags")
    if isinstance(tags, dict):  # e621: {group: [tag]}
        found = [tag for group in (*GROUPS, *(g for g in tags if g not in (*GROUPS, "meta", "invalid"))) for tag in _listed(tags.get(group))]
    else:
        found = [tag for group in GROUPS for key in (f"tag_string_{group}", f"tags_{group}") for tag in _listed(values.get(key))]
        found = found or _listed(tags) or _listed(values.get("tag_string"))
    made = dict.fromkeys(tag if len(tag) <= 3 or not any(c.isalnum() for c in tag) else tag.replace("_", " ") for tag in found)
    return (", ".join(made),) if made else ()


def _listed(value: object) -> list[str]:
    """Tags out of a list, or out of text with commas or else spaces between them."""
    if isinstance(value, str):
        return [t.strip() for t in (value.split(",") if "," in value else value.split()) if t.strip()]
    return [t.strip() for t in value if isinstance(t, str) and t.strip()] if isinstance(value, list) else []
