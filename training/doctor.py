"""What is wrong with this installation, if anything: a list of checks, each with one sentence.  Never imports torch itself.

Here is what Easel itself is; what lies around it, on its disk and in its folders is looked at in training/checkup.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from . import registry
from .checkup import around, disk, kept, leftovers
from .checkup.check import Check
from .home import BUILTIN, REPAIR, REPO, Home

PYTHON = (3, 11)
TORCH_WAIT_S = 180  # the first import on a cold disk
TIGHT_DISK_BYTES, FULL_DISK_BYTES = 5_000_000_000, 300_000_000
TIGHT_RAM_BYTES = 2_000_000_000

_ASK_TORCH = """
import json, torch
card = next((kind for kind in (torch.cuda, torch.xpu) if kind.is_available()), None)
print(json.dumps({"version": torch.__version__, "device": card.get_device_name(0) if card else "",
    "mps": torch.backends.mps.is_available(), "sum": float(torch.ones(3).sum())}))
"""


def examine(home: Home) -> Iterator[Check]:
    """The checks one after the other, as they are made.  One that breaks off says so, and the others are made."""
    yield _python()
    yield from _pins(REPO / "requirements.txt")
    yield from _each("lock", around.lock)
    torch = _torch()
    yield torch
    yield from _each("torch", lambda: around.torch_for_card("" if "the processor" in torch.text else torch.text))
    yield from _machine(home)
    for name, look in (("folders", disk.look), ("leftovers", leftovers.look), ("datasets", kept.look), ("page", around.page)):
        yield from _each(name, partial(look, home))
    yield from _plugins(home)
    yield from _each("presets", lambda: around.presets(home))
    yield from _each("token", around.token)
    yield _builtin(BUILTIN / "base")


def _each(name: str, look: Callable[[], Iterator[Check]]) -> Iterator[Check]:
    try:
        yield from look()
    except (OSError, ValueError) as error:
        yield Check(name, "broken", f"could not be looked at: {error}")


def pins(requirements: Path) -> dict[str, str]:
    """{package: version} of the exact pins in a requirements file."""
    found = (re.match(r"\s*([A-Za-z0-9._-]+)==([^\s;#]+)", line) for line in requirements.read_text(encoding="utf-8").splitlines())
    return {match[1]: match[2] for match in found if match}


def _python() -> Check:
    have = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] < PYTHON:
        return Check("Python", "broken", f"{have}; Easel needs {PYTHON[0]}.{PYTHON[1]} or newer")
    if sys.version_info[:2] > around.NEWEST_PYTHON:
        return Check("Python", "note", f"{have}; the packages are built up to {'.'.join(map(str, around.NEWEST_PYTHON))}. Remove .venv and start Easel with its launcher, which finds one that fits")
    return Check("Python", "ok", f"{have} at {sys.executable}")


def _pins(requirements: Path) -> Iterator[Check]:
    wanted = pins(requirements)
    fine = 0
    for name, version in wanted.items():
        try:
            have = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            yield Check(name, "broken", f"is missing; {version} is wanted. {REPAIR}, which installs it")
            continue
        if have.partition("+")[0] == version:
            fine += 1
        else:
            yield Check(name, "note", f"{have} is installed, but {version} was tested. {REPAIR} to get it")
    yield Check("packages", "ok" if fine == len(wanted) else "note", f"{fine} of {len(wanted)} are the tested versions")


def _torch() -> Check:
    """torch is asked in a process of its own: a broken one can crash, and a good one takes seconds and memory."""
    try:
        asked = subprocess.run(
            [sys.executable, "-c", _ASK_TORCH], check=False, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL, timeout=TORCH_WAIT_S
        )  # fmt: skip
        told = json.loads(asked.stdout.strip().splitlines()[-1])
    except subprocess.TimeoutExpired:
        return Check("torch", "broken", f"did not answer within {TORCH_WAIT_S} s")
    except (ValueError, IndexError):
        words = asked.stderr.strip().splitlines()
        return Check("torch", "broken", f"does not work: {words[-1] if words else f'it ended with code {asked.returncode}'}")
    device = told["device"] or ("Apple GPU" if told["mps"] else "the processor")
    return Check("torch", "ok", f"{told['version']}, computes on {device}")


def _machine(home: Home) -> Iterator[Check]:
    from .plan.hardware import machine

    seen = machine(home.root)
    if seen.note:
        yield Check("GPU", "note", seen.note)
    for card in (seen.on(c.uuid) for c in seen.cards):
        yield Check("GPU", "ok", f"{card.gpu_name}, {card.vram_bytes / 1e9:.1f} GB, {card.vram_free_bytes / 1e9:.1f} GB free, driver {card.driver}")
    if not seen.note and not seen.cards:
        yield Check("GPU", "ok", "no graphics card; training runs on " + ("the Apple GPU" if seen.mps_ok else f"the processor ({seen.cores} cores)"))
    tight = seen.ram_free_bytes < TIGHT_RAM_BYTES
    yield Check("memory", "note" if tight else "ok", f"{seen.ram_free_bytes / 1e9:.1f} of {seen.ram_bytes / 1e9:.1f} GB free{'; close other programs' * tight}")
    free = seen.disk_free_bytes
    state = "broken" if free < FULL_DISK_BYTES else "note" if free < TIGHT_DISK_BYTES else "ok"
    yield Check("disk", state, f"{free / 1e9:.1f} GB free{'' if state == 'ok' else '; free some space'}")  # type: ignore[arg-type]


def _plugins(home: Home) -> Iterator[Check]:
    working = 0
    for kind in registry.PACKAGES:
        for id, plugin in registry.find(kind, home.plugins).items():
            working += plugin.ok
            if not plugin.ok:
                yield Check(f"{kind}/{id}", "broken", f"does not load: {plugin.error} ({plugin.source}); mend that file, or take it away")
    yield Check("plugins", "ok" if working else "broken", f"{working} load")


def _builtin(folder: Path) -> Check:
    from .formats import basemodel

    try:
        made_for = json.loads((folder / "model_index.json").read_text(encoding="utf-8")).get("_class_name")
        specs = [p.module.SPEC for p in registry.find("families").values() if p.ok]
        spec = next((s for s in specs if s.pipeline == made_for), None)
        if spec is None:
            return Check("built-in base", "broken", f"no family draws with {made_for}")
        basemodel.check_folder(folder, spec)
    except FileNotFoundError as error:
        return Check("built-in base", "broken", f"{error.filename} is missing; get Easel again, whole")
    except ValueError as error:
        return Check("built-in base", "broken", str(error))
    size_bytes = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
    return Check("built-in base", "ok", f"{spec.title}, {size_bytes / 1e6:.0f} MB")


def main_table(home: Home, width: int | None = None, fix: bool = False) -> int:
    """Prints the checks as a table; 1 when something is broken, else 0.  fix: what can be mended without losing anything is, and told."""
    width = width or shutil.get_terminal_size((140, 24)).columns
    broken, mendable = 0, 0
    for check in examine(home):
        mark = {"ok": "ok    ", "note": "note  ", "broken": "BROKEN"}[check.state]
        print(f"{mark}  {check.name:<22}  {check.text}", flush=True)
        if check.mend and fix:
            try:
                print(f"mended  {check.name:<22}  {check.mend()}", flush=True)
                continue
            except (OSError, ValueError) as error:
                print(f"BROKEN  {check.name:<22}  could not be mended: {error}", flush=True)
                broken += check.state != "broken"
        mendable += bool(check.mend) and not fix
        broken += check.state == "broken"
    print("Something is broken; see above." if broken else "All is well.")
    if mendable:
        print(f"python -m training doctor --fix mends {mendable} of it, and loses nothing.")
    return 1 if broken else 0
