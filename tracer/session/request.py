"""Requests through pywintrace: properties of a session, providers with filters, its exceptions and import.

pywintrace itself comes as an argument, for only tracer.session.session imports it. It keeps nothing of a filter alive, so
whoever calls does.
"""

# ruff: noqa: ANN401

import ctypes
import logging
import struct
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tracer.errors import SessionError
from tracer.session.answer import FILE_NAME_AT, NAME_UNITS, TRACED_GUID
from tracer.session.options import Provider, SessionOptions
from tracer.windows.system_calls import PROFILE, privilege

__all__ = [
    "enable_provider",
    "preserved_root_logger",
    "put_file_name",
    "request_rundown",
    "start_properties",
    "status_of",
]  # fmt: skip

_QPC_CLOCK, _SYSTEM_LOGGER = 1, 0x0200_0000
_FILTER_NONE, _FILTER_EVENT_ID, _FILTER_STACKWALK = 0x0000_0000, 0x8000_0200, 0x8000_1000
_PROPERTY_STACK = 0x4
_GROUP_MASKS, _MASKS = 4, 8  # TraceSystemTraceEnableFlagsInfo, PERFINFO_GROUPMASK
_MASK_TRIES, _MASK_SECONDS = 5, 0.1


def start_properties(etw: Any, options: SessionOptions, guid: uuid.UUID) -> Any:
    """Return pywintrace's TraceProperties for a session that is to be started."""
    structure = etw.EVENT_TRACE_PROPERTIES()
    structure.Wnode.Flags, structure.Wnode.ClientContext = TRACED_GUID, _QPC_CLOCK
    ctypes.memmove(ctypes.addressof(structure.Wnode.Guid), guid.bytes_le, 16)
    structure.BufferSize, structure.FlushTimer = options.buffer_kib, options.flush_seconds
    structure.MinimumBuffers, structure.MaximumBuffers = options.smallest_count, options.largest_count
    structure.LogFileMode, structure.MaximumFileSize = int(options.mode), options.largest_mib
    if options.classic_flags:
        structure.EnableFlags = options.classic_flags
        structure.LogFileMode |= _SYSTEM_LOGGER
    properties = etw.TraceProperties(max_str_len=NAME_UNITS, props=ctypes.pointer(structure))
    if options.log_file is not None:
        put_file_name(properties, options.log_file)
    return properties


def put_file_name(properties: Any, path: Path) -> None:
    """Write the path behind the structure, in the place of the second name.

    Raises:
        SessionError: it is too long.
    """
    raw = str(path).encode("utf-16-le", "surrogatepass") + b"\0\0"
    if len(raw) > 2 * NAME_UNITS:
        raise SessionError(
            f"'{path}' is too long for Windows' tracing ({NAME_UNITS - 1} characters); choose a shorter path"
        )
    properties.get().contents.LogFileNameOffset = FILE_NAME_AT
    ctypes.memmove(ctypes.addressof(properties._buf) + FILE_NAME_AT, raw, len(raw))


def enable_provider(
    etw: Any,
    handle: int,
    provider: Provider,
    references: list[object],
    *,
    word: bool = True,
    filters: bool = True,
) -> int:
    """Enable a provider in the session of that handle and return Windows' error number.

    Args:
        etw: pywintrace, as tracer.session.session has it.
        handle: of the session.
        provider: what to enable.
        references: receives what must stay in memory as long as the session runs.
        word: whether the option word is among what is asked.
        filters: whether the filters by event id are.
    """
    filter_data: list[tuple[int, Any]] = []
    if word and provider.option_word is not None:
        filter_data.append(
            (_FILTER_NONE, ctypes.create_string_buffer(struct.pack("<I", provider.option_word), 4))
        )
    properties = provider.properties
    if filters and provider.event_ids:
        filter_data.append((_FILTER_EVENT_ID, etw.EVENT_FILTER_EVENT_ID(1, provider.event_ids)))
    if filters and provider.stack_ids:
        filter_data.append((_FILTER_STACKWALK, etw.EVENT_FILTER_EVENT_ID(1, provider.stack_ids)))
        properties |= _PROPERTY_STACK
    descriptors = []
    for kind, data in filter_data:
        buffer = getattr(data, "_buf", data)  # pywintrace keeps the bytes of its filters there
        descriptors.append(etw.EVENT_FILTER_DESCRIPTOR(ctypes.addressof(buffer), len(buffer), kind))
    parameters = etw.ProviderParameters(properties, descriptors)
    if not descriptors:
        parameters.get().contents.EnableFilterDesc = None
    info = etw.ProviderInfo(
        provider.guid,
        etw.GUID("{" + provider.guid + "}"),
        provider.level,
        provider.any_keywords,
        0,
        parameters.get(),
    )
    references += [filter_data, descriptors, parameters, info]
    return int(
        etw.EnableTraceEx2(
            handle, ctypes.byref(info.guid), etw.EVENT_CONTROL_CODE_ENABLE_PROVIDER, info.level,
            info.any_bitmask, info.all_bitmask, 0, info.params,
        )
    )  # fmt: skip


def request_rundown(etw: Any, handle: int, flags: int, pause: Callable[[float], None]) -> bool:
    """Have a system logger report all key control blocks now: no group mask, then the true ones again.

    Args:
        etw: pywintrace, as tracer.session.session has it.
        handle: of the session.
        flags: its EnableFlags; those up to 2**29 are group 0 of the masks.
        pause: waits some seconds.

    Returns:
        False if Windows refuses at once: then the masks are as they were.

    Raises:
        SessionError: Windows took the masks away and does not take them back: the session records nothing.
    """
    advapi = etw.library
    which = (ctypes.c_uint64(handle), ctypes.c_uint32(_GROUP_MASKS))
    size, written = ctypes.c_uint32(4 * _MASKS), ctypes.c_uint32()

    def read() -> Any:
        masks = (ctypes.c_uint32 * _MASKS)()
        status = advapi.TraceQueryInformation(*which, ctypes.byref(masks), size, ctypes.byref(written))
        return None if status else masks

    def write(masks: Any) -> int:
        return int(advapi.TraceSetInformation(*which, ctypes.byref(masks), size))

    masks = read() or (ctypes.c_uint32 * _MASKS)(flags)
    with privilege(PROFILE):
        if write((ctypes.c_uint32 * _MASKS)()):
            return False
        for _ in range(_MASK_TRIES):
            status = write(masks)
            now = None if status else read()
            if not status and (now is None or now[0] & flags == flags):
                return True
            pause(_MASK_SECONDS)
    raise SessionError(
        f"the system logger lost its flags (Windows error {status}), so it would record nothing; record without --classic",
        status,
    )


def status_of(call: Callable[[], object]) -> int:
    """Call a function, and return the Windows error number it raised; 0 for none."""
    try:
        call()
    except OSError as error:
        code = getattr(error, "winerror", None)
        if not code:
            raise
        return int(code)
    return 0


@contextmanager
def preserved_root_logger() -> Iterator[None]:
    """Restore the root logger when the block ends: importing pywintrace gives it a handler and a level."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        yield
    finally:
        if root.handlers != handlers or root.level != level:
            root.handlers[:] = handlers
            root.setLevel(level)
