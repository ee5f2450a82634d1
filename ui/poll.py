"""What happened since the last look: (run, cursor, view) -> new events -> new view; and what of the page that changes."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import gradio as gr

from training.runs import journal, remembered
from training.runs.events import ENDINGS, RunView, fold
from training.runs.run import Run

AT_ONCE_BYTES = 2 << 20  # of a journal: some 12,000 events, a tenth of a second
WAIT_S = 0.3
SETTLE_S = 2.0  # longer than an answer is on its way


@dataclass(frozen=True)
class Seen:
    """How far a run's events have been read, and what they made."""

    cursor: int = 0
    view: RunView = field(default_factory=RunView)


def advance(run: Run, seen: Seen) -> Seen:
    """`seen` after the events that were written since; the very same object when there are none."""
    size_bytes = journal.size_bytes(run.events_path)
    if size_bytes == seen.cursor:
        return seen
    if size_bytes < seen.cursor:  # another run was put under the same name
        seen = Seen()
    for seen in _advances(run, seen):  # noqa: B020 each is the one before and a piece more
        pass
    return seen


def _advances(run: Run, seen: Seen) -> Iterator[Seen]:
    """`seen` after each further piece of the journal."""
    for records, cursor, bad in journal.pieces(run.events_path, seen.cursor):
        if cursor == seen.cursor:
            return
        view = fold(seen.view, records)
        seen = Seen(cursor, replace(view, bad_lines=view.bad_lines + bad) if bad else view)
        yield seen


def status_of(run: Run, view: RunView) -> str:
    """Run.status(), from a view of all events: the lock is only asked for what has not ended."""
    if view.last_kind in ENDINGS:
        return view.last_kind
    return run.status()


def result_of(run: Run, view: RunView) -> Path | None:
    """Run.result(), from a view that was just made: the finished LoRA, where there is one."""
    return run.made(view.result) if view.result else None


class Watch:
    """The views of all runs that anybody looks at, each event read and folded once for all browsers.

    What would keep a page waiting is folded in a thread: until that is through, the view is that of the events so far.
    """

    def __init__(self):
        self._seen: dict[Path, Seen] = {}
        self._lock = threading.Lock()
        self._catching_up: dict[Path, threading.Thread] = {}

    def view(self, run: Run) -> RunView:
        """The run's view as of now, or of as much as was folded until now."""
        with self._lock:
            seen = self._seen.get(run.path, Seen())
            if run.path in self._catching_up:
                return seen.view
            if journal.size_bytes(run.events_path) - seen.cursor <= AT_ONCE_BYTES:
                self._seen[run.path] = seen = advance(run, seen)
                return seen.view
            thread = threading.Thread(target=self._catch_up, args=(run, seen), name="easel-fold", daemon=True)
            self._catching_up[run.path] = thread
        thread.start()
        thread.join(WAIT_S)  # a remembered fold is there by then
        return self._seen.get(run.path, seen).view

    def behind(self, run: Run) -> bool:
        """Whether the view does not hold all events yet."""
        return run.path in self._catching_up

    def _catch_up(self, run: Run, seen: Seen) -> None:
        try:
            if not seen.cursor:
                seen = Seen(*remembered.recall(run.events_path))
            for seen in _advances(run, seen):  # noqa: B020 as above
                self._seen[run.path] = seen
                time.sleep(0)  # whoever answers a click comes first
            self._seen[run.path] = seen
            remembered.keep(run.events_path, seen.cursor, seen.view)
        except (ValueError, OSError) as error:
            logging.getLogger("easel").warning("the events of %s could not be folded: %s", run.id, error)
        finally:
            with self._lock:
                del self._catching_up[run.path]

    def status(self, run: Run) -> tuple[RunView, str]:
        """(view, status), which agree: a view is read again when the run ended between the two looks."""
        view = self.view(run)
        if self.behind(run):
            return view, run.status()
        status = status_of(run, view)
        if status in ENDINGS and view.last_kind != status:
            view = self.view(run)
        return view, status

    def forget(self, path: Path) -> None:
        """A deleted run is not remembered."""
        with self._lock:
            self._seen.pop(path, None)


@dataclass(frozen=True)
class Print:
    """What of a piece was sent last.  mark: its hash.  sent_t: seconds, when it was sent first.  sure: it was sent once more since."""

    mark: int
    sent_t: float
    sure: bool = False


def changes(shown: Mapping[str, Print], pieces: Mapping[str, Any], now: float | None = None) -> tuple[dict[str, Print], list[Any]]:
    """({piece: its print}, [value, or gr.skip() for one that the page shows already]), in the order of `pieces`.

    A piece is sent twice, the second time SETTLE_S after the first: where a tick and a click are answered at the same moment, the
    browser may get the older answer last, and would go on showing it.
    """
    now = time.time() if now is None else now
    prints, values = {}, []
    for name, value in pieces.items():
        mark, before = hash(value) if isinstance(value, str) else hash(repr(value)), shown.get(name)
        if before is None or before.mark != mark:
            prints[name] = Print(mark, now)
        elif not before.sure and now - before.sent_t >= SETTLE_S:
            prints[name] = Print(mark, before.sent_t, sure=True)
        else:
            prints[name] = before
        values.append(gr.skip() if prints[name] == before else value)
    return prints, values
