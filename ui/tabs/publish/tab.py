"""Publish: a LoRA, its card and its samples to the Hugging Face Hub, or into a ZIP."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from html import escape

import gradio as gr
from pydantic import BaseModel, ConfigDict

from training import registry
from training.hub import publish as hub
from training.hub.account import Account, tokens_page
from training.hub.card import model_card, split_card
from training.hub.secrets import Secret
from training.jobfile import parse
from training.jobs.publish import Config
from training.runs import supervisor
from training.runs.run import Run, create, list_runs

from ... import drafts, shell, views
from ...language import N_, tr
from ...language.heard import heard
from ...poll import changes, result_of
from ...server import client, media
from ...words import in_words
from ..results.tab import offers_of
from . import page as publishpage

TITLE = N_("Publish")
ACCOUNT_S = 120.0  # how long an answer to "who is signed in" is taken for true
PIECES = ("what", "target", "push", "meta", "body", "card", "nothing", "zip")


class Wish(BaseModel):
    """What is to be published, one a run.  samples None: the newest picture of every prompt; card "": the one that is made."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    checkpoint: str = ""
    samples: tuple[str, ...] | None = None
    repo: str = ""
    private: bool = True
    card: str = ""


@dataclass
class Parts:
    """What the tab is made of.  seen: what this browser shows; chosen: the run, when it is not the one of Results."""

    seen: gr.State
    nothing: gr.HTML
    body: gr.Row
    what: gr.HTML
    meta: gr.HTML
    preview: gr.Markdown
    card: gr.Textbox
    reset: gr.Button
    account: gr.HTML
    sign_in: gr.Column
    token: gr.Textbox
    remember: gr.Button
    target: gr.HTML
    push: gr.HTML
    zip: gr.HTML
    login: list = field(default_factory=list)

    def outputs(self) -> list:
        return [self.seen, self.body, self.what, self.target, self.push, self.meta, self.preview, self.card, self.nothing, self.zip]


def build(ctx) -> Parts:
    """The layout: what and the card on the left, who and where to on the right."""
    seen = gr.State({})
    gr.HTML(shell.heading(tr("Publish"), tr("Share the LoRA on the Hugging Face Hub with a model card, or take it with you as a ZIP.")), apply_default_css=False)
    nothing = gr.HTML("", apply_default_css=False)
    with gr.Row(visible=False, elem_classes="ez-two", elem_id="ez-publish") as body:
        with gr.Column(scale=5, min_width=320):
            with gr.Column(elem_classes="ez-card"):
                gr.HTML(f'<h2 class="ez-subtitle">{escape(tr("What to publish"))}</h2>')
                what = gr.HTML("", apply_default_css=False, js_on_load=client.BIND)
            with gr.Column(elem_classes="ez-card"):
                gr.HTML(f'<h2 class="ez-subtitle">{escape(tr("Model card"))}</h2>')
                with gr.Column(elem_classes="ez-card-preview"):
                    meta = gr.HTML("", apply_default_css=False)
                    preview = gr.Markdown("", sanitize_html=True, container=False)
                with gr.Accordion(tr("Edit the card"), open=False):
                    card = gr.Textbox(
                        "", label="README.md", lines=16, max_lines=30, info=tr("Markdown. The lines between --- are read by the Hub."), elem_classes="ez-code"
                    )
                    reset = gr.Button(tr("Reset card"), size="sm", elem_classes="ez-quiet ez-fit")
        with gr.Column(scale=3, min_width=300, elem_classes="ez-side-card"):
            with gr.Column(elem_classes="ez-card"):
                account = gr.HTML(publishpage.account(None), apply_default_css=False)
                with gr.Column(visible=False) as sign_in:
                    token = gr.Textbox(
                        "", type="password", label=tr("Access token"), placeholder="hf_…", max_length=200,
                        info=tr("Kept in huggingface_hub's own store on this computer, nowhere else."),
                    )  # fmt: skip
                    remember = gr.Button(tr("Sign in"), size="sm", variant="secondary")
                login = [gr.LoginButton()] if shell.oauth() else []
                gr.HTML('<hr class="ez-rule">')
                target = gr.HTML("", apply_default_css=False, js_on_load=client.BIND)
                push = gr.HTML("", apply_default_css=False, js_on_load=client.BIND)
            with gr.Column(elem_classes="ez-card-quiet"):
                zip_ = gr.HTML("", apply_default_css=False, js_on_load=client.BIND)
    return Parts(seen, nothing, body, what, meta, preview, card, reset, account, sign_in, token, remember, target, push, zip_, login)


def wire(parts: Parts, ctx) -> None:
    """One paint for everything; the account apart, because it asks the network."""
    inputs = [ctx.run, parts.seen]

    def look(chosen, seen):
        return paint(ctx, chosen, seen)

    def edit(chosen, seen, event: gr.EventData):
        path, value = str((event._data or {}).get("field", "")), str((event._data or {}).get("value", ""))
        if path == "run":
            return [*paint(ctx, value, _without_faults(seen)), value]
        change(ctx, chosen, {path: value})
        return [*paint(ctx, chosen, _without_faults(seen)), gr.skip()]

    def edit_card(chosen, seen, text):
        change(ctx, chosen, {"card": text})
        return paint(ctx, chosen, seen)

    def reset_card(chosen, seen):
        change(ctx, chosen, {"card": ""})
        return paint(ctx, chosen, seen)

    ctx.at_load(look, inputs, parts.outputs(), tab="publish")
    ctx.every_tick(look, inputs, parts.outputs(), tab="publish")
    ctx.items["publish"].select(look, inputs, parts.outputs(), **shell.INSTANT)
    ctx.run.change(look, inputs, parts.outputs(), **shell.INSTANT)
    for box in (parts.what, parts.target):
        box.edit(edit, inputs, [*parts.outputs(), ctx.run], **shell.INSTANT)
    parts.card.blur(edit_card, [*inputs, parts.card], parts.outputs(), **shell.INSTANT)
    parts.reset.click(reset_card, inputs, parts.outputs(), **shell.INSTANT)
    _wire_account(parts, ctx)
    _wire_actions(parts, ctx)


def _wire_account(parts: Parts, ctx) -> None:
    outputs = [parts.account, parts.sign_in, parts.seen]

    def told(who: Account, seen: dict):
        return publishpage.account(who), gr.Column(visible=not who.ok or not who.namespaces), {**seen, "who": who, "who_t": time.time()}

    def whose(seen):
        if isinstance(seen.get("who"), Account) and time.time() - seen["who_t"] < ACCOUNT_S:
            return gr.skip(), gr.skip(), gr.skip()
        return told(hub.signed_in(), seen)

    def whose_here(seen, token: gr.OAuthToken | None):
        return told(hub.signed_in(Secret(token.token)) if token else Account(reason=tr("Sign in with your Hugging Face account.")), seen)

    def sign_in(token, seen):
        if not token.strip():
            return told(Account(reason=tr("Paste a token first: {page}, with write access.", page=tokens_page())), seen) + ("",)
        return told(hub.save_token(token), seen) + ("",)

    ctx.items["publish"].select(whose_here if parts.login else whose, parts.seen, outputs, **shell.QUIET).then(
        lambda chosen, seen: paint(ctx, chosen, seen), [ctx.run, parts.seen], parts.outputs(), **shell.QUIET
    )
    for event in (parts.remember.click, parts.token.submit):
        event(sign_in, [parts.token, parts.seen], [*outputs, parts.token], **shell.QUIET).then(
            lambda chosen, seen: paint(ctx, chosen, seen), [ctx.run, parts.seen], parts.outputs(), **shell.QUIET
        )


def _wire_actions(parts: Parts, ctx) -> None:
    outputs = [*parts.outputs(), ctx.timer]

    def act(chosen, seen, event: gr.EventData):
        return [*answer(ctx, chosen, seen, event._data or {}, None), ctx.soon()]

    def act_here(chosen, seen, event: gr.EventData, token: gr.OAuthToken | None):
        return [*answer(ctx, chosen, seen, event._data or {}, Secret(token.token) if token else None), ctx.soon()]

    def export(chosen, seen):
        run = _pick(ctx, chosen)[0]
        return [*paint(ctx, chosen, {**seen, "zip": zipped(ctx, run) if run else ""}), ctx.soon()]

    inputs = [ctx.run, parts.seen]
    for box in (parts.target, parts.push):
        box.act(act_here if parts.login else act, inputs, outputs, **shell.INSTANT)
    parts.zip.act(lambda: publishpage.export(tr("Making the ZIP …"), busy=True), None, parts.zip, **shell.INSTANT).then(export, inputs, outputs, **shell.QUIET)


# what the page shows


def paint(ctx, chosen: str, seen: dict) -> list:
    """[seen, body, every piece]; gr.skip() for what this browser shows already."""
    run, runs = _pick(ctx, chosen)
    if run is None:
        pieces = dict.fromkeys(PIECES, "") | {"nothing": _nothing()}
    else:
        pieces = _pieces(ctx, run, runs, seen)
    prints, values = changes(seen.get("prints", {}), {"shown": run is not None, **pieces})
    if prints == seen.get("prints"):
        return [gr.skip()] * (2 + len(PIECES))
    body = gr.Row(visible=run is not None) if isinstance(values[0], bool) else values[0]
    return [{**seen, "prints": prints}, body, *values[1:]]


def _nothing() -> str:
    """What stands in place of the tab while there is nothing to publish."""
    why = tr("As soon as a run has a checkpoint, it can go to the Hugging Face Hub or into a ZIP from here.")
    return (
        f'<div class="ez-empty"><h2>{escape(tr("Nothing to publish yet"))}</h2><p>{escape(why)}</p>'
        f'<button type="button" class="ez-btn ez-primary" data-tab="results">{escape(tr("See the runs"))}</button></div>'
    )


def _pick(ctx, chosen: str) -> tuple[Run | None, list[Run]]:
    """(the run to publish, all that could be): those with a LoRA or a checkpoint."""
    every = list_runs(ctx.home.outputs, {"train"})
    done, runs = {}, []
    for run in every:
        try:
            done[run.id] = result_of(run, ctx.watch.view(run))
            runs += [run] if done[run.id] or _steps(ctx, run) else []
        except (ValueError, OSError):  # Results says why it cannot be read
            continue
    run = next((run for run in runs if run.id == chosen), None) or next((run for run in runs if done[run.id]), runs[0] if runs else None)
    return run, runs


def _pieces(ctx, run: Run, runs: list[Run], seen: dict) -> dict[str, str]:
    view, _ = ctx.watch.status(run)
    wish = settled(ctx, run, drafts.load(ctx.home, f"publish-{run.id}", Wish), seen.get("who"))
    now = time.time()
    steps = _steps(ctx, run)
    best, reason = views.advised(view, steps)
    kept = [("final", tr("The finished LoRA"))] if result_of(run, view) else []
    kept += [(str(s), tr("Step {step} (suggested)", step=s) if s == best and not kept else tr("Step {step}", step=s)) for s in reversed(steps)]
    shots = [
        publishpage.Shot(path, media.sample_url(ctx, run.id, path), step, prompt)
        for step, _, prompt, path, _ in sorted(view.samples, key=lambda s: (-s[0], s[1]))[:60]
    ]
    try:
        meta, body = split_card(wish.card)
        meta = publishpage.front_matter(meta)
    except ValueError as error:
        meta, body = f'<p class="ez-error" role="alert">{views.paragraphs(in_words(str(error)))}</p>', wish.card
    job = newest_push(ctx, run)
    who = seen.get("who")
    blocked = "" if isinstance(who, Account) and who.ok and who.namespaces else tr("Sign in first, with a token that may write.")
    if job and job.status in ("running", "queued"):
        blocked = tr("An upload of this run is under way.")
    return {
        "what": publishpage.what(
            [(r.id, f"{r.title} · {views.when(r.created_t, now)}") for r in runs], run.id, kept, wish.checkpoint,
            "" if wish.checkpoint == "final" else f"{tr('Suggested: step {step}.', step=best)} {heard(reason)}", shots, set(wish.samples),
        ),
        "target": publishpage.target(wish.repo, wish.private, seen.get("faults", {}), blocked),
        "push": publishpage.push(job), "meta": meta, "body": body.replace("<Gallery />", ""), "card": wish.card, "nothing": "",
        "zip": (seen.get("zip") or publishpage.export("")) + publishpage.files(_downloads(ctx, run, wish.checkpoint)),
    }  # fmt: skip


def _steps(ctx, run: Run) -> list[int]:
    """Steps whose checkpoints can be published: of a network of its own, which its finished result gives its form, once there is one."""
    result = result_of(run, ctx.watch.view(run))
    return [step for step, _ in run.checkpoints()] if offers_of(ctx, run) or (result is not None and result.is_dir()) else []


def _downloads(ctx, run: Run, checkpoint: str) -> list[tuple[str, str]]:
    """(the programs that read it, address) of the chosen checkpoint's weights alone."""
    what = "lora" if checkpoint == "final" else f"step-{checkpoint}"
    return [(o.title, media.file_url(ctx, run.id, f"{what}-{o.id}")) for o in offers_of(ctx, run)]


def settled(ctx, run: Run, wish: Wish, who: Account | None) -> Wish:
    """The wish with everything filled in that nobody chose."""
    view, _ = ctx.watch.status(run)
    steps = {str(step) for step in _steps(ctx, run)}
    checkpoint, finished = wish.checkpoint, result_of(run, view)
    if not (checkpoint in steps or (checkpoint == "final" and finished)):
        checkpoint = "final" if finished else str(views.advised(view, sorted(map(int, steps)))[0])
    made = {path for *_, path, _ in view.samples}
    if wish.samples is None:
        last = view.result_step if checkpoint == "final" else int(checkpoint)  # what was drawn later is not of this checkpoint
        newest = {index: path for step, index, _, path, _ in sorted(view.samples) if not last or step <= last}
        samples = tuple(newest[i] for i in sorted(newest))
    else:
        samples = tuple(s for s in wish.samples if s in made)
    space = who.namespaces[0] if isinstance(who, Account) and who.namespaces else ""
    repo = wish.repo or hub.suggest_repo_id(run.title, space)
    card = wish.card or made_card(ctx, run, repo, checkpoint, samples)
    return Wish(checkpoint=checkpoint, samples=samples, repo=repo, private=wish.private, card=card)


def made_card(ctx, run: Run, repo: str, checkpoint: str, samples: tuple[str, ...]) -> str:
    """The model card that Easel writes; of a run that cannot be read, the reason."""
    try:
        config = run.config()
        spec = registry.get("families", config.model.family, ctx.home.plugins).SPEC
        step = checkpoint if checkpoint == "final" else int(checkpoint)
        return model_card(run, config, spec, repo_id=repo if "/" in repo else "", checkpoint=step, samples=samples)
    except ValueError as error:
        return f"---\nlicense: other\n---\n\n{heard(str(error))}\n"


def newest_push(ctx, run: Run) -> publishpage.Push | None:
    """The newest publish job of a run."""
    for job in list_runs(ctx.home.outputs, {"publish"}):
        told = job.job()
        if told.get("run") == run.id:
            view, status = ctx.watch.status(job)
            status = "queued" if supervisor.starting(job) else status
            why = job.why(view) if status in ("failed", "interrupted") else ""
            return publishpage.Push(job.id, status, view, str(told.get("repo_id", "")), bool(told.get("private", True)), why)
    return None


def _without_faults(seen: dict) -> dict:
    return {k: v for k, v in seen.items() if k not in ("faults", "zip")}


# what its fields and buttons do


def change(ctx, chosen: str, fields: dict[str, str]) -> None:
    """Keeps what was chosen or typed for the run."""
    run, _ = _pick(ctx, chosen)
    if run is None:
        return
    def how(wish: Wish) -> Wish:
        for path, value in fields.items():
            wish = _wished(ctx, run, wish, path, value)
        return wish

    drafts.change(ctx.home, f"publish-{run.id}", Wish, how)


def _wished(ctx, run: Run, wish: Wish, path: str, value: str) -> Wish:
    """The wish after one field."""
    if path.startswith("sample:"):
        sample = path.removeprefix("sample:")
        picked = {s for s in settled(ctx, run, wish, None).samples if s != sample} | ({sample} if value == "on" else set())
        order = {p: (-step, index) for step, index, _, p, _ in ctx.watch.view(run).samples}
        return wish.model_copy(update={"samples": tuple(sorted(picked & order.keys(), key=order.__getitem__))})
    if path == "private":
        return wish.model_copy(update={"private": value == "on"})
    if path == "card":
        same = value.strip() == settled(ctx, run, wish.model_copy(update={"card": ""}), None).card.strip()
        return wish.model_copy(update={"card": "" if same else value[:200_000]})
    return wish.model_copy(update={path: value[:300]}) if path in ("checkpoint", "repo") else wish


def answer(ctx, chosen: str, seen: dict, data: dict, token: Secret | None) -> list:
    """Publish, Cancel, Retry: does it, or says what is wrong beside the field."""
    seen, faults = _without_faults(seen), {}
    act = str(data.get("act", ""))
    try:
        if act == "publish":
            if isinstance(data.get("fields"), dict):
                change(ctx, chosen, {str(k): str(v) for k, v in data["fields"].items()})
            faults = publish(ctx, chosen, seen.get("who"), token)
        else:
            job = Run.open(ctx.home.outputs, str(data.get("job", "")))
            if job.kind != "publish":
                raise ValueError(tr("That is no upload."))
            if act == "cancel":
                job.command("stop")
            elif act == "retry":
                supervisor.start_soon(job, ctx.home, token)
    except (ValueError, OSError) as error:
        faults = {"": in_words(str(error))}
    if faults:
        seen["faults"] = faults
    return paint(ctx, chosen, seen)


def publish(ctx, chosen: str, who: Account | None, token: Secret | None) -> dict[str, str]:
    """Makes the publish job and starts it: {}, or what is wrong, by field.  Raises ValueError, OSError."""
    run, _ = _pick(ctx, chosen)
    if run is None:
        return {"": tr("There is no run to publish.")}
    wish = settled(ctx, run, drafts.load(ctx.home, f"publish-{run.id}", Wish), who)
    try:
        repo = hub.check_repo_id(wish.repo, who.namespaces[0] if isinstance(who, Account) and who.namespaces else "")
    except ValueError as error:
        return {"repo": in_words(str(error))}
    split_card(wish.card)
    checkpoint = wish.checkpoint if wish.checkpoint == "final" else int(wish.checkpoint)
    config = parse(
        Config,
        {"kind": "publish", "name": run.title, "run": run.id, "checkpoint": checkpoint, "repo_id": repo, "private": wish.private,
         "samples": list(wish.samples), "card": wish.card},
        N_("the upload"),
    )  # fmt: skip
    supervisor.start_soon(lambda: create(ctx.home.outputs, config), ctx.home, token)
    return {}


def zipped(ctx, run: Run) -> str:
    """Makes the ZIP in the run's folder; the export box with its link, or with what went wrong."""
    wish = settled(ctx, run, drafts.load(ctx.home, f"publish-{run.id}", Wish), None)
    try:
        split_card(wish.card)
        path = hub.export_zip(run, wish.checkpoint, wish.samples, wish.card, run.path / "export.zip")
    except (ValueError, OSError) as error:
        return publishpage.export(in_words(str(error)), bad=True)
    link = f"{media.file_url(ctx, run.id, 'export.zip')}?t={int(time.time())}"
    return publishpage.export(f"{run.title}.zip, {views.size(path.stat().st_size)}", link)
