"""Several cards: each worker sees exactly its own, several work at once, and who waits for a card is not overtaken."""

import os
import stat
from dataclasses import replace

import pytest

from tests.runs.conftest import ended, make, until
from training import registry
from training.plan import hardware
from training.plan.cards import Gpu
from training.runs import placing, supervisor
from training.runs.run import create

BIG, SMALL = "GPU-4090bbbb", "GPU-5060aaaa"
TWO = f"0, {SMALL}, NVIDIA GeForce RTX 5060, 580.95.05, 8151, 7900, 12.0\n1, {BIG}, NVIDIA GeForce RTX 4090, 580.95.05, 24564, 24000, 8.9\n"


@pytest.fixture
def two_cards(tmp_path, monkeypatch):
    """nvidia-smi as it answers on a computer with two cards."""
    if os.name == "nt":
        pytest.skip("the stand-in for nvidia-smi is a shell script")
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{TWO}END\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    for name in ("CUDA_VISIBLE_DEVICES", "EASEL_GPU"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(hardware, "installed_torch", lambda: "cu130")
    hardware._cached.clear()
    yield
    hardware._cached.clear()


def queued(home, name, card=""):
    config = registry.get("jobs", "carded", home.plugins).Config(name=name)
    return create(home.outputs, config, lambda run: run.wish_for_card(card) if card else None)


def end(run):
    (run.path / "end").touch()
    assert ended(run) == "finished"
    assert until(lambda: not run.locked())


def seen_by(run):
    assert until(lambda: run.view().warnings), run.log_tail()
    return run.view().warnings[0]


@pytest.mark.slow
def test_two_workers_on_two_cards_and_a_third_waits_for_a_free_one(workshop, two_cards):
    first, second, third = queued(workshop, "1"), queued(workshop, "2"), queued(workshop, "3")
    assert supervisor.tick(workshop) == [first.id, second.id]
    assert [seen_by(first), seen_by(second)] == [f"sees {BIG}", f"sees {SMALL}"], "the largest first, each by its UUID"
    assert supervisor.tick(workshop) == [] and third.status() == "queued" and supervisor.in_the_way(third, workshop)
    end(second)
    assert supervisor.tick(workshop) == [third.id] and seen_by(third) == f"sees {SMALL}"
    for run in (first, third):
        end(run)


def test_a_run_waits_for_the_card_that_was_chosen_and_others_go_beside(workshop, two_cards):
    first, patient, other = queued(workshop, "1", SMALL), queued(workshop, "2", SMALL), queued(workshop, "3")
    assert supervisor.tick(workshop) == [first.id, other.id]
    assert [seen_by(first), seen_by(other)] == [f"sees {SMALL}", f"sees {BIG}"]
    late = queued(workshop, "4", SMALL)
    end(first)
    assert supervisor.tick(workshop) == [patient.id] and late.status() == "queued"
    for run in (other, patient):
        end(run)


def test_a_run_whose_card_is_not_in_this_computer_takes_a_free_one(workshop, two_cards):
    moved = queued(workshop, "moved", "GPU-of-another-computer")
    assert supervisor.start(moved, workshop) == "started" and seen_by(moved) == f"sees {BIG}"
    end(moved)


def test_a_job_that_needs_the_machine_for_itself_waits_for_all_cards(workshop, two_cards):
    carded, alone, late = queued(workshop, "1"), make(workshop), queued(workshop, "3")
    assert supervisor.tick(workshop) == [carded.id] and [alone.status(), late.status()] == ["queued", "queued"], "nobody overtakes it"
    end(carded)
    assert supervisor.tick(workshop) == [alone.id]


def test_a_run_on_several_cards_sees_those_that_may_be_used_and_no_others(workshop, two_cards, monkeypatch):
    both = queued(workshop, "both")
    both.wish_for_ranks(0)
    assert supervisor.tick(workshop) == [both.id] and seen_by(both) == f"sees {BIG},{SMALL}"
    end(both)
    monkeypatch.setenv("EASEL_GPU", SMALL)
    hardware._cached.clear()
    kept = queued(workshop, "kept")
    kept.wish_for_ranks(0)
    assert supervisor.tick(workshop) == [kept.id] and seen_by(kept) == f"sees {SMALL}"
    end(kept)


def test_a_run_is_put_on_no_card_that_is_too_small_for_it():
    two = [Gpu(1, BIG, "4090", "580", 24 * 2**30, 0), Gpu(0, SMALL, "5060", "580", 8 * 2**30, 0)]
    assert placing.among(two, "", 6 * 2**30) == [BIG, SMALL]
    assert placing.among(two, "", 16 * 2**30) == [BIG]
    assert placing.among(two, "", 64 * 2**30) == [BIG], "it fits nowhere: the largest"
    assert placing.among(two, SMALL, 64 * 2**30) == [SMALL], "a person's choice holds"


def test_an_amd_card_is_named_in_the_way_of_its_driver():
    amd = Gpu(0, "GPU-0000000000001234", "AMD Radeon", "amdgpu", 24 * 2**30, 0, vendor="amd", arch="gfx1100")
    assert placing.environment(amd.uuid, [amd]) == {"ROCR_VISIBLE_DEVICES": amd.uuid, "HIP_VISIBLE_DEVICES": "0", "CUDA_VISIBLE_DEVICES": "0"}
    assert placing.environment("", [amd]) == {}
    two = [amd, replace(amd, index=1, uuid="GPU-0000000000005678")]
    assert placing._only(two) == {"ROCR_VISIBLE_DEVICES": f"{amd.uuid},{two[1].uuid}", "HIP_VISIBLE_DEVICES": "0,1", "CUDA_VISIBLE_DEVICES": "0,1"}
