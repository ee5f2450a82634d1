"""OneTrainer: a JSON config or preset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..data.folders import proportions
from ..data.formats import onetrainer as lists
from ..plan.translating import (
    Base,
    Differs,
    Pictures,
    Reading,
    Rule,
    Same,
    Why,
    checkpointing,
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

TITLE = "OneTrainer"
BESIDE = {"concept_file_name": "concepts", "sample_definition_file_name": "samples"}  # keys that name a file -> the key that its list stands for
# what the program takes where the file is silent, of what matters to the result
DEFAULTS = {"lora_rank": 16, "lora_alpha": 1.0, "learning_rate_scheduler": "CONSTANT", "learning_rate_warmup_steps": 200, "epochs": 100, "batch_size": 1, "timestep_shift": 1.0, "timestep_distribution": "UNIFORM"}

_MACHINE = Same("it says how the program runs on its machine, and changes nothing of what is learnt")
_PLACE = Same("every run of Easel has a folder of its own, with everything in it")
_AUTO = Same("Easel does that by itself")
_PART = Why("that part of the program has no equal here")
_EMBED = Why("Easel trains no embeddings", ())
_PUBLISH = Why("Easel hands job files to other machines in its own way", ())


def _law(value: Any) -> str:
    names = {"UNIFORM": "uniform", "LOGIT_NORMAL": "logit_normal", "COS_MAP": "cosmap"}
    if value not in names:
        raise Differs(f"there is no timestep law like {value!r} here; choose one under ‘Timestep law’")
    return names[value]


def _dtype(value: Any) -> str:
    names = {"BFLOAT_16": "bf16", "FLOAT_16": "fp16", "FLOAT_32": "fp32", "TFLOAT_32": "fp32"}
    if value not in names:
        raise Differs(f"there is no number format {value!r} here; there are fp32, bf16 and fp16")
    return names[value]


def _bits(value: Any) -> str:
    names = {"FLOAT_8": "fp8", "INT_8": "int8", "NFLOAT_4": "nf4", "FLOAT_16": "none", "BFLOAT_16": "none", "FLOAT_32": "none", "TFLOAT_32": "none", "NONE": "none"}
    if value not in names:
        raise Differs("Easel quantises weights to int8, fp8 or nf4, and not what is computed with them")
    return names[value]


def _every(unit: Any):
    """Steps where the unit is steps.  Raises Differs for any other."""

    def convert(value: Any) -> int:
        if unit == "NEVER":
            return 0
        if unit != "STEP":
            raise Differs(f"it is counted in {str(unit).lower()}s there and in steps here")
        return whole(value)

    return convert


def _no_part(value: Any) -> Any:
    raise Differs("it belongs to a part that Easel does not train")


TABLE: dict[str, Rule] = {
    "resolution": ("data.resolutions", lambda v: sides([s for s in str(v).replace(" ", "").split(",")] if "," in str(v) else v)), "batch_size": ("data.batch_size", whole), "aspect_ratio_bucketing": ("data.aspect_buckets", switch), "epochs": ("epochs", number), "frames": ("data.frames", whole),
    "learning_rate": ("optimizer.learning_rate", number), "learning_rate_cycles": ("optimizer.schedule_cycles", whole), "learning_rate_min_factor": ("optimizer.schedule_end", number), "gradient_accumulation_steps": ("optimizer.accumulation", whole),
    "clip_grad_norm": ("optimizer.clip_grad", number), "lora_rank": ("adapter.rank", whole), "lora_alpha": ("adapter.alpha", number), "dropout_probability": ("adapter.dropout", number), "lora_model_name": "adapter.start_from", "oft_block_size": ("adapter.block_size", whole),
    "lokr_dim": ("adapter.rank", whole), "lokr_decompose_factor": ("adapter.factor", whole), "train_dtype": ("model.dtype", _dtype), "offset_noise_weight": ("loss.noise_offset", number), "min_noising_strength": ("loss.timestep_min", number), "max_noising_strength": ("loss.timestep_max", number),
    "timestep_distribution": ("loss.timestep_law", _law), "masked_training": ("loss.masked", switch), "unmasked_weight": ("loss.unmasked_weight", number), "seed": ("seed", whole), "layer_filter": Why("‘Include’ takes texts of Easel's own layer names", ()), "layer_filter_regex": _AUTO, "layer_filter_preset": ("adapter.targets", lambda v: _targets(v)),
    "frames_": _AUTO, "training_method": Why("it makes a LoRA or one of its kin here", ("LORA",)), "huber_delta": ("loss.huber_delta", number), "text_encoder_layer_skip": Why("the base model's own text encoding is used"), "text_encoder_2_layer_skip": Why("the base model's own text encoding is used"),
    "mae_strength": _PART, "log_cosh_strength": _PART, "vb_loss_strength": Why("there is no such loss here", (1, 1.0, 0, 0.0)), "perturbation_noise_weight": _PART, "generalized_offset_noise": _PART, "rescale_noise_scheduler_to_zero_terminal_snr": ("model.zero_terminal_snr", lambda v: "on" if switch(v) else "auto"),
    "force_v_prediction": Why("‘What the base model predicts’ says it here"), "force_epsilon_prediction": Why("‘What the base model predicts’ says it here"), "force_circular_padding": _PART, "learning_rate_scaler": Why("the learning rate is used as it is typed", ("NONE", None)), "custom_learning_rate_scheduler": _PART, "scheduler_params": _PART,
    "loss_scaler": Why("losses are not scaled by the batch here", ("NONE", None)), "ema_update_step_interval": Why("the average is taken at every step here", (1,)), "unmasked_probability": Why("masks hold at every step here", (0, 0.0)), "normalize_masked_area_loss": Why("a picture's loss is the weighted mean here, whatever its mask", ()),
    "masked_prior_preservation_weight": Why("‘Keep what the base model knows’ is the way here"), "custom_conditioning_image": _PART, "validation": Why("‘Pictures held out’ does it here"), "validate_after": _AUTO, "validate_after_unit": _AUTO, "lora_decompose": _AUTO, "lora_decompose_norm_epsilon": _AUTO, "lora_decompose_output_axis": _PART,
    "oft_block_share": _PART, "oft_scaled": _PART, "lokr_decompose_both": _PART, "lokr_use_tucker": _PART, "lokr_weight_decompose": _PART, "lokr_dora_on_output": _AUTO, "lokr_full_matrix": _PART, "lokr_vec_trick": _AUTO, "concept_file_name": Why("its pictures are listed in that file, which is not here; choose the dataset, or import that list with its pictures"),
    "sample_definition_file_name": Why("its samples are in that file, which is not here; paste the prompts under ‘Sample prompts’"), "include_train_config": _AUTO, "output_model_format": Why("Easel writes .safetensors; Export makes other layouts", ()), "output_dtype": Why("Easel writes the adapter in fp32", ("FLOAT_32",)), "lora_weight_dtype": Why("the adapter is always fp32 here", ("FLOAT_32",)),
    "weight_dtype": Why("each part's own format says it", ()), "compile": _MACHINE, "text_encoder_sequence_length": Same("captions are read as far as the base model's encoder does"), "text_encoder_2_sequence_length": Same("captions are read as far as the base model's encoder does"), "rolling_backup": _AUTO, "rolling_backup_count": ("save.keep", whole),
    "sample_skip_first": Why("samples begin before the first step here"), "save_skip_first": Why("checkpoints begin with the first here"), "non_ema_sampling": Why("samples are drawn with the average where there is one"), "mse_strength": Why("the loss is the square or huber here", (1, 1.0)), "noising_bias": ("loss.timestep_mean", number),
    **dict.fromkeys(("debug_mode", "offline_mode", "tensorboard", "tensorboard_expose", "tensorboard_always_on", "tensorboard_port", "multi_gpu", "device_indexes", "gradient_reduce_precision", "fused_gradient_reduce", "async_gradient_reduce", "async_gradient_reduce_buffer", "async_offloading", "dataloader_threads", "train_device", "temp_device",
        "fallback_train_dtype", "enable_autocast_cache", "attention_mechanism", "enable_async_offloading", "enable_activation_offloading", "weight_dtypes"), _MACHINE),
    **dict.fromkeys(("debug_dir", "workspace_dir", "cache_dir", "huggingface_cache_dir", "continue_last_backup", "prevent_overwrites", "output_model_destination", "save_filename_prefix"), _PLACE),
    **dict.fromkeys(("latent_caching", "clear_cache_before_training", "only_cache", "samples_to_tensorboard", "sample_image_format", "sample_video_format", "sample_audio_format", "backup_before_save", "bundle_additional_embeddings", "optimizer_defaults"), _AUTO),
    **dict.fromkeys(("embedding_learning_rate", "preserve_embedding_norm", "embedding_weight_dtype", "additional_embeddings", "embedding"), _EMBED), "cloud": _PUBLISH, "__version": Same("it only says what kind of file this is"), "version": _AUTO,
}  # fmt: skip
_PARTS = ("unet", "transformer", "prior", "unconditional_transformer", "text_encoder", "text_encoder_2", "text_encoder_3", "text_encoder_4", "vae", "effnet_encoder", "decoder", "decoder_text_encoder", "decoder_vqgan")


def _targets(value: Any) -> str:
    names = {"attn-only": "attention", "attn-mlp": "attention+ff", "full": "all", "blocks": "attention+ff"}
    if value not in names:
        raise Differs(f"there is no group of layers {value!r} here; choose under ‘Layers that learn’")
    return names[value]


def recognises(data: Mapping[str, Any]) -> bool:
    """A config that names a training method and a kind of model in this program's way."""
    return {"training_method", "model_type"} <= set(data) and str(data["model_type"]).isupper()


def translate(data: Mapping[str, Any]) -> Reading:
    """A preset holds only what differs from the program's defaults, so those that matter are filled in."""
    reading = Reading(TITLE, {k: v for k, v in flat(data, ("optimizer_defaults", "cloud", "embedding")).items()})
    reading.presume(DEFAULTS)
    reading.base = Base("base_model_name", str(reading.left.pop("base_model_name", "") or ""), (str(data["model_type"]),))
    reading.rest("model_type", "it says the kind of base model")
    _adapter(reading)
    _optimizer(reading)
    _parts(reading)
    _loss(reading)
    _times(reading)
    for key, list_key in BESIDE.items():
        if reading.get(key) and reading.get(list_key):
            reading.rest(key, "the list in it is read along with this file")
    _concepts(reading, reading.left.pop("concepts", None) or ())
    if samples := [s for s in reading.get("samples") or () if isinstance(s, Mapping) and s.get("enabled", True)]:
        said = {"width": "w", "height": "h", "seed": "d", "cfg_scale": "l", "diffusion_steps": "s", "negative_prompt": "n"}
        reading.take("samples", "sample.prompts", [prompt_with({**s, "seed": None if s.get("random_seed") else s.get("seed")}, said) for s in samples][:16])
    elif "samples" in reading.left:
        reading.rest("samples", "empty there")
    for key in [k for k in reading.left if k.startswith(("quantization.", "secrets."))]:
        reading.rest(key, "the whole denoiser's blocks are quantised, or none, here")
    reading.by(TABLE)
    return reading


def _adapter(reading: Reading) -> None:
    kind = str(reading.get("peft_type") or "LORA")
    ours = {"LORA": "dora" if reading.get("lora_decompose") else "lora", "LOHA": "loha", "LOKR": "lokr", "OFT_2": "oft"}.get(kind)
    if "peft_type" in reading.left:
        reading.take("peft_type", "adapter.type", ours) if ours else reading.leave("peft_type", f"{kind} is no adapter of Easel; the preset's own stays")
    elif ours:
        reading.settings["adapter.type"] = ours
    if reading.get("training_method") != "LORA":
        reading.leave("training_method", "only its LoRA trainings are read; what follows may not fit")
    other = {"LOKR": ("lora_rank",), "OFT_2": ("lora_rank", "lora_alpha")}.get(kind, ())
    for key in [k for k in reading.left if k in other or (k.startswith("lokr_") and kind != "LOKR") or (k.startswith("oft_") and kind != "OFT_2")]:
        reading.rest(key, "it belongs to another kind of adapter than the chosen one")


def _optimizer(reading: Reading) -> None:
    if "optimizer" in reading.left:
        reading.convert("optimizer", "optimizer.type", optimizer)
    if "optimizer.optimizer" in reading.left:
        reading.convert("optimizer.optimizer", "optimizer.type", optimizer)
    given = {k.removeprefix("optimizer."): v for k, v in reading.left.items() if k.startswith("optimizer.")}
    betas = [given.pop(f"beta{n}", None) for n in (1, 2)]
    for key, value in [(k, v) for k, v in given.items() if v is None or v is False or isinstance(v, dict)]:
        reading.rest(f"optimizer.{key}", "off or empty there")
        given.pop(key)
    for key in ("fused", "stochastic_rounding"):
        if key in given:
            reading.rest(f"optimizer.{key}", "it says how the program computes; the adapter is fp32 here")
            given.pop(key)
    options(reading, "optimizer", given)
    for n, beta in enumerate(betas, 1):
        if f"optimizer.beta{n}" not in reading.left:
            continue
        if beta is None or None in betas:
            reading.rest(f"optimizer.beta{n}", "the optimizer's own")
        elif n == 1:
            reading.take("optimizer.beta1", "optimizer.betas", [number(b) for b in betas])
        else:
            reading.rest("optimizer.beta2", "taken over with beta1")
    if "learning_rate_scheduler" in reading.left:
        reading.convert("learning_rate_scheduler", "optimizer.schedule", schedule)
    if reading.settings.get("optimizer.schedule") != "cosine_restarts" and "learning_rate_cycles" in reading.left:
        reading.rest("learning_rate_cycles", "the schedule has no restarts")
    warm = reading.get("learning_rate_warmup_steps")
    if warm is not None:
        if 0 < number(warm) <= 1:
            reading.leave("learning_rate_warmup_steps", f"it is {number(warm):.0%} of the steps there; type their number under ‘Warm-up steps’")
        else:
            reading.convert("learning_rate_warmup_steps", "optimizer.warmup_steps", whole)


def _parts(reading: Reading) -> None:
    """unet or transformer is the denoiser; the text encoders, the VAE and others have the same keys each."""
    for key in list(reading.left):
        part, _, name = key.partition(".")
        if part not in _PARTS or not name:
            continue
        value, denoiser, text = reading.left[key], part in ("unet", "transformer"), part.startswith("text_encoder")
        if value in (None, "", "NONE") or (value is False and name != "train"):
            reading.rest(key, "off or empty there")
        elif name == "weight_dtype" and denoiser:
            reading.convert(key, "model.quantise", _bits)
        elif name == "weight_dtype" and part == "text_encoder":
            reading.convert(key, "model.quantise_text", _bits)
        elif name == "train" and denoiser:
            reading.rest(key, "the denoiser always learns here") if value else reading.leave(key, "the denoiser always learns here")
        elif name == "train" and part == "text_encoder":
            reading.take(key, "adapter.text_encoder", bool(value))
        elif name == "train" and not value:
            reading.rest(key, "off there")
        elif name == "learning_rate" and denoiser:
            reading.settings["optimizer.learning_rate"] = number(value)
            reading.take(key, "optimizer.learning_rate", number(value))
            if "learning_rate" in reading.left:
                reading.rest("learning_rate", "the denoiser's own goes before it")
        elif name == "learning_rate" and part == "text_encoder":
            reading.convert(key, "adapter.text_learning_rate", number)
        elif name == "gradient_checkpointing" and denoiser:
            reading.convert(key, "loss.gradient_checkpointing", checkpointing)
        elif name == "offload_fraction" and denoiser:
            reading.convert(key, "model.offload", number)
        elif name == "dropout_probability" and part == "text_encoder":
            reading.convert(key, "data.caption_dropout", number)
        elif name in ("include", "attention_mask", "activation_offloading", "train_embedding", "offload_fraction", "gradient_checkpointing", "stop_training_after_unit", "weight_dtype"):
            reading.rest(key, "how the program keeps that part in memory; nothing of what is learnt")
        elif name == "guidance_scale" and denoiser:
            reading.rest(key, "the guidance that the model is trained at is the family's own")
        else:
            reading.leave(key, "that part comes from the base model's own folder" if name == "model_name" else "one setting for all text encoders here" if text else "that part of the program has no equal here")


def _loss(reading: Reading) -> None:
    kind, strength = reading.get("loss_weight_fn"), reading.get("loss_weight_strength", 5.0)
    if kind == "MIN_SNR_GAMMA":
        reading.take("loss_weight_fn", "loss.min_snr_gamma", number(strength))
    elif kind == "DEBIASED_ESTIMATION":
        reading.take("loss_weight_fn", "loss.weighting", "debiased")
    elif kind in (None, "CONSTANT"):
        "loss_weight_fn" in reading.left and reading.rest("loss_weight_fn", "as here: every noise level counts the same")  # type: ignore[func-returns-value]
    else:
        reading.leave("loss_weight_fn", f"there is no weighting {kind} here; choose one under ‘Weighting’")
    if "loss_weight_strength" in reading.left:
        reading.rest("loss_weight_strength", "taken over with its function" if kind == "MIN_SNR_GAMMA" else "its function is not one that Easel has, or has no strength")
    if "huber_strength" in reading.left:
        on, square = number(reading.get("huber_strength") or 0), number(reading.get("mse_strength", 1.0) or 0)
        if on and square:
            reading.leave("huber_strength", "the loss is either the square or huber here; choose under ‘Loss’")
        else:
            reading.take("huber_strength", "loss.type", "huber" if on else "mse")
    if "huber_delta" in reading.left and reading.settings.get("loss.type", "mse") == "mse":
        reading.rest("huber_delta", "off there: no huber loss")
    law = reading.get("timestep_distribution")
    if "noising_weight" in reading.left:
        if law == "LOGIT_NORMAL":
            reading.take("noising_weight", "loss.timestep_std", number(reading.get("noising_weight")) + 1)  # its normal law has the spread 1 + weight
        else:
            zero = not reading.get("noising_weight")
            (reading.rest if zero else reading.leave)("noising_weight", "off there" if zero else "it belongs to its timestep law, which is not one that Easel has")
    if "noising_bias" in reading.left and law != "LOGIT_NORMAL":
        reading.rest("noising_bias", "it belongs to another timestep law")
    if reading.get("dynamic_timestep_shifting"):
        reading.take("dynamic_timestep_shifting", "loss.timestep_shift", 0.0)
    if "dynamic_timestep_shifting" in reading.left:
        reading.rest("dynamic_timestep_shifting", "off there")
    if "timestep_shift" in reading.left:
        if "loss.timestep_shift" in reading.settings:
            reading.rest("timestep_shift", "it follows from the picture's size")
        else:
            reading.convert("timestep_shift", "loss.timestep_shift", number)
    if "ema" in reading.left:
        on = reading.get("ema") != "OFF"
        reading.take("ema", "loss.ema_decay", number(reading.get("ema_decay", 0.999)) if on else 0.0)
    if "ema_decay" in reading.left:
        reading.rest("ema_decay", "taken over with the average, if it is on")
    if reading.get("frames") is not None and "VIDEO" not in str(reading.base.names[0]):  # type: ignore[union-attr]
        reading.rest("frames", "pictures have one")


def _times(reading: Reading) -> None:
    for key, path in (("sample_after", "sample.every"), ("save_every", "save.every")):
        unit = reading.get(f"{key}_unit", "MINUTE" if key == "sample_after" else "NEVER")
        if key in reading.left:
            reading.convert(key, path, _every(unit)) if unit != "NEVER" else reading.rest(key, "off there")
        if f"{key}_unit" in reading.left:
            reading.rest(f"{key}_unit", "its unit")
    if "backup_after" in reading.left:
        unit = reading.get("backup_after_unit", "MINUTE")
        minutes = {"MINUTE": 1, "HOUR": 60, "SECOND": 1 / 60}.get(unit)
        if minutes:
            reading.take("backup_after", "save.every_minutes", number(reading.get("backup_after")) * minutes)
        else:
            reading.leave("backup_after", f"it is counted in {str(unit).lower()}s there; ‘Checkpoint every’ says it here")
    if "backup_after_unit" in reading.left:
        reading.rest("backup_after_unit", "its unit")


def _concepts(reading: Reading, found: Sequence[Mapping[str, Any]]) -> None:
    """The folders that are learnt or kept, each with its repeats; where one has a part of a repeat, whole numbers in the same proportions."""
    learnt = [n for n, one in enumerate(found) if one.get("enabled", True) and one.get("path") and lists.kind(one) != "VALIDATION"]
    wished = [lists.counts(found[n])[0] for n in learnt]
    repeats = dict(zip(learnt, [int(w) for w in wished] if all(w >= 1 and w == int(w) for w in wished) else proportions(wished), strict=True))
    for n, one in enumerate(found):
        _concept(reading, n, one, repeats.get(n, 0))


def _own_sides(reading: Reading, at: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The sizes of one concept, where it has its own."""
    on, sizes = f"{at}.image.enable_resolution_override", f"{at}.image.resolution_override"
    if not values.get(on) or not values.get(sizes):
        return {}
    own = reading.of_one(sizes, "resolutions", lambda v: sides([s for s in str(v).split(",") if s.strip()]))
    if own:
        reading.rest(on, "listed below")
    return own


def _concept(reading: Reading, n: int, concept: Mapping[str, Any], repeats: int) -> None:
    """A folder with what is done to its pictures; what holds for all of them here is taken from the first that is used.  repeats 0: it is not learnt."""
    at = f"concepts.{n}"
    values = {f"{at}.{k}": v for k, v in flat(concept).items()}
    reading.left |= values
    used, held = concept.get("enabled", True), lists.kind(concept) == "VALIDATION"
    if repeats:
        prior, below = lists.kind(concept) == "PRIOR_PREDICTION", bool(concept.get("include_subdirectories"))
        own = _own_sides(reading, at, values)
        reading.datasets.append(Pictures(str(concept["path"]), repeats, number(concept.get("loss_weight", 1.0) or 1.0), prior, below, **own))
    table: dict[str, Rule] = {
        "image.enable_random_flip": ("data.flip", switch), "text.enable_tag_shuffling": ("data.shuffle_tags", switch), "text.keep_tags_count": ("data.keep_tags", whole),
    }  # fmt: skip
    for key, value in values.items():
        inner = key.removeprefix(f"{at}.")
        if key not in reading.left:
            continue  # listed with the folder
        rule = table.get(inner)
        if not used:
            reading.rest(key, "this concept is switched off there")
        elif held and inner == "path":
            reading.leave(key, "its pictures only measure the training there; ‘Pictures held out’ does that here")
        elif held:
            reading.rest(key, "it belongs to pictures that only measure the training there")
        elif inner == "balancing" and lists.counts(concept)[1]:
            reading.leave(key, "it is the number of this folder's pictures in an epoch there; set the dataset's repeats here")
        elif inner == "text.prompt_source" and value not in ("sample", "", None):
            reading.leave(key, "captions of a folder that is used in place are the .txt files beside its pictures; import it with its concepts.json on the Dataset tab, which reads that")
        elif inner in ("path", "balancing", "repeats", "loss_weight", "type", "enabled", "name", "balancing_strategy", "seed", "include_subdirectories", "validation_concept", "concept_stats") or inner.startswith("concept_stats."):
            reading.rest(key, "listed below")
        elif rule and rule[0] not in reading.settings:  # type: ignore[index]
            reading.by({key: rule})
        elif not value or value == 1 or isinstance(value, dict) or inner.endswith(("_mode", "_delimiter", "prompt_source", "prompt_path", "_strength", "_angle", "resolution_override")):
            reading.rest(key, "off there, or the usual")
        else:
            reading.leave(key, f"pictures and captions of one concept are not changed like that here ({shown(value)})")
