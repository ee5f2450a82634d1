"""Trainings, and any job from a file: train  estimate  import  resume  run-bundle  longer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..home import COMMAND
from .asked import DetachOption, GpuOption, HomeOption, RunArgument, card_of, open_run, refuse_existing, use_home
from .queued import wait_of
from .together import GpusOption, NodeOption, NodesOption, RdzvOption, check, end_as_ctrl_c_does, join
from .watching import launch, watch

AtOption = Annotated[str, typer.Option("--at", metavar="TIME", help="Begin no sooner: 22:30 (the next one), or 2026-11-30T22:30, in this computer's time.")]
AfterOption = Annotated[str, typer.Option("--after", metavar="RUN", help="Begin only when that run is finished.")]


def train(
    job: Annotated[Path, typer.Argument(metavar="JOB", help="A job as YAML or JSON: a whole config; its 'kind' may be any job's.")],
    home: HomeOption = None,
    detach: DetachOption = False,
    gpu: GpuOption = None,
    gpus: GpusOption = None,
    nnodes: NodesOption = 1,
    node_rank: NodeOption = 0,
    rdzv: RdzvOption = "",
    at: AtOption = "",
    after: AfterOption = "",
):
    """Run a job from a file and watch it.  Ctrl-C stops it after this step, with everything saved."""
    from ..jobfile import load_job

    place = use_home(home)
    config: Any = load_job(job, place.plugins)
    check(config, gpu, gpus, nnodes, node_rank, rdzv)
    if node_rank:
        join(config.gpus if gpus is None else gpus, nnodes, node_rank, rdzv, config.device, place)
    end_as_ctrl_c_does(nnodes)
    wait = wait_of(place, at, after)
    launch(config, place, detach, card_of(gpu, place), lambda run: run.wish_for_ranks(gpus, nnodes, rdzv) if gpus is not None or nnodes > 1 else None, wait)


def estimate(
    job: Annotated[Path, typer.Argument(metavar="JOB", help="A training as YAML or JSON.")],
    home: HomeOption = None,
    gpu: GpuOption = None,
):
    """Say what a training would take, before it is started: steps, time, memory, disk, and whether it fits."""
    from easel import jobs

    place = use_home(home)
    guess = jobs.estimate(job, home=place, gpu=gpu or "")
    print("\n".join(guess.sentences))
    raise typer.Exit(0 if guess.fits else 1)


def bring(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A job file of ai-toolkit (YAML), kohya (TOML, or the GUI's JSON), OneTrainer (JSON), diffusion-pipe (TOML) or SimpleTuner (JSON).")],
    out: Annotated[Path | None, typer.Option(metavar="JOB.YAML", help="Write a job file that 'train' takes; without it, only the report is printed.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Dataset to learn from, in place of the folders that the file names.")] = None,
    home: HomeOption = None,
):
    """Settings of another trainer: what is taken over, what has no equal here and why, and a job file of them."""
    from ..files import write_atomic
    from ..jobfile import dump_yaml
    from ..plan import translating
    from ..plan.draught import job_of

    place = use_home(home)
    if out is not None:
        refuse_existing(out)
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
    from ..runs import origin, supervisor

    place = use_home(home)
    chosen, wished = open_run(run, place), None
    if gpus is not None or nnodes > 1 or node_rank or rdzv:
        config = chosen.config()
        check(config, gpu, gpus, nnodes, node_rank, rdzv)
        if node_rank:
            join(config.gpus if gpus is None else gpus, nnodes, node_rank, rdzv, config.device, place)
        end_as_ctrl_c_does(nnodes)
        wished = chosen.wished_ranks()
        chosen.wish_for_ranks(gpus, nnodes, rdzv)
    if gpu is not None:
        chosen.wish_for_card(card_of(gpu, place))
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
    watch(chosen, place, cursor, detach, state)


def longer(
    run: RunArgument,
    steps: Annotated[int, typer.Option(help="How many more optimizer steps.")],
    home: HomeOption = None,
    detach: DetachOption = False,
    gpu: GpuOption = None,
    rate: Annotated[str, typer.Option(help="How the learning rate goes on: stretch (as one run of all the steps), or begin anew: cosine (and come down again) or constant.")] = "stretch",
    share: Annotated[float | None, typer.Option(help="What it begins anew at, as a share of its highest; without it where it is now, or 0.3 where it has come down to nothing.")] = None,
):
    """Train a finished run longer: a new run goes on with its weights and optimizer."""
    from ..runs import longer as more
    from ..runs import supervisor
    from ..runs.reached import reached

    place = use_home(home)
    chosen = open_run(run, place)
    if refused := more.hindrance(chosen):
        raise ValueError(refused)
    way = more.Rate(rate, more.usual_share(chosen.config()) if share is None else share)
    made = more.begin(chosen, steps, place, card_of(gpu, place), way)
    for sentence in more.said(chosen.config(), steps, way, bool(reached(chosen))):
        print(sentence)
    print(f"{made.id}  in {made.path}", flush=True)
    watch(made, place, 0, detach, supervisor.start(made, place))


def run_bundle(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="What another Easel has sent: a folder with job.yaml and MANIFEST.json.")],
    limit: Annotated[float, typer.Option(min=0, metavar="SECONDS", help="Stop it with a checkpoint after so long; 0 means never.")] = 0,
):
    """Do the job of a bundle on this machine, or go on with it: what a place does with a run that was sent there."""
    from ..away import there

    raise typer.Exit(there.run(folder.absolute(), limit))
