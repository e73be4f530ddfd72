"""`regtrace keys`: one row per key."""

from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options.common import (
    AllRows,
    CapturePath,
    Example,
    FailOnLoss,
    Force,
    FormatOption,
    Limit,
    OutputFile,
    UserWord,
    Wide,
    Zone,
)
from cli.options.completion import complete_key
from cli.output.console import console
from cli.output.phrases import quoted

if TYPE_CHECKING:
    from analysis.capture import Capture

__all__ = ["EXAMPLES", "Sort", "keys"]

EXAMPLES = (
    Example("regtrace keys app.regtrace --limit 20", "the twenty busiest keys"),
    Example(
        r"regtrace keys app.regtrace --under 'HKLM\SOFTWARE' --sort errors", "where things fail below a key"
    ),
    Example("regtrace keys app.regtrace --sort writes -o keys.csv", "every key, most written first, as CSV"),
)


class Sort(StrEnum):
    """Orders of keys; the words are those of analysis.answers.words.KEY_SORTS (a test holds the two together)."""

    EVENTS = "events"
    READS = "reads"
    WRITES = "writes"
    OPENS = "opens"
    CREATED = "created"
    DELETES = "deletes"
    NOT_FOUND = "not_found"
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
        typer.Option(
            "--under",
            "-u",
            metavar="KEY",
            autocompletion=complete_key,
            help="Only this key and keys below it; * and ? allowed.",
        ),
    ] = None,
    user: UserWord = None,
    everything: AllRows = False,
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

    Spellings of one key are one row. Counts are of operations tried or done, the same in every question (`regtrace
    list operations`, docs/questions.md). The largest come first, times and keys in their own order.
    """
    from analysis.filters import Filters
    from cli.captures import check_keys, fail_if_lossy, opened, print_rows
    from cli.options.zones import find_zone
    from cli.output.destination import Output
    from cli.questions import say_noise
    from cli.tables.keys import key_lines

    target = Output.of(output, format, force=force, wide=wide, zone=find_zone(tz))
    with opened(capture) as source:
        check_keys(source, [under] if under else None, subtree=True, user=user)
        filters = Filters(key=under, subtree=under is not None, user=user, noise=everything or None)
        rows = source.where(filters).queries.keys(sort=sort.value, limit=limit).to_arrow()
        lines = partial(key_lines, zone=target.zone, color=target.color)
        print_rows(rows, target, lines, noun="key", limit=limit, asked=(source, filters))
        say_noise(source.context, filters)
        if under is None and (counts := _keys_with_events(source)):
            touched, names = counts
            hives = any(one.get("kind") == "hive" for one in source.manifest.sources)
            console.note(
                f"{touched:,} keys have events, of {names:,} by name; the other names are spellings of these, "
                f"or of keys that only stand above others{', are in hives' if hives else ''} or were open"
            )
        if rows.num_rows:
            first = rows.column("display_key")[0].as_py()
            console.hint(f"regtrace timeline {quoted(capture)} --key {quoted(first)}")
        fail_if_lossy(source, asked=fail_on_loss)


def _keys_with_events(source: "Capture") -> tuple[int, int] | None:
    """Return the number of keys with events and of key names; None where the numbers say nothing new."""
    from analysis.questions.keys import count

    touched, names = count(source.context), source.manifest.totals.get("keys")
    if touched is None or type(names) is not int:
        return None  # sums of an older version: to look through all events takes too long for a note
    return (touched, names) if touched != names else None
