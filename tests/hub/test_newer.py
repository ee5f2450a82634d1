"""Is there a newer version: asked by the real pip of a small package index on this computer."""

from __future__ import annotations

import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from training.hub import newer


@pytest.fixture
def index(monkeypatch):
    """Set .versions; read .asked, the paths."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self):
            server.asked.append(self.path)
            self.send_response(200 if server.versions else 404)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            files = (f"easel_lora-{version}-py3-none-any.whl" for version in server.versions)
            self.wfile.write("".join(f'<a href="/{name}">{name}</a><br>' for name in files).encode())

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    server.versions, server.asked = (), []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_port}/simple")
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.slow
def test_pip_is_asked_once_and_says_the_newest_that_is_no_trial(index, monkeypatch):
    index.versions = ("0.9.0", "0.10.0", "1.0.0rc1")
    assert newer.told("0.9.0").startswith("Easel 0.10.0 is out; this is 0.9.0. Get it ")
    assert index.asked == ["/simple/easel-lora/"]  # nothing else
    index.versions = ()
    assert "does not have easel-lora yet" in newer.told("0.1.0")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:1/simple")
    with pytest.raises(ValueError, match="cannot be reached"):
        newer.told("0.1.0")


def test_what_pip_says_is_one_sentence(monkeypatch):
    monkeypatch.setattr(newer, "_newest", lambda: newer.read("easel-lora (0.10.0)\nAvailable versions: 0.10.0, 0.9.0\n", ""))
    assert newer.told("0.10.0") == "This is Easel 0.10.0, and there is none newer."
    assert "none newer" in newer.told("0.11.0.dev1")
    for said, words in (
        ("WARNING: Retrying (Retry(total=0)) after connection broken by 'SSLError'\nERROR: No matching distribution found for easel-lora", "cannot be reached"),
        ("ERROR: unknown command", "ERROR: unknown command"),
        ("", "it said nothing"),
    ):
        with pytest.raises(ValueError, match=words):
            newer.read("", said)
