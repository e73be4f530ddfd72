"""`regtrace keys`: one row per key."""

from enum import StrEnum
from typing import Annotated

import typer

from cli.options import CapturePath, Example, FailOnLoss, Force, FormatOption, Limit, OutputFile, Wide, Zone

__all__ = ["EXAMPLES", "Sort", "keys"]

EXAMPLES = (
    Example("regtrace keys app.regtrace --limit 20", "the twenty busiest keys"),
    Example(r"regtrace keys app.regtrace --under 'HKLM\SOFTWARE' --sort errors", "where things fail below a key"),
    Example("regtrace keys app.regtrace --sort writes -o keys.csv", "every key, most written first, as CSV"),
)


class Sort(StrEnum):
    """Orders of keys; the words are those of analysis.keys.SORTS (a test holds the two together)."""

    EVENTS = "events"
    READS = "reads"
    WRITES = "writes"
    OPENS = "opens"
    CREATED = "created"
    FAILURES = "failures"
    ERRORS = "errors"
    PROCESSES = "processes"
    VALUES = "values"
    BYTES_WRITTEN = "bytes_written"
    FIRST_TIME = "first_time"
    LAST_TIME = "last_time"
    KEY = "key"


def keys(
    capture: CapturePath,
    under: Annotated[
        str | None,
        typer.Option("--under", "-u", metavar="KEY", help="Only this key and keys below it; * and ? allowed."),
    ] = None,
    sort: Annotated[Sort, typer.Option("--sort", "-s", help="The order.")] = Sort.EVENTS,
    limit: Limit = None,
    format: FormatOption = None,  # noqa: A002
    output: OutputFile = None,
    force: Force = False,
    tz: Zone = None,
    wide: Wide = False,
    fail_on_loss: FailOnLoss = False,
) -> None:
    """Print one row per key: how often used, by whom, and when.

    Spellings of one key are one row. Counts are of operations tried or done; created counts creates that made the key,
    failures operations that a user would call failed. The largest come first, times and keys in their own order.
    """
    from cli.captures import ask
    from cli.keys_table import key_lines

    ask(
        capture, lambda source: source.keys(under=under, sort=sort.value), key_lines,
        what="key", limit=limit, format=format, output=output, force=force, tz=tz, wide=wide, fail_on_loss=fail_on_loss,
        )  # fmt: skip
