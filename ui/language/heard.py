"""What the engine, a record or a library said, in the language of the page.

The engine speaks English: its sentences stand in records, go to other machines, and are told apart by their words (training/errors.py).  They are
put into another language where they are shown: by the sentence itself, or by the pattern that an f-string of the code is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from functools import cache, lru_cache

from training.clock import DAYS, MONTHS

from . import FOLDER, MARKS, NN_, QUOTES, SOURCE, catalogue, date, point, sentence_end, speaking, spoken, tr, trn, whole

NAME = re.compile(r"\{(\w+)\}")
LIST = FOLDER / "engine.txt"  # the engine's messages, one a line, \n for a line's end; written by extract.py
NUMBER = re.compile(r"(\d{1,3}(?:,\d{3})+)|\d+\.\d+ (?:%|[kMG]B|s|min|h)")  # 1,200 or 7.3 %; what has no unit may be a version, or as it was typed
PART = re.compile(r"((?<=[.!?…])\s+|\s*\n\s*)(?=\S)")  # with what stands between
KEYED = re.compile(r"([\w.-]+: )(?=\S)")  # the setting that a sentence is about, in front of it
DEEPEST = 3
MOST = 600  # letters of a sentence that is looked for: a pattern of several values takes long on a long text that it does not fit
GLUED = 2  # values without a word between them: of so many nobody can tell where one ends
FEW = 12  # letters of a pattern that begins with what is filled in; one that has fewer takes only a number there, such as {gb} free
MEASURE = r"\d[\d.,]*(?: [kMGT]B)?"
DAY = re.compile(r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun) (\d{1,2}) (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)(?: (\d{2}:\d{2}))?")  # of training/clock.py
BETWEEN = re.compile(r"(“[^”]*”|‘[^’]*’|(?<!\w)'[^']*'|(?<!\w)\"[^\"]*\")|(, | and )")  # names in quotes, or what stands between the names of a list
MORE = re.compile(r"(.+?)(?: and (\d[\d,]*) more|, …)", re.DOTALL)  # behind a list that does not show all
PROGRAMS = ("ComfyUI", "AUTOMATIC1111", "diffusers", "peft")  # called so in every language
OPENING, CLOSING = "‘'\"“«", "’'\"”»"
EASTERN = re.compile("[\u3040-\u30ff\u4e00-\u9fff“”「」]")
FULL = ("。", "！", "？")
COUNTED = re.compile(r"(\d[\d,.]*) ([a-z -]+?)(s?)")  # 1 picture, 1,200 pictures
COUNTS = {  # what the engine counts; each is a message of its own
    "picture": NN_("{n} picture", "{n} pictures"),
    "caption": NN_("{n} caption", "{n} captions"),
    "step": NN_("{n} step", "{n} steps"),
    "file": NN_("{n} file", "{n} files"),
    "crop": NN_("{n} crop", "{n} crops"),
    "clip": NN_("{n} clip", "{n} clips"),
    "setting": NN_("{n} setting", "{n} settings"),
    "run": NN_("{n} run", "{n} runs"),
    "epoch": NN_("{n} epoch", "{n} epochs"),
    "word": NN_("{n} word", "{n} words"),
    "prompt": NN_("{n} prompt", "{n} prompts"),
    "layer": NN_("{n} layer", "{n} layers"),
    "folder": NN_("{n} folder", "{n} folders"),
    "block": NN_("{n} block", "{n} blocks"),
    "mask": NN_("{n} mask", "{n} masks"),
    "line": NN_("{n} line", "{n} lines"),
    "archive": NN_("{n} archive", "{n} archives"),
    "thing": NN_("{n} thing", "{n} things"),
    "control picture": NN_("{n} control picture", "{n} control pictures"),
    "pose picture": NN_("{n} pose picture", "{n} pose pictures"),
    "regularisation picture": NN_("{n} regularisation picture", "{n} regularisation pictures"),
    "hidden system file": NN_("{n} hidden system file", "{n} hidden system files"),
    "earlier picture": NN_("{n} earlier picture", "{n} earlier pictures"),
    "more prompt": NN_("{n} more prompt", "{n} more prompts"),
}


def heard(text: str, language: str = "") -> str:
    """The text in the language that is spoken; what is not known, or only in part, stays as it is there."""
    language = language or spoken()
    return text if language == SOURCE or not text.strip() else _heard(text, language, 0)


@lru_cache(maxsize=4096)
def _heard(text: str, language: str, depth: int) -> str:
    if (whole := _exact(text, language)) is not None:
        return whole
    parts, between = PART.split(text)[::2], PART.split(text)[1::2]  # first the sentences by themselves: a pattern that ends in a value would take those behind it for the value
    known = [_one(part, language, depth) for part in parts] if len(parts) > 1 else [None]
    if not all(known) and (whole := _one(text, language, depth)) is not None:
        return whole
    if not any(known):
        return text
    shown = [part if said is None else said for part, said in zip(parts, known, strict=True)]
    return "".join(one + ("" if one.endswith(FULL) and space == " " else space) for one, space in zip(shown, [*between, ""], strict=True))


def _one(text: str, language: str, depth: int) -> str | None:
    """One sentence; None where it is not known.  Ours are put into records with a large letter in front and a full stop behind."""
    bare = text.removesuffix(".")
    for form, ended in ((text, False), (bare, True), (bare[:1].lower() + bare[1:], True), (bare[:1].upper() + bare[1:], True), (bare + ".", False), (bare[:1].upper() + bare[1:] + ".", False)):
        said = _exact(form, language)
        if said is None and " " in form:
            said = _by_pattern(form, language, depth)
        if said is not None:
            if bare[:1].isupper():
                said = said[:1].upper() + said[1:]
            return said + sentence_end() if ended and text.endswith(".") and not said.endswith((".", "。", "!", "?", "…")) else said
    key = KEYED.match(text)
    rest = _one(text[key.end() :], language, depth) if key else None
    return key[0] + rest if key and rest is not None else None


def _exact(text: str, language: str) -> str | None:
    if not text:
        return None  # gettext has the file's own head there
    if (match := COUNTED.fullmatch(text)) and match[2] in COUNTS:
        with speaking(language):
            return trn(*COUNTS[match[2]], 2, n=point(match[1])) if "." in match[1] else trn(*COUNTS[match[2]], int(match[1].replace(",", "")))
    said = catalogue(language).gettext(text)
    return said if said != text else None


@dataclass(frozen=True)
class Pattern:
    """A message with {names}.  longest: its longest piece, which a text must have; quoted: the names that stand in quotes, which are somebody's own words."""

    message: str
    quoted: frozenset[str]
    longest: str
    weight: int
    expression: re.Pattern


@cache
def patterns() -> tuple[Pattern, ...]:
    """The engine's messages that have something filled in, those first that say most themselves."""
    found = [pattern(line.replace("\\n", "\n")) for line in LIST.read_text(encoding="utf-8").splitlines() if NAME.search(line) and line.count("}{") < GLUED]
    return tuple(sorted(found, key=lambda p: -p.weight))


def pattern(message: str) -> Pattern:
    """What finds a message again in which something was filled in."""
    pieces = NAME.split(message)
    fixed = pieces[::2]
    few = not fixed[0] and sum(map(len, fixed)) < FEW
    filled = lambda name: r"'.*?'|\".*?\"" if name.startswith("quoted") else MEASURE if few else ".+?"
    expression = "".join(re.escape(piece) if at % 2 == 0 else f"(?P<{piece}>{filled(piece)})" for at, piece in enumerate(pieces))
    quoted = frozenset(name for before, name, after in zip(fixed, pieces[1::2], fixed[1:], strict=False) if before[-1:] in OPENING and after[:1] in CLOSING and before and after)
    quoted |= {name for name in pieces[1::2] if name.startswith("quoted")}
    return Pattern(message, quoted, max(fixed, key=len), sum(map(len, fixed)), re.compile(expression, re.DOTALL))


def _by_pattern(text: str, language: str, depth: int) -> str | None:
    if len(text) > MOST:
        return None
    for one in patterns():
        if one.longest in text and (match := one.expression.fullmatch(text)):
            said = catalogue(language).gettext(one.message)
            if said == one.message:
                continue
            values = match.groupdict()
            if depth < DEEPEST:
                values = {name: value if name in one.quoted else _filled_in(value, language, depth + 1) for name, value in values.items()}
            return said.format_map(values)
    return None


def _filled_in(text: str, language: str, depth: int) -> str:
    """What a sentence says in a place that is filled in."""
    return _number(text, language) or _day(text, language) or _exact(text, language) or _list(text, language, depth) or _heard(text, language, depth)


def _list(text: str, language: str, depth: int) -> str:
    """a, b and c, or a, b and 3 more, where all that stands in no quotes is known; "" for anything else.  Names that somebody gave stay as they are."""
    more = MORE.fullmatch(text)
    shown, rest = (more[1], more[2] or "") if more else (text, "")
    said = _listed(shown, language, depth)
    if not said and not rest:
        return ""
    said = said or shown
    with speaking(language):
        return trn("{names} and {n} more", "{names} and {n} more", int(rest.replace(",", "")), names=said) if rest else said + ", …" * bool(more)


def _listed(text: str, language: str, depth: int) -> str:
    rows: list[list[str]] = [[]]  # what “and” stands between, and commas between those
    at = 0
    for match in BETWEEN.finditer(text):
        if match[2]:
            rows[-1].append(text[at : match.start()])
            at = match.end()
            if match[2] == ", ":
                rows.append([])
    rows[-1].append(text[at:])
    if rows == [[text]] and not text.startswith("“"):
        return ""
    if any(len(row) > 2 for row in rows):
        return ""
    said = [[_name(name, language, depth) for name in row] for row in rows]
    if not all(name for row in said for name in row):
        return ""
    with speaking(language):
        return MARKS.get((language, ", "), ", ").join(row[0] if len(row) == 1 else _and(row[0], row[1]) for row in said)  # type: ignore[misc, arg-type]


def _and(one: str, other: str) -> str:
    said = tr("{names} and {last}", names="\0", last="\1")
    if EASTERN.match(one[-1:]) and EASTERN.match(other[:1]):
        said = said.replace(" ", "")  # which Chinese has around what is Latin
    return said.replace("\0", one).replace("\1", other)


def _name(text: str, language: str, depth: int) -> str | None:
    """One of a list; None where it is not known."""
    if text[:1] in OPENING and (match := BETWEEN.fullmatch(text)) and match[1]:
        opening, closing = QUOTES.get(language, ("“", "”"))
        return f"{opening}{text[1:-1]}{closing}" if text.startswith("“") else text
    if text in PROGRAMS:
        return text
    return _number(text, language) or _exact(text, language) or (_by_pattern(text, language, depth) if " " in text else None)


def _day(text: str, language: str) -> str:
    """A day as the engine says it, such as Mon 30 Nov 02:15; "" for what is none."""
    if not (match := DAY.fullmatch(text)):
        return ""
    this = datetime.now().year
    for year in (this, this + 1, this - 1):
        try:
            then = datetime.strptime(f"{match[2]} {MONTHS.index(match[3]) + 1} {year}", "%d %m %Y")
        except ValueError:
            continue  # 29 Feb
        if DAYS[then.weekday()] == match[1]:
            with speaking(language):
                day = date(then.timestamp(), "MMMEd")
                return tr("{day} {time}", day=day, time=match[4]) if match[4] else day
    return ""


def _number(text: str, language: str) -> str:
    """A number that was filled in, as the language writes it; "" for what is none."""
    if not (match := NUMBER.fullmatch(text)):
        return ""
    with speaking(language):
        return whole(int(text.replace(",", ""))) if match[1] else point(text)
