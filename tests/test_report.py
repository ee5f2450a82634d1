"""A report of a problem tells the fault and nothing of whose it is, wherever that stands."""

import json
import os
import time
import unicodedata
import zipfile
from urllib.parse import quote

import pytest

from tests.test_cli import typed
from tests.ui import story
from training import jobfile, redacting, report
from training.data import datasets
from training.runs import journal

USER, HOST = "Zoë-Łukasz", "zoes-laptop"
SECRETS = {  # what -> text that must not be found, in any of the forms that it may have
    "user": USER, "host": HOST, "run": "mein geheimer hund", "trigger": "schnuffi", "dataset": "Urlaub mit Erika", "picture": "erika am strand 7", "plugin": "myprivateplugin",
    "caption": "Erika Mustermann wearing her blue bikini", "tag": "erika mustermann", "prompt": "schnuffi kissing Hans Meier in Wanne-Eickel", "negative": "Tante Gerda", "anchor": "Onkel Willi",
    "base": "secretcorp-unreleased", "repo": "erika1985", "token": "hf_" + "Ab3" * 9, "github": "ghp_" + "x9Y" * 10, "aws": "AKIAIOSFODNN7EXAMPLE", "password": "hunter2!correct", "jwt": "eyJhbGciOiJI.eyJzdWIiOiIx.SflKxwRJ",
    "mail": "erika@mustermann.example", "ip": "192.168.178.23", "ip6": "fe80::1ff:fe23:4567:890a", "mac": "3c:22:fb:9a:10:7e", "url": "erika:geheim@proxy.firma.example", "uuid": "8a3f2b10-1111-4222-8333-944455556666",
    "windows": "Erika Kunde", "share": "FILESRV07", "mount": "Projekt Nordwind", "code": "sekretfunktion", "option": "geheimoption", "env": "FIRMENGEHEIMNIS",
}  # fmt: skip


def forms(text: str) -> set[str]:
    made = {text, unicodedata.normalize("NFD", text), quote(text), text.encode("unicode_escape").decode(), text.replace(" ", "_"), repr(text.encode())[2:-1]}
    return {form.casefold() for form in made} | {word.casefold() for word in text.replace("-", " ").split() if len(word) > 4 and not word.isdigit() and word.casefold() not in ("wearing", "kissing", "strand")}


@pytest.fixture
def person(monkeypatch):
    for name, value in {"USER": USER, "LOGNAME": USER, "USERNAME": USER, "HOSTNAME": HOST, "COMPUTERNAME": HOST, "MY_TOKEN": SECRETS["token"]}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(redacting.platform, "node", lambda: f"{HOST}.fritz.box")


@pytest.fixture
def planted(home, person):
    """A failed run with a secret in every place where one can stand."""
    s = SECRETS
    ds = datasets.create(home, s["dataset"])
    for n in range(2):
        story.Image.new("RGB", (70, 70), (90 * n, 9, 9)).save(ds.path / f"{s['picture']}{n}.png")
    ds.check()
    ds.set_caption(f"{s['picture']}0.png", f"{s['caption']}, {s['tag']}")
    run = story.run(home, 20, "", name=s["run"])
    told = run.job()
    told |= {"trigger": s["trigger"], "preset": "my own preset of Erika"}
    told["model"] |= {"source": f"/mnt/{s['mount']}/{s['base']}", "revision": s["repo"], "training_adapter": f"{s['repo']}/{s['base']}"}
    told["data"]["datasets"] = [{"name": ds.name, "part": "Strand von Erika"}, {"name": f"C:\\Users\\{s['windows']}\\bilder\\hund"}, {"name": f"\\\\{s['share']}\\freigabe\\fotos"}]
    told["optimizer"]["options"] = {s["option"]: s["password"]}
    told["concept"]["anchors"] = [s["anchor"]]
    told["sample"] |= {"prompts": [s["prompt"]], "negative": s["negative"]}
    (run.path / "job.yaml").write_text(jobfile.dump_yaml(jobfile.parse(type(run.config()), told)), encoding="utf-8")
    (run.path / "pictures.json").write_text(json.dumps([{"id": f"{s['picture']}0.png", "captions": [s["caption"]]}]))
    home_folder = f"/home/{USER}"
    code = [
        f'  File "{home_folder}/easel/plugins/objectives/{s["plugin"]}.py", line 7, in {s["code"]}', f'    raise ValueError("{s["caption"]}")', "    ~~~~~^^^^",
        '  File "/opt/venv/lib/python3.11/site-packages/torch/nn/modules/module.py", line 1775, in _call_impl', "    return forward_call(*args, **kwargs)",
        f'  File "{home_folder}/easel/training/engine/loop.py", line 120, in train', f'    x = "{s["password"]}"',
    ]  # fmt: skip
    said = [
        f"the caption '{s['caption']}' is longer than 77 tokens", f"truncated: ['and {s['tag']} lies there']", f"an open quote: '{s['caption'][:24]}", f"{s['picture']}1.png encodes to numbers that are not finite",
        f"FileNotFoundError: {home_folder}/Meine Bilder/{s['picture']}.png", f"cannot open C:\\Users\\{s['windows']}\\Eigene Bilder\\{s['picture']}.jpg", f"\\\\{s['share']}\\freigabe\\x.png is gone",
        f"file:///mnt/{s['mount']}/a.txt and /mnt/{s['mount']}/b c/d.txt", f"HF_TOKEN={s['token']}", f"export {s['env']}={s['password']} and more of it", f"environ({{'API_KEY': '{s['password']}', 'USER': '{USER}'}})",
        f"Authorization: Bearer {s['jwt']}", f"password is {s['password']}", f"remote: {s['github']} {s['aws']}", f"mail {s['mail']} from {s['ip']}:7860 and {s['ip6']} ({s['mac']})", f"http://{s['url']}:3128/path?x=1",
        f"{USER}@{HOST}:~/{s['mount']}$ python app.py", f"resolved {HOST}.local on GPU-{s['uuid']}", f"https://huggingface.co/{s['repo']}/{s['base']}/resolve/main", f"{s['repo']}/{s['base']} does not appear to have a file",
        f"The token of {s['repo']} can only read (403).", f"'{s['repo']}' is not a namespace of {s['repo']} (403).", f"prompt: {s['prompt']}", f"negative {s['negative']} and {s['anchor']} of {s['trigger']}", f"run {s['run']} and dataset {s['dataset']}",
        f"\x1b[31m{USER}\x1b[0m \u202e{HOST}", unicodedata.normalize("NFD", f"moved to /Users/{USER}/x"), f"{quote(home_folder)}/cache", repr(f"{home_folder}/x".encode()), USER.upper(), USER.lower(),
        "-----BEGIN OPENSSH PRIVATE KEY-----\n" + s["password"] + "\n-----END OPENSSH PRIVATE KEY-----", f"Traceback (most recent call last):\n{chr(10).join(code)}\nValueError: {s['caption']}",
        f"  File \"training/x.py\", line 1, in f\n{s['caption']} and a forged frame",
    ]  # fmt: skip
    for text in said:
        journal.append(run.events_path, {"t": time.time(), "kind": "warning", "text": text})
    journal.append(run.events_path, {"t": time.time(), "kind": "phase", "name": f"downloading {s['repo']}/{s['base']}", "done": 1, "of": 2, "unit": s["caption"]})
    journal.append(run.events_path, {"t": time.time(), "kind": "item", "id": f"{s['picture']}.png", "status": s["tag"], "text": s["caption"], "was": s["prompt"]})
    journal.append(run.events_path, {"t": time.time(), "kind": "sample", "step": 20, "index": 0, "prompt": s["prompt"], "path": f"samples/{s['picture']}.webp", "seed": 1})
    journal.append(run.events_path, {"t": time.time(), "kind": "started", "pid": 1, "attempt": 2, "boot_id": s["uuid"], "oom_kills": 0, "versions": {"torch": f"2.13 {USER}", "python": "3.11.9", s["plugin"]: "1"}, "device": HOST})
    journal.append(run.events_path, {"t": time.time(), "kind": s["plugin"], s["option"]: s["caption"]})
    journal.append(run.events_path, {"t": time.time(), "kind": "failed", "error": f"the dataset {s['dataset']!r} holds no {s['caption']}", "hint": f"look at {home_folder}/x", "trace": "\n".join(code)})
    run.log_path.write_text("\n".join(said), encoding="utf-8")
    (home.plugins / "objectives").mkdir(parents=True)
    (home.plugins / "objectives" / f"{s['plugin']}.py").write_text(f"raise RuntimeError('{s['password']} of {home_folder}')")
    return run


def found(text: str, *but: str) -> dict[str, list[str]]:
    folded = [unicodedata.normalize(form, text).casefold() for form in ("NFC", "NFD")]
    return {what: hits for what, secret in SECRETS.items() if what not in but and (hits := [form for form in forms(secret) if any(form in t for t in folded)])}


@pytest.mark.slow
def test_no_secret_is_found_in_a_report_wherever_it_was_planted(home, planted, monkeypatch, capsys, tmp_path):
    text = report.report(home, planted).text
    assert found(text) == {}, text
    for told in ("steps: 100", "step 20/100", "torch/nn/modules/module.py:1775 in _call_impl", "training/engine/loop.py:120 in train", "E-", "is longer than 77 tokens", "encodes to numbers that are not finite", "data.batch_size: 4", "model.family: sd15", "python 3.11.9", "does not appear to have a file"):
        assert told in text, told
    assert "<program>:7" in text
    _what_is_ticked_is_let_in_and_tokens_never(home, planted)  # the same run, which takes a second to plant
    _pictures_come_only_when_they_are_ticked_and_under_names_of_ours(home, planted, tmp_path)
    _the_command_line_shows_all_of_it_before_it_is_saved(home, planted, monkeypatch, capsys, tmp_path)


def _what_is_ticked_is_let_in_and_tokens_never(home, planted):
    words = report.report(home, planted, report.Ticks(words=True))
    assert SECRETS["prompt"] in words.text and SECRETS["trigger"] in words.text and not words.pictures
    names = report.report(home, planted, report.Ticks(names=True)).text
    assert SECRETS["run"] in names and SECRETS["base"] in names
    never = {"token", "github", "aws", "password", "jwt", "mail", "ip", "ip6", "mac", "user", "host", "url", "env"}
    for line in (words.text + names).split("\n"):
        assert never.isdisjoint(found(line)), line
    assert not [what for what in ("run", "base", "repo", "windows", "share", "mount") if SECRETS[what] in words.text]
    assert SECRETS["prompt"] not in names and SECRETS["caption"] not in names


def _pictures_come_only_when_they_are_ticked_and_under_names_of_ours(home, planted, tmp_path):
    assert report.report(home, planted).pictures == ()
    made = report.report(home, planted, report.Ticks(pictures=True))
    with pytest.raises(ValueError, match="must end in .zip"):
        report.write(made, tmp_path / "x.txt")
    report.write(made, tmp_path / "x.zip")
    with zipfile.ZipFile(tmp_path / "x.zip") as archive:
        assert archive.namelist()[:2] == ["report.txt", "samples/000.webp"] and archive.read("report.txt").decode() == made.text


def _the_command_line_shows_all_of_it_before_it_is_saved(home, planted, monkeypatch, capsys, tmp_path):
    code, said = typed(home, monkeypatch, capsys, "report", planted.id, "--out", tmp_path / "r.txt", "--yes")
    assert code == 0 and said.startswith((tmp_path / "r.txt").read_text(encoding="utf-8")) and found((tmp_path / "r.txt").read_text(encoding="utf-8")) == {}
    assert "== The run ==" not in typed(home, monkeypatch, capsys, "report")[1]


def test_a_run_that_is_broken_in_every_way_is_reported_all_the_same(home):
    run = story.run(home, 20)
    (run.path / "job.yaml").write_text("kind: unknown\nname: x\nsecret: y")
    with open(run.events_path, "ab") as file:
        file.write(b"\xff\xfe{not json\n" + json.dumps({"t": "soon", "kind": "failed", "error": {}, "trace": [1]}).encode() + b"\n" + b'{"t": 1e400, "kind": "step"}\n')
    run.log_path.write_bytes(os.urandom(5000))
    text = report.report(home, run).text
    assert "so nothing is told of them" in text and "secret" not in text.split("== Its settings ==")[1].split("==")[0]


WRAPPED = (
    "{}", "error: {}", "({})", "[{}]", "x={}", "'{}'", "“{}”", "<{}>", "{},", "{};", "at {} in", "{{'a': '{}'}}", "b'{}'", "«{}»", "{}'s", "({}", "{})", "*{}*", "_{}_", "|{}|", "{}…", "Xx{}", "{}\\n", "\\n{}",
    'key="{}"', "path:{}", "--path={}", "@{}", "`{}`", "{}/", "file={}&x=1", '"{}', '{}"',
)  # fmt: skip


def test_what_is_somebodys_is_hidden_whatever_stands_around_it():
    redactor = redacting.Redactor(["Urlaub mit Erika"], ["a photo of a cat in the garden with Erika"], ("zoë", "zoes-laptop"), ("/home/zoë",))
    own = {
        "/home/zoë/private stuff/erika.png": ("private", "erika", "zoë"), "C:\\Users\\Zoë Müller\\x.txt": ("zoë", "müller"), "hf_AbCdEfGhIjKlMnOpQrSt": ("abcd",), "zoe@corp.example": ("corp",), "10.0.0.17": ("10.0.0.17",),
        "a photo of a cat in the garden with Erika": ("garden", "erika"), "zoes-laptop": ("laptop",), "\\\\srv01\\geheim\\x": ("srv01", "geheim"),
    }  # fmt: skip
    for secret, words in own.items():
        for around in WRAPPED:
            said = redactor.traceback(around.format(secret))
            assert not [word for word in words if word in said.casefold()], (around, secret, said)


def test_what_says_nothing_of_anybody_stays_readable():
    redactor = redacting.Redactor([], [], ("zoë",), ("/home/zoë",), ("optimizer.learning_rate", "bf16"))
    for text in (
        "RuntimeError: mat1 and mat2 shapes cannot be multiplied (77x768 and 1024x320)", "set model.dtype to 'bf16' or lower optimizer.learning_rate", " 40%|████      | 4/10 [00:02<00:03,  1.72it/s]",
        "Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu!", "2026-01-31 14:20:05 step 12/100 loss 0.2534 lr 1.0e-04", "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB",
    ):  # fmt: skip
        assert redactor.traceback(text) == text


HOSTS = ("build7", "secretcorp", "bobsmith", "aabbccddeeffaabb", "gpubox")


def hidden(text: str) -> str:
    return redacting.Redactor([], [], [], [], report._plain()).text(text)


def test_hosts_and_accounts_are_hidden_in_free_text():
    for text in (
        "ssh: Could not resolve hostname build7.secretcorp.com: Name or service not known", "ssh: connect to host build7.secretcorp.com port 22: Connection refused", "ssh: connect to host gpubox port 22: No route to host",
        "HTTPSConnectionPool(host=api.secretcorp.com, port=443)", "HTTPSConnectionPool(host='api.secretcorp.com', port=443): Max retries exceeded", "logged in as: bobsmith", "Signed in as bobsmith.", "user=bobsmith",
        "api.secretcorp.co.uk:8443 is away", "test.secretcorp.de", "gpu.build7.secretcorp.engineering is busy", "at build7.secretcorp.com.", "the key aabbccddeeffaabbccddeeffaabbccddeeffaabb is odd", "BUILD7.SECRETCORP.COM",
    ):  # fmt: skip
        assert not [secret for secret in HOSTS if secret in hidden(text).casefold()], hidden(text)


def test_names_of_modules_layers_and_settings_stay():
    for text in (
        "torch.nn.functional.scaled_dot_product_attention failed in training.engine.loop", "unet.down_blocks.0.attn1.to_q.lora_A.weight is odd", "json.decoder.JSONDecodeError: Expecting value, e.g. a list", "text_encoder.text_model.layers.3.mlp.fc1",
        "loss.timestep_min is 0.9; optimizer.options holds it", "read config.py, libcudart.so.12 and model.safetensors of 2.13.0+cu128", "It is so. Next, model.to(device) of module.to", "huggingface.co cannot be reached", "StableDiffusionXLControlNetInpaintPipeline",
        "urllib3.exceptions.MaxRetryError after encoder.layers.norm", "place.kind is 'ssh', trackers is 'wandb'",
    ):  # fmt: skip
        assert hidden(text) == text


def test_where_a_run_was_trained_and_shown_is_told_but_not_with_whom(home, person):
    run = story.run(home, 20, "failed")
    told = run.job() | {"place": {"kind": "ssh", "options": {"host": "build7", "user": "bobsmith"}}, "trackers": [{"name": "wandb", "project": "moonshot", "place": "secret-team"}, {"name": "privatetracker"}]}
    (run.path / "job.yaml").write_text(jobfile.dump_yaml(jobfile.parse(type(run.config()), told)), encoding="utf-8")
    run.log_path.write_text("bobsmith at build7: wandb shows moonshot of secret-team and privatetracker\n", encoding="utf-8")
    text = report.report(home, run).text
    assert "place.kind: ssh" in text and "trackers.0.name: wandb" in text and "place.checkpoints: last" in text
    assert not [secret for secret in ("build7", "bobsmith", "moonshot", "secret-team", "privatetracker") if secret in text], text
