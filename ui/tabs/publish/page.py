"""The pieces of the Publish page as HTML.  Pure functions."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import Any

from training import errors
from training.hub.account import Account
from training.runs.events import RunView

from ... import counted, views
from ...icons import icon
from ...language import N_, tr, trc, trn
from ...language.heard import heard
from ...words import in_words

WHERE = {  # source of an Account -> how one is signed in
    "environment": N_("With the token in the environment variable HF_TOKEN."),
    "saved": N_("With a token in huggingface_hub's store on this computer."),
    "environment first": N_("With the token in HF_TOKEN: the pasted one is saved, but the environment goes before it."),
    "given": N_("Through the Hub, for as long as this page is open."),
}
NOT_SIGNED_IN = "Not signed in: "  # what a reason begins with that the heading says already
SUMMARY = re.compile(r"\((?:(\d+) pictures, )?(private|public), commit (\w+)(; everything was there already)?\)")  # of a push, behind its address (training/jobs/publish*.py)
SCRIPTS = N_("kohya's scripts")  # one of the programs that read a file
HALVES = (N_("high noise"), N_("low noise"))  # what a file is for where a base model has two denoisers


@dataclass(frozen=True)
class Shot:
    """A sample picture that may go along."""

    path: str
    url: str
    step: int
    prompt: str


@dataclass(frozen=True)
class Push:
    """A publish job and how it stands."""

    id: str
    status: str
    view: RunView
    repo_id: str
    private: bool
    why: str


def option(value: str, word: str, chosen: str) -> str:
    """An <option>."""
    return f'<option value="{escape(value)}"{" selected" if value == chosen else ""}>{escape(word)}</option>'


def field(path: str, word: str, control: Callable[[str], str], help: str = "", fault: str = "") -> str:
    """A labelled control with its sentence and its fault.  control: what makes it from its common attributes."""
    id_ = f"pub-{path}"
    described = " ".join(filter(None, (f"{id_}-help" if help else "", f"{id_}-fault" if fault else "")))
    common = f'id="{id_}" data-path="{path}"' + (f' aria-describedby="{described}"' if described else "") + (' aria-invalid="true"' if fault else "")
    said = f'<p class="ez-help" id="{id_}-help">{escape(help)}</p>' if help else ""
    wrong = f'<p class="ez-error" id="{id_}-fault" role="alert">{escape(fault)}</p>' if fault else ""
    return f'<div class="ez-entry"><label for="{id_}">{escape(word)}</label>{control(common)}{wrong}{said}</div>'


def what(runs: list[tuple[str, str]], run: str, checkpoints: list[tuple[str, str]], checkpoint: str, reason: str, shots: list[Shot], picked: set[str]) -> str:
    """Which run, which checkpoint, which pictures."""
    run_list = "".join(option(id, word, run) for id, word in runs)
    kept = "".join(option(id, word, checkpoint) for id, word in checkpoints)
    first = [s for s in shots if s.path in picked or s.step == shots[0].step]
    rest = [s for s in shots if s not in first]
    chosen = sum(shot.path in picked for shot in shots)
    none = f'<p class="ez-muted">{escape(tr("This run drew no samples."))}</p>'
    label = tr("Sample pictures to show")
    earlier = f'<details class="ez-drawer" data-key="older"><summary>{escape(trn("{n} earlier picture", "{n} earlier pictures", len(rest)))}</summary>{_picks(rest, picked, tr("Earlier pictures"))}</details>' if rest else ""
    return (
        '<div class="ez-entries">'
        + field("run", tr("Run"), lambda c: f'<select class="ez-input" data-value="{escape(run)}" {c}>{run_list}</select>')
        + field("checkpoint", tr("Checkpoint"), lambda c: f'<select class="ez-input" data-value="{escape(checkpoint)}" {c}>{kept}</select>', reason)
        + f'</div><div class="ez-entry ez-gap-above"><div class="ez-spread"><span class="ez-entry-label">{escape(label)}</span>'
        + f'<span class="ez-muted ez-small">{escape(tr("{chosen} of {all} chosen", chosen=chosen, all=len(shots)))}</span></div>'
        + f"{_picks(first, picked, label) if shots else none}{earlier}</div>"
    )


def _picks(shots: list[Shot], picked: set[str], name: str) -> str:
    inner = "".join(_pick(shot, shot.path in picked) for shot in shots)
    return f'<div class="ez-shotpicks" role="group" aria-label="{escape(name)}">{inner}</div>'


def _pick(shot: Shot, on: bool) -> str:
    said = tr("{prompt}, step {step}", prompt=shot.prompt, step=shot.step)
    state = "on" if on else "off"
    return (
        f'<label class="ez-shotpick"><input type="checkbox" data-path="sample:{escape(shot.path)}" data-value="{state}"{" checked" if on else ""} '
        f'aria-label="{escape(said)}"><img src="{escape(shot.url)}" alt="" loading="lazy" decoding="async"><span title="{escape(shot.prompt)}">'
        f'{escape(tr("Step {step}", step=shot.step))} · {escape(shot.prompt)}</span></label>'
    )


def account(who: Account | None) -> str:
    """Who is signed in; never the token."""
    if who is None:
        return f'<div class="ez-account"><span class="ez-avatar">…</span><div><b>{escape(tr("Looking who is signed in"))}</b></div></div>'
    if not who.ok:
        return (
            f'<div class="ez-account"><span class="ez-avatar">{icon("lock")}</span><div><b>{escape(tr("Not signed in"))}</b>'
            f'<p class="ez-muted ez-small">{escape(in_words(who.reason.removeprefix(NOT_SIGNED_IN)))}</p></div></div>'
        )
    source = tr(WHERE.get(who.source, ""))
    can = "" if who.namespaces else f'<p class="ez-error">{escape(tr("This token may only read. Sign in with one that may write."))}</p>'
    said = tr("Signed in as {name} ({role})", name=who.name, role=_role(who.role))
    return (
        f'<div class="ez-account"><span class="ez-avatar">{escape(who.name[:1])}</span><div><b>{escape(said)}</b>'
        f'<p class="ez-muted ez-small">{escape(source)}</p>{can}</div></div>'
    )


def _role(role: str) -> str:
    """What a token may do, by the Hub's word for it."""
    known = {"write": trc("token", "write"), "read": trc("token", "read"), "fine-grained": trc("token", "fine-grained"), "unknown": trc("token", "unknown")}
    return known.get(role, role)


def target(repo: str, private: bool, faults: dict[str, str], blocked: str) -> str:
    """Where to, private or not, and the button."""
    state = f' aria-disabled="true" title="{escape(blocked)}"' if blocked else ""
    loose = faults.get("", "")
    said = f'<p class="ez-error" role="alert">{escape(loose)}</p>' if loose else f'<p class="ez-muted ez-small ez-why">{escape(blocked)}</p>' if blocked else ""
    return (
        field(
            "repo", tr("Repository"),
            lambda c: f'<input type="text" class="ez-input" value="{escape(repo)}" data-value="{escape(repo)}" spellcheck="false" autocomplete="off" {c}>',
            tr("Your name on the Hub, a slash, and a name for the LoRA."), faults.get("repo", ""),
        )
        + f'<div class="ez-spread ez-private"><div><label for="pub-private"><b>{escape(trc("repository", "Private"))}</b></label><p class="ez-muted ez-small" id="pub-private-help">'
        + escape(tr("Only you see it; you can open it up on the Hub later.") if private else tr("Everybody on the Hub can see and download it."))
        + f'</p></div><input type="checkbox" role="switch" class="ez-switch" id="pub-private" data-path="private" data-value="{"on" if private else "off"}"'
        + f'{" checked" if private else ""} aria-describedby="pub-private-help"></div>'
        + f'<button type="button" class="ez-btn ez-primary ez-start" data-act="publish" data-collect{state}>{icon("upload")}{escape(tr("Publish to the Hub"))}</button>{said}'
    )  # fmt: skip


def push(job: Push | None) -> str:
    """How the newest push of this run stands, with Cancel and Retry."""
    if job is None:
        return ""
    view = job.view
    if job.status in ("running", "queued"):
        told = views.progress(view, job.status) if job.status == "running" else views.Progress(None, tr("Starting"), "")
        busy = told.share is None
        bar = "<i></i>" if busy else f'<i style="width:{told.share * 100:.1f}%"></i>'
        return (
            f'<div class="ez-note" role="status"><div class="ez-spread"><b>{escape(told.text)}</b><span class="ez-small ez-muted ez-num">{escape(told.detail)}</span></div>'
            f'<div class="ez-bar{" ez-busy" if busy else ""} ez-push-bar" role="progressbar" aria-label="{escape(tr("Upload"))}">{bar}</div>'
            f'<button type="button" class="ez-link" data-act="cancel" data-job="{escape(job.id)}">{escape(tr("Cancel"))}</button></div>'
        )
    if job.status == "finished":
        url = view.summary.split(" ")[0]
        link = f'<a href="{escape(url)}" target="_blank" rel="noopener">{escape(job.repo_id)}</a>' if url.startswith(("https://", "http://")) else escape(job.repo_id)
        rest = escape(_summed(view.summary[len(url) :].strip()))
        return f'<div class="ez-note ez-ok" role="status"><b>{tr("Published: {link}", link=link)}</b><br><span class="ez-small ez-muted">{rest}</span></div>'
    sentence = tr("The upload was cancelled; nothing was published.") if job.status == "stopped" else in_words(job.why) or tr("The upload ended without a word.")
    look = "" if job.status == "stopped" else "ez-bad"
    again = f'<div class="ez-acts ez-gap-above">{_retry(job)}</div>'
    code = "" if job.status == "stopped" else f'<span class="ez-code-line">{errors.of(job.view.error or job.why).code}</span>'
    return f'<div class="ez-note {look}" role="status"><b>{escape(job.repo_id)}</b><br>{escape(sentence)}{code}{again}</div>'


def _retry(job: Push) -> str:
    return f'<button type="button" class="ez-btn" data-act="retry" data-job="{escape(job.id)}">{icon("play")}{escape(tr("Retry"))}</button>'


def _summed(text: str) -> str:
    """What a push says of itself behind the address: how much, for whom, which commit."""
    found = SUMMARY.fullmatch(text)
    if not found:
        return heard(text)
    number, whose, commit, already = found.groups()
    said = [trn("{n} picture", "{n} pictures", int(number))] if number else []
    said += [trc("repository", "private") if whose == "private" else trc("repository", "public"), tr("commit {commit}", commit=commit)]
    whole = counted.joined(said)
    return f"({counted.joined((whole, tr('everything was there already')), '; ')})" if already else f"({whole})"


def front_matter(meta: dict[str, Any]) -> str:
    """The card's metadata as a list of terms."""
    rows = []
    for key, value in meta.items():
        if key == "widget" and isinstance(value, list):
            value = trn("{n} picture", "{n} pictures", len(value))
        elif isinstance(value, list):
            value = ", ".join(str(v) for v in value)
        rows.append(f"<dt>{escape(str(key))}</dt><dd>{escape('–' if value is None else str(value))}</dd>")
    return f'<dl class="ez-meta">{"".join(rows)}</dl>'


def files(links: list[tuple[str, str]]) -> str:
    """The weights alone, in each layout that there is."""
    if not links:
        return ""
    inner = " · ".join(f'<a class="ez-link" href="{escape(url)}" download>{escape(counted.programs(title))}</a>' for title, url in links)
    return f'<p class="ez-small ez-gap-above">{tr("The LoRA alone, for {programs}", programs=inner)}</p>'


def export(said: str, link: str = "", busy: bool = False, bad: bool = False) -> str:
    """The ZIP box: a button, and what came of it; a fresh link downloads by itself."""
    told = f'<p class="{"ez-error" if bad else "ez-muted ez-small"}" role="status">{escape(said)}</p>' if said else ""
    if link:
        told = f'<p class="ez-small ez-zip" role="status"><a class="ez-link" href="{escape(link)}" download data-once="{escape(link)}">{escape(said)}</a></p>'
    wait = ' aria-disabled="true"' if busy else ""
    return (
        f'<h2 class="ez-subtitle">{escape(tr("Take it with you"))}</h2>'
        f'<p class="ez-muted ez-small ez-gap-below">{escape(tr("The LoRA, its card and the chosen pictures in one file. Nothing leaves this computer."))}</p>'
        f'<button type="button" class="ez-btn" data-act="zip"{wait}>{icon("download")}{escape(tr("Export as ZIP"))}</button>{told}'
    )
