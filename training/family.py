"""What a model family is: frozen data, and a handful of functions.  One file each in training/families.

All conventions are fixed once (docs/conventions.md): pixels in [-1, 1]; latents [B,C,h,w], video [B,C,f,h,w], normalised with
the VAE's own shift and scale; t in [0, 1] with 1 = pure noise for flow families, whole timesteps for the others.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

    from PIL.Image import Image
    from torch import Tensor


@dataclass(frozen=True)
class LatentSpec:
    """The latent space of a family."""

    channels: int
    stride: int  # px per latent cell; a checkpoint's own VAE may differ, the loaded modules say
    video: bool = False
    patch: int = 1  # latent cells along the side of one of the denoiser's tokens; a timestep shift may count tokens
    frame_stride: int = 1  # frames of a clip per latent frame after the first: it takes n * frame_stride + 1 frames


CLIP_TARGETS = {
    "attention": ("q_proj", "k_proj", "v_proj", "out_proj"),
    "attention+ff": ("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"),
    "all": ("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"),
}


@dataclass(frozen=True)
class Original:
    """One layer of the model's first release, and the layers that diffusers made of it.  {n} stands for a number, e.g. of a block."""

    name: str  # as the original names it
    parts: tuple[str, ...]  # diffusers' names; several where the original holds them in one matrix, in this order
    sizes: tuple[int, ...] = (1,)  # outputs of each part, as a ratio


@dataclass(frozen=True)
class KohyaNames:
    """How kohya's scripts name the layers of a LoRA for this family: a prefix, then the name with _ for each dot."""

    prefixes: dict[str, str]  # folder of the diffusers layout -> prefix, e.g. {"unet": "lora_unet"}
    originals: tuple[Original, ...] = ()  # empty where they train diffusers' network and use its names


@dataclass(frozen=True)
class Beside:
    """A network that may hang beside a family's denoiser while it is trained, by diffusers' names."""

    network: str  # its class
    pipeline: str  # the class of the pipeline that draws with it
    part: str  # what that pipeline calls it
    image: str = "image"  # what the pipeline's call calls what it is shown
    shown: Literal["pixels", "latents", "picture"] = "pixels"  # the control picture's pixels or latents, or what an image encoder says of the picture itself
    encoder: str = ""  # that image encoder: a Hub id with the folder inside it
    widened: str = ""  # the denoiser's layer by which latents enter, where the control picture's enter there too
    targets: dict[str, tuple[str, ...]] = field(default_factory=dict)  # group -> layers of the denoiser that get a LoRA beside that one
    layers: dict[str, int] = field(default_factory=dict)  # of a transformer: how many blocks of each kind it copies, at most half of the denoiser's


@dataclass(frozen=True)
class References:
    """How a family is shown what a picture is made from: the pictures that an edit begins with."""

    most: int  # pictures at most that the pipeline takes
    needed: bool = False  # whether it cannot draw without one
    read: bool = False  # whether its text encoder looks at them too: encode_instruction is asked in place of encode_text
    read_tokens: int = 0  # about as many as it makes of one of them there
    image: str = "image"  # what the pipeline's call calls them
    several: bool = True  # whether the pipeline's call takes a list of them
    listed: bool = False  # whether it takes nothing but a list
    cuts: bool = False  # whether the pipeline cuts them around their middle to the size at which they are encoded; else it stretches them to it


@dataclass(frozen=True)
class Expert:
    """One of two denoisers that share the noise levels between them."""

    folder: str  # of the diffusers layout, which is also the pipeline's name for it and the prefix of its adapter in a checkpoint
    called: Literal["high", "low"]  # by loss.expert: the one for much noise, or the one for little
    ending: str  # of its adapter's file, before .safetensors, by which people and workflows know it
    asked: str = ""  # the argument of the pipeline's load_lora_weights that means it; "" for the one that it means without


@dataclass(frozen=True)
class Blocks:
    """Some of a denoiser's layers under a name.  only, without: regular expressions of their full names, one of which fits, or none; only empty: all."""

    title: str
    blurb: str  # one sentence: what they are, and whose finding it is
    only: tuple[str, ...] = ()
    without: tuple[str, ...] = ()

    def left_out(self) -> tuple[str, ...]:
        """Regular expressions of the layers that are not among them; each says by a comment that it is no one's own."""
        return (*([rf"{NAMED_BLOCKS}^(?!.*?(?:{'|'.join(self.only)}))"] if self.only else []), *(NAMED_BLOCKS + p for p in self.without))


NAMED_BLOCKS = "(?#blocks)"  # begins such a pattern


def numbered(first: int, last: int) -> str:
    """A regular expression of the whole numbers from first to last."""
    return f"(?:{'|'.join(map(str, range(first, last + 1)))})"


@dataclass(frozen=True)
class Speed:
    """A LoRA that is known to let a family draw in few steps, and how it is drawn with."""

    steps: int
    guidance: float = 1.0  # 1: none
    strength: float = 1.0
    scheduler: str = ""  # diffusers' class in place of the base model's own; "" keeps that
    settings: dict[str, Any] = field(default_factory=dict)  # of that scheduler, where they are not the base model's
    made_for: str = ""  # the base model, as a Hub id; "": the family's default


@dataclass(frozen=True)
class FamilySpec:
    """Frozen facts about a family; readable without torch."""

    id: str
    title: str
    default_source: str
    licence: str  # SPDX-like id as the Hub writes it, e.g. "creativeml-openrail-m"
    licence_url: str
    latent: LatentSpec
    prediction: Literal["scheduler", "flow"]  # "scheduler": epsilon or v, from the checkpoint's own scheduler config
    divisor: int  # px; sides of a training picture divide by it
    side_px: int  # usual side of a training picture
    architecture: str  # modelspec.architecture, e.g. "stable-diffusion-v1"
    lora_targets: dict[str, tuple[str, ...]]  # group -> module-name suffixes: "attention", "attention+ff", "all"
    parameters: float  # of the denoiser, rough, for estimates before the weights are there
    pipeline: str  # the pipeline's class, as model_index.json names it
    # "denoiser" | "text" | "vae" -> folders of the diffusers layout that hold its weights; "after_text": what the text encoder's words go
    # through before the denoiser, which load() brings along with the text encoder; "eye": what looks at first frames beside the VAE
    parts: dict[str, tuple[str, ...]]
    # usual values of the checkpoint's scheduler config that shift the noise levels, to draw the law before the base model is here
    shift: dict[str, float | bool | str] = field(default_factory=dict)
    may_begin: bool = False  # whether a clip may begin with a picture, which a pipeline's call takes as `image`: that of begun(m), where there is such a function
    notes: str = ""
    titles: dict[str, str] = field(default_factory=dict)  # Hub id -> name in lists, of checkpoints that are another model to a person
    words: dict[str, str] = field(default_factory=dict)  # Hub id -> list of sentences (presets/words) by which that checkpoint is held
    tags: tuple[str, ...] = field(default=())
    other_pipelines: tuple[str, ...] = ()  # further classes that model_index.json may name, where checkpoints of the family have different ones
    modular: bool = False  # whether diffusers has that pipeline in blocks alone: its repositories then have modular_model_index.json
    pipeline_module: str = ""  # the module that has the pipeline's class where diffusers has not; for the model card
    elsewhere: str = ""  # Markdown for the model card: what other programs need to take a LoRA; empty: nothing more than the card says of every family
    terms: str = ""  # Markdown for the model card's licence: what of the base model's licence whoever uses a LoRA has to know
    licences: dict[str, tuple[str, str]] = field(default_factory=dict)  # Hub id -> (licence, its URL) of checkpoints that have another one
    licence_names: dict[str, str] = field(default_factory=dict)  # Hub id -> what its licence is called, where the Hub's word for that is "other"
    other_parameters: tuple[float, float] | None = None  # of all text encoders and of the VAE, rough; None: small beside the denoiser
    sizes: dict[str, tuple[float, float]] = field(default_factory=dict)  # Hub id -> (parameters, those of all text encoders) of checkpoints of another size
    never_recomputed: float = 0.0  # share of the denoiser's blocks that its own gradient checkpointing leaves out
    trainable_text: tuple[str, ...] = ()  # folders of text encoders that an adapter may train too
    text_targets: dict[str, tuple[str, ...]] = field(default_factory=lambda: CLIP_TARGETS)  # as lora_targets, for those
    pipeline_loads: tuple[str, ...] = ("lora", "dora")  # adapter kinds that the pipeline's load_lora_weights takes; tried, not assumed
    kohya: KohyaNames | None = None  # None: kohya's scripts do not train it, or their names are not known
    originals: tuple[Original, ...] = ()  # every layer that an adapter may wrap, as the first release names it; empty: not known
    known: tuple[Original, ...] = ()  # further names that files of other programs have
    # further tensors of the denoiser, of layers that no adapter wraps: (diffusers' name, the first release's); what is not here is called alike
    released: tuple[tuple[str, str], ...] = ()
    flat: tuple[str, ...] = ()  # of diffusers' names in `released`, those that the first release holds as one row of numbers
    enclosed: dict[str, str] = field(default_factory=dict)  # further folder of the layout -> how its tensors' names begin in the first release's file of the denoiser
    marks: str = ""  # a regular expression of the denoiser's layers' names, its dots plain, for a family whose `originals` are not written down
    comfyui: Literal["", "diffusers", "kohya", "comfyui"] = ""  # the layout whose names ComfyUI knows; "": kohya's where there is one, else not known
    comfyui_lacks: tuple[str, ...] = ()  # layers of that layout that ComfyUI knows by the first release's names alone
    pipeline_reads_kohya: bool = True  # whether it takes a LoRA in kohya's layout, where there is one; tried
    pipeline_reads_originals: bool = False  # whether load_lora_weights takes a LoRA under "diffusion_model." whatever layers it has; tried
    broken_pipelines: tuple[str, ...] = ()  # of diffusers' "Img2Img" and "Inpaint" pipelines for it, those that do not run; tried
    pipeline_title: str = "diffusers"  # whose load_lora_weights that is
    alike: tuple[str, ...] = ()  # Hub ids of checkpoints whose weights look like default_source's, but whose scheduler is set otherwise
    optional: dict[str, float] = field(default_factory=dict)  # text encoders that a run can do without (model.leave_out) -> parameters, rough

    elsewhere_called: tuple[str, ...] = ()  # what job files of other trainers call it and its repositories begin with: small letters and digits only

    beside: dict[str, Beside] = field(default_factory=dict)  # kind of adapter -> what hangs beside the denoiser; a kind that is not here cannot be trained

    blocks: dict[str, Blocks] = field(default_factory=dict)  # adapter.blocks -> those layers of the denoiser
    speed: dict[str, Speed] = field(default_factory=dict)  # LoRA, as sample.speed_adapter names it -> how it is drawn with

    references: References | None = None  # what it can be shown beside the caption; None: nothing
    experts: tuple[Expert, ...] = ()  # where it has two denoisers: the one for much noise first; parts["denoiser"] are their folders
    first_frame: bool = False  # whether it makes a clip from its first frame: encode_first is asked, and predict told what it gave; pictures are not learnt
    fps: float = 0.0  # frames a second that it always reckons with; 0: it knows nothing of time in seconds
    boundary: float = 0.0  # usual noise level from which on the first of them is asked, before the base model is here

    def title_of(self, source: str) -> str:
        """What a base model is called in lists: the family's title, or for another checkpoint its own or its repository's name."""
        return self.titles.get(source) or (self.title if source == self.default_source else source.rsplit("/", 1)[-1])

    def called(self, source: str) -> str:
        """What a base model is called where its own address must not show: the title of its kind."""
        return self.titles.get(source, self.title)

    def words_of(self, source: str) -> str:
        """Name of the list of sentences that a base model is held with, where a run keeps what it knows."""
        return self.words.get(source, "everyday")

    def licence_of(self, source: str) -> tuple[str, str]:
        """(licence, its URL) of a base model."""
        return self.licences.get(source, (self.licence, self.licence_url))

    def sized(self, source: str) -> FamilySpec:
        """The same, with the sizes of a base model that is known to have others; before without(), which takes off what is left out."""
        if source not in self.sizes:
            return self
        count, text = self.sizes[source]
        return replace(self, parameters=count, other_parameters=(text, (self.other_parameters or (0.0, 0.0))[1]))

    @property
    def index(self) -> str:
        """The file at a repository's top that names its parts."""
        return "modular_model_index.json" if self.modular else "model_index.json"

    @property
    def denoiser(self) -> str:
        """The denoiser's folder, which is also the pipeline's name for it and the prefix of a saved LoRA's keys."""
        return self.parts["denoiser"][0]

    def learning(self, expert: str) -> tuple[Expert, ...]:
        """Those of its experts that learn where loss.expert is so; () for a family with one denoiser."""
        return tuple(e for e in self.experts if expert in ("both", e.called))

    def without(self, left_out: tuple[str, ...]) -> FamilySpec:
        """The same, without parts that a run does without.  Raises ValueError for a part that is needed."""
        for name in left_out:
            if name not in self.optional:
                can = f"what can be left out: {', '.join(self.optional)}" if self.optional else "nothing of it can be left out"
                raise ValueError(f"model.leave_out names {name!r}, but {self.title} needs it; {can}")
        others = self.other_parameters and (self.other_parameters[0] - sum(self.optional[n] for n in set(left_out)), self.other_parameters[1])
        parts = {kind: tuple(n for n in names if n not in left_out) for kind, names in self.parts.items()}
        return replace(self, parts=parts, other_parameters=others)


class Family(Protocol):
    """What a family's file offers besides SPEC.  `m` is the Modules that load() gave."""

    SPEC: FamilySpec

    def load(self, folder: Path, parts: set[str], place: Placement) -> Modules:
        """Named modules from a folder in diffusers layout.  parts: folders of SPEC.parts, e.g. {"vae"}; the tokenizers of the
        text encoders asked for and the scheduler always come.  Frozen, in eval mode.  Raises ValueError in plain words."""

    def encode_text(self, m: Modules, captions: list[str]) -> list[dict[str, Tensor]]:
        """For each caption the tensors of those text encoders that are loaded, without a batch dimension, none of them
        dependent on the other captions.  The engine loads one encoder at a time, caches each, and merges what they gave:
        tensor names must differ between encoders.  Rows of different length are padded with zeros where they meet in a batch.
        For the encoders in SPEC.trainable_text it is also called in the training step, and gradients must pass through it."""

    def encode_instruction(self, m: Modules, caption: str, shown: list[Image]) -> dict[str, Tensor]:
        """Where SPEC.references.read: as encode_text, of one caption with the pictures (RGB, upright, cut as they are trained) that it speaks
        of, in their order; none of them: the caption alone."""

    def reference_size(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) px at which the pipeline encodes a reference of a size.  Asked where SPEC.references is not None."""

    def encode_reference(self, m: Modules, pixels: Tensor) -> Tensor:
        """pixels [1,3,H,W] in [-1,1], of a size that reference_size gave -> latents [1,C,h,w], normalised, fp32, as the pipeline's call
        makes them of a reference: nothing is drawn."""

    def encode_image(self, m: Modules, pixels: Tensor, generator) -> Tensor:
        """pixels [B,3,H,W] in [-1,1] (video: [B,3,F,H,W]) -> latents, normalised, fp32."""

    def encode_first(self, m: Modules, frame: Image, frames: int) -> dict[str, Tensor]:
        """Where SPEC.first_frame: all that the denoiser is told of the first frame (RGB, of the clip's size) of a clip of so many frames, as the pipeline's
        call makes it, without a batch dimension; nothing is drawn."""

    def predict(self, m: Modules, noisy: Tensor, t: Tensor, cond: Cond) -> Tensor:
        """noisy: latents in m.dtype; t [B]: whole timesteps for "scheduler" families, [0,1] fp32 for flow.  Same shape as noisy:
        what the scheduler's config says, or noise - clean for flow, whatever sign or time the network itself uses.  A family whose
        SPEC.beside is not empty asks what hangs there, if m.side is not None; cond then has CONTROL or PICTURE.  One whose SPEC.references
        is not None asks references_of(cond), which may be empty unless they are needed."""

    def pipeline(self, m: Modules) -> Any:
        """The family's diffusers pipeline over the same modules, ready to draw from prompt embeddings."""

    def draw_args(self, m: Modules, cond: Cond, negative: Cond, guidance: float) -> dict:
        """Keyword arguments that feed cached text and the guidance strength to the pipeline's call; cond: [1,...]."""

    def grid(self, configs: dict[str, dict]) -> tuple[int, int]:
        """(px per latent cell, px that sides must divide by) of a checkpoint, from its parts' config.json."""


@dataclass(frozen=True)
class Placement:
    """How a part is loaded."""

    dtype: Any  # torch.dtype of weights and computation
    device: str
    quantise: str = "none"  # "int8", "fp8" or "nf4": Linear layers of the blocks hold their frozen weights so


@dataclass
class Side:
    """What hangs beside the denoiser.  adapter: the module of its kind, which says how the denoiser is told; network: what learns."""

    adapter: ModuleType
    network: Any


@dataclass
class Modules:
    """Named modules of a loaded model.  A part that was not asked for, or was freed, is None or absent."""

    dtype: Any  # torch.dtype that the denoiser computes in
    denoiser: Any = None
    vae: Any = None
    text_encoders: dict[str, Any] = field(default_factory=dict)  # by folder name
    tokenizers: dict[str, Any] = field(default_factory=dict)  # by the folder name of the text encoder that reads them
    scheduler: Any = None
    index: dict[str, Any] = field(default_factory=dict)  # of model_index.json, for a family whose checkpoints say more there than their parts
    eye: Any = None  # what looks at first frames beside the VAE
    side: Side | None = None  # what hangs beside the denoiser, where that is what is trained


CONTROL = "control"  # [B,3,H,W] in [0, 1], or latents [B,C,h,w], as Beside.shown says: the control picture
PICTURE = "picture"  # [B,D], or [B,L,D]: what an image encoder says of the picture that is the prompt
REFERENCE = "reference{n}"  # n = 0, 1, ...: [B,C,h,w], the latents of one thing each picture is made from; all rows have as many, of one size
GEOMETRY = "geometry"  # [B,6] px: height, width of the picture as it was; top, left of the crop; height, width of the crop


@dataclass
class Cond:
    """What the denoiser is told.  tensors: name -> [B, ...], on one device: what encode_text gave, GEOMETRY, and CONTROL or PICTURE where something hangs beside it."""

    tensors: dict[str, Tensor]

    @classmethod
    def of(cls, rows: list[dict[str, Tensor]]) -> Cond:
        """One Cond of many rows; where they differ in length, the shorter are padded at the end with zeros (False in a mask)."""
        return cls({name: _stacked([row[name] for row in rows]) for name in rows[0]})

    def to(self, device, dtype=None) -> Cond:
        """The same on a device, floats in `dtype` if one is given."""
        return Cond({k: t.to(device, dtype if dtype and t.is_floating_point() else t.dtype, non_blocking=True) for k, t in self.tensors.items()})


def references_of(cond: Cond) -> list[Tensor]:
    """The latents of what the pictures are made from, each [B,C,h,w], in their order; none where there is nothing."""
    found = []
    while (name := REFERENCE.format(n=len(found))) in cond.tensors:
        found.append(cond.tensors[name])
    return found


def mask_of(cond: Cond) -> Tensor | None:
    """Its "mask", [B,L]; None for a single caption that nothing pads: attention without a mask takes faster kernels.  One out of a larger batch may be padded."""
    mask = cond.tensors["mask"]
    return None if len(mask) == 1 and bool(mask.all()) else mask


def _stacked(tensors: list[Tensor]) -> Tensor:
    if all(t.shape == tensors[0].shape for t in tensors):
        from torch import stack

        return stack(tensors)
    longest = max(len(t) for t in tensors)
    whole = tensors[0].new_zeros((len(tensors), longest, *tensors[0].shape[1:]))
    for row, t in zip(whole, tensors, strict=True):
        row[: len(t)] = t
    return whole
