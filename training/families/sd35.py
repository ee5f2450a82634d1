"""Stable Diffusion 3.5 medium and large (and 3): a flow transformer, two CLIPs, and a T5 that can be left out."""

from __future__ import annotations

from pathlib import Path

from ..family import CONTROL, Beside, Cond, FamilySpec, LatentSpec, Modules, Original, Placement

TOKENS = 256  # of T5, the default of StableDiffusion3Pipeline

_ATTENTION = ("to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out")  # medium's attn2 ends likewise
_FF = ("ff.net.0.proj", "ff.net.2", "ff_context.net.0.proj", "ff_context.net.2")
_MODULATION = ("norm1.linear", "norm1_context.linear")

# Stability's own names (github.com/Stability-AI/sd3.5, mmditx.py); medium's first blocks attend a second time to the picture alone
_BLOCK, _THEIRS = "transformer_blocks.{n}.", "joint_blocks.{n}."
_ORIGINALS = (
    Original(f"{_THEIRS}x_block.attn.qkv", tuple(f"{_BLOCK}attn.to_{x}" for x in "qkv"), (1, 1, 1)),
    Original(f"{_THEIRS}x_block.attn.proj", (f"{_BLOCK}attn.to_out.0",)),
    Original(f"{_THEIRS}x_block.attn2.qkv", tuple(f"{_BLOCK}attn2.to_{x}" for x in "qkv"), (1, 1, 1)),
    Original(f"{_THEIRS}x_block.attn2.proj", (f"{_BLOCK}attn2.to_out.0",)),
    Original(f"{_THEIRS}context_block.attn.qkv", tuple(f"{_BLOCK}attn.add_{x}_proj" for x in "qkv"), (1, 1, 1)),
    Original(f"{_THEIRS}context_block.attn.proj", (f"{_BLOCK}attn.to_add_out",)),
    *(
        Original(f"{_THEIRS}{theirs}.{a}", (f"{_BLOCK}{ours}.{b}",))
        for theirs, ours in (("x_block.mlp", "ff"), ("context_block.mlp", "ff_context"))
        for a, b in (("fc1", "net.0.proj"), ("fc2", "net.2"))
    ),
    Original(f"{_THEIRS}x_block.adaLN_modulation.1", (f"{_BLOCK}norm1.linear",)),
    Original(f"{_THEIRS}context_block.adaLN_modulation.1", (f"{_BLOCK}norm1_context.linear",)),
)
_RELEASED = (
    ("pos_embed.pos_embed", "pos_embed"), ("pos_embed.proj", "x_embedder.proj"), ("proj_out", "final_layer.linear"), ("norm_out.linear", "final_layer.adaLN_modulation.1"),
    *((f"time_text_embed.{ours}_embedder.linear_{n}", f"{theirs}_embedder.mlp.{2 * n - 2}") for ours, theirs in (("timestep", "t"), ("text", "y")) for n in (1, 2)),
    *((f"{_BLOCK}{ours}_{x}", f"{_THEIRS}{theirs}.ln_{x}") for ours, theirs in (("attn.norm", "x_block.attn"), ("attn2.norm", "x_block.attn2"), ("attn.norm_added", "context_block.attn")) for x in "qk"),
)  # fmt: skip

SPEC = FamilySpec(
    id="sd35",
    title="Stable Diffusion 3.5",
    default_source="stabilityai/stable-diffusion-3.5-medium",
    elsewhere_called=("sd3", "sd35", "stablediffusion35"),
    licence="other",
    licence_url="https://huggingface.co/stabilityai/stable-diffusion-3.5-medium/blob/main/LICENSE.md",
    latent=LatentSpec(channels=16, stride=8, patch=2),
    prediction="flow",
    shift={"shift": 3.0},
    divisor=16,
    side_px=1024,
    architecture="stable-diffusion-v3.5",
    lora_targets={"attention": _ATTENTION, "attention+ff": _ATTENTION + _FF, "all": _ATTENTION + _FF + _MODULATION},
    parameters=2.5e9,
    other_parameters=(5.6e9, 84e6),
    sizes={
        "stabilityai/stable-diffusion-3.5-large": (8.06e9, 5.6e9),
        "stabilityai/stable-diffusion-3.5-large-turbo": (8.06e9, 5.6e9),
        "stabilityai/stable-diffusion-3-medium-diffusers": (2.03e9, 5.6e9),
    },
    titles={"stabilityai/stable-diffusion-3.5-large": "Stable Diffusion 3.5 large"},
    notes="Medium and large, with a licence to accept on the Hub. T5 can be left out: less memory, and captions of at most 77 tokens.",
    tags=("sd3", "text-to-image"),
    pipeline="StableDiffusion3Pipeline",
    parts={"denoiser": ("transformer",), "text": ("text_encoder", "text_encoder_2", "text_encoder_3"), "vae": ("vae",)},
    trainable_text=("text_encoder", "text_encoder_2"),
    optional={"text_encoder_3": 4.76e9},
    originals=_ORIGINALS,
    released=_RELEASED,
    comfyui="diffusers",
    beside={"controlnet": Beside("SD3ControlNetModel", "StableDiffusion3ControlNetPipeline", "controlnet", "control_image", "latents", layers={"num_layers": 12})},
)


def load(folder: Path, parts: set[str], place: Placement) -> Modules:
    """The asked-for parts from a folder in diffusers layout; the scheduler always."""
    from diffusers import AutoencoderKL, SD3Transformer2DModel
    from transformers import AutoTokenizer, CLIPTextModelWithProjection, CLIPTokenizer, T5EncoderModel

    from ..engine.weights import load_part, load_scheduler

    m = Modules(place.dtype, scheduler=load_scheduler(folder))
    if "transformer" in parts:
        m.denoiser = load_part(SD3Transformer2DModel, folder / "transformer", place)
    if "vae" in parts:
        m.vae = load_part(AutoencoderKL, folder / "vae", place)
    for name, tokenizer in (("text_encoder", "tokenizer"), ("text_encoder_2", "tokenizer_2")):
        if name in parts:
            m.text_encoders[name] = load_part(CLIPTextModelWithProjection, folder / name, place)
            m.tokenizers[name] = CLIPTokenizer.from_pretrained(folder / tokenizer)
    if "text_encoder_3" in parts:
        m.text_encoders["text_encoder_3"] = load_part(T5EncoderModel, folder / "text_encoder_3", place)
        m.tokenizers["text_encoder_3"] = AutoTokenizer.from_pretrained(folder / "tokenizer_3", local_files_only=True, model_max_length=TOKENS)
    return m


def encode_text(m: Modules, captions: list[str]) -> list[dict]:
    """From the CLIPs: embeds_1, embeds_2 [L,D] and pooled_1, pooled_2 [D]; from T5: embeds_3 [256,W]."""
    rows = [{} for _ in captions]
    for name, encoder in m.text_encoders.items():
        tokenizer, number = m.tokenizers[name], {"text_encoder": 1, "text_encoder_2": 2, "text_encoder_3": 3}[name]
        tokens = tokenizer(captions, padding="max_length", max_length=tokenizer.model_max_length, truncation=True, return_tensors="pt")
        if number == 3:
            tensors = {"embeds_3": encoder(tokens.input_ids.to(encoder.device))[0]}
        else:
            said = encoder(tokens.input_ids.to(encoder.device), output_hidden_states=True)
            tensors = {f"embeds_{number}": said.hidden_states[-2], f"pooled_{number}": said.text_embeds}
        for at, row in enumerate(rows):
            row |= {key: t[at] for key, t in tensors.items()}
    return rows


def _embeds(m: Modules, cond: Cond):
    """Both CLIPs side by side, filled up with zeros to T5's width, then T5's tokens, zeros where it was left out: [B,L+256,W]."""
    from torch import cat
    from torch.nn.functional import pad

    width = m.denoiser.config.joint_attention_dim
    clip = cat([cond.tensors["embeds_1"], cond.tensors["embeds_2"]], dim=-1)
    clip = pad(clip, (0, width - clip.shape[-1]))
    t5 = cond.tensors.get("embeds_3")
    return cat([clip, clip.new_zeros(len(clip), TOKENS, width) if t5 is None else t5.to(clip.dtype)], dim=1)


def _pooled(cond: Cond):
    from torch import cat

    return cat([cond.tensors["pooled_1"], cond.tensors["pooled_2"]], dim=-1)


def encode_image(m: Modules, pixels, generator):
    """pixels [B,3,H,W] in [-1,1] -> latents [B,16,h,w] with about unit variance."""
    c = m.vae.config
    return (m.vae.encode(pixels.to(m.vae.dtype)).latent_dist.sample(generator).float() - c.shift_factor) * c.scaling_factor


def predict(m: Modules, noisy, t, cond: Cond):
    """noisy [B,16,h,w]; t [B] in [0,1] -> noise - clean, [B,16,h,w]."""
    told = {"hidden_states": noisy, "timestep": t * 1000, "encoder_hidden_states": _embeds(m, cond), "pooled_projections": _pooled(cond), "return_dict": False}
    beside = {}
    if m.side:
        beside = {"block_controlnet_hidden_states": m.side.network(controlnet_cond=cond.tensors[CONTROL].to(noisy.dtype), **told)[0]}
    return m.denoiser(**told, **beside)[0]


def pipeline(m: Modules):
    """diffusers' own pipeline over the same modules; parts that were freed are None."""
    from diffusers import StableDiffusion3Pipeline

    encoders = {name: m.text_encoders.get(name) for name in SPEC.parts["text"]}
    tokenizers = {name.replace("text_encoder", "tokenizer"): m.tokenizers.get(name) for name in SPEC.parts["text"]}
    return StableDiffusion3Pipeline(transformer=m.denoiser, scheduler=m.scheduler, vae=m.vae, **encoders, **tokenizers)


def draw_args(m: Modules, cond: Cond, negative: Cond, guidance: float) -> dict:
    """Keyword arguments that feed cached text and the guidance strength to the pipeline's call."""
    return {
        "prompt_embeds": _embeds(m, cond), "pooled_prompt_embeds": _pooled(cond),
        "negative_prompt_embeds": _embeds(m, negative), "negative_pooled_prompt_embeds": _pooled(negative), "guidance_scale": guidance,
    }  # fmt: skip


def grid(configs: dict[str, dict]) -> tuple[int, int]:
    """(px per latent cell, px that sides must divide by) of a checkpoint, from its parts' config.json."""
    stride = 2 ** (len(configs["vae"]["block_out_channels"]) - 1)
    return stride, stride * configs["transformer"]["patch_size"]
