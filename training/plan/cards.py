"""The graphics cards of this computer, told without torch: NVIDIA's by nvidia-smi, AMD's and Intel's by what the kernel shows.

Only the standard library is imported: it is asked before anything is installed.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

SMI_FIELDS = ("index", "uuid", "name", "driver_version", "memory.total", "memory.free", "compute_cap")
SMI_WAIT_S = 10.0  # a sleeping laptop GPU answers after some seconds
MIB, GIB = 2**20, 2**30

# PCI device -> (name, memory in GiB) of Intel's cards with memory of their own; built-in graphics are not trained on.  The kernel
# tells no name, and the memory only with some drivers.  From the PCI ID repository and Intel's product pages.
INTEL = {
    "0x56a0": ("Intel Arc A770", 16), "0x56a1": ("Intel Arc A750", 8), "0x56a2": ("Intel Arc A580", 8), "0x56a5": ("Intel Arc A380", 6),
    "0x56a6": ("Intel Arc A310", 4), "0xe20b": ("Intel Arc B580", 12), "0xe20c": ("Intel Arc B570", 10),
}  # fmt: skip
WINDOWS_DISPLAYS = r"SYSTEM\CurrentControlSet\Control\Class\{4d36e968-e325-11ce-bfc1-08002be10318}"


@dataclass(frozen=True)
class Gpu:
    """One card.  vram 0: unified memory, shared with the CPU.  compute (0, 0): not told, or not NVIDIA's.  arch: AMD's, such as gfx1100."""

    index: int
    uuid: str  # "" where the driver gives none
    name: str
    driver: str
    vram_bytes: int
    vram_free_bytes: int
    compute: tuple[int, int] = (0, 0)
    vendor: Literal["nvidia", "amd", "intel"] = "nvidia"
    arch: str = ""
    barred: str = ""  # why this user may not use it, and what to do


@dataclass(frozen=True)
class Found:
    """The cards, and why one that is there was not found: the driver's own words and what to do; empty where all is well."""

    cards: tuple[Gpu, ...]
    trouble: str = ""


def find(system: Path = Path("/sys"), kfd: Path = Path("/dev/kfd")) -> Found:
    """Every card, the largest first.  system, kfd: where the kernel shows what it knows."""
    nvidia, trouble = nvidia_cards()
    amd, barred = amd_cards(system, kfd)
    others = [*amd, *(intel_cards(system) if sys.platform == "linux" else windows_cards())]
    return Found((*largest_first(nvidia), *largest_first(others)), trouble or barred)


def largest_first(gpus: Sequence[Gpu]) -> list[Gpu]:
    """By memory, then by how new they are.  A card without memory of its own (GB10) has all of the computer's."""
    return sorted(gpus, key=lambda g: (g.vram_bytes == 0, g.vram_bytes, g.compute, -g.index), reverse=True)


def visible(gpus: Sequence[Gpu], names: str | None) -> list[Gpu]:
    """The cards that CUDA_VISIBLE_DEVICES or EASEL_GPU leaves, in its order; without it all, the largest first.

    A number counts as nvidia-smi lists them, whatever order CUDA has: a worker gets its card by name, so nothing depends on it.
    """
    if names is None:
        return largest_first(gpus)
    chosen: list[Gpu] = []
    for name in (part.strip() for part in names.split(",")):
        card = next((g for g in gpus if name and (name == str(g.index) or g.uuid.startswith(name))), None)
        if card is None:
            break  # as CUDA does: what comes after the first unknown one is not there either
        if card not in chosen:
            chosen.append(card)
    return chosen


def labels(gpus: Sequence[Gpu]) -> dict[str, str]:
    """{uuid: what a card is called in a list}; cards that are alike get their number."""
    said = {g.uuid: f"{g.name}, {g.vram_bytes / GIB:.0f} GB" if g.vram_bytes else g.name for g in gpus}
    twice = {text for text in said.values() if list(said.values()).count(text) > 1}
    return {g.uuid: f"{said[g.uuid]} (number {g.index})" if said[g.uuid] in twice else said[g.uuid] for g in gpus}


def named(text: str, gpus: Sequence[Gpu]) -> Gpu:
    """The card that a person means by its number, the beginning of its UUID, or a part of its name.  Raises ValueError."""
    wanted = text.strip().lower()
    found = [g for g in gpus if wanted in (str(g.index), g.uuid.lower())] or [g for g in gpus if wanted and g.uuid.lower().startswith(wanted)]
    found = found or [g for g in gpus if wanted and wanted in g.name.lower()]
    if len(found) == 1:
        return found[0]
    there = "; ".join(f"{g.index}: {g.name} ({g.uuid})" for g in gpus) or "no graphics card that can be used"
    raise ValueError(f"{text!r} names {'several cards' if found else 'no card here'}; there is {there}")


# -- NVIDIA


def nvidia_cards() -> tuple[list[Gpu], str]:
    """(the cards that nvidia-smi lists, its own error and what to do).  Both are empty where there is no nvidia-smi."""
    places = [shutil.which("nvidia-smi"), "/usr/lib/wsl/lib/nvidia-smi", r"C:\Program Files\NVIDIA Corporation\NVSMI\nvidia-smi.exe"]
    program = next((p for p in places if p and Path(p).is_file()), None)
    if program is None:
        return [], ""
    code, text = _asked(program, SMI_FIELDS)
    if code and "compute_cap" in text:  # drivers before 510 do not know it
        code, text = _asked(program, SMI_FIELDS[:-1])
    return parse_smi(text), _trouble(text) if code else ""


def parse_smi(text: str) -> list[Gpu]:
    """The cards in the output of nvidia-smi --query-gpu=<SMI_FIELDS> --format=csv,noheader,nounits."""
    gpus = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) < len(SMI_FIELDS) - 1 or not cells[0].isdigit():
            continue  # "No devices were found", warnings
        index, uuid, name, driver, total, free, compute = [*cells, ""][: len(SMI_FIELDS)]
        gpus.append(Gpu(int(index), uuid, name, driver, _mib(total), _mib(free), _compute(compute)))
    return gpus


def _asked(program: str, fields: tuple[str, ...]) -> tuple[int, str]:
    """(exit code, -1 where it did not answer; what it printed)."""
    flags = {"creationflags": subprocess.CREATE_NO_WINDOW} if sys.platform == "win32" else {}  # type: ignore[attr-defined]
    command = [program, f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL, timeout=SMI_WAIT_S, **flags)
    except subprocess.TimeoutExpired:
        return -1, f"(nothing within {SMI_WAIT_S:.0f} s)"
    except OSError as error:
        return -1, error.strerror or str(error)
    return done.returncode, done.stdout + done.stderr


def _trouble(text: str) -> str:
    """nvidia-smi's error in a sentence, and what to do; "" where it only says that there is no card."""
    said = " ".join(line.strip() for line in text.splitlines() if line.strip() and not parse_smi(line))[:300].rstrip(". ")
    low = said.lower()
    if not said or "no devices were found" in low:
        return ""
    if "version mismatch" in low:
        cure = "the driver was updated while the computer ran; restart the computer"
    elif "is lost" in low or "device handle" in low or "fallen off" in low:
        cure = "a card has stopped answering; shut the computer down and start it again, and look at the card's power and seat if it comes back"
    elif "nothing within" in low:
        cure = "the driver does not answer; restart the computer"
    else:
        cure = "install the driver again from nvidia.com/drivers, then restart the computer"
    return f"nvidia-smi, the NVIDIA driver's own program, says: {said}; {cure}"


def _mib(cell: str) -> int:
    return int(float(cell) * MIB) if cell.replace(".", "", 1).isdigit() else 0


def _compute(cell: str) -> tuple[int, int]:
    major, _, minor = cell.partition(".")
    return (int(major), int(minor)) if major.isdigit() and minor.isdigit() else (0, 0)


# -- AMD


def amd_cards(system: Path, kfd: Path) -> tuple[list[Gpu], str]:
    """(the cards that the kernel's compute driver lists, why this user may not use them).

    Layout: the kernel's Documentation/gpu/amdgpu and drivers/gpu/drm/amd/amdkfd/kfd_topology.c.  A node without SIMDs is a processor.
    """
    found: list[Gpu] = []
    nodes = system / "class/kfd/kfd/topology/nodes"
    for node in sorted(nodes.iterdir(), key=lambda p: int(p.name)) if nodes.is_dir() else []:
        facts = dict(line.split(" ", 1) for line in text_of(node / "properties").splitlines() if " " in line)
        version = int(facts.get("gfx_target_version", "0"))
        if not version or facts.get("simd_count", "0") == "0":
            continue
        device = system / f"class/drm/renderD{facts.get('drm_render_minor', '')}/device"
        total, used = number_in(device / "mem_info_vram_total"), number_in(device / "mem_info_vram_used")
        arch = f"gfx{version // 10000}{version // 100 % 100:x}{version % 100:x}"
        unique = int(facts.get("unique_id", "0"))
        name = text_of(device / "product_name").strip() or "AMD Radeon"
        found.append(Gpu(len(found), f"GPU-{unique:016x}" if unique else "", f"{name} ({arch})", "amdgpu", total, max(0, total - used), vendor="amd", arch=arch))
    if not found or os.access(kfd, os.R_OK | os.W_OK):
        return found, ""
    barred = f"{found[0].name} is here, but this user may not use it; add the user to the groups render and video, then sign in again"
    return [replace(g, barred=barred) for g in found], barred


# -- Intel, and Windows


def intel_cards(system: Path) -> list[Gpu]:
    """Intel's cards with memory of their own.  What of it is free is not told without torch: all counts as free."""
    found: list[Gpu] = []
    for card in sorted((system / "class/drm").glob("card*")) if (system / "class/drm").is_dir() else []:
        device = card / "device"
        known = INTEL.get(text_of(device / "device").strip()) if re.fullmatch(r"card\d+", card.name) and text_of(device / "vendor").strip() == "0x8086" else None
        if known:
            total = number_in(device / "tile0/physical_vram_size_bytes") or number_in(card / "lmem_total_bytes") or known[1] * GIB
            found.append(Gpu(len(found), "", known[0], device.joinpath("driver").resolve().name, total, total, vendor="intel"))
    return found


def windows_cards() -> list[Gpu]:
    """Intel's and AMD's cards in the registry of Windows, which also tells their memory."""
    if sys.platform != "win32":
        return []
    import winreg

    found: list[Gpu] = []
    for number in range(16):
        try:
            with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, rf"{WINDOWS_DISPLAYS}\{number:04d}") as key:
                name, driver = str(winreg.QueryValueEx(key, "DriverDesc")[0]), str(winreg.QueryValueEx(key, "DriverVersion")[0])
                total = int(winreg.QueryValueEx(key, "HardwareInformation.qwMemorySize")[0])
        except (OSError, TypeError, ValueError):
            continue  # no such number, or an adapter without memory: a screen over the network
        vendor = "intel" if "Arc" in name else "amd" if "Radeon" in name else ""
        if vendor and total >= 4 * GIB:
            found.append(Gpu(len(found), "", name, driver, total, total, vendor=vendor))
    return found


def text_of(path: Path) -> str:
    """What one of the system's small files says; "" where there is none."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def number_in(path: Path) -> int:
    """The whole number that one of the system's small files holds; 0 where it holds none."""
    text = text_of(path).strip()
    return int(text) if text.isdigit() else 0
