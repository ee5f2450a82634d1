"""Publishing to the Hugging Face Hub: which files, and pushing them whole or not at all.  Signing in is account.py's."""

from __future__ import annotations

import datetime
import json
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from safetensors import safe_open

from .. import outside, registry
from ..family import Expert
from ..files import replacing
from ..formats import foreign, ofcheckpoint
from ..formats.adapting import is_whole, stands_alone
from ..formats.basemodel import read_header
from ..formats.deliver import Layout, Offer, adapter_file, deliver, needed, offers, relaid
from ..formats.layouts import names_in
from .account import Account, check_repo_id, find_token, save_token, signed_in, suggest_repo_id
from .card import modelspec_metadata
from .client import Cancelled, HubError
from .push import Patience, Planned, Pushed, Watcher, push
from .secrets import mask

if TYPE_CHECKING:
    from ..runs.run import Run

__all__ = [
    "Account", "Cancelled", "HubError", "Patience", "Planned", "Pushed", "Watcher", "check_repo_id", "export_weights", "export_zip",
    "find_token", "offers_of", "plan", "publishable", "push", "save_token", "signed_in", "suggest_repo_id",
]  # fmt: skip
PICTURES = {".webp", ".png", ".jpg", ".jpeg"}


def offers_of(run: Run, plugins: Path | None = None) -> tuple[Offer, ...]:
    """The files in which the run's adapter can be had; none for a network of its own.  Raises ValueError where a plugin of its job is gone."""
    config = run.config()
    adapter = registry.get("adapters", config.adapter.type, plugins)
    spec = registry.get("families", config.model.family, plugins).SPEC
    return offers(spec, config.adapter.type, adapter, spec.learning(config.loss.expert))


def publishable(run: Run, checkpoint: str | int, folder: Path) -> dict[str, Path]:
    """{name in a repository or ZIP: file} of a checkpoint, written below `folder` where need be: one file, or one for each program.

    The names are the same for every checkpoint, so that a repository holds one LoRA.  Raises ValueError.
    """
    files = needed(offers_of(run))
    if not files:
        return {"": export_weights(run, checkpoint, folder / "whole")}
    return {o.file_name(run.config().name): export_weights(run, checkpoint, folder / o.file_name("weights"), o.layout, o.expert) for o in files}


def plan(
    run: Run, checkpoint: str | int, samples: tuple[str, ...] | list[str], card_text: str, repo_id: str = "", *, weights: dict[str, Path] | None = None
) -> list[Planned]:
    """Every file of a push, README first: bytes, or regular files inside the run that we wrote.  Raises ValueError.

    checkpoint: "final" or a step.  samples: paths relative to the run.  weights: what publishable() made of the
    checkpoint; without it, a checkpoint's own adapter file stands for it (right size, not yet the right layout), and of a network of its own the result.
    """
    if repo_id:
        check_repo_id(repo_id)
    if mask(card_text) != card_text:
        raise ValueError("the model card holds something that looks like a Hub token; take it out")
    if not card_text.strip():
        raise ValueError("the model card is empty; press Reset card, or write one")
    weights = weights or {o.file_name(run.config().name): _weights(run, checkpoint) for o in needed(offers_of(run))} or {"": _weights(run, "final")}
    files = [Planned(card_text.encode(), "README.md")]
    for name, path in weights.items():
        if path.is_dir():
            inner = sorted(f.relative_to(path).as_posix() for f in path.rglob("*") if f.is_file())
            files += [Planned(inside(path.parent, f"{path.name}/{f}"), f) for f in inner]
        else:
            files.append(Planned(path, name))
    for sample in dict.fromkeys(samples):
        path = inside(run.path, sample)
        if path.suffix.lower() not in PICTURES or PurePosixPath(sample).parts[0] != "samples":
            raise ValueError(f"{sample} is not a sample picture of this run")
        files.append(Planned(path, f"samples/{path.name}"))
    return files


def _weights(run: Run, checkpoint: str | int) -> Path:
    if checkpoint == "final":
        result = run.result()
        if result is None:
            raise ValueError("this run has no finished LoRA yet; choose one of its checkpoints, or let it finish")
        if result.is_dir():
            return result
        return inside(run.path, str(result.relative_to(run.path)) if result.is_absolute() else str(result))
    return inside(run.path, str(_checkpoint(run, int(checkpoint)).relative_to(run.path) / "adapter.safetensors"))


def _checkpoint(run: Run, step: int) -> Path:
    found = dict(run.checkpoints())
    if step not in found:
        steps = ", ".join(str(s) for s in sorted(found)) or "none"
        raise ValueError(f"this run has no checkpoint at step {step} any more; there are: {steps}")
    return found[step]


def inside(root: Path, relative: str) -> Path:
    """A regular file below `root`, reached through no link, and none of our own hidden ones.  Raises ValueError."""
    text = str(relative).replace("\\", "/")
    if any(part.startswith(".") for part in text.split("/")):
        raise ValueError(f"{relative!r} does not lie inside the run")
    try:
        return outside.inside(root, text)
    except OSError:
        raise ValueError(f"{relative} is not there any more; reload the page and choose again") from None


def export_weights(run: Run, checkpoint: str | int, target: Path, layout: Layout | None = None, expert: Expert | None = None) -> Path:
    """The adapter of a checkpoint at `target`; where it is the finished one in the result's own layout, the result itself.

    layout: without it, the one that most programs read (see deliver.offers).  expert: of two denoisers; without it, the first that learnt.  A network of its own is a folder in diffusers' layout.
    Raises ValueError where the family or kind has no such layout, and for a checkpoint of a network whose training has not finished.
    """
    config = run.config()
    spec = registry.get("families", config.model.family).SPEC
    adapter = registry.get("adapters", config.adapter.type)
    if stands_alone(adapter):
        if layout not in (None, "diffusers"):
            raise ValueError("this run trained the whole model, or a network beside it: its result is a folder in diffusers' layout, and has no other")
        if checkpoint == "final":
            return _weights(run, checkpoint)
        weights, result = adapter_file(_checkpoint(run, int(checkpoint))), run.result()
        if result is None:
            raise ValueError("this run trained the whole model, or a network beside it: a checkpoint of it can be had once the run has finished; let it finish")
        ofcheckpoint.write_folder(weights, result, target, adapter, spec.denoiser if is_whole(adapter) else config.adapter.type, spec.denoiser)
        return target
    layout, expert = layout or offers_of(run)[0].layout, expert or offers_of(run)[0].expert
    if checkpoint == "final":
        result = _weights(run, checkpoint)
        if expert:
            own = next(o for o in offers_of(run) if o.expert == expert and o.layout == _layout_of(result, spec))
            result = inside(run.path, own.file_name(config.name))
        if _layout_of(result, spec) == layout:
            return result
        relaid(result, target, spec, layout, names=lambda folder: [])
        return target
    step = int(checkpoint)
    folder = _checkpoint(run, step)
    result = run.result()
    known = _known(result) if result else {"prediction_type": "", "pictures": 0, "zero_terminal_snr": "", "context_sha256": ""}
    date = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d")
    said = modelspec_metadata(config, spec, date=date, step=step, **known)
    deliver(folder, target, said, half=config.model.dtype != "fp32", spec=spec, layout=layout, expert=expert)
    return target


def _layout_of(result: Path, spec) -> str:
    """The layout that a result of ours has: of an older Easel diffusers', whatever the family."""
    return foreign.layout(names_in(result), spec)


def _known(result: Path) -> dict:
    """What only the training knew, out of the finished file's own metadata."""
    read_header(result)  # refuses what is no whole file of weights, before all of it is mapped
    with safe_open(result, framework="np") as file:
        said = file.metadata() or {}
    return {"prediction_type": said.get("modelspec.prediction_type", ""), "pictures": int(said.get("ss_num_train_images", "0")), "zero_terminal_snr": said.get("ss_zero_terminal_snr", ""), "context_sha256": _context(said)}


def _context(said: Mapping[str, str]) -> str:
    """The sha256 of the context adapter, of a result's metadata; "" where there is none."""
    try:
        return str(json.loads(said.get("easel.context_adapter", "{}")).get("sha256", ""))
    except (ValueError, AttributeError):
        return ""


def export_zip(run: Run, checkpoint: str | int, samples: tuple[str, ...] | list[str], card_text: str, target: Path) -> Path:
    """`target`, a ZIP of the LoRA, its card and the samples.  Whole or not there."""
    with tempfile.TemporaryDirectory(prefix=".zip-", dir=target.parent) as folder:
        files = plan(run, checkpoint, samples, card_text, weights=publishable(run, checkpoint, Path(folder)))
        with replacing(target) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            for item in files:
                if isinstance(item.local, bytes):
                    archive.writestr(item.remote, item.local)
                else:
                    archive.write(item.local, item.remote)
    return target
