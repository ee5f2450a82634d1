"""Captions encoded once: one text encoder in memory at a time, each encoder's output cached, freed before training starts.

Encoders that learn stay in memory instead, and are asked anew each time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor

from .. import registry
from ..config import DrawingConfig, TrainConfig
from ..family import Cond, Modules
from ..formats.basemodel import fingerprint
from ..runs.context import Context, Stopped
from ..runs.ranks import ALONE, Alone
from . import memory
from .cache import Cache, fill, key
from .references import Spoken, text_of
from .weights import placement

BATCH = 16


class Texts:
    """The cached conditioning of captions and prompts.

    learning: the encoders that can carry an adapter stay in memory and are asked anew each time.  stay: so do the others, once they
    were needed, though each text is still asked for once only.
    """

    def __init__(
        self, config: TrainConfig | DrawingConfig, ctx: Context, family: ModuleType, folder: Path, cache: Cache, *, learning: bool, stay: bool = False
    ):
        self.config, self.ctx, self.family, self.folder, self.cache, self.stay = config, ctx, family, folder, cache, stay
        there = [name for name in family.SPEC.without(config.model.leave_out).parts["text"] if (folder / name).is_dir()]
        self.learning = [name for name in there if name in family.SPEC.trainable_text] if learning else []
        self.encoders = [name for name in there if name not in self.learning]
        self.furthest = there[-1]  # families name the one that reads furthest last: what others cut off, it still tells the denoiser
        self.alive: Modules | None = None  # holds the encoders that learn, once they are loaded
        self._seen: list[str] = []
        self._stayed: dict[str, Modules] = {}
        self._noun = "caption" if isinstance(config, TrainConfig) else "prompt"
        quantised = "" if config.model.quantise_text == "none" else f":{config.model.quantise_text}"
        after = "".join(f"+{fingerprint(folder / name)}" for name in family.SPEC.parts.get("after_text", ()))  # what is cached went through it
        self._prints = {name: f"{fingerprint(folder / name)}{after}:{config.model.dtype}{quantised}" for name in self.encoders}

    def encode(self, texts: Iterable[Spoken], ranks: Alone = ALONE) -> None:
        """Caches what is missing of `texts`, each of the ranks its share; an encoder is loaded only if it has something to do.  Raises Stopped."""
        texts = sorted(set(texts), key=_order)
        self._seen += list(dict.fromkeys(map(text_of, texts)))
        mine = ranks.share(texts)
        for number, name in enumerate(self.encoders, start=1):
            if not all(self._there(name, t) for t in mine):
                self._encode(name, mine, f" {number} of {len(self.encoders)}" if len(self.encoders) > 1 else "", texts)
        ranks.wait()

    def missing(self, texts: Iterable[Spoken]) -> set[str]:
        """The words of those that were not encoded."""
        return {text_of(text) for text in texts if not all(self._there(name, text) for name in self.encoders)}

    def take_over(self, other: Texts) -> None:
        """What another has in memory, and this one has a use for, is this one's."""
        self._stayed |= {name: m for name, m in other._stayed.items() if name in self.encoders}

    def cut(self, texts: Iterable[str]) -> list[str]:
        """Those of the encoded prompts that are longer than the encoder reads."""
        if self.furthest in self.learning:
            return _too_long(self.alive, texts)
        return [t for t in texts if self.cache.get(self._cut_key(t))["cut"].item()]

    def keep_alive(self, m: Modules) -> None:
        """Loads the encoders that learn into m.text_encoders, from where every later row comes."""
        if self.learning:
            loaded = self.family.load(self.folder, set(self.learning), placement(self.config.model, self.config.device))
            if not self.alive and self.furthest in self.learning and self._noun == "caption":
                _say_cut(self.ctx, loaded, self._seen)
            m.text_encoders, m.tokenizers, self.alive = loaded.text_encoders, loaded.tokenizers, m

    def rows(self, texts: Sequence[Spoken]) -> list[dict[str, Tensor]]:
        """For each text what all encoders said of it: name -> tensor without a batch dimension.  Raises KeyError if one was not encoded.

        Where encoders learn and gradients are on, their tensors carry them.
        """
        found = [{name: t for encoder in self.encoders for name, t in self.cache.get(self._key(encoder, text)).items()} for text in texts]
        if not self.alive:
            return found
        with memory.autocast(self.config):
            fresh = self.family.encode_text(self.alive, [text_of(text) for text in texts])
        return [cached | now for cached, now in zip(found, fresh, strict=True)]

    def row(self, text: Spoken) -> dict[str, Tensor]:
        """rows() of one text."""
        return self.rows([text])[0]

    def cond(self, text: Spoken, device: str) -> Cond:
        """The conditioning of one text, [1,...]."""
        return Cond.of([self.row(text)]).to(device)

    def _key(self, encoder: str, text: Spoken) -> str:
        told = (text,) if isinstance(text, str) else ("with pictures", *text.key)
        return key("text", self.family.SPEC.id, self._prints[encoder], *told)

    def _there(self, name: str, text: Spoken) -> bool:
        return self._key(name, text) in self.cache and (not self._marks(name) or self._cut_key(text_of(text)) in self.cache)

    def _marks(self, name: str) -> bool:
        """Whether it is put down which texts this encoder cuts: a prompt is cut each time that it is drawn, not only when it is encoded."""
        return self._noun == "prompt" and name == self.furthest

    def _cut_key(self, text: str) -> str:
        return key("cut", self.family.SPEC.id, self._prints[self.furthest], text)

    def _encode(self, name: str, texts: list[Spoken], which: str, all_texts: list[Spoken]) -> None:
        m = self._stayed.get(name)
        if m is None:
            self.ctx.phase(f"loading text encoder{which}")
            m = self.family.load(self.folder, {name}, placement(self.config.model, self.config.device, self.config.model.quantise_text))
        if self._marks(name):
            words = list(dict.fromkeys(map(text_of, texts)))
            long = set(_too_long(m, words))
            for text in words:
                self.cache.put(self._cut_key(text), {"cut": torch.tensor(text in long)})
        elif name == self.furthest:
            _say_cut(self.ctx, m, list(dict.fromkeys(map(text_of, all_texts))))
        plain, looked_at = [t for t in texts if isinstance(t, str)], [t for t in texts if not isinstance(t, str)]
        fill(self.cache, [(self._key(name, t), t) for t in plain], lambda some: self.family.encode_text(m, some), BATCH, self._told)
        if looked_at:
            fill(self.cache, [(self._key(name, t), t) for t in looked_at], lambda some: [self.family.encode_instruction(m, t.text, t.pictures()) for t in some], 1, self._told)
        if self.stay:
            self._stayed[name] = m
            return
        m.text_encoders.clear()
        memory.release()

    def _told(self, done: int, of: int) -> None:
        self.ctx.phase(f"reading {self._noun}s", done, of, f"{self._noun}s")
        if self.ctx.stop_requested():
            raise Stopped(0)


def _order(text: Spoken) -> tuple[str, str]:
    return text_of(text), "" if isinstance(text, str) else str(text.key)


def trains_text(config: TrainConfig, ctx: Context) -> bool:
    """Whether a text encoder is to learn: it was asked for, and this kind of adapter can."""
    return config.adapter.text_encoder and "text_encoder" in registry.get("adapters", config.adapter.type, ctx.home.plugins).USES


def _too_long(m: Modules, texts: Iterable[str]) -> list[str]:
    """Those that have more tokens than a text encoder reads."""
    return [t for t in texts if any(len(tok(t, truncation=False).input_ids) > tok.model_max_length for tok in m.tokenizers.values())]


def _say_cut(ctx: Context, m: Modules, texts: list[str]) -> None:
    long = _too_long(m, texts)
    if long:
        most = min(tokenizer.model_max_length for tokenizer in m.tokenizers.values())
        many = f"{len(long)} captions are longer than the text encoder reads ({most} tokens), and cut there: “{long[0][:60]}…”"
        ctx.warn(f"One caption is longer than the text encoder reads ({most} tokens), and cut there: “{long[0][:60]}…”" if len(long) == 1 else many)
