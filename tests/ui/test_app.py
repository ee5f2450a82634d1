"""The app as it is served: one real `python app.py --auth …` for this file, asked over HTTP."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil
import pytest
from PIL import Image

from training.config import DataPart, DatasetUse, ModelPart, TrainConfig
from training.data import datasets, importing
from training.home import Home
from training.runs.run import Run, create

REPO = Path(__file__).resolve().parents[2]
MAX_RSS_BYTES = 250_000_000 + 30_000_000  # promised, and what Gradio and pandas import where the tests' own mcp and pyarrow are installed: nobody else has those
ENDPOINTS = {
    "list_datasets", "make_dataset", "list_captioners", "caption", "list_presets", "estimate", "start", "list_runs", "find_runs", "list_queue", "change_queue", "pause_queue", "watch", "sample", "prompts", "losses",
    "stop", "resume", "generate", "result", "picture",
    "delete_dataset", "delete_run", "publish",
}  # fmt: skip


def make_run(home: Home) -> Run:
    """A finished run with a sample, a checkpoint and a LoRA, and a secret that must not be served."""
    config = TrainConfig(name="cat", model=ModelPart(family="sd15", source="builtin"), data=DataPart(datasets=(DatasetUse(name="cats"),)))
    run = create(home.outputs, config)
    (run.path / "samples").mkdir(exist_ok=True)
    Image.new("RGB", (8, 8), "red").save(run.path / "samples" / "000000_0.webp")
    (run.path / "samples" / "page.html").write_text("<script>alert(1)</script>", encoding="utf-8")
    checkpoint = run.path / "checkpoints" / "000005"
    checkpoint.mkdir(parents=True)
    (checkpoint / "adapter.safetensors").write_bytes(b"adapter")
    (checkpoint / "MANIFEST.json").write_text("{}", encoding="utf-8")
    (run.path / "cat.safetensors").write_bytes(b"the lora")
    (run.path / "log.txt").write_text("a token hf_" + "a" * 34 + "\n", encoding="utf-8")
    (run.path / "events.jsonl").write_text(
        json.dumps({"t": 1.0, "kind": "finished", "path": "cat.safetensors", "summary": "done"}) + "\n", encoding="utf-8"
    )
    return run


class Served:
    """A running app and two visitors: one who is signed in and one who is not.  flags: more of them."""

    def __init__(self, root: Path, *flags: str):
        self.home = Home(root).made()
        self.run = make_run(self.home)
        self.dataset = datasets.create(self.home, "my cats & co")
        source = root / "cat one.png"
        Image.new("RGB", (80, 64), "green").save(source)
        importing.add_files(self.dataset, [source])
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [sys.executable, "app.py", "--home", str(root), "--port", str(port), "--no-browser", "--auth", "me:pass word", *flags]
        self.log = root / "app.log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(command, cwd=REPO, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.url = self._ready()
        self.stranger = httpx.Client(base_url=self.url, timeout=30)
        self.me = httpx.Client(base_url=self.url, timeout=30)
        assert self.me.post("/login", data={"username": "me", "password": "pass word"}).status_code == 200

    def _ready(self) -> str:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and self.process.poll() is None:
            found = re.search(r"Easel is ready: (\S+)", self.log.read_text(encoding="utf-8"))
            if found:
                return found[1].rstrip("/")
            time.sleep(0.1)
        raise AssertionError(self.log.read_text(encoding="utf-8"))

    def close(self) -> None:
        """As Ctrl+C does."""
        self.stranger.close()
        self.me.close()
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(60)
        finally:
            self.process.kill()


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    app = Served(tmp_path_factory.mktemp("Ünï cødé '& 日本"))
    yield app
    app.close()
    assert "A training that was running goes on" in app.log.read_text(encoding="utf-8")


def test_what_is_served_is_what_belongs_to_an_id(served):
    for path, kind in [
        ("/easel/thumb/my cats & co/cat one.png", "image/webp"),
        ("/easel/picture/my cats & co/cat one.png", "image/png"),
        (f"/easel/sample/{served.run.id}/000000_0.webp", "image/webp"),
    ]:
        answer = served.me.get(path)
        assert (answer.status_code, answer.headers["content-type"]) == (200, kind)
        assert answer.headers["x-content-type-options"] == "nosniff" and "sandbox" in answer.headers["content-security-policy"]
        assert "immutable" in served.me.get(f"{path}?v=1").headers["cache-control"]
    lora = served.me.get(f"/easel/file/{served.run.id}/lora")
    assert lora.content == b"the lora" and 'filename="cat.safetensors"' in lora.headers["content-disposition"]
    assert served.me.get(f"/easel/file/{served.run.id}/step-5").status_code == 404  # a damaged checkpoint is no LoRA
    assert b"kind: train" in served.me.get(f"/easel/file/{served.run.id}/job.yaml").content
    log = served.me.get(f"/easel/file/{served.run.id}/log.txt")
    assert "hf_aaaa" not in log.text and "attachment" in log.headers["content-disposition"]


def test_nothing_else_of_the_disk_is_served(served):
    run = served.run.id
    (served.run.path / "samples" / "link.webp").symlink_to(served.run.path / "cat.safetensors")
    for path in [
        "/easel/thumb/my cats & co/..%2F..%2Fapp.log", "/easel/thumb/..%2F..%2Foutputs/x.png", "/easel/thumb/my cats & co/none.png", "/easel/thumb/none/cat one.png",
        "/easel/picture/my cats & co/.easel", "/easel/picture/..%2F/app.log", "/easel/picture/my cats & co/dataset.json",
        f"/easel/sample/{run}/page.html", f"/easel/sample/{run}/link.webp", f"/easel/sample/{run}/..%2Fjob.yaml", f"/easel/sample/{run}/..", "/easel/sample/..%2F/000000_0.webp",
        f"/easel/file/{run}/events.jsonl", f"/easel/file/{run}/..%2F..%2Fapp.log", f"/easel/file/{run}/step-6", f"/easel/file/{run}/step--1", "/easel/file/../lora",
        "/easel/example/../../app.py", "/easel/asset/easel.css", "/easel/asset/..%2Ftheme.py",
    ]:  # fmt: skip
        assert served.me.get(path).status_code == 404, path
    assert served.me.get(f"/gradio_api/file={served.log}").status_code in (403, 404)
    assert served.me.get("/gradio_api/file=/etc/passwd").status_code in (403, 404)


def test_without_a_login_only_the_icon_and_the_manifest_are_seen(served):
    for path in [
        "/easel/thumb/my cats & co/cat one.png", "/easel/picture/my cats & co/cat one.png", f"/easel/sample/{served.run.id}/000000_0.webp",
        f"/easel/file/{served.run.id}/lora", "/easel/example/zibbo_01.png", "/config", "/gradio_api/info", "/gradio_api/queue/data",
    ]:  # fmt: skip
        assert served.stranger.get(path).status_code == 401, path
        assert served.stranger.get(path, headers={"Cookie": "access-token-unsecure-x=guess"}).status_code == 401
    assert served.stranger.get("/easel/thumb/none/none.png").status_code == 401  # not even whether it exists
    assert served.stranger.post("/gradio_api/component_server", json={}).status_code == 401
    manifest = served.stranger.get("/easel/manifest.json")
    assert manifest.headers["content-type"].startswith("application/manifest+json") and manifest.json()["name"] == "Easel"
    for icon in manifest.json()["icons"]:
        answer = served.stranger.get(f"/easel/{icon['src']}")
        assert answer.status_code == 200 and answer.headers["content-type"] == icon["type"]


def test_other_sites_and_other_names_are_refused_on_the_real_routes(served):
    for path in ("/", "/config", "/gradio_api/upload", "/gradio_api/component_server", "/easel/manifest.json"):
        for headers in ({"Origin": "null"}, {"Origin": "http://evil.example"}, {"Host": "evil.example"}):
            assert served.me.post(path, headers=headers).status_code == 403, (path, headers)
            assert served.me.get(path, headers=headers).status_code == 403, (path, headers)
    page = served.me.get("/")
    assert page.status_code == 200 and page.headers["x-frame-options"] == "DENY" and "/easel/manifest.json" in page.text


def test_nothing_is_kept_in_the_browser_and_no_handler_of_the_page_is_public(served):
    config = served.me.get("/config").json()
    assert not config.get("run_history") and not config.get("enable_monitoring")
    assert served.me.get("/monitoring/summary").status_code >= 400 and served.me.get("/docs").status_code == 404
    public = {d["api_name"] for d in config["dependencies"] if d["api_visibility"] != "private"}
    assert public == ENDPOINTS and all(d["api_visibility"] in ("private", "public") for d in config["dependencies"])
    assert served.stranger.post("/gradio_api/run/list_datasets", json={"data": []}).status_code == 401


def test_one_timer_and_one_load_hook(served):
    config = served.me.get("/config").json()
    assert [c["type"] for c in config["components"]].count("timer") == 1
    events = [target[1] for d in config["dependencies"] for target in d["targets"]]
    assert events.count("tick") == 1 and events.count("load") == 1


def test_it_is_small_and_never_loads_torch(served):
    served.me.get("/")
    process = psutil.Process(served.process.pid)
    assert process.memory_info().rss < MAX_RSS_BYTES
    assert not [m.path for m in process.memory_maps() if "libtorch" in m.path]


def test_a_second_start_finds_the_first(served):
    done = subprocess.run(
        [sys.executable, "app.py", "--home", str(served.home.root), "--no-browser"], cwd=REPO, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0 and f"already running at {served.url}" in done.stdout


def test_the_tab_is_named_before_any_script_runs(served):
    for visitor in (served.me, served.stranger):  # who is not signed in gets the login page at the same address
        page = visitor.get("/").text
        head = page[: page.index("<script")]
        assert "<title>Easel</title>" in head and 'property="og:title" content="Easel"' in head and "Gradio" not in head
        assert "/easel/manifest.json" in head and "/easel/asset/icon.svg" in head
        css = (REPO / "ui" / "assets" / "easel.css").read_text(encoding="utf-8")
        for colour in re.findall(r"--ez-bg: (#\w+)", css):
            assert f"--ez-bg: {colour}" in head


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_closes_at_once_even_when_it_was_started_in_the_background(tmp_path, number):
    """A script's shell starts what it puts in the background with Ctrl+C ignored; a container is ended with SIGTERM."""
    command = [sys.executable, "app.py", "--home", str(tmp_path), "--no-browser"]
    process = subprocess.Popen(["bash", "-c", 'trap "" INT; exec "$0" "$@"', *command], cwd=REPO, stdout=subprocess.PIPE, text=True)
    try:
        url = next(line for line in process.stdout if "Easel is ready" in line).split()[-1]
        with httpx.stream("GET", f"{url}gradio_api/heartbeat/abc", timeout=30):  # an open page holds such a connection
            began = time.monotonic()
            process.send_signal(number)
            assert process.wait(30) == 0
            took_s = time.monotonic() - began
        assert took_s < 3
        assert "A training that was running goes on" in process.stdout.read()
    finally:
        process.kill()
