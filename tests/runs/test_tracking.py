"""A run shown elsewhere: told once, live or afterwards, read back by each tracker's own reader; and what fails there, fails there alone."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.ui import story
from training import registry
from training.home import REPO
from training.runs import journal, origin, supervisor, tracking, trackside
from training.runs.run import create, delete
from training.runs.tracking import Told, rows

TABLE = REPO / "docs" / "examples" / "trackers" / "table.py"
SENT = {"t": 1.0, "kind": "step", "of": 9, "lr": 1e-4, "grad": 0.5, "images_per_s": 4.0, "memory_bytes": 10**9}


@pytest.fixture
def tabled(home):
    """The home with the example's tracker in it."""
    (home.plugins / "trackers").mkdir(parents=True)
    shutil.copy(TABLE, home.plugins / "trackers")
    return home


def told_of(path: Path) -> dict[str, list[tuple[int, str]]]:
    found: dict[str, list[tuple[int, str]]] = {}
    for step, _, name, value in csv.reader(path.open(encoding="utf-8", newline="")):
        found.setdefault(name, []).append((int(step), value))
    return found


def resumed(run, first: int, last: int) -> None:
    """A second attempt, which repeats what its checkpoint did not hold."""
    journal.append(run.events_path, {"t": 3.0, "kind": "started", "pid": 1, "attempt": 2, "boot_id": "", "oom_kills": -1, "versions": {}, "device": "cpu"})
    for step in range(first, last + 1):
        journal.append(run.events_path, SENT | {"step": step, "loss": 0.25})
        if step % 20 == 0:
            journal.append(run.events_path, {"t": 3.0, "kind": "sample", "step": step, "index": 0, "prompt": "a", "path": "samples/000020_0.webp", "seed": 42})
    journal.append(run.events_path, {"t": 3.0, "kind": "stopped", "step": last})


def test_each_step_is_told_once_and_nonsense_never():
    events = [SENT | {"step": step, "loss": 0.5} for step in (1, 2, 3, 2, 3, 4)]
    events += [SENT | {"step": 5, "loss": float("nan")}, SENT | {"step": 10**30, "loss": 1.0}, {"kind": "step"}, {"t": 1, "kind": ["step"]}]
    events += [{"t": 2.0, "kind": "validation", "step": step, "loss": 0.2} for step in (2, 2, 4)]
    sample = {"t": 2.0, "kind": "sample", "step": 4, "index": 1, "prompt": "a cat", "path": "samples/a.webp", "seed": 7}
    found, told = rows([*events, sample, sample, sample | {"strength": -2.0}], Told())
    assert [(r.step, next(iter(r.values))) for r in found if r.values] == [(1, "train/loss"), (2, "train/loss"), (3, "train/loss"), (4, "train/loss"), (2, "validation/loss"), (4, "validation/loss")]
    assert found[0].values == {"train/loss": 0.5, "train/learning_rate": 1e-4, "train/gradient": 0.5, "speed/pictures_per_s": 4.0, "speed/memory_gb": 1.0}
    assert [(r.name, r.caption) for r in found if r.path] == [("samples/1", "a cat (seed 7)"), ("samples/1 at strength -2", "a cat (seed 7 at strength -2)")]
    assert rows([*events, sample], told)[0] == []


def test_settings_go_without_folders_and_tokens():
    job = {"model": {"source": "/home/ann/base.safetensors", "leave_out": []}, "data": {"datasets": [{"name": "C:\\Users\\ann\\cats"}]}, "note": "hf_" + "a" * 34, "steps": 3, "on": True}
    said = tracking.flat(job)
    assert said["model.source"] == "base.safetensors" and said["data.datasets"] == '[{"name": "cats"}]' and said["steps"] == 3 and said["on"] is True
    assert "ann" not in str(said) and "hf_aaa" not in str(said)


def test_an_old_run_is_told_once_and_goes_on_when_it_is_resumed(tabled):
    run = story.run(tabled, end="stopped", validate=True)
    kept = trackside.follow(run, tabled, "table")
    first = told_of(Path(kept.where))
    assert [step for step, _ in first["train/loss"]] == list(range(1, 61)) and [step for step, _ in first["validation/loss"]] == [10, 20, 30, 40, 50, 60]
    assert [step for step, _ in first["samples/0"]] == [0, 20, 40, 60] and kept.done and kept.told.step == 60
    assert trackside.follow(run, tabled, "table").told == kept.told and told_of(Path(kept.where)) == first
    resumed(run, 41, 80)
    assert trackside.follow(run, tabled, "table").id == kept.id
    then = told_of(Path(kept.where))
    assert [step for step, _ in then["train/loss"]] == list(range(1, 81)) and [step for step, _ in then["samples/0"]] == [0, 20, 40, 60, 80]
    again = trackside.follow(run, tabled, "table", again=True)
    assert again.told.step == 80 and len(told_of(Path(again.where))["train/loss"]) == 80
    assert again.id != kept.id and told_of(Path(kept.where)) == then, "its curves are drawn over those of before"
    assert trackside.follow(run, tabled, "table").id == again.id
    assert trackside.follow(run, tabled, "table", again=True).id not in (kept.id, again.id)


def test_another_place_or_project_is_begun_anew_and_none_named_stays(tabled, tmp_path, monkeypatch, capsys):
    from tests.test_cli import typed
    from ui.tabs.results import elsewhere

    class Ctx:
        home = tabled

    plugin = tabled.plugins / "trackers" / "table.py"
    plugin.write_text(TABLE.read_text(encoding="utf-8").replace('    """Nothing."""\n    return ""', '    return f"It goes to {place}" if place else ""'))
    run = story.run(tabled, upto=20, end="stopped")
    place = str(tmp_path / "far")
    there = trackside.follow(run, tabled, "table", place=place)
    assert (there.place, there.project) == (place, "easel") and Path(there.where).is_relative_to(place)
    assert trackside.follow(run, tabled, "table").id == there.id
    assert next(row for row in elsewhere.rows_of(Ctx, run) if row.name == "table").leaves == f"It goes to {place}"
    assert f"It goes to {place}." in typed(tabled, monkeypatch, capsys, "track", run.id, "--with", "table")[1]
    size = Path(there.where).stat().st_size
    code, _ = typed(tabled, monkeypatch, capsys, "track", run.id, "--with", "table", "--project", "other")
    kept = trackside.read(run.path, "table")
    assert code == 0 and (kept.place, kept.project) == (place, "other") and len(told_of(Path(kept.where))["train/loss"]) == 20
    emptied = trackside.follow(run, tabled, "table", place="")
    assert (emptied.place, emptied.project) == ("", "other") and not Path(emptied.where).is_relative_to(place)
    assert Path(there.where).stat().st_size == size and len(told_of(Path(emptied.where))["train/loss"]) == 20
    assert next(row for row in elsewhere.rows_of(Ctx, run) if row.name == "table").leaves == ""


def test_after_a_failure_nothing_counts_as_told_that_was_not(tabled):
    plugin = tabled.plugins / "trackers" / "table.py"
    plugin.write_text(f"{TABLE.read_text(encoding='utf-8')}\n    def numbers(self, step, t, values):\n        if step > 45 and Path(self.id).with_name('full').exists(): raise OSError(28, 'No space left')\n        self._rows.writerow([step, t, 'train/loss', 1])\n")
    run, full = story.run(tabled, end="stopped"), tabled.root / "tracked" / "table" / "full"
    full.parent.mkdir(parents=True)
    full.touch()
    with pytest.raises(OSError, match="No space"):
        trackside.follow(run, tabled, "table")
    assert 20 <= trackside.read(run.path, "table").told.step <= 45
    full.unlink()
    steps = {step for step, _ in told_of(Path(trackside.follow(run, tabled, "table").where))["train/loss"]}
    assert steps == set(range(1, 61))


@pytest.mark.slow
def test_a_resumed_run_goes_on_where_it_was_shown_last(tabled, tmp_path):
    run = create(tabled.outputs, story.config(trackers=[{"name": "table", "place": str(tmp_path / "far")}]))
    resumed(run, 1, 20)
    use = run.config().trackers[0]
    assert trackside.follow(run, tabled, "table", use.project, use.place).place == use.place
    emptied = trackside.follow(run, tabled, "table", place="")
    resumed(run, 21, 40)
    trackside.launch_chosen(run, tabled, dict(os.environ), -1)
    deadline = time.monotonic() + 60
    while (kept := trackside.read(run.path, "table")).told.step < 40 or trackside.following(run.path, "table"):
        assert time.monotonic() < deadline, "it is not told"
        time.sleep(0.05)
    assert (kept.id, kept.place) == (emptied.id, "")


def test_another_run_of_the_same_folder_is_another_one(tabled):
    run = story.run(tabled, upto=20, end="stopped")
    trackside.follow(run, tabled, "table")
    assert [kept.name for kept in trackside.all_of(run.path)] == ["table"]
    job = run.path / "job.yaml"
    job.write_text(job.read_text() + "\n# another\n")
    assert trackside.all_of(run.path) == []
    delete(run)
    assert not trackside.folder_of(run.path).exists()


@pytest.mark.parametrize("change", [{"told": 3}, {"told": {"cursor": "x"}}, {"told": {"step": True}}, {"gone": [3]}, {"where": None}, {"told": {"samples": []}}, {"more": 1}, {"mark": "other"}])
def test_what_is_kept_beside_a_run_may_be_anything(tabled, change):
    run = story.run(tabled, upto=20, end="stopped")
    trackside.follow(run, tabled, "table")
    path = trackside.folder_of(run.path) / "table.json"
    kept = json.loads(path.read_text())
    path.write_text(json.dumps(kept | {k: kept[k] | v if isinstance(v, dict) else v for k, v in change.items()}))
    assert trackside.read(run.path, "table") is None
    path.write_text("[" * 100_000)
    assert trackside.all_of(run.path) == []


def test_a_picture_that_is_gone_or_none_is_said_and_the_rest_goes_on(tabled):
    run = story.run(tabled, end="stopped")
    (run.path / "samples/000020_0.webp").unlink()
    (run.path / "samples/000040_0.webp").write_bytes(b"GIF89a" + bytes(99))
    kept = trackside.follow(run, tabled, "table")
    assert len(kept.gone) == 2 and "000020_0" in kept.gone[0]
    assert [step for step, _ in told_of(Path(kept.where))["samples/0"]] == [0, 60] and len(told_of(Path(kept.where))["train/loss"]) == 60


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is not set up"),
        ("def begin(track): raise RuntimeError('its server is on fire hf_" + "b" * 34 + "')", "RuntimeError: its server is on fire"),
        ("NEEDS = {'no_such_package': '1.2'}", "needs the package no_such_package, which is not installed: python -m pip install no_such_package==1.2"),
        ("class T:\n    id = where = 'x'\n    def numbers(self, *a): raise OSError(28, 'No space left')\n    picture = numbers\ndef begin(track): return T()", "No space left"),
        ("import no_such_module", "does not load"),
    ],
)
def test_what_fails_there_is_one_sentence_beside_the_run(tabled, capfd, text, says):
    broken = TABLE.read_text(encoding="utf-8") + f"\n{text}\n"
    broken = broken if text else broken.replace('    """Always."""\n    return ""', "    return 'Table is not set up: buy one'")
    (tabled.plugins / "trackers" / "broken.py").write_text(broken)
    run = story.run(tabled, upto=20, end="stopped")
    before = {p: p.read_bytes() for p in run.path.rglob("*.*") if p.is_file()}
    assert trackside.main([str(run.path), str(tabled.root), "broken", "easel", "", "-1", "0"]) == 1
    (kept,) = trackside.all_of(run.path)
    assert says in kept.said and "hf_b" not in kept.said + capfd.readouterr().err
    assert {p: p.read_bytes() for p in run.path.rglob("*.*") if p.is_file()} == before


def test_a_run_from_elsewhere_asks_before_it_shows_itself(home):
    run = create(home.outputs, story.config(trackers=["tensorboard", {"name": "wandb", "place": "stranger"}]))
    for mark in (home.root / ".easel" / "made").iterdir():
        mark.unlink()
    assert "trackers tensorboard" in origin.question(run.path) and "trackers wandb stranger" in origin.question(run.path)


def test_a_config_names_each_tracker_once():
    assert story.config(trackers=["tensorboard"]).trackers[0].project == "easel" and not story.config().trackers
    with pytest.raises(ValueError, match="twice"):
        story.config(trackers=["wandb", {"name": "wandb", "project": "other"}])


@pytest.mark.slow
def test_it_goes_along_while_the_run_goes_on_and_after_it_was_resumed(tabled):
    (tabled.plugins / "jobs").mkdir()
    shutil.copy(Path(__file__).parent / "jobs" / "strides.py", tabled.plugins / "jobs")
    (tabled.plugins / "trackers" / "bad.py").write_text("import no_such_module")
    run = create(tabled.outputs, registry.get("jobs", "strides", tabled.plugins).Config(name="strides", trackers=["table", "bad"]))
    table = tabled.root / "tracked" / "table" / f"{run.id}.csv"

    def until(true, what):
        deadline = time.monotonic() + 60
        while not true():
            assert time.monotonic() < deadline, what
            time.sleep(0.05)

    def attempt() -> int:
        at = run.view().step
        supervisor.start(run, tabled)
        until(lambda: run.view().step > at + 3 and table.exists() and told_of(table) and told_of(table)["train/loss"][-1][0] > at, "nothing is told while it runs")
        assert run.status() == "running"
        run.command("stop")
        until(lambda: run.status() == "stopped" and not run.locked() and not trackside.following(run.path, "table"), "it does not end")
        return run.view().step

    attempt()
    last = attempt()
    steps = [step for step, _ in told_of(table)["train/loss"]]
    assert steps == sorted(set(steps)) and steps[-1] == last
    said = {kept.name: kept.said for kept in trackside.all_of(run.path)}
    assert said["table"] == "" and "does not load" in said["bad"]


def test_tensorboard_reads_what_was_told(home):
    pytest.importorskip("tensorboard", reason="the package tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = story.run(home, end="stopped", validate=True)
    trackside.follow(run, home, "tensorboard")
    resumed(run, 41, 80)
    kept = trackside.follow(run, home, "tensorboard")
    read = EventAccumulator(kept.id, size_guidance={"scalars": 0, "images": 0, "tensors": 0})
    read.Reload()
    loss = read.Scalars("train/loss")
    assert [one.step for one in loss] == list(range(1, 81)) and loss[-1].value == 0.25 and loss[0].wall_time == pytest.approx(run.events()[0][3]["t"], abs=5)
    assert [one.step for one in read.Scalars("validation/loss")] == [10, 20, 30, 40, 50, 60] and read.Scalars("train/learning_rate")[0].value == pytest.approx(1e-4)
    assert [one.step for one in read.Images("samples/0")] == [0, 20, 40, 60, 80] and read.Images("samples/0")[1].encoded_image_string.startswith(b"\x89PNG")
    assert b"| trigger | zibbo |" in read.Tensors("settings")[0].tensor_proto.string_val[0] and len(read.Tensors("settings")) == 1
    assert b"a photo of zibbo" in read.Tensors("samples/0/prompt")[0].tensor_proto.string_val[0]
    assert all(".easel." in p.name for p in Path(kept.id).iterdir())  # not this computer's name


@pytest.mark.slow
def test_trackio_reads_what_was_told(home):
    pytest.importorskip("trackio", reason="the package trackio is not installed")
    run = story.run(home, upto=40, end="stopped", validate=True)
    code = "import sys; from pathlib import Path; from training.home import Home; from training.runs import trackside; from training.runs.run import Run\n"
    code += "trackside.follow(Run(Path(sys.argv[1])), Home(Path(sys.argv[2])), 'trackio')"
    env = os.environ | {"TRACKIO_DIR": str(home.root / "trackio"), "TRACKIO_SPACE_ID": "somebody/space"}
    for _ in range(2):
        subprocess.run([sys.executable, "-c", code, str(run.path), str(home.root)], check=True, cwd=REPO, env=env, capture_output=True, timeout=120)
        resumed(run, 31, 50)
    reader = "import json,sys,trackio; run = trackio.Api().runs('easel')[0]\n"
    reader += "from trackio.sqlite_storage import SQLiteStorage as S\n"
    reader += "print(json.dumps([S.get_runs('easel'), S.get_logs('easel', run.name), S.get_run_config('easel', run.name), run.name]))"
    said = subprocess.run([sys.executable, "-c", reader], check=True, cwd=REPO, env=env, capture_output=True, text=True, timeout=120).stdout
    names, logs, config, name = json.loads(said.splitlines()[-1])
    assert names == [run.id] == [name] and config["trigger"] == "zibbo"
    losses = [(log["step"], log["train/loss"]) for log in logs if "train/loss" in log]
    assert [step for step, _ in losses] == list(range(1, 51)) and losses[-1][1] == 0.25
    assert sorted(log["step"] for log in logs if "samples/0" in log) == [0, 20, 40] and [log["step"] for log in logs if "validation/loss" in log] == [10, 20, 30, 40]
    assert len(list((home.root / "trackio" / "media").rglob("*.png"))) == 6


@pytest.mark.slow
def test_wandb_reads_what_was_told_offline(home, monkeypatch):
    pytest.importorskip("wandb", reason="the package wandb is not installed")
    run = story.run(home, upto=40, end="stopped", validate=True)
    kept = trackside.follow(run, home, "wandb", place="offline")
    resumed(run, 31, 50)
    assert trackside.follow(run, home, "wandb", place="offline").id == kept.id
    parts = [_records(path) for path in sorted((home.root / "tracked" / "wandb").rglob("*.wandb"))]
    assert len(parts) == 2 and {r.run.run_id for part in parts for r in part if r.HasField("run")} == {kept.id}
    begun = next(r.run for r in parts[0] if r.HasField("run"))
    config = {item.key: json.loads(item.value_json) for item in begun.config.update}
    assert begun.project == "easel" and begun.display_name == "my-zibbo" and config["trigger"] == "zibbo"
    history = [{"/".join(i.nested_key) or i.key: json.loads(i.value_json) for i in r.history.item} for part in parts for r in part if r.HasField("history")]
    assert [row["step"] for row in history if "train/loss" in row] == list(range(1, 51))
    assert [row["step"] for row in history if "validation/loss" in row] == [10, 20, 30, 40]
    pictures = [row for row in history if any(key.startswith("samples/0") for key in row)]
    assert [row["step"] for row in pictures] == [0, 20, 40]
    # of this computer nothing but what was told
    assert not any(r.HasField("stats") for part in parts for r in part)
    import socket

    whole = b"".join(path.read_bytes() for path in (home.root / "tracked" / "wandb").rglob("*") if path.suffix in (".wandb", ".json", ".txt"))
    host = re.escape(socket.gethostname().encode())
    assert not re.search(rb"(?<![\w-])" + host + rb"(?![\w-])", whole) and str(REPO).encode() not in whole  # a word by itself: a run's random id may hold a short name


def _records(path: Path) -> list:
    """The records of W&B's own log, in blocks of 32 kB with seven bytes before each piece, read by its own message types."""
    from wandb.proto import wandb_internal_pb2

    data, found, whole = path.read_bytes(), [], b""
    at = 7  # ":W&B", a magic number, a version
    while at + 7 <= len(data):
        if 32768 - at % 32768 < 7:
            at += 32768 - at % 32768
            continue
        length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        whole += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            found.append(wandb_internal_pb2.Record.FromString(whole))
            whole = b""
    return found


@pytest.mark.slow
def test_a_wandb_project_is_private_or_refused(tmp_path):
    """Against a stand-in of its API, asked by the real client.  Where there is no project, it is made, private."""
    pytest.importorskip("wandb", reason="the package wandb is not installed")
    asked: list[dict] = []
    there = {"team": "PRIVATE", "invited": "RESTRICTED", "public": "USER_READ"}

    class Api(BaseHTTPRequestHandler):
        def do_POST(self):
            asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            query, told = asked[-1]["query"], asked[-1].get("variables") or {}
            access = there.get(told.get("name", ""))
            made = {"upsertModel": {"project": {"access": told.get("input", {}).get("access")}}}
            data = made if "EaselPrivate" in query else {"viewer": {"id": "1", "entity": "ann", "username": "ann"}, "project": {"access": access} if access else None}
            body = json.dumps({"data": data}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    code = "import wandb; from training import registry; hold = registry.get('trackers', 'wandb')._hold_private\n"
    code += "for name in ('team', 'invited', 'fresh', 'public'): hold(wandb, None, name); print(name)"
    env = os.environ | {"WANDB_BASE_URL": f"http://127.0.0.1:{server.server_port}", "WANDB_API_KEY": "a" * 40, "WANDB_DIR": str(tmp_path), "NO_PROXY": "127.0.0.1"}
    try:
        done = subprocess.run([sys.executable, "-c", code], check=False, cwd=REPO, env=env, capture_output=True, text=True, timeout=120)
    finally:
        server.shutdown()
        server.server_close()
    assert done.stdout.split() == ["team", "invited", "fresh"] and "'public' at Weights & Biases can be seen by others" in done.stderr
    assert [one["variables"]["input"] for one in asked if "EaselPrivate" in one["query"]] == [{"name": "fresh", "entityName": "ann", "access": "PRIVATE"}]


def test_the_command_tells_a_run_and_says_where(tabled, monkeypatch, capsys):
    from tests.test_cli import typed

    run = story.run(tabled, upto=20, end="stopped")
    code, said = typed(tabled, monkeypatch, capsys, "track", run.id, "--with", "table")
    assert code == 0 and f"{run.id} is in " in said and "up to step 20" in said
    code, said = typed(tabled, monkeypatch, capsys, "track", run.id, "--with", "tabel")
    assert code == 2 and "did you mean 'table'" in said


def test_a_public_space_is_refused(monkeypatch):
    from types import SimpleNamespace

    import huggingface_hub
    from huggingface_hub.errors import RepositoryNotFoundError

    module = registry.get("trackers", "trackio")
    answers = {"me/public": SimpleNamespace(private=False), "me/mine": SimpleNamespace(private=True)}

    class Hub:
        def space_info(self, space, timeout):
            if space not in answers:
                raise RepositoryNotFoundError("404", response=httpx_answer())
            return answers[space]

    def httpx_answer():
        import httpx2

        return httpx2.Response(404, request=httpx2.Request("GET", "http://127.0.0.1"))

    monkeypatch.setattr(huggingface_hub, "HfApi", Hub)
    module._refuse_public("me/mine")
    module._refuse_public("me/new")
    with pytest.raises(ValueError, match="me/public can be seen by everybody"):
        module._refuse_public("me/public")
    assert "owner/name" in module.ready("public")


def test_results_offer_each_tracker_and_say_what_it_was_told(tabled, monkeypatch):
    from ui.tabs.results import elsewhere

    class Ctx:
        home = tabled

    (tabled.plugins / "trackers" / "lame.py").write_text(TABLE.read_text(encoding="utf-8").replace("NEEDS: dict[str, str] = {}", "NEEDS = {'no_such_package': '1'}"))
    run = story.run(tabled, upto=20, end="stopped")
    kept = trackside.follow(run, tabled, "table")
    said = {row.name: row for row in elsewhere.rows_of(Ctx, run)}
    assert {"tensorboard", "trackio", "wandb", "table", "lame"} <= set(said)
    assert said["table"].state == f"Up to step 20, in {kept.where}." and "no_such_package==1" in said["lame"].blocked
    assert "private" in said["wandb"].leaves and said["tensorboard"].leaves == "" == said["trackio"].leaves
    page = elsewhere.html(tuple(said.values()))
    assert 'data-act="track-table"' in page and "Show what is new" in page and page.count('aria-disabled="true"') >= 1
    with pytest.raises(ValueError, match="no_such_package"):
        elsewhere.start(Ctx, run, "lame", "")
    with pytest.raises(ValueError, match="no trackers plugin"):
        elsewhere.start(Ctx, run, "tabel", "")
