"""The training job: what a run of kind "train" does in its worker."""

from __future__ import annotations

from .. import registry
from ..away.place import is_away, problems
from ..config import TrainConfig as Config
from ..plan import optimizing
from ..runs import tracking

TITLE = "Train"
NEEDS_TOKEN = True  # a gated base model is downloaded with the user's own token
USES_GPU = lambda config: not is_away(config)  # one that is trained elsewhere takes no card here, and waits for none

__all__ = ["NEEDS_TOKEN", "TITLE", "USES_GPU", "Config", "run"]


def run(config: Config, ctx) -> None:
    """Trains until it is finished (and says so) or raises Stopped."""
    for path, text in [*optimizing.problems(config, ctx.home.plugins), *problems(config, ctx.home.plugins)]:
        raise ValueError(f"{path} {text}")
    for use in config.trackers:
        if why := tracking.unfit(use.name, ctx.home.plugins):
            ctx.warn(f"trackers has {use.name!r}, which shows nothing: {why}")
    if is_away(config):
        from ..away import relay

        return relay.run(config, ctx)
    ctx.phase("loading libraries")
    from ..engine import libraries

    libraries.load(config, registry.get("families", config.model.family, ctx.home.plugins).SPEC, optimizing.of(config.optimizer, ctx.home.plugins))
    from ..engine.loop import train

    train(config, ctx)
