"""Where Easel's own packages lie: beside this folder in a checkout, inside it, in `_app`, in an installed wheel.

So site-packages gets no top-level package called `ui` or `training`.  What a worker is started with needs nothing of this: it runs in
that folder (training/home.py's REPO), where `python -m` finds them.
"""

from __future__ import annotations

import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
INSIDE = PACKAGE / "_app"
INSTALLED = INSIDE.is_dir()
ROOMS = INSIDE if INSTALLED else PACKAGE.parent


def put_on_path() -> None:
    """`import training` finds ours from now on, before any other of that name."""
    if str(ROOMS) not in sys.path:
        sys.path.insert(0, str(ROOMS))
