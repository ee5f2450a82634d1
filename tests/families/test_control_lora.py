"""A LoRA whose denoiser is shown a control picture: its loss is that of diffusers' script, and its file acts the same in diffusers' control pipeline."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

from tests.engine.conftest import lab  # noqa: F401 a fixture
from tests.engine.test_beside import equal_folders, published, session_of
from tests.engine.test_following import alike, drawn, studio_of
from training.engine import saving
from training.plan import prompts

from .test_every_family import _kit, job


@pytest.fixture
def kit(tmp_path_factory):
    return _kit("flux1", str(tmp_path_factory.getbasetemp()))


@pytest.fixture
def base(kit):
    return kit.folder


@pytest.fixture
def dataset(tmp_path):
    from tests import tiny

    folder = tiny.pictures(tmp_path / "with outlines", 3)
    for path in sorted(folder.glob("*.png")):
        Image.open(path).convert("RGB").filter(ImageFilter.FIND_EDGES).save(path.with_suffix(".control.png"))
    return folder


@pytest.mark.slow
def test_its_loss_is_the_scripts_and_the_control_pipeline_loads_it(kit, lab, dataset):  # noqa: F811
    from diffusers import FluxControlPipeline

    changes = job(kit, dataset, steps=2, sample__every=2, adapter__type="control_lora", adapter__targets="attention+ff", adapter__rank=4, adapter__alpha=4, optimizer__learning_rate=2e-2)
    session = session_of(lab, lab.make(**changes))
    session.learn()
    batch = session.feed.at(1)[0]
    ours = session.objective.loss(session.family, session.m, batch, session.p.schedule, session.config.loss).mean()
    sigma = batch.t.view(-1, 1, 1, 1)
    clean, control = batch.latents, batch.cond.tensors["control"]
    both = torch.cat([(1 - sigma) * clean + sigma * batch.noise, control], 1)
    n, c, h, w = both.shape
    words = batch.cond.tensors["embeds"]
    said = session.m.denoiser(
        hidden_states=FluxControlPipeline._pack_latents(both, n, c, h, w), timestep=batch.t, guidance=torch.full((n,), 30.0),
        pooled_projections=batch.cond.tensors["pooled"], encoder_hidden_states=words, txt_ids=torch.zeros(words.shape[1], 3),
        img_ids=FluxControlPipeline._prepare_latent_image_ids(n, h // 2, w // 2, "cpu", torch.float32), return_dict=False,
    )[0]  # fmt: skip
    said = FluxControlPipeline._unpack_latents(said, h, w, 1)
    assert float(ours.detach()) == pytest.approx(float(((said.detach() - (batch.noise - clean)) ** 2).mean()), rel=1e-5)

    run = lab.run(**changes, adapter__dropout=0.3)  # which acts in training alone
    assert run.status() == "finished", run.why()  # which it is only after it was loaded again and compared
    pipe = FluxControlPipeline.from_pretrained(kit.folder)
    pipe.load_lora_weights(run.result() / "control_lora", weight_name="pytorch_lora_weights.safetensors")
    again = session_of(lab, lab.make(**{**changes, "adapter__start_from": str(run.result())}))
    saving.resume(again)
    asked = again.family.predict(again.m, batch.latents, batch.t, batch.cond)
    again.m.denoiser = pipe.transformer
    torch.testing.assert_close(again.family.predict(again.m, batch.latents, batch.t, batch.cond), asked, atol=1e-5, rtol=1e-5)

    s, studio, first = run.config().sample, studio_of(lab.home, kit.folder, "flux1"), min(p for p in dataset.glob("*.png") if ".control" not in p.name)
    how = {"prompt": prompts.of_config(run.config())[0].text, "negative": s.negative, "width": s.width, "height": s.height, "seed": s.seed, "steps": s.steps, "guidance": s.guidance}
    alone, with_it = drawn(studio, **how), drawn(studio, beside=run.id, shown=first.name, shown_of=str(dataset), **how)
    sample = np.asarray(Image.open(run.path / "samples/000002_0.webp")).astype(int)[:, -s.width :]
    assert alike(with_it, sample) and not alike(with_it, alone) and np.array_equal(drawn(studio, **how), alone)


@pytest.mark.slow
@pytest.mark.parametrize("quantise", ["none", "int8"])
def test_it_trains_with_norms_and_on_a_quantised_base_in_half_precision(kit, lab, dataset, tmp_path, quantise):  # noqa: F811
    from safetensors.torch import load_file

    run = lab.run(**job(kit, dataset, steps=2, sample__every=0, adapter__type="control_lora", adapter__rank=4, adapter__norms=True, model__dtype="bf16", model__quantise=quantise))
    assert run.status() == "finished", run.why()
    names = set(load_file(run.result() / "control_lora" / "pytorch_lora_weights.safetensors"))
    assert {"transformer.x_embedder.lora_A.weight", "transformer.transformer_blocks.0.attn.norm_q.weight", "transformer.transformer_blocks.0.attn.to_q.lora_B.weight"} <= names
    published(run, 2, tmp_path / "published")
    assert equal_folders(tmp_path / "published/whole", run.result())
