"""Base models from the Hub: what is needed, whether it fits the disk, and the download, shown in bytes.  No torch.

Everything lands in the standard Hub cache, so nothing is downloaded that another program already has.
"""

from __future__ import annotations

import fnmatch
import os
import shutil
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from ..family import FamilySpec
from ..formats.halves import other_name

SMALL = ("*.json", "*.txt", "*.model", "*.jinja")
ASK_S = 5.0  # for the one small request between a click on Start and its answer
SPARE_BYTES = 2 * 1024**3  # left free on the disk besides the download


def fetch(
    source: str,
    revision: str,
    spec: FamilySpec,
    half: bool,
    token: str | None,
    progress: Callable[[int, int], None],
    stop: Callable[[], bool],
    parts: Iterable[str] | None = None,
) -> Path:
    """The snapshot folder of a Hub model, complete for `spec`; downloads what the cache lacks.

    parts: those folders whose weights are wanted; None for all.  half: prefer the repository's fp16 files, where it has them.  token: None for huggingface_hub's own.  progress(bytes done, bytes of).
    Raises ValueError in plain words: no network, not found, licence not accepted, disk too small.
    """
    import httpx2
    from huggingface_hub import HfApi, hf_hub_download, try_to_load_from_cache
    from huggingface_hub import errors as hub
    from huggingface_hub.constants import HF_HUB_CACHE

    heavy = {p for group in spec.parts.values() for p in group} if parts is None else set(parts)
    try:
        info = HfApi(token=token).model_info(source, revision=revision or None, files_metadata=True, timeout=20)
    except (hub.GatedRepoError, hub.RepositoryNotFoundError) as error:
        raise ValueError(_refused(source, error)) from None
    except hub.RevisionNotFoundError:
        raise ValueError(f"{source} has no revision {revision!r}; leave it empty for the default branch") from None
    except (hub.HfHubHTTPError, httpx2.HTTPError, OSError) as error:  # offline, DNS, proxy, 5xx: the cache may still hold everything
        return _cached(source, revision, spec.index, heavy, error)
    wanted = [s for s in info.siblings or () if _wanted([x.rfilename for x in info.siblings or ()], s.rfilename, spec, heavy, half)]
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
        except hub.GatedRepoError as error:
            raise ValueError(_refused(source, error)) from None
        except (hub.HfHubHTTPError, httpx2.HTTPError, OSError) as error:
            raise ValueError(f"the download of {file.rfilename} broke off ({_first_line(error)}); press Resume to go on where it stopped") from None
        done += file.size or 0
        progress(done, total)
    return _snapshot(source, info.sha)  # type: ignore[arg-type]


def hindrance(source: str, revision: str, spec: FamilySpec, token: str | None) -> str:
    """Why a Hub model cannot be used, in a sentence, asked within ASK_S; "" where nothing speaks against it: it is whole on this computer, or to be had."""
    import httpx2
    from huggingface_hub import constants
    from huggingface_hub import errors as hub
    from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

    offline = OSError("offline")
    try:
        _cached(source, revision, spec.index, {p for group in spec.parts.values() for p in group}, offline)
        return ""
    except ValueError:
        pass
    try:
        hf_raise_for_status(get_session().get(f"{constants.ENDPOINT}/api/models/{source}/auth-check", headers=build_hf_headers(token=token), timeout=ASK_S))
    except (hub.GatedRepoError, hub.RepositoryNotFoundError) as error:
        return _refused(source, error)
    except (hub.HfHubHTTPError, httpx2.HTTPError, OSError) as error:
        return _unreachable(source, error)
    return ""


def _refused(source: str, error: Exception) -> str:
    """The Hub's refusal of a repository in plain words."""
    from huggingface_hub import constants
    from huggingface_hub.errors import GatedRepoError

    if isinstance(error, GatedRepoError):
        return f"{source} asks you to accept its licence: open {constants.ENDPOINT}/{source}, accept it there, then sign in on the Publish tab"
    return f"there is no model {source!r} on the Hub, or it is private and you are not signed in; check the name"


def _unreachable(source: str, error: Exception) -> str:
    from huggingface_hub.errors import OfflineModeIsEnabled

    offline = isinstance(error, OfflineModeIsEnabled)
    why = "offline mode is on (HF_HUB_OFFLINE)" if offline else f"the Hub cannot be reached ({_first_line(error)})"
    cure = "turn it off" if offline else "connect to the internet"
    return f"{source} is not on this computer yet, and {why}; {cure} and start the run again, or choose a base model that you have as a folder"


def lora_file(source: str, token: str | None, pairs: bool = False) -> Path:
    """The .safetensors file of a LoRA: a path, or what is downloaded: a Hub id's only one, or the one of diffusers' usual name, or
    the one that is named behind the id, as in owner/name/file.safetensors.

    pairs: for a model with two denoisers; of a repository, the file for the other one is then downloaded beside it, and one that has these two
    alone needs no name behind its id.  Raises ValueError in plain words.
    """
    path = Path(source).expanduser()
    if path.is_file():
        if path.suffix != ".safetensors":
            raise ValueError(f"{path.name} is not a .safetensors file; a LoRA is only read from one")
        return path.resolve()
    owner, _, rest = source.partition("/")
    name, _, named = rest.partition("/")
    if not owner or not name or source.startswith((".", "~")) or ":" in source or "\\" in source or (named and not named.endswith(".safetensors")):
        raise ValueError(f"there is no file {source!r}, and it is not a Hub id of the form owner/name or owner/name/file.safetensors; check the path of the LoRA")
    import httpx2
    from huggingface_hub import HfApi, hf_hub_download, try_to_load_from_cache
    from huggingface_hub import errors as hub

    repo, usual = f"{owner}/{name}", "pytorch_lora_weights.safetensors"
    beside = lambda file: "".join(file.rpartition("/")[:2]) + other if (other := other_name(file.rpartition("/")[2])) else ""
    try:
        names = [s.rfilename for s in HfApi(token=token).model_info(repo, timeout=20).siblings or () if s.rfilename.endswith(".safetensors")]
        two = pairs and len(names) == 2 and beside(names[0]) == names[1]
        wanted = named or (usual if usual in names else names[0] if len(names) == 1 or two else "")
        if wanted not in names:
            there = f"{repo} has {', '.join(names) or 'no .safetensors file'}"
            raise ValueError(f"{there}; name the one that is meant, as {repo}/{names[0] if names else usual}" if not named else f"{there}, but not {named}; check the name")
        if pairs and (other := beside(wanted)) in names:
            hf_hub_download(repo, other, token=token)
        return Path(hf_hub_download(repo, wanted, token=token))
    except (hub.GatedRepoError, hub.RepositoryNotFoundError) as error:
        raise ValueError(_refused(repo, error)) from None
    except (hub.HfHubHTTPError, httpx2.HTTPError, OSError) as error:
        kept = try_to_load_from_cache(repo, named or usual)
        if isinstance(kept, str):
            return Path(kept)
        raise ValueError(f"{source} is not on this computer yet, and the Hub cannot be reached ({_first_line(error)}); connect, or give a file's path") from None


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


def _wanted(names: list[str], name: str, spec: FamilySpec, heavy: set[str], half: bool) -> bool:
    """Whether a repository's file is needed: small files, and one set of weights for each part of `heavy`."""
    folder, _, base = name.rpartition("/")
    if "/" in folder or (not folder and base != spec.index):
        return False
    parts = {p for group in spec.parts.values() for p in group}
    if folder and folder not in parts and not folder.startswith(("tokenizer", "scheduler", "processor")) and not folder.endswith("_tokenizer"):
        return False
    if any(fnmatch.fnmatch(base, pattern) for pattern in SMALL) and not base.endswith(".index.json"):
        return True
    if folder not in heavy:
        return False
    weights = [n.rpartition("/")[2] for n in names if n.startswith(folder + "/") and ".safetensors" in n]
    plain = [w for w in weights if ".fp16" not in w and "non_ema" not in w and ".bf16" not in w]
    fp16 = [w for w in weights if ".fp16" in w and "non_ema" not in w]
    return base in ((fp16 or plain) if half else (plain or fp16))


def _cached(source: str, revision: str, index: str, heavy: set[str], error: Exception) -> Path:
    from ..formats.basemodel import weight_files

    try:
        folder = _snapshot(source, revision or "main")
        (folder / index).stat()
        for part in heavy:
            weight_files(folder / part)
    except (ValueError, OSError):
        raise ValueError(_unreachable(source, error)) from None
    return folder


def snapshot_here(source: str, revision: str) -> Path | None:
    """The folder of what was downloaded of a Hub model before, whole or not; None where nothing was.  Asks no network."""
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return _snapshot(source, revision or "main")
    except (LocalEntryNotFoundError, HFValidationError):
        return None


def _snapshot(source: str, revision: str) -> Path:
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(source, revision=revision, local_files_only=True))


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
