"""What the buttons of a run on the Results page do: a press of one, and what becomes of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from training.away import state
from training.hub.secrets import Secret
from training.plan import own
from training.plan.hardware import machine
from training.runs import choosing, exactly, longer, origin, room, supervisor
from training.runs.run import Run, delete

from ... import views
from ...language import tr
from ...language.heard import heard
from ...words import in_words
from ..train import tab as train
from ..train.draft import of_run
from . import advice, elsewhere, noted, outlook, travel


@dataclass(frozen=True)
class Press:
    """A button of a run was pressed.  data: what it carries, with what was typed; token: of whoever is signed in to a Space."""

    ctx: Any
    run: Run
    act: str
    data: dict[str, Any]
    token: Secret | None = None

    @property
    def value(self) -> str:
        return str(self.data.get("value", ""))

    @property
    def name(self) -> str:
        return str(self.data.get("name", ""))


@dataclass(frozen=True)
class Done:
    """What became of it.  said, look: what to tell, "" for nothing, and its class.  chosen: the run to show now, None for the same.

    seen: what this browser shows from now on, besides.  tabs, dataset: where to go, and with which dataset.
    """

    said: str = ""
    look: str = "ez-ok"
    chosen: str | None = None
    seen: dict[str, Any] = field(default_factory=dict)
    tabs: Any = field(default_factory=gr.skip)
    dataset: Any = field(default_factory=gr.skip)


def on_run(press: Press) -> Done:
    """Does it.  Raises ValueError, OSError."""
    if press.act in noted.ACTS:  # of the run whose field or picture it was, which may be another than the chosen one by now
        return Done(noted.act(Run.open(press.ctx.home.outputs, str(press.data.get("run") or press.run.id)), press.act, press.data))
    if press.act.startswith(elsewhere.ACT):
        return Done(elsewhere.start(press.ctx, press.run, press.act.removeprefix(elsewhere.ACT), press.value))
    if press.act not in ACTS:
        raise ValueError(tr("There is no action {act}.", act=repr(press.act)))
    return ACTS[press.act](press)


# it opens in the Train tab


def _duplicate(press: Press) -> Done:
    form, dataset = of_run(press.ctx.home, press.run, machine(press.ctx.home.root))
    train.changed(press.ctx, lambda _: form)
    return Done(tabs=press.ctx.go("train"), dataset=dataset)


def _again(press: Press) -> Done:
    home, run = press.ctx.home, press.run
    if press.value != "rest" and (gone := exactly.said_of(exactly.missing(run, home))):
        return Done(seen={"gone": (run.id, "; ".join(map(heard, gone)))})
    names, said = exactly.again(run, home)
    form, dataset = of_run(home, run, machine(home.root), names)
    train.changed(press.ctx, lambda _: form)
    return Done(heard(" ".join(said)), tabs=press.ctx.go("train"), dataset=dataset)


def _next_run(press: Press) -> Done:
    form, dataset = of_run(press.ctx.home, press.run, machine(press.ctx.home.root))
    form, said = outlook.opened(form, outlook.going_of(press.run, press.ctx.watch.view(press.run)))
    train.changed(press.ctx, lambda _: form)
    return Done(said, tabs=press.ctx.go("train"), dataset=dataset)


def _fit(press: Press) -> Done:
    form, dataset = of_run(press.ctx.home, press.run, machine(press.ctx.home.root))
    train.changed(press.ctx, lambda _: form)
    dataset, said = train.fitted(press.ctx, dataset, form, ran_out=True)
    if not said:
        return Done(tr("Nothing more makes it smaller: choose a smaller base model."), "ez-warn", tabs=press.ctx.go("train"), dataset=dataset)
    return Done(in_words(*said), tabs=press.ctx.go("train"), dataset=dataset)


# it goes on, or ends


def _stop(press: Press) -> Done:
    press.run.command("stop")
    return Done()


def _save(press: Press) -> Done:
    press.run.command("save")
    return Done(tr("Saving: a checkpoint is written after this step."))


def _sample(press: Press) -> Done:
    prompt = press.value.strip()
    press.run.command("sample", prompt=prompt)
    return Done(tr("The picture is drawn after this step.") if prompt else tr("All sample prompts are drawn after this step."))


def _resume(press: Press) -> Done:
    supervisor.start_soon(press.run, press.ctx.home, press.token)
    return Done()


def _accept(press: Press) -> Done:
    press.run.accept_changes()
    origin.adopt(press.run.path)
    return _resume(press)


def _kill(press: Press) -> Done:
    supervisor.kill(press.run)
    if state.remembered(press.run.path):
        return Done(tr("Its watch here was ended. What was sent away may go on there: Resume finds it again, and Stop then ends it there."))
    return Done(tr("It was ended. What the last checkpoint holds is kept."))


def _longer(press: Press) -> Done:
    """A new run that goes on, in the queue; it is shown then."""
    typed = dict(press.data.get("fields") or {})
    steps = str(typed.get("longer.steps", press.value)).strip()
    share = str(typed.get("longer.share", press.data.get("share", ""))).strip()
    if not steps.isdecimal():
        raise ValueError(tr("Say with a whole number how many more steps."))
    if kept_out := supervisor.no_accelerator():
        raise ValueError(kept_out)
    way = str(typed.get("longer.way", "stretch"))
    if way != "stretch" and not share.isdecimal():
        raise ValueError(tr("Say with a whole number at what % of its highest the learning rate begins anew."))
    made = longer.begin(press.run, int(steps), press.ctx.home, rate=longer.Rate(way, int(share) / 100 if share.isdecimal() else 0.3))
    threading.Thread(target=supervisor.tick, args=(press.ctx.home,), name="easel-start", daemon=True).start()
    return Done(chosen=made.id)


# what it made, and what it takes


def _use(press: Press) -> Done:
    step = int(press.value) if press.value.isdecimal() else 0
    choosing.use(press.run, step)
    return Done(tr("The result is now step {step}. The other checkpoints are still there: any of them can take its place.", step=step))


def _weigh(press: Press) -> Done:
    return Done(outlook.weigh(press.run, press.name, press.value))


def _stands(press: Press) -> Done:
    return Done(travel.stands(press.run, press.ctx, press.name, press.value))


def _save_preset(press: Press) -> Done:
    own.save(press.run, press.ctx.home, press.value)
    return Done(tr("It stands among your own presets on the Train page."))


def _room(press: Press) -> Done:
    return Done(seen={"room": (press.run.id, room.look(press.ctx.home))})


def _empty_cache(press: Press) -> Done:
    return Done(tr("{size} are free again.", size=views.exact_size(room.empty_cache(press.ctx.home))))


def _delete(press: Press) -> Done:
    if press.data.get("run") != press.run.id:
        raise ValueError(tr("The page has changed meanwhile; look again."))
    delete(press.run)
    press.ctx.watch.forget(press.run.path)
    return Done(tr("'{title}' was deleted.", title=press.run.title), chosen="")


def _leave(press: Press) -> Done:
    """What was asked before it is gone: a press leaves out what the one before had opened."""
    return Done()


ACTS: dict[str, Callable[[Press], Done]] = {
    "duplicate": _duplicate, "again": _again, "leave": _leave, "next-run": _next_run, "fit": _fit,
    "stop": _stop, "save": _save, "sample": _sample, "resume": _resume, "accept": _accept, "kill": _kill, "longer": _longer,
    advice.ACT: _use, "weigh": _weigh, "stands": _stands, "save-preset": _save_preset, "room": _room, "empty-cache": _empty_cache, "delete": _delete,
}  # fmt: skip
