"""What is changed by words, and sliders from pairs of pictures: the losses are those of the papers, computed here from dense weights; runs are exact; what cannot be is refused."""

from __future__ import annotations

import pytest
import torch

from tests import tiny
from tests.families import flux1
from training import registry
from training.data import concepts, words
from training.engine.loop import Session
from training.engine.prepare import prepare
from training.engine.weights import placement
from training.runs.context import Context

from .conftest import state_files

AGE = {"target": "a cat", "positive": "a red cat", "negative": "a blue cat", "strength": 3.0, "weight": 2.0}
BY_WORDS = dict(data__datasets=[], trigger="", concept__drawn=4, concept__contexts=["{}", "a photo of {}"], data__caption_dropout=0.05)
EACH = {
    "slider": dict(loss__objective="slider", concept__targets=[AGE, AGE | {"target": "a dog"}], concept__preserve=["green", "square"], concept__anchors=["a circle", "a photo"], concept__anchor_weight=0.5),
    "erase": dict(loss__objective="erase", concept__targets=[{"target": "cat", "strength": 1.5}], concept__anchors=["a dog"]),
    "replace": dict(loss__objective="replace", concept__targets=[{"target": "cat", "positive": "dog"}, {"target": "red", "positive": "blue"}], concept__anchors=["a circle"]),
}  # fmt: skip


@pytest.fixture(scope="session")
def flow(tmp_path_factory):
    return flux1.build(tmp_path_factory.mktemp("base") / "tiny flux")


@pytest.fixture(scope="session")
def pairs(tmp_path_factory):
    """Three pairs in one folder, two of them of another shape than the third."""
    from PIL import Image, ImageDraw

    folder = tmp_path_factory.mktemp("data") / "pairs"
    folder.mkdir()
    for n, size in enumerate(((64, 64), (64, 64), (96, 64))):
        for end, radius in (("low", 6), ("high", 24)):
            picture = Image.new("RGB", size, ["red", "blue", "green"][n])
            ImageDraw.Draw(picture).ellipse((32 - radius, 32 - radius, 32 + radius, 32 + radius), fill="white")
            picture.save(folder / f"cat {n}.{end}.png")
        (folder / f"cat {n}.high.txt").write_text("a photo of a cat", encoding="utf-8")
    return folder


def session(lab, **changes) -> Session:
    run = lab.make(sample__every=0, **changes)
    return Session(run.config(), ctx := Context(run, lab.home, 1), prepare(run.config(), ctx))


def moved(it: Session) -> Session:
    """With an adapter that does something, unlike a fresh one."""
    with torch.no_grad():
        for n, weight in enumerate(it.weights):
            weight.copy_(0.1 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(n)))
    return it


def dense(it: Session, source, strength: float):
    """A denoiser of its own, loaded from disk, in which the adapter's product times `strength` is added to the weights."""
    m = it.family.load(source, {it.family.SPEC.denoiser}, placement(it.config.model, "cpu"))
    for name, layer in it.m.denoiser.named_modules():
        if hasattr(layer, "lora_A") and layer.lora_A:
            product = layer.lora_B["default"].weight @ layer.lora_A["default"].weight * layer.scaling["default"]
            m.denoiser.get_submodule(name).weight.data += strength * product.detach()
    return m


def parts(it: Session, batch) -> list[torch.Tensor]:
    return [loss.detach() for loss in it.objective.parts(it.family, it.m, batch, it.p.schedule, it.config.loss, it.switch)]


def answers(it: Session, source, batch):
    """answer(strength, sentences): what the dense denoiser says of the batch's noisy pictures, each told its own sentence."""
    from training.family import GEOMETRY, Cond

    noisy = it.p.schedule.mix(batch.latents, batch.noise, batch.t)
    models = {s: dense(it, source, s) for s in (-1.0, 0.0, 1.0)}

    def answer(strength: float, sentences: list[str], x=noisy):
        rows = [row | {GEOMETRY: batch.cond.tensors[GEOMETRY][at]} for at, row in enumerate(it.p.texts.rows(sentences))]
        with torch.no_grad():
            return it.family.predict(models[strength], x, batch.t, Cond.of(rows))

    return answer


def mean(error: torch.Tensor) -> torch.Tensor:
    return error.pow(2).flatten(1).mean(dim=1)


@pytest.fixture(params=["epsilon", "flow"])
def source(request, base, flow):
    """(folder, settings) of a base model of each kind of prediction."""
    return (base, {}) if request.param == "epsilon" else (flow, {"model__family": "flux1", "model__source": str(flow)})


def test_a_slider_is_the_papers_equation_for_both_signs(lab, source):
    folder, model = source
    it = moved(session(lab, **BY_WORDS, **EACH["slider"], **model))
    batch = it.feed.at(0)[0]
    answer = answers(it, folder, batch)
    said = batch.captions
    context = ["a photo of {}" if s.startswith("a photo of") else "{}" for s in said]
    named = [s.removeprefix("a photo of ") for s in said]
    assert set(named) <= {"a cat", "a dog"}
    pull = sum(answer(0.0, [f"{c.replace('{}', 'a red cat')}, {k}" for c in context]) - answer(0.0, [f"{c.replace('{}', 'a blue cat')}, {k}" for c in context]) for k in ("green", "square"))
    up = mean(answer(1.0, said) - (answer(0.0, said) + 3.0 * pull))
    down = mean(answer(-1.0, said) - (answer(0.0, said) - 3.0 * pull))
    found = parts(it, batch)
    assert len(found) == 4
    torch.testing.assert_close(found[0], 2.0 * up, atol=1e-6, rtol=1e-4)
    torch.testing.assert_close(found[1], 2.0 * down, atol=1e-6, rtol=1e-4)
    for sign, loss in ((1.0, found[2]), (-1.0, found[3])):
        held = [mean(ask_one(answer, sign, a, len(said)) - ask_one(answer, 0.0, a, len(said))) for a in ("a circle", "a photo")]
        assert all(any(torch.isclose(loss[row], 2.0 * 0.5 * h[row], atol=1e-6, rtol=1e-4) for h in held) for row in range(len(said)))
        assert float(loss.min()) > 0
    assert float((up - down).abs().max()) > 1e-4, "the two signs are two things"


def ask_one(answer, strength, sentence, count):
    return answer(strength, [sentence] * count)


@pytest.mark.slow
def test_forgetting_is_the_papers_equation(lab, source):
    folder, model = source
    it = moved(session(lab, **BY_WORDS | {"concept__contexts": ["{}", "a {} on red"]}, **EACH["erase"], **model))
    seen = set()
    for step in range(4):
        batch = it.feed.at(step)[0]
        answer = answers(it, folder, batch)
        without = [{"cat": "", "a cat on red": "a on red"}[s] for s in batch.captions]
        seen |= set(without)
        nothing, named = answer(0.0, without), answer(0.0, batch.captions)
        loss, anchor = parts(it, batch)
        torch.testing.assert_close(loss, mean(answer(1.0, batch.captions) - (nothing - 1.5 * (named - nothing))), atol=1e-6, rtol=1e-4)
        dogs = ["a dog"] * len(without)
        torch.testing.assert_close(anchor, mean(answer(1.0, dogs) - answer(0.0, dogs)), atol=1e-6, rtol=1e-4)
    assert seen == {"", "a on red"}


@pytest.mark.slow
def test_what_is_forgotten_falls_back_on_what_its_row_says(lab, source):
    folder, model = source
    rows = [{"target": "cat", "positive": "dog", "strength": 1.5}, {"target": "cat", "positive": "circle", "strength": 0.5}]
    it = moved(session(lab, **BY_WORDS | {"concept__drawn": 8}, loss__objective="erase", concept__targets=rows, **model))
    drawn = {item.captions[0] for item in it.p.plan.items}
    assert all(any(word in s for s in drawn) for word in ("cat", "dog", "circle")), "noise lies on pictures of all of them"
    row_of = {item.id: rows[item.places[0][0]] for item in it.p.plan.items}
    seen = set()
    for step in range(8):
        batch = it.feed.at(step)[0]
        answer, at = answers(it, folder, batch), [row_of[id] for id in batch.ids]
        back, named = answer(0.0, [s.replace("cat", r["positive"]) for s, r in zip(batch.captions, at, strict=True)]), answer(0.0, batch.captions)
        eta = torch.tensor([r["strength"] for r in at]).view(-1, *[1] * (back.ndim - 1))
        torch.testing.assert_close(parts(it, batch)[0], mean(answer(1.0, batch.captions) - (back - eta * (named - back))), atol=1e-6, rtol=1e-4)
        seen |= {r["positive"] for r in at}
    assert seen == {"dog", "circle"}
    assert concepts.said_of(it.config)[0] == "It makes the base model forget: cat (it falls back on dog or circle)."


def test_replacing_teaches_what_the_base_says_of_the_other(lab, source):
    folder, model = source
    it = moved(session(lab, **BY_WORDS, **EACH["replace"], **model))
    for step in range(3):
        batch = it.feed.at(step)[0]
        answer = answers(it, folder, batch)
        other = [s.replace("cat", "dog").replace("red", "blue") for s in batch.captions]
        assert all(a != b for a, b in zip(other, batch.captions, strict=True))
        torch.testing.assert_close(parts(it, batch)[0], mean(answer(1.0, batch.captions) - answer(0.0, other)), atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("focus", [1.0, 0.4, 0.0])
def test_a_slider_from_pictures_learns_the_high_end_at_1_and_the_low_end_at_minus_1(lab, source, pairs, focus):
    folder, model = source
    it = moved(session(lab, loss__objective="picture_slider", data__datasets=[{"name": str(pairs)}], concept__focus=focus, **model))
    assert {item.id.split("/")[-1] for item in it.p.plan.items} == {f"cat {n}.high.png" for n in range(3)}
    batch = it.feed.at(0)[0]
    answer = answers(it, folder, batch)
    high, low = parts(it, batch)
    assert float((batch.latents - batch.low).abs().max()) > 0.01
    for sign, loss, clean in ((1.0, high, batch.latents), (-1.0, low, batch.low)):
        noisy, target = it.p.schedule.mix(clean, batch.noise, batch.t), it.p.schedule.target(clean, batch.noise, batch.t)
        counts = torch.tensor([counted(pair, focus) for pair in zip(batch.latents.tolist(), batch.low.tolist(), strict=True)]).unsqueeze(1)
        assert focus == 0 or float(counts.std()) > 0.05, "these pairs differ in one place"
        torch.testing.assert_close(loss, ((answer(sign, batch.captions, noisy) - target).pow(2) * counts).flatten(1).mean(dim=1), atol=1e-6, rtol=1e-4)


def counted(pair, focus: float) -> list[list[float]]:
    """How much each cell of a pair counts, by hand: where it differs, at most 8 times the mean; the mean of all is 1."""
    high, low = pair
    rows, columns = range(len(high[0])), range(len(high[0][0]))
    differ = [[sum(abs(h[y][x] - o[y][x]) for h, o in zip(high, low, strict=True)) / len(high) for x in columns] for y in rows]
    average = lambda table: sum(map(sum, table)) / sum(map(len, table))
    weight = [[1 - focus + focus * min(d / average(differ), 8) for d in row] for row in differ]
    return [[w / average(weight) for w in row] for row in weight]


@pytest.mark.parametrize("kind", ["lora", "loha", "lokr"])
def test_the_effect_times_minus_1_is_the_effect_turned_round_and_times_0_is_the_base(lab, kind):
    it = moved(session(lab, adapter__type=kind))
    batch = it.feed.at(0)[0]
    layer = next(layer for layer in it.m.denoiser.modules() if hasattr(layer, "get_delta_weight"))
    delta = lambda: layer.get_delta_weight("default").detach().clone()
    ask = lambda: it.family.predict(it.m, batch.latents, batch.t, batch.cond).detach()
    plain, full = delta(), ask()
    with it.switch.times(-1):
        torch.testing.assert_close(delta(), -plain)
        assert float((ask() - full).abs().max()) > 1e-4
    with it.switch.times(0), it.switch.times(1):
        nothing = ask()
    with it.switch.base():
        torch.testing.assert_close(nothing, ask(), atol=1e-6, rtol=0)
    assert torch.equal(delta(), plain) and torch.equal(ask(), full), "afterwards all is as before"


@pytest.mark.slow
@pytest.mark.parametrize("name", [*EACH, "picture_slider"])
def test_recomputed_blocks_have_the_gradient_of_those_that_are_not(lab, pairs, name):
    changes = BY_WORDS | EACH[name] if name in EACH else dict(loss__objective="picture_slider", data__datasets=[{"name": str(pairs)}])
    sessions = [moved(session(lab, adapter__targets="all", loss__gradient_checkpointing=how, optimizer__type="adafactor", **changes)) for how in ("off", "all")]
    grads = []
    for it in sessions:
        it.optimizer.zero_grad = lambda **_: None  # keep what was added up, to look at it
        it.optimizer.step = lambda *_, **__: None
        it.scaler.step = lambda *_, **__: None
        it._advance()
        grads.append([w.grad.clone() for w in it.weights])
    assert sum(float(g.abs().sum()) for g in grads[0]) > 0
    for plain, recomputed in zip(*grads, strict=True):
        torch.testing.assert_close(recomputed, plain, atol=1e-7, rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*EACH, "picture_slider"])
def test_stopped_and_resumed_ends_to_the_bit_where_an_uninterrupted_run_does(lab, pairs, name):
    changes = BY_WORDS | EACH[name] if name in EACH else dict(loss__objective="picture_slider", data__datasets=[{"name": str(pairs)}], data__flip=True)
    changes |= dict(keep__on=True, keep__share=0.75, keep__prompts=["a green square", "blue on red"], optimizer__accumulation=2, adapter__dropout=0.2, loss__ema_decay=0.9)
    whole, parted = lab.run(**changes), lab.run(stop_at=3, **changes)
    lab.go(parted)
    assert parted.status() == whole.status() == "finished", parted.why()
    assert state_files(parted, 6) == state_files(whole, 6)
    assert parted.view().losses == whole.view().losses


@pytest.mark.slow
def test_a_sliders_samples_are_drawn_at_five_strengths_with_one_seed_and_say_which(lab):
    run = lab.run(steps=3, sample__prompts=["a cat", "a dog"], optimizer__learning_rate=0.1, **BY_WORDS, **EACH["slider"])
    view = run.view()
    at = dict(view.strengths)
    last = [(prompt, at[path], seed) for step, _, prompt, path, seed in view.samples if step == 3]
    assert last == [(prompt, s, 42 + n) for n, prompt in enumerate(("a cat", "a dog")) for s in (-2.0, -1.0, 0.0, 1.0, 2.0)]
    pictures = {(step, i): (run.path / path).read_bytes() for step, i, _, path, _ in view.samples}
    pixels = lambda step, i: _pixels(run.path / f"samples/{step:06d}_{i}.webp")
    assert pixels(3, 2) == pixels(0, 2), "at 0 it is the base model"
    assert len({pixels(3, i) for i in range(5)}) == 5 and len({pixels(0, i) for i in range(5)}) == 1
    assert len(pictures) == 20
    header = _header(run.result())
    assert header["easel.objective"] == "slider" and header["easel.strengths"] == "-2 to 2" and "a red cat" in header["easel.targets"]
    assert "ss_num_train_images" not in header
    card = (run.path / "README.md").read_text(encoding="utf-8")
    assert "A slider. a cat: below 0 a blue cat, above 0 a red cat; a dog" in card and 'pipeline.set_adapters(["slider"]' in card


def _pixels(path) -> bytes:
    from PIL import Image

    return Image.open(path).convert("RGB").tobytes()


def _header(path) -> dict:
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        return file.metadata()


def test_without_pictures_the_base_draws_what_is_to_change_once(lab):
    it = session(lab, **BY_WORDS | {"concept__drawn": 7}, **EACH["replace"])
    items = it.p.plan.items
    assert len(items) == 7 and all(not item.path and item.bucket == (32, 32, 1) for item in items)
    drawn = {item.captions[0] for item in items}
    assert any("dog" in s for s in drawn) and any("cat" in s for s in drawn), "of what is asked for, and of what comes in its place"
    shots = lambda s: [s.p.cache.get(i.latent_key(s.feed.latent_print, False))["latents"] for i in s.p.plan.items]
    again = session(lab, seed=9, **BY_WORDS | {"concept__drawn": 7}, **EACH["replace"])
    assert all(torch.equal(a, b) for a, b in zip(shots(it), shots(again), strict=True))
    for step in range(6):
        for batch in it.feed.at(step):
            for id, said in zip(batch.ids, batch.captions, strict=True):
                item = next(i for i in items if i.id == id)
                (at, context), = item.places
                assert said == concepts.in_context(context, it.config.concept.targets[at].target)


def test_every_target_is_drawn_before_any_twice(lab):
    kinds = ("cat", "dog", "square", "circle")
    targets = [{"target": f"a {kind}", "positive": f"a red {kind}", "negative": f"a blue {kind}"} for kind in kinds]
    it = session(lab, **BY_WORDS | {"concept__drawn": 4}, loss__objective="slider", concept__targets=targets)
    assert {item.places[0][0] for item in it.p.plan.items} == {0, 1, 2, 3}
    assert {s.split()[-1] for step in range(12) for batch in it.feed.at(step) for s in batch.captions} == set(kinds)


def test_captions_of_a_dataset_are_the_contexts_of_what_they_name(lab, dataset):
    it = session(lab, trigger="", loss__objective="erase", concept__targets=[{"target": "Cat"}, {"target": "boat"}])
    said = {s for step in range(8) for batch in it.feed.at(step) for s in batch.captions}
    assert said and all(s.endswith("photo of a Cat") for s in said), "the captions say: a red photo of a cat"
    other = session(lab, trigger="", loss__objective="erase", concept__targets=[{"target": "boat"}], concept__contexts=["a {} at sea"])
    assert {s for batch in other.feed.at(0) for s in batch.captions} == {"a boat at sea"}


def test_sentences_that_speak_of_what_changes_do_not_hold_it(lab):
    it = session(lab, keep__on=True, keep__share=1.0, keep__own=1.0, keep__empty=0.0, **BY_WORDS, **EACH["erase"])
    held = {c for step in range(20) for batch in it.feed.at(step) if batch.keeps for c in batch.captions}
    everyday = words.read(words.FOLDER / "everyday.txt")
    assert held <= set(everyday) and not any(concepts.mentions(s, "cat") for s in held)
    assert any(concepts.mentions(s, "cat") for s in everyday)


def test_what_holds_the_base_holds_a_slider_at_both_ends(lab):
    it = moved(session(lab, keep__on=True, keep__share=1.0, data__batch_size=1, **BY_WORDS, **EACH["slider"]))
    seen = set()
    for step in range(8):
        it.step = step
        batch = next(b for b in it.feed.at(step) if b.keeps)
        batch.base = it._said_by_base(batch)
        (loss,) = it._parts(batch)
        noisy = it.p.schedule.mix(batch.latents, batch.noise, batch.t)
        for sign in (1, -1):
            with it.switch.times(sign), torch.no_grad():
                if torch.allclose(loss.detach(), mean(it.family.predict(it.m, noisy, batch.t, batch.cond) - batch.base), atol=1e-7, rtol=1e-5):
                    seen.add(sign)
    assert seen == {1, -1}


def test_contexts_and_words():
    assert concepts.in_context("a {} , red", "") == "a, red" and concepts.in_context("{}", "") == ""
    assert concepts.mentions("two Cats on a mat", "cat") and concepts.mentions("the cat on a mat", "a cat") and concepts.mentions("a cat", "a") and not concepts.mentions("a catalogue", "cat")
    assert concepts.context_of("the Red cat, sitting", "red cat") == "the {}, sitting" and concepts.context_of("a dog", "cat") is None


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"loss__objective": "images"}, "data.datasets is empty, but the objective 'images' learns from pictures"),
        ({"loss__objective": "picture_slider"}, "data.datasets is empty"),
        ({"adapter__type": "dora"}, "adapter.type is 'dora', but a slider also trains the adapter's effect times -1"),
        ({"adapter__type": "oft"}, "adapter.type is 'oft', but a slider"),
        ({"adapter__type": "full"}, "adapter.type is 'full', which changes the base model itself"),
        ({"adapter__text_encoder": True}, "adapter.text_encoder is on, but 'slider' moves the denoiser alone"),
        ({"data__held_out": 1}, "data.held_out is 1, but 'slider' has no validation loss"),
        ({"keep__on": True, "keep__together": True}, "keep.together is on"),
        ({"concept__targets": [{"target": "a cat", "positive": "a red cat"}]}, "target 'a cat' without 'negative'"),
        ({"concept__targets": [AGE, AGE, AGE], "concept__drawn": 2}, "concept.drawn is 2, but there are 3 targets"),
        ({"loss__objective": "replace", "concept__targets": [{"target": "a cat"}]}, "target 'a cat' without 'positive'"),
        ({"keep__on": True, "keep__prompts": ["a cat on a mat"]}, "every sentence of the list speaks of what concept.targets changes"),
    ],
)
def test_what_cannot_be_done_is_refused_before_any_work(lab, change, says):
    with pytest.raises(ValueError, match=says):
        lab.run(**BY_WORDS | EACH["slider"] | change)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"trigger": "zibbo"}, "trigger has no effect: 'erase' changes what concept.targets says"),
        ({"data__caption_dropout": 0.5}, "data.caption_dropout has no effect"),
        ({"data__flip": True}, "data.flip has no effect: there is no dataset"),
        ({"concept__preserve": ["red"]}, "concept.preserve has no effect: the objective is 'erase'"),
        ({"concept__low": "x"}, "concept.low has no effect"),
        ({"concept__anchors": [], "concept__anchor_weight": 3.0}, "concept.anchor_weight has no effect: concept.anchors is empty"),
        ({"concept__anchors": ["a dog", "The cats on a mat"]}, "concept.anchors holds 'The cats on a mat', which speaks of 'cat'"),
        ({"trigger": "zibbo", "keep__on": True, "keep__own": 0.5}, "keep.own has no effect: 'erase' changes"),
        ({"concept__targets": [{"target": "cat", "negative": "dog"}]}, "concept.targets: negative has no effect: the objective is 'erase'"),
        ({"loss__objective": "replace", "concept__targets": [{"target": "cat", "positive": "dog", "strength": 1.0}]}, "concept.targets: strength has no effect"),
    ],
)
def test_a_setting_without_effect_says_so(lab, change, says):
    run = lab.run(steps=1, **BY_WORDS | EACH["erase"] | change)
    assert any(says in w for w in run.view().warnings), run.view().warnings


@pytest.mark.slow
def test_with_pictures_a_setting_of_what_changes_says_that_it_does_nothing(lab, dataset):
    assert "concept.drawn has no effect: the objective is 'images'" in lab.run(steps=1, concept__drawn=5).view().warnings
    uses = dict(data__datasets=[{"name": str(dataset)}], concept__drawn=5)
    assert "concept.drawn has no effect: there is a dataset" in lab.run(steps=1, **BY_WORDS | EACH["erase"] | uses).view().warnings


@pytest.mark.slow
def test_pairs_that_are_not_whole_are_refused_by_name(lab, pairs, tmp_path):
    import shutil

    wrong = lambda folder, low="": lab.run(loss__objective="picture_slider", data__datasets=[{"name": str(folder)}], concept__low=low)
    with pytest.raises(ValueError, match="without its other end, or with several, is cat 1.high.png"):
        broken = shutil.copytree(pairs, tmp_path / "broken")
        (broken / "cat 1.low.png").unlink()
        wrong(broken)
    with pytest.raises(ValueError, match="picture 0.png.* is neither a low nor a high end"):
        wrong(tiny.pictures(tmp_path / "plain", 2))
    high, low = tiny.pictures(tmp_path / "high", 3, sizes=((64, 64),)), tiny.pictures(tmp_path / "low", 3, sizes=((64, 64), (96, 64)))
    with pytest.raises(ValueError, match=r"of one size and length: picture 1.png \(64x64\) and picture 1.png \(96x64\)"):
        wrong(high, str(low))
    same = tiny.pictures(tmp_path / "same", 3, sizes=((64, 64),))
    (same / "picture 0.txt").write_text("another", encoding="utf-8")
    with pytest.raises(ValueError, match="changes nothing at all"):  # both ends pull alike, in opposite directions
        wrong(high, str(same))
    for n in range(3):
        (same / f"picture {n}.png").write_bytes((high / f"picture {(n + 1) % 3}.png").read_bytes())
    run = wrong(high, str(same))
    assert run.status() == "finished" and any("the two ends of 1 pairs have different captions" in w for w in run.view().warnings)


@pytest.mark.slow
def test_a_plugin_that_gives_one_loss_still_trains(lab):
    folder = lab.home.plugins / "objectives"
    folder.mkdir(parents=True)
    (folder / "mine.py").write_text("from training.objectives.images import loss\nTITLE = 'Mine'\nBLURB = 'As pictures are.'\n")
    assert registry.get("objectives", "mine", lab.home.plugins).TITLE == "Mine"
    assert lab.run(steps=2, loss__objective="mine").view().losses == lab.run(steps=2).view().losses


def test_a_process_without_a_micro_batch_in_its_first_step_has_a_loss_scale_too(lab):
    """With fp16 the scale is made when a first loss is scaled, which a process without a share of the step never does."""
    it = session(lab, **BY_WORDS, **EACH["slider"])
    it.scaler = torch.amp.GradScaler("cpu", enabled=True)
    it.feed.shared = lambda step, ranks: iter(())

    def others(weights, numbers):
        for weight in weights:
            weight.grad = torch.ones_like(weight)
        return list(numbers)

    it.ctx.ranks = type("Others", (type(it.ctx.ranks),), {"add": staticmethod(others)})()
    before = [weight.detach().clone() for weight in it.weights]
    it._advance()
    assert any(not torch.equal(old, new) for old, new in zip(before, it.weights, strict=True))
