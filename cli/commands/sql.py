"""`regtrace sql`: one query, read-only, over the tables of a capture."""

import sys
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from cli.options.common import (
    CapturePath,
    Example,
    FailOnLoss,
    Force,
    FormatOption,
    Limit,
    OutputFile,
    Wide,
    Zone,
)
from cli.output.console import console
from tracer.errors import UsageError

__all__ = ["EXAMPLES", "sql"]

EXAMPLES = (
    Example(
        "regtrace sql app.regtrace 'select operation, count(*) as n from events group by all order by n desc'",
        "what happened, counted",
    ),
    Example("regtrace sql app.regtrace 'describe events'", "the columns of the view that has all names"),
    Example("regtrace sql app.regtrace --file slow.sql -o slow.parquet", "a query from a file, as Parquet"),
    Example("regtrace sql stranger.regtrace --file count.sql --timeout 60", "at most a minute"),
    Example("regtrace sql app.regtrace --tables", "the tables there are"),
)


def sql(
    capture: CapturePath,
    query: Annotated[
        str | None,
        typer.Argument(
            metavar="QUERY", help="One SELECT in DuckDB's dialect; - reads it from standard input."
        ),
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", metavar="FILE", help="Read the query from FILE.")
    ] = None,
    tables: Annotated[bool, typer.Option("--tables", help="Print the tables and their rows.")] = False,
    limit: Limit = None,
    timeout: Annotated[
        float | None,
        typer.Option(
            "--timeout",
            metavar="SECONDS",
            min=0.001,
            help="End with an error once the query has taken so long; rows that were printed before stay.",
        ),
    ] = None,
    format: FormatOption = None,  # noqa: A002
    output: OutputFile = None,
    force: Force = False,
    tz: Zone = None,
    wide: Wide = False,
    fail_on_loss: FailOnLoss = False,
) -> None:
    """Print the answer to an SQL query over the tables of a capture.

    The query can only read: `events` (every row with the names of its key and process), and the stored
    tables; `regtrace schema` tells their columns. It reaches no other file and no network. Nested values are
    JSON text, except in Parquet. Order rows by `sequence`, which is the order of events.
    """
    from analysis.engine.interruption import time_limit
    from analysis.filters import Filters
    from analysis.questions import sql as sql_of
    from cli.options.zones import find_zone
    from cli.output.destination import Output
    from cli.questions import asking
    from cli.tables.sql import sql_lines

    limited = time_limit(timeout) if timeout is not None else nullcontext()
    read = [file] if file is not None and str(file) != "-" else []
    target = Output.of(output, format, force=force, wide=wide, zone=find_zone(tz), sources=read)
    text = _query(query, file, tables=tables)
    with limited, asking(capture, Filters(), target, fail_on_loss=fail_on_loss) as question:
        text = _of_tables(sql_of.tables(question.context)) if text is None else text
        plain, finite = target.format != "parquet", target.format == "jsonl"
        rows = sql_of.reader(question.context, text, plain=plain, finite=finite, limit=limit)
        question.print(
            rows, partial(sql_lines, zone=target.zone, color=target.color), noun="row", limit=limit
        )
        if tables:
            console.hint("regtrace schema", "regtrace schema events")


def _query(query: str | None, file: Path | None, *, tables: bool) -> str | None:
    """Return the query from the argument, a file or standard input; None for the list of tables."""
    if sum([query is not None, file is not None, tables]) != 1:
        raise UsageError("give one query (as an argument, - for standard input, or --file), or --tables")
    if query != "-" and file is None:
        return query
    try:
        raw = sys.stdin.buffer.read() if file is None or str(file) == "-" else file.read_bytes()
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError(f"{file or 'the query'} is not UTF-8 text") from None


def _of_tables(names: tuple[str, ...]) -> str:
    """Return the query that lists tables and their numbers of rows."""
    from analysis.engine.relation import identifier, quoted
    from tracer.schema import TABLES

    meanings = {name: table.meaning for name, table in TABLES.items() if name != "events"}
    meanings["stored_events"] = TABLES["events"].meaning
    meanings["events"] = "The same rows with the names of their keys and processes."
    parts = [
        f"SELECT {place} AS place, {quoted(name)} AS name, (SELECT count(*) FROM {identifier(name)}) AS rows, "
        f"{quoted(meanings.get(name, ''))} AS meaning"
        for place, name in enumerate(names)
    ]
    return f'SELECT name AS "table", rows, meaning FROM ({" UNION ALL ".join(parts)}) ORDER BY place'
