"""Every error has a number that stays, told from its sentence; docs/errors.md is the table."""

import ast
import errno
import re
from pathlib import Path

import pytest

from tests.test_cli import typed
from training import errors
from training.home import REPO
from training.hub import client
from training.runs import death

# the numbers of this version: one that is taken away or given to something else would lead people astray
CODES = {  # hundred -> how many
    1: range(7), 2: range(1, 4), 3: range(1, 3), 4: range(1, 9), 5: range(1, 7), 6: range(1, 7), 7: range(1, 6), 8: range(1, 9), 9: range(1, 11),
}  # fmt: skip
WALKED = (
    "training/engine", "training/runs", "training/hub", "training/adapters", "training/families", "training/objectives", "training/optimizers", "training/formats/basemodel.py",
    "training/formats/basehash.py", "training/formats/adapting.py", "training/registry.py", "training/jobfile.py", "training/plan/estimate.py", "training/jobs/train.py", "training/jobs/publish.py",
    "training/data/gate.py", "training/data/pictures.py", "training/data/clips.py", "training/data/parts.py", "training/data/concepts.py", "training/data/words.py",
    "training/away", "training/cloud",
)  # fmt: skip
NEVER_SEEN = {"unreachable: the last try returns or raises", "it is shorter than what was folded", "… cannot be read", "… is …, but …", "unreachable"}  # caught inside, or with no words of their own


def _text(node) -> str:
    """A text as it is written, with … for what is put into it."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(v.value if isinstance(v, ast.Constant) else "…" for v in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return (_text(node.left) or "…") + (_text(node.right) or "…")
    return ""


def _files():
    for place in WALKED:
        yield from sorted((REPO / place).rglob("*.py")) if (REPO / place).is_dir() else [REPO / place]


def _raised(path: Path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args and (text := _text(node.exc.args[0])).strip("… :."):
            yield text
        at = {"HubError": 0, "Report": 1}.get(getattr(node.func, "id", ""), 9) if isinstance(node, ast.Call) else 9
        if at < 9 and len(node.args) > at and (text := _text(node.args[at])):
            yield text


def test_every_sentence_that_these_rooms_raise_has_a_number_of_its_own():
    bare = {f"{path.name}: {text}" for path in _files() for text in _raised(path) if text not in NEVER_SEEN and errors.of(text).code == errors.GENERAL}
    assert not bare, "\n".join(sorted(bare))


def test_every_sentence_of_death_has_one():
    """All that it makes itself; what it only passes on, and 'TypeError: …', are what they are."""
    tree = ast.parse((REPO / "training/runs/death.py").read_text(encoding="utf-8"))
    made = [_text(n) for f in tree.body if getattr(f, "name", "") in ("of_exception", "of_silence", "_what_happened", "_disk_full") for n in ast.walk(f) if isinstance(n, ast.JoinedStr | ast.Constant)]
    said = [text for text in made if re.match("(It|The|A) [a-z]", text)]
    assert len(said) >= 11, said
    assert {text for text in said if errors.of(text).code == errors.GENERAL} == set()


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "E-101"), (MemoryError(), "E-102"), (OSError(errno.ENOSPC, "No space left on device", "/"), "E-201"),
        (ModuleNotFoundError("No module named 'torch'"), "E-902"), (RuntimeError("CUDA error: no kernel image"), "E-103"), (PermissionError(errno.EACCES, "Permission denied", "x.txt"), "E-203"),
        (ValueError("Without a picture that it is made from: a.png (a.control.png is damaged). Put name.control.png beside name.jpg"), "E-506"),
        (ValueError("there is no dataset called 'cats'; there are: dogs"), "E-501"), (ValueError("there is no folder '/x', and it is not a Hub id of the form owner/name"), "E-601"),
        (ValueError("the jobs plugin 'walk' does not load: SyntaxError"), "E-901"), (KeyError("step"), "E-100"), (RuntimeError(), "E-100"),
    ],
)  # fmt: skip
def test_what_a_worker_dies_of_has_its_number(error, code):
    assert errors.of(death.of_exception(error)[0]).code == code


@pytest.mark.parametrize(
    ("sentence", "code"),
    [
        ("RuntimeError: Expected tensor for argument #1 'indices' to have scalar type Long; but it must be Long", "E-100"), ("ValueError: sampler is odd, and frames is missing", "E-100"),
        ("loss.timestep_min is 0.9, but loss.timestep_max is 0.1; the minimum must be below it", "E-701"), ("torch.cuda.OutOfMemoryError: the graphics card ran out of memory", "E-101"),
        ("adapter.start_from is 'x.pt', but x.pt is a pickled file, which can run code when opened; get the .safetensors version", "E-606"), ("x.ckpt is a pickled file, which can run code when opened", "E-604"),
        ("On desk: the training's process on the other machine was ended from outside (signal 9)", "E-907"), ("On desk: The graphics card ran out of memory.", "E-101"), ("On desk: it is quite particular", "E-907"),
        ("build7 does not take your key (Permission denied (publickey).). In a terminal, 'ssh build7' must work without a password: ssh-copy-id puts your key there, and ssh-add unlocks it", "E-908"),
        ("Modal does not accept the token of this computer: run 'modal setup' again and press Resume", "E-908"), ("Hugging Face does not accept the token (401): make a new one, sign in again and press Resume", "E-801"),
        ("What was sent to desk is gone: nobody there knows of it. Press Resume to send it again.", "E-909"), ("ssh: connect to host build7 port 22: Connection timed out", "E-910"), ("there is no command 'x'", "E-407"),
    ],
)  # fmt: skip
def test_a_sentence_is_not_taken_for_another_kind(sentence, code):
    assert errors.of(sentence).code == code


def test_every_answer_of_the_hub_has_its_number():
    found = {status: errors.of(str(client.sentence(client.Fault(status), "alice/cat", "https://huggingface.co"))).code for status in (-1, 0, 400, 401, 403, 404, 409, 412, 413, 429, 500, 503, 418)}
    assert found == {
        -1: "E-805", 0: "E-805", 400: "E-807", 401: "E-801", 403: "E-802", 404: "E-804", 409: "E-807", 412: "E-807", 413: "E-807", 429: "E-806", 500: "E-806", 503: "E-806", 418: "E-807",
    }  # fmt: skip


def test_the_numbers_stay_and_say_what_to_do():
    assert [kind.code for kind in sorted(errors.KINDS, key=lambda k: k.code)] == [f"E-{room}{number:02d}" for room, numbers in CODES.items() for number in numbers]
    for kind in errors.KINDS:
        assert kind.title and kind.cause.endswith(".") and kind.do.endswith(".") and kind.action in ("", *errors.ACTIONS) and (kind.says or kind.code == errors.GENERAL)


def test_the_page_is_the_table():
    assert (REPO / "docs" / "errors.md").read_text(encoding="utf-8") == errors.page(), "run: python -m training errors --page > docs/errors.md"


def test_the_command_line_says_the_number_and_what_it_means(home, monkeypatch, capsys):
    code, said = typed(home, monkeypatch, capsys, "errors", "e-101")
    assert code == 0 and "Make it fit" in said
    assert "E-904" in typed(home, monkeypatch, capsys, "errors")[1]
    code, said = typed(home, monkeypatch, capsys, "resume", "nobody")
    assert code == 2 and "there is no run called 'nobody'" in said and "[E-407]" in said
