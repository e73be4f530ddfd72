"""A capture for tests of exports: every kind of operation and value, hostile names, and what is not known."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from hand_capture import EPOCH_NS, MISSING, event, write_events
from small_capture import HOSTILE

from analysis.open import open_capture
from tracer.registry.operations import OPERATIONS
from tracer.schema import LOSSES, PROCESSES

__all__ = ["VENDOR", "rows_of", "without_nulls", "write_export_capture"]

VENDOR = "HKLM\\SOFTWARE\\Vendor"
_VALUES = (  # type, data
    (0, b"\1\2"),
    (1, "text\0".encode("utf-16-le")),
    (1, "no end".encode("utf-16-le")),
    (1, b"odd"),
    (2, "%TEMP%\0".encode("utf-16-le")),
    (3, b"\0\xff\n"),
    (3, b""),
    (4, b"\x10\0\0\0"),
    (4, b"\1\2"),
    (5, b"\0\0\0\x10"),
    (6, "\\REGISTRY\\MACHINE\0".encode("utf-16-le")),
    (7, "a\0b, c\0\0".encode("utf-16-le")),
    (7, b"\0\0"),
    (8, b"resource"),
    (11, b"\xff" * 8),
    (11, b"\2" + bytes(7)),
    (0x99, b"?"),
    (1, "=1+1\0".encode("utf-16-le")),
    (1, "line\nbreak\x1b[2J\0".encode("utf-16-le")),
    (1, ("x" * 40_000 + "\0").encode("utf-16-le")),
)


def write_export_capture(directory: Path) -> Path:
    """Write the capture and return it."""
    told: list[dict[str, Any]] = []
    for number, (kind, data) in enumerate(_VALUES):
        told.append(event("SetValueKey", VENDOR, f"v{number}", data_type=kind, data=data, data_size=len(data),
                          previous_type=_VALUES[number - 1][0], previous_data=_VALUES[number - 1][1],
                          previous_size=len(_VALUES[number - 1][1])))  # fmt: skip
        told.append(event("QueryValueKey", VENDOR, f"v{number}", data_type=kind, data=data, data_size=len(data),
                          process="reader.exe", duration_ns=1_500))  # fmt: skip
    told += [
        event("SetValueKey", VENDOR, name, data_type=1, data_size=8, flags=2, process=name)
        for name in HOSTILE
    ]
    told += [event("OpenKey", f"{VENDOR}\\{name}", requested_name=name, status=MISSING) for name in HOSTILE]
    told += [event(one.name, VENDOR, status=None, process=None) for one in OPERATIONS]
    told += [event(one.name, VENDOR, "") for one in OPERATIONS]
    told += [
        event("CreateKey", f"{VENDOR}\\New", disposition=1),
        event("CreateKey", f"{VENDOR}\\New", disposition=2, index=3),
        event("SetInformationKey", VENDOR, information_class=5),
        event("RenameKey", f"{VENDOR}\\Old", requested_name="Newer"),
        event("RenameKey", f"{VENDOR}\\Old", requested_name="Never", status=0xC0000022),
        event("HiveWork", None, name_source=None, process=None),
        event("SetValueKey", "<object 0xFFFF800012345678>", "v", name_source="none", flags=1 | 16),
        event("QueryKey", VENDOR, detail=json.dumps({"SubKeys": 3, "Name": HOSTILE[4]}), thread=None),
    ]
    write_events(directory, told)
    losses = [
        {"source_id": 0, "kind": "events", "count": 12, "from_ns": EPOCH_NS + 5_000, "to_ns": EPOCH_NS + 9_000, "evidence": "=header"},
        {"source_id": 0, "kind": "buffers", "count": None, "from_ns": None, "to_ns": None, "cpu": 1, "evidence": "lost\nbuffer"},
        {"source_id": 0, "kind": "blind", "count": None, "from_ns": EPOCH_NS, "to_ns": EPOCH_NS + 1_000, "evidence": None},
    ]  # fmt: skip
    filled = [{name: row.get(name) for name in LOSSES.names} for row in losses]
    pq.write_table(pa.Table.from_pylist(filled, schema=LOSSES.arrow()), directory / "losses.parquet")
    file = directory / "processes.parquet"
    people = pq.read_table(file).to_pylist()
    people[0] |= {
        "user": "PC\\ann",
        "image_path": "C:\\a.exe",
        "command_line": "=1+1 \x1b",
        "start_ns": EPOCH_NS - 1,
    }
    people[1] |= {"user": "S-1-5-18", "parent_pid": people[0]["pid"], "parent_id": people[0]["process_id"]}
    people[2] |= {"user": "bob", "parent_pid": 4}
    pq.write_table(pa.Table.from_pylist(people, schema=PROCESSES.arrow()), file)
    manifest = json.loads((directory / "capture.json").read_text())
    manifest["tables"]["losses"]["rows"] = len(losses)
    manifest["settings"] = {"recording": {"host": {"name": "PC-\u202e1"}}}
    (directory / "capture.json").write_text(json.dumps(manifest))
    return directory


def rows_of(capture: Path, **filters: Any) -> list[dict[str, Any]]:
    """Return the rows of a timeline, as `regtrace timeline` has them."""
    with open_capture(capture) as opened:
        return opened.queries.timeline(**filters).to_arrow().to_pylist()


def without_nulls(row: dict[str, Any]) -> dict[str, Any]:
    """Return the fields that are known."""
    return {name: value for name, value in row.items() if value is not None}
