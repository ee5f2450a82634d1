"""The drawing job on small models: what is worn acts as it should, whole pictures are kept, and each says what it was drawn from."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from tests import tiny
from training import jobfile, registry
from training.engine import adapter_files, studio
from training.engine.wardrobe import Wardrobe
from training.family import Placement
from training.formats import pictureinfo
from training.plan.fromrun import drawing_like
from training.plan.samplers import SAMPLERS
from training.runs.context import Stopped
from training.runs.run import create

from .conftest import _Stopping


def job(base, **changes) -> dict:
    return {
        "kind": "generate", "name": "tiny", "model": {"family": "sd15", "source": str(base)}, "prompts": ["a red cat"], "sizes": [[32, 32]], "steps": 2,
        "guidance": 3.0,
    } | changes  # fmt: skip


@pytest.fixture
def drawing(home, base):
    """drawing(stop_at=pictures, run=an earlier one, **changes) -> the run after one attempt."""

    def attempt(stop_at: int | None = None, run=None, **changes):
        run = run or create(home.outputs, jobfile.parse(registry.get("jobs", "generate").Config, job(base, **changes)))
        ctx = _StoppingAt(run, home, run.view().attempt + 1, stop_at)
        ctx.emit("started", pid=1, attempt=ctx.attempt, boot_id="", oom_kills=0, versions={}, device="CPU")
        try:
            registry.get("jobs", "generate").run(run.config(), ctx)
        except Stopped as stopped:
            ctx.emit("stopped", step=stopped.step)
        return run

    return attempt


class _StoppingAt(_Stopping):
    def __init__(self, run, home, attempt, pictures):
        super().__init__(run, home, attempt, None, "", {})
        self.pictures, self.drawn = pictures, 0

    def emit(self, kind, **data):
        super().emit(kind, **data)
        self.drawn += kind == "sample"
        if self.pictures is not None and self.drawn >= self.pictures:
            self.request_stop()


def index(run) -> dict:
    return json.loads((run.path / "index.json").read_text(encoding="utf-8"))


def pixels(run) -> list[np.ndarray]:
    """Of every picture, in its order."""
    return [np.asarray(Image.open(run.path / p["file"]), np.int16) for p in index(run)["pictures"]]


def at(run, **place) -> np.ndarray:
    """The picture at a place of the grid."""
    found = next(p for p in index(run)["pictures"] if all(p["place"][axis] == value for axis, value in place.items()))
    return np.asarray(Image.open(run.path / found["file"]), np.int16)


def test_pictures_say_what_they_were_drawn_from(drawing):
    run = drawing(prompts=["a {red|blue} (cat:1.3)", "a dog --d 7 --n green"], count=2, negative="a, photo", sampler="euler_a")
    shots = index(run)["pictures"]
    assert [(s["prompt"], s["seed"]) for s in shots] == [("a red cat", 42), ("a blue cat", 43), ("a dog", 7), ("a dog", 8)]
    text, ours = pictureinfo.read(run.path / shots[0]["file"])
    assert text == (
        "a red cat\nNegative prompt: a, photo\nSteps: 2, Sampler: Euler a, CFG scale: 3, Seed: 42, Size: 32x32, Model: Stable Diffusion 1.5, Version: Easel"
    )
    assert ours["prompt"] == "a red cat" and ours["seed"] == 42 and str(run.path.parent) not in json.dumps(ours)
    assert pictureinfo.read(run.path / shots[2]["file"])[1]["negative"] == "green"
    assert run.view().warnings == ("weights such as (word:1.2) do nothing here: the words count as they stand",)
    page = (run.path / "index.html").read_text(encoding="utf-8")
    assert page.count("<img") == 4 and "samples/00003_8.png" in page and run.status() == "finished"


def test_a_prompt_that_is_cut_is_said_each_time(drawing):
    for _ in range(2):  # the second time its embedding is in the cache
        said = drawing(prompts=["cat " * 60]).view().warnings
        assert len(said) == 1 and "one prompt is longer than the text encoder reads" in said[0]
    assert drawing(prompts=["cat"]).view().warnings == ()


def test_a_stopped_job_goes_on_with_what_is_missing(drawing):
    whole = drawing(prompts=["a cat", "a dog"], count=2)
    run = drawing(stop_at=2, prompts=["a cat", "a dog"], count=2)
    assert run.status() == "stopped" and [bool(p["file"]) for p in index(run)["pictures"]] == [True, True, False, False]
    kept = {p.name: p.stat().st_mtime_ns for p in run.samples()}
    drawing(run=run)
    assert run.status() == "finished" and index(run)["complete"]
    assert {p.name: p.stat().st_mtime_ns for p in run.samples() if p.name in kept} == kept
    assert [p.read_bytes() for p in run.samples()] == [p.read_bytes() for p in whole.samples()]


def test_stop_leaves_a_picture_that_was_begun(drawing, monkeypatch):
    from training.engine import sampling

    monkeypatch.setattr(sampling, "LOOK_GAP_S", 0.0)
    run = drawing(stop_at=0, steps=200)  # Stop was pressed before the first step
    assert run.status() == "stopped" and not run.samples()


@pytest.fixture(scope="module")
def taught(tmp_path_factory):
    """A home with trained runs of several kinds of adapter, made when they are first asked for: taught(kind) -> Run."""
    from types import SimpleNamespace

    from training.home import find_home

    place = tmp_path_factory.mktemp("taught")
    home = find_home(place / "home").made()
    base, data = tiny.sd15(place / "base"), tiny.pictures(place / "data", 3)
    made = {}

    def run(kind: str, **changes):
        if (key := (kind, *changes)) not in made:
            told = tiny.train_job(base, data, name=kind, adapter__type=kind, optimizer__learning_rate=0.05, **changes)
            told["sample"]["prompts"] = []
            config = jobfile.parse(registry.get("jobs", "train").Config, told)
            made[key] = create(home.outputs, config)
            ctx = _Stopping(made[key], home, 1, None, "", {})
            ctx.emit("started", pid=1, attempt=1, boot_id="", oom_kills=0, versions={}, device="CPU")
            registry.get("jobs", "train").run(config, ctx)
        return made[key]

    return SimpleNamespace(run=run, home=home, base=base)


@pytest.fixture
def worn(taught):
    """worn(**changes) -> the run of a drawing job in the home of the taught ones."""

    def attempt(**changes):
        config = jobfile.parse(registry.get("jobs", "generate").Config, job(taught.base, **changes))
        run = create(taught.home.outputs, config)
        ctx = _Stopping(run, taught.home, 1, None, "", {})
        ctx.emit("started", pid=1, attempt=1, boot_id="", oom_kills=0, versions={}, device="CPU")
        registry.get("jobs", "generate").run(config, ctx)
        return run

    return attempt


@pytest.mark.slow
def test_a_grid_of_checkpoints_and_strengths(taught, worn):
    trained = taught.run("lora")
    grid = worn(loras=[{"source": trained.id}], rows="checkpoint", columns="strength", strengths=[-1, 0, 1], guidance=1.0)
    assert [p["place"]["checkpoint"] for p in index(grid)["pictures"]][::3] == ["2", "4", "6", "final"]
    plain = pixels(worn(guidance=1.0))[0]
    for step in ("2", "6", "final"):
        assert (at(grid, checkpoint=step, strength="0") == plain).all()
        assert (at(grid, checkpoint=step, strength="1") != plain).any()
    assert (at(grid, checkpoint="6", strength="1") == at(grid, checkpoint="final", strength="1")).all()
    assert (at(grid, checkpoint="2", strength="1") != at(grid, checkpoint="6", strength="1")).any()
    text, ours = pictureinfo.read(grid.path / index(grid)["pictures"][-1]["file"])
    assert "<lora:lora:1>" in text.splitlines()[0] and f'Lora hashes: "lora: {ours["loras"][0]["hash"]}"' in text
    assert (grid.path / "index.html").read_text().count("<tr>") == 5


@pytest.fixture
def unet(taught):
    family = registry.get("families", "sd15")
    return family.load(taught.base, {"unet"}, Placement(torch.float32, "cpu")).denoiser, family.SPEC


def says(module) -> torch.Tensor:
    seed = torch.Generator().manual_seed(1)
    with torch.no_grad():
        return module(torch.randn(1, 4, 16, 16, generator=seed), torch.tensor([500]), torch.randn(1, 8, 16, generator=seed)).sample


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["lora", "dora", "lokr", "loha", "oft"])
def test_what_is_worn_at_full_strength_is_what_the_file_does(kind, taught, unet):
    module, spec = unet
    base = says(module)
    file = taught.run(kind).result()
    wardrobe = Wardrobe({"unet": module}, spec, lambda text: None, lambda: None)
    wardrobe.wear([(file, 1.0)])
    alone = registry.get("families", "sd15").load(taught.base, {"unet"}, Placement(torch.float32, "cpu")).denoiser
    adapter_files.load(file, {"unet": alone}, spec)
    worn = says(module)
    assert worn.ne(base).any()
    torch.testing.assert_close(worn, says(alone), rtol=0, atol=0)
    wardrobe.wear([])
    torch.testing.assert_close(says(module), base, rtol=0, atol=0)


def test_two_files_act_as_the_sum_of_their_products(taught, unet):
    """Against dense arithmetic: W + 0.7 d1 - 0.4 d2, where d are what each file alone adds."""
    module, spec = unet
    first, second = taught.run("lora").result(), taught.run("lokr").result()
    dense = {}
    for file, strength in ((first, 0.7), (second, -0.4)):
        alone = registry.get("families", "sd15").load(taught.base, {"unet"}, Placement(torch.float32, "cpu")).denoiser
        adapter_files.load(file, {"unet": alone}, spec)
        for name, layer in alone.named_modules():
            if hasattr(layer, "get_delta_weight"):
                delta = layer.get_delta_weight("default").detach()
                dense[name] = dense.get(name, 0) + strength * delta
    wardrobe = Wardrobe({"unet": module}, spec, lambda text: None, lambda: None)
    wardrobe.wear([(first, 0.7), (second, -0.4)])
    fused = registry.get("families", "sd15").load(taught.base, {"unet"}, Placement(torch.float32, "cpu")).denoiser
    with torch.no_grad():
        for name, delta in dense.items():
            fused.get_submodule(name).weight += delta
    torch.testing.assert_close(says(module), says(fused), rtol=1e-5, atol=1e-6)
    wardrobe.wear([(first, 0.5), (first, 0.5)])
    once = says(module)
    wardrobe.wear([(first, 1.0)])
    torch.testing.assert_close(once, says(module))


def test_what_stays_loaded_is_bounded(taught, unet, monkeypatch, tmp_path):
    import shutil

    from training.engine import wardrobe as rooms

    monkeypatch.setattr(rooms, "MOST", 2)
    module, spec = unet
    base, file = says(module), taught.run("lora").result()
    wardrobe = Wardrobe({"unet": module}, spec, lambda text: None, lambda: None)
    for n in range(4):
        wardrobe.wear([(shutil.copy(file, tmp_path / f"{n}.safetensors") and tmp_path / f"{n}.safetensors", 1.0)])
    assert len(module.peft_config) == 2 and len({n for layer in module.modules() if hasattr(layer, "lora_A") for n in layer.lora_A}) == 2
    wardrobe.wear([])
    torch.testing.assert_close(says(module), base, rtol=0, atol=0)


def test_an_oft_has_no_strength(taught, worn):
    with pytest.raises(ValueError, match="rotates the base model's weights"):
        worn(loras=[{"source": taught.run("oft").id, "strength": 0.5}])


@pytest.mark.slow
def test_a_file_for_the_text_encoder_too_reaches_it(taught, worn):
    trained = taught.run("lora", adapter__text_encoder=True, adapter__text_learning_rate=0.05)
    both = pixels(worn(loras=[{"source": trained.id}]))[0]
    assert (both != pixels(worn())[0]).any()
    same = worn(loras=[{"source": trained.id}], columns="strength", strengths=[1, 0, 1])
    drawn = pixels(same)
    assert (drawn[0] == both).all() and (drawn[2] == both).all() and (drawn[1] == pixels(worn())[0]).all()


@pytest.mark.slow
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_draws(sampler, drawing):
    run = drawing(sampler=sampler, steps=4)
    (picture,) = pixels(run)
    assert picture.std() > 0 and not run.view().warnings
    title = SAMPLERS[sampler].title
    assert f"Sampler: {title}," in pictureinfo.read(run.samples()[0])[0]


def test_a_picture_to_start_from_and_a_mask(drawing, tmp_path):
    start, mask = tmp_path / "start.png", tmp_path / "mask.png"
    Image.new("RGB", (128, 64), "orange").save(start)
    half = Image.new("L", (64, 64), 0)
    half.paste(255, (32, 0, 64, 64))
    half.save(mask)
    anew = pixels(drawing(steps=4))[0]
    near, far = (pixels(drawing(steps=4, picture=str(start), change=change))[0] for change in (0.25, 1.0))
    assert (near != anew).any() and np.abs(near - far).max() > 0
    run = drawing(steps=4, picture=str(start), mask=str(mask), change=1.0)
    assert "Denoising strength: 1" in pictureinfo.read(run.samples()[0])[0]
    held, free = (np.abs(pixels(run)[0] - near)[:, part].mean() for part in (slice(0, 8), slice(24, 32)))
    assert held < free, "what the mask shows black stays nearer to the picture"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"prompts": []}, "say what to draw"),
        ({"prompts": ["a"], "rows": "seed", "columns": "seed"}, "rows and columns are both 'seed'"),
        ({"rows": "strength", "strengths": [1]}, "there is no LoRA"),
        ({"rows": "strength", "loras": [{"source": "x"}]}, "strengths is empty"),
        ({"mask": "m.png"}, "picture is not"),
        ({"picture": "p.png", "change": 0.1}, "is not one whole step"),
        ({"picture": "p.png", "made_from": [{"picture": "p.png"}]}, "either starts from another or is made from some"),
        ({"checkpoints": ["last"]}, "it takes steps, such as '500'"),
        ({"samplr": "x"}, "samplr"),
    ],
)
def test_what_cannot_be_drawn_is_said_before(changes, words, base):
    with pytest.raises(ValueError, match=words):
        jobfile.parse(registry.get("jobs", "generate").Config, job(base, **changes))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"sampler": "magic"}, "sampler is 'magic'; there are: ddim"),
        ({"sizes": [[34, 32]]}, "34x32 px does not divide by 4; try 32 or 36 in place of 34"),
        ({"loras": [{"source": "nobody"}]}, "a LoRA's source is 'nobody', but there is no file 'nobody' and no such run"),
        ({"loras": [{"source": "nobody"}], "rows": "checkpoint"}, "is no run of this home with checkpoints"),
        ({"frames": 9}, "draws still pictures"),
        ({"made_from": [{"picture": "p.png"}], "keep_shape": False}, "draws from words alone; leave it empty"),
        ({"made_from": [{"picture": "/nowhere/p.png"}]}, "made_from names '/nowhere/p.png', but there is no such file"),
        ({"prompt_file": "/nowhere/prompts.txt"}, "there is no such file"),
    ],
)
def test_what_does_not_fit_the_model_is_said_before_it_is_loaded(changes, words, drawing, monkeypatch):
    monkeypatch.setattr(studio, "load_denoiser", None)
    with pytest.raises(ValueError, match=words):
        drawing(**changes)


def test_settings_that_do_nothing_are_said(drawing):
    said = drawing(strengths=[1], checkpoints=["5"], seeds=[1], count=2, change=0.5, keep_shape=False, prompts=["a {red|blue|green} cat"]).view().warnings
    assert len(said) == 6 and all("has no effect" in s or "have no effect" in s for s in said[:5]) and "3 variants, and 1 of them is drawn" in said[5]


def test_a_job_like_a_run_has_its_settings(lab):
    run = lab.make()
    told = drawing_like(run)
    assert told["sizes"] == [[32, 32]] and told["trigger"] == "zibbo" and told["model"]["source"] == run.config().model.source
