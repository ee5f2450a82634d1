"""What somebody else may have made: links, pipes, endless devices, huge and deeply nested files, folders in the place of files.

Every reader and every route answers within a second with a refusal, what is whole stays visible, and memory does not grow.
"""

from __future__ import annotations

import ast
import json
import os
import random
import shutil
import sys
import threading
import time
from pathlib import Path

import gradio as gr
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from tests.ui import story
from training import jobfile, outside, registry
from training.data import datasets, importing, rereading, words
from training.engine import checkpoint
from training.home import REPO
from training.plan.presets import list_presets
from training.runs import journal, origin, supervisor
from training.runs.events import KINDS, RunView, fold
from training.runs.run import Run, broken_runs, list_runs
from ui import drafts, shell, sidebar, views
from ui.poll import Watch
from ui.server import instance, media
from ui.tabs.publish import tab as publish
from ui.tabs.results import tab as results
from ui.tabs.results.chart import chart

SECRET = "the content of a private file"
LIMIT_S = 15.0  # a busy machine; what hangs, hangs for ever
posix = pytest.mark.skipif(os.name == "nt", reason="no pipes and no unprivileged links there")


def link(path: Path) -> None:
    """To a file outside of every home, with the same ending."""
    private = Path(os.environ["EASEL_TEST_PRIVATE"]) / f"private{path.suffix}"
    private.write_text(SECRET)
    path.symlink_to(private)


def huge(path: Path) -> None:
    with open(path, "wb") as file:
        file.truncate(50 << 30)  # takes no room


HARMS = {
    "link": link,
    "pipe": lambda p: os.mkfifo(p),
    "device": lambda p: p.symlink_to("/dev/zero"),
    "folder": lambda p: p.mkdir(),
    "huge": huge,
    "nested": lambda p: p.write_text('{"a":' * 90_000),
    "rubbish": lambda p: p.write_bytes(bytes(range(256)) * 300),
}
RUN_FILES = (
    "job.yaml", "events.jsonl", "control.jsonl", "worker.lock", "log.txt", "README.md", "my-zibbo.safetensors", "export.zip", "base.json",
    "samples/000020_0.webp", "checkpoints/000020/MANIFEST.json", "checkpoints/000020/adapter.safetensors", "checkpoints/000020/state.json",
)  # fmt: skip


@pytest.fixture(scope="module")
def state():
    with gr.Blocks():
        return gr.State()


@pytest.fixture
def ctx(home, state, tmp_path, monkeypatch):
    (tmp_path / "private").mkdir()
    monkeypatch.setenv("EASEL_TEST_PRIVATE", str(tmp_path / "private"))
    return shell.UiContext(home, True, False, "", (), state, state, state, state, state)


@pytest.fixture
def client(home):
    app = Starlette(routes=media.routes(home))
    app.auth = app.auth_dependency = None
    return TestClient(app)


def within(what):
    """what(), or a failure when it does not come back in time; what it raises in words is an answer too."""
    answer = []

    def work():
        try:
            answer.append(what())
        except (ValueError, OSError) as error:
            answer.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(LIMIT_S)
    assert answer, "it hangs, or raises what nobody catches"
    return answer[0]


def put(harm, path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    harm(path)


def each(names, quick) -> list:
    """(name, harm) of all pairs; those beyond the `quick` names and the three harms that hang or leak are slow: CI runs them."""
    return [
        pytest.param(name, harm, id=f"{name}-{kind}", marks=[] if name in quick and kind in ("link", "pipe", "device") else [pytest.mark.slow])
        for name in names
        for kind, harm in HARMS.items()
    ]


@posix
@pytest.mark.parametrize(("name", "harm"), each(RUN_FILES, ("job.yaml", "events.jsonl", "log.txt", "samples/000020_0.webp")))
def test_no_file_of_a_run_reaches_out_hangs_or_hides_the_others(name, harm, ctx, client):
    good, bad = story.run(ctx.home, end="finished"), story.run(ctx.home, end="finished", name="my-zibbo")
    put(harm, bad.path / name)
    assert good in within(lambda: list_runs(ctx.home.outputs))
    painted = within(lambda: results.paint(ctx, good.id, {}))
    assert "my-zibbo" in str(painted) and SECRET not in str(painted)
    within(lambda: results.paint(ctx, bad.id, {}))
    assert good in within(lambda: publish._pick(ctx, good.id))[1]
    within(lambda: supervisor.tick(ctx.home))
    within(lambda: sidebar.running_now(ctx))
    if harm is not HARMS["rubbish"]:
        listed = bad in list_runs(ctx.home.outputs)
        assert listed or bad.id in dict(broken_runs(ctx.home.outputs)), "it is neither shown nor said to be broken"
    served = ("lora", "log.txt", "job.yaml", "README.md", "export.zip", "lora-kohya", "step-20", "step-20-kohya")
    large = ("lora", "export.zip") if harm is huge else ()  # these may be large, and are streamed
    for what in (w for w in served if w not in large):
        answer = within(lambda what=what: client.get(f"/easel/file/{bad.id}/{what}"))
        assert SECRET not in answer.text and (answer.status_code == 404 or len(answer.content) < 1_000_000)
    answer = within(lambda: client.get(f"/easel/sample/{bad.id}/000020_0.webp"))
    assert SECRET not in answer.text
    for what in (bad.view, bad.why, bad.log_tail, bad.checkpoints, bad.result, bad.status, bad.size_bytes, lambda: origin.question(bad.path)):
        assert SECRET not in str(within(what))
    for what in (lambda: checkpoint.verify(bad.path / "checkpoints/000020"), lambda: checkpoint.newest(bad.path), lambda: supervisor.start(bad, ctx.home)):
        within(what)


@posix
@pytest.mark.parametrize("name", ["samples", "checkpoints", "checkpoints/000020", "my-zibbo.safetensors", "."])
def test_no_linked_folder_is_looked_into(name, ctx, client):
    good, bad = story.run(ctx.home, end="finished"), story.run(ctx.home, end="finished", name="my-zibbo")
    there = bad.path if name == "." else bad.path / name
    elsewhere = ctx.home.root.parent / "elsewhere"
    there.rename(elsewhere)
    there.symlink_to(elsewhere)
    assert good in list_runs(ctx.home.outputs) and (name == "." or good in publish._pick(ctx, good.id)[1])
    if name in ("samples", "."):
        assert client.get(f"/easel/sample/{bad.id}/000020_0.webp").status_code == 404
    if name != "samples":
        assert client.get(f"/easel/file/{bad.id}/{'lora' if name.endswith('rs') else 'step-20'}").status_code == 404
    assert "is a link" in str(broken_runs(ctx.home.outputs)) or name in ("checkpoints/000020", "my-zibbo.safetensors")
    with pytest.raises(ValueError):
        supervisor.start(Run(bad.path), ctx.home)
    assert client.get(f"/easel/sample/{good.id}/000020_0.webp").status_code == 200


@posix
@pytest.mark.parametrize(("name", "harm"), each(["dataset.json", "index.json", "guessed.json", "edits.jsonl", "thumbs", "picture", "text", "mask"], ("index.json", "thumbs")))
def test_no_file_of_a_dataset_reaches_out_hangs_or_hides_the_others(name, harm, ctx, client):
    good, bad = datasets.create(ctx.home, "good"), datasets.create(ctx.home, "bad")
    for ds in (good, bad):
        _picture(ds.path / "a.png")
        ds.set_caption("a.png", "a red square")
        ds.check()
    thumb = next((bad.meta / "thumbs").iterdir())
    at = {"picture": bad.path / "a.png", "text": bad.path / "a.txt", "mask": bad.path / "a.mask.png", "thumbs": thumb}.get(name, bad.meta / name)
    put(harm, at)
    datasets.forget(bad.meta)
    assert {ds.path for ds in within(lambda: datasets.list_datasets(ctx.home))} == {good.path, bad.path}
    assert SECRET not in str(within(lambda: bad.pictures())) and SECRET not in str(within(lambda: bad.page(0, 10)))
    assert SECRET not in str(within(lambda: bad.caption("a.png"))) + str(within(bad.can_undo)) + str(within(bad.fingerprint))
    assert SECRET not in str(within(lambda: rereading.guessed(bad)))
    for kind in ("thumb", "picture"):
        assert SECRET not in within(lambda kind=kind: client.get(f"/easel/{kind}/bad/a.png")).text
    assert within(lambda: datasets.open_dataset(ctx.home, "good")).path == good.path
    assert client.get("/easel/thumb/good/a.png").status_code == 200


def _picture(path: Path) -> None:
    from PIL import Image

    Image.new("RGB", (80, 80), "red").save(path)


@posix
@pytest.mark.parametrize("harm", HARMS.values(), ids=HARMS)
def test_other_readers_refuse_as_well(harm, ctx, tmp_path):
    (ctx.home.plugins / "presets").mkdir(parents=True)
    (ctx.home.plugins / "captioning").mkdir()
    put(harm, ctx.home.plugins / "presets" / "mine.yaml")
    assert len(within(lambda: [p for p in list_presets(plugins=ctx.home.plugins) if p.ok])) > 10
    assert not next(p for p in list_presets(plugins=ctx.home.plugins) if p.id == "mine").ok
    if harm is not link:
        put(harm, ctx.home.plugins / "captioning" / "mine.py")
        assert not within(lambda: registry.find("captioning", ctx.home.plugins))["mine"].ok
    put(harm, ctx.home.plugins / "words" / "mine.txt")
    if harm is not HARMS["nested"]:  # which is one long line of text
        assert isinstance(within(lambda: words.read(ctx.home.plugins / "words" / "mine.txt")), ValueError | OSError)
    put(harm, ctx.home.root / ".easel" / "drafts" / "train.json")
    assert within(lambda: drafts.load(ctx.home, "train", publish.Wish)) == publish.Wish()
    put(harm, instance._address(ctx.home))
    assert within(lambda: instance.other_url(ctx.home, wait_s=0)) == ""
    job = tmp_path / "given.yaml"
    put(harm, job)
    assert isinstance(within(lambda: jobfile.load_job(job, ctx.home.plugins)), ValueError | OSError)
    ds = datasets.create(ctx.home, "new")
    for name in ("b.png", "b.txt", "b.mask.png", "b.zip"):
        put(harm, tmp_path / name)
        said = within(lambda name=name: importing.add_files(ds, [tmp_path / name]))
        assert isinstance(said, ValueError) or not any(v.ok for v in said), "a disk with less room than the huge one pretends to take is told before"


def test_hundred_thousand_twins_or_nested_lists_cost_no_time(tmp_path):
    begun = time.process_time()
    for name, text in (("a.json", "{" + ",".join(f'"k{n}":1' for n in range(18_000)) + "}"), ("b.yaml", "a: " + "[" * 90_000), ("c.json", "[" * 90_000)):
        (tmp_path / name).write_text(text)
        within(lambda name=name: jobfile.load_mapping(tmp_path / name))
    assert time.process_time() - begun < LIMIT_S


# what an event may say


def wild(rng: random.Random, key: str):
    """A value that no worker writes, or now and then one that it does."""
    odd = [
        1e308, -1e308, 5e-324, 3.4e38, float("nan"), float("inf"), -1, 2**53, 2**63, 10**400, True, None, "", "x" * 300, [], {}, [1, [2]], {"a": {}}, 1e16, 0,
        "\ud800", "../../etc/passwd", "/etc/passwd", "a\0b", "<script>", "samples/1.webp",
    ]  # fmt: skip
    usual = {"step": rng.randrange(1000), "of": 1000, "loss": rng.random(), "lr": 1e-4, "t": 1.7e9 + rng.random(), "versions": {"a": "1"}}
    return rng.choice(odd) if rng.random() < 0.3 else usual.get(key, rng.choice([1, 2, "text"]))


def test_whatever_events_say_every_page_can_show_them(ctx):
    rng = random.Random(7)
    for _ in range(400):
        events = [{"kind": kind, **{key: wild(rng, key) for key in ("t", *KINDS[kind])}} for kind in rng.choices(list(KINDS), k=rng.randrange(40))]
        cut = rng.randrange(len(events) + 1)
        view = fold(RunView(), events)
        assert fold(fold(RunView(), events[:cut]), events[cut:]) == view
        show(view)


@pytest.mark.parametrize("loss", [1e308, -1e308, 3.4e38, -3.4e38, 5e-324, 0.0, 1e16, 10**300])
def test_no_loss_breaks_the_chart(loss):
    say = {"t": 1.7e9, "kind": "step", "of": 10, "lr": loss, "grad": 0, "images_per_s": 1, "memory_bytes": 1}
    for other in (0.5, loss):
        show(fold(RunView(), [{**say, "step": 1, "loss": loss}, {**say, "step": 2, "loss": other, "lr": 1e-4}, {**say, "step": 3, "loss": loss}]))


def show(view: RunView) -> None:
    """Everything that the pages and the terminal make of a view."""
    from training.runs import follow
    from ui.tabs.results import gallery
    from ui.tabs.results import page as runpage

    now = time.time()
    chart(view)
    gallery.grid(view, lambda path: path), gallery.before_after(view, lambda path: path)
    for status in views.STATUS:
        page = runpage.Page("id", "title", status, view, "", now, links={"log.txt": "", "job.yaml": "", "lora": ""})
        runpage.head(page, now), runpage.checkpoints(page), runpage.warnings(view), runpage.details(page)
        runpage.strip([runpage.Card("id", "title", status, now, view)], "id", lambda id: lambda path: path, now, False)
        views.progress(view, status), views.ending(view, status, ""), views.next_step(view, status)
    views.best_checkpoint([s for s, _ in view.checkpoints][:3], view.validations)
    follow.progress(view)


def test_one_run_that_diverged_hides_no_other(ctx):
    good, bad = story.run(ctx.home, end="finished"), story.run(ctx.home, name="diverged")
    for step, loss in ((61, 1e308), (62, -1e308), (63, "NaN"), (64, 10**300), (65, 3e38)):
        journal.append(bad.events_path, {"t": time.time(), "kind": "step", "step": step, "of": 100, "loss": loss, "lr": 1e-4, "grad": 1.0, "images_per_s": 1.0, "memory_bytes": 1})
    for chosen in (good.id, bad.id):
        page = str(results.paint(ctx, chosen, {}))
        assert "my-zibbo" in page and "diverged" in page
    assert bad.view().losses[-1][:2] == (65, 3e38) and bad.view().bad_lines == 4


def test_a_view_stays_small_however_much_was_said(tmp_path):
    step = {"t": 1.7e9, "kind": "step", "of": 10**6, "loss": 0.5, "lr": 1e-4, "grad": 0, "images_per_s": 1, "memory_bytes": 1}
    view = fold(RunView(), ({**step, "step": n} for n in range(1, 60_001)))
    assert 5_000 < len(view.losses) <= 20_000 and view.losses[-1][0] == view.step == 60_000
    gaps = {b[0] - a[0] for a, b in zip(view.losses[1:-2], view.losses[2:-1], strict=True)}
    assert len(gaps) == 1
    endless = tmp_path / "events.jsonl"
    endless.write_bytes(b"x" * (30 << 20) + b'\n{"n": 1}\n')
    assert journal.read(endless)[0] == [{"n": 1}] and list(journal.backwards(endless)) == [{"n": 1}]


@pytest.mark.slow
def test_a_long_journal_is_folded_beside_the_page_and_remembered_in_the_home(ctx):
    run = story.run(ctx.home, upto=2)
    with open(run.events_path, "a") as file:
        file.writelines(json.dumps({"t": 1.8e9 + n, "kind": "step", "step": n, "of": 10**6, "loss": 0.5, "lr": 1e-4, "grad": 0, "images_per_s": 1, "memory_bytes": 1}) + "\n" for n in range(3, 20_000))

    def looked():
        watch = Watch()
        first = watch.status(run)
        while watch.behind(run):
            time.sleep(0.01)
        return watch.view(run), first[1]

    view, status = looked()
    assert view == run.view() and status == "interrupted"
    memory = next((ctx.home.root / ".easel" / "folds").iterdir())
    said = json.loads(memory.read_text())
    memory.write_text(json.dumps(said | {"view": said["view"] | {"step": 77}}))
    assert looked()[0].step == 77  # it was used …
    with open(run.events_path, "r+b") as file:
        file.write(b" ")
    assert looked()[0].step == 19_999  # … and is not, for another journal
    memory.write_text("{")
    assert looked()[0].step == 19_999


# a run that somebody mailed


def test_a_run_that_was_brought_here_starts_only_when_somebody_says_so(ctx, home, tmp_path, monkeypatch):
    letters = tmp_path / "letters"
    letters.mkdir()
    made = story.run(home, None)
    brought = home.outputs / "2026-01-01_1200_gift"
    brought.mkdir()
    text = (made.path / "job.yaml").read_text(encoding="utf-8").replace("name: zibbo", f"name: '{letters}'")
    (brought / "job.yaml").write_text(text, encoding="utf-8")
    shutil.rmtree(made.path)
    gift = Run(brought)
    assert supervisor.tick(home) == [] and gift.status() == "queued"
    assert str(letters) in origin.question(brought)
    page = str(results.paint(ctx, gift.id, {}))
    assert "was not made here" in page and str(letters) in page and 'data-act="accept"' in page
    with pytest.raises(ValueError, match="was not made here, and it would use data.datasets.name .*letters; accept that"):
        supervisor.start(gift, home)
    origin.adopt(brought)
    assert origin.question(brought) == "" and origin.made_here(brought)


def test_an_upload_that_was_brought_here_sends_nothing_anywhere(home):
    brought = home.outputs / "2026-01-01_1200_push"
    brought.mkdir()
    (brought / "job.yaml").write_text("kind: publish\nname: x\nrun: y\nrepo_id: a/b\ncard: c\nendpoint: https://elsewhere.example\n")
    assert supervisor.tick(home) == []
    with pytest.raises(ValueError, match="endpoint https://elsewhere.example"):
        supervisor.start(Run(brought), home)


def test_paths_in_events_lead_nowhere(ctx, client):
    run = story.run(ctx.home, end="finished")
    private = ctx.home.root.parent / "private.safetensors"
    private.write_text(SECRET)
    for path in (str(private), "../../../private.safetensors", "samples/../../x.safetensors", "a\0.safetensors", "//x.safetensors", "C:\\x.safetensors"):
        journal.append(run.events_path, {"t": time.time(), "kind": "finished", "path": path, "summary": ""})
        journal.append(run.events_path, {"t": time.time(), "kind": "sample", "step": 1, "index": 0, "prompt": "p", "path": path, "seed": 1})
        assert run.result() is None and client.get(f"/easel/file/{run.id}/lora").status_code == 404
        assert client.get(media.sample_url(ctx, run.id, path)).status_code == 404
        results.paint(ctx, run.id, {})


# no reader beside the one function

BARE = {"read_text", "read_bytes", "open", "load_file", "safe_open", "ZipFile"}
ALLOWED = {  # file -> (how many bare openings, what they open)
    "ui/server/space.py": (1, "our own icon"), "ui/reporting.py": (2, "our own script and style"), "ui/tabs/dataset/tab.py": (2, "our own scripts and style"),
    "ui/tabs/results/tab.py": (2, "our own script and style"), "ui/tabs/results/outlook.py": (1, "our own style"),
    "ui/language/__init__.py": (2, "our own catalogues"), "ui/language/extract.py": (7, "our own code and catalogues"), "ui/language/heard.py": (1, "our own list of sentences"),
    "training/away/receiving.py": (3, "it runs on another machine, where nothing of ours is"), "training/data/examples.py": (1, "what comes with Easel"), "training/data/gate.py": (1, "a thumbnail that it writes"),
    "training/data/importing.py": (2, "our own temporary files"), "training/data/memory.py": (1, "a temporary file that it writes"),
    "training/data/zips.py": (5, "the entries of an archive, and what it writes"),
    "training/data/tars.py": (2, "the tar that open_plain opened, and its entries, in memory"),
    "training/checkup/around.py": (1, "Easel's own lock"), "training/doctor.py": (2, "Easel's own requirements and base"), "training/files.py": (2, "what was just written"),
    "training/engine/adapter_files.py": (2, "a LoRA that a person named, or a run's own, which Run.checkpoints and Run.result have looked at"),
    "training/engine/cache.py": (1, "an entry that was checked in this run"), "training/engine/checkpoint.py": (2, "files that verify has opened; what it writes"),
    "training/engine/libraries.py": (1, "the base model"), "training/engine/quantise.py": (1, "the base model"), "training/engine/unpack.py": (3, "the base model"),
    "training/engine/weights.py": (1, "the base model"), "training/families/flux2_klein.py": (1, "the base model"),
    "training/families/ltx2.py": (1, "the base model"), "training/families/omnigen2.py": (1, "the base model"), "training/families/sdxl.py": (2, "the base model"), "training/families/wan21.py": (1, "the base model"),
    "training/formats/layouts.py": (1, "a file whose header was read by basemodel.read_header"), "training/hub/card.py": (1, "the built-in base's card"),
    "training/hub/download.py": (1, "the null device"), "training/hub/publish.py": (2, "a result that Run.result has looked at; a ZIP that it writes"),
    "training/plan/cards.py": (1, "/proc and /sys"), "training/runs/longer.py": (1, "what it writes"),
    "training/away/shelved.py": (10, "on the other machine, where it stands alone: what was sent there, and what the run there made"),
    "training/cloud/docker.py": (2, "a tar that it writes, and one in a temporary file, of which contents alone are taken"),
    "training/outside.py": (1, "this is the one"), "training/plan/hardware.py": (1, "/proc and /sys"), "training/plan/timelaw.py": (1, "the base model"),
    "training/runs/death.py": (3, "/proc"), "ui/server/client.py": (2, "our own assets"), "ui/sidebar.py": (1, "our own icon"), "ui/theme.py": (2, "our own assets"), "ui/telling.py": (2, "our own assets"),
    "training/runs/slow.py": (2, "the system's own counters below /proc and /sys"),
}  # fmt: skip


def test_everything_is_opened_by_the_one_function():
    found = {}
    for root in ("training", "ui"):
        for path in sorted((REPO / root).rglob("*.py")):
            calls = [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call) and _is_bare(node.func) and not _writes(node)]
            if calls:
                found[path.relative_to(REPO).as_posix()] = len(calls)
    new = {name: count for name, count in found.items() if count > ALLOWED.get(name, (0, ""))[0]}
    assert not new, f"{new} open more files by themselves than is known; use training.outside, or say here what they open"


def _writes(call: ast.Call) -> bool:
    """open(…, "wb"), open(…, "xb"): a new file of our own."""
    return len(call.args) > 1 and isinstance(call.args[1], ast.Constant) and str(call.args[1].value)[:1] in ("w", "x")


def _is_bare(func: ast.expr) -> bool:
    """open(), path.read_text(), os.open() and the like; not Run.open, Image.open of bytes, webbrowser.open."""
    if isinstance(func, ast.Name):
        return func.id in BARE - {"read_text", "read_bytes"}  # by these names alone they are those of training.outside
    if not isinstance(func, ast.Attribute) or func.attr not in BARE:
        return False
    return not (isinstance(func.value, ast.Name) and func.value.id in ("Run", "Image", "av", "webbrowser", "outside"))


@posix
def test_the_one_function(tmp_path):
    plain = tmp_path / "plain"
    plain.write_bytes(b"12345")
    assert outside.read_plain(plain, 5) == b"12345"
    with pytest.raises(outside.Refused, match="plain is 5 bytes long; 4 bytes is the most"):
        outside.read_plain(plain, 4)
    if sys.platform == "linux":
        with pytest.raises(outside.Refused, match="most"):  # says that it is empty, and is not
            outside.read_plain("/proc/self/maps", 10)
    (tmp_path / "link").symlink_to(plain)
    assert outside.read_plain(tmp_path / "link", 5, linked=True) == b"12345"
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name in ("link", "loop"):
        with pytest.raises(outside.Refused, match="is a link"):
            outside.open_to_append(tmp_path / name)
    (tmp_path / "there").symlink_to(tmp_path)
    for path in ("there/plain", "../plain", "/plain", "./plain", "", "a\0", "there/there/plain"):
        with pytest.raises((outside.Refused, OSError)):
            outside.inside(tmp_path, path)
    assert outside.inside(tmp_path, "plain") == plain and "there is a link" in outside.strange(tmp_path) + "there is a link"
