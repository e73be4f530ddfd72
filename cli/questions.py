"""Common steps of verbs that answer a question: filters from options, rows to the output, caveats below."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import tzinfo
from pathlib import Path
from typing import Any

import pyarrow as pa

from analysis.capture import Capture, Questions
from analysis.filters import Filters
from analysis.questions.class_names import with_meanings
from analysis.questions.context import QueryContext
from analysis.questions.noise import count_noise
from analysis.questions.query import Query
from cli.captures import (
    answer_reader,
    check_keys,
    fail_if_lossy,
    in_zone,
    opened,
    print_rows,
    warn_of_process,
)
from cli.output.columns import times_as_text
from cli.output.console import console
from cli.output.destination import Output, Render
from cli.output.phrases import plural
from tracer.errors import UsageError

__all__ = ["Question", "asking", "few_rows", "filters_of", "say_noise"]

_FEW_ROWS = 20  # of a table, where nothing else is asked for (`cli.options.common.FewRows` says so)


def filters_of(
    *,
    key: Sequence[str] | None = None,
    under: Sequence[str] | None = None,
    value: str | None = None,
    process: str | None = None,
    process_tree: str | None = None,
    operation: str | None = None,
    status: str | None = None,
    start: str | None = None,
    end: str | None = None,
    where: str | None = None,
    user: str | None = None,
    noise: bool | None = None,
) -> Filters:
    """Return the filters of a verb's options.

    Raises:
        UsageError: --key and --under are both given.
    """
    if key and under:
        raise UsageError("--key and --under are mutually exclusive; give one of them")
    return Filters(
        key=key or under or None,
        subtree=bool(under),
        value=value,
        process=process,
        process_tree=process_tree,
        operation=operation,
        status=status,
        start=start,
        end=end,
        where=where,
        user=user,
        noise=noise,
    )


def say_noise(context: QueryContext, filters: Filters) -> None:
    """Say how many rows an answer leaves out because Windows made them by itself."""
    if console.shows_notes and (rows := count_noise(context, filters)):
        console.note(
            f"{plural(rows, 'operation')} that Windows does by itself left out; --all counts them too"
        )


def few_rows(limit: int | None, output: Output) -> int | None:
    """Return the number of rows to show: --limit, else few in a table and all elsewhere."""
    return _FEW_ROWS if limit is None and output.format == "table" else limit


@dataclass(frozen=True, slots=True)
class Question:
    """An open capture with one question, and the output of its answer."""

    capture: Capture
    filters: Filters
    output: Output

    @property
    def context(self) -> QueryContext:
        """The context of the question."""
        return self.capture.context

    @property
    def queries(self) -> "Questions[Any]":
        """Every question, with these filters."""
        return self.capture.where(self.filters).queries

    def print(
        self,
        answer: "Any | pa.Table | pa.RecordBatchReader",  # noqa: ANN401
        render: Render,
        *,
        noun: str,
        limit: int | None = None,
        is_page: bool = False,
    ) -> int:
        """Write the rows of the answer and return their number.

        Args:
            answer: the rows, or a query that is run.
            render: makes the lines of a table (`cli.output.destination.Render`).
            noun: what one row is, in the singular.
            limit: what --limit said, so that a full answer can be told from a cut one.
            is_page: whether the rows are a page that is shown as a whole.
        """
        if isinstance(answer, pa.Table):
            rows = with_meanings(self.context, self.context.labelled(answer))
        elif isinstance(answer, pa.RecordBatchReader):
            rows = self.context.with_hosts(answer)
        elif isinstance(answer, Query):
            rows = answer_reader(answer)
        else:
            rows = answer.to_arrow()
        for sentence in getattr(answer, "doubts", ()):
            console.note(sentence)
        own_sql = isinstance(answer, pa.RecordBatchReader)
        asked = None if own_sql else (self.capture, self.filters)
        needs = getattr(answer, "needs", "")
        total = getattr(answer, "total", None)  # of a comparison nobody knows before it is made
        return print_rows(
            rows,
            self.output,
            render,
            noun=noun,
            limit=limit,
            asked=asked,
            total=total,
            is_page=is_page,
            needs=needs,
        )

    def say_noise(self) -> None:
        """Say how many rows the answer leaves out because Windows made them by itself."""
        say_noise(self.context, self.filters)


@contextmanager
def asking(path: Path, filters: Filters, output: Output, *, fail_on_loss: bool = False) -> Iterator[Question]:
    """Open a capture for a question; afterwards print the caveats of the answer on standard error.

    Args:
        path: the capture.
        filters: the filters of the rows; a key that the capture does not have is an error.
        output: where the answer goes.
        fail_on_loss: what --fail-on-loss said.

    Raises:
        UsageError: a filter cannot be understood, or the capture does not know the key.
    """
    with opened(path) as capture:
        check_keys(capture, filters.keys, subtree=filters.subtree, user=filters.user)
        filters = in_zone(capture, filters, output.zone)
        warn_of_process(capture, filters)
        _check_interval(capture, filters, output.zone)
        yield Question(capture, filters, output)
        for sentence in capture.doubts(filters).sentences:
            console.note(sentence)
        fail_if_lossy(capture, asked=fail_on_loss)


def _check_interval(capture: Capture, filters: Filters, zone: tzinfo) -> None:
    """Warn where the interval is outside the capture: an empty answer then means nothing."""
    start_ns, end_ns = capture.context.interval(filters)
    span = capture.span()
    if span is None:
        console.note(f"{capture.path.name} holds no events")
    elif (start_ns is not None and start_ns > span[1]) or (end_ns is not None and end_ns < span[0]):
        stamps = pa.array([time // 1000 for time in span], pa.timestamp("us", "UTC"))
        first, last = times_as_text(stamps, zone).to_pylist()
        console.warn(f"the interval is outside the capture, which spans {first} to {last}")
