"""Recording through a double of the tracing service: what is captured, how it ends, what is left running."""

import os
import random
import sys
import threading
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from capture_kit import Machine, make_trace, once_recording, use_machine
from etw_double import EtwService, etw_service

from analysis.open import open_capture
from tracer.errors import (
    NotElevated,
    PlatformError,
    RegtraceError,
    SessionLimit,
    SourceError,
    TargetError,
    UsageError,
)
from tracer.etl.reader import CHUNK_BYTES, EtlReader
from tracer.ingest.pipeline import ingest
from tracer.inspect.dump import dump
from tracer.recording.capture import CaptureOptions, record
from tracer.recording.recorder import RecorderStatus
from tracer.rows.processes import ProcessRecord
from tracer.session import session
from tracer.store.manifest import Manifest
from tracer.store.reader import table_files
from tracer.store.writer import PART_ROWS
from tracer.windows.handle_table import HandleTable

__all__ = ["etw_service"]

_PYTHON = sys.executable


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    found = Machine()
    use_machine(monkeypatch, tmp_path, found)
    return found


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_trace(tmp_path_factory.mktemp("trace") / "sim.etl", events=3000, preopened=40)


@pytest.fixture
def stop() -> threading.Event:
    return threading.Event()


def recorded(service: EtwService, machine: Machine, trace: Path, target: Path, **options) -> Manifest:
    stop = threading.Event()
    return record(
        CaptureOptions(**options), target, stop=stop,
        progress=once_recording(lambda: service.play(trace), stop), service=machine.service(),
    )  # fmt: skip


def tables(capture: Path) -> dict[str, object]:
    files = table_files(capture, Manifest.load(capture))
    return {
        name: [pq.read_table(file) for file in found] for name, found in files.items() if name != "counters"
    }


def assert_equal_but_for_live_facts(capture: Path, plain: Path) -> None:
    ours, theirs = tables(capture), tables(plain)
    for name in ours:
        if name == "losses":
            blind = [row for table in ours[name] for row in table.to_pylist() if row["kind"] != "blind"]
            assert blind == [row for table in theirs[name] for row in table.to_pylist()]
        else:
            assert [t.equals(o) for t, o in zip(ours[name], theirs[name], strict=True)] == [True] * len(
                ours[name]
            )
    one, other = Manifest.load(capture).as_dict(), Manifest.load(plain).as_dict()
    for facts in (one, other):
        facts.pop("settings")
        facts["tables"].pop("counters", None)
        facts["tables"].pop("losses")
    assert one == other


@pytest.mark.slow
@pytest.mark.parametrize(("events", "parts"), [(30_000, 1), (100_000, 6)])
def test_a_recording_equals_the_ingest_of_its_trace_files(
    etw_service, machine, tmp_path, monkeypatch, events, parts
):
    """Parts and chunks of a tenth: of 100,000 events there are as many as otherwise of a million."""
    if parts > 1:
        monkeypatch.setattr("tracer.ingest.etl.PART_ROWS", PART_ROWS // 10)
        monkeypatch.setitem(EtlReader.__init__.__kwdefaults__, "chunk_bytes", CHUNK_BYTES // 10)
    trace = make_trace(tmp_path / "sim.etl", events=events)
    manifest = recorded(etw_service, machine, trace, tmp_path / "live.regtrace", keep_etl=True)
    assert manifest.totals["events"] == events
    assert len(manifest.parts) == parts
    ingest([tmp_path / "live.etl", tmp_path / "live.processes.etl"], tmp_path / "plain.regtrace")
    assert_equal_but_for_live_facts(tmp_path / "live.regtrace", tmp_path / "plain.regtrace")
    assert etw_service.sessions == {}


def test_nothing_but_the_capture_is_left(etw_service, machine, trace, tmp_path):
    recorded(etw_service, machine, trace, tmp_path / "live.regtrace")
    left = {path.name for path in tmp_path.iterdir()} - {"state"}
    assert left == {"live.regtrace"}
    assert list((tmp_path / "state" / "regtrace").iterdir()) == []


def test_a_kept_trace_has_its_names_beside_it(etw_service, machine, trace, tmp_path):
    recorded(etw_service, machine, trace, tmp_path / "live.regtrace", keep_etl=True)
    assert {"live.etl", "live.processes.etl", "live.seed.parquet"} <= {p.name for p in tmp_path.iterdir()}


def test_what_was_asked_and_what_arrived_stands_in_the_manifest(etw_service, machine, trace, tmp_path):
    said = recorded(etw_service, machine, trace, tmp_path / "live.regtrace").settings["recording"]
    assert said["option_word"] == 7
    assert said["option_word_asks_for"] == ["names", "data", "previous"]
    assert said["keywords"]["SetValueKey"] == 0x100
    assert said["ended_by"] == "stop"
    assert said["host"]["name"]
    rows = pq.read_table(next((tmp_path / "live.regtrace" / "events").iterdir()))
    # What came back of keys is told in `detail`: of all that was captured, the values' own bytes are a part.
    captured = sum(map(bool, pa.concat_tables(dump([trace]))["CapturedData"].to_pylist()))
    assert said["arrived"]["rows_with_data"] == captured > len(rows) - rows["data"].null_count > 0
    assert said["arrived"]["rows_with_previous_data"] == len(rows) - rows["previous_data"].null_count > 0
    assert said["arrived"]["value_writes"] == rows["operation"].to_pylist().count("SetValueKey")
    assert etw_service.option_words


def test_key_names_that_arrived_are_counted(etw_service, machine, tmp_path):
    trace = make_trace(tmp_path / "sim.etl", option_word=7)
    said = recorded(etw_service, machine, trace, tmp_path / "live.regtrace").settings["recording"]
    assert said["arrived"]["rows_with_key_name"] > 1000


def test_operations_that_were_not_asked_for_are_not_recorded(etw_service, machine, trace, tmp_path):
    recorded(etw_service, machine, trace, tmp_path / "live.regtrace", operations=("SetValueKey",))
    with open_capture(tmp_path / "live.regtrace") as capture:
        found = set(capture.sql("SELECT DISTINCT operation FROM events")["operation"])
    assert found == {"SetValueKey", "CreateKey", "OpenKey", "CloseKey"}


def test_objects_open_before_are_named_by_the_handle_table(etw_service, machine, tmp_path):
    trace = make_trace(tmp_path / "sim.etl", preopened=40, seed_table=True)
    seed = pq.read_table(tmp_path / "sim.seed.parquet").to_pydict()
    addresses = [address & 2**64 - 1 for address in seed["address"]]
    first_ns = 1  # before the trace: nothing of it can have moved an object
    machine.handles = HandleTable(addresses, seed["path"], first_ns, 0.25, 1234, 3, 7)
    manifest = recorded(etw_service, machine, trace, tmp_path / "live.regtrace")
    ingest([trace], tmp_path / "plain.regtrace", seed=tmp_path / "sim.seed.parquet")
    assert manifest.totals["names"] == Manifest.load(tmp_path / "plain.regtrace").totals["names"]
    assert manifest.totals["names"]["seed"] > 0
    facts = manifest.settings["recording"]["seed"]
    assert (facts["handles"], facts["named"], facts["refused_processes"], facts["unnamed"]) == (
        1234,
        40,
        3,
        7,
    )


def test_a_handle_table_that_is_refused_is_told_and_does_not_end_the_recording(
    etw_service, machine, trace, tmp_path
):
    machine.handles = PlatformError("Windows refused its handle table")
    manifest = recorded(etw_service, machine, trace, tmp_path / "live.regtrace")
    assert manifest.settings["recording"]["seed"] == {
        "read": "start",
        "failed": "Windows refused its handle table",
    }
    (row,) = pq.read_table(tmp_path / "live.regtrace" / "losses.parquet").to_pylist()
    assert row["kind"] == "blind"
    assert "refused" in row["evidence"]


def test_the_blind_time_is_stated_and_is_no_loss(etw_service, machine, trace, tmp_path):
    manifest = recorded(etw_service, machine, trace, tmp_path / "live.regtrace")
    (row,) = pq.read_table(tmp_path / "live.regtrace" / "losses.parquet").to_pylist()
    assert row["kind"] == "blind"
    assert row["from_ns"] < row["to_ns"]
    assert manifest.complete


def test_command_lines_of_running_processes_reach_the_capture(etw_service, machine, trace, tmp_path):
    machine.processes = [
        ProcessRecord(
            "rundown",
            "snapshot",
            1,
            4_000_000,
            image="C:\\x\\app.exe",
            command_line="app.exe /S",
            user="S-1-5-18",
        )
    ]
    recorded(etw_service, machine, trace, tmp_path / "live.regtrace")
    rows = pq.read_table(tmp_path / "live.regtrace" / "processes.parquet").to_pylist()
    (row,) = [row for row in rows if row["pid"] == 4_000_000]
    assert (row["image"], row["command_line"], row["user"]) == ("app.exe", "app.exe /S", "S-1-5-18")


def test_losses_that_polls_see_are_placed_between_them(etw_service, machine, trace, tmp_path, stop):
    seen = []

    def follow(status):
        if isinstance(status, RecorderStatus) and status.phase == "recording":
            if not seen:
                etw_service.play(trace)
                etw_service.lose(events=120, buffers=3, name="regtrace-capture")
            seen.append(status)
            if status.events_lost:
                stop.set()

    manifest = record(
        CaptureOptions(), tmp_path / "live.regtrace", stop=stop, progress=follow, service=machine.service()
    )
    assert not manifest.complete
    assert manifest.settings["recording"]["lost"] == {"events": 120, "buffers": 3}
    rows = pq.read_table(tmp_path / "live.regtrace" / "losses.parquet").to_pylist()
    placed = {row["kind"]: row for row in rows if row["evidence"].startswith("counter")}
    assert {kind: row["count"] for kind, row in placed.items()} == {"events": 120, "buffers": 3}
    polls = pq.read_table(tmp_path / "live.regtrace" / "counters.parquet").to_pylist()
    times = [row["time_ns"] for row in polls if row["session"] == "regtrace-capture"]
    at = times.index(placed["events"]["to_ns"])
    assert placed["events"]["from_ns"] == times[at - 1]
    # the log file header counts the same losses; they are not told twice
    assert sum(row["count"] or 0 for row in rows if row["kind"] == "events") == 120


def test_a_loss_that_only_the_last_word_tells_is_not_missed(etw_service, machine, trace, tmp_path, stop):
    def action():
        etw_service.play(trace)
        etw_service.lose(events=7, name="regtrace-capture")

    follow = once_recording(action, stop)
    manifest = record(
        CaptureOptions(), tmp_path / "live.regtrace", stop=stop, progress=follow, service=machine.service()
    )
    assert not manifest.complete
    assert manifest.settings["recording"]["lost"]["events"] == 7


# ---------------------------------------------------------------- how it ends


def test_it_ends_with_the_program_and_keeps_its_exit_code(etw_service, machine, tmp_path, stop):
    command = (_PYTHON, "-c", "raise SystemExit(3)")
    manifest = record(
        CaptureOptions(command=command), tmp_path / "live.regtrace", stop=stop, service=machine.service()
    )
    said = manifest.settings["recording"]
    assert (said["ended_by"], said["program"]["exit_code"]) == ("program", 3)
    rows = pq.read_table(tmp_path / "live.regtrace" / "processes.parquet").to_pylist()
    assert [row["command_line"] for row in rows if row["pid"] == said["program"]["pid"]] == [
        f'{_PYTHON} -c "raise SystemExit(3)"'
    ]


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="a pipe is inherited as POSIX does it")
def test_with_children_it_ends_with_the_last_of_them(etw_service, machine, tmp_path, stop):
    read, write = os.pipe()
    child = f"import os; os.set_inheritable({read}, True); os.read({read}, 1)"
    parent = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {child!r}], pass_fds=[{read}])\nimport time\ntime.sleep(0.6)"
    os.set_inheritable(read, True)
    ended = []

    def follow(status):
        # the parent has ended long before
        if (
            status.__class__ is RecorderStatus
            and status.phase == "recording"
            and status.seconds > 1.5
            and not ended
        ):
            ended.append(status.seconds)
            os.write(write, b"x")

    from tracer.recording import child_process

    real = child_process.subprocess.Popen
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            child_process.subprocess, "Popen", lambda command, **rest: real(command, pass_fds=[read], **rest)
        )
        options = CaptureOptions(command=(_PYTHON, "-c", parent), children=True, seconds=30)
        manifest = record(
            options, tmp_path / "live.regtrace", stop=stop, progress=follow, service=machine.service()
        )
    assert ended
    assert manifest.settings["recording"]["ended_by"] == "program"


def test_it_ends_when_its_time_is_up(etw_service, machine, tmp_path, stop):
    began = time.monotonic()
    manifest = record(
        CaptureOptions(seconds=0.3), tmp_path / "live.regtrace", stop=stop, service=machine.service()
    )
    assert manifest.settings["recording"]["ended_by"] == "duration"
    assert 0.3 <= time.monotonic() - began < 10


def test_it_ends_when_the_trace_is_large_enough(etw_service, machine, tmp_path, stop):
    def follow(status):
        for running in etw_service.running("regtrace-capture"):
            running.written = 5  # of 256 KB

    options = CaptureOptions(largest_mib=1, seconds=30)
    manifest = record(
        options, tmp_path / "live.regtrace", stop=stop, progress=follow, service=machine.service()
    )
    assert manifest.settings["recording"]["ended_by"] == "size"


def test_it_ends_before_the_disk_is_full(etw_service, machine, tmp_path, stop, monkeypatch):
    free = iter([2**40, 2**40, 2**20])
    monkeypatch.setattr(
        "tracer.recording.recorder.shutil.disk_usage",
        lambda _: type("Usage", (), {"free": next(free, 2**20)})(),
    )
    monkeypatch.setattr("tracer.recording.capture._DISK_SECONDS", 0.0)
    manifest = record(
        CaptureOptions(seconds=30), tmp_path / "live.regtrace", stop=stop, service=machine.service()
    )
    assert manifest.settings["recording"]["ended_by"] == "disk"


def test_a_session_that_somebody_else_stops_still_becomes_a_capture(
    etw_service, machine, trace, tmp_path, stop
):
    def follow(status):
        if getattr(status, "phase", "") == "recording" and "regtrace-capture" in etw_service.sessions:
            etw_service.play(trace)
            etw_service.stop_externally("regtrace-capture")

    options = CaptureOptions(seconds=30)
    manifest = record(
        options, tmp_path / "live.regtrace", stop=stop, progress=follow, service=machine.service()
    )
    assert manifest.settings["recording"]["ended_by"] == "other"
    assert manifest.totals["events"] == 3000
    assert etw_service.sessions == {}


# ---------------------------------------------------------------- interruptions


def interruptible_calls(service: EtwService, machine: Machine, folder: Path) -> int:
    """Return how many calls a short recording makes."""
    before = machine.calls
    record(
        CaptureOptions(seconds=0.05),
        folder / "count.regtrace",
        stop=threading.Event(),
        service=machine.service(),
    )
    return machine.calls - before


@pytest.mark.parametrize("seed", range(50))
def test_an_interrupt_at_any_step_leaves_no_session_and_no_half_capture(
    etw_service, machine, tmp_path, monkeypatch, seed
):
    at, count = random.Random(seed).randrange(1, 45), 0

    def step(what):
        nonlocal count
        count += 1
        if count == at:
            raise KeyboardInterrupt

    def between(method):
        def call(*arguments):
            step("before")
            answer = method(*arguments)
            step("after")  # it was done, and nobody was told
            return answer

        return call

    for name in ("start", "enable", "counters", "stop"):
        monkeypatch.setattr(session.Session, name, between(getattr(session.Session, name)))
    machine.before_call = step
    target = tmp_path / "live.regtrace"
    try:
        record(
            CaptureOptions(seconds=0.02),
            target,
            stop=threading.Event(),
            progress=step,
            service=machine.service(),
        )
    except KeyboardInterrupt:
        pass
    else:
        assert target.exists()
    assert etw_service.sessions == {}, f"step {at}"
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".partial")] == []
    assert list((tmp_path / "state" / "regtrace").glob("*")) == []
    if target.exists():
        assert Manifest.load(target)


@pytest.mark.slow
def test_stop_at_any_moment_leaves_a_valid_capture(etw_service, machine, tmp_path):
    chance = random.Random(6)
    calls = interruptible_calls(etw_service, machine, tmp_path)
    for number in range(50):
        stop, at, count = threading.Event(), chance.randrange(1, calls + 1), 0

        def stopping(what, at=at, stop=stop):
            nonlocal count
            count += 1
            if count == at:
                stop.set()

        machine.before_call = stopping
        target = tmp_path / f"{number}.regtrace"
        record(CaptureOptions(seconds=0.05), target, stop=stop, service=machine.service())
        machine.before_call = None
        assert etw_service.sessions == {}
        assert Manifest.load(target).complete


# ---------------------------------------------------------------- failures


def refusal(machine: Machine, target: Path, kind: type[RegtraceError] = RegtraceError, **options) -> str:
    with pytest.raises(kind) as caught:
        record(CaptureOptions(**options), target, stop=threading.Event(), service=machine.service())
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


def test_without_elevation_one_sentence_says_how_to_get_it(etw_service, machine, tmp_path):
    etw_service.elevated = False
    assert "administrator" in refusal(machine, tmp_path / "live.regtrace", NotElevated).lower()
    assert etw_service.sessions == {}
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


def test_no_free_session_is_one_sentence(etw_service, machine, tmp_path):
    etw_service.limit = 1
    etw_service.start_foreign("somebody")
    refusal(machine, tmp_path / "live.regtrace", SessionLimit)
    assert {*etw_service.sessions} == {"somebody"}


def test_room_for_one_session_only_leaves_none_of_ours(etw_service, machine, tmp_path):
    etw_service.limit = 2
    etw_service.start_foreign("somebody")
    refusal(machine, tmp_path / "live.regtrace", SessionLimit)
    assert {*etw_service.sessions} == {"somebody"}


@pytest.mark.parametrize("after", [0, 1])
def test_a_provider_that_cannot_be_enabled_leaves_no_session(etw_service, machine, tmp_path, after):
    etw_service.fail("EnableTraceEx2", 1450, times=3, after=after)
    refusal(machine, tmp_path / "live.regtrace")
    assert etw_service.sessions == {}
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


@pytest.mark.parametrize("code", [112, 161, 5, 87, 32])
def test_whatever_starting_says_no_session_is_left(etw_service, machine, tmp_path, code):
    etw_service.fail("StartTraceW", code, times=1, after=1)
    refusal(machine, tmp_path / "live.regtrace")
    assert etw_service.sessions == {}


def test_no_disk_space_is_said_before_anything_is_started(etw_service, machine, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "tracer.recording.recorder.shutil.disk_usage", lambda _: type("Usage", (), {"free": 100 << 20})()
    )
    assert "100 MB free" in refusal(machine, tmp_path / "live.regtrace", TargetError)
    assert not [call for call in etw_service.calls if call[0] == "StartTraceW"]


def test_an_existing_capture_is_not_recorded_over(etw_service, machine, tmp_path):
    (tmp_path / "live.regtrace").mkdir()
    assert "--force" in refusal(machine, tmp_path / "live.regtrace", TargetError)


def test_a_capture_is_not_named_as_a_trace(etw_service, machine, tmp_path):
    assert "NAME.regtrace" in refusal(machine, tmp_path / "live.etl", TargetError)


def test_an_existing_trace_file_is_not_recorded_over(etw_service, machine, tmp_path):
    (tmp_path / "live.etl").write_bytes(b"precious")
    assert "--force" in refusal(machine, tmp_path / "live.regtrace", TargetError)
    assert (tmp_path / "live.etl").read_bytes() == b"precious"
    assert etw_service.sessions == {}


def test_a_program_that_does_not_exist_starts_nothing(etw_service, machine, tmp_path):
    assert "no-such-program" in refusal(
        machine, tmp_path / "live.regtrace", UsageError, command=("no-such-program",)
    )
    assert not [call for call in etw_service.calls if call[0] == "StartTraceW"]


def test_a_trace_that_cannot_be_made_a_capture_is_kept_and_named(
    etw_service, machine, trace, tmp_path, monkeypatch
):
    def refuse(*_, **__):
        raise TargetError("the disk refuses")

    monkeypatch.setattr("tracer.recording.capture.ingest", refuse)
    stop = threading.Event()
    with pytest.raises(TargetError, match=r"live\.etl.*makes a capture"):
        record(
            CaptureOptions(), tmp_path / "live.regtrace", stop=stop,
            progress=once_recording(lambda: etw_service.play(trace), stop), service=machine.service(),
        )  # fmt: skip
    assert (tmp_path / "live.etl").stat().st_size
    assert etw_service.sessions == {}


@pytest.mark.parametrize("name", ["regtrace-capture", "regtrace-processes"])
def test_a_recording_of_somebody_else_is_named_and_left_alone(etw_service, machine, tmp_path, name):
    etw_service.start_foreign(name, log_file="C:\\bob.etl")
    sentence = refusal(machine, tmp_path / "live.regtrace")
    assert f"'{name}', which writes C:\\bob.etl; its owner is unknown" in sentence
    assert f"regtrace sessions --stop {name}" in sentence
    assert {*etw_service.sessions} == {name}
    assert list((tmp_path / "state").glob("*/*")) == []


# ---------------------------------------------------------------- rings and the classic logger


def test_a_ring_in_memory_is_saved_at_the_end(etw_service, machine, trace, tmp_path):
    manifest = recorded(etw_service, machine, trace, tmp_path / "live.regtrace", ring_mib=64)
    assert manifest.totals["events"] == 3000
    assert manifest.settings["recording"]["seed"]["read"] == "end"


def test_a_ring_whose_session_somebody_stops_is_gone_in_one_sentence(etw_service, machine, tmp_path):
    def follow(status):
        if getattr(status, "phase", "") == "recording" and "regtrace-capture" in etw_service.sessions:
            etw_service.stop_externally("regtrace-capture")

    with pytest.raises(SourceError, match="the ring in memory is lost"):
        record(
            CaptureOptions(ring_mib=1), tmp_path / "live.regtrace", stop=threading.Event(), progress=follow,
            service=machine.service(),
        )  # fmt: skip
    assert etw_service.sessions == {}


@pytest.mark.slow
def test_a_ring_keeps_the_end(etw_service, machine, tmp_path):
    trace = make_trace(tmp_path / "sim.etl", events=30_000)
    manifest = recorded(
        etw_service, machine, trace, tmp_path / "live.regtrace", ring_mib=1, buffer_kib=64, buffers=2
    )
    assert 0 < manifest.totals["events"] < 30_000


def test_a_ring_in_a_file_is_circular(etw_service, machine, trace, tmp_path):
    manifest = recorded(
        etw_service, machine, trace, tmp_path / "live.regtrace", ring_mib=64, ring_on_disk=True
    )
    assert manifest.totals["events"] == 3000
    assert manifest.settings["recording"]["sessions"][0]["mode"] == "circular"


def test_the_classic_logger_is_made_to_name_its_blocks_at_start(etw_service, machine, tmp_path):
    trace = make_trace(tmp_path / "sim.etl", classic=True)
    manifest = recorded(etw_service, machine, trace, tmp_path / "live.regtrace", classic=True)
    assert etw_service.rundowns == 1
    assert manifest.settings["recording"]["rundown_at_start"] is True
    assert manifest.settings["recording"]["seed"] is None
    assert manifest.totals["events"] > 2000
