"""The GPU bench's own path, on a toy and a CPU: it must run on the day that somebody has the card."""

from __future__ import annotations

import pytest

from tests.bench import gpu
from training import registry


@pytest.mark.parametrize("name", ["flux1", "sd35", "sdxl"])
def test_the_path_runs_on_a_toy(name, capsys):
    if name not in registry.find("families"):
        pytest.skip(f"there is no family {name} here")
    gpu.main(["--toy", "--device", "cpu", "--eager", "--family", name, "--levels", "off", "all", "--most", "2", "--steps", "1"])
    said = capsys.readouterr().out
    assert said.count("s/step") == 4 and f"{name} fp32 all eager, batch 2" in said


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
