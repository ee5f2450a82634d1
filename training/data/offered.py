"""What is offered to a dataset: files with the places that they came from, what is left out of them, and which pictures a file belongs to."""

from __future__ import annotations

import os
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from . import noise, tables
from .datasets import Verdict
from .roles import Pairing


@dataclass(frozen=True)
class Offered:
    """One file that somebody wants in the dataset.  folder, name: where it came from, for pairing; ours: may be moved, not copied.

    loose: came by itself, so that all such files count as lying beside each other: a browser's uploads lie in a folder each.
    """

    label: str
    folder: str
    name: str
    path: Path
    ours: bool = False
    loose: bool = False

    @property
    def stem(self) -> str:
        return unicodedata.normalize("NFC", Path(self.name).stem)


def place(offered: Offered) -> str:
    """The folder that a file counts as lying in."""
    return "" if offered.loose else offered.folder.replace(os.sep, "/")


class Left:
    """Counts what the system and other programs keep beside pictures, so that it does not drown what was refused."""

    def __init__(self) -> None:
        self.system, self.others, self.formats = 0, [], tables.Formats()

    def takes(self, folder: str, name: str) -> bool:
        """Whether a file is one of these; then it is counted."""
        if noise.is_system(folder, name):
            self.system += 1
        elif noise.is_others(name) and not self.formats.reads(name):
            self.others.append(name)
        else:
            return False
        return True

    def verdicts(self) -> list[Verdict]:
        said = noise.left_out(self.system, self.others)
        return [Verdict("", False, said, kind="skipped")] if said else []


class Pairs:
    """Which pictures a caption, mask or control picture belongs to: those of its own folder first, then any, those of the dataset too, where only one fits."""

    def __init__(self, came: dict[tuple[str, str], list[str]], there: list[str]):
        by_folder: dict[str, list[tuple[str, str]]] = {}
        for (folder, name), ids in came.items():
            by_folder.setdefault(folder, []).extend((name, id) for id in ids)
        self.came = {id for ids in came.values() for id in ids}
        self._folders = {folder: Pairing(rows) for folder, rows in by_folder.items()}
        self._held = [{id for _, id in rows} for rows in by_folder.values()]
        self._all = Pairing([row for rows in by_folder.values() for row in rows] + [(id, id) for id in there])

    def beside(self, text: Offered) -> list[str]:
        """Those of the same folder."""
        return self.inside(text.folder, text.stem)

    def of_role(self, offered: Offered, owner: tuple[str, str]) -> list[str]:
        """Those that a mask or control picture belongs to."""
        return self.inside(owner[0], owner[1]) or self.inside(offered.folder, owner[1]) or self.anywhere(owner[1])

    def beside_of(self, ids: set[str]) -> set[str]:
        """Those that came in the same folders as these, without these."""
        return {id for held in self._held if held & ids for id in held} - ids

    def anywhere(self, stem: str) -> list[str]:
        return self._all.of(stem)

    def named(self, file: str) -> list[str]:
        """The one picture that a table means by a path of its own; [] where several might be meant."""
        name = unicodedata.normalize("NFC", file.replace("\\", "/").rpartition("/")[2])
        found = self._all.of(name.rpartition(".")[0] or name) or self._all.of(name)
        return found if len(found) == 1 else []

    def inside(self, folder: str, stem: str) -> list[str]:
        """Those of one folder."""
        return self._folders[folder].of(stem) if folder in self._folders else []
