"""Presets of one's own: a run's settings, whole, under a name; passed on as one file, which is read as data and strictly."""

import base64
import io

import pytest
import yaml
from PIL import Image

from tests.ui import story
from training.plan import own, presets
from training.plan.hardware import machine
from training.plan.presets import Answers, resolve
from ui.tabs.train import ownpresets

pytestmark = pytest.mark.slow  # each makes pictures, a run and its preset


@pytest.fixture
def saved(home):
    """(home, its dataset, a finished run, the id of the preset made of it)."""
    dataset = story.pictures(home, 14)
    run = story.run(home, 100, "finished")
    return home, dataset, run, own.save(run, home, "My zibbo way")


def file_of(home, id) -> dict:
    return yaml.safe_load((presets.own_folder(home.plugins) / f"{id}.yaml").read_text(encoding="utf-8"))


def test_it_makes_the_very_same_run_again_and_names_the_one_it_came_from(saved):
    home, dataset, run, id = saved
    preset = presets.get(id, home.plugins)
    assert (preset.title, preset.own, preset.from_run, preset.picture) == ("My zibbo way", True, "my-zibbo", True)
    made = resolve(id, Answers(name="my-zibbo", trigger="zibbo", dataset=dataset), machine(home.root), 14, home)
    told = made.model_dump(exclude={"preset"})
    told["sample"]["prompts"] = tuple(p.replace("[trigger]", "zibbo") for p in told["sample"]["prompts"])
    assert told == run.config().model_dump(exclude={"preset"})
    other = resolve(id, Answers(trigger="mimi", dataset=dataset, quality="quick"), machine(home.root), 14, home)
    assert (other.steps, other.sample.every, other.trigger) == (50, 10, "mimi") and all("[trigger]" in p for p in other.sample.prompts)
    assert presets.recommend([preset, *presets.list_presets()], machine(home.root)).id != id, "nobody is recommended their own"


def test_it_is_renamed_passed_on_brought_back_and_deleted(saved, tmp_path):
    home, _, _, id = saved
    own.rename(home, id, "Better")
    assert presets.get(id, home.plugins).title == "Better"
    name, data = own.exported(home, id)
    assert name == "Better.easel-preset.yaml" and str(home.root).encode() not in data
    (tmp_path / name).write_bytes(data)
    assert own.is_one(tmp_path / name)
    second = own.bring(tmp_path / name, home)
    assert second != id and file_of(home, second)["config"] == file_of(home, id)["config"]
    with Image.open(io.BytesIO(own.picture(home, second))) as picture:
        assert picture.format == "WEBP" and max(picture.size) <= own.SIDE_PX
    own.delete(home, id)
    assert [p.id for p in presets.list_presets(plugins=home.plugins) if p.own] == [second]
    for odd in (id, "../x", "sdxl-style"):
        with pytest.raises(ValueError, match="no preset"):
            own.delete(home, odd)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d: d["config"].update(name="x"), "says name in config"),
        (lambda d: d["config"].update(place={"kind": "ssh"}), "says place"),
        (lambda d: d["config"].update(trackers=[{"name": "wandb"}]), "says trackers"),
        (lambda d: d["config"]["data"].update(datasets=[{"name": "/etc"}]), "says data.datasets"),
        (lambda d: d["quality"]["quick"].update(adapter={"start_from": "/x"}), "adapter.start_from in quality.quick"),
        (lambda d: d["config"]["model"].update(source="/home/anna/model"), "names a folder or an address"),
        (lambda d: d["config"]["model"].update(source="//host/share"), "names a folder or an address"),
        (lambda d: d["config"]["model"].update(source="../models"), "names a folder or an address"),
        (lambda d: d["quality"]["thorough"].update(model={"source": "https://host/x"}), r"an address \(model.source\)"),
        (lambda d: d["quality"]["quick"].update(adapter={"image_encoder": "/home/anna/clip"}), r"an address \(adapter.image_encoder\)"),
        (lambda d: d["config"]["data"].update(weighed=[]), "says data.weighed"),
        (lambda d: d["config"].update(stepz=3), "is not a setting"),
        (lambda d: d.update(run="rm -rf"), "is not a setting"),
        (lambda d: d.update(easel_preset=2), "easel_preset"),
        (lambda d: d.update(title="a/b"), "a folder name cannot"),
        (lambda d: d.update(picture=base64.b64encode(b"<svg onload=x>").decode()), "picture of the preset is none"),
        (lambda d: d["quality"].pop("quick"), "quality has"),
        (lambda d: d.pop("config"), "config"),
    ],
)  # fmt: skip
def test_a_file_from_elsewhere_is_data_and_read_strictly(saved, tmp_path, change, says):
    home, _, _, id = saved
    data = file_of(home, id)
    change(data)
    path = tmp_path / "given.yaml"
    path.write_text(yaml.safe_dump(data), encoding="utf-8")
    with pytest.raises(ValueError, match=says):
        own.bring(path, home)
    assert [p.id for p in presets.list_presets(plugins=home.plugins) if p.own] == [id], "nothing is left behind"


def test_no_object_is_made_of_a_file(home, tmp_path):
    path = tmp_path / "given.yaml"
    path.write_text("easel_preset: 1\ntitle: !!python/object/apply:os.system [touch x]\n", encoding="utf-8")
    assert not own.is_one(path)
    with pytest.raises(ValueError):
        own.bring(path, home)


def test_a_folder_of_this_computer_is_not_passed_on(home, tmp_path):
    story.pictures(home, 3)
    run = story.run(home, 20, "finished")
    id = own.save(run, home)
    data = file_of(home, id)
    for named in (data["config"], data["quality"]["thorough"]):
        named["model"] = (was := named.get("model", {})) | {"source": str(tmp_path)}
        (presets.own_folder(home.plugins) / f"{id}.yaml").write_text(yaml.safe_dump(data), encoding="utf-8")
        with pytest.raises(ValueError, match="folder of this computer"):
            own.exported(home, id)
        shown = ownpresets.html([presets.get(id, home.plugins)], "", machine(home.root), lambda id, what: f"/{what}")
        assert "is a folder of this computer" in shown and 'href="/file"' not in shown, "the menu says why in place of the link"
        named["model"] = was


def test_one_that_cannot_be_read_is_a_row_with_its_reason(home):
    folder = presets.own_folder(home.plugins)
    folder.mkdir(parents=True)
    (folder / "my-broken.yaml").write_text("title: [", encoding="utf-8")
    (row,) = [p for p in presets.list_presets(plugins=home.plugins) if p.own]
    assert not row.ok and row.error and row.id == "my-broken"
