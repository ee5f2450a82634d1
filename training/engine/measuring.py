"""What a run has learnt and what its base model has lost: the same questions at every look, with fixed noise at fixed levels.

Held-out pictures say whether what is learnt holds for pictures that were not trained on; each is asked with the adapter and, once, without.
What the base has lost is how far the adapter moves the base's own answers to sentences that have nothing to do with what is learnt.  They are asked
over what the base itself makes of them, never over training pictures.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from ..config import TrainConfig
from ..data import concepts, words
from ..family import Cond, FamilySpec
from ..formats.adapting import is_whole
from ..home import Home
from ..plan.validating import POINTS, PROBE_LEVELS, PROBES
from ..runs.ranks import Alone
from . import memory
from .data import Feed
from .lessons import Switch
from .randomness import generator

DIGITS = 6  # of a loss on record
MOST_EACH = 64  # losses on record one by one; more of them count in the mean
FURTHEST = 3.0  # from zero: latents have about unit variance, and what is guessed of a picture out of pure noise may lie anywhere


def probes(config: TrainConfig, spec: FamilySpec, home: Home, adapter) -> tuple[str, ...]:
    """The sentences by which it is seen what the base model loses, none of which names what is learnt; () where that is not measured.

    An adapter that moves the base's own weights leaves no base to ask.
    """
    if not (config.data.held_out and config.save.validate_every) or is_whole(adapter):
        return ()
    known = words.lists(home.plugins)
    name = config.keep.words or spec.words_of(config.model.source)
    listed = words.read(known[name]) if name in known else ()
    free = [s for s in listed if not any(concepts.mentions(s, trigger) for trigger in config.triggers)]
    return tuple(free[at * len(free) // PROBES] for at in range(min(PROBES, len(free))))


@dataclass(frozen=True)
class Probe:
    """One question to the base model and its answer.  noisy, answer: [C,...] on the CPU; row: the sentence's place."""

    row: int
    noisy: Tensor
    t: Tensor
    answer: Tensor


@dataclass(frozen=True)
class Measured:
    """losses, bases: of each held-out picture at each level, with the adapter and without (empty where there is no base); forgot: mean squared distance from the base's answer, of each sentence."""

    losses: tuple[float, ...]
    bases: tuple[float, ...]
    forgot: tuple[float, ...]
    took_s: float

    def event(self) -> dict:
        """As it is put on record, besides the step."""
        mean = lambda numbers: sum(numbers) / len(numbers)
        told = {"loss": mean(self.losses), "each": [_short(x) for x in self.losses[:MOST_EACH]], "took_s": round(self.took_s, 3)}
        if self.bases:
            told |= {"base": mean(self.bases), "base_each": [_short(x) for x in self.bases[:MOST_EACH]]}
        if self.forgot:
            told |= {"forgot": mean(self.forgot), "forgot_each": [_short(x) for x in self.forgot]}
        return told


def _short(x: float) -> float:
    return float(f"{x:.{DIGITS}g}")


class Yardstick:
    """Asks a model that learns, the same at every look.  It is asked with the weights for use, dropout off; see Session._averaged."""

    def __init__(self, config: TrainConfig, family, m, schedule, feed: Feed, switch: Switch, objective, sentences: Sequence[str], ranks: Alone, has_base: bool, together=nullcontext):
        self.config, self.family, self.m, self.schedule, self.feed = config, family, m, schedule, feed
        self.switch, self.objective, self.sentences, self.ranks, self.has_base = switch, objective, sentences, ranks, has_base
        self.together = together  # shards.Unsplit.together: around passes, and closed before anything else is asked of the other processes
        self._bases: tuple[float, ...] = ()
        self._probes: list[Probe] | None = None

    @torch.no_grad()
    def measure(self) -> Measured:
        """The numbers of the model as it is now; of several processes all call it, and all are told the same."""
        began = time.monotonic()
        if self.has_base and not self._bases:
            with self.switch.base():
                self._bases = self._held_out()
        if self.sentences and self._probes is None:
            with self.switch.base(), self.together():
                self._probes = list(self._asked_of_base())
        losses = self._held_out()
        return Measured(losses, self._bases, self._forgot(), time.monotonic() - began)

    def _held_out(self) -> tuple[float, ...]:
        """The loss of each held-out picture at each level, picture by picture."""
        found: dict[int, float] = {}
        with memory.autocast(self.config), self.together():
            for places, batch in self.ranks.share(self.feed.validation(POINTS, self.config.data.batch_size)):
                losses = self.objective.loss(self.family, self.m, batch, self.schedule, self.config.loss)
                found |= dict(zip(places, losses.tolist(), strict=True))
        return self._together(found, POINTS * len(self.feed.plan.held_out))

    def _asked_of_base(self) -> Iterator[Probe]:
        """Each sentence at falling noise levels, over what the base has guessed so far: a picture of its own in few steps, rough, and nobody's training picture."""
        shape = self.feed.clean(self.feed.plan.held_out[0]).shape
        for row in self._my_rows():
            guessed = torch.zeros(1, *shape, device=self.config.device)
            for n in range(PROBE_LEVELS):
                noise = torch.randn(shape, generator=generator("probe", row, n))[None].to(self.config.device)
                t = torch.tensor([self.schedule.at(1 - (n + 0.5) / PROBE_LEVELS)], device=self.config.device)
                noisy = self.schedule.mix(guessed, noise, t)
                answer = self._answer(noisy, t, [row])
                yield Probe(row, noisy[0].cpu(), t[0].cpu(), answer[0].cpu())
                guessed = self.schedule.clean(noisy, answer, t).clamp(-FURTHEST, FURTHEST)

    def _my_rows(self) -> Iterable[int]:
        return self.ranks.share(range(len(self.sentences)))

    def _forgot(self) -> tuple[float, ...]:
        found: dict[int, float] = dict.fromkeys(self._my_rows(), 0.0)
        size, probes = self.config.data.batch_size, self._probes or []
        with self.together():
            for part in (probes[at : at + size] for at in range(0, len(probes), size)):
                noisy = torch.stack([p.noisy for p in part]).to(self.config.device)
                answers = torch.stack([p.answer for p in part]).to(self.config.device)
                said = self._answer(noisy, torch.stack([p.t for p in part]).to(self.config.device), [p.row for p in part])
                for probe, far in zip(part, (said - answers).pow(2).flatten(1).mean(dim=1).tolist(), strict=True):
                    found[probe.row] += far / PROBE_LEVELS
        return self._together(found, len(self.sentences))

    def _answer(self, noisy: Tensor, t: Tensor, rows: list[int]) -> Tensor:
        """What the denoiser says of these sentences, [B,...] fp32; their words are read by the encoders as they are now."""
        item = self.feed.plan.held_out[0]
        about = [said | self.feed.unshown(item) for said in self.feed.texts.rows([self.feed.unshown_words(self.sentences[row], item) for row in rows])]
        with memory.autocast(self.config):
            return self.family.predict(self.m, noisy.to(self.m.dtype), t, Cond.of(about).to(self.config.device)).float()

    def _together(self, found: dict[int, float], count: int) -> tuple[float, ...]:
        """The numbers of all processes, each in its place."""
        return tuple(self.ranks.total([found.get(at, 0.0) for at in range(count)]))


