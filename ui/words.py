"""Sentences of others, such as an error's, as the page says them: settings by their labels, and no number that only programs know."""

from __future__ import annotations

import re
from functools import cache

from training.config import TrainConfig
from training.plan.presets import setting_paths
from training.sentences import sentences

from . import forms

ERRNO = re.compile(r"\[(?:Errno|WinError) -?\d+\]\s*")
PLACED = re.compile(r"\.\d+(?:\.\w+)?")  # data.datasets.0.name is still a matter of data.datasets


@cache
def _paths() -> re.Pattern:
    return re.compile(rf"(?<![\w.'\"/])({'|'.join(re.escape(p) for p in sorted(setting_paths(), key=len, reverse=True) if '.' in p)})((?:{PLACED.pattern})?)(?![\w/])")


def plain(text: str) -> str:
    """`text` with each dotted path of a setting as its label, and without errno numbers."""
    return _paths().sub(lambda m: f"‘{forms.label_of(m[1])}’", ERRNO.sub("", text))


def in_words(*texts: str) -> str:
    """The texts as sentences; see plain()."""
    return sentences(*(plain(t) for t in texts))


def labels() -> dict[str, str]:
    """The label of every setting of a training, by its path; no two are the same."""
    return {f.path: f.label for f in forms.fields(TrainConfig)}
