"""`regtrace doctor`: checks that this machine can make good captures, and says what to do if not."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.exits import Exit
from cli.options.common import Example
from cli.output.console import console, paint
from cli.output.safe import visible
from tracer.errors import RegtraceError, UsageError

if TYPE_CHECKING:
    from tracer.checks.doctor import Finding
    from tracer.checks.selftest import Report

__all__ = ["EXAMPLES", "doctor"]

EXAMPLES = (
    Example("regtrace doctor", "before the first capture"),
    Example("regtrace doctor --fix", "stop sessions that a crash left behind"),
    Example("regtrace doctor --selftest", "also try whether values arrive"),
    Example("regtrace doctor --json | jq '.[] | select(.state == \"fail\")'", "for a program"),
)

_STYLES = {"ok": "dim", "warn": "yellow", "fail": "red", "unknown": "bold"}


def doctor(
    folder: Annotated[
        Path,
        typer.Argument(metavar="[FOLDER]", help="The folder for captures: its free space is checked."),
    ] = Path(),
    fix: Annotated[
        bool, typer.Option("--fix", help="Stop sessions of regtrace that no recording uses.")
    ] = False,
    selftest: Annotated[
        bool,
        typer.Option("--selftest", help="Run the self-test too: a scratch key under HKCU is traced and removed."),
    ] = False,
    no_handles: Annotated[
        bool, typer.Option("--no-handles", help="Do not read the handle table, which opens the processes of others.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON array for a program.")] = False,
) -> None:  # fmt: skip
    """Check this machine: system, rights, sessions, disk.

    Looks and changes nothing, unless --fix or --selftest are given. Works on every system; where it is not
    Windows, that is the first finding. Returns 0 where all is well and 3 where there is something to be done.
    """
    from cli.output.destination import write_lines
    from tracer.checks.doctor import examine, stop_leftovers

    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder; give the folder for the captures")
    if fix:
        stopped = stop_leftovers()
        console.say(f"stopped {', '.join(stopped)}" if stopped else "there was no session to stop")
    findings = examine(
        folder=folder.absolute(), selftest=_tried() if selftest else None, handles=not no_handles
    )
    if as_json:
        write_lines([json.dumps([asdict(finding) for finding in findings], indent=2)])
    else:
        write_lines(line for finding in findings for line in _lines(finding))
    if any(finding.is_problem for finding in findings):
        raise typer.Exit(Exit.FINDINGS)


def _tried() -> "Report | RegtraceError":
    """Return the report of the self-test, or the reason why it did not run."""
    from tracer.checks.selftest import run_selftest

    try:
        return run_selftest()
    except RegtraceError as problem:
        return problem


def _lines(finding: "Finding") -> list[str]:
    state = paint(f"{finding.state:<7}", _STYLES[finding.state], sys.stdout)
    lines = [f"{state}  {finding.name}: {visible(finding.sentence)}"]
    if finding.advice:
        lines.append(f"{'':<9}{visible(finding.advice)}")
    return lines
