"""Readers that nobody here wrote read the simulator's files as they were meant."""

import struct
from itertools import pairwise
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from foreign_readers import (
    KERNEL_REGISTRY,
    dissect_records,
    dissect_registry_fields,
    etl_parser_records,
    etl_parser_registry_fields,
)

from tracer.registry.text import unescape_name
from tracer.simulate import Clock, EtlWriter, SimulationOptions, simulate, truth_path
from tracer.simulate.container import pack_buffer
from tracer.simulate.headers import EXTENDED_TYPES, HEADER_KINDS, ExtendedItem, build_record
from tracer.simulate.manifest import KEYWORDS
from tracer.simulate.xpress import compress

GUID = "12345678-9abc-def0-1122-334455667788"
OPENS = ("CreateKey", "OpenKey")


def truth_of(path: Path) -> list[dict]:
    return pq.read_table(truth_path(path)).to_pylist()


def check_fields(fields: dict, row: dict, pointer_size: int) -> None:
    """Compare a foreign reader's fields of one record with the truth."""
    mask = (1 << 8 * pointer_size) - 1
    word = row["option_word"]
    captures = word & 2 and row["status"] < 0x80000000
    assert fields["KeyObject"] == row["key_object"] & mask
    assert fields["Status"] == row["status"]
    if row["operation"] in OPENS:
        assert fields["BaseObject"] == row["base_object"] & mask
        assert fields["RelativeName"] == unescape_name(row["requested_name"])
        assert (fields["Disposition"] != 0) == (row["operation"] == "CreateKey" and row["status"] == 0)
    else:
        assert fields["KeyName"] == (unescape_name(row["path"]) if word & 1 else "")
    if row["value_name"] is not None:
        assert fields["ValueName"] == unescape_name(row["value_name"])
    if "CapturedData" in fields:
        data = (row["data"] or b"")[:2048] if captures else b""
        assert bytes(fields["CapturedData"]) == data
        assert fields["CapturedDataSize"] == len(data)
    if "PreviousData" in fields:
        previous = (row["previous_data"] or b"") if word & 4 else b""
        assert fields["PreviousDataSize"] == len(previous)
        assert bytes(fields["PreviousData"]) == previous[:2048]
    if row["operation"] == "SetValueKey":
        assert fields["DataSize"] == len(row["data"])


@pytest.mark.parametrize("pointer_size", [4, 8])
@pytest.mark.parametrize("word", [0, 7])
def test_dissect_reads_all_fifteen_events_field_by_field(
    tmp_path: Path, pointer_size: int, word: int
) -> None:
    path = tmp_path / "a.etl"
    simulate(
        path,
        SimulationOptions(events=4000, pointer_size=pointer_size, option_word=word, extended=0.2, reuse=0.5),
    )
    rows = {row["record_offset"]: row for row in truth_of(path)}
    seen = set()
    for record in dissect_records(path):
        if record.provider == KERNEL_REGISTRY:
            row = rows.pop(record.offset)
            assert record.header_type == HEADER_KINDS["event"][pointer_size == 8]
            assert (record.pid, record.tid, record.ticks, record.cpu, record.opcode) == (
                row["pid"], row["tid"], row["ticks"], row["cpu"], 31 + record.id)  # fmt: skip
            check_fields(dissect_registry_fields(record), row, pointer_size)
            seen.add(record.id)
    assert not rows
    assert seen == set(range(1, 16))


@pytest.mark.slow
@pytest.mark.parametrize("word", [0, 7])
def test_etl_parser_reads_all_fifteen_events_field_by_field(tmp_path: Path, word: int) -> None:
    path = tmp_path / "a.etl"
    simulate(path, SimulationOptions(events=3000, option_word=word))
    rows = {row["ticks"]: row for row in truth_of(path)}
    seen = set()
    for record in etl_parser_records(path):
        if record.provider == KERNEL_REGISTRY:
            row = rows.pop(record.ticks)
            assert (record.pid, record.tid) == (row["pid"], row["tid"])
            check_fields(etl_parser_registry_fields(record), row, 8)
            seen.add(record.id)
    assert not rows
    assert seen == set(range(1, 16))


def test_level_keyword_and_channel_are_what_the_kernel_writes(tmp_path: Path) -> None:
    path = tmp_path / "a.etl"
    simulate(path, SimulationOptions(events=3000))
    raw = path.read_bytes()
    for row in truth_of(path):
        id_, version, channel, level, opcode, task, keyword = struct.unpack_from(
            "<HBBBBHQ", raw, row["record_offset"] + 0x28
        )
        assert (version, channel, opcode, task) == (0, 0x10, 31 + id_, 0)
        assert level == (1 if row["status"] >= 0x80000000 else 2)
        assert keyword == KEYWORDS[id_] | 1 << 63


@pytest.mark.parametrize("clock", [1, 2, 3])
def test_dissect_gives_a_record_the_time_the_truth_has(tmp_path: Path, clock: int) -> None:
    from dissect.etl.etl import ETL

    path = tmp_path / "a.etl"
    simulate(path, SimulationOptions(events=2000, clock=clock))
    with path.open("rb") as file:
        etl = ETL(file)
        for row in truth_of(path):
            filetime = row["time_ns"] // 100 + 116_444_736_000_000_000
            # dissect computes in floating point, which is good for some 50 microseconds at this magnitude
            assert abs(etl.get_filetime_for_event(row["ticks"]) - filetime) < 500


@pytest.mark.parametrize("pointer_size", [4, 8])
@pytest.mark.parametrize("kind", HEADER_KINDS)
def test_a_record_of_every_header_kind_is_read_back(tmp_path: Path, kind: str, pointer_size: int) -> None:
    hook = kind in ("system", "compact", "perfinfo")
    path = tmp_path / "a.etl"
    writer = EtlWriter(path, buffer_size=8192, pointer_size=pointer_size, cpus=3)
    payload = b"payload of an odd size!"
    ticks = Clock().start_ticks + 77
    writer.add_record(kind, cpu=2, ticks=ticks, provider=0x0F if hook else GUID, id_=9, version=3, opcode=46,
                      pid=1234,
                      tid=5678, payload=payload)  # fmt: skip
    writer.finish()
    header, record = dissect_records(path)
    assert header.ticks == Clock().start_ticks
    assert record.header_type == HEADER_KINDS[kind][pointer_size == 8]
    assert record.provider == ("hook-group-0x0f" if hook else GUID)
    assert (record.ticks, record.payload, record.cpu) == (ticks, payload, 2)
    assert (record.pid, record.tid) == ((None, None) if kind == "perfinfo" else (1234, 5678))
    assert record.id == (9 if kind in ("event", "message") else None)
    if kind != "message":
        assert (record.version, record.opcode) == (3, 46)


@pytest.mark.parametrize("kind", ["system", "compact", "perfinfo", "full", "event"])
def test_etl_parser_reads_the_header_kinds_it_knows(tmp_path: Path, kind: str) -> None:
    hook = kind in ("system", "compact", "perfinfo")
    path = tmp_path / "a.etl"
    writer = EtlWriter(path, buffer_size=8192)
    for ticks in (10**12, 10**12 + 1):
        writer.add_record(kind, ticks=ticks, provider=0x0F if hook else GUID, id_=9, version=3, opcode=46,
                          pid=1234,
                          tid=5678, payload=b"eight by")  # fmt: skip
    writer.finish()
    records = etl_parser_records(path)
    assert [record.ticks for record in records] == [10**12, 10**12 + 1]
    assert all(record.payload == b"eight by" and record.opcode == 46 for record in records)


def test_counters_and_extended_items_stand_before_the_payload(tmp_path: Path) -> None:
    path = tmp_path / "a.etl"
    writer = EtlWriter(path, buffer_size=8192)
    items = (
        ExtendedItem(EXTENDED_TYPES["session_id"], bytes(4)),
        ExtendedItem(EXTENDED_TYPES["event_key"], bytes(8)),
    )
    writer.add_record(
        "perfinfo", ticks=10**12, provider=0x0F, opcode=46, payload=b"first", counters=(1, 2, 3)
    )
    writer.add_record(
        "system", ticks=10**12, provider=5, opcode=36, payload=b"second", counters=(1,), pebs_index=8
    )
    writer.add_record("event", ticks=10**12, provider=GUID, id_=1, payload=b"third", extended=items)
    writer.finish()
    assert [record.payload for record in dissect_records(path)][1:] == [b"first", b"second", b"third"]


@pytest.mark.parametrize("options", [0, 1, 3, 0x21, 0x22, 0x2B, 0xB])
def test_a_message_has_the_fields_its_options_name(tmp_path: Path, options: int) -> None:
    path = tmp_path / "a.etl"
    writer = EtlWriter(path, buffer_size=8192)
    writer.add_record("message", ticks=10**12, provider=GUID, id_=12, pid=4, tid=8,
                      payload=b"arguments of a message",
                      message_options=options)  # fmt: skip
    writer.finish()
    *_, record = dissect_records(path)
    assert record.payload == b"arguments of a message"
    assert record.ticks == (10**12 if options & 8 else None)
    assert (record.pid, record.tid) == ((4, 8) if options & 0x20 else (None, None))
    assert record.provider == (GUID if options & 2 else None)


def test_two_libraries_inflate_what_the_compressor_wrote() -> None:
    import random

    import pyfwnt
    from dissect.util.compression.lzxpress import decompress

    draw = random.Random(3)
    for size in (1, 2, 31, 32, 33, 64, 300, 5000, 65536, 200_000):
        for data in (
            bytes(size),
            draw.randbytes(size),
            bytes(draw.choices(b"abc", k=size)),
            (b"registry " * size)[:size],
        ):
            assert decompress(compress(data)) == data
            assert pyfwnt.lzxpress_decompress(compress(data), size) == data


def test_a_lost_buffer_is_announced_by_the_next_of_its_processor(tmp_path: Path) -> None:
    path = tmp_path / "a.etl"
    summary = simulate(path, SimulationOptions(events=20_000, lost_buffers=0.2, buffer_size=8192, disorder=0))
    raw = path.read_bytes()
    flags = [struct.unpack_from("<H", raw, at + 0x34)[0] for at in range(0, len(raw), 8192)]
    written, lost_events, lost = (
        struct.unpack_from("<I", raw, 72 + 32 + at)[0] for at in (0x24, 0x30, 0x114)
    )
    assert summary.buffers_lost > 10
    assert (written, lost_events, lost) == (len(flags), 0, summary.buffers_lost)
    assert 5 < sum(flag & 4 > 0 for flag in flags) <= summary.buffers_lost
    assert flags[-1] & 1


def test_lost_events_are_counted_and_flagged(tmp_path: Path) -> None:
    path = tmp_path / "a.etl"
    summary = simulate(
        path, SimulationOptions(events=5000, lost_events=0.01, buffer_size=8192, process_events=False)
    )
    raw = path.read_bytes()
    lost = sum(row["lost"] for row in truth_of(path))
    assert summary.events_lost == lost == struct.unpack_from("<I", raw, 72 + 32 + 0x30)[0] > 20
    assert any(struct.unpack_from("<H", raw, at + 0x34)[0] & 2 for at in range(0, len(raw), 8192))


def test_a_cut_file_keeps_the_records_before_the_cut(tmp_path: Path) -> None:
    path = tmp_path / "a.etl"
    simulate(path, SimulationOptions(events=3000, cut=True, cpus=1, disorder=0, foreign=0.0))
    truth, size = truth_of(path), path.stat().st_size
    lost = [row for row in truth if row["lost"]]
    assert size % 65536
    assert 0 < len(lost) < len(truth) / 2
    assert lost == truth[-len(lost) :]
    whole = [row for row in truth if not row["lost"]]
    (length,) = struct.unpack_from("<H", path.read_bytes(), whole[-1]["record_offset"])
    assert whole[-1]["record_offset"] + length <= size < whole[-1]["record_offset"] + length + 4096


def test_an_unfinalised_file_has_no_end_and_a_stale_count(tmp_path: Path) -> None:
    path = tmp_path / "a.etl"
    simulate(path, SimulationOptions(events=3000, unfinalised=True, zeros_mib=1))
    raw = path.read_bytes()
    end, = struct.unpack_from("<q", raw, 72 + 32 + 0x10)  # fmt: skip
    written, = struct.unpack_from("<I", raw, 72 + 32 + 0x24)  # fmt: skip
    assert (end, written) == (0, 1)
    assert raw.endswith(bytes(1 << 20))


def test_buffers_stand_out_of_time_order(tmp_path: Path) -> None:
    path = tmp_path / "a.etl"
    simulate(path, SimulationOptions(events=20_000, disorder=8, buffer_size=8192))
    raw = path.read_bytes()
    firsts = [struct.unpack_from("<q", raw, at + 72 + 16)[0] for at in range(8192, len(raw), 8192)]
    assert sum(b < a for a, b in pairwise(firsts)) > len(firsts) / 4


def test_a_buffer_made_by_hand_is_read(tmp_path: Path) -> None:
    writer = EtlWriter(buffer_size=8192)
    writer.finish(tmp_path / "a.etl")
    record = build_record("event", provider=GUID, id_=3, ticks=10**12, payload=b"12345678")
    with (tmp_path / "a.etl").open("ab") as file:
        file.write(pack_buffer(record, size=1024, cpu=5))
        file.write(pack_buffer(record * 20, size=0, cpu=6, compressed=True))
    records = list(dissect_records(tmp_path / "a.etl"))[1:]
    assert [record.cpu for record in records] == [5] + [6] * 20
    assert {record.payload for record in records} == {b"12345678"}
