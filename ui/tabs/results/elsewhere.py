"""Show elsewhere: the chosen run in TensorBoard, Weights & Biases, Trackio or what plugins add, told by a process of its own."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from training import registry
from training.names import check_name
from training.runs import supervisor, trackside
from training.runs.run import Run
from training.runs.tracking import lacking

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
        raise ValueError(f"{module.TITLE} is being told of this run already")
    trackside.launch(run, ctx.home, name, None, place.strip(), supervisor.worker_env("track", ctx.home))
    return f"{module.TITLE} is told of this run, by a process of its own."


def html(rows: tuple[Row, ...]) -> str:
    """The folded list."""
    inner = "".join(_line(row) for row in rows)
    told = sum(bool(row.state) and not row.bad for row in rows)
    count = f' <span class="ez-count">{told}</span>' if told else ""
    return f'<details class="ez-drawer" data-key="elsewhere"><summary>Show elsewhere{count}</summary><div class="ez-elsewhere">{inner}</div></details>' if rows else ""


def _row(run: Run, name: str, plugin: registry.Plugin) -> Row:
    if plugin.module is None:
        return Row(name, name, "", "", "", f"does not load: {plugin.error}")
    module, kept = plugin.module, trackside.read(run.path, name)
    row = Row(name, module.TITLE, module.BLURB, module.PLACE, module.leaves(kept.place if kept else ""), lacking(module))
    if kept is None:
        return row
    busy = trackside.following(run.path, name)
    gone = f" {len(kept.gone)} of its pictures could not be shown." if kept.gone else ""
    told = f"{'Goes along' if busy else 'Up to'} step {max(kept.told.step, 0):,}, in {kept.where}.{gone}" if kept.id else ""
    return Row(name, row.title, row.blurb, row.place_help, row.leaves, row.blocked, kept.said or told, bool(kept.said), kept.place, busy)


def _line(row: Row) -> str:
    off = row.blocked or ("It goes along already" if row.busy else "")
    state = f' aria-disabled="true" title="{escape(off)}"' if off else ""
    said = row.blocked or in_words(row.state)
    look = "ez-error" if row.bad and not row.blocked else "ez-muted"
    about = f'<p class="ez-muted ez-small">{escape(row.blurb)}</p>' + (f'<p class="ez-muted ez-small">{escape(row.leaves)}.</p>' if row.leaves else "")
    about += f'<p class="{look} ez-small" role="status">{escape(said)}</p>' if said else ""
    id_ = f"ez-place-{escape(row.name)}"
    field = (
        f'<input type="text" class="ez-input" id="{id_}" value="{escape(row.place)}" data-value="{escape(row.place)}" maxlength="300" autocomplete="off" '
        f'spellcheck="false" placeholder="Usual place" aria-label="{escape(row.title)}: {escape(row.place_help)}" title="{escape(row.place_help)}">'
    )
    word = "Show what is new" if row.state and not row.bad else "Show it there"
    return (
        f'<div class="ez-elsewhere-row"><div><b>{escape(row.title)}</b>{about}</div>'
        f'<div class="ez-elsewhere-do">{field}<button type="button" class="ez-btn" data-act="{ACT}{escape(row.name)}" data-with="#{id_}"{state}>{word}</button></div></div>'
    )
