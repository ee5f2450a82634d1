"""Hugging Face Jobs, as the real huggingface_hub speaks with a stand-in over HTTP."""

from __future__ import annotations

import json
import time

import pytest

from tests.hub.conftest import some_token
from training.away.place import Refused, Unreachable
from training.cloud import hf_jobs
from training.cloud.hf_jobs import Options

L4 = Options(machine="l4x1")


def quiet(what: str, share: float) -> None:
    return None


def sent(bundle, options: Options = L4) -> dict:
    return hf_jobs.send(bundle, options, {"id": "ab12"}, quiet)


def until(found, wait_s: float = 60.0):
    """What `found` gives once it is true."""
    deadline = time.monotonic() + wait_s
    while not (got := found()):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return got


def ended(handle: dict, options: Options = L4):
    events, offset, seen = b"", 0, None

    def look():
        nonlocal events, offset, seen
        seen = hf_jobs.look(handle, options, offset)
        events, offset = events + seen.events, seen.offset
        return seen.status not in ("waiting", "running")

    until(look)
    return seen, [json.loads(line) for line in events.splitlines()]


def test_hardware_is_asked_for_with_its_price_and_its_cards(hub):
    found = hf_jobs.machines(L4)
    assert [(m.name, m.vram_bytes, len(m.cards), m.ram_bytes, round(m.price_per_hour, 2)) for m in found] == [
        ("cpu-basic", 0, 0, 16 * 10**9, 0.01), ("l4x1", 24 * 10**9, 1, 30 * 10**9, 0.80), ("a10g-small", 24 * 10**9, 1, 15 * 10**9, 1.00), ("l4x4", 24 * 10**9, 4, 186 * 10**9, 3.80),
    ]  # fmt: skip
    assert found[-1].cards == (24 * 10**9,) * 4, "what is said of all cards together is shared out"


@pytest.mark.slow
def test_a_run_goes_there_and_comes_home_and_nothing_stays(hub, token, bundle, small_checkout, tmp_path):
    handle = hf_jobs.start(sent(bundle), L4, 3600)
    job = hub.jobs[handle["job"]]
    asked = json.dumps(job.spec)
    assert token not in asked and "secrets" not in job.spec and token not in json.dumps(handle)
    assert job.spec["timeoutSeconds"] == 3600 and job.spec["labels"]["easel-run"] == "ab12"
    seen, events = ended(handle)
    assert seen.status == "finished", seen
    assert [e["kind"] for e in events] == ["started", "finished"]
    rows = hf_jobs.listing(handle, L4)
    assert set(rows) == {"cat.safetensors", "events.jsonl"}
    hf_jobs.fetch(handle, L4, "cat.safetensors", tmp_path / "home.safetensors")
    assert (tmp_path / "home.safetensors").read_bytes() == b"weights"
    assert hub.buckets["alice/easel-ab12"]["private"]
    assert "1 minute on l4x1 and cost about $0.01" in hf_jobs.end(handle, L4)
    assert hub.buckets == {} and job.stage == "COMPLETED"


@pytest.mark.slow
def test_a_command_reaches_the_run_and_samples_come_while_it_runs(hub, bundle, small_checkout):
    small_checkout(
        "say(kind='started')\n(run / 'samples').mkdir()\n(run / 'samples' / '1.webp').write_bytes(b'a sample')\nsay(kind='sample', path='samples/1.webp')\n"
        "(run / 'late.safetensors').write_bytes(b'half')\n"
        "control = run / 'control.jsonl'\nwhile not control.exists() or 'stop' not in control.read_text():\n    time.sleep(0.05)\nsay(kind='stopped', told=(run / 'control.jsonl').read_text())\n"
    )
    handle = hf_jobs.start(sent(bundle), L4, 60)
    until(lambda: hf_jobs.look(handle, L4, 0).events.count(b"\n") == 2)
    assert set(until(lambda: hf_jobs.listing(handle, L4))) == {"samples/1.webp"}  # what may still grow comes at the end
    hf_jobs.tell(handle, L4, '{"kind": "sample", "prompt": "a cat"}')
    hf_jobs.tell(handle, L4, '{"kind": "stop"}')
    seen, events = ended(handle)
    assert seen.status == "finished" and [e["kind"] for e in events] == ["started", "sample", "stopped"]
    assert json.loads(events[-1]["told"].splitlines()[0])["kind"] == "sample"
    assert hf_jobs.look(handle, L4, seen.offset).events == b""
    hf_jobs.end(handle, L4)


@pytest.mark.slow
def test_a_training_that_fails_says_its_own_words(hub, bundle, small_checkout):
    small_checkout("say(kind='failed', error='the card has no room for it')\nsys.exit(1)\n")
    handle = hf_jobs.start(sent(bundle), L4, 60)
    seen, _ = ended(handle)
    assert (seen.status, seen.why) == ("failed", "the card has no room for it")
    hf_jobs.end(handle, L4)


def test_half_an_upload_goes_on_where_it_stopped(hub, bundle, small_checkout, monkeypatch):
    monkeypatch.setattr(hf_jobs.shelf, "AT_ONCE_FILES", 2)
    told = []

    def broken_after_one_batch(what: str, share: float) -> None:
        told.append(share)
        hub.fail("bucket_batch", "broken", times=1)

    with pytest.raises(Unreachable):
        hf_jobs.send(bundle, L4, {"id": "ab12"}, broken_after_one_batch)
    before = set(hub.files("alice/easel-ab12"))
    assert len(before) == 2 and told and "order.json" not in before
    hf_jobs.end({"id": "cd34"}, L4)  # of another run, of which nothing is there
    assert set(hub.files("alice/easel-ab12")) == before
    hub.seen.clear()
    handle = sent(bundle)
    lines = [json.loads(line) for body in hub.batches[1:] for line in body.splitlines()]
    assert not before & {line["path"] for line in lines}
    assert {f"objects/{digest}" for digest, _ in bundle.files.values()} <= set(hub.files(handle["bucket"]))
    hub.batches.clear()
    sent(bundle)  # a third time nothing is sent but the list
    assert {json.loads(line)["path"] for body in hub.batches for line in body.splitlines()} == {"start.py", "order.json"}


def test_what_was_left_half_sent_is_removed_by_its_id(hub, bundle, small_checkout):
    class Left(Exception):
        pass

    def stop_was_pressed(what: str, share: float) -> None:
        raise Left

    with pytest.raises(Left):
        hf_jobs.send(bundle, L4, {"id": "ab12"}, stop_was_pressed)
    assert hub.files("alice/easel-ab12") and hf_jobs.end({"id": "ab12"}, L4) == "" and hub.buckets == {}


def test_a_job_is_never_started_twice(hub, bundle, small_checkout):
    hub.runs = False
    handle = sent(bundle)
    hub.fail("run_job", "lost answer")
    with pytest.raises(Unreachable):
        hf_jobs.start(handle, L4, 60)
    assert len(hub.jobs) == 1
    found = hf_jobs.start(handle, L4, 60)
    assert list(hub.jobs) == [found["job"]]
    assert hf_jobs.start(found, L4, 60) == found and len(hub.jobs) == 1


def test_no_credit_is_said_with_what_to_do(hub, bundle, small_checkout):
    hub.credit = 0
    handle = sent(bundle)
    with pytest.raises(Refused, match=r"asks for credit before it may run a job \(402\): add some at .*/settings/billing.*Pre-paid credit balance is insufficient"):
        hf_jobs.start(handle, L4, 60)
    hf_jobs.end(handle, L4)
    assert hub.jobs == {} and hub.buckets == {}


def test_a_wrong_token_and_one_without_rights(hub, bundle, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", some_token("w"))
    with pytest.raises(Refused, match=r"does not accept the token \(401\): make a new one at .*/settings/tokens"):
        sent(bundle)
    reader = some_token("r")
    hub.user(reader, "alice", role="read")
    monkeypatch.setenv("HF_TOKEN", reader)
    with pytest.raises(Refused, match=r"may not make a bucket .* \(403\)") as told:
        sent(bundle)
    assert reader not in str(told.value)


def test_nobody_signed_in_is_said_before_the_start(hub, monkeypatch):
    assert hf_jobs.ready(L4) == ""
    monkeypatch.delenv("HF_TOKEN")
    assert "sign in on the Publish tab" in hf_jobs.ready(L4)


def test_the_network_away_is_tried_again(hub, bundle, small_checkout):
    hub.runs = False
    handle = hf_jobs.start(sent(bundle), L4, 60)
    for how in ("broken", 503, "bad json"):
        hub.fail("inspect_job", how)
        with pytest.raises(Unreachable):
            hf_jobs.look(handle, L4, 0)
    assert hf_jobs.look(handle, L4, 0).status == "waiting"


@pytest.mark.parametrize(
    ("stage", "message", "why"),
    [
        ("ERROR", "Job timeout", "its time limit of 0.5 hours"),
        ("ERROR", "OOMKilled", "failed at Hugging Face: OOMKilled"),
        ("CANCELED", None, "cancelled at Hugging Face"),
        ("COMPLETED", None, "without a word"),
    ],
)
def test_a_job_that_ends_by_itself_is_told_in_a_sentence(hub, bundle, small_checkout, stage, message, why):
    hub.runs = False
    handle = hf_jobs.start(sent(bundle), L4, 1800)
    assert hub.jobs[handle["job"]].spec["timeoutSeconds"] == 1800
    hub.settle(handle["job"], stage, message)
    seen = hf_jobs.look(handle, L4, 0)
    assert seen.status == "failed" and why in seen.why
    del hub.jobs[handle["job"]]
    assert "deleted at Hugging Face" in hf_jobs.look(handle, L4, 0).why
    hf_jobs.end(handle, L4)
    assert hf_jobs.look(handle, L4, 0).status == "gone"


def test_what_still_runs_is_cancelled_and_what_is_to_stay_stays(hub, bundle, small_checkout):
    hub.runs = False
    kept = Options(machine="l4x1", keep=True)
    handle = hf_jobs.start(sent(bundle, kept), kept, 60)
    assert "The bucket alice/easel-ab12 was left there, as you asked." in hf_jobs.end(handle, kept)
    assert hub.jobs[handle["job"]].stage == "CANCELED" and set(hub.buckets) == {"alice/easel-ab12"}
    assert hf_jobs.end(handle, L4) and hub.buckets == {} and hf_jobs.end(handle, L4)


def test_the_token_goes_along_only_where_the_base_model_is_downloaded_and_as_a_secret(hub, token, bundle, small_checkout):
    hub.runs = False
    without = Options(machine="l4x1", mount=False)
    handle = hf_jobs.start(sent(bundle, without), without, 60)
    spec = hub.jobs[handle["job"]].spec
    assert spec["secrets"] == {"HF_TOKEN": token} and [v["type"] for v in spec["volumes"]] == ["bucket"]
    assert token not in json.dumps({key: value for key, value in spec.items() if key != "secrets"}) + json.dumps(handle)
    assert "Your token goes along as a secret" in hf_jobs.leaves(without) and "token" not in hf_jobs.leaves(L4)


def test_a_public_bucket_of_that_name_is_not_used(hub, bundle):
    hub.buckets["alice/easel-ab12"] = {"private": False, "files": {}}
    with pytest.raises(Refused, match="is public, so nothing was put there"):
        sent(bundle)
    hf_jobs.end({"id": "ab12"}, L4)
    assert hub.buckets["alice/easel-ab12"]["files"] == {}


def test_hardware_is_never_chosen_for_you(hub, bundle, small_checkout):
    with pytest.raises(Refused, match=r"choose the hardware, as it is paid for by the minute: l4x1 \(\$0.80 an hour\), a10g-small"):
        hf_jobs.start(sent(bundle), Options(), 60)
    with pytest.raises(Refused, match="no hardware called 'h9000'"):
        hf_jobs.start(sent(bundle), Options(machine="h9000"), 60)
    assert hub.jobs == {}


def test_the_torch_that_was_asked_for_is_told_to_the_installer(hub, bundle, small_checkout):
    hub.runs = False
    asked = Options(machine="l4x1", torch="cu126")
    assert hub.jobs[hf_jobs.start(sent(bundle), asked, 60)["job"]].spec["environment"] == {"EASEL_TORCH": "cu126"}
    with pytest.raises(ValueError, match="pattern"):
        Options(torch="cu126; rm")


def test_a_checkpoint_that_was_tidied_away_meanwhile_is_no_bug(hub, bundle, small_checkout, tmp_path):
    handle = sent(bundle)
    with pytest.raises(Refused, match="objects/nothing is no longer in the bucket"):
        hf_jobs.Bucket(handle["bucket"]).get({"objects/nothing": tmp_path / "x"})
