"""Datasets: those of a home, and new ones made of files and folders."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from training.data import datasets, importing
from training.data.datasets import Dataset, Progress, Verdict

from .place import Place, absolute, at

__all__ = ["Dataset", "Made", "Verdict", "add", "all", "delete", "make", "open"]

Sources = str | os.PathLike | Iterable[str | os.PathLike]


@dataclass(frozen=True)
class Made:
    """A dataset after something was added, and what became of each file."""

    dataset: Dataset
    verdicts: tuple[Verdict, ...]

    @property
    def name(self) -> str:
        """By which other calls know the dataset."""
        return self.dataset.name

    @property
    def said(self) -> str:
        """One sentence: '24 pictures added, 20 captions paired'."""
        return datasets.summary(self.verdicts)


def all(home: Place = None) -> list[Dataset]:
    """All datasets, by title."""
    return datasets.list_datasets(at(home))


def open(name: str, home: Place = None) -> Dataset:
    """A dataset by its name, or a folder of pictures that is used in place.  Raises ValueError with the nearest name."""
    return datasets.resolve(at(home), name)


def make(title: str, sources: Sources = (), home: Place = None, on_progress: Progress | None = None) -> Made:
    """A new dataset of copies of these files and folders; captions, masks and control pictures beside the pictures come along.

    sources: pictures, clips, .txt files, ZIPs, and whole folders.  Raises ValueError where a source is not there, or nothing of them could be used.
    """
    places = _listed(sources)
    ds = datasets.create(at(home), title)
    made = Made(ds, tuple(_taken(ds, places, on_progress)))
    if places and not ds.counts().total:
        datasets.delete(ds)
        why = next((f": {v.file} {v.reason}" for v in made.verdicts if not v.ok and v.reason), "")
        raise ValueError(f"nothing could be made a dataset of ({made.said}){why}")
    return made


def add(dataset: str, sources: Sources, home: Place = None, on_progress: Progress | None = None) -> Made:
    """More files and folders for a dataset that is there."""
    ds, places = datasets.open_dataset(at(home), dataset), _listed(sources)
    return Made(ds, tuple(_taken(ds, places, on_progress)))


def delete(name: str, home: Place = None) -> None:
    """Remove a dataset with the copies of its pictures, for good; what they were copied from stays."""
    datasets.delete(datasets.open_dataset(at(home), name))


def _listed(sources: Sources) -> list[Path]:
    """The sources as they are on the disk.  Raises ValueError for one that is not there."""
    places = [absolute(s) for s in ([sources] if isinstance(sources, str | os.PathLike) else sources)]
    for place in places:
        if not place.exists():
            raise ValueError(f"there is no file or folder {place}")
    return places


def _taken(ds: Dataset, places: list[Path], on_progress: Progress | None) -> list[Verdict]:
    verdicts = []
    for folder in (p for p in places if p.is_dir()):
        verdicts += importing.add_folder(ds, folder, on_progress)
    files = [p for p in places if not p.is_dir()]
    return verdicts + (importing.add_files(ds, files, on_progress) if files else [])
