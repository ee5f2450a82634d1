"""What sentences speak of: words and pairs of words, by pictures; lists of tags and words of every sentence are none of it."""

from __future__ import annotations

import time

from training.data import prose
from training.data.tally import tally

FOX = "A photo of a red fox standing in deep snow. The red fox looks at the camera."


def test_words_and_pairs_are_counted_once_a_picture_without_what_every_sentence_has():
    words, pairs = prose.words_of(FOX)
    assert words == {"red", "fox", "standing", "deep", "snow", "looks", "camera"}
    assert pairs == {"red fox", "fox standing", "deep snow", "fox looks"}  # not "snow the", nor across the full stop
    found, two = prose.counts([(FOX,), ("The red fox sleeps.", FOX), ("A grey wolf’s den, a wolf's den",), ("1girl, red fox, solo",)])
    told = {c.tag: c.pictures for c in found}
    assert told["fox"] == told["red"] == 2 and [c.pictures for c in found] == sorted(told.values(), reverse=True)
    assert {c.tag: c.pictures for c in found}["wolf's"] == 1 and {c.tag: c.pictures for c in two}["red fox"] == 2
    assert all(c.pictures >= 2 for c in two) and "1girl" not in {c.tag for c in found}


def test_other_scripts_and_odd_texts():
    assert prose.words_of("猫が座っている。とても可愛い。") == (frozenset(), frozenset())
    words, pairs = prose.words_of("Ein roter Fuchs steht im tiefen Schnee. Красная лиса стоит на снегу.")
    assert {"roter", "fuchs", "tiefen", "schnee", "лиса"} <= words and "roter fuchs" in pairs and "ein" not in words
    assert "red hat" in prose.words_of("She has a red hat on.")[1]
    assert prose.words_of("") == prose.words_of("|||") == prose.words_of("12 34 ...") == (frozenset(), frozenset())
    assert prose.words_of("x" * 5000 + ". It is a long long word.")[0] == {"long", "word"}


def test_the_numbers_of_a_dataset_have_them_and_ten_thousand_are_quick():
    told = tally({"a": [FOX], "b": [FOX], "c": []})
    assert told.words_used[0].pictures == 2 and "red fox" in {c.tag for c in told.pairs_used}
    assert tally({"a": ["1girl, solo, smile"]}).words_used == ()
    many = [(f"A photo of a red fox number {'abcdefghij'[n % 10]}x standing in deep snow near the {'klmnopqrst'[n // 10 % 10]}y river bank.",) for n in range(10_000)]
    began = time.monotonic()
    found, _ = prose.counts(many)
    assert found[0].pictures == 10_000 and time.monotonic() - began < 10  # 0.1 s on an idle machine


def test_a_word_is_a_search_and_pressed_again_no_more(monkeypatch):
    from types import SimpleNamespace

    from training.data.tally import tally
    from ui.tabs.captions import editing, panel, scope

    view = editing.looked(dict(scope.FIRST_VIEW) | {"page": 3, "only": scope.SAME}, "word", SimpleNamespace(word="red fox"))
    assert (view["query"], view["page"], view["only"]) == ("red fox", 0, scope.ALL)
    html = panel.card(tally({"a": [FOX], "b": [FOX]}), [], view, 2, 0, "")
    assert 'aria-pressed="true" data-act="word" data-word="red fox"' in html and "What the sentences say" in html
    assert editing.looked(view, "word", SimpleNamespace(word="red fox"))["query"] == ""
