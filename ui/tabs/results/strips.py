"""Samples that are drawn over pictures of the dataset: what stands beside each other in one, in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training import registry
from training.data import editing

from ...language import N_, tr


@dataclass(frozen=True)
class Strip:
    """says: above the grid.  order: on the large view, what stands there from left to right."""

    says: str
    order: str


_EDIT = Strip(
    N_("Each sample is drawn from a pair of your pictures. The table shows what was drawn; open one to see the picture before, the one after and what was drawn beside each other."),
    N_("from left to right: before, after, what was drawn"),
)
_CONTROL = Strip(
    N_("Each sample follows a control picture of yours. The table shows what was drawn; open one to see the control picture, its picture and what was drawn beside each other."),
    N_("from left to right: control picture, picture, what was drawn"),
)
_PROMPT = Strip(
    N_("Each sample is drawn after one of your pictures. The table shows what was drawn; open one to see both beside each other."),
    N_("from left to right: the picture that was shown, what was drawn"),
)
NONE = Strip("", "")


def of(job: Mapping[str, Any], plugins: Path | None) -> Strip:
    """What the samples of a run show beside what was drawn, in the language of the page; NONE for samples of prompts alone."""
    objective = registry.find("objectives", plugins).get(str(job.get("loss", {}).get("objective", "")))
    if objective and objective.ok and editing.edits(objective.module):
        return _said(_EDIT)
    adapter = registry.find("adapters", plugins).get(str(job.get("adapter", {}).get("type", "")))
    beside = getattr(adapter.module, "BESIDE", "") if adapter and adapter.ok else ""
    return _said(_CONTROL if beside == "control" else _PROMPT) if beside else NONE


def _said(strip: Strip) -> Strip:
    return Strip(tr(strip.says), tr(strip.order))
