"""`regtrace checkout`: keys and values as known at a time, as files."""

from pathlib import Path
from typing import Annotated

import typer

from cli.options.common import CapturePath, Example, FailOnLoss, Force, UnderWords, UserWord
from tracer.errors import UsageError

__all__ = ["EXAMPLES", "checkout"]

EXAMPLES = (
    Example(
        r"regtrace checkout app.regtrace --at +30s --under 'HKLM\SOFTWARE\Vendor' -o before.reg",
        "as one file for regedit",
    ),
    Example(
        r"regtrace checkout app.regtrace --under 'HKLM\SOFTWARE\Vendor' -o after",
        "at the end, as a folder for each key",
    ),
)
_SHOWN = 10  # of what is unknown


def checkout(
    capture: CapturePath,
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", readable=False, metavar="FILE|DIR", help="NAME.reg, NAME.ps1, or a new folder."
        ),
    ],
    at: Annotated[
        str | None,
        typer.Option(
            "--at",
            metavar="TIME",
            help="The time: 2026-11-22T10:00:00Z, +90s after the start, -5m before the end. Default: the end.",
        ),
    ] = None,
    under: UnderWords = None,
    user: UserWord = None,
    force: Force = False,
    fail_on_loss: FailOnLoss = False,
) -> None:
    """Write keys and values as known at a time, as files.

    Only what is known whole is written, by a write, a read or a hive. What is not, is listed in the file (in a
    folder: in index.json) and here, and nothing is invented. A folder has a folder for each key, with
    names that are safe on any file system, and a file values.reg in each: two checkouts can be compared.
    """
    from analysis.filters import Filters
    from cli.captures import check_keys, fail_if_lossy, in_zone, opened
    from cli.options.zones import find_zone
    from cli.output.console import console
    from cli.output.phrases import plural

    if not under:
        raise UsageError("name the keys to write with --under, such as --under 'HKLM\\SOFTWARE\\Vendor'")
    if str(output) == "-":
        raise UsageError("a checkout is a file or a folder; give -o a name")
    with opened(capture) as found:
        check_keys(found, under, subtree=True, user=user)
        filters = in_zone(found, Filters(key=under, subtree=True, user=user, end=at), find_zone(None))
        made = found.where(filters).checkout()
        made.save(output, force=force)
        console.say(f"wrote {plural(len(made.keys), 'key')} and {plural(made.values, 'value')} to {output}")
        rows = made.unknown.slice(0, _SHOWN).to_pylist()
        if made.unknown.num_rows:
            console.warn(
                f"{plural(made.unknown.num_rows, 'entry')} (keys and values) of unknown content left out, and listed there"
            )
        for row in rows:
            name = "" if row["value_name"] is None else f" {row['value_name'] or '(default)'}"
            console.say(f"  {row['display_key']}{name}: {row['reason']}")
        for sentence in found.doubts(filters).sentences:
            console.note(sentence)
        fail_if_lossy(found, asked=fail_on_loss)
