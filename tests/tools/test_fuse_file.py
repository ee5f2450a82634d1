"""A folder in diffusers' layout with adapters in it, written as one file in the first release's names: diffusers reads the same model back."""

from __future__ import annotations

import importlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from tests.engine.test_unpack import hub  # noqa: F401 a fixture
from tests.formats import released
from training import registry
from training.config import ModelPart
from training.engine.weights import base_folder
from training.formats import onefile
from training.runs.context import Context
from training.runs.run import list_runs

ALL_PARTS = ("sd15", "sdxl")
ALONE = ("anima", "flux2", "flux2_klein", "krea2", "qwen_image", "sd35", "wan21", "wan22_5b", "z_image")


def built(id: str, tmp_path: Path, **how) -> tuple[Path, object]:
    """(a toy of a family, the family)."""
    return importlib.import_module(f"tests.families.{id}").build(tmp_path / id, **how), registry.get("families", id)


def weights(folder: Path, part: str) -> dict[str, np.ndarray]:
    return {k: v for file in sorted((folder / part).glob("*.safetensors")) for k, v in load_file(file).items()}


def lora(file: Path, folder: Path, parts: list[str]) -> Path:
    """A LoRA of rank 2 in diffusers' layout for every matrix of attention."""
    rng, made = np.random.default_rng(0), {}
    for part in parts:
        for name, w in weights(folder, part).items():
            if w.ndim == 2 and name.endswith(("to_q.weight", "to_v.weight", "to_out.0.weight", "add_q_proj.weight", "q_proj.weight", "qkv_mlp_proj.weight", "fc2.weight")):
                stem = f"{part}.{name.removesuffix('.weight')}"
                made |= {f"{stem}.lora_A.weight": 0.2 * rng.normal(size=(2, w.shape[1])), f"{stem}.lora_B.weight": 0.2 * rng.normal(size=(len(w), 2))}
    save_file({k: v.astype(np.float32) for k, v in made.items()}, file)
    return file


def same(one: dict, other: dict) -> None:
    assert one.keys() == other.keys()
    assert all(np.array_equal(one[k].reshape(other[k].shape), other[k]) for k in other)


@pytest.mark.parametrize("id", ALL_PARTS)
def test_a_stable_diffusion_becomes_a_checkpoint_with_all_parts(tool, home, tmp_path, hub, id):  # noqa: F811
    folder, family = built(id, tmp_path, **({"layers": 1} if id == "sdxl" else {}))
    spec = family.SPEC
    hub(spec.default_source, folder, ["*.safetensors"])
    adapter = lora(tmp_path / "a.safetensors", folder, ["unet", *spec.trainable_text])
    run = tool("fuse", family=id, base=str(folder), adapters=[{"file": str(adapter), "strength": 0.5}], layout="single")
    assert run.result().suffix == ".safetensors" and "checkpoints" in run.last("finished")["summary"]
    meant = tool("fuse", family=id, base=str(folder), adapters=[{"file": str(adapter), "strength": 0.5}]).result()
    again = base_folder(ModelPart(family=id, source=str(run.result())), family, Context(list_runs(home.outputs)[0], home, 1))
    for part in ("unet", "vae", *spec.parts["text"]):
        same({k.removeprefix("text_model."): v for k, v in weights(again, part).items()}, {k.removeprefix("text_model."): v for k, v in weights(meant, part).items()})
    assert any(not np.array_equal(v, weights(folder, part)[k]) for part in ("unet", *spec.trainable_text) for k, v in weights(meant, part).items())


@pytest.mark.parametrize("id", ALONE)
def test_a_transformer_comes_back_from_its_single_file_tensor_by_tensor(tool, tmp_path, id):
    import diffusers

    folder, _ = built(id, tmp_path)
    adapter = lora(tmp_path / "a.safetensors", folder, ["transformer"])
    run = tool("fuse", family=id, base=str(folder), adapters=[{"file": str(adapter)}], layout="single")
    assert "diffusion_models" in run.last("finished")["summary"]
    meant = tool("fuse", family=id, base=str(folder), adapters=[{"file": str(adapter)}]).result()
    cls = getattr(diffusers, json.loads((folder / "transformer" / "config.json").read_text())["_class_name"])
    found = cls.from_single_file(run.result(), config=str(folder), subfolder="transformer", local_files_only=True)
    same({k: v.numpy() for k, v in found.state_dict().items()}, weights(meant, "transformer"))
    before = weights(folder, "transformer")
    assert any(not np.array_equal(v, before[k]) for k, v in weights(meant, "transformer").items())


def test_names_that_stay_are_copied_as_they_are(tool, tmp_path):
    """A family whose first release is in diffusers' own names, and which diffusers has no single file for."""
    folder, _ = built("omnigen2", tmp_path)
    adapter = lora(tmp_path / "a.safetensors", folder, ["transformer"])
    made = load_file(tool("fuse", family="omnigen2", base=str(folder), adapters=[{"file": str(adapter)}], layout="single").result())
    same(made, weights(tool("fuse", family="omnigen2", base=str(folder), adapters=[{"file": str(adapter)}]).result(), "transformer"))


FULL = {
    "flux1": ("FluxTransformer2DModel", {"guidance_embeds": True}, released.flux1),
    "chroma": ("ChromaTransformer2DModel", {}, lambda: released.flux1(modulation=False)),
    "lumina2": ("Lumina2Transformer2DModel", {"cap_feat_dim": 2304}, released.lumina2),
    "z_image": ("ZImageTransformer2DModel", {}, released.z_image),
    "qwen_image": ("QwenImageTransformer2DModel", {}, released.qwen_image),
    "qwen_image21": ("QwenImage21Transformer2DModel", {}, released.qwen_image21),
    "krea2": ("Krea2Transformer2DModel", {}, released.krea2),
}


@pytest.mark.parametrize("id", FULL)
def test_the_names_and_shapes_are_the_first_releases_at_full_size(id):
    """Of those too whose conversion in diffusers knows one size alone; only shapes, no weights."""
    import diffusers

    name, how, layers = FULL[id]
    with torch.device("meta"):
        network = getattr(diffusers, name)(**how)
    spec = registry.get("families", id).SPEC
    shapes = {k: tuple(v.shape) for k, v in network.state_dict().items()}
    made = onefile.plan({spec.denoiser: shapes}, spec, name, {spec.denoiser: dict(network.config)})
    for layer, shape in layers().items():
        assert made[f"{layer}.weight"].shape == shape, layer
    assert sorted(p.name for whole in made.values() for p in whole.pieces) == sorted(shapes)
    assert id != "krea2" or made["blocks.27.mod.lin"].shape == (6 * 6144,)


def test_how_a_model_is_noised_stands_in_its_file(tool, tmp_path):
    folder, _ = built("sd15", tmp_path, prediction_type="v_prediction")
    adapter = lora(tmp_path / "a.safetensors", folder, ["unet"])
    made = tool("fuse", family="sd15", base=str(folder), adapters=[{"file": str(adapter)}], layout="single").result()
    with safe_open(made, "np") as file:
        assert "v_pred" in file.keys() and "ztsnr" not in file.keys()  # noqa: SIM118


def test_what_has_no_single_file_is_said(tool, tmp_path):
    spec = replace(registry.get("families", "wan21").SPEC, originals=())
    with pytest.raises(ValueError, match="has no names of a first release that are known here.*write a folder"):
        onefile.plan({"transformer": {"proj_out.weight": (2, 2)}}, spec, "WanTransformer3DModel", {"transformer": {}})
    folder, _ = built("sd15", tmp_path)
    config = json.loads((folder / "text_encoder" / "config.json").read_text())
    (folder / "text_encoder" / "config.json").write_text(json.dumps(config | {"hidden_act": "gelu"}))
    adapter = lora(tmp_path / "a.safetensors", folder, ["unet"])
    with pytest.raises(ValueError, match="Stable Diffusion 2.*write a folder"):
        tool("fuse", family="sd15", base=str(folder), adapters=[{"file": str(adapter)}], layout="single")
    flux, _ = built("flux2", tmp_path)
    with pytest.raises(ValueError, match="is a layer that this base model does not have"):
        other = lora(tmp_path / "b.safetensors", flux, ["transformer"])
        save_file({k.replace("transformer_blocks.0", "transformer_blocks.9"): v for k, v in load_file(other).items()}, other)
        tool("fuse", family="flux2", base=str(flux), adapters=[{"file": str(other)}], layout="single")
