"""The page in the language of whoever asks for it.

Gradio lays a page out once, for everybody: labels, buttons and what stands in them are in its configuration.  So the page is laid out once more for
each language that is asked for, only to be read, and what differs is put into the configuration on its way out.  What Gradio says itself
follows the browser's language, which a choice by hand stands in for.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import gradio as gr
import orjson
from gradio.context import Context
from gradio.routes import toorjson
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from .. import language, theme
from ..language import SOURCE, asked_in, of_request, speaking
from . import whole

TRIES = 5
AGAIN_S = 60.0  # after it failed
DATA = b"window.gradio_config = "
GRADIOS = {"zh": "zh-CN"}  # what Gradio calls a language, where it is not as we do
# before Gradio's own scripts: the words of ours, and what the browser is taken to speak
HEAD = """<script>(() => {{
window.easel = Object.assign(window.easel || {{}}, {{ language: {code}, words: {words} }});
const said = {browser};
for (const [name, value] of [["language", said], ["languages", [said]]]) Object.defineProperty(navigator, name, {{ get: () => value, configurable: true }});
}})()</script>"""


class Layouts:
    """What differs from the English page in each language.  lay_out: makes the page; page: the one that is served."""

    def __init__(self, lay_out: Callable[[], gr.Blocks], page: gr.Blocks):
        self._lay_out, self._page, self._lock = lay_out, page, threading.Lock()
        self._again_at: dict[str, float] = {}
        self._known: dict[str, dict[int, dict[str, Any]]] = {SOURCE: {}}

    def differing(self, code: str) -> dict[int, dict[str, Any]]:
        """{id of a component: {property: what stands there in this language}}; empty, and so English, where the page cannot be laid out alike."""
        with self._lock:
            if code not in self._known and time.monotonic() >= self._again_at.get(code, 0.0):
                found = self._compared(code)
                if found is None:
                    self._again_at[code] = time.monotonic() + AGAIN_S
                else:
                    self._known[code] = found
            return self._known.get(code, {})

    def _compared(self, code: str) -> dict[int, dict[str, Any]] | None:
        """What differs; None where the page was not laid out alike."""
        why = "its pieces are others"
        for _ in range(TRIES):  # a component that an event makes meanwhile would take an id of ours
            try:
                served, other = _told(self._page), _told(self._again(code))
            except Exception as error:  # noqa: BLE001 a plugin's page may raise anything when it is laid out once more; whoever asks gets English
                why = f"{type(error).__name__}: {error}"
                continue
            if [(id, kind) for id, (kind, _) in served.items()] == [(id, kind) for id, (kind, _) in other.items()]:
                return {id: differs for id, (_, props) in other.items() if (differs := _differences(served[id][1], props))}
        print(f"The page could not be laid out in {language.LANGUAGES[code]}, so its fixed texts are English for now: {why}", file=sys.stderr, flush=True)
        return None

    def _again(self, code: str) -> gr.Blocks:
        now = Context.id
        Context.id = self._page._id
        try:
            with speaking(code):
                return self._lay_out()
        finally:
            Context.id = max(now, Context.id)


def _told(page: gr.Blocks) -> dict[int, tuple[str, dict[str, Any]]]:
    return {c["id"]: (c["type"], c["props"]) for c in orjson.loads(str(toorjson(page.get_config_file()["components"])))}


def _differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in theirs.items() if value != ours.get(name) and name != "name"}


class Spoken:
    """ASGI middleware: every request is answered in its language, and the page and its configuration are given in it."""

    def __init__(self, app, layouts: Layouts):
        self.app, self.layouts = app, layouts

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        request = Request(scope)
        code = of_request(request.query_params, request.cookies, request.headers)
        asked_in(code)
        path = scope["path"].rstrip("/")
        if scope["method"] != "GET" or path not in ("", "/config"):
            return await self.app(scope, receive, send)
        differing = await run_in_threadpool(self.layouts.differing, code)

        def in_language(status: int, kind: str, body: bytes) -> bytes:
            if kind.startswith("text/html"):
                return with_language(body, code, differing)
            spoken = status == 200 and kind.startswith("application/json") and differing
            return orjson.dumps(put(orjson.loads(body), differing)) if spoken else body

        await whole.changed(self.app, scope, receive, send, in_language, vary="Accept-Language, Cookie")


def put(config: dict[str, Any], differing: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """Gradio's configuration of the page with what differs put into it."""
    for component in config.get("components", ()):
        component["props"].update(differing.get(component["id"], {}))
    return config


def with_language(page: bytes, code: str, differing: Mapping[int, Mapping[str, Any]]) -> bytes:
    """The page's HTML in a language."""
    before, data, after = page.partition(DATA)
    text, end, behind = after.partition(b";</script>")  # in the data every '<' is escaped
    if data and end and differing:
        text = str(toorjson(put(orjson.loads(text), differing))).encode()
    before = before.replace(b'lang="en"', f'lang="{code}"'.encode(), 1)
    first, script, rest = before.partition(b"<script")  # Gradio's first: what comes before is for whoever previews a link
    before = first + head(code).encode() + script + rest if script else before + head(code).encode()
    return before + data + text + end + behind


def head(code: str) -> str:
    """The script that says what the page's own scripts speak, and what Gradio is to take the browser's language for."""
    data = lambda value: json.dumps(value, ensure_ascii=False).replace("<", "\\u003c")
    with speaking(code):
        style = theme.written()
    return HEAD.format(code=data(code), words=data(language.of_scripts(code)), browser=data(GRADIOS.get(code, code))) + style
