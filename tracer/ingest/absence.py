"""Kinds of records that a whole recording lacks though nothing was lost: Windows was not asked for them.

Which keyword of Microsoft-Windows-Kernel-Registry reports what: its manifest (creates 0x1000, opens 0x2000,
closes 0x1).
"""

import numpy as np
from numpy.typing import NDArray

from tracer.decode.plans import ABSENT, OPERATION_NUMBERS, PLANS, PlanTables
from tracer.diagnostics import Diagnostics

__all__ = ["MANY_OPENS", "OperationCounts"]

MANY_OPENS = 100  # opens without one close that make it unlikely that nothing was closed


class OperationCounts:
    """How many registry records of which kind a recording holds."""

    def __init__(self) -> None:
        self._counts = np.zeros(len(PLANS), np.int64)

    def add(self, plan: NDArray[np.int16]) -> None:
        """Count the records of a batch, by plan number."""
        self._counts += np.bincount(plan, minlength=len(PLANS))

    def find_absent(self, diagnostics: Diagnostics, *, unnamed: int) -> None:
        """Count what is absent; `unnamed` is how many rows know no more than the end of their key's name."""
        t, counts = PlanTables, self._counts
        if not counts[t.operation != ABSENT].any():
            diagnostics.count("no_registry_events")
            return
        calls = ~t.classic & ~np.isin(t.operation, (ABSENT, OPERATION_NUMBERS["HiveWork"]))
        opens, closes = int(counts[t.creates].sum()), int(counts[calls & t.closes].sum())
        uses = int(counts[calls].sum()) - opens - closes
        if uses and not opens and unnamed:
            diagnostics.count("no_opens", uses)
        if opens >= MANY_OPENS and not closes:
            diagnostics.count("no_closes", opens)
