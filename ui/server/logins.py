"""Signing in with --auth: a comparison that tells nothing by its time, and guesses that become slow.  On the page by a form, for MCP with each request.

After FREE wrong passwords from an address, each further try has to wait twice as long as the one before, up to LONGEST_S.  Tries at one
name from many addresses are held back a little too, but never refused for it: whoever knows the password gets in from elsewhere.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import ipaddress
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse

from ..language import tr

FREE = 3
LONGEST_S = 60.0
LONGEST_NAME_S = 3.0
FORGET_S = 3600.0
REMEMBERED = 10_000  # addresses and names; the oldest go first
LOGIN_BYTES = 10_000  # a name and a password; more is no login
SIGNED_IN = "easel.signed_in"  # in a request's scope, where Basic found the right password


def checker(user: str, password: str) -> Callable[[str, str], bool]:
    """The function that says whether a name and a password are the right ones."""
    right = _digest(user), _digest(password)

    def check(name: str, word: str) -> bool:
        return bool(hmac.compare_digest(_digest(name), right[0]) & hmac.compare_digest(_digest(word), right[1]))

    return check


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


@dataclass
class _Tries:
    wrong: int = 0
    until: float = 0.0  # no try before then
    seen: float = 0.0


class Brake:
    """ASGI middleware in front of Gradio's /login."""

    def __init__(self, app, clock: Callable[[], float] = time.monotonic, sleep=asyncio.sleep):
        self.app, self.clock, self.sleep = app, clock, sleep
        self._by_address: dict[str, _Tries] = {}
        self._by_name: dict[bytes, _Tries] = {}

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http" or scope["method"] != "POST" or scope["path"].rstrip("/") != "/login":
            return await self.app(scope, receive, send)
        body = await _body(receive)
        if body is None:
            return await JSONResponse({"detail": tr("That is no sign-in.")}, status_code=413)(scope, receive, send)
        where, now = _place(scope), self.clock()
        tries = _of(self._by_address, where, now)
        if now < tries.until:
            wait_s = int(tries.until - now) + 1
            text = tr("Too many wrong passwords from this address. Try again in {seconds} s.", seconds=wait_s)
            return await JSONResponse({"detail": text}, status_code=429, headers={"Retry-After": str(wait_s)})(scope, receive, send)
        tries.wrong += 1  # counted before the answer is known, so that a hundred at once are a hundred
        tries.until = now + _wait(tries.wrong, LONGEST_S)
        name = await _name_in(scope, body)
        named = _of(self._by_name, name, now)
        named.wrong += 1
        await self.sleep(_wait(named.wrong, LONGEST_NAME_S))
        answered = []

        async def sent(message):
            if message["type"] == "http.response.start":
                answered.append(message["status"])
            await send(message)

        await self.app(scope, _again(body, receive), sent)
        if answered and answered[0] < 300:
            self._by_address.pop(where, None)
            self._by_name.pop(name, None)
        else:
            print(f"Sign-in refused: wrong name or password from {where}, {tries.wrong} in a row.{_next(tries, self.clock())}", file=sys.stderr, flush=True)


class Basic:
    """ASGI middleware in front of what programs ask without signing in on the page first: the name and password come with each request, as HTTP's own
    Basic login (RFC 7617).

    Gradio mounts its MCP server beside its own login, which does not reach there.  demanded: a path with this in it is not reached without; accepted: one
    that begins so may be asked that way too, and says so to whoever answers.
    """

    def __init__(self, app, check: Callable[[str, str], bool], demanded: str, accepted: str, clock: Callable[[], float] = time.monotonic):
        self.app, self.check, self.demanded, self.accepted, self.clock = app, check, demanded, accepted, clock
        self._by_address: dict[str, _Tries] = {}

    async def __call__(self, scope, receive, send):
        demanded = scope["type"] in ("http", "websocket") and self.demanded in scope["path"]
        given = _basic(Headers(scope=scope)) if demanded or (scope["type"] == "http" and scope["path"].startswith(self.accepted)) else None
        if not demanded and given is None:
            return await self.app(scope, receive, send)
        if scope["type"] == "websocket":
            return await send({"type": "websocket.close", "code": 1008})
        where, now = _place(scope), self.clock()
        tries = _of(self._by_address, where, now)
        if now < tries.until:
            wait_s = int(tries.until - now) + 1
            text = f"Too many wrong passwords from this address. Try again in {wait_s} s."
            return await JSONResponse({"detail": text}, status_code=429, headers={"Retry-After": str(wait_s)})(scope, receive, send)
        if given and self.check(*given):
            self._by_address.pop(where, None)
            return await self.app({**scope, SIGNED_IN: True}, receive, send)
        if given:
            tries.wrong += 1
            tries.until = now + _wait(tries.wrong, LONGEST_S)
            print(f"Sign-in refused: wrong name or password from {where}, {tries.wrong} in a row.{_next(tries, now)}", file=sys.stderr, flush=True)
        text = "Send the name and password of --auth with each request, as the header Authorization: Basic (docs/api.md)."
        await JSONResponse({"detail": text}, status_code=401, headers={"WWW-Authenticate": 'Basic realm="Easel", charset="UTF-8"'})(scope, receive, send)


def _basic(headers: Headers) -> tuple[str, str] | None:
    """(name, password) of a Basic login; None where there is none that can be read."""
    kind, _, told = headers.get("authorization", "").partition(" ")
    if kind.lower() != "basic" or len(told) > LOGIN_BYTES:
        return None
    try:
        name, colon, password = base64.b64decode(told.strip(), validate=True).decode().partition(":")
    except ValueError:  # no base64, or no UTF-8
        return None
    return (name, password) if colon else None


def _of(kept: dict, key, now: float) -> _Tries:
    """The tries of an address or a name; new where there were none for long."""
    tries = kept.pop(key, None)
    if tries is None or now - tries.seen > FORGET_S:
        tries = _Tries()
    tries.seen = now
    kept[key] = tries  # at the end: the first of the dict is the one that was silent longest
    while len(kept) > REMEMBERED:
        del kept[next(iter(kept))]
    return tries


def _wait(wrong: int, longest_s: float) -> float:
    return 0.0 if wrong <= FREE else min(longest_s, 2.0 ** min(wrong - FREE - 1, 30))


def _next(tries: _Tries, now: float) -> str:
    return f" The next try is heard in {tries.until - now:.0f} s." if tries.until > now else ""


def _place(scope) -> str:
    """The visitor's address; of IPv6 the network, as one visitor has all of its addresses."""
    host = (scope.get("client") or ("unknown", 0))[0]
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if address.version == 6 and address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(address) if address.version == 4 or address.is_loopback else str(ipaddress.ip_network((address, 64), strict=False))


async def _body(receive) -> bytes | None:
    """The whole body; None when it is too long."""
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > LOGIN_BYTES:
            return None
        if message["type"] != "http.request" or not message.get("more_body"):
            return body


def _again(body: bytes, receive):
    told = False

    async def give():
        nonlocal told
        if told:
            return await receive()
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return give


async def _name_in(scope, body: bytes) -> bytes:
    """The name that is tried, hashed: what people type into the wrong field is kept nowhere."""
    try:
        form = await Request(scope, _again(body, None)).form()
        name = str(form.get("username", "")).strip()
    except Exception:  # noqa: BLE001 a form that cannot be read: the app behind says so
        name = ""
    return _digest(name)
