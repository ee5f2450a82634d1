"""Which size each picture is trained at, and how an epoch is cut into batches."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Crop:
    """How a picture becomes a training picture: scaled to cover the bucket, then cut around its focus.  All px."""

    scaled: tuple[int, int]  # width, height after scaling
    left: int
    top: int
    width: int  # of the bucket
    height: int

    @property
    def lost(self) -> float:
        """Share of the picture that is cut off, 0..1."""
        return 1 - self.width * self.height / (self.scaled[0] * self.scaled[1])


def bucket_sizes(side_px: int, divisor: int, max_aspect: float) -> list[tuple[int, int]]:
    """[(width, height)] with about side_px**2 pixels each, sides divisible by `divisor`, at most `max_aspect` : 1.

    Raises ValueError when not even the square fits the divisor.
    """
    if side_px < divisor:
        raise ValueError(f"a resolution of {side_px} px is below the smallest side of this family, {divisor} px; raise it")
    sizes = set()
    square = side_px // divisor * divisor
    for width in range(divisor, math.floor(side_px * math.sqrt(max_aspect)) + 1, divisor):
        height = min(math.floor(side_px * side_px / width / divisor) * divisor, math.floor(width * max_aspect / divisor) * divisor)
        if height >= divisor and max(width, height) / min(width, height) <= max_aspect + 1e-9:
            sizes |= {(width, height), (height, width)}
    largest: dict[float, tuple[int, int]] = {}
    for size in sorted(sizes | {(square, square)}):  # of one shape, the largest
        largest[size[0] / size[1]] = size
    # a narrow bucket that floor() made much smaller than the square would waste the picture
    return sorted(s for s in largest.values() if s[0] * s[1] >= 0.7 * square * square)


def choose(width: int, height: int, sizes: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """The bucket whose shape is nearest to the picture's."""
    shape = math.log(width / height)
    return min(sizes, key=lambda s: (abs(math.log(s[0] / s[1]) - shape), -s[0] * s[1]))


def crop_to(width: int, height: int, bucket: tuple[int, int], focus: tuple[float, float] = (0.5, 0.5)) -> Crop:
    """The crop that brings a width x height picture to `bucket` with the least loss.

    focus: where in the picture its middle lies as far as the picture goes, (from the left, from the top) as shares.
    """
    scale = max(bucket[0] / width, bucket[1] / height)
    scaled = max(bucket[0], round(width * scale)), max(bucket[1], round(height * scale))
    left, top = (min(max(math.floor(at * whole - part / 2), 0), whole - part) for at, whole, part in zip(focus, scaled, bucket, strict=True))
    return Crop(scaled, left, top, *bucket)


def plan_epoch(buckets: Sequence[Hashable], batch: int, seed: int, epoch: int) -> list[list[int]]:
    """Batches of item numbers for one epoch: each item once, one bucket a batch, nothing repeated to fill one up.

    buckets: the bucket of each item.  batch: pictures in one optimizer step.  Re-formed every epoch.
    """
    from .randomness import permutation  # brings torch, which an estimate in the app's own process does without

    open_batches: dict[Hashable, list[int]] = {}
    batches = []
    for item in permutation(len(buckets), seed, "order", epoch):
        filling = open_batches.setdefault(buckets[item], [])
        filling.append(item)
        if len(filling) == batch:
            batches.append(open_batches.pop(buckets[item]))
    batches += open_batches.values()
    return [batches[i] for i in permutation(len(batches), seed, "batches", epoch)]
