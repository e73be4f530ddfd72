"""The double of the tracing service keeps the documented rules, so that what passes with it means something."""

import ctypes
import os
import struct
import threading
from pathlib import Path

import pytest
from etw_double import EtwService, etw_service
from etw_double_records import Enabled
from etw_double_structures import read_ids
from etw_windows_types import wide

from tracer.errors import NotElevated, SessionLimit
from tracer.session.answer import FILE_NAME_AT, PROPERTIES_SIZE, WHOLE_SIZE, empty_properties
from tracer.session.consumer import Consumer
from tracer.session.options import LogMode, Provider, SessionOptions
from tracer.session.session import Session, list_sessions, stop_session
from tracer.simulate.options import SimulationOptions
from tracer.simulate.run import simulate

__all__ = ["etw_service"]
REGISTRY = "70eb4f03-c1de-4f73-a051-33d13d5413bd"
NAME = "regtrace-test"
MODE, LARGEST, CLOCK, FILE_AT, NAME_AT, SIZE, FLAGS, BUFFER = 64, 60, 40, 112, 116, 0, 44, 48
ENABLE_FLAGS = 72


def start(service: EtwService, name: str = NAME, file_name: str = "", **fields: int) -> int:
    """StartTraceW with properties of real time, changed by offset (as in _64=2)."""
    buffer = ctypes.create_string_buffer(empty_properties(with_file_name=bool(file_name)), WHOLE_SIZE)
    struct.pack_into("<I", buffer, MODE, 0x100)
    for offset, value in fields.items():
        struct.pack_into("<I", buffer, int(offset[1:]), value)
    raw = file_name.encode("utf-16-le")
    buffer[FILE_NAME_AT : FILE_NAME_AT + len(raw)] = raw
    handle = ctypes.c_uint64()
    text = wide(name)
    return service.functions["StartTraceW"](
        ctypes.addressof(handle), ctypes.addressof(text), ctypes.addressof(buffer)
    )


@pytest.mark.parametrize(
    ("fields", "file_name", "status"),
    [
        ({}, "", 0),
        ({f"_{SIZE}": PROPERTIES_SIZE - 1}, "", 24),
        ({f"_{SIZE}": PROPERTIES_SIZE + 8}, "", 24),
        ({f"_{NAME_AT}": 0}, "", 24),
        ({f"_{FLAGS}": 0}, "", 87),
        ({f"_{CLOCK}": 4}, "", 87),
        ({f"_{BUFFER}": 16_385}, "", 87),
        ({f"_{MODE}": 0}, "", 161),
        ({f"_{MODE}": 1}, "", 161),
        ({f"_{MODE}": 3}, "x.etl", 87),
        ({f"_{MODE}": 2}, "x.etl", 87),
        ({f"_{MODE}": 0x400}, "x.etl", 87),
        ({f"_{MODE}": 0x402, f"_{LARGEST}": 4}, "", 87),
        ({f"_{MODE}": 8, f"_{LARGEST}": 4}, "x.etl", 87),
    ],
)
def test_starting_keeps_the_rules_of_sizes_offsets_and_modes(
    etw_service: EtwService, fields: dict[str, int], file_name: str, status: int
) -> None:
    assert start(etw_service, file_name=file_name, **fields) == status
    assert len(etw_service.sessions) == (status == 0)


def test_names_are_taken_whatever_their_case(etw_service: EtwService) -> None:
    assert start(etw_service) == 0
    assert start(etw_service, NAME.upper()) == 183


@pytest.mark.parametrize("count", [0, 65])
def test_an_event_id_filter_has_one_to_sixty_four_ids(etw_service: EtwService, count: int) -> None:
    assert read_ids(struct.pack(f"<BBH{count}H", 1, 0, count, *range(count))) is None
    assert read_ids(b"\1\0\2\0\5\0") is None  # fewer than it says


@pytest.fixture(scope="module")
def etl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("simulated") / "small.etl"
    simulate(path, SimulationOptions(events=2000, foreign=0), truth=False)
    return path


def test_level_one_lets_failures_through_only(etw_service: EtwService, etl: Path) -> None:
    etw_service.header_event = False
    with Session(SessionOptions(NAME, LogMode.REAL_TIME)) as session:
        session.enable(Provider(REGISTRY, level=1))
        consumer = Consumer(NAME)
        consumer.start()
        offered = etw_service.play(etl)[NAME]
        taken = consumer.take(5) or []
        consumer.stop()
    assert 0 < offered < 2000
    assert len(taken) == offered
    assert all(record[44] <= 1 for record, _, _ in taken)  # EventDescriptor.Level


def test_what_is_played_faster_than_it_is_taken_is_lost_and_counted(
    etw_service: EtwService, etl: Path
) -> None:
    etw_service.header_event = False
    small = SessionOptions(NAME, LogMode.REAL_TIME, buffer_kib=4, smallest_count=2, largest_count=2)
    with Session(small) as session:
        session.enable(Provider(REGISTRY))
        offered = etw_service.play(etl, rate=1_000_000, wait=False)[NAME]
        lost = session.counters().events_lost
        consumer = Consumer(NAME)
        consumer.start()
        etw_service.drain()
        taken = consumer.take(5) or []
        consumer.stop()
    assert lost > 0
    assert len(taken) == offered == 2000 - lost


def test_a_played_file_reaches_every_session_that_asked_for_it(
    etw_service: EtwService, etl: Path, tmp_path: Path
) -> None:
    first = SessionOptions("regtrace-a", LogMode.SEQUENTIAL, log_file=tmp_path / "a.etl")
    second = SessionOptions("regtrace-b", LogMode.REAL_TIME)
    with Session(first) as one, Session(second) as other:
        one.enable(Provider(REGISTRY, event_ids=(5,)))
        other.enable(Provider(REGISTRY))
        consumer = Consumer("regtrace-b")
        consumer.start()
        offered = etw_service.play(etl)
        consumer.stop()
    assert offered["regtrace-b"] == 2000
    assert 0 < offered["regtrace-a"] < 2000


def test_no_thread_of_the_double_remains(etw_service: EtwService, etl: Path) -> None:
    before = threading.active_count()
    with Session(SessionOptions(NAME, LogMode.REAL_TIME)) as session:
        session.enable(Provider(REGISTRY))
        consumer = Consumer(NAME)
        consumer.start()
        etw_service.play(etl)
        consumer.stop()
    assert threading.active_count() == before


# ---------------------------------------------------------------------- rights, limits, files: each from its page


def control(service: EtwService, name: str, code: int = 0, handle: int = 0) -> int:
    """ControlTraceW by name, or by handle where the name is empty."""
    buffer = ctypes.create_string_buffer(empty_properties(), WHOLE_SIZE)
    text = wide(name)
    where = ctypes.addressof(text) if name else 0
    return service.functions["ControlTraceW"](handle, where, ctypes.addressof(buffer), code)


def listed(service: EtwService, most: int = 4) -> tuple[int, int]:
    """QueryAllTracesW: its status, and how many sessions it says there are."""
    buffers = [ctypes.create_string_buffer(empty_properties(), WHOLE_SIZE) for _ in range(most)]
    array, count = (ctypes.c_uint64 * most)(*map(ctypes.addressof, buffers)), ctypes.c_uint32(99)
    code = service.functions["QueryAllTracesW"](ctypes.addressof(array), most, ctypes.addressof(count))
    return code, count.value


def test_a_caller_without_rights_sees_fewer_sessions_and_may_ask_none(etw_service: EtwService) -> None:
    etw_service.start_foreign(NAME)
    etw_service.elevated = False
    assert listed(etw_service) == (0, 0)
    assert [control(etw_service, NAME, code) for code in (0, 1, 3)] == [5, 5, 5]
    assert control(etw_service, "nobody") == 4201
    etw_service.denied_before_lookup = True
    assert control(etw_service, "nobody") == 5
    etw_service.performance_log_user = True
    assert listed(etw_service) == (0, 1)
    assert control(etw_service, NAME) == 0
    assert etw_service.sessions


@pytest.mark.parametrize("most", [0, 65])
def test_a_list_has_no_more_places_than_sessions_are_possible(etw_service: EtwService, most: int) -> None:
    etw_service.largest_array = 64
    assert listed(etw_service, most)[0] == 87


def test_a_name_goes_before_a_handle(etw_service: EtwService) -> None:
    one, _ = etw_service.start_foreign(NAME), etw_service.start_foreign("other")
    assert control(etw_service, "other", 1, handle=one.number) == 0
    assert [session.name for session in etw_service.running()] == [NAME]
    assert control(etw_service, "") == 87


@pytest.mark.parametrize(
    ("change", "mode", "status"),
    [
        ({}, 1, 161),  # another session writes it, whatever the case of its name
        ({"locked_files": True}, 1, 32),
        ({"forbidden_folders": True}, 1, 5),
        ({"free_bytes": 199 << 20}, 1, 112),
        ({"free_bytes": 201 << 20}, 1, 0),
        ({"free_bytes": 201 << 20}, 0x100, 0),  # real time with a file
        ({"free_bytes": 201 << 20}, 0x104, 87),  # real time appends to none
    ],
)
def test_a_file_that_cannot_be_written_ends_the_start(
    etw_service: EtwService, tmp_path: Path, change: dict[str, object], mode: int, status: int
) -> None:
    path = tmp_path / "x.etl"
    if "locked_files" in change:
        etw_service.locked_files.add(str(path))
    elif "forbidden_folders" in change:
        etw_service.forbidden_folders.add(str(tmp_path))
    elif change:
        etw_service.free_bytes = change["free_bytes"]  # type: ignore[assignment]
    else:
        etw_service.start_foreign("other", log_file=str(path).upper())
    assert start(etw_service, file_name=str(path), **{f"_{MODE}": mode}) == status


def test_the_largest_size_of_a_file_must_be_free(etw_service: EtwService, tmp_path: Path) -> None:
    etw_service.free_bytes = 300 << 20
    path = str(tmp_path / "x.etl")
    assert start(etw_service, file_name=path, **{f"_{MODE}": 1, f"_{LARGEST}": 301}) == 112
    assert start(etw_service, file_name=path, **{f"_{MODE}": 1, f"_{LARGEST}": 299}) == 0


def test_a_sequential_file_of_its_largest_size_ends_its_session(
    etw_service: EtwService, etl: Path, tmp_path: Path
) -> None:
    path, kilobytes = tmp_path / "x.etl", 0x2000
    assert start(etw_service, file_name=str(path), **{f"_{MODE}": 1 | kilobytes, f"_{LARGEST}": 100}) == 0
    session = etw_service.running()[0]
    session.providers[REGISTRY] = Enabled(0xFF, 0, 0)
    etw_service.play(etl)
    assert etw_service.sessions == {}
    assert 90 << 10 < session.file_bytes <= 100 << 10


def test_eight_system_loggers_and_no_ninth(etw_service: EtwService) -> None:
    fields = {f"_{MODE}": 0x0200_0100, f"_{ENABLE_FLAGS}": 0x20000}
    assert [start(etw_service, f"logger {n}", **fields) for n in range(9)] == [0] * 8 + [1450]
    assert start(etw_service) == 0


def test_flags_of_the_kernel_want_the_right_to_profile(etw_service: EtwService) -> None:
    etw_service.profile_privilege = False
    assert start(etw_service, **{f"_{MODE}": 0x0200_0100, f"_{ENABLE_FLAGS}": 0x20000}) == 1314


def test_eight_sessions_share_a_provider_and_no_ninth(etw_service: EtwService) -> None:
    for number in range(8):
        etw_service.start_foreign(f"other {number}").providers[REGISTRY] = Enabled(0xFF, 0, 0)
    with Session(SessionOptions(NAME, LogMode.REAL_TIME)) as session, pytest.raises(SessionLimit):
        session.enable(Provider(REGISTRY))


@pytest.mark.skipif(os.name == "nt", reason="the double cannot set Windows' last error")
def test_nobody_reads_in_real_time_without_rights(etw_service: EtwService) -> None:
    etw_service.start_foreign(NAME)
    etw_service.elevated = False
    with pytest.raises(NotElevated):
        Consumer(NAME).start()


def test_real_time_that_nobody_reads_stops_the_file_too(
    etw_service: EtwService, etl: Path, tmp_path: Path
) -> None:
    etw_service.playback_bytes = 10 << 10
    assert start(etw_service, file_name=str(tmp_path / "x.etl"), **{f"_{MODE}": 0x101}) == 0
    session = etw_service.running()[0]
    session.providers[REGISTRY] = Enabled(0xFF, 0, 0)
    etw_service.play(etl, wait=False)
    written = session.file_bytes
    etw_service.play(etl, wait=False)
    assert session.backlog_bytes <= 10 << 10
    assert session.file_bytes == written
    assert session.events_lost > 2000
    etw_service.stop_externally(NAME)


def test_a_session_goes_on_for_other_processes_and_users(etw_service: EtwService) -> None:
    session = Session(SessionOptions(NAME, LogMode.REAL_TIME))
    session.start()
    session.leave()  # its process ends here
    etw_service.elevated, etw_service.performance_log_user = False, True  # and somebody else looks
    assert [status.name for status in list_sessions()] == [NAME]
    stop_session(NAME)
    assert not etw_service.sessions
