r"""Net changes as a table in Markdown (GitHub's), for tickets and wikis.

Names and data stand in code spans, where neither Markdown nor HTML means anything; a pipe, which ends a cell even there,
is escaped, and what is not printable is shown as ``\u{HEX}``.
"""

import re
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from analysis.regfile.syntax import printable
from tracer.registry.values import decode_value

__all__ = ["code_span", "markdown_table"]

_TITLES = ("change", "value", "before", "after", "by", "at")
_LONGEST = 200  # letters of data


def markdown_table(changes: pa.Table, *, about: Sequence[str] = ()) -> str:
    """Return a document: what it is about, then a heading and a table for each key.

    Args:
        changes: rows of `analysis.answers.net_changes.NET_CHANGES`.
        about: lines that stand at the top.
    """
    by_key: dict[str, list[dict[str, Any]]] = {}
    for row in changes.to_pylist():
        by_key.setdefault(row["display_key"], []).append(row)
    lines = ["# Net changes", "", *(f"* {code_span(line)}" for line in about)]
    for key, rows in by_key.items():
        lines += ["", f"## {code_span(key)}", "", f"| {' | '.join(_TITLES)} |", "| --- " * len(_TITLES) + "|"]
        lines += [f"| {' | '.join(_cells(row))} |" for row in rows]
    if not by_key:
        lines += ["", "There are none."]
    return "\n".join(lines) + "\n"


def code_span(text: str) -> str:
    r"""Return any text as a code span that is safe in a cell of a table; empty text is empty.

    >>> code_span("a|b")
    '`a\\|b`'
    """
    if not text:
        return ""
    shown = printable(text)
    longest = max((len(run) for run in re.findall("`+", shown)), default=0)
    fence = "`" * (longest + 1)
    # A space at each side is taken off again by readers; needed where a backtick or space stands there.
    padded = f" {shown} " if shown[0] in "` " or shown[-1] in "` " else shown
    return fence + padded.replace("|", "\\|") + fence


def _cells(row: dict[str, Any]) -> list[str]:
    is_key = row["value_name"] is None
    process = row["process"] or ""
    by = f"{process} ({row['pid']})" if row["pid"] is not None else process
    at = "" if row["last_time"] is None else row["last_time"].strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return [
        f"key {row['change']}" if is_key else row["change"],
        "" if is_key else code_span(row["value_name"]) or "(default)",
        "" if is_key else _content(row, "before"),
        "" if is_key else _content(row, "after"),
        code_span(by),
        at,
    ]


def _content(row: dict[str, Any], side: str) -> str:
    if row[f"{side}_from"] == "absent" or (side == "after" and row["change"] == "removed"):
        return "(none)"
    if row[f"{side}_type"] is None and row[f"{side}_data"] is None:
        return "?"
    text = decode_value(row[f"{side}_type"], row[f"{side}_data"], row[f"{side}_size"])
    return code_span(text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({len(text):,} letters)")
