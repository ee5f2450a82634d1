"""Edits: pictures are learnt together with what they are made from, and the caption is the instruction."""

from __future__ import annotations

from .images import loss  # noqa: F401 the same: what a picture is made from comes with the words, in batch.cond

TITLE = "Edits"
BLURB = "Pairs of pictures, before and after: learns to make the second from the first, as the caption asks."
EDITS = True  # the denoiser is shown what each picture is made from
