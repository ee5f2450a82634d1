"""The training loop: one for every family, adapter and objective."""

from __future__ import annotations

import contextlib
import errno
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .. import registry
from ..config import TrainConfig, config_hash
from ..data import concepts
from ..family import Cond, Side
from ..formats import basehash
from ..formats.adapting import is_whole
from ..formats.beside import is_beside
from ..plan import advising, optimizing, prompts, validating
from ..runs import death, milder, weighing
from ..runs.context import Context, Stopped
from ..runs.events import MOST_WEIGHT, RunView, fold
from . import adapter_files, blocks, checkpoint, drawing, memory, nans, optim, shards, speed, training_adapter
from .cache import key
from .data import Batch, Drawn, Weighed
from .finish import finish
from .ledger import PAIRED_EVERY, TOLD_EVERY, Ledger, learn, only
from .lessons import Switch
from .losses import picture_loss
from .measuring import Yardstick
from .prepare import Prepared, prepare
from .randomness import number, unit
from .sampling import SPONTANEOUS, Gallery
from .watch import Watch
from .weights import load_denoiser, load_vae, placement

DISK_RETRY_S = 30
BASE_RECORD = "base.json"  # in the run's folder: what its base model was, file by file
LEVEL_EVERY = 100  # steps after which processes that train together compare their weights
STOP_SAMPLES_S = 15.0  # the page offers to kill a run that has not stopped after half a minute


def train(config: TrainConfig, ctx: Context) -> None:
    """A whole run: prepare, resume where it stood, learn, and deliver a LoRA that was loaded again and works."""
    speed.check(config)
    with speed.in_force(config, ctx.home):
        prepared = prepare(config, ctx)
        held = shards.of(config, ctx)
        with shards.losing() if held.split else contextlib.nullcontext():
            session = Session(config, ctx, prepared, held)
            session.resume()
            try:
                session.learn()
            finally:
                prepared.feed.close()
            if ctx.ranks.first or held.split:  # else the others have done their share
                finish(config, ctx, prepared, session.adapter, session.modules, *session.taken(), held)


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
        self.since = 0  # of the lowest checkpoint that was there: a run that trains longer has none from before its own beginning
        self.measured = RunView()  # what was measured so far, folded from its events alone
        self.care = nans.Care(config, milder.mended(ctx.run), prepared.m, self.held.split)
        self.watch = Watch(config, ctx, prepared.cache, self.feed.per_step)
        self._saved_at = time.monotonic()
        self._spontaneous = 0
        self._heed()
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
        self.gallery = Gallery(config, ctx, self.family, self.m, lambda text: prepared.texts.cond(text, config.device), prepared.divisor, self.switch, prepared.feed, self.held.together)
        about_speed = [*speed.idle(config), *speed.said_of(config, self.optimizer, self.m.denoiser, fused, self.held.split), *nans.idle(config, self.held.split)]
        for text in (*self._said_of_optimizer(), *self._idle_settings(), *about_speed, *idle_adapter_settings(config, self.adapter, self.family.SPEC, ctx.home.plugins)):
            ctx.warn(text)
        self.yardstick = Yardstick(config, self.family, self.m, prepared.schedule, self.feed, self.switch, self.objective, prepared.probes, ctx.ranks, not is_whole(self.adapter), self.held.together)
        self.ema = self._make_ema()
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

        def with_vae():
            if self.m.vae is None:
                self.m.vae = load_vae(self.config, self.family, self.p.folder).vae
            return self.m

        with self.weights_for_use(), self.switch.base():
            made = drawing.draw(self.config, self.ctx, self.family, with_vae, self.p.texts.rows, self.p.cache, self.feed.latent_print, groups)
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
        self.assistant = training_adapter.attach(c.model, self.family, self.m, self.ctx)
        if self.m.side:
            return {c.adapter.type: self.m.side.network}
        self.adapter.attach(self.m.denoiser, c.adapter, spec.lora_targets[c.adapter.targets], number("adapter", c.seed))
        blocks.settle(self.m.denoiser, c.device)
        self.held.divide(self.m.denoiser, self.assistant.parts)
        self.p.texts.keep_alive(self.m)
        everywhere = c.adapter.model_copy(update={"include": (), "exclude": (), "rank_patterns": ()})  # these name the denoiser's layers
        for name, encoder in self.m.text_encoders.items():
            self.adapter.attach(encoder, everywhere, spec.text_targets[c.adapter.targets], number("adapter", c.seed, name))
        return {spec.denoiser: self.m.denoiser, **self.m.text_encoders}

    def _groups(self, parts: dict[str, list[Tensor]]) -> list[tuple[list[Tensor], float]]:
        """[(weights, learning rate)] of what learns: the denoiser's, then each text encoder's, and what optimizer.rates sets apart."""
        rules, text_rate = self.config.optimizer.rates, self.config.adapter.text_learning_rate
        named = {folder: [(f"{folder}.{names[id(w)]}", w) for w in parts[folder]] for folder, names in _names(self.modules).items()}
        optim.refuse_empty_rules([name for part in named.values() for name, _ in part], rules)
        rate_of = {folder: self.config.optimizer.learning_rate if folder not in self.m.text_encoders else text_rate for folder in parts}
        if optimizing.one_rate(optimizing.of(self.config.optimizer, self.ctx.home.plugins)):
            rules = ()
        return [group for folder, part in named.items() for group in optim.grouped(part, rate_of[folder], rules)]

    def _said_of_optimizer(self) -> list[str]:
        config = self.config.optimizer
        optimizer = optimizing.of(config, self.ctx.home.plugins)
        remarks = getattr(optimizer, "remarks", lambda *_: [])
        return [*optimizing.idle(self.config, optimizer), *remarks(config, optimizing.options_of(config, optimizer), [tuple(w.shape) for w in self.weights])]

    def _averages_itself(self) -> bool:
        return optimizing.averages(optimizing.of(self.config.optimizer, self.ctx.home.plugins))

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

    def _make_ema(self):
        if not self.config.loss.ema_decay or self._averages_itself():
            return None
        from diffusers.training_utils import EMAModel

        return EMAModel(self.own, decay=self.config.loss.ema_decay, foreach=True)

    def _idle_settings(self) -> list[str]:
        c, said = self.config, []
        if c.save.validate_every and not c.data.held_out and c.save.validate_every != type(c.save)().validate_every:
            said.append("save.validate_every has no effect: data.held_out is 0, so there is nothing to measure on")
        if c.save.stop_early:
            for value, least, name in ((c.data.held_out, advising.FEWEST_PICTURES, "data.held_out"), (c.save.validate_every, 1, "save.validate_every"), (c.save.every, 1, "save.every")):
                said += [f"save.stop_early has no effect: {name} is {value}, so nothing says when to stop"] * (value < least)
            if is_whole(self.adapter):
                said.append(f"save.stop_early has no effect: {self.adapter.TITLE} changes the base model itself, so there is none to compare with")
        if c.sample.every and not self.gallery.standing.lines():
            said.append("sample.every has no effect: there are no sample prompts")
        if c.data.keep_tags != type(c.data).model_fields["keep_tags"].default and not (c.data.shuffle_tags or c.data.tag_dropout):
            said.append("data.keep_tags has no effect: data.shuffle_tags is off and data.tag_dropout is 0")
        if not any(use.prior for use in c.data.datasets):
            for part, name in (("loss", "prior_target"), ("data", "prior_caption_dropout")):
                if getattr(getattr(c, part), name) != type(getattr(c, part)).model_fields[name].default:
                    said.append(f"{part}.{name} has no effect: no dataset is kept as it is")
        said += _idle_keep_settings(c)
        if c.model.offload and c.device == "cpu":
            said.append("model.offload saves nothing: on a CPU everything is in RAM")
        if not c.data.aspect_buckets and c.data.max_aspect != type(c.data).model_fields["max_aspect"].default:
            said.append("data.max_aspect has no effect: data.aspect_buckets is off")
        for name, part, fields in (("data", c.data, ("fps", "segments")), ("sample", c.sample, ("fps",))):
            if part.frames == 1:
                said += [f"{name}.{f} has no effect: {name}.frames is 1" for f in fields if getattr(part, f) != type(part).model_fields[f].default]
        return said

    # -- the loop ---------------------------------------------------------------------------------------------------------

    def learn(self) -> None:
        """From the present step to the last; raises Stopped after everything is saved."""
        self._samples_if_due()
        self._mark = (time.monotonic(), 0)
        if self.config.engine.prefetch and not self.p.texts.alive:  # encoders that learn read captions in the step
            self.feed.look_ahead(self.ctx.ranks)
        while self.step < self.config.steps and not self._enough():
            self._obey()
            loss, grad, count = self._advance()
            self._tell(loss, grad, count)
            self._validate_if_due()
            if self.held.agreed(self._save_due()):
                self.save()
            self._samples_if_due()
        if self.step < self.config.steps:  # it ends by itself
            self.ledger.tell(self.step)
            if self.ctx.ranks.first and self.step not in [step for step, _ in checkpoint.saved(self.ctx.run.path)]:
                self.save()  # it may be trained longer all the same
        if self.ctx.ranks.same_flag(self.ctx.stop_requested()):
            raise Stopped(self.step)

    def _enough(self) -> bool:
        """Whether going on can only make it worse, and the run is to end then.  It follows from what was measured and the settings alone, so each process and each attempt says the same."""
        if not (self._ends_early and self.measured.measures and self.measured.measures[-1][0] == self.step):
            return False
        advice = self._advice(self._choice())
        return advice.over and bool(advice.step)

    @property
    def _ends_early(self) -> bool:
        """Whether the run may end by itself: that was asked for, and is measured against the base model."""
        save = self.config.save
        return bool(save.stop_early and save.every and save.validate_every and len(self.p.plan.held_out) >= advising.FEWEST_PICTURES and not is_whole(self.adapter))

    def _choice(self) -> range:
        """The steps whose checkpoints a run that ends by itself may take, all of which are kept: the same however often it was stopped."""
        every = self.config.save.every
        return range(max(every, -(-self.since // every) * every), self.step + 1, every)

    def _advice(self, steps) -> advising.Advice:
        return advising.advise(self.measured.measures, self.measured.bases, tuple(steps), validating.POINTS)

    def taken(self) -> tuple[Any, int]:
        """(a context in which the model holds what the result is made of, the step of its checkpoint or 0 for the last): of a run that ended by itself the best one's."""
        if self.step == self.config.steps:
            return self.weights_for_use, 0
        step = self._advice(self._choice()).step
        if self.held.split:
            self.ctx.ranks.wait()  # the first one has written it
        files, *_ = checkpoint.load(dict(checkpoint.saved(self.ctx.run.path))[step])
        self._restore(files.get("ema", files["adapter"]))
        for module in self.modules.values():
            module.eval()
        return self.assistant.off, step

    def _advance(self) -> tuple[Tensor, Tensor, int]:
        """One optimizer step: (mean loss of the pictures, length of the gradient, pictures).  What holds the base counts in neither of the two."""
        total, learnt, ids = torch.zeros((), device=self.config.device), torch.zeros((), device=self.config.device), self.feed.learnt(self.step)
        first = self._told_apart and self._has_base and (self.step + 1) % PAIRED_EVERY == 0 and self.ctx.ranks.first
        self.scaler.scale(total)  # a process whose share of this step is nothing has a scale all the same
        with self.care.of(self.step), self.held.together():
            for batch in self.feed.shared(self.step, self.ctx.ranks):  # dropout is seeded there
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
            self._check_finite()  # costs nothing here, and keeps the weights clean
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

    def _check_finite(self) -> None:
        """Reads the losses since the last look.  Raises NotANumber at the first that is none, and names its pictures and the layer where it began."""
        for step, loss, ids in self._unchecked if self.ctx.ranks.first else ():  # all have the same sums
            if not math.isfinite(float(loss)):
                raise nans.trouble(self, step, f"the loss became {float(loss)}", ids)
        self._unchecked.clear()

    def _tell(self, loss: Tensor, grad: Tensor, count: int) -> None:
        since, pictures = self._mark
        pictures += count
        self._mark = since, pictures
        last = self.step == self.config.steps
        if last or self.step % TOLD_EVERY == 0:
            self.ledger.tell(self.step)
        if not self.ctx.ranks.first or not (last or self.ctx.step_due()):
            return
        self._check_finite()
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

    def _obey(self) -> None:
        """Does what was asked for since the last step.  Raises Stopped after saving."""
        ranks = self.ctx.ranks
        stop = self.ctx.stop_requested()
        commands = [c for c in self.ctx.commands() if not stop or c["kind"] in ("prompts", "weigh")]  # these hold for the next attempt too
        if not ranks.same_flag(stop or bool(commands)):
            return
        stop, commands = ranks.same((stop, commands))
        for command in commands:
            if command["kind"] == "prompts":
                self._change_prompts(command.get("lines"))
            elif command["kind"] == "weigh":
                self._weigh(str(command.get("picture")), command.get("weight"))
        if stop:
            self.ledger.tell(self.step)
            if self.step:
                self.save()
                self._samples_of_stop()
            raise Stopped(self.step)
        for command in commands:
            if command["kind"] == "save" and self.step:
                self.save()
                self._samples_of_this_step()
            elif command["kind"] == "sample":
                self._sample_now(str(command.get("prompt") or "").strip())

    def _weigh(self, id: str, weight: object) -> None:
        """From the next step on a picture counts so much, in this run and in every one that does the same again."""
        hashes = {item.id: item.sha256 for item in self.p.plan.items}
        if id not in hashes or isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 <= weight <= MOST_WEIGHT:
            return self.ctx.warn(f"{id!r} cannot be given the weight {weight!r}: this run learns no such picture, or the weight is not from 0 to {MOST_WEIGHT:g}")
        aside = {sha256 for sha256, counts in self.feed.weights_at(self.step).items() if not counts} | {hashes[id]}
        if not weight and all(item.sha256 in aside for item in self.p.plan.items if not item.prior):
            return self.ctx.warn(f"{id} was not set aside: no picture would be left to learn from")
        self.ctx.emit("weight", step=self.step, picture=id, sha256=hashes[id], weight=float(weight))
        self.feed.weigh(self.step, hashes[id], float(weight))

    def _heed(self) -> None:
        """What earlier attempts were told of single pictures holds for this one too, from the same steps on."""
        self.feed.weighed += [Weighed(*row) for row in self.ctx.ranks.same([list(row) for row in weighing.told(self.ctx.run)])]
        known = {item.sha256 for item in self.p.plan.items}
        if unknown := {row.sha256 for row in self.feed.weighed} - known:
            self.ctx.warn(f"data.weighed has no effect for {len(unknown)} of its pictures: they are not among those that are learnt now")

    def _change_prompts(self, lines) -> None:
        """Other sample prompts from the next step on: those of this one may be drawn already."""
        try:
            texts = self.gallery.change(self.step + 1, [str(line) for line in lines] if isinstance(lines, list) else [])
        except ValueError as error:
            return self.ctx.warn(f"the sample prompts stay as they were: {error}")
        mine = sorted(texts) if not self._read(texts) else []
        self.gallery.unread |= set(self.ctx.ranks.same(sorted({text for part in self.ctx.ranks.gather(mine) for text in part})))
        self._mark = time.monotonic(), 0

    def _read(self, texts: set[str]) -> bool:
        """Whether all of these texts are encoded now, beside the denoiser: there may be no room for their encoders.  The next attempt encodes them before it is loaded."""
        try:
            self.p.texts.encode(texts)
        except Stopped:  # the next step saves first
            return False
        except Exception as error:
            if not death.ran_out(error):
                raise
        memory.release()  # out here nothing of what failed is held any more
        if missing := self.p.texts.missing(texts):
            self.ctx.warn(f"Memory ran out while the prompt “{min(missing)[:60]}” was read, so it is drawn only after the run was resumed. Training goes on")
        return not missing

    # -- pictures and numbers on the way ------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def weights_for_use(self):
        """A context in which the denoiser holds the weights that samples and the result are made of."""
        with self.assistant.off(), self._averaged():
            yield

    @contextlib.contextmanager
    def _averaged(self):
        with optim.averaged(self.optimizer), _Averaged(self.ema, self.own, list(self.modules.values())):
            yield

    def _tensors(self) -> dict[str, Tensor]:
        if self.held.learning:  # all gather them, for the first one
            return {key: tensor for name, module in self.modules.items() for key, tensor in self.adapter.tensors(module, name, self.ctx.ranks.first).items()}
        return {key: tensor for name, module in self.modules.items() for key, tensor in self.adapter.tensors(module, name).items()}

    def _restore(self, saved: dict[str, Tensor]) -> None:
        for name, module in self.modules.items():
            self.adapter.restore(module, saved, name)

    def _samples_if_due(self) -> None:
        every = self.config.sample.every
        if every and (self.step % every == 0 or self.step == self.config.steps):
            self._samples_of_this_step()

    def _samples_of_this_step(self) -> None:
        if self.config.sample.every and self.gallery.standing.at(self.step):
            self._with_vae()
            with self.weights_for_use():
                self.gallery.draw_all(self.step)
            self._mark = time.monotonic(), 0

    def _samples_of_stop(self) -> None:
        """The samples of the checkpoint that Stop wrote, so that it can be judged; as far as they come within STOP_SAMPLES_S."""
        until = time.monotonic() + STOP_SAMPLES_S
        self.gallery.interrupted = lambda: self.ctx.hurry or time.monotonic() > until
        self._samples_of_this_step()

    def _only_for_safety(self, step: int) -> bool:
        """Whether the clock alone asked for the checkpoint of a step, which then has no samples to judge it by."""
        every = self.config.save.every
        judged = self.config.sample.every and self.gallery.standing.at(step)
        return bool(every and judged and step % every and not self.gallery.judged(step))

    def _sample_now(self, prompt: str) -> None:
        alone = bool(prompt) and not self.ctx.ranks.first  # one picture is drawn by one
        if alone and not self.held.split:
            return
        asked = prompts.read(self.config, prompt)
        for option in asked.ignored:
            self.ctx.warn(f"{option} of this prompt cannot be set for a single picture here, or not to this value; it is left out")
        read = alone or self._read({asked.text, asked.sample.negative} if prompt else {self.config.sample.negative})
        if not prompt and self.ctx.ranks.total([0.0 if read else 1.0])[0]:
            return
        if not alone:
            self._with_vae()
        with self.weights_for_use():
            if prompt:
                with self.held.together():
                    if not alone and read:
                        self.ctx.phase("drawing samples", 0, 1, "pictures")
                        self.gallery.draw(self.step, self._next_spontaneous(), asked)
            else:
                self.gallery.draw_all(self.step, again=True)
        self._mark = time.monotonic(), 0

    def _with_vae(self) -> None:
        if self.m.vae is None:
            self.m.vae = load_vae(self.config, self.family, self.p.folder).vae

    def _next_spontaneous(self) -> int:
        folder = self.ctx.path("samples")
        while any(folder.glob(f"*_{SPONTANEOUS + self._spontaneous}.webp")):
            self._spontaneous += 1
        return SPONTANEOUS + self._spontaneous

    def _validate_if_due(self) -> None:
        every = self.config.save.validate_every
        if not (self.p.plan.held_out and every and (self.step % every == 0 or self.step == self.config.steps)):
            return
        with self._averaged():
            told = self.yardstick.measure().event()
        self.ctx.emit("validation", step=self.step, **told)
        self.measured = fold(self.measured, [{"t": 0.0, "kind": "validation", "step": self.step, **told}])
        self._mark = time.monotonic(), 0

    # -- checkpoints -------------------------------------------------------------------------------------------------------

    def _save_due(self) -> bool:
        return self.step == self.config.steps or checkpoint.due(self.config.save, self.step, time.monotonic() - self._saved_at)

    def save(self) -> None:
        """A checkpoint of this very step, on disk for good.  While the disk is full it waits, and says what to do.

        Of several processes the first writes it, and the others wait for it at the next step; what is split among them, all gather.
        """
        self._write()
        self._mark = time.monotonic(), 0  # no step took that long

    def _write(self) -> None:
        first = self.ctx.ranks.first
        if not first and not self.held.learning:
            return
        self._check_finite()
        tensors, rest = optim.pack(self.optimizer, first)
        files = {"adapter": self._tensors(), "state": tensors}
        if self.ema or self._averages_itself():
            with self.weights_for_use():
                files["ema"] = self._tensors()
        if not first:
            return
        header = adapter_files.headers(self.adapter, self.modules)
        state = {
            "step": self.step,
            "optimizer": rest,
            "scheduler": {k: v for k, v in self.scheduler.state_dict().items() if k != "lr_lambdas"},
            "scaler": self.scaler.state_dict(),
            "ema_steps": self.ema.optimization_step if self.ema else 0,
        }
        path = self._save_when_there_is_room(files, state, {"adapter": header, "ema": header})
        self.ctx.emit("checkpoint", step=self.step, path=path.relative_to(self.ctx.run.path).as_posix())
        if self._ends_early:  # which of them is best is known at the end
            named = tuple(self._choice())
        else:
            named = self._advice(step for step, _ in checkpoint.saved(self.ctx.run.path)).named
        checkpoint.prune(self.ctx.run.path, self.config.save.keep, self._only_for_safety, named)
        self._saved_at = time.monotonic()

    def _save_when_there_is_room(self, files, state, headers) -> Path:
        while True:
            try:
                return checkpoint.save(
                    self.ctx.run.path, self.step, files, state, self.hash, self.p.plan.fingerprint, headers
                )
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT) or self.ctx.stop_requested():
                    raise
                self.ctx.warn(f"The disk is full, so training waits and nothing is lost: {error.strerror}")
                self.ctx.phase("waiting for disk space")
                _wait(DISK_RETRY_S, self.ctx.stop_requested)

    def resume(self) -> None:
        """Goes to where the newest whole checkpoint stood; to the beginning when there never was one."""
        record = self.ctx.path(BASE_RECORD)
        found = checkpoint.newest(self.ctx.run.path) if self.ctx.ranks.first else (None, [])
        lowest = min((step for step, _ in checkpoint.saved(self.ctx.run.path)), default=0) if self.ctx.ranks.first else 0
        (path, said), self.since = self.ctx.ranks.same((found, lowest))
        if path is None and said:
            raise ValueError(f"{said[0]}. Duplicate the run to train again from the start")
        for text in said:
            self.ctx.warn(text)
        if path is None:
            self._put_down(record)
            return self._begin()
        with self.held.loading():
            files, state, manifest = checkpoint.load(path)
            self._refuse_changes(manifest, basehash.read_record(record))
            self._put_back(files, state)
        self.ctx.ranks.wait()  # all have read it
        self._put_down(record)
        self._recall()

    def _put_back(self, files: dict[str, dict[str, Tensor]], state: dict) -> None:
        """All is as it was when this was saved."""
        if self.ema:
            self._restore(files["ema"])
            for shadow, weight in zip(self.ema.shadow_params, self.own, strict=True):
                shadow.copy_(weight.detach())
            self.ema.optimization_step = state["ema_steps"]
        self._restore(files["adapter"])
        optim.unpack(self.optimizer, files["state"], state["optimizer"])
        self.scheduler.load_state_dict({**self.scheduler.state_dict(), **state["scheduler"]})
        optim.follow(self.scheduler)  # a run that trains longer than the one it goes on from has another schedule
        self.scaler.load_state_dict(state["scaler"]) if state["scaler"] else None
        self.step = state["step"]

    def _recall(self) -> None:
        """What earlier attempts measured up to here."""
        view = self.ctx.run.view() if self.ctx.ranks.first else RunView()
        measures, bases = self.ctx.ranks.same(([row for row in view.measures if row[0] <= self.step], view.bases))
        self.measured = RunView(measures=tuple((step, tuple(each), tuple(forgot)) for step, each, forgot in measures), bases=tuple(bases))

    def _put_down(self, record: Path) -> None:
        if self.ctx.ranks.first:
            basehash.write_record(record, self.p.base_hashes)

    def _begin(self) -> None:
        """Step 0, with the adapter that the run starts from, where one is named."""
        if self.config.adapter.start_from:
            with self.held.loading() if self.held.split else self.ctx.ranks.in_turn():
                adapter_files.start(self.config.adapter.start_from, self.adapter, self.modules, self.family.SPEC, self.ctx)
            self.ema = self._make_ema()

    def _refuse_changes(self, manifest: dict, base: dict[str, str]) -> None:
        changed = checkpoint.changes(manifest, self.hash, self.p.plan.fingerprint)
        changed += basehash.changes(base, self.p.base_hashes) if base else []  # a run that an earlier Easel began has no record
        if not changed:
            return
        if not self.ctx.run.changes_accepted():
            raise ValueError(f"{'. '.join(changed)}. Put that back, resume with the changes accepted, or duplicate the run to train from the start")
        for text in changed:
            self.ctx.warn(f"{text}; training goes on with what is there now, as you accepted")


class _Averaged:
    """Inside: averaged weights where there is an average, dropout off.  Outside: all as before, to the bit."""

    def __init__(self, ema, weights: list[Tensor], modules: list):
        self.ema, self.weights, self.modules = ema, weights, modules

    def __enter__(self):
        self.training = [module.training for module in self.modules]
        for module in self.modules:
            module.eval()
        if self.ema:
            self.ema.store(self.weights)
            self.ema.copy_to(self.weights)

    def __exit__(self, *error):
        if self.ema:
            self.ema.restore(self.weights)
        for module, training in zip(self.modules, self.training, strict=True):
            module.train(training)


def _idle_keep_settings(config: TrainConfig) -> list[str]:
    keep, usual = config.keep, type(config.keep)()
    changed = [name for name in type(keep).model_fields if getattr(keep, name) != getattr(usual, name)]
    if not keep.on:
        return [f"keep.{name} has no effect: keep.on is off" for name in changed]
    said = ["keep.words has no effect: keep.prompts are there instead"] if keep.words and keep.prompts else []
    if keep.drawn:
        return said + ["keep.own has no effect: keep.drawn holds pictures of the base model's own"] * ("own" in changed)
    return said + ["keep.own has no effect: there is no trigger word to leave out"] * ("own" in changed and not config.triggers)


def _names(modules: dict) -> dict[str, dict[int, str]]:
    """{folder: {id of a weight: its name}}."""
    return {folder: {id(weight): name for name, weight in module.named_parameters()} for folder, module in modules.items()}


def idle_adapter_settings(config: TrainConfig, adapter, spec, plugins: Path | None = None) -> list[str]:
    """A sentence for each adapter setting that was changed and that this kind, family or optimizer has no use for."""
    a, said = config.adapter, []
    for name, field in type(a).model_fields.items():
        if name != "type" and name not in adapter.USES and getattr(a, name) != field.default:
            said.append(f"adapter.{name} has no effect: the adapter is {a.type!r}")
    text = a.text_encoder and "text_encoder" in adapter.USES
    if text and not spec.trainable_text:
        said.append(f"adapter.text_encoder has no effect: the text encoders of {spec.title} are not trained")
    changed = a.text_learning_rate != type(a).model_fields["text_learning_rate"].default
    if changed and "text_learning_rate" in adapter.USES and not (text and spec.trainable_text):
        said.append("adapter.text_learning_rate has no effect: adapter.text_encoder is off")
    optimizer = optimizing.of(config.optimizer, plugins)
    if changed and text and optimizing.one_rate(optimizer):
        said.append(f"adapter.text_learning_rate has no effect: {optimizer.TITLE} finds the rates itself")
    return said


def _wait(wait_s: float, stop) -> None:
    until = time.monotonic() + wait_s
    while time.monotonic() < until and not stop():
        time.sleep(0.5)
