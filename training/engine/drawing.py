"""What the base model draws itself before the first step: to be held (keep.drawn), or to be changed by words (concept.drawn)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from ..config import TrainConfig
from ..data import concepts
from ..family import Cond, Modules
from ..runs.context import Context, Stopped
from . import noised
from .buckets import Crop, bucket_sizes, choose
from .cache import Cache, key
from .data import Drawn, Item, Plan
from .memory import autocast
from .randomness import generator, number, permutation
from .sampling import Interrupted, interruptible

TOGETHER_PX = 16 * 64 * 64  # pictures of one size that are drawn in one call hold about this many px
PIXELS = "pixels"  # in the cache beside the latents: what was drawn, [3,H,W] uint8

Rows = Callable[[list[str]], list[dict[str, Tensor]]]  # Texts.rows


def wanted(config: TrainConfig, items: Sequence[Item], sentences: Sequence[str], base: str) -> list[list[Drawn]]:
    """Groups of one size that are drawn together: keep.drawn pictures over all sizes of `items`, by how often each comes, at least one of each.

    base: what says which weights draw.  Nothing here depends on the run's seed, so that another run finds them in the cache.
    """
    counts = Counter(item.bucket for item in items)
    order = permutation(len(sentences), "drawn", len(sentences))
    made: list[list[Drawn]] = []
    for bucket, count in sorted(counts.items()):
        amount = max(1, round(config.keep.drawn * count / len(items)))
        asks = [(sentences[order[k % len(order)]], ()) for k in range(amount)]
        made += _groups(config, base, bucket[:2], asks, prior=True)
    return made


def bank(config: TrainConfig, objective: ModuleType, divisor: int, base: str) -> Plan:
    """What a run without pictures trains on, where words are changed: concept.drawn pictures of the targets and of where they are to go, at every resolution.

    A picture at a level of noise is what the base's own sampler comes by on its way there, so noising what it drew stands in for stopping it
    half-way, as LECO (p1atdev/LECO, train_lora.py) and the paper do at every step: no denoising in the step, and nothing that depends on a run.
    """
    c = config.concept
    told = [concepts.words_of(target, objective) for target in c.targets]
    wanted = [(at, words[turn]) for turn in range(max(map(len, told))) for at, words in enumerate(told) if turn < len(words)]  # every target once before any twice
    asks = []
    for k in range(c.drawn):
        at, words = wanted[k % len(wanted)]
        context = c.contexts[number("context", k) % len(c.contexts)]
        asks.append((concepts.in_context(context, words), ((at, context),)))
    groups: list[list[Drawn]] = []
    for side in config.data.resolutions:
        groups += _groups(config, base, choose(1, 1, bucket_sizes(side, divisor, 1.0)), asks, prior=False)
    items = tuple(item for group in groups for item in group)
    return Plan(items, (), key("bank", *(item.sha256 for item in items)), tuple(map(tuple, groups)))


def _groups(config: TrainConfig, base: str, size: tuple[int, int], asks: Sequence[tuple[str, tuple]], prior: bool) -> list[list[Drawn]]:
    """Pictures of one size, those of one call of the pipeline together.  asks: (sentence, places) of each."""
    (width, height), s, made = size, config.sample, []
    predicts = [f"{name}={value}" for name in ("prediction", "zero_terminal_snr") if (value := getattr(config.model, name)) != "auto"]
    together = max(1, TOGETHER_PX // (width * height))
    for at in range(0, len(asks), together):
        group = asks[at : at + together]
        how = (base, config.model.dtype, config.model.quantise, config.model.quantise_text, width, height, s.steps, s.guidance, s.negative, *(text for text, _ in group), *predicts)
        crop = Crop((width, height), 0, 0, width, height)
        made.append([
            Drawn(f"drawn/{width}x{height}/{at + k}", "", key("by", at, k, *how), (text,), (width, height), crop, (False,), prior=prior, places=places)
            for k, (text, places) in enumerate(group)
        ])  # fmt: skip
    return made


def draw(
    config: TrainConfig, ctx: Context, family: ModuleType, with_vae: Callable[[], Modules], rows: Rows, cache: Cache, encoder: str,
    groups: Sequence[Sequence[Drawn]],
) -> dict[tuple[int, int, int], list[Drawn]]:
    """{bucket: pictures}, drawn and encoded where the cache lacks them.  Raises Stopped; ValueError where a picture is not finite."""
    total, done = sum(map(len, groups)), 0
    made: dict[tuple[int, int, int], list[Drawn]] = {}
    for group in groups:
        if ctx.stop_requested():
            raise Stopped(0)
        ctx.phase("drawing what the base model knows" if group[0].prior else "drawing what is to change", done, total, "pictures")
        if not all(item.latent_key(encoder, False) in cache for item in group):
            _fill(config, ctx, family, with_vae(), rows, cache, encoder, group)
        made.setdefault(group[0].bucket, []).extend(group)
        done += len(group)
    return made


def _fill(config: TrainConfig, ctx: Context, family: ModuleType, m: Modules, rows: Rows, cache: Cache, encoder: str, group: Sequence[Drawn]) -> None:
    for item, pixels in zip(group, _pictures(config, ctx, family, m, rows, group), strict=True):
        values = (pixels.float() / 127.5 - 1)[None].to(config.device)
        if family.SPEC.latent.video:
            values = values.unsqueeze(2)  # a picture is a clip of one frame
        with torch.no_grad():
            latents = family.encode_image(m, values, generator("posterior", item.sha256))
        if not torch.isfinite(latents).all():
            raise ValueError("the base model draws pictures that are not finite; set model.dtype to 'bf16' or 'fp32'" + ", or keep.drawn to 0" * group[0].prior)
        cache.put(item.latent_key(encoder, False), {"latents": latents[0], PIXELS: pixels})


def _pictures(config: TrainConfig, ctx: Context, family: ModuleType, m: Modules, rows: Rows, group: Sequence[Drawn]) -> list[Tensor]:
    """[3,H,W] uint8 each, by the family's pipeline: in one call where no sentence would have to be padded for it."""
    pipe, s = family.pipeline(m), config.sample
    pipe.set_progress_bar_config(disable=True)
    said, avoided = rows([item.captions[0] for item in group]), rows([s.negative])[0]
    alike = all(row[name].shape == said[0][name].shape for row in said for name in row)
    width, height = group[0].size
    video = {"num_frames": 1} if family.SPEC.latent.video else {}
    made = []
    for part in [list(range(len(group)))] if alike else [[k] for k in range(len(group))]:
        cond, negative = (Cond.of(some).to(config.device) for some in ([said[k] for k in part], [avoided] * len(part)))
        seeds = [torch.Generator().manual_seed(number("drawn", group[k].sha256)) for k in part]
        try:
            with torch.no_grad(), autocast(config), interruptible((m.denoiser, m.vae), ctx.stop_requested):
                drawn = pipe(
                    **family.draw_args(m, cond, negative, s.guidance), num_inference_steps=s.steps, width=width, height=height, output_type="pil",
                    generator=seeds if len(seeds) > 1 else seeds[0], **noised.rescaled(pipe, m.scheduler), **video,
                )  # fmt: skip
        except Interrupted:
            raise Stopped(0) from None
        made += [clip[0] for clip in drawn.frames] if video else drawn.images
    return [torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1).contiguous() for picture in made]
