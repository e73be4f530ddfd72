"""Questions that are phrased once: what is kept is what Ibis says, and placeholders only stand in for values."""

import json
import random
import subprocess
import sys
from pathlib import Path

import duckdb
import ibis
import phrases as usual_phrases
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_capture import write_capture

import regtrace as rt
from analysis.engine import kept_phrases, phrases
from analysis.engine.relation import Relation
from analysis.open import open_capture

NUMBERS = st.integers(-(2**63) + 1, 2**63 - 1)
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)
ROWS = Relation.of_table("events", (("n", "int64"), ("t", "string")))


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory):
    with open_capture(write_capture(tmp_path_factory.mktemp("phrases") / "small.regtrace")) as opened:
        yield opened


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("phrases")
    rt.simulate(folder / "a.etl", rt.SimulationOptions(events=2000, lost_buffers=0.1))
    rt.ingest(folder / "a.etl", folder / "a.regtrace")
    return folder / "a.regtrace"


def of_values(rows: ibis.Table, *, low: int, name: str, numbers: list[int]) -> ibis.Table:
    """A question with a value of each kind."""
    return rows.filter(rows["n"] >= low, rows["t"] != name, rows["n"].isin(numbers))


@settings(max_examples=50)
@given(NUMBERS, TEXTS, st.lists(NUMBERS, min_size=1, max_size=4))
def test_a_placeholder_stands_for_its_value_and_nothing_else(low, name, numbers):
    # what is said with the values themselves is what the phrase says once it is filled in
    found = phrases.phrase(
        f"{__name__}:of_values", values={"low": low, "name": name, "numbers": numbers}, rows=ROWS
    )
    rows = ibis.table({"n": "int64", "t": "string"}, name="events")
    direct = ibis.to_sql(of_values(rows, low=low, name=name, numbers=numbers), dialect="duckdb")
    with duckdb.connect() as engine:
        engine.execute(
            "CREATE TABLE events AS SELECT * FROM range(3) AS r(n), (VALUES ('a'), (NULL)) AS v(t)"
        )
        assert engine.sql(found.sql).fetchall() == engine.sql(direct).fetchall()


def test_every_value_of_every_usual_question_only_stands_in_its_sql(capture):
    """Each function is phrased with two sets of placeholders: with the marks exchanged the SQL is the same.

    So no function reckons with a value, or decides by it, while it is phrased. The first set is what a program gets:
    kept phrases are compared with what Ibis says of them now.
    """
    asked: set[tuple] = set()
    original = phrases._phrased

    def remember(*arguments):
        asked.add(arguments)
        return original(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(phrases, "_phrased", remember)
        for ask in usual_phrases.usual(capture):
            try:
                ask()
            except rt.RegtraceError:
                continue
    with_values = [arguments for arguments in asked if arguments[3]]
    assert len({function for function, *_ in with_values}) > 8
    for function, tables, options, kinds, without in sorted(with_values, key=repr):
        once, _ = original(function, tables, options, kinds, without)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(phrases, "_NUMBER", phrases._NUMBER + 500 * phrases._STEP)
            again, _ = phrases.say(function, tables, options, kinds, without)
        moved = phrases._MARK.sub(
            lambda found: (
                str(phrases._NUMBER + (int(found["number"]) + 500) * phrases._STEP)
                if found["number"]
                else found[0]
            ),
            once,
        )
        assert moved == again, function
        marks = {found["text"] or found["number"] for found in phrases._MARK.finditer(once)} - {None}
        assert len(marks) == len(kinds), f"{function} looks at a value, or leaves it out"


def test_what_is_kept_is_of_the_sources_as_they_are():
    files = sorted(kept_phrases.FOLDER.glob("*.txt"))
    assert files
    said = f"made of {kept_phrases.fingerprint()} "
    stale = [path.name for path in files if not path.read_text(encoding="utf-8").startswith(said)]
    assert stale == [], "run: python tests/support/phrases.py"


def test_what_is_kept_is_what_ibis_says(capture):
    # a few at random each time: all of them take minutes
    kept: dict[str, dict[str, tuple]] = {}
    original = phrases.find_phrase

    def remember(function, arguments):
        found = original(function, arguments)
        if found is not None:
            kept.setdefault(function, {})[arguments] = found
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(phrases, "find_phrase", remember)
        phrases._phrased.cache_clear()
        for ask in random.sample(usual_phrases.usual(capture), 8):
            try:
                ask()
            except rt.RegtraceError:
                continue
    assert kept
    for function, by_arguments in kept.items():
        for arguments, found in by_arguments.items():
            tables, options, kinds, without = _arguments(arguments)
            assert phrases.say(function, tables, options, kinds, without) == found, function


def _arguments(text: str) -> tuple:
    from tracer.registry.operations import Case, Condition

    return eval(text, {"Case": Case, "Condition": Condition})


# First those that compare: where another one loads Arrow first, it does without NumPy (`cli.options.libraries`).
VERBS = (
    ["changes"], ["diff", "--a-to", "+1s", "--b-from", "+1s"], ["who"], ["keys"], ["hot"], ["tree"], ["errors"], ["handles"],
    ["redundant"], ["state"], ["history", r"HKLM\SOFTWARE", "--subtree"],
    ["timeline", "--operation", "write", "--status", "success"], ["sql", "SELECT count(*) FROM events"], ["info"],
)  # fmt: skip
_ONE_AFTER_THE_OTHER = """
import json, sys
from cli.app import main
for verb in json.loads(sys.argv[1]):
    sys.argv[1:] = verb
    try:
        main()
    except SystemExit as end:
        code = end.code
    heavy = sorted({"ibis", "pandas", "sqlglot"} & set(sys.modules))
    print("\\n\\x1e" + json.dumps([verb[0], code, heavy]), flush=True)
"""


@pytest.fixture(scope="module")
def loaded(simulated) -> dict[str, tuple[int | None, list[str]]]:
    """Return how each verb ended, and which heavy modules its process had loaded by then.

    One process asks one verb after the other. What a verb loads is there for the ones after it, so all are free of it
    only if each of them is.
    """
    asked = [[verb[0], str(simulated), *verb[1:]] for verb in VERBS]
    done = subprocess.run(
        [sys.executable, "-c", _ONE_AFTER_THE_OTHER, json.dumps(asked)],
        cwd=Path(__file__).resolve().parents[1], capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    told = [json.loads(line[1:]) for line in done.stdout.split("\n") if line.startswith("\x1e")]
    assert [verb for verb, _, _ in told] == [verb[0] for verb in VERBS], done.stderr
    return {verb: (code, heavy) for verb, code, heavy in told}


@pytest.mark.slow
@pytest.mark.parametrize("verb", [verb[0] for verb in VERBS])
def test_a_verb_needs_neither_ibis_nor_pandas(verb, loaded):
    code, heavy = loaded[verb]
    assert code in (0, 3)  # 3: something differs
    assert heavy == []
