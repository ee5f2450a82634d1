"""Runs in and out: the ZIP of a run to take away, one that is brought here, and what such a run still needs."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from urllib.parse import quote

import gradio as gr

from training.formats.basemodel import BUILTIN_SOURCE
from training.runs import needs, origin, room, unpacking
from training.runs.needs import Need
from training.runs.run import Run

from ... import shell, views
from ...icons import icon
from ...language import N_, tr, trn
from ...language.heard import heard
from ...server import uploads
from ...server.media import PARCELS
from ...words import in_words, plain

NAMED = 3  # files that were left out, by name
ADDED = {"dataset": N_("the dataset '{name}'"), "model": N_("the model '{name}'")}
NEEDS = {  # where a job names what it needs -> what that is called
    "data.datasets": N_("dataset {name}"), "concept.low": N_("dataset {name}"), "model.source": N_("base model {name}"), "model.training_adapter": N_("training adapter {name}"), "model.context_adapter": N_("context adapter {name}"), "sample.speed_adapter": N_("speed adapter {name}"),
    "adapter.image_encoder": N_("image encoder {name}"), "adapter.start_from": N_("adapter to start from {name}"), "keep.words": N_("list of sentences {name}"),
}  # fmt: skip


@dataclass
class Parts:
    """What brings a run here is made of."""

    file: gr.File
    place: gr.Textbox | None
    add: gr.Button | None
    said: gr.HTML


def build(ctx) -> Parts:
    """The fold at the foot of the page."""
    with gr.Accordion(tr("Import a run"), open=False, elem_classes="ez-fold", elem_id="ez-bring-run"):
        what = tr("A ZIP that Export made, or the zipped folder of a run. It is looked at as data: nothing in it is executed, and it starts only when you say so.")
        gr.HTML(f'<p class="ez-muted ez-small">{escape(what)}</p>', apply_default_css=False)
        file = gr.File(label=tr("A run as a ZIP"), show_label=False, file_types=[".zip"], type="filepath", elem_classes=["ez-drop", "ez-drop-run"], height=104)
        place = add = None
        if ctx.local:
            with gr.Row(elem_classes="ez-row"):
                label, info = tr("Or a ZIP or folder of this computer"), tr("For one that is larger than 2 GB; it is copied.")
                place = gr.Textbox(label=label, placeholder="/home/me/2026-01-31_1420_my-cat", info=info, max_lines=1, elem_classes="ez-grow")
                add = gr.Button(tr("Import"), elem_classes="ez-fit", min_width=0)
        said = gr.HTML("", apply_default_css=False, elem_id="ez-brought-run")
    return Parts(file, place, add, said)


def wire(parts: Parts, ctx, look, outputs: Sequence, view) -> None:
    """A file that arrived, or a place that was named, becomes a run; it is chosen.  look(chosen, seen, view) -> outputs."""

    def dropped(path: str | None, chosen: str, seen: dict, view):
        if not path:
            return [None, gr.skip(), gr.skip(), *look(chosen, seen, view)]
        said, now = bring(ctx, Path(path), chosen)
        if Path(path).resolve().is_relative_to(uploads.folder(ctx.home).resolve()):
            Path(path).unlink(missing_ok=True)
        return [None, said, gr.skip() if now == chosen else now, *look(now, seen, view)]

    def named(text: str, chosen: str, seen: dict, view):
        nothing = f'<p class="ez-error" role="alert">{escape(tr("Type where it lies first."))}</p>'
        said, now = bring(ctx, Path(text.strip().strip('"')), chosen) if text.strip() else (nothing, chosen)
        return [said, gr.skip() if now == chosen else now, *look(now, seen, view)]

    state = [ctx.run, outputs[0], view]
    parts.file.upload(dropped, [parts.file, *state], [parts.file, parts.said, ctx.run, *outputs], **shell.QUIET)
    if parts.add is not None:
        parts.add.click(named, [parts.place, *state], [parts.said, ctx.run, *outputs], **shell.QUIET)


def bring(ctx, source: Path, chosen: str) -> tuple[str, str]:
    """(what became of it, as HTML, the run to show)."""
    try:
        if not source.expanduser().exists():
            raise ValueError(tr("there is no {path}", path=source))
        brought = unpacking.bring(source, ctx.home)
    except ValueError as error:
        return _note("ez-bad", [in_words(str(error))]), chosen
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        why = tr("The disk is full; free some space, then import it again.") if full else in_words(tr("it cannot be read: {error}", error=error.strerror or error))
        return _note("ez-bad", [why]), chosen
    return _note("ez-warn" if brought.lacking or brought.refused else "ez-ok", _brought(brought)), brought.run.id


def _brought(brought: unpacking.Brought) -> list[str]:
    """What Brought.said() says, in the page's language."""
    lines = [tr("'{title}' is here as {id}.", title=brought.run.title, id=brought.run.id)]
    if brought.added:
        lines.append(tr("With it came {things}.", things=", ".join(tr(ADDED[kind], name=name) for kind, name in brought.added)))
    if lacking := brought.lacking:
        things = ", ".join(_called(need, repr(need.name)) for need in lacking[: needs.NAMED]) + (", …" if len(lacking) > needs.NAMED else "")
        cure = plain(lacking[0].cure)
        lines.append(
            tr("It can be looked at; to be resumed, it needs {things}, which is not on this computer; {cure}.", things=things, cure=cure)
            if len(lacking) == 1
            else tr("It can be looked at; to be resumed, it needs {things}, which are not on this computer; {cure}.", things=things, cure=cure)
        )
    if n := len(brought.refused):
        files = "; ".join(tr("{file} {reason}", file=name, reason=heard(why)) for name, why in brought.refused[:NAMED])
        more = n > NAMED
        lines.append(trn("{n} file was left out: {files}; …", "{n} files were left out: {files}; …", n, files=files) if more else trn("{n} file was left out: {files}.", "{n} files were left out: {files}.", n, files=files))
    return lines


def _called(need: Need, name: str) -> str:
    """What a run needs, with its name."""
    if not need.field:
        return tr("plugin of the kind {kind} {name}", kind=need.what.rpartition(" ")[2], name=name)
    return tr(NEEDS[need.field], name=name)


def _note(look: str, lines: list[str]) -> str:
    return f'<div class="ez-note {look}" role="status">{"".join(f"<p>{escape(line)}</p>" for line in lines)}</div>'


def ways_out(ctx, run: Run) -> tuple[tuple[str, str, str], ...]:
    """(address, what it is, what is in it) of each ZIP of a run; () for one that is running, or a stranger's that names another computer."""
    if run.locked() or origin.greeting(run.path):
        return ()
    job = run.job()
    model = job.get("model")
    own_base = isinstance(model, dict) and model.get("source") != BUILTIN_SOURCE
    data = job.get("data")
    sets = isinstance(data, dict) and bool(data.get("datasets"))
    rows = [
        ("run", tr("The run"), tr("Settings, curve, samples, checkpoints, log and result; pictures and base model are only named.")),
        ("run-pictures", tr("With its pictures"), tr("And their captions, as the datasets hold them now.")),
        ("run-base", tr("With its base model"), tr("Where that is on this computer.")),
        ("run-all", tr("With both"), tr("All that it takes to go on elsewhere.")),
    ]  # fmt: skip
    if origin.question(run.path):  # what it names of this computer nobody has accepted
        rows = rows[:1]
    wanted = [row for row in rows if (not PARCELS[row[0]][0] or own_base) and (not PARCELS[row[0]][1] or sets)]
    return tuple((ctx.url(f"/easel/run/{quote(run.id, safe='')}/{what}"), title, says) for what, title, says in wanted)


def menu(id: str, ways: Sequence[tuple[str, str, str]]) -> str:
    """The button Export with its choices; "" where there are none."""
    if not ways:
        return ""
    rows = "".join(f'<li><a href="{escape(url)}" download><b>{escape(title)}</b><span>{escape(says)}</span></a></li>' for url, title, says in ways)
    what = tr("One ZIP that opens in any Easel, with no path of this computer in it, nor where else it was trained or shown.")
    return (
        f'<details class="ez-menu" data-key="export-{escape(id)}"><summary class="ez-btn">{icon("upload")}{escape(tr("Export"))}</summary>'
        f'<div class="ez-pop"><p>{escape(what)}</p><ul class="ez-ways-out">{rows}</ul></div></details>'
    )


def lacking(run: Run, ctx) -> tuple[Need, ...]:
    """What a run needs and is not here."""
    try:
        return tuple(needs.missing(run, ctx.home))
    except (ValueError, OSError):
        return ()


def asks(lacks: Sequence[Need], sets: Sequence[tuple[str, str]]) -> str:
    """What is missing, each with a field for what stands for it here; "" for nothing.  sets: (name, title) of the datasets here."""
    if not lacks:
        return ""
    rows = "".join(_ask(n, need, sets) for n, need in enumerate(lacks))
    return f'<div class="ez-note ez-warn" role="status"><b>{escape(tr("To be resumed, it needs what is not on this computer"))}</b><ul class="ez-lacks">{rows}</ul></div>'


def _ask(n: int, need: Need, sets: Sequence[tuple[str, str]]) -> str:
    called = _called(need, need.name)
    label = f'<label for="ez-lack-{n}"><b>{escape(views.sentence_start(called))}</b><span>{escape(in_words(need.cure))}</span></label>'
    if need.what == "dataset":
        options = "".join(f'<option value="{escape(name)}">{escape(title)}</option>' for name, title in sets)
        field = f'<select class="ez-input" id="ez-lack-{n}"><option value="">{escape(tr("Choose one that is here"))}</option>{options}</select>' if sets else "<span></span>"
    elif need.field and need.what != "list of sentences":
        field = f'<input type="text" class="ez-input" id="ez-lack-{n}" placeholder="{escape(tr("A folder, a file or a Hub id"))}" autocomplete="off" spellcheck="false">'
    else:
        return f"<li>{label}</li>"
    use = f'<button type="button" class="ez-btn" data-act="stands" data-name="{escape(need.name)}" data-with="#ez-lack-{n}">{escape(tr("Use it"))}</button>' if "ez-input" in field else ""
    return f"<li>{label}{field}{use}</li>"


def stands(run: Run, ctx, name: str, value: str) -> str:
    """What a run names is here under another name; what to tell the person.  Raises ValueError, OSError."""
    if not value.strip():
        raise ValueError(tr("say first what stands for it here"))
    unpacking.replace(run, ctx.home, {name: value.strip()})
    return tr("The run takes {place} for {name} now; whether it is the same is compared when it goes on.", place=value.strip(), name=name)


def taken(found: room.Room) -> str:
    """What takes room, with what can be done about it."""
    rows = "".join(f'<li><span>{escape(title)} <span class="ez-muted ez-small ez-num">{views.exact_size(of)}</span></span><button type="button" class="ez-btn" data-act="choose" data-run="{escape(id)}">{escape(tr("Show it"))}</button></li>' for id, title, of in found.runs)
    cache = (
        f'<div class="ez-acts"><button type="button" class="ez-btn ez-primary" data-act="empty-cache">{icon("trash")}{escape(tr("Empty the cache ({size})", size=views.exact_size(found.cache_bytes)))}</button></div>'
        if found.cache_bytes
        else f'<p class="ez-muted ez-small">{escape(tr("The cache is empty."))}</p>'
    )
    free = tr("{size} are free.", size=views.exact_size(found.free_bytes))
    holds = tr("The cache holds pictures and captions as the base models see them, and base models that were unpacked from a single file; what is wanted of it is made again.")
    most = tr("These trainings take the most; each can be deleted where it is shown.")
    return f'<div class="ez-note ez-room" role="status"><p><b>{escape(free)}</b> {escape(holds)} {escape(most)}</p>{cache}<ul>{rows}</ul></div>'
