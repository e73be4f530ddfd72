"""Facts about a trace: counts, times, losses, ready for JSON."""

import json

import pytest

from tracer.errors import SourceError
from tracer.etl.providers import CLASSIC_PROCESS, KERNEL_REGISTRY
from tracer.inspect.info import describe_etl
from tracer.inspect.times import time_text
from tracer.simulate.container import Clock, EtlWriter

OTHER = "0f1d2c3b-0000-4000-8000-000000000001"


def make(path, *, end=None, **more):
    """Write a trace of 30 opens, 20 closes, 10 classic records and 5 of a stranger."""
    clock = Clock()
    writer = EtlWriter(path, cpus=2, buffer_size=4096, clock=clock, **more)
    ticks = clock.start_ticks
    for times, kind, facts in (
        (30, "event", {"provider": KERNEL_REGISTRY, "id_": 2}),
        (20, "event", {"provider": KERNEL_REGISTRY, "id_": 13}),
        (10, "system", {"provider": 3, "opcode": 1, "version": 4}),
        (5, "full", {"provider": OTHER, "opcode": 200, "version": 1, "pointer_size": 4}),
    ):
        for _ in range(times):
            ticks += 10_000_000
            writer.add_record(kind, cpu=ticks % 2, ticks=ticks, payload=bytes(40), **facts)
    writer.finish(path)
    return path, clock


def test_records_are_counted_by_header_type_provider_and_event(tmp_path):
    path, clock = make(tmp_path / "a.etl")
    facts = describe_etl(path)
    assert facts["records"] == 66
    assert facts["header_types"] == {"SYSTEM64": 11, "FULL32": 5, "EVENT_HEADER64": 50}
    registry, process, other, header = facts["providers"]
    assert (registry["provider"], registry["name"]) == (KERNEL_REGISTRY, "Microsoft-Windows-Kernel-Registry")
    assert registry["events"] == [
        {"id": 2, "opcode": 0, "version": 0, "name": "OpenKey", "records": 30},
        {"id": 13, "opcode": 0, "version": 0, "name": "CloseKey", "records": 20},
    ]
    assert (process["provider"], process["records"]) == (CLASSIC_PROCESS, 10)
    assert process["events"][0] == {"id": None, "opcode": 1, "version": 4, "name": "Start", "records": 10}
    assert (other["provider"], other["name"], other["events"][0]["name"]) == (OTHER, None, None)
    assert (other["events"][0]["opcode"], other["events"][0]["version"]) == (200, 1)
    assert header["provider"] == "hook-group-0x00"
    assert sum(provider["records"] for provider in facts["providers"]) == facts["records"]
    start_ns = (clock.start_filetime - 116_444_736_000_000_000) * 100
    assert (facts["first_ns"], facts["last_ns"]) == (start_ns, start_ns + 65 * 1_000_000_000)
    assert facts["first_time"] == time_text(start_ns)


def test_the_facts_are_json_and_say_what_the_header_says(tmp_path):
    path, clock = make(tmp_path / "a.etl")
    facts = describe_etl(path)
    assert json.loads(json.dumps(facts)) == facts
    assert (facts["kind"], facts["name"], facts["size"]) == ("etl", "a.etl", path.stat().st_size)
    header = facts["header"]
    assert (header["pointer_size"], header["buffer_size"], header["clock"]) == (8, 4096, "qpc")
    assert header["frequency"] == clock.frequency
    assert header["start_time"] == facts["first_time"]


def test_losses_and_doubts_are_listed(tmp_path):
    path, _ = make(tmp_path / "a.etl")
    data = path.read_bytes()
    path.write_bytes(data[:-10])
    facts = describe_etl(path)
    assert [row["name"] for row in facts["diagnostics"]] == ["cut_buffer"]
    assert facts["diagnostics"][0]["first_offset"] >= len(data) - 4096


def test_a_stranger_is_a_source_error(tmp_path):
    path = tmp_path / "a.etl"
    path.write_bytes(b"")
    with pytest.raises(SourceError):
        describe_etl(path)


def test_times_beyond_the_calendar_are_unknown():
    assert time_text(None) is None
    assert time_text(1 << 62) == "2116-02-20T23:53:38.427387904Z"
    assert time_text(-(1 << 80)) is None
