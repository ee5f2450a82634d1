"""How much it costs to start: Easel against an empty Gradio app, in processor time, so that a busy machine changes little."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

REPO = Path(__file__).resolve().parents[2]
MOST_TIMES = 1.5
MOST_RSS_BYTES = 250_000_000 + 30_000_000  # promised, and what Gradio and pandas import where the tests' own mcp and pyarrow are installed
EMPTY = (
    "import gradio as gr\nwith gr.Blocks(analytics_enabled=False) as demo: pass\n"
    "demo.launch(prevent_thread_lock=True, quiet=True)\nprint('ready', flush=True)\nimport time; time.sleep(600)\n"
)


def listening(command: list[str], said: str, log: Path) -> tuple[float, int]:
    """(seconds of processor time, bytes of memory) that a program took until it said that it listens."""
    with open(log, "wb") as out:
        process = subprocess.Popen(command, cwd=REPO, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    try:
        deadline = time.monotonic() + 180
        while not re.search(said, log.read_text(encoding="utf-8")):
            assert process.poll() is None and time.monotonic() < deadline, log.read_text(encoding="utf-8")
            time.sleep(0.05)
        seen = psutil.Process(process.pid)
        used = seen.cpu_times()
        return used.user + used.system, seen.memory_info().rss
    finally:
        process.kill()
        process.wait()


@pytest.mark.slow
def test_easel_starts_like_an_empty_app(tmp_path):
    easel = [sys.executable, "app.py", "--home", str(tmp_path / "home"), "--port", "17860", "--no-browser"]
    listening(easel, "Easel is ready", tmp_path / "warm.log")  # so that both find their files in the cache
    empty_s = min(listening([sys.executable, "-c", EMPTY], "ready", tmp_path / f"empty{n}.log")[0] for n in range(2))
    runs = [listening(easel, "Easel is ready", tmp_path / f"easel{n}.log") for n in range(2)]
    easel_s, rss_bytes = min(s for s, _ in runs), max(b for _, b in runs)
    print(f"\nempty Gradio app {empty_s:.2f} s, Easel {easel_s:.2f} s of processor time ({easel_s / empty_s:.2f} times), {rss_bytes / 1e6:.0f} MB")
    assert easel_s <= MOST_TIMES * empty_s
    assert rss_bytes < MOST_RSS_BYTES
