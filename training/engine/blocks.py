"""The blocks of a denoiser: recomputed in the backward pass, and kept in RAM while they do not run."""

from __future__ import annotations

from torch import nn
from torch.utils.checkpoint import checkpoint

EVERY = {"third": 3, "half": 2, "all": 1}


def recompute(denoiser: nn.Module, level: str) -> None:
    """Gradient checkpointing of every block, or of every second or third in the order in which they first run; "off" does nothing."""
    if level == "off":
        return
    met: dict[nn.Module, int] = {}

    def run(block, *args):
        if met.setdefault(block, len(met)) % EVERY[level]:
            return block(*args)
        return checkpoint(block, *args, use_reentrant=False)

    denoiser.enable_gradient_checkpointing(run)


def innermost(module: nn.Module) -> list[nn.Module]:
    """The blocks that a network recomputes one by one: members of its ModuleLists that do not themselves recompute their members."""
    found: list[nn.Module] = []
    for child in module.children():
        members = child.children() if isinstance(child, nn.ModuleList) else ()  # its own iteration also gives places left empty
        for block in members:
            found += innermost(block) if any(hasattr(m, "gradient_checkpointing") for m in block.modules()) else [block]
        if not isinstance(child, nn.ModuleList):
            found += innermost(child)
    return found


def hold_in_ram(denoiser: nn.Module, device: str, share: float) -> None:
    """Keeps `share` of the blocks where they are, in RAM, and copies each to `device` for as long as it runs; the rest moves there.

    A copy is another Parameter, put in the place of the one in RAM: what the backward pass has to see of it, it keeps alive
    itself.  diffusers' group offloading swaps `.data` instead, and a backward pass would find the weight back in RAM.
    """
    blocks = innermost(denoiser)
    count = round(share * len(blocks))
    chosen = [b for at, b in enumerate(blocks) if (at + 1) * count // len(blocks) > at * count // len(blocks)]
    for block in chosen:
        held = [(layer, name, p) for layer in block.modules() for name, p in layer._parameters.items() if p is not None]

        def bring(block, args, held=held):
            for layer, name, p in held:
                layer._parameters[name] = _copy(p, device)

        def put_back(block, args, out, held=held):
            for layer, name, p in held:
                layer._parameters[name] = p

        block.register_forward_pre_hook(bring)
        block.register_forward_hook(put_back, always_call=True)  # a recomputation that has all it needs ends with an exception
    denoiser.held_in_ram = {id(p) for block in chosen for p in block.parameters()}
    settle(denoiser, device)


def settle(denoiser: nn.Module, device: str) -> None:
    """Moves to `device` what is not held in RAM, such as an adapter that was just added; nothing where no block is held."""
    held = getattr(denoiser, "held_in_ram", None)
    if held is None:
        return
    for layer in denoiser.modules():
        for name, p in layer._parameters.items():
            if p is not None and id(p) not in held:
                if p.requires_grad:
                    p.data = p.data.to(device)  # the same Parameter: it learns
                else:
                    layer._parameters[name] = _copy(p, device)
        for name, buffer in layer._buffers.items():
            if buffer is not None:
                layer._buffers[name] = buffer.to(device)


def _copy(p: nn.Parameter, device: str) -> nn.Parameter:
    made = p.to(device) if hasattr(p, "quant_state") else p.data.to(device, copy=True)  # bitsandbytes' knows how it moves
    return made if isinstance(made, nn.Parameter) else nn.Parameter(made, requires_grad=False)
