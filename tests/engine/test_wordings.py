"""Captions as they are trained: tags left out, and {a|b} as one of several."""

from __future__ import annotations

import pytest

from tests import tiny
from training import jobfile
from training.config import TrainConfig
from training.data import kinds
from training.data.captions import split
from training.engine.data import TAG_ORDERS, _captions


def said(captions: tuple[str, ...], trigger: str = "", **changes) -> tuple[str, ...]:
    return _captions(jobfile.parse(TrainConfig, tiny.train_job("base", "pictures", **changes)), captions, trigger)


def test_some_tags_are_left_out_and_what_stays_in_front_never_is():
    tags = [f"tag {n}" for n in range(20)]
    made = said((", ".join(tags),), "zibbo", data__tag_dropout=0.5, data__keep_tags=2)
    assert len(made) == TAG_ORDERS
    assert all(m.startswith("zibbo, tag 0") for m in made)
    rest = [m.split(", ")[2:] for m in made]
    assert all(r == sorted(r, key=tags.index) for r in rest)  # not shuffled
    assert 0.35 < sum(map(len, rest)) / (19 * TAG_ORDERS) < 0.65
    assert made == said((", ".join(tags),), "zibbo", data__tag_dropout=0.5, data__keep_tags=2)
    shuffled = said((", ".join(tags),), "zibbo", data__tag_dropout=0.5, data__shuffle_tags=True)
    assert any(r.split(", ")[1:] != sorted(r.split(", ")[1:], key=tags.index) for r in shuffled)


def test_the_trigger_word_and_the_last_of_a_caption_stay():
    made = said(("red hat, a photo of zibbo, snow",), "zibbo", data__tag_dropout=0.9, data__keep_tags=0)
    assert all("a photo of zibbo" in m for m in made)
    assert set(said(("a hat",), data__tag_dropout=0.9, data__keep_tags=0)) == {"a hat"}
    assert all(m.startswith("front") and m.endswith("back") for m in said(("front ||| a, b, c ||| back",), data__tag_dropout=0.9))


@pytest.mark.parametrize(
    ("caption", "made"),
    [
        ("a {red|blue} hat", {"zibbo, a red hat", "zibbo, a blue hat"}),
        ("{a|the} {red, round|blue} hat", {"zibbo, a red, round hat", "zibbo, the red, round hat", "zibbo, a blue hat", "zibbo, the blue hat"}),
        ("{ no choice } here", {"zibbo, { no choice } here"}),
    ],
)
def test_a_choice_is_each_of_its_words_by_turns(caption, made):
    assert set(said((caption,), "zibbo")) == made


def test_a_great_choice_is_some_of_it_and_every_caption_counts_alike():
    many = "{" + "|".join(f"w{n}" for n in range(50)) + "} thing"
    assert 1 < len(set(said((many,)))) <= TAG_ORDERS
    both = said(("a {x|y|z} hat", "plain"))
    assert both.count("plain") == 3
    assert len(both) == 6


TAGS, PROSE, MORE = "1girl, red hat, snow, smile", "A woman wears a red hat, and smiles in the snow.", "She stands there, in a hat, on a hill."


@pytest.mark.parametrize(
    ("kinds", "made"),
    [
        ("all", {f"zibbo, {TAGS}", f"zibbo, {PROSE}", f"zibbo, {MORE}"}),
        ("tags", {f"zibbo, {TAGS}"}),
        ("prose", {f"zibbo, {PROSE}", f"zibbo, {MORE}"}),
        ("evenly", {f"zibbo, {TAGS}", f"zibbo, {PROSE}", f"zibbo, {MORE}"}),
        ("joined", {f"zibbo, {PROSE[:-1]}, {TAGS}", f"zibbo, {MORE[:-1]}, {TAGS}"}),
    ],
)
def test_tags_and_prose_are_told_apart_and_trained_as_asked(kinds, made):
    found = said((TAGS, PROSE, MORE), "zibbo", data__caption_kinds=kinds)
    assert set(found) == made
    share = sum(text.endswith(TAGS) for text in found) / len(found)
    assert share == pytest.approx({"all": 1 / 3, "tags": 1, "prose": 0, "evenly": 1 / 2, "joined": 1}[kinds])


def test_where_kinds_are_told_apart_only_tags_are_shuffled_and_left_out():
    plain = {kinds: set(said((TAGS, PROSE), data__caption_kinds=kinds, data__shuffle_tags=True, data__keep_tags=0)) for kinds in ("all", "evenly", "joined")}
    assert PROSE in plain["evenly"] and len(plain["evenly"]) > 4
    assert any(text not in plain["evenly"] for text in plain["all"]), "where they are not, the pieces of a sentence are shuffled as ever"
    assert len(plain["joined"]) > 4 and all(text.startswith(PROSE[:-1]) for text in plain["joined"])
    kept = said(("1girl, zibbo ||| hat, snow, smile, sky", PROSE), data__caption_kinds="joined", data__shuffle_tags=True, data__tag_dropout=0.5)
    assert len(set(kept)) > 4 and all(text.startswith(f"{PROSE[:-1]}, 1girl, zibbo") and "|" not in text for text in kept)


def test_a_picture_without_the_kind_keeps_what_it_has_and_that_is_said():
    assert set(said((PROSE,), data__caption_kinds="tags")) == {PROSE} and set(said((), data__caption_kinds="joined")) == {""}
    assert kinds.remarks([(TAGS, PROSE), (PROSE,), ()], "tags", False) == ["1 of 2 pictures do not have tags as data.caption_kinds asks, and are learnt with what they have"]
    assert kinds.remarks([(TAGS,), (TAGS,)], "tags", False)[0].startswith("data.caption_kinds has no effect")
    assert "no effect" in kinds.remarks([(TAGS, PROSE)], "evenly", False)[0], "both are drawn equally often anyway"
    assert kinds.remarks([(TAGS, PROSE, MORE)], "evenly", False) == kinds.remarks([(TAGS, PROSE)], "evenly", True) == kinds.remarks([(PROSE,)], "all", True) == []


@pytest.mark.parametrize(
    ("before", "after", "both"),
    [(PROSE, TAGS, f"{TAGS}\n{PROSE}"), (TAGS, f"{PROSE}\n\nMore.", f"{PROSE}\n{TAGS}"), (TAGS, "hat, snow,", "hat, snow,"), ("", TAGS, TAGS), (PROSE, f"{TAGS}, ", f"{TAGS}\n{PROSE}")],
)
def test_tags_and_prose_in_two_files_are_two_captions_of_one_picture(before, after, both):
    made = kinds.together(before, after)
    assert made.split("\n")[0].startswith(both.split("\n")[0]) and len(made.split("\n")) == len(both.split("\n"))
    assert len(split(made)) == len(both.split("\n"))


def test_prose_without_a_full_stop_does_not_run_on_into_the_tags():
    prose, few = "a woman in a red dress is standing on the beach at sunset", "masterpiece photography, beautiful redhead standing, late evening"
    for tags in ("beach, dress, red hair, sunset", few):
        for made in (kinds.together(tags, prose), kinds.together(prose, tags)):
            assert {part.rstrip(".") for part in split(made)} == {prose, tags}, made
