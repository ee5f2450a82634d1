"""diffusers' pipeline for Qwen-Image 2.1 over cached text, and the reader of text and pictures that it is given: no torchvision is needed."""

from __future__ import annotations

from inspect import Parameter, signature

from diffusers import QwenImage21Pipeline

from . import qwen_image_edit

COVERS = 250  # of 255, from which on nothing shines through that an eye could see
_SLOTS = ("image_pad_mask", "negative_image_pad_mask")
_SAID = signature(QwenImage21Pipeline.__call__)


class Reader(qwen_image_edit.Reader):
    """What Qwen3-VL's processor makes of texts and still pictures."""

    def __call__(self, text, images=None, **kwargs):
        """As Qwen2.5-VL's, and which of the tokens are a picture's."""
        said = super().__call__(text, images, **kwargs)
        if images is not None:
            said["mm_token_type_ids"] = (said["input_ids"] == self.tokenizer.convert_tokens_to_ids(qwen_image_edit.IMAGE)).int()
        return said

    def apply_chat_template(self, messages, **kwargs):
        """The tokens of one conversation, as a batch of one, which is what the processor makes of it."""
        return [self.tokenizer.apply_chat_template(messages, **kwargs)]


def _plain(picture):
    """The picture without what says how much each pixel covers, where all cover all but a trace: the autoencoder always draws that too."""
    hides = picture.mode == "RGBA" and picture.getchannel("A").getextrema()[0] < COVERS
    return picture if hides else picture.convert("RGB")


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
        made = super().__call__(*args, **kwargs)
        if kwargs.get("output_type") == "pil":
            made.images = [_plain(picture) for picture in made.images]
        return made

    __call__.__signature__ = _SAID.replace(parameters=[*_SAID.parameters.values(), *(Parameter(name, Parameter.KEYWORD_ONLY, default=None) for name in _SLOTS)])  # type: ignore[attr-defined]  # which arguments it takes is asked before it is called

    def encode_prompt(self, prompt, *args, prompt_embeds=None, image_pad_mask=None, **kwargs):
        """As diffusers', with the places that the call was told."""
        if prompt_embeds is not None and image_pad_mask is None:
            image_pad_mask = next((slots for embeds, slots in self._slots if embeds is prompt_embeds), None)
        return super().encode_prompt(prompt, *args, prompt_embeds=prompt_embeds, image_pad_mask=image_pad_mask, **kwargs)
