"""The first divergence of two runs: two captures, or two processes or intervals of one."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from analysis.answers.normalize import parse_folds
from analysis.engine.connection import engine_errors
from analysis.engine.fetch import to_frame
from analysis.engine.phrases import phrase
from analysis.filters import Filters
from analysis.questions.caveats import find_caveats, with_caveats
from analysis.questions.context import QueryContext
from analysis.questions.query import ArrowSource, check_limit
from analysis.questions.unknown_names import unknown_process
from tracer.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from ibis.expr.types import Table

    from analysis.answers.divergence import Divergence

__all__ = ["FOLDS", "DivergenceQuery", "query"]

FOLDS = ("sid", "controlset")  # where nothing is said: a user and the number of a control set mean nothing
_STEPS = "analysis.answers.steps"

_Time = str | datetime | None


@dataclass(frozen=True, slots=True)
class DivergenceQuery(ArrowSource):
    """The alignment of two sides.

    Attributes:
        sides: the two captures, and which of their rows are aligned.
        folds: what means nothing (`analysis.answers.normalize.FOLDS`).
        by_image: whether processes pair by their image.
        context: how many operations before and after the divergence are rows.
        limit: the first so many rows; None for all.
        by_result: whether a query that found a value and one that missed it are different steps; else the sides go on there,
            and it is a read that differs (`missing`).
    """

    sides: tuple[tuple[QueryContext, Filters], tuple[QueryContext, Filters]]
    folds: tuple[str, ...]
    by_image: bool
    context: int
    limit: int | None = None
    by_result: bool = True

    def compare(self) -> "Divergence":
        """Align the sides.

        Raises:
            UsageError: no process of one side has a partner on the other.
        """
        from analysis.answers.divergence import diverge
        from analysis.answers.step_numbers import number_sides

        steps, keys, images, contents = [], [], [], []
        for context, filters in self.sides:
            events = context.rows(filters)
            steps.append(context.engine.fetch(phrase(f"{_STEPS}:steps", events=events)))
            named = phrase(f"{_STEPS}:step_keys", events=events, keys=context.relation("keys"))
            keys.append(context.engine.fetch(named))
            processes = context.relation("processes").select("process_id", "image", "pid")
            images.append(
                {
                    row["process_id"]: (row["image"], row["pid"])
                    for row in context.engine.fetch(processes).to_pylist()
                }
            )
            contents.append(partial(self._contents, context, filters))
        with engine_errors():
            found = diverge(
                number_sides(steps, keys, self.folds, by_result=self.by_result),
                (images[0], images[1]),
                tuple(
                    dict(
                        zip(
                            one.column("key_id").to_pylist(),
                            one.column("display_path").to_pylist(),
                            strict=True,
                        )
                    )
                    for one in keys
                ),  # type: ignore[arg-type]
                (contents[0], contents[1]),
                by_image=self.by_image,
                folds=self.folds,
                context=self.context,
            )
        if any(found.steps) and not found.paired:
            raise UsageError(_unpaired(found))
        return found

    def to_arrow(self) -> "pa.Table":
        """Return the first divergence and what is around it; the columns `analysis.answers.divergence.DIVERGENCE`."""
        return self.compare().rows.slice(0, self.limit)

    def to_pandas(self, *, depth: int = 1) -> "pd.DataFrame":
        """Return the same as a DataFrame; `attrs["doubts"]` has the caveats of both sides, `attrs["notes"]` the rest."""
        del depth
        found = self.compare()
        frame = to_frame(found.rows.slice(0, self.limit))
        frame = with_caveats(frame, find_caveats(*self.sides[0]))
        frame.attrs["doubts"] = [
            f"{side}: {sentence}"
            for side, one in zip("ab", self.sides, strict=True)
            for sentence in find_caveats(*one).sentences
        ]
        frame.attrs["notes"] = found.notes
        return frame

    def to_ibis(self) -> "Table":
        """Raise UsageError: an alignment runs on two engines, and has no lazy form."""
        raise UsageError("a comparison has no lazy form; use to_arrow() or to_pandas()")

    def _contents(self, context: QueryContext, filters: Filters, last: int) -> "pa.Table":
        events = context.rows(filters)
        return context.engine.fetch(phrase(f"{_STEPS}:contents_until", values={"last": last}, events=events))


def query(
    context: QueryContext,
    filters: Filters,
    other: QueryContext | None = None,
    *,
    fold: str | Collection[str] | None = None,
    a_process: str | int | None = None,
    b_process: str | int | None = None,
    a: tuple[_Time, _Time] = (None, None),
    b: tuple[_Time, _Time] = (None, None),
    context_rows: int = 5,
    limit: int | None = None,
) -> DivergenceQuery:
    """Return the query.

    Args:
        context: side a.
        filters: which rows are aligned on both sides.
        other: side b; None: the same capture, of which two processes or intervals are aligned.
        fold: what differs between machines and means nothing: sid, guid, controlset, wow64, all, or "" for nothing;
            None: sid and controlset.
        a_process: the process of side a, as the filter `process`.
        b_process: that of side b. Where both are given, processes pair in order, whatever their images.
        a: first and last time of side a; None: those of the filters.
        b: first and last time of side b.
        context_rows: how many operations before and after the divergence are rows.
        limit: the first so many rows; None for all.

    Raises:
        UsageError: a word cannot be understood, both sides are the same, one is several captures, or a side has no
            such process.
    """
    if other is None and a == b and a_process == b_process:
        raise UsageError(
            "there is nothing to align; give a second capture, or two processes or intervals of one capture"
        )
    if context_rows < 0:
        raise UsageError(f"invalid number of operations {context_rows}; use 0 or more")
    if filters.process is not None and (a_process is not None or b_process is not None):
        raise UsageError("process is of both sides; give either it, or a process of each side")
    sides = []
    for one, (start, end), process in ((context, a, a_process), (other or context, b, b_process)):
        if len(one.stores) > 1:
            raise UsageError(f"{one.path.name} is {len(one.stores)} captures; give one capture for each side")
        asked = replace(
            filters,
            start=filters.start if start is None else start,
            end=filters.end if end is None else end,
            process=filters.process if process is None else process,
        )
        sentence = unknown_process(one, asked)
        if sentence is not None:
            raise UsageError(sentence)
        sides.append((one, asked))
    folds = FOLDS if fold is None else parse_folds(fold)
    by_image = a_process is None or b_process is None
    return DivergenceQuery((sides[0], sides[1]), folds, by_image, context_rows, check_limit(limit))


def _unpaired(found: "Divergence") -> str:
    """Return the sentence for sides of which no process has a partner."""
    if not all(found.steps):
        letter = "b" if found.steps[0] else "a"
        return (
            f"nothing can be aligned: side {letter} has no operation that fits the filters and its interval"
        )
    a, b = (", ".join(images[:3]) + (", ..." if len(images) > 3 else "") for images in found.alone)
    return (
        f"nothing can be aligned: no process of one side ({a}) is on the other ({b}); name one of each with --a-process "
        "and --b-process (a_process, b_process)"
    )
