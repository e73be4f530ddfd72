"""Object ops: what each record does to a key object, one row a record in time order; both resolvers read them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "CLASSIC_SPACE",
    "DEFERRED",
    "EVENT",
    "GRACE_NS",
    "NO_NAME",
    "OPEN",
    "RUNDOWN",
    "SEED",
    "SOURCES",
    "ObjectOps",
    "Resolved",
]

NO_NAME = -1
DEFERRED = -1  # keys.name_source says where the name came from
SOURCES = ("event", "open", "seed", "rundown")  # codes 0..3, from sure to unsure
EVENT, OPEN, SEED, RUNDOWN = range(4)

# Key control blocks (classic records) and key objects are different things that may share an address over
# time; kernel addresses are 8-aligned, so bit 0 keeps the two apart.
CLASSIC_SPACE = 1

# A close is reported before it happens, so calls in flight on other threads complete after it. A use that
# comes later than this is of another object whose opening was not recorded.
GRACE_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class ObjectOps:
    """A batch of records in time order, as the resolver sees them.

    Attributes:
        address: object the record uses (for an open, its base); 0 where none. Classic: with CLASSIC_SPACE.
        given_path: number of the full path the record carries for that object; NO_NAME where none.
        requested_path: number of the name relative to that object (or absolute) that the record asks for; NO_NAME.
        opened_object: object that a successful open or create made; 0 where none.
        created: whether `opened_object` was made by a create.
        closes: whether the record closes `address`.
        rundown: whether it is rundown: it names an object but does nothing to it.
        doubtful: whether its names can be read in another way too (flag name_ambiguous).
        time_ns, sequence: of the record; rundown records have the sequence of the row after them. Where a clock was set
            back, `time_ns` is that of a clock which was not (`tracer.etl.clock_steps`).
        process: process_id, -1 where unknown.
        shown_ns: the time as recorded, where it is not `time_ns`; else None.
    """

    address: NDArray[np.uint64]
    given_path: NDArray[np.int32]
    requested_path: NDArray[np.int32]
    opened_object: NDArray[np.uint64]
    created: NDArray[np.bool_]
    closes: NDArray[np.bool_]
    rundown: NDArray[np.bool_]
    doubtful: NDArray[np.bool_]
    time_ns: NDArray[np.int64]
    sequence: NDArray[np.int64]
    process: NDArray[np.int32]
    shown_ns: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.address)

    def piece(self, start: int, stop: int) -> "ObjectOps":
        """Return the rows from `start` up to `stop`."""
        columns: list[Any] = [getattr(self, name) for name in self.__slots__]
        columns = [None if column is None else column[start:stop] for column in columns]
        return ObjectOps(*columns)


@dataclass(frozen=True, slots=True)
class Resolved:
    """What the resolver says of each row.

    Attributes:
        key: key_id; -1 where the row has no key.
        handle: handle_id; -1 where no object is involved.
        source: code in SOURCES, or DEFERRED.
        after_close: the object's close was recorded before the row.
        across_loss: a loss lies between the row and what names it.
        doubtful: a name in its path rests on a record that can be read in another way too.
    """

    key: NDArray[np.int32]
    handle: NDArray[np.int64]
    source: NDArray[np.int8]
    after_close: NDArray[np.bool_]
    across_loss: NDArray[np.bool_]
    doubtful: NDArray[np.bool_]
