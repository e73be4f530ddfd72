"""Operations that both registry providers report are one row; the rule as a plain loop beside the fast form."""

import struct
from pathlib import Path

import numpy as np
import pytest
import raw_etl as raw
from hypothesis import given, settings
from hypothesis import strategies as st

import regtrace as rt
from tracer.etl.providers import KERNEL_REGISTRY
from tracer.rows.double_reports import AFTERWARDS_NS, SLACK_NS, Calls, DoubleReports

FAULTS = Path(__file__).parents[2] / "shared/faults"
BY_CALLBACK, CLASSIC = 1, 2
REGISTRY_GROUP = 9


def plain_pairs(rows: list[tuple[int, int, int, int, int]]) -> set[tuple[int, int]]:
    """Return (by callback, classic) pairs of rows (provider, call, tid, time, began), one row after the other."""
    pairs: set[tuple[int, int]] = set()
    stacks: dict[tuple[int, int], list[int]] = {}
    for at, (provider, call, tid, _, began) in enumerate(rows):
        stack = stacks.setdefault((call, tid), [])
        if provider == BY_CALLBACK:
            stack.append(at)
        elif provider == CLASSIC and stack and rows[opener := stack.pop()][3] >= began - SLACK_NS:
            pairs.add((opener, at))
    taken = {row for pair in pairs for row in pair}
    stacks = {}
    for at, (provider, call, tid, time, _) in enumerate(rows):
        if at in taken:
            continue
        stack = stacks.setdefault((call, tid), [])
        if provider == CLASSIC:
            stack.append(at)
        elif provider == BY_CALLBACK and stack and time - rows[opener := stack.pop()][3] <= AFTERWARDS_NS:
            pairs.add((at, opener))
    return pairs


def columns(rows: list[tuple[int, int, int, int, int]]) -> Calls:
    table = np.array(rows, np.int64).reshape(-1, 5)
    return Calls(table[:, 0].astype(np.uint8), *(table[:, column] for column in range(1, 5)))


@st.composite
def reports(draw: st.DrawFn) -> list[tuple[int, int, int, int, int]]:
    rows, time = [], 0
    for _ in range(draw(st.integers(0, 40))):
        time += draw(st.sampled_from([0, 1, 90_000, 200_000, 2_000_000]))
        provider = draw(st.sampled_from([0, BY_CALLBACK, BY_CALLBACK, CLASSIC, CLASSIC]))
        took = draw(st.sampled_from([0, 100_000, 150_000, 3_000_000]))
        rows.append((provider, draw(st.integers(0, 1)), draw(st.integers(1, 2)), time, time - took))
    return rows


@pytest.mark.slow
@settings(max_examples=150)
@given(rows=reports())
def test_the_fast_form_gives_the_pairs_of_the_plain_loop(rows):
    pairs = DoubleReports().find(columns(rows))
    fast = set(zip(pairs.by_callback.tolist(), pairs.classic.tolist(), strict=True))
    assert fast == plain_pairs(rows)
    paired = {row for pair in fast for row in pair}
    assert pairs.alone == sum(bool(row[0]) for at, row in enumerate(rows) if at not in paired)


def test_a_partner_in_the_next_batch_is_known_for_one():
    double = DoubleReports()
    assert double.find(columns([(BY_CALLBACK, 7, 11, 1000, 0)])).alone == 1
    pairs = double.find(columns([(CLASSIC, 7, 11, 1500, 900), (CLASSIC, 7, 11, 2_000_000, 1_990_000)]))
    assert (pairs.by_callback.tolist(), pairs.classic.tolist(), pairs.alone) == ([-1], [0], 1)


# --- whole traces -------------------------------------------------------------------------------------------


def callback(
    id_: int, stamp: int, address: int, *names: str, status: int = 0, data: int | None = None
) -> bytes:
    head = struct.pack("<QQII", 0, address, status, 1) if id_ <= 2 else struct.pack("<QI", address, status)
    tail = b""
    if data is not None:
        head += struct.pack("<II", 4, 4)
        tail = struct.pack("<HIIIH", 4, data, 0, 0, 0)
    texts = b"".join(name.encode("utf-16-le") + b"\0\0" for name in names)
    return raw.event(id_, stamp, head + texts + tail, guid=KERNEL_REGISTRY, version=0)


def classic(opcode: int, stamp: int, block: int, name: str = "", *, took: int = 9, status: int = 0) -> bytes:
    head = struct.pack("<qIIQ", stamp - took, status, 0, block)
    return raw.system(REGISTRY_GROUP, opcode, stamp, head + name.encode("utf-16-le") + b"\0\0")


def rows_of(folder: Path, *records: bytes, then: bytes = b"") -> list[tuple[object, ...]]:
    """Ingest the records, those of `then` from a second file, and return what the rows say."""
    files = [raw.etl(raw.buffer(*records, size=4096))]
    if then:
        files.append(raw.etl(raw.buffer(then, size=4096, cpu=1), header=raw.logfile_record(names="two\0b\0")))
    for number, content in enumerate(files):
        (folder / f"{number}.etl").write_bytes(content)
    rt.ingest([folder / f"{number}.etl" for number in range(len(files))], folder / "c.regtrace")
    with rt.open(folder / "c.regtrace") as capture:
        rows = capture.sql(
            "SELECT operation, key, value_name, data, duration_ns, source FROM events ORDER BY sequence"
        )
    return [tuple(row) for row in rows.astype(object).where(rows.notna(), None).values.tolist()]


def test_one_operation_is_one_row_with_the_fields_of_both(tmp_path):
    at = raw.FIRST_STAMP
    path = "\\REGISTRY\\MACHINE\\SOFTWARE\\A"
    rows = rows_of(
        tmp_path,
        callback(1, at + 10, 0x7000, "", path),
        classic(22, at + 12, 0xC000, path),
        classic(10, at + 15, 0, path),
        callback(5, at + 30, 0x7000, "", "v", data=7),
        classic(14, at + 34, 0xC000, "v"),
        callback(13, at + 50, 0x7000, ""),
        classic(27, at + 53, 0xC000),
    )
    assert rows == [
        ("CreateKey", path, None, None, 900, "Microsoft-Windows-Kernel-Registry"),
        ("SetValueKey", path, "v", b"\7\0\0\0", 900, "Microsoft-Windows-Kernel-Registry"),
        ("CloseKey", path, None, None, 900, "Microsoft-Windows-Kernel-Registry"),
    ]


def test_what_the_kernel_logger_names_names_the_other_providers_object(tmp_path):
    """The key was open before the trace; only the rundown of key control blocks at the end says its path."""
    at = raw.FIRST_STAMP
    path = "\\REGISTRY\\MACHINE\\SOFTWARE\\Before"
    rows = rows_of(
        tmp_path,
        callback(5, at + 30, 0x7000, "", "v", data=7),
        classic(14, at + 34, 0xC000, "v"),
        callback(5, at + 40, 0x7000, "", "only once", data=8),
        classic(25, at + 90, 0xC000, path),
    )
    assert [row[1:3] for row in rows] == [(path, "v"), (path, "only once")]


def test_the_two_providers_may_be_in_two_files(tmp_path):
    at = raw.FIRST_STAMP
    writes = [callback(5, at + 100 * n, 0x7000, "", "v", data=n) for n in range(3)]
    logged = b"".join(raw.pad(classic(14, at + 100 * n + 4, 0xC000, "v")) for n in range(3))
    assert [row[3] for row in rows_of(tmp_path, *writes, then=logged)] == [
        bytes([n, 0, 0, 0]) for n in range(3)
    ]


def test_what_only_one_reports_stays_and_is_counted(tmp_path):
    at = raw.FIRST_STAMP
    rows = rows_of(
        tmp_path,
        callback(5, at + 30, 0x7000, "", "v", data=7),
        classic(14, at + 34, 0xC000, "v", status=0xC0000022),
        classic(14, at + 90_000, 0xC000, "v"),
    )
    assert len(rows) == 3
    with rt.open(tmp_path / "c.regtrace") as capture:
        counts = capture.sql("SELECT name, \"count\" FROM diagnostics WHERE name LIKE '%_reports'")
    assert counts.values.tolist() == [["single_reports", 3]]


@pytest.mark.skipif(not FAULTS.exists(), reason="the fault inputs are not here")
def test_the_three_writes_of_the_fault_are_three(tmp_path):
    rt.ingest([FAULTS / "both-providers.etl"], tmp_path / "c.regtrace")
    with rt.open(tmp_path / "c.regtrace") as capture:
        writes = capture.sql("SELECT data FROM events WHERE operation = 'SetValueKey' ORDER BY sequence")
        total = capture.sql("SELECT count(*) AS n FROM events")
    assert [int.from_bytes(data, "little") for data in writes["data"]] == [16777217, 16777218, 16777219]
    assert total["n"][0] == 5
