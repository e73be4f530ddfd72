"""Verbs that read one capture load Arrow without NumPy, and the engine's functions only for somebody's own SQL."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from small_capture import write_capture

from analysis.questions import key_ranges
from cli.exits import Exit
from cli.options.libraries import LONG_EVENTS, reads_one_capture

ROOT = Path(__file__).resolve().parents[1]
QUESTIONS: dict[str, list[str]] = {
    "diff": ["--a-to", "+5us", "--b-from", "+5us"],
    "errors": [],
    "handles": [],
    "history": [r"HKLM\SOFTWARE", "--subtree"],
    "hot": [],
    "info": [],
    "keys": [],
    "redundant": [],
    "state": [],
    "timeline": ["--limit", "20"],
    "tree": [],
    "who": [],
}
SQL = "SELECT operation, data_type_name, data_text, data_meaning FROM events ORDER BY sequence"
PROGRAM = """
import contextlib, io, json, sys
from cli.app import main
if sys.argv[1] == "with NumPy":
    import pyarrow
def ask_once():  # the forms of a verb share its rows, once a verb has loaded what answers
    connection = sys.modules["analysis.engine.connection"]
    if connection.answer.__name__ == "shared":
        return
    ask = connection.answer
    def shared(engine, sql, *, few=True):
        known = answers.setdefault((sql, few), [])
        if not known:
            known.append(ask(engine, sql, few=few))
        return known[0]
    for name, module in sys.modules.items():
        if name.startswith("analysis.") and getattr(module, "answer", None) is ask:
            module.answer = shared
before = None
for words in json.loads(sys.stdin.read()):
    if "analysis.engine.connection" in sys.modules:
        ask_once()
    if words[0] != before:
        answers, before = {}, words[0]
    shown = io.TextIOWrapper(io.BytesIO(), "utf-8")
    with contextlib.redirect_stdout(shown):
        try:
            main(words)
        except SystemExit as end:
            code = end.code
    shown.flush()
    print(json.dumps([words, code, shown.buffer.getvalue().decode(), "numpy" in sys.modules]))
"""


def code_of(verb: str) -> int:
    return Exit.FINDINGS if verb == "diff" else Exit.OK


def answers(askings: list[list[str]], how: str) -> list[list]:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM, how],
        cwd=ROOT, input=json.dumps(askings).encode(), capture_output=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    return [json.loads(line) for line in done.stdout.decode().splitlines()]


@pytest.fixture(scope="module")
def capture(tmp_path_factory):
    path = tmp_path_factory.mktemp("light") / "a.regtrace"
    write_capture(path)
    return path


@pytest.mark.slow
def test_questions_about_one_capture_load_no_numpy(capture):
    askings = [[verb, str(capture), *more] for verb, more in QUESTIONS.items()]
    assert [(words[0], code, loaded) for words, code, _, loaded in answers(askings, "without")] == [
        (verb, code_of(verb), False) for verb in QUESTIONS
    ]


@pytest.mark.slow
def test_every_form_of_an_answer_is_the_same_without_numpy_in_arrow(capture):
    askings = [
        [verb, str(capture), *more, "--format", form]
        for verb, more in {**QUESTIONS, "sql": [SQL], "timeline": ["--where", "data_text <> ''"]}.items()
        if verb != "info"
        for form in ("table", "csv", "jsonl")
    ]
    without, with_numpy = answers(askings, "without"), answers(askings, "with NumPy")
    assert [one[:3] for one in without] == [one[:3] for one in with_numpy]
    assert [one[1] for one in without] == [code_of(one[0][0]) for one in without]


def test_numpy_is_left_out_only_where_one_capture_is_asked(capture, tmp_path):
    assert reads_one_capture(["who", str(capture)])
    assert not reads_one_capture(["changes", str(capture)])
    assert not reads_one_capture(["who", str(capture.parent)])
    assert not reads_one_capture(["who", str(capture), str(tmp_path)])
    assert not reads_one_capture(["info", str(capture / "capture.json")])
    assert not reads_one_capture([])


def test_of_a_long_capture_questions_that_follow_keys_through_ranges_have_numpy(tmp_path):
    def capture_of(events):
        folder = tmp_path / str(events)
        folder.mkdir()
        (folder / "capture.json").write_text(json.dumps({"totals": {"events": events}}))
        return folder

    assert LONG_EVENTS <= key_ranges._MANY_ROWS
    assert reads_one_capture(["history", str(capture_of(LONG_EVENTS - 1)), "HKLM"])
    assert not reads_one_capture(["history", str(capture_of(LONG_EVENTS)), "HKLM"])


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "[" * 100_000, '{"totals": {"events": null}}', '{"totals": 1}']
)
def test_a_manifest_that_does_not_tell_is_none_of_a_short_capture(tmp_path, text):
    (tmp_path / "capture.json").write_text(text)
    assert not reads_one_capture(["history", str(tmp_path), "HKLM"])
