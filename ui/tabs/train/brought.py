"""Settings brought from another trainer: into the draft, with a note of what was taken over and what was not, and the way back."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from training import registry
from training.config import DatasetUse, TrainConfig
from training.home import Home
from training.plan import draught, translating
from training.plan.translating import Imported

from ... import forms
from ...language import N_, tr, trn
from ...language.heard import heard
from ...words import in_words, plain
from .draft import Draft

NOTE = "train-brought"  # name of the note among the drafts on disk
TOP = {"name": N_("Name"), "trigger": N_("Trigger word"), "epochs": N_("Epochs")}
MOST = 400  # lines of a list in the note


class Brought(BaseModel):
    """The note: what the newest file came to, in English, as it is shown to whoever looks.  before: the form as it was; rows: of the datasets that are on this computer, as the form writes them."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    file: str = ""
    program: str = ""
    fault: str = ""
    base: str = ""  # title of its base model, "" where Easel has none like it
    taken: list[tuple[str, str, str]] = []  # key and value there, setting and value here, "its default" or ""
    without: list[tuple[str, str]] = []  # key and value there, why
    unknown: list[tuple[str, str]] = []
    idle: list[tuple[str, str]] = []
    secrets: list[str] = []
    folders: list[str] = []
    rows: str = ""
    before: Draft | None = None


def take(file: Path, form: Draft, home: Home, local: bool) -> tuple[Draft, Brought]:
    """(the form with the settings of a file, the note about it).  What went wrong is in the note, and the form is as it was."""
    try:
        made = translating.read(file, home.plugins, local)
    except (ValueError, OSError) as error:
        return form, Brought(file=file.name, fault=str(error))
    rows = [DatasetUse(**row) for row in draught.folders(made, home, local)]
    known = {f.path: f for f in forms.fields(TrainConfig)}
    family = str(made.settings.get("model.family", ""))
    title = registry.get("families", family, home.plugins).SPEC.called(str(made.settings["model.source"])) if made.preset else ""
    note = Brought(
        file=file.name, program=made.program, base=title, before=form, secrets=list(made.secrets),
        taken=[(f"{t.key} = {t.value}", f"{_label(t.path)}: {_typed(known, t.path, t.ours)}", N_("its default") if t.presumed else "") for t in made.taken],
        without=[(f"{w.key} = {w.value}", w.why) for w in made.without], unknown=[(f"{u.key} = {u.value}", u.why) for u in made.unknown],
        idle=[(f"{i.key} = {i.value}", i.why) for i in made.idle],
        folders=[d.said for d in made.datasets],
        rows=forms.typed(known["data.datasets"], rows) if any(not row.prior for row in rows) else "",
    )  # fmt: skip
    return filled(form, made), note


def filled(form: Draft, made: Imported) -> Draft:
    """A form with these settings alone; what it learns from, on which card and how thoroughly stays as it was."""
    known = {f.path: f for f in forms.fields(TrainConfig)}
    new = Draft(prior=form.prior, gpu=form.gpu, quality=form.quality, preset=made.preset or form.preset, trigger=form.trigger, name=form.name, own=form.own, more=form.more)
    for path, value in made.settings.items():
        new = new.edited(path, _typed(known, path, value))
    return new


def _typed(known, path: str, value) -> str:
    if path in TOP:
        return forms.spell(value) if isinstance(value, int | float) else str(value)
    return forms.typed(known[path], value)


def _label(path: str) -> str:
    return TOP.get(path) or forms.label_of(path)


def html(note: Brought) -> str:
    """The note; "" where nothing was brought."""
    if not note.file:
        return ""
    close = f'<button type="button" class="ez-link" data-act="brought-close">{escape(tr("Close"))}</button>'
    if note.fault:
        return f'<div class="ez-note ez-bad ez-brought" role="alert"><p>{escape(in_words(note.fault))}</p><p>{close}</p></div>'
    lists = (
        (tr("Without an equal here, and why"), "brought-without", [(a, plain(b)) for a, b in note.without], bool(note.without)),
        (tr("Not known"), "brought-unknown", [(a, plain(b)) for a, b in note.unknown], bool(note.unknown)),
        (tr("Taken over"), "brought-taken", [(a + (f" ({tr(c)})" if c else ""), _setting(b)) for a, b, c in note.taken], False),
        (tr("Off there, or no difference here"), "brought-idle", [(a, plain(b)) for a, b in note.idle], False),
    )
    said = [trn(
        "{n} setting taken over, {without} without an equal here, {unknown} not known", "{n} settings taken over, {without} without an equal here, {unknown} not known",
        len(note.taken), without=len(note.without), unknown=len(note.unknown),
    )]  # fmt: skip
    if note.base:
        said += [tr("The base model is {title}, whose preset fills in the rest and keeps what that model knows, which those trainers do not", title=tr(note.base))]
    else:
        said += [tr("Choose a base model below: Easel has none like it, or the file does not say which")]
    said += [tr("Secrets are neither taken over nor shown: {names}", names=", ".join(note.secrets))] if note.secrets else []
    job = tr("<b>{file}</b>, a job of {program}.", file=escape(note.file), program=escape(note.program))
    undo = escape(tr("Undo: the form as it was"))
    return (
        f'<div class="ez-note ez-brought" role="status"><p>{job} {escape(in_words(*said))}</p>'
        + _folders(note)
        + "".join(_list(*one) for one in lists if one[2])
        + f'<p class="ez-brought-go"><button type="button" class="ez-btn" data-act="brought-undo">{undo}</button> {close}</p></div>'
    )


def _folders(note: Brought) -> str:
    if not note.folders:
        return ""
    named = "".join(f"<li>{escape(heard(folder))}</li>" for folder in note.folders)
    go = f'<span class="ez-muted">{escape(tr("Choose or add these pictures as a dataset."))}</span>'
    if note.rows:
        go = f'<button type="button" class="ez-btn" data-act="brought-folders">{escape(tr("Train on these folders"))}</button>'
    return f"<p>{escape(tr('Its pictures:'))}</p><ul>{named}</ul><p>{go}</p>"


def _setting(said: str) -> str:
    """A setting and its value, the setting by what it is called in the language that is spoken."""
    label, _, value = said.partition(": ")
    return tr("{setting}: {value}", setting=tr(label), value=value)


def _list(title: str, key: str, lines: Sequence[tuple[str, str]], opened: bool) -> str:
    shown = "".join(f"<dt>{escape(there)}</dt><dd>{escape(here)}</dd>" for there, here in lines[:MOST])
    more = f"<dt>…</dt><dd>{escape(trn('{n} more', '{n} more', len(lines) - MOST))}</dd>" if len(lines) > MOST else ""
    return f'<details data-key="{key}"{" data-open" if opened and len(lines) <= 6 else ""}><summary>{escape(title)} ({len(lines)})</summary><dl class="ez-brought-list">{shown}{more}</dl></details>'
