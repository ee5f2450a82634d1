"""The model card: one YAML dump for the front matter, escaped text below it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import quote

import yaml

from .. import registry
from ..config import LossPart, TrainConfig
from ..data import concepts, editing
from ..family import FamilySpec
from ..formats.adapting import is_whole
from ..formats.beside import is_beside, on_hub
from ..formats.deliver import Offer, needed, offers
from ..formats.modelspec import modelspec_metadata, scrub, stamp_hash
from ..home import BUILTIN
from ..plan import optimizing, prompts
from .secrets import mask

if TYPE_CHECKING:
    from ..runs.run import Run

__all__ = ["front_matter", "model_card", "modelspec_metadata", "scrub", "split_card", "stamp_hash"]

TAGS = ("diffusers", "lora", "template:sd-lora")
BUILTIN_LICENCE = "apache-2.0"  # the built-in base model comes with Easel, under Easel's own licence
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.\-]{0,95}/[\w.\-]{1,96}", re.ASCII)
_MARKDOWN = re.compile(r"([\\`*_{}\[\]|~$^@]|^[#+\-=]|:(?=//)|(?<=www)\.)")


def model_card(
    run: Run,
    config: TrainConfig,
    spec: FamilySpec,
    *,
    repo_id: str = "",
    checkpoint: str | int = "final",
    samples: Iterable[str] | None = None,
    captions: Iterable[str] = (),
    plugins: Path | None = None,
) -> str:
    """The whole README.md of a LoRA.

    samples: paths of sample pictures inside the run; None takes the newest picture of every prompt, none that was drawn after the checkpoint.  captions: only those
    that the person asked to publish.  Local paths and tokens are scrubbed out of everything that people typed.  plugins: where objectives of
    the user's own lie.
    """
    if checkpoint == "final":
        checkpoint = run.chosen_step() or checkpoint
    shown = _shown(run, config, samples, checkpoint)
    meta = front_matter(config, spec, shown, plugins)
    dumped = yaml.safe_dump(meta, sort_keys=False, allow_unicode=True, width=120)
    if yaml.safe_load(dumped) != meta:
        raise ValueError("the card's front matter does not survive being written; change the trigger word or the prompts")
    body = "\n\n".join(part for part in _body(config, spec, repo_id, checkpoint, bool(shown), list(captions), plugins) if part)
    return f"---\n{dumped}---\n\n{body}\n"


def split_card(text: str) -> tuple[dict, str]:
    """(front matter, body) of a card.  Raises ValueError that says what is wrong with the front matter."""
    match = re.match(r"\A---\r?\n(.*?)\r?\n---[ \t]*(?:\r?\n|\Z)", text, re.DOTALL)
    if not match:
        raise ValueError("the card does not begin with front matter between two lines of ---; press Reset card to get it back")
    try:
        meta = yaml.safe_load(match[1])
    except yaml.YAMLError as error:
        raise ValueError(f"the card's front matter is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(meta, dict):
        raise ValueError("the card's front matter is not a mapping of keys to values")
    return meta, text[match.end() :]


def hub_base(config: TrainConfig) -> str:
    """The base model's Hub id; "" when it is the built-in one or a folder or file on this computer."""
    from ..formats.basemodel import local_folder, mounted

    source = config.model.source
    try:
        return "" if (local_folder(source) is not None and not mounted(source)) or not _HUB_ID.fullmatch(source) else source
    except ValueError:  # a local path that is gone by now
        return ""


def front_matter(config: TrainConfig, spec: FamilySpec, shown: list[tuple[str, str]], plugins: Path | None = None) -> dict:
    """The card's metadata as a mapping.  shown: (prompt, remote path) of each sample picture."""
    base = hub_base(config)
    meta: dict = {"license": _licence(config, spec)}
    if meta["license"] == "other":
        name = spec.licence_names.get(config.model.source) or re.sub(r"[^a-z0-9.\-]+", "-", f"{spec.title} licence".lower()).strip("-")
        meta |= {"license_name": name, "license_link": spec.licence_of(config.model.source)[1]}
    meta |= {"library_name": "diffusers", "pipeline_tag": _task(config, spec, plugins)}
    if base:
        meta["base_model"] = base
    adapter = registry.get("adapters", config.adapter.type)
    meta["base_model_relation"] = "finetune" if is_whole(adapter) else "adapter"
    meta["instance_prompt"] = mask(", ".join(config.triggers)) or None
    kinds = [config.adapter.type] if is_beside(adapter) else TAGS[1:] if not is_whole(adapter) else []
    meta["tags"] = list(dict.fromkeys((_task(config, spec, plugins), TAGS[0], *kinds, *spec.tags)))
    if shown:
        meta["widget"] = [{"text": prompt or " ", "output": {"url": quote(path)}} for prompt, path in shown]
    return meta


def _task(config: TrainConfig, spec: FamilySpec, plugins: Path | None) -> str:
    """The Hub's word for what is made, and of what."""
    given = "image" if spec.first_frame or _edits(config, spec, plugins) else "text"
    return f"{given}-to-{'video' if spec.latent.video else 'image'}"


def _edits(config: TrainConfig, spec: FamilySpec, plugins: Path | None) -> bool:
    """Whether the result is drawn from a picture that is changed."""
    return editing.needed(spec) or (spec.references is not None and editing.edits(concepts.known(config, plugins)))


def _licence(config: TrainConfig, spec: FamilySpec) -> str:
    """The base model's licence: the family's, or what the built-in model's own card says."""
    if config.model.source != "builtin":
        return spec.licence_of(config.model.source)[0]
    card = BUILTIN / "base" / "README.md"
    if card.is_file():
        try:
            return str(split_card(card.read_text(encoding="utf-8"))[0].get("license", BUILTIN_LICENCE))
        except ValueError:
            pass
    return BUILTIN_LICENCE


def _shown(run: Run, config: TrainConfig, samples: Iterable[str] | None, checkpoint: str | int) -> list[tuple[str, str]]:
    """(prompt, path in the repository) of the pictures to show."""
    view = run.view()
    made = {str(path): (step, index, prompt) for step, index, prompt, path, _ in view.samples}
    at = dict(view.strengths)
    if samples is None:
        newest: dict[int, str] = {}
        for path, (_, index, _) in sorted(made.items(), key=lambda m: (m[1][0], m[1][1])):
            if checkpoint == "final" or made[path][0] <= int(checkpoint):
                newest[index] = path
        samples = [newest[i] for i in sorted(newest)]
    shown = []
    for path in samples:
        prompt = made[path][2] if path in made else ""
        strength = f" (strength {at[path]:g})" if path in at else ""
        shown.append((_plain(config, prompts.with_place(prompt, config.trigger)) + strength, f"samples/{PurePosixPath(path).name}"))
    return shown


def _plain(config: TrainConfig, text: str) -> str:
    """Typed text in one line, without local paths and tokens."""
    return " ".join(mask(scrub(text, config)).split())


def markdown(text: str) -> str:
    """`text` so that Markdown and HTML show it letter for letter, in one line; no link, heading, list or cell can begin in it."""
    text = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"^(\d+)([.)])", r"\1\\\2", _MARKDOWN.sub(r"\\\1", text))


def code(text: str) -> str:
    """`text` as a code span that it cannot leave."""
    text = " ".join(text.split())
    fence = "`" * (max((len(run) for run in re.findall(r"`+", text)), default=0) + 1)
    pad = " " if "`" in text else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def _body(config: TrainConfig, spec: FamilySpec, repo_id: str, checkpoint: str | int, gallery: bool, captions: list[str], plugins: Path | None) -> list[str]:
    base, trigger = hub_base(config), _plain(config, next(iter(config.triggers), ""))
    step = config.steps if checkpoint == "final" else int(checkpoint)
    made = "It is the finished result." if checkpoint == "final" else f"It is the checkpoint of step {step} of {config.steps}."
    return [
        f"# {markdown(_plain(config, config.name))}",
        "<Gallery />" if gallery else "",
        f"{_what(config)} for {markdown(spec.called(config.model.source))}, trained with Easel. {made}",
        " ".join(markdown(_plain(config, text)) for text in concepts.said_of(config, plugins)).strip(),
        _about_base(config, spec, base),
        _about_context(config, spec),
        _words(config),
        _how_to_use(config, spec, base, repo_id, trigger, plugins),
        "Each sample shows the picture before, the one after that belongs to it, and what was drawn." if gallery and _edits(config, spec, plugins) else "",
        f"## Training\n\n{_settings(config, spec, base, step, plugins)}",
        "## Captions\n\n" + "\n".join(f"- {markdown(_plain(config, c))}" for c in captions) if captions else "",
        _licence_words(config, spec),
    ]


def _about_base(config: TrainConfig, spec: FamilySpec, base: str) -> str:
    if base:
        return f"Base model: [{markdown(base)}](https://huggingface.co/{base})."
    if config.model.source == "builtin":
        return (
            f"Base model: {markdown(spec.called(config.model.source))}. It has the architecture of {markdown(spec.title)} in miniature and was trained from scratch, "
            "so this result fits that model only; it is not on the Hub."
        )
    return f"Base model: a copy of a {markdown(spec.title)} model on the author's computer, so this card cannot name its page on the Hub."


def _about_context(config: TrainConfig, spec: FamilySpec) -> str:
    """The LoRA that lay on the base model all the while, with which the result is used."""
    source = config.model.context_adapter
    if not source:
        return ""
    name = markdown(_plain(config, scrub(source, config)))
    where = f"[{name}](https://huggingface.co/{'/'.join(source.split('/')[:2])})" if on_hub(source) else name
    off = " Its part for the text encoder, if it has one, was off." if spec.trainable_text else ""
    return f"It was trained beside the LoRA {where} at strength {config.model.context_strength:g}, which is no part of it: use both together.{off}"


def _what(config: TrainConfig) -> str:
    adapter = registry.get("adapters", config.adapter.type)
    if is_whole(adapter):
        return "A fine-tuned denoiser"
    return f"{'An' if is_beside(adapter) and adapter.TITLE[0] in 'AEIO' else 'A'} {markdown(adapter.TITLE)}"


def _adapter(config: TrainConfig, spec: FamilySpec) -> str:
    """The adapter's settings in one line, those that act."""
    a, uses = config.adapter, registry.get("adapters", config.adapter.type).USES
    if is_beside(registry.get("adapters", a.type)):
        return a.type + f", without its picture in {a.control_dropout:.0%} of steps" * bool(a.control_dropout)
    told = {"rank": f"rank {a.rank}", "alpha": f"alpha {a.alpha:g}", "factor": f"factor {a.factor}", "block_size": f"blocks of {a.block_size}", "targets": a.targets}
    told |= {"blocks": f"blocks: {spec.blocks[a.blocks].title}"} if a.blocks in spec.blocks else {}
    told |= {"least_rank": f"at least {a.least_rank} of the ranks", "rank_power": f"power {a.rank_power:g}"}
    extra = {"rslora": "rank-stabilised", "text_encoder": "text encoder too", "rank_patterns": "ranks of their own for some layers"}
    return ", ".join([a.type, *(word for name, word in told.items() if name in uses), *(word for name, word in extra.items() if name in uses and getattr(a, name))])


def _words(config: TrainConfig) -> str:
    words = [code(_plain(config, trigger)) for trigger in config.triggers]
    if len(words) > 1:
        return f"## Trigger words\n\nEach calls up something of its own: {', '.join(words)}."
    return f"## Trigger word\n\nUse {words[0]} in the prompt to call up what it learnt." if words else ""


def _how_to_use(config: TrainConfig, spec: FamilySpec, base: str, repo_id: str, trigger: str, plugins: Path | None) -> str:
    source = base or ("presets/builtin/base" if config.model.source == "builtin" else "path/to/the/base-model")
    prompt = _plain(config, prompts.read(config, config.sample.prompts[0]).text) if config.sample.prompts else trigger or "a picture"
    adapter = registry.get("adapters", config.adapter.type)
    files = needed(offers(spec, config.adapter.type, adapter, spec.learning(config.loss.expert)))
    pipeline, module, extra = "ModularPipeline" if spec.modular else "DiffusionPipeline", "diffusers", ""
    if spec.pipeline_module:
        pipeline, module, extra = spec.pipeline, spec.pipeline_module, ", trust_remote_code=True"
    dtype = f"torch_dtype=torch.{'bfloat16' if spec.prediction == 'flow' else 'float16'}"  # flow transformers overflow in fp16
    if is_beside(adapter):
        return _how_to_use_beside(config, spec, source, repo_id, prompt, dtype)
    if is_whole(adapter):
        imports, load = [], _load_whole(spec, repo_id or config.name, dtype)
    elif by_pipeline := next((o for o in files if o.pipeline), None):
        slides = concepts.signed(concepts.known(config, plugins))
        named = ', adapter_name="slider"' * slides
        own = [o for o in files if o.layout == by_pipeline.layout]
        imports, load = [], [f"pipeline.load_lora_weights({_literal(repo_id or '.')}, weight_name={_literal(o.file_name(config.name))}{named}{_asked(o)})" for o in own]
        load += ['pipeline.set_adapters(["slider"], [1.5])  # from -2 to 2'] * slides
    else:
        own = [o for o in files if o.layout == "diffusers"]
        imports, load = _load_peft_by_half(config, repo_id, spec, own) if spec.experts else _load_peft(config, repo_id, own[0].file_name(config.name))
    snippet = "\n".join((
        "```python",
        "import torch",
        f"from {module} import {pipeline}",
        *imports,
        "",
        *_from_pretrained(pipeline, spec, _literal(source), f"{dtype}{extra}"),
        *_scheduled(config, spec),
        *load,
        *_drawn(config, spec, prompt, plugins),
        "```",
    ))  # fmt: skip
    return f"## How to use\n\n{snippet}\n\n{_elsewhere(config, spec, files)}".rstrip()


def _from_pretrained(pipeline: str, spec: FamilySpec, source: str, how: str) -> list[str]:
    """The lines that load the base model."""
    if not spec.modular:
        return [f'pipeline = {pipeline}.from_pretrained({source}, {how}).to("cuda")']
    return [f"pipeline = {pipeline}.from_pretrained({source})", f"pipeline.load_components({how})", 'pipeline.to("cuda")']


def _asked(offer: Offer) -> str:
    """What load_lora_weights has to be told of the denoiser that a file is for."""
    return f", {offer.expert.asked}=True" if offer.expert and offer.expert.asked else ""


def _how_to_use_beside(config: TrainConfig, spec: FamilySpec, source: str, repo_id: str, prompt: str, dtype: str) -> str:
    """The section on a network that hangs beside the denoiser: diffusers' own classes load it from its folder."""
    beside, kind = spec.beside[config.adapter.type], config.adapter.type
    s = config.sample
    encoder = on_hub(config.adapter.image_encoder or beside.encoder) or ("path/to/the/image-encoder", "")
    imports, lines, arguments = registry.get("adapters", kind).card(beside, _literal(repo_id or config.name), _literal(source), encoder, dtype)
    lines = [*(line.replace("SUBFOLDER", _literal(kind)).replace("SIZE", f"({s.width}, {s.height})") for line in lines), *_scheduled(config, spec)]
    drawn = f"image = pipeline(prompt={_literal(prompt)}, {arguments}).images[0]"
    snippet = "\n".join(("```python", "import torch", *imports, "from diffusers.utils import load_image", "", *lines, drawn, "```"))
    over = "the picture that was the prompt" if beside.encoder else "the control picture, the picture that it was made from,"
    return f"## How to use\n\n{snippet}\n\nThe samples show {over} and what was drawn."


def _load_whole(spec: FamilySpec, place: str, dtype: str) -> list[str]:
    part = spec.denoiser
    return [f'pipeline.{part} = type(pipeline.{part}).from_pretrained({_literal(place)}, subfolder={_literal(part)}, {dtype}).to("cuda")']


def _load_peft(config: TrainConfig, repo_id: str, name: str) -> tuple[list[str], list[str]]:
    """(imports, lines) for kinds that the pipeline's own loader refuses: peft builds the adapter from the file's header."""
    imports = ["from huggingface_hub import hf_hub_download"] if repo_id else []
    imports += ["from peft import get_peft_config, inject_adapter_in_model, set_peft_model_state_dict", "from safetensors import safe_open"]
    file = f"hf_hub_download({_literal(repo_id)}, {_literal(name)})" if repo_id else _literal(name)
    named = '.replace(".text_model.", ".")' if config.adapter.text_encoder else ""  # a level that transformers 5 has not
    return ["import json", *imports], [
        f'with safe_open({file}, framework="pt") as file:',
        '    settings = json.loads(file.metadata()["lora_adapter_metadata"])',
        f"    weights = {{name{named}: file.get_tensor(name) for name in file.keys()}}",
        'for part in {name.split(".")[0] for name in settings}:',
        '    own = lambda found: {k.removeprefix(f"{part}."): v for k, v in found.items() if k.startswith(f"{part}.")}',
        "    inject_adapter_in_model(get_peft_config(own(settings)), getattr(pipeline, part))",
        "    set_peft_model_state_dict(getattr(pipeline, part), own(weights))",
    ]  # fmt: skip


def _load_peft_by_half(config: TrainConfig, repo_id: str, spec: FamilySpec, files: list[Offer]) -> tuple[list[str], list[str]]:
    """The same for a model with two denoisers: each file calls its denoiser as a model with one does, and goes into the one that it is for."""
    imports = ["from huggingface_hub import hf_hub_download"] if repo_id else []
    imports += ["from peft import get_peft_config, inject_adapter_in_model, set_peft_model_state_dict", "from safetensors import safe_open"]
    place = f"hf_hub_download({_literal(repo_id)}, name)" if repo_id else "name"
    return ["import json", *imports], [
        f"own = lambda found: {{k.removeprefix({_literal(spec.denoiser + '.')}): v for k, v in found.items()}}",
        "for name, part in (",
        *(f"    ({_literal(o.file_name(config.name))}, pipeline.{o.expert.folder})," for o in files if o.expert),
        "):",
        f'    with safe_open({place}, framework="pt") as file:',
        '        settings = json.loads(file.metadata()["lora_adapter_metadata"])',
        "        weights = {name: file.get_tensor(name) for name in file.keys()}",
        "    inject_adapter_in_model(get_peft_config(own(settings)), part)",
        "    set_peft_model_state_dict(part, own(weights))",
    ]  # fmt: skip


def _elsewhere(config: TrainConfig, spec: FamilySpec, files: tuple[Offer, ...]) -> str:
    """What other programs can do with it, and which file is for which."""
    if config.model.source == "builtin":
        return "The base model's folder is in Easel's own repository; other programs do not know this miniature."
    if not files:
        return ""
    told = [f"{code(o.file_name(config.name))} is for {o.title}." for o in files] if files[1:] else []
    told.append(spec.elsewhere)
    comfyui = next((o for o in files if o.comfyui), None)
    if comfyui is None:
        told.append("ComfyUI and AUTOMATIC1111 have no place for this kind of adapter.")
    elif comfyui.expert:
        names = " and ".join(code(o.file_name(config.name)) for o in files if o.comfyui)
        told.append(f"ComfyUI: put {names} into `models/loras` and load each with *Load LoRA (Model Only)* on the model of its own noise.")
    else:
        told.append(f"ComfyUI: put {code(comfyui.file_name(config.name))} into `models/loras` and load it with *Load LoRA*.")
    if comfyui and comfyui.layout == "kohya":
        told.append("AUTOMATIC1111 and Forge look for it in `models/Lora`.")
    return " ".join(t for t in told if t)


def _drawn(config: TrainConfig, spec: FamilySpec, prompt: str, plugins: Path | None) -> list[str]:
    """The lines that draw a picture or a clip."""
    if spec.modular:
        return [f'image = pipeline(prompt={_literal(prompt)}, output="images")[0]']
    load, asked, s = ["from diffusers.utils import load_image", ""], [f"prompt={_literal(prompt)}"], config.sample
    if spec.first_frame:
        asked.append('image=load_image("first.png")')
    elif takes := spec.references if _edits(config, spec, plugins) else None:
        before = 'load_image("before.png")'
        asked.append(f"{takes.image}=[{before}]" if takes.listed else f"{takes.image}={before}")
    else:
        load = []
    if not spec.latent.video:
        return [*load, f"image = pipeline({', '.join(asked)}).images[0]"]
    asked += [f"num_frames={s.frames}", f"width={s.width}", f"height={s.height}"]
    return [
        "from diffusers.utils import export_to_video", *(load or [""]),
        f"frames = pipeline({', '.join(asked)}).frames[0]",
        f'export_to_video(frames, "clip.mp4", fps={s.fps:g})',
    ]  # fmt: skip


def _literal(text: str) -> str:
    """A Python string literal in ASCII quotes, one line, that cannot close a fenced block."""
    return json.dumps(text, ensure_ascii=False).replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _settings(config: TrainConfig, spec: FamilySpec, base: str, step: int, plugins: Path | None) -> str:
    o, d = config.optimizer, config.data
    words = concepts.by_words(concepts.known(config, plugins))
    rows = [
        ("Family", spec.called(config.model.source)),
        ("Base model", base or ("comes with Easel" if config.model.source == "builtin" else "local copy")),
        ("Adapter", _adapter(config, spec)),
        ("Steps", f"{step} of {config.steps}"),
        ("Batch", f"{d.batch_size}" + (f" × {o.accumulation} accumulated" if o.accumulation > 1 else "")),
        ("Resolution", ", ".join(f"{side} px" for side in d.all_sides) + (", aspect buckets" if d.aspect_buckets else ", square")),
        ("Optimizer", f"{o.type}, learning rate {o.learning_rate:g}, {optimizing.schedule_in_force(o)}, {o.warmup_steps} warm-up steps"),
        ("Objective", config.loss.objective) if config.loss.objective != "images" else None,
        ("Changed by words", f"{len(config.concept.targets)} targets in {len(config.concept.contexts)} contexts" + (f"; {config.concept.drawn} pictures that the base model drew" if not d.datasets else "")) if words else ("Caption dropout", f"{d.caption_dropout:g}"),
        ("What the base model knows", f"kept: {config.keep.share:g} more passes a picture, weight {config.keep.weight:g}" + f", of {config.keep.drawn} pictures that it drew" * (config.keep.drawn > 0) if config.keep.on else "not kept"),
        ("Noise levels", _levels(config.loss)),
        ("Loss", config.loss.type + (", masked" if config.loss.masked else "")),
        ("Weighting", f"min-SNR, gamma {config.loss.min_snr_gamma:g}" if config.loss.min_snr_gamma else config.loss.weighting),
        ("EMA", f"{config.loss.ema_decay:g}" if config.loss.ema_decay else "off"),
        ("Predicts", predicted) if (predicted := _predicted(config, spec)) else None,
        ("Precision", config.model.dtype),
        ("Context adapter", f"{_plain(config, scrub(config.model.context_adapter, config))} at {config.model.context_strength:g}") if config.model.context_adapter else None,
        ("Samples drawn with", f"the speed adapter {_plain(config, scrub(config.sample.speed_adapter, config))}, {config.sample.steps} steps") if config.sample.speed_adapter else None,
        ("Seed", str(config.seed)),
    ]
    lines = ["| Setting | Value |", "|---|---|"]
    return "\n".join([*lines, *(f"| {name} | {markdown(value)} |" for name, value in filter(None, rows))])


def _predicted(config: TrainConfig, spec: FamilySpec) -> str:
    """What was chosen by hand of what the base model predicts; "" where its own files say it, and of a flow."""
    if spec.prediction == "flow":
        return ""
    what = {"auto": "what its files say", "epsilon": "the noise", "v_prediction": "the velocity"}[config.model.prediction]
    how = {"auto": "", "on": ", up to pure noise", "off": ", not up to pure noise"}[config.model.zero_terminal_snr]
    return what + how if config.model.prediction != "auto" or how else ""


def _scheduled(config: TrainConfig, spec: FamilySpec) -> list[str]:
    """The lines that tell a pipeline's scheduler what was chosen by hand, which the base model's files do not say."""
    if not _predicted(config, spec):
        return []
    chosen = [f'prediction_type="{config.model.prediction}"'] * (config.model.prediction != "auto")
    how, first, scheduler = config.model.zero_terminal_snr, [], "type(pipeline.scheduler)"
    if how == "on":  # the class of the base's own may not know of it
        first, scheduler = ["from diffusers import DDIMScheduler"], "DDIMScheduler"
        chosen += ["rescale_betas_zero_snr=True", 'timestep_spacing="trailing"']
    elif how == "off":
        chosen += ["rescale_betas_zero_snr=False"]
    return [*first, f"pipeline.scheduler = {scheduler}.from_config(pipeline.scheduler.config, {', '.join(chosen)})"]


def _levels(loss: LossPart) -> str:
    said = loss.timestep_law.replace("_", "-")
    said += f", mean {loss.timestep_mean:g}, spread {loss.timestep_std:g}" if loss.timestep_law == "logit_normal" else ""
    said += f", shift {loss.timestep_shift:g}" if loss.timestep_shift else ""
    return said + (f", {loss.timestep_min:g} to {loss.timestep_max:g}" if (loss.timestep_min, loss.timestep_max) != (0, 1) else "")


def _licence_words(config: TrainConfig, spec: FamilySpec) -> str:
    _, url = spec.licence_of(config.model.source)
    if config.model.source == "builtin" or not url:
        return ""
    return f"## Licence\n\nThe base model's licence applies: <{url}>. {spec.terms}".rstrip()
