"""What only SDXL and SD 3.5 have: two prompts side by side, a VAE that overflows, an encoder to leave out."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

from tests import tiny
from tests.engine.conftest import dataset, lab  # noqa: F401 fixtures
from tests.families import sd35, sdxl
from training import jobfile, registry
from training.config import AdapterPart
from training.engine import noise
from training.family import GEOMETRY, Cond, Placement
from training.plan import estimate, layers

SDXL = registry.get("families", "sdxl")
SD35 = registry.get("families", "sd35")
CPU = Placement(torch.float32, "cpu")


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return sdxl.build(tmp_path_factory.mktemp("xl") / "base")


@pytest.fixture(scope="module")
def sd3(tmp_path_factory):
    return sd35.build(tmp_path_factory.mktemp("sd3") / "base")


def encoded(family, folder, captions, parts=None):
    rows = [{GEOMETRY: torch.tensor([32, 48, 0, 0, 32, 48])} for _ in captions]
    for encoder in parts or family.SPEC.parts["text"]:
        with torch.no_grad():
            rows = [row | new for row, new in zip(rows, family.encode_text(family.load(folder, {encoder}, CPU), captions), strict=True)]
    return [Cond.of([row]) for row in rows]


@pytest.mark.slow
@pytest.mark.parametrize("zeros", [True, False])
@pytest.mark.parametrize("negative", ["", "blurry"])
def test_sdxl_draws_what_the_public_pipeline_draws(tmp_path, zeros, negative):
    from diffusers import StableDiffusionXLPipeline

    folder = sdxl.build(tmp_path / "base", zeros=zeros)
    public = StableDiffusionXLPipeline.from_pretrained(folder)
    m = SDXL.load(folder, {"unet", "vae"}, CPU)
    cond, against = encoded(SDXL, folder, ["a cat", negative])
    args = {"num_inference_steps": 2, "width": 48, "height": 32, "output_type": "pt"}
    with torch.no_grad():
        theirs = public("a cat", negative_prompt=negative or None, guidance_scale=6.0, generator=torch.Generator().manual_seed(0), **args).images
        ours = SDXL.pipeline(m)(**SDXL.draw_args(m, cond, against, 6.0), generator=torch.Generator().manual_seed(0), **args).images
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_sdxl_is_told_the_size_and_the_crop_of_each_picture(base):
    m = SDXL.load(base, {"unet"}, CPU)
    (cond,) = encoded(SDXL, base, ["a cat"])
    seen = []
    m.denoiser.add_embedding.register_forward_pre_hook(lambda module, args: seen.append(args[0][:, 32:]))
    with torch.no_grad():
        for geometry in ([640, 480, 8, 4, 32, 48], [480, 640, 8, 4, 32, 48], [640, 480, 4, 8, 32, 48]):
            cond.tensors[GEOMETRY] = torch.tensor([geometry])
            SDXL.predict(m, torch.zeros(1, 4, 16, 24), torch.tensor([500]), cond)
    assert not torch.equal(seen[0], seen[1]) and not torch.equal(seen[0], seen[2])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_sdxls_vae_works_in_fp32_whatever_the_rest_computes_in(base, tmp_path, dtype):
    """A VAE whose activations leave fp16's range, as the released one's do."""
    from diffusers import AutoencoderKL

    folder = shutil.copytree(base, tmp_path / "base")
    vae = AutoencoderKL.from_pretrained(folder / "vae")
    with torch.no_grad():
        for side in (vae.encoder, vae.decoder):
            side.conv_in.weight.mul_(1e7)  # the group norms behind it take that out again
    vae.save_pretrained(folder / "vae")
    pixels = torch.rand(1, 3, 32, 48, generator=torch.Generator().manual_seed(0)) * 2 - 1
    drawn = []
    for place in (CPU, Placement(dtype, "cpu")):
        m = SDXL.load(folder, {"vae"}, place)
        with torch.no_grad():
            latents = SDXL.encode_image(m, pixels, torch.Generator().manual_seed(1))
            with torch.autocast("cpu", dtype, enabled=place is not CPU):  # as samples are drawn
                drawn.append((latents, m.vae.decode((latents / 0.13025).to(place.dtype), return_dict=False)[0]))
    assert torch.equal(drawn[0][0], drawn[1][0]) and torch.isfinite(drawn[1][1]).all()
    torch.testing.assert_close(drawn[0][1], drawn[1][1], atol=0.05, rtol=0.05)
    m = SDXL.load(base, {"vae"}, Placement(dtype, "cpu"))
    assert m.vae.dtype == torch.float32
    config = json.loads((folder / "vae" / "config.json").read_text())
    (folder / "vae" / "config.json").write_text(json.dumps(config | {"force_upcast": False}))
    assert SDXL.load(folder, {"vae"}, Placement(dtype, "cpu")).vae.dtype == dtype


def test_sdxl_reads_v_prediction_from_the_checkpoint(tmp_path):
    m = SDXL.load(sdxl.build(tmp_path / "v", "v_prediction"), set(), CPU)
    assert noise.read_schedule(m.scheduler.config, SDXL.SPEC.prediction).prediction_type == "v_prediction"


@pytest.mark.slow
def test_sdxl_trains_and_draws_in_bf16(base, lab, dataset):  # noqa: F811
    run = lab.run(model__family="sdxl", model__source=str(base), model__dtype="bf16", steps=3, sample__guidance=5.0, adapter__targets="all")
    assert run.status() == "finished", run.why()
    assert list((run.path / "samples").iterdir())


@pytest.mark.parametrize("dual", [True, False])
@pytest.mark.parametrize("targets", ["attention", "attention+ff", "all"])
def test_both_sizes_of_sd35_take_an_adapter(tmp_path, dual, targets):
    """medium has second attention layers, large has none."""
    m = SD35.load(sd35.build(tmp_path / "base", dual), {"transformer"}, CPU)
    names = registry.get("adapters", "lora").attach(m.denoiser, AdapterPart(rank=2, targets=targets), SD35.SPEC.lora_targets[targets], 1)
    assert any(".attn2." in n for n in names) == dual and any(".add_q_proj" in n for n in names)
    assert any(".ff_context." in n for n in names) == (targets != "attention")


def test_without_t5_sd35_is_told_what_the_public_pipeline_tells(sd3):
    from diffusers import StableDiffusion3Pipeline

    public = StableDiffusion3Pipeline.from_pretrained(sd3, text_encoder_3=None, tokenizer_3=None)
    m = SD35.load(sd3, {"transformer"}, CPU)
    with torch.no_grad():
        embeds, against, pooled, against_pooled = public.encode_prompt("a cat", None, None, negative_prompt="blurry", device="cpu")
    args = SD35.draw_args(m, *encoded(SD35, sd3, ["a cat", "blurry"], ["text_encoder", "text_encoder_2"]), 4.0)
    for name, theirs in {
        "prompt_embeds": embeds, "negative_prompt_embeds": against, "pooled_prompt_embeds": pooled, "negative_pooled_prompt_embeds": against_pooled,
    }.items():  # fmt: skip
        torch.testing.assert_close(args[name], theirs, atol=1e-6, rtol=1e-6)


def test_what_may_be_left_out_is_checked_before_the_start(sd3, home, tmp_path):
    from tests.plan.test_presets import LAPTOP

    job = tiny.train_job(sd3, tiny.pictures(tmp_path / "data"), model__family="sd35")
    config = lambda **changes: jobfile.parse(registry.get("jobs", "train").Config, job | {"model": job["model"] | changes})
    whole = layers.base_model(str(sd3), "", SD35)
    assert layers.base_model(str(sd3), "", SD35, ("text_encoder_3",)).text.parameters < whole.text.parameters
    unknown = layers.base_model("owner/not-here", "", SD35), layers.base_model("owner/not-here", "", SD35, ("text_encoder_3",))
    assert unknown[1].text.parameters == pytest.approx(unknown[0].text.parameters - 4.76e9)
    with pytest.raises(ValueError, match="leave_out names 'vae', but Stable Diffusion 3.5 needs it; what can be left out: text_encoder_3"):
        estimate.estimate(config(leave_out=["vae"]), LAPTOP, 4, home)

    lean = shutil.copytree(sd3, tmp_path / "lean", ignore=shutil.ignore_patterns("text_encoder_3"))
    with pytest.raises(ValueError, match="put text_encoder_3 into model.leave_out"):
        estimate.estimate(config(source=str(lean)), LAPTOP, 4, home)
    assert estimate.estimate(config(source=str(lean), leave_out=["text_encoder_3"]), LAPTOP, 4, home).fits


@pytest.mark.slow
def test_sd35_trains_without_t5(sd3, lab, dataset, tmp_path):  # noqa: F811
    lean = shutil.copytree(sd3, tmp_path / "lean", ignore=shutil.ignore_patterns("text_encoder_3", "tokenizer_3"))
    run = lab.run(model__family="sd35", model__source=str(lean), model__leave_out=["text_encoder_3"], steps=3)
    assert run.status() == "finished", run.why()
    said = [e["name"] for e in run.events()[0] if e["kind"] == "phase"]
    assert "loading text encoder 2 of 2" in said
