"""`regtrace watch`: live registry operations."""

import sys
from contextlib import nullcontext
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from cli.exits import Exit
from cli.options.common import Example, ProcessTree, UserWord, Zone
from cli.options.completion import complete_operation, complete_status
from cli.output.console import console, is_terminal
from cli.recording.options import NoHandles

if TYPE_CHECKING:
    from datetime import tzinfo
    from threading import Event

    import pyarrow as pa

    from cli.tables.watch import WatchView
    from tracer.live.watch import Watch, WatchStatus

__all__ = ["EXAMPLES", "WatchFormat", "watch"]

EXAMPLES = (
    Example("regtrace watch", "everything, until Ctrl-C"),
    Example(
        r"regtrace watch --key 'HKLM\**\CurrentVersion\Run*' --operation write", "who changes autostarts"
    ),
    Example("regtrace watch --process setup.exe --status error", "what fails for one program"),
    Example("regtrace watch --tree setup.exe --operation write", "what a program and its children change"),
    Example(
        "regtrace watch --operation set -f jsonl --duration 60s | jq .display_key", "a minute, into a pipe"
    ),
)


class WatchFormat(StrEnum):
    """The format of rows."""

    TABLE = "table"
    JSONL = "jsonl"


def watch(
    key: Annotated[
        list[str] | None,
        typer.Option("--key", "-k", metavar="KEY",
                     help="The key: HKLM\\..., HKCU\\... or \\REGISTRY\\..., any case. * stands for any letters "
                     "of a component, ** for any components, [*] for the letter *. Repeatable."),
    ] = None,
    subtree: Annotated[bool, typer.Option("--subtree", help="Keys below KEY as well.")] = False,
    value: Annotated[
        str | None,
        typer.Option("--value", metavar="NAME", help="Only this value; * and ? allowed, '' is the default."),
    ] = None,
    process: Annotated[
        list[str] | None,
        typer.Option("--process", "-p", metavar="NAME|PID",
                     help="Only processes of this image name (* and ? allowed), or this id. Repeatable."),
    ] = None,
    process_tree: ProcessTree = None,
    operation: Annotated[
        str | None,
        typer.Option("--operation", metavar="WORDS", autocompletion=complete_operation,
                     help="Only these, separated by commas: set, delete, read, write ... "
                     "(regtrace list operations). Others are not even recorded."),
    ] = None,
    status: Annotated[
        str | None,
        typer.Option("--status", metavar="WORDS", autocompletion=complete_status, help="Only these results: success, error, a name, a code "
                     "(regtrace list statuses)."),
    ] = None,
    data: Annotated[
        bool,
        typer.Option("--data/--no-data", help="Ask for data of values. For every session of this machine, "
                     "until another program asks differently."),
    ] = True,
    no_handles: NoHandles = False,
    duration: Annotated[
        str | None, typer.Option("--duration", metavar="TIME", help="End after this long: 30s, 5m, 1h30m.")
    ] = None,
    user: UserWord = None,
    format: Annotated[  # noqa: A002
        WatchFormat | None,
        typer.Option("--format", "-f", help="table (on a terminal) or jsonl (elsewhere)."),
    ] = None,
    tz: Zone = None,
    fail_on_loss: Annotated[
        bool, typer.Option("--fail-on-loss", help="Return exit code 4 where events were lost, or may have been.")
    ] = False,
) -> None:  # fmt: skip
    """Show what happens to the registry, as it happens, until Ctrl-C.

    Needs Windows and an elevated prompt. Events come about a second after the fact. What finds no room,
    cannot be read, or still waits a second after the end is counted and said, with its cause: ask for
    fewer operations if something is lost. A table has room for the newest rows, jsonl has all. A key
    that was open before and is named by nothing shows as <object 0x...>. Filters mean what they mean to
    `regtrace timeline`; --tree follows what runs at the start and what is started later, by the id of its parent.
    """
    from cli.options.durations import parse_duration
    from cli.options.zones import find_zone
    from cli.recording.interrupts import StopEvent, graceful
    from tracer.errors import RegtraceError, UsageError
    from tracer.live.row_filter import RowFilter
    from tracer.live.watch import Watch
    from tracer.rows.process_tree import ProcessTree as Tree
    from tracer.session.session import require_windows

    zone = find_zone(tz)
    seconds = None if duration is None else parse_duration(duration)
    rows = RowFilter(key=key or None, subtree=subtree, user=user, process=process or None, operation=operation,
                     status=status, value=value)  # fmt: skip
    row_format = format or (WatchFormat.TABLE if is_terminal(sys.stdout) else WatchFormat.JSONL)
    if row_format is WatchFormat.TABLE and not is_terminal(sys.stdout):
        raise UsageError("a live table needs a terminal; use -f jsonl for a file or a pipe")
    require_windows("regtrace watch")
    stop = StopEvent()
    tree = None if process_tree is None else Tree(process_tree)
    running, view = Watch(rows, data=data, handles=not no_handles, tree=tree), None
    if row_format is WatchFormat.TABLE:
        from cli.tables.watch import WatchView

        view = WatchView(zone)
    try:
        with graceful(stop), running:
            for note in running.notes:
                console.warn(note)
            _follow(running, stop, seconds, view or _Lines(running, zone))
    finally:  # also where Ctrl-C came twice, or the reader of a pipe went away
        standing = running.status()
        if running.has_started:
            _sum_up(standing, None if view is None else view.drawn)
            if standing.unplaced:
                console.say(
                    f"{standing.unplaced:,} process{'es' * (standing.unplaced != 1)} left out may belong to the tree of {process_tree}: "
                    "what started them is not known, or had ended before"
                )
    if running.trouble is not None:
        raise running.trouble
    if running.ended_by_other:
        raise RegtraceError("another program stopped the session of this watch; start it again")
    if stop.is_set():
        raise typer.Exit(Exit.INTERRUPTED)
    if fail_on_loss and standing.is_lossy:
        raise typer.Exit(Exit.LOSS)


def _follow(running: "Watch", stop: "Event", seconds: float | None, screen: "WatchView | _Lines") -> None:
    """Show rows until a stop or the end of the time, then the rows still in the queue."""
    with screen:
        for rows in running.batches():
            standing = running.status()
            screen.show(rows, standing)
            if stop.is_set() or (seconds is not None and standing.seconds >= seconds):
                break
        for rows in running.finish():
            screen.show(rows, running.status())
        screen.end(running.status())


class _Lines(nullcontext[None]):
    """Rows as JSON lines on standard output, one batch at a time."""

    def __init__(self, running: "Watch", zone: "tzinfo") -> None:
        from cli.output.files import binary_stdout

        super().__init__()
        self._running, self._zone, self._stream = running, zone, binary_stdout()

    def show(self, rows: "pa.Table", standing: "WatchStatus") -> None:  # noqa: ARG002
        """Write rows; unwritten rows do not count as shown."""
        from cli.output.jsonl import write_jsonl
        from cli.output.watch_rows import line_rows

        if not rows.num_rows:
            return
        try:
            write_jsonl(line_rows(rows).to_reader(), self._stream, zone=self._zone)
            self._stream.flush()
        except BaseException:
            self._running.withdraw(rows.num_rows)
            raise

    def end(self, standing: "WatchStatus") -> None:
        """Do nothing: every line is written."""


def _sum_up(standing: "WatchStatus", drawn: int | None) -> None:
    """Print how many events were shown, which were lost and why; `drawn`: rows on the screen, None without one."""
    from cli.output.phrases import plural
    from cli.output.progress import duration_text

    seen = (
        f"{standing.shown:,} shown" if drawn is None else f"{standing.shown:,} fit, {drawn:,} on the screen"
    )
    console.say(
        f"watched for {duration_text(standing.seconds)}: {plural(standing.events, 'operation')}, {seen}"
    )
    missing = [
        plural(count, noun) + rest
        for count, noun, rest in (
            (standing.lost, "event", ""),
            (standing.lost_buffers, "whole buffer", ""),
            (standing.dropped, "event", " for which our queue had no room"),
            (standing.unread, "record", " that came and could not be shown before the end"),
            (standing.undecoded, "registry record", " that could not be read"),
        )
        if count
    ]
    if missing:
        console.warn(
            f"lost {', '.join(missing)}; ask for fewer operations (--operation), or capture to a file"
        )
    for sentence in standing.unknown:
        console.warn(f"it is not known {sentence}")
    if standing.late:
        console.note(f"{plural(standing.late, 'event')} came too late to be shown in order")
