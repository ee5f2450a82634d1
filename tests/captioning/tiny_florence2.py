"""A random Florence-2 of the real classes, some 50,000 weights, with its processor, saved to a folder."""

from __future__ import annotations

from pathlib import Path

SIDE_PX = 64
TOKENS = (SIDE_PX // 32) ** 2  # the four stages of the vision tower halve the side five times


def build(folder: Path) -> Path:
    """The folder, in the layout that the Hub's repositories have."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import (
        BartConfig,
        CLIPImageProcessor,
        Florence2Config,
        Florence2ForConditionalGeneration,
        Florence2Processor,
        PreTrainedTokenizerFast,
    )
    from transformers.models.florence2.configuration_florence2 import Florence2VisionConfig

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    names = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *letters, "<image>"]
    raw = Tokenizer(models.BPE(vocab={n: i for i, n in enumerate(names)}, merges=[]))
    raw.pre_tokenizer, raw.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    raw.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>", "<mask>", "<image>"])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>", mask_token="<mask>", cls_token="<s>", sep_token="</s>",
        extra_special_tokens={"image_token": "<image>"}, model_max_length=256,
    )  # fmt: skip
    images = CLIPImageProcessor(size={"height": SIDE_PX, "width": SIDE_PX}, do_center_crop=False, crop_size={"height": SIDE_PX, "width": SIDE_PX})
    images.image_seq_length = TOKENS + 1
    processor = Florence2Processor(images, tokenizer, post_processor_config={"pure_text": {}})
    torch.manual_seed(0)
    model = Florence2ForConditionalGeneration(
        Florence2Config(
            vision_config=Florence2VisionConfig(
                depths=(1, 1, 1, 1), embed_dim=(8, 8, 16, 16), num_heads=(1, 1, 2, 2), num_groups=(1, 1, 2, 2), window_size=4, projection_dim=16
            ).to_dict(),
            text_config=BartConfig(
                vocab_size=len(names), d_model=16, encoder_layers=1, decoder_layers=1, encoder_ffn_dim=32, decoder_ffn_dim=32,
                encoder_attention_heads=2, decoder_attention_heads=2, max_position_embeddings=300, init_std=1.0, forced_eos_token_id=None,
            ).to_dict(),
            image_token_id=names.index("<image>"), bos_token_id=0, pad_token_id=1, eos_token_id=2, decoder_start_token_id=2,
        )
    )  # fmt: skip
    # random weights would as soon end at once, or say half a character: let them spell
    spelt = {names.index(letter) for letter in "abcdefghijklmnopqrstuvwxyzĠ"}
    model.generation_config.suppress_tokens = [i for i in range(len(names)) if i not in spelt]
    model.generation_config.decoder_start_token_id = 2
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
