"""Hugging Face Jobs and buckets on this computer, on top of the small Hub of hub_standin.py.

Buckets hold what hf_xet says of a file; the contents go to a small store that speaks with hf_xet itself.  A job is a process of this computer: its
mounts are folders, into which the bucket is laid beforehand and from which closed files are taken, as the real mount does.

    with JobsStandin(tmp_path) as hub:
        hub.user(token, "alice")
        hub.credit = 0             # run_job is answered with 402
        hub.runs = False           # jobs are listed as running, and nothing happens
        hub.kill(job_id)           # as a machine that dies
        hub.settle(job_id, "ERROR", "Job timeout")
"""

from __future__ import annotations

import json
import math
import os
import re
import secrets
import struct
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar
from urllib.parse import parse_qsl, urlsplit

import psutil

from tests import hub_standin
from tests.hub_standin import Standin, _Handler, _Refused

OVER = ("COMPLETED", "CANCELED", "ERROR", "DELETED")
BUCKET = r"(?P<bucket>[^/]+/[^/]+)"
JOB_ENDPOINTS = {
    "hardware": ("GET", r"/api/jobs/hardware"),
    "run_job": ("POST", r"/api/jobs/(?P<owner>[^/]+)"),
    "list_jobs": ("GET", r"/api/jobs/(?P<owner>[^/]+)"),
    "inspect_job": ("GET", r"/api/jobs/(?P<owner>[^/]+)/(?P<id>[^/]+)"),
    "cancel_job": ("POST", r"/api/jobs/(?P<owner>[^/]+)/(?P<id>[^/]+)/cancel"),
    "job_logs": ("GET", r"/api/jobs/(?P<owner>[^/]+)/(?P<id>[^/]+)/logs"),
    "make_bucket": ("POST", rf"/api/buckets/{BUCKET}"),
    "bucket": ("GET", rf"/api/buckets/{BUCKET}"),
    "drop_bucket": ("DELETE", rf"/api/buckets/{BUCKET}"),
    "bucket_tree": ("GET", rf"/api/buckets/{BUCKET}/tree(?:/(?P<prefix>.+))?"),
    "bucket_paths": ("POST", rf"/api/buckets/{BUCKET}/paths-info"),
    "bucket_batch": ("POST", rf"/api/buckets/{BUCKET}/batch"),
    "bucket_file": ("GET", rf"/buckets/{BUCKET}/resolve/(?P<path>.+)"),
    "xorb": ("POST", r"/cas/v1/xorbs/default/(?P<xorb>[0-9a-f]{64})"),
    "shard": ("POST", r"/cas/(?:v1/)?shards"),
    "reconstruction": ("GET", r"/cas/v1/reconstructions/(?P<file>[0-9a-f]{64})"),
    "chunk": ("GET", r"/cas/get/(?P<xorb>[0-9a-f]{64})"),
    "xet": ("GET", rf"/api/buckets/{BUCKET}/xet-(?:read|write)-token"),
}
HARDWARE = [  # three rows of /api/jobs/hardware, as the documentation has them
    {"name": "cpu-basic", "prettyName": "CPU Basic", "cpu": "2 vCPU", "ram": "16 GB", "ephemeralStorage": "50 GB", "unitCostMicroUSD": 167, "unitCostUSD": 0.000167, "unitLabel": "minute"},
    {"name": "l4x4", "prettyName": "4x Nvidia L4", "cpu": "48 vCPU", "ram": "186 GB", "ephemeralStorage": "3200 GB", "unitCostMicroUSD": 63333, "unitCostUSD": 0.063333, "unitLabel": "minute",
     "accelerator": {"type": "gpu", "model": "L4", "quantity": "4", "vram": "96 GB", "manufacturer": "Nvidia"}},
    {"name": "a10g-small", "prettyName": "Nvidia A10G - small", "cpu": "4 vCPU", "ram": "15 GB", "ephemeralStorage": "110 GB", "unitCostMicroUSD": 16667, "unitCostUSD": 0.016667, "unitLabel": "minute",
     "accelerator": {"type": "gpu", "model": "A10G", "quantity": "1", "vram": "24 GB", "manufacturer": "Nvidia"}},
    {"name": "l4x1", "prettyName": "1x Nvidia L4", "cpu": "8 vCPU", "ram": "30 GB", "ephemeralStorage": "400 GB", "unitCostMicroUSD": 13333, "unitCostUSD": 0.013333, "unitLabel": "minute",
     "accelerator": {"type": "gpu", "model": "L4", "quantity": "1", "vram": "24 GB", "manufacturer": "Nvidia"}},
]  # fmt: skip


@dataclass
class Job:
    """spec: what was asked for; log: what it wrote."""

    id: str
    owner: str
    spec: dict
    stage: str = "RUNNING"
    message: str | None = None
    began_t: float = field(default_factory=time.time)
    ended_t: float = 0.0
    process: subprocess.Popen | None = None
    log: Path | None = None

    def told(self) -> dict:
        ran = (self.ended_t or time.time()) - self.began_t
        return {
            "id": self.id, "createdAt": "2026-01-31T14:20:00.000Z", "dockerImage": self.spec.get("dockerImage"), "command": self.spec["command"], "arguments": [],
            "environment": self.spec["environment"], "secrets": dict.fromkeys(self.spec.get("secrets", {}), "***"), "flavor": self.spec["flavor"], "labels": self.spec.get("labels"), "volumes": self.spec.get("volumes"),
            "status": {"stage": self.stage, "message": self.message}, "durations": {"schedulingSecs": 1, "runningSecs": math.ceil(ran), "totalSecs": math.ceil(ran) + 1}, "owner": {"id": "1", "name": self.owner, "type": "user"},
        }  # fmt: skip


class JobsStandin(Standin):
    """The server.  folder: where it keeps contents, and where jobs run."""

    endpoints: ClassVar = {**JOB_ENDPOINTS, **hub_standin.ENDPOINTS}

    def __init__(self, folder: Path, port: int = 0):
        super().__init__(port, _JobsHandler)
        self.folder = folder
        self.jobs: dict[str, Job] = {}
        self.buckets: dict[str, dict] = {}  # id -> {"private": bool, "files": {path: (xet hash, bytes)}}
        self.xorbs: dict[str, bytes] = {}
        self.pieces: dict[str, list[tuple[str, int, int, int]]] = {}  # of a file: xorb, bytes, first chunk, the chunk behind the last
        self.batches: list[bytes] = []  # what was put into buckets or taken out, as it was said
        self.credit = 10.0
        self.runs = True
        self.inside: dict[str, str] = {}  # further environment of the jobs

    def __exit__(self, *error) -> None:
        for job in list(self.jobs.values()):
            self.kill(job.id)
        super().__exit__(*error)

    def files(self, bucket: str) -> dict[str, int]:
        """{path: bytes} of a bucket."""
        return {path: size for path, (_, size) in self.buckets[bucket]["files"].items()}

    def kill(self, id: str, stage: str = "ERROR", message: str | None = None) -> None:
        """The machine dies, with all that runs on it."""
        process = self.jobs[id].process
        if process is not None and process.poll() is None:
            whole = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
            for one in whole:
                try:
                    one.kill()
                except psutil.NoSuchProcess:
                    continue
            process.wait()
        self.settle(id, stage, message)

    def settle(self, id: str, stage: str, message: str | None = None) -> None:
        """A job that is not over ends so."""
        job = self.jobs[id]
        with self.lock:
            if job.stage not in OVER:
                job.stage, job.message, job.ended_t = stage, message, time.time()

    def begin(self, job: Job) -> None:
        """The job's process, and what its mounts do."""
        root = self.folder / "jobs" / job.id
        mounts, bucket = {}, ""
        for volume in job.spec["volumes"]:
            folder = root / volume["mountPath"].strip("/")
            folder.mkdir(parents=True)
            mounts[volume["mountPath"]] = folder
            if volume["type"] == "bucket":
                bucket = volume["source"]
                files = self.buckets[bucket]["files"]
                self._api().download_bucket_files(bucket, [(path, folder / path) for path in files])
            elif volume["source"] not in self.repos:
                return self.settle(job.id, "ERROR", f"Failed to mount volume {volume['source']}: not found")
            else:
                for path, data in self.repos[volume["source"]].files().items():
                    (folder / path).parent.mkdir(parents=True, exist_ok=True)
                    (folder / path).write_bytes(data)
        (root / "tmp").mkdir()
        mounts["/tmp"] = root / "tmp"
        inner = [self._placed(word, mounts) for word in job.spec["command"]]
        env = {"PATH": os.environ["PATH"], "HOME": str(root), "JOB_ID": job.id, "EASEL_VENV": sys.prefix, "EASEL_CONTAINER": "1", "EASEL_SHELF_S": "0.3", "HF_HUB_OFFLINE": "1"}
        env |= self.inside | job.spec["environment"] | job.spec.get("secrets", {})
        job.log = root / "log"
        with job.log.open("wb") as log:
            job.process = subprocess.Popen([sys.executable if inner[0] == "python" else inner[0], *inner[1:]], env=env, cwd=root, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        threading.Thread(target=self._mounted, args=(job, bucket, mounts[next(v["mountPath"] for v in job.spec["volumes"] if v["type"] == "bucket")]), daemon=True).start()

    def _placed(self, word: str, mounts: dict[str, Path]) -> str:
        """A word of the command with the container's folders as they are called here."""
        head, sign, path = word.rpartition("=")
        for mount, folder in mounts.items():
            if path == mount or path.startswith(f"{mount}/"):
                return head + sign + str(folder) + path[len(mount) :]
        return word

    def _api(self):
        from huggingface_hub import HfApi

        return HfApi(endpoint=self.url, token=next(iter(self.tokens)), headers={"X-Inside": "yes"})

    def _mounted(self, job: Job, bucket: str, folder: Path) -> None:
        """Closed files go up, what came meanwhile comes down, until the process ends."""
        known = {p: p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()}
        while True:
            ended = job.process.poll() is not None
            if bucket in self.buckets:
                there = self.buckets[bucket]["files"]
                here = {p: p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()}
                fresh = [p for p, t in here.items() if known.get(p) != t and (ended or not _open(job.process.pid, p))]
                gone = [p.relative_to(folder).as_posix() for p in known if p not in here and p.relative_to(folder).as_posix() in there]
                if fresh or gone:
                    self._api().batch_bucket_files(bucket, add=[(p, p.relative_to(folder).as_posix()) for p in fresh], delete=gone)
                came = [(path, folder / path) for path in list(there) if not (folder / path).exists() and path not in gone]
                if came:
                    self._api().download_bucket_files(bucket, came)
                known = {p: t for p, t in here.items() if known.get(p) == t or p in fresh} | {p: p.stat().st_mtime_ns for _, p in came}
            if ended:
                return self.settle(job.id, "COMPLETED" if job.process.returncode == 0 else "ERROR", None if job.process.returncode == 0 else "Job failed with exit code: 1. Reason: Error")
            time.sleep(0.2)


def _open(pid: int, path: Path) -> bool:
    """Does the job's process hold the file open?"""
    try:
        return any(found.path == str(path) for found in psutil.Process(pid).open_files())
    except psutil.Error:
        return True


class _JobsHandler(_Handler):
    hub: JobsStandin

    do_DELETE = _Handler.do_GET

    def _mine(self, owner: str) -> None:
        if not self.hub.may_write(self._token(), owner):
            raise _Refused(403, f"This token has no rights for jobs of {owner}")

    def _hardware(self, body):
        return HARDWARE

    def _run_job(self, body, owner):
        self._mine(owner)
        spec = json.loads(body)
        if self.hub.credit <= 0:
            raise _Refused(402, "Pre-paid credit balance is insufficient - add more credits to your account to use Jobs.")
        if spec["flavor"] not in [row["name"] for row in HARDWARE]:
            raise _Refused(400, f"flavor must be one of the hardware, not {spec['flavor']}")
        job = Job(secrets.token_hex(12), owner, spec)
        self.hub.jobs[job.id] = job
        if self.hub.runs:
            threading.Thread(target=self.hub.begin, args=(job,), daemon=True).start()
        return job.told()

    def _list_jobs(self, body, owner):
        self._mine(owner)
        asked = [value.split("=", 1) for key, value in parse_qsl(urlsplit(self.path).query) if key == "label"]
        return [job.told() for job in self.hub.jobs.values() if job.owner == owner and all(job.spec.get("labels", {}).get(k) == v for k, v in asked)]

    def _of(self, owner: str, id: str) -> Job:
        self._mine(owner)
        if id not in self.hub.jobs:
            raise _Refused(404, "Job not found")
        return self.hub.jobs[id]

    def _inspect_job(self, body, owner, id):
        return self._of(owner, id).told()

    def _cancel_job(self, body, owner, id):
        self._of(owner, id)
        self.hub.kill(id, "CANCELED")
        return {}

    def _job_logs(self, body, owner, id):
        log = self._of(owner, id).log
        lines = log.read_text(errors="replace").splitlines() if log else []
        return "".join(f"data: {json.dumps({'data': line, 'timestamp': ''})}\n\n" for line in lines), {"Content-Type": "text/event-stream"}

    def _bucket_of(self, bucket: str) -> dict:
        mine = self.hub.may_write(self._token(), bucket.split("/")[0])
        found = self.hub.buckets.get(bucket)
        if found is None or not mine:
            raise _Refused(404, "Bucket not found", **{"X-Error-Code": "RepoNotFound"})
        return found

    def _make_bucket(self, body, bucket):
        if not self.hub.may_write(self._token(), bucket.split("/")[0]):
            raise _Refused(403, f"You don't have the rights to create a bucket in {bucket.split('/')[0]}")
        told = {"url": f"{self.hub.url}/buckets/{bucket}", "id": bucket}
        if bucket in self.hub.buckets:
            self.status = 409
            return told
        self.hub.buckets[bucket] = {"private": json.loads(body).get("visibility") == "private", "files": {}}
        return told

    def _bucket(self, body, bucket):
        found = self._bucket_of(bucket)
        return {"_id": "1", "id": bucket, "author": bucket.split("/")[0], "private": found["private"], "createdAt": "2026-01-31T14:20:00.000Z", "size": sum(s for _, s in found["files"].values()), "totalFiles": len(found["files"])}  # fmt: skip

    def _drop_bucket(self, body, bucket):
        self._bucket_of(bucket)
        del self.hub.buckets[bucket]
        return {}

    def _row(self, path: str, row: tuple[str, int]) -> dict:
        return {"type": "file", "path": path, "size": row[1], "xetHash": row[0], "mtime": "2026-01-31T14:20:00.000Z"}

    def _bucket_tree(self, body, bucket, prefix):
        files = self._bucket_of(bucket)["files"]
        found = [self._row(path, row) for path, row in files.items() if not prefix or path == prefix or path.startswith(f"{prefix}/")]
        if prefix and not found:
            raise _Refused(404, f"{prefix} does not exist", **{"X-Error-Code": "EntryNotFound"})
        return found

    def _bucket_paths(self, body, bucket):
        files = self._bucket_of(bucket)["files"]
        return [self._row(path, files[path]) for path in json.loads(body)["paths"] if path in files]

    def _bucket_batch(self, body, bucket):
        files = self._bucket_of(bucket)["files"]
        self.hub.batches.append(body)
        for line in map(json.loads, body.splitlines()):
            if line["type"] == "addFile":
                files[line["path"]] = (line["xetHash"], sum(row[1] for row in self.hub.pieces[line["xetHash"]]))
            else:
                files.pop(line["path"], None)
        return {"success": True, "processed": 1, "succeeded": 1, "failed": []}

    def _bucket_file(self, body, bucket, path):
        files = self._bucket_of(bucket)["files"]
        if path not in files:
            raise _Refused(404, "Entry not found", **{"X-Error-Code": "EntryNotFound"})
        token = f"{self.hub.url}/api/buckets/{bucket}/xet-read-token"
        return b"", {"X-Xet-Hash": files[path][0], "X-Xet-Refresh-Route": token, "X-Linked-Size": str(files[path][1])}

    def _xet(self, body, bucket):
        self._bucket_of(bucket)
        return {"accessToken": "x", "exp": int(time.time()) + 3600, "casUrl": f"{self.hub.url}/cas"}

    # ---- contents, as hf_xet cuts them: a xorb is many chunks one behind the other, a file is ranges of chunks out of xorbs

    def _xorb(self, body, xorb):
        new, self.hub.xorbs[xorb] = xorb not in self.hub.xorbs, body
        return {"was_inserted": new}

    def _shard(self, body):
        """After 48 bytes of header, for each file a row with its hash, its flags and how many rows of 48 bytes follow, each a piece of it: the xorb, the bytes,
        the first chunk and the one behind the last; then as many rows again where the first flag is set, and one more where the second is."""
        at = 48
        while body[at : at + 32] != b"\xff" * 32:
            flags, rows = struct.unpack_from("<II", body, at + 32)
            found = []
            for n in range(1, rows + 1):
                _, size, first, behind = struct.unpack_from("<IIII", body, at + 48 * n + 32)
                found.append((_hex(body, at + 48 * n), size, first, behind))
            self.hub.pieces[_hex(body, at)] = found
            at += 48 * (1 + rows + (rows if flags >> 31 & 1 else 0) + (flags >> 30 & 1))
        return {"result": 1}

    def _reconstruction(self, body, file):
        if file not in self.hub.pieces:
            raise _Refused(404, "no such file")
        first_byte, last_byte = 0, 1 << 62
        if asked := re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", "")):
            first_byte, last_byte = int(asked[1]), int(asked[2])
        terms, places, at, skipped = [], {}, 0, None
        for xorb, size, first, behind in self.hub.pieces[file]:
            if at + size > first_byte and at <= last_byte:
                skipped = max(0, first_byte - at) if skipped is None else skipped
                terms.append({"hash": xorb, "unpacked_length": size, "range": {"start": first, "end": behind}})
                offsets = _chunks(self.hub.xorbs[xorb])
                row = {"range": {"start": first, "end": behind}, "url": f"{self.hub.url}/cas/get/{xorb}", "url_range": {"start": offsets[first], "end": offsets[behind] - 1}}
                places.setdefault(xorb, []).append(row)
            at += size
        if not terms:
            raise _Refused(416, "behind the file's end")
        return {"offset_into_first_range": skipped or 0, "terms": terms, "fetch_info": places}

    def _chunk(self, body, xorb):
        start, end = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["Range"]).groups()
        self.status = 206
        data = self.hub.xorbs[xorb]
        return data[int(start) : int(end) + 1], {"Content-Range": f"bytes {start}-{end}/{len(data)}"}


def _hex(data: bytes, at: int) -> str:
    """A hash as hf_xet writes it: four numbers of 64 bits."""
    return "".join(f"{part:016x}" for part in struct.unpack_from("<4Q", data, at))


def _chunks(xorb: bytes) -> list[int]:
    """Where each chunk begins, and where the last one ends: each has 8 bytes of header, with its packed length in the second to fourth."""
    found, at = [0], 0
    while at + 8 <= len(xorb) and xorb[at] == 0:
        at += 8 + int.from_bytes(xorb[at + 1 : at + 4], "little")
        found.append(at)
    return found
