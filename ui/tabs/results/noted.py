"""What a person says of a run and its pictures: tags and a note, stars, hidden prompts.  Pure but for act()."""

from __future__ import annotations

from html import escape
from typing import Any

from training.runs import notes, prompting, shown
from training.runs.events import RunView
from training.runs.notes import Notes
from training.runs.run import Run

from ...icons import icon
from ...language import tr, whole

ACTS = ("rate", "star", "hide", "note", "tags", "prompts")


def html(run: str, said: Notes) -> str:
    """Tags and note of a run, each in a field that is saved as it is left."""
    find = escape(tr("Find all runs with this tag"))
    chips = "".join(f'<button type="button" class="ez-chip ez-tag" data-act="find-tag" data-value="{escape(tag)}" title="{find}"><span>#{escape(tag)}</span></button>' for tag in said.tags)
    text = f'<p class="ez-noted-text">{escape(said.text)}</p>' if said.text else ""
    tags = ", ".join(said.tags)
    what = tr("Change tags and note") if chips or text else tr("Add tags or a note")
    saved = tr("Saved as you leave a field. Both are found by the search above, and go along when the run is exported; a report of a problem leaves them out.")
    return (
        f'<div class="ez-noted">{f"<div class=ez-row>{chips}</div>" if chips else ""}{text}'
        f'<details class="ez-drawer ez-noted-edit" data-key="noted-{escape(run)}"><summary>{escape(what)}</summary><div class="ez-noted-fields">'
        f'<label for="ez-tags">{escape(tr("Tags, with commas between"))}</label><input type="text" class="ez-input" id="ez-tags" data-sends="tags" data-run="{escape(run)}" data-fresh="{escape(tags)}" maxlength="1300" autocomplete="off" placeholder="{escape(tr("faces, keep"))}">'
        f'<label for="ez-note">{escape(tr("Note"))}</label><textarea class="ez-area" id="ez-note" rows="3" data-sends="note" data-run="{escape(run)}" data-fresh="{escape(said.text)}" maxlength="{notes.MOST_TEXT_CHARS}" placeholder="{escape(tr("What was tried, and what came of it"))}">{escape(said.text)}</textarea>'
        f'<p class="ez-muted ez-small">{escape(saved)}</p></div></details></div>'
    )


def editor(run: Run, view: RunView) -> str:
    """The sample prompts of a running training, to be changed from the next step on.  Raises ValueError, OSError."""
    job = run.job()
    sample = job.get("sample") if isinstance(job.get("sample"), dict) else {}
    lines = [line for _, line in prompting.of_view(tuple(map(str, sample.get("prompts") or ())), view).now]
    every = sample.get("every") if isinstance(sample.get("every"), int) else 0
    nearest = min((view.step // every + 1) * every, max(view.of, every)) if every else 0
    when = tr("The next pictures are drawn at step {step}.", step=nearest) if every else tr("This run draws none by itself: they are drawn with ‘Sample now’.")
    how = tr("One a line, {most} at most. A line that stays keeps its row; a new one gets its own, from then on.", most=prompting.MOST)
    text = "\n".join(lines)
    return (
        f'<details class="ez-drawer ez-prompts" data-key="prompts-{escape(run.id)}"><summary>{escape(tr("Change the sample prompts"))} <span class="ez-count">{whole(len(lines))}</span></summary>'
        f'<label for="ez-prompts" class="ez-muted ez-small">{escape(how)}</label>'
        f'<textarea class="ez-area" id="ez-prompts" rows="{min(10, max(3, len(lines) + 1))}" data-keep data-fresh="{escape(text)}" spellcheck="true">{escape(text)}</textarea>'
        f'<div class="ez-row"><button type="button" class="ez-btn" data-act="prompts" data-run="{escape(run.id)}" data-with="#ez-prompts">{icon("check")}{escape(tr("Draw these from now on"))}</button>'
        f'<span class="ez-muted ez-small">{escape(when)}</span></div></details>'
    )


def act(run: Run, what: str, data: dict[str, Any]) -> str:
    """One thing is said of a run; what to tell the person.  Raises ValueError, OSError."""
    value = str(data.get("value", ""))
    if what == "rate":
        notes.rate(run, str(data.get("shot", "")), int(value) if value.isdecimal() else -1)
        return ""
    if what == "star":
        notes.star(run, str(data.get("shot", "")), value == "on")
        return ""
    if what == "hide":
        return _hide(run, str(data.get("index", "")), str(data.get("name", "")), value == "on")
    if what == "note":
        notes.say(run, value)
        return tr("The note is saved.") if value.strip() else tr("The note is taken away.")
    if what == "tags":
        notes.tag(run, value.split(","))
        return tr("The tags are saved.")
    lines = prompting.checked(value.splitlines())
    run.command("prompts", lines=lines)
    return tr("The training takes them from its next step on.")


def _hide(run: Run, index: str, prompt: str, on: bool) -> str:
    if not any(row.key == (int(index) if index.isdecimal() else -1, prompt) for row in shown.rows(shown.view_of(run))):
        raise ValueError(tr("That prompt is gone; look again."))
    notes.hide(run, int(index), prompt, on)
    return tr("Hidden here and on the contact sheet; its pictures stay, and ‘Show them’ above the samples brings it back.") if on else ""
