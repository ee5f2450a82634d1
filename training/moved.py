"""Where plugins written for Easel 1 find what has moved into the rooms of training/.  Ours never use these names."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

MOVED = {
    "adapting": "formats.adapting", "basemodel": "formats.basemodel", "deliver": "formats.deliver", "layouts": "formats.layouts",
    "captions": "data.captions", "clips": "data.clips", "datasets": "data.datasets", "masks": "data.masks", "pictures": "data.pictures",
    "layers": "plan.layers", "presets": "plan.presets", "timelaw": "plan.timelaw",
    "account": "hub.account", "secrets": "hub.secrets",
}  # fmt: skip


class _Moved(ModuleType):
    """Answers as the module that it has become, which is imported when it is first asked."""

    def __init__(self, name: str, target: str):
        super().__init__(name, f"Now {target}.")
        self._target = target

    def __getattr__(self, name: str):
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(importlib.import_module(self._target), name)


def answer_old_names() -> None:
    """`from training.adapting import inject` goes on working, in this process."""
    for old, new in MOVED.items():
        sys.modules.setdefault(f"training.{old}", _Moved(f"training.{old}", f"training.{new}"))
