"""What Undo would take back, and took back, in the language of the page.  The dataset says it in English (training/data/undoing.py)."""

from __future__ import annotations

import re
from collections.abc import Callable

from ...language import sentence_end, tr, trc, trn
from ...language.heard import heard

BETWEEN = re.compile(r", (?=\d+ (?:picture|crop|caption|file)s? |version \d+ taken|without \d+ files? that)")  # the parts of what undo() says
PARTS: tuple[tuple[str, Callable[..., str]], ...] = (
    (r"(\d+) pictures? put back", lambda n: trn("{n} picture put back", "{n} pictures put back", int(n))),
    (r"(\d+) crops? put back", lambda n: trn("{n} crop put back", "{n} crops put back", int(n))),
    (r"(\d+) pictures? as before", lambda n: trn("{n} picture as before", "{n} pictures as before", int(n))),
    (r"(\d+) captions? put back", lambda n: trn("{n} caption put back", "{n} captions put back", int(n))),
    (r"(\d+) captions? left alone, because changed since", lambda n: trn("{n} caption left alone, because changed since", "{n} captions left alone, because changed since", int(n))),
    (r"version (\d+) taken away again", lambda n: tr("version {version} taken away again", version=n)),
    (r"(\d+) files? that came since kept", lambda n: trn("{n} file that came since kept", "{n} files that came since kept", int(n))),
    (r"(\d+) files? that came since now in the bin", lambda n: trn("{n} file that came since now in the bin", "{n} files that came since now in the bin", int(n))),
    (r"without (\d+) files? that (?:is|are) gone for good \((.+)\)", lambda n, files: _gone(int(n), files)),
)
BUTTONS: tuple[tuple[str, Callable[..., str]], ...] = (
    (r"version (\d+) brought back", lambda n: tr("Undo version {version} brought back", version=n)),
    (r"(\d+) crops?", lambda n: trn("Undo {n} crop", "Undo {n} crops", int(n))),
    (r"(\d+) pictures? left out", lambda n: trn("Undo {n} picture left out", "Undo {n} pictures left out", int(n))),
    (r"(\d+) pictures? taken back", lambda n: trn("Undo {n} picture taken back", "Undo {n} pictures taken back", int(n))),
    (r"(\d+) pictures? mirrored", lambda n: trn("Undo {n} picture mirrored", "Undo {n} pictures mirrored", int(n))),
    (r"(\d+) pictures? turned", lambda n: trn("Undo {n} picture turned", "Undo {n} pictures turned", int(n))),
    (r"removal of (\d+) pictures?", lambda n: trn("Undo removal of {n} picture", "Undo removal of {n} pictures", int(n))),
    (r"(\d+) captions? \((.*)\)", lambda n, source: trn("Undo {n} caption ({source})", "Undo {n} captions ({source})", int(n), source=_source(source))),
)


def button(what: str) -> str:
    """What the button says.  what: Dataset.can_undo()."""
    if not what:
        return tr("Undo")
    return _by(BUTTONS, what) or tr("Undo {what}", what=heard(what))


def told(said: str) -> str:
    """What was taken back, a sentence.  said: Dataset.undo()."""
    if not said:
        return tr("There is nothing to undo.")
    text = ", ".join(_by(PARTS, part) or heard(part) for part in BETWEEN.split(said))
    return text[:1].upper() + text[1:] + sentence_end()


def _by(forms: tuple[tuple[str, Callable[..., str]], ...], text: str) -> str:
    """The text by the form that it has; "" where it has none of them."""
    return next((say(*found.groups()) for form, say in forms if (found := re.fullmatch(form, text, re.DOTALL))), "")


def _gone(n: int, files: str) -> str:
    if more := re.fullmatch(r"(.+) and (\d+) more", files, re.DOTALL):
        files = tr("{names} and {n} more", names=more[1], n=int(more[2]))
    return trn("without {n} file that is gone for good ({files})", "without {n} files that are gone for good ({files})", n, files=files)


def _source(source: str) -> str:
    """How captions were changed, in a word or two; a captioner by its id."""
    said = {
        "typed": trc("captions", "typed"), "replaced": trc("captions", "replaced"), "prefix": trc("captions", "prefix"), "suffix": trc("captions", "suffix"), "tags": trc("captions", "tags"),
        "read again": trc("captions", "read again"), "its prompt": trc("captions", "its prompt"), "folder": trc("captions", "folder"), "file": trc("captions", "file"),
    }  # fmt: skip
    return said.get(source, source)
