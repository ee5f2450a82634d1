"""The blocks of a denoiser: recomputed in the backward pass, and kept in RAM while they do not run."""

from __future__ import annotations

import torch
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


def hold_in_ram(denoiser: nn.Module, device: str, share: float, overlap: bool = False) -> None:
    """Keeps `share` of the blocks where they are, in RAM, and copies each to `device` for as long as it runs; the rest moves there.

    overlap: the block that ran next the last time is copied while this one computes.  A copy is another Parameter, put in the place of the one in RAM: what the backward pass has to see of it, it keeps alive
    itself.  diffusers' group offloading swaps `.data` instead, and a backward pass would find the weight back in RAM.
    """
    blocks = innermost(denoiser)
    count = round(share * len(blocks))
    chosen = [b for at, b in enumerate(blocks) if (at + 1) * count // len(blocks) > at * count // len(blocks)]
    copies = _Ahead(device) if overlap else _Copies(device)
    for block in chosen:
        held = [(layer, name, p) for layer in block.modules() for name, p in layer._parameters.items() if p is not None]
        copies.know(block, [p for _, _, p in held])

        def bring(block, args, held=held):
            for (layer, name, _), copy in zip(held, copies.take(block), strict=True):
                layer._parameters[name] = copy

        def put_back(block, args, out, held=held):
            for layer, name, p in held:
                layer._parameters[name] = p

        block.register_forward_pre_hook(bring)
        block.register_forward_hook(put_back, always_call=True)  # a recomputation that has all it needs ends with an exception
    denoiser.held_in_ram = {id(p) for block in chosen for p in block.parameters()}
    settle(denoiser, device)


class _Copies:
    """Copies of blocks on the device, each made when it is wanted."""

    def __init__(self, device: str):
        self.device = device
        self.weights: dict[nn.Module, list[nn.Parameter]] = {}

    def know(self, block: nn.Module, weights: list[nn.Parameter]) -> None:
        self.weights[block] = weights

    def take(self, block: nn.Module) -> list[nn.Parameter]:
        return [copied(p, self.device) for p in self.weights[block]]


class _Ahead(_Copies):
    """The same, each begun while the block before it computes: on a card on a stream of its own, from pages that stay where they are.

    What comes next is what came next after the same two blocks the last time: the way there and the way back of a step differ in that.  A wrong
    guess costs a copy that is dropped.
    """

    def __init__(self, device: str):
        super().__init__(device)
        self.stream = torch.cuda.Stream(device) if device == "cuda" else None
        self.next: dict[tuple[nn.Module | None, nn.Module | None], nn.Module] = {}
        self.last: tuple[nn.Module | None, nn.Module | None] = (None, None)
        self.begun: tuple[nn.Module, list[nn.Parameter]] | None = None
        self.hits = 0  # copies that were there when they were wanted

    def know(self, block: nn.Module, weights: list[nn.Parameter]) -> None:
        super().know(block, weights)
        for p in weights if self.stream else ():
            if not hasattr(p, "quant_state") and type(p.data) is torch.Tensor:
                p.data = p.data.pin_memory()

    def take(self, block: nn.Module) -> list[nn.Parameter]:
        self.next[self.last] = block
        self.last = (self.last[1], block)
        begun, self.begun = self.begun, None
        if begun and begun[0] is block:
            self.hits += 1
            found = begun[1]
            self._wait_for(found)
        else:
            found = super().take(block)
        if (coming := self.next.get(self.last)) is not None and coming is not block:
            self.begun = coming, self._begin(coming)
        return found

    def _begin(self, block: nn.Module) -> list[nn.Parameter]:
        if self.stream is None:
            return super().take(block)
        with torch.cuda.stream(self.stream):
            return [copied(p, self.device, non_blocking=True) for p in self.weights[block]]

    def _wait_for(self, copies: list[nn.Parameter]) -> None:
        if self.stream is None:
            return
        here = torch.cuda.current_stream()
        here.wait_stream(self.stream)
        for p in copies:
            if type(p.data) is torch.Tensor:
                p.data.record_stream(here)  # its memory is the other stream's, and must not be given away before this one is through


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
                    layer._parameters[name] = copied(p, device)
        for name, buffer in layer._buffers.items():
            if buffer is not None:
                layer._buffers[name] = buffer.to(device)


def copied(p: nn.Parameter, device: str, non_blocking: bool = False) -> nn.Parameter:
    """A frozen weight once more, on `device`."""
    made = p.to(device) if hasattr(p, "quant_state") else p.data.to(device, copy=True, non_blocking=non_blocking)  # bitsandbytes' knows how it moves
    return made if isinstance(made, nn.Parameter) else nn.Parameter(made, requires_grad=False)
