"""Records that wait on the disk until all are read, and come back in the order of time.

Text need not be in order, and rows of several files get one order. In memory are a time and a size for each record.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tracer.columns.sorting import stable_argsort
from tracer.etl.extended import NO_ITEMS
from tracer.etl.records import Records

__all__ = ["ROW", "Spool"]

ROW = np.dtype(
    [
        ("time_ns", "<i8"), ("start", "<i8"), ("size", "<i8"), ("offset", "<i8"), ("pid", "<i8"), ("tid", "<i8"),
        ("provider", "<i4"), ("id", "<i4"), ("source", "<i2"), ("cpu", "<i2"), ("opcode", "<i2"), ("version", "<i2"),
        ("pointer_size", "u1"), ("kind", "u1"),
    ]
)  # fmt: skip
_BATCH_ROWS, _BATCH_BYTES = 1 << 16, 8 << 20
_SPARE = 128  # readable bytes behind the last payload, so that gathers stay inside


class Spool:
    """Rows and payloads in two files of a folder."""

    def __init__(self, folder: Path) -> None:
        """Take the folder, which is there and stays until the records were read."""
        self._paths = folder / "rows", folder / "payloads"
        self._rows, self._payloads = (path.open("wb") for path in self._paths)
        self._times: list[NDArray[np.int64]] = []
        self._sizes: list[NDArray[np.int32]] = []
        self._bytes = 0

    def __len__(self) -> int:
        return sum(map(len, self._times))

    def add(self, rows: np.ndarray, raw: NDArray[np.uint8]) -> None:
        """Keep records (of ROW) in the order in which their file has them; `start` is a place in `raw`, a multiple of 8."""
        rows["start"] += self._bytes
        self._rows.write(rows.tobytes())
        self._payloads.write(raw.tobytes())
        self._bytes += len(raw)
        self._times.append(rows["time_ns"].copy())
        self._sizes.append(rows["size"].astype(np.int32))

    def close(self) -> None:
        """Close the files."""
        self._rows.close()
        self._payloads.close()

    def records(self) -> Iterator[Records]:
        """Yield the records in order of time, those of one time in the order in which they came."""
        self.close()
        if not len(self):
            return
        times, sizes = np.concatenate(self._times), np.concatenate(self._sizes)
        order = stable_argsort(times - times.min())
        rows = np.memmap(self._paths[0], ROW, "r")
        payloads = np.memmap(self._paths[1], np.uint64, "r") if self._bytes else np.zeros(0, np.uint64)
        ends = np.cumsum(sizes[order], dtype=np.int64)
        at = 0
        while at < len(order):
            filled = int(ends[at - 1]) if at else 0
            until = int(np.searchsorted(ends, filled + _BATCH_BYTES, side="right"))
            until = min(max(until, at + 1), at + _BATCH_ROWS)
            yield _records(rows[order[at:until]], payloads)
            at = until


def _records(rows: np.ndarray, payloads: NDArray[np.uint64]) -> Records:
    """Return rows with their payloads, which are laid one behind the other."""
    size = rows["size"].copy()
    words = size + 7 >> 3
    first = np.cumsum(words) - words
    total = int(words.sum())
    raw = np.zeros(total + _SPARE // 8, np.uint64)
    raw[:total] = payloads[np.repeat((rows["start"] >> 3) - first, words) + np.arange(total)]
    start = first << 3
    return Records(
        raw=raw.view(np.uint8),
        order=np.arange(len(rows)),
        ordered=True,
        start=start,
        end=start + size,
        payload=start,
        items=np.full(len(rows), -1),
        extended=NO_ITEMS,
        **{name: rows[name].copy() for name in ROW.names or () if name not in ("start", "size")},
    )
