"""What the Results page shows of the engine is found again as whole sentences, so that it can be put into another language; and what the page says itself is put there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.pofile import write_po

from tests.plan.test_advising import BASES, CHECKPOINTS, LEVELS, falls_until, measured, rises_from
from tests.ui import story
from training.data import suspects
from training.home import REPO
from training.plan import advising
from training.plan.advising import advise
from training.plan.going import Facts, going
from training.runs import needs, queueing, slow
from training.runs.events import RunView
from training.runs.needs import Need
from training.runs.queueing import Wait
from training.runs.slow import Measured
from training.runs.unpacking import Brought
from ui import language
from ui.language import extract, speaking
from ui.language import heard as hearing
from ui.tabs.results import elsewhere, finding, outlook, queue, travel

SAY = ("plan/advising.py", "plan/going.py", "runs/slow.py", "runs/queueing.py", "runs/needs.py", "data/suspects.py")
PHRASE = re.compile(r"[a-z]{3,} [a-z]{3,}")


@pytest.fixture
def german(tmp_path, monkeypatch):
    """A German in which «every message» stands in marks, and ⟨what was filled in⟩ in others."""
    said, catalog = sorted({text for path in SAY for text in texts(REPO / "training" / path)}), Catalog(locale="de")
    own = [text for page in (elsewhere, finding, outlook, queue, travel) for text in marked(Path(page.__file__))]
    for text in dict.fromkeys([*said, *own]):
        catalog.add(text, "«" + extract.NAME.sub(r"⟨{\1}⟩", text) + "»")
    with (tmp_path / "de.po").open("wb") as file:
        write_po(file, catalog)
    (tmp_path / "engine.txt").write_text("".join(f"{line}\n" for line in said), encoding="utf-8")
    monkeypatch.setattr(language, "FOLDER", tmp_path)
    monkeypatch.setattr(hearing, "LIST", tmp_path / "engine.txt")
    _forget()
    yield "de"
    monkeypatch.undo()
    _forget()


def texts(path: Path) -> list[str]:
    """The messages of a file of the engine."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inner = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    found = [extract.pattern_of(node) for node in ast.walk(tree) if isinstance(node, (ast.Constant, ast.JoinedStr)) and id(node) not in inner]
    return [text for text in found if extract.WORDY.search(text) and not extract.CODE.search(text) and "\n" not in text]


def marked(path: Path) -> list[str]:
    """What tr() and N_() say in a file of the page."""
    calls = (node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("tr", "N_"))
    return [call.args[0].value for call in calls if isinstance(call.args[0], ast.Constant) and call.args[0].value]


def _forget():
    for kept in (language.catalogue, hearing.patterns, hearing._heard):
        kept.cache_clear()


def whole(text: str) -> bool:
    """Whether all of it is messages, and what is filled into them no words of the engine, nor half a sentence that is a message itself."""
    said = hearing.heard(text, "de")
    filled = re.findall(r"⟨([^⟨⟩]*)⟩", said)
    return not re.search(r"\w", re.sub(r"«[^«»]*»", "", said)) and not any(PHRASE.search(value) for value in filled)


def advice():
    look = lambda learnt, lost, **how: advise(measured(learnt, lost, **how), BASES, CHECKPOINTS, LEVELS)
    every = [
        advise([], (), CHECKPOINTS, LEVELS), look(falls_until(400), rises_from(600)), look(falls_until(4000), lambda s: 0.05), look(falls_until(4000), lambda s: max(0, s - 300) / 1000),
        look(lambda s: 1.0, lambda s: 0.02, noise=0.2), look(lambda s: 0.8 if s < 200 else 1 + s / 300, lambda s: s / 200),
    ]  # fmt: skip
    curves = advising.curves(measured(falls_until(400), rises_from(600))[:3], BASES)
    return [
        *(text for told in every for text in told.said), advising._too_few(None, 3), advising._too_few(curves, 1), advising._too_few(curves, 3),
        *(advising._ends(1200, forgets) for forgets in (1200, 3400, 0)),
        *(text for alike, sure in (([1200], "clear"), ([1200], "likely"), ([800, 1200, 2000], "clear")) for text in advising._told(1200, alike, sure)),
    ]  # fmt: skip


def goings():
    pairs = lambda gained, n=30: tuple((50 * at, gained) for at in range(n))
    usual = Facts(1e-4, 2000)
    falls, rises = tuple((100 * at, 1 - at / 100) for at in range(8)), tuple((100 * at, 0.5 if at == 3 else 1 + at / 10) for at in range(12))
    every = [
        going(RunView(step=1500, of=2000, pairs=pairs(gained), validations=looks), facts)
        for gained, facts, looks in (
            (2.0, usual, ()), (0.2, usual, ()), (2.0, Facts(1.0, 2000, finds_rate=True), ()), (-0.3, usual, ()), (-0.3, usual, falls), (0.0, usual, ()), (-0.3, usual, rises),
            (0.0, Facts(1e-4, 2000, chosen_layers=True), ()), (0.0, Facts(1.0, 2000, finds_rate=True), ()),
        )
    ]  # fmt: skip
    every += [going(RunView(step=5, of=10, pairs=pairs(0.0, 2)), usual), going(RunView(step=5, of=10), Facts(1e-3, 10, bare=1.0, pictures=3))]
    assert {one.state for one in every} == {"diverging", "fine", "still", "memorising", "early", "wordless"}
    return [text for one in every for text in (one.says, one.todo, one.act) if text]


def slows():
    gb = 10**9
    every = [
        Measured(4.0, 1.0, vram_used=int(23.8 * gb), vram_total=24 * gb, spills=True, on_processor=False), Measured(1.0, swapped_bytes_s=80e6), Measured(1.0, card_reasons=0x40, card_celsius=91),
        Measured(1.0, card_reasons=0x20), Measured(1.0, card_reasons=0x80), Measured(2.0, 1.0, processor_hot=True), Measured(3.0, 1.0, others=0.7), Measured(3.0, 1.0), Measured(3.0, 1.0, by_itself=True),
    ]  # fmt: skip
    return [text for m in every for text in slow.reasons(m).values()]


def test_what_is_said_of_a_run_is_found_again_as_whole_sentences(german):
    assert whole("It was measured only 3 times: too few to tell which checkpoint is best. Compare the samples.") and not whole("Half a sentence, which failed")
    missing = lambda n: needs.sentence([Need("dataset", "data.datasets", "cat", False, "bring it here")] * n)
    guesses = [*suspects.HARD.values(), *suspects.EASY.values(), suspects.NO_CAPTION, suspects.HARD_ELSE, suspects.EASY_ELSE, suspects.copied(["a.png"])]
    assert [text for text in (*advice(), *goings(), *slows(), *guesses, missing(1), missing(2)) if not whole(text) and not re.fullmatch(r"Take step [\d,]+\.", text)] == []


def test_numbers_in_it_are_written_as_the_language_writes_them(german):
    assert "after ⟨1.200⟩ of ⟨3.000⟩ steps it predicts its pictures ⟨0,7 %⟩ better" in hearing.heard("It hardly learns: after 1,200 of 3,000 steps it predicts its pictures 0.7 % better than the base model does without it.", "de")
    assert "⟨2.10⟩" in hearing.heard("It was measured only 2.10 times: too few to tell which checkpoint is best. Compare the samples.", "de"), "a version has a point everywhere"


def test_what_the_queue_says_of_a_run_is_found_again_and_its_card_says_it(german, home):
    a, b = story.run(home, None, name="a"), story.run(home, None, name="b")
    waits = lambda: queueing.why_held(home, b)
    queueing.hold(b, Wait(after=a.id))
    said = [waits(), _refused(home, b, a), _refused(home, b, b)]
    with speaking(german):
        assert queue.held(home, b).startswith("«it begins after '⟨a⟩'»") and queue._turn(home, a, True) == "«Next: it begins when the machine is free.»"
    for ended in (story.run(home, 20, "failed", name="c"), story.run(home, 20, "stopped", name="d"), story.run(home, 20, name="e")):
        queueing.hold(b, Wait(after=ended.id))
        said += [waits(), _refused(home, ended, None)]
    queueing.hold(b, Wait())
    queueing.pause(home, True)
    said.append(waits())
    assert [text for text in said if not whole(text)] == []
    with speaking(german):
        page = queue.html(queue.look(home, None))
    assert "«The queue is paused.»" in page and "«Waiting»" in page and "«Move ⟨b⟩ up»" in page and f"«{queue.CLOSED}»" in page


def _refused(home, run, of) -> str:
    with pytest.raises(ValueError) as refused:
        queueing.checked(home, of, after=run.id)
    return str(refused.value)


def test_the_pages_own_words_follow_the_language(german):
    row = outlook.Picture("d/c.png", "c.png", "d", "", "hard", 1.4, suspects.NO_CAPTION)
    with speaking(german):
        said = outlook.pictures([row], [outlook.Weighed("d/e.png", "e.png", 0.5, 1200)], True)
        room = travel.taken(travel.room.Room(3_250_000_000, 0, ()))
        lists = finding.html([], "x", 0, 0.0)
        trackers = elsewhere._line(elsewhere.Row("x", "X", "", "", "It leaves", ""))
    assert f"«{suspects.NO_CAPTION}»" in said and "«counts ⟨0,5⟩ times since step ⟨1.200⟩.»" in said and "«loss ⟨40⟩ % above the others’»" in said
    assert "«⟨3,25 GB⟩ are free.»" in room and "«Status: any»" in lists and "«Show it there»" in trackers


def test_whatever_a_run_may_need_has_a_name_on_the_page(home):
    named = {node.value for node in ast.walk(ast.parse(Path(needs.__file__).read_text(encoding="utf-8"))) if isinstance(node, ast.Constant) and re.fullmatch(r"[a-z]+\.[a-z_]+", str(node.value))}
    assert named == set(travel.NEEDS)
    made = [*needs._of(story.config(), home, True, True)]
    assert {travel._called(need, need.name) for need in made} >= {"dataset zibbo", "base model builtin", "plugin of the kind optimizers adamw"} and all(travel._called(need, "x") == f"{need.what} x" for need in made)


def test_what_an_import_made_is_said_on_the_page_as_on_the_command_line(home):
    run = story.run(home, 20)
    lacks = [Need("dataset", "data.datasets", "cat", False, "bring its pictures"), *[Need("base model", "model.source", "./b", False, "say where it is here")] * 5]
    refused = [("a.py", "is a program or a page, which a run does not hold"), *[("b.bin", "is a pickled file, which can run code when opened")] * 4]
    for some in (0, 1, 2, 5):
        made = Brought(run, tuple(refused[:some]), tuple(lacks[:some]), tuple([("dataset", "zibbo"), ("model", "./b")][:some]))
        assert travel._brought(made) == made.said() and len(made.said()) == (4 if some else 1)
