"""A base model that is loaded once and draws picture after picture, whatever it wears: for jobs that draw and do not train."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from PIL import Image, ImageOps

from .. import registry
from ..config import DrawingConfig
from ..data import pictures
from ..data.frames import fitting
from ..family import FamilySpec, Modules
from ..formats.basemodel import read_configs
from ..formats.halves import lacking, together
from ..plan.shots import Shot
from ..runs.context import Context
from ..tools import repair
from . import adapter_files, blocks, frozen, madefrom, memory, noised, samplers, side
from .cache import Cache
from .experts import networks
from .following import Following
from .references import Spoken, fitted, spoken, text_of
from .sampling import interruptible
from .texts import Texts
from .wardrobe import Wardrobe, reaches_text
from .weights import base_folder, load_denoiser, load_vae, placement


class Studio:
    """See above.  keep_text: the text encoders stay in memory, which makes new prompts quick.

    Raises ValueError in plain words where the base model cannot be had; Stopped.
    """

    def __init__(self, config: DrawingConfig, ctx: Context, keep_text: bool):
        memory.check_device(config)
        self.config, self.ctx, self.keep_text = config, ctx, keep_text
        self.family: ModuleType = registry.get("families", config.model.family, ctx.home.plugins)
        self.spec = self.family.SPEC
        ctx.phase("checking the base model")
        self.folder = base_folder(config.model, self.family, ctx)
        _, self.divisor = self.family.grid(read_configs(self.folder, self.spec.without(config.model.leave_out)))
        self.m: Modules = self.family.load(self.folder, set(), placement(config.model, config.device))  # the scheduler
        self.m.scheduler = noised.as_chosen(self.m.scheduler, config.model, self.spec)
        for text in noised.remarks(config.model, self.spec, self.m.scheduler):
            ctx.warn(text)
        self.cache = Cache(ctx.home.cache, ctx.warn)
        self.texts = self._fresh_texts(learning=False)
        self.wardrobe: Wardrobe | None = None
        self.following: Following | None = None
        self.shown: Image.Image | None = None  # what the network beside the denoiser was shown for the newest picture, or what that was made from
        self._dressed = False  # whether something was worn since the denoiser was loaded
        self._files: dict[str, Path] = {}

    def read(self, shots: Iterable[Shot]) -> None:
        """Their prompts are encoded, one encoder after the other; says in one sentence which are longer than the model reads.  Raises Stopped."""
        texts: set[Spoken] = {"", *(said for shot in shots for said in self._said(shot))}
        self.texts.encode(texts)
        long = self.texts.cut(sorted(set(map(text_of, texts))))
        if long:
            many = f"{len(long)} prompts are longer than the text encoder reads; what comes after its last token is cut: “{long[0][:60]}…”"
            self.ctx.warn(f"one prompt is longer than the text encoder reads; what comes after its last token is cut: “{long[0][:60]}…”" if len(long) == 1 else many)

    def file_of(self, source: str) -> Path:
        """The file that a LoRA's source means.  What lies in a run is looked up anew: its result may have come meanwhile.  Raises ValueError."""
        known = self._files.get(source)
        if known is None or known.is_relative_to(self.ctx.home.outputs) or not known.is_file():
            self._files[source] = known = adapter_files.find(source, self.ctx, "a LoRA's source", bool(self.spec.experts))
        if known.is_dir():
            raise ValueError(f"{source!r} is a whole model, not an adapter; draw with it as the base model instead")
        return known

    def _said(self, shot: Shot) -> tuple[Spoken, Spoken]:
        """What a text encoder is asked for a prompt, and for what it avoids."""
        takes = self.spec.references
        made_from = madefrom.references(shot, self.family, self.ctx.home) if takes and takes.read else ()
        return spoken(takes, shot.prompt, made_from, False), spoken(takes, shot.negative, made_from, False)

    def sized(self, shot: Shot) -> Shot:
        """The shot at the size that is drawn, which may be that of what it is made from.  Raises ValueError, OSError."""
        return madefrom.sized(shot, self.ctx.home, self.divisor)

    def check(self, shot: Shot, picture: str = "", mask: str = "") -> None:
        """Raises ValueError where the model cannot draw a shot of its drawn size at all: before anything is loaded."""
        for length in (shot.width, shot.height):
            if length % self.divisor:
                low, high = length // self.divisor * self.divisor, -(-length // self.divisor) * self.divisor
                raise ValueError(f"{shot.width}x{shot.height} px does not divide by {self.divisor}; try {low or high} or {high} in place of {length}")
        samplers.made(shot.sampler, self.m.scheduler, self.spec.prediction)
        if self.spec.first_frame and mask:
            raise ValueError(f"{self.spec.title} makes a clip from its first frame and draws nothing under a mask; leave the mask empty")
        madefrom.check(shot, self.spec, self.ctx.home, picture)
        if shot.frames > 1 and not self.spec.latent.video:
            raise ValueError(f"frames is {shot.frames}, but {self.spec.title} draws still pictures; set it to 1")

    def title_of(self, sampler: str) -> str:
        """What a sampler is called."""
        return samplers.made(sampler, self.m.scheduler, self.spec.prediction)[1]

    def load(self) -> None:
        """The image decoder and the denoiser are in memory from here on."""
        if self.m.denoiser is not None:
            return
        self.ctx.phase("loading the image decoder")
        loaded = load_vae(self.config, self.family, self.folder)
        self.m.vae, self.m.eye = loaded.vae, loaded.eye
        self.m.tokenizers |= loaded.tokenizers
        self.ctx.phase("loading the denoiser")
        self.m.denoiser = load_denoiser(self.config, self.family, self.folder)
        modules = {**networks(self.m.denoiser, self.spec), **self.m.text_encoders}
        self.wardrobe = Wardrobe(modules, self.spec, self.ctx.warn, lambda: blocks.settle(self.m.denoiser, self.config.device))

    def follow(self, run: str) -> None:
        """From here on the network that a finished run trained beside the denoiser draws along; "": none does.  Raises ValueError."""
        if run == (self.following.run if self.following else ""):
            return
        before, self.following, self.m.side = self.following, None, None
        self.load()
        if before and before.inside:
            self._load_anew()
        if not run:
            return
        if self._dressed:  # what lies in the denoiser goes into layers that carry nothing else
            self._load_anew()
        try:
            self.following = Following(run, self.config, self.ctx, self.family, self.m, self.cache)
        except Exception:
            self._load_anew()  # the network may lie in it in part
            raise
        self.m.side = self.following.side

    def _load_anew(self) -> None:
        """The denoiser as the base model has it, wearing nothing."""
        if self.wardrobe:
            self.wardrobe.forget()  # the text encoders stay, what they wear does not
        self.m.denoiser, self.wardrobe, self._dressed = None, None, False
        memory.release()
        self.load()

    def wear(self, loras: Sequence[tuple[str, float]], rules: Sequence[repair.Rule] = ()) -> None:
        """The model wears these and no others.  rules: of some of their layers; then they are worn as the one file that they come to, or as one for each of two denoisers.

        Raises ValueError where one does not fit; Stopped.
        """
        asked = [(self.file_of(source), strength) for source, strength in loras]
        named = {file for file, _ in asked}
        uses = [(half, strength, n) for n, (file, strength) in enumerate(asked, 1) for half in together(file, self.spec) if half == file or half not in named]
        files = [(file, strength) for file, strength, _ in uses]
        if self.following and self.following.inside:
            if not files:
                return  # the wardrobe would put aside what it did not put on
            raise ValueError(f"the {self.following.adapter.TITLE} of '{self.following.title}' lies in the model's own layers, which can wear no LoRA beside it; leave the LoRA out")
        if absent := lacking([file for file, strength in files if strength], self.spec):
            self.ctx.warn(f"the LoRA acts on one denoiser alone: none of its files is for {' or '.join(repr(e.called) for e in absent)} noise; wear the other file too, or put it beside this one under the same name")
        if rules:
            files = [(file, 1.0) for file in self._mended(uses, rules)]
        if not self.texts.learning and any(strength and reaches_text(file, self.spec) for file, strength in files):
            self._with_living_text()
        self.load()
        self._dressed = self._dressed or bool(files)
        self.wardrobe.wear(files)

    def _mended(self, uses: Sequence[tuple[Path, float, int]], rules: Sequence[repair.Rule]) -> list[Path]:
        """What these come to, one file for each denoiser.  uses: (file, strength, the LoRA that it belongs to, as the rules count them)."""
        if len({n for _, _, n in uses}) < len(uses):
            self.ctx.warn("the blocks are moved in both files of a LoRA, for much and for little noise, but a new LoRA is made of the one that is named; name the other one afterwards, and make it too")
        return repair.mended_apart(uses, rules, self.spec, self.config.model.source, self.ctx)

    def draw(self, shot: Shot, picture: str = "", mask: str = "", change: float = 1.0) -> list[Image.Image]:
        """One picture, or the frames of a clip, with what is worn.  Its prompt was read().  Raises Interrupted when Stop is pressed meanwhile."""
        self.load()
        pipe = self.family.pipeline(self.m)
        pipe.scheduler = samplers.made(shot.sampler, self.m.scheduler, self.spec.prediction)[0]
        if not shot.sampler:
            pipe.scheduler = frozen.scheduled(pipe.scheduler, frozen.known_speed(self.spec, [source for source, strength in shot.loras if strength]))
        given: dict[str, Any] = {"width": shot.width, "height": shot.height}
        self.shown = None
        if takes := self.spec.references if shot.made_from else None:
            made_from = [reference.to_draw_from(shot.width, shot.height) for reference in madefrom.references(shot, self.family, self.ctx.home)]
            given[takes.image] = made_from if takes.several else made_from[0]
            self.shown = side.strip([fitted(one, shot.width, shot.height) for one in made_from])
        elif shot.made_from:
            pipe = self.family.begun(self.m) if hasattr(self.family, "begun") else pipe
            given["image"] = self.shown = madefrom.first_frame(shot, self.ctx.home)
        elif self.spec.first_frame:
            given["image"] = _fitted(picture, shot)
        elif picture:
            pipe = from_picture(pipe, bool(mask), self.spec)
            given |= {"image": _fitted(picture, shot), "strength": change}
            given |= {"mask_image": _fitted(mask, shot).convert("L")} if mask else {}
        if self.following:
            pipe = side.pipeline(pipe, self.following.beside, self.m.side)
            told, self.shown = self.following.given(shot)
            given |= told
            torch.manual_seed(shot.seed)  # some of these pipelines draw the control picture's latents without the generator
        pipe.set_progress_bar_config(disable=True)
        if video := self.spec.latent.video:
            given["num_frames"] = fitting(shot.frames, self.spec.latent.frame_stride)
        with torch.no_grad(), memory.autocast(self.config), interruptible((self.m.denoiser, self.m.vae), self.ctx.stop_requested):
            cond, negative = (self.texts.cond(text, self.config.device) for text in self._said(shot))
            told = self.family.draw_args(self.m, cond, negative, shot.guidance)
            drawn = pipe(
                **self._taken(pipe, told | given), **noised.rescaled(pipe, self.m.scheduler), num_inference_steps=shot.steps, output_type="pil", generator=torch.Generator().manual_seed(shot.seed)
            )
        return list(drawn.frames[0]) if video else drawn.images[:1]

    def _taken(self, pipe, given: dict[str, Any]) -> dict[str, Any]:
        """What the pipeline's call takes of it; says what it does not."""
        takes = inspect.signature(type(pipe).__call__).parameters
        for name in given:
            if name not in takes and name not in ("width", "height"):  # these follow from the picture
                self.ctx.warn(f"{type(pipe).__name__} takes no {name}, so that has no effect on pictures that start from another")
        return {name: value for name, value in given.items() if name in takes}

    def _fresh_texts(self, learning: bool) -> Texts:
        return Texts(self.config, self.ctx, self.family, self.folder, self.cache, learning=learning, stay=self.keep_text)

    def _with_living_text(self) -> None:
        """From here on the text encoders that can wear something are in memory, and are asked at each picture."""
        before, self.texts = self.texts, self._fresh_texts(learning=True)
        self.texts.take_over(before)
        self.ctx.phase("loading the text encoder")
        self.texts.keep_alive(self.m)
        if self.wardrobe:  # what was worn is put on anew
            self.wardrobe.modules |= self.m.text_encoders
            self.wardrobe.forget()


def from_picture(pipe, masked: bool, spec: FamilySpec):
    """diffusers' pipeline that starts from a picture, over the same modules; diffusers names it after the one that starts from noise.

    Raises ValueError where there is none.
    """
    import diffusers

    kind = "Inpaint" if masked else "Img2Img"
    cls = getattr(diffusers, f"{type(pipe).__name__.removesuffix('Pipeline')}{kind}Pipeline", None) if kind not in spec.broken_pipelines else None
    if cls is None:
        what = "drawing under a mask" if masked else "starting from a picture"
        raise ValueError(f"diffusers has no working pipeline for {what} with this base model; leave {'mask' if masked else 'picture'} empty")
    takes = inspect.signature(cls.__init__).parameters
    given = {**pipe.config, "add_watermarker": False, **pipe.components}
    return cls(**{name: value for name, value in given.items() if name in takes})


def _fitted(file: str, shot: Shot) -> Image.Image:
    """The picture in a file, cut to the size that is drawn.  Raises ValueError, OSError."""
    return ImageOps.fit(pictures.load_pixels(Path(file).expanduser()), (shot.width, shot.height), Image.Resampling.LANCZOS)
