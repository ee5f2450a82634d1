"""Whether a trigger word is free: words that mean something are told, made-up ones are not accused, and what cannot be known is said."""

from __future__ import annotations

import json
import shutil

import pytest

from tests import tiny
from training.data import tokens, trigger, vocabulary
from training.home import BUILTIN

FREE = "zibbo vokrin mabzul trelqua quorvo narvik2x pluvix xaerdo brizzan ulmoqo".replace("narvik2x", "tarvoq").split()
TAKEN = ["cat", "dog", "portrait", "red", "beyonce", "obama", "picasso", "ghibli", "anime", "watercolor", "sks", "Emma Watson", "123", "bella"]
LOOK = ["ohwx", "cat2024x", "zwx style", "my_zib", "ghiblistyle", "redhouse", "z", "watercolorzib", "barbie"]


@pytest.mark.parametrize("word", FREE)
def test_a_made_up_word_is_free(word):
    judged = trigger.judge(word)
    assert (judged.verdict, judged.remarks) == ("free", ())
    assert "cannot be said" in judged.unknown and "not looked at" in judged.unknown


@pytest.mark.parametrize("word", TAKEN)
def test_a_word_that_means_something_is_taken(word):
    judged = trigger.judge(word)
    assert judged.verdict == "taken" and judged.remarks[0].text.endswith("."), judged


@pytest.mark.parametrize("word", LOOK)
def test_a_word_that_may_mean_something_is_to_be_looked_at(word):
    assert trigger.judge(word).verdict in ("look", "taken") and trigger.judge(word).remarks


def test_digits_are_told_to_be_tokens_of_their_own():
    assert any("Digits are cut off" in r.text for r in trigger.judge("zibbo7").remarks) and trigger.judge("zibbo7").verdict == "look"


def test_a_word_one_letter_from_a_common_one_is_a_note_alone():
    judged = trigger.judge("peoble")
    assert judged.verdict == "free" and "one letter away from “people”" in judged.remarks[0].text


def test_what_the_captions_here_say_is_told():
    mine = [("zibbo in the rain",), ("a walk",), ("zibbo, tree",), ("",)]
    assert "2 captions say it already, of 4" in trigger.judge("zibbo", mine).remarks[0].text
    assert trigger.judge("zibbo", [("zibbo a",), ("zibbo b",)]).remarks == ()
    near = trigger.judge("zibbo", [("zibboo a",), ("zibboo b",), ("zibboo c",)])
    assert near.verdict == "look" and "“zibboo”, but not “zibbo”" in near.remarks[0].text
    assert trigger.judge("zibbo", [("a cat",), ("a dog",), ("a cow",)]).remarks == ()


def test_tokens_are_those_of_the_tokenizer_itself(tmp_path):
    """Both ways in which folders hold CLIP's, and one that is not read."""
    real = tiny.clip_tokenizer()
    real.save_pretrained(tmp_path / "whole" / "tokenizer")
    parts = tmp_path / "parts" / "tokenizer"
    parts.mkdir(parents=True)
    said = json.loads((tmp_path / "whole" / "tokenizer" / "tokenizer.json").read_text(encoding="utf-8"))["model"]
    (parts / "vocab.json").write_text(json.dumps(said["vocab"]), encoding="utf-8")
    (parts / "merges.txt").write_text("#version: 0.2\n" + "\n".join(m if isinstance(m, str) else " ".join(m) for m in said["merges"]) + "\n", encoding="utf-8")
    (parts / "tokenizer_config.json").write_text('{"tokenizer_class": "CLIPTokenizer"}')
    (tmp_path / "parts" / "tokenizer_2").mkdir()
    (tmp_path / "parts" / "tokenizer_2" / "tokenizer_config.json").write_text('{"tokenizer_class": "T5TokenizerFast"}')
    for text in ("zibbo", "ZibBo", "a red cat2024", "höhle", "x!y", "it's"):
        wanted = real(text, add_special_tokens=False).input_ids
        for place in (tmp_path / "whole" / "tokenizer", parts):
            cut = tokens._loaded(str(place), *tokens._stamp(place))
            assert [number for _, number in cut(text)] == wanted, (place, text)
    shutil.copytree(tmp_path / "parts" / "tokenizer", tmp_path / "read" / "processor")
    assert tokens.of_base(tmp_path / "read", "red zibbox")[0], "where the text encoder reads pictures too"
    found, silent = tokens.of_base(tmp_path / "parts", "red zibbox")
    assert [(t.encoder, t.pieces) for t in found] == [("CLIP", ("red", "zibb", "o", "x"))] and silent == ["T5"]
    assert "How T5 cuts it cannot be said" in trigger.judge("zibbo", (), tmp_path / "parts").unknown
    whole = trigger.judge("zibbo", (), tmp_path / "whole")
    linked = tmp_path / "snapshot" / "tokenizer"  # as the Hub's own store has it
    linked.mkdir(parents=True)
    for file in parts.iterdir():
        (linked / file.name).symlink_to(file)
    assert tokens.kind_of(linked) == "CLIP" and tokens.of_base(tmp_path / "snapshot", "zibbo")[0]
    assert whole.tokens[0].whole and whole.verdict == "look" and "has a token for it alone" in whole.remarks[0].text


@pytest.mark.parametrize("broken", ["{", "[]", '{"model": 3}'])
def test_a_damaged_tokenizer_is_no_tokenizer(tmp_path, broken):
    (tmp_path / "tokenizer").mkdir()
    (tmp_path / "tokenizer" / "tokenizer.json").write_text(broken)
    assert tokens.of_base(tmp_path, "zibbo") == ([], ["tokenizer"])


def test_words_are_offered_that_are_free_and_the_same_each_time():
    for title in ("My cat Bella", "Tokyo at night", "猫", "", "John", "x", "Quiz"):
        words = trigger.offered(title, [("a cat",)], BUILTIN / "base")
        assert len(words) == 3 == len(set(words)) and words == trigger.offered(title, [("a cat",)], BUILTIN / "base")
        assert all(trigger.judge(w, [("a cat",)], BUILTIN / "base").remarks == () for w in words)
    taken = trigger.offered("My cat Bella")[0]
    assert taken not in trigger.offered("My cat Bella", [(f"a {taken}",), ("b",)])


def test_the_lists_hold_plain_words():
    assert len(vocabulary.known_whole()) > 15_000 and "people" in vocabulary.known_whole()
    for word in (*vocabulary.people(), *vocabulary.styles()):
        assert word == vocabulary.plain(word) and word.isalnum(), word
