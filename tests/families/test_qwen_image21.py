"""Qwen-Image 2.1 shown pictures: its denoiser is told of them what diffusers' own pipeline tells it, and cached text draws over them."""

import numpy as np
import pytest
import torch
from PIL import Image

from tests import tiny
from tests.engine.conftest import lab, state_files  # noqa: F401 a fixture
from tests.families import qwen_image21 as toy
from tests.families.test_every_family import CAPTIONS, _kit, calls, job
from training.families import qwen_image21 as family
from training.family import REFERENCE, Cond, Placement, references_of

pytestmark = pytest.mark.slow
H, W = toy.SIZE


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The toy with all its parts, in one piece."""
    return family.load(toy.build(tmp_path_factory.mktemp("qwen") / "toy"), {"transformer", "vae", "text_encoder"}, Placement(torch.float32, "cpu"))


@pytest.fixture(autouse=True)
def small(monkeypatch):
    toy.shrink(monkeypatch.setattr)


def picture(seed: int, width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


SHOWN = [picture(0, 90, 90), picture(1, 150, 60)]


def told(m, caption: str, shown: list) -> Cond:
    """What the engine caches of an instruction and of its pictures."""
    from diffusers.image_processor import VaeImageProcessor

    with torch.no_grad():
        cond = Cond.of([family.encode_instruction(m, caption, shown)])
        for n, one in enumerate(shown):
            pixels = VaeImageProcessor(vae_scale_factor=16).preprocess(one, *reversed(family.reference_size(*one.size)))
            cond.tensors[REFERENCE.format(n=n)] = family.encode_reference(m, pixels)
    return cond


def noise(count: int = 1) -> torch.Tensor:
    return torch.randn(count, 8, H // 16, W // 16, generator=torch.Generator().manual_seed(3))


def drawn(pipe, **args):
    pipe.set_progress_bar_config(disable=True)
    with torch.no_grad():
        return pipe(latents=toy.to_pipe(None, noise()).clone(), num_inference_steps=2, height=H, width=W, output_type="latent", **args).images


def diffusers_own(m):
    from diffusers import QwenImage21Pipeline

    return QwenImage21Pipeline(m.scheduler, m.vae, m.text_encoders["text_encoder"], m.tokenizers["text_encoder"], m.denoiser)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_predict_tells_of_pictures_what_the_pipelines_call_tells(whole, count):
    shown, more = SHOWN[:count], {"image": SHOWN[:count]} if count else {}
    (theirs, their_answer), *_ = calls(whole.denoiser, lambda: drawn(diffusers_own(whole), prompt=CAPTIONS[1], output_resolution=toy.SHOWN, **more))
    cond = told(whole, CAPTIONS[1], shown)
    with torch.no_grad():
        ((ours, our_answer),) = calls(whole.denoiser, lambda: family.predict(whole, noise(), torch.ones(1), cond))
    assert ours.keys() == theirs.keys()
    for name in ours:
        torch.testing.assert_close(ours[name].float(), theirs[name].float(), atol=1e-5, rtol=1e-5, msg=lambda text, name=name: f"{name}: {text}")
    torch.testing.assert_close(our_answer, their_answer, atol=1e-5, rtol=1e-5)
    assert len(references_of(cond)) == count and int(cond.tensors["seen"].sum()) * 4 == sum(r.shape[2] * r.shape[3] for r in references_of(cond))


def test_cached_text_draws_over_pictures_as_the_prompt_does(whole):
    said = family.draw_args(whole, told(whole, CAPTIONS[0], SHOWN), told(whole, "", SHOWN), 3.0)
    alone = family.Modules(torch.float32, denoiser=whole.denoiser, vae=whole.vae, scheduler=whole.scheduler)  # as a run has it, the text encoder gone
    ours = drawn(family.pipeline(alone), image=SHOWN, **said)
    theirs = drawn(diffusers_own(whole), prompt=CAPTIONS[0], negative_prompt="", true_cfg_scale=3.0, image=SHOWN, output_resolution=toy.SHOWN)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(ours, drawn(diffusers_own(whole), prompt=CAPTIONS[0], negative_prompt="", true_cfg_scale=3.0), atol=1e-3)


def test_rows_of_a_batch_see_their_own_pictures_whatever_their_captions_length(whole):
    each = [told(whole, CAPTIONS[n], [picture(n, 64, 64), picture(n + 2, 96, 64)]) for n in range(2)]
    together = Cond.of([{k: v[0] for k, v in one.tensors.items()} for one in each])
    t = torch.tensor([0.3, 0.7])
    with torch.no_grad():
        both = family.predict(whole, noise(2), t, together)
        alone = torch.cat([family.predict(whole, noise(2)[n : n + 1], t[n : n + 1], each[n]) for n in range(2)])
    torch.testing.assert_close(both, alone, atol=1e-5, rtol=1e-4)


def test_a_picture_that_hides_nothing_comes_without_what_hides():
    from training.models.qwen_image21 import _plain

    seen = Image.new("RGBA", (4, 4), (10, 20, 30, 254))
    assert _plain(seen).mode == "RGB" and _plain(seen).getpixel((0, 0)) == (10, 20, 30)
    seen.putpixel((1, 1), (0, 0, 0, 90))
    assert _plain(seen) is seen


def test_the_reader_makes_of_text_and_pictures_what_the_published_processor_makes(whole):
    from transformers import Qwen3VLProcessor

    class Published(Qwen3VLProcessor):
        """Without the part for films, which needs torchvision."""

        def __init__(self, image_processor=None, tokenizer=None):
            self.image_token, self.video_token = "<|image_pad|>", "<|video_pad|>"
            self.image_token_id, self.video_token_id = map(tokenizer.convert_tokens_to_ids, (self.image_token, self.video_token))
            super(Qwen3VLProcessor, self).__init__(image_processor, tokenizer)

    reader = whole.tokenizers["text_encoder"]
    texts = [f"<image1><|vision_start|><|image_pad|><|vision_end|> <image2><|vision_start|><|image_pad|><|vision_end|>{c}" for c in CAPTIONS]
    how = {"padding": True, "padding_side": "left", "return_tensors": "pt"}
    theirs = Published(reader.image_processor, reader.tokenizer)(text=texts, images=SHOWN * 2, **how)
    ours = reader(text=texts, images=SHOWN * 2, **how)
    assert ours.keys() == theirs.keys()
    for name in ours.keys():  # noqa: SIM118 it gives values when iterated
        assert torch.equal(ours[name].float(), theirs[name].float()), name


def test_an_edit_is_learnt_beside_plain_pictures_and_is_resumed_exactly(lab, tmp_path_factory, tmp_path):  # noqa: F811
    kit = _kit("qwen_image21", str(tmp_path_factory.getbasetemp()))
    rows = [{"name": str(tiny.pairs(tmp_path / "pairs", 3, references=2))}, {"name": str(tiny.pictures(tmp_path / "plain", 2, ((64, 64),)))}]
    changes = job(
        kit, "", steps=14, data__datasets=rows, data__batch_size=1, data__resolutions=[64], data__held_out=1, sample__every=14, sample__width=64, sample__height=64, save__every=7,
        save__keep=9, adapter__targets="attention+ff", loss__objective="edit", edit__plain=True, edit__dropout=0.2,
    )  # fmt: skip
    whole = lab.run(**changes)
    assert whole.status() == "finished", whole.why()
    parted = lab.go(lab.run(stop_at=5, **changes))
    assert parted.status() == "finished", parted.why()
    assert state_files(parted, 14) == state_files(whole, 14)
    assert Image.open(whole.path / "samples/000014_0.webp").size == (256, 64)  # two before, after, sample


@pytest.fixture
def base(tmp_path_factory):
    return _kit("qwen_image21", str(tmp_path_factory.getbasetemp())).folder


@pytest.fixture
def dataset(tmp_path):
    return tiny.pictures(tmp_path / "data", 2)
