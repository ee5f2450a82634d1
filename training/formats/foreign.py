"""Adapter files of any program brought into diffusers' layout, or one sentence that names what cannot be.  numpy only, no torch.

Names in the wild: kohya's `lora_unet_`, `lora_te_`, `lora_te1_` to `lora_te3_`; OneTrainer's `lora_transformer_`; SimpleTuner's `lycoris_`;
`diffusion_model.` with the first release's names (ComfyUI, ai-toolkit); diffusers' own, new (`transformer.X.lora_A.weight`) and old
(`unet.X.processor.to_q_lora.down.weight`); peft's (`base_model.model.X.lora_A.default.weight`); XLabs' processors.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np

from ..family import FamilySpec, Original
from .layouts import (
    BESIDE,
    CLIP_ROOT,
    ENDINGS,
    FIRST_RELEASE,
    KOHYA_HEADER,
    LAYERS_HEADER,
    LORA_HEADER,
    PRODUCTS,
    STRENGTH,
    TENSOR,
    Arrays,
    bake,
    by_layer,
    rank_of,
)  # fmt: skip

Names = Callable[[str], list[str]]  # folder of a module -> all its layers' names, by which underscores are read
Targets = list[tuple[str, tuple[int, int]]]  # [(layer, (first, last) share of the rows)]

FLAT = ("lora_unet__", "lora_unet_", "lora_transformer_", "lycoris_")  # before a layer of the denoiser, dots written as underscores
FLAT_TEXT = {"lora_te_": 0, "lora_te1_": 0, "lora_te2_": 1, "lora_te3_": 2}  # … of a text encoder: which one
DOTTED = (f"model.{FIRST_RELEASE}.", f"{FIRST_RELEASE}.")
OLD_PROJECTIONS = {"to_q": "q_proj", "to_k": "k_proj", "to_v": "v_proj", "to_out": "out_proj"}  # of a CLIP, as old diffusers called them
DOWN_UP = {"down": "lora_A", "up": "lora_B"}
# what files hold that is no adapter beside a layer, and what to call it
OTHERS = (
    (r"lora_mid\.weight$", "a LoCon in Tucker form (lora_mid)"),
    (r"\.(oft_blocks|oft_diag|boft_\w+|rescale)$", "OFT as LyCORIS and kohya's scripts write it, which turns a layer's outputs"),
    (r"\.(a1|a2|b1|b2|bm)\.weight$", "GLoRA"),
    (r"ia3", "IA3"),
    (r"_norm\.scale$|\.(reshape_weight|set_weight)$", "a control LoRA, which also replaces norms and widens the base model's first layer"),
    (r"\.(diff|diff_b|w_norm|b_norm)$|\.lora_[AB]\.bias$", "changes to biases, norms or whole weights"),
)


def to_diffusers(tensors: Arrays, metadata: Mapping[str, str], spec: FamilySpec, names: Names) -> tuple[Arrays, dict]:
    """(tensors, header) in diffusers' layout, each layer's scale in its weights, from whatever layout the file has.

    Raises ValueError for what is not understood.
    """
    tensors = {normal(k): v for k, v in tensors.items()}
    refuse_others(tensors)
    tensors = _without_enclosed(tensors, spec)
    own = {k: v for k, v in json.loads(metadata.get(LORA_HEADER) or "{}").items() if k.split(".", 1)[0] not in spec.enclosed}
    if own:  # only diffusers' layout has it
        tensors, own = bake({_prefixed(k, spec): v for k, v in tensors.items() if not k.startswith(BESIDE) and not k.endswith(".dora_scale")}, own)
        return tensors, own
    told = json.loads(metadata.get(LAYERS_HEADER) or "{}")
    header = json.loads(metadata.get(KOHYA_HEADER) or "{}")
    made: Arrays = {}
    for stem, parts in _once(by_layer(tensors), spec).items():
        module, targets = _read_stem(stem, spec, names, told)
        for (name, _), piece in zip(targets, _pieces(peft_parts(parts), targets), strict=True):
            made |= {f"{module}.{name}.{what}": tensor for what, tensor in piece.items()}
    return made, header or inferred(made)


def enclosed(stem: str, spec: FamilySpec) -> bool:
    """Whether a layer, as a file names it, is one of a network that the first release's file of the denoiser encloses: no adapter of it is worn here."""
    start = next((s for s in (*FLAT, *DOTTED) if stem.startswith(s)), "")
    rest = stem.removeprefix(start)
    return any(rest.startswith(begins.replace(".", "_") if start in FLAT else begins) or stem.startswith(f"{folder}.") for folder, begins in spec.enclosed.items())


def left_out(file: Path, keys: Iterable[str], spec: FamilySpec) -> str:
    """A sentence where to_diffusers leaves out a part of a file with tensors of these names, else ""."""
    found = any(m and enclosed(m["layer"], spec) for m in map(TENSOR.fullmatch, map(normal, keys)))
    return f"{file.name} also has a part for the network behind the text encoder, which is left out here" if found else ""


def _without_enclosed(tensors: Arrays, spec: FamilySpec) -> Arrays:
    """Raises ValueError where nothing else is there."""
    found = {k: v for k, v in tensors.items() if not enclosed(TENSOR.fullmatch(k)["layer"], spec)}  # type: ignore[index]
    if tensors and not found:
        raise ValueError(f"this file changes nothing but the network behind {spec.title}'s text encoder, which cannot be worn, trained or converted here")
    return found


def layout(keys: list[str], spec: FamilySpec) -> str:
    """"kohya", "comfyui" or "diffusers": the layout of a file of ours, by the names of its tensors."""
    if any(k.startswith(f"{spec.denoiser}.") for k in keys):
        return "diffusers"
    return "kohya" if all(k.startswith((BESIDE, *FLAT_TEXT)) for k in keys) else "comfyui" if keys[0].startswith(DOTTED) else "diffusers"


def kind_of(keys: list[str]) -> str:
    """The id of the kind of adapter that tensors of these names are.  Raises ValueError for none."""
    marks = {"lokr": ".lokr_", "loha": ".hada_", "oft": ".oft_R", "dora": ("dora_scale", "lora_magnitude_vector"), "lora": "lora"}
    names = [normal(k) for k in keys]
    refuse_others(names)
    return next(kind for kind, mark in marks.items() if any(m in k for k in names for m in ((mark,) if isinstance(mark, str) else mark)))


@lru_cache(maxsize=100_000)  # a file's names are asked for again and again
def normal(key: str) -> str:
    """A tensor's name with the endings that layouts.py knows, without what peft and old diffusers put between."""
    key = re.sub(r"(^|\.)base_model\.model\.", r"\1", key)
    key = re.sub(r"\.default(?=\.weight$|$)", "", key)
    key = re.sub(r"\.lora_magnitude_vector\.weight$", ".lora_magnitude_vector", key)
    key = re.sub(r"\.lora_([AB])$", r".lora_\1.weight", key)
    key = re.sub(r"(processor\.\w+_lora\d)\.(down|up)\.weight$|(blocks\.\d+\.processor\.\w+_lora)\.(down|up)\.weight$", lambda m: f"{m[1] or m[3]}.{DOWN_UP[m[2] or m[4]]}.weight", key)
    key = re.sub(r"(\.lora|_lora|\.lora_linear_layer)\.(down|up)\.weight$", lambda m: f".{DOWN_UP[m[2]]}.weight", key)
    if not re.match(r"(?:\w+\.)?(?:double|single)_blocks\.", key):  # XLabs' layers are called so
        key = key.replace(".processor.", ".")
        key = re.sub(r"\.to_out(?=\.lora_[AB]\.weight$)", ".to_out.0", key) if re.search(r"\.attn\d\.to_out\.lora", key) else key
    if key.startswith("text_encoder"):
        key = re.sub(r"self_attn\.(to_\w+)\.", lambda m: f"self_attn.{OLD_PROJECTIONS.get(m[1], m[1])}.", key)
    return key


def refuse_others(keys) -> None:
    """Raises ValueError when a file holds something else than adapters beside layers."""
    odd = [k for k in keys if not TENSOR.fullmatch(k)]
    if len(odd) == len(keys):
        raise ValueError("this file holds no adapter of a kind that is known here: LoRA, DoRA, LoKr, LoHa or OFT" + next((f"; it is {w}" for p, w in OTHERS for k in odd if re.search(p, k)), ""))
    for pattern, what in OTHERS:
        found = [k for k in odd if re.search(pattern, k)]
        if found:
            raise ValueError(f"this file also holds {what} ({found[0]}{f' and {len(found) - 1} more' if found[1:] else ''}), which cannot be trained or converted here")
    if odd:
        raise ValueError(f"{odd[0]} is no tensor of an adapter that is known here")


def _once(grouped: dict[str, Arrays], spec: FamilySpec) -> dict[str, Arrays]:
    """Without what stands in a file of diffusers' layout a second time, for ComfyUI (layouts.for_comfyui_too)."""
    if any(stem.startswith(f"{spec.denoiser}.") for stem in grouped):
        grouped = {stem: parts for stem, parts in grouped.items() if not stem.startswith(BESIDE)}
    return {stem: {k: v for k, v in parts.items() if k != "dora_scale" or "lora_magnitude_vector" not in parts} for stem, parts in grouped.items()}


def _prefixed(key: str, spec: FamilySpec) -> str:
    """`key` with its module in front: peft's own files have none."""
    return key if key.split(".", 1)[0] in (*spec.parts["denoiser"], *spec.parts["text"]) else f"{spec.denoiser}.{key}"


def as_named_here(key: str, spec: FamilySpec, names: Names) -> str:
    """A text encoder's key as the module that is loaded names it.  names(folder): its layers."""
    module, _, rest = key.partition(".")
    if module in spec.parts["text"] and rest.startswith(CLIP_ROOT) and not any(n.startswith(CLIP_ROOT) for n in names(module)):
        return f"{module}.{rest.removeprefix(CLIP_ROOT)}"
    return key


def _read_stem(stem: str, spec: FamilySpec, names: Names, told: Mapping[str, str]) -> tuple[str, Targets]:
    """(module, targets) that a layer's name in a file means.  told: names that the file's own header explains."""
    if stem in told:
        module, _, layer = str(told[stem]).partition(".")
        return module, [(layer, (0, 1))]
    module, rest, flat = _module(stem, spec)
    originals = (*spec.originals, *(spec.kohya.originals if spec.kohya else ()), *spec.known) if module == spec.denoiser else ()
    for original in originals:
        name = original.name.replace(".", "_") if flat else original.name
        match = re.fullmatch(re.escape(name).replace(r"\{n\}", r"(\d+)"), rest)
        if match:
            return module, _parts_of(original, match[1] if match.groups() else "")
    if not flat and not stem.startswith(DOTTED):
        return module, [(rest, (0, 1))]
    there = names(module)
    found = [n for n in there if rest in (n.replace(".", "_"), (CLIP_ROOT + n).replace(".", "_"))] if flat else [n for n in there if n == rest]
    if not found:
        raise ValueError(f"{stem} is a layer that this {spec.title} model does not have; is the file for another family?")
    return module, [(found[0], (0, 1))]


def _module(stem: str, spec: FamilySpec) -> tuple[str, str, bool]:
    """(folder of the module, layer's name inside it, whether dots are written as underscores)."""
    texts = spec.parts["text"]
    for start, number in FLAT_TEXT.items():
        if stem.startswith(start):
            if number >= len(texts) or texts[number] not in spec.trainable_text:
                raise ValueError(f"{stem} is a layer of a text encoder that cannot be trained with {spec.title}; is the file for another family?")
            return texts[number], stem.removeprefix(start), True
    for start in FLAT:
        if stem.startswith(start):
            return spec.denoiser, stem.removeprefix(start), True
    for start in DOTTED:
        if stem.startswith(start):
            return spec.denoiser, stem.removeprefix(start), False
    module, _, rest = _prefixed(stem, spec).partition(".")
    return module, rest, False


def _parts_of(original: Original, number: str) -> Targets:
    ends = np.cumsum(original.sizes).tolist()
    return [(p.replace("{n}", number), (end - size, end)) for p, size, end in zip(original.parts, original.sizes, ends, strict=True)]


def peft_parts(parts: Arrays) -> Arrays:
    """One layer's tensors by peft's names, its scale baked in."""
    alpha = parts.get("alpha")
    made = {}
    for what, tensor in parts.items():
        if what == "dora_scale":
            if tensor.shape[0] == 1 and tensor.size > 1:
                raise ValueError("this DoRA holds a length for each input of a layer, where one for each output can be trained and converted here")
            tensor = tensor.reshape(-1) if tensor.ndim < 3 else tensor.reshape(1, -1, *[1] * (tensor.ndim - 2))
        if what != "alpha":
            made[ENDINGS.get(what, what)] = tensor
    rank = rank_of(made)
    if alpha is not None and rank is not None:
        for what in STRENGTH:
            if what in made:
                made[what] = made[what] * made[what].dtype.type(float(alpha.reshape(-1)[0]) / rank)
                break
    return made


def _pieces(parts: Arrays, targets: Targets) -> list[Arrays]:
    """The tensors of each layer that one matrix of the first release became.

    B's rows are shared out.  Where each layer's have columns of their own, as a file that was joined has them, A is taken apart too; else
    all share it.
    """
    if len(targets) == 1:
        return [parts]
    products = [pair for pair in PRODUCTS if pair[0] in parts]
    if {what for pair in products for what in pair} != set(parts) - {"lora_magnitude_vector"}:
        raise ValueError(f"{targets[0][0]} comes out of a matrix of several layers, which works for LoRA, DoRA and LoHa only")
    made: list[Arrays] = [{} for _ in targets]
    for down, up in products:
        unit = parts[up].shape[0] // targets[-1][1][1]
        ups = [parts[up][unit * first : unit * last] for _, (first, last) in targets]
        own, rest = divmod(len(parts[down]), len(targets))
        columns = [slice(own * n, own * (n + 1)) for n in range(len(targets))]
        apart = not rest and all(not np.delete(u, range(len(parts[down]))[c], axis=1).any() for u, c in zip(ups, columns, strict=True))
        for piece, u, c in zip(made, ups, columns, strict=True):
            piece |= {down: parts[down][c], up: np.ascontiguousarray(u[:, c])} if apart else {down: parts[down], up: u}
    if "lora_magnitude_vector" in parts:
        lengths = parts["lora_magnitude_vector"].reshape(-1)
        unit = len(lengths) // targets[-1][1][1]
        for piece, (_, (first, last)) in zip(made, targets, strict=True):
            piece["lora_magnitude_vector"] = lengths[unit * first : unit * last]
    return made


def inferred(tensors: Arrays) -> dict:
    """A header for a baked adapter in diffusers' layout, from its tensors' names and shapes.  Raises ValueError for a mix of kinds."""
    told: dict = {}
    modules: dict[str, dict[str, Arrays]] = {}
    for layer, parts in by_layer(tensors).items():
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
