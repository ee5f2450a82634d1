"""Files of weights: export  convert  tool  inspect."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .. import registry
from .asked import DetachOption, HomeOption, RunArgument, open_run, refuse_existing, use_home, values_of
from .watching import launch

LayoutOption = Annotated[
    str, typer.Option(help="Names of the layers: diffusers, kohya (AUTOMATIC1111, kohya's scripts) or comfyui (the model's first release); without it, those that most programs read.")
]  # fmt: skip


def export(
    run: RunArgument,
    layout: LayoutOption = "",
    step: Annotated[int | None, typer.Option(help="A checkpoint's step; without it, the finished adapter.")] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Where to write it; without it, the run's name in this folder.")] = None,
    home: HomeOption = None,
):
    """Write a run's adapter as a file for diffusers and ComfyUI: one for each where no single one serves both, or in the layout that is named.

    A checkpoint of a whole model, or of a network beside one, is written as a folder.
    """
    import shutil

    from ..formats.deliver import needed
    from ..hub.publish import export_weights, offers_of

    place = use_home(home)
    chosen, checkpoint = open_run(run, place), "final" if step is None else step
    name = chosen.title + ("" if step is None else f"-{step}")
    files = needed(offers_of(chosen, place.plugins))
    if not files and step is None:
        raise ValueError(f"this run trained a network of its own: its result is the folder {export_weights(chosen, checkpoint, Path())}")
    if not files:
        if layout:
            raise ValueError("this run trained a network of its own, which comes as a folder in diffusers' layout; leave --layout out")
        refuse_existing(out or Path(name))
        print(export_weights(chosen, checkpoint, out or Path(name)))
        return
    if layout:
        own = [o.expert for o in files if o.layout == files[0].layout]
        wanted = [(_layout(layout), e, _named(out or Path(f"{name}-{layout}.safetensors"), e), "") for e in own]
    elif files[0].expert:
        wanted = [(o.layout, o.expert, out.with_name(o.file_name(out.stem)) if out else Path(o.file_name(name)), f"  for {o.title}") for o in files]
    else:
        wanted = [(o.layout, None, out.with_name(o.file_name(out.stem)) if out and n else out or Path(o.file_name(name)), f"  for {o.title}") for n, o in enumerate(files)]
    for _, _, target, _ in wanted:
        refuse_existing(target)
    for chosen_layout, expert, target, said in wanted:
        made = export_weights(chosen, checkpoint, target, chosen_layout, expert)
        if made != target:
            shutil.copyfile(made, target)
        print(f"{target}{said}")


def _named(target: Path, expert) -> Path:
    """The file of one of two denoisers; of a model with one, `target` itself."""
    return target.with_name(f"{target.stem}{expert.ending}{target.suffix}") if expert else target


def convert(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An adapter as .safetensors, in any layout.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The file to write.")],
    family: Annotated[str, typer.Option(help="Model family that the adapter is for; without it, it is told from the file.")] = "",
    layout: LayoutOption = "",
    base: Annotated[str, typer.Option(help="A base model on this computer, whose layer names tell kohya's apart; without it, the family's own.")] = "",
    home: HomeOption = None,
):
    """Write an adapter of any program again, in the layout that most programs read or the one that is named; it acts the same."""
    from ..formats.deliver import offer_for, relaid
    from ..formats.mapped import Mapped
    from ..formats.recognise import one_family
    from ..plan.layers import layer_names

    place = use_home(home)
    if not file.is_file():
        raise ValueError(f"there is no file {file}")
    refuse_existing(out)
    if not family:
        mapped = Mapped(file)
        family = one_family(mapped.entries, mapped.metadata, "", place.plugins).id
    plugin = registry.get("families", family, place.plugins)
    offer = None if layout else offer_for(file, plugin.SPEC, place.plugins)
    relaid(file, out, plugin.SPEC, offer.layout if offer else _layout(layout), layer_names(base or plugin.SPEC.default_source, plugin))
    print(f"{out}  for {offer.title}" if offer else out)


def _layout(text: str):
    from ..formats.deliver import LAYOUTS

    if text not in LAYOUTS:
        raise ValueError(f"--layout is {text!r}; there are: {', '.join(LAYOUTS)}")
    return text


def tool(
    kind: Annotated[str, typer.Argument(metavar="TOOL", help="What is done: merge, resize, scale, extract, fuse, convert, or a plugin's; 'jobs' lists them.")],
    settings: Annotated[list[str] | None, typer.Argument(metavar="NAME=VALUE", help="Settings of the tool; values as in YAML, e.g. rank=8 or 'adapters=[{file: a.safetensors, strength: 0.5}]'.")] = None,
    name: Annotated[str, typer.Option(help="Name of the result.")] = "",
    home: HomeOption = None,
    detach: DetachOption = False,
):
    """Work on weights: merge, resize, scale, extract, fuse, convert.  Without settings it says what the tool takes."""
    from ..jobfile import parse

    place = use_home(home)
    tools = {id: p.module for id, p in registry.find("jobs", place.plugins).items() if p.ok and getattr(p.module, "TOOL", False)}
    if kind not in tools:
        raise ValueError(f"there is no tool {kind!r}; there are: {', '.join(tools)}")
    if not settings:
        print(f"{tools[kind].TITLE}. {tools[kind].BLURB}")
        for field, info in tools[kind].Config.model_fields.items():
            usual = "" if info.is_required() else f" [{info.get_default(call_default_factory=True)!r}]"
            print("" if field in ("kind", "name") else f"  {field:<14} {info.description}{usual}\n", end="")
        return
    given = values_of(settings, "a setting")
    launch(parse(tools[kind].Config, {"kind": kind, "name": name or kind, **given}, "the command"), place, detach)


def inspect(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A .safetensors file.")],
    home: HomeOption = None,
):
    """Say what is in a file of weights: family, kind, rank, strength by block, hashes, and what is suspicious."""
    from ..formats import inspecting

    place = use_home(home)
    if not file.is_file():
        raise ValueError(f"there is no file {file}")
    for label, value in inspecting.told(inspecting.inspect(file, place.plugins)):
        print(f"{label:<14} {value}")
