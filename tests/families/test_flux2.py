"""What only FLUX.2 has: a tokenizer that its repository hides in a processor, and klein's distilled checkpoints."""

import json

import pytest
import torch

from tests.families import flux2 as dev
from tests.families import flux2_klein as klein
from training import registry
from training.family import Cond, Placement

CPU = Placement(torch.float32, "cpu")


@pytest.fixture(scope="module")
def dev_folder(tmp_path_factory):
    return dev.build(tmp_path_factory.mktemp("dev"))


def test_dev_reads_the_tokenizer_as_the_released_repository_has_it(dev_folder, tmp_path):
    family = registry.get("families", "flux2")
    with torch.no_grad():
        ours = family.encode_text(family.load(dev_folder, {"text_encoder"}, CPU), ["a red cat"])
    file = dev_folder / "tokenizer" / "tokenizer_config.json"
    plain = json.loads(file.read_text(encoding="utf-8"))
    released = {k: v for k, v in plain.items() if k != "padding_side"} | {"tokenizer_class": "LlamaTokenizer", "processor_class": "PixtralProcessor"}
    (dev_folder / "tokenizer" / "processor_config.json").write_text(json.dumps({"processor_class": "PixtralProcessor"}), encoding="utf-8")
    try:
        file.write_text(json.dumps(released), encoding="utf-8")
        m = family.load(dev_folder, {"text_encoder"}, CPU)
        with torch.no_grad():
            theirs = family.encode_text(m, ["a red cat"])
    finally:
        file.write_text(json.dumps(plain), encoding="utf-8")
    assert torch.equal(ours[0]["embeds"], theirs[0]["embeds"])
    template = 512 - m.tokenizers["text_encoder"].model_max_length
    assert 20 < template < 512  # the system message takes a part of what is read


@pytest.mark.parametrize(("distilled", "passes"), [(False, 2), (True, 1)])
def test_a_distilled_klein_draws_without_guidance(tmp_path, distilled, passes):
    family = registry.get("families", "flux2_klein")
    folder = klein.build(tmp_path / "klein", is_distilled=distilled)
    rows = family.encode_text(family.load(folder, {"text_encoder"}, CPU), ["a red cat", ""])
    m = family.load(folder, {"transformer", "vae"}, CPU)
    calls = []
    m.denoiser.register_forward_hook(lambda *_: calls.append(1))
    pipe = family.pipeline(m)
    pipe.set_progress_bar_config(disable=True)
    with torch.no_grad():
        pipe(**family.draw_args(m, Cond.of(rows[:1]), Cond.of(rows[1:]), 4.0), num_inference_steps=2, height=32, width=32, output_type="np")
    assert len(calls) == 2 * passes
