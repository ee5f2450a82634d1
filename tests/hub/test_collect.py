"""A dataset of the Hub: looked at, fetched and taken in; and each way in which that does not work, in a sentence."""

from __future__ import annotations

import threading

import pytest

from tests.data.make import encoded, scene, zipped
from tests.hub.conftest import some_token
from tests.hub_standin import File, Repo
from training.data import datasets, importing
from training.hub import client, collect
from training.hub.secrets import Secret

META = b'{"file_name": "train/a.png", "text": "a fox"}\n{"file_name": "train/b.jpg", "text": "a hen"}\n'
HELD = {
    "README.md": b"---\nlicense: cc-by-4.0\n---\n", "metadata.jsonl": META, "train/a.png": encoded(scene(1)), "train/b.jpg": encoded(scene(2), "JPEG"), "load.py": b"import os",
    "weights.bin": b"\0" * 9, ".hidden/x.png": b"x", "data.parquet": b"PAR1",
}  # fmt: skip


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(collect, "FIRST_WAIT_S", 0.01)


def put(hub, name: str = "alice/foxes", files: dict[str, bytes] = HELD, private: bool = True, gated: bool = False) -> Repo:
    repo = hub.repos[f"datasets/{name}"] = Repo(name, private, gated)
    repo.commit("first", {path: File(data, b"\0" in data) for path, data in files.items()})
    return repo


def fetched(hub, token, into, stop=lambda: False, text: str = "hf:alice/foxes"):
    ears: list[tuple[int, int, str]] = []
    found = collect.look(text, Secret(token), hub.url)
    collect.fetch(found, into, Secret(token), lambda *said: ears.append(said), stop, hub.url)
    return found, ears


def test_a_private_dataset_is_looked_at_fetched_and_taken_in(hub, token, home, tmp_path):
    put(hub)
    found, ears = fetched(hub, token, tmp_path / "x")
    assert found.told() == f"2 pictures, {collect.size(found.size_bytes)} to download; its licence is cc-by-4.0; private; 5 other files stay there"
    assert sorted(p for p, _ in found.files) == ["metadata.jsonl", "train/a.png", "train/b.jpg"]
    assert ears[-1][:2] == (found.size_bytes, found.size_bytes) and [e[0] for e in ears] == sorted(e[0] for e in ears)
    ds = datasets.create(home, "foxes")
    verdicts = importing.take_folder(ds, tmp_path / "x")
    assert {p.id: p.caption for p in ds.pictures()} == {"a.png": "a fox", "b.jpg": "a hen"} and all(v.ok for v in verdicts if v.kind != "skipped"), verdicts
    assert not (tmp_path / "x/train/a.png").exists(), "moved, not copied"
    assert importing.take_folder(datasets.create(home, "zip"), _zipped_once(hub, token, tmp_path))[0].ok


def _zipped_once(hub, token, tmp_path):
    data = zipped(tmp_path / "z.zip", {"a/c.png": encoded(scene(3))}).read_bytes()
    put(hub, "alice/zips", {"train.zip": data, "logo.png": b"\x89PNG"})
    assert fetched(hub, token, tmp_path / "y", text=f"{hub.url}/datasets/alice/zips/tree/main")[0].kind == "archives"
    return tmp_path / "y"


def test_what_passes_is_tried_again_and_what_is_there_is_not_fetched_twice(hub, token, tmp_path):
    put(hub)
    hub.fail("resolve", "broken", times=2)
    fetched(hub, token, tmp_path / "x")
    before = sum(path.startswith("GET") for endpoint, path in hub.seen if endpoint == "resolve")
    fetched(hub, token, tmp_path / "x")
    assert sum(path.startswith("GET") for endpoint, path in hub.seen if endpoint == "resolve") == before


def test_cancel_ends_it(hub, token, tmp_path):
    put(hub)
    stop = threading.Event()
    found = collect.look("alice/foxes", Secret(token), hub.url)
    with pytest.raises(client.Cancelled):
        collect.fetch(found, tmp_path / "x", Secret(token), lambda *said: stop.set(), stop.is_set, hub.url)


def test_what_cannot_be_had_is_a_sentence(hub, token, tmp_path, monkeypatch):
    put(hub, gated=True)
    put(hub, "alice/words", {"a.txt": b"x", "evil.pkl": b"x"})
    put(hub, "alice/table", {"data/train.parquet": b"PAR1"})
    monkeypatch.setattr(collect.parquet, "find_spec", lambda name: None)
    for text, who, words in (
        ("alice/gone", token, "there is no dataset 'alice/gone'"), ("alice/foxes", some_token("x"), "does not accept the token"), ("alice/foxes@old", token, "no revision 'old'"),
        ("alice/words", token, "nothing in it to learn from"), ("alice/table", token, "pip install pyarrow"), ("foxes", token, "type owner/name"), (f"{hub.url}/alice/foxes", token, "no page of a dataset"),
    ):  # fmt: skip
        with pytest.raises((client.HubError, ValueError), match=words):
            collect.look(text, Secret(who), hub.url)
    with pytest.raises(client.HubError, match="accept its terms first"):
        fetched(hub, token, tmp_path / "x")
    hub.fail("info", 503, times=-1)
    with pytest.raises(client.HubError, match="problem of its own|cannot be reached"):
        collect.look("alice/foxes", Secret(token), hub.url)
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    huggingface_hub.utils.close_session()
    with pytest.raises(client.HubError, match="offline mode is on"):
        collect.look("alice/foxes", Secret(token), hub.url)
    huggingface_hub.utils.close_session()


def test_ids_and_addresses_are_understood_and_paths_that_lead_out_are_not_taken():
    for text in ("a/b", "hf:a/b", "hf://datasets/a/b", "datasets/a/b", "https://huggingface.co/datasets/a/b", "https://huggingface.co/datasets/a/b/viewer/default/train?row=3", "hf.co/datasets/a/b"):
        assert collect.named(text)[0] == "a/b", text
    assert collect.named("a/b@v1") == ("a/b", "v1") and collect.named("https://huggingface.co/datasets/a/b/tree/dev/x") == ("a/b", "dev")
    assert not any(map(collect._kind, ("../a.png", "/a.png", "a/../b.png", "C:/a.png", "a\\b.png", ".git/a.png", "a.py", "")))
