"""The dump: every record before resolution, whatever its header and payload."""

from pathlib import Path

import pyarrow as pa
import pytest

from tracer.diagnostics import Diagnostics
from tracer.errors import SourceError, UsageError
from tracer.etl.providers import CLASSIC_PROCESS, CLASSIC_REGISTRY, KERNEL_PROCESS, KERNEL_REGISTRY
from tracer.inspect.dump import dump, dump_schema, find_provider
from tracer.simulate.container import Clock, EtlWriter
from tracer.simulate.headers import ExtendedItem

OTHER = "0f1d2c3b-0000-4000-8000-000000000001"
CLOCK = Clock()


def wide(text: str) -> bytes:
    return text.encode("utf-16-le", "surrogatepass") + b"\0\0"


def u32(value: int) -> bytes:
    return value.to_bytes(4, "little")


def create(name: str, *, size: int = 8) -> bytes:
    """CreateKey below an object, successful."""
    return (
        (0x11).to_bytes(size, "little")
        + (0x22).to_bytes(size, "little")
        + u32(0)
        + u32(1)
        + wide("")
        + wide(name)
    )


def write(path: Path, *records: dict, **more) -> Path:
    """Write records, each after the one before it in time, spread over two processors out of order."""
    writer = EtlWriter(path, cpus=2, buffer_size=4096, clock=CLOCK, **more)
    for number, record in enumerate(records):
        facts = {
            "ticks": CLOCK.start_ticks + 100 * (number + 1),
            "cpu": number % 2,
            "pid": 8,
            "tid": 12,
            **record,
        }
        writer.add_record(facts.pop("kind"), **facts)
    writer.finish(path)
    return path


def read(path: Path, **more) -> list[dict]:
    """Dump as rows, without the record that carries the log file header."""
    tables = list(dump([path], **more))
    return pa.concat_tables(tables).to_pylist()[0 if more else 1 :]


def event(id_: int, payload: bytes, provider: str = KERNEL_REGISTRY, **more) -> dict:
    return {"kind": "event", "provider": provider, "id_": id_, "payload": payload, **more}


def test_every_header_type_has_its_columns(tmp_path):
    hooks = ("system", "compact", "perfinfo")
    facts = {"payload": b"\1\2\3", "opcode": 77, "version": 3}
    records = [
        {"kind": kind, "provider": 5 if kind in hooks else OTHER, "pointer_size": size, **facts}
        for kind in (*hooks, "full", "instance", "event", "message")
        for size in (4, 8)
    ]
    rows = read(write(tmp_path / "a.etl", *records))
    names = [row["header_type"] for row in rows]
    assert names[:4] == ["SYSTEM32", "SYSTEM64", "COMPACT32", "COMPACT64"]
    assert names[4:8] == ["PERFINFO32", "PERFINFO64", "FULL32", "FULL64"]
    assert names[8:] == ["INSTANCE32", "INSTANCE64", "EVENT_HEADER32", "EVENT_HEADER64", "MESSAGE", "MESSAGE"]
    for number, row in enumerate(rows):
        assert row["payload"].startswith(b"\1\2\3")
        assert (
            row["time_ns"]
            == (CLOCK.filetime(CLOCK.start_ticks) - 116_444_736_000_000_000 + 100 * (number + 1)) * 100
        )
        has_ids = not row["header_type"].startswith("PERFINFO")
        assert (row["pid"], row["tid"]) == ((8, 12) if has_ids else (None, None))
        assert row["cpu"] == number % 2
        if row["header_type"] != "MESSAGE":
            assert (row["opcode"], row["version"]) == (77, 3)
            assert (row["id"] is None) == (not row["header_type"].startswith("EVENT"))
    assert {row["provider"] for row in rows} == {"hook-group-0x05", OTHER, "wpp-message"}


def test_the_offset_is_where_the_record_stands_in_the_file(tmp_path):
    path = write(tmp_path / "a.etl", event(1, b"first", OTHER), event(2, b"second", OTHER))
    data = path.read_bytes()
    for row, text in zip(read(path), (b"first", b"second"), strict=True):
        assert data[row["offset"] + 80 : row["offset"] + 80 + len(text)] == text


def test_known_payloads_come_under_their_names_and_unknown_ones_as_bytes(tmp_path):
    value = bytes(8) + u32(0) + u32(4) + u32(4) + wide("") + wide("v") + b"\4\0\1\0\0\1" + bytes(10)
    rows = read(
        write(
            tmp_path / "a.etl",
            event(1, create("Software\\A")),
            event(5, value),
            event(99, b"\1\2"),
            {
                "kind": "full",
                "provider": CLASSIC_REGISTRY,
                "opcode": 11,
                "version": 2,
                "payload": bytes(8) + u32(0xC0000034) + u32(7) + bytes(8) + wide("x\0y"),
            },
            {
                "kind": "system",
                "provider": 9,
                "opcode": 22,
                "version": 2,
                "payload": bytes(16) + u32(0x33) + wide("\\REGISTRY\\A"),
                "pointer_size": 4,
            },
        )
    )
    made, set_, unknown, opened, block = rows
    assert (made["BaseObject"], made["KeyObject"], made["RelativeName"]) == (0x11, 0x22, "Software\\A")
    assert (made["BaseName"], made["Status"], made["Disposition"], made["payload"]) == ("", 0, 1, None)
    assert made["CapturedData"] is None
    assert (set_["ValueName"], set_["CapturedDataSize"], set_["CapturedData"]) == ("v", 4, b"\1\0\0\1")
    assert (set_["PreviousDataCapturedSize"], set_["PreviousData"]) == (0, b"")
    assert (unknown["id"], unknown["payload"], unknown["KeyObject"]) == (99, b"\1\2", None)
    assert (opened["Status"], opened["Index"], opened["KeyName"]) == (0xC0000034, 7, "x<U+0000>y")
    assert (opened["id"], opened["opcode"], opened["provider"]) == (None, 11, CLASSIC_REGISTRY)
    assert (block["KeyHandle"], block["KeyName"]) == (0x33, "\\REGISTRY\\A")


def test_bytes_that_the_fields_do_not_explain_are_kept(tmp_path):
    cut, longer = create("abc")[:20], create("abc") + b"\x07"
    newer = create("abc") + b"\x07"
    short, odd, later = read(
        write(tmp_path / "a.etl", event(1, cut), event(1, longer), event(1, newer, version=4))
    )
    assert (short["BaseObject"], short["Status"], short["payload"]) == (0x11, 0, cut)
    assert (odd["RelativeName"], odd["payload"]) == ("abc", longer)
    assert (later["version"], later["RelativeName"], later["payload"]) == (4, "abc", newer)


def test_extended_items_are_not_taken_for_payload(tmp_path):
    items = (ExtendedItem(13, bytes(range(8))), ExtendedItem(2, b"\1\1\0\0\0\0\0\5" + u32(18)))
    (row,) = read(write(tmp_path / "a.etl", event(1, create("abc"), extended=items)))
    assert (row["RelativeName"], row["payload"]) == ("abc", None)


def test_process_records_are_known_payloads_too(tmp_path):
    start = u32(8) + bytes(8) + u32(4) + u32(1) + wide("\\Device\\a.exe")
    ended = (
        bytes(8)
        + u32(8)
        + u32(4)
        + u32(1)
        + u32(7)
        + bytes(12)
        + bytes(4)
        + b"a.exe\0"
        + wide("a")
        + bytes(4)
    )
    first, last = read(
        write(
            tmp_path / "a.etl",
            event(1, start, KERNEL_PROCESS),
            {"kind": "system", "provider": 3, "opcode": 2, "version": 4, "payload": ended},
        )
    )
    assert (first["ImageName"], first["ProcessID"]) == ("\\Device\\a.exe", 8)
    assert (last["provider"], last["ImageFileName"], last["ExitStatus"]) == (CLASSIC_PROCESS, "a.exe", 7)
    assert (last["UserSID"], last["CommandLine"], last["payload"]) == (None, "a", None)


def test_only_the_wanted_providers_are_dumped_and_have_columns(tmp_path):
    path = write(tmp_path / "a.etl", event(1, create("abc")), event(1, b"\1", OTHER))
    (row,) = read(path, providers=["microsoft-windows-kernel-registry"])
    assert row["RelativeName"] == "abc"
    assert "ImageFileName" not in row
    (row,) = read(path, providers=["{" + OTHER.upper() + "}"])
    assert list(row)[-2:] == ["time_ns", "payload"]
    assert read(path, providers=["hook-group-0x00"])[0]["header_type"] == "SYSTEM64"


def test_a_word_that_names_no_provider_is_a_usage_error():
    with pytest.raises(UsageError, match="names no provider"):
        find_provider("Kernel-Nothing")
    assert find_provider("nt kernel logger: registry") == CLASSIC_REGISTRY


def test_several_files_are_merged_by_time_and_told_apart(tmp_path):
    first = write(tmp_path / "a.etl", event(1, b"1", OTHER, ticks=CLOCK.start_ticks + 10),
                  event(1, b"3", OTHER, ticks=CLOCK.start_ticks + 30))  # fmt: skip
    second = write(tmp_path / "b.etl", event(1, b"2", OTHER, ticks=CLOCK.start_ticks + 20))
    rows = pa.concat_tables(dump([first, second], providers=[OTHER])).to_pylist()
    assert [(row["source"], row["payload"]) for row in rows] == [(0, b"1"), (1, b"2"), (0, b"3")]


def test_rows_come_in_time_order_over_all_tables(tmp_path, monkeypatch):
    monkeypatch.setattr("tracer.inspect.dump._ROWS", 7)
    path = write(tmp_path / "a.etl", *[event(1, create(f"k{n}")) for n in range(300)])
    tables = list(dump([path], providers=[KERNEL_REGISTRY]))
    assert len(tables) > 10
    assert all(table.schema == dump_schema([KERNEL_REGISTRY]) for table in tables)
    rows = pa.concat_tables(tables).to_pylist()
    assert [row["RelativeName"] for row in rows] == [f"k{n}" for n in range(300)]
    assert [row["time_ns"] for row in rows] == sorted(row["time_ns"] for row in rows)


def test_a_file_that_is_no_trace_is_a_source_error(tmp_path):
    path = tmp_path / "a.etl"
    path.write_text("not a trace")
    with pytest.raises(SourceError):
        list(dump([path]))


def test_what_is_odd_is_counted_for_the_caller(tmp_path):
    path = write(tmp_path / "a.etl", event(1, create("abc")))
    path.write_bytes(path.read_bytes()[:-10])
    found = Diagnostics()
    list(dump([path], diagnostics=[found]))
    assert found["cut_buffer"] == 1


def test_names_with_two_widths_get_the_wider_column():
    schema = dump_schema()
    assert schema.field("Size").type == pa.uint64()  # u32 in HiveInit, u64 in HiveRundown
    assert schema.field("Type").type == pa.uint32()  # u8 in ChangeNotify
    assert schema.field("ProcessId").type == pa.uint64()  # a pointer in the oldest version
    assert len(set(schema.names)) == len(schema.names)
