"""A dataset of the Hub: looked at, fetched and taken in; and each way in which that does not work, in a sentence."""

from __future__ import annotations

import threading

import pytest

from tests.data.make import encoded, scene, zipped
from tests.hub.conftest import some_token
from tests.hub_standin import File, Repo
from training.data import datasets, importing
from training.hub import arriving, client, collect
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
    assert sorted(f.path for f in found.files) == ["metadata.jsonl", "train/a.png", "train/b.jpg"]
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


@pytest.fixture
def alone(hub, token, monkeypatch):
    """The Hub that this computer uses, and the account that it is signed in with."""
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", hub.url)
    monkeypatch.setenv("HF_TOKEN", token)


def test_the_page_brings_one_in_and_cancel_leaves_nothing(hub, token, home, alone, monkeypatch):
    from ui.tabs.dataset import onhub
    from ui.tabs.dataset.imports import Imports, outcome
    from ui.tabs.dataset.tab import outcome_html

    put(hub)
    found = collect.look("alice/foxes", None)
    assert 'data-key="alice/foxes@' in onhub.found_html(found) and "2 pictures" in onhub.found_html(found)
    imports, ds = Imports(home.root), datasets.create(home, "foxes")
    hub.fail("resolve", 503, times=-1)
    monkeypatch.setattr(collect, "FIRST_WAIT_S", 30.0)
    job = imports.hub(ds, found, None)
    imports.cancel(ds.name)
    job.thread.join(20)
    assert job.cancelled and "Cancelled; nothing was added" in outcome_html(job) and not list(ds.meta.glob("hub/*"))
    hub.heal()
    job = imports.hub(ds, found, None)
    job.thread.join(60)
    assert outcome(job).startswith("2 pictures added, 2 captions paired"), outcome(job)
    assert not list(ds.meta.glob("hub/*")) and ds.counts().captioned == 2


def test_a_visitor_who_is_not_signed_in_reads_nothing_with_the_token_of_this_computer(hub, alone):
    from ui.tabs.dataset import onhub

    put(hub)
    assert collect.look("alice/foxes", None).private
    with pytest.raises(client.HubError) as refused:
        collect.look("alice/foxes", onhub.of_visitor(None))
    assert refused.value.status in (401, 404)


def test_nothing_is_written_where_the_dataset_was_renamed_or_deleted(tmp_path):
    found = collect.Found("a/b", "r", (collect.File("x/a.png", 3, ""),), 0, "pictures", "", False)
    way = collect._Way(None, found, tmp_path / "gone", None, "")
    with pytest.raises(ValueError, match="is gone, so a/b cannot be brought into it"):
        collect._one(way, found.files[0], collect._Count(found, lambda *said: None, lambda: False))
    assert not (tmp_path / "gone").exists()


def test_what_is_too_much_of_one_archive_is_said_before_and_kept_after(hub, token, home, tmp_path, monkeypatch):
    told = lambda kind, name, size_bytes: collect.Found("a/b", "r", (collect.File(name, size_bytes, ""),), 0, kind, "", False).told()
    assert "of each, at most 2 GB and 20,000 files are taken" in told("archives", "x.zip", 3 * 10**9) and "at most 20,000 pictures" in told("parquet", "x.parquet", 3 * 10**9)
    assert "at most" not in told("archives", "x.zip", 10**6) and "which may hold pictures" in told("parquet", "x.parquet", 10**6)
    zips = {name: zipped(tmp_path / name, {f"{n}.png": encoded(scene(seed + n)) for n in range(count)}).read_bytes() for name, seed, count in (("big.zip", 1, 2), ("small.zip", 3, 1))}
    put(hub, "alice/zips", zips | {"a.txt": b"words"})
    monkeypatch.setattr(importing.zips, "PICTURES", importing.zips.Limits(entries=1))
    ds, found = datasets.create(home, "zips"), collect.look("alice/zips", Secret(token), hub.url)
    for old in (f"alice--zips-{'0' * 12}", f"alice--zips-more-{'0' * 12}"):
        (ds.meta / "hub" / old).mkdir(parents=True)
    verdicts = arriving.take(ds, found, Secret(token), lambda *said: None, lambda: False, hub.url)
    into = ds.meta / "hub" / f"alice--zips-{found.revision[:12]}"
    assert [p.name for p in into.iterdir()] == ["big.zip"] and verdicts[-1].reason.startswith(f"1 archive not taken whole: kept in {into}") and ds.counts().usable == 1
    assert sorted(p.name for p in into.parent.iterdir()) == sorted([into.name, f"alice--zips-more-{'0' * 12}"])


def test_a_card_that_names_only_words_is_believed():
    from huggingface_hub import DatasetCardData

    said = lambda *features: collect._without_pictures(DatasetCardData(dataset_info={"features": list(features)}))
    words = {"name": "image", "dtype": "string"}
    assert said(words) and not said(words, {"name": "x", "dtype": "image"}) and not said({"name": "x", "list": "image"}) and not said({"name": "x", "dtype": "binary"})
    assert not said({"name": "x", "sequence": {"struct": [{"name": "y", "dtype": "image"}]}}) and not said() and not collect._without_pictures(None)
    known = {"config_name": "a", "features": [words]}
    assert not collect._without_pictures(DatasetCardData(dataset_info=[known, {"config_name": "b"}])) and not collect._without_pictures(DatasetCardData(dataset_info=known, configs=[{}, {}]))
    assert collect._without_pictures(DatasetCardData(dataset_info=[known])) and not collect._without_pictures(DatasetCardData())


def test_the_command_says_the_size_first(hub, home, alone):
    from typer.testing import CliRunner

    from training.__main__ import app

    put(hub)
    asked = CliRunner().invoke(app, ["get-dataset", "hf:alice/foxes", "--home", str(home.root)], input="n\n")
    assert "2 pictures" in asked.output and asked.exit_code == 130 and not datasets.list_datasets(home)
    done = CliRunner().invoke(app, ["get-dataset", "alice/foxes", "--yes", "--home", str(home.root)])
    assert "2 pictures added" in done.output and datasets.open_dataset(home, "foxes").counts().captioned == 2, done.output


def test_what_passes_is_tried_again_and_what_is_there_is_not_fetched_twice(hub, token, tmp_path):
    put(hub)
    for how in ("broken", 503, "bad json"):
        hub.fail("resolve", how)
    (tmp_path / "x" / "train").mkdir(parents=True)
    (tmp_path / "x/train/b.jpg.part").write_bytes(HELD["train/b.jpg"][:500])  # of an earlier time
    fetched(hub, token, tmp_path / "x")
    before = hub.count("resolve")
    assert before == 6 and all((tmp_path / "x" / name).read_bytes() == HELD[name] for name in ("train/a.png", "train/b.jpg", "metadata.jsonl"))
    (tmp_path / "x/train/a.png").write_bytes(HELD["train/a.png"][::-1])  # of the right size, but another
    fetched(hub, token, tmp_path / "x")
    assert hub.count("resolve") == before + 1 and (tmp_path / "x/train/a.png").read_bytes() == HELD["train/a.png"] and not list((tmp_path / "x").rglob("*.part"))


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
    page = "https://huggingface.co/datasets/a/b/"
    for tail, revision in (
        ("viewer/default/train?row=3", ""), ("tree/refs%2Fconvert%2Fparquet", "refs/convert/parquet"), ("tree/refs/convert/parquet/default/train", "refs/convert/parquet"),
        ("blob/main/x.png", "main"), ("tree/refs%2fpr%2f3", "refs/pr/3"), ("resolve/v1/data/x.zip", "v1"), ("discussions/3", ""),
    ):  # fmt: skip
        assert collect.named(page + tail) == ("a/b", revision), tail
    assert not any(map(collect._kind, ("../a.png", "/a.png", "a/../b.png", "C:/a.png", "a\\b.png", ".git/a.png", "a.py", "")))
