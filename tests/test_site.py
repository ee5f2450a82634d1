"""docs/ as a site: mkdocs builds it in a workflow; what needs no mkdocs is held here."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from training.jobfile import load_job

REPO = Path(__file__).resolve().parent.parent
DOCS = REPO / "docs"


def test_the_table_of_contents_names_pages_that_are_there():
    nav = yaml.safe_load((REPO / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    named = re.findall(r"[\w-]+\.md", str(nav))
    assert len(named) == len(set(named)) and not set(named) - {page.name for page in DOCS.glob("*.md")}


def test_every_picture_is_shown_somewhere():
    shown = {name for page in [*DOCS.glob("*.md"), REPO / "README.md"] for name in re.findall(r"!\[[^\]]+\]\([^)]*?([\w-]+\.png)\)", page.read_text(encoding="utf-8"))}
    assert shown == {path.name for path in (DOCS / "images").glob("*.png")}


def test_the_job_of_the_training_page_is_one(tmp_path):
    text = (DOCS / "training.md").read_text(encoding="utf-8")
    (tmp_path / "job.yaml").write_text(re.search(r"```yaml\n(.*?)```", text, re.DOTALL)[1], encoding="utf-8")
    assert load_job(tmp_path / "job.yaml", tmp_path).steps == 600
