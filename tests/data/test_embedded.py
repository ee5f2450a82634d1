"""The prompt in a drawn picture is offered as its caption: only the wanted part, and only where there is no caption."""

from __future__ import annotations

import json

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tests.data.make import scene, write
from training.data import datasets, embedded, importing

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
