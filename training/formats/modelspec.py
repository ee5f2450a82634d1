"""What a LoRA's file says about itself: Stability AI's ModelSpec 1.0.1, and the ss_* keys that other programs look for."""

from __future__ import annotations

import hashlib
import json
import re
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

from .. import registry
from ..config import TrainConfig
from ..data import concepts
from ..family import FamilySpec
from ..plan import optimizing
from .adapting import file_kind

VERSION = "1.0.1"
HASH_KEY = "modelspec.hash_sha256"
_HEAD = struct.Struct("<Q")
# a Windows path, a UNC path, or an absolute or home POSIX path of at least two parts; not a URL, not "1/2", not "and/or"
_PATHS = re.compile(
    r"""(?<![\w])[A-Za-z]:[\\/](?![\\/])[^\s"'<>|,;]+ | \\\\[^\s\\]+\\[^\s"'<>|,;]+ | (?<![\w:/.\]])(?:~|file://)?/[^\s"'<>|,;/]+/[^\s"'<>|,;]*""",
    re.VERBOSE,
)


def scrub(text: str, config: TrainConfig) -> str:
    """`text` in which paths of this computer are only their last part."""
    own = [p for p in (config.model.source, config.model.training_adapter, config.model.context_adapter, config.sample.speed_adapter, *(d.name for d in config.data.datasets), config.concept.low, str(Path.home())) if re.match(r"[/~\\]|[A-Za-z]:[\\/]", p)]
    for path in sorted(own, key=len, reverse=True):
        text = text.replace(path, _last(path))
    return _PATHS.sub(lambda m: _last(m[0]), text)


def _usage(triggers: Sequence[str], how: str) -> str:
    word = f"Trigger word{'s' * (len(triggers) > 1)}: {', '.join(triggers)}" if triggers else ""
    return f"{word}. {how}" if word and how else word or how


def _last(path: str) -> str:
    return re.split(r"[\\/]", path.rstrip("\\/"))[-1]


def modelspec_metadata(
    config: TrainConfig,
    spec: FamilySpec,
    *,
    prediction_type: str,
    pictures: int,
    date: str,
    step: int | None = None,
    tag_frequency: Mapping[str, Mapping[str, int]] | None = None,
    plugins: Path | None = None,
    zero_terminal_snr: str = "",
    context_sha256: str = "",
) -> dict[str, str]:
    """Metadata of the finished file, every value a string, no local path in any.

    prediction_type: as the scheduler says ("epsilon", "v_prediction", "flow"), "" where it is not known.  pictures: how many
    were trained on, 0 where it is not known.  date: ISO 8601.  step: of a checkpoint; None for the last.  tag_frequency:
    only when the person asked for it, because it tells the captions.  The hash is added by stamp_hash.  plugins: where objectives
    of the user's own lie.  zero_terminal_snr: "True" or "False", "" where it is not known or the family is a flow.
    context_sha256: of the context adapter's file, "" where there is none or it is not known.
    """
    side = max(config.data.all_sides)
    o = config.optimizer
    kind = file_kind(registry.get("adapters", config.adapter.type, plugins), config.adapter.type)
    what, how = concepts.said_of(config, plugins)
    said = {
        "modelspec.sai_model_spec": VERSION,
        "modelspec.architecture": f"{spec.architecture}/{kind}",
        "modelspec.implementation": "diffusers",
        "modelspec.title": config.name,
        "modelspec.description": f"{config.adapter.type} for {spec.title}, trained with Easel" + f". {what}" * bool(what),
        "modelspec.date": date,
        "modelspec.resolution": f"{side}x{side}",
        "modelspec.license": "Apache-2.0" if config.model.source == "builtin" else spec.licence_names.get(config.model.source) or spec.licence_of(config.model.source)[0],
        "modelspec.tags": ",".join(spec.tags),
        "modelspec.prediction_type": {"v_prediction": "v"}.get(prediction_type, prediction_type),
        "modelspec.trigger_phrase": ", ".join(config.triggers),
        "modelspec.usage_hint": _usage(config.triggers, how),
        "ss_output_name": config.name,
        "ss_base_model_version": spec.architecture,
        "ss_sd_model_name": _model_name(config.model.source),
        "ss_network_module": "networks.lora" if kind == "lora" else f"peft.{kind}",
        "ss_network_dim": str(config.adapter.rank),
        "ss_network_alpha": str(config.adapter.alpha),
        "ss_network_dropout": str(config.adapter.dropout),
        "ss_learning_rate": str(o.learning_rate),
        "ss_unet_lr": str(o.learning_rate),
        "ss_optimizer": o.type,
        "ss_lr_scheduler": optimizing.schedule_in_force(o),
        "ss_lr_warmup_steps": str(o.warmup_steps),
        "ss_max_grad_norm": str(o.clip_grad),
        "ss_gradient_accumulation_steps": str(o.accumulation),
        "ss_gradient_checkpointing": str(config.loss.gradient_checkpointing != "off"),
        "ss_min_snr_gamma": str(config.loss.min_snr_gamma) if config.loss.min_snr_gamma else "None",
        "ss_loss_type": {"mse": "l2"}.get(config.loss.type, config.loss.type),
        "ss_debiased_estimation": str(config.loss.weighting == "debiased"),
        "ss_zero_terminal_snr": zero_terminal_snr,
        "ss_noise_offset": str(config.loss.noise_offset) if config.loss.noise_offset else "None",
        "ss_masked_loss": str(config.loss.masked),
        "ss_steps": str(config.steps if step is None else step),
        "ss_max_train_steps": str(config.steps),
        "ss_num_train_images": str(pictures) if pictures else "",
        "ss_batch_size_per_device": str(config.data.batch_size),
        "ss_resolution": f"({side}, {side})",
        "ss_enable_bucket": str(config.data.aspect_buckets),
        "ss_caption_dropout_rate": str(config.data.caption_dropout),
        "ss_shuffle_caption": str(config.data.shuffle_tags),
        "ss_caption_tag_dropout_rate": str(config.data.tag_dropout),
        "ss_keep_tokens": str(config.data.keep_tags),
        "ss_seed": str(config.seed),
        "ss_mixed_precision": {"fp32": "no"}.get(config.model.dtype, config.model.dtype),
    }
    if what:
        said |= {"easel.objective": config.loss.objective}
        said |= {"easel.targets": json.dumps([t.model_dump() for t in config.concept.targets], ensure_ascii=False)} if config.concept.targets else {}
        at = concepts.strengths(concepts.known(config, plugins))
        said |= {"easel.strengths": f"{min(at):g} to {max(at):g}"} if len(at) > 1 else {}
    if config.model.context_adapter:
        beside = {"file": _last(config.model.context_adapter), "strength": config.model.context_strength, "sha256": context_sha256}
        said["easel.context_adapter"] = json.dumps({name: value for name, value in beside.items() if value != ""}, ensure_ascii=False)
    if tag_frequency:
        said["ss_tag_frequency"] = json.dumps(tag_frequency, ensure_ascii=False, sort_keys=True)
    return {key: scrub(value, config) for key, value in said.items() if value}


def _model_name(source: str) -> str:
    """A Hub id as it is; of a path only the last part."""
    local = re.match(r"[/~.\\]|[A-Za-z]:[\\/]", source) or source.count("/") != 1 or "\\" in source
    return _last(source) if local else source


def tensor_hash(data: bytes) -> str:
    """0x and the sha256 of everything after the header of a .safetensors file, as ModelSpec asks."""
    return "0x" + hashlib.sha256(memoryview(data)[_HEAD.size + _HEAD.unpack_from(data)[0] :]).hexdigest()


def stamp_hash(data: bytes) -> bytes:
    """A .safetensors file with modelspec.hash_sha256 in its metadata; tensors and the rest of the metadata are untouched."""
    (size,) = _HEAD.unpack_from(data)
    header = json.loads(data[_HEAD.size : _HEAD.size + size])
    said = {**header.get("__metadata__", {}), HASH_KEY: tensor_hash(data)}
    header["__metadata__"] = dict(sorted(said.items()))  # the library writes them in another order each time
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the format keeps tensors aligned to 8 bytes
    return _HEAD.pack(len(text)) + text + data[_HEAD.size + size :]
