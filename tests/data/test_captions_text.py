"""Caption files of every encoding, and the trigger word."""

from __future__ import annotations

import codecs
import random

import pytest

from training.data import encodings
from training.data.captions import about_tokens, clean_caption, cut_captions, decode_caption, remarks, split, trained, with_trigger


@pytest.mark.parametrize(
    ("data", "text", "note"),
    [
        ("café 日本".encode(), "café 日本", ""),
        (codecs.BOM_UTF8 + "café".encode(), "café", ""),
        (codecs.BOM_UTF16_LE + "café".encode("utf-16-le"), "café", "UTF-16"),
        (codecs.BOM_UTF16_BE + "café".encode("utf-16-be"), "café", "UTF-16"),
        ("café – “naïve”".encode("cp1252"), "café – “naïve”", "Windows-1252"),
        (b"two\r\nlines\tand\x00"[:-1] + b"\x07bell ", "two\nlines andbell", ""),
        ("cafe\u0301".encode(), "café", ""),
        ("👩\u200d🚀 in space".encode(), "👩\u200d🚀 in space", ""),
        (b"", "", ""),
    ],
)
def test_encodings(data, text, note):
    found, said, _ = decode_caption(data)
    assert found == text and note in said and bool(said) == bool(note)


@pytest.mark.parametrize(
    ("data", "reason"), [(b"\x89PNG\0\0\0", "binary"), (b"a" * 1_000_001, "1 MB"), (bytes(range(1, 9)) * 3, "binary")]
)
def test_what_is_no_caption(data, reason):
    with pytest.raises(ValueError, match=reason):
        decode_caption(data)


def test_cleaning_drops_what_cannot_be_saved():
    assert clean_caption("a\ud800b\u2028c \x1b[31m") == "ab c [31m"


def test_the_trigger_goes_in_front_unless_it_is_there_as_a_word():
    assert with_trigger("a cat", "zibbo") == "zibbo, a cat"
    assert with_trigger("a Zibbo on grass", "zibbo") == "a Zibbo on grass"
    assert with_trigger("a zibboid", "zibbo") == "zibbo, a zibboid"
    assert with_trigger("", "zibbo") == "zibbo" and with_trigger("a cat", "") == "a cat"
    assert with_trigger("a c++ book", "c++") == "a c++ book"


def test_long_captions_are_named():
    short, long = "a photo of a red cat on a sofa", "a photo of a red cat, " * 20
    assert cut_captions([short, long]) == [(1, about_tokens(long))]
    assert 8 <= about_tokens(short) <= 14, "CLIP makes 11 of it"
    assert about_tokens("日本の城") > 5


RUSSIAN = ["девушка в красном платье", "кот на диване, мягкий свет", "дом у моря"]


@pytest.mark.parametrize(
    ("texts", "codec"),
    [
        (RUSSIAN, "cp1251"), (RUSSIAN, "koi8-r"), (["一个女孩在公园里", "红色的猫，坐在沙发上"], "gb18030"), (["公園にいる女の子", "1girl, 笑顔, 長い髪"], "cp932"),
        (["공원에 있는 소녀", "1girl, 미소"], "cp949"), (["紅色的貓，坐在沙發上", "海邊的房子"], "big5"), (["κορίτσι στο πάρκο", "ένα σπίτι"], "cp1253"),
        (["kočka na pohovce, měkké světlo", "žlutý dům u řeky"], "cp1250"), (["garçon à la fenêtre", "una niña", "Fräulein"], "cp1252"),
    ],
)  # fmt: skip
def test_captions_of_one_source_tell_their_encoding_together(texts, codec):
    data = [text.encode(codec) for text in texts]
    together = encodings.guess(data)
    assert together in encodings.CHOICES and [decode_caption(d, together).text for d in data] == texts
    assert decode_caption(data[0], together).guessed == together


@pytest.mark.parametrize("text", ["a red cat", "кот", "日本の城, 海"])
@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be"])
def test_utf_16_is_known_without_its_mark(text, codec):
    assert decode_caption(text.encode(codec))[0::2] == (text, "")


def test_a_stray_nul_is_left_out_and_noise_is_no_text():
    assert decode_caption(b"a red\0 cat").text == "a red cat" and decode_caption(b" \n ").text == ""
    with pytest.raises(ValueError, match="binary"):
        decode_caption(random.Random(0).randbytes(400))


def test_lines_are_captions_of_their_own_unless_they_are_one_text():
    assert split("1girl, smile\na woman smiles") == ("1girl, smile", "a woman smiles")
    wrapped = "A woman in a long red dress stands in front of an old stone house and\nlooks at the sea."
    for one in (wrapped, "A woman.\n\nShe smiles.", "1girl, smile,\nlong hair"):
        assert split(one) == (" ".join(one.split()),)
    assert len(split(wrapped, "several")) == 2 and split("1girl, smile\na woman smiles", "one") == ("1girl, smile a woman smiles",)
    assert split("a cat\na cat") == ("a cat",) and split("") == ()


def test_the_trigger_takes_its_place_and_separators_are_never_words():
    assert trained("photo of [trigger] in a park", "zibbo") == "photo of zibbo in a park"
    assert trained("[Name], smiling", "zibbo") == "zibbo, smiling"
    assert trained("a photo, [trigger], in a park", "") == "a photo, in a park"
    assert trained("1girl, solo ||| smile, park ||| best", "zibbo") == "zibbo, 1girl, solo, smile, park, best"


def test_captions_that_teach_little_are_told():
    assert remarks(["a red cup on a table", "a blue cup in the sun"]) == []
    assert remarks(["zibbo"] * 13 + ["zibbo on a chair"], "zibbo") == ["13 of 14 captions hold only the trigger word 'zibbo'"]
    assert remarks(["zibbo"] * 13 + ["zibbo on a chair"]) == ["13 of 14 captions are a single word"]
    assert remarks(["a cat on a mat"] * 3 + ["a dog"]) == ["3 of 4 captions are the same"]
    assert remarks(["zibbo in the snow", "a cat on a mat", ""], "zibbo") == ["1 of 2 captions lacks the trigger word, which is put in front of it"]
    assert remarks([], "x") == [] and remarks(["", ""], "x") == []
