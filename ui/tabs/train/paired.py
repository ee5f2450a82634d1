"""What the Train page says of edits: which presets learn them, whether the pictures are pairs, and what is missing before Start."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress

from training import registry
from training.config import DatasetUse, TrainConfig
from training.data import concepts, editing
from training.data.memory import scan
from training.data.parts import taken
from training.home import Home
from training.plan.presets import Preset

from ...language import tr


def learning(home: Home, presets: Iterable[Preset]) -> frozenset[str]:
    """The ids of the presets that learn edits."""
    known = {id: plugin.module for id, plugin in registry.find("objectives", home.plugins).items() if plugin.ok}
    able = {id for id, module in known.items() if editing.edits(module)}
    return frozenset(p.id for p in presets if p.ok and p.config.get("loss", {}).get("objective") in able)


def are_pairs(home: Home, dataset: str, part: str = "") -> bool:
    """Whether pictures of a dataset have others beside them that they are made from."""
    if not dataset:
        return False
    with suppress(ValueError, OSError):
        return bool(scan(taken(home, DatasetUse(name=dataset, part=part)).ds.path).controls)
    return False


def fault(home: Home, config: TrainConfig) -> tuple[str, list[str]]:
    """(what the pictures of an edit lack first, all of it as the estimate says it); ("", []) for nothing, and where no edit is learnt."""
    if not editing.edits(concepts.known(config, home.plugins)):
        return "", []
    with suppress(ValueError, OSError):  # a dataset that is gone or cannot be read is said in its place
        spec = registry.get("families", config.model.family, home.plugins).SPEC
        if spec.references is None:
            return "", []  # its own sentence says so
        rows = editing.rows(config, home, check=False)
        lacking = editing.likely_faults(config, spec, rows)
        if rows and len(editing.seen(rows)) == len(rows) and not any(p.references for _, _, p in rows):
            return tr(
                "An edit is learnt from pairs, but {picture} has no picture before it, and no other has: select one on the Dataset tab and add it, or choose something else to learn",
                picture=rows[0][2].id,
            ), lacking  # fmt: skip
        return next(iter(lacking), ""), lacking
    return "", []


def first(presets: Sequence[Preset], edits: frozenset[str], pairs: bool) -> list[Preset]:
    """The presets in their order, where the pictures are pairs those first that learn edits."""
    return sorted(presets, key=lambda preset: pairs and preset.id not in edits)


def hint(names: Sequence[str], here: bool) -> str:
    """What to know where the pictures are pairs.  names: of the base models that learn edits; here: the chosen one is one of them."""
    if here or not names:
        return ""
    return tr("These pictures have pictures before them. Edits are learnt with: {models}.", models=", ".join(names))
