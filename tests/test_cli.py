"""The command line, as typed."""

import os
import signal
import subprocess
import sys

import pytest
from PIL import Image

from training.__main__ import main
from training.home import REPO
from training.runs import journal, supervisor
from training.runs.run import list_runs

from .runs.conftest import ended, make, until, workshop  # noqa: F401 a fixture


def easel(home, *words, wait_s=60):
    """(exit code, everything it printed)."""
    done = subprocess.run(
        [sys.executable, "-m", "training", *map(str, words), "--home", home.root], cwd=REPO, check=False, capture_output=True, text=True, encoding="utf-8", timeout=wait_s
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def typed(home, monkeypatch, capsys, *words):
    """The same in this process, for commands that start nothing."""
    monkeypatch.setenv("EASEL_HOME", "")
    monkeypatch.setattr(sys, "argv", ["easel", *map(str, words), "--home", str(home.root)])
    with pytest.raises(SystemExit) as ended:
        main()
    captured = capsys.readouterr()
    return ended.value.code, captured.out + captured.err


def job(home, text):
    path = home.root / "job 日本.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def here(workshop):  # noqa: F811
    return workshop


def test_train_shows_the_run_as_it_goes(here, monkeypatch, capsys):
    code, said = easel(here, "train", job(here, "kind: walk\nname: wänder\nsteps: 4\nsays: grüße\n"))
    assert code == 0, said
    for words in ("_wänder  in ", "attempt 1", "step 4/4  loss 0.2500  lr 1.0e-04", "warning: grüße", "finished: walked 4 steps"):
        assert words in said
    code, said = typed(here, monkeypatch, capsys, "runs")
    assert code == 0
    assert said.startswith("finished     walk ")


def test_a_failed_run_says_why_and_exits_with_1(here):
    code, said = easel(here, "train", job(here, "kind: trouble\nname: x\nhow: value\n"))
    assert code == 1
    assert "failed: The picture 'a.png' is broken; remove it" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("kind: walk\nname: x\nstepz: 4\n", "stepz: is not a setting; did you mean 'steps'?"),
        ("kind: wlak\nname: x\n", "there is no jobs plugin called 'wlak'"),
        ("kind: walk\nname: a/b\n", "which a folder name cannot"),
    ],
)
def test_a_job_that_is_wrong_is_refused_with_a_sentence_and_2(here, monkeypatch, capsys, text, sentence):
    code, said = typed(here, monkeypatch, capsys, "train", job(here, text))
    assert (code, sentence in said) == (2, True), said
    assert "Traceback" not in said
    assert list_runs(here.outputs) == []


def test_what_is_not_there_is_named(here, monkeypatch, capsys):
    for words in (("train", "nowhere.yaml"), ("resume", "nothing"), ("resume", "../x"), ("caption", "no such dataset", "--captioner", "filename"), ("runs", "--kind", "trian")):
        code, said = typed(here, monkeypatch, capsys, *words)
        assert code == 2
        assert "Traceback" not in said
        assert len(said.strip().splitlines()) == 1


def test_a_bundle_needs_no_other_home_that_can_be_written_to(here, monkeypatch, capsys):
    (here.root / "file").touch()
    monkeypatch.setenv("EASEL_HOME", str(here.root / "file" / "home"))
    monkeypatch.setattr(sys, "argv", ["easel", "run-bundle", str(here.root / "none")])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr().err
    assert ended.value.code == 2 and "none" in said and "home" not in said.replace(str(here.root), "")


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="sends a Ctrl-C")
def test_ctrl_c_stops_with_everything_saved_and_resume_goes_on(here):
    path = job(here, "kind: walk\nname: x\nsteps: 60\npause_s: 0.03\n")
    watcher = subprocess.Popen(
        [sys.executable, "-m", "training", "train", path, "--home", here.root], cwd=REPO, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509 a shell's background jobs are started with it ignored
    )  # fmt: skip
    assert until(lambda: any(run.view().step for run in list_runs(here.outputs)))
    watcher.send_signal(signal.SIGINT)
    said, _ = watcher.communicate(timeout=60)
    (run,) = list_runs(here.outputs)
    assert watcher.returncode == 130, said
    assert "Stopping after this step and saving." in said
    assert run.status() == "stopped"
    at = run.checkpoints()[-1][0]
    assert f"saved: checkpoints/{at:06d}" in said
    code, said = easel(here, "resume", run.path)
    assert code == 0, said
    assert f"resumes at step {at}" in said
    assert "attempt 2" in said
    assert "attempt 1" not in said


def test_detached_it_runs_by_itself(here):
    code, said = easel(here, "train", job(here, "kind: walk\nname: x\nsteps: 5\n"), "--detach")
    assert (code, "It runs by itself now." in said) == (0, True)
    assert ended(list_runs(here.outputs)[0]) == "finished"


@pytest.mark.slow
def test_a_run_waits_for_the_one_before_it(here):
    first = make(here, steps=1_000_000)
    supervisor.start(first, here)
    watcher = subprocess.Popen(
        [sys.executable, "-m", "training", "train", job(here, "kind: walk\nname: second\nsteps: 2\n"), "--home", here.root],
        cwd=REPO, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, encoding="utf-8", env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    lines = iter(watcher.stdout.readline, "")
    said = next(lines) + next(lines)  # the first goes on until the second has said that it waits, however long that takes here
    assert "waiting for the run before it to end" in said
    first.command("stop")
    said += "".join(lines)
    assert watcher.wait(60) == 0, said
    second = list_runs(here.outputs)[0]
    assert second.events()[0][0]["t"] >= first.events()[0][-1]["t"]


@pytest.mark.slow
def test_caption_writes_a_text_beside_each_picture(here, nasty, monkeypatch, capsys):
    pictures = nasty / "my pictures"
    pictures.mkdir()
    for n in range(2):
        Image.new("RGB", (96, 96), (n * 90, 9, 9)).save(pictures / f"red-fox {n}.png")
    code, said = easel(here, "caption", pictures, "--captioner", "filename", "--mode", "missing", "--trigger", "zibbo", "--option", "lower=true")
    assert code == 0, said
    assert "finished: 2 captioned" in said
    assert (pictures / "red-fox 1.txt").read_text(encoding="utf-8").startswith("zibbo, red fox")
    for wrong in (("--captioner", "filenam"), ("--captioner", "filename", "--option", "lowr=true"), ("--captioner", "filename", "--mode", "mising"), ("--captioner", "vision", "--option", "ask=training")):
        code, said = typed(here, monkeypatch, capsys, "caption", pictures, *wrong)
        assert code == 2, said
        assert "Traceback" not in said


def test_jobs_lists_what_there_is_and_what_does_not_load(here, monkeypatch, capsys):
    code, said = typed(here, monkeypatch, capsys, "jobs")
    assert code == 0
    for words in ("train ", "caption ", "walk         Walk", "unloadable   does not load: ModuleNotFoundError", "filename "):
        assert words in said


def test_the_command_line_itself_never_loads_torch(here):
    code = "import sys; sys.argv = ['easel', 'runs']; from training.__main__ import app\n"
    code += "try: app()\nexcept SystemExit: print([m for m in ('torch', 'diffusers', 'transformers', 'gradio') if m in sys.modules])"
    asked = subprocess.run([sys.executable, "-c", code], cwd=REPO, env={**os.environ, "EASEL_HOME": str(here.root)}, capture_output=True, text=True, check=True)
    assert asked.stdout.splitlines()[-1] == "[]"


@pytest.mark.slow
def test_the_doctor_names_what_is_broken(here):
    """Slow: another process imports torch."""
    code, said = easel(here, "doctor", wait_s=300)
    assert code == 1
    assert "BROKEN  jobs/unloadable" in said
    assert "does not load: ModuleNotFoundError: No module named 'no_such_library'" in said
    assert "computes on" in said
    for name in ("Python", "packages", "memory", "disk", "outputs", "datasets"):
        assert f"  {name} " in said


def test_an_adapter_is_exported_and_converted_there_and_back(home, tmp_path, monkeypatch, capsys):
    from safetensors.numpy import load_file

    from tests import tiny
    from tests.hub.conftest import finished_run, train_config

    run = finished_run(home.outputs, train_config())
    base = tiny.sd15(tmp_path / "base")
    one, kohya, back = (tmp_path / name for name in ("one.safetensors", "kohya.safetensors", "back.safetensors"))
    do = lambda *words: typed(home, monkeypatch, capsys, *words)
    code, said = do("export", run.id, "--step", 10, "--out", one)
    assert code == 0 and said.startswith(f"{one}  for diffusers, ComfyUI and AUTOMATIC1111\n") and one.is_file()
    assert "is there already" in do("export", run.id, "--out", one)[1]
    assert do("convert", one, kohya, "--family", "sd15", "--layout", "kohya")[0] == 0
    assert "--layout is 'webui'; there are: diffusers, kohya, comfyui" in do("export", run.id, "--layout", "webui")[1]
    code, said = do("convert", _nameless(kohya), back, "--family", "sd15", "--layout", "diffusers", "--base", base)
    assert code == 2 and "a layer that this Stable Diffusion 1.5 model does not have" in said  # the stand-in run's layers are no UNet's
    code, said = do("convert", kohya, back, "--family", "sd15", "--layout", "diffusers")
    assert code == 2 and "is not on this computer" in said and "--base" in said
    real = tmp_path / "real.safetensors"
    _lora_of(base, real)
    assert "for diffusers, ComfyUI and AUTOMATIC1111" in do("convert", real, tmp_path / "k.safetensors", "--family", "sd15")[1]
    assert do("convert", _nameless(tmp_path / "k.safetensors"), back, "--family", "sd15", "--layout", "diffusers", "--base", base)[0] == 0
    first, second = load_file(real), load_file(back)
    assert set(first) == set(second) and all((first[k] == second[k]).all() for k in first)


def _nameless(file):
    """The same file as another program writes it: without the header that tells the layers' whole names."""
    from safetensors.numpy import load_file, save_file

    save_file(load_file(file), file)
    return file


def _lora_of(base, target):
    """A small LoRA of a base model in diffusers' layout, without any header, text encoder included."""
    import numpy as np
    from safetensors.numpy import save_file

    from training import registry
    from training.plan.layers import layer_names

    names = layer_names(str(base), registry.get("families", "sd15"))
    tensors = {}
    for part, ending, root in (("unet", "attn1.to_q", ""), ("text_encoder", "q_proj", "text_model.")):
        for name in names(part):
            if name.endswith(ending):
                tensors[f"{part}.{root}{name}.lora_A.weight"] = np.ones((2, 16), np.float32)
                tensors[f"{part}.{root}{name}.lora_B.weight"] = np.full((16, 2), 0.5, np.float32)
    save_file(tensors, target)


@pytest.mark.slow
def test_generate_draws_a_grid(home, tmp_path):
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a red circle\n\na blue square\n", encoding="utf-8")
    words = ("generate", "--prompts", prompts, "--base", "builtin", "--family", "sd15", "--size", "64x64", "--steps", 2, "--count", 2, "--rows", "prompt", "--columns", "seed")
    code, said = easel(home, *words, wait_s=180)
    assert code == 0, said
    (run,) = list_runs(home.outputs)
    assert run.kind == "generate" and len(run.samples("*.png")) == 4 and "4 pictures; index.html shows them all" in said
    assert (run.path / "index.html").read_text(encoding="utf-8").count("<tr>") == 3


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("a cat",), "say which base model draws"),
        (("a cat", "--base", "builtin", "--family", "sd15", "--size", "big"), "--size is 'big'; it takes width x height in px"),
        (("a cat", "--base", "builtin", "--family", "sd15", "--strengths", "a"), "--strengths is 'a'"),
        (("--base", "builtin", "--family", "sd15"), "say what to draw"),
    ],
)
def test_generate_says_what_is_missing(words, said, home, monkeypatch, capsys):
    code, told = typed(home, monkeypatch, capsys, "generate", *words)
    assert code == 2 and said in told and not list_runs(home.outputs)


def test_health_says_the_grade_and_which_pictures(here, capsys, monkeypatch):
    from tests.data.scenes import drawing

    folder = here.root / "looked at"
    folder.mkdir()
    for n in range(3):
        drawing(n, (300, 300)).save(folder / f"{n}.png")
    drawing(1, (100, 100)).save(folder / "tiny.png")
    code, said = typed(here, monkeypatch, capsys, "health", folder, "--side", 256)
    assert code in (0, None) and "D: Mend this first (4 pictures, for 256 px)" in said and "[bad] Too small: 1" in said and "tiny.png" in said
    assert "256x256: 4" in said


def test_it_says_which_easel_it_is(here, capsys, monkeypatch):
    from training.version import VERSION

    assert typed(here, monkeypatch, capsys, "--version") == (0, f"Easel {VERSION}\n")



def test_versions_are_listed_compared_brought_back_and_the_bin_is_emptied(here, capsys, monkeypatch):
    from PIL import Image

    from training.data import datasets

    ds = datasets.create(here, "cats")
    for n in range(2):
        Image.new("RGB", (80, 64), (n * 90, 30, 60)).save(ds.path / f"{n}.png")
    ds.pictures()
    ds.remove(["0.png"])
    _, said = typed(here, monkeypatch, capsys, "versions", "cats")
    assert "As it was found" in said and "1 picture removed" in said and "Bin: " in said
    assert "1 picture removed" in typed(here, monkeypatch, capsys, "versions", "cats", "--compare", "1")[1]
    assert "is what it was in version 1." in typed(here, monkeypatch, capsys, "versions", "cats", "--restore", "1")[1] and len(ds.pictures()) == 2
    ds.remove(["1.png"])
    said = typed(here, monkeypatch, capsys, "versions", "cats", "--empty-bin", "--yes")[1]
    assert "no longer come back whole" in said and "are free again" in said
    assert "1 file that is gone for good: 1.png" in typed(here, monkeypatch, capsys, "versions", "cats", "--restore", "1")[1]
    code, said = typed(here, monkeypatch, capsys, "versions", "cats", "--restore", "99")
    assert code == 2 and "no version 99" in said


def test_an_estimate_is_said_before_anything_is_started(here, tmp_path, capsys, monkeypatch):
    from tests import tiny
    from training.jobfile import dump_yaml
    from training.plan.hardware import machine
    from training.plan.presets import Answers, resolve

    config = resolve("builtin-character", Answers(dataset=str(tiny.pictures(tmp_path / "pictures", 3)), quality="quick"), machine(here.root), 3, here)
    code, said = typed(here, monkeypatch, capsys, "estimate", job(here, dump_yaml(config)))
    assert code == 0 and f"{config.steps:,} steps" in said
    huge = config.model_copy(update={"data": config.data.model_copy(update={"batch_size": 256, "resolutions": (4096,)})})
    code, said = typed(here, monkeypatch, capsys, "estimate", job(here, dump_yaml(huge)))
    assert code == 1 and "memory" in said and list_runs(here.outputs) == []


def test_cards_of_this_computer_are_not_asked_for_a_run_elsewhere_and_a_refused_resume_leaves_no_wish(workshop, monkeypatch, capsys, tmp_path):  # noqa: F811
    from tests import tiny
    from training import jobfile
    from training.config import TrainConfig
    from training.runs.run import create

    pictures = tiny.pictures(tmp_path / "pictures", 2)
    far = create(workshop.outputs, jobfile.parse(TrainConfig, tiny.train_job("builtin", pictures, place__kind="ssh", place__options={"host": "desk"})))
    code, said = typed(workshop, monkeypatch, capsys, "resume", far.path, "--gpus", "2")
    assert code and "set gpus in the job" in said and far.wished_ranks().gpus is None
    near = create(workshop.outputs, jobfile.parse(TrainConfig, tiny.train_job("builtin", pictures, name="near")))
    near.wish_for_ranks(3)
    journal.append(near.events_path, {"t": 1.0, "kind": "finished", "path": "", "summary": ""})
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # the command's own answer to SIGTERM
    code, said = typed(workshop, monkeypatch, capsys, "resume", near.path, "--nnodes", "2", "--rdzv", "here:29500")
    assert code and "is finished" in said
    wish = near.wished_ranks(1)
    assert (wish.gpus, wish.nodes) == (3, 1)
