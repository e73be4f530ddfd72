"""Sessions against the double of the tracing service: what starts is stopped, and every refusal is one sentence."""

import atexit
import logging
import os
import struct
import threading
import uuid
from dataclasses import replace
from pathlib import Path

import pytest
from etw_double import EtwService, etw_service

from tracer.diagnostics import Diagnostics
from tracer.errors import NotElevated, PlatformError, SessionError, SessionGone, SessionLimit
from tracer.etl.reader import EtlReader
from tracer.session import session as session_module
from tracer.session.consumer import Consumer
from tracer.session.options import CLASSIC_FLAGS, LogMode, Provider, SessionOptions, keyword_mask
from tracer.session.owners import own_session_guid
from tracer.session.session import Session, list_sessions, require_windows, stop_session
from tracer.simulate.options import SimulationOptions
from tracer.simulate.run import simulate
from tracer.windows import exit_handlers

__all__ = ["etw_service"]
REGISTRY = "70eb4f03-c1de-4f73-a051-33d13d5413bd"
NAME = "regtrace-test"
LIVE = SessionOptions(NAME, LogMode.REAL_TIME)


@pytest.fixture(scope="module")
def etl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("simulated") / "small.etl"
    simulate(path, SimulationOptions(events=3000, foreign=0), truth=False)
    return path


def to_file(path: Path, **more: object) -> SessionOptions:
    return SessionOptions(NAME, LogMode.SEQUENTIAL, log_file=path, **more)  # type: ignore[arg-type]


def records_in(path: Path) -> list[tuple[int, str, int, int, bytes]]:
    """Time, provider, id, pid and payload of every event in a file, as the reader has them."""
    found = []
    with EtlReader([path], [Diagnostics()]) as reader:
        for records in reader:
            found += [
                (
                    int(records.time_ns[row]), reader.providers[records.provider[row]], int(records.id[row]),
                    int(records.pid[row]), records.raw[records.payload[row] : records.end[row]].tobytes(),
                )
                for row in records.order.tolist()
                if records.kind[row] in (0x12, 0x13)
            ]  # fmt: skip
    return found


# ---------------------------------------------------------------------- starting and stopping


def test_a_session_runs_from_start_to_stop(etw_service: EtwService) -> None:
    session = Session(LIVE)
    session.start()
    assert session.running
    assert [status.name for status in list_sessions()] == [NAME]
    session.stop()
    assert not session.running
    assert not etw_service.sessions


def test_the_properties_asked_for_are_those_that_windows_gets(
    etw_service: EtwService, tmp_path: Path
) -> None:
    options = SessionOptions(
        NAME, LogMode.CIRCULAR, log_file=tmp_path / "ring.etl", largest_mib=64, buffer_kib=128,
        smallest_count=8, largest_count=40, flush_seconds=2,
    )  # fmt: skip
    with Session(options):
        (found,) = etw_service.running()
        assert (found.name, found.log_file) == (NAME, str(tmp_path / "ring.etl"))
        assert (found.mode, found.largest_mib, found.buffer_kib) == (2, 64, 128)
        assert (found.smallest, found.largest, found.flush, found.clock) == (8, 40, 2, 1)
        (status,) = list_sessions()
        assert (status.log_file, status.buffer_kib, status.mode) == (str(tmp_path / "ring.etl"), 128, 2)
        assert status.is_ours


def test_a_leftover_of_our_name_is_stopped_and_the_start_tried_again(etw_service: EtwService) -> None:
    etw_service.start_foreign(NAME)
    session = Session(LIVE)
    session.start()
    assert session.left_over
    assert [call for call in etw_service.calls if call[0] == "StartTraceW"] == [("StartTraceW", NAME)] * 2
    session.stop()
    assert not etw_service.sessions


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses that were made, without making them."""
    made: list[float] = []
    monkeypatch.setattr(session_module, "pause", made.append)
    return made


@pytest.mark.parametrize("takes_over", [True, False])
def test_a_name_that_is_taken_a_moment_longer_is_tried_again_after_pauses(
    etw_service: EtwService, pauses: list[float], takes_over: bool
) -> None:
    etw_service.linger_starts = 4
    with Session(LIVE):
        pass
    with Session(replace(LIVE, takes_over=takes_over)) as session:
        assert not session.left_over
    assert pauses == [0.1] * 3


def test_a_name_that_stays_taken_is_an_error_in_the_end(etw_service: EtwService, pauses: list[float]) -> None:
    etw_service.fail("StartTraceW", 183, times=99)
    with pytest.raises(SessionError, match="Windows still keeps the name") as caught:
        Session(LIVE).start()
    assert 0.5 < sum(pauses) <= 2
    assert "again" not in str(caught.value)


def test_a_session_that_somebody_may_use_is_not_taken_over(etw_service: EtwService) -> None:
    etw_service.start_foreign(NAME, log_file="C:\\Users\\bob\\a.etl", guid=str(own_session_guid()))
    with pytest.raises(
        SessionError, match=rf"bob.a\.etl; recording of process {os.getpid()}.* and runs; wait"
    ):
        Session(replace(LIVE, takes_over=False)).start()
    assert [s.log_file for s in etw_service.running()] == ["C:\\Users\\bob\\a.etl"]


def test_a_session_of_another_name_than_ours_is_never_started_or_stopped(etw_service: EtwService) -> None:
    etw_service.start_foreign("Somebody")
    with pytest.raises(SessionError, match="names of regtrace's sessions begin with 'regtrace-'"):
        Session(SessionOptions("Somebody", LogMode.REAL_TIME)).start()
    assert [s.name for s in etw_service.running()] == ["Somebody"]


def test_a_second_start_of_the_same_object_is_refused(etw_service: EtwService) -> None:
    with Session(LIVE) as session, pytest.raises(SessionError, match="was started before"):
        session.start()


def test_stopping_twice_gives_the_same_counters(etw_service: EtwService) -> None:
    session = Session(LIVE)
    session.start()
    etw_service.lose(events=5)
    first = session.stop()
    assert first.events_lost == 5
    assert session.stop() == first


def test_an_exception_in_the_block_stops_the_session(etw_service: EtwService) -> None:
    with pytest.raises(ZeroDivisionError), Session(LIVE):
        raise ZeroDivisionError
    assert not etw_service.sessions


def test_an_interrupt_right_after_windows_started_it_leaves_no_session(
    etw_service: EtwService, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = session_module.Answer
    interrupts = iter([KeyboardInterrupt()])

    def interrupted(raw: bytes) -> object:
        for interrupt in interrupts:
            raise interrupt
        return real(raw)

    monkeypatch.setattr(session_module, "Answer", interrupted)
    with pytest.raises(KeyboardInterrupt):
        Session(LIVE).start()
    assert ("StartTraceW", NAME) in etw_service.calls
    assert not etw_service.sessions


@pytest.mark.parametrize("call", range(1, 6))
def test_an_interrupt_at_any_call_leaves_no_session(
    etw_service: EtwService, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    real, left = session_module.pywintrace, iter([None] * (call - 1) + [KeyboardInterrupt()])

    def interrupted() -> object:
        if (interrupt := next(left, None)) is not None:
            raise interrupt
        return real()

    monkeypatch.setattr(session_module, "pywintrace", interrupted)

    def capture() -> None:
        with Session(LIVE) as session:
            session.enable(Provider(REGISTRY))
            session.counters()
            session.flush()

    with pytest.raises(KeyboardInterrupt):
        capture()
    assert exit_handlers._pending or not etw_service.sessions
    exit_handlers.run_all()  # as at the exit of the process
    assert not etw_service.sessions


def test_what_this_process_started_is_stopped_at_its_exit(
    etw_service: EtwService, monkeypatch: pytest.MonkeyPatch
) -> None:
    registered: list[object] = []
    monkeypatch.setattr(atexit, "register", registered.append)
    monkeypatch.setattr(atexit, "unregister", lambda _: None)
    Session(LIVE).start()
    assert len(registered) == 1
    registered[0]()  # type: ignore[operator]
    assert not etw_service.sessions


def test_a_session_left_to_itself_is_not_stopped_at_exit(etw_service: EtwService) -> None:
    session = Session(LIVE)
    session.start()
    session.leave()
    exit_handlers.run_all()
    assert etw_service.sessions
    assert Session.attach(NAME).stop().events_lost == 0
    assert not etw_service.sessions


def test_an_attached_session_can_be_asked_and_stopped(etw_service: EtwService) -> None:
    etw_service.start_foreign("regtrace-other")
    etw_service.lose(events=3)
    found = Session.attach("regtrace-other")
    assert found.counters().events_lost == 3
    found.stop()
    with pytest.raises(SessionGone):
        Session.attach("regtrace-other")


def test_a_session_is_stopped_by_its_name(etw_service: EtwService) -> None:
    etw_service.start_foreign("regtrace-orphan")
    etw_service.lose(events=2)
    assert stop_session("regtrace-orphan").events_lost == 2
    assert not etw_service.sessions
    with pytest.raises(SessionGone, match="no session of that name is running"):
        stop_session("regtrace-orphan")


def test_all_running_sessions_are_listed(etw_service: EtwService) -> None:
    names = [f"session {number}" for number in range(60)]
    for name in names:
        etw_service.start_foreign(name)
    assert [status.name for status in list_sessions()] == names
    assert not any(status.is_ours for status in list_sessions())


# ---------------------------------------------------------------------- counters, and what others do


def test_a_session_stopped_by_another_keeps_its_last_counters(etw_service: EtwService) -> None:
    session = Session(LIVE)
    session.start()
    etw_service.lose(events=7, buffers=2)
    known = session.counters()
    assert (known.events_lost, known.real_time_buffers_lost, known.lost) == (7, 2, True)
    etw_service.stop_externally(NAME)
    assert session.stop() == known
    assert session.ended_by_other


def test_no_counters_are_made_up_for_a_session_that_is_gone(etw_service: EtwService) -> None:
    session = Session(LIVE)
    session.start()
    etw_service.stop_externally(NAME)
    with pytest.raises(SessionGone):
        session.counters()
    assert session.ended_by_other


def test_a_later_session_of_the_same_name_is_not_ours(etw_service: EtwService) -> None:
    session = Session(LIVE)
    session.start()
    etw_service.stop_externally(NAME)
    etw_service.start_foreign(NAME)
    with pytest.raises(SessionGone, match="another one has its name"):
        session.counters()
    session.stop()
    assert [s.name for s in etw_service.running()] == [NAME]


# ---------------------------------------------------------------------- providers


def test_a_provider_is_enabled_with_its_option_word_and_filters(etw_service: EtwService) -> None:
    wanted = Provider(
        REGISTRY,
        keyword_mask(["SetValueKey"]),
        2,
        option_word=7,
        event_ids=(5, 13),
        stack_ids=(5,),
        properties=0x80,
    )
    with Session(LIVE) as session:
        session.enable(wanted)
    (call,) = [what for name, what in etw_service.calls if name == "EnableTraceEx2"]
    assert (call["guid"], call["level"], call["any"], call["all"]) == (REGISTRY, 2, 0x3101, 0)
    assert call["property"] == 0x84
    assert call["filters"] == {
        0: b"\7\0\0\0", 0x8000_0200: b"\1\0\2\0\5\0\15\0", 0x8000_1000: b"\1\0\1\0\5\0",
    }  # fmt: skip


def test_the_option_word_stays_after_the_session(etw_service: EtwService) -> None:
    with Session(LIVE) as session:
        session.enable(Provider(REGISTRY, option_word=3))
    assert etw_service.option_words == {REGISTRY: 3}


def test_where_windows_refuses_the_word_beside_filters_they_go_in_two_calls(etw_service: EtwService) -> None:
    etw_service.option_with_filters = False
    with Session(LIVE) as session:
        session.enable(Provider(REGISTRY, option_word=7, event_ids=(5,)))
        assert etw_service.option_words == {REGISTRY: 7}
        assert etw_service.running()[0].providers[REGISTRY].ids == {5}


def test_key_control_blocks_are_asked_for_by_clearing_and_setting_the_group_masks(
    etw_service: EtwService,
) -> None:
    options = SessionOptions(NAME, LogMode.REAL_TIME, classic_flags=CLASSIC_FLAGS)
    with Session(options) as session:
        assert session.request_rundown()
        assert etw_service.rundowns == 1
        assert etw_service.running()[0].flags == CLASSIC_FLAGS
        etw_service.fail("TraceSetInformation", 50)
        assert not session.request_rundown()


def test_a_session_of_manifest_providers_has_no_rundown(etw_service: EtwService) -> None:
    with Session(LIVE) as session:
        assert not session.request_rundown()


# ---------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("code", "kind", "exit_code", "words"),
    [
        (5, NotElevated, 5, "has administrator rights already"),
        (1314, NotElevated, 5, "SeSystemProfilePrivilege"),
        (1450, SessionLimit, 1, "logman query -ets"),
        (112, SessionError, 1, "free some space"),
        (32, SessionError, 1, "in use"),
        (3, SessionError, 1, "folder does not exist"),
        (24, SessionError, 1, "report this"),
        (50, SessionError, 1, "does not support"),
        (87, SessionError, 1, "rejected the settings"),
        (161, SessionError, 1, "choose another file"),
        (234, SessionError, 1, "shorter path"),
        (31, SessionError, 1, "Windows error 31"),
    ],
)
@pytest.mark.parametrize("function", ["StartTraceW", "EnableTraceEx2"])
def test_every_refusal_is_one_sentence_and_leaks_no_session(
    etw_service: EtwService, function: str, code: int, kind: type[Exception], exit_code: int, words: str
) -> None:
    etw_service.fail(function, code, times=3)
    session = Session(LIVE)
    with pytest.raises(kind, match=words) as caught, session:
        session.enable(Provider(REGISTRY, option_word=7))
    assert "\n" not in str(caught.value)
    assert f"session '{NAME}'" in str(caught.value)
    assert caught.value.exit_code == exit_code  # type: ignore[attr-defined]
    assert not etw_service.sessions


def test_without_elevation_nothing_is_started(etw_service: EtwService) -> None:
    etw_service.elevated = False
    with pytest.raises(NotElevated, match="Run as administrator"):
        Session(LIVE).start()


def test_performance_log_users_may_start_but_not_trace_the_kernel(etw_service: EtwService) -> None:
    etw_service.elevated, etw_service.performance_log_user = False, True
    with pytest.raises(NotElevated, match="not enough"), Session(LIVE) as session:
        session.enable(Provider(REGISTRY))
    assert not etw_service.sessions


def test_the_sixty_fifth_session_finds_no_room(etw_service: EtwService) -> None:
    for number in range(64):
        etw_service.start_foreign(f"other {number}")
    with pytest.raises(SessionLimit, match="logman query -ets"):
        Session(LIVE).start()


def test_a_file_in_a_folder_that_is_missing_is_named(etw_service: EtwService, tmp_path: Path) -> None:
    with pytest.raises(SessionError, match="folder does not exist"):
        Session(to_file(tmp_path / "missing" / "x.etl")).start()


def test_a_path_too_long_for_tracing_is_refused_before_windows_is_asked(etw_service: EtwService) -> None:
    with pytest.raises(SessionError, match="choose a shorter path"):
        Session(to_file(Path("x" * 1100))).start()
    assert "StartTraceW" not in dict(etw_service.calls)


@pytest.mark.parametrize(
    "options",
    [
        SessionOptions(NAME, LogMode.CIRCULAR, log_file=Path("x.etl")),
        SessionOptions(NAME, LogMode.BUFFERING, log_file=Path("x.etl")),
        SessionOptions(NAME, LogMode.REAL_TIME, buffer_kib=20_000),
    ],
    ids=["circular without a size", "memory with a file", "buffers too large"],
)
def test_settings_that_exclude_each_other_are_rejected(
    etw_service: EtwService, options: SessionOptions
) -> None:
    with pytest.raises(SessionError, match="rejected the settings"):
        Session(options).start()
    assert not etw_service.sessions


def test_on_another_system_everything_says_that_it_needs_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "is_supported", lambda: False)
    for call in (Session(LIVE).start, list_sessions, Consumer(NAME).start, lambda: stop_session(NAME)):
        with pytest.raises(PlatformError, match="needs Windows"):
            call()
    with pytest.raises(PlatformError) as caught:
        require_windows("capturing")
    assert str(caught.value).startswith("capturing needs Windows")
    assert caught.value.exit_code == 5


# ---------------------------------------------------------------------- files and memory


def test_a_file_session_that_wants_everything_gets_the_file_itself(
    etw_service: EtwService, etl: Path, tmp_path: Path
) -> None:
    with Session(to_file(tmp_path / "out.etl")) as session:
        for guid in sorted({record[1] for record in records_in(etl)}):
            session.enable(Provider(guid))
        etw_service.play(etl)
    assert (tmp_path / "out.etl").read_bytes() == etl.read_bytes()


def test_a_file_session_with_keywords_gets_a_genuine_file_of_those_records(
    etw_service: EtwService, etl: Path, tmp_path: Path
) -> None:
    with Session(to_file(tmp_path / "out.etl")) as session:
        session.enable(Provider(REGISTRY, keyword_mask(["SetValueKey"])))
        etw_service.play(etl)
        etw_service.lose(events=4)
    expected = [r for r in records_in(etl) if r[1] == REGISTRY and r[2] in (1, 2, 5, 13)]
    assert expected
    assert records_in(tmp_path / "out.etl") == expected
    with EtlReader([tmp_path / "out.etl"], [Diagnostics()]) as reader:
        assert reader.headers[0].events_lost == 4


def test_a_memory_session_is_saved_on_demand_and_goes_on(
    etw_service: EtwService, etl: Path, tmp_path: Path
) -> None:
    options = SessionOptions(NAME, LogMode.BUFFERING, buffer_kib=64, smallest_count=2)
    with Session(options) as session:
        session.enable(Provider(REGISTRY))
        etw_service.play(etl)
        session.save(tmp_path / "snapshot.etl")
        assert session.counters().events_lost == 0
    saved, whole = records_in(tmp_path / "snapshot.etl"), [r for r in records_in(etl) if r[1] == REGISTRY]
    assert 0 < len(saved) < len(whole)
    assert saved == whole[-len(saved) :]  # the newest that fit the memory


# ---------------------------------------------------------------------- real time


def test_raw_records_are_what_the_reader_reads_from_the_file(etw_service: EtwService, etl: Path) -> None:
    with Session(LIVE) as session:
        session.enable(Provider(REGISTRY))
        consumer = Consumer(NAME)
        consumer.start()
        etw_service.play(etl)
    taken = take_all(consumer)
    delivered = []
    for record, data, _ in taken[1:]:  # the first is the header event
        (flags,) = struct.unpack_from("<H", record, 4)
        pid, filetime, guid, number = struct.unpack_from("<Iq16sH", record, 12)
        assert flags & 0x40
        time_ns = (filetime - 116_444_736_000_000_000) * 100
        delivered.append((time_ns, str(uuid.UUID(bytes_le=guid)), number, pid, data))
    assert delivered == [r for r in records_in(etl) if r[1] == REGISTRY]
    assert (consumer.dropped, consumer.failures, consumer.status) == (0, 0, 0)


def take_all(consumer: Consumer) -> list:
    taken: list = []
    while (more := consumer.take(5)) is not None:
        taken += more
    consumer.stop()
    return taken


def test_extended_items_arrive_with_the_record(etw_service: EtwService, tmp_path: Path) -> None:
    from tracer.simulate.container import EtlWriter
    from tracer.simulate.headers import ExtendedItem

    items = ((2, b"\1\1\0\0\0\0\0\5\22\0\0\0"), (13, b"ABCDEFGH"), (6, bytes(range(40))))
    writer = EtlWriter(tmp_path / "items.etl")
    writer.add_record("event", ticks=writer.clock.start_ticks + 10, provider=REGISTRY, id_=5, payload=b"payload",
                      extended=tuple(ExtendedItem(kind, data) for kind, data in items))  # fmt: skip
    writer.finish()
    etw_service.header_event = False
    with Session(LIVE) as session:
        session.enable(Provider(REGISTRY))
        consumer = Consumer(NAME)
        consumer.start()
        etw_service.play(tmp_path / "items.etl")
    ((record, data, delivered),) = take_all(consumer)
    assert (data, delivered) == (b"payload", items)
    assert record[4] & 1  # EXTENDED_INFO


def test_memory_that_the_service_uses_again_is_never_seen(etw_service: EtwService, etl: Path) -> None:
    with Session(LIVE) as session:
        session.enable(Provider(REGISTRY))
        consumer = Consumer(NAME)
        consumer.start()
        etw_service.play(etl)  # it poisons every record with 0xDD after the callback
    assert all(b"\xdd" * 8 not in record + data for record, data, _ in take_all(consumer))


def test_what_finds_no_room_in_the_queue_is_counted(etw_service: EtwService, etl: Path) -> None:
    etw_service.header_event = False
    with Session(LIVE) as session:
        session.enable(Provider(REGISTRY))
        consumer = Consumer(NAME, most_bytes=100_000)
        consumer.start()
        offered = etw_service.play(etl)[NAME]
    taken = take_all(consumer)
    assert 0 < len(taken) < offered
    assert len(taken) + consumer.dropped == offered


def test_room_is_made_by_taking(etw_service: EtwService, etl: Path) -> None:
    etw_service.header_event = False
    with Session(LIVE) as session:
        session.enable(Provider(REGISTRY))
        consumer = Consumer(NAME, most_bytes=2_000_000)
        consumer.start()
        taken = 0
        for _ in range(4):
            etw_service.play(etl)
            taken += len(consumer.take(5) or [])
    assert (taken, consumer.dropped) == (12_000, 0)
    consumer.stop()


def test_the_stream_of_a_session_that_does_not_run_is_an_error_at_once(etw_service: EtwService) -> None:
    with pytest.raises(SessionGone, match="no session of that name is running"):
        Consumer(NAME).start()
    assert not [t for t in threading.enumerate() if t.name.startswith("consumer of")]


def test_a_stream_that_cannot_be_opened_is_an_error(etw_service: EtwService) -> None:
    etw_service.fail("OpenTraceW", 5)
    with Session(LIVE), pytest.raises((SessionError, NotElevated), match="cannot open the real-time stream"):
        Consumer(NAME).start()


def test_a_consumer_ends_when_somebody_else_stops_the_session(etw_service: EtwService) -> None:
    session = Session(LIVE)
    session.start()
    consumer = Consumer(NAME)
    consumer.start()
    etw_service.stop_externally(NAME)
    assert len(take_all(consumer)) == 1  # the header event
    assert session.stop().events_lost == 0
    assert consumer.status == 0


def test_a_stopped_consumer_leaves_no_thread_and_the_session_alone(etw_service: EtwService) -> None:
    with Session(LIVE):
        consumer = Consumer(NAME)
        consumer.start()
        consumer.stop()
        consumer.stop()
        assert consumer.take(0) is not None
        assert consumer.take(0) is None
        assert etw_service.sessions
    assert not [t for t in threading.enumerate() if t.name.startswith("consumer of")]


def test_waiting_for_records_ends_after_the_time_given(etw_service: EtwService) -> None:
    with Session(LIVE):
        consumer = Consumer(NAME)
        consumer.start()
        assert len(consumer.take(5) or []) == 1
        assert consumer.take(0.01) == []
        consumer.stop()


def test_records_of_a_slow_consumer_that_the_service_lost_are_in_the_counters(
    etw_service: EtwService, etl: Path
) -> None:
    with Session(
        SessionOptions(NAME, LogMode.REAL_TIME, buffer_kib=4, smallest_count=2, largest_count=4)
    ) as session:
        session.enable(Provider(REGISTRY))
        offered = etw_service.play(etl, wait=False)[NAME]  # nobody consumes
        lost = session.counters().events_lost
    assert lost > 0
    assert lost + offered == 3000


def test_using_a_session_leaves_the_root_logger_alone(
    etw_service: EtwService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    level = logging.getLogger().level
    with Session(LIVE):
        pass
    assert logging.getLogger().handlers == []
    assert logging.getLogger().level == level
