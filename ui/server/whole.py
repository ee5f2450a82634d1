"""An answer that is changed on its way out: held back until all of it is there, then sent with the length that it has now."""

from __future__ import annotations

from collections.abc import Callable

from starlette.datastructures import Headers, MutableHeaders


async def changed(app, scope, receive, send, change: Callable[[int, str, bytes], bytes], vary: str = "") -> None:
    """Lets `app` answer, and sends change(status, content type, body) in the body's place.  vary: headers of the request that the answer follows."""
    start, pieces = {}, []

    async def sent(message):
        if message["type"] == "http.response.start":
            start.update(message)
            return
        if message["type"] != "http.response.body":
            return await send(message)
        pieces.append(message.get("body", b""))
        if message.get("more_body"):
            return
        body = change(start["status"], Headers(scope=start).get("content-type", ""), b"".join(pieces))
        headers = MutableHeaders(scope=start)
        headers["content-length"] = str(len(body))
        if vary:
            headers.add_vary_header(vary)
        await send(start)
        await send({"type": "http.response.body", "body": body})

    await app(scope, receive, sent)
