"""The text table of a timeline: time, process, operation, result, data, and certainty of the name."""

from collections.abc import Iterator, Sequence
from datetime import UTC, tzinfo
from typing import Any

import pyarrow as pa

from cli.output.answer_columns import short_ids
from cli.output.columns import host_cells, text_cells
from cli.output.returned import key_facts_text
from cli.output.table import TextColumn, lay_out, lay_out_below
from cli.tables.meanings import class_cells, with_meaning
from tracer.registry.decoders import data_meaning
from tracer.registry.ntstatus import is_failure, status_name
from tracer.registry.operations import BY_NAME
from tracer.registry.quoting import quote_name
from tracer.registry.values import show_value, type_name
from tracer.schema import FLAGS

__all__ = [
    "DATA_WIDTH",
    "below_common",
    "data_cells",
    "note_cells",
    "process_cells",
    "time_cells",
    "timeline_lines",
    "value_cells",
]

_UNSURE = ("later", "partial", "none")
_EXPLAINED = {  # note -> (what it means, its letter on a terminal)
    "name: later": ("the key was named by evidence that came after the row", "l"),
    "name: partial": ("only the last components of the key's name are known", "p"),
    "name: none": ("nothing names the key", "n"),
    "name_ambiguous": ("embedded NULs allow another reading of the name", "a"),
    "data_truncated": ("fewer bytes were captured than the value holds", "t"),
    "previous_truncated": ("fewer bytes of the value before were captured than it held", "b"),
    "name_has_nul": ("a name holds a NUL, which hides it from Win32 programs", "h"),
    "across_loss": ("events may have been lost between the row and what names its key", "x"),
    "after_close": ("the key object's close was recorded before this row", "c"),
    "layout_prefix": ("a newer version of the event, read as far as it is known", "v"),
    "path_split": ("Procmon writes key and value as one path; where the key ends was inferred", "s"),
}
_NARROW = 100  # columns below which times end with milliseconds, and
_ONE_RESULT = 112  # below which what failed and what was read or written share a column
DATA_WIDTH = 200  # letters of one value, and
_BYTES = 32  # bytes of one in hex; the whole data is in CSV, JSONL and Parquet


def timeline_lines(
    rows: pa.Table, width: int | None = None, *, zone: tzinfo = UTC, color: bool = False
) -> Iterator[str]:
    """Yield the lines of a timeline.

    Args:
        rows: rows of the view `events`, in order.
        width: the columns of the terminal. A key stands on a line of its own where it changes, cells are shortened to
            fit, columns without content are left out, the date stands in the heading when all rows share it, and a
            status is shown where an operation did not succeed. None: every column, nothing shortened.
        zone: the zone times are shown in.
        color: whether failures stand out.
    """
    statuses = _values(rows, "status")
    names = _values(rows, "operation")
    keys = [
        shown or native
        for shown, native in zip(*(text_cells(rows, n) for n in ("display_key", "key")), strict=True)
    ]
    notes = _notes(rows)
    legend: list[str] = []
    if width is not None:  # a letter, explained below the table
        notes, legend = _footnotes(notes)
    time_title, times = time_cells(rows, zone, width)
    is_narrow = width is not None and width < _ONE_RESULT
    results, data = _results(statuses, names, width), data_cells(rows)
    failed = ["red" if code is not None and is_failure(code) else "" for code in statuses]
    if is_narrow:  # what failed has no data, as a rule
        data = ["; ".join(filter(None, cells)) for cells in zip(results, data, strict=True)]
    operations = [name or "?" for name in names]
    if is_narrow:
        operations = [BY_NAME[name].short if name in BY_NAME else name for name in operations]
    columns = [
        TextColumn(time_title, times, styles=["dim"] * len(times)),
        TextColumn("process", process_cells(rows), shrink="middle", least=20),
        TextColumn("operation", operations, shrink="end", least=13),
        TextColumn("key", [quote_name(key) if key else "" for key in keys]),
        TextColumn("value", value_cells(rows), shrink="middle", least=12),
        TextColumn("status", results, shrink="end", least=9, styles=failed),
        TextColumn("result" if is_narrow else "data", data, shrink="end", least=12, most=DATA_WIDTH,
                   styles=failed if is_narrow else None),
        TextColumn("note" if width is None else "", [("" if legend else ", ").join(words) for words in notes],
                   styles=["yellow"] * len(times)),
    ]  # fmt: skip
    if width is not None:
        out = ("key", "status") if is_narrow else ("key",)
        columns = [column for column in columns if column.title not in out]
        columns = [column for column in columns if any(column.cells)] or columns
    if hosts := host_cells(rows):
        columns.insert(1, TextColumn("host", hosts, shrink="middle", least=8))
    if width is None:
        yield from lay_out(columns, color=color)
    else:
        below = class_cells(rows)
        yield from lay_out_below(keys, columns, width=width, ids=short_ids(rows), labels=below, color=color)
    yield from legend


def _results(statuses: list[int | None], operations: list[str | None], width: int | None) -> list[str]:
    """Return the name of each status; on a terminal of those alone that are no success, ? where it is unknown."""
    if width is None:
        return ["" if code is None else status_name(code) for code in statuses]
    return [
        # --status takes both spellings. No close fails, and no event trace says how one ended.
        status_name(code).removeprefix("OBJECT_")
        if code
        else "?"
        if code is None and name != "CloseKey"
        else ""
        for code, name in zip(statuses, operations, strict=True)
    ]


def below_common(keys: Sequence[str]) -> tuple[str, list[str]]:
    r"""Return the common key of all `keys`, and the rest of each key below it.

    >>> below_common([r"HKLM\A\B", r"HKLM\A", ""])
    ('HKLM\\A', ['B', '.', ''])
    >>> below_common([r"HKLM\A", r"HKLM\A"])
    ('HKLM\\A', ['', ''])
    """
    paths = {key: key.split("\\") for key in keys if key}
    if not paths:
        return "", list(keys)
    first, last = min(paths.values()), max(paths.values())
    depth = next(
        (i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last))
    )
    if not any(first[:depth]):
        return "", list(keys)
    alone = "" if len(paths) == 1 else "."
    below = {key: "\\".join(parts[depth:]) for key, parts in paths.items()}
    shown = {key: quote_name(rest) if rest else alone for key, rest in below.items()}
    return "\\".join(first[:depth]), [shown.get(key, "") for key in keys]


def _values(rows: pa.Table, name: str) -> list[Any]:
    if name not in rows.schema.names:
        return [None] * rows.num_rows
    values: list[Any] = rows.column(name).to_pylist()
    return values


def time_cells(rows: pa.Table, zone: tzinfo, width: int | None) -> tuple[str, list[str]]:
    """Return heading and cells; on a terminal the common date moves up, on a narrow one microseconds go."""
    times = text_cells(rows, "time", zone=zone)
    days = {time[:10] for time in times if time}
    if width is not None and width < _NARROW:
        times = [time[:23] + time[26:] for time in times]
    if width is not None and len(days) == 1:
        return days.pop(), [time[11:] for time in times]
    return "time", times


def process_cells(rows: pa.Table) -> list[str]:
    """Return image and pid of each row, a question mark where unknown."""
    return [
        f"{_image(image)} ({pid})" if pid is not None else _image(image)
        for image, pid in zip(_values(rows, "process"), _values(rows, "pid"), strict=True)
    ]


def _image(name: str | None) -> str:
    if not name:
        return "?"
    # Behind an image stands its pid, in brackets.
    return quote_name(name) if not name.endswith(")") or name.startswith("(") else f'"{name}"'


def value_cells(rows: pa.Table) -> list[str]:
    """Return the value name of each row, "" where it has none."""
    return [
        "" if name is None else quote_name(name) if name else "(default)"
        for name in _values(rows, "value_name")
    ]


def data_cells(rows: pa.Table) -> list[str]:
    """Return the data that each row wrote or read, as text."""
    names = ("operation", "data_type", "data", "data_size", "previous_type", "previous_data", "previous_size",
             "disposition", "requested_name", "index", "detail")  # fmt: skip
    columns = [_values(rows, name) for name in names]
    meanings = [_meanings(rows, "data_"), _meanings(rows, "previous_")]
    return [_one_data(*values) for values in zip(*columns, *meanings, strict=True)]


def _meanings(rows: pa.Table, prefix: str) -> list[str | None]:
    """Return what data means; live rows have no column that says it."""
    if f"{prefix}meaning" in rows.schema.names:
        return _values(rows, f"{prefix}meaning")
    data = "data" if prefix == "data_" else f"{prefix}data"
    inputs = (_values(rows, name) for name in ("display_key", "value_name", f"{prefix}type", data))
    return [data_meaning(*row) for row in zip(*inputs, strict=True)]


def _one_data(
    operation: str | None,
    kind: int | None,
    data: bytes | None,
    size: int | None,
    previous_kind: int | None,
    previous: bytes | None,
    previous_size: int | None,
    disposition: int | None,
    requested: str | None,
    index: int | None,
    detail: str | None,
    meaning: str | None,
    previous_meaning: str | None,
) -> str:
    def shown(kind: int | None, data: bytes | None, size: int | None, means: str | None) -> str:
        return with_meaning(show_value(kind, data, size, limit=_BYTES), means)

    parts = []
    if index is not None:
        parts.append(f"index {index}")
    if operation == "CreateKey" and disposition is not None:
        parts.append({1: "new key", 2: "existing key"}.get(disposition, f"disposition {disposition}"))
    if operation == "RenameKey" and requested:
        parts.append(f"to {requested}")
    text = key_facts_text(operation, detail) or shown(kind, data, size, meaning)
    if kind is not None and data is None and size is None:
        text = type_name(kind)  # a read that asked for no more
    if data is None and size == 0:
        # Nothing was captured because there is nothing; without a type nobody can tell of what.
        text = "" if kind is None else show_value(kind, b"", 0)
    if previous is not None or previous_size is not None:
        before = shown(previous_kind, previous, previous_size, previous_meaning)
        text = f"{text}, was {before}".removeprefix(", ")
    if text:
        parts.append(text)
    return "; ".join(parts)


def note_cells(rows: pa.Table) -> list[str]:
    """Return the letters of each row's notes, as a timeline on a terminal shows them."""
    return ["".join(letters) for letters in _footnotes(_notes(rows))[0]]


def _notes(rows: pa.Table) -> list[list[str]]:
    return [
        [*_unsure(source), *_flag_names(flags)]
        for source, flags in zip(_values(rows, "name_source"), _values(rows, "flags"), strict=True)
    ]


def _footnotes(notes: list[list[str]]) -> tuple[list[list[str]], list[str]]:
    """Return the notes as letters, and the lines that explain the letters."""
    meanings = {name: meaning for name, (meaning, _) in _EXPLAINED.items()}
    used = sorted({note for words in notes for note in words}, key=list(_EXPLAINED).index)
    return (
        [[_EXPLAINED[note][1] for note in words] for words in notes],
        [f"{_EXPLAINED[note][1]}: {meanings[note]}" for note in used],
    )


def _unsure(source: str | None) -> Sequence[str]:
    return [f"name: {source}"] if source in _UNSURE else []


def _flag_names(flags: int | None) -> list[str]:
    return [name for name, bit in FLAGS.items() if flags is not None and flags & bit]
