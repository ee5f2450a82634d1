"""Control LoRA (Black Forest Labs, FLUX.1 Canny and Depth; diffusers' examples/flux-control): a LoRA whose denoiser is shown a control picture.

The layer by which latents enter takes twice as many channels, the noisy picture's and the control picture's.  Its new half begins at zero, so
that at the first step nothing is changed.  That layer, attention and feed-forward get a LoRA; its alpha is its rank, as in the script.
"""

from __future__ import annotations

import json
from pathlib import Path

from ..family import Beside
from ..formats.adapting import inject
from ..formats.beside import off, parameters, restore, settings, tensors
from . import lora

__all__ = ["BESIDE", "BLURB", "INSIDE", "KOHYA", "TITLE", "USES", "WIDENS", "build", "card", "count", "inward", "load", "off", "outward", "parameters", "restore", "settings", "tensors", "weights", "write"]

TITLE = "Control LoRA"
BLURB = "Follows a control picture, as a LoRA: far smaller than a ControlNet. Needs one beside every picture; loads in diffusers' control pipeline."
USES = ("rank", "dropout", "targets", "norms", "control_dropout", "start_from")
KOHYA = "never"
BESIDE = "control"  # is shown the control picture
INSIDE = True  # its layers lie in the denoiser
WIDENS = True  # the denoiser takes the control picture's latents beside the noisy ones
PASSES = 0.1  # more forward passes' worth of work: the thin matrices

FILE = "pytorch_lora_weights.safetensors"
NORMS = ("norm_q", "norm_k", "norm_added_q", "norm_added_k")  # of attention: those that the pipeline's loader takes

count = lora.count


def build(beside: Beside, denoiser, config, stride: int, width: int, seed: int):
    """Widens a loaded denoiser and puts a fresh LoRA into it, fp32; gives the network that holds what learns."""
    import diffusers

    _widen(denoiser, beside.widened)
    inject(denoiser, lora.peft_config(denoiser, _whole(config), _targets(beside, config)), seed)
    for name, parameter in denoiser.named_parameters():
        if config.norms and _is_norm(name):
            parameter.requires_grad_(True)
            parameter.data = parameter.data.float()
    return held(denoiser, getattr(diffusers, beside.pipeline).transformer_name)


def _whole(config):
    """The same settings without what would leave layers out, the widened one among them."""
    return config.model_copy(update={"include": (), "exclude": (), "rank_patterns": (), "alpha": float(config.rank), "rslora": False})


def _targets(beside: Beside, config) -> tuple[str, ...]:
    return (beside.widened, *beside.targets[config.targets])


def _widen(denoiser, name: str) -> None:
    """Gives the denoiser's layer `name` as many inputs again, which count nothing yet."""
    import torch

    old = denoiser.get_submodule(name)
    new = torch.nn.Linear(2 * old.in_features, old.out_features, old.bias is not None, old.weight.device, old.weight.dtype).requires_grad_(False)
    new.weight.zero_()
    new.weight[:, : old.in_features] = old.weight
    if old.bias is not None:
        new.bias.copy_(old.bias)
    denoiser.set_submodule(name, new)
    denoiser.register_to_config(in_channels=2 * denoiser.config.in_channels, out_channels=denoiser.out_channels)


def held(denoiser, folder: str):
    """What learns in a denoiser, as one network, by the names that its file has.  folder: what the pipeline calls the denoiser."""
    from torch import nn

    network = nn.Module()
    network.folder = folder
    network.dropouts = nn.ModuleList(layer for name, layer in denoiser.named_modules() if ".lora_dropout." in name)  # so that train() and eval() reach them
    for name, parameter in denoiser.named_parameters():
        if "lora_" not in name and not (_is_norm(name) and parameter.requires_grad):
            continue
        *path, last = [part for part in name.split(".") if not part.startswith("default")]
        place = network
        for part in path:
            if not hasattr(place, part):
                place.add_module(part, nn.Module())
            place = getattr(place, part)
        place.register_parameter(last, parameter)
    return network


def _is_norm(name: str) -> bool:
    return name.split(".")[-2] in NORMS


def write(network, folder: Path, config, encoder: str) -> None:
    """The file that the control pipeline's load_lora_weights reads, and beside it what it was trained with."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    save_file({f"{network.folder}.{name}": p.detach().cpu().contiguous().clone() for name, p in network.named_parameters()}, folder / FILE, metadata={"format": "pt"})
    told = {"rank": config.rank, "alpha": config.rank, "targets": config.targets, "norms": config.norms}
    (folder / "config.json").write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


def load(beside: Beside, pipe, folder: Path, dtype):
    """The network from what write() wrote, now in the pipeline's denoiser, by diffusers' own load_lora_weights, which widens it."""
    pipe.load_lora_weights(str(folder), weight_name=FILE, local_files_only=True)
    return held(getattr(pipe, pipe.transformer_name), pipe.transformer_name)


def inward(saved: dict, prefix: str) -> dict:
    """{prefix.name: tensor} as tensors() gives them, of the result's file or of a checkpoint."""
    return {name if name.startswith(f"{prefix}.") else f"{prefix}.{name.partition('.')[2]}": tensor for name, tensor in saved.items()}


def outward(names, prefix: str, denoiser: str) -> dict[str, tuple[str, ...]]:
    """{name in the result's file: (the name in a checkpoint,)}."""
    return {f"{denoiser}.{name.removeprefix(f'{prefix}.')}": (name,) for name in names if name.startswith(f"{prefix}.")}


def card(beside: Beside, place: str, source: str, encoder: tuple[str, str], dtype: str) -> tuple[list[str], list[str], str]:
    """(imports, lines that make the pipeline, arguments of its call) of the model card's snippet.  place, source: literals."""
    return (
        [f"from diffusers import {beside.pipeline}"],
        [
            f'pipeline = {beside.pipeline}.from_pretrained({source}, {dtype}).to("cuda")',
            f'pipeline.load_lora_weights({place}, subfolder=SUBFOLDER, weight_name="{FILE}")',
            'control = load_image("path/to/a/control-picture.png").resize(SIZE)',
        ],
        f"{beside.image}=control",
    )


def weights(layers, beside: Beside, config) -> float:
    """How many weights learn.  layers: plan.layers.Network of the denoiser."""
    return layers.adapter(lora, _whole(config), _targets(beside, config))
