"""What a training will take, before it is started: steps, epochs, time, memory, disk; and whether it fits.

Everything follows from the config, the headers of the base model's files (layers.py) and the machine.  Time comes from
earlier runs on this machine where there is one like it (pace.py); else from a count of operations and the device's rate,
which is right within a factor of two or so, and says so.
"""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

from .. import registry
from ..config import SamplePart, TrainConfig
from ..data import concepts, editing, pairs, words
from ..data.frames import left_out, segments
from ..data.parts import taken
from ..family import FamilySpec
from ..formats.adapting import in_force, is_whole
from ..formats.beside import is_beside, needs_control
from ..home import Home
from . import layers, optimizing, pays, prompts, sharing, speeding
from .devices import CARDS
from .hardware import Machine
from .layers import BaseModel
from .need import BYTES, EVERY, Learning, Size, held, need
from .pace import Pace, measured

# Forward + backward over frozen weights: gradients flow through every layer, but only the adapter's own are kept.
# Counted with torch's FlopCounterMode on SD 1.5's UNet with a LoRA: 1.96 forward passes; recomputing activations adds one.
PASSES, RECOMPUTING = 2.0, 1.0
QUANTISED_PASSES = 0.2  # dequantising each weight, forward and backward: of the order of a tenth of the product with 4096 tokens

COPIES = 2  # of a block that waits in RAM: for the forward pass, and for its recomputation before the backward pass
COPIED_BYTES_S = 6e9  # from memory that is not pinned; PCIe 3.0 x16 carries 16 GB/s at best

PROCESS_BYTES = 480e6  # Python, torch, diffusers, transformers and peft, loaded: resident set of a worker, measured on Linux
CUDA_PROCESS_BYTES = 2.5e9  # the same with CUDA's libraries mapped
CUDA_CONTEXT_BYTES = 0.8e9  # what a process takes on the card before its first tensor, cuBLAS and cuDNN workspaces
CPU_KERNELS_BYTES = 80e6  # what torch's kernels take when they first run
# On a CPU forward and backward pass run in different threads, and the C library keeps for each what it freed, as a share of what all layers
# put out: on Linux, where workers take large tensors in whole pages (runs.supervisor.worker_env), from 0 to 0.6 over UNets (4, 15, 35 M weights)
# and FLUX transformers (20, 79, 81 M); as the C library does by itself from 1.0 to 2.0
CPU_HEAPS, CPU_HEAPS_ELSEWHERE = 0.45, 1.4
SUMMED_AT_ONCE = 32 << 20  # weights whose gradients several processes sum in one go: engine.ranks.PIECE, which a file of the front half does not import
SLACK = 1.1  # allocators round up and fragment

START_S = 12.0  # importing the libraries, reading the headers
CPU_FLOPS_PER_CORE = 14e9  # fp32 training of a small UNet: 29 GFLOP/s were measured on two shared cores
MPS_FLOPS = 3e12
GPU_SHARE = 0.35  # of the tensor cores' peak that an eager diffusion step reaches
LAUNCH_S = {"cuda": 30e-6, "xpu": 30e-6, "mps": 60e-6, "cpu": 60e-6}  # what Python and torch take to start one layer, however small it is
UNSURE = 2.0  # an unmeasured time may be this many times longer or shorter

# Peak of dense 16-bit matrix products with 32-bit sums, TFLOP/s, from NVIDIA's data sheets and architecture white papers
GPU_TFLOPS = {
    "H200": 989, "H100": 989, "A100": 312, "B200": 2250, "L40S": 362, "L4": 121, "A10": 125, "T4": 65, "V100": 125, "A6000": 155,
    "5090": 210, "5080": 113, "5070": 62, "4090": 165, "4080": 98, "4070": 58, "4060": 30, "3090": 71, "3080": 60, "3070": 41, "3060": 25,
    "2080": 43, "2070": 30, "2060": 26, "1080": 9, "1070": 6, "1060": 4,
}  # fmt: skip
OTHER_GPU_TFLOPS = {5: 4, 6: 6, 7: 30, 8: 40, 9: 300}  # by major compute capability; newer ones as 10
NEW_GPU_TFLOPS = 60

LATENT_BYTES = 4
CACHE_ENTRY_BYTES = 4096  # header, and the file system's smallest unit
HELD_EVENTS_BYTES = 20e6  # log, events, card


@dataclass(frozen=True)
class Estimate:
    """What a run will take.  vram_bytes is 0 on a CPU.  seconds_range: between which it most likely is.

    sentences: for a person, the problems first.  problems: why it does not fit, each with the missing figure and a cure.
    parts: bytes at the highest point of the training, by what takes them.
    """

    steps: int
    steps_per_epoch: int
    epochs: float
    seconds: float
    seconds_range: tuple[float, float]
    step_seconds: float
    measured: bool
    vram_bytes: int
    ram_bytes: int
    disk_bytes: int
    download_bytes: int
    sentences: list[str]
    problems: list[str]
    parts: dict[str, float]
    too_large: bool  # for the VRAM or RAM that is free

    @property
    def fits(self) -> bool:
        return not self.problems


def steps_per_epoch(buckets: Sequence[Hashable], per_step: int) -> int:
    """Optimizer steps of one epoch.  buckets: the bucket of each item, repeats and resolutions included; per_step: batch x accumulation.

    One bucket a batch and nothing repeated to fill one up, so every bucket may end with a smaller batch.
    """
    counts: dict[Hashable, int] = {}
    for bucket in buckets:
        counts[bucket] = counts.get(bucket, 0) + 1
    return sum(math.ceil(count / per_step) for count in counts.values())


def buckets_of_epoch(config: TrainConfig, spec: FamilySpec, pictures: int, divisor: int, home: Home) -> tuple[list[Hashable], list[str]]:
    """The bucket of each item of one epoch, as the engine forms them, and sentences on clips that are left out or shorter.

    Where the datasets cannot be read, it is one bucket for all.  Which pictures are held out is drawn by the engine; here as
    many are left out, spread over the dataset.
    """
    from ..engine.buckets import bucket_sizes, choose, crop_to

    d, family = config.data, registry.get("families", spec.id, home.plugins)
    objective = concepts.known(config, home.plugins)
    found: list[Hashable] = []
    if not d.datasets:
        return [(*choose(1, 1, bucket_sizes(side, divisor, 1.0)), 1) for side in d.resolutions for _ in range(config.concept.drawn)], []
    try:
        uses = [(use, [p for p in taken(home, use).pictures(check=False) if p.usable]) for use in d.datasets]
        if concepts.in_pairs(objective):
            uses = [(use, pairs.highs(all_of_it, config.concept.low)) for use, all_of_it in uses]
        usable = [(use, p) for use, all_of_it in uses for p in all_of_it]
        said = left_out(usable, d, spec)
        if needs_control(registry.get("adapters", config.adapter.type, home.plugins)):
            bare = [p.id for _, p in usable if p.control is None]
            said += [f"{len(bare)} of {len(usable)} pictures have no control picture and are left out: {', '.join(bare[:5])}"] * bool(bare)
            usable = [(use, p) for use, p in usable if p.control]
            if not usable:
                return [], ["no picture has a control picture to learn from; put name.control.png beside name.jpg, or make them on the Dataset tab"]
        edits = editing.edits(objective) and family.SPEC.references is not None
        cut = [(use, (use.repeats * p.repeats, p if edits else None, p.width, p.height, pieces, d.sides(use))) for use, p in usable if (pieces := segments(p, use, d, spec))]
        shapes = [shape for use, shape in cut if not use.prior]
        kept = [shape for at, shape in enumerate(shapes) if not _spread(at, d.held_out, len(shapes))]
        kept += [shape for use, shape in cut if use.prior]
        for side in d.all_sides:
            sizes = bucket_sizes(side, divisor, d.max_aspect if d.aspect_buckets else 1.0)
            for repeats, pair, width, height, pieces, _ in (shape for shape in kept if side in shape[-1]):
                bucket = choose(width, height, sizes)
                scaled = crop_to(width, height, bucket).scaled
                if d.upscale or (scaled[0] <= width and scaled[1] <= height):
                    shown = editing.shown_sizes(pair, bucket, family) if pair else []
                    found += [(*bucket, piece.frames, *shown) for piece in pieces] * repeats
        if usable:
            return found, said
    except (ValueError, OSError):
        pass
    repeats = [use.repeats for use in d.datasets if not use.prior]
    return ["all"] * round(max(pictures - d.held_out, 0) * sum(repeats) / len(repeats) * len(d.all_sides)), []


def _spread(at: int, chosen: int, of: int) -> bool:
    """Whether number `at` is one of `chosen` numbers spread evenly over `of`."""
    return (at + 1) * chosen // of > at * chosen // of


def peak_bytes(config: TrainConfig, home: Home, card_bytes: float = math.inf) -> tuple[float, float]:
    """(VRAM, RAM) that `config` needs at its peak; no picture is looked at.  card_bytes: what one card has, by which the model may be split.  Raises ValueError as estimate() does."""
    family = registry.get("families", config.model.family, home.plugins)
    model = layers.base_model(config.model.source, config.model.revision, family, config.model.leave_out)
    shown = editing.shown_share(config, home, family)[1]
    return _peak(config, family.SPEC, model, measured(config, home.outputs), split_among(config, family.SPEC, model, card_bytes, home.plugins, shown), shown)[:2]


def is_split(config: TrainConfig, home: Home, card_bytes: float) -> bool:
    """Whether the base model is split among the processes of a run, `gpus` of them.  card_bytes: what the card has free that has least.  Raises ValueError as estimate() does."""
    family = registry.get("families", config.model.family, home.plugins)
    model = layers.base_model(config.model.source, config.model.revision, family, config.model.leave_out)
    return split_among(config, family.SPEC, model, card_bytes, home.plugins, editing.shown_share(config, home, family)[1]) > 1


def split_among(config: TrainConfig, spec: FamilySpec, model: BaseModel, card_bytes: float, plugins: Path | None = None, shown: float = 0.0) -> int:
    """How many processes the base model is split among; 1 where each holds it whole.  shown: as _memory()'s."""
    count = max(config.gpus, 1)
    if count == 1 or config.shard == "off" or sharing.unsplittable(config, plugins):
        return 1
    if config.shard == "on":
        return count
    if config.device not in CARDS:
        return 1
    alone, each = (_memory(config, spec, model, among, shown)[0] for among in (1, count))
    return count if each < alone and (alone > card_bytes or is_whole(registry.get("adapters", config.adapter.type))) else 1


def _peak(config: TrainConfig, spec: FamilySpec, model: BaseModel, pace: Pace | None, among: int = 1, shown: float = 0.0) -> tuple[float, float, dict[str, float]]:
    """What was measured on this computer goes before what is reckoned."""
    vram, ram, parts = _memory(config, spec, model, among, shown)
    if pace and pace.memory_bytes:
        vram, ram = (vram, max(config.gpus, 1) * max(pace.memory_bytes, PROCESS_BYTES)) if not vram else (SLACK * pace.memory_bytes + CUDA_CONTEXT_BYTES, ram)
        parts = {}  # which of it takes how much was not measured
    return vram, ram, parts


def estimate(config: TrainConfig, machine: Machine, pictures: int, home: Home) -> Estimate:
    """What `config` will take on `machine` with `pictures` pictures.  Raises ValueError for an unknown family or a wrong base model path."""
    family = registry.get("families", config.model.family, home.plugins)
    spec: FamilySpec = family.SPEC
    asked = config
    unshared = next((f"{path} {text}" for path, text in sharing.faults(config, machine, home.plugins)), "")
    try:
        config, machine = sharing.on(config, machine)
    except ValueError:
        config = config.model_copy(update={"gpus": 1})  # faults() says so
    count = config.gpus
    model = layers.base_model(config.model.source, config.model.revision, family, config.model.leave_out)
    pace = measured(asked, home.outputs, machine.gpu if count == 1 else "")
    per_step = config.data.batch_size * config.optimizer.accumulation
    buckets, said = buckets_of_epoch(config, spec, pictures, model.divisor, home)
    items, epoch_steps = len(buckets), steps_per_epoch(buckets, per_step)

    lengths = _lengths(config, buckets)
    usual_shown, most_shown = editing.shown_share(config, home, family)
    seconds, step_s = _time(config, machine, spec, model, pace, items, lengths, usual_shown)
    among = split_among(config, spec, model, machine.vram_free_bytes, home.plugins, most_shown)
    vram, ram, parts = _peak(config, spec, model, pace, among, most_shown)
    download = 0 if model.local else model.parameters * (4 if config.model.dtype == "fp32" else 2)
    held = _held_texts(config, spec, items, home) * _text_bytes(config, model)
    disk = _disk(config, spec, model, items, lengths, usual_shown, editing.shown_count(config, home, family)) + held + download
    unsure = 1.25 if pace else UNSURE
    problems = _problems(machine, vram, ram, disk, download, config, among)
    if unshared:
        problems.insert(0, unshared[:1].upper() + unshared[1:])
    if pictures and not buckets:
        problems.insert(0, f"Nothing is left to train on: {'; '.join(said) or 'every picture is smaller than its training size, and data.upscale is off'}")
    problems = [*_lacking(config, home, family), *problems]
    made = Estimate(
        steps=config.steps, steps_per_epoch=epoch_steps, epochs=config.steps / epoch_steps if epoch_steps else 0.0,
        seconds=seconds, seconds_range=(seconds / unsure, seconds * unsure), step_seconds=step_s, measured=pace is not None,
        vram_bytes=int(vram), ram_bytes=int(ram), disk_bytes=int(disk), download_bytes=int(download), sentences=[], problems=problems, parts=parts,
        too_large=ram > machine.ram_free_bytes or (config.device in CARDS and machine.cuda_ok and vram > machine.vram_free_bytes),
    )  # fmt: skip
    made.sentences.extend(problems + said * bool(items) + prompts.said(config) + _sentences(config, machine, made, items, per_step))
    if said_of_clips := _clips(buckets):
        made.sentences.append(said_of_clips)
    if count > 1:
        made.sentences.append(_sharing(config, count))
    if among > 1:
        made.sentences.append(_splitting(config, spec, model, among, most_shown))
    if usual_shown:
        made.sentences.extend(editing.apart(buckets, per_step))
        made.sentences.append(f"Each picture is learnt together with what it is made from: {1 + usual_shown:.1f} times as much to compute as the picture alone")
    asked, parts = concepts.work(config)
    if asked:
        takes = f"Each picture takes {asked} passes of the base model and {parts} that are learnt from"
        made.sentences.append(takes if config.data.datasets else f"{takes}; the base model draws the {items} pictures first")
    if config.sample.every and (config.sample.speed_adapter or spec.speed):
        without = config.model_copy(update={"sample": config.sample.model_copy(update={"every": 0})})
        made.sentences.extend(speeding.sentence(config, spec, seconds - _time(without, machine, spec, model, pace, items, lengths, usual_shown)[0], seconds))
    if config.keep.on:
        made.sentences.append(_keeping(config, spec, model, config.steps * step_s, held, most_shown))
    return made


def _lacking(config: TrainConfig, home: Home, family: ModuleType) -> list[str]:
    """What the pictures of an edit lack, as far as they were looked at."""
    if not editing.edits(concepts.known(config, home.plugins)) or family.SPEC.references is None:
        return []
    try:
        return editing.likely_faults(config, family.SPEC, editing.rows(config, home, check=False))
    except (ValueError, OSError):
        return []  # a dataset that is not there: the start says so, in its place


def _clips(buckets: list[Hashable]) -> str:
    """What an epoch holds where clips are learnt; "" for pictures alone."""
    frames = Counter(bucket[2] for bucket in buckets if isinstance(bucket, tuple))
    stills = frames.pop(1, 0)
    if not frames:
        return ""
    lengths = ", ".join(str(n) for n in sorted(frames, reverse=True))
    told = f"Training clips in an epoch: {frames.total()}, of {lengths} frames"
    return f"{told}; still pictures beside them: {stills}" if stills else told


def _sharing(config: TrainConfig, count: int) -> str:
    """What several processes mean for time and memory."""
    each = math.ceil(config.optimizer.accumulation / count)
    if config.device not in CARDS:
        if each == 1:
            return f"{count} processes train it together, 1 micro-batch each a step; the memory is that of all, and the cores are divided among them"
        return f"{count} processes train it together, {each} micro-batches each a step; the memory is that of all, and the cores are divided among them"
    times, apart = 1 / sharing.share_of_time(config, count), sharing.UNSHARED
    if each == 1:
        return f"{count} cards train it together, 1 micro-batch each a step: about {times:.1f} times as fast as one, as some {apart:.0%} of a step is not shared out; the VRAM is that of each"
    return f"{count} cards train it together, {each} micro-batches each a step: about {times:.1f} times as fast as one, as some {apart:.0%} of a step is not shared out; the VRAM is that of each"


def _splitting(config: TrainConfig, spec: FamilySpec, model: BaseModel, among: int, shown: float) -> str:
    """What it means that the base model is split."""
    alone, each = (_memory(config, spec, model, count, shown)[0] for count in (1, among))
    split = f"The base model is split among {among} processes, and each block is put together while it runs"
    if config.device in CARDS:
        split = f"The base model is split among {among} cards, and each block is put together while it runs: {gb(each)} of VRAM on each instead of {gb(alone)}"
    return f"{split}. What is learnt stays the same; how much slower it is depends on what joins the cards, and is not reckoned here"


def _keeping(config: TrainConfig, spec: FamilySpec, model: BaseModel, steps_s: float, held_bytes: float, shown: float) -> str:
    """What of all that is there to keep what the base model knows."""
    learning, keeping = passes_of(config)
    apart = config.model_copy(update={"keep": config.keep.model_copy(update={"together": False})})
    more = sum(_memory(config, spec, model, shown=shown)[:2]) - sum(_memory(apart, spec, model, shown=shown)[:2])
    time, disk = duration(steps_s * keeping / (learning + keeping)), gb(held_bytes)
    if more:
        return f"Of that, keeping what the base model knows takes about {time}, {disk} of disk and {gb(more)} of memory"
    return f"Of that, keeping what the base model knows takes about {time} and {disk} of disk, and needs no more memory"


# -- time


def device_flops(config: TrainConfig, machine: Machine) -> float:
    """Operations a second that a training reaches on the config's device; a rough figure."""
    if config.device in CARDS:
        peak = next((t for name, t in GPU_TFLOPS.items() if name in machine.gpu_name), None)
        peak = peak or OTHER_GPU_TFLOPS.get(machine.compute[0], NEW_GPU_TFLOPS)
        half = 1.0 if config.model.dtype != "fp32" else 0.25  # fp32 runs beside the tensor cores
        return peak * 1e12 * GPU_SHARE * half
    return MPS_FLOPS if config.device == "mps" else CPU_FLOPS_PER_CORE * machine.cores


def _lengths(config: TrainConfig, buckets: list[Hashable]) -> dict[int, float]:
    """{frames: share of the items that have so many}; where the buckets do not say, all have the most that there are."""
    frames = [bucket[2] for bucket in buckets if isinstance(bucket, tuple)]
    return {n: count / len(frames) for n, count in Counter(frames).items()} if frames else {config.data.most_frames: 1.0}


def _time(config: TrainConfig, machine: Machine, spec: FamilySpec, model: BaseModel, pace: Pace | None, items: int, lengths: dict[int, float], shown: float = 0.0) -> tuple[float, float]:
    """(seconds of the whole run, seconds of one optimizer step).  lengths: as _lengths() says.  shown: px that a picture is made from, as a multiple of its own."""
    rate = device_flops(config, machine)
    launches = LAUNCH_S[config.device] * max(len(model.denoiser.layers), 100)
    alone = launches if config.device == "cpu" else 0.0  # a card computes while the next layer is started

    def forward(cells: float, pictures: int = 1) -> float:
        return max(model.denoiser.flops(cells) * pictures / rate, launches) + alone

    batch, sides = config.data.batch_size, config.data.all_sides
    passes = sum(passes_of(config))
    copied = config.model.offload * held(model.denoiser, config.model.quantise, BYTES[config.model.dtype], spec.denoiser == "unet")
    if len(spec.learning(config.loss.expert)) > 1 and not config.model.offload:  # at most every second turn is the other one's
        copied = 0.5 / COPIES / config.loss.expert_steps * held(model.denoiser, config.model.quantise, BYTES[config.model.dtype])
    copying_s = COPIES * copied / COPIED_BYTES_S if config.device in CARDS else 0.0
    one_s = sum(share * passes * forward((1 + shown) * cells(side, side, model, latent_frames(frames, spec)), batch) for side in sides for frames, share in lengths.items()) / len(sides)
    step_s = (one_s + copying_s) * config.optimizer.accumulation * sharing.share_of_time(config, config.gpus or 1)
    correction = 1.0
    if pace:
        correction = pace.seconds_per_picture * batch * config.optimizer.accumulation / step_s
        step_s *= correction

    every = config.sample.every
    rounds = config.steps // every + 1 + (config.steps % every > 0) if every else 0

    def drawing_s(s: SamplePart) -> float:
        guided = 2 if s.guidance > 1 else 1
        return s.steps * forward((1 + shown) * cells(s.width, s.height, model, latent_frames(s.frames, spec)), guided) + model.vae.flops(s.width * s.height * s.frames) / rate

    objective = concepts.known(config)
    samples_s = rounds * sum(drawing_s(p.sample) for p in prompts.of_config(config)) * len(concepts.strengths(objective))
    drawn_s = 0.0  # by the base model, which the first process does alone
    if not config.data.datasets:  # what words change
        drawn_s += items * sum(drawing_s(config.sample.model_copy(update={"width": side, "height": side, "frames": 1})) for side in sides) / len(sides)
    if config.keep.on and config.keep.drawn:
        kept = [config.sample.model_copy(update={"width": side, "height": side, "frames": 1}) for side in sides]
        drawn_s += config.keep.drawn * sum(drawing_s(s) for s in kept) / len(kept)
    flips = (2 if config.data.flip else 1) * (2 if concepts.in_pairs(objective) else 1)
    encode_s = items * flips * (1 + shown) * sum(share * model.vae.flops(side * side * frames) for side in sides for frames, share in lengths.items()) / len(sides) / rate
    saves = config.steps / config.save.every if config.save.every else 1
    save_s = saves * (0.05 + 12 * _adapter(config, spec, model) / 300e6)  # weights and state at 300 MB/s, flushed
    load_s = model.parameters * BYTES[config.model.dtype] / 500e6 * 2  # once to train, once to prove the result
    shared_s = (encode_s + samples_s) / (max(config.gpus, 1) if config.device in CARDS else 1)  # pictures are encoded, and samples drawn, by all
    return START_S + load_s + pays.compiling_s(config, machine.gpu_name) + correction * (shared_s + drawn_s) + config.steps * step_s + save_s, step_s


def passes_of(config: TrainConfig) -> tuple[float, float]:
    """(forward passes' worth of work that one picture takes to be learnt, what keeping the base adds to that)."""
    level = config.loss.gradient_checkpointing
    one = PASSES + (RECOMPUTING / EVERY[level] if level != "off" else 0.0) + QUANTISED_PASSES * (config.model.quantise != "none")
    asked, parts = concepts.work(config)
    learning = asked + parts * one
    keeping = config.keep.share * (one + 1) if config.keep.on else 0.0  # each is learnt from like a picture, after the base model was asked
    if config.loss.prior_target == "base" and any(use.prior for use in config.data.datasets):
        learning += 0.5  # the base model's own prediction, of the half of the pictures that are kept as they are
    adapter = registry.get("adapters", config.adapter.type)
    learning += is_whole(adapter)  # every weight's own gradient: one more forward's worth
    learning += adapter.PASSES if is_beside(adapter) else 0.0
    return learning, keeping


def cells(width: int, height: int, model: BaseModel, frames: int = 1) -> float:
    """Latent cells of a picture, or of a clip of so many latent frames."""
    return width * height / model.stride**2 * frames


def latent_frames(frames: int, spec: FamilySpec) -> int:
    """Latent frames of a clip."""
    return (frames - 1) // spec.latent.frame_stride + 1


# -- memory and disk


def _adapter(config: TrainConfig, spec: FamilySpec, model: BaseModel) -> float:
    """Weights that learn."""
    a, kind = in_force(config.adapter, spec), registry.get("adapters", config.adapter.type)
    if is_whole(kind):
        return model.denoiser.parameters
    if is_beside(kind):
        return kind.weights(model.denoiser, spec.beside[a.type], a) if a.type in spec.beside else 0.0  # which is refused before the start
    text = model.text.adapter(kind, a, spec.text_targets[a.targets]) if a.text_encoder and spec.trainable_text and "text_encoder" in kind.USES else 0.0
    return max(1, len(spec.learning(config.loss.expert))) * model.denoiser.adapter(kind, a, spec.lora_targets[a.targets]) + text


def _memory(config: TrainConfig, spec: FamilySpec, model: BaseModel, among: int = 1, shown: float = 0.0) -> tuple[float, float, dict[str, float]]:
    """(VRAM, RAM, what of the training takes it) in bytes at the highest point; VRAM 0 where nothing runs on a card.

    among: how many processes the base model is split among.  shown: px that a picture is made from at most, as a multiple of its own.
    """
    d, side = config.data, max(config.data.all_sides)
    s = max((p.sample for p in prompts.of_config(config)), key=lambda s: s.width * s.height * s.frames, default=config.sample)
    # a video VAE goes through a clip a latent frame at a time
    frames = d.most_frames
    at_once, drawn_at_once = min(spec.latent.frame_stride, frames), min(spec.latent.frame_stride, s.frames)
    size = Size(
        (1 + shown) * cells(side, side, model, latent_frames(frames, spec)), side * side * at_once,
        (1 + shown) * cells(s.width, s.height, model, latent_frames(s.frames, spec)), s.width * s.height * drawn_at_once,
    )  # fmt: skip
    whole = is_whole(registry.get("adapters", config.adapter.type))
    text = model.text.parameters if config.adapter.text_encoder and spec.trainable_text and not whole else 0.0
    found = need(config, model, spec.denoiser == "unet", Learning(_adapter(config, spec, model), text, whole), size, among)
    processes = max(config.gpus, 1)
    if processes > 1 and not (whole and among > 1):  # the gradients of all, summed a piece at a time
        found = replace(found, parts=found.parts | {"gradients on their way": 4.0 * min(_adapter(config, spec, model), SUMMED_AT_ONCE)})
    peak = SLACK * found.peak
    if config.device == "cpu":
        libraries, freed = PROCESS_BYTES + CPU_KERNELS_BYTES, (CPU_HEAPS if sys.platform == "linux" else CPU_HEAPS_ELSEWHERE) * found.outputs
        ram = processes * (libraries + found.peak + freed + found.ram) + (PROCESS_BYTES if processes > 1 else 0.0)  # and the one that launches them
        return 0.0, ram, {name: processes * size for name, size in (found.parts | {"libraries and what they keep in reserve": libraries + freed}).items()}
    if config.device == "mps":  # shares the computer's memory
        return 0.0, PROCESS_BYTES + CUDA_CONTEXT_BYTES + peak + found.ram, found.parts
    unpacked = 1.2 * model.largest_part_bytes  # a part passes through RAM as it lies on disk; one that is quantised comes tensor by tensor
    width = BYTES[config.model.dtype]
    passing = max(
        found.ram if config.model.quantise != "none" else max(found.ram, unpacked),
        0.0 if config.model.quantise_text != "none" else 1.2 * width * model.text.parameters,
        width * model.vae.parameters,
    )
    in_ram = processes * passing
    if among > 1:  # they load it one after another; where it learns, as fp32, and then the first one gathers weights, state and average for a checkpoint
        others = processes * 1.2 * width * max(model.text.parameters, model.vae.parameters)
        gathered = _adapter(config, spec, model) * (4 + optimizing.kept_bytes(config)) if whole else 0.0
        in_ram = max(others, gathered, 1.2 * model.denoiser.parameters * (4 if whole else width))
    return CUDA_CONTEXT_BYTES + peak, processes * CUDA_PROCESS_BYTES + in_ram + (PROCESS_BYTES if processes > 1 else 0.0), found.parts | {"CUDA itself": CUDA_CONTEXT_BYTES}


def _text_bytes(config: TrainConfig, model: BaseModel) -> float:
    """Bytes of one caption in the cache."""
    return layers.TEXT_TOKENS * model.text_width * BYTES[config.model.dtype] + CACHE_ENTRY_BYTES


def _held_texts(config: TrainConfig, spec: FamilySpec, items: int, home: Home) -> int:
    """Captions in the cache that are there to keep what the base model knows."""
    if not config.keep.on:
        return 0
    own = items * _wordings(config) if config.keep.own and config.triggers and not config.keep.drawn else 0
    return len(words.sentences_of(config, spec, home)) + own


def _wordings(config: TrainConfig) -> int:
    """How many wordings of one caption are encoded; engine.data.TAG_ORDERS, which a file of the front half does not import."""
    return 8 if config.data.shuffle_tags or config.data.tag_dropout else 1


def _disk(config: TrainConfig, spec: FamilySpec, model: BaseModel, items: int, lengths: dict[int, float], shown: float = 0.0, pictures: float = 0.0) -> float:
    """Bytes that a run adds to the disk: checkpoints, samples, the result, and latents and texts in the cache."""
    learning = _adapter(config, spec, model)
    one = learning * (4 + optimizing.kept_bytes(config))
    saves = (config.steps // config.save.every if config.save.every else 0) + 1
    checkpoints = one * (min(config.save.keep, saves) + 1)  # the new one is whole before the oldest goes
    objective = concepts.known(config)
    flips = (2 if config.data.flip else 1) * (2 if concepts.in_pairs(objective) else 1)
    side = max(config.data.all_sides)
    one_cells = sum(share * cells(side, side, model, latent_frames(frames, spec)) for frames, share in lengths.items())
    latents = items * flips * (1 + shown) * (LATENT_BYTES * spec.latent.channels * one_cells + CACHE_ENTRY_BYTES)
    captions = items * _wordings(config)
    if concepts.by_words(objective):
        captions = len({s for lesson in concepts.all_lessons(config, objective) for s in lesson.sentences})
    texts = captions * _text_bytes(config, model)
    if pictures and spec.references and spec.references.read:  # each caption and the empty one, with the pictures of each item and of its mirror image
        longer = _text_bytes(config, model) + pictures * spec.references.read_tokens * model.text_width * BYTES[config.model.dtype]
        texts += (captions + items) * (2 if config.data.flip else 1) * longer
    every = config.sample.every
    values = sum(p.sample.width * p.sample.height * p.sample.frames * 0.4 + CACHE_ENTRY_BYTES for p in prompts.of_config(config))
    drawn = (config.steps // every + 1) * values * len(concepts.strengths(objective)) if every else 0
    if config.keep.on and config.keep.drawn:  # their latents and px in the cache
        drawn += config.keep.drawn * (LATENT_BYTES * spec.latent.channels * one_cells + 3 * side * side + CACHE_ENTRY_BYTES)
    return checkpoints + 4 * learning + latents + texts + drawn + HELD_EVENTS_BYTES


# -- words


def _problems(machine: Machine, vram: float, ram: float, disk: float, download: float, config: TrainConfig, among: int = 1) -> list[str]:
    found = []
    why = "shard is off" if config.shard == "off" else next((why for why, _ in sharing.unsplittable(config)), "")
    if config.device in CARDS and not machine.cuda_ok:
        told, silent = f"There is no graphics card here that can be used: {machine.note}; set device to {machine.device!r}", f"There is no graphics card here that can be used; set device to {machine.device!r}"
        found.append(told if machine.note else silent)
    elif vram > machine.vram_free_bytes:
        lacks = f"Some {gb(vram)} of VRAM are needed, but {machine.gpu_name} has {gb(machine.vram_free_bytes)} of {gb(machine.vram_bytes)} free: {gb(vram - machine.vram_free_bytes)} are missing"
        if config.gpus > 1 and among == 1:
            lacks = f"{lacks}; each of the {config.gpus} cards must hold the whole model, as {why}" if why else f"{lacks}; each of the {config.gpus} cards must hold the whole model"
        elif among > 1:
            lacks = f"{lacks}; the model is split among the {among} cards already"
        do = "Make it fit, close other programs that use the card, or lower data.resolutions or data.batch_size"
        found.append(f"{lacks}. {do}")
    if ram > machine.ram_free_bytes:
        lacks = f"Some {gb(ram)} of memory (RAM) are needed, but {gb(machine.ram_free_bytes)} of {gb(machine.ram_bytes)} are free: {gb(ram - machine.ram_free_bytes)} are missing"
        do = "Make it fit, or close other programs" if vram else "Make it fit, close other programs, or lower data.resolutions or data.batch_size"
        found.append(f"{lacks}. {do}")
    if disk > machine.disk_free_bytes:
        free, missing, do = gb(machine.disk_free_bytes), gb(disk - machine.disk_free_bytes), "Delete files or old runs, or lower save.keep"
        lacks = f"Some {gb(disk)} of disk are needed, but {free} are free: {missing} are missing"
        if download:
            lacks = f"Some {gb(disk)} of disk are needed, {gb(download)} of them to download the base model, but {free} are free: {missing} are missing"
        found.append(f"{lacks}. {do}")
    return found


def _sentences(config: TrainConfig, machine: Machine, e: Estimate, items: int, per_step: int) -> list[str]:
    said = []
    if items:
        said.append(_epochs(e, items, per_step, e.steps_per_epoch != math.ceil(items / per_step)))
    where = {"cuda": machine.gpu_name, "xpu": machine.gpu_name, "mps": "the Apple GPU", "cpu": machine.cpu_name}[config.device]
    if e.measured:
        said.append(f"About {duration(e.seconds)} on {where}, as measured in an earlier run")
    else:
        low, high = map(duration, e.seconds_range)
        said.append(f"Roughly {low} to {high} on {where}: no run like this one was measured here yet")
    if e.vram_bytes:
        said.append(f"About {gb(e.vram_bytes)} of VRAM ({_spare(e.vram_bytes, machine.vram_free_bytes)}) and {gb(e.ram_bytes)} of RAM ({_spare(e.ram_bytes, machine.ram_free_bytes)})")
    else:
        said.append(f"About {gb(e.ram_bytes)} of memory ({_spare(e.ram_bytes, machine.ram_free_bytes)})")
    if config.engine.compile != "off":
        compiled, why = pays.compiles(config, machine.gpu_name)
        said.append(f"Blocks are compiled before the first step, which takes about {duration(pays.COMPILE_S)} where it was not done before" if compiled else f"Blocks are not compiled: {why}")
    if e.parts:
        said.append(parts_said(e.parts))
    if e.download_bytes:
        said.append(f"About {gb(e.disk_bytes)} of disk ({gb(machine.disk_free_bytes)} free), {gb(e.download_bytes)} of it to download the base model once")
    else:
        said.append(f"About {gb(e.disk_bytes)} of disk ({gb(machine.disk_free_bytes)} free)")
    return said


def parts_said(parts: Mapping[str, float]) -> str:
    """What takes how much memory, the largest first."""
    return "While it learns: " + ", ".join(f"{name} {gb(size)}" for name, size in sorted(parts.items(), key=lambda part: -part[1]))


def _epochs(e: Estimate, items: int, per_step: int, apart: bool) -> str:
    """What the steps are in epochs.  Whole sentences where nothing is one: so they are found again to be put into other languages."""
    each, steps, epochs = map(_number, (e.steps_per_epoch, e.steps, e.epochs))
    if "1" in (each, steps, epochs):
        each, steps, epochs = (f"{number} {of}{'s' * (number != '1')}" for number, of in ((each, "step"), (steps, "step"), (epochs, "epoch")))
        if apart:
            return f"{items} pictures an epoch ÷ {per_step} a step, each shape apart, = {each} an epoch; {steps} are {epochs}"
        return f"{items} pictures an epoch ÷ {per_step} a step = {each} an epoch; {steps} are {epochs}"
    if apart:
        return f"{items} pictures an epoch ÷ {per_step} a step, each shape apart, = {each} steps an epoch; {steps} steps are {epochs} epochs"
    return f"{items} pictures an epoch ÷ {per_step} a step = {each} steps an epoch; {steps} steps are {epochs} epochs"


def _number(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def _spare(needed: float, free: float) -> str:
    return f"{gb(free)} free, {gb(free - needed)} to spare" if needed <= free else f"{gb(free)} free"


def gb(size_bytes: float) -> str:
    """12.3 GB, or 45 MB."""
    return f"{size_bytes / 1e9:.1f} GB" if size_bytes >= 1e9 else f"{math.ceil(max(size_bytes, 0) / 1e6)} MB"


def duration(seconds: float) -> str:
    """40 s, 3 min, 2 h 10 min, 3 days: as exact as an estimate deserves."""
    if seconds < 90:
        return f"{max(10, round(seconds, -1)):.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours = minutes / 60
    if hours < 10:
        return f"{int(hours)} h {int(minutes % 60 / 10) * 10} min"
    return f"{hours:.0f} h" if hours < 48 else f"{hours / 24:.0f} days"
