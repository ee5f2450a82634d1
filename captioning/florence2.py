"""Florence-2, Microsoft's small captioner, through transformers' own class: no remote code, no torchvision."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from captioning import _weights
from captioning._weights import Weights

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
    return _weights.needs(_wanted(options))


def fetch(options: Options, progress: Callable[[int, int], None], stop: Callable[[], bool]) -> bool:
    """Whether everything is here, after downloading what was not; False when stop() ended it.  Raises ValueError in plain words."""
    return bool(options.folder) or _weights.fetch(_wanted(options), progress, stop)


def load(options: Options, device: str) -> State:
    """The model on `device` (cpu, cuda, mps), ready to describe.  Raises ValueError where weights are absent or not Florence-2's."""
    problem = _folder_problem(Path(options.folder).expanduser()) if options.folder else ""
    if problem:
        raise ValueError(problem)
    folder = str(Path(options.folder).expanduser()) if options.folder else _weights.snapshot(_wanted(options))
    if not folder:
        raise ValueError(_weights.absent(_wanted(options)))
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
    if not any((folder / name).is_file() for name in _weights.SAFETENSORS):
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


def _wanted(options: Options) -> Weights:
    repo, size = MODELS[options.model]
    return Weights(repo, size, FILES, _weights.SAFETENSORS, _whole, "use the file name or fixed text captioner instead")


def _whole(folder: Path) -> bool:
    has = lambda *names: any((folder / name).exists() for name in names)
    return _weights.has_safetensors(folder) and has("tokenizer_config.json") and has("tokenizer.json", "vocab.json") and has(*PROCESSOR)
