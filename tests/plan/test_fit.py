"""Make it fit: the mildest changes that do, none that is not needed, and none of what is held fixed."""

import pytest

from tests import tiny
from tests.plan.test_estimate import FULL
from tests.plan.test_presets import GB
from training import jobfile
from training.config import TrainConfig
from training.plan import fit
from training.plan.devices import Device
from training.plan.estimate import peak_bytes
from training.plan.fit import make_it_fit

ANY = float("inf")
CARD_JOB = {**FULL, "device": "cuda", "model__dtype": "bf16"}


def job(source="black-forest-labs/FLUX.1-dev", family="flux1", **changes) -> TrainConfig:
    return jobfile.parse(TrainConfig, tiny.train_job(source, "pictures", **{"model__family": family, **CARD_JOB, **changes}))


def small(**changes) -> TrainConfig:
    return job("stable-diffusion-v1-5/stable-diffusion-v1-5", "sd15", **changes)


def fitted(config, home, vram_gb, ram_gb=256, fixed=()):
    found = make_it_fit(config, vram_gb * GB, ram_gb * GB, home, Device("cuda", (8, 9)), fixed)
    assert found.fits == (peak_bytes(found.config, home)[0] <= vram_gb * GB and peak_bytes(found.config, home)[1] <= ram_gb * GB)
    return found


def changed(found) -> dict:
    return {path: value for change in found.changes for path, value in change.settings.items()}


def test_what_fits_stays_as_it_is(home):
    config = job()
    found = fitted(config, home, 80)
    assert found.fits and found.config == config and not found.changes


def test_the_mildest_comes_first(home):
    config = small(data__batch_size=4)
    needs = peak_bytes(config, home)[0] / GB
    assert set(changed(fitted(config, home, 0.9 * needs))) == {"data.batch_size", "optimizer.accumulation"}
    once = small(data__batch_size=1)
    needs = peak_bytes(once, home)[0] / GB
    assert changed(fitted(once, home, 0.97 * needs)) == {"loss.gradient_checkpointing": "third"}


def test_smaller_cards_ask_for_more(home):
    sizes = {gb: fitted(job(), home, gb) for gb in (48, 24, 16, 10, 6)}
    assert all(found.fits for found in sizes.values())
    assert [sizes[gb].config.model.quantise for gb in (48, 24, 16, 10)] == ["none", "int8", "nf4", "nf4"]
    assert not sizes[16].config.model.offload and sizes[6].config.model.offload and sizes[6].config.loss.gradient_checkpointing == "all"
    assert all(max(found.config.data.resolutions) == 512 for found in sizes.values()), "detail goes last"


@pytest.mark.parametrize("vram_gb", [40, 24, 12, 8, 6])
def test_no_change_is_needless(home, vram_gb):
    config = job(data__batch_size=4)
    found = fitted(config, home, vram_gb)
    assert found.fits and found.changes
    for change in found.changes:
        others = fit._all(config, [c for c in found.changes if c is not change])
        assert peak_bytes(others, home)[0] > vram_gb * GB, change.said


def test_full_precision_goes_before_quantising(home):
    found = fitted(job(model__dtype="fp32"), home, 40)
    assert found.fits and found.config.model.dtype == "bf16" and found.config.model.quantise == "none"


def test_what_is_fixed_stays(home):
    fixed = ("model.quantise", "model.offload", "data.resolutions")
    found = fitted(job(), home, 12, fixed=fixed)
    assert not found.fits and not set(fixed) & set(changed(found))
    assert found.config.model.quantise == "none"


def test_what_cannot_fit_says_so(home):
    found = fitted(job(), home, 1)
    assert not found.fits and found.config.model.quantise == "nf4"


def test_blocks_wait_in_ram_only_where_there_is_ram(home):
    assert not fitted(job(), home, 6, ram_gb=4).fits


def test_blocks_that_wait_in_ram_take_time(home):
    from tests.plan.test_presets import CARD
    from training.plan.estimate import estimate

    plain, waiting = (estimate(job(loss__gradient_checkpointing="all", model__offload=share), CARD, 20, home) for share in (0, 1))
    assert waiting.step_seconds > plain.step_seconds + 5 and waiting.vram_bytes < plain.vram_bytes / 2
