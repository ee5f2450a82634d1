"""The captioner's form: what was chosen and typed -> HTML, and -> a captioning job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from pydantic import BaseModel, ValidationError

from training import registry
from training.data.datasets import Dataset
from training.home import Home
from training.jobs import caption
from training.names import folder_name
from training.registry import Plugin

from ... import forms
from ...language import tr, trc, trn
from ...language.heard import heard
from ...words import in_words

FIRST = "florence2"
ORDER = (FIRST, "vision", "tagger", "server", "filename", "template")  # what looks, then what does not; others behind
MODES = ("missing", "overwrite", "append")
PLACES = ("behind", "front", "line")
OWN_FIELDS = ("trigger",)  # the job's trigger word goes to a captioner that has a place for it


class Kept(BaseModel):
    """What was chosen and typed, kept as a draft; it may be of another version, or name a captioner that is gone."""

    captioner: str = FIRST
    mode: str = "missing"
    place: str = "behind"
    apart: bool = True
    scenes: bool = True
    trigger: str = ""
    settled: str = ""  # the trial that was closed
    options: dict[str, dict[str, str]] = {}  # captioner -> field -> typed text


@dataclass(frozen=True)
class Settings:
    """What the form holds, as far as it makes sense now."""

    captioner: str
    mode: str
    place: str
    apart: bool
    trigger: str
    edits: Mapping[str, str]  # of the chosen captioner
    scenes: bool = True


def plugins(home: Home) -> dict[str, Plugin]:
    """The captioners that were found, in ORDER; broken ones last."""
    found = registry.find("captioning", home.plugins)
    return dict(sorted(found.items(), key=lambda item: (not item[1].ok, ORDER.index(item[0]) if item[0] in ORDER else len(ORDER), item[0])))


def complete(kept: Kept, found: Mapping[str, Plugin]) -> Settings:
    """The settings that were kept, where they still make sense."""
    usable = [id for id, plugin in found.items() if plugin.ok]
    id = kept.captioner if kept.captioner in usable else (usable[0] if usable else "")
    mode = kept.mode if kept.mode in MODES else "missing"
    place = kept.place if kept.place in PLACES else "behind"
    return Settings(id, mode, place, kept.apart, kept.trigger, kept.options.get(id, {}), kept.scenes)


def edited(kept: Kept, id: str, path: str, value: str) -> Kept:
    """`kept` after one field was changed.  id: the captioner that is shown.  Paths of the job's own fields start with '@'."""
    if path == "@trigger":
        return kept.model_copy(update={"trigger": value})
    if path in ("@apart", "@scenes"):
        return kept.model_copy(update={path[1:]: value == "on"})
    return kept.model_copy(update={"options": {**kept.options, id: {**kept.options.get(id, {}), path: value}}})


def reset(kept: Kept, id: str, path: str) -> Kept:
    """`kept` with one option of a captioner back at its default."""
    left = {k: v for k, v in kept.options.get(id, {}).items() if k != path}
    return kept.model_copy(update={"options": {**kept.options, id: left}})


def job(home: Home, ds: Dataset, now: Settings, device: str, pictures: Sequence[str] = (), trial: bool = False) -> tuple[caption.Config | None, dict[str, str]]:
    """(the job, {}), or (None, {field: what is wrong with it}); '' is the field of what concerns the whole.  pictures: whom it reaches; none for all."""
    found = plugins(home)
    if now.captioner not in found or not found[now.captioner].ok:
        return None, {"": tr("Choose a captioner first.")}
    module = found[now.captioner].module
    if lacking := caption.lacks(module):
        return None, {"": lacking}
    options, wrong = forms.assemble(module.Options(), now.edits)
    if options is None:
        return None, wrong
    given = {k: v for k, v in options.model_dump().items() if k not in OWN_FIELDS}
    try:
        config = caption.Config(
            name=folder_name(f"{ds.title[:60]} captions"), dataset=ds.name, captioner=now.captioner, options=given, mode=now.mode,
            trigger=now.trigger, device=device, pictures=tuple(pictures), trial=trial, scenes=now.scenes, **_beside(now),
        )  # fmt: skip
        given = caption.options_of(module, config)
        problem = module.needs(given) if hasattr(module, "needs") else ""
        hindrance = caption.refusal(module, given)
    except ValidationError as error:
        return None, {"@trigger" if e["loc"] == ("trigger",) else "": str(e.get("ctx", {}).get("error", e["msg"])) for e in error.errors()}
    except ValueError as error:
        return None, {"": str(error)}
    if hindrance or (problem and not hasattr(module, "fetch")):
        return None, {"": hindrance or problem}
    return config, {}


def _beside(now: Settings) -> dict[str, object]:
    """How new text is put beside the old one, where it is."""
    if now.mode != "append":
        return {}
    return {"place": now.place} | ({"apart": now.apart} if now.place != "line" else {})


def notice(home: Home, now: Settings) -> str:
    """What the captioner says about itself for these options, such as the size of its download, or where pictures go; '' for nothing."""
    plugin = plugins(home).get(now.captioner)
    if plugin and plugin.ok and (lacking := caption.lacks(plugin.module)):
        return lacking
    if plugin is None or not plugin.ok or not (hasattr(plugin.module, "fetch") or hasattr(plugin.module, "says")):
        return ""
    options, _ = forms.assemble(plugin.module.Options(), now.edits)
    if options is None:
        return ""
    return (plugin.module.needs(options) if hasattr(plugin.module, "needs") else "") or (plugin.module.says(options) if hasattr(plugin.module, "says") else "")


def render(home: Home, now: Settings, wrong: Mapping[str, str], busy: bool = False, reach: str = "", mark: str = "") -> str:
    """The whole form as HTML, for a gr.HTML bound with client.BIND.  busy: a captioning run is going, so none can be started.  reach, mark: which pictures, where not all; see scope.Whom."""
    found = plugins(home)
    cards = "".join(_card(id, plugin, id == now.captioner) for id, plugin in found.items())
    chosen = found[now.captioner].module if now.captioner in found else None
    options = _options(chosen.Options(), now, wrong, chosen.NEEDS_PIXELS) if chosen else ""
    said = notice(home, now)
    note = f'<p class="ez-note ez-small">{escape(in_words(said))}</p>' if said else ""
    fault = f'<p class="ez-error" role="alert">{escape(in_words(wrong[""]))}</p>' if wrong.get("") else ""
    return (
        f'<div class="ez-captioner"><div role="radiogroup" aria-label="{escape(tr("Captioner"))}" class="ez-choices">{cards}</div>{note}{options}'
        f"{_modes(now)}{_trigger(now, wrong)}{_start(busy, reach, mark, fault)}</div>"
    )


def _card(id: str, plugin: Plugin, on: bool) -> str:
    if not plugin.ok:
        return (
            f'<div class="ez-choice is-broken" role="radio" aria-checked="false" aria-disabled="true"><b>{escape(id)}</b>'
            f'<span>{escape(tr("Does not load: {why}", why=heard(plugin.error)))}</span><span class="ez-mono">{escape(plugin.source)}</span></div>'
        )
    blurb = escape(tr(plugin.module.BLURB))
    return (
        f'<button type="button" class="ez-choice{" is-on" if on else ""}" role="radio" aria-checked="{str(on).lower()}" tabindex="{0 if on else -1}" '
        f'data-act="captioner" data-id="{escape(id, quote=True)}" title="{blurb}"><b>{escape(tr(plugin.module.TITLE))}</b><span>{blurb}</span></button>'
    )


def _options(base: BaseModel, now: Settings, wrong: Mapping[str, str], looks: bool) -> str:
    """looks: it looks at pictures, so it may describe a clip scene by scene."""
    found = forms.fields(type(base), leave_out=OWN_FIELDS)
    if not found:
        return ""
    changed = forms.changed(base, now.edits)
    rows = "".join(_setting(f, base, now, wrong, f.path in changed) for f in found)
    if looks:
        rows += (
            f'<label class="ez-switched"><input type="checkbox" role="switch" class="ez-switch" data-path="@scenes" data-value="{"on" if now.scenes else "off"}"{" checked" if now.scenes else ""}>'
            f'<span>{escape(tr("Describe each scene of a clip by itself, a line each with its time"))}</span></label>'
        )
    force = " data-force" if any(f.path in wrong for f in found) else ""
    badge = f'<span class="ez-badge">{escape(trn("{n} changed", "{n} changed", len(changed)))}</span>' if changed else ""
    return f'<details class="ez-options" data-key="captioner"{force}><summary>{escape(tr("Options"))} {badge}</summary><div class="ez-form">{rows}</div></details>'


def _setting(field: forms.Field, base: BaseModel, now: Settings, wrong: Mapping[str, str], is_changed: bool) -> str:
    usual = forms.typed(field, forms.get(base, field.path))
    shown = now.edits.get(field.path, usual)
    return forms.setting(field, usual, shown, wrong.get(field.path, ""), is_changed, f"cap-{now.captioner}")


def _modes(now: Settings) -> str:
    how = ""
    if now.mode == "append":
        how = _segs("place", tr("Where the new text goes"), _places(), now.place)
        if now.place != "line":
            how += (
                f'<label class="ez-switched"><input type="checkbox" role="switch" class="ez-switch" data-path="@apart" data-value="{"on" if now.apart else "off"}"{" checked" if now.apart else ""}>'
                f'<span>{tr("Keep tags and sentences apart: <code>|||</code> between them, so that shuffled tags leave the sentences whole")}</span></label>'
            )
    return f'<div class="ez-field"><span class="ez-label">{escape(tr("Pictures"))}</span>{_segs("mode", tr("Which pictures"), _modes_said(), now.mode)}{how}</div>'


def _modes_said() -> list[tuple[str, str, str]]:
    """(mode, its name, one sentence) each."""
    said = (
        (trc("pictures", "Missing"), tr("Only pictures without a caption; the others keep theirs.")),
        (mode_name("overwrite"), tr("Every caption is replaced; undo brings the old ones back.")),
        (mode_name("append"), tr("The new text is put beside the old one; tags that are there already are left out.")),
    )
    return [(mode, *words) for mode, words in zip(MODES, said, strict=True)]


def mode_name(mode: str) -> str:
    """What a mode that also reaches pictures with a caption is called."""
    return {"overwrite": trc("captions", "All anew"), "append": trc("captions", "Add to")}[mode]


def _places() -> list[tuple[str, str, str]]:
    """(place, its name, one sentence) each."""
    said = (
        (trc("new text", "Behind"), tr("After what is there.")),
        (trc("new text", "In front"), tr("Before what is there; the trigger word stays first.")),
        (trc("new text", "One more"), tr("A line of its own: one more caption of the picture. One of them is drawn at each use.")),
    )
    return [(place, *words) for place, words in zip(PLACES, said, strict=True)]


def _segs(act: str, label: str, choices: Sequence[tuple[str, str, str]], now: str) -> str:
    buttons = "".join(
        f'<button type="button" role="radio" aria-checked="{str(id == now).lower()}" tabindex="{0 if id == now else -1}" class="ez-seg'
        f'{" is-on" if id == now else ""}" data-act="{act}" data-id="{id}">{escape(word)}</button>'
        for id, word, _ in choices
    )
    help = next(text for id, _, text in choices if id == now)
    return f'<div role="radiogroup" aria-label="{escape(label)}" class="ez-segs">{buttons}</div><p>{escape(help)}</p>'


def _start(busy: bool, reach: str, mark: str, fault: str) -> str:
    state = f' disabled title="{escape(tr("One captioning at a time"))}"' if busy else ""
    tries = state or f' title="{escape(tr("Shows beside the present captions what it would write; nothing is written until you accept it"))}"'
    word = tr("Captioning …") if busy else tr("Start captioning")
    whom = f'<p class="ez-small ez-muted" id="ez-caption-reach">{escape(reach)}</p>' if reach else ""
    # data-collect sends along what is in the boxes: a box that is left by this very click is not saved yet
    told = f' data-reach="{escape(mark)}"'  # what the press is about: refused where it would reach others by then
    return (
        f'<div class="ez-caption-go">{fault}{whom}<div class="ez-row"><button type="button" id="ez-caption-start" class="ez-btn ez-primary" data-act="start" data-collect{told}{state}>{escape(word)}</button>'
        f'<button type="button" id="ez-caption-try" class="ez-btn" data-act="try" data-collect{told}{tries}>{escape(tr("Try on three"))}</button></div></div>'
    )


def _trigger(now: Settings, wrong: Mapping[str, str]) -> str:
    fault = wrong.get("@trigger", "")
    error = f'<p class="ez-error" role="alert" id="cap-trigger-fault">{escape(in_words(fault))}</p>' if fault else ""
    invalid = ' aria-invalid="true"' if fault else ""
    return (
        f'<div class="ez-field"><label class="ez-label" for="cap-trigger">{escape(tr("Trigger word"))}</label>'
        f'<input id="cap-trigger" class="ez-input" data-path="@trigger" data-value="{escape(now.trigger, quote=True)}" value="{escape(now.trigger, quote=True)}" '
        f'placeholder="{escape(trc("trigger word", "none"))}" autocomplete="off" spellcheck="false" aria-describedby="cap-trigger-help"{invalid}>'
        f'<p id="cap-trigger-help">{escape(tr("Goes in front of every caption that lacks it. A made-up word works best."))}</p>{error}</div>'
    )
