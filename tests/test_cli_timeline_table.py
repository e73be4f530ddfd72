"""What a person sees of an event: who, what, with which data, and how sure."""

import doctest
import importlib
import json
import pkgutil

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cli
from cli.output.returned import key_facts_text
from cli.tables.timeline import timeline_lines
from tracer.schema import EVENTS, FLAGS, NAME_SOURCES

NAME = "Größe".encode("utf-16-le")


def events(*rows: dict[str, object]) -> pa.Table:
    schema = pa.schema(
        [
            *EVENTS.arrow(),
            *(pa.field(name, pa.string()) for name in ("key", "display_key", "process")),
            pa.field("pid", pa.uint32()),
        ]
    )
    common = {"time": 1_714_557_600_000_001, "operation": "OpenKey", "display_key": r"HKLM\A", "flags": 0}
    return pa.Table.from_pylist([common | row for row in rows], schema=schema)


def cells(*rows: dict[str, object]) -> list[dict[str, str]]:
    """Return the cells of a table in a pipe, by their headings."""
    heading, *lines = timeline_lines(events(*rows))
    starts = [heading.index(title) for title in heading.split()]
    return [
        {
            title: line[start:end].strip()
            for title, start, end in zip(heading.split(), starts, [*starts[1:], None], strict=True)
        }
        for line in lines
    ]


def test_a_process_without_a_name_is_not_given_one():
    rows = [{"process": "a.exe", "pid": 4}, {"process": None, "pid": 4}, {"process": None, "pid": None}]
    assert [cell["process"] for cell in cells(*rows)] == ["a.exe (4)", "? (4)", "?"]


def test_the_default_value_is_not_no_value():
    shown = cells({"value_name": ""}, {"value_name": None}, {"value_name": "x"})
    assert [cell["value"] for cell in shown] == ["(default)", "", "x"]


def test_a_write_shows_what_was_there_before():
    row = {"operation": "SetValueKey", "data_type": 4, "data": b"\1\0\0\0", "data_size": 4}
    before = {"previous_type": 1, "previous_data": b"o\0n\0\0\0", "previous_size": 6}
    empty = {"previous_type": 1, "previous_data": b"", "previous_size": 0}
    shown = cells(row, row | before, row | empty)
    assert [cell["data"] for cell in shown] == ["1 (0x1)", "1 (0x1), was on", "1 (0x1), was [empty]"]


def test_what_was_not_captured_is_said():
    shown = cells(
        {"operation": "SetValueKey", "data_type": 3, "data": None, "data_size": 9}, {"data_size": 0}
    )
    assert [cell["data"] for cell in shown] == ["[9 bytes, not captured]", ""]


@pytest.mark.parametrize(
    "name", [name for name in NAME_SOURCES if name not in ("event", "open", "seed", "rundown")]
)
def test_a_name_that_is_not_sure_is_marked_and_explained(name):
    assert cells({"name_source": name})[0]["note"] == f"name: {name}"
    *_, row, legend = timeline_lines(events({"name_source": name}), 100)
    letter, _, meaning = legend.partition(": ")
    assert row.endswith(f" {letter}")
    assert meaning


def test_every_flag_is_shown_and_explained():
    for name, bit in FLAGS.items():
        assert cells({"flags": bit})[0]["note"] == name
        assert list(timeline_lines(events({"flags": bit}), 100))[-1].startswith(
            list(timeline_lines(events({"flags": bit}), 100))[-2][-1] + ": "
        )


def test_on_a_terminal_a_key_stands_above_its_rows_where_it_changes():
    rows = [{"display_key": key} for key in (r"HKLM\A\B", r"HKLM\A\B", r"HKLM\A", None, r"HKLM\A\B")]
    heading, *lines = timeline_lines(events(*rows), 120)
    assert heading.split()[0] == "2024-05-01"
    assert [line for line in lines if not line.startswith("  ")] == [
        r"HKLM\A\B",
        r"HKLM\A",
        "(no key)",
        r"HKLM\A\B",
    ]
    assert [line.startswith("  ") for line in lines] == [
        False,
        True,
        True,
        False,
        True,
        False,
        True,
        False,
        True,
    ]


def test_on_a_terminal_the_only_key_stands_above_the_table():
    title, heading, *lines = timeline_lines(events({}, {}), 120)
    assert (title, heading.split()[0], len(lines)) == (r"HKLM\A", "2024-05-01", 2)


@pytest.mark.parametrize("width", [80, 120, 160])
def test_a_status_is_shown_where_an_operation_did_not_succeed(width):
    rows = [
        {"status": 0},
        {"status": 0xC0000034},
        {"status": None},
        {"operation": "CloseKey", "status": None},
    ]
    _, _, *lines = timeline_lines(events(*rows), width)
    assert [line.split()[3] if len(line.split()) > 3 else "" for line in lines] == [
        "",
        "NAME_NOT_FOUND",
        "?",
        "",
    ]


@settings(deadline=None)
@given(
    st.sampled_from([80, 120, 160]),
    st.lists(
        st.tuples(
            st.lists(st.text("abcXYZ-{}0189", min_size=1, max_size=30), min_size=1, max_size=9),
            st.text("abc. ", max_size=60),
            st.text("value\\", max_size=200),
            st.binary(max_size=300),
        ),
        min_size=1,
        max_size=5,
    ),
)
def test_no_line_is_wider_than_the_terminal_and_no_key_loses_its_last_component(width, listed):
    rows = [
        {"display_key": "\\".join(["HKLM", *parts]), "process": image, "pid": 4_294_967_295,
         "value_name": value, "data_type": 3, "data": data, "data_size": len(data), "status": 0xC0000034}
        for parts, image, value, data in listed
    ]  # fmt: skip
    lines = list(timeline_lines(events(*rows), width))
    assert all(len(line) <= width for line in lines)
    keys = [line for line in lines if line.lstrip('"').startswith(("HKLM", "…"))]
    assert {line.rstrip('"').rpartition("\\")[2] for line in keys} == {parts[-1] for parts, *_ in listed}


def test_rows_of_two_days_keep_their_dates_on_a_terminal():
    day = 86_400_000_000
    lines = list(timeline_lines(events({}, {"time": 1_714_557_600_000_001 + day}), 120))
    assert [line[:10] for line in lines[2:]] == ["2024-05-01", "2024-05-02"]


@pytest.mark.parametrize(
    ("operation", "detail", "text"),
    [
        ("EnumerateKey", {"LastWriteTime": 1, "Name": "Größe"}, "Größe"),
        ("QueryKey", {"Name": "(default)"}, '"(default)"'),
        ("QueryKey", {"Length": 96, "SubKeys": 3, "Values": 5}, "3 subkeys, 5 values"),
        ("SetInformationKey", {"Length": 4, "HandleTags": 769}, "HandleTags 769"),
        ("QueryKey", {"KeyInformation": "01000000"}, "KeyInformation 01000000"),
        ("QueryKey", {"Length": 96, "ResultLength": 44}, None),
        ("OpenKey", {"Name": "Größe"}, None),
        ("QueryKey", ["Name"], None),
        ("QueryKey", None, None),
    ],
)
def test_what_is_said_of_a_key_is_shown_in_few_words(operation, detail, text):
    assert key_facts_text(operation, None if detail is None else json.dumps(detail)) == text


def test_a_detail_that_is_no_json_shows_nothing():
    assert key_facts_text("QueryKey", "{") is key_facts_text("QueryKey", "[" * 10_000) is None


def test_a_read_of_a_values_type_alone_shows_the_type():
    assert cells({"operation": "EnumerateValueKey", "data_type": 1})[0]["data"] == "REG_SZ"


@settings(deadline=None)
@given(st.text(max_size=20))
def test_no_facts_can_break_the_table(name):
    row = {"operation": "QueryKey", "detail": json.dumps({"Name": name})}
    lines = list(timeline_lines(events(row)))
    assert len(lines) == 2
    assert all(line.isprintable() for line in lines)


@pytest.mark.parametrize("name", [module.name for module in pkgutil.iter_modules(cli.__path__)])
def test_the_examples_in_docstrings_are_true(name):
    assert doctest.testmod(importlib.import_module(f"cli.{name}")).failed == 0
