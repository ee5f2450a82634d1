"""Edit models are shown what a picture is made from as their pipelines show it: the network's call, the sizes, and what a text encoder reads."""

from __future__ import annotations

import dataclasses
import inspect
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from tests import tiny
from tests.engine.conftest import lab, state_files  # noqa: F401 a fixture
from tests.engine.test_parity import EVEN, MIDDLE, fixed, loss_of, seeded
from tests.families import flux1_kontext as kontext_toy
from tests.families import qwen_image_edit as qwen_toy
from training import registry
from training.data.controls import Control
from training.data.treatment import PLAIN
from training.engine.data import Batch
from training.engine.references import Reference
from training.family import REFERENCE, Cond, Placement

from .test_every_family import CAPTIONS, _drawn, _kit, called, calls, conditioned, elsewhere, encoded, job, latents_like, picture, to_pipe  # noqa: F401 a fixture

CPU = Placement(torch.float32, "cpu")
FIRST = "QwenImageEditPipeline"


def of(id: str, tmp_path_factory, monkeypatch):
    kit = _kit(id, str(tmp_path_factory.getbasetemp()))
    if hasattr(kit.toy, "shrink"):
        kit.toy.shrink(monkeypatch.setattr)
    return kit


@pytest.fixture
def qwen(tmp_path_factory, monkeypatch):
    return of("qwen_image_edit", tmp_path_factory, monkeypatch)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """All parts of the toy, and of one that is like the first release."""
    family = registry.get("families", "qwen_image_edit")
    made = {}
    for name in ("QwenImageEditPlusPipeline", FIRST):
        folder = qwen_toy.build(tmp_path_factory.mktemp("qwen") / name, name, zero_cond_t=name != FIRST)
        made[name] = family.load(folder, {"transformer", "vae", "text_encoder"}, CPU)
    return made


@pytest.mark.slow
@pytest.mark.parametrize(("id", "count"), [("flux1_kontext", 1), ("omnigen2", 1), ("omnigen2", 2)])
def test_predict_with_references_makes_the_call_that_the_pipeline_makes(id, count, tmp_path_factory, monkeypatch):
    """Where they are needed, test_every_family.py shows them; without, it proves that these draw without."""
    kit = of(id, tmp_path_factory, monkeypatch)
    shown, noisy = [picture(n) for n in range(count)], latents_like(kit, 1)
    takes = kit.spec.references
    args = kit.family.draw_args(kit.m, conditioned(kit, CAPTIONS[1]), conditioned(kit, ""), 1.0) | {takes.image: shown if takes.several else shown[0]}
    (theirs, their_answer), *_ = calls(kit.m.denoiser, lambda: called(kit, kit.m, noisy, 2, args))
    with torch.no_grad():
        made_from = {REFERENCE.format(n=n): encoded(kit.family, kit.m, p) for n, p in enumerate(shown)}
        cond = Cond(conditioned(kit, CAPTIONS[1]).tensors | made_from)
        ((ours, our_answer),) = calls(kit.m.denoiser, lambda: kit.family.predict(kit.m, noisy, torch.full((1,), getattr(kit.toy, "FIRST_T", 1.0)), cond))
        alone = kit.family.predict(kit.m, noisy, torch.ones(1), conditioned(kit, CAPTIONS[1]))
        said = kit.family.predict(kit.m, noisy, torch.ones(1), cond)
    for name, value in theirs.items():
        if name in ours:
            torch.testing.assert_close(ours[name].float().squeeze(), value.float().squeeze(), atol=1e-5, rtol=1e-5, msg=lambda text, name=name: f"{name}: {text}")
        else:
            assert "mask" in name and value.all()
    torch.testing.assert_close(our_answer, their_answer, atol=1e-5, rtol=1e-5)
    assert said.shape == alone.shape == noisy.shape and (said - alone).abs().max() > 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("id", ["flux1_kontext", "omnigen2", "qwen_image_edit", "flux2_klein"])
def test_a_reference_of_a_shape_of_its_own_is_brought_to_its_size_as_the_pipeline_brings_it(id, tmp_path_factory, tmp_path, monkeypatch):
    kit, seen = of(id, tmp_path_factory, monkeypatch), []
    shown = picture(2).resize((211, 128))  # no size of any pipeline; nearly one of the toy of FLUX.2, whose own size is coarser
    shown.save(tmp_path / "before.png")
    width, height = kit.family.reference_size(*shown.size)
    ours = Reference(Control(tmp_path / "before.png", "", *shown.size), PLAIN, None, width, height, kit.spec.references.cuts)
    takes, encode = kit.spec.references, kit.m.vae.encode
    monkeypatch.setattr(kit.m.vae, "encode", lambda pixels: (seen.append(pixels), encode(pixels))[1])
    args = {**kit.family.draw_args(kit.m, conditioned(kit, CAPTIONS[1]), conditioned(kit, ""), 1.0), takes.image: [shown] if takes.several else shown}
    pipe = kit.family.pipeline(kit.m)
    pipe.set_progress_bar_config(disable=True)
    with torch.no_grad():
        pipe(**args, num_inference_steps=1, height=kit.toy.SIZE[0], width=kit.toy.SIZE[1], output_type="latent")
    torch.testing.assert_close(ours.pixels(False), seen[0].reshape(3, height, width), atol=1e-5, rtol=0)
    other = dataclasses.replace(ours, cuts=not ours.cuts)
    assert (ours.pixels(False) - other.pixels(False)).abs().max() > 0.1 and ours.key("vae", False) != other.key("vae", False)


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2])
def test_a_batch_of_pairs_is_each_alone(count, tmp_path_factory, monkeypatch):
    for id in ("flux1_kontext", "omnigen2", "qwen_image_edit"):
        kit = of(id, tmp_path_factory, monkeypatch)
        noisy, t = latents_like(kit, 2), torch.tensor([0.3, 0.8])
        with torch.no_grad():
            sides = [{REFERENCE.format(n=n): encoded(kit.family, kit.m, picture(2 * n).rotate(180 * row))[0] for n in range(min(count, kit.spec.references.most))} for row in range(2)]
            rows = [{k: v for k, v in kit.rows[c].items()} | side for c, side in zip(CAPTIONS, sides, strict=True)]
            together = kit.family.predict(kit.m, noisy, t, Cond.of(rows))
            alone = [kit.family.predict(kit.m, noisy[i : i + 1], t[i : i + 1], Cond.of(rows[i : i + 1])) for i in range(2)]
        torch.testing.assert_close(together, torch.cat(alone), atol=1e-5, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "count"), [(FIRST, 1), ("QwenImageEditPlusPipeline", 1), ("QwenImageEditPlusPipeline", 2)])
def test_an_instruction_is_what_diffusers_own_pipeline_encodes_once_it_tells_where_the_pictures_are(whole, monkeypatch, name, count):
    """diffusers 0.42 does not tell Qwen2.5-VL which tokens are a picture's, without which transformers 5 gives them no rows and columns."""
    import diffusers

    qwen_toy.shrink(monkeypatch.setattr)
    family, m = registry.get("families", "qwen_image_edit"), whole[name]
    encoder, reader, shown = m.text_encoders["text_encoder"], m.tokenizers["text_encoder"], [picture(n + 1) for n in range(count)]
    pipe = getattr(diffusers, name)(transformer=m.denoiser, scheduler=m.scheduler, vae=m.vae, text_encoder=encoder, tokenizer=reader.tokenizer, processor=reader)
    pipe.set_progress_bar_config(disable=True)

    def theirs() -> torch.Tensor:
        seen = calls(m.denoiser, lambda: pipe(shown if count > 1 else shown[0], "a cat", num_inference_steps=1, height=32, width=48, output_type="latent", true_cfg_scale=1.0))
        return seen[0][0]["encoder_hidden_states"][0]

    with torch.no_grad():
        row, untold = family.encode_instruction(m, "a cat", shown), theirs()
        forward = encoder.forward
        monkeypatch.setattr(encoder, "forward", lambda *args, **told: forward(*args, **{"mm_token_type_ids": (told["input_ids"] == encoder.config.image_token_id).int(), **told}))
        torch.testing.assert_close(row["embeds"], theirs(), atol=1e-5, rtol=1e-5)
    assert row["mask"].all() and len(row["mask"]) == len(row["embeds"])
    assert (row["embeds"] - untold).abs().max() > 1e-4, "diffusers tells by itself now: what models/qwen_image_edit.py adds can go"


def published(pictures) -> tuple[torch.Tensor, torch.Tensor]:
    """(pixel_values, image_grid_thw) as Qwen2-VL's processor is described (Wang et al. 2024, arXiv 2409.12191, and its first code): resized to whole
    pairs of 14 px patches, scaled and normalised as CLIP, each picture twice in time, patches in blocks of 2 x 2, channels before time."""
    mean, std = np.array([0.48145466, 0.4578275, 0.40821073]), np.array([0.26862954, 0.26130258, 0.27577711])
    rows, grids = [], []
    for one in pictures:
        width, height = (max(round(side / 28), 1) * 28 for side in one.size)
        pixels = (np.asarray(one.resize((width, height), Image.Resampling.BICUBIC), np.float64) / 255 - mean) / std
        film = np.stack([pixels, pixels]).transpose(0, 3, 1, 2)  # [2, 3, H, W]
        down, across = height // 14, width // 14
        blocks = film.reshape(1, 2, 3, down // 2, 2, 14, across // 2, 2, 14).transpose(0, 3, 6, 4, 7, 2, 1, 5, 8)
        rows.append(blocks.reshape(down * across, 3 * 2 * 14 * 14))
        grids.append([1, down, across])
    return torch.tensor(np.concatenate(rows), dtype=torch.float32), torch.tensor(grids)


@pytest.mark.slow
def test_the_reader_makes_of_pictures_and_texts_what_the_published_processor_is_described_to_make(tmp_path):
    """That one cannot run here: transformers' needs torchvision."""
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    from tests.families.tokens import qwen2
    from training.models.qwen_image_edit import IMAGE, Reader

    tokenizer, shown = qwen2(), [picture(1).resize((90, 60)), picture(2).resize((120, 170))]
    read = Reader(tokenizer, Qwen2VLImageProcessorPil(min_pixels=3136, max_pixels=12845056))
    found = read(text=[f"red {IMAGE} cat {IMAGE} dog"], images=shown, padding=True, return_tensors="pt")
    pixels, grid = published(shown)
    assert found["image_grid_thw"].tolist() == grid.tolist() == [[1, 4, 6], [1, 12, 8]]
    torch.testing.assert_close(found["pixel_values"], pixels, atol=1e-5, rtol=1e-5)
    assert found["input_ids"].tolist() == [tokenizer(f"red {IMAGE * 6} cat {IMAGE * 24} dog").input_ids] and found["attention_mask"].all()
    assert read("red cat").input_ids == tokenizer("red cat").input_ids and read.model_max_length == tokenizer.model_max_length


@pytest.mark.slow
def test_references_have_the_sizes_of_the_pipelines():
    from diffusers.pipelines.flux.pipeline_flux_kontext import PREFERRED_KONTEXT_RESOLUTIONS
    from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit as first
    from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit_plus as plus

    kontext, qwen, omnigen2 = (registry.get("families", id) for id in ("flux1_kontext", "qwen_image_edit", "omnigen2"))
    assert list(kontext.PREFERRED) == PREFERRED_KONTEXT_RESOLUTIONS
    assert (qwen.SHOWN_PX, qwen.READ_PX) == (plus.VAE_IMAGE_SIZE, plus.CONDITION_IMAGE_SIZE)
    for width, height in ((1024, 1024), (640, 480), (3000, 1000), (31, 700), (1367, 2051)):
        assert kontext.reference_size(width, height) == min((abs(width / height - w / h), w, h) for w, h in PREFERRED_KONTEXT_RESOLUTIONS)[1:]
        assert qwen.reference_size(width, height) == plus.calculate_dimensions(1024 * 1024, width / height) == first.calculate_dimensions(1024 * 1024, width / height)[:2]
    # VectorSpaceLab/OmniGen2 at 0f72fa9, OmniGen2ImageProcessor.get_new_height_width with max_pixels and max_side_length of the pipeline's call
    asked = [(1024, 1024), (640, 480), (3000, 1000), (40, 700), (1367, 2051)]
    assert [omnigen2.reference_size(*size) for size in asked] == [(1024, 1024), (640, 480), (1024, 336), (32, 688), (672, 1024)]


@pytest.mark.slow
def test_the_first_release_takes_one_picture_and_says_so(whole, monkeypatch):
    qwen_toy.shrink(monkeypatch.setattr)
    family = registry.get("families", "qwen_image_edit")
    with pytest.raises(ValueError, match="the first Qwen-Image-Edit takes one picture, but an instruction has 2; take Qwen-Image-Edit-2509"):
        family.encode_instruction(whole[FIRST], "a cat", [picture(1), picture(2)])
    assert family.pipeline(whole[FIRST]).__class__.__mro__[2].__name__ == FIRST
    with torch.no_grad():
        alone = family.encode_text(whole[FIRST], ["a cat"])[0]["embeds"]
        assert len(family.encode_instruction(whole[FIRST], "a cat", [picture(1)])["embeds"]) > len(alone)


@pytest.mark.slow
def test_kontext_draws_at_the_size_that_it_is_asked_for(tmp_path_factory, monkeypatch):
    kit = of("flux1_kontext", tmp_path_factory, monkeypatch)
    pipe, cond = kit.family.pipeline(kit.m), conditioned(kit, CAPTIONS[0])
    pipe.set_progress_bar_config(disable=True)
    assert "max_area" in inspect.signature(pipe.__call__).parameters
    for shown in ({}, {"image": picture(1)}):
        drawn = pipe(**kit.family.draw_args(kit.m, cond, cond, 3.5), **shown, num_inference_steps=1, width=kontext_toy.SIZE[1], height=kontext_toy.SIZE[0]).images[0]
        assert drawn.size == kontext_toy.SIZE[::-1]


@pytest.mark.slow
def test_omnigen2_is_guided_towards_its_references_too(tmp_path_factory, monkeypatch):
    """As the published pipeline: three passes, of which one is shown nothing."""
    kit = of("omnigen2", tmp_path_factory, monkeypatch)
    start, said = latents_like(kit, 1), SimpleNamespace(answers=[])
    args = kit.family.draw_args(kit.m, conditioned(kit, CAPTIONS[0]), conditioned(kit, ""), 5.0) | {"input_images": [picture(1)]}
    said.answers = calls(kit.m.denoiser, lambda: setattr(said, "end", called(kit, kit.m, start, 1, args)))
    full, bare, seen = (-answer for _, answer in said.answers)
    assert [any(name.startswith("ref_image") for name in told) for told, _ in said.answers] == [True, False, True]
    step = bare + 2.0 * (seen - bare) + 5.0 * (full - seen)
    torch.testing.assert_close(said.end, to_pipe(kit, start - step), atol=1e-5, rtol=1e-5)


@pytest.fixture(params=["flux1_kontext", "omnigen2"])
def kit(request, tmp_path_factory):
    return _kit(request.param, str(tmp_path_factory.getbasetemp()))


@pytest.fixture
def base(kit):
    return kit.folder


@pytest.fixture
def dataset(tmp_path):
    return tiny.pairs(tmp_path / "inverted", 4)


@pytest.mark.slow
def test_an_edit_is_learnt_is_resumed_exactly_and_draws_over_a_picture_in_another_process(kit, lab, dataset, elsewhere, tmp_path):  # noqa: F811
    """As test_every_family.py shows it of a family that learns edits alone."""
    changes = job(
        kit, dataset, steps=25, save__every=10, sample__every=25, sample__width=64, sample__height=64, adapter__targets="attention+ff", save__keep=20, data__resolutions=[64],
        data__held_out=1, loss__objective="edit", edit__dropout=0.2,
    )  # fmt: skip
    whole = lab.run(**changes)
    assert whole.status() == "finished", whole.why()
    losses = [e["loss"] for e in whole.events()[0] if e["kind"] == "step"]
    assert sum(losses[-6:]) < sum(losses[:6])
    parted = lab.go(lab.run(stop_at=13, **changes))
    assert state_files(parted, 25) == state_files(whole, 25)
    assert Image.open(whole.path / "samples/000025_0.webp").size == (192, 64)  # before, after, sample
    over = [Image.open(dataset / "picture 0.control.png").convert("RGB")]
    once, again, plain = (_drawn(SimpleNamespace(**vars(kit) | {"shown": shown}), elsewhere, whole.result(), tmp_path / f"{n}.pt") for n, shown in enumerate((over, over, [])))
    assert not torch.equal(once["base"], once["lora"]) and torch.equal(once["lora"], again["lora"]) and not torch.equal(once["lora"], plain["lora"])


# train_dreambooth_lora_flux_kontext.py of huggingface/diffusers at 58eb52c (2026-08-23), --guidance_scale 1, run as tests/engine/test_parity.py says
SCRIPTS = [(EVEN, 3.2500107288360596), (MIDDLE, 3.405329465866089)]  # timesteps, loss


@pytest.mark.slow
@pytest.mark.parametrize(("times", "golden"), SCRIPTS)
def test_the_loss_of_a_kontext_pair_is_that_of_diffusers_own_script(tmp_path, times, golden):
    family = registry.get("families", "flux1_kontext")
    m = family.load(kontext_toy.build(tmp_path / "toy"), {"transformer", "vae"}, CPU)
    fixed(m.denoiser)
    told = {"embeds": torch.stack([seeded(10 + n, (6, 32)) for n in range(3)]), "pooled": torch.stack([seeded(20 + n, (32,)) for n in range(3)])}
    cond = Cond(told | {REFERENCE.format(n=0): seeded(3, (3, 4, 8, 12))})
    batch = Batch(
        latents=seeded(1, (3, 4, 16, 16)), noise=seeded(2, (3, 4, 16, 16)), t=torch.tensor(times) / 1000, cond=cond, ids=["a"] * 3, weight=1.0, weights=torch.ones(3), prior=[], captions=["a"] * 3,
    )  # fmt: skip
    assert loss_of(family, m, batch, {}) == pytest.approx(golden, rel=1e-5)
    batch.cond = Cond(told)
    assert loss_of(family, m, batch, {}) != pytest.approx(golden, rel=1e-5)
