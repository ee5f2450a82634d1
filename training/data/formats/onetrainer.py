"""OneTrainer's concepts.json: folders of pictures, how often they count, and where their captions are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .. import tables

TITLE = "OneTrainer's concepts"
BLURB = "concepts.json, or a whole settings file of OneTrainer: which folders are learnt, how often, and with which captions."
CAPTIONS = {"sample": "beside", "concept": "file", "filename": "name"}  # its prompt_source
USUAL = ("enable_crop_jitter",)  # on unless somebody turns it off, and no change that shows
HELD = "only measures the training there; on the Train tab ‘Pictures held out’ does it, so leave them in if they are to be learnt too"


def reads(name: str) -> bool:
    """Whether a file of this name may be one."""
    return name.lower().endswith(".json")


def rows(text: str, name: str) -> list[tables.Folder] | None:
    """A folder for each concept; None for JSON of another kind."""
    value = tables.as_json(text, name)
    value = value.get("concepts") if isinstance(value, dict) else value
    if not isinstance(value, list) or not value or not all(is_concept(one) for one in value):
        return None
    return [_folder(one) for one in value if one["path"].strip()]


def is_concept(one: object) -> bool:
    """Whether this is a concept: a folder with settings for its pictures or texts, as the program writes it."""
    return isinstance(one, dict) and isinstance(one.get("path"), str) and any(isinstance(one.get(k), dict) for k in ("image", "text"))


def counts(one: Mapping[str, Any]) -> tuple[float, float]:
    """(repeats, 0) of a concept, or (1, how many of its pictures an epoch takes).  Older files call the number `repeats`."""
    found = one.get("balancing", one.get("repeats", 1.0))
    number = float(found) if isinstance(found, (int, float)) and 0 < found < 1e6 else 1.0
    return (1.0, number) if str(one.get("balancing_strategy")) == "SAMPLES" else (number, 0.0)


def kind(one: Mapping[str, Any]) -> str:
    """STANDARD, VALIDATION or PRIOR_PREDICTION; older files have a switch for the second."""
    return "VALIDATION" if one.get("validation_concept") is True else str(one.get("type", "STANDARD"))


def switched_on(one: Mapping[str, Any]) -> list[str]:
    """In words, what a concept does to its pictures and captions while it is trained."""
    found = [(k, v) for part in ("image", "text") if isinstance(one.get(part), dict) for k, v in one[part].items()]
    words = [k.removeprefix("enable_").removesuffix("_enable").replace("_", " ") for k, v in found if v is True and "enable" in k and k not in USUAL]
    weight = one.get("loss_weight", 1.0)
    return words + ([f"a loss weight of {weight:g}"] if isinstance(weight, (int, float)) and weight != 1 else [])


def _folder(one: Mapping[str, Any]) -> tables.Folder:
    repeats, samples = counts(one)
    texts = one["text"] if isinstance(one.get("text"), dict) else {}
    off = "is in a concept that is switched off there" if one.get("enabled") is False else f"is in a concept that {HELD}" if kind(one) == "VALIDATION" else ""
    return tables.Folder(
        one["path"], str(one.get("name") or ""), bool(one.get("include_subdirectories")), repeats, samples, CAPTIONS.get(str(texts.get("prompt_source")), "beside"),
        str(texts.get("prompt_path") or ""), kind(one) == "PRIOR_PREDICTION", off, tuple(switched_on(one)),
    )  # fmt: skip
