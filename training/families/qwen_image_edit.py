"""Qwen-Image-Edit: Qwen-Image's network, shown the pictures that it changes; Qwen2.5-VL looks at them too, while it reads what is to be done."""

from __future__ import annotations

from pathlib import Path

from ..family import Cond, FamilySpec, Modules, Placement, References, references_of
from ..models import qwen_image, sizes
from ..models.qwen_image import draw_args, encode_image, grid  # noqa: F401 part of the family
from ..outside import read_json

FIRST = "QwenImageEditPipeline"  # of the first release: one picture, which the text encoder sees as large as the autoencoder does
SHOWN_PX = 1024 * 1024  # area at which a reference is encoded (VAE_IMAGE_SIZE of diffusers' pipeline_qwenimage_edit_plus.py)
READ_PX = 384 * 384  # area at which the text encoder sees it (CONDITION_IMAGE_SIZE there)
SIDE_PX = 32  # sides of both divide by it (calculate_dimensions there)
PLACE = "<|vision_start|><|image_pad|><|vision_end|>"  # of the picture in the first release's template
MOST_INDEX_BYTES = 1 << 20

SPEC = FamilySpec(
    id="qwen_image_edit",
    title="Qwen-Image-Edit",
    default_source="Qwen/Qwen-Image-Edit-2511",
    titles={f"Qwen/Qwen-Image-Edit{x}": f"Qwen-Image-Edit{x}" for x in ("-2511", "-2509", "")},
    elsewhere_called=("qwenimageedit", "qwenimageeditplus", "qwenimageedit2509", "qwenimageedit2511"),
    licence="apache-2.0",
    licence_url="https://huggingface.co/Qwen/Qwen-Image-Edit-2511",
    latent=qwen_image.LATENT,
    prediction="flow",
    shift=qwen_image.SHIFT,
    divisor=16,
    side_px=1024,
    architecture="qwen-image-edit",
    lora_targets=qwen_image.LORA_TARGETS,
    parameters=20.4e9,
    other_parameters=(8.3e9, 127e6),
    notes="Changes pictures as an instruction says: one with the first Qwen-Image-Edit, up to three with 2509 and 2511. Draws nothing without one. Large.",
    tags=("qwen-image", "image-to-image"),
    blocks=qwen_image.BLOCKS,
    pipeline="QwenImageEditPlusPipeline",
    other_pipelines=(FIRST,),
    parts={"denoiser": ("transformer",), "text": ("text_encoder",), "vae": ("vae",)},
    originals=qwen_image.ORIGINALS,
    comfyui="diffusers",
    references=References(most=3, needed=True, read=True, read_tokens=188),  # most: what the model cards of 2509 and 2511 advise; the call itself has no limit
)


def load(folder: Path, parts: set[str], place: Placement) -> Modules:
    """The asked-for parts from a folder in diffusers layout; the scheduler always."""
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    from ..engine.weights import load_scheduler
    from ..models.qwen_image_edit import Reader

    index = read_json(folder / "model_index.json", MOST_INDEX_BYTES, linked=True)
    m = qwen_image.load(Modules(place.dtype, scheduler=load_scheduler(folder), index=index), folder, parts, place)
    for name, tokenizer in m.tokenizers.items():
        m.tokenizers[name] = Reader(tokenizer, Qwen2VLImageProcessorPil.from_pretrained(folder / "processor", local_files_only=True))
    return m


def encode_text(m: Modules, captions: list[str]) -> list[dict]:
    """As encode_instruction, of captions without pictures."""
    return [encode_instruction(m, caption, []) for caption in captions]


def encode_instruction(m: Modules, caption: str, shown: list) -> dict:
    """embeds [L,D], mask [L]: of the pictures, the caption and the template's end, as the pipeline's own call encodes them."""
    pipe, first = pipeline(m), _first(m)
    if first and len(shown) > 1:
        raise ValueError(f"the first Qwen-Image-Edit takes one picture, but an instruction has {len(shown)}; take Qwen-Image-Edit-2509 or -2511, which take three")
    sized = []
    for picture in shown:
        width, height = sizes.of_area(SHOWN_PX if first else READ_PX, SIDE_PX, *picture.size)
        sized.append(pipe.image_processor.resize(picture, height, width))
    if first and not sized:
        pipe.prompt_template_encode = pipe.prompt_template_encode.replace(PLACE, "")
    embeds, _ = pipe._get_qwen_prompt_embeds([caption], sized or None, m.text_encoders["text_encoder"].device)
    return {"embeds": embeds[0], "mask": embeds.new_ones(embeds.shape[1]).bool()}


def reference_size(width: int, height: int) -> tuple[int, int]:
    """The size of about SHOWN_PX pixels and the same shape."""
    return sizes.of_area(SHOWN_PX, SIDE_PX, width, height)


def encode_reference(m: Modules, pixels):
    """pixels [1,3,H,W] in [-1,1] -> latents [1,16,h,w], the likeliest ones."""
    return qwen_image.normalised(m, qwen_image.posterior(m, pixels).mode())


def predict(m: Modules, noisy, t, cond: Cond):
    """noisy [B,16,h,w]; t [B] in [0,1] -> noise - clean, [B,16,h,w]."""
    return qwen_image.predict(m, noisy, t, cond, references_of(cond))


def pipeline(m: Modules):
    """diffusers' own pipeline over the same modules, the one that model_index.json names; parts that were freed are None."""
    from ..models.qwen_image_edit import OnePicturePipeline, SeveralPicturesPipeline

    reader = m.tokenizers.get("text_encoder")
    return (OnePicturePipeline if _first(m) else SeveralPicturesPipeline)(
        transformer=m.denoiser, scheduler=m.scheduler, vae=m.vae, text_encoder=m.text_encoders.get("text_encoder"),
        tokenizer=reader and reader.tokenizer, processor=reader,
    )  # fmt: skip


def _first(m: Modules) -> bool:
    """Whether it is the first release."""
    return m.index["_class_name"] == FIRST

