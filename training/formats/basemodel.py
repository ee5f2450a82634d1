"""The base model on disk: found, checked and fingerprinted without loading it.  No torch.

A folder in diffusers layout is checked before anything is loaded: every shard is there and whole, it is the family that
was chosen, and nothing in it is a pickle, a web page or a pointer to a file that was never downloaded.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from dataclasses import dataclass
from pathlib import Path

from ..family import FamilySpec
from ..home import BUILTIN
from ..outside import open_plain, read_json, read_plain

BUILTIN_SOURCE = "builtin"
MAX_HEADER_BYTES = 100_000_000  # the safetensors format's own limit
MAX_JSON_BYTES = 64 << 20  # of a settings file or a list of shards
PICKLES = (".bin", ".ckpt", ".pt", ".pth")
INDEXES = ("model_index.json", "modular_model_index.json")  # what a base model's top folder has one of


def single_file(source: str) -> Path | None:
    """The .safetensors file that a source names; None when it names something else.  Raises ValueError for any other file."""
    path = Path(source).expanduser()
    if not path.is_file():
        return None
    if path.suffix in PICKLES:
        raise ValueError(f"{path.name} is a pickled file, which can run code when opened; get the .safetensors version")
    if path.suffix != ".safetensors":
        raise ValueError(f"{path.name} is no base model; give a .safetensors file, a folder in diffusers layout (with model_index.json) or a Hub id")
    return path.resolve()


def local_folder(source: str) -> Path | None:
    """The folder of a local source; None when it is a Hub id.  Raises ValueError for a path that does not hold one."""
    if source == BUILTIN_SOURCE:
        return BUILTIN / "base"
    if folder := mounted(source):
        return folder
    looks_local = source.startswith((".", "/", "~", "\\")) or os.path.isabs(source) or (len(source) > 1 and source[1] == ":")
    path = Path(source).expanduser()
    if path.is_dir():
        return path.resolve()
    if looks_local or source.count("/") != 1:
        raise ValueError(f"there is no folder {source!r}, and it is not a Hub id of the form owner/name; check the base model's path")
    return None


def mounted(source: str) -> Path | None:
    """The folder that a repository of the Hub is mounted at, on a machine elsewhere that has it so (training/cloud/hf_jobs.py)."""
    folder = json.loads(os.environ.get("EASEL_MOUNTED", "{}")).get(source, "")
    return Path(folder) if folder else None


def is_top(folder: Path) -> bool:
    """Whether a folder is the top of a base model in diffusers layout."""
    return any((folder / name).is_file() for name in INDEXES)


def check_folder(folder: Path, spec: FamilySpec) -> None:
    """Nothing comes back; raises ValueError that names the file, what is wrong with it and what to do."""
    index = folder / spec.index
    if not index.is_file():
        index = next((folder / other for other in INDEXES if (folder / other).is_file()), index)  # of another family
    if not index.is_file():
        raise ValueError(f"{folder.name} has no {spec.index}, so it is not a base model in diffusers layout; choose its top folder")
    found = _read_json(index).get("_class_name", "")
    found = found[-1] if isinstance(found, list) and found else found  # [file, class] where the repository brings its own pipeline
    if found not in (spec.pipeline, *spec.other_pipelines):
        raise ValueError(f"{folder.name} is made for {found or 'an unknown pipeline'}, but you chose {spec.title} ({spec.pipeline}); choose its own family")
    for names in spec.parts.values():
        for name in names:
            if name in spec.optional and not (folder / name).is_dir():
                raise ValueError(f"{folder.name} has no {name}; get the whole base model, or put {name} into model.leave_out to train without it")
            weight_files(folder / name)


def weight_files(part: Path) -> list[Path]:
    """The .safetensors files of one part, each checked to be whole.  Raises ValueError."""
    if not (part / "config.json").is_file():
        raise ValueError(f"the base model has no {part.name}/config.json; download it again, whole")
    indexes = sorted(part.glob("*.safetensors.index.json"))
    plain = [p for p in sorted(part.glob("*.safetensors")) if "-of-" not in p.name]
    if plain:
        files = [_preferred(plain)]
    elif indexes:
        shards = sorted(set(_read_json(_preferred(indexes))["weight_map"].values()))
        files = [part / s for s in shards]
    else:
        pickled = [p.name for p in part.iterdir() if p.suffix in PICKLES]
        if pickled:
            raise ValueError(f"{part.name} holds only {pickled[0]}, a pickled file, which can run code when opened; get the .safetensors version")
        raise ValueError(f"{part.name} has no .safetensors weights; download the base model again, whole")
    for file in files:
        read_header(file)
    return files


def variant(part: Path) -> str | None:
    """The `variant` that from_pretrained needs for the file that weight_files() chose, e.g. "fp16"; None for the plain one."""
    stem = weight_files(part)[0].name.removesuffix(".safetensors").split("-0")[0]
    return stem.split(".", 1)[1] if "." in stem else None


def _preferred(files: list[Path]) -> Path:
    """The plain file rather than a variant such as .fp16; the first of what is left."""
    return min(files, key=lambda p: (p.name.replace(".index.json", "").count("."), p.name))


def read_header(file: Path) -> dict:
    """{tensor name: {dtype, shape, data_offsets}} of a .safetensors file that is whole.  Raises ValueError."""
    if not file.is_file():
        raise ValueError(f"{file.parent.name}/{file.name} is missing; download the base model again, whole")
    size = file.stat().st_size
    with open_plain(file, linked=True) as stream:
        head = stream.read(200)
        if head.startswith(b"version https://git-lfs"):
            raise ValueError(f"{file.name} is only a pointer to the real file; run 'git lfs pull' in its folder or download it again")
        ours = head[8:9] == b"{"  # whatever the length before it: its lowest byte may be that of a pickle
        if head.lstrip()[:1] == b"<" and not ours:
            raise ValueError(f"{file.name} is a web page, not weights; the download went wrong (often a login page), get it again")
        if (head[:2] == b"PK" or head[:1] == b"\x80") and not ours:
            raise ValueError(f"{file.name} is a pickled file with another name, which can run code when opened; get the .safetensors version")
        if size < 8:
            raise ValueError(f"{file.name} is empty; download it again")
        (length,) = struct.unpack("<Q", head[:8])
        if length > MAX_HEADER_BYTES or length + 8 > size:
            raise ValueError(f"{file.name} is not a safetensors file or is cut off; download it again")
        stream.seek(8)
        try:
            header = json.loads(stream.read(length))
            end = max((t["data_offsets"][1] for n, t in header.items() if n != "__metadata__"), default=0)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise ValueError(f"{file.name} has a damaged header; download it again") from None
    if end + 8 + length != size:
        raise ValueError(f"{file.name} is {size} bytes, but its header says {end + 8 + length}: it is cut off; download it again")
    header.pop("__metadata__", None)
    return header


def read_configs(folder: Path, spec: FamilySpec) -> dict[str, dict]:
    """{part folder: its config.json} of all parts."""
    return {name: _read_json(folder / name / "config.json") for names in spec.parts.values() for name in names}


def boundary_in(folder: Path, spec: FamilySpec) -> float:
    """The noise level from which on the checkpoint in `folder` asks its first denoiser.  Raises ValueError where it does not say."""
    index = _read_json(folder / "model_index.json")
    lacking = [e.folder for e in spec.experts if not index.get(e.folder, [None, None])[1]]
    if lacking or not index.get("boundary_ratio"):
        what = f"no {lacking[0]}" if lacking else "no boundary_ratio in model_index.json"
        raise ValueError(f"{folder.name} has {what}, but {spec.title} has two denoisers and a noise level at which they change; choose the family of this base model, or get it again, whole")
    return float(index["boundary_ratio"])


@dataclass(frozen=True)
class Weights:
    """Sizes of one part."""

    parameters: int
    size_bytes: int


def measure(part: Path) -> Weights:
    """Number of parameters and bytes on disk of one part, from the headers alone."""
    count = size = 0
    for file in weight_files(part):
        size += file.stat().st_size
        for tensor in read_header(file).values():
            product = 1
            for side in tensor["shape"]:
                product *= side
            count += product
    return Weights(count, size)


def fingerprint(part: Path) -> str:
    """A hash of one part's weights and config: config, headers, and up to 4 kB of every tensor.

    Reading whole 10 GB files at each start would take longer than many trainings; two checkpoints that differ at all differ
    in nearly every tensor.
    """
    return _content(hashlib.sha256(read_plain(part / "config.json", MAX_JSON_BYTES, linked=True)), weight_files(part))


def fingerprint_file(file: Path) -> str:
    """The same of a single file."""
    return _content(hashlib.sha256(), [file])


def _content(digest, files: list[Path]) -> str:
    for file in files:
        header = read_header(file)
        digest.update(json.dumps(header, sort_keys=True).encode())
        with open_plain(file, linked=True) as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            for name in sorted(header):
                begin, end = header[name]["data_offsets"]
                for at in {begin, max(begin, end - 2048)}:
                    stream.seek(8 + length + at)
                    digest.update(stream.read(min(2048, end - at)))
    return digest.hexdigest()


def _read_json(path: Path) -> dict:
    try:
        data = read_json(path, MAX_JSON_BYTES, linked=True)  # the Hub's cache is made of links
    except (OSError, ValueError) as error:
        raise ValueError(f"{path.parent.name}/{path.name} cannot be read ({error}); download the base model again, whole") from None
    if not isinstance(data, dict):
        raise ValueError(f"{path.parent.name}/{path.name} is not what it should be; download the base model again, whole")
    return data
