"""The bytes of a file, read through its descriptor; a change of the file is an error, never a crash.

A memory map of a file that is cut short ends the process when a page beyond its new end is touched. Here a part
of the file is copied at a time, and what is missing raises.
"""

import mmap
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracer.errors import SourceError

__all__ = ["Contents"]

Int64s = NDArray[np.int64]
_MOST = 1 << 26  # bytes of the part that is held
_BEHIND = 1 << 17  # read beyond the start of the last event of a part; what is longer is read by itself
_LEAST = 1 << 12
_STEP = 1 << 22  # bytes looked through at a time


class Contents:
    """A file of the size it had when it was opened; one part of it is in memory, the rest is read on demand.

    Attributes:
        path: the file.
        memory: the part in memory, and room behind it.
        begin, end: where that part begins and ends.
    """

    def __init__(self, path: Path) -> None:
        """Open the file.

        Raises:
            SourceError: it cannot be read.
        """
        self.path = path
        self.memory = mmap.mmap(-1, _LEAST)  # memory of its own: unlike a bytearray's, its slices are bytes
        self.begin = self.end = 0
        try:
            self._file = path.open("rb", buffering=0)
            self._size = self._file.seek(0, 2)
        except OSError as error:
            raise self._unreadable(error) from error

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, place: slice) -> bytes:
        start, stop, _ = place.indices(self._size)
        if self.begin <= start and stop <= self.end:
            return self.memory[start - self.begin : stop - self.begin]
        return self._read(start, max(stop - start, 0))

    def pieces(self, starts: Int64s, ends: Int64s) -> list[bytes]:
        """Return the bytes from each of `starts` to its end, faster than one by one."""
        if not len(starts):
            return []
        if starts.min() >= self.begin and ends.max() <= self.end:
            memory = self.memory
            places = zip((starts - self.begin).tolist(), (ends - self.begin).tolist(), strict=True)
            return [memory[start:end] for start, end in places]
        return [self[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]

    def load(self, starts: Int64s) -> None:
        """Load the part of the file in which events begin at `starts`, as far as it fits in memory."""
        if len(starts):
            begin = int(starts.min())
            self._hold(begin, min(int(starts.max()) + _BEHIND, begin + _MOST))

    def load_from(self, begin: int) -> None:
        """Load the part of the file that begins at `begin`."""
        self._hold(begin, begin + _STEP)

    def unpack(self, reader: struct.Struct, start: int) -> tuple[Any, ...]:
        """Return the fields of a structure."""
        return reader.unpack(self[start : start + reader.size])

    def gather(self, starts: Int64s, width: int) -> NDArray[np.uint8]:
        """Return the `width` bytes at each of `starts` as rows; bytes past the end of the file are zero."""
        inside = (starts >= self.begin) & (starts <= self.end - width)
        if len(starts) and inside.all():
            # One item of `width` bytes at every place: copied item by item, not byte by byte.
            count = self.end - self.begin - width + 1
            items = np.ndarray((count,), np.dtype((np.void, width)), self.memory, strides=(1,))
            return items[starts - self.begin].view(np.uint8).reshape(len(starts), width)
        rows = np.zeros((len(starts), width), np.uint8)
        if inside.any():
            rows[inside] = self.gather(starts[inside], width)
        for row in np.flatnonzero(~inside).tolist():
            if starts[row] >= 0:
                piece = self[int(starts[row]) : int(starts[row]) + width]
                rows[row, : len(piece)] = np.frombuffer(piece, np.uint8)
        return rows

    def find(self, text: bytes, start: int) -> int:
        """Return the first offset of some bytes from `start` on; -1 if they do not occur."""
        while start < self._size:
            at = self[start : start + _STEP].find(text)
            if at >= 0:
                return start + at
            start += _STEP - len(text) + 1
        return -1

    def _hold(self, begin: int, end: int) -> None:
        end = min(end, self._size)
        if not (self.begin <= begin and end <= self.end):
            size = max(end - begin, 0)
            self.begin = self.end = 0
            if len(self.memory) < size:
                self.memory = mmap.mmap(-1, size)
            self._read_into(memoryview(self.memory)[:size], begin)
            self.begin, self.end = begin, begin + size

    def _read(self, start: int, size: int) -> bytes:
        data = bytearray(size)
        self._read_into(memoryview(data), start)
        return bytes(data)

    def _read_into(self, room: memoryview, start: int) -> None:
        done = 0
        try:
            self._file.seek(start)
            while done < len(room) and (count := self._file.readinto(room[done:])):
                done += count
        except OSError as error:
            raise self._unreadable(error) from error
        if done < len(room):
            raise SourceError(
                f"{self.path} was cut while it was read: it had {self._size:,} bytes, and nothing follows offset "
                f"0x{start + done:X} now; wait until no program writes to it, then copy it and ingest the copy."
            )

    def _unreadable(self, error: OSError) -> SourceError:
        return SourceError(
            f"{self.path} cannot be read: {error.strerror or error}; check the path and its rights."
        )
