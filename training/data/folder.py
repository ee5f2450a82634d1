"""A dataset's folder without its pictures: where it is, who is at work in it, its captions' files, and what is kept beside them."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..outside import is_plain, read_json
from . import absorbing, captions
from .edits import Edits
from .masks import is_mask
from .memory import Memory, Scan, encoding_together, memory_of, read_caption, stem_of, write_text_whole
from .pictures import SUFFIXES

MAX_ABOUT_BYTES = 1_000_000
MAX_REPEATS_BYTES = 16_000_000
MAX_REPEATS = 1000
MIDDLE = (0.5, 0.5)

looks = threading.local()  # {hidden folder: the pictures of one_look()}


@dataclass(frozen=True)
class Folder:
    """Where a dataset lies.  meta: where our notes on it live; for a folder used in place that is not inside the folder."""

    path: Path
    meta: Path
    in_place: bool = False

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def title(self) -> str:
        """What the user called it."""
        return str(about(self.meta).get("title") or self.path.name)

    # -- what is kept beside the pictures

    @property
    def lines(self) -> str:
        """How captions of several lines are read: a key of captions.LINES."""
        chosen = about(self.meta).get("lines")
        return chosen if chosen in captions.LINES else ""

    def set_lines(self, how: str) -> None:
        """Read captions of several lines in this way from now on."""
        if how not in captions.LINES:
            raise ValueError(f"captions cannot be read as {how!r}")
        with self._locked():
            write_about(self.meta, about(self.meta) | {"lines": how})

    @property
    def prior(self) -> str:
        """The name of the dataset that came along to be kept as it is while this one is learnt; "" for none."""
        found = about(self.meta).get("prior")
        return found if isinstance(found, str) else ""

    def set_prior(self, name: str) -> None:
        """Remember the dataset that is kept as it is beside this one."""
        with self._locked():
            write_about(self.meta, about(self.meta) | {"prior": name})

    @property
    def absorbs(self) -> tuple[str, ...]:
        """Traits that captions leave out on purpose, so that the trigger word stands for them."""
        found = about(self.meta).get("absorbs")
        return tuple(t for t in found[: absorbing.MOST] if isinstance(t, str) and 0 < len(t) <= absorbing.MOST_LETTERS) if isinstance(found, list) else ()

    def set_absorbs(self, traits: Sequence[str]) -> None:
        """Remember what the trigger word should absorb.  Raises ValueError for what is no trait, or too many."""
        made = list(dict.fromkeys(map(absorbing.clean, traits)))
        if len(made) > absorbing.MOST:
            raise ValueError(f"a trigger word cannot stand for {len(made)} traits; {absorbing.MOST} at most")
        with self._locked():
            write_about(self.meta, about(self.meta) | {"absorbs": made})

    def repeats(self) -> dict[str, int]:
        """{picture: how often it counts in an epoch}, of those that count more than once."""
        try:
            data = read_json(self.meta / "repeats.json", MAX_REPEATS_BYTES)
        except (OSError, ValueError):
            return {}
        return {k: v for k, v in data.items() if type(v) is int and 1 < v <= MAX_REPEATS} if isinstance(data, dict) else {}

    def set_repeats(self, changes: Mapping[str, int]) -> None:
        """How often these pictures count in an epoch, 1 to MAX_REPEATS."""
        for id, count in changes.items():
            self._path_of(id)
            if not 1 <= count <= MAX_REPEATS:
                raise ValueError(f"{id} cannot count {count} times in an epoch; 1 to {MAX_REPEATS} times")
        with self._locked():
            made = {id: count for id, count in (self.repeats() | dict(changes)).items() if count > 1}
            write_text_whole(self.meta / "repeats.json", json.dumps(made))

    def focuses(self) -> dict[str, tuple[float, float]]:
        """{sha256: focus} of the pictures whose crop is not cut around their middle."""
        try:
            data = read_json(self.meta / "focus.json", MAX_REPEATS_BYTES)
        except (OSError, ValueError):
            return {}
        return {k: (v[0], v[1]) for k, v in data.items() if is_focus(v)} if isinstance(data, dict) else {}

    def _write_focus(self, changes: Mapping[str, Sequence[float]]) -> None:
        made = {k: list(v) for k, v in (self.focuses() | dict(changes)).items() if tuple(v) != MIDDLE}
        write_text_whole(self.meta / "focus.json", json.dumps(made))

    # -- captions

    def _caption_of(self, scan: Scan, id: str) -> captions.Decoded:
        """The caption of a picture, from memory while its file has not changed."""
        memory = memory_of(self.meta, reread=False)
        for name in scan.texts.get(stem_of(id), []):
            found = scan.text_stat(name)
            if found is None:
                continue
            key = (found.st_size, found.st_mtime_ns, found.st_ino)
            if name not in memory.texts or memory.texts[name][0] != key:
                memory.texts[name] = (key, self._read(memory, scan, name))
            return memory.texts[name][1]
        return memory.tabled.of(self.path, scan.names, scan.tables, id)

    def _read(self, memory: Memory, scan: Scan, name: str) -> captions.Decoded:
        """A caption from its file; where that does not say its encoding, the others beside it tell along with it."""
        alone = read_caption(self.path / name, memory.encoding or "")
        if not alone.guessed or memory.encoding is not None:
            return alone
        memory.encoding = encoding_together(self.path / n for names in list(scan.texts.values()) for n in names)
        return read_caption(self.path / name, memory.encoding)

    def _write_caption(self, scan: Scan, id: str, text: str) -> None:
        """The .txt beside a picture, whole or not at all; gone for an empty text.  Keeps `scan` true."""
        stem = stem_of(id)
        present = scan.texts.get(stem, [])
        target = next((n for n in present if n.lower().endswith(".txt")), os.path.splitext(id)[0] + ".txt")
        if not text:
            for name in present:
                (self.path / name).unlink(missing_ok=True)
                scan.text_entries.pop(name, None)
            scan.texts.pop(stem, None)
            if not memory_of(self.meta, reread=False).tabled.of(self.path, scan.names, scan.tables, id).text:
                return  # else an empty file says that what the table says does not hold any more
            present = []
        written = text + "\n"
        path = os.path.join(self.path, target)
        write_text_whole(path, written)
        found = scan.text_entries[target] = os.lstat(path)
        scan.texts[stem] = [target, *(n for n in present if n != target)]
        if captions.says_utf8(written):  # then it need not be read again
            memory_of(self.meta, reread=False).texts[target] = ((found.st_size, found.st_mtime_ns, found.st_ino), captions.Decoded(text))

    # -- inside

    def _path_of(self, id: str) -> Path:
        """The path of a picture.  Raises ValueError for whatever is not the plain name of one in this folder."""
        plain = isinstance(id, str) and id and id == os.path.basename(id) and not set(id) & set("/\\\0") and not id.startswith(".")
        if not plain or os.path.splitext(id)[1].lower() not in SUFFIXES or is_mask(id) or not os.path.lexists(os.path.join(self.path, id)):
            raise ValueError(f"there is no picture called {id!r} in {self.title!r}")
        return self.path / id

    def _thumb(self, digest: str) -> Path:
        return self.meta / "thumbs" / f"{digest[:40]}.webp"

    def _has_thumb(self, record: dict) -> bool:
        return not record["ok"] or is_plain(self._thumb(record["sha256"]))

    def _edits(self) -> Edits:
        return memory_of(self.meta).edits

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Alone with this dataset, among threads and processes.  May be nested."""
        memory = memory_of(self.meta)
        with memory.lock:
            if not memory.depth:
                self.meta.mkdir(parents=True, exist_ok=True)
                memory.acquire(self.meta / "lock")
            memory.depth += 1
            try:
                yield
            finally:
                looks.__dict__.get(self.meta, []).clear()  # type: ignore[call-overload]
                memory.depth -= 1
                if not memory.depth:
                    memory.release()


def is_focus(found: object) -> bool:
    """Whether something read from a file is a point of a picture."""
    return isinstance(found, (list, tuple)) and len(found) == 2 and all(type(v) in (int, float) and 0 <= v <= 1 for v in found)


def about(meta: Path) -> dict:
    try:
        data = read_json(meta / "dataset.json", MAX_ABOUT_BYTES)
    except (OSError, ValueError):
        return {}
    if not isinstance(data, dict):
        return {}
    title, was = data.get("title"), data.get("was")
    return data | {"title": title[:200] if isinstance(title, str) else "", "was": [w for w in was if isinstance(w, str)] if isinstance(was, list) else []}


def write_about(meta: Path, about: dict) -> None:
    meta.mkdir(parents=True, exist_ok=True)
    write_text_whole(meta / "dataset.json", json.dumps(about, indent=1))
