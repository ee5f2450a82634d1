"""Presets: a file of settings with a title, and how a preset, a person's answers and this machine become a whole config.

A preset is a YAML file in presets/ or <home>/plugins/presets/: what it is for, part of a TrainConfig, and what each quality
level changes.  What nobody set is resolved here, once: the worker fills nothing in.  Order, the later wins: the preset,
its quality level, the answers, the overrides.

What is changed by words or by pairs of pictures takes the same numbers on every base model, so it is one file in presets/goals/, put
over a preset of each base model that has none of its own for it.  So is what hangs beside the denoiser, on the full-size base models whose
family can have it.
"""

from __future__ import annotations

import difflib
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .. import jobfile, outside, registry
from ..config import NO_WORD, AdapterPart, DatasetUse, KeepPart, TrainConfig
from ..data import concepts, datasets, editing, frames, words
from ..data.captions import with_trigger
from ..data.parts import taken
from ..family import FamilySpec
from ..formats import adapting
from ..formats.beside import is_beside
from ..home import REPO, Home
from ..names import folder_name
from . import devices, experts, optimizing, sharing, speeding, unseen, validating
from .devices import CARDS
from .fit import all_with, make_it_fit
from .hardware import Machine
from .layers import Network

USUAL_KIND = AdapterPart().type
QUALITIES = ("quick", "balanced", "thorough")
FOLDER = REPO / "presets"
GOALS = FOLDER / "goals"
OWN = "my-"  # begins the ids of presets that were made of runs
SHOWN = 3  # things that are changed, of which samples are drawn
PROMPTS = 16  # the most that a run draws
VRAM_SHARE = 0.92  # of a card that a resolved config may plan with: the desktop takes its part
RAM_SHARE = 0.8


class Wrong(ValueError):
    """A config that does not hold.  problems: [(dotted path of the setting, sentence)], to be shown beside the fields."""

    def __init__(self, problems: list[tuple[str, str]]):
        self.problems = problems
        super().__init__("; ".join(f"{path}: {text}" if path else text for path, text in problems))


class PresetFile(BaseModel):
    """What a preset's file holds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str = Field(min_length=1, max_length=60, description="What is learnt, in a word or two.")
    blurb: str = Field(min_length=1, max_length=200, description="What comes out, in one sentence.")
    for_whom: str = Field(min_length=1, max_length=300, description="When to take it, and how many pictures it wants.")
    goal: str = Field(description="What is learnt: character, object, style, …; presets of one goal stand together.")
    needs_gb: float = Field(gt=0, description="Memory that it needs where it trains: VRAM on a graphics card, else RAM.")
    recommended_gb: float = Field(0, ge=0, description="VRAM from which it is the one to recommend, until another's is reached; 0: never for that.")
    light: bool = Field(False, description="Trains in minutes without a graphics card.")
    order: int = Field(100, description="Place in the list; smaller comes first.")
    base_order: int = Field(1000, description="Place of its base model among the others; smaller comes first, and what people ask for most is smallest.")
    noun: str = Field(description="What stands in a sample prompt where there is no trigger word, for example 'a person'.")
    config: dict[str, Any] = Field(description="Part of a TrainConfig.")
    quality: dict[str, dict[str, Any]] = Field(description="What quick, balanced and thorough change.")


_SAID: dict[str, Any] = dict(PresetFile.model_fields)


class OwnFile(PresetFile):
    """A preset that somebody made of a run's settings: one file, that is kept and passed on as it is.  See own.py."""

    easel_preset: Literal[1] = Field(description="Version of this kind of file.")
    from_run: str = Field("", max_length=100, description="Name of the run that it was made of.")
    made_t: float = Field(0.0, ge=0, le=253_370_764_800.0, description="When it was made, UTC seconds.")
    picture: str = Field("", max_length=120_000, description="A small picture of what comes out: WebP in base64.")


class GoalFile(BaseModel):
    """What is to be learnt, for any base model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str = _SAID["title"]
    blurb: str = _SAID["blurb"]
    for_whom: str = _SAID["for_whom"]
    goal: str = _SAID["goal"]
    order: int = _SAID["order"]
    config: dict[str, Any] = Field(description="Part of a TrainConfig, put over that of a preset of the base model.")
    quality: dict[str, dict[str, Any]] = _SAID["quality"]


@dataclass(frozen=True)
class Preset:
    """One preset as it is listed.  error says why a file cannot be used; such a preset has only id, title and source."""

    id: str
    title: str
    blurb: str = ""
    for_whom: str = ""
    goal: str = ""
    family: str = ""
    needs_gb: float = 0.0
    recommended_gb: float = 0.0
    light: bool = False
    order: int = 10_000
    noun: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    quality: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    error: str = ""
    source: str = ""
    own: bool = False  # made of a run's settings by somebody, and not by us
    from_run: str = ""
    picture: bool = False
    base_order: int = 1000

    @property
    def ok(self) -> bool:
        return not self.error

    @property
    def source_model(self) -> str:
        """The base model that it trains on: a Hub id, a path, or "builtin"; "" leaves it to the family."""
        return str(self.config.get("model", {}).get("source", ""))

    def steps(self, quality: str) -> int:
        """Optimizer steps at a quality level."""
        return int(_merged(self.config, self.quality.get(quality, {})).get("steps", TrainConfig.model_fields["steps"].default))


@dataclass(frozen=True)
class Answers:
    """What a person said.  dataset, prior: name of a dataset, or path of a folder; prior: what must stay as it is, "" for nothing.

    rows: the datasets as data.datasets has them, where there is more to say than the name of the one; what a row leaves out is chosen here.
    overrides: {"optimizer.learning_rate": value}.
    """

    name: str = ""
    trigger: str = ""
    dataset: str = ""
    prior: str = ""
    quality: str = "balanced"
    rows: tuple[Mapping[str, Any], ...] = ()
    overrides: Mapping[str, Any] = field(default_factory=dict)


def list_presets(family: str = "", plugins: Path | None = None) -> list[Preset]:
    """All presets in their order, or those of one family; broken ones last, each with its error."""
    folders = [FOLDER, *([plugins / "presets"] if plugins else [])]
    found: dict[str, Preset] = {}
    for folder in folders:
        for path in sorted(folder.glob("*.yaml")) if folder.is_dir() else []:
            if path.stem not in found and (there := datasets.lstat_of(path)):
                found[path.stem] = _read(path, there.st_mtime_ns, there.st_size)
    found |= {p.id: p for p in _derived(list(found.values()), plugins) if p.id not in found}
    found |= {p.id: p for p in (_own_presets(plugins) if plugins else [])}
    chosen = [p for p in found.values() if not family or p.family == family or not p.ok]
    return sorted(chosen, key=lambda p: (not p.ok, p.order, p.id))


def own_folder(plugins: Path) -> Path:
    """Where a home keeps the presets that were made of runs, beside its plugins."""
    return plugins.parent / "my_presets"


def _own_presets(plugins: Path) -> list[Preset]:
    folder = own_folder(plugins)
    paths = sorted(folder.glob(f"{OWN}*.yaml")) if outside.is_folder(folder) else []
    return [_read(path, there.st_mtime_ns, there.st_size, OwnFile) for path in paths if (there := datasets.lstat_of(path))]


def _derived(presets: Sequence[Preset], plugins: Path | None) -> list[Preset]:
    """The goals on every base model whose presets have none of that goal; a goal that cannot be read is a row with its error."""
    groups: dict[tuple[str, str], list[Preset]] = {}
    for preset in sorted(presets, key=lambda p: p.order):
        if preset.ok:
            groups.setdefault((preset.family, preset.source_model), []).append(preset)
    made, found = [], _Found(plugins)
    for folder in (GOALS, *([plugins / "goals"] if plugins else [])):
        for path in sorted(folder.glob("*.yaml")) if folder.is_dir() else []:
            if there := datasets.lstat_of(path):
                goal, error = _read_goal(path, there.st_mtime_ns, there.st_size)
                if goal is None:
                    made.append(Preset(f"goal-{path.stem}", path.stem, error=error, source=path.name))
                    continue
                without = [group[0] for group in groups.values() if goal.goal not in {p.goal for p in group}]
                made += [_on(base, goal, path.name, found) for base in without if _suits(base, goal, found)]
    return made


class _Found:
    """The plugins as they are during one look: goals by base models are hundreds, and each would look through their folders anew."""

    def __init__(self, plugins: Path | None):
        self.get = cache(lambda kind, id: registry.get(kind, id, plugins))
        self.spec = cache(lambda family, source: self.get("families", family).SPEC.sized(source))


def _suits(base: Preset, goal: GoalFile, found: _Found) -> bool:
    """Whether the base model can learn the goal: what hangs beside the denoiser not every family has, and its numbers are a full-size model's."""
    try:
        if _spec(base, found).first_frame:
            return False  # it draws nothing from words alone, and learns nothing from still pictures
        if editing.needed(_spec(base, found)) and not editing.edits(found.get("objectives", goal.config.get("loss", {}).get("objective", "images"))):
            return False
        kind = _beside(goal, found)
        return kind is None or (not base.light and _kind(goal) in _spec(base, found).beside)
    except ValueError:
        return True  # no such kind or family: the estimate and the start say so, in its place


def _kind(goal: GoalFile) -> str:
    return str(goal.config.get("adapter", {}).get("type", USUAL_KIND))


def _beside(goal: GoalFile, found: _Found) -> ModuleType | None:
    """The goal's kind of adapter where it hangs beside the denoiser, else None.  Raises ValueError where there is no such kind."""
    kind = found.get("adapters", _kind(goal))
    return kind if is_beside(kind) else None


def _spec(base: Preset, found: _Found) -> FamilySpec:
    """The spec of a preset's family, with the sizes of its base model.  Raises ValueError where there is no such family."""
    return found.spec(base.family, base.source_model)


def _needs_gb(base: Preset, goal: GoalFile, found: _Found) -> float:
    """The base's own memory, and where a network hangs beside it, of each of its weights: itself, its gradient, and the optimizer's two averages in fp32."""
    try:
        if (kind := _beside(goal, found)) is None:
            return base.needs_gb
        spec = _spec(base, found)
    except ValueError:
        return base.needs_gb
    return math.ceil(base.needs_gb + 16e-9 * kind.weights(Network(spec.parameters, ()), spec.beside[_kind(goal)], AdapterPart.model_validate(goal.config["adapter"])))


def _on(base: Preset, goal: GoalFile, source: str, found: _Found) -> Preset:
    """A goal on the base model of a preset: its model, sizes and ways to draw, less what is about pictures to learn."""
    own = {part: dict(base.config.get(part, {})) for part in ("data", "loss", "sample")}
    for part, name in (("data", "flip"), ("data", "caption_dropout"), ("data", "shuffle_tags"), ("data", "keep_tags"), ("data", "tag_dropout"), ("data", "caption_kinds"), ("loss", "ema_decay"), ("sample", "prompts"), ("sample", "every")):
        own[part].pop(name, None)
    config = _merged({"model": base.config["model"], **own}, goal.config)
    stem = base.id.removesuffix(f"-{base.goal}")
    return Preset(
        f"{stem}-{goal.goal}", goal.title, goal.blurb, goal.for_whom, goal.goal, base.family, _needs_gb(base, goal, found), 0.0, base.light, goal.order, base.noun, config, goal.quality, "", source
    )


@lru_cache(maxsize=64)
def _read_goal(path: Path, mtime_ns: int, size_bytes: int) -> tuple[GoalFile | None, str]:
    """(a goal's file, ""), checked on a base model that is not there; or (None, what is wrong with it)."""
    try:
        file = jobfile.parse(GoalFile, jobfile.load_mapping(path), "the goal")
        _check_levels(_merged({"model": {"family": "any", "source": "any"}}, file.config), file.quality)
        return file, ""
    except (ValueError, OSError, TypeError) as error:
        return None, str(error)


def _check_levels(config: Mapping[str, Any], quality: Mapping[str, Mapping[str, Any]]) -> None:
    """Raises ValueError where a level is missing or its config does not hold."""
    if set(quality) != set(QUALITIES):
        raise ValueError(f"quality has {', '.join(quality) or 'nothing'}, but it takes {', '.join(QUALITIES)}")
    for level in QUALITIES:
        _parsed(_merged(config, quality[level]) | {"name": "preset", "data": _merged({"datasets": [{"name": "pictures"}]}, config.get("data", {}))})


def get(id: str, plugins: Path | None = None) -> Preset:
    """One preset that can be used.  Raises ValueError that names the nearest one, or says what is wrong with the file."""
    known = {p.id: p for p in list_presets(plugins=plugins)}
    if id not in known:
        near = difflib.get_close_matches(id, known, 1, 0.5)
        raise ValueError(f"there is no preset {id!r}; did you mean {near[0]!r}?" if near else f"there is no preset {id!r}; there are: {', '.join(known)}")
    if not known[id].ok:
        raise ValueError(f"the preset {id!r} cannot be used: {known[id].error}")
    return known[id]


def fits(preset: Preset, machine: Machine) -> str:
    """"" where a preset trains well on this machine; else the reason in a sentence."""
    if machine.device == "cpu" and not preset.light:
        return "it wants a graphics card: on this processor it would take days"
    have = machine.vram_bytes if machine.device in CARDS else machine.ram_bytes
    if have < preset.needs_gb * 1e9:
        if machine.device in CARDS:
            return f"it wants {preset.needs_gb:g} GB of VRAM, and there are {have / 1e9:.0f} GB"
        return f"it wants {preset.needs_gb:g} GB of memory, and there are {have / 1e9:.0f} GB"
    return ""


def recommend(presets: list[Preset], machine: Machine) -> Preset:
    """The preset that suits this machine best: the first that fits; on a graphics card a full-size model, the one for cards as large as this.

    Raises ValueError where there is no preset at all.
    """
    usable = [p for p in presets if p.ok and not p.own]
    if not usable:
        raise ValueError("there is no preset that can be used; the files in presets/ are missing or broken")
    fitting = [p for p in usable if not fits(p, machine)]
    best = [p for p in fitting if p.light == (machine.device == "cpu")] or fitting or [p for p in usable if p.light] or usable
    made_for = [p for p in best if p.recommended_gb and machine.device in CARDS and machine.vram_bytes >= p.recommended_gb * 1e9]
    return max(made_for, key=lambda p: p.recommended_gb, default=best[0])


def resolve(preset_id: str, answers: Answers, machine: Machine, pictures: int, home: Home) -> TrainConfig:
    """The whole config of a run: nothing is left for the worker to choose.  pictures: how many the dataset has, 0 where unknown.

    Raises Wrong, with the setting at fault, and ValueError for an unknown preset or quality.
    """
    return resolve_and_tell(preset_id, answers, machine, pictures, home)[0]


def resolve_and_tell(preset_id: str, answers: Answers, machine: Machine, pictures: int, home: Home) -> tuple[TrainConfig, list[str]]:
    """(what resolve() gives, what of the preset was changed for it to fit this machine, in sentences)."""
    preset = get(preset_id, home.plugins)
    if answers.quality not in preset.quality:
        raise ValueError(f"the preset {preset_id!r} has no quality {answers.quality!r}; there are: {', '.join(preset.quality)}")
    set_by_user = _nested(answers.overrides)
    data = _merged(preset.config, preset.quality[answers.quality])
    data |= {
        "kind": "train",
        "preset": preset.id,
        "name": answers.name.strip() or folder_name(answers.trigger or Path(answers.dataset).name or _about(preset, set_by_user), "my-lora"),
        "trigger": answers.trigger.strip(),
    }
    data.setdefault("data", {})["datasets"] = _datasets(answers, pictures, home, bool(_targets(_merged(data, set_by_user))))
    usual_steps = _whole(data.get("steps", TrainConfig.model_fields["steps"].default))
    data = _merged(data, set_by_user)
    if "optimizer.options" in answers.overrides:
        data["optimizer"]["options"] = answers.overrides["optimizer.options"]  # those of the preset are another optimizer's, or were taken out
    if every := data.get("sample", {}).get("every", 0) if "every" not in set_by_user.get("sample", {}) else 0:
        data["sample"]["every"] = max(1, round(every * _whole(data.get("steps", usual_steps)) / usual_steps))  # as many samples as the preset has
    _fill(data, preset, machine, pictures, set_by_user, home)
    config = _parsed(data)
    on = devices.of(config.device, machine)
    able, said = devices.adapted(config, on, _set_paths(set_by_user))
    config = all_with(config, able)
    suited, more = optimizing.adapted(config, home.plugins, _set_paths(set_by_user))
    config, said = all_with(config, suited), said + more
    shared, more = sharing.adapted(config, machine, _set_paths(set_by_user))
    config, said = all_with(config, shared), said + more
    if wrong := problems(config, machine, home):
        raise Wrong(wrong)
    config, fitted = _made_to_fit(config, machine, home, set_by_user)
    return config, said + fitted


def _about(preset: Preset, set_by_user: Mapping[str, Any]) -> str:
    """What a run that has no pictures and no trigger word can be called: its goal and the first thing that it changes."""
    targets = _targets(_merged(preset.config, set_by_user))
    return f"{preset.goal} {targets[0]}" if targets else ""


def _targets(data: Mapping[str, Any]) -> list[str]:
    """What is changed by words, of a config that may not hold yet."""
    rows = data.get("concept", {}).get("targets", ())
    return [str(row["target"]) for row in _listed(rows) if isinstance(row, Mapping) and row.get("target")]


def _datasets(answers: Answers, pictures: int, home: Home, words: bool) -> list[dict[str, Any]]:
    """The datasets of a run, none where words alone say what changes: the one to learn from, and the one that stays as it is, repeated until they count about alike."""
    rows = [dict(row) for row in answers.rows] or ([{"name": answers.dataset}] if answers.dataset or not words else [])
    if not answers.prior:
        return rows
    if answers.prior in (answers.dataset, *(row["name"] for row in rows)):
        raise Wrong([("prior", "these are the pictures to learn from; choose others, or nothing")])
    try:
        kept = taken(home, DatasetUse(name=answers.prior)).seen()
    except (ValueError, OSError) as error:
        raise Wrong([("prior", str(error))]) from None
    if not kept:
        raise Wrong([("prior", "this dataset has no pictures yet; choose another, or nothing")])
    more = lambda few, many: min(1000, max(1, round(many / few))) if few else 1
    pictures = sum(_seen(home, row) for row in rows if not row.get("prior")) or pictures
    rows = [{"repeats": more(pictures, kept), **row} if not row.get("prior") else row for row in rows]
    return [*rows, {"name": answers.prior, "repeats": more(kept, pictures), "prior": True}]


def _seen(home: Home, row: Mapping[str, Any]) -> int:
    """How often pictures of a row are seen in an epoch; 0 where the row does not hold, which the validation says."""
    try:
        use = DatasetUse.model_validate(row)
        return taken(home, use).seen() * use.repeats
    except (ValueError, OSError):
        return 0


# -- what nobody set


def _fill(data: dict[str, Any], preset: Preset, machine: Machine, pictures: int, set_by_user: Mapping[str, Any], home: Home) -> None:
    """Puts into `data` what follows from the rest and from the machine, wherever nobody has set it."""
    plugins = home.plugins
    _keep(data, plugins)
    steps = _whole(data.setdefault("steps", TrainConfig.model_fields["steps"].default))
    tenth = max(1, steps // 10)
    data.setdefault("device", machine.device)
    model, use = _part(data, "model"), _part(data, "data")
    model.setdefault("dtype", devices.of(str(data["device"]), machine).best_dtype)
    use.setdefault("held_out", validating.held_out(pictures, steps, step_passes(data)) if _at_once(data, plugins) else 0)

    speeding.settle(data, set_by_user, home)
    sample = _part(data, "sample")
    side = max([_whole(s) for s in _listed(use.get("resolutions", (512,)))], default=512)
    sample.setdefault("width", side)
    sample.setdefault("height", side)
    save = _part(data, "save")
    sample.setdefault("every", save.get("every") or tenth)
    if any(_whole(n) > 1 for n in (use.get("frames", 1), *(row.get("frames", 1) for row in _listed(use.get("datasets", [])) if isinstance(row, dict)))):
        use.setdefault("scenes", True)
    for name in ("frames", "fps"):
        if name in use:
            sample.setdefault(name, use[name])
    if "prompts" not in set_by_user.get("sample", {}):
        usual = _aimed(_listed(sample.get("prompts", ["[trigger]"])), _targets(data))
        if told := _instructions(data, home):  # of an edit; without a trigger word nothing else was asked for
            usual = told + usual * bool(data["trigger"])
        usual += filter(None, [unseen.prompt_for(preset.goal, preset.light, _captions(data, home))] if use["held_out"] else [])
        asked = [*(_worded(p, str(data["trigger"]), preset.noun) for p in usual), *_of_other_words(usual, data)]
        sample["prompts"] = list(dict.fromkeys(asked))[:PROMPTS]

    save.setdefault("every", _whole(sample["every"]) if sample["every"] else tenth)  # a checkpoint without samples cannot be judged
    optimizer = _part(data, "optimizer")
    if "warmup_steps" not in set_by_user.get("optimizer", {}) and _whole(optimizer.get("warmup_steps", 0)) >= steps:
        optimizer["warmup_steps"] = steps // 10  # the preset's own belongs to the preset's own number of steps
    if pictures and "batch_size" not in set_by_user.get("data", {}):
        left = max(1, pictures - _whole(use["held_out"]))
        use["batch_size"] = min(_whole(use.get("batch_size", 1)), left)
    if _whole(use["held_out"]):
        save.setdefault("validate_every", validating.every(steps, _whole(use["held_out"]), step_passes(data)))


def _captions(data: Mapping[str, Any], home: Home) -> list[str]:
    """The captions of all pictures that are learnt, as far as they can be read now."""
    said: list[str] = []
    for row in _listed(data["data"]["datasets"]):
        try:
            said += [text for picture in taken(home, DatasetUse.model_validate(row)).pictures(check=False) for text in picture.captions]
        except (ValueError, OSError):
            continue  # the validation says what is wrong with the row
    return said


def _instructions(data: Mapping[str, Any], home: Home) -> list[str]:
    """What the pictures of an edit are asked for with, as it is learnt: the commonest first, up to SHOWN of them; [] where no edit is learnt."""
    try:
        edits = editing.edits(registry.get("objectives", str(data.get("loss", {}).get("objective", "images")), home.plugins))
    except ValueError:
        return []  # no such objective: _wrong and the start say so, in its place
    told = Counter(" ".join(text.split()) for text in _captions(data, home)) if edits else Counter()
    return [with_trigger(text, str(data["trigger"])) for text, _ in told.most_common(SHOWN)]


def _at_once(data: Mapping[str, Any], plugins: Path) -> bool:
    """Whether pictures are learnt, and not something changed in several parts."""
    try:
        return concepts.at_once(registry.get("objectives", str(data.get("loss", {}).get("objective", "images")), plugins))
    except ValueError:
        return True  # no such objective: _wrong and the start say so, in its place


def _aimed(prompts: Sequence[str], targets: Sequence[str]) -> list[str]:
    """Sample prompts, those with [target] for each thing that is changed, up to SHOWN of them."""
    return [p.replace("[target]", target) for p in prompts for target in (targets[:SHOWN] if "[target]" in p else ("",))]


def _keep(data: dict[str, Any], plugins: Path) -> None:
    """What the base model knows is kept, unless somebody says otherwise, or the base itself changes and cannot be asked, or nothing changes it."""
    keep, kind = _part(data, "keep"), str(data.get("adapter", {}).get("type", "lora"))
    try:
        alone = adapting.stands_alone(registry.get("adapters", kind, plugins))
    except ValueError:
        alone = False  # no such adapter: the estimate and the start say so, in its place
    keep.setdefault("on", not alone)


def problems(config: TrainConfig, machine: Machine, home: Home) -> list[tuple[str, str]]:
    """[(dotted path of a setting, sentence)] of what in a whole config does not go together, or not on this machine."""
    return _wrong(config, home) + devices.problems(config, devices.of(config.device, machine)) + sharing.faults(config, machine, home.plugins)


def _wrong(config: TrainConfig, home: Home) -> list[tuple[str, str]]:
    try:
        spec = registry.get("families", config.model.family, home.plugins).SPEC
        concept = concepts.problems(config, home.plugins)
        if concept:
            return concept
        return editing.problems(config, home.plugins) + frames.problems(config, spec) + experts.problems(config, spec, home.plugins) + adapting.problems(config, home.plugins) + words.problems(config, spec, home) + speeding.problems(config, home) + optimizing.problems(config, home.plugins)
    except ValueError:
        return []  # a family that is not there: the estimate and the start say so, in its place


def step_passes(data: Mapping[str, Any]) -> float:
    """What an optimizer step costs, in forward passes of a picture."""
    use, keep, optimizer = data.get("data", {}), data.get("keep", {}), data.get("optimizer", {})
    share = keep.get("share", KeepPart().share) if keep.get("on") else 0
    batch = _whole(use.get("batch_size", 1)) * _whole(optimizer.get("accumulation", 1)) * (1 + (share if isinstance(share, float | int) else 0))
    return validating.learning(batch, data.get("loss", {}).get("gradient_checkpointing", "off") not in ("off", False))


def _worded(prompt: str, trigger: str, noun: str) -> str:
    """A sample prompt; without a trigger word the noun takes its place."""
    return prompt if trigger else prompt.replace("[trigger]", noun)


def _of_other_words(prompts: Sequence[str], data: Mapping[str, Any]) -> list[str]:
    """A sample prompt for each trigger word that a dataset has of its own, up to SHOWN of them: the first that asks for the run's."""
    rows = [row for row in _listed(data["data"]["datasets"]) if isinstance(row, Mapping) and not row.get("prior")] if not _targets(data) else []
    words = dict.fromkeys(str(row.get("trigger", "")).strip() for row in rows)
    asking = next((p for p in prompts if "[trigger]" in p), "[trigger]")
    return [asking.replace("[trigger]", word) for word in words if word not in ("", NO_WORD, data["trigger"])][:SHOWN]


def _made_to_fit(config: TrainConfig, machine: Machine, home: Home, set_by_user: Mapping[str, Any]) -> tuple[TrainConfig, list[str]]:
    """(`config` with the mildest changes that the memory asks for, see fit.py.  What the user set is never touched; the changes in sentences)."""
    on_card = config.device in CARDS
    counted, machine = sharing.on(config, machine, by="vram_bytes")
    limits = (VRAM_SHARE * machine.vram_bytes if on_card else float("inf"), RAM_SHARE * machine.ram_bytes)
    own = _set_paths(set_by_user) | {"data.resolutions"}  # how large pictures are is the preset's matter
    if {"data.batch_size", "optimizer.accumulation"} & own:
        own |= {"data.batch_size", "optimizer.accumulation"}
    try:
        found = make_it_fit(counted, *limits, home, devices.of(config.device, machine), own)
    except ValueError:
        return config, []  # a family or base model that is not there: the estimate and the start say so, in its place
    return found.config.model_copy(update={"gpus": config.gpus}), [change.said for change in found.changes]


def _set_paths(values: Mapping[str, Any]) -> set[str]:
    return {path for path in setting_paths() if _is_set(values, path)}


def _is_set(values: Mapping[str, Any], path: str) -> bool:
    part, _, rest = path.partition(".")
    return part in values and (not rest or _is_set(values[part], rest))


# -- mappings


@lru_cache(maxsize=256)
def _read(path: Path, mtime_ns: int, size_bytes: int, of: type[PresetFile] = PresetFile) -> Preset:
    """A preset's file, checked down to every field of its config; read again when its time or size changes."""
    own = of is OwnFile
    try:
        file = checked(jobfile.load_mapping(path), of)
    except (ValueError, OSError, TypeError) as error:
        return Preset(path.stem, path.stem.replace("-", " "), error=str(error), source=path.name, own=own)
    family = str(file.config["model"]["family"])
    return Preset(
        path.stem, file.title, file.blurb, file.for_whom, file.goal, family, file.needs_gb, file.recommended_gb, file.light, file.order, file.noun,
        file.config, file.quality, "", path.name, own, getattr(file, "from_run", ""), bool(getattr(file, "picture", "")),
        file.base_order,
    )  # fmt: skip


def checked(data: Mapping[str, Any], of: type[PresetFile] = PresetFile) -> PresetFile:
    """A preset's file as it was read, every level's config checked as a whole.  Raises ValueError."""
    file = jobfile.parse(of, dict(data), "the preset")
    if not isinstance(file.config.get("model"), Mapping) or "family" not in file.config["model"]:
        raise ValueError("the preset names no base model: config.model.family is missing")
    _check_levels(file.config, file.quality)
    return file


def _parsed(data: Mapping[str, Any]) -> TrainConfig:
    """A TrainConfig.  Raises Wrong."""
    try:
        return TrainConfig.model_validate(data)
    except ValidationError as error:
        raise Wrong(jobfile.problems(TrainConfig, error)) from None


def _nested(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """{"a.b": 1} as {"a": {"b": 1}}.  Raises Wrong for a path that leads nowhere, with the nearest that does."""
    made: dict[str, Any] = {}
    paths = setting_paths()
    for path, value in overrides.items():
        if path not in paths:
            near = difflib.get_close_matches(path, paths, 1, 0.5)
            raise Wrong([(path, f"is not a setting; did you mean {near[0]!r}?" if near else "is not a setting")])
        *parents, last = path.split(".")
        part = made
        for parent in parents:
            part = part.setdefault(parent, {})
        part[last] = value
    return made


def setting_paths() -> list[str]:
    """The dotted paths of all settings of a TrainConfig."""

    def walk(model: type[BaseModel], before: str) -> list[str]:
        paths = []
        for name, info in model.model_fields.items():
            inner = isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel)
            paths += walk(info.annotation, f"{before}{name}.") if inner else [before + name]  # type: ignore[arg-type]
        return paths

    return walk(TrainConfig, "")


def _merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `changes` on top, mapping by mapping; neither is changed."""
    made = dict(base)
    for key, value in changes.items():
        made[key] = _merged(made.get(key, {}), value) if isinstance(value, Mapping) and isinstance(made.get(key, {}), Mapping) else value
    return {key: _merged(value, {}) if isinstance(value, Mapping) else value for key, value in made.items()}


def _part(data: dict[str, Any], name: str) -> dict[str, Any]:
    return data.setdefault(name, {})


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _whole(value: Any) -> int:
    """A number out of a form or a file; 1 where it is none, which the validation then says beside its field."""
    try:
        return int(float(value))
    except (TypeError, ValueError, OverflowError):
        return 1
