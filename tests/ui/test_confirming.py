"""A word for what cannot be taken back is good once, for one act, for ten minutes."""

import pytest

from ui.api.confirming import GOOD_FOR_S, REMEMBERED, Words


def test_a_word_is_good_once_and_for_its_own_act_only():
    words = Words()
    word = words.give(("delete", "cats"))
    words.spend(word, ("delete", "cats"))
    for wrong in (word, "", "guess"):
        with pytest.raises(ValueError, match="call without a word"):
            words.spend(wrong, ("delete", "cats"))
    word = words.give(("delete", "cats"))
    for act in (("delete", "dogs"), ("delete", "cats")):  # the first try spends it
        with pytest.raises(ValueError, match="not given for this"):
            words.spend(word, act)
    assert words.give("a") != words.give("a")


def test_a_word_grows_old_and_the_oldest_of_many_are_forgotten():
    now = [0.0]
    words = Words(clock=lambda: now[0])
    old, kept = words.give("a"), words.give("a")
    now[0] = GOOD_FOR_S
    words.spend(kept, "a")
    now[0] += 1
    with pytest.raises(ValueError, match="ten minutes"):
        words.spend(old, "a")
    first = words.give("a")
    for _ in range(REMEMBERED):
        last = words.give("a")
    words.spend(last, "a")
    with pytest.raises(ValueError, match="used already"):
        words.spend(first, "a")
