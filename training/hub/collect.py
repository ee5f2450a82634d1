"""Datasets of the Hub: what one holds and how large it is, then its pictures, captions and tables in a folder.  Nothing of it is ever run."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal, NamedTuple
from urllib.parse import quote, unquote

from ..data import captions, parquet, tabled, tars, zips
from ..data.noise import is_system
from ..data.pictures import SUFFIXES
from ..outside import open_plain, open_to_append, size
from . import client as hub_client
from .client import Cancelled, Fault, HubError
from .download import SPARE_BYTES
from .secrets import Secret

ASK_S = 20.0  # for the list of files
SIDE_BY_SIDE = 6  # files on their way at once; most are small
TRIES, FIRST_WAIT_S, LONGEST_WAIT_S = 5, 2.0, 60.0
PIECE_BYTES = 1 << 18
MOST_FILES = 100_000
TABLE_BYTES = 64_000_000
MANY_BYTES = zips.MAX_ENTRIES * 10_000  # a file of this size may hold more than is taken of one: hardly a picture is smaller than 10 kB
_ID = r"[\w][\w.-]{0,95}/[\w][\w.-]{0,95}"
_NAMED = re.compile(rf"(?:hf:(?://)?)?(?:datasets/)?({_ID})(?:@([\w./-]+))?")
_REVISION = r"refs(?:/|%2F)(?:convert|pr)(?:/|%2F)[^/?#]+|[^/?#]+"
_PAGE = re.compile(rf"(?:https?://)?(?:www\.)?[^/\s]+/(datasets/)?({_ID})(?:/(?:tree|blob|resolve|raw)/({_REVISION}))?(?:[/?#].*)?", re.IGNORECASE)
ANYBODY: Literal[False] = False  # in the place of a token: nobody's, not even that of this computer
Given = Secret | Literal[False] | None  # None: that of this computer, where there is one
Progress = Callable[[int, int, str], None]  # bytes done, bytes of, the file in hand


class File(NamedTuple):
    """One file on the Hub.  oid: its SHA-256 where it is a large one, else that of git; "" where the Hub does not say."""

    path: str
    size_bytes: int
    oid: str


@dataclass(frozen=True)
class Found:
    """A dataset as it stands on the Hub.  files: what is taken; left: how many files are not; kind: pictures, archives or parquet."""

    id: str
    revision: str
    files: tuple[File, ...]
    left: int
    kind: str
    licence: str
    private: bool

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files)

    @property
    def holding(self) -> int:
        """How many of the files are what the pictures are in."""
        return sum(_kind(file.path) == self.kind for file in self.files)

    def told(self) -> str:
        """What it is, in a sentence."""
        one, many = {
            "pictures": ("picture", "pictures"), "archives": ("archive of pictures", "archives of pictures"),
            "parquet": ("Parquet file, which may hold pictures", "Parquet files, which may hold pictures"),
        }[self.kind]  # fmt: skip
        said = f"{self.holding:,} {one if self.holding == 1 else many}, {size(self.size_bytes)} to download"
        if self.kind != "pictures" and any(_kind(f.path) == self.kind and f.size_bytes > MANY_BYTES for f in self.files):
            said += f"; of each, at most {zips.MAX_ENTRIES:,} pictures are taken" if self.kind == "parquet" else f"; of each, at most {zips.MAX_TOTAL_BYTES // 10**9} GB and {zips.MAX_ENTRIES:,} files are taken"
        said += f"; its licence is {self.licence}" if self.licence else "; it names no licence"
        return said + ("; private" if self.private else "") + (f"; {self.left:,} other {'file stays' if self.left == 1 else 'files stay'} there" if self.left else "")


def named(text: str) -> tuple[str, str]:
    """(owner/name, revision or "") of `hf:owner/name`, `owner/name@revision` or a page's address.  Raises ValueError."""
    text = text.strip().strip('"')
    plain = _NAMED.fullmatch(text)
    if plain:
        return plain[1], plain[2] or ""
    page = _PAGE.fullmatch(text)
    if page and not page[1]:
        raise ValueError(f"{text} is no page of a dataset; those begin with …/datasets/")
    if page:
        return page[2], unquote(page[3] or "")
    raise ValueError(f"{text!r} is no dataset of the Hub; type owner/name, hf:owner/name or the address of its page")


def look(text: str, token: Given, endpoint: str = "") -> Found:
    """What a dataset of the Hub holds.  Raises ValueError and HubError in plain words."""
    from huggingface_hub import HfApi

    id, revision = named(text)
    try:
        info = HfApi(endpoint=hub_client.checked_endpoint(endpoint), token=_given(token)).dataset_info(id, revision=revision or None, files_metadata=True, timeout=ASK_S)
    except Exception as error:  # noqa: BLE001 _words raises again what is not the Hub's
        raise _words(error, id, revision) from None
    siblings = [File(s.rfilename, s.size or 0, s.lfs.sha256 if s.lfs else s.blob_id or "") for s in info.siblings or []]
    if len(siblings) > MOST_FILES:
        raise ValueError(f"{id} holds {len(siblings):,} files; {MOST_FILES:,} is the most")
    kind, files = _wanted(siblings)
    if not kind:
        raise ValueError(f"{id} holds no pictures, no archive of pictures and no Parquet file, so there is nothing in it to learn from")
    if kind == "parquet" and not parquet.can_read():
        raise ValueError(f"{id} {parquet.MISSING.replace('add this', 'look')}")
    if kind == "parquet" and _without_pictures(info.card_data):
        raise ValueError(f"{id} is a table without pictures, as its card says, so there is nothing in it to learn from")
    licence = getattr(info.card_data, "license", None) if info.card_data else None
    return Found(id, str(info.sha), files, len(siblings) - len(files), kind, ", ".join(licence) if isinstance(licence, list) else str(licence or ""), bool(info.private))


def _without_pictures(card: Any) -> bool:
    """Whether a card names the columns of the dataset, and none of them can be a picture."""
    told, configs = (card.get("dataset_info"), card.get("configs")) if card else (None, None)
    infos = told if isinstance(told, list) else [told]
    if not all(isinstance(info, dict) and info.get("features") for info in infos) or (isinstance(configs, list) and len(configs) > len(infos)):
        return False  # of some of it the columns are not named
    return bool(infos) and not _names_pictures([info["features"] for info in infos])  # type: ignore[index]


def _names_pictures(features: Any) -> bool:
    """Whether a picture, or bytes that may be one, is a type within what a card says of columns: {name, dtype}, nested by list, sequence and struct."""
    if isinstance(features, dict):
        return any(_names_pictures(value) for key, value in features.items() if key != "name")
    return any(map(_names_pictures, features)) if isinstance(features, list) else features in ("image", "binary", "large_binary")


def _given(token: Given) -> str | bool | None:
    """The token as huggingface_hub takes it: None lets it look for its own, False does not."""
    return token.reveal() if token else False if token is ANYBODY else None


def _kind(path: str) -> str:
    """pictures, archives, parquet, beside (captions and tables), or "" for what is not taken."""
    parts = PurePosixPath(path).parts
    name = parts[-1] if parts else ""
    if not name or path.startswith("/") or ".." in parts or "\\" in path or ":" in path or is_system("/".join(parts[:-1]), name):
        return ""
    suffix = PurePosixPath(name).suffix.lower()
    if suffix in SUFFIXES:
        return "pictures"
    if suffix == ".zip" or tars.is_tar(name):
        return "archives"
    if suffix == parquet.SUFFIX:
        return "parquet"
    return "beside" if suffix in (*captions.SUFFIXES, *tabled.SUFFIXES) else ""


def _wanted(siblings: list[File]) -> tuple[str, tuple[File, ...]]:
    """(what the pictures are in, the files that are taken): of plain pictures, archives and Parquet that of which there is most, and what lies beside."""
    kinds = {file.path: _kind(file.path) for file in siblings}
    total = {kind: sum(f.size_bytes for f in siblings if kinds[f.path] == kind) + (kind == "pictures") for kind in set(kinds.values()) & {"pictures", "archives", "parquet"}}
    if not total:
        return "", ()
    kind = max(total, key=total.__getitem__)
    return kind, tuple(f for f in siblings if kinds[f.path] == kind or (kinds[f.path] == "beside" and f.size_bytes <= TABLE_BYTES))


def fetch(found: Found, into: Path, token: Given, progress: Progress, stop: Callable[[], bool], endpoint: str = "") -> None:
    """The files of a dataset in the folder `into`, as they lie on the Hub, each compared with what it must be; what is there already is not fetched again.

    Raises Cancelled, HubError and ValueError in plain words; what arrived stays for the next time.
    """
    into.mkdir(parents=True, exist_ok=True)
    free_bytes = shutil.disk_usage(into).free
    there = sum((into / file.path).stat().st_size for file in found.files if (into / file.path).is_file())
    if found.size_bytes - there + SPARE_BYTES > free_bytes:
        raise ValueError(f"{found.id} takes {size(found.size_bytes - there)} more, but only {size(free_bytes)} are free on the disk of {into}; free some, or move Easel's folder with --home")
    count = _Count(found, progress, stop)
    with hub_client.Client(count.over) as client, ThreadPoolExecutor(SIDE_BY_SIDE, thread_name_prefix="hub") as pool:
        way = _Way(client, found, into, token, hub_client.checked_endpoint(endpoint))
        jobs = [pool.submit(_one, way, file, count) for file in found.files]
        try:
            for job in as_completed(jobs):
                job.result()
        except BaseException:
            count.ended = True
            pool.shutdown(wait=False, cancel_futures=True)
            raise


@dataclass(frozen=True)
class _Way:
    """From where to where."""

    client: hub_client.Client
    found: Found
    into: Path
    token: Given
    endpoint: str


class _Count:
    """The bytes that have arrived, of all files together."""

    def __init__(self, found: Found, progress: Progress, stop: Callable[[], bool]):
        self.of, self.progress, self.stop, self.ended = found.size_bytes, progress, stop, False
        self._done: dict[str, int] = {}
        self._total, self._lock = 0, threading.Lock()

    def over(self) -> bool:
        """Whether nobody waits for the rest."""
        return self.ended or self.stop()

    def check(self) -> None:
        """Raises Cancelled where nobody waits for the rest."""
        if self.over():
            raise Cancelled

    def at(self, path: str, done: int) -> None:
        """So many bytes of a file are here."""
        with self._lock:
            self._total += done - self._done.get(path, 0)
            self._done[path] = done
            self.progress(self._total, self.of, path)


def _one(way: _Way, file: File, count: _Count) -> None:
    """One file, tried again where that may help."""
    target = way.into / file.path
    if target.is_file() and _same(target, file):
        return count.at(file.path, file.size_bytes)
    for attempt in range(1, TRIES + 1):
        count.check()
        try:
            return _stream(way, file, count)
        except Cancelled:
            raise
        except Exception as error:  # noqa: BLE001 _words raises again what is not the Hub's
            said = _words(error, way.found.id, way.found.revision)
        fault = said.__cause__
        if not (isinstance(fault, Fault) and fault.passing) or attempt == TRIES:
            raise said from None
        end = time.monotonic() + min(LONGEST_WAIT_S, fault.wait_s or FIRST_WAIT_S * 2 ** (attempt - 1))
        while time.monotonic() < end:
            count.check()
            time.sleep(0.1)
    raise AssertionError("unreachable: the last try returns or raises")


def _stream(way: _Way, file: File, count: _Count) -> None:
    """One file, from where an earlier try ended; it appears whole or not at all.  Raises what the Hub answers, Fault where something else arrived."""
    from huggingface_hub.utils import build_hf_headers, hf_raise_for_status

    target = way.into / file.path
    part = target.with_name(f"{target.name}.part")
    if not way.into.is_dir():  # made anew, it would be a dataset that nobody asked for
        raise ValueError(f"the folder {way.into} is gone, so {way.found.id} cannot be brought into it; was the dataset renamed or deleted? Download it again")
    target.parent.mkdir(parents=True, exist_ok=True)
    had = part.stat().st_size if part.is_file() else 0
    headers = build_hf_headers(token=_given(way.token)) | ({"Range": f"bytes={had}-"} if 0 < had < file.size_bytes else {})
    url = f"{way.endpoint}/datasets/{way.found.id}/resolve/{way.found.revision}/{quote(file.path)}"
    with way.client.stream("GET", url, headers=headers) as answer:
        hf_raise_for_status(answer)
        done = had if answer.status_code == 206 else 0
        if not done:
            part.unlink(missing_ok=True)
        with os.fdopen(open_to_append(part), "ab") as out:
            for piece in answer.iter_bytes(PIECE_BYTES):
                count.check()
                done += len(piece)
                if done > file.size_bytes:
                    break
                out.write(piece)
                count.at(file.path, done)
    if not _same(part, file):
        part.unlink(missing_ok=True)
        count.at(file.path, 0)
        raise Fault(0, f"{file.path} did not arrive as the Hub has it", passing=True)
    os.replace(part, target)


def _same(path: Path, file: File) -> bool:
    """Whether a file here is the one on the Hub."""
    if path.stat().st_size != file.size_bytes:
        return False
    digest = hashlib.sha256() if len(file.oid) == 64 else hashlib.sha1(b"blob %d\0" % file.size_bytes, usedforsecurity=False)  # git's, as the Hub names small files
    with open_plain(path) as held:
        while piece := held.read(PIECE_BYTES):
            digest.update(piece)
    return not file.oid or digest.hexdigest() == file.oid


def _words(error: Exception, id: str, revision: str) -> HubError:
    """What the Hub said, for a person; its cause is the Fault.  Raises the error itself where it is none of the Hub's."""
    from huggingface_hub import constants
    from huggingface_hub import errors as hub

    page = f"{constants.ENDPOINT}/datasets/{id}"
    if isinstance(error, hub.GatedRepoError):
        return HubError(f"{id} asks you to accept its terms first: open {page}, accept them there, then sign in on the Publish tab and try again", status=403)
    if isinstance(error, hub.RevisionNotFoundError):
        return HubError(f"{id} has no revision {revision!r}; leave it out for the newest", status=404)
    if isinstance(error, hub.RepositoryNotFoundError):
        return HubError(f"there is no dataset {id!r} on the Hub, or it is private and you are not signed in; check the name, or sign in on the Publish tab", status=404)
    if isinstance(error, hub.EntryNotFoundError) and not isinstance(error, hub.LocalEntryNotFoundError):
        return HubError(f"a file of {id} is gone from the Hub; look at it again", status=404)
    fault = hub_client.fault_of(error)
    if fault.status == -1:
        said = HubError("offline mode is on (HF_HUB_OFFLINE), so nothing can be fetched from the Hub; turn it off, or add the pictures as a folder", status=-1)
    elif fault.status == 0:
        said = HubError(f"the Hub cannot be reached ({fault.text}); check the network and try again: what has arrived is kept", status=0)
    elif fault.status == 401:
        said = HubError("the Hub does not accept the token; sign in again on the Publish tab", status=401)
    elif fault.status == 403:
        said = HubError(f"the token may not read {id}; use one that may, or ask its owner", status=403)
    elif fault.status == 429:
        said = HubError("the Hub has had too many requests; wait a few minutes and try again: what has arrived is kept", status=429)
    else:
        said = HubError(f"the Hub has a problem of its own ({fault.status}); try again in a while: what has arrived is kept", status=fault.status)
    said.__cause__ = fault
    return said
