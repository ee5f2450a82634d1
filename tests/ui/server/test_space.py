"""On a Space only its owner reaches the app; everybody else reads how to have one of their own."""

from __future__ import annotations

import time

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from training.runs import supervisor
from ui.server.space import OPEN, Door, Owner, owner_of

ENVIRON = {"SPACE_ID": "me/easel", "SPACE_AUTHOR_NAME": "Me", "OAUTH_CLIENT_ID": "id"}


def session(name: str, orgs: tuple[str, ...] = (), until_s: float = 86_400.0) -> dict:
    who = {"name": "Me", "preferred_username": name, "orgs": [{"name": "Me", "preferred_username": o} for o in orgs]}
    return {"oauth_info": {"access_token": "t", "expires_at": time.time() + until_s, "userinfo": who}}


def client(visitor: dict | None, environ: dict = ENVIRON) -> TestClient:
    async def anything(request):
        return PlainTextResponse("the app")

    app = Starlette(routes=[Route("/{path:path}", anything, methods=["GET", "POST", "DELETE"])])
    door = Door(app, owner_of(environ))

    async def outer(scope, receive, send):
        await door({**scope, "session": visitor or {}}, receive, send)

    return TestClient(outer)


@pytest.mark.parametrize("visitor", [None, session("other"), session("other", ("x",)), session("me", until_s=-1), {"oauth_info": "me"}, session("")])
def test_nobody_else_reaches_a_handler_or_a_file(visitor):
    asked = client(visitor)
    page = asked.get("/")
    assert page.status_code == 200 and "duplicate this Space" in page.text and "the app" != page.text
    assert "huggingface.co/spaces/me/easel?duplicate=true" in page.text and "/login/huggingface" in page.text
    for path in (
        "/config", "/gradio_api/queue/join", "/gradio_api/queue/data", "/gradio_api/run/x", "/gradio_api/call/x", "/gradio_api/upload", "/gradio_api/component_server",
        "/gradio_api/file=/a", "/gradio_api/heartbeat/x", "/easel/thumb/a/b", "/easel/picture/a/b", "/easel/sample/a/b", "/easel/file/a/lora", "/easel/anything/new",
        "//gradio_api/upload", "/login", "/theme.css", "/login/huggingface/x",
    ):  # fmt: skip
        assert asked.get(f"http://testserver{path}").status_code == 403, path
        assert asked.post(f"http://testserver{path}").status_code == 403, path
    assert asked.post("/").status_code == 403
    for path in OPEN:
        assert asked.get(path).text == "the app" and asked.post(path).status_code == 403


@pytest.mark.parametrize("visitor", [session("me"), session("ME"), session("member", ("x", "me"))])
def test_the_owner_and_the_members_of_an_owning_organisation_are_let_in(visitor):
    asked = client(visitor)
    assert asked.get("/").text == "the app" and asked.post("/gradio_api/queue/join").text == "the app"


def test_a_space_without_sign_in_lets_nobody_in_and_says_what_is_missing():
    assert "hf_oauth: true" in client(None, {"SPACE_ID": "me/easel"}).get("/").text
    assert owner_of({"SPACE_ID": "me/easel"}).name == "me" and owner_of({}) is None
    assert not Owner("a/b", "", True).is_he(session(""))


def test_zerogpu_hardware_is_told_and_starts_nothing(home, monkeypatch):
    assert supervisor.no_accelerator({}) == "" and "ZeroGPU" in supervisor.no_accelerator({"SPACES_ZERO_GPU": "true"})
    monkeypatch.setenv("SPACES_ZERO_GPU", "1")
    with pytest.raises(ValueError, match="ZeroGPU"):
        supervisor.start(lambda: pytest.fail("a run was made"), home)
    assert supervisor.tick(home) == []


def test_on_zerogpu_hardware_a_training_is_sent_to_another_machine_with_its_owner_s_token(home, monkeypatch, tmp_path):
    from easel import jobs
    from tests import tiny
    from training.config import TrainConfig
    from training.hub.secrets import Secret

    class Made(ValueError):
        pass

    def told(run):
        raise Made  # before its worker is begun

    monkeypatch.setenv("SPACES_ZERO_GPU", "1")
    job = tiny.train_job("builtin", tmp_path)
    for soon in (True, False):
        with pytest.raises(ValueError, match="ZeroGPU"):
            jobs.begin(TrainConfig.model_validate(job), home, token=Secret("hf_x"), soon=soon, told=told)
        with pytest.raises(Made):
            jobs.begin(TrainConfig.model_validate(job | {"place": {"kind": "hf_jobs"}}), home, token=Secret("hf_x"), soon=soon, told=told)


@pytest.fixture
def home(tmp_path):
    from training.home import Home

    return Home(tmp_path).made()
