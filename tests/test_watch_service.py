"""`regtrace watch` on the double of the tracing service, through the unmodified pywintrace."""

import json
import signal
import threading
import time
from contextlib import contextmanager

import pytest
from etw_double import etw_service
from typer.testing import CliRunner

from analysis.filters import Filters
from analysis.open import open_capture
from cli.app import app
from cli.exits import Exit
from tracer.ingest.pipeline import ingest
from tracer.ingest.seed import read_seed
from tracer.live.row_filter import RowFilter
from tracer.live.watch import Watch
from tracer.simulate import SimulationOptions, simulate
from tracer.simulate.run import seed_path
from tracer.windows import handle_table, process_snapshot

__all__ = ["etw_service"]


@pytest.fixture
def service(etw_service, monkeypatch):
    monkeypatch.setattr(process_snapshot, "snapshot_processes", list)
    monkeypatch.setattr(
        "tracer.windows.machine_registry.current_control_set", lambda: None
    )  # an ingest is not told it either
    monkeypatch.setattr(
        handle_table, "read_handle_table", lambda: handle_table.HandleTable([], [], 0, 0.0, 0, 0, 0)
    )
    return etw_service


@pytest.fixture(scope="module")
def trace(tmp_path_factory):
    folder = tmp_path_factory.mktemp("service")
    simulate(folder / "a.etl", SimulationOptions(events=4000, extended=0.2, option_word=7, preopened=100, seed_table=True, foreign=0),
             truth=False)  # fmt: skip
    ingest([folder / "a.etl"], folder / "a.regtrace", seed=seed_path(folder / "a.etl"))
    return folder / "a.etl", folder / "a.regtrace"


@contextmanager
def meanwhile(service, act, *, interrupt=True):
    """Let `act` run beside the watch, once the watch is consuming its session; end with Ctrl-C where asked."""
    problems = []

    def run():
        try:
            end = time.monotonic() + 30
            while not any(trace.processing for trace in list(service.traces.values())):
                assert time.monotonic() < end, "nobody watches"
                threading.Event().wait(0.01)
            while len(service.option_words) == 0 and not any(s.providers for s in service.running()):
                assert time.monotonic() < end, "nothing was enabled"
                threading.Event().wait(0.01)
            act()
        except BaseException as error:  # noqa: BLE001  (told by the main thread)
            problems.append(error)
        finally:
            if interrupt or problems:
                signal.raise_signal(signal.SIGINT)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    yield
    thread.join(30)
    assert not problems, problems


def rows_of(result):
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.mark.slow
def test_a_watch_shows_every_operation_as_an_ingest_of_the_same_trace_does(service, trace, monkeypatch):
    etl, folder = trace
    addresses, paths = read_seed(seed_path(etl))
    table = handle_table.HandleTable(addresses, paths, 0, 0.0, len(paths), 0, 0)
    monkeypatch.setattr(handle_table, "read_handle_table", lambda: table)
    with meanwhile(service, lambda: service.play(etl)):
        result = CliRunner().invoke(app, ["watch", "-f", "jsonl"])
    assert result.exit_code == Exit.INTERRUPTED, result.stderr
    rows = rows_of(result)
    with open_capture(folder) as capture:
        stored = capture.timeline_reader(Filters()).read_all().to_pylist()
    assert len(rows) == len(stored)
    for live, true in zip(rows, stored, strict=True):
        for name in ("operation", "status", "status_name", "value_name", "pid", "tid", "data_size", "flags"):
            assert live[name] == true[name]
        assert live["data"] == (None if true["data"] is None else true["data"].hex())
        if true["name_source"] in ("event", "open", "seed"):
            assert (live["display_key"], live["name_source"]) == (true["display_key"], true["name_source"])
    assert service.sessions == {}
    assert "lost" not in result.stderr


def test_what_is_not_asked_for_is_not_even_recorded(service, trace):
    with meanwhile(service, lambda: service.play(trace[0])):
        result = CliRunner().invoke(app, ["watch", "-f", "jsonl", "--operation", "set"])
    with open_capture(trace[1]) as capture:
        wanted = capture.timeline_reader(Filters(operation="set")).read_all().num_rows
    assert {row["operation"] for row in rows_of(result)} == {"SetValueKey"}
    assert len(rows_of(result)) == wanted
    assert "shown" in result.stderr
    assert f"{wanted:,} shown" in result.stderr


def test_a_loss_of_the_service_is_told(service, trace):
    def act():
        service.play(trace[0])
        service.lose(events=17, buffers=3)

    with meanwhile(service, act):
        result = CliRunner().invoke(app, ["watch", "-f", "jsonl"])
    assert "lost 17 events" in result.stderr
    assert "3 whole buffers" in result.stderr


def test_a_session_that_is_stopped_from_outside_ends_the_watch(service, trace):
    def act():
        service.play(trace[0])
        service.stop_externally(service.running()[0].name)

    with meanwhile(service, act, interrupt=False):
        result = CliRunner().invoke(app, ["watch", "-f", "jsonl"])
    assert result.exit_code == Exit.ERROR
    assert "another program stopped the session" in result.stderr
    assert len(rows_of(result)) == 4000


def test_what_our_queue_has_no_room_for_is_counted_to_the_last_record(service, trace, monkeypatch):
    monkeypatch.setattr("tracer.live.watch.QUEUE_BYTES", 20_000)
    offered = []
    with Watch(RowFilter()) as running:
        offered.append(sum(service.play(trace[0]).values()))  # nobody takes meanwhile
        rows = sum(table.num_rows for table in running.finish())
        standing = running.status()
    assert standing.dropped > 0
    assert standing.is_lossy
    assert standing.received == offered[0] + 1  # the stream's header event
    assert rows == standing.events == standing.shown


@pytest.mark.parametrize("finishes", [False, True])
def test_a_watch_that_is_left_early_has_counted_what_the_service_delivered(service, trace, finishes):
    with Watch(RowFilter(operation="set")) as running:
        [session] = service.running()
        service.play(trace[0])
        next(running.batches())
        rows = sum(table.num_rows for table in running.finish()) if finishes else 0
    standing = running.status()
    assert standing.received == session.delivered + 1  # the stream's header event
    assert standing.shown >= rows
    ends = standing.shown + standing.filtered + standing.other + standing.undecoded
    assert ends + standing.dropped + standing.unread == standing.received
    assert (standing.unread == 0) == finishes
    assert standing.unknown == ()


@pytest.mark.parametrize("function", ["StartTraceW", "EnableTraceEx2"])
def test_a_refusal_is_one_sentence_and_leaves_no_session(service, function):
    service.fail(function, 5)
    result = CliRunner().invoke(app, ["watch", "-f", "jsonl"])
    assert result.exit_code == Exit.PLATFORM
    assert len(result.stderr.strip().splitlines()) == 1
    assert service.sessions == {}
