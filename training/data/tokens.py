"""What a base model's tokenizers make of a word, from their files: no text encoder is loaded, and no torch.

Read are tokenizer.json, and vocab.json with merges.txt of CLIP and Qwen2, which older folders have instead.  Others are named, so that it can
be said what is not known.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ..outside import read_json, read_text

MAX_BYTES = 64 << 20
MAX_SETTINGS_BYTES = 2_000_000
END = "</w>"  # CLIP's mark of a word's last piece
SPLIT = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"  # CLIP's, as openai/CLIP has it
SPLIT_QWEN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


@dataclass(frozen=True)
class Tokens:
    """What one tokenizer makes of a word.  encoder: its kind, as 'CLIP'.  pieces: as they are read, without marks.  whole: it has one token of its own.

    place: of that token in the vocabulary, -1 where there are several.
    """

    encoder: str
    pieces: tuple[str, ...]
    place: int = -1

    @property
    def whole(self) -> bool:
        return len(self.pieces) == 1


def of_base(folder: Path, word: str) -> tuple[list[Tokens], list[str]]:
    """(what each tokenizer of a base model's folder makes of a word, kinds of those that cannot be read)."""
    found: dict[tuple, Tokens] = {}
    silent = []
    inside = [file.parent for file in folder.glob("processor/tokenizer_config.json")]  # where the text encoder reads pictures too
    for place in sorted([*folder.glob("tokenizer*"), *inside]) if word.strip() else []:
        if not place.is_dir():
            continue
        kind = kind_of(place)
        try:
            cut = _loaded(str(place), *_stamp(place))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            cut = None
        if cut is None:
            silent.append(kind)
            continue
        made = cut(word.strip())
        pieces = tuple(piece for piece, _ in made)
        found[kind, pieces] = Tokens(kind, pieces, made[-1][1] if len(pieces) == 1 else -1)
    return list(found.values()), list(dict.fromkeys(silent))


def kind_of(place: Path) -> str:
    """'CLIP', 'T5', 'Qwen2': the class that the folder names, without what all of them are called."""
    try:
        name = read_json(place / "tokenizer_config.json", MAX_SETTINGS_BYTES, linked=True)["tokenizer_class"]
    except (OSError, ValueError, KeyError, TypeError):
        return place.name
    return name.removesuffix("Fast").removesuffix("Tokenizer") if isinstance(name, str) else place.name


def _stamp(place: Path) -> tuple:
    """What changes with the folder's files."""
    return tuple((n, s.st_size, s.st_mtime_ns) for n in ("tokenizer.json", "vocab.json", "merges.txt") if (place / n).is_file() for s in [os.stat(place / n)])


@lru_cache(maxsize=8)
def _loaded(place: str, *stamp: tuple) -> Callable[[str], list[tuple[str, int]]] | None:
    """Text -> [(piece, its number)]; None for a tokenizer of another kind.  Raises ValueError, OSError for files that are none."""
    from tokenizers import Tokenizer

    folder = Path(place)
    names = {name for name, *_ in stamp}
    try:
        if "tokenizer.json" in names:
            made = Tokenizer.from_str(read_text(folder / "tokenizer.json", MAX_BYTES, linked=True))
        elif {"vocab.json", "merges.txt"} <= names and kind_of(folder) in ("CLIP", "Qwen2"):
            made = _of_merges(folder, kind_of(folder) == "CLIP")
        else:
            return None
    except (OSError, ValueError):
        raise
    except Exception as error:  # noqa: BLE001 the library raises plain Exception for whatever it cannot read
        raise ValueError(str(error)) from None

    def cut(text: str) -> list[tuple[str, int]]:
        said = made.encode(text, add_special_tokens=False)
        shown = [text[start:end].strip() for start, end in said.offsets]
        return [(piece, number) for piece, number in zip(shown, said.ids, strict=True) if piece]

    return cut


def _of_merges(folder: Path, clip: bool):
    """CLIP's tokenizer, or Qwen2's, out of its two files."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

    vocab = read_json(folder / "vocab.json", MAX_BYTES, linked=True)
    merges = [tuple(line.split(" ")) for line in read_text(folder / "merges.txt", MAX_BYTES, linked=True).splitlines() if line and not line.startswith("#version")]
    made = Tokenizer(models.BPE(vocab=vocab, merges=merges, end_of_word_suffix=END if clip else "", continuing_subword_prefix=""))  # type: ignore[arg-type]
    made.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]) if clip else normalizers.NFC()
    split = pre_tokenizers.Split(Regex(SPLIT if clip else SPLIT_QWEN), "removed" if clip else "isolated", invert=clip)
    made.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=clip)])
    return made
