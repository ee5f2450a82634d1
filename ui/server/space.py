"""Whose Space it is.  Nobody but the owner reaches anything of the app; everybody else gets a page that says how to have a Space of one's own.

Buttons and api_visibility keep nobody out: every handler is a route that can be called.  So this stands before all of them, and lets in by
a list of what is open, not by one of what is closed.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape

from starlette.responses import HTMLResponse, PlainTextResponse

from ..theme import ASSETS
from .frontpage import ABOUT, GROUND, INK, TITLE

HUB = "https://huggingface.co"
# startup-events: Gradio asks itself for it as it starts; it tells nothing and changes nothing afterwards
OPEN = ("/gradio_api/startup-events", "/login/huggingface", "/login/callback", "/logout", "/easel/manifest.json", "/easel/asset/icon.svg",
        "/easel/asset/icon-192.png", "/favicon.ico")  # fmt: skip


@dataclass(frozen=True)
class Owner:
    """Who owns a Space.  name: of a person or an organisation, whose members all own it.  can_sign_in: whether the Space has OAuth."""

    space: str
    name: str
    can_sign_in: bool

    def is_he(self, session: Mapping | None, now: float | None = None) -> bool:
        """Whether the OAuth session, which only this Space's own key can have signed, is the owner's."""
        info = (session or {}).get("oauth_info")
        if not isinstance(info, Mapping) or not isinstance(info.get("userinfo"), Mapping):
            return False
        until = info.get("expires_at")
        if isinstance(until, int | float) and until < (time.time() if now is None else now):
            return False
        who = info["userinfo"]
        orgs = [o for o in who.get("orgs") or () if isinstance(o, Mapping)]
        # preferred_username is the Hub's own and unique; `name` is what people call themselves, and may be anybody's
        return self.name.casefold() in {str(x.get("preferred_username", "")).casefold() for x in (who, *orgs)} - {""}

    def signed_in(self, session: Mapping | None) -> str:
        """The name of whoever is signed in; "" for nobody."""
        info = (session or {}).get("oauth_info")
        who = info.get("userinfo") if isinstance(info, Mapping) else None
        return str(who.get("preferred_username", "")) if isinstance(who, Mapping) else ""


def owner_of(environ: Mapping[str, str]) -> Owner | None:
    """The owner of the Space that this process runs as; None where it is none."""
    space = environ.get("SPACE_ID", "")
    if not space:
        return None
    return Owner(space, environ.get("SPACE_AUTHOR_NAME") or space.split("/")[0], bool(environ.get("OAUTH_CLIENT_ID")))


class Door:
    """ASGI middleware for a Space, inside the session's own one."""

    def __init__(self, app, owner: Owner):
        self.app, self.owner = app, owner

    async def __call__(self, scope, receive, send):
        session = scope.get("session")
        if scope["type"] == "lifespan" or self.owner.is_he(session):
            return await self.app(scope, receive, send)
        if scope["type"] == "websocket":
            return await send({"type": "websocket.close", "code": 1008})
        path, method = scope["path"].rstrip("/") or "/", scope["method"]
        if method in ("GET", "HEAD") and path in OPEN:
            return await self.app(scope, receive, send)
        if method in ("GET", "HEAD") and path == "/":
            answer = HTMLResponse(page(self.owner, self.owner.signed_in(session)), headers={"Cache-Control": "no-store"})
        else:
            answer = PlainTextResponse(f"Only the owner of this Space, {self.owner.name}, can do that. Sign in, or duplicate the Space.\n", status_code=403)
        await answer(scope, receive, send)


def page(owner: Owner, signed_in: str) -> str:
    """What everybody else sees: nothing of the owner's, and two ways on."""
    name, duplicate = escape(owner.name), f"{HUB}/spaces/{escape(owner.space, quote=True)}?duplicate=true"
    who = f"<p>You are signed in as {escape(signed_in)}, who does not own this Space.</p>" if signed_in else ""
    mine = '<a class="b" href="/login/huggingface" target="_blank" rel="opener">I am the owner: sign in</a>'
    if not owner.can_sign_in:
        mine = "<p>The owner cannot sign in yet: the first lines of the Space's README.md lack <code>hf_oauth: true</code>, with which the Hub lets people sign in.</p>"
    logo = (ASSETS / "icon.svg").read_text(encoding="utf-8")
    return f"""<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{TITLE}</title><meta name="description" content="{ABOUT}"><style>
:root {{ color-scheme: light dark; --bg: {GROUND["light"]}; --ink: {INK["light"]} }}
@media (prefers-color-scheme: dark) {{ :root {{ --bg: {GROUND["dark"]}; --ink: {INK["dark"]} }} }}
body {{ margin: 0; min-height: 100vh; display: grid; place-content: center; background: var(--bg); color: var(--ink); font: 16px/1.5 system-ui, sans-serif }}
main {{ max-width: 34rem; padding: 2rem }} svg {{ width: 56px; height: 56px }} h1 {{ margin: .5rem 0 }}
a.b {{ display: inline-block; margin: .5rem .5rem 0 0; padding: .6rem 1rem; border-radius: 8px; border: 1px solid currentColor; color: inherit; text-decoration: none }}
a.main {{ background: #4655d8; border-color: #4655d8; color: #fff }}</style></head>
<body><main>{logo}<h1>{TITLE}</h1><p>{ABOUT} It runs here for {name} alone, on {name}'s hardware: pictures and results are theirs, and nobody else sees or starts anything.</p>
{who}<p><b>To train your own, duplicate this Space</b>, and keep the copy private.</p>
<p><a class="b main" href="{duplicate}" target="_blank" rel="noopener">Duplicate this Space</a>{mine}</p></main></body></html>"""
