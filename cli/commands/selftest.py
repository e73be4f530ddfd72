"""`regtrace selftest`: traces known operations and checks the result."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from cli.exits import Exit
from cli.options.common import Example
from cli.output.console import console

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tracer.checks.selftest import Report

__all__ = ["EXAMPLES", "selftest"]

EXAMPLES = (
    Example("regtrace selftest", "a second of tracing; needs an elevated terminal"),
    Example("regtrace selftest --json | jq .option_data", "for a program"),
)


def selftest(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object for a program.")] = False,
) -> None:
    r"""Try whether this machine reports names and values.

    Makes a key HKCU\Software\regtrace-selftest-..., writes, reads and deletes values in it while it is
    traced, removes it, and looks for every operation in the capture that comes of it: whether it arrived,
    whether its key has a name, whether the values and the values before them are there.

    It sets the provider's option word, which is machine-wide and stays after the session. Returns 0 where
    everything came out, 3 where something is missing, 5 where it cannot be tried (no Windows, no rights).
    """
    from cli.output.destination import write_lines
    from tracer.checks.selftest import run_selftest

    report = run_selftest()
    write_lines([json.dumps(report.as_dict(), indent=2)] if as_json else _lines(report))
    for finding in report.findings:
        console.warn(finding)
    if report.findings:
        raise typer.Exit(Exit.FINDINGS)


def _lines(report: "Report") -> "Iterator[str]":
    yield f"{'operation':<20}  {'seen':>7}  {'named':>7}  {'data':>7}  {'previous':>8}"
    for line in report.lines:
        data = f"{line.data}/{line.data_done}" if line.data_done else ""
        previous = f"{line.previous}/{line.previous_done}" if line.previous_done else ""
        shown = (
            f"{line.operation:<20}  {f'{line.seen}/{line.done}':>7}  {f'{line.named}/{line.done}':>7}  "
            f"{data:>7}  {previous:>8}"
        )
        yield shown.rstrip()
    lost = "unknown" if report.events_lost is None else f"{report.events_lost:,}"
    seeded = "not read" if report.seeded is None else f"{report.seeded:,}"
    yield f"events lost: {lost}; keys named by the handle table: {seeded}"
