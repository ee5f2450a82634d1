"""What the page asks of a session (loop.py) while it learns: stop, save, draw, other sample prompts, a picture's weight.

Obeyed between two steps.  What the first process of a run heard, all do together, in the same order.
"""

from __future__ import annotations

import time

from ..plan import prompts
from ..runs import death, weighing
from ..runs.context import Context, Stopped
from ..runs.events import MOST_WEIGHT
from . import memory, saving
from .data import Weighed
from .prepare import Prepared
from .references import Spoken, text_of
from .texts import Texts

STOP_SAMPLES_S = 15.0  # the page offers to kill a run that has not stopped after half a minute


def obey(session) -> None:
    """Does what was asked for since the last step.  Raises Stopped after saving."""
    ctx, ranks = session.ctx, session.ctx.ranks
    stop = ctx.stop_requested()
    commands = [c for c in ctx.commands() if not stop or c["kind"] in ("prompts", "weigh")]  # these hold for the next attempt too
    if not ranks.same_flag(stop or bool(commands)):
        return
    stop, commands = ranks.same((stop, commands))
    for command in commands:
        if command["kind"] == "prompts":
            _change_prompts(session, command.get("lines"))
        elif command["kind"] == "weigh":
            _weigh(session.p, ctx, session.step, str(command.get("picture")), command.get("weight"))
    if stop:
        session.ledger.tell(session.step)
        if session.step:
            saving.save(session)
            _samples_of_stop(session)
        raise Stopped(session.step)
    for command in commands:
        if command["kind"] == "save" and session.step:
            saving.save(session)
            session.samples_of_this_step()
        elif command["kind"] == "sample":
            _sample_now(session, str(command.get("prompt") or "").strip())


def heed(prepared: Prepared, ctx: Context) -> None:
    """What earlier attempts were told of single pictures holds for this one too, from the same steps on."""
    feed = prepared.feed
    feed.weighed += [Weighed(*row) for row in ctx.ranks.same([list(row) for row in weighing.told(ctx.run)])]
    known = {item.sha256 for item in prepared.plan.items}
    if unknown := {row.sha256 for row in feed.weighed} - known:
        ctx.warn(f"data.weighed has no effect for {len(unknown)} of its pictures: they are not among those that are learnt now")


def _weigh(prepared: Prepared, ctx: Context, step: int, id: str, weight: object) -> None:
    """From the next step on a picture counts so much, in this run and in every one that does the same again."""
    items, feed = prepared.plan.items, prepared.feed
    hashes = {item.id: item.sha256 for item in items}
    if id not in hashes or isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 <= weight <= MOST_WEIGHT:
        return ctx.warn(f"{id!r} cannot be given the weight {weight!r}: this run learns no such picture, or the weight is not from 0 to {MOST_WEIGHT:g}")
    aside = {sha256 for sha256, counts in feed.weights_at(step).items() if not counts} | {hashes[id]}
    if not weight and all(item.sha256 in aside for item in items if not item.prior):
        return ctx.warn(f"{id} was not set aside: no picture would be left to learn from")
    ctx.emit("weight", step=step, picture=id, sha256=hashes[id], weight=float(weight))
    feed.weigh(step, hashes[id], float(weight))


def _change_prompts(session, lines) -> None:
    """Other sample prompts from the next step on: those of this one may be drawn already."""
    ctx, gallery = session.ctx, session.gallery
    try:
        texts = gallery.change(session.step + 1, [str(line) for line in lines] if isinstance(lines, list) else [])
    except ValueError as error:
        return ctx.warn(f"the sample prompts stay as they were: {error}")
    mine = sorted(map(text_of, texts)) if not _read(session.p.texts, ctx, texts) else []
    gallery.unread |= set(ctx.ranks.same(sorted({text for part in ctx.ranks.gather(mine) for text in part})))
    session.restart_clock()


def _read(known: Texts, ctx: Context, texts: set[Spoken]) -> bool:
    """Whether all of these texts are encoded now, beside the denoiser: there may be no room for their encoders.  The next attempt encodes them before it is loaded."""
    try:
        known.encode(texts)
    except Stopped:  # the next step saves first
        return False
    except Exception as error:
        if not death.ran_out(error):
            raise
    memory.release()  # out here nothing of what failed is held any more
    if missing := known.missing(texts):
        ctx.warn(f"Memory ran out while the prompt “{min(missing)[:60]}” was read, so it is drawn only after the run was resumed. Training goes on")
    return not missing


def _sample_now(session, prompt: str) -> None:
    """One picture of a prompt; of all the fixed ones where it is empty."""
    config, ctx, gallery = session.config, session.ctx, session.gallery
    alone = bool(prompt) and not ctx.ranks.first  # one picture is drawn by one
    if alone and not session.held.split:
        return
    asked = prompts.read(config, prompt)
    for option in asked.ignored:
        ctx.warn(f"{option} of this prompt cannot be set for a single picture here, or not to this value; it is left out")
    read = alone or _read(session.p.texts, ctx, set(gallery.said(asked, gallery.next_asked())) if prompt else {config.sample.negative})
    if not prompt and ctx.ranks.total([0.0 if read else 1.0])[0]:
        return
    if not alone:
        session.with_vae()
    with session.weights_for_use():
        if prompt:
            with session.held.together():
                if not alone and read:
                    ctx.phase("drawing samples", 0, 1, "pictures")
                    gallery.draw(session.step, gallery.next_asked(), asked)
        else:
            gallery.draw_all(session.step, again=True)
    session.restart_clock()


def _samples_of_stop(session) -> None:
    """The samples of the checkpoint that Stop wrote, so that it can be judged; as far as they come within STOP_SAMPLES_S."""
    until = time.monotonic() + STOP_SAMPLES_S
    session.gallery.interrupted = lambda: session.ctx.hurry or time.monotonic() > until
    session.samples_of_this_step()
