"""What Repair's sliders say: a factor for each block of a LoRA, and of a donor, as rules of the jobs that write files."""

from __future__ import annotations

import json
from pathlib import Path

from training.home import Home
from training.runs.adapters import named
from training.tools import repair
from training.tools.adapters import alike, opened
from training.tools.repair import Held, Rule

from ...language import tr

USUAL = {"own_blocks": 1.0, "other_blocks": 0.0}  # where a slider stands that was not moved: a LoRA acts, a donor gives nothing
SIDE = 2.0  # a slider's ends
MOST = 2000  # blocks of a form

Use = tuple[str, float]


def factors(text: str) -> dict[str, float]:
    """{block: factor} of a form's field; {} for what is none."""
    try:
        found = json.loads(text)
        return {str(k): max(-SIDE, min(SIDE, float(v))) for k, v in list(found.items())[:MOST]}
    except (ValueError, TypeError, AttributeError, RecursionError):
        return {}


def moved(text: str, changes: dict[str, float], usual: float) -> str:
    """The field after some sliders were moved."""
    found = {**factors(text), **{k: max(-SIDE, min(SIDE, v)) for k, v in changes.items()}}
    return json.dumps({k: v for k, v in found.items() if v != usual})


def file_of(home: Home, source: str) -> Path:
    """The file of a LoRA that is on this computer.  Raises ValueError, in plain words; never downloads."""
    path = Path(source).expanduser()
    if not path.is_file() and not (home.outputs / source.partition("/")[0]).is_dir():
        raise ValueError(tr("{file} is not on this computer; its blocks can be moved once it is: name a run or a .safetensors file", file=source))
    return named(source, home)


def held(home: Home, source: str) -> tuple[Held, ...]:
    """The blocks of a LoRA.  Raises ValueError, OSError."""
    return repair.blocks_in(file_of(home, source))


def recipe(home: Home, own: Use, own_blocks: str, donor: Use | None, other_blocks: str) -> tuple[list[Use], list[Rule]]:
    """(the LoRA and, where it gives something, the donor; the rules of their blocks).  Raises ValueError, OSError."""
    uses, rules = [own], repair.rules(held(home, own[0]), factors(own_blocks), 1)
    given = {k: v for k, v in factors(other_blocks).items() if v}
    if donor and given:
        if not alike([opened(file_of(home, own[0])), opened(file_of(home, donor[0]))]):
            raise ValueError(tr("the donor names its layers in another way than this LoRA; convert one of them on the Tools tab first, so that both are in one layout"))
        theirs = held(home, donor[0])
        uses.append(donor)
        rules += repair.rules(theirs, {b.name: given.get(b.name, 0.0) for b in theirs}, 2)
    if not rules and len(uses) == 1:
        raise ValueError(tr("Every block stands at 1; move a slider first"))
    return uses, rules
