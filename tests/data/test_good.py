"""What captions should not say, what they contradict, and what is missing: found where it is, and not where it is not."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from tests.data.make import scene
from tests.data.scenes import drawing, photo
from training.data import absorbing, captions, contradictions, coverage, datasets, health
from training.data.health import Goal
from training.data.measuring import Measured, measure
from training.home import Home


@pytest.fixture
def ds(tmp_path):
    return datasets.create(Home(tmp_path), "good")


def put(ds, name: str, picture: Image.Image, caption: str = "") -> None:
    picture.save(ds.path / name)
    if caption:
        (ds.path / name).with_suffix(".txt").write_text(caption, encoding="utf-8")


# -- what the trigger word absorbs


@pytest.mark.parametrize(("trait", "tag"), [
    ("hair", "long hair"), ("hair", "brown_hair"), ("hair", "(blonde hair:1.2)"), ("hair", "twintails"), ("brown hair", "long brown hair"), ("Eyes", "blue eyes"), ("clothes", "white shirt"),
    ("clothes", "t-shirt"), ("clothes", "Red Dresses"), ("style", "anime style"), ("style", "watercolor"), ("scar", "scar"), ("hat", "witch hat"), ("glasses", "round glasses"),
])  # fmt: skip
def test_a_tag_that_says_a_trait_is_found_and_taken_out(trait, tag):
    caption = f"zibbo, {tag}, sitting, park"
    assert absorbing.leaking(caption, trait)[0] == [absorbing.tags.name_of(tag)]
    assert absorbing.without(caption, [trait]) == "zibbo, sitting, park"


@pytest.mark.parametrize(("trait", "tag"), [
    ("hair", "hair ornament"), ("hair", "chair"), ("hair", "wet hair"), ("eyes", "closed eyes"), ("eyes", "one eye closed"), ("brown hair", "blonde hair"), ("brown hair", "brown coat"),
    ("clothes", "shirt lift"), ("clothes", "dressing room"), ("hat", "chat"), ("cat", "cat ears"), ("style", "freestyle"), ("scar", "scarf"), ("eyes", "wide open eyes"),
])  # fmt: skip
def test_a_tag_that_says_something_else_is_left_alone(trait, tag):
    caption = f"zibbo, {tag}, sitting, park"
    assert absorbing.leaking(caption, trait) == ([], []) and absorbing.without(caption, [trait]) == caption


def test_sentences_are_told_and_left_to_the_hand():
    caption = "zibbo stands by a chair, and her long brown hair is moved by the wind."
    assert absorbing.leaking(caption, "brown hair") == ([], ["brown hair"]) and absorbing.without(caption, ["brown hair"]) == caption
    [told] = absorbing.found({"a.png": (caption,), "b.png": ("brown hair, park",), "c.png": ("sitting",)}, ["brown hair"])
    assert told.ids == ("a.png", "b.png") and told.act == ("absorb", "Take “brown hair” out of the captions")
    assert told.says == "The trigger word should absorb it, but 2 captions say “brown hair”." and "1 of them is a sentence" in told.todo
    assert absorbing.found({"a.png": (caption,)}, ["brown hair"])[0].act == () and absorbing.found({"a.png": (caption,)}, ["red"]) == []


def test_traits_are_kept_with_the_dataset_checked_and_taken_out_in_one_press(ds):
    for n, caption in enumerate(("zibbo, brown hair, park", "zibbo, long hair\nzibbo, room", "brown hair", "zibbo sits in the sun, her hair open.")):
        put(ds, f"{n}.png", drawing(n, (300, 300)), caption)
    ds.set_absorbs(["hair", " hair ", "red  hat"])
    again = datasets.Dataset(ds.path, ds.meta)
    assert again.absorbs == ("hair", "red hat") and Goal().of(again).absorbs == ("hair", "red hat")
    [leak] = [f for f in health.check(ds, Goal(256, trigger="zibbo")).findings if f.key.startswith("leak")]
    assert leak.ids == ("0.png", "1.png", "2.png", "3.png") and leak.act[1] == "Take 2 tags out of the captions"
    assert ds.take_out(["hair"]) == 2
    assert [p.caption for p in ds.pictures()] == ["zibbo, park", "zibbo\nzibbo, room", "brown hair", "zibbo sits in the sun, her hair open."]  # a caption is never emptied
    assert ds.undo() == "2 captions put back" and ds.take_out(["hat"]) == 0
    for wrong in ("", " , ", "x" * 61):
        with pytest.raises(ValueError):
            ds.set_absorbs([wrong])


def test_what_most_captions_share_is_offered_as_a_trait():
    mine = [("zibbo, brown hair, park, smile",), ("zibbo, brown hair, red scarf",), ("zibbo, red scarf, room",), ("zibbo, tail",)]
    assert absorbing.suggested(mine, (), "zibbo") == [("hair", 2), ("clothes", 2), ("brown hair", 2), ("red scarf", 2)]
    assert absorbing.suggested(mine, ("hair",), "zibbo") == [("clothes", 2), ("red scarf", 2)]
    assert absorbing.suggested([], ()) == [] == absorbing.suggested([("a walk in the park.",)], ())


# -- contradictions


@pytest.mark.parametrize("caption", [
    "1girl, solo, 2girls, park", "solo, 1girl, 1boy", "day, street, night", "no_humans, 1girl", "1girl, solo, long_hair, short hair", "1girl, solo, open mouth, closed mouth", "monochrome, colorful, city",
    "1girl, standing, sitting, room", "1girl, full body, portrait, smile",
])  # fmt: skip
def test_tags_that_rule_each_other_out_are_found(caption):
    assert contradictions.clashing((caption,))


@pytest.mark.parametrize("caption", [
    "1girl, 1boy, couple, long hair, short hair", "2girls, long hair, short hair, standing, sitting", "1girl, solo, night, city lights, long hair", "day, outdoors, street", "multiple girls, open mouth, closed mouth",
    "She stands by day; the night before she sat.", "1girl, solo, upper body, smile, closed eyes", "a room by day and night, with a lamp", "no humans, scenery, starry sky", "1girl, solo, black hair, white shirt",
])  # fmt: skip
def test_what_can_both_be_true_is_no_contradiction(caption):
    assert contradictions.clashing((caption,)) == []


@pytest.mark.slow
def test_several_captions_of_one_picture_and_near_copies_are_held_together(ds):
    put(ds, "a.png", photo(1, (400, 300)), "day, street, car\nnight, street, car")
    put(ds, "b.png", photo(2, (400, 300)), "day, street, house")
    put(ds, "b small.png", photo(2, (400, 300)).resize((380, 285)), "night, street, house")
    (ds.path / "c.png").write_bytes((ds.path / "b.png").read_bytes())
    (ds.path / "c.txt").write_text("dusk, street")
    found = health.check(ds, Goal(256))
    assert found.finding("clash").ids == ("a.png",) and set(found.finding("apart").ids) == {"b.png", "b small.png"} and found.finding("twotold").ids == ("b.png", "c.png")


@pytest.mark.parametrize(("caption", "pairs"), [("day, street, car\nnight, street, car", 1), ("[0:00] day, street, car\n[0:02] night, street, car", 0), ("[0:00] day, night, car\n[0:02] dusk, street", 1)])
def test_scenes_of_a_clip_may_show_what_one_picture_cannot(caption, pairs):
    clip = SimpleNamespace(id="a.mp4", caption=caption, captions=captions.split(caption, "several"), verdict="ok", sha256="0", seconds=4.0)
    assert len(contradictions.of(clip)) == pairs
    still = SimpleNamespace(id="b.png", caption="night, street, car", captions=("night, street, car",), verdict="ok", sha256="1", seconds=0.0)
    assert [f.key for f in contradictions.found([clip, still], [clip, still], [["a.mp4", "b.png"]], {})] == ["clash"] * pairs


@pytest.mark.slow
def test_a_coloured_picture_that_is_called_grey_is_found_and_a_sepia_one_is_not(ds):
    grey = photo(3, (400, 300)).convert("L")
    put(ds, "coloured.png", scene(1, (400, 300)), "monochrome, city, street")
    put(ds, "grey.png", grey.convert("RGB"), "monochrome, city, street")
    put(ds, "sepia.png", Image.merge("RGB", [grey.point(lambda v, k=k: v * k) for k in (1.0, 0.82, 0.6)]), "monochrome, sepia, street")
    put(ds, "said.png", scene(2, (400, 300)), "a black and white cat on a red mat.")
    assert health.check(ds, Goal(256)).finding("grey").ids == ("coloured.png",)


# -- what is missing


def many(captions, pictures=None) -> tuple[list, dict]:
    """Pictures with these captions, and what would be measured on them."""
    pictures = pictures or [photo(n, (96, 96)) for n in range(len(captions))]
    used = [SimpleNamespace(id=f"{n}.png", captions=(c,) if c else (), sha256=f"{n:03}", seconds=0) for n, c in enumerate(captions)]
    return used, {p.id: Measured(**measure(b"", picture)) for p, picture in zip(used, pictures, strict=True)}


def missing(captions, goal: str = "character", pictures=None) -> dict[str, str]:
    used, seen = many(captions, pictures)
    return {f.key: f.title for f in coverage.found(used, seen, goal, len(used))}


def test_captions_that_speak_of_one_kind_only_say_what_is_missing():
    faces = ["smiling, looking at viewer, close-up, park, day"] * 6 + ["serious, looking at viewer, upper body, street, day"] * 6
    said = missing(faces)
    assert said == {"missing from": "No profile and no back views", "missing frame": "No full-length pictures", "missing light": "The same light"}
    rooms = ["profile, full body, bedroom, night, smile", "from behind, portrait, kitchen, day, crying", "looking at viewer, full body, sofa, lamplight, calm"] * 4
    assert missing(rooms) == {"missing place": "One kind of place only"}
    assert missing(["profile, bedroom", "from behind, close-up", "looking at viewer, full body, street, night"] * 4) == {"unsaid": "What cannot be known"}


def test_what_captions_do_not_say_cannot_be_known():
    used, seen = many(["zibbo"] * 12)
    [told] = coverage.found(used, seen, "character", 12)
    assert told.key == "unsaid" and "the side they are seen from, how much is in the frame, the place, the light and the expression" in told.says and "Too few captions" in told.says
    assert "No picture has a caption" in coverage.found(*many([""] * 12), "object", 12)[0].says
    assert coverage.found(used, seen, "", 12) == [] == coverage.found(used[:9], seen, "character", 9) and coverage.found(used, seen, "slider", 12) == []


def test_a_style_is_asked_for_its_subjects():
    assert missing(["1girl, smile"] * 12, "style") == {"missing shown": "One kind of subject only"}
    assert missing(["1girl, cat", "castle, scenery, no humans", "still life, vase"] * 4, "style") == {}


def test_the_same_background_and_the_same_light_are_measured():
    varied = [photo(n, (96, 96)) for n in range(14)]
    words = ["1girl, cat", "castle, scenery"] * 7
    assert missing(words, "style", varied) == {}
    ground = [Image.new("RGB", (96, 96), (200, 190, 180)) for _ in range(12)] + varied[:2]
    for n, picture in enumerate(ground[:12]):
        picture.paste(drawing(n, (60, 60)), (18, 18))
    assert missing(words, "style", ground) == {"ground": "The same background"}
    levels = [np.asarray(p, np.float32) for p in varied[:13]]
    even = [Image.fromarray(np.clip(v - v.mean(axis=(0, 1)) + (110, 100, 90), 0, 255).astype(np.uint8)) for v in levels]
    assert missing(words, "style", even + varied[13:])["light"] == "The same light"


@pytest.mark.slow
def test_many_pictures_that_name_nothing_new_are_more_than_enough():
    told = [f"zibbo, profile, close-up, {place}, {light}, smile" for place in ("street", "park", "room", "white background", "full body") for light in ("day", "night", "sunset", "from behind")]
    assert "enough" in missing(told * 4) and "enough" not in missing(told * 2)
    assert "enough" not in missing([f"zibbo, thing {n}, profile" for n in range(80)])


@pytest.mark.slow
def test_the_goal_reaches_the_check(ds):
    for n in range(11):
        put(ds, f"{n}.png", photo(n, (300, 300)), "zibbo")
    assert health.check(ds, Goal(256, what="character")).finding("unsaid") and health.check(ds, Goal(256)).finding("unsaid") is None
