"""What became of files that were offered to a dataset, one by one and in a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

LEFT_OUT = {"control": "control picture", "regular": "regularisation picture", "drawn": "picture of earlier results", "unused": "unused picture"}  # kinds of verdicts


@dataclass(frozen=True)
class Verdict:
    """What became of one file that was offered.  reason: why not, or what to know.  id: the picture it became or belongs to."""

    file: str
    ok: bool
    reason: str = ""
    id: str = ""
    kind: str = "picture"  # picture, clip, caption, empty (a caption), table (of captions), mask, control, duplicate, skipped, archive, folder, prompts (that may become captions), graph (in which no prompt was found), or one of LEFT_OUT


def summary(verdicts: Sequence[Verdict]) -> str:
    """One sentence on what became of the files: '24 pictures added, 20 captions paired, 3 refused'."""
    pictures = sum(v.ok and v.kind == "picture" for v in verdicts)
    texts = sum(v.ok and v.kind == "caption" for v in verdicts)
    masks = sum(v.ok and v.kind == "mask" for v in verdicts)
    twice = sum(v.kind == "duplicate" for v in verdicts)
    controls = sum(v.ok and v.kind == "control" for v in verdicts)
    refused = sum(not v.ok and v.kind not in ("duplicate", "skipped", *LEFT_OUT) for v in verdicts)
    clips = sum(v.ok and v.kind == "clip" for v in verdicts)
    said = [f"{counted(pictures, 'picture')} added"] if pictures or not (clips or controls) else []
    said += [f"{counted(clips, 'clip')} added"] if clips else []
    said += [f"{counted(texts, 'caption')} paired"] if texts else []
    said += [f"{counted(masks, 'mask')} paired"] if masks else []
    said += [f"{counted(controls, 'control picture')} paired"] if controls else []
    said += [f"{twice} already there"] if twice else []
    said += [f"{refused} refused"] if refused else []
    said += [f"{counted(number, name)} left out" for kind, name in LEFT_OUT.items() if (number := sum(v.kind == kind and not v.ok for v in verdicts))]
    said += [v.reason for v in verdicts if v.kind == "skipped"]
    return ", ".join(said)


def counted(number: int, noun: str) -> str:
    """'1 picture', '24 pictures', '2 pictures of earlier results'."""
    thing, of, what = noun.partition(" of ")
    return f"{number} {noun}" if number == 1 else f"{number} {thing}s{of}{what}"
