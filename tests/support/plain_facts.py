"""What each row of a capture says, and proves, of its own key: the words of `analysis.answers.evidence`."""

from typing import Any

__all__ = ["EITHER", "HIVES", "MISSING", "SHORT", "is_other_hive", "plain_fact", "tells_data"]

Row = dict[str, Any]
HIVES = ("LoadKey", "UnloadKey", "RestoreKey", "ReplaceKey")
EITHER = "CreateOrDelete"  # of the key, or of the value of its name in the key above
MISSING = (0xC0000034, 0xC000003A)
SHORT = (0x80000005, 0xC0000023)


def plain_fact(row: Row) -> str | None:
    """Return what a row proves, in the words of `analysis.answers.evidence`."""
    said = _said(row)
    if said is None or said == "failed" or not row.get("unproved"):
        return said
    if said in ("write", "delete", "unclear"):
        return "doubtful"
    if said in ("key_created", "key_deleted", "key_renamed", "key_unknown"):
        return "key_doubtful"
    return "key_hearsay" if said.startswith("key_") else "hearsay"


def _said(row: Row) -> str | None:
    name, status, value = row["operation"], row["status"], row["value_name"]
    done = status is not None and status < 0x80000000 and status != 0x103
    failed = status is not None and status >= 0x80000000
    if name in ("SetValueKey", "DeleteValueKey"):
        if value is None:
            return None
        if done:
            return "write" if name == "SetValueKey" else "delete"
        if name == "DeleteValueKey" and status == MISSING[0]:
            return "miss"
        return "failed" if failed else "unclear"
    if name in ("QueryValueKey", "EnumerateValueKey") and value is not None:
        if name == "QueryValueKey" and status == MISSING[0]:
            return "miss"
        if done:
            return "read" if tells_data(row) else "seen"
        if status in SHORT:
            return "seen"
    if name in ("OpenKey", "CreateKey"):
        if status == 0:
            return "key_created" if name == "CreateKey" and row["disposition"] == 1 else "key_opened"
        return "key_missing" if status in MISSING else None
    if name == "RenameKey":
        return "key_renamed" if done else None if failed else "key_unknown"
    if name in HIVES or (name == "HiveWork" and is_other_hive(row)):
        return None if failed else "key_unknown"
    if name == "CreateOrDelete":  # what its key holds now is not recorded
        return None if failed else "key_unknown"
    if name == "DeleteKey":
        return "key_deleted" if done else None if failed else "key_unknown"
    used = name in ("EnumerateKey", "EnumerateValueKey", "SetInformationKey")
    used = used or (name == "QueryKey" and row["information_class"] not in (None, 3, 7))
    return "key_used" if used and (done or status in (*SHORT, 0x8000001A)) else None


def tells_data(row: Row) -> bool:
    """Tell whether a read that was done tells what the value holds."""
    return row["data"] is not None or (row["data_size"] == 0 and row["data_type"] is not None)


def is_other_hive(row: Row) -> bool:
    names = ("UnloadHiveStart", "HiveDestroy", "HiveLink")
    return any(f'"event": "{name}"' in (row["detail"] or "") for name in names)
