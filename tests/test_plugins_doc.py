"""docs/writing-a-plugin.md: its examples are put into a home and used, and what it says of plugins that do not fit is so."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys

import pytest
from PIL import Image

from tests import tiny
from tests.plan.test_presets import LAPTOP
from training import jobfile, registry
from training.home import REPO
from training.plan import optimizing, presets
from training.plugins import KINDS, RIGHTS, added
from training.runs.context import Context
from training.runs.run import create

EXAMPLES = REPO / "docs" / "examples"
GUIDE = (REPO / "docs" / "writing-a-plugin.md").read_text(encoding="utf-8")


@pytest.fixture
def stocked(home, monkeypatch):
    """A home that has every example among its plugins, and is the one that whatever looks for a home finds."""
    shutil.copytree(EXAMPLES, home.plugins)
    monkeypatch.setenv("EASEL_HOME", str(home.root))
    return home


def put(home, kind: str, name: str, text: str):
    (home.plugins / kind).mkdir(parents=True, exist_ok=True)
    (home.plugins / kind / name).write_text(text, encoding="utf-8")


def ran(home, data: dict):
    """The run of a job, done in this process."""
    config = jobfile.parse(registry.get("jobs", data["kind"], home.plugins).Config, data)
    run = create(home.outputs, config)
    ctx = Context(run, home, 1)
    ctx.emit("started", pid=1, attempt=1, boot_id="", oom_kills=0, versions={}, device="CPU")
    registry.get("jobs", data["kind"], home.plugins).run(config, ctx)
    assert run.status() == "finished", run.view().error
    return run


def test_every_kind_has_an_example_and_a_place_in_the_guide():
    kinds = {*registry.PACKAGES, "presets", "goals", "words"}
    files = {f"examples/{p.relative_to(EXAMPLES).as_posix()}" for p in EXAMPLES.rglob("*.*") if "__pycache__" not in p.parts}
    assert {p.split("/")[1] for p in files} == kinds == set(KINDS)
    assert set(re.findall(r"\]\((examples/\S+)\)", GUIDE)) == files
    assert all(f"`{kind}/`" in GUIDE for kind in kinds)
    for kind, names in registry.OFFERS.items():
        assert all(re.search(rf"\b{name}\b", GUIDE) for name in names), kind


def test_every_example_loads_beside_what_comes_with_easel(stocked):
    found = added(stocked)
    assert [f"{one.kind}/{one.id}: {one.error}" for one in found if not one.ok] == []
    assert len(found) == 15 and {one.kind for one in found} == set(KINDS)
    for one in found:
        assert one.source.startswith(str(stocked.plugins)) and one.title


def test_a_family_an_adapter_an_objective_and_an_optimizer_train_together(stocked, tmp_path):
    from safetensors.torch import load_file

    base, pictures = tiny.sd15(tmp_path / "base"), tiny.pictures(tmp_path / "pictures", 4)
    more = dict(
        model__family="sd15_words", adapter__type="lora_b", loss__objective="absolute", optimizer__type="sgd", optimizer__options={"momentum": 0.5},
        optimizer__learning_rate=5.0, adapter__targets="all", steps=4, sample__every=0,
    )  # fmt: skip
    run = ran(stocked, tiny.train_job(base, pictures, **more))
    first, last = (load_file(run.path / f"checkpoints/{step}/adapter.safetensors") for step in ("000002", "000004"))
    assert all(".attn2." in name for name in last)
    moved = {name for name in last if not first[name].equal(last[name])}
    assert moved and all(".lora_B." in name for name in moved)
    assert optimizing.state_bytes(run.config().optimizer) == 4
    assert run.result() and not run.view().warnings


def test_a_captioner_and_jobs_do_their_work(stocked, tmp_path):
    pictures = tiny.pictures(tmp_path / "pictures", 4)
    for colour in ("red", "blue"):
        Image.new("RGB", (64, 64), colour).save(pictures / f"{colour}.png")
    ran(stocked, {"kind": "caption", "name": "captions", "dataset": str(pictures), "captioner": "colour", "options": {"text": "all {colour}"}})
    assert (pictures / "blue.txt").read_text(encoding="utf-8").strip() == "all blue"
    words = ran(stocked, {"kind": "count_words", "name": "words", "dataset": str(pictures), "least": 2})
    assert "all\t2" in (words.path / "words.tsv").read_text(encoding="utf-8").splitlines()
    sheet = ran(stocked, {"kind": "contact_sheet", "name": "sheet", "dataset": str(pictures), "columns": 4, "side": 32})
    with Image.open(sheet.path / "sheet.png") as made:
        assert made.size == (128, 64) and len(made.getcolors(10**6)) > 4


def test_a_format_of_captions_is_read_on_import(stocked, tmp_path):
    from training.data import datasets, importing

    pictures = tiny.pictures(tmp_path / "pictures", 2)
    names = sorted(p.name for p in pictures.glob("*.png"))
    for text in pictures.glob("*.txt"):
        text.unlink()
    (pictures / "notes.csv").write_text(f"{names[0]}: a red ball\n", encoding="utf-8")
    ds = datasets.create(stocked, "noted")
    importing.add_folder(ds, pictures)
    assert {p.id: p.caption for p in ds.pictures()} == {names[0]: "a red ball", names[1]: ""}


def test_a_tool_has_its_form_on_the_tools_tab(stocked):
    from ui.tabs.tools import bench

    tool = next(t for t in bench.tools(stocked) if t.id == "contact_sheet")
    made, wrong = bench.config_of(tool, {"dataset": "cats", "columns": "3"})
    assert wrong == {} and (made.dataset, made.columns, made.kind) == ("cats", 3, "contact_sheet") and tool.blurb
    assert "columns" in bench.config_of(tool, {"dataset": "cats", "columns": "0"})[1]


def test_a_file_of_another_trainer_is_read(stocked, tmp_path):
    from training.plan import translating

    (tmp_path / "job.json").write_text('{"easy_lora": 1, "size": 4, "rounds": 7, "colour": "blue", "mood": 3, "api_key": "abc"}', encoding="utf-8")
    made = translating.read(tmp_path / "job.json", stocked.plugins)
    assert made.program == "EasyLoRA" and made.settings == {"adapter.rank": 4, "steps": 70}
    assert [w.key for w in made.without] == ["colour"] and [u.key for u in made.unknown] == ["mood"] and made.secrets == ("api_key",)


def test_a_preset_and_its_list_of_sentences_are_used(stocked):
    from training.data import words
    from training.families.sd15 import SPEC

    config = presets.resolve("small-blobs", presets.Answers(dataset="pictures", trigger="zibbo"), LAPTOP, 8, stocked)
    assert config.steps == 120 and config.optimizer.schedule == "wsd"
    assert words.sentences_of(config, SPEC, stocked)[2] == "a green star"


def test_a_goal_is_a_preset_of_every_base_model(stocked):
    made = [p for p in presets.list_presets(plugins=stocked.plugins) if p.goal == "night"]
    assert {p.family for p in made} >= {"sd15", "flux1", "z_image"} and all(p.ok for p in made)
    config = presets.resolve(next(p.id for p in made if p.light), presets.Answers(dataset="pictures"), LAPTOP, 8, stocked)
    assert config.loss.objective == "slider" and config.concept.targets[0].positive == "a street at night, dark"


def test_a_page_is_a_tab_and_one_that_fails_says_so_and_stops_no_other(stocked):
    from ui import shell

    put(stocked, "pages", "bad.py", "TITLE = 'Bad'\ndef build(ctx): raise ValueError('no <b>paper</b>')\ndef wire(parts, ctx): ...\n")
    put(stocked, "pages", "loose.py", "TITLE = 'Loose'\ndef build(ctx): return 1\ndef wire(parts, ctx): raise OSError('no wire')\n")
    demo = shell.build(stocked)
    props = [c["props"] for c in demo.get_config_file()["components"]]
    titles = [p.get("label") for p in props]
    assert {"Dataset", "Publish", "Notes", "Bad", "Loose"} <= set(titles)
    said = " ".join(str(p.get("value")) for p in props)
    assert "cannot be shown: ValueError: no &lt;b&gt;paper&lt;/b&gt;" in said and "does not work: OSError: no wire" in said


def test_one_for_a_newer_easel_is_not_run_and_says_so(home):
    mark = home.root / "it ran"
    put(home, "jobs", "new.py", f"EASEL_API = {registry.API + 1}\nopen({str(mark)!r}, 'w')\nfrom training.config import something_new\n")
    [(kind, plugin)] = registry.added(home.plugins)
    assert (kind, plugin.id) == ("jobs", "new") and not mark.exists()
    assert plugin.error == f"it is written for plugin interface {registry.API + 1}, and this Easel has {registry.API}: update Easel, or take an older version of the plugin"
    put(home, "jobs", "new.py", "EASEL_API = 'two'\n")
    assert "EASEL_API must be a whole number" in registry.added(home.plugins)[0][1].error


def test_why_one_is_not_used_is_said(home):
    put(home, "adapters", "half.py", "TITLE = 'Half'\n")
    put(home, "adapters", "lora.py", "TITLE = BLURB = 'Not ours'\nUSES = ()\n")
    put(home, "captioning", "broken.py", "import no_such_library\n")
    put(home, "presets", "odd.yaml", "title: Odd\n")
    put(home, "words", "empty.txt", "# nothing\n")
    said = {one.id: one.error for one in added(home)}
    assert said["half"] == "it lacks BLURB, USES, which every file in adapters must have: see docs/writing-a-plugin.md"
    assert said["lora"].startswith("there is another 'lora'") and registry.get("adapters", "lora", home.plugins).TITLE == "LoRA"
    assert "No module named 'no_such_library'" in said["broken"] and "blurb" in said["odd"] and "holds no sentence" in said["empty"]
    assert "half" not in {id for id, plugin in registry.find("adapters", home.plugins).items() if plugin.ok}, "so the form does not offer it"


def test_on_a_space_plugins_are_off_unless_the_owner_allows_them(home, monkeypatch):
    mark = home.root / "it ran"
    put(home, "jobs", "mine.py", f"open({str(mark)!r}, 'w')\nTITLE = 'Mine'\nfrom training.config import JobConfig as Config\ndef run(config, ctx): ...\n")
    put(home, "words", "mine.txt", "a cat\n")
    monkeypatch.setenv("SPACE_ID", "me/easel")
    assert "mine" not in registry.find("jobs", home.plugins)
    with pytest.raises(ValueError, match="'mine' does not load: plugins are not loaded here: on a Space.*EASEL_PLUGINS=1"):
        registry.get("jobs", "mine", home.plugins)
    assert {one.kind: one.error for one in added(home)} == {"jobs": registry.NOT_HERE, "words": ""} and not mark.exists()
    monkeypatch.setenv("EASEL_PLUGINS", "1")
    assert registry.get("jobs", "mine", home.plugins).TITLE == "Mine" and mark.exists()
    monkeypatch.delenv("SPACE_ID")
    monkeypatch.setenv("EASEL_PLUGINS", "0")
    assert "mine" not in registry.find("jobs", home.plugins)


def test_an_installed_package_brings_a_plugin_and_the_command_line_lists_all(stocked, tmp_path):
    site = tmp_path / "site"
    (site / "shop-1.0.dist-info").mkdir(parents=True)
    (site / "shop-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: shop\nVersion: 1.0\n", encoding="utf-8")
    (site / "shop-1.0.dist-info" / "entry_points.txt").write_text("[easel.objectives]\nshop = shop\n[easel.adapters]\nworn = shop\n", encoding="utf-8")
    (site / "shop.py").write_text("TITLE = BLURB = 'From a shop'\n", encoding="utf-8")
    command = [sys.executable, "-m", "training", "plugins", "--home", str(stocked.root)]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])}
    listed = subprocess.run(command, cwd=REPO, env=environ, capture_output=True, text=True, check=True, encoding="utf-8").stdout
    assert re.search(r"Objective +From a shop +shop\n", listed) and "not used: it lacks USES" in listed
    assert "Contact sheet" in listed and "small-blobs.yaml" in listed and RIGHTS in listed


def test_the_list_on_the_page_tells_no_path_of_this_computer_and_no_markup(stocked):
    from ui import added as page

    put(stocked, "objectives", "evil.py", "TITLE = '<script>'\nBLURB = ''\n")
    put(stocked, "objectives", "worse.py", "raise ValueError('<img src=x>')\n")
    html = page.html(stocked)
    assert "&lt;script&gt;" in html and "<script" not in html and "<img" not in html
    assert str(stocked.root) not in html and "plugins/jobs/contact_sheet.py" in html.replace("\\", "/")
    assert "Plugins: 17, 1 not used" in html and "<details" in html and " open" in html and RIGHTS in html
