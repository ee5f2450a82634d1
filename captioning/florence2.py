"""Florence-2, Microsoft's small captioner, through transformers' own class: no remote code, no torchvision."""

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
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

TITLE = "Florence-2"
BLURB = "Looks at each picture and describes it in English. Runs on any graphics card and, slowly, on a CPU."
NEEDS_PIXELS = True
EMPTY = "the model said nothing about this picture"

# The microsoft/ repositories keep an older layout that transformers 5 does not read; these hold the same weights, converted.
MODELS = {
    "base": ("florence-community/Florence-2-base-ft", "about 0.5-1 GB"),
    "large": ("florence-community/Florence-2-large-ft", "about 1.6-3.3 GB"),
}
TASKS = {"brief": "<CAPTION>", "detailed": "<DETAILED_CAPTION>", "more detailed": "<MORE_DETAILED_CAPTION>"}
FILES = ("*.json", "*.txt", "*.safetensors", "*.jinja")  # never a pickle
SPARE_BYTES = 2 * 1024**3  # left free on the disk besides the download
WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
PROCESSOR = ("preprocessor_config.json", "processor_config.json")


class Options(BaseModel):
    """What this captioner can be told."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: Literal["base", "large"] = Field("base", description="Size of the model: base is fast, large sees more and takes three times as long.")
    detail: Literal["brief", "detailed", "more detailed"] = Field("detailed", description="How much it says: a sentence, some sentences, or a paragraph.")
    folder: str = Field("", max_length=1000, description="Folder with Florence-2 weights on this computer, used instead of a download; empty for none.")
    beams: int = Field(3, ge=1, le=10, description="Wordings weighed against each other; 1 is fastest.")
    max_tokens: int = Field(200, ge=8, le=1024, description="Longest caption, in tokens of the model (some 3/4 of a word each).")
    batch_size: int = Field(1, ge=1, le=64, description="Pictures described at once; more is faster on a graphics card and takes more memory.")


@dataclass(frozen=True)
class State:
    """A loaded model."""

    model: Any
    processor: Any
    task: str
    options: Options


def needs(options: Options) -> str:
    """What is missing, a sentence; '' when it can start at once.  A sentence about a download is no obstacle.  No network, no torch."""
    if options.folder:
        return _folder_problem(Path(options.folder).expanduser())
    repo, size = MODELS[options.model]
    if _snapshot(repo):
        return ""
    if _offline():
        return f"{repo} is not on this computer, and HF_HUB_OFFLINE forbids to download it; name a folder that holds it, or use another captioner"
    return f"{repo} ({size}) is downloaded from the Hugging Face Hub at the first use"


def fetch(options: Options, progress: Callable[[int, int], None], stop: Callable[[], bool]) -> bool:
    """Whether everything is here, after downloading what was not; False when stop() ended it.  progress(bytes done, bytes of).

    Raises ValueError in plain words: no network, not found, disk too small.  What has arrived is kept for the next time.
    """
    if options.folder or _snapshot(MODELS[options.model][0]):
        return True
    from huggingface_hub import HfApi, hf_hub_download

    repo, size = MODELS[options.model]
    try:
        info = HfApi().model_info(repo, files_metadata=True, timeout=20)
        wanted = [f for f in info.siblings if "/" not in f.rfilename and any(fnmatch.fnmatch(f.rfilename, p) for p in FILES)]
        if not any(f.rfilename in WEIGHTS for f in wanted):
            raise ValueError(f"{repo} has no weights in the safetensors format; name a folder with converted ones, or use another captioner")
        total, done = sum(f.size or 0 for f in wanted), 0
        _check_room(repo, total)
        for file in wanted:
            hf_hub_download(repo, file.rfilename, tqdm_class=_byte_bar(lambda n, before=done: progress(before + n, total), stop))
            done += file.size or 0
            progress(done, total)
    except _Ended:
        return False
    except (ValueError, MemoryError):
        raise
    except Exception as error:  # offline, DNS, proxy, 5xx, a broken connection: the cure is the same
        if getattr(error, "errno", None) == errno.ENOSPC:
            raise
        if getattr(getattr(error, "response", None), "status_code", 0) in (401, 403, 404):
            raise ValueError(f"the Hugging Face Hub does not show {repo} to you; name a folder with its weights, or use another captioner") from error
        raise ValueError(_absent(repo, size)) from error
    return True


def load(options: Options, device: str) -> State:
    """The model on `device` (cpu, cuda, mps), ready to describe.  Raises ValueError where weights are absent or not Florence-2's."""
    problem = _folder_problem(Path(options.folder).expanduser()) if options.folder else ""
    if problem:
        raise ValueError(problem)
    repo, size = MODELS[options.model]
    folder = str(Path(options.folder).expanduser()) if options.folder else _snapshot(repo)
    if not folder:
        raise ValueError(_absent(repo, size))
    import torch
    from safetensors import SafetensorError
    from transformers import AutoProcessor, Florence2ForConditionalGeneration

    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("this job asks for a graphics card, but torch sees none; choose device 'cpu'")
    try:
        processor = AutoProcessor.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        model, info = Florence2ForConditionalGeneration.from_pretrained(
            folder, dtype=_dtype(torch, device), local_files_only=True, trust_remote_code=False, use_safetensors=True, output_loading_info=True
        )
    except (OSError, ValueError, KeyError, AttributeError, TypeError, RuntimeError, SafetensorError) as error:
        first = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise ValueError(f"the Florence-2 weights in {folder} do not load: {first}; use those of {MODELS['base'][0]} or {MODELS['large'][0]}") from error
    missing = [name for name in info["missing_keys"] if "embed_tokens" not in name and "lm_head" not in name]  # tied to others
    if len(missing) > 0.02 * len(model.state_dict()):  # what transformers fills with random numbers, it only logs
        raise ValueError(f"the Florence-2 weights in {folder} are incomplete: {len(missing)} tensors are missing, such as {min(missing)}; get them again")
    return State(model.to(device).eval(), processor, TASKS[options.detail], options)


def caption(state: State, pictures: list, names: list[str]) -> list[str]:
    """One caption a picture (RGB, any size); '' where the model says nothing."""
    import torch

    inputs = state.processor(text=[state.task] * len(pictures), images=list(pictures), return_tensors="pt", padding=True)
    inputs = inputs.to(state.model.device, state.model.dtype)
    with torch.inference_mode():
        tokens = state.model.generate(**inputs, max_new_tokens=state.options.max_tokens, num_beams=state.options.beams, do_sample=False)
    # for a caption, the processor's own post-processing does no more than drop <s> and </s>
    return [" ".join(text.split()) for text in state.processor.batch_decode(tokens, skip_special_tokens=True)]


def _dtype(torch, device: str):
    """bf16 where the hardware computes in it; fp16 on older cards; fp32 on older processors, which are slow at anything else."""
    if device == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    if device == "mps":
        return torch.float16
    native = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)() or getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)()
    return torch.bfloat16 if native else torch.float32


def _folder_problem(folder: Path) -> str:
    if not folder.is_dir():
        return f"there is no folder {folder}; name the one that holds Florence-2's config.json and model.safetensors"
    if not (folder / "config.json").is_file():
        return f"{folder} has no config.json; name the folder that holds Florence-2's config.json and model.safetensors"
    if not any((folder / name).is_file() for name in WEIGHTS):
        return f"{folder} has no model.safetensors; weights in other formats (pickle) are not opened"
    return _layout_problem(folder)


def _layout_problem(folder: Path) -> str:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        kind, language = config.get("model_type"), config.get("text_config", {}).get("model_type")
    except (OSError, ValueError, AttributeError):
        return f"{folder / 'config.json'} cannot be read; get the model again"
    if kind != "florence2":
        return f"{folder} holds a model of the kind {kind!r}, not Florence-2"
    if language == "florence2_language":
        return f"{folder} holds Microsoft's own layout of Florence-2, which today's transformers does not read; use {MODELS['base'][0]} or {MODELS['large'][0]}"
    return ""


def _snapshot(repo: str) -> str:
    """The folder of the downloaded model in the Hub's cache; '' if it is not there whole."""
    from huggingface_hub import try_to_load_from_cache

    config = try_to_load_from_cache(repo, "config.json")
    if not isinstance(config, str):
        return ""
    folder = Path(config).parent
    has = {name: (folder / name).exists() for name in (*WEIGHTS, *("tokenizer_config.json", "tokenizer.json", "vocab.json"), *PROCESSOR)}
    weights = has[WEIGHTS[0]] or (has[WEIGHTS[1]] and _all_shards(folder / WEIGHTS[1]))
    tokenizer = has["tokenizer_config.json"] and (has["tokenizer.json"] or has["vocab.json"])
    return str(folder) if weights and tokenizer and any(has[name] for name in PROCESSOR) else ""


def _all_shards(index: Path) -> bool:
    try:
        names = set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values())
    except (OSError, ValueError, KeyError):
        return False
    return all((index.parent / name).exists() for name in names)


def _offline() -> bool:
    return any(os.environ.get(name, "").strip().upper() in ("1", "ON", "YES", "TRUE") for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"))


def _absent(repo: str, size: str) -> str:
    return (
        f"{repo} ({size}) is not on this computer and cannot be downloaded now. Connect to the internet and start again; "
        f"or download https://huggingface.co/{repo} on another computer and name its folder in the options; "
        "or use the file name or fixed text captioner. No caption was changed"
    )


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

