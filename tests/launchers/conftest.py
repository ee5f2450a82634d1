"""A copy of Easel's launchers in a folder with a nasty name, with packages small enough to install in a second."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parent.parent.parent
APP = """
import os, sys
import tiny
print("app", tiny.WORD, sys.argv[1:], os.getcwd(), flush=True)
"""


def wheel(folder: Path, name: str, version: str, files: dict[str, str]) -> Path:
    """A wheel as pip takes it."""
    info = f"{name}-{version}.dist-info"
    files = files | {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: easel-tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    rows = []
    for path, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        rows.append(f"{path},sha256={digest},{len(text.encode())}")
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as file:
        for name_in, text in files.items():
            file.writestr(name_in, text)
        file.writestr(f"{info}/RECORD", "\n".join([*rows, f"{info}/RECORD,,", ""]))
    return path


@dataclass
class Copy:
    """One installation of the launchers."""

    root: Path
    wheels: Path

    @property
    def venv(self) -> Path:
        return self.root / ".venv"

    @property
    def site(self) -> Path:
        return next((self.venv / "lib").glob("python3*/site-packages"))

    def environment(self, **more: str) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("PIP_", "EASEL_"))}
        pip = {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": self.wheels.as_uri()}
        return kept | pip | {"EASEL_TORCH": "cpu", "EASEL_PYTHON": sys.executable} | more

    def start(self, *flags: str, cwd: Path | None = None, **more: str) -> subprocess.CompletedProcess:
        """`bash launchers/start.sh FLAGS`, as a person does it."""
        return subprocess.run(
            ["bash", str(self.root / "launchers" / "start.sh"), *flags],
            cwd=cwd or self.root, env=self.environment(**more), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    def log(self) -> str:
        return (self.root / ".easel" / "launcher.log").read_text(encoding="utf-8")


def lay_out(root: Path) -> Copy:
    """The launchers under `root`, and the wheels they are to install."""
    shutil.copytree(REPO / "launchers", root / "launchers", ignore=shutil.ignore_patterns("__pycache__"))
    (root / "app.py").write_text(APP, encoding="utf-8")
    (root / "requirements.txt").write_text("# pins\ntorch==2.13.0\ntiny==1.0\n", encoding="utf-8")
    (root / "requirements-dev.txt").write_text("-r requirements.txt\nmore==3.1\n", encoding="utf-8")
    wheels = root / "wheels"
    wheels.mkdir()
    wheel(
        wheels,
        "torch",
        "2.13.0+cpu",
        {"torch/__init__.py": "", "torch/version.py": "__version__ = '2.13.0+cpu'\ncuda: Optional[str] = None\n"},
    )
    wheel(
        wheels,
        "torch",
        "2.13.0+cu126",
        {"torch/__init__.py": "", "torch/version.py": "__version__ = '2.13.0+cu126'\ncuda: Optional[str] = '12.6'\n"},
    )
    wheel(wheels, "tiny", "1.0", {"tiny/__init__.py": "WORD = 'one'\n", "tiny/data.txt": "data\n"})
    wheel(wheels, "tiny", "2.0", {"tiny/__init__.py": "WORD = 'two'\n", "tiny/data.txt": "data\n"})
    wheel(wheels, "more", "3.1", {"more.py": "\n"})
    return Copy(root, wheels)


@pytest.fixture(scope="module")
def ready(tmp_path_factory) -> Copy:
    """An installation that is complete.  Its tests put back what they break, or end complete again."""
    copy = lay_out(tmp_path_factory.mktemp("launchers") / "Ünï cødé '& 日本")
    first = copy.start()
    assert first.returncode == 0, first.stdout + first.stderr
    copy.first = first
    return copy


@pytest.fixture
def fresh(nasty) -> Copy:
    """An installation that has not begun."""
    return lay_out(nasty / "easel")
