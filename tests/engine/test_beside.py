"""What hangs beside the denoiser: it trains, goes on exactly where it stopped, and its folder acts elsewhere as it did here."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter
from safetensors.torch import load_file

from tests import tiny
from training import registry

from .conftest import state_files

SPEC = registry.get("families", "sd15").SPEC
KINDS = sorted(SPEC.beside)


@pytest.fixture(scope="session")
def controlled(tmp_path_factory):
    """Pictures of which all but the last have their outlines beside them."""
    folder = tiny.pictures(tmp_path_factory.mktemp("controlled") / "with outlines", 5)
    for path in sorted(folder.glob("*.png"))[:4]:
        Image.open(path).filter(ImageFilter.FIND_EDGES).save(path.with_suffix(".control.png"))
    return folder


def of(kind: str, folder, **changes) -> dict:
    return {"adapter": {"type": kind}, "data__datasets": [{"name": str(folder)}], "optimizer__learning_rate": 1e-3, **changes}


@pytest.mark.parametrize("kind", KINDS)
def test_stopped_and_resumed_ends_to_the_bit_where_an_uninterrupted_run_does(lab, controlled, kind):
    changes = of(kind, controlled, steps=4, loss__ema_decay=0.9, sample__every=2, adapter__control_dropout=0.3, data__flip=True)
    whole, parts = lab.run(**changes), lab.run(stop_at=2, **changes)
    assert parts.status() == "stopped"
    lab.go(parts)
    assert parts.status() == whole.status() == "finished", whole.why()
    assert state_files(parts, 4) == state_files(whole, 4)
    assert parts.view().losses == whole.view().losses
    assert any("1 of 5 pictures have no control picture and are left out: picture 4.png" in text for text in whole.view().warnings)
