"""Control pictures that show poses: each person's joints and limbs on black, coloured as an openpose ControlNet is shown them.

People are found by RT-DETR (arXiv 2304.08069), their points by ViTPose (arXiv 2204.12484), and drawn by data/poses.py.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ..config import JobConfig

TITLE = "Make pose pictures"
BLURB = "A control picture of how people stand, for each picture of a dataset that has none: what an openpose ControlNet is shown. A picture with nobody in it gets none."
TOOL = True
NEEDS_TOKEN = True
MODEL = "usyd-community/vitpose-base-simple"  # 86 million weights, Apache 2.0
DETECTOR = "PekingU/rtdetr_r50vd"  # 172 MB, Apache 2.0
PERSON = "person"  # the detector's word
COCO = 0  # the data set that a model with experts is asked about: its number among those that ViTPose+ was trained on
AT_ONCE = 16  # people that the model looks at together
NAMED = 10


class Config(JobConfig):
    """Whose poses are looked for, and by what."""

    kind: Literal["pose"] = Field("pose", description="Job kind.")
    dataset: str = Field(min_length=1, max_length=1000, description="Name of a dataset, or the path of a folder of pictures.")
    threshold: float = Field(0.3, ge=0, le=1, description="How sure the model must be of a point for it to be drawn, 0 to 1; limbs need both their ends.")
    person_threshold: float = Field(0.5, ge=0, le=1, description="How sure the detector must be that somebody is a person, 0 to 1; lower finds more people, and more that are none.")
    model: str = Field(MODEL, min_length=1, max_length=1000, description="The pose model: the Hub id of a ViTPose, or a folder with its config.json and model.safetensors.")
    detector: str = Field(DETECTOR, min_length=1, max_length=1000, description="The model that finds the people: the Hub id of an RT-DETR, or a folder with its config.json and model.safetensors.")
    device: Literal["cpu", "cuda", "xpu", "mps"] = Field("cpu", description="Where it runs.")


def run(config: Config, ctx) -> None:
    """Writes name.control.png beside each picture that shows somebody and says how many, or raises Stopped; what was made stays.  Raises ValueError in plain words."""
    from ..data.verdicts import counted
    from ..tools import seeing

    found = seeing.controls(config.dataset, ctx, lambda: _looker(config, ctx), "looking for people")
    said = [f"{counted(found.made, 'pose picture')} made"]
    if found.empty:
        names = ", ".join(found.empty[:NAMED]) + (f" and {len(found.empty) - NAMED} more" if len(found.empty) > NAMED else "")
        said.append(f"nobody was seen in {counted(len(found.empty), 'picture')}, which got none: {names}")
    if found.had:
        said.append(f"{counted(found.had, 'picture')} had a control picture already and kept it")
    ctx.emit("finished", path="", summary="; ".join(said))


def _looker(config: Config, ctx):
    """Picture -> the skeletons of those in it, RGB of its size; None where nobody is seen."""
    from ..data import poses
    from ..tools import seeing

    detector = seeing.Wanted("detector", config.detector, "person detector", DETECTOR)
    marker = seeing.Wanted("model", config.model, "pose model", MODEL)
    folders = [seeing.folder_of(wanted, ctx) for wanted in (detector, marker)]
    seeing.check_device(config.device)
    ctx.phase("loading the person detector and the pose model")
    find = _finder(detector, folders[0], config)
    mark = _marker(marker, folders[1], config)

    def look(picture):
        people = [person for person in mark(picture, find(picture)) if any(person)]
        return poses.drawn(picture.size, people) if people else None

    return look


def _finder(wanted, folder: str, config: Config):
    """Picture -> the boxes of the people in it: left, top, right, bottom in px.  Raises ValueError where the model knows no people."""
    import torch
    from transformers import AutoImageProcessor, AutoModelForObjectDetection

    from ..tools import seeing

    model, processor = seeing.load(wanted, folder, config.device, model=AutoModelForObjectDetection, processor=AutoImageProcessor)
    people = {int(number) for number, name in model.config.id2label.items() if name.lower() == PERSON}
    if not people:
        raise ValueError(f"the {wanted.what} in {folder} knows no class {PERSON!r}; use {wanted.published}")

    def find(picture) -> list[list[float]]:
        with torch.inference_mode():
            said = model(**processor(images=picture, return_tensors="pt").to(config.device))
        (found,) = processor.post_process_object_detection(said, threshold=config.person_threshold, target_sizes=[picture.size[::-1]])
        boxes = [box for box, label in zip(found["boxes"].tolist(), found["labels"].tolist(), strict=True) if label in people]
        return [box for box in boxes if box[2] > box[0] and box[3] > box[1]]

    return find


def _marker(wanted, folder: str, config: Config):
    """Picture and boxes -> the pose of each of these people.  Raises ValueError for a model that marks other points."""
    import numpy as np
    import torch
    from transformers import VitPoseForPoseEstimation
    from transformers.image_utils import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

    from ..data import poses
    from ..tools import seeing

    model, _ = seeing.load(wanted, folder, config.device, model=VitPoseForPoseEstimation)
    if model.config.num_labels != poses.COCO_POINTS:
        raise ValueError(f"the {wanted.what} in {folder} marks {model.config.num_labels} points, not the {poses.COCO_POINTS} of a person in COCO; use {wanted.published}")
    eyes = model.config.backbone_config
    height, width = eyes.image_size
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD))

    def marked(picture, regions) -> list:
        crops = [np.asarray(poses.crop(picture, of, (width, height))) for of in regions]
        pixels = (torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2).float() / 255 - mean) / std
        experts = {"dataset_index": torch.full((len(crops),), COCO, device=config.device)} if eyes.num_experts > 1 else {}
        with torch.inference_mode():
            heat = model(pixels.to(config.device), **experts).heatmaps.float().cpu().numpy()
        return [poses.pose(*poses.decoded(h, of), config.threshold) for h, of in zip(heat, regions, strict=True)]

    def mark(picture, boxes) -> list:
        regions = [poses.region(box, width / height) for box in boxes]
        return [person for n in range(0, len(regions), AT_ONCE) for person in marked(picture, regions[n : n + AT_ONCE])]

    return mark
