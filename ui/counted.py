"""What the engine counts in half sentences, such as '24 pictures added, 3 refused', in the language of the page; and lists of names.

The half sentences stand in records (the versions of a dataset, its journal), so they are found again by their English, which is what the page itself would say.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache, lru_cache, partial, reduce

from . import views
from .language import MARKS, N_, SOURCE, point, speaking, spoken, tr, trn
from .language.heard import heard, pattern

# the more special ones first: {source} stands for anything
COUNTED: tuple[Callable[..., str], ...] = (
    # what became of files that were added
    lambda n: trn("{n} picture added", "{n} pictures added", n),
    lambda n: trn("{n} clip added", "{n} clips added", n),
    lambda n: trn("{n} caption paired", "{n} captions paired", n),
    lambda n: trn("{n} mask paired", "{n} masks paired", n),
    lambda n: trn("{n} control picture paired", "{n} control pictures paired", n),
    lambda n: trn("{n} control picture made", "{n} control pictures made", n),
    lambda n: trn("{n} already there", "{n} already there", n),
    lambda n: trn("{n} refused", "{n} refused", n),
    lambda n: trn("{n} control picture left out", "{n} control pictures left out", n),
    lambda n: trn("{n} regularisation picture left out", "{n} regularisation pictures left out", n),
    lambda n: trn("{n} picture of earlier results left out", "{n} pictures of earlier results left out", n),
    lambda n: trn("{n} unused picture left out", "{n} unused pictures left out", n),
    lambda n: trn("{n} picture without a caption carries the prompt that it was drawn from", "{n} pictures without a caption carry the prompt that they were drawn from", n),
    lambda n: trn("{n} hidden system file left out", "{n} hidden system files left out", n),
    lambda n, endings="{endings}": trn("{n} file of other programs ({endings}) left out", "{n} files of other programs ({endings}) left out", n, endings=endings),
    lambda n, others="{others}", endings="{endings}": trn(
        "{n} hidden system file and {others} of other programs ({endings}) left out", "{n} hidden system files and {others} of other programs ({endings}) left out", n, others=others, endings=endings
    ),
    lambda n: trn("{n} file", "{n} files", n),
    # what a table or a folder's name brought
    lambda n, table="{table}": trn("{table}: {n} caption taken from it", "{table}: {n} captions taken from it", n, table=table),
    lambda n: trn("{n} picture keeps the caption that it has", "{n} pictures keep the caption that they have", n),
    lambda n: trn("{n} line of it speaks of no picture that is here", "{n} lines of it speak of no picture that is here", n),
    lambda n, into="{into}": trn("{n} archive not taken whole: kept in {into}", "{n} archives not taken whole: kept in {into}", n, into=into),
    lambda n, dataset="{dataset}": trn(
        "{n} regularisation picture came along: learnt with the others they would be taken for the thing itself, so they are the dataset “{dataset}” now, which the Train tab keeps as it is beside this one",
        "{n} regularisation pictures came along: learnt with the others they would be taken for the thing itself, so they are the dataset “{dataset}” now, which the Train tab keeps as it is beside this one",
        n, dataset=dataset,
    ),
    lambda n, folder="{folder}": trn("“{folder}”: {n} picture", "“{folder}”: {n} pictures", n, folder=folder),
    # what one version has that another has not
    lambda n: trn("{n} mask added", "{n} masks added", n),
    lambda n: trn("{n} control picture added", "{n} control pictures added", n),
    lambda n: trn("{n} picture removed", "{n} pictures removed", n),
    lambda n: trn("{n} mask removed", "{n} masks removed", n),
    lambda n: trn("{n} control picture removed", "{n} control pictures removed", n),
    lambda n: trn("{n} picture replaced", "{n} pictures replaced", n),
    lambda n: trn("{n} mask replaced", "{n} masks replaced", n),
    lambda n: trn("{n} control picture replaced", "{n} control pictures replaced", n),
    lambda n: trn("{n} caption changed", "{n} captions changed", n),
    lambda n: trn("{n} crop moved", "{n} crops moved", n),
    lambda n: trn("{n} picture turned, mirrored, trimmed or left out otherwise", "{n} pictures turned, mirrored, trimmed or left out otherwise", n),
    lambda n: trn("{n} picture turned, mirrored, trimmed or left out", "{n} pictures turned, mirrored, trimmed or left out", n),
    lambda n: trn("{n} picture counted otherwise", "{n} pictures counted otherwise", n),
    # what a step did
    lambda n: trn("{n} caption typed", "{n} captions typed", n),
    lambda n: trn("text replaced in {n} caption", "text replaced in {n} captions", n),
    lambda n: trn("text put in front of {n} caption", "text put in front of {n} captions", n),
    lambda n: trn("text put behind {n} caption", "text put behind {n} captions", n),
    lambda n: trn("tags changed in {n} caption", "tags changed in {n} captions", n),
    lambda n: trn("{n} caption read in another encoding", "{n} captions read in another encoding", n),
    lambda n: trn("{n} caption taken from the names of folders", "{n} captions taken from the names of folders", n),
    lambda n: trn("{n} caption taken from files", "{n} captions taken from files", n),
    lambda n: trn("{n} picture put back from the bin", "{n} pictures put back from the bin", n),
    lambda n: trn("removal of {n} picture", "removal of {n} pictures", n),
    lambda n: trn("removal of {n} control picture", "removal of {n} control pictures", n),
    lambda n: trn("{n} crop", "{n} crops", n),
    lambda n: trn("{n} picture left out", "{n} pictures left out", n),
    lambda n: trn("{n} picture taken back", "{n} pictures taken back", n),
    lambda n: trn("{n} picture mirrored", "{n} pictures mirrored", n),
    lambda n: trn("{n} picture turned", "{n} pictures turned", n),
    lambda n: trn("{n} clip trimmed", "{n} clips trimmed", n),
    lambda n: trn("{n} clip whole again", "{n} clips whole again", n),
    lambda n, source="{source}": trn("{n} caption by {source}", "{n} captions by {source}", n, source=source),
    lambda n, source="{source}": trn("{n} caption ({source})", "{n} captions ({source})", n, source=source),
    lambda n: trn("without {n} file that is gone", "without {n} files that are gone", n),
    # what would be undone, and what was
    lambda n: trn("Undo removal of {n} picture", "Undo removal of {n} pictures", n),
    lambda n: trn("Undo removal of {n} control picture", "Undo removal of {n} control pictures", n),
    lambda n: trn("Undo {n} control picture added", "Undo {n} control pictures added", n),
    lambda n: trn("Undo {n} crop", "Undo {n} crops", n),
    lambda n: trn("Undo {n} picture left out", "Undo {n} pictures left out", n),
    lambda n: trn("Undo {n} picture taken back", "Undo {n} pictures taken back", n),
    lambda n: trn("Undo {n} picture mirrored", "Undo {n} pictures mirrored", n),
    lambda n: trn("Undo {n} picture turned", "Undo {n} pictures turned", n),
    lambda n: trn("Undo {n} clip trimmed", "Undo {n} clips trimmed", n),
    lambda n: trn("Undo {n} clip whole again", "Undo {n} clips whole again", n),
    lambda n, source="{source}": trn("Undo {n} caption ({source})", "Undo {n} captions ({source})", n, source=source),
    lambda n: trn("{n} picture put back", "{n} pictures put back", n),
    lambda n: trn("{n} control picture put back", "{n} control pictures put back", n),
    lambda n: trn("{n} control picture taken away again", "{n} control pictures taken away again", n),
    lambda n: trn("{n} crop put back", "{n} crops put back", n),
    lambda n: trn("{n} picture as before", "{n} pictures as before", n),
    lambda n: trn("{n} caption put back", "{n} captions put back", n),
    lambda n: trn("{n} caption left alone, because changed since", "{n} captions left alone, because changed since", n),
    lambda n: trn("{n} file that came since kept", "{n} files that came since kept", n),
    lambda n: trn("{n} file that came since now in the bin", "{n} files that came since now in the bin", n),
    lambda n, names="{names}": trn("without {n} file that is gone for good ({names})", "without {n} files that are gone for good ({names})", n, names=names),
    # a dataset of the Hub
    lambda n, size="{size}": trn("{n} picture, {size} to download", "{n} pictures, {size} to download", n, size=size),
    lambda n, size="{size}": trn("{n} archive of pictures, {size} to download", "{n} archives of pictures, {size} to download", n, size=size),
    lambda n, size="{size}": trn("{n} Parquet file, which may hold pictures, {size} to download", "{n} Parquet files, which may hold pictures, {size} to download", n, size=size),
    lambda n: trn("of each, at most {n} picture is taken", "of each, at most {n} pictures are taken", n),
    lambda n, size="{size}": trn("of each, at most {size} and {n} file are taken", "of each, at most {size} and {n} files are taken", n, size=size),
    lambda n: trn("{n} other file stays there", "{n} other files stay there", n),
)
NAMED = (
    N_("version {version} brought back"), N_("version {version} taken away again"), N_("Undo version {version} brought back"), N_("undone: {what}"), N_("cut off"), N_("an import"),
    N_("control pictures"), N_("captions by {source}"), N_("as it was found"), N_("changed in its folder"), N_("changed"), N_("captions and settings only"),
    N_("lines of captions read otherwise"), N_("another dataset kept as it is beside it"), N_("nothing was left to put back"),
    N_("Undo {what}"), N_("{table}: it holds no captions"), N_("“{folder}”: its folder {path} did not come along"), N_("its licence is {licence}"), N_("it names no licence"), N_("private"), N_("the pictures could not be added: {why}"),
)  # fmt: skip
SOURCES = (N_("typed"), N_("replaced"), N_("prefix"), N_("suffix"), N_("tags"), N_("read again"), N_("its prompt"), N_("folder"), N_("file"))  # of captions; else a captioner's id
LISTS = ("names", "endings", "what", "why")  # values that may hold the mark between pieces


def said(text: str, mark: str = ", ") -> str:
    """A text of such pieces, with `mark` between them; what is not known is heard as any other sentence of the engine."""
    language = spoken()
    return text if language == SOURCE or not text else _said(text, mark, language)


@lru_cache(maxsize=4096)
def _said(text: str, mark: str, language: str) -> str:
    parts, made, unknown = text.split(mark), [], []
    while parts:
        for length in range(len(parts), 0, -1):  # a piece may hold the mark itself
            if (known := _one(mark.join(parts[:length]), mark)) is not None:
                break
        if known is None:
            unknown.append(parts.pop(0))
        else:
            made += [heard(mark.join(unknown))] * bool(unknown) + [known]
            parts, unknown = parts[length:], []
    made += [heard(mark.join(unknown))] * bool(unknown)
    return MARKS.get((language, mark), mark).join(made)


def undo(what: str) -> str:
    """What the button says that takes a step back.  what: the step, as the dataset calls it; "" for none."""
    return said(N_("Undo {what}").format(what=what)) if what else tr("Undo")


def undone(what: str) -> str:
    """A sentence on the step that was taken back.  what: as the dataset tells of it; "" for none."""
    return views.sentence(said(what)) if what else tr("There is nothing to undo.")


def _one(text: str, mark: str) -> str | None:
    """One piece; None where it is not known, or several that look like one."""
    for form in (text, text[:1].lower() + text[1:]):
        for expression, say in _forms():
            if not (found := expression.fullmatch(form)):
                continue
            values = found.groupdict()
            number = values.pop("n", "1").replace(",", "")
            if any(mark in value for name, value in values.items() if name not in LISTS):
                continue
            told = {name: _value(name, value) for name, value in values.items()}
            made = say(int(number), **told) if "n" in found.groupdict() else say(**told)
            return made[:1].upper() + made[1:] if text[:1].isupper() else made
    return None


def _value(name: str, value: str) -> str:
    if name in ("what", "why", "others"):
        return said(value)
    if name == "source":
        return tr(value) if value in SOURCES else value
    if name == "names" and (cut := re.fullmatch(r"(.+) and (\d+) more", value, re.DOTALL)):
        return _and_more(cut[1], int(cut[2]))
    return point(value) if name == "size" else value


@cache
def _forms() -> tuple[tuple, ...]:
    """(what finds one of them again, what says it), in English whoever looks."""
    with speaking(SOURCE):
        pairs: list[tuple[str, Callable[..., str]]] = [(say(n).replace(str(n), "{n}", 1), say) for say in COUNTED for n in (1, 2)]
    pairs += [(message, partial(tr, message)) for message in NAMED]
    return tuple((re.compile(pattern(message).expression.pattern.replace("(?P<n>.+?)", r"(?P<n>\d[\d,]*)").replace("(?P<source>.+?)", "(?P<source>.*?)"), re.DOTALL), say) for message, say in pairs)


def joined(parts: Sequence[str], mark: str = ", ") -> str:
    """The parts behind each other, with the mark that the language has between them."""
    return MARKS.get((spoken(), mark), mark).join(parts)


def names(every: Sequence[str], most: int) -> str:
    """The first of these names, and how many more there are."""
    shown, rest = joined(every[:most]), len(every) - most
    return _and_more(shown, rest) if rest > 0 else shown


def _and_more(shown: str, rest: int) -> str:
    return trn("{names} and {n} more", "{names} and {n} more", rest, names=shown)


def together(every: Sequence[str]) -> str:
    """a, b and c; at least one."""
    *first, last = every
    return tr("{names} and {last}", names=MARKS.get((spoken(), ", "), ", ").join(first), last=last) if first else last


def either(every: Sequence[str]) -> str:
    """a or b or c; at least one."""
    return reduce(lambda one, other: tr("{one} or {other}", one=one, other=other), every)


def programs(title: str) -> str:
    """The programs that read a file.  title: of its Offer (training/formats/deliver.py), as English lists them."""
    return together([tr(name) for name in re.split(r", | and ", title)])


def more(n: int) -> str:
    """Behind a list that does not show all."""
    return trn("and {n} more", "and {n} more", n)


def pictures(n: int) -> str:
    """1 picture, 1,200 pictures."""
    return trn("{n} picture", "{n} pictures", n)
