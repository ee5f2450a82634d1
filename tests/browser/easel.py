"""A running Easel, as a person has it: app.py in a process of its own, on a home and a port of its own."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from training.home import Home, find_home
from training.runs import supervisor
from training.runs.run import Run, list_runs

REPO = Path(__file__).resolve().parent.parent.parent
BASE = REPO / "presets" / "builtin" / "base"
START_S = 120  # other processes may hold both cores


class Easel:
    """app.py on `home`.  environment: what is added to this process's own."""

    flags: tuple[str, ...] = ()

    def __init__(self, home: Path, **environment: str):
        self.home: Home = find_home(home)
        self.environment = {**os.environ, "PYTHONUNBUFFERED": "1", **environment}
        self.said: list[str] = []
        self.process: subprocess.Popen | None = None
        self.url = ""

    def start(self) -> Easel:
        """Returns when it listens."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [sys.executable, str(REPO / "app.py"), "--home", str(self.home.root), "--port", str(port), "--no-browser", *self.flags]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            env=self.environment,
        )
        threading.Thread(target=self._read, daemon=True).start()
        self.url = wait(self._address, "app.py did not say where it listens", START_S)
        return self

    def _read(self) -> None:
        for line in self.process.stdout:
            self.said.append(line)

    def _address(self) -> str:
        if self.process.poll() is not None:
            raise AssertionError(f"app.py ended with {self.process.returncode}:\n{''.join(self.said)}")
        found = re.search(r"Easel is ready: (\S+)", "".join(self.said))
        return found[1] if found else ""

    def close(self) -> None:
        """As Ctrl-C does; a training that runs goes on."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            began = time.monotonic()
            try:
                self.process.wait(30)
            finally:
                self.process.kill()
            assert quick(time.monotonic() - began), "the app took too long to close"

    def runs(self, kind: str) -> list[Run]:
        """Newest first."""
        return list_runs(self.home.outputs, {kind})

    def end_everything(self) -> None:
        """No worker of ours outlives the test."""
        self.close()
        for run in list_runs(self.home.outputs):
            if run.status() == "running":
                run.command("stop")
                try:
                    wait(lambda run=run: run.status() != "running", "the worker does not stop", 30)
                except AssertionError:
                    supervisor.kill(run)


def quick(took_s: float, limit_s: float = 3.0) -> bool:
    """Whether a click was answered in time.  2 s is the promise; on a machine that others keep busy nothing can be said."""
    print(f"answered after {took_s:.2f} s, load {os.getloadavg()[0]:.1f}")
    return took_s < limit_s or os.getloadavg()[0] > 2 * (os.cpu_count() or 1)


def wait(look: Callable, trouble: str, limit_s: float):
    """What look() says as soon as it is true.  Raises AssertionError with `trouble`."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError(f"{trouble} ({limit_s:.0f} s)")
