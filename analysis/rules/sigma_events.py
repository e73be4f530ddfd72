"""The writes of captures as Sigma's rules see them: each distinct one once, with the sequences of its events.

A write that no rule can tell from another (the same key, value, data, process, operation) is decided once, however often it
happened. `WRITES_SQL` makes these of stored event rows; this module gives them Sysmon's fields.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from analysis.engine.relation import Relation
from analysis.rules.sigma_columns import FieldColumn, column_of
from analysis.rules.sigma_fields import (
    ABSENT,
    Known,
    details_of,
    event_types,
    image_of,
    key_name,
    new_name_of,
    target_of,
    user_of,
)
from analysis.rules.sigma_tests import MAYBE, NO, YES, Trits
from tracer.registry.image_paths import GUESS
from tracer.registry.ntstatus import NOT_SUCCESS, REPARSE
from tracer.schema import FLAGS

__all__ = ["OPERATIONS", "CaptureWrites", "Writes", "writes_relation"]

OPERATIONS = ("SetValueKey", "CreateKey", "DeleteKey", "DeleteValueKey", "RenameKey", "CreateOrDelete")
_OF_VALUES = ("SetValueKey", "DeleteValueKey")
_IDS = {"SetValueKey": "13", "RenameKey": "14"}  # Sysmon's event ids; every other operation is a 12
# CreateOrDelete is a create, or the delete of a key or of a value: its record lost which.
_UNCLEAR = ("CreateKey", "DeleteKey", "DeleteValueKey")
# What these report as a create is one, though they say no disposition.
_TELLERS = ("sysmon", "defender")
_PENDING = 0x103
_NO_DETAILS = '"Details":null'  # `tracer.named.sysmon` marks a record without Details so
_COLUMNS = (
    ("key_id", "int64"), ("process_id", "int64"), ("operation", "string"), ("value_name", "string"), ("requested_name", "string"),
    ("status", "uint32"), ("disposition", "uint32"), ("data_type", "uint32"), ("data_size", "uint32"), ("data", "binary"),
    ("is_cut", "bool"), ("is_binary", "bool"), ("is_told", "bool"), ("sequences", "list<item: int64>"),
)  # fmt: skip


def writes_relation(rows: Relation, *, attempts: bool = False) -> Relation:
    """Return the distinct writes among event rows; the columns are those of `CaptureWrites.writes`.

    Creates that opened a key which was there, and operations that met a link and go on elsewhere, are none.

    Args:
        rows: stored event rows.
        attempts: also those that failed.
    """
    listed = ", ".join(f"'{name}'" for name in OPERATIONS)
    tellers = ", ".join(f"'{name}'" for name in _TELLERS)
    also = " OR ".join(f"""contains(detail, '"{name}":{{"source_id":')""" for name in _TELLERS)
    told = f"coalesce(source IN ({tellers}) OR {also}, false)"
    done = "true" if attempts else f"status < {NOT_SUCCESS}"
    # Of other types nothing is shown but that they are such.
    shown = "operation = 'SetValueKey' AND (data_type IS NULL OR data_type IN (1, 2, 4, 11))"
    sql = f"""
        SELECT key_id::BIGINT AS key_id, process_id::BIGINT AS process_id, operation, value_name,
            CASE WHEN operation = 'RenameKey' THEN requested_name END AS requested_name, status,
            CASE WHEN operation = 'CreateKey' THEN disposition END AS disposition,
            CASE WHEN operation = 'SetValueKey' THEN data_type END AS data_type,
            CASE WHEN {shown} THEN data_size END AS data_size, CASE WHEN {shown} THEN data END AS data,
            flags & {FLAGS["data_truncated"]} <> 0 AS is_cut,
            source = 'sysmon' AND operation = 'SetValueKey' AND data_type IS NULL AND data IS NULL AND data_size IS NULL
                AND NOT coalesce(contains(detail, '{_NO_DETAILS}'), false) AS is_binary,
            {told} AS is_told, list(sequence::BIGINT) AS sequences
        FROM {rows.source}
        WHERE operation IN ({listed}) AND (status IS NULL OR (status NOT IN ({REPARSE}, {_PENDING}) AND {done}))
            AND NOT (operation = 'CreateKey' AND coalesce(disposition = 2, false) AND NOT {told})
        GROUP BY ALL
    """
    return Relation(sql, _COLUMNS)


@dataclass(frozen=True, slots=True)
class CaptureWrites:
    """The distinct writes of one capture.

    Attributes:
        writes: the rows of `writes_relation`.
        keys: key_id and display_path of the keys in them.
        processes: process_id, pid, image, image_path, dos_path, dos_path_source and user of all processes.
        control_set: the control set in force; None if unknown.
    """

    writes: pa.Table
    keys: pa.Table
    processes: pa.Table
    control_set: int | None


class Writes:
    """The distinct writes of captures.

    Attributes:
        fields: what is known of each field, by Sigma's name of it.
        happened: whether the write happened: yes, or cannot tell.
        failed: whether it is an attempt that failed.
        sequences: of each write those of its events.
        times: how many events each one stands for.
    """

    def __init__(self, captures: Sequence[CaptureWrites]) -> None:
        parts = [one.writes for one in captures]
        writes = pa.concat_tables(parts) if parts else pa.schema([]).empty_table()
        columns = {name: writes[name].to_pylist() for name in writes.column_names if name != "sequences"}
        self.sequences: pa.Array = (
            writes["sequences"].combine_chunks() if parts else pa.array([], pa.list_(pa.int64()))
        )
        self.times: NDArray[np.int64] = np.diff(self.sequences.offsets.to_numpy()).astype(np.int64)
        self.operations: list[str] = columns.get("operation", [])
        used = set(columns.get("key_id", []))
        keys = {
            key_id: key_name(path, one.control_set)
            for one in captures
            for key_id, path in zip(
                *(one.keys[name].to_pylist() for name in ("key_id", "display_path")), strict=True
            )
            if key_id in used
        }
        processes: dict[int, tuple[Known, Known, Known]] = {}
        for one in captures:
            for row in one.processes.to_pylist():
                pid = row["pid"]
                shown = Known((str(pid),)) if pid is not None else Known((), "nothing", "process id")
                is_proved = row["dos_path_source"] not in (None, GUESS)  # a rule must not rest on a guess
                image = image_of(row["image"], row["dos_path"] if is_proved else row["image_path"], pid)
                processes[row["process_id"]] = (image, user_of(row["user"]), shown)
        nobody = tuple(Known((), "nothing", gap) for gap in ("process", "user", "process id"))
        nameless = key_name(None, None)
        key_ids, operations, names = columns.get("key_id", []), self.operations, columns.get("value_name", [])
        is_value = [name in _OF_VALUES for name in operations]

        def by_process(place: int) -> FieldColumn:
            return column_of(
                columns.get("process_id", []), lambda number: processes.get(number, nobody)[place]
            )

        written = ("data_type", "data_size", "data", "is_cut", "is_binary")
        self.fields: dict[str, FieldColumn] = {
            "TargetObject": column_of(
                [*zip(key_ids, names, is_value, strict=True)],
                lambda one: target_of(keys.get(one[0], nameless), one[1], is_value=one[2]),
                is_spelled=False,
            ),
            "Details": column_of(
                [*zip(operations, *(columns.get(name, []) for name in written), strict=True)],
                lambda one: (
                    ABSENT
                    if one[0] != "SetValueKey"
                    else details_of(one[1], one[2], one[3], is_cut=one[4], is_binary=one[5])
                ),
            ),
            "NewName": column_of(
                [*zip(operations, key_ids, columns.get("requested_name", []), strict=True)],
                lambda one: (
                    new_name_of(keys.get(one[1], nameless), one[2]) if one[0] == "RenameKey" else ABSENT
                ),
                is_spelled=False,
            ),
            "EventType": column_of(operations, event_types),
            "EventID": column_of(operations, lambda name: Known((_IDS.get(name, "12"),))),
            "Image": by_process(0),
            "User": by_process(1),
            "ProcessId": by_process(2),
        }
        self._doubts = self._find_doubts(columns)
        self.happened: Trits = np.where([bool(one) for one in self._doubts], MAYBE, YES).astype(np.uint8)
        self.failed: NDArray[np.bool_] = np.array(
            [(one or 0) >= NOT_SUCCESS for one in columns.get("status", [])], bool
        )

    def __len__(self) -> int:
        return len(self.operations)

    def of_operations(self, names: Sequence[str]) -> Trits:
        """Return of each write whether its operation is one of some."""
        unclear = sum(name in names for name in _UNCLEAR)
        found = dict.fromkeys(OPERATIONS, NO) | dict.fromkeys(names, YES)
        found["CreateOrDelete"] = YES if unclear == len(_UNCLEAR) else MAYBE if unclear else NO
        return np.fromiter((found[name] for name in self.operations), np.uint8, len(self.operations))

    def doubts(self, rows: NDArray[np.int64]) -> list[tuple[str, NDArray[np.int64]]]:
        """Return what is not known of whether some writes happened, each with the writes."""
        gaps: dict[str, list[int]] = {}
        for row in rows.tolist():
            if self._doubts[row]:
                gaps.setdefault(self._doubts[row], []).append(row)
        return [(gap, np.array(some, np.int64)) for gap, some in gaps.items()]

    @staticmethod
    def _find_doubts(columns: dict[str, list[object]]) -> list[str]:
        """Return of each write why it is not sure that it happened; "" where it is."""
        names = ("operation", "status", "disposition", "is_told")
        return [
            "success"
            if status is None
            else "whether the key was made"
            if operation == "CreateKey" and disposition is None and not told and status == 0
            else ""
            for operation, status, disposition, told in zip(
                *(columns.get(name, []) for name in names), strict=True
            )
        ]
