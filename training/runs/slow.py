"""Why a training is slow, told from measurements, and how they are taken where the system tells them.  No torch.

A training seldom says that it is slow: the driver moves the card's memory into RAM, the computer swaps, the card or the processor cools itself by
computing less, or a network disk makes every step wait.  Each has numbers that give it away.
"""

from __future__ import annotations

import ctypes
import os
import platform
import re
import time
from dataclasses import dataclass
from pathlib import Path

SLOW = 1.7  # times what was expected; below it runs of the same settings differ from day to day
WAITING = 0.35  # share of the time in which nothing but the disk works
SWAPPING_BYTES_S = 5e6  # a full memory moves some hundred MB a second; a computer at peace next to nothing
STALLED_PERCENT = 10.0  # of the time everything waits for memory (Linux: /proc/pressure/memory, full)
NEARLY = 0.97  # of the card's memory: with less than that left, something was moved out
CROWDED = 0.4  # share of the processor that other programs take
HEAT, BRAKE = 0x20 | 0x40, 0x80  # NVML's reasons why clocks are low: software and hardware thermal slowdown; the power supply's brake
WINDOWS = os.name == "nt" or "microsoft" in platform.release().lower()  # there the driver spills; on Linux an allocation fails instead


@dataclass(frozen=True)
class Measured:
    """What was measured over a while of training.  0 and -1: not known."""

    step_s: float
    expected_s: float = 0.0  # a step of runs like it on this computer took, or of this one at its best
    by_itself: bool = False  # expected_s is this run's own
    waiting: float = 0.0  # share of the time in which what was encoded is read from the disk
    vram_used: int = 0  # bytes of the card, by all programs
    vram_total: int = 0
    vram_held: int = 0  # bytes that this process alone holds
    spills: bool = WINDOWS  # whether this system's driver moves VRAM into RAM without a word
    swapped_bytes_s: float = 0.0
    stalled_percent: float = 0.0
    card_reasons: int = 0
    card_celsius: int = -1
    processor_hot: bool = False
    others: float = 0.0  # share of the processor that other programs take
    on_processor: bool = True


def reasons(m: Measured) -> dict[str, str]:
    """{kind: one sentence with what to do} for what slows it down; {} where it is as fast as it should be, or nobody can tell."""
    slow = m.expected_s > 0 and m.step_s > SLOW * m.expected_s
    found = {}
    if m.vram_total and (m.vram_held > m.vram_total or (m.spills and slow and m.vram_used >= NEARLY * m.vram_total)):
        found["spill"] = (
            f"The graphics card's memory is full ({m.vram_used / 1e9:.1f} of {m.vram_total / 1e9:.1f} GB), so its driver keeps a part in RAM, which is many times slower. "
            "Close other programs that use the card; if that is not enough, stop, and press Make it fit in a new run"
        )
    if m.swapped_bytes_s > SWAPPING_BYTES_S or m.stalled_percent > STALLED_PERCENT:
        found["swap"] = "The computer's memory (RAM) is full, so it keeps moving things to the disk and back, and everything waits. Close other programs; if that is not enough, stop, and press Make it fit in a new run"
    if m.card_reasons & HEAT:
        found["hot"] = (
            f"The graphics card is too hot ({m.card_celsius} °C) and computes more slowly to cool down. Give it air, clean its fans, or lower its power limit; training goes on"
            if m.card_celsius > 0
            else "The graphics card is too hot and computes more slowly to cool down. Give it air, clean its fans, or lower its power limit; training goes on"
        )
    elif m.card_reasons & BRAKE:
        found["power"] = "The graphics card gets too little power and computes more slowly. See that its cables sit well and that the power supply is strong enough; a laptop wants its own charger"
    if m.processor_hot and (slow or not m.expected_s) and m.on_processor:
        found["hot processor"] = "The processor is too hot and computes more slowly to cool down. Give it air; training goes on"
    if m.waiting > WAITING:
        found["disk"] = f"{m.waiting:.0%} of the time is spent waiting for the disk on which Easel keeps what it has encoded. A faster disk helps: move Easel's folder there, and start with --home"
    if slow and not found and m.on_processor and m.others > CROWDED:
        found["others"] = f"Other programs take {m.others:.0%} of the processor, so a step takes {_seconds(m.step_s)} instead of {_seconds(m.expected_s)}. Training goes on; it is faster without them"
    if slow and not found:
        took, times = _seconds(m.step_s), f"{m.step_s / m.expected_s:.1f}"
        found["slow"] = (
            f"A step takes {took}, {times} times as long as this run at its best; nothing that can be measured says why. See what else uses this computer"
            if m.by_itself
            else f"A step takes {took}, {times} times as long as runs like it took on this computer; nothing that can be measured says why. See what else uses this computer"
        )
    return found


def _seconds(s: float) -> str:
    return f"{s:.2g} s" if s < 10 else f"{s:.0f} s"


class Gauges:
    """What this computer tells of itself since the last look; what it does not tell stays 0."""

    def __init__(self, card_uuid: str = ""):
        self.card = Card.of(card_uuid) if card_uuid else None
        self._t, self._swapped, self._throttled, self._busy, self._own = time.monotonic(), *_counters()

    def look(self) -> dict:
        """The fields of Measured that are not the training's own."""
        t, swapped, throttled, busy, own = time.monotonic(), *_counters()
        wall = max(t - self._t, 1e-3)
        cores = os.cpu_count() or 1
        found = {
            "swapped_bytes_s": max(0.0, swapped - self._swapped) / wall,
            "stalled_percent": _stalled(),
            "processor_hot": throttled > self._throttled,
            "others": min(1.0, max(0.0, (busy - self._busy) - (own - self._own)) / (wall * cores)),
        }
        self._t, self._swapped, self._throttled, self._busy, self._own = t, swapped, throttled, busy, own
        return found | (self.card.look() if self.card else {})


def _counters() -> tuple[float, int, float, float]:
    """(bytes swapped so far, times that the processor was too hot, busy seconds of all cores, of this process)."""
    import psutil

    try:
        swap = psutil.swap_memory()
        swapped = float(swap.sin + swap.sout)
    except (OSError, RuntimeError):  # not told in some containers
        swapped = 0.0
    times, own = psutil.cpu_times(), psutil.Process().cpu_times()
    return swapped, _throttles(), sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0), own.user + own.system


def _throttles(where: Path = Path("/sys/devices/system/cpu")) -> int:
    total = 0
    for path in where.glob("cpu[0-9]*/thermal_throttle/core_throttle_count"):
        try:
            total += int(path.read_text())
        except (OSError, ValueError):
            continue
    return total


def _stalled(path: Path = Path("/proc/pressure/memory")) -> float:
    try:
        found = re.search(r"^full avg10=([\d.]+)", path.read_text(), re.MULTILINE)
    except OSError:
        return 0.0
    return float(found[1]) if found else 0.0


class Card:
    """An NVIDIA card as the driver's own library (NVML) tells of it."""

    def __init__(self, library, handle):
        self._library, self._handle = library, handle

    @classmethod
    def of(cls, uuid: str) -> Card | None:
        """The card of that UUID; None where there is no such library, as with other makers' cards."""
        try:
            library = ctypes.CDLL("nvml.dll" if os.name == "nt" else "libnvidia-ml.so.1")
            handle = ctypes.c_void_p()
            if library.nvmlInit_v2() or library.nvmlDeviceGetHandleByUUID(uuid.encode(), ctypes.byref(handle)):
                return None
        except (OSError, AttributeError):
            return None
        return cls(library, handle)

    def look(self) -> dict[str, int]:
        """Why its clocks are low, as NVML's bits, and how hot it is."""
        bits, celsius = ctypes.c_ulonglong(), ctypes.c_uint()
        try:
            known = not self._library.nvmlDeviceGetCurrentClocksThrottleReasons(self._handle, ctypes.byref(bits))
            warm = not self._library.nvmlDeviceGetTemperature(self._handle, 0, ctypes.byref(celsius))
        except AttributeError:  # a library of another age
            return {}
        return {"card_reasons": bits.value if known else 0, "card_celsius": celsius.value if warm else -1}
