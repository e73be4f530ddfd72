"""A system clock that was set back: the order of logging holds, names are kept, and answers say so."""

import struct
from pathlib import Path

import pytest
import raw_etl as raw
from hypothesis import given, settings
from hypothesis import strategies as st

import regtrace as rt
from analysis.questions.caveats import caveats_between
from tracer.diagnostics import Diagnostics
from tracer.etl.buffers import Buffer
from tracer.etl.clock_steps import Run, order_runs
from tracer.etl.providers import KERNEL_REGISTRY
from tracer.etl.reader import EtlReader

FAULTS = Path(__file__).parents[2] / "shared/faults"
BEGAN = raw.START_FILETIME
HOUR = 36_000_000_000  # in 100 ns
PATH = "\\REGISTRY\\MACHINE\\SOFTWARE\\Step"


def opened(stamp: int, address: int, path: str = PATH) -> bytes:
    texts = b"\0\0" + path.encode("utf-16-le") + b"\0\0"
    return raw.event(
        1, stamp, struct.pack("<QQII", 0, address, 0, 1) + texts, guid=KERNEL_REGISTRY, version=0
    )


def written(stamp: int, address: int, data: int) -> bytes:
    texts = b"\0\0" + "Mode".encode("utf-16-le") + b"\0\0"
    payload = struct.pack("<QIII", address, 0, 4, 4) + texts + struct.pack("<HIIIH", 4, data, 0, 0, 0)
    return raw.event(5, stamp, payload, guid=KERNEL_REGISTRY, version=0)


def closed(stamp: int, address: int) -> bytes:
    return raw.event(13, stamp, struct.pack("<QI", address, 0) + b"\0\0", guid=KERNEL_REGISTRY, version=0)


def trace(*buffers: bytes, clock: int = 2) -> bytes:
    return raw.etl(*buffers, header=raw.logfile_record(clock=clock, stamp=BEGAN))


def ingest(folder: Path, content: bytes) -> "rt.Capture":
    (folder / "a.etl").write_bytes(content)
    rt.ingest(folder / "a.etl", folder / "a.regtrace", force=True)
    return rt.open(folder / "a.regtrace")


def check(capture: "rt.Capture") -> None:
    """The key is opened, Mode is written 1, then 2, and the key is closed; the clock goes back in between."""
    rows = capture.sql("SELECT operation, key, data FROM events ORDER BY sequence")
    assert rows["operation"].tolist() == ["CreateKey", "SetValueKey", "SetValueKey", "CloseKey"]
    assert set(rows["key"]) == {PATH}
    state = capture.state(key="HKLM\\SOFTWARE\\Step")
    assert [int.from_bytes(data, "little") for data in state["data"].dropna()] == [2]
    assert any("the clock was set back by 3,600" in doubt for doubt in state.attrs["doubts"])
    assert capture.manifest.complete


@pytest.mark.slow
def test_a_step_inside_a_buffer(tmp_path):
    back = BEGAN + 3000 - HOUR
    records = (
        opened(BEGAN + 1000, 0x7000),
        written(BEGAN + 2000, 0x7000, 1),
        written(back, 0x7000, 2),
        closed(back + 50, 0x7000),
    )
    with ingest(tmp_path, trace(raw.buffer(*records, flushed=back + 99, sequence=1))) as capture:
        check(capture)
        assert caveats_between(capture.context, raw.START_NS, raw.START_NS).set_back_ns is not None
        assert (
            caveats_between(capture.context, raw.START_NS + 10**9).set_back_ns is None
        )  # the jump does not touch it
        assert (
            capture.handles()["lifetime_ns"].isna().all()
        )  # a close before its opening is no length of time
        lives = capture.sql("SELECT opened_ns, closed_ns FROM handles")
    shown = raw.START_NS - 3600 * 10**9
    assert lives.values.tolist() == [[raw.START_NS + 100_000, shown + 305_000]]  # as recorded


def test_a_step_between_buffers_and_processors(tmp_path):
    """The second processor logs only after the step: its buffer was taken into use after one that proves it."""
    back = BEGAN + 20_000_000 - HOUR
    buffers = (
        raw.buffer(opened(BEGAN + 1000, 0x7000), flushed=BEGAN + 5000, sequence=1),
        raw.buffer(written(BEGAN + 10_000_000, 0x7000, 1), flushed=BEGAN + 10_000_001, sequence=2),
        raw.buffer(raw.event(1, back), flushed=back + 10, sequence=3),
        raw.buffer(raw.event(1, back + 500), flushed=back + 600, sequence=4),
        raw.buffer(written(back + 700, 0x7000, 2), flushed=back + 800, sequence=5, cpu=1),
        raw.buffer(closed(back + 900, 0x7000), flushed=back + 990, sequence=6, cpu=1),
    )
    with ingest(tmp_path, trace(*buffers)) as capture:
        rows = capture.sql("SELECT operation FROM events ORDER BY sequence")
        assert rows["operation"].tolist() == ["CreateKey", "SetValueKey", "SetValueKey", "CloseKey"]
        steps = capture.sql('SELECT kind, "count", from_ns, to_ns FROM losses')
    before, after = raw.START_NS + 10**9, raw.START_NS + 2 * 10**9 - 3600 * 10**9
    assert steps.values.tolist() == [["clock", before - after, after, before]]


def test_an_address_used_again_long_after_its_close_is_another_object_whatever_the_clock_says(tmp_path):
    back = BEGAN - HOUR
    records = (
        opened(BEGAN + 1000, 0x7000),
        closed(BEGAN + 2000, 0x7000),
        raw.event(1, back),
        written(back + 600_000_000, 0x7000, 3),  # a minute later, by a clock that was set back an hour
    )
    with ingest(tmp_path, trace(raw.buffer(*records, flushed=back + HOUR // 2, sequence=1))) as capture:
        rows = capture.sql("SELECT key, flags FROM events ORDER BY sequence")
    assert rows["key"].tolist()[:2] == [PATH, PATH]
    assert rows["key"][2].startswith("<object")


def test_a_performance_counter_is_never_set(tmp_path):
    """There a step back is damage; it is sorted by time, and counted, as ever."""
    records = (
        opened(BEGAN + 1000, 0x7000),
        written(BEGAN + 9000, 0x7000, 1),
        written(BEGAN + 5000, 0x7000, 2),
    )
    with ingest(tmp_path, trace(raw.buffer(*records, sequence=1), clock=1)) as capture:
        rows = capture.sql("SELECT data FROM events WHERE operation = 'SetValueKey' ORDER BY sequence")
        names = set(capture.sql("SELECT name FROM diagnostics")["name"])
    assert [data[0] for data in rows["data"]] == [2, 1]
    assert "time_backwards" in names
    assert "clock_set_back" not in names


@st.composite
def recordings(draw: st.DrawFn) -> tuple[list[tuple[int, list[tuple[int, int]]]], int]:
    """Return buffers (processor, [(true time, stamp)]) in the order they were taken into use, and what is owed."""
    true, back, open_, made = 0, 0, {}, []
    for _ in range(draw(st.integers(1, 60))):
        true += draw(st.integers(1, 9))
        if draw(st.integers(0, 9)) == 0:
            back += draw(st.integers(20, 5000))
        cpu = draw(st.integers(0, 2))
        if cpu not in open_ or len(open_[cpu]) >= draw(st.integers(1, 5)):
            open_[cpu] = []
            made.append((cpu, open_[cpu]))
        open_[cpu].append((true, 10_000 + true - back))
    return made, back


def runs_of(records: list[tuple[int, int]]) -> list[list[tuple[int, int]]]:
    runs: list[list[tuple[int, int]]] = []
    for true, stamp in records:
        if runs and stamp >= runs[-1][-1][1]:
            runs[-1].append((true, stamp))
        else:
            runs.append([(true, stamp)])
    return runs


@pytest.mark.slow
@settings(max_examples=150)
@given(made=recordings())
def test_each_processor_keeps_the_order_of_logging(made):
    """Whatever the clock did: the truth is known, and what one processor logged first comes first."""
    buffers, back = made
    shaped = []
    for number, (cpu, records) in enumerate(buffers):
        runs = [Run(run[0][1], run[-1][1], 0) for run in runs_of(records)]
        buffer = Buffer(0, 0, 0, 0, 0, cpu, runs[0].first, 0, number + 1, cut=False)
        shaped.append((buffer, runs))
    numbers, found = order_runs(shaped, 10_000)
    amounts = found.settle()
    assert amounts == sorted(amounts)
    assert (len(amounts) > 1) <= (back > 0)
    last: dict[int, int] = {}
    for (cpu, records), mine in zip(buffers, numbers, strict=True):
        for run, number in zip(runs_of(records), mine, strict=True):
            for _, stamp in run:
                assert stamp + amounts[number] >= last.get(cpu, 0)
                last[cpu] = stamp + amounts[number]


@pytest.mark.parametrize("chunk_bytes", [1, 1 << 20])
def test_records_come_in_that_order_whatever_the_chunk(tmp_path, chunk_bytes):
    """Two processors log in turn, the first alone where the clock is set back."""
    stamps = [(BEGAN + 100 * n - (HOUR if n >= 10 else 0), 0 if 8 <= n < 12 else n % 2, n) for n in range(20)]
    made = [
        raw.buffer(
            *(raw.event(n, stamp) for stamp, cpu, n in stamps if cpu == which and n // 7 == part),
            cpu=which, sequence=2 * part + which + 1, flushed=1, size=2048,
        )
        for part in range(3)
        for which in (0, 1)
    ]  # fmt: skip
    path = tmp_path / "a.etl"
    path.write_bytes(trace(*made))
    order, shown = [], []
    with EtlReader([path], [Diagnostics()], chunk_bytes=chunk_bytes) as reader:
        for records in reader:
            order += records.id[records.order].tolist()
            shown += records.time_ns[records.order].tolist()
    assert [number for number in order if number >= 0] == list(range(20))
    assert shown[1:] == [raw.START_NS + 100 * (stamp - BEGAN) for stamp, _, _ in stamps]


@pytest.mark.slow
@pytest.mark.skipif(not FAULTS.exists(), reason="the fault inputs are not here")
def test_the_fault_gives_its_right_answer(tmp_path):
    with ingest(tmp_path, (FAULTS / "clock-set-back.etl").read_bytes()) as capture:
        check(capture)
