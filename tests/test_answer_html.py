"""Answers as a notebook shows them, errors there, and who decides how frames look."""

import re
from html import unescape
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from hand_capture import write_events
from test_users import ANN, BOB, EVENTS, RUN

import regtrace as rt
from analysis.questions import answer_html as module
from analysis.questions.answer_html import answer_html


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory):
    folder = write_events(tmp_path_factory.mktemp("html") / "two.regtrace", EVENTS)
    with rt.open(folder) as capture:
        yield capture


def table_of(page: str) -> list[list[str]]:
    rows = re.findall(r"<tr>(.*?)</tr>", page, re.DOTALL)
    return [
        [unescape(cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL)] for row in rows
    ]


def below(page: str) -> list[str]:
    return [unescape(line) for line in re.findall(r"<p[^>]*>(.*?)</p>", page)]


def test_keys_are_spelled_as_in_tables_and_whole_where_they_fit(two: rt.Capture):
    frame = two.timeline(rf"HKCU\{RUN}")
    head, *rows = table_of(answer_html(frame))
    keys = [row[head.index("display_key")] for row in rows]
    assert keys == [rf"HKCU ({'ann' if ANN in key else 'Bob'})\{RUN}" for key in frame["display_key"]]
    assert len(keys) == 2
    one = table_of(answer_html(two.timeline(rf"HKCU\{RUN}", user=BOB)))
    assert [row[one[0].index("display_key")] for row in one[1:]] == [rf"HKCU\{RUN}"]


def test_people_see_the_first_columns_and_the_names_of_the_others(two: rt.Capture):
    frame = two.timeline()
    page = answer_html(frame)
    head = [title.partition(" (")[0] for title in table_of(page)[0][1:]]
    rest = below(page)[0].partition("not shown: ")[2].split(", ")
    assert len(head) <= 12
    assert sorted([*head, *rest]) == sorted(frame.columns)
    assert [name for name in frame.columns if name in head] == head
    with pd.option_context("display.max_columns", None):
        assert len(table_of(answer_html(frame))[0]) == 1 + len(frame.columns)


def test_long_answers_show_both_ends_and_how_many_rows_there_are(two: rt.Capture):
    frame = two.timeline()
    with pd.option_context("display.max_rows", 6, "display.min_rows", 5):
        page = answer_html(frame)
    labels = [row[0] for row in table_of(page)[1:]]
    assert labels == ["0", "1", "2", "…", str(len(frame) - 2), str(len(frame) - 1)]
    assert below(page)[0].startswith(f"{len(frame)} rows × {len(frame.columns)} columns")
    cut = two.timeline(limit=3)
    assert "the first 3 rows (limit=3); there may be more" in below(answer_html(cut))


def test_an_empty_answer_says_why(two: rt.Capture):
    frame = two.timeline(status="ACCESS_DENIED")
    assert not len(frame)
    lines = below(answer_html(frame))
    assert lines[0] == f"0 rows × {len(frame.columns)} columns"
    assert frame.attrs["empty"] in lines


def test_nothing_of_a_capture_becomes_a_tag_or_an_escape():
    frame = pd.DataFrame(
        {"value_name": ["<script>alert(1)</script>", "a\x1b[2Jb\u202e"], "data": [b"<b>", None]}
    )
    frame.attrs["doubts"] = ["<i>"]
    page = answer_html(frame)
    assert "<script" not in page
    assert "\x1b" not in page
    assert "<i>" not in page
    assert table_of(page)[1] == ["0", "<script>alert(1)</script>", "3c 62 3e"]
    assert table_of(page)[2] == ["1", "a\\u{1B}[2Jb\\u{202E}", ""]


def test_only_answers_are_shown_our_way_and_another_form_stays(
    monkeypatch: pytest.MonkeyPatch, two: rt.Capture
):
    class Formatter(SimpleNamespace):
        def for_type(self, kind: type, function: object) -> None:
            self.type_printers[kind] = function

    formatter = Formatter(type_printers={})
    shell = SimpleNamespace(
        kernel=object(), display_formatter=SimpleNamespace(formatters={"text/html": formatter})
    )
    monkeypatch.setitem(module.sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    frame = two.who()
    show = formatter.type_printers[pd.DataFrame]
    assert show(frame) == answer_html(frame)
    assert show(frame.head(2)) == answer_html(frame.head(2))
    other = pd.DataFrame({"a": [1]})
    assert show(other) == other._repr_html_()
    formatter.type_printers[pd.DataFrame] = "theirs"
    two.who()
    assert formatter.type_printers[pd.DataFrame] == "theirs"


def test_an_answer_can_still_be_stored_with_what_is_said_of_it(two: rt.Capture, tmp_path: Path):
    """What an answer carries for the notebook is text, which Parquet and pickle take along."""
    frame = two.timeline(rf"HKCU\{RUN}")
    frame.to_parquet(tmp_path / "a.parquet")
    frame.to_pickle(tmp_path / "a.pickle")
    assert pd.read_pickle(tmp_path / "a.pickle").attrs == frame.attrs
    assert pd.read_parquet(tmp_path / "a.parquet").attrs["user_roots"] == frame.attrs["user_roots"]


def test_a_notebook_shows_one_sentence_of_our_errors(two: rt.Capture):
    cell = compile("first = 1\ntwo.timeline(operation='SetValeu')\n", "/tmp/ipykernel_1/1.py", "exec")
    with pytest.raises(rt.RegtraceError) as caught:
        exec(cell, {"__name__": "__main__", "two": two})
    assert caught.value._render_traceback_() == [
        "UsageError in line 2 of the cell: 'SetValeu' is not an operation; did you mean SetValueKey or RegSetValue?"
    ]
