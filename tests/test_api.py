"""One idea for filters, and answers in the form that is wanted."""

import inspect

import pandas as pd
import pyarrow as pa
import pytest
from small_capture import write_capture

import regtrace as rt
from analysis.capture import Capture, Questions
from analysis.open import open_capture

KEY = r"HKLM\SOFTWARE"
METHODS = [name for name in vars(Questions) if not name.startswith("_")]


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory):
    with open_capture(write_capture(tmp_path_factory.mktemp("api") / "small.regtrace")) as opened:
        yield opened


def test_a_narrowed_capture_answers_as_the_filters_do(capture: Capture) -> None:
    narrowed = capture.where(process="setup.exe")
    whole = capture.who()
    assert 0 < len(narrowed.who()) < len(whole)
    pd.testing.assert_frame_equal(narrowed.who(), capture.who(process="setup.exe"))
    pd.testing.assert_frame_equal(
        narrowed.where(operation="write").timeline(),
        capture.timeline(process="setup.exe", operation="write"),
    )
    pd.testing.assert_frame_equal(
        capture.where(rt.Filters(process="setup.exe")).keys(under=KEY),
        capture.keys(under=KEY, process="setup.exe"),
    )
    pd.testing.assert_frame_equal(capture.who(), whole)  # the capture itself is as it was


def test_a_narrowed_capture_cannot_be_asked_for_something_else(capture: Capture) -> None:
    with pytest.raises(rt.UsageError, match="conflicting process"):
        capture.where(process="setup.exe").who(process="explorer.exe")
    assert len(capture.where(process="setup.exe").who(process="setup.exe"))


@pytest.mark.parametrize("name", METHODS)
def test_key_comes_first_and_every_filter_is_shown(name: str) -> None:
    parameters = inspect.signature(getattr(Capture, name)).parameters
    first = next(one for one in parameters if one != "self")
    before = {
        "diff": "other",
        "first_divergence": "other",
        "rules": "paths",
        "bisect": "fails",
    }  # what such a question cannot do without
    compares = name in before
    assert first == before.get(name, "key")
    if name == "why":  # about one write of one value: nothing is left to filter
        return
    filters = ("key", "value", "subtree", "process", "pid", "operation", "status", "where", "user")
    assert {*filters, "start", "end", "limit"} <= set(parameters)
    positional = [one for one in parameters.values() if one.kind is one.POSITIONAL_OR_KEYWORD]
    assert len(positional) <= (4 if compares else 3)  # self, key, value


def test_an_answer_has_every_form(capture: Capture) -> None:
    query = capture.queries.who(KEY, subtree=True)
    arrow = query.to_arrow()
    assert arrow.num_rows
    assert pa.table(query).equals(arrow)  # as polars and others read it
    pd.testing.assert_frame_equal(query.to_pandas(), capture.who(KEY, subtree=True))
    pd.testing.assert_frame_equal(
        rt.collect(capture.lazy.who(KEY, subtree=True)), capture.who(KEY, subtree=True)
    )


@pytest.mark.parametrize(
    "name",
    [
        "coverage",
        "errors",
        "handles",
        "history",
        "hot",
        "keys",
        "redundant",
        "state",
        "timeline",
        "tree",
        "who",
    ],
)
def test_a_streamed_answer_has_the_rows_and_types_of_the_whole_one(capture: Capture, name: str) -> None:
    query = getattr(capture.queries, name)()
    arrow = query.to_arrow()
    assert pa.RecordBatchReader.from_stream(query.reader()).read_all().equals(arrow)
    assert name in ("handles", "redundant") or arrow.num_rows


def test_what_has_no_lazy_form_says_so(capture: Capture) -> None:
    with pytest.raises(rt.UsageError, match="no lazy form"):
        capture.lazy.diff(a_end="+1s", b_start="+1s")


def test_every_error_a_user_can_meet_is_in_the_face() -> None:
    from tracer import errors

    kinds = [name for name in errors.__all__ if isinstance(getattr(errors, name), type)]
    assert len(kinds) == len(errors.__all__) - 1  # one is a function
    for name in kinds:
        assert getattr(rt, name) is getattr(errors, name)
