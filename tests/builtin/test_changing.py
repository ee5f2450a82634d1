"""The bars of what is changed by words, on the built-in base with its own presets as they are."""

from __future__ import annotations

import pytest

from . import changing, figures

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def pipe():
    return figures.load()


def test_a_slider_draws_things_larger_and_smaller_and_keeps_their_colours(pipe, home):
    found = changing.slid(pipe, changing.trained(home, "builtin-slider"))
    print(found)
    assert found.monotone >= 0.80 and list(found.areas) == sorted(found.areas)
    assert found.colours >= 0.9 * found.base_colours


def test_a_slider_from_pairs_leads_to_the_one_and_to_the_other_end(pipe, home):
    found = changing.slid(pipe, changing.of_pairs(home), (-1.0, 0.0, 1.0))  # where the pairs' own ends are
    print(found)
    low, base, high = found.areas
    # seen: 6, 27 and 34 % of the picture
    assert low <= 0.5 * base and high >= 1.1 * base


def test_what_is_forgotten_is_not_drawn_and_the_others_are(pipe, home):
    found = changing.changed(pipe, changing.trained(home, "builtin-erase"))
    print(found)
    assert found.before >= 0.75 and found.after <= 0.10 and found.kept >= 0.90  # seen: 2 and 92 %


def test_what_is_replaced_is_drawn_as_the_other(pipe, home):
    found = changing.changed(pipe, changing.trained(home, "builtin-replace"))
    print(found)
    assert found.before >= 0.75 and found.instead >= 0.80 and found.kept >= 0.90  # seen: 98 and 91 %
