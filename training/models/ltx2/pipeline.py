"""diffusers' LTX-2 pipeline without the parts that make sound audible, drawing from prompts or from what the connectors said of them."""

from __future__ import annotations

from functools import wraps
from types import SimpleNamespace

import torch
from diffusers import LTX2Pipeline
from diffusers.pipelines.ltx2.pipeline_output import LTX2PipelineOutput
from torch import Tensor, nn

AUDIO_CHANNELS = 8  # of its audio autoencoder's latents (audio_vae/config.json of Lightricks/LTX-2)
MEL_RATIO = 4  # mel bins per latent bin (AutoencoderKLLTX2Audio.mel_compression_ratio)


class NoSound:
    """What the pipeline asks its audio autoencoder for, to walk with sound that nobody will hear: numbers of the transformer's settings."""

    def __init__(self, transformer):
        told = transformer.config
        mel_bins = told.audio_in_channels // AUDIO_CHANNELS * MEL_RATIO
        self.config = SimpleNamespace(sample_rate=told.audio_sampling_rate, mel_hop_length=told.audio_hop_length, mel_bins=mel_bins, latent_channels=AUDIO_CHANNELS)
        self.mel_compression_ratio, self.temporal_compression_ratio = MEL_RATIO, told.audio_scale_factor
        self.latents_mean, self.latents_std = torch.zeros(()), torch.ones(())


class Told(nn.Module):
    """The connectors, or what they said before: video's [B,L,D] and sound's [B,L,E] one behind the other, [B,L,D+E]."""

    def __init__(self, connectors: nn.Module | None, transformer: nn.Module):
        super().__init__()
        self.connectors, self.widths = connectors, widths(transformer)
        self._beside = [transformer]  # in a list, as it is no part of this

    @property
    def device(self) -> torch.device:
        """Where it works: pipelines ask their parts."""
        return self._beside[0].device

    @property
    def dtype(self) -> torch.dtype:
        """In what it works."""
        return self._beside[0].dtype

    def forward(self, states: Tensor, mask: Tensor, **more) -> tuple[Tensor, Tensor, Tensor]:
        """(video's text, sound's text, their mask)."""
        if states.shape[-1] == sum(self.widths):
            return *states.split(self.widths, dim=-1), mask
        return self.connectors(states, mask, **more)


def widths(transformer: nn.Module) -> tuple[int, int]:
    """(D, E): of what the transformer is told for the video, and for the sound."""
    told = transformer.config
    return (told.caption_channels,) * 2 if told.use_prompt_embeddings else (told.cross_attention_dim, told.audio_cross_attention_dim)


class LTX2SilentPipeline(LTX2Pipeline):
    """The same walk through the same call: sound is denoised beside the video, as the network expects it, and then forgotten."""

    @classmethod
    def of(cls, *, transformer, connectors, **parts) -> LTX2SilentPipeline:
        """One over these parts, which may be None."""
        audio = NoSound(transformer) if transformer is not None else None
        told = Told(connectors, transformer) if transformer is not None else connectors
        return cls(transformer=transformer, connectors=told, audio_vae=audio, vocoder=None, **parts)

    @torch.no_grad()
    @wraps(LTX2Pipeline.__call__)  # who asks what the call takes is told
    def __call__(self, *, output_type: str = "pil", generator=None, **call) -> LTX2PipelineOutput:
        """As LTX2Pipeline's, without audio."""
        made = super().__call__(**call, generator=generator, output_type="latent").frames
        if output_type == "latent":
            return LTX2PipelineOutput(frames=made, audio=None)
        video = self.vae.decode(made.to(self.vae.dtype), None, return_dict=False)[0]
        return LTX2PipelineOutput(frames=self.video_processor.postprocess_video(video, output_type=output_type), audio=None)
