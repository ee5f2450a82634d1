"""Writes launchers/locks/: every package that is installed, with its version and hashes, for every system.  Needs uv (`pip install uv`).

    python launchers/lock.py               after a change of requirements.txt or requirements-dev.txt; keeps all other versions
    python launchers/lock.py --upgrade     takes the newest of everything that is not pinned there

app.txt is what Easel runs with, dev.txt what its tests need on top (without what dev-overrides.in leaves out), tools.txt what installs them, cu130.txt torch itself as the plain package index has it and the
CUDA libraries it brings on Linux.  torch is in none of the others: install.py chooses it by the hardware.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
LOCKS = REPO / "launchers" / "locks"
OLDEST_PYTHON = "3.11"
CUDA = re.compile(r"^(torch|triton|nvidia-[\w-]+|cuda-[\w-]+)==")
HEAD = "# Written by launchers/lock.py from {source}; change that, then run it again.\n"


def main(flags: list[str]) -> int:
    """0, with the four files written anew.  What does not resolve ends with uv's own words."""
    LOCKS.mkdir(exist_ok=True)
    old = "".join(path.read_text(encoding="utf-8") for path in sorted(LOCKS.glob("*.txt")))
    app = resolve(REPO / "requirements.txt", old, flags)
    cuda = [entry for entry in app if CUDA.match(entry)]
    app = [entry for entry in app if entry not in cuda]
    everything = resolve(REPO / "requirements-dev.txt", "".join([*app, *cuda]), ["--override", str(LOCKS / "dev-overrides.in")])  # the tests' packages move none of the app's
    changed = [entry.split()[0] for entry in [*app, *cuda] if entry not in everything]
    if changed:
        print(f"requirements-dev.txt wants other versions of {', '.join(changed)}; pin them in requirements.txt", file=sys.stderr)
        return 1
    write("app.txt", "requirements.txt", app)
    write("dev.txt", "requirements-dev.txt", [entry for entry in everything if entry not in app and entry not in cuda])
    write("cu130.txt", "requirements.txt", cuda)
    write("tools.txt", "launchers/locks/tools.in", resolve(LOCKS / "tools.in", old, flags))
    return 0


def resolve(requirements: Path, known: str, flags: list[str]) -> list[str]:
    """The lock's entries, each a whole requirement with its hashes and line ends.  known: an earlier lock, whose versions are kept."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "lock.txt"
        output.write_text(known, encoding="utf-8")
        command = ["uv", "pip", "compile", "--universal", "--generate-hashes", "--python-version", OLDEST_PYTHON]
        quiet = ["--no-header", "--no-annotate", "--quiet", "--output-file", str(output)]
        subprocess.run([*command, *quiet, *flags, str(requirements)], check=True)
        return re.findall(r"^\S.*(?:\n[ \t]+.*)*\n", output.read_text(encoding="utf-8"), re.MULTILINE)


def write(name: str, source: str, entries: list[str]) -> None:
    """Replaces one lock file."""
    (LOCKS / name).write_text(HEAD.format(source=source) + "".join(entries), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
