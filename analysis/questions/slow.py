"""The page for the performance engineer: time spent in the registry, on what, when, and what need not be."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from analysis.answers.slow import EDGES_NS
from analysis.engine.phrases import phrase
from analysis.filters import Filters
from analysis.questions import hot, redundant
from analysis.questions.context import QueryContext
from analysis.questions.query import ArrowSource, check_limit, frame_of
from tracer.errors import UsageError
from tracer.registry.ntstatus import NAME_NOT_FOUND

if TYPE_CHECKING:
    import pandas as pd
    from ibis.expr.types import Table

__all__ = ["SLOW", "SlowQuery", "query"]

SLOW = {
    "section": "string", "name": "string", "operation": "string", "status_name": "string", "display_key": "string", "value_name": "string", "process": "string",
    "pid": "uint32", "events": "int64", "names": "int64", "share": "float64", "time_spent_ns": "int64", "time_share": "float64",
    "least_ns": "int64", "most_ns": "int64", "period_ns": "int64", "first_time": "timestamp[us, tz=UTC]",
    "last_time": "timestamp[us, tz=UTC]", "first_sequence": "int64", "last_sequence": "int64", "key_id": "int64",
    "process_id": "int64",
}  # fmt: skip
_STRETCHES = 100  # into how many, at least, the time is cut
_LEAST_STRETCH_NS = 1_000_000

_Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class SlowQuery(ArrowSource):
    """The page of some operations.

    Attributes:
        context: the capture.
        filters: which operations count.
        most: how many keys, reads and stretches of time are listed.
        limit: the first so many rows; None for all.
    """

    context: QueryContext
    filters: Filters
    most: int = 10
    limit: int | None = None

    def to_arrow(self) -> pa.Table:
        """Return the rows of all sections, one after the other; the columns SLOW.

        * total: wall (from the beginning of the first operation to the end of the last: the time of which the next two
          are shares), registry (time in which at least one operation ran), threads (sum of all durations, which is more
          where several threads are in the registry at once);
        * operation: what was done, all of it;
        * key: the worst keys;
        * saved: polling and repeated (reads that told nothing new, as `redundant` counts them, by the clock or not,
          without what Windows does by itself), missed (what was asked for and is not there, unless it is among these),
          and together, their sum; with the worst key and value of each;
        * read: the worst reads of polling and repeated;
        * miss: the places in which most was looked for in vain, repeated or not: the key above a key that is not there, the
          key of a value that is not there;
        * stretch: the worst stretches of time, all of one length (`most_ns`), with the key with most events;
        * duration: how many operations took at least `least_ns` and less than `most_ns`.

        Columns: section, name, operation, status_name, display_key, value_name, process, pid: what it is; events, and
        share of them; names of a miss: how many different ones;
        time_spent_ns: sum of durations, NULL where the source has none, and time_share of it; least_ns, most_ns;
        period_ns of polling; first_time, last_time; first_sequence, last_sequence, key_id, process_id.
        Worst is what took most time, or without durations what occurs most.
        """
        engine = self.context.engine
        events = self.context.rows(self.filters)
        spent = engine.fetch(phrase("analysis.answers.slow:time_spent", events=events)).to_pylist()[0]
        timed = spent["time_spent_ns"] is not None
        rows = [*self._total(spent)]
        if spent["events"]:
            rows += self._grouped("operation", spent, timed=timed)
            rows += self._grouped("key", spent, timed=timed, limit=self.most)
            rows += self._saved(spent, timed=timed)
            rows += self._stretches(spent, timed=timed)
        if timed:
            rows += self._durations(
                engine.fetch(phrase("analysis.answers.slow:durations", events=events)), spent
            )
        columns = [pa.array([row.get(name) for row in rows], _type(kind)) for name, kind in SLOW.items()]
        return pa.Table.from_arrays(columns, names=[*SLOW]).slice(0, self.limit)

    def to_pandas(self, *, depth: int = 1) -> "pd.DataFrame":
        """Return the same as a DataFrame; `attrs["doubts"]` has the caveats."""
        return frame_of(self.to_arrow(), self.context, self.filters, depth=depth + 1)

    def to_ibis(self) -> "Table":
        """Raise UsageError: the page is made of several answers, and has no lazy form."""
        raise UsageError("a page of several answers has no lazy form; use to_arrow() or to_pandas()")

    @property
    def _whole(self) -> Filters:
        """The filters with what Windows does by itself, which takes time too."""
        return self.filters if self.filters.noise is not None else replace(self.filters, noise=True)

    def _total(self, spent: _Row) -> Iterator[_Row]:
        wall = None if spent["first_ns"] is None else spent["last_ns"] - spent["first_ns"]
        yield {"section": "total", "name": "wall", "events": spent["events"], "time_spent_ns": wall}
        for name, column in (("registry", "busy_ns"), ("threads", "time_spent_ns")):
            yield {
                "section": "total",
                "name": name,
                "events": spent["events"],
                "time_spent_ns": spent[column],
                "time_share": _share(spent[column], wall),
            }

    def _grouped(self, by: str, spent: _Row, *, timed: bool, limit: int | None = None) -> Iterator[_Row]:
        sort = "time_spent_ns" if timed else "events"
        for row in hot.query(self.context, self._whole, by=by, sort=sort, limit=limit).to_arrow().to_pylist():
            yield _of(row, spent) | {"section": by}

    def _saved(self, spent: _Row, *, timed: bool) -> Iterator[_Row]:
        reads = [
            row | {"events": row["redundant"], "name": "polling" if row["polling"] else "repeated"}
            for row in redundant.query(self.context, self.filters).to_arrow().to_pylist()
        ]
        weight = partial(_weight, timed=timed)
        reads.sort(key=weight, reverse=True)  # a stable sort: ties stay in the order of `redundant`
        again = [row for row in reads if row["status"] == NAME_NOT_FOUND]
        listed = {name: [row for row in reads if row["name"] == name] for name in ("polling", "repeated")}
        sums = {name: _sums(of) for name, of in listed.items()}
        repeated = _sums(again)
        missed = spent["not_found"] - repeated[0]
        sums["missed"] = missed, (spent["not_found_ns"] or 0) - repeated[1]
        listed["missed"] = self._missed(timed=timed) if missed else []
        parts = ((row, "read", row["name"]) for row in reads[: self.most])
        places = ((row, "miss", "missed") for row in listed["missed"][: self.most])
        for name, (count, time_ns) in sums.items():
            worst = _of(listed[name][0], spent) if listed[name] else {}
            yield (
                worst | {"section": "saved", "name": name} | _parts(count, time_ns if timed else None, spent)
            )
        whole, time_ns = (sum(part) for part in zip(*sums.values(), strict=True))
        yield {"section": "saved", "name": "together"} | _parts(whole, time_ns if timed else None, spent)
        for row, section, name in (*parts, *places):
            yield _of(row, spent) | {"section": section, "name": name}

    def _missed(self, *, timed: bool) -> list[_Row]:
        """Return the places in which was looked for what is not there, the worst first."""
        rows = self.context.engine.fetch(
            phrase(
                "analysis.answers.slow:misses",
                events=self.context.rows(self.filters),
                keys=self.context.relation("keys"),
            )
        )
        return sorted(rows.to_pylist(), key=lambda row: (-_weight(row, timed=timed), row["first_sequence"]))

    def _stretches(self, spent: _Row, *, timed: bool) -> Iterator[_Row]:
        width = _width((spent["last_ns"] - spent["first_ns"]) // _STRETCHES)
        found = hot.query(
            self.context, self._whole, by="second", every_s=width / 1e9,
            sort="time_spent_ns" if timed else "events", limit=self.most,
        )  # fmt: skip
        for row in found.to_arrow().to_pylist():
            begun = {"first_time": row["time"], "most_ns": width, "display_key": row["top_key"]}
            of = {"process": row["top_process"], "pid": row["top_pid"], "process_id": row["top_process_id"]}
            yield _of(row, spent) | begun | of | {"section": "stretch", "key_id": row["top_key_id"]}

    def _durations(self, classes: pa.Table, spent: _Row) -> Iterator[_Row]:
        counted = {row["least_ns"]: row for row in classes.to_pylist()}
        ends = dict(zip(EDGES_NS, (*EDGES_NS[1:], None), strict=True))
        for least, most in ends.items():
            if min(counted) <= least <= max(counted):
                row = counted.get(least, {"events": 0, "time_spent_ns": 0})
                yield {"section": "duration", "least_ns": least, "most_ns": most} | _parts(
                    row["events"], row["time_spent_ns"], spent
                )


def query(context: QueryContext, filters: Filters, *, most: int = 10, limit: int | None = None) -> SlowQuery:
    """Return the query.

    Args:
        context: the context of the question.
        filters: which operations count.
        most: how many keys, reads and stretches of time are listed.
        limit: the first so many rows; None for all.

    Raises:
        UsageError: a filter cannot be understood, or these are several captures.
    """
    if len(context.stores) > 1:
        raise UsageError(
            f"{context.path.name} is {len(context.stores)} captures; give one: clocks are not shared"
        )
    if most < 1:
        raise UsageError(f"invalid number {most}; use 1 or more")
    context.rows(filters)  # a mistake is said now
    return SlowQuery(context, filters, most, check_limit(limit))


def _of(row: _Row, spent: _Row) -> _Row:
    """Return what a row of an answer says in the columns SLOW."""
    kept = {name: row[name] for name in SLOW if name in row and name not in ("share", "time_share")}
    return kept | _parts(row["events"], row["time_spent_ns"], spent)


def _parts(events: int, time_ns: int | None, spent: _Row) -> _Row:
    return {
        "events": events,
        "share": _share(events, spent["events"]),
        "time_spent_ns": time_ns,
        "time_share": _share(time_ns, spent["time_spent_ns"]),
    }


def _share(part: int | None, whole: int | None) -> float | None:
    return None if part is None or not whole else part / whole


def _weight(row: _Row, *, timed: bool) -> int:
    return (row["time_spent_ns"] or 0) if timed else row["events"]


def _sums(rows: list[_Row]) -> tuple[int, int]:
    """Return the operations of some rows, and the time that they took, 0 where nobody knows."""
    return sum(row["events"] for row in rows), sum(row["time_spent_ns"] or 0 for row in rows)


def _width(least_ns: int) -> int:
    """Return the length of a stretch of time: 1, 2 or 5 of a power of ten, at least so many nanoseconds.

    >>> _width(0), _width(110_000_000)
    (1000000, 200000000)
    """
    width = _LEAST_STRETCH_NS
    while width < least_ns:
        width = width * 5 // 2 if str(width)[0] == "2" else width * 2
    return width


def _type(kind: str) -> pa.DataType:
    return pa.timestamp("us", "UTC") if kind.startswith("timestamp") else pa.type_for_alias(kind)
