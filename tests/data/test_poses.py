"""Poses: where a person's points are, and how they are drawn; on pictures and heat maps whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from training.data import poses

HEAT = (64, 48)  # of a crop of 192 x 256: a quarter


def stick() -> poses.Pose:
    """Somebody who stands with both arms spread, in a picture of 512 x 768."""
    at = {
        "nose": (256, 100), "right shoulder": (196, 180), "left shoulder": (316, 180), "right elbow": (130, 180), "left elbow": (382, 180), "right wrist": (60, 180),
        "left wrist": (452, 180), "right hip": (216, 400), "left hip": (296, 400), "right knee": (216, 540), "left knee": (296, 540), "right ankle": (216, 680),
        "left ankle": (296, 680), "right eye": (240, 80), "left eye": (272, 80), "right ear": (220, 90), "left ear": (292, 90),
    }  # fmt: skip
    places = np.zeros((poses.COCO_POINTS, 2))
    for name, n in zip(poses.NAMES, poses.OF_COCO, strict=True):
        if n is not None:
            places[n] = at[name]
    return poses.pose(places, np.ones(poses.COCO_POINTS), 0.3)


def test_a_known_figure_has_openpose_colours_at_the_known_places():
    drawn = poses.drawn((512, 768), [stick()])
    at = lambda x, y: drawn.getpixel((x, y))
    assert (at(256, 100), at(256, 180), at(196, 180), at(452, 180)) == ((255, 0, 0), (255, 85, 0), (255, 170, 0), (0, 255, 85))  # nose, neck in the middle, right shoulder, left wrist
    assert (at(272, 80), at(220, 90), at(292, 90), at(296, 680)) == ((255, 0, 255), (255, 0, 170), (255, 0, 85), (85, 0, 255))  # left eye, both ears, left ankle
    # the middles of limbs, three fifths as bright: neck to right shoulder, to left shoulder, right forearm, neck to nose, left shin
    assert (at(226, 180), at(286, 180), at(95, 180), at(256, 140), at(296, 610)) == ((153, 0, 0), (153, 51, 0), (153, 153, 0), (0, 0, 153), (0, 51, 153))
    assert (at(0, 0), at(256, 400), at(256, 300)) == ((0, 0, 0),) * 3  # between the hips there is no limb


def test_limbs_are_as_thick_as_the_pictures_shorter_side_asks():
    for times in (0.5, 1, 2):
        person = [(x * times, y * times) for x, y in stick()]
        pixels = np.asarray(poses.drawn((int(512 * times), int(768 * times)), [person]))
        across = np.flatnonzero(pixels[int(610 * times)].sum(axis=-1))  # both shins at their middle
        assert abs(len(across) / 2 - (8 * times + 1)) <= 1.5


def test_points_that_are_not_sure_are_left_out_with_their_limbs_and_no_neck_is_made_of_one_shoulder():
    places = np.stack([np.arange(17.0) * 20 + 10, np.full(17, 50.0)], axis=-1)
    sure = np.full(17, 0.9)
    sure[[6, 0]] = 0.29, 0.3  # COCO's right shoulder, and its nose
    seen = dict(zip(poses.NAMES, poses.pose(places, sure, 0.3), strict=True))
    assert seen["right shoulder"] is None and seen["neck"] is None
    assert seen["nose"] == (10, 50) and seen["left shoulder"] == (110, 50)
    alone = [None] * len(poses.NAMES)
    alone[3] = (64.0, 64.0)
    pixels = np.asarray(poses.drawn((128, 128), [alone])).reshape(-1, 3)
    assert {tuple(map(int, p)) for p in pixels} == {(0, 0, 0), (255, 255, 0)}


@pytest.mark.parametrize(("box", "size"), [((0, 0, 90, 40), (112.5, 150)), ((10, 20, 40, 120), (93.75, 125)), ((5, 5, 65, 85), (75, 100))])
def test_a_box_is_widened_to_the_models_shape_and_padded_never_narrowed(box, size):
    found = poses.region(box, 192 / 256)
    assert (found.x, found.y) == ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
    assert (found.width, found.height) == pytest.approx(size)


def test_a_blob_in_a_picture_is_found_where_it_is_to_a_twentieth_of_a_pixel():
    of = poses.region((60, 50, 240, 330), 192 / 256)
    y, x = np.mgrid[:400, :300]
    for place in ((100.3, 90.8), (160.0, 200.5), (230.7, 310.2)):
        wide = 2 * of.height / (HEAT[0] - 1)
        blob = 255 * np.exp(-((x - place[0]) ** 2 + (y - place[1]) ** 2) / (2 * wide**2))
        cut = poses.crop(Image.fromarray(blob.round().astype(np.uint8)).convert("RGB"), of, (192, 256)).convert("L")
        # cells of heat lie corner on corner with the crop, as the model's do
        heat = _corner_on_corner(np.asarray(cut, np.float32) / 255, HEAT)
        places, sure = poses.decoded(heat[None], of)
        assert np.abs(places[0] - place).max() < 0.05
        assert sure[0] == heat.max()


def _corner_on_corner(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    rows, columns = (np.linspace(0, was - 1, now) for was, now in zip(values.shape, size, strict=True))
    down = np.stack([np.interp(rows, np.arange(values.shape[0]), column) for column in values.T], axis=-1)
    return np.stack([np.interp(columns, np.arange(values.shape[1]), row) for row in down])


def test_what_reaches_beyond_the_picture_is_black_and_flat_heat_has_a_place_too():
    cut = np.asarray(poses.crop(Image.new("RGB", (50, 50), "white"), poses.region((0, 0, 50, 50), 0.75), (48, 64)))
    assert cut[32, 24].tolist() == [255] * 3 and cut[0, 0].tolist() == [0] * 3 and cut[-1, -1].tolist() == [0] * 3
    places, sure = poses.decoded(np.zeros((17, *HEAT), np.float32), poses.region((0, 0, 50, 50), 0.75))
    assert np.isfinite(places).all() and not sure.any()
