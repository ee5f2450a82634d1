"""What to know of a dataset's captions as a whole, and what to choose: length, lines, encoding.  Pure; the tab acts on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from html import escape

from training.data.captions import LINES as WAYS
from training.data.captions import TOKEN_LIMIT
from training.data.datasets import Dataset
from training.data.encodings import CHOICES
from training.data.rereading import Guessed

from ... import views

LINES, WHICH, ENCODING = "lines", "which", "encoding"  # names of the fields
SHOWN_GUESSED = 200


def cut_html(long: int) -> str:
    """That captions are longer than is read; "" where none is."""
    if not long:
        return ""
    which = "One caption is" if long == 1 else f"{long:,} captions are"
    return (
        f'<div class="ez-note ez-warn ez-spread"><span>{which} longer than a CLIP text encoder reads (about {TOKEN_LIMIT} tokens): the rest is lost on base models that have no other one.</span>'
        '<button type="button" class="ez-link" data-act="cut">Show them</button></div>'
    )


def lines_html(ds: Dataset) -> str:
    """How captions of several lines are taken, and the choice; "" where each has one line."""
    found = [p for p in ds.pictures(check=False) if p.usable and "\n" in p.caption]
    if not found:
        return ""
    several = sum(len(p.captions) > 1 for p in found)
    said = [f"{_have(several)} several lines, each a caption of its own: one of them is drawn at each use."] if several else []
    said += [f"{_have(len(found) - several)} lines that are read as one text."] if several < len(found) else []
    return _note(" ".join(said), _select(LINES, "How lines are read", WAYS, ds.lines))


def encodings_html(guessed: Sequence[Guessed]) -> str:
    """Which encodings were guessed, a caption as it was read, and the choice of another; "" where nothing was guessed."""
    if not guessed:
        return ""
    names = ", ".join(f"{CHOICES.get(codec, codec)}" for codec, _ in Counter(g.encoding for g in guessed).most_common())
    first = guessed[0].text.replace("\n", " ")
    said = f"{views.count(len(guessed), 'caption')} did not say the encoding: read as {names}, for example “{first[:60]}”. If letters look wrong, choose another."
    which = {"": f"All {len(guessed):,}"} | {g.id: g.id for g in guessed[:SHOWN_GUESSED]}
    codecs = {g.encoding for g in guessed}
    return _note(said, _select(WHICH, "Which captions", which, "") + _select(ENCODING, "Encoding", CHOICES, codecs.pop() if len(codecs) == 1 else ""))


def _have(number: int) -> str:
    return "One caption has" if number == 1 else f"{number:,} captions have"


def _note(said: str, fields: str) -> str:
    return f'<div class="ez-note ez-spread ez-about"><span>{escape(said)}</span><span class="ez-row">{fields}</span></div>'


def _select(name: str, label: str, options: dict[str, str], value: str) -> str:
    if value not in options:
        options = {"": "…"} | options
    rows = "".join(f'<option value="{escape(key, quote=True)}"{" selected" if key == value else ""}>{escape(text)}</option>' for key, text in options.items())
    return f'<select class="ez-input" data-path="{name}" aria-label="{escape(label, quote=True)}">{rows}</select>'
