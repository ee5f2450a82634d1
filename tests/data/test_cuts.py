"""Where clips cut: found in films that are made here, and not found in what only looks like it."""

from __future__ import annotations

import pytest
from PIL import Image, ImageEnhance

from training.data import clips, timed

from . import make

A, B = (make.pan(seed, 24) for seed in (1, 2))
WHITE = Image.new("RGB", (96, 64), "white")


def dimmed(frames, share):
    return [ImageEnhance.Brightness(f).enhance(share) for f in frames]


def twice(frames, times=2):
    return [f for f in frames for _ in range(times)]


def covered(n):
    frame = A[n].copy()
    if n >= 12:
        frame.paste((200, 150, 120), (0, 0, 30, 64))
    return frame


@pytest.mark.parametrize(("frames", "cuts"), [
    (A + B, [1.0]), (A[:12] + B[:6] + A[12:], [0.5, 0.75]), ([A[0]] * 12 + [B[0]] * 12, [0.5]), (dimmed(A + B, 0.25), [1.0]), (twice(A) + twice(B), [2.0]), (twice(A[:12], 3) + twice(B[:12], 3), [1.5]),
    (make.pan(3, 30, 20), []), (make.pan(3, 30, 45), []), (A[:12] + [WHITE] + A[12:], []), ([covered(n) for n in range(24)], []), (A, []), (A[:3] + B[:2], []),
    (A[:14] + [Image.blend(a, b, n / 10) for n, (a, b) in enumerate(zip(A[14:], B, strict=False))] + B[10:], []),
    (A[:14] + [ImageEnhance.Brightness(f).enhance(1 - n / 10) for n, f in enumerate(A[14:])] + [ImageEnhance.Brightness(f).enhance(n / 10) for n, f in enumerate(B[:10])] + B[10:], []),
], ids=["cut", "two", "still", "dark", "on twos", "on threes", "pan", "whip pan", "flash", "hand", "one", "too short", "dissolve", "through black"])  # fmt: skip
def test_hard_cuts_are_found_and_motion_flashes_and_fades_are_none(tmp_path, frames, cuts):
    path = make.filmed(tmp_path / "a.mp4", frames)
    assert clips.read_clip(path.read_bytes())[1].cuts == pytest.approx(cuts, abs=0.005)


def test_cuts_of_a_gif_are_found_at_its_few_frames_a_second(tmp_path):
    path = make.filmed(tmp_path / "a.gif", A[:10] + B[:10], 10, "gif")
    assert clips.read_clip(path.read_bytes())[1].cuts == pytest.approx([1.0], abs=0.01)


def test_a_line_with_a_time_speaks_of_the_scene_that_begins_there():
    text = "A dog.\n[0:00] It sits.\n[1:04.25] It runs.\n[1:04.25] It hurries."
    assert timed.parted(text) == ("A dog.", [(0.0, "It sits."), (64.25, "It runs."), (64.25, "It hurries.")])
    assert timed.joined(*timed.parted(text)) == text and timed.stamp(59.999) == "[1:00]" and timed.stamp(7.5) == "[0:07.5]"
    assert timed.said(text, 0, 2) == "It sits." and timed.said(text, 60, 70) == "It runs.\nIt hurries." and timed.said(text, 60, 65) == "It sits."
    assert timed.said("A dog.\n[0:10] It runs.", 0, 5) == "A dog." and timed.said("[0:10] It runs.", 0, 5) == "It runs." and timed.said("a\nb", 0, 5) == "a\nb"
    assert not timed.is_timed("[trigger] sits\n[0:xx] there\n[12] 0:04")
