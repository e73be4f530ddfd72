"""Which source reported which operations, and what is known of them."""

from collections.abc import Sequence

import ibis
from ibis.expr.types import BooleanValue, Table

__all__ = ["coverage"]

_COUNTS = (
    "events", "shared", "alone", "named", "with_process", "with_data", "with_previous", "with_duration",
)  # fmt: skip


def coverage(events: Table, keys: Table, *, also: Sequence[str] = ()) -> Table:
    """Return one row per operation and source.

    A row of `events` is of its own source (`source`), and of each other one that reported the operation too (`detail`,
    AlsoReportedBy). What is known of an operation counts for all of them, whoever said it.

    Columns:

    * operation, source;
    * events: operations that this source reported; shared: those of them that another source reported too; alone: the
      others;
    * named: how many have a key with a name; with_process: a process; with_data: data of a value, which may be empty;
      with_previous: data before the write; with_duration: a duration;
    * first_time, last_time, first_sequence, last_sequence.

    Ordered by operation, events (most first), source.

    Args:
        events: stored or joined event rows.
        keys: the table `keys`.
        also: sources whose reports became part of rows of others; of one that is not here only its own rows count.
    """
    names = keys.select(named_id="key_id", key_source="name_source")
    rows = events.select(
        "sequence", "time", "operation", "source", "key_id", "process_id", "name_source", "data", "data_size",
        "previous_data", "previous_size", "duration_ns", "detail",
    )  # fmt: skip
    rows = rows.left_join(names, rows["key_id"] == names["named_id"])
    source = ibis.coalesce(rows["name_source"], rows["key_source"], ibis.literal("open"))
    detail = rows["detail"].fill_null("")
    facts = rows.select(
        "sequence",
        "time",
        "operation",
        "source",
        shared=detail.contains('"AlsoReportedBy":{') if also else ibis.literal(False),
        named=rows["key_id"].notnull() & ~source.isin(["partial", "none"]),
        with_process=rows["process_id"].notnull(),
        with_data=rows["data"].notnull() | (rows["data_size"] == 0).fill_null(False),
        with_previous=rows["previous_data"].notnull() | (rows["previous_size"] == 0).fill_null(False),
        with_duration=rows["duration_ns"].notnull(),
        detail=detail,
    )
    parts = [facts.drop("detail")]
    for word in also:
        mine = facts.filter(facts["shared"] & _names(facts, word))
        parts.append(mine.mutate(source=ibis.literal(word)).select(*parts[0].columns))
    every = ibis.union(*parts) if len(parts) > 1 else parts[0]
    groups = every.group_by("operation", "source").aggregate(
        events=every.count().cast("int64"),
        **{
            name: every.count(where=every[name]).cast("int64")
            for name in ("shared", "named", "with_process", "with_data", "with_previous", "with_duration")
        },
        first_time=every["time"].min(),
        last_time=every["time"].max(),
        first_sequence=every["sequence"].min(),
        last_sequence=every["sequence"].max(),
    )
    groups = groups.mutate(alone=groups["events"] - groups["shared"])
    return groups.order_by("operation", groups["events"].desc(), "source").select(
        "operation", "source", *_COUNTS, "first_time", "last_time", "first_sequence", "last_sequence"
    )


def _names(facts: Table, word: str) -> BooleanValue:
    # A quote inside a text of JSON has a backslash before it, so this is no text that a program wrote.
    return facts["detail"].contains(f'"{word}":{{"source_id":')
