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


@pytest.mark.parametrize(("focus", "left", "top"), [((0.5, 0.5), 256, 0), ((0.0, 0.0), 0, 0), ((1.0, 0.2), 512, 0), ((0.3, 0.9), 51, 0)])
def test_a_crop_is_cut_around_its_focus_as_far_as_the_picture_goes(focus, left, top):
    crop = crop_to(2000, 1000, (512, 512), focus)
    assert (crop.scaled, crop.left, crop.top) == ((1024, 512), left, top)


@pytest.mark.parametrize("size", [(1001, 700), (640, 479), (333, 1234)])
def test_without_a_focus_a_crop_lies_where_it_always_lay(size):
    crop = crop_to(*size, (512, 512))
    assert (crop.left, crop.top) == ((crop.scaled[0] - 512) // 2, (crop.scaled[1] - 512) // 2)
