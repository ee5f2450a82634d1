"""What a training sends to other machines and accounts, and what it costs there: said before it is started, as neither can be had back."""

from __future__ import annotations

from collections.abc import Iterator

from training import registry
from training.away import reckon
from training.away.place import Refused, Unreachable, is_away, of, where
from training.config import TrainConfig
from training.home import Home

PRICELESS = "What it costs is not known before it runs"


def leaves_here(config: TrainConfig) -> bool:
    """Whether it is done on another machine, or shown in a tracker."""
    return is_away(config) or bool(config.trackers)


def told(config: TrainConfig, home: Home) -> str:
    """The training, where it is done and shown, what goes there and the price.  Asks the place for its machines.  Raises ValueError for a place or tracker that is not there."""
    return ". ".join([f"the training '{config.name}'", *_place(config, home), *_trackers(config, home)])


def _place(config: TrainConfig, home: Home) -> Iterator[str]:
    if is_away(config):
        module, options = of(config, home.plugins)
        yield f"It is done on another machine: {where(module, options)}"
        yield module.leaves(options).rstrip(". ")
        try:
            machine = reckon.chosen(module, options)
            cost = reckon.price(machine, reckon.guess(config, machine, home)).said if machine else ""
        except (Unreachable, Refused, ValueError, OSError):
            machine, cost = None, ""
        if idle := reckon.idle_said(config, machine):
            yield idle
        yield f"It will most likely cost {cost}" if cost else PRICELESS


def _trackers(config: TrainConfig, home: Home) -> Iterator[str]:
    for use in config.trackers:
        module = registry.get("trackers", use.name, home.plugins)
        at = f" ({use.place})" if use.place else ""
        yield f"It is shown in {module.TITLE}{at}"
        if leaves := module.leaves(use.place):
            yield leaves.rstrip(". ")
