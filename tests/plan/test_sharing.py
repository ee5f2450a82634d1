"""Several cards, before the start: what the estimate, the presets and Make it fit make of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.plan.test_estimate import FULL, at, job
from tests.plan.test_presets import CARD, GB, LAPTOP
from training.plan import devices, presets, sharing
from training.plan.cards import Gpu
from training.plan.estimate import peak_bytes
from training.plan.fit import make_it_fit

FOUR = replace(CARD, ram_bytes=64 * GB, ram_free_bytes=60 * GB, cards=tuple(Gpu(n, f"GPU-{n}", CARD.gpu_name, CARD.driver, CARD.vram_bytes, CARD.vram_free_bytes - n * GB) for n in range(4)))


def test_time_is_shared_out_but_for_the_share_that_is_said_and_memory_is_a_cards(home):
    alone, four = (at(job(**FULL, device="cuda", model__dtype="bf16", data__batch_size=1, optimizer__accumulation=8, gpus=n), FOUR, home=home) for n in (1, 4))
    assert four.step_seconds == pytest.approx(alone.step_seconds * (sharing.UNSHARED + (1 - sharing.UNSHARED) / 4))
    assert alone.vram_bytes <= four.vram_bytes < 1.1 * alone.vram_bytes
    assert four.ram_bytes > 3 * alone.ram_bytes
    assert any(s.startswith("4 cards train it together, 2 micro-batches each a step: about 3.1 times as fast as one, as some 10% of a step is not shared out") for s in four.sentences)
    assert not any("together" in s for s in alone.sentences)


def test_the_smallest_card_counts_and_more_cards_than_there_are_are_a_problem(home):
    tight = replace(FOUR, cards=(*FOUR.cards[:3], replace(FOUR.cards[3], vram_bytes=1 * GB, vram_free_bytes=1 * GB)))
    config = job(**FULL, device="cuda", model__dtype="bf16", data__batch_size=1, optimizer__accumulation=4, gpus=0)
    assert at(config, FOUR, home=home).fits and not at(config, tight, home=home).fits
    assert "are missing; the model is split among the 4 cards already. Make it fit" in at(config, tight, home=home).problems[0]
    off = config.model_copy(update={"shard": "off"})
    assert "are missing; each of the 4 cards must hold the whole model, as shard is off. Make it fit" in at(off, tight, home=home).problems[0]
    assert at(config.model_copy(update={"gpus": 3}), tight, home=home).fits
    assert "Gpus is 5, but this run was given 4 cards; set gpus to 4" in at(config.model_copy(update={"gpus": 5}), FOUR, home=home).problems[0]


def test_processes_on_a_processor_take_the_memory_of_all(home):
    one, two = (at(job(**FULL, optimizer__accumulation=2, gpus=n), LAPTOP, home=home) for n in (1, 2))
    assert two.ram_bytes > 1.9 * one.ram_bytes and two.step_seconds == one.step_seconds
    assert any(s.startswith("2 processes train it together, 1 micro-batch each a step") for s in two.sentences)


def test_the_form_divides_a_batch_among_the_cards_unless_it_was_set(home):
    def made(**overrides):
        answers = presets.Answers(dataset="", trigger="zibbo", overrides={"gpus": 4, "device": "cuda", **overrides})
        return presets.resolve_and_tell("sdxl-character", answers, FOUR, 20, home)

    config, said = made()
    assert config.optimizer.accumulation >= 4 and any("so that 4 cards share them out" in text for text in said)
    with pytest.raises(presets.Wrong) as wrong:
        made(**{"data.batch_size": 1, "optimizer.accumulation": 1})
    assert [path for path, _ in wrong.value.problems] == ["gpus"] and "set optimizer.accumulation to 4" in wrong.value.problems[0][1]


def test_make_it_fit_leaves_each_card_a_micro_batch(home):
    config = job(**FULL, device="cuda", data__batch_size=8, optimizer__accumulation=4, gpus=4)
    fitted = make_it_fit(config, 8 * GB, 64 * GB, home, devices.of("cuda", FOUR))
    assert not sharing.problems(fitted.config, 4) and fitted.config.data.batch_size * fitted.config.optimizer.accumulation == 32


UNEVEN = replace(FOUR, cards=(FOUR.cards[0], replace(FOUR.cards[1], name="NVIDIA T1000", vram_bytes=4 * GB, vram_free_bytes=3 * GB), *FOUR.cards[2:]))


def test_the_card_that_has_least_is_the_one_that_is_named_and_fitted_for(home):
    config = job(**FULL, device="cuda", data__batch_size=8, optimizer__accumulation=4, gpus=2)
    assert "NVIDIA T1000 has 3.0 GB of 4.0 GB free" in at(config, UNEVEN, home=home).problems[0]

    def made(machine, **overrides):
        answers = presets.Answers(dataset="", trigger="zibbo", overrides={"device": "cuda", "optimizer.accumulation": 4, **overrides})
        return presets.resolve_and_tell("sd15-character", answers, machine, 20, home)

    assert made(UNEVEN, gpus=2)[0].loss.gradient_checkpointing != made(FOUR, gpus=2)[0].loss.gradient_checkpointing
    assert made(FOUR, gpus=0)[0].gpus == 0, "what was asked for stays as it was said"


def test_a_presets_memory_is_that_of_all_processes_where_all_cards_are_asked_for(home):
    answers = presets.Answers(dataset="", trigger="zibbo", overrides={"device": "cuda", "gpus": 0, "optimizer.accumulation": 4})
    config, counted = presets.resolve("sdxl-character", answers, FOUR, 20, home), []
    for gpus in (0, 4):
        on, _ = sharing.on(config.model_copy(update={"gpus": gpus}), FOUR)
        counted.append(peak_bytes(on, home))
    assert counted[0] == counted[1] and counted[0][1] > 3 * peak_bytes(config, home)[1]


def test_cards_of_another_machine_are_not_compared_with_those_here(home):
    far = job(**FULL, device="cuda", data__batch_size=1, optimizer__accumulation=4, gpus=4, place__kind="ssh", place__options={"host": "desk"})
    one = replace(FOUR, cards=FOUR.cards[:1])
    guess = at(far, one, home=home)
    assert not any("was given" in text for text in guess.sentences) and any(text.startswith("4 cards train it together") for text in guess.sentences)
    near = far.model_copy(update={"place": type(far.place)()})
    assert any("was given 1 card" in text for text in at(near, one, home=home).problems)
    unknown = replace(one, cards=())
    assert not sharing.faults(near, unknown) and not sharing.faults(near.model_copy(update={"gpus": 0}), unknown)
    assert sharing.faults(near.model_copy(update={"gpus": 5}), unknown), "a step still needs a micro-batch for each"


def test_what_the_base_model_draws_is_drawn_by_one(home):
    """How much longer a run takes in which the base model draws pictures first, on one card and on four."""

    def extra(gpus):
        base = dict(**FULL, device="cuda", data__batch_size=1, optimizer__accumulation=4, gpus=gpus, keep__on=True)
        few, many = (at(job(**base, keep__drawn=drawn), FOUR, home=home) for drawn in (1, 101))
        return many.seconds - few.seconds

    assert extra(4) == pytest.approx(extra(1))


def test_make_it_fit_on_the_page_fits_the_card_that_has_least_and_begins_at_what_any_size_would_be(home, tmp_path):
    from tests import tiny
    from training.data import datasets, importing
    from ui.tabs.train.draft import Draft, fitting, plan

    cats = datasets.create(home, "cats")
    importing.add_folder(cats, tiny.pictures(tmp_path / "cats", 4))
    form = Draft(name="x", trigger="zibbo", preset="sd15-character", edits={"device": "cuda", "gpus": "2", "optimizer.accumulation": "2"})

    def changed(machine):
        return fitting(home, plan(home, form, "cats", machine), form, machine)[0]

    even = replace(FOUR, cards=tuple(replace(card, vram_bytes=12 * GB, vram_free_bytes=11 * GB) for card in FOUR.cards))
    small = replace(even, cards=(even.cards[0], replace(even.cards[1], vram_free_bytes=3 * GB), *even.cards[2:]))
    assert not changed(even) and "loss.gradient_checkpointing" in changed(small), (changed(even), changed(small))


LARGE = dict(**FULL, device="cuda", model__dtype="bf16", data__batch_size=1, optimizer__accumulation=4)


def test_a_model_is_split_where_a_card_does_not_hold_it_or_where_all_of_it_learns(home):
    """What each card then needs: its part of weights, gradients and state, and blocks that are put together."""
    roomy = replace(FOUR, cards=tuple(replace(card, vram_bytes=80 * GB, vram_free_bytes=79 * GB) for card in FOUR.cards))
    lora, whole = (at(job(**LARGE, gpus=4, **more), roomy, home=home) for more in ({}, {"adapter__type": "full", "adapter__dropout": 0.0}))
    told = [any("The base model is split among 4 cards" in text for text in made.sentences) for made in (lora, whole)]
    assert told == [False, True]
    alone = at(job(**LARGE, gpus=4, adapter__type="full", shard="off"), roomy, home=home)
    assert whole.parts["model and optimizer"] == pytest.approx(alone.parts["model and optimizer"] / 4)
    assert whole.vram_bytes < 0.6 * alone.vram_bytes

    tight = (lora.vram_bytes - 0.05 * GB) / GB
    small = replace(FOUR, cards=tuple(replace(card, vram_free_bytes=int(tight * GB)) for card in FOUR.cards))
    split = at(job(**LARGE, gpus=4), small, home=home)
    assert any("The base model is split among 4 cards" in text and f"instead of {lora.vram_bytes / 1e9:.1f} GB" in text for text in split.sentences)
    assert split.vram_bytes < lora.vram_bytes and split.parts["base model"] == pytest.approx(lora.parts["base model"] / 4) and split.parts["blocks that are put together to run"]
    assert not any("split" in text for text in at(job(**LARGE, gpus=1), small, home=home).sentences)
    quantised = at(job(**LARGE, gpus=4, model__quantise="int8"), replace(small, cards=tuple(replace(card, vram_free_bytes=1 * GB) for card in small.cards)), home=home)
    assert "each of the 4 cards must hold the whole model, as model.quantise is 'int8'" in quantised.problems[0]


def test_make_it_fit_splits_before_it_changes_what_is_learnt_and_keeps_an_optimizer_that_can_be_split(home):
    config = job(**LARGE, gpus=4, adapter__type="full")
    alone, among = (peak_bytes(config.model_copy(update={"shard": shard}), home)[0] for shard in ("off", "on"))
    limit = among + 0.1 * (alone - among)
    assert not make_it_fit(config, limit, 999 * GB, home, devices.of("cuda", FOUR)).changes
    off = make_it_fit(config.model_copy(update={"shard": "off"}), limit, 999 * GB, home, devices.of("cuda", FOUR))
    assert off.changes
    harder = make_it_fit(config, 0.8 * among, 999 * GB, home, devices.of("cuda", FOUR))
    assert harder.config.optimizer.type == "adamw" and harder.config.loss.gradient_checkpointing != "off"
