"""Adapters and models as other programs write them, at toy size, and what they do, by dense arithmetic."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from training.home import BUILTIN

BASE = BUILTIN / "base"
UNET = "unet/diffusion_pytorch_model.safetensors"
STEM = "lora_unet_down_blocks_{}_attentions_0_transformer_blocks_0_attn1_to_q"
CONV = "lora_unet_down_blocks_0_resnets_0_conv1"


def kohya(file: Path, ranks: tuple[int, ...], alpha: float, seed: int, conv: bool = True, dtype=np.float32, stem: str = STEM) -> Path:
    """A LoRA of kohya's scripts: a layer of 24 inputs and 32 outputs of each rank, and a convolution."""
    rng, made = np.random.default_rng(seed), {}
    for n, rank in enumerate(ranks):
        made |= {f"{stem.format(n)}.lora_down.weight": rng.normal(size=(rank, 24)), f"{stem.format(n)}.lora_up.weight": rng.normal(size=(32, rank)), f"{stem.format(n)}.alpha": np.array(alpha)}
    if conv:
        made |= {f"{CONV}.lora_down.weight": rng.normal(size=(4, 8, 3, 3)), f"{CONV}.lora_up.weight": rng.normal(size=(16, 4, 1, 1)), f"{CONV}.alpha": np.array(alpha)}
    save_file({k: v.astype(dtype) for k, v in made.items()}, file, {"ss_base_model_version": "sd_v1", "modelspec.trigger_phrase": "zibbo"})
    return file


def dense(file: Path) -> dict[str, np.ndarray]:
    """{layer: dW [out, in], fp64} of a kohya file or one of diffusers' layout, by alpha / rank · up · down."""
    tensors, found = load_file(file), {}
    for name, down in tensors.items():
        for ends in ((".lora_down.weight", ".lora_up.weight"), (".lora_A.weight", ".lora_B.weight")):
            if name.endswith(ends[0]):
                stem = name.removesuffix(ends[0])
                up, down = tensors[stem + ends[1]].astype(np.float64), down.astype(np.float64)
                scale = float(tensors[f"{stem}.alpha"]) / len(down) if f"{stem}.alpha" in tensors else 1.0
                found[stem] = scale * up.reshape(len(up), -1) @ down.reshape(len(down), -1)
    return found


def off(found: dict, truth: dict) -> float:
    """The largest relative difference, Frobenius, of a layer; the layers are the same."""
    assert found.keys() == truth.keys()
    return max(np.linalg.norm(found[k] - truth[k]) / np.linalg.norm(truth[k]) for k in truth)


def wide(folder: Path, changes: dict[str, np.ndarray] | None = None) -> Path:
    """The built-in base in fp32, its UNet's weights plus `changes`."""
    shutil.copytree(BASE, folder)
    weights = {k: v.astype(np.float32) for k, v in load_file(BASE / UNET).items()}
    for name, change in (changes or {}).items():
        weights[name] = weights[name] + change.reshape(weights[name].shape).astype(np.float32)
    save_file(weights, folder / UNET)
    return folder


def of_rank(endings: tuple[str, ...], rank: int, seed: int = 0, size: float = 0.02) -> dict[str, np.ndarray]:
    """{name of a weight of the built-in UNet: a change [out, in] of this rank}."""
    rng = np.random.default_rng(seed)
    flat = {k: (len(v), int(np.prod(v.shape[1:]))) for k, v in load_file(BASE / UNET).items() if k.endswith(endings)}
    return {k: size * rng.normal(size=(out, rank)) @ rng.normal(size=(rank, inputs)) for k, (out, inputs) in flat.items()}
