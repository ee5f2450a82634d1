"""The end of a run: the result is written, loaded again as a user's program would, and its effect compared."""

from __future__ import annotations

import datetime
import os
import shutil
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor, nn

from ..config import TrainConfig
from ..family import Cond
from ..files import write_atomic
from ..formats.adapting import adapter_layers, is_whole, stands_alone
from ..formats.beside import SHARD_SIZE
from ..formats.deliver import Offer, deliver, needed, offers
from ..formats.modelspec import modelspec_metadata
from ..hub.card import model_card
from ..runs.context import Context
from . import adapter_files, blocks, checkpoint, experts, frozen, memory, noised, side
from .prepare import Prepared
from .shards import Unsplit
from .weights import DTYPES, load_denoiser, load_part, placement, probe

# Largest difference between the trained and the reloaded model: a share of what the adapter changes …
TOLERANCE = {"fp32": 0.005, "bf16": 0.3, "fp16": 0.1}
# … and the share of the answer's own largest value that rounding inside the denoiser may shift: 1e-6, 0.7 % and 0.07 % on the
# built-in base, more in deeper networks.  A short run's adapter changes less than that in half formats.
ROUNDING = {"fp32": 1e-5, "bf16": 0.03, "fp16": 0.004}


def finish(config: TrainConfig, ctx: Context, p: Prepared, adapter: ModuleType, modules: dict[str, nn.Module], weights_for_use, step: int = 0, held: Unsplit | None = None) -> None:
    """Writes the result and README.md, proves the result, and emits `finished`.  Raises ValueError when it does not hold.

    Where the denoiser is split among processes, all of them call this, and the first one writes.

    The result is <name>.safetensors, or where no single file serves both diffusers and ComfyUI one for each, or for an adapter that
    moves the base's own weights the folder <name>/<denoiser>, or for one that hangs beside it <name>/<kind>.

    weights_for_use: a context in which the modules hold what the result is made of.  step: of its checkpoint, 0 for the newest.
    """
    held = held or Unsplit(config, ctx)
    first = ctx.ranks.first
    layers = {name: adapter_layers(module) for name, module in modules.items()}
    whole, alone = is_whole(adapter), stands_alone(adapter)
    wanted = needed(offers(p.family.SPEC, config.adapter.type, adapter, p.family.SPEC.learning(config.loss.expert)))
    proven = [offer for offer in wanted if offer.layout == wanted[0].layout]  # one file, or one for each of two denoisers
    how = {"metadata": metadata(config, p, ctx.home.plugins), "half": config.model.dtype != "fp32", "spec": p.family.SPEC}
    unproven = ctx.path(".unproven")
    ctx.phase("writing the result")
    with weights_for_use():
        if p.m.side:
            side.write(config, p.family.SPEC, p.m, unproven)
        elif whole:
            _write_denoiser(config, p, unproven, held)
        elif first:
            for offer in proven:
                deliver(_of_step(ctx, step), _unproven(ctx, offer), layout=offer.layout, expert=offer.expert, **how)
        if held.split:
            ctx.ranks.wait()  # the others read what the first one wrote
        ctx.phase("checking the result")
        with memory.autocast(config) if held.learning else nullcontext():  # its weights are fp32 still
            trained = _answer(config, p, step)
    for text in p.turns.said(step) if p.turns and step else ():  # of the whole run it was said when that began
        ctx.warn(text)
    modules.clear()
    _let_go(p)
    name = proven[0].file_name(config.name) if proven else config.name
    checked = prove(config, p, {_unproven(ctx, offer): offer for offer in proven}, layers, trained, held, step) if proven else prove_folder(config, p, unproven, trained, held, step)
    _let_go(p)
    if not first:
        return
    if alone:
        shutil.rmtree(ctx.path(name), ignore_errors=True)  # of an earlier attempt that was cut off between here and its event
        os.replace(unproven, ctx.path(name))
    for offer in wanted:
        if offer in proven:
            os.replace(_unproven(ctx, offer), ctx.path(offer.file_name(config.name)))
        else:  # the same weights under other names
            deliver(_of_step(ctx, step), ctx.path(offer.file_name(config.name)), layout=offer.layout, expert=offer.expert, **how)
    write_atomic(ctx.path("README.md"), model_card(ctx.run, config, p.family.SPEC, plugins=ctx.home.plugins).encode())
    size = sum(f.stat().st_size for f in ([ctx.path(o.file_name(config.name)) for o in proven] if not alone else ctx.path(name).rglob("*")) if f.is_file())
    what = adapter.TITLE if p.m.side else "the whole denoiser" if whole else f"{sum(map(len, layers.values()))} layers"
    steps = f"ended by itself with step {step} of {config.steps}" if step else f"{config.steps} steps"
    ctx.emit("finished", path=name, summary=f"{steps}; {what}; {size / 1e6:.1f} MB; {checked}", **({"step": step} if step else {}))


def _unproven(ctx: Context, offer: Offer) -> Path:
    """Where a file lies until it is proven."""
    return ctx.path(f".unproven{offer.expert.ending if offer.expert else ''}.safetensors")


def _of_step(ctx: Context, step: int) -> Path:
    """Its checkpoint; 0: the newest."""
    found = checkpoint.saved(ctx.run.path)
    return dict(found)[step] if step else found[-1][1]


def _let_go(p: Prepared) -> None:
    """No model is loaded any more.  One that was loaded on a CPU still maps its file, and Windows renames and deletes nothing that is mapped."""
    p.m.denoiser = None
    p.m.text_encoders.clear()
    memory.release()


def _write_denoiser(config: TrainConfig, p: Prepared, folder: Path, held: Unsplit) -> None:
    """The denoiser as it is now, in the run's number format, as diffusers saves it: folder/<denoiser>.  One that is split stays as it is, in fp32."""
    denoiser = held.gathered(p.m.denoiser, DTYPES[config.model.dtype])
    if denoiser is None:
        return
    shutil.rmtree(folder, ignore_errors=True)
    denoiser.save_pretrained(folder / p.family.SPEC.denoiser, max_shard_size=SHARD_SIZE)


def metadata(config: TrainConfig, p: Prepared, plugins: Path) -> dict[str, str]:
    """The file's own metadata: modelspec.* and ss_*, without paths."""
    date = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d")
    zero = str(noised.ends_in_noise(p.m.scheduler.config)) if p.family.SPEC.prediction == "scheduler" else ""
    beside = next((sha256 for name, sha256 in p.base_hashes.items() if name.startswith(frozen.CONTEXT)), "")
    return modelspec_metadata(
        config, p.family.SPEC, context_sha256=beside, zero_terminal_snr=zero, prediction_type=p.schedule.prediction_type, pictures=len({i.id for i in p.plan.items if not i.prior and i.path}), date=date, plugins=plugins
    )


def prove(config: TrainConfig, p: Prepared, files: dict[Path, Offer], layers: dict[str, list[str]], trained: list[Tensor], held: Unsplit, step: int = 0) -> str:
    """What was found, in words; raises ValueError unless the files, loaded from disk, do what the trained model does.

    layers: folder -> layers that were trained.  Loaded by diffusers' pipeline where it takes this file, else by our own loader.
    """
    with held.loading():
        modules = _load_base(config, p, held)
        held.divide(p.m.denoiser)
    base = _answer(config, p, step)
    with held.loading():
        if held.split:  # an adapter goes into a denoiser before that is split
            _let_go(p)
            modules = _load_base(config, p, held)
        for file, offer in files.items():
            if offer.pipeline:
                told = {offer.expert.asked: True} if offer.expert and offer.expert.asked else {}
                p.family.pipeline(p.m).load_lora_weights(str(file.parent), weight_name=file.name, **told)
            else:
                adapter_files.load(file, modules, p.family.SPEC)
        blocks.settle(p.m.denoiser, config.device)
        held.divide(p.m.denoiser)
    for name, trained_layers in layers.items():
        reached = adapter_layers(modules[name])
        if not set(reached) >= set(trained_layers):  # diffusers may add layers of zeros (Wan's for pictures), which the comparison below would see if they acted
            raise ValueError(
                f"the finished adapter reached {len(set(reached) & set(trained_layers))} of {len(trained_layers)} layers of {name} when it was loaded again; "
                "its checkpoints are kept, please report this"
            )
    return _compare(config, base, trained, _answer(config, p, step))


def prove_folder(config: TrainConfig, p: Prepared, folder: Path, trained: list[Tensor], held: Unsplit, step: int = 0) -> str:
    """The same for a network of its own, a whole denoiser or what hangs beside one, which from_pretrained loads."""
    beside, p.m.side = p.m.side, None
    with held.loading():
        _load_base(config, p, held)
        cls = type(p.m.denoiser)
        held.divide(p.m.denoiser)
    base = _answer(config, p, step)
    if beside:
        p.m.side = side.load(config, p.family, p.m, beside.adapter, folder)
        return _compare(config, base, trained, _answer(config, p, step))
    p.m.denoiser = None
    with held.loading():
        p.m.denoiser = load_part(cls, folder / p.family.SPEC.denoiser, placement(config.model, held.device))
        frozen.attach_context(config, p.family, p.m, held.ctx)
        held.divide(p.m.denoiser)
    return _compare(config, base, trained, _answer(config, p, step))


def _load_base(config: TrainConfig, p: Prepared, held: Unsplit) -> dict[str, nn.Module]:
    """{folder: module} of what was trained, fresh from the base model."""
    p.m.denoiser = load_denoiser(config, p.family, p.folder, held.device)
    frozen.attach_context(config, p.family, p.m, held.ctx)
    p.texts.keep_alive(p.m)
    return {**experts.networks(p.m.denoiser, p.family.SPEC), **p.m.text_encoders}


def _answer(config: TrainConfig, p: Prepared, step: int) -> list[Tensor]:
    """What the modules as they are now say of one training picture and its caption; each of two denoisers that had learnt by then is asked at a level of its own.  step: 0 for the last."""
    item = next(i for i in p.plan.items if not i.prior)
    latents = p.cache.get(item.latent_key(p.feed.latent_print, item.flips[0]))["latents"][None]
    with torch.no_grad():
        cond = Cond.of([p.feed.told(item, item.flips[0])])
    levels = p.turns.middles(step or config.steps) if p.turns else [p.schedule.at(0.5)]
    return [probe(p.family, p.m, latents, cond, level, config.device) for level in levels]


def _compare(config: TrainConfig, base: list[Tensor], trained: list[Tensor], again: list[Tensor]) -> str:
    """What was found, in words, the least that holds of all answers.  Raises ValueError where the result, loaded again, does not do what was trained."""
    found = [_compared(config, *three) for three in zip(base, trained, again, strict=True)]
    return max(found, key=len)


def _compared(config: TrainConfig, base: Tensor, trained: Tensor, again: Tensor) -> str:
    effect = float((trained - base).abs().max())
    error = float((trained - again).abs().max())
    if effect == 0:
        raise ValueError("the finished adapter changes nothing at all; raise optimizer.learning_rate or steps and train again")
    rounding = ROUNDING[config.model.dtype] * float(base.abs().max())
    if not error <= TOLERANCE[config.model.dtype] * effect + rounding:
        raise ValueError(
            f"the finished adapter acts differently when it is loaded again: off by {error:.2g} where it changes {effect:.2g} "
            f"and rounding in {config.model.dtype} explains {rounding:.2g}; its checkpoints are kept, please report this"
        )
    return "reloaded and checked" if effect > rounding else f"reloaded, but its effect is too small to be told from rounding in {config.model.dtype}"
