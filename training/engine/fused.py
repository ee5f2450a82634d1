"""LoRA layers computed in fewer operations than peft computes them in: the same to rounding, on the same weights under the same names.

peft adds a LoRA to a Linear with two more layers, a product and a sum, and turns the layer's input into fp32 first.  Here the second thin
product is added while it is made, the scale goes to the small matrices in the backward pass, and half precision stays what it is.  What is
not plain (convolutions, 8- and 4-bit weights, hooks, dropout while it acts, two adapters at once) goes on as in peft.  Convolutions were
tried: the thin kernel computed along with the frozen one, and both added up before; on a processor either was slower than peft.
"""

from __future__ import annotations

from types import MethodType

import torch
from torch import Tensor, nn


def fuse(module: nn.Module) -> int:
    """How many LoRA layers of `module` are computed so from now on."""
    from peft.tuners.lora import layer as lora

    count = 0
    for layer in module.modules():
        if type(layer) is lora.Linear and type(layer.base_layer) is nn.Linear and not layer.fan_in_fan_out:
            layer.forward = MethodType(_linear, layer)
            count += 1
    return count


def _linear(layer, x: Tensor, *args, **kwargs) -> Tensor:
    if layer._disable_adapters and not layer.merged:
        return layer.base_layer(x)
    plain = None if args or kwargs else _plain(layer, x)
    if plain is None:
        return type(layer).forward(layer, x, *args, **kwargs)
    a, b, scale, dtype = plain
    base = layer.base_layer
    return _Linear.apply(x, base.weight, base.bias, a.weight, b.weight, scale, dtype)


def _plain(layer, x: Tensor):
    """(A, B, scale, number format) of the one adapter that acts; None where peft's own way is needed."""
    active = layer.active_adapters
    if len(active) != 1 or layer.merged or active[0] not in layer.lora_A or torch.compiler.is_compiling():
        return None  # a compiler joins the operations itself
    (name,) = active
    a, b, base = layer.lora_A[name], layer.lora_B[name], layer.base_layer
    if name in layer.lora_variant or b.bias is not None or base._forward_hooks or base._forward_pre_hooks or type(base.weight) is not nn.Parameter:
        return None
    dropout = layer.lora_dropout[name]
    if type(dropout) is not nn.Identity and dropout.training and dropout.p > 0:
        return None
    kind = x.device.type
    if torch.is_autocast_enabled(kind):
        dtype = torch.get_autocast_dtype(kind)
    elif x.dtype == a.weight.dtype == base.weight.dtype:
        dtype = x.dtype
    else:
        return None  # peft computes the LoRA in its own format then
    return a, b, layer.scaling[name], dtype


class _Linear(torch.autograd.Function):
    """x [...,I], w [O,I], bias [O] or None, a [R,I], b [O,R] -> x w' + bias + scale x a' b', [...,O]."""

    @staticmethod
    def forward(ctx, x, w, bias, a, b, scale, dtype):
        with torch.autocast(x.device.type, enabled=False):
            flat, w, a_, b_ = x.reshape(-1, x.shape[-1]).to(dtype), w.to(dtype), a.to(dtype), b.to(dtype)
            thin = flat @ a_.t()
            out = flat @ w.t() if bias is None else torch.addmm(bias.to(dtype), flat, w.t())
            out.addmm_(thin, b_.t(), alpha=scale)
        ctx.save_for_backward(flat, thin, w, a_, b_)
        ctx.scale, ctx.shape, ctx.of = scale, x.shape, (x.dtype, a.dtype)
        return out.view(*x.shape[:-1], out.shape[-1])

    @staticmethod
    def backward(ctx, grad):
        flat, thin, w, a, b = ctx.saved_tensors
        of_x, of_lora = ctx.of
        with torch.autocast(grad.device.type, enabled=False):
            grad = grad.reshape(-1, grad.shape[-1]).to(flat.dtype)
            to_thin = grad @ b
            to_x = None
            if ctx.needs_input_grad[0]:
                to_x = (grad @ w).addmm_(to_thin, a, alpha=ctx.scale).view(ctx.shape).to(of_x)
            to_a = (to_thin.t() @ flat).to(of_lora).mul_(ctx.scale) if ctx.needs_input_grad[3] else None
            to_b = (grad.t() @ thin).to(of_lora).mul_(ctx.scale) if ctx.needs_input_grad[4] else None
        return to_x, None, None, to_a, to_b, None, None
