"""v-prediction and noise up to pure noise: read from the checkpoint, chosen by hand, learnt as sd-scripts learns it, and drawn from where it begins."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from diffusers import DDIMScheduler, EulerDiscreteScheduler, FlowMatchEulerDiscreteScheduler, PNDMScheduler
from safetensors import safe_open

from tests.engine.test_parity import batch_of, loss_of, model  # noqa: F401 fixture
from training import registry
from training.config import ModelPart
from training.engine import drawing, noised, samplers
from training.engine.noise import read_schedule

BETAS = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
SDXL, FLUX = (registry.get("families", id) for id in ("sdxl", "flux1"))
TIMES = [3, 421, 999]

# Not made by our code: kohya-ss/sd-scripts at 48d368f, its own functions (fix_noise_scheduler_betas_for_zero_terminal_snr, get_velocity and
# add_noise of the scheduler that it makes, the mean, apply_snr_weight), run outside of this repository on the models of tests/families with the
# tensors of test_parity, diffusers 0.42.1 and torch 2.13.0 in fp32 on a CPU.  For min-SNR the SNR is that of the noise that is trained: its
# train_network.py takes it before the noise is changed (0.0047 at the last step), which gives 0.18178 and 0.19307 in place of these.
GOLDEN = [
    ("sd15", {}, {}, 1.3213481903076172),
    ("sd15", {}, {"min_snr_gamma": 5}, 0.1654197722673416),
    ("sdxl", {"large": (32, 2), "layers": 1}, {}, 1.4152499437332153),
    ("sdxl", {"large": (32, 2), "layers": 1}, {"min_snr_gamma": 5}, 0.1756705641746521),
]


def part(family: str = "sdxl", **changes) -> ModelPart:
    return ModelPart(family=family, source="owner/name", **changes)


@pytest.mark.parametrize(("name", "how", "settings", "golden"), GOLDEN, ids=lambda value: str(value).replace("'", "")[:40])
def test_the_loss_is_that_of_sd_scripts(model, name, how, settings, golden):  # noqa: F811
    family, m = model(name, how)  # its files say epsilon, and nothing of pure noise
    m.scheduler = noised.as_chosen(m.scheduler, part(name, prediction="v_prediction", zero_terminal_snr="on"), family.SPEC)
    assert loss_of(family, m, batch_of(family, m, TIMES), settings) == pytest.approx(golden, rel=1e-5)


def test_what_the_files_say_holds_unless_something_is_chosen():
    own = EulerDiscreteScheduler(**BETAS, prediction_type="v_prediction")
    assert noised.as_chosen(own, part(), SDXL.SPEC) is own
    other = noised.as_chosen(own, part(prediction="epsilon"), SDXL.SPEC)
    assert type(other) is EulerDiscreteScheduler and other.config.prediction_type == "epsilon" and own.config.prediction_type == "v_prediction"
    zero = EulerDiscreteScheduler(**BETAS, prediction_type="v_prediction", rescale_betas_zero_snr=True)
    schedule = lambda scheduler: read_schedule(scheduler.config)
    assert schedule(zero).snr(torch.tensor([999])) == 0 < schedule(noised.as_chosen(zero, part(zero_terminal_snr="off"), SDXL.SPEC)).snr(torch.tensor([999]))
    assert ModelPart.model_validate({"family": "sdxl", "source": "a/b", "zero_terminal_snr": True}).zero_terminal_snr == "on", "YAML reads on so"


@pytest.mark.parametrize("cls", [EulerDiscreteScheduler, DDIMScheduler, PNDMScheduler])
def test_drawing_begins_at_pure_noise_with_guidance_rescaled(cls):
    """Released v-prediction checkpoints say "leading", which would begin short of it; PNDM does not know of such noise at all."""
    own = cls(**BETAS, timestep_spacing="leading")
    made = noised.as_chosen(own, part(prediction="v_prediction", zero_terminal_snr="on"), SDXL.SPEC)
    made.set_timesteps(4)
    assert made.timesteps[0] == 999 and made.alphas_cumprod[-1] < 1e-7 and noised.can_end_in_noise(type(made))
    pipe = SDXL.pipeline(_nothing(made))
    assert noised.rescaled(pipe, made) == {"guidance_rescale": 0.7} and noised.rescaled(pipe, own) == {}
    offered = samplers.offered(made, "scheduler")
    assert "euler" in offered and not {"heun", "plms"} & set(offered) and "heun" in samplers.offered(own, "scheduler"), "those would pass the pure noise over"


def test_what_does_not_go_together_is_refused_or_said():
    noise = EulerDiscreteScheduler(**BETAS)
    with pytest.raises(ValueError, match=r"zero_terminal_snr is 'on', but the base model predicts the noise.*set model.prediction"):
        noised.as_chosen(noise, part(zero_terminal_snr="on"), SDXL.SPEC)
    flow = FlowMatchEulerDiscreteScheduler()
    asked = part("flux1", prediction="v_prediction", zero_terminal_snr="on")
    assert noised.as_chosen(flow, asked, FLUX.SPEC) is flow
    assert [s.split(" has no effect")[0] for s in noised.remarks(asked, FLUX.SPEC, flow)] == ["model.prediction", "model.zero_terminal_snr"]
    named = ModelPart(family="sdxl", source="/models/NoobAI-XL-Vpred-v1.0.safetensors")
    assert "is called after v-prediction, but its files say nothing" in noised.remarks(named, SDXL.SPEC, noise)[0]
    assert not noised.remarks(named.model_copy(update={"prediction": "epsilon"}), SDXL.SPEC, noise) and not noised.remarks(part(), SDXL.SPEC, noise)
    assert "nothing to learn" in noised.remarks(part(), SDXL.SPEC, EulerDiscreteScheduler(**BETAS, rescale_betas_zero_snr=True))[0]


def test_what_the_base_draws_for_a_run_is_drawn_anew_where_it_is_told_to_predict_another_thing(lab):
    def prints(**changes):
        config = lab.make(keep__on=True, keep__drawn=2, **changes).config()
        return [item.sha256 for group in drawing.wanted(config, [SimpleNamespace(bucket=(64, 64, 1))], ["a cat"], "base") for item in group]

    chosen = {"model__prediction": "v_prediction"}
    assert prints() == prints(model__prediction="auto") and prints(**chosen) == prints(**chosen)
    assert len({tuple(p) for p in (prints(), prints(**chosen), prints(model__zero_terminal_snr="on", **chosen))}) == 3


@pytest.mark.slow
def test_a_run_learns_at_pure_noise_and_its_file_says_so(lab):
    run = lab.run(
        model__prediction="v_prediction", model__zero_terminal_snr="on", steps=3, loss__timestep_min=0.999, loss__min_snr_gamma=0.0,
        sample__every=3, sample__guidance=5.0,
    )  # fmt: skip
    assert run.status() == "finished", run.why()
    assert all(0 < e["loss"] < 10 for e in run.events()[0] if e["kind"] == "step")
    with safe_open(run.result(), "np") as file:
        said = file.metadata()
    assert (said["modelspec.prediction_type"], said["ss_zero_terminal_snr"]) == ("v", "True")
    from PIL import Image

    picture = Image.open(run.path / "samples" / "000003_0.webp").convert("L")
    assert picture.getextrema()[0] < picture.getextrema()[1]


def _nothing(scheduler):
    from training.family import Modules

    return Modules(torch.float32, scheduler=scheduler)
