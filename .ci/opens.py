"""Whether this system's launcher opens Easel: starts it as a person would, waits until the page answers, ends it.  Standard library only.

    python .ci/opens.py
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import urllib.request
from pathlib import Path

LAUNCHERS = Path(__file__).resolve().parent.parent / "launchers"
WAIT_S = 1800  # the first start installs some 2 GB


def main() -> int:
    """0 where the page answered and the launcher ended when it was told to."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        apart = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP} if os.name == "nt" else {"start_new_session": True}
        process = subprocess.Popen(
            [*launcher(), "--no-browser", "--home", home], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", **apart
        )
        limit = threading.Timer(WAIT_S, process.kill)
        limit.start()
        try:
            url = address(process)
            print(f"the page answers: {title(url)}" if url else "the launcher ended without an address", flush=True)
        finally:
            limit.cancel()
            end(process)
    return 0 if url else 1


def launcher() -> list[str]:
    """The command that stands behind the double click."""
    if os.name == "nt":
        return ["cmd", "/c", str(LAUNCHERS / "start.bat")]
    return ["bash", str(LAUNCHERS / ("start.command" if sys.platform == "darwin" else "start.sh"))]


def address(process: subprocess.Popen) -> str:
    """Where it says that it is ready; '' where it ends before.  What it says is passed on."""
    for line in process.stdout:
        print(line, end="", flush=True)
        if found := re.search(r"Easel is ready: (\S+)", line):
            return found[1]
    return ""


def title(url: str) -> str:
    """The page's title.  Raises OSError where it does not answer."""
    with urllib.request.urlopen(urllib.request.Request(url, headers={"Accept": "text/html"}), timeout=60) as answer:
        return re.search(r"<title>(.*?)</title>", answer.read().decode())[1]


def end(process: subprocess.Popen) -> None:
    """As Ctrl-C does, with all that it started."""
    if os.name == "nt":
        subprocess.run(["taskkill", "/F", "/T", "/PID", str(process.pid)], check=False, capture_output=True)
    elif process.poll() is None:
        os.killpg(process.pid, signal.SIGINT)
    process.stdout.close()
    process.wait(60)


if __name__ == "__main__":
    sys.exit(main())
