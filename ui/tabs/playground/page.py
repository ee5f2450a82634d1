"""The pieces of the Playground as HTML: the form, the pictures, the votes, the history.  Pure functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from training.plan.ranking import Rank

from ... import views
from ...icons import icon
from ...language import N_, point, tr, trc, trn, whole
from ...language.heard import heard
from .asks import MODES, NO_RUN, Bench, Made, Wish
from .besides import Takes, ways

BY_CHECKPOINT = ("checkpoints", "film", "vote")  # ways to draw in which each picture is another checkpoint
EXAMPLE = "a red circle"  # a prompt, which is English in every language: so the small model that comes with Easel was taught
Source = Callable[[str], str]  # path inside the studio's run -> URL

HINTS = {
    "one": N_("One picture with the chosen LoRA at the chosen strength."),
    "before": N_("The same seed without and with the LoRA, under a slider."),
    "strengths": N_("The same seed at strengths from −2 to 2."),
    "checkpoints": N_("The same seed at every checkpoint of the run."),
    "two": N_("The first LoRA, a second one, and both together, on the same seed."),
    "film": N_("The same seed at every checkpoint, as a GIF and an MP4."),
    "repair": N_("Some blocks stronger, weaker or from another LoRA; before and after, on the same seed."),
    "vote": N_("Two checkpoints without their names: say which picture is better. The votes rank them."),
}

BESIDE_HINTS = {
    "one": N_("One picture, with the {kind} of this run."),
    "before": N_("The same seed without and with the {kind}, under a slider."),
    "two": N_("The {kind} alone, and with a LoRA, on the same seed."),
}


@dataclass(frozen=True)
class Engine:
    """How the studio stands.  phase: what it does, "" where the model is not loaded.  blocked: why nothing can be drawn now."""

    phase: str = ""
    detail: str = ""
    ready: bool = False
    memory_bytes: int = 0
    blocked: str = ""


@dataclass(frozen=True)
class Shown:
    """What a network beside the base model can be shown.  control: they are control pictures; thumb: address of the chosen one, "" where there is none."""

    control: bool
    options: Sequence[tuple[str, str]]
    thumb: str = ""


@dataclass(frozen=True)
class Makings:
    """What the base model can make pictures from.  chosen: what is chosen, its name, and the address of its thumbnail, "" where there is none."""

    takes: Takes
    options: Sequence[tuple[str, str]]
    chosen: Sequence[tuple[str, str, str]]


@dataclass(frozen=True)
class Waiting:
    """A request that is being drawn."""

    id: str
    done: int
    of: int


def form(wish: Wish, bench: Bench, samplers: Sequence[tuple[str, str]], fault: str, shown: Shown | None = None, makings: Makings | None = None) -> str:
    """What is drawn with, what is drawn, and Draw."""
    run = bench.run.id if bench.run else wish.run if wish.run in dict(bench.choices) else bench.choices[0][0]
    last = trc("checkpoint", "Finished") if bench.points and bench.points[-1] == "final" else trc("checkpoint", "Newest")
    points = [("final", last)] + [(p, tr("Step {step}", step=int(p))) for p in reversed(bench.points) if p != "final"]
    u = bench.usual
    parts = [_field(tr("Draw with"), _select("run", run, bench.choices), "ez-play-run")]
    if bench.run:
        parts += [_field(tr("Checkpoint"), _select("checkpoint", wish.checkpoint if wish.checkpoint in dict(points) else "final", points), "ez-play-checkpoint"), _strength(wish)]
    if shown:
        parts.append(_shown(wish, shown))
    if makings:
        parts.append(_makings(makings))
    parts.append(_modes(wish, bench))
    if wish.mode in ("two", "repair"):
        second = tr("Donor, if any") if wish.mode == "repair" else tr("Second LoRA")
        others = "".join(f'<option value="{escape(id)}">{escape(title)}</option>' for id, title in bench.choices if not id.startswith("base:"))
        parts.append(_field(second, _text("other", wish.other, tr("A run, a .safetensors file or a Hub id"), 'list="ez-play-others"') + f'<datalist id="ez-play-others">{others}</datalist>', "ez-play-other"))
        parts.append(_field(tr("Its strength"), _text("other_strength", wish.other_strength, "1", 'inputmode="decimal"'), "ez-play-other_strength"))
    parts.append(_field(tr("Prompt"), _area("prompt", wish.prompt, f"{u['trigger'] or EXAMPLE} …", "draw"), "ez-play-prompt"))
    trouble = f'<p class="ez-error" role="alert">{escape(fault)}</p>' if fault else ""
    parts.append(
        f'{trouble}<button type="button" class="ez-btn ez-primary ez-play-draw" data-act="draw" data-collect>{icon("brush")}'
        f'{escape(tr("Draw two") if wish.mode == "vote" else tr("Draw"))}</button>'
    )
    size = tr("the shape of the picture") if makings and makings.chosen else "×".join(map(str, u["sizes"][0]))
    negative = u["negative"] if wish.negative is None else wish.negative
    more = [
        _field(tr("Seed"), f'<span class="ez-play-seed">{_text("seed", wish.seed, "42", "inputmode=numeric")}<button type="button" class="ez-btn" data-act="dice" data-collect>{escape(trc("seed", "New"))}</button></span>', "ez-play-seed"),
        _field(tr("Steps"), _text("steps", wish.steps, str(u["steps"]), "inputmode=numeric"), "ez-play-steps"),
        _field(tr("Guidance"), _text("guidance", wish.guidance, f"{u['guidance']:g}", "inputmode=decimal"), "ez-play-guidance"),
        _field(tr("Size in px"), _text("size", wish.size, size), "ez-play-size"),
        _field(tr("Sampler"), _select("sampler", wish.sampler, samplers), "ez-play-sampler"),
        _field(tr("Not to show"), _text("negative", negative, tr("nothing")), "ez-play-negative"),
    ]
    parts.append(f'<details class="ez-drawer" data-key="play-more"><summary>{escape(tr("Seed, size and sampler"))}</summary><div class="ez-play-more">{"".join(more)}</div></details>')
    return f'<div class="ez-play-form{" ez-play-shows" if shown or makings else ""}">{"".join(parts)}</div>'


def _shown(wish: Wish, shown: Shown) -> str:
    """What the network is shown: one of a dataset's, or one that was dropped below."""
    options = [("", tr("Choose one, or drop one below")), *shown.options]
    seen = f'<img class="ez-play-shown" src="{escape(shown.thumb)}" alt="">' if shown.thumb else ""
    value = wish.shown if wish.shown in dict(options) else ""
    label = tr("Shown control picture") if shown.control else tr("Shown picture")
    return f'<div class="ez-play-showing">{_field(label, _select("shown", value, options), "ez-play-shown-of")}{seen}</div>'


def _makings(makings: Makings) -> str:
    """What pictures are made from: some of the run's datasets, or dropped below."""
    takes = makings.takes
    if takes.first:
        label = tr("The clip begins with") if takes.needed else tr("The clip begins with, if anything")
    else:
        label = tr("Made from") if takes.needed else tr("Made from, if anything")
    rows = "".join(
        f'<li><button type="button" class="ez-tag" data-act="less_from" data-id="{escape(one)}" data-collect aria-label="{escape(tr("Leave out {picture}", picture=name))}">'
        f'{f"""<img src="{escape(thumb)}" alt="">""" if thumb else ""}{escape(name)}{icon("close")}</button></li>'
        for one, name, thumb in makings.chosen
    )
    listed = f'<ul class="ez-play-from">{rows}</ul>' if rows else ""
    full = len(makings.chosen) >= takes.most > 1
    invites = tr("Choose one, or drop one below") if not rows or takes.most == 1 else tr("One more, or drop one below")
    pick = "" if full or not makings.options else _field(label, _select("more_from", "", [("", invites), *makings.options]), "ez-play-more-from")
    head = "" if pick else f'<span class="ez-label">{escape(label)}</span>'
    return f'<div class="ez-field">{head}{pick}{listed}</div>'


def _field(label: str, control: str, id: str) -> str:
    return f'<div class="ez-field"><label class="ez-label" for="{id}">{escape(label)}</label>{control.replace("ID", id, 1)}</div>'


def _select(path: str, value: str, options: Sequence[tuple[str, str]]) -> str:
    rows = "".join(f'<option value="{escape(v)}"{" selected" if v == value else ""}>{escape(t)}</option>' for v, t in options)
    return f'<select class="ez-input" id="ID" data-path="{path}" data-value="{escape(value)}">{rows}</select>'


def _text(path: str, value: str, hint: str, more: str = "") -> str:
    return f'<input type="text" class="ez-input" id="ID" data-path="{path}" value="{escape(value)}" data-value="{escape(value)}" placeholder="{escape(hint)}" maxlength="2000" autocomplete="off" {more}>'


def _area(path: str, value: str, hint: str, enter: str) -> str:
    return (
        f'<textarea class="ez-input" id="ID" rows="3" data-path="{path}" data-value="{escape(value)}" data-enter="{enter}" maxlength="4000" '
        f'placeholder="{escape(hint)}">{escape(value)}</textarea>'
    )


def _strength(wish: Wish) -> str:
    return (
        f'<div class="ez-field"><label class="ez-label ez-spread" for="ez-play-strength"><span>{escape(tr("Strength"))}</span><output class="ez-num">{escape(wish.strength)}</output></label>'
        f'<input type="range" class="ez-range" id="ez-play-strength" min="-2" max="2" step="0.1" value="{escape(wish.strength)}" data-path="strength" data-value="{escape(wish.strength)}">'
        '<div class="ez-scale" aria-hidden="true"><span>−2</span><span>−1</span><span>0</span><span>1</span><span>2</span></div></div>'
    )


def _modes(wish: Wish, bench: Bench) -> str:
    """The ways to draw; with a network beside the base model, those that need no LoRA."""
    modes = {mode: title for mode, title in MODES.items() if bench.beside is None or mode in ways(bench.beside)}
    hint = tr(BESIDE_HINTS[wish.mode], kind=tr(bench.beside.title)) if bench.beside and wish.mode in BESIDE_HINTS else tr(HINTS.get(wish.mode, ""))
    rows = "".join(
        f'<button type="button" class="ez-seg{" is-on" if mode == wish.mode else ""}" role="radio" aria-checked="{str(mode == wish.mode).lower()}" '
        f'tabindex="{0 if mode == wish.mode else -1}" data-act="mode" data-id="{mode}" data-collect>{escape(tr(title))}</button>'
        for mode, title in modes.items()
    )
    return f'<div class="ez-field"><div class="ez-segs ez-play-modes" role="radiogroup" aria-label="{escape(tr("What to draw"))}">{rows}</div><p class="ez-muted">{escape(hint)}</p></div>'


def engine(state: Engine) -> str:
    """Whether the model is in memory, how much it takes, and Close."""
    if state.blocked:
        return f'<div class="ez-note ez-warn" role="status">{escape(state.blocked)}</div>'
    if not state.phase:
        return f'<p class="ez-play-engine ez-muted ez-small"><i class="ez-lamp"></i>{escape(tr("The model is not loaded; the first picture takes some seconds longer."))}</p>'
    size = f" · {views.size(state.memory_bytes)}" if state.memory_bytes else ""
    said = tr("The model is loaded") if state.ready else views.sentence_start(state.phase)
    return (
        f'<div class="ez-play-engine ez-small" role="status"><i class="ez-lamp is-on"></i><span>{escape(said)}{escape(size)}{escape(" · " + state.detail if state.detail else "")}</span>'
        f'<button type="button" class="ez-link ez-small" data-act="close" title="{escape(tr("The model leaves the memory"))}">{escape(trc("model", "Close"))}</button></div>'
    )


def stage(made: Made | None, files: Sequence[str], waiting: Waiting | None, src: Source, notice: str, hidden: bool, publishable: bool) -> str:
    """The pictures of a request: made, or as many as there are of one that is being drawn.  hidden: a vote that was not given yet."""
    said = f'<p class="ez-notice" role="status">{escape(notice)}</p>' if notice else ""
    if waiting:
        share = tr("{done} of {of}", done=waiting.done, of=waiting.of) if waiting.of > 1 else ""
        blanks = "".join('<div class="ez-play-blank"></div>' for _ in range(max(0, waiting.of - len(files))))
        shown = "" if hidden else "".join(f'<img class="ez-play-pic" src="{escape(src(f))}" alt="">' for f in files)
        return f'<div class="ez-play-now" role="status"><b>{escape(tr("Drawing …"))}</b><span class="ez-muted ez-num">{share}</span></div><div class="ez-play-row ez-play-{waiting.of}">{shown}{blanks}</div>{said}'
    if made is None:
        lead = tr("Write a prompt and press Draw. The model stays in memory while you play.")
        return f'<div class="ez-empty">{icon("brush")}<h2>{escape(tr("Nothing drawn yet"))}</h2><p>{escape(lead)}</p></div>{said}'
    if made.told["error"]:
        return f'<div class="ez-note ez-bad" role="alert">{escape(heard(made.told["error"]))}</div>{said}'
    shots = made.told["request"]["shots"]
    if shots[-1].get("beside"):
        said = f'<figure class="ez-play-seen"><img class="ez-play-pic" src="{escape(src(f"samples/{made.id}.shown.png"))}" alt="{escape(tr("What it was shown"))}"><figcaption>{escape(tr("what it was shown"))}</figcaption></figure>{said}'
    places = [shot["place"] for shot in shots]
    mode = made.told["request"]["mode"]
    if shots[-1].get("made_from") and made.told["files"]:
        seen = src(f"samples/{made.id}.shown.png")
        if mode == "one" and made.told.get("seen") == 1 and made.told["files"][0].endswith(".png"):
            return f"{_edit(made, places[0], seen, src)}{said}{_acts(made, publishable)}"
        said = f'<figure class="ez-play-seen"><img class="ez-play-pic" src="{escape(seen)}" alt="{escape(tr("What it was made from"))}"><figcaption>{escape(tr("what it was made from"))}</figcaption></figure>{said}'
    draw = {"before": _pair, "repair": _pair, "film": _film, "vote": _ballot if hidden else _row}.get(mode, _row)
    return f"{draw(made, places, src)}{said}{'' if hidden else _acts(made, publishable)}"


Place = Mapping[str, str]  # as asks.py says where a picture stands


def _row(made: Made, places: Sequence[Place], src: Source) -> str:
    prompt, by_checkpoint = made.told["request"]["shots"][0]["prompt"], made.told["request"]["mode"] in BY_CHECKPOINT
    cells = "".join(
        f'<figure><a href="{escape(src(file))}" data-zoom="{escape(tr("{label}: {prompt}", label=caption(place), prompt=prompt))}"><img class="ez-play-pic" src="{escape(src(file))}" alt="{escape(_about(prompt, place))}"></a>'
        f'<figcaption class="ez-num">{escape(caption(place))}{_publish(place.get("label", "")) if by_checkpoint else ""}</figcaption></figure>'
        for file, place in zip(made.told["files"], places, strict=False)
    )
    return f'<div class="ez-play-row ez-play-{len(places)}">{cells}</div>'


def _publish(label: str) -> str:
    """The link under a checkpoint's picture."""
    return "" if label == "start" else f'<button type="button" class="ez-link" data-act="publish" data-shown data-id="{escape(label)}" title="{escape(tr("This one is the best: publish it"))}">{escape(tr("Publish"))}</button>'


def caption(place: Place) -> str:
    """What a picture was drawn with, as a person reads it."""
    if "title" not in place:  # also what an earlier Easel wrote, which put all of it into the label
        return named(place.get("label", ""))
    title, step, strength = place["title"], place.get("step", ""), point(place.get("strength", ""))
    if step and strength:
        return tr("{title} at step {step}, strength {strength}", title=title, step=step, strength=strength)
    if step:
        return tr("{title} at step {step}", title=title, step=step)
    return tr("{title}, strength {strength}", title=title, strength=strength) if strength else title


def named(label: str) -> str:
    """A checkpoint, or a word of ours, as a person reads it; any other label as it is."""
    if label.isdecimal() and len(label) < 10 and label != "0":
        return tr("step {step}", step=int(label))
    words = {
        "final": trc("checkpoint", "finished"), "start": trc("before the first step", "start"), "without": trc("without the LoRA", "without"), "both": trc("both LoRAs together", "both"),
        "before": trc("before the repair", "before"), "repaired": tr("repaired"), NO_RUN: tr(NO_RUN),
    }  # fmt: skip
    return words.get(label, label)


def _about(prompt: str, place: Place) -> str:
    return tr("{prompt}, {label}", prompt=prompt, label=caption(place))


def _pair(made: Made, places: Sequence[Place], src: Source) -> str:
    files, prompt = made.told["files"], made.told["request"]["shots"][0]["prompt"]
    if len(files) < 2:
        return _row(made, places, src)
    return (
        f'<figure class="ez-pair ez-play-one"><div class="ez-pair-view" style="{_shape(made)}"><img src="{escape(src(files[1]))}" alt="{escape(_about(prompt, places[1]))}">'
        f'<img class="ez-pair-over" src="{escape(src(files[0]))}" alt="{escape(_about(prompt, places[0]))}"><i class="ez-pair-edge"></i><span class="ez-pair-a">{escape(caption(places[0]))}</span>'
        f'<span class="ez-pair-b">{escape(caption(places[1]))}</span><input type="range" min="0" max="100" value="50" class="ez-pair-range" aria-label="{escape(tr("Compare without and with the LoRA"))}"></div></figure>'
    )


def _shape(made: Made) -> str:
    """The style of a frame around its pictures."""
    shot = made.told["request"]["shots"][0]
    return f"aspect-ratio:{shot['width']}/{shot['height']}"


def _edit(made: Made, place: Place, seen: str, src: Source) -> str:
    """The picture before and after, under a slider, in its shape."""
    prompt, before = made.told["request"]["shots"][0]["prompt"], trc("before the edit", "before")
    return (
        f'<figure class="ez-pair ez-play-one"><div class="ez-pair-view" style="{_shape(made)}"><img src="{escape(src(made.told["files"][0]))}" alt="{escape(_about(prompt, place))}">'
        f'<img class="ez-pair-over" src="{escape(seen)}" alt="{escape(tr("What it was made from"))}"><i class="ez-pair-edge"></i><span class="ez-pair-a">{escape(before)}</span>'
        f'<span class="ez-pair-b">{escape(caption(place))}</span><input type="range" min="0" max="100" value="50" class="ez-pair-range" aria-label="{escape(tr("Compare before and after"))}"></div></figure>'
    )


def _film(made: Made, places: Sequence[Place], src: Source) -> str:
    film = made.told["film"]
    if not film:
        return _row(made, places, src)
    stem = film.rpartition(".")[0]
    gif = f"{stem}.gif"
    video = f'<a class="ez-btn" href="{escape(src(film))}" download>{icon("download")}MP4</a>' if film.endswith(".mp4") else ""
    return (
        f'<figure class="ez-play-one"><img class="ez-play-pic" src="{escape(src(gif))}" alt="{escape(trn("{n} checkpoint, one after the other", "{n} checkpoints, one after the other", len(places)))}"></figure>'
        f'<div class="ez-acts ez-play-film"><a class="ez-btn" href="{escape(src(gif))}" download>{icon("download")}GIF</a>{video}</div>{_row(made, places, src)}'
    )


def _ballot(made: Made, places: Sequence[Place], src: Source) -> str:
    cells = "".join(f'<figure><img class="ez-play-pic" src="{escape(src(file))}" alt="{escape(tr("Picture {letter}", letter="AB"[k]))}"><figcaption>{"AB"[k]}</figcaption></figure>' for k, file in enumerate(made.told["files"][:2]))
    votes = (("1", tr("A is better")), ("0.5", tr("Neither")), ("0", tr("B is better")))
    choices = "".join(f'<button type="button" class="ez-btn{" ez-primary" if value != "0.5" else ""}" data-act="vote" data-id="{value}">{escape(title)}</button>' for value, title in votes)
    return f'<div class="ez-play-row ez-play-2">{cells}</div><div class="ez-acts ez-play-ballot">{choices}</div>'


def _acts(made: Made, publishable: bool) -> str:
    file = made.told["files"][-1]
    publish = f'<button type="button" class="ez-btn" data-act="publish" data-shown>{icon("upload")}{escape(tr("This is the best: publish it"))}</button>' if publishable and made.told["request"]["mode"] not in BY_CHECKPOINT else ""
    said = tr(
        "seed {seed} · {seconds} s · settings are inside {kind}s",
        seed=str(made.told["request"]["shots"][0]["seed"]), seconds=point(f"{made.told['took_s']:.1f}"), kind=file.rpartition(".")[2].upper(),
    )  # fmt: skip
    return (
        f'<div class="ez-acts"><button type="button" class="ez-btn" data-act="sample">{icon("film")}{escape(tr("Make it a sample prompt"))}</button>{publish}'
        f'<span class="ez-muted ez-small ez-num">{escape(said)}</span></div>'
    )


def votes(ranks: Sequence[Rank], count: int) -> str:
    """The ranking; "" while nobody voted."""
    if not ranks:
        return ""
    rows = "".join(
        f'<tr><td class="ez-num">{escape(named(rank.name))}</td><td><div class="ez-bar ez-plain"><i style="width:{100 * rank.share:.0f}%"></i></div></td>'
        f'<td class="ez-num ez-end">{100 * rank.share:.0f} %</td><td class="ez-num ez-end">{escape(tr("{won} of {votes}", won=point(f"{rank.won:g}"), votes=rank.votes))}</td>'
        f'<td class="ez-end"><button type="button" class="ez-link" data-act="publish" data-id="{escape(rank.name)}">{escape(tr("Publish"))}</button></td></tr>'
        for rank in ranks
    )
    lead = tr("From your blind votes and from the stars of its samples in Results, by Bradley and Terry’s model: how often each would be preferred to an average one.")
    head = (
        f'<tr><th>{escape(tr("Checkpoint"))}</th><th><span class="ez-unseen">{escape(tr("As a bar"))}</span></th><th class="ez-end">{escape(tr("Preferred"))}</th>'
        f'<th class="ez-end">{escape(trc("votes", "Won"))}</th><th><span class="ez-unseen">{escape(tr("Publish"))}</span></th></tr>'
    )
    return (
        f'<section class="ez-card"><h2 class="ez-subtitle">{escape(tr("Ranking"))} <span class="ez-count">{whole(count)}</span></h2><p class="ez-muted ez-small">{escape(lead)}</p>'
        f'<div class="ez-wide"><table class="ez-table ez-play-ranks"><thead>{head}</thead><tbody>{rows}</tbody></table></div></section>'
    )


def history(rows: Sequence[Made], showing: str, src_of: Callable[[Made], Source]) -> str:
    """What was drawn before, newest first."""
    if not rows:
        return ""
    cells = "".join(
        f'<div class="ez-play-past{" is-chosen" if one.id == showing else ""}"><button type="button" class="ez-play-thumb" data-act="show" data-id="{one.id}" aria-label="{escape(tr("Show {prompt}", prompt=one.told["request"]["shots"][0]["prompt"][:80]))}">'
        f'<img src="{escape(src_of(one)(one.told["files"][-1]))}" alt="" loading="lazy"></button><span class="ez-play-words" title="{escape(one.told["request"]["shots"][0]["prompt"])}">{escape(one.told["request"]["shots"][0]["prompt"])}</span>'
        f'<span class="ez-muted ez-small">{escape(tr(MODES.get(one.told["request"]["mode"], "")))}</span><button type="button" class="ez-link ez-small" data-act="again" data-id="{one.id}">{escape(tr("Use again"))}</button></div>'
        for one in rows
    )
    return f'<section class="ez-card"><h2 class="ez-subtitle ez-gap-below">{escape(tr("History"))} <span class="ez-count">{len(rows)}</span></h2><div class="ez-play-history">{cells}</div></section>'
