"""Configs, job files, names and plugins: what a person may write, and what is said when it is wrong."""

import json
import random
import subprocess
import sys

import pytest
from pydantic import ValidationError

from training import jobfile, registry
from training.config import TrainConfig
from training.home import REPO, find_home
from training.names import MAX_BYTES, check_name, folder_name

MODEL, DATA = {"family": "sd15", "source": "builtin"}, {"datasets": [{"name": "kätzchen"}]}
ODD_TEXTS = ["1e5", "1e-4", "-.5e3", "2026-01-31", "no", "on", "0x1f", "1_000", "~", "null", "=", "1:30", ".inf", "日本 'x' \"y\"", "a: b", "- a", "# x", "🎨", "a\u2028b", "&a", "*a", "'", "%", "@", "`", "[a]", "{a}"]  # fmt: skip


REST_OF_A_JOB = "from training.config import JobConfig as Config\ndef run(config, ctx): ...\n"


def train(**changes) -> TrainConfig:
    return TrainConfig(**({"name": "my-cat", "model": MODEL, "data": DATA} | changes))


def written(tmp_path, text, name="job.yaml"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize("text", ODD_TEXTS)
def test_any_text_survives_a_job_file(tmp_path, text):
    config = train(sample={"prompts": [text], "negative": text}, preset=text)
    assert jobfile.load_job(written(tmp_path, jobfile.dump_yaml(config))) == config
    assert jobfile.load_job(written(tmp_path, config.model_dump_json(), "job.json")) == config


def test_numbers_survive_a_job_file(tmp_path):
    rng = random.Random(0)
    for _ in range(20):
        config = train(seed=rng.randrange(2**63), optimizer={"learning_rate": 10 ** rng.uniform(-12, 0), "eps": 10 ** rng.uniform(-20, -3)})
        assert jobfile.load_job(written(tmp_path, jobfile.dump_yaml(config))) == config


def test_a_number_in_short_form_is_a_number(tmp_path):
    for text in ("1e-4", "1E-4", ".1e-3", "1.0e-4"):
        path = written(tmp_path, f"name: x\nmodel: {json.dumps(MODEL)}\ndata: {json.dumps(DATA)}\noptimizer:\n  learning_rate: {text}\n")
        assert jobfile.load_job(path).optimizer.learning_rate == 1e-4


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"adapter": {"rnak": 8}}, "adapter.rnak: is not a setting; did you mean 'rank'?"),
        ({"stepz": 8}, "stepz: is not a setting; did you mean 'steps'?"),
        ({"data": {"datasets": [{"name": "x", "repeat": 2}]}}, "data.datasets.0.repeat: is not a setting; did you mean 'repeats'?"),
        ({"optimizer": {"schedule": "cosin"}}, "did you mean 'cosine'?"),
        ({"optimizer": {"rates": [{"pattern": "(", "times": 2}]}}, "is not a regular expression"),
        ({"model": {"family": "sd15"}}, "model.source: is missing"),
        ({"steps": True}, "steps is True, but it takes a number"),
        ({"optimizer": {"betas": [0.9, False]}}, "betas holds False, but it takes numbers"),
        ({"data": DATA | {"resolutions": [True]}}, "resolutions holds True, but it takes numbers"),
        ({"optimizer": {"learning_rate": float("nan")}}, "optimizer.learning_rate"),
        ({"optimizer": {"learning_rate": float("inf")}}, "optimizer.learning_rate"),
        ({"steps": 10, "optimizer": {"warmup_steps": 10}}, "optimizer.warmup_steps is 10, but the run has only 10 steps; lower it"),
        ({"trigger": "a, b"}, "the trigger word holds a comma"),
        ({"name": "a/b"}, "which a folder name cannot"),
        ({"data": DATA | {"resolutions": [8]}}, "a resolution of 8 px is outside 32-4096 px"),
    ],
)
def test_a_wrong_setting_is_refused_in_a_sentence(changes, sentence):
    with pytest.raises(ValueError) as error:
        jobfile.parse(TrainConfig, {"kind": "train", "name": "x", "model": MODEL, "data": DATA} | changes)
    assert sentence in str(error.value)


def test_all_that_is_wrong_is_said_at_once():
    with pytest.raises(ValueError) as error:
        jobfile.parse(TrainConfig, {"name": "", "model": MODEL, "data": DATA, "stepz": 1, "adapter": {"rank": 0}})
    assert len(str(error.value).splitlines()) == 4


def test_a_config_never_changes():
    config = train()
    for act in (lambda: setattr(config, "steps", 5), lambda: setattr(config.adapter, "rank", 5)):
        with pytest.raises(ValidationError):
            act()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: &x 1\nb: *x\n", "line 2: aliases"),
        ("steps: 1\nsteps: 2\n", "line 2: the key 'steps' stands twice"),
        ("model:\n  source: a\n  source: b\n", "line 3: the key 'source' stands twice"),
        ("? [a, b]\n: 1\n", "is not a word"),
        ("- a\n- b\n", "holds a list, but a job is a mapping"),
        ("", "holds nothing"),
        ("a: [\n", "job.yaml"),
        ("!!python/object/apply:os.system ['true']", "could not determine a constructor"),
        (b"name: \xff\xfe\n", "is not UTF-8 text"),
        ("[" * 60_000, "nested too deeply"),
        ("name: " + "x" * 200_000, "200 kB is the most"),
        ("kind: dance\n", "there is no jobs plugin called 'dance'; there are: "),
    ],
)
def test_a_job_file_that_is_not_one_is_refused_in_a_sentence(tmp_path, text, sentence):
    with pytest.raises(ValueError) as error:
        jobfile.load_job(written(tmp_path, text))
    assert sentence in str(error.value)


def test_json_is_read_as_strictly(tmp_path):
    for text, sentence in (('{"a": 1, "a": 2}', "'a' stands twice"), ("{", "job.json"), ("[1]", "holds a list"), ("null", "holds nothing"), ("[" * 60_000, "nested too deeply")):
        with pytest.raises(ValueError, match=sentence):
            jobfile.load_mapping(written(tmp_path, text, "job.json"))


def test_the_environment_and_the_name_are_filled_in(tmp_path, monkeypatch):
    monkeypatch.setenv("BASE_MODEL", "owner/model")
    text = f"name: zibbo-1\nmodel: {{family: sd15, source: '${{BASE_MODEL}}'}}\ndata: {json.dumps(DATA)}\nsample: {{prompts: ['a photo of [name] and [trigger]']}}\n"
    config = jobfile.load_job(written(tmp_path, text))
    assert config.model.source == "owner/model"
    assert config.sample.prompts == ("a photo of zibbo-1 and [trigger]",)


def test_the_environment_never_reaches_what_is_published(monkeypatch):
    monkeypatch.setenv("SECRET_THING", "x")
    for data in ({"name": "${SECRET_THING}"}, {"trigger": "${SECRET_THING}"}, {"sample": {"prompts": ["ok", "a ${SECRET_THING}"]}}):
        with pytest.raises(ValueError, match="must not come from the environment"):
            jobfile.substitute(data)
    with pytest.raises(ValueError, match="asks for the environment variable NOT_SET_ANYWHERE"):
        jobfile.substitute({"model": {"source": "${NOT_SET_ANYWHERE}"}})


def test_relative_paths_start_at_the_job_file(nasty):
    (nasty / "pics").mkdir()
    text = "name: x\nmodel: {family: sd15, source: ./pics}\ndata: {datasets: [{name: ./pics}, {name: pics}, {name: not/there}]}\n"
    config = jobfile.load_job(written(nasty, text))
    assert config.model.source == str(nasty / "pics")
    assert [use.name for use in config.data.datasets] == [str(nasty / "pics"), "pics", "not/there"]


@pytest.mark.parametrize("name", ["my-cat", "日本 cat", "e\u0301", "a b.c", "naïve 'x'", "🎨", "x" * MAX_BYTES, "COM10", "console"])
def test_a_good_name_is_kept(name, tmp_path):
    assert folder_name(check_name(name)) == check_name(name)
    (tmp_path / check_name(name)).mkdir()


@pytest.mark.parametrize(
    "name", ["", "  ", ".", "..", ".x", "-x", "x.", "a/b", "a\\b", "a:b", "a\0b", "a\nb", 'a"b', "CON", "con.txt", "LPT1", "a\u202eb", "日" * 34, "a?b", "a\ud800b"]
)
def test_a_bad_name_is_refused_and_a_folder_name_made_of_it_holds(name, tmp_path):
    with pytest.raises(ValueError, match="the name"):
        check_name(name)
    made = folder_name(name)
    assert check_name(made) == made
    (tmp_path / made).mkdir()


def test_a_folder_name_can_be_made_of_anything_quickly():
    rng = random.Random(0)
    letters = "ab. -/\\:*?\0\n日é🎨\u200d\u202e\ud800CON.NUL"
    for _ in range(500):
        made = folder_name("".join(rng.choice(letters) for _ in range(rng.randrange(150))))
        assert check_name(made) == made
        assert folder_name(made) == made
    assert check_name(folder_name("日" * 1_000_000))


def test_plugins_are_found_by_listing_folders(tmp_path):
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "mine.py").write_text(f"TITLE = 'Mine'\n{REST_OF_A_JOB}")
    (tmp_path / "jobs" / "broken.py").write_text("import no_such_library\n")
    (tmp_path / "jobs" / "quits.py").write_text("raise SystemExit(3)\n")
    (tmp_path / "jobs" / "train.py").write_text("TITLE = 'Not the built-in one'\n")
    found = registry.find("jobs", tmp_path)
    assert found["mine"].module.TITLE == "Mine"
    assert found["train"].source == "built in"
    assert [found[id].error.split(":")[0] for id in ("broken", "quits")] == ["ModuleNotFoundError", "SystemExit"]
    with pytest.raises(ValueError, match="'broken' does not load: ModuleNotFoundError: No module named 'no_such_library'"):
        registry.get("jobs", "broken", tmp_path)
    with pytest.raises(ValueError, match="there is no jobs plugin called 'dance'; there are: .*mine"):
        registry.get("jobs", "dance", tmp_path)
    with pytest.raises(ValueError, match="called 'trian'; did you mean 'train'. There are: .*mine"):
        registry.get("jobs", "trian", tmp_path)


def test_two_homes_have_plugins_of_their_own(tmp_path):
    for home in ("a", "b"):
        (tmp_path / home / "jobs").mkdir(parents=True)
        (tmp_path / home / "jobs" / "mine.py").write_text(f"TITLE = '{home}'\n{REST_OF_A_JOB}")
    assert [registry.get("jobs", "mine", tmp_path / home).TITLE for home in ("a", "b", "a")] == ["a", "b", "a"]


def test_the_home_is_the_flag_else_the_environment_else_the_repository(tmp_path, monkeypatch):
    monkeypatch.setenv("EASEL_HOME", str(tmp_path / "env"))
    assert find_home(tmp_path / "flag").root == tmp_path / "flag"
    assert find_home().root == tmp_path / "env"
    monkeypatch.delenv("EASEL_HOME")
    assert find_home().root == REPO


def test_the_front_half_and_every_plugin_load_without_torch():
    code = "import sys; from training import config, jobfile, registry; from training.runs import supervisor, worker\n"
    code += "for kind in registry.PACKAGES: print(kind, [p.error for p in registry.find(kind).values() if not p.ok])\n"
    code += "print([m for m in ('torch', 'diffusers', 'transformers', 'peft') if m in sys.modules])"
    asked = subprocess.run([sys.executable, "-c", code], cwd=REPO, check=True, capture_output=True, text=True)
    assert asked.stdout.splitlines() == [*(f"{kind} []" for kind in registry.PACKAGES), "[]"]
