"""Fields of events whose values come without names: the Properties of PowerShell's `Get-WinEvent`, in the order of the manifest."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tracer.columns.arrays import from_texts
from tracer.named.text_columns import bools
from tracer.registry.text import escape_name

__all__ = ["SUBJECT", "with_properties"]

SUBJECT = ("SubjectUserSid", "SubjectUserName", "SubjectDomainName", "SubjectLogonId")
_LISTED = {  # by the event's id, as Microsoft's documents of these events list them
    "4656": (
        *SUBJECT, "ObjectServer", "ObjectType", "ObjectName", "HandleId", "TransactionId", "AccessList", "AccessReason",
        "AccessMask", "PrivilegeList", "RestrictedSidCount", "ProcessId", "ProcessName", "ResourceAttributes",
    ),
    "4657": (
        *SUBJECT, "ObjectName", "ObjectValueName", "HandleId", "OperationType", "OldValueType", "OldValue", "NewValueType",
        "NewValue", "ProcessId", "ProcessName",
    ),
    "4658": (*SUBJECT, "ObjectServer", "HandleId", "ProcessId", "ProcessName"),
    "4660": (*SUBJECT, "ObjectServer", "HandleId", "ProcessId", "ProcessName", "TransactionId"),
    "4663": (
        *SUBJECT, "ObjectServer", "ObjectType", "ObjectName", "HandleId", "AccessList", "AccessMask", "ProcessId",
        "ProcessName", "ResourceAttributes",
    ),
}  # fmt: skip


def with_properties(fields: pa.Table) -> pa.Table:
    """Return the fields of records of the Security log, those that came as bare Properties taken by their places."""
    # Such a record's own ProcessId is the header's: no field of it is kept.
    bare = pc.and_(pc.is_null(fields["SubjectLogonId"]), pc.is_valid(fields["Properties"]))
    rows = np.flatnonzero(bools(bare))
    if not len(rows):
        return fields
    taken: dict[str, list[str | None]] = {name: [] for names in _LISTED.values() for name in names}
    events, listed = (fields[name].take(pa.array(rows)).to_pylist() for name in ("EventID", "Properties"))
    for event, text in zip(events, listed, strict=True):
        values = _values(text)
        own = (
            dict(zip(_LISTED[event], values, strict=False)) if len(values) >= len(_LISTED[event]) - 1 else {}
        )
        for name, column in taken.items():
            column.append(own.get(name))
    mask = np.zeros(fields.num_rows, bool)
    mask[rows] = True
    for name in taken.keys() & set(fields.column_names):
        column, mended = fields[name].combine_chunks(), from_texts(taken[name])
        fields = fields.set_column(
            fields.column_names.index(name), name, pc.replace_with_mask(column, pa.array(mask), mended)
        )
    return fields


def _values(text: str) -> list[str | None]:
    """Return the values of a list of Properties, which are texts, numbers or objects; empty where it is none."""
    try:
        listed = json.loads(text)
    except ValueError:
        return []
    values = [
        one.get("Value") if isinstance(one, dict) else one for one in listed if isinstance(listed, list)
    ]
    # A SID is an object with its own Value.
    inner = [one.get("Value") if isinstance(one, dict) else one for one in values]
    return [None if one is None or isinstance(one, dict | list) else escape_name(str(one)) for one in inner]
