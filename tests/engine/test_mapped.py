"""Windows renames, replaces and deletes no file that a process has mapped; here the system's own list of mappings tells what would fail there."""

import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/maps")]

_watching: list[list[str]] = []


def _mapped() -> set[str]:
    return {line.split(maxsplit=5)[5].strip() for line in Path("/proc/self/maps").read_text().splitlines() if "/" in line}


def _hook(event, args):
    if not _watching or event not in ("os.rename", "os.remove", "os.link"):
        return
    touched = [Path(str(a if not isinstance(a, bytes) else a.decode())).absolute() for a in (args[:2] if event == "os.rename" else args[:1])]
    for file in _mapped():
        if any(Path(file) == path or path in Path(file).parents for path in touched):
            _watching[-1].append(f"{event} {file}")


@pytest.fixture
def in_use():
    """What was renamed, replaced or deleted while it was mapped."""
    if not getattr(sys, "_easel_watches_maps", False):  # a hook cannot be taken away again
        sys.addaudithook(_hook)
        sys._easel_watches_maps = True
    _watching.append([])
    yield _watching[-1]
    _watching.pop()


def test_the_watch_sees_what_windows_would_refuse(in_use, tmp_path):
    import torch
    from safetensors.torch import load_file, save_file

    save_file({"a": torch.zeros(4096)}, tmp_path / "a.safetensors")
    held = load_file(tmp_path / "a.safetensors")
    (tmp_path / "a.safetensors").rename(tmp_path / "b.safetensors")
    assert in_use and held


@pytest.mark.parametrize("kind", ["lora", "full"])
def test_nothing_is_renamed_or_deleted_while_it_is_mapped(lab, in_use, kind):
    made = lab.make(steps=6, adapter__type=kind, save__every=1, save__keep=2)
    lab.go(made, stop_at=3)
    lab.go(made)
    assert made.result() and made.last("finished")
    assert in_use == []
