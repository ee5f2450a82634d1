"""Is there a newer Easel?  Asks the package index once, when a person wants to know; nothing of ours asks by itself.

Asked is by pip, so with whatever mirror, proxy and certificates this computer's pip was told of.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec

from packaging.version import InvalidVersion, Version

from ..home import INSTALLED, TO_REPAIR

PACKAGE = "easel-lora"
WAIT_S = 60.0
HOW = f"Get it with: pip install --upgrade {PACKAGE} (or: uv tool upgrade {PACKAGE}), then easel setup" if INSTALLED else f"Get it where you got this folder, then {TO_REPAIR}"


def told(have: str) -> str:
    """One or two sentences: which version is the newest, and how to get it.  Raises ValueError with a sentence where that cannot be known."""
    newest = _newest()
    if newest is None:
        return f"This is Easel {have}. The package index does not have {PACKAGE} yet, so there is nothing to compare it with."
    if newest <= Version(have):
        return f"This is Easel {have}, and there is none newer."
    return f"Easel {newest} is out; this is {have}. {HOW}. Your runs, datasets and settings stay as they are."


def _newest() -> Version | None:
    """The highest version that is no trial; None where the index knows no such package."""
    if find_spec("pip") is None:
        raise ValueError(f"pip, which asks the package index, is not in this environment; {TO_REPAIR}, which brings it, or ask with: uv tool upgrade {PACKAGE}")
    # one retry, because pip says nothing of a connection that it does not try again
    command = [sys.executable, "-m", "pip", "index", "versions", PACKAGE, "--disable-pip-version-check", "--no-color", "--retries", "1", "--timeout", "10"]
    env = os.environ | {"PIP_NO_INPUT": "1", "PYTHONUTF8": "1"}
    try:
        asked = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, encoding="utf-8", errors="replace", timeout=WAIT_S, check=False)
    except subprocess.TimeoutExpired:
        raise ValueError(f"the package index did not answer within {WAIT_S:.0f} s; ask again later") from None
    return read(asked.stdout, asked.stderr)


def read(answer: str, trouble: str) -> Version | None:
    """The version in what pip said; None where the index has no such package.  Raises ValueError with a sentence."""
    if found := re.match(rf"{PACKAGE} \(([^)]+)\)", answer):
        try:
            return Version(found[1])
        except InvalidVersion:
            raise ValueError(f"the package index names {found[1]!r}, which is no version; ask again later") from None
    if re.search(r"Retrying|Could not fetch|SSLError|ProxyError|timed out|HTTP error", trouble):
        raise ValueError("the package index cannot be reached; look whether this computer has internet, then ask again")
    if "No matching distribution" in trouble:
        return None
    raise ValueError(f"pip could not ask the package index: {(trouble.strip().splitlines() or ['it said nothing'])[-1]}")
