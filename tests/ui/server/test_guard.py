"""The request guard: who is let in, in each way to serve, and which headers leave with every answer."""

from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from ui.server.guard import Access, Guard, access_for


def access(**changes) -> Access:
    """The rule of a plain local start, with changes."""
    usual = {"host": "127.0.0.1", "listen": False, "share": False, "on_colab": False, "space_host": "", "root_path": "", "own_names": ()}
    return access_for(**(usual | changes))


def client(rule: Access) -> TestClient:
    """A small app behind the guard that counts what reaches it."""

    async def answer(request):
        request.app.state.reached += 1
        return PlainTextResponse("in")

    app = Starlette(
        routes=[Route("/{path:path}", answer, methods=["GET", "POST"])], middleware=[Middleware(Guard, access=rule)]
    )
    app.state.reached = 0
    return TestClient(app, base_url="http://127.0.0.1:7860")


@pytest.mark.parametrize("host", ["127.0.0.1:7860", "localhost:7860", "localhost", "[::1]:7860", "LOCALHOST:1", "localhost."])
def test_loopback_names_are_let_in(host):
    assert client(access()).get("/", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:7860", "127.0.0.1.evil.example", "localhost.evil.example", "192.168.1.5", "", "[", "a@b"])
def test_a_foreign_name_that_points_here_is_refused(host):
    asked = client(access())
    assert asked.get("/", headers={"Host": host}).status_code == 403
    assert asked.app.state.reached == 0


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
@pytest.mark.parametrize(
    "origin", ["null", "http://evil.example", "https://127.0.0.1.evil.example", "http://127.0.0.1:3000", "http://localhost:7860", "file://", "data:,", ""]
)
def test_an_origin_that_is_not_this_page_is_refused_on_every_method(method, origin):
    asked = client(access())
    for path in ("/gradio_api/upload", "/gradio_api/component_server", "/easel/thumb/a/b", "/"):
        assert asked.request(method, path, headers={"Origin": origin}).status_code == 403
    assert asked.app.state.reached == 0


def test_the_own_page_may_post():
    assert client(access()).post("/gradio_api/queue/join", headers={"Origin": "http://127.0.0.1:7860"}).status_code == 200


def test_another_site_cannot_embed_pictures_but_a_link_opens():
    asked = client(access())
    assert asked.get("/easel/thumb/a/b", headers={"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}).status_code == 403
    assert asked.get("/easel/thumb/a/b", headers={"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors"}).status_code == 403
    assert asked.get("/", headers={"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}).status_code == 200
    assert asked.get("/easel/thumb/a/b", headers={"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "no-cors"}).status_code == 200


def test_a_websocket_from_elsewhere_is_closed():
    with pytest.raises(Exception), client(access()).websocket_connect("/ws", headers={"Origin": "http://evil.example"}):  # noqa: B017 starlette's own
        pass


def test_listening_answers_to_addresses_and_own_names_only():
    asked = client(access(host="0.0.0.0", listen=True, own_names=("studio", "studio.local")))
    for host in ("192.168.1.5:7860", "studio:7860", "studio.local", "[fe80::1]:7860"):
        assert asked.get("/", headers={"Host": host}).status_code == 200
    assert asked.get("/", headers={"Host": "rebound.example"}).status_code == 403


def test_share_and_proxy_names():
    assert access(share=True).host_ok("abc123.gradio.live")
    assert not access(share=True).host_ok("gradio.live.evil.example")
    assert not access().host_ok("abc123.gradio.live")
    proxied = access(root_path="https://example.com/easel")
    assert proxied.host_ok("example.com") and proxied.origin_ok("https://example.com", "127.0.0.1:7860")
    assert not proxied.origin_ok("https://other.example", "127.0.0.1:7860")


def test_a_space_may_be_framed_and_nothing_else_may():
    space = access(host="0.0.0.0", space_host="me-easel.hf.space")
    assert space.host_ok("me-easel.hf.space") and not space.host_ok("evil.hf.space")
    assert space.origin_ok("https://huggingface.co", "me-easel.hf.space") and not space.origin_ok("null", "me-easel.hf.space")
    framed = client(space).get("/", headers={"Host": "me-easel.hf.space"}).headers
    assert "x-frame-options" not in framed and "frame-ancestors" not in framed.get("content-security-policy", "")
    alone = client(access()).get("/").headers
    assert alone["x-frame-options"] == "DENY" and "frame-ancestors 'none'" in alone["content-security-policy"]
    assert "colab.research.google.com" in client(access(on_colab=True)).get("/").headers["content-security-policy"]


def test_every_answer_has_its_headers_and_files_cannot_run():
    asked = client(access())
    for answer in (asked.get("/"), asked.get("/", headers={"Host": "evil.example"})):
        assert answer.headers["x-content-type-options"] == "nosniff" and answer.headers["referrer-policy"] == "no-referrer"
    for path in ("/gradio_api/file=/tmp/x.html", "/easel/sample/run/a.webp", "/easel/picture/a/b.jpg"):
        assert asked.get(path).headers["content-security-policy"].startswith("sandbox; default-src 'none'")


def test_a_name_that_is_not_known_is_told_with_the_flag_that_makes_it_known():
    asked = client(access())
    refused = asked.get("/", headers={"Host": "nas.local:8080"})
    assert refused.status_code == 403 and "'nas.local'" in refused.text and "--host-name nas.local" in refused.text
    assert "--listen" in asked.get("/", headers={"Host": "192.168.1.5"}).text
    assert "--host-name nas.local" in asked.post("/x", headers={"Origin": "https://nas.local"}).text
    assert "<" not in asked.get("/", headers={"Host": "a<script>.example"}).text


def test_behind_a_proxy_that_rewrites_the_host_the_named_page_may_post_and_no_other():
    asked = client(access(named=("nas.local",)))
    for headers in ({"Origin": "https://nas.local"}, {"Origin": "http://nas.local:8080", "X-Forwarded-Host": "nas.local:8080"}, {"Host": "nas.local", "Origin": "http://nas.local"}):
        assert asked.post("/gradio_api/queue/join", headers=headers).status_code == 200
    for headers in (
        {"Origin": "https://evil.example"}, {"Origin": "https://evil.example", "X-Forwarded-Host": "evil.example"}, {"X-Forwarded-Host": "evil.example"},
        {"Origin": "https://nas.local.evil.example"}, {"Origin": "null"}, {"Host": "evil.example", "X-Forwarded-Host": "nas.local"},
    ):  # fmt: skip
        assert asked.post("/gradio_api/queue/join", headers=headers).status_code == 403, headers
