"""Two denoisers that share the noise levels: one module that asks the right one, whose turn it is to learn, and one at a time on the card."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..config import TrainConfig
from ..family import Expert, FamilySpec
from ..plan.experts import law_of, share_of
from ..plan.timelaw import TimeLaw
from . import blocks
from .noise import FlowSchedule
from .randomness import unit


class Experts(nn.Module):
    """Two networks of one kind as one: each answers for the rows whose time is its own.

    boundary: the time, as the networks count it, from which on the first of `members` is asked.
    """

    def __init__(self, members: Mapping[str, nn.Module], boundary: float):
        super().__init__()
        for name, member in members.items():
            self.add_module(name, member)
        self.boundary = boundary
        self.set_aside = lambda: None  # puts the blocks that lie on the card where those in RAM are

    @property
    def config(self):
        return next(self.children()).config

    def forward(self, hidden_states: Tensor, timestep: Tensor, **told):
        """timestep: [B].  As the networks answer: a tuple of one tensor, [B,...]."""
        noisy = (timestep >= self.boundary).tolist()  # waits for the device, as which weights have to be there is decided here
        much, little = self.children()
        if all(noisy) or not any(noisy):
            return (much if noisy[0] else little)(hidden_states=hidden_states, timestep=timestep, **told)
        answer: list[Tensor | None] = [None] * len(noisy)
        for member, mine in ((much, True), (little, False)):
            rows = [at for at, one in enumerate(noisy) if one is mine]
            cut = {k: v[rows] if isinstance(v, Tensor) else v for k, v in told.items()}
            for at, said in zip(rows, member(hidden_states=hidden_states[rows], timestep=timestep[rows], **cut)[0], strict=True):
                answer[at] = said
        return (torch.stack(answer),)

    def enable_gradient_checkpointing(self, run) -> None:
        for member in self.children():
            member.enable_gradient_checkpointing(run)

    def set_attention_backend(self, name: str) -> None:
        for member in self.children():
            member.set_attention_backend(name)


def networks(denoiser: nn.Module, spec: FamilySpec) -> dict[str, nn.Module]:
    """{folder: network} of a denoiser: itself, or the experts that it is made of."""
    return dict(denoiser.named_children()) if isinstance(denoiser, Experts) else {spec.denoiser: denoiser}


def learning(denoiser: nn.Module, spec: FamilySpec, expert: str) -> dict[str, nn.Module]:
    """The same, of what learns where loss.expert is so."""
    mine = {e.folder for e in spec.learning(expert)} or {spec.denoiser}
    return {folder: network for folder, network in networks(denoiser, spec).items() if folder in mine}


def one_at_a_time(denoiser: Experts, device: str) -> None:
    """From now on only the blocks of the expert that was asked last lie on `device`; those of both stay in RAM, as they never change.

    What stands before and after the blocks, and what is added later, such as adapters, lies on the device for good.  Copies are other Parameters,
    as in blocks.hold_in_ram: what a backward pass still has to see of them, it keeps alive itself.
    """
    held = {
        member: [(layer, name, p) for block in blocks.innermost(member) for layer in block.modules() for name, p in layer._parameters.items() if p is not None]
        for member in denoiser.children()
    }
    there: list[nn.Module] = []

    def set_aside():
        for gone in there:
            for layer, name, p in held[gone]:
                layer._parameters[name] = p
        there.clear()

    def bring(member, args, kwargs):
        if there == [member]:
            return
        set_aside()
        there.append(member)
        for layer, name, p in held[member]:
            layer._parameters[name] = blocks.copied(p, device)

    for member in denoiser.children():
        member.register_forward_pre_hook(bring, with_kwargs=True, prepend=True)
    denoiser.held_in_ram = {id(p) for rows in held.values() for _, _, p in rows}
    denoiser.set_aside = set_aside
    blocks.settle(denoiser, device)


@dataclass(frozen=True)
class Turns:
    """Which expert a step trains, and at which noise levels: the same for every micro-batch of the step, whatever happened before."""

    experts: tuple[Expert, ...]  # those that learn
    laws: Mapping[str, TimeLaw]  # {folder: law of its own levels}
    share: float  # of the steps, for the first of two
    in_a_row: int
    seed: int

    def at(self, step: int) -> Expert:
        """The expert that step `step` (from 0) trains."""
        if len(self.experts) == 1:
            return self.experts[0]
        return self.experts[unit("expert", self.seed, step // self.in_a_row) >= self.share]

    def schedule(self, step: int) -> FlowSchedule:
        """What the noise levels of a step are drawn from."""
        return FlowSchedule(law=self.laws[self.at(step).folder])

    def taken(self, steps: int) -> Counter[str]:
        """{folder: steps that it learns in} of the first `steps`."""
        return Counter(self.at(step).folder for step in range(steps))

    def said(self, steps: int) -> list[str]:
        """A sentence for an expert that learns and has no turn in so many steps."""
        taken = self.taken(steps)
        idle = [e for e in self.experts if not taken[e.folder]]
        how = "raise steps, lower loss.expert_steps, or set loss.expert to the other one"
        return [f"In {steps} steps the denoiser {e.called!r} has no turn, so its file will change nothing; {how}" for e in idle]

    def middles(self, steps: int) -> list[float]:
        """A noise level of each that had a turn in so many steps, in the middle of its own: where the result is compared."""
        return [FlowSchedule(law=self.laws[folder]).at(0.5) for folder in sorted(self.taken(steps))]


def turns_of(config: TrainConfig, spec: FamilySpec, law: TimeLaw, boundary: float) -> Turns | None:
    """The turns of a run with this law over all levels; None for a family with one denoiser."""
    experts = spec.learning(config.loss.expert)
    if not experts:
        return None
    laws = {e.folder: law_of(law, boundary, e.called) for e in experts}
    share = config.loss.high_noise_share or share_of(law, boundary)
    return Turns(experts, laws, share, config.loss.expert_steps, config.seed)
