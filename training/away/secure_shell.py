"""Another machine through this computer's own OpenSSH client: its configuration, its keys, its known hosts.  Nothing is asked, nothing is accepted silently.

Everything goes through `ssh` with a command there: what is sent is its input, what comes back is its output.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import IO, Any

from .. import outside
from ..files import fsync_folder
from .place import Refused, Unreachable

RECEIVING = Path(__file__).with_name("receiving.py")
MAX_SCRIPT_BYTES = 100_000  # a command line takes no more everywhere
CONNECT_S = 10
ANSWER_S = 120.0  # of a command that only looks
MARK = b"\n--easel-answers--\n"  # what a shell's own start-up says stands before it
CHUNK = 1 << 20
NO_WINDOW = getattr(subprocess, "CREATE_NO_WINDOW", 0)  # of Windows alone
SETTINGS = (
    "BatchMode=yes", "StrictHostKeyChecking=yes", f"ConnectTimeout={CONNECT_S}", "ServerAliveInterval=15", "ServerAliveCountMax=3", "ForwardAgent=no", "ForwardX11=no",
    "ClearAllForwardings=yes", "PermitLocalCommand=no", "RequestTTY=no",
)  # fmt: skip
NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?|[0-9A-Fa-f:]*:[0-9A-Fa-f:.]+(?:%[A-Za-z0-9._-]+)?")  # of a host: a name, an address, an alias of ~/.ssh/config
USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@\\-]*")
NO_FOLDER = 96  # what a command there ends with whose folder is gone; ours never end so
Say = Callable[[str, float], None]


class Gone(Refused):
    """The folder that a command is to run in is not there."""


@dataclass(frozen=True)
class Host:
    """Where to.  user "" and port 0: as ssh's own configuration says.  python: the one there."""

    name: str
    user: str = ""
    port: int = 0
    python: str = "python3"

    def __post_init__(self) -> None:
        """Raises ValueError for what ssh could take for one of its options, or a shell for more than a name."""
        if not NAME.fullmatch(self.name):
            raise ValueError(f"the host is {self.name!r}; give a name, an address, or an alias of your ssh configuration, without a user or port")
        if self.user and not USER.fullmatch(self.user):
            raise ValueError(f"the user is {self.user!r}, which is no user's name")

    def run(self, words: Sequence[str], folder: str = "", given: bytes = b"", wait_s: float | None = ANSWER_S) -> bytes:
        """What a command there prints.  Raises Unreachable, Refused."""
        try:
            done = subprocess.run(self._line(words, folder), input=given, capture_output=True, timeout=wait_s, check=False, creationflags=NO_WINDOW)
        except FileNotFoundError:
            raise Refused(NO_CLIENT) from None
        except subprocess.TimeoutExpired:
            raise Unreachable(f"{self.name} did not answer within {wait_s:.0f} s") from None
        if done.returncode:
            raise self._fault(done.returncode, done.stderr)
        return _behind_mark(done.stdout)

    def receiving(self, *words: str, given: bytes = b"", wait_s: float | None = ANSWER_S) -> Any:
        """What receiving.py answers there, read from JSON; None where it says nothing."""
        said = self.run(self._receiving(words), given=given, wait_s=wait_s)
        return outside.parse_json(said, f"the answer of {self.name}") if said.strip() else None

    def lines(self, words: Sequence[str], folder: str, each: Callable[[str], None]) -> None:
        """A command there that takes its time, line by line.  Raises Unreachable, Refused with its last lines."""
        process = self._popen(words, folder, stdin=subprocess.DEVNULL)
        seen: list[str] = []
        with _ended(process):
            for line in process.stdout:
                text = line.decode("utf-8", "replace").strip()
                if text and text.encode() != MARK.strip():
                    seen = [*seen[-5:], text]
                    each(text)
            stderr = process.stderr.read()
            if code := process.wait():
                raise self._fault(code, b"\n".join([*(s.encode() for s in seen), stderr]) if code != 255 else stderr)

    def write(self, words: Sequence[str], folder: str, target: Path) -> None:
        """A command's output, added to what `target` holds.  Raises Unreachable, Refused; what came until then stays."""
        process = self._popen(words, folder, stdin=subprocess.DEVNULL)
        with _ended(process), os.fdopen(outside.open_to_append(target), "ab") as file:
            head = b""
            while MARK not in head and (piece := process.stdout.read1(CHUNK)):
                head += piece
            file.write(_behind_mark(head) if MARK in head else b"")
            while piece := process.stdout.read1(CHUNK):
                file.write(piece)
            if code := process.wait():
                raise self._fault(code, process.stderr.read())

    def files(self, words: Sequence[str], folder: str, given: bytes, target_of: Callable[[str], Path | None]) -> None:
        """Files that a command there hands out: of each a line of JSON, {name, size}, then its bytes.  target_of: where one goes, None for one that nobody asked for.

        Raises Unreachable, Refused; a file is at its place when it is whole.
        """
        process = self._popen(words, folder, stdin=subprocess.PIPE, drained=False)
        with _ended(process):
            try:
                process.stdin.write(given)
                process.stdin.close()
            except OSError:  # it has ended: why, it says
                pass
            head = b""
            while MARK not in head and (piece := process.stdout.readline()):
                head += piece
            while line := process.stdout.readline():
                told = outside.parse_json(line, f"the answer of {self.name}")
                if not self._one_file(process.stdout, target_of(str(told["name"])), int(told["size"])):
                    break
            said = process.stderr.read()
            if code := process.wait():
                raise self._fault(code, said)

    @staticmethod
    def _one_file(source: IO[bytes], target: Path | None, size: int) -> bool:
        """Whether all of it came."""
        part = target.with_name(f".{target.name[:80]}.part") if target else None
        with open(part or os.devnull, "wb") as file:
            while size and (piece := source.read(min(size, CHUNK))):
                file.write(piece)
                size -= len(piece)
        if part and target and not size:
            arrived(part, target)
        return not size

    def put(self, root: str, files: Mapping[str, tuple[Path, str, int]], say: Say, what: str) -> None:
        """Files are in the folder `root` there, each compared by its hash.  files: {name: (here, sha256, bytes)}.  What is there already is not sent again,
        and what was cut off goes on where it was.  Raises Unreachable, Refused.
        """
        told = json.dumps({name: [digest, size] for name, (_, digest, size) in files.items()}).encode()
        for _ in range(3):
            missing: dict[str, int] = self.receiving("lacks", root, given=told, wait_s=None)
            by_hash = {digest: (path, size) for path, digest, size in files.values() if digest in missing}
            if by_hash:
                self._stream(root, ((digest, path, missing[digest], size) for digest, (path, size) in by_hash.items()), sum(size for _, size in by_hash.values()), say, what)
            if not self.receiving("settle", root, given=told, wait_s=None):
                return
        raise Refused(f"files arrive damaged at {self.name}, again and again; look at its disk and its memory")

    def _stream(self, root: str, parts: Iterable[tuple[str, Path, int, int]], total: int, say: Say, what: str) -> None:
        process = self._popen(self._receiving(("take", root)), "", stdin=subprocess.PIPE)
        sent = 0
        with _ended(process):
            try:
                for digest, path, offset, size in parts:
                    process.stdin.write(f"{digest} {offset} {size - offset}\n".encode())
                    sent += offset
                    for piece in _pieces(path, offset):
                        process.stdin.write(piece)
                        sent += len(piece)
                        say(what, sent / max(total, 1))
                process.stdin.close()
            except (BrokenPipeError, ConnectionError, OSError):  # it has ended: why, it says
                pass
            said = process.stderr.read()
            if code := process.wait():
                raise self._fault(code, said)

    def _receiving(self, words: Sequence[str]) -> list[str]:
        return [self.python, "-c", outside.read_text(RECEIVING, MAX_SCRIPT_BYTES), *words]

    def _line(self, words: Sequence[str], folder: str) -> list[str]:
        """The command line here.  What runs there is one quoted text, in which nothing is left for a shell to find."""
        there = f"printf '\\n--easel-answers--\\n' && {f'cd {shlex.quote(folder)} || exit {NO_FOLDER}; ' if folder else ''}exec {shlex.join(words)}"
        to = [*(["-p", str(self.port)] if self.port else []), *(["-l", self.user] if self.user else [])]
        return ["ssh", *(word for setting in SETTINGS for word in ("-o", setting)), "-T", *to, "--", self.name, there]

    def _popen(self, words: Sequence[str], folder: str, stdin: int, drained: bool = True) -> _Piped:
        """drained: what it says while it is given something is of no interest."""
        try:
            process = _Piped(self._line(words, folder), stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, creationflags=NO_WINDOW)
        except FileNotFoundError:
            raise Refused(NO_CLIENT) from None
        if stdin == subprocess.PIPE and drained:
            threading.Thread(target=_drain, args=(process.stdout,), daemon=True).start()
        return process

    def _fault(self, code: int, stderr: bytes) -> Exception:
        """What to raise: 255 is ssh's own word, anything else the command's there."""
        text = stderr.decode("utf-8", "replace").strip()
        last = text.splitlines()[-1].strip() if text else f"it ended with {code}"
        if code == NO_FOLDER:
            return Gone(f"{self.name} has no longer the folder in which it was set up ({last})")
        if code == 127 or "command not found" in last:
            return Refused(f"{self.name} has no {self.python}; install Python 3.11 or newer there, or name it in the option python")
        if code != 255:
            return Refused(f"{self.name}: {last}")
        if "IDENTIFICATION HAS CHANGED" in text:
            return Refused(f"{self.name} shows another host key than before. Somebody may stand between, or it was set up anew: ask whoever runs it, then remove the old key with: ssh-keygen -R {self.name}")
        if "Host key verification failed" in text or "host key is known" in text:
            return Refused(f"{self.name} is not known to this computer yet. Connect once in a terminal with 'ssh {self.name}', compare the fingerprint, and answer yes; then try again")
        if "Permission denied" in text:
            return Refused(f"{self.name} does not take your key ({last}). In a terminal, 'ssh {self.name}' must work without a password: ssh-copy-id puts your key there, and ssh-add unlocks it")
        if any(word in text for word in ("Bad configuration", "Bad owner", "no such identity", "Too many authentication")):
            return Refused(f"ssh does not work here: {last}")
        return Unreachable(last)


NO_CLIENT = "there is no ssh on this computer; install OpenSSH's client (on Debian: sudo apt install openssh-client; on Windows: Settings, Optional features)"


def _pieces(path: Path, offset: int) -> Iterator[bytes]:
    with outside.open_plain(path) as file:
        file.seek(offset)
        while piece := file.read(CHUNK):
            yield piece


def _behind_mark(said: bytes) -> bytes:
    return said.partition(MARK)[2]


class _Piped(subprocess.Popen[bytes]):
    """A process whose pipes are there; stdin where it is given something."""

    stdin: IO[bytes]
    stdout: BufferedReader
    stderr: IO[bytes]


class _ended:
    """A process that is over when the block is left, whatever happens in it; its output is drained."""

    def __init__(self, process: subprocess.Popen):
        self.process = process

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stderr, self.process.stdout):
            if pipe and not pipe.closed:
                try:
                    pipe.close()
                except (OSError, ValueError):  # what was not written any more; another thread closes it just now
                    continue


def _drain(pipe: IO[bytes]) -> None:
    try:
        while pipe.read(CHUNK):
            continue
    except (OSError, ValueError):  # it was closed: the process is over
        return


def arrived(part: Path, target: Path) -> None:
    """A file that came in pieces gets its name."""
    os.replace(part, target)
    fsync_folder(target.parent)
