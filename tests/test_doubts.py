"""Records with embedded NULs and a filled KeyName: read by the path then known for their object, or flagged.

The files are made byte by byte; the simulator's truth says that no unflagged name is wrong.
"""

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import raw_etl as raw
from hypothesis import given
from hypothesis import strategies as st
from plain_returned import listed_name
from test_ingest_truth import DOUBT, HOSTILE, UNNAMED, Job, rows_of, run
from test_resolve import NAMES, ObjectOp, fast, objects, plain, seeds, touches_of, traces, waits

import tracer.rows.ambiguous_names
from tracer.compiled import is_available
from tracer.diagnostics import Diagnostics
from tracer.etl.providers import KERNEL_REGISTRY
from tracer.etl.reader import EtlReader
from tracer.ingest.kernels import NUMPY, load_compiled
from tracer.ingest.pipeline import ingest
from tracer.registry.text import escape_name
from tracer.resolve.object_ops import DEFERRED, GRACE_NS
from tracer.resolve.resolver import Resolver
from tracer.rows.ambiguous_names import AmbiguousNames
from tracer.rows.events import EventRows
from tracer.schema import FLAGS
from tracer.simulate import SimulationOptions, simulate

SOFTWARE = "\\REGISTRY\\MACHINE\\SOFTWARE"
HIDDEN = f"{SOFTWARE}\\A\0B"  # a key whose name holds a NUL
OTHER = f"{SOFTWARE}\\A\0C"
OPEN, QUERY_KEY, SET, DELETE, QUERY, CLOSE, QUERY_SECURITY = 2, 4, 5, 6, 7, 13, 14
ONE, TWO = 0xFFFF8000_00001230, 0xFFFF8000_00004560  # key objects
DATA, PREVIOUS = b"\x11\x22\x33\x44", b"\x55\x66"
Record = tuple[int, bytes]
Wait = int  # nanoseconds, between records
# Data and previous data in which a later NUL ends the name as well, and all counts then fit their sizes again.
TWO_READINGS = (
    b"\1" * 6 + b"\0\0\x0c\0" + b"\1\1",
    b"\1" * 4 + struct.pack("<IH", 10, 10) + b"\1" * 10,
)
BATCHED = {"events": 6000, "seed": 3, "option_word": 7, "nul_names": 0.1}


def wide(name: str) -> bytes:
    return name.encode("utf-16-le") + bytes(2)


def counted(data: bytes) -> bytes:
    return struct.pack("<H", len(data)) + data


def opened(made: int, name: str, *, base: int = 0, base_name: str = "") -> Record:
    return OPEN, struct.pack("<QQII", base, made, 0, 0) + wide(base_name) + wide(name)


def set_value(used: int, key: str, value: str) -> Record:
    head = struct.pack("<QIII", used, 0, 4, len(DATA)) + wide(key) + wide(value) + counted(DATA)
    return SET, head + struct.pack("<II", 4, len(PREVIOUS)) + counted(PREVIOUS)


def query_value(used: int, key: str, value: str, data: bytes = DATA) -> Record:
    return QUERY, struct.pack("<QIII", used, 0, 2, len(data)) + wide(key) + wide(value) + counted(data)


def delete_value(used: int, key: str, value: str) -> Record:
    return DELETE, struct.pack("<QI", used, 0) + wide(key) + wide(value)


def query_key(used: int, key: str, data: bytes) -> Record:
    return QUERY_KEY, struct.pack("<QIII", used, 0, 2, len(data)) + wide(key) + counted(data)


def query_security(used: int, key: str = "") -> Record:
    return QUERY_SECURITY, struct.pack("<QI", used, 0) + wide(key)


def closed(used: int) -> Record:
    return CLOSE, struct.pack("<QI", used, 0) + wide("")


WITH_VALUE = {"set": set_value, "query": query_value, "delete": delete_value}


@dataclass(frozen=True)
class Found:
    """A capture's rows in order, and how often a name was said to be ambiguous."""

    rows: list[dict]
    doubts: int

    @property
    def names(self) -> list[tuple[str, str | None, bool]]:
        """Key, value name, and whether they are flagged, of each row."""
        return [(row["path"], row["value_name"], is_doubtful(row)) for row in self.rows]


def is_doubtful(row: dict) -> bool:
    return bool(row["flags"] & FLAGS["name_ambiguous"])


def buffers(*parts: list[Record | Wait], flags: int = 0) -> list[bytes]:
    """Return a buffer for each part, one after the other in time, each of its own processor."""
    out, stamp = [], raw.FIRST_STAMP
    for cpu, part in enumerate(parts):
        records = []
        for one in part:
            stamp += 10 if isinstance(one, tuple) else one // 100
            if isinstance(one, tuple):
                records.append(raw.event(one[0], stamp, one[1], guid=KERNEL_REGISTRY, version=0))
        lost = flags if cpu else 0
        out.append(
            raw.buffer(*records, size=8192, cpu=cpu, flags=raw.PROC_INDEX | lost, flushed=stamp, sequence=cpu)
        )
    return out


def found_in(folder: Path, content: bytes, *, compiled: bool = False) -> Found:
    source, target = folder / "a.etl", folder / "a.regtrace"
    source.write_bytes(content)
    manifest = ingest([source], target, kernels=load_compiled() if compiled else NUMPY, force=True)
    paths = dict(enumerate(pq.read_table(target / "keys.parquet")["path"].to_pylist()))
    counts = {row["name"]: row["count"] for row in pq.read_table(target / "diagnostics.parquet").to_pylist()}
    rows = [row | {"path": paths[row["key_id"]]} for row in rows_of(target, manifest)]
    return Found(rows, counts.get("name_ambiguous", 0))


def capture(folder: Path, *records: Record | Wait) -> Found:
    """Return what the records, one after the other in one buffer, become."""
    return found_in(folder, raw.etl(*buffers(list(records))))


# --- what a known path settles -----------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("value", ["", "v", "v\0w", "\0"])
@pytest.mark.parametrize("operation", WITH_VALUE)
def test_a_key_name_with_nuls_is_parted_from_the_value_name_by_the_open(tmp_path, operation, value, compiled):
    if compiled and not is_available():
        pytest.skip("Numba (extra fast) is not installed")
    records = [opened(ONE, HIDDEN), WITH_VALUE[operation](ONE, HIDDEN, value)]
    found = found_in(tmp_path, raw.etl(*buffers(records)), compiled=compiled)
    row = found.rows[1]
    assert (row["path"], row["value_name"]) == (escape_name(HIDDEN), escape_name(value))
    assert row["flags"] == FLAGS["name_has_nul"]
    assert found.doubts == 0
    assert row["name_source"] == "event"
    assert row["data"] == (DATA if operation == "set" else None)
    if operation == "query":
        assert row["detail"] == f'{{"KeyValueInformation": "{DATA.hex()}"}}'
    assert row["previous_data"] == (PREVIOUS if operation == "set" else None)


@pytest.mark.parametrize("operation", WITH_VALUE)
def test_without_a_known_path_the_row_is_flagged(tmp_path, operation):
    found = capture(tmp_path, WITH_VALUE[operation](ONE, HIDDEN, "v"))
    assert found.names == [(f"{SOFTWARE}\\A", "B<U+0000>v", True)]
    assert found.doubts == 1


def test_the_path_is_compared_as_the_registry_compares(tmp_path):
    found = capture(tmp_path, opened(ONE, HIDDEN.lower()), set_value(ONE, HIDDEN, "v"))
    assert found.names[1] == (escape_name(HIDDEN.lower()), "v", False)


def test_another_path_than_the_known_one_settles_nothing(tmp_path):
    found = capture(tmp_path, opened(ONE, f"{SOFTWARE}\\Link"), set_value(ONE, HIDDEN, "v"))
    assert found.names[1] == (f"{SOFTWARE}\\A", "B<U+0000>v", True)


def test_a_value_name_with_nuls_below_a_key_without_is_settled_too(tmp_path):
    found = capture(tmp_path, opened(ONE, SOFTWARE), delete_value(ONE, SOFTWARE, "a\0b"))
    assert found.names[1] == (SOFTWARE, "a<U+0000>b", False)


def test_a_sure_record_is_as_good_as_the_open(tmp_path):
    found = capture(tmp_path, query_security(ONE, HIDDEN), set_value(ONE, HIDDEN, "v"))
    assert found.names[1] == (escape_name(HIDDEN), "v", False)


def test_a_key_opened_below_a_key_with_nuls_has_its_own_name(tmp_path):
    found = capture(
        tmp_path,
        opened(ONE, HIDDEN),
        opened(TWO, "C", base=ONE, base_name=HIDDEN),
        set_value(TWO, f"{HIDDEN}\\C", "v"),
        query_security(TWO),
    )
    below = escape_name(f"{HIDDEN}\\C")
    assert found.rows[1]["requested_name"] == "C"
    assert found.names[1:] == [(below, None, False), (below, "v", False), (below, None, False)]


def test_the_name_of_the_key_is_corrected_where_the_rows_are_decoded(tmp_path, monkeypatch):
    firsts = []
    add = EventRows.add

    def look(self, records, operations, *rest):
        firsts.extend(self._names.texts[number] for number in operations.first_name)
        add(self, records, operations, *rest)

    monkeypatch.setattr(EventRows, "add", look)
    capture(tmp_path, opened(ONE, HIDDEN), set_value(ONE, HIDDEN, "v"))
    assert firsts == ["", escape_name(HIDDEN)]


def test_one_name_and_captured_zeros_are_parted_by_the_known_path(tmp_path):
    found = capture(tmp_path, opened(ONE, HIDDEN), query_key(ONE, HIDDEN, bytes(8)))
    assert found.names[1] == (escape_name(HIDDEN), None, False)
    assert (found.rows[1]["detail"], found.doubts) == ('{"KeyInformation": "0000000000000000"}', 0)


def test_each_row_is_read_by_the_path_its_object_had_then(tmp_path):
    """One address, three keys, all in one batch: neither the first nor the last path is right for all."""
    keys = [HIDDEN, OTHER, f"{HIDDEN}\0D"]
    records = [one for key in keys for one in (opened(ONE, key), set_value(ONE, key, "v"), closed(ONE))]
    found = capture(tmp_path, *records)
    assert [row[:2] for row in found.names[1::3]] == [(escape_name(key), "v") for key in keys]
    assert not any(map(is_doubtful, found.rows))


def test_records_that_come_out_of_order_are_read_in_order_of_time(tmp_path):
    first, second = buffers(
        [opened(ONE, HIDDEN), set_value(ONE, HIDDEN, "v")],
        [closed(ONE), opened(ONE, OTHER), set_value(ONE, OTHER, "w")],
    )
    found = found_in(tmp_path, raw.etl(second, first))
    assert [found.names[place] for place in (1, 4)] == [
        (escape_name(HIDDEN), "v", False),
        (escape_name(OTHER), "w", False),
    ]


# --- what it does not --------------------------------------------------------------------------------------


def test_a_doubtful_path_never_settles_another(tmp_path):
    path = f"{SOFTWARE}\\A"  # what the first record is taken to be about, and it may be right
    found = capture(tmp_path, set_value(ONE, path, "B\0v"), set_value(ONE, path, "C\0v"))
    assert found.names == [(path, "B<U+0000>v", True), (path, "C<U+0000>v", True)]


def test_a_doubtful_path_takes_the_place_of_the_one_that_settles(tmp_path):
    row = set_value(ONE, SOFTWARE, "a\0b")
    found = capture(tmp_path, opened(ONE, SOFTWARE), row, set_value(ONE, HIDDEN, "v"), row)
    assert [doubtful for _, _, doubtful in found.names] == [False, False, True, True]


def test_what_was_opened_below_a_doubtful_path_settles_nothing(tmp_path):
    found = capture(
        tmp_path,
        set_value(ONE, SOFTWARE, "B\0v"),
        opened(TWO, "A", base=ONE),
        set_value(TWO, f"{SOFTWARE}\\A", "B\0v"),
    )
    assert [doubtful for _, _, doubtful in found.names] == [True, True, True]


def test_a_sure_record_ends_the_doubt_and_settles_what_comes_after_it(tmp_path):
    found = capture(
        tmp_path,
        set_value(ONE, HIDDEN, "u"),
        query_security(ONE, HIDDEN),
        set_value(ONE, HIDDEN, "v"),
    )
    assert [doubtful for _, _, doubtful in found.names] == [True, False, False]
    assert found.doubts == 1


@pytest.mark.parametrize(("wait", "settled"), [(GRACE_NS - 2000, True), (GRACE_NS + 2000, False)])
def test_the_path_of_a_closed_object_settles_as_long_as_it_names(tmp_path, wait, settled):
    row = set_value(ONE, HIDDEN, "v")
    found = capture(tmp_path, opened(ONE, HIDDEN), row, closed(ONE), wait, row)
    assert [doubtful for _, _, doubtful in found.names] == [False, False, False, not settled]
    assert (found.names[3][0] == escape_name(HIDDEN)) == settled


@pytest.mark.parametrize("lost", [0, raw.EVENTS_LOST])
def test_a_path_from_before_a_loss_settles_nothing(tmp_path, lost):
    parts = buffers([opened(ONE, HIDDEN)], [set_value(ONE, HIDDEN, "v")], flags=lost)
    found = found_in(tmp_path, raw.etl(*parts))
    assert found.names[1][2] == bool(lost)


def test_a_name_below_an_unnamed_object_settles_nothing(tmp_path):
    found = capture(tmp_path, opened(TWO, "A\0B", base=ONE), set_value(TWO, HIDDEN, "v"))
    assert found.names[1] == (f"{SOFTWARE}\\A", "B<U+0000>v", True)


def test_a_reading_that_would_change_the_data_is_not_taken(tmp_path):
    """The known path reaches into what the likelier reading takes for data: the row keeps both, and its flag."""
    path = f"{SOFTWARE}\0B\0C\0\x0czz"
    record = bytearray(query_value(ONE, path, "v", b"")[1])
    found = capture(tmp_path, opened(ONE, path), (QUERY, bytes(record)))
    assert (found.names[1], found.rows[1]["data"]) == ((escape_name(path), "v", False), None)
    struct.pack_into("<I", record, 16, 12)  # DataSize: 12 captured bytes would be all of it
    found = capture(tmp_path, opened(ONE, path), (QUERY, bytes(record)))
    assert found.names[1] == (SOFTWARE, "B<U+0000>C", True)
    captured = wide("zz") + wide("v") + bytes(2)  # as a structure it says: 118 bytes of data, and none came
    parts = tuple(found.rows[1][name] for name in ("data_type", "data_size", "data"))
    assert parts == (int.from_bytes(captured[4:8], "little"), int.from_bytes(captured[8:12], "little"), None)


def test_a_doubt_about_the_data_stays_and_does_not_reach_the_key(tmp_path):
    data, previous = TWO_READINGS
    head = struct.pack("<QIII", ONE, 0, 3, len(data)) + wide(HIDDEN) + wide("v") + counted(data)
    found = capture(
        tmp_path,
        opened(ONE, HIDDEN),
        (SET, head + struct.pack("<II", 3, len(previous)) + counted(previous)),
        query_security(ONE),
        set_value(ONE, HIDDEN, "w"),
    )
    key = escape_name(HIDDEN)
    assert found.names[1:] == [(key, "v", True), (key, None, False), (key, "w", False)]
    assert (found.rows[1]["data"], found.doubts) == (data, 1)


def test_rows_beyond_the_bound_of_a_batch_stay_flagged(tmp_path, monkeypatch):
    monkeypatch.setattr(tracer.rows.ambiguous_names, "_MOST_RUNS", 2)
    records = []
    for number in range(4):
        records += [opened(ONE + 16 * number, HIDDEN), set_value(ONE + 16 * number, HIDDEN, "v")]
    found = capture(tmp_path, *records)
    assert [doubtful for _, _, doubtful in found.names[1::2]] == [False, False, True, True]
    assert found.doubts == 2


def steps_of(folder: Path, monkeypatch: pytest.MonkeyPatch, *records: Record) -> int:
    """Return in how many pieces the records, one batch, are resolved."""
    steps = []
    whole = Resolver.resolve
    monkeypatch.setattr(Resolver, "resolve", lambda self, part: steps.append(len(part)) or whole(self, part))
    capture(folder, *records)
    assert sum(steps) == len(records)
    return len(steps)


def test_a_batch_without_nuls_is_resolved_at_once(tmp_path, monkeypatch):
    zeros = query_value(ONE, SOFTWARE, "v", bytes(4))  # ambiguous, but for its data
    assert steps_of(tmp_path, monkeypatch, opened(ONE, SOFTWARE), zeros, zeros) == 1


def test_rows_of_one_open_object_take_one_step(tmp_path, monkeypatch):
    rows = [set_value(ONE, HIDDEN, "v")] * 5
    assert steps_of(tmp_path, monkeypatch, opened(ONE, HIDDEN), *rows) == 2


# --- against the simulator's truth -------------------------------------------------------------------------

TRUTH: dict[str, dict[str, object]] = {
    "plenty": {"nul_names": 0.4},
    "no_data": {"nul_names": 0.4, "option_word": 1},
    "half_filled": {"nul_names": 0.4, "fill_share": 0.5, "late_close": 0.3, "lost_close": 0.2},
    "narrow": {"nul_names": 0.4, "pointer_size": 4, "disorder": 20, "flush_ms": 50},
    "hostile": {**HOSTILE, "nul_names": 0.2, "links": 0.3},
}


def wrong_names(job: Job) -> list[dict]:
    """Return the truth of rows with a wrong name of any kind and no flag that says so."""
    return [
        pair.truth
        for pair in job.pairs
        if (pair.source not in UNNAMED and not pair.is_right and not pair.row["flags"] & DOUBT)
        or (
            not is_doubtful(pair.row)
            and (pair.row["value_name"], pair.row["requested_name"])
            != (listed_name(pair.truth, pair.row), pair.truth["requested_name"])
        )
    ]


@pytest.mark.slow
@pytest.mark.parametrize("name", TRUTH)
def test_fewer_rows_are_flagged_and_none_is_wrong_without_a_flag(tmp_path, monkeypatch, name):
    options = SimulationOptions(**{"events": 4000, "seed": 7, "option_word": 7, **TRUTH[name]})
    after = run(tmp_path, options)
    with monkeypatch.context() as patch:
        patch.setattr(AmbiguousNames, "resolve", lambda self, resolver, touches: resolver.resolve(touches))
        before = run(tmp_path, options, "before")
    assert wrong_names(after) == []
    flagged = [
        {pair.row["sequence"] for pair in job.pairs if is_doubtful(pair.row)} for job in (after, before)
    ]
    assert flagged[0] < flagged[1]
    assert len(flagged[1]) > 500
    assert len(flagged[0]) < len(flagged[1]) / 2
    counts = [
        sum(row["count"] for row in job.table("diagnostics") if row["name"] == "name_ambiguous")
        for job in (after, before)
    ]
    assert 0 < counts[0] < counts[1] / 2


def told(folder: Path, source: Path) -> tuple[list[dict], list[dict], list[dict]]:
    """Return rows, lives and counters of a capture with paths for numbers of keys, which depend on the steps."""
    manifest = ingest([source], folder, force=True)
    paths = pq.read_table(folder / "keys.parquet")["path"].to_pylist()
    tables = [rows_of(folder, manifest), pq.read_table(folder / "handles.parquet").to_pylist()]
    for row in (row for table in tables for row in table):
        row["key_id"] = None if row["key_id"] is None else paths[row["key_id"]]
    tables[1].sort(key=lambda life: life["handle_id"])
    return tables[0], tables[1], pq.read_table(folder / "diagnostics.parquet").to_pylist()


def row_by_row(touches, doubts):
    """Stop at every doubtful row: what the runs of rows and their order are compared with."""
    return [(place - 1, [place]) for place in np.flatnonzero(doubts).tolist()]


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", [{}, {"fill_share": 0.6, "late_close": 0.3, "lost_close": 0.2, "disorder": 20}]
)
def test_runs_of_rows_are_read_as_row_by_row(tmp_path, monkeypatch, options):
    source = simulate(tmp_path / "a.etl", SimulationOptions(**BATCHED, **options)).path
    at_once = told(tmp_path / "a.regtrace", source)
    monkeypatch.setattr(tracer.rows.ambiguous_names, "_runs", row_by_row)
    assert told(tmp_path / "b.regtrace", source) == at_once
    assert sum(is_doubtful(row) for row in at_once[0]) >= 5


@pytest.mark.slow
def test_cuts_between_batches_change_nothing(tmp_path, monkeypatch):
    source = simulate(tmp_path / "a.etl", SimulationOptions(**BATCHED, buffer_size=8192)).path
    whole = told(tmp_path / "a.regtrace", source)
    monkeypatch.setitem(EtlReader.__init__.__kwdefaults__, "chunk_bytes", 50_000)
    assert told(tmp_path / "b.regtrace", source) == whole


# --- the parts ---------------------------------------------------------------------------------------------


@given(records=traces, seed=seeds, address=objects, wait=waits)
def test_the_path_of_an_object_is_that_of_a_use_of_it(records, seed, address, wait):
    _, resolver = fast(touches_of(records), NAMES, [], seed)
    used = touches_of([*records, ObjectOp(address, wait_ns=wait)])
    said = plain(used, NAMES, seed)
    sure = said.sources[-1] != DEFERRED and not said.doubtful[-1]
    path = said.paths[-1] if said.paths[-1].startswith("\\") else f"\\{said.paths[-1]}"
    assert resolver.path_of(address, int(used.time_ns[-1])) == (path if sure else None)


def test_a_path_that_is_too_long_is_not_known():
    names = ["", SOFTWARE, "x" * 16_000]
    records = [ObjectOp(requested_path=1, opened_object=16)]
    records += [ObjectOp(address=16 * n, requested_path=2, opened_object=16 * (n + 1)) for n in (1, 2, 3)]
    _, resolver = fast(touches_of(records), names, [], {})
    known = [resolver.path_of(16 * n, 1000) is not None for n in (1, 2, 3, 4)]
    assert known == [True, True, True, False]


@given(st.integers(1, 5), st.integers(0, 5))
def test_what_is_withdrawn_was_never_counted(counts, withdrawn):
    found = Diagnostics()
    found.count("name_ambiguous", counts, offset=8)
    for _ in range(min(counts, withdrawn)):
        found.withdraw("name_ambiguous")
    left = counts - min(counts, withdrawn)
    assert list(found) == ([("name_ambiguous", left, 8)] if left else [])
