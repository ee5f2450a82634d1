"""Is this dataset good?  A grade, and what to do: each finding with its pictures.

Judged is only what numbers can tell (measuring.py).  Faces, watermarks, several subjects and mixed styles are not: nothing here could know
them, and a wrong alarm costs more trust than a missing one.
"""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

from ..outside import read_json
from . import absorbing, befores, captions, contradictions, coverage
from .controls import Control
from .datasets import Dataset, Picture, Progress
from .finding import Finding
from .gate import Gate, gated
from .measuring import TINY_PX, Measured, is_measured
from .memory import write_text_whole

if TYPE_CHECKING:
    from ..engine.buckets import Crop

FILE = "health.json"
MAX_BYTES = 256 << 20

FLOOR, USUAL = 10, 20  # pictures: with fewer than 10 an adapter mostly learns these very pictures; 20 to 30 are what most guides name
LARGER = 1.3  # times that a picture is enlarged before it looks soft
LOST = 0.2  # share that the crop takes away; buckets alone cost up to 0.12
BLUR_PX = 1.3  # at the training size; a camera's picture has 0.5, and one blurred by 1.5 px measures 1.3
DARK = 80.0  # level below which 99% of a dark picture lies
BRIGHT, WHITE = 130.0, 0.5  # level above which 99% of a blown-out picture lies, and the share of it that is pure white
ONE_COLOUR = 6.0  # levels of spread; a drawing in two flat colours has 30 and more
QUALITY, SHRUNK = 60, 0.5  # JPEG quality from which blocks show, unless the picture is shrunk by half, which averages them away
FRAME = 0.02  # share of height or width
SAME_SHAPE, SAME_COLOUR, SAME_CELL = 0.985, 10.0, 40.0  # of tiny pictures: correlation, mean and largest difference in levels
ALIKE = 1 / 3  # share of the pictures that are nearly others
SAME_CAPTION = 0.25  # share of the captions that are one and the same
BEGIN = 0.6  # share of the captions that begin with one word
USUAL_WORDS = frozenset((  # what captions begin with anyway
    "a", "an", "the", "this", "in", "on", "photo", "photograph", "picture", "image", "portrait", "painting", "drawing", "illustration",
    "1girl", "1boy", "solo", "man", "woman", "person",
))  # fmt: skip


@lru_cache(maxsize=32)
def _sizes(side_px: int, divisor: int, max_aspect: float) -> list[tuple[int, int]]:
    from ..engine.buckets import bucket_sizes

    return bucket_sizes(side_px, divisor, max_aspect)


@dataclass(frozen=True)
class Goal:
    """What the dataset is to be learnt at.  side_px: of a square training picture; batch: pictures in one step.

    what: what is learnt, as presets say it (character, object, style), "" where that is not known.  absorbs: traits that captions leave out.
    control: what lies beside the pictures is shown to a network beside the denoiser, so that nothing is judged as an edit.
    """

    side_px: int = 1024
    max_aspect: float = 2.0
    divisor: int = 32
    batch: int = 1
    trigger: str = ""
    what: str = ""
    absorbs: tuple[str, ...] = ()
    control: bool = False

    def of(self, ds: Dataset) -> Goal:
        """The goal with what a dataset itself says of it."""
        return replace(self, absorbs=ds.absorbs)

    def crop(self, picture: Picture) -> Crop:
        """How a picture becomes a training picture."""
        from ..engine.buckets import choose, crop_to  # the page is built without the engine

        return crop_to(picture.width, picture.height, choose(picture.width, picture.height, self.sizes()), picture.focus)

    def sizes(self) -> list[tuple[int, int]]:
        """The buckets, (width, height) px each."""
        return _sizes(self.side_px, self.divisor, self.max_aspect)


@dataclass(frozen=True)
class Bucket:
    """Pictures that are trained at one size, px."""

    width: int
    height: int
    ids: tuple[str, ...]


@dataclass(frozen=True)
class Health:
    """The outcome.  grade: A to D, with `word` for it.  count: pictures judged."""

    grade: str
    word: str
    count: int
    findings: tuple[Finding, ...]
    buckets: tuple[Bucket, ...]
    goal: Goal
    print: str  # of what was judged: another one, and the outcome is old
    out: int = 0  # pictures that their owner left out, which are not judged

    def finding(self, key: str) -> Finding | None:
        """The finding of that key."""
        return next((f for f in self.findings if f.key == key), None)

    @property
    def partial(self) -> int:
        """How many steps of an epoch hold fewer pictures than a whole batch."""
        return sum(bool(len(b.ids) % self.goal.batch) for b in self.buckets)


GRADES = ((90, "A", "Ready to train"), (75, "B", "Good, with something to look at"), (55, "C", "Will train; mending it helps"), (0, "D", "Mend this first"))


def check(ds: Dataset, goal: Goal, on_progress: Progress | None = None) -> Health:
    """The health of a dataset; what was never measured is measured first, by the gate.  Raises ValueError for a goal that has no buckets."""
    goal = goal.of(ds)
    goal.sizes()
    ds.check(on_progress=on_progress)
    pictures = ds.pictures()
    known = remembered(ds)
    wanted: dict[str, Picture | Control] = {}
    for p in pictures:
        wanted |= {one.sha256: one for one in _with_befores(p) if p.usable and one.sha256 not in known}
    missing = list(wanted.values())
    try:
        for done, (digest, found) in enumerate(gated(missing, _measured), 1):
            if found is not None:
                known[digest] = Measured(**found)
            if on_progress:
                on_progress(done, len(missing), missing[done - 1].path.name)
    finally:
        if missing:
            present = {one.sha256 for p in pictures for one in _with_befores(p)}
            write_text_whole(ds.meta / FILE, json.dumps({"version": 1, "pictures": {k: vars(v) for k, v in known.items() if k in present}}))
    return judge(pictures, known, goal)


def remembered(ds: Dataset) -> dict[str, Measured]:
    """{sha256: what was measured} of the pictures that were looked at before."""
    with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):  # it is only a memory: everything is measured again
        found = read_json(ds.meta / FILE, MAX_BYTES)["pictures"]
        return {k: Measured(**v) for k, v in found.items() if is_measured(v)}
    return {}


def print_of(pictures: Sequence[Picture], goal: Goal) -> str:
    """A short text that changes with whatever the outcome depends on."""
    import hashlib

    return hashlib.sha256(repr([(p.id, p.sha256, p.verdict, p.caption, p.captions, p.focus, p.treatment.view, [c.sha256 for c in p.references]) for p in pictures] + [goal]).encode("utf-8", "surrogatepass")).hexdigest()[:24]


def _with_befores(picture: Picture) -> list[Picture | Control]:
    return [picture, *picture.references]


def _measured(gate: Gate, picture: Picture | Control) -> tuple[str, dict | None]:
    report = gate.measure(picture.path)
    return picture.sha256, report.measured if report.ok and is_measured(report.measured) else None


def judge(pictures: Sequence[Picture], known: Mapping[str, Measured], goal: Goal) -> Health:
    """The outcome, from what is known of the pictures."""
    used = [p for p in pictures if p.usable and p.sha256 in known]
    seen = {p.id: known[p.sha256] for p in used}
    groups = near(used, seen)
    different = len(used) - sum(len(g) - 1 for g in groups)
    found = [
        *_pictures_found(used, seen, goal), *_copies(pictures, used, groups), *_words(used, goal), *_refused(pictures), *_few(different, used),
        *contradictions.found(used, pictures, groups, seen), *absorbing.found({p.id: p.captions for p in used}, goal.absorbs), *coverage.found(used, seen, goal.what, different), *([] if goal.control else befores.found(used, known, goal.side_px)),
    ]  # fmt: skip
    order = {"bad": 0, "warn": 1, "note": 2}
    found.sort(key=lambda f: (order[f.level], -len(f.ids)))
    points = 100 - sum(_cost(f, max(1, len(used))) for f in found)
    if not used:
        points = 0
    grade, word = next((g, w) for least, g, w in GRADES if points >= least or least == 0)
    return Health(grade, word, len(used), tuple(found), buckets(used, goal), goal, print_of(pictures, goal), sum(p.verdict == "out" for p in pictures))


def buckets(pictures: Sequence[Picture], goal: Goal) -> tuple[Bucket, ...]:
    """The buckets that pictures fall into, the fullest first."""
    into: dict[tuple[int, int], list[str]] = {}
    for p in pictures:
        into.setdefault((goal.crop(p).width, goal.crop(p).height), []).append(p.id)
    return tuple(sorted((Bucket(*size, tuple(ids)) for size, ids in into.items()), key=lambda b: (-len(b.ids), b.width)))


def _cost(finding: Finding, of: int) -> float:
    """Points that a finding takes: by the share of pictures that it touches; notes take none."""
    if finding.key == "few":
        return 40 if finding.level == "bad" else 5
    share = len(finding.ids) / of
    return {"bad": min(60, max(8, 80 * share)), "warn": min(30, max(3, 40 * share)), "note": 0}[finding.level]


def _pictures_found(used: Sequence[Picture], seen: Mapping[str, Measured], goal: Goal) -> list[Finding]:
    """What is told of each picture alone."""
    crops = {p.id: goal.crop(p) for p in used}
    scales = {p.id: crops[p.id].scaled[0] / p.width for p in used}

    def all_with(test: Callable[[Picture, Measured], bool]) -> tuple[str, ...]:
        return tuple(p.id for p in used if test(p, seen[p.id]))

    side = goal.side_px
    rows = [
        ("small", "bad", "Too small", f"They are enlarged more than {LARGER:g} times to be learnt at {side} px, and the adapter learns their softness.", "Use larger originals, or choose a smaller resolution on the Train tab.", all_with(lambda p, m: scales[p.id] > LARGER)),
        ("blurred", "warn", "Blurred", f"No part of them is sharp at {side} px: their edges are wider than {BLUR_PX:g} px there.", "Take them out, unless blur is what should be learnt.", all_with(lambda p, m: m.blur_px * min(1.0, scales[p.id]) >= BLUR_PX and scales[p.id] <= LARGER)),
        ("dark", "warn", "Very dark", f"99% of each lies below level {DARK:g} of 255: hardly anything can be seen to be learnt.", "Brighten them, or take them out, unless it is night that should be learnt.", all_with(lambda p, m: m.high < DARK and m.spread >= ONE_COLOUR)),
        ("bright", "note", "Very bright", "More than half of each is pure white, and nothing in it is dark: it may be overexposed.", "Look at them. For pale drawings on white nothing is wrong.", all_with(lambda p, m: m.low > BRIGHT and m.white > WHITE and m.spread >= ONE_COLOUR)),
        ("plain", "bad", "Almost one colour", "There is nothing to see in them that could be learnt.", "Take them out.", all_with(lambda p, m: m.spread < ONE_COLOUR)),
        ("compressed", "warn", "Strongly compressed", f"JPEG quality below {QUALITY}: the blocks and halos around edges are learnt as part of the picture.", "Use better copies where you have them.", all_with(lambda p, m: 0 < m.quality < QUALITY and scales[p.id] > SHRUNK)),
        ("framed", "warn", "A frame or bars around it", "Plain bars lie at two opposite sides; an adapter soon draws such frames everywhere.", "Cut them off in an image editor.", all_with(lambda p, m: m.frame >= FRAME)),
        ("cut", "warn", "Much is cut off", f"To fit a training size, more than {LOST:.0%} of each is cut away.", "Open them, and drag the crop to what matters.", all_with(lambda p, m: crops[p.id].lost > LOST)),
    ]  # fmt: skip
    return [Finding(*row) for row in rows if row[-1]]


def _copies(pictures: Sequence[Picture], used: Sequence[Picture], groups: Sequence[Sequence[str]]) -> list[Finding]:
    """The same and nearly the same pictures."""
    twice = tuple(p.id for p in pictures if p.verdict == "duplicate")
    said = [Finding("twice", "note", "Same picture twice", "Byte for byte the same as another one; only one of them is used.", "Nothing needs to be done; delete them if you like.", twice)] if twice else []
    if groups:
        extra = sum(len(g) - 1 for g in groups)
        alike = extra >= ALIKE * len(used)
        sentence = "1 picture is nearly another one (copies, other sizes, mirrored, moments of one burst): what they show counts several times."
        if extra > 1:
            sentence = f"{extra} pictures are nearly others (copies, other sizes, mirrored, moments of one burst): what they show counts several times."
        todo = "Keep the best of each group; what is left shows more different things." if alike else "Keep the best of each group."
        said.append(Finding("near", "bad" if alike else "warn", "Too alike" if alike else "Nearly the same", sentence, todo, tuple(id for g in groups for id in g)))
    return said


def near(used: Sequence[Picture], seen: Mapping[str, Measured]) -> list[list[str]]:
    """Groups of pictures that are nearly the same, mirrored ones too, the members in order: all whose tiny pictures agree in shape and colour."""
    import numpy as np

    still = [p for p in used if not p.seconds]
    if len(still) < 2:
        return []
    raw = b"".join(base64.b64decode(seen[p.id].tiny) for p in still)
    tiny = np.frombuffer(raw, np.uint8).reshape(len(still), TINY_PX, TINY_PX, 3).astype(np.float32)
    for at, p in enumerate(still):  # as it is learnt; mirrored ones are compared anyway
        if p.treatment.turns:
            tiny[at] = np.rot90(tiny[at], -p.treatment.turns)
    shapes, mirrored = _shapes(tiny), _shapes(tiny[:, :, ::-1])
    owner = list(range(len(still)))

    def root(n: int) -> int:
        while owner[n] != n:
            owner[n] = n = owner[owner[n]]
        return n

    for start in range(0, len(still), 512):
        block = shapes[start : start + 512]
        for others, colours in ((shapes, tiny), (mirrored, tiny[:, :, ::-1])):
            for a, like in enumerate(block @ others.T >= SAME_SHAPE, start):
                found = a + 1 + np.flatnonzero(like[a + 1 :])
                apart = np.abs(tiny[a] - colours[found]).reshape(len(found), 3 * TINY_PX**2)
                for b in found[(apart.mean(axis=1) <= SAME_COLOUR) & (apart.max(axis=1) <= SAME_CELL)]:
                    owner[root(int(b))] = root(a)
    groups: dict[int, list[str]] = {}
    for n, p in enumerate(still):
        groups.setdefault(root(n), []).append(p.id)
    return [g for g in groups.values() if len(g) > 1]


def _shapes(tiny):
    """[N,D] of unit length: brightness without its mean; zero for a plain picture, which is like nothing."""
    import numpy as np

    grey = tiny.mean(axis=3).reshape(len(tiny), -1)
    grey = grey - grey.mean(axis=1, keepdims=True)
    length = np.linalg.norm(grey, axis=1, keepdims=True)
    return np.where(length > TINY_PX * 2.0, grey / np.maximum(length, 1e-6), 0.0)  # 2 levels of spread


def _words(used: Sequence[Picture], goal: Goal) -> list[Finding]:
    """What is told of the captions."""
    told = {p.id: tuple(c for c in p.captions if c.strip()) for p in used if goal.control or not p.references}  # an instruction names what is done, and may be one for all
    bare = tuple(id for id, c in told.items() if not c)
    only = tuple(id for id, c in told.items() if c and goal.trigger and not any(captions.without_trigger(captions.with_trigger(x, goal.trigger), goal.trigger) for x in c))
    rest = {id: c for id, c in told.items() if c and id not in only}
    same = Counter(c for c in rest.values())
    most, often = max(same.items(), key=lambda row: row[1], default=((), 0))
    alike = tuple(id for id, c in rest.items() if c == most) if often >= max(3, SAME_CAPTION * len(used)) else ()
    places = tuple(p.id for p in used if not goal.trigger and any(map(captions.has_place, p.captions)))
    lacking, word = _lacking(rest, goal.trigger)
    front = "It is put in front of them by itself; write [trigger] where it should stand elsewhere." if goal.trigger else "Put it in front of them on the Captions tab, if it is your trigger word."
    rows = [
        ("bare", "warn", "No caption", "Whatever is to be seen in them is learnt without words, and comes back everywhere.", "Write captions on the Captions tab.", bare),
        ("only", "warn", "Only the trigger word", "Their captions name nothing else, so that clothes, place and light are learnt as part of it.", "Say in a few words what else is to be seen.", only),
        ("identical", "warn", "Captions that are the same", f"{often} pictures are described as {_short(most)}: what differs between them has no words.", "Describe each picture by itself.", alike),
        ("place", "warn", "A place for a trigger word that is not there", "Their captions have [trigger] or [name], but no trigger word was typed.", "Type one on the Train tab.", places),
        ("lacking", "note", "Without the trigger word", f"The others have {word!r} in their captions.", front, lacking),
    ]  # fmt: skip
    return [Finding(*row) for row in rows if row[-1]]


def _lacking(told: Mapping[str, tuple[str, ...]], trigger: str) -> tuple[tuple[str, ...], str]:
    """(pictures whose captions lack the trigger word that others have, that word); without one typed, the unusual word that most begin with."""
    firsts = Counter(c[0].split()[0].strip(",.;:").casefold() for c in told.values() if c[0].split())
    word = trigger or next((w for w, n in firsts.most_common(1) if n >= max(3, BEGIN * len(told)) and w not in USUAL_WORDS and len(w) > 2), "")
    if not word:
        return (), ""

    def has(caption: str) -> bool:
        return captions.has_place(caption) or captions.without_trigger(caption, word) != captions.without_trigger(caption, "")

    lacking = tuple(id for id, c in told.items() if not any(map(has, c)))
    return (lacking, word) if len(lacking) < len(told) else ((), word)


def _refused(pictures: Sequence[Picture]) -> list[Finding]:
    ids = tuple(p.id for p in pictures if p.verdict == "refused")
    return [Finding("refused", "note", "Can’t be used", "They are left out of training; the reason stands under each.", "Mend or delete them.", ids)] if ids else []


def _few(different: int, used: Sequence[Picture]) -> list[Finding]:
    """Whether there are enough different pictures."""
    ids = tuple(p.id for p in used)
    if different < FLOOR and used:
        return [Finding("few", "bad", "Few pictures", f"{different} different ones; with fewer than {FLOOR} an adapter mostly learns to repeat them.", f"Add some until there are {FLOOR}; {USUAL} to 30 are usual.", ids)]
    if different < USUAL and used:
        return [Finding("few", "note", "Not many pictures", f"{different} different ones are enough to begin; {USUAL} to 30 are usual.", "More help where they show other places, light and sides.", ids)]
    return []


def _short(said: Sequence[str]) -> str:
    text = said[0] if said else ""
    return f"“{text[:60]}…”" if len(text) > 60 else f"“{text}”"


def report(health: Health) -> str:
    """The outcome as text for a terminal."""
    aside = f", {health.out} left out" if health.out else ""
    lines = [f"{health.grade}: {health.word} ({health.count} pictures, for {health.goal.side_px} px{aside})"]
    for f in health.findings:
        names = ", ".join(f.ids[:5]) + (f" and {len(f.ids) - 5} more" if len(f.ids) > 5 else "")
        lines += ["", f"[{f.level}] {f.title}: {len(f.ids)}", f"  {f.says} {f.todo}"] + ([f"  {names}"] if f.key != "few" else [])
    lines += ["", "Training sizes:", *(f"  {b.width}x{b.height}: {len(b.ids)}" for b in health.buckets)]
    return "\n".join(lines)
