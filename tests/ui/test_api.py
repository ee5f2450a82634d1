"""Easel asked by programs: one real app with --mcp, a whole training over HTTP and one over MCP, on the base model that comes along."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from pathlib import Path

import httpx
import pytest

from tests import tiny
from tests.ui.test_app import ENDPOINTS, Served
from training.runs.run import Run

pytestmark = pytest.mark.slow
DOC = (Path(__file__).resolve().parents[2] / "docs" / "api.md").read_text(encoding="utf-8")
ME = ("me", "pass word")
SMALL = {"steps": 2, "data.resolutions": [64], "data.batch_size": 1, "sample.prompts": ["[trigger]"], "sample.steps": 1, "sample.width": 64, "sample.height": 64, "keep.on": False}


@pytest.fixture(scope="module")
def easel(tmp_path_factory):
    app = Served(tmp_path_factory.mktemp("Ünï cødé '& 日本"), "--mcp")
    app.pictures = tiny.pictures(app.home.root / "brought", 3)
    yield app
    app.close()


@pytest.fixture(scope="module")
def client(easel):
    from gradio_client import Client

    return Client(easel.url, auth=ME, verbose=False, analytics_enabled=False)


def example(heading: str, easel) -> dict:
    """What docs/api.md's example under a heading leaves behind, run as it stands there but for this app's address, password, pictures, and steps."""
    code = re.search(rf"^## {heading}$.*?^```python$(.*?)^```$", DOC, re.DOTALL | re.MULTILINE)[1]
    for there, here in (("http://127.0.0.1:7860", easel.url), ("my password", ME[1]), ("/home/me/pictures/cat", str(easel.pictures)), ('{"steps": 400}', repr(SMALL))):
        code = code.replace(there, here)
    made: dict = {}
    exec(compile(code, "docs/api.md", "exec"), made)  # noqa: S102 an example of our own page
    return made


def test_the_example_over_http_trains_and_fetches_what_it_made(easel, client):
    def ask(endpoint, /, **values):
        return client.predict(api_name=f"/{endpoint}", **values)

    made = example("HTTP", easel)
    run = Run.open(easel.home.outputs, made["run"])
    assert (run.status(), made["answer"]["status"], made["answer"]["step"]) == ("finished", "finished", 2) and made["data"] == run.result().read_bytes()
    told = ask("watch", run=run.id)
    assert [e["t"] for e in told["events"]] == [e["t"] for e in run.events()[0]] and not told["more"]
    assert [d for d in ask("list_datasets") if d["name"] == "my cat"] == [{"name": "my cat", "title": "my cat", "pictures": 3, "usable": 3, "captioned": 3, "missing": [], "adding": False}]
    shown = made["made"]["samples"]
    assert easel.me.get(shown[0]["url"]).headers["content-type"] == "image/webp" and easel.stranger.get(shown[0]["url"]).status_code == 401
    assert Path(ask("picture", run=run.id, file=shown[-1]["file"])).read_bytes() == run.samples()[-1].read_bytes()
    assert {f["name"] for f in made["made"]["files"]} >= {"my zibbo.safetensors", "job.yaml", "README.md"}

    twice = ask("publish", run=run.id, repo="me/zibbo", public=True)
    assert not twice["done"] and "'my zibbo' (final)" in twice["would"] and twice["would"].endswith("to me/zibbo, for everybody to see")
    pushed = ask("publish", run=run.id, repo="me/zibbo", public=True, word=twice["word"])
    job = Run.open(easel.home.outputs, pushed["run"])
    while (answer := ask("watch", run=job.id, wait_s=20))["status"] in ("queued", "running"):
        pass
    assert "Not signed in to the Hub" in answer["why"] and job.job()["private"] is False and job.job()["samples"]
    twice = ask("delete_run", run=run.id)
    assert not twice["done"] and "my zibbo" in twice["would"] and run.path.is_dir()
    assert ask("delete_run", run=run.id, word=twice["word"])["done"] and not run.path.exists()


def test_what_is_wrong_is_a_sentence_over_http(easel, client):
    from gradio_client.exceptions import AppError

    def refused(endpoint, /, **values):
        with pytest.raises(AppError) as error:
            client.predict(api_name=f"/{endpoint}", **values)
        return str(error.value)

    assert "There is no dataset called 'my catz & co'; did you mean 'my cats & co'?" in refused("start", dataset="my catz & co")
    assert "adapter.rnak: is not a setting; did you mean 'adapter.rank'?" in refused("estimate", dataset="my cats & co", settings={"adapter.rnak": 4})
    assert "steps: input should be greater than or equal to 1" in refused("start", job={"name": "x", "steps": 0, "model": {"family": "sd15", "source": "builtin"}, "data": {"datasets": []}})
    assert "was not uploaded to this Easel" in refused("make_dataset", title="x", files=[{"path": "/etc/passwd", "meta": {}}])
    assert "was not uploaded to this Easel" in refused("make_dataset", title="x", files=[str(easel.home.root / "cat one.png")])
    (easel.home.root / "empty").mkdir()
    assert "nothing of it could be taken" in refused("make_dataset", title="x", folder=str(easel.home.root / "empty")) and "there is no folder" in refused("make_dataset", title="x", folder="/no/where").lower()
    assert "base64" in refused("make_dataset", title="x", files=["data:image/png,abc"]) and "one of the two" in refused("make_dataset", title="x")
    assert {p.name for p in easel.home.datasets.iterdir() if not p.name.startswith(".")} <= {"my cat", "my cats & co"}
    assert "not a picture" in refused("picture", run=easel.run.id, file="samples/page.html") and "not a picture" in refused("picture", run=easel.run.id, file="../job.yaml")
    assert "not given for this" in refused("delete_dataset", name="my cats & co", word="guess")
    assert "is not running" in refused("sample", run=easel.run.id) and "is not running" in refused("stop", run=easel.run.id)


def test_a_plain_program_is_let_in_and_a_browser_elsewhere_is_not(easel):
    answer = easel.me.post("/gradio_api/run/list_runs", json={"data": ["", 5]})
    assert answer.status_code == 200 and easel.run.id in {r["run"] for r in answer.json()["data"][0]}
    assert easel.stranger.post("/gradio_api/run/list_runs", json={"data": ["", 5]}).status_code == 401
    for headers in ({"Origin": "http://evil.example"}, {"Host": "evil.example"}, {"Origin": "null"}):
        assert easel.me.post("/gradio_api/run/list_runs", json={"data": ["", 5]}, headers=headers).status_code == 403
        assert httpx.post(f"{easel.url}/gradio_api/mcp/", json={}, auth=ME, headers=headers).status_code == 403


def test_mcp_asks_for_the_password_everywhere(easel):
    for path in ("", "/", "/schema", "/sse", "/http/", "/messages/"):
        assert httpx.post(f"{easel.url}/gradio_api/mcp{path}", json={}).status_code == 401, path
        assert easel.me.get(f"/gradio_api/mcp{path}").status_code == 401  # the page's own cookie is no way in
    assert httpx.get(f"{easel.url}/gradio_api/mcp/schema", auth=("me", "wrong")).status_code == 401
    assert {t["name"] for t in httpx.get(f"{easel.url}/gradio_api/mcp/schema", auth=ME).json()} == ENDPOINTS


def test_the_example_over_mcp_and_a_whole_training(easel, capsys):
    example("MCP", easel)
    assert "make_dataset" in (said := capsys.readouterr().out) and "my cats & co" in said
    asyncio.run(_over_mcp(easel))


async def _over_mcp(easel):
    from mcp import ClientSession
    from mcp.client.streamable_http import streamable_http_client

    async with (
        httpx.AsyncClient(auth=ME, timeout=60) as http,
        streamable_http_client(f"{easel.url}/gradio_api/mcp/", http_client=http) as (read, write, _),
        ClientSession(read, write) as session,
    ):
        await session.initialize()
        tools = {t.name: t for t in (await session.list_tools()).tools}
        assert set(tools) == ENDPOINTS
        for tool in tools.values():
            assert len(tool.description) > 30 and all(p.get("description") for p in tool.inputSchema["properties"].values()), tool.name

        async def ask(endpoint, /, **values):
            answer = await session.call_tool(endpoint, values)
            assert not answer.isError, answer.content
            return json.loads(answer.content[0].text) if answer.content[0].type == "text" else answer.content[0]

        pictures = [p for p in sorted(easel.pictures.iterdir()) if p.suffix == ".png"]
        urls = [f"data:image/png;name=red_fox-{n}.png;base64,{base64.b64encode(p.read_bytes()).decode()}" for n, p in enumerate(pictures)]
        made = await ask("make_dataset", title="sent", files=urls)
        assert (made["usable"], made["captioned"], made["missing"]) == (3, 0, ["3 pictures have no caption"])
        run = (await ask("caption", dataset="sent", captioner="filename"))["run"]
        while (answer := await ask("watch", run=run, wait_s=20, kinds=["item", "finished"]))["status"] in ("queued", "running"):
            pass
        assert answer["status"] == "finished" and [e["text"] for e in answer["events"] if e["kind"] == "item"] == ["red fox"] * 3

        run = (await ask("start", dataset="sent", trigger="zibbo", name="cat by mcp", settings=SMALL | {"steps": 5000}))["run"]
        refused = await session.call_tool("delete_dataset", {"name": "sent"})
        assert refused.isError and "uses it and is" in refused.content[0].text
        while not (answer := await ask("watch", run=run, wait_s=20, kinds=["step"]))["step"]:
            assert answer["status"] in ("queued", "running"), answer
        await ask("sample", run=run, prompt="a red zibbo")
        while not (drawn := [e for e in answer["events"] if e["kind"] == "sample" and e["prompt"] == "a red zibbo"]):
            answer = await ask("watch", run=run, offset=answer["offset"], wait_s=20, kinds=["sample"])
            assert answer["status"] == "running", answer
        picture = await ask("picture", run=run, file=drawn[0]["file"])
        assert picture.type == "image" and base64.b64decode(picture.data)[8:12] == b"WEBP"
        await ask("stop", run=run)
        while (answer := await ask("watch", run=run, offset=answer["offset"], wait_s=20))["status"] == "running":
            pass
        assert answer["status"] == "stopped"
        files = (await ask("result", run=run))["files"]
        url = next(f["url"] for f in files if f["name"] == "job.yaml")
        assert (await http.get(easel.url + url)).text.startswith("kind: train") and (await http.get(easel.url + url, auth=None)).status_code == 401

        twice = await ask("delete_dataset", name="sent")
        assert "3 pictures" in twice["would"] and (easel.home.datasets / "sent").is_dir()
        assert (await ask("delete_dataset", name="sent", word=twice["word"]))["done"] and not (easel.home.datasets / "sent").exists()
        again = await session.call_tool("delete_dataset", {"name": "my cats & co", "word": twice["word"]})
        assert again.isError and "not given for this" in again.content[0].text
