import threading

from training.runs.lock import RunLock, is_held

from .conftest import python

HOLD = "import sys; from pathlib import Path; from training.runs.lock import RunLock; l = RunLock(Path(sys.argv[1])); print(l.acquire(0.2), flush=True); sys.stdin.read()"


def holder(path):
    """Another process that holds the lock until its stdin closes."""
    process = python("-c", HOLD, path, stdin=-1)
    assert process.stdout.readline().strip() == "True"
    return process


def test_a_lock_is_held_until_its_process_ends_however_it_ends(nasty):
    path = nasty / "worker.lock"
    assert not is_held(path)
    assert not path.exists()  # asking makes nothing
    other = holder(path)
    assert is_held(path)
    assert not RunLock(path).acquire(wait_s=0.1)
    other.kill()
    other.communicate()
    assert not is_held(path)
    assert RunLock(path).acquire(wait_s=0)


def test_asking_about_an_own_lock_does_not_lose_it(tmp_path):
    """POSIX drops a process's lock when any handle of the file is closed."""
    path = tmp_path / "lock"
    mine = RunLock(path)
    assert mine.acquire()
    assert is_held(path)
    assert not RunLock(path).acquire(wait_s=0)
    other = python("-c", HOLD, path, stdin=-1)
    assert other.communicate()[0].strip() == "False"
    mine.release()
    assert not is_held(path)


def test_askers_do_not_take_each_other_for_the_owner(tmp_path):
    path = tmp_path / "lock"
    path.touch()
    code = "import sys; from pathlib import Path; from training.runs.lock import is_held; print(any(is_held(Path(sys.argv[1])) for _ in range(3000)))"
    askers = [python("-c", code, path) for _ in range(2)]
    assert [asker.communicate()[0].strip() for asker in askers] == ["False", "False"]


def test_a_lock_that_is_let_go_while_one_waits_is_taken(tmp_path):
    path = tmp_path / "lock"
    first, second = RunLock(path), RunLock(path)
    assert first.acquire()
    threading.Timer(0.3, first.release).start()
    assert second.acquire(wait_s=5)
    second.release()
