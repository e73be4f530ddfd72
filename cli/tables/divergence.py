"""The page of a first divergence: where two runs part, what they had read before, and what is around it."""

import textwrap
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, tzinfo
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from cli.output.columns import text_cells
from cli.output.console import with_style
from cli.output.phrases import plural
from cli.output.safe import visible
from cli.output.table import TextColumn, cell_width, cut_end, lay_out, lay_out_below
from cli.tables.timeline import DATA_WIDTH, data_cells, process_cells, value_cells
from tracer.registry.ntstatus import is_failure

if TYPE_CHECKING:
    from analysis.answers.divergence import Divergence

__all__ = ["divergence_lines"]

_WHOLE = 10_000  # columns of a page that nobody fits to a terminal
_SHOWN_WIDTH = 60  # of one value on a terminal
_DIFFERS = {
    "operation": "they do different things",
    "key": "they go to different keys",
    "value": "they ask for different values",
    "request": "they ask for different facts of the same",
    "result": "the same operation ends otherwise",
}
_READS = {
    "type": "type",
    "size": "size",
    "facts": "facts of the key",
    "name": "name",
    "disposition": "key made",
}


def divergence_lines(
    rows: pa.Table, width: int | None = None, *, found: "Divergence", names: Sequence[str], zone: tzinfo = UTC,
    color: bool = False, spell: Sequence[Callable[[str], str]] = (str, str),
) -> Iterator[str]:  # fmt: skip
    """Yield the lines of a page.

    Args:
        rows: the rows to show.
        width: the columns of the terminal; None shortens nothing.
        found: what was aligned.
        names: what the two sides are called.
        zone: the zone times are shown in.
        color: whether titles are bold and failures stand out.
        spell: how keys of each side are shown.
    """
    for letter, spelled in zip("ab", spell, strict=True):
        name = f"{letter}_key"
        keys = [None if key is None else spelled(key) for key in rows.column(name).to_pylist()]
        rows = rows.set_column(rows.schema.get_field_index(name), name, pa.array(keys, pa.string()))
    page = _Page(rows, width, color)
    parting = page.of("divergence")
    for side, (letter, name) in enumerate(zip("ab", names, strict=True)):
        yield from page.wrapped(f"{letter}  {name}: {_about(parting, letter, found.steps[side], zone)}")
    yield ""
    yield page.title(_sentence(parting, found))
    if parting.num_rows:
        yield from page.two_sides(parting)
    reads = page.of("read")
    if reads.num_rows:
        yield ""
        when = "Before that they" if parting.num_rows else "They"
        yield page.title(f"{when} read other data, the nearest first")
        yield from page.reads(reads)
    earlier = page.of("before")
    if earlier.num_rows:
        yield ""
        yield page.title("Before, on both sides")
        yield from page.one_side(earlier.take(pa.array(range(earlier.num_rows))[::-1]), "a")
    yield from _afterwards(page)


def _afterwards(page: "_Page") -> Iterator[str]:
    """Yield what each side did next; once, where it is the same."""
    later = page.of("after")
    sides = []
    for letter in "ab":
        rows = later.filter(later.column(f"{letter}_operation").is_valid())
        sides.append([*page.one_side(rows, letter)] if rows.num_rows else [])
    named = (
        [("Then, on both sides", sides[0])]
        if sides[0] == sides[1]
        else [("Then a", sides[0]), ("Then b", sides[1])]
    )
    for title, lines in named:
        if lines:
            yield ""
            yield page.title(title)
            yield from lines


def _about(parting: pa.Table, letter: str, steps: int, zone: tzinfo) -> str:
    said = [plural(steps, "operation")]
    if parting.num_rows and parting.column(f"{letter}_operation")[0].as_py() is not None:
        side = _side(parting, letter)
        said.insert(0, process_cells(side)[0])
        said.append(
            f"here event {side.column('sequence')[0].as_py():,} at {text_cells(side, 'time', zone=zone)[0]}"
        )
    return ", ".join(said)


def _sentence(parting: pa.Table, found: "Divergence") -> str:
    many = plural(found.matched, "operation")
    if not parting.num_rows:
        return f"They do not part: {many} match{'es' if found.matched == 1 else ''}"
    word = parting.column("differs")[0].as_py()
    ended = "b" if parting.column("b_operation")[0].as_py() is None else "a"
    if word == "thread":
        return f"They part: {ended} has no thread that does this"
    meaning = f"{ended} does nothing more" if word == "end" else _DIFFERS[word]
    return f"They part after {many} that match{'es' if found.matched == 1 else ''}: {meaning}"


def _side(rows: pa.Table, letter: str) -> pa.Table:
    """Return the columns of a side, called as those of events."""
    called = {"type": "data_type", "size": "data_size"}
    names = [name for name in rows.schema.names if name.startswith(f"{letter}_")]
    return pa.table({called.get(name[2:], name[2:]): rows.column(name) for name in names})


class _Page:
    """The lines of a page, for one width."""

    def __init__(self, rows: pa.Table, width: int | None, color: bool) -> None:
        self._rows, self._width, self._color = rows, width, color

    def of(self, what: str) -> pa.Table:
        """Return the rows of a kind."""
        places = [place for place, word in enumerate(self._rows.column("what").to_pylist()) if word == what]
        return self._rows.take(pa.array(places, pa.int64()))

    def fit(self, line: str) -> str:
        """Return a line that is no wider than the page."""
        shown = visible(line)
        return shown if self._width is None else cut_end(shown, self._width)

    def wrapped(self, line: str) -> list[str]:
        """Return a sentence about a side as lines that are no wider than the page."""
        shown = visible(line)
        return [shown] if self._width is None else textwrap.wrap(shown, self._width, subsequent_indent="   ")

    def title(self, line: str) -> str:
        """Return a heading."""
        return with_style(self.fit(line), "bold") if self._color else self.fit(line)

    def two_sides(self, rows: pa.Table) -> Iterator[str]:
        """Yield both sides of the divergence."""
        listed = [(letter, _side(rows, letter)) for letter in "ab"]
        listed = [
            (letter, side) for letter, side in listed if side.column("operation")[0].as_py() is not None
        ]
        rows = pa.concat_tables(side for _, side in listed)
        yield from self._operations([letter for letter, _ in listed], rows, results=True)

    def one_side(self, rows: pa.Table, letter: str) -> Iterator[str]:
        """Yield the operations of one side."""
        places = [f"{place:+,}" for place in rows.column("place").to_pylist()]
        yield from self._operations(places, _side(rows, letter))

    def reads(self, rows: pa.Table) -> Iterator[str]:
        """Yield the reads that returned other data."""
        a, b = (_side(rows, letter) for letter in "ab")
        notes = [
            ", ".join(
                part for part in (_READS.get(word, ""), f"{times:,} times" if times > 1 else "") if part
            )
            for word, times in zip(
                rows.column("differs").to_pylist(), rows.column("times").to_pylist(), strict=True
            )
        ]
        asked = [
            value or operation
            for value, operation in zip(value_cells(a), text_cells(a, "operation"), strict=True)
        ]
        places, keys = [f"{place:+,}" for place in rows.column("place").to_pylist()], text_cells(a, "key")
        data = [data_cells(a), data_cells(b)]
        columns = [
            TextColumn("", places, right=True),
            TextColumn("value", asked, shrink="middle", least=10),
            *(TextColumn(letter, cells, most=self._most) for letter, cells in zip("ab", data, strict=True)),
            TextColumn("", notes),
        ]
        if self._width is None or max(map(cell_width, lay_out(columns))) <= self._width - 2:
            yield from self._by_key(keys, columns)
        else:  # what differs is often at the end: one below the other
            columns = [
                TextColumn("", _with_gaps(places), right=True),
                TextColumn("value", _with_gaps(asked), shrink="middle", least=10),
                TextColumn("", [*"ab"] * len(places)),
                TextColumn(
                    "data", [one for pair in zip(*data, strict=True) for one in pair], shrink="end", least=12
                ),
                TextColumn("", _with_gaps(notes)),
            ]
            yield from self._by_key(_doubled(keys), columns)
        if text_cells(a, "key") != text_cells(b, "key"):
            yield "   (keys as a has them; in b other identifiers stand for the same)"

    @property
    def _most(self) -> int:
        return DATA_WIDTH if self._width is None else _SHOWN_WIDTH

    def _operations(self, places: Sequence[str], rows: pa.Table, *, results: bool = False) -> Iterator[str]:
        """Yield operations; `results`: also of those that succeeded."""
        codes: list[Any] = rows.column("status").to_pylist()
        statuses = [
            name.removeprefix("OBJECT_") if results or code else ""
            for code, name in zip(codes, text_cells(rows, "status_name"), strict=True)
        ]
        columns = [
            TextColumn("", places, right=True),
            TextColumn("", text_cells(rows, "operation")),
            TextColumn("", value_cells(rows), shrink="middle", least=10),
            TextColumn("", statuses, shrink="end", least=9,
                       styles=["red" if code is not None and is_failure(code) else "" for code in codes]),
            TextColumn("", data_cells(rows), shrink="end", least=10, most=self._most),
        ]  # fmt: skip
        yield from self._by_key(text_cells(rows, "key"), columns)

    def _by_key(self, keys: Sequence[str], columns: list[TextColumn]) -> Iterator[str]:
        """Yield a table; each key stands on a line of its own above the first of its rows."""
        columns = [column for column in columns if any(column.cells)]
        yield from lay_out_below(keys, columns, width=self._width or _WHOLE, color=self._color)


def _with_gaps(cells: Sequence[str]) -> list[str]:
    """Return the cells with an empty one below each."""
    return [one for cell in cells for one in (cell, "")]


def _doubled(cells: Sequence[str]) -> list[str]:
    return [cell for cell in cells for _ in range(2)]
