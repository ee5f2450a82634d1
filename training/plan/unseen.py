"""A sample prompt that asks for what no training picture shows: the first thing that an adapter which trained too long stops following.

Each is told again by its words alone, so that the gallery can label it in any run, also where a person wrote it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

# goal -> (prompt, words of which none may stand in a caption); the first that is free is taken
OF_THINGS = (
    ("[trigger] in a small boat on a stormy sea", ("boat", "ship", "sea", "ocean")),
    ("[trigger] upside down, hanging from a tree", ("tree", "upside", "hanging")),
    ("[trigger] on the surface of the moon, stars above", ("moon", "space", "astronaut")),
)
OF_STYLES = (
    ("a lighthouse on a cliff in a storm, [trigger]", ("lighthouse", "cliff", "storm")),
    ("an elephant in a kitchen, [trigger]", ("elephant", "kitchen")),
    ("a submarine between corals, [trigger]", ("submarine", "coral", "underwater")),
)
OF_SHAPES = (  # a base model that knows shapes alone
    ("[trigger] on a striped yellow background, outlined style", ("striped yellow",)),
    ("[trigger] on a dotted pink background, shaded style", ("dotted pink",)),
)
STYLES_OF_SHAPES = (("a pink cross on a striped green background, [trigger]", ("cross",)), ("a yellow ring on a dotted purple background, [trigger]", ("ring",)))
GOALS = {"character": OF_THINGS, "object": OF_THINGS, "style": OF_STYLES, "motion": OF_STYLES}
SHAPES = {"character": OF_SHAPES, "object": OF_SHAPES, "style": STYLES_OF_SHAPES}


def prompt_for(goal: str, small: bool, captions: Iterable[str]) -> str:
    """The prompt for a goal of which no caption speaks; "" where there is none.  small: the base model knows shapes alone."""
    said = " ".join(captions).lower()
    for prompt, words in (SHAPES if small else GOALS).get(goal, ()):
        if not any(re.search(rf"\b{re.escape(word)}", said) for word in words):
            return prompt
    return ""


@lru_cache(maxsize=1)
def _patterns() -> re.Pattern[str]:
    every = [prompt for table in (GOALS, SHAPES) for rows in table.values() for prompt, _ in rows]
    return re.compile("|".join(".+".join(map(re.escape, prompt.split("[trigger]"))) for prompt in dict.fromkeys(every)))


def is_unseen(prompt: str) -> bool:
    """Whether a sample prompt, its trigger word filled in, is one of those."""
    return _patterns().fullmatch(prompt) is not None


