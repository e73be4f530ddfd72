"""Blame: the tree of keys and values as known at a time, and for each who wrote it last, when, and in which change set.

Two states are compared: what is known of a key or value, by any evidence (`analysis.questions.state`), and what was last
done to it, by changes alone (`analysis.versions.changes_only`). Where a read tells other data than the last write that
was seen, somebody unseen wrote, and nobody is named.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from analysis.engine.relation import arrow_schema
from analysis.filters import Filters
from analysis.questions import state
from analysis.questions.baseline import OPERATION, doubts_of_hives
from analysis.questions.class_names import with_meanings
from analysis.questions.context import QueryContext
from analysis.questions.query import ArrowSource, Query, check_limit, frame_of
from analysis.versions.change_sets import Grouping, change_sets
from analysis.versions.changes_only import changes_only
from analysis.versions.identity import names_of
from tracer.columns.arrays import from_rows
from tracer.errors import UsageError
from tracer.registry.text import fold_name

if TYPE_CHECKING:
    import pandas as pd
    from ibis.expr.types import Table

__all__ = ["BLAME", "BlameQuery", "query"]

BLAME = {
    "display_key": "string", "value_name": "string", "change_set": "string", "writer": "string", "writer_pid": "uint32",
    "write_time": "timestamp[us, tz=UTC]", "write_sequence": "int64", "evidence": "string", "known": "string", "last_known": "string",
    "type": "uint32", "size": "uint32", "data": "binary", "sequence": "int64", "time": "timestamp[us, tz=UTC]", "process": "string",
    "pid": "uint32", "key_id": "int64", "process_id": "int64",
}  # fmt: skip
_GONE = ("absent", "deleted")
_Row = dict[str, Any]
_Name = tuple[Any, str | None]  # key_id, and the folded name of a value; None: the key itself


@dataclass(frozen=True, slots=True)
class BlameQuery(ArrowSource):
    """The query of who wrote what stands in a tree.

    Attributes:
        context: the context of the question.
        filters: which keys and values; `end` is the time.
        grouping: how changes are grouped to change sets.
        deleted: whether what is gone, or was not there, is told too.
        limit: the first so many rows; None for all.
    """

    context: QueryContext
    filters: Filters
    grouping: Grouping
    deleted: bool = False
    limit: int | None = None

    @property
    def doubts(self) -> tuple[str, ...]:
        """Caveats besides those of the filters."""
        return doubts_of_hives(self.context)

    def to_arrow(self) -> pa.Table:
        """Run the query and return the answer; of a dataset with the columns `host` and `capture` first."""
        known = state.query(self.context, self.filters)
        rows = [row for row in _rows(known, self.context) if self.deleted or not _is_gone(row)]
        del rows[self.limit if self.limit is not None else len(rows) :]
        done = {
            _name(row): row
            for row in _rows(state.query(changes_only(self.context), self.filters), self.context)
        }
        made = [row | _writer(row, done.get(_name(row))) for row in rows]
        self._add_names(made)
        table = from_rows([_as_stored(row) for row in made], arrow_schema(tuple(BLAME.items())))
        return with_meanings(self.context, self.context.labelled(table))

    def to_pandas(self, *, depth: int = 1) -> "pd.DataFrame":
        """Return the same as a DataFrame; `attrs["doubts"]` has the caveats."""
        frame = frame_of(self.to_arrow(), self.context, self.filters, depth=depth + 1)
        frame.attrs["doubts"] += self.doubts
        return frame

    def to_ibis(self) -> "Table":
        """Raise UsageError: two states are compared here, so the answer has no lazy form."""
        raise UsageError("blame has no lazy form; use to_arrow() or to_pandas()")

    def _add_names(self, rows: list[_Row]) -> None:
        """Add the names of the change sets of the writes."""
        wanted = np.array(
            sorted({row["write_sequence"] for row in rows if row["write_sequence"] is not None}), np.int64
        )
        if not len(wanted):
            return
        names: dict[int, str] = {}
        for one in self.context.each(Filters()):
            sets = change_sets(one, self.grouping)
            is_wanted = np.isin(sets.rows.sequence, wanted)
            numbers = sets.numbers()[is_wanted]
            listed = np.unique(numbers).tolist()
            of_set = dict(zip(listed, names_of(one, sets, listed), strict=True))
            pairs = zip(sets.rows.sequence[is_wanted].tolist(), numbers.tolist(), strict=True)
            names |= {sequence: of_set[number] for sequence, number in pairs}
        for row in rows:
            row["change_set"] = names.get(row["write_sequence"])


def query(
    context: QueryContext,
    filters: Filters,
    *,
    grouping: Grouping | None = None,
    deleted: bool = False,
    limit: int | None = None,
) -> BlameQuery:
    """Return the query; `analysis.capture.Capture.blame` lists the columns.

    Raises:
        UsageError: a filter cannot be understood.
    """
    return BlameQuery(context, filters, grouping or Grouping(), deleted, check_limit(limit))


def _rows(asked: Query, context: QueryContext) -> list[_Row]:
    """Return the rows of a state, finished but not labelled."""
    rows = context.engine.fetch(asked.relation)
    return (rows if asked.finish is None else asked.finish(rows)).to_pylist()


def _name(row: _Row) -> _Name:
    return row["key_id"], None if row["value_name"] is None else fold_name(row["value_name"])


def _is_gone(row: _Row) -> bool:
    return row["known"] in _GONE or (row["known"] == "unknown" and row["last_known"] in (*_GONE, None))


def _writer(row: _Row, done: _Row | None) -> _Row:
    """Return who wrote last, and how that is known.

    Args:
        row: what is known, of `state`.
        done: what was last done, of the state of changes alone; None: nobody was seen to change it.
    """
    nobody = {"writer": None, "writer_pid": None, "write_time": None, "write_sequence": None}
    is_hive = row["operation"] == OPERATION
    is_change = done is not None and done["operation"] != OPERATION and done["last_known"] is not None
    if done is None or not is_change:
        return nobody | {"evidence": "hive" if is_hive else row["last_known"]}
    someone = {
        "writer": done["process"], "writer_pid": done["pid"], "write_time": done["time"], "write_sequence": done["sequence"],
    }  # fmt: skip
    now, then = row["last_known"], done["last_known"]
    if row["value_name"] is None:
        is_same = (now in _GONE) == (then in _GONE)
        return (
            someone | {"evidence": "write"}
            if is_same
            else nobody | {"evidence": f"{now}, not as last changed"}
        )
    if row["sequence"] == done["sequence"]:
        return someone | {"evidence": "write"}
    if now in ("read", "write") and then == "write" and _agree(row, done):
        return someone | {"evidence": "write, and read since"}
    if now in _GONE and then in _GONE:
        return someone | {"evidence": "write, and missed since"}
    return nobody | {"evidence": f"{now}, not as last written" if now else None}


def _agree(one: _Row, other: _Row) -> bool:
    """Tell whether two contents may be the same: fewer bytes may have been captured of one."""
    for name in ("type", "size"):
        if one[name] is not None and other[name] is not None and one[name] != other[name]:
            return False
    ours, theirs = one["data"] or b"", other["data"] or b""
    shared = min(len(ours), len(theirs))
    return bool(ours[:shared] == theirs[:shared])


def _as_stored(row: _Row) -> _Row:
    """Return the row with times as microseconds."""
    from datetime import UTC, datetime, timedelta

    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    times = {name: row[name] for name in ("time", "write_time")}
    return row | {
        name: None if time is None else (time - epoch) // timedelta(microseconds=1)
        for name, time in times.items()
    }
