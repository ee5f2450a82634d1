"""What a pipeline of our own asks of its call's arguments before it draws."""

from __future__ import annotations


def check(pipe, prompt, prompt_embeds, height: int, width: int, callback_tensors: list[str]) -> None:
    """Nothing comes back.  Raises ValueError that names the argument."""
    if (prompt is None) == (prompt_embeds is None):
        raise ValueError("give either prompt or prompt_embeds")
    divisor = pipe.image_processor.config.vae_scale_factor
    if height % divisor or width % divisor:
        near = max(divisor, width // divisor * divisor), max(divisor, height // divisor * divisor)
        raise ValueError(f"{width}x{height} px does not divide by {divisor}; try {near[0]}x{near[1]}")
    odd = [name for name in callback_tensors if name not in pipe._callback_tensor_inputs]
    if odd:
        raise ValueError(f"callback_on_step_end_tensor_inputs has {odd[0]!r}, but it takes {pipe._callback_tensor_inputs}")
