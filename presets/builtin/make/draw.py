"""Pictures that the built-in base model learns from, and their captions.

A `Scene` says what is on a picture; `draw` paints it, `caption` words it.  Both halves are pure: the same scene gives the
same pixels, and the wording takes its own generator, so that one picture can be described anew at every step.
"""

import math
from dataclasses import dataclass, replace
from random import Random

import numpy as np
from PIL import Image, ImageDraw

COLOURS = {
    "red": (214, 40, 40),
    "orange": (247, 140, 30),
    "yellow": (250, 222, 60),
    "green": (52, 160, 70),
    "blue": (44, 92, 214),
    "purple": (130, 60, 180),
    "pink": (250, 160, 200),
    "white": (248, 248, 248),
    "gray": (132, 132, 132),
    "black": (22, 22, 22),
}
SHAPES = ("circle", "square", "triangle", "star", "heart", "cross", "ring", "diamond")
SIZES = {"small": (14.5, 17.0), "medium": (19.0, 21.5), "large": (24.0, 27.0)}  # radius in px of a 64 px picture
STYLES = ("flat", "outlined", "shaded", "striped")
BACKDROPS = ("plain", "gradient", "dotted")
BODIES = ("circle", "circle", "square", "triangle", "heart", "diamond")  # the shapes that may have eyes and a feeler
PLACES = {"left": (-1, 0), "right": (1, 0), "top": (0, -1), "bottom": (0, 1)}
ASPECTS = ((64, 64), (80, 48), (48, 80))  # width, height: equal areas, so one batch size fits all
OVERSAMPLE = 4  # paint this much larger, then average: clean edges without an anti-aliasing painter


@dataclass(frozen=True)
class Scene:
    """One shape before one background.  Lengths in pixels of the finished picture, angle in degrees."""

    shape: str
    colour: str
    background: str
    size: str
    style: str
    backdrop: str
    place: str
    width: int
    height: int
    x: float
    y: float
    radius: float
    angle: float
    tint: int  # seed of the slight variation of both colours
    eyes: bool = False
    feeler: str = ""  # colour of the ball on a stem above the shape; empty means none


def random_scene(rng: Random, width: int = 64, height: int = 64) -> Scene:
    """A scene whose shape lies wholly inside the picture; fore- and background colours always differ."""
    colour, background = rng.sample(list(COLOURS), 2)
    size = rng.choice(list(SIZES))
    radius = rng.uniform(*SIZES[size]) * (1 if width == height else 0.8)
    place = rng.choice(list(PLACES)) if rng.random() < 0.3 else "middle"
    x, y = _position(rng, place, radius, width, height)
    return Scene(
        shape=rng.choice(SHAPES), colour=colour, background=background, size=size,
        style=rng.choices(STYLES, (4, 2, 2, 2))[0], backdrop=rng.choices(BACKDROPS, (7, 2, 1))[0],
        place=place, width=width, height=height, x=x, y=y, radius=radius,
        angle=rng.uniform(-6, 6), tint=rng.randrange(2**31),
    )  # fmt: skip


def random_creature(rng: Random) -> Scene:
    """A scene of 64 x 64 px whose shape has eyes, a feeler or both: parts that a new figure can later be made of."""
    scene = random_scene(rng)
    radius = rng.uniform(14, 20)
    eyes, with_feeler = rng.choice(((True, True), (True, True), (True, False), (False, True)))
    return replace(
        scene,
        shape=rng.choice(BODIES),
        size="medium" if radius > 17 else "small",
        place="middle",
        radius=radius,
        x=32 + rng.uniform(-0.8, 0.8) * (31 - radius),
        y=rng.uniform(radius * 1.75, 63 - radius) if with_feeler else 32 + rng.uniform(-0.7, 0.7) * (31 - radius),
        eyes=eyes,
        feeler=rng.choice([c for c in COLOURS if c != scene.background]) if with_feeler else "",
    )


def _position(rng: Random, place: str, radius: float, width: int, height: int) -> tuple[float, float]:
    room_x, room_y = max(width / 2 - radius - 1, 0), max(height / 2 - radius - 1, 0)
    if place == "middle":
        return width / 2 + rng.uniform(-0.35, 0.35) * room_x, height / 2 + rng.uniform(-0.35, 0.35) * room_y
    dx, dy = PLACES[place]
    x = dx * rng.uniform(0.75, 1.0) if dx else rng.uniform(-0.3, 0.3)
    y = dy * rng.uniform(0.75, 1.0) if dy else rng.uniform(-0.3, 0.3)
    return width / 2 + x * room_x, height / 2 + y * room_y


def draw(scene: Scene) -> Image.Image:
    """The scene as an RGB picture of scene.width x scene.height."""
    rng = Random(scene.tint)
    back, front = (_varied(COLOURS[name], rng) for name in (scene.background, scene.colour))
    picture = _backdrop(scene, back)
    if scene.style == "shaded":
        picture.paste(_ball_light(scene, front), mask=_mask(scene, scene.radius))
    elif scene.style == "striped":
        picture.paste(_stripes(scene, front), mask=_mask(scene, scene.radius))
    elif scene.style == "outlined":
        line = (20, 20, 20) if "black" not in (scene.colour, scene.background) else (245, 245, 245)
        picture.paste(line, mask=_mask(scene, scene.radius))
        picture.paste(front, mask=_mask(scene, scene.radius, inset=scene.radius * 0.13))
    else:
        picture.paste(front, mask=_mask(scene, scene.radius))
    if scene.feeler:
        _add_feeler(picture, scene, front, _varied(COLOURS[scene.feeler], rng))
    if scene.eyes:
        _add_eyes(picture, scene, rng)
    return picture.reduce(OVERSAMPLE)


def _disc(paint, x: float, y: float, radius: float, colour) -> None:
    paint.ellipse([c * OVERSAMPLE for c in (x - radius, y - radius, x + radius, y + radius)], colour)


def _add_feeler(picture: Image.Image, scene: Scene, stem, ball) -> None:
    paint, r = ImageDraw.Draw(picture), scene.radius
    root = scene.y - r * (0.4 if scene.shape == "heart" else 0.75)
    ends = [c * OVERSAMPLE for c in (scene.x, root, scene.x, scene.y - r * 1.35)]
    paint.line(ends, stem, round(r * 0.2 * OVERSAMPLE))
    _disc(paint, scene.x, scene.y - r * 1.42, r * 0.29, ball)


def _add_eyes(picture: Image.Image, scene: Scene, rng: Random) -> None:
    paint, r = ImageDraw.Draw(picture), scene.radius
    size = rng.uniform(0.27, 0.38) * r * (0.8 if scene.shape in ("triangle", "diamond") else 1)
    y = scene.y + r * (0.3 if scene.shape == "triangle" else rng.uniform(-0.2, 0.05))
    look = [rng.uniform(-0.2, 0.2) * size for _ in range(2)]
    for side in (-1, 1):
        x = scene.x + side * size * 1.2
        _disc(paint, x, y, size, (252, 252, 252))
        _disc(paint, x + look[0], y + look[1], size * 0.52, (20, 20, 28))


def _varied(colour, rng: Random, by: int = 6):
    return tuple(min(255, max(0, c + rng.randint(-by, by))) for c in colour)


def _toward(colour, other, share: float):
    return tuple(round(a + (b - a) * share) for a, b in zip(colour, other, strict=True))


def _other_shade(colour, share: float):
    """The same hue, lighter when it is dark and darker when it is light."""
    return _toward(colour, (255, 255, 255) if sum(colour) < 330 else (0, 0, 0), share)


def _backdrop(scene: Scene, colour) -> Image.Image:
    size = (scene.width * OVERSAMPLE, scene.height * OVERSAMPLE)
    if scene.backdrop == "gradient":
        ramp = Image.linear_gradient("L").resize(size)
        return Image.composite(Image.new("RGB", size, _other_shade(colour, 0.2)), Image.new("RGB", size, colour), ramp)
    picture = Image.new("RGB", size, colour)
    if scene.backdrop == "dotted":
        paint, step, r = ImageDraw.Draw(picture), 11 * OVERSAMPLE, 1.7 * OVERSAMPLE
        for row, y in enumerate(range(step // 2, size[1], step)):
            for x in range(step // 2 + (row % 2) * step // 2, size[0], step):
                paint.ellipse((x - r, y - r, x + r, y + r), fill=_other_shade(colour, 0.25))
    return picture


def _ball_light(scene: Scene, colour) -> Image.Image:
    """A sheet that fades from a lighter to a darker shade around a light at the upper left of the shape."""
    side = round(scene.radius * 4 * OVERSAMPLE)
    glow = Image.radial_gradient("L").resize((side, side))
    sheet = Image.new("L", (scene.width * OVERSAMPLE, scene.height * OVERSAMPLE), 255)
    sheet.paste(glow, tuple(round((c - scene.radius * 2.35) * OVERSAMPLE) for c in (scene.x, scene.y)))
    light = Image.new("RGB", sheet.size, _toward(colour, (255, 255, 255), 0.3 if max(colour) > 60 else 0.12))
    return Image.composite(Image.new("RGB", sheet.size, _toward(colour, (0, 0, 0), 0.25)), light, sheet)


def _stripes(scene: Scene, colour) -> Image.Image:
    sheet = Image.new("RGB", (scene.width * OVERSAMPLE, scene.height * OVERSAMPLE), colour)
    paint, step = ImageDraw.Draw(sheet), round(scene.radius * 0.5 * OVERSAMPLE)
    for y in range(round((scene.y - scene.radius) * OVERSAMPLE), sheet.height, step):
        paint.rectangle((0, y, sheet.width, y + step * 0.4), fill=_other_shade(colour, 0.28))
    return sheet


def _mask(scene: Scene, radius: float, inset: float = 0.0) -> Image.Image:
    """L mask of the shape at the oversampled size; inset pixels are taken off its rim."""
    mask = Image.new("L", (scene.width * OVERSAMPLE, scene.height * OVERSAMPLE), 0)
    paint = ImageDraw.Draw(mask)
    r = radius * OVERSAMPLE
    x, y = scene.x * OVERSAMPLE, scene.y * OVERSAMPLE

    def disc(radius_px, fill):
        paint.ellipse((x - radius_px, y - radius_px, x + radius_px, y + radius_px), fill=fill)

    if scene.shape in ("circle", "ring"):
        disc(r - inset * OVERSAMPLE, 255)
        if scene.shape == "ring":
            disc(r * 0.52 + inset * OVERSAMPLE, 0)
        return mask
    turn = math.radians(scene.angle)
    points = [
        (x + r * (px * math.cos(turn) - py * math.sin(turn)), y + r * (px * math.sin(turn) + py * math.cos(turn)))
        for px, py in OUTLINES[scene.shape]
    ]
    paint.polygon(points, fill=255)
    if inset:
        paint.line(points + points[:2], fill=0, width=round(2 * inset * OVERSAMPLE), joint="curve")
    return mask


def _star() -> list[tuple[float, float]]:
    turns = [(-math.pi / 2 + k * math.pi / 5, 1.1 if k % 2 == 0 else 0.47) for k in range(10)]
    return [(length * math.cos(a), length * math.sin(a)) for a, length in turns]


def _heart() -> list[tuple[float, float]]:
    """The well-known heart curve x = 16 sin^3 t, y = 13 cos t - 5 cos 2t - 2 cos 3t - cos 4t, within [-1, 1]."""
    points = []
    for k in range(60):
        t = k * math.tau / 60
        up = 13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)
        points.append((math.sin(t) ** 3, -(up + 2.5) / 14.5))
    return points


OUTLINES = {  # corners within about [-1, 1], y downwards
    "square": [(-0.85, -0.85), (0.85, -0.85), (0.85, 0.85), (-0.85, 0.85)],
    "triangle": [(0, -0.95), (1, 0.8), (-1, 0.8)],
    "diamond": [(0, -1.08), (0.8, 0), (0, 1.08), (-0.8, 0)],
    "cross": [(a, b) for a, b in (
        (-0.32, -1), (0.32, -1), (0.32, -0.32), (1, -0.32), (1, 0.32), (0.32, 0.32),
        (0.32, 1), (-0.32, 1), (-0.32, 0.32), (-1, 0.32), (-1, -0.32), (-0.32, -0.32),
    )],
    "star": _star(),
    "heart": _heart(),
}  # fmt: skip


# --- words ---------------------------------------------------------------------------------------------------------

SYLLABLES = [
    "ba",
    "be",
    "bo",
    "da",
    "di",
    "do",
    "fa",
    "fi",
    "fu",
    "ga",
    "go",
    "gu",
    "ja",
    "jo",
    "ka",
    "ki",
    "ku",
    "la",
    "lo",
    "lu",
    "ma",
    "mi",
    "mo",
    "na",
    "no",
    "nu",
    "pa",
    "po",
    "ra",
    "ri",
    "ro",
    "sa",
    "so",
    "ta",
    "to",
    "va",
    "vi",
    "wu",
    "xa",
    "ya",
    "zo",
]
ENDINGS = ["b", "d", "ff", "g", "k", "l", "m", "n", "p", "r", "s", "t", "x", "z", "th", "sh", "ck", "nt"]


def made_up_word(rng: Random) -> str:
    """A word that means nothing, such as "gukith" or "sks7": what a trigger word looks like to the base model."""
    if rng.random() < 0.2:
        return "".join(rng.choice("abcdefghijklmnopqrstuvwxyz0123456789") for _ in range(rng.randint(2, 5)))
    word = "".join(rng.choice(SYLLABLES) for _ in range(rng.randint(1, 3)))
    return word + (rng.choice(ENDINGS) if rng.random() < 0.5 else "")


def caption(scene: Scene, rng: Random) -> str:
    """One of many wordings; size, style, place and backdrop are at times left out, the shape seldom, made-up words slip in."""
    subject = _subject(scene, rng)
    back = f"{scene.background} background"
    if scene.backdrop != "plain" and rng.random() < 0.8:
        back = f"{scene.backdrop} {back}"
    where = f" {_place(scene, rng)}" if scene.place != "middle" and rng.random() < 0.7 else ""
    style = f", {scene.style} style" if rng.random() < (0.3 if scene.style == "flat" else 0.75) else ""
    article = rng.choice(("a ", "a ", "the ", ""))
    subject += _parts(scene, rng)
    text = rng.choices(
        (
            f"{article}{subject}{where} on a {back}{style}",
            f"{article}{subject}{where}, {back}{style}",
            f"a {back} with a {subject}{where}{style}",
            f"{article}{subject}{where} in front of a {back}{style}",
        ),
        (6, 3, 1, 1),
    )[0]
    return f"{made_up_word(rng)}, {text}" if rng.random() < 0.04 else text


def _parts(scene: Scene, rng: Random) -> str:
    parts = ["two eyes"] * scene.eyes + [f"a {scene.feeler} feeler"] * bool(scene.feeler)
    return f" with {' and '.join(parts)}" if parts and rng.random() < 0.9 else ""


def _subject(scene: Scene, rng: Random) -> str:
    words = [scene.colour, scene.shape]
    if rng.random() < (0.2 if scene.size == "medium" else 0.7):
        words.insert(0, scene.size)
    chance = rng.random()
    if chance < 0.04:
        return made_up_word(rng)
    if chance < 0.06:
        return f"{scene.colour} {made_up_word(rng)}"
    if chance < 0.07:
        return "shape"
    if chance < 0.13:
        words.insert(rng.randrange(len(words) + 1), made_up_word(rng))
    return " ".join(words)


def _place(scene: Scene, rng: Random) -> str:
    sideways = scene.place in ("left", "right")
    return rng.choice((f"on the {scene.place}" if sideways else f"at the {scene.place}", f"{scene.place} side"))


# --- pictures for the autoencoder -----------------------------------------------------------------------------------


def clutter(rng: Random, side: int = 64) -> Image.Image:
    """Many random shapes, eyes, lines and grain in any colours: what teaches the autoencoder to show the unseen."""
    big = side * OVERSAMPLE
    picture = Image.composite(
        Image.new("RGB", (big, big), _any_colour(rng)),
        Image.new("RGB", (big, big), _any_colour(rng)),
        Image.linear_gradient("L").resize((big, big)).rotate(rng.choice((0, 90, 180, 270))),
    ) if rng.random() < 0.4 else Image.new("RGB", (big, big), _any_colour(rng))  # fmt: skip
    paint = ImageDraw.Draw(picture)
    for _ in range(rng.randint(1, 7)):
        rng.choice((_blob, _blob, _polygon, _line, _eye, _eye))(paint, rng, big)
    picture = picture.reduce(OVERSAMPLE)
    if rng.random() < 0.25:
        grain = np.random.default_rng(rng.randrange(2**31)).normal(0, rng.uniform(2, 14), (side, side, 1))
        picture = Image.fromarray(np.clip(np.asarray(picture) + grain, 0, 255).astype(np.uint8))
    return picture


def _any_colour(rng: Random):
    return tuple(rng.randrange(256) for _ in range(3))


def _spot(rng: Random, big: int, low: float, high: float):
    return rng.uniform(0, big), rng.uniform(0, big), big * rng.uniform(low, high)


def _blob(paint, rng: Random, big: int):
    x, y, r = _spot(rng, big, 0.04, 0.4)
    squeeze = rng.uniform(0.5, 1)
    edge = _any_colour(rng) if rng.random() < 0.3 else None
    paint.ellipse((x - r, y - r * squeeze, x + r, y + r * squeeze), _any_colour(rng), edge, rng.randint(4, 14))


def _polygon(paint, rng: Random, big: int):
    x, y, r = _spot(rng, big, 0.05, 0.4)
    turns = sorted(rng.uniform(0, math.tau) for _ in range(rng.randint(3, 7)))
    paint.polygon([(x + r * math.cos(a), y + r * math.sin(a)) for a in turns], _any_colour(rng))


def _line(paint, rng: Random, big: int):
    paint.line([(rng.uniform(0, big), rng.uniform(0, big)) for _ in range(rng.randint(2, 4))], _any_colour(rng), rng.randint(4, 24))


def _eye(paint, rng: Random, big: int):
    x, y, r = _spot(rng, big, 0.03, 0.12)
    white = rng.randint(225, 255)
    for side in (-1, 1) if rng.random() < 0.5 else (0,):
        cx, pupil = x + side * r * 1.4, r * rng.uniform(0.35, 0.6)
        paint.ellipse((cx - r, y - r, cx + r, y + r), (white, white, white))
        paint.ellipse((cx - pupil, y - pupil, cx + pupil, y + pupil), _toward((15, 15, 25), _any_colour(rng), 0.2))
