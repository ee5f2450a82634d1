"""T2I-Adapter (Mou et al. 2023, arXiv 2302.08453): a small network of its own that turns a control picture into features of four sizes.

They are added to what the UNet's first half puts out, once a picture and not once a step.  The base stays as it is.  The paper trains
mostly much noise, t = 1 - u^3, as it is there that a composition is settled: loss.timestep_law is then "content".
"""

from __future__ import annotations

from ..family import CONTROL, Beside
from ..formats.beside import card, count, load, off, parameters, restore, settings, tensors, write

__all__ = ["BESIDE", "BLURB", "KOHYA", "TITLE", "USES", "build", "card", "count", "for_unet", "load", "off", "parameters", "restore", "settings", "tensors", "weights", "write"]

TITLE = "T2I-Adapter"
BLURB = "Follows a control picture, lighter than a ControlNet: a tenth of its weights. Choose the timestep law 'content' with it, as its paper does."
USES = ("control_dropout", "start_from")
KOHYA = "never"
BESIDE = "control"  # hangs beside the denoiser, and is shown the control picture
PASSES = 0.2  # more forward passes' worth of work: a few convolutions at a quarter of the picture's cells

BLOCKS = 2  # residual blocks at each size, as in the paper
SIZES = 4  # features that the network for UNets like SDXL's always has


def build(beside: Beside, denoiser, config, stride: int, width: int, seed: int):
    """A fresh network that fits a loaded UNet, fp32.  stride: px per latent cell.

    A UNet whose first block attends to words, as SD 1.5's, is told at every size.  One whose first block does not, as SDXL's, is first told
    after that block has halved the latents.
    """
    import diffusers
    import torch

    torch.manual_seed(seed)
    widths = list(denoiser.config.block_out_channels)
    like_sdxl = "CrossAttn" not in denoiser.config.down_block_types[0]
    if like_sdxl:
        widths = (widths + [widths[-1]] * SIZES)[:SIZES]
    return getattr(diffusers, beside.network)(
        in_channels=3, channels=widths, num_res_blocks=BLOCKS, downscale_factor=stride * (1 + like_sdxl), adapter_type="full_adapter" + "_xl" * like_sdxl
    ).float()


def for_unet(network, noisy, t, cond, told: dict) -> dict:
    """`told` with the features that are added to what the UNet's blocks put out."""
    features = network(cond.tensors[CONTROL].to(noisy.dtype))
    return {**told, "down_intrablock_additional_residuals": [feature.to(noisy.dtype) for feature in features]}


def weights(layers, beside: Beside, config) -> float:
    """How many weights learn.  layers: plan.layers.Network of the denoiser."""
    if not layers.layers:
        return 78e6  # 77 M for SD 1.5, 79 M for SDXL
    widths = [layer.outputs for layer in layers.layers if layer.name.startswith("down_blocks.") and layer.name.endswith(".resnets.0.conv1")]
    widths = (widths + widths[-1:] * SIZES)[:SIZES]
    return 10.0 * BLOCKS * sum(width**2 for width in widths)  # of each block one 3 x 3 and one 1 x 1 convolution
