"""Publishing as a person does it: a job in a worker of its own, its token in that one process's environment and nowhere else."""

import base64
import json
import os
import time

import pytest

from tests.hub.conftest import some_token
from training.hub.card import model_card
from training.hub.publish import HubError
from training.hub.secrets import Secret
from training.jobs.publish import Config
from training.jobs.publish import run as job_run
from training.registry import get
from training.runs import supervisor
from training.runs.context import Context
from training.runs.run import Run, create

SPEC = get("families", "sd15").SPEC


def publish(source: Run, hub, **changes) -> Config:
    samples = ("samples/000020_1.webp",)
    values = {"name": f"publish {source.title}", "run": source.id, "repo_id": "alice/my-cat", "samples": samples, "endpoint": hub.url}
    return Config(**(values | {"card": model_card(source, source.config(), SPEC, samples=samples)} | changes))


def worked(job: Run, home, token: str) -> str:
    """The status after a worker had its go."""
    supervisor.start(job, home, Secret(token))
    return ended(job)


def ended(job: Run) -> str:
    deadline = time.monotonic() + 60
    while job.locked() or job.status() in ("queued", "running"):
        assert time.monotonic() < deadline, job.log_tail()
        time.sleep(0.05)
    return job.status()


def everything_under(root) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


@pytest.mark.slow
def test_a_push_its_failure_and_its_retry_leave_the_token_nowhere(hub, token, home, run, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    job = create(home.outputs, publish(run, hub))

    hub.fail("create", 403, times=-1, body={"error": f"no rights for {token}, says the Hub"})
    assert worked(job, home, token) == "failed"
    assert "may not write to alice/my-cat (403)" in job.why() and "write access" in job.why()

    hub.heal()
    hub.fail("upload", "broken")
    hub.fail("commit", "lost answer")
    assert worked(job, home, token) == "finished", job.log_tail()
    view, repo = job.view(), hub.repos["alice/my-cat"]
    assert view.attempt == 2 and view.summary.startswith(f"{hub.url}/alice/my-cat (private, commit {repo.head.oid[:8]}")
    assert set(repo.files()) == {"README.md", "my cat.safetensors", "samples/000020_1.webp"} and len(repo.commits) == 2
    assert repo.files()["my cat.safetensors"] == run.result().read_bytes()
    assert (job.path / "README.md").read_bytes() == repo.files()["README.md"]
    phases = [e for e in job.events()[0] if e["kind"] == "phase"]
    assert {"checking the account", "uploading", "published"} <= {p["name"] for p in phases} and any("try 2 of 5" in p["name"] for p in phases)

    again = create(home.outputs, publish(run, hub, checkpoint=10))
    assert worked(again, home, token) == "finished", again.log_tail()
    assert repo.files()["my cat.safetensors"] != run.result().read_bytes() and len(repo.commits) == 3

    shapes = [token.encode(), token[3:].encode(), base64.b64encode(token.encode())[4:-4]]
    for root in (home.root, tmp_path):
        assert not [name for name, data in everything_under(root).items() if any(shape in data for shape in shapes)]


def test_without_a_token_and_with_a_dead_one_the_reason_is_plain(hub, home, run):
    config = publish(run, hub)
    ctx = Context(create(home.outputs, config), home, 1)
    with pytest.raises(HubError, match="Not signed in"):
        job_run(config, ctx)
    ctx.secrets = {"hf_token": Secret(some_token("d"))}
    with pytest.raises(HubError, match=r"does not accept the token \(401\)"):
        job_run(config, ctx)
    assert not hub.repos


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="reads /proc")
def test_stop_ends_a_push_that_waits_and_the_command_line_shows_no_token(hub, token, home, run):
    hub.fail("preupload", 429, times=-1, Retry_After="300")
    job = create(home.outputs, publish(run, hub))
    supervisor.start(job, home, Secret(token))
    deadline = time.monotonic() + 30
    while "asks to wait" not in job.view().phase:
        assert time.monotonic() < deadline, job.log_tail()
        time.sleep(0.05)
    with open(f"/proc/{job.view().pid}/cmdline", "rb") as file:
        assert token.encode() not in file.read()
    job.command("stop")
    assert ended(job) == "stopped"


def test_the_config_refuses_what_cannot_be_published():
    right = {"name": "x", "run": "r", "repo_id": "alice/x", "card": "---\na: 1\n---\n"}
    assert Config(**right).private and Config(**right, checkpoint=500).checkpoint == 500
    for wrong in ({"repo_id": "a b"}, {"card": ""}, {"card": some_token()}, {"message": f"hi {some_token()}"}, {"checkpoint": "latest"}, {"tokn": 1}):
        with pytest.raises(ValueError) as caught:
            Config(**(right | wrong))
        assert some_token() not in str(caught.value)


def test_what_is_published_never_comes_from_the_environment(tmp_path, monkeypatch):
    from training.jobfile import load_job

    monkeypatch.setenv("PRIVATE_THING", "a secret")
    for key in ("card", "message", "repo_id"):
        values = {"kind": "publish", "name": "x", "run": "r", "repo_id": "alice/x", "card": "text"}
        (tmp_path / "job.json").write_text(json.dumps(values | {key: "${PRIVATE_THING}"}))
        with pytest.raises(ValueError, match="must not come from the environment"):
            load_job(tmp_path / "job.json")


def test_what_is_gone_is_said(hub, token, home, run):
    for changes, words in (({"checkpoint": 15}, "no checkpoint at step 15"), ({"run": "2026-01-01_0000_gone"}, "no run called"), ({"card": "x"}, "front matter")):
        config = publish(run, hub, **changes)
        with pytest.raises(ValueError, match=words):
            job_run(config, Context(create(home.outputs, config), home, 1, secrets={"hf_token": Secret(token)}))
    assert not hub.repos
