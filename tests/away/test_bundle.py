"""What goes along to another machine, what comes back from it, and what that may not do here."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest
from PIL import Image

from easel import jobs
from tests import places, tiny
from tests.runs.conftest import until
from training import jobfile, registry
from training.away import bundle as bundles
from training.away import reckon, relay, shelved, state, there
from training.away.place import Look, Machine, Refused, Unreachable, of, problems
from training.config import PlacePart, TrainConfig, config_hash
from training.data import datasets, importing
from training.home import REPO, Home
from training.plan.hardware import machine
from training.runs import death, journal, milder, origin, supervisor, weighing
from training.runs.context import Context, Stopped
from training.runs.lock import RunLock
from training.runs.run import create

CHECKPOINT = {"files": {}, "step": 4, "config_hash": "x", "dataset_fingerprint": "y"}


def made(home, dataset, **changes):
    job = tiny.train_job("builtin", dataset, **changes)
    return create(home.outputs, jobfile.parse(TrainConfig, job))


def elsewhere(home, dataset, tmp_path, **changes):
    """A run for the example of a place, another folder of this computer."""
    return made(home, dataset, place=places.next_folder(home, tmp_path / "far"), **changes)


@pytest.fixture
def pictures(tmp_path):
    return tiny.pictures(tmp_path / "pictures", 3)


def test_both_files_of_an_adapter_for_two_denoisers_go_along(home, tmp_path):
    for called in ("high", "low"):
        (tmp_path / f"cat_{called}_noise.safetensors").write_bytes(called.encode())
    job = tiny.train_job("builtin", "zibbo", model__family="wan22_a14b", model__source="owner/base", adapter__start_from=str(tmp_path / "cat_low_noise.safetensors"))
    config, making = jobfile.parse(TrainConfig, job), bundles._Making(tmp_path / "bundle")
    told = config.model_dump(mode="json")
    bundles._adapters(making, config, told, home)
    assert told["adapter"]["start_from"] == "./start/cat_low_noise.safetensors"
    assert set(making.files) == {"start/cat_high_noise.safetensors", "start/cat_low_noise.safetensors"}


@pytest.mark.slow
def test_a_bundle_holds_what_is_learnt_and_nothing_else(home, pictures, tmp_path):
    ds = datasets.create(home, "my cats")
    importing.add_folder(ds, pictures)
    first, second, third = ds.pictures()
    Image.new("L", (64, 64), 255).save(ds.path / "picture 0.mask.png")
    ds.set_repeats({first.id: 3})
    ds.treat([second.id], "left")
    ds.treat([third.id], "out")
    (ds.path / "private notes.docx").write_text("private")
    run = made(home, "my cats", data__datasets=[{"name": "my cats"}, {"name": str(pictures), "prior": True}], data__held_out=0, trackers=[{"name": "tensorboard", "place": str(tmp_path / "board")}])
    packed = bundles.bundle(run.path, run.config(), tmp_path / "bundle")
    there_is = {p.relative_to(packed.folder).as_posix() for p in packed.folder.rglob("*") if p.is_file()}
    assert there_is == set(packed.files) and packed.total_bytes == sum(p.stat().st_size for p in packed.folder.rglob("*") if p.is_file())
    own = {name.removeprefix("datasets/my cats/") for name in packed.files if name.startswith("datasets/my cats/")}
    assert own == {first.id, "picture 0.txt", "picture 0.mask.png", second.id, "picture 1.txt", ".easel/dataset.json", ".easel/repeats.json", ".easel/treatment.json"}
    assert len([n for n in packed.files if n.startswith("datasets/pictures/")]) == 6
    far = Home(packed.folder)
    config = TrainConfig.model_validate(bundles.settled(jobfile.load_mapping(packed.folder / "job.yaml"), packed.folder))
    assert config.place == PlacePart() and config.trackers == () and config_hash(config.model_copy(update={"trackers": run.config().trackers})) == config_hash(config) and [use.name for use in config.data.datasets] == ["my cats", "pictures"]
    for name, here in (("my cats", ds), ("pictures", datasets.resolve(home, str(pictures)))):
        assert datasets.resolve(far, name).fingerprint(masks=True) == here.fingerprint(masks=True)
    assert str(tmp_path) not in (packed.folder / "job.yaml").read_text()


def test_only_the_pictures_of_the_part_that_is_learnt_go_along(home, tmp_path):
    tiny.pictures(tmp_path / "all" / "inner", 2)
    tiny.pictures(tmp_path / "all" / "other", 1, sizes=((80, 80),))
    ds = datasets.create(home, "parts")
    importing.add_folder(ds, tmp_path / "all")
    run = made(home, "parts", data__datasets=[{"name": "parts", "part": "inner"}])
    packed = bundles.bundle(run.path, run.config(), tmp_path / "bundle")
    pictures = [name for name in packed.files if name.endswith(".png")]
    assert len(pictures) == 2 and jobfile.load_mapping(packed.folder / "job.yaml")["data"]["datasets"][0]["part"] == "inner"


def test_a_plugin_goes_along_and_a_checkpoint_to_go_on_from(home, pictures, tmp_path):
    shutil.copytree(REPO / "docs" / "examples" / "optimizers", home.plugins / "optimizers")
    run = made(home, pictures, optimizer__type="sgd", optimizer__options={"momentum": 0.5})
    kept = run.path / "checkpoints" / "000004"
    kept.mkdir(parents=True)
    (kept / "state.json").write_text("{}")
    (kept / "adapter.safetensors").write_bytes(b"a")
    entry = {name: {"size": (kept / name).stat().st_size, "sha256": bundles.sha256_of(kept / name)} for name in ("state.json", "adapter.safetensors")}
    (kept / "MANIFEST.json").write_text(json.dumps(CHECKPOINT | {"files": entry}))
    packed = bundles.bundle(run.path, run.config(), tmp_path / "bundle")
    assert {"plugins/optimizers/sgd.py", "outputs/run/checkpoints/000004/MANIFEST.json"} <= set(packed.files)
    far = there._made(packed.folder)
    assert far.path == packed.folder / "outputs" / "run" and origin.made_here(far.path)
    assert json.loads((far.path / "checkpoints" / "000004" / "MANIFEST.json").read_text())["config_hash"] == config_hash(far.config())


def test_what_earlier_attempts_came_to_goes_along_and_does_not_come_back_as_news(home, pictures, tmp_path):
    run, one = relayed(home, pictures, tmp_path, Place())
    said = [
        {"t": 1.0, "kind": "weight", "step": 2, "picture": "d/a.png", "sha256": "ab" * 32, "weight": 0.0},
        {"t": 2.0, "kind": "milder", "settings": {"data.batch_size": 2}, "said": "half"},
        {"t": 3.0, "kind": "mended", "step": 3, "since": 2, "how": "slower", "said": "slower"},
        {"t": 4.0, "kind": "milder", "settings": {"data.batch_size": 1}, "said": "less"},
        {"t": 5.0, "kind": "prompts", "step": 4, "rows": [[0, "a cat"], [7, "a dog"]]},
    ]
    for record in [*said, {"t": 6.0, "kind": "weight", "step": -1, "picture": "p", "sha256": "", "weight": 1}]:
        journal.append(run.events_path, record | {"more": "of a stranger"})
    one = relay.Relay(run.config(), one.ctx, one.place, one.options)
    folder = bundles.bundle(run.path, run.config(), tmp_path / "bundle").folder
    far = there._made(folder)
    assert far.events()[0] == [said[4], said[0], said[2], said[3]] and milder.applied(far.config(), far).data.batch_size == 1
    assert weighing.told(far) == weighing.told(run) != [] and milder.mended(far) == [said[2]] and far.view().prompts == run.view().prompts
    assert there.look(folder, 0)[0] == {"status": "waiting", "offset": 0, "log": "", "why": ""}, "nothing has begun there"
    assert there.main(["tell", str(folder), '{"kind": "stop"}']) == 0 and there._passed_on(folder / there.PENDING, 0, far) == 0
    report = shelved.Report(shelved.Shelf(tmp_path), far.path)
    assert report._events() == b"" and not shelved._begun(far.path)
    fresh = {"t": 7.0, "kind": "phase", "name": "training", "done": 0, "of": 0, "unit": ""}
    journal.append(far.events_path, fresh)
    head, events = there.look(folder, 0)
    before = run.events()[0]
    one._take(events, head["offset"])
    assert run.events()[0] == [*before, fresh] and one.state.offset == far.events_path.stat().st_size and report._events() == events


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_run_that_the_system_kills_there_goes_on_there(home, pictures, tmp_path, monkeypatch):
    """A real worker, really killed; only the count of what the system has killed is made up."""
    run = made(home, pictures, data__batch_size=2, steps=1, sample__every=0)
    folder = bundles.bundle(run.path, run.config(), tmp_path / "bundle").folder
    far, kills = there._made(folder), [0]
    monkeypatch.setattr(death, "oom_kills", lambda: kills[0])

    def kill_it():
        if until(lambda: far.last("phase"), 120):
            kills[0] = 1
            os.kill(far.last("started")["pid"], signal.SIGSTOP)
            journal.append(far.events_path, {"t": time.time(), "kind": "phase", "name": "training", "done": 0, "of": 1, "unit": "steps"})
            os.kill(far.last("started")["pid"], signal.SIGKILL)
        if until(lambda: far.view().attempt == 2, 120):
            supervisor.kill(far)

    killing = threading.Thread(target=kill_it)
    killing.start()
    assert there._done(far, Home(folder), 0) == 1 and far.view().attempt == 2
    killing.join(30)


def test_a_bundle_that_did_not_arrive_whole_is_not_begun(home, pictures, tmp_path):
    run = made(home, pictures)
    packed = bundles.bundle(run.path, run.config(), tmp_path / "bundle")
    (packed.folder / "datasets" / "pictures" / "picture 1.txt").unlink()
    (packed.folder / "datasets" / "pictures" / "picture 1.txt").write_text("something else")
    assert there.run(packed.folder) == 2
    head, events = there.look(packed.folder, 0)
    assert head["status"] == "failed" and "picture 1.txt did not arrive whole" in head["why"] and events == b""
    assert (pictures / "picture 1.txt").read_text() == "a blue photo of a cat", "the original is another file"


def test_what_a_run_says_is_looked_at_in_pieces_and_only_what_is_inside_is_given(home, pictures, tmp_path, capsysbinary):
    run = made(home, pictures)
    packed = bundles.bundle(run.path, run.config(), tmp_path / "bundle")
    far = there._made(packed.folder)
    journal.append(far.events_path, {"t": 1.0, "kind": "phase", "name": "training", "done": 0, "of": 0, "unit": ""})
    with open(far.events_path, "ab") as file:
        file.write(b'{"t": 2.0, "kind"')
    head, events = there.look(packed.folder, 0)
    assert events.endswith(b"\n") and head["offset"] == len(events) and b"2.0" not in events
    assert there.look(packed.folder, head["offset"])[1] == b""
    there.tell(packed.folder, '{"kind": "stop"}')
    with pytest.raises(ValueError):
        there.tell(packed.folder, "stop")
    assert "stop" in far.control_path.read_text() and "control.jsonl" not in there.listing(packed.folder)
    (far.path / "log.txt").write_bytes(b"0123")
    assert there.main(["give", str(packed.folder), "log.txt", "2"]) == 0 and capsysbinary.readouterr().out == b"23"
    for name in ("../../job.yaml", "/etc/passwd", "checkpoints"):
        assert there.main(["give", str(packed.folder), name, "0"]) == 1 and capsysbinary.readouterr().out == b""
    with pytest.raises(ValueError, match="is left alone"):
        there.end(tmp_path, True)
    there.end(packed.folder, True)
    assert not packed.folder.exists()
    assert there.look(packed.folder, 0)[0]["status"] == "gone"


def test_what_is_told_before_the_run_can_hear_reaches_it_once_it_can(home, pictures, tmp_path):
    run = made(home, pictures)
    packed = bundles.bundle(run.path, run.config(), tmp_path / "bundle")
    assert there.main(["tell", str(packed.folder), '{"kind": "stop"}']) == 0, "while its files are still looked through"
    far = there._made(packed.folder)
    assert there._passed_on(packed.folder / there.PENDING, 0, far) == 0 and not far.control_path.exists()
    journal.append(far.events_path, {"t": 1.0, "kind": "phase", "name": "training", "done": 0, "of": 0, "unit": ""})
    heard = there._passed_on(packed.folder / there.PENDING, 0, far)
    assert journal.read(far.control_path)[0] == [{"kind": "stop"}]
    there.tell(packed.folder, '{"kind": "save"}')
    assert there._passed_on(packed.folder / there.PENDING, heard, far) == heard
    assert [record["kind"] for record in journal.read(far.control_path)[0]] == ["stop", "save"]


def test_runs_on_one_machine_wait_for_each_other_and_one_that_is_ended_meanwhile_does_not_begin(home, pictures, tmp_path):
    run = made(home, pictures)
    folder = bundles.bundle(run.path, run.config(), tmp_path / "runs" / "second").folder
    other = RunLock(folder.parent / there.CARD)
    assert other.acquire()
    code = []
    waiting = threading.Thread(target=lambda: code.append(there.run(folder)))
    waiting.start()
    try:
        assert until((folder / there.WAITS).exists) and there.look(folder, 0)[0]["status"] == "waiting"
        there.end(folder, False)
        waiting.join(30)
        assert code == [2] and not (folder / there.TROUBLE).exists() and not there.Run(folder / "outputs" / "run").events_path.exists()
    finally:
        (folder / there.ENDED).touch()
        other.release()
        waiting.join(30)


def test_what_is_set_up_there_stays_as_long_as_another_run_lies_there(tmp_path):
    for name in ("venv", "code-1", "runs/easel-" + "a" * 16, "runs/easel-" + "b" * 16):
        (tmp_path / "away" / name).mkdir(parents=True)
    (tmp_path / "away" / "runs" / "card.lock").touch()

    def remove(letter):
        subprocess.run([sys.executable, there.__file__.replace("there.py", "receiving.py"), "remove", str(tmp_path / "away"), letter * 16, "yes"], check=True)

    remove("a")
    assert sorted(p.name for p in (tmp_path / "away").iterdir()) == ["code-1", "runs", "venv"]
    remove("b")
    assert not (tmp_path / "away").exists()


class Place:
    """What a relay is told by a machine that nobody should trust: data for relay's own code, by the contract of a place."""

    TITLE = "Far"

    def __init__(self, looks=(), files=(), ended=""):
        self.looks, self.files, self.ended, self.told, self.gone, self.tries, self.begun = list(looks), dict(files), ended, [], 0, 0, 0

    def machines(self, options):
        return []

    def send(self, bundle, options, handle, say):
        return handle

    def start(self, handle, options, limit_s):
        self.begun += 1
        return handle

    def look(self, handle, options, offset):
        found = self.looks[0] if len(self.looks) == 1 else self.looks.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    def tell(self, handle, options, line):
        self.told.append(json.loads(line)["kind"])

    def listing(self, handle, options):
        return {name: (hashlib.sha256(data).hexdigest(), len(data)) for name, data in self.files.items()}

    def fetch(self, handle, options, name, target):
        self.tries += 1
        if name not in self.files:
            raise Refused(f"{name} is not there")
        target.write_bytes(self.files[name] if name != "damaged" else b"?")

    def end(self, handle, options):
        self.gone += 1
        return self.ended


def relayed(home, pictures, tmp_path, place, phase="started"):
    run = elsewhere(home, pictures, tmp_path)
    ctx = Context(run, home, 1)
    ctx.emit("started", pid=1, attempt=1, boot_id="", oom_kills=0, versions={}, device="")
    _, options = of(run.config(), home.plugins)
    one = relay.Relay(run.config(), ctx, place, options)
    one.state.phase = phase
    return run, one


def lines(*records) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


FINISHED = {"t": 5.0, "kind": "finished", "path": "tiny.safetensors", "summary": "6 steps."}


def test_what_comes_from_elsewhere_is_data_and_reaches_nothing_but_the_run(home, pictures, tmp_path):
    hostile = lines(
        {"t": 1.0, "kind": "started", "pid": 1, "attempt": 9, "boot_id": "", "oom_kills": 0, "versions": {}, "device": ""},
        {"t": 9e11, "kind": "phase", "name": "far", "done": 0, "of": 0, "unit": ""},
        {"t": 99e9, "kind": "phase", "name": "later", "done": 0, "of": 0, "unit": ""},
        {"t": 2.0, "kind": "sample", "step": 1, "index": 0, "prompt": "p", "path": "../../../escaped.webp", "seed": 1},
        {"t": 2.0, "kind": "sample", "step": 1, "index": 0, "prompt": "p", "path": "samples/a.webp", "seed": 1},
        {"t": 2.0, "kind": "dance"},
        FINISHED,
    ) + b"[1]\nrubbish\n"
    files = {"samples/a.webp": b"picture", "tiny.safetensors": b"weights", "job.yaml": b"name: other", "events.jsonl": b"", "../up": b"x", "/abs": b"x", "README.md": b"card", "away.json": b"{}", "checkpoints/000002/MANIFEST.json": b"{}"}
    place = Place([Look("finished", hostile, len(hostile), "", "")], files, "It cost 1 USD.")
    run, one = relayed(home, pictures, tmp_path, place)
    job = (run.path / "job.yaml").read_bytes()
    one.all()
    assert run.status() == "finished" and run.view().summary == "6 steps. It cost 1 USD."
    assert (run.path / "job.yaml").read_bytes() == job and run.last("started")["attempt"] == 1
    assert {p.relative_to(run.path).as_posix() for p in run.path.rglob("*") if p.is_file()} == {
        "job.yaml", "events.jsonl", "away.json", "samples/a.webp", "tiny.safetensors", "README.md", "checkpoints/000002/MANIFEST.json",
    }  # fmt: skip
    assert all(record["t"] <= time.time() for record in run.events()[0]) and "dance" not in run.events_path.read_text()
    assert place.gone == 1 and state.remembered(run.path) is None


def test_a_network_that_is_away_is_waited_for_and_commands_are_kept(home, pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(relay, "PATIENCE_S", (0.0,))
    monkeypatch.setattr(relay, "LOOK_S", 0.0)
    place = Place([Unreachable("no route"), Unreachable("no route"), Look("running", b"", 0, "", ""), Look("finished", lines(FINISHED), 1, "", "")], {"tiny.safetensors": b"w"})
    run, one = relayed(home, pictures, tmp_path, place)
    journal.append(run.control_path, {"t": 1, "kind": "save"})
    journal.append(run.control_path, {"t": 1, "kind": "sample", "prompt": "a cat"})
    one.all()
    assert run.status() == "finished" and place.told == ["save", "sample"]


def test_stop_without_an_answer_leaves_the_run_there_and_says_so(home, pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(relay, "STOP_PATIENCE_S", 0.0)
    run, one = relayed(home, pictures, tmp_path, Place([Unreachable("no route")]))
    one._keep()
    journal.append(run.control_path, {"t": 1, "kind": "stop"})
    one.place.tell = one.place.look
    with pytest.raises(Stopped):
        one.all()
    assert "stays there and may go on" in run.view().warnings[0] and state.remembered(run.path).phase == "started"


def test_a_file_that_arrives_damaged_again_and_again_removes_nothing_there(home, pictures, tmp_path):
    place = Place([Look("finished", lines(FINISHED), 1, "", "")], {"tiny.safetensors": b"w", "damaged": b"d"})
    run, one = relayed(home, pictures, tmp_path, place)
    with pytest.raises(Refused, match="damaged arrived from .* damaged 3 times; nothing there was removed"):
        one.all()
    assert place.gone == 0 and state.remembered(run.path).phase == "over"
    place.files.pop("damaged")
    again = relay.Relay(one.config, one.ctx, place, one.options)
    again.all()
    assert run.status() == "finished" and place.gone == 1, "resumed, it goes on with what is left to do"


def test_a_wrong_place_is_refused_before_anything_is_sent(home, pictures, tmp_path):
    run = elsewhere(home, pictures, tmp_path)
    for place, says in (
        ({"kind": "shs"}, "there is no cloud plugin called 'shs'; did you mean 'ssh'"),
        ({"kind": "ssh", "options": {"hots": "desk"}}, "'hots' is not a setting; did you mean 'host'"),
        ({"kind": "ssh", "options": {"host": "-oProxyCommand=id"}}, "give a name, an address"),
        ({"options": {"host": "desk"}}, "host is for another machine"),
    ):
        [(_, said)] = problems(run.config().model_copy(update={"place": PlacePart(**place)}), home.plugins)
        assert says in said


def test_a_run_that_was_brought_here_does_not_send_pictures_away_unasked(home, pictures, tmp_path):
    run = elsewhere(home, pictures, tmp_path)
    shutil.rmtree(home.root / ".easel" / "made")
    assert "place.kind 'next_folder', which sends its pictures to another machine" in origin.question(run.path)
    with pytest.raises(ValueError, match="another machine"):
        supervisor.start(run, home)


def test_a_run_elsewhere_takes_no_card_and_is_handed_where_the_agent_is(home, pictures, tmp_path):
    run = elsewhere(home, pictures, tmp_path)
    assert not supervisor.uses_gpu(run) and supervisor.is_elsewhere(run) and supervisor.in_the_way(run, home) is None
    far = made(home, pictures, place__kind="ssh", place__options={"host": "desk"})
    environ = {"SSH_AUTH_SOCK": "/tmp/agent", "HF_TOKEN": "no"}
    assert supervisor._for_its_place(far, home, environ) == {"SSH_AUTH_SOCK": "/tmp/agent"}
    assert supervisor._for_its_place(made(home, pictures), home, environ) == {}


def test_price_and_time_are_said_before_the_click(home, pictures):
    from training.plan.estimate import estimate

    config = made(home, pictures, steps=2000).config()
    card = Machine("l4", "NVIDIA L4", 24 << 30, 30 << 30, 0.8, "USD")
    seen = reckon.seen_as(card, machine(home.root))
    assert seen.device == "cuda" and reckon.seen_as(Machine("t4", "NVIDIA T4", 16 << 30, 15 << 30, 0.4, "USD"), seen).compute == (7, 5)
    guess = estimate(config.model_copy(update={"device": "cuda"}), seen, 3, home)
    cost = reckon.price(card, guess)
    assert 0 < cost.low < cost.high < 5 and cost.said.endswith(" USD") and guess.fits
    assert reckon.price(Machine("own", "A card", 24 << 30, 0, None, ""), guess).said == ""
    assert reckon.limit_s(config, registry.get("cloud", "ssh"), registry.get("cloud", "ssh").Options(limit_hours=2), home) == 7200


def test_several_cards_are_reckoned_with_as_the_job_takes_them(home, pictures, tmp_path):
    folder = elsewhere(home, pictures, tmp_path, steps=2000, device="cuda", optimizer__accumulation=4).config()
    one, four = (Machine(f"l4x{n}", f"{n}x L4", 24 << 30, 186 << 30, n * 0.8, "USD", (24 << 30,) * n) for n in (1, 4))
    took = {(gpus, len(m.cards)): reckon.guess(folder.model_copy(update={"gpus": gpus}), m, home) for gpus, m in ((1, one), (1, four), (2, four), (0, one), (0, four), (4, four))}
    assert took[0, 4].seconds == took[4, 4].seconds < took[2, 4].seconds < took[1, 4].seconds == took[1, 1].seconds == took[0, 1].seconds
    assert took[0, 4].ram_bytes > took[1, 4].ram_bytes, "each process has its own"
    assert reckon.price(four, took[0, 4]).high > reckon.price(one, took[0, 1]).high, "four cards for an hour each are not four times as fast"
    for gpus, there_is, wrong, idle in (
        (1, four, "", "4x L4 has 4 cards, of which 3 will be idle and are paid for all the same, as gpus is 1; 0 takes all"), (0, four, "", ""), (0, one, "", ""),
        (2, one, "gpus is 2, but 1x L4 has 1 card; set gpus to 1, or 0 for all, or choose another machine", ""), (2, replace(four, cards=()), "", ""),
    ):  # fmt: skip
        config = folder.model_copy(update={"gpus": gpus})
        assert (reckon.unfit(config, there_is), reckon.idle_said(config, there_is)) == (wrong, idle)
    alone = folder.model_copy(update={"gpus": 0, "optimizer": folder.optimizer.model_copy(update={"accumulation": 1})})
    assert "gpus is 0, which is 4 here: 4 processes share out the micro-batches of a step, but it has 1" in reckon.unfit(alone, four) and not reckon.unfit(alone, one)
    small = reckon.guess(folder.model_copy(update={"gpus": 2}), replace(four, cards=(24 << 30, 1 << 20)), home)
    assert not small.fits and "the model is split among the 2 cards already" in small.problems[0]


def test_names_that_could_be_something_else_here_do_not_come_home():
    for name in ("..", ".", ".hidden", "a/b", "samples/..", "samples/.x", "checkpoints/../x", "checkpoints/000002/..", "C:evil", "a\\b", "a\0", "samples/a/b/c"):
        assert not relay.FETCHED.fullmatch(name), name
    for name in ("README.md", "samples/000000_0.webp", "checkpoints/000002/adapter.safetensors", "zibbo 日本.safetensors"):
        assert relay.FETCHED.fullmatch(name), name
    assert relay.MODEL_FOLDERS.fullmatch("my-model/unet/config.json") and not relay.MODEL_FOLDERS.fullmatch("my-model/../job.yaml")


def test_stop_while_it_is_being_sent_leaves_nothing_there(home, pictures, tmp_path):
    place = Place()

    def send(bundle, options, handle, say):
        (home.outputs / "sent").touch()
        run.command("stop") if not run.control_path.exists() else None
        for n in range(3):
            say("sending", n / 3)
        raise AssertionError("it goes on although Stop was pressed")

    place.send = send
    run, one = relayed(home, pictures, tmp_path, place, phase="new")
    journal.append(run.control_path, {"t": 1, "kind": "stop"})
    with pytest.raises(Stopped):
        one.all()
    assert place.gone == 1 and state.remembered(run.path) is None and (home.outputs / "sent").exists() and not list((home.outputs / ".away").iterdir())


def test_the_checkpoint_that_save_asked_for_comes_home_at_once(home, pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(relay, "LOOK_S", 0.0)
    parts = {"adapter.safetensors": b"weights", "state.json": b"{}"}
    entry = {name: {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in parts.items()}
    files = {f"checkpoints/000004/{name}": data for name, data in parts.items()} | {"checkpoints/000004/MANIFEST.json": json.dumps(CHECKPOINT | {"files": entry}).encode()}
    saved = lines({"t": 2.0, "kind": "checkpoint", "step": 4, "path": "checkpoints/000004"})
    place = Place([Look("running", b"", 0, "", ""), Look("running", saved, 9, "", ""), Look("finished", lines(FINISHED), 10, "", "")], files | {"tiny.safetensors": b"w"})
    run, one = relayed(home, pictures, tmp_path, place)
    seen = []
    first = place.look
    place.look = lambda handle, options, offset: (seen.append([step for step, _ in run.checkpoints()]), first(handle, options, offset))[1]
    journal.append(run.control_path, {"t": 1, "kind": "save"})
    one.all()
    assert place.told == ["save"] and seen[-1] == [4], "before it is finished there"
    assert run.status() == "finished" and not list(run.path.glob("checkpoints/*.manifest"))


def stop(run):
    journal.append(run.control_path, {"t": 1, "kind": "stop"})


def test_stop_between_sending_and_starting_starts_nothing(home, pictures, tmp_path):
    run, one = relayed(home, pictures, tmp_path, Place(), phase="sent")
    stop(run)
    with pytest.raises(Stopped):
        one.all()
    assert one.place.begun == 0 and one.place.gone == 1 and state.remembered(run.path) is None


@pytest.mark.parametrize("look", [Look("waiting", b"", 0, "", ""), Look("failed", b"", 0, "", "it was cancelled while the packages were being installed")])
def test_stop_while_it_waits_there_ends_it_there(home, pictures, tmp_path, look):
    run, one = relayed(home, pictures, tmp_path, Place([look], ended="It cost 1 USD."))
    stop(run)
    with pytest.raises(Stopped):
        one.all()
    assert one.place.told == ["stop"] and one.place.gone == 1 and run.view().warnings == ("It cost 1 USD.",)


def test_a_training_that_does_not_obey_is_ended_by_the_stop_of_another_attempt_and_what_it_saved_comes_home(home, pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(relay, "LOOK_S", 0.0)
    files = {"checkpoints/000004/adapter.safetensors": b"w", "checkpoints/000004/MANIFEST.json": b"{}"}
    run, one = relayed(home, pictures, tmp_path, Place([Look("running", b"", 9, "", "")], files))
    one.was_stopping = one.state.stopping = True
    stop(run)
    with pytest.raises(Stopped):
        one.all()
    assert one.place.told == [] and one.place.gone == 1 and state.remembered(run.path) is None
    assert (run.path / "checkpoints" / "000004" / "adapter.safetensors").read_bytes() == b"w"


def test_a_training_that_says_nothing_for_long_after_stop_is_ended(home, pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(relay, "LOOK_S", 0.0)
    monkeypatch.setattr(relay, "DEAF_S", 0.0)
    run, one = relayed(home, pictures, tmp_path, Place([Look("running", b"", 9, "", "")]))
    stop(run)
    with pytest.raises(Stopped):
        one.all()
    assert one.place.told == ["stop"] and one.place.gone == 1


def test_what_may_not_be_started_does_not_stay_there(home, pictures, tmp_path, monkeypatch):
    run, one = relayed(home, pictures, tmp_path, Place(), phase="sent")

    def start(handle, options, limit_s):
        raise Refused("there is no credit left (402)")

    one.place.start = start
    with pytest.raises(Refused, match="402"):
        one.all()
    assert one.place.gone == 1 and state.remembered(run.path) is None and one.goes_on() == ""


def test_what_is_gone_there_is_not_asked_for_for_ever(home, pictures, tmp_path):
    run, one = relayed(home, pictures, tmp_path, Place([Look("gone", b"", 0, "", "somebody removed it")]), phase="over")
    with pytest.raises(Refused, match="is gone: somebody removed it"):
        one.all()
    assert state.remembered(run.path) is None, "so that Resume sends it again"


def test_a_refusal_while_it_may_run_there_says_that_it_may_cost(home, pictures, tmp_path):
    _, one = relayed(home, pictures, tmp_path, Place())
    assert "may go on, and cost what it costs; Resume finds it again" in one.goes_on()


def test_a_sample_that_is_told_before_its_file_comes_is_on_record_and_fetched_later(home, pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(relay, "LOOK_S", 0.0)
    sample = lines({"t": 2.0, "kind": "sample", "step": 1, "index": 0, "prompt": "p", "path": "samples/a.webp", "seed": 1})
    more = lines({"t": 3.0, "kind": "phase", "name": "training", "done": 0, "of": 0, "unit": ""})
    run, one = relayed(home, pictures, tmp_path, Place([Look("running", sample, 1, "", "")], {"tiny.safetensors": b"w"}))
    one._take(sample, 1)
    assert [path for _, _, _, path, _ in run.view().samples] == ["samples/a.webp"] and not (run.path / "samples" / "a.webp").exists()
    one.place.files["samples/a.webp"] = b"picture"
    one._take(more, 2)
    assert (run.path / "samples" / "a.webp").read_bytes() == b"picture" and not run.view().warnings


def test_the_end_of_the_app_leaves_a_run_that_was_told_to_stop_where_it_is(home, pictures, tmp_path):
    run, one = relayed(home, pictures, tmp_path, Place([Look("running", b"", 9, "", "")]))
    one.state.stopping = True
    journal.append(run.control_path, {"t": 1, "kind": "stop", "hurry": True})
    with pytest.raises(Stopped):
        one.all()
    assert one.place.gone == 0 and "Resume finds it again" in run.view().warnings[0]


def test_names_that_are_this_runs_own_or_a_device_on_another_system_do_not_come_home():
    for name in ("Job.YAML", "EVENTS.jsonl", "job.yaml.", "job.yaml ", "samples/con.webp", "NUL", "samples/a. ", "my-model/aux/x"):
        assert not relay.Relay._may_come(name), name
    assert relay.Relay._may_come("samples/000000_0.webp") and relay.Relay._may_come("my-model/unet/config.json")


def test_a_job_for_another_kind_of_machine_is_neither_sent_nor_started(home, pictures, tmp_path):
    card, processor = Machine("", "An H100", 80 << 30, 0, None, ""), Machine("", "A processor", 0, 0, None, "")
    config = made(home, pictures).config()
    assert config.device == "cpu"
    on = {device: config.model_copy(update={"device": device}) for device in ("cpu", "mps", "cuda")}
    told = {device: [bool(reckon.wrong_device(one, m)) for m in (card, processor)] for device, one in on.items()}
    assert told == {"cpu": [True, False], "mps": [True, False], "cuda": [False, True]}
    for phase in ("new", "sent"):
        place = Place()
        place.machines = lambda options: [card]
        run, one = relayed(home, pictures, tmp_path, place, phase)
        with pytest.raises(Refused, match="device is 'cpu', but An H100 has a card"):
            one.all()
        assert place.begun == 0 and state.remembered(run.path) is None


def test_a_run_whose_watch_ended_is_said_to_be_found_again(home, pictures, tmp_path):
    run, one = relayed(home, pictures, tmp_path, Place())
    assert run.status() == "interrupted" and "to go on" in run.why()
    one._keep()
    assert run.why().endswith("Press Resume to find it again on the other machine.")


def test_a_job_for_another_kind_of_machine_is_refused_before_its_run_is_made(home, pictures, tmp_path):
    run = elsewhere(home, pictures, tmp_path)
    file = home.plugins / "cloud" / "next_folder.py"
    file.write_text(file.read_text().replace("def machines(options) -> list:\n    return []", 'def machines(options) -> list:\n    from training.away.place import Machine\n    return [Machine("", "An H100", 80 << 30, 0, None, "", (80 << 30,))]'))
    with pytest.raises(ValueError, match="device is 'cpu', but An H100 has a card"):
        jobs.may_start(run.config(), home)
    with pytest.raises(ValueError, match="gpus is 4, but An H100 has 1 card; set gpus to 1"):
        jobs.estimate(run.config().model_copy(update={"gpus": 4, "device": "cuda"}), home=home)

