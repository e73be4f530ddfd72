"""A key or a process that a capture does not know: refused or warned of on the command line, warned of in Python."""

import inspect
import warnings

import pytest
from small_capture import write_capture
from typer.testing import CliRunner

import regtrace as rt
from cli.app import app

RUN = r"HKLM\SOFTWARE\Vendor\Run"
PATHS = ("timeline", "state", "changes")  # each goes its own way to its answer
QUESTIONS = (*PATHS, "history", "hot", "handles", "redundant", "errors", "who", "keys", "tree", "diff", "sql")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_capture(tmp_path_factory.mktemp("unknown") / "small.regtrace", complete=True)


@pytest.fixture(scope="module")
def capture(folder):
    with rt.open(folder) as opened:
        yield opened


@pytest.mark.slow
@pytest.mark.parametrize("question", PATHS)
def test_a_key_or_process_that_is_not_known_is_warned_of_where_it_was_asked(capture, question):
    ask = getattr(capture, question)
    with pytest.warns(
        rt.RegtraceWarning, match=r"touches a key HKLM.SOFTWARE.Vendro; did you mean HKLM"
    ) as caught:
        ask(key=r"HKLM\SOFTWARE\Vendro")
    assert caught[0].filename == __file__
    image = capture.tables["processes"].to_pyarrow()["image"].to_pylist()[0]
    with pytest.warns(
        rt.RegtraceWarning, match=f"no process in small.regtrace is called {image}x; did you mean {image}"
    ):
        ask(key=RUN, process=f"{image}x")
    with pytest.warns(rt.RegtraceWarning, match="has the id 3999999"):
        ask(key=RUN, pid=3999999)


@pytest.mark.slow
@pytest.mark.parametrize("question", PATHS)
def test_what_is_known_is_not_warned_of(capture, question):
    ask = getattr(capture, question)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ask(key=RUN)
        ask(key=RUN, value="no such value")
        ask(key=RUN, start="+1000000s")


def test_one_unknown_key_of_several_is_warned_of_though_there_are_rows(capture):
    with pytest.warns(rt.RegtraceWarning, match="Vendro"):
        assert len(capture.timeline([RUN, r"HKLM\SOFTWARE\Vendro"]))


@pytest.mark.parametrize("question", QUESTIONS)
def test_every_question_takes_a_limit_and_gives_the_first_rows(capture, question):
    ask = getattr(capture, question)
    assert "limit" in inspect.signature(ask).parameters
    words = {
        "diff": {"a_end": "+2ms", "b_start": "+2ms"},
        "history": {"key": r"HKLM\**"},
        "sql": {"query": "SELECT * FROM keys ORDER BY key_id"},
    }.get(question, {})
    whole, two = ask(**words), ask(**words, limit=2)
    assert (
        whole.iloc[:2]
        .drop(columns=["key_id"], errors="ignore")
        .equals(two.drop(columns=["key_id"], errors="ignore"))
    )
    assert question in ("redundant", "handles", "diff") or len(whole) > 2


@pytest.mark.slow
def test_the_command_line_warns_of_a_process_and_refuses_a_key(folder):
    def run(*words):
        return CliRunner().invoke(app, ["who", str(folder), *words])

    assert (
        "warning: no process in small.regtrace is called nobody.exe" in run("--process", "nobody.exe").stderr
    )
    assert "no process" not in run("--process", "*").stderr
    refused = run(r"HKLM\SOFTWARE\Vendro")
    assert refused.exit_code == 2
    assert "touches a key" in refused.stderr
