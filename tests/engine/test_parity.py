"""The loss of a step is what diffusers' own example scripts compute, on the same latents, noise, timesteps and captions.

The numbers in GOLDEN were not made by our code.  They are what the scripts of huggingface/diffusers at tag v0.40.0 gave, with diffusers
0.42.1 and torch 2.13.0 in fp32 on a CPU: their own lines, word for word, from "convert images to latent space" to the finished loss
(scaling the latents, adding noise, encoding the text, time ids, calling the denoiser, target, min-SNR and SD3 weighting, the mean), run
outside of this repository on the models of tests/families.  Which script, by family:

    sd15    examples/text_to_image/train_text_to_image_lora.py          --prediction_type, --snr_gamma
    sdxl    examples/text_to_image/train_text_to_image_lora_sdxl.py     the same; --resolution 32 --center_crop, pictures of PICTURES' sizes
    flux1   examples/dreambooth/train_dreambooth_lora_flux.py           --weighting_scheme, --guidance_scale 1
    sd35    examples/dreambooth/train_dreambooth_lora_sd3.py            --weighting_scheme, --max_sequence_length 256

    and at commit 58eb52c (2026-08-23), with --weighting_scheme, and the rows of ROWS in place of encoded captions:

    qwen_image   examples/dreambooth/train_dreambooth_lora_qwen_image.py
    z_image      examples/dreambooth/train_dreambooth_lora_z_image.py
    flux2_klein  examples/dreambooth/train_dreambooth_lora_flux2_klein.py
    krea2        examples/dreambooth/train_dreambooth_lora_krea2.py

    and with what a picture is made from (PAIRS), of which the second tells rows of one batch apart by mistake, so it had one row:

    flux2_klein  examples/dreambooth/train_dreambooth_lora_flux2_klein_img2img.py
    flux2        examples/dreambooth/train_dreambooth_lora_flux2_img2img.py         --guidance_scale 1

Three things around those lines were stood in for: the VAE's draw and the noise (the tensors of `seeded`, so that both see the same), and
the tokenizers' length of 77, for which the toy encoders are too short.  The flow scripts drew the timesteps themselves, after
torch.manual_seed(7); they are kept beside the loss.
"""

from __future__ import annotations

import importlib
import zlib

import pytest
import torch

from training import registry
from training.config import LossPart
from training.engine.buckets import crop_to
from training.engine.data import Batch, Item
from training.engine.noise import read_schedule
from training.family import REFERENCE, Cond, Placement

CAPTIONS = ["a red cat on blue", "zibbo", "a photo of a green dog with a circle"]
PICTURES = [(75, 50), (60, 90), (64, 64)]  # width, height, px; cut to 32 x 32
TIMES = [3, 421, 968]
EVEN, MIDDLE = [466.0, 802.0, 341.0], [537.0, 313.0, 280.0]  # as the scripts drew them with weighting_scheme none, logit_normal
EVEN_3, MIDDLE_3 = [723.6025390625, 923.9630737304688, 608.2045288085938], [776.760009765625, 577.4907836914062, 538.4615478515625]  # with shift 3

GOLDEN = [
    # family, how its toy is built, LossPart, timesteps, loss
    ("sd15", {"prediction_type": "epsilon"}, {}, TIMES, 1.292342185974121),
    ("sd15", {"prediction_type": "epsilon"}, {"min_snr_gamma": 5}, TIMES, 0.8531724810600281),
    ("sd15", {"prediction_type": "v_prediction"}, {}, TIMES, 1.3307039737701416),
    ("sd15", {"prediction_type": "v_prediction"}, {"min_snr_gamma": 5}, TIMES, 0.18251632153987885),
    ("sdxl", {"prediction_type": "epsilon", "large": (32, 2), "layers": 1}, {}, TIMES, 1.3669241666793823),
    ("sdxl", {"prediction_type": "epsilon", "large": (32, 2), "layers": 1}, {"min_snr_gamma": 5}, TIMES, 0.8966510891914368),
    ("sdxl", {"prediction_type": "v_prediction", "large": (32, 2), "layers": 1}, {}, TIMES, 1.4099565744400024),
    ("sdxl", {"prediction_type": "v_prediction", "large": (32, 2), "layers": 1}, {"min_snr_gamma": 5}, TIMES, 0.19353266060352325),
    ("flux1", {}, {}, EVEN, 3.2730000019073486),
    ("flux1", {}, {}, MIDDLE, 3.361593246459961),
    ("flux1", {"guidance_embeds": False}, {}, EVEN, 3.311342239379883),
    ("sd35", {}, {}, EVEN_3, 3.2114648818969727),
    ("sd35", {}, {}, MIDDLE_3, 3.266758918762207),
    ("sd35", {"dual": False}, {}, MIDDLE_3, 3.283961534500122),
    ("qwen_image", {}, {}, EVEN, 3.2994964122772217),
    ("qwen_image", {}, {}, MIDDLE, 3.3525874614715576),
    ("z_image", {}, {}, EVEN_3, 3.105611562728882),
    ("z_image", {}, {}, MIDDLE_3, 3.104464530944824),
    ("flux2_klein", {}, {}, EVEN, 3.0332393646240234),
    ("flux2_klein", {}, {}, MIDDLE, 3.159806251525879),
    ("krea2", {}, {}, EVEN, 7.1846022605896),
    ("krea2", {}, {}, MIDDLE, 7.8069281578063965),
]
PAIRS = [("flux2_klein", 3, EVEN, 3.0326764583587646), ("flux2_klein", 3, MIDDLE, 3.154388427734375), ("flux2", 1, EVEN, 2.9777281284332275), ("flux2", 1, MIDDLE, 3.011636257171631)]  # family, rows, timesteps, loss
CHANNELS = {"qwen_image": 4, "flux2_klein": 16, "krea2": 4}  # of the toys' latents, where the VAE's own are not those of the denoiser
ROWS = {"qwen_image": ((5, 3, 7), 16), "z_image": ((5, 3, 7), 16), "flux2_klein": ((6, 6, 6), 48), "krea2": ((5, 3, 7), 3, 16)}  # lengths and the rest of the shape of what the text encoder says


def fixed(module):
    """The module with weights that depend on their names alone, whatever drew them before."""
    with torch.no_grad():
        for name, p in module.named_parameters():
            draw = torch.randn(p.shape, generator=torch.Generator().manual_seed(zlib.crc32(name.encode())))
            p.copy_(draw / p[0].numel() ** 0.5 if p.ndim > 1 else 0.1 * draw + (not name.endswith("bias")))
    return module


def seeded(seed: int, shape) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """model(family, how) -> (family, Modules) of the toy with fixed weights."""

    def load(name: str, how: dict):
        folder = tmp_path_factory.mktemp(name) / "toy"
        importlib.import_module(f"tests.families.{name}").build(folder, **how)
        family = registry.get("families", name)
        m = family.load(folder, {part for parts in family.SPEC.parts.values() for part in parts}, Placement(torch.float32, "cpu"))
        for module in (m.denoiser, *m.text_encoders.values()):
            fixed(module)
        return family, m

    return load


def batch_of(family, m, times: list[float], captions=CAPTIONS, pictures=PICTURES) -> Batch:
    shape = (len(captions), CHANNELS.get(family.SPEC.id) or m.vae.config.latent_channels, 16, 16)
    items = [Item(str(n), "", "", (caption,), size, crop_to(*size, (32, 32)), (False,)) for n, (caption, size) in enumerate(zip(captions, pictures, strict=True))]
    with torch.no_grad():
        cond = Cond.of([row | item.geometry(False) for row, item in zip(said(family, m, captions), items, strict=True)])
    t = torch.tensor(times) if family.SPEC.prediction == "scheduler" else torch.tensor(times) / 1000
    return Batch(
        latents=seeded(1, shape), noise=seeded(2, shape), t=t, cond=cond, ids=[i.id for i in items], weight=1.0, weights=torch.ones(len(items)), prior=[], captions=list(captions),
    )


def said(family, m, captions) -> list[dict]:
    if family.SPEC.id not in ROWS:
        return family.encode_text(m, captions)
    lengths, *shape = ROWS[family.SPEC.id]
    return [{"embeds": seeded(10 + n, (length, *shape)), "mask": torch.ones(length).bool()} for n, length in enumerate(lengths)]


def loss_of(family, m, batch: Batch, settings: dict) -> float:
    schedule = read_schedule(m.scheduler.config, family.SPEC.prediction)
    with torch.no_grad():
        return float(registry.get("objectives", "images").loss(family, m, batch, schedule, LossPart(**settings)).mean())


@pytest.mark.parametrize(("name", "how", "settings", "times", "golden"), GOLDEN, ids=lambda value: str(value).replace("'", "")[:40])
def test_the_loss_is_that_of_diffusers_own_script(model, name, how, settings, times, golden):
    family, m = model(name, how)
    assert loss_of(family, m, batch_of(family, m, times), settings) == pytest.approx(golden, rel=1e-5)


@pytest.mark.parametrize(("name", "rows", "times", "golden"), PAIRS)
def test_the_loss_of_a_pair_is_that_of_diffusers_own_script(model, name, rows, times, golden):
    family, m = model(name, {})
    rows_of = lambda seed, *shape: seeded(seed, (3, *shape))[:rows]
    told = {"embeds": torch.stack([seeded(10 + n, (6, 48)) for n in range(rows)])}
    cond = Cond(told | {REFERENCE.format(n=0): rows_of(3, 16, 8, 12)})
    batch = Batch(
        latents=rows_of(1, 16, 16, 16), noise=rows_of(2, 16, 16, 16), t=torch.tensor(times[:rows]) / 1000, cond=cond,
        ids=["a"] * rows, weight=1.0, weights=torch.ones(rows), prior=[], captions=["a"] * rows,
    )  # fmt: skip
    assert loss_of(family, m, batch, {}) == pytest.approx(golden, rel=1e-5)
    batch.cond = Cond(told)
    assert loss_of(family, m, batch, {}) != pytest.approx(golden, rel=1e-5)


@pytest.mark.parametrize(("name", "times"), [("sd15", TIMES), ("sdxl", TIMES), ("flux1", EVEN), ("sd35", EVEN_3)])
def test_the_golden_loss_hangs_on_what_is_told(model, name, times):
    # so that a caption, a crop or a timestep that goes astray cannot hide behind the tolerance
    family, m = model(name, {})
    as_it_is = loss_of(family, m, batch_of(family, m, times), {})
    others = {
        "captions": batch_of(family, m, times, captions=CAPTIONS[::-1]),
        "timesteps": batch_of(family, m, times[::-1]),
    } | ({"pictures": batch_of(family, m, times, pictures=PICTURES[::-1])} if name == "sdxl" else {})
    for what, batch in others.items():
        assert loss_of(family, m, batch, {}) != pytest.approx(as_it_is, rel=1e-4), what
