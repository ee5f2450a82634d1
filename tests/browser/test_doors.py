"""What is dropped and pasted, by a real browser's own drag and drop; and the page behind a proxy that rewrites the Host."""

from __future__ import annotations

import http.client
import os
import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from PIL import Image

from tests.browser.conftest import FLAGS
from training.data import datasets

PASTE = """async () => {
  const canvas = new OffscreenCanvas(96, 96);
  canvas.getContext("2d").fillRect(0, 0, 9, 9);
  const data = new DataTransfer();
  data.items.add(new File([await canvas.convertToBlob()], "image.png", { type: "image/png" }));
  document.body.dispatchEvent(new ClipboardEvent("paste", { clipboardData: data, bubbles: true, cancelable: true }));
}"""


def drop(page, files, x: int, y: int) -> None:
    """As a hand does it: the browser reads the files itself, folders too."""
    session = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(f) for f in files], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": kind, "x": x, "y": y, "data": data})


def test_a_folder_a_picture_beside_the_zone_and_a_paste_all_arrive(easel, open_page, tmp_path):
    folder = tmp_path / "my cat"
    for place, colour in (("a", "red"), ("b", "green")):  # the same name twice: only its folder tells which caption is whose
        (folder / place).mkdir(parents=True)
        Image.new("RGB", (96, 96), colour).save(folder / place / "one.png")
        (folder / place / "one.txt").write_text(f"the {colour} one", encoding="utf-8")
    (folder / ".DS_Store").write_text("x", encoding="utf-8")
    (folder / "b" / "deeper").mkdir()
    Image.new("RGB", (96, 96), "yellow").save(folder / "b" / "deeper" / "two.png")
    (folder / "metadata.jsonl").write_text('{"file_name": "b/deeper/two.png", "text": "the yellow one"}', encoding="utf-8")
    for name, colour in (("beside.png", "blue"), ("later.png", "white")):
        Image.new("RGB", (96, 96), colour).save(tmp_path / name)
    app = easel()
    page = open_page(app.url)
    page.wait_for_selector("#ez-try")
    drop(page, [folder, tmp_path / "beside.png"], 300, 600)
    page.wait_for_selector('[data-id="beside.png"]')
    page.click("#ez-tab-train-button")
    drop(page, [tmp_path / "later.png"], 700, 500)  # on another tab
    page.wait_for_selector('[data-id="later.png"]')
    page.wait_for_selector("#ez-work .ez-drop input[type=file]", state="attached")
    page.evaluate(PASTE)
    page.wait_for_selector('[data-id^="pasted-"]')
    (ds,) = datasets.list_datasets(app.home)
    assert ds.title == "my cat"
    assert sorted(p.caption for p in ds.pictures() if p.caption) == ["the green one", "the red one", "the yellow one"] and ds.counts().usable == 6


def test_the_page_works_behind_a_proxy_that_rewrites_the_host(tmp_path, chromium):
    from .easel import Easel

    class Named(Easel):
        flags = ("--host-name", "nas.local", "--root-path", "/easel")

    app = Named(tmp_path / "home").start()
    there = urlsplit(app.url)

    class Proxy(BaseHTTPRequestHandler):
        def answer(self):
            onward = http.client.HTTPConnection(there.hostname, there.port, timeout=60)
            headers = {k: v for k, v in self.headers.items() if k.lower() not in ("host", "connection")} | {"Host": there.netloc}
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            onward.request(self.command, self.path.removeprefix("/easel"), body, headers)
            came = onward.getresponse()
            self.send_response(came.status)
            for key, value in came.getheaders():
                if key.lower() not in ("connection", "transfer-encoding", "content-length"):
                    self.send_header(key, value)
            self.end_headers()
            while piece := came.read1(65536):
                self.wfile.write(piece)
                self.wfile.flush()

        do_GET = do_POST = do_HEAD = answer

        def log_message(self, *_):
            pass

    proxy = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    path = next(p for name in (os.environ.get("EASEL_CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome") if name and (p := shutil.which(name)))
    browser = chromium.browser_type.launch(executable_path=path, args=[*FLAGS, "--host-resolver-rules=MAP *.local 127.0.0.1", "--no-proxy-server"])
    try:
        faults, page = [], browser.new_page()
        page.on("response", lambda r: faults.append(f"{r.status} {r.url}") if r.status >= 400 else None)
        page.on("request", lambda r: faults.append(f"elsewhere: {r.url}") if urlsplit(r.url).hostname not in ("nas.local", None, "") else None)
        page.goto(f"http://nas.local:{proxy.server_port}/easel/")
        page.wait_for_selector("#ez-try", timeout=120_000)
        page.wait_for_function("[...document.querySelectorAll('.ez-examples img')].some((i) => i.naturalWidth)", timeout=60_000)
        assert faults == []
        page.goto(f"http://other.local:{proxy.server_port}/easel/")
        page.wait_for_function("document.body.innerText.includes('start it with --host-name other.local')", timeout=60_000)
    finally:
        browser.close()
        proxy.shutdown()
        app.close()
