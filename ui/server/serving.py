"""How the page is served: what the flags and the place (a computer, a Space, Colab) ask for, checked before anything starts."""

from __future__ import annotations

import importlib.util
import io
import logging
import re
import secrets
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

from .guard import LOOPBACK, Access, access_for

PORT = 7860
PORTS_TRIED = 100
HOST_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
MCP = "mcp==1.30.0"  # what Gradio 6.31 takes (mcp < 2), and requirements-dev.txt tests
CLOSE_S = 1  # for answers that are under way when the app ends


@dataclass(frozen=True)
class Plan:
    """Everything that launch() is told about the network."""

    host: str
    port: int
    auth: tuple[str, str] | None
    share: bool
    root_path: str
    local: bool  # only this computer can reach it, so folders may be named
    on_space: bool
    on_colab: bool
    window: bool
    access: Access
    folders: tuple[Path, ...]  # where folders may be named although others can reach it (--data)
    trusted: str  # proxies whose word on a visitor's address counts
    says: tuple[str, ...]  # lines to print below the address
    mcp: bool = False  # models may ask too


def plan(args, environ: Mapping[str, str]) -> Plan:
    """The plan for these flags in this environment.  Raises ValueError with a sentence when they do not go together."""
    on_space = bool(environ.get("SPACE_ID"))
    on_colab = bool(environ.get("COLAB_RELEASE_TAG") or environ.get("COLAB_GPU"))
    listen = args.listen or (bool(args.host) and args.host not in LOOPBACK)
    share = (args.share or on_colab) and not on_space
    auth = read_auth(args.auth or environ.get("EASEL_AUTH", ""))
    says: tuple[str, ...] = ()
    if listen and not auth and not on_space:
        raise ValueError("--listen lets other computers in, so it needs a password: add --auth user:password, or set EASEL_AUTH to user:password.")
    if share and not auth:
        auth = ("easel", secrets.token_urlsafe(9))
        says = (f"Sign in as '{auth[0]}' with the password '{auth[1]}'. It was made for this start; --auth user:password sets your own.",)
    if not 1 <= args.port <= 65535:
        raise ValueError(f"--port is {args.port}; a port is a number from 1 to 65535.")
    root_path = args.root_path.rstrip("/")
    if root_path and not root_path.startswith(("/", "http://", "https://")):
        raise ValueError(f"--root-path is {args.root_path!r}; it starts with '/' or is a whole address, such as https://example.com/easel.")
    host = args.host or ("0.0.0.0" if args.listen or on_space else "127.0.0.1")
    names = tuple(name for text in args.host_name for name in text.split(",") if name.strip())
    for name in names:
        if not HOST_NAME.fullmatch(name.strip()):
            raise ValueError(f"--host-name is {name!r}; it takes a bare name, such as nas.local, without http:// and without a path.")
    access = access_for(
        host, listen, share, on_colab, environ.get("SPACE_HOST", "") if on_space else "", root_path, own_names() if listen else (), tuple(n.strip() for n in names)
    )
    folders = tuple(Path(text).expanduser().resolve() for text in args.data)
    for folder in folders:
        if not folder.is_dir():
            raise ValueError(f"--data is {folder}, which is no folder.")
    # without --trusted-proxy what a visitor says of his own address is not believed; the tunnel of --share ends on this computer and says it truly
    trusted = args.trusted_proxy or ("127.0.0.1" if share else "")
    local = not (listen or share or on_space or root_path or names)
    if args.mcp and importlib.util.find_spec("mcp") is None:
        raise ValueError(f'--mcp needs the Python package mcp, which is not installed; install it with "{sys.executable}" -m pip install {MCP}, then start again.')
    window = not (args.no_browser or on_space or on_colab or args.listen)
    return Plan(host, args.port, auth, share, root_path, local, on_space, on_colab, window, access, folders, trusted, says, args.mcp)


NOT_SHARED = (
    "No public address could be had from gradio.live: it cannot be reached from here, or its helper program could not be downloaded or started. "
    "Easel runs at {url} for this computer alone. Check the internet connection and start again with --share, or let computers of your own network in with --listen."
)


@contextmanager
def quiet(prints: bool) -> Iterator[None]:
    """Keeps what Gradio itself prints about a public address, whether it got one or not, and about MCP to itself: we say what came of it."""
    with redirect_stdout(io.StringIO()) if prints else nullcontext():
        yield


def read_auth(text: str) -> tuple[str, str] | None:
    """("user", "password") of 'user:password'; None for ''.  Raises ValueError."""
    if not text:
        return None
    user, colon, password = text.partition(":")
    if not (user and colon and password):
        raise ValueError("--auth takes user:password, with both of them.")
    return user, password


def own_names() -> tuple[str, ...]:
    """What this computer is called on its network."""
    name = socket.gethostname().lower()
    return tuple(dict.fromkeys([name, f"{name.split('.')[0]}.local", name.split(".")[0], socket.getfqdn().lower()]))


def free_port(host: str, wanted: int) -> int:
    """`wanted`, or the next port that nobody listens on.  Raises OSError after 100 of them."""
    for port in range(wanted, min(wanted + PORTS_TRIED, 65536)):
        if _is_free(host, port) and _is_free("127.0.0.1", port):
            return port
    raise OSError(f"all ports from {wanted} to {wanted + PORTS_TRIED - 1} are busy; choose another with --port")


def _is_free(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        if hasattr(socket, "SO_EXCLUSIVEADDRUSE"):  # Windows lets two listen on one port otherwise
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def close(demo) -> None:
    """Ends the server of a launched gr.Blocks within two seconds, whoever still has the page open."""
    demo.server.config.timeout_graceful_shutdown = CLOSE_S
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # an answer that the end cuts off is no error
    demo.close(verbose=False)
