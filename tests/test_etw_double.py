"""The double of the tracing service keeps the documented rules, so that what passes with it means something."""

import ctypes
import struct
import threading
from pathlib import Path

import pytest
from etw_double import EtwService, etw_service
from etw_double_structures import read_ids
from etw_windows_types import wide

from tracer.live.options import LogMode, Provider, SessionOptions
from tracer.live.session_answer import FILE_NAME_AT, PROPERTIES_SIZE, WHOLE_SIZE, empty_properties
from tracer.session import Consumer, Session
from tracer.simulate.knobs import Knobs
from tracer.simulate.run import simulate

__all__ = ["etw_service"]
REGISTRY = "70eb4f03-c1de-4f73-a051-33d13d5413bd"
NAME = "regtrace-test"
MODE, LARGEST, CLOCK, FILE_AT, NAME_AT, SIZE, FLAGS, BUFFER = 64, 60, 40, 112, 116, 0, 44, 48


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
    simulate(path, Knobs(events=2000, foreign=0), truth=False)
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
