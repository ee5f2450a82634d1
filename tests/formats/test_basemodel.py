"""A base model is checked before anything is loaded: each fault has its own sentence."""

from __future__ import annotations

import json
import shutil
import struct

import pytest

from tests import tiny
from training import registry
from training.formats import basemodel

SPEC = registry.get("families", "sd15").SPEC


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return tiny.sd15(tmp_path_factory.mktemp("base") / "whole")


@pytest.fixture
def folder(whole, tmp_path):
    shutil.copytree(whole, tmp_path / "copy")
    return tmp_path / "copy"


def weights(folder):
    return folder / "unet" / "diffusion_pytorch_model.safetensors"


def test_a_whole_folder_passes_and_is_measured(folder):
    basemodel.check_folder(folder, SPEC)
    assert basemodel.measure(folder / "unet").parameters > 10_000
    assert basemodel.variant(folder / "unet") is None


def test_a_pipeline_that_the_repository_brings_itself_is_known_by_its_class(folder):
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | {"_class_name": ["my_pipeline", SPEC.pipeline]}))
    basemodel.check_folder(folder, SPEC)
    (folder / "model_index.json").write_text(json.dumps(index | {"_class_name": ["my_pipeline", "OtherPipeline"]}))
    with pytest.raises(ValueError, match="is made for OtherPipeline"):
        basemodel.check_folder(folder, SPEC)


def cut(folder):
    weights(folder).write_bytes(weights(folder).read_bytes()[:-1])


def lfs_pointer(folder):
    weights(folder).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n")


def web_page(folder):
    weights(folder).write_text("<!doctype html><title>Sign in</title>")


def pickled(folder):
    weights(folder).rename(weights(folder).with_suffix(".bin"))


def gone(folder):
    shutil.rmtree(folder / "vae")


def other_family(folder):
    index = folder / "model_index.json"
    index.write_text(index.read_text().replace("StableDiffusionPipeline", "FluxPipeline"))


def huge_header(folder):
    weights(folder).write_bytes(struct.pack("<Q", 2**50) + b"{}")


def no_index(folder):
    (folder / "model_index.json").unlink()


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (cut, "cut off; download it again"), (lfs_pointer, "git lfs pull"), (web_page, "is a web page"), (pickled, "pickled file"),
        (gone, "no vae/config.json"), (other_family, "made for FluxPipeline, but you chose Stable Diffusion 1.5"),
        (huge_header, "not a safetensors file or is cut off"), (no_index, "no model_index.json"),
    ],
)  # fmt: skip
def test_each_fault_has_its_sentence(folder, harm, says):
    harm(folder)
    with pytest.raises(ValueError, match=says):
        basemodel.check_folder(folder, SPEC)


@pytest.mark.parametrize("length", [0x80, 0x4B50])
def test_a_header_whose_length_looks_like_a_pickle_is_read(tmp_path, length):
    file = tmp_path / "x.safetensors"
    text = b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}'
    file.write_bytes(struct.pack("<Q", length) + text.ljust(length) + b"1")
    assert list(basemodel.read_header(file)) == ["a"]


def test_a_path_that_is_not_there_is_not_taken_for_a_hub_id(tmp_path):
    for source in (str(tmp_path / "nothing"), "./nothing", "~/nothing", "just-a-word"):
        with pytest.raises(ValueError, match="there is no folder"):
            basemodel.local_folder(source)
    assert basemodel.local_folder("owner/model") is None


def test_a_fingerprint_sees_one_changed_weight_and_not_the_place(folder, whole):
    assert basemodel.fingerprint(folder / "unet") == basemodel.fingerprint(whole / "unet")
    data = bytearray(weights(folder).read_bytes())
    data[-1] ^= 1
    weights(folder).write_bytes(data)
    assert basemodel.fingerprint(folder / "unet") != basemodel.fingerprint(whole / "unet")


def test_a_hub_model_that_is_not_here_and_no_network_is_one_sentence(monkeypatch):
    from training.hub.download import fetch

    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ValueError, match=r"is not on this computer yet, and .*start the run again"):
        fetch("owner/model", "", SPEC, False, None, lambda done, of: None, lambda: False)
