"""Edits: what a picture is made from is told to the denoiser as the pipeline tells it, and is learnt."""

from __future__ import annotations

import functools
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from tests import tiny
from tests.engine.conftest import lab, state_files  # noqa: F401 a fixture
from tests.families.test_drawing import drawn as draws
from tests.families.test_every_family import CAPTIONS, _kit, called, calls, conditioned, latents_like
from training import jobfile
from training.config import LossPart
from training.family import REFERENCE, Cond
from training.formats import pictureinfo
from training.jobs import play
from training.plan import timelaw
from training.runs import journal
from training.runs.context import Context, Stopped
from training.runs.run import create

FAMILIES = ("flux2", "flux2_klein")  # which take pictures as they are; others: test_references.py


@pytest.fixture(scope="session", params=FAMILIES)
def kit(request, tmp_path_factory):
    return _kit(request.param, str(tmp_path_factory.getbasetemp()))


@pytest.fixture
def base(kit):
    return kit.folder


@pytest.fixture(scope="session")
def pairs(tmp_path_factory):
    return tiny.pairs(tmp_path_factory.mktemp("pairs") / "inverted", 4)


@pytest.fixture
def dataset(pairs):
    return pairs


def job(kit, folder, **changes) -> dict:
    return {
        "model__family": kit.id, "model__source": str(kit.folder), "data__datasets": [{"name": str(folder)}], "data__resolutions": [64], "loss__objective": "edit",
        "sample__width": 64, "sample__height": 64, "sample__guidance": 3.0, **{f"sample__{k}": v for k, v in getattr(kit.toy, "SAMPLE", {}).items()},
        **getattr(kit.toy, "JOB", {}), **changes,
    }  # fmt: skip


def picture(seed: int, width: int, height: int) -> Image.Image:
    pixels = torch.randint(0, 256, (height, width, 3), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    return Image.fromarray(pixels.numpy())


def encoded(kit, pictures) -> dict[str, torch.Tensor]:
    """REFERENCE 0, 1, ... as the engine caches them, [1,C,h,w]: here of sizes that are encoded as they are."""
    told = {}
    for n, one in enumerate(pictures):
        assert kit.family.reference_size(*one.size) == one.size
        pixels = torch.from_numpy(np.array(one)).float().permute(2, 0, 1)[None] / 127.5 - 1
        with torch.no_grad():
            told[REFERENCE.format(n=n)] = kit.family.encode_reference(kit.m, pixels)
    return told


@pytest.mark.parametrize("count", [1, 2])
def test_predict_tells_the_denoiser_of_its_references_what_the_pipeline_tells_it(kit, count):
    takes = kit.spec.references
    shown = [picture(0, 64, 80), picture(1, 96, 64)][:count]
    noisy, cond = latents_like(kit, 1), conditioned(kit, CAPTIONS[1])
    args = kit.family.draw_args(kit.m, cond, conditioned(kit, ""), 1.0) | {takes.image: shown if takes.several else shown[0]}
    (theirs, their_answer), *_ = calls(kit.m.denoiser, lambda: called(kit, kit.m, noisy, 2, args))
    told, t = Cond(cond.tensors | encoded(kit, shown)), torch.full((1,), getattr(kit.toy, "FIRST_T", 1.0))
    with torch.no_grad():
        ((ours, our_answer),) = calls(kit.m.denoiser, lambda: kit.family.predict(kit.m, noisy, t, told))
        said = kit.family.predict(kit.m, noisy, t, told)
        alone = kit.family.predict(kit.m, noisy, t, cond)
    for name in theirs.keys() | ours.keys():
        torch.testing.assert_close(ours[name].float().squeeze(), theirs[name].float().squeeze(), atol=1e-5, rtol=1e-5, msg=lambda text, name=name: f"{name}: {text}")
    torch.testing.assert_close(our_answer, their_answer, atol=1e-5, rtol=1e-5)
    assert said.shape == noisy.shape and not torch.allclose(said, alone, atol=1e-4)  # it is heard


def test_the_rows_of_a_batch_see_their_own_references(kit):
    noisy, t = latents_like(kit, 2), torch.tensor([kit.schedule.at(0.3), kit.schedule.at(0.7)])
    each = [encoded(kit, [picture(n, 64, 64), picture(n + 2, 96, 64)][: kit.spec.references.most]) for n in range(2)]
    both = {name: torch.cat([told[name] for told in each]) for name in each[0]}
    with torch.no_grad():
        together = kit.family.predict(kit.m, noisy, t, Cond(conditioned(kit, *CAPTIONS).tensors | both))
        alone = [kit.family.predict(kit.m, noisy[n : n + 1], t[n : n + 1], Cond(conditioned(kit, CAPTIONS[n]).tensors | each[n])) for n in range(2)]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-5, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("kit", ["flux2_klein"], indirect=True)
def test_an_edit_is_learnt_is_resumed_exactly_and_draws_in_another_process_what_its_sample_shows(kit, lab, pairs):  # noqa: F811
    changes = job(kit, pairs, steps=25, save__every=10, sample__every=25, adapter__targets="attention+ff", save__keep=20, data__held_out=1, data__flip=True, edit__dropout=0.2)
    whole = lab.run(**changes)
    assert whole.status() == "finished", whole.why()
    losses = [e["loss"] for e in whole.events()[0] if e["kind"] == "step"]
    assert sum(losses[-6:]) < sum(losses[:6])
    parted = lab.go(lab.run(stop_at=13, **changes))
    assert parted.status() == "finished", parted.why()
    assert state_files(parted, 25) == state_files(whole, 25)
    assert parted.view().validations == whole.view().validations

    held = next(row["id"] for row in json.loads((whole.path / "pictures.json").read_text(encoding="utf-8")) if row["held_out"])
    after = pairs / held.rpartition("/")[2]
    strip = np.asarray(Image.open(whole.path / "samples/000025_0.webp")).astype(int)
    shown_before, shown_after, sample = strip[:, :64], strip[:, 64:128], strip[:, 128:]
    assert strip.shape == (64, 192, 3) and np.abs(shown_after - np.asarray(Image.open(after))).max() <= 1
    assert np.abs(shown_before - np.asarray(Image.open(after.with_suffix(".control.png")))).max() <= 1
    drawn = elsewhere(kit, whole.result(), after.with_suffix(".control.png"))
    assert (np.abs(drawn["lora"] - sample) <= 1).mean() > 0.97
    assert (drawn["base"] != drawn["lora"]).any() and (drawn["plain"] != drawn["lora"]).any()
    made_from = [{"picture": after.name, "dataset": str(pairs)}]
    tried = draws(lab.home, kit, prompts=["zibbo on red"], loras=[{"source": whole.id}], made_from=made_from, sizes=[[64, 64]])
    assert (np.abs(np.asarray(Image.open(tried.samples("*.png")[0])).astype(int) - sample) <= 1).mean() > 0.97
    text, ours = pictureinfo.read(tried.samples("*.png")[0])
    assert f"Made from: {after.stem}.control.png" in text and ours["made_from"][0]["name"] == f"{after.stem}.control.png" and str(pairs) not in text + str(ours)


@pytest.mark.slow
@pytest.mark.parametrize("kit", ["flux2_klein"], indirect=True)
def test_the_playgrounds_studio_draws_over_a_picture_and_keeps_it(kit, home, tmp_path):
    picture(0, 128, 128).save(tmp_path / "before.png")
    config = jobfile.parse(play.Config, {"kind": "play", "name": "play", "model": {"family": kit.id, "source": str(kit.folder)}, "idle_minutes": 0.001})
    run = create(home.outputs, config)
    shot = {"number": 0, "prompt": "invert it", "width": 64, "height": 64, "seed": 1, "steps": 2}
    shots = [shot | {"made_from": [{"picture": str(tmp_path / "before.png")}]}, shot]
    for id, one in zip(("edited00", "plainly0"), shots, strict=True):
        journal.append(run.control_path, {"t": 1.0, "kind": "draw", "request": json.dumps({"id": id, "shots": [one]})})
    ctx = Context(run, home, 1)
    ctx.emit("started", pid=1, attempt=1, boot_id="", oom_kills=0, versions={}, device="CPU")
    with pytest.raises(Stopped):
        play.run(config, ctx)
    edited, plainly = (play.told_of(run.path, id) for id in ("edited00", "plainly0"))
    assert (edited["error"], edited["seen"], plainly["error"], plainly["seen"]) == ("", 1, "", 0)
    assert not (run.path / "samples/plainly0.shown.png").exists()
    assert np.asarray(Image.open(run.path / "samples/edited00.shown.png")).shape == (64, 64, 3)
    assert (np.asarray(Image.open(run.path / edited["files"][0])) != np.asarray(Image.open(run.path / plainly["files"][0]))).any()


@pytest.mark.slow
@pytest.mark.parametrize("kit", ["flux2_klein"], indirect=True)
def test_what_is_made_from_a_picture_keeps_its_shape(kit, home, tmp_path):
    for n, size in enumerate(((256, 128), (64, 64))):
        picture(n, *size).save(tmp_path / f"{n}.png")
    named = [{"picture": str(tmp_path / f"{n}.png")} for n in (0, 1)]
    sizes = {keep: Image.open(draws(home, kit, made_from=named, keep_shape=keep, sizes=[[128, 128]]).samples("*.png")[0]).size for keep in (True, False)}
    assert sizes[False] == (128, 128) and sizes[True][0] / sizes[True][1] == pytest.approx(2, rel=0.15) and sizes[True][0] * sizes[True][1] == pytest.approx(128 * 128, rel=0.15)
    with pytest.raises(ValueError, match=r"made_from comes to 6 pictures, and FLUX.2 klein.* takes 4; leave some of them out"):
        draws(home, kit, made_from=3 * named)


DRAW = """
import json, sys, diffusers, numpy, torch
from PIL import Image
folder, lora, before, out = sys.argv[1:]
name = json.load(open(folder + "/model_index.json"))["_class_name"]
pipe = getattr(diffusers, name).from_pretrained(folder)
pipe.set_progress_bar_config(disable=True)
def draw(**more):
    how = dict(num_inference_steps=2, guidance_scale=3.0, height=64, width=64, generator=torch.Generator().manual_seed(42))
    return numpy.asarray(pipe(prompt="zibbo on red", **how, **more).images[0]).astype(int)
shown = {"image": Image.open(before).convert("RGB")}
base = draw(**shown)
pipe.load_lora_weights(lora)
numpy.savez(out, base=base, lora=draw(**shown), plain=draw())
"""


def elsewhere(kit, lora, before) -> dict[str, np.ndarray]:
    """What the public pipeline draws in a process that never trained: over a picture without the LoRA and with it, and with it over nothing."""
    out = lora.with_name("drawn.npz")
    subprocess.run([sys.executable, "-c", DRAW, str(kit.folder), str(lora), str(before), str(out)], check=True, timeout=300, capture_output=True)
    return dict(np.load(out))


def test_the_shift_counts_each_token_once_and_no_reference(kit, monkeypatch):
    """Latents here are patches already, so that a cell is a token (OneTrainer counted them four times over); the pipeline counts those of the result alone."""
    from diffusers.pipelines.flux2.pipeline_flux2 import compute_empirical_mu

    told, plain = [], kit.m.scheduler.set_timesteps

    @functools.wraps(plain)  # the pipeline looks at its arguments
    def noted(*args, **more):
        told.append(more["mu"])
        return plain(*args, **more)

    monkeypatch.setattr(kit.m.scheduler, "set_timesteps", noted)
    noisy = latents_like(kit, 1)
    args = kit.family.draw_args(kit.m, conditioned(kit, CAPTIONS[1]), conditioned(kit, ""), 1.0)
    for shown in ({}, {"image": [picture(0, 64, 80)]}):
        called(kit, kit.m, noisy, 2, args | shown)
    cells = noisy.shape[-2] * noisy.shape[-1]
    assert told == [compute_empirical_mu(cells, 2)] * 2
    law = timelaw.of_config(LossPart(), kit.m.scheduler.config, kit.spec.latent.patch)
    assert law.shift.dynamic and law.tokens(noisy.shape[1:]) == cells
