"""What the plan knows of how steps are computed: compiling, and blocks that are copied ahead."""

from __future__ import annotations

from tests.plan.test_fit import changed, fitted, job, small
from tests.plan.test_presets import CARD, GB
from training.plan import pays
from training.plan.estimate import estimate, peak_bytes


def test_auto_compiles_only_what_pays_and_says_why_not(monkeypatch):
    assert pays.compiles(small(engine__compile="on"))[0] and not pays.compiles(small())[0]
    asked = small(engine__compile="auto", steps=pays.LONG_STEPS)
    assert "nobody has measured" in pays.compiles(asked, "NVIDIA Made Up 1")[1]
    monkeypatch.setattr(pays, "PROVEN", ("Made Up",))
    assert pays.compiles(asked, "NVIDIA Made Up 1") == (True, "")
    assert "ends before it pays" in pays.compiles(small(engine__compile="auto", steps=pays.LONG_STEPS - 1), "NVIDIA Made Up 1")[1]
    assert "wait in RAM" in pays.compiles(small(engine__compile="auto", steps=9999, model__offload=0.5), "NVIDIA Made Up 1")[1]


def test_the_estimate_counts_the_minutes_of_compiling_and_says_so(home):
    plain, compiled, left = (estimate(small(engine__compile=how), CARD, 20, home) for how in ("off", "on", "auto"))
    assert compiled.seconds - plain.seconds == pays.COMPILE_S and left.seconds == plain.seconds
    assert any("Blocks are compiled before the first step" in text for text in compiled.sentences)
    assert any(text.startswith("Blocks are not compiled: ") for text in left.sentences)
    assert not any("ompiled" in text for text in plain.sentences)


def test_a_block_that_is_copied_ahead_is_counted_and_given_up_first(home):
    waiting = {"loss__gradient_checkpointing": "all", "model__offload": 1.0, "model__quantise_text": "nf4"}  # whose text encoder is not the highest point
    plain, ahead = job(**waiting), job(**waiting, engine__overlap=True)
    needs, more = peak_bytes(plain, home)[0], peak_bytes(ahead, home)[0]
    assert more > needs + 0.2 * GB
    assert changed(fitted(ahead, home, (needs + more) / 2 / GB)) == {"engine.overlap": False}
