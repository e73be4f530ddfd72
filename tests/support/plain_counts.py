"""What every question counts, by a plain loop and in words of its own: the reference of `tracer.registry.operations.GROUPS`."""

from collections.abc import Iterable
from typing import Any

from tracer.registry.ntstatus import is_failure

__all__ = ["COUNTS", "is_noise", "is_read", "is_unclear", "is_write", "plain_counts"]

COUNTS = (
    "events",
    "reads",
    "writes",
    "opens",
    "created",
    "deletes",
    "unclear_writes",
    "failures",
    "not_found",
)
READS = {
    "QueryKey", "QueryValueKey", "QueryMultipleValueKey", "QuerySecurityKey", "EnumerateKey", "EnumerateValueKey",
}  # fmt: skip
DELETES = {"DeleteKey", "DeleteValueKey"}
CHANGES = {
    "SetValueKey", "SetSecurityKey", "RenameKey", "LoadKey", "UnloadKey", "RestoreKey", "ReplaceKey",
}  # fmt: skip
HANDLE_TAGS = 5
KEY_NAME, TAGS_QUERY, REPARSE = 3, 7, 0x104


def is_read(row: dict[str, Any]) -> bool:
    return row["operation"] in READS


def is_write(row: dict[str, Any]) -> bool:
    """Tell whether a row is known to be a write, done or tried."""
    operation = row["operation"]
    if operation == "CreateKey":
        return row["disposition"] == 1
    if operation == "SetInformationKey":
        return row["information_class"] is not None and row["information_class"] != HANDLE_TAGS
    return operation in DELETES | CHANGES


def is_unclear(row: dict[str, Any]) -> bool:
    """Tell whether a row does not say whether it is a write."""
    operation, status = row["operation"], row["status"]
    if operation == "CreateKey":
        went_on = status == 0x104 or (status is not None and status >= 0x80000000)
        return row["disposition"] not in (1, 2) and not went_on
    if operation == "CreateOrDelete":  # it changed something, and does not say what
        return True
    return operation == "SetInformationKey" and row["information_class"] is None


def is_noise(row: dict[str, Any]) -> bool:
    """Tell whether Windows did it by itself."""
    operation, class_ = row["operation"], row["information_class"]
    if operation in ("OpenKey", "CreateKey"):
        return row["status"] == REPARSE
    if operation == "QueryKey":
        return class_ in (KEY_NAME, TAGS_QUERY)
    return operation == "QueryKeyName" or (operation == "SetInformationKey" and class_ == HANDLE_TAGS)


def plain_counts(rows: Iterable[dict[str, Any]], *, known: bool = True) -> dict[str, int | None]:
    """Return the counts of COUNTS; `known`: NULL where nobody could count, else the rows that say so."""
    rows = list(rows)
    found: dict[str, int | None] = {
        "events": len(rows),
        "reads": sum(map(is_read, rows)),
        "writes": sum(map(is_write, rows)),
        "opens": sum(row["operation"] in ("OpenKey", "CreateKey") for row in rows),
        "created": sum(row["operation"] == "CreateKey" and row["disposition"] == 1 for row in rows),
        "deletes": sum(row["operation"] in DELETES for row in rows),
        "unclear_writes": sum(map(is_unclear, rows)),
        "failures": sum(row["status"] is not None and is_failure(row["status"]) for row in rows),
        "not_found": sum(row["status"] == 0xC0000034 for row in rows),
    }
    if known and found["unclear_writes"]:
        found |= {name: found[name] or None for name in ("writes", "created")}
    return found
