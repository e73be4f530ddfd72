"""One simulated history as five sources tell it: .etl, ETW as JSON, Procmon's CSV, Sysmon, and the Security log.

The last three are written of the rows of the .etl, each as its program would write them. What a program does not write
is not in the file; what a source can say of data is in SAYS, for who compares the answers.
"""

import struct
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from etw_texts import FORMS, records_of
from plain_rows import plain_rows
from procmon_csv import csv_text
from procmon_oracle import PROCMON_NAMES, shown_data, type_name
from procmon_parser.consts import get_error_message
from security_records import as_audits
from sysmon_records import as_lines, event
from two_sources import sysmon_time

import regtrace as rt
from tracer.ingest.pipeline import ingest
from tracer.named.context import NamedOptions
from tracer.registry.paths import display_path
from tracer.simulate import SimulationOptions, simulate

__all__ = ["SAYS", "as_procmon", "as_sysmon", "captures_of"]

Row = dict[str, Any]
# Types whose data a source says whole, where the data is as its type wants it (`is_plain`).
SAYS = {"security": {1, 2, 4, 11}, "sysmon": {1, 2, 4, 11}, "procmon-csv": {1, 2, 4}, "etw": set(range(12))}
_SYSMON = {
    "CreateKey": "CreateKey", "DeleteKey": "DeleteKey", "SetValueKey": "SetValue", "DeleteValueKey": "DeleteValue",
}  # fmt: skip
_QUERIES = {0: "Basic", 1: "Node", 2: "Full", 3: "Name", 4: "Cached", 7: "HandleTags"}


def captures_of(folder: Path, **options: Any) -> dict[str, Path]:
    """Simulate a history, write it as every source does, and return the capture of each file; "etl" is the trace's."""
    etl = folder / "host.etl"
    simulate(etl, SimulationOptions(preopened=0, foreign=0.0, **options), truth=False)
    files = {"etl": etl, "etw": folder / "etw.jsonl"}
    files["etw"].write_bytes(FORMS["watch_etw"](list(records_of(etl))))
    captures = {"etl": folder / "etl.regtrace"}
    ingest([etl], captures["etl"])
    with rt.open(captures["etl"]) as capture:
        rows = plain_rows(capture)
    texts = {
        "procmon-csv": "\ufeff" + as_procmon(rows),
        "sysmon": as_lines(as_sysmon(rows)),
        "security": as_lines(as_audits([{**row, "path": row["key"]} for row in rows])),
    }
    for source, text in texts.items():
        files[source] = folder / f"{source}.log"
        files[source].write_text(text, encoding="utf-8", newline="")
    for source in files.keys() - {"etl"}:
        captures[source] = folder / f"{source}.regtrace"
        ingest([files[source]], captures[source], named=NamedOptions(zone=UTC))
    return captures


def as_sysmon(rows: list[Row]) -> list[Row]:
    """Return the records that Sysmon would write, looked it at every key."""
    return [
        event(
            _SYSMON[row["operation"]],
            _path(row),
            UtcTime=sysmon_time(row["time_ns"]),
            ProcessId=str(row["pid"]),
            ProcessGuid=f"{{11111111-2222-3333-4444-{row['pid']:012}}}",
            Image=rf"C:\Windows\System32\{row['process']}",
            Details=_details(row) if row["operation"] == "SetValueKey" else None,
        )
        for row in rows
        if row["operation"] in _SYSMON and row["status"] == 0
    ]


def as_procmon(rows: list[Row]) -> str:
    """Return the CSV that Procmon would save, with all columns on and nothing filtered."""
    shown = []
    for row in rows:
        moment = datetime.fromtimestamp(row["time_ns"] // 10**9, UTC)
        shown.append(
            {
                "Time of Day": f"{moment:%I:%M:%S}.{row['time_ns'] % 10**9 // 100:07} {moment:%p}",
                "Date & Time": f"{moment:%m/%d/%Y %I:%M:%S %p}",
                "Process Name": row["process"],
                "Image Path": rf"C:\Windows\System32\{row['process']}",
                "PID": str(row["pid"]),
                "TID": str(row["tid"]),
                "Operation": PROCMON_NAMES[row["operation"]],
                "Path": _path(row),
                "Result": get_error_message(row["status"] or 0),  # a close has none in an .etl
                "Detail": ", ".join(f"{name}: {text}" for name, text in _detail(row)),
            }
        )
    return csv_text(shown)


def _path(row: Row) -> str:
    path = display_path(row["key"])
    if row["operation"] in ("QueryValueKey", "SetValueKey", "DeleteValueKey"):
        path += "\\" + (row["value_name"] or "(Default)")
    return path


def _details(row: Row) -> str:
    kind, data = row["data_type"], row["data"] or b""
    if (kind, len(data)) == (4, 4):
        return f"DWORD (0x{struct.unpack('<I', data)[0]:08x})"
    if (kind, len(data)) == (11, 8):
        low, high = struct.unpack("<II", data)
        return f"QWORD (0x{high:08x}-0x{low:08x})"
    if kind in (1, 2) and len(data) % 2 == 0 and data.endswith(b"\0\0"):
        return data.decode("utf-16-le")[:-1] or "(Empty)"
    return "Binary Data"


def _detail(row: Row) -> list[tuple[str, str]]:
    """Return what Procmon's Detail shows of a row, by name."""
    operation = row["operation"]
    if operation in ("OpenKey", "CreateKey"):
        made = {1: "REG_CREATED_NEW_KEY", 2: "REG_OPENED_EXISTING_KEY"}.get(row["disposition"])
        return [("Desired Access", "Read"), *([("Disposition", made)] if made else [])]
    if operation == "QueryKey" and row["information_class"] in _QUERIES:
        return [("Query", _QUERIES[row["information_class"]])]
    index = [("Index", f"{row['index']:,}")] if row["index"] is not None else []
    if operation not in ("SetValueKey", "QueryValueKey", "EnumerateValueKey"):
        return index
    if row["data_type"] is None:
        return [*index, ("Length", "144")]
    name = [("Name", row["value_name"] or "(Default)")] if index else []
    kind, data = row["data_type"], row["data"]
    told = [*index, *name, ("Type", type_name(kind))]
    if row["data_size"] is not None:
        told.append(("Length", f"{row['data_size']:,}"))
    if data:
        told.append(("Data", shown_data(kind, data[:16] if kind == 3 else data)))
    return told
