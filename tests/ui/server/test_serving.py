"""Flags and places: what goes together, what is refused with a sentence, which port is taken, one Easel a home."""

from __future__ import annotations

import socket
import subprocess
import sys
from contextlib import closing

import pytest

import app
from training.home import REPO, Home
from ui.server import instance, serving, window


def plan(*flags: str, **environ: str) -> serving.Plan:
    return serving.plan(app.flags().parse_args(list(flags)), environ)


def test_the_plain_start_is_for_this_computer_only():
    made = plan()
    assert (made.host, made.auth, made.share, made.local, made.window) == ("127.0.0.1", None, False, True, True)
    assert not made.access.host_ok("192.168.1.5")


@pytest.mark.parametrize("flags", [("--listen",), ("--host", "0.0.0.0"), ("--host", "192.168.1.5")])
def test_letting_others_in_needs_a_password(flags):
    with pytest.raises(ValueError, match="needs a password"):
        plan(*flags)
    made = plan(*flags, EASEL_AUTH="me:secret: with colon")
    assert made.auth == ("me", "secret: with colon") and not made.local and made.access.host_ok("192.168.1.5")


@pytest.mark.parametrize("auth", ["me", ":x", "me:"])
def test_half_a_login_is_refused(auth):
    with pytest.raises(ValueError, match="user:password"):
        plan("--listen", "--auth", auth)


def test_sharing_makes_a_password_and_prints_it():
    first, second = plan("--share"), plan("--share")
    assert first.auth[1] in first.says[0] and first.auth[1] != second.auth[1] and len(first.auth[1]) >= 12
    assert plan("--share", "--auth", "me:mine").says == ()


def test_colab_and_spaces_are_noticed():
    colab = plan(COLAB_RELEASE_TAG="release-colab")
    assert colab.share and colab.auth and not colab.window
    space = plan(SPACE_ID="me/easel", SPACE_HOST="me-easel.hf.space")
    assert space.on_space and space.host == "0.0.0.0" and not space.share and space.auth is None and not space.window and not space.local


@pytest.mark.parametrize(("flags", "word"), [(("--port", "0"), "--port"), (("--port", "70000"), "--port"), (("--root-path", "easel"), "--root-path")])
def test_what_cannot_be_is_said(flags, word):
    with pytest.raises(ValueError, match=word):
        plan(*flags)


def test_no_browser_opens_no_window_and_neither_does_a_machine_without_a_screen(monkeypatch):
    assert not plan("--no-browser").window
    if sys.platform == "linux":
        monkeypatch.delenv("DISPLAY", raising=False)
        monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
        assert window.open_app("http://127.0.0.1:1/") == ""


def test_a_busy_port_gives_the_next_one():
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert serving.free_port("127.0.0.1", port) > port


def test_one_easel_a_home(tmp_path):
    home = Home(tmp_path)
    lock = instance.claim(home)
    try:
        code = f"from training.home import Home; from ui.server import instance; from pathlib import Path; print(instance.claim(Home(Path({str(tmp_path)!r}))))"
        other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert other.stdout.strip() == "None"
        with closing(socket.socket()) as listening:
            listening.bind(("127.0.0.1", 0))
            listening.listen()
            url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
            instance.announce(home, url)
            assert instance.other_url(home) == url
        assert instance.other_url(home, wait_s=0) == ""  # it does not answer any more
    finally:
        lock.release()
    again = instance.claim(home)
    assert again is not None and instance.other_url(home, wait_s=0) == ""  # the old address is forgotten
    again.release()


def test_an_address_that_was_tampered_with_is_not_opened(tmp_path):
    home = Home(tmp_path)
    (instance.folder(home) / "app.json").write_text('{"url": "file:///etc/passwd"}', encoding="utf-8")
    assert instance.other_url(home, wait_s=0) == ""


def test_main_says_why_it_does_not_start(capsys):
    assert app.main(["--listen"]) == 2
    assert "needs a password" in capsys.readouterr().err


def test_another_name_and_folders_that_may_be_named(tmp_path):
    made = plan("--host-name", "nas.local,tail.example", "--data", str(tmp_path), "--trusted-proxy", "10.0.0.1")
    assert made.access.host_ok("nas.local:80") and made.access.host_ok("tail.example") and not made.access.host_ok("other.local")
    assert not made.local and made.folders == (tmp_path.resolve(),) and made.trusted == "10.0.0.1" and plan().trusted == ""
    for flags in (("--host-name", "http://nas.local"), ("--host-name", "*"), ("--data", str(tmp_path / "none"))):
        with pytest.raises(ValueError, match=flags[0]):
            plan(*flags)


def test_only_folders_truly_below_an_allowed_one_can_be_named(tmp_path):
    from ui.server.folders import allowed_folder

    root, outside = tmp_path / "import", tmp_path / "private"
    (root / "cat").mkdir(parents=True)
    outside.mkdir()
    (root / "link").symlink_to(outside, target_is_directory=True)
    assert allowed_folder("cat", (root,)) == allowed_folder(str(root / "cat"), (root,)) == (root / "cat").resolve()
    for text in ("../private", str(outside), "link", "none", "/etc", "~"):
        with pytest.raises(ValueError, match="--data DIR"):
            allowed_folder(text, (root,))


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_home_that_cannot_be_written_is_a_sentence_on_every_road(tmp_path, capsys, place):
    (tmp_path / "file").write_text("", encoding="utf-8")
    at = tmp_path / place
    assert app.main(["--home", str(at), "--no-browser"]) == 2
    said = capsys.readouterr().err
    assert "is a file, where a folder must be" in said and "--home" in said and "Traceback" not in said
    done = subprocess.run([sys.executable, "-m", "training", "--home", str(at), "runs"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2 and "cannot write" in done.stderr and "Traceback" not in done.stderr


def test_why_a_folder_cannot_be_written_is_told_for_each_reason(tmp_path):
    import errno

    from training.home import unwritable

    for number, word in ((errno.EROFS, "read-only"), (errno.EACCES, "another user"), (errno.ENOSPC, "disk is full")):
        assert word in unwritable(tmp_path, OSError(number, "x"))


def test_a_page_under_a_path_knows_where_it_is_and_where_it_is_not_known():
    from ui.server.frontpage import where, with_where

    script = where("/easel", plan("--host-name", "nas.local", "--root-path", "/easel").access)
    assert 'location.origin + "/easel"' in script and '"nas.local"' in script and "--host-name" in script
    page = with_where(b"<script>window.gradio_config = {}</script><gradio-app>", script.encode())
    assert page.index(b"location.origin") < page.index(b"<gradio-app")
    assert where("", plan(SPACE_ID="me/e", SPACE_HOST="me-e.hf.space").access) == ""


def test_mcp_is_off_and_asks_for_its_package(monkeypatch):
    assert not plan().mcp
    monkeypatch.setitem(sys.modules, "mcp", None)
    with pytest.raises(ValueError, match=rf'--mcp needs the Python package mcp.*"-?.*" -m pip install {serving.MCP}'):
        plan("--mcp")
    assert serving.MCP in (REPO / "requirements-dev.txt").read_text(encoding="utf-8").splitlines()


def test_whether_it_can_be_reached_is_answered_before_the_page_is_laid_out():
    from starlette.testclient import TestClient

    from ui.server.frontpage import FrontPage

    async def never(scope, receive, send):
        raise AssertionError("the page was laid out")

    answer = TestClient(FrontPage(never)).head("/")
    assert answer.status_code == 200 and not answer.content
