"""The whole path as a person goes it: pictures in, captions, Start, watch, stop, resume, download, publish."""

from __future__ import annotations

import hashlib
import shutil
import time
from pathlib import Path

import pytest
from PIL import Image
from safetensors.numpy import load_file

from tests.hub_standin import Standin
from training.hub.card import split_card

from .easel import REPO, Easel, quick, wait

EXAMPLE = REPO / "presets" / "builtin" / "example"
STEPS = 100  # enough that Stop finds it running, however quick the machine is
RUN_S = 900  # generous: the machine may be busy


@pytest.fixture
def pictures(nasty) -> list[Path]:
    """Twelve pictures named after what they show, one with a caption of its own, and a file that is no picture."""
    folder = nasty / "my pictures"
    folder.mkdir()
    files = []
    for number, source in enumerate(sorted(EXAMPLE.glob("*.png"))[:12], 1):
        files.append(folder / f"zibbo_on_a_red-background ({number}).png")
        shutil.copy(source, files[-1])
    files.append(files[0].with_suffix(".txt"))
    files[-1].write_text("zibbo, came along", encoding="utf-8")
    files.append(folder / "broken.png")
    files[-1].write_bytes(b"\x89PNG\r\n\x1a\nbut nothing behind it")
    files.append(folder / "phone.jpg")  # stored sideways, as phones do
    picture = Image.open(files[0]).convert("RGB").resize((96, 64))
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(files[-1], exif=exif)
    return files


def test_pictures_in_lora_out(base, easel, open_page, pictures, shots):
    token = "hf" + "_" + "browser" * 5
    with Standin() as hub:
        hub.user(token, "alice")
        app = easel(HF_ENDPOINT=hub.url, HF_HUB_OFFLINE="0")
        page = open_page(app.url)
        add_pictures(page, pictures, app)
        write_captions(page, app)
        start_training(page, app)
        watch_it_grow(page, app, shots)
        refresh_stop_resume(page, app)
        lora = download(page, app, shots)
        publish(page, app, hub, token, lora, shots)
        assert_nothing_leaks(app, token)


def tab(page, name: str) -> None:
    page.get_by_role("tab", name=name, exact=True).click()


def add_pictures(page, pictures: list[Path], app: Easel) -> None:
    """Drops the files; every one gets a verdict, the broken one with its reason."""
    page.locator("#ez-welcome input[type=file]").set_input_files([str(p) for p in pictures])
    page.locator("#ez-pictures .ez-tile").nth(12).wait_for()
    page.locator("#ez-outcome").get_by_text("broken.png").first.wait_for(state="attached")
    assert page.locator("#ez-pictures .ez-tile").count() == 13  # twelve, and the one from a phone
    page.locator("#ez-pictures").get_by_text("64 × 96").wait_for()  # upright
    page.locator("#ez-pictures").get_by_text("zibbo, came along").wait_for()


def write_captions(page, app: Easel) -> None:
    """File names become captions, tried on three first; one is edited by hand and is on disk as soon as its box is left."""
    tab(page, "Captions")
    page.locator("#ez-captioner").get_by_text("File name", exact=False).first.click()
    page.locator("#ez-caption-try").click()
    tried = page.locator(".ez-tried")
    tried.get_by_text("Nothing is written until you accept it.").wait_for(timeout=120_000)
    assert tried.locator("li").count() == 3 and len(list(app.home.datasets.glob("*/*.txt"))) == 1, "a trial writes nothing"
    tried.get_by_role("button", name="Start on the rest").click()
    box = page.get_by_label("Caption of zibbo_on_a_red-background (3).png")
    wait(lambda: box.input_value() == "zibbo on a red background", "the captions do not arrive", 120)
    kept = page.get_by_label("Caption of zibbo_on_a_red-background (1).png")
    assert kept.input_value() == "zibbo, came along"
    box.fill("zibbo, typed by hand: 日本 <b>&")
    box.blur()
    page.locator(".ez-saved", has_text="Saved").first.wait_for()
    written = next(app.home.datasets.glob("*/zibbo_on_a_red-background (3).txt"))
    assert written.read_text(encoding="utf-8").strip() == "zibbo, typed by hand: 日本 <b>&"
    page.get_by_role("button", name="Undo 1 caption (typed)").wait_for()  # it tells what it would undo now, not what it would have before


def start_training(page, app: Easel) -> None:
    """Three fields, two settings, Start: a run card comes at once."""
    tab(page, "Train")
    page.locator("#train-name").fill("my zibbo")
    page.locator("#train-name").blur()
    page.locator("#train-trigger").fill("zibbo")
    page.locator("#train-trigger").blur()
    page.get_by_role("radio", name="A character or thing, small").click()
    page.get_by_role("button", name="All settings").click()
    set_setting(page, "steps", STEPS)
    set_setting(page, "sample.every", 10)
    began = time.monotonic()
    page.locator(".ez-start").click()
    page.locator(".ez-run-card").first.wait_for(timeout=300_000)
    assert quick(time.monotonic() - began)
    assert app.runs("train")[0].title == "my zibbo"


def set_setting(page, path: str, value) -> None:
    field = page.locator(f"input[data-path='{path}']")
    group = page.locator("details.ez-group", has=field)
    if not field.is_visible():
        group.locator("summary").first.click()
    field.fill(str(value))
    field.blur()
    wait(lambda: field.get_attribute("data-value") == str(value), f"{path} is not taken", 30)


def watch_it_grow(page, app: Easel, shots: Path) -> None:
    """The first samples come before step 1; then curve and gallery grow without a touch."""
    page.locator(".ez-shot").first.wait_for(timeout=RUN_S * 1000)
    before = page.locator(".ez-shot").count()
    page.locator("svg.ez-chart path, .ez-chart path").first.wait_for(state="attached", timeout=RUN_S * 1000)
    wait(lambda: page.locator(".ez-shot").count() > before, "the gallery does not grow", RUN_S)
    page.screenshot(path=str(shots / "results-running.png"), full_page=True)


def refresh_stop_resume(page, app: Easel) -> None:
    """A refresh shows the same tab and run; Stop saves; Resume goes on where it stood."""
    run = app.runs("train")[0]
    page.reload()
    page.locator(".ez-shot").first.wait_for()  # on the tab that was open
    page.locator(".ez-head").get_by_text("my zibbo").first.wait_for()
    page.locator("[data-act=stop]").click()
    wait(lambda: run.status() == "stopped", "it does not stop", RUN_S)
    saved = [step for step, _ in run.checkpoints()][-1]
    assert 0 < saved < STEPS, f"stopped at {saved}: there is nothing left to resume"
    page.locator("[data-act=resume]").click()
    wait(lambda: run.view().attempt == 2, "it does not resume", RUN_S)
    wait(lambda: run.status() == "finished", "it does not finish", RUN_S)
    steps = [step for step, _, _ in run.view().losses]
    assert steps == sorted(set(steps)) and steps[-1] == STEPS
    told = [event["step"] for event in run.events()[0] if event["kind"] == "step"]
    assert min(told[told.index(max(s for s in told if s <= saved)) + 1 :]) > saved  # no step was done twice


def download(page, app: Easel, shots: Path) -> Path:
    """The finished LoRA, as the browser saves it: a valid file whose weights are not nothing."""
    link = page.get_by_role("link", name="Download", exact=True)
    link.wait_for(timeout=60_000)
    page.screenshot(path=str(shots / "results-finished.png"), full_page=True)
    with page.expect_download() as waiting:
        link.click()
    path = shots / waiting.value.suggested_filename
    waiting.value.save_as(path)
    assert path.name == "my zibbo.safetensors"
    tensors = load_file(path)
    ups = [tensor for name, tensor in tensors.items() if "lora_B" in name or "lora_up" in name or "lora.up" in name]
    assert ups and all(abs(tensor).max() > 0 for tensor in ups)
    assert path.read_bytes() == app.runs("train")[0].result().read_bytes()
    return path


def publish(page, app: Easel, hub: Standin, token: str, lora: Path, shots: Path) -> None:
    """Signs in, pushes into a broken Hub, is told so, and succeeds with Retry."""
    tab(page, "Publish")
    page.get_by_label("Access token").fill(token)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_text("Signed in as alice (write)").wait_for()
    page.get_by_text("With a token in huggingface_hub's store on this computer.").wait_for()
    page.locator("#pub-repo").fill("alice/my-zibbo")
    page.locator("#pub-repo").blur()
    assert page.locator("#pub-private").is_checked()
    hub.fail("commit", 503, times=-1)
    page.locator("[data-act=publish]").click()
    retry = page.locator("[data-act=retry]")
    retry.wait_for(timeout=300_000)
    page.locator("[role=status]", has=retry).get_by_text("503").wait_for()  # said where the push is; a loss of 0.503 stands elsewhere
    page.screenshot(path=str(shots / "publish-failed.png"), full_page=True)
    assert not hub.repos.get("alice/my-zibbo") or not hub.repos["alice/my-zibbo"].files()
    hub.heal()
    retry.click()
    page.get_by_text("Published:").wait_for(timeout=120_000)
    page.screenshot(path=str(shots / "publish-done.png"), full_page=True)

    repo = hub.repos["alice/my-zibbo"]
    files = repo.files()
    assert repo.private
    pushed = next(data for name, data in files.items() if name.endswith(".safetensors"))
    assert hashlib.sha256(pushed).digest() == hashlib.sha256(lora.read_bytes()).digest()
    assert sum(name.endswith((".webp", ".png")) for name in files) >= 1
    meta, _ = split_card(files["README.md"].decode())
    assert meta["base_model_relation"] == "adapter" and meta["instance_prompt"] == "zibbo" and "template:sd-lora" in meta["tags"]
    assert all(item["output"]["url"] in files for item in meta["widget"])


def assert_nothing_leaks(app: Easel, token: str) -> None:
    """The token is in no file of the home, and no line of the app."""
    for path in app.home.root.rglob("*"):
        if path.is_file():
            assert token.encode() not in path.read_bytes(), path
    assert token not in "".join(app.said)
