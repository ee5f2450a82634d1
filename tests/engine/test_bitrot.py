"""A disk that forgets: what is prepared, unpacked or downloaded never changes a LoRA without a word."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from training.engine.cache import DAMAGED, SUM, Absent, Cache, fill
from training.formats import basehash

from .conftest import state_files


def flip(path: Path, at: int = -5) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 4
    path.write_bytes(data)


def with_nan(path: Path) -> None:
    tensors = load_file(path)
    for tensor in tensors.values():
        tensor.view(-1)[0] = float("nan") if tensor.is_floating_point() else 1
    save_file(tensors, path, {SUM: "0" * 64})


def as_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


HARMS = {
    "one bit of a number": flip,
    "one bit of the header": lambda p: flip(p, 20),
    "cut off": lambda p: p.write_bytes(p.read_bytes()[:-40]),
    "empty": lambda p: p.write_bytes(b""),
    "other names": lambda p: save_file({"else": torch.zeros(3)}, p),
    "NaN": with_nan,
    "a folder": as_folder,
    "another entry": lambda p: shutil.copyfile(next(p.parent.glob(f"*2{p.suffix}")), p),
    "as an earlier Easel wrote it": lambda p: save_file(load_file(p), p),
}


@pytest.mark.parametrize("harm", HARMS.values(), ids=HARMS)
def test_a_damaged_entry_is_set_aside_said_once_and_made_again(harm, tmp_path):
    first = Cache(tmp_path)
    things = [(f"{0:063x}{n}", n) for n in range(3)]
    encode = lambda some: [{"latents": torch.full((2, 3), float(n)), "mask": torch.tensor([n > 0])} for n in some]
    fill(first, things, encode, 2, lambda *_: None)
    before = {k: p.read_bytes() for k, _ in things if (p := first.path(k))}
    for k, _ in things[:2]:
        harm(first.path(k))
    said, made = [], []
    again = Cache(tmp_path, said.append)
    fill(again, things, lambda some: made.extend(some) or encode(some), 1, lambda *_: None)
    assert made == [0, 1] and set(said) == {DAMAGED} and {k: again.path(k).read_bytes() for k, _ in things} == before
    assert len(list((tmp_path / "damaged").iterdir())) == 2
    flip(again.path(things[0][0]))
    with pytest.raises(Absent, match="gone from"):
        Cache(tmp_path).get(things[0][0])


def test_numbers_that_are_none_are_never_kept(tmp_path):
    with pytest.raises(ValueError, match="not finite"):
        Cache(tmp_path).put("a" * 64, {"text": torch.tensor([float("inf")])})


@pytest.mark.slow
def test_a_rotten_cache_ends_in_the_same_lora(lab):
    """Every entry harmed, each in another way: the same checkpoint to the bit, and one warning."""
    changes = dict(steps=2, sample__every=0, data__flip=True)
    whole = lab.run(**changes)
    harms = [harm for name, harm in HARMS.items() if name != "another entry"]
    for n, path in enumerate(sorted(lab.home.cache.glob("??/*.safetensors"))):
        harms[n % len(harms)](path)
    again = lab.run(**changes)
    assert again.status() == "finished" and state_files(again, 2) == state_files(whole, 2)
    assert [w for w in again.view().warnings if "damaged" in w] == [DAMAGED] and not whole.view().warnings


@pytest.mark.slow
def test_a_base_that_changed_since_a_run_began_is_said_and_can_be_accepted(lab, base, tmp_path):
    other = shutil.copytree(base, tmp_path / "base")
    run = lab.run(stop_at=3, model__source=str(other), sample__every=0)
    file = next((other / "unet").glob("*.safetensors"))
    tensors = load_file(file)
    tensors["conv_in.weight"].view(-1)[1] += 0.01
    save_file(tensors, file, {"format": "pt"})
    with pytest.raises(ValueError, match="base model is not the one.*unet/diffusion_pytorch_model.safetensors changed.*resume with the changes accepted"):
        lab.go(run)
    run.accept_changes()
    lab.go(run)
    assert any("as you accepted" in w for w in run.view().warnings) and run.status() == "finished"


@pytest.mark.slow
def test_a_run_without_a_record_of_its_base_resumes(lab):
    run = lab.run(stop_at=3, sample__every=0)
    os.unlink(run.path / "base.json")
    assert lab.go(run).status() == "finished"


def test_a_known_hash_is_not_reckoned_again_and_damage_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(basehash, "SMALL_BYTES", 10)
    file, memory, told = tmp_path / "w.safetensors", tmp_path / "memory.json", []
    file.write_bytes(b"x" * 1000)
    look = lambda: basehash.hashes({"unet/w": file}, memory, lambda done, of: told.append((done, of)))
    first = look()
    assert told == [(1000, 1000)] and look() == first and len(told) == 1
    there = file.stat()
    flip(file)
    os.utime(file, ns=(there.st_atime_ns, there.st_mtime_ns))  # as if nobody had written it
    with pytest.raises(ValueError, match="unet/w is damaged on this disk.*nobody wrote it since"):
        look()
    os.utime(file)  # somebody did
    assert look() != first
    memory.write_text("[" * 100_000)
    assert look()["unet/w"] and len(told) == 4


def test_a_blob_of_the_hubs_cache_is_what_its_name_says(tmp_path):
    blobs = tmp_path / "blobs"
    blobs.mkdir()
    (blobs / "x").write_bytes(b"weights")
    name = basehash.sha256_of(blobs / "x")
    (blobs / "x").rename(blobs / name)
    link = tmp_path / "model.safetensors"
    link.symlink_to(blobs / name)
    look = lambda: basehash.hashes({"vae/model": link}, tmp_path / "memory.json", lambda *_: None)
    assert look() == {"vae/model": name}
    flip(blobs / name)
    with pytest.raises(ValueError, match="not what the Hub holds; delete"):
        look()
