"""The page speaks the language of whoever looks: no sentence is missing, none is kept for the next visitor, and the browser's wish is heard."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from ui.language import MARKS_OF_TEXT

UI = Path(__file__).resolve().parents[2] / "ui"
# what is for programs, or for the window that Easel was started in: English, as the command line
FOR_OTHERS = ("api/", "language/", "server/serving.py", "server/closing.py", "server/instance.py", "server/window.py", "server/guard.py", "server/space.py", "server/client.py", "server/frontpage.py", "server/logins.py", "server/folders.py", "server/spoken.py", "theme.py", "icons.py")
FILES = [path for path in sorted(UI.rglob("*.py")) if not path.relative_to(UI).as_posix().startswith(FOR_OTHERS)]
NAMES = ("Easel", "LoRA", "Hugging Face", "GitHub", "Comfy", "Civitai")
QUIET_ARGUMENTS = ("elem_id", "elem_classes", "key", "variant", "js", "js_on_load", "html_template", "css_template", "api_visibility", "show_progress", "storage_key", "secret", "type", "file_types")
SAID_IN = re.compile(r'\b(?:title|aria-label|placeholder|alt|data-say|data-confirm|data-yes)="([^"]*)"')
ALLOWED: dict[str, tuple[str, ...]] = {  # file -> strings that look like words, and are none for a person
    "tabs/captions/captioner.py": ("\0 captions",),  # the name of a run, and so of its folder
    "tabs/captions/tab.py": (  # scripts; what could stand in a caption, which is English
        "easel.grid(element, (data) => trigger('act', data), watch, server)", "watch('value', () => easel.patch(props.value))", "a photo of ", ", soft light",
    ),
    "tabs/publish/page.py": ("environment first", "Not signed in: "),  # where a token is, on record; what the engine's sentence begins with
    "tabs/publish/tab.py": ("---\nlicense: other\n---\n\n\0\n", "\0.zip, \0"),  # a file; its name and size
    "tabs/captions/undone.py": ("read again", "its prompt"),  # sources of captions, as the dataset has them on record
}  # fmt: skip


def unmarked(path: Path) -> list[str]:
    """'line: text' of what a person would read in this file and tr() does not say."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    silent: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and node.body and isinstance(node.body[0], ast.Expr):
            silent |= _inside(node.body[0])
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in (*MARKS_OF_TEXT, "print"):
            silent |= {found for argument in node.args for found in _inside(argument)}
        if isinstance(node, ast.Compare):
            silent |= _inside(node)
        if isinstance(node, ast.Subscript):
            silent |= _inside(node.slice)
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
    inside = [value for value in SAID_IN.findall(text) if re.search(r"[A-Za-z]{2}", value)]
    bare = re.sub(r"<[^<>]*>|<[^<>]*$|^[^<>]*(?<![a-z ])>", "\n", text) if "<" in text or ">" in text else text
    bare = re.sub(r"&\w+;|%[a-zA-Z]|\b(?:ez|is|data|aria)-[\w-]*(?:=\"[^\"]*\")?", " ", bare)
    for name in NAMES:
        bare = bare.replace(name, "")
    html = bare != text
    wordy = re.search(r"[a-z]{2,}[,;:]? [a-z\"‘(\0]", bare) or re.match(r"\s*[A-Z][a-z]+(?: |[.…!?:]|\s*$)", bare) or ((filled or html) and re.search(r"(?<![\w./#-])[a-z]{3,}(?![\w/=#:-])", bare))
    odd = re.search(r"[{};=]|->|=>|\.\w+\(|^[\w-]+\[|\\[dwsb]", bare) and not html
    return " ".join((bare if wordy and not odd else "").split()) or " | ".join(inside)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(UI).as_posix())
def test_no_text_of_the_page_is_outside_the_languages(path):
    assert unmarked(path) == []
