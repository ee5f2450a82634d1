"""Docker, by a program of that name which writes down what it is told and does it; the queue worker is the real one."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from tests.cloud import docker_standin
from tests.cloud.test_hf_jobs import quiet, until
from training.away import shelved
from training.away.place import Refused, Unreachable
from training.cloud import docker
from training.cloud.docker import Options
from training.home import REPO

HERE = Options()


@pytest.fixture
def engine(tmp_path, monkeypatch) -> Path:
    """The folder of an engine in which a worker's container runs; its program is the first on PATH."""
    folder, bin = tmp_path / "engine", tmp_path / "bin"
    folder.mkdir()
    bin.mkdir()
    (folder / "running").touch()
    (bin / "docker").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {shlex.quote(docker_standin.__file__)} {shlex.quote(str(folder))} "$@"\n')
    (bin / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{bin}{os.pathsep}{os.environ['PATH']}")
    return folder


@pytest.fixture
def worker(engine):
    """worker() starts the queue worker; all that were started are ended afterwards."""
    begun = []

    def begin() -> subprocess.Popen:
        env = {"PATH": os.environ["PATH"], "EASEL_VENV": sys.prefix, "EASEL_CONTAINER": "1", "EASEL_SHELF_S": "0.1"}
        begun.append(subprocess.Popen([sys.executable, shelved.__file__, "queue", str(engine / "data" / "shelves")], env=env))
        return begun[-1]

    yield begin
    for process in begun:
        process.terminate()
        process.wait(20)


def sent(bundle, id: str = "ab12") -> dict:
    return docker.send(bundle, HERE, {"id": id}, quiet)


def calls(engine: Path) -> list[list[str]]:
    return [json.loads(line) for line in (engine / "calls.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_a_run_goes_through_the_queue_and_nothing_stays(engine, worker, bundle, small_checkout, tmp_path):
    handle = docker.start(sent(bundle), HERE, 3600)
    assert docker.look(handle, HERE, 0).status == "waiting" and docker.start(handle, HERE, 3600) == handle
    worker()
    until(lambda: docker.look(handle, HERE, 0).status == "finished")
    seen = docker.look(handle, HERE, 0)
    assert [json.loads(line)["kind"] for line in seen.events.splitlines()] == ["started", "finished"]
    assert set(docker.listing(handle, HERE)) == {"cat.safetensors", "events.jsonl"}
    docker.fetch(handle, HERE, "cat.safetensors", tmp_path / "home.safetensors")
    assert (tmp_path / "home.safetensors").read_bytes() == b"weights"
    assert docker.end(handle, HERE) == "" and list((engine / "data" / "shelves").iterdir()) == []


@pytest.mark.slow
def test_a_run_is_stopped_and_removed_and_the_next_one_takes_its_turn(engine, worker, bundle, small_checkout):
    small_checkout("import signal\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\nsay(kind='started')\ntime.sleep(600)\n")
    first = docker.start(sent(bundle), HERE, 0)
    second = docker.start(sent(bundle, "cd34"), HERE, 0)
    worker()
    until(lambda: docker.look(first, HERE, 0).events)
    assert docker.look(second, HERE, 0).status == "waiting"
    docker.end(first, HERE)
    until(lambda: docker.look(second, HERE, 0).events)
    docker.tell(second, HERE, '{"kind": "save"}')
    until(lambda: list((engine / "data" / "shelves").glob(".cd34/bundle/outputs/run/control.jsonl")))
    docker.end(second, HERE)
    assert list((engine / "data" / "shelves").iterdir()) == []


@pytest.mark.slow
def test_a_worker_that_is_stopped_goes_on_with_its_run_at_its_next_start(engine, worker, bundle, small_checkout):
    small_checkout(
        "import signal\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\nagain = (run / 'once').exists()\n(run / 'once').touch()\n"
        "say(kind='started')\nif again:\n    say(kind='finished')\nelse:\n    time.sleep(600)\n"
    )
    handle = docker.start(sent(bundle), HERE, 0)
    first = worker()
    until(lambda: docker.look(handle, HERE, 0).events)
    first.terminate()
    assert first.wait(30) == 0
    assert docker.look(handle, HERE, 0).status == "running"
    worker()
    until(lambda: docker.look(handle, HERE, 0).status == "finished")
    assert [json.loads(line)["kind"] for line in docker.look(handle, HERE, 0).events.splitlines()] == ["started", "started", "finished"]
    docker.end(handle, HERE)


@pytest.mark.slow  # each word to docker is two processes
def test_half_an_upload_is_sent_again_and_what_arrived_whole_is_not(engine, bundle, small_checkout):
    handle = sent(bundle)
    objects = engine / "data" / "shelves" / "ab12" / "objects"
    whole, cut = sorted(p for p in objects.iterdir() if p.stat().st_size > 8)[:2]
    cut.write_bytes(cut.read_bytes()[:4])
    whole_t = whole.stat().st_mtime_ns
    time.sleep(0.02)
    sent(bundle)
    assert docker.shelf.hash_of(cut) == cut.name and whole.stat().st_mtime_ns == whole_t and handle["container"] == docker_standin.NAME


def test_an_engine_or_a_worker_that_does_not_run_is_told_before_the_start(engine, monkeypatch):
    assert docker.ready(HERE) == ""
    (engine / "running").unlink()
    assert docker.ready(HERE) == f"Easel's worker does not run there; start it with: {docker.UP}."
    (engine / "stopped").touch()
    assert docker.ready(HERE).startswith("no Docker engine answers: start Docker, or name another context (docker says: Cannot connect")
    monkeypatch.setenv("PATH", str(engine))
    assert docker.ready(HERE).startswith("There is no docker program on this computer")


def test_the_card_of_the_container_is_what_a_run_is_planned_for(engine):
    [machine] = docker.machines(HERE)
    assert machine.title == "The processor in Docker" and machine.vram_bytes == 0
    (engine / "cards").write_text("NVIDIA T4, 15360\nNVIDIA H100 80GB HBM3, 81559\n")
    [machine] = docker.machines(HERE)
    assert machine.title == "NVIDIA H100 80GB HBM3, NVIDIA T4 in Docker" and machine.vram_bytes == 81559 << 20 and machine.cards == (81559 << 20, 15360 << 20)
    (engine / "cards").write_text("NVIDIA L4, 23034\nNVIDIA L4, 23034\n")
    assert docker.machines(HERE)[0].title == "2 × NVIDIA L4 in Docker"
    (engine / "running").unlink()
    with pytest.raises(Unreachable):
        docker.machines(HERE)


@pytest.mark.slow  # each word to docker is two processes
def test_a_worker_that_went_away_is_looked_for_again(engine, bundle, small_checkout):
    handle = docker.start(sent(bundle), HERE, 0)
    (engine / "running").unlink()
    with pytest.raises(Unreachable, match="Easel's worker there has stopped"):
        docker.look(handle, HERE, 0)


@pytest.mark.slow  # each word to docker is two processes
def test_no_name_can_be_taken_for_a_flag_and_the_context_goes_first(engine, bundle, small_checkout):
    for bad in ("--privileged", "-v", "a b", "a;b", "../x"):
        with pytest.raises(ValueError, match="pattern"):
            Options(container=bad)
        with pytest.raises(ValueError, match="pattern"):
            Options(context=bad)
    docker.send(bundle, Options(context="desk"), {"id": "ab12"}, quiet)
    assert all(words[:2] == ["--context", "desk"] for words in calls(engine))
    with pytest.raises(Unreachable, match="does not run there"):
        docker.send(bundle, Options(container="another"), {"id": "ab12"}, quiet)


@pytest.mark.slow  # each word to docker is two processes
def test_what_a_stranger_reports_is_looked_at(engine, bundle, small_checkout):
    handle = docker.start(sent(bundle), HERE, 0)
    out = engine / "data" / "shelves" / "ab12" / "out"
    out.mkdir()
    for name in ("../../away", "a\\b"):
        (out / "00000001-0-0").write_text(json.dumps({"status": "running", "why": "", "log": "", "events": "", "files": {name: ["0" * 64, 1]}}))
        with pytest.raises(Refused, match="names a file outside the run's folder"):
            docker.listing(handle, HERE)


def test_the_compose_file_and_the_image_have_what_the_place_counts_on():
    services = yaml.safe_load((REPO / "launchers" / "compose.worker.yaml").read_text(encoding="utf-8"))["services"]
    image = (REPO / "launchers" / "Dockerfile").read_text(encoding="utf-8")
    for service in services.values():
        assert service["entrypoint"] == [*docker.THERE, "queue", docker.SHELVES] and "ports" not in service
        assert [f"{key}={value}" for key, value in service["labels"].items()] == [docker.LABEL]
    assert f"EASEL_VENV={Path(docker.THERE[0]).parents[1]}" in image and "WORKDIR /easel" in image and "EASEL_CONTAINER=1" in image
    assert services["worker-cpu"]["build"]["args"] == {"TORCH": "cpu"} and services["worker-cpu"]["build"]["dockerfile"] == services["worker"]["build"]["dockerfile"]
