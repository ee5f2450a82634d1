"""What a dataset does not show, as far as captions and the pictures themselves say it; and, where captions say nothing, that it cannot be known.

A caption that does not say a thing does not say that it is not there.  So only those count that speak of the matter at all (how it is framed,
from which side, where, in which light), and where few do, nothing is concluded from them.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from .finding import Finding

if TYPE_CHECKING:
    from .measuring import Measured

ENOUGH, SPEAK = 8, 0.4  # captions that speak of a matter before anything is concluded from them, and their share of all
SILENT = 0.2  # share below which a matter cannot be known
MOSTLY = 0.85  # share that is too much of one kind
JUDGED_FROM = 10  # pictures
BRIGHTNESS, COLOUR, EDGE = 12.0, 8.0, 14.0  # levels around the middle one within which pictures are as light, as coloured, and have the same edge
MANY, NEW_SHARE = 60, 0.05  # pictures from which more may add nothing, and the share of new tags in their second half
SUBJECTS = ("character", "object")  # goals that are one thing in many pictures


@dataclass(frozen=True)
class Matter:
    """One thing that pictures of a goal should differ in.  kinds: {how it may be: words that say so}.  needed: kinds without which something is missing."""

    name: str
    kinds: dict[str, tuple[str, ...]]
    needed: tuple[str, ...] = ()
    alike: str = ""  # title where nearly all are of one kind
    goals: tuple[str, ...] = SUBJECTS


MATTERS = (
    Matter("the side they are seen from", {
        "front": ("looking at viewer", "looking at the viewer", "looking at the camera", "facing viewer", "facing the viewer", "facing the camera", "faces the camera", "faces the viewer", "toward the viewer", "towards the viewer", "toward the camera", "towards the camera", "front view", "from the front", "straight-on", "into the camera", "frontal"),
        "profile": ("profile", "from side", "from the side", "side view", "side-view", "side profile", "sideways", "three-quarter view", "three quarter view", "over the shoulder", "over her shoulder", "over his shoulder", "over the near shoulder", "over one shoulder"),
        "back": ("from behind", "back view", "rear view", "from the back", "facing away", "turned away", "back to the camera", "back to the viewer", "seen from behind"),
    }, ("profile", "back"), "Seen from one side"),
    Matter("how much is in the frame", {
        "close": ("close-up", "closeup", "close up", "portrait", "headshot", "head shot", "face focus", "extreme closeup", "tight shot"),
        "half": ("upper body", "upper-body", "cowboy shot", "medium shot", "half body", "half-body", "waist up", "waist-up", "bust", "mid-shot", "medium close-up", "three-quarter-length", "three-quarter shot", "knees up", "thighs up"),
        "full": ("full body", "full-body", "full length", "full-length", "whole body", "head to toe", "wide shot", "full shot", "full view", "long shot", "wide view", "very wide shot"),
    }, ("close", "full"), "Framed in one way"),
    Matter("the place", {
        "in a room": ("indoors", "indoor", "room", "bedroom", "kitchen", "bathroom", "living room", "office", "classroom", "library", "hallway", "cafe", "restaurant", "bar", "shop", "gym", "couch", "sofa", "bed", "interior"),
        "in town": ("street", "city", "cityscape", "building", "buildings", "road", "alley", "town", "urban", "rooftop", "train station", "sidewalk", "plaza"),
        "in the open": ("outdoors", "outdoor", "forest", "park", "garden", "beach", "mountain", "mountains", "field", "lake", "river", "ocean", "sea", "tree", "trees", "grass", "snow", "desert", "meadow", "pool", "nature"),
        "before a plain ground": ("simple background", "plain background", "white background", "grey background", "gray background", "black background", "pink background", "blue background", "solid background", "blank background", "gradient background", "studio backdrop", "plain white", "plain grey"),
    }, (), "One kind of place only"),
    Matter("the light", {
        "by day": ("day", "daylight", "daytime", "sunlight", "sunny", "sunlit", "noon", "morning", "blue sky", "natural light", "overcast", "bright sky"),
        "at night": ("night", "nighttime", "night sky", "moonlight", "moonlit", "midnight", "dark room", "starry sky"),
        "at dusk": ("sunset", "sunrise", "dusk", "dawn", "twilight", "golden hour", "evening"),
        "by lamps": ("candlelight", "lamplight", "neon lights", "studio lighting", "studio light", "indoor lighting", "flash", "stage lights", "spotlight", "firelight", "fluorescent"),
    }, (), "The same light"),
    Matter("the expression", {
        "smiling": ("smile", "smiling", "smiles", "grin", "grinning", "laughing", "laughs", "happy"),
        "serious": ("serious", "expressionless", "neutral expression", "calm", "stoic", "solemn", "blank expression", "closed mouth", "calm expression", "gentle expression"),
        "moved": ("angry", "sad", "crying", "surprised", "scared", "frown", "frowning", "shouting", "screaming", "tears", "startled", "embarrassed", "worried", "pained"),
    }, (), "One expression only", ("character",)),
    Matter("what is shown", {
        "people": ("1girl", "1boy", "2girls", "woman", "women", "man", "men", "girl", "boy", "person", "people", "child", "couple", "lady", "he", "she"),
        "animals": ("cat", "dog", "horse", "bird", "animal", "fox", "wolf", "rabbit", "fish", "bear", "deer"),
        "places": ("landscape", "scenery", "no humans", "mountain", "forest", "city", "street", "building", "room", "beach", "sea", "garden", "house", "castle"),
        "things": ("still life", "car", "flower", "flowers", "food", "fruit", "bottle", "vase", "boat", "ship", "train", "machine", "robot"),
    }, (), "One kind of subject only", ("style",)),
)  # fmt: skip
# kinds that no picture is of -> (title, what no caption says)
MISSING = {
    ("profile",): ("No profile views", "profile"), ("back",): ("No back views", "back"), ("profile", "back"): ("No profile and no back views", "profile or back"),
    ("close",): ("No close-up pictures", "close-up"), ("full",): ("No full-length pictures", "full-length"), ("close", "full"): ("No close-up and no full-length pictures", "close-up or full-length"),
}  # fmt: skip
ADVICE = {
    "the side they are seen from": "Add some from the side and from behind, or it will be drawn from the front only.",
    "how much is in the frame": "Add some that are closer, and some that show all of it.",
    "the place": "Add other places, or that one is learnt along with it.",
    "the light": "Add some in another light, or that one is learnt along with it.",
    "the expression": "Add other expressions, or that one is learnt along with the face.",
    "what is shown": "Add other subjects, or the style is learnt as that subject.",
}


@lru_cache(maxsize=200)
def _pattern(words: tuple[str, ...]) -> re.Pattern:
    return re.compile(r"(?<![\w-])(?:" + "|".join(map(re.escape, sorted(words, key=len, reverse=True))) + r")(?![\w-])")


@lru_cache(maxsize=50_000)
def _folded(caption: str) -> str:
    return caption.casefold().replace("_", " ")


def kinds(matter: Matter, captions: Sequence[str]) -> frozenset[str]:
    """How a picture is in this matter, as its captions say; empty where they do not."""
    text = " \n".join(map(_folded, captions))
    return frozenset(kind for kind, words in matter.kinds.items() if _pattern(words).search(text))


def found(used: Sequence, seen: Mapping[str, Measured], goal: str, different: int) -> list[Finding]:
    """What is missing for a goal: character, object or style; [] for another, which wants something else.  different: pictures, near copies once."""
    matters = [m for m in MATTERS if goal in m.goals]
    if not matters or len(used) < JUDGED_FROM:
        return []
    told = {p.id: p.captions for p in used if any(c.strip() for c in p.captions)}
    said, silent = [], []
    for matter in matters:
        spoken = {id: k for id, c in told.items() if (k := kinds(matter, c))}
        if len(spoken) < max(2, SILENT * len(used)):
            silent.append(matter.name)
        elif len(spoken) >= max(ENOUGH, SPEAK * len(used)):
            said += _one_sided(matter, spoken)
    if silent:
        said.append(_unsaid(silent, len(told), [p.id for p in used if p.id not in told] or [p.id for p in used]))
    return [*said, *_measured([p for p in used if not p.seconds], seen), *(_enough(used, different) if goal in SUBJECTS else [])]


def _one_sided(matter: Matter, spoken: Mapping[str, frozenset[str]]) -> list[Finding]:
    of = len(spoken)
    key = matter.name.rpartition(" ")[2]
    gone = [kind for kind in matter.needed if not any(kind in k for k in spoken.values())]
    if gone:
        title, lacking = MISSING[tuple(gone)]
        says = f"{of} captions say {matter.name}, and none of them says {lacking}."
        return [Finding(f"missing {key}", "note", title, says, ADVICE[matter.name], tuple(spoken))]
    most, number = max(((kind, sum(k == {kind} for k in spoken.values())) for kind in matter.kinds), key=lambda row: row[1])
    if number < MOSTLY * of:
        return []
    says = f"{number} of the {of} captions that say {matter.name} have “{most}” alone."
    return [Finding(f"missing {key}", "note", matter.alike, says, ADVICE[matter.name], tuple(id for id, k in spoken.items() if k == {most}))]


def listed(names: Sequence[str]) -> str:
    """a, b and c."""
    return ", ".join(names[:-1]) + (" and " if names[:-1] else "") + names[-1]


def _unsaid(silent: Sequence[str], told: int, ids: Sequence[str]) -> Finding:
    what = listed(silent)
    few = "No picture has a caption" if not told else "Too few captions say it"
    return Finding("unsaid", "note", "What cannot be known", f"Whether something is missing in {what} cannot be told. {few}, and no model looks at the pictures here.", "Look through them yourself, or caption them on the Captions tab and check again.", tuple(ids))


def _measured(still: Sequence, seen: Mapping[str, Measured]) -> list[Finding]:
    """What the pictures themselves tell: that nearly all are equally light and coloured, or lie on the same ground."""
    import numpy as np

    from .measuring import TINY_PX  # brings numpy, which a list of words does without

    if len(still) < JUDGED_FROM:
        return []
    tiny = np.frombuffer(b"".join(base64.b64decode(seen[p.id].tiny) for p in still), np.uint8).reshape(len(still), TINY_PX, TINY_PX, 3).astype(np.float32)
    mean = tiny.mean(axis=(1, 2))
    light = mean @ np.array([0.299, 0.587, 0.114], np.float32)
    warm = np.stack([mean[:, 0] - mean[:, 1], mean[:, 2] - mean[:, 1]], axis=1)
    alike = (np.abs(light - np.median(light)) <= BRIGHTNESS) & (np.abs(warm - np.median(warm, axis=0)).max(axis=1) <= COLOUR)
    inner = np.zeros((TINY_PX, TINY_PX), bool)
    inner[1:-1, 1:-1] = True
    edge = tiny[:, ~inner]
    same = np.abs(edge - np.median(edge, axis=0)).mean(axis=(1, 2)) <= EDGE
    said = []
    for key, title, hits, says, todo in (
        ("ground", "The same background", same, f"{int(same.sum())} of {len(still)} pictures have nearly the same edge all around: one place, or one plain ground.", "Add other backgrounds, or this one is learnt along with it."),
        ("light", "The same light", alike, f"{int(alike.sum())} of {len(still)} pictures are equally light and have the same colours on the whole.", "Add some in another light, or this one is learnt along with it."),
    ):
        if hits.sum() >= MOSTLY * len(still) and not said:  # a plain ground makes all equally light
            said.append(Finding(key, "note", title, says, todo, tuple(p.id for p, hit in zip(still, hits, strict=True) if hit)))
    return said


def _enough(used: Sequence, different: int) -> list[Finding]:
    """Whether more pictures of one subject still say something new, by their tags: the second half against the first."""
    from .tags import tags_of

    told = [frozenset(key for c in p.captions for key in tags_of(c)) for p in sorted(used, key=lambda p: p.sha256)]
    told = [keys for keys in told if keys]
    if different < MANY or len(told) < MANY:
        return []
    first, second = (frozenset().union(*half) for half in (told[: len(told) // 2], told[len(told) // 2 :]))
    new = len(second - first) / len(first | second)
    if new >= NEW_SHARE:
        return []
    says = f"Half of the {len(told)} captions name all but {new:.0%} of what is named at all; 20 to 30 pictures are usual for one subject."
    return [Finding("enough", "note", "More adds little", says, "It does no harm. Fewer, chosen to differ, train as well and are easier to caption.", tuple(p.id for p in used))]
