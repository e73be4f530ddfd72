"""The view `events`: the stored rows with the names of their keys and processes joined to them."""

from collections.abc import Sequence

import ibis
from ibis.expr.types import BooleanValue, IntegerValue, StringValue, Table

from analysis.engine.columns import EVENT_COLUMNS
from analysis.expressions.operation_counters import fitting
from tracer.registry.ntstatus import NOT_FAILURES, NOT_SUCCESS, STATUSES
from tracer.registry.operations import NOISE

__all__ = ["is_failure", "join_names", "named_status", "noise_reason"]


def join_names(events: Table, keys: Table, processes: Table, *, first: Sequence[str] = ()) -> Table:
    """Return stored events with `key`, `display_key`, `process`, `pid` and so on; the columns EVENT_COLUMNS.

    `first` names columns of `events` that stand before these: in a dataset, those that name the capture.

    `name_source` is never NULL for a row that has a key; it is NULL where the operation has no key.
    `status_name` is NULL only where `status` is. Rows are in no order: sort by `sequence`.
    """
    keys = keys.select(
        named_key_id="key_id", key="path", display_key="display_path", key_name_source="name_source"
    )
    processes = processes.select(
        named_process_id="process_id", process="image", pid="pid", user="user", command_line="command_line"
    )
    joined = events.left_join(keys, events["key_id"] == keys["named_key_id"])
    joined = joined.left_join(processes, joined["process_id"] == processes["named_process_id"])
    row_source = joined["name_source"]
    return joined.mutate(
        tid=joined["thread_id"],
        noise=noise_reason(joined),
        status_name=named_status(joined["status"]),
        name_source=ibis.ifelse(
            joined["key_id"].isnull(),
            row_source,
            ibis.coalesce(row_source, joined["key_name_source"], ibis.literal("none")),
        ),
    ).select(*first, *EVENT_COLUMNS)


def noise_reason(rows: Table) -> StringValue:
    """Return why each row is noise, a word of `tracer.registry.operations.NOISE`; NULL where it is none."""
    reasons = [(fitting(rows, cases), reason) for reason, (cases, _) in NOISE.items()]
    return ibis.cases(*reasons, else_=ibis.null("string"))


def is_failure(status: IntegerValue) -> BooleanValue:
    """Tell which rows failed (`tracer.registry.ntstatus.is_failure`); never NULL."""
    return ((status >= NOT_SUCCESS) & ~status.isin(NOT_FAILURES)).fill_null(False)


def named_status(status: IntegerValue) -> StringValue:
    """Return the name of each status, or its hex form; NULL where it is NULL."""
    digits = ibis.literal("0123456789ABCDEF")
    wide = status.cast("int64")
    unknown = ibis.literal("0x")
    for shift in range(28, -4, -4):
        unknown = unknown + digits.substr((wide >> shift) & 15, 1)
    first, *rest = STATUSES.items()
    return status.cases(first, *rest, else_=unknown)
