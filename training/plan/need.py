"""How much memory a training holds at its highest points, part by part.  No torch.

What is kept for the backward pass was counted with saved_tensors_hooks, as bytes over the bytes of what all layers put out: on
SD 1.5's UNet, and on FLUX, Wan and Lumina transformers of a few million weights with 1024 tokens, LoRA attached (1.5-2.0 for
attention, 2.2 with feed-forward; 0.10-0.15 where every block is recomputed, the same in bf16, 0.47 in a small Lumina, whose
refiners are not: FamilySpec.never_recomputed).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..config import TrainConfig
from . import optimizing
from .layers import BaseModel, Network

BYTES = {"fp32": 4, "bf16": 2, "fp16": 2}
# bytes of a quantised weight: int8 and fp8 have a scale a row; nf4 a scale for 64 weights, itself quantised: 4.127 bits (QLoRA, section 3)
QUANTISED_BYTES = {"int8": 1.0, "fp8": 1.0, "nf4": 4.127 / 8}
EVERY = {"third": 3, "half": 2, "all": 1}  # of how many blocks one is recomputed
PASSING = 4.0  # copies of the largest layer's output that are alive at once inside one layer (norm, activation, convolution)
GATHERED, GRADIENTS = 2, 2  # blocks of a split denoiser that lie whole on a card at once, with what they came in; the same of their gradients
IN_BLOCKS = 0.97  # share of a transformer's weights
TILE_PX = 512 * 512  # what a tiled VAE works on at once


@dataclass(frozen=True)
class Keeping:
    """What a kind of network keeps for the backward pass, as a share of what its layers put out."""

    off: dict[str, float]  # where nothing is recomputed, by adapter.targets
    dense: float  # share of the weights that can be quantised, where the layers are not known
    all: float  # where every block is recomputed: the inputs of the blocks, and what stands before and after them
    half: float  # how many times more of what is not recomputed in half precision, whose norms compute in fp32
    block: float  # share of the largest block in all values, where the layers are not known


UNET = Keeping({"attention": 1.7, "attention+ff": 1.85, "all": 2.1}, 0.31, 0.35, 1.1, 0.1)
TRANSFORMER = Keeping({"attention": 1.7, "attention+ff": 2.2, "all": 2.3}, 0.97, 0.15, 1.4, 0.03)


@dataclass(frozen=True)
class Size:
    """Of what is computed: latent cells and px of the largest training picture, and of a sample picture."""

    cells: float
    pixels: float
    sample_cells: float
    sample_pixels: float


@dataclass(frozen=True)
class Learning:
    """weights: how many learn.  text: of the text encoders that stay loaded because they learn too.  whole: the denoiser itself learns, in fp32."""

    weights: float
    text: float = 0.0
    whole: bool = False


@dataclass(frozen=True)
class Need:
    """Bytes on the device.  parts: at the highest point of training, by name.  ram: weights that wait in RAM."""

    parts: dict[str, float]
    preparing: float  # the highest point before the first step
    outputs: float  # of all layers of the denoiser for one batch
    ram: float

    @property
    def peak(self) -> float:
        return max(self.preparing, sum(self.parts.values()))


def need(config: TrainConfig, model: BaseModel, unet: bool, learning: Learning, size: Size, among: int = 1) -> Need:
    """What a run of `config` needs on `model`.  among: how many processes the denoiser is split among, each of which holds two blocks whole as well: the one that runs, and the next on its way."""
    m, s, width = config.model, config.sample, BYTES[config.model.dtype]
    frozen = 0.0 if learning.whole else held(model.denoiser, m.quantise, width, unet)
    copies_end = config.loss.gradient_checkpointing == "all"  # a block that is not recomputed keeps its copy until its backward pass
    waiting = m.offload * frozen * (0.8 if unet else IN_BLOCKS)  # what stands before and after the blocks stays
    on_device = frozen - waiting * copies_end
    if m.offload:
        on_device += (1 + config.engine.overlap) * _block_share(model.denoiser, unet) * frozen  # the block that runs is there as a copy, and the next one
    on_device, waiting = _with_others(config, model.denoisers - 1, frozen, on_device, waiting)
    held_drawn = bool(config.keep.on and config.keep.drawn) or not config.data.datasets
    draws = bool(s.every and s.prompts)
    vae_values = lambda px: PASSING * model.vae.largest(min(px, TILE_PX) if m.vae_tiling else px)
    step = _step(config, model, unet, size.cells, learning.whole)
    drawing = (2 * PASSING * model.denoiser.largest(size.sample_cells) + vae_values(size.sample_pixels)) * width if draws else 0.0
    if held_drawn:  # before the first step, at the size of the learnt pictures
        drawing = max(drawing, (2 * PASSING * model.denoiser.largest(size.cells) + vae_values(size.pixels)) * width)
    learnt = learning.weights * (4 + 4 + optimizing.kept_bytes(config))
    blocks = 0.0
    if among > 1:
        one = _block_share(model.denoiser, unet) * model.denoiser.parameters
        one += (0.2 if unet else 0.03) * model.denoiser.parameters / GATHERED  # what stands before and after the blocks is put together for a whole pass
        # of what learns also the gradients: a block's own, and laid out to be summed
        blocks = one * (GATHERED * 4 + GRADIENTS * 4 if learning.whole else GATHERED * width)
        on_device, learnt = on_device / among, learnt / among if learning.whole else learnt
    parts = {
        "blocks that are put together to run": blocks,
        "base model": on_device + _unpacked(model.denoiser, m.quantise) * width,
        "text encoders that learn": width * learning.text,
        "model and optimizer" if learning.whole else "adapter and optimizer": learnt,
        "activations": max(step, drawing),
        "image decoder for samples": width * model.vae.parameters if draws or held_drawn else 0.0,
    }
    encode = width * (model.vae.parameters + vae_values(size.pixels))
    text = held(model.text, m.quantise_text, width)
    return Need({name: size for name, size in parts.items() if size}, max(encode, text), pictures_at_once(config) * width * model.denoiser.values(size.cells), waiting)


def _with_others(config: TrainConfig, others: int, frozen: float, on_device: float, waiting: float) -> tuple[float, float]:
    """(bytes on the device, bytes that wait in RAM) where so many more denoisers stand beside the one at work.

    A card holds the blocks of one at a time while RAM holds those of all; where blocks wait anyway, the share of each that does not is on the card.
    """
    if not others or config.device == "cpu":
        return on_device + others * frozen, waiting
    if config.model.offload:
        return on_device + others * (frozen - waiting), (1 + others) * waiting
    return on_device + others * (1 - IN_BLOCKS) * frozen, (1 + others) * IN_BLOCKS * frozen


def pictures_at_once(config: TrainConfig) -> int:
    """In one forward pass."""
    keep = config.keep
    return math.ceil(config.data.batch_size * (1 + keep.share * (keep.on and keep.together)))


def held(network: Network, quantise: str, width: int, unet: bool = False) -> float:
    """Bytes of a network's frozen weights."""
    if quantise == "none":
        return width * network.parameters
    dense = network.dense_share if network.exact else (UNET if unet else TRANSFORMER).dense
    return network.parameters * (dense * QUANTISED_BYTES[quantise] + (1 - dense) * width)


def _unpacked(network: Network, quantise: str) -> float:
    """Weights of the layer that is dequantised at the moment."""
    return 0.0 if quantise == "none" else max((layer.weights for layer in network.layers if layer.dense), default=0.005 * network.parameters)


def _step(config: TrainConfig, model: BaseModel, unet: bool, cells: float, whole: bool) -> float:
    """Bytes of activations at the highest point of one step."""
    kind, network = UNET if unet else TRANSFORMER, model.denoiser
    level, width = config.loss.gradient_checkpointing, BYTES[config.model.dtype]
    off = kind.off["all" if whole else config.adapter.targets] * (kind.half if width < 4 else 1.0)
    share = off
    if level != "off":
        # one block's are back while the backward pass goes through it
        kept = 1 - (1 - model.never_recomputed) / EVERY[level]
        share = min(off, kind.all + kept * (off - kind.all) + off * _block_share(network, unet, cells))
    return pictures_at_once(config) * width * (share * network.values(cells) + PASSING * network.largest(cells))


def _block_share(network: Network, unet: bool, cells: float = 0.0) -> float:
    """Share of the largest block in all weights, or with cells in all that the layers put out."""
    of = (lambda layer: layer.outputs * layer.positions(cells)) if cells else (lambda layer: layer.weights)
    total = sum(map(of, network.layers))
    if not total:
        return (UNET if unet else TRANSFORMER).block
    return max((sum(map(of, block)) for block in network.blocks.values()), default=total) / total
