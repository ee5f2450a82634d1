"""Clips: decoded, checked, cut and resampled, from real files that are made here."""

from __future__ import annotations

import json
import re
import struct
from dataclasses import replace
from itertools import pairwise

import pytest
from PIL import Image

from training.config import DataPart
from training.data import clips, datasets, frames, importing, memory
from training.data.gate import Gate
from training.data.pictures import Refused
from training.data.treatment import PLAIN, Treatment
from training.families.sd15 import SPEC as STILLS
from training.families.wan21 import SPEC as VIDEO

from . import make


def read(path):
    return clips.read_clip(path.read_bytes())


@pytest.mark.parametrize(("name", "codec", "kind"), [("a.mp4", "libx264", "MP4"), ("a.mov", "mpeg4", "MOV"), ("a.webm", "libvpx-vp9", "WEBM"), ("a.gif", "gif", "GIF")])
def test_every_sort_of_clip_is_read_with_its_length_and_middle(nasty, name, codec, kind):
    path = make.clip(nasty / name, count=20, fps=10, codec=codec)
    picture, facts = read(path)
    assert (facts.format, facts.width, facts.height) == (kind, 96, 64)
    assert facts.seconds == pytest.approx(2.0, abs=0.02)
    assert not facts.notes
    assert kind == "GIF" or make.number_of(picture, 20) in (9, 10, 11)  # a GIF does not say beforehand where its middle is
    assert make.number_of(datasets.load_pixels(path), 20) == make.number_of(picture, 20)


@pytest.mark.parametrize(("fps", "start", "wanted"), [
    (24, 0, [0, 1, 2, 3, 4]), (12, 0, [0, 2, 4, 6, 8]), (16, 0, [0, 1, 3, 4, 6]), (48, 3, [1, 2, 2, 3, 3]), (24, 19, [19, 20, 21, 22, 23]), (24, 21, [21, 22, 23, 23, 23]),
])  # fmt: skip
def test_a_clip_is_resampled_to_the_frame_on_screen_at_each_time(nasty, fps, start, wanted):
    path = make.clip(nasty / "a.mp4", count=24, fps=24)
    assert [make.number_of(f, 24) for f in clips.frames_at(path, start, 5, fps)] == wanted


def test_a_gif_is_resampled_by_its_own_times(nasty):
    pages = [make.numbered(n, 4) for n in range(4)]
    pages[0].save(nasty / "a.gif", save_all=True, append_images=pages[1:], duration=[100, 300, 100, 500])
    assert read(nasty / "a.gif")[1].seconds == pytest.approx(1.0)
    assert [make.number_of(f, 4) for f in clips.frames_at(nasty / "a.gif", 0, 10, 10)] == [0, 1, 1, 1, 2, 3, 3, 3, 3, 3]


def test_a_turned_phone_video_stands_upright(nasty):
    path = make.clip(nasty / "a.mp4", size=(128, 64), count=4)
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40  # the matrix of ISO 14496-12's track header, version 0
    data[at : at + 36] = struct.pack(">9i", 0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30)  # a quarter clockwise, as phones write it
    path.write_bytes(data)
    picture, facts = read(path)
    assert (facts.width, facts.height) == picture.size == (64, 128)
    upright = make.numbered(2, 4, size=(128, 64)).transpose(Image.Transpose.ROTATE_270)
    assert all(abs(a - b) < 40 for at in ((60, 4), (40, 100), (10, 60)) for a, b in zip(picture.getpixel(at), upright.getpixel(at), strict=True))


def test_colours_survive_the_way_through_our_own_mp4():
    for size in ((96, 64), (1280, 720)):
        clip = clips.mp4([Image.new("RGB", size, (220, 20, 20))] * 3, 16)
        assert all(abs(a - b) <= 4 for a, b in zip(clips.read_clip(clip)[0].getpixel((40, 40)), (220, 20, 20), strict=True))


def damaged(nasty):
    whole = make.clip(nasty / "whole.mp4", count=48, size=(256, 256))
    gif = make.clip(nasty / "whole.gif", count=10, codec="gif")
    webm = make.clip(nasty / "whole.webm", count=240, codec="libvpx-vp9")
    yield "cut off", whole.read_bytes()[:-200]
    yield "cut off", gif.read_bytes()[:-400]
    yield "cut off", webm.read_bytes()[: webm.stat().st_size // 3]
    yield "cut off", b"\x1aE\xdf\xa3" + b"nothing" * 40
    yield "too short", make.clip(nasty / "one.mp4", count=1).read_bytes()
    yield "too small", make.clip(nasty / "small.mp4", count=3, size=(32, 32)).read_bytes()
    yield "longer than 8:1", make.clip(nasty / "long.mp4", count=3, size=(640, 64)).read_bytes()
    yield "too large", make.clip(nasty / "large.mp4", count=2, size=(4096, 2400)).read_bytes()
    yield "too long", make.clip(nasty / "hours.mp4", count=130, fps=1).read_bytes()
    yield "saved as MP4|save it as MP4", make.clip(nasty / "raw.mkv", count=3, codec="ffv1").read_bytes()


@pytest.mark.slow
def test_each_clip_that_cannot_be_used_gets_its_reason_from_the_gate(nasty):
    with Gate() as gate:
        for n, (reason, data) in enumerate(damaged(nasty)):
            path = nasty / f"bad {n}.mp4"
            path.write_bytes(data)
            report = gate.check(path, nasty / "thumb.webp")
            assert not report.ok and any(word in report.reason for word in reason.split("|")), (reason, report)
            with pytest.raises(Refused):
                read(path)


def test_a_playlist_that_names_another_file_is_no_clip(nasty):
    (nasty / "secret.txt").write_text("the secret")
    (nasty / "a.mp4").write_text(f"ffconcat version 1.0\nfile '{nasty / 'secret.txt'}'\n")
    with Gate() as gate:
        assert "is not a picture or clip" in gate.check(nasty / "a.mp4").reason


def test_clips_come_into_a_dataset_beside_pictures_with_their_captions(home, nasty):
    source = nasty / "source"
    make.clip(source / "run.mp4", count=50)
    make.write(source / "still.png")
    (source / "run.txt").write_text("a horse runs", encoding="utf-8")
    ds = datasets.create(home, "mixed")
    said = importing.add_folder(ds, source)
    assert datasets.summary(said) == "1 picture added, 1 clip added, 1 caption paired"
    clip, still = ds.pictures()
    assert (clip.id, clip.caption, still.seconds) == ("run.mp4", "a horse runs", 0)
    assert clip.usable and clip.seconds == pytest.approx(50 / 24, abs=0.01)
    with Image.open(ds.thumbnail("run.mp4")) as thumb:
        assert thumb.size == (96, 64)


def a_clip(id, seconds, **more):
    return datasets.Picture(id, None, 96, 64, 1, "", "ok", "", more.pop("caption", ""), "", "", seconds=seconds, **more)


def test_a_longer_clip_is_cut_into_evenly_spaced_pieces_without_overlap():
    data = DataPart(datasets=({"name": "x"},), frames=9, fps=16, segments=3)
    cut = lambda seconds, **changes: [(s.start, s.frames) for s in frames.segments(a_clip("a.mp4", seconds), data.datasets[0], data.model_copy(update=changes), VIDEO)]
    assert cut(0) == [(0, 1)]
    assert cut(9 / 16) == [(0, 9)]
    assert cut(2.0) == [(0, 9), (11, 9), (23, 9)]
    assert cut(2.0, segments=1) == [(11, 9)]
    assert cut(1.25) == [(0, 9), (11, 9)]  # 20 frames hold two
    assert cut(7 / 16) == [(1, 5)]  # 7 frames: 4n + 1 of them
    assert cut(3 / 16) == []
    assert cut(2.0, frames=1) == []
    assert frames.segments(a_clip("a.mp4", 2.0), data.datasets[0], data, STILLS) == []
    for seconds in (0.6, 1.7, 3.3, 9.9):
        pieces = cut(seconds, segments=100)
        assert all(a + 9 <= b for (a, _), (b, _) in pairwise(pieces))
        assert pieces[-1][0] + 9 <= frames.available(seconds, 16)


def test_what_is_left_out_is_said():
    data = DataPart(datasets=({"name": "x"},), frames=9, fps=16)
    made = [(data.datasets[0], a_clip(*row)) for row in (("a.png", 0), ("b.mp4", 0.1), ("c.mp4", 0.4), ("d.mp4", 3))]
    assert frames.left_out(made, data, VIDEO) == [
        "1 clip is left out, being shorter than 5 frames at 16 a second: b.mp4",
        "1 clip is shorter than 9 frames at 16 a second, and learnt with the frames there are: c.mp4",
    ]
    assert frames.left_out(made, data, STILLS) == ["3 clips are left out: Stable Diffusion 1.5 learns still pictures only"]
    assert frames.left_out(made, data.model_copy(update={"frames": 1}), VIDEO) == ["3 clips are left out: data.frames is 1, so only still pictures are learnt"]
    assert frames.left_out(made[:1], data, STILLS) == []
    fixed = replace(VIDEO, fps=24.0)
    assert any("reckons with 24 frames a second, so clips taken at 16 a second" in text for text in frames.left_out(made, data, fixed))
    assert not frames.left_out(made[3:], data.model_copy(update={"fps": 24.0}), fixed) and not frames.left_out(made[3:], data, VIDEO)


@pytest.mark.parametrize("delay_cs", [None, 0, 1])
def test_a_gif_that_does_not_say_its_times_is_a_clip_of_a_tenth_of_a_second_a_frame(nasty, delay_cs):
    pages = [make.numbered(n, 4) for n in range(4)]
    pages[0].save(nasty / "a.gif", save_all=True, append_images=pages[1:], duration=300)
    control = re.compile(rb"\x21\xf9\x04(.)..(.)\0", re.DOTALL)
    said = lambda found: b"" if delay_cs is None else b"\x21\xf9\x04" + found[1] + bytes((delay_cs, 0)) + found[2] + b"\0"
    (nasty / "a.gif").write_bytes(control.sub(said, (nasty / "a.gif").read_bytes()))
    assert read(nasty / "a.gif")[1].seconds == pytest.approx(0.4)
    assert [make.number_of(f, 4) for f in clips.frames_at(nasty / "a.gif", 0, 4, 10)] == [0, 1, 2, 3]


def test_no_piece_crosses_a_cut_and_scenes_that_are_too_short_are_said():
    data = DataPart(datasets=({"name": "x"},), frames=9, fps=16, segments=3, scenes=True)
    clip = a_clip("a.mp4", 3.0, cuts=(1.0, 1.2, 2.01))
    found = frames.segments(clip, data.datasets[0], data, VIDEO)
    assert [(s.start, s.frames) for s in found] == [(3, 9), (22, 9), (36, 9)]  # 0-15, 20-32, 33-47; 16-19 are too few
    for s in found:
        shown = [n / 16 for n in range(s.start, s.start + s.frames)]
        assert not any(shown[0] < at <= shown[-1] for at in clip.cuts)
    assert frames.left_out([(data.datasets[0], clip)], data, VIDEO) == ["1 scene is left out, being shorter than 5 frames at 16 a second; it lies in a.mp4"]
    whole = data.model_copy(update={"scenes": False})
    assert [(s.start, s.frames) for s in frames.segments(clip, data.datasets[0], whole, VIDEO)] == [(0, 9), (19, 9), (39, 9)]


def test_a_trimmed_clip_is_cut_inside_of_its_trim():
    data = DataPart(datasets=({"name": "x"},), frames=9, fps=16, segments=9, scenes=True)
    clip = a_clip("a.mp4", 3.0, cuts=(1.0, 2.0), treatment=PLAIN.trimmed(0.5, 2.6, 3.0))
    assert [(s.start, s.frames) for s in frames.segments(clip, data.datasets[0], data, VIDEO)] == [(19, 9), (32, 9), (9, 5)]
    assert frames.scenes(clip) == [(0.5, 1.0), (1.0, 2.0), (2.0, 2.6)] and frames.scenes(clip, split=False) == [(0.5, 2.6)]


def test_length_and_rate_may_be_a_datasets_own_and_several_lengths_are_cut():
    data = DataPart(datasets=({"name": "x"}, {"name": "y", "frames": 17, "fps": 8}, {"name": "z", "frames": 1}), frames=9, fps=16, segments=1, shorter=(5, 13))
    first, second, third = data.datasets
    of = lambda use: [(s.start, s.frames, s.fps) for s in frames.segments(a_clip("a.mp4", 4.0), use, data, VIDEO)]
    assert of(first) == [(27, 9, 16.0), (29, 5, 16.0)] and of(second) == [(7, 17, 8.0), (9, 13, 8.0), (13, 5, 8.0)] and of(third) == []
    assert data.most_frames == 17
    assert frames.left_out([(use, a_clip(f"{use.name}.mp4", 1.5)) for use in data.datasets], data, VIDEO) == [
        "1 clip is shorter than 17 frames at 8 a second, and learnt with the frames there are: y.mp4", "the clips of a dataset whose frames are 1 are left out: z.mp4",
    ]  # fmt: skip


@pytest.mark.parametrize(("start", "end", "says"), [(2.0, 1.0, "the end lies behind the start"), (5.0, 6.0, "3.0 s long"), (float("nan"), 1.0, "the end lies behind")])
def test_a_trim_that_is_none_is_refused(start, end, says):
    with pytest.raises(ValueError, match=says):
        PLAIN.trimmed(start, end, 3.0)


@pytest.mark.slow
def test_a_trim_is_kept_beside_undone_and_counts_in_the_fingerprint(home, nasty):
    ds = datasets.create(home, "films")
    make.film(ds.path / "a.mp4", [(1, 24), (2, 24)])
    clip, before = ds.get("a.mp4"), ds.fingerprint()
    assert clip.cuts == pytest.approx((1.0,), abs=0.01)
    ds.trim("a.mp4", 0.25, 1.5)
    assert ds.get("a.mp4").treatment == Treatment(start_s=0.25, end_s=1.5) and ds.fingerprint() != before and ds.can_undo() == "1 clip trimmed"
    ds.trim("a.mp4", 0.5, 9.0)
    assert (ds.meta / "treatment.json").read_text() == f'{{"{clip.sha256}": "@0.5-0"}}' and ds.get("a.mp4").treatment.until(2.0) == 2.0
    ds.treat(["a.mp4"], "out")
    assert ds.get("a.mp4").treatment.text == "x@0.5-0" and ds.undo() == "1 picture as before"
    ds.trim("a.mp4", 0.0, 2.0)
    assert ds.get("a.mp4").treatment == PLAIN and ds.fingerprint() == before and ds.can_undo() == "1 clip whole again"
    assert [ds.undo() for _ in range(3)] == ["1 picture as before"] * 3 and ds.get("a.mp4").treatment == PLAIN
    prints = []
    for moved in ("[0:00] a cat\n[0:01] a dog", "[0:00] a cat\n[0:00.5] a dog"):
        ds.set_caption("a.mp4", moved)
        prints.append(ds.fingerprint())
    assert prints[0] != prints[1], "a time that was moved is another caption"
    make.write(ds.path / "b.png")
    with pytest.raises(ValueError, match=r"b.png is not a clip"):
        ds.trim("b.png", 0, 1)


@pytest.mark.slow
def test_a_clip_that_nobody_looked_for_cuts_in_is_looked_at_again(home):
    ds = datasets.create(home, "films")
    make.film(ds.path / "a.mp4", [(1, 12), (2, 12)])
    assert len(ds.get("a.mp4").cuts) == 1
    index = ds.meta / "index.json"
    known = json.loads(index.read_text())
    for wrong in (None, "x", [0.5, 0.2], [9.0], [float("nan")]):
        record = {k: v for k, v in known["pictures"]["a.mp4"].items() if k != "cuts"} | ({} if wrong is None else {"cuts": wrong})
        assert not memory.is_record(record)
    del known["pictures"]["a.mp4"]["cuts"]
    index.write_text(json.dumps(known))
    memory.forget(ds.meta)
    assert len(ds.get("a.mp4").cuts) == 1
