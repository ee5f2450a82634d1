"""Many pictures at once: the drawing job, begun from the page, and the sheets that such jobs made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from html import escape
from typing import Any

from training import outside
from training.formats import overview
from training.home import Home
from training.jobfile import parse
from training.jobs.generate import INDEX, Config, checkpoints_of
from training.plan.hardware import machine
from training.plan.shots import AXES, Shot, shots
from training.runs.run import Run, list_runs

from ... import views
from ...icons import icon
from ...language import N_, tr, trc, trn
from ...language.heard import heard
from ...words import in_words
from .asks import FINAL, Bench, Wish, made_from_of, number, size, source_of, whole

MOST_SHEETS = 6
EXAMPLE = "a {red|blue} circle"  # a prompt, which is English in every language: so the small model that comes with Easel was taught
MOST_SHOWN = 400  # pictures of a sheet on the page; its own page in the run's folder has all
MAX_INDEX_BYTES = 50_000_000
AXIS_TITLES = {"": N_("nothing"), "prompt": N_("prompt"), "strength": N_("strength"), "checkpoint": N_("checkpoint"), "seed": N_("seed"), "lora": "LoRA"}


@dataclass(frozen=True)
class Sheet:
    """A drawing job's run and what it has drawn.  index: as overview.index() makes it, None while there is none."""

    run: Run
    status: str
    index: dict[str, Any] | None
    why: str = ""
    phase: str = ""  # what it does while no picture is there yet

    @property
    def done(self) -> int:
        return sum(bool(p["file"]) for p in self.index["pictures"]) if self.index else 0

    @property
    def of(self) -> int:
        return len(self.index["pictures"]) if self.index else 0


def config_of(home: Home, wish: Wish, bench: Bench) -> Config:
    """The job that the form describes.  Raises ValueError, in plain words."""
    u = bench.usual
    if bench.beside:
        raise ValueError(tr("Many pictures are not drawn with a {kind}; choose a run that trained a LoRA, or draw one picture above", kind=tr(bench.beside.title)))
    worn = [{"source": source_of(bench, wish.checkpoint), "strength": number(wish.strength, tr("Strength"))}] if bench.run else []
    if bench.run and "checkpoint" in (wish.many_rows, wish.many_columns):
        worn[0]["source"] = bench.run.id
    worn += [{"source": wish.other.strip(), "strength": number(wish.other_strength, tr("Strength of the second LoRA"))}] if wish.other.strip() else []
    worn += u.get("loras", [])
    by = [number(one, tr("Strengths")) for one in wish.many_strengths.replace(";", " ").split()]
    data = {
        "kind": "generate", "name": f"Pictures of {bench.title}"[:90], "device": machine(home.root).device, "model": u["model"], "loras": worn, "trigger": u["trigger"],
        "prompts": [line for line in wish.many_prompts.splitlines() if line.strip()], "negative": u["negative"] if wish.negative is None else wish.negative,
        "sizes": [size(wish.size, u)], "seed": whole(wish.seed, tr("Seed"), 42), "count": whole(wish.many_count, tr("Pictures of each"), 1), "steps": whole(wish.steps, tr("Steps"), u["steps"]),
        "guidance": number(wish.guidance or str(u["guidance"]), tr("Guidance")), "sampler": wish.sampler, "rows": wish.many_rows, "columns": wish.many_columns, "frames": u["frames"],
        "strengths": by if "strength" in (wish.many_rows, wish.many_columns) else [],
    }  # fmt: skip
    if takes := bench.takes(home):
        data |= made_from_of(home, wish, bench, takes)
    return parse(Config, data, "this")


def sheets(ctx) -> list[Sheet]:
    """The newest drawing jobs."""
    found = []
    for run in list_runs(ctx.home.outputs, {"generate"})[:MOST_SHEETS]:
        view, status = ctx.watch.status(run)
        index = _index(run)
        if index:
            _add_drawn(index, view.samples)
        found.append(Sheet(run, status, index, run.why_numbered(view) if status in ("failed", "interrupted") else "", view.phase if status == "running" else ""))
    return found


def _add_drawn(index: dict[str, Any], samples: Sequence[tuple[int, int, str, str, int]]) -> None:
    """The pictures that the run has told of since index.json was written, which a long job does seldom."""
    by_number = {number: path for number, _, _, path, _ in samples}
    for one in index["pictures"]:
        path = by_number.get(one["number"], "")
        if not one["file"] and path.startswith("samples/"):
            one["file"] = path


def count(config: Config, home: Home) -> int:
    """How many pictures the job draws.  Raises ValueError where that is none, or too many."""
    source = config.loras[0].source if config.loras else ""
    return _count(config.model_dump_json(), tuple(checkpoints_of(home.outputs, source)))


@lru_cache(maxsize=8)
def _count(config_json: str, has: tuple[str, ...]) -> int:
    config = Config.model_validate_json(config_json)
    return len(shots(config, config.prompts, lambda source: has)[0])


def told(home: Home, wish: Wish, bench: Bench) -> str:
    """The sentence on what the form comes to; "" while there is no prompt."""
    if not wish.many_prompts.strip():
        return ""
    try:
        many = count(config_of(home, wish, bench), home)
    except ValueError as error:
        return in_words(str(error))
    return trn("{n} picture to draw", "{n} pictures to draw", many)


def _index(run: Run) -> dict[str, Any] | None:
    """What index.json says, where it is what a drawing job writes."""
    try:
        told = outside.read_json(outside.inside(run.path, INDEX), MAX_INDEX_BYTES)
        pictures = []
        for one in told["pictures"]:
            shot = Shot.model_validate({k: v for k, v in one.items() if k != "file"})
            file = one["file"] if isinstance(one["file"], str) and one["file"].startswith("samples/") else ""
            pictures.append({**shot.told(), "file": file})
        rows, columns = (told[axis] if told[axis] in AXES else "" for axis in ("rows", "columns"))
        return overview.index(str(told["title"]), bool(told["complete"]), rows, columns, pictures, [])
    except (ValueError, OSError, KeyError, TypeError, AttributeError):
        return None


def form(wish: Wish, bench: Bench, fault: str, told: str = "") -> str:
    """What to draw.  told: how many pictures that is."""
    axes = [(axis, tr(AXIS_TITLES[axis])) for axis in ("", *AXES) if bench.run or axis in ("", "prompt", "seed")]
    strengths = _line("many_strengths", tr("Strengths, for an axis"), wish.many_strengths, "-1 0 1") if bench.run else ""
    trouble = f'<p class="ez-error" role="alert">{escape(fault)}</p>' if fault else ""
    lead = tr(
        "One line a prompt; {choices} takes one after the other. They are drawn with what is chosen on the left, go on when this page is closed, and end in a page of their own in the run’s folder.",
        choices="{red|blue}",
    )  # fmt: skip
    inner = (
        f'<p class="ez-muted ez-small">{escape(lead)}</p>'
        f'<textarea class="ez-input" rows="4" data-path="many_prompts" data-value="{escape(wish.many_prompts)}" maxlength="20000" aria-label="{escape(tr("Prompts, one a line"))}" placeholder="{EXAMPLE}">{escape(wish.many_prompts)}</textarea>'
        f'<div class="ez-play-axes">{_line("many_count", tr("Pictures of each"), wish.many_count, "1")}{_choice("many_rows", tr("Rows"), wish.many_rows, axes)}{_choice("many_columns", tr("Columns"), wish.many_columns, axes)}{strengths}</div>'
        f'{trouble}<div class="ez-acts"><button type="button" class="ez-btn" data-act="many" data-collect>{icon("brush")}{escape(tr("Draw them all"))}</button>'
        f'<span class="ez-muted ez-small ez-num" role="status">{escape(told)}</span></div>'
    )
    return f'<section class="ez-card"><details class="ez-drawer" data-key="play-many"><summary>{escape(tr("Many at once, as a grid"))}</summary><div class="ez-stack">{inner}</div></details></section>'


def past(wish: Wish, found: Sequence[Sheet], src_of) -> str:
    """What such jobs made, newest first; "" where there is none."""
    if not found:
        return ""
    rows = "".join(_sheet(sheet, sheet.run.id == wish.many_showing, src_of(sheet.run)) for sheet in found)
    return f'<section class="ez-card"><h2 class="ez-subtitle ez-gap-below">{escape(tr("Sheets"))} <span class="ez-count">{len(found)}</span></h2>{rows}</section>'


def _line(path: str, label: str, value: str, hint: str) -> str:
    return (
        f'<div class="ez-field"><label class="ez-label" for="ez-{path}">{escape(label)}</label><input type="text" class="ez-input" id="ez-{path}" data-path="{path}" '
        f'value="{escape(value)}" data-value="{escape(value)}" placeholder="{hint}" maxlength="500" autocomplete="off"></div>'
    )


def _choice(path: str, label: str, value: str, options: Sequence[tuple[str, str]]) -> str:
    rows = "".join(f'<option value="{v}"{" selected" if v == value else ""}>{escape(t)}</option>' for v, t in options)
    return f'<div class="ez-field"><label class="ez-label" for="ez-{path}">{escape(label)}</label><select class="ez-input" id="ez-{path}" data-path="{path}" data-value="{escape(value)}">{rows}</select></div>'


def _sheet(sheet: Sheet, is_open: bool, src) -> str:
    acts = [f'<button type="button" class="ez-link ez-small" data-act="sheet" data-id="{escape(sheet.run.id)}" aria-expanded="{str(is_open).lower()}">{escape(tr("Hide") if is_open else tr("Show"))}</button>']
    if sheet.status in ("running", "queued"):
        acts.append(f'<button type="button" class="ez-link ez-small" data-act="many-stop" data-id="{escape(sheet.run.id)}">{escape(tr("Stop"))}</button>')
    if sheet.status in views.RESUMABLE:
        acts.append(f'<button type="button" class="ez-link ez-small" data-act="many-resume" data-id="{escape(sheet.run.id)}">{escape(tr("Go on"))}</button>')
    whole_of_it = not sheet.of or sheet.done >= sheet.of
    count = trn("{n} picture", "{n} pictures", sheet.done) if whole_of_it else trn("{done} of {n} picture", "{done} of {n} pictures", sheet.of, done=sheet.done)
    if sheet.phase and sheet.phase != "drawing":
        count = f"{count} · {views.sentence_start(heard(sheet.phase))}"
    why = f'<p class="ez-error">{escape(in_words(sheet.why))}</p>' if sheet.why else ""
    grid = _grid(sheet.index, src) if is_open and sheet.index else ""
    return (
        f'<div class="ez-play-sheet"><div class="ez-spread"><span class="ez-row"><b>{escape(sheet.run.title)}</b>{views.chip(sheet.status)}<span class="ez-muted ez-small ez-num">{escape(count)}</span></span>'
        f'<span class="ez-row">{"".join(acts)}</span></div>{_bar(sheet)}{why}{grid}</div>'
    )


def _bar(sheet: Sheet) -> str:
    """How far a sheet is; "" for one that is not being drawn."""
    if sheet.status != "running" or not sheet.of:
        return ""
    return f'<div class="ez-bar" role="progressbar" aria-label="{escape(sheet.run.title)}" aria-valuemin="0" aria-valuemax="{sheet.of}" aria-valuenow="{sheet.done}"><i style="width:{100 * sheet.done / sheet.of:.0f}%"></i></div>'


def _grid(index: dict[str, Any], src) -> str:
    rows, columns = index["rows"], index["columns"]
    index = {**index, "pictures": index["pictures"][:MOST_SHOWN]}
    return "".join(_table(heading, group, rows, columns, src) for heading, group in overview.groups(index))


def _table(heading: str, group: Sequence[dict[str, Any]], rows: str, columns: str, src) -> str:
    if not rows and not columns:
        return f'<p class="ez-small ez-muted">{escape(heading)}</p><div class="ez-play-row">{"".join(_cell(p, src) for p in group)}</div>'
    table = overview.table(group, rows, columns)
    head = "".join(f'<th scope="col">{escape(_said(columns, c))}</th>' for c in table.across)
    corner = " / ".join(tr(AXIS_TITLES[axis]) for axis in (rows, columns) if axis)
    body = "".join(f'<tr><th scope="row">{escape(_said(rows, r))}</th>{"".join(f"<td>{_cell(table.at.get((r, c)), src)}</td>" for c in table.across)}</tr>' for r in table.down)
    return f'<p class="ez-small ez-muted">{escape(heading)}</p><div class="ez-wide ez-play-row"><table class="ez-play-table"><thead><tr><th scope="col">{escape(corner)}</th>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _said(axis: str, value: str) -> str:
    if axis != "checkpoint":
        return value
    return trc("checkpoint", "finished") if value == FINAL else tr("step {step}", step=value)


def _cell(picture: dict[str, Any] | None, src) -> str:
    if not picture or not picture["file"]:
        return ""
    said = escape(tr("{prompt}, seed {seed}", prompt=picture["prompt"], seed=str(picture["seed"])))
    url = escape(src(picture["file"]))
    return f'<a href="{url}" data-zoom="{said}"><img class="ez-play-pic" src="{url}" alt="{said}" loading="lazy"></a>'
