"""Any image-text model of transformers, asked with a prompt: Qwen3-VL, JoyCaption (LLaVA), Gemma 3 and their like.  No remote code, no torchvision."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from captioning import _weights
from captioning._weights import Weights

TITLE = "Vision model"
BLURB = "Asks a larger model that sees and writes, with a prompt of yours: Qwen3-VL, JoyCaption, Gemma 3 or another. Best on a graphics card."
NEEDS_PIXELS = True
EMPTY = "the model said nothing about this picture"

# title -> Hub id, its size, and whether its licence is to be accepted on the Hub first
MODELS = {
    "Qwen3-VL 2B": ("Qwen/Qwen3-VL-2B-Instruct", "about 4.3 GB", False),
    "Qwen3-VL 4B": ("Qwen/Qwen3-VL-4B-Instruct", "about 8.9 GB", False),
    "Qwen3-VL 8B": ("Qwen/Qwen3-VL-8B-Instruct", "about 17.5 GB", False),
    "JoyCaption beta one": ("fancyfeast/llama-joycaption-beta-one-hf-llava", "about 17 GB", False),
    "Gemma 3 4B": ("google/gemma-3-4b-it", "about 8.6 GB", True),
}
PROMPTS = {
    "short": "Describe this picture in one plain sentence of at most twenty words. Begin with the subject.",
    "detailed": "Describe this picture in three to five plain sentences: the subject, what it does, what it wears or is made of, what surrounds it, the light, and how the picture is framed. Only what can be seen; no guesses, no opinion.",
    "tags": "List what this picture shows as short tags, with commas between, in small letters, the most important first, at most thirty. Nothing but the tags.",
    "training": "Write a caption for training an image model, in one or two plain sentences. Call the main subject {trigger} and do not describe what it always looks like; describe what may change: pose, clothes, place, light, framing.",
    "without style": "Describe this picture in one or two plain sentences: what is to be seen and where. Do not say how it is made: no word on style, medium, technique, artist, mood or quality.",
}
PLACE = "{trigger}"  # where a question names the trigger word
CLIP = "These {count} pictures are frames of one clip, in order. "
FILES = ("*.json", "*.txt", "*.jinja", "*.model", "model*.safetensors")  # never a pickle
PROCESSOR = ("preprocessor_config.json", "processor_config.json")
IN_16_BITS = r"(?:.*\.)?(?:visual|vision_tower|vision_model|multi_modal_projector|lm_head)"  # modules that are never quantised: they are small, and what is lost there is not seen
IN_FP16 = ("llava", "llava_next", "idefics3", "smolvlm")  # kinds that older cards may compute in fp16: activations of Gemma 3 and Qwen-VL leave its range, so they take emulated bf16
IN_4_BITS = 0.35  # share of the 16-bit weights that is left: nf4 with its scales, and what stays as it is
BESIDES_BYTES = 2 * 1024**3  # on the card, for what is computed
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_THOUGHTS = re.compile(r"<think>.*?(?:</think>|\Z)", re.DOTALL)


class Options(BaseModel):
    """What this captioner can be told."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: Literal["Qwen3-VL 2B", "Qwen3-VL 4B", "Qwen3-VL 8B", "JoyCaption beta one", "Gemma 3 4B"] = Field("Qwen3-VL 2B", description="Which model: a larger one sees more and takes more memory. Gemma asks you to accept its licence on the Hub first.")
    other_model: str = Field("", max_length=500, description="Another image-text model, used instead: its Hub id, such as owner/name, or a folder on this computer; empty for none.")
    ask: Literal["short", "detailed", "tags", "training", "without style"] = Field("detailed", description="What the model is asked: a sentence, several, a list of tags, a caption with the trigger word for the subject, or the content alone.")
    prompt: str = Field("", max_length=4000, description="A question of your own, used instead of that; {trigger} stands for the trigger word. Empty for none.")
    trigger: str = Field("", max_length=100, description="Word that {trigger} stands for; the trigger word of the job unless given here.")
    bits: Literal["auto", "16", "4"] = Field("auto", description="Bits of a weight: 4 take about a third of the memory and see slightly less; auto takes 4 where the graphics card is too small for 16.")
    frames: int = Field(6, ge=1, le=32, description="Frames of a clip that the model is shown, evenly spread.")
    side: int = Field(1024, ge=64, le=4096, description="Longest side in px that a picture is scaled down to before the model looks at it; more shows small things and takes longer.")
    max_tokens: int = Field(300, ge=8, le=4096, description="Longest answer, in tokens of the model (some 3/4 of a word each); one that is cut off ends with its last whole sentence.")
    temperature: float = Field(0.0, ge=0, le=2, description="How freely words are chosen; 0 always takes the likeliest.")
    seed: int = Field(0, ge=0, lt=2**32, description="Seed of that choice; without effect at temperature 0.")
    batch_size: int = Field(1, ge=1, le=64, description="Pictures described at once; more is faster on a graphics card and takes more memory.")

    @field_validator("prompt")
    @classmethod
    def _known_parts(cls, prompt):
        for part in re.findall(r"\{(\w*)\}", prompt):
            if part != "trigger":
                raise ValueError(f"holds {{{part}}}, but only {{trigger}} is filled in")
        return prompt.strip()


@dataclass(frozen=True)
class State:
    """A loaded model.  question: what it is asked about each picture."""

    model: Any
    processor: Any
    question: str
    options: Options


def refuses(options: Options) -> str:
    """Why it cannot start with these options, a sentence; "" where it can."""
    if PLACE in _question(options) and not options.trigger:
        return f"the question asks for {PLACE}: type a trigger word, or choose another question"
    if _folder(options) is None:
        return f"{options.other_model!r} is neither a folder on this computer nor a Hub id of the form owner/name; name the folder with the model's config.json, or its id"
    folder = _folder(options)
    return _folder_problem(folder) if folder else ""  # type: ignore[arg-type]


def needs(options: Options) -> str:
    """What is missing, a sentence; "" when it can start at once.  A sentence about a download is no obstacle."""
    if _folder(options) != "":
        return refuses(options) if _folder(options) is None else _folder_problem(_folder(options))  # type: ignore[arg-type]
    said = _weights.needs(_wanted(options))
    gated = any(repo == _repo(options) and asks for repo, _, asks in MODELS.values())
    return f"{said}. {_weights.gated(_repo(options))}" if said and gated and not _weights.offline() else said


def says(options: Options) -> str:
    """What to know of settings that do nothing."""
    return "the seed has no effect: at temperature 0 the likeliest words are taken" if options.seed and not options.temperature else ""


def frames(options: Options) -> int:
    """How many frames of a clip caption() is given, as a list in the picture's place."""
    return options.frames


def fetch(options: Options, progress: Callable[[int, int], None], stop: Callable[[], bool], token: str | None = None) -> bool:
    """Whether everything is here, after downloading what was not; False when stop() ended it.  Raises ValueError in plain words."""
    return _folder(options) != "" or _weights.fetch(_wanted(options), progress, stop, token)


def load(options: Options, device: str) -> State:
    """The model on `device` (cpu, cuda, xpu, mps), ready to be asked.  Raises ValueError in plain words."""
    if problem := refuses(options):
        raise ValueError(problem)
    folder = _folder(options) or _weights.snapshot(_wanted(options))
    if not folder:
        raise ValueError(_weights.absent(_wanted(options)))
    import torch
    from safetensors import SafetensorError
    from transformers import AutoConfig, AutoModelForImageTextToText

    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("this job asks for a graphics card, but torch sees none; choose device 'cpu'")
    where, kind = str(folder), _kind(Path(folder))
    try:
        config = AutoConfig.from_pretrained(where, local_files_only=True, trust_remote_code=False)
        processor = _processor(where, config)
        how = _how(torch, options, Path(folder), device, config)
        model, info = AutoModelForImageTextToText.from_pretrained(
            where, dtype=_dtype(torch, device, kind), device_map={"": device}, local_files_only=True, trust_remote_code=False, use_safetensors=True, output_loading_info=True, **how
        )
    except _Told:
        raise
    except (OSError, ValueError, KeyError, AttributeError, TypeError, ImportError, RuntimeError, SafetensorError) as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        raise ValueError(_why(error, where, kind)) from error
    missing = [name for name in info["missing_keys"] if "lm_head" not in name and "embed_tokens" not in name]  # tied to others
    if len(missing) > 0.02 * len(model.state_dict()):  # what transformers fills with random numbers, it only logs
        raise ValueError(f"the weights in {where} are incomplete: {len(missing)} tensors are missing, such as {min(missing)}; get them again")
    return State(model.eval(), processor, _question(options).replace(PLACE, options.trigger), options)


def caption(state: State, pictures: list, names: list[str]) -> list[str]:
    """One caption a picture (RGB, any size; a list of frames for a clip); "" where the model says nothing."""
    import torch

    shown = [[_scaled(one, state.options.side) for one in (p if isinstance(p, list) else [p])] for p in pictures]
    texts = [asked(state.processor, state.question, len(pictures)) for pictures in shown]
    bos = state.processor.tokenizer.bos_token
    begun = bool(bos) and all(text.startswith(bos) for text in texts)  # the template wrote it; a second one would disturb
    inputs = state.processor(text=texts, images=shown, return_tensors="pt", padding=True, add_special_tokens=not begun)
    inputs = inputs.to(state.model.device, state.model.dtype)
    o = state.options
    chosen = {"do_sample": True, "temperature": o.temperature, "top_p": 1.0, "top_k": 0} if o.temperature else {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
    torch.manual_seed(o.seed ^ zlib.crc32("\n".join(names).encode()))  # by picture, so that a resumed run goes on as it would have
    with torch.inference_mode():
        made = state.model.generate(**inputs, max_new_tokens=o.max_tokens, pad_token_id=state.processor.tokenizer.pad_token_id, **chosen)
    new = made[:, inputs["input_ids"].shape[1] :]
    ends = _ends(state.model)
    return [
        said(text, cut=len(row) >= o.max_tokens and not ends.intersection(row.tolist()))
        for text, row in zip(state.processor.batch_decode(new, skip_special_tokens=True), new, strict=True)
    ]


def asked(processor: Any, question: str, count: int) -> str:
    """The prompt as the model's own chat template has it, with `count` places for pictures.  Raises ValueError where it has none for them."""
    words = (CLIP.format(count=count) if count > 1 else "") + question
    place = processor.image_token
    parts = [*({"type": "image"} for _ in range(count)), {"type": "text", "text": words}]
    for content in (parts, words, place * count + "\n" + words):  # JoyCaption's template writes the place for its picture itself
        text = _in_template(processor, content)
        if text.count(place) == count:
            return text
    raise ValueError(f"this model's chat template has no place for {count} pictures at once; set frames to 1" if count > 1 else "this model has no chat template that takes a picture, so it cannot be asked; use an Instruct version")


def _in_template(processor: Any, content: Any) -> str:
    """The prompt by the chat template; "" where it does not take what is asked in this form, or is none."""
    try:
        return processor.apply_chat_template([{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True)
    except Exception:  # noqa: BLE001 a template is a program of somebody's, and fails in its own way
        return ""


def said(text: str, cut: bool = False) -> str:
    """The caption in an answer: one line, without thoughts and quotes around it.  cut: the model was stopped, so what is no whole sentence or tag at its end goes."""
    text = " ".join(_THOUGHTS.sub("", text).split())
    if cut and (ends := [m.end() for m in re.finditer(r"[.!?](?=\s|$)", text)] or [m.start() for m in re.finditer(",", text)]):
        text = text[: ends[-1]]
    pair = re.fullmatch(r"[\"“](.*)[\"”]", text)
    return pair[1].strip() if pair and not re.search(r"[\"“”]", pair[1]) else text


def _question(options: Options) -> str:
    return options.prompt or PROMPTS[options.ask]


def _scaled(picture: Any, side: int) -> Any:
    made = picture.convert("RGB")
    if max(made.size) > side:
        made = made.copy()
        made.thumbnail((side, side))
    return made


def _ends(model: Any) -> set[int]:
    end = model.generation_config.eos_token_id
    return set(end) if isinstance(end, list) else {end}


def _processor(folder: str, config: Any) -> Any:
    """Its processor without the half for videos, which needs torchvision and which nobody asks here: clips are shown as pictures."""
    from transformers import AutoProcessor
    from transformers.models.auto.processing_auto import PROCESSOR_MAPPING

    of = PROCESSOR_MAPPING.get(type(config), None)
    parts = of.get_attributes() if of else []
    if parts and parts[-1] == "video_processor":
        stills = type(of.__name__, (of,), {"get_attributes": classmethod(lambda cls: parts[:-1])})
        processor = stills.from_pretrained(folder, local_files_only=True)  # type: ignore[attr-defined]
    else:
        processor = AutoProcessor.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    if not hasattr(processor, "tokenizer") or not hasattr(processor, "image_token"):
        raise _Told(f"the model in {folder} cannot be asked about a picture in words; use an Instruct version of an image-text model")
    processor.tokenizer.padding_side = "left"  # answers go on from the end of what was asked
    if processor.tokenizer.pad_token is None:
        processor.tokenizer.pad_token = processor.tokenizer.eos_token
    return processor


def _how(torch: Any, options: Options, folder: Path, device: str, config: Any) -> dict[str, Any]:
    """How the weights are held: {} in 16 bits, or as they are quantised already; else in 4.  Raises ValueError where neither fits the card."""
    if getattr(config, "quantization_config", None):
        return {}
    size_bytes = sum(f.stat().st_size for f in folder.glob("model*.safetensors"))
    four = options.bits == "4"
    if device == "cuda" and options.bits != "16":
        free_bytes, _ = torch.cuda.mem_get_info()
        four = four or size_bytes + BESIDES_BYTES > free_bytes
        if four and IN_4_BITS * size_bytes + BESIDES_BYTES > free_bytes:
            raise _Told(
                f"this model takes about {(IN_4_BITS * size_bytes + BESIDES_BYTES) / 1e9:.0f} GB of the graphics card even in 4 bits, and {free_bytes / 1e9:.1f} GB are free; "
                "choose a smaller model, or close what else uses the card"
            )
    if not four:
        return {}
    if device == "mps":
        raise _Told("4 bits are not to be had on Apple's graphics; set bits to 16, or choose a smaller model")
    from transformers import BitsAndBytesConfig

    return {
        "quantization_config": BitsAndBytesConfig(
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=_dtype(torch, device, config.model_type), llm_int8_skip_modules=[IN_16_BITS]
        )
    }


def _dtype(torch: Any, device: str, kind: str):
    """bf16 where the hardware computes in it; on older cards fp16 for models that stay in its range; fp32 on older processors, which are slow at anything else."""
    if device in ("cuda", "xpu"):
        return torch.float16 if device == "cuda" and kind in IN_FP16 and not torch.cuda.is_bf16_supported(including_emulation=False) else torch.bfloat16
    if device == "mps":
        return torch.float16
    native = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)() or getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)()
    return torch.bfloat16 if native else torch.float32


class _Told(ValueError):
    """A sentence of ours already."""


def _why(error: Exception, folder: str, kind: str) -> str:
    text = str(error)
    if "torchvision" in text:
        return f"the model in {folder} ({kind}) looks at pictures only through torchvision, which is not used here because it pulls another torch; choose another model"
    if "trust_remote_code" in text or "Unrecognized configuration" in text or "Unrecognized model" in text:
        return f"the model in {folder} ({kind}) is none that transformers knows as one for pictures and text without running code from the Hub, which is not done here; choose another model"
    first = (text.strip().splitlines() or [type(error).__name__])[0][:200]
    return f"the model in {folder} ({kind}) does not load: {first}; get it again, or choose another"


def _kind(folder: Path) -> str:
    try:
        return str(json.loads((folder / "config.json").read_text(encoding="utf-8"))["model_type"])
    except (OSError, ValueError, KeyError, TypeError):
        return "unknown kind"


def _folder(options: Options) -> Path | str | None:
    """The folder that is named; "" where the Hub is meant, None where what is named is neither."""
    if not options.other_model.strip():
        return ""
    path = Path(options.other_model.strip()).expanduser()
    if path.is_dir():
        return path
    return "" if _HUB_ID.fullmatch(options.other_model.strip()) else None


def _folder_problem(folder: Path) -> str:
    if not (folder / "config.json").is_file():
        return f"{folder} has no config.json; name the folder that holds the model's config.json and model.safetensors"
    if not _weights.has_safetensors(folder):
        return f"{folder} has no whole model.safetensors; weights in other formats (pickle, GGUF) are not opened"
    return ""


def _repo(options: Options) -> str:
    return options.other_model.strip() or MODELS[options.model][0]


def _wanted(options: Options) -> Weights:
    size = "" if options.other_model.strip() else MODELS[options.model][1]
    return Weights(_repo(options), size, FILES, _weights.SAFETENSORS, _whole, "choose another captioner")


def _whole(folder: Path) -> bool:
    has = lambda *names: any((folder / name).exists() for name in names)
    return _weights.has_safetensors(folder) and has("tokenizer_config.json") and has("tokenizer.json", "vocab.json", "tokenizer.model") and has(*PROCESSOR)
