"""What the trigger word should absorb: traits that captions leave out on purpose, and where a caption says one all the same.

A picture is learnt as what its caption says.  What always belongs to the subject, such as the colour of its hair, goes into the trigger word
only where captions do not name it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache

from . import coverage, tags
from .finding import Finding, some

MOST, MOST_LETTERS = 100, 60
# Traits that stand for several words.  Of a tag its last words count: “white shirt” is a shirt, “shirt lift” is none.
GROUPS: dict[str, tuple[str, ...]] = {
    "hair": ("hair", "bangs", "ponytail", "twintails", "braid", "hair bun", "sidelocks", "ahoge", "pigtails", "bob cut", "hime cut", "afro", "dreadlocks", "blonde", "brunette", "redhead"),
    "eyes": ("eyes", "heterochromia"),
    "face": ("freckles", "beard", "mustache", "moustache", "stubble", "mole", "mole under eye", "scar", "scar on face", "wrinkles", "makeup", "lipstick", "eyeshadow", "facial hair"),
    "clothes": (
        "shirt", "blouse", "dress", "skirt", "pants", "trousers", "jeans", "shorts", "jacket", "coat", "hoodie", "sweater", "cardigan", "vest", "suit", "tie", "necktie", "bowtie", "scarf", "hat", "cap", "beret",
        "gloves", "socks", "stockings", "thighhighs", "pantyhose", "kneehighs", "shoes", "boots", "sneakers", "sandals", "uniform", "serafuku", "kimono", "yukata", "swimsuit", "bikini", "leotard", "apron", "cape",
        "cloak", "armor", "belt", "ribbon", "bow", "hairband", "hair ornament", "hair ribbon", "hair bow", "earrings", "necklace", "choker", "glasses", "sunglasses", "sleeves", "collar", "clothes", "outfit", "costume",
    ),
    "style": (
        "anime", "manga", "anime style", "cartoon", "comic", "illustration", "digital art", "digital illustration", "watercolor", "watercolour", "oil painting", "traditional media", "sketch", "lineart", "line art",
        "pixel art", "3d", "3d render", "render", "cel shading", "realistic", "photorealistic", "monochrome", "greyscale", "grayscale", "lowres", "retro artstyle", "art style", "painterly", "flat color", "concept art",
        "pencil drawing", "ink drawing", "vector art", "impressionist", "surreal", "anime coloring",
    ),
}  # fmt: skip
# What a part of the body is doing, which changes from picture to picture and belongs into the caption.
STATES = frozenset(["closed", "half", "open", "wide", "shut", "one", "no", "wet", "messy", "floating", "crossed", "rolling", "empty", "blank", "covered", "adjusting", "hand", "hands", "playing", "grabbing", "removed", "undressing", "holding", "narrowed", "squinting"])  # fmt: skip
SUGGESTED, IN_SHARE = 12, 0.3
FRONT = 0.6  # share of the captions that begin with one tag, which is the trigger word then
# Tags that say how many, how well drawn and how seen: nothing of a subject.  What coverage.py knows of sides, frames, places, light and faces is none either.
NO_TRAITS = frozenset(["1girl", "1boy", "solo", "2girls", "2boys", "multiple girls", "multiple boys", "looking at viewer", "smile", "open mouth", "closed mouth", "blush", "upper body", "full body", "cowboy shot", "portrait", "close-up", "standing", "sitting", "simple background", "white background", "grey background", "outdoors", "indoors", "day", "night", "sky", "masterpiece", "best quality", "highres", "absurdres", "high quality", "from side", "from behind", "from above", "from below", "profile", "female focus", "male focus", "no humans", "photo", "photograph", "woman", "man", "girl", "boy", "person", "teeth", "parted lips", "blurry", "blurry background", "depth of field"])  # fmt: skip
_WORD = re.compile(r"[^\W_]+")


def clean(trait: str) -> str:
    """A trait as it is kept: one line, small blanks, no commas.  Raises ValueError for an empty or a long one."""
    text = " ".join(trait.replace(",", " ").split())
    if not text or not _WORD.search(text):
        raise ValueError("type what captions should leave out, for example “brown hair”")
    if len(text) > MOST_LETTERS:
        raise ValueError(f"“{text[:20]}…” has {len(text)} letters; a trait is a word or two, {MOST_LETTERS} letters at most")
    return text


@lru_cache(maxsize=100_000)
def _words(text: str) -> tuple[str, ...]:
    return tuple(map(_singular, _WORD.findall(tags.key_of(text).replace("_", " "))))


def _singular(word: str) -> str:
    """Without the ending of a plural, roughly: the same for both."""
    if word.endswith(("sses", "shes", "ches", "xes")):
        return word[:-2]
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


@lru_cache(maxsize=500)
def _wanted(trait: str) -> tuple[tuple[str, ...], ...]:
    """The words of a trait, or of all that a group stands for."""
    return tuple(map(_words, GROUPS.get(trait.casefold(), (trait,))))


@lru_cache(maxsize=500)
def _pattern(trait: str) -> re.Pattern:
    """Where sentences say it: each as words of their own, also in the plural."""
    said = "|".join(r"[\s-]+".join(map(re.escape, words)) + "(?:s|es)?" for words in sorted(_wanted(trait), key=len, reverse=True))
    return re.compile(rf"(?<!\w)(?:{said})(?!\w)", re.IGNORECASE)


@lru_cache(maxsize=100_000)
def names(tag: str, trait: str) -> bool:
    """Whether a tag says a trait: it ends in the trait's last word, and has the others too.  “closed eyes” does not say “eyes”."""
    found = _words(tag)
    for words in _wanted(trait):
        if words and found and found[-1] == words[-1] and set(words) <= set(found) and not (len(found) > len(words) and STATES & set(found) - set(words)):
            return True
    return False


def leaking(caption: str, trait: str) -> tuple[list[str], list[str]]:
    """(tags of a caption that say a trait, words of its sentences that do)."""
    is_list = tags.is_tags(caption)
    pieces = tags.parse(caption).tags if is_list else []
    mine = [tags.name_of(p) for p in pieces if tags.is_short(p) and names(tags.name_of(p), trait)]
    told = " ".join(p for p in pieces if not tags.is_short(p)) if is_list else caption
    return mine, [m[0] for m in _pattern(trait).finditer(told)] if told else []


def without(caption: str, traits: Sequence[str]) -> str:
    """A caption without the tags that say one of these traits; its sentences stay, and so does one that would be empty then."""
    gone = [tag for trait in traits for tag in leaking(caption, trait)[0]]
    return (tags.remove(caption, gone) or caption) if gone else caption


def found(captions: Mapping[str, Sequence[str]], traits: Sequence[str]) -> list[Finding]:
    """For each trait that captions say all the same: which, and in which pictures.  captions: {picture: its captions}."""
    said = []
    for trait in traits:
        tagged, told, ids, by_hand = Counter(), Counter(), [], 0
        for id, mine in captions.items():
            here, there = zip(*(leaking(c, trait) for c in mine), strict=True) if mine else ((), ())
            tagged.update({t for one in here for t in one})
            told.update({t.casefold() for one in there for t in one})
            by_hand += any(there)
            if any(here) or any(there):
                ids.append(id)
        if not ids:
            continue
        todo = "Press the button to take those tags out; Undo brings them back." if tagged else ""
        if by_hand:
            by_hand_says = "1 of them is a sentence: edit it by hand on the Captions tab." if by_hand == 1 else f"{by_hand} of them are sentences: edit them by hand on the Captions tab."
            todo = f"{todo} {by_hand_says}".strip()
        words = some(t for t, _ in (tagged + told).most_common())
        says = f"The trigger word should absorb it, but 1 caption says {words}." if len(ids) == 1 else f"The trigger word should absorb it, but {len(ids)} captions say {words}."
        label = f"Take {len(tagged)} tags out of the captions" if len(tagged) > 1 else f"Take “{next(iter(tagged), '')}” out of the captions"
        said.append(Finding(f"leak {trait}", "warn", f"Captions that say “{trait}”", says, todo, tuple(ids), ("absorb", label) if tagged else ()))
    return said


def suggested(captions: Sequence[Sequence[str]], traits: Sequence[str], trigger: str = "") -> list[tuple[str, int]]:
    """[(tag or words, in how many pictures)] that most pictures share and no trait covers yet, the commonest first; groups that stand in captions before them."""
    of = sum(bool(mine) for mine in captions)
    covered = lambda tag: any(names(tag, trait) for trait in traits)
    fronts = Counter(tags.key_of(pieces[0]) for mine in captions for c in mine[:1] if (pieces := tags.parse(c).tags))
    front = next((tag for tag, n in fronts.most_common(1) if n >= FRONT * of), "")
    no_traits = {*map(tags.key_of, (trigger, front)), *NO_TRAITS, *(word for m in coverage.MATTERS for words in m.kinds.values() for word in words)}
    made = [(group, n) for group in GROUPS if group not in {t.casefold() for t in traits} and (n := sum(any(any(leaking(c, group)) for c in mine) for mine in captions))]
    for tag, number in tags.counts(captions):
        if number >= max(2, IN_SHARE * of) and tags.spaced(tags.key_of(tag)) not in no_traits and not covered(tag):
            made.append((tag, number))
    return made[:SUGGESTED]
