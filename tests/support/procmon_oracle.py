"""Procmon's own CSV of a log as the oracle, and our rows written the way Procmon writes its columns."""

import csv
import gzip
import io
import json
import re
import struct
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
from procmon_parser.consts import RegistryTypes, get_error_message, get_registry_access_mask_string

from tracer.pml.operations import OPERATIONS
from tracer.registry.text import fold_name
from tracer.resolve.tree import KeyTree

Rows = tuple[dict[str, str], ...]
PROCMON_NAMES = {ours: theirs for theirs, ours in OPERATIONS}
VALUE_OPERATIONS = {"QueryValueKey", "SetValueKey", "DeleteValueKey"}
_KEY_CLASSES = [
    "Basic",
    "Node",
    "Full",
    "Name",
    "Cached",
    "Flags",
    "Virtualization",
    "HandleTags",
    "Trust",
    "Layer",
]
_SET_CLASSES = {0: "KeyWriteTimeInformation", 1: "KeyWow64FlagsInformation", 5: "KeySetHandleTagsInformation"}


@cache
def csv_rows(path: Path) -> Rows:
    """Return the registry rows of a gzipped CSV; it is read once, and nobody changes them."""
    with gzip.open(path) as file:
        reader = csv.DictReader(io.TextIOWrapper(file, "utf-8-sig", newline=""))
        return tuple(row for row in reader if row["Event Class"] == "Registry")


def csv_time_ns(row: dict[str, str]) -> int:
    day = datetime.strptime(row["Date & Time"], "%m/%d/%Y %I:%M:%S %p").replace(tzinfo=UTC)
    return int(day.timestamp()) * 10**9 + int(row["Time of Day"].partition(".")[2][:7]) * 100


class SpellingTree:
    """Stands in for KeyTree where letters must be compared exactly: every spelling is a node of its own."""

    def __init__(self) -> None:
        self.nodes: dict[str, int] = {}

    def rooted(self, path: str) -> int:
        return self.nodes.setdefault(path, len(self.nodes))


def node_path(tree: KeyTree | SpellingTree, node: int) -> str:
    if isinstance(tree, SpellingTree):
        return next(path for path, known in tree.nodes.items() if known == node)
    parts = []
    while node != KeyTree.ROOT:
        parts.append(tree.names[node])
        node = tree.parents[node]
    text = "\\".join(reversed(parts))
    return "\\" + text if text.upper().startswith("REGISTRY") else text


def procmon_key(native: str, sid: str | None) -> str:
    """Return a native path as Procmon shows it."""
    roots = [("\\REGISTRY\\MACHINE\\SOFTWARE\\CLASSES", "HKCR"), ("\\REGISTRY\\MACHINE", "HKLM")]
    if sid:
        roots += [
            (f"\\REGISTRY\\USER\\{sid}_CLASSES", "HKCU\\Software\\Classes"),
            (f"\\REGISTRY\\USER\\{sid}", "HKCU"),
        ]
    for root, shown in [*roots, ("\\REGISTRY\\USER", "HKU")]:
        if fold_name(native) == root or fold_name(native).startswith(root + "\\"):
            return shown + native[len(root) :]
    return native


def rows_as_procmon_shows_them(
    batches: list[pa.RecordBatch], processes: pa.Table, tree: KeyTree | SpellingTree, sid: str | None
) -> Iterator[dict[str, object]]:
    names = {row["process_id"]: row for row in processes.to_pylist()}
    shown: dict[int, str] = {}
    for batch in batches:
        for row in batch.to_pylist():
            key_id = row["key_id"]
            if key_id not in shown:
                shown[key_id] = procmon_key(node_path(tree, key_id), sid)
            path = shown[key_id]
            if row["operation"] in VALUE_OPERATIONS:
                path += "\\" + (row["value_name"] or "(Default)")
            process = names[row["process_id"]]
            yield {
                "Operation": PROCMON_NAMES[row["operation"]],
                "Path": path,
                "Result": get_error_message(row["status"]),
                "time_ns": row["time_ns"],
                "Process Name": process["image"],
                "PID": str(process["pid"]),
                "TID": str(row["thread_id"]),
                "Duration": f"{row['duration_ns'] // 10**9}.{row['duration_ns'] % 10**9 // 100:07d}",
                "User": process["user"],
                "Command Line": process["command_line"],
                "Image Path": process["image_path"],
                "Parent PID": str(process["parent_pid"]),
                "Session": str(process["session_id"]),
                "Detail": ", ".join(f"{name}: {text}" for name, text in _detail(row)),
            }


def _detail(row: dict[str, Any]) -> Iterator[tuple[str, str]]:
    operation, data = row["operation"], row["data"]
    fields = json.loads(row["detail"] or "{}")
    if operation in ("OpenKey", "CreateKey") and fields["DesiredAccess"]:
        desired = get_registry_access_mask_string(fields["DesiredAccess"])
        yield "Desired Access", desired
        if "GrantedAccess" in fields:
            if desired == "Maximum Allowed":
                yield "Granted Access", get_registry_access_mask_string(fields["GrantedAccess"])
            if row["disposition"]:
                yield (
                    "Disposition",
                    {1: "REG_CREATED_NEW_KEY", 2: "REG_OPENED_EXISTING_KEY"}[row["disposition"]],
                )
    elif operation == "SetInformationKey":
        yield "KeySetInformationClass", _SET_CLASSES[row["information_class"]]
        # Procmon shows how much the log holds, which is 0 or all of it.
        yield "Length", str(fields["Length"] if fields.keys() - {"Length"} else 0)
    elif operation == "SetValueKey":
        yield "Type", type_name(row["data_type"])
        yield "Length", f"{row['data_size']:,}"
        if data:
            yield "Data", shown_data(row["data_type"], data)
    elif operation in ("QueryKey", "EnumerateKey"):
        if operation == "EnumerateKey":
            yield "Index", f"{row['index']:,}"
        else:
            yield "Query", _KEY_CLASSES[row["information_class"]]
        if fields.keys() == {"Length"}:
            yield "Length", f"{fields['Length']:,}"
        else:
            yield from _key_information(row["information_class"], fields)
    elif operation in ("QueryValueKey", "EnumerateValueKey"):
        if operation == "EnumerateValueKey":
            yield "Index", f"{row['index']:,}"
        if row["data_type"] is None:
            yield "Length", f"{fields['Length']:,}"
        else:
            if operation == "EnumerateValueKey":
                yield "Name", row["value_name"]
            yield "Type", type_name(row["data_type"])
            if row["data_size"] is not None:
                yield "Length", f"{row['data_size']:,}"
            if row["data_size"]:
                yield "Data", shown_data(row["data_type"], data)


def _key_information(kind: int, fields: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if kind == 7:
        yield "HandleTags", f"0x{fields['HandleTags']:x}"
    elif kind in (2, 4):
        yield "SubKeys", f"{fields['SubKeys']:,}"
        yield "Values", f"{fields['Values']:,}"
    elif kind in (0, 1):
        yield "Name", fields["Name"]


def type_name(kind: int) -> str:
    return RegistryTypes(kind).name if kind in list(RegistryTypes) else f"<Unknown: {kind}>"


def shown_data(kind: int, data: bytes) -> str:
    """Return data as Procmon shows it in the CSV."""
    if kind == 4:
        return str(struct.unpack_from("<I", data)[0]) if len(data) >= 4 else ""
    if kind in (1, 2):
        return "\n;".join(data.decode("utf-16-le", "replace").partition("\0")[0].split("\r\n"))
    if kind == 3:
        return data.hex(" ").upper()
    if kind == 7:
        return ", ".join(
            data.decode("utf-16-le", "replace").removesuffix("\0").removesuffix("\0").split("\0")
        )
    return ""


def shown_value(detail: str) -> tuple[str, str, str] | None:
    """Return type, length and data, as a Detail of Procmon's shows them; None where it shows no data."""
    found = re.search(r"(?:^|, )Type: (.*?), Length: (.*?), Data: (.*)", detail, re.DOTALL)
    return found and (found[1], found[2], found[3])
