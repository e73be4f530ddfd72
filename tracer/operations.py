"""The registry operations and the callback each is equivalent to.

Numbers are REG_NOTIFY_CLASS of wdm.h. ETW reports after the fact, so an operation maps to its post
notification, except CloseKey, which the kernel sends from the pre-close notification.
"""

from dataclasses import dataclass

__all__ = ["BY_NAME", "OPERATIONS", "Operation", "find_operations"]


@dataclass(frozen=True, slots=True)
class Operation:
    """One registry operation.

    Attributes:
        name: the provider's own name, as stored in the column `operation`.
        notify_class: REG_NOTIFY_CLASS number; None where no callback class exists.
        notification: its name in wdm.h; None as above.
        phase: "post", "pre" for CloseKey; None where no callback class exists.
        short: the word the command line accepts.
        writes: whether success changes the registry.
    """

    name: str
    notify_class: int | None
    notification: str | None
    phase: str | None
    short: str
    writes: bool = False


OPERATIONS = (
    Operation("CreateKey", 27, "RegNtPostCreateKeyEx", "post", "create", writes=True),
    Operation("OpenKey", 29, "RegNtPostOpenKeyEx", "post", "open"),
    Operation("DeleteKey", 15, "RegNtPostDeleteKey", "post", "deletekey", writes=True),
    Operation("QueryKey", 22, "RegNtPostQueryKey", "post", "querykey"),
    Operation("SetValueKey", 16, "RegNtPostSetValueKey", "post", "set", writes=True),
    Operation("DeleteValueKey", 17, "RegNtPostDeleteValueKey", "post", "deletevalue", writes=True),
    Operation("QueryValueKey", 23, "RegNtPostQueryValueKey", "post", "query"),
    Operation("EnumerateKey", 20, "RegNtPostEnumerateKey", "post", "enumkey"),
    Operation("EnumerateValueKey", 21, "RegNtPostEnumerateValueKey", "post", "enumvalue"),
    Operation("QueryMultipleValueKey", 24, "RegNtPostQueryMultipleValueKey", "post", "querymultiple"),
    Operation("SetInformationKey", 18, "RegNtPostSetInformationKey", "post", "setinfo", writes=True),
    Operation("FlushKey", 31, "RegNtPostFlushKey", "post", "flush"),
    Operation("CloseKey", 14, "RegNtPreKeyHandleClose", "pre", "close"),
    Operation("QuerySecurityKey", 37, "RegNtPostQueryKeySecurity", "post", "querysecurity"),
    Operation("SetSecurityKey", 39, "RegNtPostSetKeySecurity", "post", "setsecurity", writes=True),
    Operation("RenameKey", 19, "RegNtPostRenameKey", "post", "rename", writes=True),
    Operation("LoadKey", 33, "RegNtPostLoadKey", "post", "load", writes=True),
    Operation("UnloadKey", 35, "RegNtPostUnLoadKey", "post", "unload", writes=True),
    Operation("RestoreKey", 42, "RegNtPostRestoreKey", "post", "restore", writes=True),
    Operation("SaveKey", 44, "RegNtPostSaveKey", "post", "save"),
    Operation("ReplaceKey", 46, "RegNtPostReplaceKey", "post", "replace", writes=True),
    Operation("QueryKeyName", 48, "RegNtPostQueryKeyName", "post", "queryname"),
    Operation("SaveMergedKey", 50, "RegNtPostSaveMergedKey", "post", "savemerged"),
    # Seen by a tracing source, but no callback class stands for them.
    Operation("VirtualizeKey", None, None, None, "virtualize"),
    Operation("ChangeNotify", None, None, None, "notify"),
    Operation("HiveWork", None, None, None, "hive"),
    Operation("TransactionWork", None, None, None, "transaction"),
)
BY_NAME = {operation.name: operation for operation in OPERATIONS}

_GROUPS = {
    "delete": ("DeleteKey", "DeleteValueKey"),
    "enum": ("EnumerateKey", "EnumerateValueKey"),
    "read": tuple(
        o.name for o in OPERATIONS if o.name.startswith(("Query", "Enumerate")) and o.name != "QueryKeyName"
    ),
    "write": tuple(o.name for o in OPERATIONS if o.writes),
}


def find_operations(word: str) -> tuple[str, ...]:
    """Return the operation names a user's word stands for; empty where it stands for none.

    Accepts the provider's name, its short form, REG_NOTIFY_CLASS names, and the groups delete, enum,
    read and write; any case.
    """
    wanted = word.strip().lower()
    if wanted in _GROUPS:
        return _GROUPS[wanted]
    return tuple(
        o.name for o in OPERATIONS if wanted in (o.name.lower(), o.short, (o.notification or "").lower())
    )
