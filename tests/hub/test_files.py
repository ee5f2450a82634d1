"""A file is whole or as it was before."""

import os
import stat

import pytest

from training.files import replacing, write_atomic


def test_a_file_appears_whole_with_its_mode(nasty):
    write_atomic(nasty / "a.bin", b"one")
    write_atomic(nasty / "a.bin", b"two", mode=0o600)
    assert (nasty / "a.bin").read_bytes() == b"two" and os.listdir(nasty) == ["a.bin"]
    if os.name != "nt":
        assert stat.S_IMODE((nasty / "a.bin").stat().st_mode) == 0o600
        write_atomic(nasty / "b.bin", b"")
        assert stat.S_IMODE((nasty / "b.bin").stat().st_mode) == 0o644


def test_a_failure_leaves_what_was_there_and_no_rubbish(nasty):
    write_atomic(nasty / "a.bin", b"one")
    with pytest.raises(KeyboardInterrupt), replacing(nasty / "a.bin") as file:
        file.write(b"half")
        raise KeyboardInterrupt
    with pytest.raises(OSError):
        write_atomic(nasty / "missing" / "a.bin", b"x")
    assert (nasty / "a.bin").read_bytes() == b"one" and os.listdir(nasty) == ["a.bin"]
