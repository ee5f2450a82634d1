"""kohya's scripts (TOML of sd-scripts, its datasets' TOML) and the GUI kohya_ss (JSON)."""

from __future__ import annotations

import re
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
    schedule,
    sides,
    switch,
    turned,
    whole,
    written,
)  # fmt: skip

TITLE = "kohya"

# what the program takes where the file is silent, of what matters to the result
DEFAULTS = {"network_dim": 4, "network_alpha": 1, "lr_scheduler": "constant", "caption_dropout_rate": 0.0, "train_batch_size": 1}

_MACHINE = Same("it says how the program runs on its machine, and changes nothing of what is learnt")
_PLACE = Same("every run of Easel has a folder of its own, with everything in it")
_LOGS = Same("Easel shows the loss by itself, and elsewhere only where trackers says so")
_CACHE = Same("Easel caches pictures and captions by itself")
_SAVED = Why("Easel writes fp32 adapters as .safetensors; Export makes the other layouts")
_BLOCKS = Why("weights block by block are rules here: ‘Rank patterns’ and ‘Other learning rates’, by a layer's name")
_LYCORIS = Why("Easel's adapter of that kind has no such part")
_STEPS_ONLY = Why("Easel counts steps here, and how many an epoch has is only known with the pictures")
_GUI = Same("it is about that program's own page")
_REST = Why("Easel trains the layers of its own list")


def _level(value: Any) -> float:
    return number(value) / 1000


def _sampling(value: Any) -> str:
    laws = {"uniform": "uniform", "sigmoid": "sigmoid", "shift": "sigmoid", "fluxshift": "sigmoid"}
    if (name := re.sub("[^a-z]", "", str(value))) in laws:
        return laws[name]
    raise Differs("‘Timestep law’ says it here: sigma of that program follows its weighting scheme")


def _loss(value: Any) -> str:
    names = {"l2": "mse", "huber": "huber", "smooth_l1": "huber"}
    if value not in names:
        raise Differs(f"there is no loss {value!r} here; there are mse and huber")
    return names[value]


def _huber_schedule(value: Any) -> str:
    if value not in ("constant", "snr"):
        raise Differs(f"there is no schedule {value!r} for it here; there are constant and snr")
    return value


def _law(value: Any) -> str:
    names = {"uniform": "uniform", "logit_normal": "logit_normal", "mode": "mode", "cosmap": "cosmap", "none": "uniform"}
    if value not in names:
        raise Differs(f"there is no timestep law {value!r} here")
    return names[value]


def _sides(value: Any) -> list[int]:
    """A list there is width and height, and no two sizes."""
    return sides(",".join(map(str, value)) if isinstance(value, list) and len(value) == 2 else value)


TABLE: dict[str, Rule] = {
    "output_name": "name", "seed": ("seed", whole), "resolution": ("data.resolutions", _sides), "max_resolution": ("data.resolutions", sides),
    "train_batch_size": ("data.batch_size", whole), "batch_size": ("data.batch_size", whole), "enable_bucket": ("data.aspect_buckets", switch),
    "bucket_no_upscale": ("data.upscale", turned), "flip_aug": ("data.flip", switch), "caption_dropout_rate": ("data.caption_dropout", number),
    "shuffle_caption": ("data.shuffle_tags", switch), "keep_tokens": ("data.keep_tags", whole), "masked_loss": ("loss.masked", switch),
    "network_dim": ("adapter.rank", whole), "network_alpha": ("adapter.alpha", number), "network_dropout": ("adapter.dropout", number),
    "network_weights": "adapter.start_from", "lora_network_weights": "adapter.start_from",
    "gradient_accumulation_steps": ("optimizer.accumulation", whole), "max_grad_norm": ("optimizer.clip_grad", number),
    "lr_scheduler_num_cycles": ("optimizer.schedule_cycles", whole), "lr_scheduler_power": ("optimizer.schedule_power", number),
    "lr_scheduler_min_lr_ratio": ("optimizer.schedule_end", number),
    "gradient_checkpointing": ("loss.gradient_checkpointing", checkpointing), "min_snr_gamma": ("loss.min_snr_gamma", number),
    "noise_offset": ("loss.noise_offset", number), "loss_type": ("loss.type", _loss), "huber_c": ("loss.huber_delta", number),
    "huber_schedule": ("loss.huber_schedule", _huber_schedule), "timestep_sampling": ("loss.timestep_law", _sampling),
    "discrete_flow_shift": ("loss.timestep_shift", number), "min_timestep": ("loss.timestep_min", _level), "max_timestep": ("loss.timestep_max", _level),
    "mixed_precision": ("model.dtype", dtype), "sample_every_n_steps": ("sample.every", whole), "save_every_n_steps": ("save.every", whole),
    "logit_mean": ("loss.timestep_mean", number), "logit_std": ("loss.timestep_std", number), "mode_scale": ("loss.timestep_scale", number),
    "validate_every_n_steps": ("save.validate_every", whole),
    "reg_data_dir": Why("pictures that stay as they are: choose that dataset under ‘Keep as it is’"),
    "prior_loss_weight": Why("Easel keeps what the base model knows in its own way, with a weight of its own", (1, 1.0, 0, 0.0)),
    "keep_tokens_separator": Why("it is ||| here", ("|||", None, "")), "conditioning_data_dir": Why("masks and control pictures lie beside their pictures here; add that folder to the dataset"), "caption_extension": Why("Easel reads captions in .txt and the usual others; rename them", (None, "", ".txt", ".caption")),
    "min_bucket_reso": Why("Easel's buckets follow from the resolution and ‘Max aspect’", ()), "max_bucket_reso": Why("Easel's buckets follow from the resolution and ‘Max aspect’", ()),
    "bucket_reso_steps": Why("the base model says by how many px a side divides", ()),
    "color_aug": Why("Easel changes no colours"), "random_crop": Why("Easel crops the middle, or where the focus point is"),
    "caption_dropout_every_n_epochs": Why("captions are left out by share here, see ‘Caption dropout’"), "caption_tag_dropout_rate": "data.tag_dropout",
    "clip_skip": Why("the base model's own text encoding is used", (None, "", 1, 0)), "max_token_length": Why("captions are read as far as the base model's encoder does", (75, "75", None, "")),
    "weighted_captions": Why("a caption is learnt as it stands"), "no_token_padding": Why("captions are padded as the base model does it"),
    "adaptive_noise_scale": Why("noise offset is the same for every picture here"), "ip_noise_gamma": Why("there is no perturbation of the input here"),
    "ip_noise_gamma_random_strength": Why("there is no perturbation of the input here"), "noise_offset_random_strength": Why("noise offset has one strength here"),
    "zero_terminal_snr": ("model.zero_terminal_snr", lambda v: "on" if switch(v) else "auto"), "v_parameterization": ("model.prediction", lambda v: "v_prediction" if switch(v) else "auto"),
    "scale_v_pred_loss_like_noise_pred": Why("‘Weighting’ and Min-SNR are said for the clean picture here, whatever the model predicts"), "v_pred_like_loss": Why("there is no such term here"),
    "scale_weight_norms": Why("adapter weights are not scaled back here; ‘Weight decay’ pulls them to zero"),
    "train_norm": _LYCORIS, "use_tucker": _LYCORIS, "use_scalar": _LYCORIS, "use_cp": _LYCORIS, "rescaled": _LYCORIS, "rank_dropout_scale": _LYCORIS, "bypass_mode": _LYCORIS,
    "decompose_both": Why("LoKr keeps its small factor whole here"), "train_on_input": Why("it belongs to IA³, which is no adapter of Easel"), "constrain": Why("it belongs to an adapter that Easel trains otherwise"), "unit": Why("it belongs to DyLoRA, which is no adapter of Easel", (1, 0, None, "")),
    "rank_dropout": Why("dropout is of a layer's inputs here"), "module_dropout": Why("dropout is of a layer's inputs here"),
    "conv_alpha": Why("convolutions have the adapter's own rank and alpha here; ‘Layers that learn’ says whether they learn", ()),
    "loraplus_lr_ratio": Why("‘Other learning rates’ does it here: lora_B and how many times"), "loraplus_unet_lr_ratio": Why("‘Other learning rates’ does it here: lora_B and how many times"),
    "loraplus_text_encoder_lr_ratio": Why("‘Other learning rates’ does it here"),
    **{f"{a}{b}": _BLOCKS for a in ("block_", "conv_block_") for b in ("dims", "alphas")}, "conv_dims": _BLOCKS, "conv_alphas": _BLOCKS,
    "down_lr_weight": _BLOCKS, "mid_lr_weight": _BLOCKS, "up_lr_weight": _BLOCKS, "block_lr_zero_threshold": _BLOCKS, "block_lr": _BLOCKS,
    "stop_text_encoder_training": Why("a text encoder that learns does so to the end"), "stop_text_encoder_training_pct": Why("a text encoder that learns does so to the end"),
    "multires_noise_iterations": Why("‘Noise pyramid’ goes down to the last level by itself", ()), "noise_offset_type": Why("both kinds have settings of their own", ()),
    "save_every_n_epochs": _STEPS_ONLY, "sample_every_n_epochs": _STEPS_ONLY, "sample_sampler": Why("samples are drawn by the base model's own sampler", ()), "sample_at_first": Why("Easel draws the first samples before the first step by itself"),
    "save_last_n_steps": Why("‘Checkpoints to keep’ counts checkpoints"), "save_last_n_epochs": Why("‘Checkpoints to keep’ counts checkpoints"),
    "save_last_n_steps_state": _PLACE, "save_last_n_epochs_state": _PLACE, "save_model_as": Why("Easel writes .safetensors only", ("safetensors", None, "")),
    "save_precision": Why("Easel writes the adapter in fp32", (None, "", "float", "fp32")), "save_state": Why("every checkpoint of Easel can be resumed exactly"), "save_state_on_train_end": Why("every checkpoint of Easel can be resumed exactly"),
    "resume": Why("a run of another program cannot be resumed; its weights can: ‘Go on from’"), "dim_from_weights": Why("type the rank of the weights that it goes on from"),
    "dataset_config": Why("the pictures are in another file; drop that one too, or choose the dataset here"), "vae": Why("the base model's own VAE is used"), "vae_batch_size": _CACHE,
    "fp8_base": Why("‘Quantise the base model’ does it, with its own memory: choose fp8 there"), "fp8_base_unet": Why("‘Quantise the base model’ does it: choose fp8 there"),
    "blocks_to_swap": Why("‘Offload’ is a share of all blocks here"), "guidance_scale": Why("the guidance that the model is trained at is the family's own", (1, 1.0, None, "", 0)),
    "model_prediction_type": Why("what the model predicts follows from the base model", ()), "apply_t5_attn_mask": Why("the family's own masking is used"),
    "t5xxl_max_token_length": Same("captions are read as far as the base model's encoder does"), "full_path": _GUI, "model_list": _GUI, "log_config": _GUI,
    "weighting_scheme": ("loss.timestep_law", _law), "additional_parameters": Why("command-line words that are not read; set them by hand"),
    "lr_scheduler_args": Why("the schedules here have their settings in the form"), "lr_scheduler_type": Why("a schedule of another library"), "LyCORIS_preset": Why("‘Layers that learn’ says it here", ("full", "", None)),
    "create_buckets": _GUI, "create_caption": _GUI, "train_text_encoder": Why("‘Train the text encoder’ does it, where the family's is a CLIP"), "train_blocks": _REST, "split_mode": _MACHINE, "train_dir": _PLACE,
    "learning_rate_te": Why("‘Text learning rate’ is for the text encoder's adapter"), "learning_rate_te1": Why("there is one learning rate for all text encoders; ‘Other learning rates’ changes one of them"), "learning_rate_te2": Why("there is one learning rate for all text encoders; ‘Other learning rates’ changes one of them"),
    "huber_scale": Why("huber is not scaled here", (1, 1.0, None, "")), "training_comment": Why("notes are kept with the run's card"), "bucket_selection": _GUI,
    "network_train_text_encoder_only": Why("the denoiser always learns here"), "cache_info": _CACHE, "dataset_repeats": Why("repeats stand beside each dataset here"),
    "caption_metadata_filename": Why("captions are read from text files beside the pictures"), "latent_metadata_filename": _CACHE, "use_latent_files": _CACHE,
    **{f"metadata_{n}": Why("the model card is where it is said") for n in ("author", "description", "license", "tags", "title")},
    **{f"huggingface_{n}": Why("Publish does that, when you say so") for n in ("path_in_repo", "repo_id", "repo_type", "repo_visibility")},
    "save_state_to_huggingface": Why("Publish does that, when you say so"), "resume_from_huggingface": Why("a run of another program cannot be resumed"), "async_upload": Why("Publish does that, when you say so"),
    **dict.fromkeys(("output_dir", "log_prefix", "logging_dir", "training_dir"), _PLACE),
    **dict.fromkeys(("log_with", "log_tracker_name", "log_tracker_config", "use_wandb", "wandb_run_name"), _LOGS),
    **dict.fromkeys(("cache_latents", "cache_latents_to_disk", "cache_text_encoder_outputs", "cache_text_encoder_outputs_to_disk", "skip_cache_check", "sdxl_cache_text_encoder_outputs",
        "flux1_cache_text_encoder_outputs", "flux1_cache_text_encoder_outputs_to_disk", "sd3_cache_text_encoder_outputs", "sd3_cache_text_encoder_outputs_to_disk", "sd3_text_encoder_batch_size"), _CACHE),
    **dict.fromkeys(("save_as_bool", "save_clip", "save_t5xxl", "mem_eff_save", "no_metadata"), _SAVED),
    **dict.fromkeys(("xformers", "sdpa", "mem_eff_attn", "full_bf16", "full_fp16", "no_half_vae", "sdxl_no_half_vae", "lowram", "lowvram", "highvram", "max_data_loader_n_workers",
        "persistent_data_loader_workers", "num_cpu_threads_per_process", "num_machines", "num_processes", "multi_gpu", "gpu_ids", "main_process_port", "extra_accelerate_launch_args",
        "dynamo_backend", "dynamo_mode", "dynamo_use_dynamic", "dynamo_use_fullgraph", "fused_backward_pass", "fused_optimizer_groups", "flux_fused_backward_pass", "sd3_fused_backward_pass",
        "blockwise_fused_optimizers", "cpu_offload_checkpointing", "double_blocks_to_swap", "single_blocks_to_swap", "disable_mmap_load_safetensors", "t5xxl_device", "t5xxl_dtype"), _MACHINE),
    **dict.fromkeys(("ae", "clip_l", "clip_g", "t5xxl", "flux1_clip_l", "flux1_t5xxl", "text_encoder", "gemma2"), Why("Easel takes these parts from the base model's own folder")),
}  # fmt: skip

# what its scripts and its page call the kinds of base models
_MODULES = re.compile(r"(?:networks|lycoris)\.\w*?_(flux|sd3|lumina|anima|hunyuan_image)")
_SWITCHES = {"flux1_checkbox": "flux", "sd3_checkbox": "sd3", "sdxl": "sdxl", "sdxl_checkbox": "sdxl", "v2": "sd2"}


def recognises(data: Mapping[str, Any]) -> bool:
    """A mapping with kohya's own names: of a network, or of datasets with subsets."""
    keys = set(flat(data)) | {key.rpartition(".")[2] for key in flat(data)}
    listed = data.get("datasets")
    if isinstance(listed, list) and any(isinstance(one, Mapping) and "subsets" in one for one in listed):
        return True
    return "pretrained_model_name_or_path" in keys and bool(keys & {"network_module", "network_dim", "network_args"}) and "model_family" not in keys or {"LoRA_type", "network_dim"} <= keys or {"max_resolution", "lr_scheduler", "bucket_reso_steps"} <= keys


def translate(data: Mapping[str, Any]) -> Reading:
    """The sections of sd-scripts' TOML only order it: a key means the same in each."""
    values: dict[str, Any] = {}
    for key, value in flat(data, ("sample_prompts", "prompt")).items():
        values[key if key.startswith(("datasets", "prompt")) else key.rpartition(".")[2]] = value
    reading = Reading(TITLE, values)
    if "network_dim" in values or "network_module" in values:
        reading.presume(DEFAULTS)
    elif "lr_scheduler" in values:
        reading.left["(no network)"] = ""
        reading.leave("(no network)", "the whole base model learns there: choose ‘full’ as the kind of adapter for that, or stay with a LoRA")
    _pictures(reading)
    _base(reading)
    _adapter(reading)
    _rates(reading)
    _length(reading)
    _samples(reading)
    noise = (reading.get("multires_noise_iterations") or 0, reading.get("multires_noise_discount") or 0)
    if "multires_noise_discount" in reading.left:
        if all(noise):
            reading.convert("multires_noise_discount", "loss.noise_pyramid", number)
        else:
            reading.rest("multires_noise_discount", "off there: no levels are asked for")
    if reading.get("debiased_estimation_loss") is not None:
        on = switch(reading.get("debiased_estimation_loss"))
        reading.take("debiased_estimation_loss", "loss.weighting", "debiased") if on else reading.rest("debiased_estimation_loss", "off there")
    if reading.get("weighting_scheme") == "sigma_sqrt":
        reading.take("weighting_scheme", "loss.weighting", "sigma_sqrt")
    for key in [k for k in ("huber_c", "huber_schedule") if k in reading.left and reading.get("loss_type", "l2") == "l2"]:
        reading.rest(key, "off there: the loss is l2")
    if "keep_tokens" in reading.left and not switch(reading.get("shuffle_caption") or False):
        reading.rest("keep_tokens", "off there: captions are not shuffled")
    for key in [k for k in ("sample_every_n_steps", "save_every_n_steps", "seed", "noise_offset") if reading.get(k) in ("", 0, "0")]:
        reading.rest(key, "off or empty there")
    if reading.get("lr_scheduler_num_cycles") not in (None, "") and reading.settings.get("optimizer.schedule") != "cosine_restarts":
        reading.rest("lr_scheduler_num_cycles", "off there: the schedule has no restarts")
    if reading.get("lr_scheduler_power") not in (None, "") and reading.settings.get("optimizer.schedule") != "polynomial":
        reading.rest("lr_scheduler_power", "off there: the schedule is not polynomial")
    reading.by(TABLE)
    return reading


def _pictures(reading: Reading) -> None:
    """A folder of folders 10_name word, or a datasets' file."""
    if folder := reading.get("train_data_dir") or reading.get("image_folder"):
        key = "train_data_dir" if reading.get("train_data_dir") else "image_folder"
        reading.datasets.append(Pictures(str(folder)))
        reading.leave(key, "listed below: choose it, or its folders with the number in their names as repeats, as the dataset to learn from")
    for key in ("train_data_dir", "image_folder"):
        if key in reading.left:
            reading.rest(key, "empty there")
    for n, dataset in enumerate(reading.left.pop("datasets", None) or ()):
        own = _own_sides(reading, n, dataset)
        for m, subset in enumerate(dataset.get("subsets", ())):
            at = f"datasets.{n}.subsets.{m}"
            reading.left |= {f"{at}.{k}": v for k, v in subset.items()}
            if folder := subset.get("image_dir") or subset.get("metadata_file"):
                repeats = int(subset.get("num_repeats", 1) or 1)
                reading.datasets.append(Pictures(str(folder), repeats, prior=bool(subset.get("is_reg", False)), **own))
                for key in ("image_dir", "metadata_file", "num_repeats", "is_reg"):
                    if key in subset:
                        reading.rest(f"{at}.{key}", "listed below, with its repeats")
            _of_a_subset(reading, at, subset)
        for key, value in dataset.items():
            if key == "subsets" or (key == "resolution" and own):
                continue
            reading.left.setdefault(key, value) if key not in reading.left else reading.left.update({f"datasets.{n}.{key}": value})
            if f"datasets.{n}.{key}" in reading.left:
                reading.leave(f"datasets.{n}.{key}", "it is one setting for all datasets here, and another dataset said it first")


def _own_sides(reading: Reading, n: int, dataset: Mapping[str, Any]) -> dict[str, Any]:
    """The sizes of one dataset, where another one said its own first."""
    size = dataset.get("resolution")
    if not size or "resolution" not in reading.left or _sides(size) == _sides(reading.left["resolution"]):
        return {}
    reading.left[f"datasets.{n}.resolution"] = size
    return reading.of_one(f"datasets.{n}.resolution", "resolutions", _sides)


def _of_a_subset(reading: Reading, at: str, subset: Mapping[str, Any]) -> None:
    for key in subset:
        name = f"{at}.{key}"
        if name not in reading.left:
            continue
        if key == "class_tokens":
            reading.leave(name, "words for pictures without a caption: the trigger word or a caption says it here")
        elif key in TABLE and key not in reading.left:
            reading.left[key] = reading.left.pop(name)  # one for all, the first that says it
        elif key in TABLE:
            reading.leave(name, "it is one setting for all datasets here, and another dataset said it first")


def _base(reading: Reading) -> None:
    """What kind of model: by its script's network module, by the GUI's switches, else by its name."""
    values = reading.left
    found = _MODULES.match(str(values.get("network_module", "")))
    kind = found[1] if found else next((kind for key, kind in _SWITCHES.items() if values.get(key) in (True, "true", "True")), "")
    if not kind and "sdxl" in values and "v2" in values:
        kind = "sd1"
    source = str(values.get("pretrained_model_name_or_path", "") or "")
    source = {"runwayml/stable-diffusion-v1-5": "stable-diffusion-v1-5/stable-diffusion-v1-5"}.get(source, source)
    if source or kind:
        key = "pretrained_model_name_or_path" if source else "sdxl"
        reading.base = Base(key, source, (kind,) if kind else ())
    for key in ("pretrained_model_name_or_path",):
        reading.left.pop(key, None) if source else (key in reading.left and reading.rest(key, "empty there"))  # type: ignore[func-returns-value]
    for key in _SWITCHES:
        if key in reading.left:
            reading.rest(key, "it says the kind of base model")


def _adapter(reading: Reading) -> None:
    """network_module and network_args, or the GUI's LoRA_type."""
    values = reading.left
    given = written(values.get("network_args") or "")
    algo = given.pop("algo", "")
    kind = str(values.get("LoRA_type", "") or algo or "").rpartition("/")[2].lower()
    key = "LoRA_type" if "LoRA_type" in values else "network_args"
    module = str(values.get("network_module", ""))
    known = {"standard": "lora", "flux1": "lora", "sd3": "lora", "kohya locon": "lora", "locon": "lora", "lora": "lora", "lokr": "lokr", "loha": "loha", "full": "full", "diag-oft": "oft", "kohya dylora": ""}
    if "network_args" in values:
        reading.left |= {f"network_args.{k}": v for k, v in given.items()}
        reading.rest("network_args", "its parts are read one by one")
    if kind and known.get(kind):
        chosen = "dora" if known[kind] == "lora" and True in (values.get("dora_wd"), given.get("dora_wd")) else known[kind]
        if key in reading.left:
            reading.take(key, "adapter.type", chosen)
        else:
            reading.settings["adapter.type"] = chosen
            reading.left["network_args.algo"] = kind
            reading.take("network_args.algo", "adapter.type", chosen)
    elif kind and key in reading.left:
        reading.leave(key, f"{kind} is no adapter of Easel; the preset's own stays")
    if module:
        known_module = module.startswith(("networks.lora", "networks.oft", "lycoris."))
        (reading.rest if known_module else reading.leave)("network_module", "as here" if known_module else f"{module} is no adapter of Easel; the preset's own stays")
        if known_module and not kind:
            reading.settings.setdefault("adapter.type", "oft" if "oft" in module else "lora")
    lora = reading.settings.get("adapter.type", "lora") in ("lora", "dora")
    convolutions = kind in ("kohya locon", "locon", "lokr", "loha") or "conv_dim" in given
    for name in ("conv_dim", "network_args.conv_dim"):
        if name in reading.left:
            on = convolutions and reading.get(name) not in (0, "", None)
            reading.take(name, "adapter.targets", "all") if on else reading.rest(name, "off there: no convolutions learn")
    for name in ("network_args.conv_alpha", "conv_alpha"):
        if name in reading.left and not convolutions:
            reading.rest(name, "off there: no convolutions learn")
    for name in ("dora_wd", "network_args.dora_wd"):
        if name in reading.left:
            on = switch(reading.get(name) or False)
            reading.rest(name, "as taken" if on and lora else "off there") if not on or lora else reading.leave(name, "only LoRA splits direction and size here")
    for name in ("factor", "network_args.factor"):
        if name in reading.left:
            lokr = reading.settings.get("adapter.type") == "lokr"
            reading.convert(name, "adapter.factor", whole) if lokr else reading.rest(name, "only LoKr has a factor")
    for name in [k for k in reading.left if k.startswith("network_args.")]:
        inner = name.removeprefix("network_args.")
        rule = TABLE.get(inner)
        reading.leave(name, rule.text if isinstance(rule, Why) else "Easel's adapter has no such part")


def _rates(reading: Reading) -> None:
    """Optimizer, learning rates and schedule."""
    values = reading.left
    kind = next((k for k in ("optimizer_type", "optimizer") if k in values), "")
    if kind:
        reading.convert(kind, "optimizer.type", optimizer)
    given = written(values.get("optimizer_args") or "")
    if "optimizer_args" in values:
        reading.rest("optimizer_args", "its parts are read one by one" if given else "empty there")
        options(reading, "optimizer_args", given)
    unet, general = values.get("unet_lr"), values.get("learning_rate")
    if unet not in (None, "", 0, 0.0):
        reading.convert("unet_lr", "optimizer.learning_rate", number)
        if "learning_rate" in reading.left:
            reading.rest("learning_rate", "unet_lr goes before it there")
    else:
        if "unet_lr" in reading.left:
            reading.rest("unet_lr", "off or empty there")
        if general not in (None, ""):
            reading.convert("learning_rate", "optimizer.learning_rate", number)
    only_unet = bool(values.get("network_train_unet_only"))
    if "network_train_unet_only" in reading.left:
        reading.take("network_train_unet_only", "adapter.text_encoder", not only_unet)
    for key in ("text_encoder_lr", "text_lr"):
        if key in reading.left:
            rates = [number(v) for v in (values[key] if isinstance(values[key], list) else [values[key]]) if v not in (None, "")]
            if not rates or not any(rates) or only_unet:
                reading.rest(key, "off or empty there")
                reading.settings.setdefault("adapter.text_encoder", False)
            else:
                reading.take(key, "adapter.text_learning_rate", rates[0])
                reading.settings["adapter.text_encoder"] = True
    if "lr_scheduler" in reading.left:
        flat_out = str(reading.get("lr_scheduler")) == "constant"
        reading.convert("lr_scheduler", "optimizer.schedule", schedule)
        for key in ("lr_warmup_steps", "lr_warmup"):
            if key in reading.left and (flat_out or reading.get(key) in (0, "", None, 0.0, "0")):
                reading.rest(key, "no warm-up there: its constant schedule has none" if reading.get(key) else "off there")


def _length(reading: Reading) -> None:
    """Steps, or epochs, and the warm-up in steps, as a share, or in percent (GUI)."""
    epochs = next((k for k in ("max_train_epochs", "epoch", "epochs") if reading.get(k) not in (None, "", 0, "0")), "")
    steps = reading.get("max_train_steps")
    if epochs == "epoch" and steps not in (None, "", 0, "0"):
        epochs = ""  # the GUI's epoch gives way to its steps
    if epochs:
        reading.convert(epochs, "epochs", number)
    elif steps not in (None, "", 0, "0"):
        reading.convert("max_train_steps", "steps", whole)
    for key in ("max_train_epochs", "epoch", "epochs", "max_train_steps"):
        if key in reading.left:
            reading.rest(key, "another key says how long it trains")
    total = reading.settings.get("steps")
    for key in ("lr_warmup_steps", "lr_warmup"):
        if key in reading.left:
            warmup = number(reading.get(key))
            share = warmup / 100 if key == "lr_warmup" else warmup if 0 < warmup < 1 else None
            if share is None:
                reading.convert(key, "optimizer.warmup_steps", whole)
            elif total:
                reading.take(key, "optimizer.warmup_steps", round(share * total))
            else:
                reading.leave(key, f"it is {share:.0%} of the steps, whose number is only known with the pictures; type it under ‘Warm-up steps’")


def _samples(reading: Reading) -> None:
    """Prompts that stand in the file; their --n --w --h --d --l --s mean the same here."""
    prompts = reading.get("sample_prompts")
    if isinstance(prompts, str) and prompts.strip():
        if re.fullmatch(r"\S+\.(txt|toml|json)", prompts.strip()):
            reading.leave("sample_prompts", "the prompts are in that file; paste its lines under ‘Sample prompts’, their options mean the same")
        else:
            lines = [line.strip() for line in prompts.splitlines() if line.strip() and not line.startswith("#")]
            reading.take("sample_prompts", "sample.prompts", lines[:16])
    elif "sample_prompts" in reading.left and not prompts:
        reading.rest("sample_prompts", "empty there")
