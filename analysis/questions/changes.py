"""Net changes of values and keys between two times, also as .reg files."""

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

from analysis.answers.facts import NEEDED
from analysis.engine.connection import engine_errors
from analysis.engine.phrases import phrase
from analysis.engine.relation import Relation, columns_of
from analysis.filters import Filters
from analysis.questions import baseline
from analysis.questions.caveats import find_caveats
from analysis.questions.class_names import with_meanings
from analysis.questions.context import QueryContext
from analysis.questions.evidence import Surroundings, doubtful, made_by_range, needed_rows, surroundings
from analysis.questions.key_ranges import is_long
from analysis.questions.query import ArrowSource, check_limit, frame_of
from tracer.errors import UsageError
from tracer.registry.user_keys import user_root

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from ibis.expr.types import Table

    from analysis.answers.net_changes import NetChanges
    from analysis.answers.sorted_columns import Ints
    from analysis.regfile.files import RegFiles

__all__ = ["ChangesQuery", "markdown_text", "of_changes", "query", "reg_files"]


@dataclass(frozen=True, slots=True)
class ChangesQuery(ArrowSource):
    """The query of net changes; like `analysis.questions.query.Query`, but its answer is a comparison."""

    context: QueryContext
    filters: Filters
    limit: int | None = None
    fold: bool = False

    @property
    def doubts(self) -> tuple[str, ...]:
        """Caveats besides those of the filters."""
        return baseline.doubts_of_hives(self.context)

    def net_changes(self) -> "NetChanges":
        """Run the query and return all net changes, and the number of values that were left out."""
        from analysis.answers.net_changes import NetChanges, net_changes

        found = []
        for one in map(baseline.with_baseline, self.context.each(self.filters)):
            times = doubtful(one, self.filters)
            rows = one.engine.fetch(_touched(one, self.filters, dated=times is not None))
            with engine_errors():
                net = net_changes(rows, times)
            if baseline.has_baseline(one):
                named = baseline.named_changes(net.rows, baseline.baseline_before(rows))
                net = replace(net, rows=named)
            found.append(net)
        net = found[0] if len(found) == 1 else NetChanges.of_many(found)
        return net.without_bookkeeping() if self.fold else net

    def to_arrow(self) -> "pa.Table":
        """Run the query and return the answer; of a dataset with the columns `host` and `capture` first."""
        return self.rows(self.net_changes())

    def to_pandas(self, *, depth: int = 1) -> "pd.DataFrame":
        """Run the query and return the answer; `attrs["doubts"]` has the caveats, `attrs["notes"]` the omissions."""
        found = self.net_changes()
        frame = frame_of(self.rows(found), self.context, self.filters, depth=depth + 1)
        frame.attrs["notes"] = found.sentences
        frame.attrs["doubts"] += self.doubts
        if len(frame) < found.rows.num_rows:
            frame.attrs["cut"] = (
                f"the first {len(frame):,} of {found.rows.num_rows:,} rows (limit={self.limit})"
            )
        return frame

    def to_ibis(self) -> "Table":
        """Return the touched keys and values as a lazy Ibis table, not yet compared; for one capture.

        Raises:
            UsageError: there are several captures.
        """
        several = [baseline.with_baseline(one) for one in self.context.each(self.filters)]
        if len(several) > 1:
            raise UsageError(
                "changes of several captures have no lazy form; use to_arrow() or to_pandas(), or open one capture"
            )
        dated = doubtful(several[0], self.filters) is not None
        return self.context.engine.table(_touched(several[0], self.filters, dated=dated))

    def rows(self, found: "NetChanges") -> "pa.Table":
        """Return net changes as the rows of the answer."""
        return with_meanings(self.context, self.context.labelled(found.rows.slice(0, self.limit)))


def query(
    context: QueryContext, filters: Filters, *, fold: str | None = None, limit: int | None = None
) -> ChangesQuery:
    """Return the query; `analysis.capture.Capture.changes` lists the columns.

    Args:
        context: the context of the question.
        filters: the filters of the changes; `start` and `end` are the two times.
        fold: "noise": leave out keys in which Windows notes what a user did (`tracer.registry.bookkeeping`); None: nothing.
        limit: the first so many rows; None for all.

    Raises:
        UsageError: a filter cannot be understood, or there is no such fold.
    """
    if fold not in (None, "noise"):
        raise UsageError(f"{fold!r} cannot be folded here; the only word is noise")
    return ChangesQuery(context, filters, check_limit(limit), fold is not None)


def of_changes(filters: Filters) -> Filters:
    """Return the filters of the changes for .reg files: a user may be given only for the names of keys in them."""
    return filters if any(map(user_root, filters.keys)) else replace(filters, user=None)


def markdown_text(context: QueryContext, net: "NetChanges", filters: Filters) -> str:
    """Return net changes as a document in Markdown, a table a key; `filters` are those of their query."""
    from analysis.regfile.markdown import markdown_table

    return markdown_table(net.rows, about=[*_about(context, filters), *net.sentences])


def reg_files(
    context: QueryContext, found: "NetChanges", filters: Filters, *, powershell: bool = False
) -> "RegFiles":
    """Return the .reg files of net changes, or PowerShell scripts; `filters` are those of their query.

    Raises:
        UsageError: there are several captures.
    """
    from analysis.regfile.files import reg_files as files_of

    if len(context.stores) > 1:
        raise UsageError("a .reg file is for one registry; open one capture, not several")
    user = None if filters.user is None else context.users.meant(filters.user)[0].sid
    return files_of(
        found.rows,
        user_sid=user,
        narrowed=_is_narrow(filters) or filters.value is not None,
        about=_about(context, filters),
        powershell=powershell,
    )


def _about(context: QueryContext, filters: Filters) -> list[str]:
    return [
        f"Net changes in {context.path.name}, by regtrace",
        *_words_of(filters),
        *find_caveats(context, filters).sentences,
    ]


def _touched(context: QueryContext, filters: Filters, *, dated: bool) -> Relation:
    """Return the evidence before and after the changes of values and keys, not yet compared; `dated`: with times."""
    until_end = replace(filters.of_keys(), end=filters.end)
    beside = _until(context, filters, surroundings(context, until_end, NEEDED))
    asked = None
    if _is_narrow(filters):
        asked = context.rows(replace(filters, value=None)).select("sequence", "operation")
        if beside.everywhere is not None:  # what was done above a key was done to it
            events = context.rows(filters.of_events())
            asked = Relation(
                f"SELECT * FROM {asked.source} UNION ALL SELECT sequence, operation FROM {beside.everywhere.source} "
                f"WHERE sequence IN (SELECT sequence FROM {events.source})",
                asked.columns,
            )
    events = needed_rows(context, until_end)
    if beside.stays is None and is_long(context, until_end):
        found = _in_ranges(context, filters, events, beside, asked)
    else:
        found = _at_once(context, filters, events, beside, asked, dated=dated)
    return baseline.of_changes(context, found)


def _until(context: QueryContext, filters: Filters, beside: Surroundings) -> Surroundings:
    """Return the surroundings without the stays that begin after the time: such a rename makes nothing changed before it."""
    _, end_ns = context.interval(filters)
    if beside.stays is None or end_ns is None:
        return beside
    stays, events = beside.stays, context.relation("stored_events").source
    last = f"SELECT coalesce(max(sequence), -1) FROM {events} WHERE time_ns <= {end_ns}"
    return replace(
        beside, stays=Relation(f"SELECT * FROM {stays.source} WHERE begins <= ({last})", stays.columns)
    )


def _at_once(
    context: QueryContext,
    filters: Filters,
    events: Relation,
    beside: Surroundings,
    asked: Relation | None,
    *,
    dated: bool,
) -> Relation:
    return phrase(
        "analysis.answers.changes:touched_values_and_keys",
        options={"subtrees": beside.subtrees, "dated": dated},
        values={
            "start_ns": context.interval(filters)[0],
            "regex": filters.value_regex,
        },
        events=events,
        keys=context.relation("keys"),
        processes=context.relation("processes"),
        asked=asked,
        **beside.tables,
    )


def _in_ranges(
    context: QueryContext,
    filters: Filters,
    events: Relation,
    beside: Surroundings,
    asked: Relation | None,
) -> Relation:
    """Return the same rows, made of the evidence of a range of keys after the other."""
    from analysis.answers.sorted_changes import TOUCHED, touched_by_range

    start_ns = context.interval(filters)[0]
    engine, keys = context.engine, context.relation("keys")
    groups = engine.keep(
        "changed",
        phrase(
            "analysis.answers.changes:changed_groups", values={"start_ns": start_ns}, events=events, keys=keys
        ),
    )
    counted = None if asked is None else _sequences(context, asked)
    further = ("time", "process_id", *(() if start_ns is None else ("time_ns",)))
    columns = columns_of(TOUCHED, {"key_id": dict(keys.columns)["key_id"]})
    touched = engine.gather(
        "touched",
        f"{start_ns} {'' if asked is None else asked.sql} {events.sql}",
        lambda: made_by_range(
            context,
            events,
            beside,
            groups,
            lambda rows: touched_by_range(rows, start_ns=start_ns, asked=counted),
            further=further,
        ),
        columns,
    )
    return phrase(
        "analysis.answers.changes:with_contents",
        values={"regex": filters.value_regex},
        touched=touched,
        events=events,
        keys=keys,
        processes=context.relation("processes"),
    )


def _sequences(context: QueryContext, rows: Relation) -> "Ints":
    """Return the sequences of event rows, rising."""
    from analysis.answers.sorted_columns import numbers_of

    found = Relation(f"SELECT DISTINCT sequence FROM {rows.source} ORDER BY sequence", rows.columns[:1])
    return numbers_of(context.engine.fetch(found).column(0))


def _is_narrow(filters: Filters) -> bool:
    """Tell whether filters select only some changes of a key: they have more than keys and times."""
    return replace(filters.of_events(), start=None, end=None) != Filters()


def _words_of(filters: Filters) -> list[str]:
    """Return the filters that are set as one line, or no line."""
    asked = {field.name: getattr(filters, field.name) for field in fields(filters)}
    words = [f"{name} {word}" for name, word in asked.items() if word not in (None, False)]
    return [f"Asked for: {', '.join(words)}"] if words else []
