"""YAML and JSON jobs: read strictly, written plainly."""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from .outside import Refused, parse_json, read_text

if TYPE_CHECKING:
    from .config import JobConfig

MAX_BYTES = 200_000
# substituted values must never reach a field that is published or saved with the result
PUBLISHED = {"name", "trigger", "prompts", "negative", "preset", "card", "message", "repo_id"}


Model = TypeVar("Model", bound=BaseModel)


class _Loader(yaml.SafeLoader):
    """Safe YAML without aliases and duplicate keys, in which 1e-4 is a number."""

    def compose_node(self, parent, index):
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark
            raise ValueError(f"line {mark.line + 1}: aliases (*name) are not allowed in a job file; write the value out")
        return super().compose_node(parent, index)

    def construct_mapping(self, node, deep=False):
        seen: set = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise ValueError(f"line {key_node.start_mark.line + 1}: the key {key!r} is not a word; put it in quotes")
            if key in seen:
                raise ValueError(f"line {key_node.start_mark.line + 1}: the key {key!r} stands twice; keep one")
            seen.add(key)
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """Quotes every text that _Loader would not read back as text."""

    def ignore_aliases(self, data):
        return True


# dates stay text; 1e-4 is a number
_RULES = {first: [r for r in rules if r[0] != "tag:yaml.org,2002:timestamp"] for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()}
for _side in (_Loader, _Dumper):
    _side.yaml_implicit_resolvers = {first: list(rules) for first, rules in _RULES.items()}
    _side.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(r"^[-+]?(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9]+)[eE][-+]?[0-9]+$"), list("-+0123456789.")
    )


def load_mapping(path: Path, *, linked: bool = False) -> dict[str, Any]:
    """The mapping in a .yaml, .yml or .json file.  Raises ValueError with the file, the line and what to do; OSError.

    linked: the file may be a link, for a path that a person named.
    """
    return mapping_of(read_text(path, MAX_BYTES, linked=linked), path.name)


def mapping_of(text: str, name: str) -> dict[str, Any]:
    """The mapping in the text of such a file.  Raises ValueError, whose message begins with `name`."""
    data = parse_json(text, name, object_pairs_hook=_no_twins) if name.lower().endswith(".json") else _yaml(text, name)
    if not isinstance(data, dict):
        held = {type(None): "nothing", list: "a list", str: "a text"}.get(type(data), f"only {data!r}")
        raise ValueError(f"{name} holds {held}, but a job is a mapping of keys to values, such as 'kind: train'")
    return data


def _yaml(text: str, name: str) -> Any:
    try:
        return yaml.load(text, _Loader)
    except RecursionError:
        raise Refused(f"{name} is nested too deeply") from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # the last of a number that no float holds
        raise Refused(f"{name}: {' '.join(str(error).split())}") from None


def _no_twins(pairs):
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            raise ValueError(f"the key {key!r} stands twice; keep one")
        seen.add(key)
    return dict(pairs)


def substitute(data: Any, environ=os.environ, key: str = "", tags: dict[str, str] | None = None) -> Any:
    """`data` with ${VAR} from the environment and [name] from `tags` filled in.

    Raises ValueError for an unset variable, and for one in a field that is published or saved with the result.
    """
    if isinstance(data, dict):
        return {k: substitute(v, environ, str(k), tags) for k, v in data.items()}
    if isinstance(data, list):
        return [substitute(v, environ, key, tags) for v in data]
    if not isinstance(data, str):
        return data

    def variable(match):
        name = match.group(1)
        if key in PUBLISHED:
            raise ValueError(f"{key} holds ${{{name}}}, but {key} is saved with the result and must not come from the environment")
        if name not in environ:
            raise ValueError(f"{key} asks for the environment variable {name}, which is not set")
        return environ[name]

    text = re.sub(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}", variable, data)
    for tag, value in (tags or {}).items():
        text = text.replace(f"[{tag}]", value)
    return text


def parse(model: type[Model], data: dict[str, Any], what: str = "the job") -> Model:
    """A config from a mapping.  Raises ValueError, one line a problem; a misspelt key names its nearest neighbour."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        lines = [f"{path}: {text}" if path else text for path, text in problems(model, error)]
        raise ValueError(f"{what} is not valid:\n" + "\n".join(f"  {line}" for line in lines)) from None


def problems(model: type[BaseModel], error: ValidationError) -> list[tuple[str, str]]:
    """[(dotted field path, sentence)] of a validation error, for a form or a terminal."""
    found = []
    for e in error.errors():
        path = ".".join(str(p) for p in e["loc"])
        if e["type"] == "extra_forbidden":
            near = difflib.get_close_matches(str(e["loc"][-1]), _keys_at(model, e["loc"][:-1]), 1, 0.5)
            found.append((path, f"is not a setting; did you mean {near[0]!r}?" if near else "is not a setting"))
        elif e["type"] == "missing":
            found.append((path, "is missing"))
        elif e["type"] == "value_error":
            found.append((path, str(e["ctx"]["error"])))
        else:
            text = e["msg"][0].lower() + e["msg"][1:]
            near = []
            if e["type"] == "literal_error" and isinstance(e["input"], str):
                near = difflib.get_close_matches(e["input"], re.findall(r"'([^']+)'", e["ctx"]["expected"]), 1, 0.5)
            found.append((path, f"{text}, but it is {e['input']!r}; did you mean {near[0]!r}?" if near else f"{text}, but it is {e['input']!r}"))
    return found


def _keys_at(model: type[BaseModel], loc: tuple) -> list[str]:
    for part in loc:
        if isinstance(part, int):
            continue
        field = model.model_fields.get(part)
        if field is None:
            return []
        inner = field.annotation
        for arg in (inner, *getattr(inner, "__args__", ())):
            if isinstance(arg, type) and issubclass(arg, BaseModel):
                model = arg
    return list(model.model_fields)


def dump_yaml(config: BaseModel) -> str:
    """The whole config as YAML, keys in their declared order, lists and text plain."""
    return yaml.dump(config.model_dump(mode="json"), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def load_job(path: Path, plugins: Path | None = None) -> JobConfig:
    """A complete, validated job of any kind from a file; ${ENV} and [name] filled in.  Raises ValueError, OSError.

    plugins: <home>/plugins, where job kinds may come from; None means that of the usual home.
    """
    from . import registry

    raw = load_mapping(path, linked=True)
    kind = raw.get("kind", "train")
    job = registry.get("jobs", str(kind), plugins)
    tags = {"name": raw["name"]} if isinstance(raw.get("name"), str) else {}
    try:
        data = anchored(substitute({**raw, "kind": kind}, tags=tags), path.resolve().parent)
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from None
    return parse(job.Config, data, path.name)


def anchored(data: Any, folder: Path, key: str = "") -> Any:
    """`data` with the relative paths of datasets and base models made absolute: they start at the job file's own folder.

    The worker runs somewhere else.  A name, or a Hub id such as owner/name, is left as it is.
    """
    if isinstance(data, dict):
        return {k: anchored(v, folder, f"{key}.{k}") for k, v in data.items()}
    if isinstance(data, list):
        return [anchored(v, folder, key) for v in data]
    is_place = isinstance(data, str) and key.endswith((".datasets.name", ".dataset", ".model.source", ".model.training_adapter", ".model.context_adapter", ".sample.speed_adapter"))
    if is_place and ("/" in data or "\\" in data or data in (".", "..")) and (folder / Path(data).expanduser()).exists():
        return str((folder / Path(data).expanduser()).resolve())
    return data
