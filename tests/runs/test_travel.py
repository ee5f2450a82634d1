"""A run goes into a ZIP without a word of this computer, and comes out of one without harm."""

import errno
import json
import os
import shutil
import stat
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors.numpy import save

from tests.test_cli import typed
from tests.ui import story
from training import jobfile, zipping
from training.away import state as away
from training.config import config_hash
from training.data import datasets, states
from training.home import find_home
from training.runs import exactly, journal, needs, origin, packing, room, supervisor, unpacking
from training.runs.run import Run, broken_runs, delete, list_runs
from ui.tabs.results import travel


@pytest.fixture
def there(tmp_path):
    return find_home(tmp_path / "another home").made()


def packed(run, home, to, **what) -> dict[str, bytes]:
    """{name: bytes} of the ZIP, which also lies at `to`."""
    packing.write(packing.parcel(run, home, **what), to)
    with zipfile.ZipFile(to) as archive:
        return {info.filename: archive.read(info) for info in archive.infolist()}


def run_of(home, **changes):
    """A stopped run whose job was changed, with one checkpoint that holds tensors."""
    run = story.run(home, 40, "stopped")
    told = {**run.job(), **changes}
    (run.path / "job.yaml").write_text(jobfile.dump_yaml(jobfile.parse(type(run.config()), told)), encoding="utf-8")
    origin.adopt(run.path)
    for folder in sorted((run.path / "checkpoints").iterdir()):
        (folder / "adapter.safetensors").write_bytes(save({"a": np.zeros(3, np.float32)}))
        (folder / "MANIFEST.json").write_text(json.dumps({"step": int(folder.name), "config_hash": config_hash(run.config())}))
    return run


def test_a_packed_run_holds_no_place_of_this_computer_and_opens_in_another_home(home, there, nasty):
    folder = nasty / "private letters"
    shutil.copytree(home.datasets / story.pictures(home), folder, ignore=shutil.ignore_patterns(".easel"))
    run = run_of(home, data={"datasets": [{"name": str(folder)}, {"name": "zibbo", "prior": True}], "resolutions": [64]}, model={"family": "sd15", "source": str(nasty / "gone" / "a base")})
    journal.append(run.events_path, {"t": time.time(), "kind": "warning", "text": f"{run.path}/samples is odd"})
    run.log_path.write_text(f"loaded {folder}\nfrom {Path.home()}/x\n", encoding="utf-8")
    held = packed(run, home, nasty / "run.zip", pictures=True)
    for name, data in held.items():
        for place in (nasty, home.root, Path.home(), run.path):
            assert str(place) not in name and str(place).encode() not in data and json.dumps(str(place))[1:-1].encode() not in data, (name, place)
    assert not any("worker.lock" in name or "control" in name for name in held)
    brought = unpacking.bring(nasty / "run.zip", there)
    assert brought.run.id == run.id and brought.run.status() == "interrupted" and "restarted" not in brought.run.why() and not origin.made_here(brought.run.path)
    view = brought.run.view()
    assert (view.losses, len(view.samples), view.step) == (run.view().losses, len(run.view().samples), 40) and view.warnings == ("./samples is odd",)
    assert [step for step, _ in brought.run.checkpoints()] == [20, 40]
    assert {json.loads((path / "MANIFEST.json").read_text())["config_hash"] for _, path in brought.run.checkpoints()} == {config_hash(brought.run.config())}
    assert {ds.name for ds in datasets.list_datasets(there)} == {"private letters", "zibbo"}
    assert datasets.open_dataset(there, "zibbo").fingerprint() == datasets.open_dataset(home, "zibbo").fingerprint()
    assert [need.name for need in brought.lacking] == ["./models/a base"] and "base model './models/a base'" in " ".join(brought.said())
    with pytest.raises(ValueError, match="cannot go on here: it needs base model"):
        supervisor.start(brought.run, there)
    unpacking.replace(brought.run, there, {"./models/a base": "someone/a-base"})
    assert needs.missing(brought.run, there) == [] and {json.loads((p / "MANIFEST.json").read_text())["config_hash"] for _, p in brought.run.checkpoints()} == {config_hash(brought.run.config())}
    again = unpacking.bring(nasty / "run.zip", there)
    assert again.run.id != brought.run.id and again.added == (), "the same datasets are not kept twice"


def test_a_run_of_ours_comes_back_as_ours_and_names_what_is_gone(home, nasty):
    story.pictures(home)
    run = run_of(home)
    packed(run, home, nasty / "run.zip")
    delete(run)
    datasets.delete(datasets.open_dataset(home, "zibbo"))
    brought = unpacking.bring(nasty / "run.zip", home)
    assert brought.run.path == run.path and origin.made_here(run.path)
    assert "it needs dataset 'zibbo', which is not on this computer" in " ".join(brought.said())


def test_a_folder_that_was_only_copied_or_zipped_by_hand_is_taken_as_well(home, there, nasty):
    run = run_of(home)
    assert unpacking.bring(run.path, there).run.view().step == 40
    with zipfile.ZipFile(nasty / "by hand.zip", "w") as archive:
        for path in sorted(run.path.rglob("*")):
            archive.write(path, f"some folder/{path.relative_to(run.path)}")
    brought = unpacking.bring(nasty / "by hand.zip", there)
    assert brought.run.view().step == 40 and len(list_runs(there.outputs)) == 2
    if os.name != "nt":
        (run.path / "samples" / "000099_0.webp").symlink_to("/etc/passwd")
        os.mkfifo(run.path / "samples" / "000098_0.webp")
        left = dict(unpacking.bring(run.path, there).refused)
        assert "link, a device or a pipe" in left["samples/000099_0.webp"] and "samples/000098_0.webp" in left


BAD = {  # name of an entry -> what is said of it
    "run/evil.py": "program", "run/page.html": "program", "run/weights.bin": "pickled", "run/checkpoints/000020/state.pt": "pickled", "run/notes.doc": "nothing that a run holds",
    "run/../../outside.txt": "", "/etc/cron.d/x": "", "run/samples/CON.png": "name", "run/samples/a\x07.png": "name", "run/samples/a.png.": "", "elsewhere/x.png": "does not lie in",
    "run/fake.safetensors": "pickled file with another name", "run/checkpoints/1/adapter.safetensors": "nothing that a run holds",
}  # fmt: skip


def test_what_no_run_holds_stays_out_and_is_said(home, there, nasty):
    run = run_of(home)
    source = nasty / "gift.zip"
    with zipfile.ZipFile(source, "w") as archive:
        archive.writestr("run/job.yaml", (run.path / "job.yaml").read_bytes())
        for name in BAD:
            archive.writestr(name, b"\x80\x04pickle" if name.endswith("fake.safetensors") else b"x")
        link = zipfile.ZipInfo("run/samples/link.png")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
        device = zipfile.ZipInfo("run/samples/device.png")
        device.external_attr = (stat.S_IFCHR | 0o666) << 16
        archive.writestr(device, "")
        archive.writestr("run/log.txt", b"\0" * (70 << 20), zipfile.ZIP_DEFLATED)
    brought = unpacking.bring(source, there)
    left = dict(brought.refused)
    for name, why in BAD.items():
        assert why in left.get(name, left.get(name.removeprefix("run/"), why and "nothing is said of it")), (name, left)
    assert "is a link" in left["run/samples/link.png"] and "device" in left["run/samples/device.png"] and "as ZIP bombs do" in left["run/log.txt"]
    assert sorted(path.relative_to(brought.run.path).as_posix() for path in brought.run.path.rglob("*")) == ["job.yaml"]
    assert list(there.outputs.iterdir()) == [brought.run.path] and not list(there.root.glob("outside*"))


@pytest.mark.parametrize(
    ("entries", "sentence"),
    [
        ({"a.png": b"x"}, "holds no job.yaml"), ({"a/job.yaml": b"kind: train", "b/job.yaml": b"kind: train"}, "several runs"), ({"job.yaml": b"kind: publish\nname: x"}, "only trainings"),
        ({"job.yaml": b"kind: train\nname: x\nextra: 1"}, "is not a setting"), ({"job.yaml": b"a: &a [1]\nb: *a"}, "aliases"), ({"job.yaml": b"!!python/object/apply:os.system [x]"}, "job.yaml"),
        ({"job.yaml": b"x" * 300_000}, "is 300 kB long"), ({"job.yaml": b"kind: train", "travel.json": b'{"format": 9}'}, "is not valid"),
    ],
)  # fmt: skip
def test_what_is_no_run_is_refused_whole_and_leaves_nothing(there, nasty, entries, sentence):
    with zipfile.ZipFile(nasty / "x.zip", "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    with pytest.raises(ValueError, match=sentence):
        unpacking.bring(nasty / "x.zip", there)
    assert not list(there.outputs.iterdir()) and not list(there.datasets.iterdir())


@pytest.mark.slow
def test_what_a_parcel_says_of_its_datasets_is_not_believed(home, there, nasty):
    long = "日" * 80 + ".png"
    pictures = home.datasets / story.pictures(home)
    (pictures / "p0.png").rename(pictures / long)
    held = packed(run_of(home), home, nasty / "run.zip", pictures=True)
    top = next(iter(held)).split("/")[0]
    pictures = [name for name in held if "/pictures/" in name]
    with zipfile.ZipFile(nasty / "changed.zip", "w") as archive:
        for name, data in held.items():
            archive.writestr(name, b"another picture" if name == pictures[0] else data)
        archive.writestr(f"{top}/outside/datasets/0/pictures/uninvited.png", b"x")
    made = unpacking.bring(nasty / "changed.zip", there)
    assert [need.name for need in made.lacking] == [] and len(states.now(datasets.open_dataset(there, "zibbo")).files) == len(pictures) - 1 == 2
    whole = unpacking.bring(nasty / "run.zip", there)
    name = whole.run.job()["data"]["datasets"][0]["name"]
    assert whole.added and name != "zibbo" and (there.datasets / name / long).is_file(), "another one of that name is not touched"
    with zipfile.ZipFile(nasty / "wild.zip", "w") as archive:
        for name, data in held.items():
            archive.writestr(name, json.dumps({"files": {"../../x.png": "0" * 64}}) if name.endswith("state.json") else data)
    with pytest.raises(ValueError, match="its files are not what Easel writes"):
        unpacking.bring(nasty / "wild.zip", there)
    assert len(list_runs(there.outputs)) == 2 and not broken_runs(there.outputs)


@pytest.mark.slow
def test_the_command_line_packs_and_brings(home, there, nasty, monkeypatch, capsys):
    story.pictures(home)
    run = run_of(home)
    monkeypatch.chdir(nasty)
    code, said = typed(home, monkeypatch, capsys, "export-run", run.id, "--pictures")
    assert code == 0 and f"{run.id}.zip  " in said
    code, said = typed(there, monkeypatch, capsys, "import-run", nasty / f"{run.id}.zip")
    assert code == 0 and "is here as" in said and "dataset 'zibbo'" in said
    assert Run.open(there.outputs, run.id).view().step == 40
    code, said = typed(there, monkeypatch, capsys, "import-run", nasty / "none.zip")
    assert code == 2 and "there is no" in said
    datasets.create(there, "yes")
    code, said = typed(there, monkeypatch, capsys, "import-run", nasty / f"{run.id}.zip", "--dataset", "zibbo=yes")
    assert code == 0 and list_runs(there.outputs)[0].job()["data"]["datasets"][0]["name"] == "yes", said


def strangers(run):
    """The same folder, as if somebody had mailed it."""
    text = (run.path / "job.yaml").read_text(encoding="utf-8")
    (run.path / "job.yaml").write_text(f"{text}\n# mailed\n", encoding="utf-8")
    assert not origin.made_here(run.path)
    return run


@pytest.mark.skipif(os.name == "nt", reason="a program that ends at once")
def test_what_lives_on_another_machine_is_found_again_though_its_pictures_are_gone_here(home, monkeypatch):
    run = run_of(home, place={"kind": "ssh", "options": {"host": "desk"}})
    away.keep(run.path, away.State("ssh", {"id": "a" * 16}))
    with pytest.raises(ValueError, match="cannot go on here: it needs dataset 'zibbo'"):
        supervisor.start(run, home)  # nothing was sent yet
    away.keep(run.path, away.State("ssh", {"id": "a" * 16}, "started"))
    monkeypatch.setattr(supervisor.sys, "executable", "true")
    assert supervisor.start(run, home) == "started"


def test_of_a_strangers_run_nothing_of_this_computer_goes_along_before_that_was_accepted(home, nasty):
    letters = nasty / "letters"
    (letters / "deep").mkdir(parents=True)
    for name in ("letter.txt", "keys.json", "deep/more.txt"):
        (letters / name).write_text("secret")
    run = strangers(run_of(home, adapter={"start_from": str(letters)}))
    for what in ({"base": True}, {"pictures": True}):
        with pytest.raises(ValueError, match="adapter.start_from .*; accept that first"):
            packing.parcel(run, home, **what)
    ctx = SimpleNamespace(home=home, url=str)
    assert [url.rsplit("/")[-1] for url, _, _ in travel.ways_out(ctx, run)] == ["run"]
    assert not any("letter" in name for name in packed(run, home, nasty / "run.zip"))
    origin.adopt(run.path)
    assert len(travel.ways_out(ctx, run)) > 1
    assert packing.parcel(run, home, base=True).weights == (), "a folder without weights is no adapter, whoever names it"
    (letters / "deep" / "weights.safetensors").write_bytes(save({"a": np.zeros(3, np.float32)}))
    assert [name.split("outside/")[1] for name in packed(run, home, nasty / "own.zip", base=True) if "outside/" in name] == ["models/letters/deep/weights.safetensors"]
    run = run_of(home, model={"family": "sd15", "source": str(letters)})
    assert packing.parcel(run, home, base=True).weights == ()
    (letters / "model_index.json").write_text("{}")
    assert [name for name, _ in packing.parcel(run, home, base=True).weights] == ["letters"]


def test_a_second_job_by_a_detour_is_not_taken(home, there, nasty):
    run = run_of(home)
    with zipfile.ZipFile(nasty / "two.zip", "w") as archive:
        archive.writestr("run/job.yaml", (run.path / "job.yaml").read_bytes())
        for name in ("run/./job.yaml", "run//job.yaml"):
            archive.writestr(name, b"kind: train\nname: [not, a, name]\n")
    brought = unpacking.bring(nasty / "two.zip", there)
    assert [name for name, _ in brought.refused] == ["run/./job.yaml", "run//job.yaml"] and "by a detour" in brought.refused[0][1]
    assert brought.run.config() == run.config() and not broken_runs(there.outputs)


def test_neither_hosts_nor_accounts_go_along(home, there, nasty):
    place = {"kind": "ssh", "options": {"host": "build7.secretcorp.com", "user": "bobsmith", "key": "~/.ssh/corp_key"}}
    run = run_of(home, place=place, trackers=[{"name": "wandb", "project": "moonshot", "place": "secret-team"}])
    journal.append(run.events_path, {"t": time.time(), "kind": "warning", "text": "bobsmith@build7.secretcorp.com takes no ~/.ssh/corp_key for moonshot of secret-team; bobsmithers stays"})
    run.log_path.write_text("at build7.secretcorp.com\n", encoding="utf-8")
    held = b"".join(packed(run, home, nasty / "run.zip").values()).replace(b"bobsmithers stays", b"")
    for secret in (b"secretcorp", b"bobsmith", b"corp_key", b"moonshot", b"secret-team"):
        assert secret not in held, secret
    brought = unpacking.bring(nasty / "run.zip", there)
    config = brought.run.config()
    assert (config.place.kind, config.place.options, config.trackers) == ("here", {}, ()) and config_hash(config) == config_hash(run.config())
    assert brought.run.view().warnings[-1].endswith("bobsmithers stays")


@pytest.mark.parametrize("breaks", [False, True])
def test_a_base_comes_along_from_another_disk_or_leaves_nothing(home, there, nasty, monkeypatch, breaks):
    base = nasty / "a base.safetensors"
    base.write_bytes(save({"a": np.zeros(3, np.float32)}))
    packed(run_of(home, model={"family": "sd15", "source": str(base)}), home, nasty / "run.zip", base=True)
    rename = os.rename

    def other_disk(source, target, **more):
        if there.outputs in Path(source).parents and there.outputs not in Path(target).parents:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        if breaks and Path(source).name.startswith(".new-"):
            raise KeyboardInterrupt
        rename(source, target, **more)

    monkeypatch.setattr(os, "rename", other_disk)
    if breaks:
        with pytest.raises(KeyboardInterrupt):
            unpacking.bring(nasty / "run.zip", there)
        assert not list((there.root / "models").iterdir()) and not list(there.outputs.iterdir())
        return
    brought = unpacking.bring(nasty / "run.zip", there)
    assert Path(brought.run.config().model.source).read_bytes() == base.read_bytes() and not list((there.root / "models").glob(".new-*"))


def test_both_files_of_an_adapter_for_two_denoisers_come_along(home, there, nasty):
    start = {nasty / f"cat_{called}_noise.safetensors": save({"a": np.full(3, n, np.float32)}) for n, called in enumerate(("high", "low"))}
    for file, data in start.items():
        file.write_bytes(data)
    run = run_of(home, model={"family": "wan22_a14b", "source": "owner/base"}, adapter={"start_from": str(next(iter(start)))})
    packed(run, home, nasty / "run.zip", base=True)
    told = Path(unpacking.bring(nasty / "run.zip", there).run.config().adapter.start_from)
    assert told.name == "cat_high_noise.safetensors" and {file.name: file.read_bytes() for file in told.parent.iterdir()} == {file.name: data for file, data in start.items()}


def test_another_computer_that_a_stranger_names_is_not_greeted(home, monkeypatch):
    share = "/\\evil\\share"
    run = strangers(run_of(home, model={"family": "sd15", "source": share}, data={"datasets": [{"name": "\\\\evil\\my pictures", "part": "one"}], "resolutions": [64]}))
    (run.path / exactly.RECORD).write_text(json.dumps({share: [{"t": 1, "version": 1, "digest": "x"}]}), encoding="utf-8")
    asked = []
    for name in ("stat", "lstat"):
        look = getattr(os, name)
        monkeypatch.setattr(os, name, lambda path, *a, look=look, **k: (asked.append(str(path)), look(path, *a, **k))[1])
    lacking = {need.name for need in needs.missing(run, home)}
    assert {share, "\\\\evil\\my pictures/one"} == {name.replace("pictures\\one", "pictures/one") for name in lacking}
    assert "another computer" in exactly.hindrance(run, home) and travel.ways_out(SimpleNamespace(home=home, url=str), run) == ()
    with pytest.raises(ValueError, match=r"model.source .*evil.*accept that first"):
        packing.parcel(run, home)
    assert "my pictures" in origin.question(run.path)
    assert asked and not [path for path in asked if "evil" in path]
    origin.adopt(run.path)
    assert len(needs.missing(run, home)) == 2 and [path for path in asked if "evil" in path], "what was accepted is looked for"


def test_a_missing_place_or_tracker_is_asked_for_and_no_hub_id_is_made_of_a_path(home, there):
    run = run_of(home, place={"kind": "moonbase"}, trackers=[{"name": "stargazer"}], model={"family": "sd15", "source": "./models/gone"})
    assert {(need.what, need.name) for need in needs.missing(run, home) if not need.field} == {("plugin of the kind cloud", "moonbase"), ("plugin of the kind trackers", "stargazer")}
    for place in ("/nowhere", "./x"):
        with pytest.raises(ValueError, match="there is nothing at"):
            unpacking.replace(run, home, {"./models/gone": place})


def test_what_another_export_is_writing_stays(nasty):
    part = nasty / "run.zip.part"
    part.write_bytes(b"the first one's")
    with pytest.raises(FileExistsError):
        zipping.write([b"x"], nasty / "run.zip")
    assert part.read_bytes() == b"the first one's" and not (nasty / "run.zip").exists()


def test_room_names_what_results_shows_and_the_cache_stays_while_a_run_starts(home, monkeypatch):
    run = run_of(home)
    other = run.path.with_name("2026-01-01_0000_other")
    shutil.copytree(run.path, other)
    (other / "job.yaml").write_text("kind: publish\nname: other\n", encoding="utf-8")
    assert len(list_runs(home.outputs)) == 2 and [id for id, _, _ in room.look(home).runs] == [run.id]
    (home.cache / "a").mkdir(parents=True)
    waits = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    monkeypatch.setitem(supervisor._children, run.path, supervisor._Child(run, waits, run.view().attempt, 0))
    try:
        with pytest.raises(ValueError, match="reads the cache"):
            room.empty_cache(home)
    finally:
        waits.communicate(b"\n")
    assert (home.cache / "a").is_dir()
    room.empty_cache(home)
    assert not (home.cache / "a").exists()
