"""Latents and text embeddings on disk, by hashes of what they were made from: never by file names or times."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from ..files import write_atomic

VERSION = 1  # raise when the way something is encoded changes


def key(*parts: object) -> str:
    """A name for what is made from the parts, the same on every machine."""
    return hashlib.sha256(json.dumps([VERSION, *parts], sort_keys=True, default=str).encode()).hexdigest()


class Cache:
    """Small sets of tensors in one folder, each under its key, written whole or not at all."""

    def __init__(self, folder: Path):
        self.folder = folder

    def path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.safetensors"

    def __contains__(self, key: str) -> bool:
        return self.path(key).is_file()

    def put(self, key: str, tensors: dict[str, Tensor]) -> None:
        path = self.path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, save({k: v.detach().cpu().contiguous() for k, v in tensors.items()}))

    def get(self, key: str) -> dict[str, Tensor]:
        """The tensors.  Raises KeyError when they are absent or damaged; a damaged file is removed."""
        path = self.path(key)
        try:
            return load_file(path)
        except FileNotFoundError:
            raise KeyError(key) from None
        except (SafetensorError, OSError):
            os.unlink(path)
            raise KeyError(key) from None


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
        if not _whole(cache, name):
            missing.setdefault(name, thing)
    names = list(missing)
    told(0, len(names))
    with torch.no_grad():
        for at in range(0, len(names), batch):
            some = names[at : at + batch]
            for name, tensors in zip(some, encode([missing[n] for n in some]), strict=True):
                cache.put(name, tensors)
            told(min(at + batch, len(names)), len(names))


def _whole(cache: Cache, name: str) -> bool:
    if name not in cache:
        return False
    try:
        cache.get(name)
    except KeyError:
        return False
    return True
