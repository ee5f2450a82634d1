"""A denoiser whose weights are split among the processes of a run (FSDP2): each holds a part of every block, and a block is whole only while it runs.

A pass through it asks something of every process, so all must make the same passes in the same order, though each has work of its own: other pictures,
other samples, or none left.  Before each pass they agree on what comes next; whoever has no work of that kind makes the pass with what it
was last asked, and what comes of it counts nothing.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.utils._pytree import tree_leaves, tree_map

from ..config import TrainConfig
from ..formats.adapting import is_whole
from ..plan import estimate, sharing
from ..plan.devices import CARDS
from ..runs.context import Context
from ..runs.ranks import Lost
from . import memory
from .blocks import innermost

ASK, LEARN, DONE = 0, 1, 2  # a pass without gradients, one with them and its way back, none any more; what is asked for goes first
OF_THE_NETWORK = ("gloo", "nccl", "xccl", "connection closed", "connection reset")  # in what torch says where another process is gone


class Unsplit:
    """Each process holds the whole denoiser, and nobody has to wait for another one's pass."""

    split = False  # whether the denoiser's weights are split
    learning = False  # whether those that learn are, with their gradients, optimizer and average

    def __init__(self, config: TrainConfig, ctx: Context):
        self.config, self.ctx = config, ctx

    @property
    def device(self) -> str:
        """Where the denoiser is loaded to."""
        return self.config.device

    def divide(self, denoiser: nn.Module, beside: Sequence[nn.Module] = ()) -> None:
        """Splits a denoiser that was loaded; it may have its adapter already.  beside: small networks that act on its layers, which each process has whole."""

    def loading(self) -> AbstractContextManager[None]:
        """Inside, what is large may lie in RAM in whole."""
        return nullcontext()

    def together(self) -> AbstractContextManager[None]:
        """Inside, each may make as many passes as it likes; it ends when all have ended."""
        return nullcontext()

    def in_turn(self, work: Callable[[], None]) -> None:
        """The first one does the work, then all others: what it makes, they find."""
        with self.ctx.ranks.in_turn():
            work()

    def gathered(self, denoiser: nn.Module, dtype: torch.dtype) -> Any:
        """The denoiser in this number format, for the first process; None for the others.  One that was split comes as another, on the CPU."""
        return denoiser.to(dtype)

    def agreed(self, flag: bool) -> bool:
        """A decision that only the first one has to make; where all have to act on it, all have the first one's."""
        return flag


class Shards(Unsplit):
    """The denoiser's weights are split."""

    split = True

    def __init__(self, config: TrainConfig, ctx: Context, learning: bool):
        super().__init__(config, ctx)
        self.learning = learning
        self._mesh = ctx.ranks.mesh(config.device)
        self._denoiser: Callable[[], nn.Module | None] = lambda: None  # held elsewhere, so that it goes when it is let go there
        self._serving = False
        self._asked: tuple[tuple, dict] | None = None  # what the denoiser was last asked

    @property
    def device(self) -> str:
        return "cpu"  # no card ever holds all of it

    def divide(self, denoiser: nn.Module, beside: Sequence[nn.Module] = ()) -> None:
        """Block by block: each lies on the card in whole only until this process has its part of it.  Raises ValueError where a weight cannot be split."""
        from torch.distributed.fsdp import fully_shard

        device = torch.device(self.config.device, torch.get_device_module(self.config.device).current_device()) if self.config.device in CARDS else torch.device(self.config.device)
        whole = {p for p in denoiser.parameters() if p.ndim == 0 or (p.requires_grad and not self.learning)}  # an adapter's weights are small, and each has them all
        if self.learning and (odd := [name for name, p in denoiser.named_parameters() if p.ndim == 0 and p.requires_grad]):
            raise ValueError(f"shard is {self.config.shard}, but {odd[0]} is a single number, which cannot be split among cards; set shard to off, or leave it out with adapter.exclude")
        for p in whole:
            p.data = p.data.to(device)
        for network in beside:
            network.to(device)
        for part in (*(block for block in innermost(denoiser) if any(p not in whole for p in block.parameters())), denoiser):
            fully_shard(part, mesh=self._mesh, reshard_after_forward=True, ignored_params=whole)
            part.set_gradient_divide_factor(1.0)  # the sum over all processes, as where nothing is split
            part.set_force_sum_reduction_for_comms(True)
        self._denoiser, self._asked = weakref.ref(denoiser), None
        denoiser.register_forward_pre_hook(self._meet, prepend=True, with_kwargs=True)

    @contextmanager
    def loading(self) -> Iterator[None]:
        """The processes of one computer one after another, so that its RAM holds it once."""
        most = -self.ctx.ranks.least([-int(os.environ.get("LOCAL_WORLD_SIZE", self.ctx.ranks.world))])[0]  # of any computer
        for number in range(most):
            if number == int(os.environ["LOCAL_RANK"]):
                yield
            self.ctx.ranks.wait()

    @contextmanager
    def together(self) -> Iterator[None]:
        yield
        self._until(DONE)

    def in_turn(self, work: Callable[[], None]) -> None:
        for mine in (self.ctx.ranks.first, not self.ctx.ranks.first):
            with self.together():
                if mine:
                    work()

    def gathered(self, denoiser: nn.Module, dtype: torch.dtype) -> Any:
        from accelerate import init_empty_weights

        keep = self.ctx.ranks.first
        state = {name: whole(value.to(dtype) if value.is_floating_point() else value, keep) for name, value in denoiser.state_dict().items()}
        if not keep:
            return None
        cls = type(denoiser).__mro__[2]  # FSDP2 puts a class of its own, and a mark, before it
        with init_empty_weights():
            made = cls.from_config(denoiser.config)
        made.load_state_dict(state, strict=True, assign=True)
        return made

    def agreed(self, flag: bool) -> bool:
        return self.ctx.ranks.same_flag(flag)

    def _meet(self, module: nn.Module, args: tuple, kwargs: dict) -> None:
        """Before each pass of this process's own."""
        if not self._serving:
            self._asked = tree_map(_apart, (args, kwargs))
            self._until(LEARN if torch.is_grad_enabled() else ASK)

    def _until(self, mine: int) -> None:
        """Serves the others until it is the turn of passes of this kind."""
        while (turn := self._turn(mine)) != mine:
            self._serve(turn)

    def _turn(self, mine: int) -> int:
        turn, all_asked = self.ctx.ranks.least([mine, self._asked is not None])
        if turn != DONE and not all_asked:
            rank = self.ctx.ranks.least([self.ctx.ranks.world if self._asked is None else self.ctx.ranks.rank])[0]
            told = self.ctx.ranks.told_by(rank, tree_map(_on("cpu"), self._asked))
            if self._asked is None:
                self._asked = tree_map(_on(self.config.device), told)
        return turn

    def _serve(self, kind: int) -> None:
        """One pass whose result counts nothing; dropout of one's own draws the same afterwards."""
        device, denoiser = self.config.device, self._denoiser()
        assert denoiser is not None, "a pass was asked for after the denoiser was let go"
        cards = [torch.get_device_module(device).current_device()] if device in CARDS else []
        self._serving = True
        try:
            args, kwargs = self._asked or ((), {})
            with torch.random.fork_rng(cards, device_type=device if cards else "cuda"), torch.set_grad_enabled(kind == LEARN):
                with memory.autocast(self.config):
                    answer = denoiser(*args, **kwargs)
                if kind == LEARN:
                    learnt = [leaf for leaf in tree_leaves(answer) if isinstance(leaf, Tensor) and leaf.requires_grad]
                    torch.autograd.backward(learnt, [torch.zeros_like(leaf) for leaf in learnt])
        finally:
            self._serving = False


def of(config: TrainConfig, ctx: Context) -> Unsplit:
    """How the processes of this run hold the denoiser: split where `shard` says so, or is left to the memory of the cards.  The first one decides."""
    ranks = ctx.ranks
    if ranks.world == 1:
        if config.shard == "on":
            ctx.warn("shard has no effect: one process trains alone, so there is nobody to split the model with")
        return Unsplit(config, ctx)
    counted = config.model_copy(update={"gpus": ranks.world})
    for path, text in sharing.split_problems(counted, ctx.home.plugins):
        raise ValueError(f"{path} {text}")
    free = torch.get_device_module(config.device).mem_get_info()[0] if config.device in CARDS else 0
    least = min(ranks.gather(free), default=0)
    if not ranks.same(ranks.first and _decided(counted, ctx, least)):
        return Unsplit(config, ctx)
    from .. import registry

    return Shards(config, ctx, is_whole(registry.get("adapters", config.adapter.type, ctx.home.plugins)))


def _decided(config: TrainConfig, ctx: Context, free_bytes: int) -> bool:
    try:
        return estimate.is_split(config, ctx.home, free_bytes)
    except ValueError as error:  # a kind of adapter that was added, for one, is not reckoned
        ctx.warn(f"each process holds the whole model, as what it needs cannot be reckoned: {error}; set shard to on to split it")
        return False


def whole(value: Tensor, keep: bool = True) -> Tensor:
    """A copy on the CPU; of what is split the whole, for which all processes call this together.  keep: whether this one wants it; else it gets nothing."""
    value = value.detach()
    value = everywhere(value)
    return value.cpu().contiguous().clone() if keep else torch.empty(0)


def part(value: Tensor, like: Tensor) -> Tensor:
    """`value` as the weight `like` lies: on its device, and where it is split this process's part of it."""
    if isinstance(like, DTensor):
        return distribute_tensor(value.to(like.device), like.device_mesh, like.placements, src_data_rank=None)
    return value.to(like.device)


def own(weight: Tensor) -> Tensor:
    """What of a weight lies in this process, as a weight of its own in the same memory; the weight itself where it is not split."""
    if not isinstance(weight, DTensor):
        return weight
    with torch.no_grad():
        return weight.to_local().detach().requires_grad_(weight.requires_grad)


def everywhere(value: Tensor) -> Tensor:
    """A number that is reckoned of split weights, as every process has it; for which all call this together."""
    return value.full_tensor() if isinstance(value, DTensor) else value


@contextmanager
def losing() -> Iterator[None]:
    """What torch raises inside a pass where another process is gone is no trouble of this one's."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        if any(word in str(error).lower() for word in OF_THE_NETWORK):
            raise Lost(str(error)) from error
        raise


def _apart(leaf: Any) -> Any:
    return leaf.detach().requires_grad_(leaf.requires_grad) if isinstance(leaf, Tensor) else leaf


def _on(device: str) -> Callable[[Any], Any]:
    return lambda leaf: leaf.detach().to(device).requires_grad_(leaf.requires_grad) if isinstance(leaf, Tensor) else leaf
