"""The pieces of the Results page as HTML: the strip of runs, the run's head, its checkpoints, its details.  Pure functions."""

from __future__ import annotations

from dataclasses import dataclass, field
from html import escape

from training.errors import Kind
from training.plan.going import Going
from training.runs.events import RunView
from training.runs.needs import Need
from training.runs.room import Room

from ... import counted, curves, faults, views
from ...icons import icon
from ...kept import kept
from ...language import point, sentence_end, tr, trn, whole
from ...language.heard import heard
from ...words import in_words, plain
from ..train import ownpresets
from . import advice, outlook, travel
from .elsewhere import Row
from .gallery import Source


@dataclass(frozen=True)
class Card:
    """One run in the strip."""

    id: str
    title: str
    status: str
    created_t: float
    view: RunView


@dataclass(frozen=True)
class Page:
    """Everything that the Results page says about one run."""

    id: str
    title: str
    status: str
    view: RunView
    about: str  # base model, dataset, rank: one line
    created_t: float
    why: str = ""
    kind: Kind | None = None  # of error, for a run that failed or was cut off
    exports: tuple[tuple[str, str, str], ...] = ()  # (address, what it is, what is in it) of the ZIPs in which it can be taken away
    lacks: tuple[Need, ...] = ()  # what it needs to be resumed and is not here
    sets: tuple[tuple[str, str], ...] = ()  # (name, title) of the datasets here
    room: Room | None = None  # what takes room on the disk, where that was asked for
    stopping_s: float | None = None  # seconds since Stop was asked for; None when it was not
    kill_offered: bool = False
    ahead: str = ""  # title of the run that uses the machine now, when it is another one
    leaving: bool = False  # it has said its last word, but its process is still there
    result: str = ""  # file name of the finished LoRA, or path of the folder of a whole model
    whole: bool = False  # the result is a folder
    result_bytes: int = 0
    checkpoints: tuple[tuple[int, int], ...] = ()  # (step, bytes) on disk, rising
    size_bytes: int = 0
    videos: frozenset[str] = frozenset()  # paths of the MP4s that lie beside samples
    log: str = ""
    settings: str = ""  # the job as YAML
    foreign: str | None = None  # of a run that was not made here: what it would use of this computer, "" for nothing; None for our own
    notice: tuple[str, str] = ("", "")  # (class, sentence) after an action
    held: str = ""  # what a queued run waits for besides its turn
    ways: tuple[tuple[tuple[str, str], ...], float] = ((), 0.3)  # (id, title) of how the learning rate may go on then, and what it is proposed to begin anew at
    longer: tuple[int, tuple[str, ...]] = (0, ())  # (how many more steps are proposed, what they mean), or (0, why it cannot be trained longer)
    again: str | None = None  # why it cannot be trained again on exactly the same pictures; "" where it can, None where nobody would ask
    gone: str = ""  # what of these pictures is gone for good, once that was asked for
    links: dict[str, str] = field(default_factory=dict)  # what media serves -> URL
    away: str = ""  # the other machine that it is trained on, "" for this one
    left_there: bool = False  # something of it runs or lies there, as far as this computer knows
    choosable: bool = False  # a checkpoint can be made the result
    downloads: tuple[tuple[str, str], ...] = ()  # (layout, the programs that read it) of the files in which the LoRA can be had
    elsewhere: tuple[Row, ...] = ()  # trackers, and what they were told
    going: Going = field(default_factory=Going)
    odd: tuple[outlook.Picture, ...] = ()  # pictures that do not teach
    weighed: tuple[outlook.Weighed, ...] = ()


def strip(cards: list[Card], chosen: str, src_of, now: float, everything: bool, most: int = 12) -> str:
    """The runs, newest first, as cards; the chosen one marked."""
    if not cards:
        return f'<div class="ez-empty ez-chart-empty"><p>{escape(tr("No run is like that. Clear the field above to see all."))}</p></div>' if everything else ""
    shown = cards if everything else cards[:most]
    if not everything and chosen not in [c.id for c in shown]:
        shown = [c for c in cards if c.id == chosen] + shown[: most - 1]
    inner = "".join(_run_card(c, c.id == chosen, src_of(c.id), now) for c in shown)
    more = len(cards) > most
    fewer = tr("Show fewer") if everything else tr("Show all {n}", n=len(cards))
    toggle = f'<button type="button" class="ez-link" data-act="all">{escape(fewer)}</button>' if more else ""
    title = escape(tr("Runs"))
    return (
        f'<div class="ez-spread ez-strip-head"><h2 class="ez-subtitle">{title} <span class="ez-count">{whole(len(cards))}</span></h2>{toggle}</div>'
        f'<div class="ez-strip{" is-all" if everything else ""}" role="group" aria-label="{title}">{inner}</div>'
    )


def broken(rows: list[tuple[str, str]]) -> str:
    """The folders that should be runs and cannot be read, each with its reason; "" where there is none."""
    if not rows:
        return ""
    lines = "".join(f"<li><b>{escape(name)}</b>: {escape(heard(why))}</li>" for name, why in rows[:50])
    many = trn("{n} run cannot be shown", "{n} runs cannot be shown", len(rows))
    return f'<div class="ez-note ez-warn" role="status"><b>{escape(many)}</b><ul>{lines}</ul></div>'


def _run_card(card: Card, chosen: bool, src: Source, now: float) -> str:
    view = card.view
    latest = max(view.samples, key=lambda s: (s[0], -s[1]), default=None)
    picture = f'<img src="{escape(src(latest[3]))}" alt="" loading="lazy" decoding="async">' if latest else icon("film")
    steps = f"{whole(view.step)} / {whole(view.of)}" if view.of else ""
    share = views.progress(view, card.status).share
    bar = f'<span class="ez-bar"><i style="width:{(share or 0) * 100:.1f}%"></i></span>' if card.status == "running" else ""
    return (
        f'<button type="button" class="ez-run-card{" is-chosen" if chosen else ""}" data-act="choose" data-run="{escape(card.id)}" '
        f'aria-pressed="{str(chosen).lower()}"><span class="ez-run-thumb">{picture}</span><span class="ez-run-text"><b>{escape(card.title)}</b>'
        f'{views.chip(card.status)}<span class="ez-small ez-muted ez-num">{escape(" · ".join(filter(None, (views.when(card.created_t, now), steps))))}</span>'
        f"</span>{bar}</button>"
    )


def head(page: Page, now: float) -> str:
    """Title, status, progress, figures, what can be done, and how it ended."""
    parts = [_title(page, now), _progress(page), _figures(page), _result(page), _ending(page), _sample_row(page), travel.asks(page.lacks, page.sets), travel.taken(page.room) if page.room else "", _gone(page), _notice(page)]
    return f'<section class="ez-card ez-head">{"".join(filter(None, parts))}</section>'


def _title(page: Page, now: float) -> str:
    return (
        f'<div class="ez-head-top"><div class="ez-head-name"><div class="ez-row"><h2 class="ez-title">{escape(page.title)}</h2>{views.chip(page.status)}</div>'
        f'<p class="ez-muted ez-small">{escape(page.about)} · {escape(views.when(page.created_t, now))}</p></div>'
        f'<div class="ez-acts">{_actions(page)}</div></div>'
    )


def _actions(page: Page) -> str:
    running, queued = page.status == "running", page.status == "queued"
    starting = page.status == "starting"
    stopping = page.stopping_s is not None
    acts = []
    unready = tr("Stop was asked for") if stopping else tr("It is starting again; in a moment") if starting and page.view.attempt else ""
    if running or queued or starting:
        acts.append(button("stop", tr("Leave the queue") if queued else tr("Stopping …") if stopping else tr("Stop"), "stop", unready))
    if queued and page.foreign is not None:
        acts.append(button("accept", tr("Start it"), "play", look="ez-primary"))
    if running:
        acts.append(button("save", tr("Save now"), "save", tr("It is stopping, which saves anyway") if stopping else ""))
    if page.kill_offered:
        acts.append(button("kill", tr("End it now"), "warn", look="ez-danger"))
    if page.status in views.RESUMABLE:
        blocked = tr("{title} is running; one run at a time uses the machine", title=page.ahead) if page.ahead else ""
        blocked = tr("Its last attempt is still ending; in a moment") if page.leaving else blocked
        changed = "resume with the changes accepted" in page.view.error  # so says the engine when pictures or settings are not those of the checkpoint
        consent = changed or bool(page.foreign)
        acts.append(button("resume", tr("Resume"), "play", blocked, "" if consent else "ez-primary"))
        if consent:
            acts.append(button("accept", tr("Accept and resume") if page.foreign else tr("Accept changes and resume"), "check", blocked, "ez-primary"))
    if page.longer[1]:
        acts.append(_longer(page))
    acts.append(button("duplicate", tr("Duplicate"), "copy"))
    if page.again is not None:
        acts.append(button("again", tr("Exactly again"), "clock", page.again and in_words(page.again)))
    if not (running or queued or starting):
        acts.append(ownpresets.save_menu(page.id, page.title))
    acts.append(travel.menu(page.id, page.exports))
    if running or starting:
        acts.append(button("delete", tr("Delete"), "trash", tr("Stop it first; a running run cannot be deleted")))
    else:
        acts.append(_delete(page))
    return "".join(acts)


def _delete(page: Page) -> str:
    asked = tr("Delete <b>{title}</b> with its samples and checkpoints? This frees {size} and cannot be undone.", title=escape(page.title), size=escape(views.size(page.size_bytes)))
    return (
        f'<details class="ez-menu" data-key="delete-{escape(page.id)}"><summary class="ez-btn" aria-label="{escape(tr("Delete this run"))}">{icon("trash")}{escape(tr("Delete"))}</summary>'
        f'<div class="ez-pop"><p>{asked}</p>{_left_there(page)}'
        f'<button type="button" class="ez-btn ez-destroy" data-act="delete" data-run="{escape(page.id)}">{escape(tr("Delete for ever"))}</button></div></details>'
    )


def _left_there(page: Page) -> str:
    """Before a run is deleted of which something still runs or lies elsewhere."""
    if not page.left_there:
        return ""
    there = tr("What was sent to {place} is still there, and may run and cost money.", place=page.away)
    return f'<p><b>{escape(there)}</b> {escape(tr("Press Resume and then Stop to end it first: once this run is deleted, nobody here knows of it."))}</p>'


def _longer(page: Page) -> str:
    """Train longer: how many more steps, how the learning rate goes on, and what that means, before it starts."""
    steps, said = page.longer
    if not steps:
        return button("longer", tr("Train longer"), "play", said[0])
    told = "".join(f"<p>{escape(heard(text))}</p>" for text in said)
    ways, share = page.ways
    options = "".join(f'<option value="{id}">{escape(heard(title))}</option>' for id, title in ways)
    rate = (
        f'<p><label for="ez-longer-way">{escape(tr("The learning rate"))}</label><select class="ez-input" id="ez-longer-way" data-path="longer.way" data-value="stretch">{options}</select></p>'
        f'<p><label for="ez-longer-share">{escape(tr("Begins anew at, in % of its highest"))}</label><input type="number" class="ez-input" id="ez-longer-share" min="1" max="100" step="1" '
        f'value="{share * 100:.0f}" data-path="longer.share" data-value="{share * 100:.0f}"></p>'
        if len(ways) > 1
        else ""
    )
    return (
        f'<details class="ez-menu" data-key="longer-{escape(page.id)}"><summary class="ez-btn">{icon("play")}{escape(tr("Train longer"))}</summary>'
        f'<div class="ez-pop" id="ez-longer-form">{told}<p><label for="ez-longer">{escape(tr("More steps"))}</label>'
        f'<input type="number" class="ez-input" id="ez-longer" min="1" max="1000000" step="1" value="{steps}" data-path="longer.steps" data-value="{steps}"></p>{rate}'
        f'<button type="button" class="ez-btn ez-primary" data-act="longer" data-value="{steps}" data-share="{share * 100:.0f}" data-collect>{icon("bolt")}{escape(tr("Start"))}</button></div></details>'
    )


def button(act: str, word: str, picture: str, blocked: str = "", look: str = "") -> str:
    """A button that does `act`; with `blocked`, disabled for that reason."""
    state = f' aria-disabled="true" title="{escape(blocked)}"' if blocked else ""
    return f'<button type="button" class="ez-btn {look}" data-act="{act}"{state}>{icon(picture)}{escape(word)}</button>'


def _progress(page: Page) -> str:
    if page.status == "finished":
        return ""
    told = views.progress(page.view, page.status)
    busy = told.share is None and page.status in ("running", "starting")
    share = told.share or 0
    look = {"failed": "ez-bad", "interrupted": "ez-warn", "stopped": "ez-plain"}.get(page.status, "")
    bar = "<i></i>" if busy else f'<i style="width:{share * 100:.1f}%"></i>'
    value = "" if busy else f' aria-valuenow="{share * 100:.0f}"'
    counted = page.status == "running" and told.share is not None and page.view.of  # the figures below say step and time
    detail = f"{share * 100:.0f} %" if counted else told.detail
    return (
        f'<div class="ez-progress"><div class="ez-spread"><b class="ez-phase">{escape(told.text)}</b><span class="ez-muted ez-num">{escape(detail)}</span></div>'
        f'<div class="ez-bar ez-bar-big {look}{" ez-busy" if busy else ""}" role="progressbar" aria-label="{escape(tr("Progress"))}" aria-valuemin="0" aria-valuemax="100"{value}>'
        f"{bar}</div></div>"
    )


def _figures(page: Page) -> str:
    view = page.view
    if not view.of:
        return ""
    rate, left = views.seconds_per_step(view), views.seconds_left(view)
    loss = kept("loss", page.id, (view.losses,), None, lambda: views.number(curves.smoothed(view.losses)[-1]) if view.losses else "…")
    figures = [
        (tr("Step"), tr("{step} <small>of {of}</small>", step=view.step, of=view.of)),
        (tr("Time left"), _left(view, left) if left else "…") if page.status == "running" else (tr("Took"), _took(view)),
        (tr("Per step"), _seconds(rate) if rate else "…"),
        (tr("Loss"), loss),
        (tr("Learning rate"), views.number(view.losses[-1][2]) if view.losses else "…"),
        (tr("Memory"), views.size(view.memory_bytes) if view.memory_bytes else "…"),
    ]
    return '<div class="ez-stats">' + "".join(f'<div class="ez-stat"><span>{escape(name)}</span><b>{value}</b></div>' for name, value in figures) + "</div>"


def _left(view: RunView, seconds: float) -> str:
    return tr("{time} <small>done about {clock}</small>", time=escape(views.duration(seconds)), clock=escape(views.done_about(view)))


def _took(view: RunView) -> str:
    time = escape(views.duration(view.last_t - view.first_t))
    return tr("{time} <small>pauses included</small>", time=time) if views.went_on(view) else time


def _seconds(seconds: float) -> str:
    return point(f"{seconds:.1f} s" if seconds >= 1 else f"{seconds:.2f} s")


def _result(page: Page) -> str:
    if not page.result or page.status != "finished":
        return ""
    if page.whole:
        about = tr("in diffusers' layout, for from_pretrained")
    else:
        about = tr("for {programs}", programs=counted.programs(page.downloads[0][1])) if page.downloads else tr("a plugin that its job names is gone")
    get = "".join(_download(page, n, layout, title) for n, (layout, title) in enumerate(page.downloads))
    if not page.downloads and not page.whole:
        get = f'<a class="ez-btn ez-primary" href="{escape(page.links["lora"])}" download>{icon("download")}{escape(tr("Download"))}</a>'
    return (
        f'<div class="ez-result"><span class="ez-result-mark">{icon("check")}</span><div class="ez-result-text"><b>{escape(page.result)}</b>'
        f'<span class="ez-muted ez-small">{views.size(page.result_bytes)} · {escape(about)} · {escape(heard(page.view.summary.rsplit("; ", 1)[-1]))}</span></div>'
        f'<div class="ez-acts">{get}'
        f'<button type="button" class="ez-btn" data-tab="publish">{icon("upload")}{escape(tr("Publish"))}</button></div></div>'
    )


def _download(page: Page, n: int, layout: str, title: str) -> str:
    """The link to the n-th of the files in which the LoRA can be had."""
    programs = counted.programs(title)
    word = tr("Download") if not page.downloads[1:] else tr("For {programs}", programs=programs) if n else tr("Download for {programs}", programs=programs)
    return f'<a class="ez-btn{"" if n else " ez-primary"}" href="{escape(page.links[f"lora-{layout}"])}" download>{icon("download")}{escape(word)}</a>'


def _ending(page: Page) -> str:
    look, sentence = views.ending(page.view, page.status, page.why)
    if page.status == "queued" and page.held:
        sentence = page.held
    if page.status == "running":
        look, sentence = _stopping(page)
    if not sentence or page.status == "finished":
        return ""
    then = "" if page.status in ("running", "queued", "starting") or _says_next(page) else views.next_step(page.view, page.status, page.away if page.left_there else "")
    if page.foreign is not None and page.status in ("queued", *views.RESUMABLE):
        then = f'{in_words(page.foreign) if page.foreign else tr("It was not made here.")} {tr("It starts only when you say so; Duplicate shows all its settings first.")}'
    said = f"<p><b>{escape(in_words(sentence))}</b></p>" + (f"<p>{escape(in_words(then))}</p>" if then else "")
    trace = page.view.trace or (page.log if page.status in ("failed", "interrupted") else "")
    details = (
        f'<details data-key="trace-{escape(page.id)}"><summary class="ez-link">{escape(tr("Show details"))}</summary><pre class="ez-log">{escape(trace)}</pre></details>'
        if page.status in ("failed", "interrupted") and trace
        else ""
    )
    if page.kind is None:
        return f'<div class="ez-note {look}" role="status">{said}{details}</div>'
    first, _, rest = said.partition("</p>")
    acts = f'<div class="ez-acts ez-fault-acts">{faults.remedy(page.kind, page.away)}<button type="button" class="ez-btn" data-report="{escape(page.id)}">{icon("warn")}{escape(tr("Report a problem"))}</button></div>'
    return f'<div class="ez-note {look}" role="status"><div class="ez-fault">{first}</p>{faults.code(page.kind, page.id)}</div>{rest}{acts}{details}</div>'


def _stopping(page: Page) -> tuple[str, str]:
    """(class, sentence) of a running run that was asked to stop; ("", "") for any other."""
    if page.kill_offered and page.away:
        return "ez-warn", tr(
            "It has not stopped for half a minute: what it saved may still be on its way here. ‘End it now’ ends only the watch here; what runs on {place} goes on, and Resume finds it again.",
            place=page.away,
        )
    if page.kill_offered:
        return "ez-warn", tr("It has not stopped for half a minute. ‘End it now’ ends it at once; what the last checkpoint holds is kept.")
    if page.stopping_s is not None and page.away:
        return "", tr("Stopping: it finishes this step on {place}, saves everything, and brings it home.", place=page.away)
    return "", tr("Stopping: it finishes this step and saves everything.") if page.stopping_s is not None else ""


def _says_next(page: Page) -> bool:
    """Whether what the engine said of the end says what to do about it already."""
    if page.status == "failed":
        told = page.why or page.view.error
        return "Resume" in told or bool(page.view.hint) and page.view.hint in told
    return page.status == "interrupted" and "Resume" in page.why


def _sample_row(page: Page) -> str:
    if page.status != "running":
        return ""
    state = f' aria-disabled=true title="{escape(tr("It is stopping"))}"' if page.stopping_s is not None else ""
    label, hint = escape(tr("Prompt of a sample picture, optional")), escape(tr("A prompt to try now; empty draws all sample prompts"))
    return (
        '<div class="ez-sample-now"><input type="text" class="ez-input" id="ez-sample-prompt" maxlength="1000" data-enter="sample" '
        f'aria-label="{label}" placeholder="{hint}" autocomplete="off">'
        f'<button type="button" class="ez-btn" data-act="sample" data-with="#ez-sample-prompt"'
        f'{state}>{icon("brush")}{escape(tr("Sample now"))}</button></div>'
    )


def _gone(page: Page) -> str:
    """Before a run is trained again on what is left of its pictures."""
    if not page.gone:
        return ""
    return (
        f'<div class="ez-note ez-warn" role="status"><p><b>{escape(tr("It cannot be trained on exactly the same again."))}</b> {escape(page.gone)}{sentence_end()}</p>'
        f'<div class="ez-acts"><button type="button" class="ez-btn" data-act="again" data-value="rest">{escape(tr("Train again without them"))}</button>'
        f'<button type="button" class="ez-btn ez-quiet" data-act="leave">{escape(tr("Leave it"))}</button></div></div>'
    )


def _notice(page: Page) -> str:
    look, sentence = page.notice
    return f'<p class="ez-notice {look}" role="status">{escape(sentence)}</p>' if sentence else ""


def checkpoints(page: Page) -> str:
    """The checkpoints on disk, the suggested one marked, with the reason."""
    if not page.checkpoints:
        return f'<p class="ez-muted">{escape(tr("The first one is written during training, and always when you press Stop."))}</p>'
    steps = [step for step, _ in page.checkpoints]
    best, reason = views.advised(page.view, steps)
    losses = dict(page.view.validations)
    check = bool(losses)
    settled = page.status not in ("running", "starting")  # before that, the newest is only the newest
    rows = "".join(_checkpoint(page, step, size_bytes, settled and step == best, losses.get(step) if check else None, check) for step, size_bytes in reversed(page.checkpoints))
    names = (tr("Step"), *[tr("Validation")] * check, tr("Size"), tr("Download for") if page.downloads[1:] else tr("File"))
    head_ = "".join(f"<th>{escape(name)}</th>" for name in names)
    hint = tr("<b>Step {step}</b>: {reason}", step=best, reason=escape(heard(reason))) if settled else escape(tr("Which one to take is said here when training has ended."))
    return (
        f'<p class="ez-hint">{icon("star")}<span>{hint}</span></p>'
        f'<div class="ez-wide"><table class="ez-table"><thead><tr>{head_}</tr></thead><tbody>{rows}</tbody></table></div>'
    )


def _checkpoint(page: Page, step: int, size_bytes: int, best: bool, loss: float | None, check: bool) -> str:
    mark = f' <span class="ez-chip ez-ok">{escape(tr("suggested"))}</span>' if best else ""
    checked = f'<td class="ez-num">{views.number(loss) if loss is not None else "–"}</td>' if check else ""
    get = " · ".join(_checkpoint_file(page, step, layout, title) for layout, title in page.downloads if f"step-{step}-{layout}" in page.links)
    used = step == (page.view.result_step or page.view.of)
    if page.choosable and used:
        mark += f' <span class="ez-chip">{escape(tr("the result"))}</span>'
    make = escape(tr("Make step {step} the result", step=step))
    take = f'<button type="button" class="ez-link" data-act="{advice.ACT}" data-value="{step}" aria-label="{make}">{escape(tr("Use"))}</button> · ' if page.choosable and not used else ""
    return f'<tr data-checkpoint="{step}"><td class="ez-num">{whole(step)}{mark}</td>{checked}<td class="ez-num ez-muted">{views.size(size_bytes)}</td><td class="ez-end">{take}{get}</td></tr>'


def _checkpoint_file(page: Page, step: int, layout: str, title: str) -> str:
    programs = counted.programs(title)
    what = tr("Download the checkpoint of step {step} for {programs}", step=step, programs=programs)
    return f'<a class="ez-link" href="{escape(page.links[f"step-{step}-{layout}"])}" download aria-label="{escape(what)}">{escape(programs if page.downloads[1:] else tr("Download"))}</a>'


def warnings(view: RunView) -> str:
    """What the run warned of, each once; "" when it did not."""
    if not view.warnings:
        return ""
    lines = "".join(f"<li>{escape(plain(text))}</li>" for text in view.warnings)
    many = trn("{n} thing to know", "{n} things to know", len(view.warnings))
    return f'<div class="ez-note ez-warn" role="status"><b>{escape(many)}</b><ul>{lines}</ul></div>'


def details(page: Page) -> str:
    """Log and settings, folded."""
    log = escape(page.log or tr("Nothing was written yet."))
    versions = " · ".join(f"{k} {v}" for k, v in page.view.versions)
    made = f'<p class="ez-muted ez-small">{escape(versions)}</p>' if versions else ""
    return (
        f'<details class="ez-drawer" data-key="log"><summary>{escape(tr("Log"))}</summary><pre class="ez-log" data-end>{log}</pre>'
        f'<a class="ez-link" href="{escape(page.links["log.txt"])}" download>{escape(tr("Download the whole log"))}</a></details>'
        f'<details class="ez-drawer" data-key="settings"><summary>{escape(tr("Settings of this run"))}</summary><pre class="ez-log">{escape(page.settings)}</pre>'
        f'{made}<a class="ez-link" href="{escape(page.links["job.yaml"])}" download>{escape(tr("Download as a job file"))}</a></details>'
    )
