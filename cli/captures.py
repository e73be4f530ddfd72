"""Common steps of verbs that read a capture: open it, warn about losses, check the key, print rows."""

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import tzinfo
from pathlib import Path

import pyarrow as pa
import typer

from analysis.capture import Capture
from analysis.engine.connection import engine_errors
from analysis.filters import Filters
from analysis.open import open_capture
from analysis.questions.context import QueryContext
from analysis.questions.query import Query
from analysis.questions.users import with_spelled_keys
from analysis.times import dated
from cli.exits import Exit
from cli.output.console import console, is_terminal
from cli.output.destination import Output, Render, needs_head, write_rows
from cli.output.pager import is_interactive
from cli.output.phrases import plural, quoted
from cli.output.waiting import while_waiting
from tracer.errors import RegtraceError, UsageError
from tracer.registry.paths import has_wildcard
from tracer.registry.user_keys import sid_of

_HEAD = 20  # rows of a table on a terminal where no pager shows the others
_BATCH_ROWS = 16_384  # of a stream; each is text before it is written

__all__ = [
    "answer_reader",
    "check_keys",
    "fail_if_lossy",
    "in_zone",
    "opened",
    "print_rows",
    "say_empty",
    "timeline_reader",
    "warn_of_process",
]


@contextmanager
def opened(path: Path) -> Iterator[Capture]:
    """Open a capture for a verb, and warn first where it is incomplete."""
    with while_waiting(), open_capture(path) as capture:
        if not capture.manifest.complete:
            console.warn(
                f"{path.name} is incomplete: events were lost or unreadable; "
                f"`regtrace info {quoted(path)}` says what and when"
            )
        if any(source.get("simulated") for source in capture.manifest.sources):
            console.note(f"{path.name} was made from a simulated trace")
        yield capture


def in_zone(capture: Capture, filters: Filters, zone: tzinfo) -> Filters:
    """Return the filters with times of the capture's day, such as 10:00:00, as the zone of the output has them.

    Raises:
        UsageError: a time may be of several days.
    """
    first_ns, last_ns = capture.span() or (None, None)
    start, end = (
        dated(time, first_ns=first_ns, last_ns=last_ns, zone=zone, end=is_end)
        for time, is_end in ((filters.start, False), (filters.end, True))
    )
    return filters if (start, end) == (filters.start, filters.end) else replace(filters, start=start, end=end)


def check_keys(capture: Capture, keys: Sequence[str] | None, *, subtree: bool, user: str | None) -> None:
    """Raise UsageError for a key that the capture does not have; a pattern may match nothing."""
    if not keys:
        return
    from analysis.questions.unknown_names import unknown_key

    for key in keys:
        if has_wildcard(key):
            _say_literal(capture, key, subtree=subtree, user=user)
        sentence = unknown_key(capture.context, key, subtree=subtree, user=user)
        if sentence and has_wildcard(key):
            console.warn(sentence)
        elif sentence:
            raise UsageError(sentence)
    if whose := capture.context.users_sentence(Filters(key=list(keys), user=user)):
        console.say(whose)


def warn_of_process(capture: Capture, filters: Filters) -> None:
    """Warn where no process of the capture fits the filters."""
    if capture.context.has_process(filters):
        return
    from analysis.questions.unknown_names import unknown_process

    if sentence := unknown_process(capture.context, filters):
        console.warn(sentence)


def _say_literal(capture: Capture, key: str, *, subtree: bool, user: str | None) -> None:
    r"""Explain how to select a key whose name looks like the pattern, such as `HKLM\SOFTWARE\Classes\*`."""
    letters = re.sub(r"(?<!\[)[*?]", r"[\g<0>]", key)
    if "**" not in key and capture.context.has_key(letters, subtree=subtree, user=user):
        console.say(
            f"one key has exactly this name, and the pattern fits others too; for that key alone: {quoted(letters)}"
        )


def timeline_reader(
    capture: Capture, filters: Filters, *, limit: int | None = None, columns: Sequence[str] | None = None
) -> pa.RecordBatchReader:
    """Return a timeline as a stream, with the engine's errors turned into ours."""
    return _with_our_errors(capture.timeline_reader(filters, limit=limit, columns=columns))


def answer_reader(query: Query) -> pa.RecordBatchReader:
    """Return an answer as a stream, with the engine's errors turned into ours: no answer is in memory as a whole."""
    with engine_errors():
        return _with_our_errors(query.reader(_BATCH_ROWS))


def print_rows(
    rows: pa.Table | pa.RecordBatchReader,
    output: Output,
    render: Render,
    *,
    noun: str,
    limit: int | None = None,
    asked: tuple[Capture, Filters] | None = None,
    total: Callable[[], int] | None = None,
    is_page: bool = False,
    needs: str = "",
) -> int:
    """Write rows, print their number for a person, and return it.

    Args:
        rows: the rows.
        output: where they go.
        render: makes the lines of a table.
        noun: what one row is, in the singular.
        limit: what --limit said.
        asked: the capture and the filters; a table then shows users' keys below HKCU.
        total: counts the rows without the limit; None where nobody knows.
        is_page: whether the rows are a page that is shown as a whole.
        needs: what the question is about (`analysis.questions.query.Query.needs`).
    """
    spelling = None if asked is None else _Spelling(*asked)

    def lines(block: pa.Table, width: int | None) -> Iterable[str]:
        return render(block if spelling is None else with_spelled_keys(block, spelling), width)

    written = write_rows(
        rows,
        output,
        lines,
        head=_HEAD if limit is None and not is_page and needs_head(output) else None,
        is_page=is_page,
    )
    if spelling is not None and spelling.said:
        console.note(spelling.said)
    count = written.rows
    more = " (--limit reached, there may be more)" if limit is not None and count == limit else ""
    if not written.is_whole:  # whoever left the pager knows
        return count
    if written.shown < count:
        console.say(
            f"{written.shown:,} of {plural(count, noun)}; --limit N shows the first N, -o FILE writes all"
        )
        return count
    if more and total is not None and output.on_terminal and is_interactive():
        more = f" of {total():,}"
        console.say(f"{count:,}{more} {noun if total() == 1 else plural(2, noun).removeprefix('2 ')}")
        return count
    if output.path is not None:
        console.say(f"wrote {plural(count, noun)} to {output.path}{more}")
    elif is_terminal(sys.stderr):
        console.say(f"{plural(count, noun)}{more}" if count else f"no {noun} fits")
    if not count and asked is not None:
        say_empty(asked[0].context, asked[1], needs)
    return count


def say_empty(context: QueryContext, filters: Filters, needs: str = "") -> None:
    """Say which filter leaves an answer without rows, where one does; `needs` as of `print_rows`."""
    from analysis.questions.empty_answers import why_empty

    if reason := why_empty(context, filters, needs):
        console.say(reason)


def fail_if_lossy(capture: Capture, *, asked: bool) -> None:
    """Exit with the code for losses where --fail-on-loss is set."""
    if asked and not capture.manifest.complete:
        raise typer.Exit(Exit.LOSS)


class _Spelling:
    """Spells users' keys for a table; users are looked for at the first such key.

    Attributes:
        said: the sentence on whose HKCU is, where a key was spelled so and the filters do not ask for it; "" elsewhere.
    """

    def __init__(self, capture: Capture, filters: Filters) -> None:
        self._context, self._filters = capture.context, filters
        self._spell: Callable[[str], str] | None = None
        self.said = ""

    def __call__(self, display_key: str) -> str:
        if sid_of(display_key) is None:
            return display_key
        if self._spell is None:
            self._spell = self._context.users.spelling(self._filters)
        spelled = self._spell(display_key)
        is_own = spelled.partition("\\")[0] == "HKCU"
        if is_own and not self.said and self._context.users_sentence(self._filters) is None:
            self.said = self._context.users.sentence(replace(self._filters, key="HKCU")) or ""
        return spelled


def _with_our_errors(reader: pa.RecordBatchReader) -> pa.RecordBatchReader:
    def batches() -> Iterator[pa.RecordBatch]:
        with engine_errors():
            try:
                yield from reader
            except pa.ArrowException as error:  # what the engine says while it is being read
                text = str(error).strip().partition("\n")[0]
                kind = UsageError if "Conversion" in text or "Invalid" in text else RegtraceError
                raise kind(f"the query cannot be run: {text}") from error

    return pa.RecordBatchReader.from_batches(reader.schema, batches())
