"""The layouts in which adapters are passed on: files read, a layer's strength, and the way out of diffusers' layout.  numpy only, no torch.

diffusers: `unet.<layer>.lora_A.weight`, its settings in the header.  kohya: `lora_unet_<layer with _>.lora_down.weight`,
`.lora_up.weight`, `.alpha`; LyCORIS' kinds by the same names with `.lokr_w1`, `.hada_w1_a` and so on, DoRA with `.dora_scale`.
comfyui: layers as the model's first release names them, `diffusion_model.<layer>.lora_A.weight`, DoRA with `.dora_scale`.
What reads which is the family's to say (FamilySpec); the way back, from any layout, is foreign.py's.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from ..family import FamilySpec, Original

LORA_HEADER = "lora_adapter_metadata"  # diffusers' own entry of a safetensors header
KOHYA_HEADER = "easel.adapter"  # ours in the other layouts: diffusers refuses a kohya file that has its own entry
LAYERS_HEADER = "easel.layers"  # kohya's names -> diffusers', where underscores alone do not tell
EXPERT_HEADER = "easel.expert"  # of two denoisers, the folder of the one that a file is for
FIRST_RELEASE = "diffusion_model"  # prefix of the layout that uses the names of a model's first release
DTYPES = {"F64": np.float64, "F32": np.float32, "F16": np.float16}
ENDINGS = {"lora_down.weight": "lora_A.weight", "lora_up.weight": "lora_B.weight", "dora_scale": "lora_magnitude_vector"}
ALPHAS = ("lora_alpha", "alpha")  # what peft's kinds call it
STRENGTH = ("lora_B.weight", "hada_w1_a", "lokr_w1", "lokr_w1_a")  # the one tensor of a layer that its scale is multiplied into
PRODUCTS = (("lora_A.weight", "lora_B.weight"), ("hada_w1_b", "hada_w1_a"), ("hada_w2_b", "hada_w2_a"))  # (inputs to rank, rank to outputs)
JOINABLE = ({*PRODUCTS[0]}, {*PRODUCTS[0], "lora_magnitude_vector"}, {*PRODUCTS[1], *PRODUCTS[2]})
BESIDE = "lora_unet_"  # before a layer that stands in diffusers' layout a second time, for ComfyUI
CLIP_ROOT = "text_model."  # CLIPTextModel lost this level in transformers 5; files keep it, and both generations read them
TENSOR = re.compile(
    r"(?P<layer>.+)\.(?P<what>lora_[AB]\.weight|lora_(?:down|up)\.weight|lora_magnitude_vector|dora_scale|alpha"
    r"|hada_[wt][12](?:_[ab])?|lokr_(?:[wt][12](?:_[ab])?)|oft_R\.weight)"
)

Arrays = dict[str, np.ndarray]


def read(file: Path) -> tuple[Arrays, dict[str, str]]:
    """(tensors, metadata) of a .safetensors file; bf16 becomes fp32, which holds it exactly.  Raises ValueError, OSError."""
    from .basemodel import read_header

    header = read_header(file)
    with open(file, "rb") as stream:
        size = int.from_bytes(stream.read(8), "little")
        said = json.loads(stream.read(size)).get("__metadata__", {})
        start, found = 8 + size, {}
        for name, entry in header.items():
            begin, end = entry["data_offsets"]
            stream.seek(start + begin)
            data = stream.read(end - begin)
            if entry["dtype"] == "BF16":
                array = (np.frombuffer(data, np.uint16).astype(np.uint32) << 16).view(np.float32)
            elif entry["dtype"] in DTYPES:
                array = np.frombuffer(data, DTYPES[entry["dtype"]])
            else:
                raise ValueError(f"{file.name}: {name} is in the format {entry['dtype']}; an adapter is in F32, F16 or BF16")
            found[name] = array.reshape(entry["shape"]).copy()
    return found, said


def names_in(file: Path) -> list[str]:
    """The names of a file's tensors.  Raises ValueError, OSError."""
    from .basemodel import read_header

    return list(read_header(file))


# -- strength


def bake(tensors: Arrays, header: Mapping) -> tuple[Arrays, dict]:
    """The same adapter with each layer's scale multiplied into its weights, and a header that says alpha = rank everywhere.

    Programs that do not read the header take just that, so the file means the same to all.  header: see adapting.settings().
    """
    by_name = scales(tensors, header)
    baked = {name: tensor * np.float32(by_name[name]) if name in by_name else tensor for name, tensor in tensors.items()}
    told = dict(header)
    for prefix in prefixes(header):
        alpha = next((a for a in ALPHAS if f"{prefix}.{a}" in header), None)
        if alpha:
            told[f"{prefix}.{alpha}"] = header[f"{prefix}.r"]
        if f"{prefix}.alpha_pattern" in header:
            told[f"{prefix}.alpha_pattern"] = header.get(f"{prefix}.rank_pattern", {})
        if f"{prefix}.use_rslora" in header:
            told[f"{prefix}.use_rslora"] = False
    return baked, told


def scales(names: Iterable[str], header: Mapping) -> dict[str, float]:
    """{tensor: what bake() multiplies it by}: one tensor of each layer, alpha over rank as peft computes it."""
    found = {}
    for prefix in prefixes(header):
        own = {k.removeprefix(prefix + "."): v for k, v in header.items() if k.startswith(prefix + ".")}
        alpha = next((a for a in ALPHAS if a in own), None)  # OFT has none
        for name in names if alpha else ():
            match = TENSOR.fullmatch(name)
            if match and name.startswith(prefix + ".") and match["what"] in STRENGTH:
                found[name] = _scale(own, alpha, match["layer"].removeprefix(prefix + "."))  # type: ignore[arg-type]
    return found


def prefixes(header: Mapping) -> list[str]:
    """The modules that a header speaks of: "unet", "text_encoder"."""
    return sorted({k.split(".", 1)[0] for k in header})


def _scale(own: Mapping, alpha_name: str, layer: str) -> float:
    rank = _by_pattern(own.get("rank_pattern") or {}, layer, own["r"])
    alpha = _by_pattern(own.get("alpha_pattern") or {}, layer, own[alpha_name])
    return alpha / (rank**0.5 if own.get("use_rslora") else rank)


def _by_pattern(patterns: Mapping, layer: str, usual: float) -> float:
    """As peft resolves them: the first pattern that the end of the layer's name matches."""
    return next((v for p, v in patterns.items() if re.match(rf"(.*\.)?({p})$", layer)), usual)


# -- diffusers -> the other layouts


def with_clip_root(tensors: Arrays, header: Mapping, spec: FamilySpec) -> Arrays:
    """Text encoders' tensors under the names that diffusers, with both generations of transformers, and ComfyUI read."""
    starts = tuple(f"{name}.encoder." for name in spec.trainable_text if header.get(f"{name}.peft_type", "LORA") != "OFT")
    return {re.sub(r"\.", f".{CLIP_ROOT}", k, count=1) if k.startswith(starts) else k: v for k, v in tensors.items()}


def for_comfyui_too(tensors: Arrays, spec: FamilySpec) -> Arrays:
    """diffusers' layout with what ComfyUI needs beside it: DoRA's lengths by its own name, and layers that it knows by the first release's alone.

    diffusers leaves both out: it drops `dora_scale`, and reads none but the denoiser's prefix.
    """
    found = dict(tensors)
    for layer, parts in by_layer(tensors).items():
        if "lora_magnitude_vector" in parts:
            found[f"{layer}.dora_scale"] = _column(parts["lora_magnitude_vector"])
        module, _, name = layer.partition(".")
        if module == spec.denoiser and name in spec.comfyui_lacks:
            original = next(o.name for o in spec.originals if o.parts == (name,))
            stem = f"{BESIDE}{original.replace('.', '_')}"
            found |= {f"{stem}.{_plain(what)}": _column(t) if what == "lora_magnitude_vector" else t for what, t in parts.items()}
    return found


def to_comfyui(tensors: Arrays, spec: FamilySpec) -> Arrays:
    """A baked adapter in diffusers' layout under the names of the first release.  Raises ValueError where there are none."""
    if not spec.originals:
        raise ValueError(f"{spec.title} has no names of a first release that are known here; write it for diffusers")
    layers: dict[str, Arrays] = {}
    for layer, parts in by_layer(tensors).items():
        module, _, name = layer.partition(".")
        if module != spec.denoiser:
            raise ValueError(f"{layer} belongs to {module}, for which ComfyUI has no name beside {spec.title}'s own layers")
        layers[name] = parts
    joined = _fused(_as_lora(layers), spec.originals)
    return {
        f"{FIRST_RELEASE}.{name}.{_plain(what)}": _column(t) if what == "lora_magnitude_vector" else t
        for name, parts in joined.items() for what, t in parts.items()
    }  # fmt: skip


def to_kohya(tensors: Arrays, spec: FamilySpec) -> Arrays:
    """A baked adapter in diffusers' layout as kohya names it.  Raises ValueError where there are no such names.

    All layers get one alpha, that of the most usual rank: diffusers reads kohya's files right only then.
    """
    if spec.kohya is None:
        raise ValueError(f"{spec.title} has no kohya layout that other programs agree on")
    by_module: dict[str, dict[str, Arrays]] = {}
    for layer, parts in by_layer(tensors).items():
        module, _, name = layer.partition(".")
        if module not in spec.kohya.prefixes:
            raise ValueError(f"{layer} belongs to {module}, for which {spec.title} has no kohya name")
        by_module.setdefault(module, {})[name] = parts
    made: Arrays = {}
    for module, layers in by_module.items():
        layers = _as_lora(layers)
        if module == spec.denoiser and spec.kohya.originals:
            layers = _fused(layers, spec.kohya.originals)
        ranks = [r for r in map(rank_of, layers.values()) if r is not None]
        alpha = Counter(ranks).most_common(1)[0][0] if ranks else 0
        for name, parts in layers.items():
            stem = kohya_stem(module, name, spec)
            made |= {f"{stem}.{ending}": tensor for ending, tensor in kohya_parts(parts, alpha).items()}
    return made


def kohya_stem(module: str, name: str, spec: FamilySpec) -> str:
    """What kohya calls a layer."""
    root = CLIP_ROOT if module != spec.denoiser and name.startswith("encoder.") else ""
    return f"{spec.kohya.prefixes[module]}_{(root + name).replace('.', '_')}"  # type: ignore[union-attr]


def _as_lora(layers: dict[str, Arrays]) -> dict[str, Arrays]:
    """The layers as they are.  Raises ValueError for a kind that turns inputs, which is peft's alone."""
    if any("oft_R.weight" in parts for parts in layers.values()):
        raise ValueError("an OFT adapter has no other layout than peft's, which rotates a layer's inputs, where the others rotate its outputs; write it for diffusers")
    return layers


def by_layer(tensors: Arrays) -> dict[str, Arrays]:
    """{layer with its module in front: {what: tensor}}.  Raises ValueError for a tensor of no known kind."""
    grouped: dict[str, Arrays] = {}
    for name, tensor in tensors.items():
        match = TENSOR.fullmatch(name)
        if not match:
            raise ValueError(f"{name} is no tensor of an adapter that is known here")
        grouped.setdefault(match["layer"], {})[match["what"]] = tensor
    return grouped


def _plain(what: str) -> str:
    """peft's ending, DoRA's lengths by the name that the other programs have for them."""
    return "dora_scale" if what == "lora_magnitude_vector" else what


def _column(lengths: np.ndarray) -> np.ndarray:
    """DoRA's lengths as a column: its first axis tells that outputs are meant."""
    return lengths.reshape(-1, *[1] * (max(lengths.ndim, 2) - 1))


def kohya_parts(parts: Arrays, alpha: int) -> Arrays:
    """One layer's tensors by kohya's endings; what the layer's rank differs from alpha goes into the weights."""
    back = {v: k for k, v in ENDINGS.items()}
    rank, made = rank_of(parts), {}
    for what, tensor in parts.items():
        if what == "lora_magnitude_vector":
            tensor = _column(tensor)
        if what in STRENGTH and rank not in (None, alpha):
            tensor = tensor * tensor.dtype.type(rank / alpha)
        made[back.get(what, what)] = tensor
    return made if rank is None else {**made, "alpha": np.array(alpha, np.float32)}


def rank_of(parts: Mapping[str, np.ndarray]) -> int | None:
    """The rank of one layer's tensors; None where they have none (LoKr with two whole factors, OFT)."""
    for what, axis in (("lora_A.weight", 0), ("hada_w1_b", 0), ("lokr_w2_b", 0), ("lokr_w1_b", 0)):
        if what in parts:
            return parts[what].shape[axis]
    return None


def _fused(layers: dict[str, Arrays], originals: tuple[Original, ...]) -> dict[str, Arrays]:
    """Layers under the names of the first release; those that it holds in one matrix become one adapter of the ranks together."""
    made: dict[str, Arrays] = {}
    left = dict(layers)
    for original in originals:
        for number in _numbers(left, original.parts):
            names = [p.replace("{n}", number) for p in original.parts]
            found = [left.pop(n, None) for n in names]
            made[original.name.replace("{n}", number)] = found[0] if len(names) == 1 else _stacked(names, found, original.sizes)  # type: ignore[assignment]
    if left:
        raise ValueError(f"{min(left)} has no name in this layout of the family; write it for diffusers")
    return made


def _numbers(layers: Mapping, parts: tuple[str, ...]) -> list[str]:
    """What {n} stands for in the layers that are there, rising; [""] for a name without it."""
    seen = set()
    for part in parts:
        pattern = re.compile(re.escape(part).replace(r"\{n\}", r"(\d+)"))
        seen |= {m[1] if m.groups() else "" for m in map(pattern.fullmatch, layers) if m}
    return sorted(seen, key=lambda n: int(n or 0))


def _stacked(names: list[str], found: list[Arrays | None], sizes: tuple[int, ...]) -> Arrays:
    """One adapter for a matrix of several layers' rows.  Raises ValueError for a kind that no such matrix can hold.

    Of each product of two thin matrices (a LoRA's one, LoHa's two) A stands below A, and each B in its own rows and columns.
    """
    given = [f for f in found if f]
    if any(set(f) not in JOINABLE for f in given):
        raise ValueError(f"{names[0]} lies in one matrix with other layers in this layout, which a LoRA, DoRA or LoHa can be put into, and this adapter not; write it for diffusers")
    made: Arrays = {}
    for down, up in (pair for pair in PRODUCTS if pair[0] in given[0]):
        unit = next(f[up].shape[0] // s for f, s in zip(found, sizes, strict=True) if f)
        ranks = [f[down].shape[0] if f else 0 for f in found]
        whole = np.zeros((unit * sum(sizes), sum(ranks)), given[0][up].dtype)
        row = column = 0
        for part, size, rank in zip(found, sizes, ranks, strict=True):
            if part:
                whole[row : row + unit * size, column : column + rank] = part[up]
            row, column = row + unit * size, column + rank
        made |= {down: np.concatenate([f[down] for f in given]), up: whole}
    if "lora_magnitude_vector" in given[0]:
        if len(given) < len(found):
            raise ValueError(f"{names[0]} lies in one matrix with layers that this DoRA leaves out, whose lengths only the base model knows; write it for diffusers")
        made["lora_magnitude_vector"] = np.concatenate([f["lora_magnitude_vector"].reshape(-1) for f in found])  # type: ignore[index]
    return made
