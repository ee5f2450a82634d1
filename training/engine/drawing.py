"""What the base model draws itself before the first step, so that a run can hold it: see keep.drawn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from types import ModuleType

import numpy as np
import torch
from torch import Tensor

from ..config import TrainConfig
from ..family import Cond, Modules
from ..runs.context import Context, Stopped
from .buckets import Crop
from .cache import Cache, key
from .data import Drawn, Item
from .memory import autocast
from .randomness import generator, number, permutation
from .sampling import Interrupted, interruptible

TOGETHER_PX = 16 * 64 * 64  # pictures of one size that are drawn in one call hold about this many px
MOST_TOGETHER = 16
PIXELS = "pixels"


def wanted(config: TrainConfig, items: Sequence[Item], sentences: Sequence[str], base: str) -> list[list[Drawn]]:
    """Groups that are drawn in one call: keep.drawn pictures over all sizes of `items`, by how often each comes, at least one of each.

    base: what says which weights draw.  Nothing here depends on the run's seed, so that another run finds them in the cache.
    """
    counts, s = Counter(item.bucket for item in items), config.sample
    order = permutation(len(sentences), "drawn", len(sentences))
    made: list[list[Drawn]] = []
    for bucket, count in sorted(counts.items()):
        width, height, _ = bucket
        number_ = max(1, round(config.keep.drawn * count / len(items)))
        words = [sentences[order[k % len(order)]] for k in range(number_)]
        size = max(1, min(MOST_TOGETHER, TOGETHER_PX // (width * height)))
        for at in range(0, number_, size):
            group = words[at : at + size]
            how = (base, config.model.dtype, config.model.quantise, width, height, s.steps, s.guidance, s.negative, *group)
            crop = Crop((width, height), 0, 0, width, height)
            made.append([Drawn(f"drawn/{width}x{height}/{at + k}", "", key("by", at, k, *how), (text,), (width, height), crop, (False,), prior=True) for k, text in enumerate(group)])
    return made


def draw(
    config: TrainConfig, ctx: Context, family: ModuleType, with_vae: Callable[[], Modules], cond: Callable[[str], Cond], cache: Cache, encoder: str,
    groups: Sequence[Sequence[Drawn]],
) -> dict[tuple[int, int, int], list[Drawn]]:
    """{bucket: pictures}, drawn and encoded where the cache lacks them.  Raises Stopped; ValueError where a picture is not finite."""
    total, done = sum(map(len, groups)), 0
    made: dict[tuple[int, int, int], list[Drawn]] = {}
    for group in groups:
        if ctx.stop_requested():
            raise Stopped(0)
        ctx.phase("drawing what the base model knows", done, total, "pictures")
        if not all(item.latent_key(encoder, False) in cache for item in group):
            _fill(config, ctx, family, with_vae(), cond, cache, encoder, group)
        made.setdefault(group[0].bucket, []).extend(group)
        done += len(group)
    return made


def _fill(config: TrainConfig, ctx: Context, family: ModuleType, m: Modules, cond, cache: Cache, encoder: str, group: Sequence[Drawn]) -> None:
    for item, pixels in zip(group, _pictures(config, ctx, family, m, cond, group), strict=True):
        values = (pixels.float() / 127.5 - 1)[None].to(config.device)
        if family.SPEC.latent.video:
            values = values.unsqueeze(2)  # a picture is a clip of one frame
        with torch.no_grad():
            latents = family.encode_image(m, values, generator("posterior", item.sha256))
        if not torch.isfinite(latents).all():
            raise ValueError("the base model draws pictures that are not finite; set model.dtype to 'bf16' or 'fp32', or keep.drawn to 0")
        cache.put(item.latent_key(encoder, False), {"latents": latents[0], PIXELS: pixels})


def _pictures(config: TrainConfig, ctx: Context, family: ModuleType, m: Modules, cond, group: Sequence[Drawn]) -> list[Tensor]:
    """One call of the family's pipeline: [3,H,W] uint8 each."""
    pipe, s = family.pipeline(m), config.sample
    pipe.set_progress_bar_config(disable=True)
    alone = len(group) == 1
    video = {"num_frames": 1} if family.SPEC.latent.video else {}
    stack = (lambda texts: cond(texts[0])) if alone else (lambda texts: Cond.of([{n: t[0] for n, t in cond(text).tensors.items()} for text in texts]).to(config.device))
    try:
        with torch.no_grad(), autocast(config), interruptible((m.denoiser, m.vae), ctx.stop_requested):
            drawn = pipe(
                **family.draw_args(m, stack([item.captions[0] for item in group]), stack([s.negative] * len(group)), s.guidance),
                num_inference_steps=s.steps, width=group[0].size[0], height=group[0].size[1], output_type="pil",
                generator=[torch.Generator().manual_seed(number("drawn", item.sha256)) for item in group], **video,
            )  # fmt: skip
    except Interrupted:
        raise Stopped(0) from None
    pictures = [clip[0] for clip in drawn.frames] if video else drawn.images
    return [torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1).contiguous() for picture in pictures]
