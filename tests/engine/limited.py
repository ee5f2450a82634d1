"""A worker that may hold only so much memory: `python limited.py MB RUN_PATH HOME CONTROL_OFFSET`.

The limit is the system's own (RLIMIT_DATA), on what is held beyond the libraries, which are imported first.  A worker that goes on in a fresh
process does so by the same words, and has the same limit anew.
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path


def held_bytes() -> int:
    """What counts against the limit now."""
    said = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in said.splitlines() if line.startswith("VmData:")) * 1024


def main() -> int:
    import diffusers  # noqa: F401
    import peft  # noqa: F401
    import torch
    import transformers  # noqa: F401

    import training.engine.loop  # noqa: F401
    from training.runs import worker

    torch.set_num_threads(1)
    torch.nn.Conv2d(1, 1, 3)(torch.zeros(1, 1, 8, 8)).sum().backward()  # threads and kernels are there
    resource.setrlimit(resource.RLIMIT_DATA, (held_bytes() + int(sys.argv[1]) * 10**6, resource.RLIM_INFINITY))
    return worker.main(sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
