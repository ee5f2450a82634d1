"""Several adapters as one, one cut down, one made stronger: on the products of thin matrices, never on a network.

Exactly: dW = sum of strength * up @ down, which is the factors side by side.  Where a rank is asked for, the best one of it (Eckart and Young) by
QR and SVD of the factors.  TIES (Yadav et al. 2023) and DARE (Yu et al. 2024) choose among single weights, so they work on dW itself, a layer
at a time, through peft's own functions.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ..formats.factors import Cut, Product, balanced, shortened, total

Told = Callable[[str, int, int], None]  # (layer, done, of)
Method = Literal["sum", "ties", "dare", "dare_ties"]
MOST_RANK = 1024


@dataclass(frozen=True)
class Share:
    """One adapter of a merge.  strength: of all of it; blocks: [(regular expression of a layer's name, factor)], all that fit are multiplied."""

    layers: Mapping[str, Callable[[], Product]]
    strength: float = 1.0
    blocks: Sequence[tuple[str, float]] = ()

    def at(self, stem: str) -> float:
        """Its strength at one layer.  A pattern's dots also stand for the underscores of kohya's names."""
        found = self.strength
        for pattern, factor in self.blocks:
            if re.search(pattern, stem):
                found *= factor
        return found


def merged(shares: Sequence[Share], method: Method, density: float, seed: int, cut: Cut, told: Told) -> tuple[dict[str, Product], dict[str, float]]:
    """({layer: product}, {layer: share of ‖dW‖ that its rank keeps}) of adapters together.  Layers whose strength is 0 everywhere are left out.

    Raises ValueError for a block pattern that fits no layer, and for layers of different shapes.
    """
    _check_patterns(shares)
    stems = sorted({stem for share in shares for stem in share.layers})
    made, kept = {}, {}
    for done, stem in enumerate(stems):
        told(stem, done, len(stems))
        given = [(share.at(stem), share.layers[stem]()) for share in shares if stem in share.layers and share.at(stem)]
        if not given:
            continue
        if method == "sum":
            whole = total(given)
            made[stem], kept[stem] = (whole, 1.0) if cut == Cut() else shortened(whole, cut)
        else:
            made[stem], kept[stem] = _chosen(stem, given, method, density, seed, cut)
    if not made:
        raise ValueError("nothing is left: every strength is 0")
    return made, kept


def cut_down(layers: Mapping[str, Callable[[], Product]], cut: Cut, told: Told) -> tuple[dict[str, Product], dict[str, float]]:
    """The same for one adapter."""
    return merged([Share(layers)], "sum", 1.0, 0, cut, told)


def _check_patterns(shares: Sequence[Share]) -> None:
    for share in shares:
        for pattern, _ in share.blocks:
            if not any(re.search(pattern, stem) for stem in share.layers):
                raise ValueError(f"the block {pattern!r} fits no layer; a layer is called for example {min(share.layers)}")


def _chosen(stem: str, given: list[tuple[float, Product]], method: Method, density: float, seed: int, cut: Cut) -> tuple[Product, float]:
    """TIES and DARE on one layer's dW, then the best product of the ranks together, or of the rank that was asked for."""
    import torch
    from peft.utils.merge_utils import dare_linear, dare_ties, ties

    dense = [torch.from_numpy(p.dense()) for _, p in given]
    if len({d.shape for d in dense}) != 1:
        raise ValueError(f"{stem} has different shapes in these files; are they for one base model?")
    weights = torch.tensor([s for s, _ in given], dtype=dense[0].dtype)
    how = {"ties": ties, "dare": dare_linear, "dare_ties": dare_ties}[method]
    # DARE drops at random: seeded by the layer, so that the same job gives the same file
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int.from_bytes(hashlib.sha256(f"{seed} {stem}".encode()).digest()[:7], "little"))
        whole = how(dense, weights, density)
    rank = min(cut.rank if cut.rank < MOST_RANK else sum(p.rank for _, p in given), *whole.reshape(len(whole), -1).shape)
    u, s, v = torch.linalg.svd(whole.reshape(len(whole), -1).double(), full_matrices=False)
    s = s.numpy()
    r = Cut(rank, cut.share, cut.threshold).of(s)
    norm = float((s**2).sum() ** 0.5)
    return balanced(u[:, :r].numpy(), s[:r], v[:r].numpy(), given[0][1].kernel), float((s[:r] ** 2).sum() ** 0.5) / norm if norm else 1.0
