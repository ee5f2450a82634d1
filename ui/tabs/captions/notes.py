"""What to know of a dataset's captions as a whole, and what to choose: length, lines, encoding.  Pure; the tab acts on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape

from training.data.captions import LINES as WAYS
from training.data.captions import TOKEN_LIMIT
from training.data.datasets import Dataset
from training.data.encodings import CHOICES
from training.data.rereading import Guessed
from training.data.timed import is_timed

from ...language import tr, trc, trn
from ...language.heard import heard

LINES, WHICH, ENCODING = "lines", "which", "encoding"  # names of the fields
SHOWN_GUESSED = 200


def pairs_html(ds: Dataset) -> str:
    """That captions are instructions where pictures are made from others; "" where none is."""
    made = sum(p.usable and bool(p.references) for p in ds.pictures(check=False))
    if not made:
        return ""
    said = trn(
        "One picture has another before it. To learn an edit, its caption is the instruction: what is to be done to the picture before, for example “make it night”.",
        "{n} pictures have others before them. To learn an edit, a caption is the instruction: what is to be done to the picture before, for example “make it night”. Where the edit is the same, one for all is enough.",
        made,
    )  # fmt: skip
    return f'<div class="ez-note">{escape(said)}</div>'


def cut_html(long: int) -> str:
    """That captions are longer than is read; "" where none is."""
    if not long:
        return ""
    said = trn(
        "One caption is longer than a CLIP text encoder reads (about {tokens} tokens): the rest is lost on base models that have no other one.",
        "{n} captions are longer than a CLIP text encoder reads (about {tokens} tokens): the rest is lost on base models that have no other one.", long, tokens=TOKEN_LIMIT,
    )  # fmt: skip
    return f'<div class="ez-note ez-warn ez-spread"><span>{escape(said)}</span><button type="button" class="ez-link" data-act="cut">{escape(tr("Show them"))}</button></div>'


def lines_html(ds: Dataset) -> str:
    """How captions of several lines are taken, and the choice; "" where each has one line."""
    found = [p for p in ds.pictures(check=False) if p.usable and "\n" in p.caption and not is_timed(p.caption)]
    if not found:
        return ""
    several = sum(len(p.captions) > 1 for p in found)
    one = len(found) - several
    said = [
        trn("One caption has several lines, each a caption of its own: one of them is drawn at each use.", "{n} captions have several lines, each a caption of its own: one of them is drawn at each use.", several)
    ] if several else []  # fmt: skip
    said += [trn("One caption has lines that are read as one text.", "{n} captions have lines that are read as one text.", one)] if one else []
    return _note(" ".join(said), _select(LINES, tr("How lines are read"), {way: heard(text) for way, text in WAYS.items()}, ds.lines))


def encodings_html(guessed: Sequence[Guessed]) -> str:
    """Which encodings were guessed, a caption as it was read, and the choice of another; "" where nothing was guessed."""
    if not guessed:
        return ""
    choices = {codec: heard(text) for codec, text in CHOICES.items()}
    names = ", ".join(choices.get(codec, codec) for codec, _ in Counter(g.encoding for g in guessed).most_common())
    first = guessed[0].text.replace("\n", " ")
    said = trn(
        "{n} caption did not say the encoding: read as {names}, for example “{example}”. If letters look wrong, choose another.",
        "{n} captions did not say the encoding: read as {names}, for example “{example}”. If letters look wrong, choose another.", len(guessed), names=names, example=first[:60],
    )  # fmt: skip
    which = {"": trc("captions", "All {n}", n=len(guessed))} | {g.id: g.id for g in guessed[:SHOWN_GUESSED]}
    codecs = {g.encoding for g in guessed}
    return _note(said, _select(WHICH, tr("Which captions"), which, "") + _select(ENCODING, tr("Encoding"), choices, codecs.pop() if len(codecs) == 1 else ""))


def _note(said: str, fields: str) -> str:
    return f'<div class="ez-note ez-spread ez-about"><span>{escape(said)}</span><span class="ez-row">{fields}</span></div>'


def _select(name: str, label: str, options: Mapping[str, str], value: str) -> str:
    if value not in options:
        options = {"": "…", **options}
    rows = "".join(f'<option value="{escape(key, quote=True)}"{" selected" if key == value else ""}>{escape(text)}</option>' for key, text in options.items())
    return f'<select class="ez-input" data-path="{name}" aria-label="{escape(label, quote=True)}">{rows}</select>'
