"""Adapters put into a base model for good: a model that needs no LoRA file any more."""

from __future__ import annotations

import os
import shutil
from functools import partial
from typing import Literal

from pydantic import Field, model_validator

from ..config import JobConfig, ModelPart
from ..tools.jobs import Block, Use, checked

TITLE = "Put adapters into a base model"
BLURB = "Writes a base model that has learnt what the adapters know: a folder for diffusers, or a single file for ComfyUI and AUTOMATIC1111."
TOOL = True
NEEDS_TOKEN = True
USES_GPU = False


class Config(JobConfig):
    """One fusion, complete."""

    kind: Literal["fuse"] = Field("fuse", description="Job kind.")
    family: str = Field(description="Model family of the base model.")
    base: str = Field(
        min_length=1, max_length=1000,
        description="The base model: a folder in diffusers layout, a Hub id, 'builtin', or a .safetensors file, which gives a single file for ComfyUI and AUTOMATIC1111.",
    )  # fmt: skip
    adapters: tuple[Use, ...] = Field(min_length=1, max_length=64, description="The adapters that are put in, and how strong each is.")
    layout: Literal["same", "single"] = Field(
        "same", description="Form of the result: as the base model has it (same), or one file under the names of the model's first release, as ComfyUI wants it (single)."
    )
    blocks: tuple[Block, ...] = Field((), max_length=256, description="Strengths of their own for some layers, by diffusers' names, multiplied with the adapter's.")

    @model_validator(mode="after")
    def _blocks_name_adapters(self):
        checked(self.blocks, len(self.adapters))
        return self


def run(config: Config, ctx) -> None:
    """Fuses and emits `finished`.  Raises ValueError in plain words, Stopped."""
    ctx.phase("loading libraries")
    from .. import registry
    from ..engine.weights import base_folder
    from ..formats.basehash import sha256_of
    from ..formats.basemodel import single_file
    from ..formats.foreign import left_out
    from ..formats.layouts import names_in
    from ..plan.layers import layer_names
    from ..tools import fuse, jobs
    from ..tools.combine import Share

    family = registry.get("families", config.family, ctx.home.plugins)
    spec = family.SPEC
    jobs.refuse_experts(spec)
    files = [jobs.find(use.file, ctx) for use in config.adapters]
    folder, file = base_folder(ModelPart(family=config.family, source=config.base), family, ctx), single_file(config.base)
    shares = [Share({}, use.strength, [(b.pattern, b.strength) for b in config.blocks if b.adapter in (0, n)]) for n, use in enumerate(config.adapters, 1)]
    changes = fuse.changes([(f, s.at) for f, s in zip(files, shares, strict=True)], spec, layer_names(str(folder), family))
    for f in files:
        if less := left_out(f, names_in(f), spec):
            ctx.warn(less)
    if not changes:
        raise ValueError("nothing would change: every strength is 0")
    fuse.check_room(ctx.run.path, fuse.needed_bytes(file or folder))
    made_of = [{"name": f.name, "sha256": sha256_of(f), "strength": u.strength} for f, u in zip(files, config.adapters, strict=True)]
    said = {"easel.made": jobs.told({"method": "fuse", "adapters": made_of})}
    writing = jobs.progress(ctx, "writing the model")
    single = bool(file) or config.layout == "single"
    target, unproven = ctx.path(f"{config.name}.safetensors" if single else config.name), ctx.path(".unproven.safetensors" if single else ".unproven")
    try:
        if file:
            before, after, dtype_of = _into_file(file, unproven, spec, jobs.network(folder / spec.denoiser), changes, said, writing)
        elif single:
            before, after, dtype_of = _into_one(folder, unproven, spec, changes, said, writing)
        else:
            before, after, dtype_of = _into_folder(folder, unproven, spec, changes, said, writing)
        worst = fuse.proven(before, after, changes, lambda stem: jobs.ROUNDED[dtype_of(stem)], jobs.progress(ctx, "comparing the model"))
        os.replace(unproven, target)
    finally:
        shutil.rmtree(unproven, ignore_errors=True) if unproven.is_dir() else unproven.unlink(missing_ok=True)
    jobs.report(ctx, {"layers": sorted(changes), "largest difference after writing": worst})
    form = "a single file under the names of the base" if file else _held(folder, spec) if single else "a folder in diffusers’ layout"
    ctx.emit("finished", path=target.name, summary=f"{len(changes)} layers were changed; {form}")


def _into_file(file, made, spec, network, changes, said, writing):
    """A single file again.  (weight before, weight after, its number format), each of a layer."""
    from ..formats.mapped import Mapped
    from ..formats.onefile import Rows, places, unwrapped
    from ..tools import fuse_file

    before = Mapped(file)
    own = {n: n for n in before.entries}
    inside = unwrapped(own) if spec.enclosed else own  # the conversion wants the first release's names, and what is written keeps the file's
    where = {name: Rows(inside[there.name], there.rows) for name, there in places({n: before.shape(whole) for n, whole in inside.items()}, *network, file.name).items()}
    fuse_file.into_file(file, made, spec, changes, where, said, writing)
    after = Mapped(made)
    spot = lambda stem: where[f"{stem.partition('.')[2]}.weight"]
    read = lambda mapped, stem: mapped.tensor(spot(stem).name)[spot(stem).rows]
    return partial(read, before), partial(read, after), lambda stem: before.dtype(spot(stem).name)


def _into_folder(folder, made, spec, changes, said, writing):
    """The same of a folder in diffusers' layout."""
    from ..formats.basemodel import weight_files
    from ..formats.mapped import Folder
    from ..tools import fuse, jobs

    fuse.into_folder(folder, made, spec, changes, said, writing)
    parts = {stem.partition(".")[0] for stem in changes}
    before, after = ({p: Folder(weight_files(root / p)) for p in parts} for root in (folder, made))
    read = lambda opened, stem: jobs.spot(opened, stem)[0].tensor(jobs.spot(opened, stem)[1])
    return partial(read, before), partial(read, after), lambda stem: jobs.spot(before, stem)[0].dtype(jobs.spot(before, stem)[1])


def _into_one(folder, made, spec, changes, said, writing):
    """The same of a folder that becomes one file."""
    from ..formats.mapped import Mapped
    from ..tools.fuse_file import assembly

    whole = assembly(folder, spec)
    whole.write(made, changes, said, writing)
    return whole.before, partial(whole.after, Mapped(made)), lambda stem: whole.dtype(whole.plan[whole.spots[stem][0]])


def _held(folder, spec) -> str:
    """What a single file of this model holds, and where it belongs."""
    from ..formats.onefile import held
    from ..tools import jobs

    parts = set(held(spec, jobs.network(folder / spec.denoiser)[0])) - set(spec.enclosed)
    if len(parts) > 1:
        return "a single file with all parts under the names of the first release, for ComfyUI's folder checkpoints and for AUTOMATIC1111"
    return f"a single file with the {spec.denoiser} alone under the names of the first release, for ComfyUI's folder diffusion_models"
