"""Kinds of adapter on every family: each trains, its result is loaded again and acts the same, in each layout that there is.

A family meets LoRA, the kinds that its pipeline is said to load, and two others by turns, so that each kind meets a third of all families.
"""

from __future__ import annotations

import shutil

import pytest
import torch
from PIL import Image, ImageFilter
from safetensors import safe_open

from tests.engine.conftest import lab  # noqa: F401 a fixture
from tests.engine.test_ip_adapter import encoder  # noqa: F401 a fixture
from training import registry
from training.engine import adapter_files
from training.engine.experts import networks
from training.family import Placement
from training.formats.adapting import is_whole
from training.formats.beside import is_beside
from training.formats.deliver import deliver, offers
from training.formats.halves import together

from .test_every_family import CAPTIONS, FAMILIES, base, conditioned, dataset, job, kit, latents_like, learns_as_another, pictures  # noqa: F401 fixtures

pytestmark = pytest.mark.slow
KINDS = sorted(id for id, plugin in registry.find("adapters").items() if not is_beside(plugin.module) and not hasattr(plugin.module, "FILE"))  # one with FILE is another kind in every file: tests/engine/test_tlora.py
ASKED = 0.4  # share of the way through the noise levels at which answers are compared
BESIDE = sorted(id for id, plugin in registry.find("adapters").items() if is_beside(plugin.module))


def met(family: str) -> list[str]:
    """The kinds that a family is trained with here."""
    loaded = {"lora", *registry.get("families", family).SPEC.pipeline_loads}
    others = [kind for kind in KINDS if kind != "lora"]
    at = 2 * FAMILIES.index(family)
    return sorted((loaded & set(KINDS)) | {others[(at + n) % len(others)] for n in range(2)})


def hung(kind: str) -> list[str]:
    """The families that a kind can hang beside, and one that it cannot."""
    can = [family for family in FAMILIES if kind in registry.get("families", family).SPEC.beside]
    return [*can, *[family for family in FAMILIES if family not in can][:1]]


@pytest.mark.parametrize(("kit", "kind"), [(family, kind) for family in FAMILIES for kind in met(family)], indirect=["kit"])
def test_it_trains_and_acts_the_same_when_it_is_loaded_again(kit, lab, dataset, kind, tmp_path):  # noqa: F811
    adapter = registry.get("adapters", kind)
    if kind not in ("lora", "full") or kit.spec.first_frame:
        learns_as_another(kit)
    text = {"adapter__text_encoder": True} if kit.spec.trainable_text and "text_encoder" in adapter.USES else {}
    lively = {"optimizer__learning_rate": 1e-3 if is_whole(adapter) else 2e-2, "adapter__text_learning_rate": 2e-2}
    changes = job(kit, dataset, steps=3, sample__every=0, adapter__type=kind, adapter__targets="all", adapter__block_size=4, adapter__rank=3, **text, **lively)
    if is_whole(adapter) and kit.spec.experts:
        with pytest.raises(ValueError, match="has two denoisers, which learn by adapters only"):
            lab.run(**changes)
        return
    run = lab.run(**changes)
    assert run.status() == "finished", run.why()  # which it is only after the result was loaded again and compared
    if is_whole(adapter):
        assert (run.result() / kit.spec.denoiser / "config.json").is_file()
        return
    checkpoint = run.path / "checkpoints" / "000003"
    with safe_open(checkpoint / "adapter.safetensors", framework="pt") as file:
        found = {k.split(".", 1)[0] for k in file.keys()}  # noqa: SIM118
    assert found == {*kit.spec.parts["denoiser"], *(kit.spec.trainable_text if text else ())}
    main, *others = offers(kit.spec, kind, adapter, kit.spec.learning("both"))
    assert run.result().name == main.file_name("tiny")
    first, plain = (_answer(kit, file, bool(text)) for file in (run.result(), None))
    for name in plain:
        assert float((first[name] - plain[name]).abs().max()) > 1e-4, f"{name} was not changed"
    for offer in (o for o in others if not o.expert or o.expert.called == "low"):  # which answers at that level
        other = tmp_path / offer.file_name("other")
        deliver(checkpoint, other, {}, half=False, spec=kit.spec, layout=offer.layout, expert=offer.expert)
        second = _answer(kit, other, bool(text))
        for name in plain:
            torch.testing.assert_close(first[name], second[name], atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize(("kit", "kind"), [(family, kind) for kind in BESIDE for family in hung(kind)], indirect=["kit"])
def test_what_hangs_beside_it_trains_and_acts_the_same_when_it_is_loaded_again(kit, lab, dataset, encoder, kind, tmp_path):  # noqa: F811
    learns_as_another(kit)
    folder = tmp_path / "with outlines"
    shutil.copytree(dataset, folder, ignore=shutil.ignore_patterns(".easel"))
    for path in [p for p in folder.iterdir() if p.suffix == ".png"]:
        Image.open(path).convert("RGB").filter(ImageFilter.FIND_EDGES).save(path.with_suffix(".control.png"))
    changes = job(kit, folder, steps=3, sample__every=3, adapter__type=kind, optimizer__learning_rate=2e-2)
    if kind == "ip_adapter":
        changes["adapter__image_encoder"] = str(encoder)
    if kind not in kit.spec.beside:
        with pytest.raises(ValueError, match=f"adapter.type is '{kind}', but there is no"):
            lab.run(**changes)
        return
    run = lab.run(**changes)
    assert run.status() == "finished", run.why()  # which it is only after the result was loaded again by diffusers' own class and compared
    assert (run.result() / kind / "config.json").is_file()
    assert Image.open(run.path / "samples/000003_0.webp").width == (2 if kind == "ip_adapter" else 3) * run.config().sample.width


def _answer(kit, file, texts: bool) -> dict[str, torch.Tensor]:  # noqa: F811
    """What fresh modules with the adapter of `file` say: the denoiser, and, with `texts`, each text encoder that it trains."""
    place = Placement(torch.float32, "cpu")
    m = kit.family.load(kit.folder, {kit.spec.denoiser, *kit.spec.trainable_text}, place)
    if file is not None:
        for half in together(file, kit.spec):
            adapter_files.load(half, {**networks(m.denoiser, kit.spec), **m.text_encoders}, kit.spec)
    t = torch.tensor([kit.schedule.at(ASKED)])
    with torch.no_grad():
        said = {kit.spec.denoiser: kit.family.predict(m, latents_like(kit, 1), t, conditioned(kit, CAPTIONS[0]))}
        if texts:
            rows = kit.family.encode_text(m, [CAPTIONS[0]])[0]
            said |= {name: tensor for name, tensor in rows.items() if tensor.is_floating_point()}
    return said
