"""Latents and text embeddings on disk, by hashes of what they were made from: never by file names or times.

A disk forgets: one flipped bit in an entry would end in another LoRA without a word.  So each entry carries a hash of its key, its
names and its numbers, which is compared once in a run, before the entry is first used.  One that does not hold is set aside, said, and
made again; what is made from the same picture by the same encoder is the same to the bit.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from ..files import write_atomic
from ..outside import read_plain
from ..runs import death
from .memory import release

VERSION = 1  # raise when the way something is encoded changes
MAX_BYTES = 4 << 30  # of one entry: a long clip at full size is a tenth of that
SUM = "easel_sha256"  # in the header's metadata
DAMAGED = (
    "Something that earlier runs had prepared was damaged on the disk (outputs/.cache); it was set aside in outputs/.cache/damaged and is "
    "made again. If this comes back, have the disk checked"
)


def key(*parts: object) -> str:
    """A name for what is made from the parts, the same on every machine."""
    return hashlib.sha256(json.dumps([VERSION, *parts], sort_keys=True, default=str).encode()).hexdigest()


class Absent(KeyError):
    """What was to be in the cache is not there."""

    hint = "Press Resume: it is made again."

    def __str__(self) -> str:
        return "Something that was prepared for this run is gone from outputs/.cache, or was damaged there meanwhile."


class Cache:
    """Small sets of tensors in one folder, each under its key, written whole or not at all.  warn: told once when an entry is damaged."""

    def __init__(self, folder: Path, warn: Callable[[str], None] = lambda text: None):
        self.folder, self.warn = folder, warn
        self.read_s = 0.0  # seconds that get() took so far
        self._whole: set[str] = set()  # looked at, and found to be what was put

    def path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.safetensors"

    def __contains__(self, key: str) -> bool:
        """Whether it is there and whole.  A damaged entry is set aside."""
        try:
            return key in self._whole or bool(self._checked(key))
        except KeyError:
            return False

    def put(self, key: str, tensors: dict[str, Tensor]) -> None:
        """Keeps the tensors.  Raises ValueError where they hold what is no number: nothing could be learnt from it."""
        if not _finite(tensors):
            raise ValueError("an encoder gave numbers that are not finite; set model.dtype to 'bf16' or 'fp32'")
        path = self.path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        tensors = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
        write_atomic(path, save(tensors, {SUM: _sum(key, tensors)}))
        self._whole.add(key)

    def get(self, key: str) -> dict[str, Tensor]:
        """The tensors.  Raises KeyError when they are absent or damaged; what is damaged is set aside."""
        since = time.monotonic()
        try:
            return self._got(key)
        finally:
            self.read_s += time.monotonic() - since

    def _got(self, key: str) -> dict[str, Tensor]:
        if key not in self._whole:
            return self._checked(key)
        try:
            return load(self.path(key).read_bytes())  # not mapped: Windows could not replace it then
        except (SafetensorError, OSError):
            self._whole.discard(key)
            return self._checked(key)

    def _checked(self, key: str) -> dict[str, Tensor]:
        path = self.path(key)
        try:
            data = read_plain(path, MAX_BYTES)
            size = int.from_bytes(data[:8], "little")
            said = json.loads(data[8 : 8 + size])["__metadata__"][SUM]
            tensors = load(data)
            if said != _sum(key, tensors) or not _finite(tensors):
                raise ValueError
        except FileNotFoundError:
            raise Absent(key) from None
        except (SafetensorError, OSError, ValueError, KeyError, TypeError, RecursionError):
            self._set_aside(path)
            raise Absent(key) from None
        self._whole.add(key)
        return tensors

    def _set_aside(self, path: Path) -> None:
        aside = self.folder / "damaged" / f"{path.stem[:16]}-{secrets.token_hex(4)}"
        aside.parent.mkdir(exist_ok=True)
        with contextlib.suppress(FileNotFoundError):  # another process that trains this run has just done it
            os.replace(path, aside)  # a folder too
        self.warn(DAMAGED)


def fill(
    cache: Cache,
    wanted: Sequence[tuple[str, object]],
    encode: Callable[[list[object]], Iterable[dict[str, Tensor]]],
    batch: int,
    told: Callable[[int, int], None],
) -> None:
    """Encodes what the cache lacks, `batch` things at a time.  wanted: (key, thing).  told(done, of) after each batch."""
    missing: dict[str, object] = {}
    for name, thing in wanted:
        if name not in missing and name not in cache:
            missing[name] = thing
    names = list(missing)
    told(0, len(names))
    at = 0
    with torch.no_grad():
        while at < len(names):
            some = names[at : at + batch]
            try:
                for name, tensors in zip(some, encode([missing[n] for n in some]), strict=True):
                    cache.put(name, tensors)
            except Exception as error:
                if len(some) == 1 or not death.ran_out(error):
                    raise
                batch = -(-len(some) // 2)
            else:
                at += len(some)
                told(at, len(names))
                continue
            release()  # out here nothing of what failed is held any more
            cache.warn(f"Memory ran out while {len(some)} were encoded at once; it goes on with {batch} at a time, which changes nothing but the time")


def _sum(key: str, tensors: dict[str, Tensor]) -> str:
    """A hash of everything that matters of an entry."""
    digest = hashlib.sha256(key.encode())
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(memoryview(tensor.reshape(-1).view(torch.uint8).numpy()) if tensor.numel() else b"")
    return digest.hexdigest()


def _finite(tensors: dict[str, Tensor]) -> bool:
    return all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values() if tensor.is_floating_point())
