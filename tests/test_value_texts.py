"""Types by name and data as text, in every form of an answer."""

import csv
import io
import json
import re
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from procmon_oracle import csv_rows, shown_value
from small_capture import write_capture
from typer.testing import CliRunner

import regtrace as rt
from cli.app import app
from cli.output.safe import from_spreadsheet
from tracer.registry.value_columns import names_with_texts, with_texts
from tracer.registry.values import decode_value, type_name

LOG = Path("pml") / "pp-LogfileTests64bitUTC.pml"
NOTES = re.compile(r" ?\[(truncated: 16 of \d+ bytes|unterminated)\]$")


@pytest.fixture(scope="module")
def real(procmon_capture: Path) -> Path:
    return procmon_capture


@pytest.mark.slow
def test_the_text_of_every_read_and_write_is_procmons_own(corpus: Path, real: Path) -> None:
    """Letter by letter, but for our notes in square brackets; in Procmon's CSV a line break is "\\n;".

    Procmon shows nothing of a REG_QWORD, so the number stands in for it.
    """
    with rt.open(real) as capture:
        rows = capture.timeline(columns=["record_offset", "data_type_name", "data_text", "data"])
    rows = rows.sort_values("record_offset").to_dict("records")
    compared = Counter()
    for row, theirs in zip(rows, csv_rows((corpus / LOG).with_suffix(".csv.gz")), strict=True):
        shown = shown_value(theirs["Detail"])
        if shown is None:
            continue
        kind, length, text = shown
        assert row["data_type_name"] == kind
        if kind == "REG_QWORD":
            assert (text, length) == ("", "8")
            text = str(int.from_bytes(row["data"], "little"))
        assert NOTES.sub("", row["data_text"]) == text.replace("\n;", "\r\n")
        compared[kind, theirs["Operation"]] += 1
    assert sum(compared.values()) == 3967
    assert sum(count for (_, operation), count in compared.items() if operation == "RegSetValue") == 80


@pytest.fixture(scope="module")
def capture(tmp_path_factory) -> Path:
    return write_capture(tmp_path_factory.mktemp("texts") / "small.regtrace", complete=True)


def test_every_form_of_a_timeline_has_the_same_texts(capture: Path, tmp_path: Path) -> None:
    wanted = _wanted(capture)
    assert len({text for _, text in wanted}) > 3
    names = ["data_type_name", "data_text"]
    with rt.open(capture) as opened:
        assert _pairs(opened.timeline(columns=names).to_dict("records")) == wanted
        assert _pairs(opened.sql("SELECT * FROM events ORDER BY sequence").to_dict("records")) == wanted
        reader = opened.timeline_reader(rt.Filters(), columns=names)
        assert _pairs(pa.Table.from_batches(list(reader), reader.schema).to_pylist()) == wanted
    shown = _ask("timeline", capture, "-f", "jsonl")
    assert _pairs(json.loads(line) for line in shown.splitlines()) == wanted
    cells = csv.DictReader(io.StringIO(_ask("timeline", capture, "-f", "csv"), newline=""))
    assert [(row["data_type_name"], from_spreadsheet(row["data_text"])) for row in cells] == [
        (name or "", text or "") for name, text in wanted
    ]
    _ask("timeline", capture, "-o", tmp_path / "rows.parquet")
    assert _pairs(pq.read_table(tmp_path / "rows.parquet").to_pylist()) == wanted


def test_a_condition_may_name_texts(capture: Path) -> None:
    wanted = sum(name == "REG_DWORD" and text == "1" for name, text in _wanted(capture))
    assert wanted
    with rt.open(capture) as opened:
        rows = opened.timeline(where="data_type_name = 'REG_DWORD' AND data_text = '1'")
        assert len(rows) == wanted
        assert opened.sql("SELECT value_text(4, '\\x07\\x00\\x00\\x00'::BLOB, 4) AS seven").seven[0] == "7"


def test_bytes_are_in_csv_on_request_only(capture: Path) -> None:
    assert "data_text" in _ask("timeline", capture, "-f", "csv", "--limit", 1).split(",")
    assert "data" not in _ask("timeline", capture, "-f", "csv", "--limit", 1).split(",")
    assert "data" in _ask("timeline", capture, "-f", "csv", "--limit", 1, "--raw").split(",")


@settings(deadline=None, max_examples=50)
@given(
    st.lists(
        st.tuples(
            st.one_of(st.none(), st.integers(0, 12)),
            st.one_of(st.none(), st.integers(0, 700)),
            st.one_of(st.none(), st.binary(max_size=9), st.binary(min_size=512, max_size=514)),
        )
    )
)
def test_columns_say_what_one_value_says(values: list[tuple[int | None, int | None, bytes | None]]) -> None:
    kinds = {"data_type": pa.uint32(), "data_size": pa.uint32(), "data": pa.binary()}
    columns = [
        pa.array([value[place] for value in values], kind) for place, kind in enumerate(kinds.values())
    ]
    batch = pa.RecordBatch.from_arrays(columns, list(kinds))
    wanted = [
        (
            None if kind is None else type_name(kind),
            None if size is None and data is None else decode_value(kind, data, size),
        )
        for kind, size, data in values
    ]
    assert _pairs(with_texts(batch).to_pylist()) == wanted
    table = pa.Table.from_batches([batch.slice(0, 2), batch.slice(2)])
    assert _pairs(with_texts(table).to_pylist()) == wanted
    assert tuple(with_texts(table).schema.names) == names_with_texts(list(kinds))
    assert with_texts(with_texts(table)).equals(with_texts(table))


def _wanted(capture: Path) -> list[tuple[str | None, str | None]]:
    with rt.open(capture) as opened:
        rows = opened.sql("SELECT data_type, data_size, data FROM stored_events ORDER BY sequence")
    return [
        (
            None if row["data_type"] is None else type_name(int(row["data_type"])),
            None
            if row["data_size"] is None and row["data"] is None
            else decode_value(row["data_type"], row["data"], row["data_size"]),
        )
        for row in rows.astype(object).where(rows.notna(), None).to_dict("records")
    ]


def _pairs(rows) -> list[tuple[str | None, str | None]]:
    def text(cell):
        return cell if isinstance(cell, str) else None

    return [(text(row["data_type_name"]), text(row["data_text"])) for row in rows]


def _ask(*arguments) -> str:
    shown = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert shown.exit_code == 0, shown.stderr
    return shown.stdout_bytes.decode()
