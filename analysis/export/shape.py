"""The shape of a JSON format: a table of fields, each with the columns of a timeline that it is made of."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Union

import pyarrow as pa

from analysis.export.json_text import Piece, braced, fixed, members, quoted
from analysis.export.rows import Rows

__all__ = [
    "Field",
    "Shape",
    "constant",
    "document",
    "field_lines",
    "made_of",
    "number",
    "of_process",
    "text",
    "told",
]


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a format.

    Attributes:
        source: the columns that it is made of, and what is made of them, for the documents.
        make: makes its JSON of rows; NULL leaves the field out.
    """

    source: str
    make: Callable[[Rows], Piece]


Shape = Mapping[str, Union[Field, "Shape"]]


def text(column: str) -> Field:
    """Return the field that holds a column of text."""
    return Field(f"`{column}`", lambda rows: rows.told(column, quoted))


def number(column: str) -> Field:
    """Return the field that holds a column of numbers."""
    return Field(f"`{column}`", lambda rows: rows.numbers(column))


def constant(value: object) -> Field:
    """Return the field that holds the same in every row."""
    return Field(f"always `{fixed(value)}`", lambda _: fixed(value))


def told(
    columns: str | tuple[str, ...],
    make: Callable[..., str | None],
    meaning: str = "",
    *,
    of: Callable[..., Any] | None = None,
) -> Field:
    """Return the field whose JSON `make` makes of one column, or of several, or of an object made of them (`Rows.told`)."""
    names = (columns,) if isinstance(columns, str) else columns
    source = ", ".join(f"`{name}`" for name in names)
    return Field(f"{source}: {meaning}" if meaning else source, lambda rows: rows.told(columns, make, of=of))


def of_process(column: str, make: Callable[[Mapping[str, Any]], str | None]) -> Field:
    """Return the field whose JSON `make` makes of the process of each row; `column`: of the table `processes`."""
    return Field(f"`processes.{column}`", lambda rows: rows.of_process(make))


def made_of(source: str, make: Callable[[Rows], Piece]) -> Field:
    """Return the field whose JSON `make` makes of rows."""
    return Field(source, make)


def document(rows: Rows, shape: Shape) -> Piece:
    """Return the object of each row; NULL where it would have no member."""
    pieces: dict[str, Piece] = {}
    for name, part in shape.items():
        values = part.make(rows) if isinstance(part, Field) else document(rows, part)
        if isinstance(values, str) or values.null_count < len(values):
            pieces[name] = values
    if not pieces:
        return pa.nulls(len(rows), pa.string())
    return braced(members(pieces))


def field_lines(shape: Shape, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield the name of each field, with dots, and what it is made of."""
    for name, part in shape.items():
        if isinstance(part, Field):
            yield prefix + name, part.source
        else:
            yield from field_lines(part, f"{prefix}{name}.")
