"""One order of the rows of several captures.

Each capture keeps its own order, which says more than its times do: a clock may have been set back, and records of one
tick have an order too. Rows of different captures stand by the latest time that their own capture had reached; at one
time those of the earlier capture come first. So the result is one stable sort by (time so far, capture, sequence).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tracer.columns.sorting import stable_argsort

__all__ = ["merged_sequences"]

Column = NDArray[np.int64]


def merged_sequences(times: Sequence[Column]) -> list[Column]:
    """Return the new sequence of each row of each capture.

    Args:
        times: of each capture the times of its rows, in its own order, nanoseconds.
    """
    reached = [np.maximum.accumulate(own) if len(own) else own for own in times]
    joined = np.concatenate(reached) if reached else np.zeros(0, np.int64)
    # Times before 1970 are negative; the sort takes numbers as unsigned.
    order = stable_argsort(joined - joined.min() if len(joined) else joined)
    place = np.empty(len(joined), np.int64)
    place[order] = np.arange(len(joined))
    return np.split(place, np.cumsum([len(own) for own in times])[:-1])
