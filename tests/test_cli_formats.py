"""CSV, JSONL and Parquet carry every name exactly; tables show every name harmlessly."""

import csv
import io
import json
import unicodedata
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cli.output.columns import ADDRESSES, hex_address, plain_batch, times_as_text
from cli.output.csv_format import write_csv
from cli.output.destination import Output, write_rows
from cli.output.jsonl import write_jsonl
from cli.output.safe import SPREADSHEET_TRIGGERS, from_spreadsheet, spreadsheet_safe, visible
from cli.output.table import TextColumn, cell_width, cut_end, cut_middle, lay_out
from tracer.decode.layouts import LAYOUTS

HOSTILE = [
    "=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", "\ttab", "\rreturn", "\nline", "'quoted", "''", "＝1",
    "\x1b[2J\x1b]0;owned\x07", "a\u202egpj.exe", "\x9b31m",
    "a,b\"c\r\nd", "", " ", "\u2028", "\0", "NULL", "nan",
    "\\u{1B}", "<script>alert(1)</script>", "中文キー", "👩‍👩‍👧", "\ufeffbom", "a\u0301",
    "1", "1.0", "true", "2026-01-01",
]  # fmt: skip
texts = st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(HOSTILE)
cells = st.none() | texts


def rows_of(names: list[str | None]) -> pa.Table:
    return pa.table({"number": pa.array(range(len(names)), pa.int64()), "name": pa.array(names, pa.string())})


def written(write: object, table: pa.Table, **options: object) -> bytes:
    stream = io.BytesIO()
    write(table.to_reader(), stream, **options)
    return stream.getvalue()


@settings(deadline=None)
@given(st.lists(cells, max_size=8))
@example(HOSTILE)
def test_csv_gives_every_text_back_to_the_standard_reader_once_one_apostrophe_is_dropped(names):
    raw = written(write_csv, rows_of(names)).decode()
    header, *rows = csv.reader(io.StringIO(raw, newline=""))
    assert header == ["number", "name"]
    assert [from_spreadsheet(row[1]) for row in rows] == [name or "" for name in names]
    assert [row[0] for row in rows] == [str(number) for number in range(len(names))]


@settings(deadline=None)
@given(st.lists(cells, min_size=1, max_size=8))
@example(HOSTILE)
def test_csv_keeps_null_apart_from_empty_text(names):
    raw = written(write_csv, rows_of(names))
    read = pyarrow.csv.read_csv(
        io.BytesIO(raw),
        parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types={"name": pa.string()},
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )
    assert [None if name is None else from_spreadsheet(name) for name in read["name"].to_pylist()] == names


@settings(deadline=None)
@given(texts)
def test_no_csv_cell_starts_like_a_formula(name):
    cell = spreadsheet_safe(name)
    assert not cell.startswith(tuple(SPREADSHEET_TRIGGERS.replace("'", "")))
    assert from_spreadsheet(cell) == name


@settings(deadline=None)
@given(st.lists(cells, max_size=8))
@example(HOSTILE)
def test_jsonl_gives_every_text_back_one_object_a_line(names):
    raw = written(write_jsonl, rows_of(names)).decode()
    lines = raw.splitlines()  # splits at U+2028 and other letters too: none may be left bare
    assert [json.loads(line) for line in lines] == [
        {"number": i, "name": name} for i, name in enumerate(names)
    ]
    assert all(line.isprintable() for line in lines)


@settings(deadline=None)
@given(st.lists(cells, max_size=8))
@example(HOSTILE)
def test_parquet_gives_the_same_table_back(names):
    table = rows_of(names)
    stream = io.BytesIO()
    from cli.output.destination import _write_parquet

    _write_parquet(table.to_reader(), stream)
    assert pq.read_table(io.BytesIO(stream.getvalue())).equals(table)


@settings(deadline=None)
@given(st.lists(texts, min_size=1, max_size=5), st.none() | st.integers(24, 60))
@example(HOSTILE, 30)
def test_a_table_shows_no_character_that_could_act(names, width):
    columns = [
        TextColumn("name", names, shrink="middle", least=4),
        TextColumn("=\x1b", names, shrink="end", least=4),
    ]
    lines = list(lay_out(columns, width=width))
    assert len(lines) == len(names) + 1
    for line in lines:
        assert not [
            letter for letter in line if unicodedata.category(letter) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")
        ]
        assert width is None or cell_width(line) <= width


@settings(deadline=None)
@given(texts, texts)
def test_two_names_that_differ_are_shown_differently(one, other):
    assert (visible(one) == visible(other)) == (one == other)


@pytest.mark.parametrize(
    "letter", ["\u3164", "\uffa0", "\u115f", "\u034f", "\ufe0f", "\u2800", "\U000e0101", "\u00ad"]
)
def test_a_letter_that_shows_as_nothing_is_shown_by_its_number(letter):
    assert visible("Run" + letter) == f"Run\\u{{{ord(letter):X}}}"
    (line,) = written(write_jsonl, rows_of(["Run" + letter])).splitlines()
    assert line.isascii()
    assert json.loads(line)["name"] == "Run" + letter


def test_a_stack_of_marks_covers_no_other_line():
    vietnamese, arabic = "e\u0323\u0302", "\u0628\u0651\u064e\u0670"
    assert visible(vietnamese + arabic) == vietnamese + arabic
    stack = "a" + "\u0301" * 4
    assert visible(stack) == stack
    assert visible(stack + "\u0489\u0301b\u0301") == stack + "\\u{489}\\u{301}b\u0301"


@settings(deadline=None)
@given(texts, st.integers(1, 40))
def test_a_shortened_text_never_exceeds_its_width(text, width):
    text = visible(text)
    assert cell_width(cut_end(text, width)) <= width
    assert cell_width(cut_middle(text, width)) <= width


def test_a_long_path_keeps_both_ends():
    path = r"HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Run"
    short = cut_middle(path, 24)
    assert cut_middle(path, 30) == r"HKLM\…\CurrentVersion\Run"
    assert short == r"HKLM\…\Run"


@settings(deadline=None)
@given(
    st.lists(st.text("abcXYZ-{}0189", min_size=1, max_size=20), min_size=2, max_size=9), st.integers(24, 80)
)
def test_a_shortened_path_has_whole_components_and_its_last_one(parts, width):
    short = cut_middle("\\".join(parts), width).split("\\")
    assert short[-1] == parts[-1]
    rest = short[short.index("…") + 1 :] if "…" in short else short
    assert rest == parts[len(parts) - len(rest) :]


def test_wide_letters_take_two_columns_and_stay_aligned():
    lines = list(lay_out([TextColumn("n", ["中文", "ab"]), TextColumn("m", ["1", "2"])]))
    assert [cell_width(line.rpartition(" ")[0]) for line in lines] == [5, 5, 5]


def test_optional_columns_go_before_a_line_gets_too_long():
    columns = [
        TextColumn("time", ["2026-11-22T10:00:00.000000Z"]),
        TextColumn("path", ["x" * 30], shrink="middle", least=10),
        TextColumn("note", ["y" * 30], optional=True),
    ]
    lines = list(lay_out(columns, width=45))
    assert "note" not in lines[0]
    assert max(map(len, lines)) <= 45
    assert "y" * 30 in list(lay_out(columns))[1]


def test_every_kernel_pointer_of_a_record_is_known_as_an_address():
    pointers = {f.name for layout in LAYOUTS.values() for f in layout.fields if f.kind == "ptr"}
    assert (
        pointers - {"ProcessId", "ParentId"} <= ADDRESSES
    )  # process ids, as wide as pointers in old records


def test_integers_stay_integers_and_null_stays_null():
    table = pa.table({"n": pa.array([1, None, -3], pa.int64()), "flag": pa.array([None, True, False])})
    assert written(write_csv, table) == b"n,flag\n1,\n,true\n-3,false\n"
    assert written(write_jsonl, table).decode().splitlines() == [
        '{"n":1,"flag":null}', '{"n":null,"flag":true}', '{"n":-3,"flag":false}',
    ]  # fmt: skip


def test_bytes_are_hex_and_addresses_are_hex_text():
    table = pa.table(
        {
            "data": pa.array([b"\x00\xff", b"", None]),
            "address": pa.array([-1, 16, None], pa.int64()),
            "KeyObject": pa.array([2**64 - 1, 0, None], pa.uint64()),
            "stack": pa.array([[1, -1], [], None], pa.list_(pa.int64())),
            "size": pa.array([2**64 - 1, 0, None], pa.uint64()),
            "source": pa.array(["a", "a", None]).dictionary_encode(),
        }
    )
    first, second, third = map(json.loads, written(write_jsonl, table).splitlines())
    top = "0xffffffffffffffff"
    assert first == {"data": "00ff", "address": top, "KeyObject": top, "stack": f"0x1 {top}",
                     "size": 2**64 - 1, "source": "a"}  # fmt: skip
    assert second == {
        "data": "",
        "address": "0x10",
        "KeyObject": "0x0",
        "stack": "",
        "size": 0,
        "source": "a",
    }
    assert set(third.values()) == {None}
    assert (
        written(write_csv, table).splitlines()[1]
        == f'"00ff","{top}","{top}","0x1 {top}",{2**64 - 1},"a"'.encode()
    )


@settings(deadline=None)
@given(st.integers(-(2**63), 2**64 - 1))
def test_a_hex_address_is_the_bit_pattern(value):
    assert int(hex_address(value), 16) == value % 2**64


@settings(deadline=None)
@given(st.lists(st.none() | st.datetimes(datetime(1601, 1, 1), datetime(9000, 1, 1)), max_size=5))
def test_times_are_iso_8601_in_utc_or_the_zone_asked_for(moments):
    array = pa.array([m and m.replace(tzinfo=UTC) for m in moments], pa.timestamp("us", tz="UTC"))
    zone = ZoneInfo("Asia/Kolkata")
    for moment, shown, local in zip(
        moments, times_as_text(array).to_pylist(), times_as_text(array, zone).to_pylist(), strict=True
    ):
        if moment is None:
            assert shown is None and local is None  # noqa: PT018
            continue
        assert shown == moment.isoformat(timespec="microseconds") + "Z"
        assert datetime.fromisoformat(local) == moment.replace(tzinfo=UTC)
        assert local == moment.replace(tzinfo=UTC).astimezone(zone).isoformat(timespec="microseconds")


def test_a_time_beyond_the_calendar_is_still_written():
    array = pa.array([-(2**62), 2**62], pa.timestamp("us", tz="UTC"))
    assert None not in times_as_text(array, ZoneInfo("Europe/Berlin")).to_pylist()


def test_a_batch_of_no_rows_is_written_as_its_header_alone():
    table = pa.table({"time": pa.array([], pa.timestamp("us", tz="UTC")), "data": pa.array([], pa.binary())})
    assert plain_batch(pa.RecordBatch.from_pylist([], schema=table.schema)).num_rows == 0
    assert written(write_csv, table) == b"time,data\n"
    assert written(write_jsonl, table) == b""


def test_csv_on_a_terminal_is_shown_harmlessly():
    raw = written(write_csv, rows_of(["\x1b[2J", "=1"]), for_eyes=True)
    assert raw == b'number,name\n0,"\\u{1B}[2J"\n1,"\'=1"\n'


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet", "txt"])
def test_the_ending_of_the_file_tells_the_format(tmp_path, ending):
    target = tmp_path / f"rows.{ending}"
    count = write_rows(
        rows_of(["a", None]), Output.of(target, None), lambda rows, width: [str(rows.num_rows)]
    )
    assert count.rows == count.shown == 2
    start = {"csv": b"number,name\n", "jsonl": b'{"number":0', "parquet": b"PAR1", "txt": b"2\n"}[ending]
    assert target.read_bytes().startswith(start)
    assert [path.name for path in tmp_path.iterdir()] == [target.name]
