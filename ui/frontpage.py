"""The page as it is before its scripts run: title, icon, ground colour, and what a link preview reads.

Gradio serves no <title>, calls itself "Gradio" in the lines for link previews, and adds launch(head=…) with its scripts only:
until then a tab would show a bare address, and a dark page would be white.
"""

from __future__ import annotations

import re
from html import escape

from starlette.datastructures import Headers, MutableHeaders

TITLE = "Easel"
ABOUT = "Train a LoRA from your pictures."
GROUND = {"light": "#f6f4f0", "dark": "#131214"}  # --ez-bg of assets/easel.css
PREVIEW = re.compile(rb'<meta\s+(?:property|name)="(?:og|twitter):[^>]*>\s*')


class FrontPage:
    """ASGI middleware that gives the page at "/" its head.  base: path under which a proxy serves the app."""

    def __init__(self, app, base: str = ""):
        self.app, self.head = app, head(base).encode()

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http" or scope["path"] not in ("", "/") or scope["method"] != "GET":
            return await self.app(scope, receive, send)
        start, pieces = {}, []

        async def sent(message):
            if message["type"] == "http.response.start":
                start.update(message)
                return
            pieces.append(message.get("body", b""))
            if message.get("more_body"):
                return
            body = b"".join(pieces)
            if Headers(scope=start).get("content-type", "").startswith("text/html"):
                body = with_head(body, self.head)
                MutableHeaders(scope=start)["content-length"] = str(len(body))
            await send(start)
            await send({"type": "http.response.body", "body": body})

        await self.app(scope, receive, sent)


def with_head(page: bytes, ours: bytes) -> bytes:
    """The page with our lines first in its head, and without Gradio's own for link previews."""
    before, script, data = page.partition(b"<script")  # what follows is the app's data, and stays as it is
    return PREVIEW.sub(b"", before).replace(b"<head>", b"<head>\n" + ours, 1) + script + data


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
            f"<style>:root {{ --ez-bg: {light} }} @media (prefers-color-scheme: dark) {{ :root {{ --ez-bg: {dark} }} }}</style>\n",
        ]
    )
