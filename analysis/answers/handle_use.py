"""Lives of key objects by process and key: leaks, and keys that are opened again and again."""

import ibis
from ibis.expr.types import Table

from analysis.answers.counts import named_keys, named_processes
from analysis.expressions.operation_counters import unless_unclear
from analysis.expressions.time_math import SECOND_NS

__all__ = ["handle_use"]


def handle_use(
    lives: Table, keys: Table, processes: Table, *, min_count: int = 10, problems: bool = False
) -> Table:
    """Return one row per process and key: the largest growth first, then keys opened again and again, then the rest.

    Columns:

    * display_key; process, pid: who opened the handles; NULL also where the opening was not seen;
    * handles: lives of key objects; opened, closed: those of them whose opening, whose closing was seen;
      never_closed, unseen_closes, late_closes: as verdicts of `analysis.answers.handles.handle_lives`;
    * growth: those opened in this capture that were never closed;
    * leaking: growth is at least `min_count`, and more than half of those opened;
    * most_open: how many were open at once at most, each counted from its opening (or first row, where
      that was not seen) to its closing (or last row);
    * brief: those opened, used for one read at most and for nothing else, and closed; reopened: brief is at
      least `min_count`;
    * opens_per_second: opened by the time from the first to the last opening; NULL where that is 0;
    * uses, reads, writes, unclear_writes: sums; median_lifetime_ns (rounded down), longest_lifetime_ns: of those whose
      opening and closing were seen; NULL where there is none;
    * across_loss: whether events may have been lost while one of them was there: a close may be missing;
    * first_opened, last_opened (times); key_id (of the group), process_id, first_sequence, last_sequence.

    Args:
        lives: rows of `handle_lives`.
        keys: the table `keys`.
        processes: the table `processes`.
        min_count: from how many on handles leak, and a key is opened over and over.
        problems: leave out what neither leaks nor is opened over and over.
    """
    opened, closed = lives["opened_sequence"].notnull(), lives["closed_sequence"].notnull()
    few = (lives["uses"] <= 1) & (lives["uses"] == lives["reads"])
    verdict = lives["verdict"]
    groups = lives.group_by("process_id", "key_id").aggregate(
        handles=lives.count().cast("int64"),
        opened=lives.count(where=opened).cast("int64"),
        closed=lives.count(where=closed).cast("int64"),
        never_closed=lives.count(where=verdict == "never closed").cast("int64"),
        unseen_closes=lives.count(where=verdict == "unseen close").cast("int64"),
        late_closes=lives.count(where=verdict == "closed late").cast("int64"),
        growth=lives.count(where=opened & (verdict == "never closed")).cast("int64"),
        brief=lives.count(where=opened & closed & few).cast("int64"),
        uses=lives["uses"].sum().cast("int64"),
        reads=lives["reads"].sum().cast("int64"),
        writes=lives["writes"].sum().fill_null(0).cast("int64"),
        unclear_writes=lives["unclear_writes"].sum().cast("int64"),
        # Half of a sum of two lengths of time is exact as a float.
        median_lifetime_ns=lives["lifetime_ns"].median().floor().cast("int64"),
        longest_lifetime_ns=lives["lifetime_ns"].max(),
        across_loss=lives["across_loss"].any(),
        first_opened=lives["opened_time"].min(),
        last_opened=lives["opened_time"].max(),
        first_opened_ns=lives["opened_ns"].min(),
        last_opened_ns=lives["opened_ns"].max(),
        first_sequence=lives["first_sequence"].min(),
        last_sequence=lives["last_sequence"].max(),
    )
    groups = _with_most_open(unless_unclear(groups), lives)
    span = (groups["last_opened_ns"] - groups["first_opened_ns"]).nullif(0).cast("float64")
    groups = groups.mutate(
        leaking=(groups["growth"] >= min_count) & (groups["growth"] * 2 > groups["opened"]),
        reopened=groups["brief"] >= min_count,
        opens_per_second=groups["opened"] * float(SECOND_NS) / span,
    )
    if problems:
        groups = groups.filter(groups["leaking"] | groups["reopened"])
    groups = named_keys(groups, keys, "key_id", name="display_key")
    groups = named_processes(groups, processes, "process_id", process="process", pid="pid")
    order = [groups[name].desc() for name in ("growth", "brief", "handles")]
    return groups.order_by(*order, groups["first_sequence"].asc(nulls_first=True), "key_id", "process_id").select(
        "display_key", "process", "pid", "handles", "opened", "closed", "never_closed", "unseen_closes",
        "late_closes", "growth", "leaking", "most_open", "brief", "reopened", "opens_per_second", "uses", "reads",
        "writes", "unclear_writes", "median_lifetime_ns", "longest_lifetime_ns", "across_loss", "first_opened", "last_opened",
        "key_id", "process_id", "first_sequence", "last_sequence",
    )  # fmt: skip


def _with_most_open(groups: Table, lives: Table) -> Table:
    """Return the groups with `most_open`: the maximum of the running sum of opens and closes."""
    before_all = ibis.literal(-1, "int64")
    opens = lives.select(
        "process_id",
        "key_id",
        at=ibis.coalesce(lives["opened_sequence"], lives["first_sequence"], before_all),
        step=ibis.literal(1, "int64"),
    )
    ended = lives.filter(lives["verdict"] != "never closed")
    closes = ended.select(
        "process_id",
        "key_id",
        at=ibis.coalesce(ended["closed_sequence"], ended["last_sequence"], before_all),
        step=ibis.literal(-1, "int64"),
    )
    steps = opens.union(closes)
    in_order = ibis.window(
        group_by=["process_id", "key_id"], order_by=[steps["at"], steps["step"].desc()], rows=(None, 0)
    )
    steps = steps.mutate(open=steps["step"].sum().over(in_order))
    most = steps.group_by(most_process="process_id", most_key="key_id").aggregate(
        most_open=steps["open"].max().cast("int64")
    )
    same = [
        groups["process_id"].identical_to(most["most_process"]),
        groups["key_id"].identical_to(most["most_key"]),
    ]
    return groups.left_join(most, same).drop("most_process", "most_key")
