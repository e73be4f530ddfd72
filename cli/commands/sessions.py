"""`regtrace sessions`: lists running tracing sessions, and stops those that regtrace left behind."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from cli.options.common import Example
from cli.output.console import console
from cli.output.phrases import plural

if TYPE_CHECKING:
    from tracer.session.options import SessionStatus

__all__ = ["EXAMPLES", "sessions"]

_ELEVATE = "an elevated prompt shows all"
_UNSEEN = f"Windows shows this user some sessions only, or none; {_ELEVATE}"

EXAMPLES = (
    Example("regtrace sessions", "ours first"),
    Example("regtrace sessions --stop regtrace-capture", "end one that a killed command left running"),
)


def sessions(
    stop: Annotated[
        str | None, typer.Option("--stop", metavar="NAME", help="Stop this session, if it is of regtrace.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Stop it even if it is not of regtrace, or in use.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
) -> None:
    """Show the tracing sessions that run, or stop one.

    Sessions outlive the program that started them, and Windows has room for 64. Those that regtrace did not
    start, and those of a process that still runs, are stopped only with --force. Without administrator rights
    Windows shows only some of them, or none.
    """
    from cli.output.destination import write_lines
    from tracer.recording.detached import our_sessions, stop_by_name
    from tracer.recording.recorder import real_service

    service = real_service()
    if stop is not None:
        counters = stop_by_name(stop, force=force, service=service)
        console.say(f"stopped {stop}: {plural(counters.buffers_written, 'buffer')} written")
        return
    listed, are_all = our_sessions(service=service)
    if as_json:
        write_lines([json.dumps([asdict(one) | {"is_ours": one.is_ours} for one in listed], indent=2)])
    else:
        write_lines(_lines(listed))
    if not are_all:
        console.warn(_UNSEEN if are_all is False else f"this list may be incomplete; {_ELEVATE}")


def _lines(listed: "list[SessionStatus]") -> list[str]:
    import sys

    from cli.output.console import is_terminal, terminal_width
    from cli.output.table import TextColumn, lay_out
    from cli.recording.messages import lost_text

    lost = [lost_text(c.events_lost, c.buffers_lost) or "nothing" for c in (one.counters for one in listed)]
    columns = [
        TextColumn("session", [one.name for one in listed], shrink="end"),
        TextColumn("ours", ["yes" if one.is_ours else "" for one in listed]),
        TextColumn("written", [f"{one.counters.buffers_written:,}" for one in listed], right=True),
        TextColumn("lost", lost, styles=["red" if text != "nothing" else "" for text in lost]),
        TextColumn("file", [one.log_file or "" for one in listed], shrink="middle"),
    ]
    return list(lay_out(columns, width=terminal_width() if is_terminal(sys.stdout) else None))
