"""Sample pictures and clips: drawn by the family's own diffusers pipeline, from cached prompts, with fixed seeds."""

from __future__ import annotations

import io
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import ModuleType

import torch
from PIL import Image, ImageOps
from torch import nn
from torch.distributed.fsdp import FSDPModule

from ..config import TrainConfig
from ..data import clips, concepts
from ..data.datasets import load_pixels
from ..data.frames import fitting
from ..family import Cond, Modules, References
from ..files import write_atomic
from ..formats.modelspec import scrub
from ..plan import prompts
from ..plan.prompts import Prompt
from ..runs import prompting
from ..runs.context import Context
from ..runs.prompting import Standing
from ..runs.shown import SPONTANEOUS
from . import firsts, noised, side
from .data import Feed, Item, Plan
from .frozen import SpeedAdapter
from .frugal import Frugal
from .lessons import Switch
from .memory import autocast
from .references import Spoken, fitted, part_of, spoken

LOOK_GAP_S = 0.1  # asking whether Stop was pressed reads a file


def standing(config: TrainConfig, ctx: Context) -> Standing:
    """The fixed prompts of a run over its steps, as they were changed until now.  All ranks call it together."""
    found = prompting.of_run(ctx.run, config.sample.prompts).changes if ctx.ranks.first else ()
    changes = tuple((step, tuple((place, line) for place, line in rows)) for step, rows in ctx.ranks.same(found))
    return Standing(prompting.of_lines(config.sample.prompts), changes)


def texts_of(config: TrainConfig, said: Standing, takes: References | None = None, over: Sequence[Item] = ()) -> set[Spoken]:
    """All that the fixed prompts and what they avoid say: what has to be encoded for them.  over: the items that edits are drawn over."""
    found: set[Spoken] = {config.sample.negative}
    for place, line in said.every():
        prompt = prompts.read(config, line)
        made_from = over[place % len(over)].references if over else ()
        found |= {spoken(takes, text, made_from, False) for text in (prompt.text, prompt.sample.negative)}
    return found


def drawn_over(plan: Plan) -> list[Item]:
    """The items that samples are drawn over, each once: those that are held out first, and where edits are learnt those alone that are made from something."""
    items = list({item.id: item for item in (*plan.held_out, *plan.items)}.values())
    return [item for item in items if item.references] or items


class Gallery:
    """Draws prompts at a step and says so in events.  cond(text) gives the cached conditioning of a prompt, [1,...]; inside together(), ranks draw at the same time.

    Where something hangs beside the denoiser, or edits are learnt, the first prompt is drawn over the first held-out picture, and so on; then those that
    are learnt follow.  What is kept shows control picture, picture and result; of an edit what the picture is made from, the picture, and the result.
    A family that makes clips from their first frame is given that of the first held-out clip for the first prompt, and so on; then of those that are learnt.
    """

    def __init__(self, config: TrainConfig, ctx: Context, family: ModuleType, m: Modules, cond: Callable[[Spoken], Cond], divisor: int, switch: Switch, feed: Feed, together: Callable[[], AbstractContextManager[None]] = nullcontext, fast: SpeedAdapter | None = None):
        self.config, self.ctx, self.family, self.m, self.cond, self.switch = config, ctx, family, m, cond, switch
        self.feed, self.together, self.fast = feed, together, fast or SpeedAdapter(None, {}, 1.0, None)
        self.frugal = Frugal(ctx.warn)
        self.over = drawn_over(feed.plan)
        self.strengths = concepts.strengths(concepts.objective_of(config, ctx.home.plugins))
        self.unread: set[str] = set()  # texts for whose encoders there was no room; what needs them is left out
        self.interrupted: Callable[[], bool] = ctx.stop_requested  # asked between blocks and pictures; what was begun is then left
        self.divisor = divisor
        self._asked = 0  # single pictures that are there
        self.standing = standing(config, ctx)
        asked = [(s.width, s.height) for s in (config.sample, *(p.sample for p in prompts.of_config(config)))]
        for width, height in dict.fromkeys(asked):
            if (drawn := self._size(width, height)) != (width, height):
                ctx.warn(f"samples are {drawn[0]}x{drawn[1]} px: {width}x{height} does not divide by {divisor}")
        for text in (*prompts.said(config), *self._no_first_frames()):
            ctx.warn(text)

    def _no_first_frames(self) -> list[str]:
        """That pictures to begin with are named for a family that draws from words alone, or for stills."""
        spec, named = self.family.SPEC, prompts.first_frames(self.config)
        if named and not firsts.can(spec):
            return [f"sample.first_frame has no effect: {spec.title} draws from words alone"]
        if self.config.sample.first_frame and self.config.sample.frames == 1:
            return ["sample.first_frame has no effect: sample.frames is 1"]
        return []

    def draw_all(self, step: int, again: bool = False) -> None:
        """All fixed prompts of `step`, each at every strength; those that are already on disk are kept, so that a resumed run draws only what is missing.

        again: those that are there too, and the prompts that were wished last.
        """
        ranks = self.ctx.ranks
        lines = self.standing.now if again else self.standing.at(step)
        asked = [(place, prompts.read(self.config, line)) for place, line in lines]
        each = [(prompt, place, n, strength) for place, prompt in asked if self.unread.isdisjoint((prompt.text, prompt.sample.negative)) for n, strength in enumerate(self.strengths)]
        wanted = {place * len(self.strengths) + n: (prompt, place, strength) for prompt, place, n, strength in each}
        todo = ranks.same([index for index in wanted if again or not self.ctx.path("samples", f"{step:06d}_{index}.webp").exists()])
        for at in range(0, len(todo), ranks.world):  # each of the ranks draws one, the first keeps them all
            if ranks.same(self.interrupted()):
                return
            self.ctx.phase("drawing samples", len(wanted) - len(todo) + at, len(wanted), "pictures")
            mine = ranks.share(todo[at : at + ranks.world])
            with self.together():
                drawn = self._made(step, mine[0], *wanted[mine[0]]) if mine else None
            for made in ranks.gather(drawn):
                self._keep(made)
        self.ctx.share_warnings()  # of what did not fit

    def change(self, step: int, lines: list[str]) -> set[Spoken]:
        """Other fixed prompts from `step` on, on record; the texts that have to be encoded for them.  Raises ValueError where they cannot be."""
        for name in (prompts.read(self.config, line).sample.first_frame for line in lines if firsts.can(self.family.SPEC)):
            if name:
                firsts.find(self.config, self.ctx.home, name)
        self.standing = self.standing.changed(step, prompting.checked(lines))
        self.ctx.emit("prompts", step=step, rows=[list(row) for row in self.standing.now])
        wished = [(place, prompts.read(self.config, line)) for place, line in self.standing.now]
        if lost := list(dict.fromkeys(option for _, prompt in wished for option in prompt.ignored)):
            self.ctx.warn(prompts.lost(lost))
        return {said for place, prompt in wished for said in self.said(prompt, place)}

    def said(self, prompt: Prompt, index: int) -> tuple[Spoken, Spoken]:
        """What a text encoder is asked for a prompt, and for what it avoids."""
        made_from = self._item(index).references
        return spoken(self.feed.takes, prompt.text, made_from, False), spoken(self.feed.takes, prompt.sample.negative, made_from, False)

    def _item(self, index: int) -> Item:
        return self.over[index % SPONTANEOUS % len(self.over)]

    def next_asked(self) -> int:
        """The index of the next single picture that is asked for."""
        folder = self.ctx.path("samples")
        while any(folder.glob(f"*_{SPONTANEOUS + self._asked}.webp")):
            self._asked += 1
        return SPONTANEOUS + self._asked

    def judged(self, step: int) -> bool:
        """Whether the checkpoint of a step has pictures to judge it by."""
        strengths = len(self.strengths)
        return any(self.ctx.path("samples", f"{step:06d}_{place * strengths}.webp").exists() for place, _ in self.standing.at(step))

    def _size(self, width: int, height: int) -> tuple[int, int]:
        """The nearest size that the model can draw."""
        return tuple(max(self.divisor, round(side / self.divisor) * self.divisor) for side in (width, height))

    def draw(self, step: int, index: int, prompt: Prompt, place: int = 0, strength: float = 1.0) -> None:
        """One prompt: the picture or clip on disk, then the event.  A clip is an animated WebP, and an MP4 beside it to take away.

        place: the prompt's among the fixed ones, which its seed follows.  strength: of the adapter; a slider's event says it.
        """
        self._keep(self._made(step, index, prompt, place, strength))

    def _made(self, step: int, index: int, prompt: Prompt, place: int, strength: float) -> tuple[dict[str, bytes], dict] | None:
        """({path inside the run: what the file holds}, its event); None where Stop was pressed meanwhile."""
        text = prompt.text
        seed = prompt.sample.seed + (0 if prompt.seeded else place)
        with self.switch.times(strength):
            frames = self.frugal.draw(lambda it: self._frames(it, seed, place if index < SPONTANEOUS else index), prompt, self.m.vae)
        if not frames:
            return None
        name = f"samples/{step:06d}_{index}.webp"
        at = {"strength": strength} if len(self.strengths) > 1 else {}
        note = f"{text}\nStep: {step}, Seed: {seed}" + f", Strength: {strength:g}" * bool(at)
        if self.config.sample.speed_adapter:
            note += f", Speed adapter: {scrub(self.config.sample.speed_adapter, self.config)}"
        files = {}
        if len(frames) > 1 and (video := clips.mp4(frames, self.config.sample.fps)):
            files[name.removesuffix(".webp") + ".mp4"] = video
        files[name] = _webp(frames, self.config.sample.fps, note)
        return files, {"step": step, "index": index, "prompt": text, "path": name, "seed": seed, **at}

    def _keep(self, made: tuple[dict[str, bytes], dict] | None) -> None:
        """On disk, then in the events."""
        if made is None:
            return
        files, event = made
        for name, data in files.items():
            write_atomic(self.ctx.path(name), data)
        self.ctx.emit("sample", **event)

    def _frames(self, prompt: Prompt, seed: int, index: int) -> list:
        """What was drawn, as PIL pictures: one, or the frames of a clip; none when Stop was pressed meanwhile, or where the clip that it begins as is gone."""
        pipe = self.family.pipeline(self.m)
        pipe.set_progress_bar_config(disable=True)
        s = prompt.sample
        width, height = self._size(s.width, s.height)
        frames = fitting(s.frames, self.family.SPEC.latent.frame_stride)
        video = {"num_frames": frames} if self.family.SPEC.latent.video else {}
        over, before, item = {}, [], self._item(index)
        said, avoided = self.said(prompt, index)
        if frames > 1 and s.first_frame and (first := self._first_frame(s.first_frame, (width, height))):
            pipe = self.family.begun(self.m) if hasattr(self.family, "begun") else pipe
            pipe.set_progress_bar_config(disable=True)
            over["image"] = first
        elif self.family.SPEC.first_frame:
            if (shown := self._own_first_frame(item, (width, height))) is None:
                return []
            over["image"] = shown
        pipe.scheduler = self.fast.scheduler(self.m.scheduler)
        if self.feed.takes:
            over, before, (width, height) = self._edited(item, (width, height))
        elif self.m.side:
            beside = side.of(self.config, self.family.SPEC)
            pipe = side.pipeline(pipe, beside, self.m.side)
            pipe.set_progress_bar_config(disable=True)
            torch.manual_seed(seed)  # some of these pipelines draw the control picture's latents without the generator
            over, before = side.drawing(self.config, beside, item, self.feed.prompts, s.guidance, (width, height))
        try:
            with torch.no_grad(), autocast(self.config), self.fast.on(), interruptible((self.m.denoiser, self.m.vae), self.interrupted):
                drawn = pipe(
                    **self.family.draw_args(self.m, self.cond(said), self.cond(avoided), s.guidance),
                    num_inference_steps=s.steps, width=width, height=height, output_type="pil",
                    generator=torch.Generator().manual_seed(seed), **noised.rescaled(pipe, self.m.scheduler), **video, **over,
                )  # fmt: skip
        except Interrupted:
            return []
        if before:
            return [side.strip([*before, drawn.images[0]])]
        return drawn.frames[0] if video else drawn.images[:1]


    def _edited(self, item: Item, size: tuple[int, int]) -> tuple[dict, list[Image.Image], tuple[int, int]]:
        """(keyword arguments of the pipeline's call, the pictures to show before the result, the size that is drawn) for a sample over an item.

        It is drawn in the picture's shape, with about as many pixels as were asked for.
        """
        takes, crop = self.feed.takes, item.crop
        scale = math.sqrt(size[0] * size[1] / (crop.width * crop.height))
        width, height = self._size(round(crop.width * scale), round(crop.height * scale))
        given = [reference.to_draw_from(width, height) for reference in item.references]
        after = part_of(item.treatment.apply(load_pixels(item.path)), crop, width, height)
        shown = [*(fitted(picture, width, height) for picture in given), after]
        return ({takes.image: given if takes.several else given[0]} if given else {}), shown, (width, height)

    def _first_frame(self, name: str, size: tuple[int, int]) -> Image.Image | None:
        """The picture that a sample begins with, by its name; None where the family draws from words alone, or where it is gone."""
        if not firsts.can(self.family.SPEC):
            return None
        try:
            return firsts.named(self.config, self.ctx.home, name, size)
        except (ValueError, OSError) as error:  # it was removed since the start: no reason to end a training
            self.ctx.warn(f"a sample does not begin with {name!r}: {error}")
        return None

    def _own_first_frame(self, item: Item, size: tuple[int, int]) -> Image.Image | None:
        """The first frame of a clip that is learnt; None, and said, where it is gone."""
        try:
            return ImageOps.fit(item.first_frame(item.flips[0]), size, Image.Resampling.LANCZOS)
        except (ValueError, OSError) as error:  # it was removed since the start: no reason to end a training
            self.ctx.warn(f"a sample that begins as {item.id!r} does is not drawn: {error}")
        return None


class Interrupted(Exception):
    """Stop was pressed while something was drawn."""


@contextmanager
def interruptible(networks: tuple[nn.Module, ...], stop: Callable[[], bool]) -> Iterator[None]:
    """Inside, the networks raise Interrupted at the next of their blocks once stop() says so: one step of a clip may take a minute.

    One that is split among processes does so before a pass alone: the others would wait for the rest of it.
    """

    looked_t = 0.0

    def look(module, args):
        nonlocal looked_t
        if time.monotonic() - looked_t >= LOOK_GAP_S:
            looked_t = time.monotonic()
            if stop():
                raise Interrupted

    blocks = {block for network in networks if not isinstance(network, FSDPModule) for part in network.modules() if isinstance(part, nn.ModuleList) for block in part.children()}
    hooks = [block.register_forward_pre_hook(look, prepend=True) for block in blocks.union(networks)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _webp(frames: list, fps: float, note: str) -> bytes:
    """The picture, or the clip as an animation, as WebP, with what it was drawn from in its metadata."""
    exif = frames[0].getexif()
    exif[0x010E] = note.encode("ascii", "replace").decode()  # ImageDescription is ASCII by its standard
    exif[0x9286] = b"UNICODE\0" + note.encode("utf-16-be")  # UserComment
    small = frames[0].width * frames[0].height <= 256 * 256  # lossy WebP smears small flat pictures
    if len(frames) > 1:
        return clips.webp(frames, fps, lossless=small, quality=85, exif=exif)
    stream = io.BytesIO()
    frames[0].save(stream, "WEBP", lossless=small, quality=92, exif=exif)
    return stream.getvalue()
