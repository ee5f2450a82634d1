"""What a job is: frozen, complete, validated.  Every field has one sentence with its unit; unknown keys are refused."""

from __future__ import annotations

import hashlib
import json
import os
import re
from typing import Annotated, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from .names import check_name


class Part(BaseModel):
    """A frozen piece of a config.  inf and nan are refused, and so is a bool where a number is asked for."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)

    @model_validator(mode="before")
    @classmethod
    def _a_bool_is_no_number(cls, values):
        if isinstance(values, dict):
            for key, field in cls.model_fields.items():
                value = values.get(key)
                if isinstance(value, bool) and field.annotation in (int, float):
                    raise ValueError(f"{key} is {value!r}, but it takes a number")
                if isinstance(value, (list, tuple)) and any(isinstance(v, bool) for v in value) and {int, float} & set(get_args(field.annotation)):
                    raise ValueError(f"{key} holds {next(v for v in value if isinstance(v, bool))!r}, but it takes numbers")
        return values


def expression(pattern: str) -> str:
    """The pattern.  Raises ValueError where it is no regular expression."""
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern!r} is not a regular expression ({error}); put a backslash before signs such as ( [ + * to mean themselves") from None
    return pattern


Pattern = Annotated[str, AfterValidator(expression)]


def sane_sides(sides: tuple[int, ...]) -> tuple[int, ...]:
    """Each side once, the smallest first.  Raises ValueError for one that no picture is trained at."""
    for side in sides:
        if not 32 <= side <= 4096:
            raise ValueError(f"a resolution of {side} px is outside 32-4096 px")
    return tuple(sorted(set(sides)))


Sides = Annotated[tuple[int, ...], AfterValidator(sane_sides)]


def one_word(trigger: str) -> str:
    """The trigger word without blanks around it.  Raises ValueError for what would not stay one tag of a caption."""
    if any(c in trigger for c in "\n\r\t,|"):
        raise ValueError("the trigger word holds a comma, bar, tab or line break; use a single word such as 'zibbo'")
    return trigger.strip()


def inner_place(part: str) -> str:
    """A sub-folder as a/b, its names as they are on the disk.  Raises ValueError for one that would lead out of its dataset."""
    windows = os.name == "nt"
    names = (part.replace("\\", "/") if windows else part).split("/") if part.strip() else []
    if any(name.strip() in (".", "..") or "\0" in name or (windows and ":" in name) for name in names):
        raise ValueError(f"{part!r} is no folder inside the dataset; name it as it lies there, for example portraits")
    return "/".join(name for name in names if name)


NO_WORD = "-"  # of a dataset that is learnt without a trigger word


class ModelPart(Part):
    """The base model that is trained on."""

    family: str = Field(description="Model family: which architecture the base model has.")
    source: str = Field(
        description="The base model: a Hugging Face Hub id, a folder in diffusers layout, or a .safetensors file; "
        "'builtin' is the small model that comes with Easel."
    )
    revision: str = Field("", description="Branch, tag or commit of a Hub id; empty means its default branch.")
    leave_out: tuple[str, ...] = Field(
        (), description="Text encoders to do without, by their folders' names, to save memory and download; only some families can."
    )
    training_adapter: str = Field(
        "", description="A LoRA, as Hub id, owner/name/file.safetensors or file, that lies on a distilled base model only while it trains: "
        "not in samples, not in the result."
    )
    context_adapter: str = Field(
        "", max_length=1000, description="A LoRA, as Hub id, owner/name/file.safetensors or file, that stays on in training and samples and does not learn, so that "
        "the result can be used together with it; it is no part of the result."
    )
    context_strength: float = Field(1.0, ge=-4, le=4, description="How much that LoRA acts; 1 is as it was made.")
    prediction: Literal["auto", "epsilon", "v_prediction"] = Field(
        "auto", description="What a Stable Diffusion model was trained to predict: the noise (epsilon) or the velocity (v_prediction); auto takes what its own files say."
    )
    zero_terminal_snr: Literal["auto", "on", "off"] = Field(
        "auto", description="Whether a Stable Diffusion model was trained up to pure noise (zero terminal SNR, ZTSNR); auto takes what its own files say."
    )
    dtype: Literal["fp32", "bf16", "fp16"] = Field(
        "fp32", description="Number format of the frozen base weights and of the computation; the adapter itself is always fp32."
    )
    quantise: Literal["none", "int8", "fp8", "nf4"] = Field(
        "none", description="Frozen weights of the denoiser's blocks in 8 bits (int8, fp8) or 4 (nf4): less memory, a little less exact, slower."
    )
    quantise_text: Literal["none", "int8", "fp8", "nf4"] = Field(
        "none", description="The same for the text encoders, which are in memory only until the captions are read."
    )
    offload: float = Field(
        0.0, ge=0, le=1, description="Share of the denoiser's blocks that waits in RAM and is copied to the graphics card whenever it runs: much slower."
    )
    vae_tiling: bool = Field(
        False, description="Encode and decode pictures in overlapping tiles: less memory for large ones, small differences where tiles meet."
    )

    @field_validator("zero_terminal_snr", mode="before")
    @classmethod
    def _yaml_reads_on_as_a_switch(cls, value):
        return {True: "on", False: "off"}[value] if isinstance(value, bool) else value


class DatasetUse(Part):
    """One dataset of a run."""

    name: str = Field(description="Name of a dataset in the datasets folder, or the path of a folder of pictures.")
    repeats: Annotated[int, Field(ge=1, le=1000)] = Field(1, description="How often each of its pictures counts in one epoch.")
    weight: Annotated[float, Field(gt=0, le=100)] = Field(1.0, description="How much the loss of its pictures counts.")
    prior: bool = Field(
        False, description="Its pictures show what must stay as it is: they get no trigger word, none is held out, and loss.prior_target holds them."
    )
    trigger: Annotated[str, Field(max_length=100), AfterValidator(one_word)] = Field(
        "", description="Word that calls up what these pictures show, in place of the run's own; empty takes the run's, - learns them without one."
    )
    resolutions: Sides = Field((), max_length=16, description="Sides in px that its pictures are trained at, in place of data.resolutions; empty takes those.")
    part: Annotated[str, Field(max_length=300), AfterValidator(inner_place)] = Field(
        "", description="The sub-folder that its pictures came from, with those inside it, to take only these; empty takes all."
    )
    frames: Annotated[int, Field(ge=0, le=1025)] = Field(0, description="Frames of a training clip cut out of its clips, in place of data.frames; 0 takes that, and 1 leaves its clips out.")
    fps: Annotated[float, Field(ge=0, le=120)] = Field(0.0, description="Frames a second at which its clips are learnt, in place of data.fps; 0 takes that.")

    def word(self, usual: str) -> str:
        """The trigger word that its pictures are learnt with.  usual: the run's own."""
        return "" if self.prior or self.trigger == NO_WORD else self.trigger or usual


class WeighedPicture(Part):
    """A picture that counts otherwise from a step on."""

    step: int = Field(ge=0, le=10_000_000, description="Steps after which it counts so.")
    picture: str = Field(pattern="^[0-9a-f]{64}$", description="The sha256 of the picture's file.")
    weight: float = Field(ge=0, le=100, description="How much its loss counts from then on; 0 sets it aside, and others take its turns.")


class DataPart(Part):
    """The pictures and their captions."""

    datasets: tuple[DatasetUse, ...] = Field(
        description="The datasets to train on: how often each picture counts, how much its loss weighs, and whether it is kept as it is. "
        "None is needed where words say what changes."
    )
    resolutions: Sides = Field(
        (512,), min_length=1, description="Side in px of a square training picture; several values train at each of them."
    )
    aspect_buckets: bool = Field(True, description="Group pictures by shape, so that little is cropped; off means square crops.")
    max_aspect: float = Field(2.0, ge=1.0, le=4.0, description="Longest side over shortest side of the most extreme bucket.")
    upscale: bool = Field(True, description="Use pictures that are smaller than their bucket by enlarging them; off leaves them out and says so.")
    flip: bool = Field(False, description="Also train on mirrored pictures; not for text, logos or asymmetric faces.")
    batch_size: int = Field(1, ge=1, le=256, description="Pictures in one forward pass.")
    caption_dropout: float = Field(0.05, ge=0, le=1, description="Share of steps in which a picture's caption is replaced by the empty one.")
    prior_caption_dropout: float = Field(
        0.25, ge=0, le=1, description="The same for pictures that are kept as they are: it holds the prediction without words, which guidance leads away from."
    )
    caption_kinds: Literal["all", "tags", "prose", "evenly", "joined"] = Field(
        "all",
        description="Of a picture that has several captions, a line each: all are trained alike, only its tags, only its prose (sentences), both equally often (evenly), "
        "or prose with tags behind it in one (joined). But for all, only tags are shuffled and left out, and prose stays as it is.",
    )
    shuffle_tags: bool = Field(False, description="Shuffle the comma-separated parts of a caption at every use.")
    keep_tags: int = Field(1, ge=0, le=100, description="How many comma-separated parts stay in front when tags are shuffled or dropped; in a caption with |||, what stands before that does.")
    tag_dropout: float = Field(
        0.0, ge=0, le=0.9, description="Share of the comma-separated parts of a caption that are left out at a use; those that stay in front, and the trigger word, never are."
    )
    frames: int = Field(1, ge=1, le=1025, description="Frames of a training clip, for families that make video; 1 means still pictures only.")
    fps: float = Field(16.0, gt=0, le=120, description="Frames a second at which clips are learnt, whatever rate they were filmed at.")
    segments: int = Field(4, ge=1, le=100, description="Training clips that are cut at most out of one longer clip, or of each scene of it, evenly spaced; 1 takes its middle.")
    scenes: bool = Field(False, description="Take each scene of a clip by itself, so that no training clip shows a cut; off cuts clips as if they were one scene.")
    shorter: tuple[Annotated[int, Field(ge=2, le=1025)], ...] = Field(
        (), max_length=8, description="Shorter lengths in frames that clips are cut to as well, beside their usual one; memory is decided by the longest."
    )
    held_out: int = Field(0, ge=0, le=1000, description="Pictures kept out of training, to measure the validation loss on; 0 means none.")
    weighed: tuple[WeighedPicture, ...] = Field(
        (), max_length=10_000, description="Pictures that count otherwise from a step on, as it was asked for during a run that is trained again: the step, the sha256 of the file, the weight; 0 sets a picture aside."
    )

    def sides(self, use: DatasetUse) -> tuple[int, ...]:
        """The sides that the pictures of one dataset are trained at, px."""
        return use.resolutions or self.resolutions

    def frames_of(self, use: DatasetUse) -> int:
        """Frames of the training clips of one dataset."""
        return use.frames or self.frames

    def fps_of(self, use: DatasetUse) -> float:
        """Frames a second of the training clips of one dataset."""
        return use.fps or self.fps

    def lengths_of(self, use: DatasetUse) -> tuple[int, ...]:
        """Frames of the training clips of one dataset, every length that it is cut to, the longest first; (1,) where it learns still pictures."""
        longest = self.frames_of(use)
        return (longest, *sorted({n for n in self.shorter if n < longest}, reverse=True))

    @property
    def most_frames(self) -> int:
        """Frames of the longest training clip of the run; 1 for still pictures."""
        return max((self.frames_of(use) for use in self.datasets), default=self.frames)

    @property
    def all_sides(self) -> tuple[int, ...]:
        """Every side that some picture is trained at, px, the smallest first."""
        return tuple(sorted({side for use in self.datasets for side in self.sides(use)})) or self.resolutions

    @field_validator("datasets")
    @classmethod
    def _something_is_learnt(cls, datasets):
        if datasets and all(use.prior for use in datasets):
            raise ValueError("every dataset is one that is kept as it is, so there is nothing to learn; add the pictures to learn from")
        return datasets


class RankRule(Part):
    """A rank of its own for some layers."""

    pattern: Pattern = Field(min_length=1, description="Text that a layer's full name holds; a regular expression also works.")
    rank: int = Field(ge=1, le=1024, description="Rank of these layers; alpha changes along with it, so that the strength stays.")


class AdapterPart(Part):
    """Which weights move."""

    type: str = Field("lora", description="Kind of adapter.")
    rank: int = Field(16, ge=1, le=1024, description="Size of the adapter's inner dimension: higher learns more detail and makes a larger file.")
    alpha: float = Field(16.0, gt=0, le=4096, description="Scale of the adapter: its effect is multiplied by alpha / rank.")
    rslora: bool = Field(False, description="Rank-stabilised scale: alpha / √rank instead of alpha / rank, for high ranks.")
    dropout: float = Field(
        0.0, ge=0, lt=1, description="Share that is switched off at random while training: of the layer's inputs; for LoKr and LoHa of the rank, for OFT of the blocks."
    )
    targets: Literal["attention", "attention+ff", "all"] = Field(
        "attention", description="Layers that get an adapter: attention, attention and feed-forward, or convolutions and projections too."
    )
    blocks: str = Field("", max_length=40, pattern="^[a-z0-9_]*$", description="Only a named set of the denoiser's blocks, beside what include and exclude say; which there are depends on the base model. Empty means all.")
    include: tuple[str, ...] = Field(
        (), max_length=64, description="Only layers of the denoiser whose name holds one of these texts or regular expressions, e.g. up_blocks.1; empty means all."
    )
    exclude: tuple[str, ...] = Field((), max_length=64, description="No layers of the denoiser whose name holds one of these texts or regular expressions.")
    rank_patterns: tuple[RankRule, ...] = Field(
        (), max_length=64, description="A rank of its own for some layers of the denoiser: text in the layer's name, and the rank. The first that fits holds."
    )
    factor: int = Field(-1, ge=-1, le=1024, description="LoKr: largest size of the small factor, larger means fewer weights; -1 splits evenly.")
    least_rank: int = Field(1, ge=1, le=1024, description="T-LoRA: how many ranks learn at pure noise; all of them do at a clean picture.")
    rank_power: float = Field(1.0, gt=0, le=10, description="T-LoRA: how the ranks that learn fall with the noise: 1 evenly, higher sooner.")
    block_size: int = Field(32, ge=2, le=1024, description="OFT: size of the blocks that are rotated; larger learns more and makes a larger file.")
    control_dropout: float = Field(
        0.0, ge=0, le=1, description="Share of steps in which a picture's control picture is left out (black), so that what was learnt also draws without one."
    )
    norms: bool = Field(False, description="Control LoRA: learn the scales of the attention's norms as well.")
    plus: bool = Field(False, description="IP-Adapter: read all patches of a picture through a resampler (the plus form), which keeps more of it than one vector does.")
    image_encoder: str = Field(
        "", max_length=1000, description="IP-Adapter: the image encoder that looks at the pictures, a CLIP with projection: a folder, or a Hub id with the folder inside it; empty takes the usual one."
    )
    picture_dropout: float = Field(0.05, ge=0, le=0.5, description="IP-Adapter: share of steps in which a picture is learnt from its caption alone.")
    both_dropout: float = Field(0.05, ge=0, le=0.5, description="IP-Adapter: share of steps in which a picture is learnt with neither its caption nor itself as a prompt.")
    text_encoder: bool = Field(False, description="Train an adapter on the text encoder too, where the family's is a CLIP; captions are then encoded at each step.")
    text_learning_rate: float = Field(5e-5, gt=0, le=10, description="Step size of the optimizer for the text encoder's adapter.")
    start_from: str = Field(
        "", max_length=1000, description="Adapter to go on from: a .safetensors file, a run or one of its checkpoints (RUN/STEP), or a Hub id; empty starts afresh."
    )

    @field_validator("include", "exclude")
    @classmethod
    def _patterns_hold(cls, patterns):
        return tuple(expression(p) for p in patterns)


class RateRule(Part):
    """A learning rate of its own for some weights."""

    pattern: Pattern = Field(min_length=1, description="Text that a weight's full name holds, folder first, e.g. text_encoder_2 or lora_B; a regular expression also works.")
    times: float = Field(gt=0, le=1000, description="Their learning rate as a multiple of the one that they would have.")


class OptimizerPart(Part):
    """How the weights move."""

    type: str = Field("adamw", description="What makes steps of the gradients.")
    options: dict[str, bool | int | float | str] = Field({}, description="What this optimizer alone is told, one to a line, such as momentum: 0.9.")
    learning_rate: float = Field(1e-4, gt=0, le=10, description="Step size of the optimizer at its highest.")
    rates: tuple[RateRule, ...] = Field(
        (), max_length=64, description="A learning rate of its own for some weights: text in the weight's name, and how many times the usual. The first that fits holds."
    )
    weight_decay: float = Field(0.01, ge=0, le=1, description="Pull of the adapter's weights towards zero.")
    betas: tuple[float, float] = Field((0.9, 0.999), description="Averaging of gradients and their squares.")
    eps: float = Field(1e-8, gt=0, le=1e-2, description="Smallest denominator of the update.")
    schedule: Literal["constant", "cosine", "linear", "cosine_restarts", "polynomial", "wsd", "rex"] = Field(
        "cosine",
        description="How the learning rate changes after the warm-up: cosine_restarts begins anew several times; wsd (warm-up, stable, decay) stays and falls "
        "only at the end; rex stays high for long.",
    )
    warmup_steps: int = Field(0, ge=0, le=100_000, description="Optimizer steps in which the learning rate rises from zero.")
    schedule_cycles: int = Field(3, ge=1, le=1000, description="How often cosine_restarts goes down from the top.")
    schedule_power: float = Field(2.0, gt=0, le=20, description="Exponent of the polynomial schedule: 1 is a straight line, higher falls sooner.")
    schedule_decay: float = Field(0.2, gt=0, le=1, description="Share of the steps, at the end, in which wsd lets the learning rate fall.")
    schedule_end: float = Field(0.0, ge=0, lt=1, description="What the learning rate comes down to, as a share of its highest.")
    again_from: int = Field(0, ge=0, le=1_000_000, description="Optimizer step at which the learning rate begins anew, in a run that trains a finished one longer; 0 means never.")
    again_share: float = Field(0.3, gt=0, le=1, description="What it begins anew at, as a share of its highest.")
    again_schedule: Literal["cosine", "constant"] = Field("cosine", description="How it goes on from there: down to its lowest (cosine), or not at all (constant).")
    accumulation: int = Field(1, ge=1, le=256, description="Batches added up before one optimizer step; acts like a larger batch.")
    clip_grad: float = Field(1.0, ge=0, le=1000, description="Largest length of the gradient vector; 0 means no limit.")

    @field_validator("betas")
    @classmethod
    def _betas_below_one(cls, betas):
        if not all(0 <= b < 1 for b in betas):
            raise ValueError(f"betas are {betas}, but each must be at least 0 and below 1")
        return betas


class LossPart(Part):
    """What is minimised."""

    objective: str = Field("images", description="What the weights are moved towards.")
    timestep_law: Literal["uniform", "logit_normal", "sigmoid", "mode", "cosmap", "content", "style"] = Field(
        "uniform",
        description="How often each noise level is trained: evenly, mostly the middle (logit_normal; sigmoid is the same with mean 0, spread 1; mode; "
        "cosmap), mostly much noise (content) or mostly little (style).",
    )
    timestep_mean: float = Field(0.0, ge=-5, le=5, description="Middle of the logit_normal law; above 0 is noisier.")
    timestep_std: float = Field(1.0, ge=0.05, le=5, description="Spread of the logit_normal law.")
    timestep_scale: float = Field(1.29, ge=-1, le=1.75, description="Strength of the mode law: above 0 favours the middle, below 0 both ends.")
    timestep_shift: float = Field(
        0.0, ge=0, le=100,
        description="Pull of the noise levels towards pure noise; 3 is usual at 1024 px, 1 means none. 0 takes what the base model's own scheduler "
        "says, which may grow with the picture.",
    )
    timestep_min: float = Field(0.0, ge=0, lt=1, description="Noise level below which nothing is trained; 0 is the clean picture.")
    timestep_max: float = Field(1.0, gt=0, le=1, description="Noise level above which nothing is trained; 1 is pure noise.")
    expert: Literal["both", "high", "low"] = Field(
        "both", description="Which denoiser learns where a base model has two, one for much noise (composition, movement) and one for little (looks, "
        "detail): both in turn, or one alone. Each gives a file of its own."
    )
    high_noise_share: float = Field(
        0.0, ge=0, lt=1, description="Share of the steps in which the denoiser for much noise learns, where both do; 0 means as often as its noise levels come."
    )
    expert_steps: int = Field(
        1, ge=1, le=1000, description="Steps in a row for which the same one of two denoisers learns; on a graphics card, which holds one at a time, more of "
        "them copy less."
    )
    type: Literal["mse", "huber"] = Field(
        "mse", description="What an error costs: its square (mse), or less than that where it is large (huber), which forgives outliers."
    )
    huber_delta: float = Field(0.1, gt=0, le=1, description="Size of an error from which huber grows like the error and no longer like its square.")
    huber_schedule: Literal["constant", "snr"] = Field(
        "constant", description="How huber_delta goes with the noise: the same at every level, or 1 at a clean picture falling to huber_delta (snr)."
    )
    min_snr_gamma: float = Field(0.0, ge=0, le=100, description="Min-SNR weighting (5 is usual); 0 means every timestep counts the same.")
    prior_target: Literal["base", "pictures"] = Field(
        "base", description="What pictures that are kept as they are must give: what the base model itself makes of them, or the pictures themselves."
    )
    weighting: Literal["none", "debiased", "sigma_sqrt", "cosmap"] = Field(
        "none",
        description="How much each noise level counts: all alike, debiased estimation, or, for flow models, 1/t² (sigma_sqrt) or the cosmap weights.",
    )
    noise_offset: float = Field(
        0.0, ge=0, le=1, description="Noise of one value a channel that is added to the training noise, for darker and brighter pictures (0.05 is usual)."
    )
    noise_pyramid: float = Field(
        0.0, ge=0, lt=1, description="Share of coarser noise that is added to the training noise, each coarser level by this factor again (0.3 is usual)."
    )
    masked: bool = Field(
        False, description="Learn only what a mask shows white: name.mask.png beside name.jpg, else the picture's own transparency."
    )
    unmasked_weight: float = Field(0.0, ge=0, le=1, description="How much what a mask hides still counts, compared to what it shows.")
    ema_decay: float = Field(0.0, ge=0, lt=1, description="Running average of the adapter's weights, used for samples and the result; 0 means off.")
    gradient_checkpointing: Literal["off", "third", "half", "all"] = Field(
        "off", description="Blocks whose activations are recomputed in the backward pass: the more, the less memory, and up to a third slower."
    )

    @field_validator("gradient_checkpointing", mode="before")
    @classmethod
    def _once_a_switch(cls, value):
        return {True: "all", False: "off"}[value] if isinstance(value, bool) else value  # also what YAML makes of a bare off

    @model_validator(mode="after")
    def _limits_and_weights_agree(self):
        if self.timestep_min >= self.timestep_max:
            raise ValueError(f"loss.timestep_min is {self.timestep_min:g}, but loss.timestep_max is {self.timestep_max:g}; the minimum must be below it")
        if self.weighting != "none" and self.min_snr_gamma:
            raise ValueError(f"loss.weighting is {self.weighting!r} and loss.min_snr_gamma is {self.min_snr_gamma:g}; choose one, and set the other to none or 0")
        return self


class Target(Part):
    """One thing that is changed by words."""

    target: str = Field(min_length=1, max_length=400, description="What it acts on, as a prompt would say it: what a slider moves, what is forgotten or what is replaced.")
    positive: str = Field("", max_length=400, description="Slider: the same with more of it; replace: what is drawn in its place; forget: what it falls back on, empty: the sentence without it.")
    negative: str = Field("", max_length=400, description="Slider: the same with less of it.")
    strength: float = Field(2.0, gt=0, le=20, description="How far it is moved, as a multiple of the difference that the words make; a replacement is always whole.")
    weight: float = Field(1.0, gt=0, le=100, description="How much its loss counts, compared to that of the other rows.")

    @field_validator("target", "positive", "negative")
    @classmethod
    def _one_line(cls, text):
        return " ".join(text.split())


class ConceptPart(Part):
    """What is changed by words, or by pictures of two ends, instead of being learnt from pictures: sliders, forgetting, replacing."""

    targets: tuple[Target, ...] = Field((), max_length=64, description="What is changed: the thing, for a slider more and less of it, for a replacement what comes in its place; strength and weight.")
    contexts: tuple[str, ...] = Field(
        ("{}",), min_length=1, max_length=256,
        description="Sentences around a target, one a line; {} is where it stands, for example: a photo of {} in a park. One is drawn at each use.",
    )
    preserve: tuple[str, ...] = Field(
        (), max_length=16,
        description="Slider: words that both of its ends are asked with, one a line, so that it moves nothing that they tell apart, for example male and female; their differences add up.",
    )
    anchors: tuple[str, ...] = Field((), max_length=1000, description="Sentences that go on drawing what they drew, one a line; one is drawn for each picture at each step.")
    anchor_weight: float = Field(1.0, gt=0, le=100, description="How much the loss of the anchors counts, compared to that of what is changed.")
    drawn: int = Field(
        24, ge=1, le=1000,
        description="Pictures that the base model draws of the targets before the first step, with the steps and guidance of the samples, to be noised again; not used where there is a dataset.",
    )
    low: str = Field("", max_length=1000, description="Slider from pictures: the dataset of the low ends, each named like its high end in data.datasets; empty: name.low and name.high lie in one dataset.")
    focus: float = Field(1.0, ge=0, le=1, description="Slider from pictures: how much the places where the two ends of a pair differ count more than those where they are alike; 0: all count the same.")

    @field_validator("contexts")
    @classmethod
    def _a_place_in_each(cls, contexts):
        contexts = tuple(" ".join(c.split()) for c in contexts if c.strip())
        if not contexts or any(c.count("{}") != 1 for c in contexts):
            odd = next((c for c in contexts if c.count("{}") != 1), "")
            raise ValueError(f"{odd!r} needs one {{}}, the place where the target stands, for example: a photo of {{}}")
        return contexts

    @field_validator("preserve", "anchors")
    @classmethod
    def _no_empty_line(cls, lines):
        return tuple(" ".join(line.split()) for line in lines if line.strip())


class EditPart(Part):
    """Pairs of pictures: a result, and what it is made from."""

    same_shape: bool = Field(
        True, description="The first picture that a result is made from must have the result's shape, within 1 %; off takes any shape, as where a character is put into a scene."
    )
    plain: bool = Field(False, description="Also learn pictures that are made from nothing, by their captions alone, where the model can draw so; off refuses them by name.")
    dropout: float = Field(
        0.0, ge=0, le=1, description="Share of steps in which the pictures that a result is made from are left out, so that its caption alone also draws what was learnt."
    )


class KeepPart(Part):
    """What the base model knows and must not lose: noisy pictures, the learnt ones with other sentences or what it drew itself, must give what it makes of them."""

    on: bool = Field(False, description="Keep what the base model knows: other sentences go on drawing what they drew before.")
    share: float = Field(
        0.5, gt=0, le=1, description="Extra passes that hold the base model, for each picture that is learnt: 1 is one for each, 0.5 one for every second."
    )
    together: bool = Field(
        False, description="Make these passes in one with the pictures that are learnt: faster for a small model, but as much more memory as they are more."
    )
    weight: float = Field(1.0, gt=0, le=100, description="How much the loss of these passes counts, compared to that of a picture that is learnt.")
    words: str = Field("", max_length=60, pattern="^[a-z0-9_-]*$", description="List of sentences that they are held with; empty takes the one for the base model.")
    prompts: tuple[str, ...] = Field((), max_length=1000, description="Sentences of your own for it, one a line, in place of that list.")
    drawn: int = Field(
        0, ge=0, le=1000, description="Pictures that the base model draws from those sentences before the first step, with the steps and guidance of the samples, to be held in place of yours, each with its sentence; 0 holds your own with other sentences."
    )
    own: float = Field(0.25, ge=0, le=1, description="Share of these passes that take the picture's own caption without its trigger word.")
    empty: float = Field(0.05, ge=0, le=1, description="Share of these passes without any words: more holds the base better and lets guidance exaggerate colours.")

    @field_validator("prompts")
    @classmethod
    def _no_empty_prompt(cls, prompts):
        return tuple(p.strip() for p in prompts if p.strip())

    @model_validator(mode="after")
    def _shares_fit(self):
        if self.own + self.empty > 1:
            raise ValueError(f"keep.own is {self.own:g} and keep.empty is {self.empty:g}; together they must not be above 1")
        return self


class SamplePart(Part):
    """The pictures drawn while training."""

    prompts: tuple[str, ...] = Field((), max_length=16, description="Prompts of the sample pictures, one a line; [trigger] stands for the trigger word. Options set one picture: --w and --h its size, --d seed, --s steps, --l guidance, --n negative, --f frames, --i the picture that a clip begins with.")
    every: int = Field(0, ge=0, description="Optimizer steps between sample pictures; 0 means none.")
    steps: int = Field(20, ge=1, le=200, description="Denoising steps of a sample picture.")
    guidance: float = Field(7.0, ge=0, le=30, description="How strongly a sample follows its prompt.")
    negative: str = Field("", max_length=2000, description="What a sample should not show.")
    width: int = Field(512, ge=32, le=4096, description="Width of a sample picture in px.")
    height: int = Field(512, ge=32, le=4096, description="Height of a sample picture in px.")
    frames: int = Field(1, ge=1, le=1025, description="Frames of a sample, for families that make video; 1 draws a still picture.")
    fps: float = Field(16.0, gt=0, le=120, description="Frames a second at which a sample clip plays.")
    first_frame: str = Field("", max_length=300, description="File name of a picture or clip of the run's datasets that sample clips begin with, for families that can go on from a picture.")
    seed: int = Field(42, ge=0, lt=2**63, description="Seed of the sample pictures; it stays the same, so that steps can be compared.")
    speed_adapter: str = Field(
        "", max_length=1000, description="A LoRA, as Hub id, owner/name/file.safetensors or file, that lets samples be drawn in few steps, such as a Lightning, LCM or Hyper-SD one: "
        "on in samples only, not in training, not in the result."
    )
    speed_strength: float = Field(1.0, gt=0, le=4, description="How much that LoRA acts; 1 is usual, 0.125 for Hyper-SD of FLUX.1.")

    @field_validator("prompts")
    @classmethod
    def _no_empty_prompt(cls, prompts):
        return tuple(p.strip() for p in prompts if p.strip())


class SavePart(Part):
    """When checkpoints are written."""

    every: int = Field(250, ge=0, description="Optimizer steps between checkpoints; 0 means only by time, at Stop and at the end.")
    every_minutes: float = Field(10.0, ge=0, le=1440, description="Minutes between checkpoints, besides those by step; 0 means only by step.")
    keep: int = Field(10, ge=2, le=10_000, description="Newest checkpoints that are kept.")
    validate_every: int = Field(50, ge=0, description="Optimizer steps between validation losses; needs held-out pictures; 0 means none.")
    stop_early: bool = Field(False, description="End the training by itself, with the best checkpoint as the result, once it is clear that going on makes it worse; needs held-out pictures, and keeps every checkpoint by step until then.")


class EnginePart(Part):
    """How the steps are computed: faster or slower, and the same learning but for rounding."""

    fused_lora: Literal["auto", "on", "off"] = Field(
        "auto", description="Compute a LoRA layer in fewer operations than peft does, equal to rounding; auto does so on a processor, where it was measured."
    )
    fused_optimizer: Literal["auto", "on", "off"] = Field(
        "auto", description="Let AdamW move all weights in one operation, equal to rounding; auto does so on a processor, where it was measured."
    )
    compile: Literal["off", "auto", "on"] = Field(
        "off", description="Compile the denoiser's blocks before the first step, which takes minutes once and is kept; auto only where a run is long enough and it was measured to pay."
    )
    fp8: bool = Field(
        False, description="Multiply frozen fp8 weights with inputs that are rounded to fp8 too: quicker on cards with fp8 units, and each layer some 3 % off."
    )
    attention: Literal["auto", "cudnn", "flash", "efficient", "math", "flash_package"] = Field(
        "auto", description="Which kernel computes attention first, where it can: auto leaves it to PyTorch; flash_package is FlashAttention's own, if it is installed."
    )
    channels_last: bool = Field(False, description="Keep pictures inside a UNet with their channels last, which convolutions of many cards like better.")
    cudnn_benchmark: bool = Field(False, description="Try out convolution kernels at the first step of each picture size and keep the quickest; on an NVIDIA card.")
    tf32: bool = Field(False, description="Let an NVIDIA card multiply fp32 numbers with 10 bits behind the point (TF32): several times faster, less exact.")
    prefetch: bool = Field(False, description="Prepare the next step's pictures and captions in a thread while the present one is computed; the numbers stay the same.")
    overlap: bool = Field(
        False, description="Copy the next block that waits in RAM while the present one computes, which takes the memory of one more block on the card."
    )

    @field_validator("fused_lora", "fused_optimizer", "compile", mode="before")
    @classmethod
    def _yaml_reads_on_as_a_switch(cls, value):
        return {True: "on", False: "off"}[value] if isinstance(value, bool) else value


class SurvivePart(Part):
    """What a run may do by itself when it meets trouble."""

    milder: bool = Field(
        True, description="Where memory runs out, go back to the last checkpoint and go on by itself with settings that need less of it and learn the same; off lets the run fail."
    )
    less_exact: bool = Field(False, description="Where those are not enough, take also settings that are a little less exact: half precision, weights in 8 or 4 bits.")
    not_a_number: Literal["stop", "slower", "exact"] = Field(
        "stop", description="Where the loss is no longer a number: stop, or once go back to the last checkpoint and learn half as fast from there (slower), or compute that one step in fp32 (exact)."
    )


class TrackerUse(Part):
    """One place where the run is shown besides here.  A job file may name it alone: trackers: [tensorboard]."""

    name: Annotated[str, AfterValidator(check_name)] = Field(description="The tracker: tensorboard, wandb, trackio, or one that was added.")
    project: Annotated[str, Field(max_length=100), AfterValidator(check_name)] = Field("easel", description="Project that its runs stand in there.")
    place: str = Field(
        "", max_length=300, description="Where: TensorBoard's folder, the W&B team or offline, Trackio's Space; empty takes the usual, which is private."
    )

    @model_validator(mode="before")
    @classmethod
    def _a_name_is_enough(cls, value):
        return {"name": value} if isinstance(value, str) else value



HERE = "here"  # the place of a run that is trained on this computer


class PlacePart(Part):
    """Where the training runs."""

    kind: str = Field(HERE, description="Where the training runs: here, on this computer, or the name of the place that it is sent to, such as ssh.")
    options: dict[str, bool | int | float | str] = Field({}, description="What this place alone is told, one to a line, such as host: desk.")
    checkpoints: Literal["none", "last", "all"] = Field(
        "last", description="Checkpoints that come home from another machine at the end, besides those that Save asked for; one that was stopped always brings its newest."
    )


class JobConfig(Part):
    """Any job.  `kind` picks the file in training/jobs that runs it."""

    kind: str = Field(description="Job kind.")
    name: Annotated[str, Field(min_length=1, max_length=100, description="Name of the run, and of the file it makes.")]

    @field_validator("name")
    @classmethod
    def _name_holds(cls, name):
        return check_name(name)


Device = Literal["cpu", "cuda", "xpu", "mps"]


class DrawingConfig(JobConfig):
    """A job that only draws with a base model."""

    device: Device = Field("cpu", description="Where it draws: the processor, an NVIDIA or AMD card (cuda), an Intel card (xpu), or an Apple GPU (mps).")
    model: ModelPart


class TrainConfig(JobConfig):
    """One training run, complete: the worker fills nothing in."""

    kind: Literal["train"] = Field("train", description="Job kind.")
    trigger: str = Field("", max_length=100, description="Word that calls up what was learnt; it takes the place of [trigger] or [name] in a caption, and is put in front of captions that lack it.")
    preset: str = Field("", description="Preset that this run started from; for the record.")
    seed: int = Field(0, ge=0, lt=2**63, description="Seed of all randomness of the training.")
    steps: int = Field(1000, ge=1, le=1_000_000, description="Optimizer steps.")
    device: Literal["cpu", "cuda", "xpu", "mps"] = Field("cpu", description="Where the training runs: the processor, an NVIDIA or AMD card (cuda), an Intel card (xpu), or an Apple GPU (mps).")
    gpus: int = Field(
        1, ge=0, le=1024, description="Cards that train it together, a process each: the batches that are added up for a step are shared out among them. 0 takes all that "
        "the run is given. On a processor: how many processes."
    )
    shard: Literal["auto", "on", "off"] = Field(
        "auto", description="Whether the base model is split among those cards, each of which then holds a part of every block, and a whole one only while it runs: "
        "more memory on each, and slower. auto does so where one card does not hold it, or where the whole model learns."
    )
    model: ModelPart
    data: DataPart
    adapter: AdapterPart = AdapterPart()
    optimizer: OptimizerPart = OptimizerPart()
    loss: LossPart = LossPart()
    concept: ConceptPart = ConceptPart()
    edit: EditPart = EditPart()
    keep: KeepPart = KeepPart()
    sample: SamplePart = SamplePart()
    save: SavePart = SavePart()
    engine: EnginePart = EnginePart()
    survive: SurvivePart = SurvivePart()
    trackers: tuple[TrackerUse, ...] = Field(
        (), max_length=8, description="Where curves, settings and samples are shown besides here while the run goes on: tensorboard, wandb, trackio. What fails there stops no training."
    )
    place: PlacePart = PlacePart()

    @field_validator("trackers")
    @classmethod
    def _each_tracker_once(cls, trackers):
        names = [use.name for use in trackers]
        if twice := next((name for name in names if names.count(name) > 1), ""):
            raise ValueError(f"trackers names {twice!r} twice; once is enough")
        return trackers

    @field_validator("trigger")
    @classmethod
    def _trigger_is_one_line(cls, trigger):
        if any(c in trigger for c in "\n\r\t,"):
            raise ValueError("the trigger word holds a comma, tab or line break; use a single word such as 'zibbo'")
        return trigger.strip()

    @property
    def triggers(self) -> tuple[str, ...]:
        """The words that call up what was learnt, each once: the run's own, as far as pictures are learnt with it, and those of its datasets."""
        words = [use.word(self.trigger) for use in self.data.datasets if not use.prior] or [self.trigger]
        return tuple(dict.fromkeys(word for word in words if word))

    @model_validator(mode="after")
    def _there_is_something_to_learn(self):
        if not self.data.datasets and not self.concept.targets:
            raise ValueError("data.datasets is empty, but it takes at least 1 dataset to learn from, unless concept.targets says in words what changes")
        return self

    @model_validator(mode="after")
    def _warmup_fits(self):
        if self.optimizer.warmup_steps >= self.steps:
            raise ValueError(f"optimizer.warmup_steps is {self.optimizer.warmup_steps}, but the run has only {self.steps} steps; lower it")
        return self


def config_hash(config: TrainConfig) -> str:
    """A hash of all that a run is.  What has its default value is left out, so that a setting which a later Easel adds changes none; so is what makes the same run: where it is trained,
    on how many cards and whether it is split among them, what it may do in trouble, and where it is shown."""
    return hashlib.sha256(json.dumps(config.model_dump(mode="json", exclude_defaults=True, exclude={"place", "gpus", "shard", "survive", "trackers"}), sort_keys=True).encode()).hexdigest()
