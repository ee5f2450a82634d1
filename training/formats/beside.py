"""What the kinds of adapter share that hang beside the denoiser: a network of its own, every weight of which learns.

Such a kind's file has BESIDE (what it is shown: "control" or "picture"), PASSES and these functions, in place of attach:

    build(beside, denoiser, config, stride, width, seed) -> network   fresh, fp32, for a loaded denoiser.  config: AdapterPart; stride: px per
                                                  latent cell; width: of what the image encoder says
    for_unet(network, noisy, t, cond, told)       the UNet's arguments with what the network adds to them
    weights(layers, beside, config) -> count      how many weights learn, for estimates
    write(network, folder, config, encoder)       the result, as diffusers loads it; encoder: the image encoder's name
    load(beside, pipe, folder, dtype) -> network  the same from there, by diffusers' own loader; pipe: the family's pipeline
    inward(saved, prefix) -> tensors              where the result's names differ from the checkpoint's: its tensors under those
    outward(names, prefix, denoiser) -> sources   the way back, by names alone: {name in the result: the checkpoint's that lie there, one on another}
    card(beside, place, source, encoder, dtype)   (imports, lines, arguments) of the model card's snippet
"""

from __future__ import annotations

from pathlib import Path

SHARD_SIZE = "5GB"  # of a network's files: what the Hub's own tools use


def is_beside(adapter) -> bool:
    """Whether this kind hangs beside the denoiser, so that its result is a network of its own."""
    return bool(getattr(adapter, "BESIDE", ""))


def needs_control(adapter) -> bool:
    """Whether this kind learns from control pictures."""
    return getattr(adapter, "BESIDE", "") == "control"


def on_hub(source: str) -> tuple[str, str] | None:
    """(repository, folder inside it) that an image encoder's address names; None where it is a folder of this computer."""
    owner, _, rest = source.partition("/")
    name, _, inside = rest.partition("/")
    return None if not name or source.startswith((".", "/", "~")) or "\\" in source or Path(source).is_dir() else (f"{owner}/{name}", inside)


def parameters(network) -> list:
    """The weights that learn, in a fixed order: all."""
    return list(network.parameters())


def tensors(network, prefix: str) -> dict:
    """{prefix.name: a copy} of every weight, fp32."""
    return {f"{prefix}.{name}": p.detach().cpu().contiguous().clone() for name, p in network.named_parameters()}


def restore(network, saved: dict, prefix: str) -> None:
    """Puts tensors() back.  Raises ValueError when a weight is missing, left over or of another size."""
    import torch

    state = {k.removeprefix(prefix + "."): v for k, v in saved.items() if k.startswith(prefix + ".")}
    mine = dict(network.named_parameters())
    odd = set(state) ^ set(mine) or {k for k in mine if mine[k].shape != state[k].shape}
    if odd:
        raise ValueError(f"the saved network does not fit this run: {min(odd)!r} is on one side only, or has another size; start a new run")
    with torch.no_grad():
        for name, tensor in state.items():
            mine[name].copy_(tensor)


def off(network):
    """Raises ValueError: nothing holds a base model that stays as it is."""
    raise ValueError("what hangs beside the denoiser leaves the base model as it is; switch keep.on off, and use no dataset that is kept as it is")


def settings(network, prefix: str) -> dict:
    """A network's own config.json says how it is built."""
    return {}


def count(config, rank: int, inputs: int, outputs: int) -> int:
    """Weights of one layer of the denoiser that learn: none."""
    return 0


def write(network, folder: Path, config, encoder: str) -> None:
    """The network as diffusers saves it."""
    network.save_pretrained(folder, max_shard_size=SHARD_SIZE)


def load(beside, pipe, folder: Path, dtype):
    """The same from what write() wrote, by diffusers' own from_pretrained."""
    import diffusers

    return getattr(diffusers, beside.network).from_pretrained(folder, torch_dtype=dtype, local_files_only=True)


def card(beside, place: str, source: str, encoder: tuple[str, str], dtype: str) -> tuple[list[str], list[str], str]:
    """(imports, lines that make the pipeline, arguments of its call) of the model card's snippet, of a kind that is shown a control picture."""
    return (
        [f"from diffusers import {beside.network}, {beside.pipeline}"],
        [
            f"network = {beside.network}.from_pretrained({place}, subfolder=SUBFOLDER, {dtype})",
            f'pipeline = {beside.pipeline}.from_pretrained({source}, {beside.part}=network, {dtype}).to("cuda")',
            'control = load_image("path/to/a/control-picture.png").resize(SIZE)',
        ],
        f"{beside.image}=control",
    )
