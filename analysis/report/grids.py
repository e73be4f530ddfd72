"""Tables of a report: titled columns of plain text and numbers, cut to a number of rows that is said.

Whatever strangers wrote becomes text here; it is made harmless where a page or a document is written.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

__all__ = ["Cell", "Column", "Grid", "content_text", "made_grid", "process_text", "time_text", "value_text"]

Cell = str | int | None
_Row = Mapping[str, Any]
_BYTES = "REG_BINARY"
_MOST_TEXT = 400  # letters of a cell


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        title: its heading.
        kind: how it is shown: text, code (names and data), number, time, key (on a line of its own above the rows that it is
            said of), or tree (text behind an indent; its cells are ``DEPTH|text``).
        cell: makes the cell of a row; the name of a field instead stands for that field.
    """

    title: str
    kind: str
    cell: Callable[[_Row], Cell] | str

    def of(self, row: _Row) -> Cell:
        """Return the cell of a row, text cut to what a reader can use."""
        found = row[self.cell] if isinstance(self.cell, str) else self.cell(row)
        if isinstance(found, datetime):
            return time_text(found)
        if isinstance(found, str) and len(found) > _MOST_TEXT:
            return f"{found[:_MOST_TEXT]}… ({len(found):,} letters)"
        return found


@dataclass(frozen=True, slots=True)
class Grid:
    """A table.

    Attributes:
        name: what addresses of the page call it: a short word.
        title: the heading; "" where that of its section is enough.
        titles: the headings of the columns.
        kinds: the kind of each column (`Column.kind`).
        rows: the cells, a tuple a row.
        total: how many rows there are, those that are left out included; None where nobody counted.
        more: the command that lists all of them; "" where there is none.
        empty: what is said where there is no row.
    """

    name: str
    title: str
    titles: tuple[str, ...]
    kinds: tuple[str, ...]
    rows: list[tuple[Cell, ...]]
    total: int | None
    more: str = ""
    empty: str = "There are none."

    def cut(self, most: int) -> "Grid":
        """Return the table with its first rows alone."""
        if len(self.rows) <= most:
            return self
        total = len(self.rows) if self.total is None else self.total
        return replace(self, rows=self.rows[:most], total=total)

    @property
    def cut_sentence(self) -> str:
        """How much is left out, and where it is; "" where nothing is."""
        if self.total is None or self.total <= len(self.rows):
            return ""
        where = f": {self.more} lists all" if self.more else ""
        return f"The first {len(self.rows):,} of {self.total:,} rows are here{where}."


def made_grid(
    name: str,
    rows: Sequence[_Row],
    columns: Sequence[Column],
    *,
    title: str = "",
    total: int | None = None,
    more: str = "",
    empty: str = "There are none.",
) -> Grid:
    """Return a table of rows.

    Args:
        name: what addresses of the page call it.
        rows: dictionaries, in the order they are shown.
        columns: the columns; those without any content are left out.
        title: the heading.
        total: how many rows there are; None: those.
        more: the command that lists all rows.
        empty: what is said where there is no row.
    """
    cells = [[column.of(row) for row in rows] for column in columns]
    shown = [place for place, some in enumerate(cells) if any(cell not in (None, "") for cell in some)]
    shown = shown or list(range(len(columns)))
    titles = [column.title for column in columns]
    for place in shown:
        if columns[place].kind == "time" and (day := _common_day(cells[place])):
            titles[place] = f"{titles[place]}, {day}"
            cells[place] = [cell[len(day) + 1 :] if isinstance(cell, str) else cell for cell in cells[place]]
    return Grid(
        name,
        title,
        tuple(titles[place] for place in shown),
        tuple(columns[place].kind for place in shown),
        list(zip(*(cells[place] for place in shown), strict=True)),
        len(rows) if total is None else total,
        more,
        empty,
    )


def _common_day(cells: Sequence[Cell]) -> str:
    """Return the day that all times are of; "" where they are of several, or there is none."""
    days = {cell.partition(" ")[0] for cell in cells if isinstance(cell, str)}
    return days.pop() if len(days) == 1 else ""


def time_text(moment: datetime | None) -> str | None:
    """Return a time as text, UTC, microseconds; None for none."""
    return None if moment is None else f"{moment:%Y-%m-%d %H:%M:%S.%f}"


def process_text(row: _Row) -> str | None:
    """Return the process of a row: its image's name and its pid; None where neither is known."""
    name, pid = row["process"], row["pid"]
    if name is None:
        return None if pid is None else f"pid {pid}"
    return name if pid is None else f"{name} ({pid})"


def value_text(row: _Row) -> str | None:
    """Return the name of a row's value; None where the row is about the key itself."""
    name: str | None = row["value_name"]
    return "(default)" if name == "" else name


def content_text(row: _Row, side: str = "") -> str:
    """Return what a value held: its text, what it means, and its type; "?" where it is not known.

    Args:
        row: a row of an answer with texts.
        side: what stands before the names of its fields, such as ``old_``.
    """
    text, kind, meaning = row[f"{side}text"], row[f"{side}type_name"], row[f"{side}meaning"]
    if text is None and kind is None:
        size = row[f"{side}size"]
        return "?" if size is None else f"? ({size:,} bytes)"
    shown = "?" if text is None else text or '""'
    if meaning and kind == _BYTES:  # whoever wants the bytes asks the capture
        return f"{meaning} ({kind})"
    meant = f" [{meaning}]" if meaning else ""
    return f"{shown}{meant}" if kind is None else f"{shown}{meant} ({kind})"
