"""The handle table: which key objects are open right now, and the names of their keys.

The provider reports addresses of objects; those that were open before the trace have no record that names
them. The system's handle table gives each open handle's object address, and a duplicate of the handle can be
asked for its key. A handle may be closed, and its number given away, between the two; so every duplicate is
kept until a second table says which object it really refers to. A name is kept only for that address.

What it costs the trace: each object is queried once, so the trace holds our own QueryKey records, and a handle
that its owner closes meanwhile is closed last by us. `tracer.ingest.seed` reads what is written here.

SYSTEM_HANDLE_INFORMATION_EX and KEY_NAME_INFORMATION are as winternl/phnt publish them; the first is not part
of the documented interface.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from tracer.errors import PlatformError, TargetError
from tracer.registry.text import decode_name
from tracer.windows.system_calls import (
    BUFFER_OVERFLOW,
    BUFFER_TOO_SMALL,
    INFO_LENGTH_MISMATCH,
    SUCCESS,
    Kernel,
    real_kernel,
)

__all__ = ["HandleTable", "handle_layout", "read_handle_table", "write_seed"]

_FIRST_BYTES = 1 << 20
_MOST_BYTES = 1 << 30  # 25 million handles; more is no answer of a sane system
_NAME_BYTES = 1 << 10
_MOST_NAME_BYTES = 1 << 17  # a name length is at most 16 bits


@dataclass(frozen=True, slots=True)
class HandleTable:
    """Key objects that were open at one moment.

    Attributes:
        addresses: unsigned kernel addresses of the objects, each once.
        paths: their native paths, escaped; alike long.
        time_ns: when the names were proved, UTC nanoseconds.
        seconds: how long reading took.
        handles: handles to keys in the whole system.
        refused_processes: processes that hold keys and did not let us look (protected, or ended meanwhile).
        unnamed: objects that were seen and could not be named.
        hidden: handles to keys whose address the kernel did not tell us (all of them, where it wants
            SeDebugPrivilege for addresses; UNCONFIRMED for Windows 11 24H2).
        moved: duplicates that turned out to be of another object than the first table said.
        privileged: whether SeDebugPrivilege was on while reading.
    """

    addresses: list[int]
    paths: list[str]
    time_ns: int
    seconds: float
    handles: int
    refused_processes: int
    unnamed: int
    hidden: int = 0
    moved: int = 0
    privileged: bool = False


def handle_layout(pointer_size: int) -> "np.dtype[np.void]":
    """Return SYSTEM_HANDLE_TABLE_ENTRY_INFO_EX for pointers of 4 or 8 bytes: 28 or 40 bytes."""
    pointer = "<u8" if pointer_size == 8 else "<u4"
    return np.dtype(
        [
            ("object", pointer),
            ("pid", pointer),
            ("value", pointer),
            ("access", "<u4"),
            ("trace", "<u2"),
            ("type", "<u2"),
            ("attributes", "<u4"),
            ("reserved", "<u4"),
        ]
    )


def read_handle_table(kernel: Kernel | None = None) -> HandleTable:
    """Return the key objects that are open now, with their names.

    Args:
        kernel: replaces the system in tests; None is this machine.

    Raises:
        PlatformError: this is not Windows, or it does not give its handle table.
    """
    kernel = real_kernel() if kernel is None else kernel
    start = time.perf_counter()
    with kernel.debug_privilege() as privileged, kernel.own_key() as own:
        first = _entries(kernel)
        # The low two bits of a handle are its user's to mark; the table has none.
        own_entries = first[(first["pid"] == kernel.pid) & (first["value"] >> 2 == own >> 2)]
        if not len(own_entries):
            raise PlatformError(
                "the handle table of this system does not show our own handle to a key; "
                "names of keys that were open before the capture stay unknown"
            )
        keys = first[first["type"] == own_entries["type"][0]]
        with _Duplicates(kernel).collected(keys) as duplicates:
            names, moved = _proved_names(duplicates, _entries(kernel))
            time_ns = time.time_ns()
    addresses = np.unique(keys["object"][keys["object"] != 0])
    return HandleTable(
        addresses=list(names),
        paths=list(names.values()),
        time_ns=time_ns,
        seconds=time.perf_counter() - start,
        handles=len(keys),
        refused_processes=duplicates.refused,
        unnamed=int((~np.isin(addresses, np.fromiter(names, np.uint64, len(names)))).sum()),
        hidden=int((keys["object"] == 0).sum()),
        moved=moved,
        privileged=bool(privileged),
    )


def write_seed(table: HandleTable, target: Path | BinaryIO) -> None:
    """Write the table as Parquet that `tracer.ingest.seed.read_seed` reads.

    Raises:
        TargetError: the file cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    addresses = pa.array(np.array(table.addresses, np.uint64).view(np.int64))
    rows = pa.table({"address": addresses, "path": pa.array(table.paths, pa.string())})
    try:
        pq.write_table(rows, target, compression="zstd")
    except OSError as problem:
        raise TargetError(f"{target}: the seed cannot be written: {problem.strerror or problem}") from problem


def _entries(kernel: Kernel) -> NDArray[np.void]:
    """Return all handles of the system."""
    size = _FIRST_BYTES
    while True:
        status, raw, needed = kernel.query_handles(size)
        if status != INFO_LENGTH_MISMATCH:
            break
        size = max(needed + needed // 8, 2 * size)  # handles are opened while we ask
        if size > _MOST_BYTES:
            raise PlatformError(
                f"Windows reports an impossible size of its handle table ({needed:,} bytes); "
                "names of keys that were open before the capture stay unknown"
            )
    if status != SUCCESS:
        raise PlatformError(
            f"Windows refused its handle table (status 0x{status:08X}); "
            "names of keys that were open before the capture stay unknown"
        )
    layout = handle_layout(kernel.pointer_size)
    start = 2 * kernel.pointer_size  # NumberOfHandles, Reserved
    count = int.from_bytes(raw[: kernel.pointer_size], "little")
    count = min(count, max(0, len(raw) - start) // layout.itemsize)
    return np.frombuffer(raw, layout, count, offset=start) if count else np.zeros(0, layout)


class _Duplicates:
    """A duplicated handle for each key object, with the name Windows gives for it."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.refused = 0
        self.names: dict[int, str | None] = {}  # our handle -> path
        self.supposed: dict[int, int] = {}  # our handle -> address in the first table

    @contextmanager
    def collected(self, keys: NDArray[np.void]) -> Iterator["_Duplicates"]:
        """Hold the duplicates open while the caller looks where they really lead."""
        try:
            self._collect(keys)
            yield self
        finally:
            for handle in self.names:
                self.kernel.close(handle)

    def _collect(self, keys: NDArray[np.void]) -> None:
        keys = keys[keys["object"] != 0]
        keys = keys[np.argsort(keys["pid"], kind="stable")]
        pids, starts = np.unique(keys["pid"], return_index=True)
        ends = [*starts[1:].tolist(), len(keys)][: len(pids)]
        addresses: set[int] = set()
        for pid, start, end in zip(pids.tolist(), starts.tolist(), ends, strict=True):
            rows = keys[start:end]
            process = self.kernel.open_process(pid)
            if process is None:
                self.refused += 1
                continue
            try:
                for address, value in zip(rows["object"].tolist(), rows["value"].tolist(), strict=True):
                    if address not in addresses and self._take(process, value, address):
                        addresses.add(address)
            finally:
                self.kernel.close(process)

    def _take(self, process: int, value: int, address: int) -> bool:
        ours = self.kernel.duplicate(process, value)
        if ours is None:
            return False
        self.names[ours], self.supposed[ours] = None, address
        self.names[ours] = _key_name(self.kernel, ours)
        return self.names[ours] is not None


def _key_name(kernel: Kernel, handle: int) -> str | None:
    """Return the path of a key handle; None if it has none (a deleted key, or no key)."""
    size = _NAME_BYTES
    while True:
        status, raw, needed = kernel.query_key_name(handle, size)
        if status not in (BUFFER_OVERFLOW, BUFFER_TOO_SMALL) or size > _MOST_NAME_BYTES:
            break
        size = max(needed, 2 * size)
    length = int.from_bytes(raw[:4], "little") if status == SUCCESS else 0
    return decode_name(raw[4 : 4 + length]) if 0 < length <= len(raw) - 4 else None


def _proved_names(duplicates: _Duplicates, entries: NDArray[np.void]) -> tuple[dict[int, str], int]:
    """Return the path of each address that a duplicate proves, and how many refer to another object."""
    ours = entries[entries["pid"] == duplicates.kernel.pid]
    real = dict(zip(ours["value"].tolist(), ours["object"].tolist(), strict=True))
    names: dict[int, str] = {}
    moved = 0
    for handle, name in duplicates.names.items():
        address = real.get(handle, 0)
        if address and name is not None:
            names[address] = name
            moved += address != duplicates.supposed[handle]
    return names, moved
