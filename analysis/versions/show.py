"""One change set as a diff: the net changes of its keys and values, before and after, as `changes` tells them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from analysis.engine.relation import Relation, arrow_schema, quoted
from analysis.filters import Filters
from analysis.questions import changes
from analysis.questions.chosen_keys import with_chosen_keys
from analysis.questions.class_names import with_meanings
from analysis.questions.context import QueryContext
from analysis.questions.query import ArrowSource, frame_of
from analysis.versions.change_rows import OPERATIONS
from analysis.versions.change_sets import Grouping, change_sets
from analysis.versions.identity import SHORT, names_of, numbers_named
from analysis.versions.log import LOG, Member, rows_of
from tracer.columns.arrays import from_rows
from tracer.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

    from analysis.answers.net_changes import NetChanges
    from analysis.regfile.files import RegFiles

__all__ = ["ShowQuery", "net_of_set", "query"]


@dataclass(frozen=True, slots=True)
class ShowQuery(ArrowSource):
    """The query of one change set.

    Attributes:
        context: the context of the question.
        member: the change set.
    """

    context: QueryContext
    member: Member

    def net_changes(self) -> "NetChanges":
        """Run the query and return the net changes of the set."""
        return net_of_set(self.member)

    def head(self) -> pa.Table:
        """Return the row of the set as the log has it."""
        one = self.member
        (row,) = (row for row in rows_of(one.context, one.sets, Filters()) if row["number"] == one.number)
        row["change_set"] = one.name
        return self.context.labelled(from_rows([row], arrow_schema(tuple(LOG.items()))))

    def rows(self, net: "NetChanges") -> pa.Table:
        """Return net changes of the set as rows, with the name of the set first."""
        name = pa.array([self.member.name] * net.rows.num_rows, pa.string())
        return with_meanings(self.context, self.context.labelled(net.rows.add_column(0, "change_set", name)))

    def to_arrow(self) -> pa.Table:
        """Run the query and return the net changes, with the name of the set first."""
        return self.rows(self.net_changes())

    def to_pandas(self, *, depth: int = 1) -> "pd.DataFrame":
        """Return the same as a DataFrame; `attrs["notes"]` has the omissions."""
        net = self.net_changes()
        frame = frame_of(self.rows(net), self.context, Filters(), depth=depth + 1)
        frame.attrs["notes"] = net.sentences
        return frame

    def reg_files(self, net: "NetChanges | None" = None, *, powershell: bool = False) -> "RegFiles":
        """Return the files that make the changes of the set again, and that take them back.

        Args:
            net: the net changes of the set; None: they are looked for.
            powershell: scripts for PowerShell instead of .reg files.
        """
        from analysis.regfile.files import reg_files

        rows = (net or self.net_changes()).rows
        about = [f"Change set {self.member.name} of {self.member.context.path.name}, by regtrace"]
        return reg_files(rows, about=about, powershell=powershell)


def query(context: QueryContext, prefix: str, *, grouping: Grouping | None = None) -> ShowQuery:
    """Return the query of the change set whose name begins with some digits.

    Raises:
        UsageError: no name begins so, or several do.
    """
    found = []
    for one in context.each(Filters()):
        sets = change_sets(one, grouping or Grouping())
        names = names_of(one, sets, range(len(sets)))
        found += [Member(one, sets, place, names[place]) for place in numbers_named(names, prefix)]
    if not found:
        raise UsageError(
            f"{context.path.name} has no change set {prefix}; `regtrace log` lists them, and other --pause or --by make others"
        )
    if len(found) > 1:
        several = ", ".join(one.name[: max(SHORT, len(prefix) + 4)] for one in found[:4])
        raise UsageError(f"{len(found):,} change sets begin with {prefix} ({several}); give more digits")
    return ShowQuery(context, found[0])


def _events_of(member: Member) -> Relation:
    """Return the operations by which a set may have changed something: those of its processes in its time."""
    sets, number = member.sets, member.number
    own = sets.places(number)
    first, last = int(sets.rows.sequence[own][0]), int(sets.rows.sequence[own][-1])
    people = sets.process_ids(number)
    who = " OR ".join(
        [f"process_id IN ({_listed([one for one in people if one >= 0])})"] * any(one >= 0 for one in people)
        + ["process_id IS NULL"] * (-1 in people)
    )
    listed = ", ".join(map(quoted, OPERATIONS))
    where = f"sequence BETWEEN {first} AND {last} AND ({who}) AND operation IN ({listed})"
    events = member.context.relation("stored_events")
    return Relation(f"SELECT * FROM {events.source} WHERE {where}", events.columns)


def net_of_set(member: Member) -> "NetChanges":
    """Return the net changes of one set."""
    own = member.sets.places(member.number)
    end = _time_of(int(member.sets.rows.time_ns[own][-1]))
    chosen = with_chosen_keys(member.context, _keys_of(member), _events_of(member))
    # Which keys and events, the context says.
    return changes.query(chosen, Filters(key="HKLM", where="true", end=end)).net_changes()


def _keys_of(member: Member) -> Relation:
    """Return all spellings of the keys that a set changed; of a rename also what stands at and below both names."""
    context, rows, own = member.context, member.sets.rows, member.sets.places(member.number)
    ids: list[int] = sorted({int(one) for one in rows.key_id[own] if one >= 0})
    keys, events = context.relation("keys"), context.relation("stored_events")
    kind = dict(keys.columns)["key_id"]
    sql = f"SELECT key_id FROM {keys.source} WHERE same_as IN ({_listed(ids)})"
    renames = rows.sequence[own][rows.operation[own] == OPERATIONS.index("RenameKey")].tolist()
    if renames:
        # Where the new name is wanted letter by letter, keys with all its first letters do no harm: what is asked of
        # them is only what the set did to them.
        sql += f"""
            UNION SELECT moved.key_id FROM {keys.source} AS moved JOIN (
                SELECT folded_path AS old,
                    regexp_replace(folded_path, '[^\\\\]*$', '') || upper(requested_name) AS new
                FROM (SELECT key_id, requested_name FROM {events.source} WHERE sequence IN ({_listed(renames)}))
                JOIN (SELECT key_id, folded_path FROM {keys.source}) USING (key_id)
            ) AS renamed ON moved.folded_path IN (old, new)
                OR starts_with(moved.folded_path, old || '\\') OR starts_with(moved.folded_path, new || '\\')
        """
    return context.engine.keep("set_keys", Relation(sql, (("key_id", kind),)))


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers)) or "NULL"


def _time_of(time_ns: int) -> str:
    """Return a time as users write it, to the nanosecond."""
    from datetime import UTC, datetime

    seconds, rest = divmod(time_ns, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC).strftime('%Y-%m-%dT%H:%M:%S')}.{rest:09}Z"
