"""A captioner that asks a server: the real requests, to a small server of the same interface on this computer."""

from __future__ import annotations

import base64
import io
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from PIL import Image
from pydantic import ValidationError

from captioning import server


class Answers(BaseHTTPRequestHandler):
    """OpenAI's chat interface as far as it is asked: the model says how large a picture is, and what its first pixel is."""

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.server.asked.append((self.path, dict(self.headers), None))
        self._say(200, self.server.models)

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.path, dict(self.headers), body))
        if self.server.trouble:
            return self._say(*self.server.trouble)
        text, image = body["messages"][0]["content"]
        picture = Image.open(io.BytesIO(base64.b64decode(image["image_url"]["url"].partition(",")[2])))
        self._say(200, {"choices": [{"message": {"content": f'<think>hm\n</think>\n"a picture,\n {picture.size[0]} wide" {text["text"]}'}}]})

    def _say(self, code, value):
        time.sleep(self.server.slow_s)
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(code)
        if code == 302:
            self.send_header("Location", "http://127.0.0.1:1/elsewhere")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def there(monkeypatch):
    monkeypatch.delenv(server.KEY, raising=False)
    made = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    made.asked, made.trouble, made.slow_s, made.models = [], None, 0, {"data": [{"id": "llava"}, {"id": "qwen"}]}
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


def options(there, **more) -> server.Options:
    return server.Options(address=f"http://127.0.0.1:{there.server_port}/v1/", **more)


def test_each_picture_is_sent_scaled_with_the_prompt_and_the_answer_is_its_caption(there, monkeypatch):
    monkeypatch.setenv(server.KEY, "sesame")
    state = server.load(options(there, prompt="what?", side=64), "cpu")
    assert state.model == "llava"
    said = server.caption(state, [Image.new("RGB", (640, 320), "red"), Image.new("RGB", (32, 32))], ["a.png", "b.png"])
    assert said == ['a picture, 64 wide" what?', 'a picture, 32 wide" what?']
    (_, first, _), (path, headers, body) = there.asked[:2]
    assert path == "/v1/chat/completions"
    assert first["Authorization"] == headers["Authorization"] == "Bearer sesame"
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("llava", 0, 300)
    assert set(body) == {"model", "messages", "max_tokens", "temperature"}  # no name of a file, nothing else of this computer


@pytest.mark.parametrize(
    ("trouble", "why"),
    [
        ((401, {"error": {"message": "no key"}}), "wants a key: no key; put it into the environment variable EASEL_CAPTION_KEY"),
        ((500, {"error": "out of memory"}), r"refused \(HTTP 500\): out of memory"),
        ((404, b"gone"), "does not know this address or model"),
        ((200, b"<html>"), "not as a server of OpenAI's kind does"),
        ((200, {"choices": []}), "answered without a text"),
        ((302, b""), "leads to another address"),
    ],
)
def test_what_goes_wrong_is_a_sentence(there, trouble, why):
    state = server.load(options(there), "cpu")
    there.trouble = trouble
    with pytest.raises(ValueError, match=why):
        server.caption(state, [Image.new("RGB", (32, 32))], ["a.png"])


def test_it_says_before_the_start_what_is_wrong_and_where_the_pictures_go(there):
    with pytest.raises(ValueError, match="has no model 'gemma'; it has: llava, qwen"):
        server.load(options(there, model="gemma"), "cpu")
    assert server.load(options(there, model="qwen"), "cpu").model == "qwen"
    there.models = {"data": []}
    with pytest.raises(ValueError, match="lists no model"):
        server.load(options(there), "cpu")
    there.models = {"hello": 1}
    with pytest.raises(ValueError, match="usually ends in /v1"):
        server.load(options(there), "cpu")
    with pytest.raises(ValueError, match="cannot be reached"):
        server.load(server.Options(address="http://127.0.0.1:1/v1"), "cpu")
    assert "nothing leaves it" in server.says(options(there))
    assert "each picture leaves this computer" in server.says(server.Options(address="https://example.org/v1"))


def test_the_page_says_where_the_pictures_go_and_a_space_reaches_nothing_near_it(home, monkeypatch):
    from ui.tabs.captions import captioner

    kept = captioner.edited(captioner.Kept(captioner="server"), "server", "address", "https://example.org/v1")
    now = captioner.complete(kept, captioner.plugins(home))
    assert "each picture leaves this computer" in captioner.notice(home, now)
    assert server.needs(server.Options()) == ""
    monkeypatch.setenv("SPACE_ID", "somebody/easel")
    assert "over https only" in server.needs(server.Options())
    assert server.needs(server.Options(address="https://example.org/v1")) == ""


def test_an_address_is_checked_and_holds_no_password():
    for bad, why in (("localhost:11434", "no address of a server"), ("file:///etc/passwd", "no address of a server"), ("http://me:secret@host/v1", "EASEL_CAPTION_KEY")):
        with pytest.raises(ValidationError, match=why):
            server.Options(address=bad)


@pytest.mark.slow
def test_a_server_that_does_not_answer_is_given_up(there):
    state = server.load(options(there, timeout_s=5), "cpu")
    there.slow_s = 7
    with pytest.raises(ValueError, match="no answer within 5 s"):
        server.caption(state, [Image.new("RGB", (32, 32))], ["a.png"])
