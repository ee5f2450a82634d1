"""LoRA through peft: two thin matrices beside each chosen layer (Hu et al. 2021)."""

from __future__ import annotations

import json
from contextlib import contextmanager

TITLE = "LoRA"
BLURB = "Small, quick, loads everywhere."


def attach(denoiser, config, spec, seed: int) -> list[str]:
    """Adds a fresh adapter to `denoiser`; gives the names of the wrapped layers.  config: AdapterPart.

    Weights of the adapter are fp32 and the only ones that learn.  Raises ValueError when no layer matches.
    """
    import torch
    from peft import LoraConfig

    from ..engine.weights import adapter_layers

    torch.manual_seed(seed)
    lora = LoraConfig(
        r=config.rank,
        lora_alpha=config.alpha,
        lora_dropout=config.dropout,
        target_modules=list(spec.lora_targets[config.targets]),
        init_lora_weights="gaussian",
    )
    try:
        denoiser.add_adapter(lora)
    except ValueError as error:
        raise ValueError(f"adapter.targets is {config.targets!r}, but this base model has no such layers ({error})") from None
    for parameter in denoiser.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    return adapter_layers(denoiser)


def parameters(denoiser) -> list:
    """The weights that learn, in a fixed order."""
    return [p for p in denoiser.parameters() if p.requires_grad]


@contextmanager
def off(denoiser):
    """Inside: the denoiser answers as the base model.  Outside: as before."""
    denoiser.disable_adapters()
    try:
        yield
    finally:
        denoiser.enable_adapters()


def tensors(denoiser, prefix: str) -> dict:
    """{key in diffusers' layout: a copy of the tensor} of the adapter as it is now: alpha not baked in, see metadata()."""
    from peft import get_peft_model_state_dict

    return {f"{prefix}.{k}": v.detach().cpu().contiguous().clone() for k, v in get_peft_model_state_dict(denoiser).items()}


def restore(denoiser, saved: dict, prefix: str) -> None:
    """Puts tensors() back.  Raises ValueError when a key is missing or left over."""
    from peft import set_peft_model_state_dict

    state = {k.removeprefix(prefix + "."): v for k, v in saved.items()}
    expected = {k.removeprefix(prefix + ".") for k in tensors(denoiser, prefix)}
    if set(state) != expected:
        odd = min(set(state) ^ expected)
        raise ValueError(f"the checkpoint's adapter does not fit this run: {odd!r} is on one side only; start a new run")
    set_peft_model_state_dict(denoiser, state)


def metadata(denoiser, prefix: str) -> dict[str, str]:
    """The safetensors header entry by which diffusers knows rank and alpha; without it it takes alpha = rank."""
    # diffusers puts a loaded adapter's dropout to work even in eval mode, so a file for use must not carry one
    config = {**denoiser.peft_config["default"].to_dict(), "lora_dropout": 0.0}
    plain = {k: sorted(v) if isinstance(v, set) else v for k, v in config.items()}
    plain = {k: getattr(v, "value", v) for k, v in plain.items() if v is not None and k not in ("peft_version", "auto_mapping", "base_model_name_or_path")}
    return {"format": "pt", "lora_adapter_metadata": json.dumps({f"{prefix}.{k}": v for k, v in plain.items()}, sort_keys=True, default=str)}
