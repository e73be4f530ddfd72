"""What differs between two captures, or between two intervals of one."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

import pyarrow as pa

from analysis.answers.normalize import parse_folds, parse_words
from analysis.answers.words import parse_kinds
from analysis.engine.connection import engine_errors
from analysis.engine.fetch import to_frame
from analysis.engine.phrases import phrase
from analysis.engine.relation import Relation, columns_of
from analysis.filters import Filters
from analysis.questions.baseline import has_baseline
from analysis.questions.caveats import find_caveats
from analysis.questions.class_names import with_classes
from analysis.questions.context import QueryContext
from analysis.questions.evidence import surroundings
from analysis.questions.key_ranges import is_long
from analysis.questions.query import ArrowSource, check_limit
from tracer.errors import UsageError
from tracer.registry.value_columns import with_texts

if TYPE_CHECKING:
    import pandas as pd
    from ibis.expr.types import Table

__all__ = ["DiffQuery", "query", "side_doubts"]

_HIVE = "what the hive beside it holds is not compared, only what events tell (`state` and `changes` use it)"
_Time = str | datetime | None
_NAMES = pa.schema([("own", "string"), ("name", "string")])
_NO_NAMES = Relation("SELECT NULL::VARCHAR AS own, NULL::VARCHAR AS name WHERE false", columns_of(_NAMES))
_VALUE_NAMES = pa.schema([("key_name", "string"), *_NAMES])


@dataclass(frozen=True, slots=True)
class DiffQuery(ArrowSource):
    """The comparison of two sides.

    Attributes:
        sides: the two captures, and which of their rows are compared.
        folds: what means nothing (`analysis.answers.normalize.FOLDS`).
        kinds: what is compared (`analysis.answers.words.KINDS`).
        counts: operations and processes also differ where their numbers do.
        limit: the first so many rows; None for all.
        bookkeeping: whether keys count in which Windows notes what a user did (`tracer.registry.bookkeeping`).
    """

    sides: tuple[tuple[QueryContext, Filters], tuple[QueryContext, Filters]]
    folds: tuple[str, ...]
    kinds: tuple[str, ...]
    counts: bool = False
    limit: int | None = None
    bookkeeping: bool = True

    def to_arrow(self) -> pa.Table:
        """Return the differences; the columns are those of `analysis.answers.differences.differences`."""
        from analysis.answers.differences import differences, without_bookkeeping
        from analysis.engine.transfer import copied, given, kept_beside

        (ours, _), (theirs, _) = self.sides
        engine = ours.engine
        with ExitStack() as stack:
            found = [
                self._side(one, asked, names, stack)
                for (one, asked), names in zip(self.sides, _key_names(ours, theirs, self.folds), strict=True)
            ]
            # Both sides of a long capture would be in memory at once.
            if theirs.engine is engine and not is_long(ours, Filters()):
                a, b = stack.enter_context(kept_beside(found, engine))
            else:
                a, b = (
                    stack.enter_context(copied(side, one.engine, engine))
                    for side, (one, _) in zip(found, self.sides, strict=True)
                )
            called: list[Relation | None] = [None, None]
            # In one capture a name means the same on both sides.
            if self.folds and ours is not theirs:
                called = [
                    stack.enter_context(given(names, engine))
                    for names in _value_names(ours, a, b, self.folds)
                ]
            compared = phrase(
                "analysis.answers.diff:compared",
                options={"counts": self.counts, "folds": self.folds},
                a=a,
                b=b,
                a_values=called[0],
                b_values=called[1],
            )
            rows = engine.fetch(compared)
            with engine_errors():
                answer = differences(rows, self.folds)
                answer = answer if self.bookkeeping else without_bookkeeping(answer)
                answer = answer.slice(0, self.limit)
                sides = {"a": ours, "b": theirs}
                return with_classes(with_texts(answer), answer, lambda column: sides[column[0]].class_names)

    def to_pandas(self, *, depth: int = 1) -> "pd.DataFrame":
        """Return the differences; `attrs["doubts"]` has the caveats of both sides."""
        del depth  # nothing is warned of: a key that one side alone knows is a difference
        frame = to_frame(self.to_arrow())
        (ours, asked), (theirs, asked_there) = self.sides
        a, b = side_doubts(ours, asked), side_doubts(theirs, asked_there)
        frame.attrs["doubts"] = a
        if ours is not theirs or a != b:
            frame.attrs["doubts"] = [*(f"a: {one}" for one in a), *(f"b: {one}" for one in b)]
        return frame

    def to_ibis(self) -> "Table":
        """Raise UsageError: a comparison runs on two engines, and has no lazy form."""
        raise UsageError("a comparison has no lazy form; use to_arrow() or to_pandas()")

    def _side(self, context: QueryContext, filters: Filters, names: pa.Table, stack: ExitStack) -> Relation:
        """Return the keys, values, processes and operations of one side."""
        from analysis.engine.transfer import given

        beside = surroundings(context, filters)
        return phrase(
            "analysis.answers.diff:side",
            options={"kinds": self.kinds, "folds": self.folds, "subtrees": beside.subtrees},
            values={"regex": filters.value_regex},
            events=context.rows(replace(filters, value=None)),
            keys=context.relation("keys"),
            processes=context.relation("processes"),
            losses=context.relation("losses"),
            names=stack.enter_context(given(names, context.engine)) if names.num_rows else _NO_NAMES,
            **beside.tables,
        )


def side_doubts(context: QueryContext, filters: Filters) -> list[str]:
    """Return why what one side tells may be incomplete: a sentence for each reason."""
    return [*find_caveats(context, filters).sentences, *([_HIVE] if has_baseline(context) else [])]


def query(
    context: QueryContext,
    filters: Filters,
    other: QueryContext | None = None,
    *,
    fold: str | Collection[str] | None = None,
    only: str | Collection[str] | None = None,
    counts: bool = False,
    a: tuple[_Time, _Time] = (None, None),
    b: tuple[_Time, _Time] = (None, None),
    limit: int | None = None,
) -> DiffQuery:
    """Return the query.

    Args:
        context: side a.
        filters: which rows are compared on both sides.
        other: side b; None: the same capture, whose intervals are compared.
        fold: what differs between machines and means nothing: sid, guid, controlset, wow64, or all of these; and
            noise, keys in which Windows notes what a user did (`tracer.registry.bookkeeping`).
        only: values, keys, processes, operations; None: all but operations.
        counts: operations and processes also differ where their numbers do.
        a: first and last time of side a, as its own capture counts; None: those of the filters.
        b: first and last time of side b.
        limit: the first so many rows; None for all.

    Raises:
        UsageError: a word cannot be understood, both sides are the same, or one is several captures.
    """
    if other is None and a == b:
        raise UsageError(
            "there is nothing to compare; give a second capture, or two different intervals of one capture"
        )
    sides = tuple(_sides(((context, a), (other or context, b)), filters))
    folds, bookkeeping = parse_folds(fold), "noise" not in parse_words(fold)
    return DiffQuery(sides, folds, parse_kinds(only), counts, check_limit(limit), bookkeeping)  # type: ignore[arg-type]


def _sides(
    named: Iterable[tuple[QueryContext, tuple[_Time, _Time]]], filters: Filters
) -> Iterator[tuple[QueryContext, Filters]]:
    for context, (start, end) in named:
        if len(context.stores) > 1:
            raise UsageError(
                f"{context.path.name} is {len(context.stores)} captures; give one capture for each side"
            )
        start = filters.start if start is None else start
        end = filters.end if end is None else end
        yield context, replace(filters, start=start, end=end)


def _key_names(a: QueryContext, b: QueryContext, folds: Collection[str]) -> list[pa.Table]:
    """Return for each side the paired names of its keys (columns own and name).

    All keys of both captures are compared, whatever the filters: the meaning of a name does not depend on them.
    """
    from analysis.answers.pairing import paired_names

    called: Sequence[dict[str, str]] = ({}, {})
    if folds:
        own = [
            one.engine.fetch(phrase("analysis.answers.diff:own_names", keys=one.relation("keys")))
            for one in (a, b)
        ]
        called = paired_names(own[0].column(0).to_pylist(), own[1].column(0).to_pylist(), folds)
    return [pa.table({"own": [*one], "name": [*one.values()]}, schema=_NAMES) for one in called]


def _value_names(context: QueryContext, a: Relation, b: Relation, folds: Collection[str]) -> list[pa.Table]:
    """Return for each side the paired names of its values, key by key."""
    from analysis.answers.pairing import paired_names

    of_keys: dict[str, tuple[list[str], list[str]]] = {}
    for side, rows in enumerate((a, b)):
        for row in context.engine.fetch(phrase("analysis.answers.diff:value_names", rows=rows)).to_pylist():
            of_keys.setdefault(row["key_name"], ([], []))[side].append(row["value"])
    found: tuple[list[dict[str, str]], list[dict[str, str]]] = ([], [])
    for key, names in of_keys.items():
        for side, called in enumerate(paired_names(names[0], names[1], folds)):
            found[side].extend({"key_name": key, "own": own, "name": name} for own, name in called.items())
    return [pa.Table.from_pylist(rows, schema=_VALUE_NAMES) for rows in found]
