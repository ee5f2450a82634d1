"""Buckets and batches: little is cropped, nothing is repeated, and every step is known beforehand."""

from __future__ import annotations

import pytest

from training.engine.buckets import bucket_sizes, choose, crop_to, plan_epoch


@pytest.mark.parametrize(("side", "divisor", "aspect"), [(512, 64, 2.0), (1024, 64, 2.0), (64, 16, 2.0), (512, 8, 4.0), (512, 64, 1.0)])
def test_buckets_divide_hold_about_the_pixels_and_come_in_both_directions(side, divisor, aspect):
    sizes = bucket_sizes(side, divisor, aspect)
    assert (side // divisor * divisor,) * 2 in sizes
    for width, height in sizes:
        assert width % divisor == height % divisor == 0
        assert 0.6 * side * side <= width * height <= side * side
        assert max(width, height) / min(width, height) <= aspect
        assert (height, width) in sizes
    if aspect == 1.0:
        assert len(sizes) == 1


def test_a_resolution_below_the_divisor_says_what_to_do():
    with pytest.raises(ValueError, match="48 px is below .* 64 px; raise it"):
        bucket_sizes(48, 64, 2.0)


@pytest.mark.parametrize(("width", "height"), [(4000, 3000), (3000, 4000), (500, 500), (900, 450), (64, 100)])
def test_crops_stay_inside_the_picture_and_lose_little(width, height):
    crop = crop_to(width, height, choose(width, height, bucket_sizes(512, 64, 2.0)))
    assert 0 <= crop.left and crop.left + crop.width <= crop.scaled[0]
    assert 0 <= crop.top and crop.top + crop.height <= crop.scaled[1]
    assert crop.lost < 0.12
    assert crop.scaled[0] == crop.width or crop.scaled[1] == crop.height


def test_an_epoch_holds_every_item_once_and_no_batch_mixes_buckets():
    buckets = ["wide"] * 7 + ["tall"] * 5 + ["square"] * 3
    for epoch in range(3):
        batches = plan_epoch(buckets, 4, seed=1, epoch=epoch)
        assert sorted(n for b in batches for n in b) == list(range(15))
        assert all(len({buckets[n] for n in b}) == 1 and len(b) <= 4 for b in batches)
        assert len(batches) == 2 + 2 + 1
    assert plan_epoch(buckets, 4, 1, 0) == plan_epoch(buckets, 4, 1, 0) != plan_epoch(buckets, 4, 1, 1)
