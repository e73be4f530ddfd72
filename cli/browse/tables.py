"""The tables of the view: the values of a key, and the writes of a history."""

from collections.abc import Sequence
from datetime import UTC, tzinfo

import pyarrow as pa
from rich.style import Style

from cli.browse.cells import ValueLine, WriteLine, order_of_values, value_lines, write_lines
from cli.browse.lines import Lines, Part, fitted

__all__ = ["Values", "Writes"]

_AT_ONCE = 32  # rows that are made together
_WITH_TIME = 64  # columns from which on the time has one of its own
_TIME = slice(
    11, 23
)  # of 2024-05-01 10:00:00.000000+00:00, what stands in a column: the date is in the line below
_STYLES = {"unknown": Style(color="yellow"), "absent": Style(dim=True), "deleted": Style(dim=True)}
_QUIET = Style(dim=True)
_NEW = Style(color="green")
_OLD = Style(color="red")


def _laid_out(cells: Sequence[tuple[str, int, Style | None]]) -> list[Part]:
    parts: list[Part] = []
    for text, width, style in cells:
        parts += [(fitted(text, width), style), (" ", None)]
    return parts[:-1]


class Values(Lines):
    """What is known of a key and its values at a time.

    Attributes:
        zone: of the times.
    """

    HAS_HEAD = True

    def __init__(self, *, id: str | None = None, zone: tzinfo = UTC) -> None:  # noqa: A002  (textual's name)
        super().__init__(id=id)
        self.zone = zone
        self._rows: pa.Table | None = None
        self._order: list[int] = []
        self._made: dict[int, list[ValueLine]] = {}

    def show(self, rows: pa.Table | None, value: str | None = None) -> None:
        """Show the rows of a state; None: nothing, for they are not there yet.

        Args:
            rows: the rows.
            value: the name of the value to choose, where there is one; else the first line.
        """
        self._rows, self._made = rows, {}
        self._order = [] if rows is None else order_of_values(rows)
        cursor = 0
        if rows is not None and value is not None:
            names = rows["value_name"].to_pylist()
            cursor = next((line for line, row in enumerate(self._order) if names[row] == value), 0)
        self.reset(len(self._order), cursor)

    @property
    def value(self) -> str | None:
        """The name of the chosen value; None for the key, or where there is no line."""
        if self._rows is None or not self._order:
            return None
        name: str | None = self._rows["value_name"][self._order[self.cursor]].as_py()
        return name

    def line(self, index: int) -> ValueLine:
        """Return what a line tells."""
        assert self._rows is not None
        part = index // _AT_ONCE
        if part not in self._made:
            places = self._order[part * _AT_ONCE : (part + 1) * _AT_ONCE]
            self._made[part] = value_lines(self._rows.take(places), zone=self.zone)
        return self._made[part][index % _AT_ONCE]

    def head(self, width: int) -> str:
        """Return the titles."""
        return "".join(text for text, _ in self._columns(("value", "data", "known", "when", "who"), width))

    def parts(self, index: int, width: int) -> Sequence[Part]:
        """Return the cells of a value."""
        line = self.line(index)
        known = f"{line.known}?" if line.known == "unknown" and line.was else line.known
        return self._columns((line.name, line.data, known, line.when[_TIME], line.who), width, line.known)

    def _columns(self, texts: Sequence[str], width: int, known: str = "") -> list[Part]:
        name, data, how, when, who = texts
        style = _STYLES.get(known)
        timed = width >= _WITH_TIME
        people = max(12, min(26, width // 5))
        rest = width - 8 - people - 3 - 13 * timed
        named = max(10, min(40, rest * 2 // 5))
        cells = [(name, named, style if known != "unknown" else None), (data, max(4, rest - named), style)]
        cells += [(how, 8, style)]
        cells += [(when, 12, _QUIET)] if timed else []
        return _laid_out([*cells, (who, people, None)])


class Writes(Lines):
    """The writes and deletes of a key's values, oldest first."""

    HAS_HEAD = True

    def __init__(self, *, zone: tzinfo = UTC) -> None:
        super().__init__()
        self.zone = zone
        self._rows: pa.Table | None = None
        self._made: dict[int, list[WriteLine]] = {}

    def show(self, rows: pa.Table) -> None:
        """Show the rows of a history; the last one is chosen."""
        self._rows, self._made = rows, {}
        self.reset(rows.num_rows, rows.num_rows - 1)

    def line(self, index: int) -> WriteLine:
        """Return what a line tells."""
        assert self._rows is not None
        part = index // _AT_ONCE
        if part not in self._made:
            self._made[part] = write_lines(self._rows.slice(part * _AT_ONCE, _AT_ONCE), zone=self.zone)
        return self._made[part][index % _AT_ONCE]

    def head(self, width: int) -> str:
        """Return the titles."""
        return "".join(text for text, _ in self._columns(("when", "value", "old", "new", "who"), width))

    def parts(self, index: int, width: int) -> Sequence[Part]:
        """Return the cells of a write."""
        line = self.line(index)
        new = line.new if line.done == "set" else line.done
        return self._columns((line.when[_TIME], line.name, line.old, new, line.who), width, line.done)

    def _columns(self, texts: Sequence[str], width: int, done: str = "") -> list[Part]:
        when, name, old, new, who = texts
        people = max(14, min(26, width // 5))
        rest = width - 12 - people - 4
        named = max(10, rest // 3)
        before = (rest - named) // 2
        failed = done.startswith("failed")
        return _laid_out(
            [
                (when, 12, _QUIET),
                (name, named, None),
                (old, before, _OLD if done else None),
                (new, rest - named - before, None if not done else _OLD if failed else _NEW),
                (who, people, None),
            ]
        )
