"""Takes up what the page says, and brings the languages' files in line with it.

    python -m ui.language.extract           writes ui/language/*.po and engine.txt anew: what is new stands there without a translation, what is gone is taken out
    python -m ui.language.extract --left    says how much each language still lacks

Three sources: tr(), trn(), trc() and N_() in ui/, its scripts' tr(); what the page shows of the schema, the presets, the plugins and the table of
errors; and the sentences of the engine, as patterns of its f-strings (heard.py).  The first two must be whole in every language, which a test holds.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract
from babel.messages.pofile import read_po, write_po

from training import errors, plugins, registry
from training.config import TrainConfig
from training.plan import presets

from . import FOLDER, LANGUAGES, SOURCE
from .heard import LIST, NAME

REPO = FOLDER.parents[1]
ENGINE = "engine"  # the comment of a message that is no word of the page itself
MARKS = {"tr": 1, "N_": 1, "trn": 2, "NN_": 2, "trc": 2}
FILES = ("config.py", "jobfile.py", "outside.py", "files.py", "home.py", "names.py", "plugins.py", "registry.py", "family.py", "clock.py", "zipping.py")
# of pydantic, as jobfile.problems() has it
PYDANTIC = (
    "input should be a valid number", "input should be a finite number", "input should be a valid integer", "input should be a valid string", "input should be a valid boolean", "input should be a valid list", "input should be a valid dictionary",
    "input should be greater than {gt}", "input should be greater than or equal to {ge}", "input should be less than {lt}", "input should be less than or equal to {le}", "input should be {expected}",
    "string should have at least {min_length} characters", "string should have at least {min_length} character", "string should have at most {max_length} characters", "string should match pattern {pattern}",
    "tuple should have at least {min_length} item after validation, not {actual_length}", "tuple should have at least {min_length} items after validation, not {actual_length}",
    "tuple should have at most {max_length} items after validation, not {actual_length}", "list should have at least {min_length} item after validation, not {actual_length}",
    "list should have at most {max_length} items after validation, not {actual_length}", "dictionary should have at most {max_length} items after validation, not {actual_length}",
)  # fmt: skip
ROOMS = ("data", "plan", "runs", "engine", "hub", "jobs", "checkup", "cloud", "away", "tools", "formats", "foreign", "families", "objectives", "adapters", "optimizers", "trackers", "models")
# where texts of the engine stand that the page never shows, by the names of tables and functions: what is published or written into files, prompts to models, words to look for; "": a whole file, but for what it raises
UNSHOWN: dict[str, tuple[str, ...]] = {
    "captioning/filename.py": ("_CODES",), "captioning/vision.py": ("PROMPTS", "CLIP", "MODELS", "_kind"), "captioning/server.py": ("Options",), "captioning/template.py": ("Options",),
    "training/hub/card.py": ("",), "training/hub/datacard.py": ("",), "training/formats/modelspec.py": ("modelspec_metadata",), "training/formats/pictureinfo.py": ("parameters",),
    "training/data/comfy.py": ("PASSED", "PAIRED", "WORDS"), "training/data/contradictions.py": ("NEVER", "NEVER_OF_ONE", "GREY"), "training/foreign/kohya.py": ("known",),
    "training/plan/unseen.py": ("OF_THINGS", "OF_STYLES", "OF_SHAPES", "STYLES_OF_SHAPES"), "training/cloud/docker.py": ("UP", "ABSENT"), "training/hub/client.py": ("_BUSY",),
    "training/runs/death.py": ("ATTEMPT_LINE", "ENDED_LINE", "_NO_MEMORY", "_CARD_LOST"), "training/trackers/tensorboard.py": ("where",), "training/plan/hardware.py": ("main",),
}  # fmt: skip
# where those stand that it shows and that have too few words to be told from code
SHORT = {
    "training/plan/devices.py": ("TITLES",), "training/plan/estimate.py": ("_spare", "duration", "_sentences"), "training/runs/queueing.py": ("why_held",), "training/clock.py": ("told",),
    "training/runs/needs.py": ("CALLED",), "training/engine/launching.py": ("name",),
}  # fmt: skip
LOOKING = ("startswith", "endswith", "removeprefix", "removesuffix", "search", "match", "fullmatch", "compile", "split", "partition", "rpartition", "find", "count")  # what is called with words to look for
WORDY = re.compile(r"[a-z]{2,}[,;:]? (?:[a-z]{2,}|\{\w+\}|[‘'\"(])")
CODE = re.compile(r"\\[sdwb(]|\(\?|^\s*(?:[<\[]|\{(?!\w+\}))|^--|\bSELECT\b|__|;\s*$|%s|\w\(\w+[(=,]| = |^from |^import | && ")


@dataclass(frozen=True)
class Message:
    """One text to translate.  many: what it is of several; context: where it means something else; engine: said by the engine, not by the page."""

    text: str
    where: str
    many: str = ""
    context: str = ""
    engine: bool = False


def messages() -> list[Message]:
    """Everything that is said, each once, in the order of the files."""
    found: dict[tuple[str, str], Message] = {}
    for message in (*marked(), *scripted(), *listed(), *engine()):
        known = found.get((message.context, message.text))
        if known is None:
            found[message.context, message.text] = message
            continue
        where = known.where if message.where in known.where.split() else f"{known.where} {message.where}"
        found[message.context, message.text] = replace(known, where=where, many=known.many or message.many, engine=known.engine and message.engine)
    return list(found.values())


def marked() -> Iterator[Message]:
    """What is marked in the page's code."""
    for path in sorted((REPO / "ui").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in MARKS):
                continue
            texts = [a.value for a in node.args[: MARKS[node.func.id]] if isinstance(a, ast.Constant) and isinstance(a.value, str) and a.value]
            where = path.relative_to(REPO).as_posix()
            if node.func.id in ("trn", "NN_") and len(texts) == 2:
                yield Message(texts[0], where, many=texts[1])
            elif node.func.id == "trc" and len(texts) == 2:
                yield Message(texts[1], where, context=texts[0])
            elif node.func.id in ("tr", "N_") and texts:
                yield Message(texts[0], where)


def scripted() -> Iterator[Message]:
    """What is marked in its scripts."""
    for path in sorted((REPO / "ui" / "assets").glob("*.js")):
        with path.open("rb") as file:
            for _, text, _, _ in extract("javascript", file, keywords={"tr": None, "trn": (1, 2)}):
                one, many = text if isinstance(text, tuple) else (text, "")
                yield Message(one, path.relative_to(REPO).as_posix(), many=many)


def listed() -> Iterator[Message]:
    """What the page shows of tables that are not its own: settings, presets, plugins, errors."""
    from .. import forms

    shown = [(TrainConfig, "training/config.py")]
    for kind in ("families", "adapters", "objectives", "optimizers", "jobs", "captioning", "trackers", "cloud", "foreign", "formats"):
        for id, plugin in registry.find(kind, REPO / "no-plugins-of-ones-own").items():
            module, where = plugin.module, f"{registry.PACKAGES[kind].replace('.', '/')}/{id}.py"
            yield from (Message(text, where) for name in ("TITLE", "BLURB") if (text := getattr(module, name, "")))
            if spec := getattr(module, "SPEC", None):
                yield from (Message(text, where) for text in (spec.title, *spec.titles.values(), spec.notes) if text)
            shown += [(model, where) for name in ("Config", "Options") if hasattr(model := getattr(module, name, None), "model_fields") and model is not TrainConfig]
    for model, where in shown:
        for group in forms.groups(model):
            yield from (Message(text, where) for text in (group.title, group.help) if text)
            yield from (Message(text, where) for field in group.fields for text in (field.label, field.help) if text)
            columns = [column for field in group.fields if field.kind == "rows" for column in field.item.model_fields.items()]
            yield from (Message(text, where) for name, info in columns for text in (forms.label(name), info.description or "") if text)
    for preset in presets.list_presets():
        yield from (Message(text, "presets") for text in (preset.title, preset.blurb, preset.for_whom) if text)
    for kind in errors.KINDS:
        yield from (Message(text, "training/errors.py") for text in (kind.title, kind.cause, kind.do))
    yield from (Message(text, "training/errors.py") for text in errors.ACTIONS.values())
    yield from (Message(text, "training/plugins.py") for text in (*plugins.KINDS.values(), plugins.TOOL, plugins.RIGHTS))


def engine() -> Iterator[Message]:
    """The sentences of the engine, as the patterns that its f-strings are."""
    yield from (Message(text, "training/jobfile.py", engine=True) for text in PYDANTIC)
    paths = [REPO / "training" / name for name in FILES]
    paths += [path for room in ROOMS for path in sorted((REPO / "training" / room).rglob("*.py"))] + sorted((REPO / "captioning").glob("*.py"))
    for path in paths:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        left_out = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node) if isinstance(part, ast.Constant)}
        left_out |= {id(node.body[0].value) for node in ast.walk(tree) if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and node.body and isinstance(node.body[0], ast.Expr)}
        left_out |= {id(word) for node in ast.walk(tree) if _is_word_list(node) for word in node.elts}
        where = path.relative_to(REPO).as_posix()
        left_out |= _unshown(tree, UNSHOWN.get(where, ()))
        short = {id(part) for node in _named(tree, SHORT.get(where, ())) for part in _texts(node)}
        for node in ast.walk(tree):
            if id(node) in left_out or not isinstance(node, (ast.Constant, ast.JoinedStr)):
                continue
            text = pattern_of(node, id(node) in short)
            told = id(node) in short or (WORDY.search(text) and ("÷" in text or not CODE.search(text)))
            if text and told and "\n" not in text.strip() and len(text) < 600:
                yield Message(text, where, engine=True)


def _named(tree: ast.AST, names: tuple[str, ...]) -> Iterator[ast.AST]:
    """The tables, functions and classes with these names."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name in names:
            yield node
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(target.id in names if isinstance(target, ast.Name) else isinstance(target, ast.Attribute) and target.attr in names for target in targets):
                yield node


def _texts(node: ast.AST) -> Iterator[ast.AST]:
    """What may be a text in a table or function: its values, not its keys."""
    if isinstance(node, ast.Dict):
        for value in node.values:
            yield from _texts(value)
    elif isinstance(node, (ast.Constant, ast.JoinedStr)):
        yield node
    else:
        for part in ast.iter_child_nodes(node):
            yield from _texts(part)


def _unshown(tree: ast.AST, names: tuple[str, ...]) -> set[int]:
    """What a person never reads: what these names hold, what something is compared with or looked for, and what only a mistake in the code would say."""
    inside = lambda nodes: {id(part) for node in nodes for part in ast.walk(node)}
    raised = inside(node for node in ast.walk(tree) if isinstance(node, ast.Raise))
    found = {id(part) for part in ast.walk(tree)} - raised if "" in names else set()
    found |= inside(_named(tree, names)) - raised
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare):
            found |= {id(part) for part in (node.left, *node.comparators) if isinstance(part, ast.Constant)}
        elif isinstance(node, ast.Subscript):
            found |= inside([node.slice])
        elif isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id if isinstance(node.func, ast.Name) else ""
            found |= inside(node.args) if called in (*LOOKING, "AssertionError") else set()
    return found


def _is_word_list(node: ast.AST) -> bool:
    """A row of tags and the like, which captions are searched for."""
    if not (isinstance(node, (ast.Tuple, ast.List, ast.Set)) and len(node.elts) > 3):
        return False
    words = [word.value for word in node.elts if isinstance(word, ast.Constant) and isinstance(word.value, str)]
    return len(words) == len(node.elts) and all(len(word) < 40 and not word.endswith(".") for word in words)


def pattern_of(node: ast.Constant | ast.JoinedStr, short: bool = False) -> str:
    """A string of the code, what an f-string fills in as {names}, and as {word} where it is one English word or another; "" for what is no text, or says nothing by itself.

    short: few words are enough, and a constant may be a text that is filled in later.
    """
    if isinstance(node, ast.Constant):
        if short:
            return re.sub(r"![rs]\}", "}", node.value) if isinstance(node.value, str) and re.search(r"[A-Za-z]{3,}", NAME.sub("", node.value)) else ""
        return node.value if isinstance(node.value, str) and "{" not in node.value else ""
    pieces, used = [], {}
    for part in node.values:
        if isinstance(part, ast.Constant):
            pieces.append(part.value.replace("{", "(").replace("}", ")"))
            continue
        names = [n.id if isinstance(n, ast.Name) else n.attr for n in ast.walk(part.value) if isinstance(n, (ast.Name, ast.Attribute))]
        name = re.sub(r"\W", "", names[0].lower().strip("_")) if names else "value"
        name = name if name.isidentifier() else "value"
        if isinstance(part.value, ast.IfExp) and isinstance(part.value.body, ast.Constant):
            name = "word"  # "is" or "are": what another language may not need
        used[name] = used.get(name, 0) + 1
        pieces.append(f"{{{name}{used[name] if used[name] > 1 else ''}}}")
    text = "".join(pieces)
    return text if len(re.findall(r"[A-Za-z]{2,}", NAME.sub("", text))) >= 3 or (short and re.search(r"[A-Za-z]{4,}", NAME.sub("", text))) else ""


def template() -> Catalog:
    """All messages as a catalogue without translations."""
    catalog = Catalog(project="Easel", header_comment="# What Easel says.", fuzzy=False)
    for message in messages():
        catalog.add(
            (message.text, message.many) if message.many else message.text, locations=[(place, 0) for place in message.where.split()],
            auto_comments=[ENGINE] if message.engine else [], context=message.context or None,
        )  # fmt: skip
    return catalog


def update() -> None:
    """Writes all files anew."""
    fresh = template()
    said = sorted({m.text.replace("\n", "\\n") for m in messages() if m.engine})
    LIST.write_text("".join(f"{line}\n" for line in said), encoding="utf-8")
    for language in LANGUAGES:
        if language == SOURCE:
            continue
        path = FOLDER / f"{language}.po"
        catalog = Catalog(locale=language, project="Easel", header_comment=f"# What Easel says, in {LANGUAGES[language]}.", fuzzy=False)
        if path.exists():
            with path.open("rb") as file:
                catalog = read_po(file, locale=language)
        catalog.update(fresh, no_fuzzy_matching=True)
        catalog.obsolete.clear()
        write(catalog, path)


def write(catalog: Catalog, path: Path) -> None:
    """The catalogue as a file that differs only where its messages do."""
    with path.open("wb") as file:
        write_po(file, catalog, width=0, omit_header=False, include_lineno=False, sort_by_file=True, ignore_obsolete=True)
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(line for line in lines if not re.match(r'"(POT-Creation-Date|PO-Revision-Date|Last-Translator|Language-Team|Report-Msgid-Bugs-To|Generated-By)', line)), encoding="utf-8")


def left(language: str) -> tuple[int, int, int, int]:
    """(messages of the page, those without a translation, sentences of the engine, those without one)."""
    with (FOLDER / f"{language}.po").open("rb") as file:
        rows = [m for m in read_po(file, locale=language) if m.id]
    empty = lambda m: not all(m.string) if isinstance(m.string, (tuple, list)) else not m.string
    page, others = [m for m in rows if ENGINE not in m.auto_comments], [m for m in rows if ENGINE in m.auto_comments]
    return len(page), sum(map(empty, page)), len(others), sum(map(empty, others))


def main(flags: list[str]) -> int:
    """0."""
    if "--left" not in flags:
        update()
    for language in LANGUAGES:
        if language != SOURCE:
            print("{}: {} texts of the page, {} without a translation; {} sentences of the engine, {} without one".format(language, *left(language)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
