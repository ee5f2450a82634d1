"""What hangs beside the denoiser: it trains, goes on exactly where it stopped, and its folder acts elsewhere as it did here."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter
from safetensors.torch import load_file, save_file

from tests import tiny
from training import registry
from training.engine import saving

from .conftest import state_files

SPEC = registry.get("families", "sd15").SPEC
KINDS = sorted(k for k, b in SPEC.beside.items() if b.shown != "picture")  # which is test_ip_adapter.py's


@pytest.fixture(scope="session")
def controlled(tmp_path_factory):
    """Pictures of which all but the last have their outlines beside them."""
    folder = tiny.pictures(tmp_path_factory.mktemp("controlled") / "with outlines", 5)
    for path in sorted(folder.glob("*.png"))[:4]:
        Image.open(path).filter(ImageFilter.FIND_EDGES).save(path.with_suffix(".control.png"))
    return folder


def of(kind: str, folder, **changes) -> dict:
    return {"adapter__type": kind, "data__datasets": [{"name": str(folder)}], "optimizer__learning_rate": 1e-3, **changes}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_stopped_and_resumed_ends_to_the_bit_where_an_uninterrupted_run_does(lab, controlled, kind):
    changes = of(kind, controlled, steps=4, loss__ema_decay=0.9, sample__every=2, adapter__control_dropout=0.3, data__flip=True)
    whole, parts = lab.run(**changes), lab.run(stop_at=2, **changes)
    assert parts.status() == "stopped"
    lab.go(parts)
    assert parts.status() == whole.status() == "finished", whole.why()
    assert state_files(parts, 4) == state_files(whole, 4)
    assert parts.view().losses == whole.view().losses
    assert any("1 of 5 pictures have no control picture and are left out: picture 4.png" in text for text in whole.view().warnings)


def session_of(lab, run):
    from training.engine import loop
    from training.engine.prepare import prepare
    from training.runs.context import Context

    return loop.Session(run.config(), ctx := Context(run, lab.home, 1), prepare(run.config(), ctx))


def drawing_with(base, run, kind: str):
    """diffusers' own pipeline with the run's result, loaded as anybody would."""
    import diffusers

    beside = SPEC.beside[kind]
    network = getattr(diffusers, beside.network).from_pretrained(run.result(), subfolder=kind)
    pipe = getattr(diffusers, beside.pipeline).from_pretrained(base, **{beside.part: network}, safety_checker=None)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_its_folder_draws_in_diffusers_what_the_samples_show(lab, base, controlled, kind):
    run = lab.run(**of(kind, controlled, steps=3, sample__every=3, optimizer__learning_rate=2e-2))
    assert run.status() == "finished", run.why()
    assert (run.result() / kind / "config.json").is_file()
    saved = load_file(run.path / "checkpoints/000003/adapter.safetensors")
    assert all(k.startswith(f"{kind}.") and v.dtype == torch.float32 for k, v in saved.items())
    first = min(controlled.glob("*.control.png"))
    pipe = drawing_with(base, run, kind)
    control = Image.open(first).convert("RGB").resize((32, 32), Image.Resampling.LANCZOS)
    how = {"num_inference_steps": 2, "width": 32, "height": 32, "guidance_scale": 7.0, "generator": torch.Generator().manual_seed(42)}
    drawn = np.asarray(pipe("zibbo on red", **{SPEC.beside[kind].image: control}, **how).images[0]).astype(int)
    strip = np.asarray(Image.open(run.path / "samples/000003_0.webp")).astype(int)
    shown_control, shown_picture, shown = strip[:, :32], strip[:, 32:64], strip[:, 64:]
    assert strip.shape == (32, 96, 3)
    assert np.abs(shown_control - np.asarray(control)).max() <= 1
    assert np.abs(shown_picture - np.asarray(Image.open(str(first).replace(".control", "")).resize((32, 32), Image.Resampling.LANCZOS))).max() <= 1
    assert (np.abs(drawn - shown) <= 1).mean() > 0.97
    before = np.asarray(Image.open(run.path / "samples/000000_0.webp")).astype(int)[:, 64:]
    assert (before != shown).any()


def test_the_first_step_changes_nothing_and_only_what_hangs_beside_learns(lab, base, controlled):
    run = lab.make(**of("controlnet", controlled, steps=2, sample__every=0))
    session = session_of(lab, run)
    batch = session.feed.at(0)[0]
    side, session.m.side = session.m.side, None
    alone = session.family.predict(session.m, batch.latents, batch.t, batch.cond)
    session.m.side = side
    assert torch.equal(session.family.predict(session.m, batch.latents, batch.t, batch.cond), alone)  # its last convolutions are zero
    frozen = {k: v.clone() for k, v in session.m.denoiser.state_dict().items()}
    begun = session.tensors()
    session.learn()
    assert all(torch.equal(v, frozen[k]) for k, v in session.m.denoiser.state_dict().items())
    assert any(not torch.equal(v, begun[k]) for k, v in session.tensors().items())
    assert not torch.equal(session.family.predict(session.m, batch.latents, batch.t, batch.cond), alone)


def test_the_loss_is_that_of_a_controlnet_put_together_from_diffusers_classes(lab, base, controlled):
    from diffusers import DDPMScheduler

    run = lab.make(**of("controlnet", controlled, steps=3, sample__every=0, data__batch_size=3, optimizer__learning_rate=2e-2))
    session = session_of(lab, run)
    session.learn()
    batch = session.feed.at(1)[0]
    ours = session.objective.loss(session.family, session.m, batch, session.p.schedule, session.config.loss).mean()
    noisy = DDPMScheduler.from_pretrained(base / "scheduler").add_noise(batch.latents, batch.noise, batch.t.long())
    words = {"encoder_hidden_states": batch.cond.tensors["embeds"]}
    said = session.m.side.network(noisy, batch.t, controlnet_cond=batch.cond.tensors["control"], **words)
    noise = session.m.denoiser(noisy, batch.t, down_block_additional_residuals=said.down_block_res_samples, mid_block_additional_residual=said.mid_block_res_sample, **words).sample
    assert float(ours) == pytest.approx(float(torch.nn.functional.mse_loss(noise, batch.noise)), rel=1e-5)


def test_a_control_picture_is_cut_and_mirrored_with_its_picture(lab, tmp_path):
    folder = tmp_path / "wide"
    folder.mkdir()
    picture = np.zeros((64, 96, 3), np.uint8)
    picture[:, :48, 0], picture[:20, :, 1] = 255, 200  # left is red, the top greener
    Image.fromarray(picture).save(folder / "a.png")
    Image.fromarray(picture).resize((192, 128)).save(folder / "a.control.png")  # of another size
    run = lab.make(**of("controlnet", folder, data__flip=True, data__aspect_buckets=False, steps=1))
    session = session_of(lab, run)
    (item,) = session.p.plan.items
    for flip in (False, True):
        control = session.feed._shown(item, flip)["control"]
        assert control.shape == (3, 32, 32)
        assert float((control * 2 - 1 - item.pixels(flip)).abs().mean()) < 0.03
    assert float(session.feed._shown(item, False, dropped=True)["control"].abs().max()) == 0


def test_dropout_blackens_as_many_control_pictures_as_it_says(lab, controlled):
    session = session_of(lab, lab.make(**of("controlnet", controlled, data__batch_size=4, adapter__control_dropout=0.5)))
    black = [float(c.max()) == 0 for step in range(40) for c in session.feed.at(step)[0].cond.tensors["control"]]
    assert 0.38 < np.mean(black) < 0.62 and len(black) == 80


def test_another_control_picture_is_another_training_and_is_noticed_at_resume(lab, controlled, tmp_path):
    import shutil

    folder = tmp_path / "copy"
    shutil.copytree(controlled, folder)
    run = lab.run(stop_at=2, **of("controlnet", folder, steps=4, sample__every=0))
    control = min(folder.glob("*.control.png"))
    Image.open(control).rotate(90).resize(Image.open(control).size).save(control)
    with pytest.raises(ValueError, match="have changed since this checkpoint was written"):
        lab.go(run)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"data__datasets": None}, "no picture has a control picture to learn from; put name.control.png beside name.jpg"),
        ({"keep__on": True}, "keep.on is on, but the adapter 'controlnet' leaves the base model as it is"),
        ({"model__family": "wan21"}, "adapter.type is 'controlnet', but there is no ControlNet for Wan 2.1"),
        ({"data__datasets": "prior"}, "data.datasets has one that is kept as it is"),
    ],
)
def test_what_it_cannot_train_with_is_said_before_long_work(lab, controlled, dataset, change, says):
    if "data__datasets" in change:
        change["data__datasets"] = [{"name": str(dataset)}] if change["data__datasets"] is None else [{"name": str(controlled)}, {"name": str(dataset), "prior": True}]
    with pytest.raises(ValueError, match=says):
        lab.run(**{**of("controlnet", controlled, steps=1), **change})


def test_a_setting_that_does_nothing_beside_the_denoiser_says_so(lab, controlled):
    from training.engine import idle

    config = lab.make(**of("controlnet", controlled, adapter__rank=4, adapter__text_encoder=True)).config()
    said = idle.of_adapter(config, registry.get("adapters", "controlnet"), SPEC)
    assert any("adapter.rank has no effect: the adapter is 'controlnet'" in s for s in said) and any("adapter.text_encoder has no effect" in s for s in said)
    assert "adapter.control_dropout has no effect: the adapter is 'lora'" in idle.of_adapter(
        lab.make(adapter__control_dropout=0.2).config(), registry.get("adapters", "lora"), SPEC
    )


def test_a_t2i_adapters_loss_is_that_of_one_put_together_from_diffusers_classes(lab, base, controlled):
    from diffusers import DDPMScheduler

    session = session_of(lab, lab.make(**of("t2i_adapter", controlled, loss__timestep_law="content", steps=3, sample__every=0, data__batch_size=3)))
    session.learn()
    batch = session.feed.at(1)[0]
    ours = session.objective.loss(session.family, session.m, batch, session.p.schedule, session.config.loss).mean()
    noisy = DDPMScheduler.from_pretrained(base / "scheduler").add_noise(batch.latents, batch.noise, batch.t.long())
    features = session.m.side.network(batch.cond.tensors["control"])
    noise = session.m.denoiser(noisy, batch.t, encoder_hidden_states=batch.cond.tensors["embeds"], down_intrablock_additional_residuals=list(features)).sample
    assert float(ours) == pytest.approx(float(torch.nn.functional.mse_loss(noise, batch.noise)), rel=1e-5)
    times = torch.cat([session.feed.at(step)[0].t for step in range(60)]) / 1000  # the paper's t = 1 - u^3: three in four above 0.58
    assert 0.65 < float((times > 0.578).float().mean()) < 0.85


def test_a_t2i_adapter_fits_the_unets_of_the_released_models():
    from diffusers import T2IAdapter

    adapter = registry.get("adapters", "t2i_adapter")
    for id, first, widths, like in (
        ("sd15", "CrossAttnDownBlock2D", (320, 640, 1280, 1280), {"downscale_factor": 8, "adapter_type": "full_adapter"}),
        ("sdxl", "DownBlock2D", (320, 640, 1280), {"downscale_factor": 16, "adapter_type": "full_adapter_xl"}),
    ):
        unet = SimpleNamespace(config=SimpleNamespace(block_out_channels=widths, down_block_types=(first,)))
        with torch.device("meta"):
            made = adapter.build(registry.get("families", id).SPEC.beside["t2i_adapter"], unet, None, 8, 0, 0)
            released = T2IAdapter(in_channels=3, channels=[320, 640, 1280, 1280], num_res_blocks=2, **like)  # as TencentARC's checkpoints are
        assert {k: v.shape for k, v in made.state_dict().items()} == {k: v.shape for k, v in released.state_dict().items()}


def test_going_on_from_a_finished_network_begins_where_it_ended(lab, controlled):
    first = lab.run(**of("controlnet", controlled, steps=2, sample__every=0))
    ended = load_file(first.path / "checkpoints/000002/adapter.safetensors")
    for source in (str(first.result()), f"{first.id}/2", str(first.result() / "controlnet" / "diffusion_pytorch_model.safetensors")):
        going = lab.make(**of("controlnet", controlled, steps=2, sample__every=0, adapter__start_from=source))
        session = session_of(lab, going)
        saving.resume(session)
        assert all(torch.equal(v, ended[k]) for k, v in session.tensors().items())


@pytest.mark.slow
def test_it_trains_in_half_precision_and_with_recomputed_blocks_on_a_quantised_base(lab, controlled):
    run = lab.run(**of("controlnet", controlled, steps=3, model__dtype="bf16", model__quantise="int8", loss__gradient_checkpointing="all", sample__every=3))
    assert run.status() == "finished", run.why()
    assert {v.dtype for v in load_file(run.result() / "controlnet/diffusion_pytorch_model.safetensors").values()} == {torch.bfloat16}
    assert {v.dtype for v in load_file(run.path / "checkpoints/000003/adapter.safetensors").values()} == {torch.float32}


def test_the_page_offers_it_only_where_the_family_has_it(home):
    from training.formats.beside import is_beside
    from ui.tabs.train import draft

    for id, plugin in registry.find("families").items():
        offered = draft.choices(home, id)["adapter.type"]
        beside = {kind for kind in offered if is_beside(registry.get("adapters", kind))}
        assert beside == set(plugin.module.SPEC.beside) and "lora" in offered


def test_the_plan_says_before_the_start_which_pictures_have_no_control_picture(lab, controlled, dataset):
    from training.data import datasets
    from training.plan.estimate import estimate
    from training.plan.hardware import Machine

    machine = Machine("", 0, 0, 2**34, 2**34, 2**40, "a processor", 2, False, "", (0, 0), False, "")
    for folder in (controlled, dataset):
        datasets.resolve(lab.home, str(folder)).check()  # as the page does before it plans
    plan = lambda folder: estimate(lab.make(**of("controlnet", folder)).config(), machine, 5, lab.home)
    assert any("1 of 5 pictures have no control picture and are left out: picture 4.png" in s for s in plan(controlled).sentences) and plan(controlled).steps_per_epoch
    assert any("no picture has a control picture to learn from" in problem for problem in plan(dataset).problems)


def test_the_estimate_counts_the_weights_that_learn(lab, base, controlled):
    from training.plan import layers

    model = layers.base_model(str(base), "", registry.get("families", "sd15"))
    for kind, apart in (("controlnet", "controlnet_cond_embedding"), ("t2i_adapter", "adapter.conv_in")):  # of one size, whatever the denoiser's is
        network = session_of(lab, lab.make(**of(kind, controlled))).m.side.network
        counted = registry.get("adapters", kind).weights(model.denoiser, SPEC.beside[kind], None)
        assert counted == pytest.approx(sum(p.numel() for name, p in network.named_parameters() if not name.startswith(apart)), rel=0.12)


def equal_folders(one, other) -> bool:
    """Whether two folders hold the same files: weights tensor by tensor, everything else to the byte."""
    names = [sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()) for folder in (one, other)]
    if names[0] != names[1]:
        return False
    for name in names[0]:
        if not name.endswith(".safetensors"):
            if (one / name).read_bytes() != (other / name).read_bytes():
                return False
            continue
        mine, theirs = load_file(one / name), load_file(other / name)
        if list(mine) != list(theirs) or any(mine[k].dtype != theirs[k].dtype or not torch.equal(mine[k], theirs[k]) for k in mine):
            return False
    return True


def published(run, checkpoint, folder):
    """{name in the repository: file} of a checkpoint."""
    from training.hub.publish import plan, publishable

    folder.mkdir()
    return {f.remote: f.local for f in plan(run, checkpoint, (), "card", weights=publishable(run, checkpoint, folder))}


@pytest.mark.parametrize(("kind", "changes"), [("controlnet", {"loss__ema_decay": 0.5}), ("full", {"model__dtype": "bf16", "adapter__include": ["attn2"]})])
def test_one_checkpoint_is_published_as_the_result_is(lab, controlled, tmp_path, monkeypatch, kind, changes):
    run = lab.run(**of(kind, controlled, steps=4, sample__every=0, save__every=2, optimizer__learning_rate=1e-2, **changes))
    assert run.status() == "finished", run.why()
    last, middle = published(run, 4, tmp_path / "last"), published(run, 2, tmp_path / "middle")
    part = "unet" if kind == "full" else kind
    assert sorted(last) == sorted(middle) == ["README.md", f"{part}/config.json", f"{part}/diffusion_pytorch_model.safetensors"]
    assert equal_folders(tmp_path / "last/whole", run.result()) and not equal_folders(tmp_path / "middle/whole", run.result())
    file = "ema" if "loss__ema_decay" in changes else "adapter"
    learnt = load_file(run.path / f"checkpoints/000002/{file}.safetensors")
    made = load_file(middle[f"{part}/diffusion_pytorch_model.safetensors"])
    assert all(torch.equal(made[name.removeprefix(f"{part}.")], tensor.to(made[name.removeprefix(f"{part}.")].dtype)) for name, tensor in learnt.items())
    assert len(learnt) == len(made) or kind == "full"
    _uploads_that_do_not_come_to_their_end(lab, run, monkeypatch)


def _uploads_that_do_not_come_to_their_end(lab, run, monkeypatch):
    """Nothing of the checkpoint's copy stays where it is stopped, or fails."""
    from huggingface_hub import constants, set_client_factory
    from huggingface_hub.utils._http import default_client_factory

    from training.hub.client import HubError
    from training.hub.secrets import Secret
    from training.jobs import publish
    from training.runs.context import Context, Stopped
    from training.runs.run import create

    job = publish.Config(name="p", run=run.id, checkpoint=2, repo_id="ann/x", card="---\nlicense: mit\n---\n", endpoint="http://127.0.0.1:9")
    for stops, fault in ((False, HubError), (True, Stopped)):
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", not stops)
        ctx = Context(create(lab.home.outputs, job), lab.home, 1, secrets={"hf_token": Secret("nobody's")})
        if stops:
            ctx.request_stop()
        try:
            with pytest.raises(fault):
                publish.run(job, ctx)
        finally:
            set_client_factory(default_client_factory)
        assert not list(ctx.run.path.rglob("*.safetensors"))


def test_a_checkpoint_of_a_network_that_is_not_finished_or_of_another_one_is_not_published(lab, controlled, tmp_path):
    from training.commands.weights import export
    from training.formats import ofcheckpoint
    from training.hub.publish import export_weights
    from ui.poll import Watch
    from ui.tabs.publish.tab import _steps

    page = SimpleNamespace(home=lab.home, watch=Watch())
    run = lab.run(stop_at=2, **of("t2i_adapter", controlled, steps=4, sample__every=0))
    with pytest.raises(ValueError, match="can be had once the run has finished"):
        export_weights(run, 2, tmp_path / "none")
    assert _steps(page, run) == []
    lab.go(run)
    assert _steps(page, run) == [2, 4]
    export(run.id, step=4, out=tmp_path / "taken out", home=lab.home.root)
    assert equal_folders(tmp_path / "taken out", run.result())
    weights = load_file(run.path / "checkpoints/000002/adapter.safetensors")
    first = min(weights)
    (tmp_path / "made").mkdir()
    for changed in ({f"{first}_more": weights[first].clone()}, {first: weights[first][:1].clone()}):
        save_file(weights | changed, tmp_path / "odd.safetensors")
        with pytest.raises(ValueError, match="they are of different networks"):
            ofcheckpoint.write_folder(tmp_path / "odd.safetensors", run.result(), tmp_path / "made/x", registry.get("adapters", "t2i_adapter"), "t2i_adapter", "unet")
        assert not list((tmp_path / "made").iterdir())
