"""Captioners: each says something true of a name or a picture, or says why it cannot."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from captioning import filename, florence2, template
from tests.hub_standin import File, Repo, Standin
from training import registry
from training.home import REPO


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("red_fox-in-snow.jpg", "red fox in snow"),
        ("red fox (12).png", "red fox"),
        ("red fox - Copy 2.png", "red fox"),
        ("fox12.webp", "fox"),
        ("RedFoxInSnow_003.png", "Red Fox In Snow"),
        ("a cat, on a sofa.jpeg", "a cat on a sofa"),
        ("Ünï_cødé '&_日本.png", "Ünï cødé '& 日本"),
        ("猫.png", "猫"),
        ("photo of a dog.jpg", "photo of a dog"),
        ("mr.fox.png", "mr fox"),
        ("Sam.png", "Sam"),
        ("avid cyclist.png", "avid cyclist"),
        ("facade.png", "facade"),
        ("SAM_0123.jpg", ""),
        ("IMG_1234.JPG", ""),
        ("DSC00012.jpg", ""),
        ("PXL_20240101_120000.jpg", ""),
        ("2024-01-31 14.20.05.png", ""),
        ("WhatsApp Image 2024-01-31 at 14.20.05.jpeg", ""),
        ("Screenshot 2024-01-31.png", ""),
        ("3f2504e0-4f89-11d3-9a0c-0305e82c3301.png", ""),
        ("d41d8cd98f00b204e9800998ecf8427e.png", ""),
        ("00001.png", ""),
        ("image (3).png", ""),
    ],
)
def test_file_names_become_words(name, words):
    state = filename.load(filename.Options(), "cpu")
    assert filename.caption(state, [None], [name]) == [words]


def test_words_in_small_letters():
    assert filename.caption(filename.Options(lower=True), [None], ["RedFox.png"]) == ["red fox"]


def test_fixed_text_with_its_parts_filled_in():
    options = template.Options(text="[trigger], {name} number {index}", trigger="{name}[trigger]")
    state = template.load(options, "cpu")
    assert template.caption(state, [None] * 2, ["a {index}.png", "b.png"]) == ["{name}[trigger], a {index} number 1", "{name}[trigger], b number 2"]


def test_fixed_text_says_what_is_missing():
    assert "type a trigger word" in template.needs(template.Options())
    with pytest.raises(ValueError, match="type a trigger word"):
        template.load(template.Options(), "cpu")
    for text, reason in ((" ", "is empty"), ("a {colour} cat", "only {name} and {index}")):
        with pytest.raises(ValidationError, match=reason):
            template.Options(text=text)


def test_all_are_found_and_every_option_has_a_sentence():
    found = registry.find("captioning")
    assert {"florence2", "vision", "tagger", "server", "filename", "template"} <= set(found) and "_weights" not in found  # which several of them share
    for plugin in found.values():
        assert plugin.ok and plugin.module.TITLE and plugin.module.BLURB
        for name, field in plugin.module.Options.model_fields.items():
            assert field.description, name


def test_captioning_imports_nothing_of_ours():
    for path in (REPO / "captioning").glob("*.py"):
        assert not re.search(r"^\s*(from|import) (training|ui|\.)", path.read_text(encoding="utf-8"), re.MULTILINE), path


# -- Florence-2 without its weights


def folder_with(folder: Path, config, weights: bool = True) -> Path:
    (folder / "config.json").write_text(json.dumps(config))
    if weights:
        (folder / "model.safetensors").write_bytes(b"")
    return folder


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda f: f / "absent", "there is no folder"),
        (lambda f: f, "no config.json"),
        (lambda f: folder_with(f, {}, weights=False), "no model.safetensors"),
        (lambda f: folder_with(f, {"model_type": "bert"}), "of the kind 'bert', not Florence-2"),
        (lambda f: folder_with(f, {"model_type": "florence2", "text_config": {"model_type": "florence2_language"}}), "Microsoft's own layout"),
        (lambda f: folder_with(f, []), "cannot be read"),
    ],
)
def test_a_folder_that_holds_no_florence(nasty, make, reason):
    options = florence2.Options(folder=str(make(nasty)))
    assert reason in florence2.needs(options)
    with pytest.raises(ValueError, match=reason):
        florence2.load(options, "cpu")


def test_offline_and_without_weights_it_says_what_to_do():
    assert "HF_HUB_OFFLINE" in florence2.needs(florence2.Options())  # the tests set it
    with pytest.raises(ValueError, match="name its folder in the options") as told:
        florence2.fetch(florence2.Options(), lambda done, of: None, lambda: False)
    assert "florence-community/Florence-2-base-ft" in str(told.value) and "file name" in str(told.value)
    with pytest.raises(ValueError, match="is not on this computer"):
        florence2.load(florence2.Options(model="large"), "cpu")


def hub_says(home: Path, url: str, token: str = "", code: str = "") -> str:
    """What a process with this Hub prints: a fresh one, since the Hub's client reads its environment once."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("HF_")} | {"HF_ENDPOINT": url, "HF_HOME": str(home), "HF_TOKEN": token}
    script = "from captioning import florence2 as f\no = f.Options()\nprint(f.needs(o))\ntold = []\n" + (
        code or "try: print(f.fetch(o, lambda *n: told.append(n), lambda: False), told[-1])\nexcept ValueError as e: print(e)\nprint(f.needs(o))"
    )
    return subprocess.run([sys.executable, "-c", script], cwd=REPO, env=env, capture_output=True, text=True, timeout=120, check=True).stdout


def test_a_hub_that_cannot_be_reached(nasty):
    first, second, third = hub_says(nasty, "http://127.0.0.1:9").splitlines()
    assert first == third and "is downloaded from the Hugging Face Hub at the first use" in first
    assert "cannot be downloaded now" in second and "No caption was changed" in second


def test_the_download_is_told_in_bytes_and_takes_no_pickles(nasty):
    wanted = {"config.json": b"{}", "model.safetensors": b"w" * 300_000, "processor_config.json": b"{}", "tokenizer.json": b"{}", "tokenizer_config.json": b"{}"}
    with Standin() as hub:
        hub.user(token := "hf_" + "x" * 30, "florence-community")
        repo = hub.repos["florence-community/Florence-2-base-ft"] = Repo("florence-community/Florence-2-base-ft", False)
        repo.commit("initial", {n: File(d, n.endswith(".safetensors")) for n, d in (wanted | {"pytorch_model.bin": b"pickle", "README.md": b"#"}).items()})
        told = hub_says(nasty, hub.url, token)
        asked = {path.rpartition("/")[2] for endpoint, path in hub.seen if endpoint == "resolve"}
    assert told.splitlines()[1].startswith("True (") and told.splitlines()[2] == "", told
    assert asked == set(wanted)


@pytest.mark.slow
def test_a_hub_that_shows_it_to_nobody(nasty):
    with Standin() as hub:
        assert "does not show" in hub_says(nasty, hub.url)


# -- Florence-2 for real, in miniature


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    from .tiny_florence2 import build

    return build(tmp_path_factory.mktemp("flörence '2'"))


@pytest.mark.slow
def test_florence_describes_pictures_alone_and_together(tiny):
    from tests.data.make import scene

    pictures = [scene(i, (90 + 20 * i, 70)) for i in range(3)]
    for detail in florence2.TASKS:
        options = florence2.Options(folder=str(tiny), detail=detail, max_tokens=12)
        assert florence2.needs(options) == ""
        state = florence2.load(options, "cpu")
        together = florence2.caption(state, pictures, ["a", "b", "c"])
        assert len(together) == 3 and all(together) and not any("<" in text for text in together)
        assert florence2.caption(state, pictures[:1], ["a"]) == florence2.caption(state, pictures[:1], ["a"])


@pytest.mark.slow
def test_weights_that_are_not_whole(tiny, nasty):
    import shutil

    from safetensors.torch import load_file, save_file

    cut = shutil.copytree(tiny, nasty / "cut")
    weights = load_file(cut / "model.safetensors")
    save_file({n: t for i, (n, t) in enumerate(weights.items()) if i % 3}, cut / "model.safetensors", {"format": "pt"})
    torn = shutil.copytree(tiny, nasty / "torn")
    (torn / "model.safetensors").write_bytes((tiny / "model.safetensors").read_bytes()[:5000])
    for folder, reason in ((cut, "incomplete"), (torn, "do not load")):
        with pytest.raises(ValueError, match=reason):
            florence2.load(florence2.Options(folder=str(folder)), "cpu")
