"""The pieces of the Train page as HTML: the essentials, the presets, the plan.  Pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from html import escape
from types import MappingProxyType

from training import errors, registry
from training.config import TrainConfig
from training.data import concepts
from training.formats.adapting import is_whole
from training.formats.beside import is_beside
from training.plan.devices import CARDS
from training.plan.estimate import parts_said
from training.plan.hardware import Machine
from training.plan.presets import QUALITIES, Preset, fits

from ... import forms, views
from ...emblems import emblem
from ...icons import icon
from ...language import N_, point, tr, trn, whole
from ...language.heard import heard
from ...words import in_words
from . import paired, uses
from .draft import Base, Draft, Plan
from .missing import Missing

QUALITY_SAYS = {
    "quick": N_("A first look: does it learn the right thing?"),
    "balanced": N_("The usual choice."),
    "thorough": N_("More steps, for the best likeness."),
}
QUALITY_CALLED = {"quick": N_("Quick"), "balanced": N_("Balanced"), "thorough": N_("Thorough")}

MAKES = {"tags": N_("from tags"), "edit": N_("edits pictures"), "clip": N_("clips")}
LICENCES = {  # as the Hub writes it -> its own name
    "apache-2.0": "Apache 2.0", "mit": "MIT", "creativeml-openrail-m": "OpenRAIL-M", "openrail++": "OpenRAIL++-M", "fair-ai-public-license-1.0-sd": "Fair AI 1.0-SD",
}  # fmt: skip

# what of a run takes memory, as the estimate calls it
PARTS = (
    N_("blocks that are put together to run"), N_("base model"), N_("text encoders that learn"), N_("model and optimizer"), N_("adapter and optimizer"), N_("activations"),
    N_("image decoder for samples"), N_("gradients on their way"), N_("libraries and what they keep in reserve"), N_("CUDA itself"),
)  # fmt: skip

LONG_S = 2 * 86_400  # a training that takes longer than this here is hardly what was meant
SHOWN_BESIDE = ("dataset", "name", "trigger", "keep.on", "concept.targets", "concept.low", "prior", "gpu", "preset", "epochs")  # their faults stand beside the field, in plain sight


def essentials(draft: Draft, plan: Plan, datasets: list[tuple[str, str]], wrong: dict[str, str], cards: Sequence[tuple[str, str]] = (), learnt: Sequence[uses.Shown] = (), word: str = "") -> str:
    """The dataset, name, trigger word and what must stay as it is, each with its fault below it; a choice of cards, (UUID, name), where there are several.  word: what is known of the trigger word.

    Where words say what changes, they are asked for instead of pictures and a trigger word; pairs of pictures need nothing that stays as it is.
    learnt: the datasets of the run, the first one is the one that is chosen.
    """
    if plan.words:
        return (
            '<div class="ez-entries">'
            + _words(draft, plan, wrong)
            + _field("name", tr("Name"), _text("name", draft.name, plan.name, wrong, 400), tr("Of the run, and of the file it makes."), wrong)
            + _field("keep.on", tr("Keep what the base model knows"), _switch("keep.on", _keeps(draft, plan), wrong), _keep_help(plan), wrong)
            + _card(draft, cards, wrong)
            + "</div>"
        )
    if not datasets:
        picker = f'<button type="button" class="ez-btn" data-tab="dataset">{escape(tr("Add pictures first"))}</button>'
    else:
        picker = _select("dataset", tr("Choose …"), datasets, plan.dataset, wrong)
    others = [(name, title) for name, title in datasets if name != plan.dataset or name == draft.prior]
    if draft.prior and draft.prior not in dict(datasets):
        others.append((draft.prior, draft.prior))  # a dataset that is gone is shown, with its fault
    made = plan.config or plan.base
    clips = (str(made.data.frames), f"{made.data.fps:g}") if made and made.data.frames > 1 else ("", "")
    usual = {"trigger": draft.trigger, "resolutions": ", ".join(map(str, made.data.resolutions)) if made else "", "frames": clips[0], "fps": clips[1]}
    block = uses.block(learnt, datasets, usual, wrong)
    beside = uses.folder_choice(learnt[0] if learnt else None, len(learnt) == 1, wrong) + ("" if block or not learnt else uses.add_button())
    if "data.datasets" in draft.edits:
        picker, beside, block = _elsewhere(draft, plan), "", ""
    return (
        '<div class="ez-entries">'
        + _field("dataset", tr("Pictures"), picker, tr("The dataset to learn from."), wrong, beside)
        + _field("name", tr("Name"), _text("name", draft.name, plan.name, wrong, 400), tr("Of the run, and of the file it makes."), wrong)
        + _field(
            "trigger", tr("Trigger word"), _text("trigger", draft.trigger, tr("for example {word}", word="zibbo"), wrong, 400),
            tr("A made-up word that calls up what was learnt."), wrong, word,
        )
        + _field("keep.on", tr("Keep what the base model knows"), _switch("keep.on", _keeps(draft, plan), wrong), _keep_help(plan), wrong)
        + (_field(
            "prior", tr("Keep as it is"), _select("prior", tr("Nothing in particular"), others, draft.prior, wrong),
            tr("Pictures of what the base model knows and must not lose; they get no trigger word."), wrong,
        ) if plan.at_once else _low(draft, plan, datasets, wrong))
        + _card(draft, cards, wrong)
        + block
        + "</div>"
    )  # fmt: skip


def _elsewhere(draft: Draft, plan: Plan) -> str:
    """What stands in place of the choice of a dataset while a table of them was filled in that the form cannot show."""
    rows = plan.config.data.datasets if plan.config else ()
    named = "".join(f"<li>{escape(use.name)}</li>" for use in rows)
    back = f'<button type="button" class="ez-link" data-act="reset" data-field="data.datasets">{escape(tr("Choose a dataset instead"))}</button>'
    setting = tr(_named("data.datasets"))
    said = tr("Folders, as ‘{setting}’ in All settings says.", setting=setting)
    if rows:
        said = trn("{n} folder, as ‘{setting}’ in All settings says.", "{n} folders, as ‘{setting}’ in All settings says.", len(rows), setting=setting)
    return f'<div class="ez-use-elsewhere" id="train-dataset"><p>{escape(said)}</p><ul>{named}</ul>{back}</div>'


def _words(draft: Draft, plan: Plan, wrong: dict[str, str]) -> str:
    """What changes, as a table that can be filled in."""
    made, path = plan.config or plan.base, "concept.targets"
    objective = concepts.known(made) if made else None
    uses = ("target", *objective.NEEDS, *objective.TARGET_USES) if concepts.by_words(objective) else ()
    field = next(f for f in forms.fields(TrainConfig) if f.path == path)
    field = replace(field, unused=tuple(name for name in field.item.model_fields if uses and name not in uses))
    usual = forms.typed(field, forms.get(plan.base, path)) if plan.base else ""
    shown = draft.edits.get(path, forms.typed(field, forms.get(made, path)) if made else usual)
    return forms.setting(field, usual, shown, wrong.get(path, ""), shown.strip() != usual.strip(), "train")


def _low(draft: Draft, plan: Plan, datasets: list[tuple[str, str]], wrong: dict[str, str]) -> str:
    path = "concept.low"
    shown = draft.edits.get(path, "")
    others = [(name, title) for name, title in datasets if name != plan.dataset or name == shown]
    others += [(shown, shown)] if shown and shown not in dict(others) else []
    picker = _select(path, tr("In the same dataset: name.low and name.high"), others, shown, wrong)
    return _field(path, tr("Low ends"), picker, tr("Where the other picture of each pair is; of equal names in two datasets, the pictures above are the high ends."), wrong)


def _keeps(draft: Draft, plan: Plan) -> bool:
    made = plan.config or plan.base
    return draft.edits["keep.on"] == "on" if "keep.on" in draft.edits else bool(made and made.keep.on)


def _keep_help(plan: Plan) -> str:
    made = plan.config or plan.base
    kind = registry.get("adapters", made.adapter.type) if made and not made.keep.on else None
    if is_whole(kind):
        return tr("Not here: the whole model learns, so there is no base model beside it to ask.")
    if is_beside(kind):
        return tr("Not needed here: what learns hangs beside the base model, which stays as it is.")
    if plan.words:
        return tr("Prompts that speak of something else go on drawing what they drew before. Off trains faster and changes more.")
    return tr("Prompts without the trigger word go on drawing what they drew before. Off trains faster and forgets more.")


def _switch(path: str, on: bool, wrong: dict[str, str]) -> str:
    return f'<input type="checkbox" role="switch" class="ez-switch" {_common(path, "on" if on else "off", wrong)}{" checked" if on else ""}>'


def _card(draft: Draft, cards: Sequence[tuple[str, str]], wrong: dict[str, str]) -> str:
    if not cards:
        return ""
    picker = _select("gpu", tr("Any free card"), list(cards), draft.gpu if draft.gpu in dict(cards) else "", wrong)
    return _field("gpu", tr("Graphics card"), picker, tr("A run waits for the card that is chosen; others train beside it on the rest."), wrong)


def _select(path: str, none: str, choices: list[tuple[str, str]], chosen: str, wrong: dict[str, str]) -> str:
    options = "".join(
        f'<option value="{escape(name)}"{" selected" if name == chosen else ""}>{escape(title)}</option>' for name, title in [("", none), *choices]
    )
    return f'<select class="ez-input" {_common(path, chosen, wrong)}>{options}</select>'


def _common(path: str, value: str, wrong: dict[str, str]) -> str:
    described = f"train-{path}-help" + (f" train-{path}-fault" if path in wrong else "")
    bad = ' aria-invalid="true"' if path in wrong else ""
    return f'id="train-{path}" data-path="{path}" data-value="{escape(value)}" aria-describedby="{described}"{bad}'


def _text(path: str, value: str, hint: str, wrong: dict[str, str], longest: int) -> str:
    return (
        f'<input type="text" class="ez-input" value="{escape(value)}" placeholder="{escape(hint)}" maxlength="{longest}" '
        f'autocomplete="off" spellcheck="false" {_common(path, value, wrong)}>'
    )


def _field(path: str, word: str, control: str, help: str, wrong: dict[str, str], beside: str = "") -> str:
    fault = f'<p class="ez-error" id="train-{path}-fault" role="alert">{escape(in_words(wrong[path]))}</p>' if path in wrong else ""
    return (
        f'<div class="ez-entry"><label for="train-{path}">{escape(word)}</label>{control}{fault}'
        f'<p class="ez-help" id="train-{path}-help">{escape(help)}</p>{beside}</div>'
    )


def _named(path: str) -> str:
    return forms.label_of(path)


def presets(plan: Plan, draft: Draft, machine: Machine, bases: Sequence[Base], mine: str = "") -> str:
    """The base model, its preset cards, and the quality.  mine: HTML of the person's own presets."""
    if plan.preset is None:
        return f'<div class="ez-note ez-bad" role="alert">{escape(in_words(plan.wrong.get("preset", tr("There is no preset"))))}</div>'
    chosen = next((base for base in bases if plan.preset in base.presets), None)
    if plan.preset.own:  # its base model, so that what else can be learnt with it stands beside it
        chosen = next((base for base in bases if base.key == f"{plan.preset.family}:{plan.preset.source_model}"), None)
    if plan.pairs:
        bases = sorted(bases, key=lambda base: not plan.edit_presets & {p.id for p in base.presets})
    here = paired.first(chosen.presets if chosen else [plan.preset] if not plan.preset.own else [], plan.edit_presets, plan.pairs)
    able = [tr(base.title) for base in bases if plan.edit_presets & {p.id for p in base.presets}] if plan.pairs else []
    hint = paired.hint(able, any(p.id in plan.edit_presets for p in here))
    shown = [*here, *(p for p in plan.presets if not p.ok and not p.own)]
    cards = "".join(_preset(p, p.id == plan.preset.id, p.id == plan.recommended, machine, plan.pairs and p.id in plan.edit_presets) for p in shown)
    quality = draft.quality if draft.quality in QUALITIES else "balanced"
    levels = "".join(
        f'<button type="button" role="radio" aria-checked="{str(q == quality).lower()}" tabindex="{0 if q == quality else -1}" '
        f'data-act="quality" data-id="{q}">{escape(tr(QUALITY_CALLED[q]))}</button>'
        for q in QUALITIES
    )
    fault = f'<p class="ez-error" role="alert">{escape(in_words(plan.wrong["preset"]))}</p>' if "preset" in plan.wrong else ""
    steps = trn("{n} step.", "{n} steps.", plan.preset.steps(quality))
    return (
        f'<h2 class="ez-subtitle ez-gap-below" id="ez-which">{escape(tr("Which base model?"))}</h2>'
        f'<div class="ez-bases" role="radiogroup" aria-labelledby="ez-which">{"".join(_base(base, base is chosen) for base in bases)}</div>'
        + (f'<p class="ez-help ez-base-notes">{_about(chosen, bases)}</p>' if chosen else "")
        + (f'<p class="ez-help ez-base-notes">{escape(hint)}</p>' if hint else "")
        + f'<h2 class="ez-subtitle ez-quality-title" id="ez-what">{escape(tr("What should it learn?"))}</h2>'
        f'<div class="ez-presets" role="radiogroup" aria-labelledby="ez-what">{cards}</div>{mine}{fault}'
        f'<h2 class="ez-subtitle ez-quality-title" id="ez-how">{escape(tr("How thoroughly?"))}</h2>'
        f'<div class="ez-quality"><div class="ez-segment" role="radiogroup" aria-labelledby="ez-how">{levels}</div>'
        f'<p class="ez-help">{escape(tr(QUALITY_SAYS[quality]))} <span class="ez-num">{escape(steps)}</span></p></div>'
    )


def _base(base: Base, chosen: bool) -> str:
    short = f' title="{escape(in_words(base.short))}"' if base.short else ""
    facts = " · ".join(filter(None, (size(base), licence(base), "" if base.kind == "picture" else tr(MAKES[base.kind]))))
    return (
        f'<button type="button" class="ez-base{" is-short" if base.short else ""}" role="radio" aria-checked="{str(chosen).lower()}" '
        f'tabindex="{0 if chosen else -1}" data-act="base" data-id="{escape(base.key)}"{short}>{emblem(base.key, base.kind)}'
        f"<span><b>{escape(tr(base.title))}</b><small>{escape(facts)}</small></span></button>"
    )


def size(base: Base) -> str:
    """Billions of weights of a base model, of all its networks; "" for the small one."""
    billions = base.parameters / 1e9
    return tr("{n} B", n=point(f"{billions:.0f}" if billions >= 10 else f"{billions:.1f}")) if billions else ""


def licence(base: Base) -> str:
    """What its licence is called."""
    return LICENCES.get(base.licence[0]) or (tr("own licence") if base.licence[0] in ("", "other") else base.licence[0])


def _about(chosen: Base, bases: Sequence[Base]) -> str:
    """HTML: what there is to know of the chosen one."""
    told = tr("A few million weights, made to try Easel on any computer in minutes.") if chosen.builtin else in_words(tr(chosen.notes))
    dashed = f" {tr('Those with a dashed edge want more than this machine has.')}" if any(base.short for base in bases) else ""
    address = chosen.licence[1]
    link = f'<a href="{escape(address)}" target="_blank" rel="noopener noreferrer">{escape(tr("Its licence"))}</a>. ' if address and not chosen.builtin else ""
    return f"{escape(told)} {link}{escape(dashed.strip())}".strip()


def _preset(preset: Preset, chosen: bool, best: bool, machine: Machine, paired: bool = False) -> str:
    if not preset.ok:
        return (
            f'<div class="ez-preset is-broken" role="radio" aria-checked="false" aria-disabled="true"><span class="ez-preset-top"><b>{escape(tr(preset.title))}</b>'
            f'<span class="ez-chip ez-bad">{escape(tr("cannot be used"))}</span></span><p>{escape(heard(preset.error))}</p></div>'
        )
    short = fits(preset, machine)
    badge = f'<span class="ez-chip ez-ok">{escape(tr("recommended"))}</span>' if best else ""
    badge += f'<span class="ez-chip ez-idle">{escape(tr("for your pairs"))}</span>' if paired else ""
    least = point(f"{preset.needs_gb:g} GB")
    needs = in_words(short) if short else tr("From {size} of VRAM on.", size=least) if machine.device in CARDS else tr("From {size} of memory on.", size=least)
    return (
        f'<button type="button" class="ez-preset" role="radio" aria-checked="{str(chosen).lower()}" tabindex="{0 if chosen else -1}" '
        f'data-act="preset" data-id="{escape(preset.id)}"><span class="ez-preset-top"><b>{escape(tr(preset.title))}</b></span>'
        f"<p>{escape(tr(preset.blurb))}</p><p>{escape(tr(preset.for_whom))}</p>"
        f'<span class="ez-needs{" is-short" if short else ""}"><span>{escape(needs)}</span>{badge}</span></button>'
    )


def epochs_row(draft: Draft, plan: Plan, wrong: dict[str, str]) -> str:
    """The setting that says the steps in epochs; what it comes to is reckoned as the plan reckons it."""
    e, config = plan.estimate, plan.config
    told = ""
    if e and config and e.steps_per_epoch:
        seen = [(count, use.repeats * len(config.data.sides(use))) for count, use in zip(plan.seen, config.data.datasets, strict=True)]
        batch = config.data.batch_size * config.optimizer.accumulation
        made = uses.pieces_of_epoch(seen) if seen else trn("{n} picture", "{n} pictures", plan.pictures)
        steps, each = (trn("{n} step", "{n} steps", n) for n in (e.steps, e.steps_per_epoch))
        told = tr(
            "{pictures} × {epochs} epochs ÷ {batch} a step: {steps}, {each} an epoch.",
            pictures=f"({made})" if len(seen) > 1 else made, epochs=point(f"{e.epochs:.3g}"), batch=batch, steps=steps, each=each,
        )  # fmt: skip
        told += f" {tr('Repeats of single pictures are counted in.')}" if plan.seen != plan.counts else ""
    fault = f'<p class="ez-error" id="set-epochs-fault" role="alert">{escape(in_words(wrong["epochs"]))}</p>' if "epochs" in wrong else ""
    usual = f"{e.epochs:.3g}" if e else ""
    label, help = escape(tr("Epochs")), escape(tr("How often each picture is seen, instead of a number of steps."))
    return (
        f'<div class="ez-set ez-set-number" data-find="{label.lower()} epoch max_train_epochs num_train_epochs steps repeats passes"><div class="ez-set-text"><label for="set-epochs">{label}</label>'
        f'<p id="set-epochs-help">{help} {escape(told)}</p></div><div class="ez-set-input">'
        f'<input type="text" inputmode="decimal" class="ez-input" id="set-epochs" data-path="epochs" data-value="{escape(draft.epochs)}" value="{escape(draft.epochs)}" '
        f'placeholder="{usual}" autocomplete="off" aria-describedby="set-epochs-help"></div>{fault}</div>'
    )


def plan_card(plan: Plan, missing: list[Missing], thumbs: list[str], title: str, busy: str, fault: str, anyway: bool, fitted: Sequence[str] | None = None, titles: Mapping[str, str] = MappingProxyType({}), paused: bool = False, later: str = "") -> str:
    """What it will take, what is missing, and Start.

    busy: title of the run that uses the machine now.  fault: why the last click on Start did nothing.  anyway: it does not
    fit, that was said, and the next click starts it all the same.  fitted: what "Make it fit" has changed just now, None where it was not pressed.
    titles: what the datasets are called, by their names.  paused: so is the queue.  later: HTML of what else Start can mean.
    """
    e = plan.estimate
    problems = list(e.problems) if e else []
    faults = [tr("{setting}: {fault}", setting=tr(_named(path)), fault=heard(text)) if path else text for path, text in plan.wrong.items() if path not in SHOWN_BESIDE and not path.startswith(f"{uses.PLACE}.")]
    lines = [_line("warn", m.text, "warn", m.tab, m.link) for m in missing]
    lines += [_line("warn", text, "bad") for text in faults]
    lines += [_line("warn", p, "bad", number=errors.of(p).code) for p in problems]
    if e and e.too_large and fitted is not None:
        lines.append(_line("warn", tr("Nothing more makes it fit: close other programs, choose a smaller base model, or train on another machine"), "bad"))
    elif e and e.too_large:
        lines.append(f'<li><button type="button" class="ez-btn ez-primary ez-make-fit" data-act="fit" data-collect>{escape(tr("Make it fit"))}</button></li>')
    for word, texts in ((tr("Changed"), fitted), (tr("Set for this machine"), () if fitted else plan.adapted)):
        if texts:
            changes = "".join(f"<li>{escape(in_words(text))}</li>" for text in texts)
            lines.append(f'<li class="is-new">{icon("bolt")}<div><b>{escape(word)}</b><ul>{changes}</ul></div></li>')
    if e:
        of_parts = parts_said(e.parts)
        told = [_parts(e.parts) if s == of_parts else s for s in e.sentences if s not in problems]
        lines += [_line("check" if e.fits else "clock", s, "ok" if e.fits else "") for s in told]
    if e and plan.config and plan.at_once and plan.pictures:
        lines += filter(None, [_held_out(plan)])
    if paused:
        lines.append(_line("clock", tr("The queue is paused: this run waits in it until you let it go on, in Results"), "warn"))
    elif busy:
        lines.append(_line("clock", tr("'{title}' is running; this run waits in the queue and starts by itself", title=busy), ""))
    figures = ""
    if e:
        low, high = e.seconds_range
        unbroken = lambda seconds: views.about_duration(seconds).replace(" ", "\N{NO-BREAK SPACE}")
        time = f"~\N{NO-BREAK SPACE}{unbroken(e.seconds)}" if e.measured else f"{unbroken(low)} – {unbroken(high)}"
        figures = (
            '<div class="ez-stats">'
            + _stat(tr("Steps"), whole(e.steps))
            + _stat(tr("Time"), time)
            + _stat(tr("VRAM") if e.vram_bytes else tr("Memory"), views.gb(e.vram_bytes or e.ram_bytes))
            + _stat(tr("Disk"), views.gb(e.disk_bytes))
            + "</div>"
        )
    elif not missing:
        figures = f'<p class="ez-muted ez-small">{escape(tr("Steps, time and memory appear here as soon as this is mended:"))}</p>'
    slow = bool(e and e.seconds > LONG_S)
    if slow:
        told = tr("It would take about {time} here: choose a smaller base model or Quick, or train on a machine with a graphics card", time=views.about_duration(e.seconds))
        lines.insert(len(missing), _line("clock", told, "warn"))
    ready = e is not None and not (missing or faults or problems or slow)
    word = tr("Start anyway") if anyway else tr("Add to the queue") if busy or paused else tr("Start training")
    flag = " data-anyway" if anyway else ""
    said = f'<p class="ez-error" role="alert">{escape(in_words(fault))}</p>' if fault else ""
    return (
        f'<div class="ez-plan">{_pictures(plan, thumbs, title, titles)}{figures}<ul>{"".join(lines)}</ul><div class="ez-plan-go">'
        f'<button type="button" class="ez-btn{" ez-primary" * ready} ez-start" data-act="start" data-collect{flag}>{icon("bolt")}{escape(word)}</button>{said}{later}</div></div>'
    )


def _pictures(plan: Plan, thumbs: list[str], title: str, titles: Mapping[str, str]) -> str:
    ready = f'<h2 class="ez-subtitle">{escape(tr("Ready to start?"))}</h2>'
    if plan.words and not (plan.config and plan.config.data.datasets):
        return f'{ready}<p class="ez-muted ez-small">{escape(tr("No pictures are needed: the base model draws what it trains on."))}</p>'
    if not title:
        return ready
    rows = list(zip(plan.counts, plan.config.data.datasets, strict=True)) if plan.config else []
    kept = [use.name for _, use in rows if use.prior]
    several = len(rows) - len(kept) > 1
    listed = uses.summary([(titles.get(use.name, use.name) + (f" / {use.part}" if use.part else ""), count, use) for count, use in rows]) if several else ""
    title, told = (trn("{n} dataset", "{n} datasets", len(rows)), _counted(plan.pictures, [])) if several else (title, _counted(plan.pictures, kept))
    row = "".join(f'<img src="{escape(url)}" alt="" loading="lazy">' for url in thumbs)
    return (
        f'<div class="ez-plan-set"><span class="ez-plan-thumbs">{row}</span><div><h2 class="ez-subtitle">{escape(title)}</h2>'
        f'<span class="ez-muted ez-small">{escape(told)}</span></div></div>' + (f'<ul class="ez-plan-uses">{listed}</ul>' if listed else "")
    )


def _parts(parts: Mapping[str, float]) -> str:
    """What takes how much memory while a run learns, the largest first."""
    named = ", ".join(tr("{part} {size}", part=tr(name), size=views.gb(size)) for name, size in sorted(parts.items(), key=lambda part: -part[1]))
    return tr("While it learns: {parts}", parts=named)


def _counted(pictures: int, kept: Sequence[str]) -> str:
    """How many pictures are learnt.  kept: names of the datasets that are not."""
    if not kept:
        return trn("{n} picture", "{n} pictures", pictures)
    if len(kept) == 1:
        return trn("{n} picture; {dataset} is kept as it is", "{n} pictures; {dataset} is kept as it is", pictures, dataset=kept[0])
    return trn("{n} picture; {datasets} are kept as they are", "{n} pictures; {datasets} are kept as they are", pictures, datasets=", ".join(kept))


def _stat(name: str, value: str) -> str:
    return f'<div class="ez-stat"><span>{escape(name)}</span><b>{escape(value)}</b></div>'


def _held_out(plan: Plan) -> str:
    """How many pictures are held out and what for, with the switch; of a run that holds none out what that means, where it could."""
    held = plan.config.data.held_out
    if held:
        said = trn(
            "{n} picture of {of} is held out, without twins: it is not learnt, and shows which checkpoint is best",
            "{n} pictures of {of} are held out, spread over folders and without twins: they are not learnt, and show which checkpoint is best",
            held, of=plan.pictures,
        )  # fmt: skip
        return f'<li>{icon("check")}<span>{escape(said)} <button type="button" class="ez-link" data-act="learn-all">{escape(tr("Learn all of them"))}</button></span></li>'
    if not plan.base or not plan.base.data.held_out:
        return ""
    said, word = escape(tr("No picture is held out, so nothing can say which checkpoint is best")), escape(tr("Hold some out"))
    return f'<li>{icon("clock")}<span>{said} <button type="button" class="ez-link" data-act="reset" data-field="data.held_out">{word}</button></span></li>'


def _line(picture: str, text: str, look: str, tab: str = "", link: str = "", number: str = "") -> str:
    go = f' <button type="button" class="ez-link" data-tab="{tab}">{escape(link)}</button>' if tab else ""
    small = f' <span class="ez-code-line">{number}</span>' if number else ""
    return f'<li class="{f"is-{look}" if look else ""}">{icon(picture)}<span>{escape(in_words(text))}{small}{go}</span></li>'
