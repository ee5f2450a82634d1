"""Tensors of .safetensors files, one at a time: read out of a mapped file, and written one after the other.  numpy only, no torch.

A file of any size costs the memory of its largest tensor, so a whole base model passes through a few gigabytes of RAM.
"""

from __future__ import annotations

import hashlib
import json
import math
import mmap
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from ..files import replacing
from ..outside import open_plain
from .basemodel import read_header
from .modelspec import HASH_KEY

SIZES = {"F64": 8, "F32": 4, "BF16": 2, "F16": 2, "F8_E4M3": 1, "F8_E5M2": 1, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}  # bytes a value
RESIDENT_BYTES = 256 << 20  # of one mapped file, at most some more than this
PLAIN = {"F64": np.float64, "F32": np.float32, "F16": np.float16}
FLOATS = (*PLAIN, "BF16", "F8_E4M3", "F8_E5M2")


class Mapped:
    """One file of weights.  entries: {name: {dtype, shape, data_offsets}}; metadata: its texts.  Raises ValueError, OSError."""

    def __init__(self, file: Path):
        self.file = Path(file)
        self.entries = read_header(self.file)
        with open_plain(self.file, linked=True) as stream:
            length = int.from_bytes(stream.read(8), "little")
            told = json.loads(stream.read(length)).get("__metadata__", {})
        self.metadata = {str(k): str(v) for k, v in told.items()} if isinstance(told, dict) else {}
        self._start = 8 + length
        self._bytes = np.memmap(self.file, np.uint8, mode="r")
        self._given = 0  # bytes handed out since pages were last let go

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self.entries[name]["shape"])

    def dtype(self, name: str) -> str:
        """As the format names it, e.g. "BF16"."""
        return self.entries[name]["dtype"]

    def raw(self, name: str) -> np.ndarray:
        """[bytes] uint8, mapped: nothing is read until it is used."""
        begin, end = self.entries[name]["data_offsets"]
        self._given += end - begin
        if self._given > RESIDENT_BYTES and hasattr(mmap, "MADV_DONTNEED"):
            self._bytes._mmap.madvise(mmap.MADV_DONTNEED)  # type: ignore[attr-defined]  # pages that were read count as ours until then; whoever still looks at one reads it again
            self._given = end - begin
        return self._bytes[self._start + begin : self._start + end]

    def tensor(self, name: str) -> np.ndarray:
        """The tensor as fp32 (fp64 stays); bf16 and fp8 become fp32, which holds them exactly.  Raises ValueError for whole numbers."""
        return decoded(self.raw(name), self.dtype(name), self.shape(name), f"{self.file.name}: {name}")

    def rows(self, name: str, first: int, last: int) -> np.ndarray:
        """The same of rows first to last."""
        shape = self.shape(name)
        row = math.prod(shape[1:]) * SIZES[self.dtype(name)]
        return decoded(self.raw(name)[first * row : last * row], self.dtype(name), (last - first, *shape[1:]), f"{self.file.name}: {name}")


def decoded(data: np.ndarray, dtype: str, shape: tuple[int, ...], what: str) -> np.ndarray:
    """Bytes as numbers, a copy."""
    if dtype in PLAIN:
        array = data.view(PLAIN[dtype]) if data.ctypes.data % SIZES[dtype] == 0 else np.frombuffer(data.tobytes(), PLAIN[dtype])
        return array.reshape(shape).astype(np.float64 if dtype == "F64" else np.float32)
    if dtype == "BF16":
        return (np.frombuffer(data.tobytes(), np.uint16).astype(np.uint32) << 16).view(np.float32).reshape(shape)
    if dtype in ("F8_E4M3", "F8_E5M2"):
        return _FLOAT8[dtype][data].reshape(shape)
    raise ValueError(f"{what} is in the format {dtype}, which holds no plain numbers of weights; get a version in F32, F16 or BF16")


def encoded(array: np.ndarray, dtype: str, what: str) -> bytes:
    """Numbers as bytes of a format, rounded to nearest, ties to even.  Raises ValueError where a finite value does not fit."""
    array = np.ascontiguousarray(array, np.float64 if dtype == "F64" else np.float32)
    if dtype in ("F64", "F32"):
        return array.tobytes()
    if dtype == "BF16":
        bits = array.view(np.uint32)
        rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)
        _check_fits(np.isfinite(array), (rounded & 0x7F80) != 0x7F80, dtype, what)
        return np.where(np.isnan(array), np.uint16(0x7FC0), rounded).tobytes()
    if dtype == "F16":
        with np.errstate(over="ignore"):
            small = array.astype(np.float16)
        _check_fits(np.isfinite(array), np.isfinite(small), dtype, what)
        return small.tobytes()
    raise ValueError(f"{what} is in the format {dtype}, which is not written here; use a version of the model in F32, F16 or BF16")


def _check_fits(finite: np.ndarray, still: np.ndarray, dtype: str, what: str) -> None:
    if (finite & ~still).any():
        raise ValueError(f"{what} would hold values that do not fit {dtype}; choose a smaller strength, or F32")


def _float8(exponent_bits: int, mantissa_bits: int, bias: int, infinities: bool) -> np.ndarray:
    """The 256 values of an 8-bit format (Micikevicius et al. 2022: E4M3 has no infinities, E5M2 is IEEE's)."""
    values = np.empty(256, np.float32)
    for code in range(256):
        exponent, mantissa = (code >> mantissa_bits) & ((1 << exponent_bits) - 1), code & ((1 << mantissa_bits) - 1)
        top = (1 << exponent_bits) - 1
        if infinities and exponent == top:
            size = math.inf if mantissa == 0 else math.nan
        elif not infinities and exponent == top and mantissa == (1 << mantissa_bits) - 1:
            size = math.nan
        elif exponent == 0:
            size = mantissa * 2.0 ** (1 - bias - mantissa_bits)
        else:
            size = (1 + mantissa / 2**mantissa_bits) * 2.0 ** (exponent - bias)
        values[code] = -size if code & 0x80 else size
    return values


_FLOAT8 = {"F8_E4M3": _float8(4, 3, 7, False), "F8_E5M2": _float8(5, 2, 15, True)}


def write(target: Path, plan: Mapping[str, tuple[str, tuple[int, ...]]], parts: Iterable[tuple[str, bytes | np.ndarray]], metadata: Mapping[str, str]) -> None:
    """`target`, whole or not at all.  plan: {name: (dtype, shape)}; parts: (name, bytes) in the plan's order, one in memory at a time.

    modelspec's hash of the tensors is among the metadata.  Raises ValueError where what comes is not what was planned.
    """
    header, at = {}, 0
    for name, (dtype, shape) in plan.items():
        size = math.prod(shape) * SIZES[dtype]
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    told = dict(sorted({**metadata, HASH_KEY: "0x" + "0" * 64}.items()))
    text = _header_text(header, told)
    digest, expected = hashlib.sha256(), iter(plan)
    with replacing(target) as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name, data in parts:
            data = memoryview(np.ascontiguousarray(data)).cast("B") if isinstance(data, np.ndarray) else data  # type: ignore[arg-type]
            begin, end = header[name]["data_offsets"]
            if next(expected, None) != name or len(data) != end - begin:  # type: ignore[operator]
                raise ValueError(f"{name} is not what was to be written here")
            digest.update(data)
            file.write(data)
        if next(expected, None) is not None:
            raise ValueError("fewer tensors came than were to be written")
        stamped = _header_text(header, {**told, HASH_KEY: "0x" + digest.hexdigest()})
        file.seek(8)
        file.write(stamped)


def _header_text(header: dict, told: dict[str, str]) -> bytes:
    text = json.dumps({"__metadata__": told, **header}, ensure_ascii=False, separators=(",", ":")).encode()
    return text + b" " * (-len(text) % 8)  # the format keeps tensors aligned


class Folder:
    """All weights of one part in diffusers' layout, over its shards.  Raises ValueError."""

    def __init__(self, files: Iterable[Path]):
        self.files = [Mapped(f) for f in files]
        self.where = {name: file for file in self.files for name in file.entries}

    def __iter__(self) -> Iterator[str]:
        return iter(self.where)

    def __contains__(self, name: str) -> bool:
        return name in self.where

    def shape(self, name: str) -> tuple[int, ...]:
        return self.where[name].shape(name)

    def dtype(self, name: str) -> str:
        return self.where[name].dtype(name)

    def tensor(self, name: str) -> np.ndarray:
        return self.where[name].tensor(name)
