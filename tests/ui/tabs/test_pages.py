"""Train, Results and Publish do what their buttons say, on real folders: what is written, what is shown, what is refused."""

import html
import re
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from html.parser import HTMLParser

import gradio as gr
import pytest

from tests.data import make
from tests.plan.test_presets import CARD
from tests.ui import story
from training import registry
from training.config import TrainConfig
from training.data import datasets, importing
from training.hub import publish as hub
from training.hub.account import Account
from training.plan import presets
from training.plan.cards import Gpu, labels
from training.plan.hardware import Machine
from training.plan.presets import QUALITIES, list_presets
from training.runs import journal
from training.runs.run import list_runs
from ui import drafts, forms, sidebar, views
from ui.tabs.publish import tab as publish
from ui.tabs.results import page as runpage
from ui.tabs.results import tab as results
from ui.tabs.train import draft
from ui.tabs.train import page as trainpage
from ui.tabs.train import tab as train
from ui.tabs.train.draft import Draft

LAPTOP = Machine("", 0, 0, 16 * 10**9, 12 * 10**9, 10**11, "a processor", 8, False, "", (0, 0), False, "")
ALICE = Account("alice", "write", ("alice",), (), "saved")


class Tags(HTMLParser):
    """Every tag of a page with its attributes."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))


def buttons(text: str) -> dict[str, bool]:
    """{what a button does: whether it can be pressed}."""
    found = [a for _, a in Tags(text).tags if "data-act" in a]
    return {a["data-act"]: a.get("aria-disabled") != "true" for a in found}


# Results


def shown(ctx, run_id: str = "", seen: dict | None = None) -> dict[str, str]:
    """The pieces of the Results page as a fresh browser gets them."""
    return dict(zip(results.PIECES, results.paint(ctx, run_id, seen or {})[2:], strict=True))


def test_without_a_run_the_page_says_where_to_begin(ctx):
    assert "No runs yet" in shown(ctx)["strip"] and 'data-tab="train"' in shown(ctx)["strip"]


def test_a_finished_run_offers_its_file_and_everything_else(ctx):
    run = story.run(ctx.home, 100, "finished", validate=True)
    page = shown(ctx, run.id)
    assert "my-zibbo.safetensors" in page["head"] and "/easel/file/" in page["head"] and "Finished" in page["head"]
    assert page["samples"].count('class="ez-shot"') == 12 and "ez-pair" in page["pairs"] and "<svg" in page["chart"]
    assert page["checkpoints"].count(">Download</a>") == 5 and "for diffusers, ComfyUI and AUTOMATIC1111" in page["head"] and "suggested" in page["checkpoints"] and "Step 40" in page["checkpoints"]
    assert "learns no more after step" in page["advice"] and 'data-act="use" data-value="40"' in page["advice"] and page["advice"].count('<path class="ez-line-') == 3
    assert page["checkpoints"].count('data-act="use"') == 4 and "the result" in page["checkpoints"], "any but the one that it is"
    assert results.answer(ctx, run.id, {}, {"act": "use", "value": "30"})[0]["notice"][0] == "ez-bad" and run.view().result_step == 0
    assert "rank: 16" in page["details"] and not page["warnings"]
    assert buttons(page["head"]) == {"longer": False, "duplicate": True, "delete": True, "save-preset": True}, "these checkpoints hold no optimizer"
    assert "state of the optimizer is gone" in page["head"]


def test_a_finished_run_can_be_trained_longer_and_what_changes_is_said_before(ctx):
    page = runpage.Page("x", "X", "finished", story.run(ctx.home, 20, "finished").view(), "", 0.0, longer=(50, ("A new run goes on.", "The rate stays.")))
    head = runpage.head(page, 0.0)
    assert buttons(head)["longer"] and 'value="50"' in head and head.index("The rate stays.") < head.index('data-act="longer"')
    answered = results.answer(ctx, story.run(ctx.home, 20, "finished").id, {}, {"act": "longer", "value": "many"})
    assert "whole number" in answered[0]["notice"][1]


def test_a_card_is_chosen_only_where_there_are_several(ctx):
    name = story.pictures(ctx.home)
    one, two = Gpu(1, "GPU-b", "NVIDIA GeForce RTX 4090", "580", 24 * 2**30, 20 * 2**30), Gpu(0, "GPU-a", "NVIDIA GeForce RTX 5060", "580", 8 * 2**30, 7 * 2**30)
    form = Draft(gpu="GPU-a")
    made = draft.plan(ctx.home, form, name, CARD)
    cards = list(labels([one, two]).items())
    text = trainpage.essentials(form, made, [(name, "T")], {}, cards)
    assert "Any free card" in text and "NVIDIA GeForce RTX 5060, 8 GB" in text and '<option value="GPU-a" selected>' in text
    assert "Graphics card" not in trainpage.essentials(form, made, [(name, "T")], {})
    seen = replace(CARD, gpu="GPU-b", cards=(one, two))
    assert draft.free_card(ctx.home, made, Draft(), seen) == "GPU-b" and draft.free_card(ctx.home, made, form, seen) == "GPU-a"
    both = sidebar.machine_html(seen, None)
    assert "VRAM, RTX 4090" in both and "VRAM, RTX 5060" in both and "2 graphics cards" in both


@pytest.mark.parametrize(("end", "word", "then"), [("stopped", "Stopped at step 50 — everything is saved", "Resume goes on at step 40"), ("failed", "The disk is full.", "Free some space")])
def test_a_run_that_ended_early_says_why_and_what_next(ctx, end, word, then):
    run = story.run(ctx.home, 50, end)
    head = shown(ctx, run.id)["head"]
    assert word in head and then in head and buttons(head)["resume"]
    assert "<i>" not in head.replace("<i></i>", "").replace('<i style="width', ""), "the traceback is text"


def test_an_interrupted_run_can_be_resumed(ctx):
    run = story.run(ctx.home, 50)
    head = shown(ctx, run.id)["head"]
    assert "Interrupted" in head and "step 40" in head and buttons(head)["resume"]


def test_resume_waits_until_the_last_attempt_is_gone(ctx):
    run = story.run(ctx.home, 50, "stopped")
    with story.alive(run):
        head = shown(ctx, run.id)["head"]
        assert not buttons(head)["resume"] and "still ending" in head
    assert buttons(shown(ctx, run.id)["head"])["resume"]


def test_changed_pictures_ask_before_going_on(ctx):
    run = story.run(ctx.home, 50, "failed", error="The pictures changed. Put that back, resume with the changes accepted, or duplicate", hint="")
    assert "accept" in buttons(shown(ctx, run.id)["head"])


def test_a_running_run_takes_commands_and_cannot_be_deleted(ctx):
    run = story.run(ctx.home, 50, warnings=("a <b> has no effect",))
    with story.alive(run):
        page = shown(ctx, run.id)
        assert buttons(page["head"]) == {"stop": True, "save": True, "duplicate": True, "delete": False, "sample": True}
        assert "50 <small>of 100" in page["head"] and "50 %" in page["head"] and "&lt;b&gt;" in page["warnings"]
        for data in ({"act": "sample", "value": " a red fox "}, {"act": "save"}, {"act": "stop"}, {"act": "delete", "run": run.id}):
            answered = results.answer(ctx, run.id, {}, data)
        assert "is running; stop it" in str(answered)
        assert [(r["kind"], r.get("prompt")) for r in journal.read(run.control_path)[0]] == [("sample", "a red fox"), ("save", None), ("stop", None)]
        head = shown(ctx, run.id)["head"]
        assert "Stopping" in head and not buttons(head)["stop"] and "kill" not in buttons(head)


def test_kill_is_offered_only_after_half_a_minute(ctx):
    run = story.run(ctx.home, 20)
    journal.append(run.control_path, {"t": run.last("started")["t"] + 1, "kind": "stop"})
    with story.alive(run):
        journal.append(run.events_path, {"t": run.last()["t"], "kind": "warning", "text": "late"})
        page = results.page_of(ctx, run, "", ("", ""))
        assert page.stopping_s == pytest.approx(29, abs=8) and page.kill_offered == (page.stopping_s >= 30)
    for offered in (True, False):
        assert ("kill" in buttons(runpage.head(runpage.Page(**{**vars(page), "kill_offered": offered}), 0.0))) == offered


def test_a_queued_run_can_leave_the_queue(ctx):
    run = story.run(ctx.home, None)
    with story.alive(story.run(ctx.home, 20, name="first")):
        head = shown(ctx, run.id)["head"]
        assert buttons(head)["stop"] and "Leave the queue" in head and "Waiting for its turn" in head
    results.answer(ctx, run.id, {}, {"act": "stop"})
    assert run.status() == "stopped"


def test_a_run_whose_worker_is_on_its_way_is_starting(ctx):
    run = story.run(ctx.home, None)
    page = shown(ctx, run.id)
    assert "Starting" in page["strip"] and "ez-busy" in page["head"] and "Waiting" not in page["head"]
    assert buttons(page["head"]) == {"stop": True, "duplicate": True, "delete": False}


def test_delete_removes_the_run_that_the_page_showed_and_no_other(ctx):
    run = story.run(ctx.home, 20, "stopped")
    other = story.run(ctx.home, 20, "stopped", name="other")
    assert "the page has changed" in str(results.answer(ctx, run.id, {}, {"act": "delete", "run": other.id})).lower()
    results.answer(ctx, run.id, {}, {"act": "delete", "run": run.id})
    assert [r.id for r in list_runs(ctx.home.outputs)] == [other.id]
    assert other.title in shown(ctx, run.id)["head"], "the page goes on with another one"


def test_nothing_is_sent_twice_and_a_change_sends_only_its_piece(ctx):
    run = story.run(ctx.home, 20, "stopped")
    first = results.paint(ctx, run.id, {})
    again = results.paint(ctx, run.id, first[0])
    assert all(value == gr.skip() for value in again)
    journal.append(run.events_path, {"t": 1.0, "kind": "warning", "text": "careful"})
    later = dict(zip(results.PIECES, results.paint(ctx, run.id, first[0])[2:], strict=True))
    assert "careful" in later["warnings"] and later["samples"] == gr.skip() and later["chart"] == gr.skip()


def test_an_id_that_leads_out_of_the_folder_is_no_run(ctx):
    run = story.run(ctx.home, 20, "stopped")
    for id in ("../..", "/etc", "", "nothing", None):
        assert run.title in shown(ctx, id)["head"]


# Train


def plan(ctx, form: Draft, dataset: str) -> draft.Plan:
    return draft.plan(ctx.home, form, dataset, LAPTOP)


def test_a_laptop_is_offered_a_preset_that_fits_it(ctx):
    made = plan(ctx, Draft(), story.pictures(ctx.home))
    assert made.preset.light and made.recommended == made.preset.id and made.pictures == 3
    found = draft.bases(ctx.home, made.presets, LAPTOP)
    cards = trainpage.presets(made, Draft(), LAPTOP, found)
    checked = [a["data-id"] for _, a in Tags(cards).tags if a.get("role") == "radio" and a.get("aria-checked") == "true"]
    assert checked == ["sd15:builtin", made.preset.id, "balanced"]
    assert all(p.id in cards for p in found[0].presets) and all(f'data-id="{q}"' in cards for q in QUALITIES)
    assert "recommended" in cards and found[0].presets[0].light and not found[0].short
    assert all("graphics card" in base.short and f"<b>{base.title}</b>" in cards for base in found[1:])


def test_every_base_model_is_offered_with_its_presets_and_keeps_what_is_to_be_learnt(ctx):
    found = draft.bases(ctx.home, list_presets(), CARD)
    assert {p.id for base in found for p in base.presets} == {p.id for p in list_presets()}
    assert len({base.title for base in found if not base.builtin}) == len(found) - 1
    families = registry.find("families")
    assert {p.family for base in found for p in base.presets} == set(families)
    form = Draft(preset="sd15-style")
    for base in found:
        pressed = draft.same_goal(ctx.home, form, base.key, CARD)
        assert pressed["act"] == "preset" and pressed["id"] in {p.id for p in base.presets}
        goals = {p.goal for p in base.presets}
        assert presets.get(pressed["id"]).goal == "style" or "style" not in goals
    assert draft.same_goal(ctx.home, form, "gone:gone", CARD) == {}


def test_base_models_come_by_demand_each_with_a_picture_its_size_and_its_licence(ctx):
    found = draft.bases(ctx.home, list_presets(), CARD)
    assert [base for base in found if not base.short][-1].builtin, "to try Easel out, where a real one trains"
    assert all(min(p.base_order for p in base.presets) < 900 for base in found if not base.builtin)
    assert [b.key for b in found] == [b.key for b in sorted(found, key=lambda b: (bool(b.short), min(p.base_order for p in b.presets)))]
    made = plan(ctx, Draft(preset="qwen_image-character"), story.pictures(ctx.home))
    cards = trainpage.presets(made, Draft(), CARD, found)
    assert cards.count("ez-emblem") == len(found) and "29 B · Apache 2.0" in cards and "huggingface.co/Qwen/Qwen-Image" in cards
    assert all(base.parameters > 5e8 and base.licence[1].startswith("https://") for base in found if not base.builtin)


@pytest.mark.slow
def test_what_was_changed_for_a_small_card_is_said(ctx):
    small = replace(CARD, vram_bytes=12 * 10**9, vram_free_bytes=11 * 10**9)
    made = draft.plan(ctx.home, Draft(preset="flux1-character", trigger="zzz"), story.pictures(ctx.home), small)
    assert made.config.model.quantise == "nf4" and any("4 bits" in text for text in made.adapted)
    card = trainpage.plan_card(made, [], [], "", "", "", False)
    assert "Set for this machine" in card and "4 bits" in card
    own = draft.plan(ctx.home, Draft(preset="flux1-character", trigger="zzz", edits={"model.quantise": "none"}), story.pictures(ctx.home), small)
    assert own.config.model.quantise == "none"


def test_the_form_shows_what_follows_from_an_edit_and_marks_only_the_edit(ctx):
    made = plan(ctx, Draft(edits={"steps": "4000"}), story.pictures(ctx.home))
    assert made.wrong.keys() <= {"model.source"} and made.config.steps == 4000
    html_ = forms.render(forms.groups(TrainConfig), made.base, {"steps": "4000"}, {}, shown=made.config)
    assert html_.count("is-changed") == 1
    every = [a for _, a in Tags(html_).tags if a.get("data-path") == "save.every"]
    assert every[0]["data-value"] == str(made.config.save.every) != str(made.base.save.every)


@pytest.mark.slow
def test_the_form_shows_what_the_chosen_optimizer_can_be_told_and_hides_what_it_does_not_use(ctx):
    paths = lambda html_: {a["data-path"] for _, a in Tags(html_).tags if a.get("data-path", "").startswith(("optimizer.", "loss.ema"))}
    settings = lambda **edits: train.paint(ctx, story.pictures(ctx.home), Draft(edits={p.replace("__", "."): t for p, t in edits.items()}), {})[3]
    adamw = paths(settings())
    assert {"optimizer.betas", "optimizer.schedule", "optimizer.schedule_end", "loss.ema_decay"} <= adamw
    assert not {"optimizer.options", "optimizer.schedule_power", "optimizer.schedule_decay"} & adamw
    assert "optimizer.schedule_decay" in paths(settings(optimizer__schedule="wsd"))
    free = settings(optimizer__type="prodigy_schedulefree", optimizer__options="d_koef: 2")
    assert paths(free) == {f"optimizer.{n}" for n in ("type", "options", "learning_rate", "weight_decay", "eps", "warmup_steps", "accumulation", "clip_grad")}
    assert "<b>d_coef: 1</b> Factor of its estimate" in free and "did you mean &#x27;d_coef&#x27;" in free
    every = {a["data-path"]: a for _, a in Tags(settings(optimizer__type="prodigy")).tags if "data-path" in a}
    assert every["optimizer.learning_rate"]["data-value"] == "1"
    lion = plan(ctx, Draft(edits={"optimizer.type": "lion8bit", "optimizer.options": "beta2: 0.95"}), story.pictures(ctx.home))
    assert lion.config.optimizer.options == {"beta2": 0.95} and lion.wrong == {}


def test_a_dataset_of_clips_alone_is_refused_beside_the_field_where_stills_are_learnt(ctx):
    ds = datasets.create(ctx.home, "clips")
    importing.add_files(ds, [make.clip(ctx.home.root / "a.mp4")])
    made = plan(ctx, Draft(), "clips")
    assert "1 clip is left out" in made.wrong["dataset"] and "learns still pictures only" in made.wrong["dataset"]
    run, _ = train.start(ctx, "clips", Draft(), {}, False)
    assert run is None and not list_runs(ctx.home.outputs)
    frames = plan(ctx, Draft(preset="wan21-character", edits={"data.frames": "30"}), "clips")
    assert "takes a multiple of 4 plus one; try 29 or 33" in frames.wrong["data.frames"]


def test_wrong_fields_are_named_and_nothing_starts(ctx):
    story.pictures(ctx.home)
    form = Draft(name="a/b", trigger="two, words", edits={"adapter.rank": "many", "steps": "-3"})
    run, seen = train.start(ctx, "zibbo", form, {}, False)
    assert run is None and "Name" in seen["fault"] and "Rank in All settings" in seen["fault"] and not list_runs(ctx.home.outputs)
    essentials, _, settings, card = train.paint(ctx, "zibbo", form, seen)[1:5]
    for text in ("train-name-fault", "train-trigger-fault"):
        assert text in essentials
    assert "set-adapter-rank-fault" in settings and "set-steps-fault" in settings  # every fault at once, not one after the other
    assert "Not started" in card and 'data-act="start"' in card


def test_without_pictures_start_says_so_beside_the_field(ctx):
    run, seen = train.start(ctx, "", Draft(), {}, False)
    essentials = train.paint(ctx, "", Draft(), seen)[1]
    assert run is None and "Choose the pictures" in essentials and 'data-tab="dataset"' in essentials
    assert "Choose the pictures" not in train.paint(ctx, "", Draft(), {})[1], "nobody is told off before pressing Start"


def test_a_base_model_that_cannot_be_had_is_told_beside_its_field_when_start_is_pressed(ctx):
    dataset, form = story.pictures(ctx.home), Draft(preset="sd15-character", edits={"model.source": "owner/nothing-here"})
    assert "model.source" not in plan(ctx, form, dataset).wrong, "the Hub is asked at Start, not at each edit"
    run, seen = train.start(ctx, dataset, form, {}, anyway=True)
    settings, card = train.paint(ctx, dataset, form, seen)[3:5]
    assert run is None and not list_runs(ctx.home.outputs)
    assert "owner/nothing-here is not on this computer yet" in card and "set-model-source-fault" in settings
    settings = train.paint(ctx, dataset, form, train._fresh(seen))[3]
    assert settings is gr.skip() or "set-model-source-fault" not in settings, "it goes when something is changed"


def test_start_puts_a_whole_job_into_the_queue_while_another_runs(ctx):
    dataset = story.pictures(ctx.home)
    made = plan(ctx, Draft(name="my-zibbo", trigger="zibbo", quality="quick", edits={"adapter.rank": "8"}), dataset)
    with story.alive(story.run(ctx.home, 20, name="first")):
        began_t = time.monotonic()
        run = draft.begin(ctx.home, made)
        assert run.status() == "queued" and time.monotonic() - began_t < 2
    config = run.config()
    assert (config.name, config.trigger, config.adapter.rank, config.preset) == ("my-zibbo", "zibbo", 8, made.preset.id)
    assert config.data.datasets[0].name == dataset and config.steps == made.preset.steps("quick")
    run.command("stop")


def test_a_job_that_is_too_large_is_made_to_fit_by_one_button(ctx, monkeypatch):
    card = replace(LAPTOP, gpu_name="a card", vram_bytes=12 * 10**9, vram_free_bytes=9 * 10**9, cuda_ok=True, compute=(8, 6))
    monkeypatch.setattr(train, "machine", lambda folder: card)
    dataset = story.pictures(ctx.home)
    form = Draft(preset="sd15-character", edits={"data.batch_size": "16", "data.resolutions": "1024", "steps": "77"})
    train.changed(ctx, lambda _: form)
    page = train.paint(ctx, dataset, form, {})[4]
    assert "of VRAM are needed" in page and buttons(page)["fit"]
    assert draft.plan(ctx.home, form, dataset, card).estimate.too_large
    page = train.answer(ctx, dataset, {}, {"act": "fit"})[4]
    after = train.form_of(ctx)
    made = draft.plan(ctx.home, after, dataset, card)
    assert made.estimate.fits and "fit" not in buttons(page)
    assert (made.config.data.batch_size * made.config.optimizer.accumulation, made.config.steps, made.config.data.resolutions) == (16, 77, (1024,))
    assert "what is learnt stays the same" in page and after.edits["data.batch_size"] == str(made.config.data.batch_size)


def test_what_cannot_be_made_to_fit_is_said(ctx, monkeypatch):
    monkeypatch.setattr(train, "machine", lambda folder: replace(LAPTOP, gpu_name="a card", vram_bytes=10**9, vram_free_bytes=10**9, cuda_ok=True))
    train.changed(ctx, lambda _: Draft(preset="sd15-character"))
    page = train.answer(ctx, story.pictures(ctx.home), {}, {"act": "fit"})[4]
    assert "Nothing more makes it fit" in page and "fit" not in buttons(page)


def test_a_run_can_be_duplicated_into_the_form_with_what_differs_from_its_preset(ctx):
    dataset = story.pictures(ctx.home)
    made = plan(ctx, Draft(name="my-zibbo", trigger="zibbo", quality="thorough", edits={"adapter.rank": "8"}), dataset)
    from training.runs.run import create

    again, of = draft.of_run(ctx.home, create(ctx.home.outputs, made.config), LAPTOP)
    assert of == dataset and (again.name, again.trigger, again.quality, again.edits) == ("my-zibbo", "zibbo", "thorough", {"adapter.rank": "8"})
    assert plan(ctx, again, of).config == made.config


@pytest.mark.slow
def test_what_is_kept_as_it_is_is_chosen_shown_and_duplicated(ctx):
    from training.data import datasets, importing
    from training.runs.run import create

    dataset = story.pictures(ctx.home)
    kept = datasets.create(ctx.home, "old things")
    importing.add_folder(kept, datasets.open_dataset(ctx.home, dataset).path)
    form = Draft(name="my-zibbo", trigger="zibbo").edited("prior", kept.name)
    made = plan(ctx, form, dataset)
    assert [(use.name, use.prior) for use in made.config.data.datasets] == [(dataset, False), (kept.name, True)] and made.wrong == {}
    essentials, card = train.paint(ctx, dataset, form, {})[1], train.paint(ctx, dataset, form, {})[4]
    assert f'<option value="{kept.name}" selected>' in essentials and f"{kept.name} is kept as it is" in card
    again, of = draft.of_run(ctx.home, create(ctx.home.outputs, made.config), LAPTOP)
    assert (of, again.prior, again.edits) == (dataset, kept.name, {}) and plan(ctx, again, of).config == made.config
    for wrong, says in ((dataset, "to learn from"), ("gone", "not there")):
        assert says in plan(ctx, form.edited("prior", wrong), dataset).wrong["prior"]


@pytest.mark.slow
def test_what_the_base_model_knows_is_kept_by_a_switch_that_is_on_and_reaches_the_job(ctx):
    from training.runs.run import create

    dataset = story.pictures(ctx.home)
    form = Draft(name="my-zibbo", trigger="zibbo")
    on, off = plan(ctx, form, dataset), plan(ctx, form.edited("keep.on", "off"), dataset)
    assert on.config.keep.on and not off.config.keep.on and on.wrong == off.wrong == {}
    assert on.estimate.step_seconds > 1.5 * off.estimate.step_seconds
    painted = train.paint(ctx, dataset, form, {})
    essentials, settings, card = painted[1], painted[3], painted[4]
    switch = re.search(r'<input type="checkbox"[^>]*data-path="keep.on"[^>]*>', essentials).group()
    assert "checked" in switch and "Keep what the base model knows" in essentials and 'data-path="keep.on"' not in settings
    assert "keeping what the base model knows takes about" in card
    assert "checked" not in re.search(r'<input type="checkbox"[^>]*>', train.paint(ctx, dataset, form.edited("keep.on", "off"), {})[1]).group()
    again, of = draft.of_run(ctx.home, create(ctx.home.outputs, off.config), LAPTOP)
    assert again.edits == {"keep.on": "off"} and plan(ctx, again, of).config == off.config
    whole = form.edited("adapter.type", "full")
    assert "there is no base model beside it" in train.paint(ctx, dataset, whole, {})[1]
    assert "changes the base model itself" in plan(ctx, whole.edited("keep.on", "on"), dataset).wrong["keep.on"]


def test_duplicate_puts_the_run_into_the_form(ctx):
    run = story.run(ctx.home, 20, "stopped")
    answered = results.answer(ctx, run.id, {}, {"act": "duplicate"})
    assert answered[-1] == "zibbo" and train.form_of(ctx).trigger == "zibbo" and train.form_of(ctx).edits["steps"] == "100"


@pytest.mark.slow
def test_a_run_is_trained_on_exactly_the_same_again_and_what_is_gone_is_said_before(ctx):
    from training.data import bin, datasets
    from training.runs import exactly
    from training.runs.context import Context

    ds = datasets.open_dataset(ctx.home, story.pictures(ctx.home))
    run = story.run(ctx.home, 20, "finished")
    assert "again" not in buttons(shown(ctx, run.id)["head"]), "it does not say what it was trained on"
    exactly.note(run.config(), Context(run, ctx.home, 1))
    page = shown(ctx, run.id)
    assert buttons(page["head"])["again"] and "zibbo (version 1)" in page["head"]
    results.answer(ctx, run.id, {}, {"act": "again"})
    assert train.form_of(ctx).trigger == "zibbo" and len(datasets.list_datasets(ctx.home)) == 1, "nothing has changed since"
    first = ds.pictures()[0].id
    ds.remove([first])
    assert results.answer(ctx, run.id, {}, {"act": "again"})[-1] == "zibbo, version 1"
    assert len(datasets.open_dataset(ctx.home, "zibbo, version 1").pictures()) == len(ds.pictures()) + 1
    datasets.delete(datasets.open_dataset(ctx.home, "zibbo, version 1"))
    bin.empty(ds)
    answered = results.answer(ctx, run.id, {}, {"act": "again"})
    assert len(datasets.list_datasets(ctx.home)) == 1 and first in str(answered) and "gone for good" in str(answered)
    results.answer(ctx, run.id, {}, {"act": "again", "value": "rest"})
    assert len(datasets.open_dataset(ctx.home, "zibbo, version 1").pictures()) == len(ds.pictures())
    datasets.delete(ds)
    assert buttons(shown(ctx, run.id)["head"])["again"] is False


def test_the_form_is_still_there_after_a_reload(ctx):
    form = Draft(name="ä & b").edited("steps", "700").edited("adapter.rank", "8").reset("steps")
    assert train.changed(ctx, lambda _: form) == form == train.form_of(ctx)
    drafts.change(ctx.home, "leaky", Draft, lambda _: Draft(name="hf_" + "a" * 30))
    assert "hf_aaaa" not in "".join(p.read_text() for p in (ctx.home.root / ".easel").rglob("*.json"))


def test_a_click_on_start_brings_along_what_was_typed_last(ctx):
    story.pictures(ctx.home)
    answered = train.answer(ctx, "zibbo", {}, {"act": "start", "collect": "", "fields": {"name": "a:b", "adapter.rank": "x"}})
    assert train.form_of(ctx) == Draft(name="a:b", edits={"adapter.rank": "x"}) and "Not started" in str(answered)


def test_a_disk_that_takes_nothing_loses_no_word_while_the_app_runs(ctx):
    (ctx.home.root / ".easel").write_text("a file where the folder should be")
    train.changed(ctx, lambda form: form.edited("name", "kept"))
    assert train.changed(ctx, lambda form: form.edited("trigger", "too")) == Draft(name="kept", trigger="too") == train.form_of(ctx)


def test_two_fields_left_at_once_both_count(ctx):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: train.changed(ctx, lambda form: form.edited(f"field-{n}", str(n))), range(24)))
    assert len(train.form_of(ctx).edits) == 24


# Publish


def pieces(ctx, run_id: str, seen: dict) -> dict[str, str]:
    return dict(zip(publish.PIECES, publish.paint(ctx, run_id, seen)[2:], strict=True))


def test_only_a_run_with_weights_can_be_published(ctx):
    story.run(ctx.home, 10, "stopped")
    assert "Nothing to publish yet" in pieces(ctx, "", {})["nothing"]
    run = story.run(ctx.home, 20, "stopped", name="has-one")
    page = pieces(ctx, "", {})
    assert run.title in page["what"] and "Step 20" in page["what"]


def test_the_form_is_private_and_filled_in_from_the_start(ctx):
    run = story.run(ctx.home, 100, "finished")
    page = pieces(ctx, run.id, {"who": ALICE})
    controls = {a["data-path"]: a for _, a in Tags(page["what"] + page["target"]).tags if "data-path" in a}
    assert controls["repo"]["value"] == "alice/my-zibbo" and controls["private"]["data-value"] == "on" and controls["checkpoint"]["data-value"] == "final"
    on = [p for p, a in controls.items() if p.startswith("sample:") and a["data-value"] == "on"]
    assert on == ["sample:samples/000100_0.webp", "sample:samples/000100_1.webp"]
    assert buttons(page["target"]) == {"publish": True}
    assert "instance_prompt" in page["meta"] and "zibbo" in page["card"] and "<Gallery" not in page["body"]


def test_without_a_token_that_may_write_the_button_says_why(ctx):
    run = story.run(ctx.home, 100, "finished")
    for who in (None, Account(reason="Not signed in: paste one."), Account("bob", "read", (), (), "saved")):
        page = pieces(ctx, run.id, {"who": who})
        assert buttons(page["target"]) == {"publish": False} and "Sign in first" in page["target"]


def test_choices_are_kept_for_each_run_and_change_the_card(ctx):
    run = story.run(ctx.home, 100, "finished")
    before = pieces(ctx, run.id, {"who": ALICE})["card"]
    publish.change(ctx, run.id, {"checkpoint": "40", "private": "off", "repo": "alice/other", "sample:samples/000040_0.webp": "on"})
    page = pieces(ctx, run.id, {"who": ALICE})
    assert page["card"] != before and "step 40" in page["card"] and "000040_0.webp" in page["card"] and "alice/other" in page["target"]
    publish.change(ctx, run.id, {"card": page["card"] + "\nMy words."})
    assert "My words." in pieces(ctx, run.id, {})["card"]
    publish.change(ctx, run.id, {"card": ""})
    assert "My words." not in pieces(ctx, run.id, {})["card"]
    publish.change(ctx, run.id, {"sample:../../etc/passwd": "on"})
    assert "passwd" not in pieces(ctx, run.id, {})["card"]


def test_a_card_whose_head_is_broken_is_refused_in_words(ctx):
    run = story.run(ctx.home, 100, "finished")
    publish.change(ctx, run.id, {"card": "no front matter <script>alert(1)</script>"})
    page = pieces(ctx, run.id, {"who": ALICE})
    assert "front matter" in page["meta"]
    answered = str(publish.answer(ctx, run.id, {"who": ALICE}, {"act": "publish"}, None))
    assert "front matter" in answered and not list_runs(ctx.home.outputs, {"publish"})


def test_a_bad_repository_name_is_marked_beside_its_field(ctx):
    run = story.run(ctx.home, 100, "finished")
    answered = publish.answer(ctx, run.id, {"who": ALICE}, {"act": "publish", "fields": {"repo": "alice/a b c"}}, None)
    target = dict(zip(publish.PIECES, answered[2:], strict=True))["target"]
    assert "pub-repo-fault" in target and "try" in target and not list_runs(ctx.home.outputs, {"publish"})


def test_how_an_upload_stands_is_told_with_what_can_be_done(ctx):
    from training.jobfile import parse
    from training.jobs.publish import Config
    from training.runs.run import create

    run = story.run(ctx.home, 100, "finished")
    job = create(ctx.home.outputs, parse(Config, {"kind": "publish", "name": "my-zibbo", "run": run.id, "repo_id": "alice/my-zibbo", "card": "---\na: 1\n---\n"}))
    started = {"t": 1.0, "kind": "started", "pid": 2**30, "attempt": 1, "boot_id": "", "oom_kills": -1, "versions": {}, "device": "cpu"}
    journal.append(job.events_path, started)
    with story.alive(job):
        journal.append(job.events_path, {"t": 2.0, "kind": "phase", "name": "uploading", "done": 1e6, "of": 4e6, "unit": "bytes"})
        page = pieces(ctx, run.id, {"who": ALICE})
        assert "1.0 MB of 4.0 MB" in page["push"] and buttons(page["push"]) == {"cancel": True} and not buttons(page["target"])["publish"]
        publish.answer(ctx, run.id, {}, {"act": "cancel", "job": job.id}, None)
        assert journal.read(job.control_path)[0][0]["kind"] == "stop"
    journal.append(job.events_path, {"t": 3.0, "kind": "failed", "error": "The Hub has a problem of its own (503) <x>.", "hint": "Press Retry.", "trace": ""})
    page = pieces(ctx, run.id, {})["push"]
    assert "503" in page and "&lt;x&gt;" in page and buttons(page) == {"retry": True}
    journal.append(job.events_path, {"t": 4.0, "kind": "finished", "path": "README.md", "summary": "javascript:alert(1) (private)"})
    assert "href" not in pieces(ctx, run.id, {})["push"]
    journal.append(job.events_path, {"t": 5.0, "kind": "finished", "path": "README.md", "summary": "https://hf.co/alice/my-zibbo (private, commit 1)"})
    assert 'href="https://hf.co/alice/my-zibbo"' in pieces(ctx, run.id, {})["push"]


def test_the_finished_lora_goes_into_a_zip(ctx):
    import zipfile

    run = story.run(ctx.home, 100, "finished")
    box = publish.zipped(ctx, run)
    link = html.unescape(re.search(r'href="([^"]+)"', box)[1])
    assert "/export.zip?t=" in link
    with zipfile.ZipFile(run.path / "export.zip") as archive:
        assert sorted(archive.namelist()) == ["README.md", "my-zibbo.safetensors", "samples/000100_0.webp", "samples/000100_1.webp"]


def test_the_name_of_a_repository_is_suggested_from_the_run(ctx):
    assert hub.suggest_repo_id("Ünï cødé", "alice").startswith("alice/")


# every page


def test_no_page_holds_a_script_or_a_control_without_a_name(ctx):
    dataset = story.pictures(ctx.home)
    run = story.run(ctx.home, 100, "finished", name="a 'b' & c")
    pages = [*shown(ctx, run.id).values(), *pieces(ctx, run.id, {"who": ALICE}).values(), *train.paint(ctx, dataset, Draft(name="<script>"), {})[1:]]
    text = "".join(p for p in pages if isinstance(p, str) and not p.startswith("---"))
    tags = Tags(text)
    assert not [t for t, a in tags.tags if t == "script" or any(k.startswith("on") for k in a)]
    labels = {a["for"] for t, a in tags.tags if t == "label" and "for" in a}
    for tag, a in tags.tags:
        if tag in ("input", "select", "textarea"):
            assert a.get("aria-label") or a.get("id") in labels, a


def test_the_form_names_each_kind_of_adapter_and_shows_what_that_kind_uses(ctx):
    story.pictures(ctx.home)

    def form(**edits):
        made = draft.plan(ctx.home, wish := Draft(name="a", edits={f"adapter.{k}": v for k, v in edits.items()}), "zibbo", LAPTOP)
        return train._pieces(ctx, wish, made, [("zibbo", "zibbo")], {}, LAPTOP)["settings"]

    lora, whole = form(), form(type="full")
    for title in ("LoRA", "DoRA", "LoKr", "LoHa", "OFT", "Whole model"):
        assert f">{title}</option>" in lora
    assert "Small, quick, loads everywhere." in lora and "Trains every weight of the denoiser" in whole
    shown = lambda html: set(re.findall(r'data-path="adapter\.(\w+)"', html))
    assert {"rank", "alpha", "rslora"} <= shown(lora) and "block_size" not in shown(lora)
    assert shown(whole) == {"type", "blocks", "include", "exclude", "start_from"}
    assert "rank" in shown(form(type="full", rank="8")), "what somebody changed stays in sight"


# what is shown, what is aimed at, what is seen from outside


def test_an_edit_of_several_captions_changes_what_is_shown_and_its_buttons_say_how_many(ctx):
    from ui.tabs.captions import tab as captions

    ds = datasets.open_dataset(ctx.home, story.pictures(ctx.home, 3))
    look = lambda **view: captions.look_at(ds, captions.FIRST_VIEW | view, "")
    found = look(query="number 2")
    assert [b.value for b in captions._bulk_buttons(found)] == ["Replace in 1 caption", "Add in front in 1 caption", "Add behind in 1 caption"]
    assert captions._bulk_buttons(look())[0].value == "Replace in 3 captions"
    none = captions._bulk_buttons(look(query="nothing like it"))
    assert not any(b.interactive for b in none) and none[0].value == "Replace in no caption"
    ds.suffix(", dusk", [p.id for p in found.reach])
    assert [ds.caption(p.id).endswith(", dusk") for p in ds.pictures()] == [False, False, True]
    picks = [ds.pictures()[0].id, "gone.png"]
    assert [p.id for p in look(query="number 2", picks=picks).reach] == picks[:1], "what is selected is reached, whatever is searched for since"


@pytest.mark.parametrize(("size", "word"), [((512, 512), ""), ((1024, 768), ""), ((90, 90), "Small"), ((2000, 500), "Cropped")])
def test_whether_a_picture_is_good_depends_on_what_is_trained(ctx, size, word):
    train.changed(ctx, lambda f: f.edited("data.resolutions", "512"))
    aim = draft.aim(ctx.home, LAPTOP, "")
    assert aim.remark(*size)[0] == word
    train.changed(ctx, lambda f: f.edited("data.resolutions", "64"))
    assert draft.aim(ctx.home, LAPTOP, "").remark(90, 90)[0] == "", "the small base learns at 64 px"


def test_epochs_can_be_asked_for_and_are_the_steps_that_the_plan_reckons(ctx):
    name = story.pictures(ctx.home, 8)
    wish = Draft(name="a", edits={"data.batch_size": "4", "steps": "77"}).edited("epochs", "10")
    made = draft.plan(ctx.home, wish, name, LAPTOP)
    assert made.config.steps == 10 * made.estimate.steps_per_epoch == 20 and round(made.estimate.epochs) == 10
    row = trainpage.epochs_row(wish, made, {})
    assert "8 pictures × 10 epochs ÷ 4 a step: 20 steps, 2 steps an epoch" in row
    ds = datasets.open_dataset(ctx.home, name)
    ds.set_repeats({ds.pictures()[0].id: 5})
    made = draft.plan(ctx.home, wish, name, LAPTOP)
    row = trainpage.epochs_row(wish, made, {})
    assert made.estimate.steps_per_epoch == 3 and made.counts == (8,) and "12 pictures ×" in row and "Repeats of single pictures are counted in" in row
    ds.set_repeats({ds.pictures()[0].id: 1})
    assert draft.plan(ctx.home, wish.edited("steps", "77"), name, LAPTOP).config.steps == 77, "the one typed last holds"
    assert "epochs" in draft.plan(ctx.home, wish.edited("epochs", "many"), name, LAPTOP).wrong


def test_every_checkpoint_has_its_samples_and_a_picture_says_where_its_checkpoint_is(ctx):
    run = story.run(ctx.home, 60, "stopped")
    text = shown(ctx, run.id)["samples"]
    tags = [a for t, a in Tags(text).tags if "data-step" in a]
    assert all(("data-file" in a) == (a["data-step"] != "0") for a in tags) and any("step-40" in a.get("data-file", "") for a in tags)
    shutil.rmtree(run.path / "checkpoints/000020")
    gone = [a for t, a in Tags(shown(ctx, run.id)["samples"]).tags if a.get("data-step") == "20"]
    assert gone[0]["data-gone"] == "Its checkpoint was deleted to make room for newer ones." and "data-file" not in gone[0]


def test_a_plan_that_is_not_ready_or_takes_days_does_not_offer_start_first(ctx):
    name = story.pictures(ctx.home, 8)

    def card(**edits):
        made = draft.plan(ctx.home, Draft(name="a", edits=edits), name, LAPTOP)
        return trainpage.plan_card(made, [], [], "zibbo", "", "", False)

    assert 'class="ez-btn ez-primary ez-start"' in card()
    slow = card(steps="900000", **{"data.resolutions": "512"})
    assert 'class="ez-btn ez-start"' in slow and "choose a smaller base model" in slow
    assert "given back" not in card()


def test_what_runs_and_how_it_ended_can_be_read_from_the_header(ctx):
    last, run = sidebar.Last(), story.run(ctx.home, 40, name="my cat")
    view = ctx.watch.view(run)
    now = sidebar.Now(run, view, views.progress(view, "running"))
    assert last.after(ctx, [run]) is None and 'data-now="my cat" data-share="40 %"' in sidebar.header_html(now)
    journal.append(run.events_path, {"t": 1.0, "kind": "failed", "error": "x", "hint": "", "trace": ""})
    ended = last.after(ctx, [])
    assert (ended.title, ended.status) == ("my cat", "failed") and 'data-ended-as="failed"' in sidebar.header_html(None, ended)


def test_a_name_that_is_too_long_is_said_and_not_cut(ctx):
    name = story.pictures(ctx.home)
    made = draft.plan(ctx.home, Draft(name="x" * 130), name, LAPTOP)
    assert made.wrong["name"] == "the name is 130 bytes long; 100 is the most"
    assert 'maxlength="100"' not in trainpage.essentials(Draft(), made, [(name, name)], {})
