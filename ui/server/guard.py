"""The request guard.  Every request passes it first: is the Host ours, is the Origin ours; and every answer gets its headers.

Gradio checks neither Host nor Origin on all routes, so without this a page on another site could reach a local Easel by DNS
rebinding (a foreign name that points to 127.0.0.1) or post to its upload and component routes.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse

LOOPBACK = ("localhost", "127.0.0.1", "::1")
# answers that are files somebody brought: nothing in them may run, whatever they claim to be
FILE_ROUTES = ("/gradio_api/file", "/easel/thumb/", "/easel/picture/", "/easel/sample/", "/easel/file/", "/easel/example/", "/easel/preset/")
FILE_POLICY = "sandbox; default-src 'none'; img-src 'self' data:; media-src 'self'; style-src 'unsafe-inline'"
HUB = "https://huggingface.co"
COLAB_FRAMES = "https://colab.research.google.com https://*.googleusercontent.com"


@dataclass(frozen=True)
class Access:
    """Who may talk to this app.  hosts: exact names, and suffixes that start with a dot."""

    hosts: tuple[str, ...] = LOOPBACK
    any_address: bool = False  # an address of digits is no rebinding: only a name can be pointed elsewhere
    origins: tuple[str, ...] = ()  # besides the one that equals the Host
    framed_by: str = "'none'"  # CSP frame-ancestors; "" sets no frame header at all (Spaces)
    named: tuple[str, ...] = ()  # --host-name: what a proxy before us is called, whatever Host it passes on

    def host_ok(self, host: str) -> bool:
        """Whether a Host header names this app."""
        name = _name(host)
        if name in self.hosts or name in self.named or any(s.startswith(".") and name.endswith(s) for s in self.hosts):
            return True
        return self.any_address and _is_address(name)

    def origin_ok(self, origin: str, host: str) -> bool:
        """Whether an Origin header is the page that this app itself served."""
        parts = urlsplit(origin)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            return False  # "null" too: sandboxed frames and local files
        return parts.netloc.lower() == host.lower() or origin.lower() in self.origins or _name(parts.netloc) in self.named


def access_for(host: str, listen: bool, share: bool, on_colab: bool, space_host: str, root_path: str, own_names: tuple[str, ...], named: tuple[str, ...] = ()) -> Access:
    """The rule of one way to serve.  own_names: what this computer is called on its network.  named: what --host-name adds."""
    hosts, origins, framed_by, any_address = list(LOOPBACK), [], "'none'", False
    if listen:
        hosts += [n.lower() for n in own_names]
        any_address = True
    elif host not in LOOPBACK:
        hosts.append(host.lower())
    if share:
        hosts.append(".gradio.live")
    if on_colab:
        hosts += [".googleusercontent.com", ".colab.dev"]
        framed_by = f"'self' {COLAB_FRAMES}"
    if space_host:
        hosts += [h.strip().lower() for h in space_host.split(",") if h.strip()]
        any_address = True  # the Space's own health check
        origins.append(HUB)
        framed_by = ""
    if root_path.startswith(("http://", "https://")):
        parts = urlsplit(root_path)
        hosts.append(parts.hostname or "")
        origins.append(f"{parts.scheme}://{parts.netloc}".lower())
    return Access(tuple(hosts), any_address, tuple(origins), framed_by, tuple(n.lower().rstrip(".") for n in named))


class Guard:
    """ASGI middleware that holds an Access."""

    def __init__(self, app, access: Access):
        self.app, self.access = app, access

    async def __call__(self, scope, receive, send):
        if scope["type"] not in ("http", "websocket"):
            return await self.app(scope, receive, send)
        reason = refusal(Headers(scope=scope), self.access)
        if reason and scope["type"] == "websocket":
            return await send({"type": "websocket.close", "code": 1008})
        answer = PlainTextResponse(reason, status_code=403) if reason else self.app
        await answer(scope, receive, self._with_headers(scope, send))

    def _with_headers(self, scope, send):
        path = scope.get("path", "")
        own = headers_for(path, self.access)

        async def sent(message):
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for key, value in own.items():
                    headers[key] = value
            await send(message)

        return sent


def refusal(headers: Headers, access: Access) -> str:
    """Why a request is refused; "" lets it in."""
    asked = [headers.get("host", ""), *headers.get("x-forwarded-host", "").split(",")[:1]]  # the second is what a proxy was asked for
    for host in (h.strip() for h in asked if h or h is asked[0]):
        if not access.host_ok(host):
            return unknown_name(_name(host))
    origin = headers.get("origin")
    if origin is not None and not any(access.origin_ok(origin, host.strip()) for host in asked if host):
        return f"Easel refuses requests that come from another site, {_printable(origin)}. If that is Easel's own address, behind a proxy, {_cure(_name(urlsplit(origin).netloc))}.\n"
    crossing = headers.get("sec-fetch-site", "same-origin") in ("cross-site", "same-site")
    if crossing and headers.get("sec-fetch-mode") != "navigate" and access.framed_by and origin is None:
        return "Easel's pictures and files are not for other sites to embed.\n"
    return ""


def unknown_name(name: str) -> str:
    """The refusal of a request for a name that is not known to be ours, with the flag that makes it known."""
    if _is_address(name):
        return f"Easel was asked as {name}, but it answers this computer only. To let others in, start it with --listen --auth user:password.\n"
    return f"Easel was asked as {_printable(name)!r}, a name that it does not know as its own. Open it at the address that it printed when it started; if this name is yours, {_cure(name)}.\n"


def _cure(name: str) -> str:
    return f"start it with --host-name {_printable(name) or 'NAME'}"


def _printable(text: str) -> str:
    return "".join(c for c in text if c.isalnum() or c in ".-_:/[]")[:100]


def headers_for(path: str, access: Access) -> dict[str, str]:
    """The security headers of one answer."""
    headers = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
    if path.startswith(FILE_ROUTES):
        headers["Content-Security-Policy"] = FILE_POLICY
    elif access.framed_by:
        headers["Content-Security-Policy"] = f"frame-ancestors {access.framed_by}; object-src 'none'; base-uri 'self'"
    if access.framed_by:
        headers["Cross-Origin-Resource-Policy"] = "same-origin"
        if access.framed_by == "'none'":
            headers["X-Frame-Options"] = "DENY"
    return headers


def _name(host: str) -> str:
    """The name of a Host header without its port: 'localhost:7860' -> 'localhost', '[::1]:80' -> '::1'."""
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    try:
        return bool(ipaddress.ip_address(name))
    except ValueError:
        return False
