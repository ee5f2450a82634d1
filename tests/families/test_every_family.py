"""What every family must hold, proven on a toy of the real classes: tests/families/<id>.py builds it.

A toy module has `build(folder)`, `SIDE` (px of a square training picture) and `SIZE` ((height, width) px, not square).  Where the
pipeline holds latents in another layout than [B,C,h,w], `to_pipe(m, latents)`, and where it gives them back in yet another one,
`from_pipe(m, latents, shape)`; where the denoiser does not answer with a tuple of one tensor in that layout, `as_answer(m, latents)`;
where training pictures are not pictures, `dataset(folder)`; for video `FRAMES`; `shown()`, a first frame of SIZE, where clips begin with one; `JOB` and `SAMPLE` for settings of the job and of its
`sample` part; `FIRST_T` where the scheduler does not begin at 1; `PROMPTED` for what the pipeline's call needs to encode a prompt on the
toy; `CALL` for what the public pipeline's call needs to draw at a size; `shrink(put)` where references are larger than a toy can take, which
puts smaller sizes into diffusers' modules and ours; `opened(cls, folder)` where the public pipeline opens the folder in another way than most; `TRIMMED` where cached text leaves out what the pipeline pads and hides; `mend(pipe)` for a fault of the pipeline that would hide ours; and
`ALIKE`, the family that it shares all but its denoisers with, on which is proven what those have no part in (learns_as_another).
Where a training does not make the first of the pipeline's calls, `AT` is the number of that which it makes, `ASKED` what the pipeline is asked with so
that it makes it, and takes its walk from it, and `ASIDE` names arguments that do not reach what is trained: of the answer the first tensor.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
import subprocess
import sys
from functools import cache
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

import training.families
from tests import tiny
from tests.engine.conftest import lab, state_files  # noqa: F401 a fixture
from training import registry
from training.engine import noise
from training.engine.experts import Experts
from training.family import GEOMETRY, REFERENCE, Cond, Placement

FAMILIES = sorted(m.name for m in pkgutil.iter_modules(training.families.__path__))
# one of those that are trained alike: the run around the model is the same for them
OF_EACH_KIND = sorted({(spec.prediction, spec.latent.video): id for id in FAMILIES if (spec := registry.get("families", id).SPEC) and not (spec.experts or spec.first_frame)}.values())
CAPTIONS = ("a cat", "an old wooden castle near a huge river and a painted glass robot on a tiny green horse")


@pytest.fixture(scope="session", params=[id if id in OF_EACH_KIND else pytest.param(id, marks=pytest.mark.slow) for id in FAMILIES])
def kit(request, tmp_path_factory):
    """A family with its toy: kit.family, kit.toy, kit.folder, kit.m (the denoiser and VAE), kit.rows(caption)."""
    return _kit(request.param, str(tmp_path_factory.getbasetemp()))


@cache
def _kit(id: str, scratch: str):
    from pathlib import Path

    toy = importlib.import_module(f"tests.families.{id}")
    folder = toy.build(Path(scratch) / f"toy {id}")
    family = registry.get("families", id)
    spec, place = family.SPEC, Placement(torch.float32, "cpu")
    shown = [picture(n) for n in (1, 2)][: spec.references.most] if spec.references and spec.references.needed else []
    with pytest.MonkeyPatch.context() as patch, torch.no_grad():
        if hasattr(toy, "shrink"):
            toy.shrink(patch.setattr)
        rows = {}
        for caption in (*CAPTIONS, ""):
            rows[caption] = {}
            for encoder in spec.parts["text"]:  # one at a time, as the engine does
                alone = family.load(folder, {encoder}, place)
                rows[caption] |= family.encode_instruction(alone, caption, shown) if shown and spec.references.read else family.encode_text(alone, [caption])[0]
        m = family.load(folder, {spec.denoiser, *spec.parts["vae"], *spec.parts.get("eye", ())}, place)
        if spec.first_frame:
            first = family.encode_first(m, toy.shown(), toy.FRAMES)
            rows = {caption: row | first for caption, row in rows.items()}
        made_from = {REFERENCE.format(n=n): encoded(family, m, picture)[0] for n, picture in enumerate(shown)}
    schedule = noise.read_schedule(m.scheduler.config, spec.prediction)
    return SimpleNamespace(id=id, family=family, spec=spec, toy=toy, folder=folder, m=m, rows=rows, schedule=schedule, shown=shown, made_from=made_from)


def picture(seed: int) -> Image.Image:
    """What something is made from, of a shape of its own."""
    pixels = torch.randint(0, 256, (30 + 20 * seed, 60, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))
    return Image.fromarray(pixels.numpy())


def encoded(family, m, picture):
    """The latents of a reference, prepared as the pipelines prepare it."""
    from diffusers.image_processor import VaeImageProcessor

    width, height = family.reference_size(*picture.size)
    return family.encode_reference(m, VaeImageProcessor().preprocess(picture, height, width))


def given(kit) -> dict:
    """The argument by which the pipeline's call is shown what it needs to be shown."""
    takes = kit.spec.references
    return {takes.image: kit.shown if takes.several else kit.shown[0]} if kit.shown else {}


def learns_as_another(kit) -> None:
    """Skips what another family proves for this one too."""
    if like := getattr(kit.toy, "ALIKE", ""):
        pytest.skip(f"proven on {like}")


def conditioned(kit, *captions, size=None) -> Cond:
    h, w = size or kit.toy.SIZE
    return Cond.of([kit.rows[c] | kit.made_from | {GEOMETRY: torch.tensor([h, w, 0, 0, h, w])} for c in captions])


def latents_like(kit, count: int, seed: int = 0):
    """Random latents of kit.toy.SIZE."""
    h, w = kit.toy.SIZE
    frames = getattr(kit.toy, "FRAMES", None)
    pixels = torch.zeros(1, 3, *([frames] if frames else []), h, w)
    with torch.no_grad():
        shape = kit.family.encode_image(kit.m, pixels, torch.Generator().manual_seed(0)).shape[1:]
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(seed))


def to_pipe(kit, x):
    return kit.toy.to_pipe(kit.m, x) if hasattr(kit.toy, "to_pipe") else x


def as_answer(kit, x):
    return kit.toy.as_answer(kit.m, x) if hasattr(kit.toy, "as_answer") else (to_pipe(kit, x),)


def draw(kit, latents, caption: str, steps: int):
    """The latents, in the pipeline's layout, that its own call comes to from `latents`, without guidance by a second pass."""
    return called(kit, kit.m, latents, steps, kit.family.draw_args(kit.m, conditioned(kit, caption), conditioned(kit, ""), 1.0))


def called(kit, m, latents, steps: int, args: dict):
    """The latents that the pipeline over `m` comes to, called with `args`."""
    pipe = kit.family.pipeline(m)
    pipe.set_progress_bar_config(disable=True)
    args = args | getattr(kit.toy, "ASKED", {})
    if hasattr(kit.toy, "mend"):
        kit.toy.mend(pipe)
    h, w = kit.toy.SIZE
    frames = getattr(kit.toy, "FRAMES", None)
    with torch.no_grad():
        out = pipe(
            **args, **given(kit), latents=to_pipe(kit, latents).clone(), num_inference_steps=steps, height=h, width=w, output_type="latent",
            **({"num_frames": frames} if frames else {}), **({"image": kit.toy.shown()} if kit.spec.first_frame else {}),
        )  # fmt: skip
    return out.frames if hasattr(out, "frames") else out.images


def flat(values) -> dict[str, torch.Tensor]:
    """The tensors in a call's arguments, by where they stand."""
    found = {}
    for name, value in values.items():
        if torch.is_tensor(value):
            found[name] = value
        elif isinstance(value, dict):
            found |= {f"{name}.{k}": v for k, v in flat(value).items()}
        elif isinstance(value, (list, tuple)):
            found |= {f"{name}.{k}": v for k, v in flat(dict(enumerate(value))).items()}
    return found


def calls(denoiser, run) -> list[tuple[dict, object]]:
    """[(arguments by name, answer)] of every call of the denoiser, or of the experts that it is made of, during run()."""
    import inspect

    asked = asked_of(denoiser)
    seen, signature = [], inspect.signature(type(asked[0]).forward)

    def note(module, args, kwargs, answer):
        bound = signature.bind(module, *args, **kwargs).arguments
        bound.pop("self")
        seen.append((flat(bound), answer[0] if isinstance(answer, tuple) else answer))

    hooks = [network.register_forward_hook(note, with_kwargs=True) for network in asked]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    return seen


def asked_of(denoiser) -> list:
    """The networks that a pipeline asks: the denoiser, or both experts."""
    return list(denoiser.children()) if isinstance(denoiser, Experts) else [denoiser]


def test_predict_makes_the_call_that_the_pipeline_makes(kit):
    noisy = latents_like(kit, 1)
    theirs, their_answer = calls(kit.m.denoiser, lambda: draw(kit, noisy, CAPTIONS[1], 2))[getattr(kit.toy, "AT", 0)]
    if kit.spec.prediction == "flow":
        t, ours_in = torch.full((1,), getattr(kit.toy, "FIRST_T", 1.0)), noisy
    else:
        t, ours_in = theirs["timestep"].reshape(1).long(), theirs["sample"]  # the scheduler scales its own way
    with torch.no_grad():
        ((ours, our_answer),) = calls(kit.m.denoiser, lambda: kit.family.predict(kit.m, ours_in, t, conditioned(kit, CAPTIONS[1])))
    for name, value in theirs.items():
        if name in getattr(kit.toy, "ASIDE", ()):
            continue
        if name not in ours:
            assert "mask" in name and value.all(), f"the pipeline passes {name}, predict() does not"  # a mask that hides nothing can be left out
            continue
        torch.testing.assert_close(ours[name].float().squeeze(), value.float().squeeze(), atol=1e-5, rtol=1e-5, msg=lambda text, name=name: f"{name}: {text}")
    for one, other in zip(flat({"": our_answer}).values(), flat({"": their_answer}).values(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("caption", CAPTIONS)
def test_cached_text_is_what_the_pipeline_makes_of_the_prompt(kit, caption):
    args = kit.family.draw_args(kit.m, conditioned(kit, caption), conditioned(kit, ""), 3.0)
    plain = {k: v for k, v in args.items() if isinstance(v, (int, float))} | getattr(kit.toy, "PROMPTED", {})
    whole = kit.family.load(kit.folder, {p for ps in kit.spec.parts.values() for p in ps}, Placement(torch.float32, "cpu"))
    start, trimmed = latents_like(kit, 1), getattr(kit.toy, "TRIMMED", False)
    ours = calls(kit.m.denoiser, lambda: called(kit, kit.m, start, 2, args))
    theirs = calls(whole.denoiser, lambda: called(kit, whole, start, 2, {"prompt": caption} | plain))
    for (our, our_answer), (their, their_answer) in zip(ours, theirs, strict=True):
        for name in our.keys() | their.keys():
            if name not in our or name not in their:
                assert "mask" in name and (trimmed or (our | their)[name].all()), f"{name} is on one side only"
                continue
            if trimmed and our[name].shape != their[name].shape:
                continue
            torch.testing.assert_close(our[name].float(), their[name].float(), atol=1e-5, rtol=1e-5, msg=lambda text, name=name: f"{name}: {text}")
        for one, other in zip(flat({"": our_answer}).values(), flat({"": their_answer}).values(), strict=True):
            torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def test_two_captions_of_different_length_do_not_mix(kit):
    noisy = latents_like(kit, 2)
    t = torch.tensor([kit.schedule.at(0.3), kit.schedule.at(0.7)])
    with torch.no_grad():
        together = kit.family.predict(kit.m, noisy, t, conditioned(kit, *CAPTIONS))
        alone = [kit.family.predict(kit.m, noisy[i : i + 1], t[i : i + 1], conditioned(kit, CAPTIONS[i])) for i in range(2)]
        both = conditioned(kit, *CAPTIONS).tensors
        padded = [kit.family.predict(kit.m, noisy[i : i + 1], t[i : i + 1], Cond({name: told[i : i + 1] for name, told in both.items()})) for i in range(2)]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(together, torch.cat(padded), atol=1e-5, rtol=1e-4)
    assert not torch.equal(*alone)


def test_the_sampler_walks_from_noise_to_the_picture_along_the_training_target(kit, monkeypatch):
    start, clean = latents_like(kit, 1, seed=1), latents_like(kit, 1, seed=2)
    asked = asked_of(kit.m.denoiser)
    forwards = [network.forward for network in asked]

    def answering(how):
        for network in asked:
            monkeypatch.setattr(network, "forward", how)

    if kit.spec.prediction == "flow":
        raw = start - clean
        answering(lambda *a, **k: as_answer(kit, raw))
        said = kit.family.predict(kit.m, start, torch.ones(1), conditioned(kit, CAPTIONS[0]))
        if (said - raw).abs().max() > 1e-6:  # the network itself points the other way
            raw = clean - start
            said = kit.family.predict(kit.m, start, torch.ones(1), conditioned(kit, CAPTIONS[0]))
        torch.testing.assert_close(said, kit.schedule.target(clean, start, torch.ones(1)), atol=1e-6, rtol=1e-6)
    else:

        def oracle(sample, timestep, *a, **k):
            signal, grain = kit.schedule.signal_and_noise(timestep.reshape(1).long(), sample)
            return (kit.schedule.target(clean, (sample - signal * clean) / grain, timestep.reshape(1).long()),)

        answering(oracle)
        if "set_alpha_to_one" in kit.m.scheduler.config:  # off, DDIM deliberately stops one timestep short of the clean picture
            whole_way = type(kit.m.scheduler).from_config(kit.m.scheduler.config, set_alpha_to_one=True)
            monkeypatch.setattr(kit.m, "scheduler", whole_way)
    end = draw(kit, start, CAPTIONS[0], 4)
    for network, forward in zip(asked, forwards, strict=True):
        monkeypatch.setattr(network, "forward", forward)
    if hasattr(kit.toy, "from_pipe"):
        torch.testing.assert_close(kit.toy.from_pipe(kit.m, end, clean.shape), clean, atol=1e-5, rtol=1e-5)
    else:
        torch.testing.assert_close(end.reshape(to_pipe(kit, clean).shape), to_pipe(kit, clean), atol=1e-5, rtol=1e-5)


def test_pictures_encode_to_about_what_the_decoder_takes(kit):
    h, w = kit.toy.SIZE
    frames = getattr(kit.toy, "FRAMES", None)
    pixels = torch.rand(1, 3, *([frames] if frames else []), h, w) * 2 - 1
    with torch.no_grad():
        once, again = (kit.family.encode_image(kit.m, pixels, torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(once, again) and once.dtype == torch.float32 and torch.isfinite(once).all()
    stride, divisor = kit.family.grid({p: json.loads((kit.folder / p / "config.json").read_text()) for ps in kit.spec.parts.values() for p in ps})
    assert tuple(once.shape[-2:]) == (h // stride, w // stride)
    assert h % divisor == w % divisor == 0 and divisor % stride == 0


def test_every_group_of_layers_takes_an_adapter_and_holds_the_one_before(kit):
    from peft import LoraConfig
    from peft.tuners.tuners_utils import BaseTunerLayer

    wrapped = [set()]
    for group in ("attention", "attention+ff", "all"):
        denoiser = asked_of(kit.family.load(kit.folder, {kit.spec.denoiser}, Placement(torch.float32, "cpu")).denoiser)[0]
        denoiser.add_adapter(LoraConfig(r=2, target_modules=list(kit.spec.lora_targets[group])))
        wrapped.append({name for name, layer in denoiser.named_modules() if isinstance(layer, BaseTunerLayer)})
        assert wrapped[-2] < wrapped[-1]


def job(kit, dataset, **changes):
    """Changes that turn the tiny SD 1.5 job into one of this family."""
    return {
        "model__family": kit.id, "model__source": str(kit.folder), "data__datasets": [{"name": str(dataset)}], "data__resolutions": [kit.toy.SIDE],
        "sample__width": kit.toy.SIZE[1], "sample__height": kit.toy.SIZE[0], "sample__guidance": 3.0,
        **{f"sample__{k}": v for k, v in getattr(kit.toy, "SAMPLE", {}).items()}, **getattr(kit.toy, "JOB", {}), **changes,
    }  # fmt: skip


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    return tiny.pictures(tmp_path_factory.mktemp("pictures"), 4)


@pytest.fixture
def dataset(kit, pictures, tmp_path):
    return kit.toy.dataset(tmp_path / "data") if hasattr(kit.toy, "dataset") else pictures


@pytest.fixture
def base(kit):
    return kit.folder


@pytest.mark.slow
def test_training_learns_is_resumed_exactly_and_the_lora_draws_the_same_in_another_process(kit, lab, dataset, elsewhere, tmp_path):  # noqa: F811
    changes = job(kit, dataset, steps=25, save__every=10, sample__every=0, adapter__targets="attention+ff", save__keep=20, keep__on=not kit.shown)
    whole = lab.run(**changes)
    assert whole.status() == "finished", whole.why()
    losses = [e["loss"] for e in whole.events()[0] if e["kind"] == "step"]
    assert sum(losses[-6:]) < sum(losses[:6])

    parted = lab.go(lab.run(stop_at=13, **changes))
    assert parted.status() == "finished", parted.why()
    assert state_files(parted, 25) == state_files(whole, 25)

    once, again = (_drawn(kit, elsewhere, whole.result(), tmp_path / f"{n}.pt") for n in (1, 2))
    assert not torch.equal(once["base"], once["lora"])
    assert torch.equal(once["lora"], again["lora"])


@pytest.fixture(scope="session")
def elsewhere():
    with subprocess.Popen([sys.executable, "-m", "tests.families.draw"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process


def _drawn(kit, elsewhere, lora, out) -> dict:
    """What another process draws with the public pipeline: without the LoRA, and with it."""
    loras = [(str(lora), {})]
    if kit.spec.experts:  # the other file lies beside it
        loras = [(str(lora).replace(kit.spec.experts[0].ending, e.ending), {e.asked: True} if e.asked else {}) for e in kit.spec.experts]
    order = {"folder": str(kit.folder), "family": kit.id, "loras": loras, "out": str(out), "size": kit.toy.SIZE, "frames": getattr(kit.toy, "FRAMES", None)}
    order |= {"begins": kit.spec.first_frame}
    order |= {"image": kit.spec.references and kit.spec.references.image, "shown": [str(out.with_suffix(f".{n}.png")) for n in range(len(kit.shown))]}
    for picture, file in zip(kit.shown, order["shown"], strict=True):
        picture.save(file)
    print(json.dumps(order), file=elsewhere.stdin, flush=True)
    assert elsewhere.stdout.readline() == "0\n"
    return torch.load(out, weights_only=True)


@pytest.mark.slow
def test_the_base_can_be_asked_beside_what_learns(kit, lab, dataset):  # noqa: F811
    """One step that keeps the base: an untouched adapter says what the base says, whatever the sentence's length, so it costs nothing; a moved one does."""
    learns_as_another(kit)
    from training.engine.loop import Session
    from training.engine.prepare import prepare
    from training.runs.context import Context

    run = lab.make(**job(kit, dataset, steps=1, sample__every=0, adapter__targets="attention", keep__on=True, keep__share=1.0, keep__prompts=list(CAPTIONS)))
    if kit.shown:
        with pytest.raises(ValueError, match="reads the pictures with each sentence"):
            lab.go(run)
        return
    session = Session(run.config(), ctx := Context(run, lab.home, 1), prepare(run.config(), ctx))
    batch = next(b for b in session.feed.at(0) if b.keeps)
    batch.base = session._said_by_base(batch)
    cost = lambda: session.objective.loss(session.family, session.m, batch, session.p.schedule, session.config.loss).detach()
    assert cost().max() < 1e-9
    with torch.no_grad():
        for weight in session.weights:
            weight.add_(0.05)
    assert torch.equal(batch.base, session._said_by_base(batch)) and cost().min() > 0


@pytest.mark.slow
def test_the_base_draws_what_is_held(kit, lab, dataset):  # noqa: F811
    """Sentences of different lengths, by the family's pipeline, at the size of the learnt pictures; then it learns."""
    learns_as_another(kit)
    if kit.shown:
        pytest.skip("nothing is held where edits alone are learnt, which the test before this one shows")
    run = lab.run(**job(kit, dataset, steps=2, sample__every=0, adapter__targets="attention", keep__on=True, keep__share=1.0, keep__drawn=3, keep__prompts=list(CAPTIONS), data__frames=1, sample__frames=1))
    assert run.status() == "finished", run.why()


@pytest.mark.slow
def test_a_run_in_bf16_with_gradient_checkpointing_keeps_near_the_plain_one(kit, lab, dataset):  # noqa: F811
    learns_as_another(kit)
    changes = job(kit, dataset, steps=8, sample__every=8, adapter__targets="all")
    plain, half = (lab.run(**changes | more) for more in ({}, {"model__dtype": "bf16", "loss__gradient_checkpointing": True}))
    assert half.status() == "finished", half.why()
    exact, rough = (torch.tensor([e["loss"] for e in run.events()[0] if e["kind"] == "step"]) for run in (plain, half))
    torch.testing.assert_close(rough[0], exact[0], atol=0.0, rtol=0.05)
    torch.testing.assert_close(rough.sum(), exact.sum(), atol=0.0, rtol=0.15)  # they drift apart as they learn
    assert any(e["kind"] == "sample" for e in half.events()[0])


@pytest.mark.slow
@pytest.mark.parametrize("kit", OF_EACH_KIND, indirect=True)
@pytest.mark.parametrize("when", ["loading text encoder", "reading captions", "encoding pictures", "drawing samples", "training"])
def test_stop_works_in_every_phase(kit, lab, dataset, when):  # noqa: F811
    run = lab.make(**job(kit, dataset, steps=4))
    lab.go(run, stop_in=when)
    assert run.status() == "stopped", run.why()
    assert lab.go(run).status() == "finished", run.why()
