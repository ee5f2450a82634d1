"""A ZIP that is written while it is sent: no second copy of what it holds lies on the disk meanwhile."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from .outside import open_plain

CHUNK = 1 << 20
TEXTS = (".jsonl", ".json", ".yaml", ".txt", ".md")  # worth compressing; pictures and weights are not

Content = Path | bytes | Iterator[bytes]


def stream(entries: Iterable[tuple[str, Content]], compress: bool = False) -> Iterator[bytes]:
    """The ZIP of (name, its file, its bytes or pieces of them) in pieces.  compress: texts are made smaller."""
    out = _Pieces()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for name, content in entries:
            info = zipfile.ZipInfo(name)
            if compress and name.endswith(TEXTS):
                info.compress_type = zipfile.ZIP_DEFLATED
            if isinstance(content, bytes):
                archive.writestr(info, content)
            elif isinstance(content, Path):
                with open_plain(content) as source:
                    info.file_size = os.fstat(source.fileno()).st_size  # whether it needs ZIP64 is decided before it is written
                    with archive.open(info, "w") as target:
                        while piece := source.read(CHUNK):
                            target.write(piece)
                            yield from out.taken()
            else:
                with archive.open(info, "w", force_zip64=True) as target:
                    for piece in content:
                        target.write(piece)
                        yield from out.taken()
            yield from out.taken()
    yield from out.taken()


def write(pieces: Iterable[bytes], target: Path) -> None:
    """The ZIP at `target`, whole or not at all.  Raises FileExistsError, OSError."""
    if os.path.lexists(target):
        raise FileExistsError(f"{target} is there already; choose another name")
    part = target.with_name(target.name + ".part")
    part.touch(exist_ok=False)  # before the try: one that is there already is another export's, and stays
    try:
        with open(part, "wb") as file:
            file.writelines(pieces)
            file.flush()
            os.fsync(file.fileno())
        os.rename(part, target)
    finally:
        part.unlink(missing_ok=True)


class _Pieces(io.RawIOBase):
    """A file that cannot seek, whose bytes are taken away as they come."""

    def __init__(self) -> None:
        self._held: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data) -> int:
        self._held.append(bytes(data))
        return len(data)

    def taken(self) -> Iterator[bytes]:
        held, self._held = self._held, []
        yield from held
