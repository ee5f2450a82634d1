"""Sentences of others, such as an error's, as the page says them: in its language, settings by their labels, and no number that only programs know."""

from __future__ import annotations

import re
from functools import cache

from training.config import TrainConfig
from training.plan.presets import setting_paths
from training.sentences import sentences

from . import forms
from .language import sentence_end, tr
from .language.heard import heard

ERRNO = re.compile(r"\[(?:Errno|WinError) -?\d+\]\s*")
FULL = ("。", "！", "？")  # have their space within themselves
EASTERN = re.compile("[\u3040-\u30ff\u4e00-\u9fff]")  # said in Japanese or Chinese already
PLACED = re.compile(r"\.\d+(?:\.\w+)?")  # data.datasets.0.name is still a matter of data.datasets


@cache
def _paths() -> re.Pattern:
    return re.compile(rf"(?<![\w.'\"/])({'|'.join(re.escape(p) for p in sorted(setting_paths(), key=len, reverse=True) if '.' in p)})((?:{PLACED.pattern})?)(?![\w/])", re.ASCII)  # letters of Japanese may stand right beside


def plain(text: str) -> str:
    """`text` in the language that is spoken, with each dotted path of a setting as its label, and without errno numbers."""
    return _labelled(heard(ERRNO.sub("", text)))


def _labelled(text: str) -> str:
    return _paths().sub(lambda m: tr("‘{label}’", label=tr(forms.label_of(m[1]))), text)


def in_words(*texts: str) -> str:
    """The texts as sentences; see plain()."""
    said = [_sentence(bare) for text in texts if (bare := ERRNO.sub("", text).strip())]
    return "".join(one if one.endswith(FULL) or at == len(said) - 1 else f"{one} " for at, one in enumerate(said))


def _sentence(text: str) -> str:
    """One text as a sentence; what stays English ends as English does."""
    said = heard(text)
    return sentences(_labelled(said), end=sentence_end() if said != text or EASTERN.search(text) else ".")


def labels() -> dict[str, str]:
    """The label of every setting of a training in the language that is spoken, by its path; no two are the same."""
    return {f.path: tr(f.label) for f in forms.fields(TrainConfig)}
