"""The pieces of the Publish page as HTML.  Pure functions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import Any

from training import errors
from training.hub.account import Account
from training.runs.events import RunView

from ... import views
from ...icons import icon
from ...words import in_words

WHERE = {  # source of an Account -> how one is signed in
    "environment": "With the token in the environment variable HF_TOKEN.",
    "saved": "With a token in huggingface_hub's store on this computer.",
    "environment first": "With the token in HF_TOKEN: the pasted one is saved, but the environment goes before it.",
    "given": "Through the Hub, for as long as this page is open.",
}


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
    none = '<p class="ez-muted">This run drew no samples.</p>'
    return (
        '<div class="ez-entries">'
        + field("run", "Run", lambda c: f'<select class="ez-input" data-value="{escape(run)}" {c}>{run_list}</select>')
        + field("checkpoint", "Checkpoint", lambda c: f'<select class="ez-input" data-value="{escape(checkpoint)}" {c}>{kept}</select>', reason)
        + '</div><div class="ez-entry ez-gap-above"><div class="ez-spread"><span class="ez-entry-label">Sample pictures to show</span>'
        + f'<span class="ez-muted ez-small">{chosen} of {len(shots)} chosen</span></div>'
        + f'{_picks(first, picked, "Sample pictures to show") if shots else none}'
        + (f'<details class="ez-drawer" data-key="older"><summary>{views.count(len(rest), "earlier picture")}</summary>{_picks(rest, picked, "Earlier pictures")}</details>' if rest else "")
        + "</div>"
    )


def _picks(shots: list[Shot], picked: set[str], name: str) -> str:
    inner = "".join(_pick(shot, shot.path in picked) for shot in shots)
    return f'<div class="ez-shotpicks" role="group" aria-label="{name}">{inner}</div>'


def _pick(shot: Shot, on: bool) -> str:
    said = f"{shot.prompt}, step {shot.step}"
    state = "on" if on else "off"
    return (
        f'<label class="ez-shotpick"><input type="checkbox" data-path="sample:{escape(shot.path)}" data-value="{state}"{" checked" if on else ""} '
        f'aria-label="{escape(said)}"><img src="{escape(shot.url)}" alt="" loading="lazy" decoding="async"><span title="{escape(shot.prompt)}">'
        f"Step {shot.step:,} · {escape(shot.prompt)}</span></label>"
    )


def account(who: Account | None) -> str:
    """Who is signed in; never the token."""
    if who is None:
        return '<div class="ez-account"><span class="ez-avatar">…</span><div><b>Looking who is signed in</b></div></div>'
    if not who.ok:
        return (
            f'<div class="ez-account"><span class="ez-avatar">{icon("lock")}</span><div><b>Not signed in</b>'
            f'<p class="ez-muted ez-small">{escape(in_words(who.reason.removeprefix("Not signed in: ")))}</p></div></div>'
        )
    source = WHERE.get(who.source, "")
    can = "" if who.namespaces else '<p class="ez-error">This token may only read. Sign in with one that may write.</p>'
    return (
        f'<div class="ez-account"><span class="ez-avatar">{escape(who.name[:1])}</span><div><b>Signed in as {escape(who.name)} ({escape(who.role)})</b>'
        f'<p class="ez-muted ez-small">{escape(source)}</p>{can}</div></div>'
    )


def target(repo: str, private: bool, faults: dict[str, str], blocked: str) -> str:
    """Where to, private or not, and the button."""
    state = f' aria-disabled="true" title="{escape(blocked)}"' if blocked else ""
    loose = faults.get("", "")
    said = f'<p class="ez-error" role="alert">{escape(loose)}</p>' if loose else f'<p class="ez-muted ez-small ez-why">{escape(blocked)}</p>' if blocked else ""
    return (
        field(
            "repo", "Repository",
            lambda c: f'<input type="text" class="ez-input" value="{escape(repo)}" data-value="{escape(repo)}" spellcheck="false" autocomplete="off" {c}>',
            "Your name on the Hub, a slash, and a name for the LoRA.", faults.get("repo", ""),
        )
        + '<div class="ez-spread ez-private"><div><label for="pub-private"><b>Private</b></label><p class="ez-muted ez-small" id="pub-private-help">'
        + ("Only you see it; you can open it up on the Hub later." if private else "Everybody on the Hub can see and download it.")
        + f'</p></div><input type="checkbox" role="switch" class="ez-switch" id="pub-private" data-path="private" data-value="{"on" if private else "off"}"'
        + f'{" checked" if private else ""} aria-describedby="pub-private-help"></div>'
        + f'<button type="button" class="ez-btn ez-primary ez-start" data-act="publish" data-collect{state}>{icon("upload")}Publish to the Hub</button>{said}'
    )  # fmt: skip


def push(job: Push | None) -> str:
    """How the newest push of this run stands, with Cancel and Retry."""
    if job is None:
        return ""
    view = job.view
    if job.status in ("running", "queued"):
        told = views.progress(view, job.status) if job.status == "running" else views.Progress(None, "Starting", "")
        busy = told.share is None
        bar = "<i></i>" if busy else f'<i style="width:{told.share * 100:.1f}%"></i>'
        return (
            f'<div class="ez-note" role="status"><div class="ez-spread"><b>{escape(told.text)}</b><span class="ez-small ez-muted ez-num">{escape(told.detail)}</span></div>'
            f'<div class="ez-bar{" ez-busy" if busy else ""} ez-push-bar" role="progressbar" aria-label="Upload">{bar}</div>'
            f'<button type="button" class="ez-link" data-act="cancel" data-job="{escape(job.id)}">Cancel</button></div>'
        )
    if job.status == "finished":
        url = view.summary.split(" ")[0]
        link = f'<a href="{escape(url)}" target="_blank" rel="noopener">{escape(job.repo_id)}</a>' if url.startswith(("https://", "http://")) else escape(job.repo_id)
        rest = escape(view.summary[len(url) :].strip())
        return f'<div class="ez-note ez-ok" role="status"><b>Published: {link}</b><br><span class="ez-small ez-muted">{rest}</span></div>'
    sentence = "The upload was cancelled; nothing was published." if job.status == "stopped" else in_words(job.why) or "The upload ended without a word."
    look = "" if job.status == "stopped" else "ez-bad"
    again = f'<div class="ez-acts ez-gap-above">{_retry(job)}</div>'
    code = "" if job.status == "stopped" else f'<span class="ez-code-line">{errors.of(job.view.error or job.why).code}</span>'
    return f'<div class="ez-note {look}" role="status"><b>{escape(job.repo_id)}</b><br>{escape(sentence)}{code}{again}</div>'


def _retry(job: Push) -> str:
    return f'<button type="button" class="ez-btn" data-act="retry" data-job="{escape(job.id)}">{icon("play")}Retry</button>'


def front_matter(meta: dict[str, Any]) -> str:
    """The card's metadata as a list of terms."""
    rows = []
    for key, value in meta.items():
        if key == "widget" and isinstance(value, list):
            value = views.count(len(value), "picture")
        elif isinstance(value, list):
            value = ", ".join(str(v) for v in value)
        rows.append(f"<dt>{escape(str(key))}</dt><dd>{escape('–' if value is None else str(value))}</dd>")
    return f'<dl class="ez-meta">{"".join(rows)}</dl>'


def files(links: list[tuple[str, str]]) -> str:
    """The weights alone, in each layout that there is."""
    if not links:
        return ""
    inner = " · ".join(f'<a class="ez-link" href="{escape(url)}" download>{escape(word)}</a>' for word, url in links)
    return f'<p class="ez-small ez-gap-above">The LoRA alone, for {inner}</p>'


def export(said: str, link: str = "", busy: bool = False, bad: bool = False) -> str:
    """The ZIP box: a button, and what came of it; a fresh link downloads by itself."""
    told = f'<p class="{"ez-error" if bad else "ez-muted ez-small"}" role="status">{escape(said)}</p>' if said else ""
    if link:
        told = f'<p class="ez-small ez-zip" role="status"><a class="ez-link" href="{escape(link)}" download data-once="{escape(link)}">{escape(said)}</a></p>'
    wait = ' aria-disabled="true"' if busy else ""
    return (
        '<h2 class="ez-subtitle">Take it with you</h2><p class="ez-muted ez-small ez-gap-below">The LoRA, its card and the chosen pictures in one file. Nothing leaves this computer.</p>'
        f'<button type="button" class="ez-btn" data-act="zip"{wait}>{icon("download")}Export as ZIP</button>{told}'
    )
