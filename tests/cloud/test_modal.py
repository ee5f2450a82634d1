"""Modal: what the real library makes of the app, without an account and without a network; and what is told where the library is not there."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cloud.test_hf_jobs import quiet
from training.away import checkout, shelf
from training.away.place import Refused
from training.cloud import modal as place
from training.cloud.modal import Options
from training.home import REPO

there = pytest.mark.skipif(importlib.util.find_spec("modal") is None, reason=f"the package modal is not installed; pip install modal=={place.VERSION}")
HANDLE = {"id": "ab12", "volume": "easel-ab12"}


def test_a_missing_package_is_told_with_the_very_command(monkeypatch, bundle):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert f"modal=={place.VERSION}" in (REPO / "requirements-dev.txt").read_text(encoding="utf-8").splitlines(), "it is tried with the version that it names"
    assert place.ready(Options()) == f"The package modal is missing: pip install modal=={place.VERSION}, then modal setup."
    with pytest.raises(Refused, match=r"pip install modal=="):
        place.send(bundle, Options(machine="L4"), {"id": "ab12"}, quiet)


def test_prices_are_by_the_hour_and_nothing_is_chosen_for_you():
    found = {m.name: m for m in place.machines(Options())}
    assert round(found["L4"].price_per_hour, 2) == 0.80 and round(found["H100"].price_per_hour, 2) == 3.95 and found["H200"].vram_bytes == 141 * 10**9
    assert round(found["L4:4"].price_per_hour, 2) == 3.20 and found["L4:4"].vram_bytes == 24 * 10**9 and len(found["L4:4"].cards) == 4 and "A10:4" in found
    for wrong in ("", "A10:8", "L4:3"):
        with pytest.raises(Refused, match=r"choose the card, as it is paid for by the second; Modal has: T4 \(about \$0.59 an hour\).*several of them, such as L4:4"):
            place.start(HANDLE, Options(machine=wrong), 60)


def test_what_leaves_is_said():
    assert "Hugging Face token goes along" in place.leaves(Options(token_along=True)) and "token" not in place.leaves(Options())
    assert "stays there" in place.leaves(Options(keep=True)) and "is deleted" in place.leaves(Options())


class Folder:
    """A store in a folder, which is Modal's volume too: counts what it is asked to show and to keep."""

    def __init__(self, folder: Path):
        self.folder, self.commits, self.reloads = folder, 0, 0

    def put(self, files) -> None:
        for name, source in files.items():
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name).write_bytes(source if isinstance(source, bytes) else source.read_bytes())

    def names(self, folder: str) -> dict[str, int]:
        return {p.name: p.stat().st_size for p in (self.folder / folder).glob("[!.]*")}

    def get(self, files) -> None:
        for name, target in files.items():
            target.write_bytes((self.folder / name).read_bytes())

    def reload(self) -> None:
        self.reloads += 1

    def commit(self) -> None:
        self.commits += 1


@pytest.fixture
def volume(tmp_path, monkeypatch) -> Folder:
    monkeypatch.setenv("EASEL_VENV", sys.prefix)
    monkeypatch.setenv("EASEL_CONTAINER", "1")
    monkeypatch.setenv("EASEL_SHELF_S", "0.1")
    return Folder(tmp_path / "volume")


def test_what_is_sent_there_runs_the_shelf_and_a_second_call_runs_nothing(volume, bundle, small_checkout, tmp_path):
    shelf.send(volume, bundle, "owner/base", quiet)
    train = place.entry(volume, str(volume.folder), str(tmp_path / "work"))
    assert train(0) == 0 and volume.commits >= 2 and volume.reloads >= 2
    seen = shelf.look(shelf.peek(volume, 0), "")
    assert seen.status == "finished" and seen.events.count(b"\n") == 2
    shelf.fetch(volume, "cat.safetensors", tmp_path / "home.safetensors")
    assert (tmp_path / "home.safetensors").read_bytes() == b"weights"
    told = volume.names("out")
    assert train(0) == 0 and volume.names("out") == told


def test_packages_that_cannot_be_installed_are_told_in_their_last_words(volume, bundle, small_checkout, tmp_path, monkeypatch):
    monkeypatch.delenv("EASEL_CONTAINER")
    install = checkout.REPO / "launchers" / "install.py"
    install.write_text("import sys\nprint('Installing')\nprint('The disk is full: 12 GB are missing.')\nsys.exit(1)\n")
    shelf.send(volume, bundle, "owner/base", quiet)
    assert place.entry(volume, str(volume.folder), str(tmp_path / "work"))(0) == 1
    seen = shelf.look(shelf.peek(volume, 0), "")
    assert seen.status == "failed" and seen.why.endswith("on the other machine: The disk is full: 12 GB are missing.") and "Installing" in seen.log


def test_what_arrived_damaged_is_neither_run_there_nor_taken_here(volume, bundle, small_checkout, tmp_path):
    shelf.send(volume, bundle, "owner/base", quiet)
    train = place.entry(volume, str(volume.folder), str(tmp_path / "work"))
    digest, _ = bundle.files["datasets/cats/a.png"]
    good = (volume.folder / "objects" / digest).read_bytes()
    (volume.folder / "objects" / digest).write_bytes(good[::-1])
    assert train(0) == 1 and "cats/a.png arrived damaged on the other machine" in shelf.look(shelf.peek(volume, 0), "").why
    (volume.folder / "objects" / digest).write_bytes(good)
    for report in (volume.folder / "out").iterdir():
        report.unlink()
    assert train(0) == 0
    digest, _ = shelf.listing(volume)["cat.safetensors"]
    (volume.folder / "objects" / digest).write_bytes(b"somethi")
    shelf.fetch(volume, "cat.safetensors", tmp_path / "home.safetensors")
    assert not (tmp_path / "home.safetensors").exists()


@there
@pytest.mark.slow
@pytest.mark.parametrize("card", ["T4", "A100-80GB", "B200", "L4:8"])
def test_the_real_library_takes_the_app(card):
    app = place.app(HANDLE, Options(machine=card), 5400)
    assert app.name == "easel-ab12" and list(app._local_state.functions) == ["train"] and app._local_state.tags == {"app": "easel", "run": "ab12"}


@there
@pytest.mark.slow
def test_what_is_sent_there_needs_nothing_of_ours(tmp_path):
    """Pickled by the library as it does it, and read again by a Python that has none of our packages."""
    from modal._serialization import serialize

    pickled = tmp_path / "train.pickle"
    pickled.write_bytes(serialize(place.entry(None, place.SHELF, place.WORK)))
    code = f"from modal._serialization import deserialize\nprint(deserialize(open({str(pickled)!r}, 'rb').read(), None).__name__)\nimport sys\nprint('training' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.stdout.split() == ["train", "False"], done.stderr


@there
def test_without_a_token_it_says_what_to_run(monkeypatch, bundle, tmp_path):
    assert place.ready(Options()) == "Nobody is signed in to Modal on this computer: run 'modal setup' once."
    with pytest.raises(Refused, match="does not accept the token of this computer: run 'modal setup'"):
        place.send(bundle, Options(machine="L4"), {"id": "ab12"}, quiet)
