"""What a tile and the large view say of a clip: how long it is, what of it is learnt, where it cuts.  Pure; escaped.  assets/clips.js plays it and lets it be trimmed."""

from __future__ import annotations

from training.data.datasets import Picture
from training.data.frames import scenes

from ...language import point, tr, trn


def length(picture: Picture) -> str:
    """How long a clip is, and of how many scenes; "" for a picture."""
    if not picture.seconds:
        return ""
    whole, found = point(f"{picture.seconds:.1f}"), scenes(picture)
    said = tr("clip, {seconds} s", seconds=whole)
    if picture.treatment.trim:
        part = picture.treatment.until(picture.seconds) - picture.treatment.start_s
        said = tr("clip, {part} of {seconds} s", part=point(f"{part:.1f}"), seconds=whole)
    return said + (f" · {trn('{n} scene', '{n} scenes', len(found))}" if len(found) > 1 else "")


def attributes(picture: Picture) -> str:
    """What the large view needs of a clip: its length, where it cuts, what of it is learnt."""
    if not picture.seconds:
        return ""
    cuts = " ".join(f"{at:.3f}" for at in picture.cuts)
    return f' data-seconds="{picture.seconds:.3f}"' + (f' data-cuts="{cuts}"' if cuts else "") + (f' data-trim="{picture.treatment.trim}"' if picture.treatment.trim else "")
