"""Everything before the first step: the base model found, captions and pictures encoded and cached, the encoders freed."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import torch

from .. import registry
from ..config import TrainConfig
from ..data import concepts, editing, frames, words
from ..family import Modules
from ..files import write_atomic
from ..formats import adapting, basehash
from ..formats.basemodel import boundary_in, fingerprint, read_configs
from ..outside import read_json
from ..plan import experts, optimizing, speeding, timelaw
from ..runs import exactly
from ..runs.context import Context, Stopped
from . import firsts, frozen, memory, noised
from .cache import Cache, fill, key
from .data import Feed, Plan, bare_captions, caption_record, plan, taught
from .drawing import bank
from .experts import Turns, turns_of
from .imageprompts import ImagePrompts
from .losses import warnings_for
from .measuring import probes
from .noise import DiscreteSchedule, FlowSchedule, read_schedule
from .randomness import generator
from .references import all_spoken, spoken
from .sampling import drawn_over, standing, texts_of
from .texts import Texts, trains_text
from .weights import base_folder, load_vae, placement

PICTURES, MAX_PICTURES_BYTES = "pictures.json", 256 << 20  # in the run's folder: what it trains on
PIXELS_AT_ONCE = 4 * 512 * 512  # pictures of one size that are encoded together hold about this many pixels


@dataclass
class Prepared:
    """A run that is ready to learn.  m holds the VAE where samples are drawn, and no text encoder; the denoiser is loaded last, by the loop."""

    family: ModuleType
    folder: Path
    m: Modules
    plan: Plan
    feed: Feed
    schedule: DiscreteSchedule | FlowSchedule
    divisor: int
    stride: int  # px per latent cell
    cache: Cache
    texts: Texts
    probes: tuple[str, ...]  # sentences by which it is measured what the base model loses
    base_hashes: dict[str, str]  # {file of weights: sha256}, of the base model that is used now
    turns: Turns | None = None  # of the denoisers that learn, where there are two


def prepare(config: TrainConfig, ctx: Context) -> Prepared:
    """All phases up to the first step.  Raises ValueError in plain words; Stopped when Stop is pressed."""
    memory.check_device(config)
    ranks = ctx.ranks
    family = registry.get("families", config.model.family, ctx.home.plugins)
    objective = concepts.objective_of(config, ctx.home.plugins)
    wrong = (*frames.problems(config, family.SPEC), *concepts.problems(config, ctx.home.plugins), *editing.problems(config, ctx.home.plugins), *words.problems(config, family.SPEC, ctx.home))
    wrong += (*experts.problems(config, family.SPEC, ctx.home.plugins), *speeding.problems(config, ctx.home))
    for path, text in (*wrong, *adapting.problems(config, ctx.home.plugins), *optimizing.problems(config, ctx.home.plugins)):
        raise ValueError(f"{path} {text}")
    takes = family.SPEC.references if editing.edits(objective) else None
    if takes:
        with ranks.in_turn():
            ctx.phase("checking the pictures")
            editing.check(config, ctx.home, family.SPEC)  # before a base model is downloaded
    with ranks.in_turn():  # what is downloaded or reckoned on the way, the others find
        ctx.phase("checking the base model")
        folder = base_folder(config.model, family, ctx)
        for path, text in experts.outside(config.loss, boundary_in(folder, family.SPEC)) if family.SPEC.experts else ():
            raise ValueError(f"{path} {text}")
        hashes = _hash_base(config, ctx, family, folder)
        stride, divisor = family.grid(read_configs(folder, family.SPEC.without(config.model.leave_out)))
        ctx.phase("checking the pictures")
        if ranks.first and ctx.run.kind == config.kind:  # a search for the rate learns nothing for good
            exactly.note(config, ctx)
        work = plan(config, ctx.home, family.SPEC, divisor, ctx.warn, _held_before(ctx)) if config.data.datasets else bank(config, objective, divisor, key(*sorted(hashes.items())))
        firsts.check(config, family.SPEC, ctx.home)
        if ranks.first:
            write_atomic(ctx.path(PICTURES), json.dumps(caption_record(work), ensure_ascii=False, indent=1).encode())

    sentences = words.sentences_of(config, family.SPEC, ctx.home) if config.keep.on else ()
    cache = Cache(ctx.home.cache, ctx.warn)
    texts = Texts(config, ctx, family, folder, cache, learning=trains_text(config, ctx))
    by_words = concepts.by_words(objective)
    own = config.keep.on and config.keep.own and not config.keep.drawn and not by_words
    bare = {c for item in work.items for c in bare_captions(item, config.triggers)} if own else set()
    changed = taught(config, objective, work.items) if by_words else set()
    asks = probes(config, family.SPEC, ctx.home, registry.get("adapters", config.adapter.type, ctx.home.plugins)) if work.held_out else ()
    captions = {said for item in work.everything for said in all_spoken(config, takes, item.captions, item.references, item.flips)}
    probed = {spoken(takes, sentence, work.held_out[0].references, False) for sentence in asks} if takes and takes.needed else set(asks)
    drawn = texts_of(config, standing(config, ctx), takes, drawn_over(work))
    texts.encode(captions | changed | bare | set(sentences) | probed | drawn | {""}, ranks)
    m = family.load(folder, set(), placement(config.model, config.device))  # the scheduler
    m.scheduler = noised.as_chosen(m.scheduler, config.model, family.SPEC)
    vae_print = f"{'+'.join(fingerprint(folder / p) for p in family.SPEC.parts['vae'])}:{config.model.dtype}{':tiled' * config.model.vae_tiling}"

    def with_vae() -> Modules:
        if m.vae is None:
            ctx.phase("loading the image encoder")
            loaded = load_vae(config, family, folder)
            m.vae, m.eye, m.tokenizers = loaded.vae, loaded.eye, loaded.tokenizers
        return m

    _encode_pictures(config, ctx, family, with_vae, cache, vae_print, work)
    _encode_references(config, ctx, family, with_vae, cache, vae_print, work)
    first_print = "+".join([vae_print, *(fingerprint(folder / p) for p in family.SPEC.parts.get("eye", ()))]) if family.SPEC.first_frame else ""
    if first_print:
        _encode_first(ctx, family, with_vae, cache, first_print, work)
    ctx.share_warnings()  # each has seen its share alone
    beside = family.SPEC.beside.get(config.adapter.type)
    prompts = None
    if beside and beside.shown == "picture":
        with ranks.in_turn():
            prompts = ImagePrompts(config, ctx, beside, cache)
            prompts.encode([(item, flip) for item in dict.fromkeys(work.everything) for flip in item.flips], _progress(ctx, "looking at the pictures", "pictures"))
    elif beside:
        with ranks.in_turn():
            _read_controls(ctx, family, with_vae, cache, vae_print, work, beside.shown, config.device)
    if config.sample.every and config.sample.prompts:
        with_vae()
    else:
        m.vae = m.eye = None  # the loop loads them again when somebody asks for a sample
    memory.release()
    with ranks.in_turn():
        _average_masks(ctx, cache, stride, work)
    flow = family.SPEC.prediction == "flow"
    law = timelaw.of_config(config.loss, m.scheduler.config if flow else None, family.SPEC.latent.patch)
    turns = turns_of(config, family.SPEC, law, m.index["boundary_ratio"]) if family.SPEC.experts else None
    if turns and len(turns.experts) == 1:
        law = turns.laws[turns.experts[0].folder]
    schedule = read_schedule(m.scheduler.config, family.SPEC.prediction, law)
    for text in (*warnings_for(config.loss, family.SPEC.prediction), *noised.remarks(config.model, family.SPEC, m.scheduler), *speeding.remarks(config, family.SPEC), *concepts.idle(config, ctx.home.plugins), *editing.idle(config, ctx.home.plugins), *experts.idle(config, family.SPEC), *(turns.said(config.steps) if turns else ())):
        ctx.warn(text)
    feed = Feed(config, work, cache, vae_print, texts, schedule, config.device, sentences, objective, beside.shown if beside else "", prompts, takes, turns, first_print)
    return Prepared(family, folder, m, work, feed, schedule, divisor, stride, cache, texts, asks, hashes, turns)


def _held_before(ctx: Context) -> frozenset[str]:
    """The pictures that an earlier attempt of the run held out: what was measured is to be measured on, whatever is found to be a twin meanwhile."""
    try:
        rows = read_json(ctx.path(PICTURES), MAX_PICTURES_BYTES)
        return frozenset(str(row["id"]) for row in rows if row["held_out"] is True)
    except (OSError, ValueError, KeyError, TypeError):
        return frozenset()


def _hash_base(config: TrainConfig, ctx: Context, family: ModuleType, folder: Path) -> dict[str, str]:
    """{file of weights: sha256} of the base model, reckoned anew where it is not known.  Raises ValueError for a damaged file; Stopped."""
    told = _progress(ctx, "checking the base model's files", "bytes")
    files = basehash.base_files(folder, family.SPEC.without(config.model.leave_out))
    return basehash.hashes(files, ctx.home.root / ".easel" / "weights.json", told) | frozen.context_hash(config, ctx)


def _encode_pictures(
    config: TrainConfig, ctx: Context, family: ModuleType, with_vae: Callable[[], Modules], cache: Cache, vae_print: str, work: Plan
) -> None:
    """Caches the latents of every item, mirrored ones too; pictures of one size together, and clips of one size and length; each rank its share.

    with_vae is asked only where something is missing.
    """
    groups: dict[tuple, list] = {}
    every = [(item, flip) for item in work.encoded for flip in item.flips]
    for item, flip in ctx.ranks.share(every):
        groups.setdefault(item.bucket[:3], []).append((item.latent_key(vae_print, flip), (item, flip)))
    total, done = len(every), 0
    told = _progress(ctx, "encoding pictures", "pictures")

    def encode(some):
        # one draw of the posterior per picture, seeded by what the picture is, whatever it is batched with
        for item, flip in some:
            pixels = item.pixels(flip)[None].to(config.device)
            if family.SPEC.latent.video and pixels.ndim == 4:
                pixels = pixels.unsqueeze(2)  # a picture is a clip of one frame
            latents = family.encode_image(with_vae(), pixels, generator("posterior", item.latent_key(vae_print, flip)))
            if not torch.isfinite(latents).all():
                raise ValueError(f"{item.id} encodes to numbers that are not finite; set model.dtype to 'bf16' or 'fp32', or leave the picture out")
            yield {"latents": latents[0]}

    for (width, height, length), wanted in groups.items():
        before, count = done, len(wanted)

        def tell(d: int, of: int, before=before, count=count) -> None:
            told(min((before + count - of + d) * ctx.ranks.world, total), total)  # what the cache held counts as done; the others are about as far

        fill(cache, wanted, encode, max(1, PIXELS_AT_ONCE // (width * height * length)), tell)
        done += count
    ctx.ranks.wait()


def _encode_references(config: TrainConfig, ctx: Context, family: ModuleType, with_vae: Callable[[], Modules], cache: Cache, vae_print: str, work: Plan) -> None:
    """Caches the latents of what every item is made from, mirrored ones too; each rank its share."""
    every = [(r, flip) for item in dict.fromkeys(work.everything) for r in item.references for flip in item.flips]
    told = _progress(ctx, "encoding what pictures are made from", "pictures")

    def encode(some):
        for reference, flip in some:
            latents = family.encode_reference(with_vae(), reference.pixels(flip)[None].to(config.device))[0]
            if not torch.isfinite(latents).all():
                raise ValueError(f"{reference.control.path.name} encodes to numbers that are not finite; set model.dtype to 'bf16' or 'fp32', or leave the picture out")
            yield {"reference": latents}

    fill(cache, [(r.key(vae_print, flip), (r, flip)) for r, flip in ctx.ranks.share(every)], encode, 1, told if every else lambda *_: None)


def _encode_first(ctx: Context, family: ModuleType, with_vae: Callable[[], Modules], cache: Cache, encoder: str, work: Plan) -> None:
    """Caches what the denoiser is told of the first frame of every item, mirrored ones too; each rank its share."""
    wanted = ctx.ranks.share([(item, flip) for item in dict.fromkeys(work.encoded) for flip in item.flips])

    def read(some):
        for item, flip in some:
            with torch.no_grad():
                yield {name: tensor.cpu() for name, tensor in family.encode_first(with_vae(), item.first_frame(flip), item.segment.frames).items()}

    fill(cache, [(item.first_key(encoder, flip), (item, flip)) for item, flip in wanted], read, 1, _progress(ctx, "reading first frames", "clips"))
    ctx.ranks.wait()


def _read_controls(ctx: Context, family: ModuleType, with_vae: Callable[[], Modules], cache: Cache, vae_print: str, work: Plan, shown: str, device: str) -> None:
    """Caches the control picture of every item that has one, mirrored ones too, in the form that its network is shown."""
    wanted = [(item, flip) for item in dict.fromkeys(work.everything) if item.control for flip in item.flips]
    encoder = vae_print if shown == "latents" else ""

    def read(some):
        for item, flip in some:
            picture = item.control_pixels(flip)
            if not encoder:
                yield {"control": picture}
                continue
            pixels = (picture.float() / 127.5 - 1)[None].to(device)
            yield {"control": family.encode_image(with_vae(), pixels, generator("posterior", item.control_key(encoder, flip)))[0]}

    fill(cache, [(item.control_key(encoder, flip), (item, flip)) for item, flip in wanted], read, 1, _progress(ctx, "reading control pictures", "pictures"))


def _average_masks(ctx: Context, cache: Cache, stride: int, work: Plan) -> None:
    """Caches the mask of every item that has one, in latent cells; says which hide the whole picture."""
    masked = [(item, flip) for item in work.encoded if item.mask for flip in item.flips]
    wanted = [(item.mask_key(stride, flip), (item, flip)) for item, flip in masked]
    fill(cache, wanted, lambda some: [{"mask": item.mask_cells(stride, flip)} for item, flip in some], 1, _progress(ctx, "reading masks", "masks"))
    empty = sorted({item.id for item, flip in masked if not cache.get(item.mask_key(stride, flip))["mask"].any()})
    if empty:
        ctx.warn(f"the masks of {len(empty)} pictures hide all that is trained of them: {', '.join(empty[:5])}")


def _progress(ctx: Context, name: str, unit: str):
    def told(done: int, of: int) -> None:
        ctx.phase(name, done, of, unit)
        if ctx.stop_requested():
            raise Stopped(0)

    return told
