"""Checkpoints: whole or absent.

checkpoints/000500/ holds one .safetensors for each group of tensors, state.json (canonical JSON) and MANIFEST.json with
the size and sha256 of each of them.  It is written in `.tmp-…`, flushed to the disk file by file, and renamed: the
rename is the moment at which it exists.  No pickle, and equal states give equal bytes.

Only the worker that holds the run's lock calls save, newest and prune; anyone may call saved, verify and load.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..config import SavePart
from ..files import fsync_folder
from ..outside import is_folder, open_plain, read_json

MANIFEST = "MANIFEST.json"
STATE = "state.json"
MAX_MANIFEST_BYTES, MAX_STATE_BYTES = 4 << 20, 1 << 30
KEEP_AT_LEAST = 2  # a damaged newest one must leave another to fall back to
SPARE_BYTES = 16 * 2**20  # left free beside a checkpoint, for events, log and samples
CHUNK_BYTES = 4 * 2**20
DISK_FULL = {errno.ENOSPC, errno.EDQUOT}  # the errors after which waiting for free space helps

# torch's dtypes as the safetensors format names them
DTYPES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
    torch.float8_e4m3fn: "F8_E4M3", torch.float8_e5m2: "F8_E5M2",
    torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8",
    torch.uint64: "U64", torch.uint32: "U32", torch.uint16: "U16", torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip


def due(rule: SavePart, step: int, since_s: float) -> bool:
    """Whether a checkpoint is written after `step` optimizer steps.  since_s: seconds since the last one, or since the start.

    One that the clock asks for waits where the next by step is near, within a tenth of `every`: it would be written twice.
    """
    by_step = rule.every > 0 and step > 0 and step % rule.every == 0
    near = rule.every > 0 and -step % rule.every <= rule.every // 10
    by_time = rule.every_minutes > 0 and since_s >= 60 * rule.every_minutes and not near
    return by_step or by_time


def save(
    run_dir: Path,
    step: int,
    files: dict[str, dict[str, Tensor]],
    state: dict[str, Any],
    config_hash: str,
    dataset_fingerprint: str,
    headers: dict[str, dict[str, str]] | None = None,
) -> Path:
    """The folder checkpoints/<step> with one .safetensors for each of `files`, and `state`: on the disk for good when this returns.

    files: {"adapter": {name: tensor}, "ema": …, "state": …}.  state: JSON-able, without NaN.  headers: metadata of a file's
    safetensors header, by the same names.  A whole checkpoint of the same step, config and dataset is left as it is and
    returned.  Raises OSError (errno ENOSPC where the disk is full) with nothing half-written to be seen, so that the same
    call can be made again.
    """
    folder = _folder(run_dir)
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        fsync_folder(run_dir)
    target = folder / f"{step:06d}"
    state_bytes = canonical_json(state)
    if target.exists():
        manifest = _manifest_or_none(target)
        same = manifest and (manifest["config_hash"], manifest["dataset_fingerprint"]) == (config_hash, dataset_fingerprint)
        if same and not verify(target):
            fsync_folder(folder)  # the call before may have failed at just this
            return target
        _set_aside(target)

    needed = len(state_bytes) + sum(_size_bytes(tensors) for tensors in files.values())
    _check_free(folder, needed)
    temporary = folder / f".tmp-{step:06d}-{secrets.token_hex(4)}"
    try:
        os.mkdir(temporary)
        written = {f"{name}.safetensors": _write(temporary / f"{name}.safetensors", _encode(files[name], (headers or {}).get(name, {}))) for name in sorted(files)}
        written[STATE] = _write(temporary / STATE, iter([state_bytes]))
        manifest = {"step": step, "files": written, "config_hash": config_hash, "dataset_fingerprint": dataset_fingerprint}
        _write(temporary / MANIFEST, iter([canonical_json(manifest)]))
        fsync_folder(temporary)
        os.rename(temporary, target)
        fsync_folder(folder)
    except BaseException as error:
        shutil.rmtree(temporary, ignore_errors=True)  # on a disk that fails even this, the next newest() sweeps it
        _explain(error, folder, needed)
        raise
    return target


def saved(run_dir: Path) -> list[tuple[int, Path]]:
    """(step, folder) of each checkpoint whose manifest is there and whose files have the right sizes; oldest first."""
    return [(step, path) for step, path in _numbered(run_dir) if _looks_whole(path)]


def newest(run_dir: Path) -> tuple[Path | None, list[str]]:
    """The newest whole checkpoint, every byte checked, and what there is to say about the ones that are not whole.

    A damaged one is set aside as `.bad-…` and the one before it is taken.  None where no whole one is left.  Also
    sweeps away what an attempt that died has left half-written or half-deleted.
    """
    _sweep(run_dir)
    said = []
    for step, path in reversed(_numbered(run_dir)):
        trouble = verify(path)
        if not trouble:
            return path, [f"{text}; training goes on from step {step}" for text in said]
        aside = _set_aside(path)
        said.append(f"The checkpoint of step {step} is damaged ({trouble}) and was set aside as checkpoints/{aside.name}")
    return None, [f"{text}; no whole checkpoint is left, so training would start at step 0" for text in said]


def verify(path: Path) -> str:
    """What is wrong with the checkpoint in `path`; empty where every file has the size and sha256 of its manifest."""
    try:
        manifest = _read_manifest(path)
        for name, entry in manifest["files"].items():
            size_bytes = (path / name).lstat().st_size
            if size_bytes != entry["size"]:
                return f"{name} has {size_bytes} bytes instead of {entry['size']}"
            with open_plain(path / name) as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != entry["sha256"]:
                    return f"the contents of {name} have changed since it was written"
    except FileNotFoundError as error:
        return f"{Path(error.filename).name} is missing"
    except OSError as error:
        return f"{Path(error.filename or path).name} cannot be read: {error.strerror}"
    except ValueError as error:
        return str(error)
    return ""


def load(path: Path) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any], dict[str, Any]]:
    """(files, state, manifest) as they were given to save, on the CPU.  Raises ValueError where the checkpoint is not whole."""
    trouble = verify(path)
    if trouble:
        raise ValueError(f"the checkpoint {path.name} is damaged: {trouble}; choose another one")
    manifest = _read_manifest(path)
    files = {name.removesuffix(".safetensors"): _read_tensors(path / name) for name in manifest["files"] if name != STATE}
    return files, read_json(path / STATE, MAX_STATE_BYTES), manifest


def changes(manifest: dict[str, Any], config_hash: str, dataset_fingerprint: str) -> list[str]:
    """What is no longer as it was when the checkpoint was written, a sentence each; empty where a resume is exact."""
    said = []
    if manifest["config_hash"] != config_hash:
        said.append("The settings are not the ones that this checkpoint was trained with")
    if manifest["dataset_fingerprint"] != dataset_fingerprint:
        said.append("The pictures, captions or masks have changed since this checkpoint was written")
    return said


def prune(run_dir: Path, keep: int, passing: Callable[[int], bool] = lambda step: False, named: Collection[int] = ()) -> list[int]:
    """The steps whose checkpoints were deleted: all whole ones but the newest `keep`, of which there are at least two, and those that are named.

    passing: whether that of a step was only written so that nothing is lost; such a one goes as soon as two newer ones are there.
    """
    whole = saved(run_dir)
    kept = [(step, path) for step, path in whole[:-KEEP_AT_LEAST] if not passing(step)] + whole[-KEEP_AT_LEAST:]
    kept = kept[-max(keep, KEEP_AT_LEAST) :]
    dropped = [pair for pair in whole if pair not in kept and pair[0] not in named]
    for _, path in dropped:
        trash = path.with_name(f".trash-{path.name}-{secrets.token_hex(4)}")
        os.rename(path, trash)  # gone at once: no half-deleted folder ever carries a number
        shutil.rmtree(trash)
    return [step for step, _ in dropped]


def canonical_json(value: Any) -> bytes:
    """`value` as JSON with sorted keys and no spaces: equal values give equal bytes.  Raises ValueError for NaN and infinity."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def _folder(run_dir: Path) -> Path:
    return run_dir / "checkpoints"


def _numbered(run_dir: Path) -> list[tuple[int, Path]]:
    """(step, folder) of everything that carries a number, whole or not; oldest first."""
    folder = _folder(run_dir)
    if not is_folder(folder):
        return []
    return sorted((int(p.name), p) for p in folder.iterdir() if re.fullmatch(r"[0-9]{6,15}", p.name) and is_folder(p))


def _sweep(run_dir: Path) -> None:
    folder = _folder(run_dir)
    for pattern in (".tmp-*", ".trash-*"):
        for leftover in folder.glob(pattern):
            shutil.rmtree(leftover)


def _set_aside(path: Path) -> Path:
    aside = path.with_name(f".bad-{path.name}-{secrets.token_hex(4)}")
    os.rename(path, aside)
    fsync_folder(path.parent)
    return aside


def _read_manifest(path: Path) -> dict[str, Any]:
    """The manifest of a checkpoint.  Raises FileNotFoundError, or ValueError where it is not one of ours."""
    try:
        manifest = read_json(path / MANIFEST, MAX_MANIFEST_BYTES)
        names, step = set(manifest["files"]), manifest["step"]
        entries = [(entry["size"], entry["sha256"]) for entry in manifest["files"].values()]
        texts = [manifest["config_hash"], manifest["dataset_fingerprint"], *(sha256 for _, sha256 in entries)]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ValueError(f"{MANIFEST} cannot be read") from None
    if not all(isinstance(text, str) for text in texts) or any(Path(name).name != name for name in names) or STATE not in names:
        raise ValueError(f"{MANIFEST} is not one that Easel wrote")
    if path.name.isdigit() and int(path.name) != step:
        raise ValueError(f"{MANIFEST} speaks of step {step}")
    return manifest


def _manifest_or_none(path: Path) -> dict[str, Any] | None:
    try:
        return _read_manifest(path)
    except (OSError, ValueError):
        return None


def _looks_whole(path: Path) -> bool:
    manifest = _manifest_or_none(path)
    try:
        return manifest is not None and all((path / name).lstat().st_size == entry["size"] for name, entry in manifest["files"].items())
    except OSError:
        return False


def _check_free(folder: Path, needed: int) -> None:
    if shutil.disk_usage(folder).free < needed + SPARE_BYTES:
        raise OSError(errno.ENOSPC, _full_sentence(folder, needed))


def _explain(error: BaseException, folder: Path, needed: int) -> None:
    """Raises the same error in words for a person where the disk is full; else returns."""
    if isinstance(error, OSError) and error.errno in DISK_FULL:
        raise OSError(error.errno, _full_sentence(folder, needed)) from error


def _full_sentence(folder: Path, needed: int) -> str:
    free = shutil.disk_usage(folder).free
    missing = needed + SPARE_BYTES - free
    if missing <= 0:
        return f"the disk that holds {folder} takes no more, though {_mb(free)} are free: a quota is used up, or it holds too many files; delete some"
    return f"the disk that holds {folder} is full: {_mb(needed + SPARE_BYTES)} are needed and {_mb(free)} are free; delete at least {_mb(missing)} there"


def _mb(size_bytes: int) -> str:
    return f"{-(-size_bytes // 10**6)} MB"  # rounded up


def _size_bytes(tensors: dict[str, Tensor]) -> int:
    header = 8 + 4096 + sum(len(name) + 128 for name in tensors)
    return header + sum(t.numel() * t.element_size() for t in tensors.values())


def _encode(tensors: dict[str, Tensor], metadata: dict[str, str]) -> Iterator[bytes | memoryview]:
    """The bytes of a .safetensors file, a piece at a time, so that no second copy of the model is in memory.

    Layout: https://huggingface.co/docs/safetensors (8 bytes little-endian length, JSON header, the tensors end to end).
    The library's own writer orders by alignment and then by name, and so does this: every tensor starts aligned.
    """
    names = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    header: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))} if metadata else {}
    offset = 0
    for name in names:
        tensor = tensors[name]
        if tensor.dtype not in DTYPES:
            raise ValueError(f"the tensor {name} has the type {tensor.dtype}, which a .safetensors file cannot hold")
        end = offset + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    yield len(text).to_bytes(8, "little") + text
    for name in names:
        if tensors[name].numel():
            yield memoryview(tensors[name].detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())


def _read_tensors(path: Path) -> dict[str, Tensor]:
    """Every tensor of a file, copied out of it: a mapped file could not be deleted on Windows, and dies when the disk does."""
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118 not a dict
    except SafetensorError as error:
        raise ValueError(f"{path.parent.name}/{path.name} is not a .safetensors file: {error}") from None


def _write(path: Path, pieces: Iterator[bytes | memoryview]) -> dict[str, Any]:
    """{size, sha256} of a new file that is on the disk when this returns; its mode follows the umask."""
    digest, size_bytes = hashlib.sha256(), 0
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    try:
        for piece in pieces:
            digest.update(piece)
            size_bytes += len(piece)
            for start in range(0, len(piece), CHUNK_BYTES):
                _write_all(handle, memoryview(piece)[start : start + CHUNK_BYTES])
        os.fsync(handle)
    finally:
        os.close(handle)
    return {"size": size_bytes, "sha256": digest.hexdigest()}


def _write_all(handle: int, chunk: memoryview) -> None:
    while len(chunk):
        chunk = chunk[os.write(handle, chunk) :]

