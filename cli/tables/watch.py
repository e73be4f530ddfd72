"""The live table of `regtrace watch`: a line with the state, and the newest rows below it."""

import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, tzinfo
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import pyarrow as pa

from cli.output.columns import text_cells
from cli.output.console import has_color
from cli.output.progress import duration_text, size_text
from cli.output.safe import visible
from cli.output.table import cell_width, cut_end, cut_middle
from cli.tables.timeline import data_cells, note_cells, process_cells, value_cells
from tracer.registry.ntstatus import is_failure, status_name
from tracer.registry.operation_rows import match_cases
from tracer.registry.operations import BY_NAME, GROUPS

if TYPE_CHECKING:
    from rich.text import Text

    from tracer.live.watch import WatchStatus

__all__ = ["WatchView"]

_PER_SECOND = 8  # pictures a second: more cannot be read
_MOST_ROWS = 200
_GAP = 2
_NOTES = {"l": "named later", "p": "partly named", "n": "not named", "a": "ambiguous", "t": "data cut",
          "b": "data before cut", "h": "NUL in name", "x": "across a loss", "c": "after close",
          "v": "newer event version"}  # fmt: skip
_USER = re.compile(r"(?<=HKU\\)S-1-5-21(?:-\d+){3}(?=-\d+)", re.ASCII)


@dataclass(frozen=True, slots=True)
class _Layout:
    """Widths of columns in a terminal of `least` columns or more; 0: not a column of its own."""

    least: int
    time: int
    process: int
    operation: int
    value: int
    result: int
    data: int


_LAYOUTS = (
    _Layout(140, time=12, process=22, operation=13, value=18, result=14, data=28),
    _Layout(110, time=8, process=18, operation=11, value=0, result=12, data=20),
    _Layout(92, time=8, process=16, operation=11, value=0, result=14, data=0),
    _Layout(72, time=8, process=15, operation=9, value=0, result=9, data=0),
    _Layout(0, time=0, process=12, operation=7, value=0, result=0, data=0),
)


class WatchView:
    """Draws on standard output; use it in a `with` statement.

    Args:
        zone: the zone times are shown in.
        console: rich's console; None makes one for standard output.
        clock: seconds that only rise.

    Attributes:
        drawn: how many rows were on the screen so far; of many that come at once only the newest are.
    """

    def __init__(
        self, zone: tzinfo, *, console: Any = None, clock: Callable[[], float] = time.monotonic  # noqa: ANN401
    ) -> None:  # fmt: skip
        import sys

        from rich.console import Console
        from rich.live import Live

        if console is None:
            console = Console(highlight=False, markup=False, emoji=False, no_color=not has_color(sys.stdout))
        self._console, self._zone, self._clock = console, zone, clock
        self._live = Live(console=console, auto_refresh=False, vertical_overflow="crop")
        self._tail: pa.Table | None = None
        self._new = 0  # rows since the last picture
        self._next = 0.0
        self.drawn = 0

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, trace)

    def show(self, rows: pa.Table, standing: "WatchStatus") -> None:
        """Add new rows, and draw if the next picture is due."""
        if rows.num_rows:
            self._new += rows.num_rows
            newest = rows.slice(max(rows.num_rows - _MOST_ROWS, 0))
            newest = newest.take(pa.array(range(newest.num_rows)))  # let go of the rest of the batch
            tail = newest if self._tail is None else pa.concat_tables([self._tail, newest])
            self._tail = tail.slice(max(tail.num_rows - _MOST_ROWS, 0))
        if self._clock() >= self._next:
            self._draw(standing)

    def end(self, standing: "WatchStatus") -> None:
        """Draw the last picture, which remains on the screen."""
        self._draw(standing)

    def _draw(self, standing: "WatchStatus") -> None:
        self._next = self._clock() + 1 / _PER_SECOND
        self._live.update(self.picture(standing), refresh=True)
        self.drawn += min(self._new, self._rows_that_fit())
        self._new = 0

    def picture(self, standing: "WatchStatus") -> "Text":
        """Return the lines of a picture: the state, headings, and as many of the newest rows as fit."""
        from rich.text import Text

        width = max(self._console.width, 40)
        lines = [_state(standing, width)]
        count = self._rows_that_fit()
        tail = self._tail.slice(max(self._tail.num_rows - count, 0)) if self._tail is not None else None
        if tail is None or not tail.num_rows:
            waits = "nothing yet" if not standing.events else "nothing that fits the filters yet"
            lines += [Text(""), Text(waits, style="dim")]
        else:
            lines += [Text(""), *_table(tail, width, self._zone)]
        return Text("\n").join(lines)

    def _rows_that_fit(self) -> int:
        height = self._console.height or shutil.get_terminal_size().lines
        # State, empty line, headings, notes, and the line the cursor stands in.
        return min(max(height - 5, 3), _MOST_ROWS)


def _state(standing: "WatchStatus", width: int) -> "Text":
    """Return the line with the state; a loss is red, and the last part to be cut for lack of room."""
    from rich.text import Text

    lost = standing.lost + standing.dropped + standing.undecoded + standing.unread
    loss = f"lost {lost:,}" + (f" + {standing.lost_buffers:,} buffers" if standing.lost_buffers else "")
    loss += " or more" if standing.unknown else ""
    parts = [
        (duration_text(standing.seconds).split(".")[0] + " s" if standing.seconds < 60
         else duration_text(standing.seconds), "bold"),
        (f"{standing.rate:,.0f}/s", ""),
        (f"{standing.events:,} operations", ""),
        (f"{standing.shown:,} shown" if standing.shown != standing.events else "", ""),
        (loss, "bold red" if standing.is_lossy else "green"),
        (f"buffers {standing.buffers[0]}/{standing.buffers[1]}" if standing.buffers else "", "dim"),
        (f"waiting {standing.waiting:,}", "dim"),
        (f"queue {size_text(standing.queue_bytes)}" if standing.queue_bytes else "", "dim"),
        (f"late {standing.late:,}" if standing.late else "", "yellow"),
        ("Ctrl-C ends", "dim"),
    ]  # fmt: skip
    visible_parts = [(text, style) for text, style in parts if text]
    while len(visible_parts) > 2 and sum(len(text) + 3 for text, _ in visible_parts) - 3 > width:
        place = max(i for i, (text, _) in enumerate(visible_parts) if text != loss)
        del visible_parts[place]
    line = Text()
    for number, (text, style) in enumerate(visible_parts):
        line.append(" · " if number else "", style="dim")
        line.append(text, style=style)
    return line


def _table(rows: pa.Table, width: int, zone: tzinfo) -> "list[Text]":
    """Return headings, rows (columns have the same width in every picture), and what the notes mean."""
    from rich.text import Text

    layout = next(layout for layout in _LAYOUTS if width >= layout.least)
    apart = layout.value > 0
    statuses = rows.column("status").to_pylist()
    operations = [BY_NAME[name].short for name in rows.column("operation").to_pylist()]
    writes = match_cases(rows, GROUPS["writes"].cases).tolist()
    notes = note_cells(rows)
    plain = [""] * len(statuses)
    columns: list[tuple[str, int, list[str], list[str], Callable[[str, int], str]]] = [
        (_time_title(zone), layout.time, _times(rows, zone, layout.time), ["dim"] * len(statuses), cut_end),
        ("process", layout.process, process_cells(rows), plain, cut_middle),
        ("operation", layout.operation, operations, ["bold" if write else "" for write in writes], cut_end),
        ("key" if apart else "key : value", 0, _keys(rows, with_value=not apart), plain, cut_middle),
        ("value", layout.value, value_cells(rows) if apart else plain, plain, cut_middle),
        ("result", layout.result, [_result(code) for code in statuses],
         ["red" if code is not None and is_failure(code) else "dim" for code in statuses], cut_end),
        ("data", layout.data, data_cells(rows) if layout.data else plain, plain, cut_end),
        ("", 1, notes, ["yellow"] * len(statuses), cut_end),
    ]  # fmt: skip
    columns = [column for column in columns if column[1] or column[0].startswith("key")]
    taken = sum(size for _, size, *_ in columns) + _GAP * (len(columns) - 1)
    sizes = [size or max(width - taken, 12) for _, size, *_ in columns]
    lines = [_line([(title, "bold", cut) for title, _, _, _, cut in columns], sizes)]
    for row in range(rows.num_rows):
        lines.append(_line([(cells[row], styles[row], cut) for _, _, cells, styles, cut in columns], sizes))
    used = sorted({letter for letters in notes for letter in letters})
    if used:
        legend = "  ".join(f"{letter}: {_NOTES[letter]}" for letter in used)
        lines.append(Text(cut_end(legend, width), style="dim"))
    return lines


def _line(cells: list[tuple[str, str, Callable[[str, int], str]]], sizes: list[int]) -> "Text":
    from rich.text import Text

    line = Text(no_wrap=True, overflow="crop")
    for number, ((text, style, cut), size) in enumerate(zip(cells, sizes, strict=True)):
        shown = cut(visible(text), size)
        line.append(" " * _GAP if number else "")
        line.append(shown, style=style)
        if number < len(cells) - 1:
            line.append(" " * (size - cell_width(shown)))
    line.rstrip()
    return line


def _time_title(zone: tzinfo) -> str:
    return "time UTC" if zone is UTC else "time"


def _times(rows: pa.Table, zone: tzinfo, letters: int) -> list[str]:
    return [text[11 : 11 + letters] for text in text_cells(rows, "time", zone=zone)]


def _keys(rows: pa.Table, *, with_value: bool) -> list[str]:
    # Of a user's SID the end tells users apart; its middle would hide the key.
    keys = [_USER.sub("S-…", key or "") for key in rows.column("display_key").to_pylist()]
    if not with_value:
        return keys
    return [f"{key} : {value}" if value else key for key, value in zip(keys, value_cells(rows), strict=True)]


def _result(code: int | None) -> str:
    return "" if code is None else status_name(code).removeprefix("OBJECT_").replace("SUCCESS", "ok")
