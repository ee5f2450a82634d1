"""Joining what others say: no two sentences run into each other, and none is ended twice."""

from __future__ import annotations

from training.hub.client import Fault, sentence
from training.sentences import sentences


def test_each_text_becomes_a_sentence():
    assert sentences("the Hub is full", "", "Press Retry.") == "The Hub is full. Press Retry."
    assert sentences("it asks 'why?'", " still going … ") == "It asks 'why?' Still going …"
    assert sentences("model.source: is missing") == "model.source: is missing."
    assert sentences() == sentences("", " ") == ""


def test_the_hubs_own_words_end_before_ours_go_on():
    error = sentence(Fault(503, "the service is overloaded"), "alice/cat", "https://huggingface.co")
    assert f"{sentences(str(error), error.hint)} ".count("overloaded. Everything is safe") == 1
