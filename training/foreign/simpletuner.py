"""SimpleTuner: config.json, its keys with or without leading dashes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..plan.translating import (
    Base,
    Differs,
    Reading,
    Rule,
    Same,
    Why,
    checkpointing,
    dtype,
    number,
    optimizer,
    options,
    schedule,
    shown,
    sides,
    switch,
    whole,
    written,
)

TITLE = "SimpleTuner"
# what the program takes where the file is silent, of what matters to the result
DEFAULTS = {"lora_rank": 16}

_MACHINE = Same("it says how the program runs on its machine, and changes nothing of what is learnt")
_PLACE = Same("every run of Easel has a folder of its own, with everything in it")
_AUTO = Same("Easel does that by itself")
_LOGS = Same("Easel shows the loss by itself, and elsewhere only where trackers says so")
_PUBLISH = Why("Publish does that, when you say so")
_PART = Why("that part of the program has no equal here")


def _bits(value: Any) -> str:
    text = str(value)
    for name, ours in (("no_change", "none"), ("bf16", "none"), ("fp32", "none"), ("fp16", "none"), ("int8", "int8"), ("fp8", "fp8"), ("nf4", "nf4"), ("int4", "nf4")):
        if text.startswith(name):
            return ours
    raise Differs(f"there is no {shown(value)!r} here; base weights can be int8, fp8 or nf4")


def _side(value: Any) -> int:
    return whole(str(value).split(",")[0].lower().partition("x")[0])


def _gamma(value: Any) -> float:
    return number(value)


def _loss(value: Any) -> str:
    names = {"l2": "mse", "huber": "huber", "smooth_l1": "huber"}
    if value not in names:
        raise Differs(f"there is no loss {shown(value)!r} here; there are mse and huber")
    return names[value]


TABLE: dict[str, Rule] = {
    "max_train_steps": ("steps", whole), "num_train_epochs": ("epochs", number), "seed": ("seed", whole), "train_batch_size": ("data.batch_size", whole), "gradient_accumulation_steps": ("optimizer.accumulation", whole), "learning_rate": ("optimizer.learning_rate", number),
    "text_encoder_lr": ("adapter.text_learning_rate", number), "lr_scheduler": ("optimizer.schedule", schedule), "lr_warmup_steps": ("optimizer.warmup_steps", whole), "lr_num_cycles": ("optimizer.schedule_cycles", whole), "lr_power": ("optimizer.schedule_power", number), "max_grad_norm": ("optimizer.clip_grad", number),
    "adam_weight_decay": ("optimizer.weight_decay", number), "adam_epsilon": ("optimizer.eps", number), "lora_rank": ("adapter.rank", whole), "lora_alpha": ("adapter.alpha", number), "lora_dropout": ("adapter.dropout", number), "init_lora": "adapter.start_from", "use_dora": ("adapter.type", lambda v: "dora" if switch(v) else "lora"),
    "resolution": ("data.resolutions", lambda v: _resolution(v)), "caption_dropout_probability": ("data.caption_dropout", number), "mixed_precision": ("model.dtype", dtype), "base_model_precision": ("model.quantise", _bits), "text_encoder_1_precision": ("model.quantise_text", _bits),
    "gradient_checkpointing": ("loss.gradient_checkpointing", checkpointing), "ema_decay": ("loss.ema_decay", number), "noise_offset": ("loss.noise_offset", number), "snr_gamma": ("loss.min_snr_gamma", _gamma), "loss_type": ("loss.type", _loss), "huber_c": ("loss.huber_delta", number),
    "flow_schedule_shift": ("loss.timestep_shift", number), "flow_schedule_auto_shift": ("loss.timestep_shift", lambda v: _auto(v)), "flow_use_uniform_schedule": ("loss.timestep_law", lambda v: "uniform" if switch(v) else "sigmoid"), "checkpointing_steps": ("save.every", whole), "checkpoint_step_interval": ("save.every", whole), "checkpoints_total_limit": ("save.keep", whole),
    "validation_steps": ("sample.every", whole), "validation_step_interval": ("sample.every", whole), "validation_prompt": ("sample.prompts", lambda v: [str(v)]), "validation_negative_prompt": "sample.negative", "validation_guidance": ("sample.guidance", number), "validation_num_inference_steps": ("sample.steps", whole), "validation_seed": ("sample.seed", whole),
    "validation_num_video_frames": ("sample.frames", whole), "framerate": ("data.fps", number), "vae_enable_tiling": ("model.vae_tiling", switch), "train_text_encoder": ("adapter.text_encoder", switch), "revision": "model.revision", "num_eval_images": ("data.held_out", whole), "eval_steps_interval": ("save.validate_every", whole),
    "resolution_type": Why("a resolution is the side of a square of the same area here", ("pixel_area", "pixel", "area")), "minimum_image_size": Why("‘Upscale’ says whether small pictures are used here"), "maximum_image_size": Why("pictures are made as small as their bucket here"), "target_downsample_size": Why("pictures are made as small as their bucket here"),
    "model_type": Why("it makes a LoRA or one of its kin here", ("lora",)), "data_backend_config": Why("the pictures are in another file; choose the dataset here"), "instance_prompt": Why("a caption, or the trigger word, says it here"), "caption_strategy": Why("captions are read from the files beside the pictures", ("textfile",)), "only_instance_prompt": _PART,
    "grad_clip_method": Why("the gradient's length is limited here, not each of its values", ("norm",)), "lycoris_config": Why("its settings are in another file; type rank and factor here"), "controlnet": Why("choose ControlNet as the kind of adapter here"), "flux_lora_target": Why("‘Layers that learn’ says it here"), "aspect_bucket_rounding": Why("the base model says by how many px a side divides", ()), "musubi_blocks_to_swap": Why("‘Offload’ is a share of all blocks here"), "aspect_bucket_alignment": Why("the base model says by how many px a side divides", ()),
    "validation_prompt_library": Why("type sample prompts here"), "user_prompt_library": Why("its prompts are in another file; paste them under ‘Sample prompts’"), "num_validation_images": Why("each prompt is drawn once here", (1,)), "validation_guidance_rescale": _PART, "validation_guidance_skip_layers": _PART, "validation_lycoris_strength": Why("samples are drawn at the full strength", (1, 1.0)), "validation_adapter_strength": Why("samples are drawn at the full strength", (1, 1.0)),
    "validation_disable_unconditional": _PART, "validation_on_startup": _AUTO, "validation_noise_scheduler": Why("samples are drawn by the base model's own sampler", ()), "validation_torch_compile": _MACHINE, "ema_validation": _AUTO, "ema_update_interval": Why("the average is taken at every step here", (1,)), "ema_warmup_steps": _PART,
    "tread_config": _PART, "distillation_config": _PART, "distillation_method": _PART, "conditioning_multidataset_sampling": _PART, "flux_guidance_mode": Why("the guidance that the model is trained at is the family's own", ()), "flux_guidance_value": Why("the guidance that the model is trained at is the family's own", ()), "prediction_type": Why("the base model's own scheduler says it", ()), "offset_noise": _PART,
    "prodigy_steps": Why("it is an option of schedule-free Prodigy here"), "hub_model_id": _PUBLISH, "push_to_hub": _PUBLISH, "push_checkpoints_to_hub": _PUBLISH, "push_to_hub_background": _PUBLISH, "model_card_note": _PUBLISH, "model_card_private": _PUBLISH, "resume_from_checkpoint": Why("a run of another program cannot be resumed; its weights can: ‘Go on from’", ("latest", None, "", "None")),
    "lora_format": Why("Export makes other layouts", ("diffusers", None)), "peft_lora_target_modules": Why("‘Include’ takes texts of Easel's own layer names"), "trust_remote_code": Why("no code out of a model's folder is run"), "webhook_config": Why("Easel sends nothing anywhere"), "i_know_what_i_am_doing": _AUTO, "lora_init_type": _PART, "pretrained_vae_model_name_or_path": Why("the base model's own VAE is used"), "pretrained_t5_model_name_or_path": Why("the base model's own text encoder is used"),
    **dict.fromkeys(("tracker_project_name", "tracker_run_name", "report_to", "logging_dir"), _LOGS), **dict.fromkeys(("output_dir", "cache_dir", "cache_dir_text", "cache_dir_vae"), _PLACE),
    **dict.fromkeys(("disable_bucket_pruning", "vae_batch_size", "quantize_via", "compress_disk_cache", "strict_epoch_limit", "disable_benchmark", "attention_mechanism", "offload_during_startup", "vae_enable_slicing", "delete_problematic_images", "fuse_qkv_projections", "skip_file_discovery", "context_parallel_size", "context_parallel_comm_strategy",
        "ramtorch", "ramtorch_target_modules", "ramtorch_transformer_percent", "ramtorch_disable_extensions", "ramtorch_disable_sync_hooks", "ramtorch_text_encoder", "num_processes", "sdnq_compile_mode", "sdnq_group_size", "sdnq_hadamard_group_size", "sdnq_use_hadamard", "sdnq_use_quantized_matmul", "vae_cache_ondemand", "gradient_checkpointing_interval",
        "gradient_checkpointing_backend", "gradient_checkpointing_segment_stride", "quantize_activations", "allow_dataset_oversubscription", "ema_cpu_only", "ema_device", "text_encoder_batch_size", "write_batch_size", "allow_tf32", "disable_tf32", "dataloader_prefetch", "metadata_update_interval", "override_dataset_config", "preserve_data_backend_cache", "keep_vae_loaded", "max_workers", "vae_dtype", "dynamo_backend", "dynamo_mode", "dynamo_use_regional_compilation", "vae_cache_disable", "vae_enable_patch_conv", "vae_enable_temporal_roll", "text_cache_disable", "text_cache_ondemand", "find_unused_parameters", "base_model_default_dtype"), _MACHINE),
}  # fmt: skip


def _resolution(value: Any) -> list[int]:
    made = number(value)
    return sides(round(made)) if made >= 32 else sides(round((made * 1_000_000) ** 0.5 / 64) * 64)  # below that it is a number of megapixels


def _auto(value: Any) -> float:
    if not switch(value):
        raise Differs("off there")
    return 0.0  # ours for: what the base model's own scheduler says


def recognises(data: Mapping[str, Any]) -> bool:
    """Its own names of the model's family and of the file of pictures, with or without dashes."""
    keys = {_bare(key) for key in data}
    return "model_family" in keys and bool(keys & {"model_type", "data_backend_config", "lora_type", "base_model_precision"})


def _bare(key: str) -> str:
    return key.lstrip("-").replace("-", "_")


def translate(data: Mapping[str, Any]) -> Reading:
    """One flat mapping."""
    values = {_bare(str(k)): v for k, v in data.items()}
    reading = Reading(TITLE, values)
    reading.presume(DEFAULTS)
    source, kind = str(values.pop("pretrained_model_name_or_path", None) or ""), str(values.get("model_family", ""))
    flavour = str(values.get("model_flavour") or "")
    reading.base = Base("pretrained_model_name_or_path" if source else "model_family", source, (kind, kind + flavour))
    reading.rest("model_family", "it says the kind of base model")
    if flavour:
        if source:
            reading.rest("model_flavour", "the model that is named goes before it")
        else:
            reading.leave("model_flavour", "that program knows a Hub id by it; if it is not the usual one, type it under ‘Base model’")
    elif "model_flavour" in values:
        reading.rest("model_flavour", "empty there")
    _adapter(reading)
    _optimizer(reading)
    _length(reading)
    if "use_ema" in values:
        on = switch(reading.get("use_ema"))
        reading.left.setdefault("ema_decay", 0.995) if on else None
        reading.rest("use_ema", "its decay says it here") if on else reading.take("use_ema", "loss.ema_decay", 0.0)
        if not on and "ema_decay" in reading.left:
            reading.rest("ema_decay", "off there")
    if reading.get("loss_type", "l2") == "l2" and "huber_c" in reading.left:
        reading.rest("huber_c", "off there: the loss is l2")
    _sample_size(reading)
    if reading.get("flow_schedule_auto_shift") and "flow_schedule_shift" in reading.left:
        reading.rest("flow_schedule_shift", "it follows from the picture's size")
    if reading.get("flow_schedule_auto_shift") in (False, "false"):
        reading.rest("flow_schedule_auto_shift", "off there")
    reading.by(TABLE)
    return reading


def _adapter(reading: Reading) -> None:
    kind = str(reading.get("lora_type", "standard"))
    if "lora_type" in reading.left:
        if kind == "standard":
            reading.take("lora_type", "adapter.type", "lora")
        else:
            reading.take("lora_type", "adapter.type", "lokr")  # what its LyCORIS files are made of, nearly always; the file itself is another
    if "lora_alpha" not in reading.left and kind == "standard":
        reading.settings["adapter.alpha"] = number(reading.get("lora_rank"))  # that program sets alpha to the rank


def _optimizer(reading: Reading) -> None:
    if "optimizer" in reading.left:
        reading.convert("optimizer", "optimizer.type", optimizer)
    given = written(reading.get("optimizer_config") or "")
    if "optimizer_config" in reading.left:
        reading.rest("optimizer_config", "its parts are read one by one" if given else "empty there")
    options(reading, "optimizer_config", given)
    for first, second in (("optimizer_beta1", "optimizer_beta2"), ("adam_beta1", "adam_beta2")):
        if first in reading.left and second in reading.left:
            pair = [number(reading.get(first)), number(reading.get(second))]
            reading.take(first, "optimizer.betas", pair)
            reading.rest(second, f"taken over with {first}")
    for key in [k for k in reading.left if re.fullmatch(r"(optimizer|adam)_beta\d", k)]:
        reading.leave(key, "betas are two numbers here, and only one is said")
    if str(reading.get("lr_scheduler")) == "constant" and "lr_warmup_steps" in reading.left:
        reading.rest("lr_warmup_steps", "its constant schedule has no warm-up")


def _length(reading: Reading) -> None:
    for key, other in (("num_train_epochs", "max_train_steps"), ("max_train_steps", "num_train_epochs")):
        if key in reading.left and reading.get(key) in (0, "0", None, ""):
            reading.rest(key, f"off there: {other} says how long it trains")
    if "num_train_epochs" in reading.left and "max_train_steps" in reading.left:
        reading.rest("num_train_epochs", "its steps come first")


def _sample_size(reading: Reading) -> None:
    text = str(reading.get("validation_resolution") or "")
    if found := re.fullmatch(r"(\d+)\s*x\s*(\d+)", text.split(",")[0].strip()):
        reading.take("validation_resolution", "sample.width", int(found[1]))
        reading.settings["sample.height"] = int(found[2])
    elif text.isdigit():
        reading.take("validation_resolution", "sample.width", int(text))
        reading.settings["sample.height"] = int(text)
    elif "validation_resolution" in reading.left:
        reading.rest("validation_resolution", "empty there") if not text else reading.leave("validation_resolution", "a sample's size is two numbers of px here")
