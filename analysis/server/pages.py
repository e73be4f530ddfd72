"""One page of an answer: rows as JSON objects in columns chosen for reading, as many as fit."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from analysis.server.untrusted import plain, safe

__all__ = ["Page", "columns_of", "page_of", "rows_of"]

# Columns that say again what another says, or that only a program needs; `sql` has them all.
_HIDDEN = frozenset(
    {
        "key", "handle_id", "process_id", "closed_process_id", "top_process_id", "time_ns", "opened_ns", "closed_ns",
        "notify_class", "phase", "source_id", "event_id", "record_offset", "cpu", "address", "flags",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Page:
    """The rows that are sent.

    Attributes:
        rows: one object a row; a field that is not there is NULL.
        columns: the fields that a row may have.
        cut: which texts were cut, and how many letters (bytes of binary data) they lack.
    """

    rows: list[dict[str, Any]]
    columns: list[str]
    cut: list[dict[str, Any]]


def rows_of(answer: pa.Table, *, whole: bool = False) -> list[dict[str, Any]]:
    """Return the rows of an answer as objects, in columns chosen for reading.

    A number stands aside where its name is known, and bytes where the text of them is; NULL is left out.

    Args:
        answer: the rows.
        whole: every column, NULL too.
    """
    names = _distinct(answer.schema.names)
    answer = answer.rename_columns(names)
    if whole:
        return answer.to_pylist()
    kept = [name for name in names if name not in _HIDDEN]
    aside = _aside(answer.schema)
    rows = answer.select(kept).to_pylist()
    return [
        {
            name: value
            for name, value in row.items()
            if value is not None and row.get(aside.get(name, "")) is None
        }
        for row in rows
    ]


def columns_of(schema: pa.Schema) -> list[str]:
    """Return the columns that are chosen for reading."""
    aside = _aside(schema)
    return [name for name in schema.names if name not in _HIDDEN and name not in aside]


def page_of(rows: Sequence[Mapping[str, Any]], columns: Iterable[str], most_bytes: int) -> Page:
    """Return the first rows that fit into so many bytes of JSON, one at least.

    Args:
        rows: the rows, with any values.
        columns: the columns that they may have, in order.
        most_bytes: how large the rows may be together.
    """
    sent: list[dict[str, Any]] = []
    cut: list[dict[str, Any]] = []
    size = 0
    for number, row in enumerate(rows):
        cells = {name: plain(value) for name, value in row.items()}
        made = {safe(name)[0]: value for name, (value, _) in cells.items()}
        shorter = [
            {"row": number, "column": safe(name)[0], "missing": missing}
            for name, (_, missing) in cells.items()
            if missing
        ]
        size += len(json.dumps([made, shorter], ensure_ascii=False).encode())
        if sent and size > most_bytes:
            break
        sent.append(made)
        cut += shorter
    listed = dict.fromkeys(safe(name)[0] for name in columns) | dict.fromkeys(
        name for row in sent for name in row
    )
    return Page(sent, list(listed), cut)


def _aside(schema: pa.Schema) -> dict[str, str]:
    """Return the columns that stand aside where another has the same in words: numbers with names, bytes with texts."""
    there = set(schema.names)
    found = {name: f"{name}_name" for name in schema.names if f"{name}_name" in there}
    return found | {
        field.name: text
        for field in schema
        if pa.types.is_binary(field.type) and (text := _text_beside(field.name, there))
    }


def _text_beside(name: str, names: set[str]) -> str | None:
    """Return the column with the text of a column of bytes: data and data_text, new_data and new_text, data and text."""
    for text in (f"{name}_text", f"{name.removesuffix('data')}text"):
        if text in names:
            return text
    return None


def _distinct(names: Sequence[str]) -> list[str]:
    """Return names of which none comes twice: SQL may give two columns one name."""
    found: dict[str, None] = {}
    for name in names:
        one, number = name, 2
        while one in found:
            one, number = f"{name}_{number}", number + 1
        found[one] = None
    return list(found)
