import os
import time

import pytest

from training.runs import journal
from training.runs.run import Run, create, delete, list_runs

from .conftest import make
from .test_events import event
from .test_lock import holder


def happened(run, *kinds):
    for kind in kinds:
        journal.append(run.events_path, event(kind))
    return run


def test_a_new_run_is_a_folder_with_its_whole_config(workshop):
    run = make(workshop, steps=7)
    assert run.id.startswith(time.strftime("%Y-"))
    assert run.id.endswith("_wänder 'lust' 日本")
    assert (run.title, run.kind, run.status()) == ("wänder 'lust' 日本", "walk", "queued")
    assert run.config() == make(workshop, steps=7).config()
    assert os.listdir(run.path) == ["job.yaml"]
    assert time.time() - 60 < run.created_t <= time.time() + 1


def test_runs_of_one_minute_get_names_of_their_own_and_keep_their_order(workshop):
    runs = [make(workshop, name=name) for name in ("zebra", "ant", "zebra", "Ant2")]
    assert len({run.id.casefold() for run in runs}) == 4
    assert list_runs(workshop.outputs) == runs[::-1]
    assert list_runs(workshop.outputs, {"train"}) == []
    assert list_runs(workshop.root / "nowhere") == []


def test_what_is_no_run_is_left_out_of_the_list(workshop):
    good = make(workshop)
    for name, text in (("empty", None), ("broken", "kind: [walk"), ("nameless", "kind: walk\n"), (".trash-x", "kind: walk\nname: x\n")):
        (workshop.outputs / name).mkdir()
        if text:
            (workshop.outputs / name / "job.yaml").write_text(text)
    (workshop.outputs / "a file").write_text("")
    assert list_runs(workshop.outputs) == [good]


def test_an_id_never_leads_out_of_the_outputs(workshop, tmp_path):
    run = make(workshop)
    assert Run.open(workshop.outputs, run.id) == run
    secret = tmp_path / "elsewhere"
    secret.mkdir()
    (secret / "job.yaml").write_text("kind: walk\nname: x\n")
    (workshop.outputs / "link").symlink_to(secret)
    for id in ("", ".", "..", "../elsewhere", str(secret), f"{run.id}/../{run.id}", "link", "no such run", ".cache", "a\0b", f"..\\{run.id}"):
        with pytest.raises(ValueError, match="there is no run called"):
            Run.open(workshop.outputs, id)


def test_a_token_never_reaches_a_job_file(workshop):
    with pytest.raises(ValueError, match="access token"):
        make(workshop, says="hf_abcdefghijklmnopqrstuvwxyz")
    assert list_runs(workshop.outputs) == []
    assert os.listdir(workshop.outputs) == []


@pytest.mark.parametrize(
    ("kinds", "free", "held"),
    [
        ((), "queued", "running"),
        (("started", "step"), "interrupted", "running"),
        (("started", "finished"), "finished", "finished"),
        (("started", "stopped"), "stopped", "stopped"),
        (("started", "failed"), "failed", "failed"),
        (("started", "stopped", "started"), "interrupted", "running"),
    ],
)
def test_the_status_is_the_last_event_and_the_lock(workshop, kinds, free, held):
    run = happened(make(workshop), *kinds)
    assert run.status() == free
    with open(run.events_path, "ab") as file:  # neither a torn tail nor rubbish nor the future changes it
        file.write(b'{"kind": "from the future", "t": 1}\nrubbish\n{"kind": "failed", "t": 1}\n{"t": 1, "kind": "fini')
    assert run.status() == free
    assert run.last_kind() == run.view().last_kind
    other = holder(run.lock_path)
    assert run.status() == held
    other.kill()
    other.communicate()
    assert run.status() == free


def test_checkpoints_are_the_whole_ones_in_order(workshop):
    run = make(workshop)
    assert run.checkpoints() == []
    for name in ("000500", "001000", "000250", ".tmp-000750-x", ".bad-000300", "000800", "notes", "²"):
        folder = run.path / "checkpoints" / name
        folder.mkdir(parents=True)
        if name != "000800":
            (folder / "MANIFEST.json").write_text("{}")
    assert [(step, path.name) for step, path in run.checkpoints()] == [(250, "000250"), (500, "000500"), (1000, "001000")]


def test_the_result_is_a_weights_file_inside_the_run(workshop):
    run = make(workshop)
    outside = workshop.root / "outside.safetensors"
    outside.write_bytes(b"x")
    for path, is_result in (("", False), ("gone.safetensors", False), ("README.md", False), ("../../outside.safetensors", False), ("my.safetensors", True)):
        (run.path / "README.md").write_text("x")
        (run.path / "my.safetensors").write_bytes(b"x")
        journal.append(run.events_path, event("finished", path=path))
        assert (run.result() is not None) == is_result
    assert run.result() == run.path / "my.safetensors"


def test_the_log_shows_its_end_masked_and_as_a_terminal_would(workshop):
    run = make(workshop)
    assert run.log_tail() == ""
    run.log_path.write_bytes("".join(f"line {n}\n" for n in range(500)).encode() + b"10%\r50%\r100%\r\nhf_abcdefghijklmnopqrstuvwxyz \xff\n")
    lines = run.log_tail(3).split("\n")
    assert lines == ["line 499", "100%", "*** \ufffd"]


def test_commands_are_for_a_worker_that_is_there(workshop):
    run = make(workshop)
    for wrong in (lambda: run.command("dance"), lambda: run.command("sample"), lambda: run.command("stop", prompt="x"), lambda: run.command("save")):
        with pytest.raises(ValueError):
            wrong()
    other = holder(run.lock_path)
    run.command("sample", prompt="a 日本 'cat'")
    other.kill()
    other.communicate()
    assert [(r["kind"], r["prompt"]) for r in journal.read(run.control_path)[0]] == [("sample", "a 日本 'cat'")]


def test_stop_takes_a_queued_run_out_of_the_queue(workshop):
    run = make(workshop)
    run.command("stop")
    assert run.status() == "stopped"


def test_a_deleted_run_is_gone_and_a_running_one_is_not_deleted(workshop):
    run = make(workshop)
    (run.path / "samples").mkdir()
    (run.path / "samples" / "1.webp").write_bytes(b"12345")
    assert run.size_bytes() > 5
    other = holder(run.lock_path)
    with pytest.raises(ValueError, match="is running; stop it"):
        delete(run)
    assert (run.path / "samples" / "1.webp").exists()
    other.kill()
    other.communicate()
    delete(run)
    assert os.listdir(workshop.outputs) == []


def test_two_hundred_runs_are_listed_faster_than_they_are_polled(workshop):
    for n in range(200):
        happened(make(workshop, name=f"run {n}"), "started", *["step"] * 3, "finished")

    def look():
        return [(run.id, run.title, run.kind, run.status()) for run in list_runs(workshop.outputs)]

    look()
    begun = time.process_time()
    assert len(look()) == 200
    assert time.process_time() - begun < 0.25  # takes some 0.03 s


def test_a_job_that_this_version_cannot_read_says_so(workshop):
    run = make(workshop)
    (run.path / "job.yaml").write_text((run.path / "job.yaml").read_text() + "from_the_future: 1\n")
    with pytest.raises(ValueError, match="from_the_future: is not a setting"):
        run.config()
    assert run.title == "wänder 'lust' 日本"
    with pytest.raises(ValueError, match="bytes; 200000 is the most"):
        create(workshop.outputs, make(workshop).config().model_copy(update={"says": "x" * 200_000}))
