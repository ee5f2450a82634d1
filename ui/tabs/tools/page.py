"""The Tools tab as HTML: the tools, one tool's form, what is in a file, and what came of the tools.  Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from html import escape

from training.formats.inspecting import KINDS, LAYOUTS, Contents

from ... import counted, forms, views
from ...language import N_, point, tr, trc, trn
from ...language.heard import heard
from ...words import in_words
from .bench import LOOK, Tool

LISTED = "ez-adapters"  # the <datalist> of adapters that are here
NAMES = {"adapter", "adapters"}  # settings that name adapters
HASHES = {"sha256": "Sha256", "sha256 of the tensors": N_("Sha256 of the tensors")}  # what a hash is called, where that is not its name

# what the tools' workers say in one word, or make of two, so that it is not found among the engine's sentences
PHASES = (
    N_("merging"), N_("scaling"), N_("mending"), N_("downloading the depth model"), N_("downloading the person detector"), N_("downloading the pose model"),
    N_("depth model"), N_("person detector"), N_("pose model"),
)  # fmt: skip


@dataclass(frozen=True)
class Done:
    """One run of a tool, as the list shows it."""

    id: str
    title: str
    tool: str
    status: str
    text: str  # what came of it, or how far it is
    share: float | None = None
    warnings: tuple[str, ...] = ()
    download: str = ""  # address of the result
    adapter: bool = False  # whether it can be looked into
    kill_offered: bool = False
    folder: str = ""  # where the result lies, where it is no single file


def choices(tools: Sequence[Tool], chosen: str) -> str:
    """The list of tools, to choose one."""
    look = Tool(LOOK, N_("Look into a file"), N_("Family, rank, strength by block, hashes, and what is wrong with it."))
    return f'<div role="radiogroup" aria-label="{escape(tr("Tool"))}" class="ez-choices">{"".join(_choice(t, t.id == chosen, t.id == LOOK) for t in (look, *tools))}</div>'


def _choice(tool: Tool, on: bool, looks: bool) -> str:
    if tool.module is None and not looks:
        return (
            f'<div class="ez-choice is-broken" role="radio" aria-checked="false" aria-disabled="true"><b>{escape(tr(tool.title))}</b>'
            f"<span>{escape(tr('Does not load: {why}', why=heard(tool.error)))}</span></div>"
        )
    return (
        f'<button type="button" class="ez-choice{" is-on" if on else ""}" role="radio" aria-checked="{str(on).lower()}" tabindex="{0 if on else -1}" '
        f'data-act="tool" data-id="{escape(tool.id, quote=True)}"><b>{escape(tr(tool.title))}</b><span>{escape(tr(tool.blurb))}</span></button>'
    )


def form(tool: Tool, base, edits: Mapping[str, str], wrong: Mapping[str, str], choices: Mapping, named: Sequence[tuple[str, str]], busy: bool) -> str:
    """One tool's settings and its button."""
    changed = forms.changed(base, edits)
    rows = "".join(_setting(f, base, edits, wrong, f.path in changed, tool.id) for f in forms.fields(tool.module.Config, choices))
    fault = f'<p class="ez-error" role="alert">{escape(in_words(wrong[""]))}</p>' if wrong.get("") else ""
    start = f'<button type="button" class="ez-btn ez-primary" data-act="start" data-collect{" disabled" if busy else ""}>{escape(tr("Working …") if busy else tr(tool.title))}</button>'
    return (
        f'<div class="ez-tool"><h2 class="ez-subtitle">{escape(tr(tool.title))}</h2><p class="ez-muted">{escape(tr(tool.blurb))}</p>{_listed(named)}'
        f'<div class="ez-form">{rows}</div>{fault}<div class="ez-row">{start}</div></div>'
    )


def _setting(field: forms.Field, base, edits: Mapping[str, str], wrong: Mapping[str, str], is_changed: bool, tool: str) -> str:
    usual = forms.typed(field, forms.get(base, field.path))
    return forms.setting(field, usual, edits.get(field.path, usual), wrong.get(field.path, ""), is_changed, f"tool-{tool}", LISTED if field.path in NAMES else "")


def _listed(named: Sequence[tuple[str, str]]) -> str:
    options = "".join(f'<option value="{escape(value, quote=True)}">{escape(what)}</option>' for value, what in named)
    return f'<datalist id="{LISTED}">{options}</datalist>'


def look(file: str, named: Sequence[tuple[str, str]], fault: str = "") -> str:
    """The box of a file that is to be looked into."""
    wrong = f'<p class="ez-error" id="tool-look-fault" role="alert">{escape(in_words(fault))}</p>' if fault else ""
    lead = tr("Any .safetensors file: a LoRA of any program, a run of yours, a base model. Nothing in it is run.")
    return (
        f'<div class="ez-tool"><h2 class="ez-subtitle">{escape(tr("Look into a file"))}</h2><p class="ez-muted">{escape(lead)}</p>{_listed(named)}'
        f'<div class="ez-field"><label class="ez-label" for="tool-look">{escape(tr("File"))}</label>'
        f'<input id="tool-look" class="ez-input" data-path="@file" data-value="{escape(file, quote=True)}" value="{escape(file, quote=True)}" list="{LISTED}" '
        f'placeholder="{escape(tr("a run, RUN/STEP, a file or a Hub id"))}" autocomplete="off" spellcheck="false"{" aria-invalid=true aria-describedby=tool-look-fault" if fault else ""}>{wrong}</div>'
        f'<div class="ez-row"><button type="button" class="ez-btn ez-primary" data-act="look" data-collect>{escape(tr("Look into it"))}</button></div></div>'
    )


def contents(found: Contents | None) -> str:
    """What is in a file, strength by block as bars."""
    if found is None:
        return ""
    odd = "".join(f'<p class="ez-note ez-warn">{escape(in_words(text))}</p>' for text in found.odd)
    rows = "".join(f'<dt>{escape(label)}</dt><dd class="">{escape(value)}</dd>' for label, value in _facts(found) if value)
    rows += "".join(f'<dt>{escape(tr(HASHES[name]) if name in HASHES else name)}</dt><dd class="ez-mono">{escape(value)}</dd>' for name, value in found.hashes.items())
    said = "".join(f"<dt>{escape(k)}</dt><dd>{escape(v[:2000])}</dd>" for k, v in sorted(found.metadata.items()))
    meta = f'<details data-key="tool-meta"><summary>{escape(trn("{n} line that it says of itself", "{n} lines that it says of itself", len(found.metadata)))}</summary><dl class="ez-facts">{said}</dl></details>' if said else ""
    return f'<div role="status">{odd}<dl class="ez-facts">{rows}</dl>{_bars(found)}{meta}</div>'


def _facts(found: Contents) -> list[tuple[str, str]]:
    """[(label, value)] as inspecting.told() has them, but for blocks, hashes and what is odd; "" where one does not apply."""
    formats = reduce(lambda a, b: tr("{one} and {other}", one=a, other=b), found.formats) if found.formats else ""
    families = counted.either(found.families) if found.families else ""
    file = trn(
        "{file}, {size}, {n} tensor, {numbers} numbers in {formats}", "{file}, {size}, {n} tensors, {numbers} numbers in {formats}", found.tensors,
        file=found.name, size=views.exact_size(found.size_bytes), numbers=found.parameters, formats=formats,
    )  # fmt: skip
    if found.layout == LAYOUTS["comfyui"]:
        layers = tr("{layers}, named as the model's first release names them", layers=found.layers)
    else:
        layers = tr("{layers}, named as {program} names them", layers=found.layers, program=found.layout)
    return [
        (tr("File"), file), (tr("Kind"), KINDS.get(found.kind, "")), (trc("made for a family", "For"), families),
        (tr("Layers"), layers if found.layers else ""), (tr("Rank"), _counted(found.ranks, found.layers)), (tr("Alpha"), _counted(found.alphas, found.layers)),
        (tr("Read by"), ", ".join(found.readers)), (tr("Trigger word"), found.trigger),
    ]  # fmt: skip


def _counted(values: Mapping[float, int], layers: int) -> str:
    """A value that all layers have, or each one and how many have it."""
    said = {value: point(f"{value:g}") for value in values}
    return ", ".join(said[value] if n == layers else trn("{value} ({n} layer)", "{value} ({n} layers)", n, value=said[value]) for value, n in values.items())


def _bars(found: Contents) -> str:
    """Strength by block, as a picture and as numbers."""
    most = max((b.strength for b in found.blocks), default=0.0)
    if not most:
        return ""
    bars = "".join(
        f'<li><span class="ez-oneline" title="{escape(b.name)}">{escape(b.name)}</span><i style="--share:{b.strength / most:.3f}"></i><b class="ez-num">{views.number(b.strength)}</b></li>'
        for b in found.blocks
    )
    return f'<h3 class="ez-subtitle">{escape(tr("Strength by block"))}</h3><ul class="ez-bars">{bars}</ul>'


def history(runs: Sequence[Done]) -> str:
    """What the tools made, newest first."""
    if not runs:
        return f'<p class="ez-muted ez-small">{escape(tr("What the tools make is listed here."))}</p>'
    return "".join(_done(run) for run in runs)


def _done(run: Done) -> str:
    acts = []
    button = lambda act, word, look="": f'<button type="button" class="ez-btn {look}" data-act="{act}" data-id="{escape(run.id, quote=True)}">{escape(word)}</button>'
    if run.status in ("running", "starting", "queued"):
        acts += [button("stop", tr("Stop"))] + [button("kill", tr("End it now"), "ez-danger")] * run.kill_offered
    else:
        acts += [f'<a class="ez-btn" href="{escape(run.download, quote=True)}" download>{escape(tr("Download"))}</a>'] if run.download else []
        acts += [button("see", tr("Look into it"))] if run.adapter else []
        acts += [button("delete", tr("Delete"), "ez-quiet")]
    bar = "" if run.status not in ("running", "starting") else '<div class="ez-bar ez-busy"><i></i></div>' if run.share is None else f'<div class="ez-bar"><i style="width:{100 * run.share:.1f}%"></i></div>'
    notes = "".join(f'<p class="ez-note ez-small">{escape(in_words(text))}</p>' for text in run.warnings)
    where = f'<p class="ez-mono ez-small">{escape(run.folder)}</p>' if run.folder else ""
    said = tr("{title}: {text}", title=tr(run.tool), text=in_words(run.text)) if run.text else tr(run.tool)
    return (
        f'<article class="ez-done"><div class="ez-spread"><b class="ez-oneline">{escape(run.title)}</b>{views.chip(run.status)}</div>'
        f'<p class="ez-muted ez-small">{escape(said)}</p>{bar}{where}{notes}<div class="ez-row">{"".join(acts)}</div></article>'
    )
