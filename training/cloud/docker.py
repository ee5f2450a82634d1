"""A place: a Docker engine, of this computer or of another one (a `docker context`), in which the queue worker of launchers/compose.worker.yaml runs.

    docker compose -f launchers/compose.worker.yaml up --build -d worker

The worker is the user's own, and stays; a run is a shelf (training/away/shelf.py) in its volume, and is gone when it has come home.  Everything goes through
`docker exec`, so that it works the same for an engine far away.
"""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from pydantic import Field

from ..away import shelf
from ..away.place import Look, Machine, Refused, Unreachable, together
from ..config import Part

EASEL_API = 1
TITLE = "Docker"
BLURB = "A container on this computer or on another one, in which Easel's queue worker runs; it takes one training after the other."
ENVIRONMENT = ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "DOCKER_CERT_PATH", "DOCKER_TLS_VERIFY", "SSH_AUTH_SOCK")  # of whoever starts it
LABEL = "easel.worker=queue"  # of the worker's container, in launchers/compose.worker.yaml
THERE = ("/opt/easel/bin/python", "/easel/training/away/shelved.py")  # in the image of launchers/Dockerfile
SHELVES = "/data/shelves"
CARDS = ("nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits")
UP = "docker compose -f launchers/compose.worker.yaml up --build -d worker"
LOOK_S, ASK_S, SEND_S = 2.0, 60.0, 3600.0
CARDS_S = 10.0  # a driver that nobody keeps loaded takes some seconds to say
END_S = 150.0  # for a training that is being stopped
ABSENT = ("is not running", "No such container", "Cannot connect to the Docker daemon", "error during connect", "failed to connect")


class Options(Part):
    """What Docker is told."""

    context: str = Field("", pattern=r"^[A-Za-z0-9][\w.\-]*$|^$", description="Docker context of the engine, as 'docker context ls' lists it; empty means the one in use.")
    container: str = Field("", pattern=r"^[A-Za-z0-9][\w.\-]*$|^$", description="Name of the worker's container; empty means the only one that runs.")
    limit_hours: float = Field(0.0, ge=0, description="Hours after which the training is stopped, with a checkpoint; 0 means never.")
    keep: bool = Field(False, description="Leave in the container what was sent and made there.")
    machine: str = Field("", description="There is no choice; leave it empty.")


def ready(options: Options) -> str:
    if not shutil.which("docker"):
        return "There is no docker program on this computer; install Docker, or another place's needs."
    try:
        _worker(options, LOOK_S)
    except (Unreachable, Refused) as error:
        return f"{error}."
    return ""


def machines(options: Options) -> list[Machine]:
    """What the worker's container has: its cards, or the processor."""
    title = where(options)
    try:
        rows = _docker(options, "exec", _worker(options, LOOK_S), *CARDS, timeout_s=CARDS_S).decode("utf-8", "replace").splitlines()
    except Refused as error:
        if "exec failed" not in str(error) and "ends with" not in str(error):
            raise
        rows = []  # it has no such program, or that finds no driver
    cards = [(int(size) << 20, name.strip()) for name, _, size in (row.rpartition(",") for row in rows) if size.strip().isdigit()]
    cards.sort(reverse=True)
    sizes = tuple(size for size, _ in cards)
    return [Machine("", f"{together([name for _, name in cards])} in {title}", max(sizes, default=0), 0, None, "", sizes)]


def leaves(options: Options) -> str:
    context = options.context
    if options.keep:
        here = "The pictures, captions and settings of this run, and Easel's own code, are copied into this computer's Docker engine, and stay there until you delete them."
        there = f"The pictures, captions and settings of this run, and Easel's own code, are copied into the Docker engine of the context {context}, and stay there until you delete them."
    else:
        here = "The pictures, captions and settings of this run, and Easel's own code, are copied into this computer's Docker engine, and are deleted there when the result is home."
        there = f"The pictures, captions and settings of this run, and Easel's own code, are copied into the Docker engine of the context {context}, and are deleted there when the result is home."
    return there if context else here


def where(options: Options) -> str:
    return f"Docker ({options.context})" if options.context else "Docker"


def send(bundle, options: Options, handle: dict, say) -> dict:
    made = {**handle, "container": handle.get("container") or _worker(options, ASK_S)}
    source = str(shelf.load_job(bundle)["model"]["source"])
    shelf.send(Volume(made, options), bundle, source, say)
    return made


def start(handle: dict, options: Options, limit_s: int) -> dict:
    """The worker takes what may begin; saying so twice changes nothing."""
    if "begun" not in handle:
        shelf.begin(Volume(handle, options), limit_s if options.limit_hours else 0)
    return {**handle, "begun": True}


def look(handle: dict, options: Options, offset: int) -> Look:
    return shelf.look(shelf.peek(Volume(handle, options), offset), "")


def tell(handle: dict, options: Options, line: str) -> None:
    shelf.tell(Volume(handle, options), line)


def listing(handle: dict, options: Options) -> dict[str, tuple[str, int]]:
    return shelf.listing(Volume(handle, options))


def fetch(handle: dict, options: Options, name: str, target: Path) -> None:
    shelf.fetch(Volume(handle, options), name, target)


def fetch_many(handle: dict, options: Options, files: Mapping[str, Path]) -> None:
    shelf.fetch_many(Volume(handle, options), files)


def end(handle: dict, options: Options) -> str:
    """Stops it if it still runs or waits, and removes it."""
    handle = {**handle, "container": handle.get("container") or _worker(options, ASK_S)}  # also of a handle that send never gave back
    volume = Volume(handle, options)
    there = volume.names(".")
    if ("begun" in handle or "go" in there) and "done" not in there:  # also where the answer to start was lost
        volume.put({"cancel": b""})
        deadline = time.monotonic() + END_S
        while "done" not in volume.names("."):
            if time.monotonic() > deadline:
                raise Unreachable("the worker does not stop the training; look at its log with 'docker logs'")
            time.sleep(0.5)
    if options.keep:
        return f"It was left in {volume.folder} of the container {handle['container']}, as you asked."
    volume.run("remove")
    return ""


class Volume:
    """A shelf in the worker's volume."""

    def __init__(self, handle: dict, options: Options):
        self.container, self.options, self.folder = handle["container"], options, f"{SHELVES}/{handle['id']}"

    def run(self, what: str, *words: str, given: bytes | None = None, to=subprocess.PIPE) -> bytes:
        """What shelved.py answers in the container."""
        return _docker(self.options, "exec", "-i", self.container, *THERE, what, self.folder, *words, given=given, to=to, timeout_s=SEND_S)

    def put(self, files: Mapping[str, Path | bytes]) -> None:
        with tempfile.TemporaryFile() as packed:
            with tarfile.open(fileobj=packed, mode="w") as tar:
                for name, source in files.items():
                    if isinstance(source, bytes):
                        entry = tarfile.TarInfo(name)
                        entry.size = len(source)
                        tar.addfile(entry, io.BytesIO(source))
                    else:
                        tar.add(source.resolve(), name, recursive=False)
            packed.seek(0)
            _docker(self.options, "exec", "-i", self.container, *THERE, "take", self.folder, given=packed, timeout_s=SEND_S)

    def names(self, folder: str) -> dict[str, int]:
        return shelf.names_of(self.run("names", folder))

    def get(self, files: Mapping[str, Path]) -> None:
        with tempfile.TemporaryFile() as packed:
            self.run("give", given="\n".join(files).encode(), to=packed)
            packed.seek(0)
            try:
                with tarfile.open(fileobj=packed, mode="r:") as tar:
                    for name, target in files.items():
                        with open(target, "wb") as out:
                            if (source := tar.extractfile(name)) is None:
                                raise KeyError(name)
                            shutil.copyfileobj(source, out)
            except (tarfile.TarError, KeyError, AttributeError):
                raise Unreachable("what the container sent arrived damaged") from None


def _worker(options: Options, wait_s: float) -> str:
    """The worker's container.  Raises Unreachable where none runs, Refused where it has to be named."""
    rows = _docker(options, "ps", "--filter", f"label={LABEL}", "--format", "{{json .}}", timeout_s=wait_s).decode("utf-8", "replace").splitlines()
    try:
        names = [str(json.loads(row)["Names"]) for row in rows]
    except (ValueError, KeyError, TypeError):
        raise Refused("docker ps answers in a way that Easel does not know") from None
    if options.container:
        names = [name for name in names if name == options.container]
    if not names:
        raise Unreachable(f"Easel's worker does not run there; start it with: {UP}")
    if len(names) > 1:
        raise Refused(f"several workers run there, so name one as place.options container: {', '.join(names)}")
    return names[0]


def _docker(options: Options, *words: str, given=None, to=subprocess.PIPE, timeout_s: float) -> bytes:
    """What docker prints.  Raises Unreachable, Refused."""
    command = ["docker", *(["--context", options.context] if options.context else []), *words]
    feed = {"input": given} if isinstance(given, bytes) else {"stdin": given or subprocess.DEVNULL}
    try:
        done = subprocess.run(command, stdout=to, stderr=subprocess.PIPE, timeout=timeout_s, check=False, **feed)
    except FileNotFoundError:
        raise Refused("there is no docker program on this computer") from None
    except subprocess.TimeoutExpired:
        raise Unreachable(f"the Docker engine did not answer within {timeout_s:.0f} s") from None
    said = " ".join(done.stderr.decode("utf-8", "replace").split())[-300:]
    if done.returncode:
        if any(word in said for word in ABSENT):
            what = "Easel's worker there has stopped" if "running" in said and "daemon running" not in said else "no Docker engine answers: start Docker, or name another context"
            raise Unreachable(f"{what} (docker says: {said})")
        raise Refused(f"docker says: {said or f'nothing, and ends with {done.returncode}'}")
    return done.stdout or b""
