"""Copies of records as a session delivers them: the same rows come out as of the file that holds them."""

import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from live_raw import event_record, raw_records

from analysis.filters import Filters
from analysis.open import open_capture
from tracer.diagnostics import Diagnostics
from tracer.etl.headers import HEADERS
from tracer.etl.logfile import FILETIME_EPOCH
from tracer.etl.providers import CLASSIC_REGISTRY, KERNEL_PROCESS, KERNEL_REGISTRY, ProviderTable
from tracer.etl.walk import walk
from tracer.ingest.pipeline import ingest
from tracer.ingest.seed import read_seed
from tracer.live.pipeline import LIVE_COLUMNS, LivePipeline
from tracer.live.records import ReorderWindow, record_times, records_from_raw
from tracer.registry.text import fold_name
from tracer.rows.processes import ProcessRecord
from tracer.schema import FLAGS
from tracer.simulate import SimulationOptions, simulate
from tracer.simulate.run import seed_path

SECOND = 10_000_000  # FILETIME units
DOUBT = FLAGS["across_loss"] | FLAGS["name_ambiguous"]
SAME = ("operation", "notify_class", "phase", "status", "value_name", "requested_name", "data", "data_type", "data_size",
        "previous_data", "previous_type", "previous_size", "disposition", "information_class", "index",
        "entry_count", "pid", "flags")  # fmt: skip
LATER = ("later", "rundown", "partial", "none")
OPTIONS = {
    "plain": {},
    "narrow": {"pointer_size": 4},
    "filled": {"option_word": 7},
    "classic": {"classic": True},
    "classic_narrow": {"classic": True, "pointer_size": 4, "rundown_begin": True},
    "extended": {"extended": 0.5, "option_word": 7},
    "hostile": {"nul_names": 0.05, "surrogate_names": 0.05, "hostile_names": 0.1, "option_word": 7},
    "newer": {"newer_version": 0.2},
    "lost_close": {"lost_close": 0.2},
    "foreign": {"foreign": 0.5},
    "system_clock": {"clock": 2},
}


def stored_rows(folder: Path, etl: Path, seed: Path | None = None) -> pa.Table:
    ingest([etl], folder, seed=seed)
    with open_capture(folder) as capture:
        reader = capture.timeline_reader(Filters())
        return reader.read_all()


def live_rows(pipeline: LivePipeline, raw, cuts) -> pa.Table:
    tables = [pipeline.push(raw[a:b]) for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
    return pa.concat_tables([*tables, pipeline.flush()])


def assert_same(live: pa.Table, stored: pa.Table, *, renewed: bool = False) -> None:
    """Compare row by row; `renewed`: forgetting costs spellings, and what only later evidence could name."""
    assert live.num_rows == stored.num_rows
    for name in SAME:
        assert live[name].to_pylist() == stored[name].to_pylist(), name
    assert [ns // 100 for ns in live["time_ns"].to_pylist()] == [
        ns // 100 for ns in stored["time_ns"].to_pylist()
    ]
    assert live["thread_id"].to_pylist() == stored["tid"].to_pylist()
    named = 0
    for mine, theirs, source, key, stored_key in zip(
        live["name_source"].to_pylist(), stored["name_source"].to_pylist(), stored["name_source"].to_pylist(),
        live["key"].to_pylist(), stored["key"].to_pylist(), strict=True,
    ):  # fmt: skip
        if source in ("event", "open", "seed") or source is None:
            assert mine == theirs
            assert (fold_name(key) if renewed and key else key) == (
                fold_name(stored_key) if renewed and stored_key else stored_key
            )
            named += 1
        elif mine not in ("none", "partial") and not renewed:
            assert key == stored_key  # named later, but by now
        elif not renewed:
            assert source in LATER
    assert named > live.num_rows / 3
    images = zip(live["process"].to_pylist(), stored["process"].to_pylist(), strict=True)
    assert all(mine is None or mine == theirs for mine, theirs in images)


@pytest.mark.parametrize("name", OPTIONS)
def test_live_rows_equal_those_of_the_file(tmp_path, name):
    etl = tmp_path / "a.etl"
    simulate(etl, SimulationOptions(events=4000, **OPTIONS[name]), truth=False)
    raw = list(raw_records(etl))
    pipeline = LivePipeline()
    live = live_rows(pipeline, raw, range(700, len(raw), 700))
    assert live.schema.names == list(LIVE_COLUMNS)
    assert live["sequence"].to_pylist() == list(range(live.num_rows))
    assert_same(live, stored_rows(tmp_path / "a.regtrace", etl))
    assert pipeline.diagnostics["late_record"] == 0


def test_a_seed_names_the_same_rows_as_it_does_for_a_file(tmp_path):
    etl = tmp_path / "a.etl"
    simulate(etl, SimulationOptions(events=4000, preopened=500, option_word=0, seed_table=True), truth=False)
    live = live_rows(LivePipeline(read_seed(seed_path(etl))), list(raw_records(etl)), [1000])
    assert_same(live, stored_rows(tmp_path / "a.regtrace", etl, seed_path(etl)))
    assert "seed" in set(live["name_source"].to_pylist())


@pytest.fixture(scope="module")
def trace(tmp_path_factory):
    folder = tmp_path_factory.mktemp("live")
    simulate(folder / "a.etl", SimulationOptions(events=1500, preopened=100), truth=False)
    return list(raw_records(folder / "a.etl")), stored_rows(folder / "a.regtrace", folder / "a.etl")


@pytest.mark.slow
@given(cuts=st.lists(st.integers(0, 1500), max_size=12).map(sorted), seed=st.integers(0, 99))
def test_any_cuts_and_any_order_within_the_window_give_the_same_rows(trace, cuts, seed):
    raw, stored = trace
    times = (record_times(raw) // 100).tolist()
    shaken = list(raw)
    start = 0
    for stop in [*range(50, len(raw), 50), len(raw)]:  # shuffled within the window, not among equal times
        if times[stop - 1] - times[start] < SECOND // 10 and len(set(times[start:stop])) == stop - start:
            piece = shaken[start:stop]
            random.Random(seed).shuffle(piece)
            shaken[start:stop] = piece
        start = stop
    pipeline = LivePipeline()
    assert_same(live_rows(pipeline, shaken, cuts), stored)
    assert pipeline.diagnostics["late_record"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", ["plain", "filled", "classic", "lost_close", "hostile", "narrow"])
def test_forgetting_what_is_closed_changes_no_name_that_was_known(tmp_path, name):
    etl = tmp_path / "a.etl"
    simulate(etl, SimulationOptions(events=3000, preopened=200, **OPTIONS[name]), truth=False)
    raw, stored = list(raw_records(etl)), stored_rows(tmp_path / "a.regtrace", etl)
    pipeline = LivePipeline(most_names=150, window_ns=0)
    live = live_rows(pipeline, raw, range(100, len(raw), 100))
    assert pipeline.generations >= 3
    assert_same(live, stored, renewed=True)


@pytest.mark.slow
def test_memory_follows_what_is_open_not_what_was_seen():
    pipeline = LivePipeline(most_names=1000, window_ns=0)
    sizes = []
    for batch in range(60):
        raw = []
        for number in range(200):  # every key and process is new, and gone at once
            at = FILETIME_EPOCH + batch * 20 * SECOND + number * 10
            name = f"\\REGISTRY\\MACHINE\\SOFTWARE\\Key{batch}-{number}"
            raw += [
                _process(1, 1000 + batch * 200 + number, at, f"p{batch}-{number}.exe"),
                _open(name, 0x1000 + 8 * number, at + 1, pid=1000 + batch * 200 + number),
                _close(0x1000 + 8 * number, at + 2, pid=1000 + batch * 200 + number),
                _process(2, 1000 + batch * 200 + number, at + 3, f"p{batch}-{number}.exe"),
            ]
        rows = pipeline.push(raw)
        assert set(rows["key"].to_pylist()) <= {f"\\REGISTRY\\MACHINE\\SOFTWARE\\Key{b}-{n}"
                                                for b in range(batch + 1) for n in range(200)}  # fmt: skip
        sizes.append(pipeline.remembered)
    assert pipeline.generations >= 8
    assert max(sizes) < 4500


def _open(name: str, address: int, filetime: int, *, pid: int = 4, base: int = 0):
    data = b"".join(value.to_bytes(8, "little") for value in (base, address)) + bytes(8) + b"\0\0"
    data += name.encode("utf-16-le") + b"\0\0"
    return event_record(provider=KERNEL_REGISTRY, id=2, pid=pid, filetime=filetime, data=data)


def _close(address: int, filetime: int, *, pid: int = 4):
    data = address.to_bytes(8, "little") + bytes(4) + b"\0\0"
    return event_record(provider=KERNEL_REGISTRY, id=13, pid=pid, filetime=filetime, data=data)


def _flush(address: int, filetime: int):
    data = address.to_bytes(8, "little") + bytes(4) + b"\0\0"
    return event_record(provider=KERNEL_REGISTRY, id=12, filetime=filetime, data=data)


def _process(id_: int, pid: int, filetime: int, image: str):
    name = image.encode("utf-16-le") + b"\0\0"
    if id_ == 1:
        data = (
            pid.to_bytes(4, "little")
            + filetime.to_bytes(8, "little")
            + (4).to_bytes(4, "little")
            + bytes(4)
            + name
        )
    else:
        data = pid.to_bytes(4, "little") + filetime.to_bytes(8, "little") * 2 + bytes(60)
    return event_record(provider=KERNEL_PROCESS, id=id_, pid=4, filetime=filetime, data=data)


def test_the_packed_batch_reads_like_a_run_of_records_on_disk():
    raw = [
        event_record(provider=KERNEL_REGISTRY, id=5, data=bytes(size), items=((2, b"s" * size),) * (size % 3))
        for size in range(40)
    ] + [event_record(provider=CLASSIC_REGISTRY, opcode=11, version=2, flags=0x120, data=bytes(3))]
    records = records_from_raw(raw, ProviderTable(), 7)
    found = walk(records.raw, np.array([0]), np.array([int(records.end[-1])]))
    assert found.start.tolist() == records.start.tolist()
    assert (found.start + found.size).tolist() == records.end.tolist()
    assert found.bad.tolist() == []
    assert (records.end - records.payload).tolist() == [*range(40), 3]
    assert records.offset.tolist() == list(range(7, 48))


def test_items_keep_their_kind_and_bytes():
    items = ((2, b"sid-bytes"), (6, bytes(range(24))), (0x0D, b"\1" * 8))
    records = records_from_raw(
        [event_record(provider=KERNEL_REGISTRY, id=5, data=b"x", items=items)], ProviderTable(), 0
    )
    found = records.extended
    pieces = [
        records.raw[a : a + n].tobytes()
        for a, n in zip(found.start.tolist(), found.size.tolist(), strict=True)
    ]
    assert list(zip(found.kind.tolist(), pieces, strict=True)) == list(items)
    assert records.raw[records.payload[0] : records.end[0]].tobytes() == b"x"


@pytest.mark.parametrize(
    ("flags", "provider", "name"),
    [
        (0x40, KERNEL_REGISTRY, "EVENT_HEADER64"),
        (0x20, KERNEL_REGISTRY, "EVENT_HEADER32"),
        (0x00, KERNEL_REGISTRY, "EVENT_HEADER64"),
        (0x140, CLASSIC_REGISTRY, "FULL64"),
        (0x120, CLASSIC_REGISTRY, "FULL32"),
        (0x40, CLASSIC_REGISTRY, "FULL64"),  # the class alone says it
    ],
)
def test_width_and_form_follow_the_flags_and_the_class(flags, provider, name):
    one = event_record(provider=provider, id=11, opcode=11, version=2, flags=flags, pid=7, tid=9, data=b"abc")
    records = records_from_raw([one], ProviderTable(), 0)
    assert HEADERS[int(records.kind[0])].name == name
    assert (records.pid[0], records.tid[0], records.opcode[0], records.version[0]) == (7, 9, 11, 2)
    assert records.pointer_size[0] == (4 if name.endswith("32") else 8)


def test_the_processor_is_a_byte_or_an_index():
    byte = event_record(provider=KERNEL_REGISTRY, cpu=0x0103)
    index = event_record(provider=KERNEL_REGISTRY, cpu=0x0103, flags=0x240)
    assert records_from_raw([byte, index], ProviderTable(), 0).cpu.tolist() == [3, 0x103]


def test_a_record_that_the_kernel_logged_for_nobody_has_no_process():
    one = event_record(provider=CLASSIC_REGISTRY, opcode=11, version=2, pid=-1, tid=-1)
    records = records_from_raw([one], ProviderTable(), 0)
    assert (records.pid[0], records.tid[0]) == (-1, -1)


def test_records_of_a_32_bit_consumer_are_shorter_and_read_alike():
    head, data, items = event_record(provider=KERNEL_REGISTRY, id=5, data=b"abcd")
    short = records_from_raw([(head[:100], data, items)], ProviderTable(), 0)
    assert short.raw[short.payload[0] : short.end[0]].tobytes() == b"abcd"


def test_a_batch_is_in_time_order_and_equal_times_keep_theirs():
    raw = [
        event_record(provider=KERNEL_REGISTRY, id=n, filetime=FILETIME_EPOCH + t)
        for n, t in enumerate([3, 1, 3, 2, 1])
    ]
    records = records_from_raw(raw, ProviderTable(), 100)
    assert records.id.tolist() == [1, 4, 3, 0, 2]
    assert records.offset.tolist() == [101, 104, 103, 100, 102]
    assert records.time_ns.tolist() == [100, 100, 200, 300, 300]


def _at(*seconds: float):
    return [
        event_record(provider=KERNEL_REGISTRY, filetime=FILETIME_EPOCH + int(s * SECOND)) for s in seconds
    ]


def _times(raw):
    return [ns / 1e9 for ns in record_times(raw).tolist()] if raw else []


def test_the_window_puts_a_late_processor_before_what_it_holds():
    window = ReorderWindow(200_000_000, clock=lambda: 0.0)
    assert _times(window.push(_at(1.0, 1.05, 1.1))) == []
    assert _times(window.push(_at(1.02, 1.3))) == [1.0, 1.02, 1.05]
    assert window.late == 0
    assert _times(window.flush()) == [1.1, 1.3]
    assert len(window) == 0


def test_what_comes_after_newer_records_were_let_go_is_counted():
    window = ReorderWindow(100_000_000, clock=lambda: 0.0)
    window.push(_at(1.0, 2.0))
    window.push(_at(3.0))
    window.push(_at(0.5, 0.6, 3.1))
    assert window.late == 2


def test_a_quiet_session_lets_go_of_what_is_held():
    now = [0.0]
    window = ReorderWindow(200_000_000, clock=lambda: now[0])
    window.push(_at(1.0))
    assert _times(window.push([])) == []
    now[0] = 0.3
    assert _times(window.push([])) == [1.0]


def test_the_window_holds_no_more_than_it_may():
    window = ReorderWindow(10**12, most_records=3, clock=lambda: 0.0)
    assert _times(window.push(_at(5, 4, 3, 2, 1))) == [1, 2]
    assert len(window) == 3


def test_late_records_are_counted_and_kept():
    pipeline = LivePipeline(window_ns=0)
    name = "\\REGISTRY\\MACHINE"
    first = pipeline.push(
        [_open(name, 0x100, FILETIME_EPOCH + 5 * SECOND), _open(name, 0x108, FILETIME_EPOCH + 6 * SECOND)]
    )
    second = pipeline.push(
        [_open(name, 0x110, FILETIME_EPOCH + SECOND), _open(name, 0x118, FILETIME_EPOCH + 7 * SECOND)]
    )
    third = pipeline.flush()
    assert sum(map(len, (first, second, third))) == 4
    assert pipeline.diagnostics["late_record"] == 1


def test_a_seed_read_after_the_start_does_not_name_what_records_know_better():
    at = FILETIME_EPOCH + 10 * SECOND
    raw = [
        _flush(0x1000, at),  # an object that is closed before the seed is read, and its address used again
        _close(0x1000, at + 1),
        _open("\\REGISTRY\\MACHINE\\New", 0x1000, at + 2),
        _flush(0x1000, at + 3),
        _flush(0x2000, at + 4),  # open all the time
        _flush(0x2000, at + 2 * SECOND),
        _flush(0x1000, at + 2 * SECOND + 1),
    ]
    seed = ([0x1000, 0x2000], ["\\REGISTRY\\MACHINE\\New", "\\REGISTRY\\MACHINE\\Old"])
    pipeline = LivePipeline(seed, seed_ns=(at + SECOND - FILETIME_EPOCH) * 100)
    assert pipeline.push(raw[:5]).num_rows == 0  # nothing is told before the seed's time has passed
    rows = pa.concat_tables([pipeline.push(raw[5:]), pipeline.flush()]).to_pylist()
    assert [(row["key"], row["name_source"]) for row in rows] == [
        ("<object 0x1000>", "none"),
        ("<object 0x1000>", "none"),
        ("\\REGISTRY\\MACHINE\\New", "event"),
        ("\\REGISTRY\\MACHINE\\New", "open"),
        ("\\REGISTRY\\MACHINE\\Old", "seed"),
        ("\\REGISTRY\\MACHINE\\Old", "seed"),
        ("\\REGISTRY\\MACHINE\\New", "open"),
    ]
    assert pipeline.seed_dropped == 1


def test_a_snapshot_and_records_of_processes_name_the_rows():
    at = FILETIME_EPOCH + SECOND
    snapshot = [
        ProcessRecord("rundown", KERNEL_PROCESS, 0, 50, image="C:\\Windows\\old.exe", command_line="old /x")
    ]
    name = "\\REGISTRY\\MACHINE"
    raw = [_open(name, 8, at, pid=50), _process(1, 60, at + 1, "\\Device\\new.exe"), _open(name, 16, at + 2, pid=60),
           _open(name, 24, at + 3, pid=70)]  # fmt: skip
    rows = live_rows(LivePipeline(processes=snapshot), raw, [1]).to_pylist()
    assert [(row["pid"], row["process"], row["command_line"]) for row in rows] == [
        (50, "old.exe", "old /x"), (60, "new.exe", None), (70, None, None)
    ]  # fmt: skip
    assert rows[1]["image_path"] == "\\Device\\new.exe"


def test_a_loss_flags_names_that_rest_on_what_came_before_it():
    at = FILETIME_EPOCH + SECOND
    pipeline = LivePipeline(window_ns=0)
    pipeline.push([_open("\\REGISTRY\\MACHINE\\A", 8, at), _flush(8, at + 10)])
    pipeline.note_loss(1_000_005_000, 1_000_100_000)
    rows = pa.concat_tables([pipeline.push([_flush(8, at + 2000)]), pipeline.flush()]).to_pylist()
    assert rows[-1]["flags"] & FLAGS["across_loss"]
    assert rows[-1]["key"] == "\\REGISTRY\\MACHINE\\A"


@pytest.mark.parametrize("as_one", [False, True], ids=["in batches", "at once"])
def test_a_record_that_cannot_be_read_flags_names_from_before_it(as_one):
    at = FILETIME_EPOCH + SECOND
    short = event_record(provider=KERNEL_REGISTRY, id=13, data=b"\x08", filetime=at + 1000)
    raw = [_open("\\REGISTRY\\MACHINE\\A", 8, at), _flush(8, at + 10), short, _flush(8, at + 2000)]
    pipeline = LivePipeline(window_ns=0)
    batches = [raw] if as_one else [[one] for one in raw]
    rows = pa.concat_tables([*(pipeline.push(batch) for batch in batches), pipeline.flush()]).to_pylist()
    assert [bool(row["flags"] & FLAGS["across_loss"]) for row in rows] == [False, False, True]
    assert pipeline.diagnostics["short_payload"] == 1


def test_losses_that_are_kept_as_one_cover_both():
    pipeline = LivePipeline(window_ns=0)
    pipeline.note_loss(1_000_000_000, 1_000_300_000)
    for number in range(64):
        pipeline.note_loss(1_000_100_000 + number, 1_000_100_000 + number)
    at = FILETIME_EPOCH + SECOND
    raw = [_open("\\REGISTRY\\MACHINE\\A", 8, at + 2000), _flush(8, at + 2500)]
    rows = pa.concat_tables([pipeline.push(raw), pipeline.flush()]).to_pylist()
    assert rows[-1]["flags"] & FLAGS["across_loss"]


def test_odd_extended_items_are_counted():
    found = Diagnostics()
    one = event_record(provider=KERNEL_REGISTRY, id=5, data=b"abc", items=((2, bytes(0xFFFF)),))
    records_from_raw([one], ProviderTable(), 0, found)
    assert found["odd_extended_items"] == 0  # too long for any record, and still read as what it is


def test_nothing_gives_no_rows():
    pipeline = LivePipeline()
    assert pipeline.push([]).num_rows == 0
    assert pipeline.flush().schema.names == list(LIVE_COLUMNS)
