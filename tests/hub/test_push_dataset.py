"""A dataset goes to the Hub as an imagefolder, private and whole, with the licence that its owner names, and comes back as it was."""

from __future__ import annotations

import io
import json
import os

import pytest
from PIL import Image

from tests.data.make import clip, encoded, scene, write
from tests.hub.conftest import SOON
from training.data import datasets, importing
from training.hub import collect
from training.hub.card import split_card
from training.hub.push import Planned, push
from training.hub.secrets import Secret
from training.jobs.publish_dataset import Config
from training.jobs.publish_dataset import run as job_run
from training.runs.context import Context
from training.runs.run import create

REPO = "datasets/alice/foxes"


@pytest.fixture
def ds(home, tmp_path):
    folder = tmp_path / "in"
    for seed, name in enumerate(("a.png", "b ü.jpg", "c.webp")):
        write(folder / name, seed)
    (folder / "a.txt").write_text("a fox.\nred fur.\n")
    (folder / "b ü.txt").write_text("Füchse, 狐", encoding="utf-8")
    (folder / "a.mask.png").write_bytes(encoded(scene(8, mode="L")))
    made = datasets.create(home, "My *foxes*")
    importing.add_folder(made, folder)
    return made


def published(ds, hub, token, home, **changes):
    config = Config(**({"name": "p", "dataset": ds.name, "repo_id": "alice/foxes", "endpoint": hub.url} | changes))
    run = create(home.outputs, config)
    job_run(config, Context(run, home, 1, secrets={"hf_token": Secret(token)}))
    return run.view()


@pytest.mark.slow
def test_a_dataset_is_pushed_privately_and_comes_back_as_it_was(hub, token, home, ds, tmp_path):
    view = published(ds, hub, token, home, licence="cc-by-4.0", about="Foxes of *mine*.")
    repo = hub.repos[REPO]
    assert repo.private and set(repo.files()) == {"README.md", "metadata.jsonl", "a.png", "b ü.jpg", "c.webp", "mask/a.png"}
    assert view.summary.startswith(f"{hub.url}/datasets/alice/foxes (3 pictures, private, commit {repo.head.oid[:8]}")
    meta, body = split_card(repo.files()["README.md"].decode())
    assert meta == {"license": "cc-by-4.0", "pretty_name": "My *foxes*", "task_categories": ["text-to-image"], "size_categories": ["n<1K"]}
    assert "3 pictures, 2 with a caption" in body and r"Foxes of \*mine\*." in body and "`mask`" in body and "`captions`" in body
    assert all(ds.get(id).path.read_bytes() == repo.files()[id] for id in ("a.png", "b ü.jpg", "c.webp"))
    commits = len(repo.commits)
    assert "everything was there already" in published(ds, hub, token, home, licence="cc-by-4.0", about="Foxes of *mine*.").summary and len(repo.commits) == commits
    found = collect.look("alice/foxes", Secret(token), hub.url)
    collect.fetch(found, tmp_path / "back", Secret(token), lambda *said: None, lambda: False, hub.url)
    back = datasets.create(home, "back")
    importing.take_folder(back, tmp_path / "back")
    facts = lambda d: sorted((p.id, p.sha256, p.captions, bool(p.mask)) for p in d.pictures())
    assert facts(back) == facts(ds)


def test_no_licence_is_named_for_the_owner_and_old_pictures_are_told(hub, token, home, ds):
    published(ds, hub, token, home)
    assert "license" not in split_card(hub.repos[REPO].files()["README.md"].decode())[0] and "named no licence" in hub.repos[REPO].files()["README.md"].decode()
    ds.remove(["c.webp"])
    view = published(ds, hub, token, home)
    assert any("1 picture of an earlier push" in w and "c.webp" in w for w in view.warnings), view.warnings
    assert {json.loads(line)["file_name"] for line in hub.repos[REPO].files()["metadata.jsonl"].decode().splitlines()} == {"a.png", "b ü.jpg"}


def test_pictures_that_say_where_they_were_taken_are_told_and_not_made_public(hub, token, home, ds, tmp_path):
    exif = Image.Exif()
    exif.get_ifd(0x8825)[1] = "N"
    scene(5).save(tmp_path / "home.jpg", exif=exif)
    importing.add_files(ds, [tmp_path / "home.jpg"])
    with pytest.raises(ValueError, match=r"1 of the pictures says where it was taken \(GPS\): home.jpg"):
        published(ds, hub, token, home, private=False)
    assert not hub.repos
    assert any("home.jpg" in w for w in published(ds, hub, token, home).warnings)


@pytest.mark.slow
def test_turned_pictures_go_as_they_are_learnt_and_say_no_place(hub, token, home, ds, tmp_path):
    exif = Image.Exif()
    exif.get_ifd(0x8825)[1] = "N"
    scene(5).save(tmp_path / "home.jpg", exif=exif)
    importing.add_files(ds, [tmp_path / "home.jpg"])
    ds.treat(["a.png", "home.jpg"], "right")
    config = Config(name="p", dataset=ds.name, repo_id="alice/foxes", endpoint=hub.url, private=False)
    run = create(home.outputs, config)
    job_run(config, Context(run, home, 1, secrets={"hf_token": Secret(token)}))
    files = hub.repos[REPO].files()
    assert Image.open(io.BytesIO(files["a.png"])).size == Image.open(io.BytesIO(files["mask/a.png"])).size == scene().size[::-1]
    assert not Image.open(io.BytesIO(files["home.png"])).getexif() and not (run.path / "made").exists()


@pytest.mark.slow
def test_a_clip_that_says_where_it_was_taken_is_not_made_public(hub, token, home, ds, tmp_path):
    importing.add_files(ds, [clip(tmp_path / "walk.mov", count=4, codec="mpeg4", location="+48.8577+002.2950/"), clip(tmp_path / "plain.mp4", count=4)])
    with pytest.raises(ValueError, match=r"1 of the pictures says where it was taken \(GPS\): walk.mov"):
        published(ds, hub, token, home, private=False)


def test_a_token_in_a_caption_and_a_missing_one_are_told(hub, token, home, ds):
    config = Config(name="p", dataset=ds.name, repo_id="alice/foxes", endpoint=hub.url)
    with pytest.raises(OSError, match="Not signed in"):
        job_run(config, Context(create(home.outputs, config), home, 1))
    ds.set_caption("a.png", f"a fox {token}")
    with pytest.raises(ValueError, match="looks like a Hub token"):
        published(ds, hub, token, home)
    assert not hub.repos


@pytest.mark.skipif(os.name == "nt", reason="counts file handles")
def test_more_files_than_a_process_may_hold_open_are_pushed(hub, token, tmp_path):
    import resource

    files = [Planned(b"---\nlicense: mit\n---\n", "README.md")]
    for number in range(600):
        path = tmp_path / f"{number}.txt"
        path.write_text(f"caption {number}")
        files.append(Planned(path, path.name))
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 100 if os.path.isdir("/proc/self/fd") else 256, before[1]))
    try:
        push(files, "alice/many", Secret(token), kind="dataset", endpoint=hub.url, patience=SOON)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert len(hub.repos["datasets/alice/many"].files()) == 601
