"""IP-Adapter (Ye et al. 2023, arXiv 2308.06721): a picture as a prompt beside the words.

A frozen image encoder looks at the picture, a small projection makes a few tokens of what it says, and every layer that attends to words
attends to those tokens too, with keys and values of its own: Z = Attention(Q, K, V) + Attention(Q, K', V').  Only the projection, K' and V' learn;
they begin as copies of the layer's own.  The plus form reads all patches of the picture through a resampler instead of one vector.
"""

from __future__ import annotations

import json
from pathlib import Path

from ..family import PICTURE, Beside
from ..formats.adapting import included
from ..formats.beside import count, off, restore, settings, tensors

__all__ = ["BESIDE", "BLURB", "INSIDE", "KOHYA", "TITLE", "USES", "build", "card", "count", "for_unet", "inward", "load", "off", "outward", "parameters", "restore", "settings", "tensors", "weights", "write"]

TITLE = "IP-Adapter"
BLURB = "A picture as a prompt: draws what is like it. Learns from the pictures themselves, ten thousand or more; layers can be chosen, so that it takes only the style."
USES = ("plus", "image_encoder", "picture_dropout", "both_dropout", "include", "exclude", "start_from")
KOHYA = "never"
BESIDE = "picture"  # is shown the picture itself
INSIDE = True  # its layers lie in the denoiser's own attention, which must hold its weights as they are
PASSES = 0.2  # more forward passes' worth of work: a few tokens more in each layer that attends to words

TOKENS, PLUS_TOKENS = 4, 16  # that a picture becomes; the first is what diffusers' loader takes for granted
DEPTH, HEAD_WIDTH, WIDEST = 4, 64, 1280  # of the resampler, as in the authors' files
FILE = "ip_adapter.safetensors"


def build(beside: Beside, denoiser, config, stride: int, width: int, seed: int):
    """Puts fresh layers into a loaded UNet, fp32; gives the network that holds them.  width: of what the image encoder says.

    Layers that include and exclude leave out add nothing and do not learn.  Raises ValueError when a pattern fits no layer.
    """
    import torch

    torch.manual_seed(seed)
    names = _attending(denoiser)
    for field, patterns in (("include", config.include), ("exclude", config.exclude)):
        for pattern in patterns:
            if not any(included(config.model_copy(update={"include": (pattern,), "exclude": ()}), name) for name in names):
                raise ValueError(f"adapter.{field} has {pattern!r}, but no layer's name holds that; a layer is called for example {names[0]}")
    chosen = [name for name in names if included(config, name)]
    if not chosen:
        raise ValueError("adapter.include and adapter.exclude together leave no layer; take a pattern out")
    layers = {}
    for number, name in enumerate(names):
        attention = denoiser.get_submodule(name)
        layers[f"{2 * number + 1}.to_k_ip.weight"] = attention.to_k.weight.detach().float()
        layers[f"{2 * number + 1}.to_v_ip.weight"] = attention.to_v.weight.detach().float() * (name in chosen)
    projection = _projection(width, denoiser.config.cross_attention_dim, config.plus)
    denoiser._load_ip_adapter_weights([{"image_proj": _outward(projection.state_dict()), "ip_adapter": layers}], low_cpu_mem_usage=False)
    network = held(denoiser).float()
    for number, name in enumerate(names):
        network.ip_adapter[str(2 * number + 1)].requires_grad_(name in chosen)
    return network


def held(denoiser):
    """The layers of an IP-Adapter that lie in a UNet, as one network, under the names that its file has."""
    from torch import nn

    network = nn.Module()
    network.image_proj = denoiser.encoder_hid_proj.image_projection_layers[0]
    network.ip_adapter = nn.ModuleDict()
    for number, name in enumerate(_attending(denoiser)):
        processor = denoiser.get_submodule(name).processor
        network.ip_adapter[str(2 * number + 1)] = nn.ModuleDict({"to_k_ip": processor.to_k_ip[0], "to_v_ip": processor.to_v_ip[0]})
    return network


def parameters(network) -> list:
    """The weights that learn, in a fixed order."""
    return [p for p in network.parameters() if p.requires_grad]


def for_unet(network, noisy, t, cond, told: dict) -> dict:
    """`told` with the picture, [B,1,D] or, in the plus form, [B,1,L,D]."""
    added = told.get("added_cond_kwargs", {}) | {"image_embeds": [cond.tensors[PICTURE].to(noisy.dtype)[:, None]]}
    return {**told, "added_cond_kwargs": added}


def write(network, folder: Path, config, encoder: str) -> None:
    """The file that load_ip_adapter reads, and beside it what it was trained with.  encoder: the image encoder's Hub id or folder's name."""
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    found = {f"image_proj.{k}": v for k, v in _outward(network.image_proj.state_dict()).items()}
    found |= {f"ip_adapter.{k}": v for k, v in network.ip_adapter.state_dict().items()}
    save_file({k: v.detach().cpu().contiguous().clone() for k, v in found.items()}, folder / FILE, metadata={"format": "pt"})
    told = {"image_encoder": encoder, "plus": config.plus, "tokens": PLUS_TOKENS if config.plus else TOKENS}
    (folder / "config.json").write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


def load(beside: Beside, pipe, folder: Path, dtype):
    """The network from what write() wrote, now in the pipeline's UNet, by diffusers' own load_ip_adapter."""
    pipe.load_ip_adapter(str(folder.parent), subfolder=folder.name, weight_name=FILE, image_encoder_folder=None, local_files_only=True)
    return held(pipe.unet)


def card(beside: Beside, place: str, source: str, encoder: tuple[str, str], dtype: str) -> tuple[list[str], list[str], str]:
    """(imports, lines that make the pipeline, arguments of its call) of the model card's snippet.  place, source: literals."""
    repo, inside = encoder
    where = f"{json.dumps(repo)}" + (f", subfolder={json.dumps(inside)}" if inside else "")
    return (
        [f"from diffusers import {beside.pipeline}", "from transformers import CLIPVisionModelWithProjection"],
        [
            f"encoder = CLIPVisionModelWithProjection.from_pretrained({where}, {dtype})",
            f'pipeline = {beside.pipeline}.from_pretrained({source}, image_encoder=encoder, {dtype}).to("cuda")',
            f'pipeline.load_ip_adapter({place}, subfolder="ip_adapter", weight_name="{FILE}", image_encoder_folder=None)',
            'picture = load_image("path/to/a/picture.png")',
        ],
        "ip_adapter_image=picture",
    )


def weights(layers, beside: Beside, config) -> float:
    """How many weights learn.  layers: plan.layers.Network of the denoiser."""
    if not layers.layers:
        return 22e6 if layers.parameters < 1.5e9 else 350e6  # the paper's for SD 1.5; of SDXL's released file
    own = [layer for layer in layers.layers if layer.name.endswith(("attn2.to_k", "attn2.to_v"))]
    return float(sum(layer.weights for layer in own) + TOKENS * 1024 * max((layer.inputs for layer in own), default=0))


def _attending(denoiser) -> list[str]:
    """Names of the layers that attend to words, in the order by which the file numbers them: 1, 3, 5 …"""
    return [name.removesuffix(".processor") for name in denoiser.attn_processors if name.endswith("attn2.processor")]


def _projection(width: int, words: int, plus: bool):
    """Makes tokens of the encoder's words' width out of what the image encoder says: one vector, or in the plus form all its patches."""
    from diffusers.models.embeddings import ImageProjection, IPAdapterPlusImageProjection

    if not plus:
        return ImageProjection(image_embed_dim=width, cross_attention_dim=words, num_image_text_embeds=TOKENS)
    hidden = min(words, WIDEST)
    return IPAdapterPlusImageProjection(
        embed_dims=width, output_dims=words, hidden_dims=hidden, depth=DEPTH, dim_head=HEAD_WIDTH, heads=max(1, hidden // HEAD_WIDTH), num_queries=PLUS_TOKENS
    )


# what diffusers calls the parts of a resampler's block -> its place and name in the authors' files
_BLOCK = {
    "ln0": "0.norm1", "ln1": "0.norm2", "attn.to_q": "0.to_q", "attn.to_out.0": "0.to_out", "ff.0": "1.0", "ff.1.net.0.proj": "1.1", "ff.1.net.2": "1.3",
}  # fmt: skip


def inward(saved: dict, prefix: str) -> dict:
    """{prefix.name: tensor} as tensors() gives them, of a file under its authors' names or of a checkpoint."""
    if any(name.startswith(f"{prefix}.image_proj.") for name in saved):
        return saved
    back = {theirs: ours for ours, theirs in _BLOCK.items()}
    found = {}
    for name, tensor in saved.items():
        if name.startswith("image_proj.proj."):
            name = name.replace("proj.proj", "proj.image_embeds")
        elif name.startswith("image_proj.layers."):
            start, number, rest = name.removeprefix("image_proj.").split(".", 2)
            stem, ending = rest.rsplit(".", 1)
            if stem == "0.to_kv":
                for ours, half in zip(("attn.to_k", "attn.to_v"), tensor.chunk(2), strict=True):
                    found[f"{prefix}.image_proj.{start}.{number}.{ours}.{ending}"] = half
                continue
            name = f"image_proj.{start}.{number}.{back.get(stem, stem)}.{ending}"
        found[f"{prefix}.{name}"] = tensor
    return found


def outward(names, prefix: str, denoiser: str) -> dict[str, tuple[str, ...]]:
    """{name in the result's file: the names in a checkpoint of what lies there, one on another}."""
    start = f"{prefix}.image_proj."
    projection = _named(name.removeprefix(start) for name in names if name.startswith(start))
    found = {f"image_proj.{theirs}": tuple(start + one for one in ours) for theirs, ours in projection.items()}
    return found | {name.removeprefix(f"{prefix}."): (name,) for name in names if name.startswith(f"{prefix}.") and not name.startswith(start)}


def _outward(state: dict) -> dict:
    """A projection's weights under the names that IP-Adapter's authors gave them, which every loader reads."""
    import torch

    return {theirs: torch.cat([state[name] for name in ours]) if len(ours) > 1 else state[ours[0]] for theirs, ours in _named(state).items()}


def _named(names) -> dict[str, tuple[str, ...]]:
    """{the authors' name: ours of what lies there, one on another} of a projection's weights."""
    found: dict[str, tuple[str, ...]] = {}
    for name in names:
        if not name.startswith("layers."):
            found[name.replace("image_embeds", "proj")] = (name,)
            continue
        _, number, rest = name.split(".", 2)
        stem, ending = rest.rsplit(".", 1)
        if stem == "attn.to_k":  # keys and values lie in one matrix there
            found[f"layers.{number}.0.to_kv.{ending}"] = (name, f"layers.{number}.attn.to_v.{ending}")
        elif stem != "attn.to_v":
            found[f"layers.{number}.{_BLOCK[stem]}.{ending}"] = (name,)
    return found
