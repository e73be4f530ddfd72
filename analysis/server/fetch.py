"""Rows of a question for one page: the engine skips what came before, or the whole answer is made once."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from analysis.engine.relation import Relation
from analysis.questions import sql
from analysis.questions.query import Query
from analysis.server.pages import columns_of, rows_of

if TYPE_CHECKING:
    import pyarrow as pa

    from analysis.questions.context import QueryContext

__all__ = ["Rows", "fetched", "fetched_sql"]


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows as objects.

    Attributes:
        rows: the rows.
        columns: the columns that they may have.
        is_whole: whether these are all rows of the answer; else they begin where the page does.
        notes: sentences of the question itself; they may quote the capture.
        needs: what the question is about (`analysis.questions.query.Query.needs`).
    """

    rows: list[dict[str, Any]]
    columns: list[str]
    is_whole: bool
    notes: Sequence[str] = ()
    needs: str = ""


def fetched(query: Any, before: int, most: int) -> Rows:  # noqa: ANN401  (any query of a question)
    """Return the rows of a query: `most` rows after `before` where the engine makes them, else all.

    Args:
        query: the query, without a limit.
        before: the number of rows to skip.
        most: the number of rows after them.
    """
    notes = tuple(getattr(query, "doubts", ()))
    if isinstance(query, Query):
        some = f"{query.relation.sql}\nLIMIT {int(most)} OFFSET {int(before)}"
        answer = replace(query, relation=Relation(some, query.relation.columns)).to_arrow()
        return Rows(
            rows_of(answer), columns_of(answer.schema), is_whole=False, notes=notes, needs=query.needs
        )
    answer, said = _whole(query)
    notes += tuple(said)
    if not answer.num_rows and (nothing := getattr(query, "no_write", "")):
        notes += (nothing,)
    return Rows(
        rows_of(answer),
        columns_of(answer.schema),
        is_whole=True,
        notes=notes,
        needs=getattr(query, "needs", ""),
    )


def _whole(query: Any) -> tuple["pa.Table", Sequence[str]]:  # noqa: ANN401
    """Return the answer of a query that Python makes, and its own sentences; both are made once."""
    if hasattr(query, "compare"):  # two runs that are aligned
        found = query.compare()
        return found.rows, found.notes
    if hasattr(query, "net_changes"):
        net = query.net_changes()
        return query.rows(net), net.sentences
    if hasattr(query, "log"):
        log = query.log()
        return log.rows, log.doubts
    return query.to_arrow(), getattr(query, "sentences", ())


def fetched_sql(context: "QueryContext", query: str, before: int, most: int) -> Rows:
    """Return the rows of a client's own SQL: `most` rows after `before`, with every column.

    Raises:
        UsageError: the query has a mistake, or does more than read.
    """
    import pyarrow as pa

    reader = sql.reader(context, query, plain=True, finite=True, limit=before + most)
    skip = before
    rows: list[dict[str, Any]] = []
    for batch in reader:
        left_out = min(skip, batch.num_rows)
        skip -= left_out
        rows += rows_of(pa.Table.from_batches([batch.slice(left_out)]), whole=True)
    columns = list(rows[0]) if rows else list(reader.schema.names)
    return Rows(rows, columns, is_whole=False)
