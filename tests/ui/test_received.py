"""Files that programs send: only what was uploaded, or lies in the request itself."""

import base64
import os

import pytest

from ui.api import received


def url(data: bytes, name: str = "", kind: str = "image/png") -> str:
    return f"data:{kind};{f'name={name};' if name else ''}base64,{base64.b64encode(data).decode()}"


def test_data_urls_become_files_of_their_names_inside_the_room(tmp_path):
    room = tmp_path / "room"
    room.mkdir()
    made = received.files([url(b"a", "cat.png"), url(b"b", "../../up.txt", "text/plain"), url(b"c", "..\\..\\back.png"), url(b"d", kind="image/webp"), url(b"e", "cat.png")], room)
    assert [p.name for p in made] == ["cat.png", "up.txt", "back.png", "4.webp", "cat.png"] and b"".join(p.read_bytes() for p in made) == b"abcde"
    assert all(p.resolve().is_relative_to(room) for p in made) and len(set(made)) == 5


def test_uploads_are_taken_where_they_lie_and_nothing_else_of_the_disk(tmp_path):
    room = (tmp_path / "room").resolve()
    (room / "x").mkdir(parents=True)
    (room / "x" / "cat.png").write_bytes(b"cat")
    (tmp_path / "secret").write_bytes(b"secret")
    os.symlink(tmp_path / "secret", room / "link.png")
    assert received.files([str(room / "x" / "cat.png"), {"path": str(room / "x" / "cat.png")}], room) == [room / "x" / "cat.png"] * 2
    for wrong in (str(tmp_path / "secret"), str(room / ".." / "secret"), str(room / "link.png"), str(room / "x"), str(room / "gone.png"), {"path": "/etc/passwd"}, {}, "", "http://e/x.png"):
        with pytest.raises(ValueError, match="was not uploaded to this Easel"):
            received.files([wrong], room)


def test_what_is_damaged_or_too_much_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(received, "MOST_SENT_BYTES", 3)
    for given, said in (
        (["data:image/png,abc"], "is not base64"), (["data:image/png;base64,%%%"], "damaged"), (["data:"], "is not base64"), ([url(b"12345")], "larger than"), ([url(b"")] * 1001, "too many"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=said):
            received.files(given, tmp_path)
