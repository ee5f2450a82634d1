"""The command line: python -m training train | estimate | import | resume | longer | caption | generate | export | tool | inspect | convert | controls | health | pack | versions |
get-dataset | push-dataset | export-run | import-run | runs | track | jobs | plugins | report | errors | doctor | update.

It does what the app does, with the same files: a job runs in a process of its own, and this one only watches.
Exit codes: 0 done, 1 the run failed (estimate: it does not fit; doctor: something is broken), 2 what was asked for is not right, 130 stopped.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from . import registry
from .home import COMMAND, Home, find_home
from .hub import wire

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help="Easel on the command line: the app's own jobs, run and watched here.")

HomeOption = Annotated[Path | None, typer.Option("--home", help="Folder with outputs, datasets and plugins; EASEL_HOME, else Easel's own folder, which 'doctor' names.")]
GpuOption = Annotated[str | None, typer.Option("--gpu", help="Graphics card, by number, UUID or part of its name, as 'doctor' lists them; without it, any free one.")]
GpusOption = Annotated[int | None, typer.Option("--gpus", min=0, help="Cards that train it together, a process each, in place of what its job says; 0 takes all. On a processor, processes.")]
NodesOption = Annotated[int, typer.Option("--nnodes", min=1, help="Computers that train it together; the same command runs on each of them, see docs/clusters.md.")]
NodeOption = Annotated[int, typer.Option("--node-rank", min=0, help="Number of this computer among them; 0 leads, and has the run's folder.")]
RdzvOption = Annotated[str, typer.Option("--rdzv", metavar="HOST:PORT", help="Where they meet: an address of number 0, and a free port there.")]
DetachOption = Annotated[bool, typer.Option("--detach", help="Start it and return at once; it goes on by itself.")]
RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="Id of a run, as 'runs' lists it, or the path of its folder.")]

LayoutOption = Annotated[
    str, typer.Option(help="Names of the layers: diffusers, kohya (AUTOMATIC1111, kohya's scripts) or comfyui (the model's first release); without it, those that most programs read.")
]  # fmt: skip


def _version(asked: bool) -> None:
    from .version import VERSION

    if asked:
        print(f"Easel {VERSION}")
        raise typer.Exit


@app.callback()
def _easel(ctx: typer.Context, home: HomeOption = None, version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which Easel this is.")] = False):
    if ctx.invoked_subcommand in ("doctor", "run-bundle"):
        _name(home)  # one is there to tell, and to mend, that a home cannot be written to; the other's home is its bundle
    else:
        _use(home)


@app.command()
def train(
    job: Annotated[Path, typer.Argument(metavar="JOB", help="A job as YAML or JSON: a whole config; its 'kind' may be any job's.")],
    home: HomeOption = None,
    detach: DetachOption = False,
    gpu: GpuOption = None,
    gpus: GpusOption = None,
    nnodes: NodesOption = 1,
    node_rank: NodeOption = 0,
    rdzv: RdzvOption = "",
):
    """Run a job from a file and watch it.  Ctrl-C stops it after this step, with everything saved."""
    from .jobfile import load_job

    place = _use(home)
    config: Any = load_job(job, place.plugins)
    _check_ranks(config, gpu, gpus, nnodes, node_rank, rdzv)
    if node_rank:
        _join(config.gpus if gpus is None else gpus, nnodes, node_rank, rdzv, config.device, place)
    _end_as_ctrl_c_does(nnodes)
    _launch(config, place, detach, _card(gpu, place), lambda run: run.wish_for_ranks(gpus, nnodes, rdzv) if gpus is not None or nnodes > 1 else None)


@app.command()
def estimate(
    job: Annotated[Path, typer.Argument(metavar="JOB", help="A training as YAML or JSON.")],
    home: HomeOption = None,
    gpu: GpuOption = None,
):
    """Say what a training would take, before it is started: steps, time, memory, disk, and whether it fits."""
    from easel import jobs

    place = _use(home)
    guess = jobs.estimate(job, home=place, gpu=gpu or "")
    print("\n".join(guess.sentences))
    raise typer.Exit(0 if guess.fits else 1)


@app.command(name="import")
def bring(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A job file of ai-toolkit (YAML), kohya (TOML, or the GUI's JSON), OneTrainer (JSON), diffusion-pipe (TOML) or SimpleTuner (JSON).")],
    out: Annotated[Path | None, typer.Option(metavar="JOB.YAML", help="Write a job file that 'train' takes; without it, only the report is printed.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Dataset to learn from, in place of the folders that the file names.")] = None,
    home: HomeOption = None,
):
    """Settings of another trainer: what is taken over, what has no equal here and why, and a job file of them."""
    from .files import write_atomic
    from .jobfile import dump_yaml
    from .plan import translating
    from .plan.draught import job_of

    place = _use(home)
    if out is not None:
        _refuse_existing(out)
    made = translating.read(file, place.plugins)
    print(f"{file.name} is a job of {made.program}.")
    for heading, lines in translating.told(made):
        print(f"\n{heading} ({len(lines)})")
        for line in lines:
            print(f"  {line}")
    if out is not None:
        config, said = job_of(made, place, dataset or "")
        write_atomic(out, dump_yaml(config).encode())
        print(f"\n{out} is written: {COMMAND} train {out}")
        for sentence in said:
            print(f"  {sentence}")


@app.command()
def resume(
    run: RunArgument,
    home: HomeOption = None,
    detach: DetachOption = False,
    accept: Annotated[bool, typer.Option("--accept", help="Go on although pictures, settings or base model changed, or the run was made elsewhere.")] = False,
    gpu: GpuOption = None,
    gpus: GpusOption = None,
    nnodes: NodesOption = 1,
    node_rank: NodeOption = 0,
    rdzv: RdzvOption = "",
):
    """Go on with a run that was stopped, failed or was cut off, from its newest checkpoint; on as many cards as you like."""
    from .runs import origin, supervisor

    place = _use(home)
    chosen, wished = _open(run, place), None
    if gpus is not None or nnodes > 1 or node_rank or rdzv:
        config = chosen.config()
        _check_ranks(config, gpu, gpus, nnodes, node_rank, rdzv)
        if node_rank:
            _join(config.gpus if gpus is None else gpus, nnodes, node_rank, rdzv, config.device, place)
        _end_as_ctrl_c_does(nnodes)
        wished = chosen.wished_ranks()
        chosen.wish_for_ranks(gpus, nnodes, rdzv)
    if gpu is not None:
        chosen.wish_for_card(_card(gpu, place))
    steps = [step for step, _ in chosen.checkpoints()]
    cursor = chosen.events()[1]
    if accept:
        chosen.accept_changes()
        origin.adopt(chosen.path)
    try:
        state = supervisor.start(chosen, place)
    except (ValueError, OSError):
        if wished is not None:
            chosen.wish_for_ranks(wished.gpus)  # what did not start leaves no wish behind
        raise
    print(f"{chosen.id}: resumes at step {steps[-1]}" if steps else f"{chosen.id}: begins")
    _watch(chosen, place, cursor, detach, state)


@app.command(name="run-bundle")
def run_bundle(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="What another Easel has sent: a folder with job.yaml and MANIFEST.json.")],
    limit: Annotated[float, typer.Option(min=0, metavar="SECONDS", help="Stop it with a checkpoint after so long; 0 means never.")] = 0,
):
    """Do the job of a bundle on this machine, or go on with it: what a place does with a run that was sent there."""
    from .away import there

    raise typer.Exit(there.run(folder.absolute(), limit))


@app.command()
def longer(
    run: RunArgument,
    steps: Annotated[int, typer.Option(help="How many more optimizer steps.")],
    home: HomeOption = None,
    detach: DetachOption = False,
    gpu: GpuOption = None,
):
    """Train a finished run longer: a new run goes on with its weights and optimizer."""
    from .runs import longer as more
    from .runs import supervisor

    place = _use(home)
    chosen = _open(run, place)
    made = more.begin(chosen, steps, place, _card(gpu, place))
    for sentence in more.said(chosen.config(), steps):
        print(sentence)
    print(f"{made.id}  in {made.path}", flush=True)
    _watch(made, place, 0, detach, supervisor.start(made, place))


@app.command()
def caption(
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="Name of a dataset, or the path of a folder of pictures.")],
    captioner: Annotated[str | None, typer.Option(help="Captioner; 'jobs' lists them.")] = None,
    mode: Annotated[str | None, typer.Option(help="What happens to captions that are there: overwrite, missing (write only those) or append.")] = None,
    where: Annotated[str | None, typer.Option("--place", help="With append: behind what is there, front, or line (a caption of its own).")] = None,
    trigger: Annotated[str | None, typer.Option(help="Trigger word that is put into each caption.")] = None,
    option: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="An option of the captioner; may be given several times.")] = None,
    home: HomeOption = None,
    detach: DetachOption = False,
):
    """Write captions for a dataset's pictures."""
    from easel.jobs import caption_job

    place = _use(home)
    given = {"captioner": captioner, "mode": mode, "place": where, "trigger": trigger, "options": _options(option or [])}
    _launch(caption_job(dataset, place, **given), place, detach)


@app.command()
def generate(
    prompts: Annotated[list[str] | None, typer.Argument(metavar="PROMPT…", help="What to draw; {a|b} is one of several, the next for each seed.")] = None,
    prompt_file: Annotated[Path | None, typer.Option("--prompts", metavar="FILE", help="A text file with one prompt a line.")] = None,
    lora: Annotated[list[str] | None, typer.Option(metavar="SOURCE[@STRENGTH]", help="A run, RUN/STEP, a file or a Hub id, and how strongly it acts; several may be given.")] = None,
    base: Annotated[str | None, typer.Option(help="Base model: a Hub id, a folder or a file; without it, that of the first LoRA that is a run.")] = None,
    family: Annotated[str | None, typer.Option(help="Model family of --base.")] = None,
    negative: Annotated[str | None, typer.Option(help="What the pictures should not show.")] = None,
    size: Annotated[list[str] | None, typer.Option(metavar="WxH", help="Size in px; several draw each of them.")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the first picture of each prompt.")] = None,
    count: Annotated[int | None, typer.Option(help="Pictures of each prompt.")] = None,
    steps: Annotated[int | None, typer.Option(help="Denoising steps.")] = None,
    guidance: Annotated[float | None, typer.Option(help="How strongly a picture follows its prompt.")] = None,
    sampler: Annotated[str | None, typer.Option(help="Sampler, e.g. euler_a; without it, the base model's own.")] = None,
    picture: Annotated[Path | None, typer.Option(help="A picture to start from.")] = None,
    mask: Annotated[Path | None, typer.Option(help="White where the picture may change.")] = None,
    change: Annotated[float | None, typer.Option(help="Share of the steps that change the picture.")] = None,
    rows: Annotated[str | None, typer.Option(help="Rows of a grid: prompt, strength, checkpoint, seed or lora.")] = None,
    columns: Annotated[str | None, typer.Option(help="Its columns.")] = None,
    strengths: Annotated[str | None, typer.Option(metavar="A,B,…", help="For an axis of strengths.")] = None,
    checkpoints: Annotated[str | None, typer.Option(metavar="A,B,…", help="For an axis of checkpoints; without it, all.")] = None,
    name: Annotated[str, typer.Option(help="Name of the set of pictures.")] = "pictures",
    home: HomeOption = None,
    detach: DetachOption = False,
    gpu: GpuOption = None,
):
    """Draw pictures with a base model and LoRAs: one by one, or as a grid, with an overview in the run's folder."""
    from easel.jobs import drawing_job

    place = _use(home)
    given = {
        "prompt_file": _absolute(prompt_file), "negative": negative, "sizes": [_size(text) for text in size or []] or None, "seed": seed, "count": count, "steps": steps,
        "guidance": guidance, "sampler": sampler, "picture": _absolute(picture), "mask": _absolute(mask), "change": change, "rows": rows, "columns": columns,
        "strengths": _numbers(strengths), "checkpoints": checkpoints.split(",") if checkpoints else None,
    }  # fmt: skip
    _launch(drawing_job(prompts or [], lora or [], place, base=base or "", family=family or "", name=name, **given), place, detach, _card(gpu, place))


def _absolute(path: Path | None) -> str | None:
    """A file that the worker, which runs in another folder, finds too."""
    return str(path.expanduser().resolve()) if path else None


def _size(text: str) -> list[int]:
    width, _, height = text.lower().partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        raise ValueError(f"--size is {text!r}; it takes width x height in px, such as 768x512")
    return [int(width), int(height)]


def _numbers(text: str | None) -> list[float] | None:
    try:
        return [float(one) for one in text.split(",")] if text else None
    except ValueError:
        raise ValueError(f"--strengths is {text!r}; it takes numbers with commas between, such as -1,0,1") from None


@app.command()
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

    from .formats.deliver import needed
    from .hub.publish import export_weights, offers_of

    place = _use(home)
    chosen, checkpoint = _open(run, place), "final" if step is None else step
    name = chosen.title + ("" if step is None else f"-{step}")
    files = needed(offers_of(chosen, place.plugins))
    if not files and step is None:
        raise ValueError(f"this run trained a network of its own: its result is the folder {export_weights(chosen, checkpoint, Path())}")
    if not files:
        if layout:
            raise ValueError("this run trained a network of its own, which comes as a folder in diffusers' layout; leave --layout out")
        _refuse_existing(out or Path(name))
        print(export_weights(chosen, checkpoint, out or Path(name)))
        return
    if layout:
        wanted = [(_layout(layout), out or Path(f"{name}-{layout}.safetensors"), "")]
    else:
        wanted = [(o.layout, out.with_name(o.file_name(out.stem)) if out and n else out or Path(o.file_name(name)), f"  for {o.title}") for n, o in enumerate(files)]
    for _, target, _ in wanted:
        _refuse_existing(target)
    for chosen_layout, target, said in wanted:
        made = export_weights(chosen, checkpoint, target, chosen_layout)
        if made != target:
            shutil.copyfile(made, target)
        print(f"{target}{said}")


@app.command()
def convert(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An adapter as .safetensors, in any layout.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The file to write.")],
    family: Annotated[str, typer.Option(help="Model family that the adapter is for; without it, it is told from the file.")] = "",
    layout: LayoutOption = "",
    base: Annotated[str, typer.Option(help="A base model on this computer, whose layer names tell kohya's apart; without it, the family's own.")] = "",
    home: HomeOption = None,
):
    """Write an adapter of any program again, in the layout that most programs read or the one that is named; it acts the same."""
    from .formats.deliver import offer_for, relaid
    from .formats.mapped import Mapped
    from .formats.recognise import one_family
    from .plan.layers import layer_names

    place = _use(home)
    if not file.is_file():
        raise ValueError(f"there is no file {file}")
    _refuse_existing(out)
    if not family:
        mapped = Mapped(file)
        family = one_family(mapped.entries, mapped.metadata, "", place.plugins).id
    plugin = registry.get("families", family, place.plugins)
    offer = None if layout else offer_for(file, plugin.SPEC, place.plugins)
    relaid(file, out, plugin.SPEC, offer.layout if offer else _layout(layout), layer_names(base or plugin.SPEC.default_source, plugin))
    print(f"{out}  for {offer.title}" if offer else out)


@app.command()
def tool(
    kind: Annotated[str, typer.Argument(metavar="TOOL", help="What is done: merge, resize, scale, extract, fuse, convert, or a plugin's; 'jobs' lists them.")],
    settings: Annotated[list[str] | None, typer.Argument(metavar="NAME=VALUE", help="Settings of the tool; values as in YAML, e.g. rank=8 or 'adapters=[{file: a.safetensors, strength: 0.5}]'.")] = None,
    name: Annotated[str, typer.Option(help="Name of the result.")] = "",
    home: HomeOption = None,
    detach: DetachOption = False,
):
    """Work on weights: merge, resize, scale, extract, fuse, convert.  Without settings it says what the tool takes."""
    from .jobfile import parse

    place = _use(home)
    tools = {id: p.module for id, p in registry.find("jobs", place.plugins).items() if p.ok and getattr(p.module, "TOOL", False)}
    if kind not in tools:
        raise ValueError(f"there is no tool {kind!r}; there are: {', '.join(tools)}")
    if not settings:
        print(f"{tools[kind].TITLE}. {tools[kind].BLURB}")
        for field, info in tools[kind].Config.model_fields.items():
            usual = "" if info.is_required() else f" [{info.get_default(call_default_factory=True)!r}]"
            print("" if field in ("kind", "name") else f"  {field:<14} {info.description}{usual}\n", end="")
        return
    given = _pairs(settings, "a setting")
    _launch(parse(tools[kind].Config, {"kind": kind, "name": name or kind, **given}, "the command"), place, detach)


@app.command()
def inspect(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A .safetensors file.")],
    home: HomeOption = None,
):
    """Say what is in a file of weights: family, kind, rank, strength by block, hashes, and what is suspicious."""
    from .formats import inspecting

    place = _use(home)
    if not file.is_file():
        raise ValueError(f"there is no file {file}")
    for label, value in inspecting.told(inspecting.inspect(file, place.plugins)):
        print(f"{label:<14} {value}")


@app.command()
def controls(
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="Name of a dataset, or a folder of pictures.")],
    kind: Annotated[str, typer.Option(help="edges, lines, grey or blur.")] = "edges",
    home: HomeOption = None,
):
    """Make a control picture, name.control.png, for every picture of a dataset that has none."""
    from .data import datasets, importing

    made = importing.make_controls(datasets.resolve(_use(home), dataset), kind)
    print(datasets.summary(made) if made else "Every picture has a control picture already.")


@app.command()
def health(
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="Name of a dataset, or a folder of pictures.")],
    side: Annotated[int, typer.Option(help="Side of a square training picture, px.")] = 1024,
    trigger: Annotated[str, typer.Option(help="The trigger word, where there is one.")] = "",
    batch: Annotated[int, typer.Option(min=1, help="Pictures in one step.")] = 1,
    what: Annotated[str, typer.Option("--for", help="What is to be learnt: character, object or style; then it is told what is missing for it.")] = "",
    home: HomeOption = None,
):
    """Is this dataset good?  A grade, what is wrong with which pictures, and what to do."""
    from .data import datasets
    from .data import health as judged

    print(judged.report(judged.check(datasets.resolve(_use(home), dataset), judged.Goal(side, batch=batch, trigger=trigger, what=what))))


@app.command()
def versions(
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="Name of a dataset, or a folder of pictures.")],
    restore: Annotated[int | None, typer.Option(metavar="ID", help="Bring this version back; that is a version of its own, so nothing is lost.")] = None,
    compare: Annotated[int | None, typer.Option(metavar="ID", help="Say what has changed since this version.")] = None,
    empty_bin: Annotated[bool, typer.Option("--empty-bin", help="Delete the removed pictures for good.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before the bin is emptied.")] = False,
    home: HomeOption = None,
):
    """List the versions of a dataset, bring one back, or empty the bin of removed pictures."""
    from .data import bin, datasets, states
    from .data import versions as kept
    from .data.verdicts import counted
    from .outside import size

    place = _use(home)
    ds = datasets.resolve(place, dataset)
    if compare is not None:
        print(states.compare(kept.read(ds, compare), states.now(ds)).says() or "Nothing has changed since.")
    elif restore is not None:
        print(_restored(ds, restore))
    elif empty_bin:
        _empty(ds, place, yes)
    else:
        kept.gather(ds)
        for version in kept.listed(ds):
            when = time.strftime("%Y-%m-%d %H:%M", time.localtime(version.t))
            print(f"{version.id:>5}  {when}  {counted(version.pictures, 'picture'):>14}  {version.did}" + (f" ({version.change})" if version.change else ""))
        print(f"Bin: {size(bin.size_bytes(ds))}")


def _restored(ds, id: int) -> str:
    from .data import restoring

    said = restoring.told(ds, id, restoring.restore(ds, id))
    return f"{said[0].upper() if ds.in_place else said[0]}{said[1:]}."


def _empty(ds, place: Home, sure: bool) -> None:
    from .data import bin
    from .outside import size
    from .runs import exactly

    there = bin.size_bytes(ds)
    if not there:
        print("The bin is empty.")
        return
    print(exactly.lost_with_bin(ds, place) or "No version needs what is in it.")
    if sure or typer.confirm(f"Delete {size(there)} for good?"):
        print(f"{size(bin.empty(ds))} are free again.")


@app.command()
def pack(
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="Name of a dataset, or a folder of pictures.")],
    target: Annotated[Path, typer.Argument(metavar="FILE.zip", help="The ZIP to write.")],
    kind: Annotated[str, typer.Option("--as", help="text (a .txt beside each picture), imagefolder (Hugging Face) or kohya.")] = "text",
    home: HomeOption = None,
):
    """Pack a dataset as other programs take it: pictures, captions, masks and control pictures."""
    from .data import datasets, exporting

    count = exporting.write(datasets.resolve(_use(home), dataset), kind, target)
    print(f"{target}: {count} pictures with what belongs to them")


@app.command(name="get-dataset")
def get_dataset(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="A dataset of the Hub: owner/name, hf:owner/name, owner/name@revision, or the address of its page.")],
    into: Annotated[str | None, typer.Option(metavar="DATASET", help="A dataset that is there, to which it is added; without it, a new one of its name.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before it is downloaded.")] = False,
    home: HomeOption = None,
):
    """Bring a dataset of the Hub here: its pictures, captions and tables; its size is said first.  Ctrl-C stops it, what arrived is kept."""
    from .data import datasets
    from .hub import arriving, collect

    place = _use(home)
    found = collect.look(source, None)
    print(f"{found.id}: {found.told()}", flush=True)
    if not yes and not typer.confirm("Download it?"):
        raise typer.Exit(130)
    ds = datasets.open_dataset(place, into) if into else datasets.create(place, found.id.partition("/")[2])
    verdicts = arriving.take(ds, found, None, lambda what, done, of, name: print(f"\r{what} {100 * done // max(of, 1):3} %", end="", file=sys.stderr, flush=True), lambda: False)
    print(file=sys.stderr)
    print(f"{ds.name}: {datasets.summary(verdicts)}")
    for verdict in verdicts:
        if not verdict.ok and verdict.kind not in ("skipped", *datasets.LEFT_OUT):
            print(f"  {verdict.file}: {verdict.reason}")


@app.command(name="push-dataset")
def push_dataset(
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="Name of a dataset, or a folder of pictures.")],
    repo: Annotated[str, typer.Argument(metavar="REPO", help="Repository on the Hub: name, or namespace/name.")],
    public: Annotated[bool, typer.Option("--public", help="Let everybody see it; without it, only you and those you invite.")] = False,
    licence: Annotated[str, typer.Option(help="Licence of the pictures as the Hub names it, e.g. cc-by-4.0; without it, the card names none.")] = "",
    about: Annotated[str, typer.Option(help="What its card says of the dataset.")] = "",
    home: HomeOption = None,
    detach: DetachOption = False,
):
    """Publish a dataset to the Hub: pictures, captions, masks and control pictures with a card, in one commit.  Private unless you say otherwise."""
    from .data import datasets
    from .jobfile import parse
    from .jobs.publish_dataset import Config
    from .names import folder_name

    place = _use(home)
    here = Path(dataset).expanduser()
    name = str(here.resolve()) if not (place.datasets / dataset).is_dir() and here.is_dir() else dataset
    title = datasets.resolve(place, name).title
    data = {"kind": "publish_dataset", "name": folder_name(f"publish {title}"), "dataset": name, "repo_id": repo, "private": not public, "licence": licence, "about": about}
    _launch(parse(Config, data, "the command"), place, detach)


@app.command()
def runs(
    home: HomeOption = None,
    kind: Annotated[str | None, typer.Option(help="Only runs of this job kind.")] = None,
    search: Annotated[str, typer.Option(help="Only runs with these words in name, dataset, trigger word, tags or note; also tag:x preset:x family:x dataset:x status:x after:2026-01-31 before:2026-01-31.")] = "",
):
    """List the runs, newest first."""
    from .runs import searching
    from .runs.run import broken_runs, list_runs

    place = _use(home)
    kinds = list(registry.find("jobs", place.plugins))
    if kind and kind not in kinds:
        raise ValueError(f"there is no job kind {kind!r}; there are: {', '.join(kinds)}")
    if wrong := searching.problem(search):
        raise ValueError(wrong)
    found = searching.find(list_runs(place.outputs, {kind} if kind else None), search)
    for run in found:
        steps = [step for step, _ in run.checkpoints()]
        print(f"{run.status():<12} {run.kind:<9} {f'step {steps[-1]}' if steps else '':<12} {run.id}")
    broken = [] if search.strip() else broken_runs(place.outputs)
    for name, why in broken:
        print(f"{'unreadable':<12} {'':<9} {'':<12} {name}: {why}")
    if not found and not broken:
        print("There are no runs like that." if search.strip() else "There are no runs yet.")


@app.command()
def losses(run: RunArgument, out: Annotated[Path | None, typer.Option(metavar="FILE.csv", help="The table to write; without it, it is printed.")] = None, home: HomeOption = None):
    """The numbers of a run as a table: loss, learning rate, validation loss, seconds a step, memory."""
    from .files import write_atomic
    from .runs import figures

    found = figures.rows(_open(run, _use(home)))
    if out is None:
        for piece in figures.written(found):
            print(piece.decode().replace("\r\n", "\n"), end="")
        return
    _refuse_existing(out)
    write_atomic(out, b"".join(figures.written(found)))
    print(f"{out}: {len(found)} rows")


@app.command()
def prompts(run: RunArgument, lines: Annotated[list[str] | None, typer.Argument(metavar="PROMPT...", help="All sample prompts from the next step on; without any, those that it has are listed.")] = None, home: HomeOption = None):
    """The sample prompts of a run: those it has, or others for one that is running."""
    from .runs import prompting

    one = _open(run, _use(home))
    if lines:
        one.command("prompts", lines=prompting.checked(lines))
        return print("The training takes them from its next step on.")
    standing = prompting.of_run(one, one.config().sample.prompts)
    for place, line in standing.now:
        since = standing.since(place)
        print(f"{f'from step {since}' if since else '':<16}{line}")


@app.command(name="export-run")
def export_run(
    run: RunArgument,
    out: Annotated[Path | None, typer.Option(metavar="FILE.zip", help="The ZIP to write; without it, the run's id in this folder.")] = None,
    base: Annotated[bool, typer.Option("--base", help="With the base model, where it is a folder or file here or was downloaded.")] = False,
    pictures: Annotated[bool, typer.Option("--pictures", help="With the pictures and captions, as the datasets hold them now.")] = False,
    home: HomeOption = None,
):
    """Pack a run into one ZIP that opens on any computer: job, events, log, samples, checkpoints and result; no path of this computer."""
    from .outside import size
    from .runs import packing

    place = _use(home)
    chosen = _open(run, place)
    target = out or Path(f"{chosen.id}.zip")
    _refuse_existing(target)
    print(f"{target}  {size(packing.write(packing.parcel(chosen, place, base, pictures), target))}")


@app.command(name="import-run")
def import_run(
    source: Annotated[Path, typer.Argument(metavar="FILE.zip", help="A run as a ZIP, or its folder.")],
    base: Annotated[str, typer.Option(metavar="PLACE", help="The base model here, where the run names one that is not: a folder, a file or a Hub id.")] = "",
    dataset: Annotated[list[str] | None, typer.Option(metavar="NAME=PLACE", help="A dataset here for one that the run names; may be given several times.")] = None,
    home: HomeOption = None,
):
    """Bring a run here that was packed or copied elsewhere.  It is looked at as data, and starts only when 'resume' says so."""
    from .runs import needs, unpacking

    place = _use(home)
    if not source.exists():
        raise ValueError(f"there is no {source}")
    brought = unpacking.bring(source, place)
    places = _texts(dataset or [], "--dataset")
    if base:
        places |= {need.name: base for need in needs.of(brought.run, place) if need.field == "model.source"}
    if places:
        unpacking.replace(brought.run, place, places)
    for sentence in unpacking.Brought(brought.run, brought.refused, tuple(needs.missing(brought.run, place)), brought.added).said():
        print(sentence)


@app.command()
def track(
    run: RunArgument,
    tracker: Annotated[str, typer.Option("--with", metavar="TRACKER", help="tensorboard, wandb, trackio, or one that was added.")],
    project: Annotated[str | None, typer.Option(help="Project that the run stands in there; without it the same as before, at first easel.")] = None,
    place: Annotated[
        str | None,
        typer.Option(help="TensorBoard's folder, the W&B team or 'offline', Trackio's Space; '' is the usual, which is private; without it the same as before, at first the usual."),
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Tell all of it once more, under another name, as if it had never been told.")] = False,
    home: HomeOption = None,
):
    """Show a run in a tracker: one that is over, or one that goes on, until it ends.  What was told before is not told twice."""
    from .runs import trackside

    place_ = _use(home)
    chosen = _open(run, place_)
    if leaves := registry.get("trackers", tracker, place_.plugins).leaves(trackside.settled(chosen.path, tracker, project, place)[1]):
        print(f"{leaves}.", flush=True)
    kept = trackside.follow(chosen, place_, tracker, project, place, again=again)
    for text in kept.gone:
        print(f"not shown: {text}")
    print(f"{chosen.id} is in {kept.where}, up to step {max(kept.told.step, 0)}")


@app.command()
def jobs(home: HomeOption = None):
    """List the job kinds and the captioners."""
    place = _use(home)
    for kind, heading in (("jobs", "Job kinds"), ("captioning", "Captioners")):
        print(heading)
        for id, plugin in registry.find(kind, place.plugins).items():
            print(f"  {id:<12} {'(tool) ' if plugin.ok and getattr(plugin.module, 'TOOL', False) else ''}{plugin.module.TITLE if plugin.ok else f'does not load: {plugin.error}'}")


@app.command()
def plugins(home: HomeOption = None):
    """List what was added beside what comes with Easel, from where, and why one is not used."""
    from .plugins import RIGHTS, added

    found = added(_use(home))
    for one in found:
        print(f"{one.what:<18} {one.title:<24} {one.source}" + (f"\n{'':<18} not used: {one.error}" if one.error else ""))
    print(RIGHTS if found else "There are no plugins; docs/writing-a-plugin.md tells how to write one.")


@app.command()
def doctor(
    fix: Annotated[bool, typer.Option("--fix", help="Mend what can be mended without losing any work, and say what was done.")] = False,
    home: HomeOption = None,
):
    """Look whether everything that Easel needs is there and works, and how to mend what is not."""
    from .doctor import main_table

    raise typer.Exit(main_table(_name(home), fix=fix))


@app.command()
def update(check: Annotated[bool, typer.Option("--check", help="Ask the package index, once.")] = False):
    """Say whether a newer Easel is out, and how to get it.  Nothing asks by itself."""
    from .hub import newer
    from .version import VERSION

    print(newer.told(VERSION) if check else f"This is Easel {VERSION}. 'update --check' asks the package index whether there is a newer one.")


@app.command()
def report(
    run: Annotated[str, typer.Argument(metavar="[RUN]", help="A run that went wrong, by its id or folder; without it, only the installation is told.")] = "",
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Save what was shown, as .txt or .zip; without it, it is only shown.")] = None,
    names: Annotated[bool, typer.Option("--names", help="Let in the names of the run, datasets, files and models, and places.")] = False,
    words: Annotated[bool, typer.Option("--words", help="Let in captions, prompts and trigger words.")] = False,
    pictures: Annotated[bool, typer.Option("--pictures", help="Let in the sample pictures; then it is a ZIP.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before it is saved.")] = False,
    home: HomeOption = None,
):
    """Show what a report of a problem would say, without names, words, pictures and tokens, and save it where --out says."""
    from . import report as told

    place = _use(home)
    if out is not None:
        _refuse_existing(out)
    made = told.report(place, _open(run, place) if run else None, told.Ticks(names, words, pictures))
    print(made.text, end="", flush=True)
    if out is not None and (yes or typer.confirm(f"Save it as {out}?")):
        told.write(made, out)
        print(f"{out} is written; nothing was sent anywhere.")


@app.command()
def errors(
    code: Annotated[str, typer.Argument(metavar="[CODE]", help="Number of an error, such as E-101; without it, all are listed.")] = "",
    page: Annotated[bool, typer.Option("--page", help="Print docs/errors.md.")] = False,
    home: HomeOption = None,
):
    """Say what the number of an error means: what it comes from, and what to do."""
    from . import errors as table

    _use(home)
    if page:
        print(table.page(), end="")
    elif code:
        kind = table.by_code(code)
        print(f"{kind.code}  {kind.title}\n{kind.cause}\n{kind.do}")
    else:
        for kind in sorted(table.KINDS, key=lambda k: k.code):
            print(f"{kind.code}  {kind.title}")


def _layout(text: str):
    from .formats.deliver import LAYOUTS

    if text not in LAYOUTS:
        raise ValueError(f"--layout is {text!r}; there are: {', '.join(LAYOUTS)}")
    return text


def _refuse_existing(target: Path) -> None:
    if target.exists():
        raise ValueError(f"{target} is there already; choose another name, or remove it")
    if not target.parent.is_dir():
        raise ValueError(f"there is no folder {target.parent}")


def _use(home: Path | None) -> Home:
    """The home that was asked for; whatever looks for one later finds the same."""
    return _name(home).ready()


def _name(home: Path | None) -> Home:
    """The same, without looking whether it can be written to."""
    if home is not None:
        os.environ["EASEL_HOME"] = str(home.expanduser().resolve())
    return find_home()


def _open(text: str, home: Home):
    from .runs.run import Run

    path = Path(text)
    named_by_path = len(path.parts) > 1 and path.resolve().parent == home.outputs.resolve()
    return Run.open(home.outputs, path.resolve().name if named_by_path else text)


def _options(pairs: list[str]) -> dict[str, object]:
    return _pairs(pairs, "--option")


def _pairs(pairs: list[str], what: str) -> dict[str, object]:
    import yaml

    return {name: yaml.safe_load(value) for name, value in _texts(pairs, what).items()}


def _texts(pairs: list[str], what: str) -> dict[str, str]:
    """The same, each value as it was typed."""
    for pair in pairs:
        if "=" not in pair:
            raise ValueError(f"{what} {pair!r} is not of the form name=value")
    return {name: value for name, _, value in (pair.partition("=") for pair in pairs)}


def _card(text: str | None, home: Home) -> str:
    """The UUID of the card that a person names; "" for any."""
    from easel.run import card

    return card(home, text or "")


def _check_ranks(config, gpu: str | None, gpus: int | None, nodes: int, node: int, rdzv: str) -> None:
    """Raises ValueError where what is said of cards and computers does not go together."""
    from .away.place import is_away

    if (gpus is not None or nodes > 1) and config.kind != "train":
        raise ValueError(f"--gpus and --nnodes are for trainings, and this is a job of the kind {config.kind!r}")
    if (gpus is not None or nodes > 1) and is_away(config):
        raise ValueError("--gpus and --nnodes are for this computer's cards, but this run is trained elsewhere (place); set gpus in the job")
    if gpu and (getattr(config, "gpus", 1) if gpus is None else gpus) != 1:
        raise ValueError("--gpu names one card, but the run takes several (gpus); leave one of the two out")
    if (nodes > 1) != bool(rdzv) or node >= nodes:
        raise ValueError(f"--nnodes is {nodes}, --node-rank {node} and --rdzv {rdzv!r}; several computers need all three, each its own number below --nnodes, all the same HOST:PORT")
    if rdzv and not rdzv.rpartition(":")[2].isdecimal():
        raise ValueError(f"--rdzv is {rdzv!r}, but it takes HOST:PORT, such as node1:29500")


def _end_as_ctrl_c_does(nodes: int) -> None:
    """A cluster's manager that ends a job says so to this process too, which must then wait until all is saved."""
    import signal

    if nodes > 1:
        signal.signal(signal.SIGTERM, signal.default_int_handler)


def _join(gpus: int, nodes: int, node: int, rdzv: str, device: str, home: Home) -> None:
    """This computer trains along until the one that leads has done; then the command ends."""
    from .engine import launching

    count = launching.local_processes(gpus, device)
    print(f"waiting for {rdzv}; {count} {'process trains' if count == 1 else 'processes train'} along here", flush=True)
    trouble = launching.join(home, count, launching.Nodes(nodes, node, rdzv), device)
    if trouble:
        print(trouble, file=sys.stderr)
    raise typer.Exit(1 if trouble else 0)


def _launch(config, home: Home, detach: bool, card: str = "", furnish=lambda run: None) -> None:
    from easel.jobs import begin

    from .runs import supervisor

    run = begin(config, home, card, furnish=furnish, told=lambda made: print(f"{made.id}  in {made.path}", flush=True)).folder
    _watch(run, home, 0, detach, "queued" if run.status() == "queued" and not supervisor.starting(run) else "started")


def _watch(run, home: Home, cursor: int, detach: bool, state: str) -> None:
    from .runs.follow import follow

    if detach:
        print("It runs by itself now." if state == "started" else "It is queued: the app starts it when the run before it has ended.")
        return
    status = follow(run, home, cursor)
    if status == "finished" and (made := run.result()):
        print(made)
    raise typer.Exit({"finished": 0, "detached": 0, "stopped": 130}.get(status, 1))


def main() -> None:
    """Runs a command; what a person did wrong is a sentence, not a traceback."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]  # a terminal that cannot show 日本 shows '?'
    for sentence in wire.settle():
        print(sentence, file=sys.stderr)
    try:
        app()
    except (ValueError, OSError) as error:
        named = isinstance(error, OSError) and error.strerror and error.filename and f"{error.filename}: {error.strerror}"
        from .errors import marked

        print(marked(named or str(error)), file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
