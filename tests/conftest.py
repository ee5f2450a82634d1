"""What every test can count on: no network, no token, no file of the person who runs it, one thread: toy sizes are slower on more."""

from __future__ import annotations

import gc
import os
import sys
import tempfile
from pathlib import Path

import pytest

# Before anything heavy is imported: these are read at import time.  Worker processes inherit them.
_SCRATCH = Path(tempfile.mkdtemp(prefix="easel-tests-"))
_REAL_HOME = Path.home()
for _name in [name for name in os.environ if name.startswith(("HF_", "HUGGING_FACE_", "EASEL_", "GRADIO_", "SPACE_", "MODAL_"))]:
    if _name not in ("EASEL_VENV", "EASEL_CHROMIUM", "EASEL_PYTHON", "EASEL_TORCH", "EASEL_TORCH_INDEX", "EASEL_SHOTS", "EASEL_AXE"):
        del os.environ[_name]
os.environ.update(
    # a real installation in a slow test may use the person's download cache
    PIP_CACHE_DIR=os.environ.get("PIP_CACHE_DIR", str(_REAL_HOME / ".cache" / "pip")),
    HOME=str(_SCRATCH / "home"),
    USERPROFILE=str(_SCRATCH / "home"),
    XDG_CACHE_HOME=str(_SCRATCH / "home" / ".cache"),
    XDG_CONFIG_HOME=str(_SCRATCH / "home" / ".config"),
    XDG_DATA_HOME=str(_SCRATCH / "home" / ".local" / "share"),
    HF_HOME=str(_SCRATCH / "home" / ".cache" / "huggingface"),
    HF_HUB_OFFLINE="1",
    HF_HUB_DISABLE_TELEMETRY="1",
    GRADIO_ANALYTICS_ENABLED="False",
    GRADIO_TEMP_DIR=str(_SCRATCH / "gradio"),
    EASEL_HOME=str(_SCRATCH / "easel"),
    TOKENIZERS_PARALLELISM="false",
    OMP_NUM_THREADS="1",
    MKL_NUM_THREADS="1",
)
for _folder in ("home", "easel", "gradio"):
    (_SCRATCH / _folder).mkdir()


# what takes minutes a file, the longest first
LONG = ("builtin", "launchers", "families", "plan")


def pytest_collection_modifyitems(items):
    """Fast tests first, the browser last: a plain mistake shows early.  Of the slow ones the longest first, so that both processes end together."""
    items.sort(key=_turn)


def _turn(item) -> tuple[bool, bool, int]:
    browser, slow = (item.get_closest_marker(name) is not None for name in ("browser", "slow"))
    part = item.path.relative_to(Path(__file__).parent).parts[0]
    if browser:
        return True, True, int(item.path.name != "test_whole_path.py")
    return False, slow, LONG.index(part) if slow and part in LONG else len(LONG)


gc.disable()  # until all is imported
_MANY_MODULES = 20  # a library, not a plugin or two
_frozen = {"modules": 0}


def _freeze():
    """What is imported by now stays: looking through it for garbage at each of the engine's own collections is half of a small run's time."""
    gc.collect()
    gc.freeze()
    _frozen["modules"] = len(sys.modules)


def pytest_collection_finish():
    _freeze()
    gc.enable()


def pytest_runtest_logfinish():
    """The heavy libraries come with the first run that needs them, which is long after the collection."""
    if len(sys.modules) > _frozen["modules"] + _MANY_MODULES:
        _freeze()


def pytest_unconfigure():
    import shutil

    shutil.rmtree(_SCRATCH, ignore_errors=True)


@pytest.fixture
def nasty(tmp_path) -> Path:
    """An empty folder whose path has what paths can have: spaces, quotes, other scripts."""
    folder = tmp_path / "Ünï cødé '& 日本"
    folder.mkdir()
    return folder


@pytest.fixture
def home(nasty):
    """A home of its own, its folders present."""
    from training.home import find_home

    return find_home(nasty / "home").made()


@pytest.fixture
def tool(home):
    """tool(kind, **settings) -> the finished run."""

    def run(kind: str, name: str = "made", **settings):
        from training import jobfile, registry
        from training.runs.context import Context
        from training.runs.run import create

        job = registry.get("jobs", kind)
        made = create(home.outputs, jobfile.parse(job.Config, {"kind": kind, "name": name, **settings}, "the test"))
        ctx = Context(made, home, 1)
        ctx.emit("started", pid=1, attempt=1, boot_id="", oom_kills=0, versions={}, device="")
        job.run(made.config(), ctx)
        return made

    return run
