"""The classes, activities and types of OCSF, and which of them an operation is.

Numbers are those of the schema's Windows extension (uid 2): a class is extension × 100,000 + category × 1,000 + its own.
"""

from json import dumps

from tracer.registry.ntstatus import is_failure
from tracer.registry.values import ValueType

__all__ = [
    "ACTIVITIES",
    "BASE_CLASS",
    "CLASSES",
    "KEY_CLASS",
    "OTHER",
    "TYPE_IDS",
    "UNKNOWN",
    "VALUE_CLASS",
    "VALUE_OPERATIONS",
    "activity",
    "class_words",
    "status_words",
]

BASE_CLASS, KEY_CLASS, VALUE_CLASS = 0, 201001, 201002
UNKNOWN, OTHER = 0, 99
CLASSES = {  # class_uid -> its caption, category_uid, the category's caption
    BASE_CLASS: ("Base Event", 0, "Uncategorized"),
    KEY_CLASS: ("Registry Key Activity", 1, "System Activity"),
    VALUE_CLASS: ("Registry Value Activity", 1, "System Activity"),
}
ACTIVITIES = {  # class_uid -> activity_id -> its caption
    BASE_CLASS: {UNKNOWN: "Unknown"},
    KEY_CLASS: {
        UNKNOWN: "Unknown", 1: "Create", 2: "Read", 3: "Modify", 4: "Delete", 5: "Rename", 6: "Set Security",
        7: "Restore", 8: "Import", 9: "Export",
    },
    VALUE_CLASS: {UNKNOWN: "Unknown", 1: "Get", 2: "Set", 3: "Modify", 4: "Delete"},
}  # fmt: skip
VALUE_OPERATIONS = ("QueryValueKey", "EnumerateValueKey", "SetValueKey", "DeleteValueKey")
TYPE_IDS: dict[int, int] = {  # REG_... -> type_id of reg_value, whose numbers are not those of Windows
    ValueType.BINARY: 1,
    ValueType.DWORD: 2,
    ValueType.DWORD_BIG_ENDIAN: 3,
    ValueType.EXPAND_SZ: 4,
    ValueType.LINK: 5,
    ValueType.MULTI_SZ: 6,
    ValueType.NONE: 7,
    ValueType.QWORD: 8,
    ValueType.SZ: 10,
}
_OF_VALUES = {"QueryValueKey": 1, "EnumerateValueKey": 1, "SetValueKey": 2, "DeleteValueKey": 4}
_SET, _MODIFY = 2, 3
_OF_KEYS = {
    "QueryKey": 2,
    "EnumerateKey": 2,
    "QueryKeyName": 2,
    "QuerySecurityKey": 2,
    "QueryValueKey": 2,
    "EnumerateValueKey": 2,
    "QueryMultipleValueKey": 2,
    "SetInformationKey": 3,
    "SetValueKey": 3,
    "DeleteValueKey": 3,
    "DeleteKey": 4,
    "RenameKey": 5,
    "SetSecurityKey": 6,
    "RestoreKey": 7,
    "LoadKey": 8,
    "SaveKey": 9,
    "SaveMergedKey": 9,
    "CreateOrDelete": UNKNOWN,
}
_HANDLE_TAGS = 5  # KEY_SET_INFORMATION_CLASS (wdm.h): of the handle, not of the key
_CREATED = 1  # REG_CREATED_NEW_KEY (winnt.h)


def activity(
    class_uid: int,
    operation: str,
    disposition: int | None,
    information_class: int | None,
    status: int | None,
    had_value: bool,
) -> tuple[int, str]:
    """Return activity_id and activity_name of an operation.

    Args:
        class_uid: the class.
        operation: the operation; it is the name where OCSF has no activity for it.
        disposition: of a create, whether it made the key; None where that is not known.
        information_class: of SetInformationKey.
        status: NTSTATUS; None if unknown.
        had_value: whether the record tells what the value held before.
    """
    found = OTHER
    if class_uid == VALUE_CLASS:
        found = _OF_VALUES[operation]
        if found == _SET and had_value:
            found = _MODIFY
    elif class_uid == KEY_CLASS:
        found = _OF_KEYS.get(operation, OTHER)
        if operation == "CreateKey":
            failed = status is not None and is_failure(status)
            found = 1 if disposition == _CREATED or failed else UNKNOWN if disposition is None else OTHER
        elif operation == "SetInformationKey" and information_class == _HANDLE_TAGS:
            found = OTHER
    return found, ACTIVITIES[class_uid].get(found, operation)


def class_words(class_uid: int, activity_id: int, activity_name: str) -> tuple[str, ...]:
    """Return class_uid, class_name, category_uid, category_name, activity_id, activity_name and type_uid as JSON."""
    name, category, category_name = CLASSES[class_uid]
    values = (
        class_uid,
        name,
        category,
        category_name,
        activity_id,
        activity_name,
        class_uid * 100 + activity_id,
    )
    return tuple(map(dumps, values))


def status_words(status: int | None) -> tuple[int, str]:
    """Return status_id and its caption.

    >>> status_words(None), status_words(0), status_words(0xC0000034)
    ((0, 'Unknown'), (1, 'Success'), (2, 'Failure'))
    """
    if status is None:
        return 0, "Unknown"
    return (2, "Failure") if is_failure(status) else (1, "Success")
