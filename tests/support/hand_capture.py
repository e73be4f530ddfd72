"""Captures of events written down by hand: keys by path, processes by name, and what they did, in order."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from plain_rows import link_target

from tracer.registry.operations import BY_NAME
from tracer.registry.paths import display_path
from tracer.registry.text import fold_name
from tracer.schema import OPTIONAL, TABLES
from tracer.store.manifest import Manifest

__all__ = ["EPOCH_NS", "MISSING", "event", "write_events"]

EPOCH_NS = 1_714_557_600_000_000_000
MISSING = 0xC0000034


def event(operation: str, key: str | None = None, value: str | None = None, **more: Any) -> dict[str, Any]:
    r"""Return what happened; `key` is a native path, or as HKLM\ or HKU\ shows it.

    `more` are columns of the table `events`, and process (an image), thread, at_us (after EPOCH_NS).
    """
    return {"operation": operation, "key": key, "value_name": value, "status": 0} | more


def write_events(directory: Path, events: Sequence[dict[str, Any]], *, control_set: int | None = 1) -> Path:
    """Write a capture of these events into `directory`, which is made, and return it."""
    directory.mkdir(parents=True)
    paths: dict[str, int] = {}
    processes: dict[str, int] = {}
    rows = []
    for sequence, told in enumerate(events):
        row = {name: told[name] for name in TABLES["events"].names if name in told}
        time_ns = EPOCH_NS + 1000 * told.get("at_us", sequence)
        row |= {
            "sequence": sequence,
            "time_ns": time_ns,
            "flags": told.get("flags", 0),
            "source": "hand",
            "source_id": 0,
        }
        row["time"] = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time_ns // 1000)
        row["thread_id"] = told.get("thread", 1)
        row["notify_class"] = BY_NAME[told["operation"]].notify_class
        image = told.get("process", "a.exe")
        row["process_id"] = None if image is None else processes.setdefault(image, len(processes))
        key = told["key"]
        row["key_id"] = None if key is None else paths.setdefault(_native(key), len(paths))
        rows.append(row)
    for told in events:
        if told["operation"] == "RenameKey" and told.get("requested_name"):
            _name_anew(paths, _native(told["key"]), told["requested_name"])
    files = {"events": rows} if rows else {}
    files["keys"] = _key_rows(paths, control_set)
    files["processes"] = [
        {"process_id": number, "pid": 100 + 4 * number, "image": image, "source": "start"}
        for image, number in processes.items()
    ]
    tables = {}
    for name, table in TABLES.items():
        if name in OPTIONAL or (name == "events" and not rows):
            continue
        file = "events/part-00000.parquet" if name == "events" else f"{name}.parquet"
        filled = [{column: row.get(column) for column in table.names} for row in files.get(name, ())]
        if name == "events":
            filled.sort(key=lambda row: (row["key_id"] is None, row["key_id"], row["sequence"]))
        (directory / file).parent.mkdir(exist_ok=True)
        pq.write_table(
            pa.Table.from_pylist(filled, schema=table.arrow()), directory / file, row_group_size=16
        )
        tables[name] = {"file": file, "rows": len(filled), "columns": len(TABLES[name].names)}
    parts = []
    if rows:
        first, last = rows[0], rows[-1]
        parts.append(
            tables.pop("events")
            | {"first_sequence": 0, "last_sequence": len(rows) - 1}
            | {"first_ns": min(r["time_ns"] for r in rows), "last_ns": max(r["time_ns"] for r in rows)}
        )
        assert first["sequence"] <= last["sequence"]
    manifest = Manifest(
        complete=not any(told.get("flags", 0) for told in events),
        windows_build=None,
        clock="qpc",
        control_set=control_set,
        sources=[{"source_id": 0, "name": "hand", "kind": "etl", "size": 0, "facts": {}}],
        settings={},
        parts=parts,
        tables=tables,
        totals={"events": len(rows), "keys": len(paths), "processes": len(processes), "names": {}},
    )
    manifest.save(directory)
    return directory


def _name_anew(paths: dict[str, int], old: str, name: str) -> None:
    """Add what a rename makes of a key's path and of those below it, as an ingest does."""
    new = f"{old.rpartition(chr(92))[0]}\\{name}"
    for path in list(paths):
        if path == old or path.startswith(f"{old}\\"):
            paths.setdefault(new + path[len(old) :], len(paths))


def _native(key: str) -> str:
    for shown, native in (("HKLM", "\\REGISTRY\\MACHINE"), ("HKU", "\\REGISTRY\\USER")):
        if key == shown or key.startswith(shown + "\\"):
            return native + key[len(shown) :]
    return key


def _key_rows(paths: dict[str, int], control_set: int | None) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    groups: dict[str, int] = {}
    for path, key_id in paths.items():
        shown = display_path(path, control_set=control_set)
        folded = fold_name(shown)
        rows.append(
            {
                "key_id": key_id,
                "path": path,
                "display_path": shown,
                "folded_path": folded,
                "name": path.rpartition("\\")[2],
                "parent_id": paths.get(path.rpartition("\\")[0]),
                "depth": path.count("\\"),
                "same_as": groups.setdefault(link_target(folded), key_id),
            }
        )
    return rows
