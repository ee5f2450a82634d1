"""What the pages name exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parent.parent
PAGES = [REPO / "README.md", *sorted((REPO / "docs").glob("*.md")), REPO / "CHANGELOG.md", REPO / "launchers" / "space" / "GUIDE.md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page):
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text(encoding="utf-8")):
        if not target.startswith(("http", "#")):
            assert (page.parent / target.partition("#")[0]).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_named_file_exists(page):
    text = page.read_text(encoding="utf-8")
    for name in re.findall(r"`((?:ui|training|launchers|captioning|presets|tests|docs)/[\w./-]+?)/?`", text):
        assert (REPO / name).exists(), f"{page.name} names {name}"


def test_every_file_of_the_tree_exists():
    text = (REPO / "docs" / "architecture.md").read_text(encoding="utf-8")
    tree = text.split("## The tree")[1].split("```")[1]
    known = {path.name for folder in ("ui", "training", "captioning", "launchers", "easel") for path in (REPO / folder).rglob("*.*")} | {"app.py"}
    for name in re.findall(r"[\w-]+\.(?:py|sh|bat)\b", tree):
        assert name in known, f"the tree names {name}"
