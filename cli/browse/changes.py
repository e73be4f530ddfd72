"""The times at which something changed, of a whole capture and of the keys below one key."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from analysis.capture import Capture
from analysis.engine.relation import Relation
from analysis.filters import Filters
from cli.browse.keys import Keys
from tracer.columns.arrays import to_numbers
from tracer.registry.ntstatus import NOT_SUCCESS

__all__ = ["Changes", "Stops"]


@dataclass(frozen=True, slots=True)
class Stops:
    """Times at which something changed, each once, in order.

    Attributes:
        times: UTC nanoseconds since 1970.
    """

    times: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.times)

    def until(self, at_ns: int) -> int:
        """Return how many are at `at_ns` or before."""
        return int(np.searchsorted(self.times, at_ns, side="right"))

    def after(self, at_ns: int) -> int | None:
        """Return the first one after `at_ns`; None where there is none."""
        found = self.until(at_ns)
        return int(self.times[found]) if found < len(self.times) else None

    def before(self, at_ns: int) -> int | None:
        """Return the last one before `at_ns`; None where there is none."""
        found = int(np.searchsorted(self.times, at_ns, side="left"))
        return int(self.times[found - 1]) if found else None


class Changes:
    """All changes that did not fail.

    Attributes:
        stops: their times.
    """

    def __init__(self, capture: Capture, keys: Keys) -> None:
        context = capture.context
        writes = context.rows(Filters(operation="write"), joined=False)
        sql = (
            f"SELECT key_id, time_ns FROM {writes.source} "
            f"WHERE (status IS NULL OR status < {NOT_SUCCESS}) AND key_id IS NOT NULL"
        )
        rows = context.engine.fetch(Relation(sql, (("key_id", "int32"), ("time_ns", "int64"))))
        times = to_numbers(rows["time_ns"].combine_chunks())
        places = keys.places[to_numbers(rows["key_id"].combine_chunks())]
        order = np.argsort(places, kind="stable")
        self._places, self._times = places[order], times[order]
        self._keys = keys
        self._below: tuple[int, Stops] | None = None
        self.stops = Stops(np.unique(times))

    def below(self, key: int) -> Stops:
        """Return the times of changes of the key and of all keys below it."""
        if self._below is None or self._below[0] != key:
            low, high = np.searchsorted(self._places, self._keys.range_of(key))
            self._below = key, Stops(np.unique(self._times[low:high]))
        return self._below[1]
