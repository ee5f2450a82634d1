"""Imports into datasets.  They go on in a thread of the app: a refresh or a second browser only looks at them."""

from __future__ import annotations

import errno
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import gradio as gr

from training.data import datasets, health, importing
from training.data.datasets import LEFT_OUT, Dataset, Progress, Verdict
from training.data.health import Goal, Health
from training.hub import arriving
from training.hub.client import Cancelled, HubError
from training.hub.collect import Found, Given

from ... import counted
from ...language import N_, tr

JUDGED_AGAIN = 1000  # pictures, which takes some tenths of a second
# said in a thread, so in English: outcome() puts them into the page's language
FULL = N_("the disk is full; free some space and add the rest again")
FAILED = N_("the pictures could not be added: {why}")


@dataclass
class Import:
    """One import.  verdicts and error are set when it has ended."""

    done: int = 0
    of: int = 0
    file: str = ""
    ended: bool = False
    verdicts: Sequence[Verdict] = ()
    error: str = ""
    thread: threading.Thread | None = field(default=None, repr=False)
    paths: Sequence[Path] = ()
    checks: bool = False  # is a health check, which adds nothing
    doing: str = ""  # what it does now, where that is not one thing all the time
    stop: threading.Event | None = None  # set by whoever cancels it, where it can be
    cancelled: bool = False

    @property
    def refused(self) -> list[Verdict]:
        """What did not become part of the dataset, with the reason."""
        return [v for v in self.verdicts if not v.ok and v.kind not in ("skipped", *LEFT_OUT)]

    @property
    def left_out(self) -> list[Verdict]:
        """What is no picture to learn from: control and regularisation pictures of other trainers."""
        return [v for v in self.verdicts if v.kind in LEFT_OUT and not v.ok]

    @property
    def noted(self) -> list[Verdict]:
        """What was taken with a remark."""
        return [v for v in self.verdicts if v.ok and v.reason and v.kind != "prompts"]

    @property
    def prompts(self) -> str:
        """What pictures say of the prompts in them, "" for none."""
        return next((v.reason for v in self.verdicts if v.kind == "prompts"), "")


class Imports:
    """The newest import of each dataset, by name."""

    def __init__(self, uploads: Path):
        self.uploads = uploads  # where Gradio leaves uploads; they are copied into the dataset and then not needed any more
        self._by_name: dict[str, Import] = {}
        self._health: dict[str, Health] = {}
        self._lock = threading.Lock()

    def of(self, name: str) -> Import | None:
        """The import into a dataset that is going, or whose outcome has not been dismissed."""
        return self._by_name.get(name)

    def busy(self) -> bool:
        """Is any import going?"""
        return any(not i.ended for i in list(self._by_name.values()))

    def at_rest(self, name: str) -> None:
        """Nothing, or a refusal on the page while pictures are being added to a dataset."""
        if (job := self.of(name)) and not job.ended:
            raise gr.Error(tr("Pictures are still being added to it; wait for them to be done."), print_exception=False)

    def taken(self) -> list[Path]:
        """The uploads that are being taken in now."""
        return [path for i in list(self._by_name.values()) if not i.ended for path in i.paths]

    def dismiss(self, name: str) -> None:
        """The outcome has been read."""
        with self._lock:
            if name in self._by_name and self._by_name[name].ended:
                del self._by_name[name]

    def files(self, ds: Dataset, paths: Sequence[Path]) -> Import:
        """Begins to take files in.  Raises ValueError while another import into the dataset is going."""
        return self._begin(ds, lambda tell: importing.add_files(ds, paths, tell), paths)

    def folder(self, ds: Dataset, path: Path) -> Import:
        """Begins to take a folder of this computer in.  Raises ValueError as files() does."""
        return self._begin(ds, lambda tell: importing.add_folder(ds, path, tell), ())

    def controls(self, ds: Dataset, kind: str) -> Import:
        """Begins to make control pictures for those that have none.  Raises ValueError as files() does."""
        return self._begin(ds, lambda tell: importing.make_controls(ds, kind, tell), ())

    def hub(self, ds: Dataset, found: Found, token: Given) -> Import:
        """Begins to fetch a dataset of the Hub and to take it in.  Raises ValueError as files() does."""
        stop = threading.Event()

        def work(tell: Progress) -> Sequence[Verdict]:
            def told(doing: str, done: int, of: int, file: str) -> None:
                self._by_name[ds.name].doing = doing
                tell(done, of, file)

            return arriving.take(ds, found, token, told, stop.is_set)

        return self._begin(ds, work, (), stop=stop)

    def cancel(self, name: str) -> None:
        """The import into a dataset is to end, where it can be ended."""
        job = self._by_name.get(name)
        if job and job.stop:
            job.stop.set()

    def check(self, ds: Dataset, goal: Goal) -> Import:
        """Begins the health check, whose outcome health() gives.  Raises ValueError as files() does."""

        def work(tell: Progress) -> Sequence[Verdict]:
            self._health[ds.name] = health.check(ds, goal, tell)
            return ()

        return self._begin(ds, work, (), checks=True)

    def health(self, ds: Dataset, goal: Goal | None) -> tuple[Health | None, bool]:
        """(the outcome of the newest check, whether something has changed since that it does not know).

        Where all that is new was measured before, it is judged again; a large dataset is not, as the page would wait for it.
        """
        found = self._health.get(ds.name)
        if found is None:
            return None, False
        pictures, goal = ds.pictures(check=False), (goal or found.goal).of(ds)
        if health.print_of(pictures, goal) == found.print:
            return found, False
        known = health.remembered(ds)
        if len(pictures) > JUDGED_AGAIN or any(p.verdict == "unchecked" or (p.usable and any(one.sha256 not in known for one in (p, *p.references))) for p in pictures):
            return found, True
        self._health[ds.name] = health.judge(pictures, known, goal)
        return self._health[ds.name], False

    def forget_health(self, name: str) -> None:
        """The outcome is not to be seen any more."""
        self._health.pop(name, None)

    def _begin(self, ds: Dataset, work: Callable[[Progress], Sequence[Verdict]], paths: Sequence[Path], checks: bool = False, stop: threading.Event | None = None) -> Import:
        with self._lock:
            going = self._by_name.get(ds.name)
            if going and not going.ended:
                raise ValueError(N_("other pictures are still being added; wait for them to be done"))  # for whoever shows it: in_words() translates
            job = self._by_name[ds.name] = Import(paths=tuple(paths), checks=checks, stop=stop)
            job.thread = threading.Thread(target=self._run, args=(job, work, paths), name="easel-import", daemon=True)
        job.thread.start()
        return job

    def _run(self, job: Import, work: Callable[[Progress], Sequence[Verdict]], paths: Sequence[Path]) -> None:
        def tell(done: int, of: int, file: str) -> None:
            job.done, job.of, job.file = done, of, file

        try:
            job.verdicts = work(tell)
        except Cancelled:
            job.cancelled, job.error = True, N_("cancelled; nothing was added")
        except (ValueError, HubError) as error:
            job.error = str(error)
        except OSError as error:
            job.error = FULL if error.errno == errno.ENOSPC else FAILED.format(why=error.strerror or error)
        except Exception as error:  # nobody waits for this thread: what it cannot say here would be lost
            logging.getLogger("easel").exception("an import failed")
            job.error = FAILED.format(why=error)
        finally:
            for path in paths:
                self._drop(path)
            job.ended = True

    def _drop(self, path: Path) -> None:
        if path.resolve().is_relative_to(self.uploads.resolve()):
            path.unlink(missing_ok=True)


def outcome(job: Import) -> str:
    """One sentence on an import that has ended."""
    return counted.said(job.error, "\n") if job.error else counted.said(datasets.summary(job.verdicts))
