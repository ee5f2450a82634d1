"""What the wheel says of itself that stands elsewhere: its dependencies (requirements.txt) and its page (README.md).

Packages that would bring a torch of their own choice are the extra `train`: a bare `torch` is gigabytes of CUDA where there is no card, and the
wrong build for many.  `easel setup` installs them by the locks, with the torch that fits the hardware.
"""

from __future__ import annotations

import re
from pathlib import Path

from hatchling.metadata.plugin.interface import MetadataHookInterface

# those of requirements.txt that are torch, or that ask for it; tests/launchers/test_wheel.py compares with what they say of themselves
BRINGS_TORCH = {"torch", "accelerate", "peft", "bitsandbytes", "schedulefree", "prodigy-plus-schedule-free", "came-pytorch"}


class CustomMetadataHook(MetadataHookInterface):
    """Hatchling finds it by its name."""

    def update(self, metadata: dict) -> None:
        root = Path(self.root)
        page, training = divided((root / "requirements.txt").read_text(encoding="utf-8"))
        metadata["dependencies"] = page
        metadata["optional-dependencies"] = {"train": training}
        metadata["readme"] = {"content-type": "text/markdown", "text": on_its_own((root / "README.md").read_text(encoding="utf-8"))}


def divided(requirements: str) -> tuple[list[str], list[str]]:
    """(what the page needs, what training needs on top), each line as it is pinned."""
    lines = [line.strip() for line in requirements.splitlines() if line.strip() and not line.startswith("#")]
    training = [line for line in lines if line.partition("==")[0] in BRINGS_TORCH]
    return [line for line in lines if line not in training], training


def on_its_own(readme: str) -> str:
    """README.md for a place that has no other file of ours: no pictures of the repository, the words of its links without the links."""
    without_pictures = re.sub(r"^!\[[^\]]*\]\((?!http)[^)]*\)\n+", "", readme, flags=re.MULTILINE)
    return re.sub(r"(?<!!)\[([^\]]+)\]\((?!http|#)[^)]*\)", r"\1", without_pictures)
