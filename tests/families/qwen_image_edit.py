"""A Qwen-Image-Edit of a few thousand weights, of 2509's kind or of the first."""

import json
from pathlib import Path

from tests import tiny

from . import qwen_image
from .qwen_image import PROMPTED, SIDE, SIZE, to_pipe  # noqa: F401 part of the toy

AREA = 64 * 64  # px of a reference, in place of a million
JOB = {"loss__objective": "edit"}  # it learns nothing else


def build(folder: Path, pipeline: str = "QwenImageEditPlusPipeline", zero_cond_t: bool = True) -> Path:
    """zero_cond_t: what is shown counts as noiseless, as in 2511's transformer/config.json."""
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    qwen_image.build(folder, zero_cond_t=zero_cond_t)
    # as the released repositories have it: model_index.json, processor/preprocessor_config.json
    index = json.loads((folder / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | {"_class_name": pipeline, "processor": ["transformers", "Qwen2VLProcessor"]}))
    Qwen2VLImageProcessorPil(min_pixels=3136, max_pixels=12845056).save_pretrained(folder / "processor")
    return folder


def dataset(folder: Path) -> Path:
    return tiny.pairs(folder, 4)


def shrink(put) -> None:
    """Small references, here and in diffusers' pipelines.  put(module, name, value)."""
    from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit as first
    from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit_plus as plus

    from training.families import qwen_image_edit as ours

    for module, name in ((ours, "SHOWN_PX"), (ours, "READ_PX"), (plus, "VAE_IMAGE_SIZE"), (plus, "CONDITION_IMAGE_SIZE")):
        put(module, name, AREA)
    dimensions = first.calculate_dimensions
    put(first, "calculate_dimensions", lambda area, ratio: dimensions(AREA, ratio))


def opened(cls, folder):
    """diffusers' pipeline; the published processor alone would need torchvision."""
    from transformers import AutoTokenizer
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    from training.models.qwen_image_edit import Reader

    reader = Reader(AutoTokenizer.from_pretrained(f"{folder}/tokenizer"), Qwen2VLImageProcessorPil.from_pretrained(f"{folder}/processor"))
    pipe = cls.from_pretrained(folder, processor=None)
    pipe.register_modules(processor=reader)
    return pipe
