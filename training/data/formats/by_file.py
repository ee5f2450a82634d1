"""One JSON object with the captions of many pictures: diffusion-pipe's captions.json, kohya's meta_cap.json, SimpleTuner's and others' lists."""

from __future__ import annotations

from .. import tables

TITLE = "JSON with the captions of many pictures"
BLURB = "captions.json and the like: {file: caption}, {file: [captions]}, or kohya's {file: {caption, tags}}; also a list of objects that name a file."
LISTS = ("captions", "images", "data", "items", "annotations")  # keys that such a list lies under


def reads(name: str) -> bool:
    """Whether a file of this name may be one."""
    return name.lower().endswith(".json")


def rows(text: str, name: str) -> list[tables.Row] | None:
    """A row for each file; None for JSON of another kind."""
    value = tables.as_json(text, name)
    if isinstance(value, dict) and len(value) == 1 and isinstance(next(iter(value.values())), (list, dict)) and next(iter(value)) in LISTS:
        value = next(iter(value.values()))
    if isinstance(value, list):
        return tables.listed(v for v in value if isinstance(v, dict))
    if not isinstance(value, dict):
        return None
    found = [tables.Row(file, said) for file, entry in value.items() if (said := _said(entry)) and _is_file(file)]
    return found if found and len(found) * 2 >= len(value) else None


def _said(entry: object) -> tuple[str, ...]:
    """What an entry says of its file.  kohya keeps sentences and tags apart and trains them one behind the other."""
    if not isinstance(entry, dict):
        return tables.only_texts([entry])
    tags = tables.only_texts([entry.get("tags")])
    sentences = tables.texts({str(k).lower(): v for k, v in entry.items()})
    if tags and sentences:
        return tuple(f"{sentence}, {', '.join(tags)}" for sentence in sentences)
    return sentences or ((", ".join(tags),) if tags else ())


def _is_file(text: str) -> bool:
    """Whether a key may be a path: kohya's lack the ending, but then have a folder."""
    name = text.replace("\\", "/").rpartition("/")[2]
    return bool(name) and (name != text or "." in name)
