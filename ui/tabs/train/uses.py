"""Several datasets in the Train form: what was typed of each, what it means, and how it looks.

The first one is the choice above, `own` says more of it; `more` are those that were added.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from training.config import NO_WORD, DatasetUse
from training.data import datasets, parts
from training.home import Home
from training.jobfile import problems

from ... import forms
from ...icons import icon
from ...language import N_, point, tr, trc, trn
from ...words import in_words

OWN = "own"  # key of the first one
PLACE = "use"  # what the paths of these fields begin with: use.own.repeats
MOST = 64


class Use(BaseModel):
    """One dataset as it was typed; what is "" is as usual.  key: by which the page knows it, whatever its place."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    key: str = OWN
    name: str = ""
    part: str = ""
    repeats: str = ""
    weight: str = ""
    prior: str = ""
    trigger: str = ""
    resolutions: str = ""
    frames: str = ""
    fps: str = ""

    def edited(self, field: str, text: str) -> Use:
        """After one of its fields was left; another dataset has other folders."""
        if field not in Use.model_fields or field == "key":
            return self
        text = text if field == "part" else text.strip()  # a folder's name may end in a blank
        return self.model_copy(update={field: text[:1000]} | ({"part": ""} if field == "name" else {}))

    @property
    def said(self) -> dict[str, str]:
        """What was typed, but for its name."""
        return {name: text for name in ("part", "repeats", "weight", "prior", "trigger", "resolutions", "frames", "fps") if (text := getattr(self, name))}


def new(**said: str) -> Use:
    """One more, with a key of its own."""
    return Use(key=secrets.token_hex(3), **said)


def of_row(row: DatasetUse, key: str = "") -> Use:
    """A row of a job as it would have been typed."""
    known = {f.path: f for f in forms.fields(DatasetUse)}
    said = {path: forms.typed(known[path], value) for path, value in row if value != DatasetUse.model_fields[path].default}
    return Use(key=key or secrets.token_hex(3), **said)


def changed(own: Use, more: Sequence[Use], path: str, text: str) -> tuple[Use, tuple[Use, ...]]:
    """Both after the field of a path such as use.own.repeats was left; one that is gone changes nothing."""
    _, key, field = path.split(".", 2)
    return own.edited(field, text) if key == OWN else own, tuple(use.edited(field, text) if use.key == key else use for use in more)


def rows(home: Home, own: Use, more: Sequence[Use], dataset: str) -> tuple[tuple[dict[str, Any], ...], dict[str, str]]:
    """(rows of data.datasets, {path of a field: what is wrong with it}); no rows where the name of the one says all."""
    if not dataset or not (own.said or more):
        return (), {}
    made, wrong = [], {}
    for use in (own.model_copy(update={"name": dataset}), *more):
        row, faults = _row(home, use)
        made.append(row)
        wrong |= {f"{PLACE}.{use.key}.{field}": text for field, text in faults.items()}
    return ((), wrong) if wrong else (tuple(made), {})


def _row(home: Home, use: Use) -> tuple[dict[str, Any], dict[str, str]]:
    """(what was typed as values, {field: what is wrong with it})."""
    if not use.name:
        return {}, {"name": tr("choose a dataset, or take this row out")}
    said = {k: v for k, v in use.said.items() if not (use.prior == "on" and k == "trigger")}
    values, wrong = forms.parsed(DatasetUse, {"name": use.name, **said})
    try:
        DatasetUse.model_validate({"name": use.name} | values)
    except ValidationError as error:
        wrong = forms.beside(DatasetUse, problems(DatasetUse, error)) | wrong
    if "part" not in wrong:
        wrong |= _nothing_there(home, use)
    return values, wrong


def _nothing_there(home: Home, use: Use) -> dict[str, str]:
    """{field: why there are no pictures}; {} where there are some."""
    try:
        datasets.resolve(home, use.name)
    except (ValueError, OSError) as error:
        return {"name": str(error)}
    try:
        found = parts.taken(home, DatasetUse(name=use.name, part=use.part)).count()
    except (ValueError, OSError) as error:
        return {"part": str(error)}
    return {} if found else {"name": tr("it has no pictures that can be trained on; choose another one")}


@dataclass(frozen=True)
class Shown:
    """What the page shows of one dataset.  parts: {sub-folder: pictures}, where it has some to choose; count: pictures that are taken.

    whole: what taking no part means, in English; total: pictures of that.
    """

    use: Use
    title: str
    parts: Mapping[str, int]
    count: int
    whole: str = N_("All of its folders")
    total: int = 0


def shown(home: Home, own: Use, more: Sequence[Use], dataset: str) -> list[Shown]:
    """All of them in their order; [] where no dataset is chosen."""
    if not dataset:
        return []
    return [_shown(home, use) for use in (own.model_copy(update={"name": dataset}), *more)]


def _shown(home: Home, use: Use) -> Shown:
    if not use.name:
        return Shown(use, "", {}, 0)
    try:
        ds = datasets.resolve(home, use.name)
        found, total = parts.counts(ds), parts.taken(home, DatasetUse(name=use.name)).count()
        count = parts.taken(home, DatasetUse(name=use.name, part=use.part)).count() if use.part else total
    except (ValueError, OSError):
        return Shown(use, use.name, {}, 0)
    if ds.in_place:
        return Shown(use, ds.title, found, count, N_("The folder itself"), total)
    return Shown(use, ds.title, found if any(n < total for n in found.values()) else {}, count, total=total)


def split(found: Mapping[str, int], total: int) -> tuple[str, ...]:
    """The sub-folders that together are all `total` pictures: those that lie in no other; () where some pictures lie in none, or there is only one."""
    top = tuple(part for part in found if "/" not in part)
    return top if 1 < len(top) <= MOST and sum(found[part] for part in top) == total else ()


# -- the page


def folder_choice(first: Shown | None, alone: bool, wrong: Mapping[str, str]) -> str:
    """Which of the folders of the first dataset; "" where it has only one.  alone: no other dataset was added."""
    if first is None or not (first.parts or first.use.part):
        return ""
    path = f"{PLACE}.{OWN}.part"
    apart = f'<button type="button" class="ez-link" data-act="split-uses" data-collect>{escape(tr("Set each folder by itself"))}</button>' if alone and not first.use.part and split(first.parts, first.total) else ""
    return f'<div class="ez-use-folders"><label for="train-{path}">{escape(tr("Folders"))}</label>{_folders(path, first, wrong)}{apart}{_fault(path, wrong)}</div>'


def add_button() -> str:
    """What adds a row."""
    return f'<button type="button" class="ez-link ez-use-add" data-act="add-use" data-collect>{icon("plus")}{escape(tr("Add another dataset"))}</button>'


def block(found: Sequence[Shown], others: Sequence[tuple[str, str]], usual: Mapping[str, str], wrong: Mapping[str, str]) -> str:
    """A row for each dataset; "" while there is one of which nothing else was said.

    others: (name, title) of the datasets that there are.  usual: what an empty field means: trigger, resolutions; frames and fps where clips are learnt.
    """
    if not found or not (len(found) > 1 or set(found[0].use.said) - {"part"}):
        return ""
    made = "".join(_block(one, others, usual, wrong, first=at == 0) for at, one in enumerate(found))
    return (
        f'<div class="ez-uses"><div class="ez-uses-top"><h3>{escape(tr("The datasets of this run"))}</h3>'
        f'<p class="ez-help">{escape(tr("All are learnt together. Leave a field empty where the usual is right."))}</p></div>'
        f"{made}{add_button()}</div>"
    )


def _block(one: Shown, others: Sequence[tuple[str, str]], usual: Mapping[str, str], wrong: Mapping[str, str], first: bool) -> str:
    use, at = one.use, f"{PLACE}.{one.use.key}"
    kept = use.prior == "on"
    if first:
        head = f'<div class="ez-use-name"><b>{escape(one.title + (f" / {use.part}" if use.part else ""))}</b></div>'
    else:
        named = [*others, *([(use.name, use.name)] if use.name and use.name not in dict(others) else [])]
        options = "".join(f'<option value="{escape(n)}"{" selected" if n == use.name else ""}>{escape(t)}</option>' for n, t in [("", tr("Choose …")), *named])
        head = f'<div class="ez-use-name"><select class="ez-input" aria-label="{escape(tr("Dataset"))}" {_common(f"{at}.name", use.name, wrong)}>{options}</select>'
        head += (_folders(f"{at}.part", one, wrong) if one.parts or use.part else "") + "</div>"
    count = f'<span class="ez-muted ez-small">{escape(trn("{n} picture", "{n} pictures", one.count))}</span>' if use.name else ""
    take_out = escape(tr("Take {dataset} out", dataset=one.title) if one.title else tr("Take this row out"))
    why = escape(tr("Take it out of this run; the dataset stays"))
    out = "" if first else f'<button type="button" class="ez-link ez-use-out" data-act="drop-use" data-id="{escape(use.key)}" data-collect aria-label="{take_out}" title="{why}">{icon("close")}</button>'
    word = tr("Calls up what these pictures show; empty for none")
    if usual["trigger"]:
        word = tr("Calls up what these pictures show; empty: {word}, {sign} for none", word=usual["trigger"], sign=NO_WORD)
    fields = [
        _as_above(usual["trigger"]) if first else "" if kept else _small(at, use, "trigger", tr("Trigger word"), usual["trigger"] or trc("trigger word", "none"), word, wrong, first),
        _small(at, use, "repeats", tr("Repeats"), "1", tr("How often each picture is seen, compared to the others."), wrong, first, "decimal"),
        _small(at, use, "weight", tr("Weight"), "1", tr("How much it counts: 0.5 is half, 2 is double."), wrong, first, "decimal"),
        _small(at, use, "resolutions", tr("Resolution"), usual["resolutions"], tr("Side in px of a square picture; several with commas."), wrong, first, "decimal"),
        *([
            _small(at, use, "frames", tr("Frames"), usual["frames"], tr("Of a training clip out of these clips; 1 leaves them out."), wrong, first, "decimal"),
            _small(at, use, "fps", tr("Frames a second"), usual["fps"], tr("At which these clips are learnt."), wrong, first, "decimal"),
        ] if usual["frames"] or use.frames or use.fps else []),
    ]  # fmt: skip
    keep = "" if first else (
        f'<label class="ez-use-keep"><input type="checkbox" role="switch" class="ez-switch" {_common(f"{at}.prior", "on" if kept else "", wrong)}{" checked" if kept else ""}>'
        f"<span><b>{escape(tr('Keep as it is'))}</b> {escape(tr('What the base model knows and must not lose: these pictures get no trigger word.'))}</span></label>"
    )  # fmt: skip
    faults = _fault(f"{at}.name", wrong) + _fault(f"{at}.part", wrong)
    return f'<div class="ez-use"><div class="ez-use-head">{head}{count}{out}</div>{faults}<div class="ez-use-fields">{"".join(fields)}</div>{keep}</div>'


def _folders(path: str, one: Shown, wrong: Mapping[str, str]) -> str:
    known = {**one.parts, **({one.use.part: 0} if one.use.part and one.use.part not in one.parts else {})}
    indented = lambda part: "\N{NO-BREAK SPACE}" * 3 * part.count("/") + part.rpartition("/")[2]
    options = "".join(f'<option value="{escape(p)}"{" selected" if p == one.use.part else ""}>{escape(indented(p))} ({n})</option>' for p, n in known.items())
    return f'<select class="ez-input" aria-label="{escape(tr("Folder"))}" {_common(path, one.use.part, wrong)}><option value="">{escape(tr(one.whole))}</option>{options}</select>'


def _as_above(trigger: str) -> str:
    return (
        f'<div class="ez-use-field"><span class="ez-use-label">{escape(tr("Trigger word"))}</span><p class="ez-use-said{"" if trigger else " ez-muted"}">{escape(trigger or trc("trigger word", "none"))}</p>'
        f'<p class="ez-help">{escape(tr("As above; the others may have their own."))}</p></div>'
    )


def _small(at: str, use: Use, field: str, word: str, usual: str, help: str, wrong: Mapping[str, str], told: bool, mode: str = "text") -> str:
    """One field of a row.  told: its help is in plain sight, as in the first row; in the others it is there for the pointer and for screen readers."""
    path, value = f"{at}.{field}", getattr(use, field)
    return (
        f'<div class="ez-use-field"><label for="train-{path}">{escape(word)}</label><input type="text" class="ez-input" inputmode="{mode}" value="{escape(value)}" '
        f'placeholder="{escape(usual)}" title="{escape(help)}" autocomplete="off" spellcheck="false" maxlength="100" {_common(path, value, wrong)}>'
        f"{_fault(path, wrong)}" + (f'<p class="ez-help">{escape(help)}</p>' if told else "") + "</div>"
    )


def _common(path: str, value: str, wrong: Mapping[str, str]) -> str:
    bad = f' aria-invalid="true" aria-describedby="train-{path}-fault"' if path in wrong else ""
    return f'id="train-{path}" data-path="{path}" data-value="{escape(value)}"{bad}'


def _fault(path: str, wrong: Mapping[str, str]) -> str:
    return f'<p class="ez-error" id="train-{path}-fault" role="alert">{escape(in_words(wrong[path]))}</p>' if path in wrong else ""


def summary(found: Sequence[tuple[str, int, DatasetUse]]) -> str:
    """The datasets of a run in the plan, a line each.  found: (title, pictures, use)."""
    return "".join(f"<li><span>{escape(title)}</span> {escape(_told(count, use))}</li>" for title, count, use in found)


def _told(count: int, use: DatasetUse) -> str:
    said = [trn("{n} picture", "{n} pictures", count) + (f" × {use.repeats}" if use.repeats > 1 else "")]
    said += [tr("at {sides} px", sides=", ".join(map(str, use.resolutions)))] if use.resolutions else []
    said += [trn("{n} frame", "{n} frames", use.frames)] if use.frames else []
    said += [tr("{rate} frames a second", rate=point(f"{use.fps:g}"))] if use.fps else []
    said += [tr("weight {weight}", weight=point(f"{use.weight:g}"))] if use.weight != 1 else []
    said += [tr("kept as it is")] if use.prior else [tr("“{word}”", word=use.trigger)] if use.trigger not in ("", NO_WORD) else []
    return ", ".join(said)


def pieces_of_epoch(found: Sequence[tuple[int, int]]) -> str:
    """'12 pictures', '12 pictures × 3 + 20': what an epoch is made of.  found: (pictures, how often each is seen) of each dataset."""
    first, *others = found
    times: Callable[[int], str] = lambda n: f" × {n}" if n > 1 else ""
    return trn("{n} picture", "{n} pictures", first[0]) + times(first[1]) + "".join(f" + {count}{times(n)}" for count, n in others)
