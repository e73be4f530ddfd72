"""The facts of a source of a capture, as `info` lists them."""

from collections.abc import Mapping
from typing import Any

from tracer.baseline.doubts import rough_duration

__all__ = ["source_facts"]

_ELSEWHERE = ("rows_by_source", "gap_ns", "logs")  # shown in a section of their own, or below in other words


def source_facts(source: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is known of a source beyond its file; of a hive, how long before the first event it was written."""
    facts = source.get("facts") or {}
    shown = {name: fact for name, fact in facts.items() if name not in _ELSEWHERE}
    if source.get("kind") == "hive":
        gap_ns, logs = facts.get("gap_ns"), facts.get("logs")
        if isinstance(gap_ns, int):
            shown["before the first event"] = rough_duration(gap_ns) if gap_ns > 0 else "no: it is newer"
        if isinstance(logs, list):
            shown["logs replayed"] = ", ".join(map(str, logs))
    return shown
