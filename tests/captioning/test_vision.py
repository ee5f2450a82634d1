"""Image-text models asked with a prompt: what they are asked, what becomes of the answer, and the real classes in miniature, without torchvision."""

from __future__ import annotations

import gc
import json
import os
import shutil
import subprocess
import sys

import pytest
from PIL import Image
from pydantic import ValidationError

from captioning import vision
from tests.data import make
from tests.hub_standin import File, Repo, Standin
from training.data import clips, datasets
from training.home import REPO
from training.jobs import caption
from training.runs.context import Context
from training.runs.run import create


def test_an_answer_becomes_a_caption():
    assert vision.said("<think>hm\nhm</think>\n  A fox,\n in snow. ") == "A fox, in snow."
    assert vision.said('"A fox."') == "A fox." and vision.said('"A" and "B"') == '"A" and "B"'
    assert vision.said("A fox sits. It looks at the", cut=True) == "A fox sits." and vision.said("a fox, snow, a lo", cut=True) == "a fox, snow"
    assert vision.said("A fox at 3.5 m", cut=True) == "A fox at 3.5 m" and vision.said("<think>never ends") == ""


def test_what_it_cannot_start_with_is_told_before_the_start(nasty):
    assert "type a trigger word" in vision.refuses(vision.Options(ask="training"))
    assert vision.refuses(vision.Options(ask="training", trigger="zibbo")) == "" == vision.refuses(vision.Options(ask="training", prompt="What is it?"))
    with pytest.raises(ValidationError, match="only {trigger} is filled in"):
        vision.Options(prompt="a {colour} thing")
    for other, reason in (("nowhere", "neither a folder"), (str(nasty), "no config.json")):
        options = vision.Options(other_model=other)
        assert reason in vision.refuses(options) and reason in vision.needs(options)
        with pytest.raises(ValueError, match=reason):
            vision.load(options, "cpu")
    (nasty / "config.json").write_text("{}")
    (nasty / "model.safetensors.index.json").write_text('{"weight_map": {"a": "model-00001-of-00002.safetensors"}}')
    assert "no whole model.safetensors" in vision.refuses(vision.Options(other_model=str(nasty)))
    with pytest.raises(ValueError, match="somebody/something is not on this computer and cannot be downloaded now"):
        vision.fetch(vision.Options(other_model="somebody/something"), lambda done, of: None, lambda: False)
    assert "no effect" in vision.says(vision.Options(seed=3)) and vision.says(vision.Options(seed=3, temperature=0.5)) == ""


def test_a_licence_to_accept_is_told_and_where(monkeypatch):
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    said = vision.needs(vision.Options(model="Gemma 3 4B"))
    assert "about 8.6 GB" in said and "accept its licence first: open https://huggingface.co/google/gemma-3-4b-it" in said and "sign in on the Publish tab" in said
    assert "licence" not in vision.needs(vision.Options())


@pytest.mark.slow
def test_a_model_with_a_licence_comes_with_the_token_that_the_job_is_handed(nasty):
    name, token = "google/gemma-3-4b-it", "hf_" + "x" * 30
    files = {"config.json": b"{}", "model.safetensors": b"w", "tokenizer.json": b"{}", "tokenizer_config.json": b"{}", "preprocessor_config.json": b"{}", "chat_template.jinja": b"x", "consolidated.safetensors": b"w"}
    ask = f"from captioning import vision as v\no = v.Options(model='Gemma 3 4B')\nfor token in ({token!r}, None):\n  try: print(v.fetch(o, lambda *n: None, lambda: False, token))\n  except ValueError as e: print(e)"
    with Standin() as hub:
        hub.user(token, "google")
        hub.repos[name] = Repo(name, True, gated=True)
        hub.repos[name].commit("initial", {n: File(d, False) for n, d in files.items()})
        refused = of_a_fresh_process(nasty, hub.url, ask)
        hub.repos[name].gated = False
        first, second = of_a_fresh_process(nasty, hub.url, ask).splitlines()
        asked = {path.rpartition("/")[2] for endpoint, path in hub.seen if endpoint == "resolve"}
    assert "accept its licence first" in refused.splitlines()[0] and "Publish tab" in refused.splitlines()[0]
    assert first == second == "True" and asked == set(files) - {"consolidated.safetensors"}


def of_a_fresh_process(folder, url, code) -> str:
    env = {k: v for k, v in os.environ.items() if not k.startswith("HF_")} | {"HF_ENDPOINT": url, "HF_HOME": str(folder)}
    return subprocess.run([sys.executable, "-c", code], cwd=REPO, env=env, capture_output=True, text=True, timeout=120, check=True).stdout


def test_frames_are_spread_over_a_clip(nasty):
    path = make.clip(nasty / "a.mp4", count=24, fps=24)
    found = [make.number_of(frame, 24) for frame in clips.sampled(path, 0.0, 1.0, 3)]
    assert found == [4, 12, 20]


# -- the real classes, in miniature


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """{kind: folder}, each made when it is first asked for."""
    from .tiny_vision import build

    class Made(dict):
        def __missing__(self, kind):
            self[kind] = build(tmp_path_factory.mktemp("vïsion 'm'") / kind, kind.removesuffix("+"), own_place=kind.endswith("+"))
            return self[kind]

    return Made()


def options(folder, **more):
    return vision.Options(other_model=str(folder), **{"max_tokens": 8, "side": 128, **more})


RED, BLUE = Image.new("RGB", (300, 200), "red"), Image.new("RGB", (70, 120), "blue")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["llava", "llava+", "gemma3", "qwen2_vl", "qwen3_vl"])
def test_each_kind_describes_pictures_alone_and_together_without_torchvision(tiny, kind):
    from transformers.utils import is_torchvision_available

    assert not is_torchvision_available()
    state = vision.load(options(tiny[kind], prompt="What is {trigger}?", trigger="zibbo"), "cpu")
    assert state.question == "What is zibbo?"
    text = vision.asked(state.processor, state.question, 1)
    assert text.count(state.processor.image_token) == 1 and text.count("<s>") == 1 and "What is zibbo?" in text
    together = vision.caption(state, [RED, BLUE], ["a", "b"])
    assert all(len(said) == 8 for said in together)
    assert [*vision.caption(state, [RED], ["a"]), *vision.caption(state, [BLUE], ["b"])] == together
    freely = vision.State(state.model, state.processor, state.question, options(tiny[kind], temperature=1.5, seed=1))
    assert vision.caption(freely, [RED], ["a"]) == vision.caption(freely, [RED], ["a"]) != vision.caption(freely, [RED], ["c"])
    if kind == "llava+":  # its template writes one place, whatever it is told: more than one picture is laid into the words
        with pytest.raises(ValueError, match="no place for 3 pictures at once; set frames to 1"):
            vision.caption(state, [[RED, BLUE, RED]], ["clip"])
    else:
        assert len(vision.caption(state, [[RED, BLUE, RED], [BLUE]], ["clip", "still"])[0]) == 8


@pytest.mark.slow
def test_in_4_bits_what_reads_is_quantised_and_what_sees_is_not(tiny):
    state = vision.load(options(tiny["qwen3_vl"], bits="4"), "cpu")
    kinds = {name: type(m).__name__ for name, m in state.model.named_modules() if "Linear" in type(m).__name__}
    assert {k for n, k in kinds.items() if "language_model" in n} == {"Linear4bit"}
    assert {k for n, k in kinds.items() if "language_model" not in n} == {"Linear"}
    assert len(vision.caption(state, [RED], ["a"])[0]) == 8
    assert vision.load(options(tiny["qwen3_vl"], bits="auto"), "cpu").model.get_memory_footprint() > 1.2 * state.model.get_memory_footprint()


@pytest.mark.slow
def test_a_job_shows_it_clips_as_frames_and_leaves_nothing_in_memory(tiny, home):
    ds = datasets.create(home, "mixed")
    make.write(ds.path / "still.png", 1)
    make.clip(ds.path / "moving.mp4")
    run = create(home.outputs, caption.Config(name="words", dataset=ds.name, captioner="vision", options=options(tiny["gemma3"], frames=3, batch_size=2).model_dump(exclude={"trigger"}), trigger="zibbo"))
    caption.run(run.config(), Context(run, home, 1))
    assert run.view().summary == "2 captioned" and all(p.caption.startswith("zibbo, ") for p in ds.pictures())
    gc.collect()
    from transformers import Gemma3ForConditionalGeneration

    assert not [o for o in gc.get_objects() if type(o) is Gemma3ForConditionalGeneration]


@pytest.mark.slow
def test_models_that_are_none_of_these_or_not_whole_are_told(tiny, nasty):
    from safetensors.torch import load_file, save_file

    def changed(name, **settings):
        folder = shutil.copytree(tiny["qwen3_vl"], nasty / name)
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | settings))
        return folder

    cut = changed("cut")
    weights = load_file(cut / "model.safetensors")
    save_file({n: t for i, (n, t) in enumerate(weights.items()) if i % 3}, cut / "model.safetensors", {"format": "pt"})
    bare = changed("bare")
    (bare / "chat_template.jinja").unlink()
    torn = changed("torn")
    (torn / "model.safetensors").write_bytes((torn / "model.safetensors").read_bytes()[:5000])
    for folder, reason in (
        (cut, "incomplete: .* tensors are missing"), (torn, "does not load"), (changed("bert", model_type="bert"), "bert"),
        (changed("own", model_type="made_up", auto_map={"AutoConfig": "code.Made"}), "without running code from the Hub"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=reason):
            vision.load(options(folder), "cpu")
    with pytest.raises(ValueError, match="no chat template that takes a picture"):
        vision.caption(vision.load(options(bare), "cpu"), [RED], ["a"])
