"""One definition of each count: of a read, a write, an open ... in every question, and as Procmon has it."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hand_capture import MISSING, event, write_events
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_counts import COUNTS, is_unclear, plain_counts
from plain_rows import plain_answer, plain_rows
from procmon_oracle import Rows, csv_rows
from test_cli_verbs import as_on_a_terminal, invoke, plain

import regtrace as rt
from analysis.answers.counts import COUNTED
from analysis.capture import Capture
from analysis.filters import Filters
from analysis.open import open_capture
from tracer.live.row_filter import RowFilter
from tracer.registry.operation_rows import match_cases
from tracer.registry.operations import GROUPS, OPERATIONS, find_cases
from tracer.schema import EVENTS

LOG = "pml/pp-LogfileTests64bitUTC"
CATEGORIES = ("Read", "Write", "Read Metadata", "Write Metadata")
REPARSE, DENIED = 0x104, 0xC0000022


@pytest.fixture(scope="module")
def log(corpus: Path, procmon_capture: Path) -> Iterator[tuple[Capture, Rows]]:
    with open_capture(procmon_capture, threads=2) as capture:
        yield capture, csv_rows(corpus / f"{LOG}.csv.gz")


def of_process(rows: Rows, *categories: str) -> Counter[int]:
    return Counter(int(row["PID"]) for row in rows if row["Category"] in categories)


@pytest.mark.slow
@pytest.mark.parametrize("category", CATEGORIES)
def test_categories_are_procmons_in_every_row_of_a_real_log(log: Any, category: str) -> None:
    capture, rows = log
    word = "category:" + category.lower().replace(" ", "-")
    found = capture.timeline(operation=word)
    assert Counter(map(int, found["pid"])) == of_process(rows, category)
    assert len(found) == Counter(row["Category"] for row in rows)[category] > 0


@pytest.mark.slow
def test_counts_are_procmons_for_each_process_of_a_real_log(log: Any) -> None:
    """Handle tags are no writes; security and facts of keys are; opens are no reads: all else is Procmon's Category."""
    capture, rows = log
    tags = Counter(int(row["PID"]) for row in rows if "KeySetHandleTagsInformation" in row["Detail"])
    wanted = {
        "writes": of_process(rows, "Write", "Write Metadata") - tags,
        "reads": of_process(
            [row for row in rows if row["Operation"] not in ("RegOpenKey", "RegCreateKey")],
            "Read",
            "Read Metadata",
        ),
        "opens": Counter(int(r["PID"]) for r in rows if r["Operation"] in ("RegOpenKey", "RegCreateKey")),
        "created": Counter(int(r["PID"]) for r in rows if "REG_CREATED_NEW_KEY" in r["Detail"]),
        "deletes": Counter(int(r["PID"]) for r in rows if r["Operation"].startswith("RegDelete")),
    }
    assert wanted["writes"].total() == 98
    for answer in (capture.who(noise=True), capture.hot(by="process", noise=True)):
        for name, of_pids in wanted.items():
            assert Counter({int(row["pid"]): int(row[name]) for _, row in answer.iterrows()}) == of_pids, name
        assert not answer["unclear_writes"].any()
    for word in ("write", "writes", "WRITE"):
        assert len(capture.timeline(operation=word)) == 98
    every = capture.where(noise=True)
    for answer in (every.keys(), every.hot(by="key"), every.hot(by="operation"), every.tree(depth=0)):
        assert {name: int(answer[name].sum()) for name in wanted} == {
            name: of_pids.total() for name, of_pids in wanted.items()
        }
    noise = capture.timeline(operation="noise")
    assert set(noise["operation"]) == {"QueryKey", "SetInformationKey", "OpenKey", "CreateKey"}
    assert len(noise[noise["operation"] == "SetInformationKey"]) == tags.total() == 326
    # What Procmon's CSV says of each: REPARSE, and the classes HandleTags and Name.
    assert Counter(noise["noise"]) == {
        "link": sum(row["Result"] == "REPARSE" for row in rows),
        "key name": sum(row["Detail"].startswith("Query: Name") for row in rows),
        "handle tags": sum(row["Detail"].startswith("Query: HandleTags") for row in rows) + tags.total(),
    }


MADE = st.fixed_dictionaries(
    {
        "operation": st.sampled_from(
            [one.name for one in OPERATIONS] + ["CreateKey", "SetInformationKey"] * 6
        ),
        "status": st.sampled_from([None, 0, 0, REPARSE, 0x8000001A, DENIED, MISSING]),
        "disposition": st.sampled_from([None, 0, 1, 2, 3]),
        "information_class": st.sampled_from([None, 0, 2, 5, 7]),
    }
)


def shown(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: row[name] for name in COUNTS} for row in rows]


@pytest.mark.slow
@settings(max_examples=2, deadline=None)
@given(made=st.lists(MADE, min_size=1, max_size=60))
def test_every_question_filter_and_picture_counts_alike(
    made: list[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    from analysis.charts.parts import (
        group_of,
    )  # it loads a library of pictures, which not every process of tests needs

    folder = tmp_path_factory.mktemp("alike")
    events = [event(key="HKLM\\SOFTWARE\\V", **row) for row in made]
    with open_capture(write_events(folder / "c.regtrace", events), threads=1) as capture:
        rows = plain_rows(capture)
        wanted = plain_counts(rows)
        whole = Filters(noise=True)
        for answer in (
            capture.where(whole).lazy.who(),
            capture.where(whole).lazy.who(each=True),
            capture.where(whole).lazy.hot(by="key"),
            capture.where(whole).lazy.hot(by="process"),
            capture.where(whole).lazy.keys(),
            capture.where(whole).lazy.tree(depth=0),
        ):
            assert shown(plain_answer(answer)) == [wanted]
        table = pa.Table.from_pylist(
            [{n: row.get(n) for n in EVENTS.names} for row in rows], schema=EVENTS.arrow()
        )
        drawn = capture.events.select(drawn=group_of(capture.events))["drawn"].value_counts(name="rows")
        of_group = {row["drawn"]: row["rows"] for row in plain_answer(drawn)}
        known = plain_counts(rows, known=False)
        assert of_group.get("create", 0) == known["created"]
        assert of_group.get("read", 0) == known["reads"]
        written = sum(of_group.get(name, 0) for name in ("create", "delete", "write"))
        assert written == known["writes"]
        for name, group in GROUPS.items():
            found = plain_answer(capture.rows(Filters(operation=name), joined=False).order_by("sequence"))
            live = RowFilter(operation=name).apply(table.set_column(
                EVENTS.names.index("operation"), "operation", table["operation"].dictionary_encode()))  # fmt: skip
            assert [row["sequence"] for row in found] == live["sequence"].to_pylist()
            assert len(found) == match_cases(table, group.cases).sum()
            if group.counted:
                assert len(found) == plain_counts(rows, known=False)[name]


@pytest.mark.slow
def test_what_nobody_could_count_is_null_and_said(tmp_path: Path) -> None:
    """A classic create carries no disposition: whether a key was made, nobody knows."""
    key = "HKLM\\SOFTWARE\\V"
    rows = [
        [event("CreateKey", key), event("OpenKey", key)],
        [event("CreateKey", key), event("CreateKey", key, disposition=1)],
        [event("CreateKey", key, status=DENIED), event("CreateKey", key, disposition=2)],
        [event("CreateKey", key, status=REPARSE, disposition=0)],
        [event("SetInformationKey", key, information_class=5), event("SetInformationKey", key)],
    ]
    wanted = [(None, None, 1), (1, 1, 1), (0, 0, 0), (0, 0, 0), (None, None, 1)]
    events = [
        row | {"key": f"{key}{number}", "process": f"{number}.exe"}
        for number, each in enumerate(rows)
        for row in each
    ]
    with open_capture(write_events(tmp_path / "c.regtrace", events), threads=1) as capture:
        for answer, name in (
            (capture.where(noise=True).lazy.hot(), "display_key"),
            (capture.where(noise=True).lazy.who(), "process"),
            (capture.where(noise=True).lazy.keys(), "display_key"),
        ):
            found = sorted(plain_answer(answer), key=lambda row: row[name])
            assert [(row["writes"], row["created"], row["unclear_writes"]) for row in found] == wanted
        said = {
            word: capture.doubts(Filters(operation=word)).sentences for word in ("write", "created", "read")
        }
        assert [any("3 do not say whether" in one for one in said[word]) for word in said] == [
            True,
            True,
            False,
        ]


def test_an_operation_stands_in_one_case_of_a_group_and_every_count_is_a_word() -> None:
    names = {operation.name for operation in OPERATIONS}
    for group in GROUPS.values():
        listed = [name for case in group.cases for name in case.operations]
        assert len(listed) == len(set(listed)) or not group.counted, group.name
        assert names >= set(listed)
        assert find_cases(group.name) == group.cases == find_cases(group.word or group.name)
        for case in group.cases:
            assert {one.column for one in case.conditions} <= set(EVENTS.names)
    assert set(COUNTED) == set(COUNTS) - {"events", "failures", "not_found"}
    assert is_unclear({"operation": "CreateKey", "status": None, "disposition": None})


def test_the_page_tells_every_count_and_word_as_the_table_does() -> None:
    page = (Path(__file__).parents[1] / "docs" / "questions.md").read_text()
    for group in GROUPS.values():
        word = f"`{group.word}`" if group.word else ""
        row = (
            f"| `{group.name}` | {word} | {group.meaning} |"
            if group.counted
            else f"| `{group.name}` | {group.meaning} |"
        )
        assert row in page, group.name


def test_keys_with_events_and_names_of_keys_are_told_apart(tmp_path: Path) -> None:
    path = rt.simulate(tmp_path / "a.etl", rt.SimulationOptions(events=800), truth=False).path
    made = invoke("ingest", str(path), "-o", str(tmp_path / "a.regtrace"))
    with open_capture(tmp_path / "a.regtrace") as capture:
        named, touched = capture.manifest.totals["keys"], len(capture.keys(noise=True))
    assert touched < named
    said = plain(as_on_a_terminal("keys", tmp_path / "a.regtrace", "--limit", "2"))
    assert f"{touched:,} keys have events, of {named:,} by name" in " ".join(said.split())
    assert f"{named:,} keys by name" in made.stdout + made.stderr
