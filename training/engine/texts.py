"""Captions encoded once: one text encoder in memory at a time, each encoder's output cached, freed before training starts."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from torch import Tensor

from ..basemodel import fingerprint
from ..config import TrainConfig
from ..family import Cond, Modules
from ..runs.context import Context, Stopped
from . import memory
from .cache import Cache, fill, key
from .weights import placement

BATCH = 16


class Texts:
    """The cached conditioning of captions and prompts."""

    def __init__(self, config: TrainConfig, ctx: Context, family: ModuleType, folder: Path, cache: Cache):
        self.config, self.ctx, self.family, self.folder, self.cache = config, ctx, family, folder, cache
        self.encoders = [name for name in family.SPEC.parts["text"] if (folder / name).is_dir()]
        self._prints = {name: f"{fingerprint(folder / name)}:{config.model.dtype}" for name in self.encoders}

    def encode(self, texts: Iterable[str]) -> None:
        """Caches what is missing of `texts`; an encoder is loaded only if it has something to do.  Raises Stopped."""
        texts = sorted(set(texts))
        for number, name in enumerate(self.encoders, start=1):
            if not all(self._key(name, t) in self.cache for t in texts):
                self._encode(name, texts, f" {number} of {len(self.encoders)}" if len(self.encoders) > 1 else "")

    def row(self, text: str) -> dict[str, Tensor]:
        """What all encoders said of one text: name -> tensor without a batch dimension.  Raises KeyError if it was not encoded."""
        return {name: t for encoder in self.encoders for name, t in self.cache.get(self._key(encoder, text)).items()}

    def cond(self, text: str, device: str) -> Cond:
        """The conditioning of one text, [1,...]."""
        return Cond.of([self.row(text)]).to(device)

    def _key(self, encoder: str, text: str) -> str:
        return key("text", self.family.SPEC.id, self._prints[encoder], text)

    def _encode(self, name: str, texts: list[str], which: str) -> None:
        self.ctx.phase(f"loading text encoder{which}")
        m = self.family.load(self.folder, {name}, placement(self.config.model, self.config.device))
        if name == self.encoders[-1]:  # families name the one that reads furthest last: what others cut off, it still tells the denoiser
            _say_cut(self.ctx, m, texts)
        fill(self.cache, [(self._key(name, t), t) for t in texts], lambda some: self.family.encode_text(m, some), BATCH, self._told)
        m.text_encoders.clear()
        memory.release()

    def _told(self, done: int, of: int) -> None:
        self.ctx.phase("reading captions", done, of, "captions")
        if self.ctx.stop_requested():
            raise Stopped(0)


def _say_cut(ctx: Context, m: Modules, texts: list[str]) -> None:
    for tokenizer in m.tokenizers.values():
        most = tokenizer.model_max_length
        long = [t for t in texts if len(tokenizer(t, truncation=False).input_ids) > most]
        if long:
            many = "One caption is" if len(long) == 1 else f"{len(long)} captions are"
            ctx.warn(f"{many} longer than the text encoder reads ({most} tokens), and cut there: “{long[0][:60]}…”")
