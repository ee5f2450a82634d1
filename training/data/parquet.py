"""Parquet files that hold pictures, as datasets on the Hub do: taken apart in a child process with limits, each picture then looked at like any other.

    python -m training.data.parquet FILE FOLDER

The child needs pyarrow, which does not come with Easel.  It writes the pictures, as they are, and a metadata.jsonl with their captions into FOLDER,
and one JSON line for each file: its name there, what it is called, and why it cannot be used.
"""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..outside import open_plain
from .gate import REPO
from .pictures import MAX_FILE_BYTES, SUFFIXES
from .tables import CONTROL_KEYS, MASK_KEYS, texts
from .zips import MAX_ENTRIES, Entry

SUFFIX = ".parquet"
MISSING = "holds its pictures in Parquet, which Easel reads where the package pyarrow is: run “pip install pyarrow” in its environment, then add this again"
PICTURES = ("image", "img", "picture", "photo", "target", "target_img", "edited_image", "edited", "output_image", "after", "jpg", "jpeg", "png", "webp")  # columns, the one that is learnt first
CONTROLS = (*CONTROL_KEYS, "conditioning", "control_image", "control", "source", "source_image", "source_img", "input_image", "original_image", "original", "before")
MASKS = (*MASK_KEYS, "mask_image", "mask_img")
MEMORY_BYTES = 8 * 1024**3  # a row group is read whole, and pyarrow reserves much that it never uses
CPU_S = 900
GROWTH = 4  # times a file's size that its pictures may take: they are compressed already
SPARE_BYTES = 100_000_000  # and this much more, for small files
BATCH = 8  # rows in memory at a time
_NOT_PICTURES, _FULL = 3, 4  # exit codes
_SIGNS = ((b"\xff\xd8\xff", ".jpg"), (b"\x89PNG", ".png"), (b"GIF8", ".gif"), (b"BM", ".bmp"), (b"II*\0", ".tif"), (b"MM\0*", ".tif"))


class NoPictures(ValueError):
    """A Parquet file of something else."""


def can_read() -> bool:
    """Whether Parquet is read here."""
    return find_spec("pyarrow") is not None


def unpack(source: Path, into: Path) -> Iterator[Entry]:
    """Each picture of a Parquet file, and the table with their captions, its content in a file of `into`.  Raises NoPictures, ValueError."""
    if not can_read():
        raise ValueError(MISSING)
    keep = ("PATH", "SYSTEMROOT", "WINDIR", "TEMP", "TMP", "TMPDIR", "LD_LIBRARY_PATH", "PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV")
    env = {name: os.environ[name] for name in keep if name in os.environ} | {"PYTHONUTF8": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    child = subprocess.Popen(
        [sys.executable, "-m", "training.data.parquet", os.path.abspath(source), os.path.abspath(into)],
        cwd=REPO, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
    )  # fmt: skip
    with child:
        try:
            count = 0
            for count, line in enumerate(child.stdout, 1):  # type: ignore[arg-type]
                at, name, reason = json.loads(line)
                path = into / at
                yield Entry("", name, None if reason or not at.isalnum() else path, reason)
            code = child.wait()
        finally:
            child.kill()
    if code == _NOT_PICTURES:
        raise NoPictures(f"{source.name} holds no pictures")
    if count:
        _keep_whole_lines(into / "table")
        yield Entry("", "metadata.jsonl", into / "table")
    if code:
        why = "does not fit on the disk; free some space and add it again" if code == _FULL else "is a damaged Parquet file, or one that asks too much of this computer"
        raise ValueError(f"{source.name} {why}" + (f"; the {count} pictures before that are used" if count else ""))


def _keep_whole_lines(table: Path) -> None:
    """A child that ended early may have left half a line, for which the whole table would be refused."""
    with open_plain(table) as file:
        data = file.read()
    if (whole := data.rfind(b"\n") + 1) < len(data):
        os.truncate(table, whole)


def _suffix(data: bytes, said: str) -> str:
    """The ending that fits what a picture begins with, else the one that it had."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return ".webp"
    found = next((suffix for sign, suffix in _SIGNS if data.startswith(sign)), "")
    own = Path(said).suffix.lower()
    return own if own in SUFFIXES else found or ".png"


def _holds_pictures(kind: Any) -> bool:
    """Whether an Arrow type is a picture's: bytes, or the struct of datasets' Image with `bytes`."""
    import pyarrow as pa

    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or (pa.types.is_struct(kind) and any(kind.field(n).name == "bytes" for n in range(kind.num_fields)))


def _column(names: list[str], wanted: tuple[str, ...]) -> str:
    lower = {name.lower(): name for name in names}
    return next((lower[key] for key in wanted if key in lower), "")


def _bytes(value: Any) -> tuple[bytes, str]:
    """(the bytes, the path that is said) of one cell."""
    if isinstance(value, Mapping):
        return value.get("bytes") or b"", str(value.get("path") or "")
    return value or b"", ""


def _take_apart(source: Path, into: Path) -> int:
    """Writes everything, and tells it.  An exit code."""
    import pyarrow.parquet as pq

    with open_plain(source, linked=True) as file:
        left = GROWTH * os.fstat(file.fileno()).st_size + SPARE_BYTES
        found = pq.ParquetFile(file)
        schema = found.schema_arrow
        holding = [field.name for field in schema if _holds_pictures(field.type)]
        picture = _column(holding, PICTURES) or (holding[0] if len(holding) == 1 else "")
        if not picture:
            return _NOT_PICTURES
        beside = {"control": _column([h for h in holding if h != picture], CONTROLS), "mask": _column([h for h in holding if h != picture], MASKS)}
        names: set[str] = set()
        with open(into / "table", "w", encoding="utf-8", buffering=1) as table:  # by the line: of a child that is killed, what it told is written
            for number, row in enumerate(r for batch in found.iter_batches(BATCH, columns=[n for n in schema.names if n not in holding or n in (picture, *beside.values())]) for r in batch.to_pylist()):
                if number >= MAX_ENTRIES:
                    _tell("", source.name, f"holds more than {MAX_ENTRIES} pictures, which is the most; those before are used")
                    return 0
                data, said = _bytes(row[picture])
                name = said.replace("\\", "/").rpartition("/")[2] or f"{source.stem}-{number:05}"
                reason = "names a picture that lies elsewhere" if not data else f"is {len(data) / 1e6:.0f} MB large; {MAX_FILE_BYTES // 10**6} MB is the most" if len(data) > MAX_FILE_BYTES else ""
                stem = Path(name).stem
                while stem in names:
                    stem = f"{number:05}-{stem}"
                names.add(stem)
                if reason:
                    _tell("", name, reason)
                    continue
                told = {"file_name": f"{stem}{_suffix(data, said)}", "captions": list(texts({k.lower(): v for k, v in row.items() if k not in holding}))}
                pieces = [(f"{number:05}", told["file_name"], data)]
                for role, key in (("control", "conditioning_image_file_name"), ("mask", "mask_file_name")):
                    other = _bytes(row[beside[role]])[0] if beside[role] else b""
                    if 0 < len(other) <= MAX_FILE_BYTES:
                        told[key] = f"{stem}.{role}{_suffix(other, '')}"
                        pieces.append((f"{number:05}{role}", told[key], other))
                left -= sum(len(piece) for _, _, piece in pieces)
                if left < 0:
                    _tell("", source.name, f"unpacks to more than {GROWTH} times its size, as bombs do; what came before is used")
                    return 0
                for at, _, piece in pieces:
                    (into / at).write_bytes(piece)
                table.write(json.dumps(told, ensure_ascii=False) + "\n")
                for at, called, _ in pieces:
                    _tell(at, called, "")  # type: ignore[arg-type]
    return 0


def _tell(at: str, name: str, reason: str) -> None:
    print(json.dumps([at, name, reason]), flush=True)


def _limit() -> None:
    try:
        import resource
    except ImportError:  # Windows
        return
    for what, most in (("RLIMIT_AS", MEMORY_BYTES), ("RLIMIT_CORE", 0), ("RLIMIT_CPU", CPU_S)):
        try:
            resource.setrlimit(getattr(resource, what), (most, most))
        except (ValueError, OSError, AttributeError):  # macOS refuses RLIMIT_AS
            pass


if __name__ == "__main__":
    _limit()
    try:
        sys.exit(_take_apart(Path(sys.argv[1]), Path(sys.argv[2])))
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        sys.exit(_FULL)
