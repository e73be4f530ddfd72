"""Touches of autostart points: who made, changed, deleted or read what Windows starts, and what guards it.

The table of autostart points is `analysis.rules.autostarts`; how rows become touches is in `analysis.questions.autostart_touches`.
"""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from analysis.engine.connection import engine_errors
from analysis.engine.relation import arrow_schema
from analysis.filters import Filters
from analysis.questions.autostart_touches import AutostartTouches
from analysis.questions.baseline import doubts_of_hives
from analysis.questions.class_names import with_meanings
from analysis.questions.context import QueryContext
from analysis.questions.evidence import are_alike
from analysis.questions.query import ArrowSource, check_limit, frame_of
from analysis.rules.autostarts import categories, find_categories
from analysis.rules.touches import TOUCHES
from tracer.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd
    from ibis.expr.types import Table

__all__ = ["AutorunsQuery", "query"]

_MAKES = ("SetValueKey", "CreateKey", "CreateOrDelete")
_Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class AutorunsQuery(ArrowSource):
    """The query of touches of autostart points.

    Attributes:
        context: the context of the question.
        filters: which rows count.
        reads: whether reads count too.
        new: only what made an entry, or changed one, or may have.
        categories: of which categories; None for all.
        limit: the first so many rows; None for all.
    """

    context: QueryContext
    filters: Filters
    reads: bool = False
    new: bool = False
    categories: tuple[str, ...] | None = None
    limit: int | None = None

    @property
    def doubts(self) -> tuple[str, ...]:
        """Caveats besides those of the filters."""
        return doubts_of_hives(self.context)

    @property
    def needs(self) -> str:
        """What the question is about, where not every source records it."""
        return "reads" if self.reads else ""

    def to_arrow(self) -> pa.Table:
        """Run the query and return the answer; of a dataset with the columns `host` and `capture` first."""
        groups = self.context.groups(self.filters, are_alike)
        rows = []
        for one in groups:
            # What is kept of one of several groups is of no use to the next.
            with self.context.engine.passing() if len(groups) > 1 else nullcontext():
                rows += self._touches(one)
        if self.new:
            rows = [row for row in rows if _may_be_new(row)]
        place = {name: number for number, name in enumerate(categories())}
        rows.sort(
            key=lambda row: (
                place[row["category"]],
                row["touch"] == "read",
                row["sequence"],
                row["value_name"] or "",
            )
        )
        del rows[self.limit if self.limit is not None else len(rows) :]
        schema = arrow_schema(tuple(TOUCHES.items()))
        made = pa.table(
            {field.name: pa.array([row.get(field.name) for row in rows], field.type) for field in schema}
        )
        with engine_errors():
            return with_meanings(self.context, self.context.labelled(made))

    def to_pandas(self, *, depth: int = 1) -> "pd.DataFrame":
        """Return the same as a DataFrame; `attrs["doubts"]` has the caveats."""
        frame = frame_of(self.to_arrow(), self.context, self.filters, needs=self.needs, depth=depth + 1)
        frame.attrs["doubts"] += self.doubts
        return frame

    def to_ibis(self) -> "Table":
        """Raise UsageError: the table of autostart points is no table of the engine, so the answer has no lazy form."""
        raise UsageError("autoruns have no lazy form; use to_arrow() or to_pandas()")

    def _touches(self, context: QueryContext) -> list[_Row]:
        """Return the touches of one capture, or of several that are alike."""
        found = AutostartTouches(context, self.filters, self.categories)
        rows = [*found.writes(), *(found.reads() if self.reads else ())]
        found.add_classes(rows)
        return rows


def query(
    context: QueryContext,
    filters: Filters,
    *,
    reads: bool = False,
    new: bool = False,
    category: str | Sequence[str] | None = None,
    limit: int | None = None,
) -> AutorunsQuery:
    """Return the query; `analysis.capture.Capture.autoruns` lists the columns.

    Args:
        context: the context of the question.
        filters: which rows count; reads that Windows does by itself do not, unless they say so.
        reads: who read an entry counts too.
        new: only what made an entry, or changed one, or may have.
        category: categories of the table of autostart points, separated by commas or as a list; None for all.
        limit: the first so many rows; None for all.

    Raises:
        UsageError: a filter or a category cannot be understood, or reads are asked for with `new`.
    """
    if new and reads:
        raise UsageError("what is new was written, and reads write nothing; give `new` or `reads`")
    return AutorunsQuery(context, filters, reads, new, find_categories(category), check_limit(limit))


def _may_be_new(row: _Row) -> bool:
    """Tell whether a touch made or changed an entry, or may have."""
    is_made = row["operation"] in _MAKES or row.get("arrives", False)
    return is_made and row["touch"] == "write" and row.get("novelty") != "same"
