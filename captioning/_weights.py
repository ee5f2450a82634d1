"""Weights of a captioner: in the Hub's cache, or downloaded into it, told in bytes.  No torch, and no network but in fetch().

Not a captioner itself: files here whose name begins with _ are not listed.
"""

from __future__ import annotations

import errno
import fnmatch
import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

SPARE_BYTES = 2 * 1024**3  # left free on the disk besides the download
SAFETENSORS = ("model.safetensors", "model.safetensors.index.json")


@dataclass(frozen=True)
class Weights:
    """What a captioner takes from the Hub.  size: in words; files: patterns of names, no pickle among them; first: of which one must be there; whole: whether a folder holds all."""

    repo: str
    size: str
    files: tuple[str, ...]
    first: tuple[str, ...]
    whole: Callable[[Path], bool]
    otherwise: str  # what a person can do without them, the end of a sentence


def needs(wanted: Weights) -> str:
    """What is missing, a sentence; "" where all is on this computer.  A sentence about a download is no obstacle."""
    if snapshot(wanted):
        return ""
    if offline():
        return f"{wanted.repo} is not on this computer, and HF_HUB_OFFLINE forbids to download it; name a folder that holds it, or {wanted.otherwise}"
    return f"{_named(wanted)} is downloaded from the Hugging Face Hub at the first use"


def snapshot(wanted: Weights) -> str:
    """The folder of the downloaded model in the Hub's cache; "" if it is not there whole."""
    from huggingface_hub import try_to_load_from_cache

    config = try_to_load_from_cache(wanted.repo, "config.json")
    if not isinstance(config, str):
        return ""
    return str(Path(config).parent) if wanted.whole(Path(config).parent) else ""


def fetch(wanted: Weights, progress: Callable[[int, int], None], stop: Callable[[], bool], token: str | None = None) -> bool:
    """Whether everything is here, after downloading what was not; False when stop() ended it.  progress(bytes done, bytes of).

    Raises ValueError in plain words: no network, not found, licence not accepted, disk too small.  What has arrived is kept for the next time.
    """
    if snapshot(wanted):
        return True
    from huggingface_hub import HfApi, errors, hf_hub_download

    try:
        info = HfApi(token=token).model_info(wanted.repo, files_metadata=True, timeout=20)
        files = [f for f in info.siblings or () if "/" not in f.rfilename and any(fnmatch.fnmatch(f.rfilename, p) for p in wanted.files)]
        if not any(f.rfilename in wanted.first for f in files):
            raise ValueError(f"{wanted.repo} has no {wanted.first[0]}; {wanted.otherwise}")
        total, done = sum(f.size or 0 for f in files), 0
        _check_room(wanted.repo, total)
        for file in files:
            hf_hub_download(wanted.repo, file.rfilename, token=token, tqdm_class=_byte_bar(lambda n, before=done: progress(before + n, total), stop))  # type: ignore[misc]
            done += file.size or 0
            progress(done, total)
    except _Ended:
        return False
    except (ValueError, MemoryError):
        raise
    except errors.GatedRepoError as error:
        raise ValueError(gated(wanted.repo)) from error
    except Exception as error:  # offline, DNS, proxy, 5xx, a broken connection: the cure is the same
        if getattr(error, "errno", None) == errno.ENOSPC:
            raise
        if getattr(getattr(error, "response", None), "status_code", 0) in (401, 403, 404):
            raise ValueError(f"the Hugging Face Hub does not show {wanted.repo} to you: check the name, or sign in on the Publish tab if it is private; {wanted.otherwise}") from error
        raise ValueError(absent(wanted)) from error
    return True


def gated(repo: str) -> str:
    """What to do about a model that is given only to those who accepted its licence."""
    from huggingface_hub import constants

    return f"{repo} asks you to accept its licence first: open {constants.ENDPOINT}/{repo}, accept it there, sign in on the Publish tab, and start again"


def absent(wanted: Weights) -> str:
    """That the weights are neither here nor to be had now, and what to do."""
    return (
        f"{_named(wanted)} is not on this computer and cannot be downloaded now. Connect to the internet and start again; "
        f"or download https://huggingface.co/{wanted.repo} on another computer and name its folder in the options; "
        f"or {wanted.otherwise}. No caption was changed"
    )


def offline() -> bool:
    """Whether the Hub may not be asked."""
    return any(os.environ.get(name, "").strip().upper() in ("1", "ON", "YES", "TRUE") for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"))


def has_safetensors(folder: Path) -> bool:
    """Whether a folder holds model.safetensors, in one file or with all its shards."""
    if (folder / SAFETENSORS[0]).exists():
        return True
    try:
        names = set(json.loads((folder / SAFETENSORS[1]).read_text(encoding="utf-8"))["weight_map"].values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False
    return bool(names) and all((folder / str(name)).exists() for name in names)


def _named(wanted: Weights) -> str:
    return f"{wanted.repo} ({wanted.size})" if wanted.size else wanted.repo


class _Ended(Exception):
    """The user asked to stop while a file was under way."""


def _check_room(repo: str, total_bytes: int) -> None:
    from huggingface_hub.constants import HF_HUB_CACHE

    Path(HF_HUB_CACHE).mkdir(parents=True, exist_ok=True)
    free_bytes = shutil.disk_usage(HF_HUB_CACHE).free
    if total_bytes + SPARE_BYTES > free_bytes:
        raise ValueError(
            f"{repo} takes {total_bytes / 1e9:.1f} GB, but only {free_bytes / 1e9:.1f} GB are free where the Hub's cache lies ({HF_HUB_CACHE}); "
            "free some, or set HF_HOME to a larger disk"
        )


def _byte_bar(report: Callable[[int], None], stop: Callable[[], bool]):
    """A tqdm class for the Hub's download that tells bytes instead of drawing, and ends the download on Stop."""
    from tqdm.auto import tqdm

    class Bar(tqdm):
        def __init__(self, *args, **kwargs):
            kwargs.pop("name", None)
            self.told_t = 0.0
            super().__init__(*args, **{**kwargs, "file": open(os.devnull, "w", encoding="utf-8")})  # noqa: SIM115 closed with the process

        def update(self, n=1):
            super().update(n)
            if stop():
                raise _Ended
            if time.monotonic() - self.told_t > 0.3:
                self.told_t = time.monotonic()
                report(int(self.n))

    return Bar
