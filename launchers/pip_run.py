"""One run of pip or uv: everything into the log, a few plain lines on the screen, and a sentence when it fails."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import unquote

# settings of a person's own pip that would send packages elsewhere than into our environment
REDIRECTS = {"PYTHONHOME", "PYTHONPATH", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_USER", "PIP_REQUIRE_VIRTUALENV", "PIP_DRY_RUN"}

# what pip says -> what a person can do about it; the first that matches is told
CAUSES = (
    (r"No space left|Errno 28|not enough space", "The disk is full. Free some space (a few GB are needed), then start again."),
    (r"Long Path", r"The folder's path is too long for Windows. Move Easel to a short one such as C:\Easel, then start again."),
    (
        r"CERTIFICATE_VERIFY_FAILED|SSLError",
        "The connection's certificate was refused: check the date of this computer and its proxy or antivirus.",
    ),
    (
        r"Temporary failure in name resolution|getaddrinfo failed|N(ewConnection|ameResolution)Error|Max retries|ReadTimeout|IncompleteRead|"
        + r"Connection (aborted|reset|broken|refused)|ProxyError|Network is unreachable",
        "The internet, or the package index, cannot be reached. Check the connection, then start again.",
    ),
    (
        r"No matching distribution|Could not find a version",
        "A package has no build for this Python or this system. Easel needs a 64-bit Python 3.11 to 3.14 on Windows, Linux (glibc) or a Mac with an Apple chip.",
    ),
    (
        r"Permission denied|Errno 13|Access is denied|WinError 5\b",
        "A file may not be written: close other copies of Easel, or move it to your own folder.",
    ),
    (
        r"DO NOT MATCH THE HASHES",
        "A package came with other contents than the ones that were locked. Something between here and the package index changed it; try another network.",
    ),
    (r"Killed|MemoryError", "The computer ran out of memory. Close other programs, then start again."),
)


class Failed(Exception):
    """A step that did not work; its text is the sentence for the person."""


def environment() -> dict[str, str]:
    """The environment for Python and pip inside our own virtual environment."""
    kept = {key: value for key, value in os.environ.items() if key not in REDIRECTS}
    return kept | {
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_NO_INPUT": "1",
        "PIP_USER": "0",
        "PYTHONUTF8": "1",
        "PYTHONIOENCODING": "utf-8",
    }


def pip(python: Path, args: list[str], log, lock_fd: int) -> None:
    """Runs `pip ARGS` with `python`.  Raises Failed with a sentence.

    lock_fd: the launcher's lock; pip inherits it, so that a killed launcher's pip still keeps others out.
    """
    extra = ["--progress-bar", "raw", "--resume-retries", "10"] if args[0] == "install" and is_new(python) else []
    # -I: neither the current folder nor the user's own site-packages take part
    command = [str(python), "-I", "-X", "utf8", "-m", "pip", *args[:1], *extra, *args[1:]]
    log(f"+ pip {' '.join(args)}")
    said: list[str] = []
    screen = Screen()
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env=environment(), cwd=python.parent, text=True, encoding="utf-8", errors="replace",
        pass_fds=() if os.name == "nt" else (lock_fd,),
    )  # fmt: skip
    try:
        for line in process.stdout:  # type: ignore[union-attr]
            line = line.rstrip()
            if not line.startswith("Progress "):
                log("  " + line)
                said.append(line)
            screen.show(line)
    finally:
        screen.clear()
        if process.poll() is None:
            process.wait()
    if process.returncode:
        raise Failed(cause("\n".join(said)))


def uv_reaches(python: Path) -> bool:
    """Whether uv may fetch for us.  It reads none of pip's settings, so where pip was told of another index or a proxy, pip does it."""
    told = subprocess.run([str(python), "-I", "-m", "pip", "config", "list"], env=environment(), capture_output=True, text=True, check=False)
    return not told.returncode and not re.search(r"\.(index-url|no-index|proxy|trusted-host|client-cert)=", told.stdout.replace("_", "-"))


def uv(python: Path, args: list[str], log, lock_fd: int) -> bool:
    """Whether `uv pip ARGS` did it; what it said is in the log.  Its cache lies in the environment while it works.

    So an interrupted start goes on where it was, and afterwards nothing lies on the disk twice, nor shares a file with another program's.
    """
    venv = python.parent.parent
    program, cache = next((path for path in (python.with_name("uv"), python.with_name("uv.exe")) if path.is_file()), None), venv / "uv-cache"
    if program is None:
        return False
    log(f"+ uv pip {' '.join(args)}")
    watched = sys.stderr.isatty()  # then it draws its own progress
    done = subprocess.run(
        [str(program), "pip", args[0], "--python", str(python), "--cache-dir", str(cache), *args[1:]],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=None if watched else subprocess.STDOUT,
        env=environment(), cwd=venv, text=True, encoding="utf-8", errors="replace", pass_fds=() if os.name == "nt" else (lock_fd,), check=False,
    )  # fmt: skip
    log("\n".join("  " + line for line in done.stdout.splitlines()) or "  (it drew on the screen)")
    if done.returncode == 0:
        shutil.rmtree(cache, ignore_errors=True)
    return done.returncode == 0


def is_new(python: Path) -> bool:
    """Whether this Python's pip can show progress in a pipe and continue a broken download (25.1 and later)."""
    found = [folder.name.split("-")[1] for folder in python.parent.parent.rglob("pip-*.dist-info")]
    return any(tuple(int(n) for n in re.findall(r"\d+", version)[:2]) >= (25, 1) for version in found)


def cause(said: str) -> str:
    """One sentence for what pip said before it failed."""
    for pattern, sentence in CAUSES:
        if re.search(pattern, said, re.IGNORECASE):
            return sentence
    errors = [line for line in said.splitlines() if "error" in line.lower()]
    return f"pip failed: {(errors or said.splitlines() or ['it said nothing'])[-1].strip()}"


class Screen:
    """pip's lines, made short: on a terminal one line that is rewritten, elsewhere only the large downloads."""

    def __init__(self):
        self.alive = sys.stdout.isatty()
        self.file = ""
        self.shown_t = 0.0
        self.width = 0

    def show(self, line: str) -> None:
        progress = re.match(r"Progress (\d+) of (\d+)", line)
        download = re.match(r"\s*Downloading (\S+?)(?:\.metadata)? \(([\d.]+) ([kMG]B)\)", line)
        if progress:
            if time.monotonic() - self.shown_t > 0.2 and int(progress[2]) > 1_000_000:
                self._write(f"  {self.file}: {int(progress[1]) / 1e6:.0f} of {int(progress[2]) / 1e6:.0f} MB")
        elif download and ".metadata" not in line:
            self.file = " ".join(unquote(download[1].rsplit("/", 1)[-1]).split("-")[:2])
            if self.alive:
                self._write(f"  {self.file}: {download[2]} {download[3]}")
            elif download[3] == "GB" or (download[3] == "MB" and float(download[2]) > 20):
                print(f"  downloading {self.file}, {download[2]} {download[3]}", flush=True)
        elif line.startswith("Installing collected packages") and line.count(",") > 5:
            self._write(f"  unpacking {line.count(',') + 1} packages; this can take a few minutes")

    def _write(self, text: str) -> None:
        if self.alive:
            print("\r" + text[:100].ljust(self.width), end="", flush=True)
            self.width = min(len(text), 100)
            self.shown_t = time.monotonic()
        elif text.startswith("  unpacking"):
            print(text, flush=True)

    def clear(self) -> None:
        if self.alive and self.width:
            print("\r" + " " * self.width + "\r", end="", flush=True)
            self.width = 0
