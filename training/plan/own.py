"""Presets of one's own: a run's settings under a name, with a picture, in one file that is kept in the home and passed on as it is.

Such a file is data.  What comes from elsewhere is read strictly, may say nothing of a place, a folder or a dataset, and its picture is
decoded and written anew.
"""

from __future__ import annotations

import base64
import io
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .. import jobfile, outside, registry
from ..config import NO_WORD, DatasetUse, TrainConfig
from ..data.parts import taken
from ..files import write_atomic
from ..formats.basemodel import BUILTIN_SOURCE
from ..home import Home
from ..names import check_name, folder_name
from ..runs.run import Run
from . import devices, presets, unseen, validating
from .devices import CARDS
from .estimate import peak_bytes
from .hardware import machine
from .presets import OWN, OwnFile, Preset

SIDE_PX, PICTURE_BYTES, MAX_PICTURE_PIXELS = 256, 60_000, 64_000_000
MAX_SAMPLE_BYTES = 200_000_000
MOST = 500
# what is of one run and not of its settings; a file from elsewhere may not have it either
NOT_KEPT = ("kind", "name", "trigger", "preset", "device", "gpus", "place", "trackers")
NOT_KEPT_IN = {
    "data": ("datasets", "weighed"), "concept": ("low",), "adapter": ("start_from",), "optimizer": ("again_from", "again_share", "again_schedule"),
}  # fmt: skip
PLACES = (("model", "source"), ("adapter", "image_encoder"), ("model", "training_adapter"), ("model", "context_adapter"), ("sample", "speed_adapter"))  # may name a folder


def save(run: Run, home: Home, title: str = "") -> str:
    """The id of the preset that has a run's settings.  Raises ValueError, OSError."""
    if run.kind != "train":
        raise ValueError(f"'{run.title}' is no training, so it has no settings to save")
    config = run.config()
    known = {p.id: p for p in presets.list_presets(plugins=home.plugins)}
    like = known.get(config.preset)
    spec = registry.get("families", config.model.family, home.plugins).SPEC
    told = _settings(config, home, like.noun if like else "")
    vram, ram = _needs(config, home)
    data = {
        "easel_preset": 1,
        "title": _title(title or run.title),
        "blurb": f"{spec.called(config.model.source)}, {_adapter(config, home)}, {config.steps:,} steps at a learning rate of {config.optimizer.learning_rate:g}."[:200],
        "for_whom": f"Settings of your run {run.title}."[:300],
        "goal": like.goal if like else "own",
        "noun": like.noun if like else "a picture",
        "needs_gb": max(0.1, round((vram or ram) / 1e9, 1)),
        "light": bool(like and like.light) or config.model.source == BUILTIN_SOURCE,
        "order": 10_000,
        "from_run": run.title[:100],
        "made_t": round(time.time(), 3),
        "picture": _picture_of(run),
        "config": told,
        "quality": _levels(told),
    }
    return _keep(home, _checked(data))


def bring(path: Path, home: Home) -> str:
    """The id of a preset whose file came from elsewhere.  Raises ValueError with a sentence, OSError."""
    data = jobfile.load_mapping(path, linked=True)
    file = _checked(data)
    if named := _place_in(file):
        raise ValueError(f"the preset names a folder or an address ({named}), which a preset from elsewhere may not; it may name a base model on the Hub")
    picture = base64.b64encode(_small(_decoded(file.picture))).decode() if file.picture else ""
    return _keep(home, file.model_copy(update={"picture": picture}))


def is_one(path: Path) -> bool:
    """Whether a file says of itself that it is such a preset."""
    try:
        return "easel_preset" in jobfile.load_mapping(path, linked=True)
    except (ValueError, OSError):
        return False


def rename(home: Home, id: str, title: str) -> None:
    """It has another title; its id stays, so that runs still name it.  Raises ValueError, OSError."""
    _write(_path(home, id), _file(home, id).model_copy(update={"title": _title(title)}))


def delete(home: Home, id: str) -> None:
    """It is gone; runs that were made with it keep their settings.  Raises ValueError, OSError."""
    _path(home, id).unlink()


def exported(home: Home, id: str) -> tuple[str, bytes]:
    """(name of the file, its bytes) to pass on.  Raises ValueError where it names a folder of this computer, OSError."""
    file = _file(home, id)
    if refused := hindrance(file):
        raise ValueError(refused)
    return f"{folder_name(file.title, 'preset')}.easel-preset.yaml", _text(file.model_copy(update={"for_whom": f"Settings of the run {file.from_run}."[:300]}))


def hindrance(preset: OwnFile | Preset) -> str:
    """Why one cannot be passed on, in a sentence; "" where it can."""
    named = _place_in(preset)
    return f"this preset cannot be passed on: {named} is a folder of this computer, which nobody else has. Save one of a run whose base model comes from the Hub" if named else ""


def picture(home: Home, id: str) -> bytes:
    """Its picture, WebP.  Raises ValueError where it has none, OSError."""
    return _decoded(_file(home, id).picture)


def _checked(data: Mapping[str, Any]) -> OwnFile:
    """A preset's file that holds, and says nothing that is of one run or one computer.  Raises ValueError."""
    file = presets.checked(data, OwnFile)
    assert isinstance(file, OwnFile)
    check_name(file.title)
    for place, config in _parts(file):
        odd = [name for name in NOT_KEPT if name in config]
        odd += [f"{part}.{name}" for part, names in NOT_KEPT_IN.items() for name in names if isinstance(config.get(part), Mapping) and name in config[part]]
        if odd:
            raise ValueError(f"the preset says {', '.join(odd)} in {place}, which is a matter of each run; take it out of the file")
    return file


def _parts(file: OwnFile | Preset) -> list[tuple[str, Mapping[str, Any]]]:
    """[(what it is called, settings)]: the config, and what each quality level changes."""
    return [("config", file.config), *((f"quality.{level}", changes) for level, changes in file.quality.items())]


def _place_in(file: OwnFile | Preset) -> str:
    """The first setting that names a folder or an address, at any quality level; "" where none does."""
    for _, config in _parts(file):
        for where, name in PLACES:
            part = config.get(where)
            if isinstance(part, Mapping) and _is_place(str(part.get(name, ""))):
                return f"{where}.{name}"
    return ""


def _settings(config: TrainConfig, home: Home, noun: str) -> dict[str, Any]:
    """noun: what stood in the sample prompts where there was no trigger word, "" where that is not known."""
    told = config.model_dump(mode="json", exclude=set(NOT_KEPT))
    for part, names in NOT_KEPT_IN.items():
        for name in names:
            told[part].pop(name, None)
    if config.model.dtype == devices.of(config.device, machine(home.root)).best_dtype:
        del told["model"]["dtype"]  # what suits the machine is chosen on each
    held_out = config.data.held_out
    if held_out or _pictures(config, home) < validating.ENOUGH:
        del told["data"]["held_out"]  # so is what suits the number of pictures; none of enough was meant so
    either = [told | {"loss": {"gradient_checkpointing": how}} for how in ("off", "all")]  # memory may have asked for it after it was reckoned
    if not held_out or config.save.validate_every in [validating.every(config.steps, held_out, presets.step_passes(one)) for one in either]:
        del told["save"]["validate_every"]
    told["sample"]["prompts"] = _prompts(config, noun)
    return told


def _prompts(config: TrainConfig, noun: str) -> list[str]:
    """The sample prompts without those that each run adds anew; what called up the thing that was learnt is [trigger]."""
    rows = {use.trigger for use in config.data.datasets if not use.prior} - {"", NO_WORD, config.trigger}
    others = [_word(row) for row in rows]
    kept = [p for p in config.sample.prompts if not unseen.is_unseen(p) and not any(other.search(p) for other in others)]
    if called := config.trigger or noun:
        kept = [_word(called).sub("[trigger]", prompt) for prompt in kept]
    return kept or ["[trigger]"] * bool(config.sample.prompts)


def _word(text: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w){re.escape(text)}(?!\w)")


def _pictures(config: TrainConfig, home: Home) -> int:
    try:
        return sum(taken(home, DatasetUse(name=use.name, part=use.part)).count() for use in config.data.datasets if not use.prior)
    except (ValueError, OSError):
        return 0


def _levels(told: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Quick is half of it, thorough twice; as many samples and checkpoints each."""

    def times(factor: float) -> dict[str, Any]:
        scaled = lambda n: max(1, round(n * factor)) if n else 0
        return {
            "steps": scaled(told["steps"]),
            "optimizer": {"warmup_steps": int(told["optimizer"]["warmup_steps"] * factor)},
            "sample": {"every": scaled(told["sample"]["every"])},
            "save": {name: scaled(told["save"][name]) for name in ("every", "validate_every") if name in told["save"]},
        }

    return {"quick": times(0.5), "balanced": {}, "thorough": times(2.0)}


def _needs(config: TrainConfig, home: Home) -> tuple[float, float]:
    try:
        vram, ram = peak_bytes(config, home)
    except (ValueError, OSError):
        return 0.0, 0.0
    return (vram, ram) if config.device in CARDS else (0.0, ram)


def _adapter(config: TrainConfig, home: Home) -> str:
    try:
        kind = registry.get("adapters", config.adapter.type, home.plugins)
    except ValueError:
        return config.adapter.type
    return f"{kind.TITLE} of rank {config.adapter.rank}" if "rank" in kind.USES else kind.TITLE


def _picture_of(run: Run) -> str:
    """The newest sample, small, in base64; "" where there is none that can be read."""
    rows = run.view().samples
    for _, _, _, path, _ in sorted(rows, key=lambda row: (-row[0], row[1]))[:4]:
        try:
            return base64.b64encode(_small(outside.read_plain(outside.inside(run.path, path), MAX_SAMPLE_BYTES))).decode()
        except (ValueError, OSError):
            continue
    return ""


def _small(data: bytes) -> bytes:
    """A picture as a small WebP.  Raises ValueError."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=["WEBP", "PNG", "JPEG"]) as opened:
            if opened.width * opened.height > MAX_PICTURE_PIXELS:
                raise ValueError("the picture of the preset is larger than any sample")
            made = opened.convert("RGB")
    except (SyntaxError, EOFError, OSError, Image.DecompressionBombError):
        raise ValueError("the picture of the preset is none") from None
    made.thumbnail((SIDE_PX, SIDE_PX))
    for quality in (82, 60, 40):
        out = io.BytesIO()
        made.save(out, "WEBP", quality=quality)
        if out.tell() <= PICTURE_BYTES:
            break
    return out.getvalue()


def _decoded(text: str) -> bytes:
    try:
        if not text:
            raise ValueError
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise ValueError("the preset has no picture that can be read") from None


def _is_place(text: str) -> bool:
    """Whether a text names a folder or an address, and not a model on the Hub or one that comes with Easel."""
    return text not in ("", BUILTIN_SOURCE) and re.fullmatch(r"\w[\w.-]{0,95}/\w[\w.-]{0,95}", text) is None


def _title(text: str) -> str:
    return check_name(" ".join(text.split())[:60])


def _file(home: Home, id: str) -> OwnFile:
    return _checked(jobfile.load_mapping(_path(home, id)))


def _path(home: Home, id: str) -> Path:
    """Raises ValueError where there is no such preset."""
    path = presets.own_folder(home.plugins) / f"{id}.yaml"
    if not id.startswith(OWN) or Path(id).name != id or any(c in id for c in "/\\\0:") or not outside.is_plain(path):
        raise ValueError(f"there is no preset {id!r} of your own; choose one from the list")
    return path


def _keep(home: Home, file: OwnFile) -> str:
    folder = presets.own_folder(home.plugins)
    folder.mkdir(parents=True, exist_ok=True)
    if len(list(folder.glob(f"{OWN}*.yaml"))) >= MOST:
        raise ValueError(f"there are {MOST} presets of your own already; delete some first")
    name = re.sub(r"[^a-z0-9]+", "-", file.title.lower()).strip("-")[:40] or "preset"
    taken_ids = {p.id for p in presets.list_presets(plugins=home.plugins)}
    id = next(id for n in range(1, MOST + 2) if (id := f"{OWN}{name}{f'-{n}' if n > 1 else ''}") not in taken_ids)
    _write(folder / f"{id}.yaml", file)
    return id


def _write(path: Path, file: OwnFile) -> None:
    write_atomic(path, _text(file))


def _text(file: OwnFile) -> bytes:
    from ..hub.secrets import mask

    text = jobfile.dump_yaml(file)
    if mask(text) != text:
        raise ValueError("the settings hold what looks like an access token; take it out first")
    if len(text.encode()) > jobfile.MAX_BYTES:
        raise ValueError(f"the preset takes {len(text.encode())} bytes; {jobfile.MAX_BYTES} is the most")
    return text.encode()
