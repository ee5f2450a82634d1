"""OmniGen2's network computes what the published code computes, under the released checkpoint's names.

The golden numbers come from VectorSpaceLab/OmniGen2 at 0f72fa9, omnigen2/models/transformers/transformer_omnigen2.py (plain RMSNorm
and SwiGLU, torch 2.13, CPU, fp32): its OmniGen2Transformer2DModel(**TINY), filled with weights() below, called on inputs() with
freqs_cis from its own OmniGen2RotaryPosEmbed.get_freqs_cis; eight values evenly spread over the flattened output, and the output's
standard deviation.  On every value of these outputs the two differ by less than 4e-6.
"""

from __future__ import annotations

import pytest
import torch

from training.models.omnigen2 import OmniGen2Transformer2DModel
from training.models.omnigen2.pipeline import TEMPLATE

TINY = dict(
    patch_size=2, in_channels=4, hidden_size=24, num_layers=2, num_refiner_layers=2, num_attention_heads=2, num_kv_heads=1, multiple_of=16,
    axes_dim_rope=(4, 4, 4), axes_lens=(300, 64, 64), text_feat_dim=20, timestep_scale=1000.0,
)  # fmt: skip
MANY = [[(8, 8)], [(2, 2), (4, 4), (6, 2), (2, 8), (4, 2)], None]  # h, w of each row's reference latents

GOLDEN = [  # B, h, w, tokens of each caption, references; then values and standard deviation
    ("two captions", 2, 8, 8, [5, 9], None, [1.1308, -3.96583, 0.19694, 0.73358, 0.0423, -3.11355, 1.86511, 1.08549], 3.34462),
    ("wide", 2, 6, 10, [7, 3], None, [-0.50333, -1.11534, -0.31478, -1.13007, -3.18232, 3.86285, 4.61916, -0.05073], 3.22539),
    ("references", 3, 8, 6, [2, 6, 4], MANY, [-2.98414, -4.26201, 7.68869, -2.51223, 0.88933, -0.38911, 3.5662, 0.17811], 4.81542),
]

# Names of the released checkpoint's tensors; a block's are the same in every stack but for the text's unmodulated norm1.
OUTER = {
    "image_index_embedding", "time_caption_embed.caption_embedder.0.weight",
    *(f"{layer}.{kind}" for kind in ("weight", "bias") for layer in (
        "x_embedder", "ref_image_patch_embedder", "norm_out.linear_1", "norm_out.linear_2", "time_caption_embed.caption_embedder.1",
        "time_caption_embed.timestep_embedder.linear_1", "time_caption_embed.timestep_embedder.linear_2",
    )),
}  # fmt: skip
BLOCK = [
    f"{layer}.weight" for layer in (
        "attn.norm_q", "attn.norm_k", "attn.to_q", "attn.to_k", "attn.to_v", "attn.to_out.0",
        "feed_forward.linear_1", "feed_forward.linear_2", "feed_forward.linear_3", "ffn_norm1", "norm2", "ffn_norm2",
    )
]  # fmt: skip
MODULATED = ["norm1.linear.weight", "norm1.linear.bias", "norm1.norm.weight"]


def weights(network) -> dict:
    g = torch.Generator().manual_seed(1)
    return {name: torch.randn(tensor.shape, generator=g) * 0.3 for name, tensor in sorted(network.state_dict().items())}


def inputs(batch, h, w, lengths, references=None):
    g = torch.Generator().manual_seed(7)
    noisy, t = torch.randn(batch, 4, h, w, generator=g), torch.rand(batch, generator=g)
    text = torch.randn(batch, max(lengths), 20, generator=g)
    mask = torch.arange(max(lengths))[None] < torch.tensor(lengths)[:, None]
    pictures = references and [sizes and [torch.randn(4, *size, generator=g) for size in sizes] for sizes in references]
    return noisy, t, text, mask, pictures


@pytest.fixture(scope="module")
def network():
    made = OmniGen2Transformer2DModel(**TINY).eval()
    made.load_state_dict(weights(made))
    return made


@pytest.mark.parametrize(("batch", "h", "w", "lengths", "references", "values", "spread"), [g[1:] for g in GOLDEN], ids=[g[0] for g in GOLDEN])
def test_it_computes_what_the_published_code_computes(network, batch, h, w, lengths, references, values, spread):
    with torch.no_grad():
        out = network(*inputs(batch, h, w, lengths, references)).sample
    assert out.shape == (batch, 4, h, w)
    flat = out.flatten()
    torch.testing.assert_close(flat[torch.linspace(0, len(flat) - 1, 8).long()], torch.tensor(values), atol=1e-4, rtol=0)
    assert float(flat.double().std()) == pytest.approx(spread, abs=1e-4)


def test_its_tensors_have_the_released_names_and_number():
    with torch.device("meta"):
        whole = OmniGen2Transformer2DModel()
    modulated = [f"{s}.{n}." for s, count in (("noise_refiner", 2), ("ref_image_refiner", 2), ("layers", 32)) for n in range(count)]
    text = ["context_refiner.0.", "context_refiner.1."]
    expected = {*OUTER, *(b + n for b in modulated for n in BLOCK + MODULATED), *(b + n for b in text for n in [*BLOCK, "norm1.weight"])}
    assert set(whole.state_dict()) == expected
    assert len(expected) == 582 and sum(p.numel() for p in whole.parameters()) == 3_967_161_400  # 4 billion, says the paper


def test_what_pads_a_caption_is_never_read(network):
    noisy, t, text, mask, _ = inputs(2, 6, 8, [4, 9])
    other = torch.where(mask[..., None], text, 5.0)
    with torch.no_grad():
        both, changed = network(noisy, t, text, mask).sample, network(noisy, t, other, mask).sample
        alone = network(noisy[:1], t[:1], text[:1, :4]).sample
    assert torch.equal(both, changed)
    torch.testing.assert_close(both[:1], alone, atol=1e-5, rtol=1e-5)


def test_gradient_checkpointing_changes_no_gradient(network):
    noisy, t, text, mask, pictures = inputs(3, 8, 6, [2, 6, 4], MANY)

    def gradients(on: bool) -> dict:
        made = OmniGen2Transformer2DModel(**TINY)
        made.load_state_dict(weights(made))
        made.enable_gradient_checkpointing() if on else None
        made.train()
        made(noisy, t, text, mask, pictures).sample.square().mean().backward()
        return {name: p.grad for name, p in made.named_parameters()}

    plain, checkpointed = gradients(False), gradients(True)
    assert all(g is not None and g.abs().sum() > 0 for g in plain.values())  # every weight takes part
    assert all(torch.equal(plain[name], checkpointed[name]) for name in plain)


def test_it_is_saved_and_loaded_by_the_library(network, tmp_path):
    network.save_pretrained(tmp_path)
    again = OmniGen2Transformer2DModel.from_pretrained(tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(network.state_dict().values(), again.state_dict().values(), strict=True))
    assert again.config.axes_dim_rope == [4, 4, 4]


@pytest.mark.parametrize(
    ("change", "says"), [({"axes_dim_rope": (4, 4, 8)}, "sums to 16"), ({"num_attention_heads": 2, "num_kv_heads": 3}, "evenly")]
)
def test_a_config_that_cannot_be_is_refused(change, says):
    with pytest.raises(ValueError, match=says):
        OmniGen2Transformer2DModel(**TINY | change)


def test_reference_pictures_are_given_for_every_row_or_for_none(network):
    noisy, t, text, mask, _ = inputs(2, 4, 4, [3, 3])
    with pytest.raises(ValueError, match="2 latents, but reference pictures for 1"), torch.no_grad():
        network(noisy, t, text, mask, [None])


def test_the_template_is_what_the_tokenizers_own_makes():
    from tests.families.omnigen2 import tokenizer

    system = TEMPLATE.split("system\n")[1].split("<|im_end|>")[0]
    messages = [{"role": "system", "content": system}, {"role": "user", "content": "a red cat"}]
    assert tokenizer().apply_chat_template(messages, tokenize=False) == TEMPLATE.format("a red cat")
