"""The end of a run: the LoRA is written, loaded again by a fresh diffusers pipeline, and its effect compared."""

from __future__ import annotations

import datetime
import os
from pathlib import Path
from types import ModuleType

from ..card import model_card
from ..config import TrainConfig
from ..deliver import deliver
from ..family import Cond
from ..files import write_atomic
from ..modelspec import modelspec_metadata
from ..runs.context import Context
from . import checkpoint, memory
from .prepare import Prepared
from .weights import adapter_layers, placement, probe

# Largest difference between the trained and the reloaded model: a share of what the LoRA changes …
TOLERANCE = {"fp32": 0.02, "bf16": 0.3, "fp16": 0.1}
# … and the share of the answer's own largest value that rounding inside the denoiser may shift: 1e-6, 0.7 % and 0.07 % on the
# built-in base, more in deeper networks.  A short run's LoRA changes less than that in half formats.
ROUNDING = {"fp32": 1e-5, "bf16": 0.03, "fp16": 0.004}


def finish(config: TrainConfig, ctx: Context, p: Prepared, adapter: ModuleType, weights_for_use) -> None:
    """Writes <name>.safetensors and README.md, proves the file, and emits `finished`.  Raises ValueError when it does not hold."""
    newest = checkpoint.saved(ctx.run.path)[-1][1]
    ctx.phase("writing the LoRA")
    name = f"{config.name}.safetensors"
    unproven = ctx.path(".unproven.safetensors")
    deliver(newest, unproven, metadata(config, p), half=config.model.dtype != "fp32")

    ctx.phase("checking the LoRA")
    layers = len(adapter_layers(p.m.denoiser))
    latents, cond = _example(config, p)
    with weights_for_use():
        trained = probe(p.family, p.m, latents, cond, p.schedule, config.device)
    p.m.denoiser = None
    memory.release()
    checked = prove(config, p, unproven, layers, trained, latents, cond)
    os.replace(unproven, ctx.path(name))
    write_atomic(ctx.path("README.md"), model_card(ctx.run, config, p.family.SPEC).encode())
    size = ctx.path(name).stat().st_size
    ctx.emit("finished", path=name, summary=f"{config.steps} steps; {layers} layers; {size / 1e6:.1f} MB; {checked}")


def metadata(config: TrainConfig, p: Prepared) -> dict[str, str]:
    """The file's own metadata: modelspec.* and ss_*, without paths."""
    date = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d")
    return modelspec_metadata(
        config, p.family.SPEC, prediction_type=p.schedule.prediction_type, pictures=len({i.id for i in p.plan.items if not i.prior}), date=date
    )


def prove(config: TrainConfig, p: Prepared, file: Path, layers: int, trained, latents, cond) -> str:
    """What was found, in words; raises ValueError unless the file, loaded from disk, does what the trained model does."""
    p.m.denoiser = p.family.load(p.folder, {p.family.SPEC.denoiser}, placement(config.model, config.device)).denoiser
    base = probe(p.family, p.m, latents, cond, p.schedule, config.device)
    pipe = p.family.pipeline(p.m)
    pipe.load_lora_weights(str(file.parent), weight_name=file.name)
    loaded = len(adapter_layers(p.m.denoiser))
    if loaded != layers:
        raise ValueError(f"the finished LoRA reached {loaded} of {layers} layers when it was loaded again; its checkpoints are kept, please report this")
    again = probe(p.family, p.m, latents, cond, p.schedule, config.device)
    effect = float((trained - base).abs().max())
    error = float((trained - again).abs().max())
    if effect == 0:
        raise ValueError("the finished LoRA changes nothing at all; raise optimizer.learning_rate or steps and train again")
    rounding = ROUNDING[config.model.dtype] * float(base.abs().max())
    if not error <= TOLERANCE[config.model.dtype] * effect + rounding:
        raise ValueError(
            f"the finished LoRA acts differently when it is loaded again: off by {error:.2g} where it changes {effect:.2g} "
            f"and rounding in {config.model.dtype} explains {rounding:.2g}; its checkpoints are kept, please report this"
        )
    return "reloaded and checked" if effect > rounding else f"reloaded, but its effect is too small to be told from rounding in {config.model.dtype}"


def _example(config: TrainConfig, p: Prepared):
    """Latents and conditioning of one training picture, for the comparison."""
    item = next(i for i in p.plan.items if not i.prior)
    latents = p.cache.get(item.latent_key(p.feed.latent_print, item.flips[0]))["latents"][None]
    return latents, Cond.of([p.texts.row(item.captions[0]) | item.geometry(item.flips[0])])
