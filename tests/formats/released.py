"""Layers of each model's first release, (outputs, inputs...) by name, written down by rule: facts of the published checkpoints.

Sources: the networks in the released repositories (named at each rule) and, for names beside them, the conversion scripts that diffusers
ships for each model (scripts/convert_*_to_diffusers.py).  Only layers that an adapter may wrap; those that diffusers takes apart stand
here whole, as the first release holds them.
"""

from __future__ import annotations

Shapes = dict[str, tuple[int, ...]]


def wan(blocks: int, width: int, inner: int, out: int, seeing: bool = False) -> Shapes:
    """Wan-Video/Wan2.1, wan/modules/model.py; head: patches of 1 x 2 x 2 of `out` channels; seeing: told what an image encoder says."""
    attention = {f"blocks.{n}.{kind}_attn.{x}": (width, width) for n in range(blocks) for kind in ("self", "cross") for x in "qkvo"}
    ff = {f"blocks.{n}.ffn.{at}": shape for n in range(blocks) for at, shape in ((0, (inner, width)), (2, (width, inner)))}
    eyes = {f"blocks.{n}.cross_attn.{x}_img": (width, width) for n in range(blocks) for x in "kv"} if seeing else {}
    return attention | eyes | ff | {"head.head": (4 * out, width)}


def lumina2() -> Shapes:
    """Alpha-VLLM/Lumina-Image-2.0, models/model.py: 24 heads of 96, 8 of them for k and v; ffn 4 x 2304; modulation from 1024."""
    found: Shapes = {}
    for stack, count in (("noise_refiner", 2), ("context_refiner", 2), ("layers", 26)):
        for n in range(count):
            at = f"{stack}.{n}."
            found |= {f"{at}attention.qkv": (2304 + 768 + 768, 2304), f"{at}attention.out": (2304, 2304)}
            found |= {f"{at}feed_forward.w1": (9216, 2304), f"{at}feed_forward.w2": (2304, 9216), f"{at}feed_forward.w3": (9216, 2304)}
            found |= {} if stack == "context_refiner" else {f"{at}adaLN_modulation.1": (4 * 2304, 1024)}
    return found


def omnigen2() -> Shapes:
    """VectorSpaceLab/OmniGen2, omnigen2/models/transformers/transformer_omnigen2.py: 21 heads of 120, 7 of them for k and v."""
    found: Shapes = {
        "x_embedder": (2520, 64), "time_caption_embed.caption_embedder.1": (2520, 2048),
        "norm_out.linear_1": (2520, 1024), "norm_out.linear_2": (64, 2520),
    }  # fmt: skip
    for stack, count in (("noise_refiner", 2), ("context_refiner", 2), ("layers", 32)):
        for n in range(count):
            at = f"{stack}.{n}."
            found |= {f"{at}attn.to_q": (2520, 2520), f"{at}attn.to_k": (840, 2520), f"{at}attn.to_v": (840, 2520), f"{at}attn.to_out.0": (2520, 2520)}
            found |= {f"{at}feed_forward.linear_1": (10240, 2520), f"{at}feed_forward.linear_2": (2520, 10240), f"{at}feed_forward.linear_3": (10240, 2520)}
            found |= {} if stack == "context_refiner" else {f"{at}norm1.linear": (4 * 2520, 1024)}
    return found


def flux2(double: int, single: int, width: int) -> Shapes:
    """black-forest-labs/flux2, src/flux2/model.py: feed-forwards of 3 x width, gated; modulation shared by all blocks."""
    found: Shapes = {f"double_stream_modulation_{s}.lin": (6 * width, width) for s in ("img", "txt")} | {"single_stream_modulation.lin": (3 * width, width)}
    for n in range(double):
        for s in ("img", "txt"):
            at = f"double_blocks.{n}.{s}_"
            found |= {f"{at}attn.qkv": (3 * width, width), f"{at}attn.proj": (width, width), f"{at}mlp.0": (6 * width, width), f"{at}mlp.2": (width, 3 * width)}
    for n in range(single):
        found |= {f"single_blocks.{n}.linear1": (9 * width, width), f"single_blocks.{n}.linear2": (width, 4 * width)}
    return found


def flux1(modulation: bool = True) -> Shapes:
    """black-forest-labs/flux, src/flux/model.py: 19 double and 38 single blocks of 3072; Chroma's blocks have no modulation of their own."""
    w, found = 3072, {}
    for n in range(19):
        for s in ("img", "txt"):
            at = f"double_blocks.{n}.{s}_"
            found |= {f"{at}attn.qkv": (3 * w, w), f"{at}attn.proj": (w, w), f"{at}mlp.0": (4 * w, w), f"{at}mlp.2": (w, 4 * w)}
            found |= {f"{at}mod.lin": (6 * w, w)} if modulation else {}
    for n in range(38):
        found |= {f"single_blocks.{n}.linear1": (7 * w, w), f"single_blocks.{n}.linear2": (w, 5 * w)}
        found |= {f"single_blocks.{n}.modulation.lin": (3 * w, w)} if modulation else {}
    return found | ({} if modulation else {"img_in": (w, 64), "txt_in": (w, 4096), "final_layer.linear": (64, w)})


def sd35_medium() -> Shapes:
    """Stability-AI/sd3.5, mmditx.py: 24 blocks of 1536, the first 13 attending twice; the last one's text stream ends in its attention."""
    w, found = 1536, {}
    for n in range(24):
        x, c = f"joint_blocks.{n}.x_block.", f"joint_blocks.{n}.context_block."
        found |= {f"{x}attn.qkv": (3 * w, w), f"{x}attn.proj": (w, w), f"{x}mlp.fc1": (4 * w, w), f"{x}mlp.fc2": (w, 4 * w), f"{c}attn.qkv": (3 * w, w)}
        found |= {f"{x}attn2.qkv": (3 * w, w), f"{x}attn2.proj": (w, w)} if n < 13 else {}
        found |= {f"{x}adaLN_modulation.1": ((9 if n < 13 else 6) * w, w), f"{c}adaLN_modulation.1": ((6 if n < 23 else 2) * w, w)}
        found |= {f"{c}attn.proj": (w, w), f"{c}mlp.fc1": (4 * w, w), f"{c}mlp.fc2": (w, 4 * w)} if n < 23 else {}
    return found


def qwen_image() -> Shapes:
    """QwenLM/Qwen-Image is released in diffusers' own names: 60 blocks of 3072."""
    w, found = 3072, {}
    for n in range(60):
        at = f"transformer_blocks.{n}."
        found |= {f"{at}attn.{x}": (w, w) for x in ("to_q", "to_k", "to_v", "to_out.0", "add_q_proj", "add_k_proj", "add_v_proj", "to_add_out")}
        for s in ("img", "txt"):
            found |= {f"{at}{s}_mlp.net.0.proj": (4 * w, w), f"{at}{s}_mlp.net.2": (w, 4 * w), f"{at}{s}_mod.1": (6 * w, w)}
    return found


def qwen_image21() -> Shapes:
    """Qwen/Qwen-Image-2.1 is released in diffusers' own names: 32 blocks of 4096, feed-forwards of 3 x 4096; one modulation for all of them."""
    w, found = 4096, {}
    for n in range(32):
        at = f"transformer_blocks.{n}."
        found |= {f"{at}attn.{x}": (w, w) for x in ("to_q", "to_k", "to_v", "to_out.0")}
        found |= {f"{at}img_mlp.{x}": (3 * w, w) for x in ("proj", "gate_layer")} | {f"{at}img_mlp.out": (w, 3 * w)}
    around = {"img_in": (w, 64), "txt_in.in_layer": (w, 4096), "txt_in.out_layer": (w, w), "modulation.1": (4 * w, w), "norm_out.linear": (w, w), "proj_out": (64, w)}
    return found | around | {f"time_text_embed.timestep_embedder.linear_{n}": (w, i) for n, i in ((1, 256), (2, w))}


def krea2() -> Shapes:
    """krea-ai/krea-2, mmdit.py: 28 blocks of 6144 with 48 heads, 12 of them for k and v; two stacks of two blocks of 2560 before them."""
    found: Shapes = {
        "first": (6144, 64), "last.linear": (64, 6144), "tmlp.0": (6144, 256), "tmlp.2": (6144, 6144), "tproj.1": (6 * 6144, 6144),
        "txtmlp.1": (6144, 2560), "txtmlp.3": (6144, 6144),
    }  # fmt: skip
    stacks = (("blocks", 28, 6144, 12 * 128, 16384), ("txtfusion.layerwise_blocks", 2, 2560, 2560, 6912), ("txtfusion.refiner_blocks", 2, 2560, 2560, 6912))
    for stack, count, w, kv, inner in stacks:
        for n in range(count):
            at = f"{stack}.{n}."
            found |= {f"{at}attn.wq": (w, w), f"{at}attn.wk": (kv, w), f"{at}attn.wv": (kv, w), f"{at}attn.wo": (w, w), f"{at}attn.gate": (w, w)}
            found |= {f"{at}mlp.gate": (inner, w), f"{at}mlp.up": (inner, w), f"{at}mlp.down": (w, inner)}
    return found


def z_image() -> Shapes:
    """Tongyi-MAI/Z-Image in the names of its one-file release: 30 heads of 128, ffn of 10240, modulation from 256."""
    w, found = 3840, {"final_layer.adaLN_modulation.1": (3840, 256)}
    for stack, count in (("noise_refiner", 2), ("context_refiner", 2), ("layers", 30)):
        for n in range(count):
            at = f"{stack}.{n}."
            found |= {f"{at}attention.qkv": (3 * w, w), f"{at}attention.out": (w, w)}
            found |= {f"{at}feed_forward.w1": (10240, w), f"{at}feed_forward.w2": (w, 10240), f"{at}feed_forward.w3": (10240, w)}
            found |= {} if stack == "context_refiner" else {f"{at}adaLN_modulation.0": (4 * w, 256)}
    return found


def _spatial(at: str, width: int, context: int, depth: int, linear: bool) -> Shapes:
    """A spatial transformer of a UNet: proj_in, `depth` blocks, proj_out."""
    end = (width, width) if linear else (width, width, 1, 1)
    found: Shapes = {f"{at}.proj_in": end, f"{at}.proj_out": end}
    for n in range(depth):
        block = f"{at}.transformer_blocks.{n}."
        for attn, inputs in (("attn1", width), ("attn2", context)):
            found |= {f"{block}{attn}.to_q": (width, width), f"{block}{attn}.to_k": (width, inputs), f"{block}{attn}.to_v": (width, inputs), f"{block}{attn}.to_out.0": (width, width)}
        found |= {f"{block}ff.net.0.proj": (8 * width, width), f"{block}ff.net.2": (width, 4 * width)}
    return found


def sdxl() -> Shapes:
    """Stability-AI/generative-models, sgm/modules/diffusionmodules/openaimodel.py with SDXL's config: 2 blocks a level, widths 320, 640, 1280."""
    found: Shapes = {}

    def resnet(at: str, inputs: int, width: int) -> None:
        found.update({f"{at}.in_layers.2": (width, inputs, 3, 3), f"{at}.out_layers.3": (width, width, 3, 3)})
        found.update({f"{at}.skip_connection": (width, inputs, 1, 1)} if inputs != width else {})

    levels, kept, inputs, number = ((320, 0), (640, 2), (1280, 10)), [320], 320, 1
    for level, (width, depth) in enumerate(levels):
        for _ in range(2):
            resnet(f"input_blocks.{number}.0", inputs, width)
            found |= _spatial(f"input_blocks.{number}.1", width, 2048, depth, True) if depth else {}
            inputs, number = width, number + 1
            kept.append(width)
        if level < 2:
            kept.append(width)
            number += 1
    resnet("middle_block.0", 1280, 1280)
    found |= _spatial("middle_block.1", 1280, 2048, 10, True)
    resnet("middle_block.2", 1280, 1280)
    number = 0
    for width, depth in reversed(levels):
        for _ in range(3):
            resnet(f"output_blocks.{number}.0", inputs + kept.pop(), width)
            found |= _spatial(f"output_blocks.{number}.1", width, 2048, depth, True) if depth else {}
            inputs, number = width, number + 1
    return found


def sd15() -> Shapes:
    """What kohya's scripts call SD 1.5's layers: diffusers' own names (kohya-ss/sd-scripts, networks/lora.py)."""
    found: Shapes = {}
    widths, kept, inputs = (320, 640, 1280, 1280), [320], 320
    for level, width in enumerate(widths):
        for n in range(2):
            found |= {f"down_blocks.{level}.resnets.{n}.conv1": (width, inputs, 3, 3), f"down_blocks.{level}.resnets.{n}.conv2": (width, width, 3, 3)}
            found |= _spatial(f"down_blocks.{level}.attentions.{n}", width, 768, 1, False) if level < 3 else {}
            inputs = width
            kept.append(width)
        kept += [width] if level < 3 else []
    found |= {f"mid_block.resnets.{n}.{conv}": (1280, 1280, 3, 3) for n in range(2) for conv in ("conv1", "conv2")}
    found |= _spatial("mid_block.attentions.0", 1280, 768, 1, False)
    for level, width in enumerate(reversed(widths)):
        for n in range(3):
            found |= {f"up_blocks.{level}.resnets.{n}.conv1": (width, inputs + kept.pop(), 3, 3), f"up_blocks.{level}.resnets.{n}.conv2": (width, width, 3, 3)}
            found |= _spatial(f"up_blocks.{level}.attentions.{n}", width, 768, 1, False) if level > 0 else {}
            inputs = width
    return found


def anima(blocks: int = 28) -> Shapes:
    """nvidia-cosmos/cosmos-predict2, cosmos_predict2/models/text2image_dit.py (MiniTrainDIT): blocks of 2048 told by 1024, modulation by way of 256."""
    w, told, found = 2048, 1024, {}
    for n in range(blocks):
        at = f"blocks.{n}."
        for kind, keys in (("self", w), ("cross", told)):
            found |= {f"{at}{kind}_attn.{x}_proj": (w, keys if x in "kv" else w) for x in "qkv"} | {f"{at}{kind}_attn.output_proj": (w, w)}
        found |= {f"{at}mlp.layer1": (4 * w, w), f"{at}mlp.layer2": (w, 4 * w)}
        for kind in ("self_attn", "cross_attn", "mlp"):
            found |= {f"{at}adaln_modulation_{kind}.1": (256, w), f"{at}adaln_modulation_{kind}.2": (3 * w, 256)}
    return found | {"final_layer.adaln_modulation.1": (256, w), "final_layer.adaln_modulation.2": (2 * w, 256), "final_layer.linear": (4 * 16, w)}


def ltx2(blocks: int) -> Shapes:
    """Lightricks/LTX-2, packages/ltx-core (the video's own layers, 32 heads of 128; the whole has 48 blocks): names as in its files."""
    w, found = 4096, {"patchify_proj": (4096, 128), "proj_out": (128, 4096)}
    for n in range(blocks):
        at = f"transformer_blocks.{n}."
        found |= {f"{at}attn{k}.{x}": (w, w) for k in (1, 2) for x in ("to_q", "to_k", "to_v", "to_out.0")}
        found |= {f"{at}ff.net.0.proj": (4 * w, w), f"{at}ff.net.2": (w, 4 * w)}
    return found
