"""Several Procmon logs of one machine: their order, and the events that two of them share.

Rows get their order from the logs' order, so logs come by the time of their first operation, and none may hold
operations of a time that another one holds too, unless the one says there all that the other says: two saves of
one recording, or one with a narrower filter. What both hold is then read from the one that says more.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tracer.diagnostics import Diagnostics
from tracer.errors import UsageError
from tracer.pml.file import PmlFile
from tracer.pml.header import filetime_ns

__all__ = ["order_logs"]

Column = NDArray[np.int64]


def order_logs(
    names: Sequence[str], files: Sequence[PmlFile], diagnostics: Sequence[Diagnostics]
) -> list[int]:
    """Return the logs' positions in order of time; operations that two logs share are counted once.

    Raises:
        UsageError: two logs hold different operations of one time.
    """
    if len(files) < 2:
        return [0] if files else []
    dates = [file.dates() for file in files]
    order = sorted(range(len(files)), key=lambda one: int(dates[one][0]) if len(dates[one]) else -1)
    for place, later in enumerate(order):
        for earlier in order[:place]:
            if len(dates[earlier]) and len(dates[later]) and dates[later][0] < dates[earlier][-1]:
                _settle(earlier, later, names, files, dates, diagnostics)
    return order


def _settle(
    earlier: int,
    later: int,
    names: Sequence[str],
    files: Sequence[PmlFile],
    dates: list[Column],
    diagnostics: Sequence[Diagnostics],
) -> None:
    """Leave the operations that both logs hold out of one of them."""
    first, last = int(dates[later][0]), int(min(dates[earlier][-1], dates[later][-1]))
    shared = [(dates[one] >= first) & (dates[one] <= last) for one in (earlier, later)]
    before, after = (files[one].signatures(mine) for one, mine in zip((earlier, later), shared, strict=True))
    if after <= before:
        out, rows = later, shared[1]
    elif before <= after and dates[earlier][-1] <= dates[later][-1]:
        out, rows = earlier, shared[0]
    else:
        from tracer.inspect.times import time_text

        times = " to ".join(str(time_text(filetime_ns(date))) for date in (first, last))
        raise UsageError(
            f"{names[earlier]} and {names[later]} hold different operations of the same time ({times}), which cannot be "
            "put in one order; save them as one log in Procmon, or ingest each into a capture of its own"
        )
    files[out].leave_out(rows)
    dates[out] = dates[out][~rows]
    diagnostics[out].count("pml_repeated_events", int(rows.sum()))
