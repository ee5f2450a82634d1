"""The endpoints: each function is one, and one MCP tool; what it is called, takes and says in its docstring is what a program or a model reads.

They stand on the package easel, so a job is checked here as the page checks it.  What is wrong is a ValueError, which arrives as a sentence.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import easel
from easel import jobs
from easel.run import ALIVE, Run, card
from training import outside, registry
from training.away import state
from training.away.place import is_away
from training.config import TrainConfig
from training.data import datasets
from training.data.datasets import Dataset
from training.hub.publish import offers_of
from training.jobfile import parse
from training.runs import figures, journal, losing, notes, origin, outlook, prompting, queueing, searching

from ..server import media, uploads
from ..server.folders import allowed_file, allowed_folder
from . import leaving, received, told
from .confirming import Words
from .offering import offer

LONGEST_WAIT_S = 25.0  # of one answer: clients and proxies give up after half a minute or more
LOOK_S = 0.2


def offer_all(ctx) -> None:
    """Every endpoint.  Called inside the gr.Blocks, when the tabs are built."""
    api = Api(ctx)
    for fn in (api.list_datasets, api.make_dataset, api.list_captioners, api.caption, api.list_presets, api.estimate, api.start, api.list_runs, api.find_runs, api.list_queue, api.change_queue, api.pause_queue,
               api.watch, api.sample, api.prompts, api.losses, api.stop, api.resume,
               api.generate, api.result, api.picture, api.delete_dataset, api.delete_run, api.publish):  # fmt: skip
        offer(fn)


@dataclass
class Api:
    """The endpoints of one app."""

    ctx: Any  # the UiContext
    words: Words = field(default_factory=Words)

    # -- datasets

    def list_datasets(self) -> list[dict]:
        """List the datasets on this Easel: name, title, how many pictures are usable and captioned, and what is missing before training."""
        return [self._told_dataset(ds) for ds in datasets.list_datasets(self.ctx.home)]

    def make_dataset(self, title: str, folder: str = "", files: list[str | dict] = [], dataset: str = "") -> dict:  # noqa: B006 Gradio shows the default; nothing changes it
        """Make a dataset of copies of pictures, or add to one. Captions (.txt), masks and control pictures beside the pictures come along. Answers within 25 seconds; while 'adding' is true, ask list_datasets how far it is.

        Args:
            title: What the new dataset is called; with 'dataset' it may be empty.
            folder: A folder on the computer that Easel runs on, whose pictures are copied.
            files: Instead of a folder: uploaded files, or data URLs such as 'data:image/png;name=cat.png;base64,...'. Pictures, clips, .txt captions and ZIPs.
            dataset: Name of a dataset that is there, to add to it instead of making a new one.
        """
        if bool(folder.strip()) == bool(files):
            raise ValueError("name a folder, or send files: one of the two")
        place = self._folder(folder) if folder.strip() else None
        paths = [] if place else received.files(files, self._uploads())
        ds = datasets.open_dataset(self.ctx.home, dataset) if dataset else datasets.create(self.ctx.home, title)
        imports = self.ctx.parts["dataset"].imports
        job = imports.folder(ds, place) if place else imports.files(ds, paths)
        job.thread.join(LONGEST_WAIT_S)
        left = [f"{v.file}: {v.reason}" for v in [*job.refused, *job.left_out]]
        if job.ended and not ds.counts().total and not dataset:
            datasets.delete(ds)
            raise ValueError(job.error or f"no dataset was made, as nothing of it could be taken: {'; '.join(left[:3]) or datasets.summary(job.verdicts)}")
        if job.error:
            raise ValueError(job.error)
        return {**self._told_dataset(ds), "adding": not job.ended, "said": datasets.summary(job.verdicts) if job.ended else f"{job.done} of {job.of} looked at", "not_taken": left[:100]}

    def list_captioners(self) -> list[dict]:
        """List the captioners: id, title, what each is good for, its options, and what it lacks here."""
        found = registry.find("captioning", self.ctx.home.plugins)
        job = registry.get("jobs", "caption", self.ctx.home.plugins)
        return [
            {
                "id": id, "title": plugin.module.TITLE, "blurb": plugin.module.BLURB, "lacks": job.lacks(plugin.module),
                "options": {name: info.description or "" for name, info in plugin.module.Options.model_fields.items()},
            }
            for id, plugin in found.items() if plugin.ok
        ]  # fmt: skip

    def caption(
        self, dataset: str, captioner: str = "", mode: Literal["missing", "overwrite", "append"] = "missing", place: Literal["behind", "front", "line"] = "behind",
        trigger: str = "", options: dict = {}, trial: bool = False,  # noqa: B006
    ) -> dict:  # fmt: skip
        """Have captions written for a dataset's pictures. Answers with the run; follow it with watch.

        Args:
            dataset: Name of the dataset.
            captioner: Id from list_captioners; empty takes the usual one.
            mode: Write only the missing captions, all anew, or add to what is there.
            place: With append, where new text goes: behind what is there, in front, or a line of its own.
            trigger: Word that is put in front of captions that lack it.
            options: What the captioner is told, by name.
            trial: Write nothing, only show in the events what would be written.
        """
        given = {"captioner": captioner, "mode": mode, "place": place if mode == "append" else "", "trigger": trigger, "options": options, "trial": trial}
        return self._begun(jobs.caption_job(self._dataset(dataset), self.ctx.home, **given))

    # -- training

    def list_presets(self, goal: str = "", family: str = "", unsuitable: bool = False) -> list[dict]:
        """List the presets to train with: id, what is learnt, for whom, memory needed. The one that suits this computer best is 'recommended'.

        Args:
            goal: Only presets with this goal, such as character, object or style; empty for all.
            family: Only presets of this model family, such as sdxl; empty for all.
            unsuitable: Also presets that do not train well on this computer, each with its 'hindrance'.
        """
        best = easel.presets.recommended(self.ctx.home).id
        rows = [(p, easel.presets.hindrance(p, self.ctx.home)) for p in easel.presets.all(self.ctx.home) if goal in ("", p.goal) and family in ("", p.family)]
        return [
            {
                "id": p.id, "title": p.title, "blurb": p.blurb, "for_whom": p.for_whom, "goal": p.goal, "family": p.family, "base_model": p.source_model, "needs_gb": p.needs_gb,
                "hindrance": why, "recommended": p.id == best,
            }
            for p, why in rows if unsuitable or not why
        ]  # fmt: skip

    def estimate(self, dataset: str = "", preset: str = "", trigger: str = "", quality: Literal["quick", "balanced", "thorough"] = "balanced", settings: dict = {}, job: dict = {}, gpu: str = "") -> dict:  # noqa: B006
        """Say what a training would take before it is started: steps, seconds, memory, disk, and whether it fits this computer.

        Args:
            dataset: Name of the dataset to learn from.
            preset: Id from list_presets; empty takes the recommended one.
            trigger: The trigger word: a made-up word that will call up what is learnt.
            quality: How thoroughly.
            settings: Settings to change, by their dotted paths, such as {"steps": 200, "adapter.rank": 8}.
            job: Instead of all of these, a whole training job as job.yaml has it.
            gpu: Graphics card by number, UUID or part of its name; empty for any.
        """
        config, chosen = self._training("", dataset, preset, trigger, quality, settings, job, gpu)
        return told.estimate(jobs.estimate(config, home=self.ctx.home, gpu=chosen))

    def start(
        self, dataset: str = "", preset: str = "", trigger: str = "", name: str = "", quality: Literal["quick", "balanced", "thorough"] = "balanced", settings: dict = {}, job: dict = {},  # noqa: B006
        gpu: str = "", anyway: bool = False, word: str = "",
    ) -> dict:  # fmt: skip
        """Start training a LoRA on a dataset. Answers with the run at once; follow it with watch, and fetch what it made with result. Ask estimate first. Where it is done on another machine or shown in a tracker, the first call starts nothing: it says what leaves this computer and what that costs, and gives a word; only a second call with that word starts it. Ask the person before the second.

        Args:
            dataset: Name of the dataset to learn from.
            preset: Id from list_presets; empty takes the recommended one.
            trigger: The trigger word: a made-up word that will call up what is learnt, such as zibbo.
            name: Name of the result; empty takes the trigger word.
            quality: How thoroughly.
            settings: Settings to change, by their dotted paths, such as {"steps": 200, "adapter.rank": 8}.
            job: Instead of all of these, a whole training job as job.yaml has it.
            gpu: Graphics card by number, UUID or part of its name; empty for any.
            anyway: Start although it does not fit this computer.
            word: The word from the first call, where that gave one.
        """
        config, chosen = self._training(name, dataset, preset, trigger, quality, settings, job, gpu)
        jobs.may_start(config, self.ctx.home, chosen, anyway)
        if not leaving.leaves_here(config):
            return self._begun(config, chosen)
        what = f"the training '{config.name}'" if word else leaving.told(config, self.ctx.home)
        return self._twice(("start", config, chosen), word, what, lambda: self._begun(config, chosen), verb="started")

    def list_runs(self, kind: str = "", limit: int = 50) -> list[dict]:
        """List the runs, newest first: id, title, kind, status, when it was made.

        Args:
            kind: Only runs of this kind, such as train, caption or generate; empty for all.
            limit: How many at most.
        """
        return [self._told_run(run) for run in easel.runs(kind, self.ctx.home)[: max(0, limit)]]

    def find_runs(self, search: str = "", limit: int = 50) -> list[dict]:
        """Find trainings, newest first: id, title, status, when it was made, preset, family, datasets, and the tags and note that somebody gave it.

        Args:
            search: Words that are in its name, datasets, trigger word, tags or note, and preset:, family:, dataset:, tag:, status:, after: or before: with a date (2026-01-31). Empty finds all.
            limit: How many at most.
        """
        if wrong := searching.problem(search):
            raise ValueError(wrong)
        found = searching.find([run.folder for run in easel.runs("train", self.ctx.home)], search)[: max(0, limit)]
        return [self._told_found(easel.open_run(run.id, self.ctx.home)) for run in found]

    def watch(self, run: str, offset: int = 0, wait_s: float = 0.0, kinds: list[str] = []) -> dict:  # noqa: B006
        """What has happened in a run since an offset: its events, the offset for the next call, status, step, loss, and in 'going' whether it goes well, as far as was measured. Call it again until 'more' is false and status is finished, stopped, failed or interrupted; of the last two 'why' says the reason.

        Args:
            run: Id of the run.
            offset: 0 at first, then the 'offset' of the answer before.
            wait_s: Wait up to so many seconds (25 at most) for something to happen.
            kinds: Only events of these kinds, such as ["sample", "warning", "checkpoint"]; empty for all.
        """
        one = easel.open_run(run, self.ctx.home)
        until = time.monotonic() + min(max(wait_s, 0.0), LONGEST_WAIT_S)
        events, after = [], max(0, offset)
        while True:
            status = one.status  # before the look: what is said in between is then of the next one
            found, after, _ = next(journal.pieces(one.folder.events_path, after), ([], after, 0))
            events = [told.event(event) for event in found if not kinds or event.get("kind") in kinds]
            more = after < journal.size_bytes(one.folder.events_path)
            if events or more or status not in ALIVE or time.monotonic() >= until:
                break
            time.sleep(LOOK_S)
        view = self.ctx.watch.view(one.folder)
        return {**self._told_run(one), "status": status, "events": events, "offset": after, "more": more, **told.view(view), "going": outlook.of(one.folder, view).text, "why": one.why}

    def list_queue(self) -> dict:
        """List what waits to run, the next one first, each with what it waits for, and whether the queue is paused."""
        queue = queueing.read(self.ctx.home)
        rows = [(one, queueing.wait_of(one), queueing.why_held(self.ctx.home, one, queue=queue)) for one in queueing.waiting(self.ctx.home)]
        return {
            "paused": queue.paused,
            "waiting": [{"run": one.id, "title": one.title, "kind": one.kind, "not_before": int(wait.at_t), "after": wait.after, "why": why or "its turn"} for one, wait, why in rows],
        }  # fmt: skip

    def change_queue(self, run: str, place: int = 0, not_before: float = -1, after: str = "-") -> dict:
        """Change one run that waits: its place, or what it waits for. Answers with the queue.

        Args:
            run: Id of the run.
            place: Its new place, 1 for the next; 0 leaves it where it is.
            not_before: UTC seconds before which it does not begin; 0 for no time, -1 leaves it as it is.
            after: Id of the run that must be finished first; empty for none, '-' leaves it as it is.
        """
        home = self.ctx.home
        one = easel.open_run(run, home).folder
        if one.status() != "queued":
            raise ValueError(f"'{one.title}' is {one.status()}; only what waits in the queue can wait for something")
        kept = queueing.wait_of(one)
        if not_before >= 0 or after != "-":
            fresh = queueing.checked(home, one, not_before if not_before > 0 else 0.0, after if after != "-" else "")
            queueing.hold(one, queueing.Wait(fresh.at_t if not_before >= 0 else kept.at_t, fresh.after if after != "-" else kept.after))
        if place:
            queueing.move(home, one.id, place)
        return self.list_queue()

    def pause_queue(self, paused: bool = True) -> dict:
        """Pause the queue, so that no training begins, or let it go on. What runs goes on either way. Answers with the queue.

        Args:
            paused: False lets it go on.
        """
        queueing.pause(self.ctx.home, paused)
        return self.list_queue()

    def sample(self, run: str, prompt: str = "") -> dict:
        """Have a running training draw a picture now, after the step that it is at. It arrives as a 'sample' event in watch.

        Args:
            run: Id of the run.
            prompt: What to draw; empty draws all of the run's sample prompts.
        """
        one = easel.open_run(run, self.ctx.home)
        one.sample(prompt)
        return {**self._told_run(one), "said": "the picture is drawn after this step" if prompt.strip() else "all sample prompts are drawn after this step"}

    def prompts(self, run: str, prompts: list[str] = []) -> dict:  # noqa: B006
        """Give a running training other sample prompts, from its next step on; without any, say which it has. Those that stay keep their row of pictures. A 'prompts' event in watch says from which step on they are drawn.

        Args:
            run: Id of the run.
            prompts: All sample prompts from then on; empty changes nothing.
        """
        one = easel.open_run(run, self.ctx.home)
        config = parse(TrainConfig, one.folder.job()) if one.kind == "train" else None
        if config is None:
            raise ValueError(f"'{one.title}' is no training; only those have sample prompts")
        standing = prompting.of_view(config.sample.prompts, self.ctx.watch.view(one.folder))
        if prompts:
            one.prompts(prompts)
        return {**self._told_run(one), "prompts": [{"prompt": line, "from_step": standing.since(place)} for place, line in standing.now], **({"said": "the training takes the new ones from its next step on"} if prompts else {})}

    def losses(self, run: str, points: int = 200) -> dict:
        """The numbers of a training as CSV: step, time, loss, learning rate, gradient, validation loss, seconds a step, memory. 'url' is the whole table, as a download.

        Args:
            run: Id of the run.
            points: How many rows at most to answer with, evenly spread; 2000 is the most.
        """
        one = easel.open_run(run, self.ctx.home)
        rows = figures.rows(one.folder)
        return {**self._told_run(one), "rows": len(rows), "csv": b"".join(figures.written(figures.thinned(rows, min(max(points, 2), 2000)))).decode(), "url": media.file_url(self.ctx, run, "losses.csv")}

    def stop(self, run: str) -> dict:
        """Stop a run after this step, with everything saved; resume goes on later. One that waits in the queue is taken out of it.

        Args:
            run: Id of the run.
        """
        one = easel.open_run(run, self.ctx.home)
        one.stop()
        return self._told_run(one)

    def resume(self, run: str, accept: bool = False, word: str = "") -> dict:
        """Go on with a run that was stopped, failed or was cut off, from its newest checkpoint. Where it is trained on another machine, or with accept where it was made on another computer, the first call starts nothing: it says what the run would use, send and cost, and gives a word; only a second call with that word goes on. Ask the person before the second.

        Args:
            run: Id of the run.
            accept: Go on although pictures, settings or base model changed since, or the run was made on another computer.
            word: The word from the first call, where that gave one.
        """
        one = easel.open_run(run, self.ctx.home)

        def go_on() -> dict:
            one.resume(accept)
            return self._told_run(one)

        asked, there = origin.question(one.path) if accept else "", state.remembered(one.path) is not None
        leaves = is_away(one.config)
        if not (asked or leaves):
            return go_on()
        if one.status in ("running", "finished"):
            raise ValueError(f"'{one.title}' is {one.status} already, so there is nothing to resume")
        said = [leaving.told(one.config, self.ctx.home) if leaves and not word else f"the run '{one.title}'", told.going_on(one.folder, there) if leaves else "", asked]
        return self._twice(("resume", one.id, one.folder.job(), accept, there), word, ". ".join(filter(None, said)), go_on, verb="resumed")

    def generate(self, prompts: list[str], loras: list[str] = [], base: str = "", family: str = "", settings: dict = {}) -> dict:  # noqa: B006
        """Draw pictures with a base model and LoRAs. Answers with the run; follow it with watch, and fetch the pictures with result.

        Args:
            prompts: What to draw.
            loras: Runs, files or Hub ids, each as SOURCE or SOURCE@STRENGTH.
            base: The base model; empty takes that of the first LoRA that is a run.
            family: The model family of 'base'.
            settings: Settings of the drawing, such as {"count": 4, "seed": 1, "steps": 20, "sizes": [[512, 512]]}. 'picture', 'mask' and each of 'made_from' may be uploaded files or data URLs.
        """
        if taken := {"prompts", "loras", "base", "family", "home", "kind", "prompt_file"} & set(settings):
            raise ValueError(f"settings cannot hold {', '.join(sorted(taken))} here")
        given = settings | {name: self._picture(settings[name]) for name in ("picture", "mask") if isinstance(settings.get(name), str | dict) and settings[name]}
        if isinstance(made_from := settings.get("made_from"), list):
            given["made_from"] = [self._made_from(one) for one in made_from]
        return self._begun(jobs.drawing_job(prompts, loras, self.ctx.home, base=base, family=family, **given))

    def result(self, run: str) -> dict:
        """What a run has made: files with their size and address (asked for with the same login), and its sample pictures. On the computer that Easel runs on, 'folder' is where they lie.

        Args:
            run: Id of the run.
        """
        one = easel.open_run(run, self.ctx.home)
        return {**self._told_run(one), "files": self._files(one), "samples": self._samples(one), "why": one.why, **({"folder": str(one.path)} if self.ctx.local else {})}

    def picture(self, run: str, file: str) -> dict:
        """Show one sample picture of a run.

        Args:
            run: Id of the run.
            file: Its 'file' in the answer of result, such as samples/000100_0.webp.
        """
        one = easel.open_run(run, self.ctx.home)
        try:
            path = media.inside(outside.folder_inside(one.path, "samples"), file.removeprefix("samples/"))
        except (ValueError, OSError):
            path = Path()
        if path.suffix.lower() not in media.PICTURE_TYPES | media.CLIP_TYPES:
            raise ValueError(f"{file!r} is not a picture of this run; result lists them")
        copy = Path(tempfile.mkdtemp(prefix="shown-", dir=self._uploads())) / path.name
        shutil.copyfile(path, copy)
        return {"path": str(copy), "orig_name": path.name, "meta": {"_type": "gradio.FileData"}}

    # -- what cannot be taken back

    def delete_dataset(self, name: str, word: str = "") -> dict:
        """Delete a dataset with the copies of its pictures for good. The first call deletes nothing: it says what would be lost and gives a word; only a second call with that word deletes. Ask the person before the second.

        Args:
            name: Name of the dataset.
            word: The word from the first call.
        """
        ds = datasets.open_dataset(self.ctx.home, name)
        lost = losing.of(ds, self.ctx.home)
        self._at_rest(ds, lost)
        count = ds.counts().total
        what = f"the dataset '{ds.title}' with {datasets.counted(count, 'picture')} and all captions{told.lost(lost)}"
        return self._twice(("delete", "dataset", ds.name, count, tuple(lost)), word, what, lambda: datasets.delete(ds))

    def delete_run(self, run: str, word: str = "") -> dict:
        """Delete a run for good, with its checkpoints, pictures and result. The first call deletes nothing: it says what would be lost and gives a word; only a second call with that word deletes. Ask the person before the second.

        Args:
            run: Id of the run.
            word: The word from the first call.
        """
        one = easel.open_run(run, self.ctx.home)
        if one.status == "running":
            raise ValueError(f"'{one.title}' is running; stop it, then delete it")
        left = state.remembered(one.path) is not None
        what = f"the run '{one.title}' with its checkpoints, pictures and result{told.LEFT_THERE if left else ''}"
        return self._twice(("delete", "run", one.id, one.status, left), word, what, lambda: self._delete_run(one, left))

    def publish(self, run: str, repo: str, public: bool = False, checkpoint: str = "final", word: str = "") -> dict:
        """Push a run's LoRA, model card and newest samples to the Hugging Face Hub, signed in as the person on the computer that Easel runs on. The first call pushes nothing: it says what would be published and gives a word; only a second call with that word does. Ask the person before the second.

        Args:
            run: Id of a training.
            repo: Repository: name, or namespace/name.
            public: Let everybody see it; otherwise it is private.
            checkpoint: 'final', or the step of a checkpoint.
            word: The word from the first call.
        """
        step = checkpoint if checkpoint == "final" else _step(checkpoint)
        config = jobs.publishing_job(run, repo, self.ctx.home, public, step)
        seen_by = "for everybody to see" if public else "private"
        what = f"the LoRA '{config.name}' ({checkpoint}), its card and {datasets.counted(len(config.samples), 'sample')} to {config.repo_id}, {seen_by}"
        return self._twice(("publish", config), word, what, lambda: self._begun(config), verb="published")

    # -- inside

    def _twice(self, act: tuple, word: str, what: str, do: Callable[[], Any], verb: str = "deleted") -> dict:
        if not word:
            cannot = "; this cannot be undone" if verb == "deleted" else ""
            return {"done": False, "would": f"would be {verb}: {what}{cannot}", "word": self.words.give(act)}
        self.words.spend(word, act)
        made = do()
        return {"done": True, "said": f"{verb}: {what}"} | (made if isinstance(made, dict) else {})

    def _training(self, name: str, dataset: str, preset: str, trigger: str, quality: str, settings: dict, job: dict, gpu: str) -> tuple[TrainConfig, str]:
        """(a whole training that holds, the UUID of its card).  Raises ValueError."""
        chosen = card(self.ctx.home, gpu)
        if job and (dataset or preset or trigger or name or settings):
            raise ValueError("job is a whole training; leave dataset, preset, trigger, name and settings empty beside it, or leave job empty")
        if job:
            config = parse(TrainConfig, job)
        else:  # a preset's plan looks into the datasets already
            seen = self._dataset(dataset) if dataset.strip() else ""
            config = easel.presets.config(preset, dataset=seen, trigger=trigger, name=name, quality=quality, settings=self._named(settings), gpu=chosen, home=self.ctx.home)
        uses = tuple(use.model_copy(update={"name": self._dataset(use.name)}) for use in config.data.datasets)
        low = self._dataset(config.concept.low) if config.concept.low else ""
        parts = {"data": config.data.model_copy(update={"datasets": uses}), "concept": config.concept.model_copy(update={"low": low})}
        return jobs.checked(config.model_copy(update=parts), self.ctx.home), chosen

    def _named(self, said: Any, path: str = "") -> Any:
        """Settings whose datasets are named as _dataset gives them.  Raises ValueError."""
        if isinstance(said, dict):
            return {key: self._named(value, f"{path}.{key}") for key, value in said.items()}
        if isinstance(said, list):
            return [self._named(value, path) for value in said]
        return self._dataset(said) if isinstance(said, str) and said and path in (".data.datasets.name", ".concept.low") else said

    def _dataset(self, name: str) -> str:
        """The name of a dataset, or the whole path of a folder that may be named from where the asker sits: what a job is to use.  Raises ValueError.

        A folder is looked for only where the asker may look, so that an answer tells nothing of any other.
        """
        text = name.strip()
        ds = datasets.resolve(self.ctx.home, str(self._folder(text)) if datasets.is_path(text) else text)
        return str(ds.path) if ds.in_place else ds.name

    def _picture(self, given: str | dict) -> str:
        """The path of a picture to draw from: an upload, a data URL, or a file that may be named from where the asker sits.  Raises ValueError."""
        if isinstance(given, str) and not given.startswith(received.DATA):
            if self.ctx.local:
                return given
            if file := allowed_file(given.strip(), self.ctx.folders):
                return str(file)
        return str(received.files([given], self._uploads())[0])

    def _made_from(self, given: Any) -> Any:
        """A picture that others are made from, where it may be named: a file as for 'picture', or {"picture": …, "dataset": …}.  Raises ValueError."""
        if not isinstance(given, dict) or "picture" not in given:
            return {"picture": self._picture(given)} if isinstance(given, str | dict) else given
        dataset = given.get("dataset", "")
        if not dataset:
            return given | {"picture": self._picture(given["picture"])}
        return given | {"dataset": str(self._folder(str(dataset)))} if datasets.is_path(str(dataset)) else given

    def _folder(self, text: str) -> Path:
        return Path(text.strip()).expanduser() if self.ctx.local else allowed_folder(text.strip(), self.ctx.folders)

    def _uploads(self) -> Path:
        room = uploads.folder(self.ctx.home).resolve()
        room.mkdir(parents=True, exist_ok=True)
        return room

    def _at_rest(self, ds: Dataset, lost: list[losing.Losing]) -> None:
        """Raises ValueError while pictures are added to a dataset, or a run learns from it.  lost: the runs that need it."""
        if (job := self.ctx.parts["dataset"].imports.of(ds.name)) and not job.ended:
            raise ValueError("pictures are still being added to it; wait for them to be done")
        if alive := next((one for one in lost if one.status in ALIVE), None):
            raise ValueError(f"'{alive.title}' uses it and is {alive.status}; stop that first")

    def _delete_run(self, run: Run, left_there: bool) -> None:
        run.delete(left_there)
        self.ctx.watch.forget(run.path)

    def _begun(self, config, gpu: str = "") -> dict:
        return self._told_run(jobs.begin(config, self.ctx.home, gpu, soon=True))

    def _told_dataset(self, ds: Dataset) -> dict:
        counts = ds.counts()
        job = self.ctx.parts["dataset"].imports.of(ds.name)
        return {
            "name": ds.name, "title": ds.title, "pictures": counts.total, "usable": counts.usable, "captioned": counts.captioned, "missing": ds.readiness(counts),
            "adding": bool(job and not job.ended),
        }  # fmt: skip

    def _told_run(self, run: Run) -> dict:
        return {"run": run.id, "title": run.title, "kind": run.kind, "status": run.status, "created": int(run.folder.created_t)}

    def _told_found(self, run: Run) -> dict:
        of = searching.facts(run.folder)
        return {**self._told_run(run), "preset": of.preset, "family": of.family, "datasets": list(of.datasets), "tags": list(of.tags), "note": notes.of(run.folder).text}

    def _files(self, run: Run) -> list[dict]:
        made = run.result
        rows = []
        if made and not made.is_dir():
            rows.append(("lora", made.name, made.stat().st_size, "the result"))
            offers = offers_of(run.folder, self.ctx.home.plugins) if run.kind == "train" else ()
            rows += [(f"lora-{o.id}", o.file_name(run.title), 0, f"the same for {o.title}") for o in offers]
        elif made:
            rows.append(("", made.name, 0, "the result, a folder: it lies in the run's folder"))
        rows += [(f"step-{step}", f"{run.id}-step-{step}.safetensors", 0, f"the LoRA as it was at step {step}") for step, _ in run.folder.checkpoints() if run.kind == "train"]
        rows += [(name, name, (run.path / name).stat().st_size, about) for name, about in (("job.yaml", "all settings"), ("README.md", "the model card")) if outside.is_plain(run.path / name)]
        return [{"name": name, "about": about} | ({"bytes": size} if size else {}) | ({"url": media.file_url(self.ctx, run.id, what)} if what else {}) for what, name, size, about in rows]

    def _samples(self, run: Run) -> list[dict]:
        view, said = self.ctx.watch.view(run.folder), notes.of(run.folder)
        about = lambda path: ({"rating": said.rated[path]} if path in said.rated else {}) | ({"starred": True} if path in said.starred else {})
        return [{"file": path, "step": step, "prompt": prompt, "seed": seed, "url": media.sample_url(self.ctx, run.id, path), **about(path)} for step, _, prompt, path, seed in view.samples]


def _step(text: str) -> int:
    if not text.isascii() or not text.isdecimal():
        raise ValueError(f"checkpoint is {text!r}; it takes 'final' or the step of a checkpoint")
    return int(text)
