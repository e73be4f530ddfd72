"""Cells of the view's tables as plain text: nothing in a capture is markup or obeyed by the terminal."""

from datetime import UTC, tzinfo

import pyarrow as pa
from rich.text import Text

from analysis.questions.baseline import OPERATION
from cli.output.safe import visible
from cli.tables.history import content_cell
from cli.tables.timeline import process_cells, time_cells, value_cells

__all__ = ["VALUE_TITLES", "WRITE_TITLES", "plain", "value_rows", "write_rows"]

VALUE_TITLES = ("value", "data", "known", "when", "who")
WRITE_TITLES = ("when", "who", "value", "was done", "old data", "new data")
_NARROW = 80  # columns: times without microseconds
_STYLES = {"unknown": "yellow", "absent": "dim", "deleted": "dim"}
_DONE = {
    "SetValueKey": "set",
    "DeleteValueKey": "deleted",
    "DeleteKey": "key deleted",
    "RenameKey": "key renamed",
}


def plain(text: str, style: str = "", most: int | None = None, *, end: bool = False) -> Text:
    """Return text as it is shown.

    Args:
        text: any text.
        style: rich's name of a style.
        most: how many letters of it; None for all.
        end: leave out the beginning, where it is too long, and not the end.
    """
    shown = visible(text)
    if most is not None and len(shown) > most:
        shown = f"…{shown[1 - most :]}" if end else f"{shown[: most - 1]}…"
    return Text(shown, style=style, no_wrap=True, end="")


def value_rows(rows: pa.Table, *, zone: tzinfo = UTC, width: int = _NARROW) -> list[list[Text]]:
    """Return a row of cells for each row of a state; the key's own row stands first and is called (key).

    Args:
        rows: the state of one key.
        zone: of the times.
        width: of the terminal, columns: what shortens names and data.
    """
    of = {name: rows.column(name).to_pylist() for name in rows.schema.names}
    data = [content_cell(*one) for one in zip(of["type"], of["data"], of["size"], of["meaning"], strict=True)]
    by = [
        "a hive" if operation == OPERATION else cell
        for operation, cell in zip(of["operation"], process_cells(rows), strict=True)
    ]
    times = time_cells(rows, zone, _NARROW)[1]
    names = [
        "(key)" if name is None else cell
        for name, cell in zip(of["value_name"], value_cells(rows), strict=True)
    ]
    how = [
        f"{now} (was: {before})" if now == "unknown" and before else now or ""
        for now, before in zip(of["known"], of["last_known"], strict=True)
    ]
    cells = [
        [
            plain(name, most=max(18, width // 6)),
            plain(told, most=max(20, width // 4)),
            plain(word, _STYLES.get(now, "")),
            plain(time),
            plain(who),
        ]
        for name, told, word, now, time, who in zip(names, data, how, of["known"], times, by, strict=True)
    ]
    order = sorted(range(len(cells)), key=lambda row: (of["value_name"][row] is not None, names[row].upper()))
    return [cells[row] for row in order]


def write_rows(rows: pa.Table, *, zone: tzinfo = UTC) -> list[list[Text]]:
    """Return a row of cells for each row of a history, in its order."""
    of = {name: rows.column(name).to_pylist() for name in rows.schema.names}
    told = {
        age: [
            content_cell(*one)
            for one in zip(
                *(of[f"{age}_{name}"] for name in ("type", "data", "size", "meaning")), strict=True
            )
        ]
        for age in ("old", "new")
    }
    done = [
        _DONE.get(name, name) if done is not False else f"failed: {status or '?'}"
        for name, done, status in zip(of["operation"], of["done"], of["status_name"], strict=True)
    ]
    columns = (
        time_cells(rows, zone, _NARROW)[1],
        process_cells(rows),
        value_cells(rows),
        done,
        told["old"],
        told["new"],
    )
    return [[plain(cell, most=32) for cell in row] for row in zip(*columns, strict=True)]
