"""A pydantic model as a form, and a form as a config: label, help, bounds and choices all come from the schema.

A form's state is a mapping of dotted paths to what was typed; only what differs from the preset is in it.
Fields and groups are facts, in English; they are put into the language of whoever looks where the HTML is made.
"""

from __future__ import annotations

import math
import re
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from types import MappingProxyType
from typing import Any, Literal, get_args, get_origin

import annotated_types
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from training.jobfile import problems

from .language import N_, point, sentence_end, tr, trn, whole
from .language.heard import heard

# words that a label writes in their own way
SPELT = {
    "vae_tiling": "VAE tiling", "fps": "Frames a second",
    "id": "ID", "ema": "EMA", "min_snr_gamma": "Min-SNR gamma", "dtype": "Number format", "clip_grad": "Gradient limit", "eps": "Epsilon",
    "validate_every": "Validate every … steps",
    "stop_early": "End early",
    "warmup_steps": "Warm-up steps", "timestep_std": "Timestep spread", "timestep_min": "Lowest timestep", "timestep_max": "Highest timestep",
    "expert": "Which denoiser learns", "high_noise_share": "Share of steps for much noise", "expert_steps": "Steps before they take turns",
    "rslora": "Rank-stabilised scale", "survive": "In trouble", "tf32": "TF32", "fp8": "Multiply in fp8", "cudnn_benchmark": "Try out convolution kernels", "prefetch": "Prepare the next step ahead",
}  # fmt: skip

# labels of settings whose own name would stand twice on the page
NAMED = {
    "gpus": "Cards together", "shard": "Split the model among the cards", "adapter.type": "Kind of adapter", "optimizer.type": "Optimizer", "loss.type": "Loss", "sample.every": "Samples every … steps",
    "save.every": "Checkpoint every … steps", "save.every_minutes": "Checkpoint every … minutes", "save.keep": "Checkpoints to keep",
    "sample.steps": "Denoising steps", "sample.seed": "Seed of the samples", "sample.frames": "Frames of a sample", "sample.fps": "Frames a second of a sample", "sample.first_frame": "First frame of a sample",
    "sample.width": "Width of a sample", "sample.height": "Height of a sample", "sample.prompts": "Sample prompts", "sample.guidance": "Guidance",
    "sample.negative": "Negative prompt", "data.frames": "Frames of a training clip", "data.fps": "Frames a second of a training clip", "data.scenes": "Scenes by themselves", "data.shorter": "Shorter training clips too", "data.segments": "Training clips out of a clip",
    "model.context_adapter": "Context adapter", "model.context_strength": "Strength of the context adapter", "sample.speed_adapter": "Speed adapter of the samples", "sample.speed_strength": "Strength of the speed adapter", "model.prediction": "What the base model predicts", "model.zero_terminal_snr": "Noise up to pure noise", "model.dtype": "Number format", "model.source": "Base model", "model.family": "Model family", "model.quantise": "Quantise the base model",
    "model.quantise_text": "Quantise the text encoders", "model.leave_out": "Text encoders to leave out", "model.revision": "Revision of the base model",
    "adapter.targets": "Layers that learn", "adapter.blocks": "Blocks that learn", "adapter.least_rank": "Ranks at pure noise", "adapter.rank_power": "Fall of the ranks", "adapter.dropout": "Dropout in the adapter", "adapter.start_from": "Go on from",
    "adapter.text_encoder": "Train the text encoder", "loss.masked": "Masked", "optimizer.schedule": "Learning rate schedule",
    "optimizer.options": "Options of the optimizer", "optimizer.rates": "Other learning rates", "optimizer.schedule_cycles": "Restarts of the cosine",
    "optimizer.schedule_power": "Power of the polynomial", "optimizer.schedule_decay": "Share in which it falls", "optimizer.schedule_end": "Lowest learning rate",
    "optimizer.again_from": "Step at which the rate begins anew", "optimizer.again_share": "Share that it begins anew at", "optimizer.again_schedule": "How it goes on then",
    "data.resolutions": "Resolution", "data.caption_kinds": "Captions that are trained", "data.held_out": "Pictures held out", "data.weighed": "Pictures weighed on the way", "concept.targets": "What changes", "concept.contexts": "Sentences around it",
    "concept.preserve": "Words that both ends share", "concept.anchors": "Sentences that stay", "concept.anchor_weight": "Weight of the sentences that stay",
    "place.kind": "Where it trains", "place.options": "Options of the place", "concept.drawn": "Pictures drawn to train on", "concept.low": "Dataset of the low ends", "concept.focus": "Weight of where a pair differs", "keep.drawn": "Pictures drawn to be held",
    "engine.fused_lora": "LoRA in fewer operations", "engine.fused_optimizer": "AdamW in one operation", "engine.compile": "Compile the blocks", "engine.attention": "Attention kernel",
    "engine.overlap": "Copy blocks ahead",
    "survive.milder": "Go on milder", "survive.less_exact": "Less exact if it must", "survive.not_a_number": "Where the loss is no number",
}  # fmt: skip

# what other programs call a setting: words that the search finds it by
ALSO = {
    "steps": "max train steps max_train_steps epochs epoch iterations num_train_epochs max_train_epochs",
    "gpus": "multi gpu multi-gpu num_processes cards ddp distributed accelerate torchrun", "shard": "fsdp fsdp2 fully_shard sharding zero deepspeed model parallel", "seed": "random seed", "device": "gpu cpu mixed precision accelerator",
    "model.family": "architecture arch base model type v2 sdxl flux", "model.source": "pretrained_model_name_or_path checkpoint ckpt base model name_or_path",
    "model.dtype": "mixed_precision mixed precision full_bf16 full_fp16 bf16 fp16 train dtype weight dtype",
    "model.context_adapter": "context lora base_weights lora_path network_base second lora", "model.context_strength": "base_weights_multiplier",
    "sample.speed_adapter": "speed lora lightning lcm hyper dmd2 turbo few steps lightx2v inference_lora_path", "sample.speed_strength": "lora scale",
    "model.prediction": "v_parameterization v-prediction v_pred vpred is_v_pred epsilon eps-prediction parameterization noobai",
    "model.zero_terminal_snr": "zero_terminal_snr ztsnr zsnr rescale_betas_zero_snr zero terminal snr",
    "model.quantise": "fp8_base fp8 base quantize qtype quantization nf4 int8 low vram", "model.quantise_text": "quantize_te fp8_llm text encoder quantization",
    "model.offload": "blocks_to_swap block swap lowram low_vram layer offloading", "model.vae_tiling": "vae slicing vae batch size no half vae",
    "model.training_adapter": "assistant lora assistant_lora_path de-distill", "model.leave_out": "skip t5 no text encoder",
    "data.datasets": "train_data_dir image folder folder_path concept concepts num_repeats num repeats repeats regularisation reg_data_dir reg images prior preservation",
    "data.resolutions": "resolution size image size max resolution", "data.aspect_buckets": "enable_bucket bucketing aspect ratio bucketing bucket reso steps",
    "data.max_aspect": "max_bucket_reso min_bucket_reso bucket", "data.upscale": "bucket_no_upscale bucket no upscale",
    "data.flip": "flip_aug flip augmentation flip_x random flip mirror", "data.batch_size": "train_batch_size train batch size batch",
    "data.caption_dropout": "caption_dropout_rate caption dropout rate cond dropout unconditional", "data.tag_dropout": "caption_tag_dropout_rate tag dropout",
    "data.caption_kinds": "tags prose caption types natural language captions enable_wildcard caption_tag",
    "data.shuffle_tags": "shuffle_caption shuffle caption tag shuffling",
    "data.keep_tags": "keep_tokens keep tokens keep tags", "data.frames": "num_frames target_frames", "data.shorter": "target_frames frame_buckets video length buckets", "data.scenes": "scene detection cuts pyscenedetect shots", "data.held_out": "validation split validation_split",
    "adapter.type": "controlnet network_module network module lycoris algo peft type lora type dora locon network type", "adapter.rank": "network_dim network dim dimension linear lora rank dim conv_dim conv dim",
    "adapter.alpha": "network_alpha network alpha linear_alpha lora alpha conv_alpha", "adapter.dropout": "network_dropout network dropout rank_dropout module_dropout",
    "adapter.targets": "network_args target modules layers conv linear only", "adapter.least_rank": "tlora t-lora min_rank", "adapter.rank_power": "tlora alpha_rank_scale",
    "adapter.blocks": "train_blocks split_mode b-lora composition detail style content block weights",
    "adapter.include": "only_if_contains layer filter train blocks", "adapter.exclude": "ignore_if_contains exclude_patterns layer filter",
    "adapter.rank_patterns": "block_dims network_reg_dims block weights", "adapter.factor": "lokr factor", "adapter.rslora": "rank stabilized lora",
    "adapter.control_dropout": "conditioning dropout control_image_dropout cond drop",
    "adapter.text_encoder": "network_train_unet_only train_text_encoder train text encoder te", "adapter.text_learning_rate": "text_encoder_lr text encoder lr te lr te1 te2 learning rate",
    "adapter.start_from": "network_weights network weights continue training pretrained_lora lora model dim_from_weights",
    "optimizer.type": "optimizer_type optimizer prodigy lion came muon adafactor adam 8bit schedule-free schedulefree", "optimizer.learning_rate": "learning_rate lr unet_lr unet lr unet learning rate transformer lr",
    "optimizer.schedule": "lr_scheduler lr scheduler cosine_with_restarts polynomial warmup_stable_decay wsd rex", "optimizer.warmup_steps": "lr_warmup_steps lr warmup steps warmup ratio",
    "optimizer.accumulation": "gradient_accumulation_steps gradient accumulation", "optimizer.clip_grad": "max_grad_norm max grad norm clip grad norm gradient clipping",
    "optimizer.weight_decay": "weight_decay wd", "optimizer.betas": "optimizer_args beta1 beta2", "optimizer.options": "optimizer_args optimizer args d_coef momentum",
    "optimizer.rates": "loraplus_lr_ratio lora+ block_lr layer learning rates text_encoder_lr te2", "optimizer.schedule_cycles": "lr_scheduler_num_cycles num cycles",
    "optimizer.schedule_power": "lr_scheduler_power", "optimizer.schedule_decay": "lr_decay_steps decay ratio", "optimizer.schedule_end": "lr_scheduler_min_lr_ratio min lr ratio lr_end",
    "loss.min_snr_gamma": "min_snr_gamma min snr gamma snr", "loss.noise_offset": "noise_offset noise offset offset noise weight",
    "loss.noise_pyramid": "multires_noise_discount multires noise iterations pyramid noise", "loss.timestep_law": "timestep_sampling timestep sampling timestep_type timestep distribution weighting_scheme content_or_style",
    "loss.timestep_shift": "discrete_flow_shift flow shift shift", "loss.timestep_min": "min_timestep", "loss.timestep_max": "max_timestep",
    "loss.timestep_mean": "logit_mean noising bias", "loss.timestep_std": "logit_std noising weight", "loss.timestep_scale": "mode_scale",
    "loss.expert": "train_high_noise train_low_noise high noise low noise moe dit_high_noise wan 2.2", "loss.expert_steps": "switch_boundary_every switch every",
    "loss.high_noise_share": "high noise low noise timestep_boundary boundary",
    "loss.weighting": "weighting_scheme debiased_estimation_loss loss weight function scale_v_pred_loss", "loss.type": "loss_type loss type smooth_l1 l2", "loss.huber_delta": "huber_c huber scale",
    "loss.huber_schedule": "huber_schedule", "loss.masked": "masked_loss masked loss masked training alpha_mask", "loss.unmasked_weight": "unmasked probability",
    "concept.targets": "slider concept slider erase replace target_class positive negative unconditional prompts leco esd concept_replacer",
    "concept.preserve": "attributes preserve", "concept.anchors": "anchors anchor_class neutral", "concept.anchor_weight": "anchor_strength",
    "concept.low": "neg_folder image slider scales", "loss.objective": "slider erase replace leco concept training method",
    "loss.prior_target": "prior_loss_weight prior loss weight prior preservation blank prompt preservation differential output preservation", "loss.ema_decay": "use_ema ema",
    "loss.gradient_checkpointing": "gradient_checkpointing", "sample.every": "sample_every_n_steps sample every n steps", "sample.prompts": "sample_prompts sample prompts",
    "sample.guidance": "cfg scale guidance_scale", "sample.first_frame": "i2v image to video start image init image ctrl_img", "sample.steps": "sample_steps sample steps", "save.every": "save_every_n_steps save every n steps save_every_n_epochs",
    "survive.milder": "oom out of memory cuda memory retry low vram", "survive.less_exact": "oom out of memory quantize", "survive.not_a_number": "nan inf loss is nan skip nan",
    "save.keep": "max_step_saves_to_keep save_last_n_steps", "trackers": "log_with wandb tensorboard trackio use_wandb report_to logging tracker project", "save.validate_every": "validate_every_n_steps",
    "engine.compile": "torch_compile torch compile dynamo inductor", "engine.attention": "sdpa xformers flash attention mem_eff_attn sage attention", "engine.fp8": "fp8_fast scaled_mm fp8 matmul",
    "engine.tf32": "allow_tf32", "engine.prefetch": "dataloader workers max_data_loader_n_workers persistent workers pin memory", "engine.overlap": "async offload pinned memory block swap",
    "engine.fused_optimizer": "fused adamw fused backward pass fused_backward_pass",
}  # fmt: skip

# columns of a table that another place of the page fills in, and that are not shown while nothing stands in them
SELDOM = {"data.datasets": ("trigger", "resolutions", "part", "frames", "fps")}

Kind = Literal["text", "long", "lines", "pairs", "integer", "number", "numbers", "rows", "switch", "choice"]


@dataclass(frozen=True)
class Field:
    """One setting.  path: dotted; group: the path of its part, "" at the top.

    low, high: its bounds, None where it is open; above, below: they are out of it themselves.
    """

    path: str
    group: str
    label: str
    help: str
    kind: Kind
    choices: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    above: bool = False
    below: bool = False
    item: Any = str  # what one value is: int, float, str, or the model of a row
    told: Mapping[str, tuple[str, str]] = field(default_factory=dict)  # choice -> (title, one sentence about it), where there is more to say than its id
    unused: tuple[str, ...] = ()  # columns of rows that need not be shown while nothing stands in them

    @property
    def bounds(self) -> str:
        """"1 to 256", "at least 0", or "", in the language that is spoken."""
        low, high = _told(self.low), _told(self.high)
        if low and high and not (self.above or self.below):
            return tr("{low} to {high}", low=low, high=high)
        least = tr("more than {number}", number=low) if self.above else tr("at least {number}", number=low)
        most = tr("less than {number}", number=high) if self.below else tr("at most {number}", number=high)
        return ", ".join([least] * bool(low) + [most] * bool(high))


@dataclass(frozen=True)
class Group:
    """One part of a config with its fields; title and help come from the part's class."""

    path: str
    title: str
    help: str
    fields: tuple[Field, ...]


def label(name: str) -> str:
    """A field's name as a person would write it: batch_size -> Batch size."""
    if name in SPELT:
        text = SPELT[name]
    else:
        text = " ".join(SPELT.get(word, word) for word in name.split("_"))
    return text[:1].upper() + text[1:]


def label_of(path: str) -> str:
    """What the page calls the setting at a dotted path; no two of a training have the same."""
    return NAMED.get(path) or label(path.split(".")[-1])


def groups(model: type[BaseModel], choices: Mapping[str, Mapping[str, tuple[str, str]]] | None = None, leave_out: tuple[str, ...] = ()) -> list[Group]:
    """The parts of a model in their order, what stands at its top first.

    choices: dotted path -> choices that the schema cannot know, such as the adapters that were found: id -> (title, one sentence).
    leave_out: dotted paths that another place shows.
    """
    found: list[Group] = []
    _collect(model, "", N_("General"), N_("What the run is."), choices or {}, leave_out, found)
    return [g for g in found if g.fields]


def fields(model: type[BaseModel], choices: Mapping[str, Mapping[str, tuple[str, str]]] | None = None, leave_out: tuple[str, ...] = ()) -> list[Field]:
    """Every setting of a model, flat, in the order of groups()."""
    return [f for g in groups(model, choices, leave_out) for f in g.fields]


def _collect(model, path, title, help, choices, leave_out, found):
    own: list[Field] = []
    parts = []
    for name, info in model.model_fields.items():
        dotted = f"{path}.{name}" if path else name
        if dotted in leave_out:
            continue
        inner = _bare(info.annotation)
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            parts.append((inner, dotted, label(name), _sentence(inner)))
        elif get_origin(inner) is Literal and len(get_args(inner)) == 1:
            continue  # a constant such as `kind` is no setting
        else:
            own.append(_field(dotted, path, name, info, inner, choices.get(dotted, ())))
    found.append(Group(path, title, help, tuple(own)))
    for inner, dotted, part_title, part_help in parts:
        _collect(inner, dotted, part_title, part_help, choices, leave_out, found)


def _sentence(model: type[BaseModel]) -> str:
    text = (model.__doc__ or "").strip()
    return text.splitlines()[0] if text else ""


def _bare(annotation: Any) -> Any:
    """The type below Annotated and Optional."""
    if get_origin(annotation) is typing.Annotated:
        return _bare(get_args(annotation)[0])
    if get_origin(annotation) in (typing.Union, types.UnionType):
        inner = [a for a in get_args(annotation) if a is not type(None)]
        if len(inner) == 1:
            return _bare(inner[0])
    return annotation


def _field(dotted: str, group: str, name: str, info: FieldInfo, inner: Any, choices: tuple[str, ...] | Mapping[str, tuple[str, str]]) -> Field:
    kind, item = _kind(name, info, inner)
    if get_origin(inner) is Literal:
        choices = tuple(str(c) for c in get_args(inner))
    if choices and kind != "pairs":
        kind = "choice"
    low, high, above, below = _bounds(info) if kind in ("integer", "number") else (None, None, False, False)
    told = choices if isinstance(choices, Mapping) else {}
    return Field(dotted, group, label_of(dotted), info.description or "", kind, tuple(choices), low, high, above, below, item, told, SELDOM.get(dotted, ()))


def _kind(name: str, info: FieldInfo, inner: Any) -> tuple[Kind, Any]:
    if get_origin(inner) is Literal:
        return "choice", str
    if inner is bool:
        return "switch", bool
    if inner is int:
        return "integer", int
    if inner is float:
        return "number", float
    if get_origin(inner) is dict:
        return "pairs", str
    if get_origin(inner) in (tuple, list):
        item = _bare(get_args(inner)[0])
        if item in (int, float):
            return "numbers", item
        if isinstance(item, type) and issubclass(item, BaseModel):
            return "rows", item
        return "lines", item
    longest = next((m.max_length for m in info.metadata if isinstance(m, annotated_types.MaxLen)), 0)
    return ("long" if longest > 500 else "text"), str


def _bounds(info: FieldInfo) -> tuple[float | None, float | None, bool, bool]:
    low, high, above, below = None, None, False, False
    for rule in info.metadata:
        if isinstance(rule, annotated_types.Ge):
            low, above = rule.ge, False
        elif isinstance(rule, annotated_types.Gt):
            low, above = rule.gt, True
        elif isinstance(rule, annotated_types.Le) and rule.le < 10**9:
            high, below = rule.le, False
        elif isinstance(rule, annotated_types.Lt) and rule.lt < 10**9:
            high, below = rule.lt, True
    return low, high, above, below


def _told(number: float | None) -> str:
    return "" if number is None else whole(number) if isinstance(number, int) else point(spell(number))


def spell(number: float) -> str:
    """A number as a person types it: 1000, 0.05, 1e-8."""
    if isinstance(number, int):
        return str(number)
    if number and abs(number) < 1e-3:
        digits, _, power = f"{number:e}".partition("e")
        return f"{digits.rstrip('0').rstrip('.')}e{int(power)}"
    return f"{number:.10f}".rstrip("0").rstrip(".") if abs(number) < 1e15 else repr(number)


# values <-> text


def get(config: BaseModel, path: str) -> Any:
    """The value at a dotted path of a config."""
    for name in path.split("."):
        config = getattr(config, name)
    return config


def typed(field: Field, value: Any) -> str:
    """`value` as the form shows it; a switch is "on" or "off"."""
    if field.kind == "switch":
        return "on" if value else "off"
    if field.kind == "numbers":
        return ", ".join(spell(v) for v in value)
    if field.kind == "lines":
        return "\n".join(str(v) for v in value)
    if field.kind == "rows":
        return "\n".join(_row_text(v) for v in value)
    if field.kind == "pairs":
        return "\n".join(f"{name}: {_row_value(v)}" for name, v in value.items())
    return spell(value) if field.kind in ("integer", "number") else str(value)


def read(field: Field, text: str) -> Any:
    """What `text` means.  Raises ValueError in plain words."""
    if field.kind == "switch":
        return text == "on"
    if field.kind == "lines":
        return [line.strip() for line in text.splitlines() if line.strip()]
    if field.kind == "rows":
        return [_row(field.item, line) for line in text.splitlines() if line.strip()]
    if field.kind == "pairs":
        return dict(_pair(line) for line in text.splitlines() if line.strip())
    if field.kind == "numbers":
        return [_number(field.item, part) for part in text.replace(";", ",").split(",") if part.strip()]
    if field.kind in ("integer", "number"):
        return _number(field.item, text)
    return text


def _number(kind: type, text: str) -> int | float:
    text = re.sub(r"\s", "", text)
    if kind is float and point(".") == "," and re.fullmatch(r"[+-]?\d+,\d+", text):
        text = text.replace(",", ".")  # as the page itself writes it
    if not text:
        raise ValueError(tr("type a number"))
    try:
        number = float(text)
    except ValueError:
        raise ValueError(tr("{text} is not a number", text=repr(text))) from None
    if kind is float:
        return number
    if not math.isfinite(number) or number != int(number):
        raise ValueError(tr("{text} is not a whole number", text=repr(text)))
    return int(text) if text.lstrip("+-").isdigit() else int(number)


def _row(model: type[BaseModel], line: str) -> dict[str, Any]:
    """One line such as `name | repeats` as the model's fields in their order; what is left out keeps its default."""
    names = list(model.model_fields)
    cells = [cell.strip() for cell in line.split("|")]
    if len(cells) > len(names):
        raise ValueError(trn("{line} has {n} part; a line is {parts}", "{line} has {n} parts; a line is {parts}", len(cells), line=repr(line.strip()), parts=" | ".join(names)))
    row: dict[str, Any] = {}
    for name, cell in zip(names, cells, strict=False):
        inner = _bare(model.model_fields[name].annotation)
        row[name] = _cell(inner, cell)
    return row


def _cell(inner: Any, cell: str) -> Any:
    if inner is bool:
        return _yes(cell)
    if get_origin(inner) is tuple:
        kind = get_args(inner)[0]
        return [_number(kind, part) for part in cell.replace(";", ",").split(",") if part.strip()]
    return _number(inner, cell) if inner in (int, float) else cell


def _pair(line: str) -> tuple[str, bool | int | float | str]:
    """`name: value` or `name = value`; on and yes, off and no are switches."""
    found = re.fullmatch(r"\s*([^:=\s]+)\s*[:=]\s*(.*?)\s*", line)
    if not found or not found[2]:
        raise ValueError(tr("{line} is not of the form name: value", line=repr(line.strip())))
    name, text = found.groups()
    if text.lower() in ("yes", "on", "true", "no", "off", "false"):
        return name, text.lower() in ("yes", "on", "true")
    try:
        return name, int(text) if re.fullmatch(r"[-+]?\d+", text) else float(text)
    except ValueError:
        return name, text


def _yes(cell: str) -> bool:
    if cell.lower() not in ("yes", "no"):
        raise ValueError(tr("{cell} is neither yes nor no", cell=repr(cell)))
    return cell.lower() == "yes"


def _row_text(value: BaseModel) -> str:
    cells = [_row_value(getattr(value, name)) for name in type(value).model_fields]
    for name in reversed(list(type(value).model_fields)[1:]):
        if getattr(value, name) != type(value).model_fields[name].default:
            break
        cells.pop()
    return " | ".join(cells)


def assemble(base: BaseModel, edits: Mapping[str, str]) -> tuple[BaseModel | None, dict[str, str]]:
    """(the config that `base` and the edits make, {}), or (None, {dotted path: what is wrong with it}).

    A problem of the whole (two settings that do not go together) is under the path that its sentence starts with, else "".
    """
    model = type(base)
    values, wrong = parsed(model, edits)
    if wrong:
        return None, wrong
    data = base.model_dump()
    for path, value in values.items():
        _put(data, path, value)
    try:
        return model.model_validate(data), {}
    except ValidationError as error:
        return None, beside(model, problems(model, error))


def parsed(model: type[BaseModel], edits: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    """({dotted path: value}, {dotted path: what is wrong with it}) of what was typed."""
    known = {f.path: f for f in fields(model)}
    values: dict[str, Any] = {}
    wrong: dict[str, str] = {}
    for path, text in edits.items():
        if path not in known:
            wrong[path] = tr("is not a setting")
            continue
        try:
            values[path] = read(known[path], text)
        except ValueError as error:
            wrong[path] = str(error)
    return values, wrong


def beside(model: type[BaseModel], found: list[tuple[str, str]]) -> dict[str, str]:
    """Each problem under the path of the field that can mend it, the first one of a field; "" for one of the whole."""
    known = {f.path for f in fields(model)}
    wrong: dict[str, str] = {}
    for path, sentence in found:
        owner = next((p for p in _lineage(path) if p in known), "")
        if not owner and sentence.split(" ")[0] in known:
            owner = sentence.split(" ")[0]
        wrong.setdefault(owner, tr("one value too few") if sentence == "is missing" and path != owner else sentence)
    return wrong


def _put(data: dict, path: str, value: Any) -> None:
    *parents, last = path.split(".")
    for name in parents:
        data = data[name]
    data[last] = value


def _lineage(path: str) -> list[str]:
    """a.b.0.c -> a.b.0.c, a.b.0, a.b, a."""
    names = path.split(".")
    return [".".join(names[:n]) for n in range(len(names), 0, -1)]


def changed(base: BaseModel, edits: Mapping[str, str]) -> dict[str, str]:
    """The edits that say something else than `base`."""
    known = {f.path: f for f in fields(type(base))}
    return {p: t for p, t in edits.items() if p in known and t.strip() != typed(known[p], get(base, p)).strip()}


# the form itself


def render(
    parts: list[Group],
    base: BaseModel,
    edits: Mapping[str, str],
    wrong: Mapping[str, str],
    prefix: str = "set",
    shown: BaseModel | None = None,
    pictures: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """The whole form as HTML: each setting with its sentence, what was changed marked, each fault beside its field.

    shown: the config that the edits made, where it differs from `base` in more than the edits (what follows from them).
    pictures: dotted path -> HTML that stands above this setting and shows what it and those below it come to.
    """
    found = changed(base, edits)
    blocks = [_group(g, base, shown or base, edits, found, wrong, prefix, pictures) for g in parts]
    count = len(found)
    said = trn("{n} changed from the preset", "{n} changed from the preset", count) if count else tr("As the preset has them")
    search = escape(tr("Search all settings"))
    head = (
        f'<div class="ez-find"><input type="search" class="ez-input" data-filter placeholder="{search}" aria-label="{search}" autocomplete="off" spellcheck="false">'
        f'<span class="ez-muted" aria-live="polite">{escape(said)}</span>'
        f'<button type="button" class="ez-link" data-act="reset-all"{"" if count else " disabled"}>{escape(tr("Reset all"))}</button></div>'
    )
    loose = f'<p class="ez-error" role="alert">{escape(_sentence_case(wrong[""]))}</p>' if wrong.get("") else ""
    return f'<div class="ez-form">{head}{loose}{"".join(blocks)}<p class="ez-none" hidden>{escape(tr("No setting matches."))}</p></div>'


def _group(group, base, shown, edits, found, wrong, prefix, pictures) -> str:
    inside = [f.path for f in group.fields]
    marks = sum(p in found for p in inside)
    faults = sum(p in wrong for p in inside)
    badge = f'<span class="ez-badge is-bad">{escape(trn("{n} to mend", "{n} to mend", faults))}</span>' if faults else ""
    badge += f'<span class="ez-badge">{escape(trn("{n} changed", "{n} changed", marks))}</span>' if marks else ""
    body = "".join(
        pictures.get(f.path, "")
        + setting(f, typed(f, get(base, f.path)), edits.get(f.path, typed(f, get(shown, f.path))), wrong.get(f.path, ""), f.path in found, prefix)
        for f in group.fields
    )
    force = " data-force" if faults else ""
    return (
        f'<details class="ez-group" data-key="{escape(group.path)}"{force}><summary><span class="ez-group-title">{escape(tr(group.title))}</span>'
        f'<span class="ez-group-help">{escape(tr(group.help))}</span>{badge}</summary><div class="ez-group-body">{body}</div></details>'
    )


def setting(field: Field, usual: str, shown: str, fault: str, is_changed: bool, prefix: str, among: str = "") -> str:
    """One setting as HTML.  among: id of a <datalist> on the page that says what could be typed."""
    id_ = f"{prefix}-{field.path.replace('.', '-')}"
    described = f"{id_}-help" + (f" {id_}-fault" if fault else "")
    common = f'id="{id_}" data-path="{escape(field.path)}" data-value="{escape(shown)}" aria-describedby="{described}"'
    common += ' aria-invalid="true"' if fault else ""
    own = (field.label, field.path, field.path.replace("_", " "), field.help, ALSO.get(field.path, ""))
    find = escape(" ".join((*own, *(said for said in (tr(field.label), tr(field.help)) if said not in own))).lower())
    state = " is-changed" * is_changed + " is-wrong" * bool(fault)
    error = f'<p class="ez-error" id="{id_}-fault" role="alert">{escape(_sentence_case(fault))}</p>' if fault else ""
    to = tr("Back to the preset's {value}", value=usual) if usual else tr("Back to the preset's empty")
    back = (
        f'<button type="button" class="ez-link" data-act="reset" data-field="{escape(field.path)}" title="{escape(to)}">{escape(tr("Reset"))}</button>'
        if is_changed
        else ""
    )
    bounds = f'<span class="ez-bounds">{escape(field.bounds)}</span>' if field.bounds else ""
    return (
        f'<div class="ez-set{state} ez-set-{field.kind}" data-find="{find}"><div class="ez-set-text"><label for="{id_}">{escape(tr(field.label))}</label>{back}'
        f'<p id="{id_}-help">{escape(tr(field.help))}</p></div>'
        f'<div class="ez-set-input">{_input(field, shown, common, among)}{bounds}</div>{error}</div>'
    )


def _input(field: Field, shown: str, common: str, among: str = "") -> str:
    offered = f' list="{escape(among)}"' if among else ""
    if field.kind == "switch":
        return f'<input type="checkbox" role="switch" class="ez-switch" {common}{" checked" if shown == "on" else ""}>'
    if field.kind == "choice":
        options = field.choices if shown in field.choices else (shown, *field.choices)
        title = lambda c: tr(field.told[c][0]) if c in field.told else c
        inner = "".join(f'<option value="{escape(c)}"{" selected" if c == shown else ""}>{escape(title(c))}</option>' for c in options)
        about = f'<span class="ez-about">{escape(tr(field.told[shown][1]))}</span>' if shown in field.told else ""
        return f'<select class="ez-input" {common}>{inner}</select>{about}'
    if field.kind == "rows":
        return _row_inputs(field, shown, common, offered)
    if field.kind == "pairs":
        return _pairs_input(field, shown, common)
    if field.kind in ("lines", "long") and not (among and field.kind == "long"):
        rows = min(8, max(2, shown.count("\n") + 1))
        return f'<textarea class="ez-input" rows="{rows}" {common}>{escape(shown)}</textarea>'
    mode = ' inputmode="decimal"' if field.kind in ("integer", "number", "numbers") else ""
    return f'<input type="text" class="ez-input" value="{escape(shown)}"{mode}{offered} autocomplete="off" spellcheck="false" {common}>'


def _pairs_input(field: Field, shown: str, common: str) -> str:
    """A box, and below it what can be said there."""
    known = "".join(f"<li><b>{escape(name)}: {escape(usual)}</b> {escape(tr(help))}</li>" for name, (usual, help) in field.told.items())
    rows = min(8, max(2, shown.count("\n") + 1))
    return f'<textarea class="ez-input" rows="{rows}" spellcheck="false" {common}>{escape(shown)}</textarea>' + (f'<ul class="ez-about ez-known">{known}</ul>' if known else "")


def _row_inputs(field: Field, shown: str, common: str, offered: str = "") -> str:
    """A table with one line a row; assets/workbench.js writes it into the hidden box, a line each: what the form reads."""
    names = list(field.item.model_fields)
    lines = [[cell.strip() for cell in line.split("|")] for line in shown.splitlines() if line.strip()]
    hidden = {name for at, name in enumerate(names) if name in field.unused and not any(len(cells) > at and cells[at] for cells in lines)}
    body = "".join(_cells(field, cells, names, hidden, offered) for cells in (*lines, [""]))
    head = "".join(f'<th scope="col"{" hidden" * (name in hidden)}>{escape(tr(label(name)))}</th>' for name in names)
    return (
        f'<div class="ez-rows"><textarea hidden {common}>{escape(shown)}</textarea><table><thead><tr>{head}<th><span class="ez-unseen">{escape(tr("Take out"))}</span></th></tr></thead>'
        f'<tbody>{body}</tbody></table></div>'
    )


def _cells(field: Field, cells: list[str], names: list[str], hidden: set[str], offered: str = "") -> str:
    """One row; an empty one is there to add another.  offered: the attribute of the first cell that names what could stand there."""
    inside = []
    for name, cell in zip(names, [*cells, *[""] * (len(names) - len(cells))], strict=False):
        info = field.item.model_fields[name]
        usual = _row_value(info.default) if not info.is_required() else ""
        said = f'aria-label="{escape(tr(label(name)))}" title="{escape(tr(info.description or ""))}"'
        if _bare(info.annotation) is bool:
            inside.append(f'<td{" hidden" * (name in hidden)}><input type="checkbox" data-cell data-usual="{escape(usual)}" {said}{" checked" if (cell or usual) == "yes" else ""}></td>')
        else:
            inside.append(f'<td{" hidden" * (name in hidden)}><input type="text" class="ez-input" data-cell data-usual="{escape(usual)}" placeholder="{escape(usual or tr("add"))}" value="{escape(cell)}"{offered if name == names[0] else ""} {said}></td>')
    return f'<tr>{"".join(inside)}<td><button type="button" class="ez-link" data-row-out aria-label="{escape(tr("Take this row out"))}">×</button></td></tr>'


def _row_value(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(_row_value, value))
    return ("yes" if value else "no") if isinstance(value, bool) else spell(value) if isinstance(value, int | float) else str(value)


def _sentence_case(text: str) -> str:
    text = heard(text.strip())
    text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "!", "?", "…", "。")) else text + sentence_end()
