"""An adapter's layers as products of thin matrices: the same numbers as dense arithmetic, for every kind and layout."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from training.formats.factors import Cut, Product, layers_of, lora_parts, product, shortened, spectrum, total

RNG = np.random.default_rng(3)
LAYER = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"


def draw(*shape) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def only(tensors: dict) -> Product:
    ((name, parts),) = layers_of(tensors).items()
    return product(name, parts)


def test_a_lora_of_any_layout_is_alpha_over_rank_times_its_factors():
    down, up = draw(4, 6), draw(8, 4)
    kohya = only({f"{LAYER}.lora_down.weight": down, f"{LAYER}.lora_up.weight": up, f"{LAYER}.alpha": np.array(2, np.float32)})
    np.testing.assert_allclose(kohya.dense(), 0.5 * up @ down, rtol=1e-5, atol=1e-6)
    plain = only({"base_model.model.blocks.0.to_q.lora_A.weight": down, "base_model.model.blocks.0.to_q.lora_B.weight": up})
    np.testing.assert_allclose(plain.dense(), up @ down, rtol=1e-6)


def test_a_convolution_keeps_its_kernel():
    down, up = draw(4, 6, 3, 3), draw(8, 4, 1, 1)
    made = only({f"{LAYER}.lora_down.weight": down, f"{LAYER}.lora_up.weight": up, f"{LAYER}.alpha": np.array(4, np.float32)})
    truth = torch.nn.functional.conv2d(torch.from_numpy(down).permute(1, 0, 2, 3), torch.from_numpy(up)).permute(1, 0, 2, 3)
    np.testing.assert_allclose(made.dense(), truth.numpy(), atol=1e-5)
    back = lora_parts(made)
    assert back["lora_A.weight"].shape == (4, 6, 3, 3) and back["lora_B.weight"].shape == (8, 4, 1, 1)


@pytest.mark.parametrize("conv", [False, True])
@pytest.mark.parametrize(("kind", "rank"), [("LoHaConfig", 2), ("LoKrConfig", 2), ("LoKrConfig", 1), ("LoKrConfig", 64)])
def test_peft_s_own_loha_and_lokr_do_the_same_as_a_lora(kind, rank, conv):
    """peft's delta weight is the truth; a LoKr's factors whole or in two, for matrices and convolutions."""
    import peft

    stem = "down_blocks.0.conv1" if conv else "blocks.0.to_q"
    net = torch.nn.Sequential(torch.nn.Conv2d(12, 8, 3) if conv else torch.nn.Linear(12, 8))
    more = {"decompose_both": True} if rank == 1 else {}
    layer = peft.inject_adapter_in_model(getattr(peft, kind)(r=rank, alpha=3, target_modules=["0"], init_weights=False, **more), net)[0]
    state = {f"{stem}.{k.split('.')[1]}": v.detach().numpy() for k, v in net.state_dict().items() if "base_layer" not in k}
    whole = {"lokr_w1", "lokr_w2"} == {k.rsplit(".", 1)[1] for k in state}
    made = product(stem, layers_of({**state, f"{stem}.alpha": np.array(3, np.float32)})[stem])
    truth = layer.get_delta_weight("default").detach().numpy() / (layer.scaling["default"] if whole else 1)  # two whole factors have no rank to divide alpha by
    np.testing.assert_allclose(made.dense(), truth, rtol=1e-4, atol=1e-5)


def test_a_sum_is_exact_whatever_the_ranks_and_signs():
    some = [(0.7, Product(draw(8, 4), draw(4, 6))), (-1.3, Product(draw(8, 9), draw(9, 6))), (0.0, Product(draw(8, 1), draw(1, 6)))]
    whole = total(some)
    truth = sum(np.float64(s) * (p.up.astype(np.float64) @ p.down.astype(np.float64)) for s, p in some)
    assert whole.rank == 14
    assert np.abs(whole.dense() - truth).max() / np.abs(truth).max() < 1e-6
    assert whole.norm() == pytest.approx(np.linalg.norm(truth), rel=1e-5)


def test_files_for_different_models_cannot_be_added():
    with pytest.raises(ValueError, match="different shapes"):
        total([(1.0, Product(draw(8, 4), draw(4, 6))), (1.0, Product(draw(8, 4), draw(4, 7)))])


def test_cutting_down_finds_the_best_of_a_rank_without_the_dense_matrix():
    p = Product(draw(40, 16), draw(16, 30))
    u, s, v = np.linalg.svd(p.dense().astype(np.float64))
    np.testing.assert_allclose(spectrum(p)[1], s[:16], rtol=1e-5)
    short, kept = shortened(p, Cut(rank=5))
    best = (u[:, :5] * s[:5]) @ v[:5]
    assert np.linalg.norm(short.dense() - best) / np.linalg.norm(best) < 1e-5
    assert kept == pytest.approx(np.sqrt(np.sum(s[:5] ** 2) / np.sum(s**2)), rel=1e-5)


@pytest.mark.parametrize(("share", "rank"), [(0.7, 1), (0.71, 2), (0.90, 2), (0.99, 3), (1.0, 4)])
def test_a_share_takes_the_smallest_rank_that_keeps_it(share, rank):
    """Values 10, 8, 6, 1: of ‖dW‖ = √201, the first keeps 70.5 %, two 90.3 %, three 99.75 %."""
    values = np.array([10.0, 8, 6, 1])
    assert Cut(share=share).of(values) == rank


def test_what_depends_on_the_base_model_is_named():
    down, up = draw(4, 6), draw(8, 4)
    with pytest.raises(ValueError, match="DoRA.*fuse it into its base model"):
        only({"blocks.0.to_q.lora_A.weight": down, "blocks.0.to_q.lora_B.weight": up, "blocks.0.to_q.dora_scale": draw(8, 1)})
