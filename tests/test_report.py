"""Reports: what they say is what the questions answer; what is left out is counted; nothing of a capture acts."""

import json
import re
from dataclasses import replace

import pytest
from hand_capture import event, write_events
from small_capture import HOSTILE, write_capture
from typer.testing import CliRunner

from analysis.open import open_capture
from analysis.report.moments import known_moments
from analysis.report.page import page_html
from analysis.report.report import make_report
from analysis.report.source import Asking
from cli.app import app
from tracer.errors import UsageError

KEY = r"HKLM\SOFTWARE\Vendor"
OTHER = r"HKLM\SOFTWARE\Other"


def text(word):
    return {"data": f"{word}\0".encode("utf-16-le"), "data_type": 1, "data_size": 2 * len(word) + 2}


EVENTS = [
    event("QueryValueKey", KEY, "mode", **text("old"), at_us=0),
    event("OpenKey", OTHER, status=0xC0000034, at_us=10),
    event("SetValueKey", KEY, "mode", **text("new"), process="setup.exe", at_us=20),
    event("SetValueKey", OTHER, "x", **text("1"), process="setup.exe", at_us=30),
    event("DeleteValueKey", OTHER, "x", process="other.exe", at_us=40),
    event("SetValueKey", KEY, "mode", status=0xC0000022, process="late.exe", at_us=45),
    event("QueryValueKey", KEY, "mode", **text("new"), at_us=50),
]


@pytest.fixture(scope="module")
def capture(tmp_path_factory):
    with open_capture(write_events(tmp_path_factory.mktemp("report") / "hand.regtrace", EVENTS)) as opened:
        yield opened


@pytest.fixture(scope="module")
def report(capture):
    return make_report(capture, pictures=False)


def grid(report, section, number=0):
    [found] = [one for one in report.sections if one.name == section]
    return found.grids[number]


def column(grid, title):
    at = [name.partition(",")[0] for name in grid.titles].index(title)
    return [row[at] for row in grid.rows]


def test_net_changes_are_those_of_the_question(capture, report):
    answer = capture.changes()
    changes = grid(report, "changes")
    assert column(changes, "key") == answer["display_key"].tolist() == [KEY]
    assert column(changes, "before") == ["old (REG_SZ)"]
    assert column(changes, "after") == ["new (REG_SZ)"]
    assert column(changes, "process") == [process_of(row) for row in answer.to_dict("records")]


def process_of(row):
    return f"{row['process']} ({row['pid']})"


def test_the_undo_file_is_that_of_the_capture(capture, report):
    [changes] = [one for one in report.sections if one.name == "changes"]
    assert changes.file == ("undo.reg", capture.reg_files().undo)


def test_failures_and_counts_are_those_of_the_questions(capture, report):
    assert sum(column(grid(report, "failing"), "failures")) == capture.errors()["failures"].sum() == 2
    by_process = dict(
        zip(
            column(grid(report, "busiest"), "process"), column(grid(report, "busiest"), "events"), strict=True
        )
    )
    assert by_process == {process_of(row): row["events"] for row in capture.hot(by="process").to_dict("records")}  # fmt: skip


def test_a_card_tells_each_write_and_failed_attempt(report):
    card = {one.key: one for one in report.cards}[KEY]
    assert card.sentence.startswith("1 change by setup.exe")
    assert "1 attempt failed" in card.sentence
    assert column(card.history, "after") == ["new (REG_SZ)", "failed: ACCESS_DENIED"]


def test_each_moment_is_the_state_at_its_time(capture):
    """At every stop the lines are the rows of `state`, and there is a stop for each change that was seen."""
    moments = known_moments(Asking(capture), [KEY, OTHER])
    assert moments.changes == 3
    assert len(moments.times) == 5  # the first event, three changes, the last event
    for time, places in zip(moments.times, moments.states, strict=True):
        state = capture.state([KEY, OTHER], at=f"{time.replace(' ', 'T')}Z").to_dict("records")
        lines = [moments.lines[place] for place in places]
        assert [line[0] for line in lines] == [row["display_key"] for row in state]
        assert [line[3] for line in lines] == [row["known"] for row in state]
    held = [
        {(line[0], line[1]): line[2] for line in (moments.lines[place] for place in places)} for places in moments.states
    ]  # fmt: skip
    assert [state.get((KEY, "mode")) for state in held] == [
        "old (REG_SZ)", *["new (REG_SZ)"] * 4
    ]  # fmt: skip
    assert [state.get((OTHER, "x")) for state in held] == [None, None, "1 (REG_SZ)", "", ""]


def test_of_many_changes_evenly_many_moments_are_taken(capture):
    moments = known_moments(Asking(capture), [KEY, OTHER], most=3)
    assert len(moments.times) == 3
    assert moments.changes == 3


def test_a_narrowed_capture_makes_a_narrowed_report(capture):
    report = capture.where(key=OTHER).report(pictures=False)
    assert set(column(grid(report, "busiest", 1), "key")) == {OTHER}
    [method] = [one for one in report.sections if one.name == "method"]
    assert any(OTHER in sentence for sentence in method.sentences)


def test_a_page_that_is_too_long_is_cut_and_says_so(report):
    rows = [(f"HKLM\\{number}", number) for number in range(5000)]
    long = replace(
        grid(report, "busiest", 1), titles=("key", "events"), kinds=("code", "number"), rows=rows, total=5000
    )
    sections = [replace(one, grids=(long,)) if one.name == "busiest" else one for one in report.sections]
    page = page_html(replace(report, sections=sections), most_bytes=60_000)
    content = content_of(page)
    [busiest] = [one for one in content["sections"] if one["name"] == "busiest"]
    [cut] = busiest["grids"]
    assert 0 < cut["count"] < 5000
    assert cut["cut"].startswith(f"The first {cut['count']:,} of 5,000 rows are here: regtrace hot")
    assert len(json.dumps(content)) < 70_000


def content_of(page):
    [content] = re.findall(r'<script id="content" type="application/json">(.*?)</script>', page, re.DOTALL)
    return json.loads(content)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    with open_capture(write_capture(tmp_path_factory.mktemp("hostile") / "<b>x.regtrace")) as opened:
        yield make_report(opened, pictures=False, most_stops=4)


@pytest.mark.slow
def test_hostile_names_are_neither_markup_nor_control_characters(hostile):
    page = hostile.html()
    content = json.dumps(content_of(page), ensure_ascii=False)
    assert "alert(1)" in content  # the name is there, as text
    assert page.count("<script") == 3  # content, the place of the library, the program
    assert "<b>x.regtrace" not in page
    assert "&lt;b&gt;x.regtrace" in page
    assert all(letter.isprintable() or letter == "\n" for letter in page)
    assert "\u202e" not in page


@pytest.mark.slow
def test_hostile_names_are_inert_in_markdown(hostile):
    document = hostile.markdown()
    outside = re.sub(r"(`+).*?\1", "", document)
    assert not re.search(r"(?<!\\)<", outside)
    assert "\x1b" not in document
    assert "\u202e" not in document
    table_rows = [line for line in document.splitlines() if line.startswith("| ")]
    assert table_rows
    assert any(HOSTILE[3] in line for line in table_rows)


def test_a_report_of_another_format_is_refused(report, tmp_path):
    with pytest.raises(UsageError, match=r"unknown format of a report '\.pdf'; use one of \.html, \.md"):
        report.save(tmp_path / "report.pdf")


def test_an_empty_capture_has_a_report(tmp_path):
    with open_capture(write_events(tmp_path / "empty.regtrace", [])) as capture:
        report = make_report(capture)
        assert report.moments is None
        assert "Nothing that was seen ended otherwise" in report.markdown()
        assert report.html()


@pytest.mark.slow
def test_many_captures_make_one_report_with_a_host_in_each_row(tmp_path):
    for host in "ab":
        write_events(tmp_path / f"{host}.regtrace", EVENTS)
    with open_capture({host: tmp_path / f"{host}.regtrace" for host in "ab"}) as captures:
        report = make_report(captures, pictures=False, most_stops=2, most_keys=1)
        answer = captures.changes()
    changes = grid(report, "changes")
    assert column(changes, "host") == answer["host"].tolist() == ["a", "b"]
    assert [one.file for one in report.sections] == [None] * len(
        report.sections
    )  # a .reg file is of one registry


def invoke(*words):
    return CliRunner().invoke(app, ["report", *map(str, words)], prog_name="regtrace")


@pytest.mark.slow
def test_the_verb_writes_a_page_or_markdown_and_never_over_a_file(capture, tmp_path):
    target = tmp_path / "vendor.md"
    result = invoke(capture.path, "--under", KEY, "--cards", 1, "-o", target)
    assert (result.exit_code, result.stdout) == (0, "")
    assert f"wrote {target}" in result.stderr
    assert "# Registry activity in hand.regtrace" in target.read_text()
    again = invoke(capture.path, "-o", target)
    assert again.exit_code != 0
    assert "exists" in again.stderr
    assert invoke(capture.path, "-o", target, "--force", "--cards", 0, "--no-pictures").exit_code == 0
    wrong = invoke(capture.path, "-o", tmp_path / "vendor.docx")
    assert wrong.exit_code == 2
    assert "unknown format of a report 'vendor.docx'; use .html or .md" in wrong.stderr
