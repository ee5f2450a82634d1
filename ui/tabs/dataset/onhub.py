"""Datasets of the Hub: one that is brought here, and this one that is published there."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

import gradio as gr

from training.data import datasets
from training.data.folder import about
from training.hub import account, collect, datacard
from training.hub.client import HubError
from training.hub.collect import Found
from training.hub.secrets import Secret
from training.jobfile import parse
from training.jobs.publish_dataset import Config
from training.names import folder_name
from training.runs import supervisor
from training.runs.run import Run, create, list_runs

from ... import counted, shell
from ...language import N_, tr, trc
from ...words import in_words
from ..publish import page as publishpage
from ..train.missing import chosen
from .imports import Imports

KEPT = 20  # datasets that were looked at and are remembered


@dataclass
class Arrive:
    """What brings one here is made of."""

    source: gr.Textbox
    look: gr.Button
    found: gr.HTML


@dataclass
class Leave:
    """What publishes this one is made of.  seen: what the page shows."""

    repo: gr.Textbox
    licence: gr.Dropdown
    private: gr.Checkbox
    publish: gr.Button
    said: gr.HTML
    seen: gr.State


def build_arrive(js: str) -> Arrive:
    """The layout.  js: what makes clicks in our HTML events of it."""
    with gr.Accordion(tr("Add a dataset of the Hugging Face Hub"), open=False, elem_classes="ez-fold"):
        with gr.Row(elem_classes="ez-row"):
            source = gr.Textbox(
                label=tr("Dataset"), placeholder=tr("owner/name, or the address of its page"), max_lines=1, elem_classes="ez-grow", elem_id="ez-hub-source",
                info=tr("Pictures, captions and tables are downloaded; nothing in it is ever run. Private ones need the account of the Publish tab."),
            )  # fmt: skip
            look = gr.Button(trc("at what the Hub has", "Look"), elem_classes="ez-fit", min_width=0, elem_id="ez-hub-look")
        found = gr.HTML(apply_default_css=False, js_on_load=js, elem_id="ez-hub-found")
    return Arrive(source, look, found)


def build_leave(js: str) -> Leave:
    """The layout."""
    with gr.Accordion(tr("Publish this dataset on the Hugging Face Hub"), open=False, elem_classes="ez-fold"):
        with gr.Row(elem_classes="ez-row"), gr.Column():
            with gr.Row():
                repo = gr.Textbox(
                    label=tr("Repository"), placeholder="my-cat", max_lines=1, min_width=240, scale=2, elem_id="ez-hub-repo",
                    info=tr("A name, or namespace/name. Empty: this dataset’s own name, in your account."),
                )  # fmt: skip
                licence = gr.Dropdown(
                    [(name or tr("None named"), name) for name in datacard.LICENCES], value="", label=tr("Licence of the pictures"), allow_custom_value=True, interactive=True, min_width=200, scale=1,
                    elem_id="ez-hub-licence", info=tr("What others may do with them. Without one: nothing."),
                )  # fmt: skip
            with gr.Row(elem_classes="ez-spread"):
                private = gr.Checkbox(True, label=tr("Private: only you, and those you invite, see it"), container=False, min_width=240, elem_classes="ez-grow", elem_id="ez-hub-private")
                publish = gr.Button(tr("Publish dataset"), elem_classes="ez-fit", min_width=0, elem_id="ez-hub-publish")
        said = gr.HTML(apply_default_css=False, js_on_load=js, elem_id="ez-hub-said")
    return Leave(repo, licence, private, publish, said, gr.State(""))


def wire_arrive(parts: Arrive, ctx, imports: Imports, asked: list, tab) -> None:
    """The connections.  tab: the Dataset tab's handlers; asked: their inputs."""
    known: dict[str, Found] = {}

    def look(text: str, token: collect.Given):
        try:
            found = collect.look(text or "", token)
        except (ValueError, HubError) as error:
            return _error(in_words(str(error)))
        known[f"{found.id}@{found.revision}"] = found
        for old in list(known)[:-KEPT]:
            known.pop(old, None)
        return found_html(found)

    def take(name: str, view: dict, event: gr.EventData, token: collect.Given):
        found = known.get(str(event.key))
        if str(event.act) != "get" or found is None:
            return [gr.skip()] * (3 + len(tab.outputs))
        ds = chosen(ctx.home, name) or datasets.create(ctx.home, found.id.partition("/")[2])
        try:
            imports.hub(ds, found, token)
        except ValueError as error:
            raise gr.Error(in_words(str(error)), print_exception=False) from None
        return ["", "", ctx.soon(), *tab.choose(ds.name, view)]

    def look_here(text, token: gr.OAuthToken | None):
        return look(text, of_visitor(token))

    def take_here(name, view, event: gr.EventData, token: gr.OAuthToken | None):
        return take(name, view, event, of_visitor(token))

    signed = shell.oauth()
    wait = (lambda: f'<p class="ez-muted ez-small" role="status">{escape(tr("Asking the Hub …"))}</p>'), None, parts.found
    for event in (parts.look.click, parts.source.submit):
        event(*wait, **shell.INSTANT).then(look_here if signed else lambda text: look(text, None), parts.source, parts.found, **shell.QUIET)

    def take_plain(name, view, event: gr.EventData):
        return take(name, view, event, None)

    parts.found.act(take_here if signed else take_plain, asked, [parts.source, parts.found, ctx.timer, *tab.outputs], **shell.QUIET)


def of_visitor(token: gr.OAuthToken | None) -> collect.Given:
    """What a visitor of a Space reads the Hub with: never the token of its owner."""
    return Secret(token.token) if token else collect.ANYBODY


def found_html(found: Found) -> str:
    """What was found, its size before anything is fetched, and the button that fetches it."""
    key = escape(f"{found.id}@{found.revision}")
    return (
        f'<div class="ez-card ez-spread" role="status"><div><b>{escape(found.id)}</b><p class="ez-muted ez-small">{escape(in_words(counted.said(found.told(), "; ")))}</p></div>'
        f'<button type="button" class="ez-btn ez-primary" data-act="get" data-key="{key}">{escape(tr("Download and add"))}</button></div>'
    )


def wire_leave(parts: Leave, ctx) -> None:
    """The connections."""
    outputs = [parts.said, parts.seen]

    def look(name: str, seen: str):
        html = status_html(ctx, name)
        return (gr.skip(), gr.skip()) if html == seen else (html, html)

    def publish(name: str, repo: str, licence: str, private: bool, token: Secret | None):
        if not token and not account.find_token()[0]:
            return _sign_in(), _sign_in(), gr.skip()
        try:
            start(ctx, name, repo or "", licence or "", private, token)
        except (ValueError, OSError) as error:
            html = _error(in_words(str(error)))
            return html, html, gr.skip()
        html = status_html(ctx, name)
        return html, html, ctx.soon()

    def act(name: str, event: gr.EventData, token: Secret | None):
        job = newest(ctx, name)
        if job and str(event.act) == "cancel":
            job.command("stop")
        if job and str(event.act) == "retry":
            supervisor.start_soon(job, ctx.home, token)
        html = status_html(ctx, name)
        return html, html, ctx.soon()

    def publish_here(name, repo, licence, private, token: gr.OAuthToken | None):
        return publish(name, repo, licence, private, Secret(token.token) if token else None) if token else (_sign_in(), _sign_in(), gr.skip())

    def act_here(name, event: gr.EventData, token: gr.OAuthToken | None):
        return act(name, event, Secret(token.token) if token else None)

    def publish_plain(name, repo, licence, private):
        return publish(name, repo, licence, private, None)

    def act_plain(name, event: gr.EventData):
        return act(name, event, None)

    signed, told = shell.oauth(), [*outputs, ctx.timer]
    ctx.at_load(look, [ctx.dataset, parts.seen], outputs)
    ctx.every_tick(look, [ctx.dataset, parts.seen], outputs, tab="dataset")
    ctx.dataset.change(look, [ctx.dataset, parts.seen], outputs, **shell.INSTANT)
    parts.publish.click(publish_here if signed else publish_plain, [ctx.dataset, parts.repo, parts.licence, parts.private], told, **shell.QUIET)
    parts.said.act(act_here if signed else act_plain, ctx.dataset, told, **shell.QUIET)


def _error(text: str) -> str:
    return f'<p class="ez-error" role="alert">{escape(text)}</p>'


def _sign_in() -> str:
    return _error(tr("Sign in on the Publish tab first, with a token that may write."))


def start(ctx, name: str, repo: str, licence: str, private: bool, token: Secret | None) -> None:
    """Makes the job and starts it.  Raises ValueError, OSError."""
    ds = chosen(ctx.home, name)
    if ds is None:
        raise ValueError(tr("there is no dataset to publish"))
    if not ds.counts().usable:
        raise ValueError(tr("{title} has no usable picture to publish", title=repr(ds.title)))
    going = newest(ctx, name)
    if going and (supervisor.starting(going) or going.status() in ("running", "queued")):
        raise ValueError(tr("this dataset is being published already"))
    wanted = repo.strip() or account.suggest_repo_id(ds.title)
    data = {"kind": "publish_dataset", "name": folder_name(ds.title), "dataset": ds.name, "repo_id": wanted, "private": private, "licence": licence.strip().lower()}
    config = parse(Config, data, N_("the upload"))
    supervisor.start_soon(lambda: create(ctx.home.outputs, config), ctx.home, token)


def newest(ctx, name: str) -> Run | None:
    """The newest push of a dataset, under this name or one that it had before."""
    ds = chosen(ctx.home, name) if name else None
    names = {name, *(about(ds.meta).get("was", []) if ds else [])}
    return next((job for job in list_runs(ctx.home.outputs, {"publish_dataset"}) if job.job().get("dataset") in names), None) if name else None


def status_html(ctx, name: str) -> str:
    """How the newest push of a dataset stands, and what it warned of."""
    job = newest(ctx, name)
    if job is None:
        return ""
    view, status = ctx.watch.status(job)
    status = "queued" if supervisor.starting(job) else status
    told = job.job()
    why = job.why(view) if status in ("failed", "interrupted") else ""
    where = view.summary.partition(" ")[0].split("/datasets/")[-1] if status == "finished" else str(told.get("repo_id", ""))
    push = publishpage.Push(job.id, status, view, where, bool(told.get("private", True)), why)
    warned = "".join(f'<p class="ez-note ez-warn">{escape(in_words(text))}</p>' for text in view.warnings)
    return publishpage.push(push) + warned
