"""Presets: every shipped file holds, and answers and hardware become a whole config in which the user's word counts."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from training import jobfile, registry
from training.config import TrainConfig
from training.data import concepts, editing, examples
from training.formats.beside import is_beside
from training.plan import estimate, presets
from training.plan.hardware import Machine
from training.plan.presets import QUALITIES, Answers, Wrong

REPO = Path(__file__).resolve().parents[2]
GB = 10**9
LAPTOP = Machine("", 0, 0, 16 * GB, 12 * GB, 100 * GB, "a processor", 4, False, "", (0, 0), False, "")
CARD = replace(LAPTOP, gpu_name="NVIDIA GeForce RTX 3060", vram_bytes=12 * GB, vram_free_bytes=11 * GB, cuda_ok=True, driver="580.1", compute=(8, 6))
OLD_CARD = replace(CARD, gpu_name="NVIDIA GeForce GTX 1080", vram_bytes=8 * GB, vram_free_bytes=7 * GB, compute=(6, 1))
SHIPPED = [p.stem for p in sorted((REPO / "presets").glob("*.yaml"))]
# one of each base model at once, the others in the whole run: of one base model they differ in a few numbers
EACH = [id if id.startswith("builtin") or id.endswith("-character") else pytest.param(id, marks=pytest.mark.slow) for id in SHIPPED]


def resolved(home, preset="sd15-character", machine=CARD, pictures=20, **answers):
    overrides = answers.pop("overrides", {})
    return presets.resolve(preset, Answers(**{"trigger": "zibbo", "dataset": "cats", "overrides": overrides, **answers}), machine, pictures, home)


def test_presets_are_shipped():
    goals = {(p.family, p.light, p.goal) for p in presets.list_presets()}
    assert {("sd15", True, "character"), ("sd15", True, "style")} <= goals
    assert {("sd15", False, "character"), ("sd15", False, "object"), ("sd15", False, "style")} <= goals


@pytest.mark.parametrize("id", EACH)
@pytest.mark.parametrize(
    ("quality", "machine"),
    [("quick", CARD), ("balanced", CARD), ("balanced", LAPTOP), ("balanced", OLD_CARD), ("thorough", CARD)],  # the one does not ask for the other
    ids=["quick", "balanced", "laptop", "old card", "thorough"],
)
def test_every_preset_holds(home, id, quality, machine):
    preset = presets.get(id)
    assert preset.ok and preset.title and preset.blurb and preset.for_whom
    assert registry.get("families", preset.family)
    config = resolved(home, id, machine, quality=quality)
    assert TrainConfig.model_validate(config.model_dump(mode="json")) == config
    assert config.preset == id and config.steps == preset.steps(quality)
    assert config.device == machine.device
    assert config.sample.prompts and config.sample.every and config.save.every
    if is_beside(registry.get("adapters", config.adapter.type)):
        assert not config.keep.on and config.data.caption_dropout <= 0.5, "nothing changes the base model; the ControlNet paper empties half of the prompts"
    else:
        takes = registry.get("families", preset.family).SPEC.references
        unheld = not concepts.at_once(concepts.objective_of(config)) or (takes and takes.read and editing.edits(concepts.objective_of(config)))
        assert (config.keep.on or unheld) and config.data.caption_dropout <= 0.05
    assert config.sample.width == preset.config["sample"].get("width", max(config.data.resolutions))


GOALS = ("slider", "picture_slider", "erase", "replace")


def test_every_base_model_offers_what_is_changed_by_words(home):
    """Sliders, forgetting and replacing take no file of a family: one of a goal serves all."""
    found = presets.list_presets()
    goals: dict[tuple[str, str], set[str]] = {}
    for preset in found:
        goals.setdefault((preset.family, preset.source_model), set()).add(preset.goal)
    specs = {base: registry.get("families", base[0]).SPEC.sized(base[1]) for base in goals}
    able = {base for base, spec in specs.items() if not editing.needed(spec) and not spec.first_frame}
    assert len(able) >= 18 and all(p.ok for p in found)
    assert all(set(GOALS) <= goals[base] for base in able)
    assert not any({*GOALS} & goals[base] for base in goals if specs[base].first_frame), "from words alone it draws nothing"


@pytest.mark.slow
@pytest.mark.parametrize("goal", GOALS)
def test_a_goal_holds_on_every_base_model(home, goal):
    for preset in (p for p in presets.list_presets() if p.goal == goal):
        words = goal != "picture_slider"
        for quality in QUALITIES:
            config = presets.resolve(preset.id, Answers(dataset="" if words else "pairs", quality=quality), LAPTOP if preset.light else CARD, 0 if words else 12, home)
            assert config.loss.objective == goal and config.steps == preset.steps(quality)
            assert (config.data.datasets == ()) == words and config.data.held_out == 0 and config.data.frames == 1 or not words
            assert concepts.problems(config) == concepts.idle(config) == []
            assert config.sample.prompts and not any("[" in p for p in config.sample.prompts)
        assert preset.steps("quick") < preset.steps("balanced") < preset.steps("thorough")


@pytest.mark.parametrize("kind", sorted(id for id, plugin in registry.find("adapters").items() if is_beside(plugin.module)))
def test_what_hangs_beside_the_denoiser_is_offered_where_the_family_has_it_and_fits_the_memory_that_it_asks_for(home, kind):
    found = [p for p in presets.list_presets() if p.goal == kind]
    able = {id for id, plugin in registry.find("families").items() if kind in plugin.module.SPEC.beside}
    assert {p.family for p in found if not p.light} == able and all(p.ok for p in found)
    for preset in (p for p in found if not p.light):
        plain = next(p for p in presets.list_presets() if (p.source_model, p.goal) == (preset.source_model, "character"))
        assert preset.needs_gb > plain.needs_gb, "what learns takes memory beside the base model"
        size = max(32, int(preset.needs_gb)) * GB
        room = dict(ram_bytes=2 * size, ram_free_bytes=int(1.8 * size), disk_free_bytes=8 * size)
        card = replace(CARD, vram_bytes=int(preset.needs_gb * GB), vram_free_bytes=int(0.97 * preset.needs_gb * GB), **room)
        for quality in QUALITIES:
            config = resolved(home, preset.id, card, pictures=1000, quality=quality)
            assert config.adapter.type == kind and not config.keep.on and config.steps == preset.steps(quality)
            found = estimate.estimate(config, card, 1000, home)
            assert found.fits, found.problems


def test_the_small_controlnet_takes_the_numbers_that_are_measured(home):
    from tests.builtin import outlines

    config = resolved(home, "builtin-controlnet", LAPTOP, pictures=outlines.PICTURES)
    for part, wanted in outlines.JOB.items():
        if part in ("steps", "model", "data", "adapter", "optimizer", "loss"):
            assert wanted == config.steps if part == "steps" else all(getattr(getattr(config, part), k) == (tuple(v) if isinstance(v, list) else v) for k, v in wanted.items()), part


def test_samples_and_the_name_speak_of_what_changes(home):
    asked = {"concept.targets": [{"target": "a house", "positive": "a ruin", "negative": "a new house"}, {"target": "a car", "positive": "a wreck", "negative": "a new car"}]}
    config = presets.resolve("sd15-slider", Answers(overrides=asked), CARD, 0, home)
    assert config.name == "slider a house" and config.sample.prompts == ("a photo of a house", "a photo of a car")
    with pytest.raises(Wrong, match="concept.targets: is empty, but 'erase' changes"):
        presets.resolve("sd15-erase", Answers(dataset="cats", overrides={"concept.targets": []}), CARD, 20, home)
    assert presets.resolve("sd15-erase", Answers(dataset="cats"), CARD, 20, home).data.datasets[0].name == "cats", "pictures may be given"


def test_a_goal_of_ones_own_stands_on_every_base_model_and_a_broken_one_is_a_row(home):
    folder = home.plugins / "goals"
    folder.mkdir(parents=True)
    text = (REPO / "presets" / "goals" / "erase.yaml").read_text()
    (folder / "mine.yaml").write_text(text.replace("goal: erase", "goal: mine"))
    (folder / "odd.yaml").write_text(text.replace("learning_rate", "learning_rat"))
    rows = {p.id: p for p in presets.list_presets(plugins=home.plugins)}
    assert rows["sdxl-mine"].ok and rows["builtin-mine"].light
    assert "did you mean 'learning_rate'" in rows["goal-odd"].error


def test_the_work_of_each_part_is_in_the_estimate(home):
    """A slider takes 3 passes of the base and 2 that are learnt from, where pictures take one of these; words to preserve and anchors add to it."""
    one = presets.resolve("sd15-slider", Answers(overrides={"keep.on": False}), CARD, 0, home)
    with_more = presets.resolve("sd15-slider", Answers(overrides={"keep.on": False, "concept.preserve": ["a", "b"], "concept.anchors": ["c"]}), CARD, 0, home)
    assert (concepts.work(one), concepts.work(with_more)) == ((3, 2), (6, 4))
    assert estimate.passes_of(one) == (3 + 2 * estimate.PASSES, 0) and estimate.passes_of(with_more) == (6 + 4 * estimate.PASSES, 0)
    found = estimate.estimate(one, CARD, 0, home)
    assert found.steps_per_epoch == 24 and any("3 passes of the base model and 2 that are learnt from" in s for s in found.sentences)
    fewer = estimate.estimate(presets.resolve("sd15-slider", Answers(overrides={"keep.on": False, "concept.drawn": 2}), CARD, 0, home), CARD, 0, home)
    assert fewer.seconds < found.seconds and fewer.step_seconds == found.step_seconds, "the pictures that are drawn first take their time"


@pytest.mark.parametrize("id", SHIPPED)
def test_more_quality_is_more_steps(id):
    preset = presets.get(id)
    assert preset.steps("quick") < preset.steps("balanced") < preset.steps("thorough")


@pytest.mark.parametrize("id", [id for id in EACH if not str(id).startswith("builtin")])
def test_a_preset_fits_the_memory_that_it_asks_for(home, id):
    preset = presets.get(id)
    size = max(32, int(preset.needs_gb)) * GB  # what is asked for is the VRAM; such a card sits in a machine to match
    room = dict(ram_bytes=2 * size, ram_free_bytes=int(1.8 * size), disk_free_bytes=5 * size)
    card = replace(CARD, vram_bytes=int(preset.needs_gb * GB), vram_free_bytes=int(0.97 * preset.needs_gb * GB), **room)
    for quality in QUALITIES:
        config = resolved(home, id, card, quality=quality)
        found = estimate.estimate(config, card, 20, home)
        assert found.fits, found.problems


def test_what_the_hardware_decides(home):
    assert resolved(home, machine=LAPTOP).model.dtype == "fp32"
    assert resolved(home, machine=CARD).model.dtype == "bf16"
    assert resolved(home, machine=OLD_CARD).model.dtype == "fp16"
    assert resolved(home, machine=CARD, overrides={"device": "cpu"}).model.dtype == "fp32"


def test_what_the_base_model_knows_is_kept_unless_somebody_says_otherwise(home):
    from training.data import words

    family = registry.get("families", "sd15").SPEC
    usual, small = resolved(home), resolved(home, "builtin-character", LAPTOP)
    assert "a photo of a cat" in words.sentences_of(usual, family, home) and "a red circle" not in words.sentences_of(usual, family, home)
    assert any("red circle" in s for s in words.sentences_of(small, family, home))
    assert not resolved(home, overrides={"keep.on": False}).keep.on
    assert not resolved(home, overrides={"adapter.type": "full"}).keep.on, "the whole model leaves no base to ask"
    with pytest.raises(Wrong, match=r"keep.on: is on, but the adapter 'full' changes the base model itself"):
        resolved(home, overrides={"adapter.type": "full", "keep.on": True})
    with pytest.raises(Wrong, match=r"keep.words: is 'tags', but there is no such list; there are: .*everyday, shapes"):
        resolved(home, overrides={"keep.words": "tags"})
    (home.plugins / "words").mkdir(parents=True)
    (home.plugins / "words" / "tags.txt").write_text("# of my own\n1girl, solo\n\n1boy\n", encoding="utf-8")
    assert words.sentences_of(resolved(home, overrides={"keep.words": "tags"}), family, home) == ("1girl, solo", "1boy")
    own = resolved(home, overrides={"keep.prompts": ["a boat", " ", "a car"]})
    assert words.sentences_of(own, family, home) == ("a boat", "a car")


@pytest.mark.parametrize("name, sha", [("booru", "7cb6cbec143b"), ("everyday", "5338d7468fd3"), ("shapes", "3be3e59b0939")])
def test_a_list_of_sentences_is_never_changed(name, sha):
    """Runs that were begun with it go on by it: a better list gets a new name."""
    import hashlib

    from training.data import words

    assert hashlib.sha256("\n".join(words.read(words.FOLDER / f"{name}.txt")).encode()).hexdigest()[:12] == sha


def test_what_follows_from_the_rest(home):
    config = resolved(home, overrides={"steps": 400, "data.resolutions": [256, 768]}, pictures=100)
    assert (config.save.every, config.sample.every) == (40, 40)
    assert (config.sample.width, config.sample.height) == (768, 768)
    assert config.data.held_out == 2, "so short a run has no time to look at more"
    long = resolved(home, overrides={"steps": 4000}, pictures=100)
    assert long.data.held_out == 8 and long.save.validate_every == 200
    assert [resolved(home, pictures=n).data.held_out for n in (11, 12, 24)] == [0, 2, 2]
    assert resolved(home, pictures=1).data.batch_size == 1
    assert resolved(home, "sd15-style", overrides={"steps": 50}).optimizer.warmup_steps == 5


def test_samples_speak_of_the_trigger_word_or_of_what_stands_for_it(home):
    assert any("[trigger]" in p for p in resolved(home).sample.prompts)
    without = resolved(home, trigger="").sample.prompts
    assert without and not any("[trigger]" in p for p in without)
    assert resolved(home, overrides={"sample.prompts": ["a dog"]}).sample.prompts == ("a dog",)


def test_the_user_wins(home):
    level = presets.get("sd15-character").quality["quick"]
    assert level["adapter"]["rank"] == 16
    config = resolved(home, quality="quick", overrides={"adapter.rank": 8, "steps": "77", "optimizer.learning_rate": "5e-5", "save.every": 5})
    assert (config.adapter.rank, config.adapter.alpha) == (8, 16)
    assert (config.steps, config.optimizer.learning_rate, config.save.every) == (77, 5e-5, 5)


def test_what_the_user_set_wrong_is_named(home):
    with pytest.raises(Wrong, match="did you mean 'optimizer.learning_rate'") as caught:
        resolved(home, overrides={"optimizer.learning_rat": 1})
    assert caught.value.problems[0][0] == "optimizer.learning_rat"
    for path, value in {"adapter.rank": 0, "steps": "many", "optimizer.learning_rate": "nan", "data.resolutions": "big", "name": "a/b"}.items():
        with pytest.raises(Wrong) as caught:
            resolved(home, overrides={path: value})
        assert caught.value.problems[0][0].startswith(path)
    with pytest.raises(Wrong, match="only 10 steps"):
        resolved(home, overrides={"steps": 10, "optimizer.warmup_steps": 20})


def test_unknown_presets_and_qualities(home):
    with pytest.raises(ValueError, match="did you mean 'sd15-style'"):
        resolved(home, "sd15-stile")
    with pytest.raises(ValueError, match="quick, balanced, thorough"):
        resolved(home, quality="best")


def test_the_name_is_made_up_from_what_is_there(home):
    assert resolved(home, name="  My cat ").name == "My cat"
    assert resolved(home).name == "zibbo"
    assert resolved(home, trigger="").name == "cats"
    assert resolved(home, trigger="", dataset="").name == "my-lora"


def test_a_small_card_gets_smaller_batches_that_add_up_to_the_same(home):
    big, small = resolved(home, "sd15-style", CARD), resolved(home, "sd15-style", replace(CARD, vram_bytes=6 * GB))
    assert (big.data.batch_size, big.optimizer.accumulation) == (4, 1)
    assert small.data.batch_size < 4 and small.data.batch_size * small.optimizer.accumulation == 4
    tiny_card = resolved(home, "sd15-style", replace(CARD, vram_bytes=4 * GB))
    assert tiny_card.data.batch_size == 1 and tiny_card.loss.gradient_checkpointing != "off"
    own = resolved(home, "sd15-style", replace(CARD, vram_bytes=4 * GB), overrides={"data.batch_size": 4, "loss.gradient_checkpointing": False})
    assert own.data.batch_size == 4 and own.loss.gradient_checkpointing == "off"


def test_one_click_picks_by_hardware():
    found = presets.list_presets()
    assert presets.recommend(found, LAPTOP).light
    picked = {gb: presets.recommend(found, replace(CARD, vram_bytes=gb * GB)).id for gb in (6, 8, 12, 16, 24, 48)}
    assert picked == {6: "sd15-character", 8: "sd15-character", 12: "sdxl-character", 16: "sdxl-character", 24: "z_image-character", 48: "z_image-character"}
    assert presets.recommend(found, replace(CARD, vram_bytes=2 * GB)).light
    assert "wants a graphics card" in presets.fits(presets.get("sd15-style"), LAPTOP)
    assert "wants 8 GB of VRAM" in presets.fits(presets.get("sd15-style"), replace(CARD, vram_bytes=6 * GB))


def test_a_broken_preset_is_a_row_with_its_error(home):
    folder = home.plugins / "presets"
    folder.mkdir(parents=True)
    good = (REPO / "presets" / "sd15-object.yaml").read_text()
    (folder / "mine.yaml").write_text(good)
    (folder / "typo.yaml").write_text(good.replace("learning_rate", "learning_rat"))
    (folder / "half.yaml").write_text("title: [")
    (folder / "levels.yaml").write_text(good.split("quality:")[0] + "quality: {quick: {}}\n")
    rows = {p.id: p for p in presets.list_presets(plugins=home.plugins)}
    assert rows["mine"].ok and set(SHIPPED) < set(rows)
    assert "did you mean 'learning_rate'" in rows["typo"].error
    assert "half.yaml" in rows["half"].error
    assert "quick, balanced, thorough" in rows["levels"].error
    with pytest.raises(ValueError, match="cannot be used"):
        presets.get("typo", home.plugins)
    assert [p.ok for p in rows.values()] == sorted((p.ok for p in rows.values()), reverse=True), "broken ones come last"


def test_a_resolved_preset_survives_the_file(home, tmp_path):
    config = resolved(home, "builtin-character", LAPTOP)
    path = tmp_path / "job.yaml"
    path.write_text(jobfile.dump_yaml(config), encoding="utf-8")
    assert jobfile.load_job(path) == config


def test_the_example_becomes_a_dataset(home):
    from training.data import datasets

    assert examples.install_example(home) == examples.install_example(home) == examples.NAME
    ds = datasets.open_dataset(home, examples.NAME)
    assert ds.counts().usable >= 12 and ds.counts().captioned == ds.counts().usable
    assert all(examples.example().trigger in p.caption for p in ds.pictures())
    config = resolved(home, examples.PRESET, LAPTOP, pictures=ds.counts().usable, dataset=examples.NAME, trigger=examples.example().trigger)
    assert config.model.source == "builtin" and config.data.held_out == 2


def test_what_is_kept_as_it_is_counts_about_as_much_as_what_is_learnt(home, tmp_path):
    from tests import tiny
    from training.data import datasets

    name, kept = examples.install_example(home), str(tiny.pictures(tmp_path / "kept", 48))
    uses = resolved(home, examples.PRESET, LAPTOP, pictures=16, dataset=name, prior=kept).data.datasets
    assert [(use.name, use.repeats, use.prior) for use in uses] == [(name, 3, False), (kept, 1, True)]
    datasets.open_dataset(home, name).set_repeats({p.id: 3 for p in datasets.open_dataset(home, name).pictures()})
    uses = resolved(home, examples.PRESET, LAPTOP, pictures=16, dataset=name, prior=kept).data.datasets
    assert [use.repeats for use in uses] == [1, 1], "they are seen as often by themselves"
    with pytest.raises(presets.Wrong, match="pictures to learn from"):
        resolved(home, examples.PRESET, LAPTOP, pictures=16, dataset=name, prior=name)
    with pytest.raises(presets.Wrong, match="no dataset called 'gone'"):
        resolved(home, examples.PRESET, LAPTOP, pictures=16, dataset=name, prior="gone")


def test_no_torch_is_imported():
    code = "import sys; from training.data import examples; from training.plan import presets, estimate; presets.list_presets(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=REPO, timeout=120)


@pytest.mark.slow
def test_every_checkpoint_of_every_preset_has_its_samples(home):
    """Else it cannot be judged.  As many pictures are drawn as before: the checkpoints follow the samples."""
    machine = LAPTOP
    for preset in presets.list_presets():
        for quality in presets.QUALITIES:
            config = presets.resolve(preset.id, presets.Answers(dataset="x", quality=quality), machine, 20, home)
            assert config.sample.every and config.save.every % config.sample.every == 0, (preset.id, quality)
    own = presets.resolve("builtin-character", presets.Answers(dataset="x", overrides={"steps": 1120}), machine, 20, home)
    assert (own.sample.every, own.save.every) == (280, 280), "more steps, as many samples"
    typed = presets.resolve("builtin-character", presets.Answers(dataset="x", overrides={"save.every": 10}), machine, 20, home)
    assert typed.save.every == 10


def test_a_presets_learning_rate_gives_way_to_an_optimizer_that_finds_it(home):
    made = lambda **overrides: presets.resolve_and_tell("builtin-character", Answers(dataset="d", overrides={p.replace("__", "."): v for p, v in overrides.items()}), LAPTOP, 8, home)
    config, said = made(optimizer__type="prodigy")
    assert config.optimizer.learning_rate == 1 and any("Learning rate 1 instead of 0.002: Prodigy" in text for text in said)
    config, said = made(optimizer__type="prodigy", optimizer__learning_rate=0.5)
    assert config.optimizer.learning_rate == 0.5 and not said
    config, said = made(optimizer__type="prodigy", optimizer__learning_rate=0.01)
    assert config.optimizer.learning_rate == 0.01, "what a person typed stays"
    assert made(optimizer__type="lion")[0].optimizer.learning_rate == 2e-3


def test_an_optimizer_that_is_not_there_or_is_told_what_it_does_not_know_is_refused_beside_its_setting(home):
    for overrides, path, word in (
        ({"optimizer.type": "adam8bit"}, "optimizer.type", "did you mean 'adamw8bit'"),
        ({"optimizer.type": "muon", "optimizer.options": {"momentun": 0.9}}, "optimizer.options", "'momentun' is not a setting; did you mean 'momentum'"),
        ({"optimizer.options": {"momentum": 0.9}}, "optimizer.options", "AdamW has: none"),
    ):
        with pytest.raises(Wrong) as refused:
            presets.resolve("builtin-character", Answers(dataset="d", overrides=overrides), LAPTOP, 8, home)
        assert [where for where, _ in refused.value.problems] == [path] and word in str(refused.value)
