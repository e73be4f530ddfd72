"""A capture's rows as plain dictionaries, and captures to ask: what the references of the answers loop over."""

import re
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from plain_counts import is_noise

import regtrace as rt
from analysis.capture import Capture
from analysis.filters import Filters
from tracer.registry.ntstatus import is_failure
from tracer.registry.text import fold_name

__all__ = [
    "counted_rows", "failed", "folded_key", "group_of", "link_target", "plain_answer", "plain_rows", "simulated", "used_keys",
]  # fmt: skip

Row = dict[str, Any]
ACROSS_LOSS, AMBIGUOUS = 16, 1


def read_once(read: Callable[..., Any]) -> Callable[..., Any]:
    """Let a function of a capture, which never changes, read it once; whoever calls gets a copy of the rows."""
    known: WeakKeyDictionary[Capture, dict[str, Any]] = WeakKeyDictionary()

    @wraps(read)
    def copy_of(capture: Capture, *asked: Any) -> Any:
        answers = known.setdefault(capture, {})
        if repr(asked) not in answers:
            answers[repr(asked)] = read(capture, *asked)
        answer = answers[repr(asked)]
        return [row.copy() for row in answer] if isinstance(answer, list) else answer.copy()

    return copy_of


def simulated(folder: Path, **options: Any) -> Path:
    """Simulate a trace, and return the capture that was made of it."""
    settings = {"events": 3000, "keys": 200, "gap_us": 2000.0} | options
    name = "-".join(str(value) for value in settings.values())
    folder.mkdir(parents=True, exist_ok=True)
    rt.simulate(folder / f"{name}.etl", rt.SimulationOptions(**settings))
    rt.ingest(folder / f"{name}.etl", folder / f"{name}.regtrace")
    return folder / f"{name}.regtrace"


@read_once
def plain_rows(capture: Capture, filters: Filters | None = None) -> list[Row]:
    """Return the rows that fit, in order, each with the group of its key and its value name folded."""
    groups = group_of(capture)
    keys = capture.sql("SELECT key_id, name_source FROM keys WHERE name_source IS NOT NULL")
    sources = dict(zip(map(int, keys["key_id"]), keys["name_source"], strict=True))
    rows = capture.timeline_reader(filters or Filters()).read_all().to_pylist()
    for row in rows:
        row["group"] = groups.get(row["key_id"])
        row["folded_value"] = None if row["value_name"] is None else fold_name(row["value_name"])
        row["failed"] = failed(row)
        row["nameless"] = sources.get(row["key_id"]) in ("partial", "none")
        row["unproved"] = row["nameless"] or bool(row["flags"] & (ACROSS_LOSS | AMBIGUOUS))
    return rows


def counted_rows(capture: Capture, filters: Filters | None = None) -> list[Row]:
    """Return the rows that fit and that questions of load count: without noise, unless operations are asked for."""
    rows = plain_rows(capture, filters)
    if filters is not None and (filters.operation is not None or filters.noise):
        return rows
    return [row for row in rows if not is_noise(row)]


@read_once
def group_of(capture: Capture) -> dict[int | None, int]:
    """Return the key_id under which each key is grouped."""
    keys = capture.sql("SELECT key_id, same_as FROM keys")
    return dict(zip(map(int, keys["key_id"]), map(int, keys["same_as"]), strict=True))


@read_once
def folded_key(capture: Capture) -> dict[int, str]:
    """Return the folded path of each key, links followed."""
    keys = capture.sql("SELECT key_id, folded_path FROM keys")
    return dict(zip(map(int, keys["key_id"]), map(link_target, keys["folded_path"]), strict=True))


@read_once
def used_keys(capture: Capture) -> set[int]:
    """Return the key_id of every key that events touch."""
    return {int(key) for key in capture.sql("SELECT DISTINCT key_id FROM events")["key_id"].dropna()}


def link_target(folded: str) -> str:
    r"""Return a folded path with the link to a user's classes followed."""
    parts = folded.split("\\")
    if (
        parts[:1] == ["HKU"]
        and parts[2:4] == ["SOFTWARE", "CLASSES"]
        and re.fullmatch("S-1-[0-9-]+", parts[1])
    ):
        return "\\".join(["HKU", f"{parts[1]}_CLASSES", *parts[4:]])
    return folded


def failed(row: Row) -> bool:
    """Tell whether a user would call the row failed."""
    return row["status"] is not None and is_failure(row["status"])


def plain_answer(table: Any) -> list[Row]:
    """Run an Ibis table and return its rows as dictionaries."""
    from analysis.engine.fetch import fetch

    return fetch(table).to_pylist()
