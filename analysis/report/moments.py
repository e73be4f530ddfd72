"""What was known of the keys of a report at each moment: the state at its stops, as `state` answers it.

A stop is the time of a change that was seen in one of these keys, or of the first or last event. Between two stops none was seen
in them; a read there may have shown more, which the next stop tells.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from analysis.filters import Filters
from analysis.report.grids import content_text, process_text, time_text, value_text
from analysis.report.source import Asking
from tracer.inspect.times import time_text as exact_time
from tracer.registry.ntstatus import is_failure

__all__ = ["MOST_STOPS", "Moments", "known_moments"]

MOST_STOPS = 60
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_Line = tuple[str, str, str, str, str, str]


@dataclass(frozen=True, slots=True)
class Moments:
    """The known state of some keys at some times.

    Attributes:
        times: the stops as text, UTC, oldest first.
        lines: the different lines: key, value ("" where it is of the key itself), what it held, how that is known,
            when, by which process.
        states: of each stop the places in `lines`, sorted by key and value.
        changes: how many times something changed in these keys; more than there are stops where some had to be left out.
    """

    times: tuple[str, ...]
    lines: list[_Line]
    states: list[list[int]]
    changes: int


def known_moments(asking: Asking, keys: Sequence[str], *, most: int = MOST_STOPS) -> Moments | None:
    """Return the known state of keys at the stops; None where the capture has no event or there is no key.

    Args:
        asking: a capture that is not narrowed.
        keys: keys as filters take them, short ids such as ``#12`` too.
        most: so many stops at most, 2 or more: of more changes evenly many are taken.
    """
    capture = asking.capture
    span = capture.span()
    if span is None or not keys:
        return None
    stamps = sorted(_times_of_changes(asking, keys))
    wanted = sorted({span[0], *_evenly(stamps, most - 2), span[1]})
    numbers: dict[_Line, int] = {}
    states = []
    for at_ns in wanted:
        answer = asking.rows(capture.queries.state(tuple(keys), at=exact_time(at_ns)))
        states.append([numbers.setdefault(_line(row), len(numbers)) for row in answer.to_pylist()])
    times = tuple(time_text(_EPOCH + timedelta(microseconds=at_ns // 1000)) or "" for at_ns in wanted)
    return Moments(times, list(numbers), states, len(stamps))


def _times_of_changes(asking: Asking, keys: Sequence[str]) -> set[int]:
    """Return when something was done to the keys, or to a key above one of them that is one of them too."""
    filters = Filters(key=tuple(keys), operation=("write", "unclear_writes"))
    rows = (
        asking.capture.where(filters).queries.timeline(columns=("time_ns", "status")).to_arrow().to_pylist()
    )
    return {row["time_ns"] for row in rows if row["status"] is None or not is_failure(row["status"])}


def _evenly(stamps: Sequence[int], most: int) -> Collection[int]:
    if len(stamps) <= most:
        return stamps
    return {stamps[place * (len(stamps) - 1) // max(most - 1, 1)] for place in range(most)}


def _line(row: dict[str, Any]) -> _Line:
    known, last = row["known"], row["last_known"]
    how = f"{known}, before that {last}" if known == "unknown" and last else known or ""
    if row["lost_since"] and known != "unknown":
        how += ", events were lost since"
    is_key = row["value_name"] is None
    content = "" if is_key or known in ("absent", "deleted") else content_text(row)
    host = f"{row['host']}: " if row.get("host") else ""
    return (
        f"{host}{row['display_key']}", "" if is_key else value_text(row) or "", content, how,
        time_text(row["time"]) or "", process_text(row) or "",
    )  # fmt: skip
