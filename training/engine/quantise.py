"""Frozen weights in 8 or 4 bits: each Linear of a network's blocks gets its quantised weight as it arrives from the file.

The layers in a ModuleList are quantised; embeddings, norms, convolutions and the first and last projections stay as they
are, a few percent of the weights that the picture is most sensitive to.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from ..family import Placement
from ..formats.basemodel import weight_files


def load_network(cls, folder: Path, place: Placement) -> nn.Module:
    """A diffusers network, quantised tensor by tensor: memory holds little more than the result.  Raises ValueError."""
    from accelerate import init_empty_weights
    from safetensors import safe_open

    with init_empty_weights():
        module = cls.from_config(cls.load_config(folder, local_files_only=True))
    wide = set(getattr(cls, "_keep_in_fp32_modules", None) or ())  # parts that their authors keep in fp32
    chosen = {name: layer for name, layer in block_linears(module) if not wide & set(name.split("."))}
    for name, layer in chosen.items():
        module.set_submodule(name, _empty(layer, place), strict=True)
    expected = module.state_dict().keys()
    for file in weight_files(folder):
        with safe_open(file, "pt") as stored:
            names = {name: name for name in stored.keys()}  # noqa: SIM118 it is no dict
            module._fix_state_dict_keys_on_load(names)  # {name now: name in the file}
            for name, old in names.items():
                if name not in expected:
                    raise ValueError(f"{folder.name}/{file.name} holds {old!r}, which {cls.__name__} does not have; get the base model again, whole")
                owner, _, kind = name.rpartition(".")
                _put(module.get_submodule(owner), kind, stored.get_tensor(old), owner in chosen, torch.float32 if wide & set(name.split(".")) else place.dtype, place)
    empty = next((name for name, p in module.named_parameters() if p.is_meta), None)
    if empty:
        raise ValueError(f"{folder.name} has no weights for {empty!r}; get the base model again, whole")
    if place.quantise == "nf4":
        module.is_loaded_in_4bit = True  # by this peft chooses its layers for it
    return module.to(place.device).requires_grad_(False).eval()


def load_text(cls, folder: Path, place: Placement, **how) -> nn.Module:
    """A text encoder, which transformers quantises itself while it loads.  how: more for its from_pretrained."""
    module = cls.from_pretrained(folder, dtype=place.dtype, quantization_config=_config(place), device_map={"": place.device}, **how)
    for layer in module.modules():
        _unpacked(layer) if hasattr(layer, "support_avx512bf16_for_cpu") else None
    return module.requires_grad_(False).eval()


def block_linears(module: nn.Module) -> list[tuple[str, nn.Linear]]:
    """(name, layer) of the Linear layers in the blocks of a network."""
    lists = tuple(f"{name}." for name, child in module.named_modules() if isinstance(child, nn.ModuleList))
    found = []
    for name, layer in module.named_modules():
        inside = next((prefix for prefix in lists if name.startswith(prefix)), None)
        if isinstance(layer, nn.Linear) and inside and "." in name.removeprefix(inside):
            found.append((name, layer))
    return found


def _config(place: Placement):
    """`place` as transformers says it."""
    if place.quantise == "nf4":
        from transformers import BitsAndBytesConfig

        return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=place.dtype, bnb_4bit_use_double_quant=True)
    from transformers import TorchAoConfig

    return TorchAoConfig(_torchao(place.quantise))


def _empty(layer: nn.Linear, place: Placement) -> nn.Linear:
    """A layer of the same shape that takes a quantised weight."""
    shape = {"bias": layer.bias is not None, "device": "meta"}
    if place.quantise != "nf4":
        return FrozenLinear(layer.in_features, layer.out_features, **shape)
    from bitsandbytes.nn import Linear4bit

    made = Linear4bit(layer.in_features, layer.out_features, compute_dtype=place.dtype, quant_type="nf4", **shape)
    return _unpacked(made)


def _unpacked(layer: nn.Module) -> nn.Module:
    """The layer without bitsandbytes' own packing for processors, which rounds otherwise in eval mode than in training and fails for narrow layers."""
    layer.support_avx512bf16_for_cpu = False
    return layer


def _put(layer: nn.Module, kind: str, tensor: Tensor, quantised: bool, dtype: torch.dtype, place: Placement) -> None:
    """One tensor where it belongs: quantised on the device that it will lie on."""
    tensor = tensor.to(place.device, dtype if tensor.is_floating_point() else tensor.dtype)
    if kind in layer._buffers:
        layer._buffers[kind] = tensor.clone()
    elif quantised and kind == "weight":
        layer.weight = _quantised(layer, tensor, place.quantise)
    else:
        layer._parameters[kind] = nn.Parameter(tensor.clone(), requires_grad=False)  # its own memory, not the mapped file


def _quantised(layer: nn.Module, weight: Tensor, how: str) -> nn.Parameter:
    if how == "nf4":
        from bitsandbytes.nn import Params4bit

        return Params4bit(weight, requires_grad=False, quant_type="nf4", compress_statistics=True, module=layer).to(weight.device)
    from torchao.quantization import quantize_

    alone = nn.Linear(1, 1, bias=False)
    alone.weight = nn.Parameter(weight, requires_grad=False)
    quantize_(alone, _torchao(how))
    return nn.Parameter(alone.weight.data, requires_grad=False)


def _torchao(how: str):
    from torchao.quantization import Float8WeightOnlyConfig, Int8WeightOnlyConfig

    return {"int8": Int8WeightOnlyConfig, "fp8": Float8WeightOnlyConfig}[how]()


class FrozenLinear(nn.Linear):
    """A Linear whose weight is a torchao tensor that never learns.

    torch would keep the dequantised weight of every layer for the backward pass, which costs all that was saved; here it is
    dequantised once more instead.
    """

    in_fp8 = False  # whether its inputs are rounded to fp8 too, and multiplied so

    def forward(self, x: Tensor) -> Tensor:
        return _Frozen.apply(x, self.weight, self.bias, self.in_fp8)


def multiply_in_fp8(module: nn.Module) -> int:
    """Lets the fp8 layers of `module` multiply in fp8; gives how many.  Both sides of a layer must divide by 16, which the units ask for."""
    chosen = [layer for layer in module.modules() if isinstance(layer, FrozenLinear) and not (layer.in_features % 16 or layer.out_features % 16)]
    for layer in chosen:
        layer.in_fp8 = True
    return len(chosen)


def fp8_product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x [...,I] in 16 or 32 bits, weight a torchao fp8 tensor [O,I] with a scale a row -> x weight' + bias, [...,O] in x's format.

    Each row of x is scaled to fp8's largest number and rounded: three bits behind the point, so a product of some thousand terms is off by
    about 3 % of its usual size, as noise without a lean (tests/engine/test_speed.py).
    """
    flat = x.reshape(-1, x.shape[-1])
    most = torch.finfo(torch.float8_e4m3fn).max
    scale = flat.abs().amax(dim=1, keepdim=True).float().clamp(min=1e-12) / most
    rounded = (flat / scale).clamp(-most, most).to(torch.float8_e4m3fn)
    # sums in bf16 out, whatever x is: what the units give with a scale a row
    out = torch._scaled_mm(rounded, weight.qdata.t(), scale, weight.scale.float().reshape(1, -1), out_dtype=torch.bfloat16)
    out = out.to(x.dtype) if bias is None else out.to(x.dtype) + bias
    return out.view(*x.shape[:-1], out.shape[-1])


class _Frozen(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias, in_fp8=False):
        kind = x.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
        ctx.weight, ctx.dtypes = weight, (x.dtype, dtype)
        with torch.autocast(kind, enabled=False):
            if in_fp8:
                return fp8_product(x.to(dtype), weight, None if bias is None else bias.to(dtype))
            return nn.functional.linear(x.to(dtype), weight.dequantize().to(dtype), None if bias is None else bias.to(dtype))

    @staticmethod
    def backward(ctx, grad):
        of_x, dtype = ctx.dtypes
        with torch.autocast(grad.device.type, enabled=False):
            return (grad.to(dtype) @ ctx.weight.dequantize().to(dtype)).to(of_x), None, None, None
