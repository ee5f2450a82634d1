"""ZIPs give up their pictures, and nothing else of what a ZIP can do."""

from __future__ import annotations

import io
import os
import stat
import struct
import tarfile
import zipfile

import pytest

from training.data import datasets, importing, tars, zips

from .make import encoded, scene, zipped


@pytest.fixture
def ds(home):
    return datasets.create(home, "Zipped ‘things’ & 日本")


def by_file(verdicts):
    return {v.file: v for v in verdicts}


def test_captions_stay_with_their_picture_by_folder_and_stem(ds, nasty):
    path = zipped(nasty / "a 'b' ü.zip", {
        "one/cat.png": encoded(scene(1)), "one/cat.txt": b"cat of one", "two/cat.png": encoded(scene(2)), "two/cat.txt": b"cat of two",
        "two/cat.jpg": encoded(scene(3), "JPEG"), "Ünï 日本.png": encoded(scene(4)), "Ünï 日本.txt": "schön".encode(), "stray.txt": b"alone",
    })  # fmt: skip
    verdicts = by_file(importing.add_files(ds, [path]))
    captions = {p.id: p.caption for p in ds.pictures()}
    assert captions == {"cat.png": "cat of one", "cat-2.png": "cat of two", "cat-3.jpg": "cat of two", "Ünï 日本.png": "schön"}
    assert verdicts["two/cat.png"].reason == "kept as cat-2.png" and verdicts["two/cat.txt"].ok
    assert "no picture of this name" in verdicts["stray.txt"].reason
    assert not list(ds.meta.glob("incoming/*")), "nothing is left behind"


def test_system_files_are_counted_not_refused(ds, nasty):
    path = zipped(nasty / "mac.zip", {"a.png": encoded(scene(1)), "__MACOSX/._a.png": b"x", ".DS_Store": b"x", "d/Thumbs.db": b"x"})
    verdicts = importing.add_files(ds, [path])
    assert datasets.summary(verdicts) == "1 picture added, 3 hidden system files left out"


def test_paths_that_lead_outside_are_refused_and_nothing_is_written_there(ds, nasty):
    names = ["../evil.png", "/etc/evil.png", "a/../../evil.png", "C:\\evil.png", "..\\evil.png"]
    verdicts = (importing.add_files(ds, [zipped(nasty / "slip.zip", {n: encoded(scene(i)) for i, n in enumerate(names)} | {"good.png": encoded(scene(9))})]))
    assert [p.id for p in ds.pictures()] == ["good.png"]
    assert sum("outside" in v.reason for v in verdicts) == len(names)
    assert not list(nasty.rglob("evil*"))


def test_links_devices_and_encrypted_entries_are_refused(ds, nasty):
    path = nasty / "odd.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, mode in (("link.png", stat.S_IFLNK), ("device.png", stat.S_IFCHR), ("pipe.png", stat.S_IFIFO)):
            info = zipfile.ZipInfo(name)
            info.create_system, info.external_attr = 3, (mode | 0o777) << 16
            archive.writestr(info, b"/etc/passwd")
        archive.writestr("secret.png", encoded(scene(1)))
        archive.writestr("good.png", encoded(scene(2)))
    data = bytearray(path.read_bytes())
    at = data.rindex(b"secret.png") - 46  # its entry in the directory
    assert data[at : at + 4] == b"PK\x01\x02"
    data[at + 8] |= 1
    path.write_bytes(data)
    reasons = {name: v.reason for name, v in by_file(importing.add_files(ds, [path])).items()}
    assert "link" in reasons["link.png"] and "device" in reasons["device.png"] and "device" in reasons["pipe.png"]
    assert "encrypted" in reasons["secret.png"] and reasons["good.png"] == ""


def test_bombs_are_refused(ds, nasty):
    path = nasty / "bomb.zip"
    zipped(path, {"zeros.png": b"\0" * 30_000_000, "good.png": encoded(scene(1))})
    verdicts = by_file(importing.add_files(ds, [path]))
    assert "250 times" in verdicts["zeros.png"].reason and verdicts["good.png"].ok


def test_a_bomb_that_lies_about_its_size_is_stopped_while_it_unpacks(ds, nasty):
    path = zipped(nasty / "liar.zip", {"zeros.png": b"\0" * 30_000_000})
    data = bytearray(path.read_bytes())
    at = data.rindex(b"PK\x01\x02")
    data[at + 24 : at + 28] = struct.pack("<I", 900_000)
    path.write_bytes(data)
    (verdict,) = importing.add_files(ds, [path])
    assert not verdict.ok
    assert sum(f.stat().st_size for f in ds.path.rglob("*") if f.is_file()) < 5_000_000


def test_overlapping_entries_are_refused(ds, nasty):
    path = zipped(nasty / "overlap.zip", {"a.png": encoded(scene(1)), "b.png": encoded(scene(1))}, zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    second = data.rindex(b"PK\x01\x02")
    data[second + 42 : second + 46] = struct.pack("<I", 0)  # b starts where a starts
    path.write_bytes(data)
    verdicts = importing.add_files(ds, [path])
    assert all("shares its bytes" in v.reason for v in verdicts) and len(verdicts) == 2


def test_archives_inside_are_listed_not_opened(ds, nasty):
    inner = zipped(nasty / "inner.zip", {"x.png": encoded(scene(1))}).read_bytes()
    (verdict,) = importing.add_files(ds, [zipped(nasty / "outer.zip", {"deep/inner.zip": inner})])
    assert verdict.file == "deep/inner.zip" and "not opened" in verdict.reason


def test_a_damaged_entry_costs_only_itself(ds, nasty):
    path = zipped(nasty / "crc.zip", {"a.png": encoded(scene(1)), "b.png": encoded(scene(2))}, zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    data[200] ^= 0xFF
    path.write_bytes(data)
    verdicts = by_file(importing.add_files(ds, [path]))
    assert "damaged" in verdicts["a.png"].reason and verdicts["b.png"].ok


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"", "not a ZIP"), (b"PK\x03\x04 cut off", "not copied completely"), (b"PK\x05\x06" + b"\xff" * 18, "")],
)
def test_what_is_no_zip(ds, nasty, data, reason):
    (nasty / "no.zip").write_bytes(data)
    (verdict,) = importing.add_files(ds, [nasty / "no.zip"])
    assert not verdict.ok and reason in verdict.reason


def test_too_many_entries(ds, nasty):
    path = zipped(nasty / "many.zip", {f"{i}.png": b"" for i in range(20_001)}, zipfile.ZIP_STORED)
    (verdict,) = importing.add_files(ds, [path])
    assert "20001 entries" in verdict.reason
    small = bytearray(zipped(nasty / "small.zip", {"a.png": b""}).read_bytes())
    end = small.rindex(b"PK\x05\x06")
    zip64 = b"PK\x06\x06" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, 10**9, 10**9, 50 * 10**9, 0)
    small[end:end] = zip64 + b"PK\x06\x07" + struct.pack("<IQI", 0, end, 1)
    path.write_bytes(small)
    (verdict,) = importing.add_files(ds, [path])
    assert "1000000000 entries" in verdict.reason


def test_the_sum_counts_what_really_came_out(nasty):
    path = zipped(nasty / "large.zip", {f"{i}.bin": os.urandom(400_000) for i in range(4)})
    into = nasty / "into"
    into.mkdir()
    entries = list(zips.unpack(path, into, max_total_bytes=1_000_000))
    assert [bool(e.path) for e in entries] == [True, True, False, False]
    assert "does not fit" in entries[2].reason and sorted(p.name for p in into.iterdir()) == ["00000", "00001"]


def test_names_of_old_archives_that_are_really_utf8(ds, nasty):
    path = zipped(nasty / "mac.zip", {"x.png": encoded(scene(1))})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("Zebra-ß.png".encode().decode("cp437"), encoded(scene(1)))
    data = bytearray(path.read_bytes())
    for sign, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        where = data.index(sign) + at
        flags = struct.unpack("<H", data[where : where + 2])[0] & ~0x800
        data[where : where + 2] = struct.pack("<H", flags)
    raw = "Zebra-ß.png".encode().decode("cp437").encode()
    data = bytes(data).replace(raw, "Zebra-ß.png".encode().ljust(len(raw), b"_"))
    path.write_bytes(data)
    (verdict,) = importing.add_files(ds, [path])
    assert verdict.file.startswith("Zebra-ß.png")


def tarred(path, files: dict[str, bytes], mode: str = "w:gz", extra=()):
    """A tar of {name: bytes}, and of entries that are no files."""
    with tarfile.open(path, mode) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for info in extra:
            archive.addfile(info)
    return path


@pytest.mark.parametrize(("ending", "mode"), [(".tar", "w"), (".tgz", "w:gz"), (".tar.bz2", "w:bz2"), (".TAR.XZ", "w:xz")])
def test_a_tar_is_read_as_a_zip_is(ds, nasty, ending, mode):
    rows = b'{"file_name": "b.jpg", "text": "a hen"}\n'
    path = tarred(nasty / f"a 'b' ü{ending}", {"d/a.png": encoded(scene(1)), "d/a.txt": b"a fox", "d/b.jpg": encoded(scene(2), "JPEG"), "d/metadata.jsonl": rows, "._x": b"x"}, mode)
    verdicts = importing.add_files(ds, [path])
    assert {p.id: p.caption for p in ds.pictures()} == {"a.png": "a fox", "b.jpg": "a hen"}, verdicts
    assert path.exists()
    assert not list(ds.meta.glob("incoming/*"))


def test_a_tar_reaches_nothing_outside(ds, nasty):
    link, device = tarfile.TarInfo("in.png"), tarfile.TarInfo("dev.png")
    link.type, link.linkname, device.type = tarfile.SYMTYPE, "/etc/passwd", tarfile.CHRTYPE
    path = tarred(nasty / "x.tar", {"../out.png": encoded(scene(1)), "/abs.png": encoded(scene(2)), "good.png": encoded(scene(3)), "more.zip": b"PK"}, "w", (link, device))
    said = by_file(importing.add_files(ds, [path]))
    assert [p.id for p in ds.pictures()] == ["good.png"]
    assert "outside the tar" in said["../out.png"].reason
    assert "link" in said["in.png"].reason
    assert "device" in said["dev.png"].reason
    assert "inside the tar" in said["more.zip"].reason


def test_a_tar_that_was_cut_off_gives_what_came_before(ds, nasty):
    files = {f"{n}.png": encoded(scene(n, size=(400, 300))) for n in range(4)}
    whole = tarred(nasty / "whole.tar", files, "w").read_bytes()
    cut = nasty / "cut.tar"
    cut.write_bytes(whole[: whole.index(encoded(scene(2, size=(400, 300)))) + 100])
    verdicts = importing.add_files(ds, [cut])
    assert [p.id for p in ds.pictures()] == ["0.png", "1.png"]
    assert "is damaged after" in next(v.reason for v in verdicts if v.file == "cut.tar")
    (nasty / "no.tar.gz").write_bytes(b"no tar at all" * 100)
    assert "is not a tar that can be opened" in importing.add_files(ds, [nasty / "no.tar.gz"])[0].reason


def test_a_tar_of_zeros_is_stopped(ds, nasty, monkeypatch):
    monkeypatch.setattr(tars, "MAX_TOTAL_BYTES", 6_000_000)
    path = tarred(nasty / "bomb.tgz", {f"{n}.txt": b" " * 2_500_000 for n in range(9)} | {"last.png": encoded(scene(1))})
    verdicts = importing.add_files(ds, [path])
    assert not ds.pictures()
    assert any("split it for the rest" in v.reason for v in verdicts)
    small = tarred(nasty / "small.tgz", {"0.txt": b" " * 5_000_000})
    assert "250 times the size of its tar" in importing.add_files(ds, [small])[0].reason
