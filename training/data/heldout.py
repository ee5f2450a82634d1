"""Which pictures are kept out of training: spread over datasets and the folders that they came from, and never one whose twin is learnt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from . import health, parts
from .datasets import Dataset, Picture


@dataclass(frozen=True)
class Candidate:
    """A picture that may be held out.  place: dataset and sub-folder.  twins: a name that those which are nearly the same share; "" for one that has none."""

    sha256: str
    place: tuple[str, str]
    twins: str = ""


def candidates(ds: Dataset, pictures: Sequence[Picture]) -> list[Candidate]:
    """One for each picture, byte-for-byte copies once.  Who is whose twin is known where the dataset's health was looked at."""
    came, seen = parts.of(ds), health.remembered(ds)
    once = {p.sha256: p for p in reversed(pictures)}
    pictures = [p for p in pictures if once[p.sha256] is p]
    known = [p for p in pictures if p.sha256 in seen]
    groups = health.near(known, {p.id: seen[p.sha256] for p in known})
    twins = {id: f"{ds.name}/{group[0]}" for group in groups for id in group}
    return [Candidate(p.sha256, (ds.name, came.get(p.id, p.id.rpartition("/")[0])), twins.get(p.id, "")) for p in pictures]


def chosen(pictures: Sequence[Candidate], wanted: int, order: Sequence[int]) -> set[str]:
    """The sha256 of those that are held out.  order: a permutation of their places, by which chance decides within a folder.

    A picture that has twins is held out only where too few others are there, and then they all are: a copy of a learnt picture would praise what learns by heart.
    """
    rank: Mapping[int, int] = {place: n for n, place in enumerate(order)}
    groups: dict[str, list[int]] = {}
    for at, one in enumerate(pictures):
        groups.setdefault(one.twins or one.sha256, []).append(at)
    whole = sorted(groups.values(), key=lambda group: (pictures[group[0]].place, rank[group[0]]))
    alone = [group for group in whole if len(group) == 1]
    if len(alone) >= wanted:
        return {pictures[group[0]].sha256 for group in _spread(alone, wanted)}
    taken = [at for group in alone for at in group]
    for group in sorted((group for group in whole if len(group) > 1), key=len):
        if len(taken) >= wanted or len(taken) + len(group) >= len(pictures):
            break
        taken += group
    return {pictures[at].sha256 for at in taken[: len(pictures) - 1]}


def _spread(groups: Sequence[list[int]], count: int) -> list[list[int]]:
    """`count` of them, evenly spread."""
    return [groups[(2 * n + 1) * len(groups) // (2 * count)] for n in range(count)]
