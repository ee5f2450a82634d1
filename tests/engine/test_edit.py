"""Pairs: what a picture is made from is cut, mirrored and told with it; what cannot be learnt is refused by name; and an edit is learnt."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from tests import tiny
from tests.families import flux2_klein as klein
from training import jobfile, registry
from training.config import EditPart
from training.data import editing
from training.data.datasets import resolve
from training.engine.buckets import plan_epoch
from training.engine.data import Feed, Row, caption_record, plan
from training.family import Placement, References
from training.plan.estimate import estimate
from training.plan.hardware import Machine

FAMILY = registry.get("families", "flux2_klein")


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return klein.build(tmp_path_factory.mktemp("base") / "klein")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.pairs(tmp_path_factory.mktemp("pairs") / "inverted", 3, sizes=((96, 64),))


@pytest.fixture
def dataset(folder):
    return folder


@pytest.fixture
def mine(folder, tmp_path):
    """The pairs, to be changed."""
    return shutil.copytree(folder, tmp_path / "mine")


def job(folder, base="nowhere", **changes):
    made = {"model__family": "flux2_klein", "loss__objective": "edit", "data__resolutions": [64], "sample__every": 0, "trigger": "", **changes}
    return jobfile.parse(registry.get("jobs", "train").Config, tiny.train_job(base, folder, **made))


def planned(home, folder, **changes):
    return plan(job(folder, **changes), home, FAMILY.SPEC, 16, pytest.fail)


@pytest.mark.slow
def test_what_a_picture_is_made_from_is_cut_and_mirrored_as_it_is(home, mine):
    for path in mine.glob("*.control.png"):  # the same shape, another size
        Image.open(path).resize((192, 128)).save(path)
    for item in planned(home, mine, data__flip=True, data__aspect_buckets=False).items:
        (reference,) = item.references
        assert item.bucket == (64, 64, 1, (64, 64)) and reference.crop == item.crop
        for flip in (False, True):
            assert float((reference.pixels(flip) + item.pixels(flip)).abs().mean()) < 0.05  # inverted
        drawn = np.asarray(reference.to_draw_from(128, 128).resize((64, 64), Image.Resampling.BOX), np.float32) / 127.5 - 1
        assert np.abs(drawn.transpose(2, 0, 1) - reference.pixels(False).numpy()).mean() < 0.05
        assert reference.key("vae", False) != reference.key("vae", True) != reference.key("other", True)


@pytest.mark.slow
def test_one_of_another_shape_is_shown_whole_and_shares_no_batch_with_others(home, mine):
    first, *others = sorted(mine.glob("*.control.png"))
    Image.new("RGB", (80, 160), "red").save(first)
    work = planned(home, mine, edit__same_shape=False)
    odd = next(item for item in work.items if item.id.endswith("picture 0.png")).references[0]
    assert odd.crop is None and (odd.width, odd.height) == (80, 160) and odd.pixels(False).shape == (3, 160, 80)
    assert Counter(item.bucket for item in work.items) == {(80, 48, 1, (80, 160)): 1, (80, 48, 1, (80, 48)): len(others)}


@pytest.mark.slow
def test_pairs_and_plain_pictures_share_no_batch(home, mine):
    for name in ("picture 0.control.png", "picture 1.control.png"):
        (mine / name).unlink()
    work = planned(home, mine, edit__plain=True)
    batches = plan_epoch([item.bucket for item in work.items], 2, 0, 0)
    assert sorted(len({bool(work.items[n].references) for n in batch}) for batch in batches) == [1] * len(batches) and len(batches) == 2
    rows = {row["id"].rpartition("/")[2]: row.get("made_from") for row in caption_record(work)}
    assert rows["picture 0.png"] is None and rows["picture 2.png"][0]["file"] == "picture 2.control.png"


@pytest.mark.slow
def test_pictures_are_left_out_as_often_as_it_says_and_never_where_they_are_needed(home, folder):
    work = planned(home, folder)
    for takes, least, most in ((References(4), 0.25, 0.35), (References(4, needed=True), 0, 0)):
        feed = Feed(job(folder, edit__dropout=0.3), work, None, "", None, None, "cpu", takes=takes)
        gone = [feed._without_references(step, Row(work.items[0], 0)) for step in range(2000)]
        assert least <= np.mean(gone) <= most and gone == [feed._without_references(step, Row(work.items[0], 0)) for step in range(2000)]


@pytest.mark.slow
def test_start_refuses_by_name_before_any_base_model_is_looked_for(lab, mine):
    changes = {"model__family": "flux2_klein", "model__source": "nobody/nothing", "loss__objective": "edit", "data__datasets": [{"name": str(mine)}], "data__resolutions": [64], "trigger": ""}
    first, text = mine / "picture 0.control.png", mine / "picture 0.txt"
    for change, says in (
        (text.unlink, "Without a caption, which is what an edit is asked for with: picture 0.png"),
        (lambda: (text.write_text("a"), Image.new("RGB", (64, 64)).save(first)), r"Of another shape than the picture before: picture 0.png \(96x64 px\) and picture 0.control.png \(64x64 px\)"),
        (first.unlink, "Without a picture that it is made from: picture 0.png. Put name.control.png beside name.jpg"),
        (lambda: [path.unlink() for path in mine.glob("*.control.png")], "no picture has one that it is made from; put name.control.png beside name.jpg"),
    ):
        change()
        with pytest.raises(ValueError, match=says):
            lab.run(**changes)


@pytest.mark.slow
def test_what_lets_them_be_learnt_all_the_same(home, mine):
    (mine / "picture 0.control.png").unlink()
    (mine / "picture 1.txt").unlink()
    Image.new("RGB", (64, 80)).save(mine / "picture 2.control.png")
    faults = lambda **changes: editing.faults(config := job(mine, **changes), FAMILY.SPEC, editing.rows(config, home))
    assert len(faults()) == 3
    assert faults(edit__plain=True, edit__same_shape=False, trigger="zibbo") == []
    rows = [(use, name, dataclasses.replace(p, more_controls=p.references * 5)) for use, name, p in editing.rows(job(mine), home)]
    assert any(text.startswith("Made from more pictures than FLUX.2 klein takes, which is 4: picture 1.png") for text in editing.faults(job(mine), FAMILY.SPEC, rows))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"model__family": "sd15"}, "model.family is 'sd15', but Stable Diffusion 1.5 cannot be shown what a picture is made from"),
        ({"adapter__type": "controlnet"}, "adapter.type is 'controlnet', which hangs beside the denoiser"),
        ({"keep__on": True, "keep__drawn": 3}, "keep.drawn is 3, but what the base model draws by itself is made from nothing"),
        ({"data__frames": 5}, "data.frames is 5, but edits are learnt from still pictures"),
    ],
)
def test_settings_that_do_not_go_with_edits_are_refused(folder, changes, says):
    assert any(says in f"{path} {text}" for path, text in editing.problems(job(folder, **changes)))


def test_a_setting_without_effect_says_so(folder):
    assert editing.idle(job(folder, edit__dropout=0.2, edit__plain=True)) == []
    assert editing.idle(job(folder, loss__objective="images", edit__dropout=0.2)) == ["edit.dropout has no effect: the objective is 'images'"]
    assert set(EditPart.model_fields) == {"same_shape", "plain", "dropout"}


@pytest.mark.slow
def test_another_picture_before_is_another_training(home, mine):
    known = planned(home, mine).fingerprint
    path = mine / "picture 0.control.png"
    ImageOps.mirror(Image.open(path)).save(path)
    assert planned(home, mine).fingerprint != known


@pytest.mark.slow
def test_the_plan_says_before_the_start_what_pairs_take_and_lack(home, base, mine):
    machine = Machine("", 0, 0, 2**34, 2**34, 2**40, "a processor", 2, False, "", (0, 0), False, "")
    resolve(home, str(mine)).check()
    of = lambda **changes: estimate(job(mine, base, steps=100, data__resolutions=[1024], **changes), machine, 3, home)
    pairs, plain = of(), of(loss__objective="images")
    assert pairs.step_seconds > plain.step_seconds and pairs.parts["activations"] > 1.5 * plain.parts["activations"] and pairs.disk_bytes > plain.disk_bytes
    assert any("together with what it is made from: 2.0 times as much" in s for s in pairs.sentences) and not pairs.problems
    (mine / "picture 2.control.png").unlink()
    assert any("Without a picture that it is made from: picture 2.png" in problem for problem in of().problems)


@pytest.mark.slow
def test_an_edit_is_learnt_that_holds_for_pictures_that_were_not_trained_on(lab, tmp_path, monkeypatch):
    """Colours turned round: the pipeline with the LoRA makes of held-out pictures what is nearer to their results than to them, and than to other results."""
    from diffusers import AutoencoderKLFlux2, Flux2Pipeline

    monkeypatch.setattr(FAMILY, "TOKENS", 64)  # of 512, which are most of a toy's work
    base, folder, rng = klein.build(tmp_path / "klein"), tmp_path / "colours", np.random.default_rng(0)
    folder.mkdir()
    for n in range(24):
        colour = np.clip([255 * (n >> k & 1) + rng.integers(-40, 41) for k in range(3)], 0, 255)
        Image.new("RGB", (64, 64), tuple(int(c) for c in colour)).save(folder / f"{n}.control.png")
        Image.new("RGB", (64, 64), tuple(255 - int(c) for c in colour)).save(folder / f"{n}.png")
        (folder / f"{n}.txt").write_text("turn its colours round", encoding="utf-8")
    pixels = lambda path: torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1)[None].float() / 127.5 - 1
    vae = AutoencoderKLFlux2.from_pretrained(base / "vae")
    with torch.no_grad():  # a random one tells colours apart only a little; so they are a unit of variance apart, as in a trained one's latents
        patches = torch.cat([Flux2Pipeline._patchify_latents(vae.encode(pixels(path)).latent_dist.mode()) for path in sorted(folder.glob("*.png"))])
        vae.bn.running_mean.copy_(patches.mean((0, 2, 3)))
        vae.bn.running_var.copy_(patches.var((0, 2, 3)))
    vae.save_pretrained(base / "vae")

    run = lab.run(
        model__family="flux2_klein", model__source=str(base), loss__objective="edit", data__datasets=[{"name": str(folder)}], data__resolutions=[64], data__batch_size=4,
        data__held_out=3, data__caption_dropout=0.0, adapter__targets="all", adapter__rank=16, adapter__alpha=16.0, loss__timestep_law="content",
        steps=150, sample__every=0, save__every=0, save__validate_every=0, trigger="",
    )  # fmt: skip
    assert run.status() == "finished", run.why()

    m = FAMILY.load(base, {"transformer", "vae", "text_encoder"}, Placement(torch.float32, "cpu"))
    pipe = FAMILY.pipeline(m)
    pipe.set_progress_bar_config(disable=True)
    pipe.load_lora_weights(str(run.result()))
    held = [row["id"].rpartition("/")[2] for row in json.loads((run.path / "pictures.json").read_text(encoding="utf-8")) if row["held_out"]]
    with torch.no_grad():
        latents = {path.name: FAMILY.encode_image(m, pixels(path), None) for path in folder.glob("*.png")}
        found = []
        for name in held:
            before = name.replace(".png", ".control.png")
            drawn = pipe(
                prompt="turn its colours round", image=Image.open(folder / before), num_inference_steps=6, guidance_scale=1.0, height=64, width=64, max_sequence_length=64,
                output_type="latent", generator=torch.Generator().manual_seed(0),
            ).images  # fmt: skip
            far = {other: float((klein.from_pipe(m, drawn, None) - of).pow(2).mean()) for other, of in latents.items()}
            found.append((far[name], far[before], np.mean([far[other] for other in far if "control" not in other and other != name])))
    after, before, others = np.mean(found, axis=0)
    assert after < 0.8 * before and after < 0.95 * others, (after, before, others)
