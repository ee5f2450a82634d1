import ast
import errno
import os
from pathlib import Path

import pytest

from training.runs import death, journal
from training.runs.events import RunView
from ui.language import extract, heard

from .conftest import make
from .test_events import event


@pytest.mark.parametrize(
    ("error", "sentence", "hint"),
    [
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "The graphics card ran out of memory.", "smaller batch"),
        (type("OutOfMemoryError", (RuntimeError,), {})("x"), "The graphics card ran out of memory.", "smaller batch"),
        (RuntimeError("CUDA error: out of memory"), "The graphics card ran out of memory.", "smaller batch"),
        (RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"), "The graphics card ran out of memory.", "smaller batch"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), "The graphics card ran out of memory.", "smaller batch"),
        (RuntimeError("std::bad_alloc"), "ran out of memory (RAM)", "Close other programs"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "ran out of memory (RAM)", "Close other programs"),
        (RuntimeError("CUDA error: unspecified launch failure"), "The graphics card was lost while it worked", "Press Resume"),
        (RuntimeError("CUDA error: uncorrectable ECC error encountered"), "The graphics card was lost while it worked", "Press Resume"),
        (RuntimeError("level_zero backend failed with error: 20 (UR_RESULT_ERROR_DEVICE_LOST)"), "The graphics card was lost while it worked", "Press Resume"),
        (OSError(errno.EIO, "Input/output error", "/mnt/stick/x"), "The disk no longer answers (/mnt/stick/x)", "Plug it in again"),
        (OSError(errno.ESTALE, "Stale file handle"), "The disk no longer answers: Stale file handle.", "bring its network back"),
        (MemoryError(), "The computer ran out of memory (RAM).", "Close other programs"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), "ran out of memory (RAM)", "Close other programs"),
        (OSError(errno.ENOSPC, "No space left on device", "/"), "The disk is full", "Free some space"),
        (RuntimeError("SafetensorError: I/O error: No space left on device (os error 28)"), "The disk is full", "Free some space"),
        (ModuleNotFoundError("No module named 'torch'"), "could not be loaded: No module named 'torch'", "launcher"),
        (RuntimeError("CUDA error: no kernel image is available"), "The graphics card refused to work", "driver"),
        (ValueError("2 pictures have no caption;\n caption them"), "2 pictures have no caption; caption them", ""),
        (PermissionError(errno.EACCES, "Permission denied", "x.txt"), "Permission denied: x.txt", "details"),
        (KeyError("step"), "KeyError: 'step'", "details"),
        (RuntimeError(), "RuntimeError", "details"),
        (RuntimeError("y" * 5000), "RuntimeError: yyy", "details"),
    ],
)
def test_an_exception_becomes_one_sentence_and_a_next_step(error, sentence, hint):
    said, next_step = death.of_exception(error)
    assert sentence in said
    assert hint in next_step
    assert "\n" not in said
    assert len(said) <= 500


def cut_off(home, log="", boot_id=None, oom_kills=-1):
    """A run whose worker fell silent at step 3 with step 2 saved; log is what stands in log.txt of its last attempt."""
    run = make(home)
    journal.append(run.events_path, event("started", boot_id=death.boot_id() if boot_id is None else boot_id, oom_kills=oom_kills))
    journal.append(run.events_path, event("step", step=3))
    folder = run.path / "checkpoints" / "000002"
    folder.mkdir(parents=True)
    (folder / "MANIFEST.json").write_text("{}")
    attempts = [death.ATTEMPT_LINE.format(attempt=n, time="2026-01-31 14:20:05", pid=7) for n in (1, 2)]
    run.log_path.write_text(f"{attempts[0]}\nFatal Python error: Segmentation fault\n{attempts[1]}\n{log}\n")
    return run


def ended(how, oom_kills=0):
    return death.ENDED_LINE.format(how=how, oom_kills=oom_kills)


@pytest.mark.parametrize(
    ("left", "sentence"),
    [
        ({"boot_id": "another"}, "The computer was restarted while it ran at step 3."),
        ({"log": "OSError: [Errno 28] No space left on device"}, "The disk is full ("),
        ({"log": "Fatal Python error: Segmentation fault"}, "crashed inside native code at step 3"),
        ({"log": "Windows fatal exception: access violation"}, "crashed inside native code"),
        ({"log": ended(death.how_it_ended(-11))}, "crashed inside native code"),
        ({"log": ended(death.how_it_ended(0xC0000005))}, "crashed inside native code"),
        ({"log": ended(death.how_it_ended(-7))}, "bus error at step 3: often a full disk"),
        ({"log": "Fatal Python error: Bus error"}, "bus error"),
        ({"log": "Fatal Python error: Aborted"}, "native code at step 3; the log"),
        ({"log": ended(death.how_it_ended(1))}, "could no longer write to its folder at step 3" if os.name != "nt" else "ended without a word"),
        ({"log": ended(death.how_it_ended(-9), 1)}, "ran out of memory (RAM) at step 3"),
        ({"log": ended(death.how_it_ended(-9), 0)}, "ended without a word at step 3 (killed or power cut)"),
        ({}, "ended without a word at step 3 (killed or power cut)"),
    ],
)
def test_what_a_silent_worker_left_behind_tells_why(workshop, left, sentence):
    run = cut_off(workshop, **left)
    assert run.status() == "interrupted"
    assert sentence in run.why()
    assert "Everything up to step 2 is saved." in run.why()
    assert run.why().endswith("Press Resume to go on from step 2.")


def test_a_count_of_memory_kills_that_rose_since_the_start_tells_too(workshop):
    now = death.oom_kills()
    if now < 0:
        pytest.skip("nobody counts here")
    assert "ended without a word" in cut_off(workshop, oom_kills=now).why()
    if now > 0:
        assert "ran out of memory (RAM)" in cut_off(workshop, oom_kills=now - 1).why()


def test_a_run_that_is_well_has_no_why(workshop):
    assert make(workshop).why() == ""


def test_this_computers_start_has_a_mark_that_stays():
    assert death.boot_id()
    assert death.boot_id() == death.boot_id()


@pytest.mark.parametrize("step", [0, 3])
@pytest.mark.parametrize("log", ["", "No space left on device", "Segmentation fault", "Bus error", "Fatal Python error", "The disk no longer answers", ended(death.how_it_ended(-9), 1)])
def test_each_of_its_sentences_is_one_that_another_language_finds_again(tmp_path, log, step):
    nodes = ast.walk(ast.parse(Path(death.__file__).read_text(encoding="utf-8")))
    known = [heard.pattern(text) for node in nodes if isinstance(node, (ast.Constant, ast.JoinedStr)) and (text := extract.pattern_of(node))]
    for saved in ([], [2]):
        said = heard.PART.split(death.of_silence(RunView(step=step, of=100), saved, log, str(tmp_path)))
        assert len(said) > 1 and [one for one in said if not any(p.expression.fullmatch(one) for p in known)] == []
