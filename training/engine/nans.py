"""Where a loss was no number: in which layer it began and with which pictures, and the one more try that the person allows.

A try stands in the run's events, so that every later attempt takes the same step in the same way.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..config import TrainConfig
from ..family import Cond
from ..runs.context import NotANumber
from . import checkpoint, memory
from .data import Batch
from .weights import DTYPES

SLOWER = 0.5  # times the learning rate, from the checkpoint before such a step on


class Care:
    """What is done about steps whose loss was no number.  records: see runs/milder.py, mended()."""

    def __init__(self, config: TrainConfig, records: Sequence[dict[str, Any]], m, split: bool = False):
        self.config, self.m, self.split = config, m, split
        self._slower = [record["since"] for record in records if record["how"] == "slower"]
        self._exact = {record["step"] for record in records if record["how"] == "exact"}
        self.exact = False  # whether the present step is computed in fp32

    def autocast(self):
        """As memory.autocast(), but for a step that is computed in fp32."""
        return contextlib.nullcontext() if self.exact else memory.autocast(self.config)

    @contextlib.contextmanager
    def of(self, step: int) -> Iterator[None]:
        """Inside, a step that was no number before is computed in fp32, where that was asked for: what half precision holds, fp32 holds too, and gives back as it was."""
        if step not in self._exact or self.config.model.dtype == "fp32" or self.split:
            yield
            return
        set_aside = getattr(self.m.denoiser, "set_aside", lambda: None)
        set_aside()  # copies of weights would keep the format that they were made in
        modules = [module for module in (self.m.denoiser, *self.m.text_encoders.values()) if module is not None]
        halves = [t for module in modules for t in (*module.parameters(), *module.buffers()) if t.dtype == DTYPES[self.config.model.dtype]]
        dtype = self.m.dtype
        self.exact, self.m.dtype = True, torch.float32
        try:
            for half in halves:
                half.data = half.data.float()
            yield
        finally:
            set_aside()
            self.exact, self.m.dtype = False, dtype
            for half in halves:
                half.data = half.data.to(DTYPES[self.config.model.dtype])

    def told(self, batch: Batch) -> Batch:
        """The batch; for a step in fp32 with all that the denoiser is told in it."""
        if self.exact:
            wide = lambda cond: Cond({name: t.float() if t.is_floating_point() else t for name, t in cond.tensors.items()})
            batch.cond = wide(batch.cond)
            if batch.asked:
                batch.asked = dataclasses.replace(batch.asked, conds=[wide(cond) for cond in batch.asked.conds])
        return batch

    @contextlib.contextmanager
    def rate(self, optimizer: torch.optim.Optimizer, step: int) -> Iterator[None]:
        """Inside, the optimizer's rates are what they are for a step; outside, what the schedule says."""
        times = SLOWER ** sum(since <= step for since in self._slower)
        before = [group["lr"] for group in optimizer.param_groups]
        if times != 1:
            for group in optimizer.param_groups:
                group["lr"] = group["lr"] * times
        yield
        if times != 1:
            for group, rate in zip(optimizer.param_groups, before, strict=True):
                group["lr"] = rate


def idle(config: TrainConfig, split: bool = False) -> list[str]:
    """A sentence where the setting cannot do what it says.  split: whether the model is, among the cards."""
    if config.survive.not_a_number != "exact":
        return []
    why = "the run computes in fp32 already" if config.model.dtype == "fp32" else "quantised weights and blocks in RAM cannot be computed in fp32" if not can_be_exact(config) else "a model that is split among the cards cannot be computed in fp32" if split else ""
    return [f"survive.not_a_number has no effect: {why}"] if why else []


def can_be_exact(config: TrainConfig) -> bool:
    """Whether a step can be computed in fp32 that is not otherwise."""
    return config.model.dtype != "fp32" and config.model.quantise == "none" and not config.model.offload


def trouble(session, step: int, what: str, ids: list[str]) -> NotANumber:
    """What the session (loop.py) raises for a step, from 0, whose loss or gradient is no number.  what: "the loss became nan"; ids: of the pictures in it."""
    kept = checkpoint.saved(session.ctx.run.path)
    where = f"everything up to step {kept[-1][0]} is saved" if kept else "nothing was saved yet"
    layer, pictures, since = _look(session, step, kept[-1][1] if kept else None)
    began = f"It began in the layer {layer}" + f", with {_listed(pictures)}" * bool(pictures) if layer else f"It came with {_listed(pictures)}" if pictures else ""
    began += f" (seen with the weights of step {since})" * (since is not None and bool(began))
    found = f"{what} at step {step + 1}"
    text = (
        f"{found}, so training stopped; {where}. {began + '. ' if began else ''}Pictures in that batch: {', '.join(ids[:8])}. "
        "Lower optimizer.learning_rate, or use bf16 or fp32, in a new run"
    )
    return NotANumber(text, step, f"{found}. {began}".rstrip(". "), exact=not session.held.split)


def _listed(pictures: list[str]) -> str:
    return ", ".join(pictures[:4]) + f" and {len(pictures) - 4} more" * (len(pictures) > 4)


def _look(session, step: int, newest) -> tuple[str, list[str], int | None]:
    """(the first layer that made numbers that are none, the pictures whose loss was none, the step of the weights that were looked at).

    The step is computed once more with the same draws; "" and [] where all is finite then.  The step is None where the weights are those that it began with.
    Where they hold no numbers themselves by now, those of the newest checkpoint are looked at, and stay: nothing is learnt from here on.
    """
    if session.held.split:  # a pass needs all processes, and the others do not look
        return "", [], None
    since = None if session.step == step else session.step
    if not all(bool(torch.isfinite(weight).all()) for weight in session.weights):
        if newest is None:
            return "", [], None
        files, state, _ = checkpoint.load(newest)
        session.restore(files["adapter"])
        since = state["step"]
    first: list[str] = []
    hooks = [leaf.register_forward_hook(_noting(first, name)) for name, leaf in _leaves(session)]
    pictures: list[str] = []
    try:
        with torch.no_grad(), session.care.of(step):
            for batch in session.feed.shared(step, session.ctx.ranks):
                with session.care.autocast():
                    batch = session.care.told(batch)
                    batch.base = session._said_by_base(batch)
                parts = session._parts(batch)
                while (losses := session._next(parts)) is not None:
                    pictures += [batch.ids[row] for row in (~torch.isfinite(losses)).nonzero().flatten().tolist()]
    except RuntimeError:  # also where memory runs out: what is known by then is said
        pass
    finally:
        for hook in hooks:
            hook.remove()
    return (first[0] if first else ""), list(dict.fromkeys(pictures)), since


def _leaves(session) -> list[tuple[str, nn.Module]]:
    """The layers of what computes, by their names as the base model has them."""
    roots = {"": session.m.denoiser, **session.m.text_encoders, **({session.config.adapter.type: session.m.side.network} if session.m.side else {})}
    return [
        (f"{root}.{name}".strip(".").replace(".base_layer", "").replace(".default", ""), leaf)
        for root, module in roots.items() for name, leaf in module.named_modules() if not any(True for _ in leaf.children())
    ]  # fmt: skip


def _noting(first: list[str], name: str):
    def look(layer, args, out):
        if not first and _unfinite(out) and not any(map(_unfinite, args)):
            first.append(name)

    return look


def _unfinite(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point() and not bool(torch.isfinite(value).all())
