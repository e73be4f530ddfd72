"""Transaction logs of a hive: what Windows had written beside it, and not yet into it.

Each log is a base block and entries, each a set of pages with a sequence number and two checksums. Logs are replayed
one at a time in the order of their numbers, and only as long as the numbers follow each other. Source of the layout and
of the rules: M. Suhanov, "Windows registry file format specification"; of the checksum: the public description of Marvin32.
"""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tracer.baseline.image import BASE_BLOCK, BaseBlock, HiveImage
from tracer.diagnostics import Diagnostics
from tracer.errors import SourceError

__all__ = ["LogFile", "find_logs", "marvin32", "replay"]

_FIRST_ENTRY = 512
_ENTRY = struct.Struct("<4sIIIIIQQ")  # HvLE, size, flags, sequence, bytes of bins, pages, two checksums
_PAGE = struct.Struct("<II")  # offset in the bins, size
_SIGNATURE = b"HvLE"
_HASHED_AGAIN = 32  # the second checksum is of the header up to itself
_SEED = 0x82EF_4D88_7A4E_55C5
_WORD = 0xFFFF_FFFF
_MOST_BYTES = (1 << 31) - BASE_BLOCK
_ENDINGS = (".log", ".log1", ".log2")


@dataclass(frozen=True, slots=True)
class LogFile:
    """A transaction log.

    Attributes:
        name: its file name.
        data: its bytes.
    """

    name: str
    data: bytes

    def entries(self) -> "Iterator[_Entry]":
        """Yield the sound entries at its beginning, whose sequence numbers follow each other."""
        at, expected = _FIRST_ENTRY, None
        while at + _ENTRY.size <= len(self.data):
            signature, size, _, sequence, bins, pages, first, second = _ENTRY.unpack_from(self.data, at)
            is_whole = signature == _SIGNATURE and _ENTRY.size <= size <= len(self.data) - at
            if not is_whole or sequence != (sequence if expected is None else expected):
                return
            body = self.data[at : at + size]
            if second != marvin32(body[:_HASHED_AGAIN]) or first != marvin32(body[_ENTRY.size :]):
                return
            yield _Entry(sequence, bins, pages, body)
            at, expected = at + size, (sequence + 1) & _WORD


@dataclass(frozen=True, slots=True)
class _Entry:
    """An entry: `bins` is how many bytes of bins the hive has after it."""

    sequence: int
    bins: int
    pages: int
    body: bytes

    def fits(self) -> bool:
        """Whether its pages lie in it and in the bins."""
        if self.bins % BASE_BLOCK or self.bins > _MOST_BYTES or self.pages * _PAGE.size > len(self.body):
            return False
        data = _ENTRY.size + self.pages * _PAGE.size
        for offset, size in self._places():
            data += size
            if offset + size > self.bins or data > len(self.body):
                return False
        return True

    def apply(self, bins: bytearray) -> None:
        """Write its pages into the bins."""
        if len(bins) < self.bins:
            bins.extend(bytes(self.bins - len(bins)))
        del bins[self.bins :]
        data = _ENTRY.size + self.pages * _PAGE.size
        for offset, size in self._places():
            bins[offset : offset + size] = self.body[data : data + size]
            data += size

    def _places(self) -> Iterator[tuple[int, int]]:
        return _PAGE.iter_unpack(self.body[_ENTRY.size : _ENTRY.size + self.pages * _PAGE.size])


def find_logs(hive: Path) -> list[LogFile]:
    """Return the logs beside a hive: NAME.LOG1, NAME.LOG2 and NAME.LOG, in any case.

    Raises:
        SourceError: one of them cannot be opened.
    """
    names = {hive.name.lower() + ending for ending in _ENDINGS}
    try:
        paths = sorted(
            path for path in hive.parent.iterdir() if path.name.lower() in names and path.is_file()
        )
        return [LogFile(path.name, path.read_bytes()) for path in paths]
    except OSError as error:
        raise SourceError(
            f"{error.filename or hive}: a log of the hive cannot be opened: {error.strerror or error}"
        ) from error


def replay(
    image: HiveImage, logs: list[LogFile], damage: Callable[[HiveImage], int], found: Diagnostics
) -> tuple[HiveImage, list[str]]:
    """Return the hive with what its logs hold, and the names of the logs that were replayed.

    A log whose numbers do not follow, or after whose replay more of the hive is damaged than before, is left out, and
    with it all that come after it.

    Args:
        image: the hive as it stands in its file.
        logs: its logs, in any order.
        damage: how much of a hive cannot be read.
        found: counts logs that were left out.
    """
    if image.base.is_clean:
        return image, []
    read = [(log, _entries_of(log, image.base.secondary)) for log in logs]
    found.count("hive_log_stale", sum(not entries for _, entries in read))
    waiting = sorted(((log, entries) for log, entries in read if entries), key=lambda one: one[1][0].sequence)
    if not waiting:
        found.count("hive_dirty")
        return image, []
    replayed: list[str] = []
    bad, expected = damage(image), None
    for place, (log, entries) in enumerate(waiting):
        bins = bytearray(image.bins)
        follows = expected is None or entries[0].sequence == expected
        if follows:
            for entry in entries:
                entry.apply(bins)
        after = image.with_bins(bytes(bins)) if follows else image
        if not follows or (now := damage(after)) > bad:
            found.count("hive_log_dropped", len(waiting) - place)
            break
        image, bad = after, now
        expected = (entries[-1].sequence + 1) & _WORD
        replayed.append(log.name)
    return image, replayed


def _entries_of(log: LogFile, secondary: int) -> list[_Entry]:
    """Return the entries that the hive has not yet, given its second number; none where the log is of another format."""
    base = BaseBlock.of(log.data[:_FIRST_ENTRY])
    if base is None or not base.is_sound:
        return []
    entries = [entry for entry in log.entries() if entry.sequence >= secondary]
    for place, entry in enumerate(entries):
        if not entry.fits():
            return entries[:place]
    return entries


def marvin32(data: bytes) -> int:
    """Return the Marvin32 checksum of bytes with the registry's seed, its two halves as one number."""
    low, high = _SEED & _WORD, _SEED >> 32
    whole = len(data) & ~3
    tail = data[whole:] + b"\x80" + bytes(3 - (len(data) & 3))
    for word in (*memoryview(data)[:whole].cast("I"), int.from_bytes(tail, "little"), 0):
        low = (low + word) & _WORD
        high ^= low
        low = ((low << 20 | low >> 12) + high) & _WORD
        high = (high << 9 | high >> 23) & _WORD ^ low
        low = ((low << 27 | low >> 5) + high) & _WORD
        high = (high << 19 | high >> 13) & _WORD
    return high << 32 | low
