"""Captions as people have them: told from sentences, changed tag by tag, counted, found and replaced, and nothing harmed on the way."""

from __future__ import annotations

import time

import pytest

from training.data import datasets, rewriting, tags
from training.data.datasets import open_dataset
from training.data.tally import tally

from .make import write

LISTS = [
    "1girl", "zibbo", "1girl, solo", "1girl, solo, long_hair, blue_eyes, smile", "1girl,solo,long_hair", "zibbo, 1girl, solo, ^_^, >_<", "o_o, :3, x_x", ":3",
    "1girl, (long hair:1.2), smile", "((masterpiece)), best quality, 1girl", "1girl, [trigger], smile", "zibbo ||| 1girl, solo, sky", "zibbo ||| 1girl ||| masterpiece",
    "saber_(fate), fate/stay_night, 1girl", "saber \\(fate\\), 1girl", "1girl, solo,", ", 1girl, solo", "1girl, , solo", "solo, SOLO, Solo", "青い目、長い髪、制服", "猫，狗，鸟",
    "1girl, 猫耳, 長い髪", "rating:safe, score_9, score_8_up", "score_9, score_8_up, 1girl, source_anime", "red dress, hand on own hip, looking at viewer", "cat, dog.",
    "woman sitting, red dress, smiling at camera", "(red hair, blue eyes:1.3), 1girl", "<lora:my_style:0.8>, 1girl", "__color__ hair, 1girl", "1girl, o_o, ;), :d, |_|, 0_0",
    "1girl, solo, long hair, smile, A girl standing in a field of flowers.", "chien, chat, été", "кошка, собака, небо", "no_humans, scenery, 1,000 lights", "c.c., code geass, 1girl",
]  # fmt: skip
SENTENCES = [
    "a photo of a cat", "A cat sits on a sofa.", "a photo of zibbo, sitting on a chair", "The woman wears a red dress. She is smiling.", "Zibbo stands in the snow, smiling, happy.",
    "猫が椅子の上に座っている。", "猫が椅子の上に座って眠っている", "a girl with o_o eyes and long_hair", "An oil painting, in the style of Monet.", "This is zibbo, a small green monster with one eye.",
    "In the picture there is a dog, a cat, and a bird.", "a [trigger] on a red background", "zibbo on a red background, seen from the side while the sun is going down",
    "Ein Hund läuft über die Wiese und bellt. Er ist braun.", "photo of a man, 35 years old, in the rain, with an umbrella", "A sign that says \"1,000 miles\".", "http://example.org/a_b is where it came from",
]  # fmt: skip
EMPTY = ["", ",", "|||", " , , "]
SEVERAL = ["1girl, solo\na girl alone", "1girl, solo,\nlong_hair, smile", "a cat\n\na dog", "zibbo ||| a_b\nzibbo ||| long_hair, sky"]


def test_there_are_sixty_of_them_and_lists_are_told_from_sentences():
    assert len(LISTS + SENTENCES + EMPTY + SEVERAL) >= 60
    assert [c for c in LISTS if not tags.is_tags(c)] == []
    assert [c for c in SENTENCES if tags.is_tags(c)] == []
    assert not any(map(tags.is_tags, EMPTY))


@pytest.mark.parametrize("caption", [*LISTS, *SENTENCES, *EMPTY, *SEVERAL])
def test_what_changes_nothing_gives_back_the_very_text(caption):
    nothing = [lambda c: tags.remove(c, ["not there"]), lambda c: tags.rename(c, ["not there"], "x"), lambda c: tags.spaced(c) if "_" not in c else c]
    for change in nothing:
        assert tags.each_caption(caption, "", change) == caption
    for change in (tags.drop_duplicates, tags.spaced, tags.underscored, tags.sort, lambda c: tags.add(c, "zibbo", True), lambda c: tags.add(c, "sky"), lambda c: tags.rename(c, ["solo"], "one")):
        once = tags.each_caption(caption, "", change)
        assert tags.each_caption(once, "", change) == once, "twice is once"


@pytest.mark.parametrize("face", ["^_^", ">_<", "o_o", ":3", "x_x", "0_0", "@_@", "=_=", ">_o", "|_|", "(o)_(o)", "t_t", ";)", "6_9", "+_-", "||_||", "<o>_<o>"])
def test_a_face_is_no_word(face):
    assert tags.is_emoticon(face)
    assert tags.spaced(f"long_hair, {face}, blue_eyes") == f"long hair, {face}, blue eyes"
    assert tags.spaced(f"long_hair, ({face}:1.2)") == f"long hair, ({face}:1.2)"
    assert tags.underscored(f"long hair, {face}") == f"long_hair, {face}"


@pytest.mark.parametrize("word", ["long_hair", "x_ray", "a_b", "3d", "score_9", "猫_犬", "my_v2", "8k", "1girl", "__init__"])
def test_a_word_is_no_face(word):
    assert not tags.is_emoticon(word)


def test_blanks_and_underscores_leave_wildcards_addresses_sentences_and_the_trigger_word_alone():
    assert tags.spaced("ohwx_man, long_hair, __color__ hair, <lora:my_style:0.8>", ["ohwx_man"]) == "ohwx_man, long hair, __color__ hair, <lora:my_style:0.8>"
    assert tags.spaced("see http://x.org/a_b for long_hair.") == "see http://x.org/a_b for long hair."
    assert tags.underscored("ohwx man, long hair, (red eyes:1.2), A girl stands in a field of flowers.", ["ohwx man"]) == (
        "ohwx man, long_hair, (red_eyes:1.2), A girl stands in a field of flowers."
    )
    assert tags.underscored("a cat on a chair") == "a cat on a chair"


def test_adding_happens_where_it_is_missing_and_stays_in_its_part():
    assert tags.add("1girl, solo", "zibbo", front=True) == "zibbo, 1girl, solo"
    assert tags.add("1girl, Solo", "solo") == "1girl, Solo" and tags.add("(solo:1.2), sky", "solo") == "(solo:1.2), sky"
    assert tags.add("zibbo ||| 1girl ||| masterpiece", "sky") == "zibbo ||| 1girl, sky ||| masterpiece"
    assert tags.add("zibbo ||| 1girl", "new", front=True) == "new, zibbo ||| 1girl"
    assert tags.add("A cat sits on a chair.", "indoors") == "A cat sits on a chair. indoors"
    assert tags.add("A photo of zibbo on a chair.", "zibbo") == "A photo of zibbo on a chair."
    assert tags.add("青い目、長い髪", "制服") == "青い目、長い髪、制服"


def test_removing_renaming_and_merging_know_case_weights_and_parts():
    assert tags.remove("zibbo ||| Smile, sky, (smile:1.1)", ["smile"]) == "zibbo ||| sky"
    assert tags.remove("smile", ["smile"]) == ""
    assert tags.rename("1girl, (long hair:1.2), sky", ["Long Hair"], "short hair") == "1girl, (short hair:1.2), sky"
    assert tags.rename("grin, 1girl, smiling, smile", ["grin", "smiling"], "smile") == "smile, 1girl"
    assert tags.rename("smile, 1girl, grin", ["grin"], "smile") == "smile, 1girl", "what is there already is not there twice"
    assert tags.rename("saber \\(fate\\), 1girl", ["saber (fate)"], "saber") == "saber, 1girl"
    assert tags.rename("a smiley, smiles", ["smile"], "grin") == "a smiley, smiles", "a part of a tag is no tag"


def test_sorting_keeps_what_is_in_front_and_dropping_keeps_the_first():
    assert tags.sort("zibbo, sky, 1girl, cat", keep=1) == "zibbo, 1girl, cat, sky"
    assert tags.sort("zibbo, sky, 1girl, cat", ["cat", "sky"], keep=1) == "zibbo, cat, sky, 1girl"
    assert tags.sort("zibbo ||| sky, cat ||| z, y") == "zibbo ||| cat, sky ||| z, y"
    assert tags.sort("sky, A girl stands in a field of flowers., cat, dog, eye") == "cat, dog, eye, sky, A girl stands in a field of flowers."
    assert tags.sort("the cat, a dog") == "the cat, a dog"
    assert tags.drop_duplicates("long_hair, Long Hair, sky, (sky:1.2), ^_^, ^_^") == "long_hair, sky, ^_^"
    assert tags.drop_duplicates("a cat, a dog, a cat") == "a cat, a dog, a cat"


def test_lines_that_are_captions_are_changed_each_and_a_wrapped_one_as_a_whole():
    add = lambda c: tags.add(c, "zibbo", front=True)
    assert tags.each_caption("1girl, solo\n1boy, solo", "several", add) == "zibbo, 1girl, solo\nzibbo, 1boy, solo"
    assert tags.each_caption("1girl, solo,\nsky", "one", add) == "zibbo, 1girl, solo, sky"
    assert tags.each_caption("1girl\nsky", "several", lambda c: tags.remove(c, ["sky"])) == "1girl"


def test_counts_are_of_pictures_under_the_usual_spelling():
    found = tags.counts([("1girl, Smile, smile",), ("smile, sky",), ("a photo of a smile",), ("smile, 1girl", "Smile, sky"), ()])
    assert found[0] == ("smile", 3) and dict(found) == {"smile": 3, "1girl": 2, "sky": 2}


def test_the_numbers_of_a_dataset():
    told = tally({"a": ("zibbo, sky, once",), "b": ("zibbo, sky",), "c": ("zibbo, sky",), "d": (), "e": ("word " * 100,), "f": ("[trigger], sky",)}, "zibbo")
    assert (told.pictures, told.captioned, told.bare, told.same, told.long, told.lacking) == (6, 5, ("d",), ("b", "c"), ("e",), ("e",))
    assert [t.tag for t in told.everywhere] == ["sky"] and [t.tag for t in told.once] == ["once", "[trigger]"] or {t.tag for t in told.once} == {"once", "[trigger]"}
    assert tally({}).captioned == 0 and tally({"a": ("x",)}).everywhere == []


# -- find and replace


def test_an_expression_is_previewed_with_what_goes_and_what_comes():
    change = rewriting.replacing(r"(\w+)_hair", r"\1 hair", pattern=True)
    found = rewriting.preview({"a": "long_hair, sky", "b": "sky", "c": "", "d": "red_hair"}, change)
    assert (found.changed, found.emptied, list(found.shown)) == (2, 0, ["a", "d"])
    assert [(p.kind, p.text) for p in found.shown["a"]] == [("out", "long_hair"), ("new", "long hair"), ("same", ", sky")]
    assert rewriting.preview({"a": "sky"}, rewriting.replacing("sky", "")).emptied == 1
    many = rewriting.preview({str(n): "sky" for n in range(100)}, rewriting.replacing("sky", "sea"))
    assert many.changed == 100 and len(many.shown) == rewriting.SHOWN


def test_without_an_expression_every_sign_means_itself():
    assert rewriting.replacing("(a+)", r"\1")("x (a+) A") == r"x \1 A"
    assert rewriting.replacing("SKY.", r"\1", case=False)("sky. skyX") == r"\1 skyX"


@pytest.mark.parametrize(("find", "replace"), [("(", ""), ("a", r"\1"), ("(a)", r"\2"), ("a", r"\g<no>"), ("*", ""), ("", "x"), ("a", "\\")])
def test_what_is_no_expression_is_said(find, replace):
    with pytest.raises(ValueError, match="regular expression|cannot be used|type the text"):
        rewriting.replacing(find, replace, pattern=True)


def test_an_expression_that_would_never_end_is_stopped():
    began = time.monotonic()
    change = rewriting.replacing("(a|aa)+$", "x", pattern=True, most_s=0.3)
    with pytest.raises(ValueError, match="takes too long"):
        change("a" * 60 + "b")
    assert time.monotonic() - began < 5


# -- on disk


@pytest.fixture
def ds(home):
    made = datasets.create(home, "many")
    for n, caption in enumerate(["zibbo, smile, long_hair", "zibbo, Smile", "a photo of a smile", "sky\ngrin"]):
        write(made.path / f"p{n}.png", n)
        (made.path / f"p{n}.txt").write_text(caption, encoding="utf-8")
    made.check()
    return made


def test_a_change_of_several_is_one_step_that_a_restart_can_take_back(ds, home):
    assert ds.edit_tags(lambda c: tags.rename(c, ["smile"], "grin"), "tags", ["p0.png", "p1.png", "p2.png"]) == 2
    assert [ds.caption(f"p{n}.png") for n in range(4)] == ["zibbo, grin, long_hair", "zibbo, grin", "a photo of a smile", "sky\ngrin"]
    assert ds.rewrite(tags.spaced, "tags") == 1 and ds.caption("p0.png") == "zibbo, grin, long hair"
    datasets.forget(ds.meta)  # as after a restart: all is read from disk again
    again = open_dataset(home, ds.name)
    assert again.can_undo() == "1 caption (tags)" and again.undo() and again.undo()
    assert [again.caption(f"p{n}.png") for n in range(3)] == ["zibbo, smile, long_hair", "zibbo, Smile", "a photo of a smile"]


def test_one_look_is_one_look_until_something_changes_here(ds):
    with ds.one_look():
        first = ds.pictures(check=False)
        assert ds.pictures(check=False) == first
        ds.set_caption("p0.png", "new")
        assert ds.pictures(check=False)[0].caption == "new"
    (ds.path / "p0.txt").write_text("by another program", encoding="utf-8")
    assert ds.pictures(check=False)[0].caption == "by another program", "nothing is remembered that a file says otherwise"
    (ds.path / "p1.txt").unlink()
    (ds.path / "p9.txt").write_text("for nobody", encoding="utf-8")
    assert ds.pictures(check=False)[1].caption == "" and len(ds.pictures(check=False)) == 4


def test_a_failed_expression_changes_no_file(ds):
    before = {p: p.read_bytes() for p in ds.path.glob("*.txt")}
    with pytest.raises(ValueError, match="too long"):
        ds.rewrite(rewriting.replacing("s", "t", pattern=True, most_s=0.0), "replaced")
    assert {p: p.read_bytes() for p in ds.path.glob("*.txt")} == before and ds.can_undo() == ""
