"""An LTX-2 of a few thousand weights; 4 px and 8 frames a latent cell."""

from pathlib import Path

from tests.data import make

from . import tokens

SIDE, SIZE, FRAMES = 32, (32, 64), 9
JOB = {"data__frames": 9, "data__fps": 24.0, "sample__frames": 9, "sample__fps": 24.0}
AT = 1  # of the pipeline's calls in a step the second is the one that a training makes: of the video alone
ASKED = {"modality_scale": 0.0, "audio_modality_scale": 2.0}  # with which the pipeline makes it, and takes the video from it
ASIDE = ("audio_hidden_states", "audio_encoder_hidden_states", "audio_coords", "video_coords")  # the first three cannot reach the answer; the last is made of what predict() tells


def build(folder: Path, later: bool = False) -> Path:
    """later: as LTX-2.3 has it."""
    import torch
    from diffusers import (
        AutoencoderKLLTX2Audio,
        AutoencoderKLLTX2Video,
        FlowMatchEulerDiscreteScheduler,
        LTX2Pipeline,
        LTX2VideoTransformer3DModel,
    )
    from diffusers.pipelines.ltx2 import LTX2TextConnectors, LTX2Vocoder
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration

    gemma = tokens.gemma(1024)
    torch.manual_seed(0)
    more = dict(gated_attn=True, cross_attn_mod=True, audio_gated_attn=True, audio_cross_attn_mod=True, use_prompt_embeddings=False, perturbed_attn=True) if later else {}
    transformer = LTX2VideoTransformer3DModel(
        in_channels=4, out_channels=4, num_attention_heads=2, attention_head_dim=12, cross_attention_dim=24, vae_scale_factors=(8, 4, 4), num_layers=2,
        audio_in_channels=16, audio_out_channels=16, audio_num_attention_heads=2, audio_attention_head_dim=4, audio_cross_attention_dim=8,
        caption_channels=16, rope_double_precision=False, **more,
    )  # fmt: skip
    vae = AutoencoderKLLTX2Video(
        latent_channels=4, block_out_channels=(8, 8, 8), down_block_types=("LTX2VideoDownBlock3D",) * 3, decoder_block_out_channels=(8, 8, 8),
        layers_per_block=(1, 1, 1, 1), decoder_layers_per_block=(1, 1, 1, 1), spatio_temporal_scaling=(True,) * 3, decoder_spatio_temporal_scaling=(True,) * 3,
        decoder_inject_noise=(False,) * 4, downsample_type=("temporal", "temporal", "spatiotemporal"), upsample_type=("spatiotemporal", "temporal", "temporal"),
        upsample_residual=(False,) * 3, upsample_factor=(1,) * 3, patch_size=2, decoder_causal=False, spatial_compression_ratio=4, temporal_compression_ratio=8,
    ).eval()  # fmt: skip
    vae.latents_mean.copy_(torch.tensor([0.1, -0.2, 0.3, 0.0]))
    vae.latents_std.copy_(torch.tensor([1.5, 0.5, 1.0, 2.0]))
    sound = AutoencoderKLLTX2Audio(base_channels=16, ch_mult=(1,), num_res_blocks=1, resolution=32, latent_channels=8, mel_bins=8).eval()
    told = dict(vocab_size=len(gemma), hidden_size=16, intermediate_size=8, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1, head_dim=8, max_position_embeddings=1024)
    seen = dict(hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14)
    text = Gemma3ForConditionalGeneration(Gemma3Config(text_config=told, vision_config=seen, mm_tokens_per_image=4)).eval()
    video, audio = ((2, 12), (2, 4)) if later else ((2, 8), (2, 8))  # heads and their width: what the transformer is told in
    connectors = LTX2TextConnectors(
        caption_channels=16, text_proj_in_factor=3, video_connector_num_attention_heads=video[0], video_connector_attention_head_dim=video[1],
        video_connector_num_layers=1, video_connector_num_learnable_registers=8, audio_connector_num_attention_heads=audio[0],
        audio_connector_attention_head_dim=audio[1], audio_connector_num_layers=1, audio_connector_num_learnable_registers=8, rope_double_precision=False,
        per_modality_projections=later, video_hidden_dim=24, audio_hidden_dim=8, video_gated_attn=later, audio_gated_attn=later,
    ).eval()  # fmt: skip
    vocoder = LTX2Vocoder(
        in_channels=16, hidden_channels=8, upsample_kernel_sizes=[4, 4], upsample_factors=[2, 2], resnet_kernel_sizes=[3], resnet_dilations=[[1, 3, 5]], output_sampling_rate=16000,
    ).eval()  # fmt: skip
    scheduler = FlowMatchEulerDiscreteScheduler(
        use_dynamic_shifting=True, base_shift=0.95, max_shift=2.05, base_image_seq_len=1024, max_image_seq_len=4096, shift_terminal=0.1
    )
    LTX2Pipeline(
        scheduler=scheduler, vae=vae, audio_vae=sound, text_encoder=text, tokenizer=gemma, connectors=connectors, transformer=transformer, vocoder=vocoder
    ).save_pretrained(folder)
    return folder


def to_pipe(m, x):
    """Latents [B,C,f,h,w] as the pipeline holds them."""
    from diffusers import LTX2Pipeline

    return LTX2Pipeline._pack_latents(x)


def from_pipe(m, x, shape):
    """What the pipeline gives back, normalised again."""
    from diffusers import LTX2Pipeline

    return LTX2Pipeline._normalize_latents(x, m.vae.latents_mean, m.vae.latents_std, m.vae.config.scaling_factor)


def as_answer(m, x):
    """The denoiser's answer: of the video, and of the sound."""
    import torch

    return to_pipe(m, x), torch.zeros(len(x), 1, m.denoiser.config.audio_in_channels)


def mend(pipe):
    """The pipeline draws sound from a generator that no argument names where none is given: here always the same."""
    import torch

    prepare = pipe.prepare_audio_latents
    pipe.prepare_audio_latents = lambda *args, **kwargs: prepare(*args, **{**kwargs, "generator": torch.Generator().manual_seed(0)})


def dataset(folder: Path) -> Path:
    """Clips of two shapes and a picture, with captions."""
    for n in range(3):
        make.clip(folder / f"clip {n}.mp4", n, size=(96, 64) if n == 1 else (64, 64), count=12, fps=24)
    make.write(folder / "still.png", 7, size=(64, 64))
    for n, path in enumerate(sorted(p.stem for p in folder.iterdir())):
        (folder / f"{path}.txt").write_text(("a red cat", "an old blue dog near a castle", "a robot", "a tiny horse")[n], encoding="utf-8")
    return folder
