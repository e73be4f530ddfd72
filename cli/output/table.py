"""Aligned plain-text tables: fitted to a terminal, or whole for a pipe or a file."""

import re
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import cache, lru_cache

from cli.output.console import with_style
from cli.output.safe import visible
from tracer.registry.quoting import quote_name

__all__ = [
    "BETWEEN_TABS",
    "TextColumn",
    "cell_width",
    "cut_end",
    "cut_middle",
    "lay_out",
    "lay_out_below",
    "path_line",
    "text_line",
]

# Whether whole tables have a tab between cells in place of spaces: a program reads them (`cli.output.destination`). A tab
# in a cell is shown escaped.
BETWEEN_TABS: ContextVar[bool] = ContextVar("between_tabs", default=False)
_GAP = "  "
_NO_KEY = "(no key)"
# A GUID keeps its first letters, the SID of a user its last ones: they tell two apart.
_IDENTIFIER = re.compile(
    r"(\{[0-9A-Fa-f]{8})(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}(\})|(S-1-5-21)(?:-\d+){3}(-\d+)", re.ASCII
)
_SHORTEST = 4
_LABEL = 12  # columns, below which nothing stands behind a key


@dataclass(frozen=True, slots=True)
class TextColumn:
    """One column of a table, as text.

    Attributes:
        title: its heading; "" where none is needed.
        cells: its text, one a row; unprintable characters are shown escaped.
        right: align to the right (numbers).
        shrink: how a cell that is too long is shortened: middle (paths), end, or None (never).
        least: width below which it is not shortened.
        most: width beyond which a cell is always shortened at its end; None: none.
        optional: left out, last ones first, where the table is too wide even when shortened.
        styles: a style of `cli.output.console.STYLES` for each cell, "" for none; None: all plain.
        ids: what stands behind a cell that is shortened, such as ``#1234``, by which it can be asked for; None: nothing.
    """

    title: str
    cells: Sequence[str]
    right: bool = False
    shrink: str | None = None
    least: int = 12
    most: int | None = None
    optional: bool = False
    styles: Sequence[str] | None = None
    ids: Sequence[str] | None = None


def cell_width(text: str) -> int:
    """Return how many columns of a terminal `text` takes (East Asian wide letters take two, marks none)."""
    return len(text) if text.isascii() else _wide_text(text)


def cut_end(text: str, width: int, mark: str = "…") -> str:
    """Return `text`, its end replaced by `mark` where it is wider than `width`."""
    if cell_width(text) <= width:
        return text
    return _take(text, width - cell_width(mark)) + mark


def cut_middle(text: str, width: int, mark: str = "…") -> str:
    r"""Return `text`, its middle replaced by `mark` where it is wider than `width`: a path's ends tell most.

    Of a path, identifiers are shortened first; then whole components go, and the last ones stay as long as any.

    >>> cut_middle(r"HKLM\SOFTWARE\Microsoft\Windows\Run", 20)
    'HKLM\\…\\Windows\\Run'
    >>> cut_middle(r"HKCR\CLSID\{00021401-0000-0000-C000-000000000046}\Instance", 34)
    'HKCR\\CLSID\\{00021401…}\\Instance'
    """
    if cell_width(text) <= width:
        return text
    if "\\" in text and (shorter := _cut_path(text, width, mark)):
        return shorter
    room = width - cell_width(mark)
    tail = _take(text[::-1], room - room * 2 // 5)[::-1]
    return _take(text, room - cell_width(tail)) + mark + tail


def _cut_path(path: str, width: int, mark: str) -> str:
    """Return a path without components of its middle; "" where its last component alone is too wide."""
    short = _IDENTIFIER.sub(lambda found: f"{found[1] or found[3]}{mark}{found[2] or found[4]}", path)
    if cell_width(short) <= width:
        return short
    first, *parts = short.split("\\")
    used = cell_width(first) + 1 + cell_width(mark)
    if used + 1 + cell_width(parts[-1]) > width:
        first, used = "", cell_width(mark)
    kept: list[str] = []
    for part in reversed(parts):
        used += 1 + cell_width(part)
        if used > width:
            break
        kept.insert(0, part)
    return "\\".join([*([first] if first else []), mark, *kept]) if kept else ""


def lay_out(
    columns: Sequence[TextColumn], *, width: int | None = None, color: bool = False, mark: str = "…"
) -> Iterator[str]:
    """Yield the lines of a table: headings, then rows; no trailing spaces.

    Args:
        columns: what to show; all have equally many cells.
        width: the columns of the terminal; None: nothing is shortened or left out.
        color: whether `styles` are shown, and headings in bold.
        mark: what stands for text that was left out.
    """
    shown = [_made_visible(column, mark, shortens=width is not None) for column in columns]
    if width is None and BETWEEN_TABS.get():
        titles = ["\t".join(column.title for column in shown)] * any(column.title for column in shown)
        yield from titles
        yield from ("\t".join(cells) for cells in zip(*(column.cells for column in shown), strict=True))
        return
    widths = [max([cell_width(column.title), *map(cell_width, column.cells)], default=0) for column in shown]
    if width is not None:
        shown, widths = _fit(shown, widths, width)
    if any(column.title for column in shown):
        titles = [column.title for column in shown]
        yield _line(titles, shown, widths, mark, ["bold" if color else ""] * len(titles), [""] * len(titles))
    plain = [""] * len(shown)
    for row, cells in enumerate(zip(*(column.cells for column in shown), strict=True)):
        styles = [column.styles[row] if column.styles else "" for column in shown] if color else plain
        ids = [column.ids[row] if column.ids else "" for column in shown]
        yield _line(cells, shown, widths, mark, styles, ids)


def lay_out_below(
    paths: Sequence[str],
    columns: Sequence[TextColumn],
    *,
    width: int,
    ids: Sequence[str] = (),
    labels: Sequence[str] = (),
    after: Sequence[Sequence[str]] = (),
    color: bool = False,
    mark: str = "…",
) -> Iterator[str]:
    """Yield the lines of a table in which the key of a row stands above it, on a line of its own where it changes.

    Args:
        paths: the key of each row; "" where it has none.
        columns: the other columns.
        width: the columns of the terminal.
        ids: what stands behind a key that is shortened, for each row (`TextColumn`); none: nothing.
        labels: what stands behind a key where there is room, for each row; none: nothing.
        after: lines that follow each row, as they are; none: nothing.
        color: as for `lay_out`.
        mark: as for `lay_out`.
    """
    plain = [""] * len(paths)
    if len(set(paths)) == 1 and paths[0]:
        line = path_line(paths[0], width, number=ids[0] if ids else "", color=color, mark=mark)
        yield line + _label(paths[0], labels[0] if labels else "", width, mark)
        lines = lay_out(columns, width=width, color=color, mark=mark)
        if any(column.title for column in columns):
            yield next(lines)
        for place, line in enumerate(lines):
            yield line
            yield from after[place] if after else ()
        return
    indent = TextColumn("", [""] * len(paths))
    lines = lay_out([indent, *columns], width=width, color=color, mark=mark)
    if any(column.title for column in columns):
        yield next(lines)
    last = None
    every = zip(paths, ids or plain, labels or plain, lines, after or [()] * len(paths), strict=True)
    for path, number, label, line, some in every:
        if path != last:
            title = path_line(path, width, number=number, color=color, mark=mark) if path else _NO_KEY
            yield title + _label(path, label, width, mark)
            last = path
        yield line
        yield from some


def text_line(text: str, width: int, *, style: str = "", color: bool = False, mark: str = "…") -> str:
    """Return a line of text, shortened at its end where it is wider than `width`."""
    line = cut_end(_marked(visible(text), mark), width, mark)
    return with_style(line, style) if color and style else line


def path_line(path: str, width: int, *, number: str = "", color: bool = False, mark: str = "…") -> str:
    """Return the line with the key of the rows below it; `number`: what stands behind it where it is shortened."""
    line = _cut(_marked(visible(quote_name(path)), mark), width, mark, number)
    return with_style(line, "bold") if color else line


def _label(path: str, label: str, width: int, mark: str) -> str:
    """Return what stands behind a key, shortened to the room there is; "" where that is too little."""
    room = width - cell_width(visible(quote_name(path))) - 1
    return f" {cut_end(_marked(visible(label), mark), room, mark)}" if label and room >= _LABEL else ""


def _made_visible(column: TextColumn, mark: str, *, shortens: bool) -> TextColumn:
    cells = [visible(cell) for cell in column.cells]
    if shortens or column.most is not None:
        cells = [_marked(cell, mark) for cell in cells]
    if column.most is not None:
        cells = [cut_end(cell, column.most, mark) for cell in cells]
    return replace(column, title=visible(column.title), cells=cells)


def _marked(text: str, mark: str) -> str:
    """Return visible text without `mark`, so that a later mark always means omitted text."""
    return text.replace(mark, f"\\u{{{ord(mark[0]):X}}}{mark[1:]}") if mark in text else text


def _fit(columns: list[TextColumn], widths: list[int], width: int) -> tuple[list[TextColumn], list[int]]:
    """Shorten the widest shrinkable columns first; leave optional ones out where that is not enough."""
    room = width - len(_GAP) * (len(widths) - 1)
    fitted = _shrunk(columns, widths, room, [max(c.least, cell_width(c.title)) for c in columns])
    last = max((i for i, column in enumerate(columns) if column.optional), default=None)
    if sum(fitted) <= room:
        return columns, fitted
    if last is None:  # nothing more to leave out: shorten beyond what reads well
        return columns, _shrunk(columns, fitted, room, [_SHORTEST] * len(columns))
    return _fit(columns[:last] + columns[last + 1 :], widths[:last] + widths[last + 1 :], width)


def _shrunk(columns: list[TextColumn], widths: list[int], room: int, least: list[int]) -> list[int]:
    """Return the widths, the widest shrinkable ones narrowed until all fit `room` or their minimum."""
    shrunk = list(widths)
    while sum(shrunk) > room:
        wide = [(shrunk[i], i) for i, c in enumerate(columns) if c.shrink and shrunk[i] > least[i]]
        if not wide:
            break
        shrunk[max(wide)[1]] -= 1
    return shrunk


def _line(
    cells: Sequence[str],
    columns: Sequence[TextColumn],
    widths: Sequence[int],
    mark: str,
    styles: Sequence[str],
    ids: Sequence[str],
) -> str:
    parts = []
    last = len(columns) - 1
    every = zip(cells, columns, widths, styles, ids, strict=True)
    for position, (cell, column, width, style, number) in enumerate(every):
        if column.shrink and cell_width(cell) > width:
            cell = _cut(cell, width, mark, number, cut=cut_middle if column.shrink == "middle" else cut_end)
        space = " " * (width - cell_width(cell))
        styled = with_style(cell, style) if style and cell else cell
        ends = position == last and not column.right
        parts.append(space + styled if column.right else styled if ends else styled + space)
    return _GAP.join(parts).rstrip(" ")


def _cut(
    text: str, width: int, mark: str, number: str, *, cut: Callable[[str, int, str], str] = cut_middle
) -> str:
    """Return a text shortened where it is too wide, with a short id behind it where there is room for both."""
    behind = f" {number}" if number and width > len(number) + _SHORTEST and cell_width(text) > width else ""
    return cut(text, width - len(behind), mark) + behind


@lru_cache(100_000)  # the same names stand in many rows
def _wide_text(text: str) -> int:
    return sum(map(_letter_width, text))


@cache
def _letter_width(letter: str) -> int:
    if unicodedata.category(letter) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in ("W", "F") else 1


def _take(text: str, width: int) -> str:
    """Return the longest start of `text` that is at most `width` wide."""
    if text.isascii():
        return text[: max(width, 0)]
    used = 0
    for position, letter in enumerate(text):
        used += _letter_width(letter)
        if used > width:
            return text[:position]
    return text
