"""What is installed beside Easel is named with its licence, in NOTICE and in the bill of materials."""

from __future__ import annotations

import json

from launchers import licences, packages


def test_notice_and_bill_name_every_locked_package():
    """python launchers/licences.py writes both, after launchers/lock.py."""
    locked = sorted({(packages.canonical(name), version) for lock in licences.LOCKS for name, version in licences.locked(lock)})
    assert len(locked) > 100
    rows = licences.NOTICE.read_text(encoding="utf-8").partition(licences.HEADING)[2].strip().splitlines()
    named = [tuple(row.removeprefix("- ").partition(": ")[0].split(" ")) for row in rows]
    assert named == locked and all(row.partition(": ")[2] for row in rows)
    bill = json.loads(licences.SBOM.read_text(encoding="utf-8"))
    assert sorted({(packages.canonical(part["name"]), part["version"]) for part in bill["components"]}) == locked
    assert all(part["hashes"] and part["licenses"] for part in bill["components"])


def test_a_licence_is_told_by_its_spdx_name():
    assert licences.licence("gradio") == "Apache-2.0"
    assert licences.licence("jinja2") == "BSD-3-Clause"
    assert licences.licence("nvidia-cublas") == licences.NVIDIA
    assert licences.licence("no-such-package") == ""
