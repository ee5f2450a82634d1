"""What only Z-Image has: a distilled checkpoint that is trained under an adapter in ai-toolkit's layout."""

import pytest
import torch
from safetensors.torch import save_file

from tests.engine.conftest import base, dataset, lab  # noqa: F401 fixtures
from tests.families import z_image as toy
from training import registry
from training.config import ModelPart
from training.engine import training_adapter
from training.family import Cond, Placement
from training.runs.context import Context

CPU = Placement(torch.float32, "cpu")


@pytest.mark.parametrize("prefix", ["diffusion_model", "transformer"])
def test_a_training_adapter_acts_in_either_layout(lab, tmp_path, prefix):  # noqa: F811
    family = registry.get("families", "z_image")
    folder = toy.build(tmp_path / "turbo")
    with torch.no_grad():
        cond = Cond.of(family.encode_text(family.load(folder, {"text_encoder"}, CPU), ["a red cat"]))
    m = family.load(folder, {"transformer"}, CPU)
    layers = ["layers.0.attention.to_q", "layers.1.attention.to_out.0", "layers.1.feed_forward.w1"]
    tensors = {}
    for name in layers:
        outputs, inputs = m.denoiser.get_submodule(name).weight.shape
        tensors |= {f"{prefix}.{name}.lora_A.weight": torch.randn(2, inputs), f"{prefix}.{name}.lora_B.weight": torch.randn(outputs, 2)}
    save_file(tensors, tmp_path / "adapter.safetensors")

    def said():
        with torch.no_grad():
            return family.predict(m, torch.ones(1, 16, 8, 8), torch.tensor([0.5]), cond)

    before = said()
    model = ModelPart(family="z_image", source=str(folder), training_adapter=str(tmp_path / "adapter.safetensors"))
    added = training_adapter.attach(model, family, m, Context(lab.make(), lab.home, 1))
    assert added.layers == len(layers) and not torch.allclose(said(), before, atol=1e-3)
    with added.off():
        assert torch.equal(said(), before)
