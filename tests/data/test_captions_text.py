"""Caption files of every encoding, and the trigger word."""

from __future__ import annotations

import codecs

import pytest

from training.data.captions import about_tokens, clean_caption, cut_captions, decode_caption, with_trigger


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
