"""diffusers' pipeline for FLUX.1 Kontext, drawing at the size that it is asked for."""

from __future__ import annotations

from functools import wraps

from diffusers import FluxKontextPipeline


class KontextPipeline(FluxKontextPipeline):
    """The same but for one thing: diffusers' own call brings every width and height to a million pixels unless it is told their area too."""

    @wraps(FluxKontextPipeline.__call__)
    def __call__(self, *args, **kwargs):
        if kwargs.get("width") and kwargs.get("height"):
            kwargs.setdefault("max_area", kwargs["width"] * kwargs["height"])
        return super().__call__(*args, **kwargs)
