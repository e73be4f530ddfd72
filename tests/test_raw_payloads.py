"""Payloads made of text: what the decoder reads in them is what the text said; and text that is damaged does no harm."""

import base64
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tracer.decode.layouts import LAYOUTS, Layout
from tracer.decode.payload import COUNT_NAMES, decode_payload
from tracer.diagnostics import Diagnostics
from tracer.errors import RegtraceError
from tracer.ingest.pipeline import ingest
from tracer.raw.columns import COLUMN, PAYLOAD
from tracer.raw.numbers import parse_filetimes, parse_numbers
from tracer.raw.payloads import pack
from tracer.raw.spool import ROW, Spool
from tracer.raw.tracerpt import csv_records
from tracer.registry.text import escape_name
from tracer.sources.kinds import file_kind

NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
SIZES = {"u8": 8, "u16": 16, "u32": 32, "u64": 64}


@st.composite
def records(draw: st.DrawFn) -> tuple[Layout, int, dict[str, Any]]:
    layout = draw(st.sampled_from(list(LAYOUTS.values())))
    pointer_size = draw(st.sampled_from([4, 8]))
    values: dict[str, Any] = {}
    for field in layout.fields:
        if field.kind == "captured":
            data = draw(st.binary(max_size=40))
            values[COUNT_NAMES[field.name]], values[field.name] = len(data), data
        elif field.kind == "ptr":
            values[field.name] = draw(st.integers(0, (1 << 8 * pointer_size) - 1))
        elif field.kind == "i64":
            values[field.name] = draw(st.integers(-(1 << 63), (1 << 63) - 1))
        elif field.kind == "psize":
            values[field.name] = draw(st.integers(0, (1 << 32) - 1))
        elif field.kind == "filetime":
            values[field.name] = draw(st.integers(0, 1 << 62))
        elif field.kind == "az":
            values[field.name] = draw(st.text("abc .%<>", max_size=9))
        elif field.kind in ("sid", "ksid"):
            values[field.name] = "S-1-16-" + str(draw(st.integers(0, (1 << 32) - 1)))
        elif field.kind == "wz":
            values[field.name] = draw(NAMES)
        else:
            values[field.name] = draw(st.integers(0, (1 << SIZES[field.kind]) - 1))
    return layout, pointer_size, values


def table(values: dict[str, str | None]) -> pa.Table:
    return pa.table({name: pa.array([values.get(name)], pa.string()) for name in PAYLOAD})


@pytest.mark.slow
@settings(max_examples=400, deadline=None)
@given(records(), st.sampled_from(["hex", "base64", "array"]), st.booleans())
def test_what_is_packed_is_decoded(record: tuple[Layout, int, dict[str, Any]], form: str, as_hex: bool):
    layout, pointer_size, values = record
    texts: dict[str, str | None] = {}
    for name, value in values.items():
        if isinstance(value, bytes):
            forms = {
                "hex": value.hex(),
                "base64": base64.b64encode(value).decode(),
                "array": json.dumps(list(value)),
            }
            text = forms[form] if value else ""
        elif isinstance(value, int):
            text = hex(value) if as_hex and value >= 0 else str(value)
        else:
            text = escape_name(value)
        texts[COLUMN[name]] = text
    made = pack(layout, pointer_size, table(texts))
    assert not made.cut[0]
    assert not made.odd_data[0]
    raw = made.raw[: made.size[0]].tobytes()
    found = decode_payload(layout, raw, pointer_size)
    assert not found.short
    expected = {
        name: escape_name(value) if isinstance(value, str) else value for name, value in values.items()
    }
    if not found.odd:  # an empty path before a tail has a rule of its own
        for name, value in expected.items():
            if not found.ambiguous:
                assert found.fields[name] == value, name


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, (1 << 64) - 1) | st.integers(-(1 << 63), -1), min_size=1, max_size=20))
def test_numbers_are_read_in_every_spelling(numbers: list[int]):
    for spell in (str, hex, lambda n: f"{n:,}", lambda n: f"  {n} ", lambda n: f"0x{n % (1 << 64):016X}"):
        texts = pa.array(
            [spell(number) if number >= 0 or spell is not hex else str(number) for number in numbers]
        )
        values, known = parse_numbers(texts)
        assert known.all()
        assert [int(value) for value in values] == [number % (1 << 64) for number in numbers]


def test_what_is_no_number_is_unknown():
    odd = [
        "",
        "x",
        "0x",
        "1e3",
        "1_000",
        "0x1FFFFFFFFFFFFFFFF",
        "18446744073709551616",
        "-9223372036854775809",
        "1,2",
        "\u0661",
        None,
    ]
    assert not parse_numbers(pa.array(odd))[1].any()
    assert parse_numbers(pa.array(["4294967296", "-2147483649", "4294967295", "-1"]), 32)[1].tolist() == [
        False, False, True, True,
    ]  # fmt: skip


def test_times_of_payloads_are_numbers_or_dates():
    values, known = parse_filetimes(pa.array(["133799996306956790", "2024-12-30T02:40:30.695679Z", "soon"]))
    assert known.tolist() == [True, True, False]
    assert values[0] == 133799996306956790
    assert values[1] % 10_000_000 == 6956790


def test_captured_bytes_that_do_not_fit_are_unknown():
    layout = LAYOUTS["70eb4f03-c1de-4f73-a051-33d13d5413bd", 7, 0]
    known = {"KeyObject": "1", "Status": "0", "InfoClass": "2", "DataSize": "4", "ValueName": "v"}
    for text, size, data in (
        ("01020304", "4", b"\1\2\3\4"),
        ("01-02-03-04", None, b"\1\2\3\4"),
        ("AQIDBA==", "4", b"\1\2\3\4"),
        ("0x0102", "4", None),  # cut
        ("4 bytes", "4", None),
        ("", "4", None),
        (None, "4", None),
        (None, None, b""),
        ("", "0", b""),
    ):
        made = pack(layout, 8, table({**known, "CapturedData": text, "CapturedDataSize": size}))
        found = decode_payload(layout, made.raw[: made.size[0]].tobytes(), 8)
        assert (bool(made.odd_data[0]), found.fields["CapturedData"]) == (data is None, data or b""), text


def test_a_csv_line_that_is_broken_costs_itself():
    lines = [
        "Event Name, Type, Event ID, Clock-Time, User Data",
        'A, B, 1, 5, "one',
        'A, B, 2, 5, "two", 3',
        "short",
        'A, B, 3, 5, "of\r\ntwo lines"',
        'A, B, 4, 5, "four',
    ]
    found = Diagnostics()
    text = "\r\n".join(lines).encode()
    for size in (1, 7, 1000):
        found = Diagnostics()
        pieces = [text[at : at + size] for at in range(0, len(text), size)]
        rows = [row for part in csv_records(pieces, found) for row in part.to_pylist()]
        assert [(row["@id"], json.loads(row["@fields"])) for row in rows] == [
            ("2", ["two", "3"]),
            ("3", ["of\r\ntwo lines"]),
        ]
    assert found["log_bad_record"] == 3


HEADS = {
    b'{"Timestamp":"x","System":{"Channel":"Microsoft-Windows-Kernel-Registry"}}\n': "etw-json",
    b'[{"ProviderId":"70eb4f03-c1de-4f73-a051-33d13d5413bd","Id":5}]': "etw-json",
    b'{"ProviderGuid":"22fb2cd6","XmlEventData":{}}': "etw-json",
    b'{"EventID":13,"TargetObject":"HKLM\\\\WINEVT\\\\Channels\\\\Microsoft-Windows-Kernel-Registry"}': "json",
    b'<Events><Event xmlns="e"><System><Execution ProcessorID="1"/></System></Event></Events>': "etw-xml",
    b'<Event xmlns="e"><EventData><Data Name="KeyObject">0x1</Data></EventData></Event>': "etw-xml",
    b'<Event xmlns="e"><System><Execution ProcessID="1"/></System></Event>': "xml",
    b"Event Name, Type, Event ID, Version, Clock-Time, Kernel(ms), User(ms), User Data\r\n": "etw-csv",
}


@pytest.mark.parametrize("head", HEADS)
def test_kinds_are_told_by_content(head: bytes):
    assert file_kind(head).word == HEADS[head]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.randoms(use_true_random=False), st.sampled_from(["etw-json", "etw-xml", "etw-csv"]))
def test_damage_is_no_error_of_ours(tmp_path: Path, chance: random.Random, form: str):
    whole = {
        "etw-json": b'{"System":{"ID":2,"TimeStamp":"2025-01-02T06:21:36.7Z","Provider":"{70EB4F03-C1DE-4F73-A051-33D13D5413BD}"},'
        b'"EventData":{"BaseObject":"0x0","KeyObject":"0x1","Status":"0","Disposition":"0","RelativeName":"\\\\REGISTRY"}}\n',
        "etw-xml": b'<Event xmlns="e"><System><Provider Name="Microsoft-Windows-Kernel-Registry"/><EventID>13</EventID>'
        b'<TimeCreated SystemTime="2025-01-02T06:21:36.7Z"/></System><EventData><Data Name="KeyObject">0x1</Data>'
        b'<Data Name="Status">0</Data></EventData></Event>\n',
        "etw-csv": b'Microsoft-Windows-Kernel-Registry, x, 13, 0, 133799996306956790, 0x1, 0, ""\n',
    }[form] * 12
    titles = b"Event Name, Type, Event ID, Version, Clock-Time, User Data\n" if form == "etw-csv" else b""
    head = whole[: len(whole) // 12]
    body = bytearray(whole)
    for _ in range(chance.randint(1, 12)):
        at = chance.randrange(len(body))
        action = chance.randrange(3)
        if action == 0:
            body[at] = chance.randrange(256)
        elif action == 1:
            del body[at : at + chance.randint(1, 60)]
        else:
            body[at:at] = chance.choice(
                [b'"', b"\0", b"<", b"{", b"\xff\xfe", b"0x" + b"F" * 40, b"\\ud800", b",,,,"]
            )
    path = tmp_path / "damaged.txt"
    path.write_bytes(titles + head + bytes(body) + head)
    message, events = "", 1
    try:
        events = ingest([path], tmp_path / "d.regtrace", force=True).totals["events"]
    except RegtraceError as error:
        message = str(error)
    assert "\n" not in message
    assert events >= 1


def test_records_wait_on_the_disk_and_come_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tracer.raw.spool._BATCH_ROWS", 7)
    monkeypatch.setattr("tracer.raw.spool._BATCH_BYTES", 64)
    chance = random.Random(3)
    spool, kept = Spool(tmp_path), []
    for part in range(6):
        rows, raw = np.zeros(chance.randrange(9), ROW), b""
        for row in rows:
            payload = bytes(chance.randrange(256) for _ in range(chance.choice([0, 3, 8, 30, 200])))
            row["time_ns"], row["pid"] = chance.randrange(-5, 5), len(kept)
            row["start"], row["size"] = len(raw), len(payload)
            raw += payload + bytes(-len(payload) % 8)
            kept.append((int(row["time_ns"]), len(kept), payload))
        spool.add(rows, np.frombuffer(raw, np.uint8))
        assert len(spool) == len(kept), part
    batches = list(spool.records())
    found = [
        (int(time), int(pid), records.raw[at:end].tobytes())
        for records in batches
        for time, pid, at, end in zip(records.time_ns, records.pid, records.payload, records.end, strict=True)
    ]
    assert found == sorted(kept, key=lambda one: one[0])
    assert max(len(records) for records in batches) <= 7
    assert all(len(records) == 1 or int((records.end - records.payload).sum()) <= 64 for records in batches)
