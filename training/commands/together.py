"""Several cards or computers that train one run, as a command names them."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from ..home import Home

GpusOption = Annotated[int | None, typer.Option("--gpus", min=0, help="Cards that train it together, a process each, in place of what its job says; 0 takes all. On a processor, processes.")]
NodesOption = Annotated[int, typer.Option("--nnodes", min=1, help="Computers that train it together; the same command runs on each of them, see docs/clusters.md.")]
NodeOption = Annotated[int, typer.Option("--node-rank", min=0, help="Number of this computer among them; 0 leads, and has the run's folder.")]
RdzvOption = Annotated[str, typer.Option("--rdzv", metavar="HOST:PORT", help="Where they meet: an address of number 0, and a free port there.")]


def check(config, gpu: str | None, gpus: int | None, nodes: int, node: int, rdzv: str) -> None:
    """Raises ValueError where what is said of cards and computers does not go together."""
    from ..away.place import is_away

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


def end_as_ctrl_c_does(nodes: int) -> None:
    """A cluster's manager that ends a job says so to this process too, which must then wait until all is saved."""
    import signal

    if nodes > 1:
        signal.signal(signal.SIGTERM, signal.default_int_handler)


def join(gpus: int, nodes: int, node: int, rdzv: str, device: str, home: Home) -> None:
    """This computer trains along until the one that leads has done; then the command ends."""
    from ..engine import launching

    count = launching.local_processes(gpus, device)
    print(f"waiting for {rdzv}; {count} {'process trains' if count == 1 else 'processes train'} along here", flush=True)
    trouble = launching.join(home, count, launching.Nodes(nodes, node, rdzv), device)
    if trouble:
        print(trouble, file=sys.stderr)
    raise typer.Exit(1 if trouble else 0)
