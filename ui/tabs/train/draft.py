"""What stands in the Train form, and what it would start: values and functions, no widgets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from pydantic import BaseModel, ConfigDict

from easel import jobs
from training import registry
from training.config import NO_WORD, DataPart, DatasetUse, TrainConfig
from training.data import concepts, datasets, parts
from training.data.parts import taken
from training.family import FamilySpec
from training.formats.adapting import stands_alone
from training.formats.basemodel import local_folder, read_configs
from training.formats.beside import is_beside, needs_control
from training.home import Home
from training.hub.secrets import Secret
from training.names import check_name
from training.plan import devices, optimizing, schedule, sharing
from training.plan.estimate import Estimate, estimate
from training.plan.fit import make_it_fit
from training.plan.hardware import Machine
from training.plan.presets import QUALITIES, Answers, Preset, Wrong, fits, list_presets, recommend, resolve, resolve_and_tell
from training.runs import exactly, placing, supervisor, weighing
from training.runs.queueing import Wait
from training.runs.run import Run, list_runs

from ... import drafts, forms
from ...language import N_, point, tr, trc
from . import paired, uses
from .uses import Use

FORM = "train"  # name of the draft on disk
TOP = ("name", "trigger", "prior", "gpu")  # settings that the form shows above the folded ones
HIDDEN = (*TOP, "preset", "place")
ABOVE = "keep.on"  # a setting like any other, whose switch stands above the folded ones
WORDS = "concept.targets"  # so this one, where words say what changes
MAX_TYPED = 20_000
LONGEST_WORD = 100  # characters of a trigger word
EXAMPLE = "zibbo"  # of a trigger word
AIMED = ("data.resolutions", "data.max_aspect", "data.aspect_buckets", "data.batch_size")
MUCH_CUT = 0.15  # share of a picture that is lost
MUCH_LARGER = 1.3  # times that a picture is enlarged
FREE_SHARE = 0.97  # of the memory that is free now; an estimate is no measurement


NOTHING = "-"
AWAY = "away"  # begins the paths of what another machine is told


class Draft(BaseModel):
    """The form.  edits: dotted path -> what was typed; only settings that a person touched.  preset "": the recommended one.

    prior: the dataset that must stay as it is, "" for the one that came along with the pictures, NOTHING for none.  epochs: how often each picture is to be seen, instead of a number
    of steps; whichever of the two was typed last holds.  own: more about the dataset that is chosen; more: those that were added to it.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str = ""
    trigger: str = ""
    prior: str = ""
    gpu: str = ""  # UUID of the card to train on, "" for any free one
    preset: str = ""
    quality: str = "balanced"
    epochs: str = ""
    own: Use = Use()
    more: tuple[Use, ...] = ()
    edits: dict[str, str] = {}
    place: str = ""  # the other machine's, that the panel below Start is about
    away: dict[str, str] = {}  # AWAY.place.option -> what was typed

    def edited(self, path: str, text: str) -> Draft:
        """The draft after one field was left."""
        text = text[:MAX_TYPED]
        if path.startswith(f"{AWAY}."):
            return self.model_copy(update={"away": {**self.away, path: text}})
        if path.startswith(f"{uses.PLACE}."):
            own, more = uses.changed(self.own, self.more, path, text)
            return self.model_copy(update={"own": own, "more": more})
        if path == "epochs":
            return self.model_copy(update={"epochs": text.strip(), "edits": {p: t for p, t in self.edits.items() if p != "steps"}})
        if path == "steps":
            return self.model_copy(update={"epochs": "", "edits": {**self.edits, path: text}})
        if path == "prior":
            return self.model_copy(update={path: text or NOTHING})
        if path in TOP:
            return self.model_copy(update={path: text})
        return self.model_copy(update={"edits": {**self.edits, path: text}})

    def word_of(self, dataset: str) -> str:
        """The trigger word that the pictures of a dataset are learnt with; "" for none, and where its rows have different ones."""
        rows = [use for use in self.more if use.name == dataset]
        words = {(use.trigger or self.trigger).strip() for use in rows if use.prior != "on"}
        if self.own.name == dataset or not rows:
            words.add(self.trigger.strip())
        word = words.pop() if len(words) == 1 else ""
        return "" if word == NO_WORD else word

    def at(self, dataset: str) -> Draft:
        """The draft before something is said of the chosen dataset: what was said of another one does not pass on to it."""
        return self if not dataset or self.own.name in ("", dataset) else self.model_copy(update={"own": Use(name=dataset)})

    def left(self, dataset: str, path: str, text: str) -> Draft:
        """The draft after one field was left while a dataset was chosen."""
        return (self.at(dataset) if path.startswith(f"{uses.PLACE}.{uses.OWN}.") else self).edited(path, text).of(dataset, path)

    def of(self, dataset: str, path: str) -> Draft:
        """The draft after a field of the chosen dataset was left: what was said holds for that one."""
        return self.model_copy(update={"own": self.own.model_copy(update={"name": dataset})}) if path.startswith(f"{uses.PLACE}.{uses.OWN}.") else self

    def kept(self, home: Home, dataset: str) -> Draft:
        """The draft as it holds for a dataset: what was said of another one is left out, and prior is what is truly kept as it is, "" for nothing."""
        if self.own.name not in ("", dataset):
            return self.model_copy(update={"own": Use()}).kept(home, dataset)
        if self.prior:
            return self.model_copy(update={"prior": ""}) if self.prior == NOTHING else self
        try:
            came = datasets.open_dataset(home, dataset).prior if dataset else ""
            return self.model_copy(update={"prior": datasets.open_dataset(home, came).name}) if came else self
        except ValueError:  # it was deleted meanwhile
            return self

    def reset(self, path: str = "") -> Draft:
        """The draft with one setting, or with all of them, as the preset has it."""
        return self.model_copy(update={"epochs": self.epochs if path not in ("", "steps") else "", "edits": {p: t for p, t in self.edits.items() if path and p != path}})


@dataclass(frozen=True)
class Plan:
    """What a draft comes to.  base: the preset's own config; config: with the edits, None while something is wrong."""

    presets: list[Preset]
    preset: Preset | None
    recommended: str
    base: TrainConfig | None
    config: TrainConfig | None
    wrong: dict[str, str]  # path of a setting, "dataset", "prior", "preset" or "" -> what is wrong
    estimate: Estimate | None
    pictures: int
    dataset: str
    adapted: tuple[str, ...] = ()  # what of the preset was changed so that it fits this machine
    counts: tuple[int, ...] = ()  # pictures of each of config.data.datasets
    seen: tuple[int, ...] = ()  # these with the repeats of single pictures
    words: bool = False  # words say what changes; no pictures are asked for
    at_once: bool = True  # pictures are learnt as they are
    pairs: bool = False  # the pictures have others beside them that they are made from
    edit_presets: frozenset[str] = frozenset()  # ids of the presets that learn edits

    @property
    def name(self) -> str:
        """What the run will be called."""
        made = self.config or self.base
        return made.name if made else ""


def plan(home: Home, draft: Draft, dataset: str, machine: Machine) -> Plan:
    """Presets, config, estimate and everything that is wrong with a draft."""
    draft = draft.kept(home, dataset)
    found = list_presets(plugins=home.plugins)
    empty = Plan(found, None, "", None, None, {}, None, 0, dataset)
    try:
        best = recommend(found, machine)
    except ValueError as error:
        return replace(empty, wrong={"preset": str(error)})
    chosen = next((p for p in found if p.id == draft.preset and p.ok), best)
    pictures = count_pictures(home, dataset, draft.own.part)
    empty = replace(empty, preset=chosen, recommended=best.id, pictures=pictures, pairs=paired.are_pairs(home, dataset, draft.own.part), edit_presets=paired.learning(home, found))
    quality = draft.quality if draft.quality in QUALITIES else "balanced"
    words, at_once = _kind(home, chosen, draft)
    wrong = _top_faults(draft) | (_prior_fault(home, draft, dataset) if at_once else {})
    rows: tuple = ()
    if words:
        dataset, pictures = "", 0  # the base model draws its own, unless data.datasets names some
    elif "data.datasets" not in draft.edits:
        rows, faults = uses.rows(home, draft.own, draft.more, dataset)
        wrong |= faults
        pictures = sum(count_pictures(home, row["name"], row.get("part", "")) for row in rows if not row.get("prior")) or pictures
    if not at_once:
        draft = draft.model_copy(update={"prior": ""} | ({"trigger": ""} if words else {}))  # the form does not ask for them
    answers = Answers(
        dataset=dataset, rows=rows, quality=quality, trigger=draft.trigger if "trigger" not in wrong else "", prior=draft.prior if "prior" not in wrong else ""
    )
    try:
        base = resolve(chosen.id, answers, machine, pictures, home)
    except ValueError as error:
        return replace(empty, wrong={"preset": str(error)})
    values, faults = forms.parsed(TrainConfig, draft.edits)
    wrong |= faults
    if words or "data.datasets" in draft.edits:
        pass
    elif not dataset:
        wrong["dataset"] = tr("Choose the pictures to learn from")
    elif not pictures:
        wrong["dataset"] = tr("This dataset has no pictures yet")
    config, adapted = None, []
    try:  # also when something is wrong already: every fault is shown at once
        named = replace(answers, name="" if "name" in wrong else draft.name, overrides=values)
        config, adapted = resolve_and_tell(chosen.id, named, machine, pictures, home)
    except Wrong as error:
        wrong = {**forms.beside(TrainConfig, error.problems), **wrong}
    except ValueError as error:
        wrong.setdefault("", str(error))
    if fault := _epochs_fault(draft.epochs):
        wrong["epochs"] = fault
    if any(path != "dataset" for path in wrong):
        config = None
    guess, counts, seen = None, (), ()
    if config:
        try:
            counts = tuple(count_pictures(home, use.name, use.part) for use in config.data.datasets)
            seen = tuple(taken(home, use).seen() if count else 0 for count, use in zip(counts, config.data.datasets, strict=True))
            pictures = sum(count for count, use in zip(counts, config.data.datasets, strict=True) if not use.prior)
            guess = estimate(config, machine, pictures, home)
            if draft.epochs and guess.steps_per_epoch and "epochs" not in wrong:
                steps = max(1, round(float(draft.epochs) * guess.steps_per_epoch))
                config, adapted = resolve_and_tell(chosen.id, replace(named, overrides=values | {"steps": steps}), machine, pictures, home)
                guess = estimate(config, machine, pictures, home)
        except ValueError as error:
            wrong.setdefault("model.source", str(error))
        if guess and pictures and not guess.steps_per_epoch:
            wrong.setdefault("dataset", guess.problems[0])
    if config:
        lacks, told = paired.fault(home, config)
        wrong |= {"": lacks} if lacks and "" not in wrong else {}
        if guess and told:  # it is said already, and keeps the run from starting
            guess = replace(guess, problems=[p for p in guess.problems if p != told[0]], sentences=[s for s in guess.sentences if s != told[0]])
    if config and not config.data.datasets:
        pictures = config.concept.drawn * len(config.data.resolutions)
    return replace(empty, base=base, config=config, wrong=wrong, estimate=guess, pictures=pictures, adapted=tuple(adapted), counts=counts, seen=seen, words=words, at_once=at_once)


def _kind(home: Home, preset: Preset, draft: Draft) -> tuple[bool, bool]:
    """(whether words say what changes, whether pictures are learnt as they are), by the objective that is chosen."""
    id = draft.edits.get("loss.objective", str(preset.config.get("loss", {}).get("objective", "images")))
    found = registry.find("objectives", home.plugins).get(id)
    if found is None or not found.ok:
        return False, True  # the estimate says what is wrong with it
    return concepts.by_words(found.module), concepts.at_once(found.module)


def fitting(home: Home, made: Plan, draft: Draft, machine: Machine) -> tuple[dict[str, str], list[str]]:
    """(edits that make a plan fit this machine as it is now, what they mean).

    It begins at what the preset would be on a machine of any size, so that nothing stays smaller than it must.
    """
    if made.preset is None or made.config is None or made.estimate is None:
        return {}, []
    any_size = replace(machine, vram_bytes=2**60, ram_bytes=2**60, cards=tuple(replace(card, vram_bytes=2**60) for card in machine.cards))
    asked = plan(home, draft.model_copy(update={"preset": made.preset.id}), made.dataset, any_size).config or made.config
    asked, machine = sharing.on(asked, machine)
    limits = FREE_SHARE * machine.vram_free_bytes, FREE_SHARE * machine.ram_free_bytes
    found = make_it_fit(asked, *limits, home, devices.of(asked.device, machine))
    known = {f.path: f for f in forms.fields(TrainConfig)}
    paths = {path for change in found.changes for path in change.settings}
    edits = {path: forms.typed(known[path], forms.get(found.config, path)) for path in paths}
    return edits, [change.said for change in found.changes if any(forms.get(made.config, path) != to for path, to in change.settings.items())]


def _top_faults(draft: Draft) -> dict[str, str]:
    wrong = {}
    if draft.name.strip():
        try:
            check_name(draft.name)
        except ValueError as error:
            wrong["name"] = str(error)
    if any(c in draft.trigger for c in "\n\r\t,"):
        wrong["trigger"] = tr("the trigger word holds a comma, tab or line break; use a single word such as '{word}'", word=EXAMPLE)
    elif len(draft.trigger.strip()) > LONGEST_WORD:
        wrong["trigger"] = tr("the trigger word has more than {most} characters; use a single word such as '{word}'", most=LONGEST_WORD, word=EXAMPLE)
    return wrong


def _epochs_fault(text: str) -> str:
    try:
        return "" if not text or 0 < float(text) <= 100_000 else tr("an epoch is each picture once; type a number above 0, for example 20")
    except ValueError:
        return tr("'{text}' is not a number; type how often each picture is to be seen, for example 20", text=text)


def _prior_fault(home: Home, draft: Draft, dataset: str) -> dict[str, str]:
    if draft.prior and draft.prior in (dataset, *(use.name for use in draft.more)):
        return {"prior": tr("These are the pictures to learn from; choose others, or nothing")}
    if draft.prior and not count_pictures(home, draft.prior):
        return {"prior": tr("The dataset '{dataset}' is not there or has no pictures; choose another, or nothing", dataset=draft.prior)}
    return {}


def count_pictures(home: Home, name: str, part: str = "") -> int:
    """Pictures of a dataset that can be trained on, or of one of its parts; 0 where there is no such dataset."""
    if not name:
        return 0
    try:
        return taken(home, DatasetUse(name=name, part=part)).count()
    except (ValueError, OSError):
        return 0


def asks_for_pictures(home: Home, draft: Draft, machine: Machine) -> bool:
    """Whether the form learns from datasets, and not from what words say."""
    found = list_presets(plugins=home.plugins)
    try:
        return not _kind(home, next((p for p in found if p.id == draft.preset and p.ok), None) or recommend(found, machine), draft)[0]
    except ValueError:
        return True


def spread(home: Home, draft: Draft, rows: Sequence[DatasetUse], prior: str = NOTHING) -> tuple[Draft, str] | None:
    """(the draft with these rows in its form, the dataset that is chosen there); None where the first is none of ours, or one that is kept as it is."""
    if not rows or rows[0].prior or rows[0].trigger:
        return None
    try:
        first = datasets.resolve(home, rows[0].name)
    except ValueError:
        return None
    if first.in_place:
        return None
    own = uses.of_row(rows[0], uses.OWN).model_copy(update={"name": first.name})
    more = tuple(uses.of_row(row).model_copy(update={"name": _ours(home, row.name)}) for row in rows[1:])
    edits = {path: text for path, text in draft.edits.items() if path != "data.datasets"}
    return draft.model_copy(update={"own": own, "more": more, "prior": prior, "edits": edits}), first.name


def _ours(home: Home, name: str) -> str:
    """The name of a dataset of ours that a path may lead to; else the name as it is."""
    try:
        found = datasets.resolve(home, name)
    except ValueError:
        return name
    return name if found.in_place else found.name


def typed_rows(home: Home, draft: Draft, text: str, dataset: str) -> tuple[Draft, str]:
    """(the draft, its dataset) after the table of the datasets was filled in: in the form where that can show it, else as a setting."""
    field = next(f for f in forms.fields(TrainConfig) if f.path == "data.datasets")
    with suppress(ValueError):
        if found := spread(home, draft, [DatasetUse.model_validate(row) for row in forms.read(field, text)]):
            return found
    return draft.edited("data.datasets", text), dataset


def apart(home: Home, draft: Draft, dataset: str) -> Draft:
    """The draft with each sub-folder of its dataset as a row of its own."""
    ds = datasets.open_dataset(home, dataset)
    first, *others = uses.split(parts.counts(ds), count_pictures(home, ds.name)) or ("",)
    more = tuple(uses.new(name=dataset, part=part) for part in others)
    return draft.model_copy(update={"own": draft.at(dataset).own.model_copy(update={"part": first, "name": dataset}), "more": (*draft.more, *more)})


def choices(home: Home, family: str = "") -> dict[str, dict[str, tuple[str, str]]]:
    """What can be chosen where the schema only knows text: the plugins that were found and load, id -> (title, one sentence).

    family: of the base model; kinds of adapter that it cannot have are not offered.
    """
    found = {kind: {id: plugin.module for id, plugin in registry.find(kind, home.plugins).items() if plugin.ok} for kind in ("families", "adapters", "optimizers", "objectives")}
    if family in found["families"]:
        able = found["families"][family].SPEC.beside
        found["adapters"] = {id: module for id, module in found["adapters"].items() if not is_beside(module) or id in able}
    named = found["families"][family].SPEC.blocks if family in found["families"] else {}
    blocks = {"adapter.blocks": {"": (N_("All"), N_("Every block learns.")), **{id: (one.title, one.blurb) for id, one in named.items()}}} if named else {}
    return blocks | {
        path: {id: _told(module) for id, module in found[kind].items()}
        for path, kind in (("model.family", "families"), ("adapter.type", "adapters"), ("optimizer.type", "optimizers"), ("loss.objective", "objectives"))
    }


def options(home: Home, made: Plan, edits: Mapping[str, str]) -> dict[str, dict[str, tuple[str, str]]]:
    """What the chosen optimizer can be told, beside the setting that says it: name -> (its default, one sentence)."""
    config = made.config or made.base
    plugin = registry.find("optimizers", home.plugins).get(edits.get("optimizer.type", config.optimizer.type)) if config else None
    if plugin is None or not plugin.ok:
        return {}
    model = plugin.module.Options
    return {"optimizer.options": {f.path: (forms.typed(f, model.model_fields[f.path].default), f.help) for f in forms.fields(model)}}


def idle(home: Home, made: Plan, edits: Mapping[str, str]) -> list[str]:
    """Dotted paths of settings that the chosen adapter, objective, optimizer and schedule have no use for, less those that somebody changed."""
    config = made.config or made.base
    if not config:
        return []
    uses = concepts_used(home, config, edits)
    paths = [f"concept.{name}" for name in type(config.concept).model_fields if name not in uses]
    adapter = registry.find("adapters", home.plugins).get(edits.get("adapter.type", config.adapter.type))
    if adapter and adapter.ok:
        paths += [f"adapter.{name}" for name in type(config.adapter).model_fields if name != "type" and name not in adapter.module.USES]
        if stands_alone(adapter.module):
            paths += [f"keep.{name}" for name in type(config.keep).model_fields]
    family = registry.find("families", home.plugins).get(config.model.family)
    if family and family.ok and family.module.SPEC.prediction == "flow":
        paths += ["model.prediction", "model.zero_terminal_snr"]
    if family and family.ok and not family.module.SPEC.blocks:
        paths += ["adapter.blocks"]
    optimizer = registry.find("optimizers", home.plugins).get(edits.get("optimizer.type", config.optimizer.type))
    if optimizer and optimizer.ok:
        paths += _idle_of_optimizer(optimizer.module, edits.get("optimizer.schedule", config.optimizer.schedule))
    return [path for path in paths if path not in edits]


def _idle_of_optimizer(optimizer, chosen: str) -> list[str]:
    names = optimizing.unused(optimizer)
    flat = "schedule" in names or chosen == "constant"
    names += [name for name, only in schedule.ONLY.items() if flat or chosen != only] + ["schedule_end"] * flat + [*schedule.ANEW]
    names += ["options"] * (not optimizer.Options.model_fields) + ["rates"] * optimizing.one_rate(optimizer)
    return [f"optimizer.{name}" for name in names] + ["loss.ema_decay"] * optimizing.averages(optimizer)


def concepts_used(home: Home, config: TrainConfig, edits: Mapping[str, str]) -> tuple[str, ...]:
    """Settings of what is changed by words that the chosen objective acts on."""
    found = registry.find("objectives", home.plugins).get(edits.get("loss.objective", config.loss.objective))
    return tuple(getattr(found.module, "USES", ())) if found and found.ok else ()


def _told(module) -> tuple[str, str]:
    spec = getattr(module, "SPEC", None)
    return (spec.title, spec.notes) if spec else (module.TITLE, module.BLURB)


@dataclass(frozen=True)
class Base:
    """A base model that presets train on.  short: why it does not train well here, "" where it does.

    kind: what it makes: picture, tags (pictures from tags), edit (of a picture) or clip.  parameters: of all its networks.  licence: (as the Hub writes it, its URL).
    """

    key: str
    title: str
    notes: str
    presets: tuple[Preset, ...]
    short: str
    kind: str = "picture"
    parameters: float = 0.0
    licence: tuple[str, str] = ("", "")

    @property
    def builtin(self) -> bool:
        return self.presets[0].source_model == "builtin"


def bases(home: Home, found: Sequence[Preset], machine: Machine) -> list[Base]:
    """The base models of the presets that can be used, those that train well here first, of these what people ask for first; told from the families' specs alone."""
    plugins = registry.find("families", home.plugins)
    groups: dict[str, list[Preset]] = {}
    for preset in found:
        if preset.ok and not preset.own and (plugin := plugins.get(preset.family)) and plugin.ok:
            groups.setdefault(f"{preset.family}:{preset.source_model or plugin.module.SPEC.default_source}", []).append(preset)
    made = []
    for key, members in groups.items():
        source = key.split(":", 1)[1]
        spec = plugins[members[0].family].module.SPEC
        short = min((fits(p, machine) for p in members), key=len)
        made.append(Base(key, spec.title_of(source), spec.notes, tuple(members), short, _makes(spec, members), _parameters(spec, source), (spec.licence_names.get(source) or spec.licence_of(source)[0], spec.licence_of(source)[1])))
    return sorted(made, key=lambda base: (bool(base.short), min(p.base_order for p in base.presets)))


def _makes(spec: FamilySpec, members: Sequence[Preset]) -> str:
    if spec.latent.video:
        return "clip"
    if spec.references and spec.references.needed:
        return "edit"
    return "tags" if any(p.config.get("data", {}).get("shuffle_tags") for p in members) else "picture"


def _parameters(spec: FamilySpec, source: str) -> float:
    """Of all its networks; 0 for what is no full-size model."""
    sized = spec.sized(source)
    return 0.0 if source == "builtin" else max(1, len(sized.experts)) * sized.parameters + sum(sized.other_parameters or (0.0, 0.0))


def same_goal(home: Home, draft: Draft, key: str, machine: Machine) -> dict[str, str]:
    """What pressing a base model comes to: the press on its preset for what is to be learnt now, else on its first."""
    found = list_presets(plugins=home.plugins)
    base = next((b for b in bases(home, found, machine) if b.key == key), None)
    if base is None:
        return {}  # its preset was deleted meanwhile
    now = next((p.goal for p in found if p.id == draft.preset), recommend(found, machine).goal)
    return {"act": "preset", "id": next((p for p in base.presets if p.goal == now), base.presets[0]).id}


@dataclass(frozen=True)
class Aim:
    """What the chosen preset makes of a picture.  side_px: of a square training picture; max_aspect: of the longest bucket."""

    side_px: int
    max_aspect: float
    divisor: int = 8  # of the sides of a training picture, px
    batch: int = 1
    trigger: str = ""
    what: str = ""  # is learnt: the preset's goal
    control: bool = False  # what lies beside pictures is shown to a network beside the denoiser

    def remark(self, width: int, height: int) -> tuple[str, str]:
        """(a word, the sentence to it) on a picture that is enlarged or cut a good deal to be learnt; ("", "") for any other."""
        aspect = max(width, height) / min(width, height)
        cut = 1 - self.max_aspect / aspect
        if cut > MUCH_CUT:
            return trc("picture", "Cropped"), tr(
                "It is {size} px; training pictures are at most {times} times as long as wide, so {share}% of it is cut off",
                size=f"{width} × {height}", times=point(f"{self.max_aspect:g}"), share=f"{100 * cut:.0f}",
            )  # fmt: skip
        larger = self.side_px / (width * height * (1 - max(cut, 0.0))) ** 0.5
        if larger > MUCH_LARGER:
            return trc("picture", "Small"), tr(
                "It is {size} px and is learnt at {side} px: enlarged {times} times, it looks soft",
                size=f"{width} × {height}", side=str(self.side_px), times=point(f"{larger:.1f}"),
            )  # fmt: skip
        return "", ""


def aim(home: Home, machine: Machine, dataset: str) -> Aim | None:
    """What the form, as it stands, makes of a dataset; None where no preset can be used.  Cheap: of a base model at most its settings are read."""
    draft, found = drafts.load(home, FORM, Draft), list_presets(plugins=home.plugins)
    try:
        chosen = next((p for p in found if p.id == draft.preset and p.ok), None) or recommend(found, machine)
        divisor = _divisor(chosen, home)
    except ValueError:
        return None
    usual, own = DataPart.model_fields, chosen.config.get("data", {})
    typed = forms.parsed(TrainConfig, {p: t for p, t in draft.edits.items() if p in AIMED})[0]
    sides = typed.get("data.resolutions") or own.get("resolutions") or usual["resolutions"].default
    buckets = typed.get("data.aspect_buckets", own.get("aspect_buckets", usual["aspect_buckets"].default))
    aspect = float(typed.get("data.max_aspect", own.get("max_aspect", usual["max_aspect"].default))) if buckets else 1.0
    return Aim(max(sides), aspect, divisor, typed.get("data.batch_size", own.get("batch_size", usual["batch_size"].default)), draft.word_of(dataset), chosen.goal, _has_control(draft, chosen, home))


def _has_control(draft: Draft, preset: Preset, home: Home) -> bool:
    """Whether what learns hangs beside the denoiser and is shown control pictures."""
    plugin = registry.find("adapters", home.plugins).get(draft.edits.get("adapter.type", str(preset.config.get("adapter", {}).get("type", ""))))
    return bool(plugin and plugin.ok and needs_control(plugin.module))


def _divisor(preset: Preset, home: Home) -> int:
    """What the sides of a training picture divide by, px: as the base model's settings say where they are here, else as its family usually has it."""
    family = registry.get("families", preset.family, home.plugins)
    with suppress(OSError, ValueError, KeyError):  # not on this computer, or not whole: the Train tab says so
        if folder := local_folder(str(preset.config["model"]["source"])):
            return family.grid(read_configs(folder, family.SPEC))[1]
    return family.SPEC.divisor


def begin(home: Home, made: Plan, token: Secret | None = None, gpu: str = "", wait: Wait | None = None) -> Run:
    """The run of a plan, in the queue, which moves at once.  Raises ValueError, OSError; nothing is left behind when it cannot be made.

    gpu: UUID of the card to wait for, "" for any free one.  token: of whoever pressed Start on a Space; it goes to this run's worker and nowhere else.
    wait: a time or a run that it is not to begin before.
    """
    if made.config is None:
        raise ValueError(tr("some settings are not right yet"))
    return jobs.begin(made.config, home, gpu, token, soon=True, wait=wait).folder


def free_card(home: Home, made: Plan, draft: Draft, machine: Machine) -> str:
    """The card of several on which a draft would start now; "" where it would wait, or where there are not several."""
    if made.estimate is None or not placing.several(machine):
        return ""
    busy = {run.card() for run in list_runs(home.outputs) if run.locked() and supervisor.uses_gpu(run)}
    return "" if "" in busy else next((card for card in placing.among(machine.cards, draft.gpu, made.estimate.vram_bytes) if card not in busy), "")


def of_run(home: Home, run: Run, machine: Machine, datasets_now: Mapping[str, str] | None = None) -> tuple[Draft, str]:
    """(a draft that would make the same run again, its dataset).  datasets_now: {a dataset of it: what stands in its place}.  Raises ValueError for a run that cannot be read."""
    config = exactly.with_datasets(weighing.again(run.config(), run), datasets_now, home) if datasets_now else run.config()
    told = {f.path: forms.typed(f, forms.get(config, f.path)) for f in forms.fields(TrainConfig, leave_out=HIDDEN)}
    words = concepts.by_words(concepts.objective_of(config, home.plugins))
    preset = config.preset if config.preset in {p.id for p in list_presets(plugins=home.plugins) if p.ok} else ""
    empty = Draft(name=config.name, trigger=config.trigger, prior=NOTHING, gpu=run.wished_card(), preset=preset)
    first = config.data.datasets[0].name if config.data.datasets else ""
    ways = [(empty, "")] if words else _ways(home, empty, config.data.datasets) or [(empty, first)]
    made: list[tuple[Draft, str]] = []
    for draft, dataset in ways:
        for quality in QUALITIES:
            base = _usual(home, draft.model_copy(update={"quality": quality}), dataset, machine)
            edits = forms.changed(base, told) if base else told
            made.append((draft.model_copy(update={"quality": quality, "edits": edits}), dataset))
        if any("data.datasets" not in d.edits for d, _ in made):
            break
    draft, dataset = min(made, key=lambda one: len(one[0].edits))
    return draft, dataset or first


def _ways(home: Home, draft: Draft, rows: Sequence[DatasetUse]) -> list[tuple[Draft, str]]:
    """How the form may say these rows, the shortest first."""
    *learnt, last = rows
    found = []
    if learnt and last == DatasetUse(name=last.name, repeats=last.repeats, prior=True):
        plain = [row.model_copy(update={"repeats": 1}) for row in learnt]
        found = [spread(home, draft, plain, _ours(home, last.name)), spread(home, draft, learnt, _ours(home, last.name))]
    return [way for way in (*found, spread(home, draft, rows)) if way]


def _usual(home: Home, draft: Draft, dataset: str, machine: Machine) -> TrainConfig | None:
    """What the preset makes of a draft without edits."""
    rows = uses.rows(home, draft.own, draft.more, dataset)[0]
    prior = "" if draft.prior == NOTHING else draft.prior
    pictures = sum(count_pictures(home, row["name"], row.get("part", "")) for row in rows or ({"name": dataset},) if not row.get("prior"))
    try:
        id = draft.preset or recommend(list_presets(plugins=home.plugins), machine).id
        return resolve(id, Answers(dataset=dataset, rows=rows, quality=draft.quality, trigger=draft.trigger, prior=prior), machine, pictures, home)
    except ValueError:
        return None

