"""Questions that are phrased once: what is kept is what Ibis says, and placeholders only stand in for values."""

import contextlib
import json
import random
import subprocess
import sys
from functools import partial
from pathlib import Path

import duckdb
import ibis
import phrase_cache
import phrase_sources
import phrases as usual_phrases
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_capture import write_capture

import regtrace as rt
from analysis.engine import kept_phrases, phrases
from analysis.engine.columns import columns_of_one
from analysis.engine.relation import Relation
from analysis.open import open_capture
from analysis.questions.query import Query

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


@pytest.fixture(scope="module")
def small_engine():
    with duckdb.connect() as engine:
        engine.execute(
            "CREATE TABLE events AS SELECT * FROM range(3) AS r(n), (VALUES ('a'), (NULL)) AS v(t)"
        )
        yield engine


@settings(max_examples=100)
@given(low=NUMBERS, name=TEXTS, numbers=st.lists(NUMBERS, min_size=1, max_size=4))
def test_a_placeholder_stands_for_its_value_and_nothing_else(small_engine, low, name, numbers):
    # what is said with the values themselves is what the phrase says once it is filled in
    found = phrases.phrase(
        f"{__name__}:of_values", values={"low": low, "name": name, "numbers": numbers}, rows=ROWS
    )
    rows = ibis.table({"n": "int64", "t": "string"}, name="events")
    direct = ibis.to_sql(of_values(rows, low=low, name=name, numbers=numbers), dialect="duckdb")
    assert small_engine.sql(found.sql).fetchall() == small_engine.sql(direct).fetchall()


@pytest.mark.slow
def test_every_value_of_every_usual_question_only_stands_in_its_sql(request, capture):
    """Each function is phrased with two sets of placeholders: with the marks exchanged the SQL is the same.

    So no function reckons with a value, or decides by it, while it is phrased. The first set is what a program gets:
    kept phrases are compared with what Ibis says of them now, or said in an earlier run of the same sources.
    """
    folder = request.getfixturevalue("phrases")
    asked: set[tuple] = set()
    original = phrases._phrased

    def remember(*arguments):
        asked.add(arguments)
        return original(*arguments)

    class SaidError(Exception):
        """All of a question is said: its rows are not needed."""

    def stop(query):
        raise SaidError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(phrases, "_phrased", remember)
        patch.setattr(Query, "to_arrow", stop)
        for ask in usual_phrases.usual(capture):
            with contextlib.suppress(rt.RegtraceError, SaidError):
                ask()
    with_values = [arguments for arguments in asked if arguments[3]]
    assert len({function for function, *_ in with_values}) > 8
    for function, tables, options, kinds, without in sorted(with_values, key=repr):
        once, _ = original(function, tables, options, kinds, without)
        moved_arguments = repr(("with other numbers", tables, options, kinds, without))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(phrases, "_NUMBER", phrases._NUMBER + 500 * phrases._STEP)
            say = partial(phrases.say, function, tables, options, kinds, without)
            again, _ = phrase_cache.said_once(folder, function, moved_arguments, say)
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
    stale = []
    for path in files:
        said = path.read_text(encoding="ascii").splitlines()[:2]
        if said != list(usual_phrases.heads_of(_module_of(path))) or not kept_phrases.is_fresh(said[0]):
            stale.append(path.name)
    assert stale == [], "run: python tests/support/phrases.py"


_LOAD_EACH = """
import json, sys
from importlib import import_module
import ibis, pyarrow.compute
loaded = {}
for module in json.loads(sys.argv[1]):
    for name in [name for name in sys.modules if name.partition(".")[0] in ("analysis", "tracer")]:
        del sys.modules[name]
    import_module(module)
    import analysis.engine.phrases
    loaded[module] = sorted(sys.modules)
print(json.dumps(loaded))
"""


def test_the_sources_that_a_file_names_are_those_that_python_loads():
    modules = sorted({_module_of(path) for path in kept_phrases.FOLDER.glob("*.txt")})
    done = subprocess.run(
        [sys.executable, "-c", _LOAD_EACH, json.dumps(modules)],
        cwd=phrase_sources.ROOT, capture_output=True, text=True, timeout=240, check=True,
    )  # fmt: skip
    for module, names in json.loads(done.stdout).items():
        paths = (phrase_sources.path_of(name) for name in names)
        loaded = [
            path
            for path in paths
            if (phrase_sources.ROOT / path).is_file() and path.startswith(phrase_sources.SCOPE)
        ]
        assert phrase_sources.sources_of(module) == sorted(loaded), module


@pytest.fixture
def stale_after(tmp_path, monkeypatch):
    """Return a function: which files are stale once a source is changed by a function; it works on a copy."""
    heads = {
        path.name: path.read_text(encoding="ascii").splitlines()[0]
        for path in kept_phrases.FOLDER.glob("*.txt")
    }
    for place in phrase_sources.SCOPE:
        source = phrase_sources.ROOT / place
        for path in source.glob("*.py") if source.is_dir() else [source]:
            copy = tmp_path / path.relative_to(phrase_sources.ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    monkeypatch.setattr(kept_phrases, "_ROOT", tmp_path)

    def stale(path, change):
        source = tmp_path / path
        before = source.read_bytes()
        source.write_bytes(change(before))
        kept_phrases._digest_of.cache_clear()
        found = {name for name, head in heads.items() if not kept_phrases.is_fresh(head)}
        source.write_bytes(before)
        return found

    yield stale
    kept_phrases._digest_of.cache_clear()


def test_a_changed_answer_makes_only_its_own_phrases_stale(stale_after):
    def and_more(source):
        return source + b"MORE = 1\n"

    assert stale_after("analysis/answers/who.py", and_more) == {
        "answers.who.who.txt",
        "answers.who.touched_by.txt",
    }
    assert stale_after("analysis/answers/unproved.py", and_more) == {
        "answers.unproved.unproved_changes.txt", "answers.state.state.txt",
        *(f"answers.history.{function}.txt" for function in ("changing_groups", "history", "with_contents")),
        *(f"answers.diff.{function}.txt" for function in ("compared", "own_names", "side")),
    }  # fmt: skip
    everything = {path.name for path in kept_phrases.FOLDER.glob("*.txt")}
    assert stale_after("analysis/engine/phrases.py", and_more) == everything
    # the same lines as another system ends them
    assert stale_after("analysis/engine/phrases.py", lambda source: source.replace(b"\n", b"\r\n")) == set()


def test_a_file_is_stale_whose_source_is_gone_or_whose_first_line_is_another():
    head = kept_phrases.head_of(phrase_sources.sources_of("analysis.answers.who"))
    assert kept_phrases.is_fresh(head)
    assert not kept_phrases.is_fresh(
        "made of 7d6c7e9846eff6622b9560ca by tests/support/phrases.py: do not edit"
    )
    assert not kept_phrases.is_fresh(head.replace("made of", "of"))
    assert not kept_phrases.is_fresh(head.replace("answers/who.py", "answers/whose.py"))


def test_comments_and_docstrings_are_no_reason_to_make_phrases_anew(tmp_path, monkeypatch):
    def code(text):
        (tmp_path / "one.py").write_text(text)
        phrase_sources._code.cache_clear()
        return phrase_sources.code_of(["one.py"])

    monkeypatch.setattr(phrase_sources, "ROOT", tmp_path)
    first = code('"""A module."""\n\n\ndef f(x):\n    """Return x."""\n    return x  # as it is\n')
    assert code('"""Another word."""\ndef f(x):\n    """Return it."""\n    return (x)\n') == first
    assert code('"""A module."""\n\n\ndef f(x):\n    """Return x."""\n    return -x\n') != first
    phrase_sources._code.cache_clear()


def _module_of(path: Path) -> str:
    return f"analysis.{path.stem.rpartition('.')[0]}"


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
# The last verb is asked as of a large capture.
_ONE_AFTER_THE_OTHER = """
import json, sys
from cli.app import main
for verb in json.loads(sys.argv[1]):
    if verb[0] == "large":
        from analysis.questions import key_ranges
        key_ranges._MANY_ROWS = 0
    sys.argv[1:] = verb[verb[0] == "large" :]
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
    asked = [[verb[0], str(simulated), *verb[1:]] for verb in VERBS] + [
        ["large", "redundant", str(simulated)]
    ]
    done = subprocess.run(
        [sys.executable, "-c", _ONE_AFTER_THE_OTHER, json.dumps(asked)],
        cwd=Path(__file__).resolve().parents[1], capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    told = [json.loads(line[1:]) for line in done.stdout.split("\n") if line.startswith("\x1e")]
    assert [verb for verb, _, _ in told] == [verb[0] for verb in asked], done.stderr
    return {verb: (code, heavy) for verb, code, heavy in told}


@pytest.mark.slow
@pytest.mark.parametrize("verb", [*(verb[0] for verb in VERBS), "large"])
def test_a_verb_needs_neither_ibis_nor_pandas(verb, loaded):
    code, heavy = loaded[verb]
    assert code in (0, 3)  # 3: something differs
    assert heavy == []


def test_a_phrase_of_an_earlier_test_is_found_while_its_sources_are_as_they_were(tmp_path, monkeypatch):
    processes = Relation.of_table("processes", columns_of_one()["processes"])
    said = []
    original = phrases.say

    def say(*arguments):
        said.append(arguments)
        return original(*arguments)

    def ask():
        phrases._phrased.cache_clear()
        return phrases.phrase(
            "analysis.expressions.row_filters:of_pids", values={"pids": [4]}, processes=processes
        )

    monkeypatch.setattr(phrases, "say", say)
    monkeypatch.setattr(phrases, "find_phrase", lambda function, arguments: None)
    monkeypatch.setattr(phrases, "listeners", [])
    phrase_cache.use_folder(tmp_path)
    first = ask()
    assert len(said) == 1
    assert ask() == first
    assert len(said) == 1
    phrase_cache._made_of.cache_clear()
    monkeypatch.setattr(phrase_cache, "sources_of", lambda module: ["another/source.py"])
    assert ask() == first
    assert len(said) == 2
    phrase_cache._made_of.cache_clear()
    phrases._phrased.cache_clear()
