"""A docker program that stands in for the real one: writes down what it was told, and does it in a folder.

    docker_standin.py FOLDER words…      FOLDER: calls.jsonl, the container's /data, a file `running` while its worker runs, and `cards`, what nvidia-smi says there
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

REPO = Path(__file__).parents[2]
NAME = "easel-worker-1"


def main(folder: Path, words: list[str]) -> int:
    with (folder / "calls.jsonl").open("a") as calls:
        calls.write(json.dumps(words) + "\n")
    if words[0] == "--context":
        words = words[2:]
    running = (folder / "running").is_file()
    if (folder / "stopped").is_file():
        print("Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?", file=sys.stderr)
        return 1
    if words[0] == "ps":
        if running and "label=easel.worker=queue" in words:
            print(json.dumps({"Names": NAME, "State": "running"}))
        return 0
    if words[:3] == ["exec", NAME, "nvidia-smi"]:
        if (folder / "cards").is_file():
            print((folder / "cards").read_text())
            return 0
        print('OCI runtime exec failed: exec failed: unable to start container process: exec: "nvidia-smi": executable file not found in $PATH: unknown', file=sys.stderr)
        return 127
    if words[:3] == ["exec", "-i", NAME] and words[3:5] == ["/opt/easel/bin/python", "/easel/training/away/shelved.py"]:
        if not running:
            print(f"Error response from daemon: container {NAME} is not running", file=sys.stderr)
            return 1
        inner = [str(folder / word[1:]) if word.startswith("/data/") else word for word in words[5:]]
        os.execv(sys.executable, [sys.executable, str(REPO / "training" / "away" / "shelved.py"), *inner])
    print(f"unknown command {words}", file=sys.stderr)
    return 125


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
