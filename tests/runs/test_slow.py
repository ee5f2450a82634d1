"""Why a training is slow, told from samples of measurements."""

import pytest

from training.runs import slow
from training.runs.slow import Gauges, Measured, reasons

GB = 10**9


@pytest.mark.parametrize(
    ("measured", "kind", "says"),
    [
        (Measured(4.0, 1.0, vram_used=int(23.8 * GB), vram_total=24 * GB, spills=True, on_processor=False), "spill", "23.8 of 24.0 GB"),
        (Measured(1.0, vram_used=8 * GB, vram_total=8 * GB, vram_held=9 * GB, spills=False, on_processor=False), "spill", "keeps a part in RAM"),
        (Measured(1.0, swapped_bytes_s=80e6), "swap", "Close other programs"),
        (Measured(1.0, stalled_percent=35.0), "swap", "memory (RAM) is full"),
        (Measured(1.0, card_reasons=0x40, card_celsius=91, on_processor=False), "hot", "(91 °C)"),
        (Measured(1.0, card_reasons=0x20, on_processor=False), "hot", "too hot and"),
        (Measured(1.0, card_reasons=0x80, on_processor=False), "power", "too little power"),
        (Measured(2.0, 1.0, processor_hot=True), "hot processor", "processor is too hot"),
        (Measured(1.0, 1.0, waiting=0.6), "disk", "60%"),
        (Measured(3.0, 1.0, others=0.7), "others", "70% of the processor, so a step takes 3 s instead of 1 s"),
        (Measured(3.0, 1.0), "slow", "3.0 times as long as runs like it"),
        (Measured(3.0, 1.0, by_itself=True), "slow", "this run at its best"),
    ],
)
def test_each_reason_is_told_by_its_numbers(measured, kind, says):
    found = reasons(measured)
    assert list(found) == [kind] and says in found[kind]


@pytest.mark.parametrize(
    "measured",
    [
        Measured(1.0), Measured(1.5, 1.0), Measured(1.0, 1.0, others=0.9, processor_hot=True), Measured(1.0, 1.0, swapped_bytes_s=1e5, stalled_percent=1.0, waiting=0.2),
        Measured(1.0, 1.0, vram_used=24 * GB, vram_total=24 * GB, spills=True, on_processor=False), Measured(1.0, 1.0, card_reasons=0x4 | 0x1, on_processor=False),
    ],
)  # fmt: skip
def test_a_training_that_is_as_fast_as_it_should_be_says_nothing(measured):
    assert reasons(measured) == {}


def test_the_gauges_of_this_computer_give_numbers():
    found = Gauges().look()
    Measured(1.0, **found)
    assert found["swapped_bytes_s"] >= 0 and 0 <= found["others"] <= 1 and 0 <= found["stalled_percent"] <= 100


def test_pressure_and_heat_are_read_where_the_system_writes_them(tmp_path):
    (tmp_path / "memory").write_text("some avg10=12.50 avg60=1 avg300=0 total=5\nfull avg10=11.25 avg60=1 avg300=0 total=4\n")
    assert slow._stalled(tmp_path / "memory") == 11.25 and slow._stalled(tmp_path / "nowhere") == 0.0
    for n in (0, 1):
        (tmp_path / f"cpu{n}" / "thermal_throttle").mkdir(parents=True)
        (tmp_path / f"cpu{n}" / "thermal_throttle" / "core_throttle_count").write_text("3\n")
    assert slow._throttles(tmp_path) == 6


def test_where_there_is_no_driver_of_nvidias_there_is_no_such_card():
    assert slow.Card.of("GPU-00000000-0000-0000-0000-000000000000") is None
