"""The bounded queue of raw records between the callback of the tracing service and the decoder.

It knows the memory layout of EVENT_RECORD and nothing of sessions.
"""

import ctypes
import struct
import threading
from collections.abc import Callable

__all__ = ["RawQueue", "RawRecord"]

# The 112 bytes of an EVENT_RECORD, its user data, and its extended items (ExtType, data). Pointers in the
# first are stale: what they pointed to is in the other two.
RawRecord = tuple[bytes, bytes, tuple[tuple[int, bytes], ...]]
_RECORD_SIZE = 112
_LENGTHS = struct.Struct("<84xHHQQ8x")  # ExtendedDataCount, UserDataLength, ExtendedData, UserData
_OVERHEAD = 240  # bytes that Python needs for the objects around a record, about


class RawQueue:
    """Copies of records, up to `most_bytes` of memory; every call of the callback is counted.

    Attributes:
        failures: exceptions in the callback.
        sign: set when the first record came, or the end.
    """

    def __init__(self, most_bytes: int) -> None:
        self.failures = 0
        self.sign = threading.Event()
        self._refused = 0
        self._refused_before_close: int | None = None
        self._taken = 0
        self._most = most_bytes
        self._queue: list[RawRecord] = []
        self._bytes = 0
        self._ended = False
        self._lock = threading.Lock()
        self._news = threading.Event()

    @property
    def dropped(self) -> int:
        """How many records found no room; those that came after `close` are not among them."""
        before = self._refused_before_close
        return self._refused if before is None else before

    @property
    def received(self) -> int:
        """How many records were delivered: taken, waiting, dropped, failed, or after `close`."""
        with self._lock:
            return self._taken + len(self._queue) + self._refused + self.failures

    @property
    def queued_bytes(self) -> int:
        """Bytes of the records that wait."""
        return self._bytes

    def on_record(
        self,
        at: int,
        copy: Callable[[int, int], bytes] = ctypes.string_at,  # defaults are found faster than globals
        unpack: Callable[[bytes], tuple[int, ...]] = _LENGTHS.unpack,
        size: int = _RECORD_SIZE,
    ) -> None:
        """Copy the EVENT_RECORD at an address; it never raises, because Windows calls it.

        The memory is the service's own and is used again after the callback.
        """
        try:
            record = copy(at, size)
            count, length, items_at, data_at = unpack(record)
            data = copy(data_at, length) if length else b""
            items = _copy_items(items_at, count) if count else ()
            with self._lock:
                more = self._bytes + length + size + _OVERHEAD
                if more > self._most:
                    self._refused += 1
                    return
                self._bytes = more
                self._queue.append((record, data, items))
            if not self._news.is_set():
                self._news.set()
                self.sign.set()
        except BaseException:  # noqa: BLE001
            self.failures += 1

    def close(self) -> None:
        """Stop copying: later records are only counted in `received`. A second call does nothing."""
        with self._lock:
            if self._refused_before_close is None:
                self._refused_before_close, self._most = self._refused, -1

    def end(self) -> None:
        """Mark the end: no more records will come."""
        with self._lock:
            self._ended = True
            self._news.set()
        self.sign.set()

    def take(self, timeout: float) -> list[RawRecord] | None:
        """Return the records since the last call, maybe none; wait `timeout` seconds at most for the first.

        None says that the end was reached and everything was taken.
        """
        self._news.wait(timeout)
        with self._lock:
            records, self._queue, self._bytes = self._queue, [], 0
            self._taken += len(records)
            if self._ended:
                return records or None
            self._news.clear()
        return records


def _copy_items(at: int, count: int) -> tuple[tuple[int, bytes], ...]:
    """Return the extended items of an array of EVENT_HEADER_EXTENDED_DATA_ITEM."""
    headers = struct.iter_unpack("<HHHHQ", ctypes.string_at(at, 16 * count))
    return tuple((kind, ctypes.string_at(data_at, size)) for _, kind, _, size, data_at in headers)
