"""Job files of other trainers, as settings of ours: what is taken over, what has no equal here and why, what nobody knows.

Each program is one file in training/foreign: how it knows its own files, by their keys, and a table from its keys to our settings.
No key is dropped: every one ends in exactly one of Imported's lists.  Secrets are neither taken over nor shown.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from .. import jobfile, outside, registry
from ..config import DatasetUse, TrainConfig
from ..hub.secrets import MASK, mask
from . import presets

ENDINGS = (".yaml", ".yml", ".json", ".toml")
NOTHING = (None, "", False, 0, (), "none", "None", "NONE", "no", "NEVER", "False", "false")
SECRET = re.compile(r"(?:^|[._])(?:(?:\w+_)?token|api_?key|\w*secret\w*|password|passwd|(?:\w+_)?access_key(?:_id)?|credentials)$", re.IGNORECASE)
NO_SECRET = re.compile(r"(?:^|_)(?:keep|trigger|shuffle|special|prepend|instance)_token$", re.IGNORECASE)
ANY_BASE = {"name": "import", "model": {"family": "any", "source": "any"}, "data": {"datasets": [{"name": "any"}]}}
PLAIN = re.compile(r"[^a-z0-9]")
SHOWN = 200  # characters of a value in a report


class Differs(ValueError):
    """A value that has no equal here.  The message says why."""


@dataclass(frozen=True)
class Taken:
    """One key that became a setting.  presumed: it is not in the file, and the program's own default was taken."""

    key: str
    value: str
    path: str
    ours: Any
    presumed: bool = False


@dataclass(frozen=True)
class Left:
    """One key that became none, and why."""

    key: str
    value: str
    why: str


@dataclass(frozen=True)
class Pictures:
    """A folder of pictures that the file names.  prior: it must stay as it is (a regularisation folder).  below: the folders in it are meant too."""

    path: str
    repeats: int = 1
    weight: float = 1.0
    prior: bool = False
    below: bool = False
    trigger: str = ""
    resolutions: tuple[int, ...] = ()

    @property
    def said(self) -> str:
        """Where they are, and what is said of them alone."""
        more = [f"{' or '.join(map(str, self.resolutions))} px"] if self.resolutions else []
        more += [f"trigger word {self.trigger}"] if self.trigger else []
        more += ["kept as it is"] if self.prior else []
        return shown(self.path) + (f" × {self.repeats}" if self.repeats != 1 else "") + "".join(f", {text}" for text in more)


@dataclass(frozen=True)
class Imported:
    """What a file of another trainer comes to.

    settings: {dotted path: value}, beside those of a TrainConfig "epochs", which the form and the command line turn into steps.
    idle: keys that are off or empty there, so that nothing is missing here.  preset: the one for the base model, "" where Easel has none.
    """

    program: str
    settings: dict[str, Any]
    taken: tuple[Taken, ...] = ()
    without: tuple[Left, ...] = ()
    idle: tuple[Left, ...] = ()
    secrets: tuple[str, ...] = ()
    unknown: tuple[Left, ...] = ()
    datasets: tuple[Pictures, ...] = ()
    preset: str = ""


@dataclass(frozen=True)
class Why:
    """A key that has no equal here.  off: values with which it does nothing there either."""

    text: str
    off: tuple[Any, ...] = NOTHING


@dataclass(frozen=True)
class Same:
    """A key that makes no difference to what is learnt, or that Easel needs not be told, and why."""

    text: str


@dataclass(frozen=True)
class Base:
    """The base model as a file names it.  names: what the program calls its architecture, then that with its variant."""

    key: str
    source: str
    names: tuple[str, ...] = ()


Rule = str | Why | Same | tuple[str, Callable[[Any], Any]]


@dataclass
class Reading:
    """A file while it is read: keys are taken out of `left` until none remains."""

    program: str
    left: dict[str, Any]
    presumed: set[str] = field(default_factory=set)
    settings: dict[str, Any] = field(default_factory=dict)
    taken: list[Taken] = field(default_factory=list)
    without: list[Left] = field(default_factory=list)
    idle: list[Left] = field(default_factory=list)
    secrets: list[str] = field(default_factory=list)
    datasets: list[Pictures] = field(default_factory=list)
    base: Base | None = None

    def __post_init__(self):
        for key in [k for k in self.left if SECRET.search(k) and not NO_SECRET.search(k)]:
            value = self.left.pop(key)
            self.idle.append(Left(key, "", "empty there")) if value in NOTHING else self.secrets.append(key)

    def presume(self, defaults: Mapping[str, Any]) -> None:
        """Keys that the file leaves out, as the program fills them in."""
        for key, value in defaults.items():
            if key not in self.left:
                self.left[key] = value
                self.presumed.add(key)

    def get(self, key: str, default: Any = None) -> Any:
        """A value that stays where it is."""
        return self.left.get(key, default)

    def take(self, key: str, path: str, value: Any) -> None:
        """The key became this setting."""
        self.settings[path] = value
        self.taken.append(Taken(key, self._out(key), path, value, key in self.presumed))

    def leave(self, key: str, why: str) -> None:
        """The key has no equal; what was only presumed is not worth a line."""
        if key in self.presumed:
            self.left.pop(key)
        else:
            self.without.append(Left(key, self._out(key), why))

    def rest(self, key: str, why: str) -> None:
        """The key makes no difference."""
        if key in self.presumed:
            self.left.pop(key)
        else:
            self.idle.append(Left(key, self._out(key), why))

    def convert(self, key: str, path: str, how: Callable[[Any], Any]) -> None:
        """take() with what `how` makes of it, leave() where it says that nothing here is like it."""
        try:
            value = how(self.left[key])
        except Differs as why:
            self.leave(key, str(why))
        else:
            self.take(key, path, value)

    def of_one(self, key: str, name: str, how: Callable[[Any], Any]) -> dict[str, Any]:
        """{field: value} of one dataset, as `how` makes it of the key; {} where it does not hold, and then it is said why."""
        try:
            value = getattr(DatasetUse.model_validate({"name": "any", name: how(self.left[key])}), name)
        except ValidationError as error:
            self.leave(key, "; ".join(dict.fromkeys(text for _, text in jobfile.problems(DatasetUse, error))))
        except ValueError as why:
            self.leave(key, str(why))
        else:
            self.rest(key, "listed below")
            return {name: value}
        return {}

    def by(self, table: Mapping[str, Rule]) -> None:
        """What is left, by a table."""
        for key in list(self.left):
            rule = table.get(key)
            if rule is None:
                continue
            value = self.left[key]
            if isinstance(rule, Same):
                self.rest(key, rule.text)
            elif isinstance(rule, Why):
                off = _is_off(value, rule.off)
                (self.rest if off else self.leave)(key, "off or empty there" if off else rule.text)
            elif value is None or value == "":
                self.rest(key, "empty there")
            elif isinstance(rule, str):
                self.take(key, rule, value)
            else:
                self.convert(key, *rule)

    def _out(self, key: str) -> str:
        return shown(self.left.pop(key))

    def done(self, local: bool, plugins: Path | None) -> Imported:
        """Everything, with the base model found and each setting checked."""
        preset = self._find_base(local, plugins) if self.base else ""
        self._check_all()
        unknown = [Left(key, shown(value), f"Easel does not know this key of {self.program}") for key, value in self.left.items()]
        return Imported(
            self.program, self.settings, tuple(self.taken), tuple(self.without), tuple(self.idle), tuple(self.secrets), tuple(unknown), tuple(self.datasets), preset,
        )  # fmt: skip

    def _find_base(self, local: bool, plugins: Path | None) -> str:
        base: Any = self.base
        specs = [p.module.SPEC for p in registry.find("families", plugins).values() if p.ok]
        spec = _family(specs, base)
        told = shown(base.source) if base.source else "/".join(base.names)
        if spec is None:
            named = f"{base.names[0]} is no model family of Easel" if base.names else "the file does not say which kind of model this is"
            self.without.append(Left(base.key, told, f"{named}; choose a base model, there are: {', '.join(s.title for s in specs)}"))
            return ""
        source = base.source
        if source and not _is_hub_id(source):
            there = local and Path(source).expanduser().exists()
            if not there:
                why = "there is no such file or folder on this computer" if local else "it is a place on another computer"
                self.without.append(Left(base.key, told, f"{why}; {spec.default_source} is taken instead, which is the same kind of model"))
                source = ""
            elif Path(source).is_file() and not source.endswith(".safetensors"):
                self.without.append(Left(base.key, told, f"Easel reads folders and .safetensors files; {spec.default_source} is taken instead"))
                source = ""
            else:
                source = str(Path(source).expanduser().resolve())
        wanted = source or spec.default_source
        found = [p for p in presets.list_presets(spec.id, plugins) if p.ok and p.family == spec.id and p.source_model != "builtin"]
        same = [p for p in found if (p.source_model or spec.default_source) == wanted]
        chosen = (same or [p for p in found if (p.source_model or spec.default_source) == spec.default_source] or found or [None])[0]  # type: ignore[list-item]
        self.settings |= {"model.family": spec.id, "model.source": wanted}
        if not spec.trainable_text:
            self._drop(("adapter.text_encoder", "adapter.text_learning_rate"), f"the text encoder of {spec.title} does not learn here")
        if source or not base.source:
            self.taken.append(Taken(base.key, told, "model.source", wanted, not base.source))
        return chosen.id if chosen else ""

    def _check_all(self) -> None:
        """Takes out each setting that our config refuses, with the sentence that it says."""
        data: dict[str, Any] = {**ANY_BASE, "steps": 1_000_000}
        for path in sorted(self.settings, key=lambda p: p != "steps"):
            if path == "epochs":
                continue
            tried = _with(data, path, self.settings[path])
            try:
                TrainConfig.model_validate(tried)
                data = tried
            except ValidationError as error:
                said = "; ".join(dict.fromkeys(text for _, text in jobfile.problems(TrainConfig, error)))
                self._drop((path,), f"{path}: {said}")

    def _drop(self, paths: Iterable[str], why: str) -> None:
        """Settings that were taken, and are not any more."""
        for path in paths:
            value = self.settings.pop(path, None)
            for row in [t for t in self.taken if t.path == path]:
                self.taken.remove(row)
                if value is False:
                    self.idle.append(Left(row.key, row.value, "off there"))
                elif not row.presumed:
                    self.without.append(Left(row.key, row.value, why))


def _with(data: Mapping[str, Any], path: str, value: Any) -> dict[str, Any]:
    """The mapping with the value at a dotted path; the one that was given stays as it is."""
    name, _, rest = path.partition(".")
    return {**data, name: _with(data.get(name, {}), rest, value) if rest else value}


# -- reading


def read(path: Path, plugins: Path | None = None, local: bool = True) -> Imported:
    """What a file of another trainer comes to here.  Raises ValueError with what was looked for; OSError.

    local: whoever named the file sits at this computer, so that paths in it may be looked at.
    """
    data = load(path)
    found = registry.find("foreign", plugins)
    for plugin in [p for p in found.values() if p.ok]:
        try:
            if plugin.module.recognises(data):
                data = with_lists(data, path, getattr(plugin.module, "BESIDE", {})) if local else data
                return plugin.module.translate(data).done(local, plugins)
        except (TypeError, KeyError, AttributeError, IndexError, OverflowError) as error:
            raise ValueError(f"{path.name} looks like a job of {plugin.module.TITLE}, but something in it is not what that program writes: {shown(error)}") from None
    programs = ", ".join(p.module.TITLE for p in found.values() if p.ok)
    keys = ", ".join(shown(k) for k in list(data)[:6])
    raise ValueError(f"{path.name} is no job file that is known; its first keys are {keys or 'none'}. Known are those of {programs}")


def with_lists(data: Mapping[str, Any], path: Path, beside: Mapping[str, str]) -> dict[str, Any]:
    """The mapping with the lists that it names as files of their own, where those are on this computer.  beside: {key with a file's name: key of its list}.

    Such a name is seen from the program's own folder, in which the settings lie one deeper.
    """
    made = dict(data)
    for key, list_key in beside.items():
        name = data.get(key)
        if data.get(list_key) or not isinstance(name, str) or not name.strip():
            continue
        for place in (path.parent, path.parent.parent):
            try:
                found = outside.read_json(place / Path(name).expanduser(), jobfile.MAX_BYTES, linked=True)
            except (OSError, ValueError):
                continue  # its key says that it is not here
            if isinstance(found, list) and all(isinstance(one, dict) for one in found):
                made[list_key] = found
                break
    return made


def load(path: Path) -> dict[str, Any]:
    """The mapping in a YAML, JSON or TOML file that a person named.  Raises ValueError with the file's name; OSError."""
    ending = path.suffix.lower()
    if ending not in ENDINGS:
        raise ValueError(f"{path.name} ends in {ending or 'nothing'}; other trainers' settings are files that end in {', '.join(ENDINGS)}")
    if ending != ".toml":
        return jobfile.load_mapping(path, linked=True)
    text = outside.read_text(path, jobfile.MAX_BYTES, linked=True)
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError(f"{path.name} is nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from None


def flat(data: Mapping[str, Any], leave: Iterable[str] = ()) -> dict[str, Any]:
    """{"a": {"b": 1}} as {"a.b": 1}; what is called in `leave` stays a mapping, lists stay lists."""
    made: dict[str, Any] = {}
    for key, value in data.items():
        if isinstance(value, Mapping) and value and key not in leave:
            made |= {f"{key}.{inner}": v for inner, v in flat(value).items()}
        else:
            made[str(key)] = value
    return made


def shown(value: Any) -> str:
    """A value in a report: short, without anything that looks like a token."""
    text = mask(str(value))
    text = re.sub(r"\bsk-[A-Za-z0-9_-]{16,}", MASK, text)
    text = re.sub(r"(?i)((?:token|api_?key|password|secret)\w*[\"']?\s*[=: ]\s*)[^\s,}]+", rf"\1{MASK}", text)
    return text if len(text) <= SHOWN else text[:SHOWN] + "…"


def _is_off(value: Any, off: tuple[Any, ...]) -> bool:
    if isinstance(value, list | tuple | dict):
        return not value
    return any(value == o and isinstance(value, bool) == isinstance(o, bool) for o in off) or (off is NOTHING and value in NOTHING)


def _is_hub_id(text: str) -> bool:
    return bool(re.fullmatch(r"[\w][\w.-]*/[\w][\w.-]*", text)) and not text.lower().endswith((".safetensors", ".ckpt", ".gguf", ".sft", ".pt"))


def plain(text: str) -> str:
    """Lower case, letters and digits only: FLUX.1-dev is flux1dev."""
    return PLAIN.sub("", text.lower())


def _family(specs: Sequence, base: Base):
    """The family of a base model: by a known Hub id, by what the program calls it, by the beginning of its repository's name."""
    for spec in specs:
        if base.source and base.source in {spec.default_source, *spec.titles, *spec.sizes, *spec.alike, *spec.licences} and base.source != "builtin":
            return spec
    known = {name: spec for spec in specs for name in (*spec.elsewhere_called, plain(spec.id))}
    said = plain(base.names[0].split(":")[0]) if base.names else ""
    if said and said not in known:
        return None
    repository = plain(re.split(r"[\\/]", base.source.rstrip("\\/"))[-1]) or (plain(base.names[1]) if len(base.names) > 1 else "")
    longest = max((name for name in known if repository.startswith(name)), key=len, default="")
    if longest and repository[len(longest) : len(longest) + 1].isdigit():
        return None if not said or longest == said else known[said]  # another version of it
    if longest and (not said or known[longest] is known[said] or longest.startswith(said)):
        return known[longest]
    return known.get(said)


# -- values


def number(value: Any) -> float:
    """A number, also one that was written as text.  Raises Differs."""
    try:
        if isinstance(value, bool):
            raise TypeError
        return float(value)
    except (TypeError, ValueError):
        raise Differs(f"{shown(value)!r} is not a number") from None


def whole(value: Any) -> int:
    """A whole number.  Raises Differs."""
    made = number(value)
    if made != int(made):
        raise Differs(f"{shown(value)!r} is not a whole number")
    return int(made)


def switch(value: Any) -> bool:
    """On or off, however it is written.  Raises Differs."""
    text = str(value).strip().lower()
    if text not in ("true", "false", "1", "0", "yes", "no", "on", "off"):
        raise Differs(f"{shown(value)!r} is neither on nor off")
    return text in ("true", "1", "yes", "on")


def turned(value: Any) -> bool:
    """The opposite."""
    return not switch(value)


def sides(value: Any) -> list[int]:
    """Sides in px of squares: 1024, "1024,768", [512, 768].  A pair in one text is width and height: the square of equal area."""
    if isinstance(value, str) and len(pair := re.split(r"[x,]", value.replace(" ", ""))) == 2:
        width, height = (whole(v) for v in pair)
        return [width if width == height else round((width * height) ** 0.5 / 64) * 64]
    return sorted({whole(v) for v in (value if isinstance(value, list) else [value])})


def dtype(value: Any) -> str:
    """A number format by any of its names.  Raises Differs."""
    names = {"bf16": "bf16", "bfloat16": "bf16", "fp16": "fp16", "float16": "fp16", "half": "fp16", "fp32": "fp32", "float32": "fp32", "float": "fp32", "no": "fp32"}
    if plain(str(value)) not in names:
        raise Differs(f"there is no number format {shown(value)!r} for the base model here; there are fp32, bf16 and fp16")
    return names[plain(str(value))]


def checkpointing(value: Any) -> str:
    """Blocks that are recomputed: all or none."""
    return "all" if str(value).lower() not in ("false", "0", "off", "none", "") else "off"


def schedule(value: Any) -> str:
    """A learning rate schedule by the name that diffusers and others give it.  Raises Differs."""
    names = {
        "constant": "constant", "constantwithwarmup": "constant", "linear": "linear", "cosine": "cosine", "cosinewithrestarts": "cosine_restarts",
        "cosinewithhardrestarts": "cosine_restarts", "cosinerestarts": "cosine_restarts", "polynomial": "polynomial", "warmupstabledecay": "wsd", "rex": "rex",
    }  # fmt: skip
    if plain(str(value)) not in names:
        raise Differs(f"there is no schedule like {shown(value)!r}; the preset's own stays")
    return names[plain(str(value))]


OPTIMIZERS = {
    "adamwbf16": "adamw", "torchadamw": "adamw", "optimiadamw": "adamw", "adamwoptimi": "adamw", "adamw8bitkahan": "adamw8bit", "bnbadamw8bit": "adamw8bit",
    "bnbadamw8bitpaged": "paged_adamw8bit", "pagedadamw": "paged_adamw8bit", "optimilion": "lion", "bnblion": "lion", "bnblion8bit": "lion8bit", "pagedlion8bit": "lion8bit",
    "schedulefreeadamw": "adamw_schedulefree", "prodigyplusschedulefree": "prodigy_schedulefree",
    "prodigyplusprodigyplusschedulefree": "prodigy_schedulefree",
}  # fmt: skip


def optimizer(value: Any, plugins: Path | None = None) -> str:
    """An optimizer by the name that other programs give it.  Raises Differs."""
    ids = {plain(id): id for id, plugin in registry.find("optimizers", plugins).items() if plugin.ok}
    name = plain(str(value))
    if name not in ids and name not in OPTIMIZERS:
        raise Differs(f"there is no optimizer {shown(value)!r}; there are: {', '.join(ids.values())}")
    return ids.get(name) or OPTIMIZERS[name]


def options(reading: Reading, key: str, given: Mapping[str, Any]) -> None:
    """The optimizer's own options, each a key of its own: to a setting where there is one, else to an option of the optimizer that was taken."""
    chosen = reading.settings.get("optimizer.type")
    plugin = registry.get("optimizers", chosen) if chosen else None
    able = plugin.Options.model_fields if plugin else {}
    own: dict[str, Any] = {}
    for name, value in given.items():
        said = f"{key}.{name}" if key else name
        reading.left.setdefault(said, value)
        ours = {"use_bias_correction": "bias_correction", "use_stableadamw": "stable"}.get(name, name)
        if value is None or value == "":
            reading.rest(said, "empty there")
        elif name == "weight_decay":
            reading.convert(said, "optimizer.weight_decay", number)
        elif name in ("eps", "epsilon") and not isinstance(value, list):
            reading.convert(said, "optimizer.eps", number)
        elif name == "betas" and plugin and "betas" in plugin.USES:
            reading.convert(said, "optimizer.betas", _pair)
        elif name == "betas" and "beta1" in able:
            own |= {f"beta{n + 1}": v for n, v in enumerate(_numbers(value)) if f"beta{n + 1}" in able}
            reading.take(said, "optimizer.options", own)
        elif name in ("decouple", "decoupled", "decoupled_decay") and switch(value):
            reading.rest(said, "as here: weight decay is apart from the gradient")
        elif name in ("relative_step", "warmup_init") and not switch(value):
            reading.rest(said, "as here: the learning rate is the one that is set")
        elif ours in able:
            own = {**own, ours: value}
            reading.take(said, "optimizer.options", own)
        else:
            reading.leave(said, f"the optimizer here has no option like it{f'; those of {chosen} are: ' + ', '.join(able) if able else ''}")
    if own:
        reading.settings["optimizer.options"] = own
        reading.taken = [replace(t, ours=own) if t.path == "optimizer.options" else t for t in reading.taken]


def written(text: Any) -> dict[str, Any]:
    """Options written as words, name=value: of a list or of one text.  Values are numbers and switches where they look so."""
    if isinstance(text, str):
        # a comma stands inside a value (betas=0.9,0.99) or between two options (a=1,b=2)
        parts = re.findall(r"([\w.]+)\s*=\s*(\"[^\"]*\"|'[^']*'|\([^)]*\)|\[[^\]]*\]|[^\s\"',]+(?:,(?!\s*[A-Za-z_]\w*\s*=)[^\s\"',]+)*)", text)
    else:
        parts = [str(part).strip("\"' ").partition("=")[::2] for part in text or ()]
    return {name.strip(): _value(value) for name, value in parts if name}


def _value(text: str) -> Any:
    text = text.strip().strip("\"'")
    if "," in text:
        return [_value(part) for part in text.strip("()[] ").split(",") if part.strip()]
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        return int(text) if re.fullmatch(r"[-+]?\d+", text) else float(text)
    except ValueError:
        return text


def _numbers(value: Any) -> list[float]:
    return [number(v) for v in (value if isinstance(value, list | tuple) else str(value).strip("()[] ").split(","))]


def _pair(value: Any) -> list[float]:
    made = _numbers(value)
    if len(made) != 2:
        raise Differs(f"{shown(value)!r} is not a pair; betas are two numbers here")
    return made


def prompt_with(sample: Mapping[str, Any], said: Mapping[str, str]) -> str:
    """A sample prompt with its own size, seed and so on behind it, as ours are written.  said: their name -> our letter."""
    text = " ".join(str(sample.get("prompt", "")).split())
    return text + "".join(f" --{letter} {' '.join(str(sample[name]).split())}" for name, letter in said.items() if sample.get(name) not in (None, "", -1))


# -- telling


def told(made: Imported) -> list[tuple[str, list[str]]]:
    """[(heading, lines)] of a report for a terminal."""
    lines = [
        ("Taken over", [f"{t.key} = {t.value}{' (its default)' if t.presumed else ''}  ->  {t.path}: {shown(t.ours)}" for t in made.taken]),
        ("Without an equal here", [f"{w.key} = {w.value}: {w.why}" for w in made.without]),
        ("Not known", [f"{u.key} = {u.value}" for u in made.unknown]),
        ("Secrets, neither taken over nor shown", list(made.secrets)),
        ("Off there, or the same here", [f"{i.key} = {i.value}: {i.why}" for i in made.idle]),
        ("Folders of pictures", [d.said for d in made.datasets]),
    ]
    return [(heading, found) for heading, found in lines if found]
