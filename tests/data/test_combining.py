"""A captioner's words put together with those that are there: what is trained of them, and what shuffling leaves whole."""

from __future__ import annotations

import pytest

from training.data.captions import kept_apart, split, trained
from training.data.combining import combined

TAGS, PROSE = "1girl, solo, ^_^", "A woman sits in the sun. She smiles."


@pytest.mark.parametrize(
    ("now", "new", "place", "made"),
    [
        ("a cat", "blue cat", "behind", "a cat, blue cat"),
        ("A cat.", "It sleeps.", "behind", "A cat. It sleeps."),
        ("A cat.", "It sleeps.", "front", "It sleeps. A cat."),
        (TAGS, PROSE, "behind", f"||| {TAGS} ||| {PROSE}"),
        (TAGS, PROSE, "front", f"{PROSE} ||| {TAGS}"),
        (PROSE, TAGS, "behind", f"{PROSE} ||| {TAGS}"),
        (PROSE, TAGS, "front", f"||| {TAGS} ||| {PROSE}"),
        (TAGS, "solo, hat, 1GIRL", "behind", f"{TAGS}, hat"),
        (TAGS, "solo, hat", "front", f"hat, {TAGS}"),
        (TAGS, "solo", "front", TAGS),
        (f"{PROSE} ||| {TAGS}", "hat, solo", "behind", f"{PROSE} ||| {TAGS}, hat"),
        (f"{PROSE} ||| {TAGS}", "It is warm.", "behind", f"{PROSE} ||| {TAGS} ||| It is warm."),
        (f"{PROSE} ||| {TAGS}", "It is warm.", "front", f"It is warm. {PROSE} ||| {TAGS}"),
        (f"||| {TAGS} ||| {PROSE}", "It is warm.", "behind", f"||| {TAGS} ||| {PROSE} It is warm."),
        (PROSE, "A lady.", "line", f"{PROSE}\nA lady."),
        ("", PROSE, "behind", PROSE),
    ],
)
def test_each_kind_finds_its_place(now, new, place, made):
    assert combined(now, new, place) == made
    assert combined(made, new, place) == made, "nothing is put in twice"


def test_the_trigger_word_stays_in_front_of_all_and_stands_once():
    zibbo = f"zibbo, {TAGS}"
    assert combined(zibbo, PROSE, "behind", trigger="zibbo") == f"zibbo ||| {TAGS} ||| {PROSE}"
    assert combined(zibbo, PROSE, "front", trigger="zibbo") == f"zibbo, {PROSE} ||| {TAGS}"
    assert combined(f"zibbo, {PROSE}", TAGS, "front", trigger="zibbo") == f"zibbo ||| {TAGS} ||| {PROSE}"
    assert combined(zibbo, "hat, tree", "front", trigger="zibbo") == f"zibbo, hat, tree, {TAGS}"
    assert combined(TAGS, "hat", "behind", trigger="zibbo") == f"zibbo, {TAGS}, hat"
    assert combined("zibbo, A cat.", "A dog.", "line", trigger="zibbo") == "zibbo, A cat.\nzibbo, A dog."
    assert combined(TAGS, PROSE, "behind", trigger="zibbo") == f"zibbo ||| {TAGS} ||| {PROSE}"
    assert combined("", TAGS, "front", trigger="zibbo") == zibbo


def test_what_is_trained_holds_all_of_it_and_what_is_shuffled_only_tags():
    made = combined(f"zibbo, {TAGS}", PROSE, "behind", trigger="zibbo")
    assert kept_apart(made) == ("zibbo", TAGS, PROSE) and trained(made, "zibbo") == f"zibbo, {TAGS}, {PROSE}"
    assert combined(TAGS, PROSE, "behind", apart=False) == f"{TAGS}, {PROSE}"


def test_a_line_more_is_a_caption_more():
    long = "A long sentence about a fox in the snow with many trees behind it"  # a program could have wrapped it here
    made = combined(long, "fox, snow, trees", "line")
    assert split(made) == (f"{long}.", "fox, snow, trees")
    assert split(combined("fox, snow,", "a fox", "line")) == ("fox, snow", "a fox")
    assert combined(made, "fox, snow, trees", "line") == made
    assert combined("one\ntwo", "three", "behind", lines="several") == "one, three\ntwo, three"
    with pytest.raises(ValueError, match="read as one caption"):
        combined("one", "two", "line", lines="one")
