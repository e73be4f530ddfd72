"""Net changes: both sides of each value and key compared, with one word for the change."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from analysis.answers.intervals import Doubtful
from analysis.answers.stays import ARRIVALS
from tracer.registry.bookkeeping import is_bookkeeping

__all__ = ["NET_CHANGES", "NetChanges", "net_changes"]

NET_CHANGES = pa.schema(
    [
        ("key", pa.string()),
        ("display_key", pa.string()),
        ("value_name", pa.string()),
        ("change", pa.string()),
        ("before_from", pa.string()),
        ("before_type", pa.uint32()),
        ("before_size", pa.uint32()),
        ("before_data", pa.binary()),
        ("after_from", pa.string()),
        ("after_type", pa.uint32()),
        ("after_size", pa.uint32()),
        ("after_data", pa.binary()),
        ("complete", pa.bool_()),
        ("with_key", pa.bool_()),
        ("writes", pa.int64()),
        ("processes", pa.int64()),
        ("also_by_others", pa.bool_()),
        ("first_time", pa.timestamp("us", tz="UTC")),
        ("last_time", pa.timestamp("us", tz="UTC")),
        ("process", pa.string()),
        ("pid", pa.uint32()),
        ("first_sequence", pa.int64()),
        ("last_sequence", pa.int64()),
        ("key_id", pa.int32()),
        ("process_id", pa.int32()),
    ]
)
_ABSENT, _PRESENT, _UNKNOWN = 0, 1, 2
# (before, after) -> what became of a value; _KEY_WORDS: of a key
_WORDS = {
    (_ABSENT, _PRESENT): "added",
    (_PRESENT, _PRESENT): "changed",
    (_UNKNOWN, _PRESENT): "set",
    (_PRESENT, _ABSENT): "removed",
    (_UNKNOWN, _ABSENT): "removed",
}
_KEY_WORDS = {
    (_ABSENT, _PRESENT): "created",
    (_PRESENT, _PRESENT): "recreated",
    (_PRESENT, _ABSENT): "deleted",
}

Bools = NDArray[np.bool_]
States = NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class NetChanges:
    """Net changes, and the number of values that were left out.

    Attributes:
        rows: one row for each value and key that ended otherwise than it began, or may have; NET_CHANGES.
        as_before: values that were written or deleted and ended with the data they began with.
        passing: values and keys that were made and were gone again at the end.
        bookkeeping: changes of bookkeeping (`tracer.registry.bookkeeping`) that were left out on request.
    """

    rows: pa.Table
    as_before: int
    passing: int
    bookkeeping: int = 0

    @classmethod
    def of_many(cls, answers: "Sequence[NetChanges]") -> "NetChanges":
        """Return the answers of several captures, concatenated."""
        rows = pa.concat_tables([one.rows for one in answers]) if answers else NET_CHANGES.empty_table()
        return cls(rows, sum(one.as_before for one in answers), sum(one.passing for one in answers))

    def without_bookkeeping(self) -> "NetChanges":
        """Return the changes but those of keys in which Windows notes what a user did."""
        keys = self.rows.column("display_key")
        noted = [key for key in keys.unique().to_pylist() if is_bookkeeping(key)]
        is_noted = pc.is_in(keys, pa.array(noted, pa.string()))
        rows = self.rows.filter(pc.invert(is_noted))
        return replace(self, rows=rows, bookkeeping=self.bookkeeping + self.rows.num_rows - rows.num_rows)

    @property
    def sentences(self) -> list[str]:
        """The omissions, one sentence each."""
        said = []
        if self.as_before:
            values = "value was" if self.as_before == 1 else "values were"
            said.append(f"{self.as_before:,} {values} changed and ended as before: no net change")
        if self.passing:
            things = "value or key was" if self.passing == 1 else "values and keys were"
            said.append(f"{self.passing:,} {things} made and gone again at the end: no net change")
        if self.bookkeeping:
            changes = "change" if self.bookkeeping == 1 else "changes"
            said.append(
                f"{self.bookkeeping:,} {changes} of what Windows notes of a user's actions folded (fold noise)"
            )
        return said


@dataclass(frozen=True, slots=True)
class _Side:
    """Values before or after: the state of each; an unknown one has its last known data."""

    state: States
    source: pa.Array
    kind: pa.Array
    size: pa.Array
    data: pa.Array
    doubted: Bools

    @property
    def is_whole(self) -> Bools:
        """Whether type and all bytes are known."""
        length = pc.fill_null(pc.cast(pc.binary_length(self.data), pa.int64()), 0)
        same = pc.equal(length, pc.cast(self.size, pa.int64()))
        return _true(same) & _true(pc.is_valid(self.kind))


def net_changes(touched: pa.Table, doubtful: Doubtful | None = None) -> NetChanges:
    """Return the net changes, ordered by first_sequence, a key before its values.

    Args:
        touched: rows of `analysis.answers.changes.touched_values_and_keys`.
        doubtful: when what was known may have been changed without a record of it; None: never.
    """
    touched = touched.combine_chunks()
    touched = touched.append_column("of_value", pc.is_valid(touched.column("value")))
    order = ("first_sequence", "key_id", "of_value", "value")
    touched = touched.sort_by([(name, "ascending") for name in order])
    is_key = _true(pc.is_null(touched.column("value")))
    fact = touched.column("first_fact")
    before, after = _before(touched, is_key, doubtful), _after(touched, is_key, doubtful)
    same = is_key | before.is_whole & after.is_whole
    for ours, theirs in ((before.kind, after.kind), (before.data, after.data)):
        same &= is_key | _true(pc.equal(ours, theirs))
    same &= (before.state == _PRESENT) & (after.state == _PRESENT) & ~is_key
    passing = (before.state == _ABSENT) & (after.state == _ABSENT)
    words = np.array(
        [
            _word(*row)
            for row in zip(
                before.state.tolist(),
                after.state.tolist(),
                is_key.tolist(),
                fact.to_pylist(),
                touched.column("moved").to_pylist(),
                strict=True,
            )
        ],
        object,
    )
    whole = np.where(is_key, _whole_keys(touched, before, after, words), _whole_values(before, after))
    columns = {name: touched.column(name) for name in NET_CHANGES.names if name in touched.column_names}
    columns |= {"change": pa.array(words, pa.string()), "complete": pa.array(whole)}
    for name, side in (("before", before), ("after", after)):
        columns |= {f"{name}_from": side.source, f"{name}_type": side.kind}
        columns |= {f"{name}_size": side.size, f"{name}_data": side.data}
    # The ids of several captures as one are wider than those of one.
    wide = [columns[name].type if name.endswith("_id") else NET_CHANGES.field(name).type for name in columns]
    rows = pa.table(columns).cast(pa.schema(zip(columns, wide, strict=True))).select(NET_CHANGES.names)
    return NetChanges(rows.filter(pa.array(~(same | passing))), int(same.sum()), int(passing.sum()))


def _word(before: int, after: int, is_key: bool, fact: str | None, moved: bool) -> str:
    if after == _UNKNOWN:
        return "unclear"
    if is_key and moved and after == _PRESENT:
        return "renamed"
    if is_key and fact == "key_renamed" and after == _ABSENT:
        return "renamed"
    return (_KEY_WORDS if is_key else _WORDS).get((before, after), "unclear")


def _whole_values(before: _Side, after: _Side) -> Bools:
    sides = [(side.state == _ABSENT) | (side.state == _PRESENT) & side.is_whole for side in (before, after)]
    return sides[0] & sides[1]


def _whole_keys(touched: pa.Table, before: _Side, after: _Side, words: NDArray[np.object_]) -> Bools:
    """Tell which keys are completely known: those with a recorded creation, in this time or earlier."""
    made = _true(touched.column("was_created")) & ~before.doubted & (after.state != _UNKNOWN)
    whole = made | (before.state == _ABSENT)
    return whole & ~np.isin(words, ["renamed", "unclear"])


def _before(touched: pa.Table, is_key: Bools, doubtful: Doubtful | None) -> _Side:
    state, fact = _states(touched.column("before")), touched.column("first_fact")
    latest = _latest(touched, "before")
    doubted = _doubted(touched, "before", state, latest[0], is_key, doubtful)
    state = np.where(doubted, _UNKNOWN, state)
    recorded = _true(pc.is_in(fact, pa.array(["write", "delete"]))) & _true(
        pc.is_valid(touched.column("previous_type"))
    )
    deleted = _true(pc.is_in(fact, pa.array(["key_deleted", "key_renamed"]))) & is_key
    deleted |= _true(pc.equal(fact, "delete"))
    # There was no such key where one was made, or where another could be renamed to it.
    made = _true(pc.is_in(fact, pa.array(["key_created", *ARRIVALS]))) & (state != _PRESENT)
    state = np.where(made, _ABSENT, np.where(recorded | deleted, _PRESENT, state))
    doubt = pa.array(doubted)
    source, kind, size, data = (pc.if_else(doubt, pa.scalar(None, column.type), column) for column in latest)
    columns = (
        (pa.array(["event"] * len(state)), source),
        (touched.column("previous_type"), kind),
        (touched.column("previous_size"), size),
        (touched.column("previous_data"), data),
    )
    merged = [pc.if_else(pa.array(recorded), own, other) for own, other in columns]
    return _only_present(state.astype(np.int8), doubted, *merged)


def _after(touched: pa.Table, is_key: Bools, doubtful: Doubtful | None) -> _Side:
    state, latest = _states(touched.column("after")), _latest(touched, "after")
    doubted = _doubted(touched, "after", state, latest[0], is_key, doubtful)
    side = _only_present(state, doubted, *latest)
    return replace(side, state=np.where(doubted, _UNKNOWN, state).astype(np.int8))


def _doubted(
    touched: pa.Table, side: str, state: States, source: pa.Array, is_key: Bools, doubtful: Doubtful | None
) -> Bools:
    """Tell which rows may have been changed without a record before the first change, or until the end."""
    if doubtful is None:
        return np.zeros(len(state), bool)
    by_read, by_write = _true(pc.equal(source, "read")), _true(pc.equal(source, "write"))
    at = touched.column(f"{side}_at_time")
    for rows, name in ((by_read, "read"), (by_write, "write")):
        at = pc.if_else(pa.array(rows & (state == _PRESENT)), touched.column(f"{side}_{name}_time"), at)
    until = touched.column("first_time") if side == "before" else None
    rows_in_doubt = doubtful.between(
        at, until, touched.column("value"), absent=state == _ABSENT, is_key=is_key
    )
    return rows_in_doubt & (state != _UNKNOWN)


def _only_present(
    state: States, doubted: Bools, source: pa.Array, kind: pa.Array, size: pa.Array, data: pa.Array
) -> _Side:
    """Return the side with data only where there is a value, and "absent" as the source where there is none."""
    present = pa.array(state == _PRESENT)
    content = [
        pc.if_else(present, column, pa.scalar(None, column.type)) for column in (source, kind, size, data)
    ]
    source = pc.if_else(pa.array(state == _ABSENT), pa.scalar("absent"), content[0])
    empty = _true(pc.is_null(content[3])) & _true(pc.equal(content[2], 0))
    whole = pc.if_else(pa.array(empty), pa.scalar(b"", content[3].type), content[3])
    return _Side(state, source, content[1], content[2], whole, doubted)


def _latest(touched: pa.Table, side: str) -> tuple[pa.Array, pa.Array, pa.Array, pa.Array]:
    """Return source, type, size and data of the last write or read; a read that agrees adds nothing to a write.

    Of a value read, less is captured than of one written, for the structure around it counts too.
    """
    write, read = touched.column(f"{side}_write"), touched.column(f"{side}_read")
    written = [touched.column(f"{side}_write_{name}") for name in ("type", "size", "data")]
    got = [touched.column(f"{side}_read_{name}") for name in ("type", "size", "data")]
    has_write = _true(pc.is_valid(write))
    newer = _true(pc.is_valid(read)) & (~has_write | _true(pc.greater(read, write)))
    agree = _agree(written, got, newer & has_write)
    by_read = pa.array(newer & ~agree)
    kind, size, data = (
        pc.if_else(by_read, ours, pc.cast(theirs, ours.type))
        for ours, theirs in zip(got, written, strict=True)
    )
    source = pc.if_else(
        by_read, "read", pc.if_else(pa.array(has_write), "write", pa.scalar(None, pa.string()))
    )
    return source, kind, size, data


def _agree(written: list[pa.Array], got: list[pa.Array], rows: Bools) -> Bools:
    """Tell for which of `rows` a read returned what was written, as far as both were captured."""
    agree = rows & _true(pc.equal(written[0], got[0])) & _true(pc.equal(written[1], got[1]))
    differ = np.flatnonzero(agree & ~_true(pc.equal(written[2], got[2])))
    for row in differ.tolist():  # cut at different lengths, or really different: few
        ours, theirs = written[2][row].as_py() or b"", got[2][row].as_py() or b""
        shorter = min(len(ours), len(theirs))
        agree[row] = ours[:shorter] == theirs[:shorter]
    return agree


def _states(words: pa.Array) -> States:
    unknown = np.where(_true(pc.is_null(words)), _UNKNOWN, _ABSENT)
    states: States = np.where(_true(pc.equal(words, "present")), _PRESENT, unknown).astype(np.int8)
    return states


def _true(column: pa.Array) -> Bools:
    """Return a boolean column as NumPy's; NULL is false."""
    filled = pc.fill_null(column, False)
    values: Bools = (
        filled.to_numpy() if isinstance(filled, pa.ChunkedArray) else filled.to_numpy(zero_copy_only=False)
    )
    return values
