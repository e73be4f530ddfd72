"""The log of a capture: its change sets, newest first, each with who, when, and how much."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from analysis.engine.relation import Relation, arrow_schema
from analysis.filters import Filters
from analysis.questions.class_names import with_meanings
from analysis.questions.context import QueryContext
from analysis.questions.query import ArrowSource, check_limit, frame_of
from analysis.versions.change_rows import OF_KEYS, OPERATIONS, Numbers, fitting, unclear_changes
from analysis.versions.change_sets import ChangeSets, Grouping, change_sets
from analysis.versions.identity import names_of
from tracer.columns.arrays import from_rows
from tracer.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd
    from ibis.expr.types import Table

__all__ = ["LOG", "Log", "LogQuery", "Member", "query", "rows_of"]

LOG = {
    "change_set": "string", "time": "timestamp[us, tz=UTC]", "last_time": "timestamp[us, tz=UTC]", "process": "string", "pid": "uint32",
    "user": "string", "command_line": "string", "processes": "int64", "keys": "int64", "values": "int64", "changes": "int64",
    "all_changes": "int64", "display_key": "string", "keys_created": "int64", "keys_deleted": "int64", "keys_renamed": "int64",
    "values_set": "int64", "values_deleted": "int64", "first_sequence": "int64", "last_sequence": "int64", "key_id": "int64",
    "process_id": "int64",
}  # fmt: skip
_COUNTS = {
    "values_set": "SetValueKey",
    "values_deleted": "DeleteValueKey",
    "keys_created": "CreateKey",
    "keys_deleted": "DeleteKey",
    "keys_renamed": "RenameKey",
}
_Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Member:
    """One change set of a log.

    Attributes:
        context: of the capture that has it.
        sets: all change sets of that capture.
        number: which of them it is.
        name: its whole name.
    """

    context: QueryContext
    sets: ChangeSets
    number: int
    name: str


@dataclass(frozen=True, slots=True)
class Log:
    """The answer of the log.

    Attributes:
        rows: one row a change set, newest first; LOG.
        members: the change sets of the rows.
        unclear: how many operations may have been changes, and are in no change set.
    """

    rows: pa.Table
    members: Sequence[Member]
    unclear: int

    @property
    def doubts(self) -> tuple[str, ...]:
        """Caveats besides those of the filters."""
        if not self.unclear:
            return ()
        operations = "1 operation" if self.unclear == 1 else f"{self.unclear:,} operations"
        said = "may have been changes, and are in no change set: their source does not say whether they were done, or made a key"
        return (f"{operations} {said}",)


@dataclass(frozen=True, slots=True)
class LogQuery(ArrowSource):
    """The query of the log.

    Attributes:
        context: the context of the question.
        filters: which changes; a set is in the log where one of its changes fits, and counts those that do.
        grouping: how changes are grouped.
        limit: the newest so many sets; None for all.
    """

    context: QueryContext
    filters: Filters
    grouping: Grouping = field(default_factory=Grouping)
    limit: int | None = None

    def log(self) -> "Log":
        """Run the query and return the log."""
        several = [(one, change_sets(one, self.grouping)) for one in self.context.each(self.filters)]
        rows = [row for one, sets in several for row in rows_of(one, sets, self.filters)]
        rows.sort(key=lambda row: (row["last_ns"], row["last_sequence"]), reverse=True)
        del rows[self.limit if self.limit is not None else len(rows) :]
        for one, sets in several:
            own = [row for row in rows if row["context"] is one]
            for row, name in zip(own, names_of(one, sets, [row["number"] for row in own]), strict=True):
                row["change_set"] = name
        every = {id(one): sets for one, sets in several}
        return Log(
            with_meanings(
                self.context, self.context.labelled(from_rows(rows, arrow_schema(tuple(LOG.items()))))
            ),
            [
                Member(row["context"], every[id(row["context"])], row["number"], row["change_set"])
                for row in rows
            ],
            sum(unclear_changes(one) for one, _ in several),
        )

    def to_arrow(self) -> pa.Table:
        """Run the query and return the answer; of a dataset with the columns `host` and `capture` first."""
        return self.log().rows

    def to_pandas(self, *, depth: int = 1) -> "pd.DataFrame":
        """Return the same as a DataFrame; `attrs["doubts"]` has the caveats."""
        found = self.log()
        frame = frame_of(found.rows, self.context, self.filters, depth=depth + 1)
        frame.attrs["doubts"] += found.doubts
        return frame

    def to_ibis(self) -> "Table":
        """Raise UsageError: change sets are grouped here, not by an engine, so the answer has no lazy form."""
        raise UsageError("a log has no lazy form; use to_arrow() or to_pandas()")


def query(
    context: QueryContext, filters: Filters, *, grouping: Grouping | None = None, limit: int | None = None
) -> LogQuery:
    """Return the query; `analysis.capture.Capture.log` lists the columns.

    Raises:
        UsageError: a filter cannot be understood.
    """
    return LogQuery(context, filters, grouping or Grouping(), check_limit(limit))


def rows_of(context: QueryContext, sets: ChangeSets, filters: Filters) -> list[_Row]:
    """Return the rows of one capture without the names of the sets, and for each its context, its number, and last_ns."""
    rows = sets.rows
    fits = np.ones(len(rows.sequence), bool)
    if replace(filters, noise=None) != Filters():
        fits = np.isin(rows.sequence, fitting(context, filters))
    sums = _Sums(sets, fits)
    paths = _paths(context, sums.main_keys())
    made = []
    for number in np.flatnonzero(sums.changes).tolist():
        process = sets.processes.get(int(sets.roots[number]), {})
        own = sets.places(number)
        key_id = sums.main_key(number)
        made.append({
            "context": context, "number": number, "last_ns": int(rows.time_ns[own][-1]),
            "time": int(rows.time_ns[own][0]) // 1000, "last_time": int(rows.time_ns[own][-1]) // 1000,
            "process": process.get("image"), "pid": process.get("pid"), "user": process.get("user"),
            "command_line": process.get("command_line"), "process_id": process.get("process_id"),
            "processes": len(sets.process_ids(number)), **sums.of(number), "all_changes": own.stop - own.start,
            "display_key": paths.get(key_id), "key_id": None if key_id < 0 else key_id,
            "first_sequence": int(rows.sequence[own][0]), "last_sequence": int(rows.sequence[own][-1]),
        })  # fmt: skip
    return made


class _Sums:
    """Sums of the changes that fit, by change set."""

    def __init__(self, sets: ChangeSets, fits: "np.ndarray[tuple[int], np.dtype[np.bool_]]") -> None:
        rows, size = sets.rows, len(sets)
        number = sets.numbers()[fits]
        keys, values, operations = rows.key_id[fits], rows.value[fits], rows.operation[fits]
        self.changes = np.bincount(number, minlength=size)
        self._by_operation = {
            name: np.bincount(number[operations == OPERATIONS.index(word)], minlength=size)
            for name, word in _COUNTS.items()
        }
        of, key, count = _pairs(number, keys)
        self._keys = np.bincount(of, minlength=size)
        self._main = np.full(size, -1)
        order = np.lexsort(
            (key, -count, of)
        )  # the key with most changes; among equals the one first heard of
        first = order[np.diff(of[order], prepend=-1) > 0]
        self._main[of[first]] = key[first]
        of_values = operations < OPERATIONS.index(OF_KEYS[0])
        _, named = np.unique(_joined(keys, values)[of_values], return_inverse=True)
        self._values = np.bincount(_pairs(number[of_values], named)[0], minlength=size)

    def of(self, number: int) -> dict[str, int]:
        """Return the sums of one set."""
        return {
            "changes": int(self.changes[number]), "keys": int(self._keys[number]), "values": int(self._values[number]),
            **{name: int(counts[number]) for name, counts in self._by_operation.items()},
        }  # fmt: skip

    def main_key(self, number: int) -> int:
        """Return the key with most changes of one set; -1 where none is known."""
        return int(self._main[number])

    def main_keys(self) -> list[int]:
        """Return all of these keys."""
        found: list[int] = np.unique(self._main[self._main >= 0]).tolist()
        return found


def _joined(high: Numbers, low: Numbers) -> Numbers:
    """Return two numbers from -1 to 2 ** 31 - 2 as one, by which they sort."""
    result: Numbers = (high + 1) << 32 | (low + 1)
    return result


def _pairs(high: Numbers, low: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    """Return the distinct pairs of numbers and how often each occurs, sorted."""
    pairs, counts = np.unique(_joined(high, low), return_counts=True)
    return (pairs >> 32) - 1, (pairs & 0xFFFFFFFF) - 1, counts


def _paths(context: QueryContext, key_ids: Sequence[int]) -> dict[int, str]:
    """Return the display paths of keys."""
    if not key_ids:
        return {}
    keys = context.relation("keys")
    kinds = dict(keys.columns)
    sql = f"SELECT key_id, display_path FROM {keys.source} WHERE key_id IN ({', '.join(map(str, key_ids))})"
    found = context.engine.fetch(
        Relation(sql, (("key_id", kinds["key_id"]), ("display_path", kinds["display_path"])))
    )
    return dict(zip(*(column.to_pylist() for column in found.columns), strict=True))
