"""`regtrace schema`: the tables of a capture, as tracer.schema defines them."""

import json
from collections.abc import Iterator
from difflib import get_close_matches
from enum import StrEnum
from typing import Annotated

import typer

from cli.commands.list import JOINED_COLUMNS
from cli.options.common import Example, Force, OutputFile
from cli.output.console import console, is_terminal, terminal_width
from tracer.errors import UsageError
from tracer.schema import FLAGS, FORMAT_VERSION, NAME_SOURCES, SEED, TABLES, Table

__all__ = ["EXAMPLES", "schema", "schema_as_markdown"]

EXAMPLES = (
    Example("regtrace schema", "every table, every column, what NULL means"),
    Example("regtrace schema events keys", "only these tables"),
    Example("regtrace schema --format json | jq '.tables[].name'", "for a program"),
    Example("regtrace schema --format markdown -o docs/schema.md --force", "the page of the documentation"),
)


_ALL = {**TABLES, SEED.name: SEED}


class SchemaFormat(StrEnum):
    """The format of the schema."""

    TABLE = "table"
    JSON = "json"
    MARKDOWN = "markdown"


def schema(
    tables: Annotated[
        list[str] | None, typer.Argument(metavar="[TABLE]...", help="Tables to print. Default: all.")
    ] = None,
    format: Annotated[  # noqa: A002
        SchemaFormat, typer.Option("--format", "-f", help="How to write it.")
    ] = SchemaFormat.TABLE,
    output: OutputFile = None,
    force: Force = False,
) -> None:
    """Print the tables and columns of a capture.

    Says for every column what it is, in which unit, and what NULL means. The same words are stored nowhere
    else: the page docs/schema.md is made from them.
    """
    from cli.output.destination import write_lines

    selection = [_find(name) for name in tables or _ALL]
    path = None if output is None or str(output) == "-" else output
    if format is SchemaFormat.JSON:
        lines = schema_as_json(selection)
    elif format is SchemaFormat.MARKDOWN:
        lines = schema_as_markdown(selection)
    else:
        import sys

        fits = path is None and is_terminal(sys.stdout)
        lines = _schema_as_table(selection, terminal_width() if fits else None)
    write_lines(lines, path, force=force)
    if not tables and format is SchemaFormat.TABLE:
        console.hint("regtrace list operations", "regtrace schema events")


def schema_as_json(tables: list[Table]) -> Iterator[str]:
    """Yield the lines of one JSON object that describes `tables`."""
    yield json.dumps(
        {
            "format_version": FORMAT_VERSION,
            "tables": [
                {
                    "name": table.name,
                    "meaning": table.meaning,
                    "columns": [
                        {"name": column.name, "type": column.kind, "meaning": column.meaning}
                        for column in table.columns
                    ],
                }
                for table in tables
            ],
            "name_sources": NAME_SOURCES,
            "flags": FLAGS,
        },
        indent=2,
    )


def schema_as_markdown(tables: list[Table]) -> Iterator[str]:
    """Yield the lines of a Markdown page that describes `tables`."""
    yield "# The tables of a capture"
    yield ""
    yield f"Made by `regtrace schema --format markdown`; format version {FORMAT_VERSION}."
    yield "NULL means unknown or not applicable, never 0 and never empty text."
    for table in tables:
        yield from ("", f"## {table.name}", "", _cell(table.meaning), "")
        yield from ("| column | type | meaning |", "| --- | --- | --- |")
        for column in table.columns:
            yield f"| `{column.name}` | {column.kind} | {_cell(column.meaning)} |"
    yield from (
        "",
        "## The view `events`",
        "",
        "What timelines and SQL see: the table with names joined. It adds:",
        "",
    )
    yield from ("| column | type | meaning |", "| --- | --- | --- |")
    for name, (kind, meaning) in JOINED_COLUMNS.items():
        yield f"| `{name}` | {kind} | {_cell(meaning)} |"
    yield from ("", "## Where a name came from", "", "| `name_source` | meaning |", "| --- | --- |")
    for name, meaning in NAME_SOURCES.items():
        yield f"| `{name}` | {_cell(meaning)} |"
    yield from ("", "## Flags", "", "| bit | flag |", "| --- | --- |")
    for name, bit in FLAGS.items():
        yield f"| {bit} | `{name}` |"


def _find(name: str) -> Table:
    if name in _ALL:
        return _ALL[name]
    close = get_close_matches(name.lower(), _ALL, n=1)
    hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(_ALL)}"
    raise UsageError(f"unknown table {name!r}; {hint}")


def _cell(text: str) -> str:
    """Return text escaped for a table in Markdown; backticks keep their meaning."""
    if "`" not in text:
        text = text.replace("\\", "\\\\").replace("*", "\\*")
    return text.replace("|", "\\|").replace("<", "\\<")


def _schema_as_table(tables: list[Table], width: int | None) -> Iterator[str]:
    import textwrap

    name_width = max(len(column.name) for table in tables for column in table.columns)
    kind_width = max(len(column.kind) for table in tables for column in table.columns)
    indent = " " * (name_width + kind_width + 6)
    for number, table in enumerate(tables):
        if number:
            yield ""
        yield (
            f"{table.name}: {table.meaning}"
            if width is None
            else textwrap.fill(f"{table.name}: {table.meaning}", width)
        )
        for column in table.columns:
            line = f"  {column.name:<{name_width}}  {column.kind:<{kind_width}}  {column.meaning}"
            yield line if width is None else textwrap.fill(line, width, subsequent_indent=indent)
