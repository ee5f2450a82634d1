"""Pictures, with each error counted by its size instead of its square: what is far off pulls no harder than what is near.

loss.type and loss.huber_* have no effect on it.
"""

from __future__ import annotations

EASEL_API = 1
TITLE = "Pictures, absolute error"
BLURB = "Learns what the pictures show, and lets single odd places count less."


def loss(family, m, batch, schedule, config):
    """Loss of each picture, [B] fp32.  batch: engine.data.Batch; schedule: engine.noise; config: LossPart."""
    import torch

    from training.engine.losses import level_weight, weighted_mean

    noisy = schedule.mix(batch.latents, batch.noise, batch.t)
    target = schedule.target(batch.latents, batch.noise, batch.t)
    if batch.base is not None:  # pictures that must give what the base model makes of them
        target = target.index_copy(0, torch.tensor(batch.prior, device=target.device), batch.base.to(target.dtype))
    said = family.predict(m, noisy.to(m.dtype), batch.t, batch.cond)
    errors = (said.float() - target.float()).abs()
    mask = None if batch.mask is None else config.unmasked_weight + (1 - config.unmasked_weight) * batch.mask
    return weighted_mean(errors, mask) * level_weight(schedule, batch.t, config)
