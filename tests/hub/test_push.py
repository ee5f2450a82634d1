"""A push through the real client to a Hub that checks hashes and fails on demand."""

import os
import time

import pytest
from safetensors import safe_open

from tests.hub.conftest import SOON, finished_run, some_token, train_config
from training.hub.card import model_card
from training.hub.publish import Cancelled, HubError, Planned, Watcher, export_weights, export_zip, plan, push
from training.hub.secrets import Secret
from training.registry import get
from training.runs import journal

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
SPEC = get("families", "sd15").SPEC
SAMPLES = ("samples/000020_1.webp", "samples/000020_2.webp")


class Ears(Watcher):
    """Everything that was said."""

    def __init__(self, stop_at: str = ""):
        self.said, self.warnings, self.stop_at = [], [], stop_at

    def phase(self, name, done=0, of=0, unit=""):
        self.said.append((name, done, of, unit))

    def warn(self, text):
        self.warnings.append(text)

    def cancelled(self):
        return bool(self.stop_at) and any(self.stop_at in name for name, *_ in self.said)


@pytest.fixture
def files(run):
    return plan(run, "final", SAMPLES, model_card(run, run.config(), SPEC, samples=SAMPLES))


def contents(files):
    return {f.remote: f.local if isinstance(f.local, bytes) else f.local.read_bytes() for f in files}


def go(hub, token, files, repo_id="alice/my-cat", **options):
    return push(files, repo_id, Secret(token), endpoint=hub.url, **({"patience": SOON} | options))


def test_everything_arrives_in_one_private_commit(hub, token, files):
    ears = Ears()
    done = go(hub, token, files, message="First", watcher=ears)
    repo = hub.repos["alice/my-cat"]
    assert repo.files() == contents(files) and repo.private and done.private and done.new_commit
    assert [c.message for c in repo.commits] == ["initial commit", "First"]
    assert (done.url, done.commit) == (f"{hub.url}/alice/my-cat", repo.head.oid)
    assert repo.head.tree["my cat.safetensors"].lfs and not repo.head.tree["README.md"].lfs
    total = sum(f.size_bytes for f in files)
    assert [said[1:] for said in ears.said if said[0] == "uploading"][-1] == (total, total, "bytes")


def test_a_second_push_of_the_same_makes_no_commit_and_sends_nothing(hub, token, files):
    go(hub, token, files)
    uploads = hub.count("upload")
    again = go(hub, token, files)
    assert not again.new_commit and hub.count("upload") == uploads and hub.count("commit") == 1


def test_what_changed_is_pushed_on_top(hub, token, files):
    go(hub, token, files)
    changed = [Planned(files[0].local + b"\nMore.\n", "README.md"), *files[1:]]
    assert go(hub, token, changed).new_commit
    repo = hub.repos["alice/my-cat"]
    assert repo.files() == contents(changed) and len(repo.commits) == 3 and hub.count("upload") == 3


def test_a_bare_name_goes_under_the_account_and_an_organisation_is_allowed(hub, token, files):
    assert go(hub, token, files, "my-cat").url.endswith("/alice/my-cat")
    assert go(hub, token, files, "acme/my-cat", private=False).private is False
    assert not hub.repos["acme/my-cat"].private


STEPS = ["whoami", "create", "info", "yaml", "preupload", "batch", "upload", "verify", "commit"]
PASSING = [(e, how) for e in STEPS for how in (503, "broken")] + [("create", 429), ("batch", 429), ("commit", 408), ("whoami", "bad json"), ("yaml", "bad json"), ("batch", "bad json"), ("commit", "bad json")]  # fmt: skip


@pytest.mark.parametrize("endpoint,how", PASSING)
def test_what_passes_is_tried_again_wherever_it_happens(hub, token, files, endpoint, how):
    hub.fail(endpoint, how, times=2)
    done = go(hub, token, files)
    assert hub.repos["alice/my-cat"].files() == contents(files) and done.new_commit
    assert len(hub.repos["alice/my-cat"].commits) == 2


@pytest.mark.parametrize("endpoint", ["create", "upload", "commit"])
def test_an_answer_that_is_lost_is_no_second_commit(hub, token, files, endpoint):
    hub.fail(endpoint, "lost answer")
    done = go(hub, token, files)
    repo = hub.repos["alice/my-cat"]
    assert repo.files() == contents(files) and len(repo.commits) == 2 and done.commit == repo.head.oid


@pytest.mark.parametrize("endpoint,how,words", [
    ("whoami", 401, "does not accept the token"), ("commit", 401, "does not accept the token"), ("create", 403, "may not write to alice/my-cat"),
    ("commit", 403, "may not write"), ("batch", 413, "too large"), ("commit", 409, "changed by someone else"), ("commit", 400, "refused the upload"),
    ("preupload", 404, "does not find"),
])  # fmt: skip
def test_what_does_not_pass_is_one_sentence_at_once(hub, token, files, endpoint, how, words):
    hub.fail(endpoint, how, times=-1)
    with pytest.raises(HubError, match=words) as caught:
        go(hub, token, files)
    assert hub.count(endpoint) == 1 and caught.value.status == how and caught.value.hint and token not in str(caught.value)
    hub.heal()
    assert go(hub, token, files).new_commit


@pytest.mark.parametrize("how,words", [(503, "problem of its own"), (429, "too many requests"), ("broken", "connection"), ("bad json", "makes no sense")])
def test_after_five_tries_a_sentence_and_retry_picks_up(hub, token, files, how, words):
    hub.fail("commit", how, times=-1)
    with pytest.raises(HubError, match=words) as caught:
        go(hub, token, files)
    assert hub.count("commit") == 5 and "Retry" in caught.value.hint
    uploads = hub.count("upload")
    hub.heal()
    assert go(hub, token, files).new_commit and hub.count("upload") == uploads


@pytest.mark.slow
def test_a_hub_that_asks_to_wait_is_waited_for_with_a_countdown(hub, token, files):
    hub.fail("preupload", 429, Retry_After="1")
    ears, began = Ears(), time.monotonic()
    go(hub, token, files, watcher=ears)
    waits = [said for said in ears.said if "asks to wait" in said[0]]
    assert time.monotonic() - began >= 1 and len(waits) >= 2 and waits[0][2:] == (1.0, "s") and "try 2 of 5" in waits[0][0]


def test_a_wait_of_an_hour_is_told_not_slept_through(hub, token, files):
    hub.fail("batch", 429, times=-1, ratelimit='"api";r=0;t=3600')
    began = time.monotonic()
    with pytest.raises(HubError, match="60 minutes"):
        go(hub, token, files)
    assert time.monotonic() - began < 5 and hub.count("batch") == 1


def test_stop_ends_a_wait_and_an_upload(hub, token, files):
    hub.fail("commit", 429, times=-1, Retry_After="2")
    began = time.monotonic()
    with pytest.raises(Cancelled):
        go(hub, token, files, watcher=Ears(stop_at="waiting"))
    assert time.monotonic() - began < 1.5
    hub.heal()
    with pytest.raises(Cancelled):
        go(hub, token, files, watcher=Ears(stop_at="uploading"))
    assert len(hub.repos["alice/my-cat"].commits) == 1


def test_what_somebody_else_committed_meanwhile_is_not_overwritten(hub, token, files):
    from tests.hub_standin import File

    hub.before_commit = lambda repo: repo.commit("by hand", {"README.md": File(b"by hand", False)})
    with pytest.raises(HubError, match="changed by someone else") as caught:
        go(hub, token, files)
    assert caught.value.status == 412 and hub.repos["alice/my-cat"].files() == {"README.md": b"by hand"}
    hub.before_commit = lambda repo: None
    assert go(hub, token, files).new_commit and hub.repos["alice/my-cat"].files() == contents(files)


def test_a_412_after_our_own_commit_is_a_success(hub, token, files):
    from tests.hub_standin import File

    ours = {name: File(data, name.endswith((".safetensors", ".webp"))) for name, data in contents(files).items()}
    hub.before_commit = lambda repo: repo.commit("our own, answered to nobody", ours)
    assert go(hub, token, files).commit == hub.repos["alice/my-cat"].head.oid


def test_private_is_never_pushed_into_a_public_repository(hub, token, files):
    go(hub, token, files, private=False)
    with pytest.raises(HubError, match="already and is public"):
        go(hub, token, files, private=True)
    ears = Ears()
    go(hub, token, files, "alice/hidden", private=True)
    assert go(hub, token, files, "alice/hidden", private=False, watcher=ears).private and "stays private" in ears.warnings[0]


def test_a_token_without_the_right_is_told_before_anything_is_sent(hub, files):
    reader, fine = some_token("r"), some_token("f")
    hub.user(reader, "rita", "read")
    hub.user(fine, "fred", "fineGrained", writes_to=("acme",))
    for token, repo_id, words in ((reader, "rita/x", "can only read"), (fine, "fred/x", "has no write access to 'fred'"), (some_token(), "bob/x", "not a namespace of")):
        with pytest.raises(HubError, match=words) as caught:
            go(hub, token, files, repo_id)
        assert caught.value.status == 403 and not hub.repos
    assert go(hub, fine, files, "acme/x").new_commit


@pytest.mark.skipif(os.name == "nt", reason="makes links and pipes")
def test_the_plan_takes_only_regular_files_that_we_wrote(run, tmp_path):
    card = "---\nlicense: mit\n---\n"
    (tmp_path / "secret.txt").write_text("x")
    os.symlink(tmp_path / "secret.txt", run.path / "samples" / "link.webp")
    os.symlink(tmp_path, run.path / "elsewhere")
    os.mkfifo(run.path / "samples" / "pipe.webp")
    (run.path / "samples" / "folder.webp").mkdir()
    for sample, words in {
        "samples/link.webp": "is a link", "elsewhere/secret.txt": "is a link", "samples/pipe.webp": "is a pipe or a device",
        "samples/folder.webp": "is a folder", "../x.webp": "inside", "/etc/passwd": "inside", "samples/gone.webp": "not there any more",
        "job.yaml": "not a sample", "samples/.hidden.webp": "inside", "": "inside", "samples\\..\\..\\x.webp": "inside",
    }.items():  # fmt: skip
        with pytest.raises(ValueError, match=words):
            plan(run, "final", [sample], card)
    with pytest.raises(ValueError, match="Hub token"):
        plan(run, "final", [], card + some_token())
    with pytest.raises(ValueError, match="no checkpoint at step 15.*10, 20"):
        plan(run, 15, [], card)
    assert [f.remote for f in plan(run, 10, SAMPLES[:1] * 2, card)] == ["README.md", "my cat.safetensors", "samples/000020_1.webp"]


@pytest.mark.skipif(os.name == "nt", reason="makes links and pipes")
def test_a_file_that_became_a_link_after_the_plan_is_not_followed(hub, token, run, files, tmp_path):
    (tmp_path / "secret.webp").write_bytes(b"secret")
    victim = run.path / SAMPLES[0]
    victim.unlink()
    os.symlink(tmp_path / "secret.webp", victim)
    with pytest.raises(ValueError, match="is a link"):
        go(hub, token, files)
    assert not hub.repos.get("alice/my-cat") or hub.repos["alice/my-cat"].files() == {}


def test_a_checkpoint_is_exported_with_its_own_step_and_what_the_training_knew(run, tmp_path):
    from safetensors import safe_open

    target = export_weights(run, 10, tmp_path / "x.safetensors")
    with safe_open(target, framework="np") as file:
        meta = file.metadata()
    assert (meta["ss_steps"], meta["ss_max_train_steps"], meta["ss_num_train_images"], meta["modelspec.prediction_type"]) == ("10", "20", "7", "v")
    assert target.read_bytes() != run.result().read_bytes()
    assert export_weights(run, "final", tmp_path / "y.safetensors") == run.result()


def test_a_zip_holds_the_same_files(run, tmp_path):
    import zipfile

    card = model_card(run, run.config(), SPEC)
    for checkpoint, target in (("final", "a.zip"), (10, "b.zip")):
        with zipfile.ZipFile(export_zip(run, checkpoint, SAMPLES, card, tmp_path / target)) as archive:
            assert archive.namelist() == ["README.md", "my cat.safetensors", *SAMPLES] and archive.testzip() is None
            assert archive.read("README.md").decode() == card
    with pytest.raises(ValueError):
        export_zip(run, "final", ["../x"], card, tmp_path / "a.zip")
    assert not [n for n in os.listdir(tmp_path) if n.startswith(".")]


@pytest.mark.parametrize("big_mb", [12])
def test_progress_is_told_in_bytes_while_a_large_file_leaves(hub, token, home, big_mb):
    run = finished_run(home.outputs, train_config(name="big"), big_bytes=big_mb * 1_000_000)
    files = plan(run, "final", (), model_card(run, run.config(), SPEC))
    ears = Ears()
    go(hub, token, files, watcher=ears)
    done = [said[1] for said in ears.said if said[0] == "uploading"]
    assert len(done) > 20 and done == sorted(done) and done[-1] == ears.said[-1][2]


def test_every_checkpoint_is_exported_in_each_layout(run, tmp_path):
    for checkpoint in ("final", 10):
        plain = export_weights(run, checkpoint, tmp_path / "a.safetensors", "diffusers")
        made = export_weights(run, checkpoint, tmp_path / "b.safetensors")  # kohya's, which diffusers and ComfyUI both read
        with safe_open(plain, framework="np") as one, safe_open(made, framework="np") as other:
            assert set(other.keys()) == {f"lora_unet_down_{n}_to_q.{what}" for n in range(3) for what in ("lora_down.weight", "lora_up.weight", "alpha")}
            assert (one.get_tensor("unet.down.1.to_q.lora_B.weight") == other.get_tensor("lora_unet_down_1_to_q.lora_up.weight")).all()
            assert float(other.get_tensor("lora_unet_down_1_to_q.alpha")) == 4  # the rank: the scale lies in the weights
            assert other.metadata()["modelspec.title"] == "my cat" and "lora_adapter_metadata" not in other.metadata()


def test_the_page_serves_the_file_that_most_programs_read_and_two_where_none_serves_both(run):
    from training.config import AdapterPart
    from ui.server import media

    for what, name in (("lora", "my cat.safetensors"), ("lora-kohya", "my cat.safetensors"), ("step-10", f"{run.id}-step-10.safetensors"), ("step-10-kohya", f"{run.id}-step-10.safetensors")):
        served = media._download(run, what)
        with safe_open(served.path, framework="np") as file:
            assert all(k.startswith("lora_unet_") for k in file.keys())  # noqa: SIM118
        assert served.filename == name
    with pytest.raises(FileNotFoundError):
        media._download(run, "lora-diffusers")
    lokr = finished_run(run.path.parent, train_config(name="two", adapter=AdapterPart(type="lokr")))
    for layout, program, start in (("kohya", "comfyui", "lora_unet_"), ("diffusers", "diffusers", "unet.")):
        served = media._download(lokr, f"step-10-{layout}")
        with safe_open(served.path, framework="np") as file:
            assert all(k.startswith(start) for k in file.keys())  # noqa: SIM118
        assert served.filename == f"{lokr.id}-step-10-{program}.safetensors"


def test_a_run_of_an_older_easel_is_published_under_the_names_of_today(run, tmp_path):
    from training.formats.deliver import deliver
    from training.hub.publish import publishable

    deliver(run.path / "checkpoints/000020", run.result(), {}, half=False, spec=SPEC, layout="diffusers")  # as it then was
    ((name, file),) = publishable(run, "final", tmp_path).items()
    assert name == "my cat.safetensors" and file != run.result()
    with safe_open(file, framework="np") as made:
        assert all(k.startswith("lora_unet_") for k in made.keys())  # noqa: SIM118


def test_a_whole_model_is_published_as_its_folder(run):
    from training.config import AdapterPart
    from training.hub.publish import publishable

    whole = finished_run(run.path.parent, train_config(name="whole", adapter=AdapterPart(type="full")))
    (whole.path / "whole.safetensors").unlink()
    (whole.path / "whole" / "unet").mkdir(parents=True)
    for name in ("config.json", "model-00001-of-00002.safetensors"):
        (whole.path / "whole" / "unet" / name).write_text("{}")
    journal.append(whole.events_path, {"t": 1e10, "kind": "finished", "path": "whole", "summary": ""})
    weights = publishable(whole, "final", whole.path)
    files = plan(whole, "final", (), "card", weights=weights)
    assert [f.remote for f in files] == ["README.md", "unet/config.json", "unet/model-00001-of-00002.safetensors"]
    for checkpoint, layout in ((10, "comfyui"), ("final", "kohya")):
        with pytest.raises(ValueError, match="trained the whole model.* has no other"):
            export_weights(whole, checkpoint, whole.path / "never", layout)
