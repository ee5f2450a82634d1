"""What the worker of a run does that is trained elsewhere: sends it, starts it, looks again and again, fetches what was made, clears up.

What it learns is kept in away.json, in the run's folder: a relay that died, with a closed laptop or a lost network, is resumed like any
other run and finds the job again instead of starting another.
"""

from __future__ import annotations

import json
import re
import secrets
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from pydantic import BaseModel

from .. import outside
from ..config import TrainConfig
from ..names import RESERVED
from ..runs import exactly, journal
from ..runs.context import Context, Stopped
from ..runs.events import ENDINGS, RunView, fold
from ..sentences import sentences
from . import bundle as bundles
from . import state as states
from .place import Look, Refused, Unreachable, of, on_behalf, where
from .reckon import checked, idle_said, limit_s
from .state import State

MAX_MANIFEST_BYTES = 1_000_000
LOOK_S, LOOK_SLOWLY_S = 1.0, 5.0  # between two looks: while something happens, and while nothing does
PATIENCE_S = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0)  # between two tries while the network is away
STOP_PATIENCE_S = 20.0  # Stop was pressed, and nobody there answers
DEAF_S = 900.0  # Stop was passed on, and no event came since: longer than any base model takes to load
SMALL_BYTES = 64 << 20  # files that are fetched several at a time; a larger one goes on where it was cut off
MOST_TRIES = 3  # at a file that arrives damaged
OURS = ENDINGS | {"started"}  # events that this worker says itself
_NAME = r'[^./\\\0:*?"<>|][^/\\\0:*?"<>|]*'  # one that every system takes, and that hides nothing
FETCHED = re.compile(rf"samples/{_NAME}|checkpoints/\d{{1,15}}/{_NAME}|{_NAME}")  # names below a run's folder that may come home
NEVER = {"job.yaml", "events.jsonl", "control.jsonl", "worker.lock", "log.txt", "votes.jsonl", "notes.jsonl", "datasets.json", states.FILE}  # at home they are this run's own
MODEL_FOLDERS = re.compile(rf"{_NAME}/{_NAME}/{_NAME}|{_NAME}/(?:modular_)?model_index\.json")  # of a result that is a whole model
T = TypeVar("T")


def run(config: TrainConfig, ctx: Context) -> None:
    """Until it is finished elsewhere and all is home (and says so), or raises Stopped; ValueError with a sentence."""
    place, options = of(config, ctx.home.plugins)
    relay = Relay(config, ctx, place, options)
    try:
        with on_behalf(ctx.secrets.get("hf_token")):
            relay.all()
    except Refused as error:
        raise ValueError(sentences(str(error), relay.goes_on())) from None


class Relay:
    """One attempt."""

    def __init__(self, config: TrainConfig, ctx: Context, place: ModuleType, options: BaseModel):
        self.config, self.ctx, self.place, self.options = config, ctx, place, options
        self.state = states.remembered(ctx.run.path) or State(config.place.kind, {"id": secrets.token_hex(8)})
        self.was_stopping = self.state.stopping  # an earlier attempt has passed Stop on
        self.view = RunView()  # of what came from there in this attempt
        self.ending: dict[str, Any] = {}
        self.commands: list[dict[str, Any]] = []
        self.carried = {_key(record) for record in bundles.said_before(ctx.run)}  # which its events begin with there
        self.owed: list[str] = []  # samples that were told before their files could be had; what is still owed at the end comes with everything else

    def all(self) -> None:
        """From the bundle to the end."""
        if self.state.phase == "new":
            self._send()
        why = self._follow() if self.state.phase in ("sent", "started") else ""
        self._bring_home(why)

    # ---- there

    def _send(self) -> None:
        with suppress(Unreachable):  # asked again before it starts
            checked(self.config, self.place, self.options)
        exactly.note(self.config, self.ctx)
        self.ctx.phase("gathering what the run needs")
        folder = self.ctx.home.outputs / ".away" / self.ctx.run.id
        packed = bundles.bundle(self.ctx.run.path, self.config, folder)
        self._keep()

        def say(text: str, share: float) -> None:
            self.ctx.phase(text, round(100 * share), 100, "%")
            if self.ctx.stop_requested():
                raise _Leave

        try:
            self.state.handle = self._patiently(lambda: self.place.send(packed, self.options, dict(self.state.handle), say))
            self.state.phase = "sent"
            self._keep()
        except _Leave:
            self._give_up_unbegun()
        except Refused:
            with suppress(Refused):  # it says the same again
                self._forget()
            raise
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _follow(self) -> str:
        """Why it failed there, once it is over; "" where it ended in order."""
        if self.state.phase == "sent":
            self._start()
        idle, heard_t = 0, time.monotonic()  # looks that brought nothing; when one brought something
        while True:
            self._pass_on()
            look = self._patiently(lambda: self.place.look(self.state.handle, self.options, self.state.offset))
            self._take(look.events, look.offset)
            if look.status == "gone":
                self._is_gone(look.why)
            heard_t = time.monotonic() if look.events or not self.state.stopping else heard_t
            if self.state.stopping and look.status != "finished" and self._ends_it(look, idle > 1 and time.monotonic() - heard_t > DEAF_S):
                self._end_it()
            if look.status in ("finished", "failed"):
                self.state.phase = "over"
                self._keep()
                return "" if look.status == "finished" else look.why or "it failed there without saying why"
            if look.status == "waiting":
                self.ctx.phase(f"waiting at {self._where()}")
            idle = 0 if look.events else idle + 1
            self._wait(max(min(LOOK_S * (1 + idle), LOOK_SLOWLY_S), getattr(self.place, "EVERY_S", 0.0)))  # a place may want to be asked less often

    def _is_gone(self, why: str) -> None:
        """There is nothing to find again."""
        self._put_by()
        raise Refused(f"What was sent to {self._where()} is gone: {why or 'nobody there knows of it'}. Press Resume to send it again.")

    def _start(self) -> None:
        """It is begun there, once.  What cannot be begun does not stay there."""
        if self.ctx.stop_requested():
            self._give_up_unbegun()
        self.ctx.phase(f"starting at {self._where()}")
        try:
            machine = self._patiently(lambda: checked(self.config, self.place, self.options))
            if idle := idle_said(self.config, machine):
                self.ctx.warn(idle)
            seconds = limit_s(self.config, self.place, self.options, self.ctx.home)
            self.state.handle = self._patiently(lambda: self.place.start(dict(self.state.handle), self.options, seconds))
        except Refused:
            with suppress(Refused):  # it says the same again
                self._forget()
            raise
        self.state.phase = "started"
        self._keep()

    def _give_up_unbegun(self) -> None:
        """Stop came before it was begun there."""
        if self.ctx.hurry:
            self._leave_it("this computer ends its programs")
        self._forget()
        raise Stopped(0)

    def _ends_it(self, look: Look, deaf: bool) -> bool:
        """Whether a Stop that was passed on has nobody there to obey it, or nobody who does."""
        if look.status == "failed":
            return not self.state.offset  # it was cancelled before it said a word, which is no failure
        return look.status == "waiting" or deaf or (self.was_stopping and self.ctx.stop_requested())

    def _end_it(self) -> None:
        """It is ended there without its own doing; what it has saved comes home first."""
        self.ctx.phase(f"ending it at {self._where()}")
        try:
            self._fetch_all("stopped")
        except Refused as error:
            self.ctx.warn(f"not all that it had made there came home: {error}")
        if cost := self._forget():
            self.ctx.warn(cost)
        raise Stopped(self.view.step or self.ctx.run.view().step)

    def _pass_on(self) -> None:
        """Stop, Save, Sample and other sample prompts reach the run there."""
        self.commands += self.ctx.commands()
        if self.ctx.stop_requested():
            if self.ctx.hurry:
                self._leave_it("this computer ends its programs")
            if not self.state.stopping:
                self._patiently(lambda: self._tell({"kind": "stop"}))
                self.state.stopping = True
                self._keep()
        while self.commands:
            command = {key: value for key, value in self.commands[0].items() if key != "t"}
            if command.get("kind") in ("save", "sample", "prompts", "weigh"):
                self._patiently(partial(self._tell, command))
                self.state.saves += command["kind"] == "save"
            self.commands.pop(0)

    def _tell(self, command: dict[str, Any]) -> None:
        self.place.tell(self.state.handle, self.options, json.dumps({"t": round(time.time(), 3), **command}))

    def _take(self, events: bytes, offset: int) -> None:
        """Each event that came is looked at as data, what it names is fetched, and then it is on record here; a file that is not to be had yet, the next time."""
        if events:
            self.owed = [path for path in self.owed if not self._fetched(path)]
        for line in events.split(b"\n"):
            record = _record(line)
            if record is None:
                continue
            self.view = fold(self.view, [record])
            if record["kind"] in bundles.CARRIED and _key(record) in self.carried:
                continue
            if record["kind"] in OURS:
                self.ending = record
                continue
            if record["kind"] == "sample":
                path = str(record["path"])
                if not self._may_come(path):
                    continue
                if not self._fetched(path):
                    self.owed.append(path)
            if record["kind"] == "checkpoint" and self.state.saves:
                self.state.saves = 0
                self.state.asked.append(int(record["step"]))
                self._fetch_checkpoint(f"checkpoints/{int(record['step']):06d}")
            journal.append(self.ctx.run.events_path, record, fsync=record["kind"] == "checkpoint")
        if offset != self.state.offset:
            self.state.offset = offset
            self._keep()

    # ---- home

    def _bring_home(self, why: str) -> None:
        """All that belongs here is here, compared; nothing is left there.  Then the run ends as it ended there."""
        ending = self.ending or self._last_word()
        kind = ending.get("kind", "")
        self.ctx.phase(f"fetching the result from {self._where()}")
        self._fetch_all(kind)
        for name in self.owed:
            if not outside.is_plain(self.ctx.path(*name.split("/"))):
                self.ctx.warn(f"{name} did not come home: it is no longer there")
        try:
            cost = self._forget()
        except Refused as error:  # all is home: that it could not be cleared away there is no reason to lose it
            cost = ""
            self.ctx.warn(f"what was sent to {self._where()} could not be removed there: {error}. Remove it yourself.")
            self._put_by()
        if kind == "finished" and not why:
            return self.ctx.emit("finished", path=str(ending["path"]), summary=sentences(str(ending["summary"]), cost))
        if cost:
            self.ctx.warn(cost)
        if kind == "stopped" and not why:
            if not self.state.stopping:
                self.ctx.warn(f"It was stopped on {self._where()}: its time there was over, or somebody stopped it there. Resume goes on from what it saved.")
            raise Stopped(int(ending["step"]))
        if kind == "failed":
            raise Failed(str(ending["error"]), str(ending["hint"]), str(ending["trace"]))
        raise Failed(f"On {self._where()}: {_without_advice(why)}", "Press Resume to go on from the newest checkpoint that came home, or to begin again where there is none.", "")

    def _last_word(self) -> dict[str, Any]:
        """How it ended, read again: an earlier attempt has taken the events, and died before it was done."""
        offset, found = 0, {}
        while True:
            look = self._patiently(partial(self.place.look, self.state.handle, self.options, offset))
            if look.status == "gone":
                self._is_gone(look.why)
            records = [record for record in map(_record, look.events.split(b"\n")) if record]
            found = next((r for r in reversed(records) if r["kind"] in ENDINGS), found)
            if not look.events or look.offset <= offset:
                return found
            offset = look.offset

    def _fetch_all(self, kind: str) -> None:
        there = self._patiently(lambda: self.place.listing(self.state.handle, self.options))
        steps = sorted({name.split("/")[1] for name in there if name.startswith("checkpoints/") and name.count("/") == 2})
        choice = self.config.place.checkpoints
        wanted = steps if choice == "all" else steps[-1:] if choice == "last" or kind != "finished" else []
        wanted = {*wanted, *(f"{step:06d}" for step in self.state.asked)}
        names = [n for n in there if self._may_come(n) and (n.split("/")[1] in wanted if n.startswith("checkpoints/") else True)]
        total = sum(there[n][1] for n in names) or 1
        done = 0
        if many := getattr(self.place, "fetch_many", None):
            small = {n: self.ctx.path(*n.split("/")) for n in names if there[n][1] <= SMALL_BYTES and not n.endswith("MANIFEST.json")}
            if wanting := {n: target for n, target in small.items() if not self._is_here(target, *there[n])}:
                self._patiently(lambda: many(self.state.handle, self.options, wanting))
        for name in sorted(names, key=lambda n: n.endswith("MANIFEST.json")):  # a checkpoint without it is none yet
            self.commands += self.ctx.commands()
            if self.ctx.hurry:
                self._leave_it("this computer ends its programs")
            self.ctx.phase(f"fetching the result from {self._where()}", round(100 * done / total), 100, "%")
            self._fetch(name, *there[name])
            done += there[name][1]

    def _fetch_checkpoint(self, folder: str) -> None:
        """A checkpoint that Save asked for, at once: its own manifest says what it holds."""
        manifest = f"{folder}/MANIFEST.json"
        if not self._fetched(manifest, hold=".manifest"):
            return  # it is pruned there already; at the end it is looked for again
        held = self.ctx.path(f"{folder}.manifest")
        try:
            files = outside.read_json(held, MAX_MANIFEST_BYTES)["files"]
            for name, entry in files.items():
                if self._may_come(f"{folder}/{name}"):
                    self._fetch(f"{folder}/{name}", str(entry["sha256"]), int(entry["size"]))
            held.replace(self.ctx.path(manifest))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            self.ctx.warn(f"the checkpoint {folder.split('/')[1]} did not come home yet ({error}); it is fetched at the end")
        finally:
            held.unlink(missing_ok=True)

    def _fetch(self, name: str, sha256: str, size: int) -> None:
        """One file, compared with what was said of it.  Raises Refused where it arrives damaged again and again."""
        target = self.ctx.path(*name.split("/"))
        for _ in range(MOST_TRIES):
            if self._is_here(target, sha256, size):
                return
            target.unlink(missing_ok=True)
            self._patiently(lambda: self.place.fetch(self.state.handle, self.options, name, target))
        if not (outside.is_plain(target) and bundles.sha256_of(target) == sha256):
            raise Refused(f"{name} arrived from {self._where()} damaged {MOST_TRIES} times; nothing there was removed. Press Resume to try again.")

    @staticmethod
    def _is_here(target: Path, sha256: str, size: int) -> bool:
        return outside.is_plain(target) and target.lstat().st_size == size and bundles.sha256_of(target) == sha256

    def _fetched(self, name: str, hold: str = "") -> bool:
        """Whether a file that an event names is here, now or already."""
        if not self._may_come(name):
            return False
        target = self.ctx.path(*name.split("/"))
        if hold:
            target = target.parent.with_name(target.parent.name + hold)
        if outside.is_plain(target):
            return True
        try:
            self._patiently(lambda: self.place.fetch(self.state.handle, self.options, name, target))
        except Refused:
            return False
        return outside.is_plain(target)

    @staticmethod
    def _may_come(name: str) -> bool:
        """Whether a name from there may be one of a file here, on every system.  This run's own files, and what Windows takes for a device, may not."""
        parts = name.split("/")
        reserved = any(part[-1:] in (".", " ") or part.split(".")[0].strip().upper() in RESERVED for part in parts)
        return not reserved and name.casefold() not in NEVER and bool(FETCHED.fullmatch(name) or MODEL_FOLDERS.fullmatch(name))

    # ---- both

    def _forget(self) -> str:
        """Nothing runs or lies there any more, unless that was asked for; what it cost."""
        self.ctx.phase(f"clearing up at {self._where()}")
        cost = self._patiently(lambda: self.place.end(dict(self.state.handle), self.options))
        self._put_by()
        return cost

    def _put_by(self) -> None:
        self.state.phase = states.ENDED
        self._keep()

    def _keep(self) -> None:
        states.keep(self.ctx.run.path, self.state)

    def _where(self) -> str:
        return where(self.place, self.options)

    def _patiently(self, ask: Callable[[], T]) -> T:
        """What the place answers, however long the network is away; Stop ends the wait."""
        asked_stop = None
        for tried in range(10**9):
            try:
                return ask()
            except Unreachable as error:
                pause = PATIENCE_S[min(tried, len(PATIENCE_S) - 1)]
                if tried:
                    self.ctx.phase(f"{self._where()} cannot be reached ({error}); trying again")
            ends = time.monotonic() + pause
            while time.monotonic() < ends:
                if self.ctx.stop_requested():
                    asked_stop = asked_stop or time.monotonic()
                    if self.ctx.hurry or time.monotonic() - asked_stop > STOP_PATIENCE_S:
                        self._leave_it("it cannot be reached now")
                time.sleep(0.2)
        raise AssertionError("unreachable")

    def goes_on(self) -> str:
        """What may still run there, in a sentence; "" where nothing does."""
        if self.state.phase not in ("sent", "started"):
            return ""
        return f"What was sent to {self._where()} stays there and may go on, and cost what it costs; Resume finds it again, and then Stop ends it there."

    def _leave_it(self, why: str) -> None:
        """The relay ends and the run there goes on."""
        goes_on = " and may go on, and cost what it costs" if self.state.phase in ("sent", "started") else ""
        then = "; then Stop ends it there" if goes_on else ""
        self.ctx.warn(f"{why[:1].upper()}{why[1:]}: what was sent to {self._where()} stays there{goes_on}. Resume finds it again{then}.")
        raise Stopped(self.view.step)

    def _wait(self, seconds: float) -> None:
        ends = time.monotonic() + seconds
        while time.monotonic() < ends and not (self.ctx.stop_requested() and not self.state.stopping):
            self.commands += self.ctx.commands()
            if self.commands:
                return
            time.sleep(0.1)


class Failed(Exception):
    """It failed there.  hint: what to do next."""

    def __init__(self, text: str, hint: str, trace: str):
        super().__init__(text)
        self.hint, self.trace = hint, trace
        if trace:
            self.add_note(f"There:\n{trace}")


class _Leave(Exception):
    """Stop was pressed while it was being sent."""


def _record(line: bytes) -> dict[str, Any] | None:
    """An event that came from elsewhere, if a worker could have said it; its time is no later than now."""
    try:
        record = json.loads(line)
        seen = fold(RunView(), [record])
    except (ValueError, RecursionError, AttributeError):
        return None
    if not seen.last_kind or len(line) > journal.MAX_LINE_BYTES:
        return None
    return {**record, "t": min(float(record["t"]), round(time.time(), 3))}


def _key(record: dict[str, Any]) -> str:
    return json.dumps({**record, "t": float(record["t"])}, sort_keys=True)


def _without_advice(why: str) -> str:
    """Why it died, without the advice that holds where it died."""
    return why.split(" Press Resume")[0]

