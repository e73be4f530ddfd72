"""Timelines: rows of `events` by `sequence`."""

from collections.abc import Sequence

from ibis.expr.types import Table

__all__ = ["timeline"]


def timeline(events: Table, *, columns: Sequence[str] | None = None, limit: int | None = None) -> Table:
    """Return rows of `events` in their order, by `sequence`; None means every column, and every row."""
    rows = events.order_by("sequence")
    if limit is not None:
        rows = rows.limit(limit)
    return rows.select(*columns) if columns is not None else rows
