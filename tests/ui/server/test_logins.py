"""Guessing the password is slow, and whoever knows it gets in from elsewhere."""

from __future__ import annotations

import anyio
import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from ui.server import logins


class Door:
    """A login behind the brake, with a clock of its own."""

    def __init__(self):
        self.now, self.slept = 0.0, []

        async def login(request):
            form = await request.form()
            self.heard = getattr(self, "heard", 0) + 1
            return JSONResponse({}, 200 if check(form["username"], form["password"]) else 400)

        async def sleep(seconds):
            self.slept.append(seconds)

        check = logins.checker("me", "right")
        app = Starlette(routes=[Route("/login", login, methods=["POST"])])
        self.app = logins.Brake(app, clock=lambda: self.now, sleep=sleep)

    def ask(self, password="wrong", address="10.0.0.1", headers=None, name="me"):
        async def go():
            transport = httpx.ASGITransport(self.app, client=(address, 1))
            async with httpx.AsyncClient(transport=transport, base_url="http://e") as client:
                return await client.post("/login", data={"username": name, "password": password}, headers=headers or {})

        return anyio.run(go)


@pytest.fixture
def door():
    return Door()


def test_sixty_guesses_take_most_of_an_hour_and_are_said(door, capsys):
    for _ in range(60):
        answer = door.ask()
        while answer.status_code == 429:
            door.now += int(answer.headers["Retry-After"])
            answer = door.ask()
        assert answer.status_code == 400
    assert door.now > 3000 and door.heard == 60
    said = capsys.readouterr().err
    assert "from 10.0.0.1, 60 in a row" in said and "wrong name or password" in said and "'me'" not in said


def test_the_right_one_waits_at_its_own_address_only(door):
    for _ in range(4):
        door.ask()
    assert door.ask("right").status_code == 429
    assert door.ask("right", address="10.0.0.2").status_code == 200
    door.now += 2
    assert door.ask("right").status_code == 200
    assert [door.ask().status_code for _ in range(3)] == [400] * 3  # forgiven by the right one


def test_what_a_visitor_says_of_his_address_counts_for_nothing(door):
    for n in range(6):
        last = door.ask(headers={"X-Forwarded-For": f"1.2.3.{n}"})
    assert last.status_code == 429


def test_many_addresses_are_held_back_by_the_name_and_one_ipv6_network_is_one_visitor(door):
    for n in range(8):
        door.ask(address=f"10.1.0.{n}")
    assert max(door.slept) == logins.LONGEST_NAME_S
    assert [door.ask(address=f"2001:db8::{n:x}").status_code for n in range(1, 7)][-1] == 429


def test_a_login_of_megabytes_is_none_and_memory_is_bounded(door, monkeypatch):
    assert door.ask("x" * 20_000).status_code == 413
    monkeypatch.setattr(logins, "REMEMBERED", 5)
    for n in range(20):
        door.ask(address=f"10.2.0.{n}", name=f"n{n}")
    assert len(door.app._by_address) <= 5 and len(door.app._by_name) <= 5


def test_the_right_name_and_password_and_no_other():
    check = logins.checker("me", "pass: wörd")
    assert check("me", "pass: wörd") and not check("me", "") and not check("you", "pass: wörd") and not check("", "")


class Gate:
    """What is behind the Basic login, with a clock of its own; it answers whether it was told that somebody is signed in."""

    def __init__(self):
        self.now = 0.0

        async def answer(request):
            return JSONResponse({"signed_in": bool(request.scope.get(logins.SIGNED_IN))})

        app = Starlette(routes=[Route("/{path:path}", answer, methods=["GET", "POST"])])
        self.app = logins.Basic(app, logins.checker("mé", "right: one"), "/gradio_api/mcp", "/easel/", clock=lambda: self.now)

    def ask(self, path, auth=None, address="10.0.0.1", headers=None):
        async def go():
            transport = httpx.ASGITransport(self.app, client=(address, 1))
            async with httpx.AsyncClient(transport=transport, base_url="http://e") as client:
                return await client.get(path, auth=auth, headers=headers or {})

        return anyio.run(go)


RIGHT = httpx.BasicAuth("mé".encode(), "right: one")


def test_what_asks_for_the_password_with_each_request_is_not_reached_without():
    gate = Gate()
    for path in ("/gradio_api/mcp", "/gradio_api/mcp/", "/gradio_api/mcp/schema", "/under/gradio_api/mcp/sse", "//gradio_api/mcp/"):
        refused = gate.ask(f"http://e{path}")
        assert refused.status_code == 401 and refused.headers["www-authenticate"].startswith("Basic ") and "docs/api.md" in refused.json()["detail"], path
        assert gate.ask(f"http://e{path}", RIGHT).json() == {"signed_in": True}
    for odd in ("Bearer abc", "Basic", "Basic %%%", "Basic bWU=", "Basic " + "A" * 20_000):
        assert gate.ask("/gradio_api/mcp", headers={"Authorization": odd}).status_code == 401
    assert gate.ask("/gradio_api/mcp", RIGHT).status_code == 200  # what is no password is no guess


def test_files_may_be_asked_that_way_too_and_the_page_is_left_alone():
    gate = Gate()
    assert gate.ask("/easel/file/x/lora", RIGHT).json() == {"signed_in": True} and gate.ask("/easel/file/x/lora").json() == {"signed_in": False}
    assert gate.ask("/easel/file/x/lora", ("mé", "wrong")).status_code == 401
    assert gate.ask("/config", RIGHT).json() == gate.ask("/config", ("mé", "wrong")).json() == {"signed_in": False}


def test_guesses_with_each_request_become_slow_too(capsys):
    gate = Gate()
    for _ in range(20):
        answer = gate.ask("/gradio_api/mcp", ("mé", "wrong"))
        while answer.status_code == 429:
            gate.now += int(answer.headers["Retry-After"])
            answer = gate.ask("/gradio_api/mcp", ("mé", "wrong"))
        assert answer.status_code == 401
    assert gate.now > 600 and "from 10.0.0.1, 20 in a row" in capsys.readouterr().err
    assert gate.ask("/gradio_api/mcp", RIGHT).status_code == 429 and gate.ask("/gradio_api/mcp", RIGHT, address="10.0.0.2").status_code == 200
    gate.now += 61
    assert gate.ask("/gradio_api/mcp", RIGHT).status_code == 200 and gate.ask("/gradio_api/mcp", ("mé", "wrong")).status_code == 401
