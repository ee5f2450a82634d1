"""Files that nobody means to train on: the system's own, and what other programs keep beside pictures."""

from __future__ import annotations

import re
from collections import Counter

SYSTEM_FILES = {"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "autorun.inf"}
SYSTEM_FOLDERS = {
    "__macosx", "@eadir", "@tmp", "#recycle", "#snapshot", "$recycle.bin", "recycler", "recycled", "system volume information", "lost+found", "found.000",
}  # fmt: skip
# caches, settings, weights, tables, notes: kohya, OneTrainer, ai-toolkit, taggers, browsers and editors leave them beside pictures
OTHERS = (
    ".npz", ".npy", ".safetensors", ".ckpt", ".pt", ".pth", ".bin", ".gguf", ".toml", ".json", ".jsonl", ".yaml", ".yml", ".ini", ".cfg", ".csv", ".tsv",
    ".db", ".sqlite", ".sqlite3", ".log", ".xmp", ".aae", ".thm", ".md", ".py", ".bat", ".sh", ".lnk", ".url", ".bak", ".old", ".orig", ".tmp", ".part",
    ".crdownload", ".swp", "~", "zone.identifier",
)  # fmt: skip
ARCHIVES = (".7z", ".rar", ".tar", ".gz", ".tgz", ".bz2", ".tbz2", ".xz", ".txz", ".zst", ".lzma", ".cbz", ".cbr")
UNPACK = "is an archive that is not opened here; unpack it and add the folder, or pack the pictures as a ZIP"
NAMED = 4  # endings that the line names


def is_system(folder: str, name: str) -> bool:
    """Whether this is a dot file, a resource fork, a folder picture or a bin of some system: nothing that a person put there."""
    parts = [*re.split(r"[\\/]", folder), name]
    hidden = any(p.startswith(".") and p not in (".", "..") for p in parts)
    return hidden or any(p.lower() in SYSTEM_FOLDERS for p in parts) or name.lower() in SYSTEM_FILES


def is_others(name: str) -> bool:
    """Whether a file is by its name one that another program keeps beside pictures."""
    return name.lower().endswith(OTHERS)


def is_archive(name: str) -> bool:
    """Whether a file is an archive other than a ZIP."""
    return name.lower().endswith(ARCHIVES)


def left_out(system: int, others: list[str]) -> str:
    """One line on the files that were left out; "" for none.  others: names."""
    said = [_files(system, "hidden system file")] if system else []
    if others:
        endings = [ending for ending, _ in Counter("Zone.Identifier" if n.lower().endswith("zone.identifier") else _ending(n) for n in others).most_common()]
        shown = ", ".join(endings[:NAMED]) + (", …" if len(endings) > NAMED else "")
        said.append(f"{_files(len(others), 'file')} of other programs ({shown})")
    return f"{' and '.join(said)} left out" if said else ""


def _ending(name: str) -> str:
    return "~" if name.endswith("~") else name[name.rfind(".") :].lower()


def _files(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
