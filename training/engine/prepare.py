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
from ..family import Cond, Modules
from ..files import write_atomic
from ..runs.context import Context, Stopped
from . import memory
from .cache import Cache, fill
from .data import Feed, Plan, caption_record, plan, text_keys
from .noise import DiscreteSchedule, read_schedule
from .randomness import generator
from .sampling import prompts
from .weights import DTYPES, base_folder

TEXT_BATCH = 16
PIXELS_AT_ONCE = 4 * 512 * 512  # pictures of one size that are encoded together hold about this many pixels


@dataclass
class Prepared:
    """A run that is ready to learn.  m holds the VAE and no text encoder; the denoiser is loaded last, by the loop."""

    family: ModuleType
    folder: Path
    m: Modules
    plan: Plan
    feed: Feed
    schedule: DiscreteSchedule
    divisor: int
    cache: Cache
    text_print: str

    def cond(self, text: str, device: str) -> Cond:
        """The cached conditioning of one text, [1,...]."""
        tensors = self.cache.get(text_keys(self.family, self.text_print)(text))
        return Cond({name: t[None].to(device) for name, t in tensors.items()})


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

    dtype = DTYPES[config.model.dtype]
    cache = Cache(ctx.home.cache)
    prints = {kind: f"{'+'.join(fingerprint(folder / p) for p in family.SPEC.parts[kind])}:{config.model.dtype}" for kind in ("text", "vae")}
    texts = {c for item in work.everything for c in item.captions} | set(prompts(config)) | {config.sample.negative, ""}
    encode_texts(config, ctx, family, folder, cache, prints["text"], sorted(texts))
    ctx.phase("loading the image encoder")
    m = family.load(folder, {"vae"}, dtype, config.device)
    _encode_pictures(config, ctx, family, m, cache, prints["vae"], work)
    if not (config.sample.every and config.sample.prompts):
        m.vae.to("cpu")  # needed again only when somebody asks for a sample
        memory.release()
    schedule = read_schedule(m.scheduler.config)
    feed = Feed(config, work, cache, prints["vae"], text_keys(family, prints["text"]), schedule, config.device)
    return Prepared(family, folder, m, work, feed, schedule, divisor, cache, prints["text"])


def encode_texts(config: TrainConfig, ctx: Context, family: ModuleType, folder: Path, cache: Cache, text_print: str, texts: list[str]) -> None:
    """Caches the conditioning of `texts`.  The encoders are loaded only if something is missing, and freed before this returns."""
    name = text_keys(family, text_print)
    if all(name(t) in cache for t in texts):
        return
    ctx.phase("loading the text encoder")
    encoders = family.load(folder, {"text"}, DTYPES[config.model.dtype], config.device)
    _say_cut(ctx, encoders, texts)
    fill(
        cache, [(name(t), t) for t in texts], lambda some: _rows(family.encode_text(encoders, some)), TEXT_BATCH,
        _progress(ctx, "reading captions", "captions"),
    )  # fmt: skip
    encoders.text_encoders.clear()
    memory.release()


def _rows(cond: Cond) -> list[dict]:
    """A Cond of B texts as B sets of tensors without the batch dimension."""
    count = len(next(iter(cond.tensors.values())))
    return [{name: t[i] for name, t in cond.tensors.items()} for i in range(count)]


def _say_cut(ctx: Context, m: Modules, texts: list[str]) -> None:
    for tokenizer in m.tokenizers:
        most = tokenizer.model_max_length
        long = [t for t in texts if len(tokenizer(t, truncation=False).input_ids) > most]
        if long:
            ctx.warn(f"{len(long)} captions are longer than the text encoder reads ({most} tokens) and are cut: “{long[0][:60]}…”")


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
