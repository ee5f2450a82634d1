"""A push: every file in one commit or none, tried again where that may help, and looked up after every error."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ..outside import open_plain
from . import client as hub_client
from .account import account_of, check_repo_id, whoami
from .client import Cancelled, Fault, HubError
from .secrets import Secret

WRITES = {"write", "god"}
BUFFER_BYTES = 512  # of each file of a push; reads are as large as whoever reads asks for
ASKED = 500  # files in one question for what is there already; the Hub takes 1,000


class Planned(NamedTuple):
    """One file of a push.  local: a path, or the bytes themselves."""

    local: Path | bytes
    remote: str

    @property
    def size_bytes(self) -> int:
        return len(self.local) if isinstance(self.local, bytes) else self.local.stat().st_size


@dataclass(frozen=True)
class Patience:
    """How often and how long a push is tried again.  Seconds."""

    tries: int = 5
    shortest_s: float = 2.0
    longest_s: float = 60.0
    asked_s: float = 600.0  # the longest wait that the Hub may ask for and get; beyond it the person decides


@dataclass(frozen=True)
class Pushed:
    """Where a push ended."""

    url: str
    commit: str
    private: bool
    new_commit: bool  # False when everything was there already


class Watcher:
    """What a push tells while it works.  Every method may be left as it is."""

    def phase(self, name: str, done: float = 0, of: float = 0, unit: str = "") -> None: ...

    def warn(self, text: str) -> None: ...

    def cancelled(self) -> bool:
        return False


def push(
    files: list[Planned],
    repo_id: str,
    token: Secret,
    *,
    private: bool = True,
    message: str = "Upload LoRA",
    kind: str = "model",
    endpoint: str = "",
    watcher: Watcher | None = None,
    patience: Patience = Patience(),
) -> Pushed:
    """Everything in one commit, or nothing.  Repeatable: what is there already is not sent again.  kind: model or dataset.

    Tries again on 408, 429, 5xx, network faults and nonsense; after any error it looks whether the commit landed after all.
    Raises HubError with a sentence, Cancelled, ValueError.  Runs in the publish worker: it gives huggingface_hub its client.
    """
    from huggingface_hub import HfApi, set_client_factory
    from huggingface_hub.utils import disable_progress_bars, logging

    watcher = watcher or Watcher()
    endpoint = hub_client.checked_endpoint(endpoint)
    disable_progress_bars()
    logging.set_verbosity_error()  # it warns that open files go by plain HTTP, which is what we want
    set_client_factory(lambda: hub_client.Client(watcher.cancelled))
    api = HfApi(endpoint=endpoint, token=token.reveal())
    once = _Push(api, token, files, repo_id, kind, private, message, watcher)
    for attempt in range(1, patience.tries + 1):
        try:
            return once.run()
        except (Cancelled, HubError):
            raise
        except Exception as error:  # noqa: BLE001 fault_of raises again what is not the Hub's
            fault = hub_client.fault_of(error)
        landed = once.landed()
        if landed:
            return landed
        if not fault.passing or attempt == patience.tries or fault.wait_s > patience.asked_s:
            raise hub_client.sentence(fault, once.repo_id, endpoint)
        wait_s = fault.wait_s or min(patience.longest_s, patience.shortest_s * 2 ** (attempt - 1))
        _countdown(max(wait_s, patience.shortest_s), fault, attempt, patience, watcher)
    raise AssertionError("unreachable: the last try returns or raises")


def _countdown(wait_s: float, fault: Fault, attempt: int, patience: Patience, watcher: Watcher) -> None:
    """Waits, and says so twice a second; a Stop ends it at once."""
    why = {429: "the Hub asks to wait", 0: "the connection broke"}.get(fault.status, f"the Hub has a problem ({fault.status})")
    name = f"waiting: {why}, try {attempt + 1} of {patience.tries}"
    end = time.monotonic() + wait_s
    while (left := end - time.monotonic()) > 0:
        if watcher.cancelled():
            raise Cancelled
        watcher.phase(name, wait_s - left, wait_s, "s")
        time.sleep(min(0.5, left))


class _Push:
    """One push: what is sent, where to, and how to see whether it arrived."""

    def __init__(self, api, token: Secret, files: list[Planned], repo_id: str, kind: str, private: bool, message: str, watcher: Watcher):
        self.api, self.token, self.files, self.kind = api, token, files, kind
        self.repo_id, self.private, self.message, self.watcher = repo_id, private, message, watcher
        self.checked = False  # the account, once a push

    def run(self) -> Pushed:
        self._check_account()
        self.watcher.phase("looking at the repository")
        head = self._head() or self._create()
        if self._all_there(head.sha):
            return self._pushed(head, new_commit=False)
        self.watcher.phase("reading the files")
        with _Uploads(self.files, self.watcher) as operations:
            commit = self.api.create_commit(
                self.repo_id, operations, commit_message=self.message, parent_commit=head.sha, revision="main", num_threads=2, repo_type=self.kind
            )
        return Pushed(self._url(), commit.oid, head.private, new_commit=True)

    def _url(self) -> str:
        return f"{self.api.endpoint}/{'datasets/' if self.kind == 'dataset' else ''}{self.repo_id}"

    def _check_account(self) -> None:
        if self.checked:
            return
        self.watcher.phase("checking the account")
        account = account_of(whoami(self.token, self.api.endpoint), "given")
        self.repo_id = check_repo_id(self.repo_id, account.name)
        namespace = self.repo_id.split("/")[0]
        if account.role == "read":
            raise HubError(
                f"The token of {account.name} can only read (403).", f"Make one with write access at {self.api.endpoint}/settings/tokens.", 403
            )
        if account.role in WRITES and namespace not in account.namespaces:
            raise HubError(
                f"'{namespace}' is not a namespace of {account.name} (403).", f"Publish under one of: {', '.join(account.namespaces)}.", 403
            )
        if account.role == "fine-grained" and namespace not in account.namespaces:
            raise HubError(
                f"The fine-grained token of {account.name} has no write access to '{namespace}' (403).",
                f"Allow 'Write access to contents of all repos' for '{namespace}' at {self.api.endpoint}/settings/tokens, or use a write token.",
                403,
            )
        self.checked = True

    def _head(self):
        """The repository's description, None when it is not there."""
        from huggingface_hub.errors import RepositoryNotFoundError

        try:
            info = self.api.repo_info(self.repo_id, repo_type=self.kind)
        except RepositoryNotFoundError:
            return None
        if self.private and info.private is False:
            raise HubError(
                f"{self.repo_id} exists already and is public, but you asked for a private one.", "Choose another name, or choose public.", 409
            )
        if not self.private and info.private:
            self.watcher.warn(f"{self.repo_id} exists already and is private; it stays private. Change it in its settings on the Hub.")
        return info

    def _create(self):
        self.watcher.phase("making the repository")
        self.api.create_repo(self.repo_id, private=self.private, exist_ok=True, repo_type=self.kind)
        head = self._head()
        if head is None:
            raise Fault(404, "made a moment ago, but not there yet", passing=True)
        return head

    def _all_there(self, sha: str | None) -> bool:
        """Whether the head holds every file, byte for byte."""
        if not sha:
            return False
        names = [i.remote for i in self.files]
        asked = [names[at : at + ASKED] for at in range(0, len(names), ASKED)]
        there = {f.path: f for some in asked for f in self.api.get_paths_info(self.repo_id, some, revision=sha, repo_type=self.kind)}
        return all(item.remote in there and _same(item, there[item.remote]) for item in self.files)

    def landed(self) -> Pushed | None:
        """The push, if the head holds everything after an error; None if not, or if the Hub cannot be asked."""
        if not self.checked:
            return None
        try:
            head = self._head()
            return self._pushed(head, new_commit=True) if head and self._all_there(head.sha) else None
        except (Cancelled, HubError):
            raise
        except Exception as error:  # noqa: BLE001 as above
            hub_client.fault_of(error)  # raises what is not the Hub's; of two faults the first is told
            return None

    def _pushed(self, head, new_commit: bool) -> Pushed:
        return Pushed(self._url(), head.sha, bool(head.private), new_commit)


def _same(item: Planned, there) -> bool:
    from huggingface_hub.utils import sha

    if getattr(there, "size", None) != item.size_bytes:
        return False
    with _open(item) as file:
        if there.lfs is not None:
            return sha.sha_fileobj(file).hex() == there.lfs.sha256
        return sha.git_hash(file.read()) == there.blob_id


def _open(item: Planned):
    """The file for reading; one that has become a link or a pipe since it was planned is refused."""
    if isinstance(item.local, bytes):
        return io.BytesIO(item.local)
    return open_plain(item.local)


class _Late(io.RawIOBase):
    """A file that is open only while it is read: a dataset has more of them than a process may hold open."""

    def __init__(self, item: Planned):
        self._item, self._size, self._at = item, item.size_bytes, 0
        self._file: Any = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence])
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, into) -> int:
        if self._file is None:
            if self._at >= self._size:
                return 0
            self._file = _open(self._item)
        self._file.seek(self._at)
        data = self._file.read(len(into))
        into[: len(data)] = data
        self._at += len(data)
        if self._at >= self._size or not data:
            self._release()
        return len(data)

    def _release(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def close(self) -> None:
        self._release()
        super().close()


class _Told(io.BufferedReader):
    """A file that tells how far it was read, once `tell_to` is set."""

    tell_to: Callable[[int], None] | None = None

    def read(self, size=-1):
        data = super().read(size)
        if self.tell_to:
            self.tell_to(self.tell())
        return data


class _Uploads:
    """The files opened as operations of one commit; their bytes are counted as they leave.

    Handing over open files, not paths, also keeps huggingface_hub on plain HTTP (LFS), which our time-outs govern.
    """

    def __init__(self, files: list[Planned], watcher: Watcher):
        self.files, self.watcher = files, watcher
        self.of = sum(f.size_bytes for f in files)
        self.done = dict.fromkeys((f.remote for f in files), 0)
        self.lock = threading.Lock()
        self.opened: list = []

    def __enter__(self) -> list:
        from huggingface_hub import CommitOperationAdd

        operations = []
        try:
            for item in self.files:
                file = _Told(_Late(item), BUFFER_BYTES)
                self.opened.append(file)
                operations.append(CommitOperationAdd(item.remote, file))
                file.tell_to = lambda at, remote=item.remote: self._count(remote, at)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return operations

    def __exit__(self, *error) -> None:
        for file in self.opened:
            file.close()

    def _count(self, remote: str, at: int) -> None:
        if self.watcher.cancelled():
            raise Cancelled
        with self.lock:
            self.done[remote] = max(self.done[remote], at)
            self.watcher.phase("uploading", sum(self.done.values()), self.of, "bytes")
