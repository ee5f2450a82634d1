"""Anima: our network and pipeline are diffusers' blocks in another shape, and its files are read and written as they are released."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.engine.conftest import dataset, lab  # noqa: F401 fixtures
from tests.engine.test_unpack import ctx, hub  # noqa: F401 fixtures
from tests.families import anima as toy
from training.config import ModelPart
from training.engine import training_adapter
from training.engine.unpack import _origin
from training.engine.weights import base_folder
from training.families import anima as family
from training.family import Cond, Placement
from training.formats import basemodel, foreign
from training.formats.deliver import laid_out, readers
from training.formats.recognise import count_of_denoiser, families_of
from training.registry import get

PLACE = Placement(torch.float32, "cpu")
PROMPT, NEGATIVE = "a red cat near a tree", "a house"
SIZE = dict(width=48, height=32)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return toy.build(tmp_path_factory.mktemp("base") / "tiny anima")


@pytest.fixture(scope="module")
def m(base):
    """All parts."""
    return family.load(base, {"transformer", "text_encoder", "vae"}, PLACE)


@pytest.fixture(scope="module")
def blocks(base, m):
    """diffusers' own pipeline out of the folder, with our network, as its own wants torchvision."""
    from diffusers import AnimaModularPipeline

    pipe = AnimaModularPipeline.from_pretrained(str(base))
    pipe.load_components(["text_encoder", "tokenizer", "t5_tokenizer", "text_conditioner", "vae", "scheduler"])
    pipe.update_components(transformer=m.denoiser)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def seed():
    return torch.Generator().manual_seed(3)


@pytest.mark.parametrize("padded", [False, True])
def test_the_network_computes_what_diffusers_network_computes(m, padded):
    import diffusers

    mask = torch.zeros(1, 1, 16, 24)
    mask[..., 14:, :] = float(padded)
    # a mask that is there already enters where diffusers' network would put the one that it shrinks by torchvision
    theirs = diffusers.CosmosTransformer3DModel.from_config({**m.denoiser.config, "concat_padding_mask": False, "in_channels": m.denoiser.config.in_channels + 1}).eval()
    theirs.load_state_dict(m.denoiser.state_dict())
    noisy, t, told = torch.randn(2, 4, 1, 8, 12, generator=seed()), torch.tensor([0.3, 0.9]), torch.randn(2, 7, 16, generator=seed())
    with torch.no_grad():
        shrunk = mask[..., ::2, ::2].unsqueeze(2).expand(2, 1, 1, 8, 12)
        expected = theirs(noisy, t, told, condition_mask=shrunk, return_dict=False)[0]
        found = m.denoiser(noisy, t, told, padding_mask=mask if padded else None).sample
    assert found.std() > 0.01
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("guidance", [1.0, 4.0])
def test_the_pipeline_walks_as_diffusers_blocks_do_and_predict_makes_their_very_calls(m, blocks, guidance):
    from diffusers.guiders import ClassifierFreeGuidance

    blocks.update_components(guider=ClassifierFreeGuidance(guidance_scale=guidance))
    ours = family.pipeline(m)
    ours.set_progress_bar_config(disable=True)
    seen = []
    hook = m.denoiser.register_forward_hook(lambda module, args, kwargs, out: seen.append((args, kwargs, out[0])), with_kwargs=True)
    told = dict(prompt=PROMPT, negative_prompt=NEGATIVE, num_inference_steps=3, **SIZE)
    theirs = blocks(**told, generator=seed(), output_type="pt", output="images")
    count = len(seen)
    torch.testing.assert_close(ours(**told, guidance_scale=guidance, generator=seed(), output_type="pt").images, theirs, atol=1e-5, rtol=1e-5)
    hook.remove()
    assert count == (3 if guidance == 1 else 6) and len(seen) == 2 * count
    rows = [family.encode_text(m, [text])[0] for text in (PROMPT, NEGATIVE)]
    for number, (_, kwargs, out) in enumerate(seen[:count]):
        cond = Cond.of([rows[number % 2 if guidance > 1 else 0]])
        with torch.no_grad():
            said = family.predict(m, kwargs["hidden_states"].squeeze(2), kwargs["timestep"], cond)
        torch.testing.assert_close(said.unsqueeze(2), out, atol=1e-5, rtol=1e-5)


def test_no_caption_is_a_caption_too(m):
    """Qwen's tokenizer makes nothing of it, and T5's its end."""
    nothing, something = (family.encode_text(m, [text])[0]["embeds"] for text in ("", PROMPT))
    assert len(nothing) == 1 < len(something) and torch.isfinite(nothing).all() and nothing.std() > 0.01


def test_a_picture_is_encoded_as_diffusers_blocks_encode_it(m):
    from diffusers.modular_pipelines.anima.encoders import encode_vae_image

    pixels = torch.rand(1, 3, 32, 48, generator=seed()) * 2 - 1
    with torch.no_grad():
        theirs = encode_vae_image(pixels, m.vae, None, torch.device("cpu"), torch.float32, latent_channels=4)
        torch.testing.assert_close(family.encode_image(m, pixels, None).unsqueeze(2), theirs, atol=1e-6, rtol=1e-6)


def test_diffusers_own_loader_finds_every_layer_in_the_file_that_comfyui_reads(m):
    from diffusers import AnimaModularPipeline

    layers = [n for n, layer in m.denoiser.named_modules() if isinstance(layer, torch.nn.Linear) and n.endswith(family.SPEC.lora_targets["all"])]
    mine = {f"transformer.{n}.lora_{x}.weight": torch.ones(1, 1).numpy() for n in layers for x in "AB"}
    laid, _ = laid_out(mine, {}, family.SPEC, "comfyui")
    assert all(k.startswith("diffusion_model.") for k in laid)
    assert set(AnimaModularPipeline.lora_state_dict({k: torch.from_numpy(v) for k, v in laid.items()})) == set(mine)
    kohyas, _ = laid_out(mine, {}, family.SPEC, "kohya")
    found = AnimaModularPipeline.lora_state_dict({k: torch.from_numpy(v) for k, v in kohyas.items()})
    offer = readers(family.SPEC, "lora", get("adapters", "lora"), "kohya")
    assert not any(k.startswith("transformer.") for k in found) and not offer.pipeline and "diffusers" not in offer.title


def test_the_released_layout_is_a_base_model_and_another_familys_is_not(base, tmp_path):
    basemodel.check_folder(base, family.SPEC)
    assert basemodel.is_top(base) and not basemodel.is_top(tmp_path)
    assert family.grid(basemodel.read_configs(base, family.SPEC)) == (4, 8)
    (tmp_path / "model_index.json").write_text(json.dumps({"_class_name": "QwenImagePipeline"}), encoding="utf-8")
    with pytest.raises(ValueError, match=r"is made for QwenImagePipeline, but you chose Anima \(AnimaModularPipeline\)"):
        basemodel.check_folder(tmp_path, family.SPEC)
    (tmp_path / "model_index.json").unlink()
    with pytest.raises(ValueError, match="has no modular_model_index.json"):
        basemodel.check_folder(tmp_path, family.SPEC)


def test_what_comes_after_the_text_encoder_is_in_what_cached_text_is_known_by(base, tmp_path, ctx):  # noqa: F811
    """Finetunes of Anima keep Qwen and change that network: their captions are others."""
    import shutil

    from training.engine.cache import Cache
    from training.engine.texts import Texts

    other = tmp_path / "other"
    shutil.copytree(base, other)
    file = other / "text_conditioner" / "diffusion_pytorch_model.safetensors"
    save_file({k: t + 0.1 for k, t in load_file(file).items()}, file)
    prints = [Texts(ctx.run.config(), ctx, family, folder, Cache(tmp_path / "cache"), learning=False)._prints for folder in (base, other)]
    assert prints[0].keys() == prints[1].keys() == {"text_encoder"} and prints[0] != prints[1]


def lora(file, stem: str, beside: str):
    """A LoRA for the first block's query, and for a layer of the network behind the text encoder."""
    dice, made = seed(), {}
    for name in (stem, beside):
        made |= {f"{name}.lora_down.weight": torch.randn(2, 24, generator=dice), f"{name}.lora_up.weight": torch.randn(24, 2, generator=dice)}
    save_file(made, file)
    return made


@pytest.mark.parametrize(("stem", "beside"), [
    ("diffusion_model.blocks.0.self_attn.q_proj", "diffusion_model.llm_adapter.blocks.0.self_attn.q_proj"), ("lora_unet_blocks_0_self_attn_q_proj", "lora_unet_llm_adapter_blocks_0_self_attn_q_proj"),
])  # fmt: skip
def test_a_lora_that_also_changes_the_network_behind_the_text_encoder_is_worn_without_that(base, tmp_path, ctx, stem, beside):  # noqa: F811
    made = lora(tmp_path / "both.safetensors", stem, beside)
    assert [s.id for s in families_of(made, {})] == ["anima"] and count_of_denoiser(made, family.SPEC) == 1
    mine = family.load(base, {"transformer"}, PLACE)
    found = training_adapter.worn(family, mine, tmp_path / "both.safetensors", ctx)
    (down, up, scale), = (found[name] for name in found)
    assert set(found) == {"transformer_blocks.0.attn1.to_q"} and not hasattr(mine.denoiser, "peft_config")
    torch.testing.assert_close(scale * up.weight @ down.weight, made[f"{stem}.lora_up.weight"] @ made[f"{stem}.lora_down.weight"])
    assert any("also has a part for the network behind the text encoder" in w for w in ctx.run.view().warnings)
    alone = {k: v.numpy() for k, v in made.items() if k.startswith(beside)}
    with pytest.raises(ValueError, match="changes nothing but the network behind Anima's text encoder"):
        foreign.to_diffusers(alone, {}, family.SPEC, lambda folder: [])


def test_such_a_lora_is_converted_with_a_word_on_what_is_left_out(base, tmp_path, tool):
    lora(tmp_path / "both.safetensors", "diffusion_model.blocks.0.self_attn.q_proj", "diffusion_model.llm_adapter.blocks.0.self_attn.q_proj")
    run = tool("convert", adapter=str(tmp_path / "both.safetensors"), layout="kohya", base=str(base))
    assert {k.split(".")[0] for k in load_file(run.result())} == {"lora_unet_blocks_0_self_attn_q_proj"}
    assert any("behind the text encoder, which is left out" in w for w in run.view().warnings) and "1 layers" in run.last("finished")["summary"]


@pytest.mark.parametrize("wrapped", ["", "net.", "diffusion_model.", "model.diffusion_model."])
def test_a_single_file_is_taken_apart_with_the_network_that_it_encloses(base, tmp_path, hub, ctx, wrapped):  # noqa: F811
    """As ComfyUI has it: one file with the denoiser and, under llm_adapter., what comes after the text encoder."""
    from training.tools.fuse_file import assembly

    hub(family.SPEC.default_source, base, ["transformer/*.safetensors", "text_conditioner/*.safetensors"])
    whole = tmp_path / "anima-mine.safetensors"
    assembly(base, family.SPEC).write(whole, {}, {}, lambda *told: None)
    file = tmp_path / f"{wrapped}anima-mine.safetensors"
    tensors = {wrapped + k: t + 0.5 * ("llm_adapter" in k) for k, t in load_file(whole).items()}
    assert sum("llm_adapter." in k for k in tensors) == len(load_file(base / "text_conditioner" / "diffusion_pytorch_model.safetensors"))
    save_file(tensors | ({"first_stage_model.encoder.x.weight": torch.ones(2, 2)} if wrapped.startswith("model.") else {}), file)
    again = base_folder(ModelPart(family="anima", source=str(file)), family, ctx)
    for part, more in (("transformer", 0), ("text_conditioner", 0.5)):
        name = f"{part}/diffusion_pytorch_model.safetensors"
        found, meant = load_file(again / name), load_file(base / name)
        assert found.keys() == meant.keys() and all(torch.equal(found[k], meant[k] + more) for k in meant)


def test_a_lora_is_put_into_a_file_that_keeps_its_own_names(base, tmp_path, hub, tool):  # noqa: F811
    from training.tools.fuse_file import assembly

    hub(family.SPEC.default_source, base)
    assembly(base, family.SPEC).write(tmp_path / "plain.safetensors", {}, {}, lambda *told: None)
    before = {f"model.diffusion_model.{k}": t for k, t in load_file(tmp_path / "plain.safetensors").items()} | {"first_stage_model.x.weight": torch.ones(2, 2)}
    save_file(before, tmp_path / "saved.safetensors")
    made = lora(tmp_path / "lora.safetensors", "lora_unet_blocks_0_self_attn_q_proj", "lora_unet_llm_adapter_blocks_0_self_attn_q_proj")
    after = load_file(tool("fuse", family="anima", base=str(tmp_path / "saved.safetensors"), adapters=[{"file": str(tmp_path / "lora.safetensors")}]).result())
    assert after.keys() == before.keys()
    changed = [k for k in before if not torch.equal(before[k], after[k])]
    assert changed == ["model.diffusion_model.blocks.0.self_attn.q_proj.weight"]
    what = made["lora_unet_blocks_0_self_attn_q_proj.lora_up.weight"] @ made["lora_unet_blocks_0_self_attn_q_proj.lora_down.weight"]
    torch.testing.assert_close(after[changed[0]] - before[changed[0]], what, atol=1e-5, rtol=1e-4)


def test_of_two_depths_a_single_file_is_like_the_one_of_its_size():
    weights = lambda count: {"llm_adapter.embed.weight": torch.empty(1, device="meta"), "x": torch.empty(int(count), device="meta")}
    assert _origin(weights(2.09e9), family.SPEC, "some name") == family.SPEC.default_source
    assert _origin(weights(2.92e9), family.SPEC, "some name") == "v2ray/Anima-2.9B-preview-v1-diffusers"
