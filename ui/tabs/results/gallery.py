"""Sample pictures and clips as a grid, prompts by steps, what people say of them, and each prompt's first picture against its latest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from types import MappingProxyType

from training.plan import unseen
from training.runs.events import RunView
from training.runs.notes import MOST_STARS, Notes, means
from training.runs.shown import Row, Shot, rows

from ...icons import icon
from ...language import point, tr, trc, trn, whole
from .strips import NONE, Strip

__all__ = ["Row", "Shot", "Source", "Wall", "before_after", "grid", "prompt_of", "rows"]

Source = Callable[[str], str]  # path inside the run folder -> URL


@dataclass(frozen=True)
class Wall:
    """How the grid is looked at.  fixed: sample prompts of the job.  starred: only starred pictures.  everything: hidden prompts too.  sheets: (address, what it is).

    strip: what stands in a sample beside what was drawn, for runs that draw over pictures.
    """

    run: str = ""
    notes: Notes = field(default_factory=Notes)
    fixed: int = 0
    starred: bool = False
    everything: bool = False
    sheets: tuple[tuple[str, str], ...] = ()
    strip: Strip = NONE


def grid(view: RunView, src: Source, videos: frozenset[str] = frozenset(), kept: Mapping[int, str] = MappingProxyType({}), wall: Wall = Wall()) -> str:
    """HTML of the grid with its bar, or of a line that says when the first pictures come.

    videos: paths of MP4s that lie beside samples.  kept: step -> address of the checkpoint that is still there.
    """
    every = rows(view, wall.fixed)
    if not every:
        why = tr("The first pictures are drawn before step 1, so that there is something to compare with.")
        return f'<div class="ez-empty"><h2>{escape(tr("No samples yet"))}</h2><p>{escape(why)}</p></div>'
    notes = wall.notes
    hidden = [line for line in every if line.key in notes.hidden]
    lines = [line for line in every if line.key not in notes.hidden] + (hidden if wall.everything else [])
    if wall.starred:
        lines = [Row(line.prompt, shots, line.strength, line.index, line.since) for line in lines if (shots := tuple(s for s in line.shots if s.path in notes.starred))]
    bar = _bar(wall, every, hidden)
    if not lines:
        why = tr("No picture is starred yet: open one and press S, or Star.") if wall.starred else tr("All prompts are hidden.")
        return bar + f'<div class="ez-empty"><p>{escape(why)}</p></div>'
    steps = sorted({shot.step for line in lines for shot in line.shots})
    looks = _Looks(src, videos, kept, frozenset(s for s, _ in view.checkpoints), wall)
    head = "".join(f'<th scope="col">{escape(trc("before the first step", "Start")) if s == 0 else whole(s)}</th>' for s in steps)
    body = "".join(_line(n, line, steps, looks) for n, line in enumerate(lines))
    what = tr("Samples: one row a prompt, one column a step")
    told = f'<p class="ez-muted ez-small ez-strip-says">{escape(wall.strip.says)}</p>' if wall.strip.says else ""
    over = f' is-strip" data-strip="{escape(wall.strip.order)}' if wall.strip.order else ""
    return bar + told + (
        f'<div class="ez-shots{over}"><table class="ez-shots-table" aria-label="{escape(what)}">'
        f'<thead><tr><th scope="col" class="ez-corner">{escape(tr("Prompt"))}</th>{head}</tr></thead><tbody>{body}</tbody>{_stars(view, notes, steps)}</table></div>'
    )


def _bar(wall: Wall, every: Sequence[Row], hidden: Sequence[Row]) -> str:
    """What is shown, what is hidden, and the sheet to take away."""
    on = '<button type="button" class="ez-wall-pick" data-act="wall" data-value="{}" aria-pressed="{}">{}</button>'
    starred = sum(shot.path in wall.notes.starred for line in every for shot in line.shots)
    picks = on.format("all", str(not wall.starred).lower(), escape(tr("All"))) + on.format("starred", str(wall.starred).lower(), f'{icon("star")}{escape(tr("Starred"))} <span class="ez-count">{whole(starred)}</span>')
    back = ""
    if hidden:
        word, many = tr("Leave them out") if wall.everything else tr("Show them"), trn("{n} prompt hidden", "{n} prompts hidden", len(hidden))
        back = f'<span class="ez-muted ez-small">{escape(many)}</span><button type="button" class="ez-link ez-small" data-act="hidden" data-value="{"off" if wall.everything else "on"}">{escape(word)}</button>'
    sheets = "".join(f'<li><a href="{escape(url)}" download><b>{escape(title)}</b></a></li>' for url, title in wall.sheets)
    what = tr("All prompts that are shown, by step, in one labelled picture with their stars.")
    sheet = (
        f'<details class="ez-menu" data-key="sheet-{escape(wall.run)}"><summary class="ez-btn ez-wall-sheet">{icon("download")}{escape(tr("Contact sheet"))}</summary><div class="ez-pop">'
        f'<p>{escape(what)}</p><ul class="ez-ways-out">{sheets}</ul></div></details>'
        if sheets
        else ""
    )
    return f'<div class="ez-wall-bar"><div class="ez-wall-picks" role="group" aria-label="{escape(tr("Which pictures"))}">{picks}</div><span class="ez-wall-back">{back}</span>{sheet}</div>'


def _stars(view: RunView, notes: Notes, steps: Sequence[int]) -> str:
    """The foot: how each step was rated."""
    found = means(view, notes)
    if not found:
        return ""
    best = max(mean for mean, _ in found.values())
    cells = "".join(_rated(*found[s], found[s][0] == best) if s in found else "<td></td>" for s in steps)
    return f'<tfoot><tr><th scope="row">{escape(tr("Rating, of {most}", most=MOST_STARS))}</th>{cells}</tr></tfoot>'


def _rated(mean: float, pictures: int, best: bool) -> str:
    many = trn("{n} picture rated", "{n} pictures rated", pictures)
    return f'<td class="ez-num{" is-best" if best else ""}" title="{escape(many)}">{point(f"{mean:.1f}")}</td>'


@dataclass(frozen=True)
class _Looks:
    """What a cell needs besides its picture.  written: steps at which a checkpoint was ever written."""

    src: Source
    videos: frozenset[str]
    kept: Mapping[int, str]
    written: frozenset[int]
    wall: Wall

    def checkpoint(self, step: int) -> str:
        """The attributes that say where this step's checkpoint is, or why there is none."""
        if step in self.kept:
            return f' data-file="{escape(self.kept[step])}"'
        gone = tr("Its checkpoint was deleted to make room for newer ones.") if step in self.written else tr("No checkpoint was written at this step.")
        return f' data-gone="{"" if step == 0 else escape(gone)}"'


def _line(n: int, line: Row, steps: list[int], looks: _Looks) -> str:
    shots = {shot.step: shot for shot in line.shots}
    cells = "".join(f"<td>{_cell(n, k, line, shots[step], looks)}</td>" if step in shots else "<td></td>" for k, step in enumerate(steps))
    hidden = line.key in looks.wall.notes.hidden
    since = f'<span class="ez-since">{escape(tr("from step {step}", step=line.since))}</span>' if line.since else ""
    prompt = escape(prompt_of(line))
    named = tr("Show again: {prompt}", prompt=prompt_of(line)) if hidden else tr("Hide: {prompt}", prompt=prompt_of(line))
    hide = (
        f'<button type="button" class="ez-link ez-hide" data-act="hide" data-run="{escape(looks.wall.run)}" data-index="{line.index}" data-name="{escape(line.prompt)}" data-value="{"off" if hidden else "on"}" '
        f'aria-label="{escape(named)}">{escape(tr("Show again") if hidden else tr("Hide"))}</button>'
        if looks.wall.run
        else ""
    )
    return f'<tr{" class=is-hidden" if hidden else ""}><th scope="row"><span class="ez-prompt" title="{prompt}">{prompt}</span>{_unseen(line)}{since}{_whole(line, looks)}{hide}</th>{cells}</tr>'


def _whole(line: Row, looks: _Looks) -> str:
    """The first sample of a row, small and whole: what it is drawn over, which the cells leave out."""
    if not looks.wall.strip.order:
        return ""
    return f'<img class="ez-strip-whole" src="{escape(looks.src(line.shots[0].path))}" alt="{escape(looks.wall.strip.order)}" title="{escape(looks.wall.strip.order)}" loading="lazy">'


def _unseen(line: Row) -> str:
    """A label for the prompt that asks for what no training picture shows."""
    if not unseen.is_unseen(line.prompt):
        return ""
    why = tr("No training picture shows this. An adapter that trained too long stops following it first.")
    return f'<span class="ez-chip ez-not-shown" title="{escape(why)}">{escape(tr("not in your pictures"))}</span>'


def _cell(n: int, k: int, line: Row, shot: Shot, looks: _Looks) -> str:
    video = f"{shot.path.rpartition('.')[0]}.mp4"
    clip = f' data-video="{escape(looks.src(video))}"' if video in looks.videos else ""
    return cell(n, k, prompt_of(line), shot, looks.src, looks.wall.run, looks.wall.notes, clip + looks.checkpoint(shot.step))


def cell(n: int, k: int, said: str, shot: Shot, src: Source, run: str, notes: Notes, more: str) -> str:
    """One picture of a grid: what opens it large, and what was said of it.  more: further attributes, written out."""
    stars, star = notes.rated.get(shot.path, 0), shot.path in notes.starred
    told = _told(said, shot.step, star, stars)
    mark = f'<span class="ez-shot-mark" aria-hidden="true">{"★" if star else ""}{f" {stars}" if stars else ""}</span>' if star or stars else ""
    return (
        f'<button type="button" class="ez-shot" data-row="{n}" data-col="{k}" data-step="{shot.step}" data-seed="{shot.seed}" data-run="{escape(run)}" data-shot="{escape(shot.path)}" '
        f'data-stars="{stars}" data-star="{"on" if star else "off"}" '
        f'data-prompt="{escape(said)}"{more} aria-label="{escape(told)}" tabindex="{0 if n == 0 and k == 0 else -1}">'
        f'<img src="{escape(src(shot.path))}" alt="" loading="lazy" decoding="async">{mark}</button>'
    )


def _told(prompt: str, step: int, star: bool, stars: int) -> str:
    if star and stars:
        return tr("{prompt}, step {step}, starred, rated {stars} of {most}", prompt=prompt, step=step, stars=stars, most=MOST_STARS)
    if star:
        return tr("{prompt}, step {step}, starred", prompt=prompt, step=step)
    if stars:
        return tr("{prompt}, step {step}, rated {stars} of {most}", prompt=prompt, step=step, stars=stars, most=MOST_STARS)
    return tr("{prompt}, step {step}", prompt=prompt, step=step)


def prompt_of(line: Row) -> str:
    """The prompt of a row, and for a slider at what strength."""
    return line.prompt if line.strength is None else tr("{prompt}, strength {strength}", prompt=line.prompt, strength=point(line.at_strength))


def before_after(view: RunView, src: Source, most: int = 8, hidden: frozenset[tuple[int, str]] = frozenset(), strip: Strip = NONE) -> str:
    """HTML of one slider a prompt: its first picture under its latest one.  "" while there is nothing to compare."""
    pairs = [line for line in rows(view) if len(line.shots) > 1 and line.key not in hidden][:most]
    if not pairs:
        return ""
    return f'<div class="ez-pairs{" is-strip" * bool(strip.order)}">{"".join(_pair(line, src) for line in pairs)}</div>'


def _pair(line: Row, src: Source) -> str:
    first, last = line.shots[0], line.shots[-1]
    prompt, of = prompt_of(line), tr("step {step}", step=last.step)
    if first.step == 0:
        start, before = trc("before the first step", "start"), tr("{prompt}, start", prompt=prompt)
        compare = tr("Compare start with step {step}: {prompt}", step=last.step, prompt=line.prompt)
    else:
        start, before = tr("step {step}", step=first.step), tr("{prompt}, step {step}", prompt=prompt, step=first.step)
        compare = tr("Compare step {first} with step {step}: {prompt}", first=first.step, step=last.step, prompt=line.prompt)
    return (
        f'<figure class="ez-pair"><div class="ez-pair-view"><img src="{escape(src(last.path))}" alt="{escape(tr("{prompt}, step {step}", prompt=prompt, step=last.step))}" '
        f'loading="lazy"><img class="ez-pair-over" src="{escape(src(first.path))}" alt="{escape(before)}" loading="lazy">'
        f'<i class="ez-pair-edge"></i><span class="ez-pair-a">{escape(start)}</span><span class="ez-pair-b">{escape(of)}</span>'
        f'<input type="range" min="0" max="100" value="50" class="ez-pair-range" aria-label="{escape(compare)}">'
        f"</div><figcaption>{escape(prompt)}</figcaption></figure>"
    )
