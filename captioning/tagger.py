"""SmilingWolf's WD taggers: Danbooru's tags for a picture, through ONNX Runtime.

What the files hold, read from those on the Hub: model.onnx takes `input` [B,448,448,3], BGR, 0 to 255, and puts out `output` [B,10861],
a probability a tag; selected_tags.csv names the tags in that order (tag_id,name,category,count; category 9 rating, 0 general, 4 character).
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from captioning import _weights
from captioning._weights import Weights

TITLE = "WD tagger"
BLURB = "Writes Danbooru’s tags: what a picture shows, in a list. Best for drawings and anime; quick even on a processor."
NEEDS_PIXELS = True
EMPTY = "no tag reaches the threshold; a lower one finds more"
NEEDS = {"onnxruntime": "onnxruntime"}  # module -> what to install for it

MODELS = {
    "eva02-large": ("SmilingWolf/wd-eva02-large-tagger-v3", "about 1.3 GB"),
    "vit": ("SmilingWolf/wd-vit-tagger-v3", "about 0.4 GB"),
    "swinv2": ("SmilingWolf/wd-swinv2-tagger-v3", "about 0.5 GB"),
}
MODEL, TAGS = "model.onnx", "selected_tags.csv"
FILES = (MODEL, TAGS, "config.json")
RATING, GENERAL, CHARACTER = 9, 0, 4
MAX_TAGS_BYTES = 20_000_000
# Danbooru's faces among the tags, whose _ is no blank; the list of the taggers' own demonstration
FACES = frozenset(["0_0", "(o)_(o)", "+_+", "+_-", "._.", "<o>_<o>", "<|>_<|>", "=_=", ">_<", "3_3", "6_9", ">_o", "@_@", "^_^", "o_o", "u_u", "x_x", "|_|", "||_||"])


class Options(BaseModel):
    """What this captioner can be told."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: Literal["eva02-large", "vit", "swinv2"] = Field("vit", description="Which tagger: eva02-large finds most, vit is the fastest and smallest, swinv2 lies between.")
    general_threshold: float = Field(0.35, ge=0, le=1, description="Confidence from which a tag is written; lower writes more tags, and more wrong ones.")
    character_threshold: float = Field(0.85, ge=0, le=1, description="Confidence from which a known character's name is written; 1 writes none.")
    spaces: bool = Field(True, description="Write long hair instead of long_hair; faces such as ^_^ stay.")
    order: Literal["confidence", "name", "characters first"] = Field("confidence", description="Order of the tags: the surest first, by the alphabet, or characters in front and then the surest.")
    blacklist: str = Field("", max_length=4000, description="Tags that are never written, with commas between; with _ or a blank.")
    ratings: bool = Field(False, description="Also write the rating that is likeliest: general, sensitive, questionable or explicit.")
    batch_size: int = Field(1, ge=1, le=64, description="Pictures tagged at once; more is faster on a graphics card.")
    folder: str = Field("", max_length=1000, description="Folder with a tagger's model.onnx and selected_tags.csv on this computer, used instead of a download; empty for none.")


class Tag(NamedTuple):
    """One output of the model."""

    name: str
    category: int


@dataclass(frozen=True)
class State:
    """A loaded tagger.  side: of the square that it looks at, in px; at_once: the pictures that its file takes at once, 0 for any number."""

    session: Any
    tags: tuple[Tag, ...]
    side: int
    at_once: int
    options: Options


def needs(options: Options) -> str:
    """What is missing, a sentence; "" when it can start at once.  A sentence about a download is no obstacle."""
    return _folder_problem(Path(options.folder).expanduser()) if options.folder else _weights.needs(_wanted(options))


def says(options: Options) -> str:
    """Where it computes, where that is not the fastest place."""
    try:
        metadata.version("onnxruntime-gpu")
    except metadata.PackageNotFoundError:
        return "it runs on the processor; with onnxruntime-gpu installed in place of onnxruntime it uses an NVIDIA card"
    return ""


def fetch(options: Options, progress: Callable[[int, int], None], stop: Callable[[], bool]) -> bool:
    """Whether everything is here, after downloading what was not; False when stop() ended it.  Raises ValueError in plain words."""
    return bool(options.folder) or _weights.fetch(_wanted(options), progress, stop)


def load(options: Options, device: str) -> State:
    """The tagger, ready.  device: cuda is used where this ONNX Runtime can; everything else runs on the processor.  Raises ValueError in plain words."""
    problem = _folder_problem(Path(options.folder).expanduser()) if options.folder else ""
    if problem:
        raise ValueError(problem)
    folder = options.folder or _weights.snapshot(_wanted(options))
    if not folder:
        raise ValueError(_weights.absent(_wanted(options)))
    folder = Path(folder).expanduser()
    tags = read_tags(folder / TAGS)
    session = _session(folder / MODEL, device)
    shape, found = session.get_inputs()[0].shape, session.get_outputs()[0].shape[-1]
    if len(shape) != 4 or shape[3] != 3 or shape[1] != shape[2] or not isinstance(shape[1], int):
        raise ValueError(f"{folder / MODEL} takes an input of the shape {shape}, not [pictures, side, side, 3] as a WD tagger; use one of {', '.join(r for r, _ in MODELS.values())}")
    if isinstance(found, int) and found != len(tags):
        raise ValueError(f"{folder / MODEL} knows {found:,} tags, but {TAGS} beside it names {len(tags):,}; get both from the same place")
    return State(session, tags, shape[1], shape[0] if isinstance(shape[0], int) else 0, options)


def caption(state: State, pictures: list, names: list[str]) -> list[str]:
    """The tags of each picture (any size and mode), in a list with commas; "" where none is sure enough."""
    import numpy as np

    pixels = np.stack([prepared(picture, state.side) for picture in pictures])
    size, name = state.at_once or len(pixels), state.session.get_inputs()[0].name
    spare = np.zeros((-len(pixels) % size, *pixels.shape[1:]), np.float32)  # a file that takes two at once takes no single one
    filled = np.concatenate([pixels, spare])
    found = np.concatenate([state.session.run(None, {name: filled[at : at + size]})[0] for at in range(0, len(filled), size)])[: len(pixels)]
    if not (found.min() >= 0 and found.max() <= 1):  # also where one is no number
        raise ValueError("this model puts out numbers that are no probabilities, so it is not a WD tagger of the third version or one like it")
    return [written(row.tolist(), state.tags, state.options) for row in found]


def prepared(picture: Any, side: int) -> Any:
    """[side, side, 3] of 0 to 255, BGR: the picture on white, in the middle of a white square, scaled bicubically."""
    import numpy as np
    from PIL import Image

    upon = Image.new("RGBA", picture.size, "white")
    upon.alpha_composite(picture.convert("RGBA"))
    longer = max(picture.size)
    square = Image.new("RGB", (longer, longer), "white")
    square.paste(upon.convert("RGB"), ((longer - picture.width) // 2, (longer - picture.height) // 2))
    if longer != side:
        square = square.resize((side, side), Image.Resampling.BICUBIC)
    return np.asarray(square, np.float32)[:, :, ::-1]


def written(sure: Sequence[float], tags: Sequence[Tag], options: Options) -> str:
    """The caption that these probabilities make."""
    never = {_plain(tag) for tag in options.blacklist.split(",")}
    least = {GENERAL: options.general_threshold, CHARACTER: options.character_threshold}
    chosen = [(p, tag) for p, tag in zip(sure, tags, strict=True) if p > least.get(tag.category, 1) and _plain(tag.name) not in never]
    chosen.sort(key=lambda one: _rank(one, options.order))
    ratings = [(p, tag) for p, tag in zip(sure, tags, strict=True) if tag.category == RATING]
    if options.ratings and ratings:
        chosen.append(max(ratings))
    return ", ".join(tag.name if tag.name in FACES or not options.spaces else tag.name.replace("_", " ") for _, tag in chosen)


def _rank(one: tuple[float, Tag], order: str) -> tuple:
    sure, tag = one
    return (tag.name,) if order == "name" else (order == "characters first" and tag.category != CHARACTER, -sure, tag.name)


def _plain(tag: str) -> str:
    return tag.strip().casefold().replace("_", " ")


def read_tags(path: Path) -> tuple[Tag, ...]:
    """The tags of a selected_tags.csv, in the model's order.  Raises ValueError where it is something else."""
    if path.stat().st_size > MAX_TAGS_BYTES:
        raise ValueError(f"{path} is {path.stat().st_size / 1e6:.0f} MB large; a list of tags has less than one")
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return tuple(Tag(row["name"], int(float(row["category"]))) for row in csv.DictReader(file))
    except (OSError, KeyError, TypeError, ValueError, csv.Error) as error:
        raise ValueError(f"{path} is not a tagger's list of tags (name and category in each row): {type(error).__name__}; get it again") from None


def _session(path: Path, device: str) -> Any:
    import onnxruntime

    onnxruntime.set_default_logger_severity(3)  # what it says below an error is for its developers
    providers = ["CPUExecutionProvider"]
    if device == "cuda" and "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        onnxruntime.preload_dlls()  # of CUDA and cuDNN, which torch brought
        providers.insert(0, "CUDAExecutionProvider")
    try:
        session = onnxruntime.InferenceSession(str(path), providers=providers)
    except Exception as error:  # noqa: BLE001 its errors have a class of their own each, made in C++
        first = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise ValueError(f"{path} does not load: {first}; get it again from {MODELS['vit'][0]}") from None
    if lost := set(providers) - set(session.get_providers()):  # it goes on without them, and does not say so
        raise ValueError(f"onnxruntime-gpu cannot use the graphics card here ({', '.join(lost)} does not start: CUDA or cuDNN is missing or of another version); install onnxruntime in its place, which uses the processor")
    return session


def _folder_problem(folder: Path) -> str:
    lacks = [name for name in (MODEL, TAGS) if not (folder / name).is_file()]
    return f"{folder} has no {' and no '.join(lacks)}; name the folder that holds a tagger's {MODEL} and {TAGS}" if lacks else ""


def _wanted(options: Options) -> Weights:
    repo, size = MODELS[options.model]
    return Weights(repo, size, FILES, (MODEL,), lambda folder: all((folder / name).exists() for name in (MODEL, TAGS)), "use another captioner")
