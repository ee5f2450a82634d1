"""The Tools tab: every tool has its form from its Config, what is wrong stands beside its field, and a run comes of a click."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

from tests.tools.files import dense, kohya, off
from training.runs.run import list_runs
from ui import forms
from ui.poll import Watch
from ui.tabs.tools import bench, page
from ui.tabs.tools.tab import _Tab


@pytest.fixture
def tab(home):
    return _Tab(SimpleNamespace(home=home, watch=Watch(), local=True, url=lambda path: path, soon=lambda: None))


def event(act: str = "", **data):
    return SimpleNamespace(act=act, **data)


def shown(tab) -> str:
    return "".join(map(str, tab.paint({})[1:]))


def test_every_tool_has_a_form(home):
    found = bench.tools(home)
    assert [t.id for t in found][:6] == ["merge", "resize", "scale", "extract", "fuse", "convert"]
    for tool in found:
        html = page.form(tool, bench.blank(tool), {}, {}, bench.choices(home, tool), [], False)
        for field in forms.fields(tool.module.Config):
            assert field.help in html.replace("&#x27;", "'") and f'data-path="{field.path}"' in html, (tool.id, field.path)


def test_a_plugin_is_a_tool_without_more_code_and_a_broken_one_says_why(home, tab):
    folder = home.plugins / "jobs"
    folder.mkdir(parents=True)
    (folder / "shout.py").write_text(
        "from typing import Literal\nfrom pydantic import Field\nfrom training.config import JobConfig\nTITLE = 'Shout'\nBLURB = 'Says it louder.'\nTOOL = True\nUSES_GPU = False\n"
        "class Config(JobConfig):\n    'One shout.'\n    kind: Literal['shout'] = 'shout'\n    word: str = Field(min_length=1, description='What is said.')\n"
        "def run(config, ctx):\n    ctx.emit('finished', path='', summary=config.word.upper())\n"
    )
    (folder / "torn.py").write_text("import nothing_of_that_name\n")
    html = shown(tab)
    assert "Shout" in html and "Says it louder." in html
    assert "torn" in html and "No module named &#x27;nothing_of_that_name&#x27;" in html
    tab.choose({}, event("tool", id="shout"))
    assert "Is needed." in str(tab.act({}, event("start", fields={}))[2])
    assert list_runs(home.outputs) == []


def test_what_was_typed_makes_a_run_and_its_result_can_be_had(home, tab, tmp_path):
    file = kohya(tmp_path / "a b.safetensors", (4, 2), 4, 1)
    tab.choose({}, event("tool", id="scale"))
    tab.act({}, event("start", fields={"adapter": str(file), "strength": "0,5"}))
    assert "is not a number" in str(tab.act({}, event("start", fields={"strength": "0,5"}))[2])
    tab.act({}, event("start", fields={"strength": "0.5", "name": "half"}))
    (run,) = list_runs(home.outputs)
    for _ in range(300):
        if run.status() == "finished":
            break
        time.sleep(0.1)
    assert off(dense(run.result()), {k: 0.5 * v for k, v in dense(file).items()}) < 1e-6
    html = shown(tab)
    assert f'href="/easel/file/{run.id}/lora"' in html and "Change an adapter&#x27;s strength: 3 layers" in html
    assert run.id in dict(bench.named(home))
    assert "LoRA" in tab.on_run({}, event("see", id=run.id))[4]
    tab.on_run({}, event("delete", id=run.id))
    assert list_runs(home.outputs) == []


def test_an_adapter_that_is_not_there_is_said_before_a_run_is_made(home, tab):
    tab.choose({}, event("tool", id="resize"))
    said = str(tab.act({}, event("start", fields={"adapter": "nowhere.safetensors"}))[2])
    assert "There is no file &#x27;nowhere.safetensors&#x27;" in said
    assert list_runs(home.outputs) == []


def test_a_dropped_file_is_kept_and_looked_into(home, tab, tmp_path):
    import gradio as gr

    outputs = tab.dropped(str(kohya(tmp_path / "style: 日本?.safetensors", (4,), 4, 1)), {})
    (file,) = bench.brought(home)
    assert "zibbo" in outputs[4] and "Strength by block" in outputs[4]
    assert str(file) in dict(bench.named(home))
    (tmp_path / "model.ckpt").write_bytes(b"\x80\x02")
    with pytest.raises(gr.Error, match="can run code"):
        tab.dropped(str(tmp_path / "model.ckpt"), {})


def test_what_stands_in_a_strangers_file_is_text(home, tab, tmp_path):
    from safetensors.numpy import load_file, save_file

    file = kohya(tmp_path / "a.safetensors", (4,), 4, 1)
    save_file(load_file(file), file, {"modelspec.trigger_phrase": "<script>alert(1)</script>", "<b>": "<img src=x onerror=alert(1)>"})
    html = tab.dropped(str(file), {})[4]
    assert "<script>" not in html and "<img" not in html and "<b>:" not in html and "&lt;script&gt;" in html


def test_a_tick_leaves_the_form_alone_while_somebody_types(home, tab):
    import gradio as gr

    seen = tab.choose({}, event("tool", id="merge"))[0]
    (home.root / ".easel" / "brought").mkdir(parents=True, exist_ok=True)
    (home.root / ".easel" / "brought" / "new.safetensors").write_bytes(b"")  # one more that could be named
    assert tab.tick(seen)[2] == gr.skip()
