"""A model in diffusers' layout and the same model in one file: which rows of which tensor lie where.  numpy only; torch and diffusers inside.

Files of a transformer hold it alone, under the names of its first release; those of Stable Diffusion hold UNet, VAE and text encoders.  What a layer
is called there is the family's to say, or a rule of this file; in which order its rows lie is told by diffusers' own conversion, run on the numbers of
the rows instead of on the weights, so that a name or an order that is wrong is found before anything is written.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from ..family import FamilySpec
from .layouts import CLIP_ROOT

UNET = "UNet2DConditionModel"  # the class of the networks whose files hold all parts of the model
UNET_PREFIX, VAE_PREFIX = "model.diffusion_model.", "first_stage_model."
WRAPPED = (UNET_PREFIX, "diffusion_model.", "net.")  # before the names of a denoiser in some files
T = TypeVar("T")
Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]


@dataclass(frozen=True)
class Rows:
    """Where a layer of diffusers' lies in a single file: these rows of this tensor."""

    name: str
    rows: np.ndarray  # [out] numbers


@dataclass(frozen=True)
class Piece:
    """What lies in some rows of a tensor of the single file.  turned: it lies there transposed, and alone."""

    part: str  # folder of diffusers' layout
    name: str  # diffusers' name of the tensor
    rows: np.ndarray
    turned: bool = False


@dataclass(frozen=True)
class Whole:
    """One tensor of the single file."""

    shape: Shape
    pieces: tuple[Piece, ...]


def unwrapped(named: Mapping[str, T]) -> dict[str, T]:
    """What a file holds of a denoiser, by the names of its first release: without what programs put before these, and what they put beside."""
    start = next((w for w in WRAPPED if any(name.startswith(w) for name in named)), "")
    return {name.removeprefix(start): what for name, what in named.items() if name.startswith(start)}


def places(shapes: Shapes, class_name: str, config: dict, what: str) -> dict[str, Rows]:
    """{diffusers' name of a tensor of the denoiser: where it lies in the file}, by diffusers' own conversion of this class's files.

    shapes: of the file's tensors; what: the file's name, for a sentence.  The conversion is run on a stand-in of each tensor that holds the numbers of
    its rows and has no other size, so it costs next to nothing.  Raises ValueError where diffusers cannot convert such files.
    """
    import torch
    from diffusers.loaders.single_file_model import SINGLE_FILE_LOADABLE_CLASSES

    how = SINGLE_FILE_LOADABLE_CLASSES.get(class_name, {}).get("checkpoint_mapping_fn")
    if how is None:
        raise ValueError(f"diffusers has no way from a single file to a {class_name}; work on the base model as a folder")
    starts, standins, at = {}, {}, 0
    for name, shape in shapes.items():
        if shape:
            starts[name] = at
            standins[name] = torch.arange(at, at + shape[0], dtype=torch.float64).reshape(-1, *[1] * (len(shape) - 1))
            at += shape[0]
    order = sorted(starts, key=starts.get)  # type: ignore[arg-type]
    first = np.array([starts[n] for n in order])
    try:
        converted = how(checkpoint=dict(standins), config=config)
    except Exception as error:  # noqa: BLE001 a conversion may fail in any way on a file that it was not written for
        raise ValueError(f"{what} is not taken apart by diffusers' conversion to a {class_name} ({type(error).__name__}); work on the base model as a folder") from None
    found = {}
    for name, rows in converted.items():
        numbers = rows.reshape(-1).numpy().astype(np.int64)
        if not len(numbers):
            continue
        source = order[int(np.searchsorted(first, numbers[0], side="right")) - 1]
        inside = numbers - starts[source]
        if inside.min() >= 0 and inside.max() < shapes[source][0]:
            found[name] = Rows(source, inside)
    return found


def plan(parts: Mapping[str, Shapes], spec: FamilySpec, class_name: str, configs: Mapping[str, dict]) -> dict[str, Whole]:
    """{name in the single file: what lies there} of a model in diffusers' layout.

    parts: {folder: shapes of its tensors}; configs: {folder: its settings}.  Raises ValueError for a family, or a text encoder, that has no such names.
    """
    if spec.parts.get("after_text") and not spec.enclosed:
        raise ValueError(f"a single file of {spec.title} also holds what its text goes through, under names that are not known here; write a folder")
    made = _denoiser(parts[spec.denoiser], spec, class_name, configs[spec.denoiser])
    for folder, start in spec.enclosed.items():
        made |= {f"{start}{name}": _alone(folder, name, shape, shape) for name, shape in parts[folder].items()}
    if class_name != UNET:
        return made
    levels = 1 + max(int(m[1]) for m in map(_UP.match, parts["vae"]) if m)
    made |= {f"{VAE_PREFIX}{_vae_name(n, levels)}": _alone("vae", n, s, _in_vae(n, s)) for n, s in parts["vae"].items()}
    texts = spec.parts["text"]
    for number, text in enumerate(texts):
        made |= _text(text, number, len(texts), parts[text], configs[text])
    return made


def held(spec: FamilySpec, class_name: str) -> tuple[str, ...]:
    """The folders that a family's single file holds."""
    return (*spec.parts["denoiser"], *spec.parts["vae"], *spec.parts["text"]) if class_name == UNET else (spec.denoiser, *spec.enclosed)


def _denoiser(shapes: Shapes, spec: FamilySpec, class_name: str, config: dict) -> dict[str, Whole]:
    names = _unet_names(shapes) if class_name == UNET else _released_names(shapes, spec)
    if all(joined == [name] for name, joined in names.items()):
        return {name: _alone(spec.denoiser, name, shapes[name], shapes[name]) for name in names}
    sizes = {name: (sum(shapes[n][0] for n in joined), *shapes[joined[0]][1:]) for name, joined in names.items()}
    at = places(sizes, class_name, config, f"a {spec.title} under the names of its first release")
    pieces: dict[str, list[Piece]] = {name: [] for name in names}
    for name in shapes:
        if name not in at:
            raise ValueError(f"{name} has no name in the first release of {spec.title} that is known here; write a folder")
        pieces[at[name].name].append(Piece(spec.denoiser, name, at[name].rows))
    for name, there in pieces.items():
        rows = np.sort(np.concatenate([p.rows for p in there])) if there else np.empty(0)
        if not np.array_equal(rows, np.arange(sizes[name][0])):
            raise ValueError(f"the layers of this {spec.title} do not fill {name} of its first release row by row; write a folder")
    flat = [_pattern(name) for name in spec.flat]
    return {name: Whole((math.prod(sizes[name]),) if any(f.fullmatch(there[0].name) for f in flat) else sizes[name], tuple(there)) for name, there in pieces.items()}


def _alone(part: str, name: str, shape: Shape, there: Shape) -> Whole:
    return Whole(there, (Piece(part, name, np.arange(shape[0] if shape else 1)),))


def _released_names(shapes: Shapes, spec: FamilySpec) -> dict[str, list[str]]:
    """{the first release's name of a tensor: diffusers' names of what it holds}.  Raises ValueError where the family tells none."""
    if not spec.originals:
        raise ValueError(f"{spec.title} has no names of a first release that are known here, so there is no single file of it; write a folder")
    rules = [(_pattern(part), original.name, order) for original in spec.originals for order, part in enumerate(original.parts)]
    rules += [(_pattern(ours), theirs, 0) for ours, theirs in spec.released]
    found: dict[str, list[tuple[int, str]]] = {}
    for name in shapes:
        layer, dot, leaf = name.rpartition(".")
        whole = next(((theirs.replace("{n}", m[1] if m.groups() else ""), order) for rule, theirs, order in rules if (m := rule.fullmatch(name))), None)
        inner = next(((f"{theirs.replace('{n}', m[1] if m.groups() else '')}{dot}{leaf}", order) for rule, theirs, order in rules if (m := rule.fullmatch(layer))), None)
        there, order = whole or inner or (name, 0)
        found.setdefault(there, []).append((order, name))
    return {there: [name for _, name in sorted(joined)] for there, joined in found.items()}


def _pattern(name: str) -> re.Pattern:
    return re.compile(re.escape(name).replace(r"\{n\}", r"(\d+)", 1))


# -- Stable Diffusion's first release (CompVis/latent-diffusion, ldm/modules/diffusionmodules), in whose names its files are passed on

_RESNET = {"norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0", "conv2": "out_layers.3", "conv_shortcut": "skip_connection"}
_OUTER = {
    "conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2", "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0", "add_embedding.linear_2": "label_emb.0.2",
}  # fmt: skip
_MIDDLE = {"resnets.0": "0", "attentions.0": "1", "resnets.1": "2"}
_BLOCK = re.compile(r"(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.+)")


def _unet_names(shapes: Shapes) -> dict[str, list[str]]:
    """{name in the file: [diffusers' name]}.  A block of theirs is a resnet, then what attends and what changes the size, numbered through."""
    numbers = {side: {at: n for n, at in enumerate(_resnets(shapes, side))} for side in ("down", "up")}
    last = {side: {b: max(n for (block, _), n in there.items() if block == b) for b in {b for b, _ in there}} for side, there in numbers.items()}
    starts = {b: 1 + n + b for (b, layer), n in numbers["down"].items() if layer == 0}  # conv_in is the first, and each block ends in one that halves
    found = {}
    for name in shapes:
        match = _BLOCK.fullmatch(name)
        if match:
            side, block, kind, layer, rest = match[1], int(match[2]), match[3], int(match[4]), match[5]
            attends = any(n.startswith(f"{side}_blocks.{block}.attentions.") for n in shapes)
            if kind == "downsamplers":
                there = f"input_blocks.{last['down'][block] + block + 2}.0.op.{rest.partition('.')[2]}"
            elif kind == "upsamplers":
                there = f"output_blocks.{last['up'][block]}.{2 if attends else 1}.{rest}"
            else:
                spot = f"input_blocks.{starts[block] + layer}" if side == "down" else f"output_blocks.{numbers['up'][block, layer]}"
                there = f"{spot}.{0 if kind == 'resnets' else 1}.{_in_resnet(rest) if kind == 'resnets' else rest}"
        elif name.startswith("mid_block."):
            piece = ".".join(name.split(".")[1:3])
            rest = ".".join(name.split(".")[3:])
            there = f"middle_block.{_MIDDLE.get(piece, piece)}.{_in_resnet(rest) if piece.startswith('resnets') else rest}"
        else:
            layer, _, leaf = name.rpartition(".")
            there = f"{_OUTER.get(layer, layer)}.{leaf}"
        found[UNET_PREFIX + there] = [name]
    return found


def _resnets(shapes: Iterable[str], side: str) -> list[tuple[int, int]]:
    """[(block, layer)] of one side's resnets, in order."""
    return sorted({(int(m[2]), int(m[4])) for m in map(_BLOCK.fullmatch, shapes) if m and m[1] == side and m[3] == "resnets"})


def _in_resnet(rest: str) -> str:
    layer, _, leaf = rest.rpartition(".")
    return f"{_RESNET.get(layer, layer)}.{leaf}"


_VAE = (
    (r"(encoder|decoder)\.mid_block\.resnets\.0", r"\1.mid.block_1"), (r"(encoder|decoder)\.mid_block\.resnets\.1", r"\1.mid.block_2"),
    (r"(encoder|decoder)\.mid_block\.attentions\.0\.", r"\1.mid.attn_1."), (r"attn_1\.group_norm", "attn_1.norm"),
    (r"attn_1\.(?:to_out\.0|proj_attn)", "attn_1.proj_out"), (r"attn_1\.(?:to_q|query)\.", "attn_1.q."), (r"attn_1\.(?:to_k|key)\.", "attn_1.k."),
    (r"attn_1\.(?:to_v|value)\.", "attn_1.v."), (r"encoder\.down_blocks\.(\d+)\.resnets", r"encoder.down.\1.block"),
    (r"encoder\.down_blocks\.(\d+)\.downsamplers\.0", r"encoder.down.\1.downsample"), ("conv_norm_out", "norm_out"), ("conv_shortcut", "nin_shortcut"),
)  # fmt: skip


_UP = re.compile(r"decoder\.up_blocks\.(\d+)\.")


def _vae_name(name: str, levels: int) -> str:
    """levels: of the decoder, which are numbered from the other end there."""
    for ours, theirs in _VAE:
        name = re.sub(ours, theirs, name)
    name = _UP.sub(lambda m: f"decoder.up.{levels - 1 - int(m[1])}.", name)
    return re.sub(r"(up\.\d+)\.resnets", r"\1.block", re.sub(r"(up\.\d+)\.upsamplers\.0", r"\1.upsample", name))


def _in_vae(name: str, shape: Shape) -> Shape:
    """Attention is made of 1 x 1 convolutions there."""
    return (*shape, 1, 1) if ".attentions." in name and len(shape) == 2 else shape


_OPEN_CLIP = {
    "embeddings.position_embedding.weight": "positional_embedding", "embeddings.token_embedding.weight": "token_embedding.weight",
    "final_layer_norm.weight": "ln_final.weight", "final_layer_norm.bias": "ln_final.bias",
}  # fmt: skip
_OPEN_LAYER = {"layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj", "self_attn.out_proj": "attn.out_proj"}
_LAYER = re.compile(r"encoder\.layers\.(\d+)\.(.+)\.(weight|bias)")


def _text(part: str, number: int, of: int, shapes: Shapes, config: dict) -> dict[str, Whole]:
    """One text encoder: OpenAI's CLIP by transformers' names, OpenCLIP (the second of two) by its own."""
    plain = {n.removeprefix(CLIP_ROOT): n for n in shapes if not n.endswith("position_ids")}
    if number == 0:
        if of == 1 and config.get("hidden_act") != "quick_gelu":
            raise ValueError("its text encoder is OpenCLIP's without its last layer, as in Stable Diffusion 2, which a single file must have; write a folder")
        prefix = "cond_stage_model.transformer." if of == 1 else "conditioner.embedders.0.transformer."
        return {f"{prefix}{CLIP_ROOT}{n}": _alone(part, full, shapes[full], shapes[full]) for n, full in plain.items()}
    made: dict[str, Whole] = {}
    prefix = f"conditioner.embedders.{number}.model."
    for name, full in plain.items():
        shape, match = shapes[full], _LAYER.fullmatch(name)
        if name == "text_projection.weight":
            made[f"{prefix}text_projection"] = Whole(shape[::-1], (Piece(part, full, np.arange(shape[1]), turned=True),))
        elif match and match[2] in ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"):
            there = f"{prefix}transformer.resblocks.{match[1]}.attn.in_proj_{match[3]}"
            before = made.get(there, Whole((3 * shape[0], *shape[1:]), ()))
            rows = np.arange(shape[0]) + "qkv".index(match[2].split(".")[1][0]) * shape[0]
            made[there] = Whole(before.shape, (*before.pieces, Piece(part, full, rows)))
        else:
            there = f"transformer.resblocks.{match[1]}.{_OPEN_LAYER[match[2]]}.{match[3]}" if match else _OPEN_CLIP[name]
            made[f"{prefix}{there}"] = _alone(part, full, shape, shape)
    return made
