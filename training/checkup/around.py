"""What lies around Easel: packages against the lock, torch against the card, presets, the token and its rights, the port, a browser."""

from __future__ import annotations

import importlib.metadata
import os
import re
import socket
import stat
import webbrowser
from collections.abc import Iterator
from pathlib import Path

from ..home import REPO, TO_REPAIR, Home
from ..outside import read_json
from .check import Check, some

LOCK = REPO / "launchers" / "locks" / "app.txt"
NEWEST_PYTHON = (3, 14)  # as launchers/places.py has it: what torch and the others are built for
PORT = 7860
CURE = f"{TO_REPAIR}, which puts that right"


def lock(path: Path = LOCK) -> Iterator[Check]:
    """Every package that is locked for this system, not only those that Easel asks for by name."""
    from packaging.requirements import InvalidRequirement, Requirement

    wrong: list[str] = []
    count = 0
    for line in re.findall(r"^([A-Za-z0-9._-]+==[^\\\n]+)", path.read_text(encoding="utf-8") if path.is_file() else "", re.MULTILINE):
        try:
            asked = Requirement(line.strip())
        except InvalidRequirement:
            continue
        if asked.marker and not asked.marker.evaluate():
            continue
        count += 1
        try:
            have = importlib.metadata.version(asked.name)
        except importlib.metadata.PackageNotFoundError:
            wrong.append(f"{asked.name} is missing")
            continue
        if not asked.specifier.contains(have.partition("+")[0], prereleases=True):
            wrong.append(f"{asked.name} {have} in place of {str(asked.specifier).removeprefix('==')}")
    if count:
        yield Check("lock", "note" if wrong else "ok", f"{count - len(wrong)} of {count} locked packages are as they were tested" + (f"; {some(wrong)}. {CURE[0].upper() + CURE[1:]}" if wrong else ""))
    site = Path(str(importlib.metadata.distribution("pydantic").locate_file("")))
    torn = sorted([p.name for p in site.glob("~*")] + [p.name for p in site.glob("*.dist-info") if not (p / "METADATA").is_file()])
    if torn:
        yield Check("packages", "note", f"an installation was cut off here: {some(torn)} in {site}; {CURE}")


def torch_for_card(told: str) -> Iterator[Check]:
    """Whether the build of torch is the one for the card that is here.  told: what torch computes on, as it says itself; "" where it has no card."""
    from ..plan import cards
    from ..plan.hardware import installed_torch, wanted_build

    try:
        wanted, why = wanted_build(cards.find())
    except (OSError, ValueError, AttributeError):
        return
    have = installed_torch()
    if wanted != "cpu" and have == "cpu":
        yield Check("torch", "broken", f"is the build for processors, but there is a card for it. {why}; {CURE}")
    elif wanted != "cpu" and have and not told:
        yield Check("torch", "broken", f"is built for {have}, but finds no card, although there is one: {why}. Restart the computer after a driver's update; {CURE}")


def presets(home: Home) -> Iterator[Check]:
    """Every preset, resolved as the Train page does it."""
    from ..plan import presets as all_presets
    from ..plan.hardware import machine

    fine, wrong = 0, {}
    seen = machine(home.root)
    for preset in all_presets.list_presets(plugins=home.plugins):
        if not preset.ok:
            wrong.setdefault(preset.error, []).append(preset.id)
            continue
        try:
            all_presets.resolve(preset.id, all_presets.Answers(trigger="word", dataset="pictures"), seen, 20, home)
            fine += 1
        except all_presets.Wrong:
            fine += 1  # it asks for something that only a person can say
        except Exception as error:  # noqa: BLE001 whatever a plugin's preset leads to is a row, and the others are tried
            wrong.setdefault(f"{type(error).__name__}: {error}", []).append(preset.id)
    for why, ids in wrong.items():  # one reason may be that of all of them, such as a disk that is full
        yield Check("preset", "broken", f"{some(ids)}: {why}. What cannot be read is not offered; mend that, or take its file away")
    yield Check("presets", "ok" if fine else "broken", f"{fine} resolve on this machine")


def token() -> Iterator[Check]:
    """Who the saved token belongs to and what it may do.  Asks the Hub only where there is one."""
    from huggingface_hub import constants

    from ..hub.account import find_token, signed_in

    secret, source = find_token()
    path = Path(constants.HF_TOKEN_PATH)
    if os.name != "nt" and path.is_file() and stat.S_IMODE(path.stat().st_mode) & 0o077:
        yield Check("token", "note", f"{path} can be read by other users of this computer; doctor --fix keeps it to you", lambda: _to_owner(path))
    if not secret:
        yield Check("token", "ok", "nobody is signed in to the Hub; it is needed to publish and for gated models alone")
        return
    account = signed_in(None)
    if not account.ok:
        yield Check("token", "note", f"the {'environment' if source == 'environment' else 'saved'} token does not work now: {account.reason}")
    elif account.namespaces:
        yield Check("token", "ok", f"{account}, may write to {some(list(account.namespaces))}")
    else:
        yield Check("token", "note", f"{account}: it may read, not publish; make one with write access in the Hub's settings where you want to publish")


def page(home: Home, port: int = PORT) -> Iterator[Check]:
    """Is Easel open already, is its port free, is there a browser?"""
    from ..runs.lock import is_held

    if is_held(home.root / ".easel" / "app.lock"):
        try:
            url = str(read_json(home.root / ".easel" / "app.json", 10_000)["url"])
        except (OSError, ValueError, KeyError, TypeError):
            url = ""
        yield Check("page", "ok", f"Easel is open{f' at {url}' if url else ''}")
    elif _taken(port):
        yield Check("page", "note", f"port {port} is used by another program; Easel takes the next free one, or the one that --port names")
    else:
        yield Check("page", "ok", f"port {port} is free")
    try:
        webbrowser.get()
    except webbrowser.Error:
        yield Check("browser", "note", "none was found on this computer; open the address that Easel prints in any browser that reaches it")


def _taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _to_owner(path: Path) -> str:
    os.chmod(path, 0o600)
    return f"only you can read {path} now"
