"""Small tokenizers of the real classes, most of them trained here on a few sentences."""

from __future__ import annotations

import json
import string
from random import Random

WORDS = ["a", "an", "the", "red", "blue", "green", "old", "tiny", "huge", "painted", "wooden", "glass", "cat", "dog", "robot", "castle", "river", "horse", "tree", "house", "photo", "of", "on", "near", "under", "beside", "zibbo"]


def corpus() -> list[str]:
    dice = Random(0)
    return [" ".join(dice.choices(WORDS, k=12)) for _ in range(300)]


def t5(max_length: int = 48):
    """A T5Tokenizer (unigram) of WORDS and letters.  Written, not trained: the trainer breaks ties differently each time."""
    from transformers import T5Tokenizer

    words = [(f"▁{word}", -2.0) for word in WORDS]
    letters = [(letter, -6.0) for letter in "▁" + string.ascii_letters + string.digits + string.punctuation]
    pieces = dict([("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *words, *letters])  # ▁a is a word and no letter
    return T5Tokenizer(vocab=list(pieces.items()), extra_ids=0, model_max_length=max_length)


def bpe(pre, *, specials=(), alphabet=(), size: int = 500, normalizer=None, unknown: str | None = None) -> tuple[dict, list]:
    """(vocabulary, merges) of a byte-pair encoding, for the tokenizer classes that are built from them."""
    from tokenizers import Tokenizer, models, trainers

    raw = Tokenizer(models.BPE(unk_token=unknown))
    if normalizer:
        raw.normalizer = normalizer
    raw.pre_tokenizer = pre
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=list(specials), initial_alphabet=list(alphabet), show_progress=False)
    raw.train_from_iterator(corpus(), trainer)
    model = json.loads(raw.to_str())["model"]
    return model["vocab"], [tuple(m) for m in model["merges"]]


# The shape of the chat templates of Qwen's instruct models: roles between marks, an empty thought where thinking is off.
QWEN_CHAT = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% if m['content'] is string %}{{ m['content'] }}{% else %}"
    "{% for c in m['content'] %}{% if c['type'] == 'text' %}{{ c['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% if not enable_thinking %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)


def qwen2(max_length: int = 2048):
    """A Qwen2Tokenizer (byte-level) with the chat marks and a chat template."""
    from tokenizers import AddedToken, pre_tokenizers
    from transformers import Qwen2Tokenizer

    vocab, merges = bpe(pre_tokenizers.ByteLevel(add_prefix_space=False), alphabet=pre_tokenizers.ByteLevel.alphabet(), specials=["<|endoftext|>"])
    tokenizer = Qwen2Tokenizer(vocab=vocab, merges=merges, model_max_length=max_length)
    marks = ["<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>"]
    tokenizer.add_tokens([AddedToken(mark, special=True) for mark in marks], special_tokens=True)
    tokenizer.chat_template = QWEN_CHAT
    return tokenizer


def gemma(max_length: int = 2048):
    """A GemmaTokenizer with byte fallback."""
    from tokenizers import normalizers, pre_tokenizers
    from transformers import GemmaTokenizer

    specials = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", *(f"<0x{i:02X}>" for i in range(256))]
    pre = pre_tokenizers.Split(" ", behavior="merged_with_previous")
    vocab, merges = bpe(pre, specials=specials, size=700, normalizer=normalizers.Replace(" ", "▁"), unknown="<unk>")
    return GemmaTokenizer(vocab=vocab, merges=merges, model_max_length=max_length)


# The shape of Mistral's chat template: a system prompt and an instruction between marks.
MISTRAL_CHAT = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'system' %}[SYSTEM_PROMPT]{{ m['content'][0]['text'] }}[/SYSTEM_PROMPT]"
    "{% else %}[INST]{% for c in m['content'] %}{% if c['type'] == 'text' %}{{ c['text'] }}{% else %}[IMG]{% endif %}{% endfor %}[/INST]{% endif %}{% endfor %}"
)


def mistral(max_length: int = 2048):
    """A byte-level tokenizer with Mistral's marks and a chat template; of no class of its own, as the released file is one of none."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    marks = ["<unk>", "<s>", "</s>", "<pad>", "[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[IMG]", "[IMG_BREAK]", "[IMG_END]"]
    pre = pre_tokenizers.ByteLevel(add_prefix_space=False)
    vocab, merges = bpe(pre, alphabet=pre_tokenizers.ByteLevel.alphabet(), specials=marks)
    raw = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    raw.pre_tokenizer, raw.decoder = pre, decoders.ByteLevel()
    raw.add_special_tokens(marks)
    return PreTrainedTokenizerFast(
        tokenizer_object=raw, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="<pad>", model_max_length=max_length,
        padding_side="left", chat_template=MISTRAL_CHAT,
    )  # fmt: skip
