"""Captions that say two things of which one must be wrong, as far as words and the pictures themselves tell.

Only what can hardly both be true is told, and mostly of tags: in sentences “not at night” and “a night lamp by day” are said too.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence

from . import tags
from .finding import Finding, some
from .listing import Picture
from .measuring import TINY_PX, Measured
from .timed import is_timed

ALONE = frozenset(["solo"])
# Tags that rule each other out in any picture.
NEVER: tuple[tuple[frozenset[str], frozenset[str]], ...] = (
    (ALONE, frozenset(["2girls", "3girls", "4girls", "5girls", "6+girls", "multiple girls", "2boys", "3boys", "4boys", "5boys", "6+boys", "multiple boys", "group", "crowd", "couple"])),
    (frozenset(["no humans"]), frozenset(["1girl", "1boy", "solo", "2girls", "2boys", "multiple girls", "multiple boys"])),
    (frozenset(["day", "daytime", "daylight", "midday", "noon"]), frozenset(["night", "nighttime", "night sky", "midnight", "starry sky"])),
    (frozenset(["monochrome", "greyscale", "grayscale", "black and white"]), frozenset(["colorful", "colourful", "full color", "full colour"])),
    (frozenset(["simple background", "white background", "grey background", "black background"]), frozenset(["detailed background", "scenery"])),
    (frozenset(["photo", "photograph", "photorealistic", "photo (medium)"]), frozenset(["drawing", "lineart", "anime coloring", "pixel art", "cel shading"])),
    (frozenset(["from above"]), frozenset(["from below"])),
)  # fmt: skip
# Tags that rule each other out where there is one figure.
NEVER_OF_ONE: tuple[tuple[frozenset[str], frozenset[str]], ...] = (
    (frozenset(["1girl"]), frozenset(["1boy"])),
    (frozenset(["long hair", "very long hair", "absurdly long hair"]), frozenset(["short hair", "very short hair", "bald"])),
    (frozenset(["closed eyes", "eyes closed"]), frozenset(["wide-eyed", "one eye closed"])),
    (frozenset(["open mouth"]), frozenset(["closed mouth"])),
    (frozenset(["standing"]), frozenset(["sitting", "lying", "kneeling", "squatting"])),
    (frozenset(["barefoot"]), frozenset(["shoes", "boots", "sneakers", "high heels"])),
    (frozenset(["full body"]), frozenset(["upper body", "portrait", "close-up", "cowboy shot", "headshot"])),
    (frozenset(["black hair"]), frozenset(["blonde hair", "white hair", "red hair", "pink hair"])),
)  # fmt: skip
GREY = frozenset(["monochrome", "greyscale", "grayscale", "black and white"])
COLOURED = 12.0  # levels by which its coloured parts differ from one tint; a toned print has 0, a compressed grey one 3


def clashing(captions: Sequence[str]) -> list[tuple[str, str]]:
    """Pairs of tags of one picture of which one must be wrong, as they are written."""
    here = {tags.spaced(key): shown for caption in captions for key, shown in tags.tags_of(caption).items()}
    one = bool(ALONE & set(here)) or (("1girl" in here) != ("1boy" in here) and not any(_several(key) for key in here))
    made = []
    for left, right in (*NEVER, *(NEVER_OF_ONE if one else ())):
        if left == frozenset(["1girl"]) and not ALONE & set(here):
            continue  # a girl and a boy may well be there together
        pair = next((k for k in here if k in left), None), next((k for k in here if k in right), None)
        if None not in pair:
            made.append((here[pair[0]], here[pair[1]]))  # type: ignore[index]
    return made


def of(picture: Picture) -> list[tuple[str, str]]:
    """Those in the captions of a picture; what is said of several scenes of a clip need not be true of one of them."""
    apart = [(caption,) for caption in picture.captions] if is_timed(picture.caption) else [picture.captions]
    return list(dict.fromkeys(pair for captions in apart for pair in clashing(captions)))


def _several(key: str) -> bool:
    return key[:1] in "23456" and key.endswith(("girls", "boys")) or key.startswith("multiple ") or key in ("group", "crowd", "couple")


def found(used: Sequence, every: Sequence, groups: Sequence[Sequence[str]], seen: Mapping[str, Measured]) -> list[Finding]:
    """used: the pictures that are judged.  every: all, those that are the same as another too.  groups: ids of near copies, each."""
    clashes = {p.id: pairs for p in used if (pairs := of(p))}
    said = []
    if clashes:
        words = dict.fromkeys(f"{a}” and “{b}" for pairs in clashes.values() for a, b in pairs)
        says = f"Its caption says {some(words)}: one of the two is wrong." if len(clashes) == 1 else f"Their captions say {some(words)}: one of the two is wrong."
        said.append(Finding("clash", "warn", "Captions that contradict themselves", says, "Open them on the Captions tab, and take out what is not to be seen.", tuple(clashes)))
    grey = tuple(p.id for p in used if not p.seconds and any(GREY & set(map(tags.spaced, tags.tags_of(c))) for c in p.captions) and coloured(seen[p.id]))
    if grey:
        says = "The caption says that there are no colours, and there are." if len(grey) == 1 else "Their captions say that there are no colours, and there are."
        said.append(Finding("grey", "warn", "Called colourless, but coloured", says, "Take that tag out, or leave the picture out.", grey))
    return [*said, *_told_twice(used, every), *_groups_that_differ(used, groups)]


def coloured(measured: Measured) -> bool:
    """Whether a picture has colours beyond doubt: many of its parts have, far more than a tint."""
    import numpy as np

    tiny = np.frombuffer(base64.b64decode(measured.tiny), np.uint8).reshape(TINY_PX * TINY_PX, 3).astype(np.float32)
    light = tiny.mean(axis=1, keepdims=True)
    toned = np.concatenate([light, np.ones_like(light)], axis=1)  # sepia and blue prints: the lighter, the more of one tint
    apart = tiny - toned @ np.linalg.lstsq(toned, tiny, rcond=None)[0]
    return float(np.quantile(np.abs(apart).max(axis=1), 0.8)) > COLOURED


def _told_twice(used: Sequence, every: Sequence) -> list[Finding]:
    """The same picture twice, with two captions: only one of them is learnt."""
    first = {p.sha256: p for p in used}
    other = [p for p in every if p.verdict == "duplicate" and p.sha256 in first and p.caption.strip() and p.caption.strip() != first[p.sha256].caption.strip()]
    if not other:
        return []
    ids = tuple(dict.fromkeys(id for p in other for id in (first[p.sha256].id, p.id)))
    return [Finding("twotold", "warn", "One picture, two captions", "The same picture is there twice with different captions; only the first is learnt, with its own.", "Give the first the better caption, and delete the other.", ids)]


def _groups_that_differ(used: Sequence, groups: Sequence[Sequence[str]]) -> list[Finding]:
    """Near copies whose captions cannot both be true."""
    told = {p.id: p.captions for p in used if not is_timed(p.caption)}
    apart = []
    for group in groups:
        alone = {pair for id in group for pair in clashing(told.get(id, ()))}
        together = set(clashing([c for id in group for c in told.get(id, ())]))
        if together - alone and not alone:
            apart += group
    if not apart:
        return []
    return [Finding("apart", "warn", "Alike, but described differently", "Nearly the same pictures have captions that cannot both be true.", "Look at them side by side, and mend the wrong one.", tuple(apart))]
