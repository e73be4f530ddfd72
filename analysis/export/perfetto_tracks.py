"""Tracks of a Perfetto trace: processes, their threads, hosts, and lanes of what overlaps."""

import heapq
from collections.abc import Callable
from typing import Any

from analysis.export.people import named_process
from analysis.export.perfetto_extra import protos
from analysis.export.rows import Processes

__all__ = ["Lanes", "Tracks"]

_LARGEST = 2**31 - 1  # pid and tid of a descriptor are 32 bits, signed


class Tracks:
    """The tracks that a trace has so far.

    A process is a process track of Perfetto where nothing else of the trace has its pid; a pid that was used again, and
    processes of several machines, are tracks with names.
    """

    def __init__(self, processes: Processes, write: Callable[[Any], None], *, is_dataset: bool) -> None:
        """Begin without tracks.

        Args:
            processes: the processes.
            write: writes a packet.
            is_dataset: whether there are several captures.
        """
        self._by_id = {facts["process_id"]: facts for facts in processes.facts}
        self._write, self._is_dataset = write, is_dataset
        self._made: dict[tuple[Any, ...], int] = {}
        self._pids: set[int] = set()
        self._native: set[int] = set()  # tracks that are process tracks

    def _track(self, key: tuple[Any, ...], **fields: Any) -> int:  # noqa: ANN401  (fields of TrackDescriptor)
        """Return the uuid of the track with a key; it is described at first."""
        if key not in self._made:
            self._made[key] = len(self._made) + 1
            packet = protos.TracePacket()
            packet.track_descriptor.uuid = self._made[key]
            for name, value in fields.items():
                if value is not None:
                    setattr(packet.track_descriptor, name, value)
            self._write(packet)
        return self._made[key]

    def host(self, host: str | None) -> int | None:
        """Return the track of a machine, below which everything of it stands; None where there is one machine."""
        return self._track(("host", host), name=host or "unknown host") if self._is_dataset else None

    def named(self, name: str, host: str | None, *, lane: int = 0, below: int | None = None) -> int:
        """Return a track with a name; those with the same name and parent are shown as one, each with its own lane."""
        parent = self.host(host) if below is None else below
        return self._track(("named", name, parent, lane), name=name, parent_uuid=parent)

    def counter(self, name: str, host: str | None, unit: str) -> int:
        """Return the track of a counter."""
        key = ("counter", name, host)
        if key not in self._made:
            parent = self.host(host)
            self._made[key] = len(self._made) + 1
            packet = protos.TracePacket()
            packet.track_descriptor.uuid = self._made[key]
            packet.track_descriptor.name = name
            packet.track_descriptor.counter.unit_name = unit
            if parent is not None:
                packet.track_descriptor.parent_uuid = parent
            self._write(packet)
        return self._made[key]

    def process(self, process_id: int | None, host: str | None) -> int:
        """Return the track of a process; None is a process that is not known."""
        facts = None if process_id is None else self._by_id.get(process_id)
        if facts is None:
            return self.named("unknown process", host)
        key = ("process", process_id)
        if key in self._made:
            return self._made[key]
        pid = facts["pid"]
        if self._is_dataset or pid in self._pids or pid > _LARGEST:
            again = "" if self._is_dataset or pid > _LARGEST else ", pid used again"
            return self._track(key, name=named_process(facts) + again, parent_uuid=self.host(host))
        self._pids.add(pid)
        self._made[key] = len(self._made) + 1
        self._native.add(self._made[key])
        packet = protos.TracePacket()
        packet.track_descriptor.uuid = self._made[key]
        own = packet.track_descriptor.process
        own.pid = pid
        own.process_name = facts["image"] or "?"
        if facts["command_line"]:
            own.cmdline.append(facts["command_line"])
        if facts["start_ns"] is not None:
            own.start_timestamp_ns = facts["start_ns"]
        if facts["user"]:
            own.process_labels.append(facts["user"])
        self._write(packet)
        return self._made[key]

    def thread(self, process_id: int | None, tid: int | None, host: str | None) -> int:
        """Return the track of a thread; of one that is not known, that of its process."""
        above = self.process(process_id, host)
        if tid is None:
            return above
        key = ("thread", above, tid)
        if key in self._made:
            return self._made[key]
        if above not in self._native or tid > _LARGEST:
            return self._track(key, name=f"thread {tid}", parent_uuid=above)
        self._made[key] = len(self._made) + 1
        packet = protos.TracePacket()
        packet.track_descriptor.uuid = self._made[key]
        packet.track_descriptor.parent_uuid = above
        packet.track_descriptor.thread.pid = self._by_id[process_id]["pid"]
        packet.track_descriptor.thread.tid = tid
        self._write(packet)
        return self._made[key]


class Lanes:
    """Lanes for bars that overlap: each bar gets one that is free when it begins."""

    def __init__(self) -> None:
        """Begin without lanes."""
        self._free: dict[
            object, list[tuple[int, int]]
        ] = {}  # what -> end of the last bar and number, of each lane

    def take(self, what: object, start: int, end: int) -> int:
        """Return the number of a lane of `what` that is free from `start`, and use it until `end`."""
        lanes = self._free.setdefault(what, [])
        if lanes and lanes[0][0] <= start:
            number = lanes[0][1]
            heapq.heapreplace(lanes, (end, number))
        else:
            number = len(lanes)
            heapq.heappush(lanes, (end, number))
        return number
