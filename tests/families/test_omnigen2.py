"""OmniGen2's family: the released repository's layout, the walk of the published scheduler, LoRA files, and a run from end to end."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model_state_dict
from safetensors.torch import load_file, save_file

from tests import tiny
from tests.engine.conftest import lab, state_files  # noqa: F401 a fixture
from tests.families import omnigen2 as toy
from training.engine.noise import FlowSchedule
from training.families import omnigen2 as family
from training.family import Cond, Placement
from training.formats import basemodel
from training.formats.adapting import adapter_layers
from training.plan import layers

CAPTIONS = ["a red cat", "a photo of a blue square on a dog with zibbo"]
PLACE = Placement(torch.float32, "cpu")
SIZE = dict(width=32, height=48)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return toy.build(tmp_path_factory.mktemp("base") / "tiny omnigen2")


@pytest.fixture
def m(base):
    """All parts, freshly loaded."""
    return family.load(base, {"transformer", "vae", "mllm"}, PLACE)


@pytest.fixture
def conds(m):
    return [Cond.of([row]) for row in family.encode_text(m, CAPTIONS)]


def quiet(m):
    pipe = family.pipeline(m)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def noise(seed=0, batch=1):
    return torch.randn(batch, 4, 24, 16, generator=torch.Generator().manual_seed(seed))


def test_the_released_layout_is_a_base_model(base):
    basemodel.check_folder(base, family.SPEC)
    assert family.grid(basemodel.read_configs(base, family.SPEC)) == (2, 4)


def test_only_the_asked_for_parts_are_loaded(base):
    m = family.load(base, {"mllm"}, PLACE)
    assert m.denoiser is None and m.vae is None and set(m.text_encoders) == {"mllm"} == set(m.tokenizers)


def test_the_walk_is_the_published_schedulers(m):
    # VectorSpaceLab/OmniGen2 at 0f72fa9, omnigen2/schedulers: set_timesteps(5, num_tokens=32 * 48), where 1 is the clean picture
    published = [0.0, 0.203286, 0.404909, 0.604888, 0.803246]
    timesteps = family.pipeline(m)._timesteps(5, (1, 4, 32, 48), "cpu")
    torch.testing.assert_close(1 - timesteps / 1000, torch.tensor(published), atol=1e-6, rtol=0)


def test_a_scheduler_that_diffusers_saved_is_taken_as_it_is(base, m, tmp_path):
    (tmp_path / "model_index.json").write_text(json.dumps(toy.INDEX), encoding="utf-8")
    m.scheduler.register_to_config(shift=2.5)
    m.scheduler.save_pretrained(tmp_path / "scheduler")
    again = family._scheduler(tmp_path)
    assert again.config.shift == 2.5 and again.config.use_dynamic_shifting


def test_a_caption_does_not_depend_on_the_others(m):
    alone = [family.encode_text(m, [caption])[0] for caption in CAPTIONS]
    together = family.encode_text(m, CAPTIONS[::-1])[::-1]
    for a, b in zip(alone, together, strict=True):
        assert torch.equal(a["embeds"], b["embeds"]) and a["mask"].all() and len(a["mask"]) == len(a["embeds"])
    padded, mask = family.pipeline(m).encode_prompt(CAPTIONS)  # a batch of prompts, as the pipeline itself reads them
    assert mask.sum(dim=1).tolist() == [len(a["embeds"]) for a in alone]
    torch.testing.assert_close(padded[0, : len(alone[0]["embeds"])], alone[0]["embeds"], atol=1e-6, rtol=1e-5)


def test_only_what_the_template_leaves_counts_as_a_captions_length(m):
    tokenizer = m.tokenizers["mllm"]
    word = len(tokenizer(" cat").input_ids)
    long = " cat" * (tokenizer.model_max_length // word + 5)
    (row,) = family.encode_text(m, [long])
    assert len(row["embeds"]) == 888 and len(tokenizer(long).input_ids) > tokenizer.model_max_length


def test_predict_is_the_pipelines_own_call_turned_round(m, conds):
    calls = []
    watching = m.denoiser.register_forward_hook(lambda module, args, out: calls.append((args, out[0])))
    quiet(m)(**family.draw_args(m, conds[1], conds[0], 1.0), num_inference_steps=3, generator=torch.Generator().manual_seed(0), **SIZE)
    watching.remove()
    assert len(calls) == 3
    for (latents, time, *_), out in calls:
        with torch.no_grad():
            torch.testing.assert_close(family.predict(m, latents, 1 - time, conds[1]), -out, atol=1e-5, rtol=1e-5)


def test_a_batch_of_two_lengths_is_each_alone(m, conds):
    t = torch.tensor([0.3, 0.8])
    with torch.no_grad():
        both = family.predict(m, noise(batch=2), t, Cond.of(family.encode_text(m, CAPTIONS)))
        for n, cond in enumerate(conds):
            torch.testing.assert_close(both[n : n + 1], family.predict(m, noise(batch=2)[n : n + 1], t[n : n + 1], cond), atol=1e-5, rtol=1e-5)


def test_with_a_perfect_denoiser_the_walk_ends_at_the_clean_latents(m, conds):
    clean, start = noise(1), noise(2)
    target = FlowSchedule().target(clean, start, torch.tensor([1.0]))
    m.denoiser.register_forward_hook(lambda module, args, out: (-target,))
    args = family.draw_args(m, conds[0], conds[1], 4.0)
    for steps in (1, 7):
        found = quiet(m)(**args, latents=start, num_inference_steps=steps, output_type="latent", **SIZE).images
        assert (found - clean).abs().max() < 1e-5


def test_latents_come_back_as_the_picture_they_were(m):
    pixels = torch.rand(1, 3, 48, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    latents = family.encode_image(m, pixels, torch.Generator().manual_seed(0))
    assert latents.shape == (1, 4, 24, 16)
    posterior = m.vae.encode(pixels).latent_dist.sample(torch.Generator().manual_seed(0))
    expected = (m.vae.decode(posterior).sample / 2 + 0.5).clamp(0, 1)
    torch.testing.assert_close(quiet(m)._decode(latents, "pt"), expected, atol=1e-5, rtol=0)


def attach(m, targets="attention") -> list[str]:
    """A fresh LoRA of alpha 4 over rank 2, as the engine adds one; the names of its layers."""
    torch.manual_seed(0)
    m.denoiser.add_adapter(LoraConfig(r=2, lora_alpha=4, target_modules=list(family.SPEC.lora_targets[targets]), init_lora_weights="gaussian"))
    return adapter_layers(m.denoiser)


def learning(m) -> list:
    return [p for p in m.denoiser.parameters() if p.requires_grad]


@pytest.mark.slow
@pytest.mark.parametrize(("targets", "each", "more"), [("attention", 4, 0), ("attention+ff", 7, 0), ("all", 7, 8)])
def test_every_layer_that_is_wrapped_learns(m, conds, targets, each, more):
    layers = attach(m, targets)
    blocks = 2 + 2 + 2  # of the toy: text, noisy picture, both together; never those of reference pictures
    assert len(layers) == each * blocks + more and not any("ref_image" in name for name in layers)
    optimizer = torch.optim.AdamW(learning(m), lr=1e-2)
    losses = []
    for _ in range(25):
        loss = (family.predict(m, noise(1), torch.tensor([0.6]), conds[0]) - noise(2)).square().mean()
        loss.backward()
        losses.append(loss.item())
        optimizer.step()
        assert all(p.grad is not None for p in learning(m))
        optimizer.zero_grad()
    assert losses[-1] < 0.97 * losses[0]


def trained(m, folder, **config) -> int:
    """Saves, through the pipeline, a LoRA whose every weight is something; the number of its layers."""
    layers = attach(m)
    draw = torch.Generator().manual_seed(3)
    for weight in learning(m):
        weight.data = torch.randn(weight.shape, generator=draw) * 0.1
    family.pipeline(m).save_lora_weights(
        folder, transformer_lora_layers={k: v.clone() for k, v in get_peft_model_state_dict(m.denoiser).items()},
        transformer_lora_adapter_metadata=m.denoiser.peft_config["default"].to_dict(),
    )  # fmt: skip
    return len(layers)


def said(m, cond):
    with torch.no_grad():
        return family.predict(m, noise(5), torch.tensor([0.5]), cond)


@pytest.mark.parametrize("prefix", ["transformer.", "diffusion_model."])
def test_a_lora_loads_through_the_pipeline_and_does_the_same_to_the_bit(base, m, conds, tmp_path, prefix):
    plain = said(m, conds[0])
    count = trained(m, tmp_path)
    with_lora = said(m, conds[0])
    assert not torch.equal(plain, with_lora)
    if prefix != "transformer.":  # as other trainers write it: without a header, so alpha counts as the rank
        tensors = load_file(tmp_path / "pytorch_lora_weights.safetensors")
        save_file({prefix + k.removeprefix("transformer."): v * 2 if "lora_B" in k else v for k, v in tensors.items()}, tmp_path / "pytorch_lora_weights.safetensors")
    fresh = family.load(base, {"transformer"}, PLACE)
    pipe = family.pipeline(fresh)
    pipe.load_lora_weights(tmp_path, adapter_name="one")
    assert len(adapter_layers(fresh.denoiser)) == count
    assert torch.equal(said(fresh, conds[0]), with_lora)
    pipe.set_adapters("one", 0.0)
    assert torch.equal(said(fresh, conds[0]), plain)
    pipe.set_adapters("one", 1.0)
    pipe.fuse_lora()
    torch.testing.assert_close(said(fresh, conds[0]), with_lora, atol=1e-5, rtol=1e-4)
    pipe.unfuse_lora()
    pipe.unload_lora_weights()
    torch.testing.assert_close(said(fresh, conds[0]), plain, atol=1e-5, rtol=1e-4)


def test_a_lora_of_another_model_is_refused_not_ignored(m, tmp_path):
    save_file({"unet.mid.to_q.lora_A.weight": torch.zeros(2, 4)}, tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match="no layer of OmniGen2"):
        family.pipeline(m).load_lora_weights(str(tmp_path), weight_name="x.safetensors")


def test_cached_text_draws_what_the_prompt_draws(m, conds):
    (nothing,) = family.encode_text(m, [""])
    draw = lambda pipe, **kwargs: np.asarray(pipe(**kwargs, num_inference_steps=2, generator=torch.Generator().manual_seed(0), output_type="np", **SIZE).images[0])
    prompted = draw(quiet(m), prompt=CAPTIONS[0], text_guidance_scale=3.0)
    args = family.draw_args(m, conds[0], Cond.of([nothing]), 3.0)
    m.text_encoders.clear()
    m.tokenizers.clear()
    np.testing.assert_allclose(draw(quiet(m), **args), prompted, atol=1e-5)
    weaker = draw(quiet(m), **args | {"text_guidance_scale": 1.0})
    assert prompted.shape == (48, 32, 3) and np.abs(weaker - prompted).max() > 1e-3


def test_several_pictures_of_several_prompts(m):
    found = quiet(m)(
        CAPTIONS, num_images_per_prompt=2, negative_prompt=["", "blurry"], num_inference_steps=1, text_guidance_scale=2.0,
        generator=[torch.Generator().manual_seed(n % 2) for n in range(4)], output_type="latent", return_dict=False, **SIZE,
    )[0]  # fmt: skip
    one = quiet(m)(
        CAPTIONS[1], negative_prompt="blurry", num_inference_steps=1, text_guidance_scale=2.0, generator=torch.Generator().manual_seed(1), output_type="latent", **SIZE
    ).images
    torch.testing.assert_close(found[3:], one, atol=1e-4, rtol=1e-4)


def test_a_callback_sees_the_latents_and_can_change_and_stop_the_walk(m, conds):
    seen = []

    def after(pipe, step, timestep, tensors):
        seen.append((step, float(timestep), sorted(tensors)))
        pipe._interrupt = step == 1
        return {"latents": torch.zeros_like(tensors["latents"])}

    args = family.draw_args(m, conds[0], conds[1], 1.0)
    found = quiet(m)(
        **args, num_inference_steps=5, latents=noise(), output_type="latent", callback_on_step_end=after,
        callback_on_step_end_tensor_inputs=["latents", "prompt_embeds"], **SIZE,
    ).images  # fmt: skip
    assert [s[0] for s in seen] == [0, 1] and seen[0][1] == 1000.0 and seen[0][2] == ["latents", "prompt_embeds"]
    assert not found.any()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"width": 30}, "30x48 px does not divide by 4; try 28x48"),
        ({"prompt_embeds": None}, "either prompt or prompt_embeds"),
        ({"latents": torch.zeros(1, 4, 8, 8)}, "but 32x48 px are"),
        ({"callback_on_step_end_tensor_inputs": ["noise"]}, "has 'noise', but it takes"),
        ({"negative_prompt_embeds": None}, "no text encoder to make them"),
    ],
)
def test_what_cannot_be_drawn_is_said_in_a_sentence(m, conds, change, says):
    m.text_encoders.clear()
    with pytest.raises(ValueError, match=says):
        quiet(m)(**{**family.draw_args(m, conds[0], conds[1], 4.0), "num_inference_steps": 1, **SIZE, **change})


# -- a whole run


@pytest.fixture
def dataset(tmp_path):
    return tiny.pictures(tmp_path / "pictures", 4)


def test_a_layer_is_counted_once_a_token_not_once_a_cell(base):
    model = layers.base_model(str(base), "", family)
    named = {layer.name: layer for layer in model.denoiser.layers}
    assert model.local and named["layers.0.attn.to_q"].positions(64) == 16  # 2 x 2 cells are a token
    assert {layer.positions(64) for layer in model.vae.layers if layer.name.startswith("decoder.conv_out")} == {64}
