"""Every family draws in the drawing job what its own pipeline draws, and starts from a picture where diffusers has a pipeline for that."""

from __future__ import annotations

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from tests.engine.conftest import _Stopping
from training import jobfile, registry
from training.data.frames import fitting
from training.family import Cond, Placement
from training.runs.run import create

from .test_every_family import CAPTIONS, conditioned, kit  # noqa: F401 a fixture


def drawn(home, kit, **changes):  # noqa: F811
    height, width = kit.toy.SIZE
    data = {
        "kind": "generate", "name": "toy", "model": {"family": kit.id, "source": str(kit.folder)}, "prompts": [CAPTIONS[1]], "sizes": [[width, height]],
        "steps": 2, "guidance": 3.0, "frames": getattr(kit.toy, "FRAMES", 1),
    } | changes  # fmt: skip
    config = jobfile.parse(registry.get("jobs", "generate").Config, data)
    run = create(home.outputs, config)
    ctx = _Stopping(run, home, 1, None, "", {})
    ctx.emit("started", pid=1, attempt=1, boot_id="", oom_kills=0, versions={}, device="CPU")
    registry.get("jobs", "generate").run(config, ctx)
    return run


def read(kit, text: str, pictures: list[Image.Image]) -> Cond:  # noqa: F811
    """What the text encoders say of a text that they read with pictures."""
    place = Placement(torch.float32, "cpu")
    told = [kit.family.encode_instruction(kit.family.load(kit.folder, {encoder}, place), text, pictures) for encoder in kit.spec.parts["text"]]
    return Cond.of([{name: tensor for one in told for name, tensor in one.items()}])


def test_the_job_draws_what_the_pipeline_draws(kit, home, tmp_path):  # noqa: F811
    begun, shown, asked = {}, {}, [conditioned(kit, CAPTIONS[1]), conditioned(kit, "")]
    if kit.shown:
        with pytest.raises(ValueError, match="draws nothing without a picture that it is made from; name one in made_from"):
            drawn(home, kit)
        takes, pictures = kit.spec.references, [one.resize((2 * one.width, 2 * one.height)) for one in kit.shown]  # a picture of a user's has 64 px at least
        for n, one in enumerate(pictures):
            one.save(tmp_path / f"{n}.png")
        begun = {"made_from": [{"picture": str(tmp_path / f"{n}.png")} for n in range(len(pictures))], "keep_shape": False}
        shown, asked = {takes.image: pictures if takes.several else pictures[0]}, [read(kit, text, pictures) for text in (CAPTIONS[1], "")] if takes.read else asked
    if kit.spec.first_frame:
        with pytest.raises(ValueError, match="makes a clip from its first frame; name a picture to begin with"):
            drawn(home, kit)
        first, size = kit.toy.shown().resize((96, 64)), kit.toy.SIZE[::-1]  # a picture of a user's has 64 px at least
        first.save(tmp_path / "first.png")
        begun, shown = {"made_from": [{"picture": str(tmp_path / "first.png")}], "keep_shape": False}, {"image": ImageOps.fit(first, size, Image.Resampling.LANCZOS)}
    run = drawn(home, kit, **begun)
    height, width = kit.toy.SIZE
    pipe = kit.family.pipeline(kit.m)
    pipe.set_progress_bar_config(disable=True)
    frames = {"num_frames": fitting(kit.toy.FRAMES, kit.spec.latent.frame_stride)} if kit.spec.latent.video else {}
    with torch.no_grad():
        theirs = pipe(
            **kit.family.draw_args(kit.m, *asked, 3.0), num_inference_steps=2, width=width, height=height,
            output_type="pil", generator=torch.Generator().manual_seed(42), **frames, **shown,
        )  # fmt: skip
    picture = theirs.frames[0][0] if frames else theirs.images[0]
    file = run.samples("*.webp" if frames else "*.png")[0]
    ours = np.asarray(Image.open(file).convert("RGB"), np.int16)
    assert np.abs(ours - np.asarray(picture.convert("RGB"), np.int16)).mean() == 0
    assert bool(run.samples("*.mp4")) == bool(frames)


def test_it_starts_from_a_picture_or_says_that_it_cannot(kit, home, tmp_path):  # noqa: F811
    file = tmp_path / "start.png"
    Image.new("RGB", (96, 96), "orange").save(file)
    name = kit.spec.pipeline.removesuffix("Pipeline")
    if kit.shown:
        with pytest.raises(ValueError, match="name one in made_from"):
            drawn(home, kit, picture=str(file))
        return
    if kit.spec.first_frame:
        with pytest.raises(ValueError, match="draws nothing under a mask"):
            drawn(home, kit, picture=str(file), mask=str(file))
        assert drawn(home, kit, picture=str(file)).samples("*.webp")
        return
    if kit.spec.may_begin:
        named = [{"picture": str(file)}]
        with pytest.raises(ValueError, match="names the picture that a clip begins with, but frames is 1"):
            drawn(home, kit, made_from=named, frames=1)
        begun, plain = (np.asarray(Image.open(drawn(home, kit, **how).samples("*.webp")[0]).convert("RGB"), np.int16) for how in ({"made_from": named, "keep_shape": False}, {}))
        assert np.abs(begun - plain).mean() > 1
    for mask, kind in (("", "Img2Img"), (str(file), "Inpaint")):
        if kind in kit.spec.broken_pipelines or not hasattr(diffusers, f"{name}{kind}Pipeline"):
            with pytest.raises(ValueError, match="diffusers has no working pipeline for"):
                drawn(home, kit, picture=str(file), mask=mask)
            continue
        run = drawn(home, kit, picture=str(file), mask=mask, change=0.5)
        assert np.asarray(Image.open(run.samples("*.png")[0])).std() > 0, kind
