"""Runs checkpoint saves in forked children whose operating system misbehaves at one chosen operation.

`python faults.py ROOT ERRNO…` kills a save at every operation, lets every operation fail once with each ERRNO, notes the
order of all operations, and saves under a file size limit.  Only functions of `os` are wrapped; our own code runs as it is.
Prints one JSON line.  One process does it all, because importing torch takes longer than everything else.
"""

import json
import os
import shutil
import signal
import sys
from pathlib import Path

import torch

from training.engine import checkpoint

OPERATIONS = ("open", "write", "fsync", "close", "mkdir", "rename", "replace", "rmdir", "unlink")


def parts(step: int):
    """The files and state of one step: several groups, an odd size, a scalar, and more bytes than one write takes at once."""
    torch.manual_seed(step)
    adapter = {"down": torch.randn(16, 33), "up": torch.randn(33, 16).to(torch.bfloat16), "empty": torch.zeros(0, 4)}
    files = {"adapter": adapter, "ema": {"down": torch.randn(16, 33)}, "state": {"step": torch.tensor(step), "m": torch.randn(777)}}
    return files, {"step": step, "lr": 1e-4 / 3, "groups": [{"betas": [0.9, 0.999]}]}


def save(run: Path, step: int) -> Path:
    return checkpoint.save(run, step, *parts(step), config_hash="c" * 64, dataset_fingerprint="d" * 64)


def wrap(strike) -> None:
    """Every operation on files calls strike(number, name, real, args) in place of the real one."""
    count = 0

    def wrapped(name, real):
        def call(*args, **kwargs):
            nonlocal count
            count += 1
            return strike(count, name, real, args, kwargs)

        return call

    for name in OPERATIONS:
        setattr(os, name, wrapped(name, getattr(os, name)))


def child(work) -> tuple[int, str]:
    """(exit status, what work returned) of a forked child that runs `work`."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reader)
        real_write = os.write
        code = 0
        try:
            real_write(writer, str(work()).encode())
        except OSError as error:
            real_write(writer, f"OSError {error.errno}".encode())
            code = 1
        os._exit(code)
    os.close(writer)
    with open(reader, "rb") as pipe:
        text = pipe.read().decode()
    return os.waitpid(pid, 0)[1], text


def operations_of_a_save(run: Path) -> list[str]:
    def work():
        names = []

        def note(number, name, real, args, kwargs):
            names.append(name)
            return real(*args, **kwargs)

        wrap(note)
        save(run, 2)
        return ",".join(names)

    return child(work)[1].split(",")


def fresh(root: Path) -> Path:
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    save(root, 1)
    return root


def killed_at(run: Path, at: int, moment: str) -> str:
    """Dies at operation `at`: before it, half-way through a write, or after it."""

    def strike(number, name, real, args, kwargs):
        if number != at:
            return real(*args, **kwargs)
        if moment == "half" and name == "write":
            real(args[0], bytes(args[1])[: len(args[1]) // 2])
        if moment == "after":
            real(*args, **kwargs)
        os.kill(os.getpid(), signal.SIGKILL)

    def work():
        wrap(strike)
        return save(run, 2)

    status, _ = child(work)
    return "killed" if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL else f"status {status}"


def failed_at(run: Path, at: int, code: int) -> str:
    """What save says when operation `at` fails once with `code`, and what it left in the folder."""

    def strike(number, name, real, args, kwargs):
        if number == at:
            if name == "close":
                real(*args, **kwargs)  # a failing close has closed the handle all the same
            raise OSError(code, os.strerror(code))
        return real(*args, **kwargs)

    def work():
        wrap(strike)
        return save(run, 2).name

    _, text = child(work)
    return text


def contents(run: Path) -> dict[str, str]:
    """{relative path: hex bytes} of everything below the checkpoints folder."""
    folder = run / "checkpoints"
    return {str(p.relative_to(folder)): p.read_bytes().hex() for p in sorted(folder.rglob("*")) if p.is_file()}


def after(run: Path) -> dict:
    """What the next attempt finds and does: the newest checkpoint, then the same save once more."""
    names = sorted(p.name for p in (run / "checkpoints").iterdir())
    path, said = checkpoint.newest(run)
    step = checkpoint.load(path)[2]["step"]
    save(run, 2)
    return {"names": names, "newest": step, "said": said, "final": contents(run)}


def moments(operations: list[str], at: int) -> list[str]:
    """When to die at an operation.  After one is before the next, so that only the last has an "after"."""
    half = ["half"] if operations[at - 1] == "write" else []
    return ["before", *half, *(["after"] if at == len(operations) else [])]


def flushing(run: Path) -> list[list[str]]:
    """[operation, file or folder it acts on] of a whole save, in order; the temporary folder is called ".tmp"."""

    def work():
        log, names = [], {}

        def note(number, name, real, args, kwargs):
            done = real(*args, **kwargs)
            if name == "open":
                names[done] = Path(args[0]).name
            thing = names.get(args[0], "?") if name in ("write", "fsync", "close") else Path(args[0]).name
            log.append([name, ".tmp" if thing.startswith(".tmp") else thing])
            return done

        wrap(note)
        save(run, 2)
        return json.dumps(log)

    return json.loads(child(work)[1])


def limited(run: Path) -> dict:
    """A save under a real limit of the system on the size of a file, met in the middle of one."""
    import resource

    def work():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        return save(run, 2)

    return {"save": child(work)[1], **after(run)}


def killed(root: Path, operations: list[str]) -> list[dict]:
    cases = []
    for at in range(1, len(operations) + 1):
        for moment in moments(operations, at):
            run = fresh(root / "run")
            cases.append({"at": at, "save": killed_at(run, at, moment), **after(run)})
    return cases


def failed(root: Path, operations: list[str], code: int) -> list[dict]:
    cases = []
    for at, name in enumerate(operations, start=1):
        run = fresh(root / "run")
        cases.append({"at": at, "name": name, "save": failed_at(run, at, code), **after(run)})
    return cases


def main() -> None:
    root = Path(sys.argv[1])
    operations = operations_of_a_save(fresh(root / "count"))
    report = {
        "operations": operations,
        "whole": contents(root / "count"),
        "killed": killed(root, operations),
        "failed": {code: failed(root, operations, int(code)) for code in sys.argv[2:]},
        "order": flushing(fresh(root / "order")),
        "limited": limited(fresh(root / "limited")),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
