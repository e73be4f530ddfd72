"""The text table of differences: the thing, its side, and the values of both sides."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, tzinfo

import pyarrow as pa

from cli.output.answer_columns import short_ids
from cli.output.columns import text_cells
from cli.output.phrases import plural
from cli.output.table import TextColumn, lay_out, lay_out_below, path_line, text_line
from cli.tables.meanings import with_meaning
from cli.tables.timeline import DATA_WIDTH, below_common, value_cells
from tracer.registry.text import fold_name
from tracer.registry.values import show_value

__all__ = ["diff_lines", "diff_summary"]

_SIDES = {"only_a": "only a", "only_b": "only b", "differs": "differs"}
_STYLES = {"only_a": "red", "only_b": "yellow", "differs": ""}
_WIDE = 140
_NARROW = 100  # columns; on narrower terminals contents longer than a word have a line each
_WORD = 12
_BYTES = 64  # of a value in hex
_SHOWN_WIDTH = 60  # of one value on a terminal, where two stand beside each other


def diff_lines(
    rows: pa.Table, width: int | None = None, *, zone: tzinfo = UTC, color: bool = False
) -> Iterator[str]:
    """Yield the lines of a table of differences; a side without the thing has an empty cell."""
    del zone  # no time is shown: those of two captures do not compare
    keys = [a or b for a, b in zip(text_cells(rows, "a_key"), text_cells(rows, "b_key"), strict=True)]
    others = [
        b if a and b and fold_name(a) != fold_name(b) else ""
        for a, b in zip(text_cells(rows, "a_key"), text_cells(rows, "b_key"), strict=True)
    ]
    paths = keys
    in_a, in_b = (
        short_ids(rows, "a_key_id"),
        [f"{one} in b" if one else "" for one in short_ids(rows, "b_key_id")],
    )
    ids = [one or other for one, other in zip(in_a, in_b, strict=True)]
    is_below = width is not None and width < _WIDE  # keys stand above their rows
    if width is not None and not is_below:
        common, keys = below_common(keys)
        if common:  # said once, above the table, instead of in every row
            yield path_line(common, width, color=color)
    most = DATA_WIDTH if width is None else _SHOWN_WIDTH
    a, b = _state(rows, "a"), _state(rows, "b")
    after: list[list[str]] = []
    if width is not None and width < _NARROW:
        after = [_below(pair, width) for pair in zip(a, b, strict=True)]
        a, b = ([cell if not some else "" for cell, some in zip(side, after, strict=True)] for side in (a, b))
    sides = text_cells(rows, "side")
    columns = [
        TextColumn("side", [_SIDES[side] for side in sides], styles=[_STYLES[side] for side in sides]),
        TextColumn("what", _what(rows)),
        TextColumn("key", keys, shrink="middle", least=24, ids=ids),
        *([TextColumn("key in b", others, shrink="middle", least=24, ids=in_b)] if any(others) else []),
        TextColumn("value", value_cells(rows), shrink="middle", least=8),
        TextColumn("process", _processes(rows), shrink="middle", least=12),
        TextColumn("a", a, shrink="end", least=10, most=most),
        TextColumn("b", b, shrink="end", least=10, most=most),
    ]
    if width is not None:
        columns = [
            column for column in columns if any(column.cells) and not (is_below and column.title == "key")
        ] or columns
    if width is not None and is_below:
        yield from lay_out_below(paths, columns, width=width, ids=ids, after=after, color=color)
    else:
        yield from lay_out(columns, width=width, color=color)


def diff_summary(rows: pa.Table) -> str:
    """Return the number of differences of each kind, in one line."""
    counts = Counter(rows.column("what").to_pylist())
    plurals = {"process": "processes"}
    parts = [
        plural(counts[what], what)
        if counts[what] == 1 or what not in plurals
        else f"{counts[what]:,} {plurals[what]}"
        for what in ("key", "value", "process", "operation")
        if counts[what]
    ]
    return f"{plural(rows.num_rows, 'difference')}: {', '.join(parts)}" if parts else "no difference"


def _below(pair: tuple[str, str], width: int) -> list[str]:
    """Return the lines with the two sides of a row; none where both are short enough for columns."""
    if max(map(len, pair)) <= _WORD:
        return []
    return [text_line(f"      {side}  {cell}", width) for side, cell in zip("ab", pair, strict=True) if cell]


def _what(rows: pa.Table) -> list[str]:
    operations = text_cells(rows, "operation")
    return [operation or what for what, operation in zip(text_cells(rows, "what"), operations, strict=True)]


def _processes(rows: pa.Table) -> list[str]:
    """Return the process of each row about a process; other formats also have the process of a value's change."""
    return text_cells(rows, "process")


def _state(rows: pa.Table, side: str) -> list[str]:
    """Return the cell of a side: a value's content, a word, or a count."""
    cells = []
    for what, known, text, count, meaning, *content in zip(
        *(
            rows.column(name).to_pylist()
            for name in (
                "what",
                *(f"{side}_{name}" for name in ("known", "text", "count", "meaning", "type", "data", "size")),
            )
        ),
        strict=True,
    ):
        if what in ("operation", "process"):
            cells.append("" if count is None else f"{count:,}x")
        elif known in ("write", "read"):
            shown = with_meaning(show_value(*content, limit=_BYTES), meaning)
            cells.append("[not captured]" if text is None else shown)
        else:
            cells.append(known or "")
    return cells
