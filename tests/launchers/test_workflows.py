"""What runs elsewhere, read for what would break it or let somebody else in."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from launchers import packages, places

REPO = Path(__file__).resolve().parents[2]
WORKFLOWS = {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in (REPO / ".github" / "workflows").glob("*.yml")}


def test_other_peoples_actions_are_pinned_and_get_no_more_rights_than_they_need():
    for name, flow in WORKFLOWS.items():
        assert flow["permissions"] == {"contents": "read"}, name
        for job in flow["jobs"].values():
            assert "timeout-minutes" in job or "uses" in job, name  # without one, six hours
            for step in job.get("steps", []):
                assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", step.get("uses", "a/b@" + 40 * "0")), f"{name}: {step['uses']} is not pinned to a commit"
                if step.get("uses", "").startswith("actions/checkout@"):
                    assert step["with"]["persist-credentials"] is False, name
                assert "github.event." not in step.get("run", ""), f"{name}: a stranger's words would become a command"


def test_ci_runs_the_two_scripts_on_every_python_that_is_supported():
    jobs = WORKFLOWS["ci"]["jobs"]
    said = " ".join(step.get("run", "") for job in jobs.values() for step in job["steps"])
    assert "bash .ci/run" in said and "bash launchers/test.sh" in said and "python .ci/opens.py" in said
    every = [f"3.{minor}" for minor in range(places.OLDEST[1], places.NEWEST[1] + 1)]
    assert jobs["fast"]["strategy"]["matrix"]["python"] == every
    assert jobs["everything"]["strategy"]["matrix"]["python"] == [every[0], every[-1]] == WORKFLOWS["wheel"]["jobs"]["install"]["strategy"]["matrix"]["python"]


def test_the_hooks_before_a_commit_have_our_versions():
    pins = packages.pins(REPO / "requirements-dev.txt")
    hooks = {hook["id"]: hook for repo in yaml.safe_load((REPO / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"] for hook in repo["hooks"]}
    assert hooks["ruff"]["additional_dependencies"] == [f"ruff=={pins['ruff']}"]
    pattern = re.compile(hooks["batch"]["entry"].encode())
    assert pattern.search(b"echo\n") and not pattern.search(b"echo\r\n")


def test_the_citation_has_this_version():
    from training.version import VERSION

    assert yaml.safe_load((REPO / "CITATION.cff").read_text(encoding="utf-8"))["version"] == VERSION
