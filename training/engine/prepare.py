"""Everything before the first step: the base model found, captions and pictures encoded and cached, the encoders freed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import torch

from .. import registry
from ..basemodel import fingerprint, read_configs
from ..config import TrainConfig
from ..family import Modules
from ..files import write_atomic
from ..runs.context import Context, Stopped
from . import memory
from .cache import Cache, fill
from .data import Feed, Plan, caption_record, plan
from .noise import DiscreteSchedule, FlowSchedule, read_schedule
from .randomness import generator
from .sampling import prompts
from .texts import Texts
from .weights import base_folder, placement

PIXELS_AT_ONCE = 4 * 512 * 512  # pictures of one size that are encoded together hold about this many pixels


@dataclass
class Prepared:
    """A run that is ready to learn.  m holds the VAE and no text encoder; the denoiser is loaded last, by the loop."""

    family: ModuleType
    folder: Path
    m: Modules
    plan: Plan
    feed: Feed
    schedule: DiscreteSchedule | FlowSchedule
    divisor: int
    cache: Cache
    texts: Texts


def prepare(config: TrainConfig, ctx: Context) -> Prepared:
    """All phases up to the first step.  Raises ValueError in plain words; Stopped when Stop is pressed."""
    memory.check_device(config)
    family = registry.get("families", config.model.family, ctx.home.plugins)
    ctx.phase("checking the base model")
    folder = base_folder(config.model, family, ctx)
    _, divisor = family.grid(read_configs(folder, family.SPEC))
    ctx.phase("checking the pictures")
    work = plan(config, ctx.home, divisor, ctx.warn)
    write_atomic(ctx.path("pictures.json"), json.dumps(caption_record(work), ensure_ascii=False, indent=1).encode())

    cache = Cache(ctx.home.cache)
    texts = Texts(config, ctx, family, folder, cache)
    texts.encode({c for item in work.everything for c in item.captions} | set(prompts(config)) | {config.sample.negative, ""})
    ctx.phase("loading the image encoder")
    m = family.load(folder, set(family.SPEC.parts["vae"]), placement(config.model, config.device))
    if config.model.vae_tiling:
        m.vae.enable_tiling()
    vae_print = f"{'+'.join(fingerprint(folder / p) for p in family.SPEC.parts['vae'])}:{config.model.dtype}{':tiled' * config.model.vae_tiling}"
    _encode_pictures(config, ctx, family, m, cache, vae_print, work)
    if not (config.sample.every and config.sample.prompts):
        m.vae.to("cpu")  # needed again only when somebody asks for a sample
        memory.release()
    schedule = read_schedule(m.scheduler.config, family.SPEC.prediction)
    feed = Feed(config, work, cache, vae_print, texts, schedule, config.device)
    return Prepared(family, folder, m, work, feed, schedule, divisor, cache, texts)


def _encode_pictures(config: TrainConfig, ctx: Context, family: ModuleType, m: Modules, cache: Cache, vae_print: str, work: Plan) -> None:
    """Caches the latents of every item, mirrored ones too; pictures of one size together."""
    groups: dict[tuple[int, int], list] = {}
    for item in dict.fromkeys(work.everything):
        for flip in item.flips:
            groups.setdefault((item.crop.width, item.crop.height), []).append((item.latent_key(vae_print, flip), (item, flip)))
    total = sum(map(len, groups.values()))
    done = 0
    told = _progress(ctx, "encoding pictures", "pictures")

    def encode(some):
        # one draw of the posterior per picture, seeded by what the picture is, whatever it is batched with
        for item, flip in some:
            pixels = item.pixels(flip)[None].to(config.device)
            latents = family.encode_image(m, pixels, generator("posterior", item.latent_key(vae_print, flip)))
            if not torch.isfinite(latents).all():
                raise ValueError(f"{item.id} encodes to numbers that are not finite; set model.dtype to 'bf16' or 'fp32', or leave the picture out")
            yield {"latents": latents[0]}

    for (width, height), wanted in groups.items():
        before, count = done, len(wanted)

        def tell(d: int, of: int, before=before, count=count) -> None:
            told(before + count - of + d, total)  # what the cache held counts as done

        fill(cache, wanted, encode, max(1, PIXELS_AT_ONCE // (width * height)), tell)
        done += count


def _progress(ctx: Context, name: str, unit: str):
    def told(done: int, of: int) -> None:
        ctx.phase(name, done, of, unit)
        if ctx.stop_requested():
            raise Stopped(0)

    return told
