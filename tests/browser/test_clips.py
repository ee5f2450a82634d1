"""Clips on the page: dropped in, marked in the grid, played; sample clips in the results, and their MP4 to take away."""

from __future__ import annotations

from pathlib import Path

from tests.data import make
from tests.ui import story
from training.data import clips
from training.home import find_home
from training.runs import journal


def drawn(run) -> None:
    """Two sample clips, as a run on video leaves them."""
    frames = {step: [make.numbered(n, 8, seed=step, size=(320, 192)) for n in range(8)] for step in (0, 20)}
    for step, shown in frames.items():
        name = f"samples/{step:06d}_0.webp"
        (run.path / "samples").mkdir(exist_ok=True)
        (run.path / name).write_bytes(clips.webp(shown, 8, quality=85))
        (run.path / name).with_suffix(".mp4").write_bytes(clips.mp4(shown, 8))
        journal.append(run.events_path, {"t": 1.0, "kind": "sample", "step": step, "index": 0, "prompt": "zibbo runs", "path": name, "seed": 42})


def test_a_clip_is_dropped_in_marked_and_played(easel, open_page, nasty, shots):
    source = nasty / "clips"
    make.clip(source / "ein Hund & läuft.mp4", 3, size=(320, 192), count=50, fps=24)
    make.clip(source / "moves.gif", 4, size=(128, 128), count=10, fps=10, codec="gif")
    make.write(source / "still.png", 5, size=(256, 256))
    (source / "broken.mp4").write_bytes(make.clip(nasty / "whole.mp4", count=48, size=(256, 256)).read_bytes()[:-300])
    drawn(story.run(find_home(nasty / "home"), 0, "finished", path="my-zibbo.safetensors", summary="done"))

    page = open_page(easel().url)
    page.locator("#ez-welcome input[type=file], #ez-work input[type=file]").first.set_input_files([str(p) for p in sorted(source.iterdir())])
    page.locator("#ez-pictures .ez-tile").nth(2).wait_for()
    page.locator("#ez-outcome").get_by_text("the clip is cut off or broken", exact=False).first.wait_for(state="attached")
    page.locator("#ez-pictures").get_by_text("clip, 2.1 s").wait_for()
    page.locator("#ez-pictures").get_by_text("clip, 1.0 s").wait_for()
    assert page.locator(".ez-length").count() == 2
    page.locator("#ez-pictures img").first.evaluate("e => e.decode()")
    page.screenshot(path=str(shots / "dataset-with-clips.png"), full_page=True)

    page.locator("[data-zoom^='ein Hund']").click()
    video = page.locator(".ez-zoom video")
    assert video.is_visible() and not page.locator(".ez-zoom img").is_visible()
    assert video.evaluate("v => new Promise((done, no) => { v.onplaying = () => done([v.videoWidth, v.videoHeight]); v.onerror = no; v.play() })") == [320, 192]
    page.screenshot(path=str(shots / "clip-plays.png"))
    page.keyboard.press("ArrowRight")
    page.locator(".ez-zoom img").wait_for()
    assert not video.is_visible()  # the GIF moves as a picture
    page.keyboard.press("Escape")

    page.get_by_role("tab", name="Results", exact=True).click()
    page.locator(".ez-shot").nth(1).click()
    link = page.locator(".ez-box-video")
    assert link.is_visible()
    with page.expect_download() as saved:
        link.click()
    assert clips.read_clip(Path(saved.value.path()).read_bytes())[1].seconds == 1.0
    page.screenshot(path=str(shots / "sample-clip.png"))
