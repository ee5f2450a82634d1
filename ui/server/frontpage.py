"""The page as it is before its scripts run: title, icon, a first picture, and what a link preview reads.

Gradio serves no <title>, calls itself "Gradio" in the lines for link previews, and adds launch(head=…) with its scripts only:
until then a tab would show a bare address, and the page would be white and empty for a second or two.
"""

from __future__ import annotations

import json
import re
from html import escape
from urllib.parse import urlsplit

from starlette.responses import Response

from . import whole
from .guard import Access

TITLE = "Easel"
ABOUT = "Train a LoRA from your pictures."
GROUND = {"light": "#f6f4f0", "dark": "#131214"}  # --ez-bg of assets/easel.css
INK = {"light": "#1d1b18", "dark": "#efedea"}  # --ez-ink
# over everything until Gradio has put something there that can be used (or says what is wrong), and for 20 s at most
FIRST = """<div id="ez-first" aria-hidden="true"><img src="{base}/easel/asset/icon.svg" width="56" height="56" alt=""><b>Easel</b><i></i></div>"""
FIRST_STYLE = """
#ez-first { position: fixed; inset: 0; z-index: 99; display: grid; place-content: center; justify-items: center; gap: 14px; pointer-events: none;
  background: var(--ez-first-bg, var(--ez-bg)); color: var(--ez-first-ink); font: 600 20px system-ui, sans-serif; letter-spacing: -.02em;
  transition: opacity .2s, visibility .2s; animation: ez-first-gone 0s 20s forwards }
#ez-first i { width: 96px; height: 3px; border-radius: 3px; background: linear-gradient(90deg, transparent, #4655d8, transparent) 0 0 / 50% 100% no-repeat;
  animation: ez-first-run 1.1s ease-in-out infinite alternate }
body:has(gradio-app :is(button, input, .error)) #ez-first { opacity: 0; visibility: hidden }
@keyframes ez-first-run { to { background-position: 100% 0 } }
@keyframes ez-first-gone { to { visibility: hidden } }
"""
CHOSEN = 'document.documentElement.dataset.first = localStorage.getItem("easel-theme") || ""'  # the theme that assets/easel.js keeps
OURS = re.compile(r"/easel/((thumb|picture|sample|file|example|asset)/|manifest\.json$)")  # server/media.py's routes
OWN_ROOT = re.compile(rb'const root = "https?://[^"]*";')  # Gradio writes the address there once more
PREVIEW = re.compile(rb'<meta\s+(?:property|name)="(?:og|twitter):[^>]*>\s*')


# A proxy may pass on another Host than the browser asked for, and Gradio then writes addresses that only the proxy can reach: the page
# knows better where it is.  And where its own requests will be refused, it says so instead of staying white.
WHERE = """<script>(() => {{
const root = location.origin + {path}, config = window.gradio_config;
if (config) config.root = root;
const name = location.hostname, known = {known};
if (known.some((k) => k === name || (k[0] === "." && name.endsWith(k))) || ({digits} && /^([\\d.]+|\\[.*\\])$/.test(name))) return;
document.addEventListener("DOMContentLoaded", () => {{
  document.body.innerHTML = '<main style="max-width:36rem;margin:15vh auto;padding:0 1rem;font:16px/1.5 system-ui"><h1>Easel</h1><p></p></main>';
  document.querySelector("main p").textContent =
    `Easel was asked as ${{name}}, a name that it does not know as its own. If this name is yours, start it with --host-name ${{name}}`;
}});
}})()</script>"""


class FrontPage:
    """ASGI middleware that gives the page at "/" its head.  base: path under which a proxy serves the app.  access: whom the guard lets in."""

    def __init__(self, app, base: str = "", access: Access | None = None):
        path = urlsplit(base).path.rstrip("/")
        self.app, self.path, self.head, self.first = app, path, head(path).encode(), FIRST.format(base=escape(path)).encode()
        self.where = where(path, access).encode() if access else b""

    async def __call__(self, scope, receive, send):
        if self.path and scope["type"] == "http":
            scope = {**scope, "root_path": ""}  # or a path of ours that begins like it would be cut by the router
            if (scope["path"] + "/").startswith(self.path + "/") and not OURS.match(scope["path"]):  # a proxy that leaves the path on
                scope |= {"path": scope["path"][len(self.path) :] or "/", "raw_path": scope.get("raw_path", b"")[len(self.path) :] or b"/"}
        if scope["type"] == "http" and scope["path"] in ("", "/") and scope["method"] == "HEAD":
            # Gradio asks so whether it can be reached, and gives up after three seconds: a busy computer takes longer to lay the page out
            return await Response(media_type="text/html")(scope, receive, send)
        if scope["type"] != "http" or scope["path"] not in ("", "/") or scope["method"] != "GET":
            return await self.app(scope, receive, send)

        def with_ours(status: int, kind: str, body: bytes) -> bytes:
            return with_where(with_first(with_head(body, self.head), self.first), self.where) if kind.startswith("text/html") else body

        await whole.changed(self.app, scope, receive, send, with_ours)


def where(path: str, access: Access) -> str:
    """The script that tells the page where it is.  No script where others may frame or rename the page, as on a Space: its address is known there."""
    if not access.framed_by:
        return ""
    known = [*(f"[{h}]" if ":" in h else h for h in access.hosts), *access.named, *(urlsplit(o).hostname or "" for o in access.origins)]
    return WHERE.format(path=json.dumps(path), known=json.dumps(known).replace("<", "\\u003c"), digits=json.dumps(access.any_address))


def with_head(page: bytes, ours: bytes) -> bytes:
    """The page with our lines first in its head, and without Gradio's own for link previews."""
    before, script, data = page.partition(b"<script")  # what follows is the app's data, and stays as it is
    return PREVIEW.sub(b"", before).replace(b"<head>", b"<head>\n" + ours, 1) + script + data


def with_first(page: bytes, first: bytes) -> bytes:
    """The page with `first` before Gradio's own element, which stays empty until its scripts have run."""
    before, element, after = page.rpartition(b"<gradio-app")  # the last one: what comes before is also the app's data
    return before + first + element + after


def with_where(page: bytes, script: bytes) -> bytes:
    """The page with `script` right behind the one that holds the app's data, before anything reads them."""
    before, data, after = page.partition(b"window.gradio_config = ")
    rest, end, behind = after.partition(b"</script>")  # in the data every '<' is escaped
    behind = OWN_ROOT.sub(b"const root = window.gradio_config.root;", behind) if script else behind
    return before + data + rest + end + script + behind if data and end else page


def head(base: str) -> str:
    """The lines for <head>."""
    base = escape(base.rstrip("/"))
    light, dark = GROUND["light"], GROUND["dark"]
    return "\n".join(
        [
            f"<title>{TITLE}</title>",
            f'<meta property="og:title" content="{TITLE}">',
            f'<meta property="og:description" content="{ABOUT}">',
            f'<meta name="description" content="{ABOUT}">',
            f'<meta name="theme-color" media="(prefers-color-scheme: light)" content="{light}">',
            f'<meta name="theme-color" media="(prefers-color-scheme: dark)" content="{dark}">',
            f'<link rel="manifest" href="{base}/easel/manifest.json">',
            f'<link rel="icon" type="image/svg+xml" href="{base}/easel/asset/icon.svg">',
            f'<link rel="apple-touch-icon" href="{base}/easel/asset/icon-192.png">',
            f"<style>:root {{ --ez-bg: {light}; --ez-first-ink: {INK['light']} }}",
            f"@media (prefers-color-scheme: dark) {{ :root {{ --ez-bg: {dark}; --ez-first-ink: {INK['dark']} }} }}",
            *(f":root[data-first={name}] {{ --ez-first-bg: {GROUND[name]}; --ez-first-ink: {INK[name]} }}" for name in GROUND),
            f"{FIRST_STYLE}</style>",
            f"<script>{CHOSEN}</script>\n",
        ]
    )
