"""One clock for sessions that ran at the same time: the performance counter they share.

Each header says which UTC time its first counter value was, and two such statements of one boot were seen 36 and
55 us apart. Where two sessions overlap, the order of their records is that of the counter; so the one that began later is
told its time by the header of the earlier one. Sessions after each other keep their own statements, for those
follow the clock as it was adjusted meanwhile.
"""

from collections.abc import Sequence
from dataclasses import replace

from tracer.etl.buffers import BufferFile
from tracer.etl.logfile import LogfileHeader

__all__ = ["MOST_APART_NS", "share_clocks"]

MOST_APART_NS = 1_000_000_000  # two statements farther apart are not of one counter


def share_clocks(traces: Sequence[BufferFile]) -> None:
    """Anchor overlapping sessions of one performance counter at the earliest of them; changes their headers."""
    leaders: list[
        tuple[LogfileHeader, int]
    ] = []  # with the last counter value of the session, and of its followers
    for trace in sorted(traces, key=lambda one: one.header.first_stamp):
        header, until = trace.header, _last_stamp(trace)
        if header.clock != "qpc" or header.clock_is_odd:
            continue
        for place, (leader, end) in enumerate(leaders):
            if _is_one_counter(leader, header) and header.first_stamp <= end:
                trace.header = replace(header, anchor_ns=leader.one_to_ns(header.first_stamp))
                leaders[place] = leader, max(end, until)
                break
        else:
            leaders.append((header, until))


def _is_one_counter(one: LogfileHeader, other: LogfileHeader) -> bool:
    apart = abs(one.one_to_ns(other.first_stamp) - other.anchor_ns)
    return one.frequency == other.frequency and apart <= MOST_APART_NS


def _last_stamp(trace: BufferFile) -> int:
    stamps = [buffer.stamp for buffer in trace.buffers if buffer.stamp is not None]
    return max([trace.header.first_stamp, *stamps])
