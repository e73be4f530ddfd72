"""NTSTATUS codes by name, and which of them a user would call a failure."""

__all__ = [
    "NAME_NOT_FOUND",
    "NOT_FAILURES",
    "NOT_SUCCESS",
    "REPARSE",
    "STATUSES",
    "TOO_SHORT",
    "find_status",
    "is_failure",
    "status_name",
]

STATUSES = {  # ntstatus.h; the names leave out STATUS_
    0x00000000: "SUCCESS",
    0x00000103: "PENDING",
    0x00000104: "REPARSE",
    0x0000010B: "NOTIFY_CLEANUP",
    0x0000010C: "NOTIFY_ENUM_DIR",
    0x40000009: "REGISTRY_RECOVERED",
    0x40000016: "PREDEFINED_HANDLE",
    0x80000005: "BUFFER_OVERFLOW",
    0x8000001A: "NO_MORE_ENTRIES",
    0x8000002A: "REGISTRY_HIVE_RECOVERED",
    0xC0000001: "UNSUCCESSFUL",
    0xC0000003: "INVALID_INFO_CLASS",
    0xC0000008: "INVALID_HANDLE",
    0xC000000D: "INVALID_PARAMETER",
    0xC0000022: "ACCESS_DENIED",
    0xC0000023: "BUFFER_TOO_SMALL",
    0xC0000024: "OBJECT_TYPE_MISMATCH",
    0xC0000033: "OBJECT_NAME_INVALID",
    0xC0000034: "OBJECT_NAME_NOT_FOUND",
    0xC0000035: "OBJECT_NAME_COLLISION",
    0xC0000039: "OBJECT_PATH_INVALID",
    0xC000003A: "OBJECT_PATH_NOT_FOUND",
    0xC000003B: "OBJECT_PATH_SYNTAX_BAD",
    0xC0000043: "SHARING_VIOLATION",
    0xC0000061: "PRIVILEGE_NOT_HELD",
    0xC000009A: "INSUFFICIENT_RESOURCES",
    0xC00000BB: "NOT_SUPPORTED",
    0xC0000106: "NAME_TOO_LONG",
    0xC0000121: "CANNOT_DELETE",
    0xC000014C: "REGISTRY_CORRUPT",
    0xC000014D: "REGISTRY_IO_FAILED",
    0xC000015C: "NOT_REGISTRY_FILE",
    0xC000017C: "KEY_DELETED",
    0xC000017D: "NO_LOG_SPACE",
    0xC0000180: "KEY_HAS_CHILDREN",
    0xC0000181: "CHILD_MUST_BE_VOLATILE",
    0xC0000189: "TOO_LATE",
    0xC0000256: "REGISTRY_QUOTA_LIMIT",
    0xC0000425: "HIVE_UNLOADED",
    0xC0000503: "CALLBACK_BYPASS",
    0xC0190001: "TRANSACTIONAL_CONFLICT",
    0xC0190003: "TRANSACTION_NOT_ACTIVE",
}

NAME_NOT_FOUND = 0xC0000034  # what misses end with, of a key or of a value
REPARSE = 0x00000104  # a link was met: the operation goes on at another name, in an event of its own
NOT_SUCCESS = 0x80000000  # NT_SUCCESS is false from here on: warnings and errors (ntdef.h)
# BUFFER_OVERFLOW, BUFFER_TOO_SMALL: what was read is there, and longer than the buffer; ResultLength is what it takes.
TOO_SHORT = (0x80000005, 0xC0000023)
# Probes for a size and the end of an enumeration: negative, but nothing went wrong.
NOT_FAILURES = (0x80000005, 0x8000001A, 0xC0000023)

_BY_NAME = {name: code for code, name in STATUSES.items()}


def status_name(code: int) -> str:
    """Return the name of an NTSTATUS, or its hex form where it has none here.

    >>> status_name(0xC0000034), status_name(0xC0001234)
    ('OBJECT_NAME_NOT_FOUND', '0xC0001234')
    """
    return STATUSES.get(code) or f"0x{code:08X}"


def find_status(word: str) -> int | None:
    """Return the code that a user's word names; None if it names none.

    Accepts names with or without STATUS_, Procmon's spellings (NAME NOT FOUND), hex with 0x, and decimal
    numbers, also negative ones as signed 32 bits; any case.
    """
    name = word.strip().upper().replace(" ", "_").removeprefix("STATUS_")
    for spelling in (name, f"OBJECT_{name}", f"REGISTRY_{name}"):  # Procmon leaves these words out
        if spelling in _BY_NAME:
            return _BY_NAME[spelling]
    try:
        code = int(name, 16) if name.startswith("0X") else int(name, 10)
    except ValueError:
        return None
    return code & 0xFFFFFFFF if -(2**31) <= code < 2**32 else None


def is_failure(code: int) -> bool:
    """Tell whether a user would call the status a failure: negative, and neither probe nor end of a list."""
    return code >= NOT_SUCCESS and code not in NOT_FAILURES
