"""Words of others (the Hub's, an error's) put beside ours so that they read as sentences."""

from __future__ import annotations

ENDS = (".", "!", "?", "…", "。", "！", "？")


def sentences(*texts: str, end: str = ".") -> str:
    """The texts that are not empty, each begun with a large letter and ended, with a space between them."""
    return " ".join(_sentence(text.strip(), end) for text in texts if text.strip())


def _sentence(text: str, end: str) -> str:
    ended = text.rstrip("'\"’”)`“»」』）").rstrip("\N{NO-BREAK SPACE}\N{NARROW NO-BREAK SPACE}").endswith(ENDS)  # « … ! » of French has a space there
    plain = text.split()[0].strip(",:;").isalpha()  # 'model.source' and 'torch_dtype' are names, and stay as they are
    return (text[:1].upper() if plain else text[:1]) + text[1:] + ("" if ended else end)
