"""The plain objective: learn the pictures as their captions describe them."""

from __future__ import annotations

TITLE = "Pictures"
BLURB = "Learns what the pictures show."


def loss(family, m, batch, schedule, config):
    """Loss of each picture, [B] fp32.  batch: engine.data.Batch; schedule: engine.noise; config: LossPart."""
    import torch

    from ..engine.losses import picture_loss

    noisy = schedule.mix(batch.latents, batch.noise, batch.t)
    target = schedule.target(batch.latents, batch.noise, batch.t)
    if batch.base is not None:
        target = target.index_copy(0, torch.tensor(batch.prior, device=target.device), batch.base.to(target.dtype))
    said = family.predict(m, noisy.to(m.dtype), batch.t, batch.cond)
    return picture_loss(said, target, batch, schedule, config)
