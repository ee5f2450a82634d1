"""diffusion-pipe: the TOML of a training, and that of its pictures."""

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
    schedule,
    shown,
    sides,
    switch,
    whole,
)

TITLE = "diffusion-pipe"
# what the program takes where the file is silent, of what matters to the result
DEFAULTS = {"lr_scheduler": "constant", "gradient_clipping": 1.0}

_MACHINE = Same("it says how the program runs on its machine, and changes nothing of what is learnt")
_PARTS = Why("Easel takes these parts from the base model's own folder, in diffusers' layout", ())
_EPOCHS = Why("Easel counts steps here, and how many an epoch has is only known with the pictures")
_EVAL = Why("‘Pictures held out’ and ‘Validate every’ do it here")
_LOGS = Same("Easel shows the loss by itself, and elsewhere only where trackers says so")
_PART = Why("that part of the program has no equal here")


def _law(value: Any) -> str:
    if value not in ("logit_normal", "uniform"):
        raise Differs(f"there is no timestep law {shown(value)!r} here")
    return value


def _bits(value: Any) -> str:
    if str(value) in ("float8", "float8_e4m3fn", "float8_e5m2"):
        return "fp8"
    if str(value) in ("bfloat16", "float16", "float32"):
        return "none"
    raise Differs(f"there is no {shown(value)!r} here; base weights can be int8, fp8 or nf4")


def _sides(value: Any) -> list[int]:
    made = []
    for one in value if isinstance(value, list) else [value]:
        made += sides(f"{one[0]}x{one[1]}") if isinstance(one, list) else sides(one)
    return sorted(set(made))


TABLE: dict[str, Rule] = {
    "epochs": ("epochs", number), "max_steps": ("steps", whole), "micro_batch_size_per_gpu": ("data.batch_size", whole), "gradient_accumulation_steps": ("optimizer.accumulation", whole), "gradient_clipping": ("optimizer.clip_grad", number),
    "warmup_steps": ("optimizer.warmup_steps", whole), "lr_scheduler": ("optimizer.schedule", schedule), "force_constant_lr": ("optimizer.learning_rate", number), "pseudo_huber_c": ("loss.huber_delta", number), "activation_checkpointing": ("loss.gradient_checkpointing", checkpointing),
    "save_every_n_steps": ("save.every", whole), "checkpoint_every_n_minutes": ("save.every_minutes", number), "eval_every_n_steps": ("save.validate_every", whole), "uncond_fraction": ("data.caption_dropout", number),
    "adapter.rank": ("adapter.rank", whole), "adapter.dropout": ("adapter.dropout", number), "adapter.init_from_existing": "adapter.start_from", "adapter.decompose_factor": ("adapter.factor", whole), "adapter.exclude_linear_modules": "adapter.exclude", "adapter.alpha": ("adapter.alpha", number),
    "adapter.dtype": Why("the adapter is always fp32 here", ("float32",)), "adapter.fuse_adapters": _PART, "model.dtype": ("model.dtype", dtype), "model.transformer_dtype": ("model.quantise", _bits), "model.diffusion_model_dtype": ("model.quantise", _bits), "model.timestep_sample_method": ("loss.timestep_law", _law),
    "model.sigmoid_scale": ("loss.timestep_std", number), "model.shift": ("loss.timestep_shift", number), "model.min_snr_gamma": ("loss.min_snr_gamma", number), "model.min_t": ("loss.timestep_min", number), "model.max_t": ("loss.timestep_max", number), "model.unet_lr": ("optimizer.learning_rate", number),
    "model.flux_shift": ("loss.timestep_shift", lambda v: _dynamic(v)), "model.lumina_shift": ("loss.timestep_shift", lambda v: _dynamic(v)), "model.text_encoder_1_lr": ("adapter.text_learning_rate", number), "model.text_encoder_2_lr": Why("one learning rate for all text encoders here; ‘Other learning rates’ changes one of them"),
    "model.merge_adapters": ("model.training_adapter", lambda v: v[0] if isinstance(v, list) else v), "model.v_pred": ("model.prediction", lambda v: "v_prediction" if switch(v) else "auto"), "model.debiased_estimation_loss": ("loss.weighting", lambda v: "debiased" if v else "none"), "model.cache_text_embeddings": Why("captions are encoded once here", (True,)),
    "model.guidance": Why("the guidance that the model is trained at is the family's own", ()), "model.bypass_guidance_embedding": Why("the family's own way is used"), "model.max_sequence_length": Same("captions are read as far as the base model's encoder does"), "model.llm_adapter_lr": _PART, "model.gradient_release": _MACHINE,
    "blocks_to_swap": Why("‘Offload’ is a share of all blocks here: type it there"), "image_micro_batch_size_per_gpu": Why("pictures and clips have one batch size here"), "dataset": Why("the pictures are in another file; drop that one too, or choose the dataset here"), "eval_datasets": _EVAL, "output_dir": Why("every run of Easel has a folder of its own", ()),
    "video_clip_mode": Why("‘Segments’ says how many clips are cut out of one here", ()), "save_dtype": Why("Easel writes the adapter in fp32", ("float32",)), "x_axis_examples": _LOGS, "steps_per_print": _LOGS, "logging_steps": _LOGS,
    **dict.fromkeys(("save_every_n_epochs", "checkpoint_every_n_epochs", "eval_every_n_epochs", "save_every_n_examples", "eval_every_n_examples"), _EPOCHS),
    **dict.fromkeys(("eval_before_first_step", "eval_micro_batch_size_per_gpu", "image_eval_micro_batch_size_per_gpu", "eval_gradient_accumulation_steps", "disable_block_swap_for_eval"), Why("the validation loss is measured by itself here", ())),
    **dict.fromkeys(("pipeline_stages", "partition_method", "partition_split", "caching_batch_size", "map_num_proc", "compile", "reentrant_activation_checkpointing", "reset_optimizer_params"), _MACHINE),
    **dict.fromkeys(("monitoring.enable_wandb", "monitoring.wandb_tracker_name", "monitoring.wandb_run_name"), _LOGS),
    **{f"model.{n}": _PARTS for n in ("vae", "vae_path", "llm_path", "clip_path", "text_encoder", "text_encoders", "text_encoder_path", "byt5_path", "audio_vae", "llama3_path")}, "model.llama3_4bit": _MACHINE,
    # of the pictures' file
    "resolutions": ("data.resolutions", _sides), "enable_ar_bucket": ("data.aspect_buckets", switch), "max_ar": ("data.max_aspect", number), "min_ar": Why("the shortest is as far from a square as the longest here", ()), "num_ar_buckets": Why("Easel has a bucket for each shape that divides", ()),
    "ar_buckets": Why("Easel has a bucket for each shape that divides"), "frame_buckets": ("data.frames", lambda v: max(whole(x) for x in v)), "cache_shuffle_num": ("data.shuffle_tags", lambda v: whole(v) > 0), "shuffle_tags": ("data.shuffle_tags", switch), "cache_shuffle_delimiter": Why("tags stand between commas here", (", ", ",")),
    "num_repeats": Same("listed below, beside each folder"), "caption_prefix": Why("captions are learnt as they stand; the Captions tab can put words in front of all"), "skip_empty_caption": Why("a picture without a caption is learnt with the trigger word alone here", ()), "size_buckets": Why("Easel has a bucket for each shape that divides"),
}  # fmt: skip


def _dynamic(value: Any) -> float:
    if not value:
        raise Differs("off there")
    return 0.0  # ours for: what the base model's own scheduler says, which grows with the picture


def recognises(data: Mapping[str, Any]) -> bool:
    """A training with a model's type and a micro batch, or a list of directories with resolutions."""
    model = data.get("model")
    training = isinstance(model, Mapping) and "type" in model and bool(set(data) & {"micro_batch_size_per_gpu", "pipeline_stages", "dataset"})
    return training or (isinstance(data.get("directory"), list) and bool(set(data) & {"resolutions", "frame_buckets", "enable_ar_bucket", "num_ar_buckets", "size_buckets"}))


def translate(data: Mapping[str, Any]) -> Reading:
    """Either of its two files."""
    reading = Reading(TITLE, flat(data))
    if "model.type" in reading.left:
        reading.presume(DEFAULTS)
        _base(reading)
        _adapter(reading)
        _optimizer(reading)
    if reading.get("warmup_steps") is not None and not reading.get("warmup_steps"):
        reading.take("warmup_steps", "optimizer.warmup_steps", 0)
    if "pseudo_huber_c" in reading.left:
        reading.settings["loss.type"] = "huber"
    if reading.get("max_steps") and "epochs" in reading.left:
        reading.rest("epochs", "its steps come first")
    for n, one in enumerate(reading.left.pop("directory", None) or ()):
        _directory(reading, n, one)
    for key in [k for k in ("model.flux_shift", "model.lumina_shift") if reading.get(k) is False]:
        reading.rest(key, "off there")
    reading.by(TABLE)
    return reading


def _base(reading: Reading) -> None:
    places = [f"model.{n}" for n in ("diffusers_path", "checkpoint_path", "ckpt_path", "single_file_path", "transformer_path", "diffusion_model")]
    given = [key for key in places if reading.get(key)]
    kind = str(reading.get("model.type"))
    reading.base = Base(given[0] if given else "model.type", str(reading.get(given[0])) if given else "", (kind,))
    for key in given[1:]:
        reading.leave(key, "Easel takes these parts from the base model's own folder, in diffusers' layout")
    for key in (*given[:1], "model.type"):
        if given and key == given[0]:
            reading.left.pop(key)
        else:
            reading.rest(key, "it says the kind of base model")


def _adapter(reading: Reading) -> None:
    kind = reading.get("adapter.type")
    if kind in ("lora", "lokr"):
        reading.take("adapter.type", "adapter.type", kind)
        if "adapter.rank" in reading.left and "adapter.alpha" not in reading.left:
            reading.settings["adapter.alpha"] = number(reading.get("adapter.rank"))  # that program sets alpha to the rank
    elif kind:
        reading.leave("adapter.type", f"{kind} is no adapter of Easel; the preset's own stays")
    else:
        reading.left["adapter"] = "none"
        reading.take("adapter", "adapter.type", "full")


def _optimizer(reading: Reading) -> None:
    if "optimizer.type" in reading.left:
        reading.convert("optimizer.type", "optimizer.type", optimizer)
    if "optimizer.lr" in reading.left:
        reading.convert("optimizer.lr", "optimizer.learning_rate", number)
    for key in ("optimizer.gradient_release", "optimizer.stabilize"):
        if key in reading.left and not reading.get(key):
            reading.rest(key, "off there")
    options(reading, "optimizer", {k.removeprefix("optimizer."): v for k, v in reading.left.items() if k.startswith("optimizer.")})


def _directory(reading: Reading, n: int, one: Mapping[str, Any]) -> None:
    at = f"directory.{n}"
    reading.left |= {f"{at}.{k}": v for k, v in one.items()}
    own = {}
    if one.get("path"):
        if one.get("resolutions") and ("resolutions" in reading.left or "data.resolutions" in reading.settings):
            own = reading.of_one(f"{at}.resolutions", "resolutions", TABLE["resolutions"][1])  # type: ignore[arg-type, index]
        reading.datasets.append(Pictures(str(one["path"]), max(1, round(number(one.get("num_repeats", reading.get("num_repeats", 1))))), **own))
    for key in one:
        name = f"{at}.{key}"
        if key in ("path", "num_repeats"):
            reading.rest(name, "listed below")
        elif name not in reading.left:
            continue  # listed with the folder
        elif key == "mask_path":
            reading.leave(name, "masks lie beside their pictures here; add that folder to the dataset, then switch on ‘Masked’")
        elif key == "control_path":
            reading.leave(name, "control pictures lie beside their pictures here; add that folder to the dataset")
        elif key in TABLE:
            path = TABLE[key][0] if isinstance(TABLE[key], tuple) else ""  # type: ignore[index]
            if key in reading.left or path in reading.settings:
                reading.leave(name, "it is one setting for all datasets here, and it is said above or by another one")
            else:
                reading.by({name: TABLE[key]})
