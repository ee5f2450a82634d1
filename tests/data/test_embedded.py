"""The prompt in a drawn picture is offered as its caption: only the wanted part, and only where there is no caption."""

from __future__ import annotations

import json

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tests.data.make import scene, write
from training.data import comfy, datasets, embedded, importing

TEXT = "a red fox, <lora:my fox_v2:0.8>, (snow:1.2)\nBREAK at night, <lyco:x>\nNegative prompt: blurry,\nugly\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 512x512"
SAID = "a red fox, (snow:1.2), at night"


def drawn(path, text: str = TEXT, seed: int = 1, zip: bool = False):
    """A picture with the prompt in it, as the format keeps it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".png":
        info = PngInfo()
        info.add_text("Software", "x" * 2000, zip=zip)
        info.add_text("parameters", text, zip=zip) if text.isascii() else info.add_itxt("parameters", text, zip=zip)
        scene(seed).save(path, pnginfo=info)
        return path
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + text.encode("utf-16-be")
    scene(seed).save(path, exif=exif)
    return path


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp"])
def test_the_prompt_is_read_from_each_format(tmp_path, name):
    assert embedded.prompt_of(drawn(tmp_path / name)) == SAID
    assert embedded.prompt_of(drawn(tmp_path / name, "ein Füchslein 狐\nSteps: 4, Seed: 1", zip=True)) == "ein Füchslein 狐"
    assert embedded.prompt_of(write(tmp_path / f"plain{name}")) == ""


def test_prompts_of_other_programs_and_what_is_none():
    assert embedded.caption_of(json.dumps({"prompt": "a hen", "steps": 30})) == "a hen"
    assert embedded.caption_of(json.dumps({"sui_image_params": {"prompt": "a hen,  "}})) == "a hen"
    assert embedded.caption_of("Negative prompt: x\nSteps: 1, Seed: 1") == "" and embedded.caption_of('{"prompt": {"3": {"inputs": 1}}}') == "" and embedded.caption_of("{") == ""
    assert embedded.caption_of("Steps: 3, Seed: 1") == "" and embedded.caption_of("two\nlines of Steps: to climb") == "two lines of Steps: to climb"


def test_an_import_offers_them_and_taking_them_is_one_step_back(home, tmp_path):
    ds = datasets.create(home, "drawn")
    for seed, name in enumerate(("a.png", "b.jpg", "c.png")):
        drawn(tmp_path / "in" / name, seed=seed)
    write(tmp_path / "in" / "d.png", 9)
    (tmp_path / "in" / "c.txt").write_text("her own")
    (offer,) = [v for v in importing.add_folder(ds, tmp_path / "in") if v.kind == "prompts"]
    assert offer.ok and "2 pictures without a caption carry the prompt" in offer.reason
    assert {p.id: p.caption for p in ds.pictures()} == {"a.png": "", "b.jpg": "", "c.png": "her own", "d.png": ""}
    assert embedded.use(ds) == 2 and {p.id: p.caption for p in ds.pictures()} == {"a.png": SAID, "b.jpg": SAID, "c.png": "her own", "d.png": ""}
    assert ds.get("a.png").caption_source == embedded.SOURCE
    assert ds.undo() and embedded.found(ds) == {"a.png": SAID, "b.jpg": SAID}


# ComfyUI's graphs


def node(kind: str, **inputs) -> dict:
    return {"class_type": kind, "inputs": inputs}


PLAIN = {
    "4": node("CheckpointLoaderSimple", ckpt_name="x"), "5": node("EmptyLatentImage", width=512), "6": node("CLIPTextEncode", text="a red fox, <lora:x:1> in snow", clip=["4", 1]),
    "7": node("CLIPTextEncode", text="blurry", clip=["4", 1]), "3": node("KSampler", seed=1, model=["4", 0], positive=["6", 0], negative=["7", 0], latent_image=["5", 0]),
    "8": node("VAEDecode", samples=["3", 0]), "9": node("SaveImage", images=["8", 0]),
}  # fmt: skip


def graph(**changes) -> dict:
    return PLAIN | {id.removeprefix("n"): new for id, new in changes.items()}


def sampler(positive, latent=("5", 0), kind: str = "KSampler") -> dict:
    return node(kind, positive=list(positive), negative=["7", 0], latent_image=list(latent))


@pytest.mark.parametrize(
    ("told", "said"),
    [
        (PLAIN, "a red fox, <lora:x:1> in snow"),
        (graph(n3=sampler(("10", 0)), n10=node("FluxGuidance", conditioning=["6", 0], guidance=3.5)), "a red fox, <lora:x:1> in snow"),
        (graph(n3=sampler(("10", 0)), n10=node("ControlNetApplyAdvanced", positive=["6", 0], negative=["7", 0])), "a red fox, <lora:x:1> in snow"),
        (graph(n3=sampler(("10", 1)), n10=node("ControlNetApplyAdvanced", positive=["7", 0], negative=["6", 0])), "a red fox, <lora:x:1> in snow"),
        (graph(n3=sampler(("10", 0)), n10=node("ConditioningCombine", conditioning_1=["6", 0], conditioning_2=["11", 0]), n11=node("CLIPTextEncode", text="at night")), "a red fox, <lora:x:1> in snow, at night"),
        (graph(n6=node("CLIPTextEncodeSDXL", text_g="a hen", text_l="a hen", width=1024)), "a hen"),
        (graph(n6=node("CLIPTextEncodeFlux", clip_l="hen", t5xxl="A hen in a yard.", guidance=3.5)), "A hen in a yard., hen"),
        (graph(n6=node("CLIPTextEncode", text=["10", 0]), n10=node("StringConcatenate", string_a=["11", 0], string_b="in a yard", delimiter=" "), n11=node("PrimitiveStringMultiline", value="a hen")), "a hen in a yard"),
        (graph(n3=node("SamplerCustomAdvanced", guider=["10", 0], sampler=["12", 0], latent_image=["5", 0]), n10=node("BasicGuider", conditioning=["6", 0]), n12=node("KSamplerSelect", sampler_name="euler")), "a red fox, <lora:x:1> in snow"),
        # a second sampler that goes on with the first one's picture: what it is told counts
        (graph(n20=sampler(("21", 0), ("3", 0)), n21=node("CLIPTextEncode", text="sharp details")), "sharp details"),
        (graph(n20=sampler(("6", 0), ("22", 0)), n22=node("LatentUpscale", samples=["3", 0])), "a red fox, <lora:x:1> in snow"),
        (graph(n3=sampler(("10", 0)), n10=node("ConditioningZeroOut", conditioning=["6", 0])), ""),
    ],
)  # fmt: skip
def test_the_prompt_of_a_graph_is_what_its_sampler_is_told(told, said):
    assert comfy.prompt_of(told) == said


@pytest.mark.parametrize(
    ("told", "why"),
    [
        (graph(n3=sampler(("10", 0)), n10=node("MagicPrompt", text="x")), "through the node 'MagicPrompt', which is not known"),
        (graph(n6=node("CLIPTextEncode", text=["10", 0]), n10=node("AskAModel", text="x")), "words come from the node 'AskAModel'"),
        (graph(n6=node("CLIPTextEncode", clip=["4", 1])), "no text was found in the node 'CLIPTextEncode'"),
        (graph(n3=sampler(("10", 0)), n10=node("Reroute", **{"": ["11", 0]}), n11=node("Reroute", **{"": ["10", 0]})), "circle"),
        (graph(n6=node("CLIPTextEncode", text=["10", 0]), n10=node("Reroute", **{"": ["10", 0]})), "circle"),
        (graph(n3=sampler(("99", 0))), "node 99 is missing"),
        (graph(n20=sampler(("7", 0))), "2 pictures from different prompts"),
        ({"1": node("SaveImage", images=["2", 0])}, "no sampler that is known"),
    ],
)
def test_a_graph_that_cannot_be_followed_says_why(told, why):
    with pytest.raises(comfy.Unknown, match=why):
        comfy.prompt_of(told)


def test_what_is_no_graph_is_none():
    for told in ("[]", "{", "{}", '{"3": 1}', '{"3": {"class_type": 5, "inputs": {}}}', '{"a":' * 5000, '{"prompt": "x"}'):
        assert comfy.read(told) is None
    odd = graph(n3=sampler((["x"], "y")), n6=node("CLIPTextEncode", text=["10", {}]))
    with pytest.raises(comfy.Unknown):
        comfy.prompt_of(odd)


def test_a_graph_in_a_png_is_offered_settings_go_before_it_and_unknown_nodes_are_said(home, tmp_path):
    def saved(name: str, seed: int, told: dict, parameters: str = ""):
        info = PngInfo()
        info.add_text("prompt", json.dumps(told))
        info.add_text("workflow", json.dumps({"nodes": [1] * 1000}))
        if parameters:
            info.add_text("parameters", parameters)
        (tmp_path / "in").mkdir(exist_ok=True)
        scene(seed).save(tmp_path / "in" / name, pnginfo=info)

    strange = graph(n6=node("MagicEncode", text="x"))
    saved("a.png", 1, PLAIN)
    saved("b.png", 2, PLAIN, TEXT)
    saved("c.png", 3, strange)
    saved("d.png", 4, strange)
    ds = datasets.create(home, "comfy")
    offers = [v for v in importing.add_folder(ds, tmp_path / "in") if v.kind in ("prompts", "graph")]
    assert "2 pictures without a caption carry" in offers[0].reason and offers[0].kind == "prompts"
    assert "through the node 'MagicEncode', which is not known here; so it is with 1 more" in offers[1].reason and offers[1].ok
    assert embedded.use(ds) == 2 and ds.caption("a.png") == "a red fox, in snow" and ds.caption("b.png") == SAID
