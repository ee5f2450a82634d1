"""What the base model knows is kept: the same noisy pictures, with other sentences, are held to what the base itself says of them."""

from __future__ import annotations

import pytest
import torch

from tests import tiny
from training import jobfile, registry
from training.data import words
from training.data.captions import without_trigger
from training.engine.loop import Session, config_hash
from training.engine.prepare import prepare
from training.engine.weights import placement
from training.runs.context import Context

from .conftest import state_files
from .test_training import FULL

ON = dict(keep__on=True, keep__share=1.0)


def session(lab, **changes) -> Session:
    run = lab.make(sample__every=0, **changes)
    return Session(run.config(), ctx := Context(run, lab.home, 1), prepare(run.config(), ctx))


def moved(it: Session) -> Session:
    with torch.no_grad():
        for weight in it.weights:
            weight.add_(torch.full_like(weight, 0.05))
    return it


def held(it: Session, steps: int = 12) -> list:
    """The micro-batches that keep the base; each of them does nothing else."""
    batches = [batch for step in range(steps) for batch in it.feed.at(step) if batch.keeps]
    assert all(batch.keeps == batch.prior == list(range(len(batch.ids))) for batch in batches)
    return batches


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["lora", "loha", "lokr", "dora", "oft"])
def test_the_target_is_what_the_base_says_of_the_same_noisy_picture(lab, base, kind):
    it = moved(session(lab, adapter__type=kind, adapter__block_size=4, **ON))
    batch = held(it, 1)[0]
    untouched = it.family.load(base, {"unet"}, placement(it.config.model, "cpu"))
    noisy = it.p.schedule.mix(batch.latents, batch.noise, batch.t)
    with torch.no_grad():
        expected = it.family.predict(untouched, noisy, batch.t, batch.cond)
        now = it.family.predict(it.m, noisy, batch.t, batch.cond)
    batch.base = it._said_by_base(batch)
    torch.testing.assert_close(batch.base, expected, atol=1e-5, rtol=1e-4)
    assert (now - expected).abs().max() > 1e-3
    losses = it.objective.loss(it.family, it.m, batch, it.p.schedule, it.config.loss)
    torch.testing.assert_close(losses.detach(), (now - expected).pow(2).mean(dim=(1, 2, 3)), atol=1e-5, rtol=1e-3)
    assert batch.weights.tolist() == [1.0] * len(batch.ids)


@pytest.mark.slow
def test_it_is_held_even_where_kept_pictures_are_to_give_themselves(lab, dataset, tmp_path):
    uses = [{"name": str(dataset)}, {"name": str(tiny.pictures(tmp_path / "kept", 3)), "prior": True}]
    it = session(lab, data__datasets=uses, loss__prior_target="pictures", **ON)
    mine = {item.id for item in it.p.plan.items if not item.prior}
    batches = held(it)
    assert batches and {id for batch in batches for id in batch.ids} <= mine
    assert all(it._said_by_base(batch) is not None for batch in batches)


@pytest.mark.slow
def test_the_sentences_are_others_and_drawn_evenly_enough(lab):
    it = session(lab, keep__own=0.3, keep__empty=0.2, **ON)
    said = [caption for batch in held(it, 150) for caption in batch.captions]
    general = set(words.read(words.FOLDER / "everyday.txt"))
    own = {without_trigger(c, "zibbo") for item in it.p.plan.items for c in item.captions}
    shares = [sum(c in of for c in said) / len(said) for of in ({""}, own, general)]
    assert shares == pytest.approx([0.2, 0.3, 0.5], abs=0.08) and sum(shares) == pytest.approx(1)
    assert len({c for c in said if c in general}) > 60
    assert not any("zibbo" in c for c in said)


def test_without_a_trigger_word_the_learnt_captions_are_not_held(lab):
    it = session(lab, trigger="", keep__own=1.0, keep__empty=0.0, **ON)
    learnt = {c for item in it.p.plan.items for c in item.captions}
    assert not learnt & {c for batch in held(it) for c in batch.captions}


@pytest.mark.slow
@pytest.mark.parametrize("share, count", [(1.0, 60), (0.5, 30), (0.25, 15)])
def test_the_share_is_spread_evenly_and_no_pass_grows_larger_than_a_batch(lab, share, count):
    it = session(lab, keep__on=True, keep__share=share, data__batch_size=1, data__aspect_buckets=False)
    batches = held(it, 60)
    assert sum(len(batch.ids) for batch in batches) == count and all(len(batch.ids) == 1 for batch in batches)
    learnt = [batch for step in range(60) for batch in it.feed.at(step) if not batch.keeps]
    assert {batch.weight for batch in learnt} == {1 / (1 + share)}, "a picture counts alike, whether the base is asked in its step or not"


@pytest.mark.slow
def test_in_one_pass_with_what_is_learnt_it_is_the_same_step(lab):
    apart, together = (session(lab, data__batch_size=3, keep__together=one, keep__on=True, keep__share=0.7) for one in (False, True))
    assert all(len(batches) == 1 for batches in map(together.feed.at, range(4)))
    for it in (apart, together):
        it._advance()
    for one, other in zip(apart.weights, together.weights, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-3)


@pytest.mark.slow
def test_what_is_learnt_and_when_is_the_same_with_it_and_without(lab):
    on, off = (session(lab, keep__on=on) for on in (True, False))
    for step in range(6):
        ours, plain = ([b for b in it.feed.at(step) if not b.keeps] for it in (on, off))
        for one, other in zip(ours, plain, strict=True):
            assert one.ids == other.ids and one.captions == other.captions and torch.equal(one.noise, other.noise) and torch.equal(one.t, other.t)


@pytest.mark.slow
@pytest.mark.parametrize("more", [{}, {"adapter__text_encoder": True}], ids=["plain", "text encoder too"])
def test_stopped_and_resumed_ends_to_the_bit_where_an_uninterrupted_run_does(lab, more):
    changes = FULL | dict(keep__on=True, keep__share=0.75) | more
    whole, parts = lab.run(**changes), lab.run(stop_at=3, **changes)
    lab.go(parts)
    assert parts.status() == whole.status() == "finished", parts.why()
    assert state_files(parts, 6) == state_files(whole, 6)
    assert parts.view().losses == whole.view().losses


@pytest.mark.slow
def test_a_run_of_before_reads_as_it_was_begun(lab, base, dataset):
    """A job file that knows nothing of keeping keeps nothing, and its hash, by which a resume finds changes, is the old one."""
    job = tiny.train_job(base, dataset)
    config = jobfile.parse(registry.get("jobs", "train").Config, job)
    assert "keep" not in job and not config.keep.on
    assert config_hash(config) == config_hash(config.model_copy(update={"keep": type(config.keep)()}))
    assert not held(session(lab))


@pytest.mark.slow
def test_the_loss_on_record_is_that_of_the_pictures(lab):
    on, off = (lab.run(keep__on=on, sample__every=0).view().losses for on in (True, False))
    assert on[0][:2] == pytest.approx(off[0][:2], rel=1e-5)  # the first step: nothing has moved yet
    assert on[-1][1] != off[-1][1]


@pytest.mark.parametrize(
    "caption, bare",
    [
        ("zibbo", ""), ("a zibbo on red", "on red"), ("Zibbo, white background", "white background"), ("a red star, zibbo", "a red star"),
        ("zibbos and zibbo", "zibbos and"), ("zibbo, , b", "b"),
    ],
)  # fmt: skip
def test_a_caption_without_its_trigger_word(caption, bare):
    assert without_trigger(caption, "zibbo") == bare


@pytest.mark.slow
def test_pictures_that_the_base_draws_are_held_with_their_own_sentences(lab, base):
    """Drawn at the sizes of the learnt ones by the untouched base, cached, and the same in another run."""
    it = session(lab, keep__drawn=6, keep__empty=0.0, **ON)
    made = [item for items in it.feed.drawn.values() for item in items]
    assert set(it.feed.drawn) == {item.bucket for item in it.p.plan.items} and len(made) >= 6
    batches = held(it)
    said = {item.id: item.captions[0] for item in made}
    assert all(said[id] == caption for batch in batches for id, caption in zip(batch.ids, batch.captions, strict=True))
    again = session(lab, keep__drawn=6, keep__empty=0.0, seed=9, adapter__rank=2, **ON)
    shots = lambda s: {i.id: s.p.cache.get(i.latent_key(s.feed.latent_print, False))["latents"] for items in s.feed.drawn.values() for i in items}
    first, second = shots(it), shots(again)
    assert first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)
    pixels = it.p.cache.get(made[0].latent_key(it.feed.latent_print, False))["pixels"]
    assert pixels.dtype == torch.uint8 and tuple(pixels.shape) == (3, made[0].size[1], made[0].size[0]) and pixels.float().std() > 1
