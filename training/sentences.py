"""Words of others (the Hub's, an error's) put beside ours so that they read as sentences."""

from __future__ import annotations


def sentences(*texts: str) -> str:
    """The texts that are not empty, each begun with a large letter and ended, with a space between them."""
    return " ".join(_sentence(text.strip()) for text in texts if text.strip())


def _sentence(text: str) -> str:
    ended = text.rstrip("'\"’”)`").endswith((".", "!", "?", "…"))
    return text[:1].upper() + text[1:] + ("" if ended else ".")
