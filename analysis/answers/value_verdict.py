"""The verdict of evidence: how a value is known, and by which event; newer evidence wins."""

import ibis
from ibis.expr.types import IntegerValue, StringValue, Table

__all__ = ["known_value", "newest"]


def newest(table: Table, *names: str) -> IntegerValue:
    """Return the largest of some columns of sequences, -1 where all are NULL."""
    columns = [table[name].fill_null(-1) for name in names]
    return ibis.greatest(*columns) if len(columns) > 1 else columns[0]


def known_value(table: Table) -> tuple[StringValue, IntegerValue]:
    """Return the source of a value (how it is known), and the sequence of its event.

    The word is write, read (with data, or only that it is there), absent, deleted; unknown where something
    happened since that may have changed it, or where nothing that was said of it is proved: the event is then
    what was known or said last; NULL where there is no evidence.

    Args:
        table: has the columns VALUE_FACTS and KEY_FACTS: the sequence of the newest row of evidence with one
            of these facts, NULL where there is none. And where what is unknown is shown, hearsay, of HEARSAY, and
            perhaps begun: the rename with which the key's stay began, by which it is unknown where nothing else tells.
    """
    data = newest(table, "write", "read")
    seen = newest(table, "seen")
    deleted = newest(table, "deleted", "key_deleted")
    absent = newest(table, "missed", "key_absent")
    gone = ibis.greatest(deleted, absent)
    unsure = newest(table, "unclear", "key_unknown")
    some = ibis.greatest(data, seen, gone)
    hearsay = newest(table, "hearsay") if "hearsay" in table.columns else ibis.literal(-1, "int64")
    source = ibis.ifelse(newest(table, "write") == data, "write", "read")
    ended = ibis.ifelse(deleted > absent, "deleted", "absent")
    held = (data > gone) & (data > unsure)
    nothing = ibis.null(str)
    if "begun" in table.columns:
        nothing = ibis.ifelse(table["begun"].notnull(), ibis.literal("unknown"), nothing)
    word = ibis.cases(
        ((some < 0) & (unsure < 0) & (hearsay < 0), nothing),
        ((unsure > some) | (some < 0), "unknown"),
        (held, source),
        (seen > gone, "read"),
        else_=ended,
    )
    last = ibis.cases((data > gone, data), (seen > gone, seen), (gone >= 0, gone), else_=unsure)
    last = ibis.ifelse(hearsay > ibis.greatest(data, seen, gone), hearsay, last)
    sequence = ibis.cases(((unsure > some) | (some < 0), last), (held, data), (seen > gone, seen), else_=gone)
    sequence = sequence.nullif(-1)
    return word, ibis.coalesce(sequence, table["begun"]) if "begun" in table.columns else sequence
