"""Blame: the tree of keys and values as known at a time, and for each who wrote it last, when, and in which change set.

Two states are compared: what is known of a key or value, by any evidence (`analysis.questions.state`), and what was last
done to it, by changes alone (`analysis.versions.changes_only`). Where a read tells other data than the last write that
was seen, somebody unseen wrote, and nobody is named.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa

from analysis.engine.relation import Relation, arrow_schema
from analysis.filters import Filters
from analysis.questions import state
from analysis.questions.baseline import OPERATION, doubts_of_hives
from analysis.questions.class_names import with_meanings
from analysis.questions.context import QueryContext
from analysis.questions.query import ArrowSource, Query, check_limit, frame_of
from analysis.versions.change_sets import Grouping, change_sets
from analysis.versions.changes_only import changes_only
from analysis.versions.identity import names_of
from tracer.columns.arrays import from_numbers, from_texts
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
_IS_GONE = "known IN ('absent', 'deleted') OR known = 'unknown' AND coalesce(last_known, 'absent') IN ('absent', 'deleted')"
_OF_WRITER = {"writer": "process", "writer_pid": "pid", "write_time": "time", "write_sequence": "sequence"}
_Name = tuple[Any, str | None]  # key_id, and the folded name of a value; None: the key itself


class _Said(NamedTuple):
    """What a row of a state says; None where it does not."""

    last_known: str | None
    operation: str | None
    sequence: int | None
    type: int | None
    size: int | None
    data: bytes | None


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
        known = _answered(self._known(), self.context)
        done = _answered(state.query(changes_only(self.context), self.filters), self.context)
        writers = _writers(known, done)
        columns = {name: known.column(name) for name in known.schema.names} | writers
        sequences = writers["write_sequence"].to_pylist()
        columns["change_set"] = from_texts(self._names_of(sequences))
        schema = arrow_schema(tuple(BLAME.items()))
        table = pa.table([columns[name] for name in schema.names], schema=schema)
        return with_meanings(self.context, self.context.labelled(table))

    def to_pandas(self, *, depth: int = 1) -> "pd.DataFrame":
        """Return the same as a DataFrame; `attrs["doubts"]` has the caveats."""
        frame = frame_of(self.to_arrow(), self.context, self.filters, depth=depth + 1)
        frame.attrs["doubts"] += self.doubts
        return frame

    def to_ibis(self) -> "Table":
        """Raise UsageError: two states are compared here, so the answer has no lazy form."""
        raise UsageError("blame has no lazy form; use to_arrow() or to_pandas()")

    def _known(self) -> Query:
        """Return what is known of the tree, of what is there only unless more was asked for."""
        known = state.query(self.context, self.filters)
        rows = known.relation
        if not self.deleted:
            rows = Relation(f"SELECT * FROM {rows.source} WHERE NOT ({_IS_GONE})", rows.columns)
        return replace(known, relation=rows.limit(self.limit))

    def _names_of(self, sequences: list[int | None]) -> list[str | None]:
        """Return the names of the change sets of some changes; None for None."""
        wanted = np.array(sorted({one for one in sequences if one is not None}), np.int64)
        names: dict[int | None, str] = {}
        for one in self.context.each(Filters()) if len(wanted) else ():
            sets = change_sets(one, self.grouping)
            is_wanted = np.isin(sets.rows.sequence, wanted)
            numbers = sets.numbers()[is_wanted]
            listed = np.unique(numbers).tolist()
            of_set = dict(zip(listed, names_of(one, sets, listed), strict=True))
            pairs = zip(sets.rows.sequence[is_wanted].tolist(), numbers.tolist(), strict=True)
            names |= {sequence: of_set[number] for sequence, number in pairs}
        return [names.get(one) for one in sequences]


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


def _answered(asked: Query, context: QueryContext) -> pa.Table:
    """Return the rows of a state, finished but not labelled."""
    rows = context.engine.fetch(asked.relation)
    return (rows if asked.finish is None else asked.finish(rows)).combine_chunks()


def _writers(known: pa.Table, done: pa.Table) -> dict[str, pa.ChunkedArray]:
    """Return columns for the rows of what is known: who wrote last, and how that is known.

    Args:
        known: what is known, of `state`.
        done: what was last done, of the state of changes alone.
    """
    last = dict(zip(_names(done), enumerate(_said(done)), strict=True))
    places, evidence = [], []
    for name, now in zip(_names(known), _said(known), strict=True):
        place, then = last.get(name, (0, None))
        is_writer, how = _judged(now, then, is_key=name[1] is None)
        places.append(place if is_writer else None)
        evidence.append(how)
    is_known = np.array([place is not None for place in places], bool)
    writers = done.take(from_numbers(np.array([place or 0 for place in places], np.int64), is_known))
    return {
        **{column: writers.column(name) for column, name in _OF_WRITER.items()},
        "evidence": from_texts(evidence),
    }


def _names(rows: pa.Table) -> list[_Name]:
    keys, values = (rows.column(name).to_pylist() for name in ("key_id", "value_name"))
    return [
        (key, None if value is None else fold_name(value)) for key, value in zip(keys, values, strict=True)
    ]


def _said(rows: pa.Table) -> Iterator[_Said]:
    return map(_Said, *(rows.column(name).to_pylist() for name in _Said._fields))


def _judged(now: _Said, then: _Said | None, *, is_key: bool) -> tuple[bool, str | None]:
    """Return whether what was last done made what is known, and how that is known.

    Args:
        now: what is known of a key or value.
        then: what was last done to it; None: nobody was seen to change it.
        is_key: whether it is a key.
    """
    is_change = then is not None and then.operation != OPERATION and then.last_known is not None
    if then is None or not is_change:
        return False, "hive" if now.operation == OPERATION else now.last_known
    if is_key:
        is_same = (now.last_known in _GONE) == (then.last_known in _GONE)
        return is_same, "write" if is_same else f"{now.last_known}, not as last changed"
    if now.sequence == then.sequence:
        return True, "write"
    if now.last_known in ("read", "write") and then.last_known == "write" and _agree(now, then):
        return True, "write, and read since"
    if now.last_known in _GONE and then.last_known in _GONE:
        return True, "write, and missed since"
    return False, f"{now.last_known}, not as last written" if now.last_known else None


def _agree(one: _Said, other: _Said) -> bool:
    """Tell whether two contents may be the same: fewer bytes may have been captured of one."""
    for mine, yours in ((one.type, other.type), (one.size, other.size)):
        if mine is not None and yours is not None and mine != yours:
            return False
    ours, theirs = one.data or b"", other.data or b""
    shared = min(len(ours), len(theirs))
    return ours[:shared] == theirs[:shared]
