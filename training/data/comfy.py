"""The prompt in a ComfyUI graph, found as ComfyUI itself would come by it: from what a sampler is told to draw, back to the node where it was typed.

A graph is {id: {class_type, inputs: {name: value or [id, output]}}}, as its API has it and as it lies in the PNG files that it saves under
`prompt`.  It is data: nothing in it is run.  A node that is not known here ends the search, and is named.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .. import outside

MAX_NODES = 5_000
MAX_DEPTH = 200
MAX_TEXT = 20_000  # letters
MAX_TEXTS = 64

# inputs of a sampler, and of the guider that newer ones are given, in which what is to be drawn comes
WANTED = ("positive", "guider", "conditioning", "cond1")
SAMPLER = "Sampler"
LATENTS = ("latent_image", "samples", "latent", "image", "pixels", "video")  # by which one sampler goes on with another's picture
# nodes that pass what is to be drawn on: {class: the inputs that it comes in by}; where there is a pair, the output says which
PASSED: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(
        (
            "ConditioningSetArea", "ConditioningSetAreaPercentage", "ConditioningSetAreaStrength", "ConditioningSetMask", "ConditioningSetTimestepRange", "FluxGuidance", "ControlNetApply",
            "unCLIPConditioning", "GLIGENTextBoxApply", "StyleModelApply", "ReferenceLatent", "ConditioningSetProperties", "FluxKontextMultiReferenceLatentMethod", "BasicGuider",
        ),
        ("conditioning",),
    ),
    "ConditioningCombine": ("conditioning_1", "conditioning_2"), "ConditioningConcat": ("conditioning_to", "conditioning_from"), "ConditioningAverage": ("conditioning_to", "conditioning_from"),
    "CFGGuider": ("positive",), "DualCFGGuider": ("cond1",), "Reroute": ("",), "Reroute (rgthree)": ("",),
}
PAIRED = {  # output 0 is what is wanted, output 1 what is not
    "ControlNetApplyAdvanced", "ControlNetApplySD3", "ControlNetInpaintingAliMamaApply", "InpaintModelConditioning", "InstructPixToPixConditioning", "WanImageToVideo", "WanFirstLastFrameToVideo",
    "SD_4XUpscale_Conditioning", "StableCascade_StageB_Conditioning", "LTXVConditioning", "LTXVImgToVideo", "CosmosImageToVideoLatent", "PairConditioningSetProperties",
}  # fmt: skip
EMPTY = {"ConditioningZeroOut"}
ENCODER = "TextEncode"  # in the name of every node that words go into: CLIPTextEncode, CLIPTextEncodeSDXL, CLIPTextEncodeFlux, TextEncodeQwenImageEdit
TYPED = ("text", "prompt", "user_prompt", "t5xxl", "mt5xl", "llama", "text_g", "clip_g", "clip_l", "text_l", "bert")
# nodes that hold words or put them together: {class: their inputs}
WORDS: dict[str, tuple[str, ...]] = {
    "PrimitiveString": ("value",), "PrimitiveStringMultiline": ("value",), "PrimitiveNode": ("value",), "String Literal": ("string",), "StringConstant": ("string",), "StringConstantMultiline": ("string",),
    "Text Multiline": ("text",), "Text box": ("text",), "CR Text": ("text",), "CR Prompt Text": ("prompt",), "ttN text": ("text",), "easy positive": ("positive",), "Simple String": ("string",),
    "ShowText|pysssss": ("text",), "StringConcatenate": ("string_a", "string_b"), "Text Concatenate": ("text_a", "text_b", "text_c", "text_d"), "JoinStrings": ("string1", "string2"),
    "Text Concatenate (JPS)": ("text1", "text2", "text3", "text4", "text5"), "Reroute": ("",), "Reroute (rgthree)": ("",),
}  # fmt: skip


class Unknown(ValueError):
    """The way to the prompt leads through something that is not known here.  The message is the reason, as the end of a sentence."""


def is_graph(told: Any) -> bool:
    """Whether JSON is a graph of nodes."""
    return isinstance(told, dict) and 0 < len(told) <= MAX_NODES and all(isinstance(n, dict) and isinstance(n.get("class_type"), str) and isinstance(n.get("inputs"), dict) for n in told.values())


def prompt_of(graph: dict[str, dict]) -> str:
    """What the picture was drawn from; "" where nothing was said.  Raises Unknown."""
    samplers = {id: node for id, node in graph.items() if SAMPLER in node["class_type"] and any(_is_link(node["inputs"].get(name)) for name in WANTED)}
    if not samplers:
        raise Unknown("it has no sampler that is known here")
    earlier = {before for id in samplers for before in _upstream(graph, id) if before in samplers and before != id}
    last = [id for id in samplers if id not in earlier] or list(samplers)
    said: dict[str, None] = {}
    for id in last:
        inputs = graph[id]["inputs"]
        name = next(name for name in WANTED if _is_link(inputs.get(name)))
        texts = list(dict.fromkeys(t for t in _wanted(graph, inputs[name], MAX_DEPTH) if t.strip()))
        said[", ".join(texts[:MAX_TEXTS])[:MAX_TEXT]] = None
    if len(said) > 1:
        raise Unknown(f"it draws {len(said)} pictures from different prompts")
    return next(iter(said), "")


def read(text: str | bytes) -> dict[str, dict] | None:
    """The graph that a PNG's text holds; None where it is none."""
    try:
        told = outside.parse_json(text, "graph")
    except outside.Refused:
        return None
    return told if is_graph(told) else None


def _upstream(graph: dict[str, dict], id: str) -> set[str]:
    """The nodes whose picture a sampler goes on with."""
    seen: set[str] = set()
    waiting = [id]
    while waiting:
        inputs = _node(graph, waiting.pop())["inputs"]
        links = [inputs[name] for name in LATENTS if _is_link(inputs.get(name))]
        fresh = {str(link[0]) for link in links} - seen
        seen |= fresh
        waiting += [one for one in fresh if one in graph]
    return seen


def _wanted(graph: dict[str, dict], link: list, left: int) -> Iterator[str]:
    """The texts behind a link of what is to be drawn, in the order in which they are put together."""
    node = _node(graph, link[0])
    kind, inputs = node["class_type"], node["inputs"]
    if not left:
        raise Unknown("its nodes go in a circle")
    if kind in EMPTY:
        return
    if ENCODER in kind:
        yield from _encoded(graph, kind, inputs, left)
        return
    names = (("positive", "negative")[min(_output(link), 1)],) if kind in PAIRED else PASSED.get(kind)
    if names is None:
        raise Unknown(f"its prompt goes through the node {kind[:60]!r}, which is not known here")
    for name in names:
        if _is_link(inputs.get(name)):
            yield from _wanted(graph, inputs[name], left - 1)


def _encoded(graph: dict[str, dict], kind: str, inputs: dict[str, Any], left: int) -> Iterator[str]:
    """What is typed into an encoder, each text once: those of several encoders are mostly the same."""
    names = [name for name in TYPED if isinstance(inputs.get(name), str) or _is_link(inputs.get(name))]
    if not names:
        raise Unknown(f"no text was found in the node {kind[:60]!r}")
    for name in names:
        yield _words(graph, inputs[name], left - 1)


def _words(graph: dict[str, dict], value: Any, left: int) -> str:
    """A text, or what the nodes behind a link put together."""
    if isinstance(value, str):
        return value[:MAX_TEXT]
    if not _is_link(value):
        return ""
    if left <= 0:
        raise Unknown("its nodes go in a circle")
    node = _node(graph, value[0])
    names = WORDS.get(node["class_type"])
    if names is None:
        raise Unknown(f"its words come from the node {node['class_type'][:60]!r}, which is not known here")
    between = node["inputs"].get("delimiter", "")
    parts = [_words(graph, node["inputs"].get(name), left - 1) for name in names]
    return (between if isinstance(between, str) else "").join(part for part in parts if part)[:MAX_TEXT]


def _node(graph: dict[str, dict], id: Any) -> dict:
    node = graph.get(str(id))
    if node is None:
        raise Unknown(f"its node {str(id)[:20]} is missing")
    return node


def _output(link: list) -> int:
    return link[1] if type(link[1]) is int and link[1] >= 0 else 0


def _is_link(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], (str, int))
