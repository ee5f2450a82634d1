"""Base models from the Hub: what is needed, whether it fits the disk, and the download, shown in bytes.  No torch.

Everything lands in the standard Hub cache, so nothing is downloaded that another program already has.
"""

from __future__ import annotations

import fnmatch
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from .family import FamilySpec

SMALL = ("*.json", "*.txt", "*.model", "*.jinja")
SPARE_BYTES = 2 * 1024**3  # left free on the disk besides the download


def fetch(
    source: str,
    revision: str,
    spec: FamilySpec,
    half: bool,
    token: str | None,
    progress: Callable[[int, int], None],
    stop: Callable[[], bool],
) -> Path:
    """The snapshot folder of a Hub model, complete for `spec`; downloads what the cache lacks.

    half: prefer the repository's fp16 files, where it has them.  token: None for huggingface_hub's own.  progress(bytes done, bytes of).
    Raises ValueError in plain words: no network, not found, licence not accepted, disk too small.
    """
    import httpx2
    from huggingface_hub import HfApi, hf_hub_download, try_to_load_from_cache
    from huggingface_hub import errors as hub
    from huggingface_hub.constants import HF_HUB_CACHE

    try:
        info = HfApi(token=token).model_info(source, revision=revision or None, files_metadata=True, timeout=20)
    except hub.GatedRepoError:
        raise ValueError(
            f"{source} asks you to accept its licence: open https://huggingface.co/{source}, accept it there, then sign in on the Publish tab"
        ) from None
    except hub.RepositoryNotFoundError:
        raise ValueError(f"there is no model {source!r} on the Hub, or it is private and you are not signed in; check the name") from None
    except hub.RevisionNotFoundError:
        raise ValueError(f"{source} has no revision {revision!r}; leave it empty for the default branch") from None
    except (hub.HfHubHTTPError, httpx2.HTTPError, OSError) as error:  # offline, DNS, proxy, 5xx: the cache may still hold everything
        return _cached(source, revision, spec, error)
    wanted = [s for s in info.siblings if _wanted([x.rfilename for x in info.siblings], s.rfilename, spec, half)]
    missing = [s for s in wanted if not isinstance(try_to_load_from_cache(source, s.rfilename, revision=info.sha), str)]
    total = sum(s.size or 0 for s in missing)
    cache = Path(HF_HUB_CACHE)
    cache.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(cache).free
    if total + SPARE_BYTES > free and missing:
        raise ValueError(f"{source} needs {total / 1e9:.1f} GB more, but {cache} has {free / 1e9:.1f} GB free; free some, or set HF_HOME to a larger disk")
    done = 0
    bar = _byte_counter(lambda n: progress(done + n, total), stop)
    for file in missing:
        try:
            # by the branch, not by its commit: only then does the cache remember what the branch meant, for when we are offline
            hf_hub_download(source, file.rfilename, revision=revision or None, token=token, tqdm_class=bar)
        except hub.GatedRepoError:
            raise ValueError(f"{source} asks you to accept its licence: open https://huggingface.co/{source}, accept it there, then sign in") from None
        except (hub.HfHubHTTPError, httpx2.HTTPError, OSError) as error:
            raise ValueError(f"the download of {file.rfilename} broke off ({_first_line(error)}); press Resume to go on where it stopped") from None
        done += file.size or 0
        progress(done, total)
    return _snapshot(source, info.sha)


class DownloadStopped(Exception):
    """The user asked to stop while a file was under way; what arrived is kept."""


def _byte_counter(report: Callable[[int], None], stop: Callable[[], bool]):
    from tqdm.auto import tqdm

    class Bar(tqdm):
        """Tells bytes instead of drawing: the log is a file."""

        def __init__(self, *args, **kwargs):
            kwargs.pop("name", None)
            self._told = 0.0
            super().__init__(*args, **{**kwargs, "file": open(os.devnull, "w", encoding="utf-8")})  # noqa: SIM115 closed with the process

        def update(self, n=1):
            super().update(n)
            if stop():
                raise DownloadStopped
            if time.monotonic() - self._told > 0.3:
                self._told = time.monotonic()
                report(int(self.n))

    return Bar


def _wanted(names: list[str], name: str, spec: FamilySpec, half: bool) -> bool:
    """Whether a repository's file is needed: small files, and one set of weights for each part."""
    folder, _, base = name.rpartition("/")
    if "/" in folder or (not folder and base != "model_index.json"):
        return False
    parts = {p for group in spec.parts.values() for p in group}
    if folder and folder not in parts and not folder.startswith(("tokenizer", "scheduler", "processor")):
        return False
    if any(fnmatch.fnmatch(base, pattern) for pattern in SMALL) and not base.endswith(".index.json"):
        return True
    if folder not in parts:
        return False
    weights = [n.rpartition("/")[2] for n in names if n.startswith(folder + "/") and ".safetensors" in n]
    plain = [w for w in weights if ".fp16" not in w and "non_ema" not in w and ".bf16" not in w]
    fp16 = [w for w in weights if ".fp16" in w and "non_ema" not in w]
    return base in ((fp16 or plain) if half else (plain or fp16))


def _cached(source: str, revision: str, spec: FamilySpec, error: Exception) -> Path:
    from huggingface_hub.errors import OfflineModeIsEnabled

    from .basemodel import check_folder

    offline = isinstance(error, OfflineModeIsEnabled)
    why = "offline mode is on (HF_HUB_OFFLINE)" if offline else f"the Hub cannot be reached ({_first_line(error)})"
    cure = "turn it off" if offline else "connect to the internet"
    try:
        folder = _snapshot(source, revision or "main")
        check_folder(folder, spec)
    except (ValueError, OSError):
        raise ValueError(
            f"{source} is not on this computer yet, and {why}; {cure} and resume the run, or choose a base model that you have as a folder"
        ) from None
    return folder


def _snapshot(source: str, revision: str) -> Path:
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(source, revision=revision, local_files_only=True))


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
