"""Sample pictures and clips as a grid, prompts by steps, and each prompt's first picture against its latest."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html import escape
from types import MappingProxyType

from training.plan import unseen
from training.runs.events import RunView

Source = Callable[[str], str]  # path inside the run folder -> URL


@dataclass(frozen=True)
class Shot:
    """One sample picture."""

    step: int
    path: str
    seed: int


@dataclass(frozen=True)
class Row:
    """All pictures of one prompt, by step."""

    prompt: str
    shots: tuple[Shot, ...]
    strength: float | None = None  # of a slider

    @property
    def said(self) -> str:
        """The prompt, and for a slider at what strength."""
        if self.strength is None:
            return self.prompt
        number = f"{self.strength:+g}".replace("-", "\N{MINUS SIGN}") if self.strength else "0"
        return f"{self.prompt}, strength {number}"


def rows(view: RunView) -> list[Row]:
    """The prompts in their order, each with its pictures, a slider's at every strength; a prompt that was asked for once comes last."""
    at = dict(view.strengths)
    found: dict[tuple[int, str], dict[int, Shot]] = {}
    for step, index, prompt, path, seed in view.samples:
        found.setdefault((index, prompt), {})[step] = Shot(step, path, seed)
    ordered = [(prompt, tuple(shots[s] for s in sorted(shots))) for (_, prompt), shots in sorted(found.items(), key=lambda item: item[0][0])]
    return [Row(prompt, shots, at.get(shots[-1].path)) for prompt, shots in ordered]


def grid(view: RunView, src: Source, videos: frozenset[str] = frozenset(), kept: Mapping[int, str] = MappingProxyType({})) -> str:
    """HTML of the grid, or of a line that says when the first pictures come.

    videos: paths of MP4s that lie beside samples.  kept: step -> address of the checkpoint that is still there.
    """
    lines = rows(view)
    if not lines:
        return '<div class="ez-empty"><h2>No samples yet</h2><p>The first pictures are drawn before step 1, so that there is something to compare with.</p></div>'
    steps = sorted({shot.step for line in lines for shot in line.shots})
    head = "".join(f'<th scope="col">{"Start" if s == 0 else f"{s:,}"}</th>' for s in steps)
    body = "".join(_line(n, line, steps, _Looks(src, videos, kept, frozenset(s for s, _ in view.checkpoints))) for n, line in enumerate(lines))
    return (
        '<div class="ez-shots"><table class="ez-shots-table" aria-label="Samples: one row a prompt, one column a step">'
        f'<thead><tr><th scope="col" class="ez-corner">Prompt</th>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    )


@dataclass(frozen=True)
class _Looks:
    """What a cell needs besides its picture.  written: steps at which a checkpoint was ever written."""

    src: Source
    videos: frozenset[str]
    kept: Mapping[int, str]
    written: frozenset[int]

    def checkpoint(self, step: int) -> str:
        """The attributes that say where this step's checkpoint is, or why there is none."""
        if step in self.kept:
            return f' data-file="{escape(self.kept[step])}"'
        gone = "Its checkpoint was deleted to make room for newer ones." if step in self.written else "No checkpoint was written at this step."
        return f' data-gone="{"" if step == 0 else gone}"'


def _line(n: int, line: Row, steps: list[int], looks: _Looks) -> str:
    shots = {shot.step: shot for shot in line.shots}
    cells = "".join(f"<td>{_cell(n, k, line, shots[step], looks)}</td>" if step in shots else "<td></td>" for k, step in enumerate(steps))
    return f'<tr><th scope="row"><span class="ez-prompt" title="{escape(line.said)}">{escape(line.said)}</span>{_unseen(line)}</th>{cells}</tr>'


def _unseen(line: Row) -> str:
    """A label for the prompt that asks for what no training picture shows."""
    if not unseen.is_unseen(line.prompt):
        return ""
    return '<span class="ez-chip ez-unseen" title="No training picture shows this. An adapter that trained too long stops following it first.">not in your pictures</span>'


def _cell(n: int, k: int, line: Row, shot: Shot, looks: _Looks) -> str:
    said = f"{line.said}, step {shot.step}"
    video = f"{shot.path.rpartition('.')[0]}.mp4"
    clip = f' data-video="{escape(looks.src(video))}"' if video in looks.videos else ""
    return (
        f'<button type="button" class="ez-shot" data-row="{n}" data-col="{k}" data-step="{shot.step}" data-seed="{shot.seed}" '
        f'data-prompt="{escape(line.said)}"{clip}{looks.checkpoint(shot.step)} aria-label="{escape(said)}" tabindex="{0 if n == 0 and k == 0 else -1}">'
        f'<img src="{escape(looks.src(shot.path))}" alt="" loading="lazy" decoding="async"></button>'
    )


def before_after(view: RunView, src: Source, most: int = 8) -> str:
    """HTML of one slider a prompt: its first picture under its latest one.  "" while there is nothing to compare."""
    pairs = [line for line in rows(view) if len(line.shots) > 1][:most]
    if not pairs:
        return ""
    return f'<div class="ez-pairs">{"".join(_pair(line, src) for line in pairs)}</div>'


def _pair(line: Row, src: Source) -> str:
    first, last = line.shots[0], line.shots[-1]
    start = "start" if first.step == 0 else f"step {first.step:,}"
    return (
        f'<figure class="ez-pair"><div class="ez-pair-view"><img src="{escape(src(last.path))}" alt="{escape(f"{line.said}, step {last.step}")}" '
        f'loading="lazy"><img class="ez-pair-over" src="{escape(src(first.path))}" alt="{escape(f"{line.said}, {start}")}" loading="lazy">'
        f'<i class="ez-pair-edge"></i><span class="ez-pair-a">{start}</span><span class="ez-pair-b">step {last.step:,}</span>'
        f'<input type="range" min="0" max="100" value="50" class="ez-pair-range" aria-label="Compare {start} with step {last.step}: {escape(line.prompt)}">'
        f"</div><figcaption>{escape(line.said)}</figcaption></figure>"
    )
