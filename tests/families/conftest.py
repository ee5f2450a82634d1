"""Toys are shown small pictures where their pipelines would make a million pixels of any."""

import pytest


@pytest.fixture(autouse=True)
def small_references(request, monkeypatch):
    toy = request.getfixturevalue("kit").toy if "kit" in request.fixturenames else None
    if hasattr(toy, "shrink"):
        toy.shrink(monkeypatch.setattr)
