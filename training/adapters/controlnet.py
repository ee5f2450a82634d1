"""ControlNet (Zhang et al. 2023, arXiv 2302.05543): a copy of the denoiser's first half that is shown a control picture.

What it says is added to the denoiser's own skip connections through convolutions that begin at zero, so that at the first step nothing is
changed.  The base stays as it is.
"""

from __future__ import annotations

from ..family import CONTROL, Beside
from ..formats.beside import card, count, load, off, parameters, restore, settings, tensors, write

__all__ = ["BESIDE", "BLURB", "KOHYA", "TITLE", "USES", "build", "card", "count", "for_unet", "load", "off", "parameters", "restore", "settings", "tensors", "weights", "write"]

TITLE = "ControlNet"
BLURB = "Follows a control picture: outlines, depth, a pose. Needs one beside every picture, and a thousand pictures or more; the result loads as a ControlNet."
USES = ("control_dropout", "start_from")
KOHYA = "never"
BESIDE = "control"  # hangs beside the denoiser, and is shown the control picture
PASSES = 1.2  # more forward passes' worth of work: its own half, forward and back, with gradients of every weight

HINT_WIDTHS = (16, 32, 96, 256)  # of the small network that reads the control picture, as in the paper; each after the first halves it


def build(beside: Beside, denoiser, config, stride: int, width: int, seed: int):
    """A fresh network for a loaded denoiser: copied from it, fp32.  stride: px per latent cell."""
    import diffusers
    import torch

    torch.manual_seed(seed)
    if beside.layers:
        return _of_transformer(getattr(diffusers, beside.network), denoiser, beside.layers).float()
    widths = HINT_WIDTHS[: stride.bit_length()]  # a stride of 8 is halved three times
    return getattr(diffusers, beside.network).from_unet(denoiser, conditioning_embedding_out_channels=widths).float()


def _of_transformer(cls, denoiser, layers: dict[str, int]):
    """A network of `cls` with the first blocks of a transformer, whose own way in begins at zero.

    By hand: diffusers 0.42's from_transformer fixes the width of FLUX and Qwen-Image, and that of SD 3 changes the denoiser's own config, and
    leaves set that its pipeline hides the pooled words from the network, which training does not.
    """
    import inspect

    takes = inspect.signature(cls.__init__).parameters
    told = {name: value for name, value in denoiser.config.items() if name in takes}
    told |= {name: max(1, min(count, told[name] // 2)) for name, count in layers.items()}
    network = cls(**told, **({"force_zeros_for_pooled_projection": False} if "force_zeros_for_pooled_projection" in takes else {}))
    for name, part in network.named_children():
        if hasattr(denoiser, name):
            part.load_state_dict(getattr(denoiser, name).state_dict(), strict=False)
    for name in ("controlnet_x_embedder", "pos_embed_input"):
        for parameter in getattr(network, name).parameters() if hasattr(network, name) else ():
            parameter.detach().zero_()
    return network


def for_unet(network, noisy, t, cond, told: dict) -> dict:
    """`told` with what the network adds to the UNet's skip connections and its middle."""
    down, middle = network(noisy, t, controlnet_cond=cond.tensors[CONTROL].to(noisy.dtype), return_dict=False, **told)
    return {**told, "down_block_additional_residuals": down, "mid_block_additional_residual": middle}


def weights(layers, beside: Beside, config) -> float:
    """How many weights learn.  layers: plan.layers.Network of the denoiser."""
    if beside.layers:
        return _of_blocks(layers, beside.layers)
    if not layers.layers:
        return 0.45 * layers.parameters  # 361 M of SD 1.5's 860 M, 1.25 of SDXL's 2.57 billion
    half = sum(layer.weights for layer in layers.layers if not layer.name.startswith(("up_blocks", "conv_out")))
    return float(half + sum(layer.outputs**2 for layer in layers.layers if "down_blocks" in layer.name and "conv2" in layer.name))


def _of_blocks(layers, counts: dict[str, int]) -> float:
    """Weights of the first blocks of a transformer, and of one matrix more for each of them."""
    if not layers.layers:
        return 0.3 * layers.parameters  # of FLUX.1; half of SD 3.5 medium, a tenth of Qwen-Image
    found = 0.0
    for name, most in counts.items():
        kind = "single_transformer_blocks" if "single" in name else "transformer_blocks"
        numbers = {int(layer.name.split(".")[1]) for layer in layers.layers if layer.name.startswith(f"{kind}.")}
        first = max(1, min(most, len(numbers) // 2))
        inside = [layer for layer in layers.layers if layer.name.startswith(f"{kind}.") and int(layer.name.split(".")[1]) < first]
        found += sum(layer.weights for layer in inside) + first * max((layer.inputs for layer in inside if layer.name.endswith("attn.to_q")), default=0) ** 2
    return found + sum(layer.weights for layer in layers.layers if "blocks." not in layer.name)
