"""A base model in one .safetensors file, as other programs keep it: taken apart once into the layout of diffusers.

What the file lacks (settings, tokenizers, and in files of a transformer alone the encoders and the VAE) comes from the repository
that it was made from.  The result is kept in the cache by the file's content.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterable
from fnmatch import fnmatch
from pathlib import Path

import torch
from filelock import FileLock

from ..family import FamilySpec
from ..files import fsync, fsync_folder, write_atomic
from ..formats import basehash
from ..formats.basemodel import INDEXES, fingerprint_file, read_header
from ..formats.onefile import unwrapped
from ..hub.download import SMALL, SPARE_BYTES
from ..names import folder_name
from ..runs.context import Context, Stopped

DTYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16, "F8_E4M3": torch.bfloat16, "F8_E5M2": torch.bfloat16}
SUMS = "easel-sums.json"  # {file: sha256}, beside what was unpacked
VAE_PREFIXES = ("first_stage_model.", "vae.")
SCALED = (".scale_weight", ".weight_scale", ".absmax", ".quant_map", "scaled_fp8")  # keys of files whose weights are no plain numbers


def unpack(file: Path, spec: FamilySpec, ctx: Context, download: Callable[[str, Iterable[str]], Path]) -> Path:
    """The folder in diffusers layout that `file` was or is now unpacked to.

    download(repository, parts): its folder with all small files and the weights of `parts`.  Raises ValueError, Stopped.
    """
    header = read_header(file)
    if any(key.endswith(SCALED) for key in header):
        raise ValueError(f"{file.name} holds quantised weights, which cannot be trained on; get its bf16, fp16 or plain fp8 version")
    parts = [name for names in spec.parts.values() for name in names]
    without = "".join(f"-no-{name}" for name in spec.optional if name not in parts)
    target = ctx.home.cache / "unpacked" / f"{folder_name(file.stem, 'model')[:30]}-{fingerprint_file(file)[:16]}{without}"
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(target.with_name(f".{target.name}.lock")):
        if target.is_dir() and (torn := _damage(target)):
            os.replace(target, target.with_name(f".bad-{target.name}-{secrets.token_hex(4)}"))
            ctx.warn(f"what {file.name} was unpacked to was damaged on the disk ({torn}); it was set aside in outputs/.cache/unpacked, and is unpacked again")
        if not target.is_dir():
            _unpack(file, header, parts, target, spec, ctx, download)
    return target


def _damage(folder: Path) -> str:
    """Which file of an unpacked base is not what was written; "" where all are, and in one that an earlier Easel unpacked."""
    for name, sha256 in basehash.read_record(folder / SUMS).items():
        file = folder / name
        if not file.is_file() or basehash.sha256_of(file) != sha256:
            return name
    return ""


def _unpack(file: Path, header: dict, parts: list[str], target: Path, spec: FamilySpec, ctx: Context, download: Callable[[str, Iterable[str]], Path]) -> None:
    ctx.phase("unpacking the base model")
    free = shutil.disk_usage(target.parent).free
    if free < file.stat().st_size + SPARE_BYTES:
        raise ValueError(f"{file.name} needs {file.stat().st_size / 1e9:.1f} GB to be unpacked, but {free / 1e9:.1f} GB are free; free some, or move the home folder")

    from safetensors.torch import load_file

    weights = load_file(file)  # mapped, not read
    if spec.enclosed:
        weights = unwrapped(weights)
    origin = _origin(weights, spec, file.stem)
    try:
        source = download(origin, ())
        index = json.loads((source / spec.index).read_text(encoding="utf-8"))
        if index["_class_name"] not in (spec.pipeline, *spec.other_pipelines):
            raise ValueError(f"it is like {origin}, made for {index['_class_name']}, but you chose {spec.title}; choose its own family")
        lacking = [name for name in parts if not _holds(weights, name, index[name][1], spec)]
        if lacking:
            source = download(origin, lacking)
        for text in _followed(file.name, origin, _marked(header), lacking):
            ctx.warn(text)
    except ValueError as error:
        raise ValueError(f"{file.name} cannot be unpacked without {origin}, whose settings it follows: {error}") from None
    temporary = target.with_name(f".{target.name}.part")
    shutil.rmtree(temporary, ignore_errors=True)  # of an attempt that was killed
    try:
        _copy_small(source, temporary, header)
        for done, name in enumerate(parts):
            ctx.phase("unpacking the base model", done, len(parts), "parts")
            if ctx.stop_requested():
                raise Stopped(0)
            if name in lacking:
                _link_folder(source / name, temporary / name)
            else:
                _part(weights, name, index[name], source, _dtype(header), file, spec).save_pretrained(temporary / name)
        weights_of = {p.relative_to(temporary).as_posix(): basehash.sha256_of(p) for p in sorted(temporary.rglob("*")) if p.is_file()}
        basehash.write_record(temporary / SUMS, weights_of)
        for path in temporary.rglob("*"):
            fsync(path)
        os.replace(temporary, target)
        fsync_folder(target.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _followed(name: str, origin: str, marked: dict, lacking: list[str]) -> list[str]:
    """Sentences on what a file does not say itself, or says."""
    if not marked:
        return [f"{name} says nothing of its scheduler and tokenizers{' and lacks ' + ', '.join(lacking) if lacking else ''}; they are those of {origin}"]
    if "rescale_betas_zero_snr" in marked:
        said = [f"{name} says that it predicts v, up to pure noise; its other settings and tokenizers are those of {origin}"]
    else:
        said = [f"{name} says that it predicts v; its other settings and tokenizers are those of {origin}"]
    return said + [f"{name} lacks {', '.join(lacking)}; they are those of {origin}"] * bool(lacking)


def _marked(header: dict) -> dict:
    """What a file's own marks, empty tensors by which finetunes say so, set in its scheduler; ComfyUI too heeds the second beside the first alone."""
    marks = {"v_pred": {"prediction_type": "v_prediction"}, "ztsnr": {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}}
    named = [mark for mark in marks if "v_pred" in header and mark in header]
    return {k: v for mark in named for k, v in marks[mark].items()}


def _origin(weights: dict, spec: FamilySpec, name: str) -> str:
    """The repository that a file's weights are like, by what its layers are called and how large they are; where that leaves several, by the file's name."""
    from diffusers.loaders.single_file_utils import DIFFUSERS_DEFAULT_PIPELINE_PATHS, infer_diffusers_model_type

    if any(_enclosed(weights, start) for start in spec.enclosed.values()):  # which diffusers takes for what the denoiser was made from
        sizes = {spec.default_source: spec.parameters} | {other: count for other, (count, _) in spec.sizes.items()}
        count = sum(tensor.numel() for tensor in weights.values())
        return min(sizes, key=lambda source: abs(sizes[source] - count))
    try:
        kind = infer_diffusers_model_type(weights)
    except (IndexError, KeyError, UnboundLocalError):  # names of one model, shapes of none
        kind = "v1"
    unknown = kind == "v1" and not any(key.startswith("model.diffusion_model.input_blocks.") for key in weights)  # diffusers too says "v1" of whatever it does not know
    origin = spec.default_source if unknown else DIFFUSERS_DEFAULT_PIPELINE_PATHS[kind]["pretrained_model_name_or_path"]
    if origin not in (spec.default_source, *spec.alike):
        return origin
    words = lambda text: set(re.split(r"[^a-z0-9]+", text.lower()))
    usual = words(spec.default_source)
    return next((other for other in spec.alike if (own := words(other) - usual) and own <= words(name)), spec.default_source)


def _holds(weights: dict, part: str, class_name: str, spec: FamilySpec) -> bool:
    """Whether the file has the weights of a part."""
    import transformers
    from diffusers.loaders.single_file_utils import is_clip_model_in_single_file, is_t5_in_single_file

    if part in spec.parts["denoiser"]:
        return True
    if part in spec.parts.get("after_text", ()) and part not in spec.enclosed:
        return False  # or under names that are not known here
    if part in spec.enclosed:
        return bool(_enclosed(weights, spec.enclosed[part]))
    if part in spec.parts["vae"]:
        return any(key.startswith(VAE_PREFIXES) for key in weights)
    cls = getattr(transformers, class_name)
    return is_clip_model_in_single_file(cls, weights) or (class_name.startswith("T5") and is_t5_in_single_file(weights))


def _part(weights: dict, name: str, made_by: list[str], source: Path, dtype: torch.dtype, file: Path, spec: FamilySpec) -> torch.nn.Module:
    """One part as a module."""
    if name in spec.enclosed:
        return _taken_out(weights, spec.enclosed[name], made_by[1], source / name, dtype, file)
    starts = tuple(spec.enclosed.values())
    return _convert({k: t for k, t in weights.items() if not (starts and k.startswith(starts))}, made_by[:2], name, source, dtype, file)


def _enclosed(weights: dict, start: str) -> dict:
    """The tensors whose names begin so, under the names behind that."""
    return {key.removeprefix(start): tensor for key, tensor in weights.items() if key.startswith(start)}


def _taken_out(weights: dict, start: str, class_name: str, folder: Path, dtype: torch.dtype, file: Path) -> torch.nn.Module:
    """A part that the file has under the names of diffusers' own module."""
    import diffusers

    cls = getattr(diffusers, class_name)
    with torch.device("meta"):
        module = cls.from_config(cls.load_config(folder, local_files_only=True))
    try:
        module.load_state_dict(_enclosed(weights, start), assign=True)
    except RuntimeError as error:
        raise ValueError(f"{file.name} does not hold a {class_name} as {folder.name} ({str(error).strip().splitlines()[0]}); choose the family that it belongs to, or give a folder") from None
    return module.to(dtype)


def _convert(weights: dict, made_by: list[str], part: str, source: Path, dtype: torch.dtype, file: Path) -> torch.nn.Module:
    """One part as a module, through diffusers' own reading of single files."""
    from diffusers import pipelines
    from diffusers.loaders.single_file import load_single_file_sub_model
    from diffusers.loaders.single_file_utils import SingleFileComponentError

    library, class_name = made_by
    try:
        return load_single_file_sub_model(
            library_name=library, class_name=class_name, name=part, checkpoint=dict(weights), pipelines=pipelines, is_pipeline_module=False,
            cached_model_config_path=str(source), local_files_only=True, torch_dtype=dtype,
        )  # fmt: skip
    except (SingleFileComponentError, KeyError, ValueError, RuntimeError, AttributeError) as error:
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{file.name} does not hold a {class_name} as {part} ({said}); choose the family that it belongs to, or give a folder") from None


def _dtype(header: dict) -> torch.dtype:
    """The number format of most of a file's bytes."""
    sizes: dict[str, int] = {}
    for tensor in header.values():
        begin, end = tensor["data_offsets"]
        sizes[tensor["dtype"]] = sizes.get(tensor["dtype"], 0) + end - begin
    return DTYPES.get(max(sizes, key=sizes.get), torch.float32)


def _copy_small(source: Path, folder: Path, header: dict) -> None:
    """The index, tokenizers and scheduler; the latter as the file's own marks say."""
    for path in source.rglob("*"):
        name = path.relative_to(source)
        kept = name.parts[0].startswith(("tokenizer", "scheduler", "processor")) or name.parts[0].endswith("_tokenizer") or str(name) in INDEXES
        if kept and path.is_file() and any(fnmatch(path.name, pattern) for pattern in SMALL):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, folder / name)
    if marked := _marked(header):
        config = folder / "scheduler" / "scheduler_config.json"
        write_atomic(config, json.dumps(json.loads(config.read_text(encoding="utf-8")) | marked).encode())


def _link_folder(source: Path, folder: Path) -> None:
    """The same files under another name: they take room once where the file system can do that."""
    folder.mkdir(parents=True)
    for path in source.iterdir():
        real = path.resolve()  # the Hub's cache is made of symbolic links
        try:
            os.link(real, folder / path.name)
        except OSError:
            shutil.copyfile(real, folder / path.name)
