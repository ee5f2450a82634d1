"""Proxies and certificates as a computer has them set: they reach the client in a form it reads, and never keep Easel from starting."""

from __future__ import annotations

import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import httpx
import pytest

from training.home import REPO, Home
from training.hub import wire
from training.hub.secrets import mask
from training.runs.supervisor import worker_env


def test_this_computer_is_never_asked_through_a_proxy(monkeypatch):
    class Here(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Here)
    Thread(target=server.serve_forever, daemon=True).start()
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "intern.example")
    monkeypatch.setenv("no_proxy", "")
    assert wire.settle(own_hosts=("192.168.1.5",)) == []
    try:
        assert httpx.get(f"http://127.0.0.1:{server.server_port}/").status_code == 200
    finally:
        server.shutdown()
    import os

    assert os.environ["NO_PROXY"] == os.environ["no_proxy"] == "intern.example,localhost,127.0.0.1,::1,192.168.1.5"


@pytest.mark.parametrize(
    ("value", "word"),
    [("socks4://me:geheim@a:1", "socks4"), ("ftp://me:geheim@a", "ftp"), ("http://", "no address"), ("http://[bad", "no address"), ("http://a:port", "no address"), ("http://a b", "no address")],
)
def test_a_proxy_that_cannot_be_used_is_left_out_with_a_sentence_and_without_its_password(value, word):
    environ = {"all_proxy": value, "HTTPS_PROXY": "proxy.example:8080"}
    (said,) = wire.settle(environ)
    assert word in said and "all_proxy" in said and "geheim" not in said
    assert "all_proxy" not in environ and environ["HTTPS_PROXY"] == "http://proxy.example:8080"


def test_socks_works_where_its_package_is_and_is_said_where_it_is_not(monkeypatch):
    for there in (True, False):
        monkeypatch.setattr(wire, "find_spec", lambda _, there=there: object() if there else None)
        environ = {"ALL_PROXY": "socks://127.0.0.1:1080/"}  # as GNOME writes it
        said = wire.settle(environ)
        assert environ.get("ALL_PROXY") == ("socks5://127.0.0.1:1080/" if there else None)
        assert bool(said) != there and (there or "socksio" in said[0])
    assert "socksio==" in (REPO / "requirements.txt").read_text(encoding="utf-8")


def test_certificates_of_other_programs_count_and_unreadable_ones_are_said(tmp_path):
    import certifi

    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        environ = {name: certifi.where()}
        assert wire.settle(environ) == [] and environ["SSL_CERT_FILE"] == certifi.where()
    environ = {"REQUESTS_CA_BUNDLE": certifi.where(), "SSL_CERT_FILE": certifi.where() + ""}
    assert wire.settle(environ) == []
    junk = tmp_path / "junk.pem"
    junk.write_text("no certificate", encoding="utf-8")
    for path, word in ((tmp_path / "none.pem", "is not there"), (junk, "holds no certificates")):
        environ = {"SSL_CERT_FILE": str(path)}
        (said,) = wire.settle(environ)
        assert word in said and environ == {}


def test_a_worker_gets_the_proxy_with_its_password_and_nothing_written_shows_it(tmp_path):
    proxy = "http://me:geheim@proxy.example:8080"
    environ = {"HTTPS_PROXY": proxy, "no_proxy": "localhost", "SSL_CERT_FILE": "/ca.pem", "REQUESTS_CA_BUNDLE": "/ca.pem"}
    made = worker_env("caption", Home(tmp_path), environ=environ)
    assert {k: made[k] for k in environ} == environ
    assert mask(f"ProxyError at {proxy}") == "ProxyError at http://***@proxy.example:8080"


def test_the_licence_link_names_the_hub_that_is_asked():
    code = (
        "from training.hub.download import _refused; from training.hub.account import tokens_page; from huggingface_hub.errors import GatedRepoError; import httpx2 as h;"
        "print(_refused('a/b', GatedRepoError('no', response=h.Response(403, request=h.Request('GET', 'https://x'))))); print(tokens_page())"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPO, env={"HF_ENDPOINT": "https://mirror.example", "PATH": ""}, capture_output=True, text=True, check=True)
    assert "https://mirror.example/a/b" in done.stdout and "mirror.example/settings/tokens" in done.stdout
