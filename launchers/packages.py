"""What lies in a site-packages folder, read from its files alone: no import, no pip, so it is quick and cannot be fooled."""

from __future__ import annotations

import csv
import hashlib
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

LOCAL_VERSION = re.compile(r"^__version__\s*=\s*'[^'+]*\+(cpu|cu\d+|rocm[\d.]+|xpu)'", re.MULTILINE)
ENTRY = re.compile(r"^([A-Za-z0-9][\w.-]*)==(\S+).*(?:\n[ \t]+.*)*\n?", re.MULTILINE)  # of a lock file: name==version, marker, hashes


@dataclass(frozen=True)
class Package:
    """One installed package.  name: canonical (lower case, '-')."""

    name: str
    version: str
    info: Path  # its .dist-info folder


def canonical(name: str) -> str:
    """The name as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(requirements: Path) -> dict[str, str]:
    """{canonical name: version} of a requirements file and the files it includes with -r.  Raises ValueError for anything but ==."""
    found: dict[str, str] = {}
    for line in requirements.read_text(encoding="utf-8").splitlines():
        line = line.split("#")[0].strip()
        if not line:
            continue
        if line.startswith("-r "):
            found |= pins(requirements.parent / line[3:].strip())
            continue
        name, equals, version = line.partition("==")
        if not equals:
            raise ValueError(f"{requirements.name}: {line!r} is not pinned; write it as name==version")
        found[canonical(name.strip())] = version.strip()
    return found


def fingerprint(lock: Path) -> str:
    """A hash of what a lock file says, comments aside."""
    lines = [line for line in lock.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def locked(locks: list[Path]) -> set[str]:
    """The canonical names in these lock files, those that only another system needs included."""
    return {canonical(entry[1]) for lock in locks for entry in ENTRY.finditer(lock.read_text(encoding="utf-8"))}


def entries(lock: Path, names: set[str]) -> str:
    """The part of a lock file that is about these packages, hashes and all."""
    found = ENTRY.finditer(lock.read_text(encoding="utf-8"))
    return "".join(entry[0] for entry in found if canonical(entry[1]) in names)


def unlocked(wanted: dict[str, str], locks: list[Path]) -> list[str]:
    """The requirements, as name==version, that no lock file has."""
    there = {(canonical(entry[1]), entry[2]) for lock in locks for entry in ENTRY.finditer(lock.read_text(encoding="utf-8"))}
    return [f"{name}=={version}" for name, version in wanted.items() if (name, version) not in there]


def installed(site: Path) -> dict[str, Package]:
    """{canonical name: Package} of everything that pip finished installing: RECORD is the last file it writes."""
    found = {}
    for info in site.glob("*.dist-info"):
        name, _, version = info.name.removesuffix(".dist-info").partition("-")
        if (info / "RECORD").is_file() and (info / "METADATA").is_file():
            found[canonical(name)] = Package(canonical(name), version, info)
    return found


def missing(site: Path, wanted: dict[str, str]) -> list[str]:
    """The names in `wanted` that are absent or have another version; a local part such as +cpu does not count."""
    here = installed(site)
    return [name for name, version in wanted.items() if name not in here or version not in (here[name].version, here[name].version.split("+")[0])]


def leftovers(site: Path) -> list[Path]:
    """What an interrupted pip leaves behind and a later pip stumbles over: ~folders, unfinished and doubled .dist-info."""
    infos = list(site.glob("*.dist-info"))
    owners = Counter(canonical(info.name.partition("-")[0]) for info in infos)
    unfinished = [
        info
        for info in infos
        if owners[canonical(info.name.partition("-")[0])] > 1 or not ((info / "RECORD").is_file() and (info / "METADATA").is_file())
    ]
    return [*site.glob("~*"), *unfinished]


def damaged(site: Path) -> list[Package]:
    """The packages of which a file is gone or has another size than pip wrote."""
    rows = {package: _files(package) for package in installed(site).values()}
    owners = Counter(path for files in rows.values() for path, _ in files)
    return [package for package, files in rows.items() if any(_is_wrong(site / path, size, owners[path] > 1) for path, size in files)]


def _files(package: Package) -> list[tuple[str, int | None]]:
    with (package.info / "RECORD").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.reader(file) if len(row) == 3]
    return [(path, int(size) if size else None) for path, _, size in rows if not path.endswith(".pyc")]


def _is_wrong(path: Path, size: int | None, shared: bool) -> bool:
    try:
        found = path.stat().st_size
    except OSError:
        return True
    # two packages may own one path (namespace __init__ files); then only one of the two sizes can be true
    return size is not None and not shared and found != size


def torch_build(site: Path) -> str:
    """'cpu', 'cu126', 'rocm7.2', 'xpu' … of the torch that is installed, '' without one.

    Read from its version.py: importing it takes seconds.  The plain package index's wheels have no local version; there, the lines that
    name the versions of CUDA, HIP and XPU tell.
    """
    try:
        text = (site / "torch" / "version.py").read_text(encoding="utf-8")
    except OSError:
        return ""
    local = LOCAL_VERSION.search(text)
    if local:
        return local[1]
    if cuda := _version_line(text, "cuda"):
        return "cu" + "".join(cuda.split(".")[:2])
    if hip := _version_line(text, "hip"):
        return "rocm" + ".".join(hip.split(".")[:2])
    return "xpu" if _version_line(text, "xpu") else "cpu"


def _version_line(text: str, name: str) -> str:
    found = re.search(rf"^{name}\b[^=]*=\s*'([\d.]+)", text, re.MULTILINE)
    return found[1] if found else ""
