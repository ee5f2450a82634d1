"""No setting is ignored: each one changes something that can be seen, or makes a warning."""

from __future__ import annotations

import shutil

import pytest
from pydantic import BaseModel

from training.config import TrainConfig

pytestmark = pytest.mark.slow

BASELINE = dict(
    steps=4, data__held_out=1, save__validate_every=2, save__every=2, sample__every=2, sample__negative="", data__caption_dropout=0.0,
    optimizer__schedule="cosine", adapter__rank=4, adapter__alpha=4.0, data__resolutions=[32],
)  # fmt: skip

AGE = {"target": "a cat", "positive": "a red cat", "negative": "a blue cat"}
SLIDER = dict(
    loss__objective="slider", data__datasets=[], data__held_out=0, trigger="", concept__targets=[AGE], concept__drawn=3, concept__anchors=["a dog"], data__caption_dropout=0.05,
)  # fmt: skip

# field -> (value, what has to be set besides so that it can matter)
CHANGED = {
    "name": ("other name", {}),
    "trigger": ("xyzzy", {}),
    "preset": ("character", {}),
    "seed": (4, {}),
    "steps": (3, {}),
    "shard": ("on", {}),  # one process trains here, which it says; what it does: tests/engine/test_shards.py
    "model.source": (None, {}),  # another base model, made in the test
    "model.dtype": ("bf16", {}),
    "model.quantise": ("int8", {}),
    "model.quantise_text": ("nf4", {}),
    "model.offload": (0.5, {}),
    "model.vae_tiling": (True, {"data__resolutions": [96]}),
    "model.prediction": ("v_prediction", {}),
    "model.zero_terminal_snr": ("on", {"model__prediction": "v_prediction"}),
    "model.context_adapter": (None, {}),  # so here
    "model.context_strength": (0.5, {}),  # without one it warns, as the next; what they do: tests/engine/test_frozen.py
    "sample.speed_strength": (0.5, {}),
    "sample.speed_adapter": (None, {}),  # so here
    "model.training_adapter": (None, {}),  # an earlier run's LoRA
    "data.fps": (12.0, {}),  # of clips: here it warns, as the next; what they do: tests/engine/test_clips.py
    "data.segments": (2, {}),
    "data.scenes": (True, {}),
    "data.shorter": ([9], {}),
    "sample.fps": (12.0, {}),
    "sample.first_frame": ("a.png", {}),  # for a family that goes on from one; here it warns: tests/engine/test_firsts.py
    "data.datasets": (None, {}),  # another dataset, made in the test
    "data.resolutions": ([48], {}),
    "data.aspect_buckets": (False, {}),
    "data.max_aspect": (1.0, {}),
    "data.upscale": (False, {"data__resolutions": [80]}),
    "data.flip": (True, {}),
    "data.batch_size": (3, {}),
    "data.caption_dropout": (1.0, {}),
    "data.prior_caption_dropout": (1.0, {"data__datasets": None}),  # a dataset to learn from and one that stays as it is, made in the test
    "data.caption_kinds": ("tags", {"data__shuffle_tags": True}),  # the captions here are prose, which then stays as it is
    "data.shuffle_tags": (True, {}),
    "data.keep_tags": (0, {"data__shuffle_tags": True}),
    "data.tag_dropout": (0.6, {}),
    "data.held_out": (2, {}),
    "data.weighed": ([{"step": 1, "picture": "0" * 64, "weight": 0.0}], {}),  # no such picture here, so it warns; what it does: test_weighing.py
    "adapter.type": ("loha", {}),
    "adapter.rank": (2, {}),
    "adapter.alpha": (8.0, {}),
    "adapter.dropout": (0.5, {}),
    "adapter.targets": ("all", {}),
    "adapter.rslora": (True, {}),
    "adapter.blocks": ("no_text", {}),
    "adapter.include": (["up_blocks"], {}),
    "adapter.exclude": (["up_blocks"], {}),
    "adapter.rank_patterns": ([{"pattern": "up_blocks", "rank": 2}], {}),
    "adapter.factor": (2, {"adapter__type": "lokr"}),
    "adapter.least_rank": (2, {"adapter__type": "tlora"}),
    "adapter.rank_power": (4.0, {"adapter__type": "tlora"}),
    "adapter.block_size": (2, {"adapter__type": "oft"}),
    "adapter.control_dropout": (0.5, {}),  # there is no control picture here, so it warns; what it does: test_beside.py
    "adapter.norms": (True, {}),  # of a control LoRA alone, so it warns; what it does: tests/families/test_control_lora.py
    "adapter.plus": (True, {}),  # an IP-Adapter's, as the next: a LoRA says that they do nothing; what they do: test_ip_adapter.py
    "adapter.image_encoder": ("somebody/encoder", {}),
    "adapter.picture_dropout": (0.2, {}),
    "adapter.both_dropout": (0.2, {}),
    "adapter.text_encoder": (True, {}),
    "adapter.text_learning_rate": (1e-2, {"adapter__text_encoder": True}),
    "adapter.start_from": (None, {}),  # an earlier run, made in the test
    "optimizer.type": ("adafactor", {}),
    "optimizer.learning_rate": (2e-2, {}),
    "optimizer.weight_decay": (0.5, {}),
    "optimizer.betas": ([0.5, 0.9], {}),
    "optimizer.eps": (1e-3, {}),
    "optimizer.schedule": ("linear", {}),
    "optimizer.warmup_steps": (2, {}),
    "optimizer.options": ({"momentum": 0.5}, {"optimizer__type": "muon"}),
    "optimizer.rates": ([{"pattern": "lora_B", "times": 4.0}], {}),
    "optimizer.schedule_cycles": (2, {"optimizer__schedule": "cosine_restarts"}),
    "optimizer.schedule_power": (1.0, {"optimizer__schedule": "polynomial"}),
    "optimizer.schedule_decay": (0.9, {"optimizer__schedule": "wsd"}),
    "optimizer.schedule_end": (0.5, {}),
    "optimizer.again_from": (1, {}),
    "optimizer.again_share": (0.9, {"optimizer__again_from": 1}),
    "optimizer.again_schedule": ("constant", {"optimizer__again_from": 1}),
    "optimizer.accumulation": (2, {}),
    "optimizer.clip_grad": (1e-3, {"optimizer__eps": 1e-2}),  # AdamW alone would undo a scaled gradient
    "loss.min_snr_gamma": (1.0, {}),
    "loss.prior_target": ("pictures", {"data__datasets": None}),  # so here
    "loss.objective": ("erase", SLIDER),
    "concept.targets": ([AGE | {"strength": 3.0}], SLIDER),
    "concept.contexts": (["{} on red"], SLIDER),
    "concept.preserve": (["green"], SLIDER),
    "concept.anchors": (["a photo"], SLIDER),
    "concept.anchor_weight": (3.0, SLIDER),
    "concept.drawn": (4, SLIDER),
    "concept.low": (None, {"loss__objective": "picture_slider", "data__held_out": 0, "data__datasets": None}),  # two datasets of one shape, made in the test
    "concept.focus": (0.0, {"loss__objective": "picture_slider", "data__held_out": 0, "data__datasets": None}),  # so here
    "edit.same_shape": (False, {}),  # no edits are learnt here, so it warns, as the next; what they do: tests/engine/test_edit.py
    "edit.plain": (True, {}),
    "edit.dropout": (0.5, {}),
    "loss.timestep_law": ("style", {}),
    "loss.timestep_mean": (1.0, {"loss__timestep_law": "logit_normal"}),
    "loss.timestep_std": (0.3, {"loss__timestep_law": "logit_normal"}),
    "loss.timestep_scale": (-0.8, {"loss__timestep_law": "mode"}),
    "loss.timestep_shift": (3.0, {}),
    "loss.timestep_min": (0.4, {}),
    "loss.timestep_max": (0.6, {}),
    "loss.expert": ("low", {}),  # one denoiser here, so it warns, as the next two do; what they do: tests/families/test_wan.py
    "loss.high_noise_share": (0.3, {}),
    "loss.expert_steps": (2, {}),
    "loss.type": ("huber", {}),
    "loss.huber_delta": (0.01, {"loss__type": "huber"}),
    "loss.huber_schedule": ("snr", {"loss__type": "huber"}),
    "loss.weighting": ("debiased", {}),
    "loss.noise_offset": (0.3, {}),
    "loss.noise_pyramid": (0.5, {}),
    "loss.masked": (True, {}),  # without masks it warns; what it does with them: test_masked.py
    "loss.unmasked_weight": (0.5, {}),
    "loss.ema_decay": (0.9, {}),
    "loss.gradient_checkpointing": ("all", {}),
    "keep.on": (True, {}),
    "keep.share": (1.0, {"keep__on": True}),
    "keep.together": (True, {"keep__on": True, "keep__share": 1.0}),
    "keep.weight": (3.0, {"keep__on": True}),
    "keep.words": ("shapes", {"keep__on": True, "keep__own": 0.0, "keep__empty": 0.0}),
    "keep.prompts": (["a green cat"], {"keep__on": True, "keep__own": 0.0, "keep__empty": 0.0}),
    "keep.drawn": (2, {"keep__on": True, "keep__own": 0.0}),
    "keep.own": (1.0, {"keep__on": True, "keep__empty": 0.0}),
    "keep.empty": (1.0, {"keep__on": True, "keep__own": 0.0}),
    "sample.prompts": (["a blue cat"], {}),
    "sample.every": (4, {}),
    "sample.steps": (4, {}),
    "sample.guidance": (2.0, {}),
    "sample.negative": ("blue", {}),
    "sample.width": (48, {}),
    "sample.height": (48, {}),
    "sample.seed": (1, {}),
    "save.every": (1, {}),
    "save.every_minutes": (1e-5, {"save__every": 0}),
    "save.keep": (2, {"save__every": 1}),
    "save.validate_every": (1, {}),
    "engine.compile": ("auto", {}),  # warns; what it does: test_speed.py, as of the others
    "engine.fp8": (True, {}),
    "engine.attention": ("cudnn", {}),
    "engine.cudnn_benchmark": (True, {}),
    "engine.tf32": (True, {}),
    "engine.overlap": (True, {}),
    "survive.not_a_number": ("exact", {}),  # in fp32, where it warns; what it does: tests/engine/test_survive.py
    "trackers": ([{"name": "nowhere"}], {}),  # which it says; what those that there are do: tests/runs/test_tracking.py
}
# what cannot show in a run on this machine, and where it is tested instead
ELSEWHERE = {
    "kind": "picks the job",
    "model.family": "tests/families trains every one; tests/test_basemodel.py refuses the wrong one",
    "model.revision": "a Hub id's; needs the network",
    "device": "needs a GPU; a wrong one is refused below",
    "gpus": "any number makes the same run: tests/engine/test_ranks.py",
    "model.leave_out": "this family needs all its parts; tests/families/test_stable_diffusion.py leaves one out",
    "save.stop_early": "needs a run that becomes worse; tests/engine/test_measuring.py",
    "data.frames": "still pictures here, which refuse it, see below; tests/engine/test_clips.py trains on clips",
    "sample.frames": "the same",
    "engine.fused_lora": "makes the same run to rounding, which may be the same to the bit: tests/engine/test_speed.py",
    "engine.fused_optimizer": "the same",
    "engine.channels_last": "the same",
    "engine.prefetch": "makes the same run: tests/engine/test_speed.py",
    "survive.milder": "acts where memory runs out: tests/engine/test_survive.py",
    "survive.less_exact": "the same",
    "place.kind": "another machine; tests/away trains on one",
    "place.options": "the same",
    "place.checkpoints": "the same",
}


def leaves(model=TrainConfig, prefix=""):
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from leaves(inner, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def test_every_setting_is_covered():
    assert set(leaves()) == set(CHANGED) | set(ELSEWHERE)


def seen(run) -> dict:
    """Everything of a run that a user could notice, times left out."""
    view = run.view()
    assert run.status() == "finished", view.error
    return {
        "files": {p.relative_to(run.path).as_posix(): p.read_bytes() for p in run.path.rglob("*.*") if p.suffix in (".safetensors", ".webp")},
        "card": (run.path / "README.md").read_text(encoding="utf-8"),
        "losses": view.losses,
        "validations": view.validations,
        "checkpoints": [step for step, _ in view.checkpoints],
        "warnings": view.warnings,
    }


@pytest.fixture(scope="module")
def baselines():
    return {}


@pytest.mark.parametrize("field", CHANGED)
def test_a_changed_setting_shows(lab, baselines, dataset, field, tmp_path):
    from tests import tiny

    value, besides = CHANGED[field]
    if field == "model.source":
        value = str(tiny.sd15(tmp_path / "other base", prediction_type="v_prediction"))
    if field == "data.datasets":
        value = [{"name": str(tiny.pictures(tmp_path / "others", 4, sizes=((80, 80),)))}]
    if "prior" in field:
        besides = {"data__datasets": [{"name": str(dataset)}, {"name": str(tiny.pictures(tmp_path / "kept", 3)), "prior": True}]}
    if field in ("concept.low", "concept.focus"):
        high, low, usual = (str(tiny.pictures(tmp_path / name, 3, sizes=((64, 64),))) for name in ("high", "low", "usual"))
        for folder, turned in ((low, 1), (usual, 2)):  # other pictures than the high ends: a pair of the same teaches nothing
            for n in range(3):
                shutil.copy(f"{high}/picture {(n + turned) % 3}.png", f"{folder}/picture {n}.png")
        besides = besides | {"data__datasets": [{"name": high}], "concept__low": usual}
        value = low if field == "concept.low" else value
    if field == "adapter.start_from":
        value = lab.run(**BASELINE, seed=9).id
    if field in ("model.training_adapter", "model.context_adapter", "sample.speed_adapter"):
        value = str(lab.run(**BASELINE, seed=9).result())
    key = str(sorted(besides.items()))
    if key not in baselines:
        baselines[key] = seen(lab.run(**BASELINE | besides))
    if field == "save.every_minutes":  # by the clock: the baseline saves at the end alone
        assert baselines[key]["checkpoints"] == [4]
    changed = seen(lab.run(**BASELINE | besides | {field.replace(".", "__"): value}))
    if field == "loss.gradient_checkpointing":  # changes memory, not numbers: it must reach the denoiser
        assert checkpointing_reached(lab)
    elif field == "preset":  # for the record
        assert lab.make(preset=value).config().preset == value
    else:
        assert changed != baselines[key], f"{field} had no effect and said nothing"


@pytest.mark.parametrize("change", [{"repeats": 2}, {"weight": 3.0}, {"prior": True}, {"trigger": "quux"}, {"resolutions": [48]}, {"part": "inner"}])
def test_a_changed_dataset_use_shows(lab, dataset, change, tmp_path):
    from tests import tiny

    tiny.pictures(tmp_path / "others" / "inner", 2)
    others = {"name": str(tiny.pictures(tmp_path / "others", 3))}
    plain, changed = (seen(lab.run(**BASELINE | {"data__datasets": [{"name": str(dataset)}, use]})) for use in (others, others | change))
    assert plain["losses"] != changed["losses"]


def checkpointing_reached(lab) -> bool:
    from training.engine.loop import Session
    from training.engine.prepare import prepare
    from training.runs.context import Context

    run = lab.make(loss__gradient_checkpointing=True)
    ctx = Context(run, lab.home, 1)
    return Session(run.config(), ctx, prepare(run.config(), ctx)).m.denoiser.is_gradient_checkpointing


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"device": "cuda"}, "device is 'cuda', but PyTorch finds no usable"),
        ({"model__dtype": "fp16"}, "which a processor does not do"),
        ({"adapter__type": "lorra"}, "no adapters plugin called 'lorra'"),
        ({"loss__objective": "pictures"}, "no objectives plugin called 'pictures'"),
        ({"model__family": "sd99"}, "no families plugin called 'sd99'"),
        ({"data__frames": 5}, "data.frames is 5, but Stable Diffusion 1.5 makes still pictures"),
        ({"sample__frames": 5}, "sample.frames is 5, but Stable Diffusion 1.5 makes still pictures"),
        ({"model__leave_out": ["vae"]}, "leave_out names 'vae'"),
        ({"optimizer__type": "adam8bit"}, "no optimizers plugin called 'adam8bit'; did you mean 'adamw8bit'"),
        ({"optimizer__type": "muon", "optimizer__options": {"momentun": 0.9}}, "optimizer.options 'momentun' is not a setting; did you mean 'momentum'"),
        ({"optimizer__options": {"d_coef": 2.0}}, r"optimizer.options 'd_coef' is not a setting \(AdamW has: none\)"),
        ({"optimizer__type": "prodigy", "optimizer__options": {"d_coef": -1}}, "optimizer.options 'd_coef' input should be greater than 0"),
        ({"optimizer__rates": [{"pattern": "lora_C", "times": 2}]}, "optimizer.rates has 'lora_C', but no weight that learns"),
        ({"adapter__blocks": "style"}, "adapter.blocks is 'style', which is no set of Stable Diffusion 1.5; there are: composition, detail, no_text"),
        ({"adapter__type": "full", "keep__on": True}, "keep.on is on, but the adapter 'full' changes the base model itself"),
        ({"keep__on": True, "keep__words": "none"}, "keep.words is 'none', but there is no such list; there are: .*everyday, shapes"),
        ({"adapter__type": "full", "model__quantise": "int8"}, "model.quantise is 'int8', but the adapter 'full' moves"),
        ({"data__held_out": 5}, "held_out is 5, but there are only 5 pictures"),
    ],
)
def test_what_cannot_be_done_is_refused_before_any_work(lab, change, says):
    import torch

    if "cuda" in says and torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(ValueError, match=says):
        lab.run(**change)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"optimizer__type": "adafactor", "optimizer__betas": [0.5, 0.9]}, "optimizer.betas has no effect"),
        ({"optimizer__type": "adafactor", "optimizer__eps": 1e-4}, "optimizer.eps has no effect"),
        ({"optimizer__schedule_cycles": 5}, "optimizer.schedule_cycles has no effect: optimizer.schedule is 'constant'"),
        ({"optimizer__schedule": "rex", "optimizer__schedule_power": 3.0}, "optimizer.schedule_power has no effect: optimizer.schedule is 'rex'"),
        ({"optimizer__schedule_end": 0.1}, "optimizer.schedule_end has no effect: optimizer.schedule is 'constant'"),
        ({"optimizer__type": "adamw_schedulefree", "optimizer__schedule": "linear"}, "optimizer.schedule has no effect: AdamW, schedule-free does not use it"),
        ({"optimizer__type": "adamw_schedulefree", "optimizer__schedule_decay": 0.1}, "optimizer.schedule_decay has no effect: AdamW, schedule-free has no schedule"),
        ({"optimizer__again_share": 0.5}, "optimizer.again_share has no effect: optimizer.again_from is 0"),
        ({"optimizer__again_from": 900}, "optimizer.again_from has no effect: training ends at step"),
        ({"optimizer__type": "adamw_schedulefree", "optimizer__again_from": 2}, "optimizer.again_from has no effect: AdamW, schedule-free has no schedule"),
        ({"optimizer__type": "adamw_schedulefree", "loss__ema_decay": 0.9}, "loss.ema_decay has no effect: AdamW, schedule-free averages the weights itself"),
        ({"optimizer__type": "prodigy", "optimizer__rates": [{"pattern": "lora_B", "times": 2}]}, "optimizer.rates has no effect: Prodigy finds the rates itself"),
        ({"optimizer__type": "prodigy"}, "optimizer.learning_rate is 0.01, but Prodigy multiplies"),
        ({"optimizer__type": "lion", "optimizer__betas": [0.5, 0.9]}, "optimizer.betas has no effect: Lion"),
        ({"optimizer__type": "muon", "adapter__targets": "all"}, "tensors are none and go by AdamW"),
        ({"optimizer__type": "muon", "optimizer__eps": 1e-4}, "optimizer.eps has no effect: all weights that learn are matrices"),
        ({"loss__prior_target": "pictures"}, "loss.prior_target has no effect"),
        ({"data__prior_caption_dropout": 0.5}, "data.prior_caption_dropout has no effect"),
        ({"keep__weight": 2.0}, "keep.weight has no effect: keep.on is off"),
        ({"keep__on": True, "keep__words": "shapes", "keep__prompts": ["a cat"]}, "keep.words has no effect: keep.prompts are there instead"),
        ({"keep__on": True, "keep__own": 0.5, "keep__drawn": 2}, "keep.own has no effect: keep.drawn holds"),
        ({"keep__on": True, "keep__own": 0.5, "trigger": ""}, "keep.own has no effect: there is no trigger word"),
        ({"sample__prompts": []}, "sample.every has no effect"),
        ({"data__keep_tags": 3}, "data.keep_tags has no effect"),
        ({"data__caption_kinds": "evenly"}, "data.caption_kinds has no effect: with"),
        ({"data__aspect_buckets": False, "data__max_aspect": 3.0}, "data.max_aspect has no effect"),
        ({"save__validate_every": 3}, "save.validate_every has no effect"),
        ({"loss__timestep_mean": 1.0}, "loss.timestep_mean has no effect: loss.timestep_law is 'uniform', not 'logit_normal'"),
        ({"loss__timestep_std": 0.5, "loss__timestep_law": "sigmoid"}, "loss.timestep_std has no effect"),
        ({"loss__timestep_scale": 0.5}, "loss.timestep_scale has no effect"),
        ({"loss__huber_delta": 0.5}, "loss.huber_delta has no effect: loss.type is 'mse', not 'huber'"),
        ({"loss__huber_schedule": "snr"}, "loss.huber_schedule has no effect"),
        ({"loss__huber_schedule": "snr", "loss__huber_delta": 1.0, "loss__type": "huber"}, "loss.huber_schedule has no effect: loss.huber_delta is 1"),
        ({"loss__weighting": "cosmap"}, "loss.weighting has no effect: 'cosmap' is for flow models"),
        ({"loss__weighting": "sigma_sqrt"}, "loss.weighting has no effect"),
        ({"loss__masked": True}, "loss.masked has no effect: no picture has a mask"),
        ({"loss__masked": True, "loss__unmasked_weight": 1.0}, "loss.masked has no effect: loss.unmasked_weight is 1"),
        ({"loss__unmasked_weight": 0.5}, "loss.unmasked_weight has no effect: loss.masked is off"),
        ({"sample__width": 33}, "33x32 does not divide by 4"),
    ],
)
def test_a_setting_without_effect_says_so(lab, change, says):
    assert any(says in w for w in lab.run(steps=1, **change).view().warnings)
