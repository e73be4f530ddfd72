"""The log of a recording: counters, processes and handles noted beside the trace files, for the capture."""

import platform
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from tracer.etl.losses import Loss
from tracer.ingest.recording_facts import LiveFacts
from tracer.rows.processes import ProcessRecord
from tracer.session.options import SessionCounters
from tracer.windows.drives import read_drives
from tracer.windows.handle_table import HandleTable

__all__ = ["RecordingLog", "host_facts"]

_COUNTED = (
    "events_lost", "log_buffers_lost", "real_time_buffers_lost", "buffers_written", "buffers", "free_buffers",
)  # fmt: skip
_LOST = (("events", "events_lost"), ("buffers", "log_buffers_lost"), ("buffers", "real_time_buffers_lost"))


@dataclass(slots=True)
class RecordingLog:
    """Everything noted during a recording; a detached recording stores what was noted at its start.

    Attributes:
        started_ns: when the session for registry events had started, UTC nanoseconds.
        counters: rows of the table `counters`, oldest first. last: the last one of each session.
        processes: what was seen running, by (pid, start); the first look at each.
        table: the handle table; None if not read.
        seed_facts: counts of that reading, or why there is none.
        rundown: whether the classic logger was made to name its control blocks at start; None if not asked.
    """

    started_ns: int
    counters: list[dict[str, Any]] = field(default_factory=list)
    last: dict[str, dict[str, Any]] = field(default_factory=dict)
    processes: dict[tuple[int, int | None], ProcessRecord] = field(default_factory=dict)
    table: HandleTable | None = None
    seed_facts: dict[str, Any] | None = None
    rundown: bool | None = None

    def add_counters(self, source: int, session: str, counters: SessionCounters) -> None:
        """Note the counters of a session; `source` is the number of its file."""
        row: dict[str, Any] = {"time_ns": counters.time_ns, "source_id": source, "session": session}
        row |= {name: getattr(counters, name) for name in _COUNTED}
        self.counters.append(row)
        self.last[session] = row

    def add_processes(self, processes: Iterable[ProcessRecord]) -> None:
        """Note running processes; for each, the first record is kept."""
        for record in processes:
            self.processes.setdefault((record.pid, record.start_ns), record)

    def add_handles(self, table: HandleTable, *, at: str) -> None:
        """Note the handle table, read `at` the "start" or the "end"."""
        self.table = table
        self.seed_facts = {
            "read": at,
            "time_ns": table.time_ns,
            "after_start_s": round((table.time_ns - self.started_ns) / 1e9, 3) if at == "start" else None,
            "seconds": round(table.seconds, 3),
            "handles": table.handles,
            "named": len(table.addresses),
            "unnamed": table.unnamed,
            "refused_processes": table.refused_processes,
        }

    def lost(self) -> tuple[int, int]:
        """Return how many events and buffers were lost so far, by the last counters of every session."""
        last = self.last.values()
        events = sum(row["events_lost"] for row in last)
        return events, sum(row["log_buffers_lost"] + row["real_time_buffers_lost"] for row in last)

    def facts(self, settings: dict[str, Any]) -> LiveFacts:
        """Return the facts of the capture."""
        blind: tuple[Loss, ...] = ()
        read = (self.seed_facts or {}).get("read")
        if read == "start" and self.table is not None and self.seed_facts:
            after = self.seed_facts["after_start_s"]
            evidence = f"open keys were named {after:.1f} s after the start; objects closed until then may have no name"
            blind = (Loss(0, "blind", None, self.started_ns, self.table.time_ns, None, evidence),)
        elif self.seed_facts and "failed" in self.seed_facts:
            evidence = f"keys open before the start have no name: {self.seed_facts['failed']}"
            blind = (Loss(0, "blind", None, self.started_ns, None, None, evidence),)
        return LiveFacts(
            processes=tuple(self.processes.values()),
            losses=tuple(self._losses()),
            blind=blind,
            counters=tuple(self.counters),
            seed=None if self.table is None else (self.table.addresses, self.table.paths),
            seed_ns=None if self.table is None else self.table.time_ns,
            seed_facts=self.seed_facts,
            settings=settings | ({} if self.rundown is None else {"rundown_at_start": self.rundown}),
        )

    def _losses(self) -> Iterable[Loss]:
        """Yield what was lost between two polls of a session."""
        before: dict[str, dict[str, Any]] = {}
        nothing = dict.fromkeys(_COUNTED, 0) | {"time_ns": self.started_ns}
        for row in self.counters:
            last = before.get(row["session"], nothing)
            for kind, name in _LOST:
                if row[name] > last[name]:
                    evidence = f"counter {name} of the session {row['session']} rose between two polls"
                    yield Loss(
                        row["source_id"],
                        kind,
                        row[name] - last[name],
                        last["time_ns"],
                        row["time_ns"],
                        None,
                        evidence,
                    )
            before[row["session"]] = row


def host_facts() -> dict[str, Any]:
    """Return a description of this machine, ready for JSON."""
    facts: dict[str, Any] = {
        "name": platform.node() or None,
        "system": platform.platform(),
        "machine": platform.machine(),
        "windows_build": None,
    }
    if sys.platform == "win32":
        facts["windows_build"] = sys.getwindowsversion().build
        facts["drives"] = read_drives()
    return facts
