"""The Playground on real folders: what is asked for, what is shown, what a vote does.  The studio's own work is tests/engine/test_play.py."""

from __future__ import annotations

import gettext
import json
import os

import pytest
from PIL import Image

from tests.tools.files import kohya
from tests.ui import story
from training import registry
from training.formats import overview
from training.hub.card import model_card
from training.jobs.play import Request
from training.plan.shots import shots
from training.runs import journal
from training.runs.run import Run, create, list_runs
from ui import drafts, language, sidebar
from ui.tabs.playground import asks, besides, many, repairs, sliders, votes
from ui.tabs.playground import tab as playground
from ui.tabs.playground.asks import Wish
from ui.tabs.publish import tab as publish
from ui.tabs.train import tab as train


def wish(ctx, **changes) -> Wish:
    return playground.changed(ctx, lambda w: w.model_copy(update=changes))


def asked(ctx, **changes) -> Request:
    made = wish(ctx, **{"prompt": "[trigger] on red", **changes})
    bench = asks.bench(ctx.home, made)
    return asks.request(ctx.home, made, bench, votes.of(bench.run) if bench.run else [])


def drawn(ctx, request: Request, error: str = "") -> Run:
    """A studio's folder after it drew that, as its worker leaves it; it is the one that is shown."""
    bench = asks.bench(ctx.home, playground.form_of(ctx))
    studio = asks.studio(ctx.home, asks.config_of(ctx.home, bench.usual, "x"))
    (studio.path / "samples").mkdir(exist_ok=True)
    files = [f"samples/{request.id}_{k}.png" for k in range(0 if error else len(request.shots))]
    for file in files:
        Image.new("RGB", (8, 8), "red").save(studio.path / file)
    told = {"request": request.model_dump(mode="json"), "files": files, "film": "", "error": error, "took_s": 1.0, "memory_bytes": 10**9}
    (studio.path / f"samples/{request.id}.json").write_text(json.dumps(told), encoding="utf-8")
    wish(ctx, showing=request.id)
    return studio


def page(ctx) -> str:
    return "".join(playground.pieces_of(ctx, {}).values())


def press(ctx, act: str, **data) -> list:
    return playground.answer(ctx, "", {}, {"act": act, **data})


def test_without_a_run_the_base_model_can_be_drawn_with(ctx):
    assert "Nothing drawn yet" in page(ctx) and "No LoRA: Easel’s own small model" in page(ctx)
    request = asked(ctx)
    assert [s.loras for s in request.shots] == [()] and request.shots[0].width == 64
    with pytest.raises(ValueError, match="“Strengths” needs a LoRA"):
        asked(ctx, mode="strengths")
    with pytest.raises(ValueError, match="Say what to draw"):
        asked(ctx, prompt=" ")


def test_each_way_to_draw_asks_for_its_pictures(ctx):
    run = story.run(ctx.home, 100, "stopped")
    other = story.run(ctx.home, 100, "finished", name="other")
    base = dict(run=run.id, seed="7")
    last = run.id + "/100"
    (one,) = asked(ctx, **base, strength="0,5").shots
    assert one.prompt == "zibbo on red" and one.seed == 7 and one.loras == ((last, 0.5),)
    assert [s.loras for s in asked(ctx, **base, mode="before", strength="1").shots] == [(), ((last, 1.0),)]
    assert [s.loras[0][1] for s in asked(ctx, mode="strengths", checkpoint="40").shots] == [-2, -1, 0, 1, 2]
    rows = asked(ctx, mode="film", checkpoint="final")
    assert rows.film and [s.place["label"] for s in rows.shots] == ["start", "20", "40", "60", "80", "100"] and rows.shots[2].loras == ((f"{run.id}/40", 1.0),)
    both = asked(ctx, mode="two", other=other.id, other_strength="-1").shots
    assert [s.loras for s in both] == [((last, 1.0),), ((other.id, -1.0),), ((last, 1.0), (other.id, -1.0))]
    assert {s.seed for s in both} == {7}
    for changes, words in (({"seed": "x"}, "Seed is 'x'"), ({"size": "big"}, "Size is 'big'"), ({"strength": "much"}, "Strength is 'much'"), ({"other": " "}, "needs a second one")):
        with pytest.raises(ValueError, match=words):
            asked(ctx, **{"mode": "two", "other": other.id, "strength": "1", "seed": "7", "size": ""} | changes)


def test_votes_and_the_card_are_of_the_step_that_was_made_the_result(ctx):
    run = story.run(ctx.home, 100, "finished")
    votes.add(run, "a", "60", votes.step_of(run, "final"), 1.0, "", 1)
    assert [r.name for r in votes.ranks(run, run.view())] == ["60", "final"] and asks.points(run)[-1] == "100"
    journal.append(run.events_path, run.last("finished") | {"step": 60})
    assert [r.name for r in votes.ranks(run, run.view())] == ["final", "100"] and asks.points(run)[-2:] == ("100", "final")
    pairs = {frozenset(s.place["label"] for s in asked(ctx, run=run.id, mode="vote").shots) for _ in range(30)}
    assert "60" not in frozenset().union(*pairs) and frozenset(("100", "final")) not in pairs
    assert "checkpoint of step 60 of 100" in publish.made_card(ctx, run, "", "final", ())
    assert publish.settled(ctx, run, publish.Wish(), None).samples == ("samples/000060_0.webp", "samples/000060_1.webp")
    card = model_card(run, run.config(), registry.get("families", "sd15").SPEC)
    assert "samples/000060_0.webp" in card and "samples/000100" not in card


def test_a_vote_is_blind_counts_once_and_ranks(ctx):
    run = story.run(ctx.home, 60, "stopped")
    request = asked(ctx, run=run.id, mode="vote")
    labels = [s.place["label"] for s in request.shots]
    assert len(set(labels)) == 2 and len({s.seed for s in request.shots}) == 1
    drawn(ctx, request)
    blind = playground.pieces_of(ctx, {})
    assert "A is better" in blind["stage"] and not any(f"step {label}" in blind["stage"] + blind["history"] for label in labels)
    assert blind["votes"] == ""
    press(ctx, "vote", id="1")
    assert votes.of(run) == [(*labels, 1.0)] and [r.name for r in votes.ranks(run, run.view())] == labels
    open_now = playground.pieces_of(ctx, {})
    assert f"step {labels[0]}" in open_now["stage"] and "Ranking" in open_now["votes"] and "A is better" not in open_now["stage"]
    again = press(ctx, "vote", id="0")
    assert "ou voted on these two already" in str(again) and len(votes.of(run)) == 1
    later = asked(ctx, mode="vote")
    assert {s.place["label"] for s in later.shots} != set(labels), "first those that have not met"


def test_votes_of_a_stranger_s_run_break_nothing(ctx):
    run = story.run(ctx.home, 60, "stopped")
    for record in ({"one": 1, "other": "2", "won": 1}, {"one": "a", "other": "b", "won": "1"}, {"one": "<b>", "other": "b", "won": 1}, {"won": float("inf")}, {"one": "x" * 100, "other": "b", "won": 1}):
        journal.append(run.path / votes.FILE, record)
    assert [r.name for r in votes.ranks(run, run.view())] == ["<b>", "b"]
    wish(ctx, run=run.id)
    assert "<b>" not in playground.pieces_of(ctx, {})["votes"].replace("<b></b>", "").replace("&lt;b&gt;", "")


def test_what_was_drawn_can_be_used_again_kept_and_published(ctx):
    run = story.run(ctx.home, 60, "stopped")
    request = asked(ctx, run=run.id, checkpoint="40", strength="0.8", seed="5", prompt="zibbo <i> here")
    drawn(ctx, request)
    shown = playground.pieces_of(ctx, {})
    assert "&lt;i&gt;" in shown["stage"] and "<i> here" not in "".join(shown.values()) and "Use again" in shown["history"]
    wish(ctx, prompt="something else", strength="2", checkpoint="final", mode="one")
    press(ctx, "again", id=request.id)
    now = playground.form_of(ctx)
    assert (now.prompt, now.strength, now.checkpoint, now.seed) == ("zibbo <i> here", "0.8", "40", "5")
    press(ctx, "sample")
    assert train.form_of(ctx).edits["sample.prompts"].splitlines()[-1] == "zibbo <i> here"
    assert "already" in str(press(ctx, "sample"))
    wish(ctx, checkpoint="20")
    published = press(ctx, "publish", shown="")
    assert published[-3] == run.id and published[-2].selected == "publish"
    assert drafts.load(ctx.home, f"publish-{run.id}", publish.Wish).checkpoint == "40", "the checkpoint of the picture that is looked at"


class Marked(gettext.NullTranslations):
    """A language in which every message of ours is told from a name."""

    def gettext(self, message):
        return f"«{message}»"

    def pgettext(self, context, message):
        return f"«{message}»"


def test_a_picture_is_called_in_the_language_of_whoever_looks_at_it_and_a_name_stays(ctx, monkeypatch):
    monkeypatch.setattr(language, "catalogue", lambda code: Marked() if code == "de" else gettext.NullTranslations())
    run = story.run(ctx.home, 60, "stopped", name="start")
    with language.speaking("de"):
        film = asked(ctx, run=run.id, mode="film")
        (one,) = asked(ctx, mode="one", checkpoint="40", strength="0.5").shots
    assert [s.place["label"] for s in film.shots] == ["start", "20", "40", "60"], "what is on disk is of no language"
    drawn(ctx, film)
    assert '<figcaption class="ez-num">start</figcaption>' in page(ctx) and ">step 40<" in page(ctx)
    assert playground.playpage.caption(one.place) == "start at step 40, strength 0.5"
    with language.speaking("de"):
        assert '<figcaption class="ez-num">«start»</figcaption>' in page(ctx)
        assert playground.playpage.caption(one.place) == "«start at step 40, strength 0,5»"
        assert playground.playpage.caption({"label": "start", "title": "start"}) == "start", "a run that is called like a word of ours"
        assert playground.playpage.caption({"label": "start at step 40"}) == "start at step 40", "as an earlier Easel wrote it"


def test_a_request_that_failed_says_why(ctx):
    story.run(ctx.home, 60, "stopped")
    drawn(ctx, asked(ctx), error="66x64 px does not divide by 8")
    assert "66x64 px does not divide by 8" in playground.pieces_of(ctx, {})["stage"]


def test_while_a_training_runs_it_draws_itself(ctx):
    going, other = story.run(ctx.home, 40, name="going"), story.run(ctx.home, 60, "stopped", name="other")
    with story.alive(going):
        wish(ctx, run=going.id, prompt="zibbo in the rain")
        assert "Draw asks the training itself" in playground.pieces_of(ctx, {})["engine"]
        press(ctx, "draw")
        assert [(r["kind"], r.get("prompt")) for r in journal.read(going.control_path)[0]] == [("sample", "zibbo in the rain")]
        wish(ctx, run=other.id)
        assert "‘going’ is using the machine" in playground.pieces_of(ctx, {})["engine"]
        assert "is using the machine" in str(press(ctx, "draw"))


def test_an_open_studio_is_no_run_that_keeps_others_waiting(ctx):
    studio = drawn(ctx, asked(ctx))
    with story.alive(studio):
        journal.append(studio.events_path, {"t": 1.0, "kind": "started", "pid": 1, "attempt": 1, "boot_id": "", "oom_kills": -1, "versions": {}, "device": "cpu"})
        journal.append(studio.events_path, {"t": 2.0, "kind": "step", "step": 1, "of": 0, "loss": 0, "lr": 0, "grad": 0, "images_per_s": 1, "memory_bytes": 558_000_000})
        journal.append(studio.events_path, {"t": 3.0, "kind": "phase", "name": "ready", "done": 0, "of": 0, "unit": ""})
        assert sidebar.running_now(ctx) is None
        said = playground.pieces_of(ctx, {})["engine"]
        assert "The model is loaded · 558 MB" in said and "Close" in said
        press(ctx, "close")
        assert [r["kind"] for r in journal.read(studio.control_path)[0]] == ["stop"]


@pytest.mark.skipif(os.name == "nt", reason="no pipes and no unprivileged links there")
def test_a_studio_s_folder_that_was_tampered_with_hides_nothing(ctx):
    good = asked(ctx)
    studio = drawn(ctx, good)
    samples = studio.path / "samples"
    (samples / "aaaaaaaaaa.json").write_text("{" * 10_000)
    (samples / "bbbbbbbbbb.json").symlink_to("/etc/passwd")
    os.mkfifo(samples / "cccccccccc.json")
    (samples / "dddddddddd.json").write_text(json.dumps({"request": {"id": "x"}, "files": [1], "film": None, "error": ""}))
    assert [one.id for one in asks.history(ctx.home)] == [good.id]
    assert good.id in page(ctx)


def test_many_at_once_is_a_drawing_job(ctx):
    run = story.run(ctx.home, 60, "stopped")
    made = wish(ctx, run=run.id, many_prompts="a {red|blue} cat\n\na dog", many_count="2", many_rows="checkpoint", many_columns="strength", many_strengths="-1 0,5 1")
    config = many.config_of(ctx.home, made, asks.bench(ctx.home, made))
    assert config.prompts == ("a {red|blue} cat", "a dog") and config.strengths == (-1, 0.5, 1) and config.loras[0].source == run.id and config.trigger == "zibbo"
    for changes, words in (({"many_prompts": " "}, "say what to draw"), ({"many_count": "x"}, "Pictures of each is 'x'"), ({"many_rows": "strength", "many_columns": "strength"}, "both 'strength'")):
        with pytest.raises(ValueError, match=words):
            many.config_of(ctx.home, made.model_copy(update=changes), asks.bench(ctx.home, made))
    wish(ctx, many_prompts="")
    assert "say what to draw" in str(press(ctx, "many")).lower() and not list_runs(ctx.home.outputs, {"generate"})


def test_a_sheet_is_shown_with_its_axes_and_a_strangers_breaks_nothing(ctx):
    config = many.config_of(ctx.home, wish(ctx, many_prompts="a <cat>", many_rows="seed", many_count="2"), asks.bench(ctx.home, playground.form_of(ctx)))
    sheet = create(ctx.home.outputs, config)
    found, _ = shots(config, ["a <cat>"], lambda source: [])
    pictures = [{**shot.told(), "file": f"samples/{shot.name}.png"} for shot in found]
    (sheet.path / "index.json").write_text(json.dumps(overview.index("x", True, "seed", "", pictures, [])))
    wish(ctx, many_showing=sheet.id)
    shown = playground.pieces_of(ctx, {})["sheets"]
    assert shown.count("<img") == 2 and '<th scope="row">43</th>' in shown and "<cat>" not in shown and "2 pictures" in shown
    for harm in ("[]", "{", '{"pictures": [{"file": 1}]}', '{"pictures": 5}', "[" * 50_000):
        (sheet.path / "index.json").write_text(harm)
        assert "Pictures of" in playground.pieces_of(ctx, {})["sheets"]


def test_a_sheet_shows_each_picture_when_it_is_drawn(ctx):
    wish(ctx, many_prompts="a cat", many_rows="seed", many_count="24")
    form = playground.pieces_of(ctx, {})["many"]
    assert "24 pictures to draw" in form
    config = many.config_of(ctx.home, playground.form_of(ctx), asks.bench(ctx.home, playground.form_of(ctx)))
    sheet = create(ctx.home.outputs, config)
    found, _ = shots(config, config.prompts, lambda source: [])
    (sheet.path / "index.json").write_text(json.dumps(overview.index("x", False, "seed", "", [{**shot.told(), "file": ""} for shot in found], [])))
    wish(ctx, many_showing=sheet.id)
    assert "0 of 24 pictures" in playground.pieces_of(ctx, {})["sheets"]
    for shot in found[:7]:
        drawn_now = {"t": 1.0, "kind": "sample", "step": shot.number, "index": 0, "prompt": shot.prompt, "path": f"samples/{shot.name}.png", "seed": shot.seed}
        journal.append(sheet.events_path, drawn_now)
    shown = playground.pieces_of(ctx, {})["sheets"]
    assert "7 of 24 pictures" in shown and shown.count("<img") == 7
    wish(ctx, many_count="0x")
    assert "Pictures of each is" in playground.pieces_of(ctx, {})["many"]


def test_repair_moves_blocks_draws_both_and_saves_what_it_drew(ctx, tmp_path):
    run = story.run(ctx.home, 100, "finished")
    file, donor = asks_file(ctx, run), kohya(tmp_path / "donor.safetensors", (4, 8), 2, 2)
    kohya(file, (4, 8), 2, 1)
    wish(ctx, run=run.id, mode="repair", prompt="a cat", other="", strength="0.9")
    shown = playground.pieces_of(ctx, {})["repair"]
    assert 'data-path="own_blocks/down_blocks.0.resnets.0"' in shown and "3 blocks" in shown and "1 layer" in shown
    with pytest.raises(ValueError, match="Every block stands at 1"):
        asked(ctx, mode="repair", prompt="a cat")
    playground.changed(ctx, lambda w: w.edited("own_blocks/down_blocks.0.resnets.0", "0.5"))
    shots_now = asked(ctx, prompt="a cat").shots
    assert shots_now[0].blocks == () and [(n, f) for n, _, f in shots_now[1].blocks] == [(1, 0.5)] and shots_now[0].seed == shots_now[1].seed
    config = sliders.save_config(ctx.home, playground.form_of(ctx), asks.bench(ctx.home, playground.form_of(ctx)))
    assert config.kind == "scale" and config.strength == 0.9 and [(b.pattern, b.strength) for b in config.blocks] == [(p, f) for _, p, f in shots_now[1].blocks]
    wish(ctx, other=str(donor))
    press(ctx, "repair-only", id="own_blocks/down_blocks")
    press(ctx, "repair-reset", id="own_blocks")
    press(ctx, "repair-all", id="other_blocks/down_blocks")
    made = asked(ctx, prompt="a cat").shots[1]
    config = sliders.save_config(ctx.home, playground.form_of(ctx), asks.bench(ctx.home, playground.form_of(ctx)))
    assert config.kind == "merge" and [(u.file, u.strength) for u in config.adapters] == list(made.loras) and len(made.loras) == 2
    wish(ctx, other="somebody/lora")
    assert "is not on this computer" in playground.pieces_of(ctx, {})["repair"]


def asks_file(ctx, run: Run):
    """The file that the newest checkpoint of a run means to the page."""
    return repairs.file_of(ctx.home, asks.source_of(asks.bench(ctx.home, wish(ctx, run=run.id)), asks.FINAL))


@pytest.fixture
def beside(ctx):
    """A finished ControlNet of a dataset of which one picture has a control picture."""
    from training.data import datasets, importing

    ds = datasets.create(ctx.home, "zibbo")
    for name, side in (("one.png", 70), ("two.png", 80), ("one.control.png", 70)):
        Image.new("RGB", (side, side), "blue").save(ctx.home.root / name)
    importing.add_files(ds, [ctx.home.root / name for name in ("one.png", "two.png", "one.control.png")])
    made = create(ctx.home.outputs, story.config("outlines", adapter={"type": "controlnet"}, data={"datasets": [{"name": ds.name}], "resolutions": [64]}))
    assert besides.of(made) is None, "one that has not finished cannot be drawn with"
    (made.path / "outlines/controlnet").mkdir(parents=True)
    (made.path / "outlines/controlnet/config.json").write_text("{}")
    journal.append(made.events_path, {"t": 1e9, "kind": "started", "pid": 2**30, "attempt": 1, "boot_id": "", "oom_kills": -1, "versions": {}, "device": "cpu"})
    journal.append(made.events_path, {"t": 1e9 + 1, "kind": "finished", "path": "outlines", "summary": ""})
    return made


def test_a_network_beside_the_model_is_drawn_with_and_shown_a_picture(ctx, beside):
    chosen = besides.MARK + beside.id
    wish(ctx, run=chosen)
    html = page(ctx)
    assert "outlines (ControlNet)" in html and "Shown control picture" in html and "ez-play-shows" in html and 'value="0:one.png"' in html and "two.png" not in html
    with pytest.raises(ValueError, match="Choose the control picture that it is shown, or drop one"):
        asked(ctx)
    (one,) = asked(ctx, shown="0:one.png").shots
    assert (one.beside, one.shown, one.shown_of, one.loras) == (beside.id, "one.png", "zibbo", ())
    assert "/easel/thumb/zibbo/one.control.png" in page(ctx)
    before, after = asked(ctx, mode="before").shots
    assert (before.beside, after.beside, before.seed == after.seed) == ("", beside.id, True)
    alone, worn = asked(ctx, mode="two", other="a.safetensors").shots
    assert (alone.beside, alone.loras, worn.beside, worn.loras) == (beside.id, (), beside.id, (("a.safetensors", 1.0),))
    for mode in ("strengths", "vote", "repair"):
        with pytest.raises(ValueError, match="cannot be drawn with the ControlNet"):
            asked(ctx, mode=mode)
    assert 'data-id="before"' in page(ctx) and 'data-id="vote"' not in page(ctx)
    with pytest.raises(ValueError, match="Many pictures are not drawn with a ControlNet"):
        many.config_of(ctx.home, wish(ctx, many_prompts="a"), asks.bench(ctx.home, playground.form_of(ctx)))
    request = asked(ctx, mode="one")
    drawn(ctx, request)
    html = page(ctx)
    assert f"{request.id}.shown.png" in html and "what it was shown" in html and "publish it" not in html
    assert "ez-play-shows" not in (wish(ctx, run=asks.BASE) and page(ctx))


def test_what_is_offered_lies_in_the_part_that_the_run_took(ctx, beside, tmp_path):
    from training.data import datasets, parts

    for name in ("in/one.png", "in/one.control.png", "out/two.png", "out/two.control.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (70, 70), "red").save(tmp_path / name)
    ours = datasets.open_dataset(ctx.home, "zibbo")
    parts.remember(ours, [("a", ["one.png"]), ("b", ["two.png"])], ["one.png", "two.png"])
    uses = [{"name": str(tmp_path), "part": "in"}, {"name": ours.name, "part": "b"}, {"name": ours.name, "part": "a"}]
    config = story.config("outlines", adapter={"type": "controlnet"}, data={"datasets": uses, "resolutions": [64]})
    taken = besides.Beside(create(ctx.home.outputs, config), "ControlNet", True, False)
    parts.taken(ctx.home, config.data.datasets[0]).pictures()  # as its training looked at them
    assert besides.offered(ctx.home, taken) == [("0:one.png", "one.png"), ("2:one.png", "one.png")]
    told = besides.told(ctx.home, taken, "0:one.png")
    assert datasets.resolve(ctx.home, told["shown_of"]).get(told["shown"]).path == tmp_path / "in" / "one.png"
    assert besides.told(ctx.home, taken, "2:one.png")["shown_of"] == "zibbo"


def test_a_dropped_picture_is_kept_by_what_it_is_and_nothing_else_of_this_computer_can_be_shown(ctx, beside):
    file = ctx.home.root / "mine.png"
    Image.new("RGB", (64, 64)).save(file)
    shown = besides.bring(ctx.home, file)
    (shot,) = asked(ctx, run=besides.MARK + beside.id, shown=shown).shots
    assert os.path.dirname(shot.shown) == str(besides.folder(ctx.home)) and os.path.isfile(shot.shown) and not shot.shown_of
    assert "The one that was dropped" in page(ctx)
    (ctx.home.root / "secret.png").write_bytes(b"x")
    for other in ("file:../../secret.png", f"file:{ctx.home.root}/secret.png", "1:one.png", "0:../x.png", str(ctx.home.root / "secret.png")):
        with pytest.raises(ValueError, match="gone; drop it again|Choose the control picture"):
            asked(ctx, shown=other)
    (ctx.home.root / "x.svg").write_text("<svg/>")
    with pytest.raises(ValueError, match="x.svg is no picture"):
        besides.bring(ctx.home, ctx.home.root / "x.svg")


@pytest.fixture
def editor(ctx):
    """editor(family) -> a run that learnt a pair and a picture without one before it."""
    from training.data import datasets, importing

    ds = datasets.create(ctx.home, "zibbo")
    for name, side in (("one.png", 70), ("two.png", 80), ("one.control.png", 70)):
        Image.new("RGB", (side, side), "blue").save(ctx.home.root / name)
    importing.add_files(ds, [ctx.home.root / name for name in ("one.png", "two.png", "one.control.png")])

    def trained(family: str, **sample) -> Run:
        made = create(ctx.home.outputs, story.config(family, model={"family": family, "source": "x"}, sample={"prompts": ["make it night"], "width": 64, "height": 64, **sample}))
        (made.path / "checkpoints/000020").mkdir(parents=True)
        (made.path / "checkpoints/000020/adapter.safetensors").write_bytes(b"0" * 2000)
        (made.path / "checkpoints/000020/MANIFEST.json").write_text(json.dumps({"step": 20}))
        journal.append(made.events_path, {"t": 1e9, "kind": "started", "pid": 2**30, "attempt": 1, "boot_id": "", "oom_kills": -1, "versions": {}, "device": "cpu"})
        journal.append(made.events_path, {"t": 1e9 + 1, "kind": "checkpoint", "step": 20, "path": "checkpoints/000020"})
        return made

    return trained


@pytest.mark.slow
def test_an_edit_is_asked_what_it_is_made_from_and_shown_over_it(ctx, editor):
    wish(ctx, run=editor("qwen_image_edit").id)
    assert "if anything" not in page(ctx)
    with pytest.raises(ValueError, match="Choose the picture that it is made from, or drop one"):
        asked(ctx)
    wish(ctx, run=editor("flux1_kontext").id)
    assert "ez-play-shows" in page(ctx) and "Made from, if anything" in page(ctx) and 'value="0:one.png"' in page(ctx) and not asked(ctx).shots[0].made_from
    playground.changed(ctx, lambda w: w.edited("more_from", "0:two.png").edited("more_from", "0:one.png"))
    request = asked(ctx)
    (shot,) = request.shots
    assert [(m.picture, m.dataset) for m in shot.made_from] == [("one.png", "zibbo")] and shot.keep_shape, "it takes one picture, the newest"
    assert not asked(ctx, size="128x64").shots[0].keep_shape
    assert "/easel/thumb/zibbo/one.control.png" in page(ctx)
    config = many.config_of(ctx.home, wish(ctx, many_prompts="a", size=""), asks.bench(ctx.home, playground.form_of(ctx)))
    assert config.made_from == shot.made_from and config.keep_shape
    studio = drawn(ctx, request)
    file = studio.path / f"samples/{request.id}.json"
    file.write_text(json.dumps(json.loads(file.read_text(encoding="utf-8")) | {"seen": 1}), encoding="utf-8")
    asks._through.clear()
    html = playground.pieces_of(ctx, {})["stage"]
    assert f"{request.id}.shown.png" in html and "ez-pair-range" in html and "aspect-ratio:64/64" in html
    press(ctx, "less_from", id="0:one.png")
    assert playground.form_of(ctx).made_from == "0:two.png"
    wish(ctx, made_from="0:gone.png")
    with pytest.raises(ValueError, match="gone.png is gone; choose another picture"):
        asked(ctx)
    playground.changed(ctx, lambda w: w.edited("run", asks.BASE))
    assert not playground.form_of(ctx).made_from and "ez-play-shows" not in page(ctx)


def test_a_clip_is_asked_what_it_begins_with_where_it_can_begin_with_one(ctx, editor):
    wish(ctx, run=editor("wan21_i2v", frames=9).id)
    assert "The clip begins with" in page(ctx)
    with pytest.raises(ValueError, match="Choose the picture that the clip begins with, or drop one"):
        asked(ctx)
    assert [m.picture for m in asked(ctx, made_from="0:one.png").shots[0].made_from] == ["one.png"]
    assert asks.bench(ctx.home, wish(ctx, run=editor("wan22_5b", frames=9).id)).takes(ctx.home).first
    assert "if anything" in page(ctx) and not asked(ctx, made_from="").shots[0].made_from
    assert asks.bench(ctx.home, wish(ctx, run=editor("flux1").id)).takes(ctx.home) is None


def test_one_that_lies_in_the_models_layers_is_drawn_one_at_a_time(ctx, beside):
    told = asks.bench(ctx.home, wish(ctx, run=besides.MARK + beside.id)).beside
    inside = asks.Bench(None, "x", (), asks.bench(ctx.home, playground.form_of(ctx)).usual, [], besides.Beside(beside, "IP-Adapter", False, True))
    assert not told.inside
    with pytest.raises(ValueError, match="“Before and after” cannot be drawn with the IP-Adapter"):
        asks.request(ctx.home, wish(ctx, mode="before", prompt="x", shown="0:two.png"), inside, [])
    (shot,) = asks.request(ctx.home, wish(ctx, mode="one"), inside, []).shots
    assert shot.shown == "two.png"
