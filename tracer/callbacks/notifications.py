"""Notifications, which callbacks receive: one frozen dataclass for each REG_*_INFORMATION.

A field has the name of its column in `events`; its metadata says which field of the kernel's structure it is. None
means unknown or not carried by the source, never 0. What a structure holds and no source tells stands in
`missing`. Facts: wdm.h, and the events of Microsoft-Windows-Kernel-Registry. How rows become notifications is
said in `tracer.callbacks.notification_rows`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from tracer.callbacks.notify_class import Notify

__all__ = [
    "CLASSES",
    "CreateKey",
    "DeleteKey",
    "DeleteValueKey",
    "EnumerateKey",
    "EnumerateValueKey",
    "FlushKey",
    "KeyHandleClose",
    "LoadKey",
    "Notification",
    "OpenKey",
    "QueryKey",
    "QueryKeySecurity",
    "QueryMultipleValueKey",
    "QueryValueKey",
    "RenameKey",
    "SetInformationKey",
    "SetKeySecurity",
    "SetValueKey",
    "UnLoadKey",
]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _of(structure: str, *, detail: str | None = None, procmon: bool = False) -> Any:  # noqa: ANN401
    """Declare a field: its name in the structure and in `detail`, and whether only Procmon has it."""
    return field(default=None, metadata={"structure": structure, "detail": detail, "procmon": procmon})


@dataclass(frozen=True, slots=True)
class Notification:
    """The fields of every notification; also used for operations without a structure of their own.

    Of REG_POST_OPERATION_INFORMATION it has Object (`address`) and Status; PreInformation is the notification
    itself. ReturnStatus and the contexts belong to drivers and are not recorded by anyone.

    Attributes:
        notify: REG_NOTIFY_CLASS; None if the operation has none (hive work, virtualisation).
        operation: what was done (`tracer.registry.operations`).
        time_ns: UTC nanoseconds since 1970.
        sequence: position in the order of the capture, or of the live stream.
        key: native path of the key, escaped; None if the operation has no key.
        display_key: the same as Win32 spells it.
        status: NTSTATUS; None if unknown, and for a close of ETW, which is reported before it happens.
        process: file name of the image; None if unknown.
        pid, tid: process and thread that called; None if the record does not say.
        address: kernel address of the key object (the structures' Object; for a create or open that
            succeeded *ResultObject), a 64-bit pattern as int64; None if the source has no objects.
        name_source: where the key's name came from (`tracer.schema.NAME_SOURCES`); a live row cannot have
            what is learnt after it.
        source: provider or importer that reported it.
        flags: sum of `tracer.schema.FLAGS`.
    """

    structure: ClassVar[str | None] = None
    object_field: ClassVar[str | None] = "Object"
    missing: ClassVar[Mapping[str, str]] = {}

    notify: Notify | None
    operation: str
    time_ns: int
    sequence: int
    key: str | None = None
    display_key: str | None = None
    status: int | None = None
    process: str | None = None
    pid: int | None = None
    tid: int | None = field(default=None, metadata={"column": "thread_id"})
    address: int | None = None
    name_source: str | None = None
    source: str | None = None
    flags: int | None = None

    @property
    def time(self) -> datetime:
        """The time in UTC, in microseconds."""
        return _EPOCH + timedelta(microseconds=self.time_ns // 1000)


_DRIVERS = "no record carries it"
_CALLERS = "a buffer length of the caller, which only Procmon records"
_NO_OBJECTS = "resolved into `key`; Procmon records no addresses"
_OPEN_MISSING = {
    "RootObject": "resolved into `key`, not kept by itself",
    "DesiredAccess, GrantedAccess": "only Procmon records them",
    "CreateOptions, Class, SecurityDescriptor, SecurityQualityOfService, Attributes, CheckAccessMode, "
    "Wow64Flags, RemainingName, Transaction": _DRIVERS,
}


@dataclass(frozen=True, slots=True)
class CreateKey(Notification):
    """REG_CREATE_KEY_INFORMATION(_V1): a key was created, or opened where it existed.

    Attributes:
        requested_name: CompleteName, what the caller passed, absolute or below RootObject; escaped.
        disposition: *Disposition, 1 created, 2 opened; None unless the operation succeeded.
        desired_access, granted_access: access masks; None but from Procmon.
    """

    structure: ClassVar[str | None] = "REG_CREATE_KEY_INFORMATION"
    object_field: ClassVar[str | None] = "*ResultObject"
    missing: ClassVar[Mapping[str, str]] = _OPEN_MISSING

    requested_name: str | None = _of("CompleteName")
    disposition: int | None = _of("*Disposition")
    desired_access: int | None = _of("DesiredAccess", detail="DesiredAccess", procmon=True)
    granted_access: int | None = _of("GrantedAccess", detail="GrantedAccess", procmon=True)


@dataclass(frozen=True, slots=True)
class OpenKey(Notification):
    """REG_OPEN_KEY_INFORMATION(_V1): a key was opened; the fields are those of `CreateKey`."""

    structure: ClassVar[str | None] = "REG_OPEN_KEY_INFORMATION"
    object_field: ClassVar[str | None] = "*ResultObject"
    missing: ClassVar[Mapping[str, str]] = _OPEN_MISSING

    requested_name: str | None = _of("CompleteName")
    desired_access: int | None = _of("DesiredAccess", detail="DesiredAccess", procmon=True)
    granted_access: int | None = _of("GrantedAccess", detail="GrantedAccess", procmon=True)


@dataclass(frozen=True, slots=True)
class DeleteKey(Notification):
    """REG_DELETE_KEY_INFORMATION: a key was deleted; Object is its only field."""

    structure: ClassVar[str | None] = "REG_DELETE_KEY_INFORMATION"


@dataclass(frozen=True, slots=True)
class QueryKey(Notification):
    """REG_QUERY_KEY_INFORMATION: facts of a key were read.

    Attributes:
        information_class: KeyInformationClass.
        name, class_name: Name and Class of KeyInformation, escaped; these and the next are None if the
            information class has no such field, or it was not captured.
        last_write_time: its LastWriteTime, 100 ns since 1601.
        subkeys, values: its SubKeys and Values.
        result_length: *ResultLength, bytes; None if KeyInformation was captured as a whole, and from Procmon.
        length: Length of the caller's buffer; None but from Procmon.
    """

    structure: ClassVar[str | None] = "REG_QUERY_KEY_INFORMATION"
    missing: ClassVar[Mapping[str, str]] = {"Length": _CALLERS}

    information_class: int | None = _of("KeyInformationClass")
    name: str | None = _of("KeyInformation.Name", detail="Name")
    class_name: str | None = _of("KeyInformation.Class", detail="Class")
    last_write_time: int | None = _of("KeyInformation.LastWriteTime", detail="LastWriteTime")
    subkeys: int | None = _of("KeyInformation.SubKeys", detail="SubKeys")
    values: int | None = _of("KeyInformation.Values", detail="Values")
    result_length: int | None = _of("*ResultLength", detail="ResultLength")
    length: int | None = _of("Length", detail="Length", procmon=True)


@dataclass(frozen=True, slots=True)
class SetValueKey(Notification):
    """REG_SET_VALUE_KEY_INFORMATION: a value was written.

    Attributes:
        value_name: ValueName, escaped; empty is the default value.
        data_type: Type.
        data_size: DataSize, bytes, in full.
        data: Data, at most 2048 bytes of it; None if nothing was captured.
        previous_type, previous_size, previous_data: the value before, which no structure has; None if it
            was not recorded or there was none.
    """

    structure: ClassVar[str | None] = "REG_SET_VALUE_KEY_INFORMATION"
    missing: ClassVar[Mapping[str, str]] = {"TitleIndex": _DRIVERS}

    value_name: str | None = _of("ValueName")
    data_type: int | None = _of("Type")
    data_size: int | None = _of("DataSize")
    data: bytes | None = _of("Data")
    previous_type: int | None = None
    previous_size: int | None = None
    previous_data: bytes | None = None


@dataclass(frozen=True, slots=True)
class DeleteValueKey(Notification):
    """REG_DELETE_VALUE_KEY_INFORMATION: Object and `value_name` (ValueName, escaped)."""

    structure: ClassVar[str | None] = "REG_DELETE_VALUE_KEY_INFORMATION"

    value_name: str | None = _of("ValueName")


@dataclass(frozen=True, slots=True)
class QueryValueKey(Notification):
    """REG_QUERY_VALUE_KEY_INFORMATION: a value was read.

    Attributes:
        value_name: ValueName, escaped.
        information_class: KeyValueInformationClass.
        data_type, data_size, data: the value's own, out of KeyValueInformation: its type, its full size in
            bytes, and as much of it as was captured; None if that is not known.
        length: Length of the caller's buffer; None but from Procmon.
    """

    structure: ClassVar[str | None] = "REG_QUERY_VALUE_KEY_INFORMATION"
    missing: ClassVar[Mapping[str, str]] = {"Length": _CALLERS}

    value_name: str | None = _of("ValueName")
    information_class: int | None = _of("KeyValueInformationClass")
    data_type: int | None = _of("KeyValueInformation.Type")
    data_size: int | None = _of("KeyValueInformation.DataLength")
    data: bytes | None = _of("KeyValueInformation.Data")
    length: int | None = _of("Length", detail="Length", procmon=True)


@dataclass(frozen=True, slots=True)
class EnumerateKey(Notification):
    """REG_ENUMERATE_KEY_INFORMATION: a subkey was listed; `index` is Index, the rest as in `QueryKey`."""

    structure: ClassVar[str | None] = "REG_ENUMERATE_KEY_INFORMATION"
    missing: ClassVar[Mapping[str, str]] = {"Length": _CALLERS}

    index: int | None = _of("Index")
    information_class: int | None = _of("KeyInformationClass")
    name: str | None = _of("KeyInformation.Name", detail="Name")
    class_name: str | None = _of("KeyInformation.Class", detail="Class")
    last_write_time: int | None = _of("KeyInformation.LastWriteTime", detail="LastWriteTime")
    subkeys: int | None = _of("KeyInformation.SubKeys", detail="SubKeys")
    values: int | None = _of("KeyInformation.Values", detail="Values")
    result_length: int | None = _of("*ResultLength", detail="ResultLength")
    length: int | None = _of("Length", detail="Length", procmon=True)


@dataclass(frozen=True, slots=True)
class EnumerateValueKey(Notification):
    """REG_ENUMERATE_VALUE_KEY_INFORMATION: a value was listed; the fields are those of `QueryValueKey`.

    Attributes:
        index: Index.
        value_name: name of the value listed; None if the information class has none, or it was not captured.
    """

    structure: ClassVar[str | None] = "REG_ENUMERATE_VALUE_KEY_INFORMATION"
    missing: ClassVar[Mapping[str, str]] = {"Length": _CALLERS}

    index: int | None = _of("Index")
    information_class: int | None = _of("KeyValueInformationClass")
    value_name: str | None = _of("KeyValueInformation.Name")
    data_type: int | None = _of("KeyValueInformation.Type")
    data_size: int | None = _of("KeyValueInformation.DataLength")
    data: bytes | None = _of("KeyValueInformation.Data")
    length: int | None = _of("Length", detail="Length", procmon=True)


@dataclass(frozen=True, slots=True)
class QueryMultipleValueKey(Notification):
    """REG_QUERY_MULTIPLE_VALUE_KEY_INFORMATION: several values were read at once.

    Attributes:
        entry_count: EntryCount.
        buffer_length: *BufferLength or *RequiredBufferLength, UNCONFIRMED which.
    """

    structure: ClassVar[str | None] = "REG_QUERY_MULTIPLE_VALUE_KEY_INFORMATION"
    missing: ClassVar[Mapping[str, str]] = {"ValueEntries, ValueBuffer": _DRIVERS}

    entry_count: int | None = _of("EntryCount")
    buffer_length: int | None = _of(
        "*BufferLength or *RequiredBufferLength (UNCONFIRMED which)", detail="BufferLength"
    )


@dataclass(frozen=True, slots=True)
class SetInformationKey(Notification):
    """REG_SET_INFORMATION_KEY_INFORMATION: a fact of a key was set.

    Attributes:
        information_class: KeySetInformationClass.
        last_write_time: LastWriteTime of KeySetInformation, 100 ns since 1601; None if it is another class,
            or nothing was captured; so is handle_tags.
        handle_tags: its HandleTags.
        length: KeySetInformationLength, bytes; None if all of it was captured from ETW.
    """

    structure: ClassVar[str | None] = "REG_SET_INFORMATION_KEY_INFORMATION"

    information_class: int | None = _of("KeySetInformationClass")
    last_write_time: int | None = _of("KeySetInformation.LastWriteTime", detail="LastWriteTime")
    handle_tags: int | None = _of("KeySetInformation.HandleTags", detail="HandleTags")
    length: int | None = _of("KeySetInformationLength", detail="Length")


@dataclass(frozen=True, slots=True)
class FlushKey(Notification):
    """REG_FLUSH_KEY_INFORMATION: a key was flushed; Object is its only field."""

    structure: ClassVar[str | None] = "REG_FLUSH_KEY_INFORMATION"


@dataclass(frozen=True, slots=True)
class KeyHandleClose(Notification):
    """REG_KEY_HANDLE_CLOSE_INFORMATION: Object. ETW reports it before the close, so it has no status."""

    structure: ClassVar[str | None] = "REG_KEY_HANDLE_CLOSE_INFORMATION"


@dataclass(frozen=True, slots=True)
class QueryKeySecurity(Notification):
    """REG_QUERY_KEY_SECURITY_INFORMATION: only Object is recorded."""

    structure: ClassVar[str | None] = "REG_QUERY_KEY_SECURITY_INFORMATION"
    missing: ClassVar[Mapping[str, str]] = {"*SecurityInformation, SecurityDescriptor, *Length": _DRIVERS}


@dataclass(frozen=True, slots=True)
class SetKeySecurity(Notification):
    """REG_SET_KEY_SECURITY_INFORMATION: only Object is recorded."""

    structure: ClassVar[str | None] = "REG_SET_KEY_SECURITY_INFORMATION"
    missing: ClassVar[Mapping[str, str]] = {"*SecurityInformation, SecurityDescriptor": _DRIVERS}


@dataclass(frozen=True, slots=True)
class RenameKey(Notification):
    """REG_RENAME_KEY_INFORMATION: reported by Procmon only; `requested_name` is NewName, escaped."""

    structure: ClassVar[str | None] = "REG_RENAME_KEY_INFORMATION"
    object_field: ClassVar[str | None] = None
    missing: ClassVar[Mapping[str, str]] = {"Object": _NO_OBJECTS}

    requested_name: str | None = _of("NewName")


@dataclass(frozen=True, slots=True)
class LoadKey(Notification):
    """REG_LOAD_KEY_INFORMATION: reported by Procmon only; `key` is Object and KeyName together.

    Attributes:
        source_file: SourceFile, escaped.
    """

    structure: ClassVar[str | None] = "REG_LOAD_KEY_INFORMATION"
    object_field: ClassVar[str | None] = None
    missing: ClassVar[Mapping[str, str]] = {
        "Object, KeyName": _NO_OBJECTS,
        "Flags, TrustClassObject, UserEvent, DesiredAccess, RootHandle": _DRIVERS,
    }

    source_file: str | None = _of("SourceFile", detail="FileName", procmon=True)


@dataclass(frozen=True, slots=True)
class UnLoadKey(Notification):
    """REG_UNLOAD_KEY_INFORMATION: reported by Procmon only; `key` is Object."""

    structure: ClassVar[str | None] = "REG_UNLOAD_KEY_INFORMATION"
    object_field: ClassVar[str | None] = None
    missing: ClassVar[Mapping[str, str]] = {"Object": _NO_OBJECTS, "UserEvent": _DRIVERS}


CLASSES: Mapping[str, type[Notification]] = {
    "CreateKey": CreateKey,
    "OpenKey": OpenKey,
    "DeleteKey": DeleteKey,
    "QueryKey": QueryKey,
    "SetValueKey": SetValueKey,
    "DeleteValueKey": DeleteValueKey,
    "QueryValueKey": QueryValueKey,
    "EnumerateKey": EnumerateKey,
    "EnumerateValueKey": EnumerateValueKey,
    "QueryMultipleValueKey": QueryMultipleValueKey,
    "SetInformationKey": SetInformationKey,
    "FlushKey": FlushKey,
    "CloseKey": KeyHandleClose,
    "QuerySecurityKey": QueryKeySecurity,
    "SetSecurityKey": SetKeySecurity,
    "RenameKey": RenameKey,
    "LoadKey": LoadKey,
    "UnloadKey": UnLoadKey,
}
