"""Lives of key objects: the opening process, the uses, and the close."""

import ibis
from ibis.expr.types import IntegerValue, Table

from analysis.answers.counts import named_keys, named_processes
from analysis.answers.evidence import lost_between
from analysis.expressions.operation_counters import condition_columns, fitting, unless_unclear
from analysis.expressions.time_math import SECOND_NS, moment
from tracer.registry.operations import GROUPS

__all__ = ["LATE_NS", "VERDICTS", "handle_lives"]

_COUNTED = ("reads", "writes", "unclear_writes")
_ENDS = ("OpenKey", "CreateKey", "CloseKey")  # these begin and end a life
_CASES = {
    name: [case for case in GROUPS[name].cases if not {*case.operations} <= {*_ENDS}] for name in _COUNTED
}
LATE_NS = 10 * SECOND_NS
VERDICTS = ("never closed", "unseen close", "closed late", "closed")  # the worst first


def handle_lives(
    events: Table,
    handles: Table,
    keys: Table,
    processes: Table,
    losses: Table,
    *,
    end_ns: int,
    late_ns: int = LATE_NS,
    shown: Table | None = None,
    problems: bool = False,
) -> Table:
    """Return one row per life of a key object, by first event.

    A life is that of one handle; in classic traces, of a key control block, which all handles of a key share.

    Columns:

    * display_key; process, pid: who opened it, NULL where the opening was not seen;
    * began, ended: as in the table `handles`; verdict:

      * never closed: open at the end of the capture;
      * unseen close: its address or number was opened again, or its process ended, and no close was recorded;
      * closed late: closed more than `late_ns` after the last use;
      * closed;

    * uses: operations through it, its openings and closings left out; reads, writes, unclear_writes: how many of
      these are such, as every question counts (`analysis.answers.counts.counts`);
    * lifetime_ns: from its opening to its closing, NULL where either was not seen; seen_ns: how long it is
      known to have been there, from its opening, or first use, to its closing, or last use; for a handle
      never closed to the end of the capture; idle_ns: from its last use (or its opening) to its closing,
      NULL where that was not seen;
    * across_loss: whether events may have been lost while it was there, so that a use or its close may be
      missing; NULL where nothing tells when it was there;
    * opened_time, opened_ns, closed_time, closed_ns (NULL where not seen); closed_process, closed_pid: who closed it;
    * handle_id, address, key_id (of the group, `keys.same_as`), process_id, closed_process_id,
      opened_sequence, closed_sequence, first_sequence, last_sequence.

    Args:
        events: all stored or joined event rows.
        handles: the table `handles`.
        keys: the table `keys`.
        processes: the table `processes`.
        losses: the table `losses`.
        end_ns: the time of the last event of the capture, UTC nanoseconds.
        late_ns: how long a handle may be idle before its close without being closed late.
        shown: a table with the column `handle_id`, of the lives to show; None: all.
        problems: leave out those that were closed, and not late.
    """
    if shown is not None:  # only lives of the addresses that theirs have may be the next ones
        addresses = handles.semi_join(shown, "handle_id").select("address").distinct()
        nowhere = handles.filter(handles["address"].isnull())
        handles = handles.semi_join(addresses, "address").union(nowhere)
    next_opened = handles["opened_ns"].lead().over(
        ibis.window(group_by="address", order_by=[handles["first_sequence"], handles["handle_id"]])
    )  # fmt: skip
    # Without an address, nothing says which life is the next of the same one.
    lives = handles.mutate(
        next_opened_ns=ibis.ifelse(handles["address"].notnull(), next_opened, ibis.null("int64"))
    )
    if shown is not None:
        lives = lives.semi_join(shown, "handle_id")
    lives = lives.rename(own_key_id="key_id")
    groups = keys.select(grouped_id="key_id", key_id="same_as")
    lives = lives.left_join(groups, lives["own_key_id"] == groups["grouped_id"]).drop("grouped_id")
    lives = _with_uses(lives, events if shown is None else events.semi_join(shown, "handle_id"))
    lives = _with_closers(lives, events)
    lives = named_keys(lives, keys, "key_id", name="display_key")
    ends = processes.select(ending_id="process_id", process_end_ns="end_ns")
    lives = lives.left_join(ends, lives["process_id"] == ends["ending_id"])
    lives = named_processes(lives, processes, "process_id", process="process", pid="pid")
    lives = named_processes(lives, processes, "closed_process_id", process="closed_process", pid="closed_pid")
    end = ibis.literal(end_ns, "int64")
    since = ibis.coalesce(lives["opened_ns"], lives["first_use_ns"])
    is_open = lives["ended"] == "open"
    seen_until = ibis.coalesce(
        lives["closed_ns"], ibis.ifelse(is_open, end, ibis.null("int64")), lives["last_use_ns"]
    )
    idle = lives["closed_ns"] - ibis.coalesce(lives["last_use_ns"], lives["opened_ns"])
    lives = lives.mutate(
        since_ns=since,
        until_ns=ibis.coalesce(lives["closed_ns"], lives["next_opened_ns"], end),
        # A clock that was set back meanwhile can show a close before its opening.
        lifetime_ns=_null_below_0(lives["closed_ns"] - lives["opened_ns"]),
        seen_ns=_not_negative(seen_until - since),
        idle_ns=_not_negative(idle),
        gone=is_open & (lives["process_end_ns"] <= end).fill_null(False),
        opened_time=moment(lives["opened_ns"]),
        closed_time=moment(lives["closed_ns"]),
    )
    lives = lost_between(lives, losses, after="since_ns", before="until_ns", name="across_loss")
    verdict = ibis.cases(
        ((lives["ended"] == "reuse") | lives["gone"], VERDICTS[1]),
        (lives["ended"] == "open", VERDICTS[0]),
        ((lives["idle_ns"] > late_ns).fill_null(False), VERDICTS[2]),
        else_=VERDICTS[3],
    )
    lives = lives.mutate(verdict=verdict)
    if problems:
        lives = lives.filter(lives["verdict"] != VERDICTS[3])
    return lives.order_by(lives["first_sequence"].asc(nulls_first=True), "handle_id").select(
        "display_key", "process", "pid", "verdict", "uses", *_COUNTED, "lifetime_ns", "seen_ns",
        "idle_ns", "across_loss", "opened_time", "opened_ns", "closed_time", "closed_ns", "closed_process",
        "closed_pid", "began", "ended",
        "handle_id", "address", "key_id", "process_id", "closed_process_id", "opened_sequence", "closed_sequence",
        "first_sequence", "last_sequence",
    )  # fmt: skip


def _with_uses(lives: Table, events: Table) -> Table:
    """Return the lives with uses, reads, writes, and the times of the first and the last row except closings."""
    rows = events.filter(events["handle_id"].notnull())
    rows = rows.select("handle_id", "operation", "time_ns", *condition_columns(_COUNTED))
    operation = rows["operation"]
    uses = ~operation.isin(_ENDS)
    used = rows.group_by(used_id=rows["handle_id"]).aggregate(
        uses=rows.count(where=uses).cast("int64"),
        **{name: rows.count(where=fitting(rows, cases)).cast("int64") for name, cases in _CASES.items()},
        first_use_ns=rows["time_ns"].min(where=operation != "CloseKey"),
        last_use_ns=rows["time_ns"].max(where=operation != "CloseKey"),
    )
    joined = lives.left_join(used, lives["handle_id"] == used["used_id"]).drop("used_id")
    joined = joined.mutate(**{name: joined[name].fill_null(0) for name in ("uses", *_COUNTED)})
    return unless_unclear(joined)


def _with_closers(lives: Table, events: Table) -> Table:
    """Return the lives with the closing process; that of a control block is unknown, as its deletion is no row."""
    closes = events.filter(events["operation"] == "CloseKey")
    closes = closes.select(closing="sequence", closed_id="handle_id", closed_process_id="process_id")
    own = [lives["closed_sequence"] == closes["closing"], lives["handle_id"] == closes["closed_id"]]
    return lives.left_join(closes, own).drop("closing", "closed_id")


def _not_negative(nanoseconds: IntegerValue) -> IntegerValue:
    """Return a length of time, 0 instead of a negative one: a use after the close, or a clock that was set back."""
    length: IntegerValue = ibis.ifelse(nanoseconds < 0, ibis.literal(0, "int64"), nanoseconds)
    return length


def _null_below_0(nanoseconds: IntegerValue) -> IntegerValue:
    """Return a length of time, NULL instead of a negative one."""
    length: IntegerValue = ibis.ifelse(nanoseconds < 0, ibis.null("int64"), nanoseconds)
    return length
