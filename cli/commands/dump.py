"""`regtrace dump`: every record of a trace, before names are resolved."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.exits import Exit
from cli.options.common import Example, FailOnLoss, Force, OutputFile, RowFormatOption
from cli.output.console import console
from cli.output.phrases import plural, quoted, say_pipes
from cli.output.progress import ProgressLine
from tracer.errors import SourceError

if TYPE_CHECKING:
    import pyarrow as pa

    from tracer.diagnostics import Diagnostics

__all__ = ["EXAMPLES", "dump"]

EXAMPLES = (
    Example("regtrace dump boot.etl | head", "the first records, one JSON object each"),
    Example(
        "regtrace dump boot.etl --provider Microsoft-Windows-Kernel-Registry -o registry.parquet",
        "one provider's",
    ),
    Example("regtrace dump a.etl b.etl -o both.csv", "two files, merged by time, as CSV"),
)


def dump(
    traces: Annotated[
        list[Path], typer.Argument(metavar="TRACE", help="One or more .etl files, merged by time; also packed, in a folder, or - for standard input.")
    ],
    provider: Annotated[
        list[str] | None,
        typer.Option("--provider", "-p", metavar="NAME|GUID", help="Only of this provider. Repeatable."),
    ] = None,
    format: RowFormatOption = None,  # noqa: A002
    output: OutputFile = None,
    force: Force = False,
    fail_on_loss: FailOnLoss = False,
) -> None:  # fmt: skip
    """Write every record of a trace, before names are resolved.

    One row a record, in time order: where it stands, its header's facts, and the fields of its payload
    under their manifest or MOF names where the payload is known, the raw bytes where it is not. In JSONL a
    record has only the payload fields it carries; CSV and Parquet have a column for every field there may be.
    """
    from cli.output.destination import Output, write_rows
    from tracer.diagnostics import COUNTERS, Diagnostics
    from tracer.inspect.dump import dump_schema, find_provider
    from tracer.sources.inputs import open_sources

    say_pipes(traces)
    providers = [find_provider(word) for word in provider] if provider else None
    with ProgressLine("dump") as line, open_sources(traces, progress=line) as sources:
        for file in sources.files:
            if file.kind != "etl":
                raise SourceError(
                    f"{file.shown} is no .etl file, and dump reads these only. Make a capture of it: regtrace ingest"
                )
        paths = [file.path for file in sources.files]
        diagnostics = [Diagnostics() for _ in paths]
        facts_of_headers = dump_schema([], sources=len(paths)).names[:-1]  # all but the payload
        target = Output.of(
            output,
            format,
            default="jsonl",
            force=force,
            always=frozenset(facts_of_headers),
            sources=[*traces, *paths],
        )
        count = write_rows(_reader(paths, providers, diagnostics, line), target, _no_table).rows
    for sentence in sources.left_out:
        console.say(sentence)
    if target.path is not None:
        console.say(f"wrote {plural(count, 'record')} to {target.path}")
    losses = [
        (name, times) for one in diagnostics for name, times, _ in one if COUNTERS[name].severity == "loss"
    ]
    for name, times in losses:
        console.warn(f"{COUNTERS[name].meaning} ({times:,})")
    console.hint(f"regtrace info {quoted(traces[0])}", f"regtrace ingest {quoted(traces[0])}")
    if losses and fail_on_loss:
        raise typer.Exit(Exit.LOSS)


@dataclass(frozen=True, slots=True)
class _Count:
    """Progress of a job that counts only records."""

    events: int
    bytes_done: int = 0
    bytes_total: int = 0
    note: str = ""


def _reader(
    traces: list[Path], providers: list[str] | None, diagnostics: "list[Diagnostics]", line: ProgressLine
) -> "pa.RecordBatchReader":
    import pyarrow as pa

    from tracer.inspect.dump import dump as read
    from tracer.inspect.dump import dump_schema

    def batches() -> "Iterator[pa.RecordBatch]":
        rows = 0
        for table in read(traces, providers=providers, diagnostics=diagnostics):
            yield from table.to_batches()
            rows += table.num_rows
            line(_Count(rows))

    return pa.RecordBatchReader.from_batches(dump_schema(providers, sources=len(traces)), batches())


def _no_table(rows: "pa.Table", width: int | None) -> Iterator[str]:
    raise NotImplementedError  # a record has a hundred columns: the option offers no table
