"""Which card a run gets: one worker a card, and several workers on several cards."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..home import Home
from ..plan.cards import Gpu
from ..plan.devices import CARDS
from ..plan.estimate import peak_bytes
from ..plan.hardware import Machine, machine
from .run import Run

ENOUGH = 0.97  # of a card's memory that an estimate may come to

_needs: dict[Path, float] = {}  # run -> bytes; its job is written once


def cards_for(run: Run, home: Home) -> list[str]:
    """The UUIDs of the cards that a run may take, the best first; [] where it needs the machine for itself.

    That is the one that was chosen for it; else, or where that one is not in this computer, each on which it fits, and where it
    fits on none the largest.
    """
    seen = machine(home.root)
    if not several(seen) or run.job().get("device") not in CARDS or together(run):
        return []
    return among(seen.cards, run.wished_card(), _need_bytes(run, home))


def together(run: Run) -> bool:
    """Whether a run trains on several cards at once: then it has the machine for itself, and sees all that may be used."""
    wished = run.wished_ranks().gpus
    return (run.job().get("gpus", 1) if wished is None else wished) != 1


def several(seen: Machine) -> bool:
    """Whether workers must be told which card is theirs: there are more cards than one, and each has a name."""
    return (len(seen.cards) > 1 or seen.hides_cards) and bool(seen.cards) and all(g.uuid for g in seen.cards)


def among(cards: Sequence[Gpu], wish: str, need_bytes: float) -> list[str]:
    """See cards_for."""
    if wish in [g.uuid for g in cards]:
        return [wish]
    fitting = [g.uuid for g in cards if not g.vram_bytes or g.vram_bytes * ENOUGH >= need_bytes]
    return fitting or [cards[0].uuid]


def environment(uuid: str, cards: Sequence[Gpu]) -> dict[str, str]:
    """The variables by which a worker sees that card and no other, whatever order the driver has."""
    return _only([g for g in cards if uuid and g.uuid == uuid])


def environment_together(run: Run, seen: Machine) -> dict[str, str]:
    """The variables by which a run on several cards sees those that may be used and no others, in their order; {} for any other run."""
    return _only(seen.cards) if several(seen) and run.job().get("device") in CARDS and together(run) else {}


def _only(cards: Sequence[Gpu]) -> dict[str, str]:
    uuids, numbers = ",".join(g.uuid for g in cards), ",".join(map(str, range(len(cards))))
    if not cards:
        return {}
    if cards[0].vendor == "amd":  # the numbers count among what the first variable leaves
        return {"ROCR_VISIBLE_DEVICES": uuids, "HIP_VISIBLE_DEVICES": numbers, "CUDA_VISIBLE_DEVICES": numbers}
    return {"CUDA_VISIBLE_DEVICES": uuids}


def _need_bytes(run: Run, home: Home) -> float:
    """The memory on a card that a training, or the search for its rate, needs; 0 for other jobs, and endless where it cannot be told: then it takes the largest."""
    if run.kind not in ("train", "lr_find"):
        return 0.0
    if run.path not in _needs:
        try:
            config = run.config()
            _needs[run.path] = peak_bytes(getattr(config, "training", config), home)[0]
        except (ValueError, OSError):
            _needs[run.path] = float("inf")
    return _needs[run.path]
