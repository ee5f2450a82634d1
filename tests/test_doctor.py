"""A home is broken in every way that can be made here; the doctor finds it, says what to do, and mends what can be mended without loss."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.ui import story
from training import doctor
from training.away import state
from training.checkup import around, disk, kept, leftovers
from training.data import datasets, restoring, undoing, versions
from training.hub.secrets import Secret
from training.runs import journal, trackside
from training.runs.death import boot_id
from training.runs.run import list_runs

LONG_AGO = time.time() - 7200


def old(path: Path) -> Path:
    os.utime(path, (LONG_AGO, LONG_AGO))
    return path


def put(path: Path, data: bytes = b"half") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return old(path)


def rows(found) -> dict[str, str]:
    return {check.name: check.text for check in found}


def mended(look) -> list[str]:
    """What --fix does to all that look() finds; a second look finds nothing of it any more."""
    said = [check.mend() for check in look() if check.mend]
    assert not [check for check in look() if check.mend], "it is found again"
    return said


def everything(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file() and not p.name.endswith(("lock", ".lock"))}


@pytest.fixture
def cats(home):
    ds = datasets.open_dataset(home, story.pictures(home, 3))
    ds.set_captions({p.id: f"a cat {n}" for n, p in enumerate(ds.pictures())}, "typed")
    versions.gather(ds)
    return ds


def test_a_whole_home_has_nothing_to_mend(home, cats):
    story.run(home, end="finished")
    found = [*leftovers.look(home), *kept.look(home), *disk.look(home)]
    assert [check for check in found if check.state != "ok" or check.mend] == []
    assert {"outputs", "datasets", "cache", "clock", "outputs' speed", "datasets' notes", "prepared", "downloads"} <= {check.name for check in found}


def test_what_died_halfway_is_removed_and_nothing_else(home):
    run = story.run(home, end="stopped")
    before = everything(home.outputs)
    half = [
        put(run.path / "checkpoints/.tmp-000080-ab/adapter.safetensors"), put(run.path / "checkpoints/.trash-000010-cd/state.json"), put(run.path / ".tmp-x"),
        put(run.path / "samples/.tmp-y"), put(home.cache / "ab/.tmp-z"), put(home.cache / "damaged/q.safetensors"), put(home.outputs / ".tracked/gone/wandb.json"),
    ]  # fmt: skip
    for folder in (home.outputs / ".new-0123", home.outputs / ".trash-ab-old", home.datasets / ".trash-cats-ab"):
        half.append(put(folder / "job.yaml"))
        old(folder)
    fresh = home.outputs / ".new-fresh"  # of somebody who makes a run right now
    fresh.mkdir()
    assert rows(leftovers.look(home))["half written"].startswith("40 bytes in 10 places")
    assert mended(lambda: leftovers.look(home)) == ["10 half-written things removed, 40 bytes freed"]
    assert everything(home.outputs) == before and fresh.is_dir() and not any(path.exists() for path in half)


def test_half_an_import_is_removed_when_nothing_was_written_into_it_for_long(home):
    half = [put(home.outputs / ".brought-ab" / "files" / "job.yaml"), put(home.root / "models" / ".new-cd" / "unet" / "big.safetensors")]
    for path in half:
        old(old(path.parent).parent)
    going_on = put(home.outputs / ".brought-ef" / "files" / "job.yaml")
    (going_on.parent / "big.safetensors").write_bytes(b"still coming")
    old(old(going_on.parent).parent)
    whole = put(home.root / "models" / "base" / "big.safetensors")
    assert rows(leftovers.look(home))["half written"].startswith("8 bytes in 2 places")
    assert mended(lambda: leftovers.look(home)) == ["2 half-written things removed, 8 bytes freed"]
    assert not any(path.parents[1].exists() for path in half) and going_on.exists() and whole.exists()


def test_a_run_elsewhere_that_nobody_watches_is_told(home):
    run, other = story.run(home), story.run(home, name="other")
    state.keep(run.path, state.State("ssh", {"id": "ab"}, "started"))
    said = rows(leftovers.look(home))
    assert said["elsewhere"] == f"{run.id}: watched by nobody here; what was sent may go on there and cost: Resume finds it again"
    assert run.id not in said["cut off"] and other.id in said["cut off"]
    with story.alive(run):
        assert "elsewhere" not in rows(leftovers.look(home))
    state.keep(run.path, state.State("ssh", {"id": "ab"}, state.ENDED))
    assert "elsewhere" not in rows(leftovers.look(home))


def test_a_run_that_somebody_works_at_is_left_alone(home):
    run = story.run(home)
    mine = put(run.path / "checkpoints/.tmp-000080-ab/adapter.safetensors")
    with story.alive(run):
        assert "half written" not in rows(leftovers.look(home))
    check = next(c for c in leftovers.look(home) if c.name == "half written")
    with story.alive(run):  # resumed between the look and the mending
        check.mend()
        assert mine.exists()


def test_what_may_hold_work_is_told_and_stays(home, monkeypatch, tmp_path):
    import huggingface_hub.constants

    run = story.run(home)
    put(run.path / "checkpoints/.bad-000040-ab/adapter.safetensors")
    (story.run(home, name="other").path / "job.yaml").write_text("kind: [")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    half = put(tmp_path / "models--ann--base/blobs/ab.incomplete", b"x" * 5000)
    before = everything(home.root)
    said = rows(leftovers.look(home))
    assert "checkpoints/.bad-000040-ab" in said["damaged"] and run.id in said["cut off"] and "resume" in said["cut off"]
    assert any(name.startswith("run ") and "cannot be read" in text for name, text in said.items())
    assert said["half downloads"].startswith("5 kB of ann/base")
    assert mended(lambda: leftovers.look(home)) == [] and everything(home.root) == before and half.exists()


def test_an_orphan_of_a_deleted_run_is_ended(home):
    code = "import time; time.sleep(60)"
    words = ["training.runs.worker", str(home.outputs / "2026-01-01_0000_gone"), str(home.root.resolve()), "0"]
    orphan = subprocess.Popen([sys.executable, "-c", code, *words])
    try:
        assert mended(lambda: [c for c in leftovers.look(home) if str(orphan.pid) in c.text or not c.mend]) == [f"process {orphan.pid} ended"]
        assert orphan.wait(20) is not None
    finally:
        orphan.kill()
        orphan.wait()


def test_a_process_that_cannot_be_ended_is_said(monkeypatch, capsys, home):
    import psutil

    def refuse(process, *args):
        raise psutil.AccessDenied(process.pid)

    def late(process, *args):
        raise psutil.TimeoutExpired(10, process.pid)

    def gone(process):
        raise psutil.NoSuchProcess(process.pid)

    mine = psutil.Process()
    monkeypatch.setattr(psutil.Process, "terminate", refuse)
    monkeypatch.setattr(doctor, "examine", lambda home: [doctor.Check("orphan", "note", "works at nothing", lambda: leftovers._end(mine))])
    assert doctor.main_table(home, 140, fix=True) == 1
    assert f"could not be mended: process {mine.pid} may not be ended by you" in capsys.readouterr().out
    for name, answer in (("terminate", lambda process: None), ("wait", late), ("kill", gone)):
        monkeypatch.setattr(psutil.Process, name, answer)
    assert leftovers._end(mine) == f"process {mine.pid} had ended by itself"


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="no sessions there")
def test_what_a_dead_worker_left_running_is_ended(home):
    run = story.run(home, upto=0)
    code = "import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], stdout=subprocess.DEVNULL).pid, flush=True)"
    worker = subprocess.Popen([sys.executable, "-c", code], start_new_session=True, stdout=subprocess.PIPE, text=True)
    child = int(worker.communicate(timeout=60)[0])
    event = {"t": time.time(), "kind": "started", "pid": worker.pid, "attempt": 2, "boot_id": boot_id(), "oom_kills": -1, "versions": {}, "device": "cpu"}
    journal.append(run.events_path, event)
    assert f"process {child} ended" in mended(lambda: leftovers.look(home))


def test_a_lock_that_nobody_living_holds_is_told(home):
    run = story.run(home)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    journal.append(run.events_path, {"t": time.time(), "kind": "started", "pid": dead.pid, "attempt": 2, "boot_id": boot_id(), "oom_kills": -1, "versions": {}, "device": "cpu"})
    with story.alive(run):
        (check,) = [c for c in leftovers.look(home) if c.name == "lock"]
    assert check.state == "broken" and f"process {dead.pid} is gone" in check.text and not check.mend


def test_a_journal_with_broken_lines_loses_only_those(cats, home):
    path, captions = cats.meta / "edits.jsonl", [p.caption for p in datasets.open_dataset(home, cats.name).pictures()]
    whole = path.read_bytes()
    path.write_bytes(b'{"op": "../x", "captions": {}}\n' + whole + b"\x00\xff not json\n")
    assert "2 of " in rows(kept.look(home))[f"dataset {cats.name}"]
    (said,) = mended(lambda: kept.look(home))
    assert "2 lines taken out" in said and path.read_bytes() == whole
    (aside,) = cats.meta.glob("edits.jsonl.bad-*")
    assert aside.read_bytes().endswith(b"not json\n")
    assert undoing.undo(cats) and not {p.caption for p in cats.pictures()} & set(captions)


@pytest.mark.parametrize("name", [*kept.NOTES, *kept.MADE_AGAIN])
def test_notes_that_cannot_be_read_are_named(cats, home, name):
    path = kept.place(cats, name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b'{"a": ')
    assert name in rows(kept.look(home))[f"dataset {cats.name}"]
    before = [p.caption for p in cats.pictures(check=False)]
    said = mended(lambda: [c for c in kept.look(home) if c.mend])
    assert bool(said) == (name in kept.MADE_AGAIN)
    assert not said or next(path.parent.glob(f"{name}.bad-*")).read_bytes() == b'{"a": '
    assert [p.caption for p in cats.pictures()] == before


def test_damaged_versions_and_a_version_cut_off_on_its_way_back(cats, home):
    first = versions.newest(cats).id
    cats.set_captions({p.id: "other" for p in cats.pictures()}, "typed")
    second = versions.gather(cats).id
    (cats.meta / restoring.PLAN).write_text(json.dumps({"version": first, "before": second, "op": "abc-1"}))
    assert mended(lambda: [c for c in kept.look(home) if "brought back" in c.text and c.mend]) in ([f"the version of {cats.name} is brought back"], [])
    assert sorted(p.caption for p in cats.pictures()) == ["a cat 0", "a cat 1", "a cat 2"]
    damaged = cats.meta / versions.FOLDER / f"{second:06d}.version"
    damaged.write_bytes(damaged.read_bytes()[:40])
    assert f"{second:06d}.version" in rows(kept.look(home))[f"dataset {cats.name}"]


def test_unfinished_files_of_a_dataset_are_removed(cats, home):
    before = everything(cats.path)
    put(cats.path / ".cat.txt.tmp-0123")
    put(cats.meta / ".index.json.tmp-0123")
    assert mended(lambda: kept.look(home)) == ["2 unfinished files removed"] and everything(cats.path) == before


@pytest.mark.skipif(os.name == "nt" or (hasattr(os, "getuid") and os.getuid() == 0), reason="rights do not bind here")
def test_a_folder_without_rights_is_given_them(home):
    home.outputs.chmod(0o500)
    try:
        (check,) = [c for c in disk.look(home) if c.name == "outputs"]
        assert check.state == "broken" and check.mend() and os.access(home.outputs, os.W_OK)
    finally:
        home.outputs.chmod(0o700)


def test_rights_are_mended_where_only_they_are_wrong(home, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *args: False)
    home.outputs.chmod(0o500)
    assert "write" in disk._rights(home.outputs, PermissionError(13, "Permission denied"))() and home.outputs.stat().st_mode & 0o700 == 0o700
    assert disk._rights(home.outputs, OSError(30, "Read-only")) is None


def test_a_disk_that_can_little_is_told(home, monkeypatch):
    def refuse(*args, **more):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(os, "chmod", lambda *args: None)
    monkeypatch.setattr(disk, "SLOW_BYTES_S", 1e15)
    monkeypatch.setattr(disk, "TRIAL_BYTES", 1 << 16)
    said = rows(disk.look(home))
    assert "hard links" in said["outputs' disk"] and "rights" in said["outputs' disk"] and "faster disk" in said["outputs' speed"]
    monkeypatch.setattr("training.runs.lock._lock", lambda handle, shared: False)
    assert "does not support file locks" in rows(disk.look(home))["outputs"]
    monkeypatch.undo()
    home.datasets.rmdir()
    home.datasets.write_text("a file")
    assert "is a file, where a folder must be" in rows(disk.look(home))["datasets"]


def test_a_wrong_clock_is_told(home, monkeypatch):
    run = story.run(home)
    later = time.time() + 10 * 86_400
    os.utime(run.events_path, (later, later))
    assert run.id in rows(disk._clock(home))["clock"]
    monkeypatch.setattr(time, "time", lambda: 1e9)
    (check,) = disk._clock(home)
    assert check.state == "broken" and "2001-09" in check.text


def test_packages_are_held_against_the_lock(tmp_path):
    (check,) = [c for c in around.lock() if c.name == "lock"]
    told = tmp_path / "app.txt"
    told.write_text("pydantic==0.1 \\\n    --hash=sha256:00\nno-such-package==1.0 \\\n    --hash=sha256:00\nother==2 ; sys_platform == 'plan9' \\\n")
    (check,) = [c for c in around.lock(told) if c.name == "lock"]
    assert check.state == "note" and check.text.startswith("0 of 2") and "no-such-package is missing" in check.text and "in place of 0.1" in check.text


def test_the_build_of_torch_is_held_against_the_card(monkeypatch):
    from training.plan import hardware

    monkeypatch.setattr(hardware, "wanted_build", lambda found: ("cu130", "A card: torch for CUDA 13.0"))
    for build, told, says in (("cpu", "", "is the build for processors"), ("cu130", "", "finds no card"), ("cu130", "A card", "")):
        monkeypatch.setattr(hardware, "installed_torch", lambda build=build: build)
        found = list(around.torch_for_card(told))
        assert says in found[0].text if says else not found
    monkeypatch.setattr(hardware, "wanted_build", lambda found: ("cpu", "none"))
    assert not list(around.torch_for_card(""))


def test_a_preset_that_does_not_resolve_is_named(home, monkeypatch):
    from training.plan import presets

    (home.plugins / "presets").mkdir(parents=True)
    (home.plugins / "presets" / "odd.yaml").write_text("title: [")
    some = presets.list_presets(plugins=home.plugins)
    monkeypatch.setattr(presets, "list_presets", lambda plugins=None: [*[p for p in some if p.ok][:3], *[p for p in some if not p.ok]])
    found = list(around.presets(home))
    assert next(c.text for c in found if c.state == "broken").startswith("odd: ") and rows(found)["presets"].startswith("3 resolve")


def test_a_tokens_rights_are_told_and_its_file_is_kept_to_its_owner(monkeypatch, tmp_path):
    from huggingface_hub import constants

    from training.hub import account

    path = tmp_path / "token"
    path.write_text("x")
    path.chmod(0o644)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(path))
    monkeypatch.setattr(account, "find_token", lambda: (Secret("x"), "saved"))
    for answer, says in (
        (account.Account("ann", "write", ("ann",)), "Signed in as ann (write), may write to ann"),
        (account.Account("ann", "read"), "may read, not publish"),
        (account.Account(reason="The Hub does not accept it."), "does not work now: The Hub does not accept it."),
    ):
        monkeypatch.setattr(account, "signed_in", lambda token, answer=answer: answer)
        assert any(says in c.text for c in around.token())
    if os.name != "nt":
        assert mended(around.token) == [f"only you can read {path} now"] and path.stat().st_mode & 0o777 == 0o600
    monkeypatch.setattr(account, "find_token", lambda: (Secret(""), "saved"))
    assert [c.state for c in around.token()] == ["ok"]


def test_a_port_in_use_and_a_missing_browser_are_told(home, monkeypatch):
    import socket
    import webbrowser

    def none(*args):
        raise webbrowser.Error

    monkeypatch.setattr(webbrowser, "get", none)
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        said = rows(around.page(home, busy.getsockname()[1]))
    assert "used by another program" in said["page"] and "none was found" in said["browser"]


@pytest.mark.slow
def test_fix_does_all_of_it_and_says_so(home, cats, monkeypatch, capsys):
    """The whole table, but for what asks torch and the presets, which take seconds."""
    run = story.run(home, end="stopped")
    put(run.path / "checkpoints/.tmp-000080-ab/adapter.safetensors")
    (cats.meta / "edits.jsonl").write_bytes(b"not json\n")
    monkeypatch.setattr(doctor, "_torch", lambda: doctor.Check("torch", "ok", "computes on the processor"))
    monkeypatch.setattr(around, "presets", lambda home: iter(()))
    for fix, words in ((False, "doctor --fix mends 2 of it"), (True, "mended  half written"), (False, "datasets' notes")):
        doctor.main_table(home, 140, fix)
        out = capsys.readouterr().out
        assert words in out and ("mended" in out) == fix
    assert list_runs(home.outputs) == [run] and not list((run.path / "checkpoints").glob(".tmp-*"))


def test_a_look_that_breaks_off_keeps_no_other_from_being_made(home, monkeypatch):
    def burst(home):
        raise OSError(5, "Input/output error")
        yield

    monkeypatch.setattr(leftovers, "look", burst)
    monkeypatch.setattr(doctor, "_torch", lambda: doctor.Check("torch", "ok", "computes on the processor"))
    monkeypatch.setattr(around, "presets", lambda home: iter(()))
    said = rows(doctor.examine(home))
    assert "could not be looked at" in said["leftovers"] and "built-in base" in said


def test_a_deleted_runs_track_is_no_leftover(home):
    from training.runs.run import delete

    run = story.run(home, end="stopped")
    put(trackside.folder_of(run.path) / "wandb.json")
    assert "half written" not in rows(leftovers.look(home))
    delete(run)
    assert not trackside.folder_of(run.path).exists()
