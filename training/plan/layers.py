"""The layers of a base model from the headers of its files: parameters, arithmetic and memory, without loading it.  No torch.

The rule: a weight acts once at every position of its level, so that a forward pass takes 2 · weights · positions operations.
On the UNets of SD 1.5 and of the built-in base this is within 13 % of what torch's FlopCounterMode counts, on a transformer of
4 billion weights and 4096 tokens (where attention itself counts too, and refiners of pictures that are not there do not) within 1 %.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from types import ModuleType

from ..config import AdapterPart
from ..family import FamilySpec
from ..formats import basemodel
from ..formats.adapting import picks, rank_at

# A network whose files are not here yet is told from the number of its weights.  Convolutions: like SD 1.5's UNet, which these were counted on.
FLOPS_PER_WEIGHT_AND_CELL = 0.196  # 173 GFLOP for 860 M weights at 32 x 32 latent cells
VALUES_PER_WEIGHT_AND_CELL = 7.0e-5  # outputs of all layers, of which about 1.7 are kept for the backward pass
LARGEST = 0.05  # share of the largest layer in them
ADAPTER_PER_WEIGHT_AND_RANK = {"attention": 2.3e-4, "attention+ff": 4.3e-4, "all": 1.4e-3}
WIDTH = 1280  # of a middling layer
# Transformers grow in width and depth alike, so that what they put out grows with the square root of their weights.  Counted on the shapes
# of ten of them, 1.4 to 32 billion weights, with 4096 tokens of a picture and 512 of a text: 8 to 18 for the outputs, 0.7 to 1.6 of 2 operations
# a weight and token (the weights of one stream see only its tokens, modulation acts once a picture), the largest layer 0.7 to 1.6 %.
VALUES_PER_ROOT_AND_TOKEN = 13.0
FLOPS_PER_WEIGHT_AND_TOKEN = 1.2
LARGEST_OF_TOKENS = 0.01
ADAPTER_PER_ROOT_AND_RANK = {"attention": 16.0, "attention+ff": 40.0, "all": 50.0}
TOKEN_WIDTH = 3072
TEXT_WIDTH = 768
TEXT_TOKENS = 77  # of a CLIP
LONG_TEXT_TOKENS = 512  # of a T5 or a language model
VAE_WEIGHTS = 84e6  # SD 1.5's: what an autoencoder puts out at one pixel hardly grows with its weights
OTHER_PARTS = 0.25  # text encoder and VAE, as a share of the denoiser's weights


@dataclass(frozen=True)
class Layer:
    """One weight matrix or convolution.  level: how often its input was halved; -1: acts once a picture, -2, -3: once a token of a short or long text."""

    name: str
    inputs: int  # of one position: channels times kernel
    outputs: int
    level: int
    dense: bool = False  # a matrix in a block, which can be held in 8 or 4 bits

    @property
    def weights(self) -> int:
        return self.inputs * self.outputs

    def positions(self, cells: float) -> float:
        """How often it acts on a picture of `cells` latent cells (pixels, for the VAE)."""
        return {-1: 1.0, -2: float(TEXT_TOKENS), -3: float(LONG_TEXT_TOKENS)}.get(self.level, cells / 4**self.level)


@dataclass(frozen=True)
class Network:
    """One part of a base model.  exact: read from its files; else estimated from the number of its weights.

    token_cells: latent cells of one token of a transformer whose layers are not known; 0 for convolutions.
    """

    parameters: float
    layers: tuple[Layer, ...]
    token_cells: int = 0
    alike: float = 0.0  # weights of the network that it puts out as much as; 0: its own

    @property
    def dense_share(self) -> float:
        """Share of the weights that can be held in 8 or 4 bits, read from the files."""
        return sum(layer.weights for layer in self.layers if layer.dense) / self.parameters if self.layers else 0.0

    @property
    def blocks(self) -> dict[str, list[Layer]]:
        """The layers of each block that is recomputed as one, by the block's name."""
        found: dict[str, list[Layer]] = {}
        for layer in self.layers:
            match = re.match(r".*?(?:resnets|transformer_blocks)\.\d+(?=\.)|(?:.*?\.)?\d+(?=\.)", layer.name)
            if match:
                found.setdefault(match[0], []).append(layer)
        return found

    @property
    def exact(self) -> bool:
        return bool(self.layers)

    def flops(self, cells: float) -> float:
        """Operations of one forward pass over one picture."""
        if self.token_cells:
            return FLOPS_PER_WEIGHT_AND_TOKEN * self.parameters * self._tokens(cells)
        if not self.layers:
            return FLOPS_PER_WEIGHT_AND_CELL * (self.alike or self.parameters) * cells
        return sum(2 * layer.weights * layer.positions(cells) for layer in self.layers)

    def values(self, cells: float) -> float:
        """Numbers that all layers together put out for one picture."""
        if self.token_cells:
            return VALUES_PER_ROOT_AND_TOKEN * math.sqrt(self.parameters) * self._tokens(cells)
        if not self.layers:
            return VALUES_PER_WEIGHT_AND_CELL * (self.alike or self.parameters) * cells
        return sum(layer.outputs * layer.positions(cells) for layer in self.layers)

    def largest(self, cells: float) -> float:
        """Numbers that the largest layer puts out for one picture."""
        if not self.layers:
            return (LARGEST_OF_TOKENS if self.token_cells else LARGEST) * self.values(cells)
        return max(layer.outputs * layer.positions(cells) for layer in self.layers)

    def adapter(self, kind: ModuleType, config: AdapterPart, targets: tuple[str, ...]) -> float:
        """Weights that learn in an adapter of this kind on the layers whose names end on `targets`."""
        if not self.layers:
            width = TOKEN_WIDTH if self.token_cells else WIDTH
            like_lora = kind.count(config, config.rank, width, width) / (2 * width)
            if self.token_cells:
                return ADAPTER_PER_ROOT_AND_RANK[config.targets] * math.sqrt(self.parameters) * like_lora
            return ADAPTER_PER_WEIGHT_AND_RANK[config.targets] * self.parameters * like_lora
        return sum(kind.count(config, rank_at(config, layer.name), layer.inputs, layer.outputs) for layer in self.layers if picks(config, layer.name, targets))

    def _tokens(self, cells: float) -> float:
        return cells / self.token_cells + LONG_TEXT_TOKENS


@dataclass(frozen=True)
class BaseModel:
    """What an estimate has to know about a base model.  local: its files are on this computer."""

    denoiser: Network
    vae: Network
    text: Network
    text_width: int
    largest_part_bytes: int  # as it lies on disk
    stride: int  # px per latent cell
    divisor: int  # px that sides of a training picture divide by
    local: bool
    never_recomputed: float = 0.0  # FamilySpec's
    denoisers: int = 1  # of which one is at work at a time

    @property
    def parameters(self) -> float:
        return self.denoisers * self.denoiser.parameters + self.vae.parameters + self.text.parameters


def base_model(source: str, revision: str, family: ModuleType, left_out: tuple[str, ...] = ()) -> BaseModel:
    """From the files where they are on this computer, else from what the family says of itself.  Raises ValueError for a bad path.

    left_out: parts that the run does without.
    """
    spec = family.SPEC.sized(source).without(left_out)
    file = basemodel.single_file(source)
    if file:
        basemodel.read_header(file)  # raises where the file is broken
        return replace(_unknown(spec), largest_part_bytes=file.stat().st_size, local=True)
    folder = local_folder(source, revision)
    if folder is None:
        return _unknown(spec)
    try:
        return _from_files(folder, family, spec)
    except ValueError:
        if basemodel.local_folder(source) is None:  # a download that was broken off: the rest is still to come
            return _unknown(spec)
        raise


def local_folder(source: str, revision: str) -> Path | None:
    """Where a base model lies on this computer, in a folder or in the Hub's cache; None where it must be downloaded."""
    folder = basemodel.local_folder(source)
    if folder is not None:
        return folder
    from huggingface_hub import try_to_load_from_cache

    found = [try_to_load_from_cache(source, index, revision=revision or None) for index in basemodel.INDEXES]
    return next((Path(index).parent for index in found if isinstance(index, str)), None)


def layer_names(source: str, family: ModuleType) -> Callable[[str], list[str]]:
    """A function: folder of a part -> names of its layers, read from the base model's files when it is asked.

    Raises ValueError, once it is asked, where they are not on this computer.
    """

    def names(part: str) -> list[str]:
        folder = local_folder(source, "")
        if folder is None:
            raise ValueError(f"{source} is not on this computer, but the names in this file can only be read beside it; name a base model that is, with --base")
        return [layer.name for layer in _network(basemodel.weight_files(folder / part), 1).layers] if (folder / part).is_dir() else []

    return names


def _from_files(folder: Path, family: ModuleType, spec: FamilySpec) -> BaseModel:
    basemodel.check_folder(folder, spec)
    parts = {kind: [folder / name for name in (names if kind != "denoiser" else names[:1])] for kind, names in spec.parts.items()}  # experts are alike
    files = {kind: [file for part in folders for file in basemodel.weight_files(part)] for kind, folders in parts.items()}
    networks = {kind: _network(found, spec.latent.patch if kind == "denoiser" else 1) for kind, found in files.items()}
    if "eye" in networks:  # it is in memory with the VAE
        networks["vae"] = replace(networks["vae"], parameters=networks["vae"].parameters + networks["eye"].parameters)
    width = max((layer.inputs for layer in networks["denoiser"].layers if layer.level == -2), default=TEXT_WIDTH)
    largest = max(sum(file.stat().st_size for file in found) for found in files.values())
    stride, divisor = family.grid(basemodel.read_configs(folder, spec))
    return BaseModel(networks["denoiser"], networks["vae"], _beside(networks["text"], networks.get("after_text")), width, largest, stride, divisor, True, spec.never_recomputed, max(1, len(spec.experts)))


def _beside(one: Network, other: Network | None) -> Network:
    """Both as one, where both are in memory at once."""
    return replace(one, parameters=one.parameters + other.parameters, layers=(*one.layers, *other.layers)) if other else one


def _unknown(spec: FamilySpec) -> BaseModel:
    count = spec.parameters
    text, vae = spec.other_parameters if spec.other_parameters is not None else (count * OTHER_PARTS * 0.6, count * OTHER_PARTS * 0.4)
    unet = spec.denoiser == "unet"
    token_cells = 0 if unet else spec.latent.patch**2
    stored = 4 if unet else 2  # bytes of a weight on disk: older models are published in fp32, transformers in bf16
    return BaseModel(
        Network(count, (), token_cells), Network(vae, (), alike=VAE_WEIGHTS), Network(text, ()), TEXT_WIDTH, int(stored * max(count, text)),
        spec.latent.stride, spec.divisor, False, spec.never_recomputed, max(1, len(spec.experts)),
    )  # fmt: skip


def _network(files: list[Path], patch: int) -> Network:
    return _read(tuple((str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files), patch)


@lru_cache(maxsize=64)
def _read(files: tuple[tuple[str, int, int], ...], patch: int) -> Network:
    """The network in some files.  Sizes and times are in the key: a changed file is read again."""
    shapes: dict[str, list[int]] = {}
    for path, _, _ in files:
        shapes |= {name: entry["shape"] for name, entry in basemodel.read_header(Path(path)).items()}
    return of_shapes(shapes, patch)


def of_shapes(shapes: Mapping[str, Sequence[int]], patch: int = 1) -> Network:
    """The network with parameters of these shapes, whose tokens are patch x patch cells."""
    levels = 1 + max((int(n) for name in shapes for n in re.findall(r"(?:down|up)_blocks\.(\d+)\.", name)), default=0)
    layers = [
        Layer(
            name.removesuffix(".weight"), math.prod(shape[1:]), shape[0], _level(name, levels, patch),
            len(shape) == 2 and bool(re.search(r"\.\d+\.", name)) and name.endswith(".weight"),
        )
        for name, shape in shapes.items()
        if len(shape) > 1
    ]
    return Network(sum(math.prod(shape) for shape in shapes.values()), tuple(layers))


def _level(name: str, levels: int, patch: int) -> int:
    """At which resolution a layer acts, told from the block that diffusers puts it in."""
    if re.search(r"time|temb|guidance|adaln|modulation|_mod\.|norm[^.]*\.linear|pooled|embeddings", name, re.IGNORECASE):
        return -1
    if re.search(r"add_[qkv]_proj|to_add_out|_context\b|context_|txt_|text_embedder|caption|cap_", name):
        return -3
    if re.search(r"attn2\.to_[kv]\.", name) or "text_model" in name:
        return -2
    down, up = re.search(r"down_blocks\.(\d+)\.", name), re.search(r"up_blocks\.(\d+)\.", name)
    if down:
        return int(down[1]) + ("downsamplers" in name)
    if up:
        return levels - 1 - int(up[1]) - ("upsamplers" in name)
    if "mid_block" in name or name.startswith(("encoder.conv_out", "decoder.conv_in", "quant_conv", "post_quant_conv")):
        return levels - 1
    return patch.bit_length() - 1
