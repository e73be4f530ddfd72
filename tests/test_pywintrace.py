"""pywintrace 0.2.0, unmodified, against the double: what it has wrong, and that tracer.session.session does not.

Each fault is shown where that is cheap, so that a release that mends it is noticed.
"""

import ctypes
import gc
import importlib
import logging
import sys
import threading
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from etw_double import EtwService, etw_service

from tracer.errors import SessionError, SessionGone
from tracer.session.consumer import Consumer
from tracer.session.options import LogMode, Provider, SessionOptions
from tracer.session.raw_queue import RawQueue
from tracer.session.session import Session, pywintrace

__all__ = ["etw_service"]
REGISTRY = "70eb4f03-c1de-4f73-a051-33d13d5413bd"
NAME = "regtrace-test"
LIVE = SessionOptions(NAME, LogMode.REAL_TIME)


@pytest.fixture
def etw(etw_service: EtwService) -> Iterator[Any]:
    """The package itself; its threads may warn of isSet, and its root logger handler is taken away again."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield importlib.import_module("etw")
    root.handlers[:] = handlers
    root.setLevel(level)


def job(etw: Any, **more: Any) -> Any:
    return etw.ETW(session_name=NAME, providers=[etw.ProviderInfo("Registry", etw.GUID("{" + REGISTRY + "}"), any_keywords=0, all_keywords=0)],
                   event_callback=lambda _event: None, **more)  # fmt: skip


def consumers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("consumer of")]


# ---------------------------------------------------------------------- layouts

SIZES = {
    "GUID": 16, "EVENT_TRACE_PROPERTIES": 120, "EVENT_TRACE_HEADER": 48, "EVENT_TRACE": 88,
    "TRACE_LOGFILE_HEADER": 280, "EVENT_TRACE_LOGFILE": 448, "ENABLE_TRACE_PARAMETERS": 48,
    "EVENT_FILTER_DESCRIPTOR": 16, "EVENT_FILTER_HEADER": 24, "EVENT_DESCRIPTOR": 16, "EVENT_HEADER": 80,
    "ETW_BUFFER_CONTEXT": 4, "EVENT_RECORD": 112, "EVENT_HEADER_EXTENDED_DATA_ITEM": 16, "WNODE_HEADER": 48,
    "TIME_ZONE_INFORMATION": 172, "PROPERTY_DATA_DESCRIPTOR": 16, "EVENT_PROPERTY_INFO": 24,
    "TRACE_EVENT_INFO": 112,  # 136 with the array of one in the header; pywintrace has an array of none
}  # fmt: skip
OFFSETS = {
    ("EVENT_TRACE_PROPERTIES", "BufferSize"): 48, ("EVENT_TRACE_PROPERTIES", "LogFileMode"): 64,
    ("EVENT_TRACE_PROPERTIES", "EventsLost"): 88, ("EVENT_TRACE_PROPERTIES", "LoggerThreadId"): 104,
    ("EVENT_TRACE_PROPERTIES", "LogFileNameOffset"): 112, ("EVENT_TRACE_PROPERTIES", "LoggerNameOffset"): 116,
    ("WNODE_HEADER", "HistoricalContext"): 8, ("WNODE_HEADER", "Guid"): 24, ("WNODE_HEADER", "Flags"): 44,
    ("EVENT_TRACE_LOGFILE", "LoggerName"): 8, ("EVENT_TRACE_LOGFILE", "ProcessTraceMode"): 28,
    ("EVENT_TRACE_LOGFILE", "CurrentEvent"): 32, ("EVENT_TRACE_LOGFILE", "LogfileHeader"): 120,
    ("EVENT_TRACE_LOGFILE", "BufferCallback"): 400, ("EVENT_TRACE_LOGFILE", "EventRecordCallback"): 424,
    ("EVENT_TRACE_LOGFILE", "Context"): 440, ("TRACE_LOGFILE_HEADER", "BootTime"): 248,
    ("TRACE_LOGFILE_HEADER", "BuffersLost"): 276, ("EVENT_RECORD", "BufferContext"): 80,
    ("EVENT_RECORD", "ExtendedDataCount"): 84, ("EVENT_RECORD", "UserDataLength"): 86,
    ("EVENT_RECORD", "ExtendedData"): 88, ("EVENT_RECORD", "UserData"): 96, ("EVENT_RECORD", "UserContext"): 104,
    ("EVENT_HEADER", "TimeStamp"): 16, ("EVENT_HEADER", "EventDescriptor"): 40,
    ("EVENT_HEADER", "ActivityId"): 64, ("ENABLE_TRACE_PARAMETERS", "SourceId"): 12,
    ("ENABLE_TRACE_PARAMETERS", "EnableFilterDesc"): 32, ("ENABLE_TRACE_PARAMETERS", "FilterDescCount"): 40,
    ("EVENT_FILTER_DESCRIPTOR", "Size"): 8, ("EVENT_FILTER_DESCRIPTOR", "Type"): 12,
    ("EVENT_HEADER_EXTENDED_DATA_ITEM", "DataSize"): 6, ("EVENT_HEADER_EXTENDED_DATA_ITEM", "DataPtr"): 8,
}  # fmt: skip


def find_structure(name: str) -> Any:
    for module in ("evntrace", "evntcons", "evntprov", "wmistr", "common", "tdh", "GUID"):
        found = getattr(sys.modules[f"etw.{module}"], name, None)
        if found is not None:
            return found
    raise LookupError(name)


@pytest.mark.parametrize("name", SIZES)
def test_structures_have_the_sizes_of_64_bit_windows(etw: Any, name: str) -> None:
    assert ctypes.sizeof(find_structure(name)) == SIZES[name]


@pytest.mark.parametrize(("name", "field"), OFFSETS)
def test_fields_stand_where_64_bit_windows_has_them(etw: Any, name: str, field: str) -> None:
    assert getattr(find_structure(name), field).offset == OFFSETS[name, field]


def test_the_bytes_of_an_event_id_filter_are_those_of_the_documentation(etw: Any) -> None:
    made = sys.modules["etw.evntprov"].EVENT_FILTER_EVENT_ID(1, [5, 13])
    assert bytes(made._buf) == bytes.fromhex("0100 0200 0500 0d00")


# ---------------------------------------------------------------------- the double leaves nothing behind


def test_pywintrace_is_gone_and_ctypes_is_itself_after_the_double() -> None:
    before = ctypes.c_ulong, sys.modules["ctypes"], list(sys.meta_path)
    with pytest.MonkeyPatch.context() as patch:
        from etw_double import install

        install(patch)
        with Session(LIVE):
            assert "etw.evntrace" in sys.modules
    assert not [name for name in sys.modules if name == "etw" or name.startswith("etw.")]
    assert (ctypes.c_ulong, sys.modules["ctypes"], list(sys.meta_path)) == before


# ---------------------------------------------------------------------- the faults


def test_fault_1_pywintrace_does_not_notice_that_a_stream_cannot_be_opened(
    etw: Any, etw_service: EtwService
) -> None:
    etw_service.fail("OpenTraceW", 5)
    capture = job(etw)
    capture.start()  # no exception
    capture.consumer.process_thread.join(10)
    assert not capture.consumer.process_thread.is_alive()
    capture.stop()


def test_fault_1_a_stream_that_cannot_be_opened_or_read_is_an_error(etw_service: EtwService) -> None:
    with Session(LIVE):
        for function, code in (("OpenTraceW", 87), ("ProcessTrace", 6)):
            etw_service.fail(function, code)
            with pytest.raises(SessionError, match=r"cannot (open|read) the real-time stream"):
                Consumer(NAME).start()
    assert not consumers()


def test_fault_2_pywintrace_attaches_to_a_foreign_session_and_enables_nothing(
    etw: Any, etw_service: EtwService
) -> None:
    etw_service.start_foreign(NAME)
    capture = job(etw)
    capture.start()
    assert not etw_service.running(NAME)[0].providers
    capture.consumer.stop()
    assert etw_service.running(NAME)


def test_fault_2_a_clash_of_names_is_settled_or_said(
    etw_service: EtwService, monkeypatch: pytest.MonkeyPatch
) -> None:
    etw_service.start_foreign(NAME)
    with pytest.raises(SessionError, match="is running"):
        Session(replace(LIVE, takes_over=False)).start()
    with Session(LIVE) as session:
        session.enable(Provider(REGISTRY))
        assert session.left_over
        assert REGISTRY in etw_service.running(NAME)[0].providers
    monkeypatch.setattr("tracer.session.session.pause", lambda seconds: None)
    etw_service.fail("StartTraceW", 183, times=99)
    with pytest.raises(SessionError, match="still keeps the name"):
        Session(LIVE).start()


def test_fault_3_pywintrace_leaks_the_session_when_enabling_fails(etw: Any, etw_service: EtwService) -> None:
    etw_service.fail("EnableTraceEx2", 5)
    capture = job(etw)
    with pytest.raises(PermissionError):
        capture.start()
    assert etw_service.running(NAME)
    with pytest.raises(AttributeError):
        capture.stop()


def test_fault_3_a_failing_enable_stops_the_session(etw_service: EtwService) -> None:
    etw_service.fail("EnableTraceEx2", 1450, after=1)
    session = Session(LIVE)
    session.start()
    session.enable(Provider(REGISTRY))
    with pytest.raises(SessionError):
        session.enable(Provider("22fb2cd6-0e7b-422b-a0c7-2fad1fd0e716"))
    assert not session.running
    assert not etw_service.sessions


def test_fault_3_a_provider_that_is_no_guid_stops_the_session(etw_service: EtwService) -> None:
    session = Session(LIVE)
    session.start()
    with pytest.raises((ValueError, OSError)):
        session.enable(Provider("not a guid"))
    assert not etw_service.sessions


def test_fault_4_pywintrace_reports_success_for_a_second_start_after_a_failure(
    etw: Any, etw_service: EtwService
) -> None:
    etw_service.fail("StartTraceW", 112)
    capture = job(etw)
    with pytest.raises(OSError):
        capture.start()
    capture.start()
    assert not etw_service.sessions


def test_fault_4_a_start_after_a_failed_one_really_starts(etw_service: EtwService) -> None:
    etw_service.fail("StartTraceW", 112)
    session = Session(LIVE)
    with pytest.raises(SessionError, match="disk has not the room"):
        session.start()
    assert not session.running
    session.start()
    assert etw_service.running(NAME)
    session.stop()


def test_fault_5_pywintrace_leaves_a_thread_when_the_session_was_stopped_by_another(
    etw: Any, etw_service: EtwService
) -> None:
    etw_service.second_process_trace = 6
    capture = job(etw)
    capture.start()
    etw_service.stop_externally(NAME)
    with pytest.raises(OSError):
        capture.stop()
    assert not capture.consumer.end_capture.is_set() or not capture.consumer.process_thread.daemon
    capture.consumer.stop()


def test_fault_5_a_session_stopped_by_another_leaves_no_thread(etw_service: EtwService) -> None:
    session = Session(LIVE)
    session.start()
    consumer = Consumer(NAME)
    consumer.start()
    assert all(thread.daemon for thread in consumers())
    etw_service.stop_externally(NAME)
    session.stop()
    consumer.stop()
    assert session.ended_by_other
    assert not consumers()


def test_fault_6_pywintrace_closes_the_handle_of_the_session(etw: Any, etw_service: EtwService) -> None:
    capture = job(etw)
    capture.start()
    (running,) = etw_service.running(NAME)
    capture.stop()
    assert ("CloseTrace", running.number) in etw_service.calls


def test_fault_6_only_handles_of_streams_are_closed(etw_service: EtwService) -> None:
    session = Session(LIVE)
    session.start()
    consumer = Consumer(NAME)
    consumer.start()
    opened = list(etw_service.traces)
    session.stop()
    consumer.stop()
    assert [what for name, what in etw_service.calls if name == "CloseTrace"] == opened


def test_fault_7_a_stream_is_processed_once(etw_service: EtwService) -> None:
    with Session(LIVE):
        consumer = Consumer(NAME)
        consumer.start()
    while consumer.take(5) is not None:
        pass
    consumer.stop()
    assert [name for name, _ in etw_service.calls].count("ProcessTrace") == 1


def test_fault_7_pywintrace_calls_processtrace_again_and_again(etw: Any, etw_service: EtwService) -> None:
    capture = job(etw)
    capture.start()
    again = threading.Event()
    count = iter(range(100))
    etw_service._ProcessTrace = lambda *_: (next(count, None) is None and again.set()) or 0  # type: ignore[method-assign]
    etw_service.stop_externally(NAME)
    assert again.wait(10)
    capture.consumer.stop()


def test_fault_8_pywintrace_says_nothing_lost_of_a_session_that_is_not_there(etw: Any) -> None:
    assert job(etw).query().EventsLost == 0


def test_fault_8_a_session_that_is_not_there_has_no_counters(etw_service: EtwService) -> None:
    session = Session(LIVE)
    session.start()
    etw_service.stop_externally(NAME)
    for ask in (session.counters, session.flush, lambda: Session.attach(NAME)):
        with pytest.raises(SessionGone):
            ask()
    etw_service.fail("ControlTraceW", 31)
    with Session(LIVE) as other, pytest.raises(SessionError, match="Windows error 31"):
        other.counters()


def test_fault_9_exceptions_in_the_callback_are_counted_and_stop_nothing(
    etw_service: EtwService, monkeypatch: pytest.MonkeyPatch
) -> None:
    def explode(*_arguments: object) -> None:
        raise RuntimeError("in the callback")

    unraised: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", unraised.append)
    real = RawQueue.on_record
    monkeypatch.setattr(RawQueue, "on_record", lambda self, at: real(self, at, copy=explode))
    with Session(LIVE):
        consumer = Consumer(NAME)
        consumer.start()
        consumer.stop()
    assert consumer.failures == 1  # the header event
    assert not unraised


def test_fault_10_importing_pywintrace_sets_up_the_root_logger_and_we_undo_it(
    etw_service: EtwService, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    level = root.level
    pywintrace()
    assert (root.handlers, root.level) == ([], level)
    for name in [name for name in sys.modules if name == "etw" or name.startswith("etw.")]:
        del sys.modules[name]
    importlib.import_module("etw")
    assert root.handlers
    root.setLevel(level)


def test_fault_11_its_callback_helper_cannot_be_used_and_we_do_not(etw: Any) -> None:
    with pytest.raises((ImportError, AttributeError)):
        etw.on_event_callback((1, {}))
    ours = "".join(p.read_text(encoding="utf-8") for p in sorted(Path("tracer").rglob("*.py")))
    assert "on_event_callback" not in ours


def test_fault_12_its_decoding_makes_text_of_every_number(
    etw: Any, etw_service: EtwService, tmp_path: Path
) -> None:
    from tracer.simulate.options import SimulationOptions
    from tracer.simulate.run import simulate

    simulate(tmp_path / "some.etl", SimulationOptions(events=50, foreign=0), truth=False)
    decoded: list[dict[str, Any]] = []
    capture = job(etw)
    capture.event_callback = lambda event: decoded.append(event[1])
    capture.start()
    etw_service.wait_for_consumer()
    etw_service.play(tmp_path / "some.etl")
    capture.stop()
    events = [event for event in decoded if "Status" in event]
    assert len(events) == 50
    assert all(isinstance(event["Status"], str) for event in events)


@pytest.mark.parametrize("function", ["TdhGetEventInformation", "TdhGetProperty", "TdhFormatProperty"])
def test_faults_12_and_13_its_decoding_is_never_asked(
    etw_service: EtwService, tmp_path: Path, function: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tracer.simulate.options import SimulationOptions
    from tracer.simulate.run import simulate

    simulate(tmp_path / "some.etl", SimulationOptions(events=200, foreign=0), truth=False)
    asked: list[object] = []
    pywintrace()
    monkeypatch.setattr(sys.modules["etw.tdh"], function, lambda *arguments: asked.append(arguments))
    with Session(LIVE) as session:
        session.enable(Provider(REGISTRY))
        consumer = Consumer(NAME)
        consumer.start()
        etw_service.play(tmp_path / "some.etl")
        taken = consumer.take(5) or []
        consumer.stop()
    assert len(taken) == 201
    assert not asked


def test_fault_14_the_reason_of_a_failed_open_is_never_success(
    etw_service: EtwService, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Session(LIVE):
        etw_service.fail("OpenTraceW", 0)  # as if something had cleared the last error
        with pytest.raises(SessionError, match=r"rejected the settings|Windows error"):
            Consumer(NAME).start()


def test_fault_15_buffers_clock_and_flush_timer_are_set_by_us(etw_service: EtwService) -> None:
    with Session(LIVE):
        (ours,) = etw_service.running(NAME)
        assert (ours.buffer_kib, ours.smallest, ours.flush, ours.clock) == (256, 64, 1, 1)


def test_fault_15_pywintrace_asks_for_a_mebibyte_a_buffer_and_no_flush_timer(
    etw: Any, etw_service: EtwService
) -> None:
    capture = job(etw)
    capture.start()
    (theirs,) = etw_service.running(NAME)
    assert (theirs.buffer_kib, theirs.flush) == (1024, 0)
    capture.stop()


@pytest.mark.slow
def test_filters_of_pywintrace_are_freed_with_their_owner_so_we_keep_them(etw_service: EtwService) -> None:
    session = Session(LIVE)
    session.start()
    session.enable(Provider(REGISTRY, event_ids=(5, 13)))
    gc.collect()
    descriptor = next(
        item
        for reference in session._references
        if isinstance(reference, list)
        for item in reference
        if hasattr(item, "Ptr")
    )
    assert ctypes.string_at(descriptor.Ptr, descriptor.Size) == bytes.fromhex("0100 0200 0500 0d00")
    session.stop()


def test_names_of_keywords_that_windows_does_not_know_mean_every_event_so_we_pass_numbers(
    etw: Any, etw_service: EtwService
) -> None:
    guid = etw.GUID("{" + REGISTRY + "}")
    assert etw.ProviderInfo("Registry", guid, any_keywords=["SetValueKey"]).any_bitmask == 0
    with Session(LIVE) as session:
        session.enable(Provider(REGISTRY, any_keywords=0x100))
        assert etw_service.running(NAME)[0].providers[REGISTRY].any == 0x100
