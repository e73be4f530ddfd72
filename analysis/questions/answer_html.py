r"""Answers as a notebook shows them: keys that can be read, the columns people look at first, and what is in doubt.

An answer is a plain DataFrame, of which pandas would show 50 letters of each key: ``HKU\S-1-5-21-3706294487-16601191...``
for every key of a user. In a notebook IPython is told how to show frames that have our `attrs`; all others are shown by pandas.
"""

import html
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from tracer.registry.safe_text import visible
from tracer.registry.text import plural
from tracer.registry.user_keys import as_current_user, sid_of

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["ROOTS", "answer_html", "show_in_notebook"]

ROOTS = "user_roots"  # of `attrs`: SID -> what keys of that user begin with in a table, such as HKCU or HKCU (alice)
_DOUBTS = "doubts"  # of `attrs` of every answer
_MOST_COLUMNS = 12
_DEFAULTS = (0, 20)  # pandas' own `display.max_columns`: as many as fit, and in a notebook
_KEY = 76  # letters of a key, shortened in the middle, for both its ends tell
_TEXT = 48  # letters of another text
_BYTES = 12
_KEYS = ("display_key", "key")
# Columns for programs, or said by another one: shown when the others are few.
_BEHIND = frozenset(
    {
        "key", "key_user", "key_id", "process_id", "handle_id", "status", "sequence", "flags", "time_ns", "type",
        "data_type", "previous_type", "before_type", "after_type", "old_type", "new_type", "data", "previous_data",
        "before_data", "after_data", "old_data", "new_data", "before_size", "after_size", "old_size", "new_size",
        "before_from", "after_from", "old_from", "old_sequence", "information_class",
    }
)  # fmt: skip
# In the elements themselves: JupyterLab takes style sheets out of notebooks that it does not trust yet.
_TEXT_CELL = ' style="text-align:left;white-space:nowrap"'
_NUMBER_CELL = ' style="text-align:right;white-space:nowrap"'
_LINE = ' style="opacity:.75;margin:.2em 0"'


def show_in_notebook() -> None:
    """Tell IPython, where a notebook runs, how to show answers; a form that somebody else gave frames stays."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if getattr(shell, "kernel", None) is None:
        return
    import pandas as pd

    formatter = shell.display_formatter.formatters["text/html"]  # type: ignore[union-attr]
    if pd.DataFrame not in formatter.type_printers:
        formatter.for_type(pd.DataFrame, _html_of)


def _html_of(frame: "pd.DataFrame") -> str | None:
    text: str | None = answer_html(frame) if _DOUBTS in frame.attrs else frame._repr_html_()  # type: ignore[operator]
    return text


def answer_html(frame: "pd.DataFrame") -> str:
    """Return an answer as HTML; pandas' options `display.max_rows`, `min_rows` and `max_columns` are kept to."""
    import pandas as pd

    most_rows = pd.get_option("display.max_rows") or len(frame)
    some = pd.get_option("display.min_rows") or most_rows
    is_cut = len(frame) > most_rows
    ends = (some // 2 + some % 2, some // 2) if is_cut else (len(frame), 0)
    names = [str(name) for name in frame.columns]
    shown = pd.concat([frame.iloc[: ends[0]], frame.iloc[len(frame) - ends[1] :]]) if is_cut else frame
    places = _chosen(shown, names)
    roots = frame.attrs.get(ROOTS, {})
    columns = [_column(shown.iloc[:, place], names[place], roots) for place in places]
    lines = ["<tr><th></th>"]
    lines += [f"<th{_of(is_number)}>{html.escape(visible(name))}</th>" for name, _, is_number in columns]
    lines.append("</tr></thead><tbody>")
    for row, label in enumerate(shown.index):
        if is_cut and row == ends[0]:
            lines.append(f"<tr><th>…</th>{f'<td{_TEXT_CELL}>…</td>' * len(columns)}</tr>")
        cells = "".join(
            f"<td{_of(is_number)}>{html.escape(cells[row])}</td>" for _, cells, is_number in columns
        )
        lines.append(f"<tr><th>{html.escape(visible(str(label)))}</th>{cells}</tr>")
    table = f'<table border="1" class="dataframe"><thead>{"".join(lines)}</tbody></table>'
    return f"<div>{table}{_below(frame, [names[place] for place in places])}</div>"


def _of(is_number: bool) -> str:
    return _NUMBER_CELL if is_number else _TEXT_CELL


def _chosen(shown: "pd.DataFrame", names: list[str]) -> list[int]:
    """Return the places of the columns to show: those people look at, and not those without content."""
    import pandas as pd

    asked = pd.get_option("display.max_columns")
    most = len(names) if asked is None else _MOST_COLUMNS if asked in _DEFAULTS else asked
    if len(names) <= most:
        return list(range(len(names)))
    filled = [place for place in range(len(names)) if not len(shown) or shown.iloc[:, place].notna().any()]
    first = [
        place
        for place in filled
        if names[place] not in _BEHIND or (names[place] == "key" and "display_key" not in names)
    ]
    return first[:most]


def _column(column: "pd.Series[Any]", name: str, roots: Mapping[str, str]) -> tuple[str, list[str], bool]:
    """Return the title of a column, its cells as text, and whether they are numbers."""
    import pandas as pd

    values = [None if _is_missing(value) else value for value in column.tolist()]
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        return (*_times(name, values, str(column.dtype.tz)), False)
    is_number = pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype)
    tell: Callable[[Any], str] = str
    if name in _KEYS:
        tell = lambda path: _middle(_spelled(str(path), roots), _KEY)  # noqa: E731
    elif name == "status" and is_number:
        tell = lambda status: f"0x{int(status):08X}"  # noqa: E731
    elif is_number:
        tell = lambda number: f"{number:,.4g}" if isinstance(number, float) else f"{number}"  # noqa: E731
    return name, ["" if value is None else _text(value, tell) for value in values], is_number


def _times(name: str, values: list[Any], zone: str) -> tuple[str, list[str]]:
    """Return the title and the cells of a column of times; zone and, where all share it, date stand in the title."""
    days = {value.strftime("%Y-%m-%d") for value in values if value is not None}
    day = days.pop() if len(days) == 1 else None
    form = "%H:%M:%S.%f" if day else "%Y-%m-%d %H:%M:%S.%f"
    title = f"{name} ({day} {zone})" if day else f"{name} ({zone})"
    return title, ["" if value is None else value.strftime(form) for value in values]


def _is_missing(value: object) -> bool:
    import pandas as pd

    return value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and value != value)


def _text(value: object, tell: Callable[[Any], str]) -> str:
    if isinstance(value, bytes):
        return value[:_BYTES].hex(" ") + (f" … ({len(value):,} bytes)" if len(value) > _BYTES else "")
    text = visible(tell(value))
    most = _KEY if tell is not str else _TEXT
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _spelled(path: str, roots: Mapping[str, str]) -> str:
    root = roots.get(sid_of(path) or "")
    return path if root is None else as_current_user(path, root)


def _middle(text: str, most: int) -> str:
    if len(text) <= most:
        return text
    head = most // 3
    return f"{text[:head]}…{text[head + 1 - most :]}"


def _below(frame: "pd.DataFrame", shown: list[str]) -> str:
    """Return the lines below the table: how much there is, which columns are not shown, and what is in doubt."""
    rows, names = len(frame), [str(name) for name in frame.columns]
    said = [f"{plural(rows, 'row')} × {plural(len(names), 'column')}"]
    rest = [name for name in names if name not in shown]
    if rest and rows:
        said[0] += f"; not shown: {', '.join(rest)}"
    said += [str(frame.attrs[name]) for name in ("empty", "cut", "users") if frame.attrs.get(name)]
    said += [f"in doubt: {sentence}" for sentence in frame.attrs.get(_DOUBTS, ())]
    return "".join(f"<p{_LINE}>{html.escape(visible(line))}</p>" for line in said)
