"""README's first command on a copy of everything: a real installation, a real start, and a second one without network."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest

from launchers import packages

REPO = Path(__file__).resolve().parent.parent.parent
LEFT_OUT = (".git", ".venv", ".easel", "outputs", "datasets", "__pycache__", ".pytest_cache", ".ruff_cache")
INSTALL_S = 1800


def start(root: Path, **more: str) -> tuple[subprocess.Popen, str, float]:
    """(the launcher, the page, seconds until it answered)."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith("EASEL_") or key in ("EASEL_PYTHON", "EASEL_TORCH", "EASEL_TORCH_INDEX")
    }
    command = ["bash", str(root / "launchers" / "start.sh"), "--no-browser", "--port", str(port)]
    began = time.monotonic()
    with (root / "said.txt").open("w") as said:
        process = subprocess.Popen(
            command, env=kept | more, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT, start_new_session=True
        )
    while time.monotonic() - began < INSTALL_S:
        if process.poll() is not None:
            break
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
                return process, answer.read().decode(), time.monotonic() - began
        except OSError:
            time.sleep(0.2)
    os.killpg(process.pid, signal.SIGKILL)
    raise AssertionError((root / "said.txt").read_text()[-4000:])


def end(process: subprocess.Popen) -> int:
    """The launcher's exit status after SIGTERM, which it passes on."""
    process.terminate()
    return process.wait(30)


@pytest.mark.slow
def test_from_nothing_to_the_page_and_again_without_network(nasty):
    root = nasty / "easel"
    shutil.copytree(REPO, root, ignore=shutil.ignore_patterns(*LEFT_OUT))
    process, page, took_s = start(root)
    end(process)
    print(f"first start: {took_s:.0f} s")
    assert "<title>Easel</title>" in page
    site = next((root / ".venv" / "lib").glob("python3*/site-packages"))
    there = packages.installed(site)
    assert not {"torchvision", "torchaudio", "timm"} & set(there)
    assert packages.damaged(site) == []
    if shutil.which("nvidia-smi") is None:
        assert not [name for name in there if name.startswith("nvidia-")]  # no card: no gigabytes of CUDA

    nowhere = "http://127.0.0.1:9"
    process, page, took_s = start(root, PIP_INDEX_URL=nowhere, EASEL_TORCH_INDEX=nowhere, HTTPS_PROXY=nowhere)
    end(process)
    print(f"second start: {took_s:.1f} s, the page included")
    assert "<title>Easel</title>" in page
    assert "Setting up" not in (root / "said.txt").read_text()
