"""Of a repository as it is released, what is downloaded is what the family's parts need.  Names as the Hub lists them."""

import pytest

from training import registry
from training.hub.download import _wanted

Z_IMAGE = [
    "model_index.json", "scheduler/scheduler_config.json", "text_encoder/config.json", "text_encoder/generation_config.json",
    "text_encoder/model-00001-of-00003.safetensors", "text_encoder/model-00002-of-00003.safetensors", "text_encoder/model-00003-of-00003.safetensors",
    "text_encoder/model.safetensors.index.json", "tokenizer/merges.txt", "tokenizer/tokenizer.json", "tokenizer/tokenizer_config.json", "tokenizer/vocab.json",
    "transformer/config.json", "transformer/diffusion_pytorch_model-00001-of-00002.safetensors", "transformer/diffusion_pytorch_model-00002-of-00002.safetensors",
    "transformer/diffusion_pytorch_model.safetensors.index.json", "vae/config.json", "vae/diffusion_pytorch_model.safetensors",
]  # fmt: skip
KLEIN = [
    "model_index.json", "scheduler/scheduler_config.json", "text_encoder/config.json", "text_encoder/generation_config.json",
    "text_encoder/model-00001-of-00002.safetensors", "text_encoder/model-00002-of-00002.safetensors", "text_encoder/model.safetensors.index.json",
    "tokenizer/chat_template.jinja", "tokenizer/merges.txt", "tokenizer/tokenizer.json", "tokenizer/tokenizer_config.json", "tokenizer/vocab.json",
    "transformer/config.json", "transformer/diffusion_pytorch_model.safetensors", "vae/config.json", "vae/diffusion_pytorch_model.safetensors",
]  # fmt: skip

ANIMA = [  # as diffusers' blocks save it
    "modular_model_index.json", "scheduler/scheduler_config.json", "t5_tokenizer/tokenizer.json", "t5_tokenizer/tokenizer_config.json",
    "text_conditioner/config.json", "text_conditioner/diffusion_pytorch_model.safetensors", "text_encoder/config.json", "text_encoder/model.safetensors",
    "tokenizer/tokenizer.json", "tokenizer/tokenizer_config.json", "transformer/config.json", "transformer/diffusion_pytorch_model.safetensors",
    "vae/config.json", "vae/diffusion_pytorch_model.safetensors",
]  # fmt: skip


@pytest.mark.parametrize(
    ("id", "needed", "beside"),
    [("anima", ANIMA, ["README.md", "LICENSE.md", ".gitattributes", "model_index.json"]), ("z_image", Z_IMAGE, ["README.md", ".gitattributes", "teaser.jpg"]), ("flux2_klein", KLEIN, ["README.md", "LICENSE.md", "flux-2-klein-4b.safetensors"])],
)
@pytest.mark.parametrize("half", [True, False])
def test_a_released_repository_is_fetched_whole_and_without_what_lies_beside(id, needed, beside, half):
    spec, names = registry.get("families", id).SPEC, needed + beside
    assert [n for n in names if _wanted(names, n, spec, {p for group in spec.parts.values() for p in group}, half)] == needed
