"""What is known of a recording besides its trace: how it changes what the trace alone would say."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from capture_kit import make_trace

from tracer.etl.losses import Loss
from tracer.ingest.pipeline import ingest
from tracer.ingest.recording_facts import LiveFacts, place_losses
from tracer.ingest.seed import unchanged_objects
from tracer.recording.recording_log import RecordingLog
from tracer.rows.processes import ProcessRecord
from tracer.session.options import SessionCounters
from tracer.store.manifest import Manifest

_FIRST, _LAST = 0, 2**62


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_trace(
        tmp_path_factory.mktemp("trace") / "sim.etl", events=4000, preopened=40, seed_table=True
    )


def seed_of(trace: Path) -> tuple[list[int], list[str]]:
    found = pq.read_table(trace.with_suffix(".seed.parquet")).to_pydict()
    return [address & 2**64 - 1 for address in found["address"]], found["path"]


def events(capture: Path) -> list[dict]:
    paths = {row["key_id"]: row["path"] for row in pq.read_table(capture / "keys.parquet").to_pylist()}
    rows = []
    for part in Manifest.load(capture).parts:
        rows += pq.read_table(capture / part["file"]).to_pylist()
    for row in rows:
        row["path"] = paths.get(row["key_id"])
    return sorted(rows, key=lambda row: row["sequence"])


def handles_at(capture: Path, time_ns: int) -> tuple[list[int], list[str]]:
    """Return what a reading of the handle table at that time would give."""
    paths = {row["key_id"]: row["path"] for row in pq.read_table(capture / "keys.parquet").to_pylist()}
    still = [
        row
        for row in pq.read_table(capture / "handles.parquet").to_pylist()
        if (row["opened_ns"] or 0) <= time_ns < (row["closed_ns"] or _LAST) and paths[row["key_id"]]
    ]
    return [row["address"] & 2**64 - 1 for row in still], [paths[row["key_id"]] for row in still]


@pytest.mark.parametrize("after", [100, 500, 1000])
def test_a_later_reading_names_nothing_that_the_true_seed_would_name_otherwise(trace, tmp_path, after):
    # the whole truth: what was open before, by the simulator
    ingest([trace], tmp_path / "true.regtrace", seed=trace.with_suffix(".seed.parquet"))
    true = events(tmp_path / "true.regtrace")
    when = true[after]["time_ns"]
    late = handles_at(tmp_path / "true.regtrace", when)
    assert len(late[0]) > len({*late[0]} & {*seed_of(trace)[0]}) > 0
    kept, _ = unchanged_objects([trace], *late, when)
    assert {*kept} < {*late[0]}
    facts = LiveFacts(seed=late, seed_ns=when, seed_facts={"read": "end"})
    ingest([trace], tmp_path / "late.regtrace", live=facts)
    found = events(tmp_path / "late.regtrace")
    wrong = [
        (t["path"], f["path"])
        for t, f in zip(true, found, strict=True)
        if f["path"] and not f["path"].startswith("<object") and f["path"].upper() != t["path"].upper()
    ]
    assert wrong == []
    assert Manifest.load(tmp_path / "late.regtrace").totals["names"].get("seed", 0) > 0


def test_before_the_trace_nothing_can_have_moved(trace):
    addresses, paths = seed_of(trace)
    assert unchanged_objects([trace], addresses, paths, _FIRST) == (addresses, paths)
    assert unchanged_objects([trace], [], [], _LAST) == ([], [])


def test_a_process_that_was_seen_does_not_become_two(trace, tmp_path):
    ingest([trace], tmp_path / "plain.regtrace")
    plain = pq.read_table(tmp_path / "plain.regtrace" / "processes.parquet").to_pylist()
    middle = (events(tmp_path / "plain.regtrace")[2000])["time_ns"]
    known = [row for row in plain if row["start_ns"] and not row["end_ns"]]
    seen = tuple(
        ProcessRecord("rundown", "snapshot", middle, row["pid"], row["parent_pid"], row["image"], f"run {row['pid']}",
                      start_ns=row["start_ns"])
        for row in known
    )  # fmt: skip
    ingest([trace], tmp_path / "live.regtrace", live=LiveFacts(processes=seen))
    live = pq.read_table(tmp_path / "live.regtrace" / "processes.parquet").to_pylist()
    assert len(known) > 3
    assert len(live) == len(plain)
    lines = {row["pid"]: row["command_line"] for row in live}
    assert all(lines[record.pid] for record in seen)


def test_a_total_that_polls_place_is_not_told_twice():
    header = Loss(0, "events", 10, None, None, None, "log file header: events lost")
    flag = Loss(0, "events", None, 5, 6, 1, "flag of the buffer at offset 0")
    cut = Loss(0, "buffers", 4, None, None, None, "log file header: 9 buffers were written")
    polled = [Loss(0, "events", 4, 1, 2, None, "counter"), Loss(0, "events", 6, 3, 4, None, "counter")]
    assert place_losses([header, flag, cut], polled) == [flag, cut, *polled]


def test_what_the_polls_did_not_see_of_a_total_stays():
    header = Loss(0, "events", 10, 7, None, None, "log file header: events lost")
    polled = [Loss(0, "events", 4, 1, 2, None, "counter")]
    assert place_losses([header], polled) == [
        Loss(0, "events", 6, 7, None, None, "log file header: events lost; the rest"),
        *polled,
    ]


def test_losses_of_another_source_place_nothing():
    header = Loss(1, "events", 10, None, None, None, "log file header: events lost")
    polled = [Loss(0, "events", 10, 1, 2, None, "counter")]
    assert place_losses([header], polled) == [header, *polled]


def test_each_rise_of_a_counter_is_a_loss_between_its_polls():
    log = RecordingLog(started_ns=100)
    for time_ns, lost in ((200, 0), (300, 5), (400, 5), (500, 6)):
        log.add_counters(0, "one", SessionCounters(time_ns, lost, 0, 0, 1, 2, 1))
    log.add_counters(1, "other", SessionCounters(250, 1, 2, 3, 1, 2, 1))
    found = [(loss.source, loss.kind, loss.count, loss.from_ns, loss.to_ns) for loss in log.facts({}).losses]
    assert found == [
        (0, "events", 5, 200, 300),
        (0, "events", 1, 400, 500),
        (1, "events", 1, 100, 250),
        (1, "buffers", 2, 100, 250),
        (1, "buffers", 3, 100, 250),
    ]
    assert log.lost() == (7, 5)


def test_a_capture_of_a_file_has_no_counters_and_is_the_same_every_time(trace, tmp_path):
    for name in ("a", "b"):
        ingest([trace], tmp_path / f"{name}.regtrace")
    files = [{p.relative_to(tmp_path / n): p.read_bytes() for p in (tmp_path / n).rglob("*") if p.is_file()}
             for n in ("a.regtrace", "b.regtrace")]  # fmt: skip
    assert files[0] == files[1]
    assert Path("counters.parquet") not in files[0]
