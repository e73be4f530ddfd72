"""The .etl container on made bytes: every record header, every kind of buffer, the clocks, and the damage."""

import struct
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import raw_etl as raw
from hypothesis import example, given
from hypothesis import strategies as st

from tracer.diagnostics import Diagnostics
from tracer.etl.extended import NO_ITEMS, gather_items
from tracer.etl.headers import HEADERS
from tracer.etl.logfile import parse_logfile_header
from tracer.etl.reader import EtlReader
from tracer.simulate import Clock, EtlWriter
from tracer.simulate.headers import HEADER_KINDS, ExtendedItem
from tracer.simulate.xpress import compress

PAYLOAD = b"a payload of odd size"
STAMP = raw.FIRST_STAMP + 12_345
NS = raw.START_NS + 1_234_500  # STAMP, in a clock of 100 ns
GROUP = 0x0F
BOTH = pytest.mark.parametrize("wide", [False, True], ids=["32", "64"])
SMALL = {"buffer_size": 1024}


def one(folder: Path, *records: bytes, **header: object) -> raw.Reading:
    """Read a file whose only buffer holds `records`; row 0 is the log file header."""
    return raw.read_bytes(folder, raw.etl(raw.buffer(*records), header=raw.logfile_record(**header)))


# --- record headers, built here with struct --------------------------------------------------------------


@BOTH
@pytest.mark.parametrize(
    ("make", "types", "has_thread"),
    [(raw.system, (1, 2), True), (raw.compact, (3, 4), True), (raw.perfinfo, (0x10, 0x11), False)],
    ids=["SYSTEM", "COMPACT", "PERFINFO"],
)
def test_a_hook_record_is_read_field_by_field(tmp_path, make, types, has_thread, wide):
    row = one(tmp_path, make(GROUP, 46, STAMP, PAYLOAD, wide=wide)).rows[1]
    thread = {"pid": 11, "tid": 22} if has_thread else {"pid": -1, "tid": -1}
    assert row == raw.Row(
        source=0, offset=1024 + 72, kind=types[wide], time_ns=NS, cpu=0, **thread, provider="hook-group-0x0f",
        id=-1, opcode=46, version=2, pointer_size=8 if wide else 4, payload=PAYLOAD,
    )  # fmt: skip


@BOTH
@pytest.mark.parametrize("make", [raw.system, raw.compact, raw.perfinfo])
@pytest.mark.parametrize(("pebs", "counters"), [(0, 0), (0, 1), (0, 7), (1, 0), (1, 4)])
def test_counters_and_a_pebs_index_stand_before_a_hooks_payload(tmp_path, make, wide, pebs, counters):
    before = bytes(8 * (pebs + counters))
    word = 2 | counters << 8 | pebs << 15
    row = one(tmp_path, make(GROUP, 46, STAMP, before + PAYLOAD, wide=wide, word=word)).rows[1]
    assert (row.payload, row.version) == (PAYLOAD, 2)


def test_counters_that_reach_beyond_the_record_leave_no_payload(tmp_path):
    row = one(tmp_path, raw.perfinfo(GROUP, 46, STAMP, b"short", word=0x8702)).rows[1]
    assert row.payload == b""


@BOTH
@pytest.mark.parametrize(
    ("group", "provider"), [(0x03, "3d6fa8d0-"), (0x09, "ae53722e-"), (0x05, "hook-group-0x05")]
)
def test_hook_groups_of_processes_and_the_registry_are_their_classes(tmp_path, group, provider, wide):
    row = one(tmp_path, raw.system(group, 10, STAMP, wide=wide)).rows[1]
    assert row.provider.startswith(provider)


@BOTH
def test_a_full_record_is_read_field_by_field(tmp_path, wide):
    row = one(tmp_path, raw.full(46, STAMP, PAYLOAD, wide=wide)).rows[1]
    assert row == raw.Row(
        source=0, offset=1024 + 72, kind=0x14 if wide else 0x0A, time_ns=NS, cpu=0, pid=11, tid=22,
        provider=raw.GUID, id=-1, opcode=46, version=2, pointer_size=8 if wide else 4, payload=PAYLOAD,
    )  # fmt: skip


@BOTH
def test_an_event_record_is_read_field_by_field(tmp_path, wide):
    row = one(tmp_path, raw.event(0x1234, STAMP, PAYLOAD, wide=wide)).rows[1]
    assert row == raw.Row(
        source=0, offset=1024 + 72, kind=0x13 if wide else 0x12, time_ns=NS, cpu=0, pid=11, tid=22,
        provider=raw.GUID, id=0x1234, opcode=46, version=2, pointer_size=8 if wide else 4, payload=PAYLOAD,
    )  # fmt: skip


@BOTH
def test_an_instance_record_has_its_payload_behind_the_parents_guid(tmp_path, wide):
    row = one(tmp_path, raw.instance(46, STAMP, PAYLOAD, wide=wide)).rows[1]
    assert (row.kind, row.provider, row.opcode, row.payload) == (
        0x15 if wide else 0x0B,
        raw.GUID,
        46,
        PAYLOAD,
    )


@BOTH
@pytest.mark.parametrize("size", [0, 1, 15])
def test_an_instance_record_of_before_2003_has_no_parent_guid(tmp_path, wide, size):
    row = one(tmp_path, raw.instance(46, STAMP, PAYLOAD[:size], wide=wide, old=True)).rows[1]
    assert row.payload == PAYLOAD[:size]


def test_an_error_record_is_kept_without_a_reading(tmp_path):
    row = one(tmp_path, raw.error(STAMP, PAYLOAD)).rows[1]
    assert (row.kind, row.time_ns, row.pid, row.tid, row.payload) == (0x0D, NS, -1, -1, PAYLOAD)


@pytest.mark.parametrize(
    "options",
    [sum(bits) for bits in product((0, 1), (0, 2), (0, 4), (0, 8), (0, 0x20), (0, 0x40), (0, 0x80))],
)
def test_a_message_is_read_by_its_options(tmp_path, options):
    reading = one(tmp_path, raw.event(1, STAMP - 7), raw.message(options, STAMP, PAYLOAD))
    row = reading.rows[2]
    thread = (11, 22) if options & 0x20 else (-1, -1)
    assert (row.kind, row.provider, row.id, row.pid, row.tid) == (0x0F, "wpp-message", 12, *thread)
    # Without a stamp of its own a message happened no earlier than the record before it.
    assert row.time_ns == (NS if options & 8 else NS - 700)
    assert row.pointer_size == (4 if options & 0x40 else 8)
    assert row.payload == PAYLOAD


def test_a_message_without_a_time_that_begins_a_buffer_is_as_old_as_the_file(tmp_path):
    row = one(tmp_path, raw.message(0, 0, PAYLOAD)).rows[1]
    assert row.time_ns == raw.START_NS


@pytest.mark.parametrize("options", [0x2F, 0x2B, 0x28, 0x20])
def test_a_message_too_short_for_its_options_is_no_reading_past_it(tmp_path, options):
    short = raw.message(options, STAMP, b"")[:-3]
    short = struct.pack("<H", len(short)) + short[2:]
    reading = one(tmp_path, raw.event(1, STAMP), short, raw.event(2, STAMP + 1))
    rows = {row.offset: row for row in reading.rows[1:]}
    assert sorted(row.id for row in rows.values()) == [1, 2, 12]
    assert next(row.payload for row in rows.values() if row.id == 12) == b""


def test_every_header_type_of_the_reference_has_a_test_above():
    made = {1, 2, 3, 4, 0x0A, 0x0B, 0x0D, 0x0F, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15}
    assert set(HEADERS) == made


@pytest.mark.parametrize("pointer_size", [4, 8])
@pytest.mark.parametrize("kind", HEADER_KINDS)
@pytest.mark.parametrize("compressed", [False, True])
def test_the_simulators_records_of_every_kind_are_read(tmp_path, kind, pointer_size, compressed):
    path = tmp_path / "a.etl"
    writer = EtlWriter(path, **SMALL, pointer_size=pointer_size, cpus=3, compressed=compressed)
    hook = kind in ("system", "compact", "perfinfo")
    stamp = Clock().start_ticks + 77
    writer.add_record(kind, cpu=2, ticks=stamp, provider=GROUP if hook else raw.GUID, id_=9, version=3, opcode=46,
                      pid=1234, tid=5678, payload=PAYLOAD, counters=(1, 2) if hook else ())  # fmt: skip
    writer.finish()
    row = raw.read(path).rows[1]
    assert (row.kind, row.cpu, row.payload) == (HEADER_KINDS[kind][pointer_size == 8], 2, PAYLOAD)
    assert row.time_ns == (Clock().filetime(stamp) - raw.FILETIME_OF_1970) * 100
    assert (row.pid, row.tid) == ((-1, -1) if kind == "perfinfo" else (1234, 5678))
    assert row.id == (9 if kind in ("event", "message") else -1)


# --- where records begin and end --------------------------------------------------------------------------


@pytest.mark.parametrize("size", range(9))
def test_the_next_record_begins_at_the_next_8_byte_boundary(tmp_path, size):
    records = [raw.event(number, STAMP + number, PAYLOAD[:size]) for number in range(5)]
    reading = one(tmp_path, *records)
    assert [(row.id, row.payload) for row in reading.rows[1:]] == [(n, PAYLOAD[:size]) for n in range(5)]
    assert all(row.offset % 8 == 0 for row in reading.rows)
    assert reading.counts == [{}]


@pytest.mark.parametrize(
    ("damage", "counted"),
    [
        (b"\xff\xff\xff\xff" + bytes(12), 0),  # filler: a failed reservation, and no loss
        (bytes(16), 1),
        (struct.pack("<HBB", 79, 0x13, 0xC0) + bytes(76), 1),  # smaller than its header
        (struct.pack("<HBB", 0xFFF0, 0x13, 0xC0) + bytes(76), 1),  # beyond what is filled
        (struct.pack("<HBB", 80, 0x0C, 0xC0) + bytes(76), 1),  # TIMED: no file has it
        (struct.pack("<HBB", 80, 0x13, 0xB0) + bytes(76), 1),  # ULONG32_TIME: obsolete
        (struct.pack("<HBBH", 80, 0x02, 0xC0, 31) + bytes(74), 1),
    ],
)
def test_a_senseless_record_ends_its_buffer_and_no_other(tmp_path, damage, counted):
    first = raw.buffer(raw.event(1, STAMP), damage, raw.event(2, STAMP + 1))
    reading = raw.read_bytes(tmp_path, raw.etl(first, raw.buffer(raw.event(3, STAMP + 2), sequence=2)))
    assert [row.id for row in reading.rows[1:]] == [1, 3]
    assert reading.counts[0].get("bad_record", 0) == counted
    assert len(reading.losses) == counted
    if counted:
        assert reading.losses[0].from_ns <= NS
        assert reading.losses[0].count == 1024 - 1024 + len(raw.pad(damage)) + 80


@pytest.mark.parametrize("left", range(1, 8))
def test_a_few_filled_bytes_behind_the_last_record_are_no_record(tmp_path, left):
    made = bytearray(raw.buffer(raw.event(1, STAMP), raw.event(2, STAMP)))
    struct.pack_into("<I", made, 0x30, 72 + 80 + left)
    assert [row.id for row in raw.read_bytes(tmp_path, raw.etl(bytes(made))).rows[1:]] == [1]


# --- extended items ---------------------------------------------------------------------------------------

STACK = struct.pack("<Q3Q", 77, 0xFFFF800012345678, 2, 3)
STACK_32 = struct.pack("<Q3I", 77, 0x80001234, 2, 3)
SID = struct.pack("<BB6sIII", 1, 3, b"\0\0\0\0\0\5", 21, 7, 1001)
START_KEY = struct.pack("<Q", 0x0123_4567_89AB)


def items_of(folder: Path, items: bytes) -> tuple[raw.Reading, list[dict]]:
    """Return the reading of one event with `items`, and its rows of the table `extended`."""
    reading = one(folder, raw.event(7, STAMP, PAYLOAD, items=items), raw.event(8, STAMP))
    with EtlReader([folder / "0.etl"], [Diagnostics()]) as reader:
        (records,) = reader
    tables = gather_items(records.raw, records.extended, np.arange(len(records)))
    return reading, [row for table in tables for row in table.to_pylist()]


@pytest.mark.parametrize(
    ("kind", "data", "column", "value"),
    [
        (6, STACK, "stack", [0xFFFF800012345678 - (1 << 64), 2, 3]),
        (5, STACK_32, "stack", [0x80001234, 2, 3]),
        (2, SID, "sid", "S-1-5-21-7-1001"),
        (3, struct.pack("<I", 4), "session_id", 4),
        (0x0A, START_KEY, "event_key", 0x0123_4567_89AB),
        (0x0D, START_KEY, "process_start_key", 0x0123_4567_89AB),
    ],
    ids=["stack64", "stack32", "sid", "session", "event_key", "process_start_key"],
)
def test_an_extended_item_is_kept_and_the_payload_stands_behind_it(tmp_path, kind, data, column, value):
    reading, kept = items_of(tmp_path, raw.item(kind, data, more=False))
    assert [row.payload for row in reading.rows[1:]] == [PAYLOAD, b""]
    assert [{name: one for name, one in row.items() if one is not None} for row in kept] == [
        {"sequence": 1, column: value}
    ]


def test_all_items_of_one_event_are_one_row(tmp_path):
    kinds = [
        (1, bytes(16)),
        (2, SID),
        (4, bytes(24)),
        (6, STACK),
        (0x0B, b"odd"),
        (0x0D, START_KEY),
        (0x77, b"new"),
    ]
    chain = b"".join(
        raw.item(kind, data, more=place < len(kinds)) for place, (kind, data) in enumerate(kinds, 1)
    )
    reading, kept = items_of(tmp_path, chain)
    assert reading.rows[1].payload == PAYLOAD
    (row,) = kept
    assert (row["sid"], row["stack"][1:], row["process_start_key"]) == (
        "S-1-5-21-7-1001",
        [2, 3],
        0x0123_4567_89AB,
    )


def test_the_simulators_items_are_read(tmp_path):
    writer = EtlWriter(tmp_path / "a.etl", **SMALL)
    chain = (ExtendedItem(2, SID), ExtendedItem(6, STACK), ExtendedItem(0x0D, START_KEY))
    writer.add_record(
        "event", ticks=Clock().start_ticks, provider=raw.GUID, id_=7, payload=PAYLOAD, extended=chain
    )
    writer.finish()
    assert raw.read(tmp_path / "a.etl").rows[1].payload == PAYLOAD


@pytest.mark.parametrize(
    "chain",
    [
        struct.pack("<HHHH", 16, 2, 0, 500) + bytes(8),  # data beyond the record
        struct.pack("<HHHH", 16, 2, 1, 8 + 16) + bytes(8),  # the next item would be outside
        raw.item(3, bytes(4), more=True) + struct.pack("<HHHH", 8, 3, 0, 0xFFFF),
        raw.item(3, bytes(4), more=True) * 3 + struct.pack("<HHHH", 8, 3, 1, 0),
        struct.pack("<HHH", 8, 3, 0)[:4],
    ],
)
def test_a_broken_chain_of_items_costs_its_record_the_payload_and_no_other(tmp_path, chain):
    record = raw.event(7, STAMP, b"", items=chain)
    reading = one(tmp_path, record, raw.event(8, STAMP + 1, PAYLOAD))
    assert [(row.id, row.payload) for row in reading.rows[1:]] == [(7, b""), (8, PAYLOAD)]
    assert reading.counts == [{"odd_extended_items": 1}]


def test_an_item_too_short_for_its_kind_is_left_out(tmp_path):
    chain = raw.item(2, b"\1\5", more=True) + raw.item(6, b"abc", more=True) + raw.item(3, b"x", more=False)
    reading, kept = items_of(tmp_path, chain)
    assert reading.rows[1].payload == PAYLOAD
    assert kept == []


def test_no_items_make_no_table():
    assert gather_items(np.zeros(8, np.uint8), NO_ITEMS, np.empty(0, np.int64)) == []


# --- buffers ----------------------------------------------------------------------------------------------


def test_buffers_of_different_sizes_follow_each_other_by_their_own_size(tmp_path):
    sizes = (256, 4096, 160, 1 << 20, 512)
    made = [raw.buffer(raw.event(n, STAMP + n), size=size, cpu=n) for n, size in enumerate(sizes)]
    reading = raw.read_bytes(tmp_path, raw.etl(*made, header_size=640))
    assert [(row.id, row.cpu) for row in reading.rows[1:]] == [(n, n) for n in range(5)]
    assert [row.offset for row in reading.rows[1:]] == [72 + 640 + sum(sizes[:n]) for n in range(5)]
    assert reading.counts == [{}]


def test_a_processor_number_has_eleven_bits_where_the_flag_says_so(tmp_path):
    many = raw.buffer(raw.event(1, STAMP), cpu=0x0305)
    few = raw.buffer(raw.event(2, STAMP + 1), cpu=0x0805, flags=0)  # the high byte is the alignment here
    reading = raw.read_bytes(tmp_path, raw.etl(many, few))
    assert [row.cpu for row in reading.rows[1:]] == [0x305, 5]


def test_compressed_buffers_stand_where_they_would_uncompressed(tmp_path):
    """The offset of a record is where it would start if no buffer were compressed (schema.EVENTS)."""
    made, place, expected = [], 1024, []
    for number in range(4):
        body = [raw.event(10 * number + n, STAMP + 10 * number + n, PAYLOAD * 20) for n in range(3)]
        stored = compress(b"".join(raw.pad(record) for record in body))
        made.append(raw.buffer(*body, size=4096, stored=stored if number != 2 else None))
        expected += [place + 72 + n * len(raw.pad(body[0])) for n in range(3)]
        # One that is not compressed keeps its own size, unfilled end included.
        place += 4096 if number == 2 else 72 + 3 * len(raw.pad(body[0]))
    reading = raw.read_bytes(tmp_path, raw.etl(*made))
    assert [row.id for row in reading.rows[1:]] == [10 * b + n for b in range(4) for n in range(3)]
    assert [row.offset for row in reading.rows[1:]] == expected
    assert {row.payload for row in reading.rows[1:]} == {PAYLOAD * 20}


def test_a_compressed_header_buffer_is_read(tmp_path):
    record = raw.logfile_record(names="n\0f\0")
    first = raw.buffer(record, stored=compress(raw.pad(record)))
    reading = raw.read_bytes(tmp_path, first + raw.buffer(raw.event(1, STAMP)))
    assert [row.id for row in reading.rows] == [-1, 1]


@pytest.mark.parametrize("chunk_bytes", [1, 1 << 20])
@pytest.mark.parametrize("damage", ["flip", "cut", "size"])
def test_a_damaged_compressed_buffer_is_left_out_counted_and_dated(tmp_path, damage, chunk_bytes):
    bodies = [
        [raw.event(10 * b + n, STAMP + 10 * b + n, bytes(range(200))) for n in range(3)] for b in range(3)
    ]
    made = []
    for number, body in enumerate(bodies):
        stored = compress(b"".join(raw.pad(record) for record in body))
        if number == 1:
            if damage == "flip":
                stored = stored[:60] + bytes(byte ^ 0xFF for byte in stored[60:])
            elif damage == "cut":
                stored = stored[: len(stored) // 2]
        whole = bytearray(raw.buffer(*body, stored=stored, flushed=STAMP + 10 * number + 9, size=4096))
        if number == 1 and damage == "size":
            struct.pack_into("<I", whole, 0x30, 72 + 5000)
        made.append(bytes(whole))
    reading = raw.read_bytes(tmp_path, raw.etl(*made), chunk_bytes=chunk_bytes)
    assert {0, 1, 2, 20, 21, 22} <= {row.id for row in reading.rows}
    assert reading.counts[0]["bad_compression"] == 1
    (loss,) = reading.losses
    assert (loss.kind, loss.from_ns, loss.to_ns) == ("damage", NS + 1000, NS + 1900)


def test_a_bad_buffer_in_the_middle_costs_only_itself(tmp_path):
    made = [raw.buffer(raw.event(n, STAMP + n), sequence=n) for n in range(5)]
    made[2] = b"\xde\xad\xbe\xef" * 256
    reading = raw.read_bytes(tmp_path, raw.etl(*made))
    assert [row.id for row in reading.rows[1:]] == [0, 1, 3, 4]
    assert reading.counts == [{"bad_buffer": 1}]
    (loss,) = reading.losses
    assert (loss.kind, loss.count) == ("damage", 1024)


def test_what_a_bad_buffer_held_is_dated_by_its_neighbours(tmp_path):
    made = [raw.buffer(raw.event(n, STAMP + n), cpu=n % 2, flushed=STAMP + 10 * n) for n in range(6)]
    made[3] = b"\xde\xad\xbe\xef" * 256
    reading = raw.read_bytes(tmp_path, raw.etl(*made, header=raw.logfile_record(cpus=2)))
    assert [(loss.from_ns, loss.to_ns) for loss in reading.losses] == [(NS + 1000, NS + 4000)]
    made[4], made[5] = made[5], made[4]  # order in the file is not order in time: nothing can be said
    reading = raw.read_bytes(tmp_path, raw.etl(*made, header=raw.logfile_record(cpus=2)))
    assert [(loss.from_ns, loss.to_ns) for loss in reading.losses] == [(None, None)]


def test_buffers_that_a_cut_took_whole_are_counted_by_the_header(tmp_path):
    made = [raw.buffer(raw.event(n, STAMP + n), flushed=STAMP + 10 * n) for n in range(3)]
    reading = raw.read_bytes(tmp_path, raw.etl(*made, header=raw.logfile_record(cpus=1, written=6)))
    assert reading.counts == [{"missing_buffers": 2}]
    found = [(loss.kind, loss.count, loss.from_ns, loss.to_ns) for loss in reading.losses]
    assert found == [("buffers", 2, NS + 2000, None)]


@pytest.mark.parametrize(("offset", "size"), [(0, 71), (0, (16 << 20) + 1), (0x30, 71), (0x30, 1025)])
def test_impossible_sizes_in_a_buffer_header_are_a_bad_buffer(tmp_path, offset, size):
    bad = bytearray(raw.buffer(raw.event(1, STAMP)))
    struct.pack_into("<I", bad, offset, size)
    reading = raw.read_bytes(tmp_path, raw.etl(bytes(bad), raw.buffer(raw.event(2, STAMP))))
    assert [row.id for row in reading.rows[1:]] == [2]
    assert reading.counts == [{"bad_buffer": 1}]


def test_zeros_at_the_end_are_unused_space_and_no_loss(tmp_path):
    reading = raw.read_bytes(tmp_path, raw.etl(raw.buffer(raw.event(1, STAMP))) + bytes(1 << 20))
    assert [row.id for row in reading.rows[1:]] == [1]
    assert reading.counts == [{"zero_tail": 1}]
    assert reading.losses == []


def test_records_behind_a_stretch_of_zeros_are_found(tmp_path):
    reading = raw.read_bytes(tmp_path, raw.etl(bytes(4096), raw.buffer(raw.event(1, STAMP))))
    assert [row.id for row in reading.rows[1:]] == [1]
    assert reading.counts == [{"bad_buffer": 1}]


@pytest.mark.parametrize("stop", [80, 79, 1, 0])
def test_a_file_that_ends_inside_a_buffer_keeps_the_whole_records_of_it(tmp_path, stop):
    whole = raw.etl(raw.buffer(raw.event(1, STAMP), raw.event(2, STAMP), flushed=STAMP + 5))
    reading = raw.read_bytes(tmp_path, whole[: 1024 + 72 + 80 + stop])
    assert [row.id for row in reading.rows[1:]] == [1, 2][: 1 + (stop == 80)]
    assert reading.counts[0]["cut_buffer"] == 1
    assert any(loss.kind == "damage" and loss.to_ns == NS + 500 for loss in reading.losses)


# --- the log file header and the clocks -------------------------------------------------------------------


@BOTH
def test_the_log_file_header_is_read_in_both_widths(wide):
    record = raw.logfile_record(wide=wide, events_lost=3, buffers_lost=4, mode=0x2002, largest_mib=512)
    header = parse_logfile_header(record[32:], 8 if wide else 4, raw.FIRST_STAMP)
    assert (header.version, header.build, header.cpus, header.cpu_mhz) == ((1, 5), 19045, 4, 2000)
    assert (header.events_lost, header.buffers_lost) == (3, 4)
    assert (header.start_ns, header.end_ns) == (raw.START_NS, raw.START_NS + 10**12)
    assert header.largest_file == 512 << 10  # mode 0x2000: KiB
    assert (header.logger_name, header.log_file_name) == ("session", "file.etl")


@given(
    clock=st.sampled_from([0, 1, 2, 3]),
    frequency=st.integers(1, 8_999_999_999),
    mhz=st.integers(1, 8999),
    stamps=st.lists(st.integers(-(2**55), 2**55) | st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=5),
)
@example(clock=0, frequency=1, mhz=1, stamps=[-5_958_898_437])
@example(clock=0, frequency=2, mhz=1, stamps=[-9_975_691_271])
@example(clock=2, frequency=1, mhz=1, stamps=[-(2**63) // 100, 2**63 // 100, 2**63 - 1, -(2**63)])
def test_the_clock_is_exact_integer_arithmetic(clock, frequency, mhz, stamps):
    record = raw.logfile_record(clock=clock, frequency=frequency, mhz=mhz)
    header = parse_logfile_header(record[32:], 8, raw.FIRST_STAMP)
    rate = {2: 10**7, 3: mhz * 10**6}.get(clock, frequency)
    exact = [raw.START_NS + (stamp - raw.FIRST_STAMP) * 10**9 // rate for stamp in stamps]
    found = header.to_ns(np.array(stamps, np.int64)).tolist()
    for stamp, time_ns, found_ns in zip(stamps, exact, found, strict=True):
        if abs(stamp - raw.FIRST_STAMP) < 2**63 and abs(time_ns) < 2**63 - 4 * 10**9:
            assert found_ns == time_ns
        else:  # beyond what 64 bits can say: as near to it as they get
            assert (found_ns > raw.START_NS) == (time_ns > raw.START_NS)
            assert abs(found_ns - raw.START_NS) > 2**59
    assert header.clock == {2: "system", 3: "cycles"}.get(clock, "qpc")


@pytest.mark.parametrize("clock", [0, 1, 2, 3])
def test_records_have_the_time_of_the_files_clock(tmp_path, clock):
    frequency, mhz = 3_579_545, 2394
    stamp = raw.FIRST_STAMP + 98_765_432_101
    rate = {2: 10**7, 3: mhz * 10**6}.get(clock, frequency)
    row = one(tmp_path, raw.event(1, stamp), clock=clock, frequency=frequency, mhz=mhz).rows[1]
    assert row.time_ns == raw.START_NS + 98_765_432_101 * 10**9 // rate


@pytest.mark.parametrize("clock", [1, 2, 3])
def test_the_simulators_clocks_agree_with_the_readers(tmp_path, clock):
    path = tmp_path / "a.etl"
    setting = Clock(type=clock, frequency=2_441_406, mhz=2394)
    writer = EtlWriter(path, **SMALL, clock=setting)
    stamps = [setting.start_ticks + 7_777_777 * n for n in range(20)]
    for stamp in stamps:
        writer.add_record("event", ticks=stamp, provider=raw.GUID, id_=1)
    writer.finish()
    times = [(row.time_ns // 100) + raw.FILETIME_OF_1970 for row in raw.read(path).rows[1:]]
    assert times == [setting.filetime(stamp) for stamp in stamps]


@pytest.mark.parametrize(
    ("clock", "frequency", "mhz"), [(1, 0, 2000), (1, -5, 2000), (1, 2**62, 2000), (3, 10**7, 0)]
)
def test_an_impossible_clock_is_read_as_100_ns_and_said_to_be_odd(clock, frequency, mhz):
    header = parse_logfile_header(raw.logfile_record(clock=clock, frequency=frequency, mhz=mhz)[32:], 8, 0)
    assert header.clock_is_odd
    assert header.one_to_ns(3) == raw.START_NS + 300


def test_an_impossible_clock_is_counted(tmp_path):
    assert one(tmp_path, raw.event(1, STAMP), frequency=0).counts == [{"odd_clock": 1}]


def test_only_the_first_of_several_log_file_headers_sets_the_clock(tmp_path):
    other = raw.logfile_record(frequency=1_000_000, stamp=STAMP - 5, start=raw.START_FILETIME - 10**12)
    content = raw.etl(
        raw.buffer(other), raw.buffer(raw.event(1, STAMP)), raw.buffer(other, raw.event(2, STAMP))
    )
    reading = raw.read_bytes(tmp_path, content)
    assert [row.time_ns for row in reading.rows if row.id >= 0] == [NS, NS]
    assert reading.counts == [{"merged_header": 2}]


def test_each_merged_file_has_a_clock_of_its_own(tmp_path):
    slow = raw.etl(
        raw.buffer(raw.event(2, raw.FIRST_STAMP + 1000)), header=raw.logfile_record(frequency=1_000_000)
    )
    fast = raw.etl(raw.buffer(raw.event(1, raw.FIRST_STAMP + 1000)))
    reading = raw.read_bytes(tmp_path, slow, fast)
    rows = [(row.source, row.id, row.time_ns - raw.START_NS) for row in reading.rows if row.id >= 0]
    assert rows == [(1, 1, 100_000), (0, 2, 1_000_000)]
    assert reading.counts == [{}, {}]


# --- losses -----------------------------------------------------------------------------------------------


def test_header_counts_are_losses_somewhere(tmp_path):
    reading = one(tmp_path, raw.event(1, STAMP), events_lost=3, buffers_lost=4)
    assert reading.counts == [{"header_events_lost": 3, "header_buffers_lost": 4}]
    found = [(loss.kind, loss.count, loss.from_ns, loss.to_ns, loss.cpu) for loss in reading.losses]
    assert found == [("events", 3, None, None, None), ("buffers", 4, None, None, None)]


@pytest.mark.parametrize(
    ("flag", "kind", "counter"), [(2, "events", "events_lost_flag"), (4, "buffers", "buffer_lost_flag")]
)
def test_a_flagged_loss_lies_between_the_buffers_of_its_processor(tmp_path, flag, kind, counter):
    made = [
        raw.buffer(raw.event(1, STAMP), cpu=1, flushed=STAMP + 5),
        raw.buffer(raw.event(2, STAMP + 7), cpu=2, flushed=STAMP + 8),
        raw.buffer(raw.event(3, STAMP + 6), cpu=1, flushed=STAMP + 9, flags=flag | raw.PROC_INDEX),
    ]
    reading = raw.read_bytes(tmp_path, raw.etl(*made))
    assert reading.counts == [{counter: 1}]
    (loss,) = reading.losses
    assert (loss.kind, loss.count, loss.from_ns, loss.to_ns, loss.cpu) == (kind, None, NS, NS + 900, 1)


def test_a_circular_file_that_wrapped_says_what_time_is_gone(tmp_path):
    made = [
        raw.buffer(raw.event(n, STAMP + n), sequence=n, flushed=STAMP + n + 1, size=1 << 20)
        for n in (7, 8, 5, 6)
    ]
    header = raw.logfile_record(mode=raw.CIRCULAR, largest_mib=4, buffer_size=1 << 20)
    reading = raw.read_bytes(tmp_path, raw.etl(*made, header=header, header_size=1 << 20))
    assert [row.id for row in reading.rows[1:]] == [5, 6, 7, 8]
    (loss,) = reading.losses
    assert (loss.kind, loss.from_ns, loss.to_ns) == ("buffers", None, NS + 600)


def test_buffers_overwritten_out_of_order_stretch_the_loss_to_the_last_of_them(tmp_path):
    """Number 6 is gone though 5 is there: what it held may be as late as 7's writing."""
    made = [
        raw.buffer(raw.event(n, STAMP + n), sequence=n, flushed=STAMP + n + 1, size=1 << 20)
        for n in (8, 9, 5, 7)
    ]
    header = raw.logfile_record(mode=raw.CIRCULAR, largest_mib=4, buffer_size=1 << 20)
    reading = raw.read_bytes(tmp_path, raw.etl(*made, header=header, header_size=1 << 20))
    assert reading.losses[0].to_ns == NS + 800


def test_a_circular_file_with_room_left_lost_nothing(tmp_path):
    reading = one(tmp_path, raw.event(1, STAMP), mode=raw.CIRCULAR, largest_mib=4)
    assert reading.losses == []


def test_a_trace_that_was_never_stopped_may_miss_its_last_buffers(tmp_path):
    made = [raw.buffer(raw.event(n, STAMP + n), cpu=n, flushed=STAMP + 10 * n) for n in (1, 2)]
    reading = raw.read_bytes(tmp_path, raw.etl(*made, header=raw.logfile_record(end=0, cpus=2)))
    assert reading.counts == [{"unfinalised_file": 1}]
    assert [(loss.kind, loss.from_ns, loss.to_ns) for loss in reading.losses] == [
        ("buffers", NS + 1000, None)
    ]


def test_a_processor_without_a_buffer_may_miss_records_from_the_beginning(tmp_path):
    made = [raw.buffer(raw.event(n, STAMP + n), cpu=n, flushed=STAMP + 10 * n) for n in (1, 2)]
    reading = raw.read_bytes(tmp_path, raw.etl(*made, header=raw.logfile_record(end=0, cpus=3)))
    assert [(loss.from_ns, loss.to_ns) for loss in reading.losses] == [(None, None)]


def test_time_that_goes_backwards_in_a_buffer_is_counted_and_the_record_kept(tmp_path):
    reading = one(tmp_path, raw.event(1, STAMP + 5), raw.event(2, STAMP), raw.event(3, STAMP + 6))
    assert sorted(row.id for row in reading.rows[1:]) == [1, 2, 3]
    assert reading.counts[0]["time_backwards"] == 1


@pytest.mark.parametrize("buffers", [1, 1024, 1025, 3000])
def test_a_long_stretch_of_zeros_hides_no_buffer_behind_it(tmp_path, buffers):
    """Zeros are passed over a MiB at a time; a buffer that begins right behind them is still met."""
    first, last = raw.event(1, raw.FIRST_STAMP + 10), raw.event(2, raw.FIRST_STAMP + 20)
    content = raw.etl(raw.buffer(first), bytes(1024 * buffers), raw.buffer(last))
    rows = raw.read_bytes(tmp_path, content).rows
    assert [row.id for row in rows[1:]] == [1, 2]
    assert rows[2].offset == 2048 + 1024 * buffers + 72


def test_a_buffer_that_claims_to_inflate_beyond_reason_is_refused(tmp_path):
    """The claim alone costs memory and time; a buffer of zeros inflates some hundred times."""
    bomb = bytearray(raw.buffer(raw.event(1, raw.FIRST_STAMP + 10)))[:80]
    bomb[0:4] = (80).to_bytes(4, "little")
    bomb[0x30:0x34] = (16 << 20).to_bytes(4, "little")
    bomb[0x34] |= 0x40
    reading = raw.read_bytes(tmp_path, raw.etl(bytes(bomb) * 5))
    assert len(reading.rows) == 1
    assert reading.counts[0]["bad_buffer"] == 1
