"""The monitor: callbacks live get what a replay of the same trace gets, and nothing is left running, whatever fails."""

import dataclasses
import struct
import sys
import threading
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import etw_double
import pyarrow.parquet as pq
import pytest
from live_raw import raw_records

import regtrace as rt
from tracer.callbacks.notifications import Notification
from tracer.live.monitor import Monitor
from tracer.live.records import RawRecord
from tracer.registry.text import fold_name
from tracer.session.options import KEYWORDS, NAMING_KEYWORDS
from tracer.windows.machine_registry import current_control_set

OPTIONS: dict[str, dict[str, object]] = {
    "filled": {"option_word": 7},
    "bare": {"option_word": 0},
    "narrow": {"pointer_size": 4},
    "hostile": {"option_word": 7, "nul_names": 0.05, "surrogate_names": 0.05, "hostile_names": 0.1},
    "links": {"links": 0.3},
    "extended": {"extended": 0.3},
}


@pytest.fixture(scope="module", params=OPTIONS)
def traced(request, tmp_path_factory) -> Path:
    """The folder of a simulated trace, a.etl, and its capture, a.regtrace."""
    folder = tmp_path_factory.mktemp(request.param)
    summary = rt.simulate(
        folder / "a.etl", rt.SimulationOptions(**{"events": 3000, "seed": 11, **OPTIONS[request.param]})
    )
    rt.ingest(summary.path, folder / "a.regtrace")
    return folder


@pytest.fixture(scope="module")
def trace(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("trace")
    return rt.simulate(folder / "a.etl", rt.SimulationOptions(events=2000, seed=12, option_word=7)).path


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[etw_double.EtwService]:
    found = etw_double.install(monkeypatch)
    yield found
    assert found.errors == []
    assert found.running() == []
    assert monitor_threads() == []


def monitor_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "regtrace-monitor"]


@cache
def raw_of(trace: Path) -> list[RawRecord]:
    return list(raw_records(trace))


def batches(trace: Path, size: int = 333) -> list[list[RawRecord]]:
    raw = raw_of(trace)
    return [raw[start : start + size] for start in range(0, len(raw), size)]


def known_early(stored: list[Notification]) -> list[bool]:
    """Tell which rows have no name that only later evidence gave, which nobody can know live."""
    return [n.name_source not in ("later", "rundown", "partial", "none") for n in stored]


# --- live and replayed -------------------------------------------------------------------------------------


def test_live_and_replayed_notifications_have_equal_fields(traced):
    live: list[Notification] = []
    monitor = Monitor(source=batches(traced / "a.etl"))
    monitor.register(live.append)
    with monitor:
        monitor.wait(60)
    stored = list(rt.replay(traced / "a.regtrace"))
    assert len(live) == len(stored) == 3000
    early = known_early(stored)
    assert sum(early) > 2500
    assert [n for n, is_early in zip(live, early, strict=True) if is_early] == [
        n for n, is_early in zip(stored, early, strict=True) if is_early
    ]
    for a, b in zip(live, stored, strict=True):
        names = {"key": None, "display_key": None, "name_source": None, "flags": 0}
        assert dataclasses.replace(a, **names) == dataclasses.replace(b, **names)


@pytest.mark.parametrize("way", ["source", "service"])
def test_a_callback_on_one_key_fires_live_for_exactly_the_operations_of_the_truth(traced, service, way):
    truth = [line for line in pq.read_table(traced / "a.truth.parquet").to_pylist() if not line["lost"]]
    truth.sort(key=lambda line: line["ticks"])
    sources = [n.name_source for n in rt.replay(traced / "a.regtrace")]
    early = [
        line
        for line, source in zip(truth, sources, strict=True)
        if source not in ("later", "partial", "none")
    ]
    paths = [fold_name(line["path"]) for line in early if line["operation"] == "SetValueKey"]
    key = max(sorted(set(paths)), key=paths.count)
    got: list[Notification] = []
    source = (
        {"source": batches(traced / "a.etl", 100)} if way == "source" else {"snapshot": (), "seed": ([], [])}
    )
    monitor = Monitor(**source)
    monitor.register(got.append, key=key.replace("[", "[[]").replace("*", "[*]").replace("?", "[?]"))
    with monitor:
        if way == "source":
            monitor.wait(60)
        else:
            service.play(traced / "a.etl")
    expected = [line for line in early if fold_name(line["path"]) == key]
    assert len(expected) > 5
    assert [(n.time_ns, n.operation, n.tid, n.pid) for n in got] == [
        (line["time_ns"], line["operation"], line["tid"], line["pid"]) for line in expected
    ]


def test_through_the_tracing_service_callbacks_get_what_a_replay_gives(service, traced, monkeypatch):
    monkeypatch.setattr(
        "tracer.windows.machine_registry.current_control_set", lambda: None
    )  # nor does the ingest know it
    live: list[Notification] = []
    with Monitor(snapshot=(), seed=([], [])) as monitor:
        monitor.register(live.append)
        service.play(traced / "a.etl")
    assert not monitor.lost
    assert monitor.counters.events_lost == 0
    stored = list(rt.replay(traced / "a.regtrace"))
    assert len(live) == len(stored)
    early = known_early(stored)
    assert [n for n, is_early in zip(live, early, strict=True) if is_early] == [
        n for n, is_early in zip(stored, early, strict=True) if is_early
    ]


# --- filters of the monitor --------------------------------------------------------------------------------


def test_filters_of_the_monitor_narrow_every_callback(trace):
    everything: list[Notification] = []
    monitor = Monitor(source=batches(trace))
    monitor.register(everything.append)
    with monitor:
        monitor.wait(60)
    image = next(n.process for n in everything if n.operation == "SetValueKey")
    some: list[Notification] = []
    monitor = Monitor(["HKLM\\**"], [image.upper()], ["set", "DeleteValueKey"], source=batches(trace))
    monitor.register(some.append)
    with monitor:
        monitor.wait(60)
    assert some == [
        n
        for n in everything
        if n.display_key and n.display_key.startswith("HKLM\\") and n.process == image
        if n.operation in ("SetValueKey", "DeleteValueKey")
    ]
    assert some


def test_the_provider_is_asked_for_what_is_wanted_and_for_what_names_need(service):
    with Monitor(operation="set,delete", option_word=3, snapshot=(), seed=([], [])):
        [session] = service.running()
        asked = {guid: enabled.any for guid, enabled in session.providers.items()}
    wanted = NAMING_KEYWORDS | KEYWORDS["SetValueKey"] | KEYWORDS["DeleteKey"] | KEYWORDS["DeleteValueKey"]
    assert asked["70eb4f03-c1de-4f73-a051-33d13d5413bd"] == wanted
    assert "22fb2cd6-0e7b-422b-a0c7-2fad1fd0e716" in asked
    assert service.option_words == {"70eb4f03-c1de-4f73-a051-33d13d5413bd": 3}


def test_the_current_control_set_is_shown_and_matched(trace):
    got: list[Notification] = []
    monitor = Monitor(source=batches(trace), control_set=1)
    monitor.register(got.append, key="HKLM\\SYSTEM\\CurrentControlSet\\**")
    with monitor:
        monitor.wait(60)
    assert {n.display_key.split("\\")[2] for n in got} == {"CurrentControlSet"}
    assert any("\\CONTROLSET001" in n.key.upper() for n in got)


@pytest.mark.parametrize(
    "wrong",
    [
        {"operation": "rename"},
        {"operation": ["set", "nothing"]},
        {"key": "C:\\x"},
    ],
)
def test_a_mistake_is_told_before_anything_starts(wrong):
    with pytest.raises(rt.UsageError):
        Monitor(**wrong)


def test_a_seed_names_what_was_open_before(tmp_path):
    options = rt.SimulationOptions(events=3000, seed=4, preopened=500, option_word=0, seed_table=True)
    summary = rt.simulate(tmp_path / "a.etl", options)
    seed = pq.read_table(summary.seed)
    addresses = [address & (1 << 64) - 1 for address in seed["address"].to_pylist()]
    got: list[Notification] = []
    monitor = Monitor(source=batches(summary.path), seed=(addresses, seed["path"].to_pylist()))
    monitor.register(got.append)
    with monitor:
        monitor.wait(60)
    rt.ingest(summary.path, tmp_path / "a.regtrace", seed=summary.seed)
    stored = list(rt.replay(tmp_path / "a.regtrace"))
    seeded = [place for place, n in enumerate(stored) if n.name_source == "seed"]
    assert len(seeded) > 100
    assert [got[place] for place in seeded] == [stored[place] for place in seeded]


# --- callbacks ---------------------------------------------------------------------------------------------


def test_callbacks_registered_elsewhere_serve_live_and_in_a_replay(trace, tmp_path):
    got: list[int] = []
    callbacks = rt.Registrations()
    callbacks.register(lambda n: got.append(n.sequence), notify=rt.Notify.PostSetValueKey)
    with Monitor(source=batches(trace), registrations=callbacks) as monitor:
        monitor.wait(60)
    live = list(got)
    got.clear()
    rt.ingest(trace, tmp_path / "a.regtrace")
    assert [n.sequence for n in rt.replay(tmp_path / "a.regtrace", callbacks)] == got == live != []


def test_a_failing_callback_is_counted_and_the_others_go_on(trace):
    def failing(_: Notification) -> None:
        raise ValueError("broken")

    got: list[Notification] = []
    monitor = Monitor(source=batches(trace))
    cookie = monitor.register(failing, notify=rt.Notify.PostSetValueKey)
    monitor.register(got.append)
    with pytest.warns(RuntimeWarning) as said, monitor:
        assert monitor.wait(60)
    written = sum(n.operation == "SetValueKey" for n in got)
    assert monitor.failures == monitor[cookie].failures == written > 0
    assert isinstance(monitor[cookie].last_error, ValueError)
    assert len(got) == 2000
    first, last = (str(warning.message) for warning in said)
    assert "called on" in first
    assert f"in {written} of {written} calls" in last


class Waiting:
    """A source whose batches are given while it runs."""

    def __init__(self) -> None:
        self.dropped = self.failures = 0
        self.stops = 0
        self._batches: list[list[RawRecord]] = []
        self._news = threading.Condition()
        self._ended = False

    def give(self, batch: list[RawRecord]) -> None:
        with self._news:
            self._batches.append(batch)
            self._news.notify_all()

    def take(self, timeout: float) -> list[RawRecord] | None:
        with self._news:
            self._news.wait_for(lambda: self._batches or self._ended, timeout)
            if self._batches:
                return self._batches.pop(0)
            return None if self._ended else []

    def stop(self) -> None:
        with self._news:
            self.stops += 1
            self._ended = True
            self._news.notify_all()


def test_leaving_delivers_what_came_until_then(trace):
    source = Waiting()
    got: list[Notification] = []
    with Monitor(source=source) as monitor:
        monitor.register(got.append)
        for batch in batches(trace):
            source.give(batch)
    assert len(got) == 2000
    assert source.stops == 1


def test_waiting_ends_at_its_time_and_says_that_the_stream_did_not():
    with Monitor(source=Waiting()) as monitor:
        assert monitor.is_running
        assert monitor.wait(0.01) is False
        assert monitor.wait(0) is False
    assert not monitor.is_running
    assert monitor.wait() is True


def test_unregistering_inside_a_callback_takes_effect_at_once(trace):
    got: list[int] = []
    monitor = Monitor(source=batches(trace))

    def thrice(n: Notification) -> None:
        got.append(n.sequence)
        if len(got) == 3:
            monitor.unregister(cookie)

    cookie = monitor.register(thrice)
    with monitor:
        monitor.wait(60)
    assert len(got) == 3


def test_what_found_no_room_is_a_loss():
    source = Waiting()
    with_a_warning = pytest.warns(RuntimeWarning, match="6 records for which")
    with with_a_warning, Monitor(source=source) as monitor:
        assert not monitor.lost
        source.dropped = 5
        source.failures = 1
        assert (monitor.dropped, monitor.lost) == (6, True)


# --- nothing is left behind --------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "win32", reason="only Windows has a current control set")
def test_the_current_control_set_is_asked_of_the_system():
    number = current_control_set()
    assert number is not None
    assert number >= 1


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has what the message asks for")
def test_elsewhere_than_on_windows_one_sentence_says_so():
    monitor = Monitor()
    with pytest.raises(rt.PlatformError, match="a monitor needs Windows"), monitor:
        pytest.fail("entered")


def test_an_error_inside_the_block_ends_the_session(service):
    def fail() -> None:
        with Monitor(snapshot=(), seed=([], [])):
            assert len(service.running()) == 1
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()


@pytest.mark.parametrize(
    ("function", "code", "after"),
    [
        ("StartTraceW", 5, 0),
        ("StartTraceW", 1450, 0),
        ("EnableTraceEx2", 5, 0),
        ("EnableTraceEx2", 87, 1),
        ("OpenTraceW", 87, 0),
        ("ProcessTrace", 5, 0),
    ],
)
def test_whatever_fails_on_entering_leaves_no_session(service, function, code, after):
    service.fail(function, code, after=after)
    with pytest.raises(rt.RegtraceError) as told, Monitor(snapshot=(), seed=([], [])):
        pytest.fail("entered")
    assert "\n" not in str(told.value)


def test_a_session_that_somebody_else_stops_ends_the_wait(service, trace):
    got: list[Notification] = []
    last_second = pytest.warns(RuntimeWarning, match="not known what the session lost in its last second")
    with last_second, Monitor(snapshot=(), seed=([], [])) as monitor:
        monitor.register(got.append)
        service.play(trace)
        service.stop_externally(monitor.session_name)
        assert monitor.wait(30)
    assert len(got) == 2000
    assert monitor.ended_by_other


def test_a_callback_that_hangs_does_not_keep_the_monitor_and_is_the_last_to_be_called(trace, monkeypatch):
    monkeypatch.setattr("tracer.live.monitor._PATIENCE", 0.05)
    monkeypatch.setattr("tracer.live.monitor._LAST_TURN", 0.05)
    began, release, calls = threading.Event(), threading.Event(), []

    def hang(n: Notification) -> None:
        calls.append(n)
        began.set()
        release.wait(30)

    monitor = Monitor(source=batches(trace))
    monitor.register(hang)
    with pytest.warns(RuntimeWarning, match="records not delivered"), monitor:
        assert began.wait(30)
    [thread] = monitor_threads()
    release.set()
    thread.join(30)
    assert not thread.is_alive()
    assert len(calls) == 1


def test_losses_of_the_session_are_seen(service, trace):
    lossy = pytest.warns(RuntimeWarning, match="7 events lost by the session")
    with lossy, Monitor(snapshot=(), seed=([], [])) as monitor:
        service.play(trace)
        service.lose(events=7)
    assert monitor.counters.events_lost == 7
    assert monitor.lost


def test_a_stream_that_breaks_is_told_when_waiting_and_when_leaving():
    class Broken(Waiting):
        def take(self, timeout: float) -> list[RawRecord] | None:
            raise struct.error("odd")

    source = Broken()
    with pytest.raises(rt.RegtraceError, match="odd"), Monitor(source=source) as monitor:
        monitor.wait(30)
    assert source.stops == 1
    source = Broken()
    with pytest.raises(rt.RegtraceError, match="odd"), Monitor(source=source):
        pass


def test_an_error_of_the_block_is_not_hidden_by_one_of_leaving():
    class Stubborn(Waiting):
        def stop(self) -> None:
            super().stop()
            raise OSError("no")

    with pytest.raises(ZeroDivisionError), Monitor(source=Stubborn()):
        raise ZeroDivisionError
    with pytest.raises(OSError, match="no"), Monitor(source=Stubborn()):
        pass


def test_a_monitor_is_used_once(trace):
    monitor = Monitor(source=batches(trace))
    with monitor:
        monitor.wait(60)
    with pytest.raises(rt.UsageError, match="was used before; make a new one"):
        monitor.__enter__()


def test_what_cannot_be_asked_is_noted_and_no_reason_to_stop(service, monkeypatch):
    def refused() -> None:
        raise rt.PlatformError("no handle table here")

    monkeypatch.setattr("tracer.windows.handle_table.read_handle_table", refused)
    monkeypatch.setattr("tracer.windows.process_snapshot.snapshot_processes", refused)
    with Monitor() as monitor:
        assert len(monitor.notes) == 2
        assert all("no handle table here" in note for note in monitor.notes)
