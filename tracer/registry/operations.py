"""The registry operations, the callback class of each, and the groups in which each is counted.

GROUPS is the one definition of a read, a write and so on: every sum, filter and picture asks it. Which callback an
operation is: numbers are REG_NOTIFY_CLASS of wdm.h. ETW reports after the fact, so an operation maps to its post
notification, except CloseKey, which the kernel sends from the pre-close notification.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from tracer.registry.ntstatus import NOT_SUCCESS, REPARSE

__all__ = [
    "BY_NAME",
    "COUNTS_VERSION",
    "GROUPS",
    "NOISE",
    "OPERATIONS",
    "PROCMON_NAMES",
    "Case",
    "Condition",
    "Group",
    "Operation",
    "find_cases",
    "find_operations",
    "merge_cases",
]

COUNTS_VERSION = 3  # of what GROUPS and the statuses count: sums of another version are not used


@dataclass(frozen=True, slots=True)
class Operation:
    """One registry operation.

    Attributes:
        name: the provider's own name, as stored in the column `operation`.
        notify_class: REG_NOTIFY_CLASS number; None if no callback class exists.
        notification: its name in wdm.h; None as above.
        phase: "post", "pre" for CloseKey; None if no callback class exists.
        short: the word the command line accepts.
    """

    name: str
    notify_class: int | None
    notification: str | None
    phase: str | None
    short: str


OPERATIONS = (
    Operation("CreateKey", 27, "RegNtPostCreateKeyEx", "post", "create"),
    Operation("OpenKey", 29, "RegNtPostOpenKeyEx", "post", "open"),
    Operation("DeleteKey", 15, "RegNtPostDeleteKey", "post", "deletekey"),
    Operation("QueryKey", 22, "RegNtPostQueryKey", "post", "querykey"),
    Operation("SetValueKey", 16, "RegNtPostSetValueKey", "post", "set"),
    Operation("DeleteValueKey", 17, "RegNtPostDeleteValueKey", "post", "deletevalue"),
    Operation("QueryValueKey", 23, "RegNtPostQueryValueKey", "post", "query"),
    Operation("EnumerateKey", 20, "RegNtPostEnumerateKey", "post", "enumkey"),
    Operation("EnumerateValueKey", 21, "RegNtPostEnumerateValueKey", "post", "enumvalue"),
    Operation("QueryMultipleValueKey", 24, "RegNtPostQueryMultipleValueKey", "post", "querymultiple"),
    Operation("SetInformationKey", 18, "RegNtPostSetInformationKey", "post", "setinfo"),
    Operation("FlushKey", 31, "RegNtPostFlushKey", "post", "flush"),
    Operation("CloseKey", 14, "RegNtPreKeyHandleClose", "pre", "close"),
    Operation("QuerySecurityKey", 37, "RegNtPostQueryKeySecurity", "post", "querysecurity"),
    Operation("SetSecurityKey", 39, "RegNtPostSetKeySecurity", "post", "setsecurity"),
    Operation("RenameKey", 19, "RegNtPostRenameKey", "post", "rename"),
    Operation("LoadKey", 33, "RegNtPostLoadKey", "post", "load"),
    Operation("UnloadKey", 35, "RegNtPostUnLoadKey", "post", "unload"),
    Operation("RestoreKey", 42, "RegNtPostRestoreKey", "post", "restore"),
    Operation("SaveKey", 44, "RegNtPostSaveKey", "post", "save"),
    Operation("ReplaceKey", 46, "RegNtPostReplaceKey", "post", "replace"),
    Operation("QueryKeyName", 48, "RegNtPostQueryKeyName", "post", "queryname"),
    Operation("SaveMergedKey", 50, "RegNtPostSaveMergedKey", "post", "savemerged"),
    # Seen by a tracing source, but no callback class stands for them.
    Operation(
        "CreateOrDelete", None, None, None, "createordelete"
    ),  # a record of Sysmon's that lost which it was
    Operation("AccessKey", None, None, None, "access"),  # rights of a handle were used (Security log)
    Operation("VirtualizeKey", None, None, None, "virtualize"),
    Operation("ChangeNotify", None, None, None, "notify"),
    Operation("HiveWork", None, None, None, "hive"),
    Operation("TransactionWork", None, None, None, "transaction"),
)
BY_NAME = {operation.name: operation for operation in OPERATIONS}
PROCMON_NAMES = {  # Procmon's name -> ours, by the number in its events
    "RegOpenKey": "OpenKey",
    "RegCreateKey": "CreateKey",
    "RegCloseKey": "CloseKey",
    "RegQueryKey": "QueryKey",
    "RegSetValue": "SetValueKey",
    "RegQueryValue": "QueryValueKey",
    "RegEnumValue": "EnumerateValueKey",
    "RegEnumKey": "EnumerateKey",
    "RegSetInfoKey": "SetInformationKey",
    "RegDeleteKey": "DeleteKey",
    "RegDeleteValue": "DeleteValueKey",
    "RegFlushKey": "FlushKey",
    "RegLoadKey": "LoadKey",
    "RegUnloadKey": "UnloadKey",
    "RegRenameKey": "RenameKey",
    "RegQueryMultipleValueKey": "QueryMultipleValueKey",
    "RegSetKeySecurity": "SetSecurityKey",
    "RegQueryKeySecurity": "QuerySecurityKey",
}


@dataclass(frozen=True, slots=True)
class Condition:
    """What a column of a row must hold: a number from `low` to `high`, both included.

    Attributes:
        column: a column of `events`.
        low: lowest number.
        high: highest number.
        inside: False: a number outside of these instead.
        unknown: whether a row fits that does not say.
    """

    column: str
    low: int
    high: int
    inside: bool = True
    unknown: bool = False


@dataclass(frozen=True, slots=True)
class Case:
    """Rows of some operations: all of them, or those that fit every condition."""

    operations: tuple[str, ...]
    conditions: tuple[Condition, ...] = ()


@dataclass(frozen=True, slots=True)
class Group:
    """A group of rows that are counted together. An operation is in one case of a counted group at most.

    Attributes:
        name: of the column that counts them; a word of `--operation` too.
        cases: which rows these are.
        meaning: the same in words.
        word: another word of `--operation`; "" where there is none.
        counted: whether questions have a column of that name.
    """

    name: str
    cases: tuple[Case, ...]
    meaning: str
    word: str = ""
    counted: bool = True


def merge_cases(cases: Iterable[Case]) -> tuple[Case, ...]:
    """Return the cases without duplicates: first the operations of which every row fits, then the others."""
    distinct = list(dict.fromkeys(cases))
    whole = {name: None for case in distinct if not case.conditions for name in case.operations}
    some = tuple(case for case in distinct if case.conditions and not whole.keys() >= set(case.operations))
    return (Case(tuple(whole)), *some) if whole else some


_ANY = 2**32 - 1
_CREATED, _OPENED = 1, 2  # REG_CREATED_NEW_KEY, REG_OPENED_EXISTING_KEY (winnt.h)
_SET_HANDLE_TAGS = 5  # KEY_SET_INFORMATION_CLASS (wdm.h)
_KEY_NAME, _GET_HANDLE_TAGS = 3, 7  # KEY_INFORMATION_CLASS (wdm.h)

_made = Condition("disposition", _CREATED, _CREATED)
_of_key = Condition("information_class", _SET_HANDLE_TAGS, _SET_HANDLE_TAGS, inside=False)
_CHANGES = (
    "DeleteKey", "SetValueKey", "DeleteValueKey", "RenameKey", "LoadKey", "UnloadKey", "RestoreKey", "ReplaceKey",
)  # fmt: skip
_READS = ("QueryKey", "QueryValueKey", "EnumerateKey", "EnumerateValueKey", "QueryMultipleValueKey")
_SETS_TAGS = Case(
    ("SetInformationKey",), (Condition("information_class", _SET_HANDLE_TAGS, _SET_HANDLE_TAGS),)
)

_COUNTED = (
    Group(
        "reads",
        (Case((*_READS, "QuerySecurityKey")),),
        "queries and enumerations of keys, values and security",
        word="read",
    ),
    Group(
        "writes",
        (
            Case((*_CHANGES, "SetSecurityKey")),
            Case(("CreateKey",), (_made,)),
            Case(("SetInformationKey",), (_of_key,)),
        ),
        "what changes the registry: values, keys made, deleted and renamed, security, facts of keys, hives; "
        "neither creates that only opened a key, nor tags of handles",
        word="write",
    ),
    Group(
        "opens", (Case(("OpenKey", "CreateKey")),), "OpenKey and CreateKey, whether it made the key or not"
    ),
    Group("created", (Case(("CreateKey",), (_made,)),), "creates that made the key (disposition 1)"),
    Group(
        "deletes",
        (Case(("DeleteKey", "DeleteValueKey")),),
        "deletes of keys and values",
        word="delete",
    ),
    Group(
        "unclear_writes",
        (
            # Creates that failed or went on elsewhere carry 0 and changed nothing themselves (a published real record
            # of STATUS_REPARSE); classic ones carry no disposition.
            Case(
                ("CreateKey",),
                (
                    Condition("disposition", _CREATED, _OPENED, inside=False, unknown=True),
                    Condition("status", NOT_SUCCESS, _ANY, inside=False, unknown=True),
                    Condition("status", REPARSE, REPARSE, inside=False, unknown=True),
                ),
            ),
            Case(
                ("SetInformationKey",), (Condition("information_class", 0, _ANY, inside=False, unknown=True),)
            ),
            Case(("CreateOrDelete",), (Condition("status", 0, _ANY, unknown=True),)),  # whatever its status
        ),
        "creates that may have made the key, and settings that may be of the key, where the record does not say",
    ),
)
# Procmon's column Category, as its own CSV of a real log has it; of operations that this log has
# not (renames, security that is set, hives) UNCONFIRMED.
_CATEGORIES = (
    Group(
        "category:read",
        (
            Case((*_READS, "OpenKey")),
            Case(("CreateKey",), (Condition("disposition", _CREATED, _CREATED, inside=False, unknown=True),)),
        ),
        "Procmon's category Read: reads but of security, and opens that made no key",
        counted=False,
    ),
    Group(
        "category:write",
        (Case(_CHANGES), Case(("CreateKey",), (_made,))),
        "Procmon's category Write: writes but of security and facts of keys",
        counted=False,
    ),
    Group(
        "category:read-metadata",
        (Case(("QuerySecurityKey",)),),
        "Procmon's category Read Metadata",
        counted=False,
    ),
    Group(
        "category:write-metadata",
        (Case(("SetSecurityKey", "SetInformationKey")),),
        "Procmon's category Write Metadata",
        counted=False,
    ),
)
# Reason -> which rows, and what they are in words. That the Windows API does this around a program's own calls is seen in
# real logs; no document says it.
NOISE = {
    "handle tags": (
        (
            _SETS_TAGS,
            Case(("QueryKey",), (Condition("information_class", _GET_HANDLE_TAGS, _GET_HANDLE_TAGS),)),
        ),
        "tags of a handle, asked for and set around each open",
    ),
    "key name": (
        (
            Case(("QueryKey",), (Condition("information_class", _KEY_NAME, _KEY_NAME),)),
            Case(("QueryKeyName",)),
        ),
        "the name of an open key, asked for to find its twin in a merged or redirected view",
    ),
    "link": (
        (Case(("OpenKey", "CreateKey"), (Condition("status", REPARSE, REPARSE),)),),
        "the part of an open that leads to a link; the open goes on behind it",
    ),
}
GROUPS = {
    group.name: group
    for group in (
        *_COUNTED,
        Group("enum", (Case(("EnumerateKey", "EnumerateValueKey")),), "enumerations", counted=False),
        Group(
            "noise",
            merge_cases(case for cases, _ in NOISE.values() for case in cases),
            "what Windows does by itself: tags and names of handles asked for around each open, and opens that only lead "
            "to a link (NOISE says which is which)",
            counted=False,
        ),
        *_CATEGORIES,
    )
}


_BY_PROCMON = {theirs.lower(): ours.lower() for theirs, ours in PROCMON_NAMES.items()}


def find_cases(word: str) -> tuple[Case, ...]:
    """Return the cases that a user's word names; empty if it names none.

    Accepts the provider's name, its short form, Procmon's name, REG_NOTIFY_CLASS names, and names and words of GROUPS;
    any case.
    """
    folded = word.strip().lower()
    folded = _BY_PROCMON.get(folded, folded)
    for group in GROUPS.values():
        if folded and folded in (group.name, group.word):
            return group.cases
    names = tuple(
        o.name for o in OPERATIONS if folded in (o.name.lower(), o.short, (o.notification or "").lower())
    )
    return (Case(names),) if names else ()


def find_operations(word: str) -> tuple[str, ...]:
    """Return the operations of the cases that a word names (`find_cases`), in the order of OPERATIONS."""
    names = {name for case in find_cases(word) for name in case.operations}
    return tuple(o.name for o in OPERATIONS if o.name in names)
