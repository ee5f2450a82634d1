"""The GPU bench's own path, on a toy and a CPU: it must run on the day that somebody has the card."""

from __future__ import annotations

import pytest

from tests.bench import gpu

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", ["flux1", "sd35", "sdxl"])
def test_the_path_runs_on_a_toy(name, capsys):
    gpu.main(["--all", "--toy", "--device", "cpu", "--eager", "--family", name, "--levels", "off", "all", "--most", "2", "--steps", "1"])
    said = capsys.readouterr().out
    assert said.count("s/step") == 4 and f"{name} fp32 all eager, batch 2" in said


def test_the_table_is_put_down_cell_by_cell(tmp_path, capsys):
    page = tmp_path / "performance.md"
    page.write_text(f"before\n\n{gpu.BEGIN}\nnot run\n{gpu.END}\nafter\n", encoding="utf-8")
    gpu.main(["--toy", "--device", "cpu", "--eager", "--family", "flux1", "--page", str(page), "--steps", "1", "--cell-s", "900", "--whole-s", "900"])
    text = page.read_text(encoding="utf-8")
    assert text.startswith("before\n") and text.endswith(f"{gpu.END}\nafter\n") and "not run" not in text
    (row,) = [line for line in text.splitlines() if line.startswith("| flux1")]
    assert "eager" in row and " s | - |" in row and row in capsys.readouterr().out
    (broken,) = gpu._apart("flux1", "fp32", 300, gpu.argparse.Namespace(device="cpu", steps=1, rate=1.0, toy=False, eager=True))  # a full model on a processor is refused
    assert broken.note.startswith("failed: ") and broken.row.count("|") == row.count("|")


def test_a_table_that_runs_out_of_time_says_so(tmp_path):
    page = tmp_path / "performance.md"
    page.write_text(f"{gpu.BEGIN}\n{gpu.END}\n", encoding="utf-8")
    gpu.main(["--toy", "--device", "cpu", "--page", str(page), "--whole-s", "1"])
    rows = [line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("| ")][1:]
    assert len(rows) == 2 * len(gpu.TABLE) and all("no time was left" in row for row in rows)
    page.write_text("nothing", encoding="utf-8")
    with pytest.raises(ValueError, match="has no place for the table"):
        gpu.put_down(page, "", [], 0)


@pytest.mark.parametrize("name", list(gpu.MODELS))
def test_the_published_numbers_make_the_published_size(name):
    # parameters of the denoisers as their model cards tell them, in billions
    import diffusers
    from accelerate import init_empty_weights

    told = {"sdxl": 2.57, "flux1": 11.9, "sd35": 8.06, "qwen_image": 20.4, "z_image": 6.15, "wan21": 1.42}
    model = gpu.MODELS[name]
    with init_empty_weights():
        network = getattr(diffusers, model.cls)(**model.config)
    assert sum(p.numel() for p in network.parameters()) / 1e9 == pytest.approx(told[name], rel=0.01)


def test_a_full_model_cannot_be_asked_of_a_cpu(capsys):
    with pytest.raises(SystemExit):
        gpu.main(["--device", "cpu"])
    assert "for a GPU" in capsys.readouterr().err


@pytest.mark.parametrize("how", gpu.FORMATS)
def test_a_network_of_numbers_takes_a_step(how, monkeypatch):
    # as on the card: weights drawn where they will lie, text that is random, half precision
    numbers = {
        "num_layers": 1, "num_single_layers": 1, "attention_head_dim": 64, "num_attention_heads": 1, "joint_attention_dim": 64, "pooled_projection_dim": 64,
        "axes_dims_rope": (16, 24, 24), "guidance_embeds": True,
    }  # fmt: skip
    small = gpu.Full("FluxTransformer2DModel", numbers, (16, 8, 8), {"pooled": (64,), "embeds": (8, 64)})
    monkeypatch.setitem(gpu.MODELS, "flux1", small)
    subject = gpu.full("flux1", how, "cpu")
    before = [w.detach().clone() for w in subject.weights]
    for _ in range(2):  # the first step of a LoRA moves only one of its two matrices
        subject.step(subject.batch(2))
    assert all(not b.equal(w) and w.isfinite().all() for b, w in zip(before, subject.weights, strict=True))
    assert gpu.flops_of(subject) > 0
