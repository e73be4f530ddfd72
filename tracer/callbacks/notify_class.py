"""REG_NOTIFY_CLASS: the classes of registry callbacks, by name and number.

Names are those of wdm.h without RegNt. ETW and Procmon report an operation after it completed, so of the pairs
only the post class is ever seen; `tracer.registry.operations` says which class an operation is.
"""

from enum import IntEnum
from typing import Self

from tracer.registry.operations import OPERATIONS

__all__ = ["REPORTED", "Notify"]


class Notify(IntEnum):
    """REG_NOTIFY_CLASS of wdm.h. The plain names (DeleteKey, ...) are its own aliases of the pre classes.

    A number without a name, from a newer system, keeps its value and is called Unknown.
    """

    PreDeleteKey = 0
    PreSetValueKey = 1
    PreDeleteValueKey = 2
    PreSetInformationKey = 3
    PreRenameKey = 4
    PreEnumerateKey = 5
    PreEnumerateValueKey = 6
    PreQueryKey = 7
    PreQueryValueKey = 8
    PreQueryMultipleValueKey = 9
    PreCreateKey = 10
    PostCreateKey = 11
    PreOpenKey = 12
    PostOpenKey = 13
    PreKeyHandleClose = 14
    PostDeleteKey = 15
    PostSetValueKey = 16
    PostDeleteValueKey = 17
    PostSetInformationKey = 18
    PostRenameKey = 19
    PostEnumerateKey = 20
    PostEnumerateValueKey = 21
    PostQueryKey = 22
    PostQueryValueKey = 23
    PostQueryMultipleValueKey = 24
    PostKeyHandleClose = 25
    PreCreateKeyEx = 26
    PostCreateKeyEx = 27
    PreOpenKeyEx = 28
    PostOpenKeyEx = 29
    PreFlushKey = 30
    PostFlushKey = 31
    PreLoadKey = 32
    PostLoadKey = 33
    PreUnLoadKey = 34
    PostUnLoadKey = 35
    PreQueryKeySecurity = 36
    PostQueryKeySecurity = 37
    PreSetKeySecurity = 38
    PostSetKeySecurity = 39
    CallbackObjectContextCleanup = 40
    PreRestoreKey = 41
    PostRestoreKey = 42
    PreSaveKey = 43
    PostSaveKey = 44
    PreReplaceKey = 45
    PostReplaceKey = 46
    PreQueryKeyName = 47
    PostQueryKeyName = 48
    PreSaveMergedKey = 49
    PostSaveMergedKey = 50
    MaxNotifyClass = 51

    DeleteKey = 0
    SetValueKey = 1
    DeleteValueKey = 2
    SetInformationKey = 3
    RenameKey = 4
    EnumerateKey = 5
    EnumerateValueKey = 6
    QueryKey = 7
    QueryValueKey = 8
    QueryMultipleValueKey = 9

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, int):
            return None
        member = int.__new__(cls, value)
        member._name_, member._value_ = "Unknown", value
        return member

    @property
    def is_pre(self) -> bool:
        """Whether it comes before the operation."""
        return self._name_.startswith("Pre")


# Neither ETW nor Procmon has a record of these; what ETW tells of hives is HiveWork, which has no class.
_UNRECORDED = ("RestoreKey", "SaveKey", "ReplaceKey", "QueryKeyName", "SaveMergedKey")
REPORTED = frozenset(
    Notify(o.notify_class) for o in OPERATIONS if o.notify_class is not None and o.name not in _UNRECORDED
)
