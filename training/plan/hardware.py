"""What this machine has, told without torch: GPU, VRAM, RAM, disk, cores; and which torch build is right for it.

`python -m training.plan.hardware torch-build` runs on a bare Python >= 3.11, before anything is installed: only the standard
library is imported at module top.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..home import TO_REPAIR
from . import cards
from .cards import Gpu, number_in, parse_smi, text_of

__all__ = ["Gpu", "Machine", "choose_gpu", "installed_torch", "machine", "nvidia_gpus", "parse_smi", "torch_build", "usable_cards"]

CACHED_S = 5.0
CACHED_SLOW_S = 60.0  # where a driver makes us wait, such as one that does not answer, it is asked less often
RUN_WAIT_S = 10.0
UNLIMITED = 2**60  # cgroup v1 writes a number near 2**63 for "no limit"


@dataclass(frozen=True)
class Machine:
    """What there is to train on.  gpu_name is empty and the VRAM 0 where there is no graphics card.

    The card is the one that a run gets when nobody chooses; on() gives the same machine with another of its cards.
    """

    gpu_name: str
    vram_bytes: int
    vram_free_bytes: int
    ram_bytes: int
    ram_free_bytes: int
    disk_free_bytes: int
    cpu_name: str
    cores: int
    cuda_ok: bool  # the card, its driver and the installed torch fit together
    driver: str
    compute: tuple[int, int]
    mps_ok: bool  # an Apple chip's GPU
    note: str  # why a card that is there cannot be used, and what to do; empty where all is well
    vendor: str = ""  # "nvidia", "amd", "intel"
    arch: str = ""  # of an AMD card, such as gfx1100
    gpu: str = ""  # the card's UUID; "" where the driver gives none
    cards: tuple[Gpu, ...] = ()  # all that can be trained on, the one of this machine first unless on() was asked
    hides_cards: bool = False  # the computer has more cards, which the environment keeps from us

    @property
    def device(self) -> str:
        """Where a training runs, as torch calls it: "cuda" (AMD's cards too), "xpu", "mps" or "cpu"."""
        if self.cuda_ok:
            return "xpu" if self.vendor == "intel" else "cuda"
        return "mps" if self.mps_ok else "cpu"

    def on(self, uuid: str) -> Machine:
        """The machine with the card of that UUID; as it is where there is none such, as for a run that comes from another computer."""
        card = next((g for g in self.cards if uuid and g.uuid == uuid), None)
        return replace(self, **_of_card(card, self.ram_bytes, self.ram_free_bytes)) if card else self


@dataclass(frozen=True)
class TorchBuild:
    """One wheel index of torch: https://download.pytorch.org/whl/<id>."""

    id: str
    driver: int  # lowest major version of the NVIDIA driver
    compute: tuple[tuple[int, int], tuple[int, int]]  # lowest and highest compute capability it has kernels for
    systems: tuple[str, ...] = ("linux", "win32")


# torch 2.13.0 is built for CUDA 12.6, 13.0 and (as an experiment) 13.2, for Linux also 12.9, which an RTX 50 with a driver before 580 needs;
# there is no cu128 any more.
# Architectures: pytorch RELEASE.md, "PyTorch CUDA Support Matrix" for 2.12-2.14: 12.6 Maxwell 5.0 to Hopper 9.0, 13.0 Turing 7.5 to Blackwell 12.0.
# A build for x.y runs on every x.z with z >= y, and 13.0 carries PTX for what comes later.
# Drivers: NVIDIA, "CUDA Compatibility", minor version compatibility: CUDA 12.x needs >= 525, CUDA 13.x >= 580; Linux and Windows.
TORCH_BUILDS = (
    TorchBuild("cu130", driver=580, compute=((7, 5), (99, 9))),
    TorchBuild("cu126", driver=525, compute=((5, 0), (9, 9))),
    TorchBuild("cu129", driver=570, compute=((7, 5), (12, 9)), systems=("linux",)),  # Blackwell's first drivers are 570
)

# What PyTorch's own wheels for AMD (Linux only) have kernels for: its .ci/docker/manywheel/build.sh, for ROCm 7.2
ROCM_BUILD = "rocm7.2"
ROCM_ARCHS = (
    "gfx900", "gfx906", "gfx908", "gfx90a", "gfx942", "gfx950", "gfx1030", "gfx1100", "gfx1101", "gfx1102", "gfx1150", "gfx1151", "gfx1200", "gfx1201",
)  # fmt: skip


def torch_build(gpu: Gpu | None) -> tuple[str, str]:
    """(wheel index id, the reason in a sentence) for a card, or for none."""
    if gpu is None:
        return "cpu", "no graphics card that torch computes on was found, so torch is installed for the processor"
    if gpu.vendor != "nvidia":
        return _other_build(gpu)
    major = _driver_major(gpu.driver)
    named = f"{gpu.name} (driver {gpu.driver}, compute capability {gpu.compute[0]}.{gpu.compute[1]})"
    fitting = [b for b in TORCH_BUILDS if b.compute[0] <= gpu.compute <= b.compute[1] and sys.platform in b.systems]
    for build in fitting:
        if major >= build.driver:
            return build.id, f"{named}: torch for CUDA {build.id[2:4]}.{build.id[4:]}"
    update = "update it from nvidia.com/drivers and start again; until then the processor is used"
    if fitting:
        return "cpu", f"{named} needs driver {min(b.driver for b in fitting)} or newer; {update}"
    if gpu.compute == (0, 0):
        return "cpu", f"the driver of {gpu.name} ({gpu.driver}) is too old; {update}"
    return "cpu", f"{named} is too old for today's torch (5.0 is the lowest), so the processor is used"


def wanted_build(found: cards.Found) -> tuple[str, str]:
    """torch_build() for the first of the visible cards that torch can be had for: NVIDIA's come first.  With the driver's own trouble, if any."""
    left = _visible(found.cards)
    builds = [torch_build(gpu) for gpu in left] or [torch_build(None)]
    build, why = next((b for b in builds if b[0] != "cpu"), builds[0])
    return build, f"{why}. {found.trouble}" if found.trouble else why


def _other_build(gpu: Gpu) -> tuple[str, str]:
    """torch_build() for AMD's and Intel's cards."""
    if gpu.vendor == "intel":
        return "xpu", f"{gpu.name}: torch for Intel cards"
    if sys.platform != "linux":
        return "cpu", f"{gpu.name}: torch computes on AMD cards only on Linux, so it is installed for the processor"
    if gpu.arch in ROCM_ARCHS:
        return ROCM_BUILD, f"{gpu.name}: torch for ROCm {ROCM_BUILD.removeprefix('rocm')}, a download of several GB"
    hint = " (its sister gfx1030 is: EASEL_TORCH=rocm7.2 with HSA_OVERRIDE_GFX_VERSION=10.3.0 may work)" if gpu.arch.startswith("gfx103") else ""
    return "cpu", f"{gpu.name} is none of the AMD cards that torch is built for{hint}, so it is installed for the processor"


_cached: dict[str, tuple[float, Machine]] = {}  # folder -> (until when it holds, what was seen)


def machine(folder: Path | None = None) -> Machine:
    """This machine as it is now, at most 5 s old.  folder: whose disk is measured; the current one where none is given."""
    key = str(folder or Path.cwd())
    seen = _cached.get(key)
    if seen is None or time.monotonic() > seen[0]:
        begun_t = time.monotonic()
        looked, now_t = _look(Path(key)), time.monotonic()
        seen = (now_t + (CACHED_SLOW_S if now_t - begun_t > cards.SMI_WAIT_S / 2 else CACHED_S), looked)
        _cached[key] = seen
    return seen[1]


def _look(folder: Path) -> Machine:
    found, installed = cards.find(), installed_torch()
    usable = usable_cards(found, installed)
    seen = _visible(found.cards)
    gpu = usable[0] if usable else seen[0] if seen else None
    ram, ram_free = ram_bytes()
    return Machine(
        **_of_card(gpu, ram, ram_free),
        ram_bytes=ram,
        ram_free_bytes=ram_free,
        disk_free_bytes=shutil.disk_usage(_existing(folder)).free,
        cpu_name=cpu_name(),
        cores=cores(),
        cuda_ok=bool(usable),
        mps_ok=sys.platform == "darwin" and platform.machine() == "arm64",
        note=(_unusable(gpu, installed) if gpu and not usable else "") or found.trouble,
        cards=tuple(usable),
        hides_cards=len(seen) < len(found.cards),
    )


def _of_card(gpu: Gpu | None, ram: int, ram_free: int) -> dict:
    """The fields of a Machine that speak of its card.  A card without memory of its own (GB10) computes in the computer's."""
    if gpu is None:
        return {"gpu_name": "", "vram_bytes": 0, "vram_free_bytes": 0, "driver": "", "compute": (0, 0)}
    total, free = (gpu.vram_bytes, gpu.vram_free_bytes) if gpu.vram_bytes else (ram, ram_free)
    return {
        "gpu_name": gpu.name, "vram_bytes": total, "vram_free_bytes": free, "driver": gpu.driver, "compute": gpu.compute,
        "vendor": gpu.vendor, "arch": gpu.arch, "gpu": gpu.uuid,
    }  # fmt: skip


def usable_cards(found: cards.Found, installed: str) -> list[Gpu]:
    """The cards that the installed torch computes on and the environment leaves, in the order in which runs take them."""
    return [gpu for gpu in _visible(found.cards) if not _unusable(gpu, installed)]


def _visible(gpus: Sequence[Gpu]) -> list[Gpu]:
    """What EASEL_GPU, and for each maker's cards its own variable, leave of the cards."""
    limits = {"nvidia": ("CUDA_VISIBLE_DEVICES",), "amd": ("ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES"), "intel": ()}
    left: list[Gpu] = []
    for vendor, names in limits.items():
        limit = next((os.environ[name] for name in names if name in os.environ), None)
        left += cards.visible([g for g in gpus if g.vendor == vendor], limit)
    return cards.visible(left, os.environ["EASEL_GPU"]) if os.environ.get("EASEL_GPU") else left


def _unusable(gpu: Gpu, installed: str) -> str:
    """Why a card cannot be trained on here, and what to do; empty where it can.  installed: the build of torch."""
    if gpu.vendor == "nvidia":
        build, why = torch_build(gpu)
        return why if build == "cpu" else _misfit(gpu, installed)
    if gpu.vendor == "amd" and sys.platform != "linux":
        return f"{gpu.name} is here, but torch computes on AMD cards only on Linux; an NVIDIA or Intel card, or the processor, is used"
    wanted = {"amd": "rocm", "intel": "xpu"}[gpu.vendor]
    if gpu.barred or installed.startswith(wanted):
        return gpu.barred
    build, why = torch_build(gpu)
    if build == "cpu":
        return why
    return f"{gpu.name} is here, but the installed torch ({installed or 'none'}) is not the one for it ({wanted}); {TO_REPAIR} to get the right one"


def _misfit(gpu: Gpu, installed: str) -> str:
    """Why the installed torch cannot use a card that another build could; empty where it can."""
    cure = f"{TO_REPAIR} to get the right one"
    if installed == "cpu":
        return f"{gpu.name} is here, but the installed torch is the one for processors; {cure}"
    for build in TORCH_BUILDS:
        if build.id == installed and not (build.compute[0] <= gpu.compute <= build.compute[1] and _driver_major(gpu.driver) >= build.driver):
            return f"{gpu.name} with driver {gpu.driver} cannot run the installed torch ({installed}); {cure}"
    return ""


def nvidia_gpus() -> list[Gpu]:
    """Every card that nvidia-smi lists; empty where there is no nvidia-smi or it does not answer."""
    return cards.nvidia_cards()[0]


def choose_gpu(gpus: Sequence[Gpu], visible: str | None) -> Gpu | None:
    """The card to install for and to train on: one that today's torch can use before one that it cannot, then the largest.

    visible: the value of CUDA_VISIBLE_DEVICES, None where it is not set; its order counts.
    """
    left = cards.visible(gpus, visible)
    return next((g for g in left if torch_build(g)[0] != "cpu"), left[0] if left else None)


def installed_torch() -> str:
    """The build of the installed torch: "cpu", "cu130", …; "" where torch is not installed."""
    try:
        version = importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        return ""
    _, _, local = version.partition("+")
    if local:
        return local
    return "cu130" if sys.platform == "linux" else "cpu"  # the plain wheel of PyPI: CUDA on Linux only


def cores() -> int:
    """Processor cores that this process may use: its affinity and its container's limit."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for folder in _cgroups("cpu"):
        quota = text_of(folder / "cpu.max").split() or [text_of(folder / "cpu.cfs_quota_us").strip(), text_of(folder / "cpu.cfs_period_us").strip()]
        if len(quota) == 2 and quota[0].isdigit() and quota[1].isdigit() and int(quota[1]):
            allowed = min(allowed, max(1, round(int(quota[0]) / int(quota[1]))))
    return allowed


def ram_bytes() -> tuple[int, int]:
    """(all, free) memory in bytes that this process may use: the computer's, or its container's where that is less."""
    total, free = _computer_ram()
    for folder in _cgroups("memory"):
        limit = number_in(folder / "memory.max") or number_in(folder / "memory.limit_in_bytes")
        used = number_in(folder / "memory.current") or number_in(folder / "memory.usage_in_bytes")
        if 0 < limit < UNLIMITED:
            total = min(total, limit)
            free = min(free, max(0, limit - used + _reclaimable(folder / "memory.stat")))
    return total, free


def cpu_name() -> str:
    """The processor's own name, e.g. "AMD Ryzen 7 5800X"."""
    for line in text_of(Path("/proc/cpuinfo")).splitlines():
        if line.startswith(("model name", "Model")):
            return line.split(":", 1)[1].strip()
    if sys.platform == "win32":
        import winreg

        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, r"HARDWARE\DESCRIPTION\System\CentralProcessor\0") as key:
            return str(winreg.QueryValueEx(key, "ProcessorNameString")[0]).strip()
    if sys.platform == "darwin":
        return _run(["sysctl", "-n", "machdep.cpu.brand_string"]).strip() or platform.processor()
    return platform.processor() or platform.machine()


def _computer_ram() -> tuple[int, int]:
    found = {}
    for line in text_of(Path("/proc/meminfo")).splitlines():
        name, _, rest = line.partition(":")
        found[name] = int(rest.split()[0]) * 1024
    if "MemTotal" in found:
        return found["MemTotal"], found.get("MemAvailable", found.get("MemFree", 0))
    import psutil  # not on Linux, and not on the way to torch-build

    memory = psutil.virtual_memory()
    return memory.total, memory.available


def _cgroups(controller: str) -> list[Path]:
    """The folders of this process's control groups, innermost first: each of them may set a limit."""
    folders: list[Path] = []
    for line in text_of(Path("/proc/self/cgroup")).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        root = Path("/sys/fs/cgroup") / (controllers and controller)
        inner = root / path.lstrip("/")
        folders += [p for p in (inner, *inner.parents) if p == root or root in p.parents]
    return folders


def _reclaimable(stat: Path) -> int:
    """Bytes of file cache that the kernel gives back when a program asks for memory."""
    for line in text_of(stat).splitlines():
        name, _, value = line.partition(" ")
        if name in ("inactive_file", "total_inactive_file") and value.isdigit():
            return int(value)
    return 0


def _run(command: list[str]) -> str:
    """What a program prints; "" where it fails, is missing or does not answer."""
    flags = {"creationflags": subprocess.CREATE_NO_WINDOW} if sys.platform == "win32" else {}  # type: ignore[attr-defined]
    try:
        done = subprocess.run(command, check=False, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL, timeout=RUN_WAIT_S, **flags)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _driver_major(driver: str) -> int:
    head = driver.split(".")[0]
    return int(head) if head.isdigit() else 0


def _existing(folder: Path) -> Path:
    return next(p for p in (folder, *folder.parents) if p.exists())


def main(words: list[str]) -> int:
    """The command line: `torch-build` prints the wheel index id, and the reason on stderr; `show` prints the machine."""
    if words == ["torch-build"]:
        build, why = wanted_build(cards.find())
        print(why, file=sys.stderr)
        print(build)
        return 0
    if words == ["show"]:
        for name, value in vars(machine()).items():
            print(f"{name}: {value}")
        return 0
    print("usage: python -m training.plan.hardware torch-build | show", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
