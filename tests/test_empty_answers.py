"""Empty answers and mistyped words: what is said of them, and whether it is true."""

from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from procmon_oracle import csv_rows
from procmon_parser.consts import get_error_message
from small_capture import write_capture
from typer.testing import CliRunner

import regtrace as rt
from analysis.capture import Capture
from analysis.questions.empty_answers import filter_words, why_empty, without
from analysis.times import dated, parse_time
from cli.app import app
from tracer.pml.operations import OPERATIONS as PROCMON
from tracer.registry.ntstatus import STATUSES, find_status
from tracer.registry.operations import find_operations
from tracer.registry.suggestions import advice, closest

RUN = r"HKLM\SOFTWARE\Vendor\Run"
LOG = "pml/pp-LogfileTests64bitUTC.pml"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_capture(tmp_path_factory.mktemp("empty") / "small.regtrace")


@pytest.fixture(scope="module")
def capture(folder: Path):
    with rt.open(folder) as opened:
        yield opened


def run(*words: object):
    return CliRunner().invoke(app, [str(word) for word in words])


filters = st.builds(
    rt.Filters,
    key=st.sampled_from([None, RUN, r"HKLM\**", r"HKLM\SYSTEM", "HKLM"]),
    subtree=st.booleans(),
    value=st.sampled_from([None, "*", "no such value", ""]),
    process=st.sampled_from([None, "*", "*.exe"]),
    operation=st.sampled_from([None, "set", "read", "deletekey"]),
    status=st.sampled_from([None, "success", "error", "ACCESS_DENIED"]),
    start=st.sampled_from([None, "+30s", "+1000000s"]),
    end=st.sampled_from([None, "+40s", "-1000000s"]),
    where=st.sampled_from([None, "data_size > 4", "false"]),
    process_tree=st.sampled_from([None, "*", "*.exe", "setup.exe"]),
    noise=st.sampled_from([None, True, False]),
)


def test_every_filter_has_words() -> None:
    every = rt.Filters(
        key="HKLM", subtree=True, value="v", process="a.exe", pid=4, process_tree="b.exe", operation="set",
        status="error", start="+1s", end="+2s", where="true", user="alice", noise=False,
    )  # fmt: skip
    assert set(every.stated()) == {field.name for field in fields(rt.Filters)}
    assert {name for _, names in filter_words(every) for name in names} == set(every.stated())


def test_a_process_tree_is_one_of_what_leaves_nothing(capture: Capture) -> None:
    rows = capture.timeline()
    image = rows["process"].dropna().iloc[0]
    own = set(capture.timeline(process_tree=image)["operation"])
    other = next(name for name in rows["operation"] if name not in own)
    said = why_empty(capture.context, rt.Filters(process_tree=image, operation=other))
    # The operation alone has events: to name it alone would be false.
    assert said is not None
    assert f"without the process {image} and what it started" in said


@pytest.mark.slow
@settings(max_examples=25)
@given(filters)
def test_what_is_said_to_leave_nothing_is_what_leaves_nothing(capture: Capture, asked: rt.Filters) -> None:
    def has_rows(some: rt.Filters) -> bool:
        return capture.timeline_reader(some, limit=1).read_all().num_rows > 0

    if has_rows(asked):
        return
    said = why_empty(capture.context, asked) or ""
    parts = dict(filter_words(asked))
    assert said or not parts or rt.Filters(key=asked.key) != rt.Filters()
    named = {words for words in parts if f"without {words}" in said}
    if "some would" in said:
        assert named == {words for words in parts if has_rows(without(asked, *parts[words]))}
        assert named
    elif "events of the keys below it do" in said:
        assert has_rows(replace(asked, subtree=True))
    elif "no event at all" in said or "not enough" in said:
        assert not any(has_rows(without(asked, *names)) for names in parts.values())


@pytest.mark.slow
def test_both_faces_say_why_an_answer_is_empty(folder: Path, capture: Capture) -> None:
    frame = capture.timeline(RUN, value="no such value", status="success")
    assert frame.attrs["empty"] == "no event fits all filters; without the value no such value some would"
    shown = run("timeline", folder, "--key", RUN, "--value", "no such value", "--status", "success")
    assert frame.attrs["empty"] in shown.stderr
    assert "empty" not in capture.timeline(RUN).attrs
    history = run("history", folder, "**", "--operation", "open")
    assert "none of them makes a row of this answer" in history.stderr


@pytest.mark.slow
def test_a_process_is_found_without_exe_and_a_typo_gets_a_suggestion(capture: Capture, folder: Path) -> None:
    image = "setup.exe"
    assert image in capture.tables["processes"].to_pyarrow()["image"].to_pylist()
    assert capture.timeline(process="SETUP").equals(capture.timeline(process=image))
    assert capture.timeline(process='"setup"').empty
    with pytest.warns(rt.RegtraceWarning, match=r"is called setupp; did you mean setup\.exe\?"):
        capture.timeline(process="setupp")
    assert "is called setupp; did you mean setup.exe?" in run("timeline", folder, "-p", "setupp").stderr


@pytest.mark.slow
def test_a_pattern_that_fits_no_key_is_told_and_the_nearest_named(capture: Capture, folder: Path) -> None:
    said = r"no key in small.regtrace fits HKLM\SOFTWARE\Vendr\*; the nearest is HKLM\SOFTWARE\Vendor"
    with pytest.warns(rt.RegtraceWarning) as caught:
        capture.timeline(r"HKLM\SOFTWARE\Vendr\*")
    assert said in str(caught[0].message)
    shown = run("timeline", folder, "-k", r"HKLM\SOFTWARE\Vendr\*")
    assert shown.exit_code == 0
    assert said in shown.stderr


def test_every_operation_of_procmon_is_understood_by_its_name() -> None:
    assert len(PROCMON) == 18
    for theirs, ours in PROCMON:
        assert find_operations(theirs) == find_operations(theirs.upper()) == (ours,)


def test_every_status_is_understood_as_procmon_spells_it() -> None:
    for code, name in STATUSES.items():
        spelled = get_error_message(code)
        if spelled and not spelled.startswith("0x"):
            assert find_status(spelled) == code, name
    assert find_status("NAME NOT FOUND") == 0xC0000034


@pytest.mark.slow
def test_a_row_of_procmon_is_found_by_procmons_own_words(corpus: Path, procmon_capture: Path) -> None:
    theirs = csv_rows(corpus / LOG.replace(".pml", ".csv.gz"))
    with rt.open(procmon_capture) as log:
        for operation, result in (
            ("RegQueryValue", "NAME NOT FOUND"),
            ("RegOpenKey", "ACCESS DENIED"),
            ("RegSetValue", "SUCCESS"),
        ):
            wanted = [row for row in theirs if (row["Operation"], row["Result"]) == (operation, result)]
            assert len(log.timeline(operation=operation, status=result)) == len(wanted)
        for row in theirs[::9000]:  # a time of day, as its column shows it, is that of the row
            found = log.timeline(
                start=row["Time of Day"], end=row["Time of Day"], process=row["PID"], columns=["operation"]
            )
            assert len(found) >= 1


FIRST = datetime(2024, 5, 1, 22, 0, tzinfo=UTC)


@given(
    st.timedeltas(timedelta(0), timedelta(hours=20)),
    st.sampled_from(["UTC", "Europe/Berlin", "Asia/Kolkata"]),
)
def test_a_time_of_day_is_the_one_moment_of_the_capture_that_has_it(past: timedelta, name: str) -> None:
    zone = ZoneInfo(name)
    moment = FIRST + past
    local = moment.astimezone(zone)
    ns = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1000
    first_ns = int(FIRST.timestamp()) * 10**9
    last_ns = first_ns + 20 * 3600 * 10**9
    for text in (f"{local:%H:%M:%S.%f}", f"{local:%I:%M:%S.%f %p}"):
        assert parse_time(text, first_ns=first_ns, last_ns=last_ns, zone=zone) == ns
        whole = dated(text, first_ns=first_ns, last_ns=last_ns, zone=zone)
        assert parse_time(whole, first_ns=None, last_ns=None) == ns


@pytest.mark.parametrize(
    ("text", "last", "said"),
    [("10:00:00", 40, "several days"), ("23:59", 400 * 24, "several days"), ("25:00", 1, "not a time"),
     ("13:00 PM", 1, "not a time"), ("10:61", 1, "not a time")],
)  # fmt: skip
def test_a_time_of_day_that_is_none_or_of_several_days_is_refused(text: str, last: int, said: str) -> None:
    first_ns = int(FIRST.timestamp()) * 10**9
    with pytest.raises(rt.UsageError, match=said):
        parse_time(text, first_ns=first_ns, last_ns=first_ns + last * 3600 * 10**9)
    with pytest.raises(rt.UsageError, match="holds no events"):
        parse_time("10:00:00", first_ns=None, last_ns=None)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["hot", "CAPTURE", "--operation", "sett"], "did you mean set?"),
        (["hot", "CAPTURE", "--operation", "RegSetValu"], "did you mean RegSetValue"),
        (["hot", "CAPTURE", "--operation", "zzzz"], "see `regtrace list operations`"),
        (["hot", "CAPTURE", "--status", "ACESS DENIED"], "did you mean ACCESS_DENIED?"),
        (["hot", "CAPTURE", "--sort", "evnts"], "did you mean events?"),
        (["hot", "CAPTURE", "--by", "proces"], "did you mean process?"),
        (["plot", "actvity", "CAPTURE", "-o", "x.html"], "did you mean activity?"),
        (["plot", "timline", "CAPTURE", "-o", "x.html"], "did you mean timeline?"),
        (["timelin", "CAPTURE"], "Did you mean 'timeline'?"),
        (["diff", "CAPTURE", "--a-to", "+1s", "--only", "valuse"], "did you mean values?"),
        (["diff", "CAPTURE", "--a-to", "+1s", "--fold", "sidd"], "did you mean sid?"),
        (["sql", "CAPTURE", "select proces from events"], "there is no column proces; did you mean process"),
        (
            ["sql", "CAPTURE", "select e.proces from events e"],
            "there is no column proces; did you mean process",
        ),
        (
            ["timeline", "CAPTURE", "--where", "proces = 'a'"],
            "there is no column proces; did you mean process",
        ),
        (["timeline", "CAPTURE", "--tz", "Europe/Berln"], "did you mean Europe/Berlin?"),
    ],
)
def test_a_mistyped_word_gets_a_suggestion_not_a_list(folder: Path, words: list[str], said: str) -> None:
    shown = run(*(folder if word == "CAPTURE" else word for word in words))
    assert shown.exit_code == 2
    assert said in " ".join(shown.stderr.split())
    assert len(shown.stderr) < 400


@pytest.mark.parametrize(("question", "word"), [("hot", "evnts"), ("keys", "evnts"), ("tree", "evnts")])
def test_python_suggests_as_the_command_line_does(capture: Capture, question: str, word: str) -> None:
    with pytest.raises(rt.UsageError, match=r"did you mean events\?"):
        getattr(capture, question)(sort=word)
    with pytest.raises(rt.UsageError, match=r"unknown column 'proces'; did you mean process"):
        capture.timeline(columns=["proces"])


@given(st.lists(st.text("abcdef_", min_size=1), min_size=1, unique=True))
def test_a_word_of_the_list_suggests_itself_and_a_short_list_is_shown(words: list[str]) -> None:
    assert closest(words[0].upper(), words, 1) == [words[0]]
    assert advice("0123456789", words[:8]) == f"use one of: {', '.join(words[:8])}"
