"""Show elsewhere: the chosen run in TensorBoard, Weights & Biases, Trackio or what plugins add, told by a process of its own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from html import escape

from training import registry
from training.names import check_name
from training.runs import supervisor, trackside
from training.runs.run import Run
from training.runs.tracking import lacking

from ...language import sentence_end, tr, trn
from ...language.heard import heard
from ...words import in_words

ACT = "track-"


@dataclass(frozen=True)
class Row:
    """One tracker and what it was told.  blocked: why it cannot be used, "" where it can; bad: whether `state` says what went wrong."""

    name: str
    title: str
    blurb: str
    place_help: str
    leaves: str
    blocked: str
    state: str = ""
    bad: bool = False
    place: str = ""
    busy: bool = False


def rows_of(ctx, run: Run) -> tuple[Row, ...]:
    """Every tracker with what this run told it."""
    return tuple(_row(run, name, plugin) for name, plugin in registry.find("trackers", ctx.home.plugins).items())


def start(ctx, run: Run, name: str, place: str) -> str:
    """What to tell the person.  Raises ValueError, OSError."""
    module = registry.get("trackers", check_name(name), ctx.home.plugins)
    if trackside.following(run.path, name):
        raise ValueError(tr("{tracker} is being told of this run already", tracker=tr(module.TITLE)))
    trackside.launch(run, ctx.home, name, None, place.strip(), supervisor.worker_env("track", ctx.home))
    return tr("{tracker} is told of this run, by a process of its own.", tracker=tr(module.TITLE))


def html(rows: tuple[Row, ...]) -> str:
    """The folded list."""
    inner = "".join(_line(row) for row in rows)
    told = sum(bool(row.state) and not row.bad for row in rows)
    count = f' <span class="ez-count">{told}</span>' if told else ""
    return f'<details class="ez-drawer" data-key="elsewhere"><summary>{escape(tr("Show elsewhere"))}{count}</summary><div class="ez-elsewhere">{inner}</div></details>' if rows else ""


def _row(run: Run, name: str, plugin: registry.Plugin) -> Row:
    if plugin.module is None:
        return Row(name, name, "", "", "", tr("does not load: {error}", error=heard(str(plugin.error))))
    module, kept = plugin.module, trackside.read(run.path, name)
    row = Row(name, tr(module.TITLE), tr(module.BLURB), heard(module.PLACE), heard(module.leaves(kept.place if kept else "")), heard(lacking(module)))
    if kept is None:
        return row
    busy = trackside.following(run.path, name)
    return replace(row, state=in_words(kept.said) if kept.said else _told(kept, busy), bad=bool(kept.said), place=kept.place, busy=busy)


def _told(kept: trackside.Tracked, busy: bool) -> str:
    """What a tracker knows of the run; "" where it was told nothing."""
    if not kept.id:
        return ""
    step, place = max(kept.told.step, 0), heard(kept.where)
    told = tr("Goes along step {step}, in {place}.", step=step, place=place) if busy else tr("Up to step {step}, in {place}.", step=step, place=place)
    gone = trn("{n} of its pictures could not be shown.", "{n} of its pictures could not be shown.", len(kept.gone)) if kept.gone else ""
    return " ".join(filter(None, (told, gone)))


def _line(row: Row) -> str:
    off = row.blocked or (tr("It goes along already") if row.busy else "")
    state = ' aria-disabled="true"' + f' title="{escape(off)}"' if off else ""
    said = row.blocked or row.state
    look = "ez-error" if row.bad and not row.blocked else "ez-muted"
    about = f'<p class="ez-muted ez-small">{escape(row.blurb)}</p>' + (f'<p class="ez-muted ez-small">{escape(row.leaves + sentence_end())}</p>' if row.leaves else "")
    about += f'<p class="{look} ez-small" role="status">{escape(said)}</p>' if said else ""
    id_ = f"ez-place-{escape(row.name)}"
    field = (
        f'<input type="text" class="ez-input" id="{id_}" value="{escape(row.place)}" data-value="{escape(row.place)}" maxlength="300" autocomplete="off" '
        f'spellcheck="false" placeholder="{escape(tr("Usual place"))}" aria-label="{escape(row.title)}: {escape(row.place_help)}" title="{escape(row.place_help)}">'
    )
    word = tr("Show what is new") if row.state and not row.bad else tr("Show it there")
    return (
        f'<div class="ez-elsewhere-row"><div><b>{escape(row.title)}</b>{about}</div>'
        f'<div class="ez-elsewhere-do">{field}<button type="button" class="ez-btn" data-act="{ACT}{escape(row.name)}" data-with="#{id_}"{state}>{escape(word)}</button></div></div>'
    )
