"""Checkpoints are whole or absent, whatever happens to the process, the disk or the bytes."""

import errno
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.engine.faults import contents, parts, save
from training.config import SavePart
from training.engine import checkpoint
from training.files import CANNOT

REPO = Path(__file__).resolve().parents[2]
FAULTS = Path(__file__).with_name("faults.py")
posix = pytest.mark.skipif(os.name == "nt", reason="needs fork and POSIX signals")


def same(a, b):
    return {n: {k: (t.dtype, t.shape, t.tolist()) for k, t in f.items()} for n, f in a.items()} == {
        n: {k: (t.dtype, t.shape, t.tolist()) for k, t in f.items()} for n, f in b.items()
    }


def misbehave(root, *codes):
    done = subprocess.run(
        [sys.executable, str(FAULTS), str(root), *map(str, codes)],
        check=False, capture_output=True, text=True, cwd=REPO, env=os.environ | {"PYTHONPATH": str(REPO)}, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def faults(tmp_path_factory):
    """What faults.py found, a full disk among the errors."""
    return misbehave(tmp_path_factory.mktemp("faults"), errno.ENOSPC)


def flip_a_byte(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_what_is_saved_is_loaded(tmp_path):
    files, state = parts(500)
    path = save(tmp_path, 500)
    assert path == tmp_path / "checkpoints" / "000500"
    assert sorted(p.name for p in path.iterdir()) == [
        "MANIFEST.json", "adapter.safetensors", "ema.safetensors", "state.json", "state.safetensors",
    ]  # fmt: skip
    loaded, loaded_state, manifest = checkpoint.load(path)
    assert same(loaded, files) and loaded_state == state
    assert manifest["step"] == 500 and manifest["config_hash"] == "c" * 64 and manifest["dataset_fingerprint"] == "d" * 64
    assert checkpoint.newest(tmp_path) == (path, [])


def test_the_files_are_plain_safetensors(tmp_path):
    files, _ = parts(1)
    files["adapter"] |= {"one": torch.tensor(3.5), "flags": torch.tensor([True, False, True]), "turned": torch.randn(3, 5).t()}
    files["none"] = {}
    path = checkpoint.save(tmp_path, 1, files, {}, "c", "d")
    for name in files:
        assert same({name: load_file(path / f"{name}.safetensors")}, {name: files[name]})
    save_file({k: t.contiguous() for k, t in files["adapter"].items()}, tmp_path / "theirs.safetensors")
    assert (path / "adapter.safetensors").read_bytes() == (tmp_path / "theirs.safetensors").read_bytes()


def test_equal_states_give_equal_bytes(tmp_path):
    files, state = parts(7)
    turned = {name: dict(reversed(tensors.items())) for name, tensors in reversed(files.items())}
    checkpoint.save(tmp_path / "a", 7, files, state, "c", "d")
    checkpoint.save(tmp_path / "b", 7, turned, dict(reversed(state.items())), "c", "d")
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


@posix
def test_modes_follow_the_umask(tmp_path):
    path = save(tmp_path, 1)
    mask = os.umask(0)
    os.umask(mask)
    for file in path.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o666 & ~mask


def test_a_whole_checkpoint_is_never_written_twice(tmp_path):
    path = save(tmp_path, 3)
    before = {p.name: p.stat().st_mtime_ns for p in path.iterdir()}
    assert save(tmp_path, 3) == path
    assert {p.name: p.stat().st_mtime_ns for p in path.iterdir()} == before


def test_a_damaged_one_of_the_same_step_is_set_aside(tmp_path):
    flip_a_byte(save(tmp_path, 3) / "adapter.safetensors")
    path = save(tmp_path, 3)
    assert checkpoint.verify(path) == ""
    assert len(list(path.parent.glob(".bad-000003-*"))) == 1


def test_one_of_other_settings_is_set_aside(tmp_path):
    save(tmp_path, 3)
    path = checkpoint.save(tmp_path, 3, *parts(4), config_hash="other", dataset_fingerprint="d" * 64)
    assert same(checkpoint.load(path)[0], parts(4)[0])


@pytest.mark.parametrize("name", ["adapter.safetensors", "ema.safetensors", "state.safetensors", "state.json", "MANIFEST.json"])
def test_one_flipped_byte_is_found_and_the_one_before_is_taken(tmp_path, name):
    older, newer = save(tmp_path, 100), save(tmp_path, 200)
    flip_a_byte(newer / name)
    path, said = checkpoint.newest(tmp_path)
    assert path == older
    assert len(said) == 1 and "step 200 is damaged" in said[0] and "goes on from step 100" in said[0]
    assert not newer.exists() and len(list(newer.parent.glob(".bad-000200-*"))) == 1
    assert checkpoint.newest(tmp_path) == (older, [])


@pytest.mark.parametrize("harm", ["truncate", "delete", "no manifest", "empty manifest", "another step", "outside path"])
def test_other_damage(tmp_path, harm):
    older, newer = save(tmp_path, 100), save(tmp_path, 200)
    if harm == "truncate":
        os.truncate(newer / "state.safetensors", 50)
    elif harm == "delete":
        (newer / "ema.safetensors").unlink()
    elif harm == "no manifest":
        (newer / "MANIFEST.json").unlink()
    elif harm == "empty manifest":
        (newer / "MANIFEST.json").write_text("{}")
    elif harm == "another step":
        (newer / "MANIFEST.json").write_bytes((older / "MANIFEST.json").read_bytes())
    else:
        manifest = json.loads((newer / "MANIFEST.json").read_bytes())
        manifest["files"]["../000100/state.json"] = manifest["files"]["state.json"]
        (newer / "MANIFEST.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match="is damaged"):
        checkpoint.load(newer)
    assert checkpoint.newest(tmp_path)[0] == older


def test_when_none_is_left_it_is_said(tmp_path):
    assert checkpoint.newest(tmp_path) == (None, [])
    flip_a_byte(save(tmp_path, 5) / "state.json")
    path, said = checkpoint.newest(tmp_path)
    assert path is None and "would start at step 0" in said[0]


def test_leftovers_of_dead_attempts_are_swept(tmp_path):
    path = save(tmp_path, 5)
    for name in (".tmp-000006-abcd", ".trash-000001-abcd"):
        (path.parent / name).mkdir()
        (path.parent / name / "adapter.safetensors").write_bytes(b"half")
    assert checkpoint.newest(tmp_path) == (path, [])
    assert [p.name for p in path.parent.iterdir()] == ["000005"]


def test_prune_keeps_the_newest_whole_ones(tmp_path):
    for step in (100, 200, 300, 400, 500):
        save(tmp_path, step)
    (tmp_path / "checkpoints" / "000500" / "MANIFEST.json").unlink()  # does not count as one that is kept
    assert checkpoint.prune(tmp_path, 3) == [100]
    assert checkpoint.prune(tmp_path, 0) == [200]
    assert [step for step, _ in checkpoint.saved(tmp_path)] == [300, 400]
    assert not list((tmp_path / "checkpoints").glob(".trash-*"))


def test_what_was_only_written_for_safety_goes_when_two_newer_ones_are_there(tmp_path):
    for step in (3, 10, 13, 20, 23):
        save(tmp_path, step)
    assert checkpoint.prune(tmp_path, 10, lambda step: step % 10 > 0) == [3, 13]
    assert [step for step, _ in checkpoint.saved(tmp_path)] == [10, 20, 23]
    assert not list((tmp_path / "checkpoints").glob(".trash-*"))


def test_steps_sort_as_numbers(tmp_path):
    save(tmp_path, 999_999)
    assert checkpoint.newest(tmp_path)[0].name == "999999"
    save(tmp_path, 1_000_000)
    assert checkpoint.newest(tmp_path)[0].name == "1000000"


def test_a_changed_config_or_dataset_is_said(tmp_path):
    manifest = checkpoint.load(save(tmp_path, 5))[2]
    assert checkpoint.changes(manifest, "c" * 64, "d" * 64) == []
    assert "settings" in checkpoint.changes(manifest, "x", "d" * 64)[0]
    assert "captions or masks" in checkpoint.changes(manifest, "c" * 64, "x")[0]


def test_nan_in_the_state_is_refused(tmp_path):
    with pytest.raises(ValueError):
        checkpoint.save(tmp_path, 1, {}, {"loss": float("nan")}, "c", "d")
    assert checkpoint.newest(tmp_path) == (None, [])


def test_when_a_checkpoint_is_due():
    rule = SavePart(every=50, every_minutes=10)
    assert [s for s in range(120) if checkpoint.due(rule, s, 1.0)] == [50, 100]
    assert checkpoint.due(rule, 7, 600.0)
    assert checkpoint.due(rule, 94, 600.0) and not checkpoint.due(rule, 95, 600.0)  # the one of step 100 is near
    assert checkpoint.due(SavePart(every=0, every_minutes=10), 95, 600.0)
    assert not checkpoint.due(SavePart(every=0, every_minutes=0), 50, 1e6)


@posix
def test_every_byte_is_flushed_before_the_rename(faults):
    """A power cut: what was not fsynced before the rename may be lost after it, so the order is what protects."""
    log = [tuple(entry) for entry in faults["order"]]
    commit = log.index(("rename", ".tmp"))
    files = ["adapter.safetensors", "ema.safetensors", "state.safetensors", "state.json", "MANIFEST.json"]
    flushed = [log.index(("fsync", name)) for name in files]
    assert flushed == sorted(flushed), "the manifest comes last"
    for name, at in zip(files, flushed, strict=True):
        assert max(i for i, entry in enumerate(log) if entry == ("write", name)) < at < commit
    assert flushed[-1] < log.index(("fsync", ".tmp")) < commit < log.index(("fsync", "checkpoints"))


@posix
def test_killed_at_every_operation_of_a_save(faults):
    assert len(faults["operations"]) > 20 and {"mkdir", "open", "write", "fsync", "close", "rename"} <= set(faults["operations"])
    for case in faults["killed"]:
        assert case["save"] == "killed", case["at"]
        assert case["said"] == [], "a kill never leaves something that looks like a checkpoint and is not one"
        assert case["newest"] == (2 if "000002" in case["names"] else 1)
        assert case["final"] == faults["whole"], "the same save afterwards ends as if nothing had happened"
    assert {case["newest"] for case in faults["killed"]} == {1, 2}


def check_failures(cases, code, whole):
    for case in cases:
        no_sync = code in CANNOT and case["name"] in ("open", "fsync") and case["save"] == "000002"  # of the folder, after the rename: some disks have no such call
        assert no_sync or case["save"] == f"OSError {code}", (case["at"], case["name"])
        committed = "000002" in case["names"]
        assert case["names"] == (["000001", "000002"] if committed else ["000001"]), "nothing half-written is left"
        assert case["newest"] == (2 if committed else 1) and case["said"] == []
        assert case["final"] == whole, "trying again succeeds"


@posix
def test_every_operation_meeting_a_full_disk(faults):
    check_failures(faults["failed"][str(errno.ENOSPC)], errno.ENOSPC, faults["whole"])


@posix
@pytest.mark.slow
def test_every_operation_failing_otherwise(tmp_path):
    codes = (errno.EIO, errno.EROFS, errno.EACCES)
    report = misbehave(tmp_path, *codes)
    for code in codes:
        check_failures(report["failed"][str(code)], code, report["whole"])


@posix
def test_a_file_size_limit_leaves_nothing(faults):
    """A real limit of the system, met in the middle of a file."""
    assert faults["limited"]["save"] == f"OSError {errno.EFBIG}"
    assert faults["limited"]["names"] == ["000001"]
    assert faults["limited"]["final"] == faults["whole"]


@pytest.fixture
def small_disk(tmp_path):
    """A real file system of 32 MB that holds 12 files and folders."""
    disk = tmp_path / "disk"
    disk.mkdir()
    may = hasattr(os, "geteuid") and os.geteuid() == 0 and sys.platform == "linux"
    mount = ["mount", "-t", "tmpfs", "-o", "size=32m,nr_inodes=12", "tmpfs", str(disk)]
    if not may or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("mounting a small disk needs root and the right to mount; test_a_file_size_limit_leaves_nothing runs without")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_really_full_disk(small_disk):
    first = checkpoint.save(small_disk, 1, {"adapter": parts(1)[0]["adapter"]}, {}, "c", "d")
    (small_disk / "filler").write_bytes(bytes(24 * 2**20))
    with pytest.raises(OSError, match="is full: .* MB are needed and .* MB are free; delete at least") as caught:
        checkpoint.save(small_disk, 2, {}, {}, "c", "d")
    assert caught.value.errno == errno.ENOSPC
    assert checkpoint.newest(small_disk) == (first, [])
    (small_disk / "filler").unlink()
    assert checkpoint.save(small_disk, 2, {}, {}, "c", "d").name == "000002"


def test_a_disk_that_is_full_in_the_middle_of_a_save(small_disk):
    """Free space there is, but no room for one more file: the check cannot see it, the save meets it."""
    first = save(small_disk, 1)
    with pytest.raises(OSError, match="takes no more") as caught:
        save(small_disk, 2)
    assert caught.value.errno == errno.ENOSPC
    assert [p.name for p in first.parent.iterdir()] == ["000001"]
    assert checkpoint.newest(small_disk) == (first, [])
    (first / "ema.safetensors").unlink()
    assert checkpoint.save(small_disk, 2, {}, {}, "c", "d").name == "000002"


def test_a_tensor_that_the_format_cannot_hold(tmp_path):
    with pytest.raises(ValueError, match="cannot hold"):
        checkpoint.save(tmp_path, 1, {"adapter": {"w": torch.zeros(2, dtype=torch.complex64)}}, {}, "c", "d")
    assert list((tmp_path / "checkpoints").iterdir()) == []


def test_no_pickle():
    source = Path(checkpoint.__file__).read_text()
    assert not any(word in source for word in ("torch.save", "torch.load", "import pickle"))
