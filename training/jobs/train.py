"""The training job: what a run of kind "train" does in its worker."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from .. import registry
from ..away.place import is_away, problems
from ..config import TrainConfig as Config
from ..plan import optimizing
from ..plan.devices import CARDS, TITLES
from ..runs import awake, milder, tracking

TITLE = "Train"
NEEDS_TOKEN = True  # a gated base model is downloaded with the user's own token
USES_GPU = lambda config: not is_away(config)  # one that is trained elsewhere takes no card here, and waits for none

__all__ = ["NEEDS_TOKEN", "TITLE", "USES_GPU", "Config", "run"]


def run(config: Config, ctx) -> None:
    """Trains until it is finished (and says so) or raises Stopped; Ended where other processes did it and said so."""
    for path, text in [*optimizing.problems(config, ctx.home.plugins), *problems(config, ctx.home.plugins)]:
        raise ValueError(f"{path} {text}")
    if is_away(config):
        from ..away import relay

        return relay.run(config, ctx)
    config = milder.applied(config, ctx.run)
    with contextlib.nullcontext() if ctx.ranks.launched else awake.held() as how:
        _train(config, ctx, how)


def _train(config: Config, ctx, awake: Callable[[], str] | None) -> None:
    """The same on this computer.  awake: says whether it is kept from sleeping."""
    if not ctx.ranks.launched:
        _with_others(config, ctx)
    for use in config.trackers:
        if why := tracking.unfit(use.name, ctx.home.plugins):
            ctx.warn(f"trackers has {use.name!r}, which shows nothing: {why}")
    ctx.phase("loading libraries")
    from ..engine import libraries

    libraries.load(config, registry.get("families", config.model.family, ctx.home.plugins).SPEC, optimizing.of(config.optimizer, ctx.home.plugins))
    from ..engine.loop import train

    if awake:
        print(f"Easel: {awake()}")
    ctx.ranks.on(config.device)
    train(config, ctx)


def _with_others(config: Config, ctx) -> None:
    """Where several processes train together, they are launched, and Ended is raised when all are gone; returns where this one is alone."""
    wish = ctx.run.wished_ranks(ctx.attempt)
    asked = config.gpus if wish.gpus is None else wish.gpus
    if asked == 0 and config.device not in CARDS:
        ctx.warn(f"gpus is 0, which on {TITLES[config.device]} is one process; say how many you want")
    if (asked == 1 or (asked == 0 and config.device not in CARDS)) and wish.nodes == 1:
        return
    ctx.phase("loading libraries")
    from ..engine import launching

    count = launching.local_processes(asked, config.device)
    if count > 1 or wish.nodes > 1:
        launching.launch(config.model_copy(update={"gpus": asked}), ctx, count, launching.Nodes(wish.nodes, 0, wish.rdzv))
