"""The page of `regtrace slow`: time, operations, keys, what need not be, the worst stretches, and a histogram."""

import textwrap
from collections.abc import Iterator, Sequence
from datetime import UTC, tzinfo

import pyarrow as pa

from cli.output.amounts import duration_cells, duration_text, share_cells
from cli.output.columns import text_cells
from cli.output.console import with_style
from cli.output.phrases import plural
from cli.output.safe import visible
from cli.output.table import TextColumn, cell_width, cut_end, lay_out, lay_out_below
from cli.tables.timeline import process_cells, value_cells

__all__ = ["slow_lines"]

_BAR = 24  # columns of the longest bar
_KEYS = ("key", "at or below", "mostly")  # titles of columns of keys
_SAVED = {
    "polling": "asked by the clock, with the same answer",
    "repeated": "asked again though nothing changed",
    "missed": "asked for what is not there",
    "together": "",
}


def slow_lines(
    rows: pa.Table, width: int | None = None, *, what: str = "", zone: tzinfo = UTC, color: bool = False
) -> Iterator[str]:
    """Yield the lines of the page.

    Args:
        rows: the rows of `analysis.questions.slow.SlowQuery`.
        width: the columns of the terminal; None shortens nothing.
        what: what the page is about.
        zone: the zone times are shown in.
        color: whether titles are bold.
    """
    page = _Page(rows, width, zone, color)
    if what:
        yield page.title(what)
    for sentence in page.total():
        yield from [sentence] if width is None else textwrap.wrap(sentence, width)
    for title, section in (
        ("What was done", page.operations), ("Keys", page.keys), ("What need not be", page.saved),
        ("The worst reads of these", page.reads), ("Where most is looked for in vain", page.misses),
        (page.stretch_title, page.stretches), ("How long operations take", page.durations),
    ):  # fmt: skip
        lines = [*section()]
        if lines:
            yield ""
            yield page.title(title)
            yield from lines


class _Page:
    """The sections of a page, for one width."""

    def __init__(self, rows: pa.Table, width: int | None, zone: tzinfo, color: bool) -> None:
        self._rows, self._width, self._zone, self._color = rows, width, zone, color
        self._timed = any(
            time is not None
            for name, time in zip(rows["name"].to_pylist(), rows["time_spent_ns"].to_pylist(), strict=True)
            if name != "wall"
        )

    def title(self, line: str) -> str:
        """Return a heading."""
        shown = visible(line) if self._width is None else cut_end(visible(line), self._width)
        return with_style(shown, "bold") if self._color else shown

    def total(self) -> Iterator[str]:
        """Yield the sentences about all of it."""
        found = {row["name"]: row for row in self._of("total").to_pylist()}
        if not found:
            return
        wall = found["wall"]
        many = plural(wall["events"], "operation")
        if wall["time_spent_ns"] is None:
            yield f"{many}"
            return
        yield f"{many} in {duration_text(wall['time_spent_ns'])}, from the first to the end of the last"
        registry, threads = found["registry"], found["threads"]
        if registry["time_spent_ns"] is None:
            yield "the source records no durations: what is worst is decided by counts"
            return
        share = share_cells(pa.table({"share": [registry["time_share"]]}), "share")[0]
        yield f"{duration_text(registry['time_spent_ns'])} of it in the registry ({share})"
        if threads["time_spent_ns"] > registry["time_spent_ns"]:
            yield f"{duration_text(threads['time_spent_ns'])} over all threads, which the shares below are of"

    def operations(self) -> Iterator[str]:
        """Yield what was done."""
        rows = self._of("operation")
        yield from self._table(rows, [TextColumn("operation", text_cells(rows, "operation"))], bars=True)

    def keys(self) -> Iterator[str]:
        """Yield the worst keys."""
        rows = self._of("key")
        yield from self._table(rows, [self._key(rows)])

    def saved(self) -> Iterator[str]:
        """Yield what would be saved."""
        rows = self._of("saved")
        names = rows["name"].to_pylist()
        columns = [
            TextColumn("", names),
            TextColumn("", [_SAVED.get(name, "") for name in names], shrink="end"),
        ]
        yield from self._table(rows, columns)

    def reads(self) -> Iterator[str]:
        """Yield the worst reads that told nothing new."""
        rows = self._of("read")
        asked = [
            value or operation
            for value, operation in zip(value_cells(rows), text_cells(rows, "operation"), strict=True)
        ]
        missed = ["not there" if "NOT_FOUND" in name else "" for name in text_cells(rows, "status_name")]
        columns = [
            TextColumn("every", duration_cells(rows, "period_ns"), right=True),
            self._key(rows),
            TextColumn("value", asked, shrink="middle", least=12),
            TextColumn("", missed),
            *self._processes(rows),
        ]
        yield from self._table(rows, columns)

    def misses(self) -> Iterator[str]:
        """Yield the places of misses."""
        rows = self._of("miss")
        columns = [TextColumn("names", _numbers(rows, "names"), right=True), self._key(rows, "at or below")]
        yield from self._table(rows, columns)

    @property
    def stretch_title(self) -> str:
        """The heading of the stretches, which says how long one is."""
        lengths = self._of("stretch")["most_ns"].to_pylist()
        return f"The worst stretches of {duration_text(lengths[0])}" if lengths else ""

    def stretches(self) -> Iterator[str]:
        """Yield the worst stretches of time."""
        rows = self._of("stretch")
        times = text_cells(rows, "first_time", zone=self._zone)
        days = {time[:10] for time in times}
        alone = len(days) == 1
        shown = [f"{time[11:23]}{time[26:]}" if alone else time for time in times]
        columns = [
            TextColumn(days.pop() if alone else "time", shown),
            self._key(rows, "mostly"),
            *self._processes(rows),
        ]
        yield from self._table(rows, columns)

    def durations(self) -> Iterator[str]:
        """Yield the histogram of durations."""
        rows = self._of("duration")
        ends = [
            TextColumn(
                title, ["" if end is None else _edge(end) for end in rows[name].to_pylist()], right=True
            )
            for title, name in (("from", "least_ns"), ("below", "most_ns"))
        ]
        yield from self._table(rows, ends, bars=True, first=True)

    def _of(self, section: str) -> pa.Table:
        places = [place for place, name in enumerate(self._rows["section"].to_pylist()) if name == section]
        return self._rows.take(pa.array(places, pa.int64()))

    def _key(self, rows: pa.Table, title: str = "key") -> TextColumn:
        return TextColumn(title, text_cells(rows, "display_key"), shrink="middle", least=24)

    def _processes(self, rows: pa.Table) -> list[TextColumn]:
        """Return the column of processes, where there are several."""
        processes = process_cells(rows)
        several = len(set(processes)) > 1
        return [TextColumn("process", processes, shrink="middle", least=12, optional=True)] if several else []

    def _table(
        self, rows: pa.Table, columns: Sequence[TextColumn], *, bars: bool = False, first: bool = False
    ) -> Iterator[str]:
        """Yield rows: times, shares and counts, and what they are of; `first`: what they are of stands first.

        Where a key does not fit beside the other columns, keys stand on lines of their own, above.
        """
        if not rows.num_rows:
            return
        counts = TextColumn("count", _numbers(rows, "events"), right=True)
        shares = TextColumn("share", share_cells(rows, "share"), right=True)
        amounts, bar = [counts, shares], "share"
        if self._timed:
            times = [
                TextColumn("time", duration_cells(rows, "time_spent_ns"), right=True),
                TextColumn("share", share_cells(rows, "time_share"), right=True),
            ]
            amounts, bar = [*amounts, *times] if first else [*times, counts], "time_share"
        columns = [column for column in columns if any(column.cells)]
        listed = [*columns, *amounts] if first else [*amounts, *columns]
        if bars:
            listed.append(TextColumn("", _bars(rows, bar), optional=True))
        width = None if self._width is None else self._width - 2
        keys = next((column for column in columns if column.title in _KEYS), None)
        if keys is None or width is None or max(map(cell_width, lay_out(listed))) <= width:
            yield from (f"  {line}" for line in lay_out(listed, width=width, color=self._color))
            return
        others = [column for column in listed if column is not keys]
        yield from (f"  {line}" for line in lay_out_below(keys.cells, others, width=width, color=self._color))


def _numbers(rows: pa.Table, name: str) -> list[str]:
    return ["" if number is None else f"{number:,}" for number in rows[name].to_pylist()]


def _edge(nanoseconds: int) -> str:
    """Return where a class of durations begins or ends: a whole number of a unit.

    >>> _edge(0), _edge(3_000), _edge(10_000_000)
    ('0', '3 us', '10 ms')
    """
    number, _, unit = duration_text(nanoseconds).partition(" ")
    return f"{float(number):g} {unit}" if nanoseconds else "0"


def _bars(rows: pa.Table, name: str) -> list[str]:
    """Return a bar for each share, the longest for the greatest; what is there has at least one mark."""
    shares = [share or 0.0 for share in rows[name].to_pylist()]
    longest = max(shares, default=0.0) or 1.0
    return ["#" * max(round(share / longest * _BAR), 1) if share else "" for share in shares]
