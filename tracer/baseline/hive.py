"""A hive file: its keys and values, after its logs were replayed in memory. The files are only read."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tracer.baseline.cells import Cells
from tracer.baseline.image import BaseBlock, HiveImage, filetime_ns, read_image
from tracer.baseline.logs import find_logs, replay
from tracer.baseline.values import HiveValues, read_classes, read_values
from tracer.baseline.walk import HiveKeys, counted, walk_keys
from tracer.diagnostics import Diagnostics
from tracer.errors import SourceError

__all__ = ["Hive", "open_hive"]

_NOTHING_READ = 1 << 40  # more than anything that can be counted in a hive


@dataclass(slots=True)
class Hive:
    """A hive in memory.

    Attributes:
        path: the file.
        base: what its base block states.
        size: bytes of the file; sha256: its digest, in hex.
        logs: names of the logs that were replayed.
        found: what is odd, and what could not be read.
        keys: its keys.
        classes: class name of each key; None where it has none, and where it cannot be read.
        knows_values: whether all values of a key were read; complete once `values` has run.
    """

    path: Path
    base: BaseBlock
    size: int
    sha256: str
    logs: list[str]
    found: Diagnostics
    keys: HiveKeys
    classes: list[str | None]
    knows_values: NDArray[np.bool_]
    _cells: Cells

    def values(self) -> Iterator[HiveValues]:
        """Yield the values of all keys in batches; once, for cells are read once."""
        return read_values(self._cells, self.keys, self.knows_values, self.found)

    def values_of(self, rows: NDArray[np.int64]) -> Iterator[tuple[int, str, int, bytes | None]]:
        """Yield row of the key, name, type and data of the values of some keys; they can be read again after that."""
        some = HiveKeys(
            at=self.keys.at[rows], values=self.keys.values[rows], value_list=self.keys.value_list[rows]
        )
        some.parent = np.full(len(rows), -1)
        again = Cells(self._cells.bins)
        for batch in read_values(again, some, np.ones(len(rows), np.bool_), Diagnostics()):
            for key, name, kind, data in zip(
                batch.key.tolist(), batch.names, batch.kinds.tolist(), batch.data, strict=True
            ):
                yield int(rows[key]), name, kind, data

    @property
    def written_ns(self) -> list[int | None]:
        """Last write of each key, UTC nanoseconds; None where it does not say."""
        return [filetime_ns(time) for time in self.keys.written.tolist()]

    @property
    def time_ns(self) -> int | None:
        """Up to when what the hive holds is the newest: the latest of its own time and of those of its keys."""
        times = [self.base.written_ns, filetime_ns(int(self.keys.written.max()))]
        return max((time for time in times if time is not None), default=None)


def open_hive(path: Path) -> Hive:
    """Return the hive in a file, with the logs beside it replayed in memory.

    Raises:
        SourceError: the file is no hive, or nothing of it can be read.
    """
    found = Diagnostics()
    image, whole = read_image(path, found)
    image, logs = replay(image, find_logs(path), _damage, found)
    cells = Cells(image.bins)
    keys = walk_keys(cells, image.base.root, found)
    if not len(keys):
        raise SourceError(
            f"{path}: the root key of this hive cannot be read (offset 0x{image.base.root:X} of its bins), so nothing of it is; "
            "save it anew with `reg save`, or leave it out"
        )
    classes = read_classes(cells, keys, found)
    digest = hashlib.sha256(whole).hexdigest()
    return Hive(
        path,
        image.base,
        len(whole),
        digest,
        logs,
        found,
        keys,
        classes,
        np.ones(len(keys), np.bool_),
        cells,
    )


def _damage(image: HiveImage) -> int:
    """Return how much of a hive cannot be read."""
    found = Diagnostics()
    cells = Cells(image.bins)
    keys = walk_keys(cells, image.base.root, found)
    for _ in read_values(cells, keys, np.ones(len(keys), np.bool_), found):
        pass
    return counted(found) if len(keys) else _NOTHING_READ
