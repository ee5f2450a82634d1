"""What the image-to-video models of the Wan family share: a clip's first frame as latents with a mask, and as an image encoder sees it."""

from __future__ import annotations

from pathlib import Path

from ..family import Cond, FamilySpec, Modules, Placement

FIRST, SEEN = "first", "seen"  # of a Cond: [B,T+C,f,h,w], mask and latents of the first frame; [B,L,D], what the image encoder says of it
EYE = "image_encoder"


def load_eye(m: Modules, folder: Path, place: Placement) -> None:
    """The image encoder of Wan 2.1, fp32 as its card has it, with what makes its pictures ready."""
    from torch import float32
    from transformers import CLIPImageProcessor, CLIPVisionModel

    from ..engine.weights import load_part

    m.eye = load_part(CLIPVisionModel, folder / EYE, Placement(float32, place.device))
    m.tokenizers[EYE] = CLIPImageProcessor.from_pretrained(folder / "image_processor", local_files_only=True)


def pipeline(m: Modules, **denoisers):
    """diffusers' own pipeline over the same modules; parts that were freed are None."""
    from diffusers import WanImageToVideoPipeline

    return WanImageToVideoPipeline(
        vae=m.vae, text_encoder=m.text_encoders.get("text_encoder"), tokenizer=m.tokenizers.get("text_encoder"), scheduler=m.scheduler,
        image_encoder=m.eye, image_processor=m.tokenizers.get(EYE), **denoisers,
    )  # fmt: skip


def encode_first(m: Modules, frame, frames: int) -> dict:
    """{FIRST: [T+C,f,h,w]}, and {SEEN: [L,D]} where there is an image encoder, fp32, of a PIL picture that a clip of so many frames begins with."""
    from torch import float32, zeros

    pipe = pipeline(m)
    size = {"height": frame.height, "width": frame.width}
    pixels = pipe.video_processor.preprocess(frame, **size).to(m.vae.device, float32)
    stride, stretch = pipe.vae_scale_factor_spatial, pipe.vae_scale_factor_temporal
    shape = (1, m.vae.config.z_dim, (frames - 1) // stretch + 1, frame.height // stride, frame.width // stride)
    _, told = pipe.prepare_latents(pixels, 1, m.vae.config.z_dim, num_frames=frames, dtype=float32, device=pixels.device, latents=zeros(shape), **size)
    return {FIRST: told[0]} | ({SEEN: pipe.encode_image(frame, pixels.device)[0].float()} if m.eye is not None else {})


def predict(m: Modules, noisy, t, embeds, cond: Cond):
    """noisy [B,C,f,h,w]; t [B] as the network counts it; embeds [B,L,D] -> noise - clean, [B,C,f,h,w]."""
    from torch import cat

    seen = cond.tensors.get(SEEN)
    return m.denoiser(
        hidden_states=cat([noisy, cond.tensors[FIRST].to(noisy.dtype)], dim=1), timestep=t, encoder_hidden_states=embeds.to(noisy.dtype),
        encoder_hidden_states_image=None if seen is None else seen.to(noisy.dtype), return_dict=False,
    )[0]  # fmt: skip


def check_channels(configs: dict[str, dict], spec: FamilySpec, eyed: bool) -> None:
    """Nothing, or ValueError where the transformer is not one of this family.  eyed: whether it is told what an image encoder sees."""
    config = configs["transformer"]
    taken, given = config["in_channels"], config["out_channels"]
    latents = spec.latent.channels
    wanted = 2 * latents + spec.latent.frame_stride  # noisy latents, those of the first frame, and a mask of each frame in a latent one
    if (taken, given) != (wanted, latents):
        raise ValueError(f"the base model takes {taken} and gives {given} latent channels, {spec.title} {wanted} and {latents}: it is of another family; choose that")
    if (config.get("image_dim") is not None) != eyed:
        raise ValueError(f"the base model {'has no' if eyed else 'has an'} image encoder, unlike {spec.title}: it is of another family; choose that")
