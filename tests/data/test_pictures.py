"""Every sort of picture comes out as upright sRGB, or is refused with a reason that helps."""

from __future__ import annotations

import io
import os
import struct

import pytest
from PIL import Image, ImageCms

from training.data.gate import Gate
from training.data.pictures import Refused, load_pixels

from .make import encoded, png_claiming, scene

RED = (220, 20, 20)


def near(pixel, wanted, by=12) -> bool:
    return all(abs(a - b) <= by for a, b in zip(pixel, wanted, strict=True))


@pytest.fixture(scope="module")
def gate():
    with Gate() as gate:
        yield gate


def looked_at(gate, folder, name, data):
    path = folder / name
    path.write_bytes(data)
    return path, gate.check(path, folder / "thumb.webp")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(gate, nasty, orientation):
    turn = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # orientation -> the transposition that undoes what EXIF will do
    upright = scene(1, (120, 80))
    stored = upright if orientation == 1 else upright.transpose(Image.Transpose(turn[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    path, report = looked_at(gate, nasty, "turned.jpg", encoded(stored, "JPEG", exif=exif, quality=95))
    assert (report.ok, report.width, report.height) == (True, 120, 80)
    picture = load_pixels(path)
    assert picture.size == (120, 80) and near(picture.getpixel((10, 10)), RED, 20)
    assert near(Image.open(nasty / "thumb.webp").convert("RGB").getpixel((10, 10)), RED, 40)


def test_orientation_in_png_and_tiff(gate, nasty):
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = scene(2, (120, 80)).transpose(Image.Transpose.ROTATE_90)
    for name, kind in (("a.png", "PNG"), ("a.tif", "TIFF"), ("a.webp", "WEBP")):
        path, report = looked_at(gate, nasty, name, encoded(stored, kind, exif=exif))
        assert (report.width, report.height) == (120, 80), kind
        assert near(load_pixels(path).getpixel((10, 10)), RED, 30), kind


@pytest.mark.parametrize(
    ("kind", "mode", "note"),
    [
        ("PNG", "RGB", ""), ("PNG", "L", ""), ("PNG", "P", ""), ("PNG", "1", ""), ("JPEG", "RGB", ""), ("JPEG", "L", ""), ("JPEG", "CMYK", "CMYK"),
        ("WEBP", "RGB", ""), ("GIF", "P", ""), ("BMP", "RGB", ""), ("TIFF", "RGB", ""), ("TIFF", "CMYK", "CMYK"), ("TIFF", "LAB", "Lab"), ("AVIF", "RGB", ""),
        ("HEIF", "RGB", ""),
    ],
)  # fmt: skip
def test_formats_and_colour_modes(gate, nasty, kind, mode, note):
    import pillow_heif

    pillow_heif.register_heif_opener()
    image = scene(3)
    if mode == "LAB":
        image = ImageCms.profileToProfile(image, ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB")
    else:
        image = image.convert(mode)
    path, report = looked_at(gate, nasty, f"a.{kind.lower()}", encoded(image, kind))
    assert report.ok and report.format == kind and note in report.note and bool(report.note) == bool(note), report
    picture = load_pixels(path)
    assert picture.mode == "RGB" and picture.size == (120, 80) and not picture.info
    if mode not in ("L", "1"):
        assert near(picture.getpixel((20, 20)), RED, 45)


def test_sixteen_bit_grey_is_scaled_not_clipped(gate, nasty):
    ramp = Image.new("I;16", (256, 64))
    ramp.putdata([x * 257 for _ in range(64) for x in range(256)])
    path, report = looked_at(gate, nasty, "ramp.png", encoded(ramp, "PNG"))
    assert report.ok and "16 bit" in report.note
    picture = load_pixels(path)
    assert [picture.getpixel((x, 5))[0] for x in (0, 64, 128, 255)] == [0, 64, 128, 255]


def test_floating_point_tiff(gate, nasty):
    ramp = Image.new("F", (101, 64))
    ramp.putdata([x / 100 for _ in range(64) for x in range(101)])
    path, report = looked_at(gate, nasty, "ramp.tif", encoded(ramp, "TIFF"))
    assert report.ok and "floating" in report.note
    assert abs(load_pixels(path).getpixel((50, 5))[0] - 128) <= 1


def test_a_colour_profile_is_applied(gate, nasty):
    linear = _swapped_profile()
    path, report = looked_at(gate, nasty, "swapped.png", encoded(Image.new("RGB", (80, 80), (200, 30, 30)), "PNG", icc_profile=linear))
    assert "sRGB" in report.note
    r, g, _ = load_pixels(path).getpixel((5, 5))
    assert g > r + 50, "the profile calls the first channel green"


def test_a_broken_colour_profile_costs_nothing_but_itself(gate, nasty):
    path, report = looked_at(gate, nasty, "a.png", encoded(scene(4), "PNG", icc_profile=b"no profile at all"))
    assert report.ok and "profile is not usable" in report.note
    assert near(load_pixels(path).getpixel((5, 5)), RED)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_is_shown_on_white_and_said(gate, nasty, mode):
    image = Image.new("RGBA", (80, 80), (0, 0, 0, 0))
    image.paste((200, 200, 200, 255), (40, 0, 80, 80))
    options = {}
    if mode == "P":
        image = Image.new("P", (80, 80), 0)
        image.putpalette([0, 0, 0, 200, 200, 200])
        image.paste(1, (40, 0, 80, 80))
        options = {"transparency": 0}
    else:
        image = image.convert(mode)
    path, report = looked_at(gate, nasty, "t.png", encoded(image, "PNG", **options))
    assert report.ok and report.note == "transparent parts are shown on white"
    assert load_pixels(path).getpixel((5, 5)) == (255, 255, 255) and load_pixels(path).getpixel((60, 5)) == (200, 200, 200)


def test_an_alpha_channel_that_hides_nothing_is_not_mentioned(gate, nasty):
    _, report = looked_at(gate, nasty, "t.png", encoded(scene(5).convert("RGBA"), "PNG"))
    assert report.ok and not report.note


@pytest.mark.parametrize("kind", ["WEBP", "PNG"])
def test_of_an_animated_picture_the_first_frame_is_used_and_said(gate, nasty, kind):
    frames = [Image.new("RGB", (80, 80), c) for c in ("red", "blue", "lime")]
    path, report = looked_at(gate, nasty, f"a.{kind.lower()}", encoded(frames[0], kind, save_all=True, append_images=frames[1:]))
    assert report.ok and "animated: the first frame is used" in report.note
    assert near(load_pixels(path).getpixel((5, 5)), (255, 0, 0), 10)


def test_of_several_pages_the_first_is_used(gate, nasty):
    pages = [Image.new("RGB", (80, 80), c) for c in ("red", "blue")]
    _, report = looked_at(gate, nasty, "a.tiff", encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:]))
    assert report.ok and "several pages" in report.note


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("cut.jpg", encoded(scene(6, (800, 600)), "JPEG")[:9000], "cut off"),
        ("cut.png", encoded(scene(6, (800, 600)), "PNG")[:2000], "cut off"),
        ("cut.webp", encoded(scene(6, (800, 600)), "WEBP")[:1500], "damaged"),
        ("cut.avif", encoded(scene(6, (800, 600)), "AVIF")[:1500], ""),
        ("cut.tiff", encoded(scene(6, (800, 600)), "TIFF", compression="tiff_lzw")[:2000], ""),
        ("cut.gif", encoded(scene(6, (800, 600)), "GIF")[:3000], "cut off"),
        ("cut.bmp", encoded(scene(6), "BMP")[:3000], "cut off"),
        ("head.jpg", encoded(scene(6), "JPEG")[:30], "cut off"),
        ("page.jpg", b"<!DOCTYPE html><html><body>Not found</body></html>", "web page"),
        ("drawing.png", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        ("doc.png", b"%PDF-1.7 ...", "PDF"),
        ("lfs.png", b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "LFS"),
        ("noise.png", bytes(range(256)) * 4, "not a picture"),
        ("empty.png", b"", "empty"),
        ("bomb.png", png_claiming(60_000, 60_000), "megapixels"),
        ("large.png", png_claiming(9_000, 8_000), "72 megapixels"),
        ("dot.png", encoded(Image.new("RGB", (1, 1))), "too small"),
        ("small.png", encoded(Image.new("RGB", (63, 200))), "at least 64 px"),
        ("long.png", encoded(Image.new("RGB", (521, 65))), "8:1"),
        ("eps.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n", "not a picture"),
        ("ico.png", encoded(scene(6, (128, 128)), "ICO"), "not a picture"),
    ],
)
def test_what_is_refused_and_why(gate, nasty, name, data, reason):
    path, report = looked_at(gate, nasty, name, data)
    assert not report.ok and reason in report.reason, report
    with pytest.raises(Refused):
        load_pixels(path)


def test_sixty_four_pixels_and_eight_to_one_are_just_enough(gate, nasty):
    assert looked_at(gate, nasty, "a.png", encoded(Image.new("RGB", (64, 64))))[1].ok
    assert looked_at(gate, nasty, "b.png", encoded(Image.new("RGB", (520, 65))))[1].ok


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
def test_pipes_links_devices_and_folders_are_refused_at_once(gate, nasty):
    os.mkfifo(nasty / "pipe.png")
    (nasty / "target.png").write_bytes(encoded(scene(7)))
    (nasty / "link.png").symlink_to(nasty / "target.png")
    (nasty / "folder.png").mkdir()
    (nasty / "zero.png").symlink_to("/dev/zero")
    for name, reason in (("pipe.png", "pipe"), ("link.png", "link"), ("folder.png", "folder"), ("zero.png", "link")):
        assert reason in gate.check(nasty / name).reason
        with pytest.raises(Refused, match=reason):
            load_pixels(nasty / name)
    assert "device" in gate.check("/dev/zero").reason
    assert "cannot be read" in gate.check(nasty / "absent.png").reason


def test_a_picture_that_kills_the_child_gets_a_reason_and_the_rest_goes_on(nasty):
    (nasty / "big.png").write_bytes(png_claiming(7900, 7900))  # within the limit, and 250 MB when open
    (nasty / "good.png").write_bytes(encoded(scene(8)))
    with Gate(memory_bytes=220 * 1024**2) as gate:
        big, good = gate.check(nasty / "big.png"), gate.check(nasty / "good.png")
    assert not big.ok and "memory" in big.reason
    assert good.ok


def test_a_child_that_dies_or_hangs_is_replaced(nasty):
    (nasty / "good.png").write_bytes(encoded(scene(8)))
    with Gate() as gate:
        assert gate.check(nasty / "good.png").ok
        first = gate._child.pid
        os.kill(first, 11)
        died = gate.check(nasty / "good.png")
        assert died.ok or "crashed the decoder" in died.reason
        assert gate.check(nasty / "good.png").ok and gate._child.pid != first
    with Gate(wall_s=0.001) as hasty:
        assert "took longer" in hasty.check(nasty / "good.png").reason
        hasty.wall_s = 60
        assert hasty.check(nasty / "good.png").ok


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows has no CPU limit; there the wall clock ends it")
def test_computing_time_is_limited(nasty):
    # 61 megapixels, transparent, with a colour profile: all the work that a picture can make
    (nasty / "slow.png").write_bytes(encoded(Image.new("RGBA", (7800, 7800), (9, 8, 7, 6)), compress_level=1, icc_profile=_swapped_profile()))
    with Gate(cpu_s=0) as gate:
        report = gate.check(nasty / "slow.png", nasty / "t.webp")
    assert not report.ok and "of computing" in report.reason


def _swapped_profile() -> bytes:
    """sRGB's own profile with the red and green primaries exchanged."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = struct.unpack(">I", data[128:132])[0]
    at = {bytes(data[132 + 12 * i : 136 + 12 * i]): 132 + 12 * i for i in range(count)}
    data[at[b"rXYZ"] : at[b"rXYZ"] + 4], data[at[b"gXYZ"] : at[b"gXYZ"] + 4] = b"gXYZ", b"rXYZ"
    description = b"sRGB"
    text = bytes(data).replace("sRGB".encode("utf-16-be"), "wRGB".encode("utf-16-be")).replace(description, b"wRGB")
    ImageCms.ImageCmsProfile(io.BytesIO(text))
    return text
