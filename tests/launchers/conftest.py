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


def wheel(folder: Path, name: str, version: str, files: dict[str, str], more: str = "") -> Path:
    """A wheel as pip takes it.  more: further lines of its METADATA."""
    info = f"{name}-{version}.dist-info"
    files = files | {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{more}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: easel-tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    rows = []
    for path, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        rows.append(f"{path},sha256={digest},{len(text.encode())}")
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as file:
        for name_in, text in files.items():
            file.writestr(zipfile.ZipInfo(name_in), text)  # the same bytes whenever it is made: the lock has their hash
        file.writestr(zipfile.ZipInfo(f"{info}/RECORD"), "\n".join([*rows, f"{info}/RECORD,,", ""]))
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


    def require(self, **pins: str) -> None:
        """Other requirements for the app, and the lock that goes with them."""
        (self.root / "requirements.txt").write_text("".join(f"{name}=={version}\n" for name, version in pins.items()), encoding="utf-8")
        self.lock("app", **{name: version for name, version in pins.items() if name != "torch"})

    def lock(self, lock: str, **pins: str) -> None:
        """launchers/locks/<lock>.txt, with the hashes of our wheels."""
        entries = []
        for name, version in pins.items():
            digest = hashlib.sha256((self.wheels / f"{name}-{version}-py3-none-any.whl").read_bytes()).hexdigest()
            entries.append(f"{name}=={version} \\\n    --hash=sha256:{digest}\n")
        (self.root / "launchers" / "locks" / f"{lock}.txt").write_text("# toys\n" + "".join(entries), encoding="utf-8")


def toy_torch(folder: Path, local: str, **lines: str) -> Path:
    """A torch with nothing but the file that says which build it is."""
    version = f"2.13.0{local and '+'}{local}"
    said = "".join(f"{name}: Optional[str] = {value!r}\n" for name, value in ({"cuda": None, "hip": None, "xpu": None} | lines).items())
    return wheel(folder, "torch", version, {"torch/__init__.py": "", "torch/version.py": f"__version__ = {version!r}\n{said}"})


def lay_out(root: Path) -> Copy:
    """The launchers under `root`, and the wheels they are to install."""
    shutil.copytree(REPO / "launchers", root / "launchers", ignore=shutil.ignore_patterns("__pycache__"))
    (root / "app.py").write_text(APP, encoding="utf-8")
    (root / "requirements-dev.txt").write_text("-r requirements.txt\nmore==3.1\n", encoding="utf-8")
    wheels = root / "wheels"
    wheels.mkdir()
    toy_torch(wheels, "cpu")
    toy_torch(wheels, "cu126", cuda="12.6")
    wheel(wheels, "tiny", "1.0", {"tiny/__init__.py": "WORD = 'one'\n", "tiny/data.txt": "data\n"})
    wheel(wheels, "tiny", "2.0", {"tiny/__init__.py": "WORD = 'two'\n", "tiny/data.txt": "data\n"})
    wheel(wheels, "more", "3.1", {"more.py": "\n"})
    copy = Copy(root, wheels)
    copy.require(torch="2.13.0", tiny="1.0")
    copy.lock("dev", more="3.1")
    plain = toy_torch(root, "", cuda="13.0")  # not where pip looks
    plain.rename(wheels / plain.name)
    copy.lock("cu130", torch="2.13.0")
    (wheels / plain.name).rename(root / plain.name)
    return copy


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
