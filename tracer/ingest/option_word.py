"""Statistics of the option word: how many rows had the names and data that it asks the provider for."""

from typing import Any

from tracer.decode.batch import NONE, Operations
from tracer.decode.plans import PlanTables
from tracer.decode.strings import EMPTY

__all__ = ["OptionWordStats"]

_SET_VALUE = 5  # event id


class OptionWordStats:
    """Counts rows that could carry a name of the key, data and previous data, and rows that did."""

    def __init__(self) -> None:
        self._writes = self._named = self._data = self._previous = self._rows = 0

    def add(self, operations: Operations) -> None:
        """Count the rows of a batch."""
        self._rows += len(operations)
        two = PlanTables.names.take(operations.plan) == 2
        creates = PlanTables.creates.take(operations.plan)
        # The name of the key is the first of two names, or the only one where it is not what was asked for.
        name = operations.last_name.copy()
        name[two] = operations.first_name[two]
        name[creates & ~two] = NONE
        self._named += int((name > EMPTY).sum())
        self._writes += int((PlanTables.event_id.take(operations.plan) == _SET_VALUE).sum())
        if operations.data is not None:
            self._data += int((operations.data.place != NONE).sum())
        if operations.previous is not None:
            self._previous += int((operations.previous.place != NONE).sum())

    def as_dict(self) -> dict[str, Any]:
        """Return the counts as capture.json has them."""
        return {
            "rows": self._rows,
            "value_writes": self._writes,
            "rows_with_key_name": self._named,
            "rows_with_data": self._data,
            "rows_with_previous_data": self._previous,
        }
