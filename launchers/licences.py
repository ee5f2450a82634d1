"""Writes what Easel installs beside itself, and under which licences: the list in NOTICE, and launchers/locks/sbom.json.

    pip install cyclonedx-bom==7.5.0
    python launchers/licences.py           after launchers/lock.py, in an environment with the locked packages

The bill of materials is CycloneDX's own, made by its tool from the locks; put to it are the licences, by what each package says of itself.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

REPO = Path(__file__).resolve().parent.parent
if __package__ in (None, ""):
    sys.path.insert(0, str(REPO))

from launchers import packages

LOCKS = [REPO / "launchers" / "locks" / f"{name}.txt" for name in ("app", "cu130")]  # what a person gets; the tests' packages go nowhere
SBOM = REPO / "launchers" / "locks" / "sbom.json"
NOTICE = REPO / "NOTICE"
HEADING = "Packages that are installed beside Easel, as launchers/locks has them (written by launchers/licences.py):"
NVIDIA = "NVIDIA's own terms"

# of those that are not installed on every system, and of those that do not say: read in their files
READ = {
    "audioop-lts": "PSF-2.0",
    "colorama": "BSD-3-Clause",
    "cuda-bindings": "Apache-2.0",
    "cuda-pathfinder": "Apache-2.0",
    "cuda-toolkit": NVIDIA,
    "httpx2-jsfetch": "BSD-3-Clause",
    "nvidia-nccl-cu13": "BSD-3-Clause",
    "nvidia-nvtx": "Apache-2.0",
    "torchao": "BSD-3-Clause",
    "triton": "MIT",
}
# what packages call a licence -> its SPDX name
SPDX = {
    "Apache": "Apache-2.0", "Apache 2.0": "Apache-2.0", "Apache 2.0 License": "Apache-2.0", "Apache Software License": "Apache-2.0",
    "BSD": "BSD-3-Clause", "BSD License": "BSD-3-Clause", "3-Clause BSD License": "BSD-3-Clause",
    "ISC License": "ISC", "MIT License": "MIT",
}  # fmt: skip


def main() -> int:
    """0, with both files written anew.  A package of which no licence is known ends it with its name."""
    versions = sorted({(packages.canonical(name), version) for lock in LOCKS for name, version in locked(lock)})
    licences = {name: licence(name) for name, _ in versions}
    if unknown := [name for name, said in licences.items() if not said]:
        print(f"no licence is known of {', '.join(unknown)}; read it in their files and put it into READ", file=sys.stderr)
        return 1
    head = NOTICE.read_text(encoding="utf-8").partition(HEADING)[0].rstrip()
    rows = "".join(f"- {name} {version}: {licences[name]}\n" for name, version in versions)
    NOTICE.write_text(f"{head}\n\n{HEADING}\n\n{rows}", encoding="utf-8", newline="\n")
    SBOM.write_text(json.dumps(bill(licences), indent=1, sort_keys=True) + "\n", encoding="utf-8", newline="\n")
    print(f"{NOTICE.name} and {SBOM.name}: {len(versions)} packages")
    return 0


def locked(lock: Path) -> list[tuple[str, str]]:
    """(name, version) of each package of a lock file; one may stand there twice, for older and newer Pythons."""
    return re.findall(r"^([\w.-]+)==([^\s;\\]+)", lock.read_text(encoding="utf-8"), re.MULTILINE)


def licence(name: str) -> str:
    """Its SPDX name where there is one; '' where nothing is known."""
    if name in READ:
        return READ[name]
    try:
        told: Any = importlib.metadata.metadata(name)  # an email.message.Message
    except importlib.metadata.PackageNotFoundError:
        return NVIDIA if name.startswith("nvidia-") else ""
    if told.get("License-Expression"):
        return told["License-Expression"]
    by_class = [c.rpartition(" :: ")[2] for c in told.get_all("Classifier") or [] if c.startswith("License :: OSI Approved :: ")]
    said = (told.get("License") or "").strip()
    short = said if said and said != "UNKNOWN" and len(said) < 40 and "\n" not in said else " AND ".join(by_class)
    return SPDX.get(short, short)


def bill(licences: dict[str, str]) -> dict:
    """CycloneDX's bill of the locks, with licences, without the addresses of any package index.  Raises CalledProcessError, ValueError."""
    with tempfile.TemporaryDirectory() as folder:
        together = Path(folder) / "locks.txt"
        together.write_text("".join(lock.read_text(encoding="utf-8") for lock in LOCKS), encoding="utf-8")
        command = [sys.executable, "-m", "cyclonedx_py", "requirements", "--output-reproducible", "--spec-version", "1.6", str(together)]
        made = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    renamed = {}
    for part in made["components"]:
        renamed[part["bom-ref"]] = part["bom-ref"] = part["purl"]
        del part["description"]
        part["hashes"] = [entry for reference in part.pop("externalReferences") for entry in reference["hashes"]]
        said = licences[packages.canonical(part["name"])]
        part["licenses"] = [{"license": {"name": said}} if said == NVIDIA else {"expression": said}]
    for dependency in made["dependencies"]:
        dependency["ref"] = renamed.get(dependency["ref"], dependency["ref"])
    check(json.dumps(made))
    return made


def check(text: str) -> None:
    """Nothing, or ValueError where it is no bill of materials by CycloneDX's own schema."""
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    if wrong := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text):
        raise ValueError(f"this is no CycloneDX: {wrong}")


if __name__ == "__main__":
    sys.exit(main())
