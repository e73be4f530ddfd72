"""The page of a chain of causes: who wrote, what may have led to it, and what came of it."""

import textwrap
from collections.abc import Iterator, Mapping
from datetime import UTC, tzinfo
from pathlib import Path
from typing import Any

import pyarrow as pa

from analysis.causes.graph import graph_page, graph_svg
from analysis.questions.why import NOT_PROOF
from cli.output.amounts import duration_text
from cli.output.columns import host_cells, text_cells
from cli.output.console import with_style
from cli.output.files import open_target
from cli.output.safe import visible
from cli.output.table import cell_width, cut_end, cut_middle
from cli.tables.meanings import with_meaning
from cli.tables.timeline import process_cells, value_cells
from tracer.registry.quoting import quote_name
from tracer.registry.value_columns import with_texts
from tracer.registry.values import show_value

__all__ = ["save_graph", "why_lines"]

_WHOLE = 10_000  # columns of a page that nobody fits to a terminal
_STEP = 4
_PARENT = 2  # columns by which a parent is further in than its child
_COMMAND_LINES = 2  # of a command line that are shown
_BYTES = 40
_Row = Mapping[str, Any]


def save_graph(path: Path, rows: pa.Table, *, title: str, force: bool) -> None:
    """Write the chain as a page (.html) or a picture (.svg); of many captures the first one's."""
    listed = with_texts(rows).to_pylist()
    first = next((place for place, row in enumerate(listed) if place and row["of"] is None), len(listed))
    chain = listed[:first]
    svg = path.suffix.lower() == ".svg"
    text = (
        graph_svg(chain, title=title)
        if svg
        else graph_page(chain, title=title, notes=[f"Note: {NOT_PROOF}."])
    )
    with open_target(path, force=force) as stream:
        stream.write(text.encode("utf-8", "backslashreplace"))


def why_lines(
    rows: pa.Table, width: int | None = None, *, zone: tzinfo = UTC, color: bool = False
) -> Iterator[str]:
    """Yield the lines of an answer of `analysis.questions.why`, as a tree.

    Args:
        rows: the rows.
        width: the columns of the terminal; None shortens nothing.
        zone: the zone that times are shown in.
        color: whether the terminal shows colors.
    """
    page = _Page(rows, width or _WHOLE, zone, color)
    tops = [place for place, row in enumerate(page.rows) if row["of"] is None]
    if not tops:
        return
    for top, end in zip(tops, [*tops[1:], len(page.rows)], strict=True):
        if top:
            yield ""
        yield from page.head(top)
        for direction, (title, nothing) in _TITLES.items():
            yield ""
            yield page.styled(title, "bold")
            places = [place for place in range(top, end) if page.rows[place]["direction"] == direction]
            for place in places:
                yield from page.link(place)
            if not places:
                yield page.cut(f"  {nothing}")
    yield ""
    for line in textwrap.wrap(f"Note: {NOT_PROOF}.", min(page.width, 100)):
        yield page.styled(line, "dim")


_TITLES = {
    "who": ("Who", "the process is not known"),
    "cause": ("What may have led to it", "no read of a value before it fits a rule"),
    "effect": ("What came of it", "no read of it is known before the next write or the end"),
}


class _Page:
    def __init__(self, rows: pa.Table, width: int, zone: tzinfo, color: bool) -> None:
        self.rows = rows.to_pylist()
        self.width, self._color = width, color
        self._times = text_cells(rows, "time", zone=zone)
        self._hosts = host_cells(rows) or [""] * rows.num_rows
        self._processes = process_cells(rows)
        self._values = value_cells(rows)
        self._depths: dict[tuple[str, int], int] = {}

    def styled(self, text: str, style: str) -> str:
        return with_style(text, style) if self._color else text

    def head(self, place: int) -> Iterator[str]:
        """Yield what is asked about."""
        row = self.rows[place]
        self._depths = {}
        if self._hosts[place]:
            yield self.styled(visible(self._hosts[place]), "bold")
        yield self.styled(self._key(row, self.width), "bold")
        yield self.cut(f"  {self._values[place]}{self._content(row)}")
        thread = "" if row["thread_id"] is None else f", thread {row['thread_id']}"
        yield self.cut(f"  {_verb(row)} at {self._times[place]} by {self._processes[place]}{thread}")

    def link(self, place: int) -> Iterator[str]:
        """Yield the lines of one link below another."""
        row = self.rows[place]
        level = self._depths.get((row["direction"], row["of"]), -1) + 1
        self._depths[row["direction"], row["link"]] = level
        if row["what"] == "process":
            yield from self._process(place, "  " + " " * _PARENT * level)
            return
        indent = "  " + " " * _STEP * level
        lead = f"{indent}{row['weight']:>3}  "
        inside = " " * len(lead)
        room = max(self.width - len(lead), 20)
        value = self._values[place]
        name = visible(f" : {value}" if value else "")
        title = cut_end(self._key(row, max(room - cell_width(name), 12)) + name, self.width - len(lead))
        yield lead + self.styled(title, "bold")
        if content := self._content(row):
            yield self.cut(inside + content.strip())
        yield self.cut(inside + self._deed(place))
        for line in textwrap.wrap(self._rules(row), room):
            yield inside + self.styled(cut_end(line, self.width - len(inside)), "dim")

    def _process(self, place: int, indent: str) -> Iterator[str]:
        row = self.rows[place]
        parent = "started by " if row["depth"] else ""
        yield self.cut(f"{indent}{parent}{self._processes[place]}")
        said = visible(row["command_line"] or "command line not known")
        lines = textwrap.wrap(said, max(self.width - len(indent) - 2, 20)) or [said]
        for line in lines[:_COMMAND_LINES]:
            last = line is lines[_COMMAND_LINES - 1] if len(lines) > _COMMAND_LINES else False
            yield f"{indent}  " + self.styled(
                cut_end(f"{line}…", self.width - len(indent) - 2, "…") if last else line, "dim"
            )

    def _key(self, row: _Row, room: int) -> str:
        return cut_middle(visible(quote_name(row["display_key"])) if row["display_key"] else "(no key)", room)

    def cut(self, text: str) -> str:
        return cut_end(visible(text), self.width)

    def _content(self, row: _Row) -> str:
        if row["what"] not in ("write", "read"):
            return ""
        if row["data"] is None and row["data_size"] is None:
            return " = ? (the data was not captured)"
        shown = show_value(row["data_type"], row["data"], row["data_size"], limit=_BYTES)
        return f" = {with_meaning(shown, row.get('data_meaning'))}"

    def _deed(self, place: int) -> str:
        """Return who did it, how often, and how far it is from the operation above."""
        row = self.rows[place]
        thread = "" if row["thread_id"] is None else f" thread {row['thread_id']}"
        times = f" {row['times']:,} times, the nearest" if row["times"] > 1 and row["direction"] == "cause" else (
            f" {row['times']:,} times, first" if row["times"] > 1 else "")  # fmt: skip
        side = "before" if row["direction"] == "cause" else "after"
        return f"{_verb(row)} by {self._processes[place]}{thread}{times}, {duration_text(row['apart_ns'])} {side}"

    def _rules(self, row: _Row) -> str:
        said = [row["rules"] or ""]
        if "no write of it before" in (row["evidence"] or ""):
            said.append("no write of it before is in this capture")
        return "; ".join(filter(None, said))


def _verb(row: _Row) -> str:
    if row["operation"] == "DeleteKey":
        return "deleted with its key"
    return {"write": "written", "delete": "deleted", "read": "read", "missing": "looked for, and missing,"}[
        row["what"]
    ]
