"""The training loop: one for every family, adapter and objective."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterator

import torch
from torch import Tensor

from .. import registry
from ..config import TrainConfig, config_hash
from ..data import concepts
from ..family import Cond, Modules, Side
from ..formats.adapting import in_force, is_whole
from ..formats.beside import is_beside
from ..plan import optimizing
from ..runs import milder
from ..runs.context import Context, Stopped
from . import (
    average,
    blocks,
    checkpoint,
    drawing,
    ending,
    frozen,
    idle,
    memory,
    nans,
    obeying,
    optim,
    saving,
    shards,
    speed,
    training_adapter,
)
from .cache import key
from .data import Batch, Drawn
from .experts import learning
from .finish import finish
from .ledger import PAIRED_EVERY, TOLD_EVERY, Ledger, learn, only
from .lessons import Switch
from .losses import picture_loss
from .measuring import Yardstick
from .prepare import Prepared, prepare
from .randomness import number, unit
from .sampling import Gallery
from .watch import Watch
from .weights import load_denoiser, load_vae, placement

LEVEL_EVERY = 100  # steps after which processes that train together compare their weights


def train(config: TrainConfig, ctx: Context) -> None:
    """A whole run: prepare, resume where it stood, learn, and deliver a LoRA that was loaded again and works."""
    speed.check(config)
    with speed.in_force(config, ctx.home):
        prepared = prepare(config, ctx)
        held = shards.of(config, ctx)
        with shards.losing() if held.split else contextlib.nullcontext():
            session = Session(config, ctx, prepared, held)
            saving.resume(session)
            try:
                session.learn()
            finally:
                prepared.feed.close()
            if ctx.ranks.first or held.split:  # else the others have done their share
                finish(config, ctx, prepared, session.adapter, session.modules, *ending.taken(session), held)


class Session:
    """What moves while a run learns: adapter, optimizer, schedule, average, step."""

    def __init__(self, config: TrainConfig, ctx: Context, prepared: Prepared, held: shards.Unsplit | None = None):
        self.config, self.ctx, self.p = config, ctx, prepared
        self.held = held or shards.Unsplit(config, ctx)
        self.family, self.m, self.feed = prepared.family, prepared.m, prepared.feed
        self.adapter = registry.get("adapters", config.adapter.type, ctx.home.plugins)
        self.objective = registry.get("objectives", config.loss.objective, ctx.home.plugins)
        self.hash = config_hash(ctx.run.config())  # as it was written: a milder attempt is the same run
        self.step = 0
        self.ending = ending.of(config, self.adapter, len(prepared.plan.held_out))
        self.care = nans.Care(config, milder.mended(ctx.run), prepared.m, self.held.split)
        self.watch = Watch(config, ctx, prepared.cache, self.feed.per_step)
        self.saved_at = time.monotonic()
        obeying.heed(prepared, ctx)
        self.ledger = Ledger(ctx, getattr(prepared.schedule, "steps", 1.0))
        self._unchecked: list[tuple[int, Tensor, list[str]]] = []  # losses that were not yet read from the device

        ctx.phase("loading the model")
        with self.held.loading():
            self.modules = self._load()
        self.switch = Switch(self.adapter, self.modules)
        fused = speed.furnish(config, self.modules, self.m.denoiser, self.held.split)
        for module in self.modules.values():
            module.train()  # lets the adapter's dropout act; the frozen base has none
        parts = {name: self.adapter.parameters(module) for name, module in self.modules.items()}
        self.weights = [weight for part in parts.values() for weight in part]
        self.own = [shards.own(weight) for weight in self.weights]  # what of each lies here
        self.optimizer = optim.make_optimizer(config.optimizer, self._groups(parts), ctx.home.plugins, speed.acts(config, "fused_optimizer") and not self.held.learning)
        self.scheduler = optim.make_scheduler(config.optimizer, self.optimizer, config.steps, ctx.home.plugins)
        self.scaler = memory.make_scaler(config)
        self.gallery = Gallery(config, ctx, self.family, self.m, lambda text: prepared.texts.cond(text, config.device), prepared.divisor, self.switch, prepared.feed, self.held.together, self.fast)
        about_speed = [*speed.idle(config), *speed.said_of(config, self.optimizer, self.m.denoiser, fused, self.held.split), *nans.idle(config, self.held.split)]
        of_optimizer = idle.of_optimizer(config, [tuple(w.shape) for w in self.weights], ctx.home.plugins)
        of_adapter = idle.of_adapter(config, self.adapter, self.family.SPEC, ctx.home.plugins)
        for text in (*of_optimizer, *idle.settings(config, self.adapter, bool(self.gallery.standing.lines())), *about_speed, *of_adapter):
            ctx.warn(text)
        self.yardstick = Yardstick(config, self.family, self.m, prepared.schedule, self.feed, self.switch, self.objective, prepared.probes, ctx.ranks, not is_whole(self.adapter), self.held.together)
        self.ema = average.of(config, self.own, ctx.home.plugins)
        self.held.in_turn(self._draw_first)  # they go into the cache, where the others find them

    def _draw_first(self) -> None:
        """What the base model draws before the first step, where that is asked for."""
        if self.p.plan.drawn:
            self._draw(self.p.plan.drawn)
        if self.config.keep.on and self.config.keep.drawn:
            learnt = [item for item in self.p.plan.items if not item.prior]
            self.feed.drawn = self._draw(drawing.wanted(self.config, learnt, self.feed.sentences, key(*sorted(self.p.base_hashes.items()))))

    def _draw(self, groups) -> dict[tuple[int, int, int], list[Drawn]]:
        """{bucket: what the base model drew, without any adapter}; see drawing.py."""
        had = self.m.vae is not None
        with self.weights_for_use(), self.switch.base():
            made = drawing.draw(self.config, self.ctx, self.family, self.with_vae, self.p.texts.rows, self.p.cache, self.feed.latent_print, groups)
        if not had:
            self.m.vae = None
            memory.release()
        return made

    def _load(self) -> dict:
        """{folder: module} of what learns: the denoiser, and text encoders where they are trained too, each with a fresh adapter; or what hangs beside it."""
        c, spec = self.config, self.family.SPEC
        self.m.denoiser = load_denoiser(c, self.family, self.p.folder, self.held.device)
        blocks.recompute(self.m.denoiser, c.loss.gradient_checkpointing)
        self.m.side = self._side() if is_beside(self.adapter) else None
        self.fast = frozen.attach_speed(c, self.family, self.m, self.ctx)  # each before the next: they are read by a loader that leaves no adapter behind
        standing = frozen.attach_context(c, self.family, self.m, self.ctx)
        self.assistant = training_adapter.attach(c.model, self.family, self.m, self.ctx)
        if self.m.side:
            return {c.adapter.type: self.m.side.network}
        learnt = learning(self.m.denoiser, spec, c.loss.expert)
        for folder, network in learnt.items():
            self.adapter.attach(network, in_force(c.adapter, spec), spec.lora_targets[c.adapter.targets], number("adapter", c.seed, *[folder] * (folder != spec.denoiser)))
        blocks.settle(self.m.denoiser, c.device)
        self.held.divide(self.m.denoiser, [*standing, *self.assistant.parts])
        self.p.texts.keep_alive(self.m)
        everywhere = c.adapter.model_copy(update={"include": (), "exclude": (), "rank_patterns": ()})  # these name the denoiser's layers
        for name, encoder in self.m.text_encoders.items():
            self.adapter.attach(encoder, everywhere, spec.text_targets[c.adapter.targets], number("adapter", c.seed, name))
        return {**learnt, **self.m.text_encoders}

    def _groups(self, parts: dict[str, list[Tensor]]) -> list[tuple[list[Tensor], float]]:
        """[(weights, learning rate)] of what learns: the denoiser's, then each text encoder's, and what optimizer.rates sets apart."""
        rules, text_rate = self.config.optimizer.rates, self.config.adapter.text_learning_rate
        named = {folder: [(f"{folder}.{names[id(w)]}", w) for w in parts[folder]] for folder, names in _names(self.modules).items()}
        optim.refuse_empty_rules([name for part in named.values() for name, _ in part], rules)
        rate_of = {folder: self.config.optimizer.learning_rate if folder not in self.m.text_encoders else text_rate for folder in parts}
        if optimizing.one_rate(optimizing.of(self.config.optimizer, self.ctx.home.plugins)):
            rules = ()
        return [group for folder, part in named.items() for group in optim.grouped(part, rate_of[folder], rules)]

    def _side(self) -> Side:
        """What learns beside the denoiser, fresh; copied from weights as the base model has them, not from 8 or 4 bits of them."""
        c, spec = self.config, self.family.SPEC
        plain = c.model.quantise == "none" and not c.model.offload or getattr(self.adapter, "INSIDE", False)
        whole = self.m.denoiser if plain else self.family.load(self.p.folder, {spec.denoiser}, placement(c.model, "cpu")).denoiser
        width = self.feed.prompts.width if self.feed.prompts else 0
        network = self.adapter.build(spec.beside[c.adapter.type], whole, c.adapter, self.p.stride, width, number("adapter", c.seed)).to(c.device)
        if getattr(network, "_supports_gradient_checkpointing", False):  # a network without blocks keeps little
            blocks.recompute(network, c.loss.gradient_checkpointing)
        return Side(self.adapter, network)

    # -- the loop ---------------------------------------------------------------------------------------------------------

    def learn(self) -> None:
        """From the present step to the last; raises Stopped after everything is saved."""
        self._samples_if_due()
        self.restart_clock()
        if self.config.engine.prefetch and not self.p.texts.alive:  # encoders that learn read captions in the step
            self.feed.look_ahead(self.ctx.ranks)
        while self.step < self.config.steps and not self.ending.enough(self.step):
            obeying.obey(self)
            loss, grad, count = self._advance()
            self._tell(loss, grad, count)
            self._validate_if_due()
            if self.held.agreed(saving.due(self)):
                saving.save(self)
            self._samples_if_due()
        if self.step < self.config.steps:  # it ends by itself
            self.ledger.tell(self.step)
            if self.ctx.ranks.first and self.step not in [step for step, _ in checkpoint.saved(self.ctx.run.path)]:
                saving.save(self)  # it may be trained longer all the same
        if self.ctx.ranks.same_flag(self.ctx.stop_requested()):
            raise Stopped(self.step)

    def _advance(self) -> tuple[Tensor, Tensor, int]:
        """One optimizer step: (mean loss of the pictures, length of the gradient, pictures).  What holds the base counts in neither of the two."""
        total, learnt, ids = torch.zeros((), device=self.config.device), torch.zeros((), device=self.config.device), self.feed.learnt(self.step)
        first = self._told_apart and self._has_base and (self.step + 1) % PAIRED_EVERY == 0 and self.ctx.ranks.first
        self.scaler.scale(total)  # a process whose share of this step is nothing has a scale all the same
        with self.care.of(self.step), self.held.together(), self.switch.levels() as tell_level:
            for batch in self.feed.shared(self.step, self.ctx.ranks):  # dropout is seeded there
                tell_level(batch.t / getattr(self.p.schedule, "steps", 1))
                with self.care.autocast():
                    batch = self.care.told(batch)
                    batch.base = self._said_by_base(batch)
                parts = self._parts(batch)
                while (losses := self._next(parts)) is not None:
                    plain, losses = losses.detach(), losses * batch.weights
                    loss = losses.mean() * batch.weight
                    self.scaler.scale(loss).backward()  # before the next part, which switches what recomputed blocks would be recomputed with
                    total += loss.detach()
                    pictures = losses.detach().index_fill(0, torch.tensor(batch.keeps, dtype=torch.long, device=losses.device), 0.0)
                    learnt += pictures.mean() * batch.weight
                    if self._told_apart:
                        self.ledger.note(batch, plain, self._paired(batch) if first else None)
                        first = False
        total, learnt = self.ctx.ranks.add([] if self.held.learning else self.weights, (total, learnt))  # gradients that are split were summed on the way
        self._unchecked.append((self.step, total, ids))
        if self.config.device == "cpu":
            self.check_finite()  # costs nothing here, and keeps the weights clean
        self.scaler.unscale_(self.optimizer)
        limit = self.config.optimizer.clip_grad or math.inf
        grad = shards.everywhere(torch.nn.utils.clip_grad_norm_(self.weights, limit))
        if self.config.device == "cpu" and not math.isfinite(float(grad)):
            raise nans.trouble(self, self.step, f"the gradient became {float(grad)}", ids)
        with self.care.rate(self.optimizer, self.step):
            self.scaler.step(self.optimizer)
        self.scaler.update()
        self.scheduler.step()
        self.optimizer.zero_grad(set_to_none=True)
        if self.ema:
            self.ema.step(self.own)
        self.step += 1
        if self.step % LEVEL_EVERY == 0 and not self.held.learning and not self.ctx.ranks.level(self.weights):
            self.ctx.warn("The cards that train together round differently, so their weights drifted apart by that; all go on with those of the first")
        keep = self.config.keep
        return learnt * (1 + keep.share * keep.on), grad, len(ids)

    def _next(self, parts: Iterator[Tensor]) -> Tensor | None:
        """The next part of a batch's loss; None where there is no more."""
        with self.care.autocast():
            return next(parts, None)

    def _parts(self, batch: Batch) -> Iterator[Tensor]:
        """The losses of a batch, [B] each: one, or those parts that the objective has.  What holds the base is one, for a slider at either sign in turn."""
        if concepts.at_once(self.objective):
            yield self.objective.loss(self.family, self.m, batch, self.p.schedule, self.config.loss)
        elif batch.keeps:
            minus = concepts.signed(self.objective) and unit("sign", self.config.seed, self.step, *batch.ids) < 0.5
            with self.switch.times(-1 if minus else 1):
                yield picture_loss(self.family.predict(self.m, self.p.schedule.mix(batch.latents, batch.noise, batch.t).to(self.m.dtype), batch.t, batch.cond), batch.base, batch, self.p.schedule, self.config.loss)
        else:
            yield from self.objective.parts(self.family, self.m, batch, self.p.schedule, self.config.loss, self.switch)

    @property
    def _told_apart(self) -> bool:
        """Whether each picture has one loss of its own: not where words say what changes."""
        return concepts.at_once(self.objective)

    @property
    def _has_base(self) -> bool:
        """Whether the base model is there beside what learns, to be asked."""
        return not is_beside(self.adapter) and not getattr(self.adapter, "WHOLE", False)

    def _paired(self, batch: Batch) -> Tensor | None:
        """What the base model would have paid for the pictures that a micro-batch learns, same grain, level and words, [rows]; None where it learns none."""
        rows = learn(batch)
        if not rows:
            return None
        alone = only(batch, rows)
        with self.switch.base(), self.care.autocast():
            alone.cond = self._cond_of_base(alone)
            return self.objective.loss(self.family, self.m, alone, self.p.schedule, self.config.loss)

    def _said_by_base(self, batch: Batch) -> Tensor | None:
        """What the denoiser without its adapter says of the pictures that must stay as they are, [rows,...]; None where that is not asked for."""
        if not batch.prior:
            return None
        held = only(batch, batch.prior)
        noisy = self.p.schedule.mix(held.latents, held.noise, held.t)
        with self.switch.base():
            return self.family.predict(self.m, noisy.to(self.m.dtype), held.t, self._cond_of_base(held)).float()

    def _cond_of_base(self, batch: Batch) -> Cond:
        """The conditioning of a micro-batch as the base model has it: its words too, where the text encoders learn.  Inside switch.base()."""
        if not self.p.texts.alive:
            return batch.cond
        return Cond(batch.cond.tensors | Cond.of(self.p.texts.rows(batch.captions)).to(self.config.device).tensors)

    def check_finite(self) -> None:
        """Reads the losses since the last look.  Raises NotANumber at the first that is none, and names its pictures and the layer where it began."""
        for step, loss, ids in self._unchecked if self.ctx.ranks.first else ():  # all have the same sums
            if not math.isfinite(float(loss)):
                raise nans.trouble(self, step, f"the loss became {float(loss)}", ids)
        self._unchecked.clear()

    def restart_clock(self) -> None:
        """The time of the next step counts from here: no step took as long as what came before."""
        self._mark = time.monotonic(), 0

    def _tell(self, loss: Tensor, grad: Tensor, count: int) -> None:
        since, pictures = self._mark
        pictures += count
        self._mark = since, pictures
        last = self.step == self.config.steps
        if last or self.step % TOLD_EVERY == 0:
            self.ledger.tell(self.step)
        if not self.ctx.ranks.first or not (last or self.ctx.step_due()):
            return
        self.check_finite()
        now = time.monotonic()
        self.watch.learnt(now - since, pictures)
        with self.care.rate(self.optimizer, self.step):
            rate = optim.learning_rate(self.optimizer)
        self.ctx.step(
            self.step, self.config.steps, float(loss), rate, float(grad),
            pictures / max(now - since, 1e-9), memory.in_use_bytes(self.config.device),
        )  # fmt: skip
        self.ctx.phase("training", self.step, self.config.steps, "steps")
        self._mark = now, 0

    # -- pictures and numbers on the way ------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def weights_for_use(self):
        """A context in which the denoiser holds the weights that samples and the result are made of."""
        with self.assistant.off(), self._averaged():
            yield

    @contextlib.contextmanager
    def _averaged(self):
        with optim.averaged(self.optimizer), average.InForce(self.ema, self.own, list(self.modules.values())):
            yield

    def tensors(self) -> dict[str, Tensor]:
        """{name: tensor} of what learns, as a checkpoint has it."""
        if self.held.learning:  # all gather them, for the first one
            return {key: tensor for name, module in self.modules.items() for key, tensor in self.adapter.tensors(module, name, self.ctx.ranks.first).items()}
        return {key: tensor for name, module in self.modules.items() for key, tensor in self.adapter.tensors(module, name).items()}

    def restore(self, saved: dict[str, Tensor]) -> None:
        """What learns is as it was when tensors() gave this."""
        for name, module in self.modules.items():
            self.adapter.restore(module, saved, name)

    def _samples_if_due(self) -> None:
        every = self.config.sample.every
        if every and (self.step % every == 0 or self.step == self.config.steps):
            self.samples_of_this_step()

    def samples_of_this_step(self) -> None:
        """The pictures of the fixed prompts that are not on disk yet, where samples are drawn at all."""
        if self.config.sample.every and self.gallery.standing.at(self.step):
            self.with_vae()
            with self.weights_for_use():
                self.gallery.draw_all(self.step)
            self.restart_clock()

    def with_vae(self) -> Modules:
        """The model's parts, the VAE among them; it is loaded where it is not there."""
        if self.m.vae is None:
            loaded = load_vae(self.config, self.family, self.p.folder)
            self.m.vae, self.m.eye = loaded.vae, loaded.eye
            self.m.tokenizers |= loaded.tokenizers
        return self.m

    def _validate_if_due(self) -> None:
        every = self.config.save.validate_every
        if not (self.p.plan.held_out and every and (self.step % every == 0 or self.step == self.config.steps)):
            return
        with self._averaged():
            told = self.yardstick.measure().event()
        self.ctx.emit("validation", step=self.step, **told)
        self.ending.note(self.step, told)
        self.restart_clock()


def _names(modules: dict) -> dict[str, dict[int, str]]:
    """{folder: {id of a weight: its name}}."""
    return {folder: {id(weight): name for name, weight in module.named_parameters()} for folder, module in modules.items()}
