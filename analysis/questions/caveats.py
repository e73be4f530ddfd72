"""Caveats of answers: losses and blind times in their interval, and keys without a complete name."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from analysis.engine.connection import answer, engine_errors
from analysis.engine.phrases import phrase
from tracer.registry.operations import GROUPS
from tracer.registry.terms import Words, operation_cases
from tracer.schema import LOST_KINDS

if TYPE_CHECKING:
    import pandas as pd

    from analysis.filters import Filters
    from analysis.questions.context import QueryContext

__all__ = ["Caveats", "caveats_between", "find_caveats", "with_caveats"]


@dataclass(frozen=True, slots=True)
class Caveats:
    """Why an answer may be incomplete.

    Attributes:
        losses: rows of the table `losses` that touch the time asked about, blind time left out.
        lost_events: how many events those rows say were lost; None where no row says a number.
        blind: whether the time before the names of open keys were read touches it.
        set_back_ns: by how much the clock was set back, where that touches it; None where it was not.
        partly_named, unnamed: rows of the whole capture of whose key only a part, or nothing, is known.
        unclear_writes: rows of the whole capture that may be writes or not, where a filter selects writes.
        split_paths: rows of the whole capture whose path was split into key and value by inference (flag path_split).
    """

    losses: int
    lost_events: int | None
    blind: bool
    partly_named: int
    unnamed: int
    set_back_ns: int | None = None
    unclear_writes: int = 0
    split_paths: int = 0

    def __bool__(self) -> bool:
        found = (
            self.losses,
            self.blind,
            self.partly_named,
            self.unnamed,
            self.unclear_writes,
            self.split_paths,
        )
        return any(found) or self.set_back_ns is not None

    @property
    def sentences(self) -> list[str]:
        """One sentence for each kind of caveat."""
        said = []
        if self.losses:
            known = "" if self.lost_events is None else f", {self.lost_events:,} events at least"
            places = "loss touches" if self.losses == 1 else "losses touch"
            said.append(
                f"{self.losses:,} {places} the time asked about{known}: what is absent may have been lost"
            )
        if self.blind:
            said.append("the names of keys that were open before were read only after the trace had begun")
        if self.set_back_ns is not None:
            said.append(
                f"the clock was set back by {self.set_back_ns / 1e9:,.3f} s or more: times come twice, durations across "
                "it are wrong, and between processors the order of rows is not proved"
            )
        if self.partly_named or self.unnamed:
            said.append(
                f"of the capture's rows {self.partly_named:,} know only the end of their key's name and "
                f"{self.unnamed:,} none of it: answers by key may miss them"
            )
        if self.unclear_writes:
            said.append(
                f"of the capture's rows {self.unclear_writes:,} do not say whether they changed anything (creates, "
                "settings): such operations are left out"
            )
        if self.split_paths:
            said.append(
                f"of the capture's rows {self.split_paths:,} have key and value in one path, as Procmon writes it: where the "
                "key ends was inferred (flag path_split)"
            )
        return said


def find_caveats(context: "QueryContext", filters: "Filters") -> Caveats:
    """Return the caveats of an answer with these filters; only losses in their interval matter."""
    return caveats_between(context, *context.interval(filters), filters.operation)


def caveats_between(
    context: "QueryContext", start_ns: int | None = None, end_ns: int | None = None, operation: Words = None
) -> Caveats:
    """Return the caveats of an answer about a time.

    Args:
        context: the context of the question.
        start_ns: UTC nanoseconds; None is unbounded. A loss without bounds touches every time.
        end_ns: the last nanosecond; None is unbounded.
        operation: words of the operation filter; None: all operations.
    """
    conditions = ["true"]
    if start_ns is not None:
        conditions.append(f"(to_ns IS NULL OR to_ns >= {int(start_ns)})")
    if end_ns is not None:
        conditions.append(f"(from_ns IS NULL OR from_ns <= {int(end_ns)})")
    query = f'SELECT kind, count(*) AS rows, sum("count")::BIGINT AS total FROM losses WHERE {" AND ".join(conditions)} GROUP BY kind'
    with engine_errors():
        found = {row["kind"]: row for row in answer(context.engine, query).to_pylist()}
    names = context.manifest.totals.get("names", {})
    return Caveats(
        losses=sum(found[kind]["rows"] for kind in LOST_KINDS if kind in found),
        lost_events=found["events"]["total"] if "events" in found else None,
        blind="blind" in found,
        set_back_ns=found["clock"]["total"] if "clock" in found else None,
        partly_named=names.get("partial", 0),
        unnamed=names.get("none", 0),
        unclear_writes=_unclear_writes(context, operation),
        split_paths=_split_paths(context),
    )


def _split_paths(context: "QueryContext") -> int:
    query = "SELECT coalesce(sum(\"count\"), 0)::BIGINT AS total FROM diagnostics WHERE name = 'pml_ambiguous_value'"
    with engine_errors():
        total: int = answer(context.engine, query).to_pylist()[0]["total"]
    return total


def _unclear_writes(context: "QueryContext", operation: Words) -> int:
    """Return the number of rows whose operation may be one of the filter, or not."""
    cases = [*(operation_cases(operation) or ())]
    if not any(case in GROUPS["writes"].cases and case.conditions for case in cases):
        return 0
    totals = [manifest.totals.get("unclear_writes") for _, manifest in context.stores]
    numbers = [total for total in totals if type(total) is int]
    if len(numbers) == len(totals):
        return sum(numbers)
    rows = context.relation("stored_events")  # an older version did not count them
    unclear = {"cases": GROUPS["unclear_writes"].cases}
    found = phrase("analysis.expressions.row_filters:of_operations", options=unclear, rows=rows)
    return context.engine.count(found)


def with_caveats(frame: "pd.DataFrame", caveats: Caveats) -> "pd.DataFrame":
    """Return the frame with the caveats in `attrs["doubts"]`, a list of sentences."""
    frame.attrs["doubts"] = caveats.sentences
    return frame
