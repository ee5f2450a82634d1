"""LoRAs that do not learn: one that is on in samples alone, one that stays on and is no part of the result."""

from __future__ import annotations

import hashlib
import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from tests.plan.test_presets import CARD
from training import jobfile, registry
from training.config import ModelPart, TrainConfig
from training.engine import frozen, training_adapter
from training.family import Cond, Modules, Placement, Speed
from training.formats import adapting
from training.plan import presets, speeding
from training.plan.fromrun import drawing_like
from training.plan.shots import Drawing, LoraUse, shots
from training.runs.context import Context

SD15 = registry.get("families", "sd15")
LAYER = "up_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
LIGHTNING = "ByteDance/SDXL-Lightning/sdxl_lightning_4step_lora.safetensors"


@pytest.fixture(scope="module")
def lora(base, tmp_path_factory):
    """Of one layer of the UNet."""
    width = load_file(next((base / "unet").glob("*.safetensors")))[f"{LAYER}.weight"].shape[0]
    dice = torch.Generator().manual_seed(1)
    tensors = {f"unet.{LAYER}.lora_A.weight": torch.randn(2, width, generator=dice), f"unet.{LAYER}.lora_B.weight": torch.randn(width, 2, generator=dice)}
    file = tmp_path_factory.mktemp("lora") / "few steps ü.safetensors"
    save_file(tensors, file)
    return file


@pytest.fixture
def kohya(lora, tmp_path):
    """The same as kohya's scripts write it, with a part for the text encoder."""
    mine = load_file(lora)
    stem = "lora_unet_" + LAYER.replace(".", "_")
    text = "lora_te_text_model_encoder_layers_0_self_attn_q_proj"
    named = {f"{stem}.lora_down.weight": mine[f"unet.{LAYER}.lora_A.weight"], f"{stem}.lora_up.weight": mine[f"unet.{LAYER}.lora_B.weight"], f"{stem}.alpha": torch.tensor(2.0)}
    save_file(named | {f"{text}.lora_down.weight": torch.randn(2, 16), f"{text}.lora_up.weight": torch.randn(16, 2), f"{text}.alpha": torch.tensor(2.0)}, tmp_path / "k.safetensors")
    return tmp_path / "k.safetensors"


@pytest.fixture
def dora(lora, tmp_path):
    mine = load_file(lora)
    save_file(mine | {f"unet.{LAYER}.lora_magnitude_vector.weight": torch.ones(mine[f"unet.{LAYER}.lora_B.weight"].shape[0])}, tmp_path / "d.safetensors")
    return tmp_path / "d.safetensors"


def unet(base):
    return SD15.load(base, {"unet"}, Placement(torch.float32, "cpu"))


def said(m) -> torch.Tensor:
    dice = torch.Generator().manual_seed(2)
    with torch.no_grad():
        return SD15.predict(m, torch.randn(1, 4, 16, 16, generator=dice), torch.tensor([500]), Cond({"embeds": torch.randn(1, 32, 16, generator=dice)}))


def hooks(m) -> int:
    return sum(len(layer._forward_hooks) for layer in m.denoiser.modules())


def test_a_speed_adapter_acts_while_a_sample_is_drawn_and_leaves_nothing_behind(base, lora, kohya, lab):
    ctx = Context(lab.make(), lab.home, 1)
    plain, pipe = said(unet(base)), SD15.pipeline(unet(base))
    pipe.load_lora_weights(str(lora.parent), weight_name=lora.name)
    theirs = said(type("M", (), {"denoiser": pipe.unet, "side": None, "dtype": torch.float32})())
    assert (theirs - plain).abs().max() > 1e-3
    for file, warned in ((lora, False), (kohya, True)):
        m = unet(base)
        fast = frozen.attach_speed(lab.make(sample__speed_adapter=str(file)).config(), SD15, m, ctx)
        assert torch.equal(said(m), plain) and not hooks(m)
        with fast.on():
            torch.testing.assert_close(said(m), theirs, atol=1e-6, rtol=1e-5)
        assert torch.equal(said(m), plain) and not hooks(m)
        assert any("a part for the text encoder, which is left out" in w for w in ctx.run.view().warnings) == warned


def test_a_file_that_diffusers_knows_in_part_is_worn_whole(lab, tmp_path):
    """Qwen-Image 2.1 as ComfyUI has it: gate and up in one matrix, of which diffusers' loader knows nothing."""
    from diffusers import QwenImage21Transformer2DModel

    family = registry.get("families", "qwen_image21")
    m = Modules(torch.float32, denoiser=QwenImage21Transformer2DModel(in_channels=8, out_channels=8, num_layers=1, attention_head_dim=16, num_attention_heads=2, context_in_dim=16, axes_dims_rope=(8, 4, 4)))
    block = m.denoiser.transformer_blocks[0]
    wide, width = block.img_mlp.proj.weight.shape
    made = {}
    for name, rows in (("attn.to_q", width), ("img_mlp.gate_up", 2 * wide)):
        made |= {f"diffusion_model.transformer_blocks.0.{name}.lora_A.weight": torch.randn(2, width), f"diffusion_model.transformer_blocks.0.{name}.lora_B.weight": torch.randn(rows, 2)}
    save_file(made, tmp_path / "fused.safetensors")
    found = training_adapter.worn(family, m, tmp_path / "fused.safetensors", Context(lab.make(), lab.home, 1))
    assert set(found) == {f"transformer_blocks.0.{x}" for x in ("attn.to_q", "img_mlp.gate_layer", "img_mlp.proj")}
    down, up, scale = found["transformer_blocks.0.img_mlp.proj"]
    both = made["diffusion_model.transformer_blocks.0.img_mlp.gate_up.lora_B.weight"] @ made["diffusion_model.transformer_blocks.0.img_mlp.gate_up.lora_A.weight"]
    torch.testing.assert_close(scale * up.weight @ down.weight, both[wide:])


def test_a_context_adapter_stays_on_at_its_strength(base, lora, lab):
    ctx = Context(lab.make(), lab.home, 1)
    answers = []
    for strength in (0.0, 0.5, 1.0):
        m = unet(base)
        frozen.attach_context(lab.make(model__context_adapter=str(lora), model__context_strength=strength).config(), SD15, m, ctx)
        answers.append(said(m))
    assert torch.equal(answers[0], said(unet(base)))
    assert 0 < (answers[1] - answers[0]).abs().max() < (answers[2] - answers[0]).abs().max()
    bad = lab.make(model__context_adapter=str(next((base / "vae").glob("*.safetensors")))).config()
    with pytest.raises(ValueError, match="model.context_adapter is .*, but "):
        frozen.attach_context(bad, SD15, unet(base), ctx)


def test_a_dora_is_refused_where_it_would_act_as_half_of_itself(base, dora, kohya, lab):
    ctx, m = Context(lab.make(), lab.home, 1), unet(base)
    save_file(load_file(kohya) | {"lora_unet_x.dora_scale": torch.ones(4, 1)}, kohya)
    for file in (dora, kohya):
        for setting, attach in (("model.context_adapter", frozen.attach_context), ("sample.speed_adapter", frozen.attach_speed)):
            with pytest.raises(ValueError, match=rf"{setting} is .*, but {file.name} is a DoRA, which cannot lie beside the base model's layers; take a LoRA"):
                attach(lab.make(**{setting.replace(".", "__"): str(file)}).config(), SD15, m, ctx)
        with pytest.raises(ValueError, match=f"the training adapter {file.name} is a DoRA"):
            training_adapter.attach(ModelPart(family="sd15", source="o/n", training_adapter=str(file)), SD15, m, ctx)


def test_what_a_context_adapter_has_for_a_text_encoder_is_said_to_be_off(base, kohya, lab):
    ctx = Context(lab.make(), lab.home, 1)
    frozen.attach_context(lab.make(model__context_adapter=str(kohya)).config(), SD15, unet(base), ctx)
    assert any("learnt without its part for the text encoder" in w for w in ctx.run.view().warnings)


def test_a_speed_adapter_is_refused_beside_compiled_blocks(lab):
    config = lab.make(sample__speed_adapter="a/b", engine__compile="on").config()
    assert speeding.problems(config, lab.home) == [("engine.compile", "is 'on', but sample.speed_adapter is on in samples alone, which compiled blocks would not see; set it to off")]
    assert not speeding.problems(lab.make(engine__compile="on").config(), lab.home)


def test_layers_that_lie_in_the_denoiser_bear_no_other_lora(lab):
    config = lab.make(adapter__type="ip_adapter", sample__speed_adapter="a/b", model__context_adapter="c/d", model__training_adapter="e/f").config()
    assert [path for path, _ in adapting.problems(config)] == ["model.context_adapter", "model.training_adapter", "sample.speed_adapter"]
    assert "is 'c/d', but the layers of an adapter 'ip_adapter' lie in the denoiser" in adapting.problems(config)[0][1]


def test_a_known_speed_adapter_brings_its_steps_guidance_and_scheduler(home):
    answers = lambda **changes: presets.Answers(dataset="x", overrides={"sample.speed_adapter": LIGHTNING} | changes)
    chosen = presets.resolve("sdxl-character", answers(), CARD, 20, home).sample
    assert (chosen.steps, chosen.guidance, chosen.speed_strength) == (4, 0, 1)
    own = presets.resolve("sdxl-character", answers(**{"sample.steps": 6}), CARD, 20, home).sample
    assert (own.steps, own.guidance) == (6, 0), "what somebody set stays"
    from diffusers import DDIMScheduler

    made = frozen.scheduled(DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear"), registry.get("families", "sdxl").SPEC.speed[LIGHTNING])
    made.set_timesteps(4)
    assert type(made).__name__ == "EulerDiscreteScheduler" and made.timesteps[0] == 999 and made.config.beta_start == 0.00085
    with pytest.raises(presets.Wrong, match="speed_adapter: is set, but the base model first draws pictures"):
        presets.resolve("sdxl-character", answers(**{"keep.drawn": 4}), CARD, 20, home)


def test_every_known_speed_adapter_is_one_that_can_be_named():
    import diffusers

    for plugin in registry.find("families").values():
        for source, speed in plugin.module.SPEC.speed.items():
            assert source.count("/") in (1, 2, 3) and isinstance(speed, Speed) and speed.steps <= speeding.SLOW_STEPS
            assert not speed.scheduler or hasattr(diffusers, speed.scheduler)


def test_the_plan_says_what_samples_would_cost_and_what_does_nothing(lab):
    spec = registry.get("families", "sdxl").SPEC
    config = lab.make(sample__steps=28, model__family="sdxl", model__source=spec.default_source).config()
    other = config.model_copy(update={"model": config.model.model_copy(update={"source": "Laxhar/noobai-XL-Vpred-1.0"}), "sample": config.sample.model_copy(update={"speed_adapter": LIGHTNING})})
    assert "was made for stabilityai/stable-diffusion-xl-base-1.0" in speeding.remarks(other, spec)[0] and not speeding.remarks(config, spec)
    assert not speeding.sentence(other.model_copy(update={"sample": config.sample}), spec, 40.0, 100.0), "it predicts the noise, and that model does not"
    assert f"set sample.speed_adapter to {LIGHTNING}" in speeding.sentence(config, spec, 40.0, 100.0)[0] and not speeding.sentence(config, spec, 4.0, 100.0)
    slow = config.model_copy(update={"sample": config.sample.model_copy(update={"speed_adapter": "a/b"})})
    assert "makes samples no quicker" in speeding.idle(slow)[0] and "with the speed adapter b" in speeding.sentence(slow, spec, 1.0, 100.0)[0]
    assert "no sample.speed_adapter" in speeding.idle(lab.make(sample__speed_strength=0.5).config())[0]


def test_what_draws_like_a_run_wears_what_the_run_drew_with(lab):
    like = drawing_like(lab.make(sample__speed_adapter="a/fast", model__context_adapter="a/other", model__context_strength=0.5))
    assert [(use["source"], use["strength"]) for use in like["loras"]] == [("a/other", 0.5), ("a/fast", 1.0)] and not like["model"]["context_adapter"]
    assert "loras" not in drawing_like(lab.make())
    drawing = Drawing(kind="generate", name="x", model={"family": "sd15", "source": "builtin"}, loras=(LoraUse(source="mine"), LoraUse(source="a/fast", fixed=True)), rows="strength", strengths=(0, 1), columns="lora")
    made, _ = shots(drawing, ["a cat"], lambda run: ())
    assert {shot.loras for shot in made} == {(("a/fast", 1.0),), (("mine", 0.0), ("a/fast", 1.0)), (("mine", 1.0), ("a/fast", 1.0))}
    by_step, _ = shots(drawing.model_copy(update={"rows": "checkpoint", "strengths": ()}), ["a cat"], lambda run: {"mine": ("5", "final")}.get(run, ()))
    assert {shot.loras for shot in by_step} == {(("a/fast", 1.0),), (("mine/5", 1.0), ("a/fast", 1.0)), (("mine", 1.0), ("a/fast", 1.0))}


def test_the_path_of_a_job_file_is_its_own_folders(tmp_path, lora):
    (tmp_path / "my.safetensors").write_bytes(lora.read_bytes())
    (tmp_path / "job.yaml").write_text("kind: train\nname: a\nmodel: {family: sd15, source: o/n, context_adapter: ./my.safetensors}\nsample: {speed_adapter: ./my.safetensors}\ndata: {datasets: [{name: x}]}\n")
    config = jobfile.load_job(tmp_path / "job.yaml")
    assert isinstance(config, TrainConfig) and config.model.context_adapter == config.sample.speed_adapter == str((tmp_path / "my.safetensors").resolve())


@pytest.mark.slow
def test_training_never_sees_a_speed_adapter_and_its_samples_say_that_it_was_on(lab, lora):
    with_it, without = (lab.run(steps=2, save__every=2, sample__every=2, **more) for more in ({"sample__speed_adapter": str(lora)}, {}))
    assert with_it.status() == "finished", with_it.why()
    weights = [load_file(run.result()) for run in (with_it, without)]
    assert weights[0].keys() == weights[1].keys() and all(torch.equal(weights[0][k], weights[1][k]) for k in weights[0])
    pictures = [(run.path / "samples" / "000000_0.webp").read_bytes() for run in (with_it, without)]
    assert pictures[0] != pictures[1] and "Speed adapter: few steps".encode("utf-16-be") in pictures[0]
    assert "Samples drawn with" in (with_it.path / "README.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_what_is_learnt_beside_a_context_adapter_says_so_and_wants_the_same_again(lab, lora, tmp_path):
    file = tmp_path / "other.safetensors"
    file.write_bytes(lora.read_bytes())
    beside = {"model__context_adapter": str(file), "steps": 4, "save__every": 2, "sample__every": 0}
    run = lab.run(stop_at=2, **beside)
    tensors = load_file(file)
    save_file({k: t * 2 for k, t in tensors.items()}, file)
    with pytest.raises(ValueError, match="context adapter other.safetensors at 1 changed"):
        lab.go(run)
    save_file(tensors, file)
    lab.go(run)
    assert run.status() == "finished", run.why()  # which also proves the result beside it
    with safe_open(run.result(), "np") as made, safe_open(lab.run(**beside | {"model__context_adapter": ""}).result(), "np") as alone:
        assert set(made.keys()) == set(alone.keys()) and any((made.get_tensor(k) != alone.get_tensor(k)).any() for k in made.keys())  # noqa: SIM118
        told = json.loads(made.metadata()["easel.context_adapter"])
    assert told == {"file": "other.safetensors", "strength": 1.0, "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}
    card = (run.path / "README.md").read_text(encoding="utf-8")
    assert "use both together. Its part for the text encoder, if it has one, was off." in card and str(tmp_path) not in card
