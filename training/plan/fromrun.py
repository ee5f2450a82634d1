"""How to draw as a run does: its base model, its trigger word, and the settings of its sample pictures."""

from __future__ import annotations

from typing import Any

from ..runs.run import Run


def drawing_like(run: Run) -> dict[str, Any]:
    """The settings of a drawing job that draws with the run's base model what the run draws as samples; "loras" only where it draws with some besides its own.  Raises ValueError, OSError."""
    config = run.config()
    if run.kind != "train":
        raise ValueError(f"'{run.title}' has trained nothing; choose a run that has")
    s = config.sample
    model = config.model.model_copy(update={"training_adapter": "", "context_adapter": "", "context_strength": 1.0})
    worn = [(config.model.context_adapter, config.model.context_strength), (s.speed_adapter, s.speed_strength)]
    beside = {"loras": [{"source": source, "strength": strength, "fixed": True} for source, strength in worn if source]}
    return (beside if beside["loras"] else {}) | {
        "model": model.model_dump(mode="json"), "device": config.device, "trigger": config.trigger or next(iter(config.triggers), ""), "negative": s.negative,
        "sizes": [[s.width, s.height]], "seed": s.seed, "steps": s.steps, "guidance": s.guidance, "frames": s.frames, "fps": s.fps,
    }  # fmt: skip
