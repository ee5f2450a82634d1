"""diffusers' pipeline for Qwen-Image 2.1 over cached text, and the reader of text and pictures that it is given: no torchvision is needed."""

from __future__ import annotations

from diffusers import QwenImage21Pipeline
from transformers.feature_extraction_utils import BatchFeature

IMAGE = "<|image_pad|>"  # in a text, the place of a picture; each of its tokens is one of these


class Reader:
    """What Qwen3-VL's processor makes of texts and still pictures.  It alone needs torchvision, for the films that it could read too.

    tokenizer; images: the image processor.  Of texts alone it is the tokenizer.
    """

    def __init__(self, tokenizer, images):
        self.tokenizer, self.image_processor = tokenizer, images
        self.model_max_length = tokenizer.model_max_length

    def __call__(self, text, images=None, **kwargs):
        """input_ids and attention_mask of the texts, in which each IMAGE stands for the next of `images`; of those pixel_values, image_grid_thw and where they stand."""
        if images is None:
            return self.tokenizer(text, **kwargs)
        seen = self.image_processor(images=images, return_tensors="pt")
        counts = iter((seen["image_grid_thw"].prod(-1) // self.image_processor.merge_size**2).tolist())
        filled = []
        for one in text:
            first, *rest = one.split(IMAGE)
            filled.append(first + "".join(IMAGE * next(counts) + more for more in rest))
        said = self.tokenizer(filled, **kwargs)
        placed = (said["input_ids"] == self.tokenizer.convert_tokens_to_ids(IMAGE)).int()
        return BatchFeature({**said, **seen, "mm_token_type_ids": placed})

    def apply_chat_template(self, messages, **kwargs):
        """The tokens of one conversation, as a batch of one, which is what the processor makes of it."""
        return [self.tokenizer.apply_chat_template(messages, **kwargs)]


class _Unread:
    """Stands for the reader where all text is cached: the pipeline's constructor asks for two numbers that encoding alone needs."""

    def apply_chat_template(self, messages, **kwargs):
        return [[]]

    @property
    def tokenizer(self):
        return self

    def encode(self, text):
        return [-1]


class CachedPipeline(QwenImage21Pipeline):
    """diffusers' own.  Its call takes what encode_prompt gave together with the pictures that this speaks of, which diffusers' call has no arguments for."""

    def __init__(self, scheduler, vae, text_encoder, processor, transformer, sample_sigmas=None):
        super().__init__(scheduler, vae, text_encoder, processor or _Unread(), transformer, sample_sigmas)
        self._slots: list[tuple] = []

    def __call__(self, *args, image_pad_mask=None, negative_image_pad_mask=None, **kwargs):
        """image_pad_mask, negative_image_pad_mask [B,L]: of prompt_embeds and negative_prompt_embeds, True where a picture is seen."""
        self._slots = [(kwargs.get("prompt_embeds"), image_pad_mask), (kwargs.get("negative_prompt_embeds"), negative_image_pad_mask)]
        return super().__call__(*args, **kwargs)

    def encode_prompt(self, prompt, *args, prompt_embeds=None, image_pad_mask=None, **kwargs):
        """As diffusers', with the places that the call was told."""
        if prompt_embeds is not None and image_pad_mask is None:
            image_pad_mask = next((slots for embeds, slots in self._slots if embeds is prompt_embeds), None)
        return super().encode_prompt(prompt, *args, prompt_embeds=prompt_embeds, image_pad_mask=image_pad_mask, **kwargs)
