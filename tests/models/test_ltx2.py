"""LTX-2 without sound is LTX-2: the pictures are those of diffusers' own pipeline, and what is trained is its own call of the video alone."""

from __future__ import annotations

import json

import pytest
import torch

from tests.families import ltx2 as toy
from training.families import ltx2 as family
from training.family import Cond, Placement

PLACE = Placement(torch.float32, "cpu")
PROMPT, NEGATIVE = "a red cat near a tree", "a house"
SIZE = dict(width=64, height=32, num_frames=9)


@pytest.fixture(scope="module", params=[False, True], ids=["LTX-2", "LTX-2.3"])
def base(request, tmp_path_factory):
    return toy.build(tmp_path_factory.mktemp("base") / "tiny ltx", later=request.param)


@pytest.fixture(scope="module")
def m(base):
    """All parts."""
    return family.load(base, {"transformer", "text_encoder", "vae"}, PLACE)


@pytest.fixture(scope="module")
def theirs(base):
    from diffusers import LTX2Pipeline

    pipe = LTX2Pipeline.from_pretrained(base)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def conds(m):
    return [Cond.of(family.encode_text(m, [text])) for text in (PROMPT, NEGATIVE)]


def test_the_pictures_are_those_of_diffusers_own_pipeline(m, theirs):
    """From what was read before, against its prompts, with the sound that it makes too: the same noise for both gives the same walk."""
    ours = family.pipeline(m)
    ours.set_progress_bar_config(disable=True)
    seed = lambda: torch.Generator().manual_seed(3)
    args = family.draw_args(m, *conds(m), 3.0)
    plain = {k: v for k, v in args.items() if isinstance(v, (int, float))}
    with torch.no_grad():
        found = ours(**args, **SIZE, num_inference_steps=2, generator=seed(), output_type="pt")
        meant = theirs(prompt=PROMPT, negative_prompt=NEGATIVE, **plain, **SIZE, num_inference_steps=2, generator=seed(), output_type="pt")
    assert found.audio is None and meant.audio is not None and found.frames.std() > 0.01
    torch.testing.assert_close(found.frames, meant.frames, atol=1e-5, rtol=1e-5)


def test_predict_is_the_pipelines_own_call_of_the_video_alone(m, theirs):
    seen, denoiser = [], theirs.transformer
    hook = denoiser.register_forward_hook(lambda module, args, kwargs, out: seen.append((kwargs, out[0])), with_kwargs=True)
    try:
        theirs(prompt=PROMPT, guidance_scale=1.0, audio_guidance_scale=1.0, stg_scale=0.0, audio_stg_scale=0.0, **SIZE, num_inference_steps=2, output_type="latent")
    finally:
        hook.remove()
    alone = [(kwargs, out) for kwargs, out in seen if kwargs["isolate_modalities"]]
    assert len(alone) == 2 and len(seen) == 4
    cond = conds(m)[0]
    for kwargs, out in alone:
        shape = (kwargs["num_frames"], kwargs["height"], kwargs["width"])
        noisy = theirs._unpack_latents(kwargs["hidden_states"], *shape)
        with torch.no_grad():
            said = family.predict(m, noisy, kwargs["timestep"] / 1000, cond)
        torch.testing.assert_close(theirs._pack_latents(said), out, atol=1e-5, rtol=1e-5)
    together = next(out for kwargs, out in seen if not kwargs["isolate_modalities"])
    assert (together - alone[0][1]).abs().max() > 1e-4, "beside sound the video is another: else nothing would be shown here"


def test_only_the_videos_own_layers_learn(m):
    from training.formats.adapting import ends_on

    names = [n for n, layer in m.denoiser.named_modules() if isinstance(layer, torch.nn.Linear) and ends_on(n, family.SPEC.lora_targets["all"])]
    assert names and not any("audio" in n for n in names)


def test_a_later_release_that_reads_text_otherwise_is_refused(base, tmp_path):
    index = json.loads((base / "model_index.json").read_text()) | {"text_encoder": ["transformers", "Gemma4UnifiedForConditionalGeneration"]}
    (tmp_path / "scheduler").mkdir()
    (tmp_path / "scheduler" / "scheduler_config.json").write_bytes((base / "scheduler" / "scheduler_config.json").read_bytes())
    (tmp_path / "model_index.json").write_text(json.dumps(index), encoding="utf-8")
    with pytest.raises(ValueError, match=r"reads text with Gemma4Unified.*this family trains LTX-2 and LTX-2.3"):
        family.load(tmp_path, {"text_encoder"}, PLACE)


def test_there_is_no_single_file_of_half_of_it():
    from training.formats import onefile

    with pytest.raises(ValueError, match="also holds what its text goes through.*write a folder"):
        onefile.plan({"transformer": {"proj_out.weight": (2, 2)}}, family.SPEC, "LTX2VideoTransformer3DModel", {"transformer": {}})
