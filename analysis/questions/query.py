"""A query: one question about one context, ready to run. Creating it runs only small lookups."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from analysis.engine.connection import engine_errors
from analysis.engine.relation import Relation, as_stated
from analysis.filters import Filters
from analysis.questions.class_names import with_meanings
from analysis.questions.context import QueryContext
from analysis.questions.users import KEY_USER, by_batch
from tracer.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from ibis.expr.types import Table

__all__ = ["ArrowSource", "Query", "check_limit", "frame_of", "together"]

_BATCH_ROWS = 65_536


class ArrowSource:
    """A query that whoever reads Arrow can read, such as polars: `polars.from_arrow(query)`."""

    __slots__ = ()

    def to_arrow(self) -> "pa.Table":
        """Run the query and return the answer."""
        raise NotImplementedError

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Run the query and return the answer as Arrow's own stream."""
        return self.to_arrow().__arrow_c_stream__(requested_schema)


@dataclass(frozen=True, slots=True)
class Query(ArrowSource):
    """One question for one capture, or several.

    Attributes:
        context: the context of the question.
        filters: the filters of the rows; they decide which caveats matter.
        relation: the rows as the engine returns them, in order.
        finish: makes the answer of these rows, each by itself, where the engine cannot: captured bytes become values.
        needs: what the question is about, where not every source records it: "reads", "failures" or "handles".
        doubts: caveats of this question besides those of the filters.
    """

    context: QueryContext
    filters: Filters
    relation: Relation
    finish: "Callable[[pa.Table], pa.Table] | None" = None
    needs: str = ""
    doubts: tuple[str, ...] = ()

    def to_arrow(self) -> "pa.Table":
        """Run the query and return the answer; in a dataset, with the columns `host` and `capture` first.

        Beside the data of values stand the names of types and texts (`tracer.registry.value_columns.with_texts`).
        """
        found = self.context.engine.fetch(self.relation)
        with engine_errors():
            rows = found if self.finish is None else self.finish(found)
            return with_meanings(self.context, self.context.labelled(rows))

    def reader(self, batch_rows: int = _BATCH_ROWS) -> "pa.RecordBatchReader":
        """Run the query and return the answer as a stream of Arrow batches, for answers larger than memory."""
        rows = self.context.engine.stream(self.relation.sql, batch_rows)
        finish, schema = self.finish, self.relation.schema
        if rows.schema.types != schema.types:  # the engine adds integers up to 128 bits
            rows = by_batch(rows, lambda batch: as_stated(batch, schema))
        if finish is not None:
            rows = by_batch(rows, finish)
        return by_batch(self.context.labelled_batches(rows), lambda batch: with_meanings(self.context, batch))

    def total(self) -> int:
        """Return how many rows the answer would have without its limit."""
        return self.context.engine.count(self.relation.without_limit())

    def to_pandas(self, *, depth: int = 1) -> "pd.DataFrame":
        """Run the query and return the answer; `attrs["doubts"]` has the caveats, as sentences.

        Where it has as many rows as its limit allows, `attrs["cut"]` says so; `total` counts them all, which takes as long
        as the answer.

        Args:
            depth: how many calls below the user's own line the caller stands: there warnings point to.
        """
        frame = frame_of(self.to_arrow(), self.context, self.filters, needs=self.needs, depth=depth + 1)
        frame.attrs["doubts"] += self.doubts
        whole = self.relation.without_limit().sql
        limit = int(self.relation.sql.removeprefix(whole).rpartition(" ")[2] or -1)
        if len(frame) == limit:
            frame.attrs["cut"] = f"the first {limit:,} rows (limit={limit}); there may be more"
        return frame

    def to_ibis(self) -> "Table":
        """Return the rows as a lazy Ibis table, in order, before they are finished."""
        from analysis.engine.value_functions import relation_with_texts

        rows = self.relation if self.finish is not None else relation_with_texts(self.relation)
        return self.context.engine.table(rows)


def frame_of(
    rows: "pa.Table", context: QueryContext, filters: Filters, *, needs: str = "", depth: int
) -> "pd.DataFrame":
    """Return an answer as a DataFrame with its caveats in `attrs["doubts"]`, and warn of unknown keys and processes.

    Args:
        rows: the answer.
        context: the context of the question.
        filters: the filters of the question.
        needs: what the question is about (`Query.needs`).
        depth: how many calls below the user's own line the caller stands: there warnings point to.
    """
    from analysis.engine.fetch import to_frame
    from analysis.questions.answer_html import ROOTS, show_in_notebook
    from analysis.questions.caveats import find_caveats, with_caveats
    from analysis.questions.empty_answers import why_empty
    from analysis.questions.unknown_names import warn_unknown

    frame = to_frame(rows)
    warn_unknown(context, filters, is_empty=not len(frame), depth=depth)
    if not len(frame) and (reason := why_empty(context, filters, needs)):
        frame.attrs["empty"] = reason
    if sentence := context.users_sentence(filters):
        frame.attrs["users"] = sentence
    if KEY_USER in frame.columns and frame[KEY_USER].notna().any():
        frame.attrs[ROOTS] = context.users.roots(filters)
    show_in_notebook()
    return with_caveats(frame, find_caveats(context, filters))


def check_limit(limit: int | None) -> int | None:
    """Return the limit; raise UsageError where it is no number of rows.

    Raises:
        UsageError: it is no number of rows.
    """
    if limit is not None and not 0 <= limit < 2**63:
        raise UsageError(f"invalid limit {limit}; use a number of rows, 0 or more")
    return limit


def together(
    answers: Sequence[Relation],
    largest: Sequence[str] = (),
    *,
    smallest: Sequence[str] = (),
    limit: int | None = None,
) -> Relation:
    """Return the answers of several captures as one.

    Args:
        answers: the answers of each capture to the same question.
        largest: by which columns they are sorted, largest first; none: they follow each other.
        smallest: by which columns after these, smallest first.
        limit: the first so many rows; None for all.
    """
    if len(answers) == 1:
        return answers[0].limit(limit)
    # A union promises no order, so each row keeps its place.
    placed = " UNION ALL ".join(
        f"SELECT *, {place} AS capture_place, row_number() OVER () AS row_place FROM ({one.sql})"
        for place, one in enumerate(answers)
    )
    first = [f'"{name}" DESC NULLS LAST' for name in largest] + [
        f'"{name}" ASC NULLS LAST' for name in smallest
    ]
    order = ", ".join([*first, "capture_place", "row_place"])
    names = ", ".join(f'"{name}"' for name in answers[0].names)
    return Relation(f"SELECT {names} FROM ({placed}) ORDER BY {order}", answers[0].columns).limit(limit)
