"""Answers of a capture as tables of a report: net changes, processes, what was busy, what failed."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from analysis.report.grids import Column, Grid, content_text, made_grid, process_text, value_text
from analysis.report.source import Source

__all__ = ["busy_keys_grid", "busy_processes_grid", "changes_grid", "errors_grid", "processes_grid"]

MOST_ROWS = 1000
_MOST_BUSY = 100
_MOST_PROCESSES = 2000
_KEY = Column("key", "key", "display_key")
_PROCESS = Column("process", "text", process_text)
_HOST = Column("host", "text", lambda row: row.get("host"))


def changes_grid(changes: pa.Table, command: str) -> Grid:
    """Return the net changes, in the order in which they began.

    Args:
        changes: rows of `analysis.answers.net_changes.NET_CHANGES`, with texts.
        command: the command line that lists them all.
    """
    columns = [
        _HOST,
        _KEY,
        Column("first change", "time", "first_time"),
        Column("process", "text", process_text),
        Column("value", "code", value_text),
        Column("change", "text", lambda row: f"key {row['change']}" if row["value_name"] is None else row["change"]),
        Column("before", "code", lambda row: _side(row, "before")),
        Column("after", "code", lambda row: _side(row, "after")),
        Column("writes", "number", "writes"),
        Column("note", "text", _note_of_change),
    ]  # fmt: skip
    rows = changes.slice(0, MOST_ROWS).to_pylist()
    return made_grid(
        "changes", rows, columns, total=changes.num_rows, more=command,
        empty="Nothing that was seen ended otherwise than it began.",
    )  # fmt: skip


def processes_grid(capture: Source, counts: pa.Table) -> Grid:
    """Return the processes as a tree: each below the one that started it, with what it did.

    Args:
        capture: an open capture.
        counts: an answer of `who`, for the counts.
    """
    own = {(row.get("host"), row["process_id"]): row for row in counts.to_pylist()}
    listed = _stored_processes(capture)
    empty = dict.fromkeys(("events", "reads", "writes", "opens", "failures", "keys"), 0)
    rows = []
    for depth, process in _in_tree(listed):
        did = own.get((process.get("host"), process["process_id"])) or empty
        name = process["image"] or "?"
        shown = name if process["pid"] is None else f"{name} ({process['pid']})"
        rows.append(process | did | {"image": shown, "tree": f"{depth}|{shown}"})
    columns = [
        _HOST,
        Column("process", "tree", "tree"),
        Column("command line", "code", lambda row: row["command_line"] or row["image_path"]),
        Column("user", "text", "user"),
        *(
            Column(name, "number", name)
            for name in ("events", "reads", "writes", "opens", "failures", "keys")
        ),
    ]
    kept = [row for row in rows if row["events"]] if len(rows) > _MOST_PROCESSES else rows
    return made_grid("processes", kept, columns, total=len(rows)).cut(_MOST_PROCESSES)


def busy_keys_grid(answer: pa.Table, total: int | None, command: str) -> Grid:
    """Return the busiest keys: an answer of `hot` by key."""
    columns = [
        _HOST,
        Column("key", "code", "display_key"),
        *(Column(name, "number", name) for name in ("events", "reads", "writes", "opens", "failures", "processes")),
        Column("busiest process", "text", lambda row: _top(row)),
    ]  # fmt: skip
    rows = answer.slice(0, _MOST_BUSY).to_pylist()
    return made_grid("keys", rows, columns, title="Keys", total=total, more=command)


def busy_processes_grid(answer: pa.Table) -> Grid:
    """Return the busiest processes: an answer of `hot` by process."""
    columns = [
        _HOST,
        _PROCESS,
        *(
            Column(name, "number", name)
            for name in ("events", "reads", "writes", "opens", "failures", "keys")
        ),
        Column("busiest key", "code", "top_key"),
    ]
    rows = answer.slice(0, _MOST_BUSY).to_pylist()
    return made_grid("busy", rows, columns, title="Processes", total=answer.num_rows)


def errors_grid(answer: pa.Table, total: int | None, command: str) -> Grid:
    """Return what failed: an answer of `errors`."""
    columns = [
        _HOST,
        _KEY,
        _PROCESS,
        Column("operation", "text", "operation"),
        Column("result", "text", lambda row: row["status_name"] or row["status"]),
        Column("value", "code", value_text),
        Column("failures", "number", "failures"),
        Column("answered later", "number", "answered"),
        Column("found at last in", "code", "resolved_key"),
    ]
    rows = answer.to_pylist()
    return made_grid(
        "errors", rows, columns, total=total, more=command, empty="Nothing that was recorded failed."
    )  # fmt: skip


def _side(row: Mapping[str, Any], side: str) -> str | None:
    if row["value_name"] is None:
        return None
    if row[f"{side}_from"] == "absent" or (side == "after" and row["change"] == "removed"):
        return "(none)"
    return content_text(row, f"{side}_")


def _note_of_change(row: Mapping[str, Any]) -> str | None:
    notes = []
    if row["also_by_others"]:
        notes.append("changed by others too")
    if row["with_key"]:
        notes.append("with its key")
    return "; ".join(notes) or None


def _top(row: Mapping[str, Any]) -> str | None:
    return process_text({"process": row["top_process"], "pid": row["top_pid"]})


def _stored_processes(capture: Source) -> list[dict[str, Any]]:
    names = "process_id, parent_id, pid, start_ns, image, image_path, command_line, user"
    engine = capture.context.engine
    relation = capture.context.relation("processes").select(*names.split(", "))
    return capture.context.labelled(engine.fetch(relation)).to_pylist()


def _in_tree(processes: Sequence[dict[str, Any]]) -> list[tuple[int, dict[str, Any]]]:
    """Return processes with their depth, each below its parent, those of one parent by their start; a circle is cut."""
    by_id = {(one.get("host"), one["process_id"]): one for one in processes}
    below: dict[Any, list[dict[str, Any]]] = {}
    for one in processes:
        parent = (one.get("host"), one["parent_id"])
        known = one["parent_id"] is not None and parent in by_id and by_id[parent] is not one
        below.setdefault(parent if known else None, []).append(one)
    placed: list[tuple[int, dict[str, Any]]] = []
    seen = set()

    def place(roots: list[dict[str, Any]]) -> None:
        waiting = [(0, one) for one in reversed(_by_start(roots))]
        while waiting:
            depth, one = waiting.pop()
            identity = (one.get("host"), one["process_id"])
            if identity in seen:
                continue
            seen.add(identity)
            placed.append((depth, one))
            waiting += [(depth + 1, child) for child in reversed(_by_start(below.get(identity, [])))]

    place(below.get(None, []))
    place([one for one in processes if (one.get("host"), one["process_id"]) not in seen])
    return placed


def _by_start(processes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(
        processes, key=lambda one: (one["start_ns"] is not None, one["start_ns"] or 0, one["process_id"])
    )
