"""What reads return, taken apart: `data`, its type and its size are the value's own in every source and class."""

import json
import struct

import numpy as np
import pandas as pd
import pml_writer as pml
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import raw_etl as raw
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_returned import plain_parts
from typer.testing import CliRunner

import regtrace as rt
from cli.app import app
from tracer.compiled import is_available
from tracer.etl.providers import KERNEL_REGISTRY
from tracer.ingest.kernels import NUMPY, load_compiled
from tracer.ingest.pipeline import ingest
from tracer.registry.key_information import KEY, SET, VALUE, describe_all, described, take_values_apart
from tracer.schema import FLAGS

QUERY, LIST_VALUE, QUERY_KEY, LIST_KEY, SET_INFORMATION, QUERY_MANY = 7, 9, 4, 8, 11, 10
LAST_WRITE = 133_700_000_000_000_000
COUNTS = {"SubKeys": 3, "MaxNameLen": 8, "Values": 5, "MaxValueNameLen": 10, "MaxValueDataLen": 4}
FOLDER = "HKLM\\SOFTWARE\\Vendor"


def structure(class_: int, kind: int, name: bytes, data: bytes) -> bytes:
    """Return KEY_VALUE_*_INFORMATION as wdm.h lays it out."""
    if class_ == 0:
        return struct.pack("<III", 0, kind, len(name)) + name
    if class_ == 2:
        return struct.pack("<III", 0, kind, len(data)) + data
    if class_ == 4:
        return struct.pack("<II", kind, len(data)) + data
    at = 20 + len(name) if data else 0xFFFFFFFF  # the kernel's word for nowhere
    return struct.pack("<IIIII", 0, kind, at, len(data), len(name)) + name + data


STRUCTURES = st.builds(
    lambda class_, kind, name, data, cut: (class_, structure(class_, kind, name, data)[:cut]),
    st.integers(0, 4), st.integers(0, 2**32 - 1), st.binary(max_size=6), st.binary(max_size=9),
    st.one_of(st.none(), st.none(), st.integers(0, 30)),
)  # fmt: skip
ANYTHING = st.tuples(st.integers(0, 2**32 - 1) | st.integers(0, 6), st.binary(max_size=40))


@settings(max_examples=100)
@given(st.lists(st.one_of(STRUCTURES, ANYTHING), max_size=20), st.binary(max_size=3))
def test_structures_are_taken_apart_by_column_as_struct_does_it_one_by_one(rows, before):
    held = before + b"".join(found for _, found in rows)
    length = np.array([len(found) for _, found in rows], np.int64)
    start = len(before) + np.cumsum(length) - length
    classes = np.array([class_ for class_, _ in rows], np.uint32)
    parts = take_values_apart(np.frombuffer(held, np.uint8), start, length, classes)
    for row, (class_, found) in enumerate(rows):
        kind, size, data, name = plain_parts(class_, found)
        data_at, name_at = parts.data_start[row], parts.name_start[row]
        assert (parts.type[row] if parts.fits[row] else None) == kind
        assert (parts.size[row] if parts.size[row] >= 0 else None) == size
        assert held[data_at : data_at + parts.data_size[row]] == data
        has_name = parts.name_size[row] >= 0
        assert (held[name_at : name_at + parts.name_size[row]] if has_name else None) == name
        assert json.loads(described(VALUE, class_, found) or "{}").keys() <= {"Name", "TitleIndex", VALUE}


NAME = "Größe".encode("utf-16-le")
DATA = "blue\0".encode("utf-16-le")
VALUES = [(class_, structure(class_, 1, NAME, DATA)) for class_ in range(5)]
KEYS = [
    (0, struct.pack("<QII", LAST_WRITE, 0, 10) + NAME, {"LastWriteTime": LAST_WRITE, "Name": "Größe"}),
    (
        1,
        struct.pack("<QIIIII", LAST_WRITE, 2, 34, 4, 10, 0)[:-4] + NAME + b"C\0l\0",
        {"LastWriteTime": LAST_WRITE, "TitleIndex": 2, "Class": "Cl", "Name": "Größe"},
    ),
    (
        2,
        struct.pack("<QIIIIIIIII", LAST_WRITE, 0, 0xFFFFFFFF, 0, 3, 8, 0, 5, 10, 4),
        {"LastWriteTime": LAST_WRITE, "MaxClassLen": 0} | COUNTS,
    ),
    (3, struct.pack("<I", 10) + NAME, {"Name": "Größe"}),
    (4, struct.pack("<QIIIIIII", LAST_WRITE, 0, 3, 8, 5, 10, 4, 10), {"LastWriteTime": LAST_WRITE} | COUNTS),
    (5, struct.pack("<III", 1, 2, 3), {"Wow64Flags": 1, "KeyFlags": 2, "ControlFlags": 3}),
    (7, struct.pack("<I", 0x301), {"HandleTags": 0x301}),
    (8, struct.pack("<I", 1), {KEY: "01000000"}),  # no published layout: nothing is lost
]


def rows_of(capture) -> list[dict]:
    rows = pa.concat_tables(map(pq.read_table, sorted((capture / "events").iterdir())))
    return sorted(rows.to_pylist(), key=lambda row: row["sequence"])


def wide(name: str) -> bytes:
    return name.encode("utf-16-le") + bytes(2)


def etw_rows(tmp_path, records: list[tuple[int, bytes]], *, compiled: bool = False) -> list[dict]:
    """Return the rows of records of the manifest provider, given as id and payload."""
    stamps = range(raw.FIRST_STAMP, raw.FIRST_STAMP + 10 * len(records), 10)
    events = [
        raw.event(id_, stamp, payload, guid=KERNEL_REGISTRY, version=0)
        for stamp, (id_, payload) in zip(stamps, records, strict=True)
    ]
    (tmp_path / "a.etl").write_bytes(raw.etl(raw.buffer(*events, size=32768)))
    ingest([tmp_path / "a.etl"], tmp_path / "a.regtrace", kernels=load_compiled() if compiled else NUMPY)
    return rows_of(tmp_path / "a.regtrace")


def etw_read(
    id_: int, class_: int, found: bytes, *, status: int = 0, size: int | None = None, index: int = 0
) -> tuple[int, bytes]:
    numbers = [status, *([index] if id_ in (LIST_VALUE, LIST_KEY) else []), class_]
    head = struct.pack(f"<Q{len(numbers) + 1}I", 0xFFFF8000, *numbers, len(found) if size is None else size)
    names = wide("") + (wide("Asked") if id_ == QUERY else b"")
    return id_, head + names + struct.pack("<H", len(found)) + found


def pml_rows(tmp_path, events: list[pml.Event]) -> list[dict]:
    log = pml.write_log([pml.opened(FOLDER), *events])
    (tmp_path / "a.pml").write_bytes(log.raw)
    rt.ingest(tmp_path / "a.pml", tmp_path / "a.regtrace")
    return rows_of(tmp_path / "a.regtrace")[1:]


def pml_read(operation: int, class_: int, found: bytes | None) -> pml.Event:
    listed = operation in (pml.ENUM_VALUE, pml.ENUM_KEY)
    fixed = struct.pack("<HIII", 0, 220, 0, class_) if listed else struct.pack("<HII", 0, 220, class_)
    extra = None if found is None else found + bytes(-len(found) % 4)
    path = FOLDER + "\\Asked" if operation == pml.QUERY else FOLDER
    return pml.Event(operation, path, fixed, extra=extra)


SOURCES = {
    "procmon": lambda tmp_path, reads: pml_rows(
        tmp_path, [pml_read({QUERY: pml.QUERY, LIST_VALUE: pml.ENUM_VALUE, QUERY_KEY: pml.QUERY_KEY,
                             LIST_KEY: pml.ENUM_KEY}[id_], class_, found) for id_, class_, found in reads]
    ),
    "etw": lambda tmp_path, reads: etw_rows(tmp_path, [etw_read(*read) for read in reads]),
    "etw, compiled": lambda tmp_path, reads: etw_rows(tmp_path, [etw_read(*read) for read in reads], compiled=True),
}  # fmt: skip


@pytest.fixture(params=SOURCES)
def rows_from(request, tmp_path):
    if "compiled" in request.param and not is_available():
        pytest.skip("Numba (extra fast) is not installed")
    return lambda reads: SOURCES[request.param](tmp_path, reads)


def facts(row: dict) -> dict:
    """Return the detail without the length of the caller's buffer, which Procmon alone tells."""
    said = json.loads(row["detail"] or "{}")
    said.pop("Length", None)
    return said


@pytest.mark.slow
def test_a_read_of_a_value_has_the_values_own_type_size_and_data_in_every_class(rows_from):
    rows = rows_from([(id_, class_, found) for id_ in (QUERY, LIST_VALUE) for class_, found in VALUES])
    assert len(rows) == 10
    for row in rows:
        class_, listed = row["information_class"], row["operation"] == "EnumerateValueKey"
        told = (len(DATA), DATA)
        assert (row["data_type"], row["data_size"], row["data"]) == (
            1,
            *((None, None) if class_ == 0 else told),
        )
        has_name = class_ in (0, 1, 3)
        assert row["value_name"] == (("Größe" if has_name else None) if listed else "Asked")
        assert facts(row) == ({"Name": "Größe"} if has_name and not listed else {})
        assert row["flags"] & FLAGS["data_truncated"] == 0


def test_a_read_of_a_key_has_no_data_and_its_facts_in_the_detail(rows_from):
    rows = rows_from([(QUERY_KEY, class_, found) for class_, found, _ in KEYS] + [(LIST_KEY, *KEYS[1][:2])])
    assert [facts(row) for row in rows] == [said for _, _, said in KEYS] + [KEYS[1][2]]
    assert {(row["data_type"], row["data_size"], row["data"]) for row in rows} == {(None, None, None)}


def test_what_does_not_fit_its_layout_is_kept_as_it_is(rows_from):
    rows = rows_from([(QUERY, 2, b"\1\2\3\4"), (QUERY, 77, bytes(8)), (QUERY_KEY, 2, b"\5\6\7\0")])
    assert [facts(row) for row in rows] == [{VALUE: "01020304"}, {VALUE: "00" * 8}, {KEY: "05060700"}]
    assert {(row["data_type"], row["data_size"], row["data"]) for row in rows} == {(None, None, None)}


def test_an_empty_value_is_no_value_that_was_not_captured(rows_from):
    (row,) = rows_from([(QUERY, 2, structure(2, 1, b"", b""))])
    assert (row["data_type"], row["data_size"], row["data"]) == (1, 0, None)


def test_a_cut_structure_has_the_values_full_size_and_a_flag(tmp_path):
    found = structure(2, 3, b"", bytes(range(256)) * 16)
    whole = structure(3, 3, NAME * 300, b"x" * 9)
    rows = etw_rows(
        tmp_path,
        [
            etw_read(QUERY, 2, found[:2048], size=len(found)),
            etw_read(LIST_VALUE, 3, whole[:2048], size=len(whole)),
            etw_read(QUERY_KEY, 3, (struct.pack("<I", 3000) + NAME * 300)[:2048], size=3004),
        ],
    )
    assert [(row["data_size"], len(row["data"] or b"")) for row in rows] == [(4096, 2036), (9, 0), (None, 0)]
    assert all(row["flags"] & FLAGS["data_truncated"] for row in rows)
    assert rows[1]["value_name"] is None  # not all of it was captured
    assert facts(rows[1])["ResultLength"] == len(whole)
    assert facts(rows[2]) == {"ResultLength": 3004, "Name": ("Größe" * 205)[:1022]}


def test_the_size_of_a_value_is_told_by_a_probe_that_was_too_short(tmp_path):
    """ResultLength is then what the structure would take: the value and the bytes before it."""
    short, small, missing = 0x80000005, 0xC0000023, 0xC0000034
    reads = [
        (QUERY, 2, 0, 44), (QUERY, 2, short, 44), (QUERY, 4, small, 44), (QUERY, 1, short, 44),
        (QUERY, 2, missing, 44), (QUERY, 2, short, 3), (QUERY_KEY, 2, small, 44), (QUERY_KEY, 2, missing, 44),
    ]  # fmt: skip
    rows = etw_rows(tmp_path, [etw_read(id_, class_, b"", status=s, size=n) for id_, class_, s, n in reads])
    assert [row["data_size"] for row in rows] == [32, 32, 36, None, None, None, None, None]
    length = {"ResultLength": 44}
    assert [facts(row) for row in rows] == [{}, {}, {}, length, {}, {}, length, {}]
    assert {(row["data"], row["data_type"]) for row in rows} == {(None, None)}


def test_what_is_set_of_a_key_and_many_values_at_once_are_no_data_of_a_value(tmp_path):
    rows = etw_rows(
        tmp_path,
        [
            etw_read(SET_INFORMATION, 5, b"\1\0\0\0"),
            etw_read(SET_INFORMATION, 0, struct.pack("<Q", LAST_WRITE)),
            (QUERY_MANY, struct.pack("<QIII", 0xFFFF8000, 0, 3, 144) + wide("")),
        ],
    )
    assert [json.loads(row["detail"]) for row in rows] == [
        {"HandleTags": 1}, {"LastWriteTime": LAST_WRITE}, {"BufferLength": 144}
    ]  # fmt: skip
    assert {(row["data_type"], row["data_size"], row["data"]) for row in rows} == {(None, None, None)}


def test_a_listed_name_with_a_nul_is_flagged(rows_from):
    (row,) = rows_from([(LIST_VALUE, 0, structure(0, 1, "a\0b".encode("utf-16-le"), b""))])
    assert (row["value_name"], row["flags"]) == ("a<U+0000>b", FLAGS["name_has_nul"])


def run(*arguments: str):
    return CliRunner().invoke(app, arguments, prog_name="regtrace")


@pytest.mark.slow
def test_every_output_shows_the_value(tmp_path):
    pml_rows(tmp_path, [pml_read(pml.QUERY, 2, structure(2, 4, b"", b"\x91\0\0\0"))])
    capture = str(tmp_path / "a.regtrace")
    assert "145 (0x91)" in run("timeline", capture).stdout
    assert ',4,"REG_DWORD",4,"145",' in run("timeline", capture, "-f", "csv").stdout
    assert '"91000000"' in run("timeline", capture, "-f", "csv", "--raw").stdout
    line = json.loads(run("timeline", capture, "-f", "jsonl").stdout.splitlines()[-1])
    assert (line["data"], line["data_type"], line["data_size"]) == ("91000000", 4, 4)
    table = tmp_path / "t.parquet"
    run("timeline", capture, "-f", "parquet", "-o", str(table))
    assert pq.read_table(table)["data"].to_pylist()[-1] == b"\x91\0\0\0"
    assert "145 (0x91)" in run("state", capture).stdout
    *_, read = rt.replay(capture)
    assert (read.data_type, read.data_size, read.data) == (4, 4, b"\x91\0\0\0")


def test_reads_of_an_older_capture_have_no_data_that_is_not_the_values(tmp_path):
    """It kept structures in these columns and did not say so."""
    pml_rows(tmp_path, [pml_read(pml.QUERY, 2, structure(2, 4, b"", b"\x91\0\0\0"))])
    capture = tmp_path / "a.regtrace"
    manifest = json.loads((capture / "capture.json").read_text())
    assert manifest.pop("data_of_reads") == "values"
    (capture / "capture.json").write_text(json.dumps(manifest))
    with rt.open(capture) as opened:
        row = opened.timeline().iloc[-1]
        assert row["operation"] == "QueryValueKey"
        assert all(pd.isna(row[name]) for name in ("data", "data_type", "data_size"))
        assert opened.state()["data"].isna().all()
        assert "ingest the source again" in opened._repr_html_()
    *_, read = rt.replay(capture)
    assert (read.data_type, read.data_size, read.data) == (None, None, None)


@given(
    st.sampled_from([KEY, VALUE, SET]),
    st.integers(0, 9),
    st.lists(
        st.one_of(st.binary(max_size=60), st.builds(bytes.__add__, st.just(bytes(16)), st.binary(max_size=9)))
    ),
)
def test_many_structures_are_described_as_each_of_them(structure, information_class, datas):
    one_by_one = [described(structure, information_class, data) for data in datas]
    assert describe_all(structure, information_class, datas) == one_by_one
