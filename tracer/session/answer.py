"""EVENT_TRACE_PROPERTIES as bytes: an empty structure for Windows to fill in, and the filled one.

Layout of x64 (Windows SDK): 120 bytes, then room for the names of session and log file.
"""

import struct
import time
import uuid

from tracer.session.options import SessionCounters, SessionStatus

__all__ = [
    "FILE_NAME_AT",
    "NAME_UNITS",
    "PROPERTIES_SIZE",
    "TRACED_GUID",
    "WHOLE_SIZE",
    "Answer",
    "empty_properties",
]

PROPERTIES_SIZE = 120
NAME_UNITS = 1024  # UTF-16 units for each of the two names
FILE_NAME_AT = PROPERTIES_SIZE + 2 * NAME_UNITS
WHOLE_SIZE = FILE_NAME_AT + 2 * NAME_UNITS
TRACED_GUID = 0x20000  # WNODE_FLAG_TRACED_GUID


class Answer:
    """EVENT_TRACE_PROPERTIES as Windows filled it in.

    Attributes:
        handle: the session's handle. guid: its GUID.
    """

    FORMAT = struct.Struct("<IIQq16sII14IQII")

    def __init__(self, raw: bytes) -> None:
        values = self.FORMAT.unpack_from(raw)
        self.handle: int = values[2]
        self.guid = uuid.UUID(bytes_le=values[4])
        self._raw = raw
        self._numbers = values[7:]

    @property
    def counters(self) -> SessionCounters:
        """The counters, as of now."""
        buffers, free, lost, written, log_lost, real_time_lost = self._numbers[8:14]
        return SessionCounters(time.time_ns(), lost, log_lost, real_time_lost, written, buffers, free)

    def status(self) -> SessionStatus:
        """Return the session as `list_sessions` shows it."""
        log_file_at, name_at = self._numbers[15:17]
        return SessionStatus(
            name=self._text(name_at),
            log_file=self._text(log_file_at) or None,
            mode=self._numbers[4],
            buffer_kib=self._numbers[0],
            counters=self.counters,
            guid=str(self.guid) if self.guid.int else None,
        )

    def _text(self, at: int) -> str:
        if not PROPERTIES_SIZE <= at < len(self._raw):
            return ""
        text = self._raw[at : at + (len(self._raw) - at & ~1)].decode("utf-16-le", "surrogatepass")
        return text.partition("\0")[0]


def empty_properties(*, with_file_name: bool = True) -> bytes:
    """Return WHOLE_SIZE bytes with room for both names, or for the session's only."""
    names = (FILE_NAME_AT if with_file_name else 0, PROPERTIES_SIZE)
    fixed = Answer.FORMAT.pack(WHOLE_SIZE, 0, 0, 0, bytes(16), 0, TRACED_GUID, *[0] * 14, 0, *names)
    return fixed.ljust(WHOLE_SIZE, b"\0")
