"""The page speaks the language of whoever looks: no sentence is missing, none is kept for the next visitor, and the browser's wish is heard."""

from __future__ import annotations

import ast
import re
from datetime import datetime
from pathlib import Path

import gradio as gr
import orjson
import pytest
from babel.messages.pofile import read_po
from fastapi import FastAPI
from starlette.testclient import TestClient

from training.home import Home
from training.runs import needs
from ui import shell
from ui.language import COOKIE, FOLDER, LANGUAGES, MARKS_OF_TEXT, SOURCE, extract, of_request, of_scripts, point, speaking, trn, whole
from ui.language.heard import LIST, NAME, heard, pattern
from ui.server.spoken import Layouts, Spoken, put

UI = Path(__file__).resolve().parents[2] / "ui"
# what is for programs, or for the window that Easel was started in: English, as the command line
FOR_OTHERS = ("api/", "language/", "server/serving.py", "server/closing.py", "server/instance.py", "server/window.py", "server/guard.py", "server/space.py", "server/client.py", "server/frontpage.py", "server/logins.py", "server/folders.py", "server/spoken.py", "theme.py", "icons.py")
FILES = [path for path in sorted(UI.rglob("*.py")) if not path.relative_to(UI).as_posix().startswith(FOR_OTHERS)]
NAMES = ("Easel", "LoRA", "Hugging Face", "GitHub", "Comfy", "Civitai")
QUIET_ARGUMENTS = ("elem_id", "elem_classes", "key", "variant", "js", "js_on_load", "html_template", "css_template", "api_visibility", "show_progress", "storage_key", "secret", "type", "file_types")
SAID_IN = re.compile(r'\b(?:title|aria-label|placeholder|alt|data-say|data-confirm|data-yes)="([^"]*)"')
# tables of a file that are taken up as a whole (ui/language/extract.py, listed()), or that nobody is shown
TABLES = {"forms.py": ("SPELT", "NAMED", "ALSO")}
ALLOWED: dict[str, tuple[str, ...]] = {  # file -> strings that look like words, and are none for a person
    "drafts.py": ("Model",),
    "server/media.py": ("private, no-store", "turned is no view of a picture", r"(?:lora|step-(?P<step>\d{1,9}))(?:-(?P<file>[a-z_]{1,60}))?"),  # an error that becomes "no such file"
    "tabs/captions/captioner.py": ("\0 captions",),  # the name of a run, and so of its folder
    "tabs/captions/tab.py": (  # scripts; what could stand in a caption, which is English
        "easel.grid(element, (data) => trigger('act', data), watch, server)", "watch('value', () => easel.patch(props.value))", "a photo of ", ", soft light",
    ),
    "tabs/train/page.py": ("Apache 2.0", "Fair AI 1.0-SD"),  # names of licences
    "tabs/publish/page.py": ("environment first", "Not signed in: "),  # where a token is, on record; what the engine's sentence begins with
    "tabs/publish/tab.py": ("---\nlicense: other\n---\n\n\0\n", "\0.zip, \0"),  # a file; its name and size
    "tabs/dataset/imports.py": ("an import failed",),  # for the log
    "tabs/dataset/tab.py": (  # scripts, and the value of a choice
        "easel.grid(element, (data) => trigger('act', data), watch)", "easel.grid(element, (data) => (data.act === 'treat' ? trigger('treat', data) : trigger('act', data)), watch)", "no caption",
    ),
    "tabs/playground/asks.py": ("the request", "Playground \0"),  # in an error that is caught; a job's name
    "tabs/playground/many.py": ("Pictures of \0",),  # a job's name, and its folder's
    "tabs/playground/page.py": ("a red circle",),  # a prompt
    "tabs/playground/sliders.py": ("\0 repaired",),  # a job's name, and its folder's
    "tabs/tools/page.py": ("sha256 of the tensors", " aria-invalid=true aria-describedby=tool-look-fault"),  # the name of a hash in the engine; attributes
}  # fmt: skip


def unmarked(path: Path) -> list[str]:
    """'line: text' of what a person would read in this file and tr() does not say."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    silent: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and node.body and isinstance(node.body[0], ast.Expr):
            silent |= _inside(node.body[0])
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in (*MARKS_OF_TEXT, "print"):
            silent |= {found for argument in node.args for found in _inside(argument)}
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Call) and ast.unparse(node.func.value.func) == "logging.getLogger":
            silent |= _inside(node)
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id in TABLES.get(path.relative_to(UI).as_posix(), ()):
            silent |= _inside(node.value)
        if isinstance(node, ast.Compare):
            silent |= _inside(node)
        if isinstance(node, ast.Subscript):
            silent |= _inside(node.slice)
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "__all__":
            silent |= _inside(node.value)
        if isinstance(node, ast.keyword) and node.arg in QUIET_ARGUMENTS:
            silent |= _inside(node.value)
        if isinstance(node, ast.JoinedStr):
            silent |= {id(part) for part in node.values if isinstance(part, ast.Constant)}
            silent |= {found for part in node.values if isinstance(part, ast.FormattedValue) and part.format_spec for found in _inside(part.format_spec)}
    found = []
    for node in ast.walk(tree):
        if id(node) in silent or not isinstance(node, (ast.Constant, ast.JoinedStr)):
            continue
        whole = isinstance(node, ast.JoinedStr)
        text = "".join(part.value if isinstance(part, ast.Constant) else "\0" for part in node.values) if whole else node.value
        if isinstance(text, str) and (said := _said(text, whole)) and text not in ALLOWED.get(path.relative_to(UI).as_posix(), ()):
            found.append(f"{path.relative_to(UI.parent)}:{node.lineno}: {said}")
    return found


def _inside(node: ast.AST) -> set[int]:
    return {id(inner) for inner in ast.walk(node)}


def _said(text: str, filled: bool) -> str:
    """What a person reads of a string of the code; "" for what is for the browser."""
    text = re.sub(r"\b[a-z]+\.\0", " ", text)  # a setting by its path
    inside = [value for value in SAID_IN.findall(text) if re.search(r"[A-Za-z]{2}", value)]
    bare = re.sub(r"<[^<>]*>|<[^<>]*$|^[^<>]*(?<![a-z ])>", "\n", text) if ("<" in text or ">" in text) and "=>" not in text else text
    html = bare != text
    bare = re.sub(r"&\w+;|%[a-zA-Z]|\b(?:ez|is|data|aria)-[\w-]*(?:=['\"]?[^'\"]*['\"]?)?", " ", bare)
    for name in NAMES:
        bare = bare.replace(name, "")
    wordy = re.search(r"[a-z]{2,}[,;:]? [a-z\"‘(\0]", bare) or re.match(r"\s*[A-Z][a-z]+(?: |[.…!?:]|\s*$)", bare) or ((filled or html) and re.search(r"(?<![\w./#-])[a-z]{3,}(?![\w/=#:-])", bare))
    odd = re.search(r"[{};=]|->|=>|\.\w+\(|^[\w-]+\[|\\[dwsb]", bare) and not html
    return " ".join((bare if wordy and not odd else "").split()) or " | ".join(inside)


def test_a_sentence_of_the_engine_that_begins_with_a_name_is_taken_up_and_code_is_not():
    said = extract.pattern_of(ast.parse('f"{path.name} cannot be read: {error}"', mode="eval").body)
    assert said == "{name} cannot be read: {error}" and not extract.CODE.search(said)
    assert all(extract.CODE.search(code) for code in ('{"a word": 1}', "[a-z] of that", "<b> of that"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(UI).as_posix())
def test_no_text_of_the_page_is_outside_the_languages(path):
    assert unmarked(path) == []


# -- which language


@pytest.mark.parametrize(
    ("query", "cookies", "header", "spoken"),
    [
        ({}, {}, "", "en"), ({}, {}, "de", "de"), ({}, {}, "de-CH,de;q=0.9,en;q=0.8", "de"), ({}, {}, "pl,fr;q=0.4,ja;q=0.6", "ja"), ({}, {}, "zh-TW", "zh"),
        ({}, {}, "pl", "en"), ({}, {}, "de;q=0,es;q=0.1", "es"), ({}, {}, "de;q=x, *;q=0.5, fr", "fr"), ({}, {COOKIE: "es"}, "de", "es"), ({"lang": "ja"}, {COOKIE: "es"}, "de", "ja"),
        ({"lang": "../x"}, {COOKIE: "xx"}, "fr", "fr"),
    ],
)  # fmt: skip
def test_the_address_goes_before_a_choice_and_that_before_the_browser(query, cookies, header, spoken):
    assert of_request(query, cookies, {"accept-language": header}) == spoken


def test_numbers_and_counts_are_written_as_the_language_writes_them():
    said = {}
    for code in LANGUAGES:
        with speaking(code):
            said[code] = (whole(12_345), point("3.2 GB"), trn("{n} step", "{n} steps", 1), trn("{n} step", "{n} steps", 12_345))
    assert said["en"] == ("12,345", "3.2 GB", "1 step", "12,345 steps")
    assert said["de"][:2] == ("12.345", "3,2 GB") and "12.345" in said["de"][3]
    assert said["fr"][:2] == ("12\u202f345", "3,2 GB")
    assert said["ja"][0] == "12,345"


# -- what the catalogues hold


@pytest.fixture(scope="module")
def taken_up():
    return extract.messages()


@pytest.fixture(scope="module", params=[code for code in LANGUAGES if code != SOURCE])
def catalog(request):
    with (FOLDER / f"{request.param}.po").open("rb") as file:
        return read_po(file, locale=request.param)


def _strings(message) -> list[str]:
    return list(message.string) if isinstance(message.string, (tuple, list)) else [message.string]


def _ids(message) -> list[str]:
    return list(message.id) if isinstance(message.id, (tuple, list)) else [message.id]


@pytest.mark.slow
def test_every_language_knows_what_the_code_says(catalog, taken_up):
    """`python -m ui.language.extract` brings them in line."""
    known = {(m.context or "", _ids(m)[0]) for m in catalog if m.id}
    assert known == {(m.context, m.text) for m in taken_up}
    assert set(LIST.read_text(encoding="utf-8").splitlines()) == {m.text.replace("\n", "\\n") for m in taken_up if m.engine}


def test_no_text_of_the_page_lacks_a_translation(catalog):
    missing = [m.id for m in catalog if m.id and extract.ENGINE not in m.auto_comments and not all(_strings(m))]
    assert missing == []
    assert not any(m.fuzzy for m in catalog if m.id)


def test_hardly_a_sentence_of_the_engine_lacks_one(catalog):
    """What a person never reads, such as code and prompts, has none."""
    engine = [m for m in catalog if m.id and extract.ENGINE in m.auto_comments]
    assert sum(not all(_strings(m)) for m in engine) < 0.06 * len(engine)


@pytest.mark.slow
def test_what_the_scripts_say_is_there_for_them():
    assert {text for message in extract.scripted() for text in [message.text]} <= set(of_scripts("de"))


def test_a_translation_fills_in_what_its_message_does(catalog):
    wrong = []
    for m in catalog:
        if not m.id or not all(_strings(m)):
            continue
        ours = {name for text in _ids(m) for name in NAME.findall(text)}
        for text in _strings(m):
            theirs = set(NAME.findall(text))
            counts = {"n"} if isinstance(m.id, (tuple, list)) else set()
            if theirs - ours or (extract.ENGINE not in m.auto_comments and ours - theirs - counts):
                wrong.append((m.id, text))
    assert wrong == []


def test_a_translation_brings_no_markup_of_its_own(catalog):
    wrong = []
    for m in catalog:
        if m.id and all(_strings(m)):
            ours = sorted(re.findall(r"</?\w+", _ids(m)[-1]))
            wrong += [(m.id, text) for text in _strings(m) if sorted(re.findall(r"</?\w+", text)) != ours or text.count('"') > _ids(m)[-1].count('"') or text.count("`") != _ids(m)[-1].count("`")]
    assert wrong == []


# -- the code


def test_nothing_is_translated_at_import_nor_kept_for_the_next_visitor():
    wrong = []
    for path in UI.rglob("*.py"):
        if path.parent.name == "language":
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        calls = {node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("tr", "trn", "trc", "heard", "whole", "point")}
        later = set()
        for node in ast.walk(tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
                cached = isinstance(node, ast.FunctionDef) and any(isinstance(d, (ast.Name, ast.Call, ast.Attribute)) and "cache" in ast.dump(d) and "language" not in {a.arg for a in node.args.args} for d in node.decorator_list)
                body = node.body if isinstance(node.body, list) else [node.body]
                if not cached:
                    later |= {inner for statement in body for inner in ast.walk(statement) if isinstance(inner, ast.Call)}
        wrong += [f"{path.relative_to(UI)}:{node.lineno}" for node in calls - later]
    assert wrong == []


# -- what the engine says


def test_what_the_engine_says_is_found_again_by_its_pattern():
    message = pattern("'{title}' is {status}; resume it first, or choose another run to wait for")
    assert message.expression.fullmatch("'My cat' is stopped; resume it first, or choose another run to wait for").groupdict() == {"title": "My cat", "status": "stopped"}
    assert heard("No such sentence was ever said.", "de") == "No such sentence was ever said."
    assert heard("", "de") == "" and heard("3 pictures", "en") == "3 pictures"
    assert heard("3 pictures", "de") == "3 Bilder" and heard("1 picture", "de") == "1 Bild"


def test_names_that_somebody_gave_stay_as_they_are_and_what_stands_between_sentences_too():
    assert "‘Stop’" in heard("'Stop' is running; stop it first", "ja").replace("「Stop」", "‘Stop’")
    assert heard("could not do . . .", "de") == "could not do . . ." and heard(", pictures", "de") == ", pictures"
    both = heard("Line one.\n\nIt begins when this computer is awake.", "ja")
    assert both.startswith("Line one.\n\n")
    assert heard("learning_rate: Input should be greater than 0", "de").startswith("learning_rate: ") and "Input should" not in heard("learning_rate: Input should be greater than 0", "de")


@pytest.mark.parametrize(
    ("said", "german", "chinese"),
    [
        ("3 clips are left out: SDXL learns still pictures only", "3 Clips bleiben weg: SDXL lernt nur Standbilder", "3 个片段已排除：SDXL 只学习静态图片"),
        ("it begins tomorrow (Mon 30 Nov) 02:15", "er beginnt morgen (Mo., 30. Nov.) 02:15", "明天（11月30日周一）02:15 开始"),
        ("About 3 days on the Apple GPU, as measured in an earlier run", "Etwa 3 Tage auf der Apple-GPU, gemessen in einem früheren Lauf", "在 Apple GPU 上约 3 天，按先前训练的实测"),
        ("Nearly the same as “me and you.png”, “b.png” and 3 more: what they show counts several times.", "Fast gleich wie „me and you.png“, „b.png“ und 3 weitere: was sie zeigen, zählt mehrfach.", "与 “me and you.png”，“b.png” 及另外 3 个 几乎相同：其中的内容会重复计数。"),
        ("the ends of “salt and pepper”", "the ends of “salt and pepper”", "the ends of “salt and pepper”"), ("sugar free", "sugar free", "sugar free"), ("salt and pepper", "salt and pepper", "salt and pepper"),
    ],
)  # fmt: skip
def test_lists_days_and_short_texts_within_a_sentence_are_heard_and_names_kept(said, german, chinese, monkeypatch):
    class Today(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime(2026, 11, 29)

    monkeypatch.setattr("ui.language.heard.datetime", Today)
    assert heard(said, "de") == german and heard(said, "zh") == chinese


def test_what_a_run_lacks_is_called_whole_and_by_its_own_name():
    lacking = [needs.Need("dataset", "data.datasets", "cats, dogs and the light", False, "copy it to that place"), needs.Need("plugin of the kind cloud", "", "moon", False, "")]
    assert needs.sentence(lacking).startswith("it needs dataset 'cats, dogs and the light', plugin of the kind cloud 'moon', which are not on")
    assert "Datensatz 'cats, dogs and the light', Plugin der Art cloud 'moon'" in heard(needs.sentence(lacking), "de")
    assert "le dataset 'cats, dogs and the light', qui" in heard(needs.sentence(lacking[:1]), "fr")


def test_what_nobody_is_shown_is_not_taken_up(taken_up):
    engine = {m.text for m in taken_up if m.engine}
    assert not [text for text in engine if text.startswith(("Describe this picture", "Base model: ", "Reroute (")) or text in ("Permission denied", "No matching distribution", "long hair")]
    assert {"the card's front matter is not a mapping of keys to values", "{gb} free", "an NVIDIA card", "dataset {quoted}"} <= engine


# -- the page as it is laid out


@pytest.mark.slow
def test_the_page_is_laid_out_alike_in_every_language(tmp_path):
    home = Home(tmp_path).made()
    page = shell.build(home)
    layouts = Layouts(lambda: shell.build(home), page)
    for code in LANGUAGES:
        differing = layouts.differing(code)
        assert bool(differing) == (code != SOURCE)
    german = layouts.differing("de")
    config = put(orjson.loads(orjson.dumps(page.get_config_file(), default=str)), german)
    shown = {c["props"].get("label") for c in config["components"] if c["type"] == "tabitem"}
    assert {"Training", "Ergebnisse"} & shown or shown == shown - {"Train", "Results"}
    assert layouts.differing("de") is german


def test_the_page_and_its_configuration_are_served_in_the_language_that_is_asked_for(tmp_path):
    home = Home(tmp_path).made()
    page = shell.build(home)
    app = gr.mount_gradio_app(FastAPI(), page, path="/")
    client = TestClient(Spoken(app, Layouts(lambda: shell.build(home), page)))
    english, german = client.get("/").text, client.get("/", headers={"accept-language": "de-AT"}).text
    assert 'lang="en"' in english and 'lang="de"' in german and "Bilder" in german
    assert "de" not in client.get("/config").headers.get("content-language", "")
    labels = lambda answer: {c["props"].get("label") for c in answer.json()["components"]}
    assert labels(client.get("/config")) != labels(client.get("/config", cookies={COOKIE: "ja"}))
    assert labels(client.get("/config?lang=ja")) == labels(client.get("/config", cookies={COOKIE: "ja"}))
