"""Small models of the real classes, random but fixed, built from config and saved to disk."""

from __future__ import annotations

from pathlib import Path

WORDS = "a red blue green square circle cat dog photo of on with zibbo"


def clip_tokenizer(max_length: int = 32):
    """A byte-level CLIP tokenizer that takes any text and knows WORDS.  Written, not trained: the trainer breaks ties differently each time."""
    from tokenizers import pre_tokenizers
    from transformers import CLIPTokenizer

    merges: dict[tuple[str, str], None] = {}
    for word in WORDS.split():
        pieces = [*word[:-1], f"{word[-1]}</w>"]
        while len(pieces) > 1:
            merges[pieces[0], pieces[1]] = None
            pieces[:2] = ["".join(pieces[:2])]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    pieces = [*alphabet, *(f"{byte}</w>" for byte in alphabet), *map("".join, merges), "<|startoftext|>", "<|endoftext|>"]
    vocab = {piece: number for number, piece in enumerate(dict.fromkeys(pieces))}
    return CLIPTokenizer(vocab=vocab, merges=list(merges), model_max_length=max_length)


def sd15(folder: Path, prediction_type: str = "epsilon", side_px: int = 32) -> Path:
    """A random StableDiffusionPipeline of a few thousand weights in `folder`; divides by 4 px, 2 px a latent cell."""
    import torch
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    tokenizer = clip_tokenizer()
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        block_out_channels=(8, 16), layers_per_block=1, sample_size=side_px // 2, cross_attention_dim=16, norm_num_groups=2,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"), up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), attention_head_dim=4,
    )  # fmt: skip
    vae = AutoencoderKL(
        block_out_channels=(8, 8), layers_per_block=1, norm_num_groups=4, down_block_types=["DownEncoderBlock2D"] * 2,
        up_block_types=["UpDecoderBlock2D"] * 2, sample_size=side_px, scaling_factor=0.5,
        mid_block_add_attention=False,  # as the built-in base: leaves a place in a ModuleList empty
    )  # fmt: skip
    text = CLIPTextModel(
        CLIPTextConfig(
            hidden_size=16, intermediate_size=32, num_attention_heads=2, num_hidden_layers=2, vocab_size=len(tokenizer), projection_dim=16,
            max_position_embeddings=tokenizer.model_max_length, bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
        )
    )  # fmt: skip
    scheduler = DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, set_alpha_to_one=False, steps_offset=1,
        prediction_type=prediction_type,
    )  # fmt: skip
    StableDiffusionPipeline(
        vae=vae, text_encoder=text.eval(), tokenizer=tokenizer, unet=unet, scheduler=scheduler, safety_checker=None,
        feature_extractor=None, requires_safety_checker=False,
    ).save_pretrained(folder)  # fmt: skip
    return folder


def pictures(folder: Path, count: int = 4, sizes=((64, 64), (96, 64))) -> Path:
    """`count` different small pictures with captions."""
    from PIL import Image, ImageDraw

    folder.mkdir(parents=True, exist_ok=True)
    colours = ["red", "blue", "green", "orange", "purple", "teal"]
    for n in range(count):
        width, height = sizes[n % len(sizes)]
        picture = Image.new("RGB", (width, height), colours[n % len(colours)])
        ImageDraw.Draw(picture).ellipse((8 + n, 8, 40 + n, 44), fill=colours[(n + 2) % len(colours)])
        picture.save(folder / f"picture {n}.png")
        (folder / f"picture {n}.txt").write_text(f"a {colours[n % len(colours)]} photo of a cat", encoding="utf-8")
    return folder


def pairs(folder: Path, count: int = 4, sizes=((64, 64),), references: int = 1) -> Path:
    """`count` small pictures with instructions, each beside what it is made from: its colours inverted, and further ones turned upside down."""
    from PIL import Image, ImageOps

    for path in sorted(pictures(folder, count, sizes).glob("*.png")):
        before = ImageOps.invert(Image.open(path))
        before.save(path.with_suffix(".control.png"))
        for n in range(2, references + 1):
            ImageOps.flip(before).save(path.with_suffix(f".control{n}.png"))
        path.with_suffix(".txt").write_text("a photo of its colours turned round", encoding="utf-8")
    return folder


def train_job(source: Path, dataset: Path, **changes) -> dict:
    """The mapping of a small complete training job; changes: dotted keys with '__' for '.', e.g. optimizer__accumulation=2."""
    job = {
        "kind": "train", "name": "tiny", "trigger": "zibbo", "steps": 6, "seed": 3,
        "model": {"family": "sd15", "source": str(source)},
        "data": {"datasets": [{"name": str(dataset)}], "resolutions": [32], "batch_size": 2},
        "adapter": {"rank": 2, "alpha": 4.0},
        "optimizer": {"learning_rate": 1e-2, "schedule": "constant"},
        "sample": {"prompts": ["[trigger] on red"], "every": 3, "steps": 2, "width": 32, "height": 32},
        "save": {"every": 2, "every_minutes": 0},
    }  # fmt: skip
    for path, value in changes.items():
        part = job
        *parents, last = path.split("__")
        for parent in parents:
            part = part.setdefault(parent, {})
        part[last] = value
    return job
