"""The LoRA that people download: a checkpoint's adapter, alpha baked in, with its metadata.  numpy only, no torch.

alpha is baked into the weights (B times alpha / rank) and the header says alpha = rank, because programs that do not read
the header take exactly that: the file means the same everywhere.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import save

from .files import write_atomic
from .modelspec import stamp_hash

LORA_HEADER = "lora_adapter_metadata"


def adapter_file(checkpoint: Path) -> Path:
    """The file of a checkpoint that is meant for use: the averaged weights where there are some."""
    averaged = checkpoint / "ema.safetensors"
    return averaged if averaged.is_file() else checkpoint / "adapter.safetensors"


def deliver(checkpoint: Path, target: Path, metadata: dict[str, str], half: bool) -> None:
    """Writes `target`, whole or not at all, mode 0644; equal checkpoints give equal bytes.  half: as fp16 instead of fp32.

    Raises ValueError when a weight does not fit fp16 or the adapter is of a kind whose alpha cannot be baked in.
    """
    tensors, header = read_adapter(adapter_file(checkpoint))
    tensors, header = bake_alpha(tensors, header)
    if half:
        tensors = {name: _halved(name, t) for name, t in tensors.items()}
    text = {**metadata, "format": "pt", LORA_HEADER: json.dumps(header, sort_keys=True)}
    write_atomic(target, stamp_hash(save(tensors, text)))


def read_adapter(file: Path) -> tuple[dict[str, np.ndarray], dict]:
    """(tensors, LoRA settings from the header) of an adapter that the engine wrote."""
    with safe_open(file, framework="np") as stream:
        header = json.loads((stream.metadata() or {}).get(LORA_HEADER, "{}"))
        return {name: stream.get_tensor(name) for name in stream.keys()}, header  # noqa: SIM118 not a dict


def bake_alpha(tensors: dict[str, np.ndarray], header: dict) -> tuple[dict[str, np.ndarray], dict]:
    """The same adapter with alpha / rank multiplied into every B, and a header that says alpha = rank."""
    prefixes = {k.rsplit(".", 1)[0] for k in header if k.endswith(".lora_alpha")}
    baked, told = dict(tensors), dict(header)
    for prefix in prefixes:
        rank, alpha = header[f"{prefix}.r"], header[f"{prefix}.lora_alpha"]
        if header.get(f"{prefix}.rank_pattern") or header.get(f"{prefix}.alpha_pattern"):
            raise ValueError("this adapter has a rank or alpha of its own for some layers, which this export cannot bake in")
        scale = np.float32(alpha / (rank**0.5 if header.get(f"{prefix}.use_rslora") else rank))
        for name, tensor in tensors.items():
            if name.startswith(prefix + ".") and ".lora_B" in name:
                baked[name] = tensor * scale
        told[f"{prefix}.lora_alpha"] = rank
        if f"{prefix}.use_rslora" in told:
            told[f"{prefix}.use_rslora"] = False
    return baked, told


def _halved(name: str, tensor: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        small = tensor.astype(np.float16)
    if not np.isfinite(small).all():
        raise ValueError(f"{name} holds values that do not fit fp16; train with a lower learning rate, or with model.dtype fp32")
    return small
