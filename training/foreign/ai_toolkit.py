"""ai-toolkit: a YAML (or JSON) job with config.process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..plan.translating import (
    Base,
    Differs,
    Pictures,
    Reading,
    Rule,
    Same,
    Why,
    checkpointing,
    dtype,
    flat,
    number,
    optimizer,
    options,
    prompt_with,
    schedule,
    shown,
    sides,
    switch,
    whole,
)

TITLE = "ai-toolkit"
# what the program takes where the file is silent, of what matters to the result
DEFAULTS = {"network.linear_alpha": 1.0, "train.lr_scheduler": "constant", "train.optimizer": "adamw", "train.timestep_type": "sigmoid", "train.max_grad_norm": 1.0}

_PLACE = Same("every run of Easel has a folder of its own, with everything in it")
_MACHINE = Same("it says how the program runs on its machine, and changes nothing of what is learnt")
_BESIDE = "folders called control_1, control_2 are read where they lie beside one called target; else add them together with that folder on the Dataset tab"
_PART = Why("that part of the program has no equal here")
_PUBLISH = Why("Publish does that, when you say so")
_AUTO = Same("Easel does that by itself")


def _law(value: Any) -> str:
    names = {"sigmoid": "sigmoid", "linear": "uniform"}
    if value not in names:
        raise Differs(f"there is no timestep law like {value!r} here; choose one under ‘Timestep law’")
    return names[value]


def _balance(value: Any) -> str:
    if value not in ("content", "style"):
        raise Differs(f"there is no timestep law like {value!r} here")
    return value


def _loss(value: Any) -> str:
    if value not in ("mse", "pseudo_huber"):
        raise Differs(f"there is no loss {value!r} here; there are mse and huber")
    return "huber" if value == "pseudo_huber" else "mse"


def _kind(value: Any) -> str:
    kinds = {"lora": "lora", "locon": "lora", "lierla": "lora", "dora": "dora", "lokr": "lokr"}
    if value not in kinds:
        raise Differs(f"{value!r} is no adapter of Easel; the preset's own stays")
    return kinds[value]


def _bits(value: Any) -> str:
    name = str(value).split("|")[0]
    names = {"qfloat8": "fp8", "float8": "fp8", "qint8": "int8", "int8": "int8", "uint8": "int8", "qint4": "nf4", "uint4": "nf4", "int4": "nf4", "nf4": "nf4"}
    if name not in names or "|" in str(value):
        raise Differs("Easel quantises to int8, fp8 or nf4, without a file that makes up for what is lost")
    return names[name]


TABLE: dict[str, Rule] = {
    "name": "name", "trigger_word": "trigger", "performance_log_every": _AUTO, "log": _AUTO, "device": _MACHINE, "training_folder": _PLACE, "sqlite_db_path": _PLACE, "type": _AUTO,
    "network.type": ("adapter.type", _kind), "network.linear": ("adapter.rank", whole), "network.rank": ("adapter.rank", whole), "network.linear_alpha": ("adapter.alpha", number),
    "network.alpha": ("adapter.alpha", number), "network.dropout": ("adapter.dropout", number), "network.lokr_factor": ("adapter.factor", whole),
    "network.pretrained_lora_path": "adapter.start_from", "network.lokr_full_rank": Why("the rank says it here: LoKr keeps whole factors where it is large"), "network.transformer_only": Why("‘Layers that learn’ says it here", ()),
    "network.conv": ("adapter.targets", lambda v: "all" if v else "attention"), "network.conv_alpha": Why("convolutions have the adapter's own alpha here"),
    "network.network_kwargs.only_if_contains": "adapter.include", "network.network_kwargs.ignore_if_contains": "adapter.exclude", "network.old_lokr_format": _MACHINE,
    "train.steps": ("steps", whole), "train.batch_size": ("data.batch_size", whole), "train.gradient_accumulation_steps": ("optimizer.accumulation", whole),
    "train.gradient_accumulation": ("optimizer.accumulation", whole), "train.train_text_encoder": ("adapter.text_encoder", switch), "train.lr": ("optimizer.learning_rate", number),
    "train.unet_lr": ("optimizer.learning_rate", number), "train.text_encoder_lr": ("adapter.text_learning_rate", number), "train.lr_scheduler": ("optimizer.schedule", schedule),
    "train.lr_scheduler_params.num_warmup_steps": ("optimizer.warmup_steps", whole), "train.gradient_checkpointing": ("loss.gradient_checkpointing", checkpointing),
    "train.max_grad_norm": ("optimizer.clip_grad", number), "train.noise_offset": ("loss.noise_offset", number), "train.min_snr_gamma": ("loss.min_snr_gamma", number),
    "train.snr_gamma": ("loss.min_snr_gamma", number), "train.dtype": ("model.dtype", dtype), "train.timestep_type": ("loss.timestep_law", _law), "train.loss_type": ("loss.type", _loss),
    "train.content_or_style": ("loss.timestep_law", _balance), "train.min_denoising_steps": ("loss.timestep_min", lambda v: number(v) / 1000), "train.max_denoising_steps": ("loss.timestep_max", lambda v: min(1.0, (number(v) + 1) / 1000)),
    "train.noise_scheduler": Why("the noise schedule is the base model's own", ("flowmatch", "ddpm", None)), "train.train_unet": Why("the denoiser always learns here", (True,)), "train.train_refiner": _PART,
    "train.skip_first_sample": Why("Easel draws the first samples before the first step"), "train.force_first_sample": _AUTO, "train.disable_sampling": ("sample.every", lambda v: 0),
    "train.linear_timesteps": ("loss.timestep_law", lambda v: "uniform"), "train.linear_timesteps2": _PART, "train.bypass_guidance_embedding": Why("the guidance that the model is trained at is the family's own"),
    "train.unload_text_encoder": _AUTO, "train.cache_text_embeddings": _AUTO, "train.xformers": _MACHINE, "train.sdp": _MACHINE, "train.attention_backend": _MACHINE, "train.start_step": _PART,
    "train.reg_weight": Why("a dataset's weight stands beside it here", (1, 1.0)), "train.switch_boundary_every": ("loss.expert_steps", whole), "train.prompt_dropout_prob": ("data.caption_dropout", number),
    "train.diff_output_preservation": ("keep.on", switch), "train.blank_prompt_preservation": ("keep.on", switch), "train.diff_output_preservation_multiplier": ("keep.weight", number),
    "train.blank_prompt_preservation_multiplier": ("keep.weight", number), "train.diff_output_preservation_class": Why("what is kept is held by sentences of its own here", (None, "")),
    "train.do_differential_guidance": _PART, "train.differential_guidance_scale": Why("it belongs to differential guidance, which is not here", ()), "train.show_turbo_outputs": _PART,
    "train.ema_config.use_feedback": _PART, "train.ema_config.param_multiplier": Why("there is none here", (1, 1.0)), "train.optimal_noise_pairing_samples": Why("noise is drawn, not chosen, here", (1,)), "train.free_u": _PART,
    **{f"train.{n}": _PART for n in ("weight_jitter", "merge_network_on_save", "noise_multiplier", "random_noise_multiplier", "random_noise_shift", "img_multiplier", "latent_multiplier", "adaptive_scaling_factor", "match_noise_norm",
        "short_and_long_captions", "single_item_batching", "inverted_mask_prior", "standardize_images", "standardize_latents", "dynamic_noise_offset", "do_cfg", "correct_pred_norm", "do_prior_divergence",
        "learnable_snr_gos", "target_norm_std", "do_paramiter_swapping", "force_consistent_noise", "blended_blur_noise", "do_guidance_loss", "do_blank_stabilization", "train_turbo", "negative_prompt", "loss_target")},
    "save.save_every": ("save.every", whole), "save.max_step_saves_to_keep": ("save.keep", whole), "save.dtype": Why("Easel writes the adapter in fp32", (None, "fp32", "float32")),
    "save.save_format": Why("Easel writes .safetensors; Export makes other layouts", ("safetensors", "diffusers", None)), "save.push_to_hub": _PUBLISH, "save.hf_repo_id": _PUBLISH, "save.hf_private": _PUBLISH,
    "model.quantize_kwargs.exclude": _MACHINE, "model.low_vram": Why("‘Make it fit’ does it here"), "model.dtype": ("model.dtype", dtype), "model.is_v_pred": ("model.prediction", lambda v: "v_prediction" if switch(v) else "auto"), "model.assistant_lora_path": "model.training_adapter",
    "model.layer_offloading": Why("‘Offload’ is a share of all blocks here"), "model.layer_offloading_transformer_percent": ("model.offload", number), "model.layer_offloading_text_encoder_percent": _MACHINE,
    "model.vae_path": _PART, "model.extras_name_or_path": Why("those parts come from the base model's own folder"), "model.te_name_or_path": _PART, "model.lora_path": _PART, "model.inference_lora_path": _PART,
    "model.unet_path": _PART, "model.refiner_name_or_path": _PART, "model.compile": _MACHINE, "model.auto_memory": _AUTO, "model.split_model_over_gpus": _MACHINE, "model.attn_masking": Why("the family's own masking is used"),
    "model.model_kwargs.train_high_noise": Why("no base model of Easel has two denoisers"), "model.model_kwargs.train_low_noise": Why("no base model of Easel has two denoisers"), "model.use_flux_cfg": _PART,
    "model.ignore_if_contains": "adapter.exclude", "model.only_if_contains": "adapter.include", "model.text_encoder_bits": ("model.quantise_text", lambda v: {16: "none", 8: "int8", 4: "nf4"}[whole(v)]),
    "sample.sampler": Why("samples are drawn by the base model's own sampler", ()), "sample.sample_every": ("sample.every", whole), "sample.sample_start_step": Why("samples begin before the first step here"), "sample.width": ("sample.width", whole),
    "sample.height": ("sample.height", whole), "sample.neg": "sample.negative", "sample.seed": ("sample.seed", whole), "sample.walk_seed": Why("each prompt keeps one seed here, so that steps can be compared", (False, None)),
    "sample.guidance_scale": ("sample.guidance", number), "sample.sample_steps": ("sample.steps", whole), "sample.num_frames": ("sample.frames", whole), "sample.fps": ("sample.fps", number), "sample.network_multiplier": Why("samples are drawn at the full strength", (1, 1.0, None)),
    "sample.guidance_rescale": _PART, "sample.format": Why("samples are WebP here"), "sample.do_cfg_norm": _PART, "sample.refiner_start_at": _PART, "sample.adapter_conditioning_scale": _PART,
    "logging.log_every": _AUTO, "logging.verbose": _AUTO, "logging.use_wandb": Why("Easel shows the loss elsewhere only where trackers says so"), "logging.use_ui_logger": _AUTO, "logging.project_name": _AUTO, "logging.run_name": _AUTO,
}  # fmt: skip
# of one dataset; those with a setting hold for all datasets here
DATASET: dict[str, Rule] = {
    "caption_ext": Why("Easel reads captions in .txt and the usual others; rename them", (None, "", "txt", ".txt", "caption", ".caption")), "caption_dropout_rate": ("data.caption_dropout", number),
    "shuffle_tokens": ("data.shuffle_tags", switch), "keep_tokens": ("data.keep_tags", whole), "resolution": ("data.resolutions", sides), "buckets": ("data.aspect_buckets", switch), "flip_x": ("data.flip", switch),
    "flip_y": Why("pictures are not turned upside down here"), "cache_latents": _AUTO, "cache_latents_to_disk": _AUTO, "cache_text_embeddings": _AUTO, "num_frames": ("data.frames", whole), "fps": ("data.fps", number), "batch_size": Why("one batch size for all datasets here"),
    "mask_path": Why("masks lie beside their pictures here; add that folder to the dataset, then switch on ‘Masked’"), "mask_min_value": ("loss.unmasked_weight", number), "alpha_mask": ("loss.masked", switch), "invert_mask": Why("white is what is learnt here"),
    "control_path": Why(_BESIDE), "control_path_1": Why(_BESIDE), "control_path_2": Why(_BESIDE), "control_path_3": Why(_BESIDE), "default_caption": Why("write captions on the Captions tab", (None, "")), "token_dropout_rate": ("data.tag_dropout", number),
    "random_scale": _PART, "random_crop": _PART, "scale": Why("pictures have one scale here", (1, 1.0)), "bucket_tolerance": Why("the base model says by how many px a side divides", ()), "prior_reg": _PART, "random_triggers": _PART,
    "augments": _PART, "augmentations": _PART, "shrink_video_to_frames": _AUTO, "do_i2v": _PART, "do_audio": _PART, "clip_image_path": _PART, "inpaint_path": _PART, "type": _AUTO, "poi": _PART, "controls": _PART, "auto_frame_count": _PART, "enable_ar_bucket": _AUTO, "max_token_length": _AUTO,
}  # fmt: skip


def recognises(data: Mapping[str, Any]) -> bool:
    """A job whose config has processes."""
    config = data.get("config")
    return isinstance(config, Mapping) and isinstance(config.get("process"), list) and bool(config["process"])


def translate(data: Mapping[str, Any]) -> Reading:
    """The first process; a second one is another job."""
    config = data["config"]
    first, *others = config["process"]
    values = flat(first, ("optimizer_params",)) | {"name": config.get("name")}
    values |= {f"config.{k}": v for k, v in config.items() if k not in ("name", "process")} | {f"{k}": v for k, v in flat(data).items() if not k.startswith("config.") and k not in values}
    reading = Reading(TITLE, values)
    reading.presume({key: value for key, value in DEFAULTS.items() if any(k.startswith(key.split(".")[0] + ".") for k in values)} if values.get("network.type") in ("lora", "dora", "lokr") else {})
    for n, other in enumerate(others):
        reading.left[f"config.process.{n + 1}"] = other.get("type") if isinstance(other, Mapping) else other
        reading.leave(f"config.process.{n + 1}", "a job here does one thing; import that one by itself")
    kind = str(values.get("type", ""))
    if kind and kind not in ("sd_trainer", "diffusion_trainer", "ui_trainer"):
        raise ValueError(f"this is a job of {TITLE} that does {kind!r}; only trainings from pictures are read. Sliders, erasing and tools have forms of their own here")
    for key in [k for k in ("job", "type") if k in reading.left] + [k for k in reading.left if k.startswith(("meta.", "config."))]:
        reading.rest(key, "it only says what kind of file this is")
    _base(reading)
    _optimizer(reading)
    _ema(reading)
    _quantise(reading)
    for n, one in enumerate(reading.left.pop("datasets", None) or ()):
        _dataset(reading, n, one)
    _samples(reading)
    if reading.get("train.content_or_style") == "balanced":
        reading.rest("train.content_or_style", "as ‘Timestep law’ says")
    reading.by(TABLE)
    return reading


def _base(reading: Reading) -> None:
    values = reading.left
    switches = {"model.is_flux": "flux", "model.is_xl": "xl", "model.is_v3": "sd3", "model.is_v2": "sd2", "model.is_lumina2": "lumina2", "model.is_pixart": "pixart", "model.is_auraflow": "auraflow"}
    kind = str(values.get("model.arch") or next((name for key, name in switches.items() if values.get(key) is True), ""))
    for key in ("model.arch", *switches):
        if key in values:
            reading.rest(key, "it says the kind of base model")
    source = str(values.pop("model.name_or_path", None) or "")
    if source or kind:
        reading.base = Base("model.name_or_path", source, (kind,) if kind else ())


def _optimizer(reading: Reading) -> None:
    if "train.optimizer" in reading.left:
        reading.convert("train.optimizer", "optimizer.type", optimizer)
    given = {k.removeprefix("train.optimizer_params."): v for k, v in reading.left.items() if k.startswith("train.optimizer_params.")}
    options(reading, "train.optimizer_params", given)


def _ema(reading: Reading) -> None:
    if "train.ema_config.use_ema" in reading.left:
        if switch(reading.get("train.ema_config.use_ema")):
            reading.left.setdefault("train.ema_config.ema_decay", 0.999)
            reading.rest("train.ema_config.use_ema", "its decay says it here")
            reading.convert("train.ema_config.ema_decay", "loss.ema_decay", number)
        else:
            reading.take("train.ema_config.use_ema", "loss.ema_decay", 0.0)
            if "train.ema_config.ema_decay" in reading.left:
                reading.rest("train.ema_config.ema_decay", "off there")


def _quantise(reading: Reading) -> None:
    for on, how, path in (("model.quantize", "model.qtype", "model.quantise"), ("model.quantize_te", "model.qtype_te", "model.quantise_text")):
        if on not in reading.left:
            continue
        if switch(reading.get(on)):
            reading.left.setdefault(how, "qfloat8")
            reading.rest(on, "the number format says it here")
            reading.convert(how, path, _bits)
        else:
            reading.take(on, path, "none")
            if how in reading.left:
                reading.rest(how, "off there")


def _dataset(reading: Reading, n: int, one: Mapping[str, Any]) -> None:
    at = f"datasets.{n}"
    reading.left |= {f"{at}.{key}": value for key, value in one.items()}
    folder = one.get("folder_path") or one.get("dataset_path")
    repeats, weight = one.get("num_repeats", 1) or 1, one.get("loss_multiplier", 1.0) or 1.0
    own = _of_it_alone(reading, at, one) if folder else {}
    if folder:
        reading.datasets.append(Pictures(str(folder), max(1, whole(repeats)), number(weight), bool(one.get("is_reg", False)), **own))
    for key in ("folder_path", "dataset_path", "num_repeats", "loss_multiplier", "is_reg", "network_weight"):
        if key in one:
            reading.rest(f"{at}.{key}", "listed below")
    for key in one:
        name, rule = f"{at}.{key}", DATASET.get(key)
        if name not in reading.left or rule is None:
            continue
        path = rule[0] if isinstance(rule, tuple) else ""
        if path and path in reading.settings:
            same = any(t.path == path and t.value == shown(one[key]) for t in reading.taken)
            reading.rest(name, "said already") if same else reading.leave(name, "it is one setting for all datasets here, and another dataset said it first")
        else:
            reading.by({name: rule})


def _of_it_alone(reading: Reading, at: str, one: Mapping[str, Any]) -> dict[str, Any]:
    """What one dataset has in place of what holds for all: its trigger word, and its sizes where they are not those of the first."""
    own = {}
    if "trigger_word" in one:
        word = one["trigger_word"]
        own = reading.of_one(f"{at}.trigger_word", "trigger", str) if word and word != reading.get("trigger_word") else {}
        if f"{at}.trigger_word" in reading.left:
            reading.rest(f"{at}.trigger_word", "said for all" if word else "empty there")
    if one.get("resolution") and reading.settings.get("data.resolutions", sides(one["resolution"])) != sides(one["resolution"]):
        own |= reading.of_one(f"{at}.resolution", "resolutions", sides)
    return own


def _samples(reading: Reading) -> None:
    """prompts: a list of texts; samples: a list of mappings with a size, seed and so on of their own."""
    said = {"width": "w", "height": "h", "seed": "d", "guidance_scale": "l", "sample_steps": "s", "neg": "n", "num_frames": "f"}
    prompts = [str(p) for p in reading.get("sample.prompts") or ()]
    samples = [s for s in reading.get("sample.samples") or () if isinstance(s, Mapping)]
    lines = [p for p in prompts if "--ctrl_img" not in p] + [prompt_with(s, said) for s in samples if not any(k.startswith("ctrl_img") for k in s)]
    for key, all_of_it in (("sample.prompts", prompts), ("sample.samples", samples)):
        if key in reading.left:
            if not all_of_it:
                reading.rest(key, "empty there")
            elif lines:
                reading.take(key, "sample.prompts", lines[:16])
                if len(lines) < len(prompts) + len(samples) or len(lines) > 16:
                    reading.left[f"{key} (some)"] = "prompts with ctrl_img, or beyond 16"
                    reading.leave(f"{key} (some)", "Easel draws at most 16 sample prompts, and none that edits a picture")
            else:
                reading.leave(key, "samples that edit a picture are not drawn here")
