"""A picture as a prompt: it trains, its file is what load_ip_adapter reads, and draws elsewhere what it drew here."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from training import registry
from training.engine import saving

from .conftest import state_files
from .test_beside import equal_folders, published, session_of

ADAPTER = registry.get("adapters", "ip_adapter")
SIDE_PX = 16  # of what the small image encoder sees


@pytest.fixture(scope="session")
def encoder(tmp_path_factory):
    """A random CLIP image encoder with projection: 16 px, patches of 8, 12 numbers a picture."""
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    torch.manual_seed(0)
    config = CLIPVisionConfig(hidden_size=8, intermediate_size=16, num_hidden_layers=3, num_attention_heads=2, image_size=SIDE_PX, patch_size=8, projection_dim=12)
    folder = tmp_path_factory.mktemp("encoder") / "tiny eye"
    CLIPVisionModelWithProjection(config).save_pretrained(folder)
    return folder


def of(encoder, plus=False, **changes) -> dict:
    return {"adapter__type": "ip_adapter", "adapter__image_encoder": str(encoder), "adapter__plus": plus, "optimizer__learning_rate": 1e-2, **changes}


@pytest.mark.slow
@pytest.mark.parametrize("plus", [False, True])
def test_stopped_and_resumed_ends_to_the_bit_where_an_uninterrupted_run_does(lab, encoder, plus):
    changes = of(encoder, plus, steps=4, loss__ema_decay=0.9, sample__every=2, data__flip=True, adapter__picture_dropout=0.3, adapter__both_dropout=0.2)
    whole, parts = lab.run(**changes), lab.run(stop_at=2, **changes)
    assert parts.status() == "stopped"
    lab.go(parts)
    assert parts.status() == whole.status() == "finished", whole.why()
    assert state_files(parts, 4) == state_files(whole, 4)
    assert parts.view().losses == whole.view().losses


@pytest.mark.slow
@pytest.mark.parametrize("plus", [False, True])
def test_its_file_draws_in_diffusers_from_the_picture_itself_what_the_samples_show(lab, base, encoder, dataset, plus):
    from diffusers import StableDiffusionPipeline
    from transformers import CLIPVisionModelWithProjection

    run = lab.run(**of(encoder, plus, steps=3, sample__every=3))
    assert run.status() == "finished", run.why()
    folder = run.result() / "ip_adapter"
    names = set(load_file(folder / "ip_adapter.safetensors"))
    assert ("image_proj.proj.weight" in names) != plus and ("image_proj.layers.3.0.to_kv.weight" in names) == plus
    assert {f"ip_adapter.{n}.to_k_ip.weight" for n in (1, 3, 5)} <= names and str(encoder) not in (folder / "config.json").read_text()
    assert json.loads((folder / "config.json").read_text()) == {"image_encoder": "tiny eye", "plus": plus, "tokens": 16 if plus else 4}
    pipe = StableDiffusionPipeline.from_pretrained(base, safety_checker=None, image_encoder=CLIPVisionModelWithProjection.from_pretrained(encoder))
    pipe.set_progress_bar_config(disable=True)
    pipe.load_ip_adapter(str(run.result()), subfolder="ip_adapter", weight_name="ip_adapter.safetensors", image_encoder_folder=None)
    first = min(dataset.glob("*.png"))
    how = {"num_inference_steps": 2, "width": 32, "height": 32, "guidance_scale": 7.0}
    draw = lambda picture: np.asarray(pipe("zibbo on red", ip_adapter_image=picture, generator=torch.Generator().manual_seed(42), **how).images[0]).astype(int)
    strip = np.asarray(Image.open(run.path / "samples/000003_0.webp")).astype(int)
    assert strip.shape == (32, 64, 3)  # the picture that was the prompt, and what was drawn
    shown = draw(Image.open(first).convert("RGB"))
    assert (np.abs(shown - strip[:, 32:]) <= 1).mean() > 0.97
    assert (draw(Image.new("RGB", (64, 64), "white")) != shown).any()  # another picture draws another


@pytest.mark.parametrize("plus", [False, True])
def test_only_its_own_weights_learn_and_they_begin_as_the_denoisers(lab, encoder, plus):
    session = session_of(lab, lab.make(**of(encoder, plus, steps=2, sample__every=0)))
    begun = session.tensors()
    for number, name in enumerate(ADAPTER._attending(session.m.denoiser)):
        layer = session.m.denoiser.get_submodule(name)
        assert torch.equal(begun[f"ip_adapter.ip_adapter.{2 * number + 1}.to_k_ip.weight"], layer.to_k.weight)
        assert torch.equal(begun[f"ip_adapter.ip_adapter.{2 * number + 1}.to_v_ip.weight"], layer.to_v.weight)
    own = {id(p) for p in session.m.side.network.parameters()}
    frozen = {k: p.clone() for k, p in session.m.denoiser.named_parameters() if id(p) not in own}
    session.learn()
    assert all(torch.equal(p, frozen[k]) for k, p in session.m.denoiser.named_parameters() if k in frozen)
    assert all(not torch.equal(v, begun[k]) for k, v in session.tensors().items() if "ip_adapter.ip_adapter" in k)


def test_the_loss_is_the_papers_equation(lab, base, encoder):
    """Z = Attention(Q, K, V) + Attention(Q, K', V') in every layer that attends to words, written out here for one of them."""
    session = session_of(lab, lab.make(**of(encoder, steps=2, sample__every=0, data__batch_size=3, adapter__picture_dropout=0, adapter__both_dropout=0)))
    session.learn()
    batch, net = session.feed.at(0)[0], session.m.side.network
    attention = session.m.denoiser.get_submodule(ADAPTER._attending(session.m.denoiser)[0])
    heard = {}
    hook = attention.register_forward_hook(lambda m, args, kwargs, out: heard.update(x=args[0], words=kwargs["encoder_hidden_states"], out=out), with_kwargs=True)
    session.family.predict(session.m, batch.latents, batch.t, batch.cond)
    hook.remove()
    words, (tokens,) = heard["words"]
    said = net.image_proj(batch.cond.tensors["picture"])
    assert said.shape[1] == 4 and torch.allclose(tokens.reshape(said.shape), said)
    heads = lambda x: x.unflatten(-1, (attention.heads, -1)).transpose(1, 2)
    attend = lambda k, v: (torch.softmax(heads(attention.to_q(heard["x"])) @ heads(k).mT * attention.scale, -1) @ heads(v)).transpose(1, 2).flatten(2)
    mine = attend(attention.to_k(words), attention.to_v(words)) + attend(net.ip_adapter["1"]["to_k_ip"](said), net.ip_adapter["1"]["to_v_ip"](said))
    torch.testing.assert_close(attention.to_out[0](mine), heard["out"], atol=1e-5, rtol=1e-5)


def test_captions_and_pictures_are_dropped_alone_and_together_as_often_as_the_paper_says(lab, encoder):
    session = session_of(lab, lab.make(**of(encoder, data__caption_dropout=0.2, adapter__picture_dropout=0.3, adapter__both_dropout=0.1, data__batch_size=1)))
    empty = session.p.texts.row("")["embeds"]
    seen = []
    for step in range(400):
        cond = session.feed.at(step)[0].cond.tensors
        seen.append((bool(torch.equal(cond["embeds"][0], empty)), float(cond["picture"].abs().max()) == 0))
    share = {pair: seen.count(pair) / len(seen) for pair in set(seen)}
    for pair, wanted in (((True, False), 0.2), ((False, True), 0.3), ((True, True), 0.1), ((False, False), 0.4)):
        assert abs(share[pair] - wanted) < 0.07


@pytest.mark.slow
def test_chosen_layers_alone_take_the_picture(lab, encoder):
    run = lab.run(**of(encoder, steps=2, sample__every=0, adapter__include=["up_blocks"]))
    saved = load_file(run.result() / "ip_adapter/ip_adapter.safetensors")
    session = session_of(lab, run)
    for number, name in enumerate(ADAPTER._attending(session.m.denoiser)):
        assert bool(saved[f"ip_adapter.{2 * number + 1}.to_v_ip.weight"].any()) == name.startswith("up_blocks")
    with pytest.raises(ValueError, match="adapter.include has 'nothing', but no layer's name holds that"):
        lab.run(**of(encoder, steps=1, adapter__include=["nothing"]))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"adapter__image_encoder": "/nowhere/at all"}, "adapter.image_encoder is '/nowhere/at all', but there is no such folder"),
        ({"model__quantise": "int8"}, "model.quantise is 'int8', but the layers of an adapter 'ip_adapter' begin as copies"),
        ({"model__offload": 0.5}, "model.offload is 0.5"),
        ({"keep__on": True}, "keep.on is on"),
    ],
)
def test_what_it_cannot_train_with_is_said_before_long_work(lab, encoder, change, says):
    with pytest.raises(ValueError, match=says):
        lab.run(**{**of(encoder, steps=1), **change})


@pytest.mark.slow
@pytest.mark.parametrize("plus", [False, True])
def test_it_trains_in_half_precision_with_recomputed_blocks(lab, encoder, plus):
    run = lab.run(**of(encoder, plus, steps=3, model__dtype="bf16", loss__gradient_checkpointing="all", sample__every=3))
    assert run.status() == "finished", run.why()
    assert {v.dtype for v in load_file(run.path / "checkpoints/000003/adapter.safetensors").values()} == {torch.float32}


@pytest.mark.slow
@pytest.mark.parametrize("plus", [False, True])
def test_going_on_from_a_finished_one_begins_where_it_ended(lab, encoder, plus):
    first = lab.run(**of(encoder, plus, steps=2, sample__every=0))
    ended = load_file(first.path / "checkpoints/000002/adapter.safetensors")
    for source in (f"{first.id}/2", first.id, str(first.result() / "ip_adapter" / "ip_adapter.safetensors")):
        session = session_of(lab, lab.make(**of(encoder, plus, steps=2, sample__every=0, adapter__start_from=source)))
        saving.resume(session)
        assert all(torch.equal(v, ended[k]) for k, v in session.tensors().items())


@pytest.mark.slow
def test_one_checkpoint_is_published_as_the_result_is(lab, encoder, tmp_path):
    run = lab.run(**of(encoder, True, steps=4, sample__every=0, save__every=2, model__dtype="bf16"))
    assert run.status() == "finished", run.why()
    last, middle = published(run, 4, tmp_path / "last"), published(run, 2, tmp_path / "middle")
    assert sorted(last) == sorted(middle) == ["README.md", "ip_adapter/config.json", "ip_adapter/ip_adapter.safetensors"]
    assert equal_folders(tmp_path / "last/whole", run.result()) and not equal_folders(tmp_path / "middle/whole", run.result())
