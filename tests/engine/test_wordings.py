"""Captions as they are trained: tags left out, and {a|b} as one of several."""

from __future__ import annotations

import pytest

from tests import tiny
from training import jobfile
from training.config import TrainConfig
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
