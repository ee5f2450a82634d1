"""LTX-2 and 2.3, text to video: a flow transformer with a stream of its own for sound, Gemma 3 read at every layer, a video autoencoder of 32 px and 8 frames a cell.

What is learnt is the video.  The network has a switch for that, `isolate_modalities`: neither stream then looks at the other, so what it
says of the video depends on the video and its text alone.  Lightricks' own trainer trains so where a dataset has no sound (it hands over
no audio, and the cross-attention between the streams is left out), and the pipeline makes this very call where it guides away from a
video without sound (modality_scale).  Sound that is invented for a clip, noise say, would teach the video to listen to it.

Samples are drawn as everybody draws, with sound beside the video: it is denoised in step with it, and not decoded.
"""

from __future__ import annotations

import json
from pathlib import Path

from ..family import Cond, FamilySpec, LatentSpec, Modules, Original, Placement

TOKENS = 1024  # of Gemma, as LTX2Pipeline's call has it; the connectors put registers where a caption has none
TIMESTEPS = 1000  # the network's time for t = 1
SOUND_GUIDANCE = 7.0  # LTX2Pipeline's default
FPS = 24.0  # frames a second that positions in time are told in, as LTX2Pipeline's call has it

ATTENTION = tuple(f"attn{n}.{layer}" for n in (1, 2) for layer in ("to_q", "to_k", "to_v", "to_out.0"))  # the video's own, and what it sees of the text
FF = ("ff.net.0.proj", "ff.net.2")
OUTER = ("proj_in", "proj_out")
_LTX23 = "diffusers/LTX-2.3-Diffusers"

SPEC = FamilySpec(
    id="ltx2",
    title="LTX-2",
    default_source="Lightricks/LTX-2",
    elsewhere_called=("ltx2", "ltx23"),
    licence="other",
    licence_url="https://github.com/Lightricks/LTX-2/blob/main/LICENSE",
    latent=LatentSpec(channels=128, stride=32, video=True, frame_stride=8),
    prediction="flow",
    # scheduler/scheduler_config.json of Lightricks/LTX-2; the pipeline's own defaults are the same
    shift={"use_dynamic_shifting": True, "base_shift": 0.95, "max_shift": 2.05, "base_image_seq_len": 1024, "max_image_seq_len": 4096},
    divisor=32,
    side_px=512,
    architecture="ltx-2",
    lora_targets={"attention": ATTENTION, "attention+ff": ATTENTION + FF, "all": ATTENTION + FF + OUTER},
    parameters=18.9e9,
    other_parameters=(13.6e9, 1.2e9),
    sizes={_LTX23: (19.0e9, 15.4e9)},
    titles={_LTX23: "LTX-2.3"},
    notes="Video clips and pictures. What is learnt is the video; the sound that it makes beside stays as it was. Made for 24 frames a second.",
    tags=("text-to-video", "ltx-2"),
    fps=FPS,
    pipeline="LTX2Pipeline",
    parts={"denoiser": ("transformer",), "text": ("text_encoder",), "after_text": ("connectors",), "vae": ("vae",)},
    originals=(
        *(Original(f"transformer_blocks.{{n}}.{x}", (f"transformer_blocks.{{n}}.{x}",)) for x in (*ATTENTION, *FF)),
        Original("patchify_proj", ("proj_in",)), Original("proj_out", ("proj_out",)),
    ),
    comfyui="comfyui",
    pipeline_reads_originals=True,
)  # fmt: skip


def load(folder: Path, parts: set[str], place: Placement) -> Modules:
    """The asked-for parts from a folder in diffusers layout; the connectors with the text encoder, the scheduler always."""
    import transformers
    from diffusers import AutoencoderKLLTX2Video, LTX2VideoTransformer3DModel
    from diffusers.pipelines.ltx2 import LTX2TextConnectors

    from ..engine.weights import load_part, load_scheduler

    m = Modules(place.dtype, scheduler=load_scheduler(folder))
    if "transformer" in parts:
        m.denoiser = load_part(LTX2VideoTransformer3DModel, folder / "transformer", place)
    if "vae" in parts:
        m.vae = load_part(AutoencoderKLLTX2Video, folder / "vae", place)
    if "text_encoder" in parts:
        kind = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))["text_encoder"][1]
        if kind != "Gemma3ForConditionalGeneration":
            raise ValueError(f"{folder.name} reads text with {kind}; this family trains LTX-2 and LTX-2.3, which read it with Gemma 3")
        m.text_encoders["text_encoder"] = load_part(transformers.Gemma3ForConditionalGeneration, folder / "text_encoder", place)
        m.text_encoders["connectors"] = load_part(LTX2TextConnectors, folder / "connectors", place)
        tokenizer = m.tokenizers["text_encoder"] = transformers.AutoTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
        tokenizer.model_max_length, tokenizer.padding_side = TOKENS, "left"
    return m


def encode_text(m: Modules, captions: list[str]) -> list[dict]:
    """embeds: [1024,D] for the video, sound: [1024,E]; registers stand where a caption ends, so nothing is padded and nothing hidden.  One by one."""
    from diffusers import LTX2Pipeline

    pipe = LTX2Pipeline(
        scheduler=m.scheduler, vae=None, audio_vae=None, text_encoder=m.text_encoders["text_encoder"], tokenizer=m.tokenizers["text_encoder"],
        connectors=m.text_encoders["connectors"], transformer=None, vocoder=None,
    )  # fmt: skip
    rows = []
    for caption in captions:
        states, mask, *_ = pipe.encode_prompt(caption, do_classifier_free_guidance=False, max_sequence_length=TOKENS, device=m.text_encoders["text_encoder"].device)
        video, sound, _ = m.text_encoders["connectors"](states, mask, padding_side="left")
        rows.append({"embeds": video[0], "sound": sound[0]})
    return rows


def encode_image(m: Modules, pixels, generator):
    """pixels [B,3,F,H,W] in [-1,1] -> latents [B,128,f,h,w] with about unit variance, f = (F - 1) / 8 + 1; nothing is drawn at random."""
    from diffusers import LTX2Pipeline

    mode = m.vae.encode(pixels.to(m.vae.dtype), return_dict=False)[0].mode().float()
    return LTX2Pipeline._normalize_latents(mode, m.vae.latents_mean, m.vae.latents_std, m.vae.config.scaling_factor)


def predict(m: Modules, noisy, t, cond: Cond):
    """noisy [B,128,f,h,w]; t [B] in [0,1] -> noise - clean, [B,128,f,h,w].  Of sound there is a single token, which the video does not see."""
    from diffusers import LTX2Pipeline

    batch, _, frames, h, w = noisy.shape
    patch, deep = m.denoiser.config.patch_size, m.denoiser.config.patch_size_t
    time = t * TIMESTEPS
    found, _ = m.denoiser(
        hidden_states=LTX2Pipeline._pack_latents(noisy, patch, deep),
        audio_hidden_states=noisy.new_zeros(batch, 1, m.denoiser.config.audio_in_channels),
        encoder_hidden_states=cond.tensors["embeds"].to(noisy.dtype),
        audio_encoder_hidden_states=cond.tensors["sound"][:, :1].to(noisy.dtype),
        timestep=time, sigma=time, num_frames=frames, height=h, width=w, fps=FPS, audio_num_frames=1, isolate_modalities=True,
        use_cross_timestep=listens_to_its_noise(m), return_dict=False,
    )  # fmt: skip
    return LTX2Pipeline._unpack_latents(found, frames, h, w, patch, deep)


def listens_to_its_noise(m: Modules) -> bool:
    """Whether the streams are told of each other's level of noise: LTX-2.3's pipeline does so, LTX-2's does not (use_cross_timestep)."""
    return bool(m.denoiser.config.cross_attn_mod)


def pipeline(m: Modules):
    """The pipeline over the same modules, without sound; parts that were freed are None."""
    from ..models.ltx2 import LTX2SilentPipeline

    return LTX2SilentPipeline.of(
        transformer=m.denoiser, vae=m.vae, scheduler=m.scheduler, text_encoder=m.text_encoders.get("text_encoder"),
        tokenizer=m.tokenizers.get("text_encoder"), connectors=m.text_encoders.get("connectors"),
    )  # fmt: skip


def draw_args(m: Modules, cond: Cond, negative: Cond, guidance: float) -> dict:
    """Keyword arguments that feed cached text and the guidance strength to the pipeline's call."""
    from torch import cat, ones

    said = {"": cond, "negative_": negative}
    args = {f"{which}prompt_embeds": cat([c.tensors["embeds"], c.tensors["sound"]], dim=-1) for which, c in said.items()}
    args |= {f"{which}prompt_attention_mask": ones(args[f"{which}prompt_embeds"].shape[:2], device=c.tensors["embeds"].device).long() for which, c in said.items()}
    # guidance by the negative prompt alone, two passes a step, of the four that the pipeline makes unless it is told otherwise
    plain = {"stg_scale": 0.0, "audio_stg_scale": 0.0, "modality_scale": 1.0, "audio_modality_scale": 1.0}
    args |= plain | {"guidance_scale": guidance, "audio_guidance_scale": SOUND_GUIDANCE if guidance > 1 else guidance}
    return args | {"use_cross_timestep": listens_to_its_noise(m)}


def grid(configs: dict[str, dict]) -> tuple[int, int]:
    """(px per latent cell, px that sides must divide by) of a checkpoint, from its parts' config.json."""
    vae = configs["vae"]
    stride = vae.get("spatial_compression_ratio") or vae["patch_size"] * 2 ** sum(vae["spatio_temporal_scaling"])
    return stride, stride * configs["transformer"]["patch_size"]
