"""One Easel a home: the first holds a lock and leaves its address; a second finds both and shows the first instead."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from urllib.parse import urlsplit

from training.home import Home, unwritable
from training.outside import read_json
from training.runs.lock import RunLock

WAIT_S = 20.0  # for one that is just starting to say its address


def folder(home: Home) -> Path:
    """Where the running app keeps its own things.  Raises ValueError, in a sentence, where it cannot be made."""
    path = home.root / ".easel"
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(unwritable(path, error)) from None
    return path


def claim(home: Home) -> RunLock | None:
    """The lock of this home, held; None when another Easel holds it.  Raises ValueError, in a sentence, where it cannot be written."""
    lock = RunLock(folder(home) / "app.lock")
    try:
        if not lock.acquire(wait_s=0.3):
            return None
        _address(home).unlink(missing_ok=True)
    except OSError as error:
        raise ValueError(unwritable(folder(home), error)) from None
    return lock


def announce(home: Home, url: str) -> None:
    """Leaves the address for a second start to find.  On a full disk that one finds none, and says so; this one goes on, so that space can be made."""
    try:
        _address(home).write_text(json.dumps({"url": url}), encoding="utf-8")
    except OSError as error:
        print(f"The address could not be noted ({error.strerror}); a second start will not find this window.", flush=True)


def other_url(home: Home, wait_s: float = WAIT_S) -> str:
    """The address of the Easel that holds this home, once it answers; '' if it does not."""
    deadline = time.monotonic() + wait_s
    while True:
        url = _read(home)
        if url and _answers(url):
            return url
        if time.monotonic() >= deadline:
            return ""
        time.sleep(0.2)


def _address(home: Home) -> Path:
    return folder(home) / "app.json"


def _read(home: Home) -> str:
    try:
        url = read_json(_address(home), 10_000)["url"]
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    return url if isinstance(url, str) and url.startswith(("http://", "https://")) else ""


def _answers(url: str) -> bool:
    parts = urlsplit(url)
    try:
        with socket.create_connection((parts.hostname, parts.port or 80), timeout=1):
            return True
    except OSError:
        return False
