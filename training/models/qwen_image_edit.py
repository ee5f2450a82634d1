"""diffusers' pipelines for Qwen-Image-Edit, and the reader of text and pictures that they are given: no torchvision is needed."""

from __future__ import annotations

from functools import wraps

from diffusers import QwenImageEditPipeline, QwenImageEditPlusPipeline
from transformers.feature_extraction_utils import BatchFeature

IMAGE = "<|image_pad|>"  # in a text, the place of a picture; each of its tokens is one of these


class Reader:
    """What Qwen2.5-VL's processor makes of texts and still pictures.  It alone needs torchvision, for the films that it could read too.

    tokenizer; images: the image processor.  Of texts alone it is the tokenizer.
    """

    def __init__(self, tokenizer, images):
        self.tokenizer, self.image_processor = tokenizer, images
        self.model_max_length = tokenizer.model_max_length

    def __call__(self, text, images=None, **kwargs):
        """input_ids and attention_mask of the texts, in which each IMAGE stands for the next of `images`; of those pixel_values and image_grid_thw."""
        if images is None:
            return self.tokenizer(text, **kwargs)
        seen = self.image_processor(images=images, return_tensors="pt")
        counts = iter((seen["image_grid_thw"].prod(-1) // self.image_processor.merge_size**2).tolist())
        filled = []
        for one in [text] if isinstance(text, str) else text:
            first, *rest = one.split(IMAGE)
            filled.append(first + "".join(IMAGE * next(counts, 1) + more for more in rest))
        return BatchFeature({**self.tokenizer(filled, **kwargs), **seen})


class _Placed:
    """Tells Qwen2.5-VL which tokens are a picture's: from version 5 on transformers gives them rows and columns only then.  The model was trained
    with those, and ComfyUI has them; diffusers 0.42 does not tell (huggingface/diffusers#14194)."""

    def _get_qwen_prompt_embeds(self, *args, **kwargs):
        def place(encoder, args, told):
            if told.get("pixel_values") is not None and told.get("mm_token_type_ids") is None:
                told["mm_token_type_ids"] = (told["input_ids"] == encoder.config.image_token_id).int()
            return args, told

        hook = self.text_encoder.register_forward_pre_hook(place, with_kwargs=True)
        try:
            return super()._get_qwen_prompt_embeds(*args, **kwargs)
        finally:
            hook.remove()


class OnePicturePipeline(_Placed, QwenImageEditPipeline):
    """Of the first Qwen-Image-Edit.  A list of one picture is that picture: diffusers would read it at another size."""

    @wraps(QwenImageEditPipeline.__call__)
    def __call__(self, image=None, *args, **kwargs):
        if isinstance(image, list) and len(image) == 1:
            (image,) = image
        return super().__call__(image, *args, **kwargs)


class SeveralPicturesPipeline(_Placed, QwenImageEditPlusPipeline):
    """Of Qwen-Image-Edit-2509 and later ones."""
