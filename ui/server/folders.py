"""Folders of this computer, and files in them, that somebody who is elsewhere may name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def allowed_file(text: str, roots: Sequence[Path]) -> Path | None:
    """The file that was named, truly inside one of `roots`, links and all; None where there is none, or it lies elsewhere."""
    paths = ((root, (root / text).resolve()) for root in (r.resolve() for r in roots))
    return next((path for root, path in paths if path.is_relative_to(root) and path.is_file()), None)


def allowed_folder(text: str, roots: Sequence[Path]) -> Path:
    """The folder that was named, truly inside one of `roots`, links and all.  Raises ValueError, which tells nothing of what lies elsewhere."""
    for root in (r.resolve() for r in roots):
        path = (root / text).resolve()  # an absolute path stays what it is
        if path.is_relative_to(root) and path.is_dir():
            return path
    raise ValueError(f"there is no folder {text!r} in {' or '.join(str(r) for r in roots)}; others can be opened by starting Easel with --data DIR")
