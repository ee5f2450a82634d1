"""Real workers: started, stopped, killed, crashed, queued, resumed."""

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest

from training.home import REPO
from training.hub.secrets import Secret
from training.runs import journal, supervisor
from training.runs.run import delete

from .conftest import alive, ended, make, python, until
from .test_lock import holder

TOKEN = "hf_" + "Q7w9" * 8
START = "import sys; from training.home import find_home; from training.runs import supervisor; from training.runs.run import Run\n"
START += "home = find_home(sys.argv[1]); run = Run.open(home.outputs, sys.argv[2])\n"
START += "try: print(supervisor.start(run, home))\nexcept ValueError as error: print('refused:', error)"

posix = pytest.mark.skipif(os.name == "nt", reason="signals and fork")


def begun(run, home):
    assert supervisor.start(run, home) == "started"
    return run


@pytest.mark.slow
def test_who_answers_a_click_does_not_wait_for_the_worker(workshop, monkeypatch):
    """A slow disk: Python needs long before the worker says its first word."""
    run = make(workshop)
    (workshop.root / "sitecustomize.py").write_text("import time; time.sleep(3)", encoding="utf-8")
    slow = {**supervisor.worker_env("walk", workshop), "PYTHONPATH": str(workshop.root)}
    monkeypatch.setattr(supervisor, "worker_env", lambda *_: slow)
    began = time.monotonic()
    assert supervisor.start_soon(run, workshop) == "started"
    assert time.monotonic() - began < 2
    assert (run.status(), supervisor.starting(run)) == ("queued", True)
    with pytest.raises(ValueError, match="is running already"):
        supervisor.start_soon(run, workshop)
    assert ended(run) == "finished"
    assert not supervisor.starting(run)
    assert [e["kind"] for e in run.events()[0]].count("started") == 1


def walked(run):
    """Steps in the order in which they were walked, over all attempts."""
    return [int(n) for n in (run.path / "steps.txt").read_text().split()]


def pid_of(run):
    return run.last("started")["pid"]


def test_a_run_runs_by_itself_and_says_what_it_did(workshop):
    run = begun(make(workshop, says="grüße 日本"), workshop)
    assert run.status() in ("running", "finished")
    assert ended(run) == "finished"
    events, _ = run.events()
    assert [events[0]["kind"], events[-1]["kind"]] == ["started", "finished"]
    assert events[0]["versions"]["python"]
    assert events[0]["versions"]["torch"]  # read from metadata: the worker had not imported anything yet
    view = run.view()
    assert (view.attempt, view.step, view.summary, view.warnings, view.bad_lines) == (1, 5, "walked 5 steps", ("grüße 日本",), 0)
    assert "grüße 日本" in run.log_tail()
    with pytest.raises(ValueError, match="is finished; duplicate it"):
        supervisor.start(run, workshop)


def test_stop_saves_and_resume_goes_on_where_it_was(workshop):
    run = begun(make(workshop, steps=200, pause_s=0.02), workshop)
    assert until(lambda: run.view().step > 0)
    run.command("sample", prompt="a cat")
    run.command("stop")
    assert ended(run) == "stopped"
    at = run.view().step
    assert 0 < at < 200
    assert [step for step, _ in run.checkpoints()] == [at]
    begun(run, workshop)
    assert until(lambda: run.view().attempt == 2 and run.view().step > at)  # the old Stop was not taken for a new one
    run.command("stop")
    assert ended(run) == "stopped"
    assert walked(run) == list(range(1, run.view().step + 1))
    assert len(run.view().samples) == 1  # nor was the old sample drawn again


def test_a_stop_in_the_very_moment_of_starting_is_not_lost(workshop):
    run = begun(make(workshop, steps=10_000), workshop)
    run.command("stop")
    assert ended(run) == "stopped"
    early = make(workshop, steps=10_000)
    journal.append(early.control_path, {"t": 1.0, "kind": "stop"})  # asked for after the parent measured, before the worker lived
    assert worker(early, workshop).wait() == 0
    assert early.status() == "stopped"


def worker(run, home, offset=0):
    return python("-m", "training.runs.worker", run.path, home.root, offset)


@posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_means_stop(workshop, number):
    run = make(workshop, steps=10_000)
    process = worker(run, workshop)
    assert until(lambda: run.view().step > 0)
    process.send_signal(number)
    assert process.wait() == 0
    assert run.status() == "stopped"
    assert run.checkpoints()


@pytest.mark.slow
@posix
def test_a_killed_run_is_interrupted_and_resumes(workshop):
    run = begun(make(workshop, steps=60, pause_s=0.02), workshop)
    assert until(lambda: run.view().step > 0)
    run.command("save")
    assert until(run.checkpoints)
    os.kill(pid_of(run), signal.SIGKILL)
    assert ended(run) == "interrupted"
    supervisor.tick(workshop)
    assert not alive(pid_of(run))  # collected, not a zombie
    assert "SIGKILL" in run.log_tail()
    saved = run.checkpoints()[-1][0]
    assert f"Press Resume to go on from step {saved}." in run.why()
    begun(run, workshop)
    assert ended(run) == "finished"
    assert walked(run)[saved - 60 :] == list(range(saved + 1, 61))


@posix
@pytest.mark.parametrize(
    ("how", "status", "words"),
    [
        ("value", "failed", "The picture 'a.png' is broken; remove it."),
        ("bug", "failed", "RuntimeError: shapes do not match and more lines with ***"),
        ("hinted", "failed", "The moon is in the wrong house. Turn it off and on again."),
        ("library", "failed", "A part of Easel could not be loaded: No module named 'no_such_library'"),
        ("quits", "failed", "SystemExit: a library gave up"),
        ("forgets", "failed", "the trouble job returned without a result"),
        ("segfault", "interrupted", "It crashed inside native code"),
        ("abort", "interrupted", "It crashed inside native code"),
        ("bus", "interrupted", "It crashed on a bus error"),
    ],
)
def test_each_bad_end_has_a_sentence(workshop, how, status, words):
    run = begun(make(workshop, "trouble", how=how), workshop)
    assert ended(run) == status
    supervisor.tick(workshop)
    assert words in run.why()
    if status == "failed":
        assert "Traceback" in run.view().trace
        assert "Traceback" in run.log_tail()
    else:
        assert "Fatal Python error" in run.log_tail()  # faulthandler's last words
    assert "abcdefghijklm" not in run.log_path.read_text() + run.events_path.read_text()


def test_a_job_whose_plugin_is_gone_or_broken_fails_with_a_sentence(workshop):
    run = make(workshop)
    (workshop.plugins / "jobs" / "walk.py").unlink()
    begun(run, workshop)
    assert ended(run) == "failed"
    assert "There is no jobs plugin called 'walk'" in run.why()


@posix
def test_a_child_that_outlives_its_worker_does_not_keep_the_run_running(workshop):
    run = begun(make(workshop, "trouble", how="orphan"), workshop)
    assert ended(run) == "interrupted"
    child = int((run.path / "child.txt").read_text())
    assert alive(child)
    os.kill(child, signal.SIGKILL)


@posix
def test_kill_ends_the_whole_tree(workshop):
    run = begun(make(workshop, "trouble", how="family"), workshop)
    assert until(lambda: (run.path / "child.txt").exists() and (run.path / "child.txt").read_text())
    children = [int(pid) for pid in (run.path / "child.txt").read_text().split()]
    run.command("stop")
    assert not supervisor.kill_offered(run)  # only after 30 s
    supervisor.kill(run)
    assert run.status() == "interrupted"
    assert until(lambda: not any(map(alive, [*children, pid_of(run)])), 5)


@pytest.mark.slow
def test_kill_never_hits_a_pid_that_belongs_to_somebody_else(workshop):
    run = begun(make(workshop), workshop)
    assert ended(run) == "finished"
    assert until(lambda: not run.locked())
    with pytest.raises(ValueError, match="not running"):
        supervisor.kill(run)
    bystander = python("-c", "import time; time.sleep(60)")
    started = run.last("started") | {"pid": bystander.pid, "attempt": 2}
    journal.append(run.events_path, started)
    other = holder(run.lock_path)
    with pytest.raises(ValueError, match="not on this computer"):
        supervisor.kill(run)
    assert alive(bystander.pid)
    for process in (bystander, other):
        process.kill()
        process.communicate()


def test_kill_is_offered_when_a_stop_is_not_heeded_for_30_s(workshop):
    run = begun(make(workshop, steps=10_000), workshop)
    journal.append(run.control_path, {"t": run.last("started")["t"] - 60, "kind": "stop"})  # an old attempt's
    assert not supervisor.kill_offered(run)
    supervisor.kill(run)
    started = run.last("started") | {"t": run.last("started")["t"] - 100, "attempt": 2}
    journal.append(run.events_path, started)
    other = holder(run.lock_path)
    journal.append(run.control_path, {"t": started["t"] + 60, "kind": "stop"})
    assert supervisor.kill_offered(run)
    other.kill()
    other.communicate()
    assert not supervisor.kill_offered(run)


@pytest.mark.slow
def test_of_two_starts_at_once_one_is_refused(workshop):
    run = make(workshop, steps=10_000)
    processes = [python("-c", START, workshop.root, run.id) for _ in range(2)]
    said = sorted(process.communicate()[0].strip() for process in processes)
    assert said[1] == "started"
    assert "is running already" in said[0]
    assert [e["kind"] for e in run.events()[0]].count("started") == 1
    refusals = []
    threads = [threading.Thread(target=lambda: refusals.append(refused(lambda: supervisor.start(run, workshop)))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all("is running already" in text for text in refusals)
    with pytest.raises(ValueError, match="is running"):
        delete(run)
    before = run.events_path.read_bytes()
    assert worker(run, workshop).wait() == supervisor.REFUSED  # not even a second worker gets in
    assert run.events_path.read_bytes().startswith(before)
    assert [e["kind"] for e in run.events()[0]].count("started") == 1


def refused(act):
    try:
        act()
    except ValueError as error:
        return str(error)
    return ""


@pytest.mark.slow
def test_a_run_outlives_the_app_and_the_next_app_finds_it(workshop):
    run = make(workshop, steps=10_000)
    app = python("-c", START, workshop.root, run.id)
    assert app.communicate()[0].strip() == "started"
    assert run.status() == "running"
    assert supervisor.running(workshop) == run
    at = run.view().step
    assert until(lambda: run.view().step > at)
    run.command("stop")
    assert ended(run) == "stopped"
    assert until(lambda: supervisor.running(workshop) is None)


def test_the_queue_goes_in_order_one_at_a_time(workshop):
    first, second, third = (make(workshop, name=name, steps=steps) for name, steps in (("zulu", 150), ("alpha", 10), ("mike", 10)))
    left = make(workshop, name="left")
    left.command("stop")
    assert supervisor.tick(workshop) == [first.id]
    assert supervisor.tick(workshop) == []
    assert supervisor.start(third, workshop) == "queued"  # pressed while another runs: it waits for its turn
    with pytest.raises(ValueError, match="'zulu' is running, and one run at a time"):
        supervisor.start(left, workshop)
    ticker = supervisor.Ticker(workshop, every_s=0.05)
    ticker.start()
    assert ended(third) == "finished"
    ticker.stop()
    ticker.join()
    runs = [first, second, third]
    assert [run.status() for run in runs] == ["finished"] * 3
    begins = [run.events()[0][0]["t"] for run in runs]
    ends = [run.events()[0][-1]["t"] for run in runs]
    assert begins[1] >= ends[0]
    assert begins[2] >= ends[1]
    assert left.status() == "stopped"


@pytest.mark.slow
def test_a_job_that_needs_no_gpu_goes_beside(workshop):
    walk = begun(make(workshop, steps=10_000), workshop)
    beside = make(workshop, "beside", pause_s=0.5)
    assert supervisor.start(beside, workshop, token=Secret(TOKEN)) == "started"
    assert supervisor.running(workshop) == walk
    assert ended(beside) == "finished"
    assert walk.status() == "running"


def test_the_queue_cannot_start_first_what_is_to_be_started_with_a_token(workshop):
    begun_by_queue = []

    def created():
        run = make(workshop, "beside", pause_s=0.1)
        queue = threading.Thread(target=lambda: begun_by_queue.extend(supervisor.tick(workshop)))
        queue.start()
        queue.join()
        made.append(run)
        return run

    made = []
    assert supervisor.start(created, workshop, token=Secret(TOKEN)) == "started"
    assert begun_by_queue == []
    assert ended(made[0]) == "finished" and made[0].view().summary == f"{len(TOKEN)} characters"


def environment(run):
    return json.loads((run.path / "environ.json").read_text())


@pytest.mark.slow
def test_a_worker_sees_no_token_and_no_log_shows_one(workshop):
    app_env = {**os.environ, "HF_TOKEN": TOKEN, "MY_PASSWORD": "x", "CUDA_API_KEY": "x", "EASEL_NOTE": f"see {TOKEN}", "OMP_NUM_THREADS": "2", "THP_MEM_ALLOC_ENABLE": "0", "LC_ALL": "C"}
    walk = make(workshop, steps=3)
    app = python("-c", START, workshop.root, walk.id, env=app_env)
    assert app.communicate()[0].strip() == "started"
    assert ended(walk) == "finished"
    seen = environment(walk)
    assert not [name for name in ("HF_TOKEN", "MY_PASSWORD", "CUDA_API_KEY", "EASEL_NOTE") if name in seen]
    assert (seen["OMP_NUM_THREADS"], seen["GOMP_SPINCOUNT"], seen["THP_MEM_ALLOC_ENABLE"]) == ("2", "1000", "0")
    assert seen["EASEL_HOME"] == str(workshop.root)
    assert (seen["PYTHONUNBUFFERED"], seen["PYTHONIOENCODING"]) == ("1", "utf-8")

    beside = make(workshop, "beside", pause_s=0.3)
    app = python("-c", START, workshop.root, beside.id, env=app_env)
    assert app.communicate()[0].strip() == "started"
    if os.path.exists(f"/proc/{pid_of(beside)}/cmdline"):
        with open(f"/proc/{pid_of(beside)}/cmdline", "rb") as file:
            assert TOKEN.encode() not in file.read()
    assert ended(beside) == "finished"
    assert beside.view().summary == f"{len(TOKEN)} characters"
    assert "the token is *** and shown as ***" in beside.log_tail()
    assert beside.view().warnings == ("a library says: wrong token ***",)
    for run in (walk, beside):
        for path in run.path.rglob("*"):
            assert path.is_dir() or TOKEN not in path.read_text(errors="replace"), path

    odd = make(workshop, "beside")
    supervisor.start(odd, workshop, token=Secret("no-token-of-the-usual-shape"))
    assert ended(odd) == "finished"
    assert "usual-shape" not in odd.log_path.read_text() + odd.events_path.read_text()


def test_a_worker_that_cannot_begin_fails_instead_of_being_started_for_ever(workshop, tmp_path):
    """An update that went wrong while the app was open has removed the worker."""
    broken = tmp_path / "broken easel"
    for package in ("training", "captioning"):
        shutil.copytree(REPO / package, broken / package, ignore=shutil.ignore_patterns("__pycache__"))
    run = make(workshop)
    code = f"import os; from training.runs import worker; os.remove(worker.__file__)\n{START}"
    app = subprocess.run([sys.executable, "-c", code, workshop.root, run.id], cwd=broken, check=True, capture_output=True, text=True)
    assert app.stdout.strip() == "started"
    assert run.status() == "failed"
    assert "could not begin; it ended with code 1" in run.why()
    assert "training.runs.worker" in run.view().trace
    assert supervisor.tick(workshop) == []


def test_a_token_waits_with_its_run_in_memory_and_reaches_that_worker_alone(workshop):
    """As on a Space, where whoever pressed Start brings the token for a gated base model, and another run is under way."""
    text = (workshop.plugins / "jobs" / "beside.py").read_text(encoding="utf-8")
    (workshop.plugins / "jobs" / "gated.py").write_text(text.replace("USES_GPU = False", "USES_GPU = True").replace('"beside"', '"gated"'), encoding="utf-8")
    ahead, waiting = make(workshop, steps=10_000), []
    assert supervisor.start(ahead, workshop) == "started"
    assert supervisor.start(lambda: waiting.append(make(workshop, "gated")) or waiting[0], workshop, token=Secret(TOKEN)) == "queued"
    assert not [p for p in workshop.root.rglob("*") if p.is_file() and TOKEN.encode() in p.read_bytes()]
    ahead.command("stop")
    assert ended(ahead) == "stopped" and until(lambda: not ahead.locked())
    assert supervisor.tick(workshop) == [waiting[0].id]
    assert ended(waiting[0]) == "finished" and waiting[0].view().summary == f"{len(TOKEN)} characters"
    assert supervisor._tokens == {}
