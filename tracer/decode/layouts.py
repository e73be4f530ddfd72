"""Payload layouts, as tables: what each record of the registry and process providers holds, in order.

Sources: the manifest of Microsoft-Windows-Kernel-Registry (every event has version 0 on every build from
Windows 7 to 11), the MOF classes Registry and Process of the NT Kernel Logger, the manifest of
Microsoft-Windows-Kernel-Process. No padding anywhere. A field's kind is one of

    ptr             pointer of the logging context, 4 or 8 bytes
    psize           an NTSTATUS stored in a pointer-sized slot
    u8 u16 u32 u64 i64 filetime guid
    wz              UTF-16LE, NUL-terminated; registry names are counted strings and may hold NULs
    az              8-bit text, NUL-terminated
    captured        u16 byte count, then that many bytes
    sid             SID as a manifest event carries it: 8 bytes + 4 for each sub-authority
    ksid            SID in the kernel logger's form: zero dword, or a TOKEN_USER (two pointers, whose contents
                    mean nothing and may be zero as well) and a SID
"""

from dataclasses import dataclass

from tracer.etl.providers import CLASSIC_PROCESS, CLASSIC_REGISTRY, KERNEL_PROCESS, KERNEL_REGISTRY

__all__ = [
    "LAYOUTS",
    "Field",
    "Layout",
    "find_layout",
]


@dataclass(frozen=True, slots=True)
class Field:
    """One field: its manifest or MOF name and its kind (see the module's docstring)."""

    name: str
    kind: str


@dataclass(frozen=True, slots=True)
class Layout:
    """The payload of one record.

    Attributes:
        provider: GUID of the provider or classic class, lower case.
        id: event id (classic: opcode).
        version: event version.
        name: the event's own name.
        operation: registry operation (tracer.registry.operations) this record is; None where it is not one.
        fields: in order.
    """

    provider: str
    id: int
    version: int
    name: str
    operation: str | None
    fields: tuple[Field, ...]


def _fields(text: str) -> tuple[Field, ...]:
    """Read 'kind Name, kind Name'."""
    if not text:
        return ()
    return tuple(Field(name, kind) for kind, name in (part.split() for part in text.split(",")))


_CREATE = "ptr BaseObject, ptr KeyObject, u32 Status, u32 Disposition, wz BaseName, wz RelativeName"
_KEY = "ptr KeyObject, u32 Status, wz KeyName"
_CAPTURED = "captured CapturedData"
_INFORMATION = f"ptr KeyObject, u32 Status, u32 InfoClass, u32 DataSize, wz KeyName, {_CAPTURED}"
_ENUMERATE = f"ptr KeyObject, u32 Status, u32 Index, u32 InfoClass, u32 DataSize, wz KeyName, {_CAPTURED}"
_SET_VALUE = (
    f"ptr KeyObject, u32 Status, u32 Type, u32 DataSize, wz KeyName, wz ValueName, {_CAPTURED}, "
    "u32 PreviousDataType, u32 PreviousDataSize, captured PreviousData"
)
_QUERY_VALUE = (
    f"ptr KeyObject, u32 Status, u32 InfoClass, u32 DataSize, wz KeyName, wz ValueName, {_CAPTURED}"
)

_KERNEL_REGISTRY = (
    (1, "CreateKey", _CREATE),
    (2, "OpenKey", _CREATE),
    (3, "DeleteKey", _KEY),
    (4, "QueryKey", _INFORMATION),
    (5, "SetValueKey", _SET_VALUE),
    (6, "DeleteValueKey", "ptr KeyObject, u32 Status, wz KeyName, wz ValueName"),
    (7, "QueryValueKey", _QUERY_VALUE),
    (8, "EnumerateKey", _ENUMERATE),
    (9, "EnumerateValueKey", _ENUMERATE),
    (10, "QueryMultipleValueKey", "ptr KeyObject, u32 Status, u32 EntryCount, u32 DataSize, wz KeyName"),
    (11, "SetInformationKey", _INFORMATION),
    (12, "FlushKey", _KEY),
    (13, "CloseKey", _KEY),
    (14, "QuerySecurityKey", _KEY),
    (15, "SetSecurityKey", _KEY),
)

# Several of the stop events are listed without a payload in some manifests and with a status in others;
# fields that the payload does not reach are left out when such an event is read.
_HIVE_WORK = (
    (16, "MountHiveStart", ""),
    (17, "MountHiveBaseFileMounted", "wz HiveFilePath, u32 FileSize"),
    (18, "MountHiveLogEntryApplied", "u32 TotalEntrySize, u32 BytesRecovered"),
    (19, "MountHiveStop", "u32 StatusCode"),
    (20, "UnloadHiveStart", "wz HiveFilePath, wz HiveMountPoint"),
    (21, "UnloadHiveStop", "u32 StatusCode"),
    (22, "FlushHiveStart", "wz HiveFilePath, wz HiveMountPoint, u32 FlushFlags"),
    (23, "FlushHiveBecameActiveFlusher", ""),
    (24, "FlushHiveGatheredLogData", "u32 BytesGathered"),
    (25, "FlushHiveGatheredPrimaryData", "u32 BytesGathered"),
    (26, "FlushHiveWroteLogFile", "u32 WritesIssued, u32 BytesWritten"),
    (27, "FlushHiveWrotePrimaryFile", "u32 WritesIssued, u32 BytesWritten"),
    (28, "FlushHiveBoostedActiveFlusher", ""),
    (29, "FlushHiveStartWaitForActiveFlusher", ""),
    (30, "FlushHiveFinishWaitForActiveFlusher", ""),
    (31, "FlushHiveStop", "u32 StatusCode"),
    (32, "ShutdownStart", ""),
    (33, "Shutdown33", ""),
    (34, "Shutdown34", ""),
    (35, "Shutdown35", ""),
    (36, "ShutdownStop", ""),
    (37, "LoadHiveStart", "wz SourceFile, u32 Flags"),
    (38, "LoadHiveStop", "u32 StatusCode"),
    (39, "RestoreHiveStart", "wz SourceFile, u32 Flags"),
    (40, "RestoreHiveStop", "u32 StatusCode"),
    (41, "ExportHiveStart", "wz SourceKeyPath"),
    (42, "ExportHiveFileCopied", ""),
    (43, "ExportHiveTreeCopied", ""),
    (44, "ExportHiveFileWritten", ""),
    (45, "ExportHiveStop", "u32 StatusCode"),
)

_CLASSIC_OPERATIONS = (
    (10, "Create", "CreateKey"),
    (11, "Open", "OpenKey"),
    (12, "Delete", "DeleteKey"),
    (13, "Query", "QueryKey"),
    (14, "SetValue", "SetValueKey"),
    (15, "DeleteValue", "DeleteValueKey"),
    (16, "QueryValue", "QueryValueKey"),
    (17, "EnumerateKey", "EnumerateKey"),
    (18, "EnumerateValueKey", "EnumerateValueKey"),
    (19, "QueryMultipleValue", "QueryMultipleValueKey"),
    (20, "SetInformation", "SetInformationKey"),
    (21, "Flush", "FlushKey"),
    (22, "KCBCreate", None),
    (23, "KCBDelete", None),
    (24, "KCBRundownBegin", None),
    (25, "KCBRundownEnd", None),
    (26, "Virtualize", "VirtualizeKey"),
    (27, "Close", "CloseKey"),
    (28, "SetSecurity", "SetSecurityKey"),
    (29, "QuerySecurity", "QuerySecurityKey"),
)
_CLASSIC_VERSIONS = (
    (0, "psize Status, ptr KeyHandle, i64 ElapsedTime, wz KeyName"),
    (1, "psize Status, ptr KeyHandle, i64 ElapsedTime, u32 Index, wz KeyName"),
    (2, "i64 InitialTime, u32 Status, u32 Index, ptr KeyHandle, wz KeyName"),
)
# Transaction records (30-32) have two published layouts and nobody knows which is on the wire
# (UNCONFIRMED), so they have none here: they are counted, and dumped as raw bytes.
_CLASSIC_HIVE = (
    (30, "TxRCommit", "TransactionWork", None),
    (31, "TxRPrepare", "TransactionWork", None),
    (32, "TxRRollback", "TransactionWork", None),
    (33, "MountHive", "HiveWork", None),
    (34, "Counters", "HiveWork", ",".join(f"u64 Counter{n}" for n in range(1, 12))),
    (35, "Config", "HiveWork", "u32 CurrentControlSet"),
    (36, "HiveInit", "HiveWork", "ptr Hive, u32 OperationType, u32 PoolTag, u32 Size, wz FileName"),
    (37, "HiveDestroy", "HiveWork", "ptr Hive, wz FileName, wz Path"),
    (38, "HiveLink", "HiveWork", "ptr Hive, wz Path"),
    (39, "HiveRundown", "HiveWork", "u64 Size, ptr Hive, u32 LoadedKeyCount, wz FileName, wz LinkPath"),
    (40, "HiveDirty", "HiveWork", "ptr Hive, wz LinkPath, u32 DirtyReason"),
    (
        48,
        "ChangeNotify",
        "ChangeNotify",
        "ptr Notification, ptr KeyHandle, u8 Type, u8 WatchSubtree, u8 Primary",
    ),
    (49, "ChangeNotifyDelivered", "ChangeNotify", None),
)

_START_0 = "u32 ProcessID, filetime CreateTime, u32 ParentProcessID, u32 SessionID, wz ImageName"
_START_1 = "u32 ProcessID, filetime CreateTime, u32 ParentProcessID, u32 SessionID, u32 Flags, wz ImageName"
_IMAGE_FACTS = "u32 ImageChecksum, u32 TimeDateStamp, wz PackageFullName, wz PackageRelativeAppId"
_START_3 = (
    "u32 ProcessID, u64 ProcessSequenceNumber, filetime CreateTime, u32 ParentProcessID, "
    "u64 ParentProcessSequenceNumber, u32 SessionID, u32 Flags, u32 ProcessTokenElevationType, "
    f"u32 ProcessTokenIsElevated, sid MandatoryLabel, wz ImageName, {_IMAGE_FACTS}"
)
_START_2 = f"{_START_1}, {_IMAGE_FACTS}"
_STOP_TIMES = "filetime CreateTime, filetime ExitTime, u32 ExitCode, u32 TokenElevationType, u32 HandleCount"
_STOP_COMMIT = "u64 CommitCharge, u64 CommitPeak"
_STOP_WORK = (
    "u64 CPUCycleCount, u32 ReadOperationCount, u32 WriteOperationCount, u32 ReadTransferKiloBytes, "
    "u32 WriteTransferKiloBytes, u32 HardFaultCount, az ImageName"
)
_KERNEL_PROCESS = (
    (1, 0, "ProcessStart", _START_0),
    (1, 1, "ProcessStart", _START_1),
    (1, 2, "ProcessStart", _START_2),
    (1, 3, "ProcessStart", _START_3),
    # Version 4 is known from one public listing only; it appends to version 3.
    (1, 4, "ProcessStart", f"{_START_3}, u32 SecurityMitigations"),
    (2, 0, "ProcessStop", f"u32 ProcessID, {_STOP_TIMES}, {_STOP_COMMIT}, az ImageName"),
    (2, 1, "ProcessStop", f"u32 ProcessID, {_STOP_TIMES}, {_STOP_COMMIT}, {_STOP_WORK}"),
    (
        2,
        2,
        "ProcessStop",
        f"u32 ProcessID, u64 ProcessSequenceNumber, {_STOP_TIMES}, {_STOP_COMMIT}, {_STOP_WORK}",
    ),
    (15, 0, "ProcessRundown", _START_2),
    (15, 1, "ProcessRundown", _START_3),
)

_CLASSIC_IDS = "u32 ProcessId, u32 ParentId, u32 SessionId, u32 ExitStatus"
_CLASSIC_NAMES = "ksid UserSID, az ImageFileName, wz CommandLine"
_PACKAGE = "wz PackageFullName, wz ApplicationId"
_CLASSIC_PROCESS_VERSIONS = (
    (0, "ptr ProcessId, ptr ParentId, ksid UserSID, az ImageFileName"),
    (1, f"ptr PageDirectoryBase, {_CLASSIC_IDS}, ksid UserSID, az ImageFileName"),
    (2, f"ptr UniqueProcessKey, {_CLASSIC_IDS}, {_CLASSIC_NAMES}"),
    (
        3,
        f"ptr UniqueProcessKey, {_CLASSIC_IDS}, ptr DirectoryTableBase, {_CLASSIC_NAMES}",
    ),
    (
        4,
        f"ptr UniqueProcessKey, {_CLASSIC_IDS}, ptr DirectoryTableBase, u32 Flags, {_CLASSIC_NAMES}, "
        + _PACKAGE,
    ),
)
# Defunct (a process that ended while others still hold it) has a version of its own that appends.
_DEFUNCT_5 = f"{_CLASSIC_PROCESS_VERSIONS[-1][1]}, filetime ExitTime"
_CLASSIC_PROCESS_OPCODES = ((1, "Start"), (2, "End"), (3, "DCStart"), (4, "DCEnd"), (39, "Defunct"))


def _tables() -> list[Layout]:
    layouts = [
        Layout(KERNEL_REGISTRY, id_, 0, name, name, _fields(text)) for id_, name, text in _KERNEL_REGISTRY
    ]
    layouts += [
        Layout(KERNEL_REGISTRY, id_, 0, name, "HiveWork", _fields(text)) for id_, name, text in _HIVE_WORK
    ]
    layouts += [
        Layout(CLASSIC_REGISTRY, opcode, version, name, operation, _fields(text))
        for opcode, name, operation in _CLASSIC_OPERATIONS
        for version, text in _CLASSIC_VERSIONS
    ]
    layouts += [
        Layout(CLASSIC_REGISTRY, opcode, 2, name, operation, _fields(text))
        for opcode, name, operation, text in _CLASSIC_HIVE
        if text is not None
    ]
    layouts += [
        Layout(KERNEL_PROCESS, id_, version, name, None, _fields(text))
        for id_, version, name, text in _KERNEL_PROCESS
    ]
    layouts += [
        Layout(CLASSIC_PROCESS, opcode, version, name, None, _fields(text))
        for opcode, name in _CLASSIC_PROCESS_OPCODES
        for version, text in _CLASSIC_PROCESS_VERSIONS
    ]
    layouts += [
        Layout(CLASSIC_PROCESS, 39, 5, "Defunct", None, _fields(_DEFUNCT_5)),
        Layout(CLASSIC_PROCESS, 11, 2, "Terminate", None, _fields("u32 ProcessId")),
    ]
    return layouts


LAYOUTS = {(layout.provider, layout.id, layout.version): layout for layout in _tables()}
_NEWEST = {(provider, id_): version for provider, id_, version in sorted(LAYOUTS)}


def find_layout(provider: str, id_: int, version: int) -> tuple[Layout | None, bool]:
    """Return the layout of a record and whether it is exact.

    A version newer than all known ones gets the newest known layout, to be read as a prefix (Microsoft
    extends events by appending); an unknown event gets None.
    """
    layout = LAYOUTS.get((provider, id_, version))
    if layout is not None:
        return layout, True
    newest = _NEWEST.get((provider, id_))
    if newest is not None and version > newest:
        return LAYOUTS[(provider, id_, newest)], False
    return None, False
