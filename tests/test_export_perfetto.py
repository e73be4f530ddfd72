"""Exports to Perfetto, parsed back by its own messages: events, tracks, arrows, lives of handles, losses, counters."""

import sys
from collections import defaultdict
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from export_rows import rows_of, write_export_capture
from hand_capture import event, write_events
from hypothesis import given, settings
from hypothesis import strategies as st

import regtrace as rt
from analysis.export.messages import CUT_MARK
from analysis.export.wire import LENGTH_BYTES, as_array, message, piece, varints
from analysis.open import open_capture
from tracer.errors import UsageError
from tracer.registry.ntstatus import is_failure
from tracer.registry.text import fold_name
from tracer.simulate import SimulationOptions, simulate

protos = pytest.importorskip("perfetto.protos.perfetto.trace.perfetto_trace_pb2")
from analysis.export import perfetto, perfetto_strings  # noqa: E402  (they need it too)
from analysis.export.perfetto_tracks import Lanes  # noqa: E402

BEGIN, END, INSTANT, COUNTER = (
    getattr(protos.TrackEvent, f"TYPE_{name}") for name in ("SLICE_BEGIN", "SLICE_END", "INSTANT", "COUNTER")
)
VENDOR = "HKLM\\SOFTWARE\\Vendor"


@dataclass
class Found:
    """An event with what its numbers stand for."""

    name: str
    categories: list[str]
    time_ns: int
    kind: int
    track: int
    arguments: dict[str, Any]
    flow: list[int]
    flow_end: list[int]
    value: float
    end_ns: int | None = None


@dataclass
class Trace:
    """A trace as a reader understands it."""

    tracks: dict[int, Any] = field(default_factory=dict)
    events: list[Found] = field(default_factory=list)
    clocks: list[tuple[int, int]] = field(default_factory=list)
    begun: int = 0  # how often what was written once began anew

    def path(self, uuid: int) -> list[str]:
        """Return the names of a track and of those above it, the outermost first."""
        track = self.tracks[uuid]
        above = self.path(track.parent_uuid) if track.parent_uuid else []
        own = track.process.process_name if track.HasField("process") else track.name
        return [*above, own or f"thread {track.thread.tid}"]

    def below(self, *names: str) -> list[Found]:
        """Return the events of tracks below the track with these names."""
        return [one for one in self.events if self.path(one.track)[: len(names)] == list(names)]

    @property
    def operations(self) -> list[Found]:
        """The events of rows, in the order of the file."""
        return [one for one in self.events if "sequence" in one.arguments]


def read(path: Path) -> Trace:
    """Read a trace as Perfetto's documents say: what is interned holds until the state is cleared."""
    whole = protos.Trace()
    whole.ParseFromString(path.read_bytes())
    trace = Trace()
    kinds = ("event_categories", "event_names", "debug_annotation_names", "debug_annotation_string_values")
    known: dict[str, dict[int, str]] = {}
    open_slices: dict[int, list[Found]] = defaultdict(list)
    for packet in whole.packet:
        assert packet.trusted_packet_sequence_id == 1
        if packet.sequence_flags & protos.TracePacket.SEQ_INCREMENTAL_STATE_CLEARED:
            known = {kind: {} for kind in kinds}
            trace.begun += 1
        for kind in kinds:
            for one in getattr(packet.interned_data, kind):
                assert one.iid not in known[kind]
                known[kind][one.iid] = one.str.decode() if kind == kinds[-1] else one.name
        if packet.HasField("clock_snapshot"):
            trace.clocks = [(one.clock_id, one.timestamp) for one in packet.clock_snapshot.clocks]
        if packet.HasField("track_descriptor"):
            track = packet.track_descriptor
            assert track.uuid not in trace.tracks
            assert not track.parent_uuid or track.parent_uuid in trace.tracks
            trace.tracks[track.uuid] = track
        if packet.HasField("track_event"):
            made = packet.track_event
            assert made.track_uuid in trace.tracks
            if made.type == END:
                open_slices[made.track_uuid].pop().end_ns = packet.timestamp
                continue
            trace.events.append(
                Found(
                    made.name or (known["event_names"][made.name_iid] if made.name_iid else ""),
                    [known["event_categories"][one] for one in made.category_iids],
                    packet.timestamp,
                    made.type,
                    made.track_uuid,
                    {known["debug_annotation_names"][one.name_iid]: value_of(one, known) for one in made.debug_annotations},
                    list(made.flow_ids),
                    list(made.terminating_flow_ids),
                    made.double_counter_value,
                )
            )  # fmt: skip
            if made.type == BEGIN:
                open_slices[made.track_uuid].append(trace.events[-1])
    assert not any(open_slices.values())
    return trace


def value_of(annotation: Any, known: dict[str, dict[int, str]]) -> Any:
    if annotation.string_value_iid:
        return known["debug_annotation_string_values"][annotation.string_value_iid]
    return getattr(annotation, annotation.WhichOneof("value"))


def exported(capture: Path, **filters: Any) -> tuple[Trace, Any]:
    path = capture.parent / f"{len(list(capture.parent.iterdir()))}.pftrace"
    with open_capture(capture) as opened:
        done = opened.export(path, to="perfetto", **filters)
    return read(path), done


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_export_capture(tmp_path_factory.mktemp("perfetto") / "host.regtrace")


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("simulated")
    simulate(folder / "a.etl", SimulationOptions(events=1_500), truth=False)
    rt.ingest(folder / "a.etl", folder / "a.regtrace")
    return folder / "a.regtrace"


def check_rows(trace: Trace, rows: list[dict[str, Any]]) -> None:
    """Assert that the operations of a trace are the rows."""
    assert len(trace.operations) == len(rows)
    for found, row in zip(trace.operations, rows, strict=True):
        assert found.name == row["operation"]
        for name, column in perfetto.ANNOTATIONS.items():
            expected, shown = row[column], found.arguments.get(name)
            if column == "flags":
                assert (shown is not None) == (expected != 0)
            elif isinstance(shown, str) and shown.endswith(CUT_MARK):
                assert expected.startswith(shown.removesuffix(CUT_MARK))
            else:
                assert shown == expected, name
        lasted = row["duration_ns"]
        assert found.time_ns == row["time_ns"] - (lasted or 0)
        if found.kind == BEGIN:
            assert found.end_ns == row["time_ns"]
        else:
            assert found.kind == INSTANT
        assert ("failure" in found.categories) == (row["status"] is not None and is_failure(row["status"]))
        track = trace.tracks[found.track]
        if row["process_id"] is None:
            assert "unknown process" in trace.path(found.track)
        elif row["tid"] is not None and track.HasField("thread"):
            assert (track.thread.pid, track.thread.tid) == (row["pid"], row["tid"])
            assert trace.tracks[track.parent_uuid].process.process_name == row["process"]


def test_every_row_is_an_event_of_its_thread(capture: Path, simulated: Path) -> None:
    for one in (capture, simulated):
        trace, done = exported(one)
        rows = rows_of(one)
        check_rows(trace, rows)
        assert done.rows == len(rows)
        first = min(row["time_ns"] for row in rows)
        assert trace.clocks == [(6, first), (1, first)]  # boot time and UTC are the same


def test_durations_are_slices_that_do_not_overlap(tmp_path: Path) -> None:
    reads = [event("QueryValueKey", VENDOR, "v", at_us=at, duration_ns=lasted, thread=thread)
             for at, lasted, thread in ((10, 5_000, 1), (12, 1_000, 2), (14, 3_000, 1), (20, 0, 1), (21, 1_000, 1))]  # fmt: skip
    capture = write_events(tmp_path / "a.regtrace", reads)
    trace, done = exported(capture)
    # The third began at 11 us, before the first was over only if that ended later: it ended at 10.
    spans = [(one.time_ns % 1_000_000, one.end_ns and one.end_ns % 1_000_000) for one in trace.operations]
    assert spans == [(5_000, 10_000), (11_000, 12_000), (11_000, 14_000), (20_000, 20_000), (20_000, 21_000)]
    assert done.notes == []
    long = [event("QueryKey", VENDOR, at_us=30, duration_ns=20_000), event("QueryKey", VENDOR, at_us=31, duration_ns=5_000),
            event("QueryKey", VENDOR, at_us=40, duration_ns=5_000)]  # fmt: skip
    trace, done = exported(write_events(tmp_path / "b.regtrace", long))
    assert [one.kind for one in trace.operations] == [BEGIN, INSTANT, BEGIN]
    assert [one.time_ns % 1_000_000 for one in trace.operations] == [10_000, 26_000, 35_000]
    assert done.notes == [
        "1 operation overlaps others of the same thread: without a slice, as a mark where it began"
    ]


def test_procmons_time_is_the_start_of_an_operation() -> None:
    batch = pa.RecordBatch.from_pydict(
        {"duration_ns": pa.array([5, 5, None], pa.int64()), "source": ["pml", "NT Kernel Logger", "pml"]}
    )
    starts, lasts = perfetto._intervals(batch, np.array([100, 100, 100]))
    assert (starts.tolist(), lasts.tolist()) == ([100, 95, 100], [5, 5, -1])


def plain_flows(rows: list[dict[str, Any]], same_as: dict[int, int]) -> set[tuple[int, int]]:
    """Return write and first read of another process before the next write, by a loop."""
    last: dict[tuple[int, str], dict[str, Any]] = {}
    read: set[int] = set()
    found = set()
    for row in rows:
        if row["value_name"] is None or row["status"] != 0:
            continue
        value = same_as[row["key_id"]], fold_name(row["value_name"])
        if row["operation"] == "SetValueKey":
            last[value] = row
        elif row["operation"] in ("QueryValueKey", "EnumerateValueKey") and value in last:
            write = last[value]
            known = row["process_id"] is not None and write["process_id"] is not None
            if known and row["process_id"] != write["process_id"] and write["sequence"] not in read:
                read.add(write["sequence"])
                found.add((write["sequence"], row["sequence"]))
    return found


def test_an_arrow_leads_from_a_write_to_the_next_read_by_another_process(
    capture: Path, simulated: Path
) -> None:
    total = 0
    for one in (capture, simulated):
        trace, _ = exported(one)
        begun = {flow: found.arguments["sequence"] for found in trace.operations for flow in found.flow}
        ended = {flow: found.arguments["sequence"] for found in trace.operations for flow in found.flow_end}
        assert begun.keys() == ended.keys()
        with open_capture(one) as opened:
            keys = opened.sql("SELECT key_id, same_as FROM keys")
        same_as = dict(zip(keys["key_id"].tolist(), keys["same_as"].tolist(), strict=True))
        arrows = {(begun[flow], ended[flow]) for flow in begun}
        assert arrows == plain_flows(rows_of(one), same_as)
        total += len(arrows)
    assert total > 20


def test_a_filter_hides_no_write_between(tmp_path: Path) -> None:
    told = [event("SetValueKey", VENDOR, "v", process="a.exe"), event("SetValueKey", VENDOR, "V", process="b.exe"),
            event("QueryValueKey", VENDOR, "v", process="c.exe")]  # fmt: skip
    capture = write_events(tmp_path / "a.regtrace", told)
    trace, _ = exported(capture, where="process <> 'b.exe'")
    assert [bool(one.flow) for one in trace.operations] == [False, False]
    trace, _ = exported(capture)
    assert [bool(one.flow) for one in trace.operations] == [False, True, False]


def test_handles_are_bars_from_their_opening_to_their_close_or_the_end(simulated: Path) -> None:
    trace, _ = exported(simulated)
    with open_capture(simulated) as opened:
        lives = {row["handle_id"]: row for row in opened.queries.handles().to_arrow().to_pylist()}
        first, last = opened.span() or (0, 0)
    bars = trace.below("Lives of handles")
    assert {bar.arguments["handle_id"] for bar in bars} <= lives.keys()
    assert len(bars) > 0.9 * len(lives)
    busy: dict[int, int] = {}
    for bar in sorted(bars, key=lambda bar: bar.time_ns):
        life = lives[bar.arguments["handle_id"]]
        assert bar.time_ns == (first if life["opened_ns"] is None else life["opened_ns"])
        if life["verdict"] == "never closed":
            assert bar.end_ns == last
        elif life["closed_ns"] is not None:
            assert bar.end_ns == life["closed_ns"]
        assert bar.arguments["verdict"] == life["verdict"]
        assert (
            life["display_key"].startswith(trace.path(bar.track)[1])
            or trace.path(bar.track)[1] == "unnamed objects"
        )
        assert bar.end_ns is not None
        assert bar.time_ns >= busy.get(bar.track, 0)  # bars of one track do not overlap
        busy[bar.track] = bar.end_ns
    levels = [one.value for one in trace.below("Open handles")]
    assert min(levels) >= 0
    assert levels[-1] == sum(life["verdict"] == "never closed" for life in lives.values())


def test_losses_and_doubts_have_tracks_of_their_own(capture: Path) -> None:
    trace, done = exported(capture)
    bars, marks = trace.below("Lost"), trace.below("Doubts")
    lost = [one for one in bars if one.kind == BEGIN]
    assert sorted(one.name for one in lost) == ["blind", "loss", "loss"]
    counted = next(one for one in lost if one.arguments.get("count") == 12)
    assert counted.end_ns - counted.time_ns == 4_000
    assert counted.arguments["times_known"] is True
    assert [one.arguments["times_known"] for one in lost if "buffer" in one.arguments["message"]] == [False]
    assert all(one.kind == INSTANT for one in marks)
    assert len(lost) + len(marks) == done.notices
    assert [one.value for one in bars if one.kind == COUNTER] == [12.0]


def test_the_rate_counts_every_row(simulated: Path) -> None:
    trace, done = exported(simulated)
    points = trace.below("Operations")
    step = min(b.time_ns - a.time_ns for a, b in pairwise(points))
    assert round(sum(one.value for one in points) * step / 1e9) == done.rows


def test_many_captures_have_a_track_for_each_host(simulated: Path, tmp_path: Path) -> None:
    write_export_capture(tmp_path / "hosts" / "one.regtrace")
    write_export_capture(tmp_path / "hosts" / "two.regtrace")
    trace, _ = exported(tmp_path / "hosts", operation="set")
    rows = rows_of(tmp_path / "hosts", operation="set")
    assert len(trace.operations) == len(rows)
    for found, row in zip(trace.operations, rows, strict=True):
        path = trace.path(found.track)
        assert path[0] == row["host"]
        assert row["process"] is None or path[1] == f"{row['process']} ({row['pid']})"


def test_a_pid_that_was_used_again_has_a_track_of_its_own(tmp_path: Path) -> None:
    from small_capture import write_capture

    trace, _ = exported(write_capture(tmp_path / "small.regtrace"))
    names = {track.process.process_name or track.name for track in trace.tracks.values()
             if track.process.pid == 1234 or "(1234)" in track.name}  # fmt: skip
    assert names == {"setup.exe", "<b>evil</b>.exe (1234), pid used again"}


def test_what_is_remembered_is_bounded(capture: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perfetto_strings, "_MOST_TEXTS", 15)
    monkeypatch.setattr(
        "analysis.export.records._small",
        lambda batch: (batch.slice(place, 10) for place in range(0, batch.num_rows, 10)),
    )
    trace, _ = exported(capture)
    assert trace.begun > 2
    check_rows(trace, rows_of(capture))


def test_with_a_limit_lives_are_left_out_and_said_to_be(simulated: Path) -> None:
    trace, done = exported(simulated, limit=7)
    assert len(trace.operations) == 7
    assert trace.below("Lives of handles") == []
    assert done.notes == ["lives of handles are left out, for --limit cuts the rows that they belong to"]


def test_without_its_package_one_sentence_says_what_to_install(
    capture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "perfetto.protos.perfetto.trace", None)
    for name in [one for one in sys.modules if one.startswith("analysis.export.perfetto")]:
        monkeypatch.delitem(sys.modules, name)
    with (
        open_capture(capture) as opened,
        pytest.raises(UsageError, match=r"pip install 'regtrace\[perfetto\]'"),
    ):
        opened.export(tmp_path / "a.pftrace", to="perfetto")
    assert list(tmp_path.iterdir()) == []


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=5), st.binary(max_size=200))
def test_the_wire_is_read_as_it_was_meant(numbers: list[int], inside: bytes) -> None:
    tag = protos.DebugAnnotation(int_value=1).SerializeToString()[:1]
    for number, octets in zip(numbers, varints(np.array(numbers, np.int64)), strict=True):
        assert protos.DebugAnnotation.FromString(tag + octets.tobytes()).int_value == number
    text = protos.DebugAnnotation(legacy_json_value="x").SerializeToString()[:1]
    made = message(text, pa.array([inside.hex().encode()] * 2, pa.binary())).to_pylist()
    assert [protos.DebugAnnotation.FromString(one).legacy_json_value for one in made] == [inside.hex()] * 2
    rows = as_array(
        piece(b"\x08", varints(np.array(numbers) & 0xFFFF, LENGTH_BYTES)), np.arange(len(numbers)) > 0
    )
    assert rows.null_count == 1


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 10)), max_size=25))
def test_bars_of_one_lane_do_not_overlap(bars: list[tuple[int, int]]) -> None:
    lanes, busy = Lanes(), dict[int, int]()
    most = 0
    for start, lasts in sorted(bars):
        lane = lanes.take("what", start, start + lasts)
        assert busy.get(lane, 0) <= start
        busy[lane] = start + lasts
        most = max(most, lane)
    together = max((sum(a <= start < a + n for a, n in bars) for start, _ in bars), default=0)
    assert most <= together + sum(n == 0 for _, n in bars)
