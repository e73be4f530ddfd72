"""What a whole recording lacks is said: at ingest, in `info`, and as a row of `diagnostics`."""

import struct
from pathlib import Path

import pml_writer as pml
import pytest
import raw_etl as raw
from typer.testing import CliRunner

import regtrace as rt
from cli.app import app
from tracer.etl.providers import KERNEL_PROCESS, KERNEL_REGISTRY
from tracer.ingest.absence import MANY_OPENS

AT = raw.FIRST_STAMP


def key_event(id_: int, stamp: int, address: int, path: str = "") -> bytes:
    head = struct.pack("<QQII", 0, address, 0, 1) + b"\0\0" if id_ <= 2 else struct.pack("<QI", address, 0)
    return raw.event(id_, stamp, head + path.encode("utf-16-le") + b"\0\0", guid=KERNEL_REGISTRY, version=0)


def absent(folder: Path, content: bytes, name: str = "a.etl") -> list[str]:
    """Return which absence a capture's diagnostics tell; the manifest's notes tell the same."""
    (folder / name).write_bytes(content)
    manifest = rt.ingest([folder / name], folder / "c.regtrace", force=True)
    with rt.open(folder / "c.regtrace") as capture:
        rows = capture.sql("SELECT name, meaning FROM diagnostics WHERE regexp_matches(name, '(^|_)no_')")
    for meaning in rows["meaning"]:
        assert any(meaning in note for note in manifest.settings["notes"])
    assert manifest.complete
    return rows["name"].tolist()


def trace(*records: bytes) -> bytes:
    size = 72 + sum(len(record) + 7 & ~7 for record in records)
    return raw.etl(raw.buffer(*records, size=size + 7 & ~7))


def test_a_trace_without_registry_events_is_said_to_be_one(tmp_path):
    assert absent(tmp_path, trace(raw.event(1, AT))) == ["no_registry_events"]
    assert absent(tmp_path, trace(raw.event(2, AT, guid=KERNEL_PROCESS))) == ["no_registry_events"]
    assert absent(tmp_path, trace(key_event(2, AT, 0x7000, "\\REGISTRY\\MACHINE"))) == []


def test_uses_of_keys_without_one_open_are_said_to_be_nameless(tmp_path):
    uses = [key_event(12, AT + 1, 0x7000), key_event(13, AT + 2, 0x7000)]
    assert absent(tmp_path, trace(*uses)) == ["no_opens"]
    filled = [key_event(12, AT + 1, 0x7000, "\\REGISTRY\\MACHINE")]  # the record itself names the key
    assert absent(tmp_path, trace(*filled)) == []


def test_many_opens_without_one_close_are_said(tmp_path):
    opens = [key_event(2, AT + n, 0x7000 + 16 * n, "\\REGISTRY\\MACHINE") for n in range(MANY_OPENS)]
    assert absent(tmp_path, trace(*opens)) == ["no_closes"]
    assert absent(tmp_path, trace(*opens, key_event(13, AT + MANY_OPENS, 0x7000))) == []
    assert absent(tmp_path, trace(*opens[1:])) == []


def test_a_log_without_registry_events_is_said_to_be_one(tmp_path):
    other = pml.write_log([pml.created_process(8, 99, 4, "C:\\a.exe", "a")])
    assert absent(tmp_path, other.raw, "a.pml") == ["pml_no_registry_events"]
    assert absent(tmp_path, pml.write_log([pml.opened("HKLM\\A")]).raw, "b.pml") == []


@pytest.mark.parametrize("verb", ["ingest", "info"])
def test_the_command_line_says_it_with_the_command_that_records(tmp_path, monkeypatch, verb):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.etl").write_bytes(trace(raw.event(1, AT)))
    said = CliRunner().invoke(app, [verb, "a.etl"])
    assert said.exit_code == 0
    assert "regtrace capture" in " ".join(said.output.split())
