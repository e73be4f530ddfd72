"""Operations as steps of a program: what was done to what and how it ended, without what differs from run to run."""

import ibis
from ibis.expr.types import Table

from analysis.expressions.links import link_target
from analysis.expressions.operation_counters import fitting
from tracer.registry.operations import GROUPS

__all__ = ["contents_until", "step_keys", "steps"]


def steps(events: Table) -> Table:
    """Return the operations in order, one row each, without those that decide nothing.

    These are what Windows does by itself (`noise`), and closes: when a process ends, Windows closes its handles in the
    order of their numbers, which differs from run to run.

    Columns: sequence, time, process_id, thread_id, operation, key_id, value_name, status, information_class, index.

    Args:
        events: stored event rows.
    """
    noise = fitting(events, GROUPS["noise"].cases).fill_null(False)
    rows = events.filter(~noise, events["operation"] != "CloseKey")
    return rows.select(
        "sequence", "time", "process_id", "thread_id", "operation", "key_id", "value_name", "status",
        "information_class", "index",
    ).order_by("sequence")  # fmt: skip


def step_keys(events: Table, keys: Table) -> Table:
    """Return key_id, path (folded, links followed) and display_path of the keys of some event rows."""
    used = events.select("key_id").distinct()
    keys = keys.semi_join(used, "key_id")
    return keys.select("key_id", "display_path", path=link_target(keys["folded_path"]))


def contents_until(events: Table, *, last: int) -> Table:
    """Return in order what the operations wrote or returned, up to a sequence.

    Columns: sequence, value_name, data_type, data_size, data, disposition, detail.

    Args:
        events: stored event rows.
        last: the last sequence.
    """
    rows = events.filter(events["sequence"] <= ibis.literal(last, "int64"))
    return rows.select(
        "sequence", "value_name", "data_type", "data_size", "data", "disposition", "detail"
    ).order_by("sequence")
