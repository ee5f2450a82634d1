"""Two denoisers by noise level, each asked, trained and delivered for its own levels alone; and clips that are learnt from their first frame."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image, ImageOps
from safetensors.torch import save_file
from torch import nn

from tests.engine.conftest import lab  # noqa: F401 a fixture
from training import jobfile, registry
from training.config import LossPart
from training.data import frames
from training.engine import adapter_files, checkpoint, experts, noise
from training.engine.experts import Experts, Turns
from training.engine.finish import finish
from training.engine.loop import Session
from training.engine.prepare import prepare
from training.engine.randomness import unit
from training.engine.studio import Studio
from training.family import Cond, Placement
from training.formats import deliver, halves, layouts
from training.hub import card
from training.jobs import play
from training.plan import experts as plan
from training.plan.timelaw import of_config
from training.runs.context import Context
from training.runs.run import create

from . import wan22_a14b as toy
from .test_every_family import _kit, base, calls, conditioned, dataset, job, latents_like, pictures  # noqa: F401 fixtures

FAMILY = registry.get("families", "wan22_a14b")
SPEC = FAMILY.SPEC


@pytest.fixture(scope="module")
def kit(tmp_path_factory):
    return _kit("wan22_a14b", str(tmp_path_factory.getbasetemp()))


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    return toy.dataset(tmp_path_factory.mktemp("clips"))


def drawn(m, kit, latents, steps):
    pipe = FAMILY.pipeline(m)
    pipe.set_progress_bar_config(disable=True)
    h, w = toy.SIZE
    args = FAMILY.draw_args(m, conditioned(kit, "a cat"), conditioned(kit, ""), 1.0)
    with torch.no_grad():
        pipe(**args, latents=latents.clone(), num_inference_steps=steps, height=h, width=w, num_frames=toy.FRAMES, output_type="latent")


def test_each_side_of_the_boundary_is_answered_by_the_denoiser_that_the_pipeline_asks(kit):
    theirs = {name: calls(network, lambda: drawn(kit.m, kit, latents_like(kit, 1), 4)) for name, network in experts.networks(kit.m.denoiser, SPEC).items()}
    assert all(theirs.values()), "four steps reach both"
    for name, seen in theirs.items():
        for told, answer in seen:
            t = told["timestep"].float() / 1000
            assert (t.item() >= SPEC.boundary) == (name == "transformer")
            with torch.no_grad():
                ours = FAMILY.predict(kit.m, told["hidden_states"], t, conditioned(kit, "a cat"))
            torch.testing.assert_close(ours, answer, atol=1e-5, rtol=1e-5)


def test_a_wrong_boundary_is_seen(kit):
    """The very call that the pipeline makes near the boundary comes out otherwise where the boundary is another."""
    noisy, t = latents_like(kit, 1), torch.tensor([0.88])
    with torch.no_grad():
        right = FAMILY.predict(kit.m, noisy, t, conditioned(kit, "a cat"))
        m = FAMILY.load(kit.folder, {"transformer"}, Placement(torch.float32, "cpu"))
        m.denoiser.boundary = 900.0
        wrong = FAMILY.predict(m, noisy, t, conditioned(kit, "a cat"))
    assert (right - wrong).abs().max() > 1e-3


def test_rows_of_both_sides_in_one_batch_are_answered_as_alone(kit):
    noisy, t = latents_like(kit, 3), torch.tensor([0.95, 0.2, 0.875])
    with torch.no_grad():
        cond = conditioned(kit, "a cat", "a cat", "a cat")
        together = FAMILY.predict(kit.m, noisy, t, cond)
        alone = [FAMILY.predict(kit.m, noisy[n : n + 1], t[n : n + 1], conditioned(kit, "a cat")) for n in range(3)]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-5, rtol=1e-5)


def test_a_base_model_that_does_not_say_where_its_denoisers_change_is_refused(kit, tmp_path):
    for name, index, said in (("a", {"transformer_2": ["d", "W"]}, "no boundary_ratio"), ("b", {"transformer": ["d", "W"], "boundary_ratio": 0.9}, "no transformer_2")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model_index.json").write_text(json.dumps({"transformer": ["d", "W"]} | index))
        with pytest.raises(ValueError, match=said):
            FAMILY.load(tmp_path / name, set(), Placement(torch.float32, "cpu"))
    with pytest.raises(ValueError, match="holds two transformers"):
        registry.get("families", "wan21").load(kit.folder, set(), Placement(torch.float32, "cpu"))


def turns(**loss) -> Turns:
    law = of_config(LossPart(**loss), {"flow_shift": 3.0}, 2)
    loss_part = LossPart(**loss)
    chosen = SPEC.learning(loss_part.expert)
    laws = {e.folder: plan.law_of(law, SPEC.boundary, e.called) for e in chosen}
    return Turns(chosen, laws, loss_part.high_noise_share or plan.share_of(law, SPEC.boundary), loss_part.expert_steps, 5)


def test_a_step_draws_from_the_levels_of_its_own_denoiser_and_both_together_make_the_law():
    made, shape = turns(), torch.Size([16, 2, 8, 8])
    assert abs(made.share - 0.3) < 1e-6  # evenly drawn, t = 3u / (1 + 2u) is above 0.875 where u is above 0.7
    levels = {"transformer": [], "transformer_2": []}
    for step in range(1500):
        levels[made.at(step).folder].append(made.schedule(step).pick(torch.Generator().manual_seed(step), shape))
    assert abs(len(levels["transformer"]) / 1500 - 0.3) < 0.04
    assert min(levels["transformer"]) > 0.875 > max(levels["transformer_2"])
    whole = noise.FlowSchedule(law=of_config(LossPart(), {"flow_shift": 3.0}, 2))
    every = sorted(levels["transformer"] + levels["transformer_2"])
    for share in (0.1, 0.3, 0.5, 0.7, 0.9):
        assert abs(every[int(share * len(every))] - whole.law.at(share, 1)) < 0.05


@pytest.mark.parametrize(("loss", "share"), [({"high_noise_share": 0.8}, 0.8), ({"timestep_min": 0.5}, None), ({"expert": "high"}, 1.0), ({"expert": "low"}, 0.0)])
def test_shares_and_limits(loss, share):
    made = turns(**loss)
    taken = made.taken(1000)
    assert abs(taken["transformer"] / 1000 - (made.share if share is None else share)) < 0.05
    if share is None:  # of the law above 0.5 (u > 0.25), 0.3 of 0.75 lies above the boundary
        assert abs(made.share - 0.4) < 1e-6 and made.laws["transformer_2"].low == 0.5


def test_turns_last_as_many_steps_as_asked_and_are_told_where_one_never_comes():
    made = turns(expert_steps=10)
    assert all(made.at(10 * n) == made.at(10 * n + k) for n in range(20) for k in range(10))
    only = next(s for s in range(99) if unit("expert", s, 0) >= 0.3)
    lone = Turns(made.experts, made.laws, made.share, 10, only)
    assert "the denoiser 'high' has no turn" in lone.said(10)[0] and not turns().said(200)


def test_only_one_of_them_lies_on_the_device_and_answers_stay_the_same(kit):
    m = FAMILY.load(kit.folder, {"transformer"}, Placement(torch.float32, "cpu"))
    weights = {name: network.blocks[0].attn1.to_q.weight for name, network in experts.networks(m.denoiser, SPEC).items()}
    noisy, cond = latents_like(kit, 1), conditioned(kit, "a cat")
    ask = lambda level: FAMILY.predict(m, noisy, torch.tensor([level]), cond)
    with torch.no_grad():
        before = [ask(0.95), ask(0.3)]
    experts.one_at_a_time(m.denoiser, "cpu")
    parts = experts.networks(m.denoiser, SPEC)
    for level, mine in ((0.95, "transformer"), (0.3, "transformer_2"), (0.95, "transformer")):
        with torch.no_grad():
            torch.testing.assert_close(ask(level), before[level < 0.875], atol=1e-5, rtol=1e-4)
        assert {name for name, network in parts.items() if network.blocks[0].attn1.to_q.weight is not weights[name]} == {mine}, "a copy stands in for the one that waits"
    noisy.requires_grad_()
    ask(0.95).sum().backward(retain_graph=False)
    assert noisy.grad.abs().sum() > 0


def test_settings_that_cannot_be_and_settings_that_do_nothing(lab, clips, kit):  # noqa: F811
    config = lambda **changes: lab.make(**job(kit, clips, steps=2, sample__every=0, **changes)).config()
    told = lambda **changes: dict(plan.problems(config(**changes), SPEC))
    assert not told()
    assert "loss.timestep_max" in told(loss__timestep_max=0.8) and not told(loss__timestep_max=0.8, loss__expert="low")
    assert "loss.timestep_min" in told(loss__timestep_min=0.9) and not told(loss__timestep_min=0.9, loss__expert="high")
    assert "adapter.type" in told(adapter__type="full") and "model.training_adapter" in told(model__training_adapter="somebody/fast")
    assert plan.idle(config(loss__expert="low", loss__expert_steps=3), SPEC) == ["loss.expert_steps has no effect: only one of the two denoisers learns"]
    assert len(plan.idle(config(loss__expert="low", loss__expert_steps=3), registry.get("families", "wan21").SPEC)) == 2


def test_limits_are_looked_at_again_by_the_base_models_own_boundary(kit, lab, clips, tmp_path):  # noqa: F811
    folder = tmp_path / "base"
    folder.mkdir()
    for part in kit.folder.iterdir():
        (folder / part.name).symlink_to(part)
    (folder / "model_index.json").unlink()
    index = json.loads((kit.folder / "model_index.json").read_text(encoding="utf-8"))
    (folder / "model_index.json").write_text(json.dumps(index | {"boundary_ratio": 0.4}), encoding="utf-8")
    run = lab.make(**job(kit, clips, steps=2, sample__every=0, loss__timestep_min=0.5) | {"model__source": str(folder)})
    assert not plan.problems(run.config(), SPEC)
    with pytest.raises(ValueError, match="loss.timestep_min is 0.5, which leaves no level to the denoiser 'low', whose levels lie on the other side of 0.4"):
        prepare(run.config(), Context(run, lab.home, 1))


@pytest.mark.slow
def test_a_checkpoint_from_before_a_denoisers_first_turn_becomes_the_result_and_a_run_of_both_starts_one_of_one(kit, lab, clips):  # noqa: F811
    seed = next(s for s in range(99) if [unit("expert", s, n) >= 0.5 for n in (0, 1)] == [False, True])
    told = {"sample__every": 0, "adapter__targets": "attention", "optimizer__learning_rate": 2e-2}
    run = lab.make(**job(kit, clips, steps=4, save__every=2, loss__high_noise_share=0.5, loss__expert_steps=2, seed=seed, **told))
    ctx = Context(run, lab.home, 1)
    session = Session(run.config(), ctx, prepare(run.config(), ctx))
    session.learn()
    files, *_ = checkpoint.load(dict(checkpoint.saved(run.path))[2])
    session.restore(files["adapter"])
    finish(run.config(), ctx, session.p, session.adapter, session.modules, session.assistant.off, 2)
    view = run.view()
    assert any("In 2 steps the denoiser 'low' has no turn" in text for text in view.warnings) and run.result().name == "tiny_high_noise.safetensors"
    for source in (run.id, f"{run.id}/4"):
        for expert, folder in (("low", "transformer_2"), ("high", "transformer")):
            lone = FAMILY.load(kit.folder, {"transformer"}, Placement(torch.float32, "cpu"))
            modules = experts.learning(lone.denoiser, SPEC, expert)
            session.adapter.attach(modules[folder], run.config().adapter, SPEC.lora_targets["attention"], 1)
            adapter_files.start(source, session.adapter, modules, SPEC, ctx)
            ups = [w for name, w in session.adapter.tensors(modules[folder], folder).items() if "lora_B" in name]
            assert any(w.abs().max() > 0 for w in ups) is (source != run.id or expert == "high")


@pytest.mark.slow
def test_a_gradient_reaches_the_denoiser_of_the_step_alone(kit, lab, clips):  # noqa: F811
    run = lab.make(**job(kit, clips, steps=9, sample__every=0, loss__high_noise_share=0.5))
    session = Session(run.config(), ctx := Context(run, lab.home, 1), prepare(run.config(), ctx))
    seen = set()
    for step in range(6):
        before = {name: [w.detach().clone() for w in session.adapter.parameters(module)] for name, module in session.modules.items()}
        session._advance()
        moved = {name for name, module in session.modules.items() if any(not torch.equal(a, b) for a, b in zip(before[name], session.adapter.parameters(module), strict=True))}
        assert moved == {session.p.turns.at(step).folder}
        seen |= moved
    assert seen == {"transformer", "transformer_2"}


@pytest.mark.slow
def test_one_denoiser_alone_makes_one_file_and_it_goes_where_it_belongs(kit, lab, clips):  # noqa: F811
    run = lab.run(**job(kit, clips, steps=3, sample__every=3, loss__expert="low", optimizer__learning_rate=2e-2))
    assert run.status() == "finished", run.why()
    assert [p.name for p in run.path.glob("*.safetensors")] == ["tiny_low_noise.safetensors"] and run.result().name == "tiny_low_noise.safetensors"
    names = layouts.names_in(run.result())
    assert all(name.startswith("diffusion_model.blocks.") for name in names), "as ComfyUI knows it"
    assert "load_into_transformer_2=True" in (run.path / "README.md").read_text(encoding="utf-8")
    m = FAMILY.load(kit.folder, {"transformer"}, Placement(torch.float32, "cpu"))
    plain = m.denoiser.transformer.state_dict().keys()
    found = adapter_files.load(run.result(), experts.networks(m.denoiser, SPEC), SPEC)
    assert set(found) == {"transformer_2"} and m.denoiser.transformer.state_dict().keys() == plain


def test_for_which_denoiser_a_file_is(tmp_path):
    of = lambda name, said=None, names=("diffusion_model.a",): halves.expert_of(tmp_path / name, names, said or {}, SPEC).called
    assert [of(n) for n in ("x_high_noise.safetensors", "wan2.2_HighNoise_x.safetensors", "x-low.safetensors", "LN-x.safetensors")] == ["high", "high", "low", "low"]
    assert of("x_high_noise.safetensors", {layouts.EXPERT_HEADER: "transformer_2"}) == "low", "what the file says of itself goes before its name"
    assert of("adapter.safetensors", names=("transformer.a",)) == "high"
    assert [of(n) for n in ("high_quality_LowNoise.safetensors", "low_poly_v1_high.safetensors", "x_HIGH_fp16.safetensors")] == ["low", "high", "high"]
    for name in ("slow_flow.safetensors", "low_poly_v1.safetensors", "high_quality.safetensors"):
        with pytest.raises(ValueError, match="does not say for which of the two denoisers"):
            of(name)
    (tmp_path / "a_high_noise.safetensors").touch()
    (tmp_path / "a_low_noise.safetensors").touch()
    assert [p.name for p in halves.together(tmp_path / "a_low_noise.safetensors", SPEC)] == ["a_low_noise.safetensors", "a_high_noise.safetensors"]


@pytest.mark.slow
def test_what_a_studio_wears_goes_into_both_denoisers_also_where_blocks_are_moved(kit, lab, tmp_path):  # noqa: F811
    run = create(lab.home.outputs, jobfile.parse(play.Config, {"kind": "play", "name": "play", "model": {"family": "wan22_a14b", "source": str(kit.folder), "dtype": "fp32"}, "device": "cpu"}))
    studio = Studio(run.config(), Context(run, lab.home, 1), keep_text=False)
    width = kit.m.denoiser.transformer.blocks[0].attn1.to_q.in_features
    made = lambda seed: torch.randn(2, width, generator=torch.Generator().manual_seed(seed))
    for seed, name in enumerate(("a_high_noise", "a_low_noise", "b_HIGH_fp16")):
        layers = [f"diffusion_model.blocks.0.self_attn.{n}.lora_{x}.weight" for n in "qv" for x in "AB"]
        save_file({k: made(9 * seed + n) if "lora_A" in k else made(9 * seed + n).T.contiguous() for n, k in enumerate(layers)}, tmp_path / f"{name}.safetensors")
    noisy, cond = latents_like(kit, 1), conditioned(kit, "a cat")
    ask = lambda level: FAMILY.predict(studio.m, noisy, torch.tensor([level]), cond)
    file = lambda name: (str(tmp_path / f"{name}.safetensors"), 1.0)
    off = [file("a_high_noise"), (file("a_low_noise")[0], 0.0)]
    with torch.no_grad():
        answers = {}
        for name, worn, rules in (("nothing", [], ()), ("both", [file("a_high_noise")], ()), ("moved", [file("a_low_noise")], [(1, r"attn\.q", 1.0)]), ("less", [file("a_high_noise")], [(1, r"attn\.q", 0.0)]), ("high", off, [(1, r"attn\.q", 0.5)]), ("half", [file("b_HIGH_fp16")], ())):
            assert name in ("half", "high") or not any("acts on one denoiser alone" in text for text in run.view().warnings)
            studio.wear(worn, rules)
            answers[name] = [ask(level) for level in (0.95, 0.3)]
    changed = {name: [not torch.allclose(a, b, atol=1e-6) for a, b in zip(found, answers["nothing"], strict=True)] for name, found in answers.items()}
    assert changed == {"nothing": [False, False], "both": [True, True], "moved": [True, True], "less": [True, True], "high": [True, False], "half": [True, False]}
    torch.testing.assert_close(answers["moved"], answers["both"], atol=1e-4, rtol=1e-3)
    assert all((a - b).abs().max() > 1e-4 for a, b in zip(answers["less"], answers["both"], strict=True)), "the rule acts in either"
    assert any("none of its files is for 'low' noise" in text for text in run.view().warnings) and any("moved in both files" in text for text in run.view().warnings)


def test_a_file_for_the_other_denoiser_starts_no_run_and_says_so(kit, lab, clips, tmp_path):  # noqa: F811
    run = lab.make(**job(kit, clips, steps=2, sample__every=0))
    rng = torch.Generator().manual_seed(0)
    tensors = {f"diffusion_model.blocks.0.self_attn.q.lora_{x}.weight": torch.randn(*shape, generator=rng) for x, shape in (("A", (2, 16)), ("B", (16, 2)))}
    save_file(tensors, tmp_path / "a_high_noise.safetensors")
    for expert, cure in (("low", "set loss.expert to 'high'"), ("both", "put its file for 'low' beside it")):
        modules = experts.learning(kit.m.denoiser, SPEC, expert)
        with pytest.raises(ValueError, match=f"it is for the denoiser 'high', and this run trains .*{cure}"):
            adapter_files.start(str(tmp_path / "a_high_noise.safetensors"), registry.get("adapters", "lora"), modules, SPEC, Context(run, lab.home, 1))


def test_the_files_of_a_run_are_called_as_comfyuis_workflows_call_them():
    lora = registry.get("adapters", "lora")
    files = deliver.needed(deliver.offers(SPEC, "lora", lora, SPEC.learning("both")))
    assert [o.file_name("cat") for o in files] == ["cat_high_noise.safetensors", "cat_low_noise.safetensors"] and {o.layout for o in files} == {"comfyui"}
    dora = deliver.needed(deliver.offers(SPEC, "dora", registry.get("adapters", "dora"), SPEC.learning("both")))
    assert [o.file_name("cat") for o in dora] == [f"cat_{n}_noise-{p}.safetensors" for n in ("high", "low") for p in ("diffusers", "comfyui")]


@pytest.mark.parametrize("expert", ["both", "low"])
def test_what_the_card_says_of_a_kind_that_pipelines_refuse_goes_into_the_right_denoiser(kit, lab, clips, tmp_path, monkeypatch, expert):  # noqa: F811
    config = lab.make(**job(kit, clips, steps=2, sample__every=0, adapter__type="lokr", adapter__targets="attention", loss__expert=expert)).config()
    lokr, fresh = registry.get("adapters", "lokr"), lambda: FAMILY.load(kit.folder, {"transformer"}, Placement(torch.float32, "cpu"))
    trained, again = fresh(), fresh()
    modules = experts.learning(trained.denoiser, SPEC, expert)
    for seed, module in enumerate(modules.values()):
        lokr.attach(module, config.adapter, SPEC.lora_targets["attention"], seed)
        for n, weight in enumerate(lokr.parameters(module)):
            torch.nn.init.normal_(weight, std=0.3, generator=torch.Generator().manual_seed(100 * seed + n))
    tensors = {k: v.detach().contiguous() for name, module in modules.items() for k, v in lokr.tensors(module, name).items()}
    save_file(tensors, tmp_path / "adapter.safetensors", adapter_files.headers(lokr, modules))
    files = [o for o in deliver.offers(SPEC, "lokr", lokr, SPEC.learning(expert)) if o.layout == "diffusers"]
    for offer in files:
        deliver.deliver(tmp_path, tmp_path / offer.file_name(config.name), {}, False, SPEC, "diffusers", offer.expert)
    monkeypatch.chdir(tmp_path)
    imports, lines = card._load_peft_by_half(config, "", SPEC, files)
    exec("\n".join([*imports, *lines]), {"pipeline": FAMILY.pipeline(again)})  # noqa: S102 our own card's lines: what a reader of it would run
    noisy, cond = latents_like(kit, 1), conditioned(kit, "a cat")
    ask = lambda m, level: FAMILY.predict(m, noisy, torch.tensor([level]), cond)
    with torch.no_grad():
        for level, folder in ((0.95, "transformer"), (0.3, "transformer_2")):
            torch.testing.assert_close(ask(again, level), ask(trained, level), atol=1e-5, rtol=1e-4)
            assert torch.equal(ask(again, level), ask(kit.m, level)) is (folder not in modules)


def test_settings_go_to_both(kit):
    m = FAMILY.load(kit.folder, {"transformer"}, Placement(torch.float32, "cpu"))
    met = []
    m.denoiser.enable_gradient_checkpointing(lambda block, *args: met.append(block) or block(*args))
    for level in (0.95, 0.3):
        FAMILY.predict(m, latents_like(kit, 1).requires_grad_(), torch.tensor([level]), Cond(conditioned(kit, "a cat").tensors))
    assert len(set(met)) == 2 and isinstance(m.denoiser, Experts) and all(isinstance(b, nn.Module) for b in met)


# -- from a first frame


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    return _kit("wan22_i2v_a14b", str(tmp_path_factory.getbasetemp()))


def test_the_first_frame_is_told_as_the_pipelines_call_tells_it(shown):
    """Beside the noisy latents: a mask that is on in the first latent frame alone, and the latents of the picture followed by grey."""
    other = shown.toy.shown().rotate(180)
    with torch.no_grad():
        told = [shown.family.encode_first(shown.m, picture, toy.FRAMES)["first"] for picture in (shown.toy.shown(), other)]
    assert told[0].shape[0] == 4 + 16 and torch.equal(told[0][:4, :1], torch.ones_like(told[0][:4, :1])) and not told[0][:4, 1:].any()
    assert (told[0][4:] - told[1][4:]).abs().max() > 1e-3


def test_an_image_to_video_model_of_another_family_is_refused(shown):
    configs = {p: json.loads((shown.folder / p / "config.json").read_text()) for p in ("transformer", "vae")}
    with pytest.raises(ValueError, match="has no image encoder, unlike Wan 2.1 image-to-video"):
        registry.get("families", "wan21_i2v").grid(configs)
    with pytest.raises(ValueError, match="takes 36 and gives 16 latent channels"):
        FAMILY.grid(configs)
    with pytest.raises(ValueError, match="takes 16 and gives 16 latent channels"):
        shown.family.grid(configs | {"transformer": configs["transformer"] | {"in_channels": 16}})


def test_what_a_first_frame_makes_no_sense_with_is_said(lab, clips, shown):  # noqa: F811
    config = lambda **changes: lab.make(**job(shown, clips, steps=2, sample__every=0, **changes)).config()
    told = lambda **changes: {path for path, _ in frames.problems(config(**changes), shown.spec)}
    assert not told() and told(data__frames=1, sample__frames=1) == {"data.frames", "sample.frames"}
    assert told(keep__on=True, keep__drawn=2) == {"keep.drawn"}
    stills, data = [SimpleNamespace(id=name, seconds=0) for name in "ab"], config().data
    assert frames.left_out([(data.datasets[0], still) for still in stills], data, shown.spec)[0].startswith("2 pictures are left out: Wan 2.2 I2V A14B learns how a clip goes on")
    assert not frames.segments(stills[0], data.datasets[0], data, shown.spec) and frames.segments(stills[0], data.datasets[0], data, SPEC)


@pytest.mark.slow
def test_a_clip_is_learnt_and_a_sample_drawn_from_first_frames(lab, clips, shown):  # noqa: F811
    run = lab.make(**job(shown, clips, steps=2, sample__every=2, data__held_out=1, data__flip=True))
    session = Session(run.config(), ctx := Context(run, lab.home, 1), prepare(run.config(), ctx))
    assert any("1 picture is left out" in text for text in run.view().warnings)
    batch = session.feed.at(0)[0]
    item = next(i for i in session.p.plan.items if i.id == batch.ids[0])
    own = lambda i, flip: shown.family.encode_first(session.m, i.first_frame(flip), i.segment.frames)["first"]
    with torch.no_grad():
        assert min(float((batch.cond.tensors["first"][0] - own(item, flip)).abs().max()) for flip in (False, True)) < 1e-6
        frame = torch.tensor(list(item.first_frame(False).tobytes()), dtype=torch.float32).view(item.crop.height, item.crop.width, 3).permute(2, 0, 1) / 127.5 - 1
        assert (frame - item.pixels(False)[:, 0]).abs().max() < 1e-5
        drawn = calls(session.m.denoiser, session.samples_of_this_step)
    held = session.p.plan.held_out[0]
    size = shown.toy.SIZE[::-1]
    begun = ImageOps.fit(held.first_frame(False), size, Image.Resampling.LANCZOS)
    with torch.no_grad():
        wanted = shown.family.encode_first(session.m, begun, toy.FRAMES)["first"]
    torch.testing.assert_close(drawn[0][0]["hidden_states"][0, 16:], wanted, atol=1e-5, rtol=1e-5)
    aside = Path(held.path).rename(Path(held.path).with_name("aside"))  # removed while it is learnt
    try:
        session.gallery.draw_all(session.step, again=True)
    finally:
        aside.rename(held.path)
    assert any(f"a sample that begins as {held.id!r} does is not drawn" in text for text in run.view().warnings)
