"""A small Hub on this computer: the endpoints that huggingface_hub uses to publish and fetch models and datasets, over real HTTP.

A dataset alice/x is hub.repos["datasets/alice/x"].

It checks what the real one checks (token, rights, parent commit, sha256 of every uploaded object) and fails on demand:

    with Standin() as hub:
        hub.user(token, "alice")
        hub.fail("commit", 503, times=1)
        ... HfApi(endpoint=hub.url, token=token) ...
        hub.repos["alice/x"].files()["README.md"]

`python -m tests.hub_standin 8001 --user alice` runs one by hand and prints its address and a token.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
import socket
import struct
import sys
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

LFS_FROM_BYTES = 10_000_000
LFS_SUFFIXES = (".safetensors", ".bin", ".zip")
MOST_PATHS = 1000  # of one question for paths
ENDPOINTS = {
    "whoami": ("GET", r"/api/whoami-v2"),
    "create": ("POST", r"/api/repos/create"),
    "yaml": ("POST", r"/api/validate-yaml"),
    "preupload": ("POST", r"/api/models/(?P<repo>[^/]+/[^/]+)/preupload/(?P<rev>[^/]+)"),
    "commit": ("POST", r"/api/models/(?P<repo>[^/]+/[^/]+)/commit/(?P<rev>[^/]+)"),
    "paths": ("POST", r"/api/models/(?P<repo>[^/]+/[^/]+)/paths-info/(?P<rev>[^/]+)"),
    "tree": ("GET", r"/api/models/(?P<repo>[^/]+/[^/]+)/tree/(?P<rev>[^/]+)"),
    "info": ("GET", r"/api/models/(?P<repo>[^/]+/[^/]+)(?:/revision/(?P<rev>[^/]+))?"),
    "auth": ("GET", r"/api/models/(?P<repo>[^/]+/[^/]+)/auth-check"),
    "batch": ("POST", r"/(?P<repo>[^/]+/[^/]+)\.git/info/lfs/objects/batch"),
    "upload": ("PUT", r"/lfs/objects/(?P<oid>[0-9a-f]{64})"),
    "verify": ("POST", r"/lfs/verify"),
    "resolve": ("GET", r"/(?P<repo>[^/]+/[^/]+)/resolve/(?P<rev>[^/]+)/(?P<path>.+)"),
    "page": ("GET", r"/(?P<repo>[^/]+/[^/]+)"),
}


@dataclass
class File:
    """A file of a commit."""

    data: bytes
    lfs: bool

    @property
    def oid(self) -> str:
        """The git blob's id: of the content, or of the pointer where the content is a large object."""
        data = self.data
        if self.lfs:
            data = f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {len(self.data)}\n".encode()
        return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    def info(self, path: str) -> dict:
        told = {"type": "file", "path": path, "size": len(self.data), "oid": self.oid}
        return told | ({"lfs": {"oid": self.sha256, "size": len(self.data), "pointerSize": 134}} if self.lfs else {})


@dataclass
class Commit:
    oid: str
    message: str
    tree: dict[str, File]


@dataclass
class Repo:
    """A repository; its first commit holds .gitattributes, as on the Hub."""

    id: str
    private: bool
    gated: bool = False  # nobody has accepted its licence yet
    commits: list[Commit] = field(default_factory=list)

    @property
    def head(self) -> Commit:
        return self.commits[-1]

    def files(self) -> dict[str, bytes]:
        """{path: content} at the head, without .gitattributes."""
        return {path: f.data for path, f in self.head.tree.items() if path != ".gitattributes"}

    def commit(self, message: str, changes: dict[str, File]) -> Commit:
        tree = {**(self.head.tree if self.commits else {}), **changes}
        self.commits.append(Commit(secrets.token_hex(20), message, tree))
        return self.head

    def at(self, rev: str) -> Commit | None:
        return self.head if rev == "main" else next((c for c in self.commits if c.oid == rev), None)


@dataclass
class Failure:
    """What goes wrong at an endpoint.  how: an HTTP status, "broken", "lost answer", "bad json", or "slow"."""

    endpoint: str
    how: int | str
    times: int  # -1: always
    headers: dict[str, str]
    body: str


class Standin:
    """The server and everything it knows.  Use as a context manager."""

    endpoints = ENDPOINTS

    def __init__(self, port: int = 0, handler: type | None = None):
        self.tokens: dict[str, dict] = {}
        self.repos: dict[str, Repo] = {}
        self.objects: dict[str, bytes] = {}
        self.seen: list[tuple[str, str]] = []  # (endpoint, method path) of every request, in order
        self.failures: list[Failure] = []
        self.before_commit = lambda repo: None  # what somebody else does just before a commit is looked at
        self.lock = threading.RLock()
        self.released = threading.Event()
        self.server = ThreadingHTTPServer(("127.0.0.1", port), type("Handler", (handler or _Handler,), {"hub": self}))
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(self, *error) -> None:
        self.released.set()
        self.server.shutdown()
        self.server.server_close()

    def user(self, token: str, name: str, role: str = "write", orgs: dict[str, str] | None = None, writes_to: tuple[str, ...] = ()) -> None:
        """`token` is one of user `name`.  role: read, write, fineGrained (then writes_to), oauth.  orgs: {name: roleInOrg}."""
        access = {"displayName": f"{name}'s token", "role": role, "createdAt": "2026-01-01T00:00:00.000Z"}
        if role == "fineGrained":
            scoped = [{"entity": {"_id": "1", "type": "user", "name": n}, "permissions": ["repo.content.read", "repo.write"]} for n in writes_to]
            access["fineGrained"] = {"canReadGatedRepos": True, "global": [], "scoped": scoped}
        auth = {"type": "oauth", "scopes": ["openid", "profile", "write-repos"]} if role == "oauth" else {"type": "access_token", "accessToken": access}
        self.tokens[token] = {
            "type": "user", "id": "1", "name": name, "fullname": name.title(), "isPro": False,
            "orgs": [{"type": "org", "name": n, "roleInOrg": r} for n, r in (orgs or {}).items()], "auth": auth,
        }  # fmt: skip

    def fail(self, endpoint: str, how: int | str, times: int = 1, body: str = "", **headers: str) -> None:
        """The next `times` requests at an endpoint fail (-1: all).  headers: Retry_After="3" becomes Retry-After: 3."""
        if endpoint not in self.endpoints and endpoint != "any":
            raise ValueError(f"there is no endpoint {endpoint!r}; there are: {', '.join(self.endpoints)}, any")
        self.failures.append(Failure(endpoint, how, times, {k.replace("_", "-"): v for k, v in headers.items()}, body))

    def heal(self) -> None:
        """Nothing fails any more."""
        self.failures.clear()

    def count(self, endpoint: str) -> int:
        """How many requests an endpoint has had."""
        return sum(e == endpoint for e, _ in self.seen)

    def take_failure(self, endpoint: str) -> Failure | None:
        with self.lock:
            for failure in self.failures:
                if failure.endpoint in (endpoint, "any") and failure.times:
                    failure.times -= 1
                    return failure
        return None

    def may_write(self, token: str, namespace: str) -> bool:
        who = self.tokens[token]
        access = who["auth"].get("accessToken", {})
        if access.get("role") == "read":
            return False
        if access.get("role") == "fineGrained":
            return namespace in [s["entity"]["name"] for s in access["fineGrained"]["scoped"]]
        return namespace == who["name"] or any(o["name"] == namespace and o["roleInOrg"] != "read" for o in who["orgs"])


class _Refused(Exception):
    def __init__(self, status: int, error: str, **headers: str):
        super().__init__(error)
        self.status, self.error, self.headers = status, error, headers


class _Handler(BaseHTTPRequestHandler):
    hub: Standin
    protocol_version = "HTTP/1.1"
    timeout = 120
    wbufsize = -1  # head and body leave in one packet: two would cost 40 ms of delayed acknowledgement
    disable_nagle_algorithm = True

    def do_GET(self):
        self._serve()

    do_POST = do_PUT = do_HEAD = do_GET

    def _serve(self):
        asked = unquote(urlsplit(self.path).path)
        self.kind = "datasets/" if asked.startswith(("/api/datasets/", "/datasets/")) else ""
        path = asked.replace("/api/datasets/", "/api/models/", 1).removeprefix("/datasets") if self.kind else asked
        method, self.status = "GET" if self.command == "HEAD" else self.command, 200
        found = ((name, re.fullmatch(p, path)) for name, (m, p) in self.hub.endpoints.items() if m == method)
        endpoint, match = next(((n, m) for n, m in found if m), ("", None))
        self.hub.seen.append((endpoint, f"{self.command} {asked}"))
        failure = self.hub.take_failure(endpoint) if endpoint and not self.headers.get("X-Inside") else None
        if failure and failure.how == "broken":
            self.rfile.read(min(1000, int(self.headers.get("Content-Length") or 0)))
            return self._break()
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Transfer-Encoding", "") == "chunked":
            body = b"".join(self._chunks())
        if failure and isinstance(failure.how, int):
            return self._answer(failure.how, failure.body or {"error": f"failing with {failure.how} as asked"}, failure.headers)
        if failure and failure.how == "bad json":
            return self._answer(200, "<html>This is a login page of the hotel</html>")
        if failure and failure.how == "slow":
            self.hub.released.wait(60)
        try:
            with self.hub.lock:
                answer = getattr(self, f"_{endpoint}")(body, **(match.groupdict() if match else {})) if endpoint else None
            if answer is None:
                raise _Refused(404, "Not found")
        except _Refused as refused:
            return self._answer(refused.status, {"error": refused.error}, {"X-Error-Message": refused.error, **refused.headers})
        if failure and failure.how == "lost answer":
            return self._break()
        self._answer(self.status, *(answer if isinstance(answer, tuple) else (answer,)))

    def _break(self):
        """The connection is reset in the middle, as when a cable is pulled."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def _chunks(self):
        while size := int(self.rfile.readline().split(b";")[0] or b"0", 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    def _answer(self, status: int, body, headers: dict[str, str] | None = None):
        kind = "application/json"
        if isinstance(body, bytes):
            kind = "application/octet-stream"
        elif isinstance(body, str):
            kind, body = "text/html; charset=utf-8", body.encode()
        else:
            body = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Type": kind, **(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *args):
        pass

    def _token(self) -> str:
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token not in self.hub.tokens:
            raise _Refused(401, "Invalid username or password.")
        return token

    def _repo(self, id: str, write: bool = False) -> Repo:
        repo = self.hub.repos.get(self.kind + id)
        if not write and repo and not repo.private and not self.headers.get("Authorization"):
            return repo  # what is public needs no token
        mine = self.hub.may_write(self._token(), id.split("/")[0])
        if repo is None or (repo.private and not mine):
            raise _Refused(404, "Repository not found", **{"X-Error-Code": "RepoNotFound"})
        if write and not mine:
            raise _Refused(403, f"You don't have the rights to write to {id}")
        return repo

    def _at(self, repo: Repo, rev: str) -> Commit:
        commit = repo.at(rev)
        if commit is None:
            raise _Refused(404, "Invalid rev id", **{"X-Error-Code": "RevisionNotFound"})
        return commit

    def _whoami(self, body):
        return self.hub.tokens[self._token()]

    def _create(self, body):
        token, asked = self._token(), json.loads(body)
        namespace = asked.get("organization") or self.hub.tokens[token]["name"]
        id = f"{namespace}/{asked['name']}"
        if not self.hub.may_write(token, namespace):
            raise _Refused(403, f'You don\'t have the rights to create a model under the namespace "{namespace}"')
        kind = "datasets/" if asked.get("type") == "dataset" else ""
        if kind + id in self.hub.repos:
            raise _Refused(409, "You already created this repo")
        repo = self.hub.repos[kind + id] = Repo(id, asked.get("visibility") == "private" or asked.get("private") is True)
        repo.commit("initial commit", {".gitattributes": File(b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n", False)})
        return {"url": f"{self.hub.url}/{kind}{id}", "name": id, "id": id}

    def _yaml(self, body):
        content = json.loads(body)["content"]
        match = re.match(r"\A---\n(.*?)\n---", content, re.DOTALL)
        try:
            meta = yaml.safe_load(match[1]) if match else None
        except yaml.YAMLError as error:
            raise _Refused(400, f"front matter: {error}") from None
        warnings = [] if isinstance(meta, dict) else [{"message": "empty or missing yaml metadata in repo card"}]
        return {"errors": [], "warnings": warnings}

    def _info(self, body, repo, rev):
        found = self._repo(repo)
        commit = self._at(found, rev or "main")
        return {
            "_id": "1", "id": repo, "modelId": repo, "author": repo.split("/")[0], "sha": commit.oid, "private": found.private, "disabled": False,
            "gated": "auto" if found.gated else False, "downloads": 0, "likes": 0, "tags": [], "siblings": [{"rfilename": path, "blobId": (told := file.info(path))["oid"], "size": told["size"], "lfs": {"sha256": told["lfs"]["oid"], **told["lfs"]} if file.lfs else None} for path, file in commit.tree.items()], "cardData": {"license": "cc-by-4.0"} if self.kind else None,
        }  # fmt: skip

    def _auth(self, body, repo):
        self._open(repo)
        return {}

    def _open(self, repo: str) -> Repo:
        found = self._repo(repo)
        if found.gated:
            raise _Refused(403, f"Access to model {repo} is restricted", **{"X-Error-Code": "GatedRepo"})
        return found

    def _preupload(self, body, repo, rev):
        head = self._at(self._repo(repo, write=True), rev).tree
        told = []
        for file in json.loads(body)["files"]:
            path, sample = file["path"], base64.b64decode(file["sample"])
            large = path.endswith(LFS_SUFFIXES) or file["size"] > LFS_FROM_BYTES or b"\0" in sample
            old = head.get(path)
            oid = {"oid": old.sha256 if old.lfs else old.oid} if old and old.lfs == large else {}
            told.append({"path": path, "uploadMode": "lfs" if large else "regular", "shouldIgnore": False, **oid})
        return {"files": told}

    def _batch(self, body, repo):
        self._repo(repo, write=True)
        told = []
        for item in json.loads(body)["objects"]:
            oid = item["oid"]
            href = {"upload": {"href": f"{self.hub.url}/lfs/objects/{oid}"}, "verify": {"href": f"{self.hub.url}/lfs/verify"}}
            told.append({"oid": oid, "size": item["size"], **({} if oid in self.hub.objects else {"actions": href})})
        return {"transfer": "basic", "objects": told}

    def _upload(self, body, oid):
        if hashlib.sha256(body).hexdigest() != oid:
            raise _Refused(400, f"the content's sha256 is not {oid}")
        self.hub.objects[oid] = body
        return b""

    def _verify(self, body):
        self._token()
        asked = json.loads(body)
        if len(self.hub.objects.get(asked["oid"], b"")) != asked["size"]:
            raise _Refused(404, "that object was not uploaded")
        return {}

    def _commit(self, body, repo, rev):
        found = self._repo(repo, write=True)
        lines = [json.loads(line) for line in body.splitlines()]
        self.hub.before_commit(found)
        header = next(line["value"] for line in lines if line["key"] == "header")
        if header.get("parentCommit", found.head.oid) != found.head.oid:
            raise _Refused(412, "A commit has happened since. Please refresh and try again.")
        changes = {}
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                changes[value["path"]] = File(base64.b64decode(value["content"]), False)
            elif line["key"] == "lfsFile":
                if len(self.hub.objects.get(value["oid"], b"")) != value["size"]:
                    raise _Refused(400, f"LFS pointer of {value['path']} points to an object that does not exist")
                changes[value["path"]] = File(self.hub.objects[value["oid"]], True)
        commit = found.commit(header["summary"], changes)
        return {"success": True, "commitOid": commit.oid, "commitUrl": f"{self.hub.url}/{repo}/commit/{commit.oid}", "hookOutput": ""}

    def _paths(self, body, repo, rev):
        tree = self._at(self._repo(repo), rev).tree
        asked = parse_qs(body.decode())["paths"]
        if len(asked) > MOST_PATHS:
            raise _Refused(400, f"at most {MOST_PATHS} paths")
        return [tree[path].info(path) for path in asked if path in tree]

    def _tree(self, body, repo, rev):
        return [file.info(path) for path, file in self._at(self._repo(repo), rev).tree.items()]

    def _resolve(self, body, repo, rev, path):
        commit = self._at(self._open(repo), rev)
        if path not in commit.tree:
            raise _Refused(404, "Entry not found", **{"X-Error-Code": "EntryNotFound"})
        file = commit.tree[path]
        start = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if start:
            self.status = 206
        return file.data[int(start[1]) if start else 0 :], {"X-Repo-Commit": commit.oid, "ETag": f'"{file.sha256 if file.lfs else file.oid}"'}

    def _page(self, body, repo):
        found = self.hub.repos.get(self.kind + repo)
        return f"<h1>{repo}</h1><p>{'private' if found.private else 'public'}, {len(found.commits) - 1} commits</p>" if found else None


def main(arguments: list[str]) -> None:
    name = arguments[arguments.index("--user") + 1] if "--user" in arguments else "alice"
    with Standin(int(arguments[0]) if arguments and arguments[0].isdigit() else 0) as hub:
        token = "hf_" + secrets.token_hex(17)
        hub.user(token, name)
        print(f"HF_ENDPOINT={hub.url} HF_TOKEN={token}", flush=True)
        while True:
            time.sleep(3600)


if __name__ == "__main__":
    main(sys.argv[1:])
