"""The questions about how much was done, and whether it had to be: busy keys, subtrees, handles, repeated reads."""

from typing import TYPE_CHECKING, Unpack

import ibis
from ibis.expr.types import Table

from analysis.engine.duckdb_backend import engine_errors
from analysis.engine.fetch import fetch
from analysis.filters import Filters, Words, below
from analysis.questions.context import OpenCapture, by_capture
from tracer.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

    from analysis.questions.questions import FilterWords

__all__ = ["Usage", "nanoseconds"]

_LONGEST_S = 366 * 86_400
_MOST_UNSURE = 1000  # times in which a change may have been missed, besides losses


class Usage(OpenCapture):
    """Questions about load; `analysis.questions.questions.Questions` has them too."""

    def hot(
        self,
        by: str = "key",
        *,
        sort: str = "events",
        every_s: float = 1.0,
        gap_s: float = 1.0,
        least: int = 20,
        limit: int | None = None,
        **filters: "Unpack[FilterWords]",
    ) -> "pd.DataFrame":
        """Return the busiest keys, processes, stretches of time, operations or results; or storms of misses.

        The columns are those of `analysis.answers.hot.hot`, for storms of `analysis.answers.storms.storms`.

        Args:
            by: key, process, second, operation, status, or storm.
            sort: events, reads, writes, opens, failures, not_found, time_spent_ns (largest first), or
                first_time; storms are sorted by their misses.
            every_s: by second: how long each stretch of time is, seconds.
            gap_s: by storm: the longest time between two misses of a storm, seconds.
            least: by storm: the fewest misses of a storm.
            limit: the first so many rows; None for all.
            filters: which rows count (`analysis.filters.Filters`).

        Raises:
            UsageError: a filter or another word cannot be understood.
        """
        asked = Filters(**filters)
        table = self.hot_table(
            asked, by=by, sort=sort, every_s=every_s, gap_s=gap_s, least=least, limit=limit
        )
        return self.frame(table, asked)

    def hot_table(
        self,
        filters: Filters,
        *,
        by: str = "key",
        sort: str = "events",
        every_s: float = 1.0,
        gap_s: float = 1.0,
        least: int = 20,
        limit: int | None = None,
    ) -> Table:
        """Return the answer of `hot` as a lazy, ordered Ibis table; of a dataset, each capture's own rows."""
        from analysis.answers.hot import HOT_BY, busiest_first, hot
        from analysis.answers.storms import storms

        if by != "storm" and by not in HOT_BY:
            raise UsageError(f"nothing is counted by {by!r}: the words are {', '.join(HOT_BY)}, storm")
        tables = self.tables
        if by == "storm":
            rows = self.rows(filters, joined=False)
            found = storms(rows, tables["keys"], tables["processes"], gap_ns=nanoseconds(gap_s), least=least)
        else:
            every_ns = nanoseconds(every_s)
            answers = [
                hot(
                    one.rows(filters, joined=False),
                    tables["keys"],
                    tables["processes"],
                    by=by,
                    sort=sort,
                    every_ns=every_ns,
                    usage=one.usage(filters),
                )
                for one in self.apart(filters)
            ]
            several = len(answers) > 1
            found = busiest_first(ibis.union(*answers), sort) if several else answers[0]
        return found if limit is None else found.limit(limit)

    def tree(
        self,
        under: Words = None,
        *,
        depth: int = 2,
        sort: str = "path",
        limit: int | None = None,
        **filters: "Unpack[FilterWords]",
    ) -> "pd.DataFrame":
        """Return how much was done to each key and the keys below it, down to a depth.

        The columns are those of `analysis.answers.tree.subtrees`.

        Args:
            under: a key or pattern, or several, at which the tree begins; None for all keys.
            depth: levels below that; the last one counts everything below it.
            sort: path (as a tree), or events, reads, writes, opens, failures, not_found, keys, time_spent_ns
                (largest first).
            limit: the first so many rows; None for all.
            filters: which rows count (`analysis.filters.Filters`).

        Raises:
            UsageError: a filter or the order cannot be understood.
        """
        asked = below(Filters(**filters), under)
        return self.frame(self.tree_table(asked, depth=depth, sort=sort, limit=limit), asked)

    @by_capture(lambda named: () if named.get("sort", "path") == "path" else (named["sort"],))
    def tree_table(
        self, filters: Filters, *, depth: int = 2, sort: str = "path", limit: int | None = None
    ) -> Table:
        """Return the answer of `tree` as a lazy, ordered Ibis table; a subtree in `filters` is where it begins."""
        from analysis.answers.tree import subtrees, tops_of

        rows, keys = self.rows(filters, joined=False), self.tables["keys"]
        tops, levels = None, [1]
        if filters.key is not None and filters.subtree:
            ids = self._key_ids(Filters(key=filters.key, user_sid=filters.user_sid))
            tops = tops_of(keys, [] if ids is None else ids)
            with engine_errors():
                levels = fetch(tops.select("levels").distinct()).column(0).to_pylist()
        tree = subtrees(
            rows, keys, depth=depth, tops=tops, top_levels=levels, sort=sort, usage=self.usage(filters)
        )
        return tree if limit is None else tree.limit(limit)

    def handles(
        self,
        by: str = "handle",
        *,
        late_s: float = 10.0,
        least: int = 10,
        problems: bool = False,
        limit: int | None = None,
        **filters: "Unpack[FilterWords]",
    ) -> "pd.DataFrame":
        """Return the lives of key objects, one by one, or summed up by process and key.

        The columns are those of `analysis.answers.handles.handle_lives`, by key those of
        `analysis.answers.handle_use.handle_use`. A capture of Procmon's logs has no key objects.

        Args:
            by: handle or key.
            late_s: how long a handle may be idle before its close without being closed late, seconds.
            least: by key: from how many on handles leak, and a key is opened over and over.
            problems: only what was not closed, or not in time; by key: only what leaks or is opened over
                and over.
            limit: the first so many rows; None for all.
            filters: a life is counted, as a whole, where a row that fits opened, used or closed it.

        Raises:
            UsageError: a filter or another word cannot be understood.
        """
        asked = Filters(**filters)
        table = self.handles_table(asked, by=by, late_s=late_s, least=least, problems=problems, limit=limit)
        return self.frame(table, asked)

    @by_capture(lambda named: ("growth", "brief", "handles") if named.get("by") == "key" else ())
    def handles_table(
        self,
        filters: Filters,
        *,
        by: str = "handle",
        late_s: float = 10.0,
        least: int = 10,
        problems: bool = False,
        limit: int | None = None,
    ) -> Table:
        """Return the answer of `handles` as a lazy, ordered Ibis table."""
        from analysis.answers.handle_use import handle_use
        from analysis.answers.handles import handle_lives

        if by not in ("handle", "key"):
            raise UsageError(f"handles are not summed up by {by!r}: the words are handle, key")
        tables = self.tables
        shown = None
        if filters != Filters():
            rows = self.rows(filters, joined=False)
            shown = rows.filter(rows["handle_id"].notnull()).select("handle_id").distinct()
        found = handle_lives(
            tables["stored_events"],
            tables["handles"],
            tables["keys"],
            tables["processes"],
            tables["losses"],
            end_ns=max((part["last_ns"] for part in self.manifest.parts), default=0),
            late_ns=nanoseconds(late_s),
            shown=shown,
            problems=problems and by == "handle",
        )
        if by == "key":
            found = handle_use(found, tables["keys"], tables["processes"], least=least, problems=problems)
        return found if limit is None else found.limit(limit)

    def redundant(
        self,
        *,
        least: int = 1,
        polling: bool = False,
        limit: int | None = None,
        **filters: "Unpack[FilterWords]",
    ) -> "pd.DataFrame":
        """Return the reads that a process repeated though nothing changed in between, most repeated first.

        The columns are those of `analysis.answers.redundant.redundant_reads`.

        Args:
            least: the fewest redundant reads of a row.
            polling: only what is read by the clock.
            limit: the first so many rows; None for all.
            filters: which reads count; changes are looked for in all events.

        Raises:
            UsageError: a filter cannot be understood.
        """
        asked = Filters(**filters)
        return self.frame(self.redundant_table(asked, least=least, polling=polling, limit=limit), asked)

    @by_capture(lambda named: ("redundant", "reads"))  # noqa: ARG005
    def redundant_table(
        self, filters: Filters, *, least: int = 1, polling: bool = False, limit: int | None = None
    ) -> Table:
        """Return the answer of `redundant` as a lazy, ordered Ibis table."""
        from analysis.answers.read_runs import nameless_changes, read_runs
        from analysis.answers.redundant import redundant_reads

        tables, parts = self.tables, self.manifest.parts
        events, keys, losses = tables["stored_events"], tables["keys"], tables["losses"]
        reads = read_runs(self.rows(filters, joined=False), events, keys)
        last_ns = max((part["last_ns"] for part in parts), default=0)
        span_ns = last_ns - min((part["first_ns"] for part in parts), default=0)
        nameless = nameless_changes(events, keys, width_ns=span_ns // _MOST_UNSURE + 1)
        # Time before the names were read counts as a loss: what was written then may have no name.
        lost = losses.select("from_ns", "to_ns", kind=ibis.literal("events"))
        unsure = lost.union(nameless)
        found = redundant_reads(reads, keys, tables["processes"], unsure, least=least, polling=polling)
        return found if limit is None else found.limit(limit)


def nanoseconds(seconds: float) -> int:
    """Return a length of time in nanoseconds.

    Raises:
        UsageError: it is not above 0, or longer than a year.
    """
    if not 0 < seconds <= _LONGEST_S:
        raise UsageError(
            f"{seconds} s is no length of time to look at: it must be above 0, and a year at most"
        )
    return max(1, round(seconds * 1_000_000_000))
