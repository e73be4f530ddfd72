"""The text table of a tree of keys: each key below its parent, with a bar for its share."""

from collections.abc import Iterator
from datetime import UTC, tzinfo

import pyarrow as pa

from cli.output.amounts import duration_cells, share_cells
from cli.output.answer_columns import drop_empty_columns, short_ids
from cli.output.columns import text_cells
from cli.output.table import TextColumn, lay_out

__all__ = ["tree_lines"]

_COUNTS = ("failures", "writes", "unclear_writes", "reads", "opens", "not_found", "keys", "processes")
_WIDE, _VERY_WIDE = 120, 170
_BAR = 16  # letters of a whole bar


def tree_lines(
    rows: pa.Table, width: int | None = None, *, as_tree: bool = True, zone: tzinfo = UTC, color: bool = False
) -> Iterator[str]:
    """Yield the lines of an answer of `analysis.answers.tree`; the keys are the last column.

    Args:
        rows: the answer.
        width: the columns of the terminal; None: every column, nothing shortened.
        as_tree: rows are in the order of the tree: a key is shown by its last component, indented by its
            level. Otherwise each is shown by its path.
        zone: the zone times are shown in.
        color: whether failures stand out.
    """
    columns = [
        TextColumn("events", text_cells(rows, "events"), right=True),
        TextColumn("own", text_cells(rows, "own_events"), right=True),
        TextColumn("share", share_cells(rows, "share"), right=True),
    ]
    if width is None or width >= _WIDE:
        bars = ["" if share is None else _bar(share) for share in rows.column("share").to_pylist()]
        columns.append(TextColumn("", bars, styles=["dim"] * len(bars)))
    for name in _COUNTS:
        cells = text_cells(rows, name)
        red = ["red" if name == "failures" and cell != "0" else "" for cell in cells]
        columns.append(TextColumn(name.replace("_", " "), cells, right=True, optional=True, styles=red))
    columns.append(TextColumn("time spent", duration_cells(rows, "time_spent_ns"), right=True, optional=True))
    if width is None or width >= _VERY_WIDE:
        for name in ("bytes_read", "bytes_written"):
            columns.append(
                TextColumn(name.replace("_", " "), text_cells(rows, name), right=True, optional=True)
            )
    if width is None:
        for name in ("first_time", "last_time"):
            columns.append(TextColumn(name.replace("_", " "), text_cells(rows, name, zone=zone)))
    keys = text_cells(rows, "display_key")
    if as_tree:
        names, levels = text_cells(rows, "name"), rows.column("level").to_pylist()
        keys = ["  " * level + name for level, name in zip(levels, names, strict=True)]
    columns = drop_empty_columns(rows, columns, width)
    columns.append(TextColumn("key", keys, shrink="middle", least=38, ids=short_ids(rows)))
    yield from lay_out(columns, width=width, color=color)


def _bar(share: float) -> str:
    """Return a bar for a share, at least one letter long for a share above 0.

    >>> _bar(0.5), _bar(0.001)
    ('########', '#')
    """
    return "#" * max(1, round(share * _BAR)) if share > 0 else ""
