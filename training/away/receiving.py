"""What runs on the other machine before anything of Easel is there: says what it has, and takes files by their hashes.

It is handed to that machine's Python as text, so it uses the standard library alone, of Python 3.8 or later, and nothing of ours.

    probe                 a line of JSON: Python, home folder, free disk, memory, cards
    lacks ROOT            stdin: {name: [sha256, bytes]}; answers {sha256: bytes of it that are here already} of what is not here whole
    take ROOT             stdin: frames "sha256 offset length" and so many bytes, each added to the part of that hash
    settle ROOT           stdin: as lacks; every part that is whole gets its names; answers the names that are still wanting
    remove ROOT RUN SETUP the run's folder is gone; with SETUP "yes", all of ROOT is, unless another run lies in it
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from typing import Any

PARTS = ".parts"
RUNS = "runs"
CARD = "card.lock"  # in RUNS, of those that train there
CHUNK = 1 << 20


def probe():
    try:
        ram = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        ram = 0
    home = os.path.expanduser("~")
    told = {"python": ".".join(map(str, sys.version_info[:3])), "home": home, "free": shutil.disk_usage(home).free, "ram": ram, "system": sys.platform, "cards": cards()}
    print(json.dumps(told))


def cards():
    """[[name, bytes of memory]] of NVIDIA's and AMD's cards."""
    found = []
    try:
        asked = ["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
        for line in subprocess.run(asked, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=10, check=False).stdout.decode("utf-8", "replace").splitlines():
            name, _, size = line.rpartition(",")
            if size.strip().isdigit():
                found.append([name.strip(), int(size) << 20])
    except (OSError, subprocess.SubprocessError):
        pass
    nodes = "/sys/class/kfd/kfd/topology/nodes"
    for node in sorted(os.listdir(nodes)) if not found and os.path.isdir(nodes) else []:
        banks = os.path.join(nodes, node, "mem_banks")
        for bank in os.listdir(banks) if os.path.isdir(banks) else []:
            try:
                with open(os.path.join(banks, bank, "properties")) as file:
                    told = dict(line.split() for line in file if len(line.split()) == 2)
            except OSError:
                continue
            if told.get("heap_type") in ("1", "2"):  # memory of a card
                found.append(["AMD card", int(told["size_in_bytes"])])
    return sorted(found, key=lambda card: -card[1])


def place_of(root, name):
    """root/name.  Ends for a name that would lead out."""
    parts = name.split("/")
    if not name or name.startswith("/") or "\\" in name or any(part in ("", ".", "..") or "\0" in part for part in parts):
        sys.exit(f"{name!r} is no name of a file in a bundle")
    return os.path.join(root, *parts)


def part_of(root, digest):
    if not re.fullmatch("[0-9a-f]{64}", digest):
        sys.exit(f"{digest!r} is no hash")
    return os.path.join(root, PARTS, digest)


def is_whole(path, digest, size):
    try:
        if os.path.islink(path) or os.path.getsize(path) != size:
            return False
        found = hashlib.sha256()
        with open(path, "rb") as file:
            for chunk in iter(lambda: file.read(CHUNK), b""):
                found.update(chunk)
    except OSError:
        return False
    return found.hexdigest() == digest


def wanted():
    return json.loads(sys.stdin.buffer.read().decode("utf-8"))


def lacks(root):
    os.makedirs(os.path.join(root, PARTS), mode=0o700, exist_ok=True)
    missing = {}
    for name, (digest, size) in wanted().items():
        if digest not in missing and not is_whole(place_of(root, name), digest, size):
            part = part_of(root, digest)
            have = os.path.getsize(part) if os.path.isfile(part) else 0
            missing[digest] = have if have <= size else 0
    print(json.dumps(missing))


def take(root):
    source = sys.stdin.buffer
    for line in iter(source.readline, b""):
        digest, offset, length = line.split()
        left = int(length)
        part = part_of(root, digest.decode())
        with open(part, "r+b" if os.path.exists(part) else "w+b") as file:
            file.truncate(int(offset))
            file.seek(int(offset))
            while left:
                chunk = source.read1(min(CHUNK, left))
                if not chunk:
                    return
                file.write(chunk)
                file.flush()  # what came before the line breaks is there afterwards
                left -= len(chunk)


def settle(root):
    wanting = []
    bad = set()
    for name, (digest, size) in wanted().items():
        target, part = place_of(root, name), part_of(root, digest)
        if is_whole(target, digest, size):
            continue
        if digest in bad or not is_whole(part, digest, size):
            bad.add(digest)
            wanting.append(name)
            continue
        os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
        if os.path.lexists(target):
            os.remove(target)
        shutil.copyfile(part, target + ".new")
        os.replace(target + ".new", target)
    for digest in bad:
        if os.path.exists(part_of(root, digest)):
            os.remove(part_of(root, digest))
    if not wanting:
        shutil.rmtree(os.path.join(root, PARTS), ignore_errors=True)
    print(json.dumps(wanting))


def remove(root, run, setup):
    if not re.fullmatch("[0-9a-f]{16}", run):
        sys.exit(f"{run!r} is no run")
    shutil.rmtree(os.path.join(root, RUNS, "easel-" + run), ignore_errors=True)
    others = os.path.join(root, RUNS)
    left = [name for name in (os.listdir(others) if os.path.isdir(others) else []) if name != CARD]
    if not left and os.path.isdir(others):
        try:
            if os.path.exists(os.path.join(others, CARD)):
                os.remove(os.path.join(others, CARD))
            os.rmdir(others)
        except OSError:  # another one has just come
            left = os.listdir(others)
    if setup == "yes" and not left:
        ours = [name for name in (os.listdir(root) if os.path.isdir(root) else []) if name in ("venv", ".easel", "launcher.log", "launcher.old.log") or name.startswith("code-")]
        for name in ours:
            path = os.path.join(root, name)
            shutil.rmtree(path, ignore_errors=True) if os.path.isdir(path) else os.remove(path)
    if os.path.isdir(root) and not os.listdir(root):
        os.rmdir(root)


os.umask(0o077)
COMMANDS: "dict[str, Any]" = {"probe": probe, "lacks": lacks, "take": take, "settle": settle, "remove": remove}
COMMANDS[sys.argv[1]](*sys.argv[2:])
