"""What is in a file of weights: for whom it is, how strong it is where, what it says of itself, and what is suspicious in it.  numpy only, no torch.

An adapter is read whole, layer by layer.  Of any other file only the header is read, and its hashes, so that a base model of 20 GB is told
from its names within a second, hashes aside.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from .. import registry
from ..family import FamilySpec
from ..outside import open_plain, size
from .deliver import offers, readers
from .factors import layers_of, product
from .foreign import DOTTED, kind_of, left_out, normal, refuse_others
from .layouts import LORA_HEADER, TENSOR, bake, rank_of
from .mapped import FLOATS, Mapped
from .recognise import families_of, known_to, stems_of

CHUNK = 1 << 20
DAMPING = 1e-12
LAYOUTS = {"kohya": "kohya", "comfyui": "the model's first release", "diffusers": "diffusers"}
KINDS = {"lora": "LoRA", "dora": "DoRA", "lokr": "LoKr", "loha": "LoHa", "oft": "OFT"}


@dataclass(frozen=True)
class Block:
    """Some layers that belong together.  strength: root of the sum of ‖dW‖² of its layers."""

    name: str
    layers: int
    strength: float


@dataclass
class Contents:
    """What was found.  Empty where it does not apply: of a file that is no adapter, kind is ""."""

    name: str
    size_bytes: int
    tensors: int
    parameters: int
    formats: dict[str, int] = field(default_factory=dict)  # number format -> tensors
    kind: str = ""  # id of the adapter's kind
    families: list[str] = field(default_factory=list)  # titles; several where names alone do not tell
    layout: str = ""
    layers: int = 0
    ranks: dict[int, int] = field(default_factory=dict)  # rank -> layers
    alphas: dict[float, int] = field(default_factory=dict)
    blocks: list[Block] = field(default_factory=list)
    readers: list[str] = field(default_factory=list)  # programs that can load it
    trigger: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    hashes: dict[str, str] = field(default_factory=dict)
    odd: list[str] = field(default_factory=list)  # sentences on what is suspicious


def inspect(file: Path, plugins: Path | None = None, told: Callable[[float], None] = lambda share: None) -> Contents:
    """Everything about a .safetensors file.  told(share of the work that is done).  Raises ValueError for a file that is none; OSError."""
    mapped = Mapped(file)
    found = Contents(
        file.name, file.stat().st_size, len(mapped.entries), sum(math.prod(e["shape"]) for e in mapped.entries.values()),
        dict(Counter(e["dtype"] for e in mapped.entries.values())), metadata=mapped.metadata, trigger=mapped.metadata.get("modelspec.trigger_phrase", ""),
    )  # fmt: skip
    names = list(mapped.entries)
    if any(TENSOR.fullmatch(normal(n)) for n in names):
        _adapter(found, mapped, names, plugins, told)
    else:
        found.odd.append(_whole_model(names))
    found.hashes = hashes(file, lambda share: told(0.5 + share / 2))
    stamped = mapped.metadata.get("modelspec.hash_sha256", "").removeprefix("0x")
    if stamped and stamped != found.hashes["sha256 of the tensors"]:
        found.odd.append("its own note of a hash (modelspec.hash_sha256) is not that of its tensors: it was changed after it was made, or is damaged")
    return found


def _adapter(found: Contents, mapped: Mapped, names: list[str], plugins: Path | None, told: Callable[[float], None]) -> None:
    try:
        refuse_others([normal(n) for n in names])
        found.kind = kind_of(names)
    except ValueError as error:
        found.odd.append(str(error))
    specs = families_of(names, mapped.metadata, plugins)
    found.families = [s.title for s in specs]
    stems = stems_of(names)
    found.layers = len(stems)
    first = stems[0]
    found.layout = LAYOUTS["kohya" if "." not in first else "comfyui" if first.startswith(DOTTED) else "diffusers"]
    if specs and (less := left_out(mapped.file, names, specs[0])):
        found.odd.append(less)
    if specs and found.kind:
        _readers(found, specs[0], plugins)
    elif not specs:
        known = [(sum(map(known_to(p.module.SPEC), stems)), p.module.SPEC.title) for p in registry.find("families", plugins).values() if p.ok]
        best = max(known, default=(0, ""))
        if best[0]:
            found.odd.append(f"its layers are those of no family that is known here; {best[1]} has {best[0]} of its {len(stems)} layers, such as {first}")
        else:
            found.odd.append(f"its layers are those of no family that is known here, such as {first}")
    _layers(found, mapped, names, stems, told)


def _readers(found: Contents, spec: FamilySpec, plugins: Path | None) -> None:
    """Who loads it, and what to do where ComfyUI does not."""
    layout = next(id for id, said in LAYOUTS.items() if said == found.layout)
    here = readers(spec, found.kind, registry.get("adapters", found.kind, plugins), layout)  # type: ignore[arg-type]
    found.readers = re.split(", | and ", here.title) if here.title else []
    if not here.comfyui:
        best = offers(spec, found.kind, registry.get("adapters", found.kind, plugins))
        if any(o.comfyui for o in best):
            found.odd.append("ComfyUI does not know layers by these names; convert it, and it does")


def _layers(found: Contents, mapped: Mapped, names: list[str], stems: list[str], told: Callable[[float], None]) -> None:
    """Ranks, alphas, strength by block, and what is wrong with the numbers."""
    grouped: dict[str, list[str]] = {}
    for name in names:
        match = TENSOR.fullmatch(normal(name))
        if match:
            grouped.setdefault(match["layer"], []).append(name)
    header = json.loads(mapped.metadata.get(LORA_HEADER) or "{}")
    strengths: dict[str, list[float]] = {}
    broken, silent, ranks, alphas = [], [], Counter(), Counter()
    for n, stem in enumerate(stems):
        told(0.5 * n / len(stems))
        tensors = {name: mapped.tensor(name) for name in grouped[stem] if mapped.dtype(name) in FLOATS}
        if any(not np.isfinite(t).all() for t in tensors.values()):
            broken.append(stem)
            continue
        alpha = next((float(t.reshape(-1)[0]) for name, t in tensors.items() if name.endswith(".alpha") and t.size == 1), None)
        try:
            scaled = bake({normal(k): v for k, v in tensors.items()}, header)[0] if header else tensors
            parts = layers_of(scaled)[stem]
            rank = rank_of(parts)
            size = product(stem, {k: v for k, v in parts.items() if k != "lora_magnitude_vector"}).norm() if "oft_R.weight" not in parts else float(np.linalg.norm(parts["oft_R.weight"]))
        except (ValueError, KeyError):
            continue
        ranks.update([rank] if rank else [])
        alphas.update([alpha] if alpha is not None else [rank] if rank else [])
        strengths.setdefault(block_of(stem), []).append(size)
        if size < DAMPING:
            silent.append(stem)
    found.ranks, found.alphas = dict(sorted(ranks.items())), dict(sorted(alphas.items()))
    found.blocks = [Block(name, len(sizes), math.sqrt(sum(s * s for s in sizes))) for name, sizes in strengths.items()]
    found.blocks.sort(key=lambda b: natural(b.name))
    if len(broken) == 1:
        found.odd.append(f"1 layer with numbers that are not finite (NaN or infinity), such as {broken[0]}: pictures come out black")
    elif broken:
        found.odd.append(f"{len(broken)} layers with numbers that are not finite (NaN or infinity), such as {broken[0]}: pictures come out black")
    if silent and len(silent) == len(stems):
        found.odd.append("every layer is zero: it does nothing")
    elif len(silent) == 1:
        found.odd.append(f"1 layer that does nothing (zero), such as {silent[0]}")
    elif silent:
        found.odd.append(f"{len(silent)} layers that do nothing (zero), such as {silent[0]}")
    sizes = sorted(s for some in strengths.values() for s in some)
    if len(sizes) > 4 and sizes[-1] > 100 * max(sizes[len(sizes) // 2], DAMPING):
        found.odd.append(f"one layer is {sizes[-1] / max(sizes[len(sizes) // 2], DAMPING):.0f} times as strong as a usual one: it may have been trained at too high a learning rate")


def block_of(stem: str) -> str:
    """The block that a layer lies in, by its name in a file: `double_blocks.3`, `down_blocks.1.attentions.0`, `text_encoder.layers.4`."""
    name = re.sub(r"^(?:model\.)?diffusion_model\.|^lora_(?:unet|transformer)__?|^lycoris_|^(?:unet|transformer)\.", "", stem)
    name = re.sub(r"^lora_te([23]?)1?_", lambda m: f"text_encoder{'_' + m[1] if m[1] else ''}.", name)
    name = re.sub(r"(?:text_model[._])?encoder[._](?=layers)", "", name)
    match = re.match(r"((?:down|up|input|output)_blocks[._]\d+[._](?:(?:attentions|resnets|downsamplers|upsamplers)[._])?\d+|mid_block[._]\w+?[._]\d+|middle_block[._]\d+)", name)
    match = match or re.match(r"(.*?(?:blocks|layers|refiner)[._]\d+)", name)
    return re.sub(r"(?<=s)_(?=\d)|(?<=\d)_(?=\w)|(?<=block)_", ".", match[1]) if match else "others"


def natural(text: str) -> list:
    """A key that sorts names with numbers as a person does."""
    return [(0, int(t), "") if t.isdigit() else (1, 0, t) for t in re.split(r"(\d+)", text)]


def _whole_model(names: list[str]) -> str:
    """A sentence on a file that is no adapter."""
    if any(n.startswith("model.diffusion_model.") for n in names):
        return "this is a base model in one file, not an adapter"
    if any(n.startswith(("first_stage_model.", "encoder.", "decoder.")) for n in names) and not any("blocks" in n for n in names):
        return "this looks like a VAE, not an adapter"
    if any(re.match(r"controlnet_|zero_convs|control_model\.|input_hint_block", n) for n in names):
        return "this looks like a ControlNet, not an adapter"
    if any(n.startswith(("image_proj.", "ip_adapter.")) for n in names):
        return "this is an IP-Adapter, not a LoRA"
    return "this holds no adapter; it looks like a network's own weights"


def hashes(file: Path, told: Callable[[float], None] = lambda share: None) -> dict[str, str]:
    """sha256 of the file and of its tensors, and the short ones by which AUTOMATIC1111 and Civitai know it.

    AutoV1: sha256 of 64 KiB from byte 0x100000 on, 8 characters.  AutoV2: the file's sha256, 10 characters.  AutoV3: that of the tensors, 12.
    """
    size = file.stat().st_size
    with open_plain(file, linked=True) as stream:
        start = 8 + int.from_bytes(stream.read(8), "little")
        stream.seek(0x100000)
        old = hashlib.sha256(stream.read(0x10000)).hexdigest()[:8]
        stream.seek(0)
        whole, tensors = hashlib.sha256(stream.read(start)), hashlib.sha256()
        while chunk := stream.read(CHUNK):
            whole.update(chunk)
            tensors.update(chunk)
            told(stream.tell() / size)
    return {
        "sha256": whole.hexdigest(), "sha256 of the tensors": tensors.hexdigest(), "AutoV1": old, "AutoV2": whole.hexdigest()[:10], "AutoV3": tensors.hexdigest()[:12],
    }  # fmt: skip


def told(found: Contents) -> list[tuple[str, str]]:
    """[(label, value)] for a person, what does not apply left out."""
    times = lambda counted: ", ".join(f"{value:g}" if count == found.layers else f"{value:g} ({count} layers)" for value, count in counted.items())
    rows = [
        ("file", f"{found.name}, {size(found.size_bytes)}, {found.tensors} tensors, {found.parameters:,} numbers in {' and '.join(found.formats)}"),
        ("kind", KINDS.get(found.kind, "")), ("for", " or ".join(found.families)), ("layers", f"{found.layers}, named as {found.layout} names them" if found.layers else ""),
        ("rank", times(found.ranks)), ("alpha", times(found.alphas)), ("read by", ", ".join(found.readers)), ("trigger word", found.trigger),
        *((f"  {b.name}", f"{b.strength:.3g}  ({b.layers} layers)") for b in found.blocks), *found.hashes.items(), *(("suspicious", text) for text in found.odd),
    ]  # fmt: skip
    return [(label, value) for label, value in rows if value]
