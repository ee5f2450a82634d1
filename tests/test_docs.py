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


def test_the_page_of_base_models_has_every_preset_of_ours_with_its_licence(tmp_path):
    """What the cells say is for python -m docs.fits, which takes a minute."""
    from docs import fits
    from training.home import Home
    from training.plan import presets
    from ui.tabs.train import draft

    text = fits.PAGE.read_text(encoding="utf-8")
    for base in draft.bases(Home(tmp_path).made(), presets.list_presets(), fits.computer(96)):
        if not base.builtin:
            assert f"[{base.title}]({base.licence[1]})" in text, f"run python -m docs.fits: {base.title}"
    ours = [p for p in presets.list_presets() if p.ok and not p.id.startswith("builtin") and (presets.FOLDER / f"{p.id}.yaml").is_file()]
    assert sum(line.startswith("| ") for line in text.splitlines()) == 1 + len(ours), "run python -m docs.fits: presets came or went"
