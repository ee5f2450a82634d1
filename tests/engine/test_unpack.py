"""A base model in one file is taken apart once, and is then the same model as its folder."""

from __future__ import annotations

import importlib
import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.families import flux1 as flux_toy
from tests.families import sdxl as xl_toy
from training import registry
from training.config import ModelPart
from training.engine.weights import base_folder
from training.family import Placement
from training.runs.context import Context

SD15 = registry.get("families", "sd15")
SDXL = registry.get("families", "sdxl")
FLUX = registry.get("families", "flux1")

RESNET = {
    "norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0", "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}  # fmt: skip
UNET = {
    "conv_in": "input_blocks.0.0", "down_blocks.0.resnets.0": "input_blocks.1.0", "down_blocks.0.downsamplers.0.conv": "input_blocks.2.0.op",
    "down_blocks.1.resnets.0": "input_blocks.3.0", "down_blocks.1.attentions.0": "input_blocks.3.1", "mid_block.resnets.0": "middle_block.0",
    "mid_block.attentions.0": "middle_block.1", "mid_block.resnets.1": "middle_block.2", "up_blocks.0.resnets.0": "output_blocks.0.0",
    "up_blocks.0.attentions.0": "output_blocks.0.1", "up_blocks.0.resnets.1": "output_blocks.1.0", "up_blocks.0.attentions.1": "output_blocks.1.1",
    "up_blocks.0.upsamplers.0.conv": "output_blocks.1.2.conv", "up_blocks.1.resnets.0": "output_blocks.2.0", "up_blocks.1.resnets.1": "output_blocks.3.0",
    "conv_norm_out": "out.0", "conv_out": "out.2", "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0", "add_embedding.linear_2": "label_emb.0.2",
}  # fmt: skip
VAE = {
    "mid_block.resnets.0": "mid.block_1", "mid_block.resnets.1": "mid.block_2", "mid_block.attentions.0.group_norm": "mid.attn_1.norm",
    "mid_block.attentions.0.to_q": "mid.attn_1.q", "mid_block.attentions.0.to_k": "mid.attn_1.k", "mid_block.attentions.0.to_v": "mid.attn_1.v",
    "mid_block.attentions.0.to_out.0": "mid.attn_1.proj_out", "conv_norm_out": "norm_out", "conv_shortcut": "nin_shortcut",
}  # fmt: skip


def original_layout(folder: Path) -> dict[str, torch.Tensor]:
    """A toy Stable Diffusion of two levels under the names that CompVis' and Stability's code gave its layers."""
    made = {}
    for key, tensor in load_file(folder / "unet" / "diffusion_pytorch_model.safetensors").items():
        ours = max((name for name in UNET if key.startswith(name + ".")), key=len)
        rest = key.removeprefix(ours + ".")
        if ".resnets." in ours + ".":
            part, leaf = rest.rsplit(".", 1)
            rest = f"{RESNET[part]}.{leaf}"
        made[f"model.diffusion_model.{UNET[ours]}.{rest}"] = tensor
    for key, tensor in load_file(folder / "vae" / "diffusion_pytorch_model.safetensors").items():
        name = re.sub(r"down_blocks\.(\d)\.resnets", r"down.\1.block", key).replace(".downsamplers.0.", ".downsample.")
        name = re.sub(r"(down)_blocks\.(\d)", r"\1.\2", name)
        name = re.sub(r"up_blocks\.(\d)", lambda m: f"up.{1 - int(m[1])}", name).replace(".resnets.", ".block.").replace(".upsamplers.0.", ".upsample.")
        name = name.replace("mid_block.block.", "mid_block.resnets.")
        for ours, theirs in VAE.items():
            name = name.replace(ours, theirs)
        made[f"first_stage_model.{name}"] = tensor[:, :, None, None] if "attn_1" in name and tensor.ndim == 2 else tensor
    xl = (folder / "text_encoder_2").is_dir()
    clip = "conditioner.embedders.0" if xl else "cond_stage_model"
    for key, tensor in load_file(folder / "text_encoder" / "model.safetensors").items():
        made[f"{clip}.transformer.text_model.{key.removeprefix('text_model.')}"] = tensor
    return made | open_clip(load_file(folder / "text_encoder_2" / "model.safetensors")) if xl else made


OPEN_CLIP = {
    "text_model.embeddings.position_embedding.weight": "positional_embedding", "text_model.embeddings.token_embedding": "token_embedding",
    "text_model.final_layer_norm": "ln_final", "text_model.encoder.layers": "transformer.resblocks", "layer_norm1": "ln_1", "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj", "self_attn.out_proj": "attn.out_proj",
}  # fmt: skip


def open_clip(weights: dict) -> dict[str, torch.Tensor]:
    """SDXL's second text encoder in OpenCLIP's layout, where queries, keys and values are one matrix."""
    made = {"text_projection": weights.pop("text_projection.weight").T.contiguous()}
    for key in [k for k in weights if ".q_proj." in k]:
        parts = [weights.pop(key.replace(".q_proj.", f".{x}_proj.")) for x in "qkv"]
        layer, kind = key.split(".")[3], key.rsplit(".", 1)[1]
        made[f"transformer.resblocks.{layer}.attn.in_proj_{kind}"] = torch.cat(parts)
    for key, tensor in weights.items():
        for ours, theirs in OPEN_CLIP.items():
            key = key.replace(ours, theirs)
        made[key] = tensor
    return {f"conditioner.embedders.1.model.{k}": t for k, t in made.items()}


def in_one_file(folder: Path, file: Path, **more) -> Path:
    save_file({k: t.contiguous() for k, t in (original_layout(folder) | more).items()}, file)
    return file


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """hub(name, folder, without): a repository in the Hub's cache, of which only the files that do not match are there."""
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))

    def put(name: str, folder: Path, without=()) -> None:
        repo = tmp_path / "hub" / f"models--{name.replace('/', '--')}"
        shutil.rmtree(repo, ignore_errors=True)
        shutil.copytree(folder, repo / "snapshots" / ("0" * 40), ignore=shutil.ignore_patterns(*without))
        (repo / "refs").mkdir()
        (repo / "refs" / "main").write_text("0" * 40)

    return put


@pytest.fixture
def ctx(lab):
    return Context(lab.make(), lab.home, 1)


def phases(ctx) -> list[str]:
    return [e["name"] for e in ctx.run.events()[0] if e["kind"] == "phase"]


def source(file, family="sd15", **more) -> ModelPart:
    return ModelPart(family=family, source=str(file), **more)


def same_weights(folder: Path, other: Path, parts) -> None:
    for part in parts:
        (mine,), (theirs,) = (list((f / part).glob("*.safetensors")) for f in (folder, other))
        mine, theirs = load_file(mine), load_file(theirs)
        assert mine.keys() == theirs.keys() and all(torch.equal(mine[k], theirs[k]) for k in mine), part


def test_a_whole_model_in_one_file_is_unpacked_once(base, hub, ctx, tmp_path):
    hub(SD15.SPEC.default_source, base, ["*.safetensors"])  # the settings alone
    file = in_one_file(base, tmp_path / "my møde l.safetensors")
    folder = base_folder(source(file), SD15, ctx)
    same_weights(folder, base, ("unet", "vae", "text_encoder"))
    told = phases(ctx)
    assert "unpacking the base model" in told
    assert base_folder(source(file), SD15, ctx) == folder and phases(ctx) == told
    assert [p.name for p in folder.parent.iterdir() if not p.name.endswith(".lock")] == [folder.name]
    with torch.no_grad():
        row = lambda at: SD15.encode_text(SD15.load(at, {"text_encoder"}, Placement(torch.float32, "cpu")), ["a cat"])[0]["embeds"]
        assert torch.equal(row(folder), row(base))


def test_sdxl_in_one_file_keeps_both_of_its_encoders(hub, ctx, tmp_path):
    whole = xl_toy.build(tmp_path / "xl", layers=1)
    hub(SDXL.SPEC.default_source, whole, ["*.safetensors"])
    folder = base_folder(source(in_one_file(whole, tmp_path / "xl.safetensors"), "sdxl"), SDXL, ctx)
    same_weights(folder, whole, ("unet", "vae", "text_encoder", "text_encoder_2"))
    with pytest.raises(ValueError, match="made for StableDiffusionXLPipeline, but you chose Stable Diffusion 1.5"):
        base_folder(source(tmp_path / "xl.safetensors"), SD15, ctx)


def test_the_marks_of_a_v_prediction_finetune_count(base, hub, ctx, tmp_path):
    hub(SD15.SPEC.default_source, base, ["*.safetensors"])
    file = in_one_file(base, tmp_path / "v.safetensors", v_pred=torch.zeros(0), ztsnr=torch.zeros(0))
    scheduler = json.loads((base_folder(source(file), SD15, ctx) / "scheduler" / "scheduler_config.json").read_text())
    assert (scheduler["prediction_type"], scheduler["rescale_betas_zero_snr"], scheduler["timestep_spacing"]) == ("v_prediction", True, "trailing")
    assert any(w == f"v.safetensors says that it predicts v, up to pure noise; its other settings and tokenizers are those of {SD15.SPEC.default_source}" for w in ctx.run.view().warnings)
    alone = in_one_file(base, tmp_path / "z.safetensors", ztsnr=torch.zeros(0))  # as in ComfyUI: of a model that predicts the noise it says nothing
    scheduler = json.loads((base_folder(source(alone), SD15, ctx) / "scheduler" / "scheduler_config.json").read_text())
    assert scheduler["prediction_type"] == "epsilon" and not scheduler.get("rescale_betas_zero_snr")


def test_what_a_file_of_a_transformer_lacks_comes_from_its_repository(hub, ctx, tmp_path):
    whole = flux_toy.build(tmp_path / "flux")
    file = tmp_path / "flux.safetensors"
    tensors = load_file(whole / "transformer" / "diffusion_pytorch_model.safetensors")
    save_file({k: t.to(torch.bfloat16) + 1 for k, t in tensors.items()}, file)
    hub(FLUX.SPEC.default_source, whole, ["*.safetensors"])
    with pytest.raises(ValueError, match="flux.safetensors cannot be unpacked without black-forest-labs/FLUX.1-dev.*not on this computer"):
        base_folder(source(file, "flux1"), FLUX, ctx)
    hub(FLUX.SPEC.default_source, whole)
    folder = base_folder(source(file, "flux1"), FLUX, ctx)
    same_weights(folder, whole, ("vae", "text_encoder", "text_encoder_2"))
    mine = load_file(folder / "transformer" / "diffusion_pytorch_model.safetensors")
    assert all(torch.equal(mine[k], tensors[k].to(torch.bfloat16) + 1) for k in tensors)


@pytest.mark.parametrize("id", ["chroma", "flux2", "krea2", "lumina2", "qwen_image", "qwen_image21", "sd35", "wan21", "wan22_5b", "z_image"])
def test_a_transformer_alone_is_taken_for_the_familys_usual_base(id, hub, ctx, tmp_path):
    family = registry.get("families", id)
    whole = importlib.import_module(f"tests.families.{id}").build(tmp_path / id)
    file = tmp_path / "mine.safetensors"
    tensors = load_file(whole / "transformer" / "diffusion_pytorch_model.safetensors")
    save_file({k: t + 1 for k, t in tensors.items()}, file)
    hub(family.SPEC.default_source, whole)
    folder = base_folder(source(file, id), family, ctx)
    mine = load_file(folder / "transformer" / "diffusion_pytorch_model.safetensors")
    assert mine.keys() == tensors.keys() and all(torch.equal(mine[k], tensors[k] + 1) for k in tensors)
    assert family.SPEC.default_source in ctx.run.view().warnings[0]
    for other in family.SPEC.alike:  # told apart by the file's name alone
        hub(other, whole)
        named = shutil.copyfile(file, tmp_path / f"{other.rsplit('/', 1)[-1].lower().replace('-', '_')}_bf16.safetensors")
        base_folder(source(named, id), family, ctx)
        assert other in ctx.run.view().warnings[-1]


def test_what_cannot_be_unpacked_says_why(base, hub, ctx, tmp_path):
    file = in_one_file(base, tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="without stable-diffusion-v1-5.*(offline mode is on|cannot be reached)"):
        base_folder(source(file), SD15, ctx)
    hub(SD15.SPEC.default_source, base, ["*.safetensors"])
    with pytest.raises(ValueError, match="made for StableDiffusionPipeline, but you chose FLUX.1"):
        base_folder(source(file, "flux1"), FLUX, ctx)
    save_file({"a.scale_weight": torch.zeros(1)}, file)
    with pytest.raises(ValueError, match="quantised"):
        base_folder(source(file), SD15, ctx)
    save_file({"model.diffusion_model.input_blocks.0.0.weight": torch.zeros(1)}, file)
    with pytest.raises(ValueError, match=r"model.safetensors"):
        base_folder(source(file), SD15, ctx)
    for name, sentence in (("model.ckpt", "pickled"), ("model.gguf", "is no base model")):
        (tmp_path / name).write_bytes(b"x")
        with pytest.raises(ValueError, match=sentence):
            base_folder(source(tmp_path / name), SD15, ctx)


@pytest.mark.slow
def test_a_run_trains_on_a_file(base, hub, lab, tmp_path):
    hub(SD15.SPEC.default_source, base, ["*.safetensors"])
    run, plain = lab.run(model__source=str(in_one_file(base, tmp_path / "one.safetensors"))), lab.run()
    assert run.status() == "finished", run.why()
    assert [e["loss"] for e in run.events()[0] if e["kind"] == "step"] == [e["loss"] for e in plain.events()[0] if e["kind"] == "step"]
