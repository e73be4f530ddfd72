"""`regtrace status`: the running recording and its state."""

import json
from typing import Annotated, Any

import typer

from cli.options.common import Example

__all__ = ["EXAMPLES", "status"]

EXAMPLES = (Example("regtrace status", "since when, how much, and what was lost"),)


def status(
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
) -> None:
    """Show what is being recorded, and how it stands."""
    from cli.output.destination import write_lines
    from tracer.recording.detached import running
    from tracer.recording.recorder import real_service

    facts = _facts(running(service=real_service()))
    if as_json:
        write_lines([json.dumps(facts, indent=2)])
    else:
        write_lines(_lines(facts))


def _facts(recording: Any) -> dict[str, Any]:  # noqa: ANN401
    from tracer.inspect.times import time_text

    state, counters = recording.state, recording.counters
    return {
        "target": str(state.target),
        "started_by": "regtrace start" if state.detached else f"process {state.pid}",
        "started": time_text(state.started_ns),
        "seconds": round(recording.seconds, 3),
        "ring_mib": state.options.ring_mib,
        "bytes": recording.bytes,
        "buffers_written": counters.buffers_written,
        "events_lost": counters.events_lost,
        "buffers_lost": counters.buffers_lost,
    }


def _lines(facts: dict[str, Any]) -> list[str]:
    from cli.output.phrases import plural
    from cli.output.progress import duration_text, size_text
    from cli.output.safe import visible
    from cli.recording.messages import lost_text

    lost = lost_text(facts["events_lost"], facts["buffers_lost"])
    size = facts["bytes"]
    rows = {
        "recording for": visible(facts["target"]),
        "started": f"{facts['started'][:19]}Z by {facts['started_by']}, {duration_text(facts['seconds'])} ago",
        "written": "in memory"
        if size is None
        else f"{size_text(size)} in {plural(facts['buffers_written'], 'buffer')}",
        "lost": lost or "nothing",
    }
    if facts["ring_mib"] is not None:
        rows["keeps"] = f"the last {facts['ring_mib']:,} MB"
    return [f"{name:<14} {value}" for name, value in rows.items()]
