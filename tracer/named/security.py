r"""Registry events of the Windows Security log (4656, 4657, 4658, 4660, 4663) as rows.

Fields are those of Microsoft's documents of these events; what real records look like was measured on 1,839 public ones
of several collectors (docs/sources/security.md). What is not obvious:

* 4657 tells of a value, its name apart from the key's, with the data before and after; it is logged only where that
  succeeded. Type and data "-" before a write mean that the value was new; the row's `detail` says so.
* 4656 is a request for a handle: `OpenKey`, as an open cannot be told from a create. A failed audit is a denied access.
* 4663 says which rights of a handle were used, not for what: `AccessKey`, neither a read nor a write. Of one write there
  are a 4663 and a 4657.
* 4658 (a handle was closed) and 4660 (an object was deleted) name no object: `tracer.named.handles` finds it by the handle.
  Records of files and of other objects are read as well, as far as they tell that a handle is not a key's any more.
* The process is ProcessId (hex) and ProcessName. ProcessID and ExecutionProcessID, which collectors take from the
  header, are of the process that writes the log.
* The subject is the account of the calling thread. A service acts for many accounts, so `detail` keeps that of each row.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tracer.columns.arrays import from_texts
from tracer.diagnostics import Diagnostics
from tracer.named.actors import Actors
from tracer.named.audit_codes import (
    NEW_VALUE,
    OPERATIONS,
    is_told,
    name_rights,
    read_data,
    read_number,
    read_rights,
    read_type,
)
from tracer.named.context import NamedContext
from tracer.named.properties import SUBJECT, with_properties
from tracer.named.rows import NamedRows, make_rows
from tracer.named.text_columns import bools, by_distinct, given, matches, numbers
from tracer.named.times import parse_times

__all__ = ["IDS", "is_security", "security_rows"]

OPEN, VALUE, CLOSE, DELETE, ACCESS = "4656", "4657", "4658", "4660", "4663"
IDS = (OPEN, VALUE, CLOSE, DELETE, ACCESS)
_DENIED = 0xC0000022  # STATUS_ACCESS_DENIED
_SUCCESS, _FAILURE = 1 << 53, 1 << 52  # bits of Keywords: audit success, audit failure
_OF_REGISTRY = "12801"  # the task (subcategory) Registry
_OF_HANDLES = "12807"  # Handle Manipulation: of objects of any type
_NO_TRANSACTION = "{00000000-0000-0000-0000-000000000000}"
Bools = NDArray[np.bool_]


def is_security(fields: pa.Table) -> Bools:
    """Return which records are such events of the Security log."""
    provider = fields["Provider"]
    named = matches(provider, "^(microsoft-windows-security-auditing|security)$")
    # Some exports keep no provider; then only the log's own fields tell.
    by_fields = pc.and_(pc.is_null(provider), pc.is_valid(fields["SubjectLogonId"]))
    return bools(
        pc.and_(pc.or_(pc.fill_null(named, False), by_fields), pc.is_in(fields["EventID"], pa.array(IDS)))
    )


def security_rows(fields: pa.Table, context: NamedContext, diagnostics: Diagnostics) -> Iterator[NamedRows]:
    """Yield the rows of such records (`is_security`).

    Args:
        fields: columns of `EVENT_FIELDS`, and `offset`.
        context: what all files share; the processes of the records are added.
        diagnostics: counts what a record does not say.
    """
    fields = with_properties(fields)
    times, has_time = parse_times(fields["TimeCreated"])
    for offset in fields["offset"].filter(pa.array(~has_time)).to_pylist():
        diagnostics.count("log_no_time", offset=offset)
    # NXLog's own time is local and in whole seconds; then TimeCreated is that of the collector behind it.
    collected = pc.and_(
        pc.is_valid(fields["EventTime"]), pc.not_equal(fields["EventTime"], fields["TimeCreated"])
    )
    diagnostics.count("log_time_of_collector", int(np.count_nonzero(bools(collected) & has_time)))
    fields["EventID"]
    operation = _operations(fields)
    unclear = has_time & ~bools(pc.is_valid(operation))
    diagnostics.count("security_unclear_operation", int(np.count_nonzero(unclear)))
    of_key = _of_key(fields)
    others = has_time & ~of_key
    diagnostics.count("log_other_records", int(np.count_nonzero(others)))
    # Those with a handle end the life of a key's handle of that number.
    others &= bools(pc.greater(numbers(fields["HandleId"], pa.int64()), 0))
    kept = np.flatnonzero(has_time & ~unclear & (of_key | others))
    order = numbers(fields["RecordNumber"], pa.int64())
    if not order.null_count:  # of several records of one time these say which came first
        kept = kept[np.argsort(order.to_numpy(zero_copy_only=False)[kept], kind="stable")]
    if len(kept):
        some = pa.array(kept)
        yield _rows(
            fields.take(some), operation.take(some), times[kept], others[kept], context.actors, diagnostics
        )


def _rows(
    fields: pa.Table,
    operation: pa.Array,
    times: NDArray[np.int64],
    others: Bools,
    actors: Actors,
    diagnostics: Diagnostics,
) -> NamedRows:
    """Return the rows of records that have a time and an operation; `others` are of objects that are no keys."""
    event = fields["EventID"]
    of_value = pc.equal(event, VALUE)
    path = pc.if_else(pa.array(others), None, given(fields["ObjectName"]))
    names_none = bools(pc.is_in(event, pa.array([CLOSE, DELETE])))
    diagnostics.count("log_no_target", int(np.count_nonzero(bools(pc.is_null(path)) & ~names_none & ~others)))
    may_be_other = pc.or_(
        pc.equal(event, CLOSE), pc.invert(pc.fill_null(pc.equal(_tasks(fields), _OF_REGISTRY), False))
    )
    handle, pid = numbers(fields["HandleId"], pa.int64()), numbers(fields["ProcessId"], pa.uint32())
    unnamed = pc.and_(of_value, pc.is_null(fields["ObjectValueName"]))
    diagnostics.count("security_no_value_name", int(np.count_nonzero(bools(unnamed))))
    new = _contents(fields, "New", of_value)
    old = _contents(fields, "Old", of_value)
    unread = np.count_nonzero(new.unread) + np.count_nonzero(old.unread)
    diagnostics.count("security_unread_data", int(unread))
    status = _status(fields)
    diagnostics.count("security_no_result", int(np.count_nonzero(~bools(status.is_valid()) & ~others)))
    return make_rows(
        fields.num_rows,
        {
            "time_ns": times,
            "actor": _actors(fields, pid, actors),
            "operation": operation,
            "status": status,
            "path": path,
            "value_name": pc.if_else(of_value, pc.fill_null(fields["ObjectValueName"], ""), None),
            # A number without the process whose it is says nothing.
            "handle": pc.if_else(pc.and_(pc.greater(handle, 0), pc.is_valid(pid)), handle, None),
            "needs_handle": pc.and_(pa.array(names_none), may_be_other),
            "other_object": others,
            "data_type": new.kind,
            "data_size": new.size,
            "data": new.data,
            "previous_type": old.kind,
            "previous_size": old.size,
            "previous_data": old.data,
            "source": "security",
            "event_id": pc.cast(event, pa.uint16()),
            "record_offset": fields["offset"],
            "detail": _details(fields, new.unread, old.unread),
        },
    )


def _of_key(fields: pa.Table) -> Bools:
    """Return which records are of a key, or may be."""
    kind = fields["ObjectType"]
    told = pc.fill_null(pc.not_equal(kind, "-"), False)
    native = pc.match_substring_regex(fields["ObjectName"], r"^\\REGISTRY(\\|$)", ignore_case=True)
    by_task = pc.is_in(_tasks(fields), pa.array([_OF_REGISTRY, _OF_HANDLES, None]))
    of_type = pc.if_else(told, pc.equal(pc.utf8_lower(kind), "key"), pc.fill_null(native, False))
    names_none = pc.is_in(fields["EventID"], pa.array([CLOSE, DELETE]))
    return bools(pc.if_else(names_none, by_task, pc.or_(of_type, pc.equal(fields["EventID"], VALUE))))


def _tasks(fields: pa.Table) -> pa.ChunkedArray:
    """Return the number of each record's task (subcategory); NULL where it is not told, or told in words."""
    task = fields["Task"]
    return pc.if_else(
        pc.match_substring_regex(task, "^[0-9]+$"),
        task,
        pc.if_else(pc.equal(task, "Registry"), _OF_REGISTRY, None),
    )


def _operations(fields: pa.Table) -> pa.Array:
    """Return the operation of each record; NULL where a 4657 does not say."""
    fixed = {OPEN: "OpenKey", CLOSE: "CloseKey", DELETE: "DeleteKey", ACCESS: "AccessKey"}

    def operation(event: str | None, kind: str | None) -> str | None:
        return fixed.get(event or "") or OPERATIONS.get((kind or "").strip().upper())

    names, places = by_distinct(fields, ("EventID", "OperationType"), operation)
    return from_texts(names).take(pa.array(places))


def _status(fields: pa.Table) -> pa.Array:
    """Return the NTSTATUS of each record; NULL where a request for a handle does not say how it ended."""

    def status(
        event: str | None, kind: str | None, keywords: str | None, outcome: str | None, has_handle: bool
    ) -> int | None:
        said = _succeeded(kind, keywords, outcome)
        if said is None:  # only of 4656 are there failures, which get no handle
            said = True if event != OPEN or has_handle else None
        return None if said is None else 0 if said else _DENIED

    has_handle = pc.fill_null(pc.greater(numbers(fields["HandleId"], pa.int64()), 0), False).cast(pa.string())
    some = fields.select(["EventID", "EventType", "Keywords", "Outcome"]).append_column("handle", has_handle)
    values, places = by_distinct(
        some,
        tuple(some.column_names),
        lambda event, kind, keywords, outcome, handle: status(
            event, kind, keywords, outcome, handle == "true"
        ),
    )
    return pa.array(values, pa.uint32()).take(pa.array(places))


def _succeeded(kind: str | None, keywords: str | None, outcome: str | None) -> bool | None:
    """Return whether an audit says that something succeeded; None where its fields do not."""
    for text in (kind, outcome, keywords):
        folded = (text or "").upper().replace("_", " ")
        if "AUDIT SUCCESS" in folded or folded == "SUCCESS":
            return True
        if "AUDIT FAILURE" in folded or folded == "FAILURE":
            return False
    bits = read_number((keywords or "").removeprefix("-"))
    if bits is None:
        return None
    if (keywords or "").startswith("-"):  # the 64 bits as a signed number
        bits = (1 << 64) - bits
    return True if bits & _SUCCESS else False if bits & _FAILURE else None


@dataclass(frozen=True, slots=True)
class _Contents:
    """Data of each record's value: its type, size and bytes (None: not told), and where there is a text that was not read."""

    kind: pa.Array
    size: pa.Array
    data: pa.Array
    unread: Bools


def _contents(fields: pa.Table, side: str, of_value: pa.ChunkedArray) -> _Contents:
    """Return the data before (`Old`) or after (`New`) of the records of values."""

    def content(kind: str | None, text: str | None) -> tuple[int | None, int | None, bytes | None, bool]:
        number = read_type(kind)
        size, data = read_data(number, text)
        return number, size, data, data is None and is_told(kind, text)

    some = pa.table(
        {name: pc.if_else(of_value, fields[name], None) for name in (f"{side}ValueType", f"{side}Value")}
    )
    values, places = by_distinct(some, tuple(some.column_names), content)
    at = pa.array(places)
    return _Contents(
        pa.array([value[0] for value in values], pa.uint32()).take(at),
        pa.array([value[1] for value in values], pa.uint32()).take(at),
        pa.array([value[2] for value in values], pa.binary()).take(at),
        np.array([value[3] for value in values], bool)[places],
    )


def _actors(fields: pa.Table, pid: pa.Array, actors: Actors) -> pa.Array:
    """Return the number of each record's process: its id and image; where the id was lost, its image and logon session."""
    image = given(fields["ProcessName"])
    has_pid = pc.is_valid(pid)
    identity = {
        "pid": pid.cast(pa.string()),
        "image": pc.utf8_lower(image),
        "logon": pc.if_else(pc.or_(has_pid, pc.is_null(image)), None, given(fields["SubjectLogonId"])),
    }
    name, domain = given(fields["SubjectUserName"]), given(fields["SubjectDomainName"])
    account = pc.if_else(pc.is_null(domain), name, pc.binary_join_element_wise(domain, name, "\\"))
    facts = {"pid": pid, "image_path": image}
    # A service acts for several accounts: then the process's own is unknown.
    agreed = {"user": pc.coalesce(account, given(fields["SubjectUserSid"]))}
    return actors.number("security", identity, facts, agreed)


def _details(fields: pa.Table, new_unread: Bools, old_unread: Bools) -> pa.Array:
    """Return the JSON of what has no column: the rights, the handle's number, the subject, and data that was not read."""

    def detail(
        event: str, access: str, codes: str, reason: str, kind: str, handle: str, transaction: str,
        sid: str, name: str, domain: str, logon: str, new: str, old: str,
    ) -> str | None:  # fmt: skip
        said: dict[str, Any] = {}
        rights = read_rights(access, codes)
        if rights is not None:
            said["DesiredAccess" if event == OPEN else "AccessMask"] = rights
            said["Rights"] = name_rights(rights)
        if event == VALUE and (kind or "").strip().upper() in NEW_VALUE:
            said["OperationType"] = "new value"
        texts = {
            "AccessReason": reason, "NewValue": new, "OldValue": old, "HandleId": handle, "SubjectUserSid": sid,
            "SubjectUserName": name, "SubjectDomainName": domain, "SubjectLogonId": logon,
            "TransactionId": None if transaction == _NO_TRANSACTION else transaction,
        }  # fmt: skip
        said |= {word: text for word, text in texts.items() if text and text != "-"}
        return json.dumps(said, ensure_ascii=False) if said else None

    names = (
        "EventID", "AccessMask", "AccessList", "AccessReason", "OperationType", "HandleId", "TransactionId", *SUBJECT,
    )  # fmt: skip
    some = fields.select(names)
    for column, unread in (("NewValue", new_unread), ("OldValue", old_unread)):
        some = some.append_column(column, pc.if_else(pa.array(unread), fields[column], None))
    texts, places = by_distinct(some, tuple(some.column_names), detail)
    return from_texts(texts).take(pa.array(places))
