"""What the page says, in the language of whoever looks at it.

    tr("Show {title}", title=run.title)                      a sentence; whole numbers are written as the language writes them
    trn("{n} picture", "{n} pictures", len(rows))            one that counts
    trc("verb", "Train")                                     a word that means two things elsewhere
    N_("Waiting")                                            marks a text that stands in a table: tr() says it where it is shown
    NN_("{n} step", "{n} steps")                             the same of one that counts
    heard(error)                                             what the engine said, which speaks English (heard.py)

Messages are gettext's: ui/language/<language>.po, taken from the code by `python -m ui.language.extract`, and English where a language lacks one.
The language is that of the request which is being answered: `?lang=`, else what was chosen by hand (a cookie), else the browser's.
Nothing may be translated while a module is imported, nor kept by functools.cache: the next one to look may speak another language.
"""

from __future__ import annotations

import gettext
import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from babel import Locale, dates, numbers
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from gradio.context import LocalContext

LANGUAGES = {"en": "English", "de": "Deutsch", "es": "Español", "fr": "Français", "ja": "日本語", "zh": "中文"}
SOURCE = "en"
COOKIE = "easel-language"
FOLDER = Path(__file__).parent
MARKS_OF_TEXT = ("tr", "trn", "trc", "N_", "NN_")
ENDS = {"ja": "。", "zh": "。"}  # of a sentence, where it is no full stop
MARKS = {("ja", ", "): "、", ("zh", ", "): "，", ("ja", "; "): "；", ("zh", "; "): "；"}  # between the pieces of a list, where it is not what English has
QUOTES = {"de": ("„", "“"), "es": ("«", "»"), "fr": ("«\N{NO-BREAK SPACE}", "\N{NO-BREAK SPACE}»"), "ja": ("「", "」")}  # around a name, where they are not “ and ”
_told: ContextVar[str] = ContextVar("told", default="")  # by speaking()
_asked: ContextVar[str] = ContextVar("asked", default="")  # by the request to one of our own addresses


def N_(message: str) -> str:
    """The message itself, marked to be taken up; tr() says it where it is shown."""
    return message


def NN_(one: str, many: str) -> tuple[str, str]:
    """The two forms of a message that counts, marked to be taken up; trn() says them."""
    return one, many


def tr(message: str, /, **values: Any) -> str:
    """The message in the language that is spoken, with {names} filled in."""
    return _filled(catalogue(spoken()).gettext(message), values) if message else ""


def trn(one: str, many: str, n: int, /, **values: Any) -> str:
    """The message for a number of things, which is {n} in it."""
    return _filled(catalogue(spoken()).ngettext(one, many, n), {"n": n, **values})


def trc(context: str, message: str, /, **values: Any) -> str:
    """The message where it means what `context` says."""
    return _filled(catalogue(spoken()).pgettext(context, message), values)


def _filled(text: str, values: Mapping[str, Any]) -> str:
    return text.format_map({name: whole(value) if type(value) is int else value for name, value in values.items()}) if values else text


@cache
def catalogue(language: str) -> gettext.NullTranslations:
    """The messages of a language."""
    path = FOLDER / f"{language}.po"
    if language == SOURCE or not path.exists():
        return gettext.NullTranslations()
    compiled = io.BytesIO()
    with path.open("rb") as file:
        write_mo(compiled, read_po(file, locale=language))
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)


# which language


def spoken() -> str:
    """The language of whoever is answered now; English where nobody asks."""
    if told := _told.get():
        return told
    request = LocalContext.request.get(None)  # of a page's event, which may run long after its request in another task
    if request is None:
        return _asked.get() or SOURCE
    known = request.__dict__.get("easel_language")
    if known is None:
        known = request.__dict__["easel_language"] = of_request(request.query_params, request.cookies, request.headers) if request.__dict__.get("request") else SOURCE
    return known


@contextmanager
def speaking(language: str) -> Iterator[None]:
    """Whatever is said inside is said in this language."""
    token = _told.set(language)
    try:
        yield
    finally:
        _told.reset(token)


def asked_in(language: str) -> None:
    """Says in which language the request is that this task answers."""
    _asked.set(language)


def of_request(query: Mapping[str, str], cookies: Mapping[str, str], headers: Mapping[str, str]) -> str:
    """The language of a request: what its address says, else what was chosen, else the first that the browser would read and we speak."""
    for chosen in (query.get("lang", ""), cookies.get(COOKIE, "")):
        if chosen in LANGUAGES:
            return chosen
    return next((code for wanted in _preferred(headers.get("accept-language", "")) if (code := wanted.partition("-")[0].lower()) in LANGUAGES), SOURCE)


def _preferred(header: str) -> list[str]:
    """The tags of an Accept-Language header, most wanted first."""
    found = []
    for part in header.split(",")[:20]:
        tag, _, quality = part.strip().partition(";q=")
        try:
            found.append((float(quality or 1), tag))
        except ValueError:
            continue
    return [tag for wish, tag in sorted(found, key=lambda pair: -pair[0]) if wish > 0]


# numbers and times


@lru_cache(maxsize=4096)
def _whole(value: int, language: str) -> str:
    return f"{value:,}" if language not in LANGUAGES or language == SOURCE else numbers.format_decimal(value, locale=language)


def whole(value: int) -> str:
    """1,200 as the language writes it."""
    return _whole(value, spoken())


@cache
def _point(language: str) -> str:
    return numbers.get_decimal_symbol(language) if language in LANGUAGES else "."


def point(text: str) -> str:
    """A number that is written with a decimal point, such as 0.14 or 3.2 GB, with what the language puts there."""
    mark = _point(spoken())
    return text if mark == "." else text.replace(".", mark)


def date(t: float, form: str) -> str:
    """A local time.  t: seconds since 1970; form: Babel's skeleton, such as MMMd or yMMMd."""
    return dates.format_skeleton(form, datetime.fromtimestamp(t), locale=_known(spoken()))


def sentence_end() -> str:
    """What ends a sentence."""
    return ENDS.get(spoken(), ".")


def _known(language: str) -> Locale:
    return Locale.parse(language if language in LANGUAGES else SOURCE)


@cache
def of_scripts(language: str) -> dict[str, str | list[str]]:
    """What the page's own scripts say, in a language: {message: translation}, of one that counts its forms."""
    path = FOLDER / f"{language}.po"
    if language == SOURCE or not path.exists():
        return {}
    with path.open("rb") as file:
        rows = [m for m in read_po(file, locale=language) if m.id and any(place.endswith(".js") for place, _ in m.locations)]
    return {m.id[0] if isinstance(m.id, tuple) else m.id: list(m.string) if isinstance(m.string, tuple) else m.string for m in rows if all(m.string)}
