"""Where Easel can be installed: which Pythons and systems the packages are built for, told before anything is downloaded."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

OLDEST, NEWEST = (3, 11), (3, 14)  # torch 2.13, numpy and others have wheels for these
TORCH_PATH = 171  # letters of the longest path in torch's wheels, below site-packages
WINDOWS_PATH = 259  # what Windows takes unless long paths are switched on


def fits(version: str) -> bool:
    """Whether the packages are built for Python `version`, such as '3.12'."""
    return bool(version) and OLDEST <= tuple(int(n) for n in version.split(".")[:2]) <= NEWEST


def refusal(site: Path) -> str:
    """Why this Python or this system will not do, and what to do; '' where it will.  site: the environment's site-packages."""
    this = platform.python_version()
    if not fits(this):
        return f"Easel needs Python 3.11 to 3.14: PyTorch is not built for {this}. {venv_advice()}"
    machine = platform.machine().lower()
    if sys.platform == "darwin":
        return mac_refusal(machine, platform.mac_ver()[0], is_apple_silicon())
    if sys.platform == "win32":
        if machine not in ("amd64", "x86_64") or sys.maxsize < 2**32:
            return f"Easel needs the 64-bit Python for x86 processors on Windows; this one is for {machine}. {venv_advice()}"
        return "" if long_paths_on() else path_refusal(str(site))
    return ""


def mac_refusal(machine: str, system: str, apple_silicon: bool) -> str:
    """Why a Mac will not do.  machine: what Python was built for; system: the version of macOS."""
    if machine != "arm64" and apple_silicon:
        return "This Mac has an Apple chip, but this Python was built for Intel. Install the one from https://www.python.org/downloads/ and start again."
    if machine != "arm64":
        return (
            "This Mac has an Intel processor, for which PyTorch is no longer built: its last release for them is 2.2, and Easel needs 2.13. "
            "Use a Mac with an Apple chip, a Windows or Linux computer, or launchers/colab.ipynb."
        )
    if system and int(system.split(".")[0]) < 14:
        return f"PyTorch needs macOS 14 or newer; this Mac has {system}. Update it in System Settings, General, Software Update."
    return ""


def path_refusal(site: str) -> str:
    """Why Windows would stop in the middle of unpacking torch, for this site-packages folder; '' where it would not."""
    too_long = len(site) + 1 + TORCH_PATH - WINDOWS_PATH
    if too_long <= 0:
        return ""
    return (
        f"Easel's folder has a path that is {too_long} letters too long: Windows takes no files with more than {WINDOWS_PATH}, and some of torch's "
        r"would have. Move the folder to a short one such as C:\Easel, then start again."
    )


def long_paths_on() -> bool:
    """Whether this Windows takes longer paths."""
    import winreg

    try:
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, r"SYSTEM\CurrentControlSet\Control\FileSystem") as key:  # type: ignore[attr-defined]
            return bool(winreg.QueryValueEx(key, "LongPathsEnabled")[0])  # type: ignore[attr-defined]
    except OSError:
        return False


def is_apple_silicon() -> bool:
    """Whether the chip is Apple's, even where an Intel Python runs on it."""
    asked = subprocess.run(["sysctl", "-n", "hw.optional.arm64"], capture_output=True, text=True, check=False)
    return asked.stdout.strip() == "1"


def ways_to_make(venv: Path, python: Path, pip: str) -> list[list[list[str]]]:
    """Ways to make a virtual environment, the plainest first, each some commands one after the other.

    Debian's, Colab's and other Pythons come without ensurepip; where venv, virtualenv or uv are there, it works all the same.
    """
    ways = []
    here, there = sys.executable, str(venv)
    if has("venv") and has("ensurepip"):
        ways.append([[here, "-m", "venv", there]])
    if has("virtualenv"):
        ways.append([[here, "-m", "virtualenv", there]])
    if has("venv") and has("pip"):
        ways.append([[here, "-m", "venv", "--without-pip", there], [here, "-m", "pip", "--python", str(python), "install", pip]])
    uv = shutil.which("uv")
    if uv:
        ways.append([[uv, "venv", "--allow-existing", "--seed", "--python", here, there]])
    return ways


def has(module: str) -> bool:
    """Whether this Python has a module."""
    return importlib.util.find_spec(module) is not None


def venv_advice() -> str:
    """The command that gives this system a complete Python that fits."""
    minor = f"{sys.version_info[0]}.{sys.version_info[1]}" if fits(platform.python_version()) else "3.12"
    try:
        release = Path("/etc/os-release").read_text(encoding="utf-8").lower()
    except OSError:
        release = ""
    if os.name == "nt":
        return "Run: winget install --exact --id Python.Python.3.12"
    if "debian" in release or "ubuntu" in release:
        return f"Run: sudo apt install python{minor}-venv"
    if "suse" in release:
        return f"Run: sudo zypper install python{minor.replace('.', '')}"
    if "fedora" in release or "rhel" in release:
        return f"Run: sudo dnf install python{minor}"
    if "alpine" in release:
        return "Easel needs a Linux with glibc; torch has no build for Alpine."
    return "Install a complete Python 3.12 from https://www.python.org/downloads/"
