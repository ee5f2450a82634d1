"""A Wan 2.1 of a few thousand weights; 4 px a latent cell, sides divide by 8 px."""

from pathlib import Path

from tests.data import make

from . import tokens

SIDE, SIZE, FRAMES = 32, (32, 48), 5
FIRST_T = 0.999  # the first timestep of UniPC, which rounds them down to whole ones
JOB = {"data__frames": 5, "data__fps": 8.0, "sample__frames": 5, "sample__fps": 8.0}


def build(folder: Path) -> Path:
    return pipeline(folder, 16, vae())


def vae():
    from diffusers import AutoencoderKLWan

    return AutoencoderKLWan(
        base_dim=3, z_dim=16, dim_mult=[1, 1, 1], num_res_blocks=1, temperal_downsample=[True, True], scale_factor_spatial=4,
    )  # fmt: skip


def transformer(channels: int, taken: int = 0, layers: int = 2, **extra):
    """taken: latent channels that it is shown, where they are more than it gives."""
    from diffusers import WanTransformer3DModel

    return WanTransformer3DModel(
        patch_size=(1, 2, 2), num_attention_heads=2, attention_head_dim=12, in_channels=taken or channels, out_channels=channels, text_dim=32,
        freq_dim=32, ffn_dim=32, num_layers=layers, cross_attn_norm=True, qk_norm="rms_norm_across_heads", rope_max_seq_len=32, **extra,
    )  # fmt: skip


def pipeline(folder: Path, channels: int, vae, network=None, cls: str = "WanPipeline", **extra) -> Path:
    """A pipeline around `vae`, with the scheduler of the released checkpoints, in `folder`."""
    import diffusers
    import torch
    from diffusers import UniPCMultistepScheduler

    tokenizer = tokens.t5()
    torch.manual_seed(0)
    network = network or transformer
    scheduler = UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0)
    getattr(diffusers, cls)(
        transformer=network(channels), vae=vae.eval(), scheduler=scheduler, text_encoder=text_encoder(tokenizer), tokenizer=tokenizer, **extra
    ).save_pretrained(folder)
    return folder


def text_encoder(tokenizer):
    from transformers import UMT5Config, UMT5EncoderModel

    config = UMT5Config(
        vocab_size=len(tokenizer), d_model=32, d_kv=8, d_ff=40, num_layers=2, num_heads=4, decoder_start_token_id=0, pad_token_id=0, eos_token_id=1
    )
    return UMT5EncoderModel(config).eval()


def dataset(folder: Path) -> Path:
    """Clips of two shapes and a picture, with captions."""
    for n in range(3):
        make.clip(folder / f"clip {n}.mp4", n, size=(96, 64) if n == 1 else (64, 64), count=8, fps=8)
    make.write(folder / "still.png", 7, size=(64, 64))
    for n, path in enumerate(sorted(p.stem for p in folder.iterdir())):
        (folder / f"{path}.txt").write_text(("a red cat", "an old blue dog near a castle", "a robot", "a tiny horse")[n], encoding="utf-8")
    return folder
