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
    widths = HINT_WIDTHS[: stride.bit_length()]  # a stride of 8 is halved three times
    return getattr(diffusers, beside.network).from_unet(denoiser, conditioning_embedding_out_channels=widths).float()


def for_unet(network, noisy, t, cond, told: dict) -> dict:
    """`told` with what the network adds to the UNet's skip connections and its middle."""
    down, middle = network(noisy, t, controlnet_cond=cond.tensors[CONTROL].to(noisy.dtype), return_dict=False, **told)
    return {**told, "down_block_additional_residuals": down, "mid_block_additional_residual": middle}


def weights(layers) -> float:
    """How many weights learn.  layers: plan.layers.Network of the denoiser."""
    if not layers.layers:
        return 0.45 * layers.parameters  # 361 M of SD 1.5's 860 M, 1.25 of SDXL's 2.57 billion
    half = sum(layer.weights for layer in layers.layers if not layer.name.startswith(("up_blocks", "conv_out")))
    return float(half + sum(layer.outputs**2 for layer in layers.layers if "down_blocks" in layer.name and "conv2" in layer.name))
