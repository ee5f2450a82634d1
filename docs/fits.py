"""Writes docs/base-models.md: every base model with its size, its licence and what its presets are set to on cards of five sizes, by the estimate.

    python -m docs.fits
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from training.home import Home
from training.plan import estimate, presets
from training.plan.hardware import Machine
from training.plan.presets import Answers, Preset
from ui.tabs.train import draft, page

SIZES_GB = (8, 12, 16, 24, 48)
GB = 10**9
PICTURES = 20
PAGE = Path(__file__).with_name("base-models.md")
HEAD = """# Base models

Written by `python -m docs.fits` from the presets and the estimate; nothing in it was measured on a card. A row is a preset of a base model, in the order of the Train page: what people ask for first. *B* is
billions of weights, of all its networks. Below each size of card stands what the preset, *balanced*, is set to there, in a computer with twice as much RAM, 32 GB at least: the bits of the base model's frozen weights
(16, 8 or 4), *RAM* where blocks of it wait there, the side of a picture where it became smaller; – where nothing makes it fit. The Train page works it out for your own card, pictures and settings, and
says each change.

"""


def computer(gb: int) -> Machine:
    """One with a card of so much VRAM, that knows bf16 and fp8."""
    vram, ram = gb * GB, max(32, 2 * gb) * GB
    return Machine("a card", vram, int(0.97 * vram), ram, int(0.9 * ram), 2000 * GB, "a processor", 8, True, "580.1", (8, 9), False, "", vendor="nvidia")


def cell(preset: Preset, gb: int, home: Home) -> str:
    """What a preset is set to on a card."""
    at = computer(gb)
    config = presets.resolve(preset.id, Answers(trigger="zibbo", dataset="pictures"), at, PICTURES, home)
    if not estimate.estimate(config, at, PICTURES, home).fits:
        return "–"
    bits = {"none": "16", "int8": "8", "fp8": "8", "nf4": "4"}[config.model.quantise]
    asked = max(preset.config.get("data", {}).get("resolutions", (0,)))
    side = max(config.data.resolutions)
    return " ".join(filter(None, (bits, "RAM" if config.model.offload else "", f"{side} px" if side < asked else "")))


def rows(home: Home) -> list[str]:
    """A line of the table for every preset that trains from pictures or pairs of them, ours alone."""
    made = []
    for base in draft.bases(home, presets.list_presets(), computer(96)):
        shown = [p for p in base.presets if not base.builtin and (presets.FOLDER / f"{p.id}.yaml").is_file()]
        for at, preset in enumerate(shown):
            name = (f"[{base.title}]({base.licence[1]})", page.size(base), page.licence(base)) if at == 0 else ("", "", "")
            made.append(f"| {' | '.join((*name, preset.title, *(cell(preset, gb, home) for gb in SIZES_GB)))} |")
    return made


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        lines = rows(Home(Path(folder).resolve()).made())
    sizes = " | ".join(f"{gb} GB" for gb in SIZES_GB)
    PAGE.write_text(f"{HEAD}| base model, its licence | B | | learns | {sizes} |\n|{'---|' * (4 + len(SIZES_GB))}\n" + "\n".join(lines) + "\n", encoding="utf-8")
    print(f"{PAGE.name}: {len(lines)} rows")


if __name__ == "__main__":
    main()
