"""What the jobs share that look at a dataset's pictures and draw control pictures of what they see: the model's folder, its loading, and the way through the dataset."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL import Image

    from ..runs.context import Context

Draw = Callable[["Image.Image"], "Image.Image | None"]  # a picture -> what is drawn of it, RGB of its size; None where there is nothing to draw


@dataclass(frozen=True)
class Drawn:
    """What became of a dataset's pictures.  had: how many have a control picture already, got one meanwhile, or have one of their own that does not fit.  empty: those in which there was nothing to draw."""

    made: int
    had: int
    empty: tuple[str, ...]


@dataclass(frozen=True)
class Wanted:
    """A model that a setting names.  what: as a person calls it.  published: the Hub id to fall back on."""

    setting: str
    source: str
    what: str
    published: str


def controls(dataset: str, ctx: Context, looker: Callable[[], Draw], doing: str) -> Drawn:
    """Writes name.control.png beside each picture that has none.  looker: loads the model, called only where there is something to do.

    Raises ValueError in plain words, or Stopped; what was made stays.
    """
    from ..data import datasets, importing
    from ..runs.context import Stopped

    ds = datasets.resolve(ctx.home, dataset)
    pictures = [p for p in ds.pictures() if p.usable and not p.seconds]
    if not pictures:
        raise ValueError(f"the dataset {ds.title!r} has no pictures to look at; add some on the Dataset tab")
    if all(p.control or p.control_note for p in pictures):
        return Drawn(0, len(pictures), ())
    draw = looker()

    def told(done: int, of: int, name: str) -> None:
        if ctx.stop_requested():
            raise Stopped(step=done)
        ctx.phase(doing, done, of, "pictures")

    verdicts = importing.write_controls(ds, draw, told)
    made = sum(v.ok for v in verdicts)
    empty = tuple(v.id for v in verdicts if v.reason == importing.NOTHING_TO_DRAW)
    return Drawn(made, len(pictures) - made - len(empty), empty)


def check_device(device: str) -> None:
    """Raises ValueError where the device is not there."""
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("this job asks for a graphics card, but torch sees none; choose device 'cpu'")


def load(wanted: Wanted, folder: str, device: str, *, model: Any, processor: Any = None) -> tuple:
    """(model, processor or None) from a folder, in use, by their classes in transformers.  Raises ValueError in plain words."""
    try:
        prepares = processor.from_pretrained(folder, local_files_only=True, trust_remote_code=False) if processor else None
        network, info = model.from_pretrained(folder, local_files_only=True, trust_remote_code=False, use_safetensors=True, output_loading_info=True)
    except Exception as error:  # noqa: BLE001 weights of another model fail in as many ways as there are models
        raise ValueError(f"the {wanted.what} in {folder} does not load: {' '.join(str(error).split())[:200]}; use {wanted.published}") from None
    if info["missing_keys"]:  # transformers fills them with random numbers and only logs it
        raise ValueError(f"the {wanted.what} in {folder} is incomplete: {len(info['missing_keys'])} tensors are missing, such as {min(info['missing_keys'])}; get it again")
    return network.to(device).eval(), prepares


def folder_of(wanted: Wanted, ctx: Context) -> str:
    """The model's folder; from the Hub it is downloaded first.  Raises ValueError."""
    setting, source, what = wanted.setting, wanted.source, wanted.what
    place = Path(source).expanduser()
    if place.is_dir():
        if not (place / "config.json").is_file() or not any(place.glob("*.safetensors")):
            raise ValueError(f"{setting} is {source!r}, but that folder has no config.json and .safetensors of a {what}")
        return str(place)
    if source.count("/") != 1 or source.startswith((".", "~", "/")):
        raise ValueError(f"{setting} is {source!r}, but there is no such folder; give a folder or a Hub id, such as {wanted.published}")
    from huggingface_hub import snapshot_download

    token = ctx.secrets.get("hf_token")
    ctx.phase(f"downloading the {what}")
    try:
        return snapshot_download(source, allow_patterns=["*.json", "*.safetensors"], token=token.reveal() if token else None)
    except Exception as error:  # noqa: BLE001 the Hub's errors are many; all mean that it is not to be had
        said = " ".join(str(error).split())[:300]
        raise ValueError(f"{setting} is {source!r}, which is no folder here, and the Hub did not give it: {said}") from None
