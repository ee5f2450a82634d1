"""The parts of the built-in base model, untrained: Stable Diffusion 1.5 in miniature."""

import json
from collections.abc import Iterable

from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

MAX_TOKENS = 48
TEXT_WIDTH = 128
LATENT_CHANNELS = 4
LATENT_STRIDE = 4  # pixels a latent cell; the autoencoder below has two halvings
SPECIALS = ("<|startoftext|>", "<|endoftext|>")
WORDS = r"""<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"""  # as CLIP splits


def tokenizer(captions: Iterable[str], size: int = 900) -> CLIPTokenizer:
    """A byte-level BPE tokenizer learnt from the captions; every byte is in it, so any trigger word has tokens."""
    bpe = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    bpe.normalizer = normalizers.Lowercase()
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    bytes_ = sorted(pre_tokenizers.ByteLevel.alphabet())
    bpe.train_from_iterator(
        captions,
        trainers.BpeTrainer(
            vocab_size=size,
            initial_alphabet=bytes_,
            special_tokens=[b + "</w>" for b in bytes_],  # a byte at a word's end is its own token, seen in training or not
            end_of_word_suffix="</w>",
            show_progress=False,
        ),
    )
    learnt = json.loads(bpe.to_str())["model"]
    vocab = learnt["vocab"] | {word: len(learnt["vocab"]) + k for k, word in enumerate(SPECIALS)}
    return CLIPTokenizer(vocab=vocab, merges=[tuple(m) for m in learnt["merges"]], model_max_length=MAX_TOKENS)


def text_encoder(words: CLIPTokenizer) -> CLIPTextModel:
    """0.6 M parameters: two layers, causal like CLIP's."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(words), hidden_size=TEXT_WIDTH, intermediate_size=4 * TEXT_WIDTH, projection_dim=TEXT_WIDTH,
            num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=MAX_TOKENS,
            bos_token_id=words.bos_token_id, eos_token_id=words.eos_token_id, pad_token_id=words.pad_token_id,
        )
    )  # fmt: skip


def autoencoder() -> AutoencoderKL:
    """1 M parameters: 64 px <-> 16 latent cells of 4 channels."""
    return AutoencoderKL(
        block_out_channels=(24, 48, 64), layers_per_block=1, norm_num_groups=8, latent_channels=LATENT_CHANNELS,
        down_block_types=("DownEncoderBlock2D",) * 3, up_block_types=("UpDecoderBlock2D",) * 3,
        mid_block_add_attention=False, sample_size=64,
    )  # fmt: skip


def denoiser() -> UNet2DConditionModel:
    """9 M parameters; text enters at the two lower resolutions, where attention costs little."""
    return UNet2DConditionModel(
        sample_size=16, in_channels=LATENT_CHANNELS, out_channels=LATENT_CHANNELS, layers_per_block=1,
        block_out_channels=(64, 128, 160), norm_num_groups=8, cross_attention_dim=TEXT_WIDTH, attention_head_dim=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    )  # fmt: skip


def scheduler() -> DDIMScheduler:
    """Velocity prediction and a noise schedule that ends in pure noise: flat backgrounds come out in the right colour."""
    return DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", prediction_type="v_prediction",
        rescale_betas_zero_snr=True, timestep_spacing="trailing", clip_sample=False, set_alpha_to_one=True, steps_offset=1,
    )  # fmt: skip
