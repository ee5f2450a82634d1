"""Any machine with Python that can be reached by ssh: a desk in the next room, a server, a rented pod.

The system's own OpenSSH client connects, with the user's own configuration, agent and known hosts.  What trains is sent along and set up
in a folder of the other machine's home; the run there is detached, holds a lock of its own, and is found again by its folder.
"""

from __future__ import annotations

import json
import re
import time
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from training.away import checkout
from training.away.bundle import Bundle
from training.away.place import Look, Machine, Refused, Unreachable, together
from training.away.secure_shell import Gone, Host, Say, arrived
from training.config import Part
from training.names import folder_name
from training.sentences import sentences

TITLE = "A machine of your own, by ssh"
BLURB = "A desk in the next room, a server, or a rented pod: any Linux machine with Python that you reach with ssh."
ENVIRONMENT = ("SSH_AUTH_SOCK", "SSH_AGENT_PID")  # of whoever starts it: where the agent is that knows the keys
OLDEST = (3, 11)
SET_UP_BYTES = 12_000_000_000  # torch for CUDA and its copies while it is installed
PROBED_S = 60.0
PLAIN_PATH = re.compile(r"[A-Za-z0-9_./~+@ -]*")


def host_name(text: str) -> str:
    """The host's name.  Raises ValueError for one that ssh would take for an option."""
    return Host(text.strip()).name if text.strip() else ""


def user_name(text: str) -> str:
    """The user's name, or ""."""
    return Host("host", text.strip()).user


def plain_path(text: str) -> str:
    """A path there.  Raises ValueError for one with signs that no such path needs, or that begins like an option."""
    text = text.strip()
    if not PLAIN_PATH.fullmatch(text) or text.startswith("-") or ".." in text.split("/"):
        raise ValueError(f"{text!r} is no plain path; it takes letters, digits and . _ - / + @")
    return text


def inner_path(text: str) -> str:
    """A folder below the other machine's home."""
    text = plain_path(text)
    if not text or text.startswith(("/", "~")) or text in (".", "./"):
        raise ValueError(f"{text!r} must be a folder below the home folder there, such as .easel-away")
    return text.strip("/")


class Options(Part):
    """How it is reached, and what is used there."""

    host: Annotated[str, Field(max_length=200, description="The machine: a name, an address, or an alias of your ssh configuration."), AfterValidator(host_name)] = ""
    user: Annotated[str, Field(max_length=100, description="User there; empty takes what your ssh configuration says."), AfterValidator(user_name)] = ""
    port: int = Field(0, ge=0, le=65535, description="Port of its ssh server; 0 takes what your ssh configuration says.")
    easel: Annotated[str, Field(max_length=500, description="Folder of an Easel that is set up there already; empty sends this one along."), AfterValidator(plain_path)] = ""
    python: Annotated[str, Field(max_length=500, description="A Python there that has everything Easel needs; empty sets one up."), AfterValidator(plain_path)] = ""
    folder: Annotated[str, Field(max_length=200, description="Folder below the home folder there, for all that is sent and made."), AfterValidator(inner_path)] = ".easel-away"
    keep: bool = Field(False, description="Leave there what was sent and made; off removes it when all has come home.")
    keep_setup: bool = Field(False, description="Leave Easel itself set up there for the next run; it holds nothing of yours. Off removes it with the last run.")
    machine: str = Field("", max_length=100, description="There is no choice of machines here; leave it empty.")
    limit_hours: float = Field(0.0, ge=0, le=10_000, description="Hours after which it is stopped there, with a checkpoint; 0 means never.")
    price_per_hour: float = Field(0.0, ge=0, le=10_000, description="What the machine costs an hour, for the estimate; 0 for one of your own.")
    currency: str = Field("USD", max_length=10, description="The currency of that price.")


def where(options: Options) -> str:
    """The host."""
    return options.host


def ready(options: Options) -> str:
    """"" where it answers, else why not."""
    if not options.host:
        return "say which machine: its name, its address, or its alias in your ssh configuration"
    try:
        found = _probed(options)
    except (Unreachable, Refused) as error:
        return str(error)
    return _unfit(found, options)


def machines(options: Options) -> list[Machine]:
    """The one machine, with its cards."""
    found = _probed(options)
    sizes = tuple(int(vram) for _, vram in found["cards"])
    title = f"{together([str(name) for name, _ in found['cards']])} on {options.host}"
    return [Machine(options.host, title, max(sizes, default=0), int(found["ram"]), options.price_per_hour or None, options.currency, sizes)]


def leaves(options: Options) -> str:
    """What goes there."""
    host = options.host or "that machine"
    alone = f"The pictures with their captions, the settings go to {host} through ssh; a base model of the Hub is fetched there."
    with_easel = f"The pictures with their captions, the settings and Easel itself go to {host} through ssh; a base model of the Hub is fetched there."
    secrets = "No password, key or token goes along."
    return f"{alone if options.easel else with_easel} {secrets}"


def send(bundle: Bundle, options: Options, handle: dict[str, Any], say: Say) -> dict[str, Any]:
    """The bundle and what trains it are there."""
    host = _host(options)
    found = _first_look(host, handle)
    if why := _unfit(found, options):
        raise Refused(why)
    root = f"{found['home']}/{options.folder}"
    needed = 2 * bundle.total_bytes + (0 if options.easel or options.python else SET_UP_BYTES)
    if not handle.get("set_up") and found["free"] < needed:
        raise Refused(f"{options.host} has {found['free'] / 1e9:.1f} GB of disk free, but some {needed / 1e9:.1f} GB are needed there; free some")
    handle = {**handle, "root": root, "folder": f"{root}/runs/easel-{handle['id']}"}
    host.receiving("lacks", handle["folder"], given=b"{}")  # makes the folder: as long as a run lies there, another one that ends leaves alone what is set up
    handle = {"began": time.time()} | handle | _set_up(host, options, found["home"], root, say)
    files = {name: (bundle.folder / name, digest, size) for name, (digest, size) in bundle.files.items()}
    host.put(handle["folder"], files, say, f"sending to {options.host}")
    return handle | {"set_up": True}


def start(handle: dict[str, Any], options: Options, limit_s: int) -> dict[str, Any]:
    """It runs there, by itself."""
    if not handle.get("started"):
        _there(handle, options, "launch", str(limit_s if options.limit_hours else 0))
    return {**handle, "started": True}


def look(handle: dict[str, Any], options: Options, offset: int) -> Look:
    """How it is doing."""
    try:
        head, _, events = _there(handle, options, "look", str(offset)).partition(b"\n")
    except Gone as gone:
        return Look("gone", b"", offset, "", str(gone))
    try:
        told = json.loads(head)
        return Look(told["status"], events, int(told["offset"]), str(told["log"]), str(told["why"]))
    except (ValueError, KeyError, TypeError):
        raise Unreachable(f"{options.host} gave half an answer") from None


def tell(handle: dict[str, Any], options: Options, line: str) -> None:
    """One command for the run."""
    _there(handle, options, "tell", line)


def listing(handle: dict[str, Any], options: Options) -> dict[str, tuple[str, int]]:
    """What the run has made."""
    try:
        return {str(name): (str(digest), int(size)) for name, (digest, size) in json.loads(_there(handle, options, "listing", wait_s=None)).items()}
    except (ValueError, TypeError, AttributeError):
        raise Unreachable(f"{options.host} gave half an answer") from None


def fetch(handle: dict[str, Any], options: Options, name: str, target: Path) -> None:
    """One file; what came before the line broke is not fetched again."""
    part = target.with_name(f".{folder_name(target.name)[:80]}.part")
    offset = part.stat().st_size if part.is_file() else 0
    _host(options).write(_words(handle, "give", name, str(offset)), handle["code"], part)
    arrived(part, target)


def fetch_many(handle: dict[str, Any], options: Options, targets: dict[str, Path]) -> None:
    """Several files by one connection."""
    _host(options).files(_words(handle, "hand"), handle["code"], json.dumps(list(targets)).encode(), targets.get)


def end(handle: dict[str, Any], options: Options) -> str:
    """Nothing runs there any more, and nothing lies there unless it was asked for."""
    host = _host(options)
    root = handle.get("root") or f"{host.receiving('probe')['home']}/{options.folder}"  # it was given up while it was being sent
    if handle.get("set_up"):
        with suppress(Gone):  # then nothing of it runs
            _there(handle, options, "end")
    if not options.keep:
        host.receiving("remove", root, handle["id"], "no" if options.keep_setup else "yes", wait_s=None)
    spent = (time.time() - handle["began"]) / 3600 * options.price_per_hour if options.price_per_hour and "began" in handle else 0
    return f"It cost about {spent:.2f} {options.currency}, at {options.price_per_hour:g} an hour; a rented machine goes on costing until you end it." if spent else ""


def _host(options: Options) -> Host:
    if not options.host:
        raise Refused(ready(options))
    return Host(options.host, options.user, options.port, _named_python(options) or "python3")


def _named_python(options: Options) -> str:
    """The Python that is named, or that of an Easel that is there; a relative path is below the home folder there.  "" for neither."""
    return (options.python or (f"{options.easel}/.venv/bin/python" if options.easel else "")).removeprefix("~/")


_probes: dict[tuple[str, str, int, str], tuple[float, dict[str, Any]]] = {}


def _probed(options: Options) -> dict[str, Any]:
    """What the machine says of itself, asked again after a minute."""
    host = _host(options)
    key = (host.name, host.user, host.port, host.python)
    if key not in _probes or time.monotonic() - _probes[key][0] > PROBED_S:
        _probes[key] = time.monotonic(), host.receiving("probe")
    return _probes[key][1]


def _first_look(host: Host, handle: dict[str, Any]) -> dict[str, Any]:
    """The same, now.  A name that nobody knows is for good as long as it was never reached."""
    try:
        return host.receiving("probe")
    except Unreachable as error:
        if "resolve hostname" in str(error) and "root" not in handle:
            raise Refused(f"{error}; look at the host's name") from None
        raise


def _unfit(found: dict[str, Any], options: Options) -> str:
    version = tuple(int(n) for n in str(found["python"]).split(".")[:2])
    if found["system"].startswith("win"):
        return f"{options.host} runs Windows; a machine with Linux or macOS can be used"
    if version < OLDEST:
        return f"{options.host} has Python {found['python']}; 3.11 or newer is needed: install it there, and name it in the option python"
    return ""


def _set_up(host: Host, options: Options, home: str, root: str, say: Say) -> dict[str, Any]:
    """{code, python}: where Easel and its Python are there, by their full paths."""
    named = _named_python(options)
    python = named if named.startswith("/") or "/" not in named else f"{home}/{named}"
    if options.easel:
        easel = options.easel.removeprefix("~/")
        return {"code": easel if easel.startswith("/") else f"{home}/{easel}", "python": python}
    files = checkout.files()
    code = f"{root}/code-{checkout.digest(files)}"
    host.put(code, files, say, f"sending Easel to {options.host}")
    if python:
        return {"code": code, "python": python}
    venv = f"{root}/venv"

    def told(line: str) -> None:
        say(f"setting up {options.host}: {line[:80]}", 0.0)

    host.lines(["env", f"EASEL_VENV={venv}", host.python, "launchers/install.py", "ensure"], code, told)
    return {"code": code, "python": f"{venv}/bin/python"}


def _there(handle: dict[str, Any], options: Options, what: str, *words: str, wait_s: float | None = 120.0) -> bytes:
    try:
        return _host(options).run(_words(handle, what, *words), handle["code"], wait_s=wait_s)
    except Refused as error:
        raise type(error)(sentences(str(error))) from None


def _words(handle: dict[str, Any], what: str, *words: str) -> list[str]:
    return [handle["python"], "-m", "training.away.there", what, handle["folder"], *words]
