"""The destination and format of rows, from a verb's options; and the function that writes them."""

import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, tzinfo
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa

from cli.output.console import has_color, is_terminal, terminal_width
from cli.output.files import binary_stdout, check_target, open_target
from cli.output.pager import is_interactive, page, pager_command
from cli.output.table import BETWEEN_TABS
from cli.output.waiting import goes_to_file, waiting
from tracer.errors import UsageError

__all__ = ["FORMATS", "Output", "Render", "Written", "needs_head", "write_lines", "write_rows"]

FORMATS = {
    "table": (".txt",),
    "csv": (".csv",),
    "jsonl": (".jsonl", ".ndjson"),
    "parquet": (".parquet", ".pq"),
}

_TABLE_ROWS = 50_000
Render = Callable[[pa.Table, int | None], Iterable[str]]  # rows and the width to fit -> lines


@dataclass(frozen=True, slots=True)
class Output:
    """The destination and format of rows.

    Attributes:
        format: table, csv, jsonl or parquet.
        path: the file; None: standard output.
        force: whether an existing file is replaced.
        wide: whether a table keeps every column and letter.
        zone: the zone times are shown in.
        raw: whether CSV has the bytes of values, in hex, where it has their text.
        always: columns that JSONL names even where they are NULL; None: all.
        sources: files that the verb reads, of which the output must be none; a capture is never written into.
    """

    format: str
    path: Path | None = None
    force: bool = False
    wide: bool = False
    zone: tzinfo = UTC
    raw: bool = True
    always: frozenset[str] | None = None
    sources: tuple[Path, ...] = ()

    @classmethod
    def of(
        cls,
        path: Path | None,
        wanted: str | None,
        *,
        default: str = "table",
        force: bool = False,
        wide: bool = False,
        zone: tzinfo = UTC,
        raw: bool = True,
        always: frozenset[str] | None = None,
        sources: Sequence[Path] = (),
    ) -> "Output":
        """Return the output of the options, checked before any work.

        Raises:
            UsageError: neither `wanted` nor the file's ending is a known format, or bytes
            would
                go to a terminal.
            TargetError: the file exists and `force` is not set, it is a source, or its folder is missing.
        """
        if path is not None and str(path) == "-":
            path = None
        found = str(wanted) if wanted else _format_of(path) if path else default
        if path is not None:
            check_target(path, force=force, sources=sources)
        elif found == "parquet" and is_terminal(sys.stdout):
            raise UsageError("Parquet is not text: give -o FILE.parquet, or send it into a pipe")
        if found == "table" and default != "table" and not wanted:
            raise UsageError("this verb writes no table; use .csv, .jsonl or .parquet")
        return cls(found, path, force, wide, zone, raw, always, tuple(sources))

    @property
    def on_terminal(self) -> bool:
        """Whether a person reads the rows as they are written."""
        return self.path is None and is_terminal(sys.stdout)

    @property
    def color(self) -> bool:
        """Whether a table may use colour."""
        return self.path is None and has_color(sys.stdout)

    @property
    def width(self) -> int | None:
        """The columns a table may take; None: as many as it needs."""
        return terminal_width() if self.on_terminal and not self.wide else None


@dataclass(slots=True)
class Written:
    """What became of the rows of an answer.

    Attributes:
        rows: how many there were.
        shown: how many of them were written.
        is_whole: False where a person left the pager before the end: then `rows` counts what was made until then.
    """

    rows: int = 0
    shown: int = 0
    is_whole: bool = True


def needs_head(output: Output) -> bool:
    """Tell whether rows are a table for a person who has no pager, so that only the first should be shown."""
    return output.format == "table" and output.path is None and is_interactive() and not pager_command()


def write_rows(
    rows: pa.Table | pa.RecordBatchReader,
    output: Output,
    render: Render,
    *,
    head: int | None = None,
    is_page: bool = False,
) -> Written:
    """Write rows.

    Args:
        rows: the rows.
        output: where they go. Into a pipe, a table has a tab between cells and every letter; --wide aligns it.
        render: makes the lines of a table.
        head: of so many rows, the others are counted; None: all.
        is_page: whether they are a page for people, which is aligned in a pipe, too.
    """
    if (
        output.format == "table"
        and output.path is None
        and not (output.on_terminal or output.wide or is_page)
    ):
        render = _between_tabs(render)
    written = Written()
    reader = _counted(rows.to_reader() if isinstance(rows, pa.Table) else rows, written, head)
    if output.path is None:
        if not goes_to_file():
            reader = _ends_waiting(reader)
        _write(reader, binary_stdout(), output, render, written)
        sys.stdout.flush()
    else:
        with open_target(output.path, force=output.force, sources=output.sources) as stream:
            _write(reader, stream, output, render, written)
    waiting.end()
    return written


def write_lines(lines: Iterable[str], path: Path | None = None, *, force: bool = False) -> None:
    """Write lines of text to `path`, or to standard output in the terminal's own encoding."""
    if path is None:
        for line in lines:
            sys.stdout.write(line + "\n")
        sys.stdout.flush()
        return
    with open_target(path, force=force) as stream:
        for line in lines:
            stream.write(line.encode() + b"\n")


def _between_tabs(render: Render) -> Render:
    """Return a function that makes the lines of a table with a tab between cells, and headings once."""
    headings: set[str] = set()

    def lines(rows: pa.Table, width: int | None) -> Iterator[str]:
        token = BETWEEN_TABS.set(True)
        try:
            made = list(render(rows, width))
        finally:
            BETWEEN_TABS.reset(token)
        yield from made[1:] if made and made[0] in headings else made
        headings.update(made[:1])

    return lines


def _counted(reader: pa.RecordBatchReader, written: Written, head: int | None) -> pa.RecordBatchReader:
    """Return a stream whose rows are counted as they pass, of which only the first `head` rows pass."""

    def batches() -> Iterable[pa.RecordBatch]:
        for batch in reader:
            shown = batch if head is None else batch.slice(0, max(head - written.shown, 0))
            written.rows += batch.num_rows
            written.shown += shown.num_rows
            waiting.rows = written.rows
            if shown.num_rows or head is None:
                yield shown

    return pa.RecordBatchReader.from_batches(reader.schema, batches())


def _ends_waiting(reader: pa.RecordBatchReader) -> pa.RecordBatchReader:
    """Return a stream before whose first rows the line of waiting is wiped: they go where it stands, or into a pipe."""

    def batches() -> Iterable[pa.RecordBatch]:
        for batch in reader:
            waiting.end()
            yield batch
        waiting.end()

    return pa.RecordBatchReader.from_batches(reader.schema, batches())


def _format_of(path: Path) -> str:
    ending = path.suffix.lower()
    for name, endings in FORMATS.items():
        if ending in endings:
            return name
    if path.exists() and not path.is_file():  # a device or a pipe has no ending
        return "jsonl"
    known = ", ".join(endings[0] for endings in FORMATS.values())
    raise UsageError(f"unknown format of {path.name!r}; use one of {known}, or give --format")


def _write(
    reader: pa.RecordBatchReader, stream: BinaryIO, output: Output, render: Render, written: Written
) -> None:
    if output.format == "csv":
        from cli.output.csv_format import write_csv
        from tracer.registry.value_columns import raw_columns

        if not output.raw:
            reader = _without(reader, raw_columns(reader.schema.names))
        write_csv(reader, stream, zone=output.zone, for_eyes=output.on_terminal)
    elif output.format == "jsonl":
        from cli.output.jsonl import write_jsonl

        write_jsonl(reader, stream, zone=output.zone, always=output.always)
    elif output.format == "parquet":
        _write_parquet(reader, stream)
    elif output.path is None:
        lines = _table_lines(reader, output.width, render)
        if command := pager_command():
            written.is_whole = page(lines, command)
        else:
            write_lines(lines)
    else:
        for line in _table_lines(reader, None, render):
            stream.write(line.encode() + b"\n")


def _table_lines(reader: pa.RecordBatchReader, width: int | None, render: Render) -> Iterator[str]:
    """Yield the lines of one table, or of several for very many rows, to bound memory."""
    block: list[pa.RecordBatch] = []
    rows = 0
    shown = False
    for batch in reader:
        rest = batch
        while rest.num_rows:
            block.append(rest.slice(0, _TABLE_ROWS - rows))
            rest = rest.slice(_TABLE_ROWS - rows)
            rows += block[-1].num_rows
            if rows == _TABLE_ROWS:
                yield from render(pa.Table.from_batches(block), width)
                block, rows, shown = [], 0, True
    if rows or not shown:
        yield from render(pa.Table.from_batches(block, schema=reader.schema), width)


def _without(reader: pa.RecordBatchReader, names: Collection[str]) -> pa.RecordBatchReader:
    """Return a stream without some of its columns."""
    left = [name for name in reader.schema.names if name not in names]
    schema = pa.schema([reader.schema.field(name) for name in left])
    return pa.RecordBatchReader.from_batches(schema, (batch.select(left) for batch in reader))


def _write_parquet(reader: pa.RecordBatchReader, stream: BinaryIO) -> None:
    import pyarrow.parquet as pq

    with pq.ParquetWriter(pa.PythonFile(stream, mode="w"), reader.schema, compression="zstd") as writer:
        for batch in reader:
            writer.write_batch(batch)
