"""What a hive leaves in doubt, in one sentence: the time between it and the trace, and what of it could not be read."""

from collections.abc import Mapping
from typing import Any

from tracer.registry.text import plural

__all__ = ["hive_doubt", "rough_duration"]

_SHORT_NS = 1_000_000_000
_UNITS = ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second"))


def hive_doubt(source: Mapping[str, Any]) -> str | None:
    """Return what the entry of a hive in the manifest leaves in doubt; None: nothing.

    The entry is input like any other: what it lacks is not said.
    """
    facts = source.get("facts") or {}
    said = []
    gap_ns, later = facts.get("gap_ns"), facts.get("keys_written_later")
    if "gap_ns" in facts and gap_ns is None and facts.get("time_ns") is None:
        said.append("it does not say when it was written, so what it tells has no time")
    elif isinstance(gap_ns, int) and gap_ns > _SHORT_NS:
        said.append(
            f"it was last written {rough_duration(gap_ns)} before the first event: what changed in between nobody saw"
        )
    elif isinstance(gap_ns, int) and gap_ns <= 0 and isinstance(later, int):
        said.append(
            f"it is newer than the trace, so it tells only of keys that were not written since: not of {plural(later, 'key')}"
        )
    if facts.get("damaged") is True:
        said.append("parts of it could not be read: what they held is unknown")
    if not said:
        return None
    return f"the hive {source.get('name')} at {facts.get('mount')}: {'; '.join(said)}"


def rough_duration(ns: int) -> str:
    """Return a duration in its largest unit.

    >>> rough_duration(7_300_000_000_000)
    '2 hours'
    """
    seconds = ns // 1_000_000_000
    for size, unit in _UNITS:
        if seconds >= size:
            return plural(seconds // size, unit)
    return "less than a second"
