"""Draws with a toy base model and a LoRA through the public pipeline, in a process of its own.  Called by test_every_family.py."""

import json
import sys

import diffusers
import torch


def main() -> None:
    args = json.loads(sys.argv[1])
    with open(f"{args['folder']}/model_index.json", encoding="utf-8") as stream:
        name = json.load(stream)["_class_name"]
    pipe = getattr(diffusers, name).from_pretrained(args["folder"]) if hasattr(diffusers, name) else ours(args)
    pipe.set_progress_bar_config(disable=True)
    height, width = args["size"]
    more = {"num_frames": args["frames"]} if args["frames"] else {}

    def draw():
        out = pipe(prompt="a red cat", num_inference_steps=2, height=height, width=width, output_type="np", generator=torch.Generator().manual_seed(0), **more)
        return torch.as_tensor((out.frames if hasattr(out, "frames") else out.images)[0])

    pictures = {"base": draw()}
    pipe.load_lora_weights(args["lora"])
    pictures["lora"] = draw()
    torch.save(pictures, args["out"])


def ours(args):
    """The pipeline of a family that diffusers does not have, from its own parts."""
    from pathlib import Path

    from training import registry
    from training.family import Placement

    family = registry.get("families", args["family"])
    parts = {name for names in family.SPEC.parts.values() for name in names}
    return family.pipeline(family.load(Path(args["folder"]), parts, Placement(torch.float32, "cpu")))


if __name__ == "__main__":
    main()
