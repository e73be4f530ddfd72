"""A small capture written straight with pyarrow, and the plain-Python answers to compare with.

It holds what is awkward: hostile names, two spellings of one key, an unnamed object, a key that was named
later, rows without a key or a status, integers beyond 2**53, several parts, rows out of order inside a part.
"""

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tracer.registry.operations import BY_NAME
from tracer.registry.paths import display_path
from tracer.registry.text import escape_name, fold_name
from tracer.schema import DIAGNOSTICS, EVENTS, EXTENDED, HANDLES, KEYS, LOSSES, PROCESSES, Table
from tracer.store.manifest import Manifest

__all__ = ["BIG", "CONTROL_SET", "EPOCH_NS", "HOSTILE", "KEY_PATHS", "SID", "joined_rows", "write_capture"]

CONTROL_SET = 1
SID = "S-1-5-21-1-2-3-1001"
BIG = 2**53 + 1  # the first integer that a float64 cannot hold
EPOCH_NS = 1_714_557_600_000_000_100  # 2024-05-01T10:00:00.0000001Z
HOSTILE = (
    escape_name("nul\0inside"),
    escape_name("\ud800lone"),
    "=cmd|' /C calc'!A0",
    "<script>alert(1)</script>",
    "\x1b[31mred\x1b[0m",
    "line\nbreak",
    'it\'s "quoted"; DROP TABLE keys; --',
    "100%_[a]*?{x}",
    "\u202egnp.exe",
    "Straße ıſµ",
)
# (path, same_as or None for itself, name_source)
KEY_PATHS: tuple[tuple[str, int | None, str | None], ...] = (
    ("\\REGISTRY\\MACHINE", None, None),
    ("\\REGISTRY\\MACHINE\\SOFTWARE", None, None),
    ("\\REGISTRY\\MACHINE\\SOFTWARE\\Vendor", None, None),
    ("\\REGISTRY\\MACHINE\\SOFTWARE\\Vendor\\Run", None, None),
    ("\\REGISTRY\\MACHINE\\SOFTWARE\\VendorX", None, None),
    ("\\REGISTRY\\MACHINE\\SYSTEM\\ControlSet001\\Services", None, None),
    ("\\REGISTRY\\MACHINE\\SYSTEM\\CurrentControlSet\\Services", 5, None),
    ("\\REGISTRY\\MACHINE\\SYSTEM\\ControlSet002\\Services", None, None),
    (f"\\REGISTRY\\USER\\{SID}\\Software\\Run", None, None),
    (f"\\REGISTRY\\USER\\{SID}_Classes\\.txt", None, None),
    ("<object 0xFFFF800012345678>", None, "none"),
    ("<object 0xFFFF800012345678>\\below", None, "partial"),
    ("\\REGISTRY\\MACHINE\\SOFTWARE\\Vendor\\Run", 3, "later"),
    ("\\REGISTRY\\A\\{0b1c}\\Settings", None, "rundown"),
    *((f"\\REGISTRY\\MACHINE\\SOFTWARE\\Hostile\\{name}", None, None) for name in HOSTILE),
    ("<object 0xFFFF800099999999>", 2, "later"),
)
_PROCESSES = (
    # pid, image, image_path, command_line, user
    (4, "System", None, None, "S-1-5-18"),
    (1234, "setup.exe", "\\Device\\HarddiskVolume1\\Temp\\setup.exe", '"setup.exe" /S', SID),
    (1236, "Setup-helper.EXE", None, None, None),
    (1234, "<b>evil</b>.exe", None, "=1+1", SID),  # the pid was used again
    (4_294_967_295, None, None, None, None),
)
_CYCLE = (
    # operation, status, value, type, data
    ("OpenKey", 0, None, None, None),
    ("QueryValueKey", 0xC0000034, "Path", None, None),
    ("QueryValueKey", 0x80000005, "PATH", 1, b"a\0"),
    ("SetValueKey", 0, "", 1, "text\0".encode("utf-16-le")),
    ("SetValueKey", 0xC0000022, "Device\\Volume*", 4, b"\1\0\0\0"),
    ("EnumerateKey", 0x8000001A, None, None, None),
    ("CreateKey", 0, None, None, None),
    ("DeleteValueKey", 0xC0001234, HOSTILE[0], None, None),
    ("CreateKey", 0x104, None, None, None),
    ("CloseKey", None, None, None, None),
    ("SetValueKey", 0, HOSTILE[4], 3, b""),
    ("RenameKey", None, None, None, None),
)


def _nearest_above(path: str) -> int | None:
    above = [
        (len(top), key_id) for key_id, (top, _, _) in enumerate(KEY_PATHS) if path.startswith(top + "\\")
    ]
    return max(above)[1] if above else None


def _key_rows() -> list[dict[str, Any]]:
    rows = []
    for key_id, (path, same_as, source) in enumerate(KEY_PATHS):
        shown = display_path(path, control_set=CONTROL_SET)
        rows.append(
            {
                "key_id": key_id,
                "path": path,
                "display_path": shown,
                "folded_path": fold_name(shown),
                "parent_id": _nearest_above(path),  # the keys between are left out
                "name": path.rpartition("\\")[2],
                "depth": len([part for part in path.split("\\") if part]),
                "same_as": key_id if same_as is None else same_as,
                "name_source": source,
            }
        )
    return rows


def _process_rows() -> list[dict[str, Any]]:
    return [
        {
            "process_id": number,
            "pid": pid,
            "image": image,
            "image_path": path,
            "command_line": command,
            "user": user,
            "start_ns": BIG + number if number % 2 else None,
            "source": "start" if image else "none",
        }
        for number, (pid, image, path, command, user) in enumerate(_PROCESSES)
    ]


def _event_rows(events: int) -> list[dict[str, Any]]:
    rows = []
    for sequence in range(events):
        operation, status, value, kind, data = _CYCLE[sequence % len(_CYCLE)]
        known = BY_NAME[operation]
        time_ns = EPOCH_NS + sequence * 1_000_000_100
        key_id = (sequence * 7) % (len(KEY_PATHS) + 1)
        rows.append(
            {
                "sequence": sequence,
                "time": datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time_ns // 1000),
                "time_ns": time_ns,
                "cpu": sequence % 2 or None,
                "thread_id": sequence if sequence % 3 else None,
                "process_id": sequence % 6 if sequence % 6 < len(_PROCESSES) else None,
                "operation": operation,
                "notify_class": known.notify_class,
                "phase": known.phase,
                "status": status,
                "key_id": None if key_id == len(KEY_PATHS) else key_id,
                "handle_id": BIG + sequence if sequence % 2 else None,
                "value_name": value,
                "disposition": (1 + sequence // 12 % 2) if operation == "CreateKey" and status == 0 else None,
                "data_type": kind,
                "data_size": None if data is None else len(data),
                "data": data,
                "name_source": "event" if sequence % 5 == 0 and key_id < 9 else None,
                "source": "simulated",
                "source_id": 0,
                "event_id": sequence % 16,
                "record_offset": BIG * 2 + sequence,
                "flags": 0,
            }
        )
    return rows


def joined_rows(events: int = 120) -> list[dict[str, Any]]:
    """Return what the view `events` must hold, by plain dictionaries."""
    keys, processes = _key_rows(), _process_rows()
    rows = []
    for stored in _event_rows(events):
        row = {name: stored.get(name) for name in EVENTS.names}
        key = {} if row["key_id"] is None else keys[row["key_id"]]
        process = {} if row["process_id"] is None else processes[row["process_id"]]
        row["key"], row["display_key"] = key.get("path"), key.get("display_path")
        row["same_as"] = key.get("same_as")
        row["process"], row["pid"] = process.get("image"), process.get("pid")
        row["user"], row["command_line"] = process.get("user"), process.get("command_line")
        row["tid"] = row.pop("thread_id")
        if key:
            row["name_source"] = row["name_source"] or key["name_source"] or "none"
        rows.append(row)
    return rows


def _write(directory: Path, file: str, table: Table, rows: list[dict[str, Any]]) -> dict[str, Any]:
    path = directory / file
    path.parent.mkdir(parents=True, exist_ok=True)
    filled = [{name: row.get(name) for name in table.names} for row in rows]
    pq.write_table(pa.Table.from_pylist(filled, schema=table.arrow()), path, row_group_size=16)
    return {"file": file, "rows": len(rows)}


def write_capture(directory: Path, *, events: int = 120, part_rows: int = 50, complete: bool = False) -> Path:
    """Write the capture into `directory`, which is made, and return it."""
    directory.mkdir(parents=True)
    rows = _event_rows(events)
    parts = []
    for number, start in enumerate(range(0, events, part_rows)):
        part = rows[start : start + part_rows]
        stored = sorted(part, key=lambda row: (row["key_id"] is None, row["key_id"], row["sequence"]))
        entry = _write(directory, f"events/part-{number:05}.parquet", EVENTS, stored)
        entry |= {"first_sequence": part[0]["sequence"], "last_sequence": part[-1]["sequence"]}
        entry |= {"first_ns": part[0]["time_ns"], "last_ns": part[-1]["time_ns"]}
        parts.append(entry)
    loss = {"source_id": 0, "kind": "buffers", "count": BIG, "evidence": "header"}
    odd = {"name": "events_lost", "severity": "loss", "count": 3, "meaning": "<i>Lost</i>."}
    tables = {
        "keys": _write(directory, "keys.parquet", KEYS, _key_rows()),
        "handles": _write(directory, "handles.parquet", HANDLES, []),
        "processes": _write(directory, "processes.parquet", PROCESSES, _process_rows()),
        "extended": _write(
            directory, "extended.parquet", EXTENDED, [{"sequence": 1, "stack": [-1, BIG]}, {"sequence": 2}]
        ),
        "losses": _write(directory, "losses.parquet", LOSSES, [] if complete else [loss]),
        "diagnostics": _write(directory, "diagnostics.parquet", DIAGNOSTICS, [] if complete else [odd]),
    }
    source = {"source_id": 0, "name": "<b>boot\x1b</b>.etl", "kind": "etl", "size": 1, "simulated": True}
    source |= {"sha256": hashlib.sha256(b"").hexdigest(), "first_ns": None, "last_ns": None, "facts": {}}
    manifest = Manifest(
        complete=complete,
        windows_build=26100,
        clock="qpc",
        control_set=CONTROL_SET,
        sources=[source],
        settings={},
        parts=parts,
        tables=tables,
        totals={
            "events": events,
            "records": events,
            "keys": len(KEY_PATHS),
            "processes": len(_PROCESSES),
            "names": {},
        },
    )
    manifest.save(directory)
    return directory
