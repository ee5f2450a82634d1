import json
import random
import threading

from training.runs import journal


def test_a_record_comes_back_as_it_went_in(nasty):
    path = nasty / "events.jsonl"
    records = [{"n": n, "text": "a\nb\u2028c 日本 'x' \"y\" 🎨"} for n in range(3)]
    for record in records:
        journal.append(path, record)
    assert journal.read(path) == (records, path.stat().st_size, 0)
    assert path.read_bytes().count(b"\n") == 3


def test_a_reader_that_comes_back_gets_only_what_is_new(tmp_path):
    path = tmp_path / "j"
    assert journal.read(path) == ([], 0, 0)
    journal.append(path, {"n": 1})
    first, cursor, _ = journal.read(path)
    assert journal.read(path, cursor) == ([], cursor, 0)
    journal.append(path, {"n": 2})
    second, _, _ = journal.read(path, cursor)
    assert first + second == [{"n": 1}, {"n": 2}]


def test_a_tail_torn_at_any_byte_costs_at_most_that_record(tmp_path):
    """Power cut in the middle of a write, then a new attempt goes on writing."""
    line = json.dumps({"n": 2, "text": "é日"}, ensure_ascii=False).encode() + b"\n"
    for cut in range(len(line) + 1):
        path = tmp_path / f"{cut}"
        journal.append(path, {"n": 1})
        with open(path, "ab") as file:
            file.write(line[:cut])
        seen, cursor, bad = journal.read(path)
        assert (len(seen), bad) == (2 if cut == len(line) else 1, 0)  # a torn tail is not an error yet
        journal.append(path, {"n": 3})
        later, cursor, more_bad = journal.read(path, cursor)
        numbers = [r["n"] for r in seen + later]
        whole = cut >= len(line) - 1  # only the newline was missing: the record is good
        assert numbers == ([1, 2, 3] if whole else [1, 3])
        assert more_bad == (0 if whole or cut == 0 else 1)
        assert cursor == path.stat().st_size
        assert [r["n"] for r in journal.backwards(path)] == numbers[::-1]


def test_what_is_no_record_is_counted_and_passed_over(tmp_path):
    path = tmp_path / "j"
    path.write_bytes(b'{"n":1}\n\xff\xfe\n\0\0\0\0\n[1]\n"x"\nnull\n{"n":\n\n' + b"[" * 100_000 + b"\n" + b"1" * 5000 + b'\n{"n":2}\r\n')
    records, _, bad = journal.read(path)
    assert [r["n"] for r in records] == [1, 2]
    assert bad == 8
    assert [r["n"] for r in journal.backwards(path)] == [2, 1]


def test_a_very_long_line_is_a_line(tmp_path):
    path = tmp_path / "j"
    long = "日" * 1_000_000
    for record in ({"n": 1}, {"n": 2, "text": long}, {"n": 3}):
        journal.append(path, record)
    assert [r["n"] for r in journal.read(path)[0]] == [1, 2, 3]
    assert next(r for r in journal.backwards(path) if r["n"] == 2)["text"] == long


def test_backwards_is_forwards_reversed_at_every_block_border(tmp_path):
    rng = random.Random(0)
    for trial in range(30):
        path = tmp_path / str(trial)
        for n in range(rng.randrange(40)):
            journal.append(path, {"n": n, "text": "é" * rng.randrange(8000)})
        if rng.random() < 0.5:
            with open(path, "ab") as file:
                file.write(b'{"torn": ')
        assert list(journal.backwards(path)) == journal.read(path)[0][::-1]


def test_threads_may_append_at_once(tmp_path):
    path = tmp_path / "j"
    threads = [threading.Thread(target=lambda k=k: [journal.append(path, {"k": k, "n": n}) for n in range(50)]) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    records, _, bad = journal.read(path)
    assert (len(records), bad) == (200, 0)


def test_a_number_that_json_does_not_know_does_not_spoil_the_line(tmp_path):
    path = tmp_path / "j"
    journal.append(path, {"loss": float("nan"), "rates": [float("inf"), 1.0], "name": "half a pair \udcff"})
    assert journal.read(path)[0] == [{"loss": None, "rates": [None, 1.0], "name": "half a pair ?"}]
