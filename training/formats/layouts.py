"""The layouts in which adapters are passed on: diffusers' and peft's, kohya's and ComfyUI's.  numpy only, no torch.

diffusers: `unet.<layer>.lora_A.weight`, its settings in the header.  kohya (ComfyUI, AUTOMATIC1111): `lora_unet_<layer with _>
.lora_down.weight`, `.lora_up.weight`, `.alpha`; LyCORIS' kinds by the same names with `.lokr_w1`, `.hada_w1_a` and so on, DoRA with
`.dora_scale`.  A third one names layers as the model's first release does: `diffusion_model.<layer>.lora_A.weight`.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np

from ..family import FamilySpec, Original

LORA_HEADER = "lora_adapter_metadata"  # diffusers' own entry of a safetensors header
KOHYA_HEADER = "easel.adapter"  # ours in kohya's layout: diffusers refuses a kohya file that has its own entry
FIRST_RELEASE = "diffusion_model"  # prefix of a layout that uses the names of a model's first release
DTYPES = {"F64": np.float64, "F32": np.float32, "F16": np.float16}
ENDINGS = {"lora_down.weight": "lora_A.weight", "lora_up.weight": "lora_B.weight", "dora_scale": "lora_magnitude_vector"}
ALPHAS = ("lora_alpha", "alpha")  # what peft's kinds call it
STRENGTH = ("lora_B.weight", "hada_w1_a", "lokr_w1", "lokr_w1_a")  # the one tensor of a layer that its scale is multiplied into
CLIP_ROOT = "text_model."  # CLIPTextModel lost this level in transformers 5; files keep it, and both generations read them
_TENSOR = re.compile(
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


def layout(keys) -> str:
    """"diffusers", "kohya" or "first release", by the names of the tensors.  Raises ValueError for a file that is no adapter."""
    keys = list(keys)
    if not any(_TENSOR.fullmatch(k) for k in keys):
        raise ValueError("this file holds no adapter of a kind that is known here: LoRA, DoRA, LoKr, LoHa or OFT")
    if any(k.startswith(("lora_unet_", "lora_te", "lora_transformer_", "lycoris_")) for k in keys):
        return "kohya"
    return "first release" if any(k.startswith(FIRST_RELEASE + ".") for k in keys) else "diffusers"


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
            match = _TENSOR.fullmatch(name)
            if match and name.startswith(prefix + ".") and match["what"] in STRENGTH:
                found[name] = _scale(own, alpha, match["layer"].removeprefix(prefix + "."))
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


# -- diffusers -> kohya


def with_clip_root(tensors: Arrays, header: Mapping, spec: FamilySpec) -> Arrays:
    """Text encoders' tensors under the names that diffusers reads with both generations of transformers; it loads LoRA alone."""
    starts = tuple(f"{name}.encoder." for name in spec.trainable_text if header.get(f"{name}.peft_type", "LORA") == "LORA")
    return {re.sub(r"\.", f".{CLIP_ROOT}", k, count=1) if k.startswith(starts) else k: v for k, v in tensors.items()}


def to_kohya(tensors: Arrays, header: Mapping, spec: FamilySpec) -> Arrays:
    """A baked adapter in diffusers' layout as kohya names it.  Raises ValueError where there are no such names.

    All layers get one alpha, that of the most usual rank: diffusers reads kohya's files right only then.
    """
    if spec.kohya is None:
        raise ValueError(f"{spec.title} has no kohya layout that other programs agree on; ComfyUI reads the diffusers layout of these")
    grouped = _by_layer(tensors)
    if any("oft_R.weight" in parts for parts in grouped.values()):
        raise ValueError("an OFT adapter has no kohya layout: peft rotates a layer's inputs, the others its outputs; export it for diffusers")
    made: Arrays = {}
    by_module: dict[str, dict[str, Arrays]] = {}
    for layer, parts in grouped.items():
        module, _, name = layer.partition(".")
        if module not in spec.kohya.prefixes:
            raise ValueError(f"{layer} belongs to {module}, for which {spec.title} has no kohya name")
        by_module.setdefault(module, {})[name] = parts
    for module, layers in by_module.items():
        if module == spec.denoiser and spec.kohya.originals:
            layers = _fused(layers, spec.kohya.originals)
        ranks = [r for r in map(rank_of, layers.values()) if r is not None]
        alpha = Counter(ranks).most_common(1)[0][0] if ranks else 0
        for name, parts in layers.items():
            if module != spec.denoiser and name.startswith("encoder."):
                name = CLIP_ROOT + name
            stem = f"{spec.kohya.prefixes[module]}_{name.replace('.', '_')}"
            made |= {f"{stem}.{ending}": tensor for ending, tensor in _kohya_parts(parts, alpha).items()}
    return made


def _by_layer(tensors: Arrays) -> dict[str, Arrays]:
    grouped: dict[str, Arrays] = {}
    for name, tensor in tensors.items():
        match = _TENSOR.fullmatch(name)
        if not match:
            raise ValueError(f"{name} is no tensor of an adapter that is known here")
        grouped.setdefault(match["layer"], {})[match["what"]] = tensor
    return grouped


def _kohya_parts(parts: Arrays, alpha: int) -> Arrays:
    """One layer's tensors by kohya's endings; what the layer's rank differs from alpha goes into the weights."""
    back = {v: k for k, v in ENDINGS.items()}
    rank, made = rank_of(parts), {}
    for what, tensor in parts.items():
        if what == "lora_magnitude_vector":  # a column: its first axis tells that outputs are meant
            tensor = tensor.reshape(-1, *[1] * (max(tensor.ndim, 2) - 1))
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
    """Layers under the names of the first release; those that it holds in one matrix become one LoRA of the ranks together."""
    made: dict[str, Arrays] = {}
    left = dict(layers)
    for original in originals:
        for number in _numbers(left, original.parts):
            names = [p.replace("{n}", number) for p in original.parts]
            found = [left.pop(n, None) for n in names]
            given = [f for f in found if f is not None]
            if any(set(f) != {"lora_A.weight", "lora_B.weight"} for f in given) and len(names) > 1:
                raise ValueError(f"{names[0]} lies in one matrix with other layers in kohya's layout, which only a plain LoRA can be put into; export it for diffusers")
            made[original.name.replace("{n}", number)] = given[0] if len(names) == 1 else _stacked(found, original.sizes)
    if left:
        raise ValueError(f"{min(left)} has no name in kohya's layout of this family; export it for diffusers")
    return made


def _numbers(layers: Mapping, parts: tuple[str, ...]) -> list[str]:
    """What {n} stands for in the layers that are there, rising; [""] for a name without it."""
    seen = set()
    for part in parts:
        pattern = re.compile(re.escape(part).replace(r"\{n\}", r"(\d+)"))
        seen |= {m[1] if m.groups() else "" for m in map(pattern.fullmatch, layers) if m}
    return sorted(seen, key=lambda n: int(n or 0))


def _stacked(found: list[Arrays | None], sizes: tuple[int, ...]) -> Arrays:
    """One LoRA for a matrix of several layers' rows: A below A, and each B in its own rows and columns."""
    unit = next(f["lora_B.weight"].shape[0] // s for f, s in zip(found, sizes, strict=True) if f)
    ranks = [f["lora_A.weight"].shape[0] if f else 0 for f in found]
    example = next(f["lora_A.weight"] for f in found if f)
    whole = np.zeros((unit * sum(sizes), sum(ranks)), example.dtype)
    row = column = 0
    for part, size, rank in zip(found, sizes, ranks, strict=True):
        if part:
            whole[row : row + unit * size, column : column + rank] = part["lora_B.weight"]
        row, column = row + unit * size, column + rank
    return {"lora_A.weight": np.concatenate([f["lora_A.weight"] for f in found if f]), "lora_B.weight": whole}


# -- any layout -> diffusers


def to_diffusers(tensors: Arrays, metadata: Mapping[str, str], spec: FamilySpec, names: Callable[[str], list[str]]) -> tuple[Arrays, dict]:
    """(tensors, header) in diffusers' layout, each layer's scale in its weights, from whatever layout the file has.

    names(folder): all layer names of a module, by which kohya's underscores are read.  Raises ValueError for what is not understood.
    """
    kind = layout(tensors)
    header = json.loads(metadata.get(LORA_HEADER) or metadata.get(KOHYA_HEADER) or "{}")
    if kind == "diffusers":
        tensors = {_prefixed(k, spec): v for k, v in tensors.items()}
        if header:
            tensors, header = bake(tensors, header)
        return _settled(tensors, header)
    grouped = _by_layer(tensors)
    made: Arrays = {}
    for stem, parts in grouped.items():
        module, targets = _read_stem(stem, kind, spec, names)
        for (name, rows), piece in zip(targets, _pieces(_peft_parts(parts), targets), strict=True):
            made |= {f"{module}.{name}.{what}": tensor for what, tensor in piece.items()}
    return _settled(made, header)


def _prefixed(key: str, spec: FamilySpec) -> str:
    """`key` with its module in front: peft's own files have none."""
    key = key.removeprefix("base_model.model.")
    return key if key.split(".", 1)[0] in (spec.denoiser, *spec.parts["text"]) else f"{spec.denoiser}.{key}"


def as_named_here(key: str, spec: FamilySpec, names: Callable[[str], list[str]]) -> str:
    """A text encoder's key as the module that is loaded names it.  names(folder): its layers."""
    module, _, rest = key.partition(".")
    if module in spec.parts["text"] and rest.startswith(CLIP_ROOT) and not any(n.startswith(CLIP_ROOT) for n in names(module)):
        return f"{module}.{rest.removeprefix(CLIP_ROOT)}"
    return key


def _read_stem(stem: str, kind: str, spec: FamilySpec, names) -> tuple[str, list[tuple[str, tuple[int, int]]]]:
    """(module, [(layer, (first, last) share of the rows)]) that a layer's name in a foreign file means."""
    if kind == "first release":
        module, rest = spec.denoiser, stem.removeprefix(FIRST_RELEASE + ".")
    else:
        known = {**(spec.kohya.prefixes if spec.kohya else {spec.denoiser: "lora_unet"})}
        module = next((m for m, p in sorted(known.items(), key=lambda i: -len(i[1])) if stem.startswith(p + "_")), "")
        if not module:
            raise ValueError(f"{stem} is a layer of a module that {spec.title} does not train; is the file for another family?")
        rest = stem.removeprefix(known[module] + "_")
    flat = rest.replace(".", "_")
    if module == spec.denoiser and spec.kohya:
        for original in spec.kohya.originals:
            match = re.fullmatch(re.escape(original.name.replace(".", "_")).replace(r"\{n\}", r"(\d+)"), flat)
            if match:
                number = match[1] if match.groups() else ""
                ends = np.cumsum(original.sizes).tolist()
                return module, [(p.replace("{n}", number), (end - size, end)) for p, size, end in zip(original.parts, original.sizes, ends, strict=True)]
    found = [n for n in names(module) if n.replace(".", "_") == flat or (CLIP_ROOT + n).replace(".", "_") == flat]
    if not found:
        raise ValueError(f"{stem} is a layer that this {spec.title} model does not have; is the file for another family?")
    return module, [(found[0], (0, 1))]


def _peft_parts(parts: Arrays) -> Arrays:
    """One layer's tensors by peft's names, its scale baked in."""
    alpha = parts.get("alpha")
    made = {}
    for what, tensor in parts.items():
        if what == "dora_scale":
            tensor = tensor.reshape(-1) if tensor.ndim < 3 else tensor.reshape(1, -1, *[1] * (tensor.ndim - 2))
        if what != "alpha":
            made[ENDINGS.get(what, what)] = tensor
    rank = rank_of(made)
    if alpha is not None and rank is not None:
        for what in STRENGTH:
            if what in made:
                made[what] = made[what] * made[what].dtype.type(float(alpha) / rank)
    return made


def _pieces(parts: Arrays, targets: list[tuple[str, tuple[int, int]]]) -> list[Arrays]:
    """The tensors of each layer that one matrix of the first release became.

    B's rows are shared out.  Where each layer's have columns of their own, as _stacked() makes them, A is taken apart too; else
    all share it.
    """
    if len(targets) == 1:
        return [parts]
    if set(parts) != {"lora_A.weight", "lora_B.weight"}:
        raise ValueError(f"{targets[0][0]} comes out of a matrix of several layers, which works for a plain LoRA only")
    unit = parts["lora_B.weight"].shape[0] // targets[-1][1][1]
    down = parts["lora_A.weight"]
    ups = [parts["lora_B.weight"][unit * first : unit * last] for _, (first, last) in targets]
    own, rest = divmod(len(down), len(targets))
    columns = [slice(own * n, own * (n + 1)) for n in range(len(targets))]
    apart = not rest and all(not np.delete(up, range(len(down))[c], axis=1).any() for up, c in zip(ups, columns, strict=True))
    if apart:
        return [{"lora_A.weight": down[c], "lora_B.weight": np.ascontiguousarray(up[:, c])} for up, c in zip(ups, columns, strict=True)]
    return [{"lora_A.weight": down, "lora_B.weight": up} for up in ups]


def _settled(tensors: Arrays, header: dict) -> tuple[Arrays, dict]:
    """The tensors, strength baked in, and their header; without one it is read off the shapes."""
    alphas = {k: v for k, v in tensors.items() if k.endswith(".alpha")}
    if alphas and not header:
        tensors = {f"{layer}.{what}": t for layer, parts in _by_layer(tensors).items() for what, t in _peft_parts(parts).items()}
    tensors = {k: v for k, v in tensors.items() if not k.endswith(".alpha")}
    return tensors, header or inferred(tensors)


def inferred(tensors: Arrays) -> dict:
    """A header for a baked adapter in diffusers' layout, from its tensors' names and shapes.  Raises ValueError for a mix of kinds."""
    told: dict = {}
    modules: dict[str, dict[str, Arrays]] = {}
    for layer, parts in _by_layer(tensors).items():
        module, _, name = layer.partition(".")
        modules.setdefault(module, {})[name] = parts
    for module, layers in modules.items():
        kinds = {what.split("_")[0] for parts in layers.values() for what in parts}
        if len(kinds) != 1:
            raise ValueError(f"the adapter of {module} mixes kinds ({', '.join(sorted(kinds))}), which cannot be loaded as one")
        told |= {f"{module}.{k}": v for k, v in _settings_of(kinds.pop(), layers).items()}
    return told


def _settings_of(kind: str, layers: dict[str, Arrays]) -> dict:
    if kind == "oft":
        blocks = {parts["oft_R.weight"].shape[1] for parts in layers.values()}
        size = next((b for b in range(2, 4096) if {b * (b - 1) // 2} == blocks), 0)
        if not size:
            raise ValueError("this OFT adapter has blocks of several sizes and no header that tells them; only a file with its header can be read")
        return {"peft_type": "OFT", "r": 0, "oft_block_size": size, "target_modules": _all_of(layers)}
    ranks = {name: rank_of(parts) or max(parts["lokr_w2"].shape) for name, parts in layers.items()}  # a rank so high that peft keeps w2 whole
    usual = Counter(ranks.values()).most_common(1)[0][0]
    patterns = {"^" + re.escape(n): r for n, r in ranks.items() if r != usual}
    told = {"r": usual, "rank_pattern": patterns, "alpha_pattern": patterns, "target_modules": _all_of(layers)}
    if kind == "lora":
        return {"peft_type": "LORA", **told, "lora_alpha": usual, "use_dora": any("lora_magnitude_vector" in p for p in layers.values())}
    if kind == "hada":
        return {"peft_type": "LOHA", **told, "alpha": usual}
    return {"peft_type": "LOKR", **told, "alpha": usual, "decompose_factor": _factor(layers), "decompose_both": any("lokr_w1_a" in p for p in layers.values())}


def _all_of(layers: Mapping) -> str:
    return "|".join(re.escape(name) for name in layers)


def _factor(layers: dict[str, Arrays]) -> int:
    """LoKr's factor: the largest small side, unless every split is the most even one."""
    small, even = [], True
    for parts in layers.values():
        w1 = (parts["lokr_w1"].shape if "lokr_w1" in parts else (parts["lokr_w1_a"].shape[0], parts["lokr_w1_b"].shape[1]))
        w2 = (parts["lokr_w2"].shape[:2] if "lokr_w2" in parts else (parts["lokr_w2_a"].shape[0], parts["lokr_w2_b"].shape[1]))
        small += w1
        taps = (1,) if "lokr_w2" in parts else (1, 9)  # lokr_w2_b holds the kernel of a convolution beside the inputs
        even &= _even(w1[0], w2[0]) and any(_even(w1[1], w2[1] // n) for n in taps if w2[1] % n == 0)
    return -1 if even else max(small)


def _even(small: int, large: int) -> bool:
    """Whether these two are the most even split of their product."""
    return small == max(n for n in range(1, math.isqrt(small * large) + 1) if small * large % n == 0)
