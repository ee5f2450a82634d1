"""Tables of captions in an import: read before the pictures are taken in, laid on them afterwards."""

from __future__ import annotations

from ..outside import Refused, read_plain
from . import captions, tables
from .datasets import BY_HAND, Dataset, Verdict, counted
from .edits import new_op
from .memory import scan as scan_folder
from .offered import Left, Offered, Pairs, place
from .roles import Role


class Tables:
    """The tables of captions that came with an import, read before the pictures are taken in and laid on them afterwards."""

    def __init__(self, offered: list[Offered], read: dict[Offered, tables.Read]):
        self.files = set(read)
        self._read = {table: found for table, found in read.items() if not found.reason}
        self._by_key = {(place(o), o.name): o for o in offered if o not in read}
        self._named = tables.Named(self._by_key)

    @classmethod
    def read(cls, offered: list[Offered], left: Left) -> tuple[Tables, list[Verdict]]:
        """Those among the offered files, and a verdict for each that is damaged.  What is no table after all is counted as another program's."""
        found, verdicts = {}, []
        for one in offered:
            if not left.formats.reads(one.name):
                continue
            try:
                said = left.formats.read(read_plain(one.path, tables.MAX_BYTES), one.name)
            except Refused as error:
                said = tables.Read("", reason=str(error))
            except OSError as error:
                said = tables.Read("", reason=f"cannot be read: {error.strerror or error}")
            if said is None:
                left.others.append(one.name)
            elif said.reason:
                verdicts.append(Verdict(one.label, False, said.reason, kind="table"))
            found[one] = said or tables.Read("", reason="another program's")
        return cls(offered, found), verdicts

    def folders(self) -> list[tuple[Offered, tables.Folder]]:
        """(the table, what it says of a folder) of all of them."""
        return [(table, folder) for table, read in self._read.items() for folder in read.folders]

    def roles(self) -> dict[Offered, Role]:
        """What the tables call masks and control pictures, each with its picture."""
        found = {}
        for table, read in self._read.items():
            for row in read.rows:
                owner = self._named.of(place(table), row.file) if row.control or row.mask else None
                for number, (kind, said) in enumerate((("mask", row.mask), ("control", row.control), *(("control", c) for c in row.more_controls))):
                    file = self._named.of(place(table), said) if said and owner else None
                    if file and file != owner:
                        found[self._by_key[file]] = Role(kind, (self._by_key[owner].folder, self._by_key[owner].stem), place=(1, max(1, number)))  # type: ignore[index]
        return found

    def laid_on(self, ds: Dataset, came: dict[tuple[str, str], list[str]], pairs: Pairs, new: set[str]) -> list[Verdict]:
        """Captions to their pictures, where no caption file of their own came along; a verdict for each table, and one for each picture."""
        if not self._read:
            return []
        captioned = {p.id: p for p in ds.pictures(check=False) if p.caption}
        verdicts, first, changed, several = [], {}, {}, False
        for table, read in self._read.items():
            if read.folders:
                continue
            lost, kept, used = 0, 0, []
            for row in read.rows:
                if not row.captions:
                    continue
                file = self._named.of(place(table), row.file)
                offered = self._by_key[file] if file else None
                ids = came.get((offered.folder, offered.name), []) if offered else pairs.named(row.file)
                if not ids:
                    lost += 1
                for id in ids:
                    old = captioned.get(id)
                    if old and (id in new or (id in pairs.came and old.caption_source in BY_HAND)):
                        kept += 1
                        continue
                    (first if id in new else changed)[id] = "\n".join(row.captions)
                    several |= len(row.captions) > 1
                    used.append(id)
            verdicts += self._verdicts(table, read, used, lost, kept)
        with ds._locked():
            scan = scan_folder(ds.path)
            for id, caption in first.items():
                ds._write_caption(scan, id, caption)
        ds.set_captions(changed, "file", new_op())
        if several and any(len(captions.split(t, ds.lines)) == 1 for t in (*first.values(), *changed.values()) if "\n" in t):
            ds.set_lines("several")
            verdicts.append(Verdict("", True, "pictures came with several captions each, so each line is read as one in this dataset; the Captions tab can change that", kind="table"))
        return verdicts

    def _verdicts(self, table: Offered, read: tables.Read, used: list[str], lost: int, kept: int) -> list[Verdict]:
        verdicts = [Verdict(table.label, True, "", id, "caption") for id in used]
        if len(read.rows) == 1 and used:
            return verdicts
        said = [f"{counted(kept, 'picture')} keep the caption that they have" if kept > 1 else "1 picture keeps the caption that it has"] if kept else []
        said += [f"{counted(lost, 'line')} of it {'speaks' if lost == 1 else 'speak'} of no picture that is here"] if lost else []
        if used:
            said.insert(0, f"{read.title}: {counted(len(used), 'caption')} taken from it")
        return [*verdicts, Verdict(table.label, bool(used or kept), "; ".join(said) or f"{read.title}: it holds no captions", kind="table")]
