"""Full-size models with random weights on a CUDA GPU: seconds a step, memory, and how much of the card's matrix rate is used.

    python -m tests.bench.gpu                                    the table of docs/performance.md, written there cell by cell; eight minutes at most
    python -m tests.bench.gpu --all                              every model that this Easel has, every format and batch, on the screen; an hour or more
    python -m tests.bench.gpu --family flux1 --format bf16       less of either
    python -m tests.bench.gpu --toy --device cpu --page FILE     the same path on the tests' toy models: proves that it runs, measures nothing

The table: SDXL, FLUX.1, Qwen-Image and Z-Image at 1024 px with one picture, in bf16 and fp8, eager and compiled, every block recomputed where a cell would
not fit otherwise.  A model and format have a process of their own, so that one that hangs, dies or takes too long costs no other; FLUX.1 in bf16 comes first.
A step is the engine's: the family's predict under autocast, the images objective, backward, clipping, AdamW on a LoRA of rank 16.
Nothing is downloaded: the networks are built from their published numbers, the text is random.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import importlib
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

from training import registry
from training.config import AdapterPart, LossPart, OptimizerPart
from training.engine import blocks, fused, optim, quantise, speed
from training.engine.data import Batch
from training.engine.noise import read_schedule
from training.family import GEOMETRY, Cond, Modules, Placement

FORMATS = ("bf16", "fp8", "int8", "nf4")
LEVELS = ("off", "third", "half", "all")  # of recomputing activations
RANK, WARM_STEPS, STEPS = 16, 3, 10

TABLE = ("flux1", "sdxl", "qwen_image", "z_image")  # what people train most first: a table that is cut short should hold that
TABLE_FORMATS = ("bf16", "fp8")
WHOLE_S = 470.0  # of the whole table, below eight minutes
CELL_S = 120.0  # of one model in one format, in which the network is filled with random numbers, measured, compiled and measured again
LEAST_S = 20.0  # one that has no more than that left is not begun
PAGE = Path(__file__).parents[2] / "docs" / "performance.md"
BEGIN, END = "<!-- gpu table -->", "<!-- end of gpu table -->"


@dataclass(frozen=True)
class Full:
    """A released model: the numbers of its denoiser's config.json where they differ from the defaults of the diffusers class."""

    cls: str
    config: dict
    latents: tuple[int, ...]  # of one picture or video at the usual size
    text: dict[str, tuple[int, ...]]  # what encode_text gives: shapes of one row; a bool mask is named "mask"
    scheduler: dict = field(default_factory=dict)


MODELS = {
    # stabilityai/stable-diffusion-xl-base-1.0, unet/config.json; 1024 px
    "sdxl": Full(
        "UNet2DConditionModel",
        {
            "sample_size": 128, "block_out_channels": (320, 640, 1280), "layers_per_block": 2, "cross_attention_dim": 2048, "attention_head_dim": (5, 10, 20),
            "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"), "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            "transformer_layers_per_block": (1, 2, 10), "use_linear_projection": True, "addition_embed_type": "text_time", "addition_time_embed_dim": 256,
            "projection_class_embeddings_input_dim": 2816,
        },
        (4, 128, 128), {"embeds_1": (77, 768), "embeds_2": (77, 1280), "pooled": (1280,)},
        {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"},
    ),
    # black-forest-labs/FLUX.1-dev, transformer/config.json; 1024 px, T5's 512 tokens
    "flux1": Full("FluxTransformer2DModel", {"guidance_embeds": True}, (16, 128, 128), {"pooled": (768,), "embeds": (512, 4096)}),
    # stabilityai/stable-diffusion-3.5-large, transformer/config.json; 1024 px
    "sd35": Full(
        "SD3Transformer2DModel",
        {"num_layers": 38, "num_attention_heads": 38, "caption_projection_dim": 2432, "pos_embed_max_size": 192, "qk_norm": "rms_norm"},
        (16, 128, 128), {"embeds_1": (77, 768), "embeds_2": (77, 1280), "embeds_3": (256, 4096), "pooled_1": (768,), "pooled_2": (1280,)},
    ),
    # Qwen/Qwen-Image, transformer/config.json; 1024 px, a caption of 128 tokens
    "qwen_image": Full("QwenImageTransformer2DModel", {}, (16, 128, 128), {"embeds": (128, 3584), "mask": (128,)}),
    # Tongyi-MAI/Z-Image, transformer/config.json; 1024 px, a caption of 128 tokens
    "z_image": Full("ZImageTransformer2DModel", {}, (16, 128, 128), {"embeds": (128, 2560), "mask": (128,)}),
    # Wan-AI/Wan2.1-T2V-1.3B-Diffusers, transformer/config.json; 480 x 832 px, 81 frames
    "wan21": Full("WanTransformer3DModel", {"num_attention_heads": 12, "ffn_dim": 8960, "num_layers": 30}, (16, 21, 60, 104), {"embeds": (128, 4096)}),
}  # fmt: skip


@dataclass
class Subject:
    """One network with its adapter, and what it is fed.  shape: of one picture's latents."""

    family: object
    m: Modules
    shape: tuple[int, ...]
    row: dict[str, torch.Tensor]  # the text of one picture
    device: str

    def __post_init__(self):
        self.adapter = registry.get("adapters", "lora")
        self.adapter.attach(self.m.denoiser, AdapterPart(rank=RANK, alpha=RANK), self.family.SPEC.lora_targets["attention"], 0)
        self.weights = self.adapter.parameters(self.m.denoiser)
        self.optimizer = optim.make_optimizer(OptimizerPart(), [(self.weights, OptimizerPart().learning_rate)])
        self.schedule = read_schedule(self.m.scheduler.config, self.family.SPEC.prediction)
        self.objective = registry.get("objectives", "images")
        self.m.denoiser.train()

    def batch(self, size: int) -> Batch:
        height, width = (side * self.family.SPEC.latent.stride for side in self.shape[-2:])
        row = self.row | {GEOMETRY: torch.tensor([height, width, 0, 0, height, width])}
        latents = torch.randn(size, *self.shape, device=self.device)
        t = torch.tensor([self.schedule.at((n + 0.5) / size) for n in range(size)], device=self.device)
        return Batch(
            latents=latents, noise=torch.randn_like(latents), t=t, cond=Cond.of([row] * size).to(self.device), ids=[""] * size, weight=1.0,
            weights=torch.ones(size, device=self.device), prior=[], captions=[""] * size,
        )  # fmt: skip

    def step(self, batch: Batch) -> None:
        half = self.m.dtype != torch.float32
        with torch.autocast(self.device, self.m.dtype) if half else contextlib.nullcontext():
            loss = self.objective.loss(self.family, self.m, batch, self.schedule, LossPart()).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.weights, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


def full(name: str, how: str, device: str) -> Subject:
    """The released model's shapes with random weights.  how: of FORMATS."""
    import diffusers
    from accelerate import init_empty_weights

    model, family = MODELS[name], registry.get("families", name)
    cls = getattr(diffusers, model.cls)
    with init_empty_weights(include_buffers=False):  # tables of positions are buffers, and are needed
        network = cls(**model.config).requires_grad_(False)
    linears = dict(quantise.block_linears(network)) if how != "bf16" else {}
    place = Placement(torch.bfloat16, device) if how == "bf16" else Placement(torch.bfloat16, device, quantise=how)
    for at, layer in linears.items():
        network.set_submodule(at, quantise._empty(layer, place), strict=True)
    wide = set(getattr(cls, "_keep_in_fp32_modules", None) or ())
    for at, p in list(network.named_parameters()):
        owner, _, kind = at.rpartition(".")
        value = torch.empty(p.shape, device=device, dtype=torch.float32 if wide & set(at.split(".")) else torch.bfloat16)
        if p.ndim > 1:
            value.normal_(std=p[0].numel() ** -0.5)
        else:
            value.fill_(kind != "bias")
        layer = network.get_submodule(owner)
        quantised = owner in linears and kind == "weight"
        setattr(layer, kind, quantise._quantised(layer, value, how) if quantised else torch.nn.Parameter(value, requires_grad=False))
    if how == "nf4":
        network.is_loaded_in_4bit = True
    scheduler = diffusers.DDPMScheduler(**model.scheduler) if model.scheduler else diffusers.FlowMatchEulerDiscreteScheduler()
    row = {key: torch.ones(shape, dtype=torch.bool) if key == "mask" else torch.randn(shape, dtype=torch.bfloat16) for key, shape in model.text.items()}
    return Subject(family, Modules(torch.bfloat16, denoiser=network.to(device), scheduler=scheduler), model.latents, row, device)


def toy(name: str, how: str, device: str) -> Subject:
    """The toy of the family's tests, in fp32."""
    family = registry.get("families", name)
    built = importlib.import_module(f"tests.families.{name}")
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        built.build(Path(folder))
        m = family.load(Path(folder), {part for parts in family.SPEC.parts.values() for part in parts}, Placement(torch.float32, device))
        frames = (5,) if family.SPEC.latent.video else ()
        latents = family.encode_image(m, torch.zeros(1, 3, *frames, built.SIDE, built.SIDE, device=device), torch.Generator().manual_seed(0))
        row = family.encode_text(m, ["a red cat"])[0]
    return Subject(family, m, tuple(latents.shape[1:]), row, device)


def matrix_rate(device: str, side: int) -> float:
    """Multiply-adds, counted as two, that a big bf16 matrix product does in a second here."""
    a, b = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    took = [_timed(lambda: a @ b, device) for _ in range(20)]
    return 2 * side**3 / statistics.median(took[5:])


def _timed(act, device: str) -> float:
    _settle(device)
    began = time.perf_counter()
    act()
    _settle(device)
    return time.perf_counter() - began


def _settle(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def _free() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


@dataclass(frozen=True)
class Cell:
    """One line of the table.  peak_bytes: of the card's memory, 0 on a processor; share: of the card's matrix rate; note: why there are no figures."""

    model: str
    how: str
    compiled: bool
    level: str = "off"
    step_s: float = 0.0
    peak_bytes: int = 0
    share: float = 0.0
    first_s: float = 0.0  # of the first step, in which blocks are compiled
    note: str = ""

    @property
    def row(self) -> str:
        kept = "nothing" if self.level == "off" else "all blocks"
        told = self.note or f"{self.step_s:.3f} s | {f'{self.peak_bytes / 2**30:.1f} GiB' if self.peak_bytes else '-'} | {self.share:.0%} | {self.first_s:.0f} s"
        return f"| {self.model} | {self.how} | {'compiled' if self.compiled else 'eager'} | {kept} | {told} |" + " | | |" * bool(self.note)


def stepped(subject: Subject, size: int, steps: int, until: float = float("inf")) -> tuple[float, int, float]:
    """(median seconds of a step, highest memory in bytes, seconds of the first step).  until: the moment after which no further step is begun.

    Raises torch.OutOfMemoryError with the gradients let go.
    """
    try:
        batch = subject.batch(size)
        first_s = _timed(lambda: subject.step(batch), subject.device)
        for _ in range(WARM_STEPS - 1):
            if time.monotonic() < until:
                subject.step(batch)
        if subject.device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        took: list[float] = []
        while len(took) < steps and (not took or time.monotonic() < until):
            took.append(_timed(lambda: subject.step(batch), subject.device))
    except torch.OutOfMemoryError:
        subject.optimizer.zero_grad(set_to_none=True)
        _free()
        raise
    return statistics.median(took), torch.cuda.max_memory_allocated() if subject.device == "cuda" else 0, first_s


def measured(subject: Subject, size: int, steps: int, flops: float, rate: float) -> str:
    """One line; "does not fit" where memory ran out."""
    try:
        step_s, peak_bytes, _ = stepped(subject, size, steps)
    except torch.OutOfMemoryError:
        return "does not fit"
    peak = f"{peak_bytes / 2**30:.1f} GiB" if peak_bytes else "-"
    return f"{step_s:.3f} s/step, {step_s / size:.3f} s a picture, {peak}, {flops * size / step_s / rate:.0%} of the matrix rate"


def flops_of(subject: Subject) -> float:
    """Of one step with one picture, counted by torch while it runs; recomputed activations are not counted."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        subject.step(subject.batch(1))
    return counter.get_total_flops()


def bench(name: str, how: str, args) -> None:
    """Every level of recomputing, eager and compiled, with one picture and with as many as fit."""
    flops = 0.0
    for level in args.levels:
        subject = (toy if args.toy else full)(name, how, args.device)
        if not flops:
            try:
                flops = flops_of(subject)
            except torch.OutOfMemoryError:
                subject.optimizer.zero_grad(set_to_none=True)
        blocks.recompute(subject.m.denoiser, level)
        for compiled in (False, True):
            if compiled:
                if args.eager:
                    print(f"{name} {how} {level} compiled: skipped, as asked")
                    continue
                speed.compile_blocks(subject.m.denoiser)
            for size in itertools.takewhile(lambda n: n <= args.most, (2**n for n in range(20))):
                said = measured(subject, size, args.steps, flops, args.rate)
                print(f"{name} {how} {level} {'compiled' if compiled else 'eager'}, batch {size}: {said}", flush=True)
                if said == "does not fit":
                    break
        del subject
        _free()


def cells(name: str, how: str, args) -> Iterator[Cell]:
    """The cells of one model in one format, measured in this process: eager, then the same network compiled; every block recomputed where it does not fit without."""
    until = time.monotonic() + args.cell_s * 0.8  # the rest is for leaving
    called = "fp32" if args.toy else how
    kinds = [False] if args.eager else [False, True]
    for level in ("off", "all"):
        subject = (toy if args.toy else full)(name, how, args.device)
        blocks.recompute(subject.m.denoiser, level)
        fused.fuse(subject.m.denoiser)
        if how == "fp8" and not args.toy:
            quantise.multiply_in_fp8(subject.m.denoiser)
        try:
            flops = flops_of(subject)
            while kinds:
                if kinds[0]:
                    speed.compile_blocks(subject.m.denoiser)
                step_s, peak, first_s = stepped(subject, 1, args.steps, until)
                yield Cell(name, called, kinds.pop(0), level, step_s, peak, flops / step_s / args.rate, first_s)
            return
        except torch.OutOfMemoryError:
            subject.optimizer.zero_grad(set_to_none=True)
        del subject
        _free()
    for compiled in kinds:
        yield Cell(name, called, compiled, note="does not fit")


def table(args) -> list[Cell]:
    """All cells, each on the page as soon as its process is through; what there was no time for says so."""
    began, found = time.monotonic(), []
    formats = ["fp32"] if args.toy else args.formats or TABLE_FORMATS
    wanted = [(name, how) for how in formats for name in args.family or TABLE]
    for at, (name, how) in enumerate(wanted):
        left = args.whole_s - (time.monotonic() - began)
        made = _apart(name, how, min(args.cell_s, left), args) if left >= LEAST_S else _without(name, how, "no time was left", args)
        for cell in made:
            print(cell.row, flush=True)
        found += made
        put_down(args.page, args.told, found, (len(wanted) - at - 1) * (1 if args.eager else 2))
    return found


def _without(name: str, how: str, note: str, args) -> list[Cell]:
    return [Cell(name, how, compiled, note=note) for compiled in ([False] if args.eager else [False, True])]


def _apart(name: str, how: str, cell_s: float, args) -> list[Cell]:
    """The cells of one model and format from a process of its own, which is ended when its time is over; what it had measured by then counts."""
    command = [sys.executable, "-m", "tests.bench.gpu", "--cell", name, how, "--device", args.device, "--steps", str(args.steps), "--cell-s", f"{cell_s:.0f}", "--rate", str(args.rate)]
    command += [f"--{flag}" for flag in ("toy", "eager") if getattr(args, flag)]
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        child = subprocess.Popen(command, stdout=out, stderr=err, cwd=Path(__file__).parents[2])
        try:
            child.wait(cell_s)
            why = ""
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
            why = f"not through within {cell_s:.0f} s"
        out.seek(0)
        err.seek(0)
        made = [Cell(**json.loads(line)) for line in out.read().splitlines() if line.startswith("{")]
        last = (err.read().strip().splitlines() or ["it said nothing"])[-1]
    return made + _without(name, how, why or f"failed: {last[:120].replace('|', '/')}", args)[len(made) :]


def put_down(page: Path, told: str, cells: list[Cell], missing: int) -> None:
    """The table between its two marks on the page; raises ValueError where the page has no such place."""
    text = page.read_text(encoding="utf-8")
    before, mark, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (mark and end):
        raise ValueError(f"{page.name} has no place for the table: the lines {BEGIN} and {END}")
    head = ["| model | format | blocks | recomputed | a step | peak memory | share of the matrix rate | first step |", "|---|---|---|---|---|---|---|---|"]
    lines = [told, "", *head, *(cell.row for cell in cells), *([f"\n{missing} cells are still to come."] if missing else [])]
    page.write_text(before + BEGIN + "\n" + "\n".join(lines) + "\n" + END + after, encoding="utf-8")


def main(argv: list[str] | None = None) -> None:
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("--all", action="store_true", help="every model, format, level and batch, on the screen alone")
    ask.add_argument("--page", type=Path, default=PAGE, help="where the table goes")
    ask.add_argument("--whole-s", type=float, default=WHOLE_S, help="seconds for the whole table")
    ask.add_argument("--cell-s", type=float, default=CELL_S, help="seconds for one model in one format")
    ask.add_argument("--cell", nargs=2, metavar=("MODEL", "FORMAT"), help=argparse.SUPPRESS)  # what table() asks of a process
    ask.add_argument("--rate", type=float, default=0.0, help=argparse.SUPPRESS)
    ask.add_argument("--family", action="append", choices=list(MODELS), help="which models; all if left out")
    ask.add_argument("--format", action="append", choices=FORMATS, dest="formats", help="of the frozen weights; all if left out")
    ask.add_argument("--levels", nargs="+", choices=LEVELS, default=list(LEVELS), help="of recomputing activations")
    ask.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    ask.add_argument("--toy", action="store_true", help="the toy models of the tests, in fp32")
    ask.add_argument("--eager", action="store_true", help="without torch.compile")
    ask.add_argument("--most", type=int, default=64, help="largest batch that is tried")
    ask.add_argument("--steps", type=int, default=STEPS)
    args = ask.parse_args(argv)
    if args.device == "cpu" and not args.toy:
        ask.error("the full models are for a GPU; --toy --device cpu runs the same path on small ones")
    if args.device == "cuda" and not torch.cuda.is_available():
        ask.error("PyTorch finds no usable NVIDIA GPU here")
    if args.cell:
        for cell in cells(*args.cell, args):
            print(json.dumps(asdict(cell)), flush=True)
        return
    args.rate = matrix_rate(args.device, 512 if args.toy else 8192)
    where = torch.cuda.get_device_name(0) if args.device == "cuda" else "CPU"
    args.told = f"{where}, torch {torch.__version__}: {args.rate / 1e12:.1f} TFLOP/s in a bf16 matrix product"
    print(args.told)
    if not args.all:
        table(args)
        return
    for name in args.family or MODELS:
        for how in ["fp32"] if args.toy else args.formats or FORMATS:
            bench(name, how, args)


if __name__ == "__main__":
    main()
