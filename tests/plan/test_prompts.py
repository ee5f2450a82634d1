"""Options in a sample prompt set what they name, and are never drawn as words."""

from __future__ import annotations

import pytest

from tests import tiny
from training import jobfile, registry
from training.plan import prompts


def config(*lines):
    return jobfile.parse(registry.get("jobs", "train").Config, tiny.train_job("base", "pictures", sample__prompts=list(lines)))


@pytest.mark.parametrize(
    ("line", "text", "settings"),
    [
        ("[trigger] on red", "zibbo on red", {}),
        ("a cat, [name] --w 96 --h 64 --d 7 --s 5 --l 3.5 --n blurry, [trigger] twice", "a cat, zibbo",
         {"width": 96, "height": 64, "seed": 7, "steps": 5, "guidance": 3.5, "negative": "blurry, zibbo twice"}),
        ("a cat --cfg=2 --frames 9", "a cat", {"guidance": 2.0, "frames": 9}),
        ("well-known -- a cat", "well-known -- a cat", {}),
    ],
)  # fmt: skip
def test_what_a_prompt_sets(line, text, settings):
    made = config(line)
    found = prompts.read(made, line)
    assert (found.text, found.sample, found.seeded, found.ignored) == (text, made.sample.model_copy(update=settings), "seed" in settings, ())


def test_what_cannot_be_set_is_said_and_not_drawn():
    made = config("a cat --ar 16:9 --w 9 --d", "a dog")
    (cat, dog), (said,) = prompts.of_config(made), prompts.said(made)
    assert cat.text == "a cat" and cat.sample == made.sample and dog.ignored == ()
    assert said.endswith("left out: --ar 16:9, --w 9, --d")
