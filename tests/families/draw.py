"""Draws with toy base models and LoRAs through the public pipeline, in a process that never trained.  Called by test_every_family.py.

Each line on stdin is an order in JSON, answered by a line with the exit code of the fork that drew it: so nothing of one drawing is
left for the next, and the libraries are imported once for all families.
"""

import gc
import importlib
import json
import os
import sys
import traceback

gc.disable()  # until all is imported

import diffusers
import peft  # noqa: F401 which load_lora_weights would import in every fork
import torch
from PIL import Image


def main() -> None:
    for line in sys.stdin:
        order = json.loads(line)
        index = f"{order['folder']}/model_index.json"
        pipeline = None  # without that file diffusers has no ordinary pipeline for it
        if os.path.isfile(index):
            with open(index, encoding="utf-8") as stream:
                pipeline = getattr(diffusers, json.load(stream)["_class_name"], None)
        gc.freeze()
        fork = os.fork()
        if fork == 0:
            os.dup2(2, 1)  # what a library prints is no answer
            os._exit(_done(order, pipeline))
        print(os.waitstatus_to_exitcode(os.waitpid(fork, 0)[1]), flush=True)


def _done(order: dict, pipeline: type | None) -> int:
    try:
        draw(order, pipeline)
    except BaseException:  # noqa: BLE001 a fork may not go on with its parent's loop
        traceback.print_exc()
        return 1
    return 0


def draw(order: dict, pipeline: type | None) -> None:
    """Writes what the pipeline draws without the LoRA and with it to order["out"]."""
    toy = importlib.import_module(f"tests.families.{order['family']}")
    if hasattr(toy, "shrink"):
        toy.shrink(setattr)
    pipe = toy.opened(pipeline, order["folder"]) if hasattr(toy, "opened") else pipeline.from_pretrained(order["folder"]) if pipeline else ours(order)
    pipe.set_progress_bar_config(disable=True)
    height, width = order["size"]
    more = ({"num_frames": order["frames"]} if order["frames"] else {}) | getattr(toy, "ASKED", {}) | getattr(toy, "CALL", {})
    if order["shown"]:  # what the picture is made from
        more[order["image"]] = [Image.open(file).convert("RGB") for file in order["shown"]]
    if order["begins"]:  # a clip with its first frame
        from tests.families.wan21_i2v import mend

        mend(pipe)
        more["image"] = Image.linear_gradient("L").resize((width, height)).convert("RGB")

    def picture():
        out = pipe(prompt="a red cat", num_inference_steps=2, height=height, width=width, output_type="np", generator=torch.Generator().manual_seed(0), **more)
        return torch.as_tensor((out.frames if hasattr(out, "frames") else out.images)[0])

    pictures = {"base": picture()}
    for file, told in order["loras"]:
        pipe.load_lora_weights(file, **told)
    pictures["lora"] = picture()
    torch.save(pictures, order["out"])


def ours(order):
    """The pipeline of a family that diffusers does not have, from its own parts."""
    from pathlib import Path

    from training import registry
    from training.family import Placement

    family = registry.get("families", order["family"])
    parts = {name for names in family.SPEC.parts.values() for name in names}
    return family.pipeline(family.load(Path(order["folder"]), parts, Placement(torch.float32, "cpu")))


if __name__ == "__main__":
    main()
