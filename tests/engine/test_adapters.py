"""Every kind of adapter: it trains, goes on exactly where it stopped, and its file acts elsewhere as it did here."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from training import registry
from training.config import AdapterPart
from training.engine import adapter_files, saving
from training.formats.adapting import adapter_layers
from training.formats.deliver import deliver

from .conftest import state_files

SPEC = registry.get("families", "sd15").SPEC
KINDS = ["lora", "dora", "lokr", "loha", "oft", "full"]
FILES = ["lora", "dora", "lokr", "loha", "oft"]  # those whose result is one file
# everything that could get lost on the way to another program
BUSY = dict(adapter__targets="all", adapter__alpha=3.0, optimizer__learning_rate=3e-2, sample__every=0)
RANKS = dict(adapter__rank_patterns=[{"pattern": "mid_block", "rank": 4}, {"pattern": r"up_blocks.*to_k$", "rank": 1}])


def of(kind: str) -> dict:
    """Settings that act on this kind."""
    changes = {"adapter__type": kind, "adapter__block_size": 4} if kind == "oft" else {"adapter__type": kind}
    return changes | ({"optimizer__learning_rate": 1e-3} if kind == "full" else {})


def base_unet(base):
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel.from_pretrained(base / "unet").eval()


def answer(unet) -> torch.Tensor:
    """What a denoiser says to fixed noise."""
    draw = torch.Generator().manual_seed(5)
    with torch.no_grad():
        return unet(torch.randn((2, 4, 16, 16), generator=draw), torch.tensor([30, 700]), torch.randn((2, 32, 16), generator=draw)).sample


def through_diffusers(base, file) -> torch.nn.Module:
    from diffusers import StableDiffusionPipeline

    pipe = StableDiffusionPipeline.from_pretrained(base, safety_checker=None)
    pipe.load_lora_weights(str(file.parent), weight_name=file.name)
    return pipe.unet


def through_ours(base, file) -> torch.nn.Module:
    unet = base_unet(base)
    adapter_files.load(file, {"unet": unet}, SPEC)
    return unet.eval()


def test_every_kind_says_what_it_is_and_what_it_uses():
    found = registry.find("adapters")
    assert set(KINDS) <= set(found) and all(p.ok for p in found.values())
    fields = set(AdapterPart.model_fields) - {"type"}
    for plugin in found.values():
        assert plugin.module.TITLE and plugin.module.BLURB and set(plugin.module.USES) <= fields
    assert fields == set().union(*(p.module.USES for p in found.values()))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_stopped_and_resumed_ends_to_the_bit_where_an_uninterrupted_run_does(lab, kind):
    changes = dict(steps=4, loss__ema_decay=0.9, adapter__dropout=0.0 if kind == "full" else 0.3, adapter__targets="all", sample__every=2, **of(kind))
    whole, parts = lab.run(**changes), lab.run(stop_at=2, **changes)
    assert parts.status() == "stopped"
    lab.go(parts)
    assert parts.status() == whole.status() == "finished"
    assert state_files(parts, 4) == state_files(whole, 4)
    assert parts.view().losses == whole.view().losses


@pytest.mark.slow
@pytest.mark.parametrize("kind", FILES)
def test_the_file_acts_as_the_checkpoint_did_in_every_layout_and_loader(lab, base, kind, tmp_path):
    run = lab.run(steps=3, **BUSY, **of(kind), **(RANKS if kind not in ("oft",) else {}), **({"adapter__rslora": True} if kind in ("lora", "dora") else {}))
    checkpoint = run.path / "checkpoints" / "000003"
    # the checkpoint itself, unbaked, by the settings in its own header: what was trained
    with safe_open(checkpoint / "adapter.safetensors", framework="pt") as file:
        header = json.loads(file.metadata()["lora_adapter_metadata"])
    trained = base_unet(base)
    from training.formats.adapting import put

    raw = {k.removeprefix("unet."): v for k, v in load_file(checkpoint / "adapter.safetensors").items()}
    layers = put(trained, raw, {k.removeprefix("unet."): v for k, v in header.items()})
    said = answer(trained.eval())
    effect = float((said - answer(base_unet(base))).abs().max())
    assert effect > 1e-3

    def close(unet):
        assert set(adapter_layers(unet)) == set(layers)
        return float((answer(unet.eval()) - said).abs().max()) <= 1e-6 + 1e-5 * effect

    assert close(through_ours(base, run.result()))
    if kind in SPEC.pipeline_loads:
        assert close(through_diffusers(base, run.result()))
    if kind == "oft":
        with pytest.raises(ValueError, match="OFT adapter has no other layout"):
            deliver(checkpoint, tmp_path / "k.safetensors", {}, False, SPEC, "kohya")
        return
    deliver(checkpoint, tmp_path / "k.safetensors", {}, False, SPEC, "kohya")
    names = load_file(tmp_path / "k.safetensors")
    assert all(k.startswith("lora_unet_") and k.count(".") <= 2 for k in names) and any(k.endswith(".alpha") for k in names)
    assert close(through_ours(base, tmp_path / "k.safetensors"))
    # another program's file has no header of ours: everything is read off names and shapes
    from safetensors.torch import save_file

    if kind != "lokr":  # whose factor for convolutions cannot be told from shapes alone
        save_file(names, tmp_path / "foreign.safetensors")
        assert close(through_ours(base, tmp_path / "foreign.safetensors"))
    if kind == "lora":
        assert close(through_diffusers(base, tmp_path / "k.safetensors"))


@pytest.mark.slow
def test_a_whole_model_is_a_folder_that_from_pretrained_loads(lab, base):
    run = lab.run(steps=2, sample__every=0, **of("full"))
    folder = run.result()
    assert folder == run.path / "tiny" and (folder / "unet" / "config.json").is_file()
    saved = load_file(run.path / "checkpoints/000002/adapter.safetensors")
    from diffusers import UNet2DConditionModel

    loaded = UNet2DConditionModel.from_pretrained(folder / "unet").state_dict()
    assert {f"unet.{k}" for k in loaded} == set(saved)
    assert all(torch.equal(v, saved[f"unet.{k}"]) for k, v in loaded.items())
    assert any(not torch.equal(v, loaded[k]) for k, v in base_unet(base).state_dict().items())


@pytest.mark.slow
def test_a_whole_model_trains_in_half_precision_with_full_precision_weights(lab):
    run = lab.run(steps=2, model__dtype="bf16", adapter__include=["attn", "conv1"], **of("full"))
    saved = load_file(run.path / "checkpoints/000002/adapter.safetensors")
    assert saved and all("attn" in k or "conv1" in k for k in saved) and {v.dtype for v in saved.values()} == {torch.float32}
    result = load_file(run.result() / "unet" / "diffusion_pytorch_model.safetensors")
    assert {v.dtype for v in result.values()} == {torch.bfloat16} and len(result) > len(saved)


@pytest.mark.slow
@pytest.mark.parametrize("kind", FILES)
def test_each_kind_trains_and_is_proven_on_a_base_in_half_precision(lab, kind):
    run = lab.run(steps=4, model__dtype="bf16", adapter__text_encoder=True, adapter__text_learning_rate=2e-2, adapter__targets="all", sample__every=4, **of(kind))
    assert run.status() == "finished", run.why()
    saved = load_file(run.path / "checkpoints/000004/adapter.safetensors")
    assert {v.dtype for v in saved.values()} == {torch.float32} and {v.dtype for k, v in load_file(run.result()).items() if not k.endswith(".alpha")} == {torch.float16}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["lora", "lokr"])
def test_a_trained_text_encoder_is_in_samples_checkpoints_and_the_file(lab, base, kind, tmp_path):
    changes = dict(steps=4, adapter__text_encoder=True, adapter__text_learning_rate=2e-2, loss__ema_decay=0.5, adapter__dropout=0.2, **of(kind))
    whole, parts = lab.run(**changes), lab.run(stop_at=2, **changes)
    lab.go(parts)
    assert whole.status() == "finished", whole.view().error
    assert state_files(parts, 4) == state_files(whole, 4)
    assert parts.result().read_bytes() == whole.result().read_bytes()
    slow = lab.run(**changes | {"adapter__text_learning_rate": 1e-5})
    first, second = (load_file(r.path / "checkpoints/000004/adapter.safetensors") for r in (whole, slow))
    text = [k for k in first if k.startswith("text_encoder.")]
    assert text and any(k.startswith("unet.") for k in first)
    assert any(not torch.equal(first[k], second[k]) for k in text)
    if kind == "lora":
        _draws_the_same_elsewhere(base, whole)
        deliver(whole.path / "checkpoints/000004", tmp_path / "k.safetensors", {}, False, SPEC, "kohya")
        assert any(k.startswith("lora_te_text_model_encoder_layers_0_self_attn_q_proj.") for k in load_file(tmp_path / "k.safetensors"))
        _draws_the_same_elsewhere(base, whole, tmp_path / "k.safetensors")


def _draws_the_same_elsewhere(base, run, file=None):
    from diffusers import StableDiffusionPipeline
    from PIL import Image

    file = file or run.result()
    pipe = StableDiffusionPipeline.from_pretrained(base, safety_checker=None)
    pipe.set_progress_bar_config(disable=True)
    pipe.load_lora_weights(str(file.parent), weight_name=file.name)
    assert len(adapter_layers(pipe.text_encoder)) == 8  # q, k, v, out of two layers
    draw = torch.Generator().manual_seed(42)
    drawn = np.asarray(pipe("zibbo on red", num_inference_steps=2, width=32, height=32, guidance_scale=7.0, generator=draw).images[0])
    shown = np.asarray(Image.open(max(run.path.glob("samples/*_0.webp"))))
    assert (np.abs(drawn.astype(int) - shown.astype(int)) <= 1).mean() > 0.97
    pipe.text_encoder.disable_adapters()
    again = np.asarray(pipe("zibbo on red", num_inference_steps=2, width=32, height=32, guidance_scale=7.0, generator=draw.manual_seed(42)).images[0])
    assert (again != drawn).any()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["dora", "loha", "oft", "full"])
def test_the_model_cards_snippet_draws_what_the_run_showed(lab, kind, monkeypatch):
    from PIL import Image

    run = lab.run(steps=2, sample__every=2, **of(kind))
    code = (run.path / "README.md").read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    assert '"path/to/the/base-model"' in code and '.to("cuda")' in code
    source = run.config().model.source
    for written, here in (
        ('"path/to/the/base-model"', repr(source)), ('.to("cuda")', ""), ("torch.float16", "torch.float32"),
        ("pipeline(", "pipeline.to('cpu')(num_inference_steps=2, width=32, height=32, generator=torch.Generator().manual_seed(42), "),
    ):  # fmt: skip
        code = code.replace(written, here)
    monkeypatch.chdir(run.path)
    drawn: dict = {}
    exec(code, drawn)  # noqa: S102 our own card's snippet: what a reader of it would run
    shown, base_alone = (np.asarray(Image.open(run.path / f"samples/{n:06d}_0.webp")).astype(int) for n in (2, 0))
    assert (np.abs(np.asarray(drawn["image"]).astype(int) - shown) <= 2).mean() > 0.97
    assert (shown != base_alone).any()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["lora", "loha"])
def test_going_on_from_a_finished_adapter_begins_where_it_ended(lab, kind):
    first = lab.run(steps=2, sample__every=0, **of(kind))
    ended = load_file(first.path / "checkpoints/000002/adapter.safetensors")
    for source, alpha in ((str(first.result()), 2.0), (f"{first.id}/2", 4.0)):
        going = lab.make(adapter__start_from=source, steps=2, sample__every=0, **of(kind) | {"adapter__alpha": alpha})
        begun = _begun(lab, going)
        assert set(begun) == set(ended)
        mine = "lora_B.weight" if kind == "lora" else "hada_w1_a"
        for key, tensor in begun.items():
            strength = alpha / 4.0 if key.endswith(mine) else 1.0  # this run's alpha over that one's
            assert torch.allclose(tensor * strength, ended[key], atol=1e-7)


def _begun(lab, run) -> dict:
    from training.engine import loop
    from training.engine.prepare import prepare
    from training.runs.context import Context

    session = loop.Session(run.config(), ctx := Context(run, lab.home, 1), prepare(run.config(), ctx))
    saving.resume(session)
    return session.tensors()


@pytest.mark.slow
def test_an_adapter_that_does_not_fit_is_refused_in_words(lab, tmp_path):
    first = lab.run(steps=1, sample__every=0)
    for changes, says in (
        ({"adapter__rank": 3}, r"is 2x\d+ there and 3x\d+ here; set adapter.rank"),
        ({"adapter__targets": "attention+ff"}, "in this run but not in it .* set adapter.targets"),
        ({"adapter__type": "loha"}, "another kind of adapter"),
        ({"adapter__text_encoder": True}, "it is for unet, and this run trains text_encoder and unet"),
        ({"adapter__start_from": f"{first.id}/7"}, "has no checkpoint '7'; there are: 1"),
        ({"adapter__start_from": "nothing like it"}, "no file .* and no such run"),
        ({"adapter__start_from": "alice/her-lora"}, "the Hub cannot be reached"),
    ):
        with pytest.raises(ValueError, match=says):
            lab.run(**{"adapter__start_from": first.id, "steps": 1, **changes})


@pytest.mark.slow
def test_layers_are_chosen_by_name_and_may_have_ranks_of_their_own(lab):
    run = lab.run(steps=1, sample__every=0, adapter__include=["up_blocks", "mid_block"], adapter__exclude=[r"attn2\.to_(k|v)$"], **RANKS)
    saved = load_file(run.path / "checkpoints/000001/adapter.safetensors")
    ranks = {k.removesuffix(".lora_A.weight"): v.shape[0] for k, v in saved.items() if k.endswith("lora_A.weight")}
    assert all(("up_blocks" in n or "mid_block" in n) and not n.endswith(("attn2.to_k", "attn2.to_v")) for n in ranks)
    assert {r for n, r in ranks.items() if "mid_block" in n} == {4}
    assert {r for n, r in ranks.items() if "up_blocks" in n and n.endswith("to_k")} == {1}
    assert {r for n, r in ranks.items() if "up_blocks" in n and not n.endswith("to_k")} == {2}
    for changes, says in (
        ({"adapter__include": ["down_blocks.7"]}, "adapter.include has 'down_blocks.7', but no layer's name holds that"),
        ({"adapter__exclude": ["attn"]}, "leave no layer"),
        ({"adapter__rank_patterns": [{"pattern": "conv", "rank": 2}]}, "adapter.rank_patterns has 'conv', but no chosen layer"),
    ):
        with pytest.raises(ValueError, match=says):
            lab.run(**changes)
    with pytest.raises(ValueError, match="not a regular expression"):
        lab.make(adapter__include=["a("])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"adapter__type": "full", "adapter__rank": 4}, "adapter.rank has no effect: the adapter is 'full'"),
        ({"adapter__type": "full", "adapter__text_encoder": True}, "adapter.text_encoder has no effect: the adapter is 'full'"),
        ({"adapter__type": "oft", "adapter__block_size": 4, "adapter__alpha": 4.0}, "adapter.alpha has no effect: the adapter is 'oft'"),
        ({"adapter__type": "loha", "adapter__rslora": True}, "adapter.rslora has no effect"),
        ({"adapter__factor": 4}, "adapter.factor has no effect"),
        ({"adapter__block_size": 4}, "adapter.block_size has no effect"),
        ({"adapter__text_learning_rate": 1e-3}, "adapter.text_learning_rate has no effect: adapter.text_encoder is off"),
        (
            {"adapter__text_encoder": True, "adapter__text_learning_rate": 1e-3, "optimizer__type": "prodigy", "optimizer__learning_rate": 1.0},
            "Prodigy finds the rates itself",
        ),
    ],
)
def test_a_setting_that_a_kind_does_not_use_says_so(lab, change, says):
    from training.engine import idle

    config = lab.make(**change).config()
    assert any(says in text for text in idle.of_adapter(config, registry.get("adapters", config.adapter.type), SPEC))


def test_what_must_stay_is_asked_of_the_base_model_words_included(lab, tmp_path):
    from tests import tiny
    from training.engine import loop
    from training.engine.prepare import prepare
    from training.family import Cond
    from training.runs.context import Context

    kept = {"name": str(tiny.pictures(tmp_path / "kept", 3)), "prior": True}
    run = lab.make(data__datasets=[lab.make().job()["data"]["datasets"][0], kept], adapter__text_encoder=True, adapter__text_learning_rate=1e-2, data__batch_size=8, steps=2)
    session = loop.Session(run.config(), ctx := Context(run, lab.home, 1), prepare(run.config(), ctx))
    batch = session.feed.at(0)[0]
    batch = batch if batch.prior else session.feed.at(1)[0]
    untouched = session._said_by_base(batch)
    session.learn()
    assert torch.equal(session._said_by_base(batch), untouched)
    said = session.family.predict(session.m, batch.latents, batch.t, Cond.of([session.p.texts.row(c) for c in batch.captions]))
    assert not torch.equal(said[batch.prior], untouched)


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["adamw8bit", "adafactor", "prodigy"])
def test_two_learning_rates_are_resumed_exactly_by_every_optimizer(lab, optimizer):
    changes = dict(steps=4, sample__every=0, optimizer__type=optimizer, adapter__text_encoder=True, adapter__text_learning_rate=3e-3, optimizer__warmup_steps=1)
    if optimizer == "prodigy":
        changes["optimizer__learning_rate"] = 1.0
    whole, parts = lab.run(**changes), lab.run(stop_at=2, **changes)
    lab.go(parts)
    assert state_files(parts, 4) == state_files(whole, 4)
